//! StorageClasses: those that a residency wants kept, and whether a living one proves in-country by its content.
//!
//! A class is never trusted for its name: anyone who may create StorageClasses could make another under the same one.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    api::data_residency::{ClassSpec, ReclaimPolicy},
    domain::{Finding, Leg, Subject, Verdict, drivers},
    observe::{Class, model::Map},
};

/// A class that Domicile creates and keeps.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct WantedClass {
    /// Its name.
    pub name: String,
    /// The residency that it is made for.
    pub residency: String,
    /// The driver.
    pub provisioner: String,
    /// The driver's parameters.
    pub parameters: Map,
    /// `Retain` or `Delete`.
    pub reclaim_policy: &'static str,
    /// Whether claims may grow.
    pub allow_volume_expansion: bool,
    /// The driver's topology key.
    pub topology_key: String,
    /// The permitted zones, sorted; never empty.
    pub zones: Vec<String>,
}

impl WantedClass {
    /// What `spec` comes to where volumes may lie in `zones`.
    ///
    /// # Errors
    /// A finding where the class could not be held to the zones, so that it must not exist.
    pub fn resolve(residency: &str, spec: &ClassSpec, zones: &BTreeSet<String>) -> Result<Self, Box<Finding>> {
        let unsuitable = |message: String, remedy: String| {
            let rule = "domicile/storage-class-content";
            let subject = Subject::cluster("StorageClass", &spec.name);
            Box::new(Finding { verdict: Verdict::Unknown, leg: Leg::Storage, rule, subject, message, remedy })
        };
        let driver = drivers::known(&spec.provisioner);
        let topology_key = match (spec.topology_key.as_str(), driver) {
            ("", Some(driver)) => driver.topology_key.to_owned(),
            ("", None) => {
                return Err(unsuitable(
                    format!("the topology key of driver {} is not known", spec.provisioner),
                    "set topologyKey to the key that the driver writes on CSINodes".to_owned(),
                ));
            }
            (key, _) => key.to_owned(),
        };
        if zones.is_empty() {
            return Err(unsuitable(
                "no data center of the residency's jurisdictions names a zone".to_owned(),
                "name the zones of the data centers in spec.zones".to_owned(),
            ));
        }
        if let Some((parameter, value)) = misplaced(&spec.provisioner, &spec.parameters, zones) {
            return Err(unsuitable(
                format!("parameter {parameter}: {value} puts volumes elsewhere than the permitted zones"),
                format!("leave {parameter} out; Domicile names the zones in allowedTopologies"),
            ));
        }
        Ok(Self {
            name: spec.name.clone(),
            residency: residency.to_owned(),
            provisioner: spec.provisioner.clone(),
            parameters: spec.parameters.clone(),
            reclaim_policy: match spec.reclaim_policy {
                ReclaimPolicy::Retain => "Retain",
                ReclaimPolicy::Delete => "Delete",
            },
            allow_volume_expansion: spec.allow_volume_expansion,
            topology_key,
            zones: zones.iter().cloned().collect(),
        })
    }

    /// The class's allowed topologies.
    #[must_use]
    pub fn topologies(&self) -> Vec<BTreeMap<String, Vec<String>>> {
        vec![BTreeMap::from([(self.topology_key.clone(), self.zones.clone())])]
    }

    /// Whether `live` is this class in everything that decides where a volume lies.
    #[must_use]
    pub fn is(&self, live: &Class) -> bool {
        self.is_but_for_the_mutable(live)
            && live.topologies == self.topologies()
            && live.allow_volume_expansion == self.allow_volume_expansion
    }

    /// Whether every volume of `live` lies where this class's would: so is a class that is about to be widened.
    #[must_use]
    pub fn covers(&self, live: &Class) -> bool {
        let inside = |term: &BTreeMap<String, Vec<String>>| {
            term.get(&self.topology_key).is_some_and(|zones| zones.iter().all(|zone| self.zones.contains(zone)))
        };
        self.is_but_for_the_mutable(live) && !live.topologies.is_empty() && live.topologies.iter().all(inside)
    }

    /// The same, leaving out what Kubernetes lets be changed in place.
    #[must_use]
    pub fn is_but_for_the_mutable(&self, live: &Class) -> bool {
        live.managed
            && live.made_for.as_deref() == Some(self.residency.as_str())
            && live.provisioner == self.provisioner
            && live.parameters == self.parameters
            && live.reclaim_policy == self.reclaim_policy
            && live.binding_mode == "WaitForFirstConsumer"
    }
}

/// Whether every volume of a class of others lies in `zones`, judged by its content.
///
/// # Errors
/// Why that cannot be told, or is not so.
pub fn proven(class: &Class, zones: &BTreeSet<String>) -> Result<(), String> {
    let Some(driver) = drivers::known(&class.provisioner) else {
        return Err(format!("nothing is known of the topology of driver {}", class.provisioner));
    };
    if let Some((parameter, value)) = misplaced(&class.provisioner, &class.parameters, zones) {
        return Err(format!("parameter {parameter}: {value} puts volumes elsewhere than the permitted zones"));
    }
    if class.topologies.is_empty() {
        return Err("it has no allowedTopologies, so its volumes may lie anywhere".to_owned());
    }
    for term in &class.topologies {
        let Some(values) = term.get(driver.topology_key) else {
            return Err(format!("an entry of allowedTopologies does not name {}", driver.topology_key));
        };
        if let Some(zone) = values.iter().find(|zone| !zones.contains(*zone)) {
            return Err(format!("its zone {zone} is in no data center of the residency"));
        }
    }
    Ok(())
}

/// A parameter that names a place which is not one of `zones`. The zones of a list must all be permitted.
fn misplaced<'a>(provisioner: &str, parameters: &'a Map, zones: &BTreeSet<String>) -> Option<(&'a str, &'a str)> {
    let driver = drivers::known(provisioner)?;
    parameters
        .iter()
        .filter(|(parameter, _)| driver.location_parameters.contains(&parameter.as_str()))
        .find(|(_, value)| !value.split(',').all(|zone| zones.contains(zone.trim())))
        .map(|(parameter, value)| (parameter.as_str(), value.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "topology.diskplugin.csi.alibabacloud.com/zone";

    fn zones() -> BTreeSet<String> {
        ["cn-shanghai-e", "cn-beijing-h"].map(str::to_owned).into()
    }

    fn spec(extra: serde_json::Value) -> ClassSpec {
        let mut spec = serde_json::json!({"name": "mainland-ssd", "provisioner": "diskplugin.csi.alibabacloud.com"});
        spec.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        serde_json::from_value(spec).unwrap()
    }

    fn class(topologies: &[(&str, &[&str])]) -> Class {
        let term = |(key, values): &(&str, &[&str])| {
            BTreeMap::from([((*key).to_owned(), values.iter().map(|zone| (*zone).to_owned()).collect())])
        };
        Class {
            provisioner: "diskplugin.csi.alibabacloud.com".into(),
            topologies: topologies.iter().map(term).collect(),
            ..Class::default()
        }
    }

    #[test]
    fn the_drivers_own_key_is_taken() {
        let wanted = WantedClass::resolve("mainland", &spec(serde_json::json!({})), &zones()).unwrap();
        assert_eq!(
            wanted.topologies(),
            vec![BTreeMap::from([(KEY.to_owned(), vec!["cn-beijing-h".to_owned(), "cn-shanghai-e".to_owned()])])]
        );
    }

    #[test]
    fn a_class_that_could_not_be_held_is_not_made() {
        let unknown = spec(serde_json::json!({"provisioner": "nfs.csi.k8s.io"}));
        assert!(WantedClass::resolve("mainland", &unknown, &zones()).unwrap_err().message.contains("not known"));
        let elsewhere = spec(serde_json::json!({"parameters": {"zoneId": "cn-hongkong-b"}}));
        assert!(WantedClass::resolve("mainland", &elsewhere, &zones()).unwrap_err().message.contains("zoneId"));
        assert!(WantedClass::resolve("mainland", &spec(serde_json::json!({})), &BTreeSet::new()).is_err());
    }

    #[test]
    fn a_class_of_others_is_judged_by_its_content() {
        assert!(proven(&class(&[(KEY, &["cn-shanghai-e"])]), &zones()).is_ok());
        assert!(proven(&class(&[]), &zones()).unwrap_err().contains("anywhere"));
        assert!(
            proven(&class(&[(KEY, &["cn-shanghai-e", "cn-hongkong-b"])]), &zones())
                .unwrap_err()
                .contains("cn-hongkong-b")
        );
        assert!(proven(&class(&[(KEY, &["cn-shanghai-e"]), ("other", &["x"])]), &zones()).is_err());
    }

    #[test]
    fn a_class_stays_admitted_while_it_is_widened_and_not_while_it_is_narrowed() {
        let of =
            |zones: &BTreeSet<String>| WantedClass::resolve("mainland", &spec(serde_json::json!({})), zones).unwrap();
        let live = |wanted: &WantedClass| Class::from(crate::compile::storage::class(wanted));
        let (wide, narrow) = (of(&zones()), of(&["cn-shanghai-e".to_owned()].into()));
        assert!(wide.covers(&live(&narrow)));
        assert!(!narrow.covers(&live(&wide)));
    }
}
