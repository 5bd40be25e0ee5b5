//! ClusterNetworkPolicy where a cluster serves it: what it closes, for whom, and that it comes and goes with the kind.

use crate::{
    change::intruder,
    network::{DnsPod, INTERNET, SHANGHAI, is_stopped, passes, policy, web, with_pod},
    support::prelude::*,
};

const KIND: &str = "clusternetworkpolicies.policy.networking.k8s.io";

/// Lets the cluster serve the kind until the answer is dropped. No test before this one has left it.
#[track_caller]
fn serve(stage: &Turn) -> Made {
    let path = stage.cluster.tools.join("clusternetworkpolicies.yaml");
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let mut definition = Manifest::from(text);
    definition.0.as_object_mut().unwrap().remove("status");
    stage.makes(definition)
}

/// A cluster that does not serve it yet, whatever tests before have left.
fn without_it() -> Turn {
    let stage = to_install_anew();
    stage.admin.sees_the_end_of(&DEFINITION, "", KIND);
    stage
}

#[track_caller]
fn stands(stage: &Turn, name: &str) -> Value {
    eventually(&format!("ClusterNetworkPolicy {name} stands"), SOON, || {
        let found = stage.admin.get_at(&CLUSTER_NETWORK_POLICY.path("", name));
        if found.ok() { Ok(found.object) } else { Err(format!("{} {}", found.code, found.message)) }
    })
}

/// Waits until the status says which tier isolates the network.
#[track_caller]
fn tier_becomes(stage: &Turn, residency: &str, tier: &str) -> String {
    eventually(&format!("{tier} isolates the network of {residency}"), SOON, || {
        let status = stage.admin.get(&DATA_RESIDENCY, "", residency)["status"].clone();
        when(status["enforcedBy"]["network"] == tier, || status.to_string())?;
        let conditions = status["conditions"].as_array().cloned().unwrap_or_default();
        let network = conditions.iter().find(|condition| condition["type"] == "NetworkEnforced").cloned();
        let network = network.unwrap_or_default();
        assert_eq!(network["status"], "Unknown", "no plugin was seen: {network}");
        Ok(network["message"].as_str().unwrap_or_default().to_owned())
    })
}

#[test]
fn what_an_older_policy_of_a_tenant_opens_is_closed_before_it_is_asked() {
    let stage = without_it();
    // It opens foreign addresses, so that it can't be narrowed; nothing may start in the namespace, but what runs is open.
    let leaking = stage.ungoverned();
    leaking.accepts(bare_pod("web").with("spec: {nodeSelector: {kubernetes.io/hostname: shanghai-a}}"));
    leaking.runs("web");
    leaking.accepts(policy(
        "wide",
        "{podSelector: {}, policyTypes: [Egress, Ingress], egress: [{to: [{ipBlock: {cidr: 0.0.0.0/1}}, {ipBlock: {cidr: 128.0.0.0/1}}]}], ingress: [{from: [{ipBlock: {cidr: 0.0.0.0/1}}, {namespaceSelector: {}}]}]}",
    ));
    leaking.label("domicile.dev/residency", "mainland");
    eventually("it is confined, and says what keeps it closed", SOON, || {
        let because = leaking.annotation("domicile.dev/refused-because");
        let confined = leaking.labels().get("domicile.dev/confined-for").is_some_and(|value| value == "mainland");
        when(confined && because.contains("NetworkPolicy wide"), || format!("{because} {:?}", leaking.labels()))
    });
    let (store, free, other) = (with_pod(&stage, "mainland"), with_pod(&stage, ""), with_pod(&stage, ""));
    let (leak, store, free, other) = (web(&leaking), web(&store), web(&free), web(&other));
    for (from, to) in [(&leak, &INTERNET.to_owned()), (&leak, &free), (&free, &leak)] {
        passes(&stage, from, to, 443); // red without it
    }
    let served = serve(&stage);
    stands(&stage, "domicile-mainland");
    for (from, to) in [(&leak, &INTERNET.to_owned()), (&leak, &free), (&free, &leak), (&store, &INTERNET.to_owned())] {
        is_stopped(&stage, from, to, 443);
    }
    // What is permitted passes as before, as far as the namespaces' own policies open it. What leaks is nobody's peer.
    for (from, to) in [(&leak, SHANGHAI), (&store, SHANGHAI), (&store, "203.0.113.9")] {
        passes(&stage, from, to, 443);
    }
    for (from, to) in [(&leak, &store), (&store, &leak)] {
        is_stopped(&stage, from, to, 443);
    }
    is_stopped(&stage, &store, "203.0.113.9", 80);
    passes(&stage, &store, "169.254.169.254", 80);
    passes(&stage, SHANGHAI, &store, 8080);
    // Nobody else notices.
    for (from, to) in [(free.as_str(), INTERNET), (free.as_str(), other.as_str()), (INTERNET, free.as_str())] {
        passes(&stage, from, to, 443);
    }
    leaking.tenant.delete(&NETWORK_POLICY, &leaking.name, "wide").expected();
    passes(&stage, &store, &leak, 443);
    drop(served);
}

#[test]
fn an_ungoverned_pod_is_outside_also_where_its_address_lies_in_a_permitted_network() {
    let stage = without_it();
    let _residency = stage.makes_residency("by-identity", "{jurisdictions: [CN]}");
    let (shop, free) = (with_pod(&stage, "by-identity"), stage.ungoverned());
    // Kubelets say which address a pod has. No kubelet has this one, which nobody binds, so that none corrects it.
    free.accepts(bare_pod("claims").with("spec: {schedulingGates: [{name: example.com/wait}]}"));
    let address = json!({"status": {"podIP": "10.20.9.9", "podIPs": [{"ip": "10.20.9.9"}]}});
    stage.admin.patch_at(&format!("{}/status", POD.path(&free.name, "claims")), Patch::Merge, &address).expected();
    let (web, claims) = (web(&shop), format!("{}/claims", free.name));
    passes(&stage, &web, &claims, 443); // red without it: an address is all that a NetworkPolicy knows of it
    passes(&stage, &claims, &web, 443);
    let _served = serve(&stage);
    let said = tier_becomes(&stage, "by-identity", "ClusterNetworkPolicy");
    assert!(!said.contains(&claims), "{said}");
    is_stopped(&stage, &web, &claims, 443);
    is_stopped(&stage, &claims, &web, 443);
    passes(&stage, &web, "10.20.9.10", 443);
    free.is_deleted(); // the next test has this cluster, where no such pod may stand
}

#[test]
fn names_are_resolved_behind_it() {
    let stage = without_it();
    let _served = serve(&stage);
    let shop = with_pod(&stage, "mainland");
    stands(&stage, "domicile-mainland");
    let dns = DnsPod::new(&stage);
    let there = dns.place();
    passes(&stage, &web(&shop), &there, 53);
    is_stopped(&stage, &web(&shop), &there, 8080);
    passes(&stage, &there, INTERNET, 53); // kube-system is never governed
}

#[test]
fn it_comes_and_goes_with_the_kind_and_the_status_says_which_tier_holds() {
    let stage = without_it();
    let _residency = stage.makes_residency("in-tiers", "{jurisdictions: [CN]}");
    let shop = with_pod(&stage, "in-tiers");
    tier_becomes(&stage, "in-tiers", "NetworkPolicy");
    let served = serve(&stage);
    let name = "domicile-in-tiers";
    let version = |policy: &Value| policy["metadata"]["resourceVersion"].clone();
    let made = version(&stands(&stage, name));
    let said = tier_becomes(&stage, "in-tiers", "ClusterNetworkPolicy");
    assert!(said.contains("ClusterNetworkPolicies stand"), "{said}");
    // It is the same for the next namespace, and written no more.
    let second = stage.governed("in-tiers");
    tier_becomes(&stage, "in-tiers", "ClusterNetworkPolicy");
    assert_eq!(version(&stands(&stage, name)), made);
    drop(second);
    served.deleted();
    stage.admin.sees_the_end_of(&DEFINITION, "", KIND);
    let said = tier_becomes(&stage, "in-tiers", "NetworkPolicy");
    assert!(said.contains("NetworkPolicies stand"), "{said}");
    for own in ["domicile-isolate", "domicile-permit"] {
        shop.get(&NETWORK_POLICY, own);
    }
    is_stopped(&stage, &web(&shop), INTERNET, 443);
    passes(&stage, &web(&shop), SHANGHAI, 443);
    // And it comes again.
    let _served = serve(&stage);
    stands(&stage, name);
    tier_becomes(&stage, "in-tiers", "ClusterNetworkPolicy");
}

#[test]
fn n2d_it_is_in_nobody_elses_hands_and_drift_is_undone_and_told() {
    let stage = without_it();
    let _residency = stage.makes_residency("drifting", "{jurisdictions: [CN]}");
    let _shop = stage.governed("drifting");
    let _served = serve(&stage);
    let name = "domicile-drifting";
    let spec = stands(&stage, name)["spec"].clone();
    tier_becomes(&stage, "drifting", "ClusterNetworkPolicy"); // the operator has seen it stand
    let refusal = "[domicile/own-cluster-network-policy]";
    let kind = &CLUSTER_NETWORK_POLICY;
    stage.admin.patch(kind, "", name, &json!({"spec": {"egress": null}})).refused(refusal);
    let unmark = json!({"metadata": {"labels": {"app.kubernetes.io/managed-by": null}}});
    stage.admin.patch(kind, "", name, &unmark).refused(refusal);
    stage.admin.delete(kind, "", name).refused(refusal);
    let named = |name: &str| {
        let mut policy =
            Manifest::from("{apiVersion: policy.networking.k8s.io/v1alpha2, kind: ClusterNetworkPolicy, metadata: {}}")
                .named(name);
        policy.0["spec"] = spec.clone();
        policy
    };
    stage.admin.try_create(&named("domicile-squatted")).refused(refusal);
    stage.admin.try_create(&named("of-the-platform")).expected();
    stage.tenant.try_create(&named("of-a-tenant")).refused("cannot create resource");

    let thief = intruder(&stage);
    thief.patch(kind, "", name, &json!({"spec": {"egress": null}})).expected();
    let is_restored = || {
        eventually("it is as it was", SOON, || {
            let now = stage.admin.find(kind, "", name).map(|policy| policy["spec"].clone()).unwrap_or_default();
            when(now == spec, || now.to_string())
        });
    };
    is_restored();
    eventually("that is told", SOON, || {
        let path = format!("{}?fieldSelector=involvedObject.name={name}", EVENT.collection("default"));
        let events = stage.admin.get_at(&path).object["items"].to_string();
        when(events.contains("IsolationRestored"), || events.clone())
    });
    thief.delete(kind, "", name).expected();
    is_restored();

    // Even with the operator's token nothing is accepted, and no other namespace is cut off.
    let marked = |policy: Manifest| policy.with("metadata: {labels: {app.kubernetes.io/managed-by: domicile}}");
    let refused = |policy: Manifest| drop(thief.try_create(&policy).refused("[domicile/operator]"));
    refused(named("domicile-unmarked"));
    refused(marked(named("of-the-platform")));
    let mut accepting = marked(named("domicile-accepting"));
    accepting.0["spec"]["egress"][0]["action"] = json!("Accept");
    refused(accepting);
    let mut everywhere = marked(named("domicile-everywhere"));
    everywhere.0["spec"]["subject"] = json!({"namespaces": {}});
    refused(everywhere);
    thief.try_create(&marked(named("domicile-as-it-should-be"))).expected();
}

#[test]
fn it_goes_with_the_last_namespace_that_is_confined_for_its_value() {
    let stage = without_it();
    let _served = serve(&stage);
    let _one = stage.makes_residency("one-of-two", "{jurisdictions: [CN]}");
    let _two = stage.makes_residency("two-of-two", "{jurisdictions: [CN]}");
    let audited = stage.makes_residency("only-audited", "{jurisdictions: [CN], enforcement: Audit}");
    let (first, second) = (stage.governed("one-of-two"), stage.governed("one-of-two"));
    let both = stage.governed("one-of-two_two-of-two");
    let observed = stage.governed("only-audited");
    stands(&stage, "domicile-one-of-two");
    stands(&stage, "domicile-one-of-two.two-of-two");
    let platform = stage.platform_team();
    let release = |namespace: &Namespace| {
        let none = json!({"metadata": {"labels": {"domicile.dev/residency": "none"}}});
        platform.patch(&NAMESPACE, "", &namespace.name, &none).expected();
    };
    release(&both);
    stage.admin.sees_the_end_of(&CLUSTER_NETWORK_POLICY, "", "domicile-one-of-two.two-of-two");
    release(&first);
    eventually("it is released", SOON, || {
        let labels = first.labels();
        when(!labels.contains_key("domicile.dev/confined-for"), || format!("{labels:?}"))
    });
    stands(&stage, "domicile-one-of-two");
    release(&second);
    stage.admin.sees_the_end_of(&CLUSTER_NETWORK_POLICY, "", "domicile-one-of-two");
    // Audit changes nothing, until it is stricter.
    assert!(stage.admin.find(&CLUSTER_NETWORK_POLICY, "", "domicile-only-audited").is_none());
    audited.becomes("spec: {enforcement: Enforce}");
    stands(&stage, "domicile-only-audited");
    audited.becomes("spec: {enforcement: Warn}");
    stage.admin.sees_the_end_of(&CLUSTER_NETWORK_POLICY, "", "domicile-only-audited");
    drop(observed);
}

#[test]
fn n2b_what_others_deny_holds_and_what_they_accept_is_told() {
    let stage = without_it();
    let _served = serve(&stage);
    let _residency = stage.makes_residency("among-others", "{jurisdictions: [CN]}");
    let shop = with_pod(&stage, "among-others");
    stands(&stage, "domicile-among-others");
    let theirs = |name: &str, action: &str, network: &str| {
        let mut policy = Manifest::from("{apiVersion: policy.networking.k8s.io/v1alpha2, kind: ClusterNetworkPolicy, metadata: {}, spec: {tier: Admin, priority: 10, subject: {namespaces: {}}}}").named(name);
        policy.0["spec"]["egress"] = json!([{"action": action, "to": [{"networks": [network]}]}]);
        policy
    };
    // What Domicile's passes is not passed by what others deny: it is asked last.
    let quarantine = stage.makes(theirs("quarantine", "Deny", "10.20.5.5/32"));
    is_stopped(&stage, &web(&shop), SHANGHAI, 443);
    passes(&stage, &web(&shop), "10.20.6.6", 443);
    tier_becomes(&stage, "among-others", "ClusterNetworkPolicy");
    quarantine.deleted();
    passes(&stage, &web(&shop), SHANGHAI, 443);

    let careless = stage.makes(theirs("careless", "Accept", "198.51.100.0/24"));
    passes(&stage, &web(&shop), INTERNET, 443);
    let seen = stage.becomes("among-others", "Compliant", "False");
    let said = seen["status"]["findings"].to_string();
    assert!(said.contains("domicile/cluster-network-policy") && said.contains("careless"), "{said}");
    stage.becomes("among-others", "NetworkEnforced", "False");
    careless.deleted();
    stage.becomes("among-others", "Compliant", "True");
    let harmless = stage.makes(theirs("harmless", "Accept", "10.20.0.0/16"));
    let passing = stage.makes(theirs("passing", "Pass", "198.51.100.0/24"));
    let said = tier_becomes(&stage, "among-others", "NetworkPolicy");
    assert!(said.contains("passing"), "{said}");
    is_stopped(&stage, &web(&shop), INTERNET, 443);
    passing.deleted();
    tier_becomes(&stage, "among-others", "ClusterNetworkPolicy");
    stage.becomes("among-others", "Compliant", "True");
    drop(harmless);
}
