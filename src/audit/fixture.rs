//! What the tests of the audit look at: namespace `shop`, governed by residency `mainland` in CN, of which all is well.

use std::{collections::BTreeMap, net::IpAddr};

use super::Scene;
use crate::{
    api::selector::LabelSelector,
    domain::{AddOn, Confinement, Finding, Jurisdiction, Mutation, Named, Residencies, add_ons::ADD_ONS, keys},
    observe::{
        Claim, Class, ClusterPolicy, Device, Endpoints, Exposed, Key, Namespace, Opening, Owner, Pod, Policy,
        Receivers, RoleBinding, Volume, in_namespace,
        network_policy::Opens,
        receivers::{Receiver, Target},
    },
    resolve::{Confined, Location, NodeConflict, Residency, WantedClass},
};

/// The topology key of the driver in these tests.
pub(super) const DISK_ZONE: &str = "topology.diskplugin.csi.alibabacloud.com/zone";
pub(super) const DISK: &str = "diskplugin.csi.alibabacloud.com";

/// Everything that a scene borrows.
pub(super) struct Stage {
    pub namespace: Namespace,
    pub named: Residencies,
    pub residencies: Vec<Residency>,
    pub confined: Confined,
    pods: BTreeMap<Key, Pod>,
    pub claims: BTreeMap<Key, Claim>,
    pub policies: BTreeMap<Key, Policy>,
    role_bindings: BTreeMap<Key, RoleBinding>,
    pub cluster_policies: BTreeMap<String, ClusterPolicy>,
    exposed: Vec<(Key, &'static str, Exposed)>,
    pub endpoints: BTreeMap<Key, Endpoints>,
    openings: Vec<(Key, &'static AddOn, Opening)>,
    pub devices: BTreeMap<Key, Device>,
    pub receivers: BTreeMap<(&'static str, String), Receivers>,
    pub external_names: Vec<Key>,
    pub api_servers: Vec<IpAddr>,
    pub volumes: BTreeMap<String, Volume>,
    pub classes: BTreeMap<String, Class>,
    locations: BTreeMap<String, Location>,
}

/// What holds in `shop`.
pub(crate) fn confinement() -> Confinement {
    Confinement {
        storage_classes: vec!["mainland-ssd".into()],
        default_storage_class: Some("mainland-ssd".into()),
        networks: vec!["10.20.0.0/16".parse().unwrap(), "10.21.0.0/16".parse().unwrap()],
        peers: vec!["mainland".into(), "mainland_battery".into()],
        mutation: Mutation::AdmissionPolicy,
        ..Confinement::bare()
    }
}

fn verified(data_center: &str, code: &str) -> Location {
    Location::Verified { data_center: data_center.into(), jurisdiction: Jurisdiction::parse(code).unwrap() }
}

/// A residency in CN with two zones.
pub(super) fn residency(name: &str, code: &str, zones: &[&str]) -> Residency {
    let zones: Vec<String> = zones.iter().map(|zone| (*zone).to_owned()).collect();
    let class = WantedClass {
        name: format!("{name}-lvm"),
        residency: name.into(),
        provisioner: "local.csi.openebs.io".into(),
        parameters: BTreeMap::new(),
        reclaim_policy: "Retain",
        allow_volume_expansion: false,
        topology_key: "openebs.io/zone".into(),
        zones: zones.clone(),
    };
    Residency {
        name: name.into(),
        jurisdictions: [Jurisdiction::parse(code).unwrap()].into(),
        zones: zones.into_iter().collect(),
        classes: vec![class],
        ..Residency::canary()
    }
}

impl Stage {
    pub fn new() -> Self {
        let Named::Residencies(named) = Named::parse(Some("mainland")) else { panic!() };
        let conflict = NodeConflict {
            reason: "AddressOutsideFacility",
            message: "InternalIP 10.99.0.4 is in none of 10.20.0.0/16".into(),
        };
        let locations = [
            ("cn-1", verified("shanghai-1", "CN")),
            ("cn-2", verified("beijing-2", "CN")),
            ("de-1", verified("frankfurt-1", "DE")),
            ("doubtful", Location::Conflict { data_centers: vec!["shanghai-1".into()], conflicts: vec![conflict] }),
            ("unclaimed", Location::Unclaimed),
        ];
        Self {
            namespace: Namespace { name: "shop".into(), ..Namespace::default() },
            named,
            residencies: vec![residency("mainland", "CN", &["cn-shanghai-e", "cn-beijing-h"])],
            confined: Confined {
                confinement: confinement(),
                egress: vec![],
                ingress: vec![],
                control_plane: vec![],
                findings: vec![],
            },
            pods: BTreeMap::new(),
            claims: BTreeMap::new(),
            policies: BTreeMap::new(),
            role_bindings: BTreeMap::new(),
            cluster_policies: BTreeMap::new(),
            exposed: vec![],
            endpoints: BTreeMap::new(),
            openings: vec![],
            devices: BTreeMap::new(),
            receivers: BTreeMap::new(),
            external_names: vec![],
            api_servers: vec![],
            volumes: BTreeMap::new(),
            classes: BTreeMap::new(),
            locations: locations.map(|(node, location)| (node.to_owned(), location)).into(),
        }
    }

    /// A pinned pod of a ReplicaSet, made otherwise by `change`.
    pub fn pod(&mut self, name: &str, change: impl FnOnce(&mut Pod)) {
        let owner = Some(Owner { kind: "ReplicaSet".into(), name: "web".into() });
        let mut pod = Pod { pins: [("mainland".to_owned(), "true".to_owned())].into(), owner, ..Pod::default() };
        change(&mut pod);
        self.pods.insert(Key::new("shop", name), pod);
    }

    pub fn claim(&mut self, name: &str, class: Option<&str>, volume: Option<&str>) {
        let claim = Claim { class: class.map(str::to_owned), volume: volume.map(str::to_owned), ..Claim::default() };
        self.claims.insert(Key::new("shop", name), claim);
    }

    /// A volume whose node affinity has these terms, each of key and values.
    pub fn volume(&mut self, name: &str, driver: &str, terms: &[&[(&str, &[&str])]]) {
        let values = |values: &[&str]| values.iter().map(|value| (*value).to_owned()).collect::<Vec<_>>();
        let term =
            |term: &&[(&str, &[&str])]| term.iter().map(|(key, list)| ((*key).to_owned(), values(list))).collect();
        let volume = Volume { driver: driver.into(), terms: terms.iter().map(term).collect(), claim: None };
        self.volumes.insert(name.to_owned(), volume);
    }

    pub fn policy(&mut self, name: &str, spec: serde_json::Value) {
        let opens = Opens::read(&serde_json::from_value(spec).unwrap());
        let policy = Policy { opens, ..Policy::default() };
        self.policies.insert(Key::new("shop", name), policy);
    }

    /// A RoleBinding, whose UID is its name.
    pub fn role_binding(&mut self, name: &str, subjects: &serde_json::Value) {
        let live = serde_json::json!({"metadata": {"uid": name}, "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "view"}, "subjects": subjects});
        let live: k8s_openapi::api::rbac::v1::RoleBinding = serde_json::from_value(live).unwrap();
        self.role_bindings.insert(Key::new("shop", name), live.into());
    }

    pub fn exposed(&mut self, name: &str, how: &str, change: impl FnOnce(&mut Exposed)) {
        let kind = if how == "Ingress" { "Ingress" } else { "Service" };
        let mut exposed = Exposed { how: how.into(), ..Exposed::default() };
        change(&mut exposed);
        self.exposed.push((Key::new("shop", name), kind, exposed));
    }

    pub fn slice(&mut self, name: &str, slice: k8s_openapi::api::discovery::v1::EndpointSlice) {
        self.endpoints.insert(Key::new("shop", name), slice.into());
    }

    pub fn endpoints(&mut self, name: &str, addresses: &[&str]) {
        let addresses = addresses.iter().map(|address| (*address).to_owned()).collect();
        self.endpoints.insert(Key::new("shop", name), Endpoints { addresses, ..Endpoints::default() });
    }

    /// An object of an add-on's kind.
    pub fn opening(&mut self, name: &str, kind: &str, gives_more: bool) {
        let kind = ADD_ONS.iter().find(|known| known.name == kind).unwrap();
        self.openings.push((Key::new("shop", name), kind, Opening { gives_more, ..Opening::default() }));
    }

    /// A webhook that is sent what is made in every namespace.
    pub fn webhook(&mut self, target: Target) {
        let namespaces = LabelSelector::default();
        let receiver = Receiver { name: "pods.example.com".into(), target, namespaces, narrowed_by: None };
        let named = ("ValidatingWebhookConfiguration", "theirs".to_owned());
        self.receivers.insert(named, Receivers { uid: String::new(), receivers: vec![receiver] });
    }

    pub fn scene(&self) -> Scene<'_> {
        Scene {
            namespace: &self.namespace,
            named: &self.named,
            residencies: self.residencies.iter().collect(),
            confined: &self.confined,
            pods: self.pods.iter().collect(),
            claims: self.claims.iter().collect(),
            policies: self.policies.iter().collect(),
            role_bindings: self.role_bindings.iter().collect(),
            never_governed: keys::SYSTEM_NAMESPACES.to_vec(),
            cluster_policies: self.cluster_policies.iter().collect(),
            exposed: self.exposed.iter().map(|(key, kind, exposed)| (key, *kind, exposed)).collect(),
            endpoints: in_namespace(&self.endpoints, "shop").collect(),
            openings: self.openings.iter().map(|(key, kind, one)| (key, *kind, one)).collect(),
            devices: self.devices.iter().collect(),
            receivers: self.receivers.iter().map(|((kind, name), one)| (*kind, name, one)).collect(),
            by_hand: &self.endpoints,
            external_names: self.external_names.iter().collect(),
            api_servers: self.api_servers.clone(),
            volumes: &self.volumes,
            classes: &self.classes,
            locations: &self.locations,
        }
    }

    /// The one finding that `judge` has.
    #[track_caller]
    pub fn one(&self, judge: fn(&Scene<'_>) -> Vec<Finding>) -> Finding {
        let findings = judge(&self.scene());
        assert_eq!(findings.len(), 1, "{findings:?}");
        findings.into_iter().next().unwrap()
    }
}
