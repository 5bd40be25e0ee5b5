//! RoleBindings: who gets rights in the namespace by them.

use domicile::observe::RoleBinding;

use super::{
    Comparison,
    ground::{Ground, Seen},
    words::{Json, either, just, list, object, one_of, words},
};
use crate::support::prelude::*;

const ROLE_BINDINGS: Comparison = Comparison {
    name: "RoleBindings",
    otherwise: &[],
    of_admission: &[],
    finds: |ground, binding| {
        let seen = RoleBinding::from(typed::<k8s_openapi::api::rbac::v1::RoleBinding>(binding));
        ground.finds(&Seen::RoleBinding(seen))
    },
};

fn binding(ground: &Ground) -> Json {
    let own = ground.space.name.as_str();
    let homes = [own, own, "default", "kube-system", "domicile-system"];
    let of_namespaces = |prefix: &str, rest: &str| -> Vec<Value> {
        homes.iter().map(|home| json!(format!("{prefix}{home}{rest}"))).collect()
    };
    let account = object(vec![
        ("kind", 1.0, just(json!("ServiceAccount"))),
        ("name", 1.0, words(&["default", "deployer"])),
        ("namespace", 0.97, one_of(of_namespaces("", ""))),
    ]);
    let named = |kind: &str, names: Vec<Value>| {
        object(vec![
            ("kind", 1.0, just(json!(kind))),
            ("apiGroup", 0.9, just(json!("rbac.authorization.k8s.io"))),
            ("name", 1.0, one_of(names)),
        ])
    };
    let odd = [
        "li-wei",
        "developers",
        "system:anonymous",
        "system:authenticated",
        "system:unauthenticated",
        "system:serviceaccounts",
        "system:serviceaccounts:",
        "system:serviceaccount:",
        "system:serviceaccount",
        "system:nodes",
        "system:node:shanghai-a",
        "system:bootstrap:abcdef",
        "system:node",
        "system:bootstrappers",
        "system:bootstrappers:kubeadm:default-node-token",
        "system:masters",
        "system:kube-scheduler",
    ]
    .map(|name| json!(name));
    let names = |mut all: Vec<Value>| {
        all.extend(odd.clone());
        all
    };
    let users = names(of_namespaces("system:serviceaccount:", ":default"));
    let groups = names(of_namespaces("system:serviceaccounts:", ""));
    let subject = either(vec![account, named("User", users), named("Group", groups)]);
    object(vec![
        ("apiVersion", 1.0, just(json!("rbac.authorization.k8s.io/v1"))),
        ("kind", 1.0, just(json!("RoleBinding"))),
        ("metadata", 1.0, object(vec![("name", 1.0, just(json!("it")))])),
        ("roleRef", 1.0, just(json!({"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "view"}))),
        ("subjects", 0.95, list(subject, 0..=3)),
    ])
}

#[test]
fn role_bindings_are_admitted_exactly_where_the_audit_finds_nothing() {
    let stage = shared();
    let ground = Ground::new(&stage, "twice-bound", "{}");
    ROLE_BINDINGS.run(&ground, 1, &binding(&ground));
}
