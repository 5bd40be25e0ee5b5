//! Which of the kinds that an API server may be without it serves, looked up for all of them at once.
//!
//! Nothing but discovery tells, and only when it is asked. A group whose server does not answer is what it was before.

use std::{
    collections::{BTreeMap, BTreeSet},
    future::Future,
    sync::Arc,
    time::Duration,
};

use futures::{StreamExt as _, stream};
use kube::{Client, api::ApiResource};
use tokio::{
    sync::{Notify, watch},
    time::{Instant, sleep, sleep_until, timeout},
};

/// How often it is looked.
const EVERY: Duration = Duration::from_secs(10);
/// How often at most, while the API server does not answer or a watch of such a kind fails.
const AGAIN: Duration = Duration::from_secs(1);

/// So long one answer may take, to its end: a group's server that says half of one holds up no other for longer.
const ANSWER: Duration = Duration::from_secs(5);
/// So many versions of groups are asked for at a time.
const AT_A_TIME: usize = 4;

/// Whom to ask for all groups.
const ALL: &str = "/apis";

/// What each version of a group serves, by the name in the paths of the API; `None` where its server did not answer.
type Versions = Vec<(String, Option<BTreeMap<String, ApiResource>>)>;

/// What was found.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Found {
    groups: BTreeMap<String, Versions>,
}

impl Found {
    /// The kind, as the group serves it in the version that it prefers of those that have it: `Some(None)` where it does not serve
    /// it, `None` where nobody knows.
    pub fn find(&self, group: &str, plural: &str) -> Option<Option<ApiResource>> {
        self.find_where(group, plural, |_| true)
    }

    /// The same in this version alone.
    pub fn find_in(&self, group: &str, version: &str, plural: &str) -> Option<Option<ApiResource>> {
        self.find_where(group, plural, |name| name.rsplit('/').next() == Some(version))
    }

    fn find_where(&self, group: &str, plural: &str, is: impl Fn(&str) -> bool) -> Option<Option<ApiResource>> {
        let versions = || self.groups.get(group).into_iter().flatten().filter(|(name, _)| is(name));
        match versions().find_map(|(_, served)| served.as_ref()?.get(plural)) {
            None if versions().any(|(_, served)| served.is_none()) => None,
            found => Some(found.cloned()),
        }
    }
}

/// Who does not say what it serves, told once until it does.
#[derive(Debug, Default)]
struct Silent(BTreeSet<String>);

impl Silent {
    /// Takes in whether `whom` answered; whether that is news to be warned of.
    fn is_news(&mut self, whom: &str, answered: bool) -> bool {
        if answered {
            self.0.remove(whom);
            return false;
        }
        self.0.insert(whom.to_owned())
    }
}

/// What is served, kept current.
#[derive(Clone)]
pub(super) struct Discovery {
    found: watch::Receiver<Option<Found>>,
    doubt: Arc<Notify>,
}

impl Discovery {
    /// Looks after these groups while anybody wants to know.
    pub fn of(client: &Client, groups: BTreeSet<&'static str>) -> Self {
        let (client, doubt) = (client.clone(), Arc::new(Notify::new()));
        let (sink, found) = watch::channel(None);
        let doubted = Arc::clone(&doubt);
        tokio::spawn(async move {
            let (mut known, mut silent) = (Found::default(), Silent::default());
            loop {
                let (began, looked) = (Instant::now(), look(&client, &groups, &known, &mut silent).await);
                let answered = looked.is_ok();
                let is_news = silent.is_news(ALL, answered);
                match looked {
                    Ok(found) => {
                        known = found;
                        sink.send_if_modified(|last| {
                            let is_new = last.as_ref() != Some(&known);
                            *last = Some(known.clone());
                            is_new
                        });
                    }
                    Err(error) if is_news => {
                        tracing::warn!(error, "the API server does not say what it serves; trying again");
                    }
                    Err(_) => {}
                }
                tokio::select! {
                    () = sleep(if answered { EVERY } else { AGAIN }) => {}
                    () = doubted.notified() => sleep_until(began + AGAIN).await,
                    () = sink.closed() => return,
                }
            }
        });
        Self { found, doubt }
    }

    /// Waits until `is` says so of what was found; `None` where nobody looks any more.
    pub async fn wait<T>(&mut self, is: impl Fn(&Found) -> Option<T>) -> Option<T> {
        let found = self.found.wait_for(|found| found.as_ref().and_then(&is).is_some()).await.ok()?;
        found.as_ref().and_then(&is)
    }

    /// Has it looked at soon: a watch failed, and its kind may be gone.
    pub fn doubt(&self) {
        self.doubt.notify_one();
    }
}

/// Asks for all of them.
///
/// # Errors
/// Why the API server does not say which groups there are.
async fn look(
    client: &Client,
    groups: &BTreeSet<&'static str>,
    before: &Found,
    silent: &mut Silent,
) -> Result<Found, String> {
    let mut found = Found::default();
    let mut versions = Vec::new();
    let all = in_time(client.list_api_groups()).await.map_err(|silence| silence.to_string())?.groups;
    for group in all.into_iter().filter(|group| groups.contains(group.name.as_str())) {
        let preferred = group.preferred_version.map(|version| version.group_version);
        let mut names: Vec<String> = group.versions.into_iter().map(|version| version.group_version).collect();
        names.sort_by_key(|name| Some(name) != preferred.as_ref()); // stable: the others stay in the group's order
        versions.extend(names.into_iter().map(|name| (group.name.clone(), name)));
        found.groups.insert(group.name, Versions::new());
    }
    let asked = versions.into_iter().map(|(group, name)| async move {
        let answer = serves(client, &group, &name).await;
        (group, name, answer)
    });
    let mut answers = stream::iter(asked).buffered(AT_A_TIME);
    while let Some((group, name, answer)) = answers.next().await {
        let is_news = silent.is_news(&name, answer.is_ok());
        let served = match answer {
            Ok(served) => Some(served),
            Err(error) => {
                if is_news {
                    tracing::warn!(version = name, error, "nobody says what is served of it; trying again");
                }
                let known = before.groups.get(&group).into_iter().flatten().find(|(known, _)| *known == name);
                known.and_then(|(_, served)| served.clone())
            }
        };
        found.groups.entry(group).or_default().push((name, served));
    }
    Ok(found)
}

/// What is served of one version of a group; nothing of one that is not there any more.
///
/// # Errors
/// Why nobody says.
async fn serves(client: &Client, group: &str, name: &str) -> Result<BTreeMap<String, ApiResource>, String> {
    match in_time(client.list_api_group_resources(name)).await {
        Ok(list) => Ok(list.resources.into_iter().map(|one| resource(group, name, one.name, one.kind)).collect()),
        Err(Silence::Said(kube::Error::Api(status))) if status.code == 404 => Ok(BTreeMap::new()),
        Err(silence) => Err(silence.to_string()),
    }
}

/// Why an answer is none.
#[derive(Debug, thiserror::Error)]
enum Silence {
    /// It is an error.
    #[error(transparent)]
    Said(#[from] kube::Error),
    /// It does not come to its end.
    #[error("no whole answer within {ANSWER:?}")]
    TimedOut,
}

async fn in_time<T>(answer: impl Future<Output = kube::Result<T>>) -> Result<T, Silence> {
    Ok(timeout(ANSWER, answer).await.map_err(|_| Silence::TimedOut)??)
}

fn resource(group: &str, api_version: &str, plural: String, kind: String) -> (String, ApiResource) {
    let version = api_version.rsplit('/').next().unwrap_or_default().to_owned();
    let resource = ApiResource {
        group: group.to_owned(),
        version,
        api_version: api_version.to_owned(),
        kind,
        plural: plural.clone(),
    };
    (plural, resource)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::fixture::{Answer, answers};
    use serde_json::json;

    fn served(api_version: &str, plurals: &[&str]) -> (String, Option<BTreeMap<String, ApiResource>>) {
        let all = plurals.iter().map(|plural| resource("g", api_version, (*plural).to_owned(), "Kind".to_owned()));
        (api_version.to_owned(), Some(all.collect()))
    }

    fn found(versions: Versions) -> Found {
        Found { groups: [("g".to_owned(), versions)].into() }
    }

    #[test]
    fn a_kind_is_taken_in_the_first_version_that_has_it() {
        let found = found(vec![served("g/v1", &["routes"]), served("g/v1beta1", &["routes", "grants"])]);
        let version = |plural| found.find("g", plural).map(|kind| kind.map(|kind| kind.version));
        assert_eq!(version("routes"), Some(Some("v1".to_owned())));
        assert_eq!(version("grants"), Some(Some("v1beta1".to_owned())));
        assert_eq!(version("other"), Some(None));
        assert_eq!(found.find_in("g", "v1", "grants"), Some(None));
        assert!(found.find_in("g", "v1beta1", "grants").unwrap().is_some());
        assert_eq!(found.find("h", "routes"), Some(None));
    }

    #[test]
    fn while_a_version_is_not_told_of_a_kind_that_none_has_is_unknown() {
        let found = found(vec![("g/v1".to_owned(), None), served("g/v1beta1", &["routes"])]);
        assert!(found.find("g", "routes").unwrap().is_some());
        assert_eq!(found.find("g", "grants"), None);
        assert_eq!(found.find_in("g", "v1beta1", "grants"), Some(None));
    }

    /// A cluster of groups that are named by letters; each takes a second to answer, and some never end what they say.
    async fn looked(groups: &[&'static str], stalled: &'static [&'static str], before: &Found) -> (Found, Duration) {
        let all = groups.iter().map(|group| {
            let version = json!({"groupVersion": format!("{group}/v1"), "version": "v1"});
            json!({"name": group, "versions": [version], "preferredVersion": version})
        });
        let all = json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": all.collect::<Vec<_>>()});
        let client = answers(move |request| {
            let all = all.clone();
            async move {
                sleep(Duration::from_secs(1)).await;
                match request.path().strip_prefix("/apis/") {
                    None => Answer::whole(&all),
                    Some(version) if stalled.contains(&version) => Answer::begun("{\"kind\": "),
                    Some(version) => Answer::whole(
                        &json!({"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": version, "resources": [
                            {"name": "routes", "singularName": "route", "namespaced": true, "kind": "Route", "verbs": ["list"]}
                        ]}),
                    ),
                }
            }
        });
        let began = Instant::now();
        let found = look(&client, &groups.iter().copied().collect(), before, &mut Silent::default()).await.unwrap();
        (found, began.elapsed())
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_does_not_end_holds_up_no_other_and_groups_are_asked_a_few_at_a_time() {
        let groups = ["a", "b", "c", "d", "e", "f", "g", "h"];
        let (before, took) = looked(&groups, &[], &Found::default()).await;
        assert!(before.find("h", "routes").flatten().is_some());
        assert_eq!(took.as_secs(), 3, "the list, and twice four");
        let (found, took) = looked(&groups, &["a/v1"], &Found::default()).await;
        assert_eq!(found.find("a", "routes"), None, "nobody knows");
        assert!(found.find("h", "routes").flatten().is_some());
        assert!(took <= ANSWER + Duration::from_secs(3), "{took:?}");
        assert!(looked(&groups, &["a/v1"], &before).await.0 == before, "it is what it was");
    }

    #[test]
    fn who_does_not_answer_is_told_once() {
        let mut silent = Silent::default();
        let told: Vec<bool> =
            [false, false, true, false].into_iter().map(|answered| silent.is_news("g/v1", answered)).collect();
        assert_eq!(told, [true, false, false, true]);
        assert!(silent.is_news("h/v1", false));
    }
}
