//! What tenants write, good and bad: the objects by which modes are compared, each with what `Enforce` says to it.

use crate::support::{manifest::documents, prelude::*};

/// What `Enforce` says to an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Says {
    /// It passes.
    Yes,
    /// It is refused.
    No,
    /// It passes where the API server mends it, else it is refused.
    YesWhereMended,
}

/// Every case, with a name.
pub fn corpus() -> Vec<(&'static str, Manifest, Says)> {
    let mut cases = pods();
    cases.extend(claims());
    cases.extend(policies());
    cases.extend(services());
    cases.extend(workloads());
    cases
}

/// What has other clusters make a Service of their own of it.
const MIRRORED: &str = "metadata: {labels: {mirror.linkerd.io/exported: 'true'}}";

/// What the manifests of `fixtures/workloads` say themselves; the pods of their controllers are judged in workloads.rs.
fn workloads() -> Vec<(&'static str, Manifest, Says)> {
    let files = [
        include_str!("fixtures/workloads/broker-operator.yaml"),
        include_str!("fixtures/workloads/database-made-by-operator.yaml"),
        include_str!("fixtures/workloads/database-operator.yaml"),
        include_str!("fixtures/workloads/gitops.yaml"),
        include_str!("fixtures/workloads/ingress-controller.yaml"),
        include_str!("fixtures/workloads/monitoring.yaml"),
        include_str!("fixtures/workloads/shop.yaml"),
    ];
    let says = |manifest: &Manifest| {
        let spec = &manifest.0["spec"];
        match manifest.0["kind"].as_str()? {
            "Pod" => Some(Says::YesWhereMended),
            "PersistentVolumeClaim" if spec["storageClassName"].is_null() => Some(Says::YesWhereMended),
            "PersistentVolumeClaim" | "Ingress" => Some(Says::No),
            "NetworkPolicy" if manifest.name() == "deny-all" => Some(Says::Yes),
            "NetworkPolicy" => Some(Says::YesWhereMended),
            "Service" => Some(if spec["type"].is_null() { Says::Yes } else { Says::No }),
            _ => None,
        }
    };
    // Alone, without the accounts of the same file.
    let alone = |manifest: Manifest| match manifest.0["kind"].as_str() {
        Some("Pod") => manifest.with("spec: {serviceAccountName: null}"),
        _ => manifest,
    };
    let all = files.into_iter().flat_map(documents).map(alone);
    all.filter_map(|manifest| Some(("of a workload", manifest.clone(), says(&manifest)?))).collect()
}

fn pods() -> Vec<(&'static str, Manifest, Says)> {
    let pod = |spec: &str| bare_pod("web").with(&format!("spec: {spec}"));
    let pinned =
        |spec: &str| pod(&format!("{{nodeSelector: {{{PIN}RESIDENCY: 'true'}}}}")).with(&format!("spec: {spec}"));
    vec![
        ("pod", bare_pod("web"), Says::YesWhereMended),
        ("pinned pod", pinned("{}"), Says::Yes),
        (
            "pod with affinity",
            pinned(
                "{affinity: {nodeAffinity: {requiredDuringSchedulingIgnoredDuringExecution: {nodeSelectorTerms: [{matchExpressions: [{key: a, operator: Exists}]}]}}}}",
            ),
            Says::Yes,
        ),
        ("pod with a false pin", pod(&format!("{{nodeSelector: {{{PIN}RESIDENCY: 'false'}}}}")), Says::No),
        ("pod on a node", pinned("{nodeName: frankfurt-a}"), Says::No),
        ("pod with a scheduler", pinned("{schedulerName: mine}"), Says::No),
        (
            "mirror pod",
            pinned("{nodeName: frankfurt-a}").with("metadata: {annotations: {kubernetes.io/config.mirror: a}}"),
            Says::No,
        ),
        ("pod with host network", pinned("{hostNetwork: true}"), Says::No),
        (
            "privileged pod",
            pinned("{containers: [{name: main, image: i, securityContext: {privileged: true}}]}"),
            Says::No,
        ),
        ("pod with NFS", pinned("{volumes: [{name: v, nfs: {server: s, path: /}}]}"), Says::No),
        ("pod with an empty directory", pinned("{volumes: [{name: v, emptyDir: {}}]}"), Says::Yes),
        (
            "pod with a foreign ephemeral volume",
            pinned(
                "{volumes: [{name: v, ephemeral: {volumeClaimTemplate: {spec: {storageClassName: gp3, accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}}}}]}",
            ),
            Says::No,
        ),
    ]
}

fn claims() -> Vec<(&'static str, Manifest, Says)> {
    let claim = |rest: &str| bare_claim("data").with(rest);
    vec![
        ("claim", bare_claim("data"), Says::YesWhereMended),
        ("claim with the class", claim("spec: {storageClassName: RESIDENCY-ssd}"), Says::Yes),
        ("claim with a foreign class", claim("spec: {storageClassName: gp3}"), Says::No),
        ("claim with the cluster's default", claim("spec: {storageClassName: standard}"), Says::No),
        ("claim with no class", claim("spec: {storageClassName: ''}"), Says::No),
        (
            "claim with the old annotation",
            claim(
                "{metadata: {annotations: {volume.beta.kubernetes.io/storage-class: gp3}}, spec: {storageClassName: RESIDENCY-ssd}}",
            ),
            Says::No,
        ),
        (
            "claim with a selected node",
            claim(
                "{metadata: {annotations: {volume.kubernetes.io/selected-node: frankfurt-a}}, spec: {storageClassName: RESIDENCY-ssd}}",
            ),
            Says::No,
        ),
        (
            "claim that a driver places elsewhere",
            claim(
                "{metadata: {annotations: {csi.vsphere.volume-requested-topology: '[]'}}, spec: {storageClassName: RESIDENCY-ssd}}",
            ),
            Says::No,
        ),
        ("claim for a volume", claim("spec: {storageClassName: RESIDENCY-ssd, volumeName: pv}"), Says::No),
    ]
}

fn policies() -> Vec<(&'static str, Manifest, Says)> {
    let policy = |spec: &str| {
        Manifest::from(format!(
            "{{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {{name: p}}, spec: {{podSelector: {{}}, policyTypes: [Egress, Ingress], {spec}}}}}"
        ))
    };
    vec![
        ("policy that opens nothing", policy("egress: []"), Says::Yes),
        ("policy for the own namespace", policy("egress: [{to: [{podSelector: {}}]}]"), Says::Yes),
        ("policy for a permitted block", policy("egress: [{to: [{ipBlock: {cidr: 10.20.1.0/24}}]}]"), Says::Yes),
        ("policy for any address", policy("egress: [{}]"), Says::YesWhereMended),
        ("policy for 0.0.0.0/0", policy("egress: [{to: [{ipBlock: {cidr: 0.0.0.0/0}}]}]"), Says::YesWhereMended),
        ("policy for any namespace", policy("ingress: [{from: [{namespaceSelector: {}}]}]"), Says::YesWhereMended),
        (
            "policy with an exception",
            policy("egress: [{to: [{ipBlock: {cidr: 0.0.0.0/0, except: [10.0.0.0/8]}}]}]"),
            Says::No,
        ),
        ("policy for a foreign block", policy("egress: [{to: [{ipBlock: {cidr: 198.51.100.0/24}}]}]"), Says::No),
    ]
}

fn services() -> Vec<(&'static str, Manifest, Says)> {
    let service = |spec: &str| {
        Manifest::from(format!(
            "{{apiVersion: v1, kind: Service, metadata: {{name: web}}, spec: {{ports: [{{port: 80}}], {spec}}}}}"
        ))
    };
    let slice = |address: &str| {
        Manifest::from(format!(
            "{{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, metadata: {{name: s}}, addressType: IPv4, endpoints: [{{addresses: [{address}]}}]}}"
        ))
    };
    let binding = |subject: &str| {
        Manifest::from(format!(
            "{{apiVersion: rbac.authorization.k8s.io/v1, kind: RoleBinding, metadata: {{name: r}}, roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: view}}, subjects: [{subject}]}}"
        ))
    };
    vec![
        ("service", service("selector: {app: web}"), Says::Yes),
        ("load balancer", service("type: LoadBalancer"), Says::No),
        ("node port", service("type: NodePort"), Says::No),
        ("external addresses", service("externalIPs: [198.51.100.7]"), Says::No),
        (
            "external name",
            Manifest::from(
                "{apiVersion: v1, kind: Service, metadata: {name: web}, spec: {type: ExternalName, externalName: example.com}}",
            ),
            Says::No,
        ),
        (
            "ingress",
            Manifest::from(
                "{apiVersion: networking.k8s.io/v1, kind: Ingress, metadata: {name: web}, spec: {defaultBackend: {service: {name: web, port: {number: 80}}}}}",
            ),
            Says::No,
        ),
        ("permitted endpoint", slice("10.20.0.9"), Says::Yes),
        ("foreign endpoint", slice("198.51.100.7"), Says::No),
        (
            "deployment",
            Manifest::from(
                "{apiVersion: apps/v1, kind: Deployment, metadata: {name: d}, spec: {selector: {matchLabels: {a: b}}, template: {metadata: {labels: {a: b}}, spec: {containers: [{name: c, image: i}]}}}}",
            ),
            Says::Yes,
        ),
        (
            "daemon set with a false pin",
            Manifest::from(format!(
                "{{apiVersion: apps/v1, kind: DaemonSet, metadata: {{name: d}}, spec: {{selector: {{matchLabels: {{a: b}}}}, template: {{metadata: {{labels: {{a: b}}}}, spec: {{nodeSelector: {{{PIN}RESIDENCY: 'no'}}, containers: [{{name: c, image: i}}]}}}}}}}}"
            )),
            Says::No,
        ),
        ("service that Linkerd mirrors", service("selector: {app: web}").with(MIRRORED), Says::No),
        (
            "role binding for an account abroad",
            binding("{kind: ServiceAccount, name: default, namespace: default}"),
            Says::No,
        ),
        (
            "role binding for a person",
            binding("{kind: User, apiGroup: rbac.authorization.k8s.io, name: li-wei}"),
            Says::Yes,
        ),
        ("settings", Manifest::from("{apiVersion: v1, kind: ConfigMap, metadata: {name: c}}"), Says::Yes),
    ]
}

/// The case for a namespace of a residency: its pins and classes bear the residency's name.
pub fn for_residency(manifest: &Manifest, residency: &str) -> Manifest {
    Manifest(serde_json::from_str(&manifest.0.to_string().replace("RESIDENCY", residency)).unwrap())
}
