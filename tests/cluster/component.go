package main

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"domicile.dev/testcluster/internal/control"
)

var actions = []string{"stop", "kill", "pause", "resume", "start", "restart"}

// componentCommand is `testcluster component`: faults on purpose in a running cluster.
func componentCommand() *cobra.Command {
	var dir string
	command := &cobra.Command{
		Use:   "component --dir DIR status | " + strings.Join(actions, "|") + " NAME",
		Short: "Stop, kill, pause or start one component of a running cluster",
		Long: `stop asks and waits, kill does not ask, pause and resume freeze and thaw, start and restart wait until the component
is healthy on its old port. Names: etcd, kube-apiserver, kube-controller-manager, kube-scheduler, nodes, provisioner.
status prints name, state, process and log of each.`,
		Args: func(_ *cobra.Command, args []string) error {
			switch {
			case len(args) == 1 && args[0] == "status":
				return nil
			case len(args) == 2 && slices.Contains(actions, args[0]):
				return nil
			}
			return fmt.Errorf("want status, or one of %s and a component", strings.Join(actions, ", "))
		},
		RunE: func(_ *cobra.Command, args []string) error {
			request := control.Request{Action: args[0]}
			if len(args) == 2 {
				request.Component = args[1]
			}
			response, err := control.Call(dir, request)
			if err != nil {
				return err
			}
			if response.Error != "" {
				return errors.New(response.Error)
			}
			if request.Action == "status" {
				return printStatus(response.Components)
			}
			return nil
		},
	}
	dirFlag(command, &dir)
	return command
}

func printStatus(components []control.Component) error {
	out := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	for _, c := range components {
		pid := "-"
		if c.PID != 0 {
			pid = fmt.Sprint(c.PID)
		}
		fmt.Fprintf(out, "%s\t%s\t%s\t%s\n", c.Name, c.State, pid, c.Log)
	}
	return out.Flush()
}

// dirFlag is the directory that the READY line told.
func dirFlag(command *cobra.Command, dir *string) {
	command.Flags().StringVar(dir, "dir", os.Getenv("TESTCLUSTER_DIR"), "directory of the running cluster (default: $TESTCLUSTER_DIR)")
	if *dir == "" {
		_ = command.MarkFlagRequired("dir")
	}
}
