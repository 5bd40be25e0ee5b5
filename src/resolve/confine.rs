//! What holds in one namespace: the confinement, and what its network policies open.
//!
//! Several residencies on one namespace all hold, in the strictest of their modes: permitted sets intersect, and an empty
//! intersection refuses.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    domain::{
        Cidr, Confinement, Exposure, Finding, Ingress, Jurisdiction, Leg, Mode, Mutation, Named, Permitting,
        Residencies, Subject, TenantPolicies, Verdict, keys,
    },
    observe::{Namespace, Pod, model::Map},
};

use super::{Allowed, Location, Peer, Residency, role_bindings};

/// The rules of one namespace, resolved.
#[derive(Clone, Debug, PartialEq)]
pub struct Confined {
    /// What is to stand on the namespace once everything else is in place.
    pub confinement: Confinement,
    /// What the permitting policy opens to destinations beside networks and peers.
    pub egress: Vec<Allowed>,
    /// What it opens to sources beside networks and peers.
    pub ingress: Vec<Allowed>,
    /// Attested addresses of the API servers.
    pub control_plane: Vec<Cidr>,
    /// What is wrong with the combination itself.
    pub findings: Vec<Finding>,
}

/// What else decides.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Circumstances<'a> {
    /// What was seen to mutate in this cluster.
    pub mutation: Mutation,
    /// Whether the namespace has network policies that Domicile did not make.
    pub has_own_policies: bool,
    /// Whether Domicile's permitting policy is in it.
    pub is_permitted: bool,
    /// UIDs of its RoleBindings that give something to ServiceAccounts of other namespaces.
    pub foreign_role_bindings: &'a [String],
}

/// What holds in `namespace`, whose label names `named`; `None` while a residency does not exist, so that nothing that
/// stands is touched.
#[must_use]
pub fn confine<'a>(
    namespace: &Namespace,
    named: &Residencies,
    residencies: &BTreeMap<String, Residency>,
    values: impl IntoIterator<Item = &'a str>,
    pods: impl Iterator<Item = &'a Pod> + Clone,
    locations: &BTreeMap<String, Location>,
    circumstances: Circumstances<'_>,
) -> Option<Confined> {
    let held: Vec<&Residency> = named.names().map(|name| residencies.get(name)).collect::<Option<_>>()?;
    let first = *held.first()?;
    let mode = held.iter().map(|residency| residency.mode).max().unwrap_or_default();
    let mut findings = Vec::new();

    let networks =
        held.iter().skip(1).fold(first.networks.clone(), |all, residency| intersect(&all, &residency.networks));
    let classes = held.iter().skip(1).fold(first.admitted_classes.clone(), |all, residency| {
        all.intersection(&residency.admitted_classes).cloned().collect()
    });
    findings.extend(empty_intersections(namespace, named, &held, &classes, &networks));
    let default =
        held.iter().find_map(|residency| residency.default_class.clone()).filter(|class| classes.contains(class));

    let confinement = Confinement {
        confined_for: Some(named.value().to_owned()),
        mode,
        refused_because: refused_because(named, &held),
        storage_classes: classes.into_iter().collect(),
        default_storage_class: default,
        networks,
        peers: peers(named, values),
        ingress: held.iter().map(|residency| residency.ingress_policy).max().unwrap_or(Ingress::Restricted),
        tenant_policies: held.iter().map(|residency| residency.tenant_policies).max().unwrap_or(TenantPolicies::Refuse),
        permitting: permitting(namespace, &held, &circumstances),
        exposure: held.iter().map(|residency| residency.exposure).max().unwrap_or(Exposure::Deny),
        mutation: circumstances.mutation,
        held_pods: held_pods(named, pods.clone()),
        held_role_bindings: role_bindings::held(namespace, named, mode, circumstances.foreign_role_bindings),
        peer: !pods.clone().any(|pod| stands_outside(pod, &held, locations)),
    };
    let common = |allowed: fn(&Residency) -> &Vec<Allowed>| -> Vec<Allowed> {
        let in_all = |one: &&Allowed| held.iter().all(|residency| permits(residency, allowed(residency), one));
        allowed(first).iter().filter(in_all).cloned().collect()
    };
    Some(Confined {
        confinement,
        egress: common(|residency| &residency.egress),
        ingress: common(|residency| &residency.ingress),
        control_plane: held
            .iter()
            .skip(1)
            .fold(first.control_plane.clone(), |all, residency| intersect(&all, &residency.control_plane)),
        findings,
    })
}

/// Whether the permitted is opened: the namespace's own label overrules, and a namespace that joins with policies of its
/// own keeps its zero trust.
fn permitting(namespace: &Namespace, held: &[&Residency], circumstances: &Circumstances<'_>) -> Permitting {
    match namespace.labels.get(keys::PERMIT).map(String::as_str) {
        Some("All") => return Permitting::All,
        Some("None") => return Permitting::None,
        Some(_) | None => {}
    }
    // When it is confined for the first time its own policies may not have been seen before it was closed.
    let reason = namespace.annotations.get(keys::REFUSED_BECAUSE).map(String::as_str);
    let opened_before = namespace.annotations.get(keys::PERMITTING).is_some_and(|value| value == "All")
        && (circumstances.is_permitted
            || namespace.confined_for().is_some()
            || !reason.is_some_and(keys::is_being_confined));
    if held.iter().any(|residency| residency.permitting == Permitting::None)
        || (circumstances.has_own_policies && !opened_before)
    {
        Permitting::None
    } else {
        Permitting::All
    }
}

/// Why nothing may start, if so.
fn refused_because(named: &Residencies, held: &[&Residency]) -> Option<String> {
    if let Some(reason) = held.iter().find_map(|residency| residency.refused_because.clone()) {
        return Some(reason);
    }
    if held.len() == 1 {
        return None;
    }
    let mut jurisdictions = held.iter().map(|residency| residency.jurisdictions.clone());
    let first = jurisdictions.next()?;
    let common = jurisdictions.fold(first, |all, next| all.intersection(&next).copied().collect());
    common.is_empty().then(|| format!("DataResidencies {named} have no jurisdiction in common"))
}

/// Sets that are permitted by each residency and by all of them no more.
fn empty_intersections(
    namespace: &Namespace,
    named: &Residencies,
    held: &[&Residency],
    classes: &BTreeSet<String>,
    networks: &[Cidr],
) -> Vec<Finding> {
    let finding = |leg, rule, what: &str, remedy: &str| Finding {
        verdict: Verdict::NonCompliant,
        leg,
        rule,
        subject: Subject::namespaced("Namespace", "", &namespace.name, &namespace.uid),
        message: format!("DataResidencies {named} permit no {what} in common"),
        remedy: remedy.to_owned(),
    };
    let mut findings = Vec::new();
    if classes.is_empty() && held.iter().any(|residency| !residency.admitted_classes.is_empty()) && held.len() > 1 {
        let remedy = "list the class of one residency in allowedClasses of the other";
        findings.push(finding(Leg::Storage, "domicile/storage-class", "StorageClass", remedy));
    }
    if networks.is_empty() && held.iter().any(|residency| !residency.networks.is_empty()) && held.len() > 1 {
        let remedy = "name one residency only, or data centers that both permit";
        findings.push(finding(Leg::Network, "domicile/network-foreign", "network", remedy));
    }
    findings
}

/// Values of the label whose namespaces keep to everything that `named` asks, sorted; the own one is among them.
fn peers<'a>(named: &Residencies, values: impl IntoIterator<Item = &'a str>) -> Vec<String> {
    let mut peers = BTreeSet::from([named.value().to_owned()]);
    for value in values {
        if let Named::Residencies(theirs) = Named::parse(Some(value))
            && named.names().all(|name| theirs.contain(name))
        {
            peers.insert(value.to_owned());
        }
    }
    peers.into_iter().collect()
}

/// Unbound pods that are not pinned: a scheduler could still send them anywhere.
fn held_pods<'a>(named: &Residencies, pods: impl Iterator<Item = &'a Pod>) -> Vec<String> {
    // Whatever its phase: a tenant could write that it has ended, and later that it has not.
    let unbound = pods.filter(|pod| pod.node.is_none());
    let mut uids: Vec<String> = unbound.filter(|pod| !is_pinned(&pod.pins, named)).map(|pod| pod.uid.clone()).collect();
    uids.sort();
    uids
}

/// Whether a pod's node selector names every residency.
#[must_use]
pub fn is_pinned(pins: &Map, named: &Residencies) -> bool {
    named.names().all(|name| pins.get(name).is_some_and(|value| value == "true"))
}

/// Whether a pod runs on a node that is not verified for every residency.
#[must_use]
pub fn is_elsewhere(pod: &Pod, held: &[&Residency], locations: &BTreeMap<String, Location>) -> bool {
    let Some(node) = pod.node.as_ref().filter(|_| pod.is_active()) else { return false };
    let jurisdiction = locations.get(node).map_or(Jurisdiction::UNKNOWN, Location::jurisdiction);
    let inside = |residency: &&Residency| residency.jurisdictions.iter().any(|wanted| jurisdiction.satisfies(*wanted));
    !held.iter().all(inside)
}

/// Whether a pod runs on a node that is not verified for every residency, or has an address that no kubelet there gave it: whoever
/// wrote that may have named any, and others' network policies open it to peers.
#[must_use]
pub fn stands_outside(pod: &Pod, held: &[&Residency], locations: &BTreeMap<String, Location>) -> bool {
    if !pod.is_active() {
        return false;
    }
    let Some(node) = &pod.node else { return !pod.addresses.is_empty() || pod.address_annotation.is_some() };
    let has_strange_address =
        |data_center: &str| held.iter().any(|residency| residency.strange_address(pod, data_center).is_some());
    is_elsewhere(pod, held, locations)
        || matches!(locations.get(node), Some(Location::Verified { data_center, .. }) if has_strange_address(data_center))
}

/// Whether `residency` permits what another allows: it allows the same, or the addresses lie in its networks.
fn permits(residency: &Residency, own: &[Allowed], one: &Allowed) -> bool {
    own.contains(one)
        || matches!(&one.peer, Peer::Networks(networks)
            if networks.iter().all(|network| residency.networks.iter().any(|own| own.contains(network))))
}

/// Addresses that are in both lists.
fn intersect(one: &[Cidr], other: &[Cidr]) -> Vec<Cidr> {
    let smaller = |own: &Cidr, theirs: &Cidr| {
        if own.contains(theirs) {
            Some(*theirs)
        } else if theirs.contains(own) {
            Some(*own)
        } else {
            None
        }
    };
    let both: Vec<Cidr> =
        one.iter().flat_map(|own| other.iter().filter_map(move |theirs| smaller(own, theirs))).collect();
    Cidr::without(&both, &[])
}

/// Whether a namespace in this mode is changed at all.
#[must_use]
pub fn changes(mode: Mode) -> bool {
    mode == Mode::Enforce
}
