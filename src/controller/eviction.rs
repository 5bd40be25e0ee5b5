//! Which pod to move next, where residencies say `placement.eviction: Enabled`.
//!
//! Moving is evicting: the pod's controller makes another, which the API server pins. So only pods that have a controller
//! which does so are moved, one at a time for each of them, the next when the last one's successor runs, and only where a
//! verified node could take it. What a PodDisruptionBudget refuses waits. A successor that stands outside again is not moved
//! at once: no pod is chased in a loop.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use tokio::time::Instant;

use super::{judge::Judged, namespace, world::World};
use crate::{
    apply::{Data, Eviction, Moved},
    domain::{Leg, Mode, Mutation, Named, Subject, keys},
    observe::{Claim, Key, Namespace, Node, Owner, Pod, Resources, in_namespace},
    report::events::Telling,
    resolve::{self, Place},
};

/// At most one pod of the cluster is evicted in this time.
pub const EVERY: Duration = Duration::from_millis(500);
/// So long a pod is left that could not be moved.
const LEFT: Duration = Duration::from_secs(30);
/// So long a controller may take to make a successor, before the next of its pods is moved all the same: it may have been
/// scaled down.
const SUCCESSION: Duration = Duration::from_secs(60);
/// So long a successor that stands outside is left the first time; it doubles.
const CHASE: Duration = Duration::from_secs(60);
/// The longest time that a successor is left.
const LONGEST_CHASE: Duration = Duration::from_secs(3600);

/// Findings of these rules are about pods that are to be elsewhere.
const RULES: [&str; 2] = ["domicile/placement", "domicile/held-pod"];

/// What was moved, and what could not be.
#[derive(Debug, Default)]
pub struct History {
    owners: BTreeMap<(String, Owner), Record>,
    left: BTreeMap<String, (Instant, String)>,
    next: Option<Instant>,
}

/// What is known of a controller one of whose pods was moved.
#[derive(Debug)]
struct Record {
    last: Instant,
    /// The pods that stood outside when moving them began; others came later.
    known: BTreeSet<String>,
    /// How many pods it had.
    pods: usize,
    /// How often a successor stood outside.
    chases: u32,
}

/// What to do in one namespace.
#[derive(Debug, PartialEq)]
pub enum Pick {
    /// Move this one.
    Move(Box<Eviction>),
    /// Look again then.
    Later(Instant),
    /// There is nothing to move.
    Nothing,
}

/// The next pod of a namespace to move.
#[must_use]
pub fn pick(world: &World, space: &Namespace, judged: &Judged, history: &History, now: Instant) -> Pick {
    if !may_move(world, space, judged) {
        return Pick::Nothing;
    }
    let outside = outside(world, space, judged);
    if outside.is_empty() {
        return Pick::Nothing;
    }
    if let Some(next) = history.next.filter(|next| *next > now) {
        return Pick::Later(next);
    }
    let crews = crews(world, space, &outside);
    let mut later = None;
    for (key, pod, owner) in &outside {
        let crew = crews.get(owner).copied().unwrap_or_default();
        match history.until(space, pod, owner, crew, now) {
            Some(until) if until > now => later = Some(later.map_or(until, |known: Instant| known.min(until))),
            _ => return Pick::Move(Box::new(eviction(world, space, judged, key, pod))),
        }
    }
    later.map_or(Pick::Nothing, Pick::Later)
}

/// The pods of one controller.
#[derive(Clone, Copy, Debug, Default)]
struct Crew {
    /// How many run or may yet run.
    pods: usize,
    /// Whether one of them ends, or has not started where it may stay.
    unsettled: bool,
}

/// The pods of every controller, in one pass: a tenant can make both them and their owners many.
fn crews<'a>(world: &'a World, space: &'a Namespace, outside: &Outside<'_>) -> BTreeMap<&'a Owner, Crew> {
    let outside: BTreeSet<&str> = outside.iter().map(|(_, pod, _)| pod.uid.as_str()).collect();
    let mut crews: BTreeMap<&Owner, Crew> = BTreeMap::new();
    for (_, pod) in in_namespace(&world.snapshot.pods, &space.name).filter(|(_, pod)| pod.is_active()) {
        let Some(owner) = &pod.owner else { continue };
        let crew = crews.entry(owner).or_default();
        crew.pods += 1;
        crew.unsettled |= pod.terminating || !(pod.running || outside.contains(pod.uid.as_str()));
    }
    crews
}

type Outside<'a> = Vec<(&'a Key, &'a Pod, &'a Owner)>;

/// Every residency of the namespace asks for it, and the successor of a pod would be let in and bound.
fn may_move(world: &World, space: &Namespace, judged: &Judged) -> bool {
    let asks = |name: &str| world.residencies.get(name).is_some_and(|residency| residency.evict);
    judged.confined
        && judged.mode == Mode::Enforce
        && judged.refused_because.is_none()
        && !space.terminating
        && !namespace::is_binding_held(space)
        && judged.named.names().all(asks)
}

/// The pods that stand outside and have a controller that makes another elsewhere.
///
/// Where nothing pins what is created, a successor is let in only if its template is pinned, as the pod then is.
fn outside<'a>(world: &'a World, space: &Namespace, judged: &Judged) -> Outside<'a> {
    let mutates = world.mutation.is_some_and(|mutation| mutation != Mutation::Nothing);
    let pods = judged.findings.iter().filter(|finding| RULES.contains(&finding.rule)).filter_map(|finding| {
        let key = Key::new(&space.name, &finding.subject.name);
        let (key, pod) = world.snapshot.pods.get_key_value(&key)?;
        let owner = pod.owner.as_ref().filter(|owner| !["DaemonSet", "Node"].contains(&owner.kind.as_str()))?;
        // A node that is not known proves nothing.
        let known = pod.node.as_ref().is_none_or(|node| world.snapshot.nodes.contains_key(node));
        let succeeded = mutates || resolve::is_pinned(&pod.pins, &judged.named);
        (known && succeeded && pod.uid == finding.subject.uid && !pod.terminating).then_some((key, pod, owner))
    });
    pods.collect()
}

fn eviction(world: &World, space: &Namespace, judged: &Judged, key: &Key, pod: &Pod) -> Eviction {
    let of_storage = judged.findings.iter().filter(|finding| finding.leg == Leg::Storage);
    let outside: BTreeSet<&str> = of_storage.map(|finding| finding.subject.name.as_str()).collect();
    let data = |name: &str, claim: &Claim| match claim.volume.as_ref().map(|name| world.snapshot.volumes.get(name)) {
        _ if outside.contains(name) => Data::Outside,
        None => Data::Unbound,
        Some(None) => Data::Outside,
        Some(Some(volume)) => Data::In(volume.clone()),
    };
    let claims = in_namespace(&world.snapshot.claims, &space.name);
    let claims = claims.map(|(key, claim)| (key.name.clone(), data(&key.name, claim))).collect();
    Eviction { key: key.clone(), pod: pod.clone(), places: places(world, space), claims }
}

/// The nodes that carry the label of every residency, and what is free on them.
fn places(world: &World, space: &Namespace) -> Vec<Place> {
    let Named::Residencies(named) = world.named(space) else { return Vec::new() };
    let labels: Vec<String> = named.names().map(keys::node_residency).collect();
    let serves = |label: &String, node: &Node| node.labels.get(label).is_some_and(|value| value == "true");
    let nodes = world.snapshot.nodes.values().filter(|node| labels.iter().all(|label| serves(label, node)));
    let mut used: BTreeMap<&str, Resources> = BTreeMap::new();
    for pod in world.snapshot.pods.values().filter(|pod| pod.is_active()) {
        if let Some(node) = &pod.node {
            let sum = used.entry(node).or_default();
            *sum = *sum + pod.asked;
        }
    }
    let place = |node: &Node| Place {
        free: node.allocatable.without(used.get(node.name.as_str()).copied().unwrap_or_default()),
        node: node.clone(),
    };
    nodes.map(place).collect()
}

impl History {
    /// Until when a pod is left; `None` where it may be moved.
    fn until(&self, space: &Namespace, pod: &Pod, owner: &Owner, crew: Crew, now: Instant) -> Option<Instant> {
        if let Some((until, _)) = self.left.get(&pod.uid).filter(|(until, _)| *until > now) {
            return Some(*until);
        }
        if crew.unsettled {
            return Some(now + LEFT); // that it runs is a change, which makes this due at once
        }
        let record = self.owners.get(&(space.name.clone(), owner.clone()))?;
        if !record.known.contains(&pod.uid) {
            let wait = CHASE.saturating_mul(1 << record.chases.min(16)).min(LONGEST_CHASE);
            return Some(record.last + wait);
        }
        (crew.pods < record.pods).then(|| record.last + SUCCESSION)
    }

    /// A pod is about to be moved: no other is for a moment.
    pub fn begins(&mut self, now: Instant) {
        self.next = Some(now + EVERY);
    }

    /// Takes in what came of moving a pod, and says what to tell.
    pub fn take_in(
        &mut self,
        world: &World,
        judged: Option<&Judged>,
        key: &Key,
        moved: &Moved,
        now: Instant,
    ) -> Vec<Telling> {
        self.left.retain(|_, (until, _)| *until + LONGEST_CHASE > now);
        self.owners.retain(|_, record| now - record.last < LONGEST_CHASE.saturating_mul(2));
        let (Some(pod), Some(space)) = (world.snapshot.pods.get(key), world.snapshot.namespaces.get(&key.namespace))
        else {
            return Vec::new();
        };
        let subject = Subject::namespaced("Pod", &key.namespace, &key.name, &pod.uid);
        match moved {
            Moved::Changed => Vec::new(),
            Moved::Left(reason) => {
                let before = self.left.insert(pod.uid.clone(), (now + LEFT, reason.clone()));
                let news = before.is_none_or(|(_, before)| before != *reason);
                let note = format!("it stands outside and is not moved: {reason}");
                let telling = Telling { standing: true, ..Telling::warning(subject, "NotEvicted", "Evict", note) };
                news.then_some(telling).into_iter().collect()
            }
            Moved::Evicted => {
                self.next = Some(now + EVERY);
                let Some(owner) = &pod.owner else { return Vec::new() };
                let others = judged.map(|judged| outside(world, space, judged)).unwrap_or_default();
                let known =
                    others.iter().filter(|(_, _, other)| *other == owner).map(|(_, pod, _)| pod.uid.clone()).collect();
                self.remember(space, pod, owner, known, world, now);
                let note = format!("it stood outside; {} {} makes another, which is pinned", owner.kind, owner.name);
                vec![Telling::normal(subject, "Evicted", "Evict", note)]
            }
        }
    }

    fn remember(
        &mut self,
        space: &Namespace,
        pod: &Pod,
        owner: &Owner,
        known: BTreeSet<String>,
        world: &World,
        now: Instant,
    ) {
        let own = in_namespace(&world.snapshot.pods, &space.name);
        let pods = own.filter(|(_, one)| one.owner.as_ref() == Some(owner) && one.is_active()).count();
        let record = self.owners.entry((space.name.clone(), owner.clone())).or_insert_with(|| Record {
            last: now,
            known: known.clone(),
            pods,
            chases: 0,
        });
        if !record.known.contains(&pod.uid) {
            record.chases = record.chases.saturating_add(1);
            record.known = known;
        }
        (record.last, record.pods) = (now, pods);
    }
}
