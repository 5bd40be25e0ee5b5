//! Kinds that an API server serves or does not, and that come and go while the operator runs.
//!
//! Such a kind is watched only while it is served, and that it is not served is said as well as what there is of it.

use std::{collections::BTreeMap, fmt::Debug, pin::pin, time::Duration};

use kube::{Api, Client, Resource, runtime::watcher};
use tokio::{
    sync::mpsc,
    time::{Instant, interval_at, sleep},
};

use super::{
    change::{Change, Delta},
    sent::{Reads, Sent, Unread},
    sight::{Look, Sight},
    unread::Id,
    watch::{delta, events},
};

/// How often it is looked whether a kind is served. Nothing but discovery tells.
const EVERY: Duration = Duration::from_secs(10);
/// How often, while the API server does not answer that.
const AGAIN: Duration = Duration::from_secs(1);

/// Which kind of which group and version.
#[derive(Clone, Copy)]
pub(super) struct Served {
    pub api_version: &'static str,
    pub kind: &'static str,
}

/// Watches every object of the kind while it is served; `wrap` gets `None` where it is not.
pub(super) fn follow<K, I, T>(
    client: &Client,
    served: Served,
    api: Api<Sent<K>>,
    sink: &mpsc::Sender<Change>,
    project: impl Fn(K) -> Option<T> + Send + Sync + 'static,
    wrap: fn(Option<Delta<I, T>>) -> Change,
) where
    K: Resource + Reads + Clone + Debug + Send + Sync + 'static,
    K::DynamicType: Clone,
    I: Id + Send + 'static,
    T: Unread + Send + 'static,
{
    let (client, sink) = (client.clone(), sink.clone());
    tokio::spawn(async move {
        let (kind, mut said) = (served.kind, false);
        loop {
            let is_served = served.by(&client).await;
            if is_served == Some(true) {
                tracing::info!(kind, "served");
                relay(&client, served, api.clone(), &sink, &project, wrap).await;
                said = false;
            }
            if is_served.is_some() && !said {
                tracing::info!(kind, "not served");
                if sink.send(wrap(None)).await.is_err() {
                    return;
                }
                said = true;
            }
            tokio::select! {
                () = sleep(if is_served.is_some() { EVERY } else { AGAIN }) => {}
                () = sink.closed() => return,
            }
        }
    });
}

/// Passes on what the watch brings until the kind is served no more, or nobody listens.
async fn relay<K, I, T>(
    client: &Client,
    served: Served,
    api: Api<Sent<K>>,
    sink: &mpsc::Sender<Change>,
    project: &impl Fn(K) -> Option<T>,
    wrap: fn(Option<Delta<I, T>>) -> Change,
) where
    K: Resource + Reads + Clone + Debug + Send + 'static,
    I: Id,
    T: Unread,
{
    let mut events = pin!(events(served.kind.to_owned(), api, watcher::Config::default()));
    let mut looks = interval_at(Instant::now() + EVERY, EVERY);
    let (mut sight, mut arriving) = (Sight::of(served.kind), BTreeMap::new());
    loop {
        let look = tokio::select! {
            look = sight.look(&mut events) => look,
            _ = looks.tick() => {
                if served.by(client).await == Some(false) {
                    break;
                }
                continue;
            }
        };
        let Some(Look { event, sight }) = look else { break };
        let delta = match event {
            Some(Ok(event)) => delta(event, &mut arriving, project),
            Some(Err(error)) => {
                if served.by(client).await == Some(false) {
                    break;
                }
                tracing::warn!(kind = served.kind, %error, "cannot watch; what was read stands, trying again");
                None
            }
            None => None,
        };
        for change in delta.map(|delta| wrap(Some(delta))).into_iter().chain(sight) {
            if sink.send(change).await.is_err() {
                return;
            }
        }
    }
    if let Some(change) = sight.sees() {
        let _ = sink.send(change).await; // nobody listens any more
    }
}

impl Served {
    /// Whether the API server says that it serves the kind; `None` where it says nothing.
    async fn by(self, client: &Client) -> Option<bool> {
        match client.list_api_group_resources(self.api_version).await {
            Ok(list) => Some(list.resources.iter().any(|resource| resource.kind == self.kind)),
            Err(kube::Error::Api(status)) if status.code == 404 => Some(false),
            Err(_) => None,
        }
    }
}
