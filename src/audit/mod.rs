//! Pure: the rules of the fixed policies, said again in Rust for what exists already.
//!
//! The API server judges what comes; the audit judges what is there: objects older than the confinement, and what no
//! admission policy can see (where a pod really runs, where a volume really lies). One file per leg, one small function
//! per rule. What cannot be told is `Unknown`, never compliant.

mod access;
pub mod add_ons;
pub mod cluster_network;
mod devices;
mod exposure;
#[cfg(test)]
mod fixture;
#[cfg(test)]
pub(crate) use fixture::confinement;
pub mod inventory;
pub mod network;
mod placement;
pub mod receivers;
pub mod served;
mod storage;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use crate::{
    domain::{AddOn, Finding, Jurisdiction, Leg, Residencies, Verdict},
    observe::{
        Claim, Class, ClusterPolicy, Device, Endpoints, Exposed, Key, Namespace, Opening, Pod, Policy, Receivers,
        RoleBinding, Volume,
    },
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
    /// Its RoleBindings.
    pub role_bindings: Vec<(&'a Key, &'a RoleBinding)>,
    /// The namespaces that are never governed, whose ServiceAccounts are the cluster's own.
    pub never_governed: Vec<&'a str>,
    /// Every ClusterNetworkPolicy of the cluster.
    pub cluster_policies: Vec<(&'a String, &'a ClusterPolicy)>,
    /// Its services and Ingresses that can be reached from outside, or lead there.
    pub exposed: Vec<(&'a Key, &'static str, &'a Exposed)>,
    /// Its EndpointSlices that were written by hand.
    pub endpoints: Vec<(&'a Key, &'a Endpoints)>,
    /// Its objects of add-ons' kinds that lead out of it or open it.
    pub openings: Vec<(&'a Key, &'static AddOn, &'a Opening)>,
    /// Devices of which nobody knows where they stand, by the ResourceClaim of it that was given them.
    pub devices: Vec<(&'a Key, &'a Device)>,
    /// Every object of the cluster that has the API server send objects to somebody: kind, name, to whom.
    pub receivers: Vec<(&'static str, &'a String, &'a Receivers)>,
    /// Every EndpointSlice of the cluster that was written by hand.
    pub by_hand: &'a BTreeMap<Key, Endpoints>,
    /// Services of the cluster that are only another name, of type ExternalName.
    pub external_names: Vec<&'a Key>,
    /// Where the API servers stand, as far as they tell.
    pub api_servers: Vec<IpAddr>,
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
    let mut findings: Vec<Finding> = each(scene).collect();
    findings.sort();
    findings
}

/// Findings that are only counted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counted {
    /// Of what breaks a residency.
    pub non_compliant: usize,
    /// Of what cannot be told.
    pub unknown: usize,
    /// Of which rules and verdicts; which of their findings are kept says nothing.
    pub rules: BTreeSet<(&'static str, Verdict)>,
}

/// Every finding is kept.
pub static NONE_COUNTED: Counted = Counted { non_compliant: 0, unknown: 0, rules: BTreeSet::new() };

/// The same, of which for each rule and verdict only so many are kept and the others counted: a tenant can make tens of
/// thousands. All of pods and of claims are kept, since it is decided by them what is moved.
#[must_use]
pub fn audit_at_most(scene: &Scene<'_>, most: usize) -> (Vec<Finding>, Counted) {
    let mut of_rule = BTreeMap::<(&str, Verdict), usize>::new();
    let (mut findings, mut counted) = (Vec::new(), Counted::default());
    for finding in each(scene) {
        let kept = of_rule.entry((finding.rule, finding.verdict)).or_default();
        if [Leg::Placement, Leg::Storage].contains(&finding.leg) || *kept < most {
            *kept += 1;
            findings.push(finding);
            continue;
        }
        counted.rules.insert((finding.rule, finding.verdict));
        match finding.verdict {
            Verdict::NonCompliant => counted.non_compliant += 1,
            Verdict::Unknown => counted.unknown += 1,
        }
    }
    findings.sort();
    (findings, counted)
}

fn each(scene: &Scene<'_>) -> impl Iterator<Item = Finding> {
    let of_residencies = scene.confined.findings.iter().cloned();
    of_residencies
        .chain(placement::audit(scene))
        .chain(storage::audit(scene))
        .chain(network::audit(scene))
        .chain(cluster_network::audit(scene))
        .chain(exposure::audit(scene))
        .chain(add_ons::audit(scene))
        .chain(access::audit(scene))
        .chain(receivers::audit(scene))
        .chain(devices::audit(scene))
        .chain(served::audit(scene))
}

#[cfg(test)]
mod tests {
    use super::{fixture::Stage, *};
    use crate::{domain::Verdict, observe::receivers::Target};

    const POLICIES: [&str; 7] = [
        include_str!("../../charts/domicile/policies/access.yaml"),
        include_str!("../../charts/domicile/policies/bindings.yaml"),
        include_str!("../../charts/domicile/policies/devices.yaml"),
        include_str!("../../charts/domicile/policies/exposure.yaml"),
        include_str!("../../charts/domicile/policies/network.yaml"),
        include_str!("../../charts/domicile/policies/pods.yaml"),
        include_str!("../../charts/domicile/policies/storage.yaml"),
    ];
    /// What no admission policy can see.
    const OF_THE_AUDIT_ALONE: [&str; 3] = ["domicile/privilege", "domicile/volume-location", "domicile/webhook"];

    /// One of everything that is found.
    fn broken() -> Stage {
        let mut stage = Stage::new();
        stage.pod("web", |pod| pod.node = Some("de-1".into()));
        stage.pod("waits", |pod| pod.pins.clear());
        stage.pod("host", |pod| {
            pod.host_network = true;
            pod.privilege = Some("container main is privileged".into());
            pod.inline_volumes.first = Some("logs".into());
            pod.further_network = Some("k8s.v1.cni.cncf.io/networks".into());
        });
        stage.claim("data", Some("gp3"), Some("nowhere"));
        stage.claims.values_mut().for_each(|claim| claim.placing = Some("csi.vsphere.volume-requested-topology"));
        for how in ["LoadBalancer", "Ingress", "ExternalName", "externalIPs"] {
            stage.exposed(how, how, |_| {});
        }
        stage.endpoints("by-hand", &["198.51.100.7"]);
        stage.opening("wide", "CiliumNetworkPolicy.cilium.io", false);
        stage.opening("secrets", "ReferenceGrant.gateway.networking.k8s.io", true);
        let peers = serde_json::json!([{"to": []}, {"to": [{"ipBlock": {"cidr": "8.8.8.0/24"}}]}, {"to": [{"namespaceSelector": {}}]}]);
        stage.policy("wide", serde_json::json!({"podSelector": {}, "egress": peers}));
        stage.confined.confinement.held_role_bindings = vec!["readers".into()];
        let abroad = serde_json::json!({"kind": "ServiceAccount", "name": "default", "namespace": "abroad"});
        stage.role_binding("readers", &serde_json::json!([abroad]));
        stage.role_binding("many", &serde_json::Value::from(vec![abroad; 1001]));
        stage.webhook(Target::Host("hooks.example.com".into()));
        stage.devices.insert(crate::observe::Key::new("shop", "far"), crate::observe::Device::default());
        stage
    }

    #[test]
    fn ids_are_those_of_the_policies() {
        let stage = broken();
        let rules: std::collections::BTreeSet<&str> =
            audit(&stage.scene()).iter().map(|finding| finding.rule).collect();
        assert_eq!(rules.len(), 23, "{rules:?}");
        for rule in rules
            .into_iter()
            .chain([network::SIZE, "domicile/hidden-source"])
            .filter(|rule| !OF_THE_AUDIT_ALONE.contains(rule))
        {
            assert!(POLICIES.iter().any(|text| text.contains(&format!("[{rule}]"))), "{rule}");
        }
    }

    #[test]
    fn the_mode_does_not_change_what_is_found() {
        let found = |mode| {
            let mut stage = broken();
            stage.confined.confinement.mode = mode;
            let findings = audit(&stage.scene());
            findings.into_iter().map(|finding| (finding.rule, finding.subject, finding.verdict)).collect::<Vec<_>>()
        };
        let enforced = found(crate::domain::Mode::Enforce);
        assert_eq!(found(crate::domain::Mode::Warn), enforced);
        assert_eq!(found(crate::domain::Mode::Audit), enforced);
    }

    #[test]
    fn of_each_rule_so_many_are_kept_and_the_others_counted() {
        let mut stage = broken();
        for number in 0..5 {
            stage.policy(&format!("wide-{number}"), serde_json::json!({"podSelector": {}, "egress": [{}]}));
            stage.pod(&format!("web-{number}"), |pod| pod.node = Some("de-1".into()));
        }
        stage.policy("large", serde_json::json!({"podSelector": {}, "egress": vec![serde_json::json!({}); 101]}));
        let all = audit(&stage.scene());
        let (kept, counted) = audit_at_most(&stage.scene(), 2);
        let of = |findings: &[Finding], rule| findings.iter().filter(|finding| finding.rule == rule).count();
        assert_eq!((of(&all, network::ANY), of(&kept, network::ANY)), (6, 2));
        assert_eq!(of(&kept, "domicile/placement"), of(&all, "domicile/placement"), "of pods all");
        assert_eq!(kept.len() + counted.non_compliant + counted.unknown, all.len());
        assert_eq!(audit_at_most(&stage.scene(), usize::MAX), (all, Counted::default()));
    }

    #[test]
    fn the_worst_comes_first_and_what_is_kept_is_no_finding() {
        let verdicts: Vec<Verdict> = audit(&broken().scene()).iter().map(|finding| finding.verdict).collect();
        assert!(verdicts.is_sorted());
        let mut stage = Stage::new();
        stage.pod("web", |pod| pod.node = Some("cn-1".into()));
        stage.pod("waits", |_| {});
        assert!(audit(&stage.scene()).is_empty());
    }
}
