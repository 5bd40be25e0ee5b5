package nodes

import (
	"fmt"
	"strings"

	core "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
)

// Defaults for nodes that the file gives no network: slot N has pods in 10.244.N.0/24 and the address below.
const (
	defaultBlock = "10.244.%d.0/24"
	slots        = 256
)

func defaultAddress(slot int) string { return fmt.Sprintf("172.30.%d.%d", slot/200, slot%200+10) }

func (f *fleet) machine(name string) *machine {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.machines[name]
}

func (f *fleet) allMachines() []*machine {
	f.mu.Lock()
	defer f.mu.Unlock()
	list := make([]*machine, 0, len(f.machines))
	for _, m := range f.machines {
		list = append(list, m)
	}
	return list
}

// machineFor finds or makes the machine of a spec and gives it what the file says now. A node that is registered
// already keeps its blocks: they cannot be changed.
func (f *fleet) machineFor(spec Spec, have *core.Node) (*machine, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	m, known := f.machines[spec.Name]
	p := profile{Spec: spec, addresses: spec.Addresses, podCIDRs: spec.podCIDRs(), drivers: f.Drivers, version: f.Version}
	switch {
	case known:
		p.podCIDRs = m.profile.podCIDRs
	case have != nil && len(have.Spec.PodCIDRs) > 0:
		p.podCIDRs = have.Spec.PodCIDRs
	}
	if len(p.podCIDRs) == 0 {
		slot, err := f.freeSlot()
		if err != nil {
			return nil, err
		}
		p.podCIDRs = []string{fmt.Sprintf(defaultBlock, slot)}
	}
	if len(p.addresses) == 0 {
		p.addresses = f.addressesOf(m, p.podCIDRs[0])
	}
	if known {
		m.mu.Lock()
		defer m.mu.Unlock()
		if resumed := m.profile.Stopped && !spec.Stopped; resumed {
			defer f.wakePods(spec.Name)
		}
		if strings.Join(driverKeys(m.profile), ",") != strings.Join(driverKeys(p), ",") {
			m.registered = types.UID("") // its CSINode is to be written again
		}
		m.profile = p
		return m, nil
	}
	m, err := newMachine(f.Authority, f.Controller.Host, f.controller, p)
	if err != nil {
		return nil, err
	}
	f.machines[spec.Name] = m
	f.wakePods(spec.Name)
	return m, nil
}

// wakePods looks at a node's pods again.
func (f *fleet) wakePods(node string) {
	for _, pod := range f.podsOn(node) {
		f.podQ.Add(pod.Namespace + "/" + pod.Name)
	}
}

// driverKeys are the topology labels that the node has.
func driverKeys(p profile) (keys []string) {
	labels := p.labels()
	for _, driver := range p.drivers {
		for _, key := range driver.TopologyKeys {
			if labels[key] != "" {
				keys = append(keys, driver.Name+"/"+key)
			}
		}
	}
	return keys
}

// addressesOf chooses the address of a node without any: it keeps the one it has, else that of its slot.
func (f *fleet) addressesOf(m *machine, block string) []string {
	if m != nil && len(m.profile.Spec.Addresses) == 0 {
		return m.profile.addresses
	}
	var slot int
	if _, err := fmt.Sscanf(block, defaultBlock, &slot); err != nil {
		slot = len(f.machines)
	}
	return []string{defaultAddress(slot)}
}

// freeSlot is the lowest number that no node uses.
func (f *fleet) freeSlot() (int, error) {
	used := map[string]bool{}
	for _, node := range f.allNodes() {
		for _, block := range node.Spec.PodCIDRs {
			used[block] = true
		}
	}
	for _, m := range f.machines {
		for _, block := range m.profile.podCIDRs {
			used[block] = true
		}
	}
	for _, spec := range f.wanted {
		for _, block := range spec.podCIDRs() {
			used[block] = true
		}
	}
	for slot := range slots {
		if !used[fmt.Sprintf(defaultBlock, slot)] {
			return slot, nil
		}
	}
	return 0, fmt.Errorf("no free block of 10.244.0.0/16: give the node a podCIDR")
}
