package nodes

import (
	"context"
	"sync"
	"time"

	core "k8s.io/api/core/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"domicile.dev/testcluster/internal/pki"
	"domicile.dev/testcluster/internal/pods"
)

// requestTimeout of a kubelet's request: a stopped API server must not hold its other work up.
const requestTimeout = 10 * time.Second

// machine is one simulated kubelet: its identity and what it remembers.
type machine struct {
	name   string
	client kubernetes.Interface
	// controller gives nodes what no kubelet gives itself.
	controller kubernetes.Interface

	mu      sync.Mutex
	profile profile
	// registered is the UID of the Node whose CSINode was written.
	registered types.UID
	pools      []*pods.Pool
	memory     map[types.UID]*remembered
}

// remembered is what a kubelet knows about a pod that is not in its status, or only to the second.
type remembered struct {
	admitted         bool
	podIPs           []string
	startedAt        time.Time
	terminatingSince time.Time
	warned           bool
}

// newMachine makes an identity as a bootstrapping kubelet gets it.
func newMachine(authority *pki.Authority, server string, controller kubernetes.Interface, p profile) (*machine, error) {
	subject := pki.Subject{Name: "system:node:" + p.Name, Groups: []string{"system:nodes"}}
	identity, err := authority.Issue(subject)
	if err != nil {
		return nil, err
	}
	client, err := kubernetes.NewForConfig(&rest.Config{
		Host:      server,
		UserAgent: "kubelet/" + p.version,
		QPS:       -1,
		Timeout:   requestTimeout,
		TLSClientConfig: rest.TLSClientConfig{
			CAData: authority.PEM, CertData: identity.Certificate, KeyData: identity.Key,
		},
		ContentConfig: rest.ContentConfig{
			ContentType:        "application/vnd.kubernetes.protobuf",
			AcceptContentTypes: "application/vnd.kubernetes.protobuf,application/json",
		},
	})
	if err != nil {
		return nil, err
	}
	m := &machine{name: p.Name, client: client, controller: controller, profile: p, memory: map[types.UID]*remembered{}}
	for _, block := range p.podCIDRs {
		pool, err := pods.NewPool(block)
		if err != nil {
			return nil, err
		}
		m.pools = append(m.pools, pool)
	}
	return m, nil
}

// current is the profile as it is now.
func (m *machine) current() profile {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.profile
}

// remember finds or makes the memory of a pod. A pod that runs already was admitted before this role restarted.
func (m *machine) remember(pod *core.Pod) *remembered {
	r, ok := m.memory[pod.UID]
	if !ok {
		r = &remembered{admitted: pod.Status.StartTime != nil}
		for _, ip := range pod.Status.PodIPs {
			r.podIPs = append(r.podIPs, ip.IP)
			for _, pool := range m.pools {
				pool.Claim(ip.IP)
			}
		}
		if pod.Status.StartTime != nil {
			r.startedAt = pod.Status.StartTime.Time
		}
		m.memory[pod.UID] = r
	}
	return r
}

// forget gives back what a pod had.
func (m *machine) forget(uid types.UID) {
	m.mu.Lock()
	defer m.mu.Unlock()
	r, ok := m.memory[uid]
	if !ok {
		return
	}
	for _, ip := range r.podIPs {
		for _, pool := range m.pools {
			pool.Return(ip)
		}
	}
	delete(m.memory, uid)
}

// addressesFor gives a pod its addresses, once: one of each block, or the node's own.
func (m *machine) addressesFor(pod *core.Pod, r *remembered) ([]string, error) {
	if pod.Spec.HostNetwork {
		return m.profile.addresses, nil
	}
	if len(r.podIPs) > 0 {
		return r.podIPs, nil
	}
	for _, pool := range m.pools {
		ip, err := pool.Take()
		if err != nil {
			return nil, err
		}
		r.podIPs = append(r.podIPs, ip)
	}
	return r.podIPs, nil
}

// warn writes an event about a pod, as kubelets do. An event that is lost is no loss.
func (m *machine) warn(ctx context.Context, pod *core.Pod, reason, message string) {
	now := meta.Now()
	_, _ = m.client.CoreV1().Events(pod.Namespace).Create(ctx, &core.Event{
		ObjectMeta: meta.ObjectMeta{GenerateName: pod.Name + ".", Namespace: pod.Namespace},
		InvolvedObject: core.ObjectReference{
			APIVersion: "v1", Kind: "Pod", Namespace: pod.Namespace, Name: pod.Name, UID: pod.UID, ResourceVersion: pod.ResourceVersion,
		},
		Type: core.EventTypeWarning, Reason: reason, Message: message,
		Source:         core.EventSource{Component: "kubelet", Host: m.name},
		FirstTimestamp: now, LastTimestamp: now, Count: 1,
		ReportingController: "kubelet", ReportingInstance: m.name,
	}, meta.CreateOptions{})
}
