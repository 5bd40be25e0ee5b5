//! Which keys a change makes due, and that what is gone stays gone.

use std::collections::BTreeSet;

use super::world::{Work, World};
use crate::{
    api::{DataCenter, DataResidency},
    domain::{Mutation, keys},
    observe::{
        Change, Delta, Exposed, Key, Namespace, Node, Pod, Receivers,
        receivers::{Receiver, Target},
    },
};

fn residency(name: &str) -> DataResidency {
    DataResidency::new(name, serde_json::from_value(serde_json::json!({"jurisdictions": ["CN"]})).unwrap())
}

fn shanghai() -> DataCenter {
    let spec = serde_json::json!({"jurisdiction": "CN", "nodes": {"selector": {"matchLabels": {"site": "shanghai"}}, "addresses": ["10.20.0.0/16"]}});
    DataCenter::new("shanghai-1", serde_json::from_value(spec).unwrap())
}

fn node(name: &str, address: &str) -> Node {
    Node {
        name: name.to_owned(),
        labels: [("site".to_owned(), "shanghai".to_owned())].into(),
        addresses: vec![address.parse().unwrap()],
        ..Node::default()
    }
}

fn namespace(name: &str, residency: Option<&str>, version: &str) -> Namespace {
    Namespace {
        name: name.to_owned(),
        uid: name.to_owned(),
        resource_version: version.to_owned(),
        labels: residency.map(|value| (keys::RESIDENCY.to_owned(), value.to_owned())).into_iter().collect(),
        ..Namespace::default()
    }
}

fn applied(world: &mut World, space: Namespace) {
    world.absorb(Change::Namespace(Delta::Applied(space.name.clone(), space)));
}

/// A cluster at rest: one residency, one data center, a node, a governed and a free namespace.
fn at_rest() -> World {
    let mut world = World::new("domicile-system");
    world.absorb(Change::DataCenter(Delta::Replaced([("shanghai-1".to_owned(), shanghai())].into())));
    world.absorb(Change::Residency(Delta::Replaced([("mainland".to_owned(), residency("mainland"))].into())));
    world.absorb(Change::Node(Delta::Replaced([("worker-1".to_owned(), node("worker-1", "10.20.0.1"))].into())));
    world.set_mutation(Mutation::AdmissionPolicy);
    applied(&mut world, namespace("vehicles", Some("mainland"), "10"));
    applied(&mut world, namespace("free", None, "11"));
    world.take_due();
    world
}

fn due(world: &mut World) -> BTreeSet<Work> {
    world.take_due()
}

#[test]
fn a_pod_makes_only_its_governed_namespace_due() {
    let mut world = at_rest();
    world.absorb(Change::Pod(Delta::Applied(Key::new("free", "a"), Pod::default())));
    assert!(due(&mut world).is_empty());
    world.absorb(Change::Pod(Delta::Applied(Key::new("vehicles", "a"), Pod::default())));
    assert_eq!(due(&mut world), [Work::Namespace("vehicles".to_owned())].into());
}

#[test]
fn a_heartbeat_of_a_node_costs_one_nodes_work() {
    let mut world = at_rest();
    world.absorb(Change::Node(Delta::Applied("worker-1".to_owned(), node("worker-1", "10.20.0.1"))));
    assert_eq!(due(&mut world), [Work::Node("worker-1".to_owned())].into());
}

#[test]
fn a_node_that_turns_makes_everything_due_that_hangs_on_it() {
    let mut world = at_rest();
    world.absorb(Change::Node(Delta::Applied("worker-1".to_owned(), node("worker-1", "10.99.0.1"))));
    let due = due(&mut world);
    for work in [
        Work::Node("worker-1".to_owned()),
        Work::DataCenter("shanghai-1".to_owned()),
        Work::Residency("mainland".to_owned()),
        Work::Namespace("vehicles".to_owned()),
    ] {
        assert!(due.contains(&work), "{work:?} is not among {due:?}");
    }
}

#[test]
fn a_residency_that_is_gone_leaves_no_label_behind() {
    let mut world = at_rest();
    world.absorb(Change::Residency(Delta::Gone("mainland".to_owned())));
    assert!(due(&mut world).contains(&Work::Node("worker-1".to_owned())));
}

#[test]
fn the_answer_to_an_own_write_does_not_bring_back_what_is_gone() {
    let mut world = at_rest();
    let answer = Change::Residency(Delta::Applied("mainland".to_owned(), residency("mainland")));
    assert!(world.still_knows(&answer));
    world.absorb(Change::Residency(Delta::Gone("mainland".to_owned())));
    assert!(!world.still_knows(&answer));
}

#[test]
fn who_is_sent_objects_makes_governed_namespaces_due_where_that_changes() {
    let mut world = at_rest();
    let service = Key::new("add-on", "webhook");
    let receiver = Receiver {
        name: "pods.example.com".to_owned(),
        target: Target::Service(service.clone()),
        namespaces: crate::api::selector::LabelSelector::default(),
        narrowed_by: None,
    };
    let receivers = || Receivers { uid: String::new(), receivers: vec![receiver.clone()] };
    let vehicles = BTreeSet::from([Work::Namespace("vehicles".to_owned())]);
    let told = || Change::ValidatingWebhooks(Delta::Applied("theirs".to_owned(), receivers()));
    world.absorb(told());
    assert_eq!(due(&mut world), vehicles);
    world.absorb(told()); // what it trusts has changed
    world.absorb(Change::MutatingWebhooks(Delta::Replaced([].into())));
    world.absorb(Change::ApiService(Delta::Gone("v1.example.com".to_owned())));
    assert!(due(&mut world).is_empty());
    world
        .absorb(Change::Service(Delta::Applied(service, Exposed { how: "ExternalName".into(), ..Exposed::default() })));
    assert_eq!(due(&mut world), vehicles);
    world.absorb(Change::ValidatingWebhooks(Delta::Replaced([].into())));
    assert_eq!(due(&mut world), vehicles);
}

#[test]
fn an_older_version_of_a_namespace_is_not_taken_in() {
    let mut world = at_rest();
    applied(&mut world, namespace("vehicles", None, "9"));
    assert!(due(&mut world).is_empty());
    assert_eq!(world.governed(), ["vehicles".to_owned()].into());
}

#[test]
fn a_label_is_as_old_as_its_namespace_only_where_the_watch_saw_both_come() {
    let mut world = at_rest();
    applied(&mut world, namespace("born", Some("mainland"), "20"));
    applied(&mut world, namespace("free", Some("mainland"), "21"));
    let at_birth = |name: &str| world.snapshot.namespaces.get(name).unwrap().labelled_at_birth;
    assert!(at_birth("born"));
    assert!(!at_birth("free"), "pods may be older than the label");
    let listed = [("listed".to_owned(), namespace("listed", Some("mainland"), "22"))].into();
    world.absorb(Change::Namespace(Delta::Replaced(listed)));
    assert!(!world.snapshot.namespaces.get("listed").unwrap().labelled_at_birth);
}

#[test]
fn what_the_cluster_stands_on_is_never_governed() {
    let mut world = at_rest();
    for name in ["kube-system", "kube-public", "kube-node-lease", "domicile-system"] {
        applied(&mut world, namespace(name, Some("mainland"), "30"));
    }
    assert_eq!(world.governed(), ["vehicles".to_owned()].into());
}

#[test]
fn what_is_withdrawn_is_what_no_tenant_brings_about() {
    let mut world = at_rest();
    let vehicles = BTreeSet::from(["vehicles".to_owned()]);
    assert_eq!(world.take_withdrawn(), [].into());
    let on_it = Pod { node: Some("worker-1".to_owned()), ..Pod::default() };
    world.absorb(Change::Pod(Delta::Applied(Key::new("vehicles", "a"), on_it)));
    applied(&mut world, namespace("vehicles", None, "12"));
    applied(&mut world, namespace("vehicles", Some("mainland"), "13"));
    world.absorb(Change::Node(Delta::Applied("worker-2".to_owned(), node("worker-2", "10.20.0.2"))));
    assert_eq!(world.take_withdrawn(), [].into(), "one node more changes what is counted, not what is asked for");
    world.absorb(Change::Node(Delta::Applied("worker-1".to_owned(), node("worker-1", "10.99.0.1"))));
    assert_eq!(world.take_withdrawn(), vehicles, "a node turns");
    world.absorb(Change::DataCenter(Delta::Gone("shanghai-1".to_owned())));
    assert_eq!(world.take_withdrawn(), vehicles);
    let mut stricter = residency("mainland");
    stricter.spec.jurisdictions = serde_json::from_value(serde_json::json!(["HK"])).unwrap();
    world.absorb(Change::Residency(Delta::Applied("mainland".to_owned(), stricter)));
    assert_eq!(world.take_withdrawn(), vehicles);
}
