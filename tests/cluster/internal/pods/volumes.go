package pods

import (
	"fmt"

	core "k8s.io/api/core/v1"
	volumes "k8s.io/component-helpers/storage/volume"
)

// Lookup finds the objects behind a pod's volumes; nil for none.
type Lookup struct {
	Claim  func(namespace, name string) *core.PersistentVolumeClaim
	Volume func(name string) *core.PersistentVolume
}

// Volumes says why the volumes of a pod cannot be mounted on a node, or nil. A kubelet waits for claims to be bound
// and refuses a volume whose node affinity names another node's labels.
func Volumes(pod *core.Pod, nodeLabels map[string]string, lookup Lookup) error {
	for _, volume := range pod.Spec.Volumes {
		name := ""
		switch {
		case volume.PersistentVolumeClaim != nil:
			name = volume.PersistentVolumeClaim.ClaimName
		case volume.Ephemeral != nil:
			name = pod.Name + "-" + volume.Name
		default:
			continue
		}
		claim := lookup.Claim(pod.Namespace, name)
		if claim == nil {
			return fmt.Errorf("persistentvolumeclaim %q not found", name)
		}
		if claim.Status.Phase != core.ClaimBound || claim.Spec.VolumeName == "" {
			return fmt.Errorf("can't use PVC %s/%s: PVC is not bound", pod.Namespace, name)
		}
		persistent := lookup.Volume(claim.Spec.VolumeName)
		if persistent == nil {
			return fmt.Errorf("persistentvolume %q not found", claim.Spec.VolumeName)
		}
		if err := volumes.CheckNodeAffinity(persistent, nodeLabels); err != nil {
			return fmt.Errorf("MountVolume.NodeAffinity check failed for volume %q: %w", persistent.Name, err)
		}
	}
	return nil
}
