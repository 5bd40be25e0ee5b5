//! StorageClasses of residencies: create, change in place, or make again.

use k8s_openapi::{
    api::{
        core::v1::{TopologySelectorLabelRequirement, TopologySelectorTerm},
        storage::v1::StorageClass,
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};

use crate::{domain::keys, observe::Class, resolve::WantedClass};

/// What must be done so that a class stands as wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClassStep {
    /// It stands.
    Nothing,
    /// It is not there.
    Create,
    /// Kubernetes lets what differs be changed.
    Change,
    /// Kubernetes does not: it is deleted and made again. Volumes and claims are not touched by that.
    Recreate,
}

/// What must be done with `wanted`, given what stands under its name.
#[must_use]
pub fn step(wanted: &WantedClass, live: Option<&Class>) -> ClassStep {
    match live {
        None => ClassStep::Create,
        Some(live) if wanted.is(live) => ClassStep::Nothing,
        Some(live) if wanted.is_but_for_the_mutable(live) => ClassStep::Change,
        Some(_) => ClassStep::Recreate,
    }
}

/// The whole class.
#[must_use]
pub fn class(wanted: &WantedClass) -> StorageClass {
    let requirement =
        TopologySelectorLabelRequirement { key: wanted.topology_key.clone(), values: wanted.zones.clone() };
    StorageClass {
        metadata: ObjectMeta {
            name: Some(wanted.name.clone()),
            labels: Some([(keys::MANAGED_BY.to_owned(), keys::MANAGER.to_owned())].into()),
            annotations: Some([(keys::RESIDENCY.to_owned(), wanted.residency.clone())].into()),
            ..ObjectMeta::default()
        },
        provisioner: wanted.provisioner.clone(),
        parameters: (!wanted.parameters.is_empty()).then(|| wanted.parameters.clone()),
        reclaim_policy: Some(wanted.reclaim_policy.to_owned()),
        allow_volume_expansion: Some(wanted.allow_volume_expansion),
        volume_binding_mode: Some("WaitForFirstConsumer".to_owned()),
        allowed_topologies: Some(vec![TopologySelectorTerm { match_label_expressions: Some(vec![requirement]) }]),
        ..StorageClass::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted() -> WantedClass {
        WantedClass {
            name: "mainland-ssd".into(),
            residency: "mainland".into(),
            provisioner: "diskplugin.csi.alibabacloud.com".into(),
            parameters: [("type".to_owned(), "cloud_essd".to_owned())].into(),
            reclaim_policy: "Retain",
            allow_volume_expansion: true,
            topology_key: "topology.diskplugin.csi.alibabacloud.com/zone".into(),
            zones: vec!["cn-shanghai-e".into()],
        }
    }

    #[test]
    fn what_was_made_stands() {
        let live = Class::from(class(&wanted()));
        assert_eq!(step(&wanted(), Some(&live)), ClassStep::Nothing);
        assert_eq!(step(&wanted(), None), ClassStep::Create);
    }

    #[test]
    fn zones_change_in_place_and_parameters_do_not() {
        let live = Class::from(class(&wanted()));
        let widened = WantedClass { zones: vec!["cn-beijing-h".into(), "cn-shanghai-e".into()], ..wanted() };
        assert_eq!(step(&widened, Some(&live)), ClassStep::Change);
        let other = WantedClass { parameters: [].into(), ..wanted() };
        assert_eq!(step(&other, Some(&live)), ClassStep::Recreate);
    }
}
