//! Where governed data lies: the classes of claims, the volumes behind them, and what pods mount past any claim.
//!
//! A class says where a volume is made; the volume itself says where it was made. Both are judged, since a volume may be
//! older than the confinement, or be written by hand. A place that cannot be told is `Unknown`.

use std::collections::BTreeMap;

use crate::{
    domain::{Finding, Leg, Subject, Verdict, drivers, keys},
    observe::{Claim, Inline, Key, Pod, Volume},
    resolve::{Location, proven},
};

use super::Scene;

/// Label by which volumes of one machine name it.
const HOSTNAME: &str = "kubernetes.io/hostname";

/// Judges every claim, every volume behind one, and the inline volumes of every pod that runs or may yet run.
pub(super) fn audit(scene: &Scene<'_>) -> Vec<Finding> {
    let active = scene.pods.iter().filter(|(_, pod)| pod.is_active());
    let mut findings: Vec<Finding> = active.filter_map(|(key, pod)| inline(key, pod)).collect();
    for (key, claim) in &scene.claims {
        findings.extend(class(scene, key, claim));
        findings.extend(location(scene, key, claim));
        findings.extend(placed(key, claim));
    }
    findings
}

/// It mounts what no claim speaks of.
fn inline(key: &Key, pod: &Pod) -> Option<Finding> {
    let Inline { first, more } = &pod.inline_volumes;
    let first = first.as_ref()?;
    let more = if *more == 0 { String::new() } else { format!(" (and {more} more)") };
    Some(Finding {
        verdict: Verdict::NonCompliant,
        leg: Leg::Storage,
        rule: "domicile/pod-volume",
        subject: Subject::namespaced("Pod", &key.namespace, &key.name, &pod.uid),
        message: format!("volume {first}{more} is mounted past the claims, from where nobody can tell"),
        remedy: "use a persistentVolumeClaim, or a volume that stays on the node (emptyDir, configMap, secret, downwardAPI, projected, image)".to_owned(),
    })
}

/// Its class is not permitted. The empty class with a named volume is no class: only the volume decides.
fn class(scene: &Scene<'_>, key: &Key, claim: &Claim) -> Option<Finding> {
    let permitted = &scene.confined.confinement.storage_classes;
    let message = match claim.class.as_deref() {
        Some("") if claim.volume.is_some() => return None,
        Some(class) if permitted.iter().any(|own| own == class) || is_being_put_back(scene, class) => return None,
        None | Some("") => "it names no StorageClass".to_owned(),
        Some(class) => {
            format!("its StorageClass {class} is not proven to be where the data belongs{}", why(scene, class))
        }
    };
    let remedy = match permitted.first() {
        None => "have a class made or allowed in spec.storage of the DataResidency, and move the data to a claim of that class".to_owned(),
        Some(_) => format!("move the data to a claim of class {}, since a claim cannot change its class", permitted.join(" or ")),
    };
    Some(finding(key, claim, Verdict::NonCompliant, "domicile/storage-class", message, remedy))
}

/// Domicile's own class that was taken away or changed is no news of its claims: their volumes are judged by where they lie,
/// and that the class does not stand is told of the residency. One that stands, and is not permitted all the same, another
/// residency leaves out.
fn is_being_put_back(scene: &Scene<'_>, name: &str) -> bool {
    let missing = scene.residencies.iter().filter(|residency| !residency.admitted_classes.contains(name));
    let mut own = missing.flat_map(|residency| &residency.classes);
    own.find(|class| class.name == name).is_some_and(|class| class.zones.iter().all(|zone| is_permitted(scene, zone)))
}

/// What speaks against a class, in words.
fn why(scene: &Scene<'_>, name: &str) -> String {
    let Some(class) = scene.classes.get(name) else { return ": it does not exist".to_owned() };
    let first = scene.residencies.iter().find_map(|residency| proven(class, &residency.zones).err());
    first.map_or_else(|| ": the residency does not name it".to_owned(), |reason| format!(": {reason}"))
}

/// Where the volume itself lies, whatever its class.
fn location(scene: &Scene<'_>, key: &Key, claim: &Claim) -> Option<Finding> {
    let name = claim.volume.as_deref()?;
    let place = match scene.volumes.get(name) {
        Some(volume) => place(scene, volume),
        None => Place::Unclear("it is not known here".to_owned()),
    };
    let (verdict, what) = match place {
        Place::Inside => return None,
        Place::Outside(what) => (Verdict::NonCompliant, what),
        Place::Unclear(what) => (Verdict::Unknown, what),
    };
    let remedy = "move the data to a volume whose node affinity names zones of the residency's data centers, or name the zone in spec.zones of its data center";
    let message = format!("where its volume {name} lies: {what}");
    Some(finding(key, claim, verdict, "domicile/volume-location", message, remedy.to_owned()))
}

/// Its driver places or fills the volume past the class; who reaches the volume then says nothing of where it lies.
fn placed(key: &Key, claim: &Claim) -> Option<Finding> {
    let annotation = claim.placing?;
    let message = format!("its annotation {annotation} places, fills or shares its volume past its StorageClass");
    let remedy = "move the data to a claim without the annotation".to_owned();
    Some(finding(key, claim, Verdict::Unknown, "domicile/claim-annotation", message, remedy))
}

fn finding(key: &Key, claim: &Claim, verdict: Verdict, rule: &'static str, message: String, remedy: String) -> Finding {
    let subject = Subject::namespaced("PersistentVolumeClaim", &key.namespace, &key.name, &claim.uid);
    Finding { verdict, leg: Leg::Storage, rule, subject, message, remedy }
}

/// Where a volume lies, or one term of its node affinity says that it lies.
enum Place {
    Inside,
    Outside(String),
    Unclear(String),
}

/// Terms are alternatives, so every one must lie inside; one that lies outside decides.
fn place(scene: &Scene<'_>, volume: &Volume) -> Place {
    if volume.terms.is_empty() {
        return Place::Unclear("it has no node affinity, so it may lie anywhere".to_owned());
    }
    let mut worst = Place::Inside;
    for term in &volume.terms {
        match (term_place(scene, volume, term), &worst) {
            (outside @ Place::Outside(_), _) => return outside,
            (unclear @ Place::Unclear(_), Place::Inside) => worst = unclear,
            (Place::Unclear(_) | Place::Inside, _) => {}
        }
    }
    worst
}

/// The expressions of a term hold together, so one that lies inside is enough.
fn term_place(scene: &Scene<'_>, volume: &Volume, term: &BTreeMap<String, Vec<String>>) -> Place {
    let mut outside = None;
    for (key, values) in term.iter().filter(|(_, values)| !values.is_empty()) {
        let found = if key == HOSTNAME {
            let strangers: Vec<&String> = values.iter().filter(|node| !is_verified(scene, node)).collect();
            if strangers.is_empty() {
                return Place::Inside;
            }
            strangers.into_iter().find_map(|node| elsewhere(scene, node))
        } else if names_zones(scene, volume, key) {
            let Some(zone) = values.iter().find(|zone| !is_permitted(scene, zone)) else { return Place::Inside };
            Some(format!("{key} {zone} is in no data center of {}", scene.named))
        } else {
            None
        };
        outside = outside.or(found);
    }
    outside.map_or_else(|| Place::Unclear("its node affinity names no place that is known".to_owned()), Place::Outside)
}

/// Whether the key names zones: the standard one, the driver's own, or the one that a class for this driver says.
fn names_zones(scene: &Scene<'_>, volume: &Volume, key: &str) -> bool {
    let of_classes = || {
        let classes = scene.residencies.iter().flat_map(|residency| &residency.classes);
        classes.filter(|class| class.provisioner == volume.driver).any(|class| class.topology_key == key)
    };
    key == keys::ZONE || drivers::known(&volume.driver).is_some_and(|driver| driver.topology_key == key) || of_classes()
}

/// Whether volumes of every residency may lie in the zone.
fn is_permitted(scene: &Scene<'_>, zone: &str) -> bool {
    !scene.residencies.is_empty() && scene.residencies.iter().all(|residency| residency.zones.contains(zone))
}

fn is_verified(scene: &Scene<'_>, node: &str) -> bool {
    scene.locations.get(node).is_some_and(|location| scene.unsatisfied(location.jurisdiction()).is_none())
}

/// A node that is verified for another place; one that is in doubt, or not known, is not said to be elsewhere.
fn elsewhere(scene: &Scene<'_>, node: &str) -> Option<String> {
    match scene.locations.get(node)? {
        Location::Verified { data_center, jurisdiction } => {
            Some(format!("node {node} is in {jurisdiction} (data center {data_center})"))
        }
        Location::Unclaimed | Location::Conflict { .. } => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        audit::fixture::{DISK, DISK_ZONE, Stage, residency},
        observe::Class,
    };

    /// A claim of a permitted class, bound to a volume whose node affinity has these terms.
    fn bound(driver: &str, terms: &[&[(&str, &[&str])]]) -> Stage {
        let mut stage = Stage::new();
        stage.claim("data", Some("mainland-ssd"), Some("pv-1"));
        stage.volume("pv-1", driver, terms);
        stage
    }

    #[track_caller]
    fn lies(verdict: Option<Verdict>, driver: &str, terms: &[&[(&str, &[&str])]]) -> String {
        let findings = audit(&bound(driver, terms).scene());
        assert_eq!(findings.first().map(|finding| finding.verdict), verdict, "{findings:?}");
        assert!(findings.iter().all(|finding| finding.rule == "domicile/volume-location"));
        findings.into_iter().next().map(|finding| finding.message).unwrap_or_default()
    }

    #[test]
    fn a_volume_whose_every_term_names_permitted_zones_is_inside() {
        lies(None, DISK, &[&[(DISK_ZONE, &["cn-shanghai-e"])]]);
        lies(
            None,
            DISK,
            &[
                &[(DISK_ZONE, &["cn-shanghai-e", "cn-beijing-h"])],
                &[("topology.kubernetes.io/zone", &["cn-beijing-h"])],
            ],
        );
        lies(None, "local.csi.openebs.io", &[&[("openebs.io/zone", &["cn-shanghai-e"])]]);
        lies(None, DISK, &[&[("disk-type", &["essd"]), (DISK_ZONE, &["cn-shanghai-e"])]]);
    }

    #[test]
    fn a_volume_on_verified_machines_is_inside() {
        lies(None, "in-tree", &[&[("kubernetes.io/hostname", &["cn-1", "cn-2"])]]);
        assert!(
            lies(Some(Verdict::NonCompliant), "in-tree", &[&[("kubernetes.io/hostname", &["cn-1", "de-1"])]])
                .contains("node de-1 is in DE")
        );
        lies(Some(Verdict::Unknown), "in-tree", &[&[("kubernetes.io/hostname", &["doubtful"])]]);
        lies(Some(Verdict::Unknown), "in-tree", &[&[("kubernetes.io/hostname", &["ghost"])]]);
    }

    #[test]
    fn one_listed_zone_outside_decides() {
        let message = lies(Some(Verdict::NonCompliant), DISK, &[&[(DISK_ZONE, &["cn-shanghai-e", "cn-hongkong-b"])]]);
        assert!(message.contains("cn-hongkong-b is in no data center of mainland"), "{message}");
        lies(Some(Verdict::NonCompliant), DISK, &[&[], &[(DISK_ZONE, &["cn-hongkong-b"])]]);
    }

    #[test]
    fn what_cannot_be_told_is_unknown() {
        assert!(lies(Some(Verdict::Unknown), "nfs.csi.k8s.io", &[]).contains("may lie anywhere"));
        lies(Some(Verdict::Unknown), DISK, &[&[]]);
        lies(Some(Verdict::Unknown), DISK, &[&[("topology.kubernetes.io/region", &["cn-shanghai"])]]);
        lies(Some(Verdict::Unknown), DISK, &[&[(DISK_ZONE, &[])]]);
        lies(Some(Verdict::Unknown), "other.example", &[&[(DISK_ZONE, &["cn-shanghai-e"])]]);
        lies(Some(Verdict::Unknown), DISK, &[&[(DISK_ZONE, &["cn-shanghai-e"])], &[]]);
        let mut stage = Stage::new();
        stage.claim("data", Some("mainland-ssd"), Some("gone"));
        assert_eq!(stage.one(audit).verdict, Verdict::Unknown);
    }

    #[test]
    fn zones_must_be_permitted_by_every_residency() {
        let mut stage = bound(DISK, &[&[(DISK_ZONE, &["cn-shanghai-e"])]]);
        stage.residencies.push(residency("battery", "CN", &["cn-beijing-h"]));
        assert_eq!(stage.one(audit).verdict, Verdict::NonCompliant);
    }

    #[test]
    fn a_class_that_is_not_permitted_is_told_with_what_speaks_against_it() {
        let mut stage = Stage::new();
        stage.claim("data", Some("gp3"), None);
        assert!(stage.one(audit).message.contains("it does not exist"));
        stage.classes.insert("gp3".into(), Class { provisioner: "ebs.csi.aws.com".into(), ..Class::default() });
        let finding = stage.one(audit);
        assert_eq!((finding.verdict, finding.rule), (Verdict::NonCompliant, "domicile/storage-class"));
        assert!(finding.message.contains("it has no allowedTopologies"), "{}", finding.message);
        assert!(finding.remedy.contains("class mainland-ssd"));
    }

    #[test]
    fn a_class_that_stands_and_that_another_residency_leaves_out_is_a_finding() {
        let mut stage = Stage::new();
        stage.claim("data", Some("mainland-lvm"), None);
        assert!(audit(&stage.scene()).is_empty());
        stage.residencies[0].admitted_classes.insert("mainland-lvm".into());
        assert_eq!(stage.one(audit).rule, "domicile/storage-class");
    }

    #[test]
    fn a_class_that_is_put_back_is_no_finding_of_its_claims() {
        let mut stage = Stage::new();
        stage.claim("data", Some("mainland-lvm"), None);
        assert!(audit(&stage.scene()).is_empty());
        stage.residencies.push(residency("battery", "CN", &["cn-beijing-h"]));
        assert_eq!(stage.one(audit).rule, "domicile/storage-class");
    }

    #[test]
    fn only_a_named_volume_does_without_a_class() {
        let mut stage = Stage::new();
        stage.claim("data", None, None);
        assert!(stage.one(audit).message.contains("names no StorageClass"));
        stage.claim("data", Some(""), None);
        assert_eq!(stage.one(audit).rule, "domicile/storage-class");
        stage.claim("data", Some(""), Some("pv-1"));
        stage.volume("pv-1", DISK, &[&[(DISK_ZONE, &["cn-shanghai-e"])]]);
        assert!(audit(&stage.scene()).is_empty());
    }

    #[test]
    fn a_volume_past_the_claims_is_told_once_for_each_pod() {
        let mut stage = Stage::new();
        stage.pod("web", |pod| pod.inline_volumes = Inline { first: Some("logs".into()), more: 1 });
        let finding = stage.one(audit);
        assert_eq!(finding.rule, "domicile/pod-volume");
        assert!(finding.message.starts_with("volume logs (and 1 more)"), "{}", finding.message);
    }
}
