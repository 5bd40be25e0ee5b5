//! Nodes as they arrive. A kubelet writes its node's status, and none of the times in it are read.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::core::v1 as core,
    apimachinery::pkg::{api::resource::Quantity, apis::meta::v1::ObjectMeta},
};
use kube::Resource;
use serde::Deserialize;

/// A node as the API server sends it.
#[derive(Clone, Debug, Default, Deserialize, Resource)]
#[resource(inherit = "core::Node")]
#[serde(default)]
pub struct LiveNode {
    pub(super) metadata: ObjectMeta,
    pub(super) spec: Option<Spec>,
    pub(super) status: Option<Status>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Spec {
    #[serde(rename = "providerID")]
    pub provider_id: Option<String>,
    #[serde(rename = "podCIDRs")]
    pub pod_cidrs: Option<Vec<String>>,
    pub unschedulable: Option<bool>,
    pub taints: Option<Vec<Taint>>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Taint {
    pub key: String,
    pub value: Option<String>,
    pub effect: String,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Status {
    pub addresses: Option<Vec<core::NodeAddress>>,
    pub conditions: Option<Vec<Condition>>,
    pub allocatable: Option<BTreeMap<String, Quantity>>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Condition {
    #[serde(rename = "type")]
    pub kind: String,
    pub status: String,
}
