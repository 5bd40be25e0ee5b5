package nodes

import (
	"context"
	"encoding/json"
	"time"

	core "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/strategicpatch"

	"domicile.dev/testcluster/internal/pods"
)

// syncPod does the next step with one bound pod and says when to look again; zero for not before it changes.
func (f *fleet) syncPod(ctx context.Context, pod *core.Pod) (time.Duration, error) {
	m := f.machine(pod.Spec.NodeName)
	if m == nil || m.current().Stopped {
		return 0, nil
	}
	node := f.node(m.name)
	if node == nil {
		return 0, nil // not registered yet; registration looks at the node's pods again
	}
	situation, err := f.situation(ctx, m, pod, node)
	if err != nil {
		return 0, err
	}
	step := pods.Next(pod, situation)
	if step.Report != nil {
		if err := m.report(ctx, pod, step.Report); err != nil {
			return 0, ignoreGone(err)
		}
		m.note(ctx, pod, situation, step)
	}
	if step.Remove {
		none := int64(0)
		return 0, ignoreGone(m.client.CoreV1().Pods(pod.Namespace).Delete(ctx, pod.Name, meta.DeleteOptions{
			GracePeriodSeconds: &none, Preconditions: &meta.Preconditions{UID: &pod.UID},
		}))
	}
	return step.Again, nil
}

// situation collects what the decision needs. Admission of one node's pods is one at a time: each that is admitted
// takes room from the next.
func (f *fleet) situation(ctx context.Context, m *machine, pod *core.Pod, node *core.Node) (pods.Situation, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	r := m.remember(pod)
	s := pods.Situation{Now: time.Now(), HostIPs: m.profile.addresses, StartedAt: r.startedAt}
	if pod.DeletionTimestamp != nil && r.terminatingSince.IsZero() {
		r.terminatingSince = s.Now
	}
	s.TerminatingSince = r.terminatingSince
	if !r.admitted && pod.DeletionTimestamp == nil {
		rejection, err := f.admit(ctx, m, pod, node)
		if err != nil {
			return s, err
		}
		s.Rejection = rejection
		r.admitted = rejection == nil
	}
	if !r.admitted || pod.DeletionTimestamp != nil {
		s.PodIPs = r.podIPs
		return s, nil
	}
	if pod.Status.Phase == core.PodPending || pod.Status.Phase == "" {
		if s.Volumes = pods.Volumes(pod, node.Labels, f.volumes()); s.Volumes != nil {
			return s, nil
		}
	}
	var err error
	s.PodIPs, err = m.addressesFor(pod, r)
	return s, err
}

// admit asks the predicates, and reads the node again before labels alone refuse a pod: what the cache knows of them
// may be older than what the scheduler knew.
func (f *fleet) admit(ctx context.Context, m *machine, pod *core.Pod, node *core.Node) (*pods.Rejection, error) {
	var others []*core.Pod
	for _, other := range f.podsOn(m.name) {
		ended := other.Status.Phase == core.PodSucceeded || other.Status.Phase == core.PodFailed
		if other.UID != pod.UID && !ended && m.remember(other).admitted {
			others = append(others, other)
		}
	}
	rejection := pods.Admit(pod, node, others)
	if rejection == nil || !rejection.Labels {
		return rejection, nil
	}
	fresh, err := m.client.CoreV1().Nodes().Get(ctx, m.name, meta.GetOptions{})
	if err != nil {
		return nil, err
	}
	return pods.Admit(pod, fresh, others), nil
}

// report patches the status by what changed, as a kubelet does; the UID keeps it from a later pod of the same name.
func (m *machine) report(ctx context.Context, pod *core.Pod, status *core.PodStatus) error {
	before, err := json.Marshal(core.Pod{Status: pod.Status})
	if err != nil {
		return err
	}
	// The UID is only on this side, so that it is in the patch.
	after, err := json.Marshal(core.Pod{ObjectMeta: meta.ObjectMeta{UID: pod.UID}, Status: *pods.Merge(&pod.Status, status)})
	if err != nil {
		return err
	}
	patch, err := strategicpatch.CreateTwoWayMergePatch(before, after, core.Pod{})
	if err != nil {
		return err
	}
	_, err = m.client.CoreV1().Pods(pod.Namespace).Patch(ctx, pod.Name, types.StrategicMergePatchType, patch, meta.PatchOptions{}, "status")
	return err
}

// note remembers what was reported, and tells about what went wrong.
func (m *machine) note(ctx context.Context, pod *core.Pod, s pods.Situation, step pods.Step) {
	m.mu.Lock()
	r := m.remember(pod)
	if step.Starts {
		r.startedAt = s.Now
	}
	warned := r.warned
	r.warned = r.warned || s.Rejection != nil || s.Volumes != nil
	m.mu.Unlock()
	switch {
	case warned:
	case s.Rejection != nil:
		m.warn(ctx, pod, s.Rejection.Reason, s.Rejection.Message)
	case s.Volumes != nil:
		m.warn(ctx, pod, "FailedMount", s.Volumes.Error())
	}
}

// ignoreGone: a pod that is gone, or another one by now, needs nothing.
func ignoreGone(err error) error {
	if apierrors.IsNotFound(err) || apierrors.IsConflict(err) {
		return nil
	}
	return err
}
