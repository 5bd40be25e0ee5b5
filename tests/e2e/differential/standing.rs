//! What is older than the confinement: whatever it breaks, its owner may touch what is not judged, and delete it. Otherwise
//! its controllers would fail, and nothing that has a finalizer could end.

use std::collections::BTreeMap;

use proptest::strategy::{Strategy as _, ValueTree as _};

use super::{
    Comparison, claims, endpoints, exposure,
    ground::Ground,
    pods, policies, runner,
    words::{Json, either},
};
use crate::support::prelude::*;

const NUMBER: u8 = 84;

fn comparison(kind: &str) -> Comparison {
    match kind {
        "Pod" => pods::PODS,
        "PersistentVolumeClaim" => claims::CLAIMS,
        "NetworkPolicy" => policies::POLICIES,
        "EndpointSlice" | "Endpoints" => endpoints::WRITTEN_BY_HAND,
        _ => exposure::EXPOSED,
    }
}

/// Objects that Kubernetes lets into a namespace that names no residency.
fn past(space: &Namespace, strategy: &Json, weight: u32) -> Vec<Manifest> {
    let mut runner = runner(weight);
    let named = (0..runner.config().cases).map(|number| {
        let object = strategy.new_tree(&mut runner).unwrap().current();
        Manifest(object).named(&format!("it-{number}"))
    });
    let all: Vec<Manifest> = named.collect();
    all.into_iter()
        .filter_map(|object| Some(space.asks(object)).filter(Reply::ok).map(|reply| Manifest(reply.object)))
        .collect()
}

/// What is said against a change of this object in what nobody judges, and against its end.
fn refusals(space: &Namespace, object: &Manifest) -> Vec<String> {
    let path = object.kind().path(&space.name, object.name());
    let label = json!({"metadata": {"labels": {"touched": "yes"}}});
    let touched = space.tenant.patch(object.kind(), &space.name, object.name(), &label);
    let Some(mut whole) = space.find(object.kind(), object.name()) else {
        return Vec::new(); // pods of nodes that are not there are ended by Kubernetes itself
    };
    whole["metadata"]["resourceVersion"] = Value::Null;
    whole["metadata"]["annotations"]["example.com/note"] = json!("touched");
    let replaced = space.tenant.replace_at(&format!("{path}?dryRun=All"), &whole);
    let ended = space.tenant.send("DELETE", &format!("{path}?dryRun=All"), "application/json", None);
    let said = [touched, replaced, ended].into_iter().filter(|reply| !reply.ok() && reply.code != 404);
    said.map(|reply| format!("{}: {} {}\n{}", reply.asked, reply.code, reply.message, object.0)).collect()
}

#[test]
fn what_stands_may_be_touched_and_ended_whatever_it_breaks() {
    let stage = shared();
    let ground = Ground::new(&stage, "twice-standing", "TL", NUMBER, "{tenantPolicies: Refuse}");
    let name = ground.name.as_str();
    let kinds = vec![
        pods::pod(&[name]),
        claims::claim(&ground),
        policies::policy(name, NUMBER),
        exposure::exposed(),
        endpoints::endpoints(NUMBER),
    ];
    let space = stage.ungoverned();
    let standing = past(&space, &either(kinds), 3);
    let mut broken = BTreeMap::<&str, usize>::new();
    for object in &standing {
        let kind = object.kind().name;
        *broken.entry(kind).or_default() += usize::from(!(comparison(kind).finds)(&ground, &object.0).is_empty());
    }
    say(&format!("differential of what stands: {} objects, {broken:?} break a rule", standing.len()));
    assert!(broken.values().filter(|count| **count > 0).count() >= 5, "{broken:?}");
    space.label("domicile.dev/residency", name);
    eventually("it is confined for what it names", SOON, || {
        let labels = space.labels();
        when(labels.get("domicile.dev/confined-for").is_some_and(|value| value == name), || format!("{labels:?}"))
    });
    let said: Vec<String> = standing.iter().flat_map(|object| refusals(&space, object)).collect();
    assert!(said.is_empty(), "{} of {}: {}", said.len(), standing.len(), said[..said.len().min(5)].join("\n"));
}
