//! Malformed resources: the API server's own answer names the field and says what is right.

use crate::support::prelude::*;

/// Sends a resource and wants every one of `words` in the refusal.
#[track_caller]
fn refused(yaml: &str, words: &[&str]) {
    let reply = shared().admin.try_create(&Manifest::from(yaml));
    let said = reply.refused("");
    for word in words {
        assert!(said.contains(word), "the refusal of\n{yaml}\ndoes not say {word:?}: {said}");
    }
}

fn center(spec: &str) -> String {
    format!("{{apiVersion: domicile.dev/v1alpha1, kind: DataCenter, metadata: {{name: somewhere}}, spec: {spec}}}")
}

fn dres(name: &str, spec: &str) -> String {
    format!("{{apiVersion: domicile.dev/v1alpha1, kind: DataResidency, metadata: {{name: {name}}}, spec: {spec}}}")
}

const NODES: &str = "nodes: {selector: {matchLabels: {a: b}}, addresses: [10.0.0.0/8]}";

#[test]
fn a_jurisdiction_is_an_iso_code() {
    for code in ["XX", "cn", "UK", "EU"] {
        refused(
            &dres("wrong", &format!("{{jurisdictions: [{code}]}}")),
            &["spec.jurisdictions[0]", code, "ISO 3166-1", "CN, HK, DE or GB"],
        );
        refused(&center(&format!("{{jurisdiction: {code}, {NODES}}}")), &["spec.jurisdiction", code, "ISO 3166-1"]);
    }
    refused(
        &dres("wrong", "{jurisdictions: [CHN]}"),
        &["spec.jurisdictions[0]", "CHN is not an ISO 3166-1", "CN, HK, DE or GB"],
    );
    // ZZ is what Domicile calls an unknown place; nobody can ask for it.
    refused(&dres("wrong", "{jurisdictions: [ZZ]}"), &["spec.jurisdictions[0]", "ISO 3166-1"]);
}

#[test]
fn a_residency_names_a_jurisdiction() {
    refused(&dres("wrong", "{jurisdictions: []}"), &["spec.jurisdictions", "should have at least 1 items"]);
    refused(&dres("wrong", "{}"), &["spec.jurisdictions", "Required value"]);
}

#[test]
fn norway_is_quoted() {
    // In YAML 1.1, which kubectl reads, NO is the boolean false.
    let said = shared()
        .admin
        .kubectl_with("apply -f -", &center(&format!("{{jurisdiction: NO, {NODES}}}")))
        .refused("spec.jurisdiction");
    assert!(said.contains("must be of type string"), "{said}");
    let said = shared().admin.kubectl("explain datacenter.spec.jurisdiction").expected();
    assert!(said.contains("Quote it"), "{said}");
}

#[test]
fn misspelt_fields_are_not_swallowed() {
    let yaml = center(&format!("{{jurisdiction: CN, jurisdicton: CN, {NODES}}}"));
    shared().admin.kubectl_with("apply -f -", &yaml).refused("unknown field \"spec.jurisdicton\"");
}

#[test]
fn names_fit_into_a_label() {
    for name in ["none", "domicile-canary"] {
        refused(&dres(name, "{jurisdictions: [CN]}"), &["metadata.name", "reserved"]);
    }
    refused(&dres("main.land", "{jurisdictions: [CN]}"), &["metadata.name", "no dot"]);
    refused(&dres(&"a".repeat(31), "{jurisdictions: [CN]}"), &["metadata.name", "at most 30"]);
    refused(&center(&format!("{{jurisdiction: CN, {NODES}}}")).replace("somewhere", "some.where"), &["metadata.name"]);
}

#[test]
fn networks_do_not_overlap() {
    for field in ["networks", "podNetworks"] {
        let with = |list: &str| center(&format!("{{jurisdiction: CN, {NODES}, {field}: {list}}}"));
        refused(&with("[10.20.0.0/16, 10.20.5.0/24]"), &[&format!("spec.{field}"), "keep the larger one"]);
        refused(&with("[10.20.0.0/16, 10.20.0.0/16]"), &[&format!("spec.{field}")]);
        refused(&with("[10.20.0.1/16]"), &[&format!("spec.{field}[0]"), "host bits", "10.20.0.0/16"]);
        refused(&with("[0.0.0.0/0]"), &[&format!("spec.{field}[0]"), "0.0.0.0/0 is everywhere"]);
        refused(&with("[shanghai]"), &[&format!("spec.{field}[0]"), "CIDR notation", "10.20.0.0/16"]);
    }
}

#[test]
fn lists_have_bounds() {
    let zones: Vec<String> = (0..10_000).map(|number| format!("zone-{number}")).collect();
    refused(
        &center(&format!("{{jurisdiction: CN, {NODES}, zones: [{}]}}", zones.join(", "))),
        &["spec.zones", "must have at most 64 items"],
    );
    let networks: Vec<String> = (0..200).map(|number| format!("10.{number}.0.0/16")).collect();
    refused(
        &center(&format!("{{jurisdiction: CN, {NODES}, networks: [{}]}}", networks.join(", "))),
        &["spec.networks", "must have at most 64 items"],
    );
}

#[test]
fn a_selector_proves_nothing_alone() {
    refused(
        &center("{jurisdiction: CN, nodes: {selector: {matchLabels: {a: b}}}}"),
        &["spec.nodes", "addresses or nodes.provider must be given"],
    );
    refused(
        &center("{jurisdiction: CN, nodes: {selector: {}, addresses: [10.0.0.0/8]}}"),
        &["spec.nodes.selector", "empty selector claims every node"],
    );
    refused(
        &center("{jurisdiction: CN, nodes: {selector: {matchLabels: {a: b}}, provider: alibba}}"),
        &["spec.nodes.provider", "\"alibaba\""],
    );
}

#[test]
fn hong_kong_is_not_the_mainland() {
    let in_region = |jurisdiction: &str, provider: &str, region: &str| {
        center(&format!(
            "{{jurisdiction: {jurisdiction}, nodes: {{selector: {{matchLabels: {{topology.kubernetes.io/region: {region}}}}}, provider: {provider}}}}}"
        ))
    };
    refused(&in_region("CN", "alibaba", "cn-hongkong"), &["spec.jurisdiction", "cn-hongkong is HK, not CN"]);
    refused(&in_region("CN", "huawei", "ap-southeast-1"), &["spec.jurisdiction", "region catalogue"]);
    shared().admin.try_create(&Manifest::from(in_region("HK", "alibaba", "cn-hongkong"))).expected();
    shared().admin.try_create(&Manifest::from(in_region("CN", "tencent", "ap-shanghai"))).expected();
}

#[test]
fn classes_make_sense_together() {
    let class = |name: &str, rest: &str| format!("{{name: {name}, provisioner: ebs.csi.aws.com{rest}}}");
    let with = |classes: &[String]| {
        dres("wrong", &format!("{{jurisdictions: [CN], storage: {{classes: [{}]}}}}", classes.join(", ")))
    };
    refused(
        &with(&[class("one", ", default: true"), class("two", ", default: true")]),
        &["spec.storage.classes", "at most one class is the default"],
    );
    refused(&with(&[class("one", ""), class("one", "")]), &["spec.storage.classes[1]", "Duplicate value"]);
    refused(&with(&[class("One", "")]), &["spec.storage.classes[0].name", "should match"]);
    refused(
        &with(&[class("one", ", reclaimPolicy: Recycle")]),
        &["spec.storage.classes[0].reclaimPolicy", "\"Retain\", \"Delete\""],
    );
}

#[test]
fn an_allowance_names_what_it_allows() {
    let egress =
        |allow: &str| dres("wrong", &format!("{{jurisdictions: [CN], network: {{egress: {{allow: [{allow}]}}}}}}"));
    let field = "spec.network.egress.allow[0]";
    refused(&egress("{name: all, cidrs: [0.0.0.0/0]}"), &[field, "everywhere"]);
    refused(&egress("{name: all, cidrs: ['::/0']}"), &[field, "everywhere"]);
    refused(&egress("{name: nothing}"), &[field, "give either cidrs, or namespaceSelector and podSelector"]);
    refused(
        &egress("{name: both, cidrs: [203.0.113.0/24], podSelector: {matchLabels: {a: b}}}"),
        &[field, "give either"],
    );
    refused(&egress("{name: any, namespaceSelector: {}}"), &[field, "every namespace"]);
    refused(
        &egress("{name: ports, cidrs: [203.0.113.0/24], ports: [{port: 90, endPort: 80}]}"),
        &[field, "endPort is smaller than port"],
    );
    refused(
        &egress("{name: ports, cidrs: [203.0.113.0/24], ports: [{port: 99999}]}"),
        &[field, "less than or equal to 65535"],
    );
}

#[test]
fn words_are_words_of_the_list() {
    refused(
        &dres("wrong", "{jurisdictions: [CN], enforcement: Strict}"),
        &["spec.enforcement", "\"Enforce\", \"Warn\", \"Audit\""],
    );
    refused(
        &dres("wrong", "{jurisdictions: [CN], network: {exposure: No}}"),
        &["spec.network.exposure", "\"Deny\", \"Allow\""],
    );
    refused(
        &dres("wrong", "{jurisdictions: [CN], placement: {eviction: Yes}}"),
        &["spec.placement.eviction", "\"Disabled\", \"Enabled\""],
    );
}
