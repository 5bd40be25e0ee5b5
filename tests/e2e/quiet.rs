//! Nothing is written when nothing has changed: counted in the API server's audit log.

use crate::support::prelude::*;

/// Writes by the operator so far, but leases and what was only tried.
fn writes(stage: &Turn) -> Vec<String> {
    let log = stage.cluster.audit_log();
    let lines =
        log.lines().filter(|line| line.contains(OPERATOR)).filter_map(|line| serde_json::from_str::<Value>(line).ok());
    lines
        .filter(|entry| entry["user"]["username"] == OPERATOR && entry["impersonatedUser"].is_null())
        .filter(|entry| {
            matches!(entry["verb"].as_str(), Some("create" | "update" | "patch" | "delete" | "deletecollection"))
        })
        .filter(|entry| {
            entry["objectRef"]["resource"] != "leases"
                && !entry["requestURI"].as_str().unwrap_or_default().contains("dryRun=All")
        })
        // The canary asks and is answered "exceeded quota" or "refused": nothing is written either.
        .filter(|entry| entry["responseStatus"]["code"].as_u64().is_some_and(|code| code < 400))
        .map(|entry| format!("{} {} {}", entry["verb"], entry["requestURI"], entry["responseStatus"]["code"]))
        .collect()
}

#[test]
fn at_rest_nothing_is_written() {
    let stage = alone();
    stage.is_left_alone();
    // Some seconds after the operator's start the canary's pods would be listed, if it had any.
    eventually("the canary is settled", LATER, || {
        let held =
            stage.admin.get(&NAMESPACE, "", "domicile-canary")["metadata"]["annotations"]["domicile.dev/held-pods"]
                .clone();
        when(held == "-", || held.to_string())
    });
    let status = || stage.admin.get(&DATA_RESIDENCY, "", "mainland")["status"].clone();
    let shop = stage.governed("mainland");
    shop.accepts(shop.stateful_set("db", 1));
    shop.accepts(shop.daemon_set("agent"));
    shop.accepts("{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {name: own}, spec: {podSelector: {}, policyTypes: [Ingress], ingress: [{from: [{podSelector: {}}]}]}}");
    eventually("the workloads run", LATER, || {
        let running = shop.list(&POD).iter().filter(|pod| pod["status"]["phase"] == "Running").count();
        when(running == 5, || format!("{running} pods run"))
    });
    stage.becomes("mainland", "Ready", "True");
    let quiet_for = |before: usize, during: Duration| {
        let end = Instant::now() + during;
        while Instant::now() < end {
            if writes(&stage).len() != before {
                return false;
            }
            std::thread::sleep(Duration::from_millis(250));
        }
        true
    };
    eventually("what was made is settled", LATER, || {
        when(quiet_for(writes(&stage).len(), Duration::from_secs(3)), || "the operator still writes".into())
    });
    let (before, status_before) = (writes(&stage), status());
    assert!(!before.is_empty(), "the audit log knows the operator");
    quiet_for(before.len(), Duration::from_secs(20));
    let after = writes(&stage);
    let written = &after[before.len()..];
    assert!(written.is_empty(), "written at rest: {written:#?}; status before {status_before} and after {}", status());
}
