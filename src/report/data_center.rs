//! The status of a data center: how many nodes claim to stand in it, and which of them do.
//!
//! A node in conflict does not make its data center unready: it carries no label, so nothing governed runs on it, and the
//! verified ones serve. Without a verified node the data center serves nothing, unless it says that it may be empty and is.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::{
    conditions::{self, Judgement},
    cut,
};
use crate::{
    api::{
        DataCenter, DataCenterStatus,
        conditions::{ACCEPTED, NODES_VERIFIED, READY},
        data_center::{Conflict, NodeCounts},
    },
    resolve::{FacilityConflict, Location, NodeConflict},
};

/// So many conflicts are listed.
const LISTED: usize = 20;
/// So many bytes a conflict's message has at most.
const MESSAGE: usize = 512;

/// What was seen of one data center.
#[derive(Clone, Copy, Debug)]
pub struct Outcome<'a> {
    /// Its name.
    pub name: &'a str,
    /// As it was written, with the old status.
    pub data_center: &'a DataCenter,
    /// Why it is not accepted, if so.
    pub conflict: Option<&'a FacilityConflict>,
    /// Where every node stands.
    pub locations: &'a BTreeMap<String, Location>,
}

/// The new status.
#[must_use]
pub fn status(outcome: &Outcome<'_>, now: &Time) -> DataCenterStatus {
    let Outcome { name, data_center, conflict, locations } = *outcome;
    let claiming = || locations.iter().filter(|(_, location)| location.claimed_by().any(|claimed| claimed == name));
    let verified = claiming().filter(|(_, location)| matches!(location, Location::Verified { .. }));
    let count = |length: usize| u32::try_from(length).unwrap_or(u32::MAX);
    let nodes = NodeCounts { claimed: count(claiming().count()), verified: count(verified.count()) };
    let in_conflict = nodes_in_conflict(claiming());

    let accepted = match conflict {
        None => Judgement::yes("Accepted", "the spec is understood"),
        Some(conflict) => Judgement::no(conflict.reason(), conflict.to_string()),
    };
    let nodes_verified = nodes_verified(nodes, in_conflict.first());
    let ready = ready(&accepted, nodes, data_center.spec.nodes.scale_from_zero);
    let judgements = [(ACCEPTED, accepted), (NODES_VERIFIED, nodes_verified), (READY, ready)];

    let generation = data_center.metadata.generation;
    let old = data_center.status.as_ref().map(|status| status.conditions.as_slice()).unwrap_or_default();
    let own = conflict.map(|conflict| Conflict {
        node: None,
        reason: conflict.reason().to_owned(),
        message: cut(&conflict.to_string(), MESSAGE),
    });
    let of_nodes = in_conflict.iter().map(|(node, conflict)| Conflict {
        node: Some((*node).to_owned()),
        reason: conflict.reason.to_owned(),
        message: cut(&conflict.message, MESSAGE),
    });
    DataCenterStatus {
        observed_generation: generation,
        nodes: Some(nodes),
        conflicts: own.into_iter().chain(of_nodes).take(LISTED).collect(),
        conditions: conditions::set(old, judgements, generation, now),
    }
}

/// Each node in conflict with the worst of its conflicts; worst first, then by name.
fn nodes_in_conflict<'a>(
    claiming: impl Iterator<Item = (&'a String, &'a Location)>,
) -> Vec<(&'a str, &'a NodeConflict)> {
    let worst = claiming.filter_map(|(node, location)| match location {
        Location::Conflict { conflicts, .. } => {
            conflicts.iter().min_by_key(|conflict| badness(conflict.reason)).map(|conflict| (node.as_str(), conflict))
        }
        Location::Verified { .. } | Location::Unclaimed => None,
    });
    let mut nodes: Vec<(&str, &NodeConflict)> = worst.collect();
    nodes.sort_by_key(|(node, conflict)| (badness(conflict.reason), *node));
    nodes
}

/// A signal that says another place is worse than one that says nothing; a data center that is in doubt itself is told once.
fn badness(reason: &str) -> u8 {
    match reason {
        "RegionElsewhere" | "AddressOutsideFacility" => 0,
        "SignalsDisagree" | "ProviderMismatch" | "ClaimedTwice" => 1,
        "DataCenterInDoubt" => 3,
        _ => 2,
    }
}

fn nodes_verified(nodes: NodeCounts, first: Option<&(&str, &NodeConflict)>) -> Judgement {
    let NodeCounts { claimed, verified } = nodes;
    match first {
        _ if claimed == 0 => Judgement::unknown("NoNodes", "spec.nodes.selector matches no node of this cluster"),
        None => Judgement::yes("AllVerified", format!("the signals of all {claimed} claimed nodes agree")),
        Some((node, conflict)) => {
            let others = claimed.saturating_sub(verified).saturating_sub(1);
            let more =
                if others == 0 { String::new() } else { format!("; {others} more of {claimed} are in conflict, too") };
            Judgement::no(conflict.reason, format!("node {node}: {}{more}", conflict.message))
        }
    }
}

fn ready(accepted: &Judgement, nodes: NodeCounts, scale_from_zero: bool) -> Judgement {
    let NodeCounts { claimed, verified } = nodes;
    if !accepted.is_true() {
        return Judgement::no("NotAccepted", accepted.message.clone());
    }
    if verified > 0 {
        return Judgement::yes("NodesVerified", format!("{verified} of {claimed} claimed nodes are verified"));
    }
    if claimed == 0 && scale_from_zero {
        return Judgement::yes("ScaleFromZero", "it has no node yet and says scaleFromZero");
    }
    Judgement::no("NoVerifiedNode", format!("none of {claimed} claimed nodes is verified"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{domain::Jurisdiction, report::fixture::at};

    fn verified() -> Location {
        Location::Verified { data_center: "shanghai-1".into(), jurisdiction: Jurisdiction::parse("CN").unwrap() }
    }

    fn in_conflict(reasons: &[&'static str]) -> Location {
        let conflict = |reason: &&'static str| NodeConflict { reason, message: format!("because of {reason}") };
        Location::Conflict {
            data_centers: vec!["shanghai-1".into()],
            conflicts: reasons.iter().map(conflict).collect(),
        }
    }

    fn look(
        locations: &[(&str, Location)],
        conflict: Option<&FacilityConflict>,
        scale_from_zero: bool,
    ) -> DataCenterStatus {
        let locations = locations.iter().map(|(node, location)| ((*node).to_owned(), location.clone())).collect();
        let spec = serde_json::json!({
            "jurisdiction": "CN",
            "nodes": {"selector": {"matchLabels": {"site": "a"}}, "provider": "alibaba", "scaleFromZero": scale_from_zero},
        });
        let data_center = DataCenter::new("shanghai-1", serde_json::from_value(spec).unwrap());
        status(&Outcome { name: "shanghai-1", data_center: &data_center, conflict, locations: &locations }, &at(1))
    }

    fn conditions(status: &DataCenterStatus) -> Vec<(&str, &str)> {
        status.conditions.iter().map(|condition| (condition.status.as_str(), condition.reason.as_str())).collect()
    }

    #[test]
    fn nodes_that_agree_are_verified() {
        let status = look(&[("a", verified()), ("b", Location::Unclaimed)], None, false);
        assert_eq!(status.nodes, Some(NodeCounts { claimed: 1, verified: 1 }));
        assert_eq!(conditions(&status), [("True", "Accepted"), ("True", "AllVerified"), ("True", "NodesVerified")]);
    }

    #[test]
    fn one_node_in_conflict_leaves_the_others_ready() {
        let status = look(
            &[
                ("a", verified()),
                ("b", in_conflict(&["RegionMissing", "AddressOutsideFacility"])),
                ("c", in_conflict(&["RegionElsewhere"])),
            ],
            None,
            false,
        );
        assert_eq!(
            conditions(&status),
            [("True", "Accepted"), ("False", "AddressOutsideFacility"), ("True", "NodesVerified")]
        );
        assert_eq!(
            status.conditions[1].message,
            "node b: because of AddressOutsideFacility; 1 more of 3 are in conflict, too"
        );
    }

    #[test]
    fn the_worst_conflicts_come_first_and_are_capped() {
        let mut nodes: Vec<(String, Location)> =
            (0..30).map(|index| (format!("n{index:02}"), in_conflict(&["RegionMissing"]))).collect();
        nodes.push(("z".into(), in_conflict(&["RegionElsewhere"])));
        let nodes: Vec<(&str, Location)> =
            nodes.iter().map(|(node, location)| (node.as_str(), location.clone())).collect();
        let status = look(&nodes, None, false);
        assert_eq!(status.conflicts.len(), LISTED);
        assert_eq!(status.conflicts[0].node.as_deref(), Some("z"));
        assert_eq!(conditions(&status)[2], ("False", "NoVerifiedNode"));
    }

    #[test]
    fn a_contradiction_is_told_first() {
        let conflict = FacilityConflict::Zone {
            zone: "a".into(),
            data_center: "hongkong".into(),
            jurisdiction: Jurisdiction::parse("HK").unwrap(),
        };
        let status = look(&[("a", in_conflict(&["DataCenterInDoubt"]))], Some(&conflict), false);
        assert_eq!(
            conditions(&status),
            [("False", "ZoneOverlap"), ("False", "DataCenterInDoubt"), ("False", "NotAccepted")]
        );
        assert_eq!((status.conflicts[0].node.as_deref(), status.conflicts[0].reason.as_str()), (None, "ZoneOverlap"));
    }

    #[test]
    fn an_empty_data_center_is_ready_only_where_it_may_be_empty() {
        assert_eq!(
            conditions(&look(&[], None, false)),
            [("True", "Accepted"), ("Unknown", "NoNodes"), ("False", "NoVerifiedNode")]
        );
        assert_eq!(conditions(&look(&[], None, true))[2], ("True", "ScaleFromZero"));
        assert_eq!(
            conditions(&look(&[("a", in_conflict(&["RegionMissing"]))], None, true))[2],
            ("False", "NoVerifiedNode")
        );
    }
}
