package nodes

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"time"

	core "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/resource"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"

	"domicile.dev/testcluster/internal/drivers"
)

// ownLabels is the annotation that marks a simulated node and names the labels its kubelet has set, so that those
// which leave the file can be removed, also after a restart of this role.
const ownLabels = "testcluster.dev/kubelet-labels"

// refreshAfter is how old a condition's heartbeat gets; a kubelet reports an unchanged status every 5 minutes.
const refreshAfter = 5 * time.Minute

// profile is what a node shall be: its line in the file and what was chosen for it.
type profile struct {
	Spec
	podCIDRs  []string
	addresses []string
	drivers   []drivers.Driver
	version   string // of the kubelet
}

// labels are what a kubelet sets: the well-known ones, those of the CSI drivers' topology, those of the file.
func (p profile) labels() map[string]string {
	labels := map[string]string{
		core.LabelHostname:   p.Name,
		core.LabelOSStable:   "linux",
		core.LabelArchStable: "amd64",
	}
	set := func(key, value string) {
		if value != "" {
			labels[key] = value
		}
	}
	set(core.LabelTopologyZone, p.Zone)
	set(core.LabelTopologyRegion, p.Region)
	for _, driver := range p.drivers {
		for _, key := range driver.TopologyKeys {
			set(key, drivers.Label(key, p.Region, p.Zone))
		}
	}
	maps.Copy(labels, p.Labels)
	return labels
}

// annotations are those of a kubelet with CSI drivers, and ours.
func (p profile) annotations() map[string]string {
	ids := map[string]string{}
	for _, driver := range p.drivers {
		ids[driver.Name] = p.Name
	}
	nodeIDs, _ := json.Marshal(ids) // a map of strings cannot fail
	return map[string]string{
		"volumes.kubernetes.io/controller-managed-attach-detach": "true",
		"csi.volume.kubernetes.io/nodeid":                        string(nodeIDs),
		ownLabels:                                                strings.Join(slices.Sorted(maps.Keys(p.labels())), ","),
	}
}

// newNode is the node as it registers.
func (p profile) newNode(now time.Time) *core.Node {
	node := &core.Node{
		ObjectMeta: meta.ObjectMeta{Name: p.Name, Labels: p.labels(), Annotations: p.annotations()},
		Spec:       core.NodeSpec{ProviderID: p.ProviderID, Taints: p.Taints},
	}
	p.setStatus(&node.Status, now)
	return node
}

// setMetadata makes labels and annotations right and says whether that changed anything. Labels of others stay.
func (p profile) setMetadata(node *core.Node) bool {
	before := node.ObjectMeta.DeepCopy()
	want := p.labels()
	for _, key := range strings.Split(node.Annotations[ownLabels], ",") {
		if _, kept := want[key]; !kept {
			delete(node.Labels, key)
		}
	}
	if node.Labels == nil {
		node.Labels = map[string]string{}
	}
	if node.Annotations == nil {
		node.Annotations = map[string]string{}
	}
	maps.Copy(node.Labels, want)
	maps.Copy(node.Annotations, p.annotations())
	return !equality.Semantic.DeepEqual(before, &node.ObjectMeta)
}

// setStatus makes the status right and says whether it must be reported.
func (p profile) setStatus(status *core.NodeStatus, now time.Time) bool {
	before := status.DeepCopy()
	status.Capacity = p.capacity()
	status.Allocatable = status.Capacity
	status.Addresses = nil
	for _, address := range p.addresses {
		status.Addresses = append(status.Addresses, core.NodeAddress{Type: core.NodeInternalIP, Address: address})
	}
	status.Addresses = append(status.Addresses, core.NodeAddress{Type: core.NodeHostName, Address: p.Name})
	status.NodeInfo.KubeletVersion = p.version
	status.NodeInfo.OperatingSystem, status.NodeInfo.Architecture = "linux", "amd64"
	status.NodeInfo.OSImage, status.NodeInfo.KernelVersion = "testcluster", "0"
	status.NodeInfo.ContainerRuntimeVersion = "testcluster://0"
	stale := setConditions(status, now)
	return stale || !equality.Semantic.DeepEqual(before, status)
}

// setConditions reports a healthy node. Heartbeats move only when something else does, or when they are old.
func setConditions(status *core.NodeStatus, now time.Time) (changed bool) {
	healthy := []core.NodeCondition{
		{Type: core.NodeMemoryPressure, Status: core.ConditionFalse, Reason: "KubeletHasSufficientMemory", Message: "kubelet has sufficient memory available"},
		{Type: core.NodeDiskPressure, Status: core.ConditionFalse, Reason: "KubeletHasNoDiskPressure", Message: "kubelet has no disk pressure"},
		{Type: core.NodePIDPressure, Status: core.ConditionFalse, Reason: "KubeletHasSufficientPID", Message: "kubelet has sufficient PID available"},
		{Type: core.NodeReady, Status: core.ConditionTrue, Reason: "KubeletReady", Message: "kubelet is posting ready status"},
	}
	for _, want := range healthy {
		i := slices.IndexFunc(status.Conditions, func(c core.NodeCondition) bool { return c.Type == want.Type })
		if i < 0 {
			status.Conditions = append(status.Conditions, core.NodeCondition{Type: want.Type})
			i = len(status.Conditions) - 1
		}
		have := &status.Conditions[i]
		if have.Status == want.Status && now.Sub(have.LastHeartbeatTime.Time) < refreshAfter {
			continue
		}
		want.LastTransitionTime = have.LastTransitionTime
		if have.Status != want.Status {
			want.LastTransitionTime = meta.NewTime(now)
		}
		want.LastHeartbeatTime = meta.NewTime(now)
		*have = want
		changed = true
	}
	return changed
}

func (p profile) capacity() core.ResourceList {
	list := core.ResourceList{
		core.ResourceCPU:              resource.MustParse("8"),
		core.ResourceMemory:           resource.MustParse("32Gi"),
		core.ResourceEphemeralStorage: resource.MustParse("200Gi"),
		core.ResourcePods:             resource.MustParse("110"),
	}
	maps.Copy(list, p.Capacity)
	return list
}
