//! The namespace's steps against a model of the API server that holds labels, annotations and policies: from every state,
//! after a crash behind any write, the same end is reached and stays; and nothing is open on the way.

use std::collections::BTreeMap;

use k8s_openapi::api::networking::v1::NetworkPolicySpec;

use super::{
    namespace::{Meaning, PolicyStep, Step, next},
    world::World,
};
use crate::{
    api::{DataCenter, DataResidency},
    compile::namespace::{BEING_CONFINED, NamespacePatch, close, confine},
    domain::{Mutation, keys},
    observe::{
        Change, Delta, Fingerprint, Key, Namespace, Node, Pod, Policy, Reach, RoleBinding, network_policy::Opens,
    },
    resolve::role_bindings::{are_all, listed},
};

mod unseen;

/// What the API server stores of one namespace.
#[derive(Clone, Debug, Default, PartialEq)]
struct Stored {
    namespace: Namespace,
    policies: BTreeMap<Key, NetworkPolicySpec>,
    tenants: BTreeMap<Key, NetworkPolicySpec>,
    pods: BTreeMap<Key, Pod>,
    /// UIDs of RoleBindings that give something to ServiceAccounts of another namespace.
    foreign: Vec<String>,
}

impl Stored {
    fn labelled(value: &str) -> Self {
        let labels = [(keys::RESIDENCY.to_owned(), value.to_owned())].into();
        Self {
            namespace: Namespace { name: "vehicles".into(), uid: "1".into(), labels, ..Namespace::default() },
            ..Self::default()
        }
    }

    /// A process that has just read everything.
    fn read(&self, mode: &str) -> World {
        let mut world = World::new("domicile-system");
        let center = serde_json::json!({"jurisdiction": "CN", "nodes": {"selector": {"matchLabels": {"site": "shanghai"}}, "addresses": ["10.20.0.0/16"]}, "networks": ["10.20.0.0/16"]});
        let center = DataCenter::new("shanghai-1", serde_json::from_value(center).unwrap());
        let residency = serde_json::json!({"jurisdictions": ["CN"], "enforcement": mode});
        let residency = DataResidency::new("mainland", serde_json::from_value(residency).unwrap());
        let node = Node {
            name: "worker-1".into(),
            labels: [("site".to_owned(), "shanghai".to_owned())].into(),
            addresses: vec!["10.20.0.7".parse().unwrap()],
            ..Node::default()
        };
        world.absorb(Change::DataCenter(Delta::Replaced([("shanghai-1".to_owned(), center)].into())));
        world.absorb(Change::Residency(Delta::Replaced([("mainland".to_owned(), residency)].into())));
        world.absorb(Change::Node(Delta::Replaced([("worker-1".to_owned(), node)].into())));
        world.set_mutation(Mutation::AdmissionPolicy);
        let one = |(key, spec): (&Key, &NetworkPolicySpec), managed| {
            let (opens, spec) = (Opens::read(spec), Fingerprint::of(spec).filter(|_| managed));
            (key.clone(), Policy { opens, spec, managed, ..Policy::default() })
        };
        let own = self.policies.iter().map(|entry| one(entry, true));
        let policies = own.chain(self.tenants.iter().map(|entry| one(entry, false))).collect();
        world.absorb(Change::Policy(Delta::Replaced(policies)));
        world.absorb(Change::Pod(Delta::Replaced(self.pods.clone())));
        let reach = Reach { subject: "Group system:serviceaccounts".into(), home: None };
        let binding = |uid: &String| {
            let binding = RoleBinding { uid: uid.clone(), subjects: 1, reaches: vec![reach.clone()] };
            (Key::new("vehicles", uid), binding)
        };
        world.absorb(Change::RoleBinding(Delta::Replaced(self.foreign.iter().map(binding).collect())));
        world
            .absorb(Change::Namespace(Delta::Replaced([(self.namespace.name.clone(), self.namespace.clone())].into())));
        world
    }

    fn step(&self, mode: &str) -> Option<Step> {
        next(&self.read(mode), &self.namespace, None)
    }

    /// Does what a step says, as the API server would.
    fn write(&mut self, step: Step) {
        match step {
            Step::Policy(policy) => self.write_policy(policy),
            Step::Open { isolating, permitting, wanted } => {
                isolating.into_iter().chain(permitting).for_each(|policy| self.write_policy(policy));
                let patch = close(&self.namespace, &wanted, false);
                self.patch(&patch);
                let patch = confine(&self.namespace, &wanted);
                self.patch(&patch);
            }
            Step::Rewrite { first, patch, .. } => {
                first.into_iter().for_each(|policy| self.write_policy(policy));
                self.patch(&patch);
            }
            Step::Shut => panic!("nothing fails here"),
            Step::Patch { patch, .. } => self.patch(&patch),
            Step::Settle { mut wanted, permitting, .. } => {
                permitting.into_iter().for_each(|policy| self.write_policy(policy));
                wanted.held_pods = vec![keys::ALL_PODS.to_owned()];
                let patch = confine(&self.namespace, &wanted);
                self.patch(&patch);
            }
            Step::List { mut wanted, .. } => {
                if are_all(&wanted.held_role_bindings) {
                    wanted.held_role_bindings = listed(self.foreign.clone());
                }
                let patch = confine(&self.namespace, &wanted);
                self.patch(&patch);
            }
        }
    }

    fn write_policy(&mut self, step: PolicyStep) {
        match step {
            PolicyStep::Apply { key, spec } => drop(self.policies.insert(key, *spec)),
            PolicyStep::Delete { key, .. } => drop(self.policies.remove(&key)),
        }
    }

    fn patch(&mut self, patch: &NamespacePatch) {
        let space = &mut self.namespace;
        for (map, changes) in [(&mut space.labels, &patch.labels), (&mut space.annotations, &patch.annotations)] {
            for (key, value) in changes {
                match value {
                    Some(value) => drop(map.insert(key.clone(), value.clone())),
                    None => drop(map.remove(key)),
                }
            }
        }
        space.own_pod_security = space.labels.keys().filter(|key| key.starts_with("pod-security")).cloned().collect();
    }

    /// Whether the threshold lets anything start.
    fn is_open(&self) -> bool {
        self.namespace.confined_for() == self.namespace.labels.get(keys::RESIDENCY).map(String::as_str)
            && self.namespace.annotations.get(keys::REFUSED_BECAUSE).is_some_and(|reason| reason == "-")
    }

    fn is_isolated(&self) -> bool {
        self.policies.contains_key(&Key::new("vehicles", keys::ISOLATING_POLICY))
    }

    /// Every state on the way to rest, the first one included.
    fn way(mut self, mode: &str) -> Vec<Self> {
        let mut way = vec![self.clone()];
        while let Some(step) = self.step(mode) {
            self.write(step);
            way.push(self.clone());
            assert!(way.len() < 20, "it does not come to rest: {:?}", self.step(mode));
        }
        way
    }
}

#[test]
fn a_crash_behind_any_write_reaches_the_same_end() {
    let way = Stored::labelled("mainland").way("Enforce");
    let end = way.last().unwrap();
    assert!(end.is_open() && end.is_isolated(), "{end:?}");
    for state in &way {
        assert_eq!(state.clone().way("Enforce").last().unwrap(), end);
    }
}

#[test]
fn a_namespace_created_with_its_label_is_opened_in_one_step_to_the_same_end() {
    let labelled = Stored::labelled("mainland");
    let newborn = |mode: &str, stored: &Stored| {
        let other = Namespace { name: "other".into(), uid: "2".into(), ..Namespace::default() };
        let mut world = Stored { namespace: other, ..stored.clone() }.read(mode);
        world.absorb(Change::Namespace(Delta::Applied("vehicles".into(), stored.namespace.clone())));
        world
    };
    let space = |world: &World| world.snapshot.namespaces.get("vehicles").unwrap().clone();
    let world = newborn("Enforce", &labelled);
    let step = next(&world, &space(&world), None).unwrap();
    assert!(matches!(&step, Step::Open { isolating: Some(_), permitting: Some(_), .. }), "{step:?}");
    let mut opened = labelled.clone();
    opened.write(step);
    assert_eq!(&opened, labelled.clone().way("Enforce").last().unwrap());

    // One that was there under the same name before may still get what was asked for then.
    let mut again = newborn("Enforce", &labelled);
    again.absorb(Change::Namespace(Delta::Gone("vehicles".into())));
    let reborn = Namespace { uid: "3".into(), ..labelled.namespace.clone() };
    again.absorb(Change::Namespace(Delta::Applied("vehicles".into(), reborn)));
    assert!(matches!(next(&again, &space(&again), None), Some(Step::Rewrite { meaning: Meaning::Closed, .. })));

    // Once it was open in another mode, there may be pods that no watch has brought yet: it is closed first.
    let audited = labelled.clone().way("Audit").pop().unwrap();
    let world = newborn("Enforce", &audited);
    assert!(matches!(next(&world, &space(&world), None), Some(Step::Rewrite { meaning: Meaning::Closed, .. })));
    // So it is where a pod is there already.
    let pod = Pod { uid: "older".into(), ..Pod::default() };
    let inhabited = Stored { pods: [(Key::new("vehicles", "older"), pod)].into(), ..labelled.clone() };
    let world = newborn("Enforce", &inhabited);
    assert!(matches!(next(&world, &space(&world), None), Some(Step::Rewrite { meaning: Meaning::Closed, .. })));
    // And where an earlier namespace of its name has left a RoleBinding, which is to be listed.
    let reached = Stored { foreign: vec!["older".into()], ..labelled };
    let world = newborn("Enforce", &reached);
    assert!(matches!(next(&world, &space(&world), None), Some(Step::Rewrite { meaning: Meaning::Closed, .. })));
}

#[test]
fn nothing_is_open_before_it_is_isolated() {
    for state in Stored::labelled("mainland").way("Enforce") {
        assert!(!state.is_open() || state.is_isolated(), "{state:?}");
    }
}

#[test]
fn between_two_modes_nothing_is_open_that_is_not_listed() {
    let audited = Stored::labelled("mainland").way("Audit").pop().unwrap();
    assert!(audited.is_open() && !audited.is_isolated());
    let pending = Pod { uid: "pending".into(), ..Pod::default() };
    let audited = Stored { pods: [(Key::new("vehicles", "pending"), pending)].into(), ..audited };
    let way = audited.way("Enforce");
    for state in &way {
        let enforced = state.namespace.labels.get(keys::ENFORCEMENT).is_some_and(|mode| mode == "Enforce");
        let held = state
            .namespace
            .annotations
            .get(keys::HELD_PODS)
            .is_some_and(|held| ["pending", keys::ALL_PODS].contains(&held.as_str()));
        assert!(!(enforced && state.is_open()) || (held && state.is_isolated()), "{state:?}");
    }
    let closed = |state: &&Stored| {
        state.namespace.annotations.get(keys::REFUSED_BECAUSE).is_some_and(|reason| reason == BEING_CONFINED)
    };
    assert_eq!(way.iter().filter(closed).count(), 1);
}

#[test]
fn role_bindings_from_before_are_listed_and_later_ones_are_not() {
    let held = |stored: &Stored| stored.namespace.annotations.get(keys::HELD_ROLE_BINDINGS).cloned();
    let before = Stored { foreign: vec!["older".into()], ..Stored::labelled("mainland") };
    let audited = before.clone().way("Audit").pop().unwrap();
    assert_eq!(held(&audited).as_deref(), Some("*"), "while nothing is enforced nobody can be told from anybody");
    for start in [before, audited] {
        let way = start.way("Enforce");
        for value in way.iter().filter_map(held) {
            assert!(["*", "older"].contains(&value.as_str()), "{value}");
        }
        let mut end = way.last().unwrap().clone();
        assert_eq!(held(&end).as_deref(), Some("older"));
        end.foreign.push("shared".into());
        assert_eq!(end.step("Enforce"), None, "one that is new is written nowhere");
        end.foreign.remove(0);
        assert_eq!(held(&end.way("Enforce").pop().unwrap()).as_deref(), Some("-"));
    }
}

#[test]
fn what_is_released_is_as_it_was() {
    let mut released = Stored::labelled("mainland").way("Enforce").pop().unwrap();
    released.namespace.labels.remove(keys::RESIDENCY);
    let end = released.way("Enforce").pop().unwrap();
    assert!(end.namespace.labels.is_empty() && end.namespace.annotations.is_empty(), "{end:?}");
    assert!(end.policies.is_empty());
}

#[test]
fn a_typo_refuses_and_is_mended_without_a_trace() {
    let mut typo = Stored::labelled("mainlnd").way("Enforce").pop().unwrap();
    assert!(!typo.is_open());
    assert_eq!(typo.namespace.confined_for(), None, "leaving must stay free");
    let reason = typo.namespace.annotations.get(keys::REFUSED_BECAUSE).unwrap().clone();
    assert!(reason.starts_with("there is no DataResidency mainlnd"), "{reason}");
    typo.namespace.labels.insert(keys::RESIDENCY.to_owned(), "mainland".to_owned());
    assert_eq!(typo.way("Enforce").last().unwrap(), Stored::labelled("mainland").way("Enforce").last().unwrap());
}

#[test]
fn a_residency_that_vanished_leaves_what_stands() {
    let mut confined = Stored::labelled("mainland").way("Enforce").pop().unwrap();
    let world = confined.read("Enforce");
    let mut without = world;
    without.absorb(Change::Residency(Delta::Replaced(BTreeMap::new())));
    assert_eq!(next(&without, &confined.namespace, None), None);
    confined.namespace.terminating = true;
    assert_eq!(confined.step("Enforce"), None);
}

/// Of a policy that opens everything.
fn wide() -> NetworkPolicySpec {
    NetworkPolicySpec { egress: Some(vec![Default::default()]), ..NetworkPolicySpec::default() }
}

#[test]
fn what_holds_is_kept_up_while_a_namespace_ends() {
    let mut ending = Stored::labelled("mainland").way("Enforce").pop().unwrap();
    ending.namespace.terminating = true;
    let end = ending.clone();
    ending.namespace.annotations.insert(keys::NETWORKS.to_owned(), "10.0.0.0/8".to_owned());
    let permitting = Key::new("vehicles", keys::PERMITTING_POLICY);
    ending.policies.insert(permitting.clone(), NetworkPolicySpec::default());
    let kept = ending.clone().way("Enforce").pop().unwrap();
    assert_eq!(kept, end);
    // Also where it names another one by now, and where somebody holds a policy that ends.
    let mut renamed = ending.clone();
    renamed.namespace.labels.insert(keys::RESIDENCY.to_owned(), "mainland_other".to_owned());
    assert!(matches!(renamed.step("Enforce"), Some(Step::Policy { .. })));
    let mut world = ending.read("Enforce");
    let held =
        Policy { terminating: true, encumbered: true, managed: true, opens: Opens::read(&wide()), ..Policy::default() };
    world.absorb(Change::Policy(Delta::Applied(permitting.clone(), held)));
    assert!(matches!(
        next(&world, &ending.namespace, None),
        Some(Step::Policy(PolicyStep::Delete { empty: true, .. }))
    ));
    // What is gone cannot be made again, and what was never confined is not confined any more.
    ending.policies.remove(&permitting);
    assert!(matches!(ending.step("Enforce"), Some(Step::Patch { .. })));
    let mut new = Stored::labelled("mainland");
    new.namespace.terminating = true;
    assert_eq!(new.step("Enforce"), None);
}

#[test]
fn a_policy_that_somebody_holds_is_made_anew_behind_a_closed_door() {
    for mode in [None, Some("Warn")] {
        let start = mode
            .map_or_else(|| Stored::labelled("mainland"), |mode| Stored::labelled("mainland").way(mode).pop().unwrap());
        let key = Key::new("vehicles", keys::ISOLATING_POLICY);
        let held = Policy { terminating: true, encumbered: true, ..Policy::default() };
        let mut world = start.read("Enforce");
        world.absorb(Change::Policy(Delta::Applied(key.clone(), held)));
        let step = next(&world, &start.namespace, None).unwrap();
        let Step::Rewrite { first, patch, .. } = &step else { panic!("{step:?}") };
        assert!(!patch.is_empty() && !first.is_empty());
        let mut closed = start.clone();
        closed.patch(patch);
        let mut after = next(&world, &closed.namespace, None);
        if let Some(Step::Rewrite { patch, .. }) = &after {
            closed.patch(patch); // what is held counts as a policy of the tenant's own, beside which nothing is permitted
            after = next(&world, &closed.namespace, None);
        }
        assert!(matches!(&after, Some(Step::Policy(PolicyStep::Apply { key: made, .. })) if *made == key), "{after:?}");
    }
}

#[test]
fn a_namespace_that_is_shut_says_nothing_that_would_make_a_whole_of_what_is_left() {
    let mut shut = Stored::labelled("mainland").way("Enforce").pop().unwrap();
    shut.namespace.annotations.remove(keys::REFUSED_BECAUSE);
    let mut world = shut.read("Enforce");
    world.absorb(Change::Sight("Pod".into(), Some("forbidden".into())));
    assert_eq!(next(&world, &shut.namespace, None), None);
    shut.tenants.insert(Key::new("vehicles", "wide"), wide());
    let step = shut.step("Enforce").unwrap();
    assert!(matches!(step, Step::Settle { .. }), "{step:?}");
    assert_eq!(step.meanwhile(&shut.namespace), None);
}

#[test]
fn a_namespace_that_waits_for_others_to_be_narrowed_says_so_once() {
    let way = Stored::labelled("mainland").way("Enforce");
    let closed = |state: &&Stored| {
        state.namespace.annotations.get(keys::REFUSED_BECAUSE).is_some_and(|reason| reason == BEING_CONFINED)
    };
    let closed = way.iter().rev().find(closed).unwrap().namespace.clone();
    let permitted = way.into_iter().find(|state| state.policies.len() == 2).unwrap();
    let mut waiting = Stored { namespace: closed, ..permitted };
    for name in ["one", "other"] {
        waiting.tenants.insert(Key::new("vehicles", name), wide());
    }
    let meanwhile = |state: &Stored| state.step("Enforce").unwrap().meanwhile(&state.namespace);
    let Some(Step::Patch { patch, .. }) = meanwhile(&waiting) else { panic!("{:?}", meanwhile(&waiting)) };
    waiting.patch(&patch);
    assert!(
        waiting.namespace.annotations.get(keys::REFUSED_BECAUSE).unwrap().contains("until NetworkPolicy one and all")
    );
    assert_eq!(meanwhile(&waiting), None);
    assert!(matches!(waiting.step("Enforce"), Some(Step::Settle { .. })), "it is not closed again");
    waiting.tenants.remove(&Key::new("vehicles", "one"));
    assert!(meanwhile(&waiting).is_some(), "it names one that is gone");
}

#[test]
fn isolation_is_put_back_also_while_a_residency_that_is_named_does_not_exist() {
    let mut confined = Stored::labelled("mainland").way("Enforce").pop().unwrap();
    confined.namespace.labels.insert(keys::RESIDENCY.to_owned(), "mainland_nowhere".to_owned());
    confined.policies.remove(&Key::new("vehicles", keys::ISOLATING_POLICY));
    let end = confined.way("Enforce").pop().unwrap();
    assert!(end.is_isolated() && !end.is_open(), "{end:?}");
}

#[test]
fn what_waits_for_the_permitting_policy_is_nothing_that_closes() {
    let mut confined = Stored::labelled("mainland").way("Enforce").pop().unwrap();
    confined.policies.remove(&Key::new("vehicles", keys::PERMITTING_POLICY));
    confined.namespace.annotations.insert(keys::NETWORKS.to_owned(), "10.0.0.0/8".to_owned());
    let step = confined.step("Enforce");
    assert!(matches!(&step, Some(Step::Rewrite { first, .. }) if first.is_empty()), "{step:?}");
}

/// What stands while the label names what does not exist.
fn behind_a_typo(mode: &str, now: &str, change: impl FnOnce(&mut Namespace)) -> Stored {
    let mut confined = Stored::labelled("mainland").way(mode).pop().unwrap();
    confined.namespace.labels.insert(keys::RESIDENCY.to_owned(), "mainland_nowhere".to_owned());
    change(&mut confined.namespace);
    confined.way(now).pop().unwrap()
}

/// The threshold takes nothing for confined that says so.
fn is_past(space: &Namespace) -> bool {
    space.annotations.get(keys::REFUSED_BECAUSE).is_some_and(|reason| reason.starts_with("being confined: there is no"))
}

#[test]
fn what_stands_behind_a_label_that_names_nothing_is_confined_anew_when_it_is_mended() {
    for mode in ["Audit", "Warn", "Enforce"] {
        let mut after = behind_a_typo(mode, "Enforce", |_| {});
        assert!(is_past(&after.namespace), "{mode}: {:?}", after.namespace.annotations);
        after.namespace.labels.insert(keys::RESIDENCY.to_owned(), "mainland".to_owned());
        let way = after.clone().way("Enforce");
        assert!(way.iter().all(|state| !state.is_open() || state.is_isolated()), "{mode}");
        assert!(way.last().unwrap().is_open(), "{mode}: {:?}", way.last());
        let settles = |state: &Stored| matches!(state.step("Enforce"), Some(Step::Settle { .. }));
        assert!(settles(&after) || way.iter().any(settles), "{mode}: what is older is judged again");
    }
}

#[test]
fn what_was_shut_stays_closed_behind_a_label_that_names_nothing() {
    let shut = |space: &mut Namespace| drop(space.annotations.remove(keys::REFUSED_BECAUSE));
    for mode in ["Audit", "Enforce"] {
        assert!(is_past(&behind_a_typo(mode, mode, shut).namespace), "{mode}");
    }
}

#[test]
fn what_is_left_of_two_residencies_may_ask_for_more() {
    let both = |now: &str| {
        let mut confined = Stored::labelled("mainland").way("Audit").pop().unwrap();
        for key in [keys::RESIDENCY, keys::CONFINED_FOR] {
            confined.namespace.labels.insert(key.to_owned(), "mainland_nowhere".to_owned());
        }
        confined.way(now).pop().unwrap().namespace
    };
    assert!(is_past(&both("Enforce")) && is_past(&both("Warn")));
    assert!(!is_past(&both("Audit")));
}

#[test]
fn what_was_shut_is_opened_as_if_for_the_first_time() {
    let mut confined = Stored::labelled("mainland").way("Enforce").pop().unwrap();
    confined.namespace.annotations.remove(keys::REFUSED_BECAUSE);
    let step = confined.step("Enforce");
    assert!(matches!(&step, Some(Step::Settle { .. })), "{step:?}");
}

#[test]
fn what_cannot_be_isolated_is_not_opened() {
    let mut confined = Stored::labelled("mainland").way("Enforce").pop().unwrap();
    confined.policies.remove(&Key::new("vehicles", keys::ISOLATING_POLICY));
    confined.namespace.annotations.insert(keys::REFUSED_BECAUSE.to_owned(), "it cannot be isolated".to_owned());
    let step = confined.step("Enforce");
    assert!(matches!(&step, Some(Step::Policy(PolicyStep::Apply { .. }))), "{step:?}");
}

#[test]
fn what_is_to_hold_waits_for_no_policy() {
    let mut confined = Stored::labelled("mainland").way("Enforce").pop().unwrap();
    confined.policies.insert(Key::new("vehicles", keys::PERMITTING_POLICY), crate::compile::network::isolating());
    confined.namespace.annotations.insert(keys::NETWORKS.to_owned(), "10.0.0.0/8".to_owned());
    let step = confined.step("Enforce");
    assert!(
        matches!(&step, Some(Step::Rewrite { first, patch, .. }) if !first.is_empty() && !patch.is_empty()),
        "{step:?}"
    );
}

#[test]
fn a_policy_that_somebody_took_away_is_put_back() {
    let mut confined = Stored::labelled("mainland").way("Enforce").pop().unwrap();
    let end = confined.clone();
    confined.policies.remove(&Key::new("vehicles", keys::ISOLATING_POLICY));
    assert_eq!(confined.way("Enforce").pop().unwrap(), end);
}
