package process

import (
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// OnParentDeath calls f once the process that started this one is gone.
//
// Why not prctl(PR_SET_PDEATHSIG) on ourselves: it fires when the parent's THREAD ends. Rust runs each test in a
// thread of its own, so a cluster that several tests share would die with the first of them. A pidfd follows the
// process.
func OnParentDeath(f func()) {
	parent := os.Getppid()
	fd, err := unix.PidfdOpen(parent, 0)
	go func() {
		if err == nil {
			defer unix.Close(fd)
			poll := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
			// The check of Getppid: the parent may have died, and its number been reused, before the open.
			for os.Getppid() == parent {
				if n, err := unix.Poll(poll, 1000); n > 0 && err == nil {
					break
				}
			}
		} else { // a kernel before 5.3, or the parent is gone already
			for os.Getppid() == parent {
				time.Sleep(200 * time.Millisecond)
			}
		}
		f()
	}()
}
