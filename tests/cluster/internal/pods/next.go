package pods

import (
	"strconv"
	"time"

	core "k8s.io/api/core/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Annotations by which a pod says what its containers do.
const (
	// RunFor ends all containers after this duration, as in "1s". Pods of a Job end after defaultRun without it.
	RunFor = "testcluster.dev/run-for"
	// ExitCode is that of the containers which RunFor ends; without RunFor they end after defaultRun.
	ExitCode = "testcluster.dev/exit-code"
	// NotReady keeps the containers from being ready while it is "true".
	NotReady = "testcluster.dev/not-ready"
)

const (
	// defaultRun is how long the pods of a Job run.
	defaultRun = 200 * time.Millisecond
	// graceCap: no test waits for a simulated SIGTERM longer than this.
	graceCap = 100 * time.Millisecond
	// volumePoll is how soon volumes that were not there are looked for again.
	volumePoll = 250 * time.Millisecond
)

// Situation is what a kubelet knows about a pod beside the pod.
type Situation struct {
	Now     time.Time
	HostIPs []string
	PodIPs  []string
	// Rejection of a pod that was looked at for the first time.
	Rejection *Rejection
	// Volumes is why they are not mounted.
	Volumes error
	// StartedAt is when the containers were started; zero before.
	StartedAt time.Time
	// TerminatingSince is when the deletion was seen first; zero before.
	TerminatingSince time.Time
}

// Step is what a kubelet does next. The zero Step is nothing.
type Step struct {
	// Report this status.
	Report *core.PodStatus
	// Remove the object: its containers are gone.
	Remove bool
	// Starts: the report says that the containers run.
	Starts bool
	// Again after this time even if nothing changes.
	Again time.Duration
}

// Next decides. It is called again after every change of the pod, also the ones it made.
func Next(pod *core.Pod, s Situation) Step {
	ended := pod.Status.Phase == core.PodSucceeded || pod.Status.Phase == core.PodFailed
	switch {
	case pod.DeletionTimestamp != nil:
		return terminate(pod, s, ended)
	case ended:
		return Step{}
	case s.Rejection != nil:
		return Step{Report: rejected(pod, s)}
	case pod.Status.Phase != core.PodRunning && s.Volumes != nil:
		return waitForVolumes(pod, s)
	case pod.Status.Phase != core.PodRunning:
		return Step{Report: running(pod, s), Starts: true}
	}
	return keepRunning(pod, s)
}

// terminate reports the end of the containers, then removes the object.
func terminate(pod *core.Pod, s Situation, ended bool) Step {
	if pod.DeletionGracePeriodSeconds != nil && *pod.DeletionGracePeriodSeconds == 0 && ended {
		return Step{} // removed already; someone's finalizer keeps the object
	}
	if ended || pod.Status.StartTime == nil {
		return Step{Remove: true}
	}
	grace := graceCap
	if seconds := pod.DeletionGracePeriodSeconds; seconds != nil {
		grace = min(grace, time.Duration(*seconds)*time.Second)
	}
	if left := grace - s.Now.Sub(s.TerminatingSince); left > 0 {
		return Step{Again: left}
	}
	return Step{Report: finished(pod, s, 0)}
}

func waitForVolumes(pod *core.Pod, s Situation) Step {
	step := Step{Again: volumePoll}
	if pod.Status.StartTime == nil {
		step.Report = creating(pod, s)
	}
	return step
}

// keepRunning ends containers that are due and follows readiness.
func keepRunning(pod *core.Pod, s Situation) Step {
	if crashing(pod) {
		return Step{}
	}
	step := Step{}
	if duration, code, ends := program(pod); ends {
		if left := duration - s.Now.Sub(s.StartedAt); left > 0 {
			step.Again = left
		} else if restarts(pod, code) {
			return Step{Report: crashed(pod, s, code)}
		} else {
			return Step{Report: finished(pod, s, code)}
		}
	}
	if status := running(pod, s); readiness(status) != readiness(&pod.Status) {
		step.Report = status
	}
	return step
}

// program is what the containers are set to do: end after a while with a code, or run on.
func program(pod *core.Pod) (duration time.Duration, code int32, ends bool) {
	duration = defaultRun
	if text, ok := pod.Annotations[RunFor]; ok {
		if parsed, err := time.ParseDuration(text); err == nil {
			duration, ends = parsed, true
		}
	}
	if text, ok := pod.Annotations[ExitCode]; ok {
		if parsed, err := strconv.ParseInt(text, 10, 32); err == nil {
			code, ends = int32(parsed), true
		}
	}
	if owner := meta.GetControllerOf(pod); owner != nil && owner.Kind == "Job" {
		ends = true
	}
	return duration, code, ends
}

// restarts says whether a kubelet would start a container again that ended with this code.
func restarts(pod *core.Pod, code int32) bool {
	switch pod.Spec.RestartPolicy {
	case core.RestartPolicyNever:
		return false
	case core.RestartPolicyOnFailure:
		return code != 0
	}
	return true
}

// crashing pods stay so: CrashLoopBackOff, as long as anyone watches.
func crashing(pod *core.Pod) bool {
	for _, status := range pod.Status.ContainerStatuses {
		if status.State.Waiting != nil && status.State.Waiting.Reason == crashLoop {
			return true
		}
	}
	return false
}
