//! Storage: governed claims use classes that are proven to be in the country, and pods mount nothing past their claims.

use crate::support::{cluster::Cluster, prelude::*};

const HOME_ZONES: [&str; 3] = ["cn-beijing-h", "cn-shanghai-e", "cn-shanghai-f"];

#[test]
fn a_claim_in_which_nobody_names_a_class_gets_the_default() {
    let stage = shared();
    let shop = stage.governed("mainland");
    if !stage.mutates() {
        // The cluster's own default has been filled in; the refusal says what to write.
        let said = shop.rejects(bare_claim("data"), "[domicile/storage-class]");
        assert!(said.contains("mainland-ssd"), "{said}");
        return;
    }
    assert_eq!(shop.accepts(bare_claim("data"))["spec"]["storageClassName"], "mainland-ssd");
    let applied = stage.tenant.apply(&bare_claim("applied").in_namespace(&shop.name)).expected();
    assert_eq!(applied["spec"]["storageClassName"], "mainland-ssd");
    // Elsewhere the cluster's own default stays.
    let free = stage.ungoverned();
    assert_eq!(free.accepts(bare_claim("data"))["spec"]["storageClassName"], "standard");
}

/// S1: which class is the cluster's default, somebody else may say anew at any time.
#[test]
fn s1_the_default_of_the_residency_stays_where_the_clusters_own_changes() {
    let stage = alone();
    let (shop, free) = (stage.governed("mainland"), stage.ungoverned());
    let clusters_own_becomes = |class: &str| {
        eventually(&format!("{class} is the cluster's default"), SOON, || {
            let default = free.would_ask(bare_claim("data")).expected()["spec"]["storageClassName"].clone();
            when(default == class, || default.to_string())
        });
    };
    // Of two defaults the API server takes the newer one.
    let newer = stage.makes("{apiVersion: storage.k8s.io/v1, kind: StorageClass, metadata: {name: newer, annotations: {storageclass.kubernetes.io/is-default-class: 'true'}}, provisioner: ebs.csi.aws.com, volumeBindingMode: WaitForFirstConsumer}");
    clusters_own_becomes("newer");
    if stage.mutates() {
        assert_eq!(shop.accepts(bare_claim("data"))["spec"]["storageClassName"], "mainland-ssd");
    } else {
        let said = shop.rejects(bare_claim("data"), "[domicile/storage-class]");
        assert!(said.contains("StorageClass newer"), "{said}");
    }
    shop.rejects(bare_claim("named").with("spec: {storageClassName: newer}"), "[domicile/storage-class]");
    newer.deleted();
    clusters_own_becomes("standard");
}

/// S1, KEP-3333: a claim in which nobody named a class may be given one later, and is given none that leads out.
#[test]
fn s1_a_claim_from_before_without_a_class_is_given_none_that_leads_out() {
    let stage = alone();
    let is_default = |is: &str| {
        let note = json!({"metadata": {"annotations": {"storageclass.kubernetes.io/is-default-class": is}}});
        stage.admin.patch(&STORAGE_CLASS, "", "standard", &note).expected();
    };
    is_default("false");
    let (mut shop, free) = (stage.ungoverned(), stage.ungoverned());
    for space in [&shop, &free] {
        for name in ["given", "taken"] {
            eventually("a claim stands without a class", SOON, || {
                let made = space.tenant.create(&bare_claim(name).in_namespace(&space.name)).expected();
                let class = made["spec"]["storageClassName"].clone();
                if !class.is_null() {
                    space.delete(&CLAIM, name).expected();
                    space.loses(&CLAIM, name);
                }
                when(class.is_null(), || class.to_string())
            });
        }
    }
    shop.joins("mainland");
    let gets = |class: &str| format!("spec: {{storageClassName: {class}}}");
    free.patch(&CLAIM, "given", &gets("gp3")).expected();
    let said = stage.admin.patch(&CLAIM, &shop.name, "given", &parse(&gets("gp3"))).refused("[domicile/storage-class]");
    assert!(said.contains("StorageClass gp3"), "{said}");
    shop.patch(&CLAIM, "given", &gets("mainland-ssd")).expected();
    // Nor does the control plane, which gives what has none the cluster's default as soon as there is one.
    is_default("true");
    eventually("elsewhere it is given the default", SOON, || {
        let class = free.get(&CLAIM, "taken")["spec"]["storageClassName"].clone();
        when(class == "standard", || class.to_string())
    });
    assert!(shop.get(&CLAIM, "taken")["spec"]["storageClassName"].is_null());
    shop.patch(&CLAIM, "taken", &gets("standard")).refused("[domicile/storage-class]");
}

/// S1, M18: who named a class is read from the fields' managers, which a tenant can send as he likes.
#[test]
fn s1_forged_managers_of_fields_hide_no_foreign_class() {
    let stage = shared();
    let shop = stage.governed("mainland");
    let manages = |manager: &str, fields: Value| json!({"manager": manager, "operation": "Update", "apiVersion": "v1", "time": "2026-01-01T00:00:00Z", "fieldsType": "FieldsV1", "fieldsV1": fields});
    let (nothing, access) = (json!({}), json!({"f:spec": {"f:accessModes": {}}}));
    let class = json!({"f:spec": {"f:storageClassName": {}}});
    for (number, managers) in [
        Value::Null,
        json!([]),
        json!([{}]),
        json!([manages("kubectl", nothing)]),
        json!([manages("kubectl", access.clone())]),
        json!([manages("kubectl", access), manages("kube-apiserver", class)]),
    ]
    .into_iter()
    .enumerate()
    {
        for named in [Some("gp3"), Some("standard"), Some(""), None] {
            let mut claim = bare_claim(&format!("data-{number}")).in_namespace(&shop.name);
            claim.0["metadata"]["managedFields"] = managers.clone();
            if let Some(class) = named {
                claim.0["spec"]["storageClassName"] = json!(class);
            }
            let reply = shop.would_ask(claim);
            let class = reply.object["spec"]["storageClassName"].as_str().unwrap_or_default();
            let refused = reply.message.contains("[domicile/storage-class]");
            assert!(refused || class == "mainland-ssd", "{managers} with {named:?}: {} {class}", reply.message);
        }
    }
}

#[test]
fn s2_s18_classes_of_the_residency_pass_and_others_do_not() {
    let stage = shared();
    let shop = stage.governed("mainland");
    let of = |class: &str| bare_claim("data").with(&format!("spec: {{storageClassName: '{class}'}}"));
    for class in ["mainland-ssd", "mainland-hdd"] {
        assert_eq!(shop.accepts(of(class).named(class))["spec"]["storageClassName"], class);
    }
    let said = shop.rejects(of("gp3"), "[domicile/storage-class] DataResidency mainland: ");
    for words in ["gp3", "mainland-ssd", "mainland-hdd"] {
        assert!(said.contains(words), "the refusal does not say {words}: {said}");
    }
    // It helps only where something fills in the default.
    assert_eq!(said.contains("Leave storageClassName out"), stage.mutates(), "{said}");
    for class in ["standard", "", "no-such-class"] {
        shop.rejects(of(class), "[domicile/storage-class]");
    }
}

#[test]
fn volumes_lie_where_the_data_centers_are() {
    let stage = shared();
    let shop = stage.governed("mainland");
    shop.accepts(shop.claim("data"));
    shop.accepts(shop.pod("db").with(&mounting("data")));
    shop.runs("db");
    let claim = eventually("the claim says that it is bound, which it may do after the pod runs", SOON, || {
        let claim = shop.get(&CLAIM, "data");
        when(claim["status"]["phase"] == "Bound", || claim["status"].to_string())?;
        Ok(claim)
    });
    let volume = stage.admin.get(&VOLUME, "", claim["spec"]["volumeName"].as_str().unwrap());
    let affinity = volume["spec"]["nodeAffinity"].to_string();
    assert!(HOME_ZONES.iter().any(|zone| affinity.contains(&format!("\"{zone}\""))), "{affinity}");
}

/// S6: a driver is held by a key that it does not know to nothing.
#[test]
fn s6_a_topology_key_that_the_driver_does_not_know_is_told() {
    let stage = shared();
    let class =
        |key: &str| format!("{{classes: [{{name: keyed-ssd, provisioner: csi.testcluster.dev, topologyKey: {key}}}]}}");
    let spec = format!("{{jurisdictions: [CN], storage: {}}}", class("csi.testcluster.dev/zone"));
    let residency = stage.makes_residency("keyed", &spec);
    let shop = stage.governed("keyed");
    let said = |status: &str| {
        let seen = stage.becomes("keyed", "StorageEnforced", status);
        let conditions = seen["status"]["conditions"].as_array().cloned().unwrap_or_default();
        let found = conditions.iter().find(|condition| condition["type"] == "StorageEnforced").cloned().unwrap();
        found["message"].as_str().unwrap().to_owned()
    };
    let told = said("Unknown");
    for words in ["csi.testcluster.dev/zone", "keyed-ssd", "topologyKey", "registered topology.kubernetes.io/zone"] {
        assert!(told.contains(words), "{words}: {told}");
    }
    // What is told is so: there is no volume.
    let keyed = |name: &str| bare_claim(name).with("spec: {storageClassName: keyed-ssd}");
    eventually("the class is permitted", SOON, || {
        let classes = shop.annotation("domicile.dev/storage-classes");
        when(classes == "keyed-ssd", || classes)
    });
    shop.accepts(keyed("data"));
    shop.accepts(shop.pod("db").with(&mounting("data")));
    shop.fits_nowhere("db");
    residency.becomes(&format!("spec: {{storage: {}}}", class("topology.kubernetes.io/zone")));
    assert!(!said("True").contains("topologyKey"));
    shop.runs("db");
}

#[test]
fn other_ways_to_name_a_class_or_a_place_are_closed() {
    let stage = shared();
    let shop = stage.governed("mainland");
    let data = || shop.claim("data");
    shop.rejects(
        data().with("metadata: {annotations: {volume.beta.kubernetes.io/storage-class: gp3}}"),
        "[domicile/storage-class-annotation]",
    );
    shop.rejects(
        data().with("metadata: {annotations: {volume.kubernetes.io/selected-node: frankfurt-a}}"),
        "[domicile/selected-node]",
    );
    shop.rejects(data().with("spec: {volumeName: pv-of-somebody}"), "[domicile/adopt]");
    shop.rejects(
        bare_claim("data").with("spec: {storageClassName: '', volumeName: pv-of-somebody}"),
        "[domicile/adopt]",
    );
}

/// S13: a claim that is filled with another namespace's data.
#[test]
fn s13_a_claim_is_not_filled_from_another_namespace() {
    let stage = shared();
    let (shop, free) = (stage.governed("mainland"), stage.ungoverned());
    let filled = |space: &Namespace, kind: &str, from: &Namespace| {
        let source = format!("{{{kind}, name: theirs, namespace: {}}}", from.name);
        space.claim("data").with(&format!("spec: {{dataSourceRef: {source}}}"))
    };
    let (snapshot, claim) = ("apiGroup: snapshot.storage.k8s.io, kind: VolumeSnapshot", "kind: PersistentVolumeClaim");
    // Where the feature CrossNamespaceVolumeDataSource is off, the API server drops the field before anybody judges it.
    if free.accepts(filled(&free, snapshot, &shop))["spec"]["dataSourceRef"].is_null() {
        assert!(Cluster::of_the_environment().unwrap().is_some(), "the tests start their clusters with the feature");
        return;
    }
    for kind in [snapshot, claim] {
        let said = shop.rejects(filled(&shop, kind, &free), "[domicile/data-source]");
        assert!(said.contains(&format!("filled from namespace {}", free.name)), "{said}");
    }
    shop.accepts(filled(&shop, snapshot, &shop));
}

#[test]
fn s9_a_claim_is_not_changed_into_a_foreign_one() {
    let stage = shared();
    let shop = stage.governed("mainland");
    shop.accepts(shop.claim("data"));
    let node = shop.patch(&CLAIM, "data", "metadata: {annotations: {volume.kubernetes.io/selected-node: frankfurt-a}}");
    node.refused("[domicile/selected-node]");
    shop.patch(&CLAIM, "data", "spec: {volumeName: pv-of-somebody}").refused("[domicile/adopt]");
    shop.patch(&CLAIM, "data", "metadata: {labels: {app: db}}").expected();
}

#[test]
fn the_verb_adopt_lets_a_volume_in() {
    let stage = shared();
    let shop = stage.governed("mainland");
    let claim = bare_claim("data")
        .with("spec: {storageClassName: mainland-ssd, volumeName: pv-of-the-platform}")
        .in_namespace(&shop.name);
    let said = shop.rejects(&claim, "[domicile/adopt]");
    assert!(said.contains("verb adopt"), "{said}");
    let (one_who_may, _made) = stage.with_verb("adopt", "mainland");
    one_who_may.create(&claim).expected();
}

#[test]
fn s11_s12_pods_mount_nothing_past_their_claims() {
    let stage = shared();
    let shop = stage.governed("mainland");
    let with = |volume: &str| shop.pod("web").with(&format!("spec: {{volumes: [{{name: v, {volume}}}]}}"));
    for volume in [
        "nfs: {server: 198.51.100.7, path: /}",
        "csi: {driver: s3.csi.example.com}",
        "iscsi: {targetPortal: 198.51.100.7, iqn: 'iqn.2001-04.com.example:storage', lun: 0}",
        "cephfs: {monitors: [198.51.100.7]}",
    ] {
        shop.rejects(with(volume), "[domicile/pod-volume]");
    }
    for (number, volume) in
        ["emptyDir: {}", "configMap: {name: c, optional: true}", "secret: {secretName: s, optional: true}"]
            .into_iter()
            .enumerate()
    {
        shop.accepts(with(volume).named(&format!("fine-{number}")));
    }
    let template = |class: &str| {
        format!(
            "ephemeral: {{volumeClaimTemplate: {{spec: {{{class}accessModes: [ReadWriteOnce], resources: {{requests: {{storage: 1Gi}}}}}}}}}}"
        )
    };
    shop.rejects(with(&template("storageClassName: gp3, ")), "[domicile/ephemeral-volume]");
    shop.accepts(with(&template("storageClassName: mainland-hdd, ")).named("ephemeral"));
    shop.runs("ephemeral");
}

#[test]
fn classes_are_made_with_the_zones_of_the_data_centers() {
    let class = shared().admin.get(&STORAGE_CLASS, "", "mainland-hdd");
    assert_eq!(class["provisioner"], "diskplugin.csi.alibabacloud.com");
    assert_eq!(class["parameters"]["type"], "cloud_efficiency");
    assert_eq!(class["reclaimPolicy"], "Delete");
    let expression = &class["allowedTopologies"][0]["matchLabelExpressions"][0];
    assert_eq!(expression["key"], "topology.diskplugin.csi.alibabacloud.com/zone");
    let zones = expression["values"].to_string();
    assert!(
        HOME_ZONES.iter().all(|zone| zones.contains(zone)) && !zones.contains("hongkong") && !zones.contains("eu-"),
        "{zones}"
    );
}

#[test]
fn s7_nobody_else_writes_the_classes_of_a_residency() {
    let stage = shared();
    let admin = &stage.admin;
    let refusal = "[domicile/own-storage-class]";
    admin.delete(&STORAGE_CLASS, "", "mainland-ssd").refused(refusal);
    admin.patch(&STORAGE_CLASS, "", "mainland-ssd", &json!({"allowedTopologies": null})).refused(refusal);
    admin
        .patch(
            &STORAGE_CLASS,
            "",
            "mainland-ssd",
            &json!({"metadata": {"labels": {"app.kubernetes.io/managed-by": null}}}),
        )
        .refused(refusal);
    admin
        .patch(
            &STORAGE_CLASS,
            "",
            "gp3",
            &json!({"metadata": {"labels": {"app.kubernetes.io/managed-by": "domicile"}}}),
        )
        .refused(refusal);
}

#[test]
fn classes_of_others_are_admitted_while_their_content_proves_it() {
    let stage = shared();
    let class = |name: &str, zone: &str| {
        Manifest::from(format!(
            "{{apiVersion: storage.k8s.io/v1, kind: StorageClass, metadata: {{name: {name}}}, provisioner: diskplugin.csi.alibabacloud.com, parameters: {{type: cloud_essd}}, volumeBindingMode: WaitForFirstConsumer, \
             allowedTopologies: [{{matchLabelExpressions: [{{key: topology.diskplugin.csi.alibabacloud.com/zone, values: [{zone}]}}]}}]}}"
        ))
    };
    let home = stage.makes(class("team-at-home", "cn-beijing-h"));
    let _away = stage.makes(class("team-away", "eu-central-1a"));
    let _residency = stage.makes_residency(
        "others-classes",
        "{jurisdictions: [CN], storage: {allowedClasses: [team-at-home, team-away, gp3]}}",
    );
    let shop = stage.governed("others-classes");
    let of = |name: &str| bare_claim(name).with(&format!("spec: {{storageClassName: {name}}}"));
    eventually("the class at home is admitted", SOON, || {
        let reply = shop.would_ask(of("team-at-home"));
        when(reply.ok(), || reply.message)
    });
    assert_eq!(shop.annotation("domicile.dev/storage-classes"), "team-at-home");
    shop.accepts(of("team-at-home"));
    shop.rejects(of("team-away"), "[domicile/storage-class]");
    shop.rejects(of("gp3"), "[domicile/storage-class]");
    // The name stays, the content turns.
    home.becomes("allowedTopologies: [{matchLabelExpressions: [{key: topology.diskplugin.csi.alibabacloud.com/zone, values: [cn-beijing-h, cn-hongkong-b]}]}]");
    eventually("the class is no longer admitted", SOON, || {
        let classes = shop.annotation("domicile.dev/storage-classes");
        when(classes == "-", || classes)
    });
    shop.comes_to_reject(of("team-at-home").named("late"), "[domicile/storage-class]");
}

/// A class of others whose volumes are held to a zone by the driver's own key, with parameters.
fn zoned_class(name: &str, driver: &str, key: &str, parameters: &str) -> Manifest {
    Manifest::from(format!(
        "{{apiVersion: storage.k8s.io/v1, kind: StorageClass, metadata: {{name: {name}}}, provisioner: {driver}, parameters: {{{parameters}}}, volumeBindingMode: WaitForFirstConsumer, \
         allowedTopologies: [{{matchLabelExpressions: [{{key: {key}, values: [cn-beijing-h]}}]}}]}}"
    ))
}

/// S8: parameters of a class cannot be changed; a class of the same name with others can be made in its place.
#[test]
fn s8_a_class_that_is_made_again_with_another_region_is_not_admitted() {
    let stage = shared();
    let class = |parameters: &str| {
        let (driver, key) = ("diskplugin.csi.alibabacloud.com", "topology.diskplugin.csi.alibabacloud.com/zone");
        zoned_class("made-again", driver, key, parameters)
    };
    let home = stage.makes(class("type: cloud_essd"));
    let residency = "class-made-again";
    let _residency = stage.makes_residency(residency, "{jurisdictions: [CN], storage: {allowedClasses: [made-again]}}");
    let shop = stage.governed(residency);
    let admits = |expected: &str| {
        eventually(&format!("the classes are {expected}"), SOON, || {
            let classes = shop.annotation("domicile.dev/storage-classes");
            when(classes == expected, || classes)
        });
    };
    let of = |name: &str| bare_claim(name).with("spec: {storageClassName: made-again}");
    admits("made-again");
    shop.accepts(of("before"));
    home.deleted();
    let _away = stage.makes(class("type: cloud_essd, regionId: eu-central-1"));
    admits("-");
    shop.comes_to_reject(of("after"), "[domicile/storage-class]");
    eventually("the residency says why", SOON, || {
        let found = stage.finding(residency, "domicile/storage-class-content", "StorageClass made-again");
        let said = found.unwrap_or_default()["message"].to_string();
        when(said.contains("parameter regionId: eu-central-1 puts volumes elsewhere"), || said)
    });
    shop.tells(&["PersistentVolumeClaim before", "[domicile/storage-class]"]);
}

/// S8: what a driver's parameter says beats the class's topology.
#[test]
fn s8_a_class_whose_parameter_names_another_place_is_not_admitted() {
    let stage = shared();
    let drivers = [
        ("disk.csi.azure.com", "topology.disk.csi.azure.com/zone", "location", "germanywestcentral"),
        ("com.tencent.cloud.csi.cbs", "topology.com.tencent.cloud.csi.cbs/zone", "diskZone", "eu-frankfurt-1"),
    ];
    let mut made = Vec::new();
    for (driver, key, parameter, place) in drivers {
        let name = parameter.to_lowercase();
        made.push(stage.makes(zoned_class(&format!("{name}-unsaid"), driver, key, "")));
        made.push(stage.makes(zoned_class(&format!("{name}-away"), driver, key, &format!("{parameter}: {place}"))));
    }
    let names: Vec<&str> = made.iter().map(Made::name).collect();
    let residency = "placed-by-parameter";
    let spec = format!("{{jurisdictions: [CN], storage: {{allowedClasses: [{}]}}}}", names.join(", "));
    let _residency = stage.makes_residency(residency, &spec);
    let shop = stage.governed(residency);
    eventually("those that say nothing of a place are admitted", SOON, || {
        let classes = shop.annotation("domicile.dev/storage-classes");
        when(classes == "diskzone-unsaid,location-unsaid", || classes)
    });
    for (_, _, parameter, place) in drivers {
        let class = format!("{}-away", parameter.to_lowercase());
        let claim = bare_claim("data").with(&format!("spec: {{storageClassName: {class}}}"));
        shop.comes_to_reject(claim, "[domicile/storage-class]");
        eventually("the residency says why", SOON, || {
            let found = stage.finding(residency, "domicile/storage-class-content", &format!("StorageClass {class}"));
            let said = found.unwrap_or_default()["message"].to_string();
            when(said.contains(&format!("parameter {parameter}: {place} ")), || said)
        });
    }
}
