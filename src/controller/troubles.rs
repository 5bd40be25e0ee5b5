//! Namespaces whose steps fail time and again, so that what stands in them may be past.

use std::collections::BTreeMap;

use crate::{apply, telemetry::Operation};

/// After so many failures in a row it is told.
const LASTING: u32 = 5;
/// After so many in a row that others can cause, the namespace is closed in the way that always works; and after as many again,
/// where somebody undid that.
const STUBBORN: u32 = 10;

/// What fails.
#[derive(Debug, Default)]
pub struct Troubles {
    namespaces: BTreeMap<String, Trouble>,
}

#[derive(Debug, Default)]
struct Trouble {
    failures: u32,
    by_others: u32,
    why: String,
}

impl Troubles {
    /// A step for `namespace` failed.
    pub fn add(&mut self, namespace: &str, error: &apply::Error, operation: Operation) {
        let trouble = self.namespaces.entry(namespace.to_owned()).or_default();
        trouble.failures = trouble.failures.saturating_add(1);
        let by_others = operation == Operation::Namespace
            && matches!(error, apply::Error::Conflict | apply::Error::Outrun | apply::Error::Refused(_));
        trouble.by_others = trouble.by_others.saturating_add(u32::from(by_others));
        trouble.why = error.to_string();
    }

    /// A step was carried out, nothing is to be done, or the namespace is gone. Says whether it had failed before.
    pub fn forget(&mut self, namespace: &str) -> bool {
        self.namespaces.remove(namespace).is_some()
    }

    /// Why what is to hold in `namespace` does not, where that lasts.
    #[must_use]
    pub fn lasting(&self, namespace: &str) -> Option<&str> {
        self.namespaces.get(namespace).filter(|trouble| trouble.failures >= LASTING).map(|trouble| trouble.why.as_str())
    }

    /// Whether `namespace` is to be closed in the way that always works.
    #[must_use]
    pub fn are_stubborn(&self, namespace: &str) -> bool {
        self.namespaces.get(namespace).is_some_and(|trouble| trouble.by_others >= STUBBORN)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn what_lasts_is_told_and_what_others_cause_closes() {
        let mut troubles = Troubles::default();
        for _ in 1..LASTING {
            troubles.add("shop", &apply::Error::Conflict, Operation::Namespace);
            assert_eq!(troubles.lasting("shop"), None);
        }
        troubles.add("shop", &apply::Error::Refused("too long".into()), Operation::Namespace);
        assert_eq!(troubles.lasting("shop"), Some("refused: too long"));
        assert!(!troubles.are_stubborn("shop"));
        for _ in LASTING..STUBBORN {
            troubles.add("shop", &apply::Error::Outrun, Operation::Namespace);
        }
        assert!(troubles.are_stubborn("shop") && !troubles.are_stubborn("other"));
        troubles.forget("shop");
        for _ in 0..STUBBORN {
            troubles.add("shop", &apply::Error::TimedOut(Duration::from_secs(10)), Operation::Namespace);
        }
        assert!(!troubles.are_stubborn("shop"), "an API server that does not answer is nobody's doing");
        troubles.forget("shop");
        assert_eq!(troubles.lasting("shop"), None);
    }
}
