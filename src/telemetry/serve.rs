//! The endpoints /livez, /readyz and /metrics.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use axum::{Router, extract::State, http::StatusCode, routing::get};

use super::Metrics;

/// The main loop turns at least once a minute, whatever the API server does. So long without a turn it does not work any
/// more, however much there is to do: what takes seconds on the largest clusters has a hundred times as long.
const STUCK: Duration = Duration::from_secs(10 * 60);

/// Whether the operator has read everything and works.
#[derive(Debug)]
pub struct Health {
    ready: AtomicBool,
    started: Instant,
    /// When the main loop last turned, in seconds since the start.
    last_turn: AtomicU64,
}

impl Health {
    /// Of an operator that starts now.
    #[must_use]
    pub fn new(started: Instant) -> Self {
        Self { ready: AtomicBool::new(false), started, last_turn: AtomicU64::new(0) }
    }

    /// Says so.
    pub fn set_ready(&self, ready: bool) {
        self.ready.store(ready, Ordering::Relaxed);
    }

    /// Says that the main loop turns.
    pub fn turns(&self, now: Instant) {
        self.last_turn.store(now.saturating_duration_since(self.started).as_secs(), Ordering::Relaxed);
    }

    /// Whether the main loop turned lately.
    #[must_use]
    pub fn is_alive(&self, now: Instant) -> bool {
        let last_turn = Duration::from_secs(self.last_turn.load(Ordering::Relaxed));
        now.saturating_duration_since(self.started).saturating_sub(last_turn) <= STUCK
    }
}

#[derive(Clone)]
struct Shared {
    health: Arc<Health>,
    metrics: Arc<Metrics>,
}

/// Serves until the process ends.
///
/// # Errors
/// When the address cannot be taken.
pub async fn serve(listen: SocketAddr, health: Arc<Health>, metrics: Arc<Metrics>) -> std::io::Result<()> {
    let router = Router::new()
        .route("/livez", get(alive))
        .route("/readyz", get(ready))
        .route("/metrics", get(|State(shared): State<Shared>| async move { shared.metrics.text() }))
        .with_state(Shared { health, metrics });
    let listener = tokio::net::TcpListener::bind(listen).await?;
    tracing::info!(address = %listener.local_addr()?, "serving /livez, /readyz and /metrics");
    axum::serve(listener, router).await
}

async fn alive(State(shared): State<Shared>) -> (StatusCode, &'static str) {
    if shared.health.is_alive(Instant::now()) {
        (StatusCode::OK, "ok")
    } else {
        (StatusCode::INTERNAL_SERVER_ERROR, "the main loop is stuck")
    }
}

async fn ready(State(shared): State<Shared>) -> (StatusCode, &'static str) {
    if shared.health.ready.load(Ordering::Relaxed) {
        (StatusCode::OK, "ok")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "the cluster has not been read yet")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_turns_is_alive_and_who_does_not_is_so_for_a_while() {
        let start = Instant::now();
        let after = |seconds: u64| start + Duration::from_secs(seconds);
        let health = Health::new(start);
        assert!(health.is_alive(start), "it has not turned yet");
        assert!(health.is_alive(start + STUCK));
        assert!(!health.is_alive(start + STUCK + Duration::from_secs(1)));
        health.turns(after(10_000));
        assert!(health.is_alive(after(10_060)), "it sleeps");
        assert!(health.is_alive(after(10_000) + STUCK), "it is busy");
        assert!(!health.is_alive(after(10_001) + STUCK));
        health.turns(after(20_000));
        assert!(health.is_alive(after(20_000)), "it is alive again");
        assert!(health.is_alive(start), "clocks of other threads may be a moment behind");
    }
}
