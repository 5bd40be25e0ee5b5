//! Routes of the list of escape routes (P placement, S storage, N network) that no other module takes: each is open in a
//! namespace that is not governed, and closed in one that is.

use domicile::domain::FurtherNetworks;

use crate::support::prelude::*;

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

/// It runs until its grace period is over, which may be a year, or as long as somebody holds it.
#[test]
fn n3b_a_pod_that_ends_gets_no_further_network() {
    let stage = shared();
    let (shop, free) = (stage.governed("mainland"), stage.ungoverned());
    let note = json!({"metadata": {"annotations": {"k8s.v1.cni.cncf.io/networks": "macvlan"}}});
    for space in [&shop, &free] {
        space.accepts(space.pod("held").with("metadata: {finalizers: [example.com/held]}"));
        space.runs("held");
        space.delete(&POD, "held").expected();
        assert!(space.get(&POD, "held")["metadata"]["deletionTimestamp"].is_string());
        let reply = stage.tenant.patch(&POD, &space.name, "held", &note);
        if space.name == free.name {
            reply.expected();
        } else {
            reply.refused("[domicile/further-network]");
        }
        // And nothing keeps it from ending.
        space.patch(&POD, "held", "metadata: {finalizers: null}").expected();
        space.loses(&POD, "held");
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
    let one = add_on("snapshot.storage.k8s.io", "v1", "VolumeSnapshot", "volumesnapshots");
    let group = add_on("groupsnapshot.storage.k8s.io", "v1beta1", "VolumeGroupSnapshot", "volumegroupsnapshots");
    let _served = all_served(&stage, [one, group]);
    let of_one = json!({"volumeSnapshotClassName": "copied-abroad", "source": {"persistentVolumeClaimName": "data"}});
    let of_group = json!({"volumeGroupSnapshotClassName": "copied-abroad", "source": {"selector": {"matchLabels": {"app": "db"}}}});
    for (kind, taken, content) in
        [(one, of_one, "volumeSnapshotContentName"), (group, of_group, "volumeGroupSnapshotContentName")]
    {
        let brought_in = json!({"source": {content: "of-somebody"}});
        kind.comes_to_pass(&stage.tenant, &free, &taken);
        kind.would_ask(&stage.tenant, &free, &brought_in).expected();
        for (spec, verb) in [(&taken, "snapshot"), (&brought_in, "adopt")] {
            let said = kind.would_ask(&stage.tenant, &shop, spec).refused("[domicile/snapshot]");
            assert!(said.contains(&format!("needs the verb {verb}")), "{said}");
            let (one_who_may, _made) = stage.with_verb(verb, "mainland");
            kind.comes_to_pass(&one_who_may, &shop, spec);
        }
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
    let (adopter, _made) = stage.with_verb("adopt", "mainland");
    adopter.try_create(&shop.claim("other").with(gold).in_namespace(&shop.name)).expected();
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
        "metadata: {annotations: {k8s.v1.cni.cncf.io/networks: macvlan, cni.projectcalico.org/podIP: 198.51.100.7}, labels: {app: other}}",
        "status: {podIP: 198.51.100.7, podIPs: [{ip: 198.51.100.7}]}",
    ] {
        for part in ["resize", "ephemeralcontainers"] {
            let before = shop.get(&POD, "web");
            let _ = change(part, spec);
            let after = shop.get(&POD, "web");
            for field in ["nodeName", "nodeSelector", "hostNetwork", "volumes"] {
                assert_eq!(before["spec"][field], after["spec"][field], "{part} changed {field} by {spec}");
            }
            for field in ["/metadata/annotations", "/metadata/labels", "/status/podIPs"] {
                assert_eq!(before.pointer(field), after.pointer(field), "{part} changed {field} by {spec}");
            }
        }
    }
    let privileged = "spec: {ephemeralContainers: [{name: debugger, image: i, securityContext: {privileged: true}}]}";
    change("ephemeralcontainers", privileged).refused("violates PodSecurity");
    assert_eq!(shop.get(&POD, "web")["spec"]["nodeName"], node.as_str());
}
