//! NetworkPolicies: as they are where tenants' wide policies are refused, and as they come out where those are narrowed.

use std::collections::BTreeSet;

use domicile::{audit::network::violations, observe::Policy};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use proptest::strategy::Strategy as _;

use super::{
    Comparison,
    ground::{Ground, Seen},
    words::{Json, either, just, labels, list, object, one_of, words},
};
use crate::support::prelude::*;

pub const POLICIES: Comparison = Comparison {
    name: "policies",
    otherwise: &[],
    of_admission: &[],
    // The bounds of the API server (network-size) are said by `violations` alone: what stands is judged whatever its size.
    finds: |ground, policy| {
        let policy = Policy::from(typed::<NetworkPolicy>(policy));
        let mut found: BTreeSet<&str> =
            violations(&policy.opens, &ground.confined.confinement).iter().map(|one| one.rule).collect();
        found.extend(ground.finds(&Seen::Policy(Box::new(policy))));
        found
    },
};

/// Blocks at every edge: permitted, inside one, as it is not written, all addresses in many spellings, and foreign ones.
fn blocks(number: u8) -> Json {
    let cidr = |text: &str| json!(text.replace("NN", &number.to_string()));
    let permitted =
        ["10.NN.0.0/16", "10.NN.7.0/24", "10.NN.0.1/32", "2001:db8:NN::/48", "2001:db8:NN:1::/64", "169.254.20.10/32"];
    let odd = [
        "10.NN.0.1/16",
        "10.NN.0.0/15",
        "10.NN.0.0/8",
        "0.0.0.0/0",
        "::/0",
        "0.0.0.0/1",
        "128.0.0.0/1",
        "0.0.0.0/00",
        "0::/0",
        "0:0:0:0:0:0:0:0/0",
        "::ffff:10.NN.0.0/112",
        "::ffff:0.0.0.0/96",
        "::10.NN.0.0/112",
        "2001:DB8:NN::/48",
        "2001:db8:NN::/47",
        "2001:0db8:00NN::/48",
        "198.51.100.7/32",
        "255.255.255.255/32",
        "010.NN.0.0/16",
        "2001:db8::/32",
        "10.NN.0.0",
        "1.1.1.1/0",
        "::1/0",
    ];
    let all = permitted.iter().chain(&permitted).chain(&odd).map(|text| cidr(text)).collect();
    let except = ["10.NN.7.0/24", "10.NN.0.0/17", "10.0.0.0/8", "198.51.100.0/24", "2001:db8:NN:1::/64"];
    let except = list(one_of(except.iter().map(|text| cidr(text)).collect()), 0..=2);
    object(vec![("cidr", 1.0, one_of(all)), ("except", 0.25, except)])
}

/// A demand for one key, nearly always nearly right.
fn demand(key: &'static str, right: &str, wrong: &str) -> Json {
    let of = |operator: &str, values: Value| json!({"key": key, "operator": operator, "values": values});
    let common = vec![of("In", json!([right])); 6];
    let odd = vec![
        of("In", json!([right, right])),
        of("In", json!([right, wrong])),
        of("In", json!([wrong])),
        of("In", json!(vec![right; 21])),
        of("NotIn", json!([wrong])),
        of("NotIn", json!([right])),
        json!({"key": key, "operator": "Exists"}),
        json!({"key": key, "operator": "DoesNotExist"}),
    ];
    one_of([common, odd].concat())
}

/// Selectors of namespaces: what makes a peer or the cluster's DNS, nearly right, in labels and in expressions, beside anything else.
fn namespaces(residency: &str) -> Json {
    let parts = [
        ("domicile.dev/confined-for", residency, "elsewhere"),
        ("domicile.dev/enforcement", "Enforce", "Warn"),
        ("domicile.dev/peer", "true", "false"),
        ("kubernetes.io/metadata.name", "kube-system", "shop"),
        ("domicile.dev/residency", residency, "elsewhere"),
    ];
    let shares = [0.95, 0.95, 0.95, 0.25, 0.1];
    let part = |(key, right, wrong): (&'static str, &str, &str)| {
        let own = key.to_owned();
        let values = words(&[right, right, right, right, wrong, ""]);
        either(vec![
            demand(key, right, wrong),
            values.prop_map(move |value| json!({"label": own, "value": value})).boxed(),
        ])
    };
    let parts: Vec<_> =
        parts.into_iter().zip(shares).map(|(one, share)| proptest::option::weighted(share, part(one))).collect();
    let mixed = parts.prop_map(|parts| selector(parts.into_iter().flatten().collect()));
    let dns = (
        demand("kubernetes.io/metadata.name", "kube-system", "openshift-dns"),
        proptest::option::weighted(0.2, demand("team", "maps", "cars")),
    );
    let dns = dns.prop_map(|(demand, beside)| selector([Some(demand), beside].into_iter().flatten().collect()));
    let peers = list(demand("team", "maps", "cars"), 0..=13).prop_map({
        let own = residency.to_owned();
        move |beside| {
            let mut demands = vec![
                json!({"key": "domicile.dev/enforcement", "operator": "In", "values": ["Enforce"]}),
                json!({"key": "domicile.dev/peer", "operator": "In", "values": ["true"]}),
                json!({"key": "domicile.dev/confined-for", "operator": "In", "values": [own]}),
            ];
            demands.extend(beside.as_array().unwrap().iter().cloned());
            selector(demands)
        }
    });
    let by_name = json!({"matchLabels": {"kubernetes.io/metadata.name": "kube-system"}});
    either(vec![one_of(vec![json!({}), by_name]), mixed.boxed(), dns.boxed(), peers.boxed()])
}

/// Expressions, and `{label, value}` for what is said in matchLabels.
fn selector(parts: Vec<Value>) -> Value {
    let mut selector = json!({});
    let (labels, demands): (Vec<_>, Vec<_>) = parts.into_iter().partition(|part| part["label"].is_string());
    for part in labels {
        selector["matchLabels"][part["label"].as_str().unwrap()] = part["value"].clone();
    }
    if !demands.is_empty() {
        selector["matchExpressions"] = json!(demands);
    }
    selector
}

fn pod_selectors() -> Json {
    let values = list(words(&["kube-dns", "coredns", "node-local-dns", "web", "kube-dns"]), 1..=3);
    let demand = either(vec![
        object(vec![
            ("key", 1.0, words(&["k8s-app"])),
            ("operator", 1.0, words(&["In", "NotIn"])),
            ("values", 1.0, values),
        ]),
        object(vec![
            ("key", 1.0, words(&["k8s-app", "dns.operator.openshift.io/daemonset-dns"])),
            ("operator", 1.0, words(&["Exists", "DoesNotExist"])),
        ]),
        just(json!({"key": "dns.operator.openshift.io/daemonset-dns", "operator": "In", "values": ["default"]})),
    ]);
    object(vec![
        (
            "matchLabels",
            0.5,
            labels(&["k8s-app", "app", "dns.operator.openshift.io/daemonset-dns"], &["kube-dns", "coredns", "web", ""]),
        ),
        ("matchExpressions", 0.4, list(demand, 0..=2)),
    ])
}

fn peer(residency: &str, number: u8) -> Json {
    either(vec![
        object(vec![("ipBlock", 1.0, blocks(number))]),
        object(vec![("namespaceSelector", 1.0, namespaces(residency)), ("podSelector", 0.5, pod_selectors())]),
        object(vec![("podSelector", 1.0, pod_selectors())]),
    ])
}

pub fn policy(residency: &str, number: u8) -> Json {
    of_spec(spec(residency, number))
}

fn of_spec(spec: Json) -> Json {
    object(vec![
        ("apiVersion", 1.0, just(json!("networking.k8s.io/v1"))),
        ("kind", 1.0, just(json!("NetworkPolicy"))),
        ("metadata", 1.0, object(vec![("name", 1.0, just(json!("it")))])),
        ("spec", 1.0, spec),
    ])
}

fn spec(residency: &str, number: u8) -> Json {
    let port = object(vec![
        ("protocol", 0.5, words(&["TCP", "UDP"])),
        ("port", 0.8, one_of(vec![json!(443), json!("https"), json!(53), json!(53)])),
        ("endPort", 0.1, one_of(vec![json!(53), json!(500)])),
    ]);
    let rule = |direction: &'static str| {
        object(vec![(direction, 0.9, list(peer(residency, number), 0..=2)), ("ports", 0.3, list(port.clone(), 0..=2))])
    };
    let types = [json!(["Egress", "Ingress"]), json!(["Egress"]), json!(["Ingress"]), json!([])];
    object(vec![
        ("podSelector", 1.0, pod_selectors()),
        ("policyTypes", 0.7, one_of(types.to_vec())),
        ("egress", 0.8, list(rule("to"), 0..=2)),
        ("ingress", 0.5, list(rule("from"), 0..=2)),
    ])
}

/// Policies around the bounds of what is judged in one piece: so many rules, peers, selectors, expressions.
fn large(residency: &str, number: u8) -> Json {
    let inside = json!({"ipBlock": {"cidr": format!("10.{number}.7.0/24")}});
    let network = json!({"ipBlock": {"cidr": format!("10.{number}.0.0/16")}});
    let foreign = json!({"ipBlock": {"cidr": "198.51.100.0/24"}});
    let selecting = |expressions: usize| {
        let mut demands = vec![json!({"key": "team", "operator": "Exists"}); expressions];
        demands.extend(parse("[{key: domicile.dev/enforcement, operator: In, values: [Enforce]}, {key: domicile.dev/peer, operator: In, values: ['true']}]").as_array().unwrap().clone());
        demands.push(json!({"key": "domicile.dev/confined-for", "operator": "In", "values": [residency]}));
        json!({"namespaceSelector": {"matchExpressions": demands}})
    };
    let pods = |expressions: usize| {
        let mut peer = selecting(0);
        peer["podSelector"] =
            json!({"matchExpressions": vec![json!({"key": "team", "operator": "Exists"}); expressions]});
        peer
    };
    let peers = vec![
        inside,
        network,
        foreign,
        selecting(0),
        selecting(7),
        selecting(12),
        selecting(13),
        selecting(28),
        pods(15),
        pods(16),
    ];
    let sizes = proptest::sample::select(vec![
        (1, 1),
        (100, 1),
        (101, 1),
        (1, 100),
        (1, 101),
        (6, 100),
        (1, 600),
        (1, 601),
        (2, 301),
        (50, 2),
    ]);
    let any = proptest::sample::select(vec![None, Some(json!({})), Some(parse("{to: [{namespaceSelector: {}}]}"))]);
    let spec = (sizes, one_of(peers), any).prop_map(|((rules, each), peer, any)| {
        let mut egress = vec![json!({"to": vec![peer; each]}); rules];
        egress.extend(any);
        json!({"podSelector": {}, "policyTypes": ["Egress"], "egress": egress})
    });
    of_spec(spec.boxed())
}

/// Opens nothing.
const STANDING: &str =
    "{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {name: own}, spec: {podSelector: {}}}";

#[test]
fn policies_that_are_narrowed_are_compliant_and_others_are_refused() {
    let stage = shared();
    let ground = Ground::new(&stage, "twice-narrowed", "{}");
    POLICIES.run(&ground, 1, &policy(&ground.name, ground.number));
    POLICIES.run_updates(&ground, 3, &STANDING.into(), &policy(&ground.name, ground.number));
}

#[test]
fn a_policy_too_large_to_be_judged_is_refused_exactly_where_the_audit_says_so() {
    let stage = shared();
    let ground = Ground::new(&stage, "twice-large", "{tenantPolicies: Refuse}");
    POLICIES.run(&ground, 10, &large(&ground.name, ground.number));
    let narrowed = Ground::new(&stage, "twice-large-narrowed", "{}");
    POLICIES.run(&narrowed, 10, &large(&narrowed.name, narrowed.number));
}

#[test]
fn policies_are_admitted_exactly_where_the_audit_finds_nothing() {
    let stage = shared();
    let ground = Ground::new(&stage, "twice-refused", "{tenantPolicies: Refuse}");
    POLICIES.run(&ground, 1, &policy(&ground.name, ground.number));
    POLICIES.run_updates(&ground, 3, &STANDING.into(), &policy(&ground.name, ground.number));
}

#[test]
fn with_open_ingress_only_egress_is_judged() {
    let stage = shared();
    let ground = Ground::new(&stage, "twice-open", "{tenantPolicies: Refuse, ingress: {policy: Open}}");
    POLICIES.run(&ground, 1, &policy(&ground.name, ground.number));
}
