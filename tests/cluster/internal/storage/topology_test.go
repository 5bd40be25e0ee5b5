package storage

import (
	"errors"
	"testing"

	core "k8s.io/api/core/v1"
	storage "k8s.io/api/storage/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
)

const zone = "topology.kubernetes.io/zone"

func class(values ...string) *storage.StorageClass {
	c := &storage.StorageClass{Provisioner: "d"}
	if len(values) > 0 {
		c.AllowedTopologies = []core.TopologySelectorTerm{{MatchLabelExpressions: []core.TopologySelectorLabelRequirement{{Key: zone, Values: values}}}}
	}
	return c
}

func TestTheSelectedNodeMustBeAllowed(t *testing.T) {
	place := segments{zone: "z1"}
	for name, c := range map[string]*storage.StorageClass{"anywhere": class(), "its zone": class("z0", "z1")} {
		if got, err := ofSelected(c, place, "n"); err != nil || got[zone] != "z1" {
			t.Error(name, got, err)
		}
	}
	if _, err := ofSelected(class("z2"), place, "n"); !errors.Is(err, errOutside) {
		t.Error(err)
	}
	if _, err := ofSelected(class(), nil, "n"); err == nil {
		t.Error("a node without the driver was taken")
	}
}

func TestImmediateVolumesStayInsideAndSpread(t *testing.T) {
	places := []segments{{zone: "z2"}, {zone: "z1"}, {zone: "z2"}}
	seen := map[string]bool{}
	for _, claim := range []string{"data-web-0", "data-web-1"} {
		got, err := ofImmediate(class(), places, claim)
		if err != nil {
			t.Fatal(err)
		}
		seen[got[zone]] = true
	}
	if len(seen) != 2 {
		t.Error("two replicas of two zones share", seen)
	}
	if got, err := ofImmediate(class("z9"), places, "c"); err != nil || got[zone] != "z9" {
		t.Error(got, err)
	}
	if _, err := ofImmediate(class(), nil, "c"); err == nil {
		t.Error("a volume without a place")
	}
}

func TestANodesPlaceNeedsTheDriver(t *testing.T) {
	node := &core.Node{ObjectMeta: meta.ObjectMeta{Labels: map[string]string{zone: "z1"}}}
	registered := &storage.CSINode{Spec: storage.CSINodeSpec{Drivers: []storage.CSINodeDriver{{Name: "d", TopologyKeys: []string{zone}}}}}
	if got := ofNode("d", node, registered); got[zone] != "z1" {
		t.Error(got)
	}
	if ofNode("other", node, registered) != nil || ofNode("d", node, nil) != nil || ofNode("d", &core.Node{}, registered) != nil {
		t.Error("a place out of nothing")
	}
}
