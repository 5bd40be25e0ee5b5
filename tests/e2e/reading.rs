//! How the operator reads: what tenants write, they may write as large as the API takes it, and in namespaces that are not
//! governed, too. None of that may cost the operator the memory that it has, or it would be ended at every start.

use crate::{
    report::report,
    support::{
        installation::{CHART, with_static_policies},
        prelude::*,
        process::repository,
        wait::run,
    },
};

/// How much the chart lets the operator hold, in bytes.
pub fn limit() -> u64 {
    let values = std::fs::read_to_string(repository().join(CHART).join("values.yaml")).unwrap();
    let mebibytes = parse(&values)["resources"]["limits"]["memory"].as_str().unwrap().trim_end_matches("Mi").to_owned();
    mebibytes.parse::<u64>().unwrap() << 20
}

/// What costs most for each byte of its text, as many of each as make hundreds of megabytes where they are kept whole.
fn dear() -> Vec<(usize, Manifest)> {
    let egress = |rules: Value| -> Manifest {
        json!({"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": {"name": "it"},
            "spec": {"podSelector": {}, "policyTypes": ["Egress"], "egress": rules}})
        .into()
    };
    let pod = |containers: Value, volumes: Value| -> Manifest {
        json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "it"},
            "spec": {"schedulerName": "nobody", "containers": containers, "volumes": volumes}})
        .into()
    };
    let main = || json!([{"name": "main", "image": "i"}]);
    let volumes: Vec<Value> = (0..40_000).map(|number| json!({"name": format!("v{number}"), "emptyDir": {}})).collect();
    let shares: Vec<Value> =
        (0..10_000).map(|number| json!({"name": format!("v{number}"), "hostPath": {"path": "/"}})).collect();
    let variables = vec![json!({"name": "a"}); 100_000];
    let subjects = vec![json!({"kind": "Group", "name": "a", "apiGroup": "rbac.authorization.k8s.io"}); 20_000];
    vec![
        (12, egress(json!([{"to": vec![json!({"podSelector": {}}); 50_000]}]))),
        (1, egress(json!(vec![json!({}); 200_000]))),
        (2, egress(json!([{"ports": vec![json!({"port": 1}); 50_000]}]))),
        (1, pod(main(), json!(volumes))),
        (1, pod(main(), json!(shares))),
        (2, pod(json!([{"name": "main", "image": "i", "env": variables}]), json!([]))),
        (10, json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": {"name": "it"},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "view"}, "subjects": subjects}).into()),
    ]
}

#[test]
fn the_largest_objects_of_tenants_do_not_cost_the_operator_its_memory() {
    let stage = alone();
    let past = stage.ungoverned();
    for (kind, (number, manifest)) in dear().into_iter().enumerate() {
        for one in 0..number {
            let named = manifest.clone().named(&format!("it-{kind}-{one}")).in_namespace(&past.name);
            stage.admin.create(&named).expected();
        }
    }
    let labels: std::collections::BTreeMap<String, &str> =
        (0..40_000).map(|number| (format!("a{number}"), "")).collect();
    let labelled = || Manifest::from("{apiVersion: v1, kind: Namespace, metadata: {}}").named(&fresh_name());
    let _labelled: Vec<Made> =
        (0..12).map(|_| stage.makes(labelled().with(&json!({"metadata": {"labels": labels}}).to_string()))).collect();
    let within_the_limit = |when: &str| {
        let (most, limit) = (stage.operator.most_memory(), limit());
        say(&format!("reading: {when} at most {} MiB of {}", most >> 20, limit >> 20));
        assert!(most < limit, "{when} the operator held {most} bytes, and the chart lets it hold {limit}");
    };
    within_the_limit("while they came");
    // It is started afresh, and then they are governed.
    stage.operator.kill();
    let before = stage.operator.said().len();
    stage.operator.start().unwrap();
    eventually("it has read all of them", LATER, || {
        when(stage.operator.said()[before..].contains("the cluster has been read"), || stage.operator.last_words())
    });
    let shop = stage.governed("mainland");
    shop.accepts(shop.pod("web"));
    shop.runs("web");
    within_the_limit("at a start");
    past.label("domicile.dev/residency", "mainland");
    eventually("the namespace is told which policy is too large", LATER, || {
        let reason = past.annotation("domicile.dev/refused-because");
        when(reason.contains("is too large to be judged"), || reason)
    });
    within_the_limit("when they became governed");
    past.is_deleted();
}

#[test]
fn where_an_api_server_does_not_send_all_objects_one_by_one_they_are_read_in_pages() {
    let stage = with_static_policies();
    let gates = stage.admin.kubectl("get --raw /metrics").expected();
    assert!(gates.contains("kubernetes_feature_enabled{name=\"WatchList\",stage=\"BETA\"} 0"), "the gate is on");
    stage.install().unwrap();
    let shop = stage.governed("mainland");
    shop.accepts(shop.pod("web"));
    shop.runs("web");
    assert!(stage.operator.said().contains("they are read in pages"), "{}", stage.operator.last_words());
}

/// What no parser here takes, and the API server stores as it is told, since it owns no field: a time after the last year.
fn unreadable(version: &Value) -> Value {
    json!([{"manager": "m", "operation": "Update", "apiVersion": version, "time": "9999-12-31T23:59:59Z",
        "fieldsType": "FieldsV1", "fieldsV1": {"f:spec": {"f:zzz": {}}}}])
}

/// Sends an object whose managed fields have a byte that is no text, which the API server keeps.
#[track_caller]
fn makes_with_a_byte_that_is_no_text(space: &Namespace, object: &Value) {
    let fields = json!([{"manager": "m", "operation": "Update", "apiVersion": object["apiVersion"], "fieldsType": "FieldsV1",
        "fieldsV1": {"f:spec": {"f:BYTE": {}}}}]);
    let manifest = Manifest::from(object.clone()).with(&json!({"metadata": {"managedFields": fields}}).to_string());
    let manifest = manifest.in_namespace(&space.name);
    let text = manifest.0.to_string();
    let (before, after) = text.split_once("BYTE").unwrap();
    let body = [before.as_bytes(), b"\xff", after.as_bytes()].concat();
    let path = manifest.kind().collection(&space.name);
    run(space.tenant.exchange("POST", &path, "application/json", body)).expected();
    let stored = space.get(manifest.kind(), manifest.name())["metadata"]["managedFields"].to_string();
    assert!(stored.contains("f:\u{fffd}"), "the API server does not keep such fields: {stored}");
}

/// It would end each watch of its kind, and every list.
#[test]
fn a_byte_that_is_no_text_ends_no_watch() {
    let stage = alone();
    let past = stage.ungoverned();
    for object in [
        json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "first"},
            "spec": {"schedulerName": "nobody", "containers": [{"name": "main", "image": "i"}]}}),
        json!({"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": {"name": "first"},
            "spec": {"podSelector": {}, "policyTypes": ["Egress"], "egress": [{}]}}),
        json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "first"}, "spec": {"ports": [{"port": 80}]}}),
        json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "first"},
            "spec": {"storageClassName": "gp3", "accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}}),
    ] {
        makes_with_a_byte_that_is_no_text(&past, &object);
    }
    past.accepts(bare_pod("abroad").with("spec: {nodeName: frankfurt-a}"));
    for way in ["watched on", "started anew"] {
        if way == "started anew" {
            stage.operator.kill();
            stage.operator.start().unwrap();
            stage.governed("mainland");
        } else {
            past.label("domicile.dev/residency", "mainland");
            past.is_confined();
        }
        let narrowed = stage.admin.get(&NETWORK_POLICY, &past.name, "first")["spec"].to_string();
        assert!(narrowed.contains("10.20.0.0/16"), "{way}: {narrowed}");
        let labels = past.labels();
        assert_ne!(labels.get("domicile.dev/peer").map(String::as_str), Some("true"), "{way}: {labels:?}");
        eventually(&format!("{way}, what is abroad is found"), SOON, || {
            let found = report(&stage, &["--findings"]);
            let text = String::from_utf8_lossy(&found.stdout).into_owned();
            let section = text.split("\n\n").find(|section| section.contains(&past.name)).unwrap_or_default();
            when(["Pod abroad", "PersistentVolumeClaim first"].iter().all(|words| section.contains(words)), || {
                text.clone()
            })
        });
    }
    let said = stage.operator.said();
    assert!(!said.contains("invalid utf-8") && !said.contains("InvalidData"), "{}", stage.operator.last_words());
    past.is_deleted();
}

#[test]
fn what_cannot_be_parsed_hides_nothing() {
    let stage = alone();
    let past = stage.ungoverned();
    let hidden = |mut object: Value| {
        object["metadata"]["managedFields"] = unreadable(&object["apiVersion"]);
        past.accepts(Manifest::from(object));
    };
    hidden(json!({"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": {"name": "wide"},
        "spec": {"podSelector": {}, "policyTypes": ["Egress"], "egress": [{}]}}));
    hidden(
        json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "outside"}, "spec": {"type": "LoadBalancer", "ports": [{"port": 80}]}}),
    );
    hidden(json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "abroad"},
        "spec": {"storageClassName": "gp3", "accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}}));
    hidden(json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "abroad"},
        "spec": {"nodeName": "frankfurt-a", "containers": [{"name": "main", "image": "i", "securityContext": {"privileged": true}}]}}));
    let stored = stage.admin.get(&NETWORK_POLICY, &past.name, "wide")["metadata"]["managedFields"].to_string();
    assert!(stored.contains("9999-12-31T23:59:59Z"), "the API server keeps no such fields: {stored}");
    let node = stage.makes_node("shanghai-forged", "cn-shanghai", "10.20.0.250");
    let is_verified = |wanted: bool| {
        eventually(&format!("the node is verified: {wanted}"), SOON, || {
            let labels = node.now()["metadata"]["labels"].clone();
            when(labels.to_string().contains("data-center") == wanted, || labels.to_string())
        });
    };
    is_verified(true);
    stage.operator.kill();
    stage.operator.start().unwrap();
    past.label("domicile.dev/residency", "mainland");
    past.is_confined();
    let narrowed = stage.admin.get(&NETWORK_POLICY, &past.name, "wide")["spec"].to_string();
    assert!(narrowed.contains("10.20.0.0/16"), "{narrowed}");
    let labels = past.labels();
    assert_ne!(
        labels.get("domicile.dev/peer").map(String::as_str),
        Some("true"),
        "a pod of it runs abroad: {labels:?}"
    );
    for finding in ["Service outside", "PersistentVolumeClaim abroad", "Pod abroad"] {
        eventually(&format!("{finding} is found"), SOON, || {
            let found = report(&stage, &["--findings"]);
            let text = String::from_utf8_lossy(&found.stdout).into_owned();
            let section = text.split("\n\n").find(|section| section.contains(&past.name)).unwrap_or_default();
            when(section.contains(finding), || text.clone())
        });
    }
    // A kubelet that forges a time is believed no more for it: where its node stands is still seen.
    let late = json!({"status": {"addresses": [{"type": "InternalIP", "address": "10.40.0.77"}],
        "conditions": [{"type": "Ready", "status": "True", "lastHeartbeatTime": "9999-12-31T23:59:59Z"}]}});
    stage.admin.patch_at(&format!("{}/status", NODE.path("", "shanghai-forged")), Patch::Merge, &late).expected();
    is_verified(false);
}
