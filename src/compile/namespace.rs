//! The confinement of a namespace, as a patch of its labels and annotations.
//!
//! Written by merge patch with `null` for what goes: a key that a tenant owns too, by server-side apply of the same
//! value, would outlive an apply that merely omits it. Always with the version that it was resolved from.

use crate::{
    domain::{Confinement, Mode, keys},
    observe::Namespace,
};

use super::{Changes, changes};

pub use crate::domain::keys::BEING_CONFINED;

/// A merge patch of a namespace's metadata.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct NamespacePatch {
    /// Labels to set and to take away.
    pub labels: Changes,
    /// Annotations to set and to take away.
    pub annotations: Changes,
}

impl NamespacePatch {
    /// Whether nothing is to be written.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty() && self.annotations.is_empty()
    }
}

/// What must change on `namespace` so that exactly `confinement` stands on it.
#[must_use]
pub fn confine(namespace: &Namespace, confinement: &Confinement) -> NamespacePatch {
    let labels = confinement.labels().into_iter().map(|(key, value)| (key.to_owned(), value));
    let annotations = confinement.annotations().into_iter().map(|(key, value)| (key.to_owned(), Some(value)));
    let mut wanted = changes(&namespace.labels, labels);
    wanted.extend(pod_security(namespace, Some(confinement.mode)));
    NamespacePatch { labels: wanted, annotations: changes(&namespace.annotations, annotations) }
}

/// What must change so that nothing may start while the rest is put in place: the stricter of what stands and what is
/// to come. The old value of `confined-for` stays, since leaving is judged by it, and so does what the rest waits
/// for, or by what it is `held_up`.
#[must_use]
pub fn close(namespace: &Namespace, confinement: &Confinement, held_up: bool) -> NamespacePatch {
    let standing = namespace.annotations.get(keys::REFUSED_BECAUSE);
    let waits = |reason: &str| reason.strip_prefix(BEING_CONFINED).is_some_and(|why| why.starts_with(", "));
    let standing = standing.filter(|reason| waits(reason) || (held_up && keys::is_being_confined(reason)));
    let closed = Confinement {
        refused_because: Some(standing.map_or(BEING_CONFINED, String::as_str).to_owned()),
        confined_for: namespace.confined_for().map(str::to_owned),
        peer: false,
        ..confinement.clone()
    };
    confine(namespace, &closed)
}

/// What must change so that the threshold says why nothing may start, where what the namespace names cannot be resolved.
/// Nothing else is touched: a namespace that was never confined carries no part of a confinement, so that a typo is mended
/// without anybody's leave, and one that was keeps its rules.
#[must_use]
pub fn refuse(namespace: &Namespace, reason: &str) -> NamespacePatch {
    NamespacePatch {
        labels: changes(&namespace.labels, [(keys::PEER.to_owned(), None)]),
        annotations: changes(&namespace.annotations, [(keys::REFUSED_BECAUSE.to_owned(), Some(reason.to_owned()))]),
    }
}

/// What must change so that no confinement is left.
#[must_use]
pub fn release(namespace: &Namespace) -> NamespacePatch {
    let gone =
        |keys: &[&str]| -> Vec<(String, Option<String>)> { keys.iter().map(|key| ((*key).to_owned(), None)).collect() };
    let mut labels = changes(&namespace.labels, gone(&keys::CONFINEMENT_LABELS));
    if namespace.has_confinement() {
        labels.extend(pod_security(namespace, None));
    }
    NamespacePatch { labels, annotations: changes(&namespace.annotations, gone(&keys::CONFINEMENT_ANNOTATIONS)) }
}

/// Pod Security Admission in the mode's own way: enforced, warned of, or audited, at least `baseline`. Labels of the
/// other ways go where Domicile set them. Whoever has asked not to be warned is not: his label stays, and so do his
/// manifests as he wrote them.
fn pod_security(namespace: &Namespace, mode: Option<Mode>) -> Changes {
    let ways = [
        (Mode::Enforce, keys::POD_SECURITY_ENFORCE),
        (Mode::Warn, keys::POD_SECURITY_WARN),
        (Mode::Audit, keys::POD_SECURITY_AUDIT),
    ];
    let mut wanted = Changes::new();
    for (way, key) in ways {
        let version = format!("{key}-version");
        let is_own = |label: &str| namespace.own_pod_security.iter().any(|own| own == label);
        if mode == Some(way) && way != Mode::Enforce && namespace.labels.contains_key(key) && !is_own(key) {
            continue;
        }
        if mode == Some(way) {
            let level = match namespace.labels.get(key).map(String::as_str) {
                Some("restricted") => "restricted",
                Some(_) | None => "baseline",
            };
            wanted.insert(key.to_owned(), Some(level.to_owned()));
            wanted.insert(version, Some("latest".to_owned()));
        } else {
            for own in [key.to_owned(), version].into_iter().filter(|own| is_own(own)) {
                wanted.insert(own, None);
            }
        }
    }
    changes(&namespace.labels, wanted)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Mutation;

    fn confinement() -> Confinement {
        Confinement {
            storage_classes: vec!["mainland-ssd".into()],
            default_storage_class: Some("mainland-ssd".into()),
            networks: vec!["10.20.0.0/16".parse().unwrap()],
            peers: vec!["mainland".into()],
            mutation: Mutation::AdmissionPolicy,
            ..Confinement::bare()
        }
    }

    fn apply(namespace: &Namespace, patch: &NamespacePatch) -> Namespace {
        let mut after = namespace.clone();
        for (map, changes) in [(&mut after.labels, &patch.labels), (&mut after.annotations, &patch.annotations)] {
            for (key, value) in changes {
                match value {
                    Some(value) => drop(map.insert(key.clone(), value.clone())),
                    None => drop(map.remove(key)),
                }
            }
        }
        after.own_pod_security = after.labels.keys().filter(|key| key.starts_with("pod-security")).cloned().collect();
        after
    }

    fn named() -> Namespace {
        Namespace { labels: [(keys::RESIDENCY.to_owned(), "mainland".to_owned())].into(), ..Namespace::default() }
    }

    #[test]
    fn a_patch_applied_twice_is_empty() {
        let after = apply(&named(), &confine(&named(), &confinement()));
        assert!(confine(&after, &confinement()).is_empty());
        assert_eq!(after.labels.get(keys::POD_SECURITY_ENFORCE).unwrap(), "baseline");
    }

    #[test]
    fn closing_refuses_and_keeps_what_was_confined() {
        let after = apply(&named(), &close(&named(), &confinement(), false));
        assert_eq!(after.annotations.get(keys::REFUSED_BECAUSE).unwrap(), BEING_CONFINED);
        assert_eq!(after.confined_for(), None);
        assert!(!after.labels.contains_key(keys::PEER));
    }

    #[test]
    fn release_leaves_nothing_of_ours() {
        let confined = apply(&named(), &confine(&named(), &confinement()));
        let released = apply(&confined, &release(&confined));
        assert_eq!(released.labels, named().labels);
        assert!(released.annotations.is_empty());
        assert!(release(&released).is_empty());
    }

    #[test]
    fn a_stricter_level_of_pod_security_stays() {
        let mut strict = named();
        strict.labels.insert(keys::POD_SECURITY_ENFORCE.into(), "restricted".into());
        let after = apply(&strict, &confine(&strict, &confinement()));
        assert_eq!(after.labels.get(keys::POD_SECURITY_ENFORCE).unwrap(), "restricted");
    }

    #[test]
    fn warning_changes_no_enforcing_label() {
        let warn = Confinement { mode: Mode::Warn, ..confinement() };
        let enforced = apply(&named(), &confine(&named(), &confinement()));
        let after = apply(&enforced, &confine(&enforced, &warn));
        assert!(!after.labels.contains_key(keys::POD_SECURITY_ENFORCE));
        assert_eq!(after.labels.get(keys::POD_SECURITY_WARN).unwrap(), "baseline");
    }
}
