//! What a tenant can make long still passes: no rule runs past the API server's cost limits because of it.
//!
//! What it costs is a measurement and no test: `make bench` prints it beside what it costs ungoverned.

use crate::support::prelude::*;

/// Asks for both, each in turn, more than once: what is slow the first time may be refused the second.
#[track_caller]
fn both_pass(mut ungoverned: impl FnMut() -> Reply, mut governed: impl FnMut() -> Reply) {
    for _ in 0..2 {
        ungoverned().expected();
        governed().expected();
    }
}

#[test]
fn forty_thousand_affinity_values() {
    let stage = shared();
    let values: Vec<String> = (0..40_000).map(|number| format!("zone-{number}")).collect();
    let term =
        json!({"matchExpressions": [{"key": "topology.kubernetes.io/zone", "operator": "In", "values": values}]});
    let affinity = json!({"spec": {"affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [term]}}}}}).to_string();
    let (shop, free) = (stage.governed("mainland"), stage.ungoverned());
    let governed = shop.pod("wide").with(&affinity).in_namespace(&shop.name);
    let ungoverned = bare_pod("wide").with(&affinity).in_namespace(&free.name);
    both_pass(|| stage.tenant.try_create(&ungoverned), || stage.tenant.try_create(&governed));
}

/// Annotations in the number that an attacker can write: the API server lets an object have 256 KiB of them.
fn thirty_thousand() -> Value {
    let notes: std::collections::BTreeMap<String, &str> =
        (0..30_000).map(|number| (format!("a{number}"), "")).collect();
    json!({"metadata": {"annotations": notes}})
}

#[test]
fn an_update_of_thirty_thousand_annotations() {
    let stage = shared();
    let shop = stage.governed("mainland");
    // Every namespace is judged, since confinements are forged where none is expected: what is not judged is another kind.
    shop.accepts("{apiVersion: v1, kind: ConfigMap, metadata: {name: settings}}");
    stage.tenant.patch(&NAMESPACE, "", &shop.name, &thirty_thousand()).expected();
    stage.tenant.patch(&CONFIG_MAP, &shop.name, "settings", &thirty_thousand()).expected();
    let turn = std::cell::Cell::new(0);
    let relabel = |kind, namespace, name| {
        turn.set(turn.get() + 1);
        stage.tenant.patch(kind, namespace, name, &json!({"metadata": {"labels": {"turn": turn.get().to_string()}}}))
    };
    both_pass(|| relabel(&CONFIG_MAP, &shop.name, "settings"), || relabel(&NAMESPACE, "", &shop.name));
}

#[test]
fn a_pod_beside_thirty_thousand_annotations() {
    let stage = shared();
    let (shop, free) = (stage.governed("mainland"), stage.ungoverned());
    for namespace in [&shop, &free] {
        stage.tenant.patch(&NAMESPACE, "", &namespace.name, &thirty_thousand()).expected();
    }
    let (governed, ungoverned) = (shop.pod("web").in_namespace(&shop.name), bare_pod("web").in_namespace(&free.name));
    both_pass(|| stage.tenant.try_create(&ungoverned), || stage.tenant.try_create(&governed));
}
