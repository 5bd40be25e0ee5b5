//! What the audit knows: a residency of its own in a country where no other test has a data center, and a namespace that is
//! confined for it, read as the operator reads them.

use std::collections::{BTreeMap, BTreeSet};

use domicile::{
    audit::{Scene, audit},
    domain::{Catalogue, Named, Residencies},
    observe::{self, Claim, Class, Endpoints, Exposed, Key, Node, Pod, Policy, RoleBinding, Volume},
    resolve::{self, Circumstances, Confined, Facilities, Location, Residency, Sites, locate},
};
use serde::de::DeserializeOwned;

use crate::support::prelude::*;

/// The country of each ground, by its name. Nobody else may have a data center there, or networks 10.N.0.0/16 and
/// 2001:db8:N::/48 of its number, which is 70 and its place here.
const COUNTRIES: [(&str, &str); 15] = [
    ("twice-pods", "LK"),
    ("twice-pods-both", "BT"),
    ("twice-claims", "PK"),
    ("twice-claims-both", "MV"),
    ("twice-narrowed", "MY"),
    ("twice-large", "LA"),
    ("twice-large-narrowed", "KH"),
    ("twice-refused", "VN"),
    ("twice-open", "BD"),
    ("twice-closed", "MN"),
    ("twice-exposed", "KZ"),
    ("twice-endpoints", "MM"),
    ("twice-bound", "NP"),
    ("twice-warned", "BN"),
    ("twice-standing", "TL"),
];

/// One object as the audit sees it.
pub enum Seen {
    Pod(Pod),
    Claim(Claim),
    Policy(Box<Policy>),
    Exposed(&'static str, Exposed),
    Endpoints(Endpoints),
    RoleBinding(RoleBinding),
}

/// A governed namespace and all that the audit needs to know of it.
pub struct Ground {
    pub space: Namespace,
    pub name: String,
    /// Of its networks.
    pub number: u8,
    named: Residencies,
    residencies: Vec<Residency>,
    pub confined: Confined,
    locations: BTreeMap<String, Location>,
    classes: BTreeMap<String, Class>,
    volumes: BTreeMap<String, Volume>,
    as_seen: observe::Namespace,
    /// The first is the one that has a data center and classes of its own.
    pub written: Vec<Made>,
    _data_center: Made,
}

fn all<T: DeserializeOwned, K>(stage: &Turn, kind: &Kind) -> BTreeMap<String, K>
where
    K: From<T>,
{
    let named = |object: Value| (object["metadata"]["name"].as_str().unwrap().to_owned(), K::from(typed::<T>(&object)));
    stage.admin.list(kind, "").into_iter().map(named).collect()
}

impl Ground {
    /// Networks of both families in its own country, two classes, and what `network` says in `spec.network`.
    pub fn new(stage: &Turn, name: &str, network: &str) -> Self {
        let country = country(name);
        let (data_center, made) = makes_country(stage, name, country, network);
        Self::of(stage, country.1, data_center, vec![made], &format!("{name}-hdd,{name}-ssd"))
    }

    /// The same, in a namespace that names a second residency, too, which permits one of the classes.
    pub fn of_two(stage: &Turn, name: &str) -> Self {
        let country = country(name);
        let (data_center, made) = makes_country(stage, name, country, "{}");
        let spec = format!("{{jurisdictions: [{}], storage: {{allowedClasses: [{name}-ssd]}}}}", country.0);
        let second = stage.makes_residency(&format!("{name}-2"), &spec);
        Self::of(stage, country.1, data_center, vec![made, second], &format!("{name}-ssd"))
    }

    fn of(stage: &Turn, number: u8, data_center: Made, written: Vec<Made>, permitted: &str) -> Self {
        let names: Vec<&str> = written.iter().map(Made::name).collect();
        let space = stage.governed(&names.join("_"));
        eventually("the classes are permitted", SOON, || {
            let classes = space.annotation("domicile.dev/storage-classes");
            when(classes == permitted, || classes)
        });
        // What others do in their countries may be on its way.
        let (residencies, as_seen, named, mut confined, locations, classes) =
            eventually("what stands is what is resolved", SOON, || {
                let (facilities, locations, sites) = places(stage);
                let classes = all::<k8s_openapi::api::storage::v1::StorageClass, Class>(stage, &STORAGE_CLASS);
                let specs = written.iter().map(|made| (made.name().to_owned(), typed(&made.now()))).collect();
                let residencies = resolve::resolve(&specs, &facilities, &sites, &classes);
                let as_seen = observe::Namespace::from(typed::<k8s_openapi::api::core::v1::Namespace>(&space.object()));
                let Named::Residencies(named) = as_seen.named() else { panic!("{} names nothing", space.name) };
                let values = [named.value()];
                let confined = resolve::confine(
                    &as_seen,
                    &named,
                    &residencies,
                    values,
                    std::iter::empty(),
                    &locations,
                    Circumstances::default(),
                );
                let confined = confined.ok_or("a residency is not there")?;
                let expected = confined.confinement.annotations();
                let other = expected.into_iter().find(|(key, value)| {
                    let depends = ["domicile.dev/mutation", "domicile.dev/held-pods"].contains(key);
                    !depends && as_seen.annotations.get(*key) != Some(value)
                });
                when(other.is_none(), || format!("{other:?} in {:?}", as_seen.annotations))?;
                Ok((residencies, as_seen, named, confined, locations, classes))
            });
        confined.confinement.held_role_bindings = vec!["*".to_owned()]; // a tenant has not the verb share
        Self {
            name: names[0].to_owned(),
            number,
            residencies: names.iter().map(|name| residencies[*name].clone()).collect(),
            space,
            named,
            confined,
            locations,
            classes,
            volumes: all::<k8s_openapi::api::core::v1::PersistentVolume, Volume>(stage, &VOLUME),
            as_seen,
            written,
            _data_center: data_center,
        }
    }

    /// Ids of the rules that the audit says an object breaks, which stands in the namespace alone.
    pub fn finds(&self, seen: &Seen) -> BTreeSet<&'static str> {
        let key = Key::new(&self.space.name, "it");
        let by_hand = BTreeMap::new();
        let mut scene = Scene {
            namespace: &self.as_seen,
            named: &self.named,
            residencies: self.residencies.iter().collect(),
            confined: &self.confined,
            pods: vec![],
            claims: vec![],
            policies: vec![],
            role_bindings: vec![],
            never_governed: vec!["kube-system", "kube-public", "kube-node-lease", "domicile-system"],
            cluster_policies: vec![],
            exposed: vec![],
            endpoints: vec![],
            openings: vec![],
            devices: vec![],
            receivers: vec![],
            by_hand: &by_hand,
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
            Seen::Endpoints(slice) => scene.endpoints.push((&key, slice)),
        }
        audit(&scene).iter().map(|finding| finding.rule).collect()
    }
}

/// The country of a ground, and the number of its networks.
fn country(name: &str) -> (&'static str, u8) {
    let place = COUNTRIES.iter().position(|(ground, _)| *ground == name);
    let place = place.unwrap_or_else(|| panic!("give {name} a country in COUNTRIES"));
    (COUNTRIES[place].1, 70 + u8::try_from(place).unwrap())
}

#[test]
fn no_two_grounds_share_a_country() {
    let countries: BTreeSet<&str> = COUNTRIES.iter().map(|(_, country)| *country).collect();
    assert_eq!(countries.len(), COUNTRIES.len());
}

/// A data center with networks of both families, and a residency with two classes there.
fn makes_country(stage: &Turn, name: &str, (jurisdiction, number): (&str, u8), network: &str) -> (Made, Made) {
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
    (data_center, made)
}

fn places(stage: &Turn) -> (Facilities, BTreeMap<String, Location>, Sites) {
    let centers: BTreeMap<String, domicile::api::DataCenter> = all(stage, &DATA_CENTER);
    let nodes: BTreeMap<String, Node> = all::<domicile::observe::node::LiveNode, Node>(stage, &NODE);
    let facilities = Facilities::resolve(&centers);
    let locations: BTreeMap<String, Location> =
        nodes.iter().map(|(name, node)| (name.clone(), locate(node, &facilities, Catalogue::built_in()))).collect();
    let sites = Sites::of(&nodes, &locations);
    (facilities, locations, sites)
}
