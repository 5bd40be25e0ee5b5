//! How soon a namespace is looked at again.
//!
//! Every change of a pod, a policy or a slice makes its namespace due, and a tenant makes hundreds of changes a second. Where the
//! last look found nothing to do, the next one waits a moment and sees many changes at once, so that other namespaces do not
//! wait for one that never rests; the longer, the more there is to look at. Where a step was taken, the next one is never held
//! up.

use std::{collections::BTreeMap, time::Duration};

use tokio::time::Instant;

/// So far apart, at least, are two looks at a namespace in which the first found nothing to do.
const APART: Duration = Duration::from_millis(200);
/// So many times as long as it took to look, a namespace rests: so that no one takes much more than a tenth of the time.
const SHARE: u32 = 10;

/// It rests no longer than that.
const LONGEST: Duration = Duration::from_secs(5);

/// When each namespace in which nothing was to be done may be looked at again.
#[derive(Debug, Default)]
pub struct Pace {
    until: BTreeMap<String, Instant>,
}

impl Pace {
    /// When a namespace that is due may be looked at.
    #[must_use]
    pub fn next_look(&self, namespace: &str, now: Instant) -> Instant {
        self.until.get(namespace).map_or(now, |until| (*until).max(now))
    }

    /// A look that took so long has found nothing to do.
    pub fn rests(&mut self, namespace: &str, now: Instant, took: Duration) {
        self.until.insert(namespace.to_owned(), now + took.saturating_mul(SHARE).clamp(APART, LONGEST));
    }

    /// A look found something to do, or the namespace is gone.
    pub fn forget(&mut self, namespace: &str) {
        self.until.remove(namespace);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_rests_waits() {
        let (mut pace, now) = (Pace::default(), Instant::now());
        assert_eq!(pace.next_look("shop", now), now);
        pace.rests("shop", now, Duration::from_millis(1));
        assert_eq!(pace.next_look("shop", now), now + APART);
        assert_eq!(pace.next_look("other", now), now);
        assert_eq!(pace.next_look("shop", now + APART * 2), now + APART * 2);
        pace.rests("shop", now, APART);
        assert_eq!(pace.next_look("shop", now), now + APART * SHARE, "there is much to look at");
        pace.rests("shop", now, LONGEST);
        assert_eq!(pace.next_look("shop", now), now + LONGEST);
        pace.forget("shop");
        assert_eq!(pace.next_look("shop", now), now, "a step was taken");
    }
}
