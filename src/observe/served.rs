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
pub(super) struct Following<Find, Elsewhere, Open, Project, Wrap> {
    /// What is told to people.
    pub name: &'static str,
    /// The kind as it is served, if it is: `None` where nobody knows.
    pub find: Find,
    /// Whether the same objects may be read as another kind, which takes over then what stands of this one.
    pub elsewhere: Elsewhere,
    /// Its API.
    pub open: Open,
    /// Reduces an object to what matters, `None` where nothing does.
    pub project: Project,
    /// Gets `None` where the kind is not served.
    pub wrap: Wrap,
}

impl<Find, Elsewhere, Open, Project, Wrap> Following<Find, Elsewhere, Open, Project, Wrap> {
    /// Watches every object of the kind while it is served.
    pub fn follow<K, I, T>(self, client: &Client, mut discovery: Discovery, sink: &mpsc::Sender<Change>)
    where
        K: Resource + Reads + Clone + Debug + Send + Sync + 'static,
        K::DynamicType: Clone,
        I: Id + Send + 'static,
        T: Unread + Send + 'static,
        Find: Fn(&Found) -> Option<Option<ApiResource>> + Send + Sync + 'static,
        Elsewhere: Fn(&Found) -> bool + Send + Sync + 'static,
        Open: Fn(&Client, &ApiResource) -> Api<Sent<K>> + Send + Sync + 'static,
        Project: Fn(K) -> Option<T> + Send + Sync + 'static,
        Wrap: Fn(Option<Delta<I, T>>) -> Change + Send + Sync + 'static,
    {
        let (client, sink, kind) = (client.clone(), sink.clone(), self.name);
        tokio::spawn(async move {
            let (mut sight, mut stands) = (Sight::of(kind), false);
            while let Some((served, is_elsewhere)) = self.known(&mut discovery, &sink, &mut sight).await {
                if let Some(served) = served {
                    tracing::info!(kind, version = served.version, "served");
                    stands = true;
                    if self.relay(&client, &served, &mut discovery, &sink, &mut sight).await.is_none() {
                        return;
                    }
                    continue;
                }
                // What stands of a kind that was taken over, and that it was not seen, stands until the other has been read.
                let is_taken_over = stands && is_elsewhere;
                if is_taken_over {
                    tracing::info!(kind, "served no more; the same is read as another kind");
                } else if std::mem::take(&mut stands) {
                    tracing::info!(kind, "served no more");
                } else {
                    tracing::debug!(kind, "not served");
                }
                let absent = || sight.sees().into_iter().chain([(self.wrap)(None)]);
                for change in (!is_taken_over).then(absent).into_iter().flatten() {
                    if sink.send(change).await.is_err() {
                        return;
                    }
                }
                let turns = |found: &Found| {
                    let comes = (self.find)(found)?.is_some();
                    (comes || (is_taken_over && !(self.elsewhere)(found))).then_some(())
                };
                tokio::select! {
                    turn = discovery.wait(turns) => if turn.is_none() { return },
                    () = sink.closed() => return,
                }
            }
        });
    }

    /// The kind as it is served, if it is, and whether it may be read as another; `None` where nobody looks or listens any more.
    async fn known(
        &self,
        discovery: &mut Discovery,
        sink: &mpsc::Sender<Change>,
        sight: &mut Sight,
    ) -> Option<(Option<ApiResource>, bool)>
    where
        Find: Fn(&Found) -> Option<Option<ApiResource>>,
        Elsewhere: Fn(&Found) -> bool,
    {
        let known = |found: &Found| Some(((self.find)(found)?, (self.elsewhere)(found)));
        loop {
            match timeout(UNKNOWN, discovery.wait(known)).await {
                Ok(known) => return known,
                Err(_) => {
                    if let Some(change) = sight.loses("the API server does not say whether it serves it") {
                        let _ = sink.send(change).await; // nobody listens any more
                    }
                    if sink.is_closed() {
                        return None;
                    }
                }
            }
        }
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
        if let Some(change) = sight.is_still_lost() {
            sink.send(change).await.ok()?; // another kind may have been read in the meantime, in which this had no part
        }
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

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use serde_json::{Value, json};

    use super::*;
    use crate::observe::{
        add_ons,
        fixture::{Answer, answers},
    };

    const STORED: &str = "crd.projectcalico.org/v1";
    const SHOWN: &str = "projectcalico.org/v3";

    /// What an API server answers that serves one policy of Calico's in these versions.
    fn answer(served: &[&'static str], request: &http::Uri) -> Answer {
        let Some(path) = request.path().strip_prefix("/apis/") else {
            let group = |name: &&str| {
                let (group, version) = name.split_once('/').unwrap();
                let version = json!({"groupVersion": name, "version": version});
                json!({"name": group, "versions": [version], "preferredVersion": version})
            };
            return Answer::whole(&json!({"groups": served.iter().map(group).collect::<Vec<_>>()}));
        };
        let kind = |plural: &str, kind: &str| json!({"name": plural, "singularName": "", "namespaced": true, "kind": kind, "verbs": ["list"]});
        match path.strip_suffix("/networkpolicies").or(path.strip_suffix("/networksets")) {
            None if served.contains(&path) => Answer::whole(
                &json!({"groupVersion": path, "resources": [kind("networkpolicies", "NetworkPolicy"), kind("networksets", "NetworkSet")]}),
            ),
            None => Answer::error(404, "not found"),
            Some(_) => match request.query().unwrap_or_default() {
                query if query.contains("sendInitialEvents") => Answer::error(422, "not offered"),
                query if query.contains("watch") => Answer::begun(""),
                _ => {
                    let one: Value = json!({"metadata": {"name": "wide", "namespace": "shop", "uid": "1"}});
                    Answer::whole(&json!({"metadata": {"resourceVersion": "1"}, "items": [one]}))
                }
            },
        }
    }

    /// What is told of Calico's policies within half a minute.
    async fn told(changes: &mut mpsc::Receiver<Change>) -> Vec<(&'static str, Option<usize>)> {
        let (mut told, end) = (Vec::new(), tokio::time::Instant::now() + Duration::from_secs(30));
        while let Ok(Some(change)) = tokio::time::timeout_at(end, changes.recv()).await {
            match change {
                Change::AddOn(kind, None) => told.push((kind.name, None)),
                Change::AddOn(kind, Some(Delta::Replaced(all))) => told.push((kind.name, Some(all.len()))),
                other => panic!("{other:?}"),
            }
        }
        told.retain(|(name, _)| name.starts_with("NetworkPolicy.") && name.ends_with("projectcalico.org"));
        told.sort();
        told
    }

    #[tokio::test(start_paused = true)]
    async fn what_stood_of_a_kind_that_another_group_takes_over_is_not_told_gone() {
        let served = Arc::new(Mutex::new(vec![STORED]));
        let now_served = Arc::clone(&served);
        let client = answers(move |request| {
            let answer = answer(&now_served.lock().unwrap(), &request);
            async move { answer }
        });
        let discovery = Discovery::of(&client, ["crd.projectcalico.org", "projectcalico.org"].into());
        let (sink, mut changes) = mpsc::channel(256);
        add_ons::follow(&client, &discovery, &sink);
        let (stored, shown) = ("NetworkPolicy.crd.projectcalico.org", "NetworkPolicy.projectcalico.org");
        assert_eq!(told(&mut changes).await, [(stored, Some(1)), (shown, None)]);
        *served.lock().unwrap() = vec![SHOWN];
        assert_eq!(told(&mut changes).await, [(shown, Some(1))]);
        *served.lock().unwrap() = vec![SHOWN, STORED];
        assert_eq!(told(&mut changes).await, [(stored, Some(1))]);
        *served.lock().unwrap() = vec![];
        assert_eq!(told(&mut changes).await, [(stored, None), (shown, None)]);
    }
}
