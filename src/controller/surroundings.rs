//! What no watch brings: whether the installed policies are those of this build, and whether the API server enforces them.
//!
//! Looked at again and again, often until the canary answers clearly, seldom afterwards. Reading only.

use std::time::Duration;

use kube::{Client, core::GroupVersionKind, discovery};
use tokio::{sync::watch, time::timeout};

use super::{
    canary,
    policies::{self, Installed},
};
use crate::domain::Mutation;

/// The wait while the canary has not answered clearly: its namespace may just be being confined.
const SOON: Duration = Duration::from_millis(300);
/// The wait otherwise.
const LATER: Duration = Duration::from_secs(10);
/// So long a look may take; what was seen before it is past.
const LIMIT: Duration = Duration::from_secs(30);
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
}

/// Starts looking; ends when the receiver is dropped. `has_webhook` says whether this operator serves the webhook.
#[must_use]
pub fn start(client: &Client, own_namespace: &str, has_webhook: bool) -> watch::Receiver<Option<Surroundings>> {
    let (sink, seen) = watch::channel(None);
    let (client, own_namespace) = (client.clone(), own_namespace.to_owned());
    tokio::spawn(async move {
        let mut misses = 0;
        loop {
            let mut found = timeout(LIMIT, look(&client, &own_namespace)).await.unwrap_or_else(|_| {
                tracing::warn!("the API server does not say how the admission policies stand");
                Surroundings::default()
            });
            found.canary.mutation = found.canary.mutation.and_then(|seen| believed(seen, &mut misses, has_webhook));
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

async fn look(client: &Client, own_namespace: &str) -> Surroundings {
    let kind = GroupVersionKind::gvk("admissionregistration.k8s.io", "v1", "MutatingAdmissionPolicy");
    let mutating = discovery::pinned_kind(client, &kind).await.is_ok();
    let canary = match canary::look(client).await {
        Ok(seen) => seen,
        Err(error) => {
            tracing::warn!(%error, "cannot ask the API server about the canary");
            canary::Seen::default()
        }
    };
    let installed = match policies::look(client, own_namespace, mutating, canary.loaded.as_deref()).await {
        Ok(installed) => Some(installed),
        Err(error) => {
            tracing::warn!(%error, "cannot read the installed policies");
            None
        }
    };
    Surroundings { installed, canary }
}

#[cfg(test)]
mod tests {
    use super::*;

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
