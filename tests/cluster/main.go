// Command testcluster is a whole Kubernetes control plane in one binary: one process per role, and argv[0] (a symlink
// named kube-apiserver) or argv[1] (`testcluster kube-apiserver …`) picks the role.
//
// Never two Kubernetes roles in one process: feature gates, signal handlers, logging and configz are process-global
// there. Code that is not a role's own lives in internal/ and does not link the control plane.
package main

import (
	"os"
	"path/filepath"

	"github.com/spf13/cobra"
	"go.etcd.io/etcd/server/v3/etcdmain"
	"k8s.io/component-base/cli"
	kubectl "k8s.io/kubectl/pkg/cmd"
	apiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
	controllermanager "k8s.io/kubernetes/cmd/kube-controller-manager/app"
	scheduler "k8s.io/kubernetes/cmd/kube-scheduler/app"

	_ "k8s.io/component-base/logs/json/register"          // --logging-format=json
	_ "k8s.io/component-base/metrics/prometheus/clientgo" // client metrics of every role
	_ "k8s.io/component-base/metrics/prometheus/version"
)

// upstream roles parse os.Args themselves.
var upstream = map[string]func() int{
	"etcd":                    func() int { etcdmain.Main(os.Args); return 0 },
	"kube-apiserver":          func() int { return cli.Run(apiserver.NewAPIServerCommand()) },
	"kube-controller-manager": func() int { return cli.Run(controllermanager.NewControllerManagerCommand()) },
	"kube-scheduler":          func() int { return cli.Run(scheduler.NewSchedulerCommand()) },
	"kubectl":                 func() int { return cli.Run(kubectl.NewDefaultKubectlCommand()) },
}

// own roles are subcommands.
func own() *cobra.Command {
	root := &cobra.Command{
		Use:           "testcluster",
		Short:         "A real Kubernetes control plane with simulated nodes, for tests",
		Long:          "A real Kubernetes control plane with simulated nodes, for tests.\nAlso: testcluster etcd|kube-apiserver|kube-controller-manager|kube-scheduler|kubectl …",
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.AddCommand(upCommand(), componentCommand(), userCommand(), nodesCommand(), provisionerCommand())
	return root
}

func main() {
	name := filepath.Base(os.Args[0])
	role, isUpstream := upstream[name]
	if !isUpstream && len(os.Args) > 1 {
		if role, isUpstream = upstream[os.Args[1]]; isUpstream {
			os.Args = os.Args[1:]
		}
	}
	if isUpstream {
		os.Exit(role())
	}
	root := own()
	if command, _, err := root.Find([]string{name}); err == nil && command != root {
		os.Args = append([]string{"testcluster", name}, os.Args[1:]...)
	}
	os.Exit(report(root.Execute()))
}
