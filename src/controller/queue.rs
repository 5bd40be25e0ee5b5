//! What waits to be worked on: each key once, never twice at a time, later after every failure. Of what is due at the same
//! time, what has waited longer comes first.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    time::Duration,
};

use tokio::time::Instant;

use super::world::Work;

/// So many keys are worked on at a time.
const AT_A_TIME: usize = 32;
/// So many of them are namespaces, which tenants can make take long.
const NAMESPACES_AT_A_TIME: usize = 24;
/// The first wait after a failure; it doubles.
const FIRST_RETRY: Duration = Duration::from_millis(50);
/// The longest wait after failures.
const LAST_RETRY: Duration = Duration::from_secs(30);

/// When something is due, and how much was added before it.
type Place = (Instant, u64);

/// Keys that wait.
#[derive(Debug, Default)]
pub struct Queue {
    when: BTreeMap<Work, Place>,
    order: BTreeMap<Place, Work>,
    added: u64,
    running: BTreeSet<Work>,
    failures: HashMap<Work, u32>,
}

impl Queue {
    /// Lets `work` wait until `at`, or less where it waits already.
    pub fn add(&mut self, work: Work, at: Instant) {
        if self.when.get(&work).is_some_and(|(known, _)| *known <= at) {
            return;
        }
        self.added = self.added.saturating_add(1);
        let place = (at, self.added);
        if let Some(later) = self.when.insert(work.clone(), place) {
            self.order.remove(&later);
        }
        self.order.insert(place, work);
    }

    /// The next key that may be worked on now.
    pub fn next(&mut self, now: Instant) -> Option<Work> {
        let place = self.first().filter(|(at, _)| *at <= now)?;
        let work = self.order.remove(&place)?;
        self.when.remove(&work);
        self.running.insert(work.clone());
        Some(work)
    }

    /// When something may be worked on that may not yet; `None` where something must be done first.
    #[must_use]
    pub fn wake(&self) -> Option<Instant> {
        self.first().map(|(at, _)| at)
    }

    /// The first of what nothing but its time holds up.
    fn first(&self) -> Option<Place> {
        let namespaces = self.running.iter().filter(|work| matches!(work, Work::Namespace(_))).count();
        let (has_room, for_namespaces) = (self.running.len() < AT_A_TIME, namespaces < NAMESPACES_AT_A_TIME);
        let may_begin = |work: &Work| {
            has_room && (for_namespaces || !matches!(work, Work::Namespace(_))) && !self.running.contains(work)
        };
        self.order.iter().find(|(_, work)| may_begin(work)).map(|(place, _)| *place)
    }

    /// `work` was done.
    pub fn done(&mut self, work: &Work) {
        self.running.remove(work);
        self.failures.remove(work);
    }

    /// `work` failed: it waits, longer each time, and until `not_before`. Says how often it has failed.
    pub fn failed(&mut self, work: Work, now: Instant, not_before: Instant) -> u32 {
        self.running.remove(&work);
        let failures = self.failures.entry(work.clone()).or_default();
        *failures = failures.saturating_add(1);
        let (count, wait) = (*failures, FIRST_RETRY.saturating_mul(1 << (*failures - 1).min(16)).min(LAST_RETRY));
        self.add(work, not_before.max(now + wait));
        count
    }

    /// How many wait.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.when.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(name: &str) -> Work {
        Work::Node(name.to_owned())
    }

    #[test]
    fn a_key_is_worked_on_once_at_a_time() {
        let (mut queue, now) = (Queue::default(), Instant::now());
        queue.add(node("a"), now);
        queue.add(node("a"), now);
        assert_eq!(queue.next(now), Some(node("a")));
        queue.add(node("a"), now);
        assert_eq!(queue.next(now), None, "it is running");
        queue.done(&node("a"));
        assert_eq!(queue.next(now), Some(node("a")), "it became due meanwhile");
    }

    #[test]
    fn a_failure_waits_longer_each_time() {
        let (mut queue, now) = (Queue::default(), Instant::now());
        queue.add(node("a"), now);
        queue.next(now);
        assert_eq!(queue.failed(node("a"), now, now), 1);
        assert_eq!(queue.next(now), None);
        let later = queue.wake().unwrap();
        assert_eq!(queue.next(later), Some(node("a")));
        assert_eq!(queue.failed(node("a"), later, later), 2);
        assert!(queue.wake().unwrap() - later > later - now);
    }

    #[test]
    fn a_failure_comes_no_sooner_than_its_turn() {
        let (mut queue, now) = (Queue::default(), Instant::now());
        let turn = now + Duration::from_secs(60);
        queue.add(node("a"), now);
        queue.next(now);
        queue.failed(node("a"), now, turn);
        assert_eq!(queue.wake(), Some(turn));
    }

    #[test]
    fn what_takes_long_leaves_room_and_a_full_queue_wakes_nobody() {
        let (mut queue, now) = (Queue::default(), Instant::now());
        for number in 0..100 {
            queue.add(Work::Namespace(format!("shop-{number}")), now);
        }
        while queue.next(now).is_some() {}
        assert_eq!((queue.running.len(), queue.wake()), (NAMESPACES_AT_A_TIME, None));
        for number in 0..100 {
            queue.add(node(&number.to_string()), now);
        }
        assert_eq!(queue.wake(), Some(now));
        while queue.next(now).is_some() {}
        assert_eq!((queue.running.len(), queue.wake()), (AT_A_TIME, None));
        queue.done(&Work::Namespace("shop-0".into()));
        assert_eq!(queue.next(now), Some(Work::Namespace("shop-24".into())));
    }

    #[test]
    fn of_two_that_are_due_together_the_one_that_was_added_first_is_first() {
        let (mut queue, now) = (Queue::default(), Instant::now());
        queue.add(node("b"), now);
        queue.add(node("a"), now);
        assert_eq!((queue.next(now), queue.next(now)), (Some(node("b")), Some(node("a"))));
    }

    #[test]
    fn the_earlier_of_two_times_holds() {
        let (mut queue, now) = (Queue::default(), Instant::now());
        queue.add(node("a"), now + Duration::from_secs(1));
        queue.add(node("a"), now);
        assert_eq!(queue.next(now), Some(node("a")));
        assert_eq!(queue.waiting(), 0);
    }
}
