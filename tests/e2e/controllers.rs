//! Every kind of controller makes pods that run, in the country only; and a DaemonSet hangs nowhere.

use crate::{placement::on_the_mainland, support::prelude::*};

fn node_of(pod: &Value) -> &str {
    pod["spec"]["nodeName"].as_str().unwrap_or_default()
}

fn ended_or_runs(pod: &Value) -> bool {
    matches!(pod["status"]["phase"].as_str(), Some("Running" | "Succeeded"))
}

#[test]
fn every_kind_of_controller_runs_in_the_country() {
    let stage = shared();
    let shop = stage.governed("mainland");
    let kinds = [
        ("cron", shop.cron_job("cron")), // first, its schedule takes up to a minute
        ("deployment", shop.deployment("deployment", 2)),
        ("replicas", shop.replica_set("replicas")),
        ("older", shop.replication_controller("older")),
        ("stateful", shop.stateful_set("stateful", 2)),
        ("daemon", shop.daemon_set("daemon")),
        ("job", shop.job("job")),
        // As a red team tried them (M29): what replaces a pod makes it anew, and it is pinned again.
        ("on-delete", shop.daemon_set("on-delete").with("spec: {updateStrategy: {type: OnDelete}}")),
        ("policed", shop.job("policed").with("spec: {podFailurePolicy: {rules: [{action: Ignore, onPodConditions: [{type: DisruptionTarget, status: 'True'}]}]}, template: {spec: {restartPolicy: Never}}}")),
    ];
    for (_, manifest) in &kinds {
        shop.accepts(manifest);
    }
    for (app, _) in &kinds {
        let of_app =
            || shop.list(&POD).into_iter().filter(|pod| pod["metadata"]["labels"]["app"] == *app).collect::<Vec<_>>();
        let pods = eventually(&format!("pods of {app} run"), LATER, || {
            let pods = of_app();
            when(!pods.is_empty() && pods.iter().all(ended_or_runs), || json!(pods).to_string())?;
            Ok(pods)
        });
        for pod in pods {
            assert!(on_the_mainland(node_of(&pod)), "a pod of {app} runs on {}", node_of(&pod));
        }
    }
}

#[test]
fn p11_a_daemon_set_has_pods_on_the_mainland_only_and_hangs_nowhere() {
    let stage = shared();
    let shop = stage.governed("mainland");
    shop.accepts(shop.daemon_set("agent").with("spec: {template: {spec: {tolerations: [{operator: Exists}]}}}"));
    let verified = || {
        stage
            .admin
            .list(&NODE, "")
            .iter()
            .filter(|node| node["metadata"]["labels"].get(format!("{PIN}mainland")).is_some())
            .count()
    };
    assert_eq!(verified(), 4, "two nodes in Shanghai and two in Beijing");
    eventually("the DaemonSet is on every mainland node and wants no other", SOON, || {
        let status = shop.get(&DAEMON_SET, "agent")["status"].clone();
        let counts =
            ["desiredNumberScheduled", "currentNumberScheduled", "numberReady"].map(|key| status[key].as_u64());
        when(counts == [Some(4); 3], || status.to_string())
    });
    let pods = shop.list(&POD);
    assert_eq!(pods.len(), 4, "no pod waits for a foreign node");
    assert!(pods.iter().all(|pod| on_the_mainland(node_of(pod))));
}

#[test]
fn a_daemon_set_is_pinned_when_its_template_changes_and_not_rolled_out_by_a_touch() {
    let stage = shared();
    let shop = stage.governed("mainland");
    let pins = json!(shop.pins());
    let made = shop.accepts(shop.daemon_set("agent"));
    assert_eq!(made["spec"]["template"]["spec"]["nodeSelector"], pins);
    let generation = made["metadata"]["generation"].clone();
    let touched = shop.patch(&DAEMON_SET, "agent", "metadata: {annotations: {example.com/touched: 'yes'}}").expected();
    assert_eq!(touched["metadata"]["generation"], generation);
    let changed = shop
        .patch(&DAEMON_SET, "agent", "spec: {template: {spec: {containers: [{name: main, image: other}]}}}")
        .expected();
    assert_eq!(changed["spec"]["template"]["spec"]["nodeSelector"], pins);
}

#[test]
fn a_daemon_set_with_a_false_pin_is_refused() {
    let stage = shared();
    let shop = stage.governed("mainland");
    let mut daemon = shop.daemon_set("agent");
    daemon.0["spec"]["template"]["spec"]["nodeSelector"] = json!({format!("{PIN}mainland"): "false"});
    shop.rejects(daemon, "[domicile/false-pin]");
}

#[test]
fn p19_a_template_that_names_a_node_makes_no_pod() {
    let stage = shared();
    let shop = stage.governed("mainland");
    shop.accepts(shop.deployment("web", 1).with("spec: {template: {spec: {nodeName: frankfurt-a}}}"));
    shop.tells(&["FailedCreate", "ReplicaSet", "[domicile/node-name]"]);
    shop.accepts(shop.job("once").with("spec: {template: {spec: {nodeName: frankfurt-a}}}"));
    shop.tells(&["FailedCreate Job once", "[domicile/node-name]"]);
    shop.accepts(shop.job("batch").with("spec: {template: {spec: {schedulerName: volcano}}}"));
    shop.tells(&["FailedCreate Job batch", "[domicile/scheduler-name]"]);
    assert!(shop.list(&POD).is_empty());
}

#[test]
fn a_stateful_set_has_its_volumes_on_the_mainland() {
    let stage = shared();
    let shop = stage.governed("mainland");
    shop.accepts(shop.stateful_set("db", 3));
    eventually("three replicas are ready", LATER, || {
        let status = shop.get(&STATEFUL_SET, "db")["status"].clone();
        when(status["readyReplicas"] == 3, || format!("{status} {}", shop.events().join("\n")))
    });
    for claim in shop.list(&CLAIM) {
        let volume = stage.admin.get(&VOLUME, "", claim["spec"]["volumeName"].as_str().unwrap());
        let affinity = volume["spec"]["nodeAffinity"]["required"]["nodeSelectorTerms"].to_string();
        let zones = ["cn-shanghai-e", "cn-shanghai-f", "cn-beijing-h"];
        assert!(zones.iter().any(|zone| affinity.contains(&format!("\"{zone}\""))), "{affinity}");
        assert_eq!(claim["spec"]["storageClassName"], "mainland-ssd");
    }
}
