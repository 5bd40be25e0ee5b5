//! What a tenant can make long costs what it costs ungoverned, or is refused before it costs more: no rule runs past the API
//! server's cost limits because of it. `make bench` prints what it costs.

use crate::support::prelude::*;

/// Annotations in the number that an attacker can write: the API server lets an object have 256 KiB of them.
fn annotations(number: usize) -> Value {
    let notes: std::collections::BTreeMap<String, &str> =
        (0..number).map(|number| (format!("a{number}"), "")).collect();
    json!({"metadata": {"annotations": notes}})
}

/// A node affinity of this many values, as part of a pod's spec.
fn affinity(values: usize) -> Value {
    let values: Vec<String> = (0..values).map(|number| format!("zone-{number}")).collect();
    let term =
        json!({"matchExpressions": [{"key": "topology.kubernetes.io/zone", "operator": "In", "values": values}]});
    json!({"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [term]}}})
}

#[test]
fn a_pod_with_forty_thousand_affinity_values_passes_with_its_pin() {
    let stage = shared();
    let shop = stage.governed("mainland");
    let wide = bare_pod("wide").with(&json!({"spec": {"affinity": affinity(40_000)}}).to_string());
    let pinned = wide.clone().with(&json!({"spec": {"nodeSelector": shop.pins()}}).to_string());
    shop.would_ask(pinned).expected();
    // It is not mended: changing a pod of this size costs more than its creation.
    let said = stage.tenant.try_create(&wide.in_namespace(&shop.name)).refused("[domicile/placement]");
    assert!(said.contains("Add to its nodeSelector"), "{said}");
}

#[test]
fn a_pod_with_a_thousand_affinity_values_is_pinned() {
    let stage = shared();
    let shop = stage.governed("mainland");
    let wide = shop.pod("wide").with(&json!({"spec": {"affinity": affinity(1000)}}).to_string());
    assert_eq!(shop.would_ask(wide).expected()["spec"]["nodeSelector"], json!(shop.pins()));
}

#[test]
fn a_pod_with_thousands_of_volumes_is_told_of_them_and_not_mended() {
    let stage = shared();
    let shop = stage.governed("mainland");
    let volumes = |number: usize| -> Vec<Value> {
        (0..number).map(|volume| json!({"name": format!("v{volume}"), "emptyDir": {}})).collect()
    };
    let with = |pod: Manifest, number: usize| pod.with(&json!({"spec": {"volumes": volumes(number)}}).to_string());
    for pod in [bare_pod("many"), bare_pod("many").with(&json!({"spec": {"nodeSelector": shop.pins()}}).to_string())] {
        let said = shop.would_ask(with(pod, 5000)).refused("[domicile/pod-volume-count]");
        assert!(said.contains("more than 200 are not judged") && said.contains("Use fewer"), "{said}");
    }
    shop.would_ask(with(shop.pod("some"), 199)).expected(); // and the token's
}

#[test]
fn p17e_a_governed_namespace_grows_to_256_labels_and_annotations() {
    let stage = shared();
    let shop = stage.governed("mainland");
    let grow = |number| stage.tenant.patch(&NAMESPACE, "", &shop.name, &annotations(number));
    for number in [30_000, 257] {
        let said = grow(number).refused("[domicile/namespace-size]");
        assert!(said.contains("at most 256 are judged"), "{said}");
    }
    grow(200).expected();
    shop.accepts(shop.pod("web"));
}

#[test]
fn a_larger_namespace_is_governed_once_it_is_smaller() {
    let stage = shared();
    let free = stage.ungoverned();
    stage.tenant.patch(&NAMESPACE, "", &free.name, &annotations(30_000)).expected();
    let govern = json!({"metadata": {"labels": {"domicile.dev/residency": "mainland"}}});
    stage.tenant.patch(&NAMESPACE, "", &free.name, &govern).refused("[domicile/namespace-size]");
    let fewer: std::collections::BTreeMap<String, Value> =
        (0..30_000).map(|number| (format!("a{number}"), Value::Null)).collect();
    stage.tenant.patch(&NAMESPACE, "", &free.name, &json!({"metadata": {"annotations": fewer}})).expected();
    stage.tenant.patch(&NAMESPACE, "", &free.name, &govern).expected();
    free.is_confined();
}
