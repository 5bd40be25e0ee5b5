//! Pods: where they say to run, and what they mount.

use domicile::observe::{Pod, pod::LivePod};
use proptest::strategy::Strategy as _;
use serde_json::Map;

use super::{
    Comparison, OfAdmission,
    ground::{Ground, Seen},
    words::{Json, either, just, labels, list, named, object, one_of, words},
};
use crate::support::prelude::*;

pub const PODS: Comparison = Comparison {
    name: "pods",
    otherwise: &[("domicile/placement", "domicile/held-pod"), ("domicile/false-pin", "domicile/held-pod")],
    of_admission: &[
        OfAdmission {
            says: "[domicile/node-name]",
            because: "of a pod that stands the node counts, not who chose it",
            applies: Some(|pod, _| pod["spec"]["nodeName"].as_str().is_some_and(|name| !name.is_empty())),
        },
        OfAdmission {
            says: "[domicile/scheduler-name]",
            because: "of a pod that stands the node counts; unbound ones are bound by trusted schedulers only",
            applies: Some(|pod, _| {
                !matches!(pod["spec"]["schedulerName"].as_str(), None | Some("" | "default-scheduler"))
            }),
        },
        OfAdmission {
            says: "[domicile/mirror-pod]",
            because: "a static pod that stands is judged by its node",
            applies: Some(|pod, _| pod["metadata"]["annotations"].get("kubernetes.io/config.mirror").is_some()),
        },
        OfAdmission {
            says: "[domicile/ephemeral-volume]",
            because: "of a pod that stands the claim is judged, which was made from the template",
            applies: Some(names_a_foreign_class),
        },
        OfAdmission {
            says: "violates PodSecurity \"baseline:latest\"",
            because: "Kubernetes' own rules of privilege; what of it gives a pod its node the audit judges, too",
            applies: None,
        },
        OfAdmission { says: "a mirror pod may not", because: "Kubernetes' own rules of mirror pods", applies: None },
    ],
    finds: |ground, pod| ground.finds(&Seen::Pod(Pod::from(typed::<LivePod>(pod)))),
};

fn names_a_foreign_class(pod: &Value, ground: &Ground) -> bool {
    let volumes = pod["spec"]["volumes"].as_array();
    let named = volumes
        .into_iter()
        .flatten()
        .filter_map(|volume| volume["ephemeral"]["volumeClaimTemplate"]["spec"]["storageClassName"].as_str());
    named.into_iter().any(|class| !ground.confined.confinement.storage_classes.iter().any(|own| own == class))
}

/// Every kind of volume that Kubernetes knows, and none.
fn volume(residency: &str) -> Json {
    let sources = [
        "{emptyDir: {}}",
        "{}",
        "{configMap: {name: c, optional: true}}",
        "{secret: {secretName: s, optional: true}}",
        "{downwardAPI: {items: [{path: labels, fieldRef: {fieldPath: metadata.labels}}]}}",
        "{projected: {sources: [{configMap: {name: c}}]}}",
        "{projected: {sources: []}}",
        "{persistentVolumeClaim: {claimName: data}}",
        "{image: {reference: registry.example/data, pullPolicy: Never}}",
        "{csi: {driver: secrets-store.csi.k8s.io, readOnly: true}}",
        "{csi: {driver: csi.cert-manager.io}}",
        "{csi: {driver: s3.csi.example.com}}",
        "{csi: {driver: secrets-store.csi.k8s.io.example.com}}",
        "{nfs: {server: 198.51.100.7, path: /}}",
        "{iscsi: {targetPortal: 198.51.100.7, iqn: 'iqn.2001-04.com.example:storage', lun: 0}}",
        "{rbd: {monitors: [198.51.100.7], image: i}}",
        "{cephfs: {monitors: [198.51.100.7]}}",
        "{glusterfs: {endpoints: e, path: p}}",
        "{hostPath: {path: /}}",
        "{gcePersistentDisk: {pdName: d}}",
        "{awsElasticBlockStore: {volumeID: v}}",
        "{azureDisk: {diskName: d, diskURI: 'https://example.com/d.vhd'}}",
        "{azureFile: {secretName: s, shareName: f}}",
        "{vsphereVolume: {volumePath: p}}",
        "{cinder: {volumeID: v}}",
        "{fc: {targetWWNs: ['50060e801049cfd1'], lun: 0}}",
        "{flexVolume: {driver: example.com/driver}}",
        "{flocker: {datasetName: d}}",
        "{quobyte: {registry: '198.51.100.7:7861', volume: v}}",
        "{portworxVolume: {volumeID: v}}",
        "{scaleIO: {gateway: 'https://198.51.100.7', system: s, secretRef: {name: secret}, volumeName: v}}",
        "{storageos: {volumeName: v}}",
        "{gitRepo: {repository: 'https://example.com/r.git'}}",
    ];
    let classes =
        [None, Some("RESIDENCY-ssd"), Some("RESIDENCY-hdd"), Some(""), Some("standard"), Some("RESIDENCY-ssd,")];
    let ephemeral = classes.map(|class| {
        let mut template = parse("{spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}}");
        if let Some(class) = class {
            template["spec"]["storageClassName"] = json!(class.replace("RESIDENCY", residency));
        }
        json!({"ephemeral": {"volumeClaimTemplate": template}})
    });
    either(vec![one_of(sources.iter().map(|source| parse(source)).collect()), one_of(ephemeral.to_vec())])
}

/// Pins, true and false, and whatever else people select nodes by.
fn node_selector(residencies: &[&str]) -> Json {
    let own = format!("{PIN}{}", residencies[0]);
    let (other, longer) = (format!("{PIN}mainland"), format!("{own}-2"));
    let pins = [
        json!({&own: "true"}),
        json!({}),
        json!({&own: "false"}),
        json!({&own: ""}),
        json!({&own: "TRUE"}),
        json!({&own: "true", "kubernetes.io/hostname": "frankfurt-a"}),
        json!({&other: "true"}),
        json!({&other: "false", &own: "true"}),
        json!({&longer: "true"}),
        json!({"topology.kubernetes.io/region": "eu-central-1"}),
        json!({"residency.domicile.dev.node-restriction.kubernetes.io": "true"}),
    ];
    let all: Map<String, Value> = residencies.iter().map(|name| (format!("{PIN}{name}"), json!("true"))).collect();
    let right = vec![Value::Object(all); 8];
    one_of([right, pins.to_vec()].concat())
}

fn affinity() -> Json {
    let keys = words(&["kubernetes.io/hostname", "topology.kubernetes.io/region", "example.com/x"]);
    let demand = either(vec![
        object(vec![("key", 1.0, keys.clone()), ("operator", 1.0, words(&["Exists", "DoesNotExist"]))]),
        object(vec![
            ("key", 1.0, keys),
            ("operator", 1.0, words(&["In", "NotIn"])),
            ("values", 1.0, list(words(&["frankfurt-a", "eu-central-1"]), 1..=2)),
        ]),
    ]);
    let field = parse("[{key: metadata.name, operator: In, values: [frankfurt-a]}]");
    let term = object(vec![("matchExpressions", 0.7, list(demand, 0..=2)), ("matchFields", 0.2, just(field))]);
    let terms = object(vec![("nodeSelectorTerms", 1.0, list(term, 1..=3))]);
    let node = object(vec![("requiredDuringSchedulingIgnoredDuringExecution", 0.8, terms)]);
    object(vec![("nodeAffinity", 0.9, node)])
}

fn container() -> Json {
    let port = object(vec![("containerPort", 1.0, just(json!(80))), ("hostPort", 0.3, just(json!(80)))]);
    let hook = || {
        let hosts = [
            "{port: 80}",
            "{host: 198.51.100.7, port: 80}",
            "{host: '', port: 80}",
            "{host: db.example.com, port: 80}",
        ];
        let ways = ["httpGet", "tcpSocket"];
        let all = ways.iter().flat_map(|way| hosts.iter().map(|host| json!({*way: parse(host)})));
        one_of(all.collect())
    };
    let limits = one_of(vec![json!({}), parse("{requests: {cpu: 10m}, limits: {memory: 64Mi}}")]);
    let variable = parse("[{name: NODE, valueFrom: {fieldRef: {fieldPath: spec.nodeName}}}]");
    object(vec![
        ("image", 1.0, just(json!("registry.example/app"))),
        ("ports", 0.1, list(port, 0..=1)),
        ("livenessProbe", 0.05, hook()),
        ("readinessProbe", 0.03, hook()),
        ("startupProbe", 0.03, hook()),
        ("lifecycle", 0.05, object(vec![("postStart", 0.5, hook()), ("preStop", 0.5, hook())])),
        ("resources", 0.2, limits),
        ("env", 0.2, just(variable)),
        ("securityContext", 0.2, one_of(vec![json!({}), json!({"privileged": false}), json!({"privileged": true})])),
    ])
}

/// Containers that end before the others begin, and those that stay beside them.
fn init_container() -> Json {
    either(vec![
        container()
            .prop_map(|mut container| {
                for field in ["livenessProbe", "readinessProbe", "startupProbe", "lifecycle"] {
                    container.as_object_mut().unwrap().remove(field);
                }
                container
            })
            .boxed(),
        container()
            .prop_map(|mut container| {
                container["restartPolicy"] = json!("Always");
                container
            })
            .boxed(),
    ])
}

/// Everything beside the node selector by which people say where a pod is to run, and how it is found.
fn wishes() -> Vec<(&'static str, f64, Json)> {
    let spread = parse(
        "[{maxSkew: 1, topologyKey: topology.kubernetes.io/zone, whenUnsatisfiable: DoNotSchedule, labelSelector: {matchLabels: {app: web}}}]",
    );
    let tolerations = [
        "[{operator: Exists}]",
        "[{key: node.kubernetes.io/unschedulable, operator: Exists, effect: NoSchedule}]",
        "[]",
    ];
    let dns = parse("{nameservers: [198.51.100.53], searches: [example.com]}");
    vec![
        ("affinity", 0.3, affinity()),
        ("tolerations", 0.2, one_of(tolerations.map(parse).to_vec())),
        ("topologySpreadConstraints", 0.1, just(spread)),
        ("priorityClassName", 0.05, words(&["system-cluster-critical", "system-node-critical", ""])),
        ("dnsPolicy", 0.1, words(&["ClusterFirst", "Default", "ClusterFirstWithHostNet"])),
        ("dnsConfig", 0.1, just(dns)),
        ("hostAliases", 0.1, just(parse("[{ip: 198.51.100.7, hostnames: [db.example.com]}]"))),
        ("hostname", 0.1, words(&["web"])),
        ("setHostnameAsFQDN", 0.05, one_of(vec![json!(false), json!(true)])),
        ("shareProcessNamespace", 0.05, just(json!(true))),
        ("terminationGracePeriodSeconds", 0.1, just(json!(0))),
        ("os", 0.05, just(json!({"name": "linux"}))),
    ]
}

pub fn pod(residencies: &[&str]) -> Json {
    let residency = residencies[0];
    let mirror = words(&["abc", ""]);
    let annotations = object(vec![
        ("kubernetes.io/config.mirror", 0.2, mirror),
        ("example.com/note", 0.5, words(&["-"])),
        ("k8s.v1.cni.cncf.io/networks", 0.15, words(&["macvlan", ""])),
        ("k8s.aliyun.com/pod-with-eip", 0.1, words(&["true", "false"])),
        ("k8s.v1.cni.cncf.io/network-status", 0.2, words(&["-"])),
    ]);
    let owner = parse("[{apiVersion: v1, kind: Node, name: frankfurt-a, uid: a, controller: true}]");
    let metadata = object(vec![
        ("name", 1.0, just(json!("it"))),
        ("annotations", 0.3, annotations),
        ("labels", 0.3, labels(&["app", "domicile.dev/permit"], &["web", "None"])),
        ("ownerReferences", 0.05, just(owner)),
    ]);
    let flag = || one_of(vec![json!(false), json!(true)]);
    let mut spec = vec![
        ("containers", 1.0, named("c", container(), 1..=2)),
        ("initContainers", 0.2, named("i", init_container(), 0..=2)),
        ("volumes", 0.6, named("v", volume(residency), 0..=3)),
        ("nodeSelector", 0.7, node_selector(residencies)),
        ("nodeName", 0.12, words(&["", "frankfurt-a", "shanghai-a", "no-such-node"])),
        ("schedulerName", 0.15, words(&["default-scheduler", "", "mine", "default-scheduler2"])),
        ("schedulingGates", 0.1, just(json!([{"name": "example.com/wait"}]))),
        ("hostNetwork", 0.08, flag()),
        ("hostPID", 0.05, flag()),
        ("automountServiceAccountToken", 0.2, flag()),
        ("restartPolicy", 0.2, words(&["Always", "Never"])),
        ("resourceClaims", 0.1, just(parse("[{name: gpu, resourceClaimName: gpu}]"))),
        ("hostIPC", 0.03, flag()),
        ("hostUsers", 0.05, flag()),
    ];
    spec.extend(wishes());
    object(vec![
        ("apiVersion", 1.0, just(json!("v1"))),
        ("kind", 1.0, just(json!("Pod"))),
        ("metadata", 1.0, metadata),
        ("spec", 1.0, object(spec)),
        ("status", 0.1, one_of(vec![json!({"phase": "Succeeded"}), json!({"podIP": "198.51.100.7"})])),
    ])
}

/// What of a pod that waits may be changed at all, and some of what may not.
fn changed(waiting: Value, residency: &str) -> Json {
    let annotations = object(vec![
        ("example.com/note", 0.5, words(&["-"])),
        ("k8s.v1.cni.cncf.io/networks", 0.3, words(&["macvlan", ""])),
        ("v1.multus-cni.io/default-network", 0.1, words(&["kube-system/other"])),
        ("kubernetes.io/config.mirror", 0.1, words(&["abc"])),
    ]);
    let selected = object(vec![
        ("topology.kubernetes.io/region", 0.3, words(&["eu-central-1"])),
        ("kubernetes.io/hostname", 0.2, words(&["frankfurt-a"])),
    ]);
    let pin = one_of(vec![json!("false"), Value::Null]);
    let own = pin.prop_map({
        let key = format!("{PIN}{residency}");
        move |value| json!({key.as_str(): value})
    });
    let spec = object(vec![
        ("schedulingGates", 0.5, one_of(vec![Value::Null, json!([])])),
        ("nodeSelector", 0.5, either(vec![selected.clone(), selected, own.boxed()])),
        ("nodeName", 0.05, words(&["frankfurt-a"])),
        ("schedulerName", 0.05, words(&["mine"])),
        ("affinity", 0.2, affinity()),
        ("tolerations", 0.2, just(json!([{"operator": "Exists"}]))),
        ("hostNetwork", 0.05, just(json!(true))),
    ]);
    let labels = labels(&["app", "domicile.dev/permit"], &["web", "None"]);
    let metadata = object(vec![("annotations", 0.6, annotations), ("labels", 0.3, labels)]);
    let change = object(vec![("metadata", 1.0, metadata), ("spec", 0.8, spec)]);
    let merged = change.prop_map(move |change| {
        let mut pod = waiting.clone();
        for field in ["uid", "resourceVersion", "managedFields"] {
            pod["metadata"].as_object_mut().unwrap().remove(field);
        }
        json_patch::merge(&mut pod, &change);
        pod
    });
    merged.boxed()
}

#[test]
fn pods_are_admitted_exactly_where_the_audit_finds_nothing() {
    let stage = shared();
    let ground = Ground::new(&stage, "twice-pods", "{}");
    PODS.run(&ground, 1, &pod(&[&ground.name]));
    let waiting = ground.space.pod("waits");
    let waiting =
        waiting.with("spec: {schedulingGates: [{name: example.com/wait}], automountServiceAccountToken: false}");
    let defaulted = ground.space.would_ask(waiting.clone()).expected();
    PODS.run_updates(&ground, 5, &waiting, &changed(defaulted, &ground.name));
}

#[test]
fn pods_of_two_residencies_are_admitted_exactly_where_the_audit_finds_nothing() {
    let stage = shared();
    let ground = Ground::of_two(&stage, "twice-pods-both");
    PODS.run(&ground, 3, &pod(&[&ground.name, &format!("{}-2", ground.name)]));
}
