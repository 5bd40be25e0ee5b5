//! A governed namespace comes back from a backup, as Velero or `kubectl get -o yaml` write one: what the backup says of a
//! confinement counts for nothing, and what kept to the residency may come back.

use crate::{placement::on_the_mainland, support::prelude::*};

/// An object as a backup holds it: without what the API server gives an object that is new.
fn saved(mut object: Value) -> Manifest {
    let metadata = object["metadata"].as_object_mut().unwrap();
    for field in ["uid", "resourceVersion", "creationTimestamp", "generation", "managedFields"] {
        metadata.remove(field);
    }
    Manifest(object)
}

/// The same as Velero brings it back: without status, node, and what bound a claim.
fn reset(saved: &Manifest) -> Manifest {
    saved.clone().with("{status: null, spec: {nodeName: null}}").with(
        "metadata: {annotations: {pv.kubernetes.io/bind-completed: null, pv.kubernetes.io/bound-by-controller: null, volume.kubernetes.io/selected-node: null}}",
    )
}

/// A namespace with one of everything in it, and its backup.
struct Backup {
    space: Manifest,
    pod: Manifest,
    claim: Manifest,
    policy: Manifest,
    isolation: Manifest,
    service: Manifest,
    slice: Manifest,
}

#[track_caller]
fn back_up(shop: &Namespace) -> Backup {
    shop.accepts(shop.claim("data"));
    shop.accepts(shop.pod("db").with("metadata: {labels: {app: db}}").with(&mounting("data")));
    shop.runs("db");
    shop.accepts("{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {name: own}, spec: {podSelector: {}, policyTypes: [Egress], egress: [{to: [{ipBlock: {cidr: 0.0.0.0/0}}]}]}}");
    shop.accepts(
        "{apiVersion: v1, kind: Service, metadata: {name: db}, spec: {selector: {app: db}, ports: [{port: 80}]}}",
    );
    let slice = eventually("the service has an endpoint", SOON, || {
        let slices = shop.list(&ENDPOINT_SLICE);
        let full = slices.iter().find(|slice| slice["endpoints"][0]["addresses"].is_array());
        full.map(|slice| slice["metadata"]["name"].as_str().unwrap().to_owned())
            .ok_or_else(|| json!(slices).to_string())
    });
    let of = |kind: &Kind, name: &str| saved(shop.get(kind, name));
    Backup {
        space: saved(shop.object()),
        pod: of(&POD, "db"),
        claim: of(&CLAIM, "data"),
        policy: of(&NETWORK_POLICY, "own"),
        isolation: of(&NETWORK_POLICY, "domicile-isolate"),
        service: of(&SERVICE, "db"),
        slice: of(&ENDPOINT_SLICE, &slice),
    }
}

/// Makes the namespace again, with the confinement that its backup says; nothing starts in it while no operator runs.
#[track_caller]
fn comes_back_closed(stage: &Turn, backup: &Backup) {
    let whole = backup.space.clone().with("metadata: {annotations: {domicile.dev/networks: 0.0.0.0/0}}");
    assert_eq!(whole.0["metadata"]["labels"]["domicile.dev/confined-for"], "mainland");
    let reply = stage.tenant.create(&whole);
    if stage.has_mutating_policies() {
        let metadata = reply.expected()["metadata"].clone();
        assert!(metadata["labels"]["domicile.dev/confined-for"].is_null(), "{metadata}");
        assert!(metadata["annotations"]["domicile.dev/networks"].is_null(), "{metadata}");
    } else {
        reply.refused("[domicile/confinement]"); // what takes it away is down
        let bare =
            Manifest::from("{apiVersion: v1, kind: Namespace, metadata: {labels: {domicile.dev/residency: mainland}}}");
        stage.tenant.create(&bare.named(whole.name())).expected();
    }
    eventually("it has what Kubernetes puts there", SOON, || {
        let there = stage.admin.find(&SERVICE_ACCOUNT, whole.name(), "default").is_some();
        when(there, || "no ServiceAccount".to_owned())
    });
    for object in [&backup.pod, &backup.claim, &backup.policy, &backup.service, &backup.slice] {
        stage.platform_team().create(&reset(object)).refused("[domicile/not-confined]");
    }
}

#[test]
fn a_governed_namespace_comes_back_from_its_backup_as_closed_as_it_was() {
    let stage = to_install_anew();
    let (shop, free) = (stage.governed("mainland"), stage.ungoverned());
    let backup = back_up(&shop);
    shop.is_deleted();
    stage.operator.kill();
    comes_back_closed(&stage, &backup);
    free.accepts(bare_pod("web").with("spec: {nodeName: frankfurt-a}"));
    stage.operator.start().unwrap();
    shop.is_confined();
    for key in ["domicile.dev/networks", "domicile.dev/storage-classes", "domicile.dev/exposure"] {
        assert_eq!(shop.annotation(key), backup.space.0["metadata"]["annotations"][key], "{key}");
    }

    // The claim asks for the volume that it had, which somebody must vouch for.
    let volume = backup.claim.0["spec"]["volumeName"].as_str().unwrap();
    let released = json!({"spec": {"claimRef": {"uid": null, "resourceVersion": null}}});
    stage.admin.patch(&VOLUME, "", volume, &released).expected();
    shop.rejects(backup.claim.clone(), "[domicile/selected-node]|[domicile/adopt]");
    shop.rejects(reset(&backup.claim), "[domicile/adopt]");
    stage.platform_team().create(&backup.claim).refused("[domicile/selected-node]");
    stage.platform_team().create(&reset(&backup.claim)).expected();

    // A pod may not bring its node along; without it it runs in the country.
    shop.rejects(backup.pod.clone(), "[domicile/node-name]");
    shop.accepts(reset(&backup.pod));
    let node = shop.runs("db");
    assert!(on_the_mainland(&node), "{node}");
    assert_eq!(shop.get(&CLAIM, "data")["spec"]["volumeName"], volume);

    // What was narrowed comes back narrow, and Domicile's own policies and the controller's slices are theirs.
    let spec = shop.accepts(reset(&backup.policy))["spec"].clone();
    assert_eq!(spec, backup.policy.0["spec"]);
    shop.accepts(reset(&backup.service));
    let open = backup.isolation.clone().with("spec: {egress: [{}]}");
    assert!(!stage.tenant.create(&open).ok());
    assert_eq!(shop.get(&NETWORK_POLICY, "domicile-isolate")["spec"], backup.isolation.0["spec"]);
    shop.rejects(backup.slice.clone(), "[domicile/endpoint-manager]|[domicile/endpoint]");
    let db = format!("{}/db", shop.name);
    assert!(stage.passes(&db, "10.20.5.5", 443) && !stage.passes(&db, "198.51.100.7", 443));
    eventually("nothing speaks against it", SOON, || {
        let status = stage.admin.get(&DATA_RESIDENCY, "", "mainland")["status"].clone();
        when(!status["findings"]["items"].to_string().contains(&shop.name), || status.to_string())
    });
}
