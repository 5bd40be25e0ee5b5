//! What one change of a watch does to what is known of its kind, and what it may have touched.

use std::collections::{BTreeMap, BTreeSet};

use crate::observe::{Delta, Key};

/// Takes a change into what is known.
pub(super) fn put<I: Ord, T>(all: &mut BTreeMap<I, T>, delta: Delta<I, T>) {
    match delta {
        Delta::Applied(id, object) => drop(all.insert(id, object)),
        Delta::Gone(id) => drop(all.remove(&id)),
        Delta::Replaced(new) => *all = new,
    }
}

/// Takes a change of one kind into what is known of several, and says which namespaces it may have touched.
pub(super) fn put_of<C: Ord + Copy, T>(
    all: &mut BTreeMap<(Key, C), T>,
    delta: Delta<Key, T>,
    kind: C,
) -> BTreeSet<String> {
    let known = || all.keys().filter(|(_, other)| *other == kind).map(|(key, _)| key);
    let spaces = match &delta {
        Delta::Applied(key, _) | Delta::Gone(key) => BTreeSet::from([key.namespace.clone()]),
        Delta::Replaced(new) => known().chain(new.keys()).map(|key| key.namespace.clone()).collect(),
    };
    match delta {
        Delta::Applied(key, object) => drop(all.insert((key, kind), object)),
        Delta::Gone(key) => drop(all.remove(&(key, kind))),
        Delta::Replaced(new) => {
            all.retain(|(_, other), _| *other != kind);
            all.extend(new.into_iter().map(|(key, object)| ((key, kind), object)));
        }
    }
    spaces
}

/// The ids that a change may have touched.
pub(super) fn touched<I: Ord + Clone, T>(delta: &Delta<I, T>, known: &BTreeMap<I, T>) -> BTreeSet<I> {
    match delta {
        Delta::Applied(id, _) | Delta::Gone(id) => BTreeSet::from([id.clone()]),
        Delta::Replaced(new) => known.keys().chain(new.keys()).cloned().collect(),
    }
}

/// The namespaces of the objects that a change may have touched.
pub(super) fn namespaces_of<T>(delta: &Delta<Key, T>, known: &BTreeMap<Key, T>) -> BTreeSet<String> {
    match delta {
        Delta::Applied(key, _) | Delta::Gone(key) => BTreeSet::from([key.namespace.clone()]),
        Delta::Replaced(new) => known.keys().chain(new.keys()).map(|key| key.namespace.clone()).collect(),
    }
}
