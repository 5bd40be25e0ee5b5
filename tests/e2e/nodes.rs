//! The trusted labels of nodes: whoever could write them could put pods anywhere.

use crate::{
    location::{DATA_CENTER_LABEL, is_verified, trusted as trusted_labels},
    support::prelude::*,
};

const JURISDICTION: &str = "domicile.dev.node-restriction.kubernetes.io/jurisdiction";

fn trusted() -> Value {
    json!({"metadata": {"labels": {format!("{PIN}mainland"): "true", JURISDICTION: "CN"}}})
}

#[test]
fn a_kubelet_cannot_set_them() {
    let stage = shared();
    let kubelet = stage.kubelet("frankfurt-a");
    let path = NODE.path("", "frankfurt-a");
    for path in [path.clone(), format!("{path}/status")] {
        let reply = kubelet.patch_at(&path, Patch::Merge, &trusted());
        assert!(!reply.ok(), "the kubelet labelled its node: {}", reply.object["metadata"]["labels"]);
        assert!(
            reply.message.contains("not allowed to modify labels") || reply.message.contains("[domicile/node-label]"),
            "{}",
            reply.message
        );
    }
    // Nor by registering its node anew.
    let again =
        Manifest::from("{apiVersion: v1, kind: Node, metadata: {name: frankfurt-z}}").with(&trusted().to_string());
    let reply = stage.kubelet("frankfurt-z").create(&again);
    assert!(!reply.ok(), "a kubelet registered a node with trusted labels");
    kubelet.patch_at(&path, Patch::Merge, &json!({"metadata": {"labels": {"example.com/rack": "7"}}})).expected();
    // Nor where there are so many that nobody looks through them.
    let many: serde_json::Map<String, Value> =
        (0..1001).map(|number| (format!("example.com/label-{number}"), json!("a"))).collect();
    let change = json!({"metadata": {"labels": many}});
    stage.admin.patch_at(&format!("{path}?dryRun=All"), Patch::Merge, &change).refused("[domicile/node-label-count]");
}

/// P8: a node that somebody deletes comes back by its kubelet, which says what it likes of it (CVE-2025-5187).
#[test]
fn p8_a_node_that_comes_back_has_the_labels_that_are_proven_and_no_others() {
    let stage = shared();
    let _center = stage.makes_data_center("riyadh", "SA", "me-central-1", 64);
    let node = Manifest::from(
        "{apiVersion: v1, kind: Node, metadata: {name: riyadh-a, labels: {topology.kubernetes.io/region: me-central-1}}, \
         spec: {unschedulable: true, providerID: me-central-1.i-1}, status: {addresses: [{type: InternalIP, address: 10.64.0.1}]}}",
    );
    let kubelet = stage.kubelet("riyadh-a");
    let first = stage.lets_make(&kubelet, &node);
    is_verified(&stage, "riyadh-a", "riyadh");
    first.deleted();
    stage.admin.sees_the_end_of(&NODE, "", "riyadh-a");
    let forged = node.clone().with(&trusted().to_string());
    kubelet.create(&forged).refused("not allowed to set the following labels|[domicile/node-label]");
    let _again = stage.lets_make(&kubelet, &node);
    is_verified(&stage, "riyadh-a", "riyadh");
    let proven = [format!("{DATA_CENTER_LABEL}=riyadh"), format!("{JURISDICTION}=SA")];
    assert_eq!(trusted_labels(&stage, "riyadh-a"), proven);
}

/// Addresses of pods are no addresses of a data center: a kubelet whose pods have all addresses would leave none.
#[test]
fn p17g_a_kubelet_gives_its_pods_no_networks() {
    let stage = shared();
    let _node = stage.makes_node("frankfurt-x", "nowhere-1", "203.0.113.77");
    let all = json!({"spec": {"podCIDR": "0.0.0.0/0", "podCIDRs": ["0.0.0.0/0"]}});
    let kubelet = stage.kubelet("frankfurt-x");
    let said = kubelet.patch(&NODE, "", "frankfurt-x", &all).refused("[domicile/node-pod-networks]");
    assert!(said.contains("--allocate-node-cidrs"), "{said}");
    let new = Manifest::from("{apiVersion: v1, kind: Node, metadata: {name: frankfurt-y}}");
    let late = stage.kubelet("frankfurt-y");
    late.try_create(&new.clone().with(&all.to_string())).refused("[domicile/node-pod-networks]");
    late.try_create(&new).expected();
    // A controller gives nodes their networks, and a kubelet that then changes something else leaves them.
    let own = json!({"spec": {"podCIDR": "10.244.77.0/24", "podCIDRs": ["10.244.77.0/24"]}});
    stage.admin.patch(&NODE, "", "frankfurt-x", &own).expected();
    kubelet.patch(&NODE, "", "frankfurt-x", &json!({"metadata": {"labels": {"example.com/rack": "7"}}})).expected();
}

#[test]
fn p9_nor_can_an_administrator() {
    let stage = shared();
    let path = NODE.path("", "hongkong-a");
    for path in [path.clone(), format!("{path}/status")] {
        let reply = stage.admin.patch_at(&path, Patch::Merge, &trusted());
        if reply.ok() {
            assert!(reply.object["metadata"]["labels"][JURISDICTION].is_null(), "{path} labelled the node");
            continue;
        }
        let said = reply.refused("[domicile/node-label]");
        assert!(said.contains(JURISDICTION), "{said}");
    }
    let taken = json!({"metadata": {"labels": {JURISDICTION: null}}});
    stage.admin.patch(&NODE, "", "shanghai-a", &taken).refused("[domicile/node-label]");
    let moved = json!({"metadata": {"labels": {JURISDICTION: "DE"}}});
    stage.admin.patch(&NODE, "", "shanghai-a", &moved).refused("[domicile/node-label]");
    let made = Manifest::from("{apiVersion: v1, kind: Node, metadata: {name: made-up}}").with(&trusted().to_string());
    stage.admin.create(&made).refused("[domicile/node-label]");
}

#[test]
fn other_labels_are_free() {
    let stage = shared();
    stage.admin.patch(&NODE, "", "shanghai-a", &json!({"metadata": {"labels": {"example.com/rack": "7"}}})).expected();
    stage.admin.patch(&NODE, "", "shanghai-a", &json!({"metadata": {"labels": {"example.com/rack": null}}})).expected();
}

/// What a provisioner sets when a node registers is verified, and taken away if it is not so.
#[test]
fn p10_a_node_provisioner_that_errs_is_corrected() {
    let stage = to_install_anew();
    let provisioner = stage.user("karpenter", &["system:masters"]);
    let foreign = fresh_name();
    let made = Manifest::from("{apiVersion: v1, kind: Node, metadata: {}, spec: {unschedulable: true}}")
        .named(&foreign)
        .with(&trusted().to_string())
        .with("metadata: {labels: {topology.kubernetes.io/region: cn-hongkong}}")
        .with(&format!("spec: {{providerID: cn-hongkong.i-{foreign}}}"));
    provisioner.try_create(&made).refused("[domicile/node-label]");
    let set = |value: &str| {
        let value = format!("nodeProvisioners={value}");
        stage.helm(&["upgrade", "domicile", CHART, "--reuse-values", "--set-json", &value]).unwrap();
    };
    set(r#"["karpenter"]"#);
    eventually("the provisioner may set them", SOON, || {
        let reply = provisioner.create(&made);
        when(reply.ok() || reply.code == 409, || reply.message)
    });
    eventually("they are taken away from a node that is not where they say", SOON, || {
        let labels = stage.admin.get(&NODE, "", &foreign)["metadata"]["labels"].clone();
        when(labels.get(JURISDICTION).is_none() && labels.get(format!("{PIN}mainland")).is_none(), || {
            labels.to_string()
        })
    });
    stage.admin.delete(&NODE, "", &foreign).expected();
    set("[]");
    eventually("nobody may set them any more", SOON, || {
        let reply = provisioner.try_create(&made);
        when(!reply.ok(), || "it passes".into())
    });
}
