//! What waits to be worked on: each key once, never twice at a time, later after every failure.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    time::Duration,
};

use tokio::time::Instant;

use super::world::Work;

/// So many keys are worked on at a time.
const AT_A_TIME: usize = 32;
/// The first wait after a failure; it doubles.
const FIRST_RETRY: Duration = Duration::from_millis(50);
/// The longest wait after failures.
const LAST_RETRY: Duration = Duration::from_secs(30);

/// Keys that wait.
#[derive(Debug, Default)]
pub struct Queue {
    when: BTreeMap<Work, Instant>,
    order: BTreeSet<(Instant, Work)>,
    running: BTreeSet<Work>,
    failures: HashMap<Work, u32>,
}

impl Queue {
    /// Lets `work` wait until `at`, or less where it waits already.
    pub fn add(&mut self, work: Work, at: Instant) {
        if self.when.get(&work).is_some_and(|known| *known <= at) {
            return;
        }
        if let Some(later) = self.when.insert(work.clone(), at) {
            self.order.remove(&(later, work.clone()));
        }
        self.order.insert((at, work));
    }

    /// The next key that may be worked on now.
    pub fn next(&mut self, now: Instant) -> Option<Work> {
        if self.running.len() >= AT_A_TIME {
            return None;
        }
        let free = |(at, work): &&(Instant, Work)| *at <= now && !self.running.contains(work);
        let (at, work) = self.order.iter().take_while(|(at, _)| *at <= now).find(free)?.clone();
        self.order.remove(&(at, work.clone()));
        self.when.remove(&work);
        self.running.insert(work.clone());
        Some(work)
    }

    /// When something may be worked on that may not yet.
    #[must_use]
    pub fn wake(&self) -> Option<Instant> {
        self.order.iter().find(|(_, work)| !self.running.contains(work)).map(|(at, _)| *at)
    }

    /// `work` was done.
    pub fn done(&mut self, work: &Work) {
        self.running.remove(work);
        self.failures.remove(work);
    }

    /// `work` failed: it waits, longer each time. Says how often it has failed.
    pub fn failed(&mut self, work: Work, now: Instant) -> u32 {
        self.running.remove(&work);
        let failures = self.failures.entry(work.clone()).or_default();
        *failures = failures.saturating_add(1);
        let (count, wait) = (*failures, FIRST_RETRY.saturating_mul(1 << (*failures - 1).min(16)).min(LAST_RETRY));
        self.add(work, now + wait);
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
        assert_eq!(queue.failed(node("a"), now), 1);
        assert_eq!(queue.next(now), None);
        let later = queue.wake().unwrap();
        assert_eq!(queue.next(later), Some(node("a")));
        assert_eq!(queue.failed(node("a"), later), 2);
        assert!(queue.wake().unwrap() - later > later - now);
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
