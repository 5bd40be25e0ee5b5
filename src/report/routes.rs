//! The routes in a residency's status: what `domicile coverage` tells of the cluster, put together where it is the same.
//!
//! For whoever looks with kubectl alone. What is closed is named by its ids, what is not stands for itself with its remedy; routes
//! whose kinds are not served are left out.

use std::collections::BTreeMap;

use super::{
    coverage::{Coverage, Facts, Row, State, coverage},
    residency::NetworkTier,
};
use crate::api::data_residency::Routes;

/// What is told of a cluster, what is closed first.
#[must_use]
pub fn routes(facts: &Facts) -> Vec<Routes> {
    let Coverage { routes, .. } = coverage(facts);
    let mut alike: BTreeMap<(State, String, String), Vec<Row>> = BTreeMap::new();
    for row in routes.into_iter().filter(|row| row.state != State::NotServed) {
        let remedy = if row.state == State::Enforced { String::new() } else { row.rest.clone() };
        alike.entry((row.state, row.enforced_by.clone(), remedy)).or_default().push(row);
    }
    let told = |((state, enforced_by, remedy), rows): (_, Vec<Row>)| {
        // What is said of one alone speaks of that one.
        let route = match rows.as_slice() {
            [row] if state != State::Enforced => row.route.to_owned(),
            _ => String::new(),
        };
        Routes { enforced_by, ids: rows.iter().map(|row| row.id.to_owned()).collect(), route, remedy }
    };
    alike.into_iter().map(told).collect()
}

/// The same for one residency, which may use less than the cluster serves.
#[must_use]
pub(super) fn isolated_by(tier: &NetworkTier, routes: &[Routes]) -> Vec<Routes> {
    let mut routes = routes.to_vec();
    for one in routes.iter_mut().filter(|one| one.enforced_by == NetworkTier::ClusterNetworkPolicy.name()) {
        tier.name().clone_into(&mut one.enforced_by);
    }
    routes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        domain::Mode,
        report::{
            coverage::BY_KIND,
            fixture::{Seen, all_well, at},
            residency::{PoliciesSeen, status},
        },
    };

    #[track_caller]
    fn of<'a>(routes: &'a [Routes], id: &str) -> &'a Routes {
        routes.iter().find(|one| one.ids.iter().any(|own| own == id)).unwrap()
    }

    #[test]
    fn every_route_that_is_there_is_told_once_and_what_is_open_with_its_remedy() {
        let told = routes(&all_well());
        assert_eq!(told[0].enforced_by, "AdmissionPolicy");
        assert!(told[0].ids.starts_with(&["P1".to_owned(), "P2".to_owned()]) && told[0].remedy.is_empty());
        let mut ids: Vec<&String> = told.iter().flat_map(|one| &one.ids).collect();
        ids.sort();
        ids.dedup();
        let there = coverage(&all_well()).routes.into_iter().filter(|row| row.state != State::NotServed).count();
        assert_eq!((ids.len(), told.iter().map(|one| one.ids.len()).sum::<usize>()), (there, there));
        for (id, by) in [
            ("N3a", "PodSecurity"),
            ("S19", "NetworkPolicy"),
            ("S4", "Audit only"),
            ("P12", "Not enforceable"),
            ("P23", "Not enforced"),
        ] {
            assert_eq!(of(&told, id).enforced_by, by);
            assert_eq!(of(&told, id).remedy.is_empty(), by == "PodSecurity", "{id}");
            let is_alone = of(&told, id).ids.len() == 1;
            assert_eq!(of(&told, id).route.is_empty(), by == "PodSecurity" || !is_alone, "{id}");
        }
        assert!(!of(&told, "P23").route.is_empty());
    }

    #[test]
    fn a_status_tells_them_where_something_is_refused() {
        let told = |mode, network| {
            let facts = Facts { groups: [BY_KIND[1].1.to_owned()].into(), ..all_well() };
            let mut seen = Seen { mode, network, routes: routes(&facts), ..Seen::well() };
            status(&seen.outcome(), &at(1)).routes
        };
        let by = |tier| of(&told(Mode::Enforce, tier), "S19").enforced_by.clone();
        assert_eq!(by(NetworkTier::ClusterNetworkPolicy), "ClusterNetworkPolicy");
        assert_eq!(by(NetworkTier::NetworkPolicy(Some("it does not fit".into()))), "NetworkPolicy");
        assert!(told(Mode::Warn, NetworkTier::ClusterNetworkPolicy).is_empty());
    }

    #[test]
    fn where_the_policies_are_gone_nothing_is_told_to_be_closed() {
        let facts = Facts {
            policies: PoliciesSeen::Differs(vec!["ValidatingAdmissionPolicy domicile-pods".into()]),
            ..all_well()
        };
        let told = routes(&facts);
        assert_eq!(of(&told, "P1").enforced_by, "Not enforced");
        assert!(of(&told, "P1").remedy.contains("domicile-pods"));
        assert!(
            of(&told, "P1").ids.len() > 50 && of(&told, "P1").route.is_empty(),
            "it is said of all of them at once"
        );
    }
}
