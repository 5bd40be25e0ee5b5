//! What no watch brings: whether the installed policies are those of this build, and whether the API server enforces them.
//!
//! Looked at again and again, often until the canary answers clearly, seldom afterwards. Reading only.

use std::time::Duration;

use kube::Client;
use tokio::{
    sync::watch,
    time::{Instant, timeout},
};

use super::{
    canary,
    facts::{Served, facts, served, serves_mutating_policies},
    policies::{self, Installed},
};
use crate::{api::data_residency::Routes, domain::Mutation, policies::Tokens, report::routes::routes};

/// The wait while the canary has not answered clearly: its namespace may just be being confined.
const SOON: Duration = Duration::from_millis(300);
/// The wait otherwise.
const LATER: Duration = Duration::from_secs(10);
/// So long a look may take; what was seen before it is past.
const LIMIT: Duration = Duration::from_secs(30);
/// So long it may take to say what is served, of which nothing that is enforced depends.
const ANSWER: Duration = Duration::from_secs(5);
/// So often the canary must be found unpinned in a row before that counts, where this operator serves the webhook: it has
/// just started, or a question was lost. Every confinement says what mutates, so nothing is written for a moment's sake.
const MISSES: u32 = 20;

/// What was seen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Surroundings {
    /// The installed policies; `None` where they could not be read.
    pub installed: Option<Installed>,
    /// The canary.
    pub canary: canary::Seen,
    /// How the ways out stand in this cluster; nothing where that could not be told.
    pub routes: Vec<Routes>,
}

/// Starts looking; ends when the receiver is dropped. `has_webhook` says whether this operator serves the webhook.
#[must_use]
pub fn start(client: &Client, own_namespace: &str, has_webhook: bool) -> watch::Receiver<Option<Surroundings>> {
    let (sink, seen) = watch::channel(None);
    let (client, own_namespace) = (client.clone(), own_namespace.to_owned());
    tokio::spawn(async move {
        let (mut misses, mut known) = (0, Known::default());
        loop {
            known.ask(&client).await;
            let mut looked = timeout(LIMIT, look(&client, &own_namespace)).await.unwrap_or_else(|_| {
                tracing::warn!("the API server does not say how the admission policies stand");
                Look::default()
            });
            looked.canary.mutation = looked.canary.mutation.and_then(|seen| believed(seen, &mut misses, has_webhook));
            let found = looked.surroundings(&mut known);
            let clear = found.installed.is_some() && found.canary.refused && found.canary.mutation.is_some();
            sink.send_if_modified(|known| {
                let news = known.as_ref() != Some(&found);
                *known = Some(found);
                news
            });
            tokio::select! {
                () = tokio::time::sleep(if clear { LATER } else { SOON }) => {}
                () = sink.closed() => return,
            }
        }
    });
    seen
}

/// What is made of what was seen to mutate: nothing, while the webhook may yet answer.
fn believed(seen: Mutation, misses: &mut u32, has_webhook: bool) -> Option<Mutation> {
    if seen != Mutation::Nothing || !has_webhook {
        *misses = 0;
        return Some(seen);
    }
    *misses = misses.saturating_add(1);
    (*misses >= MISSES).then_some(seen)
}

/// What changes seldom: it is asked for seldom, and a request that fails makes it no other.
#[derive(Debug, Default)]
struct Known {
    served: Option<Served>,
    asked: Option<Instant>,
    values: Option<Tokens>,
}

impl Known {
    async fn ask(&mut self, client: &Client) {
        if self.asked.is_some_and(|asked| asked.elapsed() < LATER) {
            return;
        }
        self.asked = Some(Instant::now());
        match timeout(ANSWER, served(client)).await {
            Ok(new) => self.served = answer("what it serves", new).or(self.served.take()),
            Err(_) => tracing::warn!("the API server does not say what it serves"),
        }
    }
}

/// What one look brings.
#[derive(Debug, Default)]
struct Look {
    installed: Option<Installed>,
    canary: canary::Seen,
    values: Option<Tokens>,
}

impl Look {
    fn surroundings(self, known: &mut Known) -> Surroundings {
        let Self { installed, canary, values } = self;
        known.values = values.or(known.values.take());
        let seldom = known.served.clone().zip(known.values.clone());
        let routes = seldom.map(|(served, values)| routes(&facts(served, values, &canary, installed.as_ref())));
        Surroundings { installed, canary, routes: routes.unwrap_or_default() }
    }
}

async fn look(client: &Client, own_namespace: &str) -> Look {
    let mutating = serves_mutating_policies(client).await;
    let canary = answer("the canary", canary::look(client).await).unwrap_or_default();
    let values = answer("the values of the policies", policies::tokens(client, own_namespace).await);
    let installed = match &values {
        Some(values) => {
            let looked = policies::look(client, values, mutating, canary.loaded.as_deref()).await;
            answer("the installed policies", looked)
        }
        None => None,
    };
    Look { installed, canary, values }
}

fn answer<T>(what: &str, answer: Result<T, impl std::fmt::Display>) -> Option<T> {
    answer.inspect_err(|error| tracing::warn!(%error, "cannot ask the API server for {what}")).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_that_fails_makes_nothing_else_of_the_cluster() {
        let served = Served { version: "v1.37.2".into(), minor: Some(37), groups: Default::default() };
        let mut known = Known { served: Some(served), ..Known::default() };
        let look = |values: Option<Tokens>| Look { values, ..Look::default() };
        assert!(look(None).surroundings(&mut known).routes.is_empty(), "the chart's values were never read");
        let first = look(Some(Tokens::new())).surroundings(&mut known).routes;
        assert!(!first.is_empty());
        assert_eq!(look(None).surroundings(&mut known).routes, first);
    }

    #[test]
    fn a_webhook_that_misses_once_is_still_there() {
        let mut misses = 0;
        for _ in 1..MISSES {
            assert_eq!(believed(Mutation::Nothing, &mut misses, true), None);
        }
        assert_eq!(believed(Mutation::Nothing, &mut misses, true), Some(Mutation::Nothing));
        assert_eq!(believed(Mutation::Webhook, &mut misses, true), Some(Mutation::Webhook));
        assert_eq!(believed(Mutation::Nothing, &mut misses, true), None);
        assert_eq!(believed(Mutation::Nothing, &mut misses, false), Some(Mutation::Nothing));
    }
}
