//! Claims: the class that they ask for, and the volume.

use domicile::observe::Claim;

use super::{
    Comparison, OfAdmission,
    ground::{Ground, Seen},
    words::{Json, just, list, object, one_of, words},
};
use crate::support::prelude::*;

fn is_said(value: &Value) -> bool {
    value.as_str().is_some_and(|text| !text.is_empty())
}

fn notes(claim: &Value, key: &str) -> bool {
    claim["metadata"]["annotations"].get(key).is_some()
}

pub const CLAIMS: Comparison = Comparison {
    name: "claims",
    otherwise: &[],
    of_admission: &[
        OfAdmission {
            says: "[domicile/storage-class-annotation]",
            because: "the older way to name a class is refused whatever it names; of a claim that stands the class counts",
            applies: Some(|claim, _| notes(claim, "volume.beta.kubernetes.io/storage-class")),
        },
        OfAdmission {
            says: "[domicile/selected-node]",
            because: "of a claim that stands the place of its volume counts",
            applies: Some(|claim, _| notes(claim, "volume.kubernetes.io/selected-node")),
        },
        OfAdmission {
            says: "[domicile/adopt]",
            because: "of a claim that stands the place of its volume counts, not who brought it in",
            applies: Some(|claim, _| is_said(&claim["spec"]["volumeName"])),
        },
        OfAdmission {
            says: "[domicile/data-source]",
            because: "a claim that stands has been filled",
            applies: Some(|claim, ground| {
                let namespace = &claim["spec"]["dataSourceRef"]["namespace"];
                is_said(namespace) && *namespace != ground.space.name.as_str()
            }),
        },
        OfAdmission {
            says: "[domicile/attributes-class]",
            because: "of a claim that stands the place of its volume counts",
            applies: Some(|claim, _| is_said(&claim["spec"]["volumeAttributesClassName"])),
        },
    ],
    finds: |ground, claim| {
        let seen = Claim::from(typed::<k8s_openapi::api::core::v1::PersistentVolumeClaim>(claim));
        ground.finds(&Seen::Claim(seen))
    },
};

pub fn claim(ground: &Ground) -> Json {
    let (residency, own) = (&ground.name, &ground.space.name);
    let classes = ["ssd", "hdd"].map(|kind| json!(format!("{residency}-{kind}")));
    let foreign = ["", "standard", "gp3", "no-such-class", "-"].map(|name| json!(name));
    let listed = [json!(format!("{residency}-ssd,{residency}-hdd")), json!(format!("{residency}-ss"))];
    let class = one_of(classes.iter().cloned().chain(classes.iter().cloned()).chain(foreign).chain(listed).collect());
    let annotations = object(vec![
        ("volume.beta.kubernetes.io/storage-class", 0.3, class.clone()),
        ("volume.kubernetes.io/selected-node", 0.3, words(&["frankfurt-a", "shanghai-a", ""])),
        ("csi.vsphere.volume-requested-topology", 0.1, words(&["[{\"topology.kubernetes.io/zone\":\"zone-a\"}]", ""])),
        ("trident.netapp.io/importOriginalName", 0.1, words(&["of-somebody"])),
        ("volume.beta.kubernetes.io/storage-provisioner", 0.3, words(&["ebs.csi.aws.com"])),
    ]);
    let snapshot = |more: Value| {
        let mut source = json!({"apiGroup": "snapshot.storage.k8s.io", "kind": "VolumeSnapshot", "name": "s"});
        source.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        source
    };
    let sources =
        vec![snapshot(json!({})), snapshot(json!({"namespace": own})), snapshot(json!({"namespace": "elsewhere"}))];
    let spec = object(vec![
        ("accessModes", 1.0, list(words(&["ReadWriteOnce", "ReadWriteMany"]), 1..=1)),
        ("resources", 1.0, just(json!({"requests": {"storage": "1Gi"}}))),
        ("storageClassName", 0.7, class),
        ("volumeName", 0.15, words(&["", "pv-of-somebody"])),
        ("selector", 0.1, one_of(vec![json!({}), json!({"matchLabels": {"a": "b"}})])),
        ("volumeMode", 0.2, words(&["Filesystem", "Block"])),
        ("dataSource", 0.1, just(json!({"kind": "PersistentVolumeClaim", "name": "other"}))),
        ("dataSourceRef", 0.15, one_of(sources)),
        ("volumeAttributesClassName", 0.1, words(&["gold", ""])),
    ]);
    object(vec![
        ("apiVersion", 1.0, just(json!("v1"))),
        ("kind", 1.0, just(json!("PersistentVolumeClaim"))),
        ("metadata", 1.0, object(vec![("name", 1.0, just(json!("it"))), ("annotations", 0.3, annotations)])),
        ("spec", 1.0, spec),
        ("status", 0.1, just(json!({"phase": "Bound"}))),
    ])
}

#[test]
fn claims_are_admitted_exactly_where_the_audit_finds_nothing() {
    let stage = shared();
    let ground = Ground::new(&stage, "twice-claims", "{}");
    CLAIMS.run(&ground, 1, &claim(&ground));
}

#[test]
fn claims_of_two_residencies_are_admitted_exactly_where_the_audit_finds_nothing() {
    let stage = shared();
    let ground = Ground::of_two(&stage, "twice-claims-both");
    CLAIMS.run(&ground, 3, &claim(&ground));
}
