//! Publishes events beside everything else: a bounded number at a time, and a bounded number that wait.
//!
//! Events are for people, and the status says all that they say. So an API server that takes them slowly costs events, which
//! are counted, and neither memory nor any other request.

use std::{future::Future, sync::Arc, time::Duration};

use futures::{StreamExt as _, stream};
use tokio::{sync::mpsc, time::timeout};

use crate::{report::events::Telling, telemetry::Metrics};

/// So many are published at a time.
const AT_A_TIME: usize = 8;
/// So many wait: as many as one start on a large cluster tells.
const WAITING: usize = 8192;
/// So long one may take.
const LIMIT: Duration = Duration::from_secs(30);

/// Takes events to publish.
pub struct Teller {
    queue: mpsc::Sender<Telling>,
    metrics: Arc<Metrics>,
}

impl Teller {
    /// Starts publishing by `publish`; ends when it is dropped and nothing waits any more.
    pub fn start<F>(metrics: Arc<Metrics>, publish: impl Fn(Telling) -> F + Send + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let (queue, mut waiting) = mpsc::channel(WAITING);
        let tellings = stream::poll_fn(move |context| waiting.poll_recv(context));
        tokio::spawn(tellings.for_each_concurrent(AT_A_TIME, move |telling| {
            let published = timeout(LIMIT, publish(telling));
            async move {
                if published.await.is_err() {
                    tracing::debug!("an event was not published in time");
                }
            }
        }));
        Self { queue, metrics }
    }

    /// Publishes soon, or drops what finds no room.
    pub fn tell(&self, tellings: impl IntoIterator<Item = Telling>) {
        for telling in tellings {
            if self.queue.try_send(telling).is_err() {
                self.metrics.dropped_events.inc();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::domain::Subject;

    fn tellings(count: usize) -> impl Iterator<Item = Telling> {
        (0..count).map(|number| {
            let subject = Subject::namespaced("Namespace", "", &format!("shop-{number}"), "");
            Telling::normal(subject, "Confined", "Confine", "confined")
        })
    }

    #[tokio::test]
    async fn what_is_told_is_published() {
        let (published, mut seen) = mpsc::unbounded_channel();
        let teller = Teller::start(Arc::default(), move |telling| {
            published.send(telling.subject.name).unwrap();
            async {}
        });
        teller.tell(tellings(100));
        for number in 0..100 {
            assert_eq!(seen.recv().await.unwrap(), format!("shop-{number}"));
        }
    }

    #[tokio::test]
    async fn where_nothing_is_taken_events_are_dropped_and_counted() {
        let (metrics, begun): (Arc<Metrics>, Arc<AtomicUsize>) = (Arc::default(), Arc::default());
        let counted = Arc::clone(&begun);
        let teller = Teller::start(Arc::clone(&metrics), move |_| {
            counted.fetch_add(1, Ordering::Relaxed);
            std::future::pending()
        });
        teller.tell(tellings(AT_A_TIME));
        while begun.load(Ordering::Relaxed) < AT_A_TIME {
            tokio::task::yield_now().await;
        }
        teller.tell(tellings(WAITING + 5));
        tokio::task::yield_now().await;
        assert_eq!(begun.load(Ordering::Relaxed), AT_A_TIME);
        assert_eq!(metrics.dropped_events.get(), 5);
        assert!(metrics.text().contains("domicile_dropped_events_total 5"), "{}", metrics.text());
    }
}
