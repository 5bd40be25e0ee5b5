package cluster

import (
	"context"
	"fmt"
	"syscall"

	"domicile.dev/testcluster/internal/control"
	"domicile.dev/testcluster/internal/process"
)

// serve carries out the requests of `testcluster component`.
func (s *supervisor) serve(ctx context.Context, dir *Directory) (close func(), err error) {
	listener, err := control.Serve(dir.Path, func(request control.Request) control.Response {
		if err := s.act(ctx, request); err != nil {
			return control.Response{Error: err.Error()}
		}
		return control.Response{Components: s.status()}
	})
	if err != nil {
		return nil, err
	}
	return func() { listener.Close() }, nil
}

func (s *supervisor) act(ctx context.Context, request control.Request) error {
	if request.Action == "status" {
		return nil
	}
	c, err := s.find(request.Component)
	if err != nil {
		return err
	}
	c.action.Lock()
	defer c.action.Unlock()
	gracefully := func(p *process.Process) { p.Stop(grace) }
	switch request.Action {
	case "stop":
		return c.end(gracefully)
	case "kill":
		return c.end((*process.Process).Kill)
	case "pause":
		return c.suspend(running, paused, syscall.SIGSTOP)
	case "resume":
		return c.suspend(paused, running, syscall.SIGCONT)
	case "start":
		return s.start(ctx, c)
	case "restart":
		if err := c.end(gracefully); err != nil {
			return err
		}
		return s.start(ctx, c)
	}
	return fmt.Errorf("unknown action %q", request.Action)
}

func (s *supervisor) find(name string) (*component, error) {
	var names []string
	for _, c := range s.components {
		if c.name == name {
			return c, nil
		}
		names = append(names, c.name)
	}
	return nil, fmt.Errorf("no component %q here; there are %v", name, names)
}

func (s *supervisor) status() []control.Component {
	var list []control.Component
	for _, c := range s.components {
		now, p := c.now()
		one := control.Component{Name: c.name, State: string(now), Log: c.log}
		if p != nil && (now == running || now == paused) {
			one.PID = p.PID()
		}
		list = append(list, one)
	}
	return list
}
