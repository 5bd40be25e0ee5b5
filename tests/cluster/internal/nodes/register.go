package nodes

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	coordination "k8s.io/api/coordination/v1"
	core "k8s.io/api/core/v1"
	storage "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// leaseSeconds is a kubelet's default.
const leaseSeconds = 40

// register makes the Node what the profile says: created when it is not there, changed where it differs. have is what
// the cache knows, or nil. A node that someone deletes comes back this way.
func (m *machine) register(ctx context.Context, have *core.Node, now time.Time) error {
	p := m.current()
	node, err := m.create(ctx, p, have, now)
	if err != nil {
		return err
	}
	if node, err = m.allocate(ctx, p, node); err != nil {
		return err
	}
	if p.setMetadata(node) {
		if node, err = m.client.CoreV1().Nodes().Update(ctx, node, meta.UpdateOptions{}); err != nil {
			return err
		}
	}
	if p.setStatus(&node.Status, now) {
		if node, err = m.client.CoreV1().Nodes().UpdateStatus(ctx, node, meta.UpdateOptions{}); err != nil {
			return err
		}
	}
	m.mu.Lock()
	done := m.registered == node.UID
	m.mu.Unlock()
	if done {
		return nil
	}
	if err := m.registerDrivers(ctx, p, node.UID); err != nil {
		return fmt.Errorf("CSINode: %w", err)
	}
	if err := m.renew(ctx, node.UID, now); err != nil {
		return fmt.Errorf("lease: %w", err)
	}
	m.mu.Lock()
	m.registered = node.UID
	m.mu.Unlock()
	return nil
}

func (m *machine) create(ctx context.Context, p profile, have *core.Node, now time.Time) (*core.Node, error) {
	if have != nil {
		return have.DeepCopy(), nil
	}
	node, err := m.client.CoreV1().Nodes().Create(ctx, p.newNode(now), meta.CreateOptions{})
	if apierrors.IsAlreadyExists(err) { // and the cache does not know yet
		return m.client.CoreV1().Nodes().Get(ctx, p.Name, meta.GetOptions{})
	}
	return node, err
}

// allocate gives a node the networks of its pods. No kubelet does that: it is the work of a controller (--allocate-node-cidrs).
func (m *machine) allocate(ctx context.Context, p profile, node *core.Node) (*core.Node, error) {
	if len(p.podCIDRs) == 0 || len(node.Spec.PodCIDRs) > 0 {
		return node, nil
	}
	patch, err := json.Marshal(map[string]any{"spec": core.NodeSpec{PodCIDR: p.podCIDRs[0], PodCIDRs: p.podCIDRs}})
	if err != nil {
		return nil, err
	}
	return m.controller.CoreV1().Nodes().Patch(ctx, node.Name, types.StrategicMergePatchType, patch, meta.PatchOptions{})
}

func ownedBy(name string, uid types.UID) []meta.OwnerReference {
	return []meta.OwnerReference{{APIVersion: "v1", Kind: "Node", Name: name, UID: uid}}
}

// registerDrivers writes the CSINode: which drivers are on this node, and by which labels they tell where it is.
func (m *machine) registerDrivers(ctx context.Context, p profile, uid types.UID) error {
	want := &storage.CSINode{ObjectMeta: meta.ObjectMeta{Name: m.name, OwnerReferences: ownedBy(m.name, uid)}}
	labels := p.labels()
	for _, driver := range p.drivers {
		one := storage.CSINodeDriver{Name: driver.Name, NodeID: m.name}
		for _, key := range driver.TopologyKeys {
			if labels[key] != "" {
				one.TopologyKeys = append(one.TopologyKeys, key)
			}
		}
		want.Spec.Drivers = append(want.Spec.Drivers, one)
	}
	api := m.client.StorageV1().CSINodes()
	have, err := api.Get(ctx, m.name, meta.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
		_, err = api.Create(ctx, want, meta.CreateOptions{})
	case err == nil && !(equality.Semantic.DeepEqual(have.Spec, want.Spec) && equality.Semantic.DeepEqual(have.OwnerReferences, want.OwnerReferences)):
		want.ResourceVersion = have.ResourceVersion
		_, err = api.Update(ctx, want, meta.UpdateOptions{})
	}
	return err
}

// renew renews the node's lease, or makes it.
func (m *machine) renew(ctx context.Context, uid types.UID, now time.Time) error {
	seconds, renewed := int32(leaseSeconds), meta.NewMicroTime(now)
	api := m.client.CoordinationV1().Leases(core.NamespaceNodeLease)
	patch := fmt.Sprintf(`{"metadata":{"ownerReferences":[{"apiVersion":"v1","kind":"Node","name":%q,"uid":%q}]},"spec":{"renewTime":%q}}`,
		m.name, uid, renewed.UTC().Format(meta.RFC3339Micro))
	_, err := api.Patch(ctx, m.name, types.MergePatchType, []byte(patch), meta.PatchOptions{})
	if apierrors.IsNotFound(err) {
		_, err = api.Create(ctx, &coordination.Lease{
			ObjectMeta: meta.ObjectMeta{Name: m.name, OwnerReferences: ownedBy(m.name, uid)},
			Spec:       coordination.LeaseSpec{HolderIdentity: &m.name, LeaseDurationSeconds: &seconds, RenewTime: &renewed},
		}, meta.CreateOptions{})
	}
	return err
}
