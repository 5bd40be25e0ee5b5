//! Everything that the API server lets a tenant write is judged by a fixed policy, or listed here with the reason why not.
//!
//! A new Kubernetes minor that serves something new makes this fail until somebody has thought about it.

use std::collections::{BTreeMap, BTreeSet};

use crate::support::prelude::*;

/// Cannot lead out: group, resource, why.
const HARMLESS: &[(&str, &str, &str)] = &[
    ("", "configmaps", "data that stays in etcd; who mounts it is a pod, which is judged"),
    ("", "events", "words about objects"),
    ("", "limitranges", "bounds of resources"),
    ("", "resourcequotas", "bounds of numbers"),
    ("", "resourcequotas/status", "counts"),
    ("", "serviceaccounts", "an identity without rights of its own; rights come by RoleBindings, which are judged"),
    ("", "pods/ephemeralcontainers", "a container of a pod that stands already, without volumes of its own"),
    ("", "pods/eviction", "an end"),
    ("", "pods/resize", "amounts of CPU and memory"),
    ("", "podtemplates", "used by nobody"),
    ("", "replicationcontrollers", "its pods are judged one by one"),
    ("", "replicationcontrollers/scale", "a number"),
    ("", "replicationcontrollers/status", "counts"),
    ("apps", "controllerrevisions", "history of templates; their pods are judged"),
    ("apps", "daemonsets/status", "counts"),
    ("apps", "deployments", "its pods are judged one by one"),
    ("apps", "deployments/scale", "a number"),
    ("apps", "deployments/status", "counts"),
    ("apps", "replicasets", "its pods are judged one by one"),
    ("apps", "replicasets/scale", "a number"),
    ("apps", "replicasets/status", "counts"),
    ("apps", "statefulsets", "its pods and claims are judged one by one"),
    ("apps", "statefulsets/scale", "a number"),
    ("apps", "statefulsets/status", "counts"),
    ("authorization.k8s.io", "localsubjectaccessreviews", "a question"),
    ("autoscaling", "horizontalpodautoscalers", "numbers of pods"),
    ("autoscaling", "horizontalpodautoscalers/status", "counts"),
    ("batch", "cronjobs", "the pods of its Jobs are judged one by one"),
    ("batch", "cronjobs/status", "times"),
    ("batch", "jobs", "its pods are judged one by one"),
    ("batch", "jobs/status", "counts"),
    ("certificates.k8s.io", "podcertificaterequests", "a kubelet's request for a certificate of a pod"),
    ("certificates.k8s.io", "podcertificaterequests/status", "the certificate"),
    ("coordination.k8s.io", "leases", "who leads"),
    ("events.k8s.io", "events", "words about objects"),
    ("networking.k8s.io", "ingresses/status", "addresses that a controller serves; Ingresses are judged"),
    ("policy", "poddisruptionbudgets", "how many pods may be evicted"),
    ("policy", "poddisruptionbudgets/status", "counts"),
    ("rbac.authorization.k8s.io", "roles", "rights of nobody; who gets them is a RoleBinding, which is judged"),
    ("resource.k8s.io", "resourceclaims", "a wish; the devices it is given are judged in resourceclaims/status"),
    ("resource.k8s.io", "resourceclaimtemplates", "wishes"),
    ("storage.k8s.io", "csistoragecapacities", "how much room a driver says it has"),
];

type Resources = BTreeSet<(String, String)>;

fn words(list: &Value) -> impl Iterator<Item = &str> {
    list.as_array().into_iter().flatten().filter_map(Value::as_str)
}

/// What is served in namespaces and can be written.
fn served(stage: &Turn) -> Resources {
    let groups = stage.admin.get_at("/apis").object;
    // Definitions of other tests come and go.
    let is_own = |group: &&Value| !group["name"].as_str().unwrap().ends_with(".example.com");
    let groups = groups["groups"].as_array().unwrap().iter().filter(is_own);
    let versions = groups.flat_map(|group| group["versions"].as_array().unwrap());
    let mut paths = vec!["/api/v1".to_owned()];
    paths.extend(versions.map(|version| format!("/apis/{}", version["groupVersion"].as_str().unwrap())));
    let mut served = Resources::new();
    for path in paths {
        let group = path.strip_prefix("/apis/").and_then(|rest| rest.split('/').next()).unwrap_or_default();
        for resource in stage.admin.get_at(&path).object["resources"].as_array().into_iter().flatten() {
            let written = words(&resource["verbs"]).any(|verb| ["create", "update", "patch"].contains(&verb));
            if written && resource["namespaced"] == true {
                served.insert((group.to_owned(), resource["name"].as_str().unwrap().to_owned()));
            }
        }
    }
    served
}

/// What the installed policies judge in namespaces that name a residency, for everybody.
fn judged(stage: &Turn) -> Resources {
    let policies = stage.admin.get_at("/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies").object;
    let ours = policies["items"].as_array().unwrap().iter().filter(|policy| {
        let name = policy["metadata"]["name"].as_str().unwrap();
        name.starts_with("domicile-") && !name.starts_with("domicile-operator")
    });
    let rules = ours.flat_map(|policy| policy["spec"]["matchConstraints"]["resourceRules"].as_array().unwrap());
    let mut judged = Resources::new();
    for rule in rules {
        for group in words(&rule["apiGroups"]) {
            judged.extend(words(&rule["resources"]).map(|name| (group.to_owned(), name.to_owned())));
        }
    }
    judged
}

#[test]
fn everything_that_can_be_written_in_a_namespace_is_judged_or_has_a_reason() {
    let stage = shared();
    let (served, judged) = (served(&stage), judged(&stage));
    assert!(served.len() > 40 && judged.len() > 20, "{} served, {} judged", served.len(), judged.len());
    let id = |entry: &(&str, &str, &str)| (entry.0.to_owned(), entry.1.to_owned());
    let listed: Resources = HARMLESS.iter().map(id).collect();
    let forgotten: Vec<_> = served.iter().filter(|one| !judged.contains(one) && !listed.contains(one)).collect();
    assert!(forgotten.is_empty(), "judged by no policy, and listed nowhere: {forgotten:#?}");
    let twice: Vec<_> = listed.intersection(&judged).collect();
    assert!(twice.is_empty(), "judged, and listed as not judged: {twice:#?}");
}

#[test]
fn every_reason_stands_once() {
    let mut seen = BTreeMap::new();
    for (group, resource, reason) in HARMLESS.iter() {
        assert!(!reason.is_empty());
        assert_eq!(seen.insert((group, resource), reason), None, "{group}/{resource} is listed twice");
    }
}
