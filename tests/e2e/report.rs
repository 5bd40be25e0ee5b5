//! `domicile report`: where everything that is governed is, for whoever must show it.

use std::process::{Command, Output};

use crate::support::prelude::*;

/// Runs `domicile report` as the administrator.
pub fn report(stage: &Turn, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_domicile"));
    command.arg("report").args(arguments).env("KUBECONFIG", &stage.cluster.kubeconfig);
    command.output().expect("domicile runs")
}

#[test]
fn every_governed_object_is_reported_with_its_place() {
    let stage = shared();
    let class = "{name: reported-ssd, provisioner: diskplugin.csi.alibabacloud.com, default: true}";
    let spec = format!("{{jurisdictions: [CN], storage: {{classes: [{class}]}}}}");
    let _residency = stage.makes_residency("reported", &spec);
    let mut shop = stage.ungoverned();
    shop.accepts(bare_pod("away").with("spec: {nodeName: frankfurt-a}"));
    shop.runs("away");
    shop.joins("reported");
    shop.accepts(shop.pod("web"));
    let node = shop.runs("web");
    shop.accepts(bare_claim("data").with("spec: {storageClassName: reported-ssd}"));
    shop.accepts(shop.pod("db").with(&mounting("data")));
    shop.runs("db");
    shop.accepts("{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {name: own}, spec: {podSelector: {}, policyTypes: [Ingress], ingress: [{from: [{podSelector: {}}]}]}}");
    eventually("the operator counts one finding", SOON, || {
        let status = stage.admin.get(&DATA_RESIDENCY, "", "reported")["status"].clone();
        when(status["findings"]["total"] == 1 && status["governed"]["pods"] == 3, || status.to_string())
    });
    let json = report(&stage, &["--output", "json"]);
    assert!(json.status.success(), "{json:?}");
    let seen: Value = serde_json::from_slice(&json.stdout).expect("JSON");
    let spaces = seen["namespaces"].as_array().unwrap();
    let governed =
        spaces.iter().find(|space| space["namespace"] == shop.name.as_str()).expect("the namespace is there");
    assert_eq!((&governed["residencies"], &governed["confined"]), (&json!("reported"), &json!(true)));
    let of = |name: &str| {
        let all = governed["objects"].as_array().unwrap().iter();
        let found: Vec<Value> = all.filter(|object| object["subject"]["name"] == name).cloned().collect();
        assert_eq!(found.len(), 1, "{governed}");
        found[0].clone()
    };
    assert_eq!(of("web")["standing"], "Compliant");
    assert!(of("web")["place"].as_str().unwrap().starts_with(&format!("node {node}, data center ")), "{}", of("web"));
    assert_eq!(of("data")["standing"], "Compliant");
    let place = of("data")["place"].as_str().unwrap().to_owned();
    assert!(place.starts_with("volume pvc-") && place.contains(", cn-"), "{place}");
    assert_eq!(
        (of("own")["standing"].as_str(), of("own")["subject"]["kind"].as_str()),
        (Some("Compliant"), Some("NetworkPolicy"))
    );
    assert_eq!(of("away")["standing"], "NonCompliant");
    assert_eq!(of("away")["findings"][0]["rule"], "domicile/placement");
    assert!(spaces.iter().all(|space| space["namespace"] != "domicile-canary"));

    let table = report(&stage, &["--findings", "--check"]);
    let (out, err) = (String::from_utf8_lossy(&table.stdout), String::from_utf8_lossy(&table.stderr));
    assert!(!table.status.success(), "not everything is proven");
    assert!(err.contains("governed objects break a residency"), "{err}");
    let head = format!("Namespace {}: DataResidency reported, Enforce, confined", shop.name);
    let section = out.split("\n\n").find(|section| section.starts_with(&head));
    let section = section.unwrap_or_else(|| panic!("the namespace is left out: {out}"));
    assert!(["Pod away", "[domicile/placement]", "Remedy: "].iter().all(|words| section.contains(words)), "{section}");
    assert!(!section.contains("Pod web"), "what keeps to its residencies is left out: {section}");
}

/// Nothing of it is judged, so it is not silently left out of what is shown to others.
#[test]
fn a_namespace_that_names_what_does_not_exist_is_reported() {
    let stage = shared();
    let space = stage.ungoverned();
    space.accepts(bare_pod("older").with("spec: {nodeName: frankfurt-a}"));
    space.label("domicile.dev/residency", "nobody-made-this-one");
    let json = report(&stage, &["--output", "json", "--check"]);
    assert!(!json.status.success(), "not everything is proven");
    let seen: Value = serde_json::from_slice(&json.stdout).expect("JSON");
    let of_it = |finding: &&Value| finding["subject"]["name"] == space.name.as_str();
    let finding = seen["findings"].as_array().unwrap().iter().find(of_it).expect("it is told").clone();
    assert_eq!(finding["verdict"], "Unknown");
    let message = finding["message"].as_str().unwrap();
    assert!(message.starts_with("there is no DataResidency nobody-made-this-one"), "{message}");
    space.tells(&["names what does not exist: nobody-made-this-one"]);
    // It was never confined for it, so that is mended without a word.
    let mended = json!({"metadata": {"labels": {"domicile.dev/residency": null}}});
    let reply = space.tenant.patch(&NAMESPACE, "", &space.name, &mended);
    assert!(reply.warnings.is_empty(), "{:?}", reply.warnings);
    reply.expected();
}

#[test]
fn without_a_cluster_the_report_says_what_is_missing() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_domicile"));
    command.arg("report").env("KUBECONFIG", "there-is-no-such-file");
    let said = command.output().expect("domicile runs");
    let err = String::from_utf8_lossy(&said.stderr);
    assert!(!said.status.success() && err.contains("KUBECONFIG"), "{err}");
}

/// For whoever is to be woken: a finding that comes is counted, and one that goes is not.
#[test]
fn the_metric_domicile_findings_counts_what_breaks_a_residency() {
    let stage = alone();
    stage.is_left_alone();
    let counted = || {
        let text = eventually("the operator serves metrics", SOON, || stage.operator.metrics());
        let value = |line: &str| line.strip_prefix("domicile_findings{verdict=\"NonCompliant\"}")?.trim().parse().ok();
        text.lines().find_map(value).unwrap_or(0_u64)
    };
    let mut shop = stage.ungoverned();
    shop.accepts(bare_pod("away").with("spec: {nodeName: frankfurt-a}"));
    shop.runs("away");
    let mut before = counted();
    shop.joins("mainland");
    eventually("one more is counted", SOON, || {
        let now = counted();
        before = before.min(now); // what earlier tests left is counted until the operator has seen that it is gone
        when(now > before, || format!("{now}, and {before} before"))
    });
    shop.delete(&POD, "away").expected();
    eventually("it is counted no more", SOON, || {
        let now = counted();
        when(now <= before, || format!("{now}, and {before} before"))
    });
}
