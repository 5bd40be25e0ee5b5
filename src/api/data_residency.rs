//! `DataResidency`: where data may live, and how strictly that is held.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    field::{CidrText, JurisdictionCode, Port, count},
    selector::LabelSelector,
};

/// Where data may live. A namespace is governed by naming it in the label `domicile.dev/residency`.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[kube(
    group = "domicile.dev",
    version = "v1alpha1",
    kind = "DataResidency",
    plural = "dataresidencies",
    singular = "dataresidency",
    shortname = "dres",
    category = "domicile",
    status = "DataResidencyStatus",
    derive = "PartialEq",
    doc = "Where data may live. A namespace is governed by naming it in the label domicile.dev/residency.",
    printcolumn(name = "Jurisdictions", type_ = "string", json_path = ".status.summary.jurisdictions"),
    printcolumn(name = "Mode", type_ = "string", json_path = ".spec.enforcement"),
    printcolumn(name = "Data Centers", type_ = "string", json_path = ".status.summary.dataCenters"),
    printcolumn(name = "Nodes", type_ = "string", json_path = ".status.summary.nodes", description = "Eligible of all nodes"),
    printcolumn(name = "Namespaces", type_ = "string", json_path = ".status.summary.namespaces", description = "Confined of those that name it"),
    printcolumn(name = "Findings", type_ = "integer", json_path = ".status.findings.total"),
    printcolumn(name = "Compliant", type_ = "string", json_path = r#".status.conditions[?(@.type=="Compliant")].status"#),
    printcolumn(name = "Ready", type_ = "string", json_path = r#".status.conditions[?(@.type=="Ready")].status"#),
    printcolumn(name = "Network", type_ = "string", json_path = ".status.enforcedBy.network", priority = 1),
    printcolumn(name = "Finding On", type_ = "string", json_path = ".status.findings.items[0].subject", priority = 1),
    printcolumn(name = "Worst Finding", type_ = "string", json_path = ".status.findings.items[0].message", priority = 1),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    validation = Rule::new("self.metadata.name.size() <= 30 && self.metadata.name.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$')").message("metadata.name becomes part of a label's value: at most 30 lower-case letters, digits and '-', no dot"),
    validation = Rule::new("!(self.metadata.name in ['none', 'domicile-canary'])").message("the names none and domicile-canary are reserved; choose another metadata.name"),
)]
#[serde(rename_all = "camelCase")]
pub struct DataResidencySpec {
    /// Jurisdictions in which the data may live: ISO 3166-1 alpha-2 codes. CN is the mainland; HK, MO and TW are other
    /// codes and never satisfy CN. Quote them: in YAML an unquoted NO is a boolean.
    #[x_kube(merge_strategy = ListMerge::Set)]
    #[schemars(length(min = 1, max = 16))]
    pub jurisdictions: Vec<JurisdictionCode>,
    /// Kinds of data, shown in evidence.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Set)]
    #[schemars(length(max = 32), inner(length(min = 1, max = 63)))]
    pub data_categories: Vec<String>,
    /// Enforce refuses what breaks the residency, Warn warns of exactly that and changes nothing, Audit only reports.
    #[serde(default)]
    pub enforcement: Enforcement,
    /// Where governed pods run.
    #[serde(default)]
    pub placement: Placement,
    /// Where governed volumes lie.
    #[serde(default)]
    pub storage: Storage,
    /// What governed pods may talk to.
    #[serde(default)]
    pub network: Network,
}

/// How strictly a residency is held.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq, JsonSchema)]
pub enum Enforcement {
    /// Refuse.
    #[default]
    Enforce,
    /// Warn of what Enforce would refuse.
    Warn,
    /// Report.
    Audit,
}

/// Where governed pods run.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, KubeSchema)]
pub struct Placement {
    /// Whether governed pods that stand outside are moved, respecting PodDisruptionBudgets: those that a controller makes again
    /// elsewhere, one at a time for each controller, and only where a verified node could take them. Where a namespace names
    /// several residencies, all must say so.
    #[serde(default)]
    pub eviction: Eviction,
}

/// Whether pods that stand outside are moved.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq, JsonSchema)]
pub enum Eviction {
    /// They are findings.
    #[default]
    Disabled,
    /// They are evicted.
    Enabled,
}

/// Where governed volumes lie.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Storage {
    /// StorageClasses that Domicile creates and keeps.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(
        merge_strategy = ListMerge::Map(vec!["name".into()]),
        validation = Rule::new("self.filter(class, has(class.default) && class.default).size() <= 1").message("at most one class is the default; take default: true from the others"),
    )]
    #[schemars(length(max = 16))]
    pub classes: Vec<ClassSpec>,
    /// StorageClasses of others, admitted only while their content proves in-country.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Set)]
    #[schemars(length(max = 32), inner(length(min = 1, max = 253)))]
    pub allowed_classes: Vec<String>,
}

/// A StorageClass that Domicile creates and keeps.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct ClassSpec {
    /// Name of the StorageClass.
    #[schemars(length(min = 1, max = 63), regex(pattern = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub name: String,
    /// The CSI driver.
    #[schemars(length(min = 1, max = 253))]
    pub provisioner: String,
    /// The driver's parameters.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "parameters")]
    pub parameters: BTreeMap<String, String>,
    /// What becomes of a volume whose claim is deleted.
    #[serde(default)]
    pub reclaim_policy: ReclaimPolicy,
    /// Whether claims may grow.
    #[serde(default)]
    pub allow_volume_expansion: bool,
    /// The driver's topology key; by default the one that Domicile knows of the driver.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 317))]
    pub topology_key: String,
    /// Given to governed claims that name no class.
    #[serde(default)]
    pub default: bool,
}

/// What becomes of a volume whose claim is deleted.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq, JsonSchema)]
pub enum ReclaimPolicy {
    /// It stays.
    #[default]
    Retain,
    /// It is deleted with the claim.
    Delete,
}

/// What governed pods may talk to.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Network {
    /// All opens to governed pods everything that is permitted, None leaves that to the tenants' own policies.
    #[serde(default)]
    pub permit: Permit,
    /// Narrow narrows a tenant's policy that says "any address" to what is permitted, Refuse refuses it.
    #[serde(default)]
    pub tenant_policies: TenantPolicyHandling,
    /// Where governed pods may open connections to.
    #[serde(default)]
    pub egress: Egress,
    /// Who may open connections to governed pods.
    #[serde(default)]
    pub ingress: Ingress,
    /// Whether LoadBalancer and NodePort services, Ingresses and Gateway routes are allowed. While ingress is `Restricted`, such
    /// services need `externalTrafficPolicy: Local`, since nodes else hide the addresses of their clients.
    #[serde(default)]
    pub exposure: ExposurePolicy,
}

/// Whether the permitted is opened to governed pods.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq, JsonSchema)]
pub enum Permit {
    /// All of it.
    #[default]
    All,
    /// Nothing but what tenants' own policies open.
    None,
}

/// What happens to a tenant's wide policy.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq, JsonSchema)]
pub enum TenantPolicyHandling {
    /// It is narrowed.
    #[default]
    Narrow,
    /// It is refused.
    Refuse,
}

/// Whether services may be exposed outside the cluster.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq, JsonSchema)]
pub enum ExposurePolicy {
    /// They may not.
    #[default]
    Deny,
    /// They may.
    Allow,
}

/// Where governed pods may open connections to.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, KubeSchema)]
pub struct Egress {
    /// Further in-country destinations.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    #[schemars(length(max = 32))]
    pub allow: Vec<Allowance>,
}

/// Who may open connections to governed pods.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, KubeSchema)]
pub struct Ingress {
    /// Restricted to permitted networks, peers and the allowed, or Open to anyone. Reading from abroad is an export.
    #[serde(default)]
    pub policy: IngressPolicy,
    /// Further sources.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    #[schemars(length(max = 32))]
    pub allow: Vec<Allowance>,
}

/// Who may open connections.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq, JsonSchema)]
pub enum IngressPolicy {
    /// Permitted networks, peers and the allowed.
    #[default]
    Restricted,
    /// Anyone.
    Open,
}

/// Peers that are allowed beside the permitted networks: by blocks of addresses, or by labels.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.cidrs) != (has(self.namespaceSelector) || has(self.podSelector))").message("give either cidrs, or namespaceSelector and podSelector"))]
pub struct Allowance {
    /// Name, shown to people.
    #[schemars(length(min = 1, max = 63))]
    pub name: String,
    /// Blocks of addresses. The platform team vouches that they are in the country.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = 64))]
    pub cidrs: Vec<CidrText>,
    /// Namespaces; with podSelector, the pods in them that it selects.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new("(has(self.matchLabels) && size(self.matchLabels) > 0) || (has(self.matchExpressions) && size(self.matchExpressions) > 0)").message("an empty namespaceSelector is every namespace of the cluster; name the ones that are meant, for example by kubernetes.io/metadata.name"))]
    pub namespace_selector: Option<LabelSelector>,
    /// Pods; without namespaceSelector, those of the governed namespace itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod_selector: Option<LabelSelector>,
    /// Ports; all where none is given.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub ports: Vec<Port>,
}

/// What Domicile saw of a residency.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct DataResidencyStatus {
    /// The generation of the spec that this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Data centers of the jurisdictions that have a verified node in this cluster, or say `scaleFromZero`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub data_centers: Vec<String>,
    /// Nodes on which governed pods may run, and all nodes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nodes: Option<EligibleNodes>,
    /// Namespaces that name the residency, and those that are confined for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespaces: Option<NamespaceCounts>,
    /// What is governed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub governed: Option<GovernedCounts>,
    /// What breaks, or may break, the residency.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub findings: Option<Findings>,
    /// What enforces each leg in this cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enforced_by: Option<EnforcedBy>,
    /// Which ways out are closed in this cluster, and by what: the routes of `domicile coverage`, but those whose kinds the
    /// cluster does not serve. Only while the mode is Enforce; in other modes nothing is refused. What is left of closed ones
    /// the command tells.
    #[schemars(length(max = 256))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub routes: Vec<Routes>,
    /// The counts above as `kubectl get` shows them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub summary: Option<Summary>,
    /// Accepted, PlacementEnforced, StorageEnforced, NetworkEnforced, Compliant, Ready.
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
}

/// Counts of nodes.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq, JsonSchema)]
pub struct EligibleNodes {
    /// Nodes verified in a permitted jurisdiction.
    #[schemars(schema_with = "count")]
    pub eligible: u32,
    /// All nodes of the cluster.
    #[schemars(schema_with = "count")]
    pub total: u32,
}

/// Counts of namespaces.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq, JsonSchema)]
pub struct NamespaceCounts {
    /// Namespaces that name the residency.
    #[schemars(schema_with = "count")]
    pub named: u32,
    /// Namespaces that are confined for it.
    #[schemars(schema_with = "count")]
    pub confined: u32,
    /// While the residency is being deleted: the namespaces that still name it, at most 20.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub holding: Vec<String>,
}

/// Counts of what is governed.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct GovernedCounts {
    /// Pods in governed namespaces.
    #[schemars(schema_with = "count")]
    pub pods: u32,
    /// PersistentVolumeClaims in governed namespaces.
    #[schemars(schema_with = "count")]
    pub volume_claims: u32,
}

/// Findings, worst first.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq, JsonSchema)]
pub struct Findings {
    /// How many there are.
    #[schemars(schema_with = "count")]
    pub total: u32,
    /// The worst of them, at most 20.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub items: Vec<Finding>,
}

/// One fact that breaks, or may break, a residency.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq, PartialOrd, Ord, JsonSchema)]
pub struct Finding {
    /// Stable id of the rule, as refusals begin with it.
    pub rule: String,
    /// Kind, namespace and name of what it is about, for example `Pod shop/web-0`.
    pub subject: String,
    /// NonCompliant, or Unknown where it cannot be told.
    pub verdict: String,
    /// What is so.
    pub message: String,
    /// What to do.
    pub remedy: String,
}

/// What enforces each leg.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq, JsonSchema)]
pub struct EnforcedBy {
    /// Where pods run.
    pub placement: String,
    /// Where volumes lie.
    pub storage: String,
    /// What is talked to: `NetworkPolicy`, or `ClusterNetworkPolicy` where one stands before those of every namespace.
    pub network: String,
    /// What fills in what a tenant left out: `MutatingAdmissionPolicy`, `Webhook`, or `None`, where tenants write it themselves.
    #[serde(default)]
    pub mutation: String,
}

/// Routes that stand alike.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Routes {
    /// What closes them: `AdmissionPolicy`, `PodSecurity`, `StorageClass`, `Operator`, `StaticManifests`, `NetworkPolicy` or
    /// `ClusterNetworkPolicy`; `Audit only` where what breaks the residency is found and told, `Not seen`, `Not enforced` or
    /// `Not enforceable`.
    pub enforced_by: String,
    /// Their ids, for example `P1`: placement (P), storage (S), network and access (N).
    #[schemars(length(max = 256))]
    pub ids: Vec<String>,
    /// The way out, in words, of one that is not seen to be closed.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub route: String,
    /// What would close it, or what is left of it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub remedy: String,
}

/// Counts as columns show them.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Summary {
    /// For example `CN` or `CN,SG`.
    #[serde(default)]
    pub jurisdictions: String,
    /// For example `beijing-2,shanghai-1`.
    #[serde(default)]
    pub data_centers: String,
    /// Eligible of all, for example `11/40`.
    pub nodes: String,
    /// Confined of those that name it, for example `4/4`.
    pub namespaces: String,
}

fn parameters(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({
        "type": "object",
        "description": "The driver's parameters.",
        "maxProperties": 64,
        "additionalProperties": {"type": "string", "maxLength": 1024},
    })
}
