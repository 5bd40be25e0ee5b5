//! The rules of the chart's `network.yaml`, said for tenants' policies that stand already.
//!
//! Network policies add up and none can take away, so one wide policy of a tenant opens what the isolating policy closes.
//! Judged is what stands, not what narrowing would make of it: a wide policy is a finding until it is narrowed. Only what
//! the operator writes on namespaces makes a peer; what cannot be read is foreign.

use std::{borrow::Cow, collections::BTreeSet};

use crate::{
    compile::network::{isolating, permitting},
    domain::{Confinement, Finding, Ingress, Leg, Mode, Subject, TenantPolicies, Verdict, keys},
    observe::{
        Fingerprint, Key, Policy,
        network_policy::{Direction, Opens, Rule, Size, Written},
    },
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

/// What `network.yaml` would refuse in a policy where nothing narrows it. One that is too large is not looked into.
#[must_use]
pub fn violations(policy: &Opens, confinement: &Confinement) -> Vec<Violation> {
    let rules = rules(policy, confinement);
    if policy.unreadable || is_too_large(&rules, size(policy, confinement), confinement) {
        return vec![too_large(policy, confinement)];
    }
    opened(&rules, confinement)
}

/// Whether `policy` opens more than is permitted, or cannot be told not to, since it is too large.
#[must_use]
pub fn opens_more(policy: &Opens, confinement: &Confinement) -> bool {
    let rules = rules(policy, confinement);
    !is_judged(policy, confinement)
        || any_address(&rules).next().is_some()
        || foreign_blocks(&rules, confinement).next().is_some()
        || foreign_namespaces(&rules, confinement).next().is_some()
}

/// Judges every policy that is not Domicile's own alone. The mark alone does not make it that, and a policy that is being deleted
/// opens until it is gone. What the API server would only find too large is judged, as far as it was kept.
pub(super) fn audit(scene: &Scene<'_>) -> impl Iterator<Item = Finding> {
    // Of Domicile's own, one that somebody holds says what it said, until it is taken over.
    let own = || [Some(isolating()), permitting(scene.confined)];
    let is_as_wanted = move |policy: &Policy| own().iter().flatten().any(|spec| Fingerprint::of(spec) == policy.spec);
    let is_held = move |policy: &Policy| (policy.terminating || policy.encumbered) && !is_as_wanted(policy);
    let judged = scene.policies.iter().filter(move |(key, policy)| !is_own(key, policy) || is_held(policy));
    judged.flat_map(|(key, policy)| judge(key, policy, &scene.confined.confinement))
}

fn judge(key: &Key, policy: &Policy, confinement: &Confinement) -> Vec<Finding> {
    let narrows = confinement.mode != Mode::Enforce && confinement.tenant_policies == TenantPolicies::Narrow;
    let mut findings = Vec::new();
    if !is_judged(&policy.opens, confinement) {
        let unknown = finding(key, policy, too_large(&policy.opens, confinement));
        findings.push(Finding { verdict: Verdict::Unknown, ..unknown });
    }
    for mut violation in opened(&rules(&policy.opens, confinement), confinement) {
        if narrows && [ANY, NAMESPACE].contains(&violation.rule) {
            violation.remedy.push_str("; or leave it: when the mode is Enforce it is narrowed to that");
        }
        findings.push(finding(key, policy, violation));
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

/// The directions that are judged.
fn judged<'a>(policy: &'a Opens, confinement: &Confinement) -> impl Iterator<Item = &'a Direction> {
    let ingress = (confinement.ingress == Ingress::Restricted).then_some(&policy.ingress);
    std::iter::once(&policy.egress).chain(ingress)
}

fn size(policy: &Opens, confinement: &Confinement) -> Size {
    judged(policy, confinement).map(|direction| direction.size).fold(Size::default(), Size::and)
}

/// Whether the policy could be read, and is not too large for anybody to look into.
#[must_use]
pub fn is_judged(policy: &Opens, confinement: &Confinement) -> bool {
    !policy.unreadable && judged(policy, confinement).all(|direction| direction.size.is_judged())
}

/// One rule of either direction.
struct Named<'a> {
    name: String,
    outwards: bool,
    rule: &'a Rule,
}

fn rules<'a>(policy: &'a Opens, confinement: &Confinement) -> Vec<Named<'a>> {
    let named = |(direction, outwards): (&'a Direction, bool)| {
        let field = if outwards { "egress" } else { "ingress" };
        let rules = direction.rules.iter().enumerate();
        rules.map(move |(position, rule)| Named { name: format!("spec.{field}[{position}]"), outwards, rule })
    };
    judged(policy, confinement).zip([true, false]).flat_map(named).collect()
}

/// The bounds of the policy's `isBounded` and `isJudgeable`; a block that a rule repeats is counted once.
fn is_too_large(rules: &[Named<'_>], size: Size, confinement: &Confinement) -> bool {
    let networks = confinement.networks.len();
    let literal: BTreeSet<String> = confinement.networks.iter().map(ToString::to_string).collect();
    let texts = |rule: &Rule| -> Vec<String> {
        let blocks = rule.blocks.iter().map(|block| block.cidr.to_string());
        rule.networks.iter().map(ToString::to_string).chain(blocks).collect()
    };
    let blocks = rules.iter().flat_map(|named| texts(named.rule));
    let compared = blocks.filter(|block| !literal.contains(block)).count();
    !(size.is_judged()
        && size.peers.saturating_mul(networks) <= 200_000
        && size.selectors <= 100
        && size.longest <= 15
        && compared.saturating_mul(networks) <= 5000)
}

fn too_large(policy: &Opens, confinement: &Confinement) -> Violation {
    let (Size { rules, peers, .. }, networks) = (size(policy, confinement), confinement.networks.len());
    let size = if policy.unreadable {
        "it is longer than 1 MiB, or cannot be parsed".to_owned()
    } else {
        format!("it has {rules} rules with {peers} peers")
    };
    Violation {
        rule: SIZE,
        message: format!(
            "{size}, and with {networks} permitted networks it is larger than what is judged: 100 rules, 600 peers, 100 namespaceSelectors, 15 expressions in each, peers times networks 200000, ipBlocks that are no permitted network times networks 5000",
        ),
        remedy: "write it in several policies, or name permitted networks as they are listed".to_owned(),
    }
}

/// What the rules open beyond what is permitted: at most one violation of each rule, with the first value that decided.
fn opened(rules: &[Named<'_>], confinement: &Confinement) -> Vec<Violation> {
    let dns = "for DNS namespaceSelector with matchLabels {kubernetes.io/metadata.name: kube-system} and podSelector with matchLabels {k8s-app: kube-dns}";
    let (networks, peers) = (|| networks_in_words(confinement), || peers_in_words(confinement));
    let any = first_of(any_address(rules), |(name, what)| format!("{name} {what}")).map(|message| Violation {
        rule: ANY,
        message,
        remedy: format!(
            "name what is permitted, as much as is needed: ipBlocks inside {}; {}; podSelector alone for the own namespace; {dns}",
            networks(),
            peers()
        ),
    });
    let named = |(name, block): (&str, Cow<'_, Written>)| format!("{name} names ipBlock {block}");
    let foreign = first_of(foreign_blocks(rules, confinement), named).map(|found| Violation {
        rule: FOREIGN,
        message: format!("{found}, which does not lie inside {}", networks()),
        remedy: "name an ipBlock inside one of the permitted networks, or leave this one out: what spec.network.egress.allow or ingress.allow of the DataResidency names, Domicile opens itself where annotation domicile.dev/permitting of the namespace is All (label domicile.dev/permit: All); API servers are permitted where spec.controlPlane.addresses of a DataCenter names them"
            .to_owned(),
    });
    let namespaces = first_of(foreign_namespaces(rules, confinement), str::to_owned).map(|found| Violation {
        rule: NAMESPACE,
        message: format!("{found} selects namespaces that need not be peers"),
        remedy: format!("write {}, beside what it demands already; {dns}", peers()),
    });
    [any, foreign, namespaces].into_iter().flatten().collect()
}

/// The first of what was found, in words, and how many more there are: a tenant can make many.
fn first_of<T>(mut found: impl Iterator<Item = T>, in_words: impl FnOnce(T) -> String) -> Option<String> {
    let first = in_words(found.next()?);
    Some(match found.count() {
        0 => first,
        more => format!("{first} (and {more} more)"),
    })
}

fn any_address<'a>(rules: &'a [Named<'_>]) -> impl Iterator<Item = (&'a str, &'static str)> {
    let bare = rules.iter().filter(|named| named.rule.is_bare);
    let with_any = rules.iter().filter(|named| named.rule.names_any());
    bare.map(|named| (named.name.as_str(), "names no peer, which is any address"))
        .chain(with_any.map(|named| (named.name.as_str(), "names any address (0.0.0.0/0 or ::/0)")))
}

fn foreign_blocks<'a>(
    rules: &'a [Named<'a>],
    confinement: &'a Confinement,
) -> impl Iterator<Item = (&'a str, Cow<'a, Written>)> {
    let is_permitted = |block: &Written| block.network().is_some_and(|cidr| cidr.lies_in(&confinement.networks));
    rules.iter().flat_map(move |Named { name, rule, .. }| {
        rule.named().filter(move |block| !is_permitted(block)).map(|block| (name.as_str(), block))
    })
}

fn foreign_namespaces<'a>(rules: &'a [Named<'_>], confinement: &'a Confinement) -> impl Iterator<Item = &'a str> {
    let is_foreign = |named: &&Named<'_>| {
        let mut demands = named.rule.namespaces.iter();
        !demands.all(|demand| (named.outwards && demand.is_dns) || demand.selects_peers(confinement))
    };
    rules.iter().filter(is_foreign).map(|named| named.name.as_str())
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
    use crate::{
        audit::fixture::{Stage, confinement},
        domain::Cidr,
    };
    use proptest::prelude::*;
    use serde_json::{Value, json};

    fn audit(scene: &Scene<'_>) -> Vec<Finding> {
        super::audit(scene).collect()
    }

    fn spec(spec: Value) -> Opens {
        Opens::read(&serde_json::from_value(spec).unwrap())
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

    /// The last two numbers of so many addresses.
    fn hosts(number: usize) -> impl Iterator<Item = String> {
        (0..number).map(|host| format!("{}.{}", host / 256, host % 256))
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
    fn a_policy_that_is_too_large_to_be_looked_into_is_not_known_to_open_nothing() {
        let policy =
            |rules: usize| json!({"podSelector": {}, "egress": vec![json!({"to": block("10.20.0.0/16")}); rules]});
        assert_eq!(violations(&spec(policy(101)), &confinement())[0].rule, SIZE);
        assert!(opens_more(&spec(policy(101)), &confinement()) && !opens_more(&spec(policy(100)), &confinement()));
        let mut stage = Stage::new();
        stage.policy("many", policy(101));
        let finding = stage.one(audit);
        assert_eq!((finding.rule, finding.verdict), (SIZE, Verdict::Unknown));
        assert!(finding.message.starts_with("it has 101 rules with 101 peers"), "{}", finding.message);
        stage.confined.confinement.ingress = Ingress::Open;
        stage.policy("many", json!({"podSelector": {}, "ingress": vec![json!({}); 101]}));
        assert!(audit(&stage.scene()).is_empty(), "what is not judged may be as large as it likes");
    }

    #[test]
    fn what_only_the_api_server_finds_too_large_is_judged_here() {
        let networks = (0..10).map(|number| format!("10.{number}.0.0/16").parse().unwrap()).collect();
        let confinement = Confinement { networks, ..confinement() };
        let policy = |network: &str| {
            let peers: Vec<Value> =
                hosts(501).map(|host| json!({"ipBlock": {"cidr": format!("{network}.{host}/32")}})).collect();
            spec(json!({"podSelector": {}, "egress": [{"to": peers}]}))
        };
        assert_eq!(violations(&policy("10.7"), &confinement)[0].rule, SIZE);
        assert!(!opens_more(&policy("10.7"), &confinement));
        assert!(opens_more(&policy("8.8"), &confinement));
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
            let peers: Vec<Value> =
                hosts(number).map(|host| json!({"ipBlock": {"cidr": format!("10.7.{host}/32")}})).collect();
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
    fn a_policy_of_ours_that_somebody_holds_is_judged() {
        for hold in [|policy: &mut Policy| policy.terminating = true, |policy: &mut Policy| policy.encumbered = true] {
            let mut stage = Stage::new();
            stage.policy("domicile-permit", json!({"podSelector": {}, "egress": [{}]}));
            stage.policies.values_mut().for_each(|policy| policy.managed = true);
            stage.policies.values_mut().for_each(hold);
            assert_eq!(stage.one(audit).rule, ANY);
        }
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
            let opens = |networks: &[Cidr]| {
                opens_more(&policy, &Confinement { networks: Cidr::without(networks, &[]), ..confinement() })
            };
            prop_assert!(!opens(&all) || opens(&fewer));
        }
    }
}
