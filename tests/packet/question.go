package main

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	core "k8s.io/api/core/v1"
)

// question is one packet.
type question struct {
	from, to string
	port     int
	protocol core.Protocol
}

func (q question) String() string {
	return fmt.Sprintf("%s %s %d/%s", q.from, q.to, q.port, q.protocol)
}

// questions combines the lists; one of a single value counts for all packets.
func questions(from, to, ports []string) ([]question, error) {
	n := max(len(from), len(to), len(ports))
	for _, l := range [][]string{from, to, ports} {
		if len(l) == 0 || len(l) != n && len(l) != 1 {
			return nil, errors.New("--from, --to and --port must be given, each once or all of them equally often")
		}
	}
	at := func(l []string, i int) string { return l[min(i, len(l)-1)] }
	var all []question
	for i := range n {
		number, protocol, ok := strings.Cut(at(ports, i), "/")
		if !ok {
			protocol = string(core.ProtocolTCP)
		}
		port, err := strconv.Atoi(number)
		if err != nil || port < 1 || port > 65535 {
			return nil, fmt.Errorf("%q is no port", at(ports, i))
		}
		switch p := core.Protocol(strings.ToUpper(protocol)); p {
		case core.ProtocolTCP, core.ProtocolUDP, core.ProtocolSCTP:
			all = append(all, question{at(from, i), at(to, i), port, p})
		default:
			return nil, fmt.Errorf("%q is no protocol: TCP, UDP or SCTP", protocol)
		}
	}
	return all, nil
}
