//! A namespace that is created with a confinement (a restore, a copy) has it taken off. As `mutate-namespaces.yaml`.

use json_patch::{Patch, PatchOperation};
use serde_json::Value;

use super::{field, remove};
use crate::domain::keys;

/// Takes every key of a confinement away.
pub(super) fn strip(namespace: &Value) -> Patch {
    let mut changes = foreign(namespace, "labels", &keys::CONFINEMENT_LABELS);
    changes.extend(foreign(namespace, "annotations", &keys::CONFINEMENT_ANNOTATIONS));
    Patch(changes)
}

fn foreign(namespace: &Value, map: &str, keys: &[&str]) -> Vec<PatchOperation> {
    let standing = field(namespace, &["metadata", map]);
    let forged = keys.iter().filter(|key| standing.get(**key).is_some());
    forged.map(|key| remove(["metadata", map, key])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::webhook::decide::fixture::{mended, untouched};
    use serde_json::json;

    #[test]
    fn a_forged_confinement_is_taken_off_and_the_rest_stays() {
        let all = |keys: &[&str]| -> serde_json::Map<String, Value> {
            keys.iter().map(|key| ((*key).to_owned(), json!("true"))).collect()
        };
        let (mut labels, mut annotations) = (all(&keys::CONFINEMENT_LABELS), all(&keys::CONFINEMENT_ANNOTATIONS));
        labels.insert(keys::RESIDENCY.into(), json!("mainland"));
        annotations.insert("note".into(), json!("kept"));
        let copy = json!({"metadata": {"name": "copy", "labels": labels, "annotations": annotations}});
        let metadata = mended("namespaces", copy, None)["metadata"].clone();
        assert_eq!(metadata["labels"], json!({keys::RESIDENCY: "mainland"}));
        assert_eq!(metadata["annotations"], json!({"note": "kept"}));
        untouched("namespaces", json!({"metadata": {"name": "plain"}}), None);
    }
}
