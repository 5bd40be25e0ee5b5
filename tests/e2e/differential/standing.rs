//! What is older than the confinement: whatever it breaks, its owner may touch what is not judged, and delete it. Otherwise
//! its controllers would fail, and nothing that has a finalizer could end. It may be mended, and made no worse.

use std::collections::BTreeMap;

use proptest::strategy::{Strategy as _, ValueTree as _};

use super::{
    Comparison, claims, endpoints, exposure,
    ground::Ground,
    pods, policies, runner,
    words::{Json, either},
};
use crate::support::prelude::*;

fn comparison(kind: &str) -> Comparison {
    match kind {
        "Pod" => pods::PODS,
        "PersistentVolumeClaim" => claims::CLAIMS,
        "NetworkPolicy" => policies::POLICIES,
        "EndpointSlice" | "Endpoints" => endpoints::WRITTEN_BY_HAND,
        _ => exposure::EXPOSED,
    }
}

/// Objects of a strategy, where one of them is as dear as `weight` ordinary ones.
pub fn generated(strategy: &Json, weight: u32) -> Vec<Manifest> {
    let mut runner = runner(weight);
    (0..runner.config().cases).map(|_| Manifest(strategy.new_tree(&mut runner).unwrap().current())).collect()
}

/// Objects that Kubernetes lets into a namespace that names no residency.
fn past(space: &Namespace, generated: &[Manifest]) -> Vec<Manifest> {
    let named = generated.iter().enumerate().map(|(number, object)| object.clone().named(&format!("it-{number}")));
    named.filter_map(|object| Some(space.asks(object)).filter(Reply::ok).map(|reply| Manifest(reply.object))).collect()
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

/// What is wrong with the answer to a change of what stands into `wanted`: what breaks nothing is a mend, and passes; what
/// breaks a rule that was not broken before is refused.
fn disagreement(space: &Namespace, ground: &Ground, standing: &Manifest, wanted: &Manifest) -> Option<String> {
    let comparison = comparison(standing.kind().name);
    let path = standing.kind().path(&space.name, standing.name());
    let changed = wanted.clone().named(standing.name()).in_namespace(&space.name);
    let reply = space.tenant.replace_at(&format!("{path}?dryRun=All"), &changed.0);
    let said =
        |what: String| format!("{what}: {} {}\nfrom {}\nto {}", reply.code, reply.message, standing.0, changed.0);
    if reply.ok() {
        let before = (comparison.finds)(ground, &standing.0);
        let worse: Vec<_> = (comparison.finds)(ground, &reply.object).difference(&before).copied().collect();
        return (!worse.is_empty()).then(|| said(format!("{worse:?} was let through")));
    }
    let refused = rule(&reply.message)?;
    let judged = !comparison.of_admission.iter().any(|entry| entry.says == refused);
    (judged && (comparison.finds)(ground, &changed.0).is_empty()).then(|| said("a mend was refused".to_owned()))
}

/// Changes of what stands that are wrongly answered: each into the next generated object of its kind.
fn changes(space: &Namespace, ground: &Ground, standing: &[Manifest], wanted: &[Manifest]) -> Vec<String> {
    let mut rests = BTreeMap::new();
    let pairs = standing.iter().filter_map(|old| {
        let rest =
            rests.entry(old.kind().name).or_insert_with(|| wanted.iter().rev().filter(|new| new.kind() == old.kind()));
        Some((old, rest.next()?))
    });
    let pairs = pairs.filter(|(old, _)| ![&POD, &CLAIM].contains(&old.kind())); // what is judged of them never changes
    pairs.filter_map(|(old, new)| disagreement(space, ground, old, new)).collect()
}

#[test]
fn what_stands_may_be_touched_mended_and_ended_and_made_no_worse() {
    let stage = shared();
    let ground = Ground::new(&stage, "twice-standing", "{tenantPolicies: Refuse}");
    let name = ground.name.as_str();
    let kinds = vec![
        pods::pod(&[name]),
        claims::claim(&ground),
        policies::policy(name, ground.number),
        exposure::exposed(),
        endpoints::endpoints(ground.number),
    ];
    let space = stage.ungoverned();
    let generated = generated(&either(kinds), 3);
    let standing = past(&space, &generated);
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
    let wrong = changes(&space, &ground, &standing, &generated);
    assert!(wrong.is_empty(), "{} of {}: {}", wrong.len(), standing.len(), wrong[..wrong.len().min(5)].join("\n"));
}
