//! What one governed namespace looks like at the moment: counts, findings, whether it is confined.

use super::{namespace, world::World};
use crate::{
    audit::{Counted, Scene, audit_at_most},
    domain::{Finding, Mode, NOTHING, Named, Residencies, keys},
    observe::{Namespace, in_namespace},
};

/// So many findings of one rule are kept of a namespace. The status lists twenty, and events tell ten one by one.
const KEPT: usize = 100;
/// So many characters of an error are told.
const REASON: usize = 300;

/// What was judged.
#[derive(Clone, Debug, PartialEq)]
pub struct Judged {
    /// What the namespace names.
    pub named: Residencies,
    /// Whether the confinement that stands is for that, and finished.
    pub confined: bool,
    /// The mode that holds.
    pub mode: Mode,
    /// How many pods are in it.
    pub pods: u32,
    /// How many claims.
    pub claims: u32,
    /// Why nothing may start in it, if so.
    pub refused_because: Option<String>,
    /// What breaks, or may break, a residency, as far as it is kept.
    pub findings: Vec<Finding>,
    /// What does so beside that.
    pub counted: Counted,
}

impl Judged {
    /// The same where what is to hold could not be written, time and again, for this reason.
    #[must_use]
    pub fn troubled(mut self, why: Option<&str>) -> Self {
        if let Some(why) = why {
            self.confined = false;
            self.refused_because =
                Some(format!("what is to hold cannot be written: {}", why.chars().take(REASON).collect::<String>()));
        }
        self
    }
}

/// Judges a namespace by those residencies that exist of what it names; `None` where none does.
#[must_use]
pub fn judge(world: &World, space: &Namespace) -> Option<Judged> {
    let Named::Residencies(named) = world.named(space) else { return None };
    scene(world, space, |scene| {
        let count = |length: usize| u32::try_from(length).unwrap_or(u32::MAX);
        let mode = scene.confined.confinement.mode;
        let (findings, counted) = audit_at_most(scene, KEPT);
        Judged {
            confined: world.absent(&named).is_empty() && is_confined(space, &named, mode),
            mode,
            pods: count(scene.pods.len()),
            claims: count(scene.claims.len()),
            refused_because: refused_because(space),
            findings,
            counted,
            named: scene.named.clone(),
        }
    })
}

/// Everything that the rules need to know of a namespace, by those residencies that exist of what it names; `None` where none
/// does.
pub fn scene<T>(world: &World, space: &Namespace, look: impl FnOnce(&Scene<'_>) -> T) -> Option<T> {
    let Named::Residencies(named) = world.named(space) else { return None };
    let named = world.known(&named)?;
    let residencies = named.names().map(|name| world.residencies.get(name)).collect::<Option<Vec<_>>>()?;
    let confined = namespace::resolve(world, space, &named)?;
    let snapshot = &world.snapshot;
    let exposed = snapshot.exposed.iter().filter(|((key, _), _)| key.namespace == space.name);
    let external_names = snapshot.exposed.iter().filter(|(_, exposed)| exposed.how == "ExternalName");
    Some(look(&Scene {
        namespace: space,
        named: &named,
        residencies,
        confined: &confined,
        pods: in_namespace(&snapshot.pods, &space.name).collect(),
        claims: in_namespace(&snapshot.claims, &space.name).collect(),
        policies: in_namespace(&snapshot.policies, &space.name).collect(),
        role_bindings: in_namespace(&snapshot.role_bindings, &space.name).collect(),
        never_governed: world.never_governed().collect(),
        cluster_policies: snapshot.cluster_policies.iter().flatten().collect(),
        exposed: exposed.map(|((key, kind), exposed)| (key, *kind, exposed)).collect(),
        endpoints: in_namespace(&snapshot.endpoints, &space.name).collect(),
        openings: snapshot.openings_of(&space.name).collect(),
        devices: in_namespace(&snapshot.devices, &space.name).collect(),
        receivers: snapshot.receivers.iter().map(|((kind, name), one)| (*kind, name, one)).collect(),
        by_hand: &snapshot.endpoints,
        external_names: external_names.map(|((key, _), _)| key).collect(),
        api_servers: snapshot.api_servers.values().flatten().copied().collect(),
        volumes: &snapshot.volumes,
        classes: &snapshot.classes,
        locations: &world.locations,
    }))
}

fn refused_because(space: &Namespace) -> Option<String> {
    match space.annotations.get(keys::REFUSED_BECAUSE) {
        Some(reason) => Some(reason.clone()).filter(|reason| reason != NOTHING),
        None => space.confined_for().map(|_| "closed, since what is to hold could not be written".to_owned()),
    }
}

/// A confinement is finished when it is for what the namespace names, in the mode that is to hold, whole, and no longer says
/// that it is being written.
fn is_confined(space: &Namespace, named: &Residencies, mode: Mode) -> bool {
    space.confined_for() == Some(named.value())
        && space.labels.get(keys::ENFORCEMENT).is_some_and(|standing| *standing == mode.to_string())
        && space.annotations.get(keys::REFUSED_BECAUSE).is_some_and(|reason| !keys::is_being_confined(reason))
}
