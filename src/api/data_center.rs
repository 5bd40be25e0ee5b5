//! `DataCenter`: a facility in one jurisdiction, and by which signals its nodes are known.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    field::{CidrText, JurisdictionCode, count},
    selector::LabelSelector,
};
use crate::domain::Catalogue;

/// A facility in one jurisdiction. Nodes that it claims and whose signals agree are verified.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[kube(
    group = "domicile.dev",
    version = "v1alpha1",
    kind = "DataCenter",
    plural = "datacenters",
    shortname = "dc",
    category = "domicile",
    status = "DataCenterStatus",
    derive = "PartialEq",
    doc = "A facility in one jurisdiction: which nodes and volumes stand in it, and by which signals they are known.",
    printcolumn(name = "Jurisdiction", type_ = "string", json_path = ".spec.jurisdiction"),
    printcolumn(name = "Place", type_ = "string", json_path = ".spec.place"),
    printcolumn(name = "Claimed", type_ = "integer", json_path = ".status.nodes.claimed", description = "Nodes that the selector matches"),
    printcolumn(name = "Verified", type_ = "integer", json_path = ".status.nodes.verified", description = "Claimed nodes whose signals agree"),
    printcolumn(name = "Ready", type_ = "string", json_path = r#".status.conditions[?(@.type=="Ready")].status"#),
    printcolumn(name = "Conflict On", type_ = "string", json_path = ".status.conflicts[0].node", priority = 1),
    printcolumn(name = "Conflict", type_ = "string", json_path = ".status.conflicts[0].message", priority = 1),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    validation = Rule::new("self.metadata.name.size() <= 63 && self.metadata.name.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$')").message("metadata.name becomes a node label's value: at most 63 lower-case letters, digits and '-'"),
)]
#[x_kube(
    validation = Rule::new("has(self.nodes.addresses) || has(self.nodes.provider)").message("nodes.addresses or nodes.provider must be given: a label alone proves nothing, since a kubelet may set its own region label").field_path(".nodes"),
)]
#[serde(rename_all = "camelCase")]
#[schemars(transform = refuse_regions_elsewhere)]
pub struct DataCenterSpec {
    /// The legal regime that the facility is under: an ISO 3166-1 alpha-2 code. CN is the mainland; HK, MO and TW are
    /// other codes and never satisfy CN. Quote it: in YAML an unquoted NO is a boolean.
    pub jurisdiction: JurisdictionCode,
    /// City or campus, shown to people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 128))]
    pub place: Option<String>,
    /// Who operates the facility, shown to people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 128))]
    pub operated_by: Option<String>,
    /// Which nodes claim to stand here, and what must agree for them to be verified.
    pub nodes: DataCenterNodes,
    /// Zones whose volumes are in this facility, as the CSI drivers name them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Set)]
    #[schemars(length(max = 64), inner(length(min = 1, max = 63)))]
    pub zones: Vec<String>,
    /// Addresses inside the facility: what governed pods may reach.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    #[x_kube(validation = no_overlaps())]
    pub networks: Vec<CidrText>,
    /// Addresses of pods, by default the nodes' podCIDRs. They are not permitted by address: pods of ungoverned namespaces
    /// have them too. Where they are named, name all: a governed pod here whose address is neither in these nor in `networks`
    /// is a finding.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    #[x_kube(validation = no_overlaps())]
    pub pod_networks: Vec<CidrText>,
    /// Where this cluster's API servers stand, if not inside `networks`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub control_plane: Option<ControlPlane>,
}

/// Which nodes stand in the facility.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct DataCenterNodes {
    /// Nodes that claim to stand here. An empty selector would claim every node and is refused.
    #[x_kube(validation = Rule::new("(has(self.matchLabels) && size(self.matchLabels) > 0) || (has(self.matchExpressions) && size(self.matchExpressions) > 0)").message("an empty selector claims every node; name a label, for example topology.kubernetes.io/region"))]
    pub selector: LabelSelector,
    /// Every InternalIP of a node must lie in one of these.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = 64))]
    #[x_kube(validation = no_overlaps())]
    pub addresses: Vec<CidrText>,
    /// Provider whose region and provider ID are checked against the region catalogue, for example alibaba, aws, azure,
    /// gcp, huawei or tencent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "provider")]
    pub provider: Option<String>,
    /// Count the facility as present while it has no node, so that an autoscaler sees Pending pods.
    #[serde(default)]
    pub scale_from_zero: bool,
}

/// Where the API servers stand.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, KubeSchema)]
pub struct ControlPlane {
    /// Addresses of the API servers.
    #[schemars(length(min = 1, max = 16))]
    pub addresses: Vec<CidrText>,
}

/// What Domicile saw of a data center.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct DataCenterStatus {
    /// The generation of the spec that this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// How many nodes claim to stand here, and how many do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nodes: Option<NodeCounts>,
    /// Nodes whose signals do not agree, worst first; at most 20.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conflicts: Vec<Conflict>,
    /// Accepted, NodesVerified, Ready.
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
}

/// Counts of nodes.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq, JsonSchema)]
pub struct NodeCounts {
    /// Nodes that the selector matches.
    #[schemars(schema_with = "count")]
    pub claimed: u32,
    /// Claimed nodes whose signals agree.
    #[schemars(schema_with = "count")]
    pub verified: u32,
}

/// Why a claimed node is not verified.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq, JsonSchema)]
pub struct Conflict {
    /// The node's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// One word for machines.
    pub reason: String,
    /// A sentence for people.
    pub message: String,
}

fn no_overlaps() -> kube::core::Rule {
    kube::core::Rule::new(
        "self.all(one, self.exists_one(other, isCIDR(one) && isCIDR(other) && cidr(other).containsCIDR(one)))",
    )
    .message("the list repeats a network, or one network lies inside another; keep the larger one")
}

fn provider(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({
        "type": "string",
        "description": "Provider whose region and provider ID are checked against the region catalogue.",
        "enum": Catalogue::built_in().providers().collect::<Vec<_>>(),
    })
}

/// Refuses a spec whose selector names a region that the catalogue places in another jurisdiction. Exact ids and
/// aliases, since prefixes lie (`cn-hongkong` is not under `CN`).
fn refuse_regions_elsewhere(schema: &mut schemars::Schema) {
    let mut regions: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for (provider, id, place) in Catalogue::built_in().iter() {
        if place.jurisdiction != crate::domain::Jurisdiction::UNKNOWN {
            regions.entry(place.jurisdiction.code()).or_default().push(format!("'{provider}/{id}'"));
        }
    }
    let table: Vec<String> =
        regions.iter().flat_map(|(code, ids)| ids.iter().map(move |id| format!("{id}: '{code}'"))).collect();
    let named = "(has(self.nodes.selector.matchLabels) && 'topology.kubernetes.io/region' in self.nodes.selector.matchLabels ? [self.nodes.selector.matchLabels['topology.kubernetes.io/region']] : [])";
    let key = "self.nodes.provider + '/' + region";
    let rule = format!(
        "!has(self.nodes.provider) || {named}.all(region, {{{table}}}[?({key})].orValue(self.jurisdiction) == self.jurisdiction)",
        table = table.join(", ")
    );
    let message = "the region that nodes.selector names lies in another jurisdiction than spec.jurisdiction, says the region catalogue (for example cn-hongkong is HK, not CN); correct one of the two";
    let validation = serde_json::json!({"rule": rule, "message": message, "fieldPath": ".jurisdiction"});
    if let Some(rules) = schema.get_mut("x-kubernetes-validations").and_then(serde_json::Value::as_array_mut) {
        rules.push(validation);
    } else {
        schema.insert("x-kubernetes-validations".to_owned(), serde_json::json!([validation]));
    }
}
