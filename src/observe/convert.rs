//! From the API's types to the few fields that rules speak of.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use k8s_openapi::{
    api::{core::v1 as core, discovery::v1::EndpointSlice, rbac::v1 as rbac, storage::v1 as storage},
    apimachinery::pkg::apis::meta::v1::{ManagedFieldsEntry, ObjectMeta, OwnerReference},
};

use super::{
    Resources,
    model::{
        Claim, Class, Drivers, Endpoints, Exposed, Map, Namespace, Node, Owner, Phase, Pod, Reach, RoleBinding, Volume,
    },
    node::{Condition, LiveNode, Taint},
    pod::LivePod,
    privilege,
};
use crate::domain::{Cidr, FurtherNetworks, keys};

const BETA_CLASS: &str = "volume.beta.kubernetes.io/storage-class";
/// Annotations by which drivers place or fill a volume past its class (vSphere, Trident): those of storage.yaml.
const PLACING: [&str; 7] = [
    "csi.vsphere.volume-requested-topology",
    "trident.netapp.io/importOriginalName",
    "trident.netapp.io/importBackendUUID",
    "trident.netapp.io/cloneFromNamespace",
    "trident.netapp.io/cloneToNamespace",
    "trident.netapp.io/shareFromPVC",
    "trident.netapp.io/shareToNamespace",
];
/// Drivers whose inline volumes hold secrets and certificates in the node's memory.
const IN_MEMORY_DRIVERS: [&str; 4] =
    ["secrets-store.csi.k8s.io", "csi.cert-manager.io", "spiffe.csi.cert-manager.io", "csi.spiffe.io"];
/// Of so many residencies a pod's pins are kept: more than the label of a namespace can name.
const PINS: usize = 64;
/// Labels by which other clusters mirror a Service (Linkerd): those of exposure.yaml.
const MIRRORED: [&str; 2] = ["mirror.linkerd.io/exported", "mirror.linkerd.io/federated"];
/// Annotations by which a Service is that of other clusters or networks, too (Cilium, Tailscale), unless they say `false`: those of
/// `exposure.yaml`.
const EXPORTED: [&str; 3] = ["service.cilium.io/global", "io.cilium/global-service", "tailscale.com/expose"];
/// The annotation by which Google's load balancers reach the pods of a Service.
const NEG: &str = "cloud.google.com/neg";
/// What it may say, blanks left out, since it names no ports: that of `exposure.yaml`.
const WITHOUT_PORTS: [&str; 3] = [r#"{"ingress":true}"#, r#"{"ingress":false}"#, "{}"];

impl From<LiveNode> for Node {
    fn from(node: LiveNode) -> Self {
        let spec = node.spec.unwrap_or_default();
        let status = node.status.unwrap_or_default();
        let reported = status.addresses.unwrap_or_default();
        let is_ready = |condition: &Condition| condition.kind == "Ready" && condition.status == "True";
        let mut addresses: Vec<IpAddr> = Vec::new();
        let mut unreadable_addresses = Vec::new();
        for address in reported.into_iter().filter(|address| address.type_ == "InternalIP") {
            match address.address.parse() {
                Ok(parsed) => addresses.push(parsed),
                Err(_) => unreadable_addresses.push(address.address),
            }
        }
        let taint = |Taint { key, value, effect }| core::Taint { key, value, effect, time_added: None };
        let pod_networks = spec.pod_cidrs.unwrap_or_default().into_iter().filter_map(|text| text.parse::<Cidr>().ok());
        Self {
            name: node.metadata.name.unwrap_or_default(),
            uid: node.metadata.uid.unwrap_or_default(),
            labels: node.metadata.labels.unwrap_or_default(),
            provider_id: spec.provider_id.unwrap_or_default(),
            addresses,
            pod_networks: pod_networks.collect(),
            unreadable_addresses,
            ready: status.conditions.iter().flatten().any(is_ready),
            unschedulable: spec.unschedulable.unwrap_or_default(),
            taints: spec.taints.unwrap_or_default().into_iter().map(taint).collect(),
            allocatable: status.allocatable.as_ref().map(Resources::read).unwrap_or_default(),
        }
    }
}

impl From<core::Namespace> for Namespace {
    fn from(namespace: core::Namespace) -> Self {
        let meta = namespace.metadata;
        let mut annotations = meta.annotations.unwrap_or_default();
        annotations.retain(|key, _| keys::CONFINEMENT_ANNOTATIONS.contains(&key.as_str()));
        let mut labels = meta.labels.unwrap_or_default();
        if !labels.contains_key(keys::RESIDENCY) {
            // Others' selectors are held against governed namespaces alone, and these can have a hundred thousand labels.
            labels.retain(|key, _| is_read_of_any(key));
        }
        Self {
            name: meta.name.unwrap_or_default(),
            uid: meta.uid.unwrap_or_default(),
            resource_version: meta.resource_version.unwrap_or_default(),
            labels,
            annotations,
            terminating: meta.deletion_timestamp.is_some(),
            labelled_at_birth: false,
            own_pod_security: own_labels(&meta.managed_fields.unwrap_or_default()),
        }
    }
}

/// Whether this label is read of a namespace that names no residency, too.
fn is_read_of_any(key: &str) -> bool {
    let pod_security = [keys::POD_SECURITY_ENFORCE, keys::POD_SECURITY_WARN, keys::POD_SECURITY_AUDIT];
    key == keys::PERMIT
        || keys::CONFINEMENT_LABELS.contains(&key)
        || pod_security.contains(&key.strip_suffix("-version").unwrap_or(key))
}

/// The Pod Security labels that this operator's writes own.
fn own_labels(entries: &[ManagedFieldsEntry]) -> Vec<String> {
    let ours = entries.iter().filter(|entry| entry.manager.as_deref() == Some(keys::MANAGER));
    let fields = ours.filter_map(|entry| entry.fields_v1.as_ref()?.0.pointer("/f:metadata/f:labels")?.as_object());
    let mut own: Vec<String> = fields
        .flat_map(|labels| labels.keys())
        .filter_map(|field| field.strip_prefix("f:"))
        .filter(|key| key.starts_with("pod-security.kubernetes.io/"))
        .map(str::to_owned)
        .collect();
    own.sort();
    own.dedup();
    own
}

impl From<LivePod> for Pod {
    fn from(pod: LivePod) -> Self {
        Self::read(pod, FurtherNetworks::known())
    }
}

impl Pod {
    /// The same, where these annotations give a pod further networks.
    pub(super) fn read(pod: LivePod, further_networks: &FurtherNetworks) -> Self {
        let LivePod { metadata, spec, status } = pod;
        let (spec, status) = (spec.unwrap_or_default(), status.unwrap_or_default());
        let asked = Resources::asked(&spec);
        let privilege = privilege::of(&spec);
        let host_network = spec.host_network.unwrap_or_default();
        let ips = status.pod_ips.unwrap_or_default();
        let app = metadata.labels.as_ref().and_then(|labels| labels.get(keys::DNS_APP)).map(String::as_str);
        let is_app_of_dns = app.is_some_and(|app| keys::DNS_APPS.contains(&app));
        let annotations = metadata.annotations.unwrap_or_default();
        // Calico says by an empty one that there is none any more.
        let is_said = |key: &&str| ips.is_empty() && annotations.get(*key).is_some_and(|address| !address.is_empty());
        let pins = spec
            .node_selector
            .unwrap_or_default()
            .into_iter()
            .filter_map(|(key, value)| Some((key.strip_prefix(keys::NODE_RESIDENCY_PREFIX)?.to_owned(), value)));
        Self {
            uid: metadata.uid.unwrap_or_default(),
            node: spec.node_name.filter(|name| !name.is_empty()),
            pins: pins.take(PINS).collect(),
            phase: match status.phase.as_deref() {
                Some("Succeeded" | "Failed") => Phase::Ended,
                _ => Phase::Active,
            },
            running: status.phase.as_deref() == Some("Running"),
            asked,
            terminating: metadata.deletion_timestamp.is_some(),
            host_network,
            privilege,
            further_network: further_networks.find(&annotations).map(str::to_owned),
            address_annotation: keys::ADDRESS_ANNOTATIONS.into_iter().find(is_said).map(str::to_owned),
            serves_dns: is_app_of_dns && metadata.namespace.as_deref() == Some(keys::DNS_NAMESPACE),
            inline_volumes: spec.volumes.0,
            addresses: if host_network { Vec::new() } else { ips.iter().filter_map(|ip| ip.ip.parse().ok()).collect() },
            owner: controller(metadata.owner_references),
        }
    }
}

fn controller(owners: Option<Vec<OwnerReference>>) -> Option<Owner> {
    let owner = owners?.into_iter().find(|owner| owner.controller == Some(true))?;
    Some(Owner { kind: plain(&owner.kind), name: plain(&owner.name) })
}

/// What the API server takes as any text, for people: without characters that change what a terminal shows, and in no more
/// bytes than a name has at most.
pub(super) fn plain(text: &str) -> String {
    const LONGEST: usize = 253;
    let hides = |letter: char| {
        letter.is_control()
            || ('\u{200b}'..='\u{200f}').contains(&letter)
            || ('\u{2028}'..='\u{202e}').contains(&letter)
            || ('\u{2066}'..='\u{2069}').contains(&letter)
    };
    let mut shown = String::with_capacity(text.len().min(LONGEST));
    for letter in text.chars().map(|letter| if hides(letter) { '\u{fffd}' } else { letter }) {
        if shown.len() + letter.len_utf8() > LONGEST {
            break;
        }
        shown.push(letter);
    }
    shown
}

/// A volume that reaches past every claim: the same list as the policy on pods' volumes admits, turned round.
pub(super) fn inline(volume: &core::Volume) -> Option<String> {
    let admitted = volume.empty_dir.is_some()
        || volume.config_map.is_some()
        || volume.secret.is_some()
        || volume.downward_api.is_some()
        || volume.projected.is_some()
        || volume.persistent_volume_claim.is_some()
        || volume.ephemeral.is_some()
        || volume.image.is_some()
        || volume.csi.as_ref().is_some_and(|csi| IN_MEMORY_DRIVERS.contains(&csi.driver.as_str()));
    (!admitted).then(|| volume.name.clone())
}

impl From<core::PersistentVolumeClaim> for Claim {
    fn from(claim: core::PersistentVolumeClaim) -> Self {
        let spec = claim.spec.unwrap_or_default();
        let mut annotations = claim.metadata.annotations.unwrap_or_default();
        let beta = annotations.remove(BETA_CLASS);
        Self {
            uid: claim.metadata.uid.unwrap_or_default(),
            class: beta.or(spec.storage_class_name).as_deref().map(plain),
            volume: spec.volume_name.as_deref().filter(|name| !name.is_empty()).map(plain),
            placing: PLACING.into_iter().find(|key| annotations.contains_key(*key)),
            terminating: claim.metadata.deletion_timestamp.is_some(),
        }
    }
}

impl From<core::PersistentVolume> for Volume {
    fn from(volume: core::PersistentVolume) -> Self {
        let spec = volume.spec.unwrap_or_default();
        let required = spec.node_affinity.and_then(|affinity| affinity.required);
        let terms = required.map(|required| required.node_selector_terms).unwrap_or_default();
        Self {
            driver: spec.csi.map_or_else(|| "in-tree".to_owned(), |csi| csi.driver),
            terms: terms.into_iter().map(listed).collect(),
            claim: spec.claim_ref.and_then(|claim| Some(super::Key { namespace: claim.namespace?, name: claim.name? })),
        }
    }
}

fn listed(term: core::NodeSelectorTerm) -> BTreeMap<String, Vec<String>> {
    let expressions = term.match_expressions.unwrap_or_default();
    let mut keys = BTreeMap::new();
    for expression in expressions.into_iter().filter(|expression| expression.operator == "In") {
        keys.insert(expression.key, expression.values.unwrap_or_default());
    }
    keys
}

impl From<storage::StorageClass> for Class {
    fn from(class: storage::StorageClass) -> Self {
        let labels: Map = class.metadata.labels.unwrap_or_default();
        let annotations: Map = class.metadata.annotations.unwrap_or_default();
        let topologies = class.allowed_topologies.unwrap_or_default().into_iter().map(|term| {
            let expressions = term.match_label_expressions.unwrap_or_default();
            expressions.into_iter().map(|expression| (expression.key, expression.values)).collect()
        });
        Self {
            provisioner: class.provisioner,
            parameters: class.parameters.unwrap_or_default(),
            reclaim_policy: class.reclaim_policy.unwrap_or_else(|| "Delete".to_owned()),
            allow_volume_expansion: class.allow_volume_expansion.unwrap_or_default(),
            binding_mode: class.volume_binding_mode.unwrap_or_else(|| "Immediate".to_owned()),
            topologies: topologies.collect(),
            managed: labels.get(keys::MANAGED_BY).is_some_and(|value| value == keys::MANAGER),
            made_for: annotations.get(keys::RESIDENCY).cloned(),
        }
    }
}

pub(super) fn is_managed(meta: &ObjectMeta) -> bool {
    meta.labels.as_ref().and_then(|labels| labels.get(keys::MANAGED_BY)).is_some_and(|value| value == keys::MANAGER)
}

/// So many subjects of a RoleBinding are judged: as many as `access.yaml` does.
pub const SUBJECTS: usize = 1000;
/// Of so many namespaces one each is kept: more than its own and those that are never governed.
const HOMES: usize = 64;
/// Groups of accounts that run anywhere: everybody, every ServiceAccount, the kubelets and those that are to become one.
const ANYWHERE: [&str; 5] = [
    "system:authenticated",
    "system:unauthenticated",
    "system:serviceaccounts",
    "system:nodes",
    "system:bootstrappers",
];
/// Users that are kubelets, or are to become one.
const OF_NODES: [&str; 2] = ["system:node:", "system:bootstrap:"];
/// A name of a namespace is shorter.
const LONGER_THAN_A_NAMESPACE: usize = 64;

impl From<rbac::RoleBinding> for RoleBinding {
    fn from(binding: rbac::RoleBinding) -> Self {
        let subjects = binding.subjects.unwrap_or_default();
        let mut homes = BTreeSet::new();
        let judged = if subjects.len() > SUBJECTS { &[] } else { subjects.as_slice() };
        let reaches = judged.iter().filter_map(reach).filter(|reach| homes.insert(reach.home.clone())).take(HOMES);
        Self { uid: binding.metadata.uid.unwrap_or_default(), subjects: subjects.len(), reaches: reaches.collect() }
    }
}

/// A subject that stands for ServiceAccounts, for kubelets or for everybody; people and their groups are RBAC's, and an account
/// that names no namespace is of the RoleBinding's own.
fn reach(subject: &rbac::Subject) -> Option<Reach> {
    let name = subject.name.as_str();
    let home = match subject.kind.as_str() {
        "ServiceAccount" => Some(third(subject.namespace.as_deref().filter(|own| !own.is_empty())?)),
        "User" if name == "system:anonymous" || OF_NODES.iter().any(|prefix| name.starts_with(prefix)) => None,
        "User" => Some(third(name.strip_prefix("system:serviceaccount:")?)),
        "Group" if ANYWHERE.contains(&name) || name.starts_with("system:bootstrappers:") => None,
        "Group" => Some(third(name.strip_prefix("system:serviceaccounts:")?)),
        _ => return None,
    };
    let namespace = subject.namespace.as_ref().map(|own| format!(" of namespace {own}")).unwrap_or_default();
    Some(Reach { subject: plain(&format!("{} {name}{namespace}", subject.kind)), home })
}

/// The namespace in what follows the prefix of such a name.
fn third(rest: &str) -> String {
    rest.split(':').next().unwrap_or_default().chars().take(LONGER_THAN_A_NAMESPACE).collect()
}

/// The drivers that are registered on a node.
#[must_use]
pub fn drivers(node: storage::CSINode) -> Drivers {
    let registered = node.spec.drivers.into_iter();
    registered.map(|driver| (driver.name, driver.topology_keys.unwrap_or_default())).collect()
}

/// The addresses that endpoints tell.
#[must_use]
pub fn addresses(slice: &EndpointSlice) -> Vec<IpAddr> {
    slice.endpoints.iter().flat_map(|endpoint| &endpoint.addresses).filter_map(|text| text.parse().ok()).collect()
}

/// How a Service can be reached from outside, if it can.
#[must_use]
pub fn exposed_service(service: &core::Service) -> Option<Exposed> {
    let spec = service.spec.as_ref()?;
    let kind = spec.type_.as_deref().unwrap_or("ClusterIP");
    let external_ips = spec.external_ips.as_ref().is_some_and(|ips| !ips.is_empty());
    let labels = service.metadata.labels.as_ref();
    let annotations = service.metadata.annotations.as_ref();
    let is_exported = |key: &str| annotations.and_then(|all| all.get(key)).is_some_and(|value| value != "false");
    let mirrored = MIRRORED.into_iter().find(|key| labels.is_some_and(|labels| labels.contains_key(*key)));
    let mirrored = mirrored.or_else(|| EXPORTED.into_iter().find(|key| is_exported(key)));
    let names_ports = |value: &str| !WITHOUT_PORTS.contains(&value.replace(' ', "").as_str());
    let mirrored = mirrored.or_else(|| annotations?.get(NEG).filter(|value| names_ports(value)).map(|_| NEG));
    let how = match kind {
        "LoadBalancer" | "NodePort" | "ExternalName" => kind,
        _ if external_ips => "externalIPs",
        _ if mirrored.is_some() => kind,
        _ => return None,
    };
    let hides_source =
        matches!(how, "LoadBalancer" | "NodePort") && spec.external_traffic_policy.as_deref() != Some("Local");
    let uid = service.metadata.uid.clone().unwrap_or_default();
    Some(Exposed { uid, how: how.to_owned(), mirrored, external_ips, hides_source })
}

/// An Ingress exposes by being there.
#[must_use]
pub fn exposed_ingress(ingress: ObjectMeta) -> Exposed {
    let uid = ingress.uid.unwrap_or_default();
    // Whether a client's address is hidden is its controller's Service's.
    Exposed { uid, how: "Ingress".to_owned(), ..Exposed::default() }
}

/// The label by which an EndpointSlice is a Service's.
const SERVICE_NAME: &str = "kubernetes.io/service-name";
/// So many addresses of an EndpointSlice are judged: as many as `exposure.yaml` does.
pub const ADDRESSES: usize = 100;

impl From<EndpointSlice> for Endpoints {
    fn from(slice: EndpointSlice) -> Self {
        let all = || slice.endpoints.iter().flat_map(|one| &one.addresses);
        let service = slice.metadata.labels.as_ref().and_then(|labels| labels.get(SERVICE_NAME));
        Self {
            service: service.cloned().unwrap_or_default(),
            uid: slice.metadata.uid.clone().unwrap_or_default(),
            addresses: all().take(ADDRESSES).map(|text| plain(text)).collect(),
            more: all().count().saturating_sub(ADDRESSES),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_namespace_that_names_nothing_no_more_labels_are_kept_than_are_read() {
        let labels = |own: serde_json::Value| {
            let mut labels = own;
            for number in 0..1000 {
                labels[format!("a{number}")] = "".into();
            }
            let space = serde_json::json!({"metadata": {"name": "shop", "labels": labels}});
            Namespace::from(serde_json::from_value::<core::Namespace>(space).unwrap()).labels
        };
        let own = serde_json::json!({
            "domicile.dev/permit": "None", "domicile.dev/enforcement": "Enforce", "domicile.dev/confined-for": "mainland", "domicile.dev/peer": "true",
            "pod-security.kubernetes.io/enforce": "baseline", "pod-security.kubernetes.io/warn-version": "latest",
        });
        assert_eq!(serde_json::to_value(labels(own.clone())).unwrap(), own);
        assert_eq!(labels(serde_json::json!({"domicile.dev/residency": "mainland"})).len(), 1001);
    }

    #[test]
    fn annotations_and_labels_of_others_are_those_of_the_policies() {
        let (storage, exposure) = (
            include_str!("../../charts/domicile/policies/storage.yaml"),
            include_str!("../../charts/domicile/policies/exposure.yaml"),
        );
        assert!(PLACING.iter().all(|key| storage.contains(&format!("'{key}'"))));
        assert!(MIRRORED.iter().chain(&EXPORTED).chain(&[NEG]).all(|key| exposure.contains(&format!("'{key}'"))));
        let without_ports = WITHOUT_PORTS.map(|value| format!("'{value}'")).join(", ");
        assert!(exposure.contains(&format!("in [{without_ports}]")), "{without_ports}");
    }

    #[test]
    fn a_service_that_names_ports_to_load_balancers_is_exposed() {
        let mirrored = |value: &str| {
            let service = serde_json::json!({"metadata": {"annotations": {NEG: value}}, "spec": {}});
            exposed_service(&serde_json::from_value(service).unwrap()).and_then(|exposed| exposed.mirrored)
        };
        for value in [r#"{"ingress":true}"#, r#"{ "ingress": true }"#, r#"{"ingress": false}"#, "{}"] {
            assert_eq!(mirrored(value), None, "{value}");
        }
        for value in [r#"{"exposed_ports": {"80":{}}}"#, r#"{"ingress": true, "Exposed_Ports": {"80":{}}}"#, ""] {
            assert_eq!(mirrored(value), Some(NEG), "{value}");
        }
    }

    #[test]
    fn what_tenants_write_freely_changes_no_terminal() {
        let claim = |name: &str| {
            let claim = serde_json::json!({"metadata": {"annotations": {BETA_CLASS: "\u{1b}[2Kgp3"}}, "spec": {"volumeName": name}});
            Claim::from(serde_json::from_value::<core::PersistentVolumeClaim>(claim).unwrap())
        };
        let forged = claim("pv\n  Compliant  Pod web\u{202e}");
        assert_eq!(forged.volume.as_deref(), Some("pv\u{fffd}  Compliant  Pod web\u{fffd}"));
        assert_eq!(forged.class.as_deref(), Some("\u{fffd}[2Kgp3"));
        assert_eq!(claim(&"x".repeat(1000)).volume.unwrap().len(), 253);
        assert_eq!(claim("pvc-11198a65").volume.as_deref(), Some("pvc-11198a65"));
    }
}
