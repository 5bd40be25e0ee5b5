package nodes

import (
	"context"

	core "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/tools/cache"

	"domicile.dev/testcluster/internal/pods"
)

// caches are what the kubelets know of the cluster: one watch each for all of them.
type caches struct {
	nodes, pods, claims, volumes cache.Indexer
	synced                       []cache.InformerSynced
}

const byNode = "node"

// watch fills the caches and puts what changes into the queues.
func (f *fleet) watch(ctx context.Context) error {
	all := informers.NewSharedInformerFactoryWithOptions(f.controller, 0, informers.WithTransform(slim))
	bound := informers.NewSharedInformerFactoryWithOptions(f.controller, 0, informers.WithTransform(slim),
		informers.WithTweakListOptions(func(o *metav1.ListOptions) {
			o.FieldSelector = fields.OneTermNotEqualSelector("spec.nodeName", "").String()
		}))
	podInformer := bound.Core().V1().Pods().Informer()
	if err := podInformer.AddIndexers(cache.Indexers{byNode: func(o any) ([]string, error) {
		return []string{o.(*core.Pod).Spec.NodeName}, nil
	}}); err != nil {
		return err
	}
	nodeInformer := all.Core().V1().Nodes().Informer()
	claims, volumes := all.Core().V1().PersistentVolumeClaims().Informer(), all.Core().V1().PersistentVolumes().Informer()
	f.caches = caches{
		nodes: nodeInformer.GetIndexer(), pods: podInformer.GetIndexer(), claims: claims.GetIndexer(), volumes: volumes.GetIndexer(),
		synced: []cache.InformerSynced{nodeInformer.HasSynced, podInformer.HasSynced, claims.HasSynced, volumes.HasSynced},
	}
	enqueuePod := func(o any) {
		if key, err := cache.MetaNamespaceKeyFunc(o); err == nil {
			f.podQ.Add(key)
		}
	}
	if _, err := podInformer.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    enqueuePod,
		UpdateFunc: func(_, o any) { enqueuePod(o) },
		DeleteFunc: f.podGone,
	}); err != nil {
		return err
	}
	enqueueNode := func(o any) {
		if key, err := cache.DeletionHandlingMetaNamespaceKeyFunc(o); err == nil {
			f.nodeQ.Add(key)
		}
	}
	if _, err := nodeInformer.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc: func(o any) {
			enqueueNode(o)
			for _, pod := range f.podsOn(o.(*core.Node).Name) {
				enqueuePod(pod)
			}
		},
		UpdateFunc: func(_, o any) { enqueueNode(o) },
		DeleteFunc: enqueueNode,
	}); err != nil {
		return err
	}
	all.Start(ctx.Done())
	bound.Start(ctx.Done())
	return nil
}

// slim drops the bookkeeping of field owners, half of an object's size.
func slim(o any) (any, error) {
	if object, err := meta.Accessor(o); err == nil {
		object.SetManagedFields(nil)
	}
	return o, nil
}

func (f *fleet) podGone(o any) {
	if unknown, ok := o.(cache.DeletedFinalStateUnknown); ok {
		o = unknown.Obj
	}
	if pod, ok := o.(*core.Pod); ok {
		if m := f.machine(pod.Spec.NodeName); m != nil {
			m.forget(pod.UID)
		}
	}
}

func (f *fleet) pod(key string) *core.Pod { return get[*core.Pod](f.caches.pods, key) }

func (f *fleet) node(name string) *core.Node { return get[*core.Node](f.caches.nodes, name) }

func (f *fleet) podsOn(node string) []*core.Pod {
	found, _ := f.caches.pods.ByIndex(byNode, node) // fails only for an index that does not exist
	return typed[*core.Pod](found)
}

func (f *fleet) allNodes() []*core.Node { return typed[*core.Node](f.caches.nodes.List()) }

func (f *fleet) volumes() pods.Lookup {
	return pods.Lookup{
		Claim: func(namespace, name string) *core.PersistentVolumeClaim {
			return get[*core.PersistentVolumeClaim](f.caches.claims, namespace+"/"+name)
		},
		Volume: func(name string) *core.PersistentVolume {
			return get[*core.PersistentVolume](f.caches.volumes, name)
		},
	}
}

func get[T any](store cache.Store, key string) (object T) {
	if found, ok, _ := store.GetByKey(key); ok {
		object, _ = found.(T)
	}
	return object
}

func typed[T any](list []any) []T {
	result := make([]T, 0, len(list))
	for _, one := range list {
		result = append(result, one.(T))
	}
	return result
}
