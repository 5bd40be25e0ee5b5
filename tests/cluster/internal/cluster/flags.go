package cluster

import (
	"fmt"
	"path/filepath"
	"slices"
)

// A throw-away state needs no fsync, and starts a second sooner without.
func etcdArgs(dir *Directory, at addresses) []string {
	client, peer := loopback("http", at.etcdClient), loopback("http", at.etcdPeer)
	return []string{
		"--data-dir=" + dir.File("etcd"),
		"--listen-client-urls=" + client, "--advertise-client-urls=" + client,
		"--listen-peer-urls=" + peer, "--initial-advertise-peer-urls=" + peer, "--initial-cluster=default=" + peer,
		"--unsafe-no-fsync", "--quota-backend-bytes=8589934592", "--log-level=warn",
	}
}

func apiServerArgs(options Options, dir *Directory, at addresses) []string {
	p := dir.PKI()
	args := []string{
		"--etcd-servers=" + loopback("http", at.etcdClient),
		"--bind-address=127.0.0.1", fmt.Sprintf("--secure-port=%d", at.apiServer), "--advertise-address=127.0.0.1",
		"--endpoint-reconciler-type=none", // the default one refuses to publish a loopback endpoint
		"--tls-cert-file=" + p.File("apiserver.crt"), "--tls-private-key-file=" + p.File("apiserver.key"),
		"--client-ca-file=" + p.File("ca.crt"),
		"--service-account-issuer=https://kubernetes.default.svc.cluster.local",
		"--service-account-key-file=" + p.File("tokens.pub"), "--service-account-signing-key-file=" + p.File("tokens.key"),
		// Aggregation:
		"--requestheader-client-ca-file=" + p.File("front-proxy-ca.crt"), "--requestheader-allowed-names=front-proxy-client",
		"--requestheader-username-headers=X-Remote-User", "--requestheader-group-headers=X-Remote-Group",
		"--requestheader-extra-headers-prefix=X-Remote-Extra-",
		"--proxy-client-cert-file=" + p.File("front-proxy.crt"), "--proxy-client-key-file=" + p.File("front-proxy.key"),
		// Webhooks and APIs behind a Service are dialled at its endpoints: no kube-proxy is needed.
		"--enable-aggregator-routing=true",
		// Real kubelets, should there be any; their names are not in DNS.
		"--kubelet-client-certificate=" + p.File("apiserver-kubelet.crt"), "--kubelet-client-key=" + p.File("apiserver-kubelet.key"),
		"--kubelet-preferred-address-types=InternalIP",
		"--authorization-mode=Node,RBAC",
		"--allow-privileged=true", "--service-cluster-ip-range=10.96.0.0/16", "--profiling=false",
	}
	// Kubelets may touch what is theirs and nothing else; NodeRestriction is off by default. No plugin may be named in both flags.
	if !slices.Contains(options.Extra[apiServer], "--disable-admission-plugins=NodeRestriction") {
		args = append(args, "--enable-admission-plugins=NodeRestriction")
	}
	if options.AuditLog {
		args = append(args,
			"--audit-policy-file="+dir.File(auditPolicyName), "--audit-log-path="+dir.File("audit.log"),
			"--audit-log-format=json", "--audit-log-maxsize=100000", // MB: rotation would hide lines from who counts them
			"--audit-log-mode=blocking") // a line is there before its response is
	}
	return args
}

// common flags of the two that work through the API.
func common(dir *Directory, identity string, port int) []string {
	kubeconfig := dir.Kubeconfig(identity)
	return []string{
		"--kubeconfig=" + kubeconfig, "--authentication-kubeconfig=" + kubeconfig, "--authorization-kubeconfig=" + kubeconfig,
		"--bind-address=127.0.0.1", fmt.Sprintf("--secure-port=%d", port),
		"--cert-dir=" + filepath.Join(dir.PKI().Dir, identity), // serving certificates, self-signed
		"--leader-elect=false", "--profiling=false",
	}
}

func controllerManagerArgs(dir *Directory, at addresses) []string {
	p := dir.PKI()
	return append(common(dir, "controller-manager", at.controllerManager),
		"--use-service-account-credentials=true", "--service-account-private-key-file="+p.File("tokens.key"),
		"--root-ca-file="+p.File("ca.crt"),
		"--cluster-signing-cert-file="+p.File("ca.crt"), "--cluster-signing-key-file="+p.File("ca.key"),
		"--controllers=*", "--pvclaimbinder-sync-period=1s",
		"--kube-api-qps=1000", "--kube-api-burst=2000")
}

func schedulerArgs(dir *Directory, at addresses) []string {
	return append(common(dir, "scheduler", at.scheduler), "--kube-api-qps=1000", "--kube-api-burst=2000")
}

func nodesArgs(options Options, dir *Directory, at addresses) []string {
	return append(driverArgs(options),
		"--nodes="+options.Nodes, "--pki="+dir.PKI().Dir,
		fmt.Sprintf("--healthz-port=%d", at.nodes), "--heartbeat="+options.Heartbeat.String())
}

func provisionerArgs(options Options, dir *Directory, at addresses) []string {
	return append(driverArgs(options),
		"--kubeconfig="+dir.Kubeconfig("provisioner"), fmt.Sprintf("--healthz-port=%d", at.provisioner))
}

// driverArgs: the provisioner makes the drivers' volumes, and each node registers the drivers as a kubelet does.
func driverArgs(options Options) []string {
	var args []string
	for _, driver := range options.Drivers {
		args = append(args, "--csi-driver="+driver.String())
	}
	return args
}
