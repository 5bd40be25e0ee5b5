// Package process runs child processes that never outlive this one, whatever ends it.
//
// Linux sends a child its parent-death signal when the THREAD that started it ends, and Go ends threads as it likes.
// So one goroutine, locked to its thread for good, starts all children.
package process

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"syscall"
)

// Command is what to run: this binary in a role.
type Command struct {
	Role string
	Args []string
	// Log is the file that takes stdout and stderr, appended.
	Log string
}

// Spawner starts children from one thread.
type Spawner struct{ requests chan request }

type request struct {
	command Command
	answer  chan answer
}

type answer struct {
	process *Process
	err     error
}

// NewSpawner starts the goroutine that starts the children. It ends with the program.
func NewSpawner() *Spawner {
	s := &Spawner{requests: make(chan request)}
	go func() {
		runtime.LockOSThread()
		for r := range s.requests {
			process, err := start(r.command)
			r.answer <- answer{process, err}
		}
	}()
	return s
}

// Start runs a command.
func (s *Spawner) Start(command Command) (*Process, error) {
	r := request{command, make(chan answer, 1)}
	s.requests <- r
	a := <-r.answer
	return a.process, a.err
}

func start(command Command) (*Process, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	log, err := os.OpenFile(command.Log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	defer log.Close() // the child has its own copy
	cmd := exec.Command(self)
	cmd.Args = append([]string{command.Role}, command.Args...) // argv[0] picks the role, and `ps` shows it
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("%s: %w", command.Role, err)
	}
	p := &Process{Command: command, cmd: cmd, done: make(chan struct{})}
	go func() {
		_ = cmd.Wait() // the state says it better than the error
		close(p.done)
	}()
	return p, nil
}
