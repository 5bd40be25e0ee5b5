//! Objects as they are sent, so read that nobody can write one that is not seen.
//!
//! A time after the year 9999, or fields that are nested deeper than is parsed, make a whole object unreadable, and who may
//! write an object may write both among its managed fields; kube then leaves the object out of what it passes on. So what
//! nobody here reads is taken out before anything is read, and of what still cannot be read it is known that it is there.

use std::{borrow::Cow, collections::BTreeMap};

use k8s_openapi::{
    api::{
        admissionregistration::v1::{MutatingWebhookConfiguration, ValidatingWebhookConfiguration},
        core::v1 as core,
        discovery::v1::EndpointSlice,
        networking::v1::NetworkPolicy,
        rbac::v1::RoleBinding,
        resource::v1::ResourceClaim,
        storage::v1::{CSINode, StorageClass},
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
    kube_aggregator::pkg::apis::apiregistration::v1::APIService,
};
use kube::{Resource, api::DynamicObject, core::PartialObjectMeta};
use serde::{
    Deserialize, Deserializer, Serialize,
    de::{DeserializeOwned, Error as _, IgnoredAny},
};
use serde_json::value::RawValue;

use super::{node::LiveNode, pod::LivePod};
use crate::{
    api::{DataCenter, DataResidency},
    domain::keys,
};

/// An object as it is sent.
#[derive(Clone, Debug)]
pub enum Sent<K> {
    /// All of it that is read.
    Read(Box<K>),
    /// What cannot be read, but for who it is.
    Unreadable(Box<ObjectMeta>),
}

/// A kind that is read.
pub trait Reads: DeserializeOwned {
    /// Whether its status is; one that is not can be as unreadable as it likes.
    const STATUS: bool = true;
    /// Whether it is read which labels this operator's own writes own.
    const OWN_LABELS: bool = false;
    /// The longest text that is parsed, in bytes: parsed into whole objects it takes many times as much memory.
    const LONGEST: usize = usize::MAX;
}

impl Reads for LivePod {}
impl Reads for core::Pod {
    const LONGEST: usize = 256 << 10;
}
impl Reads for LiveNode {}
impl Reads for core::Namespace {
    const STATUS: bool = false;
    const OWN_LABELS: bool = true;
}
impl Reads for core::PersistentVolumeClaim {
    const STATUS: bool = false;
}
impl Reads for core::PersistentVolume {
    const STATUS: bool = false;
}
impl Reads for core::Service {
    const STATUS: bool = false;
}
impl Reads for APIService {
    const STATUS: bool = false;
}
impl<K> Reads for PartialObjectMeta<K>
where
    Self: DeserializeOwned,
{
    const STATUS: bool = false;
}
impl Reads for StorageClass {}
impl Reads for CSINode {}
impl Reads for NetworkPolicy {
    const LONGEST: usize = 1 << 20;
}
impl Reads for RoleBinding {}
impl Reads for EndpointSlice {}
impl Reads for ValidatingWebhookConfiguration {}
impl Reads for MutatingWebhookConfiguration {}
impl Reads for ResourceClaim {}
impl Reads for DataCenter {}
impl Reads for DataResidency {}
impl Reads for DynamicObject {}

/// What is kept of an object that cannot be read.
pub trait Unread: Sized {
    /// Nothing of it may count as being in order; `None` where what was known of it before stands.
    fn unread(meta: &ObjectMeta) -> Option<Self>;
}

impl<K> Sent<K> {
    /// The object, if it could be read.
    #[must_use]
    pub fn read(self) -> Option<K> {
        match self {
            Self::Read(object) => Some(*object),
            Self::Unreadable(_) => None,
        }
    }
}

impl<K: Resource> Resource for Sent<K> {
    type DynamicType = K::DynamicType;
    type Scope = K::Scope;

    fn kind(kind: &Self::DynamicType) -> Cow<'_, str> {
        K::kind(kind)
    }

    fn group(kind: &Self::DynamicType) -> Cow<'_, str> {
        K::group(kind)
    }

    fn version(kind: &Self::DynamicType) -> Cow<'_, str> {
        K::version(kind)
    }

    fn plural(kind: &Self::DynamicType) -> Cow<'_, str> {
        K::plural(kind)
    }

    fn meta(&self) -> &ObjectMeta {
        match self {
            Self::Read(object) => object.meta(),
            Self::Unreadable(meta) => meta,
        }
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        match self {
            Self::Read(object) => object.meta_mut(),
            Self::Unreadable(meta) => meta,
        }
    }
}

impl<'de, K: Reads> Deserialize<'de> for Sent<K> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let sent = Box::<RawValue>::deserialize(deserializer)?;
        let object = without_what_is_not_read::<K>(sent.get()).and_then(|text| match text.len() {
            length if length > K::LONGEST => Err(serde_json::Error::custom(format_args!("it is {length} bytes long"))),
            _ => serde_json::from_str(&text),
        });
        match object {
            Ok(object) => Ok(Self::Read(object)),
            Err(error) => {
                let known: Known = serde_json::from_str(sent.get()).map_err(D::Error::custom)?;
                let Name { name, namespace, uid, resource_version, labels } = known.metadata;
                tracing::error!(kind = %known.kind, ?namespace, ?name, %error, "an object cannot be read, and counts as not compliant");
                let meta = ObjectMeta { name, namespace, uid, resource_version, labels, ..ObjectMeta::default() };
                Ok(Self::Unreadable(Box::new(meta)))
            }
        }
    }
}

/// Who an object is.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Known {
    kind: String,
    metadata: Name,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Name {
    name: Option<String>,
    namespace: Option<String>,
    uid: Option<String>,
    resource_version: Option<String>,
    labels: Option<BTreeMap<String, String>>,
}

/// An entry of managed fields, as far as it says who owns which label.
#[derive(Default, Deserialize, Serialize)]
#[serde(default)]
struct Managed {
    manager: String,
    #[serde(rename = "fieldsV1")]
    fields: OwnFields,
}

#[derive(Default, Deserialize, Serialize)]
#[serde(default)]
struct OwnFields {
    #[serde(rename = "f:metadata")]
    metadata: OwnMetadata,
}

#[derive(Default, Deserialize, Serialize)]
#[serde(default)]
struct OwnMetadata {
    #[serde(rename = "f:labels")]
    labels: BTreeMap<String, Whatever>,
}

/// Nothing of it is read, however deep it is.
#[derive(Deserialize, Serialize)]
#[serde(from = "IgnoredAny")]
struct Whatever {}

impl From<IgnoredAny> for Whatever {
    fn from(_: IgnoredAny) -> Self {
        Self {}
    }
}

type Fields<'a> = BTreeMap<String, &'a RawValue>;

/// The text of an object without managed fields, and without a status that nobody reads.
fn without_what_is_not_read<K: Reads>(text: &str) -> serde_json::Result<String> {
    let mut object: Fields<'_> = serde_json::from_str(text)?;
    if !K::STATUS {
        object.remove("status");
    }
    let mut metadata: Fields<'_> =
        object.get("metadata").map_or_else(|| Ok(Fields::new()), |raw| serde_json::from_str(raw.get()))?;
    let own = metadata.remove("managedFields").filter(|_| K::OWN_LABELS).map(own_labels).transpose()?;
    if let Some(own) = &own {
        metadata.insert("managedFields".to_owned(), own);
    }
    let metadata = serde_json::value::to_raw_value(&metadata)?;
    object.insert("metadata".to_owned(), &metadata);
    serde_json::to_string(&object)
}

/// The labels that this operator's own writes own, as managed fields have it.
fn own_labels(entries: &RawValue) -> serde_json::Result<Box<RawValue>> {
    let entries: Option<Vec<&RawValue>> = serde_json::from_str(entries.get())?;
    let read = entries.into_iter().flatten().filter_map(|entry| serde_json::from_str::<Managed>(entry.get()).ok());
    let own: Vec<Managed> = read.filter(|entry| entry.manager == keys::MANAGER).collect();
    serde_json::value::to_raw_value(&own)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::{Namespace, Node, Policy};
    use serde_json::{Value, json};

    /// An object with these entries of managed fields, as text: what is nested too deep is no value.
    fn sent<K: Reads>(object: &Value, managed: &str) -> Sent<K> {
        let text = object.to_string().replacen("\"MANAGED\"", managed, 1);
        serde_json::from_str(&text).unwrap()
    }

    fn policy(managed: &str) -> Sent<NetworkPolicy> {
        let policy = json!({"kind": "NetworkPolicy", "metadata": {"name": "wide", "managedFields": "MANAGED"}, "spec": {"podSelector": {}, "egress": [{}]}});
        sent(&policy, managed)
    }

    /// Fields that are nested so deep.
    fn deep(levels: usize) -> String {
        format!("{}{{}}{}", "{\"f:a\":".repeat(levels), "}".repeat(levels))
    }

    #[test]
    fn what_stands_among_managed_fields_hides_nothing() {
        let late = r#"[{"manager": "m", "operation": "Update", "time": "9999-12-31T23:59:59Z", "fieldsV1": {}}]"#;
        let nested = [120, 124, 127, 300].map(|levels| {
            format!(
                r#"[{{"manager": "domicile", "fieldsV1": {{"f:metadata": {{"f:labels": {{"f:a": {}}}}}}}}}]"#,
                deep(levels)
            )
        });
        for managed in [late, "null", "[]"].into_iter().chain(nested.iter().map(String::as_str)) {
            let policy = Policy::from(policy(managed).read().unwrap());
            assert!(policy.opens.egress.rules[0].is_bare, "{managed}");
            let space = json!({"kind": "Namespace", "metadata": {"name": "shop", "managedFields": "MANAGED"}});
            assert!(sent::<core::Namespace>(&space, managed).read().is_some(), "{managed}");
        }
    }

    #[test]
    fn own_writes_are_known() {
        let own = r#"[{"manager": "domicile", "operation": "Apply", "fieldsV1": {"f:metadata": {"f:labels": {"f:pod-security.kubernetes.io/enforce": {}}}}}, {"manager": "other", "fieldsV1": {}}]"#;
        let space = json!({"kind": "Namespace", "metadata": {"name": "shop", "managedFields": "MANAGED"}, "status": {"conditions": [{"lastTransitionTime": "9999-12-31T23:59:59Z", "type": "a", "status": "True"}]}});
        let space = Namespace::from(sent::<core::Namespace>(&space, own).read().unwrap());
        assert_eq!(space.own_pod_security, ["pod-security.kubernetes.io/enforce"]);
    }

    #[test]
    fn of_what_cannot_be_read_it_is_known_that_it_is_there() {
        let policy = json!({"metadata": {"name": "odd", "uid": "7", "resourceVersion": "3"}, "spec": "none"});
        let policy = sent::<NetworkPolicy>(&policy, "");
        assert_eq!(
            (policy.meta().name.as_deref(), policy.meta().resource_version.as_deref()),
            (Some("odd"), Some("3"))
        );
        let kept = Policy::unread(policy.meta()).unwrap();
        assert!(policy.read().is_none());
        assert!(kept.opens.unreadable);
    }

    #[test]
    fn what_is_longer_than_is_read_is_not_parsed() {
        let peers = vec![json!({"podSelector": {}}); 60_000];
        let policy = json!({"metadata": {"name": "long"}, "spec": {"podSelector": {}, "egress": [{"to": peers}]}});
        assert!(sent::<NetworkPolicy>(&policy, "").read().is_none());
    }

    #[test]
    fn a_kubelet_makes_no_node_unreadable() {
        let node = json!({
            "metadata": {"name": "cn-1", "labels": {"site": "shanghai"}},
            "spec": {"podCIDRs": ["10.244.1.0/24"], "providerID": "cn-shanghai.i-1", "taints": [{"key": "a", "effect": "NoExecute", "timeAdded": "9999-12-31T23:59:59Z"}]},
            "status": {
                "addresses": [{"type": "InternalIP", "address": "10.20.0.7"}],
                "allocatable": {"cpu": "2"},
                "conditions": [{"type": "Ready", "status": "True", "lastHeartbeatTime": "9999-12-31T23:59:59Z"}],
            },
        });
        let node = Node::from(sent::<LiveNode>(&node, "").read().unwrap());
        assert!(node.ready && node.taints.len() == 1 && node.pod_networks.len() == 1 && node.addresses.len() == 1);
        assert_eq!((node.provider_id.as_str(), node.allocatable.millicores), ("cn-shanghai.i-1", 2000));
    }
}
