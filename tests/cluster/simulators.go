package main

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/component-base/version"

	"domicile.dev/testcluster/internal/drivers"
	"domicile.dev/testcluster/internal/nodes"
	"domicile.dev/testcluster/internal/pki"
	"domicile.dev/testcluster/internal/storage"
)

// nodesCommand is the role of the simulated kubelets; `up --nodes` starts it.
func nodesCommand() *cobra.Command {
	var file, secrets string
	var csi []string
	var port int
	var heartbeat time.Duration
	command := &cobra.Command{
		Use: "nodes", Short: "Simulated kubelets for the nodes of a file (started by up)", Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			list, err := drivers.ParseAll(csi)
			if err != nil {
				return err
			}
			files := pki.Cluster{Dir: secrets}
			authority, err := files.Authority()
			if err != nil {
				return err
			}
			controller, err := client(files.File("machines.kubeconfig"))
			if err != nil {
				return err
			}
			return serve(port, func(ctx context.Context) (func() error, error) {
				return nodes.Start(ctx, nodes.Options{
					File: file, Authority: authority, Controller: controller, Drivers: list,
					Version: version.Get().GitVersion, Heartbeat: heartbeat,
				})
			})
		},
	}
	command.Flags().StringVar(&file, "nodes", "", "file of nodes")
	command.Flags().StringVar(&secrets, "pki", "", "directory of the cluster's secrets")
	command.Flags().DurationVar(&heartbeat, "heartbeat", 2*time.Second, "how often a node renews its lease")
	simulatorFlags(command, &csi, &port)
	return command
}

// provisionerCommand is the role of the CSI drivers; `up --nodes` starts it.
func provisionerCommand() *cobra.Command {
	var kubeconfig string
	var csi []string
	var port int
	command := &cobra.Command{
		Use: "provisioner", Short: "Volumes of CSI drivers that do not exist (started by up)", Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			list, err := drivers.ParseAll(csi)
			if err != nil {
				return err
			}
			config, err := client(kubeconfig)
			if err != nil {
				return err
			}
			config.UserAgent = "csi-provisioner"
			return serve(port, func(ctx context.Context) (func() error, error) { return storage.Start(ctx, config, list) })
		},
	}
	command.Flags().StringVar(&kubeconfig, "kubeconfig", "", "kubeconfig of the provisioner")
	simulatorFlags(command, &csi, &port)
	return command
}

func simulatorFlags(command *cobra.Command, csi *[]string, port *int) {
	command.Flags().StringArrayVar(csi, "csi-driver", nil, "CSI driver as NAME=TOPOLOGYKEY[,…]; repeatable")
	command.Flags().IntVar(port, "healthz-port", 0, "loopback port of /healthz")
}

func client(kubeconfig string) (*rest.Config, error) {
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return nil, err
	}
	config.QPS = -1
	config.ContentType = "application/vnd.kubernetes.protobuf"
	config.AcceptContentTypes = "application/vnd.kubernetes.protobuf,application/json"
	return config, nil
}

// serve runs a role until a signal comes, and answers /healthz meanwhile.
func serve(port int, start func(context.Context) (health func() error, err error)) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	health, err := start(ctx)
	if err != nil {
		return err
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/healthz", func(w http.ResponseWriter, _ *http.Request) {
		if err := health(); err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintln(w, "ok")
	})
	server := &http.Server{Addr: fmt.Sprintf("127.0.0.1:%d", port), Handler: mux}
	failed := make(chan error, 1)
	go func() { failed <- server.ListenAndServe() }()
	select {
	case <-ctx.Done():
		fmt.Fprintln(os.Stderr, "stopping")
		return nil
	case err := <-failed:
		return err
	}
}
