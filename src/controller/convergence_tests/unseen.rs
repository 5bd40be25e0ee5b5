//! Kinds that cannot be read, and policies that nobody judges: nothing is opened for them, and nothing that was refused is lifted.

use std::collections::BTreeMap;

use super::{Stored, next};
use crate::{
    compile::namespace::BEING_CONFINED,
    controller::{namespace::Step, world::World},
    domain::{add_ons::ADD_ONS, keys},
    observe::{Change, Delta, Key, Opening},
};

#[test]
fn a_namespace_is_not_opened_while_a_kind_is_not_seen() {
    let way = Stored::labelled("mainland").way("Enforce");
    let closed = |state: &&Stored| {
        state.namespace.annotations.get(keys::REFUSED_BECAUSE).is_some_and(|reason| reason == BEING_CONFINED)
    };
    let closed = way.iter().rev().find(closed).unwrap();
    let mut world = closed.read("Enforce");
    world.absorb(Change::Sight("Pod".into(), Some("forbidden".into())));
    let permits = next(&world, &closed.namespace, None);
    assert!(matches!(permits, Some(Step::Policy(_))), "what is permitted is not held up: {permits:?}");
    let permitted = closed.clone().way("Enforce").into_iter().find(|state| state.policies.len() == 2).unwrap();
    let mut waiting = Stored { namespace: closed.namespace.clone(), ..permitted };
    let mut world = waiting.read("Enforce");
    world.absorb(Change::Sight("Pod".into(), Some("forbidden".into())));
    let Some(Step::Patch { patch, .. }) = next(&world, &waiting.namespace, None) else { panic!() };
    waiting.patch(&patch);
    let said = waiting.namespace.annotations.get(keys::REFUSED_BECAUSE).unwrap();
    assert_eq!(
        said,
        "being confined, until Pod can be read; see that its API server answers, and that the ServiceAccount of Domicile may list and watch it (forbidden)"
    );
    assert_eq!(next(&world, &waiting.namespace, None), None);
    world.absorb(Change::Sight("Pod".into(), None));
    assert!(matches!(next(&world, &waiting.namespace, None), Some(Step::Settle { .. })));
}

/// Calico's API server gives policies to nobody who may not read their tiers, which the chart does not give.
#[test]
fn a_namespace_that_waits_for_rights_to_tiers_says_which() {
    let mut stored = Stored::labelled("mainland");
    let mut world = stored.read("Enforce");
    let error = "forbidden: operation on Calico tiered policy is forbidden ".repeat(10);
    world.absorb(Change::Sight("NetworkPolicy.projectcalico.org".into(), Some(error)));
    for _ in 0..9 {
        match next(&world, &stored.namespace, None) {
            Some(step) => stored.write(step),
            None => break,
        }
        let policies = stored.read("Enforce").snapshot.policies;
        world.absorb(Change::Policy(Delta::Replaced(policies)));
    }
    assert_eq!(next(&world, &stored.namespace, None), None, "it stays closed");
    let said = stored.namespace.annotations.get(keys::REFUSED_BECAUSE).unwrap();
    assert!(said.starts_with("being confined, until NetworkPolicy.projectcalico.org can be read; see that"), "{said}");
    assert!(said.contains("get all tiers there, by no name, and list and watch tier.networkpolicies"), "{said}");
    assert!(said.contains("forbidden: operation on"), "{said}");
}

/// After a restart the policy of an add-on that closed a namespace may not be read at first, or not at all.
#[test]
fn what_was_refused_and_is_nobodys_peer_stays_so_while_a_kind_is_not_seen() {
    let mut stored = Stored::labelled("mainland").way("Enforce").pop().unwrap();
    let kind = ADD_ONS.iter().find(|kind| kind.name == "CiliumNetworkPolicy.cilium.io").unwrap();
    let mut world = stored.read("Enforce");
    let wide = (Key::new("vehicles", "wide"), Opening { uid: "1".into(), gives_more: false });
    world.absorb(Change::AddOn(kind, Some(Delta::Replaced([wide].into()))));
    carry_out(&world, &mut stored);
    let reason = |stored: &Stored| stored.namespace.annotations.get(keys::REFUSED_BECAUSE).unwrap().clone();
    assert!(reason(&stored).starts_with("CiliumNetworkPolicy.cilium.io wide can open more"), "{}", reason(&stored));

    let mut world = stored.read("Enforce");
    world.absorb(Change::Sight(kind.name.into(), Some("forbidden".into())));
    carry_out(&world, &mut stored);
    assert!(reason(&stored).starts_with("CiliumNetworkPolicy.cilium.io cannot be read, so what was refused"));
    assert!(reason(&stored).ends_with("(forbidden)"), "{}", reason(&stored));
    assert!(!stored.namespace.labels.contains_key(keys::PEER));

    world.absorb(Change::AddOn(kind, Some(Delta::Replaced(BTreeMap::new()))));
    world.absorb(Change::Sight(kind.name.into(), None));
    carry_out(&world, &mut stored);
    assert_eq!(reason(&stored), "-");
    assert_eq!(stored.namespace.labels.get(keys::PEER).map(String::as_str), Some("true"));
}

/// The policy `domicile-refused` warns by it of what Enforce would refuse, and reports that in Audit.
#[test]
fn warn_and_audit_say_what_enforce_would_refuse_beside_what_nobody_judges() {
    let reason = |mode: &str| {
        let mut stored = Stored::labelled("mainland").way(mode).pop().unwrap();
        let kind = ADD_ONS.iter().find(|kind| kind.name == "CiliumNetworkPolicy.cilium.io").unwrap();
        let wide = (Key::new("vehicles", "wide"), Opening { uid: "1".into(), gives_more: false });
        let mut world = stored.read(mode);
        world.absorb(Change::AddOn(kind, Some(Delta::Replaced([wide].into()))));
        carry_out(&world, &mut stored);
        assert!(stored.policies.is_empty() || mode == "Enforce", "nothing is changed");
        stored.namespace.annotations.get(keys::REFUSED_BECAUSE).unwrap().clone()
    };
    assert!(reason("Enforce").starts_with("CiliumNetworkPolicy.cilium.io wide can open more"), "{}", reason("Enforce"));
    for mode in ["Warn", "Audit"] {
        assert_eq!(reason(mode), reason("Enforce"));
    }
}

/// The same policies are served by another group from one moment to the next: what closed a namespace stands until they are read.
#[test]
fn what_was_refused_stays_so_while_calicos_kinds_change_their_group() {
    let kind = |name: &str| ADD_ONS.iter().find(|kind| kind.name == name).unwrap();
    let (stored, shown) = (kind("NetworkPolicy.crd.projectcalico.org"), kind("NetworkPolicy.projectcalico.org"));
    let all = |number: usize| {
        let wide = (Key::new("vehicles", "wide"), Opening { uid: "1".into(), gives_more: false });
        Some(Delta::Replaced([wide].into_iter().take(number).collect()))
    };
    for (one, other) in [(stored, shown), (shown, stored)] {
        let mut confined = Stored::labelled("mainland").way("Enforce").pop().unwrap();
        let mut world = confined.read("Enforce");
        let mut after = |change| {
            world.absorb(change);
            carry_out(&world, &mut confined);
            let reason = confined.namespace.annotations.get(keys::REFUSED_BECAUSE).unwrap();
            (reason.split(' ').next().unwrap().to_owned(), world.unseen.len())
        };
        assert_eq!(after(Change::AddOn(one, all(1))), (one.name.to_owned(), 0));
        assert_eq!(after(Change::Sight(one.name.into(), Some("gone".into()))), (one.name.to_owned(), 1));
        let wide = Opening { uid: "2".into(), gives_more: false };
        let changed = Delta::Applied(Key::new("vehicles", "wide"), wide);
        assert_eq!(after(Change::AddOn(one, Some(changed))), (one.name.to_owned(), 1));
        assert_eq!(after(Change::AddOn(other, all(1))), (other.name.to_owned(), 0), "it is all there is");
        assert_eq!(after(Change::AddOn(other, all(0))), ("-".to_owned(), 0));
    }
}

/// Until nothing is left to be written on the namespace.
fn carry_out(world: &World, stored: &mut Stored) {
    for _ in 0..5 {
        let (Some(Step::Rewrite { patch, .. }) | Some(Step::Patch { patch, .. })) =
            next(world, &stored.namespace, None)
        else {
            return;
        };
        stored.patch(&patch);
    }
    panic!("it comes to no end: {:?}", next(world, &stored.namespace, None));
}
