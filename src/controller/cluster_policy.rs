//! The next step for one ClusterNetworkPolicy, where the cluster serves them, and whether those of a residency stand.
//!
//! It comes after the confinement, by whose labels it selects, and goes when no namespace is confined for its value any
//! more. Whatever becomes of it, the NetworkPolicies of each namespace stand: it only ever narrows.

use std::collections::BTreeSet;

use kube::Client;
use serde_json::Value;

use super::{namespace, outcome::Written, world::World};
use crate::{
    apply,
    audit::cluster_network::skips_domiciles,
    compile::cluster_network::{cluster_policy, name, value},
    domain::{Mode, Named, keys},
    observe::{Change, Delta, Namespace, Pod},
    report::residency::NetworkTier,
    resolve::{self, Circumstances},
};

/// What to do next.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// Create it, or make it what it is to be.
    Write {
        /// The value that its namespaces are confined for.
        value: String,
        /// Its wanted spec.
        spec: Box<Value>,
    },
    /// Delete it: no namespace is confined for its value any more.
    Delete,
}

/// What is wanted under a name.
#[derive(Clone, Debug, PartialEq)]
pub enum Wanted {
    /// This spec.
    Spec(Box<Value>),
    /// Nothing: no namespace needs it.
    Nothing,
    /// More than one policy can say, so nothing.
    TooMuch,
    /// It can't be told, since a residency does not exist; what stands is left.
    Untold,
}

/// The values that some namespace is confined for in `Enforce`, but the canary's, where nothing ever runs.
#[must_use]
pub fn values(world: &World) -> BTreeSet<&str> {
    let spaces = world.snapshot.namespaces.values().filter(|space| world.may_govern(&space.name));
    spaces.filter_map(enforced).filter(|value| *value != keys::CANARY_RESIDENCY).collect()
}

/// What a namespace is confined for, in `Enforce`.
fn enforced(space: &Namespace) -> Option<&str> {
    let enforces = space.labels.get(keys::ENFORCEMENT).is_some_and(|mode| *mode == Mode::Enforce.to_string());
    space.confined_for().filter(|_| enforces)
}

/// What is wanted under this name.
#[must_use]
pub fn wanted(world: &World, name: &str) -> Wanted {
    let Some(value) = value(name).filter(|value| values(world).contains(value.as_str())) else {
        return Wanted::Nothing;
    };
    let Named::Residencies(named) = Named::parse(Some(&value)) else { return Wanted::Untold };
    // Nothing of one namespace decides: the policy is for all that are confined for the value.
    let circumstances = Circumstances::default();
    let (nowhere, nobody) = (Namespace::default(), std::iter::empty::<&Pod>());
    let values = world.confined_values();
    let confined = resolve::confine(
        &nowhere,
        &named,
        &world.residencies,
        values.iter().map(String::as_str),
        nobody,
        &world.locations,
        circumstances,
    );
    let Some(confined) = confined else { return Wanted::Untold };
    let spec = cluster_policy(&value, &confined, world.never_governed());
    spec.and_then(|spec| serde_json::to_value(spec).ok()).map_or(Wanted::TooMuch, |spec| Wanted::Spec(Box::new(spec)))
}

/// The next step for the policy of this name; `None` where it stands as it should, or is not Domicile's, or the kind is not
/// served.
#[must_use]
pub fn next(world: &World, name: &str) -> Option<Step> {
    let live = world.snapshot.cluster_policies.as_ref()?.get(name);
    match (wanted(world, name), live) {
        (Wanted::Spec(spec), Some(live)) if live.managed && live.stands_as(&spec) => None,
        (Wanted::Spec(spec), _) => Some(Step::Write { value: value(name)?, spec }),
        (Wanted::Nothing | Wanted::TooMuch, Some(live)) if live.managed && !live.terminating => Some(Step::Delete),
        (Wanted::Nothing | Wanted::TooMuch | Wanted::Untold, _) => None,
    }
}

/// What isolates the network of the namespaces that name this residency.
#[must_use]
pub fn tier(world: &World, residency: &str) -> NetworkTier {
    let Some(live) = &world.snapshot.cluster_policies else { return NetworkTier::NetworkPolicy(None) };
    let values: BTreeSet<&str> = world.naming(residency).filter_map(enforced).collect();
    let has_others = live.values().any(|policy| !policy.managed);
    let mut spaces = world.naming(residency).filter(|space| has_others && enforced(space).is_some());
    let skipped = spaces.find_map(|space| {
        let Named::Residencies(named) = world.named(space) else { return None };
        let confined = namespace::resolve(world, space, &named)?;
        let (theirs, _) = live.iter().find(|(_, policy)| skips_domiciles(policy, space, &confined))?;
        Some(format!(
            "ClusterNetworkPolicy {theirs} is asked before Domicile's, and lets more of {} pass than is permitted",
            space.name
        ))
    });
    let missing = values.iter().map(|value| name(value)).find_map(|name| {
        let because = match wanted(world, &name) {
            Wanted::Spec(spec) if live.get(&name).is_some_and(|live| live.managed && live.stands_as(&spec)) => {
                return None;
            }
            Wanted::TooMuch => "cannot be written: it would need more rules than one takes",
            Wanted::Spec(_) | Wanted::Nothing | Wanted::Untold => "does not stand as it should",
        };
        Some(format!("ClusterNetworkPolicy {name} {because}"))
    });
    match missing.or(skipped) {
        None if !values.is_empty() => NetworkTier::ClusterNetworkPolicy,
        because => NetworkTier::NetworkPolicy(because),
    }
}

/// Carries a step out.
///
/// # Errors
/// Why it was not done.
pub async fn carry_out(client: Client, name: String, step: Step) -> Result<Written, apply::Error> {
    match step {
        Step::Write { value, spec } => {
            let live = apply::apply_cluster_policy(client, &name, &value, &spec).await?;
            Ok(Written::one(Change::ClusterPolicy(Some(Delta::Applied(name, live)))))
        }
        Step::Delete => {
            apply::delete_cluster_policy(client, &name).await?;
            Ok(Written::default())
        }
    }
}
