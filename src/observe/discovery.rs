//! Which of the kinds that an API server may be without it serves, looked up for all of them at once.
//!
//! Nothing but discovery tells, and only when it is asked. A group whose server does not answer is what it was before.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use kube::{Client, api::ApiResource};
use tokio::{
    sync::{Notify, watch},
    time::{Instant, sleep, sleep_until},
};

/// How often it is looked.
const EVERY: Duration = Duration::from_secs(10);
/// How often at most, while the API server does not answer or a watch of such a kind fails.
const AGAIN: Duration = Duration::from_secs(1);

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
            let mut known = Found::default();
            loop {
                let (began, looked) = (Instant::now(), look(&client, &groups, &known).await);
                let answered = looked.is_ok();
                match looked {
                    Ok(found) => {
                        known = found;
                        sink.send_if_modified(|last| {
                            let is_new = last.as_ref() != Some(&known);
                            *last = Some(known.clone());
                            is_new
                        });
                    }
                    Err(error) => tracing::warn!(%error, "the API server does not say what it serves; trying again"),
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

async fn look(client: &Client, groups: &BTreeSet<&'static str>, before: &Found) -> kube::Result<Found> {
    let mut found = Found::default();
    for group in client.list_api_groups().await?.groups.into_iter().filter(|group| groups.contains(group.name.as_str()))
    {
        let preferred = group.preferred_version.map(|version| version.group_version);
        let mut names: Vec<String> = group.versions.into_iter().map(|version| version.group_version).collect();
        names.sort_by_key(|name| Some(name) != preferred.as_ref()); // stable: the others stay in the group's order
        let mut versions = Versions::new();
        for name in names {
            let served = match client.list_api_group_resources(&name).await {
                Ok(list) => Some(
                    list.resources.into_iter().map(|one| resource(&group.name, &name, one.name, one.kind)).collect(),
                ),
                Err(kube::Error::Api(status)) if status.code == 404 => Some(BTreeMap::new()),
                Err(error) => {
                    tracing::warn!(version = name, %error, "nobody says what is served of it");
                    let known = before.groups.get(&group.name).into_iter().flatten().find(|(known, _)| *known == name);
                    known.and_then(|(_, served)| served.clone())
                }
            };
            versions.push((name, served));
        }
        found.groups.insert(group.name, versions);
    }
    Ok(found)
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
}
