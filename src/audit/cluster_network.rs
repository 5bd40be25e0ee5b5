//! ClusterNetworkPolicies of others, which are asked before Domicile's and before every NetworkPolicy.
//!
//! What one of them accepts passes whatever else stands; what one of them passes skips Domicile's own, and the
//! NetworkPolicies decide. Those who run the cluster's network write them, and no rule of the API server refuses them, so
//! they are seen and told. A subject that is told by the labels of pods is `Unknown`: any pod may have them.

use serde::Deserialize;

use crate::{
    api::selector::LabelSelector,
    domain::{Cidr, Finding, Ingress, Leg, Subject, Verdict},
    observe::{ClusterPolicy, Namespace, peers::Demand},
    resolve::{Allowed, Confined, Peer as AllowedPeer},
};

use super::Scene;

/// A ClusterNetworkPolicy of others accepts more than is permitted.
pub const ACCEPTS: &str = "domicile/cluster-network-policy";

/// What is read of a spec. A peer of a kind that is not known here is foreign.
#[derive(Deserialize)]
struct Spec {
    tier: String,
    subject: Peer,
    #[serde(default)]
    ingress: Vec<Rule>,
    #[serde(default)]
    egress: Vec<Rule>,
}

#[derive(Deserialize)]
struct Rule {
    #[serde(default)]
    name: String,
    action: String,
    #[serde(default)]
    to: Vec<Peer>,
    #[serde(default)]
    from: Vec<Peer>,
    #[serde(default)]
    protocols: Vec<serde_json::Value>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Peer {
    namespaces: Option<LabelSelector>,
    pods: Option<Pods>,
    networks: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Pods {
    #[serde(default)]
    namespace_selector: LabelSelector,
    pod_selector: LabelSelector,
}

/// Judges every one that is not Domicile's.
pub(super) fn audit(scene: &Scene<'_>) -> Vec<Finding> {
    let others = scene.cluster_policies.iter().filter(|(_, policy)| !policy.managed);
    let accepting = others.filter_map(|(name, policy)| {
        let (verdict, what) = opens(policy, scene.namespace, scene.confined, &["Accept"])?;
        Some(Finding {
            verdict,
            leg: Leg::Network,
            rule: ACCEPTS,
            subject: Subject { uid: policy.uid.clone(), ..Subject::cluster("ClusterNetworkPolicy", name) },
            message: format!("it accepts {what} before any other policy is asked, and more than is permitted"),
            remedy: "let it Pass, leave namespaces with the label domicile.dev/residency out of its subject, or list its peers in spec.network of the DataResidency".to_owned(),
        })
    });
    accepting.collect()
}

/// Whether `policy` lets something that is not permitted past what is asked after it, and the first rule by which it does.
#[must_use]
pub fn skips_domiciles(policy: &ClusterPolicy, space: &Namespace, confined: &Confined) -> bool {
    !policy.managed && opens(policy, space, confined, &["Accept", "Pass"]).is_some()
}

fn opens(
    policy: &ClusterPolicy,
    space: &Namespace,
    confined: &Confined,
    actions: &[&str],
) -> Option<(Verdict, String)> {
    let Ok(spec) = Spec::deserialize(&policy.spec) else {
        return Some((Verdict::Unknown, "what cannot be read".to_owned()));
    };
    let verdict = verdict(&spec.subject, space).filter(|_| spec.tier == "Admin")?;
    let opening = |rule: &&Rule| actions.contains(&rule.action.as_str());
    let out = spec.egress.iter().filter(opening).find(|rule| {
        let permitted = |peer| goes_to_the_permitted(peer, confined) || is_allowed(peer, rule, &confined.egress);
        !rule.to.iter().all(permitted)
    });
    let judged = spec.ingress.iter().filter(|_| confined.confinement.ingress == Ingress::Restricted);
    let mut come_in = judged.filter(opening).filter(|rule| {
        let permitted = |peer| are_peers(peer, confined) || is_allowed(peer, rule, &confined.ingress);
        !rule.from.iter().all(permitted)
    });
    let (direction, rule) = out.map(|rule| ("egress", rule)).or_else(|| Some(("ingress", come_in.next()?)))?;
    let name = if rule.name.is_empty() { String::new() } else { format!(" (rule {})", rule.name) };
    Some((verdict, format!("{direction}{name}")))
}

/// Whether the subject selects pods of `space`; unknown where labels of pods decide.
fn verdict(subject: &Peer, space: &Namespace) -> Option<Verdict> {
    if let Some(namespaces) = &subject.namespaces {
        return namespaces.matches(&space.labels).then_some(Verdict::NonCompliant);
    }
    let pods = subject.pods.as_ref().filter(|pods| pods.namespace_selector.matches(&space.labels))?;
    let all = pods.pod_selector == LabelSelector::default();
    Some(if all { Verdict::NonCompliant } else { Verdict::Unknown })
}

/// Permitted networks, peers, the cluster's DNS.
fn goes_to_the_permitted(peer: &Peer, confined: &Confined) -> bool {
    let networks = &confined.confinement.networks;
    let dns = peer.pods.as_ref().is_some_and(|pods| {
        Demand::read(&pods.namespace_selector.to_meta(), Some(&pods.pod_selector.to_meta())).is_dns
    });
    dns || are_peers(peer, confined) || lie_in(&peer.networks, networks)
}

fn are_peers(peer: &Peer, confined: &Confined) -> bool {
    let namespaces = peer.namespaces.as_ref().or_else(|| Some(&peer.pods.as_ref()?.namespace_selector));
    namespaces.is_some_and(|namespaces| Demand::read(&namespaces.to_meta(), None).selects_peers(&confined.confinement))
}

fn lie_in(networks: &[String], permitted: &[Cidr]) -> bool {
    let is_inside =
        |text: &String| text.parse::<Cidr>().is_ok_and(|cidr| permitted.iter().any(|network| network.contains(&cidr)));
    !networks.is_empty() && networks.iter().all(is_inside)
}

/// Whether the residency allows the same, at every port or at the rule's.
fn is_allowed(peer: &Peer, rule: &Rule, allowed: &[Allowed]) -> bool {
    allowed.iter().any(|one| {
        let same = match &one.peer {
            AllowedPeer::Networks(permitted) => lie_in(&peer.networks, permitted),
            AllowedPeer::Pods { namespaces, pods: None } => {
                namespaces.is_some()
                    && (peer.namespaces == *namespaces
                        || peer.pods.as_ref().map(|pods| &pods.namespace_selector) == namespaces.as_ref())
            }
            AllowedPeer::Pods { namespaces: Some(namespaces), pods: Some(pods) } => peer
                .pods
                .as_ref()
                .is_some_and(|peer| peer.namespace_selector == *namespaces && peer.pod_selector == *pods),
            AllowedPeer::Pods { namespaces: None, pods: Some(_) } => false,
        };
        same && (one.ports.is_empty() || at_these_ports(rule, one))
    })
}

fn at_these_ports(rule: &Rule, allowed: &Allowed) -> bool {
    let ports: Vec<serde_json::Value> = allowed
        .ports
        .iter()
        .filter_map(|range| serde_json::to_value(crate::compile::cluster_network::protocol(range)).ok())
        .collect();
    !rule.protocols.is_empty() && rule.protocols.iter().all(|protocol| ports.contains(protocol))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::fixture::Stage;
    use serde_json::{Value, json};

    fn written(subject: Value, direction: &str, rule: Value) -> ClusterPolicy {
        let mut spec = json!({"tier": "Admin", "priority": 10, "subject": subject});
        spec[direction] = json!([rule]);
        ClusterPolicy { spec, ..ClusterPolicy::default() }
    }

    fn everywhere(direction: &str, rule: Value) -> ClusterPolicy {
        written(json!({"namespaces": {}}), direction, rule)
    }

    fn found(policy: ClusterPolicy) -> Vec<Verdict> {
        let mut stage = Stage::new();
        let range = crate::resolve::PortRange { first: 8080, last: None, protocol: "TCP" };
        let selector: LabelSelector = serde_json::from_value(gateway()).unwrap();
        let peer = AllowedPeer::Pods { namespaces: Some(selector), pods: None };
        stage.confined.ingress = vec![Allowed { peer, ports: vec![range] }];
        stage.cluster_policies.insert("theirs".into(), policy);
        audit(&stage.scene()).into_iter().map(|finding| finding.verdict).collect()
    }

    fn gateway() -> Value {
        json!({"matchLabels": {"kubernetes.io/metadata.name": "gateway"}})
    }

    fn peers() -> Value {
        json!({"namespaces": {"matchLabels": {
            "domicile.dev/confined-for": "mainland", "domicile.dev/enforcement": "Enforce", "domicile.dev/peer": "true",
        }}})
    }

    #[test]
    fn what_is_accepted_and_not_permitted_is_found() {
        for to in [
            json!({"networks": ["198.51.100.0/24"]}),
            json!({"networks": ["10.20.7.0/24", "10.0.0.0/8"]}),
            json!({"namespaces": {}}),
            json!({"pods": {"namespaceSelector": {}, "podSelector": {}}}),
            json!({"domainNames": ["example.com"]}),
        ] {
            let rule = json!({"action": "Accept", "to": [peers(), to]});
            assert_eq!(found(everywhere("egress", rule)), [Verdict::NonCompliant], "{to}");
        }
        let monitoring = json!({"action": "Accept", "from": [{"namespaces": {"matchLabels": {"team": "watch"}}}]});
        assert_eq!(found(everywhere("ingress", monitoring)), [Verdict::NonCompliant]);
        assert_eq!(found(ClusterPolicy { spec: json!({"tier": 7}), ..ClusterPolicy::default() }), [Verdict::Unknown]);
    }

    #[test]
    fn what_is_permitted_may_be_accepted() {
        let dns = json!({"pods": {
            "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "kube-system"}},
            "podSelector": {"matchLabels": {"k8s-app": "kube-dns"}},
        }});
        for to in [json!({"networks": ["10.20.7.0/24"]}), peers(), dns] {
            assert!(found(everywhere("egress", json!({"action": "Accept", "to": [to]}))).is_empty(), "{to}");
        }
        let port = |port: i32| json!([{"tcp": {"destinationPort": {"number": port}}}]);
        let from = |protocols| json!({"action": "Accept", "from": [{"namespaces": gateway()}], "protocols": protocols});
        assert!(found(everywhere("ingress", from(port(8080)))).is_empty());
        assert_eq!(found(everywhere("ingress", from(port(9090)))), [Verdict::NonCompliant]);
        assert_eq!(found(everywhere("ingress", from(json!([])))), [Verdict::NonCompliant]);
    }

    #[test]
    fn what_is_about_others_or_asked_later_is_no_finding() {
        let foreign = || json!({"action": "Accept", "to": [{"networks": ["198.51.100.0/24"]}]});
        let others = json!({"namespaces": {"matchLabels": {"team": "other"}}});
        assert!(found(written(others, "egress", foreign())).is_empty());
        let mut later = everywhere("egress", foreign());
        later.spec["tier"] = json!("Baseline");
        assert!(found(later).is_empty());
        let some_pods = json!({"pods": {"namespaceSelector": {}, "podSelector": {"matchLabels": {"app": "web"}}}});
        assert_eq!(found(written(some_pods, "egress", foreign())), [Verdict::Unknown]);
        assert!(found(ClusterPolicy { managed: true, ..everywhere("egress", foreign()) }).is_empty());
    }

    #[test]
    fn what_is_passed_breaks_nothing_but_skips_domiciles() {
        let rule = |action: &str| json!({"action": action, "to": [{"networks": ["198.51.100.0/24"]}]});
        assert!(found(everywhere("egress", rule("Pass"))).is_empty());
        let stage = Stage::new();
        let scene = stage.scene();
        let skips = |action| skips_domiciles(&everywhere("egress", rule(action)), scene.namespace, scene.confined);
        assert!(skips("Pass") && skips("Accept") && !skips("Deny"));
    }
}
