//! Network policies, reduced to what they let through.
//!
//! A tenant makes single policies as large as the API takes (1.5 MiB), as many as he likes and in namespaces that are not
//! governed, too. What is kept of one is smaller than its text, and of one that is larger than the API server judges it is
//! only that it is.

use std::{borrow::Cow, collections::BTreeSet, fmt, net::IpAddr};

use k8s_openapi::{
    api::networking::v1::{IPBlock, NetworkPolicy, NetworkPolicyPeer, NetworkPolicyPort, NetworkPolicySpec},
    apimachinery::pkg::{apis::meta::v1::LabelSelector, util::intstr::IntOrString},
};

use super::{convert::is_managed, fingerprint::Fingerprint, peers::Demand};
use crate::domain::{Cidr, keys};

/// So many rules of a policy are judged, and kept of each direction: as many as `network.yaml` does.
pub const RULES: usize = 100;
/// So many peers: as many as `network.yaml` does.
pub const PEERS: usize = 600;

/// Of so many exceptions of a block each is known.
const EXCEPTIONS: usize = 64;

/// A network policy.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// Its UID.
    pub uid: String,
    /// What it lets through.
    pub opens: Opens,
    /// What its spec is, where it carries Domicile's mark.
    pub spec: Option<Fingerprint>,
    /// Whether it carries Domicile's mark.
    pub managed: bool,
    /// Whether it is being deleted.
    pub terminating: bool,
    /// Since when, in seconds of Unix time.
    pub ending_since: Option<i64>,
    /// Whether it has finalizers or owners, by which others could hold or end it, beside its plugin's.
    pub encumbered: bool,
    /// The finalizers by which a network plugin follows it.
    pub followed_by: Vec<&'static str>,
}

/// Finalizers by which network plugins learn that a policy ends; without its own, a plugin enforces none.
/// <https://github.com/aws/amazon-network-policy-controller-k8s>, internal/controllers/policy_controller.go
pub const PLUGINS_FINALIZERS: [&str; 1] = ["networking.k8s.aws/resources"];

impl From<NetworkPolicy> for Policy {
    fn from(policy: NetworkPolicy) -> Self {
        let (meta, spec) = (policy.metadata, policy.spec.unwrap_or_default());
        let managed = is_managed(&meta);
        let finalizers = meta.finalizers.unwrap_or_default();
        let is_plugins = |finalizer: &String| PLUGINS_FINALIZERS.contains(&finalizer.as_str());
        Self {
            opens: Opens::read(&spec),
            spec: managed.then(|| Fingerprint::of(&spec)).flatten(),
            managed,
            terminating: meta.deletion_timestamp.is_some(),
            ending_since: meta.deletion_timestamp.map(|at| at.0.as_second()),
            encumbered: !finalizers.iter().all(is_plugins)
                || meta.owner_references.as_ref().is_some_and(|all| !all.is_empty()),
            followed_by: PLUGINS_FINALIZERS
                .into_iter()
                .filter(|known| finalizers.iter().any(|own| own == known))
                .collect(),
            uid: meta.uid.unwrap_or_default(),
        }
    }
}

impl Policy {
    /// Whether it ends and opens nothing, so that it is as good as gone.
    #[must_use]
    pub fn is_spent(&self) -> bool {
        let Opens { egress, ingress, unreadable } = &self.opens;
        self.terminating && !unreadable && egress.size.rules == 0 && ingress.size.rules == 0
    }

    /// Whether it carries Domicile's mark and says this.
    #[must_use]
    pub fn says(&self, spec: &NetworkPolicySpec) -> bool {
        self.managed && self.spec.is_some() && self.spec == Fingerprint::of(spec)
    }

    /// Whether it carries Domicile's mark, says this, and is in nobody else's hands.
    #[must_use]
    pub fn stands_as(&self, spec: &NetworkPolicySpec) -> bool {
        self.says(spec) && !self.terminating && !self.encumbered
    }
}

/// What a policy lets through.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Opens {
    /// To where.
    pub egress: Direction,
    /// From where.
    pub ingress: Direction,
    /// Whether nobody knows, since the policy could not be read.
    pub unreadable: bool,
}

impl Opens {
    /// What `spec` lets through.
    #[must_use]
    pub fn read(spec: &NetworkPolicySpec) -> Self {
        let outwards = spec.egress.iter().flatten().map(|rule| Heard {
            peers: rule.to.as_deref().unwrap_or_default(),
            is_dns: rule.ports.as_deref().is_some_and(are_of_dns),
        });
        let inwards = spec.ingress.iter().flatten();
        let inwards = inwards.map(|rule| Heard { peers: rule.from.as_deref().unwrap_or_default(), is_dns: false });
        let (egress, ingress): (Vec<Heard<'_>>, Vec<Heard<'_>>) = (outwards.collect(), inwards.collect());
        Self { egress: Direction::read(&egress), ingress: Direction::read(&ingress), unreadable: false }
    }
}

/// What decides of a rule, as it is written.
#[derive(Clone, Copy)]
struct Heard<'a> {
    peers: &'a [NetworkPolicyPeer],
    /// Whether names are all that can be asked for by it.
    is_dns: bool,
}

fn are_of_dns(ports: &[NetworkPolicyPort]) -> bool {
    let is_dns =
        |port: &NetworkPolicyPort| port.port == Some(IntOrString::Int(keys::DNS_PORT)) && port.end_port.is_none();
    (1..=2).contains(&ports.len()) && ports.iter().all(is_dns)
}

/// The rules of one direction.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Direction {
    /// How large they are.
    pub size: Size,
    /// The rules; none where they are too large to be judged.
    pub rules: Vec<Rule>,
}

impl Direction {
    fn read(rules: &[Heard<'_>]) -> Self {
        let size = Size::of(rules);
        let kept = if size.is_judged() { rules } else { &[] };
        Self { size, rules: kept.iter().map(Rule::read).collect() }
    }
}

/// How large the rules of a policy are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Size {
    /// How many rules.
    pub rules: usize,
    /// How many peers in all of them.
    pub peers: usize,
    /// How many of the peers have a namespaceSelector.
    pub selectors: usize,
    /// Expressions in the longest selector of those.
    pub longest: usize,
}

impl Size {
    fn of(rules: &[Heard<'_>]) -> Self {
        let expressions = |selector: &LabelSelector| selector.match_expressions.as_ref().map_or(0, Vec::len);
        let peers = || rules.iter().flat_map(|rule| rule.peers);
        let selecting = || peers().filter(|peer| peer.namespace_selector.is_some());
        let selectors = || selecting().flat_map(|peer| [&peer.namespace_selector, &peer.pod_selector]).flatten();
        Self {
            rules: rules.len(),
            peers: peers().count(),
            selectors: selecting().count(),
            longest: selectors().map(expressions).max().unwrap_or_default(),
        }
    }

    /// Of both.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self {
            rules: self.rules.saturating_add(other.rules),
            peers: self.peers.saturating_add(other.peers),
            selectors: self.selectors.saturating_add(other.selectors),
            longest: self.longest.max(other.longest),
        }
    }

    /// Whether rules of this size are looked into.
    #[must_use]
    pub fn is_judged(self) -> bool {
        self.rules <= RULES && self.peers <= PEERS
    }
}

/// One rule.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rule {
    /// Whether it has no peer, or one that says nothing; both are any address.
    pub is_bare: bool,
    /// The blocks of addresses that it names, each once: those without exceptions that are written as they are told. The node's own
    /// DNS, asked for names alone, is none of them: it is permitted everywhere.
    pub networks: Box<[Cidr]>,
    /// All others, each once.
    pub blocks: Box<[Block]>,
    /// What it demands of namespaces, each once, for peers that have a namespaceSelector. Other peers are pods of the own
    /// namespace.
    pub namespaces: Box<[Demand]>,
}

impl Rule {
    fn read(Heard { peers, is_dns }: &Heard<'_>) -> Self {
        let is_judged = |block: &&IPBlock| !(*is_dns && block.cidr == keys::NODE_LOCAL_DNS);
        let named = || peers.iter().filter_map(|peer| peer.ip_block.as_ref()).filter(is_judged);
        let selectors =
            peers.iter().filter_map(|peer| Some((peer.namespace_selector.as_ref()?, peer.pod_selector.as_ref())));
        let networks: BTreeSet<Cidr> = named().filter_map(plain_network).collect();
        let blocks: BTreeSet<Block> = named().filter(|block| plain_network(block).is_none()).map(Block::read).collect();
        let demands: BTreeSet<Demand> = selectors.map(|(namespaces, pods)| Demand::read(namespaces, pods)).collect();
        Self {
            is_bare: peers.is_empty() || peers.iter().any(says_nothing),
            networks: networks.into_iter().collect(),
            blocks: blocks.into_iter().collect(),
            namespaces: demands.into_iter().collect(),
        }
    }

    /// Whether it names every address, without exceptions.
    #[must_use]
    pub fn names_any(&self) -> bool {
        self.networks.iter().any(Cidr::is_any)
    }

    /// Every block that is not every address without exceptions, as it is written.
    pub fn named(&self) -> impl Iterator<Item = Cow<'_, Written>> {
        let networks = self.networks.iter().filter(|network| !network.is_any());
        let networks = networks.map(|network| Cow::Owned(Written::Plainly(*network)));
        networks.chain(self.blocks.iter().map(|block| Cow::Borrowed(&block.cidr)))
    }

    /// Whether a block of it has this address.
    #[must_use]
    pub fn has(&self, address: IpAddr) -> bool {
        let inside = |cidr: &Cidr| cidr.contains_address(address);
        let names =
            |block: &Block| block.cidr.network().is_some_and(|cidr| inside(&cidr)) && !block.except.iter().any(inside);
        self.networks.iter().any(inside) || self.blocks.iter().any(names)
    }
}

/// The network of a block that has no exceptions and is written as it is told. What has exceptions is judged as a block like
/// any other, also where it is every address.
fn plain_network(block: &IPBlock) -> Option<Cidr> {
    let has_exceptions = block.except.as_ref().is_some_and(|except| !except.is_empty());
    match Written::read(&block.cidr) {
        Written::Plainly(network) if !has_exceptions => Some(network),
        Written::Plainly(_) | Written::Otherwise(_) => None,
    }
}

/// A network as somebody has written it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Written {
    /// As it is told.
    Plainly(Cidr),
    /// With host bits, in capitals, or so that it is none.
    Otherwise(Box<str>),
}

impl Written {
    fn read(text: &str) -> Self {
        match text.parse::<Cidr>() {
            Ok(network) if network.to_string() == text => Self::Plainly(network),
            Ok(_) | Err(_) => Self::Otherwise(text.into()),
        }
    }

    /// The network, where it is one.
    #[must_use]
    pub fn network(&self) -> Option<Cidr> {
        match self {
            Self::Plainly(network) => Some(*network),
            Self::Otherwise(text) => text.parse().ok(),
        }
    }
}

impl fmt::Display for Written {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Plainly(network) => network.fmt(out),
            Self::Otherwise(text) => out.write_str(text),
        }
    }
}

/// A peer that says nothing would be any address; the API server refuses it, so it is never seen.
fn says_nothing(peer: &NetworkPolicyPeer) -> bool {
    let NetworkPolicyPeer { ip_block, namespace_selector, pod_selector } = peer;
    ip_block.is_none() && namespace_selector.is_none() && pod_selector.is_none()
}

/// An ipBlock that has exceptions, or is no network as it is told.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Block {
    /// Which addresses.
    pub cidr: Written,
    /// The first of its exceptions.
    pub except: Box<[Cidr]>,
}

impl Block {
    fn read(block: &IPBlock) -> Self {
        let except = block.except.iter().flatten().take(EXCEPTIONS);
        Self { cidr: Written::read(&block.cidr), except: except.filter_map(|text| text.parse().ok()).collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn read(spec: Value) -> Opens {
        Opens::read(&serde_json::from_value(spec).unwrap())
    }

    #[test]
    fn of_what_is_larger_than_is_judged_only_the_size_is_kept() {
        let peers = |number: usize| json!([{"to": vec![json!({"podSelector": {}}); number]}]);
        let ingress = json!([{"from": [{"ipBlock": {"cidr": "10.0.0.0/8"}}]}]);
        let opens = read(json!({"podSelector": {}, "egress": peers(601), "ingress": ingress}));
        assert!(!opens.egress.size.is_judged() && opens.egress.rules.is_empty());
        assert_eq!(opens.egress.size, Size { rules: 1, peers: 601, ..Size::default() });
        assert_eq!(opens.ingress.rules.len(), 1, "the other direction is judged");
        assert_eq!(read(json!({"podSelector": {}, "egress": peers(600)})).egress.rules.len(), 1);
        let rules = |number: usize| read(json!({"podSelector": {}, "egress": vec![json!({}); number]})).egress;
        assert_eq!((rules(100).rules.len(), rules(101).rules.len()), (100, 0));
    }

    #[test]
    fn what_is_said_twice_is_kept_once() {
        let opens = read(
            json!({"podSelector": {}, "egress": [{"to": vec![json!({"namespaceSelector": {}}); 600]}, {"to": vec![json!({"ipBlock": {"cidr": "10.0.0.0/8"}}); 600]}]}),
        );
        assert!(opens.egress.rules.is_empty(), "too many");
        let opens = read(
            json!({"podSelector": {}, "egress": [{"to": vec![json!({"namespaceSelector": {}}); 300]}, {"to": vec![json!({"ipBlock": {"cidr": "10.0.0.0/8"}}); 300]}]}),
        );
        assert_eq!((opens.egress.rules[0].namespaces.len(), opens.egress.rules[1].networks.len()), (1, 1));
    }

    #[test]
    fn what_is_kept_of_a_peer_is_not_larger_than_its_text() {
        let demand = |number: usize| json!({"key": "domicile.dev/confined-for", "operator": "In", "values": vec!["mainland"; number]});
        let kept = |peer: Value| {
            format!("{:?}", read(json!({"podSelector": {}, "egress": [{"to": [peer]}]})).egress.rules).len()
        };
        let many = |number: usize| json!({"namespaceSelector": {"matchLabels": {"domicile.dev/enforcement": "Enforce", "domicile.dev/peer": "true"}, "matchExpressions": [demand(number)]}});
        assert!(kept(many(10_000)) < kept(many(20)));
        let team = |number: usize| json!({"namespaceSelector": {"matchExpressions": vec![json!({"key": "team", "operator": "Exists"}); number]}});
        assert_eq!(kept(team(1)), kept(team(10_000)));
        let block = |number: usize| json!({"ipBlock": {"cidr": "10.0.0.0/8", "except": vec!["10.1.0.0/16"; number]}});
        assert_eq!(kept(block(64)), kept(block(10_000)));
        assert_eq!(kept(json!({"podSelector": {}})), kept(json!({"podSelector": {"matchLabels": {"app": "web"}}})));
    }

    #[test]
    fn the_nodes_own_dns_asked_for_names_is_no_address_outside() {
        let opens = |cidr: &str, ports: Value| {
            let rule = json!([{"to": [{"ipBlock": {"cidr": cidr}}], "ports": ports}]);
            !read(json!({"podSelector": {}, "egress": rule})).egress.rules[0].networks.is_empty()
        };
        let dns = json!([{"port": 53, "protocol": "UDP"}, {"port": 53, "protocol": "TCP"}]);
        assert!(!opens(keys::NODE_LOCAL_DNS, dns.clone()));
        for (cidr, ports) in [
            ("169.254.169.254/32", dns),
            (keys::NODE_LOCAL_DNS, json!([])),
            (keys::NODE_LOCAL_DNS, json!([{"protocol": "UDP"}])),
            (keys::NODE_LOCAL_DNS, json!([{"port": 53, "endPort": 32767}])),
            (keys::NODE_LOCAL_DNS, json!([{"port": "dns"}])),
            (keys::NODE_LOCAL_DNS, json!([{"port": 53}, {"port": 30080}])),
        ] {
            assert!(opens(cidr, ports.clone()), "{cidr} {ports}");
        }
    }

    #[test]
    fn own_policies_are_known_by_what_they_say() {
        let spec = |cidr: &str| -> NetworkPolicySpec {
            serde_json::from_value(json!({"podSelector": {}, "egress": [{"to": [{"ipBlock": {"cidr": cidr}}]}]}))
                .unwrap()
        };
        let live = |labels: Value| -> Policy {
            let policy = json!({"metadata": {"labels": labels}, "spec": spec("10.0.0.0/8")});
            serde_json::from_value::<NetworkPolicy>(policy).unwrap().into()
        };
        let own = live(json!({"app.kubernetes.io/managed-by": "domicile"}));
        assert!(own.stands_as(&spec("10.0.0.0/8")) && !own.stands_as(&spec("11.0.0.0/8")));
        assert!(!live(json!({})).stands_as(&spec("10.0.0.0/8")), "without the mark");
        assert!(!Policy { encumbered: true, ..own.clone() }.stands_as(&spec("10.0.0.0/8")));
        assert!(!Policy { terminating: true, ..own }.stands_as(&spec("10.0.0.0/8")));
    }
}
