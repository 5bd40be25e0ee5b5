// Command packet says whether a packet would pass, given the NetworkPolicies, ClusterNetworkPolicies, pods and
// namespaces of a real API server. The answer is that of SIG Network's own policy engine (kube-network-policies), so
// it is an independent judge of everything that writes or refuses network policies. It needs no nodes and sends
// nothing.
//
//	packet --from=NAMESPACE/POD|ADDRESS --to=NAMESPACE/POD|ADDRESS --port=443[/UDP] [--kubeconfig=FILE]
//
// prints "allowed" or "denied". Each of the three may be repeated: then there are as many packets as the longest list
// is long, a list of one counts for all of them, and each answer is a line "allowed FROM TO PORT". Exit code: 0 when
// all pass, 1 when one does not, 2 when there is no answer.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"strings"
	"time"
)

// patience bounds the whole call.
const patience = 30 * time.Second

type list []string

func (l *list) String() string         { return strings.Join(*l, " ") }
func (l *list) Set(value string) error { *l = append(*l, value); return nil }

func main() {
	var from, to, ports list
	kubeconfig := flag.String("kubeconfig", os.Getenv("KUBECONFIG"), "kubeconfig (default: $KUBECONFIG)")
	flag.Var(&from, "from", "source, NAMESPACE/POD or an address; repeatable")
	flag.Var(&to, "to", "destination, NAMESPACE/POD or an address; repeatable")
	flag.Var(&ports, "port", "destination port, as 443 or 53/UDP; repeatable")
	flag.Parse()
	code, err := run(*kubeconfig, from, to, ports)
	if err != nil {
		fmt.Fprintln(os.Stderr, "packet:", err)
		code = 2
	}
	os.Exit(code)
}

func run(kubeconfig string, from, to, ports list) (code int, err error) {
	if kubeconfig == "" {
		return 2, errors.New("no kubeconfig: give --kubeconfig or set KUBECONFIG")
	}
	questions, err := questions(from, to, ports)
	if err != nil {
		return 2, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	judge, err := newJudge(ctx, kubeconfig)
	if err != nil {
		return 2, err
	}
	for _, q := range questions {
		passes, err := judge.passes(ctx, q)
		if err != nil {
			return 2, fmt.Errorf("%s: %w", q, err)
		}
		answer := "allowed"
		if !passes {
			answer, code = "denied", 1
		}
		if len(questions) > 1 {
			answer += " " + q.String()
		}
		fmt.Println(answer)
	}
	return code, nil
}
