//! The conditions of a residency: each a chain of small checks, the first that finds something decides.
//!
//! `…Enforced` are true only of what was seen to hold: the policies stand as built, the API server refused the canary, every
//! namespace is confined. `Ready` asks for everything that the mode asks for; `Compliant` for nothing but findings, and that
//! every namespace was looked at.

use std::collections::BTreeMap;

use super::{
    conditions::{Judgement, Status},
    residency::{NamespaceOutcome, NetworkTier, Outcome, PoliciesSeen},
    some_of,
    unsaid::{api_servers, dns_elsewhere, left_to_their_own, topology_keys},
};
use crate::{
    audit::{add_ons, cluster_network, network},
    domain::{Finding, Mode, Mutation, Verdict, add_ons::how_to_read},
};

/// Not everything that names the residency is confined, which passes where the operator works.
pub(super) const NAMESPACES_NOT_CONFINED: &str = "NamespacesNotConfined";
/// It is deleted, and namespaces still name it.
pub(super) const HELD_BY_NAMESPACES: &str = "HeldByNamespaces";
const PLUGIN_NOT_SEEN: &str = "PluginNotSeen";
const POD_ADDRESSES_UNCLEAR: &str = "PodAddressesUnclear";

type Check = fn(&Outcome<'_>) -> Option<Judgement>;

fn first(outcome: &Outcome<'_>, checks: &[Check]) -> Option<Judgement> {
    checks.iter().find_map(|check| check(outcome))
}

/// The spec is understood; the API server has refused what is not. While it is being deleted, who holds it.
pub(super) fn accepted(outcome: &Outcome<'_>) -> Judgement {
    if outcome.deleting && !outcome.namespaces.is_empty() {
        let names = some_of(outcome.namespaces.iter().map(|namespace| namespace.name));
        return Judgement::yes(
            HELD_BY_NAMESPACES,
            format!("it is being deleted, and stays in force while namespaces name it: {names}"),
        );
    }
    Judgement::yes("Accepted", "the spec is understood")
}

/// Pods are pinned and judged by the API server.
pub(super) fn placement(outcome: &Outcome<'_>) -> Judgement {
    first(outcome, &[mode, policies, canary, confined]).unwrap_or_else(|| {
        let pinning = match outcome.canary.mutation {
            Some(Mutation::AdmissionPolicy) => "the API server was seen to refuse what is not pinned, and to pin what is created",
            Some(Mutation::Webhook) => "the API server was seen to refuse what is not pinned, and to have what is created pinned by Domicile's webhook; without it, whoever creates a pod pins it",
            Some(Mutation::Nothing) => "the API server was seen to refuse what is not pinned; nothing mutates here, so whoever creates a pod pins it",
            None => "the API server was seen to refuse what is not pinned; whether it pins what is created was not seen",
        };
        Judgement::yes("AdmissionPolicy", pinning)
    })
}

/// Claims are judged by the API server, and the residency's classes stand.
pub(super) fn storage(outcome: &Outcome<'_>) -> Judgement {
    first(outcome, &[mode, policies, canary, confined, classes, topology_keys]).unwrap_or_else(|| {
        Judgement::yes("AdmissionPolicy", "the API server judges claims, and the residency's StorageClasses stand")
    })
}

/// Namespaces are isolated and nothing opens them. That a plugin heeds that can't be seen, so this is never true.
pub(super) fn network(outcome: &Outcome<'_>, findings: &[&Finding]) -> Judgement {
    let Judgement { status, reason, message } = isolated(outcome, findings);
    let further = match outcome.resolved.mode {
        Mode::Enforce => dns_elsewhere(outcome) + &api_servers(outcome),
        Mode::Warn | Mode::Audit => String::new(),
    };
    Judgement { status, reason, message: message + &further + &left_to_their_own(outcome) }
}

fn isolated(outcome: &Outcome<'_>, findings: &[&Finding]) -> Judgement {
    first(outcome, &[mode, policies, canary, confined])
        .or_else(|| tenants_policies(findings))
        .or_else(|| pod_addresses(outcome))
        .unwrap_or_else(|| {
            let stand = match &outcome.network {
                NetworkTier::NetworkPolicy(None) => "NetworkPolicies stand".to_owned(),
                NetworkTier::NetworkPolicy(Some(because)) => format!("NetworkPolicies stand; {because}"),
                NetworkTier::ClusterNetworkPolicy => {
                    "ClusterNetworkPolicies stand before the NetworkPolicies, and no policy of a tenant opens them"
                        .to_owned()
                }
            };
            let message = format!("{stand}; whether this cluster's network plugin enforces that was not seen");
            Judgement::unknown(PLUGIN_NOT_SEEN, message)
        })
}

/// Whether nothing is missing but what only the network's plugin could tell.
pub(super) fn is_about_the_plugin(network: &Judgement) -> bool {
    network.status == Status::Unknown && [PLUGIN_NOT_SEEN, POD_ADDRESSES_UNCLEAR].contains(&network.reason)
}

/// Nothing that is governed breaks the residency. Where a kind is not seen or a namespace not confined, not everything may have
/// been judged.
pub(super) fn compliant(outcome: &Outcome<'_>, findings: &[&Finding]) -> Judgement {
    let (more_broken, more_unclear) = outcome.counted();
    let kept = findings.iter().filter(|finding| finding.verdict == Verdict::NonCompliant).count();
    let (broken, unclear) = (kept + more_broken, findings.len() - kept + more_unclear);
    let worst = findings.first().map(|finding| format!("{}: {}", finding.subject, finding.message)).unwrap_or_default();
    if broken > 0 {
        let more = if unclear == 0 { String::new() } else { format!(", {unclear} more are unclear") };
        let broken = if broken == 1 { "1 finding breaks".to_owned() } else { format!("{broken} findings break") };
        return Judgement::no("NonCompliant", format!("{broken} it{more}; the worst: {worst}"));
    }
    if unclear > 0 {
        let unclear = if unclear == 1 { "1 finding is".to_owned() } else { format!("{unclear} findings are") };
        return Judgement::unknown("Unclear", format!("{unclear} unclear; the first: {worst}"));
    }
    if let Some(unseen) = seen(outcome) {
        return unseen;
    }
    if let Some(Judgement { reason, message, .. }) = confined(outcome) {
        return Judgement::unknown(reason, message);
    }
    if outcome.namespaces.is_empty() {
        return Judgement::yes("NothingGoverned", "no namespace names it");
    }
    Judgement::yes("Compliant", "nothing that is governed breaks it")
}

/// Everything that this version enforces is in force, as far as the mode asks for it.
pub(super) fn ready(outcome: &Outcome<'_>, findings: &[&Finding]) -> Judgement {
    let opens = || (outcome.resolved.mode == Mode::Enforce).then(|| tenants_policies(findings)).flatten();
    first(outcome, &[policies, canary, mutation, data_center, seen, confined])
        .or_else(opens)
        .or_else(|| classes(outcome))
        .unwrap_or_else(|| {
            let what = match outcome.resolved.mode {
                Mode::Enforce => "everything that the API server enforces is in force",
                Mode::Warn => "what breaks it is warned of",
                Mode::Audit => "what breaks it is reported",
            };
            let whence = match outcome.policies {
                PoliciesSeen::Static => "; the policies are static: the API server that answered has loaded those of this version, which nobody can remove through the API",
                _ => "",
            };
            Judgement::yes("InForce", format!("{what}{whence}{}", refused(outcome)))
        })
}

/// In which namespaces nothing may start, or could with Enforce, and why.
fn refused(outcome: &Outcome<'_>) -> String {
    let words = |namespace: &NamespaceOutcome<'_>| Some(format!("{} ({})", namespace.name, namespace.refused_because?));
    let (enforced, others): (Vec<_>, Vec<_>) =
        outcome.namespaces.iter().partition(|namespace| namespace.mode == Mode::Enforce);
    let told = [("nothing may start in", enforced), ("with enforcement: Enforce nothing could start in", others)];
    let told = told.into_iter().map(|(what, namespaces)| {
        let refused: Vec<String> = namespaces.into_iter().filter_map(words).collect();
        (what, some_of(refused.iter().map(String::as_str)))
    });
    told.filter(|(_, some)| !some.is_empty()).map(|(what, some)| format!("; {what} {some}")).collect()
}

/// What is judged is not long past.
fn seen(outcome: &Outcome<'_>) -> Option<Judgement> {
    not_watched(outcome.unseen)
}

/// Nobody knows what stands of these kinds, and why.
pub(super) fn not_watched(unseen: &BTreeMap<String, String>) -> Option<Judgement> {
    let (kind, error) = unseen.first_key_value()?;
    let kinds = some_of(unseen.keys().map(String::as_str));
    let message = format!(
        "the operator has not been able to watch {kinds} for some time, so what it knows may be past; for {kind} {} ({error})",
        how_to_read(kind, "the ServiceAccount of Domicile")
    );
    Some(Judgement::unknown("NotWatched", message))
}

/// Warn and Audit refuse nothing.
fn mode(outcome: &Outcome<'_>) -> Option<Judgement> {
    match outcome.resolved.mode {
        Mode::Enforce => None,
        Mode::Warn => {
            Some(Judgement::no("WarnOnly", "spec.enforcement is Warn: what breaks it is warned of, not refused"))
        }
        Mode::Audit => {
            Some(Judgement::no("AuditOnly", "spec.enforcement is Audit: what breaks it is reported, not refused"))
        }
    }
}

fn policies(outcome: &Outcome<'_>) -> Option<Judgement> {
    match &outcome.policies {
        PoliciesSeen::AsBuilt | PoliciesSeen::Static => None,
        PoliciesSeen::Differs(names) => Some(Judgement::no(
            "PoliciesDiffer",
            format!(
                "installed policies are missing or not those of this version: {}; install the chart of this version, and write static admission manifests again where there are some",
                some_of(names.iter().map(String::as_str))
            ),
        )),
        PoliciesSeen::StaticDiffers => Some(Judgement::no(
            "PoliciesDiffer",
            "the API server has loaded static policies of another version or with other values; write them again with `domicile policies --static` and the values of this release, for each API server",
        )),
        PoliciesSeen::StaticNotSeen => Some(Judgement::unknown(
            "StaticPoliciesNotSeen",
            "the chart's value policies is Static, and the API server was not seen to have loaded policies from its own files, which Kubernetes 1.36 and later can; follow `domicile policies --static`, or set policies to Install",
        )),
        PoliciesSeen::Unseen => Some(Judgement::unknown("PoliciesUnseen", "the installed policies could not be read")),
    }
}

fn canary(outcome: &Outcome<'_>) -> Option<Judgement> {
    (!outcome.canary.refused).then(|| {
        Judgement::unknown(
            "CanaryNotRefused",
            "the API server was not seen to refuse the canary, so whether it evaluates the policies is not known",
        )
    })
}

fn mutation(outcome: &Outcome<'_>) -> Option<Judgement> {
    outcome
        .canary
        .mutation
        .is_none()
        .then(|| Judgement::unknown("MutationNotSeen", "whether the API server mutates what is created was not seen"))
}

fn data_center(outcome: &Outcome<'_>) -> Option<Judgement> {
    let reason = outcome.resolved.refused_because.as_ref()?;
    let what = match outcome.resolved.mode {
        Mode::Enforce => "nothing governed may start",
        Mode::Warn | Mode::Audit => "with enforcement: Enforce nothing governed could start",
    };
    Some(Judgement::no("NoDataCenter", format!("{what}: {reason}")))
}

fn confined(outcome: &Outcome<'_>) -> Option<Judgement> {
    let words = |namespace: &NamespaceOutcome<'_>| match namespace.refused_because {
        Some(reason) => format!("{} ({reason})", namespace.name),
        None => namespace.name.to_owned(),
    };
    let open = outcome.namespaces.iter().filter(|namespace| !namespace.holds(outcome.resolved.mode));
    let open: Vec<String> = open.map(words).collect();
    (!open.is_empty()).then(|| {
        let names = some_of(open.iter().map(String::as_str));
        let all = outcome.namespaces.len();
        Judgement::no(
            NAMESPACES_NOT_CONFINED,
            format!("{} of {all} namespaces that name it are not confined: {names}", open.len()),
        )
    })
}

fn classes(outcome: &Outcome<'_>) -> Option<Judgement> {
    let missing = &outcome.missing_classes;
    (!missing.is_empty()).then(|| {
        let names = some_of(missing.iter().map(String::as_str));
        Judgement::no("ClassesMissing", format!("StorageClasses do not stand as spec.storage.classes says: {names}"))
    })
}

/// A policy of a tenant, or of the cluster, that opens what the isolating one closes.
fn tenants_policies(findings: &[&Finding]) -> Option<Judgement> {
    let opens = |finding: &&&Finding| {
        let of_a_tenant = finding.subject.kind == "NetworkPolicy"
            && [network::ANY, network::FOREIGN, network::NAMESPACE].contains(&finding.rule);
        of_a_tenant || (finding.rule == cluster_network::ACCEPTS && finding.verdict == Verdict::NonCompliant)
    };
    let open: Vec<String> = findings.iter().filter(opens).map(|finding| finding.subject.to_string()).collect();
    if !open.is_empty() {
        let mut names: Vec<&str> = open.iter().map(String::as_str).collect();
        names.dedup();
        let message = format!("policies of others open more than is permitted: {}", some_of(names));
        return Some(Judgement::no("TenantPolicyOpensMore", message));
    }
    let unjudged = |finding: &&&Finding| {
        (finding.subject.kind == "NetworkPolicy" && finding.rule == network::SIZE) || finding.rule == add_ons::KIND
    };
    let unjudged: Vec<String> = findings.iter().filter(unjudged).map(|finding| finding.subject.to_string()).collect();
    (!unjudged.is_empty()).then(|| {
        let names = some_of(unjudged.iter().map(String::as_str));
        let message = format!("policies of others cannot be judged, and may open anything: {names}");
        Judgement::unknown("TenantPolicyUnjudged", message)
    })
}

/// ClusterNetworkPolicies know other pods by their namespaces, whatever their addresses.
fn pod_addresses(outcome: &Outcome<'_>) -> Option<Judgement> {
    let by_address = outcome.network != NetworkTier::ClusterNetworkPolicy;
    outcome.pods_in_permitted_networks.as_ref().filter(|_| by_address).map(|pod| {
        Judgement::unknown(
            POD_ADDRESSES_UNCLEAR,
            format!("the address of pod {pod}, whose namespace is not governed, lies in the permitted networks; name pod addresses in spec.podNetworks of the data center"),
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        audit::Counted,
        domain::Verdict::{NonCompliant, Unknown},
        report::{
            fixture::{Seen, finding, says},
            residency::CanarySeen,
        },
    };

    #[test]
    fn all_is_well() {
        says(Seen::well(), "Accepted", "True", "Accepted");
        let message = says(Seen::well(), "PlacementEnforced", "True", "AdmissionPolicy");
        assert!(message.contains("to pin what is created"), "{message}");
        says(Seen::well(), "StorageEnforced", "True", "AdmissionPolicy");
        says(Seen::well(), "NetworkEnforced", "Unknown", "PluginNotSeen");
        says(Seen::well(), "Compliant", "True", "Compliant");
        says(Seen::well(), "Ready", "True", "InForce");
    }

    #[test]
    fn policies_of_another_version_enforce_nothing() {
        let seen = || Seen {
            policies: PoliciesSeen::Differs(vec!["ValidatingAdmissionPolicy domicile-pods".into()]),
            ..Seen::well()
        };
        for leg in ["PlacementEnforced", "StorageEnforced", "NetworkEnforced", "Ready"] {
            assert!(says(seen(), leg, "False", "PoliciesDiffer").contains("domicile-pods"));
        }
        says(Seen { policies: PoliciesSeen::Unseen, ..Seen::well() }, "Ready", "Unknown", "PoliciesUnseen");
    }

    #[test]
    fn static_policies_enforce_what_the_loaded_set_says_that_it_is() {
        let seen = |policies| Seen { policies, ..Seen::well() };
        assert!(says(seen(PoliciesSeen::Static), "Ready", "True", "InForce").contains("static"));
        says(seen(PoliciesSeen::Static), "PlacementEnforced", "True", "AdmissionPolicy");
        for leg in ["PlacementEnforced", "StorageEnforced", "NetworkEnforced", "Ready"] {
            says(seen(PoliciesSeen::StaticDiffers), leg, "False", "PoliciesDiffer");
            says(seen(PoliciesSeen::StaticNotSeen), leg, "Unknown", "StaticPoliciesNotSeen");
        }
    }

    #[test]
    fn what_is_not_watched_is_not_known_to_be_well() {
        let blind = || Seen { unseen: [("Pod".into(), "pods is forbidden".into())].into(), ..Seen::well() };
        for condition in ["Compliant", "Ready"] {
            let message = says(blind(), condition, "Unknown", "NotWatched");
            assert!(message.contains("Pod") && message.contains("is forbidden"), "{message}");
            assert!(message.contains("the ServiceAccount of Domicile may list and watch it"), "{message}");
        }
        let broken = finding(NonCompliant, "domicile/placement", "Pod", "web");
        says(Seen { findings: vec![broken], ..blind() }, "Compliant", "False", "NonCompliant");
        says(Seen { policies: PoliciesSeen::Unseen, ..blind() }, "Ready", "Unknown", "PoliciesUnseen");
    }

    #[test]
    fn findings_that_are_only_counted_count() {
        let counted = Counted { non_compliant: 3, ..Counted::default() };
        let message = says(Seen { counted, ..Seen::well() }, "Compliant", "False", "NonCompliant");
        assert!(message.starts_with("6 findings break it"), "{message}");
    }

    #[test]
    fn discovery_is_no_proof_the_canary_is() {
        let silent = || Seen { canary: CanarySeen { refused: false, ..Seen::well().canary }, ..Seen::well() };
        says(silent(), "PlacementEnforced", "Unknown", "CanaryNotRefused");
        says(silent(), "Ready", "Unknown", "CanaryNotRefused");
        let unmutated = |mutation| Seen { canary: CanarySeen { refused: true, mutation }, ..Seen::well() };
        says(unmutated(None), "Ready", "Unknown", "MutationNotSeen");
        says(unmutated(Some(Mutation::Nothing)), "Ready", "True", "InForce");
        assert!(
            says(unmutated(Some(Mutation::Nothing)), "PlacementEnforced", "True", "AdmissionPolicy")
                .contains("nothing mutates")
        );
    }

    #[test]
    fn one_namespace_that_is_not_confined_is_enough() {
        let seen = || Seen { confined: false, refused_because: Some("being confined"), ..Seen::well() };
        let message = says(seen(), "PlacementEnforced", "False", "NamespacesNotConfined");
        assert!(message.contains("1 of 2") && message.contains("store (being confined)"), "{message}");
        says(seen(), "Ready", "False", "NamespacesNotConfined");
        says(seen(), "Compliant", "Unknown", "NamespacesNotConfined");
    }

    #[test]
    fn a_policy_of_a_tenant_that_opens_more_is_not_ready() {
        let seen = |mode| Seen {
            mode,
            findings: vec![finding(NonCompliant, network::ANY, "NetworkPolicy", "wide")],
            ..Seen::well()
        };
        assert!(says(seen(Mode::Enforce), "NetworkEnforced", "False", "TenantPolicyOpensMore").contains("shop/wide"));
        says(seen(Mode::Enforce), "Ready", "False", "TenantPolicyOpensMore");
        says(seen(Mode::Warn), "NetworkEnforced", "False", "WarnOnly");
        says(seen(Mode::Warn), "Ready", "True", "InForce");
        says(seen(Mode::Warn), "Compliant", "False", "NonCompliant");
        let accepting = finding(NonCompliant, cluster_network::ACCEPTS, "ClusterNetworkPolicy", "theirs");
        says(Seen { findings: vec![accepting], ..Seen::well() }, "NetworkEnforced", "False", "TenantPolicyOpensMore");
        let combination =
            Seen { findings: vec![finding(NonCompliant, network::FOREIGN, "Namespace", "shop")], ..Seen::well() };
        says(combination, "NetworkEnforced", "Unknown", "PluginNotSeen");
    }

    #[test]
    fn pod_addresses_that_cannot_be_told_apart_are_unknown() {
        let seen = || Seen { pods_in_permitted_networks: Some("tools/shell".into()), ..Seen::well() };
        assert!(says(seen(), "NetworkEnforced", "Unknown", "PodAddressesUnclear").contains("tools/shell"));
        let told_apart = Seen { network: NetworkTier::ClusterNetworkPolicy, ..seen() };
        says(told_apart, "NetworkEnforced", "Unknown", "PluginNotSeen");
        says(seen(), "Ready", "True", "InForce");
    }

    #[test]
    fn a_cluster_that_is_not_in_the_country_is_not_ready() {
        for (mode, words) in [(Mode::Enforce, "nothing governed may start: "), (Mode::Audit, "could start: ")] {
            let mut seen = Seen::well();
            seen.mode = mode;
            seen.resolved.refused_because = Some("this cluster has no data center in CN with a verified node".into());
            let said = says(seen, "Ready", "False", "NoDataCenter");
            assert!(said.contains(words) && said.contains("CN"), "{said}");
        }
    }

    #[test]
    fn classes_that_do_not_stand_leave_storage_open() {
        let seen = || Seen { missing_classes: vec!["mainland-ssd".into()], ..Seen::well() };
        assert!(says(seen(), "StorageEnforced", "False", "ClassesMissing").contains("mainland-ssd"));
        says(seen(), "Ready", "False", "ClassesMissing");
        says(seen(), "PlacementEnforced", "True", "AdmissionPolicy");
    }

    #[test]
    fn unknown_is_not_compliant() {
        let unclear = finding(Unknown, "domicile/volume-location", "PersistentVolumeClaim", "data");
        let broken = finding(NonCompliant, "domicile/placement", "Pod", "web");
        says(Seen { findings: vec![unclear.clone()], ..Seen::well() }, "Compliant", "Unknown", "Unclear");
        let message =
            says(Seen { findings: vec![unclear, broken], ..Seen::well() }, "Compliant", "False", "NonCompliant");
        assert!(message.contains("Pod shop/web"), "{message}");
    }

    #[test]
    fn warn_and_audit_refuse_nothing_and_can_be_ready() {
        for (mode, reason) in [(Mode::Warn, "WarnOnly"), (Mode::Audit, "AuditOnly")] {
            for leg in ["PlacementEnforced", "StorageEnforced", "NetworkEnforced"] {
                says(Seen { mode, ..Seen::well() }, leg, "False", reason);
            }
            says(Seen { mode, ..Seen::well() }, "Ready", "True", "InForce");
        }
    }

    #[test]
    fn where_nothing_may_start_is_told_as_the_mode_has_it() {
        for (mode, words) in [
            (Mode::Enforce, "; nothing may start in store (wide)"),
            (Mode::Warn, "; with enforcement: Enforce nothing could start in store (wide)"),
        ] {
            let seen = Seen { mode, refused_because: Some("wide"), ..Seen::well() };
            let message = says(seen, "Ready", "True", "InForce");
            assert!(message.ends_with(words), "{message}");
        }
    }
}
