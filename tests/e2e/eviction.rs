//! Pods that stood outside before the confinement are moved where the residency says so: one after the other, never past a
//! PodDisruptionBudget, and only where a successor can run.

use std::sync::{Arc, Mutex};

use domicile::{
    apply::{Eviction, Moved, evict},
    observe::{Key, Node, Pod, Resources, node::LiveNode, pod::LivePod},
    resolve::Place,
};
use http::Request;
use kube::{Client, client::Body};

use crate::{
    placement::on_the_mainland,
    support::{prelude::*, wait::run},
};

const EVICTING: &str = "{jurisdictions: [CN], placement: {eviction: Enabled}}";
/// Prefers Frankfurt, so that pods of an ungoverned namespace run there.
const PREFERS_FRANKFURT: &str = "spec: {template: {spec: {affinity: {nodeAffinity: {preferredDuringSchedulingIgnoredDuringExecution: [{weight: 100, preference: {matchExpressions: [{key: topology.kubernetes.io/region, operator: In, values: [eu-central-1]}]}}]}}}}}";
/// Lets no pod of `held` go.
const BUDGET: &str = "{apiVersion: policy/v1, kind: PodDisruptionBudget, metadata: {name: held}, spec: {maxUnavailable: 0, selector: {matchLabels: {app: held}}}}";
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
    shop.accepts(BUDGET);
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

/// A pod of a namespace as the operator has judged it, and a node that could take its successor.
fn judged(stage: &Turn, shop: &Namespace, name: &str) -> Eviction {
    let node = Node::from(typed::<LiveNode>(&stage.admin.get(&NODE, "", "shanghai-a")));
    let free = Resources { millicores: 1_000, memory: 1 << 30 };
    Eviction {
        key: Key::new(&shop.name, name),
        pod: Pod::from(typed::<LivePod>(&shop.get(&POD, name))),
        places: vec![Place { node, free }],
        claims: Default::default(),
    }
}

/// The same name, another pod: what was judged is not what would be evicted.
#[test]
fn a_pod_that_took_the_place_of_the_judged_one_is_not_moved() {
    let stage = shared();
    let shop = stage.governed("mainland");
    let operator = stage.service_account("domicile-system", "domicile");
    let web = shop.pod("web").in_namespace(&shop.name);
    let (path, collection) = (POD.path(&shop.name, "web"), POD.collection(&shop.name));
    let stands_as = |first: &Value| {
        let now = shop.get(&POD, "web");
        assert_ne!(now["metadata"]["uid"], first["metadata"]["uid"]);
        assert!(now["metadata"]["deletionTimestamp"].is_null(), "{}", now["metadata"]);
        now
    };

    // Replaced since it was judged: the live look tells.
    let first = shop.accepts(web.clone());
    shop.runs("web");
    let eviction = judged(&stage, &shop, "web");
    stage.admin.delete_now(&POD, &shop.name, "web").expected();
    shop.loses(&POD, "web");
    shop.accepts(web.clone());
    shop.runs("web");
    assert_eq!(run(evict(operator.client(), &eviction)).unwrap(), Moved::Changed);
    let second = stands_as(&first);

    // Replaced between that look and the eviction: the precondition tells. Whoever sits between sees one request alone.
    let eviction = judged(&stage, &shop, "web");
    let asked = Arc::new(Mutex::new(Vec::new()));
    let between = {
        let (asked, client, admin) = (Arc::clone(&asked), operator.client(), stage.admin.clone());
        tower::service_fn(move |request: Request<Body>| {
            let (asked, client, admin) = (Arc::clone(&asked), client.clone(), admin.clone());
            let (path, collection, web) = (path.clone(), collection.clone(), web.0.to_string().into_bytes());
            async move {
                let uri = request.uri().path().to_owned();
                if uri.ends_with("/eviction") {
                    let now = json!({"gracePeriodSeconds": 0}).to_string().into_bytes();
                    admin.exchange("DELETE", &path, "application/json", now).await.expected();
                    admin.exchange("POST", &collection, "application/json", web).await.expected();
                }
                asked.lock().unwrap().push(format!("{} {uri}", request.method()));
                client.send(request).await
            }
        })
    };
    let moved = run(async { evict(Client::new(between, "default"), &eviction).await });
    assert_eq!(moved.unwrap(), Moved::Changed);
    stands_as(&second);
    let path = POD.path(&shop.name, "web");
    assert_eq!(*asked.lock().unwrap(), [format!("GET {path}"), format!("POST {path}/eviction")]);

    // And what is still what was judged is moved, also where somebody writes it all the time.
    shop.runs("web");
    let eviction = judged(&stage, &shop, "web");
    let busy = {
        let (client, admin, path) = (operator.client(), stage.admin.clone(), POD.path(&shop.name, "web"));
        tower::service_fn(move |request: Request<Body>| {
            let (client, admin, path) = (client.clone(), admin.clone(), path.clone());
            async move {
                if request.uri().path().ends_with("/eviction") {
                    let seen =
                        json!({"metadata": {"annotations": {"example.com/seen": "now"}}}).to_string().into_bytes();
                    admin.exchange("PATCH", &path, "application/merge-patch+json", seen).await.expected();
                }
                client.send(request).await
            }
        })
    };
    let moved = run(async { evict(Client::new(busy, "default"), &eviction).await });
    assert_eq!(moved.unwrap(), Moved::Evicted);
    shop.loses(&POD, "web");
}

/// kube would try again at once what a budget refuses, and evict by what was decided before.
#[test]
fn what_a_budget_refuses_is_asked_once_and_decided_afresh() {
    let stage = alone();
    let _residency = stage.makes_residency("asking-once", EVICTING);
    let mut shop = stage.ungoverned();
    shop.accepts(shop.deployment("held", 1).with(PREFERS_FRANKFURT));
    shop.accepts(BUDGET);
    run_in_frankfurt(&shop, "held", 1);
    shop.joins("asking-once");
    let asked = || -> Vec<Value> {
        let all = stage.cluster.asked_by(OPERATOR).into_iter();
        all.filter(|entry| {
            let of = &entry["objectRef"];
            of["namespace"] == shop.name.as_str() && of["resource"] == "pods" && entry["verb"] != "list"
        })
        .collect()
    };
    let subresources = |entries: &[Value]| -> Vec<String> {
        entries.iter().map(|entry| format!("{} {}", entry["verb"], entry["objectRef"]["subresource"])).collect()
    };
    if !shop.mutates() {
        stage.becomes("asking-once", "Compliant", "False");
        assert!(!subresources(&asked()).iter().any(|one| one.contains("eviction")));
        return;
    }
    let evictions =
        |entries: &[Value]| entries.iter().filter(|entry| entry["objectRef"]["subresource"] == "eviction").count();
    eventually("the budget refuses a second time", LATER, || {
        let entries = asked();
        when(evictions(&entries) >= 2, || format!("{:?}\n{}", subresources(&entries), shop.events().join("\n")))
    });
    let entries = asked();
    let of_eviction = entries.iter().filter(|entry| entry["objectRef"]["subresource"] == "eviction");
    let codes: Vec<&Value> = of_eviction.map(|entry| &entry["responseStatus"]["code"]).collect();
    assert!(codes.iter().all(|code| **code == 429), "{codes:?}");
    // Before each eviction the pod is read: a request that is tried again by itself would stand alone.
    let order = subresources(&entries);
    for (at, one) in order.iter().enumerate().filter(|(_, one)| one.contains("eviction")) {
        assert!(at > 0 && order[at - 1].starts_with("\"get\""), "{one} without a look before: {order:?}");
    }
}
