//! Where bound volumes lie (S3 to S6, S10, S21): what no admission policy sees of a volume, the audit tells, as soon as it is so.
//!
//! Volumes here are written by an administrator, as a platform team writes static ones. Who may write them is RBAC's; whose
//! claim takes one by its name needs the verb adopt.

use crate::{placement::on_the_mainland, support::prelude::*};

const ZONE: &str = "topology.diskplugin.csi.alibabacloud.com/zone";

/// A residency with a class of its own, `<name>-ssd`, and a namespace that is confined for it.
fn with_class(stage: &Turn, name: &str) -> (Made, Namespace) {
    let residency = stage.makes_residency(
        name,
        &format!("{{jurisdictions: [CN], storage: {{classes: [{{name: {name}-ssd, provisioner: diskplugin.csi.alibabacloud.com}}]}}}}"),
    );
    let shop = stage.governed(name);
    eventually("the class is permitted", SOON, || {
        let classes = shop.annotation("domicile.dev/storage-classes");
        when(classes == format!("{name}-ssd"), || classes)
    });
    (residency, shop)
}

/// A claim for a volume of the residency's class.
fn of_class(residency: &str, claim: &str) -> Manifest {
    bare_claim(claim).with(&format!("spec: {{storageClassName: {residency}-ssd}}"))
}

/// Node affinity for one zone.
fn in_zone(zone: &str) -> String {
    format!(
        "spec: {{nodeAffinity: {{required: {{nodeSelectorTerms: [{{matchExpressions: [{{key: {ZONE}, operator: In, values: [{zone}]}}]}}]}}}}}}"
    )
}

/// A static volume of the residency's class, which does not say where it lies.
fn volume(residency: &str) -> Manifest {
    Manifest::from(format!(
        "{{apiVersion: v1, kind: PersistentVolume, metadata: {{name: {name}}}, spec: {{capacity: {{storage: 1Gi}}, accessModes: [ReadWriteOnce], \
         persistentVolumeReclaimPolicy: Retain, storageClassName: {residency}-ssd, csi: {{driver: diskplugin.csi.alibabacloud.com, volumeHandle: {name}}}}}}}",
        name = fresh_name()
    ))
}

/// The same, kept for one claim.
fn reserved(residency: &str, space: &Namespace, claim: &str) -> Manifest {
    volume(residency).with(&format!("spec: {{claimRef: {{namespace: {}, name: {claim}}}}}", space.name))
}

/// What the status of the residency says of where the claim's volume lies, if anything.
fn told(stage: &Turn, residency: &str, space: &Namespace, claim: &str) -> Option<Value> {
    stage.finding(residency, "domicile/volume-location", &format!("PersistentVolumeClaim {}/{claim}", space.name))
}

/// Waits until it is told that the claim's volume lies elsewhere, or that nobody can tell.
#[track_caller]
fn is_told(stage: &Turn, residency: &str, space: &Namespace, claim: &str, verdict: &str, words: &str) {
    eventually(&format!("{claim} is {verdict} ({words})"), SOON, || {
        let found = told(stage, residency, space, claim).ok_or("nothing is told")?;
        let so = found["verdict"] == verdict && found["message"].as_str().is_some_and(|text| text.contains(words));
        when(so, || found.to_string())
    });
}

#[track_caller]
fn is_bound(space: &Namespace, claim: &str) -> String {
    eventually(&format!("claim {claim} is bound"), SOON, || {
        let seen = space.get(&CLAIM, claim);
        when(seen["status"]["phase"] == "Bound", || seen["status"].to_string())?;
        Ok(seen["spec"]["volumeName"].as_str().unwrap_or_default().to_owned())
    })
}

/// S3: whoever may write PersistentVolumes keeps one abroad for a governed claim. The control plane binds the two, which is
/// its work; that is found, and no pod of the namespace is put where the volume lies.
#[test]
fn s3_a_volume_abroad_that_is_kept_for_a_claim_is_found() {
    let stage = shared();
    let (residency, shop) = with_class(&stage, "kept-abroad");
    let _volume = stage.makes(reserved("kept-abroad", &shop, "data").with(&in_zone("eu-central-1a")));
    shop.accepts(of_class("kept-abroad", "data"));
    is_bound(&shop, "data");
    is_told(&stage, residency.name(), &shop, "data", "NonCompliant", "eu-central-1a is in no data center");
    stage.becomes("kept-abroad", "Compliant", "False");
    shop.accepts(shop.pod("db").with(&mounting("data")));
    shop.fits_nowhere("db");
}

/// S3: a static volume comes in with the verb adopt, and with it, too, one that lies abroad is found.
#[test]
fn s3_a_static_volume_that_is_adopted_is_judged_by_where_it_lies() {
    let stage = shared();
    let (residency, shop) = with_class(&stage, "adopting");
    let platform = stage.platform_team();
    let bring = |claim: &str, zone: &str| {
        let made = stage.makes(volume("adopting").with(&in_zone(zone)));
        let claim = of_class("adopting", claim).with(&format!("spec: {{volumeName: {}}}", made.name()));
        shop.rejects(claim.clone(), "[domicile/adopt]");
        platform.create(&claim.in_namespace(&shop.name)).expected();
        made
    };
    let _at_home = bring("at-home", "cn-shanghai-e");
    let _abroad = bring("abroad", "cn-hongkong-b");
    for claim in ["at-home", "abroad"] {
        is_bound(&shop, claim);
    }
    is_told(&stage, residency.name(), &shop, "abroad", "NonCompliant", "cn-hongkong-b is in no data center");
    shop.accepts(shop.pod("db").with(&mounting("at-home")));
    assert!(on_the_mainland(&shop.runs("db")));
    assert_eq!(told(&stage, residency.name(), &shop, "at-home"), None);
}

/// S4: a volume without node affinity may lie anywhere.
#[test]
fn s4_a_bound_volume_that_does_not_say_where_it_lies_is_unknown() {
    let stage = shared();
    let (residency, shop) = with_class(&stage, "placeless");
    let _volume = stage.makes(reserved("placeless", &shop, "data"));
    shop.accepts(of_class("placeless", "data"));
    is_bound(&shop, "data");
    is_told(&stage, residency.name(), &shop, "data", "Unknown", "it has no node affinity");
    stage.becomes("placeless", "Compliant", "Unknown");
    shop.tells(&["ResidencyUnclear", "PersistentVolumeClaim data", "[domicile/volume-location]"]);
}

/// S5: what a volume says is judged again when it says something else. Node affinity that is not there yet may be written by
/// whoever may update volumes; another place needs the feature MutablePVNodeAffinity, which is off by default (alpha in 1.35).
#[test]
fn s5_a_volume_that_comes_to_lie_elsewhere_is_told_at_once() {
    let stage = shared();
    let (residency, shop) = with_class(&stage, "moving-volume");
    let abroad = stage.makes(reserved("moving-volume", &shop, "abroad"));
    let at_home = stage.makes(reserved("moving-volume", &shop, "at-home"));
    for claim in ["abroad", "at-home"] {
        shop.accepts(of_class("moving-volume", claim));
        is_bound(&shop, claim);
        is_told(&stage, residency.name(), &shop, claim, "Unknown", "it has no node affinity");
    }
    at_home.becomes(&in_zone("cn-beijing-h"));
    eventually("what lies at home now is told no more", SOON, || {
        let found = told(&stage, residency.name(), &shop, "at-home");
        when(found.is_none(), || format!("{found:?}"))
    });
    abroad.becomes(&in_zone("eu-central-1a"));
    is_told(&stage, residency.name(), &shop, "abroad", "NonCompliant", "eu-central-1a is in no data center");
    stage.becomes("moving-volume", "Compliant", "False");
    // Where the feature is on, this passes and is a finding as well.
    let reply = stage.admin.patch(&VOLUME, "", at_home.name(), &parse(&in_zone("eu-central-1a")));
    if reply.ok() {
        is_told(&stage, residency.name(), &shop, "at-home", "NonCompliant", "eu-central-1a is in no data center");
    } else {
        assert!(reply.message.contains("nodeAffinity"), "{reply:?}");
        assert_eq!(told(&stage, residency.name(), &shop, "at-home"), None);
    }
}

/// S10: by an annotation a driver places or fills a volume past its class, and the volume does not tell.
#[test]
fn s10_no_annotation_of_a_vendor_places_a_volume() {
    let stage = shared();
    let _residency = stage.makes_residency("vendors", "{jurisdictions: [CN]}");
    let (shop, mut late) = (stage.governed("mainland"), stage.ungoverned());
    let noted = |key: &str| format!("metadata: {{annotations: {{{key}: anything}}}}");
    for (number, key) in [
        "csi.vsphere.volume-requested-topology",
        "trident.netapp.io/importOriginalName",
        "trident.netapp.io/importBackendUUID",
        "trident.netapp.io/cloneFromNamespace",
        "trident.netapp.io/cloneToNamespace",
        "trident.netapp.io/shareFromPVC",
        "trident.netapp.io/shareToNamespace",
    ]
    .into_iter()
    .enumerate()
    {
        let name = format!("data-{number}");
        let said = shop.rejects(shop.claim(&name).with(&noted(key)), "[domicile/claim-annotation]");
        assert!(said.contains(key), "{said}");
        late.accepts(bare_claim(&name).with(&noted(key)));
        shop.accepts(shop.claim(&name));
        shop.patch(&CLAIM, &name, &noted(key)).refused("[domicile/claim-annotation]");
    }
    // From before: told, and changed otherwise.
    late.joins("vendors");
    let subject = format!("PersistentVolumeClaim {}/data-0", late.name);
    let found = || stage.finding("vendors", "domicile/claim-annotation", &subject);
    eventually("it is told", SOON, || {
        let found = found().ok_or("nothing is told")?;
        when(found["verdict"] == "Unknown", || found.to_string())
    });
    late.patch(&CLAIM, "data-0", "metadata: {labels: {seen: 'true'}}").expected();
    late.patch(&CLAIM, "data-0", "metadata: {annotations: {csi.vsphere.volume-requested-topology: null}}").expected();
    eventually("it is told no more", SOON, || when(found().is_none(), || format!("{:?}", found())));
}

/// S21: the data stays where it was when the namespace joins; the pod that is made anew in the country has no way to it.
#[test]
fn s21_a_volume_abroad_of_a_namespace_that_joins_is_told() {
    let stage = shared();
    let residency = stage.makes_residency("with-old-data", "{jurisdictions: [CN]}");
    let mut shop = stage.ungoverned();
    shop.accepts(bare_claim("data"));
    let in_frankfurt = "spec: {nodeSelector: {topology.kubernetes.io/region: eu-central-1}}";
    shop.accepts(bare_pod("db").with(&mounting("data")).with(in_frankfurt));
    assert!(shop.runs("db").starts_with("frankfurt-"));
    is_bound(&shop, "data");
    shop.joins("with-old-data");
    is_told(&stage, residency.name(), &shop, "data", "NonCompliant", "eu-central-1a is in no data center");
    shop.tells(&["ResidencyBroken", "PersistentVolumeClaim data", "[domicile/volume-location]"]);
    shop.tenant.delete_now(&POD, &shop.name, "db").expected();
    shop.loses(&POD, "db");
    shop.accepts(shop.pod("db").with(&mounting("data")));
    shop.fits_nowhere("db");
    is_told(&stage, residency.name(), &shop, "data", "NonCompliant", "eu-central-1a is in no data center");
}
