//! Where governed pods run, or may yet be sent.
//!
//! The API server pins what is created; this looks at what it did not create: pods older than the confinement, pods whose
//! node has lost its verification, pods in the network of their node. A node that is not known is `Unknown`.

use crate::{
    domain::{Finding, Leg, Mode, Mutation, Subject, Verdict, keys},
    observe::{Key, Owner, Pod},
    resolve::{Location, is_pinned},
};

use super::Scene;

type Rule = fn(&Scene<'_>, &Key, &Pod) -> Option<Finding>;

const RULES: [Rule; 7] = [outside, held, status, annotated_address, host_network, privilege, further_network];

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
    let was_verified = is_pinned(&pod.pins, scene.named) && !matches!(location, Location::Verified { .. });
    let remedy = if was_verified && !pod.terminating {
        format!(
            "the pod is pinned already; see in kubectl get datacenters -o wide why node {node} is not verified any more"
        )
    } else {
        replace(scene, pod)
    };
    Some(finding(key, pod, Verdict::NonCompliant, "domicile/placement", message, remedy))
}

/// It has no node yet and no pin, so a scheduler could send it anywhere. One that is being deleted is not bound any more.
fn held(scene: &Scene<'_>, key: &Key, pod: &Pod) -> Option<Finding> {
    if pod.node.is_some() || pod.terminating || is_pinned(&pod.pins, scene.named) {
        return None;
    }
    let message = format!("it waits for a node and is not pinned to nodes verified for {}", scene.named);
    Some(finding(key, pod, Verdict::NonCompliant, "domicile/held-pod", message, replace(scene, pod)))
}

/// It has an address that no kubelet gave it, for want of a node, or that no pod can have where its node stands.
fn status(scene: &Scene<'_>, key: &Key, pod: &Pod) -> Option<Finding> {
    let (message, remedy) = match &pod.node {
        None => {
            let address = pod.addresses.first()?;
            let message = format!(
                "it has the address {address} and no node: whoever wrote that may have named any, and policies that select the pod open it"
            );
            (message, "delete it".to_owned())
        }
        Some(node) => {
            let Some(Location::Verified { data_center, .. }) = scene.locations.get(node) else { return None };
            let address = scene.residencies.iter().find_map(|residency| residency.strange_address(pod, data_center))?;
            let message = format!(
                "it has the address {address}, which is in neither podNetworks nor networks of data center {data_center}, where its node {node} stands; policies that select the pod open it"
            );
            let remedy = format!(
                "if pods have such addresses there, name them in spec.podNetworks of DataCenter {data_center}; if not, the kubelet of {node} has written what is not so: take the node out of the cluster"
            );
            (message, remedy)
        }
    };
    Some(finding(key, pod, Verdict::NonCompliant, "domicile/pod-status", message, remedy))
}

/// An annotation says an address of it, and no kubelet has any: it has no node. One that has a node may just be getting its own.
fn annotated_address(_: &Scene<'_>, key: &Key, pod: &Pod) -> Option<Finding> {
    let annotation = pod.address_annotation.as_deref().filter(|_| pod.node.is_none())?;
    let message = format!(
        "its annotation {annotation} says an address of it, and it has no node: network plugins follow that, and policies that select the pod open it"
    );
    Some(finding(key, pod, Verdict::NonCompliant, "domicile/pod-status", message, without("the annotation", pod)))
}

/// It shares the network of its node.
fn host_network(_: &Scene<'_>, key: &Key, pod: &Pod) -> Option<Finding> {
    if !pod.host_network {
        return None;
    }
    let message = "it shares the network of its node, which network policies do not reach".to_owned();
    let remedy = without("hostNetwork", pod);
    Some(finding(key, pod, Verdict::NonCompliant, "domicile/host-network", message, remedy))
}

/// It has its node, and so a way past every rule.
fn privilege(_: &Scene<'_>, key: &Key, pod: &Pod) -> Option<Finding> {
    let what = pod.privilege.as_deref()?;
    let message = format!("{what}, which Pod Security baseline forbids, since it leads past every other rule");
    let remedy = without("that", pod);
    Some(finding(key, pod, Verdict::NonCompliant, "domicile/privilege", message, remedy))
}

/// It has a network beside the cluster's.
fn further_network(_: &Scene<'_>, key: &Key, pod: &Pod) -> Option<Finding> {
    let annotation = pod.further_network.as_deref()?;
    let message =
        format!("its annotation {annotation} gives it a network or an address that network policies do not reach");
    let remedy = without("the annotation", pod);
    Some(finding(key, pod, Verdict::NonCompliant, "domicile/further-network", message, remedy))
}

/// How to have the same pod without something that governed pods may not have.
fn without(what: &str, pod: &Pod) -> String {
    match &pod.owner {
        Some(Owner { kind, name }) => {
            format!("take {what} out of the template of {kind} {name}, or run it in a namespace that is not governed")
        }
        None => format!("delete it and create it again without {what}, or in a namespace that is not governed"),
    }
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
        Some(owner) if pod.host_network || pod.privilege.is_some() || pod.inline_volumes.first.is_some() => format!(
            "run {} {} in a namespace that is not governed, or see the other findings of this pod: what it makes here is refused",
            owner.kind, owner.name
        ),
        Some(owner) if is_pinned_at_creation => {
            format!("delete it; what {} {} makes in its place is pinned", owner.kind, owner.name)
        }
        Some(owner) => {
            let pins = pins(scene);
            let by_itself = match confinement.mode {
                Mode::Enforce => "",
                Mode::Warn | Mode::Audit => {
                    ", or delete the pod when the mode is Enforce, which pins what comes after it"
                }
            };
            format!(
                "add {pins} to the nodeSelector in the template that {} {} comes from, then delete the pod{by_itself}",
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::fixture::{Stage, residency};
    use crate::domain::Named;

    fn on(node: &str) -> Stage {
        let mut stage = Stage::new();
        stage.pod("web", |pod| pod.node = Some(node.into()));
        stage
    }

    #[test]
    fn a_pod_on_a_verified_node_is_inside_pinned_or_not() {
        let mut stage = on("cn-2");
        stage.pod("old", |pod| {
            pod.node = Some("cn-1".into());
            pod.pins.clear();
        });
        assert!(audit(&stage.scene()).is_empty());
    }

    #[test]
    fn a_pod_on_any_other_node_is_outside() {
        for (node, words) in [
            ("de-1", "which is in DE (data center frankfurt-1); DataResidency mainland asks for CN"),
            ("doubtful", "in conflict (InternalIP 10.99.0.4 is in none of 10.20.0.0/16)"),
            ("unclaimed", "which no data center claims"),
        ] {
            let finding = on(node).one(audit);
            assert_eq!((finding.verdict, finding.rule), (Verdict::NonCompliant, "domicile/placement"));
            assert!(finding.message.contains(words), "{}", finding.message);
        }
    }

    #[test]
    fn a_node_that_is_not_known_is_unknown() {
        assert_eq!(on("ghost").one(audit).verdict, Verdict::Unknown);
    }

    #[test]
    fn every_residency_must_be_satisfied() {
        let mut stage = on("cn-1");
        stage.residencies.push(residency("europe", "DE", &[]));
        assert!(stage.one(audit).message.contains("DataResidency europe asks for DE"));
        stage.residencies.clear();
        assert_eq!(stage.one(audit).verdict, Verdict::NonCompliant, "nothing is known of any residency");
    }

    #[test]
    fn an_ended_pod_is_nowhere_and_one_being_deleted_still_runs() {
        let mut stage = Stage::new();
        stage.pod("done", |pod| {
            pod.node = Some("de-1".into());
            pod.phase = crate::observe::Phase::Ended;
        });
        assert!(audit(&stage.scene()).is_empty());
        stage.pod("ends", |pod| {
            pod.node = Some("de-1".into());
            pod.terminating = true;
        });
        assert!(stage.one(audit).remedy.contains("being deleted"));
    }

    #[test]
    fn an_unbound_pod_without_every_pin_is_held() {
        let mut stage = Stage::new();
        stage.pod("web", |pod| drop(pod.pins.insert("mainland".into(), "yes".into())));
        assert_eq!(stage.one(audit).rule, "domicile/held-pod");
        stage.pod("web", |_| {});
        assert!(audit(&stage.scene()).is_empty());
        let Named::Residencies(both) = Named::parse(Some("mainland_battery")) else { panic!() };
        stage.named = both;
        assert_eq!(stage.one(audit).rule, "domicile/held-pod");
    }

    #[test]
    fn the_network_of_a_node_is_out_of_reach() {
        let mut stage = Stage::new();
        stage.pod("agent", |pod| {
            pod.node = Some("cn-1".into());
            pod.host_network = true;
        });
        let finding = stage.one(audit);
        assert_eq!((finding.rule, finding.leg), ("domicile/host-network", Leg::Placement));
        assert!(finding.remedy.contains("ReplicaSet web"));
    }

    #[test]
    fn an_address_without_a_node_is_nobodys_to_give() {
        let mut stage = Stage::new();
        stage.pod("ghost", |pod| pod.addresses = vec!["198.51.100.7".parse().unwrap()]);
        let finding = stage.one(audit);
        assert_eq!((finding.rule, finding.verdict), ("domicile/pod-status", Verdict::NonCompliant));
        assert!(finding.message.contains("198.51.100.7"), "{}", finding.message);
        let mut stage = Stage::new();
        stage.pod("web", |pod| (pod.node, pod.addresses) = (Some("cn-1".into()), vec!["10.20.0.9".parse().unwrap()]));
        assert!(audit(&stage.scene()).is_empty());
    }

    #[test]
    fn a_network_beside_the_clusters_is_out_of_reach() {
        let mut stage = Stage::new();
        stage.pod("probe", |pod| {
            pod.node = Some("cn-1".into());
            pod.further_network = Some("k8s.v1.cni.cncf.io/networks".into());
        });
        let finding = stage.one(audit);
        assert_eq!(finding.rule, "domicile/further-network");
        assert!(finding.message.contains("k8s.v1.cni.cncf.io/networks"), "{}", finding.message);
    }

    #[test]
    fn the_remedy_is_one_that_works() {
        assert!(on("de-1").one(audit).remedy.contains("what ReplicaSet web makes in its place is pinned"));
        let mut unmutated = on("de-1");
        unmutated.confined.confinement.mutation = Mutation::Nothing;
        assert!(
            unmutated
                .one(audit)
                .remedy
                .contains("residency.domicile.dev.node-restriction.kubernetes.io/mainland: \"true\"")
        );
        let mut warned = on("de-1");
        warned.confined.confinement.mode = Mode::Warn;
        assert!(warned.one(audit).remedy.starts_with("add "));
        let mut alone = Stage::new();
        alone.pod("shell", |pod| {
            pod.node = Some("de-1".into());
            pod.owner = None;
        });
        assert!(alone.one(audit).remedy.contains("no controller makes another"));
    }
}
