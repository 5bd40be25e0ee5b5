//! Bindings: who puts a pod on a node chooses the node, so only the trusted scheduler does.

use crate::support::prelude::*;

fn binding(namespace: &str, pod: &str, node: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Binding", "metadata": {"name": pod, "namespace": namespace}, "target": {"apiVersion": "v1", "kind": "Node", "name": node}})
}

/// A pod that no scheduler looks at yet.
fn gated(namespace: &Namespace) -> Manifest {
    namespace.pod("web").with("spec: {schedulingGates: [{name: example.com/wait}]}")
}

#[test]
fn p2_only_the_scheduler_binds() {
    let stage = shared();
    let shop = stage.governed("mainland");
    // The pod asks for a node that does not exist, so the scheduler leaves it alone.
    shop.accepts(shop.pod("web").with("spec: {nodeSelector: {kubernetes.io/hostname: nowhere}}"));
    let path = format!("{}/binding", POD.path(&shop.name, "web"));
    let cluster_admin = stage.user("root", &["system:masters"]);
    let account = stage.service_account("kube-system", "some-controller");
    for (user, code) in [(&stage.tenant, "[domicile/binding]"), (&cluster_admin, "[domicile/binding]")] {
        for node in ["frankfurt-a", "shanghai-a"] {
            user.post(&path, &binding(&shop.name, "web", node)).refused(code);
        }
    }
    assert!(!account.post(&path, &binding(&shop.name, "web", "frankfurt-a")).ok());
    assert!(shop.get(&POD, "web")["spec"]["nodeName"].is_null());
}

#[test]
fn the_legacy_way_to_bind_is_closed() {
    let stage = shared();
    let shop = stage.governed("mainland");
    shop.accepts(shop.pod("web").with("spec: {nodeSelector: {kubernetes.io/hostname: nowhere}}"));
    let path = BINDING.collection(&shop.name);
    let scheduler = stage.user("system:kube-scheduler", &[]);
    stage.tenant.post(&path, &binding(&shop.name, "web", "frankfurt-a")).refused("[domicile/legacy-binding]");
    let reply = scheduler.post(&path, &binding(&shop.name, "web", "frankfurt-a"));
    assert!(!reply.ok(), "{}", reply.object);
    assert!(shop.get(&POD, "web")["spec"]["nodeName"].is_null());
}

#[test]
fn a_tenant_cannot_bind_a_gated_pod_either() {
    let stage = shared();
    let shop = stage.governed("mainland");
    shop.accepts(gated(&shop));
    let path = format!("{}/binding", POD.path(&shop.name, "web"));
    let reply = stage.tenant.post(&path, &binding(&shop.name, "web", "frankfurt-a"));
    assert!(!reply.ok(), "{}", reply.object);
}

#[test]
fn ungoverned_pods_may_be_bound_by_anyone() {
    let stage = shared();
    let free = stage.ungoverned();
    free.accepts(bare_pod("web").with("spec: {schedulerName: my-scheduler}"));
    let path = format!("{}/binding", POD.path(&free.name, "web"));
    stage.tenant.post(&path, &binding(&free.name, "web", "frankfurt-b")).expected();
    assert_eq!(free.runs("web"), "frankfurt-b");
}
