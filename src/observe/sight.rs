//! Whether a kind is still seen. A watch that keeps failing tells of nothing, and what stands of its kind may be long past;
//! that must not pass for an answer.

use std::time::Duration;

use futures::{Stream, StreamExt as _};
use kube::runtime::watcher::{self, Event};
use tokio::time::{Instant, timeout_at};

use super::change::Change;

/// A watch that has told of nothing but trouble for so long no longer sees.
const LASTING: Duration = Duration::from_secs(60);
/// A list that goes on arriving may take so long.
const LONGEST_LIST: Duration = Duration::from_secs(300);
/// A watch that has not failed for so long stands, though it has had nothing to tell: one that cannot begin fails sooner, after the
/// 30 s that a connection and the beginning of an answer may take.
const QUIET: Duration = Duration::from_secs(60);

/// Trouble that a watch is in: it has failed, or began to list anew.
#[derive(Clone, Debug)]
struct Trouble {
    began: Instant,
    /// Since when nothing has arrived.
    since: Instant,
    last: Instant,
    /// Its list has begun and not come to its end.
    lists: bool,
    why: String,
}

impl Trouble {
    /// From when on the watch no longer sees.
    fn is_lost_at(&self) -> Instant {
        (self.since + LASTING).min(self.began + LONGEST_LIST)
    }
}

/// What one watch sees.
#[derive(Debug)]
pub(super) struct Sight {
    name: String,
    trouble: Option<Trouble>,
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
    /// Of a watch that has not failed; `name` is told to people.
    pub fn of(name: impl Into<String>) -> Self {
        Self { name: name.into(), trouble: None, lost: false }
    }

    /// The next that the watch says, or how it is seen; `None` where the watch has ended. Nothing is lost where this is not
    /// waited for to its end.
    pub async fn look<K>(
        &mut self,
        events: &mut (impl Stream<Item = watcher::Result<Event<K>>> + Unpin),
    ) -> Option<Look<K>> {
        let event = match self.wakes_at() {
            None => Some(events.next().await?),
            Some(at) => match timeout_at(at, events.next()).await {
                Ok(event) => Some(event?),
                Err(_) => None,
            },
        };
        let sight = match &event {
            Some(Ok(Event::InitDone | Event::Apply(_) | Event::Delete(_))) => self.sees(),
            Some(Ok(Event::Init)) => self.is_in_trouble(true, "its list does not come to an end"),
            Some(Ok(Event::InitApply(_))) => {
                let lasts = self.lasts();
                self.trouble.iter_mut().for_each(|trouble| trouble.since = Instant::now());
                lasts
            }
            Some(Err(error)) => {
                let lists = self.trouble.as_ref().is_some_and(|trouble| trouble.lists);
                self.is_in_trouble(lists, &error.to_string())
            }
            None if self.is_quiet() => self.sees(),
            None => self.lasts(),
        };
        Some(Look { event, sight })
    }

    /// When it is to be looked at again although the watch says nothing.
    fn wakes_at(&self) -> Option<Instant> {
        let trouble = self.trouble.as_ref()?;
        let stands = (!trouble.lists).then(|| trouble.last + QUIET);
        let lasts = (!self.lost).then(|| trouble.is_lost_at());
        stands.into_iter().chain(lasts).min()
    }

    fn is_quiet(&self) -> bool {
        self.trouble.as_ref().is_none_or(|trouble| !trouble.lists && trouble.last + QUIET <= Instant::now())
    }

    fn is_in_trouble(&mut self, lists: bool, why: &str) -> Option<Change> {
        let now = Instant::now();
        let (began, since) = self.trouble.as_ref().map_or((now, now), |trouble| (trouble.began, trouble.since));
        self.trouble = Some(Trouble { began, since, last: now, lists, why: why.to_owned() });
        self.lasts()
    }

    /// Whether the trouble has lasted too long by now.
    fn lasts(&mut self) -> Option<Change> {
        let trouble = self.trouble.as_ref().filter(|trouble| !self.lost && trouble.is_lost_at() <= Instant::now())?;
        self.lost = true;
        Some(Change::Sight(self.name.clone(), Some(trouble.why.clone())))
    }

    /// It is not seen, whatever a watch would say.
    pub fn loses(&mut self, why: &str) -> Option<Change> {
        (!std::mem::replace(&mut self.lost, true)).then(|| Change::Sight(self.name.clone(), Some(why.to_owned())))
    }

    /// That it is not seen, again, where it is not.
    pub fn is_still_lost(&self) -> Option<Change> {
        let why = || self.trouble.as_ref().map_or("it has not been seen since", |trouble| &trouble.why).to_owned();
        self.lost.then(|| Change::Sight(self.name.clone(), Some(why())))
    }

    /// The watch sees, or nothing is left to be seen.
    pub fn sees(&mut self) -> Option<Change> {
        self.trouble = None;
        std::mem::take(&mut self.lost).then(|| Change::Sight(self.name.clone(), None))
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
            if let Some(Change::Sight(name, lost)) = look.sight {
                assert_eq!(name, "Pod");
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
        let broken = |seconds| [(seconds, Ok(Event::Init)), (seconds, Ok(Event::InitApply(()))), (1, failure())];
        assert_eq!(told((0..40).flat_map(|_| broken(5)).collect()).await, [true]);
        assert_eq!(told((0..8).flat_map(|_| broken(50)).collect()).await, [true], "slowly");
        let cut_off = (0..8).map(|_| (30, Ok(Event::Init))).collect();
        assert_eq!(told(cut_off).await, [true], "without a word");
        let silent = vec![(1, Ok(Event::Init)), (3600, Ok(Event::InitDone))];
        assert_eq!(told(silent).await, [true, false]);
        let arriving = (0..12).map(|_| (20, Ok(Event::InitApply(()))));
        let large = [(1, Ok(Event::Init))].into_iter().chain(arriving).chain([(20, Ok(Event::InitDone))]);
        assert!(told(large.collect()).await.is_empty(), "it arrives for four minutes");
    }

    #[tokio::test(start_paused = true)]
    async fn a_watch_that_stands_and_has_nothing_to_tell_sees() {
        let seldom = (0..8).map(|_| (3600, failure())).collect();
        assert!(told(seldom).await.is_empty(), "each failure was mended at once");
        let quiet = (0..8).map(|_| (10, failure())).chain([(3600, failure())]).collect();
        assert_eq!(told(quiet).await, [true, false]);
    }
}
