package storage

import (
	"maps"
	"slices"

	core "k8s.io/api/core/v1"
	storage "k8s.io/api/storage/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Annotations between the volume controller, the scheduler and provisioners.
const (
	provisionerAnnotation     = "volume.kubernetes.io/storage-provisioner"
	betaProvisionerAnnotation = "volume.beta.kubernetes.io/storage-provisioner"
	selectedNodeAnnotation    = "volume.kubernetes.io/selected-node"
	provisionedByAnnotation   = "pv.kubernetes.io/provisioned-by"
)

// newVolume is the PersistentVolume for a claim at a place.
func newVolume(claim *core.PersistentVolumeClaim, class *storage.StorageClass, place segments) *core.PersistentVolume {
	reclaim := core.PersistentVolumeReclaimDelete
	if class.ReclaimPolicy != nil {
		reclaim = *class.ReclaimPolicy
	}
	volume := &core.PersistentVolume{
		ObjectMeta: meta.ObjectMeta{
			Name:        "pvc-" + string(claim.UID),
			Annotations: map[string]string{provisionedByAnnotation: class.Provisioner},
		},
		Spec: core.PersistentVolumeSpec{
			Capacity:                      core.ResourceList{core.ResourceStorage: claim.Spec.Resources.Requests[core.ResourceStorage]},
			AccessModes:                   claim.Spec.AccessModes,
			VolumeMode:                    claim.Spec.VolumeMode,
			PersistentVolumeReclaimPolicy: reclaim,
			StorageClassName:              class.Name,
			MountOptions:                  class.MountOptions,
			ClaimRef: &core.ObjectReference{
				APIVersion: "v1", Kind: "PersistentVolumeClaim",
				Namespace: claim.Namespace, Name: claim.Name, UID: claim.UID, ResourceVersion: claim.ResourceVersion,
			},
			PersistentVolumeSource: core.PersistentVolumeSource{CSI: &core.CSIPersistentVolumeSource{
				Driver: class.Provisioner, VolumeHandle: "vol-" + string(claim.UID), FSType: "ext4",
			}},
		},
	}
	if mode := claim.Spec.VolumeMode; mode != nil && *mode == core.PersistentVolumeBlock {
		volume.Spec.CSI.FSType = ""
	}
	var term core.NodeSelectorTerm
	for _, key := range slices.Sorted(maps.Keys(place)) {
		term.MatchExpressions = append(term.MatchExpressions, core.NodeSelectorRequirement{
			Key: key, Operator: core.NodeSelectorOpIn, Values: []string{place[key]},
		})
	}
	volume.Spec.NodeAffinity = &core.VolumeNodeAffinity{
		Required: &core.NodeSelector{NodeSelectorTerms: []core.NodeSelectorTerm{term}},
	}
	return volume
}

// provisionerOf is the driver that a claim asks for.
func provisionerOf(claim *core.PersistentVolumeClaim) string {
	if driver := claim.Annotations[provisionerAnnotation]; driver != "" {
		return driver
	}
	return claim.Annotations[betaProvisionerAnnotation]
}

// waits says whether a class's volumes are made only where a pod will run.
func waits(class *storage.StorageClass) bool {
	return class.VolumeBindingMode != nil && *class.VolumeBindingMode == storage.VolumeBindingWaitForFirstConsumer
}
