// Package nodes is the role of all simulated kubelets: it registers the nodes of a file, keeps them alive, and does
// with bound pods what a kubelet does, admission by the real predicates first.
//
// Each node writes as its own identity (system:node:NAME), so the Node authorizer and NodeRestriction are exercised
// by everything here. One more identity reads for all of them: that is cheap and proves nothing less.
package nodes

import (
	"fmt"
	"net/netip"
	"os"
	"strings"

	core "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/util/validation"
	"sigs.k8s.io/yaml"
)

// Spec is one simulated node, as its line in the file says.
type Spec struct {
	Name string `json:"name"`
	// Labels are set by the kubelet itself, so NodeRestriction refuses reserved ones.
	Labels map[string]string `json:"labels,omitempty"`
	Zone   string            `json:"zone,omitempty"`
	Region string            `json:"region,omitempty"`
	// ProviderID is fixed once the node is registered, as in any cluster.
	ProviderID string `json:"providerID,omitempty"`
	// Addresses are InternalIPs. Without any the node gets one of 172.30.0.0/16.
	Addresses []string `json:"addresses,omitempty"`
	// PodCIDR is one block, or an IPv4 and an IPv6 block with a comma. Without it: 10.244.N.0/24.
	PodCIDR string `json:"podCIDR,omitempty"`
	// Capacity overrides single resources of the default.
	Capacity map[core.ResourceName]resource.Quantity `json:"capacity,omitempty"`
	// Taints count at registration only: a kubelet may not change its taints later.
	Taints []core.Taint `json:"taints,omitempty"`
	// Stopped is a machine that is off: no lease, no status, nothing happens to its pods.
	Stopped bool `json:"stopped,omitempty"`
}

// podCIDRs splits PodCIDR.
func (s Spec) podCIDRs() []string {
	if s.PodCIDR == "" {
		return nil
	}
	return strings.Split(s.PodCIDR, ",")
}

// Load reads and checks a file of nodes.
func Load(path string) ([]Spec, error) {
	content, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	list, err := parse(content)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return list, nil
}

func parse(content []byte) ([]Spec, error) {
	var list []Spec
	if err := yaml.UnmarshalStrict(content, &list); err != nil {
		return nil, err
	}
	seen := map[string]bool{}
	for _, spec := range list {
		if err := spec.check(); err != nil {
			return nil, fmt.Errorf("node %q: %w", spec.Name, err)
		}
		if seen[spec.Name] {
			return nil, fmt.Errorf("node %q is there twice", spec.Name)
		}
		seen[spec.Name] = true
	}
	return list, nil
}

func (s Spec) check() error {
	if problems := validation.IsDNS1123Subdomain(s.Name); len(problems) > 0 {
		return fmt.Errorf("name: %s", strings.Join(problems, "; "))
	}
	for _, address := range s.Addresses {
		if _, err := netip.ParseAddr(address); err != nil {
			return err
		}
	}
	for _, block := range s.podCIDRs() {
		if _, err := netip.ParsePrefix(block); err != nil {
			return err
		}
	}
	for _, taint := range s.Taints {
		switch taint.Effect {
		case core.TaintEffectNoSchedule, core.TaintEffectPreferNoSchedule, core.TaintEffectNoExecute:
		default:
			return fmt.Errorf("taint %s has no valid effect", taint.Key)
		}
	}
	return nil
}
