//! `Warn` warns of exactly what `Enforce` would refuse: of generated objects of every kind, asked in both modes.

use super::{
    claims::claim, endpoints::endpoints, exposure::exposed, ground::Ground, pods::pod, policies::policy,
    standing::generated, words::either,
};
use crate::{modes::warned, support::prelude::*};

/// What is wrong with the two answers.
fn disagreement(enforced: &Reply, lenient: &Reply) -> Option<String> {
    let said =
        || format!("Enforce says {:?}, Warn says {:?} {:?}", enforced.message, lenient.message, lenient.warnings);
    let warned = warned(lenient);
    if !lenient.ok() || warned.is_empty() != enforced.ok() {
        return Some(said());
    }
    let first = rule(&enforced.message);
    first.filter(|first| !lenient.rules().contains(first)).map(|_| said())
}

#[test]
fn a_warning_is_given_exactly_where_enforce_refuses() {
    let stage = shared();
    let ground = Ground::new(&stage, "twice-warned", "{}");
    let name = &ground.name;
    let all =
        either(vec![pod(&[name]), claim(&ground), policy(name, ground.number), exposed(), endpoints(ground.number)]);
    let objects = generated(&all, 1);
    let enforced: Vec<Reply> = objects.iter().map(|object| ground.space.would_ask(object.clone())).collect();
    ground.written[0].becomes("spec: {enforcement: Warn}");
    eventually("Warn holds", SOON, || {
        let mode = ground.space.labels()["domicile.dev/enforcement"].clone();
        when(mode == "Warn", || mode)
    });
    let outside = bare_pod("away").with("spec: {nodeName: frankfurt-a}");
    eventually("the API server judges by it", SOON, || {
        let reply = ground.space.would_ask(outside.clone());
        when(reply.ok(), || reply.message)
    });
    let mut wrong = Vec::new();
    let mut refused = 0;
    for (object, enforced) in objects.iter().zip(&enforced) {
        let lenient = ground.space.would_ask(object.clone());
        let own =
            |reply: &Reply| !reply.ok() && rule(&reply.message).is_none() && !reply.message.contains("PodSecurity");
        if own(enforced) && own(&lenient) {
            continue; // what Kubernetes itself takes in no mode
        }
        refused += u32::from(!enforced.ok());
        wrong.extend(disagreement(enforced, &lenient).map(|why| format!("{why}\n{}", object.0)));
    }
    say(&format!("differential in two modes: {} objects, {refused} refused", objects.len()));
    assert!(wrong.is_empty(), "{} of {}: {}", wrong.len(), objects.len(), wrong[..wrong.len().min(5)].join("\n"));
    assert!(refused > 0 && (refused as usize) < objects.len());
}
