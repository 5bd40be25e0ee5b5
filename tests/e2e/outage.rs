//! An operator that is away for long: not killed, but halted with what it knew, while everything changes and the API server
//! forgets what changed. Nothing gets out meanwhile; then it says what one says that was started afresh.

use crate::{calamities::stays_closed, support::prelude::*};

const PINNED: &str = "residency.domicile.dev.node-restriction.kubernetes.io/mainland";
const WIDE: &str = "{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {name: wide}, spec: {podSelector: {}, policyTypes: [Egress], egress: [{}]}}";

/// What Domicile wrote, without times: on these namespaces, on nodes, and in every status.
fn written(stage: &Turn, names: &[&str]) -> Value {
    let own = |map: &Value| -> Value {
        let entries = map.as_object().cloned().unwrap_or_default().into_iter();
        let told = |key: &str| key.contains("domicile.dev") || key.contains("pod-security");
        // For how long every pod is held, each operator counts for itself.
        entries.filter(|(key, _)| told(key) && key != "domicile.dev/held-pods").collect()
    };
    let spaces = names.iter().map(|name| {
        let metadata = stage.admin.get(&NAMESPACE, "", name)["metadata"].clone();
        let policies = stage.admin.list(&NETWORK_POLICY, name);
        let policies: Vec<Value> =
            policies.iter().map(|policy| json!([policy["metadata"]["name"], policy["spec"]])).collect();
        json!([name, own(&metadata["labels"]), own(&metadata["annotations"]), policies])
    });
    let nodes = stage
        .admin
        .list(&NODE, "")
        .into_iter()
        .map(|node| json!([node["metadata"]["name"], own(&node["metadata"]["labels"])]));
    let statuses = [&DATA_RESIDENCY, &DATA_CENTER].into_iter().flat_map(|kind| stage.admin.list(kind, ""));
    let statuses = statuses.map(|mut object| {
        for condition in object["status"]["conditions"].as_array_mut().into_iter().flatten() {
            condition["lastTransitionTime"] = Value::Null;
        }
        json!([object["metadata"]["name"], object["status"]])
    });
    json!({"namespaces": spaces.collect::<Vec<_>>(), "nodes": nodes.collect::<Vec<_>>(), "statuses": statuses.collect::<Vec<_>>()})
}

#[track_caller]
fn is_verified(stage: &Turn, node: &str, wanted: bool) {
    eventually(&format!("node {node} is verified: {wanted}"), SOON, || {
        let labels = stage.admin.get(&NODE, "", node)["metadata"]["labels"].clone();
        when((labels[PINNED] == "true") == wanted, || labels.to_string())
    });
}

/// The API server starts with an empty history: whoever asks for what happened since is told to read everything again.
#[track_caller]
fn forgets(stage: &Turn) {
    stage.cluster.component("kill", "kube-apiserver");
    stage.cluster.component("start", "kube-apiserver");
    eventually("the API server answers", LATER, || {
        let reply = stage.admin.get_at("/readyz");
        when(reply.ok(), || reply.message)
    });
}

/// A namespace with a past that names the residency now.
fn joins_with_a_past(stage: &Turn) -> Namespace {
    let past = stage.ungoverned();
    past.accepts(WIDE);
    past.accepts(
        "{apiVersion: v1, kind: Service, metadata: {name: outside}, spec: {type: LoadBalancer, ports: [{port: 80}]}}",
    );
    past.accepts(bare_pod("gated").with("spec: {schedulingGates: [{name: example.com/wait}]}"));
    past.label("domicile.dev/residency", "mainland");
    past
}

/// Somebody with the operator's account undoes its work.
#[track_caller]
fn meddles(stage: &Turn, shop: &Namespace) {
    let intruder = stage.user(OPERATOR, &["system:serviceaccounts"]);
    intruder.delete(&NETWORK_POLICY, &shop.name, "domicile-isolate").expected();
    let widened = json!({"metadata": {"annotations": {"domicile.dev/storage-classes": "gp3"}}});
    intruder.patch(&NAMESPACE, "", &shop.name, &widened).expected();
}

/// What happened meanwhile is seen.
#[track_caller]
fn catches_up(stage: &Turn, shop: &Namespace, past: &Namespace) {
    is_verified(stage, "wanderer", false);
    is_verified(stage, "comer", true);
    eventually("what was undone is done again, and the new data center counts", SOON, || {
        let (networks, classes) =
            (shop.annotation("domicile.dev/networks"), shop.annotation("domicile.dev/storage-classes"));
        let isolated = shop.find(&NETWORK_POLICY, "domicile-isolate").is_some();
        when(isolated && networks.contains("10.22.0.0/16") && classes == "mainland-hdd,mainland-ssd", || {
            format!("isolated {isolated}, {networks}, {classes}")
        })
    });
    past.is_confined();
    eventually("the load balancer is told", SOON, || {
        let status = stage.admin.get(&DATA_RESIDENCY, "", "mainland")["status"].clone();
        when(status["findings"]["items"].to_string().contains(&format!("Service {}/outside", past.name)), || {
            status.to_string()
        })
    });
    let spec = past.get(&NETWORK_POLICY, "wide")["spec"].to_string();
    assert!(spec.contains("10.20.0.0/16"), "{spec}");
}

/// One that knows nothing finds nothing to change.
#[track_caller]
fn a_fresh_one_agrees(stage: &Turn, names: &[&str]) {
    let mut seen = written(stage, names);
    eventually("nothing is written any more", LATER, || {
        std::thread::sleep(Duration::from_secs(1)); // no change for so long is what is looked for
        let before = std::mem::replace(&mut seen, written(stage, names));
        when(before == seen, || "it still changes".to_owned())
    });
    stage.operator.kill();
    let before = stage.operator.said().len();
    stage.operator.start().unwrap();
    eventually("a fresh one has read the cluster", SOON, || {
        let words = stage.operator.said()[before..].to_owned();
        when(words.contains("the cluster has been read"), || words)
    });
    never("a fresh one says otherwise", Duration::from_secs(3), || {
        let fresh = written(stage, names);
        (fresh != seen).then(|| format!("{fresh}\nbefore: {seen}"))
    });
}

#[test]
fn an_operator_that_was_halted_while_everything_changed_says_what_a_fresh_one_would() {
    let stage = alone();
    stage.is_left_alone();
    let (mut shop, reborn) = (stage.governed("mainland"), stage.governed("mainland"));
    let _wanderer = stage.makes_node("wanderer", "cn-shanghai", "10.20.9.1");
    is_verified(&stage, "wanderer", true);

    stage.operator.pause();
    shop.loses_the_operator();
    stage.readdress_node("wanderer", "10.99.0.4");
    let _comer = stage.makes_node("comer", "cn-beijing", "10.21.9.1");
    reborn.is_deleted();
    let again = Manifest::from("{apiVersion: v1, kind: Namespace, metadata: {}}").named(&reborn.name);
    stage.tenant.create(&again).expected();
    reborn.accepts(bare_pod("web").with("spec: {nodeName: frankfurt-a}"));
    let past = joins_with_a_past(&stage);
    stays_closed(&shop);
    stage
        .tenant
        .create(&bare_pod("late").in_namespace(&past.name))
        .refused("[domicile/not-confined]|[domicile/placement]");
    assert!(!past.patch(&POD, "gated", "spec: {schedulingGates: null}").ok(), "an older pod was let go");
    is_verified(&stage, "wanderer", true); // said openly: it keeps its label meanwhile
    meddles(&stage, &shop);
    let center = stage.makes(data_center("shenzhen-3", "CN", "cn-shenzhen", 22));
    forgets(&stage);
    let before = stage.operator.said().len();

    stage.operator.resume();
    catches_up(&stage, &shop, &past);
    past.patch(&POD, "gated", "spec: {schedulingGates: null}").refused("[domicile/placement]");
    // Its namesake was governed once, and is nobody's business.
    assert!(reborn.list(&NETWORK_POLICY).is_empty());
    assert!(!reborn.labels().contains_key("domicile.dev/confined-for"), "{:?}", reborn.labels());
    reborn.runs("web");
    let words = stage.operator.said()[before..].to_owned();
    assert!(words.contains("410") || words.contains("too old resource version"), "it was told to read anew: {words}");
    a_fresh_one_agrees(&stage, &[&shop.name, &reborn.name, &past.name]);
    // The next test finds the country as this one found it.
    stage.forgets(center, "10.22.0.0/16");
}
