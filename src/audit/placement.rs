//! Where governed pods run, or may yet be sent.
//!
//! The API server pins what is created; this looks at what it did not create: pods older than the confinement, pods whose
//! node has lost its verification, pods in the network of their node. A node that is not known is `Unknown`.

use crate::{
    domain::{Finding, Leg, Mode, Mutation, Subject, Verdict, keys},
    observe::{Key, Pod},
    resolve::{Location, is_pinned},
};

use super::Scene;

type Rule = fn(&Scene<'_>, &Key, &Pod) -> Option<Finding>;

const RULES: [Rule; 3] = [outside, held, host_network];

/// Judges every pod that runs or may yet run. One that is being deleted runs until it is gone.
pub(super) fn audit(scene: &Scene<'_>) -> Vec<Finding> {
    let active = scene.pods.iter().filter(|(_, pod)| pod.is_active());
    active.flat_map(|(key, pod)| RULES.iter().filter_map(|rule| rule(scene, key, pod))).collect()
}

/// It runs on a node that is not verified for every residency.
fn outside(scene: &Scene<'_>, key: &Key, pod: &Pod) -> Option<Finding> {
    let node = pod.node.as_deref()?;
    let Some(location) = scene.locations.get(node) else {
        let message = format!("it is bound to node {node}, which is not known here");
        return Some(finding(key, pod, Verdict::Unknown, "domicile/placement", message, replace(scene, pod)));
    };
    let wanted = scene.unsatisfied(location.jurisdiction())?;
    let message = format!("it runs on node {node}, {}; {wanted}", words(location));
    Some(finding(key, pod, Verdict::NonCompliant, "domicile/placement", message, replace(scene, pod)))
}

/// It has no node yet and no pin, so a scheduler could send it anywhere. One that is being deleted is not bound any more.
fn held(scene: &Scene<'_>, key: &Key, pod: &Pod) -> Option<Finding> {
    if pod.node.is_some() || pod.terminating || is_pinned(&pod.pins, scene.named) {
        return None;
    }
    let message = format!("it waits for a node and is not pinned to nodes verified for {}", scene.named);
    Some(finding(key, pod, Verdict::NonCompliant, "domicile/held-pod", message, replace(scene, pod)))
}

/// It shares the network of its node.
fn host_network(_: &Scene<'_>, key: &Key, pod: &Pod) -> Option<Finding> {
    if !pod.host_network {
        return None;
    }
    let message = "it shares the network of its node, which network policies do not reach".to_owned();
    let remedy = match &pod.owner {
        Some(owner) => format!("take hostNetwork out of the template of {} {}", owner.kind, owner.name),
        None => "delete it and create it again without hostNetwork".to_owned(),
    };
    Some(finding(key, pod, Verdict::NonCompliant, "domicile/host-network", message, remedy))
}

fn finding(key: &Key, pod: &Pod, verdict: Verdict, rule: &'static str, message: String, remedy: String) -> Finding {
    let subject = Subject::namespaced("Pod", &key.namespace, &key.name, &pod.uid);
    Finding { verdict, leg: Leg::Placement, rule, subject, message, remedy }
}

fn words(location: &Location) -> String {
    match location {
        Location::Unclaimed => "which no data center claims".to_owned(),
        Location::Verified { data_center, jurisdiction } => {
            format!("which is in {jurisdiction} (data center {data_center})")
        }
        Location::Conflict { conflicts, .. } => {
            let first = conflicts.first().map_or("its signals do not agree", |conflict| conflict.message.as_str());
            format!("whose location is in conflict ({first})")
        }
    }
}

/// How to have a pinned pod in the place of this one.
fn replace(scene: &Scene<'_>, pod: &Pod) -> String {
    if pod.terminating {
        return "it is being deleted; see what keeps it from ending".to_owned();
    }
    let confinement = &scene.confined.confinement;
    let is_pinned_at_creation = confinement.mode == Mode::Enforce && confinement.mutation != Mutation::Nothing;
    match &pod.owner {
        Some(owner) if owner.kind == "Node" => {
            "it is a static pod; take its manifest from the node, static pods run in ungoverned namespaces".to_owned()
        }
        Some(owner) if is_pinned_at_creation => {
            format!("delete it; what {} {} makes in its place is pinned", owner.kind, owner.name)
        }
        Some(owner) => {
            let pins = pins(scene);
            format!(
                "add {pins} to the nodeSelector in the template of {} {}, then delete the pod",
                owner.kind, owner.name
            )
        }
        None if is_pinned_at_creation => "delete it and create it again: no controller makes another".to_owned(),
        None => format!(
            "delete it and create it again with {} in its nodeSelector: no controller makes another",
            pins(scene)
        ),
    }
}

fn pins(scene: &Scene<'_>) -> String {
    let pins = scene.named.names().map(|name| format!("{}: \"true\"", keys::node_residency(name)));
    pins.collect::<Vec<_>>().join(", ")
}
