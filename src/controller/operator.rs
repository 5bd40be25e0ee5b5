//! The task that owns what is known, decides, and sends requests off.

use std::{
    collections::{BTreeMap, HashSet},
    sync::Arc,
    time::Duration,
};

use futures::{FutureExt as _, StreamExt as _, future::BoxFuture, stream::FuturesUnordered};
use kube::Client;
use tokio::{
    sync::{mpsc, watch},
    time::Instant,
};

use super::{
    answers::Answers,
    class, cluster_policy,
    eviction::{self, Pick},
    judge::{self, Judged},
    memory::Memory,
    namespace::{self, Meaning},
    narrowing::Narrowing,
    outcome::Written,
    pace::Pace,
    queue::Queue,
    status,
    surroundings::Surroundings,
    tell::Teller,
    told::tellings,
    troubles::Troubles,
    world::{Work, World},
};
use crate::{
    apply,
    compile::nodes,
    observe::{Change, Delta, Kind, watch::KINDS},
    report::events,
    resolve::Location,
    telemetry::{Health, Metrics, Operation, Outcome},
    webhook::Namespaces,
};

/// Statuses wait so long, so that one is written for many changes.
const STATUS_DELAY: Duration = Duration::from_millis(200);
/// So long after its start an operator leaves what stands of residencies' statuses, unless it has looked at the admission
/// policies before: what the one before it saw is not Unknown for a moment, each time that one is replaced.
const FIRST_LOOK: Duration = Duration::from_secs(10);
/// So long after a try it is told again that the cluster cannot be read, where that does not stand.
const TELL_AGAIN: Duration = Duration::from_secs(10);
/// So long an operator may take to read everything once before that is told.
const UNREAD: Duration = Duration::from_secs(60);
/// The longest sleep, so that it is seen that this turns.
const LONGEST: Duration = Duration::from_secs(60);
/// So many changes are taken in before work is looked at again.
const CHANGES_AT_ONCE: usize = 1024;

/// Each with the turn in which it began.
type Running = FuturesUnordered<BoxFuture<'static, (Work, Operation, u64, Result<Written, apply::Error>)>>;

/// Owns what is known.
pub struct Operator {
    client: Client,
    /// Publishes events beside everything else; an event that is lost loses nothing.
    teller: Teller,
    health: Arc<Health>,
    metrics: Arc<Metrics>,
    world: World,
    answers: Answers,
    surroundings: Surroundings,
    /// Until when the first look at them is waited for; `None` once it was had.
    looks_until: Option<Instant>,
    queue: Queue,
    running: Running,
    judged: BTreeMap<String, Judged>,
    told_locations: BTreeMap<String, Location>,
    settled_at: BTreeMap<String, Instant>,
    troubles: Troubles,
    memory: Memory,
    pace: Pace,
    narrowing: Narrowing,
    evictions: eviction::History,
    read: HashSet<Kind>,
    started_at: Instant,
    /// When it was told on which residency that the cluster cannot be read.
    told_unread: BTreeMap<String, Instant>,
}

impl Operator {
    /// Knows nothing yet.
    #[must_use]
    pub fn new(client: Client, own_namespace: &str, health: Arc<Health>, metrics: Arc<Metrics>) -> Self {
        let events = apply::Events::new(client.clone());
        let teller = Teller::start(Arc::clone(&metrics), move |telling| {
            let events = events.clone();
            async move { events.publish(&telling).await }
        });
        Self {
            teller,
            client,
            health,
            metrics,
            world: World::new(own_namespace),
            answers: Answers::default(),
            surroundings: Surroundings::default(),
            looks_until: Some(Instant::now() + FIRST_LOOK),
            queue: Queue::default(),
            running: Running::new(),
            judged: BTreeMap::new(),
            told_locations: BTreeMap::new(),
            settled_at: BTreeMap::new(),
            troubles: Troubles::default(),
            memory: Memory::default(),
            pace: Pace::default(),
            narrowing: Narrowing::default(),
            evictions: eviction::History::default(),
            read: HashSet::new(),
            started_at: Instant::now(),
            told_unread: BTreeMap::new(),
        }
    }

    /// The governed namespaces as they are known, for the webhook.
    #[must_use]
    pub fn namespaces(&self) -> Namespaces {
        self.world.shown.clone()
    }

    /// Works until the watches end.
    pub async fn run(mut self, mut changes: mpsc::Receiver<Change>, mut seen: watch::Receiver<Option<Surroundings>>) {
        loop {
            let now = Instant::now();
            self.health.turns(now.into_std());
            let wake = if self.is_complete() { self.queue.wake() } else { Some(now + TELL_AGAIN) };
            let wake = wake.map_or(now + LONGEST, |wake| wake.min(now + LONGEST));
            tokio::select! {
                change = changes.recv() => {
                    let Some(change) = change else { return };
                    self.absorb(change);
                    for _ in 1..CHANGES_AT_ONCE {
                        match changes.try_recv() {
                            Ok(change) => self.absorb(change),
                            Err(_) => break,
                        }
                    }
                }
                Some((work, operation, began, result)) = self.running.next(), if !self.running.is_empty() => {
                    self.finish(work, operation, began, result);
                }
                Ok(()) = seen.changed() => {
                    let found = seen.borrow_and_update().clone();
                    self.look_around(found.unwrap_or_default());
                }
                () = tokio::time::sleep_until(wake) => {}
            }
            if self.is_complete() {
                self.start_due();
            } else {
                self.tell_what_is_unread();
            }
        }
    }

    /// Whether every kind is settled: read once, not served, or, of an add-on, told not to be seen. Nothing is decided before.
    fn is_complete(&self) -> bool {
        self.read.len() == KINDS
    }

    fn absorb(&mut self, change: Change) {
        if change.settles().is_some_and(|kind| self.read.insert(kind)) && self.is_complete() {
            tracing::info!("the cluster has been read");
            self.health.set_ready(true);
        }
        self.answers.watch_tells(&change);
        self.world.absorb(change);
    }

    fn look_around(&mut self, found: Surroundings) {
        if let Some(mutation) = found.canary.mutation {
            self.world.set_mutation(mutation);
        }
        if self.looks_until.take().is_some() || found != self.surroundings {
            tracing::info!(installed = ?found.installed, canary = ?found.canary, "looked at the admission policies");
            self.surroundings = found;
            self.world.mark_residencies();
        }
    }

    /// When what changes now of a residency is written to its status.
    fn residencies_told_at(&self, now: Instant) -> Instant {
        (now + STATUS_DELAY).max(self.looks_until.unwrap_or(now))
    }

    /// Before every kind is settled nothing is decided. That they are not, and why, is told on each residency.
    fn tell_what_is_unread(&mut self) {
        let now = Instant::now();
        let mut unseen = self.world.unseen.clone();
        if unseen.is_empty() && self.started_at.elapsed() >= UNREAD {
            let why = "they have not been read since the operator started";
            unseen.insert("some kinds".to_owned(), why.to_owned());
        }
        for name in self.world.snapshot.residencies.keys() {
            if self.told_unread.get(name).is_some_and(|told| now < *told + TELL_AGAIN) {
                continue;
            }
            let Some(step) = status::unread(&self.world, &unseen, name) else { continue };
            self.told_unread.insert(name.clone(), now);
            let (work, operation, began) = (Work::Residency(name.clone()), step.operation(), self.answers.turn());
            let request = status::carry_out_residency(self.client.clone(), name.clone(), step);
            self.running.push(async move { (work, operation, began, request.await) }.boxed());
        }
    }

    /// Starts everything that is due and may be worked on.
    fn start_due(&mut self) {
        let now = Instant::now();
        let told_at = self.residencies_told_at(now);
        self.pace.withdraws(self.world.take_withdrawn());
        for work in self.world.take_due() {
            let at = match &work {
                Work::Namespace(name) => self.next_look_at(name, now),
                Work::Node(_) | Work::Eviction(_) | Work::Class(_) | Work::ClusterPolicy(_) => now,
                Work::Residency(_) => told_at,
                Work::DataCenter(_) => now + STATUS_DELAY,
            };
            self.queue.add(work, at);
        }
        while let Some(work) = self.queue.next(now) {
            match self.start(&work) {
                Some((operation, request)) => {
                    let began = self.answers.turn();
                    self.running.push(async move { (work, operation, began, request.await) }.boxed());
                }
                None => self.queue.done(&work),
            }
        }
        self.metrics.waiting.set(i64::try_from(self.queue.waiting()).unwrap_or(i64::MAX));
    }

    /// When a namespace may be looked at.
    fn next_look_at(&mut self, name: &str, now: Instant) -> Instant {
        let space = self.world.snapshot.namespaces.get(name);
        let becomes_stricter = space.is_some_and(|space| namespace::becomes_stricter(&self.world, space));
        self.pace.next_look_at(name, becomes_stricter, now)
    }

    /// Decides one piece of work and, where something is to be written, begins it.
    fn start(&mut self, work: &Work) -> Option<(Operation, BoxFuture<'static, Result<Written, apply::Error>>)> {
        let client = self.client.clone();
        match work {
            Work::Node(name) => self.start_node(name),
            Work::Namespace(name) => self.start_namespace(name),
            Work::Eviction(name) => self.start_eviction(name),
            Work::Class(name) => {
                let step = class::next(&self.world, name);
                let restored = self.memory.class(&self.world, name, step.as_ref());
                self.teller.tell(restored);
                let step = step?;
                Some((Operation::StorageClass, class::carry_out(client, name.clone(), step).boxed()))
            }
            Work::ClusterPolicy(name) => {
                let step = cluster_policy::next(&self.world, name);
                let restored = self.memory.cluster_policy(&self.world, name, step.as_ref());
                self.teller.tell(restored);
                let request = cluster_policy::carry_out(client, name.clone(), step?);
                Some((Operation::ClusterNetworkPolicy, request.boxed()))
            }
            Work::Residency(name) => {
                let step = status::residency(&self.world, &self.judged, &self.surroundings, name)?;
                Some((step.operation(), status::carry_out_residency(client, name.clone(), step).boxed()))
            }
            Work::DataCenter(name) => {
                let step = status::data_center(&self.world, name)?;
                Some((Operation::Status, status::carry_out_data_center(client, name.clone(), step).boxed()))
            }
        }
    }

    fn start_node(&mut self, name: &str) -> Option<(Operation, BoxFuture<'static, Result<Written, apply::Error>>)> {
        let (Some(node), Some(location)) = (self.world.snapshot.nodes.get(name), self.world.locations.get(name)) else {
            self.told_locations.remove(name);
            self.memory.forget_node(name);
            return None;
        };
        let before = self.told_locations.insert(name.to_owned(), location.clone());
        let tellings = events::node(name, &node.uid, before.as_ref(), location);
        let changes = nodes::labels(node, location, &self.world.residencies);
        let serves = nodes::serves(location, &self.world.residencies);
        let restored = self.memory.node(node, location, serves, &changes);
        let (client, name) = (self.client.clone(), name.to_owned());
        self.teller.tell(tellings.into_iter().chain(restored));
        if changes.is_empty() {
            return None;
        }
        let request = async move {
            let node = apply::label_node(client, &name, &changes).await?;
            Ok(Written::one(Change::Node(Delta::Applied(name, node))))
        };
        Some((Operation::Node, request.boxed()))
    }

    fn start_namespace(
        &mut self,
        name: &str,
    ) -> Option<(Operation, BoxFuture<'static, Result<Written, apply::Error>>)> {
        let now = Instant::now();
        self.judge(name);
        let Some(space) = self.world.snapshot.namespaces.get(name) else {
            self.settled_at.remove(name);
            self.troubles.forget(name);
            self.pace.forget(name);
            let next = self.narrowing.is_done(name);
            self.call(next);
            return None;
        };
        if namespace::is_binding_held(space) {
            self.settled_at.entry(name.to_owned()).or_insert(now); // it was confined by a process before this one
        }
        let settled_at = self.settled_at.get(name).copied();
        let waits = [namespace::BINDING_HOLD, namespace::HELD_GRACE];
        let next_look = settled_at.and_then(|at| waits.into_iter().map(|wait| at + wait).find(|until| *until > now));
        if let Some(until) = next_look {
            self.queue.add(Work::Namespace(name.to_owned()), until);
        }
        self.queue.add(Work::Eviction(name.to_owned()), now);
        let mut step = namespace::next(&self.world, space, settled_at.map(|at| now - at));
        let took = now.elapsed();
        self.pace.looked(name, now, took);
        match &step {
            None => {
                self.pace.rests(name, now, took);
                if self.world.mutation.is_some() && !namespace::is_being_confined(space) {
                    self.pace.is_settled(name);
                }
            }
            Some(namespace::Step::Rewrite { meaning: Meaning::Closed, .. } | namespace::Step::Settle { .. }) => {
                self.settled_at.remove(name); // that begins anew
            }
            Some(_) => {}
        }
        if step.is_some() && self.troubles.are_stubborn(name) {
            step = namespace::shut(space).or(step);
        }
        let is_to_be_narrowed =
            |step: &namespace::Step| matches!(step, namespace::Step::Settle { wide, .. } if !wide.is_empty());
        let narrows = step.as_ref().is_some_and(is_to_be_narrowed);
        if narrows && !self.narrowing.begins(name) {
            step = step.and_then(|step| step.meanwhile(space));
            if step.is_none() {
                self.pace.rests(name, now, took);
            }
        }
        let restored = self.memory.policies(&self.world, space, step.as_ref());
        self.teller.tell(restored);
        if !narrows {
            let next = self.narrowing.is_done(name);
            self.call(next);
        }
        if step.is_none() && !narrows && self.troubles.forget(name) {
            self.judge(name);
        }
        let (space, step) = (self.world.snapshot.namespaces.get(name)?, step?);
        let operation = match &step {
            namespace::Step::Policy(_) => Operation::NetworkPolicy,
            _ => Operation::Namespace,
        };
        Some((operation, namespace::carry_out(self.client.clone(), space.clone(), step).boxed()))
    }

    /// These may begin to be narrowed.
    fn call(&mut self, namespaces: Vec<String>) {
        for next in namespaces {
            self.queue.add(Work::Namespace(next), Instant::now());
        }
    }

    /// Moves the next pod of a namespace, or looks again when that may be.
    fn start_eviction(&mut self, name: &str) -> Option<(Operation, BoxFuture<'static, Result<Written, apply::Error>>)> {
        let (space, judged) = (self.world.snapshot.namespaces.get(name)?, self.judged.get(name)?);
        match eviction::pick(&self.world, space, judged, &self.evictions, Instant::now()) {
            Pick::Nothing => None,
            Pick::Later(at) => {
                self.queue.add(Work::Eviction(name.to_owned()), at);
                None
            }
            Pick::Move(eviction) => {
                self.evictions.begins(Instant::now());
                let client = self.client.clone();
                let request = async move {
                    let moved = apply::evict(client, &eviction).await?;
                    Ok(Written { moved: Some((eviction.key, moved)), ..Written::default() })
                };
                Some((Operation::Eviction, request.boxed()))
            }
        }
    }

    /// Judges a namespace again, and tells what is new.
    fn judge(&mut self, name: &str) {
        let judged = self.world.snapshot.namespaces.get(name).and_then(|space| judge::judge(&self.world, space));
        let judged = judged.map(|judged| judged.troubled(self.troubles.lasting(name)));
        let before = self.judged.get(name);
        if before == judged.as_ref() {
            return;
        }
        let tellings = judged.as_ref().map(|now| {
            let old = before.map(|one| (one.findings.as_slice(), &one.counted));
            events::findings(old, (&now.findings, &now.counted), |subject| self.world.snapshot.lives(subject))
        });
        let concerned = before.into_iter().chain(judged.as_ref()).flat_map(|one| one.named.names());
        let residencies: Vec<String> = concerned.map(str::to_owned).collect();
        match judged {
            Some(judged) => drop(self.judged.insert(name.to_owned(), judged)),
            None => drop(self.judged.remove(name)),
        }
        let soon = self.residencies_told_at(Instant::now());
        for residency in residencies {
            self.queue.add(Work::Residency(residency), soon);
        }
        self.teller.tell(tellings.into_iter().flatten());
        self.measure();
    }

    fn measure(&self) {
        let count = |length: usize| i64::try_from(length).unwrap_or(i64::MAX);
        let all = || self.judged.values().flat_map(|judged| &judged.findings);
        let kept = all().filter(|finding| finding.verdict == crate::domain::Verdict::NonCompliant).count();
        let counted = || self.judged.values().map(|judged| &judged.counted);
        let broken = kept + counted().map(|counted| counted.non_compliant).sum::<usize>();
        let unknown = all().count() - kept + counted().map(|counted| counted.unknown).sum::<usize>();
        self.metrics.set_findings(count(broken), count(unknown));
        self.metrics.governed_namespaces.set(count(self.world.governed().len()));
        self.metrics.confined_namespaces.set(count(self.judged.values().filter(|judged| judged.confined).count()));
        let verified = self.world.locations.values().filter(|location| matches!(location, Location::Verified { .. }));
        self.metrics.verified_nodes.set(count(verified.count()));
    }

    /// Takes in what was written, or lets the key wait.
    fn finish(&mut self, work: Work, operation: Operation, began: u64, result: Result<Written, apply::Error>) {
        if let Work::Namespace(name) = &work {
            let next = self.narrowing.ends(name);
            self.call(next);
        }
        match result {
            Ok(written) => {
                self.metrics.count(operation, Outcome::Done);
                self.queue.done(&work);
                self.teller.tell(tellings(&self.world, &work, &written).into_iter().chain(written.tellings));
                if let Work::Namespace(name) = &work {
                    self.pace.goes_on(name);
                    if written.meaning != Some(Meaning::Shut) {
                        self.troubles.forget(name);
                    }
                    if let Some(meaning) = written.meaning {
                        tracing::info!(namespace = %name, ?meaning, "namespace written");
                    }
                    if written.meaning == Some(Meaning::Confined) {
                        self.settled_at.insert(name.clone(), Instant::now());
                    }
                }
                if let Some((key, moved)) = written.moved {
                    tracing::info!(pod = %key, ?moved, "a pod that stands outside");
                    let (judged, now) = (self.judged.get(&key.namespace), Instant::now());
                    let tellings = self.evictions.take_in(&self.world, judged, &key, &moved, now);
                    self.teller.tell(tellings);
                    self.queue.add(work.clone(), now + eviction::EVERY);
                }
                for change in written.changes {
                    if self.world.still_knows(&change) && self.answers.is_news(&change, began) {
                        self.world.absorb(change);
                    }
                }
            }
            Err(error) => {
                self.metrics.count(operation, error.outcome());
                let now = Instant::now();
                let mut turn = now;
                if let Work::Namespace(name) = &work {
                    self.pace.rests(name, now, Duration::ZERO); // others' writes do not bring it back at once
                    self.troubles.add(name, &error, operation);
                    turn = self.next_look_at(name, now);
                }
                let failures = self.queue.failed(work.clone(), now, turn);
                match error {
                    apply::Error::Conflict | apply::Error::NotFound | apply::Error::Behind(_) => {
                        tracing::debug!(?work, %error, failures, "deciding again");
                    }
                    error => tracing::warn!(?work, %error, failures, "not done, trying again"),
                }
            }
        }
    }
}

#[cfg(test)]
#[path = "operator_tests.rs"]
mod tests;
