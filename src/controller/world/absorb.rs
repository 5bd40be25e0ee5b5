//! How what is known changes by what happened, and what that makes due.

use std::collections::{BTreeMap, BTreeSet};

use super::{Work, World};
use crate::{
    controller::delta::{namespaces_of, put, put_of, touched},
    domain::{AddOn, Catalogue, Named, keys},
    observe::{Change, ClusterPolicy, Delta, Key, Namespace, Node, Opening, Pod, Receivers, Snapshot, model::Exposed},
    resolve::{self, Facilities, Location, Residency, Sites},
};

/// So many names of namespaces that are gone are remembered: more than an API server ends while a request is on its way.
const REMEMBERED: usize = 10_000;

impl World {
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
                let is_of_dns = namespaces_of(&delta, &self.snapshot.pods).contains(keys::DNS_NAMESPACE);
                self.absorb_of_namespaces(delta, |known| &mut known.pods);
                if is_of_dns {
                    self.mark_residencies();
                }
            }
            Change::Claim(delta) => self.absorb_of_namespaces(delta, |known| &mut known.claims),
            Change::Policy(delta) => self.absorb_of_namespaces(delta, |known| &mut known.policies),
            Change::Endpoints(delta) => {
                self.mark_sending(&namespaces_of(&delta, &self.snapshot.endpoints));
                self.absorb_of_namespaces(delta, |known| &mut known.endpoints);
            }
            Change::RoleBinding(delta) => self.absorb_of_namespaces(delta, |known| &mut known.role_bindings),
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
            Change::ClusterPolicy(delta) => self.absorb_cluster_policies(delta),
            Change::Device(delta) => {
                let delta = delta.unwrap_or_else(|| Delta::Replaced(BTreeMap::new()));
                self.absorb_of_namespaces(delta, |known| &mut known.devices);
            }
            Change::AddOn(kind, delta) => self.absorb_openings(kind, delta),
            Change::Sight(kind, lost) => self.absorb_sight(kind, lost),
        }
    }

    fn absorb_sight(&mut self, kind: String, lost: Option<String>) {
        match lost {
            Some(error) => drop(self.unseen.insert(kind, error)),
            None => drop(self.unseen.remove(&kind)),
        }
        self.mark_residencies();
        let governed = self.governed();
        self.mark_governed(governed);
    }

    /// Takes in a change of an add-on's objects; `None` where their kind is served no more. All that is read of a kind is all there is
    /// of its twin, too: until then what was read as that stands.
    fn absorb_openings(&mut self, kind: &'static AddOn, delta: Option<Delta<Key, Opening>>) {
        let twin = kind.twin().filter(|_| matches!(delta, Some(Delta::Replaced(_))));
        let none = || Delta::Replaced(BTreeMap::new());
        let mut spaces = put_of(&mut self.snapshot.openings, delta.unwrap_or_else(none), kind);
        if let Some(twin) = twin {
            spaces.extend(put_of(&mut self.snapshot.openings, none(), twin));
            if self.unseen.contains_key(twin.name) {
                self.absorb_sight(twin.name.to_owned(), None);
            }
        }
        self.mark_governed(spaces);
    }

    /// Takes in what is judged with the namespace that it is in, and with no other.
    fn absorb_of_namespaces<T>(
        &mut self,
        delta: Delta<Key, T>,
        known: impl Fn(&mut Snapshot) -> &mut BTreeMap<Key, T>,
    ) {
        let all = known(&mut self.snapshot);
        let spaces = namespaces_of(&delta, all);
        put(all, delta);
        self.mark_governed(spaces);
    }

    fn absorb_exposed(&mut self, delta: Delta<Key, Exposed>, kind: &'static str) {
        let spaces = put_of(&mut self.snapshot.exposed, delta, kind);
        self.mark_sending(&spaces);
        self.mark_governed(spaces);
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
        let pods = self.snapshot.pods.iter().filter(|(_, pod)| on_node(pod));
        let spaces: BTreeSet<String> = pods.map(|(key, _)| key.namespace.clone()).collect();
        let is_governed = |name: &&String| {
            self.snapshot.namespaces.get(*name).is_some_and(|space| self.named(space) != Named::Nothing)
        };
        let governed: Vec<String> = spaces.iter().filter(is_governed).cloned().collect();
        self.withdrawn.extend(governed);
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
        let before = std::mem::replace(&mut self.residencies, residencies);
        let of_all = |names: &mut dyn Iterator<Item = &String>| -> BTreeSet<String> {
            names.flat_map(|name| self.naming(name)).map(|space| space.name.clone()).collect()
        };
        let naming = of_all(&mut changed.iter());
        let withdrawn =
            of_all(&mut changed.iter().filter(|name| asks_otherwise(before.get(*name), self.residencies.get(*name))));
        self.withdrawn.extend(withdrawn);
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

/// Whether two of one name ask for another thing. How many nodes there are changes all the time.
fn asks_otherwise(one: Option<&Residency>, other: Option<&Residency>) -> bool {
    let asks =
        |of: Option<&Residency>| of.map(|of| Residency { eligible_nodes: 0, findings: Vec::new(), ..of.clone() });
    asks(one) != asks(other)
}

/// Whether `new` is an older version of the namespace than the one that is known: own writes are taken in from their
/// answer, and the watch may bring what was before.
fn is_older(new: &Namespace, known: &Namespace) -> bool {
    let version = |space: &Namespace| space.resource_version.parse::<u64>().ok();
    matches!((version(new), version(known)), (Some(new), Some(known)) if new < known)
}
