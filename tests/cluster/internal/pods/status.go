package pods

import (
	"slices"
	"time"

	core "k8s.io/api/core/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
)

const crashLoop = "CrashLoopBackOff"

// rejected is the status of a pod that the node did not take, in a kubelet's words.
func rejected(pod *core.Pod, s Situation) *core.PodStatus {
	now := meta.NewTime(s.Now)
	return &core.PodStatus{
		ObservedGeneration: pod.Generation,
		Phase:              core.PodFailed,
		Reason:             s.Rejection.Reason,
		Message:            "Pod was rejected: " + s.Rejection.Message,
		StartTime:          &now,
	}
}

// Merge puts a report into the status that a pod has: a kubelet owns some fields and some conditions, others the rest.
func Merge(have, report *core.PodStatus) *core.PodStatus {
	merged := have.DeepCopy()
	merged.ObservedGeneration = report.ObservedGeneration
	merged.Phase, merged.Reason, merged.Message = report.Phase, report.Reason, report.Message
	merged.StartTime = report.StartTime
	merged.HostIP, merged.HostIPs = report.HostIP, report.HostIPs
	merged.PodIP, merged.PodIPs = report.PodIP, report.PodIPs
	merged.InitContainerStatuses, merged.ContainerStatuses = report.InitContainerStatuses, report.ContainerStatuses
	for _, condition := range report.Conditions {
		at := slices.IndexFunc(merged.Conditions, func(c core.PodCondition) bool { return c.Type == condition.Type })
		if at < 0 {
			merged.Conditions = append(merged.Conditions, condition)
		} else {
			merged.Conditions[at] = condition
		}
	}
	return merged
}

// base is what all other reports hold.
func base(pod *core.Pod, s Situation, phase core.PodPhase) *core.PodStatus {
	status := &core.PodStatus{ObservedGeneration: pod.Generation, Phase: phase, StartTime: pod.Status.StartTime}
	if status.StartTime == nil {
		now := meta.NewTime(s.Now)
		status.StartTime = &now
	}
	for _, ip := range s.HostIPs {
		status.HostIPs = append(status.HostIPs, core.HostIP{IP: ip})
	}
	if len(s.HostIPs) > 0 {
		status.HostIP = s.HostIPs[0]
	}
	return status
}

// creating is a pod that waits for its volumes: no sandbox, no address.
func creating(pod *core.Pod, s Situation) *core.PodStatus {
	status := base(pod, s, core.PodPending)
	state := core.ContainerState{Waiting: &core.ContainerStateWaiting{Reason: "ContainerCreating"}}
	if len(pod.Spec.InitContainers) > 0 {
		state.Waiting.Reason = "PodInitializing"
	}
	status.InitContainerStatuses = containers(pod, pod.Spec.InitContainers, state, false)
	status.ContainerStatuses = containers(pod, pod.Spec.Containers, state, false)
	conditions(pod, s, status, flags{initialized: len(pod.Spec.InitContainers) == 0, reason: "ContainersNotReady"})
	return status
}

// running is a pod whose init containers have ended and whose containers run.
func running(pod *core.Pod, s Situation) *core.PodStatus {
	status := base(pod, s, core.PodRunning)
	addresses(status, s.PodIPs)
	started := s.StartedAt
	if started.IsZero() {
		started = s.Now
	}
	state := core.ContainerState{Running: &core.ContainerStateRunning{StartedAt: meta.NewTime(started)}}
	ready := pod.Annotations[NotReady] != "true"
	status.InitContainerStatuses = containers(pod, pod.Spec.InitContainers, terminated(0, started, started), true)
	for i, c := range pod.Spec.InitContainers {
		if sidecar(c) {
			status.InitContainerStatuses[i] = container(pod, c, state, ready)
		}
	}
	status.ContainerStatuses = containers(pod, pod.Spec.Containers, state, ready)
	conditions(pod, s, status, flags{sandbox: true, initialized: true, ready: ready, reason: "ContainersNotReady"})
	return status
}

// finished is a pod whose containers have ended for good.
func finished(pod *core.Pod, s Situation, code int32) *core.PodStatus {
	phase, reason := core.PodSucceeded, "PodCompleted"
	if code != 0 {
		phase, reason = core.PodFailed, "PodFailed"
	}
	status := base(pod, s, phase)
	addresses(status, s.PodIPs)
	status.InitContainerStatuses = containers(pod, pod.Spec.InitContainers, terminated(0, s.StartedAt, s.Now), false)
	status.ContainerStatuses = containers(pod, pod.Spec.Containers, terminated(code, s.StartedAt, s.Now), false)
	conditions(pod, s, status, flags{initialized: true, reason: reason})
	return status
}

// crashed is a pod whose containers end again and again.
func crashed(pod *core.Pod, s Situation, code int32) *core.PodStatus {
	status := running(pod, s)
	for i := range status.ContainerStatuses {
		one := &status.ContainerStatuses[i]
		no := false
		one.LastTerminationState = terminated(code, s.StartedAt, s.Now)
		one.State = core.ContainerState{Waiting: &core.ContainerStateWaiting{Reason: crashLoop, Message: "back-off restarting failed container"}}
		one.Ready, one.Started, one.RestartCount = false, &no, 1
	}
	conditions(pod, s, status, flags{sandbox: true, initialized: true, reason: "ContainersNotReady"})
	return status
}

func addresses(status *core.PodStatus, ips []string) {
	for _, ip := range ips {
		status.PodIPs = append(status.PodIPs, core.PodIP{IP: ip})
	}
	if len(ips) > 0 {
		status.PodIP = ips[0]
	}
}

func sidecar(c core.Container) bool {
	return c.RestartPolicy != nil && *c.RestartPolicy == core.ContainerRestartPolicyAlways
}

func terminated(code int32, from, to time.Time) core.ContainerState {
	reason := "Completed"
	if code != 0 {
		reason = "Error"
	}
	return core.ContainerState{Terminated: &core.ContainerStateTerminated{
		ExitCode: code, Reason: reason, StartedAt: meta.NewTime(from), FinishedAt: meta.NewTime(to),
	}}
}

func containers(pod *core.Pod, list []core.Container, state core.ContainerState, ready bool) []core.ContainerStatus {
	var statuses []core.ContainerStatus
	for _, c := range list {
		statuses = append(statuses, container(pod, c, state, ready))
	}
	return statuses
}

func container(pod *core.Pod, c core.Container, state core.ContainerState, ready bool) core.ContainerStatus {
	status := core.ContainerStatus{Name: c.Name, Image: c.Image, State: state, Ready: ready}
	started := state.Running != nil
	status.Started = &started
	if state.Waiting == nil {
		status.ImageID = "testcluster://" + c.Image
		status.ContainerID = "testcluster://" + string(pod.UID) + "/" + c.Name
	}
	return status
}

// flags are the conditions of a pod in short.
type flags struct {
	sandbox, initialized, ready bool
	reason                      string // when it is not ready
}

// conditions writes the kubelet's conditions; one that does not change keeps its transition time.
func conditions(pod *core.Pod, s Situation, status *core.PodStatus, f flags) {
	status.Conditions = nil
	set := func(kind core.PodConditionType, value bool, reason string) {
		condition := core.PodCondition{Type: kind, Status: core.ConditionFalse, Reason: reason,
			ObservedGeneration: pod.Generation, LastTransitionTime: meta.NewTime(s.Now)}
		if value {
			condition.Status, condition.Reason = core.ConditionTrue, ""
		}
		for _, old := range pod.Status.Conditions {
			if old.Type == kind && old.Status == condition.Status {
				condition.LastTransitionTime = old.LastTransitionTime
			}
		}
		status.Conditions = append(status.Conditions, condition)
	}
	set(core.PodReadyToStartContainers, f.sandbox, "")
	set(core.PodInitialized, f.initialized, "ContainersNotInitialized")
	set(core.ContainersReady, f.ready, f.reason)
	switch {
	case f.ready && !gatesOpen(pod):
		set(core.PodReady, false, "ReadinessGatesNotReady")
	default:
		set(core.PodReady, f.ready, f.reason)
	}
}

// gatesOpen says whether all readiness gates have their condition.
func gatesOpen(pod *core.Pod) bool {
	for _, gate := range pod.Spec.ReadinessGates {
		open := false
		for _, condition := range pod.Status.Conditions {
			open = open || condition.Type == gate.ConditionType && condition.Status == core.ConditionTrue
		}
		if !open {
			return false
		}
	}
	return true
}

// readiness is what a running pod's report is about.
func readiness(status *core.PodStatus) (both [2]core.ConditionStatus) {
	for _, condition := range status.Conditions {
		switch condition.Type {
		case core.ContainersReady:
			both[0] = condition.Status
		case core.PodReady:
			both[1] = condition.Status
		}
	}
	return both
}
