//! Domicile follows change: what is added counts at once, what others break is undone and told, what is invalid changes nothing.

use crate::{network::passes, placement::on_the_mainland, support::prelude::*};

/// The operator's own name, by which a test breaks what the policies keep from everybody else.
pub fn intruder(stage: &Turn) -> User {
    stage.user(OPERATOR, &["system:serviceaccounts"])
}

#[test]
fn a_new_data_center_is_used_at_once() {
    let stage = shared();
    let _singapore = stage.makes_data_center("singapore-1", "SG", "ap-southeast-1", 60);
    let _node = stage.makes_node("singapore-a", "ap-southeast-1", "10.60.0.1");
    let classes =
        "storage: {classes: [{name: island-ssd, provisioner: diskplugin.csi.alibabacloud.com, default: true}]}";
    let _residency = stage.makes_residency("island", &format!("{{jurisdictions: [SG], {classes}}}"));
    let shop = stage.governed("island");
    assert_eq!(shop.annotation("domicile.dev/networks"), "10.60.0.0/16");

    let mut second = data_center("singapore-2", "SG", "ap-southeast-1", 61);
    second.0["spec"]["nodes"]["selector"] = json!({"matchLabels": {"example.com/facility": "two"}});
    second.0["spec"]["zones"] = json!(["ap-southeast-1-y"]);
    let second = stage.makes(second);
    let node = Manifest::from(
        "{apiVersion: v1, kind: Node, metadata: {name: singapore-b, labels: {example.com/facility: two, topology.kubernetes.io/region: ap-southeast-1}}, spec: {unschedulable: true, providerID: ap-southeast-1.i-b}}",
    );
    // One node is claimed by one data center: the first one's selector excludes it.
    let _first = stage.admin.patch(&DATA_CENTER, "", "singapore-1", &json!({"spec": {"nodes": {"selector": {"matchExpressions": [{"key": "example.com/facility", "operator": "DoesNotExist"}]}}}})).expected();
    let _second_node = stage.makes(node);
    stage.readdress_node("singapore-b", "10.61.0.1");

    eventually("networks, zones and nodes of the new data center are used", SOON, || {
        let networks = shop.annotation("domicile.dev/networks");
        let class = stage.admin.get(&STORAGE_CLASS, "", "island-ssd")["allowedTopologies"].to_string();
        let labels = stage.admin.get(&NODE, "", "singapore-b")["metadata"]["labels"].clone();
        let networks_are = networks == "10.60.0.0/15" || networks == "10.60.0.0/16,10.61.0.0/16";
        let so = networks_are && class.contains("ap-southeast-1-y") && labels[format!("{PIN}island")] == "true";
        when(so, || format!("{networks} {class} {labels}"))
    });
    eventually("the status names both data centers", SOON, || {
        let status = stage.admin.get(&DATA_RESIDENCY, "", "island")["status"].clone();
        when(status["dataCenters"] == json!(["singapore-1", "singapore-2"]), || status.to_string())
    });
    let opening = |name: &str, rule: &str| {
        Manifest::from(format!(
            "{{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {{name: {name}}}, spec: {{podSelector: {{}}, policyTypes: [Egress], egress: [{rule}]}}}}"
        ))
    };
    let new = opening("new", "{to: [{ipBlock: {cidr: 10.61.7.0/24}}]}");
    eventually("it may be opened, once the API server has seen the networks", SOON, || {
        let reply = shop.would_ask(&new);
        when(reply.ok(), || reply.message)
    });
    shop.accepts(new);
    if stage.mutates() {
        shop.accepts(opening("narrowed", "{}"));
    }

    // A zone is added, and the class follows in place.
    let uid = stage.admin.get(&STORAGE_CLASS, "", "island-ssd")["metadata"]["uid"].clone();
    second.becomes("spec: {zones: [ap-southeast-1-y, ap-southeast-1-z]}");
    eventually("the class knows the new zone", SOON, || {
        let class = stage.admin.get(&STORAGE_CLASS, "", "island-ssd");
        assert_eq!(class["metadata"]["uid"], uid, "the class was made again");
        when(class["allowedTopologies"].to_string().contains("ap-southeast-1-z"), || class.to_string())
    });

    // And one that goes is used no more.
    second.deleted();
    eventually("the data center that is gone is not used", SOON, || {
        let networks = shop.annotation("domicile.dev/networks");
        when(networks == "10.60.0.0/16", || networks)
    });
    // What tenants had opened to it is told, and is refused from now on.
    let opened: &[&str] = if stage.mutates() { &["new", "narrowed"] } else { &["new"] };
    for name in opened {
        shop.tells(&[&format!("NetworkPolicy {name}:"), "[domicile/network-foreign]"]);
    }
    stage.becomes("island", "Compliant", "False");
    // While they stand the namespace may be closed as well, and of two refusals the API server tells one.
    let late = shop.asks(opening("late", "{to: [{ipBlock: {cidr: 10.61.7.0/24}}]}"));
    let refused = ["[domicile/network-foreign]", "[domicile/refused]"].iter().any(|rule| late.message.contains(rule));
    assert!(!late.ok() && refused, "{} {}", late.code, late.message);
}

#[test]
fn an_edit_of_a_residency_holds_at_once() {
    let stage = shared();
    let residency = stage.makes_residency("edited", "{jurisdictions: [CN], network: {exposure: Allow}, storage: {classes: [{name: edited-ssd, provisioner: diskplugin.csi.alibabacloud.com}]}}");
    let shop = stage.governed("edited");
    let balanced = Manifest::from(
        "{apiVersion: v1, kind: Service, metadata: {name: web}, spec: {type: LoadBalancer, externalTrafficPolicy: Local, ports: [{port: 80}]}}",
    )
    .in_namespace(&shop.name);
    shop.would_ask(&balanced).expected();
    residency.becomes("spec: {network: {exposure: Deny}}");
    eventually("load balancers are refused", SOON, || {
        let reply = stage.tenant.try_create(&balanced);
        when(reply.message.contains("[domicile/service-type]"), || format!("{} {}", reply.code, reply.message))
    });
    // Parameters of a class cannot be changed in place: it is made again.
    residency.becomes("spec: {storage: {classes: [{name: edited-ssd, provisioner: diskplugin.csi.alibabacloud.com, parameters: {type: cloud_ssd}}]}}");
    eventually("the class has the new parameters", SOON, || {
        let class = stage.admin.find(&STORAGE_CLASS, "", "edited-ssd").unwrap_or_default();
        when(class["parameters"]["type"] == "cloud_ssd", || class.to_string())
    });
    residency.becomes("spec: {storage: null}");
    stage.admin.sees_the_end_of(&STORAGE_CLASS, "", "edited-ssd");
    eventually("the namespace permits it no more", SOON, || {
        let classes = shop.annotation("domicile.dev/storage-classes");
        when(classes == "-", || classes)
    });
}

#[test]
fn an_invalid_edit_changes_nothing() {
    let stage = shared();
    let residency = stage.makes_residency("kept", "{jurisdictions: [CN]}");
    let shop = stage.governed("kept");
    let (before, spec) = (shop.object()["metadata"]["annotations"].clone(), residency.now()["spec"].clone());
    for (edit, words) in [
        (json!({"spec": {"jurisdictions": []}}), "spec.jurisdictions"),
        (json!({"spec": {"jurisdictions": ["CN", "XX"]}}), "ISO 3166-1"),
        (json!({"spec": {"network": {"egress": {"allow": [{"name": "all", "cidrs": ["0.0.0.0/0"]}]}}}}), "everywhere"),
        (json!({"spec": {"enforcement": "Off"}}), "spec.enforcement"),
    ] {
        stage.admin.patch(&DATA_RESIDENCY, "", "kept", &edit).refused(words);
    }
    assert_eq!(residency.now()["spec"], spec);
    assert_eq!(shop.object()["metadata"]["annotations"], before);
    shop.accepts(shop.pod("web"));
    shop.rejects(bare_claim("data").with("spec: {storageClassName: gp3}"), "[domicile/storage-class]");
}

#[test]
fn a_class_stays_with_the_residency_that_has_it() {
    let stage = shared();
    let class = |provisioner: &str| {
        format!("storage: {{classes: [{{name: wanted-by-two, provisioner: {provisioner}, default: true}}]}}")
    };
    let _holder = stage
        .makes_residency("holder", &format!("{{jurisdictions: [CN], {}}}", class("diskplugin.csi.alibabacloud.com")));
    let shop = stage.governed("holder");
    let before = stage.admin.get(&STORAGE_CLASS, "", "wanted-by-two")["metadata"]["uid"].clone();
    // By name this one comes first.
    let newcomer =
        stage.makes(residency("a-newcomer", &format!("{{jurisdictions: [CN], {}}}", class("ebs.csi.aws.com"))));
    eventually("the newcomer is told", SOON, || {
        let status = newcomer.now()["status"].clone();
        let findings = status["findings"].to_string();
        when(findings.contains("wanted-by-two") && findings.contains("domicile/storage-class-name"), || {
            status.to_string()
        })
    });
    let stands = || {
        let class = stage.admin.find(&STORAGE_CLASS, "", "wanted-by-two").unwrap_or_default();
        (class["metadata"]["uid"] != before).then(|| class.to_string())
    };
    never("the class of another residency is taken over", Duration::from_secs(1), stands);
    newcomer.deleted();
    never("the class goes with the newcomer", Duration::from_secs(1), stands);
    assert_eq!(shop.accepts(shop.claim("data"))["spec"]["storageClassName"], "wanted-by-two");
}

#[test]
fn what_others_break_is_undone() {
    let stage = shared();
    let _residency = stage.makes_residency("drifting", "{jurisdictions: [CN], storage: {classes: [{name: drifting-ssd, provisioner: diskplugin.csi.alibabacloud.com}]}}");
    let shop = stage.governed("drifting");
    let intruder = intruder(&stage);

    shop.tells(&["Confined Namespace"]); // so the operator has seen what stands
    let isolate = shop.get(&NETWORK_POLICY, "domicile-isolate")["spec"].clone();
    intruder.delete(&NETWORK_POLICY, &shop.name, "domicile-isolate").expected();
    eventually("the isolating policy is back", SOON, || {
        when(shop.find(&NETWORK_POLICY, "domicile-isolate").is_some_and(|policy| policy["spec"] == isolate), || {
            "it is not".into()
        })
    });

    let permit = shop.get(&NETWORK_POLICY, "domicile-permit")["spec"].clone();
    shop.tells(&["domicile-isolate"]);

    intruder.patch(&NETWORK_POLICY, &shop.name, "domicile-permit", &json!({"spec": {"egress": [{}]}})).expected();
    eventually("the permitting policy is as it was", SOON, || {
        let now = shop.get(&NETWORK_POLICY, "domicile-permit")["spec"].clone();
        when(now == permit, || now.to_string())
    });

    intruder.patch(&NAMESPACE, "", &shop.name, &json!({"metadata": {"annotations": {"domicile.dev/networks": "0.0.0.0/0"}, "labels": {"domicile.dev/enforcement": "Audit"}}})).expected();
    eventually("the confinement is as it was", SOON, || {
        let metadata = shop.object()["metadata"].clone();
        when(
            !metadata["annotations"]["domicile.dev/networks"].to_string().contains("0.0.0.0/0")
                && metadata["labels"]["domicile.dev/enforcement"] == "Enforce",
            || metadata.to_string(),
        )
    });

    shop.accepts(shop.claim("data").with("spec: {storageClassName: drifting-ssd}"));
    intruder.delete(&STORAGE_CLASS, "", "drifting-ssd").expected();
    eventually("the class is back, and that is told", SOON, || {
        let told = stage
            .admin
            .list(&EVENT, "default")
            .iter()
            .any(|event| event["reason"] == "ClassRestored" && event["involvedObject"]["name"] == "drifting-ssd");
        let back = stage.admin.find(&STORAGE_CLASS, "", "drifting-ssd").is_some();
        when(back && told, || format!("back: {back}, told: {told}"))
    });
    let words = shop.events().join("\n");
    assert!(!words.contains("ResidencyBroken PersistentVolumeClaim"), "the claim is blamed meanwhile: {words}");

    intruder
        .patch(&NODE, "", "frankfurt-b", &json!({"metadata": {"labels": {format!("{PIN}drifting"): "true"}}}))
        .expected();
    eventually("the node lost the label that it did not earn", SOON, || {
        let labels = stage.admin.get(&NODE, "", "frankfurt-b")["metadata"]["labels"].clone();
        when(labels.get(format!("{PIN}drifting")).is_none(), || labels.to_string())
    });
}

#[test]
fn a_new_namespace_is_confined_at_once() {
    let stage = shared();
    let shop = stage.governed("mainland");
    for name in ["domicile-isolate", "domicile-permit"] {
        assert!(shop.find(&NETWORK_POLICY, name).is_some(), "{name} is not there in a namespace that is confined");
    }
    let (labels, notes) = (shop.labels(), shop.object()["metadata"]["annotations"].clone());
    assert_eq!(labels["domicile.dev/enforcement"], "Enforce");
    assert_eq!(labels["domicile.dev/confined-for"], "mainland");
    assert_eq!(labels["pod-security.kubernetes.io/enforce-version"], "latest");
    assert_eq!(notes["domicile.dev/storage-classes"], "mainland-hdd,mainland-ssd");
    assert_eq!(notes["domicile.dev/default-storage-class"], "mainland-ssd");
    assert_eq!(notes["domicile.dev/exposure"], "Deny");
    assert_eq!(notes["domicile.dev/held-pods"], "-");
    assert!(
        notes.as_object().unwrap().values().all(|value| value != ""),
        "an empty value opens what it should close: {notes}"
    );
}

#[test]
fn pods_run_and_store_in_a_third_data_center_at_once() {
    let stage = alone();
    let shop = stage.governed("mainland");
    shop.accepts(shop.daemon_set("agent"));
    let center = stage.makes_data_center("shenzhen-3", "CN", "cn-shenzhen", 22);
    let nodes = stage.cluster.adds_nodes("- {name: shenzhen-a, region: cn-shenzhen, zone: cn-shenzhen-x, providerID: cn-shenzhen.i-wz9001, addresses: [10.22.0.11]}\n");
    // A DaemonSet that is there already comes to the new node.
    eventually("the agent runs in Shenzhen", SOON, || {
        let nodes: Vec<String> =
            shop.list(&POD).iter().map(|pod| pod["spec"]["nodeName"].as_str().unwrap_or_default().to_owned()).collect();
        assert!(nodes.iter().all(|node| node.is_empty() || on_the_mainland(node)), "{nodes:?}");
        when(nodes.iter().any(|node| node == "shenzhen-a"), || format!("{nodes:?}"))
    });
    shop.accepts(shop.claim("data"));
    shop.accepts(
        shop.pod("db")
            .with(&mounting("data"))
            .with("spec: {nodeSelector: {topology.kubernetes.io/zone: cn-shenzhen-x}}"),
    );
    assert_eq!(shop.runs("db"), "shenzhen-a");
    passes(&stage, &format!("{}/db", shop.name), "10.22.7.7", 443);
    drop(nodes);
    stage.admin.sees_the_end_of(&NODE, "", "shenzhen-a");
    stage.forgets(center, "10.22.0.0/16");
}

#[test]
fn an_edited_policy_is_restored_and_told() {
    let stage = shared();
    let shop = stage.governed("mainland");
    shop.tells(&["Confined Namespace"]); // so the operator has seen what stands
    let isolate = shop.get(&NETWORK_POLICY, "domicile-isolate")["spec"].clone();
    let open = json!({"spec": {"policyTypes": ["Ingress"]}});
    intruder(&stage).patch(&NETWORK_POLICY, &shop.name, "domicile-isolate", &open).expected();
    eventually("the isolating policy is as it was", SOON, || {
        let now = shop.get(&NETWORK_POLICY, "domicile-isolate")["spec"].clone();
        when(now == isolate, || now.to_string())
    });
    shop.tells(&["domicile-isolate"]);
}
