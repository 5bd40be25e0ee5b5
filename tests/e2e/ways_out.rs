//! Ways out that somebody found in this product, each tried as he tried it. None may open again.

use domicile::domain::keys::ADDRESS_ANNOTATIONS;

use crate::{placement::on_the_mainland, support::prelude::*};

const FINALIZE: &str = "finalize";

fn finalize(user: &User, name: &str, labels: &Value) -> Reply {
    let body = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}, "spec": {"finalizers": []}});
    user.send("PUT", &format!("{}/{FINALIZE}", NAMESPACE.path("", name)), "application/json", Some(&body))
}

fn status(kind: &Kind, namespace: &str, name: &str) -> String {
    format!("{}/status", kind.path(namespace, name))
}

/// P17: what lives in a namespace would outlive it, and be free under the same name.
#[test]
fn a_namespace_without_its_finalizer_is_not_governed() {
    let stage = shared();
    let space = stage.ungoverned();
    let named = json!({"domicile.dev/residency": "mainland"});
    finalize(&stage.tenant, &space.name, &named).refused("[domicile/finalize]");
    finalize(&stage.tenant, &space.name, &json!({})).expected();
    let said = stage
        .tenant
        .patch(&NAMESPACE, "", &space.name, &json!({"metadata": {"labels": named}}))
        .refused("[domicile/finalize]");
    assert!(said.contains("make it again"), "{said}");
}

/// A policy under Domicile's name with an owner, a finalizer and a spec of the tenant's is taken over whole.
#[test]
fn an_isolating_policy_that_a_tenant_made_before_is_nobodys_but_domiciles() {
    let stage = shared();
    let isolated = json!({"podSelector": {}, "policyTypes": ["Ingress", "Egress"]});
    let wide = json!({"podSelector": {}, "policyTypes": ["Ingress", "Egress"], "egress": [{}], "ingress": [{}]});
    for (spec, ended) in [(&isolated, false), (&wide, false), (&isolated, true), (&wide, true)] {
        let mut space = stage.ungoverned();
        let owner = space.accepts("{apiVersion: v1, kind: ConfigMap, metadata: {name: owner}}");
        let metadata = json!({
            "name": "domicile-isolate", "namespace": space.name, "finalizers": ["example.com/kept"],
            "ownerReferences": [{"apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": owner["metadata"]["uid"]}],
        });
        let made =
            json!({"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": metadata, "spec": spec});
        space.accepts(made);
        if ended {
            space.delete(&NETWORK_POLICY, "domicile-isolate").expected();
        }
        space.joins("mainland");
        eventually("the policy is Domicile's alone", SOON, || {
            let own = space.find(&NETWORK_POLICY, "domicile-isolate").unwrap_or_default();
            let free = ["finalizers", "ownerReferences", "deletionTimestamp"];
            let free = free.iter().all(|field| own["metadata"].get(field).is_none());
            when(free && own["spec"] == isolated, || own.to_string())
        });
        stage.tenant.delete(&CONFIG_MAP, &space.name, "owner").expected();
        let collector = stage.service_account("kube-system", "generic-garbage-collector");
        collector.delete(&NETWORK_POLICY, &space.name, "domicile-isolate").refused("[domicile/own-network-policy]");
    }
}

/// N1: a policy that is held at its end by a finalizer still opens.
#[test]
fn a_policy_that_ends_is_not_widened() {
    let stage = shared();
    let shop = stage.governed("mainland");
    shop.accepts("{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {name: own, finalizers: [example.com/kept]}, spec: {podSelector: {}, policyTypes: [Egress], egress: [{to: [{podSelector: {}}]}]}}");
    shop.delete(&NETWORK_POLICY, "own").expected();
    let foreign = json!({"spec": {"egress": [{"to": [{"ipBlock": {"cidr": "8.8.8.0/24"}}]}]}});
    stage.tenant.patch(&NETWORK_POLICY, &shop.name, "own", &foreign).refused("[domicile/network-foreign]");
    let any = stage.tenant.patch(&NETWORK_POLICY, &shop.name, "own", &json!({"spec": {"egress": [{}]}}));
    if stage.mutates() {
        assert!(any.expected()["spec"].to_string().contains("10.20.0.0/16"), "it is narrowed");
    } else {
        any.refused("[domicile/network-any]");
    }
    stage.tenant.patch(&NETWORK_POLICY, &shop.name, "own", &json!({"metadata": {"finalizers": null}})).expected();
}

/// M25, N8: an address abroad would be a peer's.
#[test]
fn a_tenant_gives_no_pod_an_address_and_no_end() {
    let stage = shared();
    let shop = stage.governed("mainland");
    shop.accepts(shop.pod("ghost").with("spec: {schedulingGates: [{name: example.com/never}]}"));
    let path = status(&POD, &shop.name, "ghost");
    for forged in [
        json!({"podIP": "8.8.8.8", "podIPs": [{"ip": "8.8.8.8"}]}),
        json!({"hostIP": "8.8.8.8", "hostIPs": [{"ip": "8.8.8.8"}]}),
        json!({"phase": "Failed"}),
    ] {
        stage.tenant.patch_at(&path, Patch::Merge, &json!({"status": forged})).refused("[domicile/pod-status]");
    }
    let condition = json!({"type": "example.com/ready", "status": "True"});
    stage.tenant.patch_at(&path, Patch::Merge, &json!({"status": {"conditions": [condition]}})).expected();
}

/// N22: an address from before the label has no kubelet behind it. It is told, and the namespace is nobody's peer.
#[test]
fn an_address_that_was_forged_before_the_label_is_told_and_opens_nothing() {
    let stage = shared();
    let mut space = stage.ungoverned();
    let waiting = "spec: {schedulerName: nobody.example.com}";
    space.accepts(bare_pod("ghost").with(waiting).with(&format!("spec: {{nodeSelector: {{{PIN}mainland: 'true'}}}}")));
    let forged = json!({"phase": "Running", "podIP": "198.51.100.66", "podIPs": [{"ip": "198.51.100.66"}]});
    let path = status(&POD, &space.name, "ghost");
    stage.tenant.patch_at(&path, Patch::Merge, &json!({"status": forged})).expected();
    space.joins("mainland");
    space.tells(&["Pod ghost", "[domicile/pod-status]", "198.51.100.66"]);
    eventually("the namespace is no peer", SOON, || {
        let labels = space.labels();
        when(!labels.contains_key("domicile.dev/peer"), || format!("{labels:?}"))
    });
    let shop = stage.governed("mainland");
    shop.accepts(shop.pod("web"));
    shop.runs("web");
    eventually("no packet gets to that address", SOON, || {
        let passes = stage.passes(&format!("{}/web", shop.name), "198.51.100.66", 443);
        when(!passes, || "it is allowed".into())
    });
}

/// N22: while its status has none, network plugins take a pod's address from what they wrote on it themselves.
#[test]
fn n22_no_annotation_gives_a_pod_an_address() {
    let stage = shared();
    let (shop, free) = (stage.governed("mainland"), stage.ungoverned());
    // The tenants of these tests may write pods everywhere, as a network plugin may; this one may in his namespaces.
    let owner = stage.user(&format!("owner-of-{}", shop.name), &[]);
    let rights = format!(
        "{{apiVersion: rbac.authorization.k8s.io/v1, kind: RoleBinding, metadata: {{name: owner}}, roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: e2e-tenant}}, \
         subjects: [{{apiGroup: rbac.authorization.k8s.io, kind: User, name: {}}}]}}",
        owner.name
    );
    let seen = json!({"metadata": {"labels": {"seen": "true"}}});
    for space in [&shop, &free] {
        space.accepts(rights.as_str());
        space.accepts(space.pod("ghost").with("spec: {schedulingGates: [{name: example.com/never}]}"));
        eventually("RBAC lets the owner write pods", SOON, || {
            let reply = owner.patch(&POD, &space.name, "ghost", &seen);
            when(reply.ok(), || reply.message)
        });
    }
    let path = status(&POD, &shop.name, "ghost");
    for key in ADDRESS_ANNOTATIONS {
        let says = |address: Value| json!({"metadata": {"annotations": {key: address}}});
        let abroad = says(json!("198.51.100.66"));
        free.would_ask(bare_pod("web").with(&abroad.to_string())).expected();
        let said = shop.would_ask(shop.pod("web").with(&abroad.to_string())).refused("[domicile/pod-status]");
        assert!(said.contains(key) && said.contains("Remove it"), "{said}");
        owner.patch(&POD, &free.name, "ghost", &abroad).expected();
        owner.patch(&POD, &shop.name, "ghost", &abroad).refused("[domicile/pod-status]");
        owner.patch_at(&path, Patch::Merge, &abroad).refused("[domicile/pod-status]");
        // What a plugin wrote may stay and go, and says nothing else.
        stage.tenant.patch_at(&path, Patch::Merge, &says(json!("10.20.0.66"))).expected();
        owner.patch(&POD, &shop.name, "ghost", &seen).expected();
        owner.patch(&POD, &shop.name, "ghost", &abroad).refused("[domicile/pod-status]");
        owner.patch(&POD, &shop.name, "ghost", &says(Value::Null)).expected();
    }
}

/// N22: a kubelet says the addresses of its pods, and one that lies would have any address permitted as a peer's.
#[test]
fn n22_an_address_that_no_pod_can_have_is_told() {
    let stage = shared();
    let center = stage.makes_data_center("mexico-city", "MX", "na-south-1", 66);
    center.becomes("spec: {podNetworks: [10.66.128.0/17]}");
    let _node = stage.makes_node("mexico-city-a", "na-south-1", "10.66.0.1");
    let _residency = stage.makes_residency("addressed", "{jurisdictions: [MX]}");
    let shop = stage.governed("addressed");
    shop.accepts(shop.pod("web"));
    // No kubelet runs that node and no pod is put on it, but who binds may.
    let bound = json!({"apiVersion": "v1", "kind": "Binding", "metadata": {"name": "web", "namespace": shop.name}, "target": {"apiVersion": "v1", "kind": "Node", "name": "mexico-city-a"}});
    let path = format!("{}/binding", POD.path(&shop.name, "web"));
    stage.user("system:kube-scheduler", &[]).post(&path, &bound).expected();
    let kubelet = stage.kubelet("mexico-city-a");
    let says = |address: &str| {
        let told = json!({"status": {"phase": "Running", "podIP": address, "podIPs": [{"ip": address}]}});
        kubelet.patch_at(&status(&POD, &shop.name, "web"), Patch::Merge, &told).expected();
    };
    let is_peer = |so: bool| {
        eventually(&format!("the namespace is a peer: {so}"), SOON, || {
            let labels = shop.labels();
            when(labels.contains_key("domicile.dev/peer") == so, || format!("{labels:?}"))
        });
    };
    says("10.66.128.9");
    is_peer(true);
    says("198.51.100.9");
    shop.tells(&["Pod web", "[domicile/pod-status]", "198.51.100.9"]);
    is_peer(false);
    says("10.66.128.9");
    is_peer(true);
    // Nobody else would end it.
    stage.admin.delete_now(&POD, &shop.name, "web").expected();
}

/// S1: annotations pass by the status, too.
#[test]
fn a_claim_gets_no_class_and_no_node_by_its_status() {
    let stage = shared();
    let shop = stage.governed("mainland");
    shop.accepts(shop.claim("data"));
    let path = status(&CLAIM, &shop.name, "data");
    for (key, value, rule) in [
        ("volume.beta.kubernetes.io/storage-class", "gp3", "[domicile/storage-class-annotation]"),
        ("volume.kubernetes.io/selected-node", "frankfurt-a", "[domicile/"),
    ] {
        let note = json!({"metadata": {"annotations": {key: value}}});
        stage.tenant.patch_at(&path, Patch::Merge, &note).refused(rule);
    }
}

/// P5: an unbound pod is held whatever it says of its end.
#[test]
fn an_older_pod_that_rises_again_is_not_bound_abroad() {
    let stage = shared();
    let mut space = stage.ungoverned();
    let waiting =
        "spec: {nodeSelector: {kubernetes.io/hostname: frankfurt-a}, schedulingGates: [{name: example.com/wait}]}";
    space.accepts(bare_pod("ghost").with(waiting));
    let path = status(&POD, &space.name, "ghost");
    stage.tenant.patch_at(&path, Patch::Merge, &json!({"status": {"phase": "Failed"}})).expected();
    space.joins("mainland");
    let uid = space.get(&POD, "ghost")["metadata"]["uid"].as_str().unwrap().to_owned();
    let held = || space.annotation("domicile.dev/held-pods");
    assert!(held() == "*" || held() == uid, "{}", held());
    eventually("it is listed", SOON, || when(held() == uid, held));
}

/// A creation that was admitted before the confinement may arrive after it: until none can, no pod is bound.
#[test]
fn in_a_relabelled_namespace_pods_are_bound_when_nothing_older_can_arrive() {
    let stage = shared();
    let mut space = stage.ungoverned();
    let begun = Instant::now();
    space.joins("mainland");
    let held = space.annotation("domicile.dev/held-pods");
    // On a machine that has much to do the hold, twelve seconds, may be over before anybody looks.
    assert!(held == "*" || begun.elapsed() > Duration::from_secs(12), "{held}");
    space.accepts(space.pod("web"));
    let bound = || space.get(&POD, "web")["spec"]["nodeName"].as_str().map(str::to_owned);
    let scheduler = stage.user("system:kube-scheduler", &[]);
    let binding = json!({"apiVersion": "v1", "kind": "Binding", "metadata": {"name": "web"}, "target": {"kind": "Node", "name": "shanghai-a"}});
    let path = format!("{}/binding?dryRun=All", POD.path(&space.name, "web"));
    while space.annotation("domicile.dev/held-pods") == "*" {
        let reply = scheduler.post(&path, &binding);
        let is_told = reply.message.contains("[domicile/settling]") && reply.message.contains("bound in some seconds");
        assert!(is_told || space.annotation("domicile.dev/held-pods") != "*", "{} {}", reply.code, reply.message);
        let before = bound();
        // Read again: the list may have come between the two.
        assert!(before.is_none() || space.annotation("domicile.dev/held-pods") != "*", "bound while held: {before:?}");
    }
    assert!(on_the_mainland(&space.runs("web")));
}

/// A namespace in which the permitting policy cannot be written follows its residency all the same.
#[test]
fn a_quota_on_network_policies_freezes_no_confinement() {
    let stage = shared();
    let residency = stage.makes_residency("frozen", "{jurisdictions: [CN], network: {exposure: Allow}}");
    let mut space = stage.ungoverned();
    space.label("domicile.dev/permit", "None");
    space.joins("frozen");
    space.accepts("{apiVersion: v1, kind: ResourceQuota, metadata: {name: one}, spec: {hard: {count/networkpolicies.networking.k8s.io: '1'}}}");
    // The quota controller rests for up to half a minute when kinds come or go, as those of other tests do.
    eventually("the quota counts", LATER, || {
        let quota = space.get(&RESOURCE_QUOTA, "one");
        when(quota["status"]["used"]["count/networkpolicies.networking.k8s.io"] == "1", || quota["status"].to_string())
    });
    space.label("domicile.dev/permit", "All");
    residency.becomes("spec: {network: {exposure: Deny}}");
    eventually("the restriction is written", SOON, || {
        let exposure = space.annotation("domicile.dev/exposure");
        when(exposure == "Deny", || exposure)
    });
}

#[test]
fn a_residency_is_named_once() {
    let stage = shared();
    let space = stage.ungoverned();
    let twice = json!({"metadata": {"labels": {"domicile.dev/residency": "mainland_mainland"}}});
    let said = stage.tenant.patch(&NAMESPACE, "", &space.name, &twice).refused("[domicile/residency-value]");
    assert!(said.contains("each once"), "{said}");
}
