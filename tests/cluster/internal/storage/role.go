package storage

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	core "k8s.io/api/core/v1"
	storage "k8s.io/api/storage/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	corelisters "k8s.io/client-go/listers/core/v1"
	storagelisters "k8s.io/client-go/listers/storage/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/util/workqueue"

	"domicile.dev/testcluster/internal/drivers"
)

// component is the source of events.
const component = "external-provisioner"

// resync looks at everything again, should an event have been lost on a claim that failed.
const resync = 10 * time.Second

type provisioner struct {
	client  kubernetes.Interface
	drivers map[string]bool
	claims  corelisters.PersistentVolumeClaimLister
	volumes corelisters.PersistentVolumeLister
	nodes   corelisters.NodeLister
	classes storagelisters.StorageClassLister
	csi     storagelisters.CSINodeLister
	queue   workqueue.TypedRateLimitingInterface[string]
	told    map[string]string // last event by claim; a failure that goes on is told once
}

// Start runs the role until ctx ends. health says whether it knows the cluster.
func Start(ctx context.Context, config *rest.Config, list []drivers.Driver) (health func() error, err error) {
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, err
	}
	factory := informers.NewSharedInformerFactory(client, resync)
	p := &provisioner{
		client:  client,
		drivers: map[string]bool{},
		claims:  factory.Core().V1().PersistentVolumeClaims().Lister(),
		volumes: factory.Core().V1().PersistentVolumes().Lister(),
		nodes:   factory.Core().V1().Nodes().Lister(),
		classes: factory.Storage().V1().StorageClasses().Lister(),
		csi:     factory.Storage().V1().CSINodes().Lister(),
		queue: workqueue.NewTypedRateLimitingQueue(
			workqueue.NewTypedItemExponentialFailureRateLimiter[string](20*time.Millisecond, 2*time.Second)),
		told: map[string]string{},
	}
	for _, driver := range list {
		p.drivers[driver.Name] = true
	}
	handler := cache.ResourceEventHandlerFuncs{AddFunc: p.enqueue, UpdateFunc: func(_, o any) { p.enqueue(o) }}
	synced := []cache.InformerSynced{
		factory.Core().V1().Nodes().Informer().HasSynced, factory.Storage().V1().StorageClasses().Informer().HasSynced,
		factory.Storage().V1().CSINodes().Informer().HasSynced,
	}
	for _, informer := range []cache.SharedIndexInformer{
		factory.Core().V1().PersistentVolumeClaims().Informer(), factory.Core().V1().PersistentVolumes().Informer(),
	} {
		if _, err := informer.AddEventHandler(handler); err != nil {
			return nil, err
		}
		synced = append(synced, informer.HasSynced)
	}
	factory.Start(ctx.Done())
	go p.run(ctx, synced)
	return func() error {
		for _, done := range synced {
			if !done() {
				return errors.New("still reading the cluster")
			}
		}
		return nil
	}, nil
}

// enqueue: a claim's key has a slash, a volume's has none.
func (p *provisioner) enqueue(o any) {
	if key, err := cache.MetaNamespaceKeyFunc(o); err == nil {
		p.queue.Add(key)
	}
}

// run works alone: volumes that cost nothing need no parallel work.
func (p *provisioner) run(ctx context.Context, synced []cache.InformerSynced) {
	if !cache.WaitForCacheSync(ctx.Done(), synced...) {
		return
	}
	go func() { <-ctx.Done(); p.queue.ShutDown() }()
	for {
		key, shutdown := p.queue.Get()
		if shutdown {
			return
		}
		if err := p.sync(ctx, key); err != nil {
			fmt.Fprintf(os.Stderr, "provisioner: %s: %v\n", key, err)
			p.queue.AddRateLimited(key)
		} else {
			p.queue.Forget(key)
		}
		p.queue.Done(key)
	}
}

func (p *provisioner) sync(ctx context.Context, key string) error {
	namespace, name, err := cache.SplitMetaNamespaceKey(key)
	if err != nil {
		return nil
	}
	if namespace == "" {
		if volume, err := p.volumes.Get(name); err == nil {
			return p.reclaim(ctx, volume)
		}
		return nil
	}
	claim, err := p.claims.PersistentVolumeClaims(namespace).Get(name)
	if err != nil || claim.Spec.VolumeName != "" || claim.DeletionTimestamp != nil || !p.drivers[provisionerOf(claim)] {
		return nil
	}
	return p.provision(ctx, claim)
}

// reclaim deletes a volume that its claim has left.
func (p *provisioner) reclaim(ctx context.Context, volume *core.PersistentVolume) error {
	if volume.Status.Phase != core.VolumeReleased || volume.DeletionTimestamp != nil ||
		volume.Spec.PersistentVolumeReclaimPolicy != core.PersistentVolumeReclaimDelete ||
		!p.drivers[volume.Annotations[provisionedByAnnotation]] {
		return nil
	}
	err := p.client.CoreV1().PersistentVolumes().Delete(ctx, volume.Name,
		meta.DeleteOptions{Preconditions: &meta.Preconditions{UID: &volume.UID}})
	if apierrors.IsNotFound(err) || apierrors.IsConflict(err) {
		return nil
	}
	return err
}

// provision makes the volume of a claim, or says in an event why not and tries again.
func (p *provisioner) provision(ctx context.Context, claim *core.PersistentVolumeClaim) error {
	if claim.Spec.StorageClassName == nil {
		return nil
	}
	class, err := p.classes.Get(*claim.Spec.StorageClassName)
	if err != nil {
		return err // the cache may not have it yet
	}
	if waits(class) && claim.Annotations[selectedNodeAnnotation] == "" {
		return nil
	}
	place, err := p.place(claim, class)
	if err != nil {
		p.tell(ctx, claim, core.EventTypeWarning, "ProvisioningFailed", err.Error())
		if errors.Is(err, errOutside) || apierrors.IsNotFound(err) {
			return p.reschedule(ctx, claim)
		}
		return err
	}
	volume, err := p.client.CoreV1().PersistentVolumes().Create(ctx, newVolume(claim, class, place), meta.CreateOptions{})
	if apierrors.IsAlreadyExists(err) {
		return nil
	}
	if err != nil {
		p.tell(ctx, claim, core.EventTypeWarning, "ProvisioningFailed", err.Error())
		return err
	}
	p.tell(ctx, claim, core.EventTypeNormal, "ProvisioningSucceeded", "Successfully provisioned volume "+volume.Name)
	return nil
}

func (p *provisioner) place(claim *core.PersistentVolumeClaim, class *storage.StorageClass) (segments, error) {
	if claim.Spec.Selector != nil {
		return nil, errors.New("claim Selector is not supported")
	}
	if waits(class) {
		selected := claim.Annotations[selectedNodeAnnotation]
		node, err := p.nodes.Get(selected)
		if err != nil {
			return nil, err
		}
		registered, _ := p.csi.Get(selected) // nil: the driver is not there
		return ofSelected(class, ofNode(class.Provisioner, node, registered), selected)
	}
	nodes, err := p.nodes.List(labels.Everything())
	if err != nil {
		return nil, err
	}
	var places []segments
	for _, node := range nodes {
		registered, _ := p.csi.Get(node.Name)
		if place := ofNode(class.Provisioner, node, registered); place != nil {
			places = append(places, place)
		}
	}
	return ofImmediate(class, places, claim.Name)
}

// reschedule takes the choice of the node back, which makes the scheduler choose again.
func (p *provisioner) reschedule(ctx context.Context, claim *core.PersistentVolumeClaim) error {
	claim = claim.DeepCopy()
	delete(claim.Annotations, selectedNodeAnnotation)
	_, err := p.client.CoreV1().PersistentVolumeClaims(claim.Namespace).Update(ctx, claim, meta.UpdateOptions{})
	if apierrors.IsNotFound(err) || apierrors.IsConflict(err) {
		return nil
	}
	return err
}

// tell writes an event about a claim. One that is lost is no loss.
func (p *provisioner) tell(ctx context.Context, claim *core.PersistentVolumeClaim, kind, reason, message string) {
	if p.told[string(claim.UID)] == message {
		return
	}
	p.told[string(claim.UID)] = message
	now := meta.Now()
	_, _ = p.client.CoreV1().Events(claim.Namespace).Create(ctx, &core.Event{
		ObjectMeta: meta.ObjectMeta{GenerateName: claim.Name + ".", Namespace: claim.Namespace},
		InvolvedObject: core.ObjectReference{
			APIVersion: "v1", Kind: "PersistentVolumeClaim",
			Namespace: claim.Namespace, Name: claim.Name, UID: claim.UID, ResourceVersion: claim.ResourceVersion,
		},
		Type: kind, Reason: reason, Message: message,
		Source:         core.EventSource{Component: component},
		FirstTimestamp: now, LastTimestamp: now, Count: 1, ReportingController: component,
	}, meta.CreateOptions{})
}
