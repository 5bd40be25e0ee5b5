//! How soon a namespace is looked at again.
//!
//! Every change of a pod, a policy or a slice makes its namespace due, and a tenant makes hundreds of changes a second. Where the
//! last looks found nothing to do, the next one waits a moment and sees many changes at once, so that other namespaces do not
//! wait for one that never rests; the longer, the more there is to look at. Where a step was taken, the next one is never held
//! up.

use std::{collections::BTreeMap, time::Duration};

use tokio::time::Instant;

/// So far apart, at least and in the long run, are looks at a namespace that find nothing to do.
const APART: Duration = Duration::from_millis(200);
/// So much of that may be had at once: a change or two of what was at rest are seen at once.
const AT_ONCE: Duration = Duration::from_secs(2);
/// So many times as long as it took to look, a namespace rests: so that no one takes much more than a tenth of the time.
const SHARE: u32 = 10;
/// It rests no longer than that.
const LONGEST: Duration = Duration::from_secs(5);

/// Until when the looks at each namespace that found nothing to do have used up its time.
#[derive(Debug, Default)]
pub struct Pace {
    used_until: BTreeMap<String, Instant>,
}

impl Pace {
    /// When a namespace that is due may be looked at.
    #[must_use]
    pub fn next_look(&self, namespace: &str, now: Instant) -> Instant {
        self.used_until.get(namespace).and_then(|used| used.checked_sub(AT_ONCE)).map_or(now, |from| from.max(now))
    }

    /// A look that took so long has found nothing to do.
    pub fn rests(&mut self, namespace: &str, now: Instant, took: Duration) {
        let from = self.used_until.get(namespace).map_or(now, |used| (*used).max(now));
        self.used_until.insert(namespace.to_owned(), from + took.saturating_mul(SHARE).clamp(APART, LONGEST));
    }

    /// A look found something to do, or the namespace is gone.
    pub fn forget(&mut self, namespace: &str) {
        self.used_until.remove(namespace);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_never_rests_waits() {
        let (mut pace, now) = (Pace::default(), Instant::now());
        for _ in 0..10 {
            assert_eq!(pace.next_look("shop", now), now);
            pace.rests("shop", now, Duration::from_millis(1));
        }
        pace.rests("shop", now, Duration::from_millis(1));
        assert_eq!(pace.next_look("shop", now), now + APART, "in the long run");
        assert_eq!(pace.next_look("other", now), now);
        let later = now + Duration::from_secs(60);
        assert_eq!(pace.next_look("shop", later), later);
        pace.rests("shop", later, Duration::from_millis(400));
        assert_eq!(pace.next_look("shop", later), later + AT_ONCE, "there is much to look at");
        pace.rests("shop", later, LONGEST);
        assert_eq!(pace.next_look("shop", later), later + AT_ONCE + LONGEST);
        pace.forget("shop");
        assert_eq!(pace.next_look("shop", later), later, "a step was taken");
    }
}
