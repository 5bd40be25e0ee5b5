//! Kinds that an API server serves or does not, and that come and go while the operator runs.
//!
//! Such a kind is watched only while it is served, and that it is not served is said as well as what there is of it.

use std::{collections::BTreeMap, fmt::Debug, pin::pin, time::Duration};

use kube::{Api, Client, Resource, api::ApiResource, runtime::watcher};
use tokio::{sync::mpsc, time::timeout};

use super::{
    change::{Change, Delta},
    discovery::{Discovery, Found},
    sent::{Reads, Sent, Unread},
    sight::{Look, Sight},
    unread::Id,
    watch::{delta, events},
};

/// For so long it may be unknown whether a kind is served, until it is told that it is not seen.
const UNKNOWN: Duration = Duration::from_secs(10);

/// How one kind is followed.
pub(super) struct Following<Find, Open, Project, Wrap> {
    /// What is told to people.
    pub name: &'static str,
    /// The kind as it is served, if it is: `None` where nobody knows.
    pub find: Find,
    /// Its API.
    pub open: Open,
    /// Reduces an object to what matters, `None` where nothing does.
    pub project: Project,
    /// Gets `None` where the kind is not served.
    pub wrap: Wrap,
}

impl<Find, Open, Project, Wrap> Following<Find, Open, Project, Wrap> {
    /// Watches every object of the kind while it is served.
    pub fn follow<K, I, T>(self, client: &Client, mut discovery: Discovery, sink: &mpsc::Sender<Change>)
    where
        K: Resource + Reads + Clone + Debug + Send + Sync + 'static,
        K::DynamicType: Clone,
        I: Id + Send + 'static,
        T: Unread + Send + 'static,
        Find: Fn(&Found) -> Option<Option<ApiResource>> + Send + Sync + 'static,
        Open: Fn(&Client, &ApiResource) -> Api<Sent<K>> + Send + Sync + 'static,
        Project: Fn(K) -> Option<T> + Send + Sync + 'static,
        Wrap: Fn(Option<Delta<I, T>>) -> Change + Send + Sync + 'static,
    {
        let (client, sink, kind) = (client.clone(), sink.clone(), self.name);
        tokio::spawn(async move {
            let (mut sight, mut was_served) = (Sight::of(kind), false);
            loop {
                let known = match timeout(UNKNOWN, discovery.wait(&self.find)).await {
                    Ok(None) => return, // nobody looks any more
                    Ok(Some(known)) => known,
                    Err(_) => {
                        if let Some(change) = sight.loses("the API server does not say whether it serves it") {
                            let _ = sink.send(change).await; // nobody listens any more
                        }
                        if sink.is_closed() {
                            return;
                        }
                        continue;
                    }
                };
                if let Some(served) = known {
                    tracing::info!(kind, version = served.version, "served");
                    was_served = true;
                    if self.relay(&client, &served, &mut discovery, &sink, &mut sight).await.is_none() {
                        return;
                    }
                    continue;
                }
                if std::mem::take(&mut was_served) {
                    tracing::info!(kind, "served no more");
                } else {
                    tracing::debug!(kind, "not served");
                }
                for change in sight.sees().into_iter().chain([(self.wrap)(None)]) {
                    if sink.send(change).await.is_err() {
                        return;
                    }
                }
                let comes = |found: &Found| (self.find)(found).flatten().map(|_| ());
                tokio::select! {
                    come = discovery.wait(comes) => if come.is_none() { return },
                    () = sink.closed() => return,
                }
            }
        });
    }

    /// Passes on what the watch brings until the kind is served no more, or in another version; `None` where nobody listens.
    async fn relay<K, I, T>(
        &self,
        client: &Client,
        served: &ApiResource,
        discovery: &mut Discovery,
        sink: &mpsc::Sender<Change>,
        sight: &mut Sight,
    ) -> Option<()>
    where
        K: Resource + Reads + Clone + Debug + Send + 'static,
        I: Id,
        T: Unread,
        Find: Fn(&Found) -> Option<Option<ApiResource>>,
        Open: Fn(&Client, &ApiResource) -> Api<Sent<K>>,
        Project: Fn(K) -> Option<T>,
        Wrap: Fn(Option<Delta<I, T>>) -> Change,
    {
        let api = (self.open)(client, served);
        let mut events = pin!(events(self.name.to_owned(), api, watcher::Config::default()));
        let mut arriving = BTreeMap::new();
        let ends = |found: &Found| (self.find)(found).filter(|now| now.as_ref() != Some(served)).map(|_| ());
        let doubted = discovery.clone();
        let mut end = pin!(discovery.wait(ends));
        loop {
            let look = tokio::select! {
                look = sight.look(&mut events) => look?,
                end = &mut end => return end,
            };
            let Look { event, sight } = look;
            let delta = match event {
                Some(Ok(event)) => delta(event, &mut arriving, &self.project),
                Some(Err(error)) => {
                    if is_not_there(&error) {
                        tracing::debug!(kind = self.name, %error, "not there; asking whether it is served");
                    } else {
                        tracing::warn!(kind = self.name, %error, "cannot watch; what was read stands, trying again");
                    }
                    doubted.doubt();
                    None
                }
                None => None,
            };
            for change in delta.map(|delta| (self.wrap)(Some(delta))).into_iter().chain(sight) {
                sink.send(change).await.ok()?;
            }
        }
    }
}

/// Whether an API server says that it has no such path: usually its kind was taken away, which discovery tells next. Where it
/// stays so, the kind is told as not watched like any other.
fn is_not_there(error: &watcher::Error) -> bool {
    match error {
        watcher::Error::InitialListFailed(kube::Error::Api(status))
        | watcher::Error::WatchStartFailed(kube::Error::Api(status)) => status.code == 404,
        _ => false,
    }
}
