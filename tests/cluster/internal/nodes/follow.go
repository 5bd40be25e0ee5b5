package nodes

import (
	"context"
	"os"
	"time"
)

// pollEvery: a change is seen, and found to be complete, within two polls.
const pollEvery = 150 * time.Millisecond

// follow calls apply with each new content of the file until ctx ends. A file that is being written is left alone
// until it has been the same for one poll: a truncated one would remove nodes. A file that cannot be read or parsed
// changes nothing, and complain is told once.
func follow(ctx context.Context, path string, apply func([]Spec), complain func(error)) {
	type version struct {
		modified time.Time
		size     int64
	}
	var applied, seen version
	for {
		if info, err := os.Stat(path); err == nil {
			now := version{info.ModTime(), info.Size()}
			if now == seen && now != applied {
				applied = now
				if list, err := Load(path); err == nil {
					apply(list)
				} else {
					complain(err)
				}
			}
			seen = now
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(pollEvery):
		}
	}
}
