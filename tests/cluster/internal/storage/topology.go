// Package storage is the role `provisioner`: what kubernetes-csi/external-provisioner does for a list of drivers that
// do not exist. It waits for the scheduler's choice where a class says so, keeps to allowedTopologies, makes
// PersistentVolumes that are bound to a topology, and deletes released ones. It acts with an external-provisioner's
// rights and no more.
package storage

import (
	"errors"
	"fmt"
	"hash/fnv"
	"maps"
	"slices"
	"strings"

	core "k8s.io/api/core/v1"
	storage "k8s.io/api/storage/v1"
)

// segments is one place where a volume can be: topology keys and their values.
type segments map[string]string

func (s segments) String() string {
	var parts []string
	for _, key := range slices.Sorted(maps.Keys(s)) {
		parts = append(parts, key+"="+s[key])
	}
	return strings.Join(parts, ",")
}

// errOutside: the node that was chosen has no place that the class allows, so another must be chosen.
var errOutside = errors.New("the selected node is outside the class's allowedTopologies")

// ofNode is the place of a node, as its CSINode and its labels tell; nil when the driver is not there.
func ofNode(driver string, node *core.Node, registered *storage.CSINode) segments {
	if registered == nil {
		return nil
	}
	for _, one := range registered.Spec.Drivers {
		if one.Name != driver || len(one.TopologyKeys) == 0 {
			continue
		}
		place := segments{}
		for _, key := range one.TopologyKeys {
			value, ok := node.Labels[key]
			if !ok {
				return nil
			}
			place[key] = value
		}
		return place
	}
	return nil
}

// allowed spells allowedTopologies out: each term is a product of its expressions.
func allowed(terms []core.TopologySelectorTerm) []segments {
	var all []segments
	for _, term := range terms {
		places := []segments{{}}
		for _, expression := range term.MatchLabelExpressions {
			var product []segments
			for _, place := range places {
				for _, value := range expression.Values {
					one := maps.Clone(place)
					one[expression.Key] = value
					product = append(product, one)
				}
			}
			places = product
		}
		all = append(all, places...)
	}
	return all
}

// within says whether a place has all segments of another.
func within(place, wider segments) bool {
	for key, value := range wider {
		if place[key] != value {
			return false
		}
	}
	return true
}

// ofSelected is where a volume goes when the scheduler has chosen a node.
func ofSelected(class *storage.StorageClass, place segments, node string) (segments, error) {
	if place == nil {
		return nil, fmt.Errorf("driver %s is not on node %s", class.Provisioner, node)
	}
	if len(class.AllowedTopologies) == 0 {
		return place, nil
	}
	for _, wider := range allowed(class.AllowedTopologies) {
		if within(place, wider) {
			return place, nil
		}
	}
	return nil, fmt.Errorf("%w: %s is in %s", errOutside, node, place)
}

// ofImmediate is where a volume goes that nobody waits for: among what the class allows, or all places that nodes
// have. Like the real one it spreads the claims of a StatefulSet by their ordinals.
func ofImmediate(class *storage.StorageClass, places []segments, claim string) (segments, error) {
	candidates := slices.Clone(places)
	if len(class.AllowedTopologies) > 0 {
		candidates = allowed(class.AllowedTopologies)
	}
	if len(candidates) == 0 {
		return nil, fmt.Errorf("no node has driver %s", class.Provisioner)
	}
	slices.SortFunc(candidates, func(a, b segments) int { return strings.Compare(a.String(), b.String()) })
	candidates = slices.CompactFunc(candidates, func(a, b segments) bool { return maps.Equal(a, b) })
	return candidates[spread(claim)%uint32(len(candidates))], nil
}

func spread(claim string) uint32 {
	name, ordinal := claim, uint32(0)
	if i := strings.LastIndex(claim, "-"); i >= 0 {
		if _, err := fmt.Sscanf(claim[i+1:], "%d", &ordinal); err == nil {
			name = claim[:i]
		}
	}
	h := fnv.New32a()
	h.Write([]byte(name))
	return h.Sum32() + ordinal
}
