//! The network of governed pods, judged by SIG Network's own policy engine: what passes, and what does not.

use crate::support::prelude::*;

pub const SHANGHAI: &str = "10.20.5.5";
pub const FRANKFURT: &str = "10.40.0.11";
pub const INTERNET: &str = "198.51.100.7";

/// A namespace with one running pod, `web`.
pub fn with_pod(stage: &Turn, residency: &str) -> Namespace {
    let namespace = if residency.is_empty() { stage.ungoverned() } else { stage.governed(residency) };
    namespace.accepts(namespace.pod("web"));
    namespace.runs("web");
    namespace
}

pub fn web(namespace: &Namespace) -> String {
    format!("{}/web", namespace.name)
}

#[track_caller]
pub fn passes(stage: &Turn, from: &str, to: &str, port: u16) {
    // The caches of a policy engine follow; so does a peer's label.
    eventually(&format!("a packet from {from} to {to}:{port} passes"), SOON, || {
        when(stage.passes(from, to, port), || "it is denied".into())
    });
}

#[track_caller]
pub fn is_stopped(stage: &Turn, from: &str, to: &str, port: u16) {
    assert!(!stage.passes(from, to, port), "a packet from {from} to {to}:{port} passes");
}

pub fn policy(name: &str, spec: &str) -> Manifest {
    Manifest::from(format!(
        "{{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {{name: {name}}}, spec: {spec}}}"
    ))
}

#[test]
fn s19_n14_governed_pods_reach_what_is_permitted_and_nothing_else() {
    let stage = shared();
    let shop = with_pod(&stage, "mainland");
    let web = web(&shop);
    passes(&stage, &web, SHANGHAI, 443);
    passes(&stage, &web, "10.21.0.11", 5432);
    passes(&stage, &web, "203.0.113.9", 443); // map-tiles
    passes(&stage, &web, "169.254.169.254", 80);
    for (to, port) in [
        (FRANKFURT, 443),
        ("10.30.0.11", 443),
        (INTERNET, 443),
        ("203.0.113.9", 80),
        ("169.254.169.254", 443),
        ("8.8.8.8", 53),
    ] {
        is_stopped(&stage, &web, to, port);
    }
    passes(&stage, SHANGHAI, &web, 8080);
    is_stopped(&stage, FRANKFURT, &web, 8080);
    is_stopped(&stage, INTERNET, &web, 8080);
}

/// A pod of the cluster's DNS, until it is dropped.
pub struct DnsPod<'a> {
    stage: &'a Turn,
    name: String,
}

impl<'a> DnsPod<'a> {
    #[track_caller]
    pub fn new(stage: &'a Turn) -> Self {
        Self::on(stage, "shanghai-a")
    }

    /// One that runs on this node.
    #[track_caller]
    pub fn on(stage: &'a Turn, node: &str) -> Self {
        Self::labelled(stage, "kube-dns", node)
    }

    /// One with this value of the label `k8s-app`.
    #[track_caller]
    pub fn labelled(stage: &'a Turn, app: &str, node: &str) -> Self {
        let name = fresh_name();
        let pod = bare_pod(&name)
            .with(&format!("metadata: {{namespace: kube-system, labels: {{k8s-app: {app}}}}}"))
            .with(&format!("spec: {{nodeName: {node}}}"));
        stage.admin.create(&pod).expected();
        eventually("the DNS pod has an address", SOON, || {
            let pod = stage.admin.get(&POD, "kube-system", &name);
            when(pod["status"]["podIP"].is_string(), || pod["status"].to_string())
        });
        Self { stage, name }
    }

    /// As `packet` names it.
    pub fn place(&self) -> String {
        format!("kube-system/{}", self.name)
    }
}

impl Drop for DnsPod<'_> {
    fn drop(&mut self) {
        let _ = self.stage.admin.delete_now(&POD, "kube-system", &self.name);
    }
}

/// As k3s, kubeadm and NodeLocal DNSCache run it. OpenShift's namespace is no system namespace elsewhere, so it is none here.
#[test]
fn n6_names_are_resolved_by_every_variant_of_the_clusters_dns() {
    let stage = shared();
    let shop = with_pod(&stage, "mainland");
    for app in ["kube-dns", "coredns", "node-local-dns"] {
        let dns = DnsPod::labelled(&stage, app, "shanghai-a");
        passes(&stage, &web(&shop), &dns.place(), 53);
        is_stopped(&stage, &web(&shop), &dns.place(), 8080);
    }
    let other = DnsPod::labelled(&stage, "metrics-server", "shanghai-a");
    is_stopped(&stage, &web(&shop), &other.place(), 53);
    passes(&stage, &web(&shop), "169.254.20.10", 53);
    is_stopped(&stage, &web(&shop), "169.254.20.10", 8080);
}

#[test]
fn n6_a_dns_that_stands_abroad_is_told() {
    let stage = shared();
    let message = || {
        let status = stage.admin.get(&DATA_RESIDENCY, "", "mainland")["status"].clone();
        let conditions = status["conditions"].as_array().cloned().unwrap_or_default();
        let network = conditions.into_iter().find(|one| one["type"] == "NetworkEnforced").unwrap_or_default();
        network["message"].as_str().unwrap_or_default().to_owned()
    };
    let dns = DnsPod::on(&stage, "frankfurt-a");
    let words = format!("{} on node frankfurt-a", dns.place());
    eventually("it is told", SOON, || when(message().contains(&words), message));
    drop(dns);
    eventually("it is told no more", SOON, || when(!message().contains(&words), message));
}

#[test]
fn n6_names_are_resolved_by_the_clusters_dns_only() {
    let stage = shared();
    let shop = with_pod(&stage, "mainland");
    let dns = DnsPod::new(&stage);
    let there = dns.place();
    passes(&stage, &web(&shop), &there, 53);
    is_stopped(&stage, &web(&shop), &there, 8080);
    // A pod that a tenant labels as DNS is none.
    let free = stage.ungoverned();
    free.accepts(bare_pod("web").with("metadata: {labels: {k8s-app: kube-dns}}"));
    free.runs("web");
    is_stopped(&stage, &web(&shop), &web(&free), 53);
}

#[test]
fn n11_peers_are_namespaces_of_the_same_residency() {
    let stage = shared();
    let (shop, store, free) = (with_pod(&stage, "mainland"), with_pod(&stage, "mainland"), with_pod(&stage, ""));
    passes(&stage, &web(&shop), &web(&store), 80);
    passes(&stage, &web(&store), &web(&shop), 80);
    is_stopped(&stage, &web(&shop), &web(&free), 80);
    is_stopped(&stage, &web(&free), &web(&shop), 80);
    // A namespace that names the residency and isn't confined for it is no peer.
    let typo = stage.namespace("{domicile.dev/residency: mainland_nobody-made-this}");
    assert!(!typo.labels().contains_key("domicile.dev/peer"));
}

#[test]
fn n1_a_policy_for_any_address_is_narrowed() {
    let stage = shared();
    let (shop, free) = (with_pod(&stage, "mainland"), with_pod(&stage, ""));
    let wide = [
        ("no-peers", "{podSelector: {}, policyTypes: [Egress, Ingress], egress: [{}], ingress: [{}]}"),
        ("any-v4", "{podSelector: {}, policyTypes: [Egress], egress: [{to: [{ipBlock: {cidr: 0.0.0.0/0}}]}]}"),
        ("any-v6", "{podSelector: {}, policyTypes: [Egress], egress: [{to: [{ipBlock: {cidr: '::/0'}}]}]}"),
        (
            "any-namespace",
            "{podSelector: {}, policyTypes: [Egress, Ingress], egress: [{to: [{namespaceSelector: {}}]}], ingress: [{from: [{namespaceSelector: {}, podSelector: {}}]}]}",
        ),
        ("any-with-a-port", "{podSelector: {}, policyTypes: [Egress], egress: [{ports: [{port: 443}]}]}"),
        (
            "exists",
            "{podSelector: {}, policyTypes: [Ingress], ingress: [{from: [{namespaceSelector: {matchExpressions: [{key: kubernetes.io/metadata.name, operator: Exists}]}}]}]}",
        ),
    ];
    for (name, spec) in wide {
        if !stage.mutates() {
            let said = shop.rejects(policy(name, spec), "[domicile/network-");
            assert!(
                said.contains("10.20.0.0/16") || said.contains("domicile.dev/confined-for"),
                "the refusal of {name} does not show what to write: {said}"
            );
            continue;
        }
        let made = shop.accepts(policy(name, spec));
        assert!(
            !made["spec"].to_string().contains("0.0.0.0/0") && !made["spec"].to_string().contains("\"::/0\""),
            "{}",
            made["spec"]
        );
        is_stopped(&stage, &web(&shop), FRANKFURT, 443);
        is_stopped(&stage, &web(&shop), INTERNET, 443);
        is_stopped(&stage, &web(&shop), &web(&free), 443);
        is_stopped(&stage, &web(&free), &web(&shop), 443);
        passes(&stage, &web(&shop), SHANGHAI, 443);
    }
}

#[test]
fn what_cannot_be_narrowed_exactly_is_refused() {
    let stage = shared();
    let shop = stage.governed("mainland");
    let egress = |peer: &str| {
        policy("wide", &format!("{{podSelector: {{}}, policyTypes: [Egress], egress: [{{to: [{peer}]}}]}}"))
    };
    for foreign in [
        "{ipBlock: {cidr: 10.40.0.0/16}}",
        "{ipBlock: {cidr: 10.0.0.0/8}}",
        "{ipBlock: {cidr: 0.0.0.0/1}}, {ipBlock: {cidr: 128.0.0.0/1}}",
        "{ipBlock: {cidr: 0.0.0.0/0, except: [198.51.100.0/24]}}",
        "{ipBlock: {cidr: 198.51.100.7/32}}",
        "{ipBlock: {cidr: '2001:db8::/32'}}",
    ] {
        let said = shop.rejects(egress(foreign), "[domicile/network-foreign]");
        assert!(said.contains("10.20.0.0/16"), "the refusal does not say what is permitted: {said}");
    }
    // The node's own DNS is for names alone: what else listens on the node would be there, too.
    let local = egress("{ipBlock: {cidr: 169.254.20.10/32}}").named("local-dns");
    shop.rejects(local.clone(), "[domicile/network-foreign]");
    let names = "spec: {egress: [{to: [{ipBlock: {cidr: 169.254.20.10/32}}], ports: [{port: 53, protocol: UDP}, {port: 53, protocol: TCP}]}]}";
    shop.accepts(local.with(names));
    shop.accepts(egress("{ipBlock: {cidr: 10.20.7.0/24}}, {podSelector: {}}").named("fine"));
    shop.patch(&NETWORK_POLICY, "fine", "spec: {egress: [{to: [{ipBlock: {cidr: 198.51.100.0/24}}]}]}")
        .refused("[domicile/network-foreign]");
}

#[test]
fn a_selector_that_repeats_itself_selects_the_same_peers() {
    let stage = shared();
    let _residency = stage.makes_residency("repeating", "{jurisdictions: [CN], network: {tenantPolicies: Refuse}}");
    let shop = stage.governed("repeating");
    let demands = json!([
        {"key": "domicile.dev/confined-for", "operator": "In", "values": ["repeating"]},
        {"key": "domicile.dev/enforcement", "operator": "In", "values": ["Enforce", "Enforce"]},
        {"key": "domicile.dev/peer", "operator": "In", "values": ["true", "true"]},
    ]);
    let peers = json!({"podSelector": {}, "policyTypes": ["Ingress"], "ingress": [{"from": [{"namespaceSelector": {"matchExpressions": demands}}]}]});
    shop.accepts(policy("twice", &peers.to_string()));
}

#[test]
fn a_tenants_zero_trust_is_not_widened() {
    let stage = shared();
    let shop = with_pod(&stage, "mainland");
    shop.accepts(policy(
        "only-one-subnet",
        "{podSelector: {}, policyTypes: [Egress], egress: [{to: [{ipBlock: {cidr: 10.20.1.0/24}}]}]}",
    ));
    shop.label("domicile.dev/permit", "None");
    shop.loses(&NETWORK_POLICY, "domicile-permit");
    passes(&stage, &web(&shop), "10.20.1.5", 443);
    is_stopped(&stage, &web(&shop), "10.20.2.5", 443);
    is_stopped(&stage, SHANGHAI, &web(&shop), 8080);
    shop.label("domicile.dev/permit", "All");
    passes(&stage, &web(&shop), "10.20.2.5", 443);
}

#[test]
fn single_pods_may_refuse_the_permit() {
    let stage = shared();
    let shop = stage.governed("mainland");
    shop.accepts(shop.pod("web").with("metadata: {labels: {domicile.dev/permit: None}}"));
    shop.runs("web");
    is_stopped(&stage, &web(&shop), SHANGHAI, 443);
    is_stopped(&stage, SHANGHAI, &web(&shop), 443);
}

#[test]
fn the_policies_of_domicile_are_in_nobody_elses_hands() {
    let stage = shared();
    let shop = stage.governed("mainland");
    let refusal = "[domicile/own-network-policy]";
    for user in [&stage.tenant, &stage.admin] {
        for name in ["domicile-isolate", "domicile-permit"] {
            user.delete(&NETWORK_POLICY, &shop.name, name).refused(refusal);
            user.patch(
                &NETWORK_POLICY,
                &shop.name,
                name,
                &json!({"spec": {"podSelector": {"matchLabels": {"nobody": "here"}}}}),
            )
            .refused(refusal);
            user.patch(
                &NETWORK_POLICY,
                &shop.name,
                name,
                &json!({"metadata": {"labels": {"app.kubernetes.io/managed-by": null}}}),
            )
            .refused(refusal);
        }
        let deleted = user.kubectl(&format!("delete networkpolicies --all -n {}", shop.name));
        deleted.refused(refusal);
    }
    shop.rejects(
        policy("mine", "{podSelector: {}}").with("metadata: {labels: {app.kubernetes.io/managed-by: domicile}}"),
        refusal,
    );
    // One that had the label before is its owner's, who may take it away.
    let mut space = stage.ungoverned();
    let marked = "metadata: {labels: {app.kubernetes.io/managed-by: domicile}}";
    let abroad = "{podSelector: {}, policyTypes: [Egress], egress: [{to: [{ipBlock: {cidr: 198.51.100.7/32}}]}]}";
    for name in ["mine", "other"] {
        space.accepts(policy(name, abroad).with(marked));
    }
    space.label("domicile.dev/residency", "mainland");
    eventually("it says what opens more", SOON, || {
        let reason = space.annotation("domicile.dev/refused-because");
        when(reason.contains("NetworkPolicy mine opens more than is permitted"), || reason)
    });
    space.patch(&NETWORK_POLICY, "mine", "{spec: {egress: null}}").expected();
    space.patch(&NETWORK_POLICY, "mine", "{metadata: {labels: {app.kubernetes.io/managed-by: null}}}").expected();
    space.patch(&NETWORK_POLICY, "mine", marked).refused(refusal);
    space.delete(&NETWORK_POLICY, "other").expected();
    space.joins("mainland");
}

/// A plugin that follows policies by a finalizer enforces none without it (EKS); others hold nothing by one.
#[test]
fn a_network_plugin_may_follow_the_policies_of_domicile() {
    let stage = shared();
    let shop = stage.governed("mainland");
    let finalizers = |all: &[&str]| json!({"metadata": {"finalizers": all}});
    let follows = ["networking.k8s.aws/resources"];
    for name in ["domicile-isolate", "domicile-permit"] {
        stage
            .admin
            .patch(&NETWORK_POLICY, &shop.name, name, &finalizers(&["example.com/hold"]))
            .refused("[domicile/own-network-policy]");
        stage.admin.patch(&NETWORK_POLICY, &shop.name, name, &finalizers(&follows)).expected();
    }
    never("the operator takes the plugin's finalizer away", Duration::from_secs(2), || {
        let own = shop.get(&NETWORK_POLICY, "domicile-isolate")["metadata"]["finalizers"].clone();
        (own != json!(follows)).then(|| own.to_string())
    });
    // It ends when the plugin says so, and opens nothing meanwhile.
    shop.label("domicile.dev/permit", "None");
    eventually("the policy that permitted is emptied, and waits for the plugin", SOON, || {
        let policy = shop.get(&NETWORK_POLICY, "domicile-permit");
        let so = policy["metadata"]["deletionTimestamp"].is_string() && policy["spec"]["egress"].is_null();
        when(so && policy["metadata"]["finalizers"] == json!(follows), || policy.to_string())
    });
    // What closes waits for no plugin, and what is to stand again does not wait for ever.
    shop.label("domicile.dev/permit", "All");
    shop.label("pod-security.kubernetes.io/enforce", "restricted");
    eventually("the policy is made anew", LATER, || {
        let metadata = shop.find(&NETWORK_POLICY, "domicile-permit").unwrap_or_default()["metadata"].clone();
        when(metadata["uid"].is_string() && metadata["deletionTimestamp"].is_null(), || metadata.to_string())
    });
    stage.admin.patch(&NETWORK_POLICY, &shop.name, "domicile-isolate", &finalizers(&[])).expected();
}

/// Enforce is not put off by whoever holds an isolating policy that ends.
#[test]
fn a_stricter_mode_closes_before_it_waits_for_a_plugin() {
    let stage = shared();
    let space = stage.ungoverned();
    space.accepts(
        policy("domicile-isolate", "{podSelector: {}}").with("metadata: {finalizers: [networking.k8s.aws/resources]}"),
    );
    stage.tenant.delete(&NETWORK_POLICY, &space.name, "domicile-isolate").expected();
    let residency = stage.makes_residency("put-off", "{jurisdictions: [CN], enforcement: Warn}");
    space.label("domicile.dev/residency", "put-off");
    eventually("Warn holds", SOON, || {
        let mode = space.labels().get("domicile.dev/enforcement").cloned();
        when(mode.as_deref() == Some("Warn"), || format!("{mode:?}"))
    });
    residency.becomes("spec: {enforcement: Enforce}");
    let foreign = bare_pod("web").with("spec: {nodeName: frankfurt-a}");
    space.comes_to_reject(foreign, "[domicile/refused]|[domicile/node-name]|[domicile/not-confined]");
    // A plugin is waited for half a minute, and meanwhile the operator tries again more and more seldom.
    eventually("the plugin is waited for no more", LATER, || {
        let because = space.annotation("domicile.dev/refused-because");
        when(because == "-", || because)
    });
    space.is_confined();
    let isolating = space.get(&NETWORK_POLICY, "domicile-isolate")["metadata"].clone();
    assert!(isolating["deletionTimestamp"].is_null(), "{isolating}");
}

#[test]
fn a_residency_may_refuse_wide_policies() {
    let stage = shared();
    let _residency = stage.makes_residency("refusing", "{jurisdictions: [CN], network: {tenantPolicies: Refuse}}");
    let shop = stage.governed("refusing");
    let said = shop
        .rejects(policy("wide", "{podSelector: {}, policyTypes: [Egress], egress: [{}]}"), "[domicile/network-any]");
    assert!(said.contains("10.20.0.0/16"), "{said}");
    shop.rejects(
        policy("wide", "{podSelector: {}, policyTypes: [Ingress], ingress: [{from: [{namespaceSelector: {}}]}]}"),
        "[domicile/network-namespace]",
    );
    shop.accepts(policy("own", "{podSelector: {}, policyTypes: [Ingress], ingress: [{from: [{podSelector: {}}]}]}"));
}

#[test]
fn ingress_may_be_open_or_allowed() {
    let stage = shared();
    let gateway = with_pod(&stage, "");
    let spec = format!(
        "{{jurisdictions: [CN], network: {{ingress: {{allow: [{{name: gateway, namespaceSelector: {{matchLabels: {{kubernetes.io/metadata.name: {}}}}}, ports: [{{port: 8080}}]}}]}}}}}}",
        gateway.name
    );
    let _allowing = stage.makes_residency("allowing-one", &spec);
    let _open = stage.makes_residency("open-to-readers", "{jurisdictions: [CN], network: {ingress: {policy: Open}}}");
    let (allowing, open) = (with_pod(&stage, "allowing-one"), with_pod(&stage, "open-to-readers"));
    passes(&stage, &web(&gateway), &web(&allowing), 8080);
    is_stopped(&stage, &web(&gateway), &web(&allowing), 9090);
    is_stopped(&stage, INTERNET, &web(&allowing), 8080);
    passes(&stage, INTERNET, &web(&open), 8080);
    is_stopped(&stage, &web(&open), INTERNET, 443);
}

#[test]
fn a_residency_may_leave_permits_to_the_tenants() {
    let stage = shared();
    let _residency = stage.makes_residency("zero-trust", "{jurisdictions: [CN], network: {permit: None}}");
    let shop = with_pod(&stage, "zero-trust");
    is_stopped(&stage, &web(&shop), SHANGHAI, 443);
    shop.accepts(policy(
        "one",
        "{podSelector: {}, policyTypes: [Egress], egress: [{to: [{ipBlock: {cidr: 10.20.5.0/24}}]}]}",
    ));
    passes(&stage, &web(&shop), SHANGHAI, 443);
}

/// P16: what holds, holds for the namespace: a tenant takes no pod out of it by its labels.
#[test]
fn p16_a_pod_leaves_no_rule_by_changing_its_labels() {
    let stage = shared();
    let shop = stage.governed("mainland");
    shop.accepts(shop.pod("web").with("metadata: {labels: {app: web}}"));
    let node = shop.runs("web");
    let web = web(&shop);
    passes(&stage, &web, SHANGHAI, 443);
    for labels in [
        "{app: web}",
        "{app: other}",
        "{app: null}",
        "{k8s-app: kube-dns, app.kubernetes.io/managed-by: domicile}",
        "{domicile.dev/residency: none, domicile.dev/enforcement: Audit, domicile.dev/permit: None}",
    ] {
        shop.patch(&POD, "web", &format!("metadata: {{labels: {labels}}}")).expected();
        for to in [FRANKFURT, INTERNET] {
            is_stopped(&stage, &web, to, 443);
            is_stopped(&stage, to, &web, 8080);
        }
        let spec = shop.get(&POD, "web")["spec"].clone();
        assert_eq!(spec["nodeSelector"], json!(shop.pins()), "{labels}");
        assert_eq!(spec["nodeName"], node.as_str(), "{labels}");
    }
}
