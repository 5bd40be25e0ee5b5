//! Kinds that add-ons serve: policies of network plugins, routes from outside, exports, grants (routes N2, N7, N10, S13).

use domicile::domain::{ADD_ONS, Does};

use crate::support::prelude::*;

/// N2, N7, N10, S13: every kind that is judged, where an add-on serves it. In one version each: the policies ask for none.
#[test]
fn n2_n10_s13_kinds_of_add_ons_open_nothing() {
    let stage = shared();
    let (shop, free) = (stage.governed("mainland"), stage.ungoverned());
    let kinds = ADD_ONS.map(|judged| {
        let spec = match judged.does {
            Does::MeshRoute => json!({"gateways": ["istio-system/public"]}),
            Does::Grant => json!({"to": [{"group": "", "kind": "Secret"}]}),
            Does::Route | Does::Policy | Does::PartOfPolicy => json!({"egress": [{}]}),
        };
        (add_on(judged.group(), "v1", judged.kind(), judged.plural), spec, judged)
    });
    let _served = all_served(&stage, kinds.each_ref().map(|(kind, ..)| *kind));
    for (kind, spec, judged) in kinds {
        kind.comes_to_pass(&stage.tenant, &free, &spec);
        let rule =
            if judged.is_of_policies() { "[domicile/network-kind]" } else { "[domicile/route]|[domicile/grant]" };
        kind.would_ask(&stage.tenant, &shop, &spec).refused(rule);
    }
}

/// N2: what a network plugin writes itself of pods and addresses is its own, and no tenant's.
#[test]
fn n2_what_a_network_plugin_writes_no_tenant_writes() {
    let stage = shared();
    let (shop, free) = (stage.governed("mainland"), stage.ungoverned());
    // Tenants have what `is_served` gives in every namespace, as a plugin has; the owner has it in these two.
    let owner = stage.user(&format!("owner-of-{}", shop.name), &[]);
    for (kind, change) in [
        (
            add_on("networking.k8s.aws", "v1alpha1", "PolicyEndpoint", "policyendpoints"),
            json!({"spec": {"egress": [{"cidr": "198.51.100.66"}]}}),
        ),
        (
            add_on("cilium.io", "v2", "CiliumEndpoint", "ciliumendpoints"),
            json!({"status": {"networking": {"addressing": [{"ipv4": "198.51.100.66"}]}}}),
        ),
    ] {
        let _served = kind.is_served(&stage);
        for space in [&shop, &free] {
            let role = json!({"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": format!("e2e:{}", kind.name())});
            let subject = json!({"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": owner.name});
            space.accepts(Manifest(json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding",
                "metadata": {"name": kind.plural}, "roleRef": role, "subjects": [subject]})));
        }
        let any = json!({"any": "thing"});
        kind.comes_to_pass(&owner, &free, &any);
        eventually(&format!("{} is refused", kind.name()), SOON, || {
            let reply = kind.would_ask(&owner, &shop, &any);
            when(reply.message.contains("[domicile/network-kind]"), || format!("{} {}", reply.code, reply.message))
        });
        // A plugin may write it.
        kind.comes_to_pass(&stage.tenant, &shop, &any);
        // Nor does he change what the plugin wrote.
        kind.makes(&shop, "web", &any);
        let path = kind.path(&shop, "web");
        owner.patch_at(&path, Patch::Merge, &change).refused("[domicile/network-kind]");
        owner.patch_at(&path, Patch::Merge, &json!({"metadata": {"labels": {"seen": "true"}}})).expected();
        stage.tenant.patch_at(&path, Patch::Merge, &change).expected();
    }
}

/// N2: one from before the label may open anything, so nothing starts beside it, and nobody is its namespace's peer.
#[test]
fn n2_another_kind_of_policy_from_before_is_told_and_lets_nothing_start() {
    let stage = shared();
    let _residency = stage.makes_residency("with-antrea", "{jurisdictions: [CN]}");
    let kind = add_on("crd.antrea.io", "v1beta1", "NetworkPolicy", "networkpolicies");
    let _served = kind.is_served(&stage);
    let space = stage.ungoverned();
    kind.makes(&space, "wide", &json!({"egress": [{"action": "Allow"}]}));
    space.label("domicile.dev/residency", "with-antrea");
    let found = || stage.finding("with-antrea", "domicile/network-kind", &kind.subject(&space, "wide"));
    eventually("it is told", SOON, || when(found().is_some(), || "not yet".into()));
    assert_eq!(found().unwrap()["verdict"], "Unknown");
    eventually("nothing may start", SOON, || {
        let reason = space.annotation("domicile.dev/refused-because");
        when(reason.starts_with("NetworkPolicy.crd.antrea.io wide can open more than is permitted"), || reason)
    });
    assert_ne!(space.labels().get("domicile.dev/peer").map(String::as_str), Some("true"));
    space.rejects(space.pod("web"), "[domicile/");
    let path = kind.path(&space, "wide");
    // Its labels may be changed, and what it says may not.
    space.tenant.patch_at(&path, Patch::Merge, &json!({"metadata": {"labels": {"seen": "true"}}})).expected();
    space
        .tenant
        .patch_at(&path, Patch::Merge, &json!({"spec": {"egress": [{"action": "Drop"}]}}))
        .refused("[domicile/network-kind]");
    space.tenant.delete_at(&path).expected();
    eventually("the namespace is open, and a peer", SOON, || {
        let (reason, labels) = (space.annotation("domicile.dev/refused-because"), space.labels());
        let peer = labels.get("domicile.dev/peer").map(String::as_str) == Some("true");
        when(reason == "-" && peer && found().is_none(), || format!("{reason} {labels:?} {:?}", found()))
    });
    space.accepts(space.pod("web"));
}

/// N7, N10: routes and exports from before the label are told while exposure is denied, and no more when they are gone.
#[test]
fn n7_n10_routes_and_exports_from_before_are_told() {
    let stage = shared();
    let residency = stage.makes_residency("routed-before", "{jurisdictions: [CN]}");
    let kinds = [
        add_on("route.openshift.io", "v1", "Route", "routes"),
        add_on("gateway.networking.k8s.io", "v1alpha2", "TCPRoute", "tcproutes"),
        add_on("multicluster.x-k8s.io", "v1beta1", "ServiceExport", "serviceexports"),
    ];
    let [route, tcp_route, export] = kinds;
    let [_route, served, _export] = all_served(&stage, kinds);
    let mut space = stage.ungoverned();
    for kind in kinds {
        kind.makes(&space, "web", &json!({"to": {"kind": "Service", "name": "web"}}));
    }
    space.joins("routed-before");
    let found = |kind: AddOn| stage.finding("routed-before", "domicile/route", &kind.subject(&space, "web"));
    for kind in kinds {
        eventually(&format!("{} is told", kind.name()), SOON, || when(found(kind).is_some(), || "not yet".into()));
    }
    space.accepts(space.pod("web"));
    space.tenant.delete_at(&route.path(&space, "web")).expected();
    eventually("what is gone is told no more", SOON, || when(found(route).is_none(), || "still".into()));
    // Nor is a kind that is served no more.
    served.ends();
    eventually("its kind is gone", SOON, || when(found(tcp_route).is_none(), || "still".into()));
    assert!(found(export).is_some());
    residency.becomes("spec: {network: {exposure: Allow}}");
    eventually("an export is no finding where exposure is allowed", SOON, || {
        when(found(export).is_none(), || "still".into())
    });
}

/// N7: a VirtualService is its mesh's business until it names a gateway.
#[test]
fn n7_a_virtual_service_that_names_a_gateway_is_a_route() {
    let stage = shared();
    let (shop, free) = (stage.governed("mainland"), stage.ungoverned());
    let kind = add_on("networking.istio.io", "v1beta1", "VirtualService", "virtualservices");
    let _served = kind.is_served(&stage);
    let ask = |spec: &Value| kind.would_ask(&stage.tenant, &shop, spec);
    let public = json!({"hosts": ["a.example.com"], "gateways": ["istio-system/public"]});
    kind.comes_to_pass(&stage.tenant, &free, &public);
    ask(&public).refused("[domicile/route]");
    let inside = json!({"hosts": ["web"], "http": [{"match": [{"gateways": ["mesh"]}], "route": [{"destination": {"host": "web"}}]}]});
    ask(&inside).expected();
    let mut matching = inside.clone();
    matching["http"][0]["match"][0]["gateways"] = json!(["istio-system/public"]);
    ask(&matching).refused("[domicile/route]");
    // Of those that are older than the label the ones that name one are told.
    let _residency = stage.makes_residency("meshed", "{jurisdictions: [CN]}");
    let mut space = stage.ungoverned();
    for (name, spec) in [("inside", &inside), ("outside", &matching)] {
        kind.makes(&space, name, spec);
    }
    space.joins("meshed");
    let found = |name: &str| stage.finding("meshed", "domicile/route", &kind.subject(&space, name));
    eventually("it is told", SOON, || when(found("outside").is_some(), || "not yet".into()));
    assert!(found("inside").is_none());
}

/// S13: who may connect is another question than who may read claims, snapshots and Secrets.
#[test]
fn s13_a_grant_gives_services_alone() {
    let stage = shared();
    let _open = stage.makes_residency("granting", "{jurisdictions: [CN], network: {exposure: Allow}}");
    let (shop, free) = (stage.governed("granting"), stage.ungoverned());
    let kind = add_on("gateway.networking.k8s.io", "v1beta1", "ReferenceGrant", "referencegrants");
    let _served = kind.is_served(&stage);
    let from = json!([{"group": "", "kind": "PersistentVolumeClaim", "namespace": free.name}]);
    let grant = |space: &Namespace, to: &Value| kind.would_ask(&stage.tenant, space, &json!({"from": from, "to": to}));
    let claim = json!([{"group": "", "kind": "Service"}, {"group": "", "kind": "PersistentVolumeClaim"}]);
    kind.comes_to_pass(&stage.tenant, &free, &json!({"from": from, "to": claim}));
    let said = grant(&shop, &claim).refused("[domicile/grant]");
    assert!(said.contains("Name Services alone"), "{said}");
    let service = json!([{"group": "", "kind": "Service"}]);
    grant(&shop, &service).expected();
    let closed = stage.governed("mainland"); // where exposure is Deny
    closed.patiently(|| grant(&closed, &service)).refused("[domicile/route]");
    // Those that are older than the label are judged the same.
    let mut older = stage.ungoverned();
    kind.makes(&older, "claims", &json!({"from": [], "to": claim}));
    kind.makes(&older, "services", &json!({"from": [], "to": service}));
    older.joins("granting");
    let found = |name: &str| stage.finding("granting", "domicile/grant", &kind.subject(&older, name));
    eventually("it is told", SOON, || when(found("claims").is_some(), || "not yet".into()));
    assert!(found("services").is_none());
}
