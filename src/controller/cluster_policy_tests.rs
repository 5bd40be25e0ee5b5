//! When a ClusterNetworkPolicy is written, deleted, left, and told.

use std::collections::BTreeMap;

use super::{
    cluster_policy::{Step, next, tier},
    memory::Memory,
    world::{Work, World},
};
use crate::{
    api::DataResidency,
    domain::keys,
    observe::{Change, ClusterPolicy, Delta, Namespace},
    report::residency::NetworkTier,
};

const NAME: &str = "domicile-mainland";

fn residency(spec: serde_json::Value) -> Change {
    let residency = DataResidency::new("mainland", serde_json::from_value(spec).unwrap());
    Change::Residency(Delta::Applied("mainland".into(), residency))
}

fn confined(name: &str, mode: &str) -> Change {
    let labels = [(keys::RESIDENCY, "mainland"), (keys::CONFINED_FOR, "mainland"), (keys::ENFORCEMENT, mode)];
    let labels = labels.map(|(key, value)| (key.to_owned(), value.to_owned())).into();
    let space = Namespace { name: name.to_owned(), uid: name.to_owned(), labels, ..Namespace::default() };
    Change::Namespace(Delta::Applied(name.to_owned(), space))
}

/// A cluster that serves the kind, with a residency and no namespace.
fn serving() -> World {
    let mut world = World::new("domicile-system");
    world.absorb(residency(serde_json::json!({"jurisdictions": ["CN"]})));
    world.absorb(Change::ClusterPolicy(Some(Delta::Replaced(BTreeMap::new()))));
    world
}

fn stands(world: &mut World) -> ClusterPolicy {
    let Some(Step::Write { value, spec }) = next(world, NAME) else { panic!("{:?}", next(world, NAME)) };
    assert_eq!(value, "mainland");
    let policy = ClusterPolicy { spec: *spec, managed: true, ..ClusterPolicy::default() };
    world.absorb(Change::ClusterPolicy(Some(Delta::Applied(NAME.into(), policy.clone()))));
    policy
}

fn is_due(world: &mut World) -> bool {
    world.take_due().contains(&Work::ClusterPolicy(NAME.into()))
}

#[test]
fn it_comes_with_the_first_enforced_namespace_and_goes_with_the_last() {
    let mut world = serving();
    assert_eq!(next(&world, NAME), None);
    world.absorb(confined("observed", "Audit"));
    assert_eq!(next(&world, NAME), None, "Audit changes nothing");
    world.take_due();
    world.absorb(confined("observed", "Enforce"));
    assert!(is_due(&mut world));
    stands(&mut world);
    assert_eq!(next(&world, NAME), None, "it stands");
    world.take_due();
    world.absorb(confined("second", "Enforce"));
    assert_eq!(next(&world, NAME), None, "it is the same for all");
    world.absorb(Change::Namespace(Delta::Gone("second".into())));
    assert_eq!(next(&world, NAME), None);
    world.absorb(Change::Namespace(Delta::Gone("observed".into())));
    assert!(is_due(&mut world));
    assert_eq!(next(&world, NAME), Some(Step::Delete));
}

#[test]
fn it_follows_what_is_permitted_and_is_left_where_that_cannot_be_told() {
    let mut world = serving();
    world.absorb(confined("shop", "Enforce"));
    let before = stands(&mut world);
    world.take_due();
    world.absorb(residency(serde_json::json!({
        "jurisdictions": ["CN"], "network": {"egress": {"allow": [{"name": "tiles", "cidrs": ["203.0.113.0/24"]}]}},
    })));
    assert!(is_due(&mut world));
    assert_ne!(stands(&mut world).spec, before.spec);
    world.absorb(Change::Residency(Delta::Replaced(BTreeMap::new())));
    assert_eq!(next(&world, NAME), None, "what stands is left");
}

#[test]
fn nothing_is_wanted_where_the_kind_is_not_served() {
    let mut world = World::new("domicile-system");
    world.absorb(residency(serde_json::json!({"jurisdictions": ["CN"]})));
    world.absorb(confined("shop", "Enforce"));
    assert!(!world.take_due().contains(&Work::ClusterPolicy(String::new())));
    assert_eq!(next(&world, NAME), None);
    assert_eq!(tier(&world, "mainland"), NetworkTier::NetworkPolicy(None));
    world.absorb(Change::ClusterPolicy(Some(Delta::Replaced(BTreeMap::new()))));
    let due = world.take_due();
    assert!(due.contains(&Work::ClusterPolicy(NAME.into())) && due.contains(&Work::Residency("mainland".into())));
    stands(&mut world);
    world.absorb(Change::ClusterPolicy(None));
    assert!(world.take_due().contains(&Work::Residency("mainland".into())));
    assert_eq!(next(&world, NAME), None);
    let late = ClusterPolicy::default();
    assert!(!world.still_knows(&Change::ClusterPolicy(Some(Delta::Applied(NAME.into(), late)))));
}

#[test]
fn the_tier_is_told_only_where_every_policy_stands() {
    let mut world = serving();
    assert_eq!(tier(&world, "mainland"), NetworkTier::NetworkPolicy(None), "nothing stands where nothing is enforced");
    world.absorb(confined("shop", "Enforce"));
    let NetworkTier::NetworkPolicy(Some(because)) = tier(&world, "mainland") else { panic!() };
    assert!(because.contains(NAME), "{because}");
    let policy = stands(&mut world);
    assert_eq!(tier(&world, "mainland"), NetworkTier::ClusterNetworkPolicy);
    for other in [
        ClusterPolicy { managed: false, ..policy.clone() },
        ClusterPolicy { terminating: true, ..policy.clone() },
        ClusterPolicy { encumbered: true, ..policy.clone() },
        ClusterPolicy { spec: serde_json::json!({"tier": "Baseline"}), ..policy },
    ] {
        world.absorb(Change::ClusterPolicy(Some(Delta::Applied(NAME.into(), other))));
        assert!(matches!(tier(&world, "mainland"), NetworkTier::NetworkPolicy(Some(_))));
        assert!(matches!(next(&world, NAME), Some(Step::Write { .. })));
    }
}

#[test]
fn others_that_let_more_pass_are_told() {
    let mut world = serving();
    world.absorb(confined("shop", "Enforce"));
    stands(&mut world);
    let theirs = |action: &str| {
        let egress = serde_json::json!([{"action": action, "to": [{"networks": ["198.51.100.0/24"]}]}]);
        let spec = serde_json::json!({"tier": "Admin", "priority": 1, "subject": {"namespaces": {}}, "egress": egress});
        Change::ClusterPolicy(Some(Delta::Applied("theirs".into(), ClusterPolicy { spec, ..ClusterPolicy::default() })))
    };
    world.absorb(theirs("Deny"));
    assert_eq!(tier(&world, "mainland"), NetworkTier::ClusterNetworkPolicy);
    world.take_due();
    world.absorb(theirs("Pass"));
    assert!(world.take_due().contains(&Work::Namespace("shop".into())), "it is judged again");
    let NetworkTier::NetworkPolicy(Some(because)) = tier(&world, "mainland") else { panic!() };
    assert!(because.contains("theirs") && because.contains("shop"), "{because}");
    world.absorb(Change::ClusterPolicy(Some(Delta::Gone("theirs".into()))));
    assert_eq!(tier(&world, "mainland"), NetworkTier::ClusterNetworkPolicy);
}

#[test]
fn others_are_left_alone() {
    let mut world = serving();
    let theirs = |managed| ClusterPolicy { managed, ..ClusterPolicy::default() };
    world.absorb(Change::ClusterPolicy(Some(Delta::Applied("theirs".into(), theirs(false)))));
    assert_eq!(next(&world, "theirs"), None);
    world.absorb(Change::ClusterPolicy(Some(Delta::Applied("domicile-forgotten".into(), theirs(true)))));
    assert_eq!(next(&world, "domicile-forgotten"), Some(Step::Delete));
}

#[test]
fn neither_the_canary_nor_what_is_never_governed_has_one() {
    let mut world = serving();
    let labels = [(keys::CONFINED_FOR, "mainland"), (keys::ENFORCEMENT, "Enforce")];
    let labels: BTreeMap<String, String> = labels.map(|(key, value)| (key.to_owned(), value.to_owned())).into();
    let system = Namespace { name: "kube-system".into(), labels, ..Namespace::default() };
    world.absorb(Change::Namespace(Delta::Applied("kube-system".into(), system)));
    assert_eq!(next(&world, NAME), None);
    let Change::Namespace(Delta::Applied(_, mut canary)) = confined("domicile-canary", "Enforce") else { panic!() };
    canary.labels.insert(keys::CONFINED_FOR.to_owned(), keys::CANARY_RESIDENCY.to_owned());
    world.absorb(Change::Namespace(Delta::Applied("domicile-canary".into(), canary)));
    assert_eq!(next(&world, "domicile-domicile-canary"), None);
}

#[test]
fn what_is_put_back_is_told_and_what_is_new_is_not() {
    let mut world = serving();
    let mut memory = Memory::default();
    world.absorb(confined("shop", "Enforce"));
    let mut told = |world: &World| memory.cluster_policy(world, NAME, next(world, NAME).as_ref());
    assert_eq!(told(&world), None, "it is new");
    stands(&mut world);
    assert_eq!(told(&world), None, "it stands");
    world.absorb(Change::ClusterPolicy(Some(Delta::Gone(NAME.into()))));
    let telling = told(&world).unwrap();
    assert_eq!((telling.reason, telling.subject.name.as_str()), ("IsolationRestored", NAME));
    stands(&mut world);
    assert_eq!(told(&world), None);
    world.absorb(residency(serde_json::json!({"jurisdictions": ["CN"], "network": {"ingress": {"policy": "Open"}}})));
    assert_eq!(told(&world), None, "something else is wanted now");
}
