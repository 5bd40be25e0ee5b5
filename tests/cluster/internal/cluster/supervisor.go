package cluster

import (
	"context"
	"fmt"
	"sync"
	"syscall"
	"time"

	"domicile.dev/testcluster/internal/process"
)

// state of a component, in the words of `testcluster component status`.
type state string

const (
	stopped  state = "stopped"  // on purpose
	starting state = "starting" // and not healthy yet
	running  state = "running"
	paused   state = "paused"
	failed   state = "failed" // ended by itself
)

// component is one part of the control plane, over all processes it has had.
type component struct {
	name    string
	args    []string
	log     string
	healthy check

	// action serialises what is done to it; mu guards the two below, which are read meanwhile.
	action  sync.Mutex
	mu      sync.Mutex
	process *process.Process
	state   state
}

// supervisor starts components and notices when one ends that nobody stopped.
type supervisor struct {
	spawner    *process.Spawner
	components []*component // in the order of their start
	// ctx is the cluster's life, and fail ends it.
	ctx  context.Context
	fail context.CancelCauseFunc
}

func newSupervisor(ctx context.Context, fail context.CancelCauseFunc, tiers [][]*component) *supervisor {
	s := &supervisor{spawner: process.NewSpawner(), ctx: ctx, fail: fail}
	for _, tier := range tiers {
		for _, c := range tier {
			c.state = stopped
			s.components = append(s.components, c)
		}
	}
	return s
}

// start runs a component that is stopped and waits until it is healthy. One that does not get there is stopped again.
func (s *supervisor) start(ctx context.Context, c *component) error {
	if now, _ := c.now(); now != stopped {
		return fmt.Errorf("%s is %s", c.name, now)
	}
	p, err := s.spawner.Start(process.Command{Role: c.name, Args: c.args, Log: c.log})
	if err != nil {
		return err
	}
	c.set(starting, p)
	if err := awaitHealthy(ctx, c, p); err != nil {
		p.Kill()
		c.set(stopped, p)
		return err
	}
	c.set(running, p)
	go s.watch(c, p)
	return nil
}

// watch ends the cluster when a component ends that was not meant to.
func (s *supervisor) watch(c *component, p *process.Process) {
	<-p.Done()
	c.mu.Lock()
	unexpected := c.process == p && c.state != stopped
	if unexpected {
		c.state = failed
	}
	c.mu.Unlock()
	if unexpected {
		s.fail(ended(s.ctx, p))
	}
}

func awaitHealthy(ctx context.Context, c *component, p *process.Process) error {
	timeout := time.After(patience)
	for {
		attempt, cancel := context.WithTimeout(ctx, 5*time.Second)
		err := c.healthy(attempt)
		cancel()
		if err == nil {
			return nil
		}
		select {
		case <-p.Done():
			return ended(ctx, p)
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-timeout:
			return fmt.Errorf("%s is not healthy after %s: %w; its last words:\n%s", c.name, patience, err, p.Tail(tailLines))
		case <-time.After(25 * time.Millisecond):
		}
	}
}

// settle: Ctrl-C goes to the whole process group, so a component may end before the signal is seen here.
const settle = 500 * time.Millisecond

// ended tells why a process ended: because everything ends, or with what it said last.
func ended(ctx context.Context, p *process.Process) error {
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(settle):
		return fmt.Errorf("%s ended (%s); its last words:\n%s", p.Command.Role, p.Outcome(), p.Tail(tailLines))
	}
}

// end stops a component for as long as nobody starts it again; by is how.
func (c *component) end(by func(*process.Process)) error {
	now, p := c.now()
	if now != running && now != paused {
		return fmt.Errorf("%s is %s", c.name, now)
	}
	c.set(stopped, p)
	by(p)
	return nil
}

// suspend stops or continues the process's threads.
func (c *component) suspend(from, to state, signal syscall.Signal) error {
	now, p := c.now()
	if now != from {
		return fmt.Errorf("%s is %s", c.name, now)
	}
	p.Signal(signal)
	c.set(to, p)
	return nil
}

func (c *component) now() (state, *process.Process) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.state, c.process
}

func (c *component) set(to state, p *process.Process) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.state, c.process = to, p
}

// stopAll kills everything, last started first, without draining, and waits until all are gone.
func (s *supervisor) stopAll() {
	var gone sync.WaitGroup
	for i := len(s.components) - 1; i >= 0; i-- {
		c := s.components[i]
		now, p := c.now()
		if p == nil || now == stopped {
			continue
		}
		c.set(stopped, p)
		p.Signal(syscall.SIGKILL)
		gone.Go(func() { <-p.Done() })
	}
	gone.Wait()
}
