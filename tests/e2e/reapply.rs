//! What was applied is applied again, as GitOps tools do: nothing changes, and `diff` shows nothing.

use crate::support::prelude::*;

/// What a tenant keeps in a repository.
fn repository(shop: &Namespace, mutates: bool) -> Vec<Manifest> {
    let mut list = vec![
        shop.claim("data"),
        shop.pod("single").with(&mounting("data")),
        shop.pod("with-affinity").with("spec: {affinity: {nodeAffinity: {requiredDuringSchedulingIgnoredDuringExecution: {nodeSelectorTerms: [{matchExpressions: [{key: kubernetes.io/os, operator: Exists}]}]}}}}"),
        shop.deployment("web", 1),
        shop.stateful_set("db", 1),
        shop.daemon_set("agent"),
    ];
    if mutates {
        // Where nothing narrows it, a wide policy is refused.
        list.push(Manifest::from("{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {name: wide}, spec: {podSelector: {}, policyTypes: [Egress], egress: [{}, {to: [{namespaceSelector: {}}]}]}}"));
    }
    list
}

/// Applies all of it, lets the cluster settle, applies again and compares.
#[track_caller]
fn changes_nothing(apply: &str, diff: &str) {
    // Where other namespaces join and leave, the list of peers in a narrowed policy follows them.
    let stage = alone();
    stage.is_left_alone();
    let shop = stage.governed("mainland");
    let list = repository(&shop, stage.mutates());
    let yaml: String = list.iter().map(Manifest::text).collect();
    let run = |words: &str| stage.tenant.kubectl_with(&format!("{words} -n {} -f -", shop.name), &yaml);
    let first = eventually("nothing asks for another try", SOON, || {
        let said = run(apply);
        let again = asks_for_another_try(&said.errors) || said.errors.contains("Or try again");
        when(said.ok() || !again, || said.errors.clone())?;
        Ok(said)
    });
    first.expected();
    for pod in ["single", "with-affinity"] {
        shop.runs(pod);
    }
    let versions = || {
        list.iter()
            .map(|manifest| {
                let object = shop.get(manifest.kind(), manifest.name());
                // Of these nobody reports a status, so that not even their version may move.
                let version = if manifest.kind() == &NETWORK_POLICY {
                    object["metadata"]["resourceVersion"].clone()
                } else {
                    Value::Null
                };
                (manifest.name().to_owned(), object["metadata"]["generation"].clone(), version, object["spec"].clone())
            })
            .collect::<Vec<_>>()
    };
    let before = eventually("the objects are at rest", SOON, || {
        let ready = shop.get(&DEPLOYMENT, "web")["status"]["readyReplicas"] == 1
            && shop.get(&STATEFUL_SET, "db")["status"]["readyReplicas"] == 1;
        when(ready, || "not all is ready".into())?;
        Ok(versions())
    });
    let said = run(diff);
    assert_eq!(said.code, 0, "diff shows changes:\n{}{}", said.out, said.errors);
    let again = run(apply).expected();
    assert_eq!(versions(), before, "{again}");
}

#[test]
fn client_side_apply_changes_nothing_the_second_time() {
    changes_nothing("apply", "diff");
}

#[test]
fn server_side_apply_changes_nothing_the_second_time() {
    changes_nothing("apply --server-side", "diff --server-side");
}

#[test]
fn a_rollout_keeps_the_pins() {
    let stage = shared();
    let shop = stage.governed("mainland");
    shop.accepts(shop.daemon_set("agent"));
    stage.tenant.kubectl(&format!("rollout restart daemonset/agent -n {}", shop.name)).expected();
    stage.tenant.kubectl(&format!("rollout status daemonset/agent -n {} --timeout=180s", shop.name)).expected();
    stage.tenant.kubectl(&format!("rollout undo daemonset/agent -n {}", shop.name)).expected();
    let template = shop.get(&DAEMON_SET, "agent")["spec"]["template"]["spec"]["nodeSelector"].clone();
    assert_eq!(template, json!(shop.pins()));
}
