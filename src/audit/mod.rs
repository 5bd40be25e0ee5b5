//! Pure: the rules of the fixed policies, said again in Rust for what exists already.
//!
//! The API server judges what comes; the audit judges what is there: objects older than the confinement, and what no
//! admission policy can see (where a pod really runs, where a volume really lies). One file per leg, one small function
//! per rule. What cannot be told is `Unknown`, never compliant.

mod exposure;
pub mod network;
mod placement;
mod storage;

use std::collections::BTreeMap;

use crate::{
    domain::{Finding, Jurisdiction, Residencies},
    observe::{Claim, Class, Exposed, Key, Namespace, Pod, Policy, Volume},
    resolve::{Confined, Location, Residency},
};

/// Everything that the rules need to know of one governed namespace.
pub struct Scene<'a> {
    /// The namespace.
    pub namespace: &'a Namespace,
    /// What it names.
    pub named: &'a Residencies,
    /// What it names, resolved.
    pub residencies: Vec<&'a Residency>,
    /// What holds in it.
    pub confined: &'a Confined,
    /// Its pods.
    pub pods: Vec<(&'a Key, &'a Pod)>,
    /// Its claims.
    pub claims: Vec<(&'a Key, &'a Claim)>,
    /// Its network policies, Domicile's own among them.
    pub policies: Vec<(&'a Key, &'a Policy)>,
    /// Its services and Ingresses that can be reached from outside, or lead there.
    pub exposed: Vec<(&'a Key, &'static str, &'a Exposed)>,
    /// Every volume of the cluster.
    pub volumes: &'a BTreeMap<String, Volume>,
    /// Every StorageClass of the cluster.
    pub classes: &'a BTreeMap<String, Class>,
    /// Where every node stands.
    pub locations: &'a BTreeMap<String, Location>,
}

impl Scene<'_> {
    /// What a place in `jurisdiction` does not satisfy, in words; `None` where it satisfies every residency.
    fn unsatisfied(&self, jurisdiction: Jurisdiction) -> Option<String> {
        if self.residencies.is_empty() {
            return Some(format!("nothing is known of DataResidency {}", self.named));
        }
        let fails =
            |residency: &&&Residency| !residency.jurisdictions.iter().any(|wanted| jurisdiction.satisfies(*wanted));
        let failing: Vec<String> = self.residencies.iter().filter(fails).map(|residency| asks(residency)).collect();
        (!failing.is_empty()).then(|| failing.join(", "))
    }
}

fn asks(residency: &Residency) -> String {
    let codes: Vec<&str> = residency.jurisdictions.iter().map(|jurisdiction| jurisdiction.code()).collect();
    format!("DataResidency {} asks for {}", residency.name, codes.join(" or "))
}

/// Judges everything that is governed in one namespace; worst first.
#[must_use]
pub fn audit(scene: &Scene<'_>) -> Vec<Finding> {
    let mut findings = scene.confined.findings.clone();
    findings.extend(placement::audit(scene));
    findings.extend(storage::audit(scene));
    findings.extend(network::audit(scene));
    findings.extend(exposure::audit(scene));
    findings.sort();
    findings
}
