package pki

import (
	"net"
	"os"
	"path/filepath"
)

// Users that the cluster's own parts act as. The API server's built-in roles know the first two; the others get
// their roles when the cluster comes up (package cluster, rbac.go).
const (
	ControllerManagerUser = "system:kube-controller-manager"
	SchedulerUser         = "system:kube-scheduler"
	AdminUser             = "admin"
	// MachinesUser reads for all simulated kubelets at once and deletes the nodes of machines that are gone, as a
	// cloud's node controller does. Everything a kubelet writes is written as that node.
	MachinesUser = "testcluster:machines"
	// ProvisionerUser is what the RBAC of a real CSI provisioner is bound to.
	ProvisionerUser = "system:serviceaccount:kube-system:csi-provisioner"
)

// serviceAddress is the first address of the Service range, which in-cluster clients dial.
var serviceAddress = net.IPv4(10, 96, 0, 1)

// Cluster is the directory with everything secret of one cluster.
type Cluster struct{ Dir string }

// File is the path of one of its files.
func (c Cluster) File(name string) string { return filepath.Join(c.Dir, name) }

// Authority reads the authority for clients and the API server back.
func (c Cluster) Authority() (*Authority, error) {
	return LoadAuthority(c.File("ca.crt"), c.File("ca.key"))
}

// Create writes authorities, keys, the components' certificates and their kubeconfigs. addresses are those of the
// API server, beside loopback and the first Service address.
func (c Cluster) Create(server string, addresses ...net.IP) error {
	if err := os.MkdirAll(c.Dir, 0o700); err != nil {
		return err
	}
	root, err := NewAuthority("testcluster-ca")
	if err != nil {
		return err
	}
	front, err := NewAuthority("testcluster-front-proxy-ca")
	if err != nil {
		return err
	}
	rootKey, err := root.KeyPEM()
	if err != nil {
		return err
	}
	if err := c.write("ca.crt", root.PEM); err != nil {
		return err
	}
	if err := c.write("ca.key", rootKey); err != nil { // the signer of CertificateSigningRequests needs it
		return err
	}
	if err := c.write("front-proxy-ca.crt", front.PEM); err != nil {
		return err
	}
	if err := c.writeTokenKeys(); err != nil {
		return err
	}
	if err := c.writeCertificates(root, front, addresses); err != nil {
		return err
	}
	return c.writeKubeconfigs(root, server)
}

// writeTokenKeys makes the key pair that signs and checks ServiceAccount tokens.
func (c Cluster) writeTokenKeys() error {
	key, err := newKey()
	if err != nil {
		return err
	}
	private, err := keyPEM(key)
	if err != nil {
		return err
	}
	if err := c.write("tokens.key", private); err != nil {
		return err
	}
	public, err := publicPEM(key)
	if err != nil {
		return err
	}
	return c.write("tokens.pub", public)
}

// writeCertificates makes what the API server serves and dials with.
func (c Cluster) writeCertificates(root, front *Authority, addresses []net.IP) error {
	for file, one := range map[string]struct {
		authority *Authority
		subject   Subject
	}{
		"apiserver": {root, Subject{
			Name:      "kube-apiserver",
			DNS:       []string{"localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local"},
			Addresses: append([]net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback, serviceAddress}, addresses...),
		}},
		"apiserver-kubelet": {root, Subject{Name: "kube-apiserver-kubelet-client", Groups: []string{"system:masters"}}},
		"front-proxy":       {front, Subject{Name: "front-proxy-client"}},
	} {
		identity, err := one.authority.Issue(one.subject)
		if err != nil {
			return err
		}
		if err := c.write(file+".crt", identity.Certificate); err != nil {
			return err
		}
		if err := c.write(file+".key", identity.Key); err != nil {
			return err
		}
	}
	return nil
}

func (c Cluster) writeKubeconfigs(root *Authority, server string) error {
	for file, subject := range map[string]Subject{
		"admin":              {Name: AdminUser, Groups: []string{"system:masters"}},
		"controller-manager": {Name: ControllerManagerUser},
		"scheduler":          {Name: SchedulerUser},
		"machines":           {Name: MachinesUser},
		"provisioner":        {Name: ProvisionerUser, Groups: []string{"system:serviceaccounts", "system:serviceaccounts:kube-system"}},
	} {
		identity, err := root.Issue(subject)
		if err != nil {
			return err
		}
		if err := c.write(file+".kubeconfig", ClientKubeconfig(server, root.PEM, subject.Name, identity)); err != nil {
			return err
		}
	}
	return nil
}

func (c Cluster) write(name string, content []byte) error {
	return os.WriteFile(c.File(name), content, 0o600)
}
