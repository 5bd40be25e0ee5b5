//! The cluster as plain data: the few fields of each kind that rules speak of.

use std::{collections::BTreeMap, fmt, net::IpAddr};

use k8s_openapi::api::core::v1::Taint;
use serde::Serialize;

use super::{ClusterPolicy, Device, Opening, Policy, Receivers, Resources};
use crate::{
    api::{DataCenter, DataResidency},
    domain::{AddOn, Cidr, Named, Subject, add_ons::ADD_ONS, keys},
};

/// Labels or annotations.
pub type Map = BTreeMap<String, String>;

/// Namespace and name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Key {
    /// The namespace.
    pub namespace: String,
    /// The name.
    pub name: String,
}

impl Key {
    /// Of the two parts.
    #[must_use]
    pub fn new(namespace: &str, name: &str) -> Self {
        Self { namespace: namespace.to_owned(), name: name.to_owned() }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}/{}", self.namespace, self.name)
    }
}

/// Everything that is known of a cluster at one moment.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Snapshot {
    /// Data centers as written.
    pub data_centers: BTreeMap<String, DataCenter>,
    /// Residencies as written.
    pub residencies: BTreeMap<String, DataResidency>,
    /// Nodes.
    pub nodes: BTreeMap<String, Node>,
    /// Namespaces.
    pub namespaces: BTreeMap<String, Namespace>,
    /// Pods of every namespace.
    #[serde(skip)]
    pub pods: BTreeMap<Key, Pod>,
    /// Claims.
    #[serde(skip)]
    pub claims: BTreeMap<Key, Claim>,
    /// Volumes.
    pub volumes: BTreeMap<String, Volume>,
    /// StorageClasses.
    pub classes: BTreeMap<String, Class>,
    /// CSI drivers on each node.
    #[serde(skip)]
    pub drivers: BTreeMap<String, Drivers>,
    /// Network policies of governed namespaces and of those that may become so.
    #[serde(skip)]
    pub policies: BTreeMap<Key, Policy>,
    /// RoleBindings of every namespace.
    #[serde(skip)]
    pub role_bindings: BTreeMap<Key, RoleBinding>,
    /// Services and Ingresses that reach outside the cluster.
    #[serde(skip)]
    pub exposed: BTreeMap<(Key, &'static str), Exposed>,
    /// EndpointSlices that the controller of Services with selectors does not say are its own.
    #[serde(skip)]
    pub endpoints: BTreeMap<Key, Endpoints>,
    /// What has the API server send whole objects to somebody, by kind and name.
    #[serde(skip)]
    pub receivers: BTreeMap<(&'static str, String), Receivers>,
    /// Devices of which nobody knows where they stand, by the ResourceClaim that was given them.
    #[serde(skip)]
    pub devices: BTreeMap<Key, Device>,
    /// Objects of add-ons' kinds that lead out of their namespace or open it.
    #[serde(skip)]
    pub openings: BTreeMap<(Key, &'static AddOn), Opening>,
    /// Addresses of the API servers, as their endpoints tell them.
    pub api_servers: BTreeMap<String, Vec<IpAddr>>,
    /// ClusterNetworkPolicies, others' among them; `None` where the kind is not served, or was not read yet.
    #[serde(skip)]
    pub cluster_policies: Option<BTreeMap<String, ClusterPolicy>>,
}

impl Snapshot {
    /// Whether what a finding was about is still there and in use. Of kinds that are not read wholly, always.
    #[must_use]
    pub fn lives(&self, subject: &Subject) -> bool {
        let key = Key::new(&subject.namespace, &subject.name);
        match subject.kind {
            "Pod" => {
                self.pods.get(&key).is_some_and(|pod| pod.uid == subject.uid && pod.is_active() && !pod.terminating)
            }
            "PersistentVolumeClaim" => self.claims.get(&key).is_some_and(|claim| claim.uid == subject.uid),
            "ValidatingWebhookConfiguration" | "MutatingWebhookConfiguration" | "APIService" => {
                self.receivers.contains_key(&(subject.kind, subject.name.clone()))
            }
            "ClusterNetworkPolicy" => self.cluster_policies.as_ref().is_some_and(|all| all.contains_key(&subject.name)),
            "NetworkPolicy" => self.policies.get(&key).is_some_and(|policy| policy.uid == subject.uid),
            "EndpointSlice" => self.endpoints.get(&key).is_some_and(|slice| slice.uid == subject.uid),
            "ResourceClaim" => self.devices.get(&key).is_some_and(|device| device.claim_uid == subject.uid),
            "RoleBinding" => self.role_bindings.get(&key).is_some_and(|binding| binding.uid == subject.uid),
            kind => ADD_ONS
                .iter()
                .find(|known| known.name == kind)
                .is_none_or(|known| self.openings.get(&(key, known)).is_some_and(|opening| opening.uid == subject.uid)),
        }
    }

    /// What leads out of a namespace, or opens it, by objects of add-ons' kinds.
    pub fn openings_of<'a>(
        &'a self,
        namespace: &'a str,
    ) -> impl Iterator<Item = (&'a Key, &'static AddOn, &'a Opening)> + Clone {
        let first = ADD_ONS.first().map(|kind| (Key::new(namespace, ""), kind)); // nothing has an empty name
        let all = first.into_iter().flat_map(|first| self.openings.range(first..));
        all.take_while(move |((key, _), _)| key.namespace == namespace).map(|((key, kind), one)| (key, *kind, one))
    }
}

/// A node.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Node {
    /// Its name.
    pub name: String,
    /// Its UID, for events.
    pub uid: String,
    /// All labels.
    pub labels: Map,
    /// `spec.providerID`, empty where absent.
    pub provider_id: String,
    /// Every InternalIP.
    pub addresses: Vec<IpAddr>,
    /// `spec.podCIDRs`.
    pub pod_networks: Vec<Cidr>,
    /// InternalIPs that do not parse: such a node is never verified.
    pub unreadable_addresses: Vec<String>,
    /// Whether its kubelet says that it is ready.
    pub ready: bool,
    /// Whether it takes no new pods.
    pub unschedulable: bool,
    /// Its taints.
    pub taints: Vec<Taint>,
    /// What pods may ask of it.
    pub allocatable: Resources,
}

/// A namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Namespace {
    /// Its name.
    pub name: String,
    /// Its UID.
    pub uid: String,
    /// The version that was read; a write names it, so that it is refused where the namespace has changed since.
    pub resource_version: String,
    /// All labels where it names a residency, else those of Domicile and of Pod Security.
    pub labels: Map,
    /// The annotations of a confinement; the others do not matter.
    pub annotations: Map,
    /// Whether it is being deleted.
    pub terminating: bool,
    /// Whether this version of it was seen by a watch that had not seen the namespace before, so that its label is as old
    /// as itself and no pod can be older.
    pub labelled_at_birth: bool,
    /// Pod Security labels that Domicile set itself, by their field manager.
    pub own_pod_security: Vec<String>,
}

impl Namespace {
    /// What it names.
    #[must_use]
    pub fn named(&self) -> Named {
        Named::parse(self.labels.get(keys::RESIDENCY).map(String::as_str))
    }

    /// Whether a confinement, or a part of one, stands on it.
    #[must_use]
    pub fn has_confinement(&self) -> bool {
        keys::CONFINEMENT_LABELS.iter().any(|key| self.labels.contains_key(*key))
            || keys::CONFINEMENT_ANNOTATIONS.iter().any(|key| self.annotations.contains_key(*key))
    }

    /// Whether everything stands on `other` as it does here by which a confinement is decided.
    #[must_use]
    pub fn is_decided_like(&self, other: &Self) -> bool {
        let decisive = |key: &str| {
            key == keys::RESIDENCY
                || keys::CONFINEMENT_LABELS.contains(&key)
                || key.starts_with(keys::POD_SECURITY_ENFORCE)
        };
        let labels = |space: &Self| {
            let kept = space.labels.iter().filter(|(key, _)| decisive(key));
            kept.map(|(key, value)| (key.clone(), value.clone())).collect::<Map>()
        };
        (&self.uid, self.terminating, &self.annotations) == (&other.uid, other.terminating, &other.annotations)
            && labels(self) == labels(other)
    }

    /// The value that the standing confinement resolves.
    #[must_use]
    pub fn confined_for(&self) -> Option<&str> {
        self.labels.get(keys::CONFINED_FOR).map(String::as_str)
    }
}

/// The controller of an object.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Owner {
    /// For example `ReplicaSet`.
    pub kind: String,
    /// Its name.
    pub name: String,
}

/// What a pod does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub enum Phase {
    /// Not yet running, or running.
    #[default]
    Active,
    /// Succeeded or failed: it runs no more.
    Ended,
}

/// Volumes of a pod that reach the network or the host past any claim.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Inline {
    /// The first one's name.
    pub first: Option<String>,
    /// How many there are beside it.
    pub more: usize,
}

/// A pod.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Pod {
    /// Its UID.
    pub uid: String,
    /// The node that it is bound to.
    pub node: Option<String>,
    /// The part of its node selector that names residencies: residency → value.
    pub pins: Map,
    /// Whether it still runs or may run.
    pub phase: Phase,
    /// Whether its containers were started.
    pub running: bool,
    /// What it asks of its node.
    pub asked: Resources,
    /// Whether it is being deleted.
    pub terminating: bool,
    /// Whether it shares its node's network, which network policies do not reach.
    pub host_network: bool,
    /// What gives it its node, in words.
    pub privilege: Option<String>,
    /// The annotation by which it has a network beside the cluster's, which network policies do not reach either.
    pub further_network: Option<String>,
    /// The annotation that says an address of it while its status says none: network plugins may follow that.
    pub address_annotation: Option<String>,
    /// Whether it is one of the cluster's DNS, which governed pods ask for names.
    pub serves_dns: bool,
    /// Volumes that reach the network or the host past any claim.
    pub inline_volumes: Inline,
    /// Its own addresses, unless it shares its node's.
    pub addresses: Vec<IpAddr>,
    /// What made it.
    pub owner: Option<Owner>,
}

impl Pod {
    /// Whether it runs, or may yet run.
    #[must_use]
    pub fn is_active(&self) -> bool {
        self.phase == Phase::Active
    }
}

/// A PersistentVolumeClaim.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Claim {
    /// Its UID.
    pub uid: String,
    /// Its class, by field or by the beta annotation.
    pub class: Option<String>,
    /// The volume that it is bound to, or asks for.
    pub volume: Option<String>,
    /// The annotation by which its driver places or fills the volume past the class.
    pub placing: Option<&'static str>,
    /// Whether it is being deleted.
    pub terminating: bool,
}

/// A PersistentVolume.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Volume {
    /// The CSI driver, or the kind of its source.
    pub driver: String,
    /// The required terms of its node affinity, each as key → values of its `In` expressions. Expressions of other operators
    /// only narrow a term, so leaving them out never admits less than the term does.
    pub terms: Vec<BTreeMap<String, Vec<String>>>,
    /// The claim that it is bound to.
    pub claim: Option<Key>,
}

/// A StorageClass.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Class {
    /// The driver.
    pub provisioner: String,
    /// Its parameters.
    pub parameters: Map,
    /// `Retain` or `Delete`.
    pub reclaim_policy: String,
    /// Whether claims may grow.
    pub allow_volume_expansion: bool,
    /// `WaitForFirstConsumer` or `Immediate`.
    pub binding_mode: String,
    /// Its allowed topologies, each as key → values.
    pub topologies: Vec<BTreeMap<String, Vec<String>>>,
    /// The residency that it was made for, where Domicile made it.
    pub made_for: Option<String>,
    /// Whether it carries Domicile's mark.
    pub managed: bool,
}

/// The CSI drivers on a node, each with the topology keys that it knows.
pub type Drivers = BTreeMap<String, Vec<String>>;

/// A RoleBinding, as far as ServiceAccounts of other namespaces get something by it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct RoleBinding {
    /// Its UID.
    pub uid: String,
    /// How many subjects it has.
    pub subjects: usize,
    /// Those of them that stand for ServiceAccounts or for everybody, the first of each namespace; none where there are more
    /// subjects than are judged.
    pub reaches: Vec<Reach>,
}

/// A subject of a RoleBinding that stands for ServiceAccounts or for everybody.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Reach {
    /// The subject, in words.
    pub subject: String,
    /// The namespace of the ServiceAccounts; `None` for those of every namespace, and for everybody.
    pub home: Option<String>,
}

impl RoleBinding {
    /// The first subject of another namespace than `own` and those that are never governed, in words: as `access.yaml` has it.
    #[must_use]
    pub fn foreign(&self, own: &str, is_ungoverned: impl Fn(&str) -> bool) -> Option<&str> {
        let at_home = |home: &String| home == own || is_ungoverned(home);
        let foreign = self.reaches.iter().find(|reach| !reach.home.as_ref().is_some_and(at_home));
        foreign.map(|reach| reach.subject.as_str())
    }
}

/// A Service or Ingress that can be reached from outside the cluster, or leads out of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Exposed {
    /// Its UID.
    pub uid: String,
    /// `LoadBalancer`, `NodePort`, `ExternalName`, `externalIPs` or `Ingress`; the type of a Service that is only mirrored.
    pub how: String,
    /// The label or annotation by which a Service is that of other clusters or networks, too.
    pub mirrored: Option<&'static str>,
    /// Whether a Service of whatever type has `externalIPs`, too.
    pub external_ips: bool,
    /// Whether nodes put their own address in place of a client's, so that network policies judge the wrong one.
    pub hides_source: bool,
}

/// An EndpointSlice that was written by hand, or copied from Endpoints that were.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Endpoints {
    /// Its UID.
    pub uid: String,
    /// The Service whose it is; empty where it says none.
    pub service: String,
    /// The first addresses of its endpoints, ready or not, as they are written.
    pub addresses: Vec<String>,
    /// How many there are beyond those.
    pub more: usize,
}

/// The objects of one namespace in a map by namespace and name.
pub fn in_namespace<'a, T>(
    all: &'a BTreeMap<Key, T>,
    namespace: &'a str,
) -> impl Iterator<Item = (&'a Key, &'a T)> + Clone {
    all.range(Key::new(namespace, "")..).take_while(move |(key, _)| key.namespace == namespace)
}
