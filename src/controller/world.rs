//! What the operator knows, kept current by one change at a time, and which keys each change makes due.
//!
//! No client, no clock: a test feeds changes and looks at what is due. Work is keyed, so that one flapping node costs one
//! node's work; what all keys share (facilities, residencies) is resolved again only when it may come out otherwise.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::{
    cluster_policy,
    delta::{namespaces_of, put, touched},
};
use crate::{
    compile::cluster_network,
    domain::{Catalogue, Mutation, Named, keys},
    observe::{
        ClusterPolicy, Key, Namespace, Node, Pod, Receivers, Snapshot,
        model::Exposed,
        watch::{Change, Delta},
    },
    resolve::{self, Facilities, Location, Residency, Sites},
    webhook::Namespaces,
};

/// One piece of work.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Work {
    /// The trusted labels of a node.
    Node(String),
    /// The confinement and the network policies of a namespace.
    Namespace(String),
    /// The next pod of a namespace that is to be moved.
    Eviction(String),
    /// A StorageClass that a residency wants, or no residency wants any more.
    Class(String),
    /// A ClusterNetworkPolicy of namespaces that are confined for one value, by its name.
    ClusterPolicy(String),
    /// The finalizer and the status of a residency.
    Residency(String),
    /// The status of a data center.
    DataCenter(String),
}

/// What the operator knows.
#[derive(Debug, Default)]
pub struct World {
    /// What was read.
    pub snapshot: Snapshot,
    /// The data centers.
    pub facilities: Facilities,
    /// Where every node stands.
    pub locations: BTreeMap<String, Location>,
    /// Counts of nodes.
    pub sites: Sites,
    /// What every residency comes to; the canary's among them.
    pub residencies: BTreeMap<String, Residency>,
    /// What was seen to mutate; `None` until it was looked.
    pub mutation: Option<Mutation>,
    /// The governed namespaces, for the webhook beside.
    pub shown: Namespaces,
    due: BTreeSet<Work>,
    /// Namespaces that are never governed, the operator's own among them.
    ungoverned: BTreeSet<String>,
    /// Names of namespaces that were seen and are gone, the last ones: what was asked for in them may still be on its way, and
    /// arrive in a new namespace of the same name.
    gone: VecDeque<String>,
}

/// So many names of namespaces that are gone are remembered: more than an API server ends while a request is on its way.
const REMEMBERED: usize = 10_000;

impl World {
    /// Knows nothing yet; `own` is the operator's namespace.
    #[must_use]
    pub fn new(own: &str) -> Self {
        let ungoverned = keys::SYSTEM_NAMESPACES.into_iter().chain([own]).map(str::to_owned).collect();
        Self { ungoverned, ..Self::default() }
    }

    /// What must be worked on since this was last asked.
    pub fn take_due(&mut self) -> BTreeSet<Work> {
        std::mem::take(&mut self.due)
    }

    /// Takes in one change.
    pub fn absorb(&mut self, change: Change) {
        match change {
            Change::DataCenter(delta) => {
                self.mark(touched(&delta, &self.snapshot.data_centers), Work::DataCenter);
                put(&mut self.snapshot.data_centers, delta);
                self.relocate_all();
            }
            Change::Residency(delta) => {
                self.mark(touched(&delta, &self.snapshot.residencies), Work::Residency);
                put(&mut self.snapshot.residencies, delta);
                self.resolve_residencies();
            }
            Change::Class(delta) => {
                self.mark(touched(&delta, &self.snapshot.classes), Work::Class);
                put(&mut self.snapshot.classes, delta);
                self.resolve_residencies();
            }
            Change::Node(delta) => self.absorb_nodes(delta),
            Change::Namespace(delta) => self.absorb_namespaces(delta),
            Change::Pod(delta) => {
                let spaces = namespaces_of(&delta, &self.snapshot.pods);
                put(&mut self.snapshot.pods, delta);
                self.mark_governed(spaces);
            }
            Change::Claim(delta) => {
                let spaces = namespaces_of(&delta, &self.snapshot.claims);
                put(&mut self.snapshot.claims, delta);
                self.mark_governed(spaces);
            }
            Change::Policy(delta) => {
                let spaces = namespaces_of(&delta, &self.snapshot.policies);
                put(&mut self.snapshot.policies, delta);
                self.mark_governed(spaces);
            }
            Change::Endpoints(delta) => {
                let spaces = namespaces_of(&delta, &self.snapshot.endpoints);
                put(&mut self.snapshot.endpoints, delta);
                self.mark_sending(&spaces);
                self.mark_governed(spaces);
            }
            Change::RoleBinding(delta) => {
                let spaces = namespaces_of(&delta, &self.snapshot.role_bindings);
                put(&mut self.snapshot.role_bindings, delta);
                self.mark_governed(spaces);
            }
            Change::Volume(delta) => {
                put(&mut self.snapshot.volumes, delta);
                let governed = self.governed();
                self.mark_governed(governed);
            }
            Change::Service(delta) => self.absorb_exposed(delta, "Service"),
            Change::Ingress(delta) => self.absorb_exposed(delta, "Ingress"),
            Change::ValidatingWebhooks(delta) => self.absorb_receivers(delta, "ValidatingWebhookConfiguration"),
            Change::MutatingWebhooks(delta) => self.absorb_receivers(delta, "MutatingWebhookConfiguration"),
            Change::ApiService(delta) => self.absorb_receivers(delta, "APIService"),
            Change::Drivers(delta) => {
                put(&mut self.snapshot.drivers, delta);
                self.mark_residencies();
            }
            Change::ApiServers(delta) => {
                put(&mut self.snapshot.api_servers, delta);
                self.mark_residencies();
                let governed = self.governed();
                self.mark_governed(governed);
            }
            Change::ClusterPolicy(delta) => self.absorb_cluster_policies(Some(delta)),
            Change::ClusterPoliciesUnserved => self.absorb_cluster_policies(None),
        }
    }

    /// Whether the answer to an own write may be taken in: what a watch has reported gone meanwhile must not come back, and
    /// what is new comes by the watch.
    #[must_use]
    pub fn still_knows(&self, change: &Change) -> bool {
        let snapshot = &self.snapshot;
        match change {
            Change::DataCenter(Delta::Applied(name, _)) => snapshot.data_centers.contains_key(name),
            Change::Residency(Delta::Applied(name, _)) => snapshot.residencies.contains_key(name),
            Change::Node(Delta::Applied(name, _)) => snapshot.nodes.contains_key(name),
            Change::Class(Delta::Applied(name, _)) => snapshot.classes.contains_key(name),
            Change::Policy(Delta::Applied(key, _)) => snapshot.policies.contains_key(key),
            Change::ClusterPolicy(Delta::Applied(name, _)) => {
                snapshot.cluster_policies.as_ref().is_some_and(|known| known.contains_key(name))
            }
            Change::ClusterPolicy(_) => snapshot.cluster_policies.is_some(),
            Change::Namespace(Delta::Applied(name, new)) => {
                snapshot.namespaces.get(name).is_some_and(|known| known.uid == new.uid)
            }
            _ => true,
        }
    }

    /// Says what was seen to mutate.
    pub fn set_mutation(&mut self, mutation: Mutation) {
        if self.mutation != Some(mutation) {
            self.mutation = Some(mutation);
            let governed = self.governed();
            self.mark_governed(governed);
        }
    }

    /// Makes every residency's status due, for what no watch brings.
    pub fn mark_residencies(&mut self) {
        self.due.extend(self.snapshot.residencies.keys().cloned().map(Work::Residency));
    }

    /// Whether a namespace may be governed at all.
    #[must_use]
    pub fn may_govern(&self, namespace: &str) -> bool {
        !self.ungoverned.contains(namespace)
    }

    /// The namespaces that are never governed.
    pub fn never_governed(&self) -> impl Iterator<Item = &str> {
        self.ungoverned.iter().map(String::as_str)
    }

    /// What a namespace names, unless it can't be governed.
    #[must_use]
    pub fn named(&self, namespace: &Namespace) -> Named {
        if self.may_govern(&namespace.name) { namespace.named() } else { Named::Nothing }
    }

    /// The namespaces that name a residency.
    #[must_use]
    pub fn governed(&self) -> BTreeSet<String> {
        let named = |space: &&Namespace| self.named(space) != Named::Nothing;
        self.snapshot.namespaces.values().filter(named).map(|space| space.name.clone()).collect()
    }

    /// The namespaces that name this residency.
    pub fn naming<'a>(&'a self, residency: &'a str) -> impl Iterator<Item = &'a Namespace> {
        self.snapshot
            .namespaces
            .values()
            .filter(move |space| matches!(self.named(space), Named::Residencies(named) if named.contain(residency)))
    }

    fn mark(&mut self, names: impl IntoIterator<Item = String>, work: fn(String) -> Work) {
        self.due.extend(names.into_iter().map(work));
    }

    /// Makes due what is to stand of ClusterNetworkPolicies.
    fn mark_cluster_policies(&mut self) {
        let wanted = self.wanted_cluster_policies();
        self.mark(wanted, Work::ClusterPolicy);
    }

    /// Makes these namespaces due, where they are governed or something of ours is left in them.
    fn mark_governed(&mut self, names: BTreeSet<String>) {
        let matters = |name: &String| {
            let Some(space) = self.snapshot.namespaces.get(name) else { return false };
            self.named(space) != Named::Nothing || space.has_confinement() || self.has_own_policies(name)
        };
        let due: Vec<String> = names.into_iter().filter(matters).collect();
        self.mark(due, Work::Namespace);
    }

    fn has_own_policies(&self, namespace: &str) -> bool {
        crate::observe::in_namespace(&self.snapshot.policies, namespace).any(|(_, policy)| policy.managed)
    }

    fn absorb_exposed(&mut self, delta: Delta<Key, Exposed>, kind: &'static str) {
        let all = &mut self.snapshot.exposed;
        let spaces = match &delta {
            Delta::Applied(key, _) | Delta::Gone(key) => BTreeSet::from([key.namespace.clone()]),
            Delta::Replaced(new) => {
                all.keys().map(|(key, _)| key).chain(new.keys()).map(|key| key.namespace.clone()).collect()
            }
        };
        match delta {
            Delta::Applied(key, exposed) => drop(all.insert((key, kind), exposed)),
            Delta::Gone(key) => drop(all.remove(&(key, kind))),
            Delta::Replaced(new) => {
                all.retain(|(_, other), _| *other != kind);
                all.extend(new.into_iter().map(|(key, exposed)| ((key, kind), exposed)));
            }
        }
        self.mark_sending(&spaces);
        self.mark_governed(spaces);
    }

    /// Makes every governed namespace due where objects are sent to a Service of these ones: each is judged by where they go.
    fn mark_sending(&mut self, spaces: &BTreeSet<String>) {
        let receive = |receivers: &Receivers| receivers.services().any(|key| spaces.contains(&key.namespace));
        if self.snapshot.receivers.values().any(receive) {
            let governed = self.governed();
            self.mark_governed(governed);
        }
    }

    fn absorb_receivers(&mut self, delta: Delta<String, Receivers>, kind: &'static str) {
        let all = &mut self.snapshot.receivers;
        let before = all.clone();
        match delta {
            Delta::Applied(name, receivers) => drop(all.insert((kind, name), receivers)),
            Delta::Gone(name) => drop(all.remove(&(kind, name))),
            Delta::Replaced(new) => {
                all.retain(|(other, _), _| *other != kind);
                all.extend(new.into_iter().map(|(name, receivers)| ((kind, name), receivers)));
            }
        }
        if *all != before {
            let governed = self.governed();
            self.mark_governed(governed);
        }
    }

    /// Takes in a change of ClusterNetworkPolicies; `None` where they are served no more.
    fn absorb_cluster_policies(&mut self, delta: Option<Delta<String, ClusterPolicy>>) {
        let before = self.snapshot.cluster_policies.take().unwrap_or_default();
        if let Some(delta) = delta {
            let names = touched(&delta, &before);
            self.mark(names, Work::ClusterPolicy);
            let mut known = before.clone();
            put(&mut known, delta);
            self.snapshot.cluster_policies = Some(known);
        }
        self.mark_cluster_policies();
        self.mark_residencies();
        let of_others = |all: &BTreeMap<String, ClusterPolicy>| -> BTreeMap<String, ClusterPolicy> {
            all.iter()
                .filter(|(_, policy)| !policy.managed)
                .map(|(name, policy)| (name.clone(), policy.clone()))
                .collect()
        };
        if of_others(&before) != self.snapshot.cluster_policies.as_ref().map(of_others).unwrap_or_default() {
            let governed = self.governed(); // each is judged by what others accept for it
            self.mark_governed(governed);
        }
    }

    fn absorb_nodes(&mut self, delta: Delta<String, Node>) {
        let names = touched(&delta, &self.snapshot.nodes);
        put(&mut self.snapshot.nodes, delta);
        for name in &names {
            self.relocate(name);
        }
        self.mark(names, Work::Node);
        let sites = Sites::of(&self.snapshot.nodes, &self.locations);
        if sites != self.sites {
            self.sites = sites;
            self.resolve_residencies();
        }
    }

    fn absorb_namespaces(&mut self, delta: Delta<String, Namespace>) {
        let names = touched(&delta, &self.snapshot.namespaces);
        match &delta {
            Delta::Applied(..) => {}
            Delta::Gone(name) => self.gone.push_back(name.clone()),
            Delta::Replaced(new) => {
                self.gone.extend(self.snapshot.namespaces.keys().filter(|name| !new.contains_key(*name)).cloned());
            }
        }
        self.gone.drain(..self.gone.len().saturating_sub(REMEMBERED));
        let (values, cluster_policies) = (self.confined_values(), self.wanted_cluster_policies());
        let delta = match delta {
            Delta::Applied(name, mut space) => {
                let namesake = self.snapshot.namespaces.get(&name);
                let known = namesake.filter(|known| known.uid == space.uid);
                if known.is_some_and(|known| is_older(&space, known)) {
                    return;
                }
                space.labelled_at_birth = match known {
                    None => namesake.is_none() && !self.gone.contains(&name),
                    Some(known) => known.labelled_at_birth && known.named() == space.named(),
                };
                Delta::Applied(name, space)
            }
            other => other,
        };
        put(&mut self.snapshot.namespaces, delta);
        for name in &names {
            let space = self.snapshot.namespaces.get(name).filter(|space| self.named(space) != Named::Nothing);
            self.shown.set(name, space);
        }
        let residencies: BTreeSet<String> = self.snapshot.residencies.keys().cloned().collect();
        self.mark(names, Work::Namespace);
        self.mark(residencies, Work::Residency);
        if values != self.confined_values() {
            let governed = self.governed();
            self.mark_governed(governed);
            self.mark_cluster_policies();
        }
        let turned: Vec<String> =
            cluster_policies.symmetric_difference(&self.wanted_cluster_policies()).cloned().collect();
        self.mark(turned, Work::ClusterPolicy);
    }

    /// Every value that a namespace is confined for: namespaces are each other's peers by it. Only Domicile writes it, so
    /// nobody makes the list longer by naming what does not exist.
    #[must_use]
    pub fn confined_values(&self) -> BTreeSet<String> {
        let governed = self.snapshot.namespaces.values().filter(|space| self.may_govern(&space.name));
        governed.filter_map(|space| space.confined_for().map(str::to_owned)).collect()
    }

    /// Names of the ClusterNetworkPolicies that are wanted, where they are served.
    fn wanted_cluster_policies(&self) -> BTreeSet<String> {
        if self.snapshot.cluster_policies.is_none() {
            return BTreeSet::new();
        }
        cluster_policy::values(self).into_iter().map(cluster_network::name).collect()
    }

    fn relocate_all(&mut self) {
        let facilities = Facilities::resolve(&self.snapshot.data_centers);
        if facilities == self.facilities {
            return;
        }
        self.facilities = facilities;
        let nodes: Vec<String> = self.snapshot.nodes.keys().cloned().collect();
        for name in &nodes {
            self.relocate(name);
        }
        self.mark(nodes, Work::Node);
        let data_centers: Vec<String> = self.snapshot.data_centers.keys().cloned().collect();
        self.mark(data_centers, Work::DataCenter);
        self.sites = Sites::of(&self.snapshot.nodes, &self.locations);
        self.resolve_residencies();
    }

    /// Locates one node, and makes due what hangs on where it stands.
    fn relocate(&mut self, name: &str) {
        let location =
            self.snapshot.nodes.get(name).map(|node| resolve::locate(node, &self.facilities, Catalogue::built_in()));
        let before = self.locations.get(name);
        if before == location.as_ref() {
            return;
        }
        let claimed = before.into_iter().chain(location.as_ref()).flat_map(Location::claimed_by);
        let data_centers: BTreeSet<String> = claimed.map(str::to_owned).collect();
        match location {
            Some(location) => drop(self.locations.insert(name.to_owned(), location)),
            None => drop(self.locations.remove(name)),
        }
        self.mark(data_centers, Work::DataCenter);
        let on_node = |pod: &Pod| pod.node.as_deref() == Some(name);
        let spaces =
            self.snapshot.pods.iter().filter(|(_, pod)| on_node(pod)).map(|(key, _)| key.namespace.clone()).collect();
        self.mark_governed(spaces);
    }

    fn resolve_residencies(&mut self) {
        let mut residencies =
            resolve::resolve(&self.snapshot.residencies, &self.facilities, &self.sites, &self.snapshot.classes);
        residencies.insert(keys::CANARY_RESIDENCY.to_owned(), Residency::canary());
        let names: BTreeSet<String> = self.residencies.keys().chain(residencies.keys()).cloned().collect();
        let changed: BTreeSet<String> =
            names.into_iter().filter(|name| self.residencies.get(name) != residencies.get(name)).collect();
        if changed.is_empty() {
            return;
        }
        let serving = |all: &BTreeMap<String, Residency>| -> Vec<_> {
            all.values().map(|one| (one.name.clone(), one.jurisdictions.clone())).collect()
        };
        let nodes_serve_others = serving(&self.residencies) != serving(&residencies);
        let classes: BTreeSet<String> = [&self.residencies, &residencies]
            .into_iter()
            .flat_map(|all| changed.iter().filter_map(|name| all.get(name)))
            .flat_map(|residency| residency.classes.iter().map(|class| class.name.clone()))
            .collect();
        self.residencies = residencies;
        let naming: BTreeSet<String> =
            changed.iter().flat_map(|name| self.naming(name)).map(|space| space.name.clone()).collect();
        self.mark(naming, Work::Namespace);
        self.mark(classes, Work::Class);
        self.mark_cluster_policies();
        let written: Vec<String> =
            changed.into_iter().filter(|name| self.snapshot.residencies.contains_key(name)).collect();
        self.mark(written, Work::Residency);
        if nodes_serve_others {
            let nodes: Vec<String> = self.snapshot.nodes.keys().cloned().collect();
            self.mark(nodes, Work::Node);
        }
    }
}

/// Whether `new` is an older version of the namespace than the one that is known: own writes are taken in from their
/// answer, and the watch may bring what was before.
fn is_older(new: &Namespace, known: &Namespace) -> bool {
    let version = |space: &Namespace| space.resource_version.parse::<u64>().ok();
    matches!((version(new), version(known)), (Some(new), Some(known)) if new < known)
}
