package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"domicile.dev/testcluster/internal/cluster"
	"domicile.dev/testcluster/internal/drivers"
	"domicile.dev/testcluster/internal/nodes"
	"domicile.dev/testcluster/internal/process"
)

// upCommand is `testcluster up`.
func upCommand() *cobra.Command {
	var options cluster.Options
	var withParent bool
	var csiFile string
	var csiDrivers, apiServerArgs, controllerManagerArgs, schedulerArgs []string
	command := &cobra.Command{
		Use:   "up",
		Short: "Start a cluster, print READY, take it down at a signal",
		Long: `Starts etcd, kube-apiserver, kube-controller-manager and kube-scheduler, with --nodes also simulated nodes and a
CSI provisioner, on free loopback ports. Prints one line on stdout when all of it works:

    READY kubeconfig=<path> dir=<dir>

SIGINT, SIGTERM, SIGHUP or the end of the parent process stop everything and remove the directory. When a component
ends by itself, so does the cluster, with exit code 1 and the component's last log lines on stderr.`,
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) (err error) {
			if options.Drivers, err = resolveDrivers(csiFile, csiDrivers); err != nil {
				return err
			}
			if options.Nodes != "" {
				if options.Nodes, err = filepath.Abs(options.Nodes); err != nil {
					return err
				}
				if _, err := nodes.Load(options.Nodes); err != nil {
					return err
				}
			}
			options.Extra = map[string][]string{
				"kube-apiserver": apiServerArgs, "kube-controller-manager": controllerManagerArgs, "kube-scheduler": schedulerArgs,
			}
			return up(options, withParent)
		},
	}
	flags := command.Flags()
	flags.StringVar(&options.Dir, "dir", "", "directory for the state, new or empty (default: a temporary one)")
	flags.BoolVar(&options.Keep, "keep", false, "leave the directory at the end, for its logs")
	flags.StringVar(&options.Nodes, "nodes", "", "YAML file of simulated nodes; changes to it are followed")
	flags.DurationVar(&options.Heartbeat, "heartbeat", 2*time.Second, "how often a simulated node renews its lease")
	flags.StringVar(&csiFile, "csi", "", "YAML file of CSI drivers: [{name: …, topologyKeys: […]}] (default: three drivers)")
	flags.StringArrayVar(&csiDrivers, "csi-driver", nil, "CSI driver as NAME=TOPOLOGYKEY[,…], instead of the default ones; repeatable")
	flags.StringArrayVar(&apiServerArgs, "apiserver-arg", nil, "extra flag for kube-apiserver; repeatable, the last one of a name wins")
	flags.StringArrayVar(&controllerManagerArgs, "kcm-arg", nil, "extra flag for kube-controller-manager; repeatable")
	flags.StringArrayVar(&schedulerArgs, "scheduler-arg", nil, "extra flag for kube-scheduler; repeatable")
	flags.BoolVar(&options.AuditLog, "audit-log", false, "write DIR/audit.log, one JSON line per request")
	flags.BoolVar(&withParent, "die-with-parent", true, "stop when the process that started this one ends")
	return command
}

func resolveDrivers(file string, list []string) ([]drivers.Driver, error) {
	switch {
	case file != "" && len(list) > 0:
		return nil, errors.New("--csi and --csi-driver exclude each other")
	case file != "":
		return drivers.Load(file)
	case len(list) > 0:
		return drivers.ParseAll(list)
	}
	return drivers.Default(), nil
}

func up(options cluster.Options, withParent bool) error {
	started := time.Now()
	ctx, stop := context.WithCancelCause(context.Background())
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	go func() { stop(cluster.Interrupted{By: (<-signals).String()}) }()
	if withParent {
		process.OnParentDeath(func() { stop(cluster.Interrupted{By: "the parent process ended"}) })
	}
	ready := false
	err := cluster.Up(ctx, options, func(kubeconfig, dir string) {
		ready = true
		fmt.Fprintf(os.Stderr, "testcluster: ready after %.1f s\n", time.Since(started).Seconds())
		fmt.Printf("READY kubeconfig=%s dir=%s\n", kubeconfig, dir)
	})
	if errors.As(err, new(cluster.Interrupted)) && ready {
		return nil
	}
	return err
}

// report prints an error and says how to exit.
func report(err error) int {
	if err == nil {
		return 0
	}
	fmt.Fprintln(os.Stderr, "testcluster:", err)
	return 1
}
