//! Keeps the certificates: reads the Secret and the webhook configuration, and takes one step after the other.
//!
//! The one Secret that Domicile reads, and the one webhook configuration that it writes, are named here; the chart makes
//! both and gives the right to no others. Of the configuration nothing is written but the bundle of authorities.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use axum::http::Uri;
use k8s_openapi::{
    ByteString,
    api::{
        admissionregistration::v1::{MutatingWebhookConfiguration, WebhookClientConfig},
        core::v1::Secret,
    },
    jiff::Timestamp,
};
use kube::{
    Api, Client,
    api::{Patch, PatchParams},
};
use rustls::ServerConfig;
use serde_json::{Value, json};
use tokio::sync::watch;

use super::{
    Issued, Step, Store,
    issue::{self, issue, serving},
    store::Seen,
};
use crate::domain::keys;

/// The Secret, in the namespace of the chart.
const SECRET: &str = "domicile-webhook";
/// The webhook configuration.
const CONFIGURATION: &str = "domicile";
/// The wait between two looks while something is under way.
const OFTEN: Duration = Duration::from_secs(1);
/// The wait otherwise, also after a failure: a bundle that somebody took away is put back after so long.
const SELDOM: Duration = Duration::from_secs(5);
/// No round may take longer.
const LIMIT: Duration = Duration::from_secs(10);

/// Why a round failed.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error(transparent)]
    Request(#[from] kube::Error),
    #[error(transparent)]
    Certificate(#[from] issue::Error),
    #[error("cannot write the patch: {0}")]
    Patch(#[from] serde_json::Error),
}

/// Starts keeping; ends when the receiver is dropped, which gets every certificate that is to be served.
#[must_use]
pub fn keep(client: &Client, own_namespace: &str) -> watch::Receiver<Option<Arc<ServerConfig>>> {
    let (sink, certificates) = watch::channel(None);
    let mut keeper = Keeper {
        configurations: Api::all(client.clone()),
        secrets: Api::namespaced(client.clone(), own_namespace),
        sink,
        served: None,
        stands_since: None,
    };
    tokio::spawn(async move {
        loop {
            let pause = match tokio::time::timeout(LIMIT, keeper.round()).await {
                Ok(Ok(Step::Rest)) => SELDOM,
                Ok(Ok(Step::Wait)) => OFTEN,
                Ok(Ok(_)) => Duration::ZERO,
                Ok(Err(error)) => {
                    tracing::warn!(%error, "cannot keep the webhook's certificates; trying again");
                    SELDOM
                }
                Err(_) => {
                    tracing::warn!("the API server does not answer about the webhook's certificates; trying again");
                    SELDOM
                }
            };
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = keeper.sink.closed() => return,
            }
        }
    });
    certificates
}

struct Keeper {
    configurations: Api<MutatingWebhookConfiguration>,
    secrets: Api<Secret>,
    sink: watch::Sender<Option<Arc<ServerConfig>>>,
    served: Option<Issued>,
    /// Since when the bundle of this store was seen to stand.
    stands_since: Option<(Store, Instant)>,
}

impl Keeper {
    /// Looks, serves what is current, and takes the next step.
    async fn round(&mut self) -> Result<Step, Error> {
        let configuration = self.configurations.get(CONFIGURATION).await?;
        let secret = self.secrets.get(SECRET).await?;
        let store = self.usable(Store::read(&secret.data.clone().unwrap_or_default()));
        let names = names(&configuration);
        let trusted = trusted(&configuration);
        let now = Timestamp::now();
        let step = store.step(Seen { names: &names, trusted: &trusted, stood: self.stood(&store, &trusted), now });
        let after = match &step {
            Step::Wait | Step::Rest => return Ok(step),
            Step::Trust(bundle) => {
                tracing::info!("the API server is told whom to trust as Domicile's webhook");
                self.trust(&configuration, bundle).await?;
                return Ok(step);
            }
            Step::Issue => Store::issued(issue(&names, now)?),
            Step::Announce => store.announced(issue(&names, now)?),
            Step::Switch => store.switched(),
            Step::Forget => store.forgotten(),
        };
        tracing::info!(?step, "the webhook's certificates");
        self.write(&secret, &after).await?;
        Ok(step)
    }

    /// Serves what is current; where it is of no use, it is not there.
    fn usable(&mut self, store: Store) -> Store {
        if self.served == store.current {
            return store;
        }
        match store.current.as_ref().map(serving) {
            Some(Ok(config)) => {
                self.sink.send_replace(Some(config));
                self.served.clone_from(&store.current);
                store
            }
            Some(Err(error)) => {
                tracing::warn!(%error, "the webhook's certificate is of no use; making another");
                Store::default()
            }
            None => store,
        }
    }

    /// How long the bundle of this very store has been seen to stand.
    fn stood(&mut self, store: &Store, trusted: &[Option<String>]) -> Duration {
        let bundle = Some(store.bundle());
        if trusted.iter().any(|trusted| *trusted != bundle) {
            self.stands_since = None;
            return Duration::ZERO;
        }
        match &self.stands_since {
            Some((known, since)) if known == store => since.elapsed(),
            _ => {
                self.stands_since = Some((store.clone(), Instant::now()));
                Duration::ZERO
            }
        }
    }

    /// Writes the bundle, and nothing else, where the configuration is still the one that was read.
    async fn trust(&self, read: &MutatingWebhookConfiguration, bundle: &str) -> Result<(), Error> {
        let bundle = ByteString(bundle.as_bytes().to_vec());
        let count = read.webhooks.as_ref().map_or(0, Vec::len);
        let version =
            json!({"op": "test", "path": "/metadata/resourceVersion", "value": read.metadata.resource_version});
        let bundles = (0..count).map(|position| {
            json!({"op": "add", "path": format!("/webhooks/{position}/clientConfig/caBundle"), "value": bundle})
        });
        let patch = serde_json::from_value(std::iter::once(version).chain(bundles).collect::<Value>())?;
        self.configurations.patch(CONFIGURATION, &manager(), &Patch::<()>::Json(patch)).await?;
        Ok(())
    }

    /// Writes the Secret, where it is still the one that was read.
    async fn write(&self, read: &Secret, store: &Store) -> Result<(), Error> {
        let metadata = json!({"resourceVersion": read.metadata.resource_version, "uid": read.metadata.uid});
        let patch = Patch::Merge(json!({"metadata": metadata, "data": store.fields()}));
        self.secrets.patch(SECRET, &manager(), &patch).await?;
        Ok(())
    }
}

fn manager() -> PatchParams {
    PatchParams { field_manager: Some(keys::MANAGER.to_owned()), ..PatchParams::default() }
}

/// By which names the API server calls the webhooks, sorted.
fn names(configuration: &MutatingWebhookConfiguration) -> Vec<String> {
    let called = configuration.webhooks.iter().flatten().filter_map(|webhook| host(&webhook.client_config));
    let mut names: Vec<String> = called.collect();
    names.sort();
    names.dedup();
    names
}

fn host(client: &WebhookClientConfig) -> Option<String> {
    if let Some(service) = &client.service {
        return Some(format!("{}.{}.svc", service.name, service.namespace));
    }
    let uri: Uri = client.url.as_ref()?.parse().ok()?;
    Some(uri.host()?.trim_matches(['[', ']']).to_owned())
}

/// What each webhook trusts.
fn trusted(configuration: &MutatingWebhookConfiguration) -> Vec<Option<String>> {
    let bundle = |bundle: &ByteString| String::from_utf8_lossy(&bundle.0).into_owned();
    let webhooks = configuration.webhooks.iter().flatten();
    webhooks.map(|webhook| webhook.client_config.ca_bundle.as_ref().map(bundle)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_certificate_is_for_the_names_by_which_the_api_server_calls() {
        let configuration = |clients: &[Value]| -> MutatingWebhookConfiguration {
            let webhook = |client: &Value| json!({"name": "a", "clientConfig": client, "sideEffects": "None", "admissionReviewVersions": ["v1"]});
            serde_json::from_value(json!({"webhooks": clients.iter().map(webhook).collect::<Value>()})).unwrap()
        };
        let service =
            json!({"service": {"name": "domicile-webhook", "namespace": "domicile-system", "path": "/mutate"}});
        assert_eq!(names(&configuration(&[service.clone(), service])), ["domicile-webhook.domicile-system.svc"]);
        let urls = ["https://127.0.0.1:8443/mutate", "https://[::1]/mutate"].map(|url| json!({"url": url}));
        assert_eq!(names(&configuration(&urls)), ["127.0.0.1", "::1"]);
        assert_eq!(trusted(&configuration(&urls)), [None, None]);
    }
}
