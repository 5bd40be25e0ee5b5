//! The status of a residency: what it governs, what enforces it, what breaks it.
//!
//! The conditions are judged in [`super::legs`]; here they are put together with the counts and the findings that people
//! see. Everything comes from the outcome, so the same outcome gives the same status, and nothing is written.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

use super::{
    conditions::{self, Judgement, Status},
    cut, legs,
    routes::isolated_by,
};
use crate::{
    api::{
        self, DataResidency, DataResidencyStatus,
        conditions::{ACCEPTED, COMPLIANT, NETWORK_ENFORCED, PLACEMENT_ENFORCED, READY, STORAGE_ENFORCED},
        data_residency::{EligibleNodes, EnforcedBy, Findings, GovernedCounts, NamespaceCounts, Routes, Summary},
    },
    audit::Counted,
    domain::{Finding, Mode, Mutation},
    resolve::{Residency, UnknownKey},
};

/// The conditions that are Domicile's; others' are not copied.
const OWN: [&str; 6] = [ACCEPTED, PLACEMENT_ENFORCED, STORAGE_ENFORCED, NETWORK_ENFORCED, COMPLIANT, READY];
/// So many findings, and names of namespaces, are listed.
const LISTED: usize = 20;
/// So many bytes each text of a finding has at most.
const TEXT: usize = 512;

/// What was seen of one residency.
#[derive(Clone, Debug)]
pub struct Outcome<'a> {
    /// As it was written, with the old status.
    pub residency: &'a DataResidency,
    /// What it comes to in this cluster.
    pub resolved: &'a Residency,
    /// All nodes of the cluster.
    pub total_nodes: u32,
    /// Every namespace that names it, those that are not judged among them.
    pub namespaces: Vec<NamespaceOutcome<'a>>,
    /// The installed admission policies.
    pub policies: PoliciesSeen,
    /// What the API server said to the canary.
    pub canary: CanarySeen,
    /// Classes that should stand, and do not.
    pub missing_classes: Vec<String>,
    /// Classes whose driver does not know their topology key.
    pub unknown_keys: Vec<UnknownKey>,
    /// An example of a pod of an ungoverned namespace whose address lies in the permitted networks.
    pub pods_in_permitted_networks: Option<String>,
    /// Addresses of API servers that are not permitted.
    pub api_servers_not_permitted: Vec<String>,
    /// Pods of the cluster's DNS that run elsewhere than the residency asks for, and where.
    pub dns_elsewhere: Vec<String>,
    /// What isolates the network.
    pub network: NetworkTier,
    /// How the ways out stand in this cluster; nothing where that is not known.
    pub routes: &'a [Routes],
    /// Kinds whose watches keep failing, and why.
    pub unseen: &'a BTreeMap<String, String>,
    /// Whether it is being deleted.
    pub deleting: bool,
}

/// What isolates the network of the namespaces that are enforced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NetworkTier {
    /// The NetworkPolicies in them, and why not more where the cluster serves more.
    NetworkPolicy(Option<String>),
    /// A ClusterNetworkPolicy for each as well, which no tenant's policy opens.
    ClusterNetworkPolicy,
}

impl NetworkTier {
    /// The kind, as statuses name it.
    pub(super) const fn name(&self) -> &'static str {
        match self {
            Self::NetworkPolicy(_) => "NetworkPolicy",
            Self::ClusterNetworkPolicy => "ClusterNetworkPolicy",
        }
    }
}

/// What was seen of one namespace that names the residency.
#[derive(Clone, Copy, Debug)]
pub struct NamespaceOutcome<'a> {
    /// Its name.
    pub name: &'a str,
    /// Whether a finished confinement stands for what it names.
    pub confined: bool,
    /// The mode of its confinement.
    pub mode: Mode,
    /// How many pods are in it.
    pub pods: u32,
    /// How many claims.
    pub claims: u32,
    /// What breaks, or may break, a residency in it.
    pub findings: &'a [Finding],
    /// What does so and is only counted.
    pub counted: &'a Counted,
    /// Why nothing may start in it, if so.
    pub refused_because: Option<&'a str>,
    /// Whether nothing is opened in it, and would not be, but by network policies of its own, and nobody has asked for that.
    pub left_to_its_own: bool,
}

impl Outcome<'_> {
    /// How much breaks it, and how much may, that is only counted.
    pub(super) fn counted(&self) -> (usize, usize) {
        let counted = || self.namespaces.iter().map(|namespace| namespace.counted);
        (counted().map(|one| one.non_compliant).sum(), counted().map(|one| one.unknown).sum())
    }
}

impl NamespaceOutcome<'_> {
    /// Whether it is confined at least as strictly as `mode`.
    pub(super) fn holds(&self, mode: Mode) -> bool {
        self.confined && self.mode >= mode
    }
}

/// The installed admission policies, held against those of this build.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum PoliciesSeen {
    /// Every one is as built.
    AsBuilt,
    /// These are missing, or say something else.
    Differs(Vec<String>),
    /// The chart installs none; the set that the API server loaded from its own files says that it is this build's.
    Static,
    /// The chart installs none, and the loaded set says that it is another one.
    StaticDiffers,
    /// The chart installs none, and no loaded set answered.
    StaticNotSeen,
    /// They could not be read.
    #[default]
    Unseen,
}

/// What the API server said to the canary.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CanarySeen {
    /// Whether it refused what breaks a rule.
    pub refused: bool,
    /// What was seen to mutate, or that nothing does; `None` where that could not be told.
    pub mutation: Option<Mutation>,
}

/// The new status.
#[must_use]
pub fn status(outcome: &Outcome<'_>, now: &Time) -> DataResidencyStatus {
    let Outcome {
        residency,
        resolved,
        total_nodes,
        namespaces,
        policies: _,
        canary: _,
        missing_classes: _,
        unknown_keys: _,
        pods_in_permitted_networks: _,
        api_servers_not_permitted: _,
        dns_elsewhere: _,
        network: tier,
        routes,
        unseen: _,
        deleting,
    } = outcome;
    let findings = worst_first(outcome);
    let placement = legs::placement(outcome);
    let storage = legs::storage(outcome);
    let network = legs::network(outcome, &findings);
    let enforced_by = EnforcedBy {
        placement: enforcer(resolved.mode, &placement, "AdmissionPolicy"),
        storage: enforcer(resolved.mode, &storage, "AdmissionPolicy"),
        network: network_enforcer(resolved.mode, &network, tier),
        mutation: mutation(outcome.canary.mutation).to_owned(),
    };
    let judgements = [
        (ACCEPTED, legs::accepted(outcome)),
        (PLACEMENT_ENFORCED, placement),
        (STORAGE_ENFORCED, storage),
        (NETWORK_ENFORCED, network),
        (COMPLIANT, legs::compliant(outcome, &findings)),
        (READY, legs::ready(outcome, &findings)),
    ];
    let nodes = EligibleNodes { eligible: resolved.eligible_nodes, total: *total_nodes };
    let counts = count(namespaces, resolved.mode, *deleting);
    let old = residency.status.as_ref().map(|status| status.conditions.as_slice()).unwrap_or_default();
    DataResidencyStatus {
        observed_generation: residency.metadata.generation,
        data_centers: resolved.data_centers.clone(),
        summary: Some(Summary {
            jurisdictions: listed_words(residency.spec.jurisdictions.iter().map(|code| code.0.as_str())),
            data_centers: listed_words(resolved.data_centers.iter().map(String::as_str)),
            nodes: format!("{}/{}", nodes.eligible, nodes.total),
            namespaces: format!("{}/{}", counts.confined, counts.named),
        }),
        nodes: Some(nodes),
        namespaces: Some(counts),
        governed: Some(governed(namespaces)),
        findings: Some(listed(&findings, outcome.counted())),
        enforced_by: Some(enforced_by),
        routes: if resolved.mode == Mode::Enforce { isolated_by(tier, routes) } else { Vec::new() },
        conditions: conditions::set(old, judgements, residency.metadata.generation, now),
    }
}

/// The own conditions of before, but for what cannot be known while these kinds are not seen; `None` where all are.
#[must_use]
pub fn unread(old: &[Condition], unseen: &BTreeMap<String, String>, now: &Time) -> Option<Vec<Condition>> {
    let unknown = legs::not_watched(unseen)?;
    let of_now = |old: &Condition| {
        let judged = [COMPLIANT, READY].into_iter().find(|type_| *type_ == old.type_);
        let new = judged.map(|type_| {
            conditions::set(std::slice::from_ref(old), [(type_, unknown.clone())], old.observed_generation, now)
        });
        new.and_then(|new| new.into_iter().next()).unwrap_or_else(|| old.clone())
    };
    Some(old.iter().filter(|condition| OWN.contains(&condition.type_.as_str())).map(of_now).collect())
}

/// A column's words: the first few, and that there are more.
fn listed_words<'a>(words: impl ExactSizeIterator<Item = &'a str>) -> String {
    const SHOWN: usize = 4;
    let more = words.len().saturating_sub(SHOWN);
    let shown = words.take(SHOWN).collect::<Vec<_>>().join(",");
    match (shown.is_empty(), more) {
        (true, _) => "-".to_owned(),
        (false, 0) => shown,
        (false, more) => format!("{shown},+{more}"),
    }
}

/// Every finding once, worst first.
fn worst_first<'a>(outcome: &Outcome<'a>) -> Vec<&'a Finding> {
    let own = outcome.resolved.findings.iter();
    let mut findings: Vec<&Finding> =
        own.chain(outcome.namespaces.iter().flat_map(|namespace| namespace.findings)).collect();
    findings.sort();
    findings.dedup();
    findings
}

fn count(namespaces: &[NamespaceOutcome<'_>], mode: Mode, deleting: bool) -> NamespaceCounts {
    let confined = namespaces.iter().filter(|namespace| namespace.holds(mode)).count();
    let mut holding: Vec<String> = namespaces.iter().filter(|_| deleting).map(|one| one.name.to_owned()).collect();
    holding.sort();
    holding.truncate(LISTED);
    NamespaceCounts { named: number(namespaces.len()), confined: number(confined), holding }
}

fn governed(namespaces: &[NamespaceOutcome<'_>]) -> GovernedCounts {
    let none = GovernedCounts::default();
    namespaces.iter().fold(none, |all, namespace| GovernedCounts {
        pods: all.pods.saturating_add(namespace.pods),
        volume_claims: all.volume_claims.saturating_add(namespace.claims),
    })
}

fn listed(findings: &[&Finding], (broken, unclear): (usize, usize)) -> Findings {
    let item = |finding: &&Finding| {
        let Finding { verdict, leg: _, rule, subject, message, remedy } = finding;
        api::data_residency::Finding {
            rule: (*rule).to_owned(),
            subject: subject.to_string(),
            verdict: verdict.to_string(),
            message: cut(message, TEXT),
            remedy: cut(remedy, TEXT),
        }
    };
    let total = findings.len() + broken + unclear;
    Findings { total: number(total), items: findings.iter().take(LISTED).map(item).collect() }
}

fn number(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}

/// What enforces a leg: nothing that was not seen to.
fn enforcer(mode: Mode, leg: &Judgement, by: &str) -> String {
    match mode {
        Mode::Warn | Mode::Audit => mode.to_string(),
        Mode::Enforce if leg.is_true() => by.to_owned(),
        Mode::Enforce => "NotEnforced".to_owned(),
    }
}

/// What was seen to fill in what tenants leave out.
fn mutation(seen: Option<Mutation>) -> &'static str {
    match seen {
        Some(Mutation::AdmissionPolicy) => "MutatingAdmissionPolicy",
        Some(Mutation::Webhook) => "Webhook",
        Some(Mutation::Nothing) => "None",
        None => "Unknown",
    }
}

/// Network policies stand and nothing opens them; whether the network's plugin heeds them is what the condition says.
fn network_enforcer(mode: Mode, leg: &Judgement, tier: &NetworkTier) -> String {
    let stand = leg.status == Status::True || legs::is_about_the_plugin(leg);
    match mode {
        Mode::Enforce if stand => tier.name().to_owned(),
        _ => enforcer(mode, leg, tier.name()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Verdict;
    use crate::report::fixture::{Seen, at, finding};

    #[test]
    fn columns_and_counts_say_what_was_seen() {
        let mut seen = Seen { nodes: (11, 40), ..Seen::well() };
        let status = status(&seen.outcome(), &at(1));
        let summary = status.summary.unwrap();
        assert_eq!((summary.nodes.as_str(), summary.namespaces.as_str()), ("11/40", "2/2"));
        assert_eq!(status.governed.unwrap(), GovernedCounts { pods: 6, volume_claims: 2 });
        assert_eq!(status.observed_generation, Some(7));
        let by = status.enforced_by.unwrap();
        assert_eq!(
            (by.placement.as_str(), by.storage.as_str(), by.network.as_str()),
            ("AdmissionPolicy", "AdmissionPolicy", "NetworkPolicy")
        );
        assert_eq!(by.mutation, "MutatingAdmissionPolicy");
        assert!(status.namespaces.unwrap().holding.is_empty());
    }

    #[test]
    fn the_tier_that_isolates_the_network_is_told_and_what_keeps_it_from_being_more() {
        let told = |network, mode| {
            let mut seen = Seen { network, mode, ..Seen::well() };
            let status = status(&seen.outcome(), &at(1));
            let condition = status.conditions.into_iter().find(|one| one.type_ == NETWORK_ENFORCED).unwrap();
            (status.enforced_by.unwrap().network, condition.message)
        };
        let (by, message) = told(NetworkTier::ClusterNetworkPolicy, Mode::Enforce);
        assert_eq!(by, "ClusterNetworkPolicy");
        assert!(message.contains("before the NetworkPolicies"), "{message}");
        let (by, message) = told(NetworkTier::NetworkPolicy(Some("it does not fit".into())), Mode::Enforce);
        assert_eq!(by, "NetworkPolicy");
        assert!(message.contains("it does not fit"), "{message}");
        assert_eq!(told(NetworkTier::ClusterNetworkPolicy, Mode::Audit).0, "Audit");
    }

    #[test]
    fn who_fills_in_what_is_left_out_is_told() {
        for (mutation, word) in
            [(Some(Mutation::Webhook), "Webhook"), (Some(Mutation::Nothing), "None"), (None, "Unknown")]
        {
            let mut seen = Seen { canary: CanarySeen { refused: true, mutation }, ..Seen::well() };
            assert_eq!(status(&seen.outcome(), &at(1)).enforced_by.unwrap().mutation, word);
        }
    }

    #[test]
    fn what_cannot_be_read_is_not_known_to_stand() {
        let mut seen = Seen::well();
        let before = status(&seen.outcome(), &at(1)).conditions;
        assert_eq!(unread(&before, &BTreeMap::new(), &at(2)), None);
        let unseen = [("RoleBinding".to_owned(), "forbidden".to_owned())].into();
        let after = unread(&before, &unseen, &at(2)).unwrap();
        assert_eq!(after.len(), before.len());
        for (old, new) in before.iter().zip(&after) {
            let is_unknown = [COMPLIANT, READY].contains(&new.type_.as_str());
            assert_eq!(old.type_, new.type_);
            assert_eq!((new.reason == "NotWatched", new == old), (is_unknown, !is_unknown), "{new:?}");
        }
        assert_eq!(unread(&after, &unseen, &at(3)).unwrap(), after);
    }

    #[test]
    fn the_same_outcome_gives_the_same_status() {
        let mut seen = Seen::well();
        let first = status(&seen.outcome(), &at(1));
        seen.residency.status = Some(first.clone());
        assert_eq!(status(&seen.outcome(), &at(99)), first);
    }

    #[test]
    fn findings_are_counted_and_the_worst_come_first() {
        let many = (0..30).map(|index| {
            finding(Verdict::Unknown, "domicile/volume-location", "PersistentVolumeClaim", &format!("c{index:02}"))
        });
        let mut findings: Vec<Finding> = many.collect();
        findings.push(finding(Verdict::NonCompliant, "domicile/placement", "Pod", "web"));
        findings.push(finding(Verdict::NonCompliant, "domicile/placement", "Pod", "web"));
        let mut seen = Seen { findings, ..Seen::well() };
        let found = status(&seen.outcome(), &at(1)).findings.unwrap();
        assert_eq!((found.total, found.items.len()), (31, 20));
        assert_eq!(found.items[0].subject, "Pod shop/web");
        assert_eq!(found.items[0].verdict, "NonCompliant");
    }

    #[test]
    fn while_it_is_deleted_it_says_who_holds_it() {
        let mut seen = Seen { deleting: true, ..Seen::well() };
        let status = status(&seen.outcome(), &at(1));
        assert_eq!(status.namespaces.unwrap().holding, ["shop", "store"]);
        assert_eq!(status.conditions[0].reason, "HeldByNamespaces");
    }

    #[test]
    fn what_was_not_seen_enforces_nothing() {
        let mut seen = Seen { canary: CanarySeen::default(), ..Seen::well() };
        let by = status(&seen.outcome(), &at(1)).enforced_by.unwrap();
        assert_eq!((by.placement.as_str(), by.network.as_str()), ("NotEnforced", "NotEnforced"));
        let mut seen = Seen { mode: Mode::Warn, ..Seen::well() };
        let by = status(&seen.outcome(), &at(1)).enforced_by.unwrap();
        assert_eq!((by.placement.as_str(), by.storage.as_str(), by.network.as_str()), ("Warn", "Warn", "Warn"));
    }
}
