//! Location: a node is verified while one data center claims it and every signal agrees; what is in doubt is not.

use crate::support::prelude::*;

const JURISDICTION: &str = "domicile.dev.node-restriction.kubernetes.io/jurisdiction";
pub const DATA_CENTER_LABEL: &str = "domicile.dev.node-restriction.kubernetes.io/data-center";

/// The labels of a node by which pods are put on it, sorted.
pub fn trusted(stage: &Turn, node: &str) -> Vec<String> {
    let object = stage.admin.get(&NODE, "", node);
    let labels = object["metadata"]["labels"].as_object().cloned().unwrap_or_default();
    labels
        .iter()
        .filter(|(key, _)| key.contains("domicile.dev.node-restriction"))
        .map(|(key, value)| format!("{key}={}", value.as_str().unwrap()))
        .collect()
}

#[track_caller]
pub fn is_verified(stage: &Turn, node: &str, data_center: &str) {
    eventually(&format!("node {node} is verified for {data_center}"), SOON, || {
        let labels = trusted(stage, node);
        when(labels.iter().any(|label| label == &format!("{DATA_CENTER_LABEL}={data_center}")), || {
            format!("{labels:?}")
        })
    });
}

#[track_caller]
fn is_not_verified(stage: &Turn, node: &str) {
    eventually(&format!("node {node} has no trusted label"), SOON, || {
        let labels = trusted(stage, node);
        when(labels.is_empty(), || format!("{labels:?}"))
    });
}

/// Waits until a data center reports a node with a reason.
#[track_caller]
fn reports(center: &Made, node: &str, reason: &str) {
    eventually(&format!("{} reports {node} as {reason}", center.name()), SOON, || {
        let status = center.now()["status"].clone();
        let conflicts = status["conflicts"].as_array().cloned().unwrap_or_default();
        let found = conflicts.iter().any(|conflict| {
            conflict["node"] == node
                && conflict["reason"].as_str().is_some_and(|own| own.contains(reason))
                && !conflict["message"].as_str().unwrap_or_default().is_empty()
        });
        when(found, || status.to_string())
    });
}

#[test]
fn the_fleet_is_located() {
    let stage = shared();
    for (node, jurisdiction, center) in [
        ("shanghai-a", "CN", "shanghai-1"),
        ("shanghai-b", "CN", "shanghai-1"),
        ("beijing-a", "CN", "beijing-2"),
        ("frankfurt-a", "DE", "frankfurt-1"),
    ] {
        let labels = trusted(&stage, node);
        for wanted in [format!("{JURISDICTION}={jurisdiction}"), format!("{DATA_CENTER_LABEL}={center}")] {
            assert!(labels.contains(&wanted), "{node} has {labels:?}");
        }
        assert_eq!(labels.contains(&format!("{PIN}mainland=true")), jurisdiction == "CN", "{node} has {labels:?}");
    }
    assert!(trusted(&stage, "hongkong-a").is_empty(), "no data center claims Hong Kong");
    let status = stage.admin.get(&DATA_CENTER, "", "shanghai-1")["status"].clone();
    assert_eq!((&status["nodes"]["claimed"], &status["nodes"]["verified"]), (&json!(2), &json!(2)), "{status}");
}

#[test]
fn every_signal_must_agree() {
    let stage = shared();
    let tokyo = stage.makes_data_center("tokyo", "JP", "ap-northeast-1", 51);
    let _good = stage.makes_node("tokyo-good", "ap-northeast-1", "10.51.0.1");
    let _elsewhere = stage.makes_node("tokyo-elsewhere", "ap-northeast-1", "10.40.0.99");
    let unaddressed = stage.makes_node("tokyo-unaddressed", "ap-northeast-1", "10.51.0.2");
    stage
        .admin
        .patch_at(
            &format!("{}/status", NODE.path("", unaddressed.name())),
            Patch::Merge,
            &json!({"status": {"addresses": null}}),
        )
        .expected();
    // The label says Tokyo, the machine is one of Seoul.
    let seoul = Manifest::from(
        "{apiVersion: v1, kind: Node, metadata: {name: tokyo-of-seoul, labels: {topology.kubernetes.io/region: ap-northeast-1}}, spec: {unschedulable: true, providerID: ap-northeast-2.i-1}}",
    );
    let _seoul = stage.makes(seoul);
    stage.readdress_node("tokyo-of-seoul", "10.51.0.3");
    let other = Manifest::from(
        "{apiVersion: v1, kind: Node, metadata: {name: tokyo-of-aws, labels: {topology.kubernetes.io/region: ap-northeast-1}}, spec: {unschedulable: true, providerID: 'aws:///ap-northeast-1a/i-1'}}",
    );
    let _other = stage.makes(other);
    stage.readdress_node("tokyo-of-aws", "10.51.0.4");
    is_verified(&stage, "tokyo-good", "tokyo");
    for (node, reason) in [
        ("tokyo-elsewhere", "AddressOutsideFacility"),
        ("tokyo-unaddressed", "AddressMissing"),
        ("tokyo-of-seoul", ""),
        ("tokyo-of-aws", "ProviderMismatch"),
    ] {
        reports(&tokyo, node, reason);
        is_not_verified(&stage, node);
    }
    let status = tokyo.now()["status"].clone();
    assert_eq!((&status["nodes"]["claimed"], &status["nodes"]["verified"]), (&json!(5), &json!(1)), "{status}");
    assert_eq!(condition(&tokyo.now(), "NodesVerified"), "False");
    let message = status["conflicts"].to_string();
    assert!(message.contains("InternalIP 10.40.0.99 is in none of 10.51.0.0/16"), "{message}");
}

#[test]
fn p10_labels_go_when_a_signal_turns_and_come_back() {
    let stage = shared();
    let center = stage.makes_data_center("seoul", "KR", "ap-northeast-2", 52);
    let node = stage.makes_node("seoul-a", "ap-northeast-2", "10.52.0.1");
    is_verified(&stage, "seoul-a", "seoul");
    stage.readdress_node("seoul-a", "10.40.0.98");
    is_not_verified(&stage, "seoul-a");
    stage.readdress_node("seoul-a", "10.52.0.1");
    is_verified(&stage, "seoul-a", "seoul");
    node.becomes("metadata: {labels: {topology.kubernetes.io/region: eu-central-1}}");
    is_not_verified(&stage, "seoul-a");
    node.becomes("metadata: {labels: {topology.kubernetes.io/region: ap-northeast-2}}");
    is_verified(&stage, "seoul-a", "seoul");
    center.deleted();
    is_not_verified(&stage, "seoul-a");
}

#[test]
fn two_data_centers_that_claim_one_node_verify_it_for_neither() {
    let stage = shared();
    let first = stage.makes_data_center("jakarta-1", "ID", "ap-southeast-5", 53);
    let _node = stage.makes_node("jakarta-a", "ap-southeast-5", "10.53.0.1");
    is_verified(&stage, "jakarta-a", "jakarta-1");
    let mut second = data_center("jakarta-2", "ID", "ap-southeast-5", 53);
    second.0["spec"]["networks"] = json!(["10.54.0.0/16"]);
    let second = stage.makes(second);
    is_not_verified(&stage, "jakarta-a");
    reports(&first, "jakarta-a", "ClaimedTwice");
    reports(&second, "jakarta-a", "ClaimedTwice");
    second.deleted();
    is_verified(&stage, "jakarta-a", "jakarta-1");
}

#[test]
fn one_network_is_not_in_two_jurisdictions() {
    let stage = shared();
    let first = stage.makes_data_center("manila", "PH", "ap-southeast-6", 55);
    let _node = stage.makes_node("manila-a", "ap-southeast-6", "10.55.0.1");
    is_verified(&stage, "manila-a", "manila");
    let second = stage.makes(data_center("bangkok", "TH", "ap-southeast-7", 55));
    for center in [&first, &second] {
        eventually(&format!("{} is in doubt", center.name()), SOON, || {
            let seen = center.now();
            when(condition(&seen, "Accepted") == "False" && seen["status"].to_string().contains("10.55.0.0/16"), || {
                seen["status"].to_string()
            })
        });
    }
    is_not_verified(&stage, "manila-a");
}

/// P7: the label from before Kubernetes 1.17, which some cloud controllers still copy over the stable one.
#[test]
fn p7_an_older_region_label_that_says_otherwise_is_a_conflict() {
    let stage = shared();
    let center = stage.makes_data_center("silicon-valley", "US", "us-west-1", 65);
    let node = stage.makes_node("silicon-valley-a", "us-west-1", "10.65.0.1");
    is_verified(&stage, "silicon-valley-a", "silicon-valley");
    node.becomes("metadata: {labels: {failure-domain.beta.kubernetes.io/region: eu-central-1}}");
    reports(&center, "silicon-valley-a", "RegionElsewhere");
    is_not_verified(&stage, "silicon-valley-a");
    let said = center.now()["status"]["conflicts"].to_string();
    assert!(said.contains("failure-domain.beta.kubernetes.io/region=eu-central-1 of alibaba is in DE"), "{said}");
    node.becomes("metadata: {labels: {failure-domain.beta.kubernetes.io/region: us-east-1}}"); // the same country
    is_verified(&stage, "silicon-valley-a", "silicon-valley");
}
