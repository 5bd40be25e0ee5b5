//! What is older than a confinement and would otherwise pass for new: pods that must not be bound, and RoleBindings that nobody
//! with the verb share has made. Both are listed once, by UID, when nothing that was admitted before can still arrive.

use std::collections::BTreeSet;

use kube::Client;

use super::{
    namespace::{Meaning, write},
    outcome::Written,
};
use crate::{
    apply,
    compile::namespace::confine,
    domain::{Confinement, NOTHING, Named, keys},
    observe::{Change, Delta, Namespace, Pod, RoleBinding},
    resolve::{
        self,
        role_bindings::{are_all, listed},
    },
};

/// UIDs of RoleBindings that give something to ServiceAccounts of other namespaces than `own` and those that are never governed.
pub(super) fn foreign<'a>(
    bindings: impl Iterator<Item = &'a RoleBinding>,
    own: &str,
    never_governed: &[impl AsRef<str>],
) -> Vec<String> {
    let is_ungoverned = |home: &str| never_governed.iter().any(|name| name.as_ref() == home);
    let foreign = bindings.filter(|binding| binding.foreign(own, is_ungoverned).is_some());
    foreign.map(|binding| binding.uid.clone()).collect()
}

/// What was listed when the namespace was confined stays listed: the watch may not have brought it yet.
pub(super) fn keep_listed(space: &Namespace, wanted: &mut Confinement) {
    for (key, held) in
        [(keys::HELD_PODS, &mut wanted.held_pods), (keys::HELD_ROLE_BINDINGS, &mut wanted.held_role_bindings)]
    {
        let listed = space.annotations.get(key).filter(|listed| *listed != NOTHING && *listed != keys::ALL_PODS);
        if are_all(held) {
            continue;
        }
        let mut all: BTreeSet<String> = held.drain(..).collect();
        all.extend(listed.into_iter().flat_map(|listed| listed.split(',')).map(str::to_owned));
        *held = all.into_iter().collect();
    }
}

/// Lists the pods that are neither bound nor pinned, as the API server has them now, and lets all others be bound. Lists the
/// RoleBindings that are older, where they are not listed yet. `known` are the pods by which everything else was decided.
pub(super) async fn list(
    client: Client,
    space: Namespace,
    mut wanted: Confinement,
    never_governed: Vec<String>,
    known: &BTreeSet<String>,
) -> Result<Written, apply::Error> {
    if are_all(&wanted.held_role_bindings) {
        let bindings = apply::role_bindings_of(client.clone(), &space.name).await?;
        wanted.held_role_bindings = listed(foreign(bindings.iter(), &space.name, &never_governed));
    }
    if let Some(value) = &wanted.confined_for
        && let Named::Residencies(named) = Named::parse(Some(value))
    {
        let pods = apply::pods_of(client.clone(), &space.name).await?;
        if let Some((key, _)) = pods.iter().find(|(_, pod)| pod.node.is_some() && !known.contains(&pod.uid)) {
            return Err(apply::Error::Behind(key.clone())); // it may stand outside, and makes the namespace nobody's peer
        }
        let unpinned = |pod: &Pod| pod.node.is_none() && !resolve::is_pinned(&pod.pins, &named);
        wanted.held_pods = pods.iter().filter(|(_, pod)| unpinned(pod)).map(|(_, pod)| pod.uid.clone()).collect();
        wanted.held_pods.sort();
    }
    let after = write(client, &space, &confine(&space, &wanted)).await?;
    Ok(Written::one(Change::Namespace(Delta::Applied(space.name.clone(), after))).meaning(Meaning::Updated))
}
