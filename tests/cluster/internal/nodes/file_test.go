package nodes

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	core "k8s.io/api/core/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"

	"domicile.dev/testcluster/internal/drivers"
)

func TestAFileOfNodes(t *testing.T) {
	list, err := parse([]byte(`
- name: sh-1
  labels: {pool: a}
  zone: cn-shanghai-a
  region: cn-shanghai
  providerID: cn-shanghai.i-1
  addresses: [10.1.0.1, "fd00::1"]
  podCIDR: 10.244.7.0/24,fd00:7::/64
  capacity: {cpu: "4"}
  taints: [{key: a, value: b, effect: NoSchedule}]
- {name: sh-2, stopped: true}
`))
	if err != nil || len(list) != 2 || list[0].Capacity["cpu"] != list[0].Capacity[core.ResourceCPU] || !list[1].Stopped {
		t.Fatal(list, err)
	}
	if len(list[0].podCIDRs()) != 2 {
		t.Error(list[0].podCIDRs())
	}
}

func TestBadNodesAreRefused(t *testing.T) {
	for name, content := range map[string]string{
		"unknown field": `[{name: a, zoen: b}]`,
		"no name":       `[{zone: b}]`,
		"twice":         `[{name: a}, {name: a}]`,
		"address":       `[{name: a, addresses: [example.com]}]`,
		"block":         `[{name: a, podCIDR: 10.0.0.0}]`,
		"effect":        `[{name: a, taints: [{key: a, effect: Never}]}]`,
		"no list":       `{name: a}`,
	} {
		if _, err := parse([]byte(content)); err == nil {
			t.Error(name, "was accepted")
		}
	}
}

func TestTheFileIsFollowed(t *testing.T) {
	path := filepath.Join(t.TempDir(), "nodes.yaml")
	write := func(content string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	seen, wrong := make(chan int, 9), make(chan error, 9)
	write("[{name: a}]")
	go follow(ctx, path, func(list []Spec) { seen <- len(list) }, func(err error) { wrong <- err })
	expect := func(want int) {
		t.Helper()
		select {
		case got := <-seen:
			if got != want {
				t.Error(got)
			}
		case <-time.After(5 * time.Second):
			t.Fatal("the change was not seen")
		}
	}
	expect(1)
	write("[{name: a}, {name: b}]")
	expect(2)
	write("[{name: a}, {nam")
	<-wrong
	write("[]")
	expect(0)
}

func TestAProfileChangesOnlyWhatIsItsOwn(t *testing.T) {
	p := profile{
		Spec:      Spec{Name: "n", Zone: "z1", Region: "r1", Labels: map[string]string{"pool": "a"}},
		addresses: []string{"10.0.0.1"}, podCIDRs: []string{"10.244.0.0/24"}, drivers: drivers.Default(), version: "v1",
	}
	now := time.Now()
	node := p.newNode(now)
	if p.setMetadata(node) || p.setStatus(&node.Status, now) {
		t.Error("a new node is already wrong")
	}
	if node.Labels["topology.diskplugin.csi.alibabacloud.com/zone"] != "z1" {
		t.Error(node.Labels)
	}
	node.Labels["someone/else"] = "x"
	p.Labels = map[string]string{"tier": "b"}
	if !p.setMetadata(node) || node.Labels["pool"] != "" || node.Labels["tier"] != "b" || node.Labels["someone/else"] != "x" {
		t.Error(node.Labels)
	}
	p.addresses = []string{"10.0.0.2"}
	if !p.setStatus(&node.Status, now) || node.Status.Addresses[0].Address != "10.0.0.2" {
		t.Error(node.Status.Addresses)
	}
	for i := range node.Status.Conditions {
		node.Status.Conditions[i].Status = core.ConditionUnknown
	}
	later := now.Add(time.Minute)
	if !p.setStatus(&node.Status, later) || !usable(node) {
		t.Error("a node that was given up did not come back")
	}
	if ready := node.Status.Conditions[3]; ready.LastTransitionTime != meta.NewTime(later) {
		t.Error(ready)
	}
}
