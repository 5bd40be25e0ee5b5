//! Which RoleBindings of a namespace nobody with the verb share has made, though they give something to others.
//!
//! From the moment that a namespace names a residency in Enforce, the API server lets only who has the verb make one. So those
//! that stand when it has been confined are listed once, by UID, in a key that only the operator writes: nothing that a tenant
//! can write before tells them from later ones. What is made anew has another UID. While nothing is enforced nobody can be told
//! from anybody, and all of them count.

use std::collections::BTreeSet;

use crate::{
    domain::{Mode, Named, Residencies, keys},
    observe::Namespace,
};

/// So many are listed; where there are more, all of them count until there are fewer.
pub const LISTED: usize = 500;

/// UIDs of those that count, from what stands on the namespace and the UIDs of all that give something to `foreign` accounts.
#[must_use]
pub(super) fn held(namespace: &Namespace, named: &Residencies, mode: Mode, foreign: &[String]) -> Vec<String> {
    if mode != Mode::Enforce || !was_enforced(namespace, named) {
        return all();
    }
    match namespace.annotations.get(keys::HELD_ROLE_BINDINGS).map(String::as_str) {
        // A version that did not know the key confined it.
        None | Some(keys::ALL_ROLE_BINDINGS) if !is_settling(namespace) => listed(foreign.iter().cloned()),
        None | Some(keys::ALL_ROLE_BINDINGS) => all(),
        Some(list) => {
            let foreign: BTreeSet<&str> = foreign.iter().map(String::as_str).collect();
            list.split(',').filter(|uid| foreign.contains(uid)).map(str::to_owned).collect()
        }
    }
}

/// The value of the list.
#[must_use]
pub fn listed(uids: impl IntoIterator<Item = String>) -> Vec<String> {
    let uids: BTreeSet<String> = uids.into_iter().collect();
    if uids.len() > LISTED { all() } else { uids.into_iter().collect() }
}

/// Whether every one of them counts.
#[must_use]
pub fn are_all(held: &[String]) -> bool {
    held.first().is_some_and(|first| first == keys::ALL_ROLE_BINDINGS)
}

fn all() -> Vec<String> {
    vec![keys::ALL_ROLE_BINDINGS.to_owned()]
}

/// Whether every residency that is named was enforced here already: with another one, those that were made for the others
/// are older.
fn was_enforced(namespace: &Namespace, named: &Residencies) -> bool {
    let enforces = namespace.labels.get(keys::ENFORCEMENT).is_some_and(|mode| *mode == Mode::Enforce.to_string());
    let covers = match Named::parse(namespace.confined_for()) {
        Named::Residencies(before) => named.names().all(|name| before.contain(name)),
        Named::Nothing | Named::Unreadable(_) => false,
    };
    enforces && covers
}

/// Whether what was admitted before the namespace was enforced may still arrive.
fn is_settling(namespace: &Namespace) -> bool {
    let says = |key, value: &str| namespace.annotations.get(key).is_some_and(|standing| standing == value);
    namespace.annotations.get(keys::REFUSED_BECAUSE).is_some_and(|reason| keys::is_being_confined(reason))
        || says(keys::HELD_PODS, keys::ALL_PODS)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn residencies(value: &str) -> Residencies {
        let Named::Residencies(named) = Named::parse(Some(value)) else { panic!("{value}") };
        named
    }

    /// A namespace that is confined for `mainland_battery` in `mode`, with these annotations.
    fn space(mode: &str, annotations: &[(&str, &str)]) -> Namespace {
        let labels = [(keys::ENFORCEMENT, mode), (keys::CONFINED_FOR, "mainland_battery")];
        let owned = |all: &[(&str, &str)]| all.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect();
        Namespace { labels: owned(&labels), annotations: owned(annotations), ..Namespace::default() }
    }

    fn of(space: &Namespace, named: &str, mode: Mode, foreign: &[&str]) -> String {
        let foreign: Vec<String> = foreign.iter().map(|uid| (*uid).to_owned()).collect();
        held(space, &residencies(named), mode, &foreign).join(",")
    }

    fn enforced(annotations: &[(&str, &str)], foreign: &[&str]) -> String {
        of(&space("Enforce", annotations), "mainland_battery", Mode::Enforce, foreign)
    }

    #[test]
    fn what_was_listed_counts_while_it_stands_and_nothing_else_does() {
        assert_eq!(enforced(&[(keys::HELD_ROLE_BINDINGS, "a,b")], &["b", "c"]), "b");
        assert_eq!(enforced(&[(keys::HELD_ROLE_BINDINGS, "-")], &["c"]), "");
    }

    #[test]
    fn while_nothing_is_enforced_all_of_them_count() {
        for mode in [Mode::Audit, Mode::Warn] {
            let standing = space("Enforce", &[(keys::HELD_ROLE_BINDINGS, "a")]);
            assert_eq!(of(&standing, "mainland_battery", mode, &["a"]), "*");
        }
        let audited = space("Audit", &[(keys::HELD_ROLE_BINDINGS, "-")]);
        assert_eq!(of(&audited, "mainland_battery", Mode::Enforce, &["a"]), "*");
        assert_eq!(of(&Namespace::default(), "mainland", Mode::Enforce, &[]), "*");
    }

    #[test]
    fn a_residency_that_comes_to_it_makes_all_of_them_older_and_one_that_goes_does_not() {
        let standing = space("Enforce", &[(keys::HELD_ROLE_BINDINGS, "-")]);
        assert_eq!(of(&standing, "mainland_battery_maps", Mode::Enforce, &["a"]), "*");
        assert_eq!(of(&standing, "mainland", Mode::Enforce, &["a"]), "");
    }

    #[test]
    fn they_are_listed_when_nothing_older_can_still_arrive() {
        let all = (keys::HELD_ROLE_BINDINGS, "*");
        assert_eq!(enforced(&[all, (keys::HELD_PODS, "*")], &["a"]), "*");
        assert_eq!(enforced(&[all, (keys::HELD_PODS, "-"), (keys::REFUSED_BECAUSE, "being confined")], &["a"]), "*");
        assert_eq!(enforced(&[all, (keys::HELD_PODS, "-")], &["b", "a"]), "a,b");
    }

    #[test]
    fn where_an_older_version_listed_none_all_that_stand_are() {
        assert_eq!(enforced(&[(keys::HELD_PODS, "-")], &["a"]), "a");
        assert_eq!(enforced(&[(keys::HELD_PODS, "*")], &["a"]), "*");
    }

    #[test]
    fn of_too_many_all_count() {
        let uids = |number: usize| (0..number).map(|number| format!("{number:04}"));
        assert_eq!(listed(uids(LISTED)).len(), LISTED);
        assert!(are_all(&listed(uids(LISTED + 1))));
        assert!(!are_all(&listed(uids(0))) && !are_all(&listed(uids(1))));
    }
}
