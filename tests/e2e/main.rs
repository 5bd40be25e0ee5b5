//! Every rule and every promise of Domicile on a real Kubernetes control plane.
//!
//! `cargo test --test e2e` starts its own cluster (`tests/cluster`); `DOMICILE_TEST_KUBECONFIG` names another one and
//! `DOMICILE_TEST_KUBERNETES=1.34` another version. One module is one promise. Where the API server has no mutating
//! admission policies (1.34), the operator's webhook does the same; where it cannot reach that (another cluster), tests write
//! what is added elsewhere, and see that what lacks it is refused.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod access;
mod add_ons;
mod api;
mod apply_100;
mod bindings;
mod calamities;
mod change;
mod chart;
mod cluster_network;
mod controllers;
mod corpus;
mod coverage;
mod deletion;
mod differential;
mod discovery;
mod eviction;
mod exposure;
mod limits;
mod load;
mod location;
mod modes;
mod n12;
mod namespaces;
mod network;
mod nodes;
mod older;
mod outage;
mod placement;
mod quiet;
mod reading;
mod reapply;
mod report;
mod residencies;
mod resilience;
mod restore;
mod rights;
mod routes;
mod static_policies;
mod status;
mod storage;
mod support;
mod threshold;
mod unclassified;
mod volumes;
mod ways_out;
mod webhook;
mod workloads;
