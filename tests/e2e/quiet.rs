//! Nothing is written when nothing has changed, and nothing is listed to judge what has: counted in the API server's audit log.

use crate::support::prelude::*;

/// Writes by the operator so far, but leases and what was only tried.
fn writes(stage: &Turn) -> Vec<String> {
    let asked = stage.cluster.asked_by(OPERATOR).into_iter();
    asked
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

/// Paths of what the operator has listed so far, but the admission policies. A watch that begins with all objects lists them, too.
fn lists(stage: &Turn) -> Vec<String> {
    let uri = |entry: &Value| entry["requestURI"].as_str().unwrap_or_default().to_owned();
    let begins_with_all =
        |entry: &Value| entry["stage"] == "ResponseStarted" && uri(entry).contains("sendInitialEvents=true");
    let is_list = |entry: &Value| entry["verb"] == "list" || begins_with_all(entry);
    let uris = stage.cluster.asked_by(OPERATOR).into_iter().filter(is_list).map(|entry| uri(&entry));
    let paths = uris.map(|uri| uri.split('?').next().unwrap_or_default().to_owned());
    paths.filter(|path| !path.starts_with("/apis/admissionregistration.k8s.io/")).collect()
}

/// Some seconds after the operator's start the canary's pods and RoleBindings are listed, if it has any.
fn is_settled(stage: &Turn) {
    eventually("the canary is settled", LATER, || {
        let canary = stage.admin.get(&NAMESPACE, "", "domicile-canary");
        let held = canary["metadata"]["annotations"]["domicile.dev/held-pods"].clone();
        when(held == "-", || held.to_string())
    });
}

#[test]
fn at_rest_nothing_is_written() {
    let stage = alone();
    stage.is_left_alone();
    is_settled(&stage);
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

/// After the start a LIST is made for two reasons: once for a namespace that becomes governed after it was made, of its pods and
/// RoleBindings (what a watch has brought may be a moment old, and here a moment is a way out), and of the admission policies
/// and bindings, to see that they stand. What is judged is watched.
#[test]
fn what_is_judged_is_watched_and_not_listed() {
    let stage = alone();
    stage.is_left_alone();
    is_settled(&stage);
    let _residency = stage.makes_residency("watched", "{jurisdictions: [CN], enforcement: Audit}");
    let shop = stage.governed("watched");
    let found = |rule: &str, subject: &str| stage.finding("watched", rule, subject).is_some();
    let abroad =
        |name: &str| bare_pod(name).with("spec: {nodeSelector: {topology.kubernetes.io/region: eu-central-1}}");
    let changes = |name: &str| {
        let subject = |kind: &str| format!("{kind} {}/{name}", shop.name);
        shop.accepts(abroad(name));
        shop.accepts(bare_claim(name).with("spec: {storageClassName: gp3}"));
        shop.accepts(Manifest::from("{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {}, spec: {podSelector: {}, policyTypes: [Egress], egress: [{}]}}").named(name));
        shop.accepts(
            Manifest::from(
                "{apiVersion: v1, kind: Service, metadata: {}, spec: {type: ExternalName, externalName: a.example}}",
            )
            .named(name),
        );
        let rules = [
            ("domicile/placement", "Pod"),
            ("domicile/storage-class", "PersistentVolumeClaim"),
            ("domicile/network-any", "NetworkPolicy"),
            ("domicile/external-name", "Service"),
        ];
        eventually("all of it is found", SOON, || {
            let missing: Vec<_> = rules.iter().filter(|(rule, kind)| !found(rule, &subject(kind))).collect();
            when(missing.is_empty(), || {
                format!("{missing:?}: {}", stage.admin.get(&DATA_RESIDENCY, "", "watched")["status"]["findings"])
            })
        });
        for kind in [&POD, &CLAIM, &NETWORK_POLICY, &SERVICE] {
            shop.delete(kind, name).expected();
        }
        eventually("all of it is forgotten", LATER, || {
            let kept: Vec<_> = rules.iter().filter(|(rule, kind)| found(rule, &subject(kind))).collect();
            when(kept.is_empty(), || format!("{kept:?}"))
        });
    };
    changes("first");
    let before = lists(&stage).len();
    assert!(lists(&stage).contains(&"/api/v1/pods".to_owned()), "it has listed everything once");
    changes("second");
    let listed = lists(&stage).split_off(before);
    assert!(listed.is_empty(), "listed: {listed:?}");
    // Only where a namespace becomes governed that was not made so its pods and RoleBindings are listed, once.
    let mut other = stage.ungoverned();
    other.joins("mainland");
    eventually("what is older is listed", LATER, || {
        let held = other.annotation("domicile.dev/held-pods");
        when(held == "-", || held)
    });
    let mut listed = lists(&stage).split_off(before);
    listed.sort();
    listed.dedup(); // where the namespace is written meanwhile it is decided again
    assert_eq!(listed, [POD.collection(&other.name), ROLE_BINDING.collection(&other.name)]);
}
