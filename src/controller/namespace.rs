//! The next step for one namespace, decided from what is known, one write at a time.
//!
//! The order is what makes it safe: what isolates first; then, whatever became of that, the namespace is closed
//! (`refused-because: being confined`) with its rules in force; then what is permitted is opened, what is older than the rules is
//! narrowed, and it is opened with the binding of pods held; last, when nothing older can still arrive, the pods that must not be bound are listed. Where
//! nothing can be older, because the namespace was created with the label, it is opened as soon as it is isolated. A crash
//! after any write finds the namespace refused by the threshold, closed or confined, and the same decision goes on from
//! there.

mod carry_out;
mod missing;
mod reasons;

use std::{collections::BTreeSet, time::Duration};

use k8s_openapi::api::networking::v1::NetworkPolicySpec;

use super::{
    older::{foreign, keep_listed},
    world::World,
};
use crate::{
    audit::network::{is_judged, is_own, opens_more},
    compile::{
        namespace::{self, NamespacePatch, close, confine, release},
        network,
    },
    domain::{
        Confinement, Mode, Mutation, NOTHING, Named, Residencies,
        add_ons::{ADD_ONS, Does},
        keys,
    },
    observe::{Key, Namespace, Pod, Policy, in_namespace},
    resolve::{self, Circumstances, Confined},
};

pub use carry_out::carry_out;
pub(super) use carry_out::write;
pub use missing::becomes_stricter;
use missing::missing;
use reasons::{
    being_narrowed, refuse_while_open, refuse_while_unjudged, stays_refused, until_confined_anew, until_read, waits,
};

/// So long pods are not bound in a namespace that was relabelled: a creation that was admitted before may wait in the API
/// server (measured: 10 s for a contended ResourceQuota), and its pod is in nobody's list yet.
pub const BINDING_HOLD: Duration = Duration::from_secs(12);
/// So long pods that were listed when a namespace was confined are held though no watch has brought them.
pub const HELD_GRACE: Duration = Duration::from_secs(60);

/// Kinds by which it is decided that a namespace may be opened: what is older than its rules.
fn opened_by() -> impl Iterator<Item = &'static str> {
    let policies = ADD_ONS.iter().filter(|kind| kind.does == Does::Policy).map(|kind| kind.name);
    ["Pod", "NetworkPolicy", "RoleBinding"].into_iter().chain(policies)
}

/// One of them that cannot be read, and why.
fn unseen(world: &World) -> Option<(&str, &str)> {
    opened_by().find_map(|kind| world.unseen.get_key_value(kind)).map(|(kind, error)| (kind.as_str(), error.as_str()))
}

/// What to do next.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// Bring one network policy of Domicile's to what is wanted.
    Policy(PolicyStep),
    /// Isolate, close and permit, and confine when that has settled: for a namespace that was created with the label, in which
    /// nothing can have started.
    Open {
        /// The step for the isolating policy, if it is not there.
        isolating: Option<PolicyStep>,
        /// The step for the permitting policy, if one is wanted and not there.
        permitting: Option<PolicyStep>,
        /// What is to stand then.
        wanted: Box<Confinement>,
    },
    /// Patch the namespace's metadata, whatever becomes of these policies.
    Rewrite {
        /// The steps for policies that come first.
        first: Vec<PolicyStep>,
        /// The patch.
        patch: NamespacePatch,
        /// What that comes to, for people.
        meaning: Meaning,
    },
    /// Close the namespace by taking a key away, since what is to hold could not be written time and again.
    Shut,
    /// Patch the namespace's metadata alone.
    Patch {
        /// The patch.
        patch: NamespacePatch,
        /// What that comes to, for people.
        meaning: Meaning,
    },
    /// List the pods that must not be bound, and the RoleBindings that are older, once nothing that was admitted before can
    /// still arrive.
    List {
        /// What is to stand then.
        wanted: Box<Confinement>,
        /// The namespaces whose ServiceAccounts are the cluster's own.
        never_governed: Vec<String>,
        /// UIDs of the pods in it that are known.
        known: BTreeSet<String>,
    },
    /// Narrow what is older than the rules, then open, with the binding of pods held.
    Settle {
        /// What is to stand at the end.
        wanted: Box<Confinement>,
        /// Policies of tenants that open more than is permitted.
        wide: Vec<Key>,
        /// The step for the policy that opens what is permitted, where it is not there: what runs does not wait for the rest.
        permitting: Option<PolicyStep>,
    },
}

impl Step {
    /// What of it does not wait for older policies of `space` to be narrowed, that it waits among that.
    #[must_use]
    pub fn meanwhile(self, space: &Namespace) -> Option<Self> {
        match self {
            Self::Settle { wide, permitting, .. } => {
                permitting.map(Self::Policy).or_else(|| waits(space, &being_narrowed(space, &wide)?))
            }
            other => Some(other),
        }
    }
}

/// How a network policy of Domicile's comes to be as it is wanted.
#[derive(Clone, Debug, PartialEq)]
pub enum PolicyStep {
    /// Write it.
    Apply {
        /// Which.
        key: Key,
        /// Its wanted spec.
        spec: Box<NetworkPolicySpec>,
    },
    /// Delete it.
    Delete {
        /// Which.
        key: Key,
        /// As it is known.
        live: Box<Policy>,
        /// Whether it is to open nothing first, where somebody holds it.
        empty: bool,
    },
}

/// What a patch comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Meaning {
    /// Nothing may start until it is confined.
    Closed,
    /// It is confined.
    Confined,
    /// The rules in it have changed.
    Updated,
    /// It is governed no more.
    Released,
    /// It names what does not exist.
    Unresolved,
    /// It could not be confined, and is closed.
    Shut,
}

/// Whether no pod of `space` may be bound for now.
#[must_use]
pub fn is_binding_held(space: &Namespace) -> bool {
    space.annotations.get(keys::HELD_PODS).is_some_and(|held| held == keys::ALL_PODS)
}

/// The next step for `space`; `None` where everything stands. `age` says how long ago it was confined, where this process
/// saw that.
#[must_use]
pub fn next(world: &World, space: &Namespace, age: Option<Duration>) -> Option<Step> {
    if space.terminating {
        return end(world, space);
    }
    match world.named(space) {
        Named::Nothing => leave(world, space),
        Named::Unreadable(value) => {
            let reason = format!("the label {} has the value {value}, which names no DataResidency", keys::RESIDENCY);
            refuse(space, &reason)
        }
        Named::Residencies(named) => {
            world.mutation.or_else(|| named.are_the_canarys().then_some(Mutation::Nothing))?;
            match resolve(world, space, &named) {
                None => missing(world, space, &named),
                Some(confined) if confined.confinement.mode == Mode::Enforce => enforce(world, space, confined, age),
                Some(confined) => observe(world, space, confined),
            }
        }
    }
}

/// What closes `space` where nothing else can be written; `None` where nothing has been confined, or it is closed in this way.
#[must_use]
pub fn shut(space: &Namespace) -> Option<Step> {
    let may_start =
        space.labels.contains_key(keys::ENFORCEMENT) && space.annotations.contains_key(keys::REFUSED_BECAUSE);
    may_start.then_some(Step::Shut)
}

/// What holds in `space`.
#[must_use]
pub fn resolve(world: &World, space: &Namespace, named: &Residencies) -> Option<Confined> {
    let values = world.confined_values();
    let pods = in_namespace(&world.snapshot.pods, &space.name).map(|(_, pod)| pod);
    resolve_with(world, space, named, &values, pods)
}

fn resolve_with<'a>(
    world: &'a World,
    space: &Namespace,
    named: &Residencies,
    values: &'a BTreeSet<String>,
    pods: impl Iterator<Item = &'a Pod> + Clone,
) -> Option<Confined> {
    let role_bindings = in_namespace(&world.snapshot.role_bindings, &space.name).map(|(_, binding)| binding);
    let circumstances = Circumstances {
        mutation: world.mutation.unwrap_or_default(),
        has_own_policies: tenants_policies(world, space).next().is_some(),
        is_permitted: world
            .snapshot
            .policies
            .get(&Key::new(&space.name, keys::PERMITTING_POLICY))
            .is_some_and(|policy| policy.managed),
        foreign_role_bindings: &foreign(role_bindings, &space.name, &world.never_governed().collect::<Vec<_>>()),
    };
    let values = values.iter().map(String::as_str);
    resolve::confine(space, named, &world.residencies, values, pods, &world.locations, circumstances)
}

fn tenants_policies<'a>(world: &'a World, space: &'a Namespace) -> impl Iterator<Item = (&'a Key, &'a Policy)> {
    in_namespace(&world.snapshot.policies, &space.name).filter(|(key, policy)| !is_own(key, policy))
}

/// A namespace that ends: its pods may run as long as their owner said, so what it was confined for is kept up, whatever it names
/// by now. Nothing can be created in it, and its policies go with it.
fn end(world: &World, space: &Namespace) -> Option<Step> {
    if world.named(space) == Named::Nothing {
        return None;
    }
    let confined = standing(world, space)?;
    if let Some(policy) = kept_up(world, space, &confined) {
        return Some(Step::Policy(policy));
    }
    if is_being_confined(space) {
        return None; // and is not opened any more
    }
    let mut wanted = confined.confinement;
    let (unjudged, wide) = (unjudged_policy(world, space, &wanted), wide_policies(world, space, &wanted));
    refuse_while_unjudged(&mut wanted, unjudged);
    refuse_while_open(&mut wanted, wide.first());
    keep_while_unseen(world, space, &mut wanted);
    if is_binding_held(space) {
        wanted.held_pods = vec![keys::ALL_PODS.to_owned()];
        wanted.peer = false;
    } else {
        keep_listed(space, &mut wanted);
    }
    let patch = confine(space, &wanted);
    (!patch.is_empty()).then_some(Step::Patch { patch, meaning: Meaning::Updated })
}

/// What `space` was confined for, as it holds by now, where that is enforced.
fn standing(world: &World, space: &Namespace) -> Option<Confined> {
    let Named::Residencies(named) = Named::parse(space.confined_for()) else { return None };
    world.mutation?;
    resolve(world, space, &named).filter(|confined| is_enforced(space, &confined.confinement))
}

/// The next step by which Domicile's policies that are there open no more than is permitted by now.
fn kept_up(world: &World, space: &Namespace, confined: &Confined) -> Option<PolicyStep> {
    policies(world, space, confined).into_iter().find_map(|(key, spec)| {
        let live = world.snapshot.policies.get(&key)?;
        if !live.terminating {
            return policy_step(world, (key, spec));
        }
        let opens_more = !live.is_spent() && !spec.is_some_and(|spec| live.says(&spec));
        opens_more.then(|| policy_step(world, (key, None))).flatten()
    })
}

/// Nothing is governed here: what Domicile made goes, the confinement first.
fn leave(world: &World, space: &Namespace) -> Option<Step> {
    let patch = release(space);
    if !patch.is_empty() {
        return Some(Step::Patch { patch, meaning: Meaning::Released });
    }
    unwanted_policy(world, space)
}

fn unwanted_policy(world: &World, space: &Namespace) -> Option<Step> {
    let (key, live) = in_namespace(&world.snapshot.policies, &space.name)
        .find(|(key, policy)| is_own(key, policy) && !policy.terminating)?;
    Some(Step::Policy(PolicyStep::Delete { key: key.clone(), live: Box::new(live.clone()), empty: false }))
}

/// Nothing may start here, for this reason; what stands is left.
fn refuse(space: &Namespace, reason: &str) -> Option<Step> {
    let patch = namespace::refuse(space, &until_confined_anew(space, reason));
    (!patch.is_empty()).then_some(Step::Patch { patch, meaning: Meaning::Unresolved })
}

/// Warn and Audit change nothing but the confinement, which says what Enforce would refuse; what Enforce had made goes last.
fn observe(world: &World, space: &Namespace, confined: Confined) -> Option<Step> {
    let mut wanted = confined.confinement;
    let unjudged = unjudged_policy(world, space, &wanted);
    refuse_while_unjudged(&mut wanted, unjudged);
    keep_while_unseen(world, space, &mut wanted);
    let patch = confine(space, &wanted);
    if patch.is_empty() {
        return unwanted_policy(world, space);
    }
    let meaning = meaning(space, &wanted);
    Some(Step::Patch { patch, meaning })
}

fn meaning(space: &Namespace, wanted: &Confinement) -> Meaning {
    if space.confined_for() == wanted.confined_for.as_deref() { Meaning::Updated } else { Meaning::Confined }
}

fn enforce(world: &World, space: &Namespace, confined: Confined, age: Option<Duration>) -> Option<Step> {
    let stands = is_enforced(space, &confined.confinement);
    let wide = wide_policies(world, space, &confined.confinement);
    let unjudged = unjudged_policy(world, space, &confined.confinement);
    let policies = policies(world, space, &confined);
    let mut wanted = confined.confinement;
    if is_untouched(world, space) && wide.is_empty() && unjudged.is_none() {
        wanted.held_role_bindings.clear(); // the API server has asked for the verb share since the beginning
        let apply = |name: &str| {
            let (key, spec) = policies.iter().find(|(key, _)| key.name == name)?;
            Some(PolicyStep::Apply { key: key.clone(), spec: Box::new(spec.clone()?) })
        };
        return Some(Step::Open {
            isolating: apply(keys::ISOLATING_POLICY),
            permitting: apply(keys::PERMITTING_POLICY),
            wanted: Box::new(wanted),
        });
    }
    // A permitting policy that is not there yet only opens, and so does one that ends and opens no more than is wanted: it comes
    // last, so that nothing waits for it that closes.
    let live = |key: &Key| world.snapshot.policies.get(key);
    let only_opens = |(key, spec): &(Key, Option<NetworkPolicySpec>)| {
        let opens_no_more = |policy: &Policy| policy.is_spent() || spec.as_ref().is_some_and(|spec| policy.says(spec));
        key.name == keys::PERMITTING_POLICY
            && live(key).is_none_or(|policy| policy.terminating && opens_no_more(policy))
    };
    let (last, first): (Vec<_>, Vec<_>) = policies.into_iter().partition(only_opens);
    let held_up = first.iter().any(|(key, _)| key.name == keys::ISOLATING_POLICY);
    let patch = close(space, &wanted, held_up); // with nothing in it where it is closed already, by these rules
    // What was shut is closed already, and is opened as if for the first time when that can be written.
    let shut = stands && !space.annotations.contains_key(keys::REFUSED_BECAUSE);
    let is_to_be_closed = if is_being_confined(space) { !patch.is_empty() } else { !stands };
    if is_to_be_closed {
        let first = first.into_iter().filter_map(|policy| policy_step(world, policy)).collect();
        return Some(Step::Rewrite { first, patch, meaning: Meaning::Closed });
    }
    let closed = is_being_confined(space) || shut;
    let is_to_be_listed = is_binding_held(space) && age.is_none_or(|age| age >= BINDING_HOLD);
    // What is not isolated is closed when that cannot be mended, and not opened before.
    let is_isolated = !first.iter().any(|(key, _)| key.name == keys::ISOLATING_POLICY);
    if (closed || is_to_be_listed || !is_isolated) && !first.is_empty() {
        return first.into_iter().find_map(|policy| policy_step(world, policy)).map(Step::Policy);
    }
    if closed {
        let missing = last.into_iter().find(|(key, _)| live(key).is_none());
        let permitting = missing.and_then(|policy| policy_step(world, policy));
        if let Some((kind, error)) = unseen(world) {
            // It stays closed: what is older than the rules may not be known.
            return permitting.map(Step::Policy).or_else(|| waits(space, &until_read(kind, error)));
        }
        refuse_while_unjudged(&mut wanted, unjudged);
        return Some(Step::Settle { wanted: Box::new(wanted), wide, permitting });
    }
    refuse_while_unjudged(&mut wanted, unjudged);
    refuse_while_open(&mut wanted, wide.first());
    keep_while_unseen(world, space, &mut wanted);
    if is_binding_held(space) {
        if is_to_be_listed {
            let never_governed = world.never_governed().map(str::to_owned).collect();
            let known = in_namespace(&world.snapshot.pods, &space.name).map(|(_, pod)| pod.uid.clone()).collect();
            return Some(Step::List { wanted: Box::new(wanted), never_governed, known });
        }
        wanted.held_pods = vec![keys::ALL_PODS.to_owned()];
        wanted.peer = false; // until every pod that stands is known
    } else if age.is_some_and(|age| age < HELD_GRACE) {
        keep_listed(space, &mut wanted);
    }
    let patch = confine(space, &wanted);
    if patch.is_empty() {
        let policy = first.into_iter().chain(last).next()?;
        return policy_step(world, policy).map(Step::Policy);
    }
    let first = first.into_iter().filter_map(|policy| policy_step(world, policy)).collect();
    Some(Step::Rewrite { first, patch, meaning: Meaning::Updated })
}

/// While a kind by which it is decided cannot be read, nothing is lifted that kept anything from starting in `space`, or kept it
/// from being a peer: what that was for may stand still.
fn keep_while_unseen(world: &World, space: &Namespace, wanted: &mut Confinement) {
    let Some((kind, error)) = unseen(world) else { return };
    wanted.peer = wanted.peer && space.labels.contains_key(keys::PEER);
    if space.annotations.get(keys::REFUSED_BECAUSE).is_some_and(|reason| reason != NOTHING) {
        wanted.refused_because.get_or_insert_with(|| stays_refused(kind, error));
    }
}

/// How a policy comes to be as it is wanted.
fn policy_step(world: &World, (key, wanted): (Key, Option<NetworkPolicySpec>)) -> Option<PolicyStep> {
    match wanted {
        Some(spec) => Some(PolicyStep::Apply { key, spec: Box::new(spec) }),
        None => {
            let live = world.snapshot.policies.get(&key)?.clone();
            Some(PolicyStep::Delete { key, live: Box::new(live), empty: true })
        }
    }
}

/// Whether it is closed until everything that is older than its rules is judged.
pub(super) fn is_being_confined(space: &Namespace) -> bool {
    space.annotations.get(keys::REFUSED_BECAUSE).is_some_and(|reason| keys::is_being_confined(reason))
        && space.labels.get(keys::ENFORCEMENT).is_some_and(|mode| *mode == Mode::Enforce.to_string())
}

/// Whether the confinement that stands is for this label and enforces.
fn is_enforced(space: &Namespace, wanted: &Confinement) -> bool {
    space.confined_for() == wanted.confined_for.as_deref()
        && space.labels.get(keys::ENFORCEMENT).is_some_and(|mode| *mode == Mode::Enforce.to_string())
}

/// Whether the threshold has refused everything in `space` since it was created: it always named what it names, and was
/// never confined.
fn is_untouched(world: &World, space: &Namespace) -> bool {
    let confined = [keys::CONFINED_FOR, keys::ENFORCEMENT].iter().any(|key| space.labels.contains_key(*key));
    let bindings = in_namespace(&world.snapshot.role_bindings, &space.name).map(|(_, binding)| binding);
    let never_governed: Vec<&str> = world.never_governed().collect();
    space.labelled_at_birth
        && !confined
        && in_namespace(&world.snapshot.pods, &space.name).next().is_none()
        && foreign(bindings, &space.name, &never_governed).is_empty() // of a namespace that had its name before
}

/// Whether one of Domicile's policies is as wanted, and in nobody else's hands.
fn stands(world: &World, space: &Namespace, name: &str, spec: Option<&NetworkPolicySpec>) -> bool {
    let live = world.snapshot.policies.get(&Key::new(&space.name, name));
    match (live, spec) {
        (Some(live), Some(spec)) => live.stands_as(spec),
        (Some(live), None) => live.is_spent(),
        (None, spec) => spec.is_none(),
    }
}

/// What is wanted of the isolating and of the permitting policy, where it does not stand.
fn policies(world: &World, space: &Namespace, confined: &Confined) -> Vec<(Key, Option<NetworkPolicySpec>)> {
    let wanted = [
        (keys::ISOLATING_POLICY, Some(network::isolating())),
        (keys::PERMITTING_POLICY, network::permitting(confined)),
    ];
    let missing = wanted.into_iter().filter(|(name, spec)| !stands(world, space, name, spec.as_ref()));
    missing.map(|(name, spec)| (Key::new(&space.name, name), spec)).collect()
}

/// Policies of tenants that open more than is permitted, and may be narrowed.
fn wide_policies(world: &World, space: &Namespace, wanted: &Confinement) -> Vec<Key> {
    let judged = tenants_policies(world, space).filter(|(_, policy)| is_judged(&policy.opens, wanted));
    judged.filter(|(_, policy)| opens_more(&policy.opens, wanted)).map(|(key, _)| key.clone()).collect()
}

/// A policy of a tenant of which nobody knows what it opens, and what to do. The API server does not narrow it either.
fn unjudged_policy(world: &World, space: &Namespace, wanted: &Confinement) -> Option<String> {
    let mut large = tenants_policies(world, space).filter(|(_, policy)| !is_judged(&policy.opens, wanted));
    let large = large.next().map(|(Key { name, .. }, _)| {
        format!("NetworkPolicy {name} is too large to be judged; write it in several policies, or delete it")
    });
    let of_add_ons = || {
        let mut policies = world.snapshot.openings_of(&space.name).filter(|(_, kind, _)| kind.does == Does::Policy);
        policies.next().map(|(Key { name, .. }, kind, _)| {
            format!(
                "{kind} {name} can open more than is permitted and is not judged; delete it, and write a NetworkPolicy in its place"
            )
        })
    };
    large.or_else(of_add_ons)
}
