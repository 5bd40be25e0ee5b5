//! What the audit knows: a residency of its own in a country where no other test has a data center, and a namespace that is
//! confined for it, read as the operator reads them.

use std::collections::{BTreeMap, BTreeSet};

use domicile::{
    audit::{Scene, audit},
    domain::{Catalogue, Named, Residencies},
    observe::{self, Claim, Class, Exposed, Key, Node, Pod, Policy, RoleBinding, Volume},
    resolve::{self, Circumstances, Confined, Facilities, Location, Residency, Sites, locate},
};
use serde::de::DeserializeOwned;

use crate::support::prelude::*;

/// One object as the audit sees it.
pub enum Seen {
    Pod(Pod),
    Claim(Claim),
    Policy(Box<Policy>),
    Exposed(&'static str, Exposed),
    RoleBinding(RoleBinding),
}

/// A governed namespace and all that the audit needs to know of it.
pub struct Ground {
    pub space: Namespace,
    pub name: String,
    named: Residencies,
    residency: Residency,
    pub confined: Confined,
    locations: BTreeMap<String, Location>,
    classes: BTreeMap<String, Class>,
    volumes: BTreeMap<String, Volume>,
    as_seen: observe::Namespace,
    _residency: Made,
    _data_center: Made,
}

/// The object as its type.
pub fn typed<T: DeserializeOwned>(object: &Value) -> T {
    serde_json::from_value(object.clone()).unwrap_or_else(|error| panic!("{error}: {object}"))
}

fn all<T: DeserializeOwned, K>(stage: &Turn, kind: &Kind) -> BTreeMap<String, K>
where
    K: From<T>,
{
    let named = |object: Value| (object["metadata"]["name"].as_str().unwrap().to_owned(), K::from(typed::<T>(&object)));
    stage.admin.list(kind, "").into_iter().map(named).collect()
}

impl Ground {
    /// Networks of both families in `jurisdiction`, two classes, and what `network` says in `spec.network`.
    pub fn new(stage: &Turn, name: &str, jurisdiction: &str, number: u8, network: &str) -> Self {
        let center = Manifest::from(format!(
            "{{apiVersion: domicile.dev/v1alpha1, kind: DataCenter, metadata: {{name: {name}-1}}, spec: {{jurisdiction: {jurisdiction}, \
             nodes: {{selector: {{matchLabels: {{example.com/site: {name}}}}}, addresses: [10.{number}.0.0/16], scaleFromZero: true}}, \
             zones: [{name}-a], networks: [10.{number}.0.0/16, '2001:db8:{number}::/48']}}}}"
        ));
        let data_center = stage.makes(center);
        let spec = format!(
            "{{jurisdictions: [{jurisdiction}], network: {network}, storage: {{classes: [\
             {{name: {name}-ssd, provisioner: diskplugin.csi.alibabacloud.com, parameters: {{type: cloud_essd}}, default: true}}, \
             {{name: {name}-hdd, provisioner: diskplugin.csi.alibabacloud.com, parameters: {{type: cloud_efficiency}}}}]}}}}"
        );
        let made = stage.makes_residency(name, &spec);
        let space = stage.governed(name);
        eventually("both classes are permitted", SOON, || {
            let classes = space.annotation("domicile.dev/storage-classes");
            when(classes == format!("{name}-hdd,{name}-ssd"), || classes)
        });
        let (facilities, locations, sites) = places(stage);
        let classes = all::<k8s_openapi::api::storage::v1::StorageClass, Class>(stage, &STORAGE_CLASS);
        let written = BTreeMap::from([(name.to_owned(), typed(&made.now()))]);
        let residencies = resolve::resolve(&written, &facilities, &sites, &classes);
        let as_seen = observe::Namespace::from(typed::<k8s_openapi::api::core::v1::Namespace>(&space.object()));
        let Named::Residencies(named) = as_seen.named() else { panic!("{} names nothing", space.name) };
        let circumstances = Circumstances::default();
        let none = std::iter::empty();
        let mut confined =
            resolve::confine(&as_seen, &named, &residencies, [name], none, &locations, circumstances).unwrap();
        for (key, value) in confined.confinement.annotations() {
            if !["domicile.dev/mutation", "domicile.dev/held-pods"].contains(&key) {
                assert_eq!(as_seen.annotations.get(key), Some(&value), "what stands is not what was resolved: {key}");
            }
        }
        confined.confinement.held_role_bindings = vec!["*".to_owned()]; // a tenant has not the verb share
        Self {
            space,
            name: name.to_owned(),
            named,
            residency: residencies[name].clone(),
            confined,
            locations,
            classes,
            volumes: all::<k8s_openapi::api::core::v1::PersistentVolume, Volume>(stage, &VOLUME),
            as_seen,
            _residency: made,
            _data_center: data_center,
        }
    }

    /// Ids of the rules that the audit says an object breaks, which stands in the namespace alone.
    pub fn finds(&self, seen: &Seen) -> BTreeSet<&'static str> {
        let key = Key::new(&self.space.name, "it");
        let mut scene = Scene {
            namespace: &self.as_seen,
            named: &self.named,
            residencies: vec![&self.residency],
            confined: &self.confined,
            pods: vec![],
            claims: vec![],
            policies: vec![],
            role_bindings: vec![],
            never_governed: vec!["kube-system", "kube-public", "kube-node-lease", "domicile-system"],
            cluster_policies: vec![],
            exposed: vec![],
            receivers: vec![],
            external_names: vec![],
            api_servers: vec![],
            volumes: &self.volumes,
            classes: &self.classes,
            locations: &self.locations,
        };
        match seen {
            Seen::Pod(pod) => scene.pods.push((&key, pod)),
            Seen::Claim(claim) => scene.claims.push((&key, claim)),
            Seen::Policy(policy) => scene.policies.push((&key, policy)),
            Seen::RoleBinding(binding) => scene.role_bindings.push((&key, binding)),
            Seen::Exposed(kind, exposed) => scene.exposed.push((&key, kind, exposed)),
        }
        audit(&scene).iter().map(|finding| finding.rule).collect()
    }
}

fn places(stage: &Turn) -> (Facilities, BTreeMap<String, Location>, Sites) {
    let centers: BTreeMap<String, domicile::api::DataCenter> = all(stage, &DATA_CENTER);
    let nodes: BTreeMap<String, Node> = all::<k8s_openapi::api::core::v1::Node, Node>(stage, &NODE);
    let facilities = Facilities::resolve(&centers);
    let locations: BTreeMap<String, Location> =
        nodes.iter().map(|(name, node)| (name.clone(), locate(node, &facilities, Catalogue::built_in()))).collect();
    let sites = Sites::of(&nodes, &locations);
    (facilities, locations, sites)
}
