//! The mutation for API servers that have no MutatingAdmissionPolicy (Kubernetes 1.34 and 1.35).
//!
//! It does what the chart's `mutate-*.yaml` do, from the same label and the same confinement: pins pods, gives claims their
//! default class, narrows tenants' network policies, takes forged confinements off new namespaces. It only ever helps: it
//! allows everything, the API server goes on without it (`failurePolicy: Ignore`), and the validating policies refuse what
//! was not mutated. So a cache that is a moment behind, a lost request or a dead operator can cost a refusal, never a hole.

pub mod certificates;
pub mod decide;
mod namespaces;
mod question;
mod serve;

pub use namespaces::Namespaces;
pub use serve::{PINNED, serve};
