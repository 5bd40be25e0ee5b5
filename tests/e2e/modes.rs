//! Modes: `Warn` warns of exactly what `Enforce` would refuse and changes nothing; `Audit` is silent.

use crate::{
    corpus::{Says, corpus, for_residency},
    support::prelude::*,
    threshold::closed,
};

fn in_mode(stage: &Turn, name: &str, mode: &str) -> (Made, Namespace) {
    let spec = format!(
        "{{jurisdictions: [CN], enforcement: {mode}, storage: {{classes: [{{name: {name}-ssd, provisioner: diskplugin.csi.alibabacloud.com, default: true}}]}}}}"
    );
    let residency = stage.makes_residency(name, &spec);
    let namespace = stage.governed(name);
    (residency, namespace)
}

/// What Domicile and Pod Security say in warnings; other warnings are the API server's own.
pub fn warned(reply: &Reply) -> Vec<&String> {
    reply.warnings.iter().filter(|text| text.contains("[domicile/") || text.contains("PodSecurity")).collect()
}

#[test]
fn warn_warns_of_exactly_what_enforce_refuses() {
    let stage = shared();
    let (_strict, enforce) = in_mode(&stage, "strict", "Enforce");
    let (_lenient, warn) = in_mode(&stage, "lenient", "Warn");
    let (_silent, audit) = in_mode(&stage, "silent", "Audit");
    let mut wrong = Vec::new();
    for (case, manifest, says) in corpus() {
        let case = format!("{case} ({} {})", manifest.kind().name, manifest.name());
        let expected = says == Says::Yes || (says == Says::YesWhereMended && stage.mutates());
        // A webhook that mends answers late now and then.
        let refusal = eventually(&format!("Enforce answers to {case}"), SOON, || {
            let reply = enforce.would_ask(for_residency(&manifest, "strict"));
            when(!(expected && reply.message.contains("Or try again")), || reply.message.clone())?;
            Ok(reply)
        });
        let warning = warn.would_ask(for_residency(&manifest, "lenient"));
        let silence = audit.would_ask(for_residency(&manifest, "silent"));
        if refusal.ok() != expected {
            wrong.push(format!(
                "{case}: Enforce was expected to say {says:?}, but: {} {}",
                refusal.code, refusal.message
            ));
        }
        if !warning.ok() || warned(&warning).is_empty() != refusal.ok() {
            wrong.push(format!(
                "{case}: Enforce says {:?}, Warn says {} {} {:?}",
                refusal.message,
                warning.code,
                warning.message,
                warned(&warning)
            ));
        }
        let first = rule(&refusal.message);
        if let Some(first) = first.filter(|first| !warning.rules().contains(first)) {
            wrong.push(format!("{case}: Enforce refuses by {first}, Warn names {:?}", warning.rules()));
        }
        if !silence.ok() || !warned(&silence).is_empty() {
            wrong.push(format!("{case}: Audit says {} {} {:?}", silence.code, silence.message, warned(&silence)));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn warn_and_audit_change_nothing() {
    let stage = shared();
    for (name, mode) in [("lenient-nothing", "Warn"), ("silent-nothing", "Audit")] {
        let (_residency, namespace) = in_mode(&stage, name, mode);
        let pod = namespace
            .accepts(bare_pod("web").with("spec: {nodeSelector: {topology.kubernetes.io/region: eu-central-1}}"));
        assert_eq!(pod["spec"]["nodeSelector"], json!({"topology.kubernetes.io/region": "eu-central-1"}));
        assert!(namespace.runs("web").starts_with("frankfurt-"), "a pod in {mode} runs where its author wants");
        assert_eq!(namespace.accepts(bare_claim("data"))["spec"]["storageClassName"], "standard");
        let wide = json!({"podSelector": {}, "policyTypes": ["Egress"], "egress": [{}]});
        let policy = namespace.accepts(json!({"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": {"name": "wide"}, "spec": wide}));
        assert_eq!(policy["spec"], wide);
        assert!(namespace.find(&NETWORK_POLICY, "domicile-isolate").is_none(), "{mode} isolates nothing");
        assert!(stage.passes(&format!("{}/web", namespace.name), "198.51.100.7", 443));
        // What breaks the residency is told.
        eventually(&format!("{name} reports the pod in Frankfurt"), SOON, || {
            let status = stage.admin.get(&DATA_RESIDENCY, "", name)["status"].clone();
            when(status["findings"]["items"].to_string().contains("web"), || status.to_string())
        });
    }
}

#[test]
fn the_threshold_holds_in_every_mode() {
    let stage = shared();
    let (_residency, namespace) = in_mode(&stage, "lenient-threshold", "Warn");
    namespace.label("domicile.dev/residency", "lenient-threshold_nobody-made-this");
    eventually("the namespace is closed", SOON, || {
        let reply = stage.tenant.try_create(&bare_pod("web").in_namespace(&namespace.name));
        when(closed(&reply), || format!("{} {}", reply.code, reply.message))
    });
}

#[test]
fn a_warning_says_what_a_refusal_says() {
    let stage = shared();
    let (_residency, namespace) = in_mode(&stage, "lenient-words", "Warn");
    let yaml = namespace.pod("web").with("spec: {nodeName: frankfurt-a}").text();
    let said = namespace.tenant.kubectl_with(&format!("create -n {} -f -", namespace.name), &yaml);
    assert!(said.ok(), "{said:?}");
    assert!(
        said.errors.contains("Warning") && said.errors.contains("[domicile/node-name] DataResidency lenient-words: "),
        "{}",
        said.errors
    );
}

/// Its manifests can be applied again as they are: whoever asked not to be warned by Pod Security is not.
#[test]
fn pod_security_labels_are_the_tenants_where_nothing_is_refused() {
    let stage = shared();
    for (name, mode, way) in [("lenient-security", "Warn", "warn"), ("silent-security", "Audit", "audit")] {
        let (residency, namespace) = in_mode(&stage, name, mode);
        let key = format!("pod-security.kubernetes.io/{way}");
        assert_eq!(namespace.labels().get(&key).map(String::as_str), Some("baseline"), "{:?}", namespace.labels());
        namespace.label(&key, "privileged");
        residency.becomes("spec: {network: {exposure: Allow}}");
        eventually("the confinement is written again", SOON, || {
            let exposure = namespace.annotation("domicile.dev/exposure");
            when(exposure == "Allow", || exposure)
        });
        assert_eq!(namespace.labels().get(&key).map(String::as_str), Some("privileged"), "{mode} leaves it");
    }
}
