//! A tenant's NetworkPolicy that says more than is permitted is narrowed to what is permitted, where that is exact. As
//! `mutate-network.yaml`, whose head says what becomes of what.
//!
//! No peer is taken away and no list becomes empty, since an empty list means any address. Nothing is opened that the
//! tenant had left out. What is larger than the policy's bounds is left as it is, and judged.

use json_patch::Patch;
use serde_json::{Value, json};

use super::{
    field,
    peer::{self, Peer},
    set,
};
use crate::{
    domain::{Ingress, Mode, NOTHING, TenantPolicies, keys},
    observe::Namespace,
};

/// What is permitted in a namespace, as its confinement says it.
pub(super) struct Permitted {
    /// ipBlocks.
    pub networks: Vec<String>,
    /// Values of `confined-for` of peers; no namespace is ever confined for `none`.
    pub peers: Vec<String>,
    /// Whether anyone may open connections, so that rules for that are not looked at.
    ingress_is_open: bool,
}

impl Permitted {
    /// Reads a confinement; `None` where it does not narrow.
    fn of(space: &Namespace) -> Option<Self> {
        let says = |key: &str, value: String| space.annotations.get(key) == Some(&value);
        let enforces = space.labels.get(keys::ENFORCEMENT) == Some(&Mode::Enforce.to_string());
        if !enforces || !says(keys::TENANT_POLICIES, TenantPolicies::Narrow.to_string()) {
            return None;
        }
        let list = |key: &str| -> Vec<String> {
            let value = space.annotations.get(key).filter(|value| *value != NOTHING);
            value.map(|value| value.split(',').map(str::to_owned).collect()).unwrap_or_default()
        };
        let mut peers = list(keys::PEERS);
        if peers.is_empty() {
            peers.push("none".to_owned());
        }
        let ingress_is_open = says(keys::INGRESS, Ingress::Open.to_string());
        Some(Self { networks: list(keys::NETWORKS), peers, ingress_is_open })
    }

    /// The permitted networks of the family of `0.0.0.0/0` or `::/0`.
    fn of_family(&self, any: &str) -> Vec<&str> {
        let six = any.contains(':');
        self.networks.iter().map(String::as_str).filter(|network| network.contains(':') == six).collect()
    }
}

/// One rule of either direction.
struct Rule<'a> {
    /// `egress` or `ingress`, the rule's position, `to` or `from`.
    path: [String; 3],
    outwards: bool,
    /// Whether names are all that can be asked for by it.
    is_dns: bool,
    peers: &'a [Value],
}

/// Narrows the lists of peers that open more than is permitted.
pub(super) fn narrow(policy: &Value, space: &Namespace) -> Patch {
    let name = field(policy, &["metadata", "name"]).as_str().unwrap_or_default();
    let own = [keys::ISOLATING_POLICY, keys::PERMITTING_POLICY].contains(&name);
    let Some(permitted) = Permitted::of(space).filter(|_| !own) else { return Patch::default() };
    let rules = rules(policy, &permitted);
    if !is_narrowable(&rules, &permitted) {
        return Patch::default();
    }
    let narrowed = rules.iter().map(|rule| (rule, peers(rule, &permitted)));
    let changed = narrowed.filter(|(rule, peers)| rule.peers != peers);
    Patch(
        changed
            .map(|(rule, peers)| set(["spec"].into_iter().chain(rule.path.iter().map(String::as_str)), peers))
            .collect(),
    )
}

fn rules<'a>(policy: &'a Value, permitted: &Permitted) -> Vec<Rule<'a>> {
    let directions = [("egress", "to", true), ("ingress", "from", false)];
    let looked_at = directions.into_iter().filter(|(_, _, outwards)| *outwards || !permitted.ingress_is_open);
    let of = |(direction, list, outwards): (&str, &str, bool)| {
        let rules = elements(field(policy, &["spec", direction])).iter().enumerate();
        let (direction, list) = (direction.to_owned(), list.to_owned());
        rules.map(move |(position, rule)| Rule {
            path: [direction.clone(), position.to_string(), list.clone()],
            outwards,
            is_dns: outwards && is_dns(elements(field(rule, &["ports"]))),
            peers: elements(field(rule, &[&list])),
        })
    };
    looked_at.flat_map(of).collect()
}

fn is_dns(ports: &[Value]) -> bool {
    let port = |port: &Value| field(port, &["port"]) == keys::DNS_PORT && field(port, &["endPort"]).is_null();
    (1..=2).contains(&ports.len()) && ports.iter().all(port)
}

fn elements(list: &Value) -> &[Value] {
    list.as_array().map(Vec::as_slice).unwrap_or_default()
}

/// The bounds of the policy's `isBounded` and `isNarrowable`. How many there are comes first: what is compared with each
/// network is not more than that.
fn is_narrowable(rules: &[Rule<'_>], permitted: &Permitted) -> bool {
    let networks = permitted.networks.len();
    let fits = |count: usize| count <= 600 && count.saturating_mul(networks) <= 200_000;
    if rules.len() > 100 || !fits(rules.iter().map(|rule| rule.peers.len()).sum()) {
        return false;
    }
    let peers: Vec<Peer<'_>> =
        rules.iter().flat_map(|rule| rule.peers.iter().map(|peer| Peer::read(peer, rule.outwards))).collect();
    let is_permitted = |rule: &Rule<'_>, block: &str| {
        permitted.networks.iter().any(|own| own == block) || (rule.is_dns && block == keys::NODE_LOCAL_DNS)
    };
    let written = rules.iter().flat_map(|rule| rule.peers.iter().map(move |peer| (rule, peer)));
    let blocks = written.filter_map(|(rule, peer)| Some((rule, field(peer, &["ipBlock", "cidr"]).as_str()?)));
    let compared = blocks.filter(|(rule, block)| !is_permitted(rule, block)).count().saturating_mul(networks);
    let selectors = || peers.iter().filter(|peer| peer.selects_namespaces());
    let wide = rules.iter().filter(|rule| rule.peers.is_empty()).count()
        + peers.iter().filter(|peer| peer.is_any_address(permitted)).count()
        + selectors().filter(|peer| peer.is_any_namespace()).count();
    let after = peers.len() + wide * (networks + 4);
    fits(after) && selectors().count() + 3 * wide <= 100 && compared <= 5000 && selectors().all(Peer::is_short)
}

/// What a rule's list of peers becomes.
fn peers(rule: &Rule<'_>, permitted: &Permitted) -> Vec<Value> {
    if rule.peers.is_empty() {
        let mut all: Vec<Value> = permitted.networks.iter().map(|network| block(network)).collect();
        all.push(json!({"podSelector": {}}));
        all.push(json!({"namespaceSelector": {"matchExpressions": peer::demands(&permitted.peers)}}));
        all.extend(rule.outwards.then(peer::dns));
        return all;
    }
    let (mut narrowed, mut further, mut own, mut dns) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for written in rule.peers {
        let read = Peer::read(written, rule.outwards);
        match read.block.filter(|_| read.is_any_address(permitted)) {
            Some(any) => {
                let mut family = permitted.of_family(any).into_iter().map(block);
                narrowed.push(family.next().unwrap_or_else(peer::nothing));
                further.extend(family);
            }
            None => narrowed.push(read.narrowed(permitted)),
        }
        own.extend(read.lacks_own().then(|| json!({"podSelector": {}})));
        dns.extend(read.lacks_dns().then(peer::dns));
    }
    narrowed.into_iter().chain(further).chain(own).chain(dns).collect()
}

fn block(network: &str) -> Value {
    json!({"ipBlock": {"cidr": network}})
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        audit::network::{self, opens_more},
        domain::{Confinement, Mutation},
        observe::network_policy::Opens,
        webhook::decide::fixture::{mended, space, untouched, with_spec},
    };
    use proptest::prelude::*;

    const POLICIES: &str = "networking.k8s.io/networkpolicies";

    fn confinement() -> Confinement {
        Confinement {
            networks: ["10.20.0.0/16", "10.21.0.0/16", "fd00:20::/32"].map(|text| text.parse().unwrap()).into(),
            peers: vec!["mainland".into(), "mainland_battery".into()],
            mutation: Mutation::Webhook,
            ..Confinement::bare()
        }
    }

    fn confined(by: &Confinement) -> Namespace {
        let annotations = by.annotations();
        space("mainland", &annotations.iter().map(|(key, value)| (*key, value.as_str())).collect::<Vec<_>>())
    }

    fn egress(peers: &Value) -> Value {
        with_spec(json!({"podSelector": {}, "policyTypes": ["Egress"], "egress": [{"to": peers}]}))
    }

    /// What the peers of an egress rule become.
    #[track_caller]
    fn narrowed(peers: Value) -> Value {
        let here = confined(&confinement());
        mended(POLICIES, egress(&peers), Some(&here))["spec"]["egress"][0]["to"].clone()
    }

    fn demanding() -> Value {
        json!(peer::demands(&confinement().peers))
    }

    #[test]
    fn a_rule_without_peers_gets_what_is_permitted() {
        let here = confined(&confinement());
        let both = with_spec(json!({"egress": [{"ports": [{"port": 443}]}], "ingress": [{}]}));
        let spec = mended(POLICIES, both, Some(&here))["spec"].clone();
        let mut permitted = vec![block("10.20.0.0/16"), block("10.21.0.0/16"), block("fd00:20::/32")];
        permitted.push(json!({"podSelector": {}}));
        permitted.push(json!({"namespaceSelector": {"matchExpressions": demanding()}}));
        assert_eq!(spec["ingress"], json!([{"from": permitted}]));
        permitted.push(peer::dns());
        assert_eq!(spec["egress"], json!([{"to": permitted, "ports": [{"port": 443}]}]));
    }

    #[test]
    fn any_address_becomes_the_networks_of_its_family() {
        let own = json!({"podSelector": {}});
        let any = |cidr: &str| json!({"ipBlock": {"cidr": cidr}});
        let peers = narrowed(json!([any("0.0.0.0/0"), own, any("::/0")]));
        assert_eq!(peers, json!([any("10.20.0.0/16"), own, any("fd00:20::/32"), any("10.21.0.0/16")]));
        let bare = Confinement { networks: vec![], ..confinement() };
        let spec = mended(POLICIES, egress(&json!([any("0.0.0.0/0")])), Some(&confined(&bare)))["spec"].clone();
        assert_eq!(spec["egress"][0]["to"], json!([peer::nothing()]));
    }

    #[test]
    fn a_namespace_selector_demands_peers_as_well() {
        let labels = json!({"matchLabels": {"team": "maps"}});
        let peers = narrowed(json!([{"namespaceSelector": labels, "podSelector": {"matchLabels": {"app": "db"}}}]));
        assert_eq!(peers[0]["namespaceSelector"]["matchLabels"], labels["matchLabels"]);
        assert_eq!(peers[0]["namespaceSelector"]["matchExpressions"], demanding());
        assert_eq!(peers.as_array().unwrap().len(), 1);
        let every = narrowed(json!([{"namespaceSelector": {}}]));
        let own = json!({"podSelector": {}});
        assert_eq!(every, json!([{"namespaceSelector": {"matchExpressions": demanding()}}, own, peer::dns()]));
    }

    #[test]
    fn what_was_narrowed_follows_the_peers() {
        let old = json!([{"namespaceSelector": {"matchExpressions": peer::demands(&["mainland".into()])}}]);
        assert_eq!(narrowed(old), json!([{"namespaceSelector": {"matchExpressions": demanding()}}]));
    }

    #[test]
    fn dns_stays_dns() {
        let pods = json!({"matchLabels": {"k8s-app": "kube-dns"}});
        let peers = narrowed(json!([{"namespaceSelector": {}, "podSelector": pods}]));
        let there = json!([{"key": "kubernetes.io/metadata.name", "operator": "In", "values": ["kube-system"]}]);
        assert_eq!(peers, json!([{"namespaceSelector": {"matchExpressions": there}, "podSelector": pods}]));
        let named = json!({"matchLabels": {"kubernetes.io/metadata.name": "kube-system"}});
        let peers = narrowed(json!([{"namespaceSelector": named}]));
        assert_eq!(peers, json!([{"namespaceSelector": named, "podSelector": peer::dns()["podSelector"]}]));
    }

    #[test]
    fn what_is_permitted_or_cannot_be_mended_is_left() {
        let here = confined(&confinement());
        let left = |peers: Value| untouched(POLICIES, egress(&peers), Some(&here));
        left(json!([{"podSelector": {"matchLabels": {"app": "db"}}}]));
        left(json!([{"ipBlock": {"cidr": "10.20.5.0/24"}}, {"ipBlock": {"cidr": "8.8.8.0/24"}}]));
        left(json!([{"ipBlock": {"cidr": "0.0.0.0/0", "except": ["10.0.0.0/8"]}}]));
        left(json!(vec![json!({"ipBlock": {"cidr": "0.0.0.0/0"}}); 300]));
        let wide = || egress(&json!([]));
        let refusing = Confinement { tenant_policies: TenantPolicies::Refuse, ..confinement() };
        untouched(POLICIES, wide(), Some(&confined(&refusing)));
        untouched(POLICIES, wide(), Some(&space("mainland", &[])));
        let mut own = wide();
        own["metadata"]["name"] = json!(keys::ISOLATING_POLICY);
        untouched(POLICIES, own, Some(&here));
        let open = Confinement { ingress: Ingress::Open, ..confinement() };
        untouched(POLICIES, with_spec(json!({"ingress": [{}]})), Some(&confined(&open)));
    }

    fn any_peer() -> impl Strategy<Value = Value> {
        let block = prop::sample::select(vec!["0.0.0.0/0", "::/0", "10.20.0.0/16", "10.21.3.0/24"]);
        let key = || prop::sample::select(vec!["kubernetes.io/metadata.name", "team", keys::CONFINED_FOR, "k8s-app"]);
        let word = || prop::sample::select(vec!["kube-system", "kube-dns", "mainland", "maps"]);
        let demand =
            (key(), prop::sample::select(vec!["In", "NotIn", "Exists"]), word()).prop_map(|(key, operator, value)| {
                match operator {
                    "Exists" => json!({"key": key, "operator": operator}),
                    _ => json!({"key": key, "operator": operator, "values": [value]}),
                }
            });
        let selector =
            (prop::option::of((key(), word())), prop::collection::vec(demand, 0..3)).prop_map(|(label, demands)| {
                let labels: serde_json::Map<String, Value> =
                    label.into_iter().map(|(key, value)| (key.to_owned(), json!(value))).collect();
                json!({"matchLabels": labels, "matchExpressions": demands})
            });
        let selector = selector.boxed();
        prop_oneof![
            block.prop_map(|cidr| json!({"ipBlock": {"cidr": cidr}})),
            selector.clone().prop_map(|pods| json!({"podSelector": pods})),
            selector.clone().prop_map(|spaces| json!({"namespaceSelector": spaces})),
            (selector.clone(), selector)
                .prop_map(|(spaces, pods)| json!({"namespaceSelector": spaces, "podSelector": pods})),
        ]
    }

    proptest! {
        #[test]
        fn what_was_narrowed_opens_no_more_than_is_permitted(
            egress in prop::collection::vec(prop::collection::vec(any_peer(), 0..4), 0..3),
            ingress in prop::collection::vec(prop::collection::vec(any_peer(), 0..4), 0..3),
        ) {
            let rules = |list: &[Vec<Value>], name: &str| -> Vec<Value> { list.iter().map(|peers| json!({name: peers})).collect() };
            let wide = with_spec(json!({"podSelector": {}, "egress": rules(&egress, "to"), "ingress": rules(&ingress, "from")}));
            let by = confinement();
            let spec = mended(POLICIES, wide, Some(&confined(&by)))["spec"].take();
            let spec = Opens::read(&serde_json::from_value(spec).unwrap());
            prop_assert!(!opens_more(&spec, &by), "{:?}", network::violations(&spec, &by));
        }
    }
}
