//! What goes wrong with the cluster itself: definitions that are deleted, a store that restarts. Nothing opens without a word, and
//! nothing that is not governed is locked.

use crate::{chart::release_everything, placement::on_the_mainland, support::prelude::*};

#[track_caller]
pub fn stays_closed(shop: &Namespace) {
    shop.rejects(shop.pod("away").with("spec: {nodeName: frankfurt-a}"), "[domicile/node-name]|[domicile/refused]");
    shop.rejects(
        bare_claim("away").with("spec: {storageClassName: gp3}"),
        "[domicile/storage-class]|[domicile/refused]",
    );
    let wide = "{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {name: wide}, spec: {podSelector: {}, policyTypes: [Egress], egress: [{to: [{ipBlock: {cidr: 198.51.100.0/24}}]}]}}";
    shop.rejects(wide, "[domicile/network-foreign]|[domicile/refused]");
    assert_eq!(shop.labels()["domicile.dev/confined-for"], "mainland");
}

/// Applies a definition and waits until its kind is served.
#[track_caller]
fn comes_back(stage: &Turn, plural: &str) {
    stage.admin.kubectl(&format!("apply -f crds/{plural}.yaml")).expected();
    eventually(&format!("{plural} are served"), SOON, || {
        let reply = stage.admin.get_at(&format!("/apis/domicile.dev/v1alpha1/{plural}"));
        when(reply.ok(), || reply.message)
    });
}

#[test]
fn definitions_that_are_deleted_open_nothing_and_come_back() {
    let stage = to_install_anew();
    let (shop, free) = (stage.governed("mainland"), stage.ungoverned());
    shop.accepts(shop.pod("web"));
    shop.runs("web");
    stage.admin.kubectl("delete crd datacenters.domicile.dev --timeout=180s").expected();
    stage.admin.kubectl("delete crd dataresidencies.domicile.dev --wait=false").expected();
    eventually("it is told that there is no data center any more", SOON, || {
        let because = shop.annotation("domicile.dev/refused-because");
        when(because.contains("no data center"), || because)
    });
    eventually("the residency is deleted with its kind", SOON, || {
        let metadata = stage.admin.get(&DATA_RESIDENCY, "", "mainland")["metadata"].clone();
        when(!metadata["deletionTimestamp"].is_null(), || metadata.to_string())
    });
    // It stays in force while the namespace names it.
    stays_closed(&shop);
    shop.rejects(shop.pod("late"), "[domicile/refused]");
    assert_eq!(shop.get(&POD, "web")["status"]["phase"], "Running");
    free.accepts(bare_pod("web").with("spec: {nodeName: frankfurt-a}"));
    free.runs("web");

    // The definitions and the data centers come back, and the residency that was held works on.
    comes_back(&stage, "datacenters");
    stage.applies_data_centers();
    eventually("pods may start again", LATER, || {
        let because = shop.annotation("domicile.dev/refused-because");
        when(because == "-", || because)
    });
    shop.accepts(shop.pod("late"));
    assert!(on_the_mainland(&shop.runs("late")));
    stays_closed(&shop);

    // Released, it goes with its kind; made again, it begins anew.
    release_everything(&stage);
    stage.admin.kubectl("wait --for=delete crd/dataresidencies.domicile.dev --timeout=180s").expected();
    comes_back(&stage, "dataresidencies"); // an upgrade by Helm leaves definitions alone
    stage.operator.kill();
    stage.install().unwrap();
    let again = stage.governed("mainland");
    again.accepts(again.pod("web"));
    assert!(on_the_mainland(&again.runs("web")));
    stays_closed(&again);
}

#[test]
fn a_store_that_restarts_opens_nothing() {
    let stage = alone();
    let (shop, free) = (stage.governed("mainland"), stage.ungoverned());
    stage.cluster.component("kill", "etcd");
    stage.cluster.component("start", "etcd");
    eventually("the API server answers", LATER, || {
        let reply = stage.admin.get_at("/readyz");
        when(reply.ok(), || reply.message)
    });
    stays_closed(&shop);
    eventually("ungoverned pods pass", SOON, || {
        let reply = free.would_ask(bare_pod("web").with("spec: {nodeName: frankfurt-a}"));
        when(reply.ok(), || reply.message)
    });
    let later = stage.governed("mainland");
    later.accepts(later.pod("web"));
    assert!(on_the_mainland(&later.runs("web")));
}
