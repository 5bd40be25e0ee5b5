//! The rules of the chart's `network.yaml`, said for tenants' policies that stand already.
//!
//! Network policies add up and none can take away, so one wide policy of a tenant opens what the isolating policy closes.
//! Judged is what stands, not what narrowing would make of it: a wide policy is a finding until it is narrowed. Only what
//! the operator writes on namespaces makes a peer; what cannot be read is foreign.

use std::collections::BTreeSet;

use k8s_openapi::{
    api::networking::v1::{IPBlock, NetworkPolicyPeer, NetworkPolicySpec},
    apimachinery::pkg::apis::meta::v1::LabelSelector,
};

use crate::{
    domain::{Cidr, Confinement, Finding, Ingress, Leg, Subject, Verdict, keys},
    observe::{Key, Policy},
};

use super::Scene;

/// A rule without peers, or with an ipBlock of every address.
pub const ANY: &str = "domicile/network-any";
/// An ipBlock that is not inside a permitted network.
pub const FOREIGN: &str = "domicile/network-foreign";
/// A namespaceSelector that may select namespaces that are no peers.
pub const NAMESPACE: &str = "domicile/network-namespace";
/// A policy larger than the API server judges.
pub const SIZE: &str = "domicile/network-size";

const ANY_ADDRESS: [&str; 2] = ["0.0.0.0/0", "::/0"];
const NAMESPACE_NAME: &str = "kubernetes.io/metadata.name";
/// Where the cluster's DNS lives: `dnsNamespaces` of the policy, which keeps to namespaces that are never governed. In
/// `openshift-dns`, which is not among them, a tenant of another distribution could run what he likes.
const DNS_NAMESPACES: [&str; 1] = ["kube-system"];
const DNS_APPS: [&str; 3] = ["kube-dns", "coredns", "node-local-dns"];
const OPENSHIFT_DNS: &str = "dns.operator.openshift.io/daemonset-dns";
/// So many networks or values are named in words; more are counted.
const IN_WORDS: usize = 8;

/// One rule that a policy breaks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Stable id, as refusals of the same rule begin with it, without brackets.
    pub rule: &'static str,
    /// What is so, with the value that decided.
    pub message: String,
    /// What to do.
    pub remedy: String,
}

/// What `network.yaml` would refuse in `policy` where nothing narrows it. One that is too large is not looked into.
#[must_use]
pub fn violations(policy: &NetworkPolicySpec, confinement: &Confinement) -> Vec<Violation> {
    let rules = rules(policy, confinement);
    match too_large(&rules, confinement) {
        Some(violation) => vec![violation],
        None => opened(&rules, confinement),
    }
}

/// Whether `policy` opens more than is permitted; a large one is judged as any other.
#[must_use]
pub fn opens_more(policy: &NetworkPolicySpec, confinement: &Confinement) -> bool {
    !opened(&rules(policy, confinement), confinement).is_empty()
}

/// Judges every policy that is not Domicile's own. The mark alone does not make it that, and a policy that is being deleted
/// opens until it is gone.
pub(super) fn audit(scene: &Scene<'_>) -> Vec<Finding> {
    let confinement = &scene.confined.confinement;
    let mut findings = Vec::new();
    for (key, policy) in scene.policies.iter().filter(|(key, policy)| !is_own(key, policy)) {
        let found = opened(&rules(&policy.spec, confinement), confinement);
        findings.extend(found.into_iter().map(|violation| finding(key, policy, violation)));
    }
    findings
}

/// Whether Domicile wrote the policy: by name and mark, as it writes both.
#[must_use]
pub fn is_own(key: &Key, policy: &Policy) -> bool {
    policy.managed && [keys::ISOLATING_POLICY, keys::PERMITTING_POLICY].contains(&key.name.as_str())
}

fn finding(key: &Key, policy: &Policy, violation: Violation) -> Finding {
    let Violation { rule, mut message, mut remedy } = violation;
    if policy.terminating {
        message.push_str("; it is being deleted, and holds until that is done");
        "see which finalizers keep it".clone_into(&mut remedy);
    }
    let subject = Subject::namespaced("NetworkPolicy", &key.namespace, &key.name, &policy.uid);
    Finding { verdict: Verdict::NonCompliant, leg: Leg::Network, rule, subject, message, remedy }
}

/// One rule of either direction.
struct Rule<'a> {
    name: String,
    outwards: bool,
    peers: &'a [NetworkPolicyPeer],
}

fn rules<'a>(policy: &'a NetworkPolicySpec, confinement: &Confinement) -> Vec<Rule<'a>> {
    let egress = policy.egress.iter().flatten().enumerate().map(|(position, rule)| Rule {
        name: format!("spec.egress[{position}]"),
        outwards: true,
        peers: rule.to.as_deref().unwrap_or_default(),
    });
    let judged = policy.ingress.iter().flatten().filter(|_| confinement.ingress == Ingress::Restricted);
    let ingress = judged.enumerate().map(|(position, rule)| Rule {
        name: format!("spec.ingress[{position}]"),
        outwards: false,
        peers: rule.from.as_deref().unwrap_or_default(),
    });
    egress.chain(ingress).collect()
}

/// The bounds of the policy's `isJudgeable`.
fn too_large(rules: &[Rule<'_>], confinement: &Confinement) -> Option<Violation> {
    let peers = || rules.iter().flat_map(|rule| rule.peers);
    let literal: BTreeSet<String> = confinement.networks.iter().map(ToString::to_string).collect();
    let compared = peers().filter_map(|peer| peer.ip_block.as_ref());
    let compared = compared.filter(|block| !literal.contains(&block.cidr) && !is_any(block)).count();
    let longest = peers().filter_map(longest_selector).max().unwrap_or_default();
    let is_judgeable = rules.len() <= 100
        && peers().count() <= 2000
        && longest <= 30
        && compared.saturating_mul(confinement.networks.len()) <= 20_000;
    (!is_judgeable).then(|| Violation {
        rule: SIZE,
        message: format!(
            "it has {} rules and is larger than what is judged in one piece: 100 rules, 2000 peers, 30 expressions in a selector, 20000 comparisons of ipBlocks with the {} permitted networks",
            rules.len(),
            confinement.networks.len(),
        ),
        remedy: "write it in several policies, and permitted networks as they are listed".to_owned(),
    })
}

/// Expressions in a peer's selectors, where the policy looks into them.
fn longest_selector(peer: &NetworkPolicyPeer) -> Option<usize> {
    let size = |selector: &LabelSelector| selector.match_expressions.as_ref().map_or(0, Vec::len);
    let namespaces = size(peer.namespace_selector.as_ref()?);
    Some(namespaces.max(peer.pod_selector.as_ref().map_or(0, size)))
}

/// What the rules open beyond what is permitted: at most one violation of each rule, with the first value that decided.
fn opened(rules: &[Rule<'_>], confinement: &Confinement) -> Vec<Violation> {
    let networks = networks_in_words(confinement);
    let peers = peers_in_words(confinement);
    let dns = "for DNS namespaceSelector with matchLabels {kubernetes.io/metadata.name: kube-system} and podSelector with matchLabels {k8s-app: kube-dns}";
    let violation = |rule, found: Vec<String>, suffix: String, remedy: String| {
        let (first, others) = found.split_first()?;
        let more = if others.is_empty() { String::new() } else { format!(" (and {} more)", others.len()) };
        Some(Violation { rule, message: format!("{first}{more}{suffix}"), remedy })
    };
    let any = violation(
        ANY,
        any_address(rules),
        String::new(),
        format!(
            "name what is permitted, as much as is needed: ipBlocks inside {networks}; {peers}; podSelector alone for the own namespace; {dns}"
        ),
    );
    let foreign = violation(
        FOREIGN,
        foreign_blocks(rules, confinement),
        format!(", which does not lie inside {networks}"),
        "name an ipBlock inside one of the permitted networks, or have the destination added to the residency"
            .to_owned(),
    );
    let namespaces = violation(
        NAMESPACE,
        foreign_namespaces(rules, confinement),
        " selects namespaces that need not be peers".to_owned(),
        format!("write {peers}, beside what it demands already; {dns}"),
    );
    [any, foreign, namespaces].into_iter().flatten().collect()
}

/// Every address, without exceptions. What has exceptions is judged as a block like any other.
fn is_any(block: &IPBlock) -> bool {
    let has_exceptions = block.except.as_ref().is_some_and(|except| !except.is_empty());
    ANY_ADDRESS.contains(&block.cidr.as_str()) && !has_exceptions
}

/// A peer that says nothing would be any address; the API server refuses it, so it is never seen.
fn says_nothing(peer: &NetworkPolicyPeer) -> bool {
    let NetworkPolicyPeer { ip_block, namespace_selector, pod_selector } = peer;
    ip_block.is_none() && namespace_selector.is_none() && pod_selector.is_none()
}

fn any_address(rules: &[Rule<'_>]) -> Vec<String> {
    let without_peers = rules.iter().filter(|rule| rule.peers.is_empty() || rule.peers.iter().any(says_nothing));
    let with_any = rules.iter().filter(|rule| rule.peers.iter().filter_map(|peer| peer.ip_block.as_ref()).any(is_any));
    without_peers
        .map(|rule| format!("{} names no peer, which is any address", rule.name))
        .chain(with_any.map(|rule| format!("{} names any address (0.0.0.0/0 or ::/0)", rule.name)))
        .collect()
}

fn foreign_blocks(rules: &[Rule<'_>], confinement: &Confinement) -> Vec<String> {
    let is_permitted = |block: &IPBlock| {
        block.cidr.parse::<Cidr>().is_ok_and(|cidr| confinement.networks.iter().any(|network| network.contains(&cidr)))
    };
    let mut found = Vec::new();
    for rule in rules {
        let blocks = rule.peers.iter().filter_map(|peer| peer.ip_block.as_ref());
        let foreign = blocks.filter(|block| !is_any(block) && !is_permitted(block));
        found.extend(foreign.map(|block| format!("{} names ipBlock {}", rule.name, block.cidr)));
    }
    found
}

fn foreign_namespaces(rules: &[Rule<'_>], confinement: &Confinement) -> Vec<String> {
    let is_foreign = |rule: &Rule<'_>, peer: &NetworkPolicyPeer| {
        peer.namespace_selector.as_ref().is_some_and(|namespaces| {
            let is_dns = rule.outwards && selects_dns(namespaces, peer.pod_selector.as_ref());
            !is_dns && !selects_peers(namespaces, &confinement.peers)
        })
    };
    let foreign = rules.iter().filter(|rule| rule.peers.iter().any(|peer| is_foreign(rule, peer)));
    foreign.map(|rule| rule.name.clone()).collect()
}

/// Namespaces confined for the same, enforced, and with no pod outside.
fn selects_peers(namespaces: &LabelSelector, confined_for: &[String]) -> bool {
    demands(namespaces, keys::CONFINED_FOR, |value| confined_for.iter().any(|own| own == value))
        && demands(namespaces, keys::ENFORCEMENT, |value| value == "Enforce")
        && demands(namespaces, keys::PEER, |value| value == "true")
}

/// The cluster's DNS: its pods, in its namespace.
fn selects_dns(namespaces: &LabelSelector, pods: Option<&LabelSelector>) -> bool {
    let is_dns_pod = |pods: &LabelSelector| {
        demands(pods, "k8s-app", |value| DNS_APPS.contains(&value)) || demands_any(pods, OPENSHIFT_DNS)
    };
    demands(namespaces, NAMESPACE_NAME, |value| DNS_NAMESPACES.contains(&value)) && pods.is_some_and(is_dns_pod)
}

/// Whether everything that is selected has a label with one of the values that `permits` says. A selector's parts hold
/// together, so one part that demands enough is enough, whatever stands beside it.
fn demands(selector: &LabelSelector, key: &str, permits: impl Fn(&str) -> bool) -> bool {
    let by_label =
        selector.match_labels.as_ref().and_then(|labels| labels.get(key)).is_some_and(|value| permits(value));
    by_label
        || selector.match_expressions.iter().flatten().any(|demand| {
            let values = demand.values.as_deref().unwrap_or_default();
            demand.key == key
                && demand.operator == "In"
                && !values.is_empty()
                && values.iter().all(|value| permits(value))
        })
}

/// Whether everything that is selected has the label, with whatever value.
fn demands_any(selector: &LabelSelector, key: &str) -> bool {
    let exists =
        selector.match_expressions.iter().flatten().any(|demand| demand.key == key && demand.operator == "Exists");
    exists || demands(selector, key, |_| true)
}

fn listed<T: ToString>(items: &[T]) -> String {
    items.iter().take(IN_WORDS).map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

fn networks_in_words(confinement: &Confinement) -> String {
    match confinement.networks.len().saturating_sub(IN_WORDS) {
        _ if confinement.networks.is_empty() => "no network".to_owned(),
        0 => listed(&confinement.networks),
        more => format!(
            "{} and {more} more in annotation {} of the namespace",
            listed(&confinement.networks),
            keys::NETWORKS
        ),
    }
}

fn peers_in_words(confinement: &Confinement) -> String {
    if confinement.peers.is_empty() {
        return "no namespaceSelector, since no namespace is a peer".to_owned();
    }
    format!(
        "namespaceSelector with matchExpressions [{{key: {}, operator: In, values: [{}]}}, {{key: {}, operator: In, values: [Enforce]}}, {{key: {}, operator: In, values: [\"true\"]}}]",
        keys::CONFINED_FOR,
        listed(&confinement.peers),
        keys::ENFORCEMENT,
        keys::PEER,
    )
}
