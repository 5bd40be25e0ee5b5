//! The data centers, parsed and held against each other.
//!
//! Two facilities that overlap while they are under different jurisdictions are both in doubt: nothing that claims to
//! stand in either is verified, and neither's networks are permitted, until a person says which is right.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    api::{DataCenter, selector::LabelSelector},
    domain::{Cidr, Jurisdiction, cidr::NoCidr, jurisdiction::NoJurisdiction},
};

/// A data center that can be understood.
#[derive(Clone, Debug, PartialEq)]
pub struct Facility {
    /// Name of the `DataCenter`.
    pub name: String,
    /// The legal regime.
    pub jurisdiction: Jurisdiction,
    /// Which nodes claim to stand here.
    pub selector: LabelSelector,
    /// Where their InternalIPs must lie; empty where the spec does not say.
    pub addresses: Vec<Cidr>,
    /// Whose regions the nodes' labels name.
    pub provider: Option<String>,
    /// Whether it counts as present without a node.
    pub scale_from_zero: bool,
    /// Zones whose volumes are here.
    pub zones: BTreeSet<String>,
    /// Addresses inside.
    pub networks: Vec<Cidr>,
    /// Pod addresses inside `networks`, where the spec names them.
    pub pod_networks: Vec<Cidr>,
    /// Addresses of the API servers, where the spec attests them.
    pub control_plane: Vec<Cidr>,
}

/// Why a data center is not accepted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FacilityConflict {
    /// A field that the API server should have refused.
    #[error("{0}")]
    Jurisdiction(#[from] NoJurisdiction),
    /// A field that the API server should have refused.
    #[error("{0}")]
    Network(#[from] NoCidr),
    /// Networks that cannot both be right.
    #[error(
        "network {own} overlaps {other} of data center {data_center}, which is in {jurisdiction}; correct one of the two"
    )]
    Overlap {
        /// The network here.
        own: Cidr,
        /// The network there.
        other: Cidr,
        /// The other data center.
        data_center: String,
        /// Its jurisdiction.
        jurisdiction: Jurisdiction,
    },
    /// Zones that cannot both be right.
    #[error("zone {zone} is also in data center {data_center}, which is in {jurisdiction}; correct one of the two")]
    Zone {
        /// The zone.
        zone: String,
        /// The other data center.
        data_center: String,
        /// Its jurisdiction.
        jurisdiction: Jurisdiction,
    },
}

impl FacilityConflict {
    /// One word for a condition's reason.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Jurisdiction(_) | Self::Network(_) => "InvalidSpec",
            Self::Overlap { .. } => "NetworkOverlap",
            Self::Zone { .. } => "ZoneOverlap",
        }
    }
}

/// Every data center: understood and free of contradictions, or why not.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Facilities {
    accepted: BTreeMap<String, Facility>,
    refused: BTreeMap<String, FacilityConflict>,
    /// The selectors of refused ones: what they claim is in doubt, too.
    doubtful: BTreeMap<String, LabelSelector>,
}

impl Facilities {
    /// Parses every data center and holds each against every other.
    #[must_use]
    pub fn resolve(data_centers: &BTreeMap<String, DataCenter>) -> Self {
        let mut facilities = Self::default();
        let mut parsed: Vec<Facility> = Vec::new();
        for (name, data_center) in data_centers.iter().filter(|(_, dc)| dc.metadata.deletion_timestamp.is_none()) {
            match parse(name, data_center) {
                Ok(facility) => parsed.push(facility),
                Err(conflict) => facilities.refuse(name, &data_center.spec.nodes.selector, conflict),
            }
        }
        for facility in &parsed {
            match parsed.iter().find_map(|other| contradiction(facility, other)) {
                Some(conflict) => facilities.refuse(&facility.name, &facility.selector, conflict),
                None => drop(facilities.accepted.insert(facility.name.clone(), facility.clone())),
            }
        }
        facilities
    }

    fn refuse(&mut self, name: &str, selector: &LabelSelector, conflict: FacilityConflict) {
        self.refused.insert(name.to_owned(), conflict);
        self.doubtful.insert(name.to_owned(), selector.clone());
    }

    /// Those that are accepted, by name.
    pub fn accepted(&self) -> impl Iterator<Item = &Facility> {
        self.accepted.values()
    }

    /// One that is accepted.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Facility> {
        self.accepted.get(name)
    }

    /// Why one is not accepted.
    #[must_use]
    pub fn conflict(&self, name: &str) -> Option<&FacilityConflict> {
        self.refused.get(name)
    }

    /// The selectors of every data center, accepted or not: what each claims.
    pub fn claims(&self) -> impl Iterator<Item = (&str, &LabelSelector)> {
        let accepted = self.accepted.values().map(|facility| (facility.name.as_str(), &facility.selector));
        accepted.chain(self.doubtful.iter().map(|(name, selector)| (name.as_str(), selector)))
    }
}

fn parse(name: &str, data_center: &DataCenter) -> Result<Facility, FacilityConflict> {
    let spec = &data_center.spec;
    let networks = |texts: &[crate::api::field::CidrText]| -> Result<Vec<Cidr>, NoCidr> {
        texts.iter().map(|text| text.0.parse()).collect()
    };
    Ok(Facility {
        name: name.to_owned(),
        jurisdiction: Jurisdiction::parse(&spec.jurisdiction.0)?,
        selector: spec.nodes.selector.clone(),
        addresses: networks(&spec.nodes.addresses)?,
        provider: spec.nodes.provider.clone(),
        scale_from_zero: spec.nodes.scale_from_zero,
        zones: spec.zones.iter().cloned().collect(),
        networks: networks(&spec.networks)?,
        pod_networks: networks(&spec.pod_networks)?,
        control_plane: match &spec.control_plane {
            Some(control_plane) => networks(&control_plane.addresses)?,
            None => Vec::new(),
        },
    })
}

/// What `facility` and `other` cannot both be right about. Facilities of one jurisdiction may overlap.
fn contradiction(facility: &Facility, other: &Facility) -> Option<FacilityConflict> {
    if facility.jurisdiction == other.jurisdiction {
        return None;
    }
    if let Some(zone) = facility.zones.intersection(&other.zones).next() {
        return Some(FacilityConflict::Zone {
            zone: zone.clone(),
            data_center: other.name.clone(),
            jurisdiction: other.jurisdiction,
        });
    }
    let theirs = || other.networks.iter().chain(&other.addresses).chain(&other.control_plane);
    let ours = facility.networks.iter().chain(&facility.addresses).chain(&facility.control_plane);
    let (own, other_network) =
        ours.flat_map(|own| theirs().map(move |theirs| (own, theirs))).find(|(own, theirs)| own.overlaps(theirs))?;
    Some(FacilityConflict::Overlap {
        own: *own,
        other: *other_network,
        data_center: other.name.clone(),
        jurisdiction: other.jurisdiction,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn data_center(name: &str, jurisdiction: &str, network: &str, zone: &str) -> (String, DataCenter) {
        let spec = serde_json::json!({
            "jurisdiction": jurisdiction,
            "nodes": {"selector": {"matchLabels": {"site": name}}, "addresses": [network]},
            "networks": [network],
            "zones": [zone],
        });
        (name.to_owned(), DataCenter::new(name, serde_json::from_value(spec).unwrap()))
    }

    #[test]
    fn overlapping_networks_under_two_jurisdictions_put_both_in_doubt() {
        let facilities = Facilities::resolve(&BTreeMap::from([
            data_center("shanghai", "CN", "10.20.0.0/16", "a"),
            data_center("hongkong", "HK", "10.20.4.0/24", "b"),
            data_center("beijing", "CN", "10.21.0.0/16", "c"),
        ]));
        assert_eq!(facilities.accepted().map(|facility| facility.name.as_str()).collect::<Vec<_>>(), ["beijing"]);
        let conflict = facilities.conflict("hongkong").unwrap();
        assert_eq!(conflict.reason(), "NetworkOverlap");
        assert!(conflict.to_string().contains("10.20.0.0/16 of data center shanghai"), "{conflict}");
    }

    #[test]
    fn facilities_of_one_jurisdiction_may_share_networks_and_zones() {
        let facilities = Facilities::resolve(&BTreeMap::from([
            data_center("one", "CN", "10.20.0.0/16", "a"),
            data_center("two", "CN", "10.20.0.0/16", "a"),
        ]));
        assert_eq!(facilities.accepted().count(), 2);
    }

    #[test]
    fn a_zone_in_two_jurisdictions_puts_both_in_doubt() {
        let facilities = Facilities::resolve(&BTreeMap::from([
            data_center("shanghai", "CN", "10.20.0.0/16", "a"),
            data_center("frankfurt", "DE", "10.40.0.0/16", "a"),
        ]));
        assert_eq!(facilities.accepted().count(), 0);
        assert_eq!(facilities.claims().count(), 2);
    }
}
