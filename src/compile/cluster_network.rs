//! The ClusterNetworkPolicy of all namespaces that are confined for one value, in the cluster's Admin tier.
//!
//! NetworkPolicies stay the primary, and each namespace has its own. This one stands before all of them, where no tenant
//! writes: what is permitted is *passed* on to them, never accepted, and everything else is denied, whatever a tenant's
//! policy opens. It knows pods by their namespaces, so that the address of an ungoverned pod is not permitted where it
//! happens to lie in a permitted network. It selects by labels that only the operator writes, and never reaches other
//! namespaces or pods on their node's network.

use std::collections::BTreeSet;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, LabelSelectorRequirement};

use super::network::{METADATA, NAMESPACE_NAME, labelled};
use crate::{
    domain::{Ingress, Mode, keys},
    observe::cluster_policy::{Action, DestinationPort, Peer, Port, Protocol, Rule, Spec},
    resolve::{self, Allowed, Confined, PortRange},
};

/// The last that is asked of its tier. Where Domicile's were asked earlier, what it passes would skip the denials that others
/// wrote in the tier: it would loosen. What others accept before it is seen, and told.
pub const PRIORITY: i32 = 1000;
/// So many rules in a direction, peers in a rule, networks in a peer and ports in a rule the definition admits.
const LIMIT: usize = 25;
/// Before every name.
const PREFIX: &str = "domicile-";

/// The name of the policy for this value: names of objects take no `_`, and names of residencies have no dots.
#[must_use]
pub fn name(value: &str) -> String {
    format!("{PREFIX}{}", value.replace('_', "."))
}

/// The value that the policy of this name is for.
#[must_use]
pub fn value(name: &str) -> Option<String> {
    name.strip_prefix(PREFIX).map(|rest| rest.replace('.', "_"))
}

/// What is wanted for `value`, or nothing where it is more than one policy can say. `ungoverned` are the namespaces that are
/// never governed.
#[must_use]
pub fn cluster_policy<'a>(
    value: &str,
    confined: &Confined,
    ungoverned: impl IntoIterator<Item = &'a str>,
) -> Option<Spec> {
    // Where the ports of what is allowed are too many rules, they are left to the NetworkPolicies.
    let fits = |rules: &Vec<Rule>| rules.len() <= LIMIT;
    let directions = [Ports::Exact, Ports::All];
    let egress = directions.into_iter().map(|ports| egress(value, confined, ports)).find(fits)?;
    let ingress = directions.into_iter().map(|ports| ingress(value, confined, ports)).find(fits)?;
    let ungoverned: Vec<&str> = ungoverned.into_iter().collect();
    let subject = vec![
        requirement(keys::CONFINED_FOR, "In", &[value]),
        requirement(keys::ENFORCEMENT, "In", &[&Mode::Enforce.to_string()]),
        requirement(NAMESPACE_NAME, "NotIn", &ungoverned),
    ];
    Some(Spec { tier: "Admin", priority: PRIORITY, subject: Peer::Namespaces(all_of(subject)), ingress, egress })
}

/// Whether the ports of what is allowed are said.
#[derive(Clone, Copy)]
enum Ports {
    Exact,
    All,
}

fn egress(value: &str, confined: &Confined, ports: Ports) -> Vec<Rule> {
    let to = |name, action, peers: Vec<Peer>, ports: &[PortRange]| rules(Way::Out, name, action, &peers, ports);
    let metadata = PortRange { first: 80, last: None, protocol: "TCP" };
    let mut egress = to("peers", Action::Pass, peers(value, confined), &[]);
    egress.extend(to("dns", Action::Pass, dns(), &[]));
    egress.extend(to("metadata", Action::Pass, networks(METADATA), &[metadata]));
    egress.extend(to("control-plane", Action::Pass, networks(&confined.control_plane), &[]));
    for (ports, peers) in grouped(&confined.egress, ports) {
        egress.extend(to("allowed", Action::Pass, peers, &ports));
    }
    // Before the networks, in which pods of other namespaces may have their addresses.
    egress.extend(to("other-pods", Action::Deny, vec![Peer::Namespaces(LabelSelector::default())], &[]));
    egress.extend(to("networks", Action::Pass, networks(&confined.confinement.networks), &[]));
    egress.extend(to("elsewhere", Action::Deny, networks(["0.0.0.0/0", "::/0"]), &[]));
    egress
}

/// Addresses can't be told on ingress: those are for the NetworkPolicies.
fn ingress(value: &str, confined: &Confined, ports: Ports) -> Vec<Rule> {
    if confined.confinement.ingress == Ingress::Open {
        return Vec::new();
    }
    let from = |name, action, peers: Vec<Peer>, ports: &[PortRange]| rules(Way::In, name, action, &peers, ports);
    let mut ingress = from("peers", Action::Pass, peers(value, confined), &[]);
    for (ports, mut peers) in grouped(&confined.ingress, ports) {
        peers.retain(|peer| !matches!(peer, Peer::Networks(_)));
        ingress.extend(from("allowed", Action::Pass, peers, &ports));
    }
    ingress.extend(from("other-pods", Action::Deny, vec![Peer::Namespaces(LabelSelector::default())], &[]));
    ingress
}

/// Which way the packets go.
#[derive(Clone, Copy)]
enum Way {
    Out,
    In,
}

/// As many rules as the limits of one ask for; none without peers.
fn rules(way: Way, name: &'static str, action: Action, peers: &[Peer], ports: &[PortRange]) -> Vec<Rule> {
    let rule = |peers: &[Peer], protocols: &[Protocol]| {
        let (to, from) = match way {
            Way::Out => (peers.to_vec(), Vec::new()),
            Way::In => (Vec::new(), peers.to_vec()),
        };
        Rule { name, action, to, from, protocols: protocols.to_vec() }
    };
    let protocols: Vec<Protocol> = ports.iter().map(protocol).collect();
    let mut rules = Vec::new();
    for peers in peers.chunks(LIMIT) {
        if protocols.is_empty() {
            rules.push(rule(peers, &[]));
        }
        rules.extend(protocols.chunks(LIMIT).map(|protocols| rule(peers, protocols)));
    }
    rules
}

/// What is allowed, those with the same ports together.
fn grouped(allowed: &[Allowed], ports: Ports) -> Vec<(Vec<PortRange>, Vec<Peer>)> {
    let mut groups: Vec<(Vec<PortRange>, Vec<Peer>)> = Vec::new();
    for one in allowed {
        let ports = match ports {
            Ports::Exact => one.ports.clone(),
            Ports::All => Vec::new(),
        };
        let peers = peers_in(&one.peer);
        match groups.iter_mut().find(|(same, _)| *same == ports) {
            Some((_, group)) => group.extend(peers),
            None => groups.push((ports, peers)),
        }
    }
    groups
}

/// The namespaces that are confined for the same, and the peers of each of them. Which pods of one's own namespace may be
/// talked to can't be said, so that all that are confined for the same are passed.
fn peers(value: &str, confined: &Confined) -> Vec<Peer> {
    let mode = Mode::Enforce.to_string();
    let own = vec![requirement(keys::CONFINED_FOR, "In", &[value]), requirement(keys::ENFORCEMENT, "In", &[&mode])];
    let others: Vec<&str> =
        confined.confinement.peers.iter().map(String::as_str).filter(|other| *other != value).collect();
    let mut peers = vec![Peer::Namespaces(all_of(own))];
    if !others.is_empty() {
        peers.push(Peer::Namespaces(all_of(vec![
            requirement(keys::CONFINED_FOR, "In", &others),
            requirement(keys::ENFORCEMENT, "In", &[&mode]),
            requirement(keys::PEER, "In", &["true"]),
        ])));
    }
    peers
}

/// As tenants may open it, too: at every port, and under the name that the server has.
fn dns() -> Vec<Peer> {
    let pods = keys::DNS_APPS.map(|app| Peer::Pods {
        namespace_selector: labelled(NAMESPACE_NAME, keys::DNS_NAMESPACE),
        pod_selector: labelled(keys::DNS_APP, app),
    });
    pods.into_iter().chain(networks([keys::NODE_LOCAL_DNS])).collect()
}

/// Pods of the own namespace are passed already.
fn peers_in(peer: &resolve::Peer) -> Vec<Peer> {
    match peer {
        resolve::Peer::Networks(blocks) => networks(blocks),
        resolve::Peer::Pods { namespaces: None, pods: _ } => Vec::new(),
        resolve::Peer::Pods { namespaces: Some(namespaces), pods: None } => {
            vec![Peer::Namespaces(namespaces.to_meta())]
        }
        resolve::Peer::Pods { namespaces: Some(namespaces), pods: Some(pods) } => {
            vec![Peer::Pods { namespace_selector: namespaces.to_meta(), pod_selector: pods.to_meta() }]
        }
    }
}

fn networks<T: ToString>(blocks: impl IntoIterator<Item = T>) -> Vec<Peer> {
    let mut seen = BTreeSet::new(); // the API server takes no network twice
    let texts: Vec<String> =
        blocks.into_iter().map(|block| block.to_string()).filter(|text| seen.insert(text.clone())).collect();
    texts.chunks(LIMIT).map(|some| Peer::Networks(some.to_vec())).collect()
}

fn requirement(key: &str, operator: &str, values: &[&str]) -> LabelSelectorRequirement {
    LabelSelectorRequirement {
        key: key.to_owned(),
        operator: operator.to_owned(),
        values: Some(values.iter().map(|value| (*value).to_owned()).collect()),
    }
}

fn all_of(requirements: Vec<LabelSelectorRequirement>) -> LabelSelector {
    LabelSelector { match_expressions: Some(requirements), match_labels: None }
}

/// A port of what is allowed, as a rule says it.
#[must_use]
pub fn protocol(range: &PortRange) -> Protocol {
    let port = match range.last {
        Some(last) if last > range.first => Port::Range { start: range.first, end: last },
        Some(_) | None => Port::Number(range.first),
    };
    let port = DestinationPort { destination_port: port };
    match range.protocol {
        "UDP" => Protocol::Udp(port),
        "SCTP" => Protocol::Sctp(port),
        _ => Protocol::Tcp(port),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Cidr, Confinement};
    use proptest::prelude::*;
    use serde_json::{Value, json};

    fn confined(value: &str, networks: &[&str]) -> Confined {
        Confined {
            confinement: Confinement {
                confined_for: Some(value.into()),
                networks: networks.iter().map(|text| text.parse().unwrap()).collect(),
                peers: vec![value.into()],
                ..Confinement::bare()
            },
            egress: vec![],
            ingress: vec![],
            control_plane: vec![],
            findings: vec![],
        }
    }

    fn at(port: i32) -> Vec<PortRange> {
        vec![PortRange { first: port, last: None, protocol: "TCP" }]
    }

    fn written(confined: &Confined) -> Value {
        serde_json::to_value(cluster_policy("mainland", confined, ["kube-system"]).unwrap()).unwrap()
    }

    fn selected(pairs: &[(&str, Value)]) -> Value {
        let one = |(key, values): &(&str, Value)| json!({"key": key, "operator": "In", "values": values});
        json!({"matchExpressions": pairs.iter().map(one).collect::<Vec<_>>()})
    }

    #[test]
    fn what_is_permitted_is_passed_and_everything_else_denied() {
        let mut confined = confined("mainland", &["10.20.0.0/16", "2001:db8::/48"]);
        confined.confinement.peers = vec!["battery_mainland".into(), "mainland".into()];
        confined.control_plane = vec!["10.30.0.0/28".parse().unwrap()];
        let tiles = resolve::Peer::Networks(vec!["203.0.113.0/24".parse().unwrap()]);
        confined.egress = vec![Allowed { peer: tiles, ports: at(443) }];
        let gateway: crate::api::selector::LabelSelector =
            serde_json::from_value(json!({"matchLabels": {"kubernetes.io/metadata.name": "ingress"}})).unwrap();
        let gateway = resolve::Peer::Pods { namespaces: Some(gateway), pods: None };
        let range = PortRange { first: 8080, last: Some(8090), protocol: "UDP" };
        confined.ingress = vec![Allowed { peer: gateway, ports: vec![range] }];
        let own = selected(&[
            ("domicile.dev/confined-for", json!(["mainland"])),
            ("domicile.dev/enforcement", json!(["Enforce"])),
        ]);
        let others = selected(&[
            ("domicile.dev/confined-for", json!(["battery_mainland"])),
            ("domicile.dev/enforcement", json!(["Enforce"])),
            ("domicile.dev/peer", json!(["true"])),
        ]);
        let dns = |app: &str| {
            json!({"pods": {
                "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "kube-system"}},
                "podSelector": {"matchLabels": {"k8s-app": app}},
            }})
        };
        let mut subject = own.clone();
        subject["matchExpressions"]
            .as_array_mut()
            .unwrap()
            .push(json!({"key": "kubernetes.io/metadata.name", "operator": "NotIn", "values": ["kube-system"]}));
        let peers = json!([{"namespaces": own}, {"namespaces": others}]);
        let tcp = |port: i32| json!({"tcp": {"destinationPort": {"number": port}}});
        assert_eq!(
            written(&confined),
            json!({
                "tier": "Admin",
                "priority": 1000,
                "subject": {"namespaces": subject},
                "ingress": [
                    {"name": "peers", "action": "Pass", "from": peers},
                    {
                        "name": "allowed",
                        "action": "Pass",
                        "from": [{"namespaces": {"matchLabels": {"kubernetes.io/metadata.name": "ingress"}}}],
                        "protocols": [{"udp": {"destinationPort": {"range": {"start": 8080, "end": 8090}}}}],
                    },
                    {"name": "other-pods", "action": "Deny", "from": [{"namespaces": {}}]},
                ],
                "egress": [
                    {"name": "peers", "action": "Pass", "to": peers},
                    {
                        "name": "dns",
                        "action": "Pass",
                        "to": [dns("kube-dns"), dns("coredns"), dns("node-local-dns"), {"networks": ["169.254.20.10/32"]}],
                    },
                    {
                        "name": "metadata",
                        "action": "Pass",
                        "to": [{"networks": ["169.254.169.254/32", "100.100.100.200/32"]}],
                        "protocols": [tcp(80)],
                    },
                    {"name": "control-plane", "action": "Pass", "to": [{"networks": ["10.30.0.0/28"]}]},
                    {"name": "allowed", "action": "Pass", "to": [{"networks": ["203.0.113.0/24"]}], "protocols": [tcp(443)]},
                    {"name": "other-pods", "action": "Deny", "to": [{"namespaces": {}}]},
                    {"name": "networks", "action": "Pass", "to": [{"networks": ["10.20.0.0/16", "2001:db8::/48"]}]},
                    {"name": "elsewhere", "action": "Deny", "to": [{"networks": ["0.0.0.0/0", "::/0"]}]},
                ],
            })
        );
    }

    #[test]
    fn where_nothing_is_permitted_nothing_but_the_clusters_own_is_passed() {
        let spec = written(&confined("mainland", &[]));
        let names: Vec<&str> =
            spec["egress"].as_array().unwrap().iter().filter_map(|rule| rule["name"].as_str()).collect();
        assert_eq!(names, ["peers", "dns", "metadata", "other-pods", "elsewhere"]);
    }

    #[test]
    fn ingress_that_is_open_is_left_alone() {
        let mut open = confined("mainland", &[]);
        open.confinement.ingress = Ingress::Open;
        assert!(written(&open)["ingress"].is_null());
    }

    #[test]
    fn a_name_stands_for_one_value() {
        for text in ["mainland", "mainland_battery", "a-b_c", "a_b-c"] {
            assert_eq!(value(&name(text)).as_deref(), Some(text));
        }
        assert_eq!(name("mainland_battery"), "domicile-mainland.battery");
        assert_eq!(value("theirs"), None);
    }

    #[test]
    fn ports_that_are_too_many_rules_are_left_to_the_network_policies() {
        let mut many = confined("mainland", &["10.20.0.0/16"]);
        let tiles = |port: i32| Allowed {
            peer: resolve::Peer::Networks(vec![format!("203.0.113.{port}/32").parse().unwrap()]),
            ports: at(port),
        };
        many.egress = (1..=32).map(tiles).collect();
        let spec = written(&many);
        let allowed: Vec<&Value> =
            spec["egress"].as_array().unwrap().iter().filter(|rule| rule["name"] == "allowed").collect();
        assert_eq!(allowed.len(), 2, "{allowed:#?}");
        assert!(allowed.iter().all(|rule| rule["protocols"].is_null()));
    }

    #[test]
    fn what_one_policy_cannot_say_is_not_said_in_part() {
        let texts: Vec<String> =
            (0..=LIMIT.pow(3)).map(|index| format!("10.{}.{}.0/24", index / 256, index % 256)).collect();
        let all: Vec<&str> = texts.iter().map(String::as_str).collect();
        assert!(cluster_policy("mainland", &confined("mainland", &all), ["kube-system"]).is_none());
    }

    proptest! {
        #[test]
        fn every_limit_is_kept_every_network_is_passed_once_and_the_last_rule_denies(
            networks in 0_u8..250, allowed in proptest::collection::vec((1_i32..20, 1_u8..60), 0..32), ports in 1_i32..32,
        ) {
            let block = |third: u8, fourth: u8| format!("10.{third}.{fourth}.0/24").parse::<Cidr>().unwrap();
            let mut confined = confined("mainland", &[]);
            confined.confinement.networks = (0..networks).map(|index| block(1, index)).collect();
            confined.egress = allowed.iter().map(|(first, count)| Allowed {
                peer: resolve::Peer::Networks((0..*count).map(|index| block(2, index)).collect()),
                ports: (0..ports).flat_map(|next| at(first + next)).collect(),
            }).collect();
            let spec = written(&confined);
            let egress = spec["egress"].as_array().unwrap();
            prop_assert!(egress.len() <= LIMIT);
            let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
            for rule in egress {
                prop_assert!(["Pass", "Deny"].contains(&rule["action"].as_str().unwrap()));
                prop_assert!((1..=LIMIT).contains(&list(&rule["to"]).len()));
                prop_assert!(list(&rule["protocols"]).len() <= LIMIT);
                prop_assert!(list(&rule["to"]).iter().all(|peer| list(&peer["networks"]).len() <= LIMIT));
            }
            let permitted = egress.iter().filter(|rule| rule["name"] == "networks").flat_map(|rule| list(&rule["to"]));
            prop_assert_eq!(permitted.flat_map(|peer| list(&peer["networks"])).count(), usize::from(networks));
            let last = egress.last().unwrap();
            prop_assert_eq!(last, &json!({"name": "elsewhere", "action": "Deny", "to": [{"networks": ["0.0.0.0/0", "::/0"]}]}));
        }
    }
}
