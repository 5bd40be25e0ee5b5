//! One peer of a rule in a tenant's NetworkPolicy: what it says, and what narrowing makes of it.

use serde_json::{Value, json};

use super::{field, network::Permitted};
use crate::domain::keys::{self, DNS_APP, DNS_APPS, DNS_NAMESPACE};

const NAMESPACE_NAME: &str = "kubernetes.io/metadata.name";
const OPENSHIFT_DNS: &str = "dns.operator.openshift.io/daemonset-dns";
/// A label that no pod can have and lack.
const NOTHING: &str = "domicile.dev/nothing-permitted";
const ANY_ADDRESS: [&str; 2] = ["0.0.0.0/0", "::/0"];
/// Longer selectors are not looked into.
const DEMANDS: usize = 10;

/// What only peers of a residency fulfil, in the order in which only narrowing writes it.
pub(super) fn demands(confined_for: &[String]) -> [Value; 3] {
    [
        json!({"key": keys::ENFORCEMENT, "operator": "In", "values": ["Enforce"]}),
        json!({"key": keys::PEER, "operator": "In", "values": ["true"]}),
        json!({"key": keys::CONFINED_FOR, "operator": "In", "values": confined_for}),
    ]
}

/// The cluster's DNS as a peer.
pub(super) fn dns() -> Value {
    json!({"namespaceSelector": {"matchExpressions": [in_dns_namespace()]}, "podSelector": dns_pods()})
}

/// A peer that no pod can match.
pub(super) fn nothing() -> Value {
    json!({"podSelector": {"matchExpressions": [
        {"key": NOTHING, "operator": "Exists"}, {"key": NOTHING, "operator": "DoesNotExist"},
    ]}})
}

fn in_dns_namespace() -> Value {
    json!({"key": NAMESPACE_NAME, "operator": "In", "values": [DNS_NAMESPACE]})
}

fn dns_pods() -> Value {
    json!({"matchExpressions": [{"key": DNS_APP, "operator": "In", "values": DNS_APPS}]})
}

/// A peer as it is written.
pub(super) struct Peer<'a> {
    written: &'a Value,
    outwards: bool,
    /// The cidr of its ipBlock.
    pub block: Option<&'a str>,
    namespaces: Selector<'a>,
    pods: Selector<'a>,
}

/// What a namespaceSelector or podSelector demands.
struct Selector<'a> {
    written: bool,
    labels: &'a Value,
    demands: &'a [Value],
}

impl<'a> Selector<'a> {
    fn read(selector: &'a Value) -> Self {
        let demands = field(selector, &["matchExpressions"]).as_array().map(Vec::as_slice).unwrap_or_default();
        Self { written: !selector.is_null(), labels: field(selector, &["matchLabels"]), demands }
    }

    fn is_empty(&self) -> bool {
        self.demands.is_empty() && self.labels.as_object().is_none_or(serde_json::Map::is_empty)
    }

    fn has_label(&self, key: &str, permits: impl Fn(&str) -> bool) -> bool {
        self.labels.get(key).and_then(Value::as_str).is_some_and(permits)
    }

    /// Whether one expression names `key` and all of its values are permitted; none are, for what that is worth.
    fn demands_of(&self, key: &str, permits: impl Fn(&str) -> bool) -> bool {
        let permitted = |demand: &Value| values(demand).iter().all(|value| value.as_str().is_some_and(&permits));
        self.demands.iter().any(|demand| is_about(demand, key, "In") && permitted(demand))
    }
}

fn is_about(demand: &Value, key: &str, operator: &str) -> bool {
    field(demand, &["key"]) == key && field(demand, &["operator"]) == operator
}

fn values(demand: &Value) -> &[Value] {
    field(demand, &["values"]).as_array().map(Vec::as_slice).unwrap_or_default()
}

fn listed(values: &[String]) -> Vec<Value> {
    values.iter().map(|value| json!(value)).collect()
}

/// Sets a field of an object; what is none stays as it is.
fn put(object: Option<&mut Value>, key: &str, value: Value) {
    if let Some(fields) = object.and_then(Value::as_object_mut) {
        fields.insert(key.to_owned(), value);
    }
}

impl<'a> Peer<'a> {
    /// Reads a peer of a rule that opens outwards, or inwards.
    pub fn read(written: &'a Value, outwards: bool) -> Self {
        Self {
            written,
            outwards,
            block: field(written, &["ipBlock", "cidr"]).as_str(),
            namespaces: Selector::read(field(written, &["namespaceSelector"])),
            pods: Selector::read(field(written, &["podSelector"])),
        }
    }

    /// Every address of a family, without exceptions, where that is not permitted itself.
    pub fn is_any_address(&self, permitted: &Permitted) -> bool {
        let excepts = field(self.written, &["ipBlock", "except"]).as_array().is_some_and(|list| !list.is_empty());
        let any = |block: &str| ANY_ADDRESS.contains(&block) && !permitted.networks.iter().any(|own| own == block);
        !excepts && self.block.is_some_and(any)
    }

    /// Whether it is a peer by its namespace.
    pub fn selects_namespaces(&self) -> bool {
        self.namespaces.written && self.block.is_none()
    }

    /// Whether its namespaceSelector leaves nothing out.
    pub fn is_any_namespace(&self) -> bool {
        self.selects_namespaces() && self.namespaces.is_empty()
    }

    /// Whether its selectors are short enough to be looked into.
    pub fn is_short(&self) -> bool {
        self.namespaces.demands.len() <= DEMANDS && self.pods.demands.len() <= DEMANDS
    }

    /// What it becomes; itself where nothing is to be narrowed.
    pub fn narrowed(&self, permitted: &Permitted) -> Value {
        let mut peer = self.written.clone();
        if !self.selects_namespaces() {
            return peer;
        }
        if self.selects_dns_pods() && !self.is_narrowed() && self.is_in_dns_namespace() {
            return peer;
        }
        if self.is_whole_dns_namespace() && !self.is_narrowed() {
            put(Some(&mut peer), "podSelector", dns_pods());
            return peer;
        }
        let mut demanded = self.namespaces.demands.to_vec();
        if self.is_narrowed() {
            let last = demanded.last_mut().filter(|last| values(last) != listed(&permitted.peers));
            put(last, "values", json!(permitted.peers));
        } else if self.selects_dns_pods() {
            demanded.push(in_dns_namespace());
        } else {
            demanded.extend(demands(&permitted.peers));
        }
        put(peer.get_mut("namespaceSelector"), "matchExpressions", demanded.into());
        peer
    }

    /// Whether it stood for every pod of any namespace, and so for those of the own one, which may be no peer now.
    pub fn lacks_own(&self) -> bool {
        self.is_any_namespace() && self.pods.is_empty()
    }

    /// Whether it stood for every pod of any namespace, outwards, and so for the cluster's DNS as well.
    pub fn lacks_dns(&self) -> bool {
        self.outwards && self.lacks_own()
    }

    /// Whether it ends with the demand, in the order in which only narrowing writes it.
    fn is_narrowed(&self) -> bool {
        let [.., enforced, peer, confined_for] = self.namespaces.demands else { return false };
        let says =
            |demand: &Value, key: &str, value: &str| is_about(demand, key, "In") && values(demand) == [json!(value)];
        says(enforced, keys::ENFORCEMENT, "Enforce")
            && says(peer, keys::PEER, "true")
            && is_about(confined_for, keys::CONFINED_FOR, "In")
    }

    fn selects_dns_pods(&self) -> bool {
        let openshift =
            |demand: &Value| is_about(demand, OPENSHIFT_DNS, "Exists") || is_about(demand, OPENSHIFT_DNS, "In");
        let is_app = |value: &str| DNS_APPS.contains(&value);
        self.outwards
            && (self.pods.labels.get(OPENSHIFT_DNS).is_some()
                || self.pods.has_label(DNS_APP, is_app)
                || self.pods.demands_of(DNS_APP, is_app)
                || self.pods.demands.iter().any(openshift))
    }

    /// Whether it can only be in the namespace the cluster's DNS lives in.
    fn is_in_dns_namespace(&self) -> bool {
        let is_dns = |name: &str| name == DNS_NAMESPACE;
        self.namespaces.has_label(NAMESPACE_NAME, is_dns) || self.namespaces.demands_of(NAMESPACE_NAME, is_dns)
    }

    /// Whether it stands for every pod of that namespace, outwards.
    fn is_whole_dns_namespace(&self) -> bool {
        let only = |demand: &Value| is_about(demand, NAMESPACE_NAME, "In") && values(demand) == [json!(DNS_NAMESPACE)];
        let named = self.namespaces.has_label(NAMESPACE_NAME, |name| name == DNS_NAMESPACE)
            || self.namespaces.demands.iter().any(only);
        self.outwards && self.pods.is_empty() && named
    }
}
