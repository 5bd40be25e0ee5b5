//! Statuses and finalizers: what is told of data centers and residencies, written only where it says something new.

use std::collections::BTreeMap;

use k8s_openapi::{apimachinery::pkg::apis::meta::v1::Time, jiff::Timestamp};
use kube::{Client, Resource, ResourceExt as _};

use super::{cluster_policy, judge::Judged, outcome::Written, surroundings::Surroundings, world::World};
use crate::{
    api::{DataCenter, DataCenterStatus, DataResidency, DataResidencyStatus},
    apply,
    audit::NONE_COUNTED,
    domain::{Cidr, Named, Permitting, Subject, keys},
    observe::{Change, Delta, Namespace, in_namespace},
    report::{
        self,
        events::{self, Telling},
        residency::{CanarySeen, NamespaceOutcome, Outcome},
    },
    resolve::{self, Peer},
    telemetry::Operation,
};

/// Whole seconds, as the API stores times.
fn now() -> Time {
    Time(Timestamp::from_second(Timestamp::now().as_second()).unwrap_or_default())
}

/// What to do next with a residency.
#[derive(Clone, Debug, PartialEq)]
pub enum ResidencyStep {
    /// Put the finalizer on it, or take it off.
    Finalizer {
        /// The residency as it was read.
        read: Box<DataResidency>,
        /// Whether it is to be held.
        hold: bool,
    },
    /// Write its status.
    Status(Box<StatusStep<DataResidencyStatus>>),
}

/// A status to be written.
#[derive(Clone, Debug, PartialEq)]
pub struct StatusStep<S> {
    status: S,
    /// What is to be told once it stands.
    tellings: Vec<Telling>,
}

impl ResidencyStep {
    /// How this counts.
    #[must_use]
    pub fn operation(&self) -> Operation {
        match self {
            Self::Finalizer { .. } => Operation::Finalizer,
            Self::Status(_) => Operation::Status,
        }
    }
}

/// The next step for the residency of this name; `None` where its status says everything already.
#[must_use]
pub fn residency(
    world: &World,
    judged: &BTreeMap<String, Judged>,
    surroundings: &Surroundings,
    name: &str,
) -> Option<ResidencyStep> {
    let read = world.snapshot.residencies.get(name)?;
    let deleting = read.metadata.deletion_timestamp.is_some();
    let held = read.finalizers().iter().any(|finalizer| finalizer == keys::FINALIZER);
    let named = world.naming(name).next().is_some();
    let hold = !deleting || named;
    if hold != held && (held || !deleting) {
        return Some(ResidencyStep::Finalizer { read: Box::new(read.clone()), hold });
    }
    if deleting && !named {
        return None;
    }
    let status = report::residency::status(&outcome(world, judged, surroundings, name)?, &now());
    if read.status.as_ref() == Some(&status) {
        return None;
    }
    let old = read.status.as_ref().map(|status| &status.conditions);
    let tellings = events::conditions(&about("DataResidency", name, read), old, &status.conditions);
    Some(ResidencyStep::Status(Box::new(StatusStep { status, tellings })))
}

/// The status of a residency while the cluster could not be read: what was written before stands, but that it is so now is not
/// known, of the kinds `unseen`. `None` where that is said already.
#[must_use]
pub fn unread(world: &World, unseen: &BTreeMap<String, String>, name: &str) -> Option<ResidencyStep> {
    let read = world.snapshot.residencies.get(name)?;
    let before = read.status.as_ref()?;
    let mut status = before.clone();
    status.conditions = report::residency::unread(&before.conditions, unseen, &now())?;
    if status == *before {
        return None;
    }
    let tellings =
        events::conditions(&about("DataResidency", name, read), Some(&before.conditions), &status.conditions);
    Some(ResidencyStep::Status(Box::new(StatusStep { status, tellings })))
}

fn about<K: Resource>(kind: &'static str, name: &str, object: &K) -> Subject {
    Subject { uid: object.meta().uid.clone().unwrap_or_default(), ..Subject::cluster(kind, name) }
}

fn outcome<'a>(
    world: &'a World,
    judged: &'a BTreeMap<String, Judged>,
    surroundings: &'a Surroundings,
    name: &'a str,
) -> Option<Outcome<'a>> {
    let (residency, resolved) = (world.snapshot.residencies.get(name)?, world.residencies.get(name)?);
    // A namespace that ends starts nothing any more, and what runs in it runs on for as long as it may.
    let matters = |space: &&Namespace| {
        !space.terminating || judged.get(&space.name).is_none_or(|judged| judged.confined || judged.pods > 0)
    };
    let namespaces = world.naming(name).filter(matters).map(|space| match judged.get(&space.name) {
        Some(judged) => NamespaceOutcome {
            name: &space.name,
            confined: judged.confined,
            mode: judged.mode,
            pods: judged.pods,
            claims: judged.claims,
            findings: &judged.findings,
            counted: &judged.counted,
            refused_because: judged.refused_because.as_deref(),
            left_to_its_own: left_to_its_own(world, space),
        },
        None => NamespaceOutcome {
            name: &space.name,
            confined: false,
            mode: resolved.mode,
            pods: 0,
            claims: 0,
            findings: &[],
            counted: &NONE_COUNTED,
            refused_because: None,
            left_to_its_own: false,
        },
    });
    let standing = |class: &&crate::resolve::WantedClass| {
        !world.snapshot.classes.get(&class.name).is_some_and(|live| class.is(live))
    };
    Some(Outcome {
        residency,
        resolved,
        total_nodes: world.sites.nodes,
        namespaces: namespaces.collect(),
        policies: surroundings.installed.as_ref().into(),
        canary: CanarySeen { refused: surroundings.canary.refused, mutation: world.mutation },
        missing_classes: resolved.classes.iter().filter(standing).map(|class| class.name.clone()).collect(),
        unknown_keys: resolve::unknown_keys(resolved, &world.locations, &world.snapshot.drivers),
        pods_in_permitted_networks: unclear_pod(world, resolved),
        api_servers_not_permitted: api_servers_not_permitted(world, resolved),
        dns_elsewhere: dns_elsewhere(world, resolved),
        network: cluster_policy::tier(world, name),
        routes: &surroundings.routes,
        unseen: &world.unseen,
        deleting: residency.metadata.deletion_timestamp.is_some(),
    })
}

/// Whether a namespace is left to network policies of its own though nobody asks for that: it had them when it joined, or when the
/// label that asked for it was taken away.
pub(super) fn left_to_its_own(world: &World, space: &Namespace) -> bool {
    let says = |value: &str| space.annotations.get(keys::PERMITTING).is_some_and(|own| own == value);
    let is_asked_for = |name: &str| world.residencies.get(name).is_none_or(|one| one.permitting == Permitting::None);
    says(&Permitting::None.to_string())
        && !space.labels.contains_key(keys::PERMIT)
        && matches!(world.named(space), Named::Residencies(named) if !named.names().any(is_asked_for))
}

/// Addresses of API servers that governed pods may not connect to, whatever their namespaces' own policies open.
fn api_servers_not_permitted(world: &World, resolved: &crate::resolve::Residency) -> Vec<String> {
    let named = |allowed: &crate::resolve::Allowed| match &allowed.peer {
        Peer::Networks(networks) => networks.clone(),
        Peer::Pods { .. } => Vec::new(),
    };
    let allowed: Vec<Cidr> = resolved.egress.iter().flat_map(named).collect();
    let permitted = || resolved.networks.iter().chain(&resolved.control_plane).chain(&allowed);
    let all = world.snapshot.api_servers.values().flatten();
    let outside = all.filter(|address| !permitted().any(|network| network.contains_address(**address)));
    outside.map(ToString::to_string).collect()
}

/// Pods of the cluster's DNS on nodes that are not verified for the residency.
fn dns_elsewhere(world: &World, resolved: &crate::resolve::Residency) -> Vec<String> {
    let dns = in_namespace(&world.snapshot.pods, keys::DNS_NAMESPACE).filter(|(_, pod)| pod.serves_dns);
    let elsewhere =
        dns.filter(|(_, pod)| pod.node.is_some() && resolve::is_elsewhere(pod, &[resolved], &world.locations));
    elsewhere.map(|(key, pod)| format!("{key} on node {}", pod.node.as_deref().unwrap_or_default())).collect()
}

/// A pod of an ungoverned namespace whose address lies in the permitted networks, so that permitting those permits it.
fn unclear_pod(world: &World, resolved: &crate::resolve::Residency) -> Option<String> {
    let governed = world.governed();
    let inside =
        |address: &std::net::IpAddr| resolved.networks.iter().any(|network| network.contains_address(*address));
    let pods = world.snapshot.pods.iter().filter(|(key, pod)| pod.is_active() && !governed.contains(&key.namespace));
    let mut unclear = pods.filter(|(_, pod)| pod.addresses.iter().any(inside));
    unclear.next().map(|(key, _)| key.to_string())
}

/// Carries a step out.
///
/// # Errors
/// Why it was not done.
pub async fn carry_out_residency(client: Client, name: String, step: ResidencyStep) -> Result<Written, apply::Error> {
    let (after, tellings): (Result<DataResidency, apply::Error>, _) = match step {
        ResidencyStep::Finalizer { read, hold } => {
            (apply::set_finalizer(client, read.as_ref(), hold).await, Vec::new())
        }
        ResidencyStep::Status(step) => (apply::set_status(client, &name, &step.status).await, step.tellings),
    };
    match after {
        Ok(after) => Ok(Written::one(Change::Residency(Delta::Applied(name, after))).told(tellings)),
        Err(apply::Error::NotFound) => Ok(Written::default()), // it was deleted meanwhile; the watch says so
        Err(error) => Err(error),
    }
}

/// The new status of a data center; `None` where the old one says everything already.
#[must_use]
pub fn data_center(world: &World, name: &str) -> Option<StatusStep<DataCenterStatus>> {
    let read = world.snapshot.data_centers.get(name)?;
    let outcome = report::data_center::Outcome {
        name,
        data_center: read,
        conflict: world.facilities.conflict(name),
        locations: &world.locations,
    };
    let status = report::data_center::status(&outcome, &now());
    if read.status.as_ref() == Some(&status) {
        return None;
    }
    let old = read.status.as_ref().map(|status| &status.conditions);
    let tellings = events::conditions(&about("DataCenter", name, read), old, &status.conditions);
    Some(StatusStep { status, tellings })
}

/// Writes the status of a data center.
///
/// # Errors
/// Why it was not done.
pub async fn carry_out_data_center(
    client: Client,
    name: String,
    step: StatusStep<DataCenterStatus>,
) -> Result<Written, apply::Error> {
    match apply::set_status::<DataCenter>(client, &name, &step.status).await {
        Ok(after) => Ok(Written::one(Change::DataCenter(Delta::Applied(name, after))).told(step.tellings)),
        Err(apply::Error::NotFound) => Ok(Written::default()),
        Err(error) => Err(error),
    }
}
