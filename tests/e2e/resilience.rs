//! The API server enforces, not the operator: whatever dies, nothing gets out; and nothing else is blocked.

use std::sync::{
    Mutex,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

use crate::{placement::on_the_mainland, support::prelude::*};

const FOREIGN_POLICY: &str = "{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {name: wide}, spec: {podSelector: {}, policyTypes: [Egress], egress: [{to: [{ipBlock: {cidr: 198.51.100.0/24}}]}]}}";

#[test]
fn with_the_operator_dead_everything_stays_refused() {
    let stage = alone();
    let mut shop = stage.governed("mainland");
    stage.operator.kill();
    shop.loses_the_operator();
    // What is confined works on, and is held.
    shop.accepts(shop.pod("web"));
    assert!(on_the_mainland(&shop.runs("web")));
    shop.accepts(shop.claim("data"));
    shop.rejects(shop.pod("away").with("spec: {nodeName: frankfurt-a}"), "[domicile/node-name]");
    shop.rejects(bare_claim("away").with("spec: {storageClassName: gp3}"), "[domicile/storage-class]");
    shop.rejects(FOREIGN_POLICY, "[domicile/network-foreign]");
    shop.rejects(
        "{apiVersion: v1, kind: Service, metadata: {name: wide}, spec: {type: LoadBalancer, ports: [{port: 80}]}}",
        "[domicile/service-type]",
    );
    stage.tenant.delete(&NETWORK_POLICY, &shop.name, "domicile-isolate").refused("[domicile/own-network-policy]");
    stage
        .tenant
        .patch(&NAMESPACE, "", &shop.name, &json!({"metadata": {"labels": {"domicile.dev/residency": null}}}))
        .refused("[domicile/release]");
    // What is made now stays closed.
    let mut late = stage.namespace("{domicile.dev/residency: mainland}");
    late.loses_the_operator();
    late.has_its_account();
    stage.tenant.create(&late.pod("web").in_namespace(&late.name)).refused("[domicile/not-confined]");
    stage
        .tenant
        .create(&bare_claim("data").in_namespace(&late.name))
        .refused("[domicile/not-confined]|[domicile/storage-class]");
    // What is not governed does not notice.
    let free = stage.ungoverned();
    free.accepts(bare_pod("web").with("spec: {nodeName: frankfurt-a}"));
    // A governed namespace can be deleted.
    shop.is_deleted();

    stage.operator.start().unwrap();
    late.is_confined();
    late.accepts(late.pod("web"));
    assert!(on_the_mainland(&late.runs("web")));
}

/// What a namespace looks like once everything in it is settled.
fn state(namespace: &Namespace) -> Value {
    let object = namespace.object();
    let mut policies: Vec<Value> = namespace
        .list(&NETWORK_POLICY)
        .iter()
        .map(|policy| json!([policy["metadata"]["name"], policy["spec"]]))
        .collect();
    policies.sort_by_key(ToString::to_string);
    let domicile = |part: &str| -> Vec<Value> {
        let map = object["metadata"][part].as_object().cloned().unwrap_or_default();
        map.into_iter()
            .filter(|(key, _)| !key.contains("metadata.name") && key != "domicile.dev/held-pods")
            .map(|(key, value)| json!([key, value]))
            .collect()
    };
    json!({"labels": domicile("labels"), "annotations": domicile("annotations"), "policies": policies})
}

/// The story: a namespace with a past joins the residency.
fn story(stage: &Turn) -> Namespace {
    let shop = stage.ungoverned();
    shop.accepts("{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {name: own}, spec: {podSelector: {}, policyTypes: [Egress], egress: [{to: [{podSelector: {}}]}]}}");
    shop.accepts(bare_pod("gated").with("spec: {schedulingGates: [{name: example.com/wait}]}"));
    shop
}

#[track_caller]
fn is_settled(namespace: &Namespace) {
    eventually(&format!("{} is settled", namespace.name), LATER, || {
        let (labels, notes) = (namespace.labels(), namespace.object()["metadata"]["annotations"].clone());
        let uid = namespace.get(&POD, "gated")["metadata"]["uid"].as_str().unwrap_or_default().to_owned();
        let so = labels.get("domicile.dev/confined-for").is_some_and(|value| value == "mainland")
            && notes["domicile.dev/refused-because"] == "-"
            && notes["domicile.dev/held-pods"].as_str().is_some_and(|held| held.contains(&uid))
            && labels.get("domicile.dev/peer").is_some_and(|value| value == "true");
        when(so, || format!("{labels:?} {notes}"))
    });
}

#[test]
fn an_operator_that_is_killed_at_any_moment_ends_in_the_same_state() {
    let stage = alone();
    stage.is_left_alone(); // what leaves meanwhile is a peer no more, and the states would differ by that
    let undisturbed = story(&stage);
    undisturbed.label("domicile.dev/residency", "mainland");
    is_settled(&undisturbed);
    let expected = state(&undisturbed);
    let mut shops = Vec::new();
    for milliseconds in [0, 1, 2, 3, 5, 8, 12, 17, 25, 40, 80] {
        let shop = story(&stage);
        shop.label("domicile.dev/residency", "mainland");
        std::thread::sleep(Duration::from_millis(milliseconds)); // the moment is the point of this test
        stage.operator.kill();
        let outside = shop.pod("away").with("spec: {nodeName: frankfurt-a}").in_namespace(&shop.name);
        eventually("the API server judges by the label, which it reads from a cache", SOON, || {
            when(!stage.tenant.try_create(&outside).ok(), || "a pod would be let through".to_owned())
        });
        // However far the operator came, nothing is open.
        let reply = stage.tenant.create(&outside);
        assert!(!reply.ok(), "{milliseconds} ms after the label a pod was let through");
        assert!(
            !shop.patch(&POD, "gated", "spec: {schedulingGates: null}").ok(),
            "{milliseconds} ms after the label an older pod was let go"
        );
        stage.operator.start().unwrap();
        shop.is_confined();
        shops.push((milliseconds, shop));
    }
    for (milliseconds, shop) in &shops {
        is_settled(shop);
        assert_eq!(state(shop), expected, "killed after {milliseconds} ms");
    }
}

#[test]
fn a_killed_operator_takes_up_what_happened_meanwhile() {
    let stage = alone();
    let shop = stage.governed("mainland");
    stage.operator.kill();
    let intruder = stage.user(OPERATOR, &["system:serviceaccounts"]);
    intruder.delete(&NETWORK_POLICY, &shop.name, "domicile-isolate").expected();
    intruder
        .patch(&NODE, "", "hongkong-a", &json!({"metadata": {"labels": {format!("{PIN}mainland"): "true"}}}))
        .expected();
    intruder
        .patch(
            &NAMESPACE,
            "",
            &shop.name,
            &json!({"metadata": {"annotations": {"domicile.dev/storage-classes": "gp3"}}}),
        )
        .expected();
    stage.operator.start().unwrap();
    eventually("all of it is undone", SOON, || {
        let policy = shop.find(&NETWORK_POLICY, "domicile-isolate").is_some();
        let label =
            stage.admin.get(&NODE, "", "hongkong-a")["metadata"]["labels"].get(format!("{PIN}mainland")).is_none();
        let classes = shop.annotation("domicile.dev/storage-classes");
        when(policy && label && classes == "mainland-hdd,mainland-ssd", || {
            format!("policy {policy}, label gone {label}, classes {classes}")
        })
    });
}

/// What came of a request that was sent again and again.
#[derive(Default)]
struct Tally {
    passed: AtomicUsize,
    refused: AtomicUsize,
    unanswered: AtomicUsize,
    wrong: Mutex<Vec<String>>,
}

impl Tally {
    fn hammer(&self, stage: &Turn, pod: &Manifest, stop: &AtomicBool, wrong: impl Fn(&Reply) -> bool) {
        while !stop.load(Ordering::Relaxed) {
            let reply = stage.tenant.try_create(pod);
            let count = if reply.ok() {
                &self.passed
            } else if matches!(reply.code, 400..500) {
                &self.refused
            } else {
                &self.unanswered
            };
            count.fetch_add(1, Ordering::Relaxed);
            if wrong(&reply) {
                self.wrong.lock().unwrap().push(format!("{} {}", reply.code, reply.message));
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

#[test]
fn a_restart_of_the_api_server_opens_nothing_and_blocks_nothing_else() {
    let stage = alone();
    let (shop, free) = (stage.governed("mainland"), stage.ungoverned());
    let outside = shop.pod("away").with("spec: {nodeName: frankfurt-a}").in_namespace(&shop.name);
    let unpinned =
        bare_pod("away").with(&format!("spec: {{nodeSelector: {{{PIN}mainland: 'false'}}}}")).in_namespace(&shop.name);
    let ungoverned = bare_pod("web").with("spec: {nodeName: frankfurt-a}").in_namespace(&free.name);
    let (stop, out, false_pin, blocked) =
        (AtomicBool::new(false), Tally::default(), Tally::default(), Tally::default());
    let blocking = |reply: &Reply| reply.message.contains("domicile") || reply.message.contains("AdmissionPolicy");
    std::thread::scope(|scope| {
        let _ends = Ends(&stop);
        scope.spawn(|| out.hammer(&stage, &outside, &stop, Reply::ok));
        scope.spawn(|| false_pin.hammer(&stage, &unpinned, &stop, Reply::ok));
        scope.spawn(|| blocked.hammer(&stage, &ungoverned, &stop, blocking));
        for action in ["restart", "kill"] {
            stage.cluster.component(action, "kube-apiserver");
            if action == "kill" {
                stage.cluster.component("start", "kube-apiserver");
            }
            let before = blocked.passed.load(Ordering::Relaxed);
            eventually("ungoverned pods pass again", SOON, || {
                when(blocked.passed.load(Ordering::Relaxed) > before + 20, || "not yet".into())
            });
        }
        stop.store(true, Ordering::Relaxed);
    });
    assert!(
        out.wrong.lock().unwrap().is_empty() && false_pin.wrong.lock().unwrap().is_empty(),
        "a governed pod got out"
    );
    let wrong = blocked.wrong.into_inner().unwrap();
    assert!(wrong.is_empty(), "{} requests in an ungoverned namespace were blocked: {}", wrong.len(), wrong[0]);
    assert!(out.refused.load(Ordering::Relaxed) > 20);
    say(&format!(
        "restart and kill of the API server: {} governed requests refused, {} ungoverned passed, {} unanswered",
        out.refused.into_inner() + false_pin.refused.into_inner(),
        blocked.passed.into_inner(),
        blocked.unanswered.into_inner()
    ));
    // The operator is still there and at work.
    let later = stage.governed("mainland");
    later.accepts(later.pod("web"));
    stage.becomes("mainland", "Ready", "True");
}

#[test]
fn a_hong_kong_node_that_says_it_is_in_shanghai_is_caught() {
    let stage = alone();
    // A kubelet may set its own region label, and this one lies.
    let lie = stage.cluster.changes_nodes("region: cn-hongkong,", "region: cn-shanghai,");
    let caught = eventually("shanghai-1 reports the conflict", SOON, || {
        let status = stage.admin.get(&DATA_CENTER, "", "shanghai-1")["status"].clone();
        let conflict = status["conflicts"]
            .as_array()
            .and_then(|list| list.iter().find(|conflict| conflict["node"] == "hongkong-a").cloned());
        conflict.ok_or_else(|| status.to_string())
    });
    assert!(!caught["message"].as_str().unwrap().is_empty());
    let labels = stage.admin.get(&NODE, "", "hongkong-a")["metadata"]["labels"].clone();
    assert!(!labels.to_string().contains("domicile.dev"), "{labels}");
    drop(lie);
    eventually("shanghai-1 is clean again", SOON, || {
        let status = stage.admin.get(&DATA_CENTER, "", "shanghai-1")["status"].clone();
        when(status["conflicts"].as_array().is_none_or(Vec::is_empty), || status.to_string())
    });
}

/// An image that is newer than its chart, or a role that somebody has trimmed: what cannot be read is told, and opens nothing.
#[test]
fn a_right_that_is_missing_is_told_and_opens_nothing() {
    let stage = to_install_anew();
    let whole = stage.admin.get(&CLUSTER_ROLE, "", "domicile")["rules"].clone();
    let reads_bindings = |rule: &Value| rule["resources"].to_string().contains("rolebindings");
    let trimmed: Vec<Value> = whole.as_array().unwrap().iter().filter(|rule| !reads_bindings(rule)).cloned().collect();
    let sets = |rules: &Value| stage.admin.patch(&CLUSTER_ROLE, "", "domicile", &json!({"rules": rules})).expected();
    sets(&json!(trimmed));
    let account = stage.user(OPERATOR, &[]);
    eventually("RBAC has taken the right away, or a watch that begins before goes on", SOON, || {
        let reply = account.get_at(&ROLE_BINDING.collection(""));
        when(reply.code == 403, || format!("{} {}", reply.code, reply.message))
    });
    stage.operator.kill();
    stage.operator.start().unwrap();
    let mut late = stage.namespace("{domicile.dev/residency: mainland}");
    late.loses_the_operator();
    late.has_its_account();
    eventually("it is told, after a minute", LATER, || {
        let seen = stage.admin.get(&DATA_RESIDENCY, "", "mainland");
        let told = ["Ready", "Compliant"].iter().all(|kind| condition(&seen, kind) == "Unknown");
        let words = seen["status"]["conditions"].to_string();
        when(told && words.contains("NotWatched") && words.contains("RoleBinding"), || words)
    });
    stage.tenant.create(&late.pod("web").in_namespace(&late.name)).refused("[domicile/not-confined]");
    sets(&whole);
    late.is_confined();
    stage.becomes("mainland", "Ready", "True");
}
