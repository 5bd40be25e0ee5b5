package cluster

import (
	"context"
	"fmt"
	"os"
	"sync"

	"domicile.dev/testcluster/internal/ports"
)

// Attempts to start when another process takes a port between the choice and its use.
const attempts = 4

// Up brings a cluster up, calls ready, and waits until ctx ends or a component dies. It always takes all down, and
// returns why: the cause of ctx's end, or what the component said last.
func Up(ctx context.Context, options Options, ready func(kubeconfig, dir string)) error {
	dir, err := claimDirectory(options.Dir)
	if err != nil {
		return err
	}
	defer func() {
		if options.Keep {
			dir.keep()
			fmt.Fprintln(os.Stderr, "testcluster: state and logs are in", dir.Path)
			return
		}
		dir.release()
	}()
	for attempt := 1; ; attempt++ {
		wasUp, err := attemptUp(ctx, options, dir, ready)
		if err == nil || wasUp || attempt == attempts || !ports.Lost(err.Error()) {
			return err
		}
		fmt.Fprintln(os.Stderr, "testcluster: a port was taken; starting over")
		if err := dir.clear(); err != nil {
			return err
		}
	}
}

func attemptUp(ctx context.Context, options Options, dir *Directory, ready func(kubeconfig, dir string)) (wasUp bool, err error) {
	// One context for all: it ends by a signal, or with the first component that dies.
	ctx, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	s, err := boot(ctx, fail, options, dir)
	if s != nil {
		defer s.stopAll()
	}
	if err != nil {
		return false, err
	}
	stop, err := s.serve(ctx, dir)
	if err != nil {
		return false, err
	}
	defer stop()
	ready(dir.Kubeconfig("admin"), dir.Path)
	<-ctx.Done()
	return true, context.Cause(ctx)
}

// boot starts tier after tier. The supervisor it returns may have running components also when it fails.
func boot(ctx context.Context, fail context.CancelCauseFunc, options Options, dir *Directory) (*supervisor, error) {
	at, err := newAddresses()
	if err != nil {
		return nil, err
	}
	if err := dir.PKI().Create(at.server()); err != nil {
		return nil, err
	}
	if options.AuditLog {
		if err := os.WriteFile(dir.File(auditPolicyName), []byte(auditPolicy), 0o600); err != nil {
			return nil, err
		}
	}
	tiers, err := tiers(options, dir, at)
	if err != nil {
		return nil, err
	}
	s := newSupervisor(ctx, fail, tiers)
	for _, tier := range tiers {
		if err := s.startTier(ctx, tier); err != nil {
			return s, err
		}
		if tier[0].name == apiServer {
			if err := prepare(ctx, options, dir); err != nil {
				return s, err
			}
		}
	}
	return s, nil
}

func (s *supervisor) startTier(ctx context.Context, tier []*component) error {
	ctx, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	var all sync.WaitGroup
	for _, c := range tier {
		all.Go(func() {
			if err := s.start(ctx, c); err != nil {
				fail(err) // the others need not be waited for
			}
		})
	}
	all.Wait()
	return context.Cause(ctx)
}

// Interrupted is how a context ends that a signal, or the death of the parent, has ended.
type Interrupted struct{ By string }

func (i Interrupted) Error() string { return i.By }
