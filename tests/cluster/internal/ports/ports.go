// Package ports finds free loopback ports. A port that is free now may be taken a moment later; who uses one must
// be ready to lose it (package cluster starts over). To make that rare, ports come from below the range the kernel
// gives to outgoing connections: those of the control plane itself would be the likeliest thieves, also while a
// component that comes back on its old port is stopped.
package ports

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"strings"
)

const (
	lowest   = 20000
	highest  = 32000 // Linux hands out 32768 and above
	attempts = 200
)

// Free returns n different ports that nothing listened on a moment ago.
func Free(n int) ([]int, error) {
	var listeners []net.Listener
	defer func() {
		for _, listener := range listeners {
			listener.Close()
		}
	}()
	var found []int
	for range attempts {
		if len(found) == n {
			return found, nil
		}
		port := lowest + rand.IntN(highest-lowest)
		listener, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err != nil {
			continue
		}
		// Held until all are found, so that no port is given twice.
		listeners = append(listeners, listener)
		found = append(found, port)
	}
	return nil, errors.New("no free loopback ports")
}

// Lost says whether an error or a log tells that a port was taken by someone else.
func Lost(text string) bool { return strings.Contains(text, "address already in use") }
