//! Pods that stood outside before the confinement are moved where the residency says so: one after the other, never past a
//! PodDisruptionBudget, and only where a successor can run.

use crate::{placement::on_the_mainland, support::prelude::*};

const EVICTING: &str = "{jurisdictions: [CN], placement: {eviction: Enabled}}";
/// Prefers Frankfurt, so that pods of an ungoverned namespace run there.
const PREFERS_FRANKFURT: &str = "spec: {template: {spec: {affinity: {nodeAffinity: {preferredDuringSchedulingIgnoredDuringExecution: [{weight: 100, preference: {matchExpressions: [{key: topology.kubernetes.io/region, operator: In, values: [eu-central-1]}]}}]}}}}}";
const IN_FRANKFURT: &str = "spec: {template: {spec: {nodeSelector: {topology.kubernetes.io/region: eu-central-1}}}}";

fn nodes_of(shop: &Namespace, app: &str) -> Vec<String> {
    let pods = shop.list(&POD).into_iter().filter(|pod| {
        pod["metadata"]["labels"]["app"] == app
            && pod["status"]["phase"] == "Running"
            && pod["metadata"]["deletionTimestamp"].is_null()
    });
    pods.map(|pod| pod["spec"]["nodeName"].as_str().unwrap_or_default().to_owned()).collect()
}

#[track_caller]
fn run_in_frankfurt(shop: &Namespace, app: &str, count: usize) {
    eventually(&format!("{count} pods of {app} run in Frankfurt"), LATER, || {
        let nodes = nodes_of(shop, app);
        when(nodes.len() == count && nodes.iter().all(|node| node.starts_with("frankfurt")), || format!("{nodes:?}"))
    });
}

#[track_caller]
fn run_on_the_mainland(shop: &Namespace, app: &str, count: usize) {
    eventually(&format!("{count} pods of {app} run on the mainland"), LATER, || {
        let nodes = nodes_of(shop, app);
        let so = nodes.len() == count && nodes.iter().all(|node| on_the_mainland(node));
        when(so, || format!("{nodes:?}\n{}", shop.events().join("\n")))
    });
}

#[track_caller]
fn is_left(shop: &Namespace, pod_of: &str, words: &str) {
    eventually(&format!("that {pod_of} is left is told with {words}"), LATER, || {
        let events = shop.events();
        let told =
            |event: &String| event.starts_with("NotEvicted Pod ") && event.contains(pod_of) && event.contains(words);
        when(events.iter().any(told), || events.join("\n"))
    });
    assert!(nodes_of(shop, pod_of).iter().all(|node| node.starts_with("frankfurt")));
}

#[test]
fn pods_that_stand_outside_are_moved_and_budgets_respected() {
    let stage = shared();
    let _residency = stage.makes_residency("moving", EVICTING);
    let mut shop = stage.ungoverned();
    shop.accepts(shop.deployment("web", 3).with(PREFERS_FRANKFURT));
    shop.accepts(shop.deployment("held", 1).with(PREFERS_FRANKFURT));
    let budget = Manifest::from(
        "{apiVersion: policy/v1, kind: PodDisruptionBudget, metadata: {name: held}, spec: {maxUnavailable: 0, selector: {matchLabels: {app: held}}}}",
    );
    shop.accepts(budget);
    run_in_frankfurt(&shop, "web", 3);
    run_in_frankfurt(&shop, "held", 1);
    shop.joins("moving");
    if !shop.mutates() {
        // A successor that nobody pins would be refused, so nothing is moved.
        stage.becomes("moving", "Compliant", "False");
        never("a pod is moved that nobody could make again", Duration::from_secs(15), || {
            (nodes_of(&shop, "web").len() < 3).then(|| shop.events().join("\n"))
        });
        return;
    }
    run_on_the_mainland(&shop, "web", 3);
    shop.tells(&["Evicted Pod web"]);
    is_left(&shop, "held", "disruption budget");
    shop.delete(&DISRUPTION_BUDGET, "held").expected();
    run_on_the_mainland(&shop, "held", 1);
    stage.becomes("moving", "Compliant", "True");
}

#[test]
fn what_could_not_run_elsewhere_is_left_with_a_word() {
    let stage = shared();
    let _residency = stage.makes_residency("leaving-alone", EVICTING);
    let mut shop = stage.ungoverned();
    shop.accepts(shop.deployment("bound", 1).with(IN_FRANKFURT));
    shop.accepts(bare_pod("bare").with("spec: {nodeName: frankfurt-a}"));
    shop.accepts(bare_claim("abroad").with("spec: {storageClassName: gp3}"));
    shop.accepts(
        shop.deployment("stateful", 1)
            .with(PREFERS_FRANKFURT)
            .with("spec: {template: {spec: {volumes: [{name: data, persistentVolumeClaim: {claimName: abroad}}]}}}"),
    );
    run_in_frankfurt(&shop, "bound", 1);
    run_in_frankfurt(&shop, "stateful", 1);
    shop.joins("leaving-alone");
    if shop.mutates() {
        is_left(&shop, "bound", "node selector");
        is_left(&shop, "stateful", "claim abroad");
    } else {
        stage.becomes("leaving-alone", "Compliant", "False");
    }
    assert_eq!(shop.runs("bare"), "frankfurt-a");
}

#[test]
fn nothing_is_moved_where_one_residency_does_not_ask_for_it() {
    let stage = shared();
    let _moving = stage.makes_residency("one-moves", EVICTING);
    let _staying = stage.makes_residency("other-stays", "{jurisdictions: [CN]}");
    let mut shop = stage.ungoverned();
    shop.accepts(shop.deployment("web", 1).with(PREFERS_FRANKFURT));
    run_in_frankfurt(&shop, "web", 1);
    shop.joins("one-moves_other-stays");
    stage.becomes("one-moves", "Compliant", "False");
    eventually("pods may be bound again", SOON, || {
        let held = shop.annotation("domicile.dev/held-pods");
        when(held == "-", || held)
    });
    never("the pod is moved", Duration::from_secs(3), || {
        (nodes_of(&shop, "web").is_empty()).then(|| shop.events().join("\n"))
    });
}
