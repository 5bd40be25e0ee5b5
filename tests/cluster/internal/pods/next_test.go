package pods

import (
	"errors"
	"testing"
	"time"

	core "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
)

var start = time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)

func newPod(edit ...func(*core.Pod)) *core.Pod {
	pod := &core.Pod{
		ObjectMeta: meta.ObjectMeta{Name: "p", Namespace: "n", UID: "u", Generation: 1},
		Spec:       core.PodSpec{NodeName: "node", Containers: []core.Container{{Name: "c", Image: "i"}}},
		Status:     core.PodStatus{Phase: core.PodPending},
	}
	for _, f := range edit {
		f(pod)
	}
	return pod
}

func annotated(key, value string) func(*core.Pod) {
	return func(p *core.Pod) { p.Annotations = map[string]string{key: value} }
}

func policy(policy core.RestartPolicy) func(*core.Pod) {
	return func(p *core.Pod) { p.Spec.RestartPolicy = policy }
}

// life drives a pod as the role does, until nothing more happens; after is how much time passes.
func life(pod *core.Pod, s Situation, after time.Duration) (removed bool) {
	s.Now = start
	s.PodIPs, s.HostIPs = []string{"10.244.0.2"}, []string{"10.0.0.1"}
	for {
		step := Next(pod, s)
		if step.Report != nil {
			pod.Status = *Merge(&pod.Status, step.Report)
		}
		if step.Starts {
			s.StartedAt = s.Now
		}
		switch {
		case step.Remove:
			return true
		case step.Again > 0 && after > 0:
			passed := min(step.Again, after)
			s.Now, after = s.Now.Add(passed), after-passed
		case step.Report == nil:
			return false
		}
	}
}

func ready(pod *core.Pod) core.ConditionStatus { return readiness(&pod.Status)[1] }

func TestAPodRuns(t *testing.T) {
	always := core.ContainerRestartPolicyAlways
	pod := newPod(func(p *core.Pod) {
		p.Spec.InitContainers = []core.Container{{Name: "init"}, {Name: "sidecar", RestartPolicy: &always}}
	})
	life(pod, Situation{}, time.Hour)
	if pod.Status.Phase != core.PodRunning || ready(pod) != core.ConditionTrue || pod.Status.PodIP != "10.244.0.2" || pod.Status.HostIP != "10.0.0.1" {
		t.Error(pod.Status)
	}
	if pod.Status.InitContainerStatuses[0].State.Terminated == nil || pod.Status.InitContainerStatuses[1].State.Running == nil {
		t.Error(pod.Status.InitContainerStatuses)
	}
}

func TestAReportLeavesWhatIsOthers(t *testing.T) {
	have := &core.PodStatus{QOSClass: core.PodQOSBurstable, HostIPs: []core.HostIP{{IP: "10.0.0.9"}},
		Conditions: []core.PodCondition{{Type: core.PodScheduled, Status: core.ConditionTrue}, {Type: core.PodReady, Status: core.ConditionFalse}}}
	merged := Merge(have, running(newPod(), Situation{Now: start, HostIPs: []string{"10.0.0.1"}}))
	if merged.QOSClass != core.PodQOSBurstable || len(merged.HostIPs) != 1 || merged.HostIPs[0].IP != "10.0.0.1" {
		t.Error(merged)
	}
	if merged.Conditions[0].Type != core.PodScheduled || merged.Conditions[1].Status != core.ConditionTrue {
		t.Error(merged.Conditions)
	}
}

func TestARejectedPodFailsInTheKubeletsWords(t *testing.T) {
	pod := newPod()
	life(pod, Situation{Rejection: &Rejection{Reason: "NodeAffinity", Message: "m"}}, time.Hour)
	if pod.Status.Phase != core.PodFailed || pod.Status.Reason != "NodeAffinity" || pod.Status.Message != "Pod was rejected: m" {
		t.Error(pod.Status)
	}
}

func TestAPodWaitsForItsVolumes(t *testing.T) {
	pod := newPod()
	life(pod, Situation{Volumes: errors.New("PVC is not bound")}, time.Minute)
	if pod.Status.Phase != core.PodPending || pod.Status.ContainerStatuses[0].State.Waiting.Reason != "ContainerCreating" {
		t.Error(pod.Status)
	}
	life(pod, Situation{}, time.Minute)
	if pod.Status.Phase != core.PodRunning {
		t.Error(pod.Status)
	}
}

func TestReadinessGatesAndNotReady(t *testing.T) {
	pod := newPod(func(p *core.Pod) { p.Spec.ReadinessGates = []core.PodReadinessGate{{ConditionType: "g"}} })
	life(pod, Situation{}, time.Hour)
	if pod.Status.Phase != core.PodRunning || ready(pod) != core.ConditionFalse {
		t.Error(pod.Status)
	}
	pod.Status.Conditions = append(pod.Status.Conditions, core.PodCondition{Type: "g", Status: core.ConditionTrue})
	if step := Next(pod, Situation{Now: start}); step.Report == nil || readiness(step.Report)[1] != core.ConditionTrue {
		t.Error(step)
	}
	pod = newPod(annotated(NotReady, "true"))
	life(pod, Situation{}, time.Hour)
	if ready(pod) != core.ConditionFalse {
		t.Error(pod.Status)
	}
}

func TestHowPodsEnd(t *testing.T) {
	job := func(p *core.Pod) {
		yes := true
		p.OwnerReferences = []meta.OwnerReference{{Kind: "Job", Controller: &yes}}
	}
	for name, c := range map[string]struct {
		pod   *core.Pod
		after time.Duration
		want  core.PodPhase
	}{
		"a job's pod runs":               {newPod(job, policy(core.RestartPolicyNever)), 100 * time.Millisecond, core.PodRunning},
		"a job's pod ends":               {newPod(job, policy(core.RestartPolicyNever)), time.Second, core.PodSucceeded},
		"run-for is not over":            {newPod(annotated(RunFor, "1s"), policy(core.RestartPolicyNever)), 900 * time.Millisecond, core.PodRunning},
		"run-for is over":                {newPod(annotated(RunFor, "1s"), policy(core.RestartPolicyNever)), time.Second, core.PodSucceeded},
		"a bad exit code":                {newPod(annotated(ExitCode, "1"), policy(core.RestartPolicyNever)), time.Second, core.PodFailed},
		"a bad exit code, started again": {newPod(annotated(ExitCode, "1"), policy(core.RestartPolicyOnFailure)), time.Second, core.PodRunning},
		"an ordinary pod runs on":        {newPod(), time.Hour, core.PodRunning},
	} {
		life(c.pod, Situation{}, c.after)
		if c.pod.Status.Phase != c.want {
			t.Error(name, c.pod.Status.Phase)
		}
	}
}

func TestDeletion(t *testing.T) {
	deleted := func(p *core.Pod) {
		seconds, now := int64(30), meta.NewTime(start)
		p.DeletionTimestamp, p.DeletionGracePeriodSeconds = &now, &seconds
	}
	pod := newPod()
	life(pod, Situation{}, 0)
	deleted(pod)
	if life(pod, Situation{TerminatingSince: start, StartedAt: start}, 50*time.Millisecond) {
		t.Error("removed before its grace was over")
	}
	if !life(pod, Situation{TerminatingSince: start.Add(-time.Second), StartedAt: start}, 0) {
		t.Error("not removed")
	}
	if pod.Status.ContainerStatuses[0].State.Terminated == nil || ready(pod) != core.ConditionFalse {
		t.Error(pod.Status)
	}
	if !life(newPod(deleted), Situation{}, 0) {
		t.Error("a pod that never ran is not removed")
	}
	none := int64(0)
	pod.DeletionGracePeriodSeconds = &none
	if step := Next(pod, Situation{Now: start}); step != (Step{}) {
		t.Error("removed again while a finalizer keeps it", step)
	}
}

func TestAdmission(t *testing.T) {
	node := &core.Node{ObjectMeta: meta.ObjectMeta{Name: "node", Labels: map[string]string{"zone": "z1"}}}
	node.Status.Allocatable = core.ResourceList{core.ResourceCPU: resource.MustParse("1"), core.ResourcePods: resource.MustParse("2")}
	ask := func(quantity string) func(*core.Pod) {
		return func(p *core.Pod) {
			p.Spec.Containers[0].Resources.Requests = core.ResourceList{core.ResourceCPU: resource.MustParse(quantity)}
		}
	}
	if r := Admit(newPod(ask("1")), node, nil); r != nil {
		t.Error(r)
	}
	if r := Admit(newPod(ask("1")), node, []*core.Pod{newPod(ask("500m"))}); r == nil || r.Reason != "OutOfcpu" {
		t.Error(r)
	}
	r := Admit(newPod(func(p *core.Pod) { p.Spec.NodeSelector = map[string]string{"zone": "z2"} }), node, nil)
	if r == nil || r.Reason != "NodeAffinity" || r.Message != "Predicate NodeAffinity failed: node(s) didn't match Pod's node affinity/selector" || !r.Labels {
		t.Error(r)
	}
	if r := Admit(newPod(func(p *core.Pod) { p.Spec.NodeName = "other" }), node, nil); r == nil || r.Reason != "NodeName" {
		t.Error(r)
	}
	extended := func(p *core.Pod) {
		p.Spec.Containers[0].Resources.Requests = core.ResourceList{"example.com/gpu": resource.MustParse("1")}
	}
	if r := Admit(newPod(extended), node, nil); r != nil {
		t.Error(r)
	}
	node.Spec.Taints = []core.Taint{{Key: "k", Value: "v", Effect: core.TaintEffectNoExecute}}
	if r := Admit(newPod(), node, nil); r == nil || r.Reason != "TaintToleration" {
		t.Error(r)
	}
	for name, toleration := range map[string]core.Toleration{
		"all":   {Operator: core.TolerationOpExists},
		"key":   {Key: "k", Operator: core.TolerationOpExists, Effect: core.TaintEffectNoExecute},
		"value": {Key: "k", Value: "v"},
	} {
		if r := Admit(newPod(func(p *core.Pod) { p.Spec.Tolerations = []core.Toleration{toleration} }), node, nil); r != nil {
			t.Error(name, r)
		}
	}
}

func TestAddresses(t *testing.T) {
	pool, err := NewPool("10.244.0.0/29")
	if err != nil {
		t.Fatal(err)
	}
	pool.Claim("10.244.0.3")
	seen := map[string]bool{}
	for range 4 { // .2 .4 .5 .6
		ip, err := pool.Take()
		if err != nil || seen[ip] || ip == "10.244.0.3" || ip == "10.244.0.1" || ip == "10.244.0.7" {
			t.Fatal(ip, err)
		}
		seen[ip] = true
	}
	if ip, err := pool.Take(); err == nil {
		t.Error("a full block gave", ip)
	}
	pool.Return("10.244.0.4")
	if ip, err := pool.Take(); err != nil || ip != "10.244.0.4" {
		t.Error(ip, err)
	}
	six, _ := NewPool("fd00::/64")
	if ip, err := six.Take(); err != nil || ip != "fd00::2" {
		t.Error(ip, err)
	}
}
