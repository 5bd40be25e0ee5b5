//! Namespace, claim, pod and Deployment from one `kubectl apply -f`, a hundred times: nothing is ever out of the country.
//!
//! The namespace is new and everything in it comes at once, so now and then the API server says "try again". How often is
//! printed; that it is never let through is tested.

use std::sync::atomic::{AtomicUsize, Ordering};

use crate::{placement::on_the_mainland, support::prelude::*};

const TIMES: usize = 100;
const AT_ONCE: usize = 2;

/// Applies until all of it is there; returns how often "try again" was said.
fn apply(stage: &Turn, name: &str, yaml: &str) -> usize {
    let mut again = 0;
    eventually(&format!("all of {name} is there"), SOON, || {
        let said = stage.tenant.kubectl_with("apply -f -", yaml);
        if said.ok() {
            return Ok(());
        }
        let errors: Vec<&str> = said.errors.lines().filter(|line| line.starts_with("Error")).collect();
        assert!(!errors.is_empty() && errors.iter().all(|line| asks_for_another_try(line)), "{}", said.errors);
        again += 1;
        Err(said.errors)
    });
    again
}

#[test]
fn one_apply_of_everything_never_leads_out() {
    let stage = shared();
    let (again, next, clean) = (AtomicUsize::new(0), AtomicUsize::new(0), AtomicUsize::new(0));
    // A namespace that lends its words: names differ, pins are the same.
    let model = stage.governed("mainland");
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            // With the test's name, by which `tests/e2e/run` knows who waited in vain.
            let named = std::thread::Builder::new().name(std::thread::current().name().unwrap_or("test").to_owned());
            let rounds = || {
                while let number @ 0..TIMES = next.fetch_add(1, Ordering::Relaxed) {
                    let retries = one_round(&stage, &model, number);
                    again.fetch_add(retries, Ordering::Relaxed);
                    clean.fetch_add(usize::from(retries == 0), Ordering::Relaxed);
                }
            };
            named.spawn_scoped(scope, rounds).unwrap();
        }
    });
    say(&format!(
        "apply of namespace, claim, pod and Deployment: {TIMES} times, {} without a retry, \"try again\" was said in {} tries",
        clean.into_inner(),
        again.into_inner()
    ));
}

fn one_round(stage: &Turn, model: &Namespace, number: usize) -> usize {
    let name = format!("apply-{}-{number}", std::process::id());
    let namespace = format!(
        "{{apiVersion: v1, kind: Namespace, metadata: {{name: {name}, labels: {{domicile.dev/residency: mainland}}}}}}\n---\n"
    );
    let deployment = model.deployment("web", 1);
    let objects = [model.claim("data"), model.pod("first").with(&mounting("data")), deployment];
    let yaml: String =
        std::iter::once(namespace).chain(objects.into_iter().map(|object| object.in_namespace(&name).text())).collect();
    let retries = apply(stage, &name, &yaml);
    let pods = || stage.admin.list(&POD, &name);
    eventually(&format!("pods of {name} run"), LATER, || {
        let pods = pods();
        if let Some(out) =
            pods.iter().find(|pod| pod["spec"]["nodeName"].as_str().is_some_and(|node| !on_the_mainland(node)))
        {
            panic!("OUT: pod {} of {name} on {}", out["metadata"]["name"], out["spec"]["nodeName"]);
        }
        when(pods.len() >= 2 && pods.iter().all(|pod| pod["status"]["phase"] == "Running"), || json!(pods).to_string())
    });
    let claim = stage.admin.get(&CLAIM, &name, "data");
    assert_eq!(claim["spec"]["storageClassName"], "mainland-ssd");
    stage.tenant.delete(&NAMESPACE, "", &name).expected();
    retries
}
