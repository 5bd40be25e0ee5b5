//! The operator's rights: what a stolen token could do.

use crate::support::prelude::*;

#[test]
fn the_operator_cannot_raise_its_rights() {
    let stage = shared();
    let can = |verb: &str, resource: &str| {
        stage.admin.kubectl(&format!("auth can-i {verb} {resource} --all-namespaces --as={OPERATOR}")).out.trim()
            == "yes"
    };
    for resource in [
        "validatingadmissionpolicies.admissionregistration.k8s.io",
        "mutatingadmissionpolicies.admissionregistration.k8s.io",
        "validatingadmissionpolicybindings.admissionregistration.k8s.io",
        "mutatingwebhookconfigurations.admissionregistration.k8s.io",
        "customresourcedefinitions.apiextensions.k8s.io",
        "clusterrolebindings.rbac.authorization.k8s.io",
        "serviceaccounts/token",
    ] {
        for verb in ["create", "patch", "delete"] {
            assert!(!can(verb, resource), "the operator may {verb} {resource}");
        }
    }
    assert!(!can("get", "secrets"), "the operator may read Secrets");
    assert!(!can("create", "pods") && !can("create", "pods/binding") && !can("impersonate", "users"));
    assert!(can("patch", "namespaces"), "and yet it may do its work");
}

#[test]
fn nobody_is_given_the_verb_release() {
    let stage = shared();
    let view = stage.admin.kubectl("get clusterroles -o json").expected();
    let roles: Value = serde_json::from_str(&view).unwrap();
    let releasing: Vec<&str> = roles["items"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|role| role["rules"].to_string().contains("\"release\""))
        .filter_map(|role| role["metadata"]["name"].as_str())
        .collect();
    assert!(releasing.is_empty(), "{releasing:?}");
}
