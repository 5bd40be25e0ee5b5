package process

import (
	"bytes"
	"os"
	"os/exec"
	"syscall"
	"time"
)

// Process is a running or ended child.
type Process struct {
	Command Command
	cmd     *exec.Cmd
	done    chan struct{}
}

// PID of the child.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Done is closed when the child has ended.
func (p *Process) Done() <-chan struct{} { return p.done }

// Outcome says how the child ended, as in "exit status 1". Only after Done.
func (p *Process) Outcome() string { return p.cmd.ProcessState.String() }

// Signal sends a signal; one to an ended child is lost.
func (p *Process) Signal(signal syscall.Signal) { _ = p.cmd.Process.Signal(signal) }

// Kill ends the child at once and waits for its end.
func (p *Process) Kill() {
	p.Signal(syscall.SIGKILL)
	<-p.done
}

// Stop asks the child to end, and kills it when it has not after grace.
func (p *Process) Stop(grace time.Duration) {
	p.Signal(syscall.SIGTERM)
	p.Signal(syscall.SIGCONT) // a paused process takes no SIGTERM
	select {
	case <-p.done:
	case <-time.After(grace):
		p.Kill()
	}
}

// tailBytes bounds what Tail reads; a log can be large.
const tailBytes = 16 << 10

// Tail returns the last lines of the child's log.
func (p *Process) Tail(lines int) string {
	file, err := os.Open(p.Command.Log)
	if err != nil {
		return ""
	}
	defer file.Close()
	if info, err := file.Stat(); err == nil && info.Size() > tailBytes {
		_, _ = file.Seek(-tailBytes, 2)
	}
	buffer := make([]byte, tailBytes)
	n, _ := file.Read(buffer)
	all := bytes.Split(bytes.TrimRight(buffer[:n], "\n"), []byte("\n"))
	if len(all) > lines {
		all = all[len(all)-lines:]
	}
	return string(bytes.Join(all, []byte("\n")))
}
