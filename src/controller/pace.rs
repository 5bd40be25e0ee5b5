//! How soon a namespace is looked at again.
//!
//! Every change of a pod, a policy or a slice makes its namespace due, and a tenant makes hundreds of changes a second. Where the
//! last look found nothing to do, the next one waits a moment and sees many changes at once, so that other namespaces do not
//! wait for one that never rests. Where a step was taken, the next one is never held up.

use std::{collections::BTreeMap, time::Duration};

use tokio::time::Instant;

/// So far apart are two looks at a namespace in which the first found nothing to do.
const APART: Duration = Duration::from_millis(200);

/// When it was last seen that nothing is to be done, by namespace.
#[derive(Debug, Default)]
pub struct Pace {
    rested: BTreeMap<String, Instant>,
}

impl Pace {
    /// When a namespace that is due may be looked at.
    #[must_use]
    pub fn next_look(&self, namespace: &str, now: Instant) -> Instant {
        self.rested.get(namespace).map_or(now, |at| (*at + APART).max(now))
    }

    /// A look found nothing to do.
    pub fn rests(&mut self, namespace: &str, now: Instant) {
        self.rested.insert(namespace.to_owned(), now);
    }

    /// A look found something to do, or the namespace is gone.
    pub fn forget(&mut self, namespace: &str) {
        self.rested.remove(namespace);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_rests_waits() {
        let (mut pace, now) = (Pace::default(), Instant::now());
        assert_eq!(pace.next_look("shop", now), now);
        pace.rests("shop", now);
        assert_eq!(pace.next_look("shop", now), now + APART);
        assert_eq!(pace.next_look("other", now), now);
        assert_eq!(pace.next_look("shop", now + APART * 2), now + APART * 2);
        pace.forget("shop");
        assert_eq!(pace.next_look("shop", now), now, "a step was taken");
    }
}
