package ports

import (
	"fmt"
	"net"
	"testing"
)

func TestPortsAreFreeAndDifferent(t *testing.T) {
	found, err := Free(20)
	if err != nil {
		t.Fatal(err)
	}
	seen := map[int]bool{}
	for _, port := range found {
		if seen[port] || port < lowest || port >= highest {
			t.Error(port)
		}
		seen[port] = true
	}
}

func TestATakenPortReadsAsLost(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	_, err = net.Listen("tcp", listener.Addr().String())
	if err == nil || !Lost(fmt.Sprintf("kube-apiserver ended: %v", err)) {
		t.Error(err)
	}
}
