//! Which pods are moved, and which are left.

use std::{collections::BTreeMap, time::Duration};

use tokio::time::Instant;

use super::{
    eviction::{History, Pick, pick},
    judge::{Judged, judge},
    world::World,
};
use crate::{
    api::{DataCenter, DataResidency},
    apply::{Data, Eviction, Moved},
    domain::{Mutation, keys},
    observe::{Change, Claim, Delta, Key, Namespace, Node, Owner, Pod},
};

/// `shop` is confined for `mainland`, which asks for eviction; `cn` is verified, `de` is not claimed.
struct Stage {
    world: World,
    history: History,
    now: Instant,
}

impl Stage {
    fn new() -> Self {
        let mut world = World::new("domicile-system");
        let center = serde_json::json!({"jurisdiction": "CN", "nodes": {"selector": {"matchLabels": {"site": "shanghai"}}, "addresses": ["10.20.0.0/16"]}});
        let center = DataCenter::new("shanghai-1", serde_json::from_value(center).unwrap());
        world.absorb(Change::DataCenter(Delta::Applied("shanghai-1".into(), center)));
        world.set_mutation(Mutation::AdmissionPolicy);
        let labels = [("site", "shanghai"), (&keys::node_residency("mainland"), "true")];
        let verified = Node {
            name: "cn".into(),
            addresses: vec!["10.20.0.1".parse().unwrap()],
            labels: labels.map(|(key, value)| (key.to_owned(), value.to_owned())).into(),
            ready: true,
            ..Node::default()
        };
        world.absorb(Change::Node(Delta::Applied("cn".into(), verified)));
        world.absorb(Change::Node(Delta::Applied("de".into(), Node { name: "de".into(), ..Node::default() })));
        let mut stage = Self { world, history: History::default(), now: Instant::now() };
        stage.residency("Enabled");
        stage.confined(&[]);
        stage
    }

    fn residency(&mut self, eviction: &str) {
        let spec = serde_json::json!({"jurisdictions": ["CN"], "placement": {"eviction": eviction}});
        let residency = DataResidency::new("mainland", serde_json::from_value(spec).unwrap());
        self.world.absorb(Change::Residency(Delta::Applied("mainland".into(), residency)));
    }

    fn confined(&mut self, more: &[(&str, &str)]) {
        let labels = [(keys::RESIDENCY, "mainland"), (keys::CONFINED_FOR, "mainland"), (keys::ENFORCEMENT, "Enforce")];
        let owned = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
        let space = Namespace {
            name: "shop".into(),
            labels: labels.iter().map(owned).collect(),
            annotations: [(keys::REFUSED_BECAUSE, "-")].iter().chain(more).map(owned).collect(),
            ..Namespace::default()
        };
        self.world.absorb(Change::Namespace(Delta::Applied("shop".into(), space)));
    }

    /// A running pod of ReplicaSet `web` on a node, made otherwise by `change`.
    fn pod(&mut self, name: &str, node: &str, change: impl FnOnce(&mut Pod)) {
        let owner = Some(Owner { kind: "ReplicaSet".into(), name: "web".into() });
        let mut pod = Pod { uid: name.into(), node: Some(node.into()), running: true, owner, ..Pod::default() };
        change(&mut pod);
        self.world.absorb(Change::Pod(Delta::Applied(Key::new("shop", name), pod)));
    }

    fn gone(&mut self, name: &str) {
        self.world.absorb(Change::Pod(Delta::Gone(Key::new("shop", name))));
    }

    fn judged(&self) -> Judged {
        judge(&self.world, &self.world.snapshot.namespaces["shop"]).unwrap()
    }

    fn pick(&self) -> Pick {
        pick(&self.world, &self.world.snapshot.namespaces["shop"], &self.judged(), &self.history, self.now)
    }

    #[track_caller]
    fn moves(&self, name: &str) -> Eviction {
        match self.pick() {
            Pick::Move(eviction) if eviction.key.name == name => *eviction,
            other => panic!("{name} is not moved: {other:?}"),
        }
    }

    #[track_caller]
    fn leaves(&self) {
        assert!(!matches!(self.pick(), Pick::Move(_)), "{:?}", self.pick());
    }

    fn took(&mut self, name: &str, moved: &Moved) -> Vec<&'static str> {
        let judged = self.judged();
        let told = self.history.take_in(&self.world, Some(&judged), &Key::new("shop", name), moved, self.now);
        told.iter().map(|telling| telling.reason).collect()
    }

    fn evicted(&mut self, name: &str) {
        assert_eq!(self.took(name, &Moved::Evicted), ["Evicted"]);
        self.gone(name);
        self.passes(1);
    }

    fn passes(&mut self, seconds: u64) {
        self.now += Duration::from_secs(seconds);
    }
}

#[test]
fn a_pod_that_stands_outside_is_moved_to_a_verified_node() {
    let mut stage = Stage::new();
    stage.pod("a", "cn", |_| {});
    stage.leaves();
    stage.pod("b", "de", |_| {});
    let eviction = stage.moves("b");
    assert_eq!(eviction.places.iter().map(|place| place.node.name.as_str()).collect::<Vec<_>>(), ["cn"]);
}

#[test]
fn nothing_is_moved_where_nobody_asks_or_a_successor_would_not_start() {
    let mut stage = Stage::new();
    stage.pod("a", "de", |_| {});
    stage.moves("a");
    stage.residency("Disabled");
    stage.leaves();
    stage.residency("Enabled");
    for annotation in [(keys::HELD_PODS, "*"), (keys::REFUSED_BECAUSE, "this cluster has no data center in CN")] {
        stage.confined(&[annotation]);
        stage.leaves();
    }
    stage.confined(&[]);
    stage.moves("a");
    stage.world.set_mutation(Mutation::Nothing);
    stage.leaves();
    stage.pod("a", "de", |pod| pod.pins = [("mainland".to_owned(), "true".to_owned())].into());
    stage.moves("a");
}

#[test]
fn pods_that_nobody_makes_again_elsewhere_stay() {
    let mut stage = Stage::new();
    stage.pod("bare", "de", |pod| pod.owner = None);
    for kind in ["DaemonSet", "Node"] {
        stage.pod(kind, "de", |pod| pod.owner = Some(Owner { kind: kind.into(), name: "agent".into() }));
    }
    stage.pod("on-a-node-that-is-not-known", "ghost", |_| {});
    stage.pod("ends", "de", |pod| pod.terminating = true);
    stage.leaves();
}

#[test]
fn the_next_one_waits_until_the_successor_runs() {
    let mut stage = Stage::new();
    for name in ["a", "b"] {
        stage.pod(name, "de", |_| {});
    }
    stage.moves("a");
    stage.evicted("a");
    stage.leaves();
    stage.pod("a2", "cn", |pod| pod.running = false);
    stage.leaves();
    stage.pod("a2", "cn", |_| {});
    stage.moves("b");
}

#[test]
fn a_controller_that_was_scaled_down_holds_nothing_up_for_long() {
    let mut stage = Stage::new();
    for name in ["a", "b"] {
        stage.pod(name, "de", |_| {});
    }
    stage.evicted("a");
    stage.leaves();
    stage.passes(61);
    stage.moves("b");
}

#[test]
fn a_successor_that_stands_outside_is_not_chased() {
    let mut stage = Stage::new();
    stage.pod("a", "de", |_| {});
    stage.evicted("a");
    stage.pod("a2", "de", |_| {});
    stage.passes(50);
    stage.leaves();
    stage.passes(20);
    stage.moves("a2");
    stage.evicted("a2");
    stage.pod("a3", "de", |_| {});
    stage.passes(70);
    stage.leaves();
    stage.passes(60);
    stage.moves("a3");
}

#[test]
fn what_cannot_be_moved_is_told_once_and_tried_later() {
    let mut stage = Stage::new();
    stage.pod("a", "de", |_| {});
    stage.pod("b", "de", |pod| pod.owner = Some(Owner { kind: "StatefulSet".into(), name: "db".into() }));
    let left = Moved::Left("the budget refuses it".into());
    assert_eq!(stage.took("a", &left), ["NotEvicted"]);
    stage.moves("b");
    stage.passes(31);
    stage.moves("a");
    assert!(stage.took("a", &left).is_empty(), "the same is no news");
    assert_eq!(stage.took("a", &Moved::Left("another reason".into())), ["NotEvicted"]);
}

#[test]
fn one_pod_of_the_cluster_is_moved_at_a_time() {
    let mut stage = Stage::new();
    stage.pod("a", "de", |_| {});
    stage.pod("b", "de", |pod| pod.owner = Some(Owner { kind: "StatefulSet".into(), name: "db".into() }));
    stage.took("a", &Moved::Evicted);
    stage.gone("a");
    stage.leaves();
    stage.passes(1);
    stage.moves("b");
}

#[test]
fn data_that_lies_outside_or_nobody_knows_where_is_said() {
    let mut stage = Stage::new();
    stage.pod("a", "de", |_| {});
    let claim = |volume: Option<&str>| Claim { volume: volume.map(str::to_owned), ..Claim::default() };
    for (name, volume) in [("new", None), ("lost", Some("pv-9"))] {
        stage.world.absorb(Change::Claim(Delta::Applied(Key::new("shop", name), claim(volume))));
    }
    let claims: BTreeMap<String, Data> = stage.moves("a").claims;
    assert_eq!(claims["lost"], Data::Outside);
    assert_eq!(claims["new"], Data::Outside, "it names no class, which is a finding");
}

#[test]
fn a_crew_of_thousands_is_looked_at_once() {
    // Work that grows with the square of them would take this test minutes, and the operator with it.
    let mut stage = Stage::new();
    for number in 0..5000 {
        stage.pod(&format!("a-{number}"), "de", |pod| {
            pod.node = None;
            pod.running = false;
        });
    }
    stage.pod("zzz", "cn", |pod| {
        pod.node = None;
        pod.running = false;
        pod.pins = [("mainland".to_owned(), "true".to_owned())].into();
    });
    stage.leaves(); // the last one has not started where it may stay
    stage.pod("zzz", "cn", |_| {});
    assert!(matches!(stage.pick(), Pick::Move(_)));
}
