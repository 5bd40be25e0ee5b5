//! What of a write people are told.

use super::{
    namespace::Meaning,
    outcome::Written,
    status::left_to_its_own,
    world::{Work, World},
};
use crate::{
    domain::{Mode, Named, Subject, keys},
    report::events::Telling,
};

/// What a write is told as.
pub(super) fn tellings(world: &World, work: &Work, written: &Written) -> Vec<Telling> {
    let Work::Namespace(name) = work else { return Vec::new() };
    let Some(space) = world.snapshot.namespaces.get(name) else { return Vec::new() };
    let subject = Subject::namespaced("Namespace", "", name, &space.uid);
    let named = match world.named(space) {
        Named::Residencies(named) if named.are_the_canarys() => return Vec::new(), // nobody's namespace
        Named::Residencies(named) => named.to_string(),
        Named::Unreadable(value) => value,
        Named::Nothing => String::new(),
    };
    let mut tellings = Vec::new();
    match written.meaning {
        Some(Meaning::Confined) => {
            let is_enforced =
                space.labels.get(keys::ENFORCEMENT).is_some_and(|mode| *mode == Mode::Enforce.to_string());
            let rest = if is_enforced && left_to_its_own(world, space) {
                "; it has NetworkPolicies of its own, so nothing else opens its pods, not even for DNS: to open what is permitted beside them, label it domicile.dev/permit: All"
            } else {
                ""
            };
            let note = format!("confined for DataResidency {named}{rest}");
            tellings.push(Telling::normal(subject, "Confined", "Confine", note));
        }
        Some(Meaning::Released) => {
            tellings.push(Telling::normal(subject, "Released", "Release", "no DataResidency holds here any more"));
        }
        Some(Meaning::Unresolved) => {
            let named = match world.named(space) {
                Named::Residencies(named) => world.absent(&named).join(", "),
                _ => named,
            };
            let note =
                format!("the label domicile.dev/residency names what does not exist: {named}; nothing may start here");
            tellings.push(Telling::warning(subject, "Unresolved", "Confine", note));
        }
        Some(Meaning::Shut) => {
            let note = "what is to hold here could not be written time and again, so nothing may start; see the operator's log";
            tellings.push(Telling::warning(subject, "NotConfined", "Confine", note));
        }
        Some(Meaning::Closed | Meaning::Updated) | None => {}
    }
    tellings
}
