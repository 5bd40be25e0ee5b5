//! Routes of the list of escape routes (P placement, S storage, N network) that no other module takes: each is open in a
//! namespace that is not governed, and closed in one that is.

use domicile::domain::FurtherNetworks;

use crate::support::prelude::*;

const RBAC: &str = "apiGroup: rbac.authorization.k8s.io";

/// A namespaced kind as an add-on serves it, without the add-on, and everybody's right to it.
fn serves(stage: &Turn, group: &str, version: &str, kind: &str, plural: &str) -> Vec<Made> {
    let (singular, name) = (kind.to_lowercase(), format!("{plural}.{group}"));
    let schema = "{openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}";
    vec![
        stage.makes(Manifest::from(format!(
            "{{apiVersion: apiextensions.k8s.io/v1, kind: CustomResourceDefinition, metadata: {{name: {name}, annotations: {{api-approved.kubernetes.io: unapproved}}}}, \
             spec: {{group: {group}, scope: Namespaced, names: {{kind: {kind}, plural: {plural}, singular: {singular}}}, versions: [{{name: {version}, served: true, storage: true, schema: {schema}}}]}}}}"
        ))),
        stage.makes(Manifest::from(format!(
            "{{apiVersion: rbac.authorization.k8s.io/v1, kind: ClusterRole, metadata: {{name: 'e2e:{name}'}}, rules: [{{apiGroups: [{group}], resources: [{plural}], verbs: ['*']}}]}}"
        ))),
        stage.makes(Manifest::from(format!(
            "{{apiVersion: rbac.authorization.k8s.io/v1, kind: ClusterRoleBinding, metadata: {{name: 'e2e:{name}'}}, roleRef: {{{RBAC}, kind: ClusterRole, name: 'e2e:{name}'}}, subjects: [{{{RBAC}, kind: Group, name: 'e2e:tenants'}}]}}"
        ))),
    ]
}

/// Asks for an object of such a kind.
fn asks(by: &User, space: &Namespace, group: &str, version: &str, kind: &str, plural: &str, spec: &Value) -> Reply {
    let body =
        json!({"apiVersion": format!("{group}/{version}"), "kind": kind, "metadata": {"name": "it"}, "spec": spec});
    by.post(&format!("/apis/{group}/{version}/namespaces/{}/{plural}?dryRun=All", space.name), &body)
}

/// Makes such an object, as soon as the kind is served.
#[track_caller]
fn makes_one(space: &Namespace, (group, version, kind, plural): (&str, &str, &str, &str), name: &str, spec: &Value) {
    let object =
        json!({"apiVersion": format!("{group}/{version}"), "kind": kind, "metadata": {"name": name}, "spec": spec});
    let all = format!("/apis/{group}/{version}/namespaces/{}/{plural}", space.name);
    eventually(&format!("{kind} {name} is made"), SOON, || {
        let reply = space.tenant.post(&all, &object);
        when(reply.ok(), || format!("{} {}", reply.code, reply.message))
    });
}

/// Somebody who has a verb on a residency beside what tenants have.
fn with_verb(stage: &Turn, name: &str, verb: &str) -> (User, Vec<Made>) {
    let made = vec![
        stage.makes(Manifest::from(format!(
            "{{apiVersion: rbac.authorization.k8s.io/v1, kind: ClusterRole, metadata: {{name: 'e2e:{name}'}}, rules: [{{apiGroups: [domicile.dev], resources: [dataresidencies], resourceNames: [mainland], verbs: [{verb}]}}]}}"
        ))),
        stage.makes(Manifest::from(format!(
            "{{apiVersion: rbac.authorization.k8s.io/v1, kind: ClusterRoleBinding, metadata: {{name: 'e2e:{name}'}}, roleRef: {{{RBAC}, kind: ClusterRole, name: 'e2e:{name}'}}, subjects: [{{{RBAC}, kind: User, name: {name}}}]}}"
        ))),
    ];
    (stage.user(name, &["e2e:tenants"]), made)
}

/// N2, N7, N10: other kinds of policy, routes from outside and exports, where an add-on serves them.
#[test]
fn n2_n10_kinds_of_add_ons_open_nothing() {
    let stage = shared();
    let (shop, free) = (stage.governed("mainland"), stage.ungoverned());
    for (group, version, kind, plural, rule) in [
        ("cilium.io", "v2", "CiliumNetworkPolicy", "ciliumnetworkpolicies", "[domicile/network-kind]"),
        ("crd.projectcalico.org", "v1", "NetworkPolicy", "networkpolicies", "[domicile/network-kind]"),
        ("crd.projectcalico.org", "v1", "NetworkSet", "networksets", "[domicile/network-kind]"),
        ("k8s.cni.cncf.io", "v1beta1", "MultiNetworkPolicy", "multi-networkpolicies", "[domicile/network-kind]"),
        ("gateway.networking.k8s.io", "v1", "HTTPRoute", "httproutes", "[domicile/route]"),
        ("traefik.io", "v1alpha1", "IngressRouteTCP", "ingressroutetcps", "[domicile/route]"),
        ("projectcontour.io", "v1", "HTTPProxy", "httpproxies", "[domicile/route]"),
        ("k8s.nginx.org", "v1", "VirtualServer", "virtualservers", "[domicile/route]"),
        ("configuration.konghq.com", "v1beta1", "TCPIngress", "tcpingresses", "[domicile/route]"),
        ("networking.istio.io", "v1", "Gateway", "gateways", "[domicile/route]"),
        ("elbv2.k8s.aws", "v1beta1", "TargetGroupBinding", "targetgroupbindings", "[domicile/route]"),
        ("multicluster.x-k8s.io", "v1alpha1", "ServiceExport", "serviceexports", "[domicile/route]"),
        ("net.gke.io", "v1", "ServiceExport", "serviceexports", "[domicile/route]"),
        ("networking.fleet.azure.com", "v1alpha1", "ServiceExport", "serviceexports", "[domicile/route]"),
        ("networking.fleet.azure.com", "v1alpha1", "MultiClusterService", "multiclusterservices", "[domicile/route]"),
    ] {
        let _served = serves(&stage, group, version, kind, plural);
        let ask =
            |space: &Namespace| asks(&stage.tenant, space, group, version, kind, plural, &json!({"egress": [{}]}));
        eventually(&format!("{kind} passes where nothing is governed"), SOON, || {
            let reply = ask(&free);
            when(reply.ok(), || format!("{} {}", reply.code, reply.message))
        });
        ask(&shop).refused(rule);
    }
}

/// N2: what a network plugin writes itself of pods and addresses is its own, and no tenant's.
#[test]
fn n2_what_a_network_plugin_writes_no_tenant_writes() {
    let stage = shared();
    let (shop, free) = (stage.governed("mainland"), stage.ungoverned());
    // Tenants have what `serves` gives in every namespace, as a plugin has; the owner has it in these two.
    let owner = stage.user(&format!("owner-of-{}", shop.name), &[]);
    for (group, version, kind, plural, change) in [
        (
            "networking.k8s.aws",
            "v1alpha1",
            "PolicyEndpoint",
            "policyendpoints",
            json!({"spec": {"egress": [{"cidr": "198.51.100.66"}]}}),
        ),
        (
            "cilium.io",
            "v2",
            "CiliumEndpoint",
            "ciliumendpoints",
            json!({"status": {"networking": {"addressing": [{"ipv4": "198.51.100.66"}]}}}),
        ),
    ] {
        let _served = serves(&stage, group, version, kind, plural);
        for space in [&shop, &free] {
            space.accepts(format!(
                "{{apiVersion: rbac.authorization.k8s.io/v1, kind: RoleBinding, metadata: {{name: {plural}}}, roleRef: {{{RBAC}, kind: ClusterRole, name: 'e2e:{plural}.{group}'}}, subjects: [{{{RBAC}, kind: User, name: {}}}]}}",
                owner.name
            ));
        }
        let ask =
            |by: &User, space: &Namespace| asks(by, space, group, version, kind, plural, &json!({"any": "thing"}));
        eventually(&format!("{kind} passes where nothing is governed"), SOON, || {
            let reply = ask(&owner, &free);
            when(reply.ok(), || format!("{} {}", reply.code, reply.message))
        });
        eventually(&format!("{kind} is refused"), SOON, || {
            let reply = ask(&owner, &shop);
            when(reply.message.contains("[domicile/network-kind]"), || format!("{} {}", reply.code, reply.message))
        });
        eventually(&format!("a plugin may write {kind}"), SOON, || {
            let reply = ask(&stage.tenant, &shop);
            when(reply.ok(), || format!("{} {}", reply.code, reply.message))
        });
        // Nor does he change what the plugin wrote.
        let all = format!("/apis/{group}/{version}/namespaces/{}/{plural}", shop.name);
        let written = json!({"apiVersion": format!("{group}/{version}"), "kind": kind, "metadata": {"name": "web"}});
        stage.tenant.post(&all, &written).expected();
        let path = format!("{all}/web");
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
    let kind = ("crd.antrea.io", "v1beta1", "NetworkPolicy", "networkpolicies");
    let _served = serves(&stage, kind.0, kind.1, kind.2, kind.3);
    let space = stage.ungoverned();
    makes_one(&space, kind, "wide", &json!({"egress": [{"action": "Allow"}]}));
    space.label("domicile.dev/residency", "with-antrea");
    let subject = format!("NetworkPolicy.crd.antrea.io {}/wide", space.name);
    let found = || stage.finding("with-antrea", "domicile/network-kind", &subject);
    eventually("it is told", SOON, || when(found().is_some(), || "not yet".into()));
    assert_eq!(found().unwrap()["verdict"], "Unknown");
    eventually("nothing may start", SOON, || {
        let reason = space.annotation("domicile.dev/refused-because");
        when(reason.starts_with("NetworkPolicy.crd.antrea.io wide can open more than is permitted"), || reason)
    });
    assert_ne!(space.labels().get("domicile.dev/peer").map(String::as_str), Some("true"));
    space.rejects(space.pod("web"), "[domicile/");
    let path = format!("/apis/{}/{}/namespaces/{}/{}/wide", kind.0, kind.1, space.name, kind.3);
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
        ("route.openshift.io", "v1", "Route", "routes"),
        ("gateway.networking.k8s.io", "v1alpha2", "TCPRoute", "tcproutes"),
        ("multicluster.x-k8s.io", "v1beta1", "ServiceExport", "serviceexports"),
    ];
    let mut served: Vec<Vec<Made>> = kinds.iter().map(|kind| serves(&stage, kind.0, kind.1, kind.2, kind.3)).collect();
    let mut space = stage.ungoverned();
    for kind in kinds {
        makes_one(&space, kind, "web", &json!({"to": {"kind": "Service", "name": "web"}}));
    }
    space.joins("routed-before");
    let found = |kind: (&str, &str, &str, &str)| {
        stage.finding("routed-before", "domicile/route", &format!("{}.{} {}/web", kind.2, kind.0, space.name))
    };
    for kind in kinds {
        eventually(&format!("{} is told", kind.2), SOON, || when(found(kind).is_some(), || "not yet".into()));
    }
    space.accepts(space.pod("web"));
    let path = |kind: (&str, &str, &str, &str)| {
        format!("/apis/{}/{}/namespaces/{}/{}/web", kind.0, kind.1, space.name, kind.3)
    };
    space.tenant.delete_at(&path(kinds[0])).expected();
    eventually("what is gone is told no more", SOON, || when(found(kinds[0]).is_none(), || "still".into()));
    // Nor is a kind that is served no more.
    served.remove(1).into_iter().for_each(Made::deleted);
    eventually("its kind is gone", SOON, || when(found(kinds[1]).is_none(), || "still".into()));
    assert!(found(kinds[2]).is_some());
    residency.becomes("spec: {network: {exposure: Allow}}");
    eventually("an export is no finding where exposure is allowed", SOON, || {
        when(found(kinds[2]).is_none(), || "still".into())
    });
}

/// N7: a VirtualService is its mesh's business until it names a gateway.
#[test]
fn n7_a_virtual_service_that_names_a_gateway_is_a_route() {
    let stage = shared();
    let (shop, free) = (stage.governed("mainland"), stage.ungoverned());
    let (group, version, kind, plural) = ("networking.istio.io", "v1beta1", "VirtualService", "virtualservices");
    let _served = serves(&stage, group, version, kind, plural);
    let ask = |space: &Namespace, spec: Value| asks(&stage.tenant, space, group, version, kind, plural, &spec);
    let public = json!({"hosts": ["a.example.com"], "gateways": ["istio-system/public"]});
    eventually("they pass where nothing is governed", SOON, || {
        let reply = ask(&free, public.clone());
        when(reply.ok(), || format!("{} {}", reply.code, reply.message))
    });
    ask(&shop, public).refused("[domicile/route]");
    let inside = json!({"hosts": ["web"], "http": [{"match": [{"gateways": ["mesh"]}], "route": [{"destination": {"host": "web"}}]}]});
    ask(&shop, inside.clone()).expected();
    let mut matching = inside.clone();
    matching["http"][0]["match"][0]["gateways"] = json!(["istio-system/public"]);
    ask(&shop, matching.clone()).refused("[domicile/route]");
    // Of those that are older than the label the ones that name one are told.
    let _residency = stage.makes_residency("meshed", "{jurisdictions: [CN]}");
    let mut space = stage.ungoverned();
    for (name, spec) in [("inside", &inside), ("outside", &matching)] {
        makes_one(&space, (group, version, kind, plural), name, spec);
    }
    space.joins("meshed");
    let found = |name: &str| {
        let subject = format!("VirtualService.networking.istio.io {}/{name}", space.name);
        stage.finding("meshed", "domicile/route", &subject)
    };
    eventually("it is told", SOON, || when(found("outside").is_some(), || "not yet".into()));
    assert!(found("inside").is_none());
}

/// N10: Linkerd makes a Service of every linked cluster of one that has a label.
#[test]
fn n10_a_service_is_mirrored_to_no_other_cluster() {
    let stage = shared();
    let _open = stage.makes_residency("mirroring", "{jurisdictions: [CN], network: {exposure: Allow}}");
    let (shop, free, open) = (stage.governed("mainland"), stage.ungoverned(), stage.governed("mirroring"));
    let service = Manifest::from("{apiVersion: v1, kind: Service, metadata: {name: web}, spec: {ports: [{port: 80}]}}");
    for (place, key, value) in [
        ("labels", "mirror.linkerd.io/exported", "true"),
        ("labels", "mirror.linkerd.io/exported", "remote-discovery"),
        ("labels", "mirror.linkerd.io/federated", "member"),
        ("annotations", "service.cilium.io/global", "true"),
        ("annotations", "io.cilium/global-service", "true"),
        ("annotations", "tailscale.com/expose", "true"),
    ] {
        let change = format!("metadata: {{{place}: {{{key}: '{value}'}}}}");
        let name = format!("{}-{value}", key.replace(['.', '/'], "-"));
        let mirrored = service.clone().named(&name).with(&change);
        let said = shop.rejects(mirrored.clone(), "[domicile/route]");
        assert!(said.contains(key) && said.contains("Remove it"), "{said}");
        free.accepts(mirrored.clone());
        open.accepts(mirrored);
        shop.accepts(service.clone().named(&name));
        shop.patch(&SERVICE, &name, &change).refused("[domicile/route]");
        let status = format!("{}/status", SERVICE.path(&shop.name, &name));
        stage
            .tenant
            .patch_at(&status, Patch::Merge, &crate::support::manifest::parse(&change))
            .refused("[domicile/route]");
    }
}

/// N10: Google's load balancers reach the pods of a Service that names ports to them. What GKE writes on Services itself names none.
#[test]
fn n10_a_service_names_no_ports_to_load_balancers() {
    let stage = shared();
    let _open = stage.makes_residency("balancing", "{jurisdictions: [CN], network: {exposure: Allow}}");
    let (shop, free, open) = (stage.governed("mainland"), stage.ungoverned(), stage.governed("balancing"));
    let service = |name: &str, neg: &str| {
        let note = json!({"metadata": {"annotations": {"cloud.google.com/neg": neg}}});
        Manifest::from("{apiVersion: v1, kind: Service, metadata: {}, spec: {ports: [{port: 80}]}}")
            .named(name)
            .with(&note.to_string())
    };
    for (number, harmless) in [r#"{"ingress":true}"#, r#"{"ingress": true}"#].into_iter().enumerate() {
        shop.accepts(service(&format!("own-{number}"), harmless));
    }
    for (number, naming) in [
        r#"{"exposed_ports":{"80":{}}}"#,
        r#"{"ingress": true, "exposed_ports": {"80":{"name": "web"}}}"#,
        r#"{"exposed\u005fports":{"80":{}}}"#,
    ]
    .into_iter()
    .enumerate()
    {
        let balanced = service(&format!("web-{number}"), naming);
        let said = shop.rejects(balanced.clone(), "[domicile/route]");
        assert!(said.contains("cloud.google.com/neg") && said.contains("Remove it"), "{said}");
        free.accepts(balanced.clone());
        open.accepts(balanced);
        let change = json!({"metadata": {"annotations": {"cloud.google.com/neg": naming}}});
        stage.tenant.patch(&SERVICE, &shop.name, "own-0", &change).refused("[domicile/route]");
        let status = format!("{}/status", SERVICE.path(&shop.name, "own-0"));
        stage.tenant.patch_at(&status, Patch::Merge, &change).refused("[domicile/route]");
    }
}

/// N10: one from before is told, may be changed otherwise, and loses its label.
#[test]
fn n10_a_service_that_was_mirrored_before_is_told() {
    let stage = shared();
    let _residency = stage.makes_residency("mirrored-before", "{jurisdictions: [CN]}");
    let mut space = stage.ungoverned();
    space.accepts("{apiVersion: v1, kind: Service, metadata: {name: web, labels: {mirror.linkerd.io/exported: 'true'}}, spec: {ports: [{port: 80}]}}");
    space.joins("mirrored-before");
    let found = || stage.finding("mirrored-before", "domicile/route", &format!("Service {}/web", space.name));
    eventually("it is told", SOON, || when(found().is_some(), || "not yet".into()));
    space.patch(&SERVICE, "web", "metadata: {labels: {seen: 'true'}}").expected();
    space
        .patch(&SERVICE, "web", "metadata: {labels: {mirror.linkerd.io/exported: remote-discovery}}")
        .refused("[domicile/route]");
    space.patch(&SERVICE, "web", "metadata: {labels: {mirror.linkerd.io/exported: null}}").expected();
    eventually("it is told no more", SOON, || when(found().is_none(), || format!("{:?}", found())));
}

/// N3: a second interface, another network, a public address, a tunnel: what network policies do not reach.
#[test]
fn n3_a_pod_has_no_further_network() {
    let stage = shared();
    let (shop, free) = (stage.governed("mainland"), stage.ungoverned());
    for (number, key) in FurtherNetworks::known().iter().enumerate() {
        let note = json!({"metadata": {"annotations": {key: "default/abroad"}}});
        free.would_ask(bare_pod("web").with(&note.to_string())).expected();
        let said = shop.would_ask(shop.pod("web").with(&note.to_string())).refused("[domicile/further-network]");
        assert!(said.contains(key) && said.contains("Remove it"), "{said}");
        if number % 10 > 0 {
            continue;
        }
        // Nor between its creation and its start.
        let name = format!("later-{number}");
        shop.accepts(shop.pod(&name).with("spec: {schedulingGates: [{name: example.com/wait}]}"));
        stage.tenant.patch(&POD, &shop.name, &name, &note).refused("[domicile/further-network]");
        let status = format!("{}/status", POD.path(&shop.name, &name));
        stage.tenant.patch_at(&status, Patch::Merge, &note).refused("[domicile/further-network]");
        stage.tenant.patch(&POD, &shop.name, &name, &json!({"metadata": {"labels": {"seen": "true"}}})).expected();
    }
}

/// Whatever else its annotations say, and however many there are.
#[test]
fn n3_a_pod_of_thousands_of_annotations_is_judged() {
    let stage = shared();
    let (shop, free) = (stage.governed("mainland"), stage.ungoverned());
    let mut pod = shop.pod("web");
    let notes: serde_json::Map<String, Value> =
        (0..6000).map(|number| (format!("example.com/note-{number}"), json!("a word of twenty"))).collect();
    pod.0["metadata"]["annotations"] = json!(notes);
    let took = |space: &Namespace| {
        let begun = std::time::Instant::now();
        space.would_ask(pod.clone()).expected();
        begun.elapsed()
    };
    say(&format!("a pod of 6,000 annotations took {:?} governed and {:?} elsewhere", took(&shop), took(&free)));
    let mut further = pod.clone();
    further.0["metadata"]["annotations"]["yangtse.io/pod-with-eip"] = json!("true");
    free.would_ask(further.clone()).expected();
    shop.would_ask(further).refused("[domicile/further-network]");
}

/// A pod that has one from before may be changed and ended, and is told.
#[test]
fn n3_a_further_network_from_before_is_told() {
    let stage = shared();
    let _residency = stage.makes_residency("networked", "{jurisdictions: [CN]}");
    let mut space = stage.ungoverned();
    space.accepts(
        bare_pod("web")
            .with("{metadata: {annotations: {k8s.v1.cni.cncf.io/networks: macvlan}}, spec: {nodeName: shanghai-a}}"),
    );
    space.runs("web");
    space.joins("networked");
    space.tells(&["Pod web", "a network or an address that network policies do not reach"]);
    space.patch(&POD, "web", "metadata: {labels: {seen: 'true'}}").expected();
    space.delete(&POD, "web").expected();
    space.loses(&POD, "web");
}

/// S14: where a snapshot lies is for its class and its driver to say.
#[test]
fn s14_snapshots_are_vouched_for() {
    let stage = shared();
    let (shop, free) = (stage.governed("mainland"), stage.ungoverned());
    let (group, version, kind, plural) = ("snapshot.storage.k8s.io", "v1", "VolumeSnapshot", "volumesnapshots");
    let _served = serves(&stage, group, version, kind, plural);
    let taken = json!({"volumeSnapshotClassName": "copied-abroad", "source": {"persistentVolumeClaimName": "data"}});
    let brought_in = json!({"source": {"volumeSnapshotContentName": "of-somebody"}});
    let ask = |by: &User, space: &Namespace, spec: &Value| asks(by, space, group, version, kind, plural, spec);
    eventually("snapshots pass where nothing is governed", SOON, || {
        let reply = ask(&stage.tenant, &free, &taken);
        when(reply.ok(), || format!("{} {}", reply.code, reply.message))
    });
    ask(&stage.tenant, &free, &brought_in).expected();
    for (spec, verb) in [(&taken, "snapshot"), (&brought_in, "adopt")] {
        let said = ask(&stage.tenant, &shop, spec).refused("[domicile/snapshot]");
        assert!(said.contains(&format!("verb {verb}")), "{said}");
        let (one_who_may, _made) = with_verb(&stage, &format!("may-{verb}"), verb);
        eventually(&format!("who has the verb {verb} may"), SOON, || {
            let reply = ask(&one_who_may, &shop, spec);
            when(reply.ok(), || format!("{} {}", reply.code, reply.message))
        });
    }
    // What is filled from a snapshot of the own namespace lies where its class says.
    let filled = "spec: {dataSource: {apiGroup: snapshot.storage.k8s.io, kind: VolumeSnapshot, name: it}}";
    shop.accepts(shop.claim("restored").with(filled));
    shop.rejects(bare_claim("abroad").with(filled).with("spec: {storageClassName: gp3}"), "[domicile/storage-class]");
}

/// S15: a claim that stands is not given a class of attributes by which its volume could move.
#[test]
fn s15_a_claim_gets_no_attributes_that_move_its_volume() {
    let stage = shared();
    let (shop, free) = (stage.governed("mainland"), stage.ungoverned());
    let gold = "spec: {volumeAttributesClassName: replicated-abroad}";
    free.accepts(bare_claim("data").with(gold));
    let said = shop.rejects(shop.claim("data").with(gold), "[domicile/attributes-class]");
    assert!(said.contains("replicated-abroad") && said.contains("verb adopt"), "{said}");
    shop.accepts(shop.claim("data"));
    shop.accepts(shop.pod("db").with(&mounting("data")));
    shop.runs("db");
    shop.patch(&CLAIM, "data", gold).refused("[domicile/attributes-class]");
    let (adopter, _made) = with_verb(&stage, "may-adopt-attributes", "adopt");
    eventually("who has the verb adopt may", SOON, || {
        let reply = adopter.try_create(&shop.claim("other").with(gold).in_namespace(&shop.name));
        when(reply.ok(), || format!("{} {}", reply.code, reply.message))
    });
}

/// S3, S6: a volume that lies elsewhere than its claim asked, whoever made it so, is found.
#[test]
fn s6_a_volume_made_elsewhere_is_told() {
    let stage = shared();
    let _residency = stage.makes_residency(
        "elsewhere",
        "{jurisdictions: [CN], storage: {classes: [{name: elsewhere-ssd, provisioner: diskplugin.csi.alibabacloud.com}]}}",
    );
    let shop = stage.governed("elsewhere");
    eventually("the class is permitted", SOON, || {
        let classes = shop.annotation("domicile.dev/storage-classes");
        when(classes == "elsewhere-ssd", || classes)
    });
    let volume = format!(
        "{{apiVersion: v1, kind: PersistentVolume, metadata: {{name: {}}}, spec: {{capacity: {{storage: 1Gi}}, accessModes: [ReadWriteOnce], storageClassName: elsewhere-ssd, \
         claimRef: {{namespace: {}, name: data}}, csi: {{driver: diskplugin.csi.alibabacloud.com, volumeHandle: d-1}}, \
         nodeAffinity: {{required: {{nodeSelectorTerms: [{{matchExpressions: [{{key: topology.diskplugin.csi.alibabacloud.com/zone, operator: In, values: [cn-hongkong-b]}}]}}]}}}}}}}}",
        fresh_name(),
        shop.name
    );
    let _volume = stage.makes(Manifest::from(volume));
    shop.accepts(bare_claim("data").with("spec: {storageClassName: elsewhere-ssd}"));
    shop.tells(&["PersistentVolumeClaim data", "cn-hongkong-b", "is in no data center"]);
    eventually("the residency is not compliant", SOON, || {
        let seen = stage.admin.get(&DATA_RESIDENCY, "", "elsewhere");
        when(condition(&seen, "Compliant") == "False", || seen["status"].to_string())
    });
}

/// N13, M25: a token is carried anywhere, so it does not live long.
#[test]
fn n13_tokens_do_not_outlive_a_day() {
    let stage = shared();
    let (shop, free) = (stage.governed("mainland"), stage.ungoverned());
    let ask = |by: &User, space: &Namespace, seconds: u64| {
        let path = format!("{}/token", SERVICE_ACCOUNT.path(&space.name, "default"));
        by.post(&path, &json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"expirationSeconds": seconds}}))
    };
    for space in [&shop, &free] {
        space.has_its_account();
    }
    ask(&stage.tenant, &free, 1_000_000).expected();
    ask(&stage.tenant, &shop, 86_400).expected();
    let said = ask(&stage.tenant, &shop, 86_401).refused("[domicile/token]");
    assert!(said.contains("at most 86400 seconds"), "{said}");
    let never_ends = Manifest::from(
        "{apiVersion: v1, kind: Secret, type: kubernetes.io/service-account-token, metadata: {name: forever, annotations: {kubernetes.io/service-account.name: default}}}",
    );
    free.accepts(&never_ends);
    shop.rejects(&never_ends, "[domicile/token]");
    shop.accepts("{apiVersion: v1, kind: Secret, type: Opaque, metadata: {name: settings}}");
    shop.patch(&SECRET, "settings", "{type: Opaque, data: {token: YQ==}}").expected();
    // Pods have tokens of their own, as long as they live.
    shop.accepts(shop.pod("web").with("spec: {volumes: [{name: t, projected: {sources: [{serviceAccountToken: {path: token, audience: vault, expirationSeconds: 3600}}]}}]}"));
}

/// N23: for a pod the API server makes a year of 3607 seconds, which is what kubelets ask for.
#[test]
fn n23_nobody_but_a_kubelet_has_a_token_of_a_year() {
    let stage = shared();
    let shop = stage.governed("mainland");
    shop.accepts(shop.pod("web"));
    shop.has_its_account();
    let ask = |seconds: u64| {
        let path = format!("{}/token", SERVICE_ACCOUNT.path(&shop.name, "default"));
        let bound = json!({"apiVersion": "v1", "kind": "Pod", "name": "web"});
        let spec = json!({"expirationSeconds": seconds, "boundObjectRef": bound, "audiences": ["https://kubernetes.default.svc"]});
        stage
            .tenant
            .post(&path, &json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec}))
    };
    ask(3600).expected();
    let said = ask(3607).refused("[domicile/token]");
    assert!(said.contains("one of a year"), "{said}");
}

/// N23: the Secret of a token from before the label is filled anew for nobody.
#[test]
fn n23_a_secret_from_before_gets_no_new_token() {
    let stage = shared();
    let mut past = stage.ungoverned();
    past.has_its_account();
    past.accepts("{apiVersion: v1, kind: ServiceAccount, metadata: {name: other}}");
    past.accepts("{apiVersion: v1, kind: Secret, type: kubernetes.io/service-account-token, metadata: {name: old, annotations: {kubernetes.io/service-account.name: default}}}");
    eventually("it has a token", SOON, || {
        when(past.get(&SECRET, "old")["data"]["token"].is_string(), || "not yet".into())
    });
    past.joins("mainland");
    for change in [
        "metadata: {annotations: {kubernetes.io/service-account.name: other, kubernetes.io/service-account.uid: null}}",
        "data: {token: null}",
        "data: {token: ''}",
    ] {
        let said = past.patch(&SECRET, "old", change).refused("[domicile/token]");
        assert!(said.contains("never ends"), "{said}");
    }
    past.patch(&SECRET, "old", "metadata: {labels: {seen: 'true'}}").expected();
}

/// S13: who may connect is another question than who may read claims, snapshots and Secrets.
#[test]
fn s13_a_grant_gives_services_alone() {
    let stage = shared();
    let _open = stage.makes_residency("granting", "{jurisdictions: [CN], network: {exposure: Allow}}");
    let (shop, free) = (stage.governed("granting"), stage.ungoverned());
    let (group, version, kind, plural) = ("gateway.networking.k8s.io", "v1beta1", "ReferenceGrant", "referencegrants");
    let _served = serves(&stage, group, version, kind, plural);
    let grant = |space: &Namespace, to: Value| {
        asks(
            &stage.tenant,
            space,
            group,
            version,
            kind,
            plural,
            &json!({"from": [{"group": "", "kind": "PersistentVolumeClaim", "namespace": free.name}], "to": to}),
        )
    };
    let claim = json!([{"group": "", "kind": "Service"}, {"group": "", "kind": "PersistentVolumeClaim"}]);
    eventually("grants pass where nothing is governed", SOON, || {
        let reply = grant(&free, claim.clone());
        when(reply.ok(), || format!("{} {}", reply.code, reply.message))
    });
    let said = grant(&shop, claim.clone()).refused("[domicile/grant]");
    assert!(said.contains("Name Services alone"), "{said}");
    let service = json!([{"group": "", "kind": "Service"}]);
    grant(&shop, service.clone()).expected();
    grant(&stage.governed("mainland"), service.clone()).refused("[domicile/route]"); // where exposure is Deny
    // Those that are older than the label are judged the same.
    let mut older = stage.ungoverned();
    let kind = (group, version, kind, plural);
    makes_one(&older, kind, "claims", &json!({"from": [], "to": claim}));
    makes_one(&older, kind, "services", &json!({"from": [], "to": service}));
    older.joins("granting");
    let found = |name: &str| {
        let subject = format!("ReferenceGrant.gateway.networking.k8s.io {}/{name}", older.name);
        stage.finding("granting", "domicile/grant", &subject)
    };
    eventually("it is told", SOON, || when(found("claims").is_some(), || "not yet".into()));
    assert!(found("services").is_none());
}

/// A driver's devices in the cluster: its class, and one slice that says where they are.
fn devices(stage: &Turn, driver: &str, place: &str) -> (String, Vec<Made>) {
    let name = fresh_name();
    let class = format!(
        "{{apiVersion: resource.k8s.io/v1, kind: DeviceClass, metadata: {{name: {name}}}, spec: {{selectors: [{{cel: {{expression: 'device.driver == \"{driver}\"'}}}}]}}}}"
    );
    let slice = format!(
        "{{apiVersion: resource.k8s.io/v1, kind: ResourceSlice, metadata: {{name: {name}}}, spec: {{driver: {driver}, {place}, pool: {{name: {name}, generation: 1, resourceSliceCount: 1}}, devices: [{{name: one}}, {{name: two}}]}}}}"
    );
    let made = vec![stage.makes(Manifest::from(class)), stage.makes(Manifest::from(slice))];
    (name, made)
}

/// Claims a device of a class in a namespace, and asks for a pod that holds it.
fn claims(stage: &Turn, space: &Namespace, pod: &str, class: &str) {
    let claim = json!({"apiVersion": "resource.k8s.io/v1", "kind": "ResourceClaim", "metadata": {"name": pod},
        "spec": {"devices": {"requests": [{"name": "one", "exactly": {"deviceClassName": class}}]}}});
    let path = format!("/apis/resource.k8s.io/v1/namespaces/{}/resourceclaims", space.name);
    stage.admin.post(&path, &claim).expected();
    space.accepts(holds(space, pod, pod));
}

fn holds(space: &Namespace, pod: &str, claim: &str) -> Manifest {
    let device = format!(
        "spec: {{resourceClaims: [{{name: one, resourceClaimName: {claim}}}], containers: [{{name: main, image: i, resources: {{claims: [{{name: one}}]}}}}]}}"
    );
    space.pod(pod).with(&device)
}

/// P15: a device of a node abroad is not reached; a pod that asks for one waits.
#[test]
fn p15_a_device_abroad_does_not_draw_a_pod_there() {
    let stage = shared();
    let (shop, free) = (stage.governed("mainland"), stage.ungoverned());
    let (class, _devices) = devices(&stage, "gpu.nvidia.com", "nodeName: frankfurt-a");
    for space in [&shop, &free] {
        claims(&stage, space, "trains", &class);
    }
    assert_eq!(free.runs("trains"), "frankfurt-a");
    shop.fits_nowhere("trains");
}

/// P15: a device that is reached over the network may stand anywhere; it is given to no governed pod, and one of the node is.
#[test]
fn p15_a_device_that_is_no_part_of_the_node_is_given_to_nobody() {
    let stage = shared();
    let (shop, free) = (stage.governed("mainland"), stage.ungoverned());
    let (far, _far) = devices(&stage, "fabric.example.com", "allNodes: true");
    let (near, _near) = devices(&stage, "gpu.amd.com", "nodeName: shanghai-a");
    claims(&stage, &free, "far", &far);
    free.runs("far");
    claims(&stage, &shop, "near", &near);
    assert_eq!(shop.runs("near"), "shanghai-a");
    claims(&stage, &shop, "far", &far);
    shop.tells(&["FailedScheduling Pod far", "[domicile/device] DataResidency mainland", "driver fabric.example.com"]);
    assert!(shop.get(&POD, "far")["spec"].get("nodeName").is_none());
}

/// P15: a claim that was given such a device before the label keeps it, and no further pod gets it.
#[test]
fn p15_a_device_from_before_gets_no_further_pod() {
    let stage = shared();
    let _residency = stage.makes_residency("devices", "{jurisdictions: [CN]}");
    let mut space = stage.ungoverned();
    let (far, _far) = devices(&stage, "fabric.example.com", "allNodes: true");
    claims(&stage, &space, "first", &far);
    space.runs("first");
    space.joins("devices");
    let found = || stage.finding("devices", "domicile/device", &format!("ResourceClaim {}/first", space.name));
    eventually("it is told", SOON, || when(found().is_some(), || "not yet".into()));
    space.accepts(holds(&space, "second", "first"));
    space.tells(&["FailedScheduling Pod second", "[domicile/device] DataResidency devices"]);
    assert!(space.get(&POD, "second")["spec"].get("nodeName").is_none());
    for pod in ["first", "second"] {
        space.delete(&POD, pod).expected();
        space.loses(&POD, pod);
    }
    eventually("it is told no more", SOON, || when(found().is_none(), || format!("{:?}", found())));
}

/// P18: what is changed in a pod that runs stays where it runs, and gets no privilege.
#[test]
fn p18_resize_and_ephemeral_containers_open_nothing() {
    let stage = shared();
    let shop = stage.governed("mainland");
    shop.accepts(
        shop.pod("web").with(
            "spec: {containers: [{name: main, image: i, resources: {requests: {cpu: 100m}, limits: {cpu: 100m}}}]}",
        ),
    );
    let node = shop.runs("web");
    let path = |part: &str| format!("{}/{part}", POD.path(&shop.name, "web"));
    let change = |part: &str, spec: &str| stage.tenant.patch_at(&path(part), Patch::Merge, &parse(spec));
    // Simulated nodes do not say that they can resize: whether or not it passes, nothing but amounts may change.
    for spec in [
        "spec: {containers: [{name: main, image: i, resources: {requests: {cpu: 200m}, limits: {cpu: 200m}}}]}",
        "spec: {nodeName: frankfurt-a}",
        "spec: {nodeSelector: null}",
        "spec: {hostNetwork: true}",
        "spec: {volumes: [{name: v, hostPath: {path: /}}]}",
    ] {
        for part in ["resize", "ephemeralcontainers"] {
            let before = shop.get(&POD, "web")["spec"].clone();
            let _ = change(part, spec);
            let after = shop.get(&POD, "web")["spec"].clone();
            for field in ["nodeName", "nodeSelector", "hostNetwork", "volumes"] {
                assert_eq!(before[field], after[field], "{part} changed {field} by {spec}");
            }
        }
    }
    let privileged = "spec: {ephemeralContainers: [{name: debugger, image: i, securityContext: {privileged: true}}]}";
    change("ephemeralcontainers", privileged).refused("violates PodSecurity");
    assert_eq!(shop.get(&POD, "web")["spec"]["nodeName"], node.as_str());
}
