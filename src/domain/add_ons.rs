//! Kinds of add-ons that a governed namespace may not hold, or not all of: those that the fixed policies judge where an add-on
//! serves them. Which there are follows from `network.yaml` and `exposure.yaml`.

use std::fmt;

/// A kind that an add-on serves, whichever of its versions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct AddOn {
    /// Kind and group as kubectl takes them.
    pub name: &'static str,
    /// The name of the kind in the paths of the API.
    pub plural: &'static str,
    /// What one of them does.
    pub does: Does,
    /// The group under which the same objects are read where it is served.
    pub read_as: Option<&'static str>,
}

/// What an object of such a kind does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Does {
    /// It opens governed pods to the outside, or to other clusters.
    Route,
    /// It does so unless it stays in its mesh (VirtualService of Istio).
    MeshRoute,
    /// It gives other namespaces something of this one, Services at least.
    Grant,
    /// It is another kind of policy: it opens what NetworkPolicy cannot take back.
    Policy,
    /// It is used by one: a list of addresses, a network, a proxy's rules.
    PartOfPolicy,
}

impl AddOn {
    /// The API group.
    #[must_use]
    pub fn group(&self) -> &'static str {
        self.name.split_once('.').map_or("", |(_, group)| group)
    }

    /// The kind alone.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        self.name.split_once('.').map_or(self.name, |(kind, _)| kind)
    }

    /// The kind as which the same objects are read where its group is served in place of this one's.
    #[must_use]
    pub fn twin(&self) -> Option<&'static Self> {
        let is_twin = |other: &&Self| match self.read_as {
            Some(group) => other.group() == group && other.plural == self.plural,
            None => other.read_as == Some(self.group()) && other.plural == self.plural,
        };
        ADD_ONS.iter().find(is_twin)
    }

    /// Whether it is a policy, or used by one.
    #[must_use]
    pub fn is_of_policies(&self) -> bool {
        matches!(self.does, Does::Policy | Does::PartOfPolicy)
    }
}

impl fmt::Display for AddOn {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.name)
    }
}

/// What is to be arranged so that `reader` can read a kind, in words; of those that are no add-on's too.
#[must_use]
pub fn how_to_read(kind: &str, reader: &str) -> String {
    let arrange = format!("see that its API server answers, and that {reader} may list and watch it");
    let is_of_calico = |known: &AddOn| known.read_as.is_some() || known.twin().is_some();
    if ADD_ONS.iter().any(|known| known.name == kind && known.does == Does::Policy && is_of_calico(known)) {
        // https://docs.tigera.io/calico/latest/network-policy/policy-tiers/rbac-tiered-policies
        return format!(
            "{arrange}; where projectcalico.org is served let it get all tiers there, by no name, and list and watch tier.networkpolicies: Calico's API server shows of other tiers nothing, without a word"
        );
    }
    arrange
}

const fn one(name: &'static str, plural: &'static str, does: Does) -> AddOn {
    AddOn { name, plural, does, read_as: None }
}

/// Calico's API server shows what is stored as `crd.projectcalico.org`, and asks for rights to tiers of its own. Where Calico has
/// no such server, there is one of the two groups.
const fn of_calico(name: &'static str, plural: &'static str, does: Does) -> AddOn {
    AddOn { name, plural, does, read_as: Some("crd.projectcalico.org") }
}

/// All of them. What a network plugin writes itself (CiliumEndpoint, PolicyEndpoint) is left out: it is written with every pod.
pub static ADD_ONS: [AddOn; 38] = [
    one("Gateway.gateway.networking.k8s.io", "gateways", Does::Route),
    one("ListenerSet.gateway.networking.k8s.io", "listenersets", Does::Route),
    one("HTTPRoute.gateway.networking.k8s.io", "httproutes", Does::Route),
    one("GRPCRoute.gateway.networking.k8s.io", "grpcroutes", Does::Route),
    one("TLSRoute.gateway.networking.k8s.io", "tlsroutes", Does::Route),
    one("TCPRoute.gateway.networking.k8s.io", "tcproutes", Does::Route),
    one("UDPRoute.gateway.networking.k8s.io", "udproutes", Does::Route),
    one("ReferenceGrant.gateway.networking.k8s.io", "referencegrants", Does::Grant),
    one("Route.route.openshift.io", "routes", Does::Route),
    one("ServiceExport.multicluster.x-k8s.io", "serviceexports", Does::Route),
    one("ServiceExport.net.gke.io", "serviceexports", Does::Route),
    one("ServiceExport.networking.fleet.azure.com", "serviceexports", Does::Route),
    one("MultiClusterService.networking.fleet.azure.com", "multiclusterservices", Does::Route),
    one("IngressRoute.traefik.io", "ingressroutes", Does::Route),
    one("IngressRouteTCP.traefik.io", "ingressroutetcps", Does::Route),
    one("IngressRouteUDP.traefik.io", "ingressrouteudps", Does::Route),
    one("IngressRoute.traefik.containo.us", "ingressroutes", Does::Route),
    one("IngressRouteTCP.traefik.containo.us", "ingressroutetcps", Does::Route),
    one("IngressRouteUDP.traefik.containo.us", "ingressrouteudps", Does::Route),
    one("HTTPProxy.projectcontour.io", "httpproxies", Does::Route),
    one("VirtualServer.k8s.nginx.org", "virtualservers", Does::Route),
    one("VirtualServerRoute.k8s.nginx.org", "virtualserverroutes", Does::Route),
    one("TransportServer.k8s.nginx.org", "transportservers", Does::Route),
    one("TCPIngress.configuration.konghq.com", "tcpingresses", Does::Route),
    one("UDPIngress.configuration.konghq.com", "udpingresses", Does::Route),
    one("Gateway.networking.istio.io", "gateways", Does::Route),
    one("VirtualService.networking.istio.io", "virtualservices", Does::MeshRoute),
    one("TargetGroupBinding.elbv2.k8s.aws", "targetgroupbindings", Does::Route),
    one("CiliumNetworkPolicy.cilium.io", "ciliumnetworkpolicies", Does::Policy),
    one("CiliumEnvoyConfig.cilium.io", "ciliumenvoyconfigs", Does::PartOfPolicy),
    one("NetworkPolicy.crd.projectcalico.org", "networkpolicies", Does::Policy),
    one("NetworkSet.crd.projectcalico.org", "networksets", Does::PartOfPolicy),
    one("NetworkPolicy.crd.antrea.io", "networkpolicies", Does::Policy),
    one("ApplicationNetworkPolicy.networking.k8s.aws", "applicationnetworkpolicies", Does::Policy),
    one("NetworkAttachmentDefinition.k8s.cni.cncf.io", "network-attachment-definitions", Does::PartOfPolicy),
    one("MultiNetworkPolicy.k8s.cni.cncf.io", "multi-networkpolicies", Does::Policy),
    of_calico("NetworkPolicy.projectcalico.org", "networkpolicies", Does::Policy),
    of_calico("NetworkSet.projectcalico.org", "networksets", Does::PartOfPolicy),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calicos_kinds_are_each_others_twins_and_nobody_elses() {
        let twins: Vec<(&str, &str)> = ADD_ONS.iter().filter_map(|kind| Some((kind.name, kind.twin()?.name))).collect();
        let (policies, sets) = ("NetworkPolicy", "NetworkSet");
        let names = |kind: &str| [format!("{kind}.crd.projectcalico.org"), format!("{kind}.projectcalico.org")];
        let wanted: Vec<[String; 2]> = [policies, sets].map(names).into();
        let pairs = |from: usize, to: usize| wanted.iter().map(move |pair| (pair[from].as_str(), pair[to].as_str()));
        assert_eq!(twins, pairs(0, 1).chain(pairs(1, 0)).collect::<Vec<_>>());
    }
}
