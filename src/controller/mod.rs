//! Wiring: watches in, decisions in between, writes out.
//!
//! One task owns what is known ([`world`]) and decides; requests run beside it and bring their answers back. Every decision
//! is a pure function of what is known, one write at a time, so that a crash between any two writes loses nothing: the
//! next run decides the same from what stands.

mod answers;
pub(crate) mod canary;
mod class;
mod cluster_policy;
mod delta;
mod eviction;
pub mod facts;
mod judge;
mod memory;
mod namespace;
mod narrowing;
mod older;
mod operator;
mod outcome;
mod pace;
pub(crate) mod policies;
mod queue;
mod status;
mod surroundings;
pub mod survey;
mod tell;
mod told;
mod troubles;
mod world;

#[cfg(test)]
mod cluster_policy_tests;
#[cfg(test)]
mod convergence_tests;
#[cfg(test)]
mod eviction_tests;
#[cfg(test)]
mod world_tests;

use std::{net::SocketAddr, sync::Arc, time::Instant};

use kube::{Client, Config};
use tokio::signal::unix::{SignalKind, signal};

use crate::{
    observe::{client::connect, watch},
    telemetry::{self, Health, Metrics},
    webhook::{self, Namespaces},
};

/// What the operator is told at its start.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where health and metrics are served.
    pub listen: SocketAddr,
    /// Where the webhook is served, if it is.
    pub webhook: Option<SocketAddr>,
    /// The namespace that the chart is installed in.
    pub namespace: String,
}

/// Why the operator ended.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No way to an API server.
    #[error("no cluster to talk to: {0}; set KUBECONFIG, or run in a cluster")]
    Config(#[from] kube::config::InferConfigError),
    /// The way that was found does not work.
    #[error("cannot talk to the cluster: {0}")]
    Client(#[from] kube::Error),
    /// An address is taken, or broke.
    #[error("cannot serve at {address}: {source}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
    /// Not everything could be read.
    #[error(
        "not everything could be read within {0:?}: it needs the right to list and watch what the operator reads; kubectl get clusterrole domicile -o yaml and kubectl get role domicile -n default -o yaml say what that is, and the log which kind is missing"
    )]
    Unread(std::time::Duration),
    /// A task that runs beside the main loop broke off.
    #[error("a part of the operator broke: {0}")]
    Task(#[from] tokio::task::JoinError),
    /// The watches ended, which they do only with the process.
    #[error("the watches ended")]
    Watches,
    /// Signals cannot be received.
    #[error("cannot wait for signals: {0}")]
    Signals(std::io::Error),
}

/// Runs until SIGTERM or SIGINT.
///
/// # Errors
/// What made it end otherwise.
pub async fn run(options: Options) -> Result<(), Error> {
    install_crypto();
    let mut config = Config::infer().await?;
    config.default_retry = false; // every write is decided afresh; a retry in between would write what was decided before
    let client = connect(config)?;
    let (health, metrics) = (Arc::new(Health::new(Instant::now())), Arc::new(Metrics::default()));
    let (mut terminate, mut interrupt) = (
        signal(SignalKind::terminate()).map_err(Error::Signals)?,
        signal(SignalKind::interrupt()).map_err(Error::Signals)?,
    );
    let changes = watch::start(&client, policies::lists(client.clone(), options.namespace.clone()));
    let seen = surroundings::start(&client, &options.namespace, options.webhook.is_some());
    let operator =
        operator::Operator::new(client.clone(), &options.namespace, Arc::clone(&health), Arc::clone(&metrics));
    // Tasks of their own, so that they answer while the main loop is busy.
    let told = tokio::spawn(telemetry::serve(options.listen, health, metrics));
    let mutated = tokio::spawn(serve_webhook(client, options.clone(), operator.namespaces()));
    tokio::select! {
        ended = mutated => ended?,
        ended = told => ended?.map_err(|source| Error::Listen { address: options.listen, source }),
        () = operator.run(changes, seen) => Err(Error::Watches),
        _ = terminate.recv() => Ok(()),
        _ = interrupt.recv() => Ok(()),
    }
}

/// Serves the webhook, where that is asked for; otherwise never ends.
async fn serve_webhook(client: Client, options: Options, namespaces: Namespaces) -> Result<(), Error> {
    let Some(address) = options.webhook else { return std::future::pending().await };
    let failed = |source| Error::Listen { address, source };
    let listener = std::net::TcpListener::bind(address).map_err(failed)?;
    listener.set_nonblocking(true).map_err(failed)?;
    let certificates = webhook::certificates::keep(&client, &options.namespace);
    webhook::serve(listener, certificates, namespaces).await.map_err(failed)
}

/// Chooses what TLS is made of. Every client asks for that first; once is enough.
pub fn install_crypto() {
    let _ = rustls::crypto::ring::default_provider().install_default(); // an error says that it is installed already
}
