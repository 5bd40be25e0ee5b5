//! The two network policies of a governed namespace.
//!
//! The *isolating* one selects every pod, both directions, and opens nothing; the *permitting* one opens what is permitted
//! to pods that do not say `domicile.dev/permit: None`. Network policies add up, so the isolating one holds whatever
//! becomes of the other.

use k8s_openapi::{
    api::networking::v1::{
        IPBlock, NetworkPolicyEgressRule, NetworkPolicyIngressRule, NetworkPolicyPeer, NetworkPolicyPort,
        NetworkPolicySpec,
    },
    apimachinery::pkg::{
        apis::meta::v1::{LabelSelector, LabelSelectorRequirement},
        util::intstr::IntOrString,
    },
};

use crate::{
    domain::{Cidr, Ingress, Permitting, keys},
    resolve::{Confined, Peer, PortRange},
};

/// The name of a namespace as a label that nobody can forge.
pub(super) const NAMESPACE_NAME: &str = "kubernetes.io/metadata.name";

/// Addresses at which providers serve a node's metadata: link-local, and Alibaba Cloud's.
pub(super) const METADATA: [&str; 2] = ["169.254.169.254/32", "100.100.100.200/32"];

/// Selects every pod, both directions, and opens nothing.
#[must_use]
pub fn isolating() -> NetworkPolicySpec {
    NetworkPolicySpec {
        pod_selector: Some(LabelSelector::default()),
        policy_types: Some(both()),
        ..NetworkPolicySpec::default()
    }
}

/// Opens what is permitted; `None` where that is left to the tenants.
#[must_use]
pub fn permitting(confined: &Confined) -> Option<NetworkPolicySpec> {
    let confinement = &confined.confinement;
    if confinement.permitting == Permitting::None {
        return None;
    }
    let networks = || confinement.networks.iter().map(block);
    let peers = || [peers_of(&confinement.peers), own_namespace()];
    let apart = |attested: &&Cidr| !confinement.networks.iter().any(|network| network.contains(attested));
    let control_plane = || confined.control_plane.iter().filter(apart).map(block);
    let mut egress = vec![to(networks().chain(peers()).chain(control_plane()).collect(), None), dns()];
    egress.push(to(
        METADATA.iter().filter_map(|text| text.parse().ok()).map(|cidr| block(&cidr)).collect(),
        Some(vec![tcp(80)]),
    ));
    egress.extend(confined.egress.iter().map(|allowed| to(peers_in(&allowed.peer), ports(&allowed.ports))));
    let ingress = match confinement.ingress {
        Ingress::Open => vec![NetworkPolicyIngressRule::default()],
        Ingress::Restricted => {
            let mut rules = vec![from(networks().chain(peers()).chain(control_plane()).collect(), None)];
            rules.extend(confined.ingress.iter().map(|allowed| from(peers_in(&allowed.peer), ports(&allowed.ports))));
            rules
        }
    };
    let unless_refused = LabelSelectorRequirement {
        key: keys::PERMIT.to_owned(),
        operator: "NotIn".to_owned(),
        values: Some(vec!["None".to_owned()]),
    };
    Some(NetworkPolicySpec {
        pod_selector: Some(LabelSelector { match_expressions: Some(vec![unless_refused]), match_labels: None }),
        policy_types: Some(both()),
        egress: Some(egress),
        ingress: Some(ingress),
    })
}

fn both() -> Vec<String> {
    vec!["Ingress".to_owned(), "Egress".to_owned()]
}

fn to(peers: Vec<NetworkPolicyPeer>, ports: Option<Vec<NetworkPolicyPort>>) -> NetworkPolicyEgressRule {
    NetworkPolicyEgressRule { to: Some(peers), ports }
}

fn from(peers: Vec<NetworkPolicyPeer>, ports: Option<Vec<NetworkPolicyPort>>) -> NetworkPolicyIngressRule {
    NetworkPolicyIngressRule { from: Some(peers), ports }
}

fn block(cidr: &Cidr) -> NetworkPolicyPeer {
    NetworkPolicyPeer {
        ip_block: Some(IPBlock { cidr: cidr.to_string(), except: None }),
        ..NetworkPolicyPeer::default()
    }
}

fn own_namespace() -> NetworkPolicyPeer {
    NetworkPolicyPeer { pod_selector: Some(LabelSelector::default()), ..NetworkPolicyPeer::default() }
}

/// Namespaces that keep to everything that this one keeps to. Only what the operator writes is asked for, so no tenant
/// can make himself a peer.
fn peers_of(values: &[String]) -> NetworkPolicyPeer {
    let one_of = |key: &str, values: &[String]| LabelSelectorRequirement {
        key: key.to_owned(),
        operator: "In".to_owned(),
        values: Some(values.to_vec()),
    };
    let expressions = vec![
        one_of(keys::CONFINED_FOR, values),
        one_of(keys::ENFORCEMENT, &["Enforce".to_owned()]),
        one_of(keys::PEER, &["true".to_owned()]),
    ];
    NetworkPolicyPeer {
        namespace_selector: Some(LabelSelector { match_expressions: Some(expressions), match_labels: None }),
        ..NetworkPolicyPeer::default()
    }
}

pub(super) fn labelled(key: &str, value: &str) -> LabelSelector {
    LabelSelector { match_labels: Some([(key.to_owned(), value.to_owned())].into()), match_expressions: None }
}

fn dns() -> NetworkPolicyEgressRule {
    let mut peers: Vec<NetworkPolicyPeer> = keys::DNS_APPS
        .iter()
        .map(|app| NetworkPolicyPeer {
            namespace_selector: Some(labelled(NAMESPACE_NAME, keys::DNS_NAMESPACE)),
            pod_selector: Some(labelled(keys::DNS_APP, app)),
            ip_block: None,
        })
        .collect();
    peers.extend(keys::NODE_LOCAL_DNS.parse().ok().map(|cidr: Cidr| block(&cidr)));
    let ports = ["UDP", "TCP"].map(|protocol| port(&PortRange { first: keys::DNS_PORT, last: None, protocol }));
    to(peers, Some(ports.to_vec()))
}

fn tcp(first: i32) -> NetworkPolicyPort {
    port(&PortRange { first, last: None, protocol: "TCP" })
}

fn ports(ranges: &[PortRange]) -> Option<Vec<NetworkPolicyPort>> {
    (!ranges.is_empty()).then(|| ranges.iter().map(port).collect())
}

fn port(range: &PortRange) -> NetworkPolicyPort {
    NetworkPolicyPort {
        port: Some(IntOrString::Int(range.first)),
        end_port: range.last,
        protocol: Some(range.protocol.to_owned()),
    }
}

fn peers_in(peer: &Peer) -> Vec<NetworkPolicyPeer> {
    match peer {
        Peer::Networks(networks) => networks.iter().map(block).collect(),
        Peer::Pods { namespaces, pods } => vec![NetworkPolicyPeer {
            namespace_selector: namespaces.as_ref().map(crate::api::selector::LabelSelector::to_meta),
            pod_selector: pods.as_ref().map(crate::api::selector::LabelSelector::to_meta),
            ip_block: None,
        }],
    }
}
