//! Condition types and reasons, in one place, since people and scripts depend on them.

/// The spec is understood and free of contradictions.
pub const ACCEPTED: &str = "Accepted";
/// Every node that a data center claims is verified.
pub const NODES_VERIFIED: &str = "NodesVerified";
/// Pods of governed namespaces are pinned and judged by the API server.
pub const PLACEMENT_ENFORCED: &str = "PlacementEnforced";
/// Claims of governed namespaces are judged by the API server, and the residency's classes stand.
pub const STORAGE_ENFORCED: &str = "StorageEnforced";
/// Governed namespaces are isolated, and no policy of a tenant opens more than is permitted.
pub const NETWORK_ENFORCED: &str = "NetworkEnforced";
/// Nothing governed breaks the residency.
pub const COMPLIANT: &str = "Compliant";
/// Everything that this version enforces is in force.
pub const READY: &str = "Ready";
