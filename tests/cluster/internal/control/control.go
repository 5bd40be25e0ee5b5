// Package control is how commands speak to a running `testcluster up`: one JSON request and one JSON response over
// the unix socket control.sock in the cluster's directory.
package control

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
)

// Request asks for an action on a component: status, stop, kill, pause, resume, start or restart. status needs no
// component.
type Request struct {
	Action    string `json:"action"`
	Component string `json:"component,omitempty"`
}

// Response is what happened. Error is empty on success.
type Response struct {
	Error      string      `json:"error,omitempty"`
	Components []Component `json:"components,omitempty"`
}

// Component is one line of the status.
type Component struct {
	Name  string `json:"name"`
	State string `json:"state"`
	PID   int    `json:"pid,omitempty"`
	Log   string `json:"log"`
}

// Serve answers requests until the listener is closed. handle may be called by several callers at once.
func Serve(dir string, handle func(Request) Response) (net.Listener, error) {
	var listener net.Listener
	err := withSocket(dir, func(path string) (err error) {
		listener, err = net.Listen("unix", path)
		return err
	})
	if err != nil {
		return nil, err
	}
	go func() {
		for {
			connection, err := listener.Accept()
			if err != nil {
				return
			}
			go answer(connection, handle)
		}
	}()
	return listener, nil
}

func answer(connection net.Conn, handle func(Request) Response) {
	defer connection.Close()
	var request Request
	response := Response{}
	if err := json.NewDecoder(connection).Decode(&request); err != nil {
		response.Error = err.Error()
	} else {
		response = handle(request)
	}
	_ = json.NewEncoder(connection).Encode(response)
}

// Call sends a request to the cluster in dir and waits for the response, as long as it takes.
func Call(dir string, request Request) (Response, error) {
	var connection net.Conn
	err := withSocket(dir, func(path string) (err error) {
		connection, err = net.Dial("unix", path)
		return err
	})
	if err != nil {
		return Response{}, fmt.Errorf("no cluster runs in %s: %w", dir, err)
	}
	defer connection.Close()
	if err := json.NewEncoder(connection).Encode(request); err != nil {
		return Response{}, err
	}
	var response Response
	if err := json.NewDecoder(connection).Decode(&response); err != nil {
		return Response{}, fmt.Errorf("the cluster went away: %w", err)
	}
	return response, nil
}

// withSocket gives f a path to the socket that fits the 107 bytes an address may have, however long dir is.
func withSocket(dir string, f func(path string) error) error {
	const name, limit = "control.sock", 107
	path := filepath.Join(dir, name)
	if len(path) <= limit {
		return f(path)
	}
	open, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer open.Close()
	return f(fmt.Sprintf("/proc/self/fd/%d/%s", open.Fd(), name))
}
