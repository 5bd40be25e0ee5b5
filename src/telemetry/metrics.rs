//! What is counted, in OpenMetrics text.

use prometheus_client::{
    encoding::{EncodeLabelSet, EncodeLabelValue, text::encode},
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};

/// What the operator wrote.
#[derive(Clone, Copy, Debug, Hash, PartialEq, Eq, EncodeLabelValue)]
pub enum Operation {
    /// Trusted labels of a node.
    Node,
    /// The confinement of a namespace.
    Namespace,
    /// A StorageClass.
    StorageClass,
    /// A network policy.
    NetworkPolicy,
    /// A network policy of the cluster.
    ClusterNetworkPolicy,
    /// The eviction of a pod.
    Eviction,
    /// A status.
    Status,
    /// A finalizer.
    Finalizer,
    /// An event.
    Event,
    /// A question to the API server that changes nothing.
    Canary,
}

/// How it went.
#[derive(Clone, Copy, Debug, Hash, PartialEq, Eq, EncodeLabelValue)]
pub enum Outcome {
    /// It was done.
    Done,
    /// Somebody else was faster; it is tried again.
    Conflict,
    /// It failed; it is tried again.
    Failed,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct WriteLabels {
    operation: Operation,
    outcome: Outcome,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct FindingLabels {
    verdict: &'static str,
}

/// The counters and gauges.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    writes: Family<WriteLabels, Counter>,
    findings: Family<FindingLabels, Gauge>,
    /// Namespaces that name a residency.
    pub governed_namespaces: Gauge,
    /// Those that are confined for it.
    pub confined_namespaces: Gauge,
    /// Nodes that are verified.
    pub verified_nodes: Gauge,
    /// Work that waits.
    pub waiting: Gauge,
    /// Events that were not published since too many waited.
    pub dropped_events: Counter,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("domicile");
        let writes: Family<WriteLabels, Counter> = Family::default();
        let findings: Family<FindingLabels, Gauge> = Family::default();
        let (governed, confined, verified, waiting) =
            (Gauge::default(), Gauge::default(), Gauge::default(), Gauge::default());
        let dropped_events = Counter::default();
        registry.register("requests", "Requests to the API server that may change something", writes.clone());
        registry.register("findings", "Facts that break, or may break, a residency", findings.clone());
        registry.register("governed_namespaces", "Namespaces that name a residency", governed.clone());
        registry.register("confined_namespaces", "Namespaces that are confined for what they name", confined.clone());
        registry.register("verified_nodes", "Nodes that are verified", verified.clone());
        registry.register("waiting_keys", "Objects that wait to be worked on", waiting.clone());
        let help = "Events that were not published since too many waited";
        registry.register("dropped_events", help, dropped_events.clone());
        Self {
            registry,
            writes,
            findings,
            governed_namespaces: governed,
            confined_namespaces: confined,
            verified_nodes: verified,
            waiting,
            dropped_events,
        }
    }
}

impl Metrics {
    /// Counts one request.
    pub fn count(&self, operation: Operation, outcome: Outcome) {
        self.writes.get_or_create(&WriteLabels { operation, outcome }).inc();
    }

    /// Says how many findings of each verdict there are.
    pub fn set_findings(&self, non_compliant: i64, unknown: i64) {
        self.findings.get_or_create(&FindingLabels { verdict: "NonCompliant" }).set(non_compliant);
        self.findings.get_or_create(&FindingLabels { verdict: "Unknown" }).set(unknown);
    }

    /// The text that a scraper reads.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = String::new();
        match encode(&mut text, &self.registry) {
            Ok(()) => text,
            Err(error) => format!("# {error}\n"),
        }
    }
}
