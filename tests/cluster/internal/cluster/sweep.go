package cluster

import (
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// sweepAfter leaves directories alone that may be about to be locked for the first time.
const sweepAfter = time.Minute

// sweep removes temporary directories of clusters that were killed: a SIGKILL leaves no process behind, but some
// 130 MB of state, and test runners kill that way. The lock tells the dead from the living.
func sweep() {
	locks, err := filepath.Glob(filepath.Join(os.TempDir(), temporaryName+"*", lockName))
	if err != nil {
		return
	}
	for _, path := range locks {
		info, err := os.Stat(path)
		if err != nil || time.Since(info.ModTime()) < sweepAfter {
			continue
		}
		lock, err := os.OpenFile(path, os.O_RDWR, 0)
		if err != nil {
			continue // someone else's
		}
		if unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB) == nil {
			_ = os.RemoveAll(filepath.Dir(path))
		}
		lock.Close()
	}
}
