//! What users write: the custom resources of group `domicile.dev`, their schemas and rules, and the words of their status.
//!
//! The API server refuses what is wrong with a message that says what is right; what only the cluster can tell becomes a
//! condition or a finding. Types here are the wire format, no more: `resolve` parses them into `domain` once.

pub mod conditions;
pub mod data_center;
pub mod data_residency;
pub mod field;
pub mod selector;

pub use data_center::{DataCenter, DataCenterSpec, DataCenterStatus};
pub use data_residency::{DataResidency, DataResidencySpec, DataResidencyStatus};

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt as _;

/// The definitions of every custom resource, in the order of their names.
#[must_use]
pub fn definitions() -> Vec<CustomResourceDefinition> {
    vec![DataCenter::crd(), DataResidency::crd()]
}
