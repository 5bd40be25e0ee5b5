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
    domain::{Cidr, Confinement, Finding, Ingress, Leg, Mode, Subject, TenantPolicies, Verdict, keys},
    observe::{Key, Policy},
};

use super::{
    Scene,
    peers::{selects_dns, selects_peers},
};

/// A rule without peers, or with an ipBlock of every address.
pub const ANY: &str = "domicile/network-any";
/// An ipBlock that is not inside a permitted network.
pub const FOREIGN: &str = "domicile/network-foreign";
/// A namespaceSelector that may select namespaces that are no peers.
pub const NAMESPACE: &str = "domicile/network-namespace";
/// A policy larger than the API server judges.
pub const SIZE: &str = "domicile/network-size";

const ANY_ADDRESS: [&str; 2] = ["0.0.0.0/0", "::/0"];
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
    let narrows = confinement.mode != Mode::Enforce && confinement.tenant_policies == TenantPolicies::Narrow;
    let mut findings = Vec::new();
    for (key, policy) in scene.policies.iter().filter(|(key, policy)| !is_own(key, policy)) {
        let found = opened(&rules(&policy.spec, confinement), confinement);
        for mut violation in found {
            if narrows && [ANY, NAMESPACE].contains(&violation.rule) {
                violation.remedy.push_str("; or leave it: when the mode is Enforce it is narrowed to that");
            }
            findings.push(finding(key, policy, violation));
        }
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

/// The bounds of the policy's `isBounded` and `isJudgeable`.
fn too_large(rules: &[Rule<'_>], confinement: &Confinement) -> Option<Violation> {
    let networks = confinement.networks.len();
    let literal: BTreeSet<String> = confinement.networks.iter().map(ToString::to_string).collect();
    let peers: Vec<&NetworkPolicyPeer> = rules.iter().flat_map(|rule| rule.peers).collect();
    let blocks = peers.iter().filter_map(|peer| peer.ip_block.as_ref());
    let compared = blocks.filter(|block| !literal.contains(&block.cidr)).count();
    let selectors: Vec<usize> = peers.iter().filter_map(|peer| longest_selector(peer)).collect();
    let is_judgeable = rules.len() <= 100
        && peers.len() <= 600
        && peers.len().saturating_mul(networks) <= 200_000
        && selectors.len() <= 100
        && selectors.iter().all(|longest| *longest <= 15)
        && compared.saturating_mul(networks) <= 5000;
    (!is_judgeable).then(|| Violation {
        rule: SIZE,
        message: format!(
            "it has {} rules, and with {networks} permitted networks it is larger than what is judged: 100 rules, 600 peers, 100 namespaceSelectors, 15 expressions in each, peers times networks 200000, ipBlocks that are no permitted network times networks 5000",
            rules.len(),
        ),
        remedy: "write it in several policies, or name permitted networks as they are listed".to_owned(),
    })
}

/// Expressions in the longer of a peer's selectors, where the policy looks into them.
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

fn listed<T: ToString>(items: &[T]) -> String {
    items.iter().take(IN_WORDS).map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

pub(super) fn networks_in_words(confinement: &Confinement) -> String {
    match confinement.networks.len().saturating_sub(IN_WORDS) {
        _ if confinement.networks.is_empty() => "any permitted network, of which there is none".to_owned(),
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::fixture::{Stage, confinement};
    use proptest::prelude::*;
    use serde_json::{Value, json};

    fn spec(spec: Value) -> NetworkPolicySpec {
        serde_json::from_value(spec).unwrap()
    }

    /// The rules that one egress rule with these peers breaks.
    fn egress(peers: Value) -> Vec<&'static str> {
        let policy = spec(json!({"podSelector": {}, "policyTypes": ["Egress"], "egress": [{"to": peers}]}));
        violations(&policy, &confinement()).iter().map(|violation| violation.rule).collect()
    }

    fn ingress(peers: Value) -> Vec<&'static str> {
        let policy = spec(json!({"podSelector": {}, "ingress": [{"from": peers}]}));
        violations(&policy, &confinement()).iter().map(|violation| violation.rule).collect()
    }

    fn block(cidr: &str) -> Value {
        json!([{"ipBlock": {"cidr": cidr}}])
    }

    #[test]
    fn a_policy_that_opens_nothing_or_the_own_namespace_is_permitted() {
        assert!(
            violations(&spec(json!({"podSelector": {}, "policyTypes": ["Ingress", "Egress"]})), &confinement())
                .is_empty()
        );
        assert!(egress(json!([{"podSelector": {}}])).is_empty());
        assert!(ingress(json!([{"podSelector": {"matchLabels": {"app": "web"}}}])).is_empty());
    }

    #[test]
    fn no_peer_and_every_address_are_any() {
        assert_eq!(egress(json!([])), [ANY]);
        assert_eq!(egress(block("0.0.0.0/0")), [ANY]);
        assert_eq!(ingress(block("::/0")), [ANY]);
        let bare = spec(json!({"podSelector": {}, "egress": [{}]}));
        let found = violations(&bare, &confinement());
        assert_eq!(found[0].message, "spec.egress[0] names no peer, which is any address");
        assert!(found[0].remedy.contains("10.20.0.0/16, 10.21.0.0/16"), "{}", found[0].remedy);
    }

    #[test]
    fn a_block_inside_a_permitted_network_is_permitted_and_any_other_is_foreign() {
        assert!(egress(block("10.20.0.0/16")).is_empty());
        assert!(egress(block("10.21.7.0/24")).is_empty());
        assert!(egress(json!([{"ipBlock": {"cidr": "10.20.0.0/16", "except": ["10.20.128.0/17"]}}])).is_empty());
        for cidr in ["8.8.8.8/32", "10.0.0.0/8", "0.0.0.0/1", "::ffff:10.20.0.0/112", "0.0.0.0/00", "nonsense"] {
            assert_eq!(egress(block(cidr)), [FOREIGN], "{cidr}");
        }
        assert_eq!(egress(json!([{"ipBlock": {"cidr": "0.0.0.0/0", "except": ["8.0.0.0/7"]}}])), [FOREIGN]);
        assert_eq!(egress(json!([{"ipBlock": {"cidr": "0.0.0.0/0", "except": []}}])), [ANY]);
    }

    #[test]
    fn namespaces_that_need_not_be_peers_are_foreign() {
        let everywhere = || json!([{"namespaceSelector": {}}]);
        assert_eq!(egress(everywhere()), [NAMESPACE]);
        assert_eq!(ingress(everywhere()), [NAMESPACE]);
        let dns = || json!([{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "kube-system"}}, "podSelector": {"matchLabels": {"k8s-app": "kube-dns"}}}]);
        assert!(egress(dns()).is_empty(), "outwards");
        assert_eq!(ingress(dns()), [NAMESPACE], "the cluster's DNS has no business inwards");
    }

    #[test]
    fn open_ingress_is_not_judged() {
        let policy = spec(json!({"podSelector": {}, "ingress": [{}]}));
        assert!(opens_more(&policy, &confinement()));
        assert!(!opens_more(&policy, &Confinement { ingress: Ingress::Open, ..confinement() }));
    }

    #[test]
    fn each_rule_is_told_once_with_the_first_value() {
        let policy =
            spec(json!({"podSelector": {}, "egress": [{"to": block("8.8.8.8/32")}, {"to": block("9.9.9.9/32")}]}));
        let found = violations(&policy, &confinement());
        assert_eq!(found.len(), 1);
        assert_eq!(
            found[0].message,
            "spec.egress[0] names ipBlock 8.8.8.8/32 (and 1 more), which does not lie inside 10.20.0.0/16, 10.21.0.0/16"
        );
    }

    #[test]
    fn a_policy_too_large_for_the_api_server_is_refused_by_it_and_judged_here() {
        let policy = |cidr: &str| spec(json!({"podSelector": {}, "egress": vec![json!({"to": block(cidr)}); 101]}));
        assert_eq!(violations(&policy("10.20.0.0/16"), &confinement())[0].rule, SIZE);
        assert!(!opens_more(&policy("10.20.0.0/16"), &confinement()));
        assert!(opens_more(&policy("8.8.8.8/32"), &confinement()));
    }

    #[test]
    fn the_bounds_are_those_of_the_policy() {
        let peer = |expressions: usize| {
            let demands = vec![json!({"key": "team", "operator": "Exists"}); expressions];
            json!({"namespaceSelector": {"matchExpressions": demands}})
        };
        let network = json!({"ipBlock": {"cidr": "10.20.0.0/16"}});
        let is_size = |peer: Value, number: usize| egress(json!(vec![peer; number])) == [SIZE];
        assert!(!is_size(network.clone(), 600) && is_size(network, 601));
        assert!(!is_size(peer(15), 1) && is_size(peer(16), 1));
        assert!(!is_size(peer(1), 100) && is_size(peer(1), 101));
        let networks: Vec<Cidr> = (0..10).map(|number| format!("10.{number}.0.0/16").parse().unwrap()).collect();
        let blocks = |number: usize| {
            let peers = vec![json!({"ipBlock": {"cidr": "10.7.1.0/24"}}); number];
            let policy = spec(json!({"podSelector": {}, "egress": [{"to": peers}]}));
            violations(&policy, &Confinement { networks: networks.clone(), ..confinement() })
        };
        assert!(blocks(500).is_empty() && blocks(501)[0].rule == SIZE);
        let text = include_str!("../../charts/domicile/policies/network.yaml");
        let words = blocks(501)[0].message.rsplit_once("judged: ").unwrap().1.to_owned();
        assert!(text.contains(&words), "the policy says other bounds: {words}");
    }

    #[test]
    fn the_mark_alone_does_not_make_a_policy_ours() {
        let mut stage = Stage::new();
        stage.policy("domicile-permit", json!({"podSelector": {}, "egress": [{}]}));
        assert_eq!(stage.one(audit).rule, ANY);
        stage.policies.values_mut().for_each(|policy| policy.managed = true);
        assert!(audit(&stage.scene()).is_empty());
        stage.policies.clear();
        stage.policy("mine", json!({"podSelector": {}, "egress": [{}]}));
        stage.policies.values_mut().for_each(|policy| policy.managed = true);
        assert_eq!(stage.one(audit).rule, ANY);
    }

    #[test]
    fn a_policy_that_is_being_deleted_opens_until_it_is_gone() {
        let mut stage = Stage::new();
        stage.policy("wide", json!({"podSelector": {}, "egress": [{}]}));
        stage.policies.values_mut().for_each(|policy| policy.terminating = true);
        assert!(stage.one(audit).message.contains("being deleted"));
    }

    proptest! {
        #[test]
        fn permitting_less_never_permits_more(
            blocks in proptest::collection::vec((any::<u32>(), 0u8..=32), 1..6),
            networks in proptest::collection::vec((any::<u32>(), 0u8..=16), 0..5),
            kept in 0usize..5,
        ) {
            let text = |(address, length): &(u32, u8)| {
                format!("{}/{length}", std::net::Ipv4Addr::from(*address)).parse::<Cidr>().unwrap()
            };
            let peers: Vec<Value> = blocks.iter().map(|one| json!({"ipBlock": {"cidr": text(one).to_string()}})).collect();
            let policy = spec(json!({"podSelector": {}, "egress": [{"to": peers}]}));
            let all: Vec<Cidr> = networks.iter().map(text).collect();
            let fewer: Vec<Cidr> = all.iter().take(kept).copied().collect();
            let opens = |networks: Vec<Cidr>| opens_more(&policy, &Confinement { networks, ..confinement() });
            prop_assert!(!opens(all) || opens(fewer));
        }
    }
}
