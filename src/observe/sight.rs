//! Whether a kind is still seen. A watch that keeps failing tells of nothing, and what stands of its kind may be long past;
//! that must not pass for an answer.

use std::time::Duration;

use futures::{Stream, StreamExt as _};
use kube::runtime::watcher::{self, Event};
use tokio::time::{Instant, timeout_at};

use super::change::Change;

/// A watch that has had nothing but failures for so long no longer sees.
const LASTING: Duration = Duration::from_secs(60);
/// A watch that has not failed for so long stands, though it has had nothing to tell. Longer than a connection takes to fail.
const QUIET: Duration = Duration::from_secs(45);

/// How long a watch has been failing.
#[derive(Clone, Copy, Debug)]
struct Failing {
    since: Instant,
    last: Instant,
}

/// What one watch sees.
#[derive(Debug)]
pub(super) struct Sight {
    kind: String,
    failing: Option<Failing>,
    lost: bool,
}

/// What came of waiting for a watch.
pub(super) struct Look<K> {
    /// What it said, if it did.
    pub event: Option<watcher::Result<Event<K>>>,
    /// That it no longer sees, or does again.
    pub sight: Option<Change>,
}

impl Sight {
    /// Of a watch that has not failed.
    pub fn of(kind: impl Into<String>) -> Self {
        Self { kind: kind.into(), failing: None, lost: false }
    }

    /// The next that the watch says, or how it is seen; `None` where the watch has ended. Nothing is lost where this is not
    /// waited for to its end.
    pub async fn look<K>(
        &mut self,
        events: &mut (impl Stream<Item = watcher::Result<Event<K>>> + Unpin),
    ) -> Option<Look<K>> {
        let event = match self.failing {
            None => Some(events.next().await?),
            Some(failing) => match timeout_at(failing.last + QUIET, events.next()).await {
                Ok(event) => Some(event?),
                Err(_) => None,
            },
        };
        let sight = match &event {
            Some(Err(error)) => self.fails(&error.to_string()),
            // A list that breaks off begins like one that arrives.
            Some(Ok(Event::Init | Event::InitApply(_))) => None,
            Some(Ok(Event::InitDone | Event::Apply(_) | Event::Delete(_))) | None => self.sees(),
        };
        Some(Look { event, sight })
    }

    fn fails(&mut self, error: &str) -> Option<Change> {
        let now = Instant::now();
        let since = self.failing.map_or(now, |failing| failing.since);
        self.failing = Some(Failing { since, last: now });
        let news = !self.lost && now - since >= LASTING;
        self.lost |= news;
        news.then(|| Change::Sight(self.kind.clone(), Some(error.to_owned())))
    }

    /// The watch sees, or nothing is left to be seen.
    pub fn sees(&mut self) -> Option<Change> {
        self.failing = None;
        std::mem::take(&mut self.lost).then(|| Change::Sight(self.kind.clone(), None))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::stream;

    type Said = watcher::Result<Event<()>>;

    fn failure() -> Said {
        Err(watcher::Error::NoResourceVersion)
    }

    /// What is told of these, each said so many seconds after the one before.
    async fn told(said: Vec<(u64, Said)>) -> Vec<bool> {
        let each = stream::iter(said).then(|(seconds, said)| async move {
            tokio::time::sleep(Duration::from_secs(seconds)).await;
            said
        });
        let (mut events, mut sight, mut told) = (Box::pin(each), Sight::of("Pod"), Vec::new());
        while let Some(look) = sight.look(&mut events).await {
            if let Some(Change::Sight(kind, lost)) = look.sight {
                assert_eq!(kind, "Pod");
                told.push(lost.is_some());
            }
        }
        told
    }

    #[tokio::test(start_paused = true)]
    async fn a_watch_that_fails_for_a_minute_sees_no_more_until_it_says_something() {
        let failing = || (0..8).map(|_| (10, failure()));
        assert!(told(failing().take(6).collect()).await.is_empty(), "fifty seconds");
        assert_eq!(told(failing().collect()).await, [true]);
        let mended = failing().chain([(1, Ok(Event::Init)), (1, Ok(Event::InitDone))]).collect();
        assert_eq!(told(mended).await, [true, false]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_list_that_never_ends_is_none() {
        let broken = || [(5, Ok(Event::Init)), (5, Ok(Event::InitApply(()))), (1, failure())];
        assert_eq!(told((0..8).flat_map(|_| broken()).collect()).await, [true]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_watch_that_stands_and_has_nothing_to_tell_sees() {
        let seldom = (0..8).map(|_| (3600, failure())).collect();
        assert!(told(seldom).await.is_empty(), "each failure was mended at once");
        let quiet = (0..8).map(|_| (10, failure())).chain([(3600, failure())]).collect();
        assert_eq!(told(quiet).await, [true, false]);
    }
}
