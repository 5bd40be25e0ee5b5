package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"

	core "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	corelisters "k8s.io/client-go/listers/core/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	policyapi "sigs.k8s.io/network-policy-api/apis/v1alpha2"
	policyclient "sigs.k8s.io/network-policy-api/pkg/client/clientset/versioned"
	policyinformers "sigs.k8s.io/network-policy-api/pkg/client/informers/externalversions"

	"sigs.k8s.io/kube-network-policies/pkg/api"
	"sigs.k8s.io/kube-network-policies/pkg/network"
	"sigs.k8s.io/kube-network-policies/pkg/networkpolicy"
	"sigs.k8s.io/kube-network-policies/pkg/podinfo"
	clusterpolicy "sigs.k8s.io/kube-network-policies/plugins/npa-v1alpha2"
)

// sourcePort is that of every packet: policies do not look at it.
const sourcePort = 40000

// judge is the engine with all it must know of the cluster.
type judge struct {
	engine *networkpolicy.PolicyEngine
	pods   corelisters.PodLister
}

func newJudge(ctx context.Context, kubeconfig string) (*judge, error) {
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return nil, err
	}
	config.QPS = -1
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, err
	}
	factory := informers.NewSharedInformerFactory(client, 0)
	namespaces, pods, nodes := factory.Core().V1().Namespaces(), factory.Core().V1().Pods(), factory.Core().V1().Nodes()
	provider := podinfo.NewInformerProvider(pods, namespaces, nodes, nil)
	policies := []api.PolicyEvaluator{
		networkpolicy.NewStandardNetworkPolicy("none", namespaces, pods, factory.Networking().V1().NetworkPolicies()),
	}
	tiers, err := clusterTiers(ctx, client, config, nodes.Lister())
	if err != nil {
		return nil, err
	}
	if tiers != nil {
		policies = []api.PolicyEvaluator{tiers.admin, policies[0], tiers.baseline}
	}
	factory.Start(ctx.Done())
	for kind, synced := range factory.WaitForCacheSync(ctx.Done()) {
		if !synced {
			return nil, fmt.Errorf("cannot read %s", kind)
		}
	}
	return &judge{networkpolicy.NewPolicyEngine(provider, policies), pods.Lister()}, nil
}

// tiers are the cluster-wide policies before and after the NetworkPolicies.
type tiers struct{ admin, baseline api.PolicyEvaluator }

// clusterTiers is nil where ClusterNetworkPolicy is not served.
func clusterTiers(ctx context.Context, client kubernetes.Interface, config *rest.Config, nodes corelisters.NodeLister) (*tiers, error) {
	_, err := client.Discovery().ServerResourcesForGroupVersion(policyapi.GroupVersion.String())
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	policies, err := policyclient.NewForConfig(config)
	if err != nil {
		return nil, err
	}
	factory := policyinformers.NewSharedInformerFactory(policies, 0)
	informer := factory.Policy().V1alpha2().ClusterNetworkPolicies()
	found := &tiers{
		admin:    clusterpolicy.NewClusterNetworkPolicy(policyapi.AdminTier, informer, nil, nodes),
		baseline: clusterpolicy.NewClusterNetworkPolicy(policyapi.BaselineTier, informer, nil, nodes),
	}
	informer.Informer()
	factory.Start(ctx.Done())
	for kind, synced := range factory.WaitForCacheSync(ctx.Done()) {
		if !synced {
			return nil, fmt.Errorf("cannot read %s", kind)
		}
	}
	return found, nil
}

func (j *judge) passes(ctx context.Context, q question) (bool, error) {
	source, err := j.address(q.from)
	if err != nil {
		return false, err
	}
	destination, err := j.address(q.to)
	if err != nil {
		return false, err
	}
	family := core.IPv4Protocol
	if destination.To4() == nil {
		family = core.IPv6Protocol
	}
	if (source.To4() == nil) != (destination.To4() == nil) {
		return false, errors.New("one address is IPv4 and the other is IPv6")
	}
	return j.engine.EvaluatePacket(ctx, &network.Packet{
		Family: family, SrcIP: source, DstIP: destination, Proto: q.protocol, SrcPort: sourcePort, DstPort: q.port,
	})
}

func (j *judge) address(text string) (net.IP, error) {
	if ip := net.ParseIP(text); ip != nil {
		return ip, nil
	}
	namespace, name, ok := strings.Cut(text, "/")
	if !ok {
		return nil, fmt.Errorf("%q is neither an address nor NAMESPACE/POD", text)
	}
	pod, err := j.pods.Pods(namespace).Get(name)
	if err != nil {
		return nil, err
	}
	if pod.Status.PodIP == "" {
		return nil, fmt.Errorf("pod %s has no address yet", text)
	}
	return net.ParseIP(pod.Status.PodIP), nil
}
