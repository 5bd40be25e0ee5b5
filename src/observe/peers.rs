//! Whether a selector in a tenant's network policy can select nothing but what is permitted: peers, or the cluster's DNS.
//!
//! A peer is known by what only the operator writes on namespaces. Selectors are not evaluated: what is asked is whether
//! they demand enough, so that the answer holds for namespaces and pods that do not exist yet, too.

use std::collections::BTreeSet;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;

use super::fingerprint::Fingerprint;
use crate::domain::{Confinement, keys};

const NAMESPACE_NAME: &str = "kubernetes.io/metadata.name";
const OPENSHIFT_DNS: &str = "dns.operator.openshift.io/daemonset-dns";

/// Of an expression for peers so many values are read, as in the policy; or they are exactly all of them.
const READ: usize = 20;
/// Of so many expressions for peers each is read; `network.yaml` judges no selector that has more.
const EXPRESSIONS: usize = 16;

/// What a peer's selectors demand of what they select, as far as it is judged.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Demand {
    /// Nothing but pods of the cluster's DNS, in its namespace.
    pub is_dns: bool,
    /// For what the namespaces must be confined: each of these, where they must be enforced and without pods outside.
    confined_for: Box<[Values]>,
}

/// Values of an expression.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Values {
    /// All of them, joined by commas, which no value has.
    Read(Box<str>),
    /// More than are read.
    Many(Fingerprint),
}

impl Demand {
    /// What is demanded of namespaces, and of their pods.
    #[must_use]
    pub fn read(namespaces: &LabelSelector, pods: Option<&LabelSelector>) -> Self {
        let only = |key, wanted: &'static str| {
            demands(namespaces, key, |values| values.len() <= READ && values.iter().all(|value| value == wanted))
        };
        let is_peer = only(keys::ENFORCEMENT, "Enforce") && only(keys::PEER, "true");
        let demanded = values(namespaces, keys::CONFINED_FOR).filter(|_| is_peer).take(EXPRESSIONS);
        let confined_for: BTreeSet<Values> = demanded.filter_map(Values::read).collect();
        Self { is_dns: selects_dns(namespaces, pods), confined_for: confined_for.into_iter().collect() }
    }

    /// Whether nothing is selected but peers: namespaces that are confined for the same, enforced, and with no pod outside.
    #[must_use]
    pub fn selects_peers(&self, confinement: &Confinement) -> bool {
        self.confined_for.iter().any(|values| values.are_peers(confinement))
    }
}

impl Values {
    fn read(values: &[String]) -> Option<Self> {
        if values.len() > READ {
            return Fingerprint::of(&values).map(Self::Many);
        }
        Some(Self::Read(values.join(",").into()))
    }

    fn are_peers(&self, confinement: &Confinement) -> bool {
        match self {
            Self::Read(values) => values.split(',').all(|value| confinement.is_peer(value)),
            Self::Many(all) => Fingerprint::of(&confinement.peers) == Some(*all),
        }
    }
}

/// The cluster's DNS: its pods, in its namespace.
fn selects_dns(namespaces: &LabelSelector, pods: Option<&LabelSelector>) -> bool {
    let all_of = |known: &'static [&'static str]| {
        move |values: &[String]| values.iter().all(|value| known.contains(&value.as_str()))
    };
    let is_dns_pod = |pods: &LabelSelector| {
        demands(pods, keys::DNS_APP, all_of(&keys::DNS_APPS)) || demands_any(pods, OPENSHIFT_DNS)
    };
    demands(namespaces, NAMESPACE_NAME, all_of(&[keys::DNS_NAMESPACE])) && pods.is_some_and(is_dns_pod)
}

/// Whether everything that is selected has a label with one of the values that `permits` says of all of them. A selector's
/// parts hold together, so one part that demands enough is enough, whatever stands beside it.
fn demands(selector: &LabelSelector, key: &str, permits: impl Fn(&[String]) -> bool) -> bool {
    values(selector, key).any(permits)
}

/// For each part of a selector that demands values of a label: which ones.
fn values<'a>(selector: &'a LabelSelector, key: &'a str) -> impl Iterator<Item = &'a [String]> {
    let label = selector.match_labels.as_ref().and_then(|labels| labels.get(key));
    let expressions = selector.match_expressions.iter().flatten();
    let demanded = expressions.filter(move |demand| demand.key == key && demand.operator == "In");
    let listed = demanded.map(|demand| demand.values.as_deref().unwrap_or_default());
    label.map(std::slice::from_ref).into_iter().chain(listed.filter(|values| !values.is_empty()))
}

/// Whether everything that is selected has the label, with whatever value.
fn demands_any(selector: &LabelSelector, key: &str) -> bool {
    let exists =
        selector.match_expressions.iter().flatten().any(|demand| demand.key == key && demand.operator == "Exists");
    exists || demands(selector, key, |_| true)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn selector(text: Value) -> LabelSelector {
        serde_json::from_value(text).unwrap()
    }

    fn demand(confined_for: &[&str]) -> Value {
        json!({"matchExpressions": [
            {"key": "domicile.dev/enforcement", "operator": "In", "values": ["Enforce"]},
            {"key": "domicile.dev/peer", "operator": "In", "values": ["true"]},
            {"key": "domicile.dev/confined-for", "operator": "In", "values": confined_for},
        ]})
    }

    fn selects_peers(namespaces: Value, peers: &[String]) -> bool {
        let confinement = Confinement { peers: peers.to_vec(), ..crate::audit::confinement() };
        Demand::read(&selector(namespaces), None).selects_peers(&confinement)
    }

    fn are_peers(namespaces: Value) -> bool {
        selects_peers(namespaces, &["mainland".to_owned(), "mainland_battery".to_owned()])
    }

    fn is_dns(namespace: &str, pods: Value) -> bool {
        selects_dns(
            &selector(json!({"matchLabels": {"kubernetes.io/metadata.name": namespace}})),
            Some(&selector(pods)),
        )
    }

    #[test]
    fn only_what_the_operator_writes_makes_a_peer() {
        assert!(are_peers(demand(&["mainland"])) && are_peers(demand(&["mainland", "mainland_battery"])));
        let labels = json!({"domicile.dev/confined-for": "mainland", "domicile.dev/enforcement": "Enforce", "domicile.dev/peer": "true"});
        assert!(are_peers(json!({"matchLabels": labels})));
        for wide in [
            json!({}),
            json!({"matchLabels": {"kubernetes.io/metadata.name": "other"}}),
            json!({"matchLabels": {"domicile.dev/residency": "mainland"}}),
            json!({"matchLabels": {"domicile.dev/confined-for": "mainland", "domicile.dev/peer": "true"}}),
            demand(&["mainland", "europe"]),
            demand(&[]),
        ] {
            assert!(!are_peers(wide.clone()), "{wide}");
        }
    }

    #[test]
    fn what_stands_beside_a_demand_does_not_matter() {
        let mut narrower = demand(&["mainland"]);
        narrower["matchLabels"] = json!({"team": "maps"});
        assert!(are_peers(narrower));
    }

    #[test]
    fn a_value_said_twice_is_said_once_and_very_many_are_not_read() {
        let mut twice = demand(&["mainland", "mainland"]);
        twice["matchExpressions"][0]["values"] = json!(["Enforce", "Enforce"]);
        assert!(are_peers(twice));
        assert!(are_peers(demand(&["mainland"; 20])));
        assert!(!are_peers(demand(&["mainland"; 21])));
        let many: Vec<String> = (0..30).map(|number| format!("mainland_b{number}")).collect();
        let all: Vec<&str> = many.iter().map(String::as_str).collect();
        assert!(selects_peers(demand(&all), &many), "exactly all of them");
    }

    #[test]
    fn a_value_that_no_namespace_has_any_more_is_still_that_of_a_peer() {
        let own = ["mainland".to_owned()];
        assert!(selects_peers(demand(&["mainland", "battery_mainland"]), &own));
        assert!(!selects_peers(demand(&["mainland", "battery"]), &own));
    }

    #[test]
    fn no_peer_is_permitted_where_there_is_none() {
        assert!(!selects_peers(demand(&["mainland"]), &[]));
    }

    #[test]
    fn dns_is_its_pods_in_its_namespace() {
        assert!(is_dns("kube-system", json!({"matchLabels": {"k8s-app": "kube-dns"}})));
        assert!(is_dns(
            "kube-system",
            json!({"matchExpressions": [{"key": "k8s-app", "operator": "In", "values": ["kube-dns", "coredns"]}]})
        ));
        assert!(!is_dns("openshift-dns", json!({"matchLabels": {"k8s-app": "kube-dns"}})));
        assert!(!is_dns("kube-system", json!({})));
        assert!(!is_dns(
            "kube-system",
            json!({"matchExpressions": [{"key": "k8s-app", "operator": "NotIn", "values": ["kube-dns"]}]})
        ));
        assert!(!selects_dns(&selector(json!({"matchLabels": {"kubernetes.io/metadata.name": "kube-system"}})), None));
    }
}
