//! Why nothing may start in a namespace, in the words of its annotation.

use super::{Meaning, Step};
use crate::{
    compile::namespace,
    domain::{Confinement, add_ons::how_to_read, keys},
    observe::{Key, Namespace},
};

/// So many characters are told of what a namespace waits for; what is to be done comes first.
const REASON: usize = 400;
/// Who reads.
const READER: &str = "the ServiceAccount of Domicile";

/// Says on a namespace that is being confined what that waits for. One that is shut says nothing, since whatever it said would make a
/// whole of what is left of an older confinement.
pub(super) fn waits(space: &Namespace, what: &str) -> Option<Step> {
    if !space.annotations.contains_key(keys::REFUSED_BECAUSE) {
        return None;
    }
    let what: String = what.chars().take(REASON).collect();
    let patch = namespace::refuse(space, &format!("{}, {what}", keys::BEING_CONFINED));
    (!patch.is_empty()).then_some(Step::Patch { patch, meaning: Meaning::Updated })
}

/// That a namespace is not opened until a kind is read, and what makes that possible.
pub(super) fn until_read(kind: &str, error: &str) -> String {
    format!("until {kind} can be read; {} ({error})", how_to_read(kind, READER))
}

/// That what kept anything from starting is not lifted while a kind is not read.
pub(super) fn stays_refused(kind: &str, error: &str) -> String {
    let error: String = error.chars().take(REASON).collect();
    format!("{kind} cannot be read, so what was refused before stays refused; {} ({error})", how_to_read(kind, READER))
}

/// That some of these policies of tenants are still to be narrowed; `None` where that is said already of one of them.
pub(super) fn being_narrowed(space: &Namespace, wide: &[Key]) -> Option<String> {
    const BEFORE: &str = "until NetworkPolicy ";
    const AFTER: &str = " and all others that open more than is permitted are narrowed or deleted";
    let said = space.annotations.get(keys::REFUSED_BECAUSE).and_then(|reason| {
        let words = reason.strip_prefix(keys::BEING_CONFINED)?.strip_prefix(", ")?;
        words.strip_prefix(BEFORE)?.strip_suffix(AFTER)
    });
    if said.is_some_and(|name| wide.iter().any(|key| key.name == name)) {
        return None;
    }
    wide.first().map(|key| format!("{BEFORE}{}{AFTER}", key.name))
}

/// A reason why nothing may start. Where something is confined it is confined anew before anything does: by the time that the label
/// says again what it said, what stands may be long past, and what is older is still to be judged.
pub(super) fn until_confined_anew(space: &Namespace, reason: &str) -> String {
    let is_confined = space.confined_for().is_some() || space.labels.contains_key(keys::ENFORCEMENT);
    if is_confined { format!("{}: {reason}", keys::BEING_CONFINED) } else { reason.to_owned() }
}

pub(super) fn refuse_while_open(wanted: &mut Confinement, wide: Option<&Key>) {
    let reason = |Key { name, .. }: &Key| {
        format!("NetworkPolicy {name} opens more than is permitted and can't be narrowed; delete or correct it")
    };
    refuse_while_unjudged(wanted, wide.map(reason));
}

/// What stands in it may lead anywhere, so that it is nobody's peer either.
pub(super) fn refuse_while_unjudged(wanted: &mut Confinement, reason: Option<String>) {
    let Some(reason) = reason else { return };
    wanted.peer = false;
    wanted.refused_because.get_or_insert(reason);
}
