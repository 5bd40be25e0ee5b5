//! How soon a namespace is looked at again.
//!
//! Every change of a pod, a policy or a slice makes its namespace due, and a tenant makes hundreds of changes a second. Where the
//! last looks found nothing to do, the next one waits a moment and sees many changes at once, so that other namespaces do not
//! wait for one that never rests; the longer, the more there is to look at. Where a step was taken, the next one is not held up
//! so. Namespaces in which there is much to look at come one after the other, whatever was found, with room between for all others: a
//! tenant can have many of them.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::Duration,
};

use tokio::time::Instant;

/// So far apart, at least and in the long run, are looks at a namespace that find nothing to do.
const APART: Duration = Duration::from_millis(200);
/// So much of that may be had at once: a change or two of what was at rest are seen at once.
const AT_ONCE: Duration = Duration::from_secs(2);
/// So many times as long as it took to look, a namespace rests: so that no one takes much more than a tenth of the time.
const SHARE: u32 = 10;
/// It rests no longer than that.
const LONGEST: Duration = Duration::from_secs(5);
/// A look that takes so long is at much.
const LONG: Duration = Duration::from_millis(20);
/// So many times as long as such a look took, no other one of the kind begins: together they take half of the time.
const SHARE_OF_ALL: u32 = 2;

/// So far apart are the looks at a namespace that do not wait: whoever turns its label to and fro gains nothing by it.
const HURRIES_APART: Duration = Duration::from_secs(30);

/// So long a namespace whose residency asks for something else by now waits at most for its turn: what is withdrawn does not stand
/// until all that takes long was looked at.
const WITHDRAWN_WITHIN: Duration = Duration::from_secs(10);

/// When each namespace may be looked at.
#[derive(Debug, Default)]
pub struct Pace {
    /// Until when the looks that found nothing to do have used up a namespace's time.
    used_until: BTreeMap<String, Instant>,
    /// How long the last look took where that was long, and when the next one is to begin, if it is due.
    long: BTreeMap<String, (Duration, Option<Instant>)>,
    /// From when on the next look that takes long may begin.
    free_at: Option<Instant>,
    /// Namespaces that were let go before their time of late to become stricter.
    hurried: BTreeSet<String>,
    /// When each of them was, in that order, so that it is forgotten again.
    hurries: VecDeque<(Instant, String)>,
    /// Namespaces in which what their residencies ask for, or where a node stands, is still to be made to hold. Tenants bring that about
    /// only by what makes nodes come and go.
    withdrawn: BTreeSet<String>,
}

impl Pace {
    /// When a namespace that is due may be looked at, where it waits as everybody.
    fn next_look(&mut self, namespace: &str, now: Instant) -> Instant {
        let rested = self.used_until.get(namespace).and_then(|used| used.checked_sub(AT_ONCE));
        let from = rested.map_or(now, |from| from.max(now));
        let Some((took, begins)) = self.long.get_mut(namespace) else { return from };
        if let Some(begins) = begins {
            return *begins;
        }
        let at = self.free_at.map_or(from, |free| free.max(from));
        self.free_at = Some(at + took.saturating_mul(SHARE_OF_ALL));
        *begins = Some(at);
        at
    }

    /// When a namespace that is due may be looked at. One that is to become stricter does not wait, once in a while; whoever makes that
    /// fail, or come again and again, waits as everybody. One in which something may be withdrawn waits no longer than a bound.
    #[must_use]
    pub fn next_look_at(&mut self, namespace: &str, becomes_stricter: bool, now: Instant) -> Instant {
        if becomes_stricter && self.may_hurry(namespace, now) {
            return now;
        }
        let at = self.next_look(namespace, now);
        if self.withdrawn.contains(namespace) { at.min(now + WITHDRAWN_WITHIN) } else { at }
    }

    /// In these namespaces something may be withdrawn.
    pub fn withdraws(&mut self, namespaces: impl IntoIterator<Item = String>) {
        self.withdrawn.extend(namespaces);
    }

    /// Everything holds in a namespace that is to hold in it.
    pub fn is_settled(&mut self, namespace: &str) {
        self.withdrawn.remove(namespace);
    }

    /// Whether a namespace was not let go before its time for a while; it is now.
    fn may_hurry(&mut self, namespace: &str, now: Instant) -> bool {
        while self.hurries.front().is_some_and(|(at, _)| *at + HURRIES_APART <= now) {
            if let Some((_, name)) = self.hurries.pop_front() {
                self.hurried.remove(&name);
            }
        }
        let is_first = self.hurried.insert(namespace.to_owned());
        if is_first {
            self.hurries.push_back((now, namespace.to_owned()));
        }
        is_first
    }

    /// A look took so long, whatever it found.
    pub fn looked(&mut self, namespace: &str, now: Instant, took: Duration) {
        if let Some((expected, Some(begins))) = self.long.get(namespace)
            && *begins > now
        {
            // It came before its time, which is others' now.
            self.free_at = self.free_at.and_then(|free| free.checked_sub(expected.saturating_mul(SHARE_OF_ALL)));
        }
        if took < LONG {
            self.long.remove(namespace);
        } else {
            self.long.insert(namespace.to_owned(), (took, None));
        }
    }

    /// A look that took so long has found nothing to do.
    pub fn rests(&mut self, namespace: &str, now: Instant, took: Duration) {
        let from = self.used_until.get(namespace).map_or(now, |used| (*used).max(now));
        self.used_until.insert(namespace.to_owned(), from + took.saturating_mul(SHARE).clamp(APART, LONGEST));
    }

    /// A step was taken.
    pub fn goes_on(&mut self, namespace: &str) {
        self.used_until.remove(namespace);
    }

    /// The namespace is gone. When it was let go before its time is kept a while: a new one may have its name at once.
    pub fn forget(&mut self, namespace: &str) {
        self.used_until.remove(namespace);
        self.long.remove(namespace);
        self.withdrawn.remove(namespace);
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
        pace.goes_on("shop");
        assert_eq!(pace.next_look("shop", later), later, "a step was taken");
    }

    #[test]
    fn what_is_to_become_stricter_does_not_wait_once() {
        let (mut pace, now, took) = (Pace::default(), Instant::now(), Duration::from_secs(1));
        for name in ["other", "shop"] {
            pace.looked(name, now, took);
        }
        assert_eq!(pace.next_look_at("other", false, now), now);
        assert_eq!(pace.next_look_at("shop", true, now), now);
        assert_eq!(pace.next_look_at("shop", true, now), now + 2 * took, "somebody makes it fail");
        pace.looked("shop", now + 2 * took, took);
        assert_eq!(pace.next_look_at("shop", false, now), now + 4 * took);
        let later = now + HURRIES_APART;
        assert_eq!(pace.next_look_at("shop", true, later), later, "that was done, and comes again");
    }

    #[test]
    fn what_is_withdrawn_does_not_wait_for_everything_that_takes_long() {
        let (mut pace, now, took) = (Pace::default(), Instant::now(), Duration::from_secs(5));
        let names = ["a", "b", "c", "d"];
        for name in names {
            pace.looked(name, now, took);
        }
        let ats = |pace: &mut Pace| names.map(|name| pace.next_look_at(name, false, now) - now);
        assert_eq!(ats(&mut pace), [0, 10, 20, 30].map(Duration::from_secs));
        pace.withdraws(["c", "d"].map(str::to_owned));
        assert_eq!(ats(&mut pace), [0, 10, 10, 10].map(Duration::from_secs));
        pace.is_settled("c");
        assert_eq!(ats(&mut pace), [0, 10, 20, 10].map(Duration::from_secs), "what is left is a tenant's doing");
        pace.forget("d");
        assert!(pace.withdrawn.is_empty());
    }

    #[test]
    fn whoever_turns_a_label_to_and_fro_hurries_nobody_and_what_hurried_is_forgotten() {
        let (mut pace, now, took) = (Pace::default(), Instant::now(), Duration::from_secs(1));
        for name in ["other", "shop"] {
            pace.looked(name, now, took);
        }
        let turn = now + 2 * took;
        assert_eq!(pace.next_look_at("other", false, now), now);
        assert_eq!(pace.next_look_at("shop", true, now), now);
        for _ in 0..5 {
            assert_eq!(pace.next_look_at("shop", false, now), turn, "it names none");
            assert_eq!(pace.next_look_at("shop", true, now), turn, "and one again");
        }
        for number in 0..100 {
            let _ = pace.next_look_at(&number.to_string(), true, now);
        }
        let later = now + HURRIES_APART;
        assert_eq!(pace.next_look_at("shop", true, later), later);
        assert_eq!((pace.hurried.len(), pace.hurries.len()), (1, 1));
    }

    #[test]
    fn where_there_is_much_to_look_at_one_comes_after_the_other() {
        let (mut pace, now, took) = (Pace::default(), Instant::now(), Duration::from_millis(500));
        for name in ["a", "b", "c"] {
            pace.looked(name, now, took);
        }
        assert_eq!(pace.next_look("a", now), now);
        assert_eq!(pace.next_look("b", now), now + 2 * took);
        assert_eq!(pace.next_look("b", now), now + 2 * took, "it is due already");
        assert_eq!(pace.next_look("shop", now), now, "there is room for others");
        pace.looked("a", now, took);
        pace.goes_on("a");
        assert_eq!(pace.next_look("a", now + took), now + 4 * took);
        pace.looked("b", now + 2 * took, Duration::from_millis(1));
        assert_eq!(pace.next_look("b", now + took), now + took, "there is less");
        pace.looked("a", now + 3 * took, took);
        assert_eq!(pace.next_look("a", now), now + 4 * took, "the time that it did not need is not lost");
        pace.forget("c");
        assert_eq!(pace.next_look("c", now), now);
    }
}
