//! ClusterNetworkPolicy (`policy.networking.k8s.io/v1alpha2`, network-policy-api v0.2.0), of which `k8s-openapi` has no
//! types, and its watch. Specs of others are kept as they came; a field that is not known here must not hide a policy.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::{
    Api, Client, ResourceExt as _,
    api::{ApiResource, DynamicObject},
};
use serde::Serialize;
use tokio::sync::mpsc;

use super::{
    change::Change,
    convert::is_managed,
    discovery::{Discovery, Found},
    served::Following,
};

/// The API group.
pub(super) const GROUP: &str = "policy.networking.k8s.io";
const VERSION: &str = "v1alpha2";
const KIND: &str = "ClusterNetworkPolicy";
const PLURAL: &str = "clusternetworkpolicies";

/// A ClusterNetworkPolicy that stands.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct ClusterPolicy {
    /// Its UID.
    pub uid: String,
    /// Its whole spec, as it came.
    pub spec: serde_json::Value,
    /// Whether it carries Domicile's mark.
    pub managed: bool,
    /// Whether it is being deleted.
    pub terminating: bool,
    /// Whether it has finalizers or owners, by which others could hold or end it.
    pub encumbered: bool,
}

impl From<DynamicObject> for ClusterPolicy {
    fn from(mut policy: DynamicObject) -> Self {
        Self {
            managed: is_managed(&policy.metadata),
            terminating: policy.metadata.deletion_timestamp.is_some(),
            encumbered: !policy.finalizers().is_empty() || !policy.owner_references().is_empty(),
            spec: policy.data.get_mut("spec").map(serde_json::Value::take).unwrap_or_default(),
            uid: policy.metadata.uid.unwrap_or_default(),
        }
    }
}

impl ClusterPolicy {
    /// Whether it says this, and is in nobody else's hands.
    #[must_use]
    pub fn stands_as(&self, spec: &serde_json::Value) -> bool {
        self.spec == *spec && !self.terminating && !self.encumbered
    }
}

/// What is wanted of one.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Spec {
    /// `Admin`: before every NetworkPolicy.
    pub tier: &'static str,
    /// Of two in one tier the smaller is asked first.
    pub priority: i32,
    /// The pods that it is about.
    pub subject: Peer,
    /// What may come in; nothing is said of that where empty.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ingress: Vec<Rule>,
    /// What may go out.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub egress: Vec<Rule>,
}

/// One rule; the first that matches decides.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Rule {
    /// For people.
    pub name: &'static str,
    /// What becomes of what matches.
    pub action: Action,
    /// Destinations, of a rule on egress.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub to: Vec<Peer>,
    /// Sources, of a rule on ingress.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub from: Vec<Peer>,
    /// At which ports; all where empty.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub protocols: Vec<Protocol>,
}

/// What becomes of what a rule matches. `Accept` is never wanted: tenants' own policies would not be asked any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Action {
    /// NetworkPolicies decide.
    Pass,
    /// It is dropped.
    Deny,
}

/// Who.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Peer {
    /// All pods of namespaces, but those that share their node's network.
    Namespaces(LabelSelector),
    /// Pods of namespaces.
    #[serde(rename_all = "camelCase")]
    Pods {
        /// Of these namespaces.
        namespace_selector: LabelSelector,
        /// These pods.
        pod_selector: LabelSelector,
    },
    /// Blocks of addresses, pods' addresses among them. On egress only.
    Networks(Vec<String>),
}

/// Ports of a protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Protocol {
    /// TCP.
    Tcp(DestinationPort),
    /// UDP.
    Udp(DestinationPort),
    /// SCTP.
    Sctp(DestinationPort),
}

/// The port that is talked to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DestinationPort {
    /// One, or a range.
    pub destination_port: Port,
}

/// One port or a range.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Port {
    /// One.
    Number(i32),
    /// More than one.
    Range {
        /// The first.
        start: i32,
        /// The last, greater than the first.
        end: i32,
    },
}

/// The kind on the API server.
#[must_use]
pub fn resource() -> ApiResource {
    ApiResource {
        group: GROUP.to_owned(),
        version: VERSION.to_owned(),
        api_version: format!("{GROUP}/{VERSION}"),
        kind: KIND.to_owned(),
        plural: PLURAL.to_owned(),
    }
}

/// Watches all of them: others' may be asked before Domicile's.
pub(super) fn follow(client: &Client, discovery: Discovery, sink: &mpsc::Sender<Change>) {
    Following {
        name: KIND,
        find: |found: &Found| found.find_in(GROUP, VERSION, PLURAL),
        elsewhere: |_: &Found| false,
        open: |client: &Client, served: &ApiResource| Api::all_with(client.clone(), served),
        project: |policy: DynamicObject| Some(ClusterPolicy::from(policy)),
        wrap: Change::ClusterPolicy,
    }
    .follow(client, discovery, sink);
}
