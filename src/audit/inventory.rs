//! Every governed object of a namespace with its verdict, those that keep to their residencies among them: what shows owners
//! and auditors where the data is.

use serde::Serialize;

use super::{Scene, audit};
use crate::{
    domain::{Finding, Subject, Verdict},
    observe::{Claim, Pod},
    resolve::Location,
};

/// Whether an object keeps to its residencies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub enum Standing {
    /// It breaks one.
    NonCompliant,
    /// It cannot be told, which counts as outside.
    Unknown,
    /// Nothing speaks against it.
    Compliant,
}

impl From<Verdict> for Standing {
    fn from(verdict: Verdict) -> Self {
        match verdict {
            Verdict::NonCompliant => Self::NonCompliant,
            Verdict::Unknown => Self::Unknown,
        }
    }
}

/// One governed object.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Entry {
    /// The worst of its findings, or that there is none.
    pub standing: Standing,
    /// What it is.
    pub subject: Subject,
    /// Where it runs or lies, in words; empty for what has no place.
    pub place: String,
    /// What speaks against it.
    pub findings: Vec<Finding>,
}

/// Everything that is governed in one namespace; worst first.
#[must_use]
pub fn inventory(scene: &Scene<'_>) -> Vec<Entry> {
    let mut findings = audit(scene);
    let mut entries: Vec<Entry> = subjects(scene)
        .map(|(subject, place)| {
            let own: Vec<Finding> = findings.extract_if(.., |finding| finding.subject == subject).collect();
            entry(subject, place, own)
        })
        .collect();
    // What is left is about the namespace itself, about who reaches into it, or about objects of the cluster.
    entries.extend(findings.into_iter().map(|finding| entry(finding.subject.clone(), String::new(), vec![finding])));
    entries.sort();
    entries
}

fn entry(subject: Subject, place: String, findings: Vec<Finding>) -> Entry {
    let worst = findings.iter().map(|finding| finding.verdict).min();
    Entry { standing: worst.map_or(Standing::Compliant, Standing::from), subject, place, findings }
}

fn subjects<'a>(scene: &'a Scene<'_>) -> impl Iterator<Item = (Subject, String)> + 'a {
    let object = |kind, key: &crate::observe::Key, uid: &str| Subject::namespaced(kind, &key.namespace, &key.name, uid);
    let active = scene.pods.iter().filter(|(_, pod)| pod.is_active());
    let pods = active.map(move |(key, pod)| (object("Pod", key, &pod.uid), of_pod(scene, pod)));
    let claims = scene
        .claims
        .iter()
        .map(move |(key, claim)| (object("PersistentVolumeClaim", key, &claim.uid), of_claim(scene, claim)));
    let policies = scene.policies.iter().map(move |(key, one)| (object("NetworkPolicy", key, &one.uid), String::new()));
    let exposed = scene.exposed.iter().map(move |(key, kind, one)| (object(kind, key, &one.uid), one.how.clone()));
    let endpoints =
        scene.endpoints.iter().map(move |(key, one)| (object("EndpointSlice", key, &one.uid), String::new()));
    let openings = scene.openings.iter().map(move |(key, kind, one)| (object(kind.name, key, &one.uid), String::new()));
    pods.chain(claims).chain(policies).chain(exposed).chain(endpoints).chain(openings)
}

fn of_pod(scene: &Scene<'_>, pod: &Pod) -> String {
    let Some(node) = &pod.node else { return "no node yet".to_owned() };
    match scene.locations.get(node) {
        Some(Location::Verified { data_center, jurisdiction }) => {
            format!("node {node}, data center {data_center}, {}", jurisdiction.code())
        }
        Some(Location::Unclaimed | Location::Conflict { .. }) | None => format!("node {node}, not verified"),
    }
}

fn of_claim(scene: &Scene<'_>, claim: &Claim) -> String {
    let Some(name) = &claim.volume else { return "no volume yet".to_owned() };
    let terms = scene.volumes.get(name).map(|volume| volume.terms.as_slice()).unwrap_or_default();
    let mut places: Vec<&str> = terms.iter().flat_map(|term| term.values().flatten()).map(String::as_str).collect();
    places.sort_unstable();
    places.dedup();
    match places.as_slice() {
        [] => format!("volume {name}"),
        places => format!("volume {name}, {}", places.join(" or ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::fixture::{DISK, DISK_ZONE, Stage};

    #[test]
    fn every_object_is_there_once_and_the_worst_come_first() {
        let mut stage = Stage::new();
        stage.pod("inside", |pod| pod.node = Some("cn-1".into()));
        stage.pod("outside", |pod| pod.node = Some("de-1".into()));
        stage.pod("lost", |pod| pod.node = Some("ghost".into()));
        stage.claim("data", Some("mainland-ssd"), Some("pv-1"));
        stage.volume("pv-1", DISK, &[&[(DISK_ZONE, &["cn-shanghai-e"])]]);
        stage.policy("wide", serde_json::json!({"podSelector": {}, "egress": [{}]}));
        let entries = inventory(&stage.scene());
        let said: Vec<(Standing, &str, &str)> =
            entries.iter().map(|entry| (entry.standing, entry.subject.name.as_str(), entry.place.as_str())).collect();
        assert_eq!(
            said,
            [
                (Standing::NonCompliant, "wide", ""),
                (Standing::NonCompliant, "outside", "node de-1, data center frankfurt-1, DE"),
                (Standing::Unknown, "lost", "node ghost, not verified"),
                (Standing::Compliant, "data", "volume pv-1, cn-shanghai-e"),
                (Standing::Compliant, "inside", "node cn-1, data center shanghai-1, CN"),
            ]
        );
        let findings: usize = entries.iter().map(|entry| entry.findings.len()).sum();
        assert_eq!(findings, audit(&stage.scene()).len(), "no finding is lost, none told twice");
    }
}
