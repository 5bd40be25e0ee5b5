// Package pods is what a kubelet does with one pod, as far as the API can see it: whether the node takes it
// (Admit), whether its volumes can be mounted (Volumes), and which status it reports next (Next). All of it is pure:
// time, addresses and objects come in as arguments.
package pods

import (
	"fmt"

	core "k8s.io/api/core/v1"
	helper "k8s.io/kubernetes/pkg/apis/core/v1/helper"
	"k8s.io/kubernetes/pkg/scheduler"
	"k8s.io/kubernetes/pkg/scheduler/framework"
	"k8s.io/kubernetes/pkg/scheduler/framework/plugins/nodeaffinity"
	"k8s.io/kubernetes/pkg/scheduler/framework/plugins/tainttoleration"
)

// Rejection is why a node does not take a pod. nil is a pod that is taken.
type Rejection struct {
	Reason  string
	Message string
	// Labels: only the node's labels stand against it. A kubelet then reads its node again before it says no, since
	// what it knows of its labels may be old.
	Labels bool
}

// Admit asks as kubelet does (pkg/kubelet/lifecycle/predicate.go): the same predicates, the same order and words.
// others are the pods that the node runs already.
func Admit(pod *core.Pod, node *core.Node, others []*core.Pod) *Rejection {
	if label, ok := pod.Labels[core.LabelOSStable]; ok && label != "linux" {
		return &Rejection{Reason: "PodOSSelectorNodeLabelDoesNotMatch",
			Message: "Failed to admit pod as the `kubernetes.io/os` label doesn't match node label"}
	}
	if pod.Spec.OS != nil && pod.Spec.OS.Name != core.Linux {
		return &Rejection{Reason: "PodOSNotSupported", Message: "Failed to admit pod as the OS field doesn't match node OS"}
	}
	info := framework.NewNodeInfo(others...)
	info.SetNode(node)
	results := scheduler.AdmissionCheck(withoutUnknownResources(pod, node), info, true)
	onlyLabels := len(results) > 0
	for _, result := range results {
		onlyLabels = onlyLabels && result.Reason == nodeaffinity.ErrReasonPod
	}
	tolerated := toleratesExecution(pod, node)
	if len(results) > 0 {
		rejection := worded(results[0])
		rejection.Labels = onlyLabels && tolerated
		return rejection
	}
	if !tolerated {
		return predicate(tainttoleration.Name, tainttoleration.ErrReasonNotMatch)
	}
	return nil
}

func worded(result scheduler.AdmissionResult) *Rejection {
	if short := result.InsufficientResource; short != nil {
		return &Rejection{
			Reason: "OutOf" + string(short.ResourceName),
			Message: fmt.Sprintf("Node didn't have enough resource: %s, requested: %d, used: %d, capacity: %d",
				short.ResourceName, short.Requested, short.Used, short.Capacity),
		}
	}
	return predicate(result.Name, result.Reason)
}

func predicate(name, reason string) *Rejection {
	return &Rejection{Reason: name, Message: fmt.Sprintf("Predicate %s failed: %s", name, reason)}
}

// toleratesExecution: a kubelet cares for NoExecute taints only. The helper for this changed its signature between
// the minors that are built here; the rule did not.
func toleratesExecution(pod *core.Pod, node *core.Node) bool {
	for _, taint := range node.Spec.Taints {
		if taint.Effect == core.TaintEffectNoExecute && !tolerates(pod.Spec.Tolerations, taint) {
			return false
		}
	}
	return true
}

func tolerates(tolerations []core.Toleration, taint core.Taint) bool {
	for _, t := range tolerations {
		if t.Effect != "" && t.Effect != taint.Effect || t.Key != "" && t.Key != taint.Key {
			continue
		}
		switch t.Operator {
		case core.TolerationOpExists:
			return true
		case core.TolerationOpEqual, "":
			if t.Key != "" && t.Value == taint.Value {
				return true
			}
		}
	}
	return false
}

// withoutUnknownResources drops requests of extended resources that the node does not have: a kubelet leaves those to
// whoever bound the pod.
func withoutUnknownResources(pod *core.Pod, node *core.Node) *core.Pod {
	pod = pod.DeepCopy()
	for _, containers := range [][]core.Container{pod.Spec.InitContainers, pod.Spec.Containers} {
		for _, container := range containers {
			for name := range container.Resources.Requests {
				if _, known := node.Status.Allocatable[name]; !known && helper.IsExtendedResourceName(name) {
					delete(container.Resources.Requests, name)
				}
			}
		}
	}
	return pod
}
