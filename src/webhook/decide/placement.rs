//! Pods and DaemonSet templates get the pins that they lack. As `mutate-placement.yaml`.

use json_patch::Patch;
use serde_json::{Value, json};

use super::{field, set};
use crate::domain::{Residencies, keys};

const SELECTOR: &str = "nodeSelector";

/// Adds the node selector of each residency to the pod spec at `path`. One with a wrong value is not mended: `pods.yaml`
/// refuses it and says so.
pub(super) fn pin(object: &Value, path: &[&str], named: &Residencies) -> Patch {
    let spec = field(object, path);
    let standing = spec.get(SELECTOR).and_then(Value::as_object);
    let mut missing: Vec<String> = named.names().map(keys::node_residency).collect();
    missing.retain(|pin| standing.is_none_or(|selector| !selector.contains_key(pin)));
    if !spec.is_object() || missing.is_empty() {
        return Patch::default();
    }
    let selector = [path, &[SELECTOR]].concat();
    let made = standing.is_none().then(|| set(selector.iter().copied(), json!({})));
    let pins = missing.iter().map(|pin| set(selector.iter().copied().chain([pin.as_str()]), "true"));
    Patch(made.into_iter().chain(pins).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::webhook::decide::fixture::{mended, space, untouched, with_spec};

    fn pins(names: &[&str]) -> Value {
        names.iter().map(|name| (keys::node_residency(name), json!("true"))).collect::<serde_json::Map<_, _>>().into()
    }

    #[test]
    fn a_pod_gets_a_pin_for_each_residency() {
        let named = space("mainland_battery", &[]);
        let pod = mended("pods", with_spec(json!({"containers": []})), Some(&named));
        assert_eq!(pod["spec"]["nodeSelector"], pins(&["mainland", "battery"]));
    }

    #[test]
    fn what_the_author_wrote_stays() {
        let named = space("mainland_battery", &[]);
        let mut selector = pins(&["battery"]);
        selector["disk"] = json!("fast");
        selector[keys::node_residency("mainland")] = json!("false");
        untouched("pods", with_spec(json!({"nodeSelector": selector})), Some(&named));
        selector.as_object_mut().unwrap().remove(&keys::node_residency("mainland"));
        let pod = mended("pods", with_spec(json!({"nodeSelector": selector})), Some(&named));
        selector[keys::node_residency("mainland")] = json!("true");
        assert_eq!(pod["spec"]["nodeSelector"], selector);
    }

    #[test]
    fn a_daemon_set_is_pinned_in_its_template() {
        let set = with_spec(json!({"template": {"spec": {}}}));
        let set = mended("apps/daemonsets", set, Some(&space("mainland", &[])));
        assert_eq!(set["spec"], json!({"template": {"spec": {"nodeSelector": pins(&["mainland"])}}}));
    }

    #[test]
    fn nothing_is_changed_where_nothing_is_enforced_or_known() {
        let pod = || with_spec(json!({}));
        untouched("pods", pod(), None);
        untouched("pods", pod(), Some(&space("none", &[])));
        untouched("pods", pod(), Some(&space("Not/a/name", &[])));
        for mode in ["Warn", "Audit"] {
            let mut lenient = space("mainland", &[]);
            lenient.labels.insert(keys::ENFORCEMENT.into(), mode.into());
            untouched("pods", pod(), Some(&lenient));
        }
        let mut young = space("mainland", &[]);
        young.labels.remove(keys::ENFORCEMENT);
        assert_eq!(mended("pods", pod(), Some(&young))["spec"]["nodeSelector"], pins(&["mainland"]));
        untouched("apps/deployments", with_spec(json!({"template": {"spec": {}}})), Some(&young));
    }

    #[test]
    fn an_object_of_another_shape_is_left_alone() {
        let named = space("mainland", &[]);
        for object in [json!(null), json!([]), json!({"spec": "text"}), json!({})] {
            untouched("pods", object.clone(), Some(&named));
            untouched("apps/daemonsets", object.clone(), Some(&named));
            untouched("persistentvolumeclaims", object.clone(), Some(&named));
            untouched("networking.k8s.io/networkpolicies", object.clone(), Some(&named));
            untouched("namespaces", object, None);
        }
    }
}
