//! Where one node stands, by every signal that its data center gives.
//!
//! A node is verified only while one data center claims it and every signal agrees. Each check is a small function from
//! the signals to a conflict; what cannot be told is a conflict, never a pass.

use crate::{
    domain::{Catalogue, Jurisdiction, keys},
    observe::Node,
};

use super::{
    facilities::{Facilities, Facility},
    provider_id::{self, ProviderId},
};

/// Where a node stands.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub enum Location {
    /// No data center claims it.
    Unclaimed,
    /// One data center claims it, and every signal agrees.
    Verified {
        /// The data center.
        data_center: String,
        /// Its jurisdiction.
        jurisdiction: Jurisdiction,
    },
    /// It is claimed, and something does not agree.
    Conflict {
        /// The data centers that claim it.
        data_centers: Vec<String>,
        /// What does not agree, first check first.
        conflicts: Vec<NodeConflict>,
    },
}

/// What does not agree.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct NodeConflict {
    /// One word for machines.
    pub reason: &'static str,
    /// A sentence for people.
    pub message: String,
}

impl Location {
    /// The jurisdiction of a verified node, unknown otherwise.
    #[must_use]
    pub fn jurisdiction(&self) -> Jurisdiction {
        match self {
            Self::Verified { jurisdiction, .. } => *jurisdiction,
            Self::Unclaimed | Self::Conflict { .. } => Jurisdiction::UNKNOWN,
        }
    }

    /// The data centers that claim the node.
    pub fn claimed_by(&self) -> impl Iterator<Item = &str> {
        let names: Vec<&str> = match self {
            Self::Unclaimed => Vec::new(),
            Self::Verified { data_center, .. } => vec![data_center.as_str()],
            Self::Conflict { data_centers, .. } => data_centers.iter().map(String::as_str).collect(),
        };
        names.into_iter()
    }
}

type Check = fn(&Node, &Facility, &Catalogue) -> Option<NodeConflict>;

/// Every check, in the order in which people want to read the results.
const CHECKS: [Check; 5] = [addresses, provider_form, region, zone, region_inside_provider_id];

/// Where `node` stands.
#[must_use]
pub fn locate(node: &Node, facilities: &Facilities, catalogue: &Catalogue) -> Location {
    let claims = facilities.claims().filter(|(_, selector)| selector.matches(&node.labels));
    let data_centers: Vec<String> = claims.map(|(name, _)| name.to_owned()).collect();
    let conflict = |reason, message| Location::Conflict {
        data_centers: data_centers.clone(),
        conflicts: vec![NodeConflict { reason, message }],
    };
    let name = match data_centers.as_slice() {
        [] => return Location::Unclaimed,
        [name] => name,
        several => {
            let message = format!("claimed by {}; narrow their selectors", several.join(" and "));
            return conflict("ClaimedTwice", message);
        }
    };
    let Some(facility) = facilities.get(name) else {
        return conflict("DataCenterInDoubt", format!("data center {name} is not accepted"));
    };
    let conflicts: Vec<NodeConflict> = CHECKS.iter().filter_map(|check| check(node, facility, catalogue)).collect();
    if conflicts.is_empty() {
        Location::Verified { data_center: name.clone(), jurisdiction: facility.jurisdiction }
    } else {
        Location::Conflict { data_centers, conflicts }
    }
}

/// Every InternalIP lies in the facility's addresses, and there is one.
fn addresses(node: &Node, facility: &Facility, _: &Catalogue) -> Option<NodeConflict> {
    if let Some(text) = node.unreadable_addresses.first() {
        return found("AddressUnreadable", format!("InternalIP {text} cannot be read"));
    }
    if facility.addresses.is_empty() {
        return None;
    }
    let permitted = || facility.addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    if node.addresses.is_empty() {
        return found("AddressMissing", format!("no InternalIP is reported; one in {} is needed", permitted()));
    }
    let outside = node
        .addresses
        .iter()
        .find(|address| !facility.addresses.iter().any(|block| block.contains_address(**address)))?;
    found("AddressOutsideFacility", format!("InternalIP {outside} is in none of {}", permitted()))
}

/// The provider ID has the form of the provider that the spec names.
fn provider_form(node: &Node, facility: &Facility, _: &Catalogue) -> Option<NodeConflict> {
    let provider = facility.provider.as_deref()?;
    if node.provider_id.is_empty() {
        return found("ProviderIDMissing", format!("spec.providerID is not set; one of {provider} is needed"));
    }
    match provider_id::read(&node.provider_id) {
        ProviderId::Of { provider: actual, .. } if actual != family(provider) => {
            found("ProviderMismatch", format!("spec.providerID {} is of {actual}, not of {provider}", node.provider_id))
        }
        ProviderId::Unrecognised if provider_id::form_is_known(family(provider)) => {
            found("ProviderMismatch", format!("spec.providerID {} is not of {provider}", node.provider_id))
        }
        ProviderId::Of { .. } | ProviderId::Unrecognised => None,
    }
}

/// The provider whose form of IDs `provider` uses: national clouds use their parent's, OVH uses OpenStack's.
fn family(provider: &str) -> &str {
    match provider {
        "ovh" => "openstack",
        other => other.split_once('-').map_or(other, |(parent, _)| parent),
    }
}

/// The region label, and the one from before 1.17 where it is there, lie in the facility's jurisdiction.
fn region(node: &Node, facility: &Facility, catalogue: &Catalogue) -> Option<NodeConflict> {
    let provider = facility.provider.as_deref()?;
    if !node.labels.contains_key(keys::REGION) {
        return found("RegionMissing", format!("the label {} is not set", keys::REGION));
    }
    [keys::REGION, keys::REGION_BETA].into_iter().find_map(|key| {
        let region = node.labels.get(key)?;
        elsewhere(provider, region, facility, catalogue, &format!("{key}={region}"))
    })
}

/// A zone that the catalogue lists by itself lies in the facility's jurisdiction: a local zone may stand in another
/// country than its region.
fn zone(node: &Node, facility: &Facility, catalogue: &Catalogue) -> Option<NodeConflict> {
    let provider = facility.provider.as_deref()?;
    [keys::ZONE, keys::ZONE_BETA].into_iter().find_map(|key| {
        let zone = node.labels.get(key)?;
        catalogue.place(provider, zone)?;
        elsewhere(provider, zone, facility, catalogue, &format!("{key}={zone}"))
    })
}

/// A region or zone inside the provider ID agrees with the labels.
fn region_inside_provider_id(node: &Node, facility: &Facility, catalogue: &Catalogue) -> Option<NodeConflict> {
    let provider = facility.provider.as_deref()?;
    let ProviderId::Of { region, zone, .. } = provider_id::read(&node.provider_id) else { return None };
    let canonical =
        |id: &str| catalogue.place(provider, id).map_or_else(|| id.to_owned(), |place| place.region.clone());
    let disagrees = |key: &str, inside: &str| {
        let label = node.labels.get(key)?;
        (canonical(label) != canonical(inside)).then(|| {
            let message = format!("spec.providerID {} says {inside}, {key} says {label}", node.provider_id);
            NodeConflict { reason: "SignalsDisagree", message }
        })
    };
    region
        .and_then(|inside| disagrees(keys::REGION, &inside))
        .or_else(|| zone.and_then(|inside| disagrees(keys::ZONE, &inside)))
}

/// A conflict where the catalogue does not place `id` in the facility's jurisdiction.
fn elsewhere(
    provider: &str,
    id: &str,
    facility: &Facility,
    catalogue: &Catalogue,
    signal: &str,
) -> Option<NodeConflict> {
    let jurisdiction = catalogue.jurisdiction(provider, id);
    if jurisdiction.satisfies(facility.jurisdiction) {
        return None;
    }
    if jurisdiction == Jurisdiction::UNKNOWN {
        return found("RegionUnknown", format!("{signal} is not in the region catalogue of {provider}"));
    }
    found("RegionElsewhere", format!("{signal} of {provider} is in {jurisdiction}, not in {}", facility.jurisdiction))
}

fn found(reason: &'static str, message: String) -> Option<NodeConflict> {
    Some(NodeConflict { reason, message })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::DataCenter;
    use std::collections::BTreeMap;

    fn facilities() -> Facilities {
        let specs = [
            (
                "shanghai-1",
                serde_json::json!({
                    "jurisdiction": "CN",
                    "nodes": {"selector": {"matchLabels": {"site": "shanghai"}}, "addresses": ["10.20.0.0/16"], "provider": "alibaba"},
                }),
            ),
            (
                "second",
                serde_json::json!({
                    "jurisdiction": "CN",
                    "nodes": {"selector": {"matchLabels": {"second": "yes"}}, "addresses": ["10.20.0.0/16"]},
                }),
            ),
        ];
        let named =
            specs.map(|(name, spec)| (name.to_owned(), DataCenter::new(name, serde_json::from_value(spec).unwrap())));
        Facilities::resolve(&BTreeMap::from(named))
    }

    fn node() -> Node {
        Node {
            name: "worker-7".into(),
            labels: [("site", "shanghai"), (keys::REGION, "cn-shanghai"), (keys::ZONE, "cn-shanghai-e")]
                .map(|(key, value)| (key.to_owned(), value.to_owned()))
                .into(),
            provider_id: "cn-shanghai.i-uf6abc".into(),
            addresses: vec!["10.20.0.7".parse().unwrap()],
            ..Node::default()
        }
    }

    #[track_caller]
    fn conflicts(node: &Node, reason: &str, words: &str) {
        let Location::Conflict { conflicts, .. } = locate(node, &facilities(), Catalogue::built_in()) else {
            panic!("no conflict")
        };
        let found = conflicts.iter().find(|conflict| conflict.reason == reason);
        let found = found.unwrap_or_else(|| panic!("{reason} is not among {conflicts:?}"));
        assert!(found.message.contains(words), "{}", found.message);
    }

    #[test]
    fn a_node_whose_signals_agree_is_verified() {
        let location = locate(&node(), &facilities(), Catalogue::built_in());
        assert_eq!(location.jurisdiction().code(), "CN");
    }

    #[test]
    fn a_node_that_nobody_claims_is_nowhere() {
        let node = Node { labels: [].into(), ..node() };
        assert_eq!(locate(&node, &facilities(), Catalogue::built_in()), Location::Unclaimed);
    }

    #[test]
    fn every_signal_can_turn() {
        let outside = Node { addresses: vec!["10.99.0.4".parse().unwrap()], ..node() };
        conflicts(&outside, "AddressOutsideFacility", "InternalIP 10.99.0.4 is in none of 10.20.0.0/16");
        let second = Node { addresses: vec!["10.20.0.7".parse().unwrap(), "192.0.2.1".parse().unwrap()], ..node() };
        conflicts(&second, "AddressOutsideFacility", "192.0.2.1");
        conflicts(&Node { addresses: vec![], ..node() }, "AddressMissing", "no InternalIP");
        conflicts(&Node { provider_id: String::new(), ..node() }, "ProviderIDMissing", "alibaba");
        conflicts(&Node { provider_id: "aws:///cn-north-1a/i-1".into(), ..node() }, "ProviderMismatch", "aws");
        conflicts(&Node { provider_id: "cn-hongkong.i-j6c".into(), ..node() }, "SignalsDisagree", "cn-hongkong");
    }

    #[test]
    fn labels_alone_prove_nothing() {
        let mut labelled = node();
        labelled.labels.insert(keys::REGION.into(), "cn-hongkong".into());
        conflicts(&labelled, "RegionElsewhere", "is in HK, not in CN");
        labelled.labels.insert(keys::REGION.into(), "cn-shanghai-99".into());
        conflicts(&labelled, "RegionUnknown", "cn-shanghai-99");
        labelled.labels.remove(keys::REGION);
        conflicts(&labelled, "RegionMissing", keys::REGION);
        let mut beta = node();
        beta.labels.insert(keys::REGION_BETA.into(), "cn-hongkong".into());
        conflicts(&beta, "RegionElsewhere", keys::REGION_BETA);
    }

    #[test]
    fn two_claims_verify_nothing() {
        let mut claimed = node();
        claimed.labels.insert("second".into(), "yes".into());
        conflicts(&claimed, "ClaimedTwice", "second and shanghai-1");
    }
}
