//! A claim in which nobody named a StorageClass gets the residency's default. As `mutate-storage.yaml`.

use json_patch::Patch;
use serde_json::Value;

use super::{field, set};
use crate::{
    domain::{NOTHING, keys},
    observe::Namespace,
};

/// More managers are not looked through: the class then counts as named, and is judged as it stands.
const MANAGERS: usize = 20;

/// Sets the default class. The API server has filled in the cluster's own by now, so an empty field does not tell whether
/// somebody chose; the claim's `managedFields` do: at creation they hold what the client sent.
pub(super) fn default_class(claim: &Value, space: &Namespace) -> Patch {
    let default = space.annotations.get(keys::DEFAULT_STORAGE_CLASS).filter(|class| *class != NOTHING);
    match default {
        Some(class) if claim.get("spec").is_some_and(Value::is_object) && !somebody_named_the_class(claim) => {
            let stands = field(claim, &["spec", "storageClassName"]) == class.as_str();
            Patch(if stands { Vec::new() } else { vec![set(["spec", "storageClassName"], class.as_str())] })
        }
        Some(_) | None => Patch::default(),
    }
}

fn somebody_named_the_class(claim: &Value) -> bool {
    let managers = field(claim, &["metadata", "managedFields"]).as_array().map(Vec::as_slice).unwrap_or_default();
    let named = |manager: &Value| !field(manager, &["fieldsV1", "f:spec", "f:storageClassName"]).is_null();
    managers.len() > MANAGERS || managers.iter().any(named)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::webhook::decide::fixture::{mended, space, untouched};
    use serde_json::json;

    const CLAIMS: &str = "persistentvolumeclaims";

    fn claim(class: &str, managers: Value) -> Value {
        json!({"metadata": {"managedFields": managers}, "spec": {"storageClassName": class}})
    }

    fn manager(fields: Value) -> Value {
        json!({"manager": "kubectl", "fieldsType": "FieldsV1", "fieldsV1": {"f:spec": fields}})
    }

    #[test]
    fn the_clusters_default_is_replaced_and_a_chosen_class_is_not() {
        let here = space("mainland", &[(keys::DEFAULT_STORAGE_CLASS, "mainland-ssd")]);
        let class = |claim: Value| mended(CLAIMS, claim, Some(&here))["spec"]["storageClassName"].clone();
        assert_eq!(class(json!({"spec": {}})), "mainland-ssd");
        assert_eq!(class(claim("standard", json!([manager(json!({"f:resources": {}}))]))), "mainland-ssd");
        assert_eq!(class(claim("gp3", json!([manager(json!({"f:storageClassName": {}}))]))), "gp3");
        let many: Vec<Value> = (0..21).map(|_| manager(json!({}))).collect();
        assert_eq!(class(claim("standard", json!(many))), "standard");
    }

    #[test]
    fn without_a_default_nothing_is_changed() {
        for annotations in [&[][..], &[(keys::DEFAULT_STORAGE_CLASS, "-")][..]] {
            untouched(CLAIMS, claim("standard", json!([])), Some(&space("mainland", annotations)));
        }
    }
}
