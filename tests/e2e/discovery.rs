//! Everything that the API server lets anybody write is judged by a fixed policy, or listed here with the reason why not. Deletions
//! are left out: few of them open anything, and those are tried elsewhere (`network`, `storage`).
//!
//! A new Kubernetes minor that serves something new makes this fail until somebody has thought about it.

use std::collections::{BTreeMap, BTreeSet};

use crate::support::prelude::*;

/// Group, resource, why it is not judged.
type Reason = (&'static str, &'static str, &'static str);

/// In namespaces; cannot lead out.
const HARMLESS: &[Reason] = &[
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

/// Of the cluster: no tenant has them, and no residency is known where no namespace is.
const OF_THE_CLUSTER: &[Reason] = &[
    ("", "nodes/proxy", "a kubelet's API: whoever is given it by RBAC has every pod of the node"),
    ("", "persistentvolumes", "where the volume of a claim lies is told; claims that name one need the verb adopt"),
    ("", "persistentvolumes/status", "phases"),
    (
        "admissionregistration.k8s.io",
        "mutatingadmissionpolicies",
        "no policy judges policies; static ones outlive these",
    ),
    ("admissionregistration.k8s.io", "mutatingadmissionpolicybindings", "no policy judges policies"),
    ("admissionregistration.k8s.io", "mutatingwebhookconfigurations", "whom it sends objects to is told"),
    (
        "admissionregistration.k8s.io",
        "validatingadmissionpolicies",
        "no policy judges policies; static ones outlive these",
    ),
    ("admissionregistration.k8s.io", "validatingadmissionpolicies/status", "what the API server thinks of its types"),
    ("admissionregistration.k8s.io", "validatingadmissionpolicybindings", "no policy judges policies"),
    ("admissionregistration.k8s.io", "validatingwebhookconfigurations", "whom it sends objects to is told"),
    ("apiextensions.k8s.io", "customresourcedefinitions", "a kind; those that are known to open something are judged"),
    ("apiextensions.k8s.io", "customresourcedefinitions/status", "whether it is served"),
    ("apiregistration.k8s.io", "apiservices", "whom it sends objects to is told"),
    ("apiregistration.k8s.io", "apiservices/status", "whether it answers"),
    ("authentication.k8s.io", "selfsubjectreviews", "a question"),
    ("authentication.k8s.io", "tokenreviews", "a question"),
    ("authorization.k8s.io", "selfsubjectaccessreviews", "a question"),
    ("authorization.k8s.io", "selfsubjectrulesreviews", "a question"),
    ("authorization.k8s.io", "subjectaccessreviews", "a question"),
    ("certificates.k8s.io", "certificatesigningrequests", "who somebody is; what he may, RBAC says"),
    ("certificates.k8s.io", "certificatesigningrequests/approval", "who somebody is; what he may, RBAC says"),
    ("certificates.k8s.io", "certificatesigningrequests/status", "the certificate"),
    ("certificates.k8s.io", "clustertrustbundles", "certificates that pods may read"),
    ("domicile.dev", "datacenters", "attested by those to whom RBAC leaves that; its form is the schema's"),
    ("domicile.dev", "datacenters/status", "what Domicile tells"),
    ("domicile.dev", "dataresidencies/status", "what Domicile tells"),
    ("flowcontrol.apiserver.k8s.io", "flowschemas", "who waits for whom"),
    ("flowcontrol.apiserver.k8s.io", "flowschemas/status", "whether it works"),
    ("flowcontrol.apiserver.k8s.io", "prioritylevelconfigurations", "who waits for whom"),
    ("flowcontrol.apiserver.k8s.io", "prioritylevelconfigurations/status", "whether it works"),
    ("networking.k8s.io", "ingressclasses", "which controller serves Ingresses, which are judged"),
    ("networking.k8s.io", "ipaddresses", "which address of Services is taken"),
    ("networking.k8s.io", "servicecidrs", "from which addresses Services get theirs; where a Service leads is judged"),
    ("networking.k8s.io", "servicecidrs/status", "whether it is used"),
    ("node.k8s.io", "runtimeclasses", "what runs a pod, and labels of its nodes beside the pins"),
    ("rbac.authorization.k8s.io", "clusterrolebindings", "rights in all namespaces are RBAC's"),
    ("rbac.authorization.k8s.io", "clusterroles", "rights of nobody"),
    (
        "resource.k8s.io",
        "deviceclasses",
        "which devices suit; those a claim is given are judged in resourceclaims/status",
    ),
    ("resource.k8s.io", "devicetaintrules", "takes devices away"),
    ("resource.k8s.io", "devicetaintrules/status", "counts"),
    ("resource.k8s.io", "resourcepoolstatusrequests", "a question"),
    ("resource.k8s.io", "resourcepoolstatusrequests/status", "its answer"),
    (
        "resource.k8s.io",
        "resourceslices",
        "devices that a driver has; those a claim is given are judged in resourceclaims/status",
    ),
    ("scheduling.k8s.io", "priorityclasses", "who goes first"),
    ("storage.k8s.io", "csidrivers", "how a driver is called"),
    ("storage.k8s.io", "csinodes", "by which labels a driver places volumes; where the volume of a claim lies is told"),
    ("storage.k8s.io", "csinodes/status", "what a kubelet says of its drivers"),
    ("storage.k8s.io", "volumeattachments", "which node has a volume; the pods on it are judged"),
    ("storage.k8s.io", "volumeattachments/status", "whether it has it"),
    ("storage.k8s.io", "volumeattributesclasses", "claims that name one need the verb adopt"),
    ("storagemigration.k8s.io", "storageversionmigrations", "objects are written again as they are"),
    ("storagemigration.k8s.io", "storageversionmigrations/status", "how far that is"),
];

/// Judged, but not for this operation: group, resource, operation, why.
const NOT_FOR_ALL: &[(&str, &str, &str, &str)] = &[
    ("domicile.dev", "dataresidencies", "CREATE", "a new one holds for no namespace; its form is the schema's"),
    (
        "domicile.dev",
        "dataresidencies",
        "UPDATE",
        "who may write one decides what it asks for; one that asks for less is warned of",
    ),
];

/// Subresources that are asked for by CONNECT, whatever the HTTP method.
const CONNECTED: [&str; 4] = ["exec", "attach", "portforward", "proxy"];

type Resources = BTreeSet<(String, String)>;
/// Group, resource, and how admission calls what is done with it.
type Operation = (String, String, String);
type Operations = BTreeSet<Operation>;

fn words(list: &Value) -> impl Iterator<Item = &str> {
    list.as_array().into_iter().flatten().filter_map(Value::as_str)
}

/// What is served and can be written, by which operations.
fn served(stage: &Turn) -> Operations {
    let groups = stage.admin.get_at("/apis").object;
    // Definitions of other tests come and go.
    let is_own = |group: &&Value| !group["name"].as_str().unwrap().ends_with(".example.com");
    let groups = groups["groups"].as_array().unwrap().iter().filter(is_own);
    let versions = groups.flat_map(|group| group["versions"].as_array().unwrap());
    let mut paths = vec!["/api/v1".to_owned()];
    paths.extend(versions.map(|version| format!("/apis/{}", version["groupVersion"].as_str().unwrap())));
    let mut served = Operations::new();
    for path in paths {
        let group = path.strip_prefix("/apis/").and_then(|rest| rest.split('/').next()).unwrap_or_default();
        for resource in stage.admin.get_at(&path).object["resources"].as_array().into_iter().flatten() {
            let name = resource["name"].as_str().unwrap();
            let connects = name.split_once('/').is_some_and(|(_, part)| CONNECTED.contains(&part));
            let operation = |verb: &str| match verb {
                "create" | "update" | "patch" if connects => Some("CONNECT"),
                "create" => Some("CREATE"),
                "update" | "patch" => Some("UPDATE"),
                _ => None,
            };
            let operations = words(&resource["verbs"]).filter_map(operation);
            served.extend(operations.map(|operation| (group.to_owned(), name.to_owned(), operation.to_owned())));
        }
    }
    served
}

/// What the installed policies judge, for everybody. Those that only warn are let fail, and judge nothing.
fn judged(stage: &Turn) -> Operations {
    let policies = stage.admin.get_at("/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies").object;
    let ours = policies["items"].as_array().unwrap().iter().filter(|policy| {
        let name = policy["metadata"]["name"].as_str().unwrap();
        let refuses = policy["spec"]["failurePolicy"] == "Fail";
        refuses && name.starts_with("domicile-") && !name.starts_with("domicile-operator")
    });
    let rules = ours.flat_map(|policy| policy["spec"]["matchConstraints"]["resourceRules"].as_array().unwrap());
    let mut judged = Operations::new();
    for rule in rules {
        for group in words(&rule["apiGroups"]) {
            for name in words(&rule["resources"]) {
                let operations = words(&rule["operations"]);
                judged.extend(operations.map(|operation| (group.to_owned(), name.to_owned(), operation.to_owned())));
            }
        }
    }
    judged
}

#[test]
fn everything_that_can_be_written_is_judged_for_every_operation_or_has_a_reason() {
    let stage = shared();
    let (served, judged) = (served(&stage), judged(&stage));
    assert!(served.len() > 120 && judged.len() > 40, "{} served, {} judged", served.len(), judged.len());
    let listed: Resources = all_reasons().map(|(group, name, _)| ((*group).to_owned(), (*name).to_owned())).collect();
    let excepted: Operations = NOT_FOR_ALL
        .iter()
        .map(|(group, name, operation, _)| ((*group).to_owned(), (*name).to_owned(), (*operation).to_owned()))
        .collect();
    let resource = |(group, name, _): &Operation| (group.clone(), name.clone());
    let has_a_reason = |one: &Operation| excepted.contains(one) || listed.contains(&resource(one));
    let forgotten: Vec<_> = served.difference(&judged).filter(|one| !has_a_reason(one)).collect();
    assert!(forgotten.is_empty(), "judged by no policy, and listed nowhere: {forgotten:#?}");
    let twice: Vec<_> = judged.iter().filter(|one| has_a_reason(one)).collect();
    assert!(twice.is_empty(), "judged, and listed as not judged: {twice:#?}");
}

fn all_reasons() -> impl Iterator<Item = &'static Reason> {
    HARMLESS.iter().chain(OF_THE_CLUSTER)
}

#[test]
fn every_reason_stands_once() {
    let mut seen = BTreeMap::new();
    for (group, resource, reason) in all_reasons() {
        assert!(!reason.is_empty());
        assert_eq!(seen.insert((group, resource), reason), None, "{group}/{resource} is listed twice");
    }
}
