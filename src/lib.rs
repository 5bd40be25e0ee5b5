//! Domicile keeps regulated data in the country it belongs to.
//!
//! ```text
//!  watch caches                      pure                     pure                     writes                    pure
//! DataCenter, DataResidency ─┐
//! Nodes, Namespaces, Pods  ──┤ observe → Snapshot → resolve → Resolved → compile → Plan → apply → Applied → report → Status
//! Claims, Volumes, Classes ──┘                        └→ Findings (audit) ───────────────────────────────────┘
//! ```
//!
//! The rules themselves are not in this code: they are the chart's fixed policies, which kube-apiserver evaluates. The
//! operator verifies nodes, resolves what holds in each namespace and writes it there, keeps StorageClasses and network
//! policies, and tells what it sees. Stop it, and what is governed stays in.

pub mod api;
pub mod apply;
pub mod audit;
pub mod cli;
pub mod compile;
pub mod controller;
pub mod domain;
pub mod observe;
pub mod policies;
pub mod report;
pub mod resolve;
pub mod telemetry;
pub mod webhook;
