//! Whether the driver of a residency's class knows the topology key by which the class holds its volumes.
//!
//! A driver says on each node, in its CSINode, by which labels it tells places. A class that names another key gets no
//! volume, or one anywhere: drivers differ in what they make of it.

use std::collections::{BTreeMap, BTreeSet};

use super::{Location, Residency};
use crate::observe::Drivers;

/// A class whose driver does not know its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownKey {
    /// The class.
    pub class: String,
    /// Its driver.
    pub driver: String,
    /// The key that it names.
    pub key: String,
    /// The keys that the driver registered on verified nodes, sorted.
    pub registered: Vec<String>,
}

/// Classes whose driver runs on nodes that are verified for the residency, and on none of them knows the key.
#[must_use]
pub fn unknown_keys(
    residency: &Residency,
    locations: &BTreeMap<String, Location>,
    drivers: &BTreeMap<String, Drivers>,
) -> Vec<UnknownKey> {
    let inside = |node: &str| {
        let here = locations.get(node).map(Location::jurisdiction);
        here.is_some_and(|here| residency.jurisdictions.iter().any(|wanted| here.satisfies(*wanted)))
    };
    let mut registered: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for (driver, keys) in drivers.iter().filter(|(node, _)| inside(node)).flat_map(|(_, drivers)| drivers) {
        registered.entry(driver).or_default().extend(keys.iter().map(String::as_str));
    }
    let unknown = residency.classes.iter().filter_map(|class| {
        let keys = registered.get(class.provisioner.as_str())?;
        (!keys.contains(class.topology_key.as_str())).then(|| UnknownKey {
            class: class.name.clone(),
            driver: class.provisioner.clone(),
            key: class.topology_key.clone(),
            registered: keys.iter().map(|key| (*key).to_owned()).collect(),
        })
    });
    unknown.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{domain::Jurisdiction, resolve::WantedClass};

    /// What is registered of the class's driver, as `node → keys`; `cn-1` is verified in CN, `de-1` in DE.
    fn unknown(nodes: &[(&str, &[&str])]) -> Vec<Vec<String>> {
        let class = WantedClass {
            name: "mainland-lvm".into(),
            residency: "mainland".into(),
            provisioner: "local.csi.openebs.io".into(),
            parameters: [].into(),
            reclaim_policy: "Retain",
            allow_volume_expansion: false,
            topology_key: "openebs.io/zone".into(),
            zones: vec!["cn-shanghai-e".into()],
        };
        let parse = |code| Jurisdiction::parse(code).unwrap();
        let residency = Residency { jurisdictions: [parse("CN")].into(), classes: vec![class], ..Residency::canary() };
        let verified = |code| Location::Verified { data_center: "one".into(), jurisdiction: parse(code) };
        let locations = [("cn-1", verified("CN")), ("cn-2", verified("CN")), ("de-1", verified("DE"))];
        let locations = locations.map(|(node, location)| (node.to_owned(), location)).into();
        let drivers = nodes.iter().map(|(node, keys)| {
            let keys = keys.iter().map(|key| (*key).to_owned()).collect();
            ((*node).to_owned(), Drivers::from([("local.csi.openebs.io".to_owned(), keys)]))
        });
        unknown_keys(&residency, &locations, &drivers.collect()).into_iter().map(|one| one.registered).collect()
    }

    #[test]
    fn a_key_that_no_verified_node_registers_is_unknown() {
        let other = "openebs.io/nodename";
        assert_eq!(unknown(&[("cn-1", &[other]), ("cn-2", &[other])]), [[other.to_owned()]]);
        assert_eq!(unknown(&[("cn-1", &[])]), [Vec::<String>::new()]);
        assert_eq!(unknown(&[("cn-1", &[other]), ("de-1", &["openebs.io/zone"])]), [[other.to_owned()]]);
    }

    #[test]
    fn one_node_that_registers_it_is_enough_and_a_driver_that_is_not_there_says_nothing() {
        assert!(unknown(&[("cn-1", &["openebs.io/nodename"]), ("cn-2", &["openebs.io/zone"])]).is_empty());
        assert!(unknown(&[]).is_empty());
        assert!(unknown(&[("de-1", &["openebs.io/nodename"]), ("nobody-knows", &[])]).is_empty());
    }
}
