//! A namespace of a test, in which a tenant works.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicUsize, Ordering},
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use super::{
    installation::Installation,
    kinds::{EVENT, Kind, NAMESPACE, POD},
    manifest::Manifest,
    reply::Reply,
    user::User,
    wait::{SOON, eventually, when},
};

const RESIDENCY: &str = "domicile.dev/residency";
/// Prefix of the labels by which nodes are verified for a residency.
pub const PIN: &str = "residency.domicile.dev.node-restriction.kubernetes.io/";
/// How long "try again in a second" is obeyed.
const PATIENCE: Duration = SOON;

/// A namespace, deleted when the test ends.
pub struct Namespace {
    pub name: String,
    residency: String,
    admin: User,
    /// Who works in it.
    pub tenant: User,
    mutates: bool,
    mutates_without_operator: bool,
}

impl Installation {
    /// A namespace that names a residency (several are joined by `_`), is confined for it, and whose pods are bound: an operator
    /// that has just been started does not know that nothing in it is older, and holds them for twelve seconds.
    #[track_caller]
    pub fn governed(&self, residency: &str) -> Namespace {
        let namespace = self.namespace(&format!("{{{RESIDENCY}: {residency}}}"));
        namespace.is_confined();
        if namespace.labels().get("domicile.dev/enforcement").is_some_and(|mode| mode == "Enforce") {
            eventually(&format!("pods of {} are bound", namespace.name), SOON, || {
                let held = namespace.annotation("domicile.dev/held-pods");
                when(held != "*", || held)
            });
        }
        namespace
    }

    /// A namespace that names no residency.
    #[track_caller]
    pub fn ungoverned(&self) -> Namespace {
        self.namespace("{}")
    }

    /// A namespace with labels, which is not waited for.
    #[track_caller]
    pub fn namespace(&self, labels: &str) -> Namespace {
        let manifest = Manifest::from("{apiVersion: v1, kind: Namespace, metadata: {}}")
            .named(&fresh_name())
            .with(&format!("metadata: {{labels: {labels}}}"));
        let residency = manifest.0["metadata"]["labels"][RESIDENCY].as_str().unwrap_or_default().to_owned();
        self.tenant.create(&manifest).expected();
        Namespace {
            name: manifest.name().to_owned(),
            residency,
            admin: self.admin.clone(),
            tenant: self.tenant.clone(),
            mutates: self.mutates(),
            mutates_without_operator: self.has_mutating_policies(),
        }
    }
}

/// A name that no other test has.
pub fn fresh_name() -> String {
    static COUNT: AtomicUsize = AtomicUsize::new(1);
    let thread = std::thread::current();
    let test = thread.name().unwrap_or("test").replace("::", "-").replace('_', "-");
    let short: String = test.chars().take(40).collect();
    format!("{}-{}-{}", short.trim_end_matches('-'), std::process::id() % 10_000, COUNT.fetch_add(1, Ordering::Relaxed))
}

impl Namespace {
    /// Waits until the namespace is confined for what it names and things may start in it.
    #[track_caller]
    pub fn is_confined(&self) {
        eventually(&format!("namespace {} is confined", self.name), SOON, || {
            let labels = self.labels();
            let confined = labels.get("domicile.dev/confined-for") == labels.get(RESIDENCY);
            when(confined && self.annotation("domicile.dev/refused-because") == "-", || {
                self.object()["metadata"].to_string()
            })
        });
    }

    /// Waits until the API server takes pods for want of nothing: that their ServiceAccount is there, as it sees it.
    #[track_caller]
    pub fn has_its_account(&self) {
        let pod = bare_pod("account").in_namespace(&self.name);
        eventually("the namespace has its ServiceAccount", SOON, || {
            let reply = self.tenant.try_create(&pod);
            when(!reply.message.contains("serviceaccount"), || reply.message)
        });
    }

    /// Labels the namespace with a residency, as its owner does, and waits until it is confined.
    #[track_caller]
    pub fn joins(&mut self, residency: &str) {
        self.label(RESIDENCY, residency);
        self.residency = residency.to_owned();
        self.is_confined();
    }

    #[track_caller]
    pub fn label(&self, key: &str, value: &str) {
        self.tenant.patch(&NAMESPACE, "", &self.name, &json!({"metadata": {"labels": {key: value}}})).expected();
    }

    /// The tenant makes an object, which must be let in; in the end, where a webhook that narrows it answered late.
    #[track_caller]
    pub fn accepts(&self, manifest: impl Into<Manifest>) -> Value {
        let manifest = manifest.into();
        eventually("it is let in", SOON, || {
            let reply = self.asks(&manifest);
            when(!reply.message.contains("Or try again"), || reply.message.clone())?;
            Ok(reply)
        })
        .expected()
    }

    /// The tenant makes an object, which must be refused by a rule. Returns what the refusal says.
    #[track_caller]
    pub fn rejects(&self, manifest: impl Into<Manifest>, rule: &str) -> String {
        self.asks(manifest).refused(rule)
    }

    /// The same, where the rules have just changed: the API server judges by a cache that is a moment behind.
    #[track_caller]
    pub fn comes_to_reject(&self, manifest: impl Into<Manifest>, rule: &str) -> String {
        let manifest = manifest.into().in_namespace(&self.name);
        let refused = eventually(&format!("{rule} refuses"), SOON, || {
            let reply = self.tenant.try_create(&manifest);
            if reply.ok() { Err("it passes".to_owned()) } else { Ok(reply) }
        });
        refused.refused(rule)
    }

    /// The tenant makes an object; "try again" is obeyed, since a cache of the server may be a moment behind.
    pub fn asks(&self, manifest: impl Into<Manifest>) -> Reply {
        let manifest = manifest.into().in_namespace(&self.name);
        self.patiently(|| self.tenant.create(&manifest))
    }

    /// As [`Self::asks`], but nothing is made.
    pub fn would_ask(&self, manifest: impl Into<Manifest>) -> Reply {
        let manifest = manifest.into().in_namespace(&self.name);
        self.patiently(|| self.tenant.try_create(&manifest))
    }

    /// Asks, and obeys "try again": right after a confinement a cache of the server may be a moment behind.
    pub fn patiently(&self, ask: impl Fn() -> Reply) -> Reply {
        let end = Instant::now() + PATIENCE;
        loop {
            let reply = ask();
            if !reply.try_again() || Instant::now() > end {
                return reply;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// From now on no operator runs: what its webhook would add, the tenant writes.
    pub fn loses_the_operator(&mut self) {
        self.mutates &= self.mutates_without_operator;
    }

    /// Whether the API server adds what tenants leave out.
    pub fn mutates(&self) -> bool {
        self.mutates
    }

    /// A small pod as a tenant of this cluster writes it: with its pins where nothing adds them.
    pub fn pod(&self, name: &str) -> Manifest {
        let pod = bare_pod(name);
        if self.mutates { pod } else { pod.with(&format!("spec: {}", self.pinned())) }
    }

    /// The beginning of a pod's spec as a tenant of this cluster writes it: `{nodeSelector: …}` where nothing adds the pins.
    pub fn pinned(&self) -> String {
        if self.mutates || self.residency.is_empty() {
            return "{}".to_owned();
        }
        json!({"nodeSelector": self.pins()}).to_string()
    }

    /// The node selector that holds pods of this namespace in the country.
    pub fn pins(&self) -> BTreeMap<String, String> {
        self.residency.split('_').map(|name| (format!("{PIN}{name}"), "true".to_owned())).collect()
    }

    /// Waits until a pod runs and returns its node.
    #[track_caller]
    pub fn runs(&self, pod: &str) -> String {
        eventually(&format!("pod {}/{pod} runs", self.name), SOON, || {
            let seen = self.find(&POD, pod).ok_or("it is not there")?;
            when(matches!(seen["status"]["phase"].as_str(), Some("Running" | "Succeeded")), || {
                seen["status"].to_string()
            })?;
            Ok(seen["spec"]["nodeName"].as_str().unwrap_or_default().to_owned())
        })
    }

    /// Waits until the scheduler said that a pod fits nowhere.
    #[track_caller]
    pub fn fits_nowhere(&self, pod: &str) {
        eventually(&format!("pod {}/{pod} fits nowhere", self.name), SOON, || {
            let seen = self.get(&POD, pod);
            assert!(seen["spec"]["nodeName"].is_null(), "pod {pod} was put on {}", seen["spec"]["nodeName"]);
            let conditions = seen["status"]["conditions"].as_array().cloned().unwrap_or_default();
            when(conditions.iter().any(|condition| condition["reason"] == "Unschedulable"), || {
                seen["status"].to_string()
            })
        });
    }

    pub fn find(&self, kind: &Kind, name: &str) -> Option<Value> {
        self.admin.find(kind, &self.name, name)
    }

    #[track_caller]
    pub fn get(&self, kind: &Kind, name: &str) -> Value {
        self.admin.get(kind, &self.name, name)
    }

    #[track_caller]
    pub fn list(&self, kind: &Kind) -> Vec<Value> {
        self.admin.list(kind, &self.name)
    }

    /// The tenant changes an object by merge patch.
    pub fn patch(&self, kind: &Kind, name: &str, yaml: &str) -> Reply {
        self.tenant.patch(kind, &self.name, name, &super::manifest::parse(yaml))
    }

    pub fn delete(&self, kind: &Kind, name: &str) -> Reply {
        self.tenant.delete(kind, &self.name, name)
    }

    /// Waits until an object in the namespace is there no more.
    #[track_caller]
    pub fn loses(&self, kind: &Kind, name: &str) {
        self.admin.sees_the_end_of(kind, &self.name, name);
    }

    /// Deletes the namespace and waits until it is gone.
    #[track_caller]
    pub fn is_deleted(&self) {
        self.tenant.delete(&NAMESPACE, "", &self.name).expected();
        self.admin.sees_the_end_of(&NAMESPACE, "", &self.name);
    }

    /// The namespace itself.
    #[track_caller]
    pub fn object(&self) -> Value {
        self.admin.get(&NAMESPACE, "", &self.name)
    }

    pub fn labels(&self) -> BTreeMap<String, String> {
        serde_json::from_value(self.object()["metadata"]["labels"].clone()).unwrap_or_default()
    }

    /// An annotation, or nothing at all.
    pub fn annotation(&self, key: &str) -> String {
        self.object()["metadata"]["annotations"][key].as_str().unwrap_or_default().to_owned()
    }

    /// What events say about the namespace and everything in it, each with its reason and object.
    pub fn events(&self) -> Vec<String> {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let line = |event: &Value| {
            let object = &event["involvedObject"];
            format!(
                "{} {} {}: {}",
                text(&event["reason"]),
                text(&object["kind"]),
                text(&object["name"]),
                text(&event["message"])
            )
        };
        // Events about the namespace itself lie in `default`, as those of all objects of the cluster do.
        let path = format!("{}?fieldSelector=involvedObject.name={}", EVENT.collection("default"), self.name);
        let own = self.admin.get_at(&path).object["items"].as_array().cloned().unwrap_or_default();
        self.list(&EVENT).iter().chain(&own).map(line).collect()
    }

    /// Waits for an event that says all of `words`.
    #[track_caller]
    pub fn tells(&self, words: &[&str]) {
        eventually(&format!("an event in {} says {words:?}", self.name), SOON, || {
            let events = self.events();
            when(events.iter().any(|event| words.iter().all(|word| event.contains(word))), || events.join("\n"))
        });
    }
}

/// A small pod that says nothing about where it runs.
pub fn bare_pod(name: &str) -> Manifest {
    Manifest::from(
        "{apiVersion: v1, kind: Pod, metadata: {}, spec: {containers: [{name: main, image: registry.example/app}]}}",
    )
    .named(name)
}

impl Drop for Namespace {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let metadata = &self.admin.get_at(&NAMESPACE.path("", &self.name)).object["metadata"];
            eprintln!("namespace {}: {} {}", self.name, metadata["labels"], metadata["annotations"]);
            let pods = self.admin.get_at(&POD.collection(&self.name)).object;
            for pod in pods["items"].as_array().into_iter().flatten() {
                eprintln!(
                    "  pod {} on {}: {}",
                    pod["metadata"]["name"], pod["spec"]["nodeName"], pod["status"]["phase"]
                );
            }
        }
        let _ = self.admin.delete(&NAMESPACE, "", &self.name);
    }
}
