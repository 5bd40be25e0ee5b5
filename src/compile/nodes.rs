//! The trusted labels of a node.

use std::collections::BTreeMap;

use crate::{
    domain::keys,
    observe::Node,
    resolve::{Location, Residency},
};

use super::{Changes, changes};

/// What must change on `node` so that it carries the trusted labels that its location earns, and no others.
#[must_use]
pub fn labels(node: &Node, location: &Location, residencies: &BTreeMap<String, Residency>) -> Changes {
    let mut wanted: Changes =
        node.labels.keys().filter(|key| keys::is_trusted_node_label(key)).map(|key| (key.clone(), None)).collect();
    if let Location::Verified { data_center, jurisdiction } = location {
        wanted.insert(keys::NODE_JURISDICTION.to_owned(), Some(jurisdiction.to_string()));
        wanted.insert(keys::NODE_DATA_CENTER.to_owned(), Some(data_center.clone()));
    }
    for residency in serves(location, residencies) {
        wanted.insert(keys::node_residency(&residency), Some("true".to_owned()));
    }
    changes(&node.labels, wanted)
}

/// The residencies that a node which stands there serves.
#[must_use]
pub fn serves(location: &Location, residencies: &BTreeMap<String, Residency>) -> Vec<String> {
    let jurisdiction = location.jurisdiction();
    let serves = |residency: &&Residency| residency.jurisdictions.iter().any(|wanted| jurisdiction.satisfies(*wanted));
    residencies.values().filter(serves).map(|residency| residency.name.clone()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Jurisdiction;

    fn residencies() -> BTreeMap<String, Residency> {
        let named = |name: &str, code: &str| {
            let jurisdictions = [Jurisdiction::parse(code).unwrap()].into();
            (name.to_owned(), Residency { name: name.to_owned(), jurisdictions, ..Residency::canary() })
        };
        BTreeMap::from([named("mainland", "CN"), named("germany", "DE")])
    }

    #[test]
    fn a_verified_node_serves_the_residencies_of_its_jurisdiction() {
        let location =
            Location::Verified { data_center: "shanghai-1".into(), jurisdiction: Jurisdiction::parse("CN").unwrap() };
        let changes = labels(&Node::default(), &location, &residencies());
        let set: Vec<(&str, &str)> =
            changes.iter().map(|(key, value)| (key.as_str(), value.as_deref().unwrap())).collect();
        assert_eq!(
            set,
            [
                (keys::NODE_DATA_CENTER, "shanghai-1"),
                (keys::NODE_JURISDICTION, "CN"),
                ("residency.domicile.dev.node-restriction.kubernetes.io/mainland", "true"),
            ]
        );
        let labelled =
            Node { labels: changes.into_iter().map(|(key, value)| (key, value.unwrap())).collect(), ..Node::default() };
        assert!(labels(&labelled, &location, &residencies()).is_empty());
    }

    #[test]
    fn every_trusted_label_goes_when_a_signal_turns() {
        let node = Node {
            labels: [
                (keys::node_residency("gone"), "true".to_owned()),
                (keys::NODE_JURISDICTION.to_owned(), "CN".to_owned()),
                ("other".to_owned(), "stays".to_owned()),
            ]
            .into(),
            ..Node::default()
        };
        let changes = labels(&node, &Location::Unclaimed, &residencies());
        assert_eq!(changes.keys().collect::<Vec<_>>(), [keys::NODE_JURISDICTION, &keys::node_residency("gone")]);
        assert!(changes.values().all(Option::is_none));
    }
}
