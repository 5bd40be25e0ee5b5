package cluster

import (
	"fmt"
	"net/http"

	"domicile.dev/testcluster/internal/ports"
)

// Names of the components, which are also the roles of this binary.
const (
	etcd              = "etcd"
	apiServer         = "kube-apiserver"
	controllerManager = "kube-controller-manager"
	scheduler         = "kube-scheduler"
	nodesRole         = "nodes"
	provisionerRole   = "provisioner"
)

// addresses are the loopback ports of one cluster.
type addresses struct{ etcdClient, etcdPeer, apiServer, controllerManager, scheduler, nodes, provisioner int }

func newAddresses() (addresses, error) {
	p, err := ports.Free(7)
	if err != nil {
		return addresses{}, err
	}
	return addresses{p[0], p[1], p[2], p[3], p[4], p[5], p[6]}, nil
}

func (a addresses) server() string { return loopback("https", a.apiServer) }

func loopback(scheme string, port int) string { return fmt.Sprintf("%s://127.0.0.1:%d", scheme, port) }

// tiers lists the components in the order of their start; those of one tier start together.
func tiers(options Options, dir *Directory, at addresses) ([][]*component, error) {
	admin, err := adminHTTP(dir)
	if err != nil {
		return nil, err
	}
	healthz := func(scheme string, port int) check { return reachable(admin, loopback(scheme, port)+"/healthz") }
	list := [][]*component{
		{{name: etcd, args: etcdArgs(dir, at), healthy: reachable(http.DefaultClient, loopback("http", at.etcdClient)+"/health")}},
		{{name: apiServer, args: apiServerArgs(options, dir, at), healthy: reachable(admin, at.server()+"/readyz")}},
		{
			// The controller manager answers long before it works: it lists its controllers when all have been set up, and
			// dies should the API server go away before that. Pods can be made once the default ServiceAccount exists.
			{name: controllerManager, args: controllerManagerArgs(dir, at), healthy: both(
				answers(admin, loopback("https", at.controllerManager)+"/healthz?verbose", "serviceaccount-token-controller"),
				reachable(admin, at.server()+"/api/v1/namespaces/default/serviceaccounts/default"))},
			{name: scheduler, args: schedulerArgs(dir, at), healthy: healthz("https", at.scheduler)},
		},
	}
	if options.Nodes != "" {
		list[2] = append(list[2],
			&component{name: nodesRole, args: nodesArgs(options, dir, at), healthy: healthz("http", at.nodes)},
			&component{name: provisionerRole, args: provisionerArgs(options, dir, at), healthy: healthz("http", at.provisioner)})
	}
	for _, tier := range list {
		for _, c := range tier {
			c.args = append(c.args, options.Extra[c.name]...)
			c.log = dir.Log(c.name)
		}
	}
	return list, nil
}
