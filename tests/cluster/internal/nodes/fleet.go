package nodes

import (
	"context"
	"fmt"
	"os"
	"sync"
	"time"

	core "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/util/workqueue"

	"domicile.dev/testcluster/internal/drivers"
	"domicile.dev/testcluster/internal/pki"
)

// Options of the role.
type Options struct {
	File      string
	Authority *pki.Authority
	// Controller is the identity that reads for all nodes, gives them the networks of their pods, and deletes those that left
	// the file.
	Controller *rest.Config
	Drivers    []drivers.Driver
	Version    string // that the kubelets report
	Heartbeat  time.Duration
}

// Workers: nodes and pods are few and their requests quick.
const (
	nodeWorkers = 4
	podWorkers  = 8
)

// fleet is all simulated kubelets.
type fleet struct {
	Options
	controller kubernetes.Interface
	caches     caches
	nodeQ      workqueue.TypedRateLimitingInterface[string]
	podQ       workqueue.TypedRateLimitingInterface[string]

	mu       sync.Mutex
	wanted   map[string]Spec // nil before the file was read
	machines map[string]*machine
	problems map[string]error // by node, what went wrong last
}

// Start runs the role until ctx ends. health says what is not as the file wants it.
func Start(ctx context.Context, options Options) (health func() error, err error) {
	controller, err := kubernetes.NewForConfig(options.Controller)
	if err != nil {
		return nil, err
	}
	f := &fleet{
		Options: options, controller: controller,
		nodeQ:    workqueue.NewTypedRateLimitingQueue(limiter()),
		podQ:     workqueue.NewTypedRateLimitingQueue(limiter()),
		machines: map[string]*machine{}, problems: map[string]error{},
	}
	if err := f.watch(ctx); err != nil {
		return nil, err
	}
	go f.run(ctx)
	return f.health, nil
}

// limiter: retries come soon and stay frequent; a stopped API server comes back within seconds.
func limiter() workqueue.TypedRateLimiter[string] {
	return workqueue.NewTypedItemExponentialFailureRateLimiter[string](10*time.Millisecond, 2*time.Second)
}

func (f *fleet) run(ctx context.Context) {
	if !cache.WaitForCacheSync(ctx.Done(), f.caches.synced...) {
		return
	}
	for range nodeWorkers {
		go work(ctx, f.nodeQ, func(name string) (time.Duration, error) { return 0, f.syncNode(ctx, name) })
	}
	for range podWorkers {
		go work(ctx, f.podQ, func(key string) (time.Duration, error) {
			if pod := f.pod(key); pod != nil {
				return f.syncPod(ctx, pod)
			}
			return 0, nil
		})
	}
	go f.beat(ctx)
	follow(ctx, f.File, f.apply, func(err error) { fmt.Fprintln(os.Stderr, "nodes:", err) })
	f.nodeQ.ShutDown()
	f.podQ.ShutDown()
}

// work takes keys from a queue until it is shut down.
func work(ctx context.Context, q workqueue.TypedRateLimitingInterface[string], do func(string) (time.Duration, error)) {
	for {
		key, shutdown := q.Get()
		if shutdown {
			return
		}
		again, err := do(key)
		switch {
		case err != nil:
			if ctx.Err() == nil {
				fmt.Fprintf(os.Stderr, "nodes: %s: %v\n", key, err)
			}
			q.AddRateLimited(key)
		case again > 0:
			q.Forget(key)
			q.AddAfter(key, again)
		default:
			q.Forget(key)
		}
		q.Done(key)
	}
}

// apply takes a new content of the file.
func (f *fleet) apply(list []Spec) {
	wanted := map[string]Spec{}
	for _, spec := range list {
		wanted[spec.Name] = spec
	}
	f.mu.Lock()
	f.wanted = wanted
	f.mu.Unlock()
	for _, spec := range list {
		f.nodeQ.Add(spec.Name)
	}
	for _, node := range f.allNodes() {
		f.nodeQ.Add(node.Name) // those that left the file among them
	}
}

// syncNode makes one node as the file says.
func (f *fleet) syncNode(ctx context.Context, name string) (err error) {
	defer func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.problems[name] = err
	}()
	f.mu.Lock()
	spec, wanted := f.wanted[name]
	read := f.wanted != nil
	f.mu.Unlock()
	have := f.node(name)
	if !read {
		return nil
	}
	if !wanted {
		return f.remove(ctx, name, have)
	}
	m, err := f.machineFor(spec, have)
	if err != nil {
		return err
	}
	if spec.Stopped {
		return nil
	}
	return m.register(ctx, have, time.Now())
}

// remove deletes the node of a machine that is gone, as a cloud's node controller does.
func (f *fleet) remove(ctx context.Context, name string, have *core.Node) error {
	f.mu.Lock()
	delete(f.machines, name)
	f.mu.Unlock()
	if have == nil || have.Annotations[ownLabels] == "" {
		return nil // gone, or not ours
	}
	err := f.controller.CoreV1().Nodes().Delete(ctx, name, meta.DeleteOptions{Preconditions: &meta.Preconditions{UID: &have.UID}})
	if apierrors.IsNotFound(err) || apierrors.IsConflict(err) {
		return nil
	}
	return err
}

// beat renews all leases.
func (f *fleet) beat(ctx context.Context) {
	tick := time.NewTicker(f.Heartbeat)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-tick.C:
			var all sync.WaitGroup
			for _, m := range f.allMachines() {
				node := f.node(m.name)
				if node == nil || m.current().Stopped {
					continue
				}
				f.nodeQ.Add(m.name) // conditions grow old
				all.Go(func() { _ = m.renew(ctx, node.UID, now) })
			}
			all.Wait()
		}
	}
}

// health wants each node of the file to be there, Ready, and free of the taint for those that are not.
func (f *fleet) health() error {
	for _, synced := range f.caches.synced {
		if !synced() {
			return fmt.Errorf("still reading the cluster")
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.wanted == nil {
		return fmt.Errorf("%s was not read yet", f.File)
	}
	for name, spec := range f.wanted {
		if spec.Stopped {
			continue
		}
		if err := f.problems[name]; err != nil {
			return fmt.Errorf("node %s: %w", name, err)
		}
		if node := f.node(name); node == nil || !usable(node) {
			return fmt.Errorf("node %s is not ready yet", name)
		}
	}
	return nil
}

func usable(node *core.Node) bool {
	for _, taint := range node.Spec.Taints {
		if taint.Key == core.TaintNodeNotReady || taint.Key == core.TaintNodeUnreachable {
			return false
		}
	}
	for _, condition := range node.Status.Conditions {
		if condition.Type == core.NodeReady {
			return condition.Status == core.ConditionTrue
		}
	}
	return false
}
