//! What the operator knows, kept current by one change at a time, and which keys each change makes due.
//!
//! No client, no clock: a test feeds changes and looks at what is due. Work is keyed, so that one flapping node costs one
//! node's work; what all keys share (facilities, residencies) is resolved again only when it may come out otherwise.

mod absorb;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::cluster_policy;
use crate::{
    compile::cluster_network,
    domain::{Mutation, Named, Residencies, keys},
    observe::{Change, Delta, Namespace, Receivers, Snapshot},
    resolve::{Facilities, Location, Residency, Sites},
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
    /// Kinds whose watches keep failing, and why: what stands of them may be long past.
    pub unseen: BTreeMap<String, String>,
    /// What was seen to mutate; `None` until it was looked.
    pub mutation: Option<Mutation>,
    /// The governed namespaces, for the webhook beside.
    pub shown: Namespaces,
    due: BTreeSet<Work>,
    /// Namespaces among them in which something may be withdrawn, whatever their tenants do.
    withdrawn: BTreeSet<String>,
    /// Namespaces that are never governed, the operator's own among them.
    ungoverned: BTreeSet<String>,
    /// Names of namespaces that were seen and are gone, the last ones: what was asked for in them may still be on its way, and
    /// arrive in a new namespace of the same name.
    gone: VecDeque<String>,
}

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

    /// In which namespaces something may be withdrawn since this was last asked: what a residency asks for is another, or a node
    /// stands elsewhere.
    pub fn take_withdrawn(&mut self) -> BTreeSet<String> {
        std::mem::take(&mut self.withdrawn)
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
            Change::ClusterPolicy(Some(Delta::Applied(name, _))) => {
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

    /// Those of the residencies that do not exist.
    #[must_use]
    pub fn absent<'a>(&self, named: &'a Residencies) -> Vec<&'a str> {
        named.names().filter(|name| !self.residencies.contains_key(*name)).collect()
    }

    /// Those of them that exist; `None` where none does.
    #[must_use]
    pub fn known(&self, named: &Residencies) -> Option<Residencies> {
        let names: Vec<&str> = named.names().filter(|name| self.residencies.contains_key(*name)).collect();
        match Named::parse(Some(&names.join("_"))) {
            Named::Residencies(known) => Some(known),
            Named::Nothing | Named::Unreadable(_) => None,
        }
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

    /// Makes every governed namespace due where objects are sent to a Service of these ones: each is judged by where they go.
    fn mark_sending(&mut self, spaces: &BTreeSet<String>) {
        let receive = |receivers: &Receivers| receivers.services().any(|key| spaces.contains(&key.namespace));
        if self.snapshot.receivers.values().any(receive) {
            let governed = self.governed();
            self.mark_governed(governed);
        }
    }

    fn has_own_policies(&self, namespace: &str) -> bool {
        crate::observe::in_namespace(&self.snapshot.policies, namespace).any(|(_, policy)| policy.managed)
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
}
