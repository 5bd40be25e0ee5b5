//! A namespace whose label names what does not exist: what stands is kept up, and nothing starts by it.

use super::{PolicyStep, Step, kept_up, policies, policy_step, refuse, resolve, standing, stands};
use crate::{
    compile::network,
    controller::world::World,
    domain::{Mode, Named, Residencies, keys},
    observe::{Key, Namespace},
};

/// Whether what `space` names is to hold more strictly than what stands.
#[must_use]
pub fn becomes_stricter(world: &World, space: &Namespace) -> bool {
    match world.named(space) {
        Named::Residencies(named) => world.absent(&named).is_empty() && asks_for_more(world, space, &named),
        Named::Nothing | Named::Unreadable(_) => false,
    }
}

/// A residency that is named does not exist. A confinement that stands is left as it is, and its policies are kept up; nothing
/// starts by it any more, unless what it was confined for is what has gone, and no residency that is left asks for more.
pub(super) fn missing(world: &World, space: &Namespace, named: &Residencies) -> Option<Step> {
    let enforces = space.labels.get(keys::ENFORCEMENT).is_some_and(|mode| *mode == Mode::Enforce.to_string());
    if enforces && !stands(world, space, keys::ISOLATING_POLICY, Some(&network::isolating())) {
        let key = Key::new(&space.name, keys::ISOLATING_POLICY);
        return Some(Step::Policy(PolicyStep::Apply { key, spec: Box::new(network::isolating()) }));
    }
    let policy = match standing(world, space) {
        Some(confined) => kept_up(world, space, &confined),
        None => isolated_by_those_that_exist(world, space, named),
    };
    if let Some(policy) = policy {
        return Some(Step::Policy(policy));
    }
    if space.confined_for() == Some(named.value()) && !asks_for_more(world, space, named) {
        return None;
    }
    let absent = world.absent(named).join(", ");
    let reason = format!("there is no DataResidency {absent}; create it, or correct the label {}", keys::RESIDENCY);
    refuse(space, &reason)
}

/// Whether one of the residencies that exist is to hold more strictly than what stands.
fn asks_for_more(world: &World, space: &Namespace, named: &Residencies) -> bool {
    let stands = |mode: &Mode| space.labels.get(keys::ENFORCEMENT).is_some_and(|label| *label == mode.to_string());
    let standing = [Mode::Audit, Mode::Warn, Mode::Enforce].into_iter().find(stands);
    let asked = named.names().filter_map(|name| world.residencies.get(name)).map(|residency| residency.mode).max();
    asked > standing
}

/// The next step by which what was confined more mildly is isolated, where the residencies that exist ask for that by now.
fn isolated_by_those_that_exist(world: &World, space: &Namespace, named: &Residencies) -> Option<PolicyStep> {
    let mode = space.labels.get(keys::ENFORCEMENT).filter(|_| space.confined_for().is_some())?;
    if *mode == Mode::Enforce.to_string() {
        return None; // what stands is kept
    }
    world.mutation?;
    let confined = resolve(world, space, &world.known(named)?)?;
    let enforces = confined.confinement.mode == Mode::Enforce;
    let mut steps = policies(world, space, &confined).into_iter().filter_map(|policy| policy_step(world, policy));
    steps.next().filter(|_| enforces)
}
