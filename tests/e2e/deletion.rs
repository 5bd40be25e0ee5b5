//! A governed namespace can always be deleted, full as it may be.

use crate::support::prelude::*;

#[test]
fn a_governed_namespace_full_of_objects_can_be_deleted_and_is_gone() {
    let stage = shared();
    let mut shop = stage.ungoverned();
    // Some of it is older than the confinement and breaks it.
    shop.accepts(bare_pod("away").with("spec: {nodeName: frankfurt-a}"));
    shop.accepts(bare_pod("gated").with("spec: {schedulingGates: [{name: example.com/wait}]}"));
    shop.accepts(bare_claim("foreign").with("spec: {storageClassName: gp3}"));
    shop.accepts(
        "{apiVersion: v1, kind: Service, metadata: {name: balanced}, spec: {type: LoadBalancer, ports: [{port: 80}]}}",
    );
    if stage.mutates() {
        // Where nothing narrows it, it would keep the namespace closed.
        shop.accepts("{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {name: wide}, spec: {podSelector: {}, policyTypes: [Egress], egress: [{}]}}");
    }
    shop.accepts("{apiVersion: networking.k8s.io/v1, kind: Ingress, metadata: {name: web}, spec: {defaultBackend: {service: {name: web, port: {number: 80}}}}}");
    shop.joins("mainland");
    for manifest in [
        shop.deployment("web", 3),
        shop.stateful_set("db", 2),
        shop.daemon_set("agent"),
        shop.job("job"),
        shop.cron_job("cron"),
        Manifest::from(
            "{apiVersion: policy/v1, kind: PodDisruptionBudget, metadata: {name: budget}, spec: {minAvailable: 3, selector: {matchLabels: {app: web}}}}",
        ),
        Manifest::from("{apiVersion: v1, kind: ConfigMap, metadata: {name: settings}}"),
        shop.pod("held").with("metadata: {finalizers: [example.com/hold]}"),
    ] {
        shop.accepts(manifest);
    }
    eventually("the workloads run", LATER, || {
        let running = shop.list(&POD).iter().filter(|pod| pod["status"]["phase"] == "Running").count();
        when(running >= 10, || format!("{running} pods run\n{}", shop.events().join("\n")))
    });
    stage.tenant.delete(&NAMESPACE, "", &shop.name).expected();
    eventually("only what a finalizer holds is left", LATER, || {
        let left: Vec<String> = shop.list(&POD).iter().map(|pod| pod["metadata"]["name"].to_string()).collect();
        when(left == ["\"held\""], || format!("{left:?}"))
    });
    shop.patch(&POD, "held", "metadata: {finalizers: null}").expected();
    stage.admin.sees_the_end_of(&NAMESPACE, "", &shop.name);
}

#[test]
fn a_namespace_that_was_never_confined_can_be_deleted() {
    let stage = shared();
    let shop = stage.namespace("{domicile.dev/residency: nobody-made-this}");
    shop.accepts("{apiVersion: v1, kind: ConfigMap, metadata: {name: settings}}");
    shop.is_deleted();
}

/// A tenant says how long his pods may take to end. Meanwhile a data center goes, and with it what was permitted.
#[test]
fn what_holds_is_kept_up_while_a_namespace_ends() {
    let stage = shared();
    let center = stage.makes_data_center("london-1", "GB", "eu-west-1", 63);
    let _node = stage.makes_node("london-a", "eu-west-1", "10.63.0.1");
    let _residency = stage.makes_residency("ending", "{jurisdictions: [GB]}");
    let shop = stage.governed("ending");
    assert_eq!(shop.annotation("domicile.dev/networks"), "10.63.0.0/16");
    shop.accepts("{apiVersion: v1, kind: ConfigMap, metadata: {name: stays, finalizers: [example.com/hold]}}");
    stage.tenant.delete(&NAMESPACE, "", &shop.name).expected();
    eventually("the namespace ends", SOON, || {
        let phase = shop.object()["status"]["phase"].clone();
        when(phase == "Terminating", || phase.to_string())
    });
    center.deleted();
    eventually("nothing is permitted any more", SOON, || {
        let networks = shop.annotation("domicile.dev/networks");
        when(networks == "-", || networks)
    });
    shop.patch(&CONFIG_MAP, "stays", "metadata: {finalizers: null}").expected();
    stage.admin.sees_the_end_of(&NAMESPACE, "", &shop.name);
}

/// N15: Kubernetes deletes what runs before what isolates it (CVE-2024-7598), and a tenant says how long that takes.
#[test]
fn n15_the_isolating_policy_stands_as_long_as_a_pod_of_a_namespace_that_ends() {
    let stage = shared();
    let shop = stage.governed("mainland");
    shop.accepts(shop.pod("held").with("metadata: {finalizers: [example.com/hold]}"));
    shop.runs("held");
    let opened = || {
        let policy = shop.find(&NETWORK_POLICY, "domicile-isolate");
        // Read afterwards: a pod that is there now was there then.
        let pod = shop.find(&POD, "held")?;
        policy
            .is_none()
            .then(|| format!("there is no policy, and pod {} {}", pod["metadata"]["name"], pod["status"]["phase"]))
    };
    stage.tenant.delete(&NAMESPACE, "", &shop.name).expected();
    eventually("the pod is told to end", LATER, || {
        assert_eq!(opened(), None);
        let ends = shop.get(&POD, "held")["metadata"]["deletionTimestamp"].is_string();
        when(ends, || "not yet".into())
    });
    never("the pod has no policy any more", Duration::from_secs(5), opened);
    shop.patch(&POD, "held", "metadata: {finalizers: null}").expected();
    eventually("the namespace is gone", LATER, || {
        assert_eq!(opened(), None);
        let left = stage.admin.find(&NAMESPACE, "", &shop.name);
        when(left.is_none(), || left.unwrap_or_default()["status"].to_string())
    });
}
