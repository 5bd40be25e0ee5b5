//! What no watch brings: whether the installed policies are those of this build, and whether the API server enforces them.
//!
//! Looked at again and again, often until the canary answers clearly, seldom afterwards. Reading only.

use std::time::Duration;

use kube::{Client, core::GroupVersionKind, discovery};
use tokio::sync::watch;

use super::{
    canary,
    policies::{self, Installed},
};

/// The wait while the canary has not answered clearly: its namespace may just be being confined.
const SOON: Duration = Duration::from_millis(300);
/// The wait otherwise.
const LATER: Duration = Duration::from_secs(10);

/// What was seen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Surroundings {
    /// The installed policies; `None` where they could not be read.
    pub installed: Option<Installed>,
    /// The canary.
    pub canary: canary::Seen,
}

/// Starts looking; ends when the receiver is dropped.
#[must_use]
pub fn start(client: &Client, own_namespace: &str) -> watch::Receiver<Option<Surroundings>> {
    let (sink, seen) = watch::channel(None);
    let (client, own_namespace) = (client.clone(), own_namespace.to_owned());
    tokio::spawn(async move {
        loop {
            let found = look(&client, &own_namespace).await;
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
