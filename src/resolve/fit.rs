//! Whether a node could take a pod: what the scheduler looks at first, so that no pod is moved to where nothing runs it.
//!
//! It is asked before a pod is evicted, and errs towards leaving the pod: other rules of the scheduler (pod affinity, spread,
//! ports, devices) can still keep its successor waiting, and the next pod of the same owner is left until that one runs.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1 as core;

use crate::observe::{Node, Resources, model::Map};

/// A node that a governed pod may be sent to, and what is free on it.
#[derive(Clone, Debug, PartialEq)]
pub struct Place {
    /// The node.
    pub node: Node,
    /// What no pod has asked for.
    pub free: Resources,
}

/// Whether one of `places` takes a pod of this spec, which asks for so much. Its own node name does not count.
///
/// # Errors
/// Why none does, in words.
pub fn fits(spec: &core::PodSpec, asked: Resources, places: &[Place]) -> Result<(), String> {
    if places.is_empty() {
        return Err("no node is verified for it".to_owned());
    }
    let mut reasons: BTreeMap<&'static str, u32> = BTreeMap::new();
    for place in places {
        match against(spec, asked, place) {
            None => return Ok(()),
            Some(reason) => *reasons.entry(reason).or_default() += 1,
        }
    }
    let counted: Vec<String> = reasons.iter().map(|(reason, count)| format!("{count} {reason}")).collect();
    Err(format!("none of {} verified nodes takes it: {}", places.len(), counted.join(", ")))
}

/// What speaks against a place.
fn against(spec: &core::PodSpec, asked: Resources, place: &Place) -> Option<&'static str> {
    let Place { node, free } = place;
    let tolerations = spec.tolerations.as_deref().unwrap_or_default();
    let repels = |taint: &core::Taint| {
        taint.effect != "PreferNoSchedule" && !tolerations.iter().any(|toleration| tolerates(toleration, taint))
    };
    if !node.ready {
        return Some("are not ready");
    }
    if node.unschedulable || node.taints.iter().any(repels) {
        return Some("have taints that it does not tolerate");
    }
    let selector = spec.node_selector.iter().flatten();
    if !selector.clone().all(|(key, value)| node.labels.get(key) == Some(value)) || !is_wanted(spec, node) {
        return Some("are none that its node selector or affinity asks for");
    }
    (!free.holds(asked)).then_some("are full")
}

fn tolerates(toleration: &core::Toleration, taint: &core::Taint) -> bool {
    let of = |wanted: &Option<String>, found: &str| {
        wanted.as_deref().is_none_or(|wanted| wanted.is_empty() || wanted == found)
    };
    let value = match toleration.operator.as_deref() {
        Some("Exists") => true,
        None | Some("Equal" | "") => {
            toleration.value.as_deref().unwrap_or_default() == taint.value.as_deref().unwrap_or_default()
        }
        Some(_) => false,
    };
    value && of(&toleration.effect, &taint.effect) && of(&toleration.key, &taint.key)
}

/// Whether the required node affinity takes the node: any of its terms, every expression of a term.
fn is_wanted(spec: &core::PodSpec, node: &Node) -> bool {
    let required = spec
        .affinity
        .as_ref()
        .and_then(|affinity| affinity.node_affinity.as_ref())
        .and_then(|affinity| affinity.required_during_scheduling_ignored_during_execution.as_ref());
    let fields = Map::from([("metadata.name".to_owned(), node.name.clone())]);
    required.is_none_or(|required| {
        required.node_selector_terms.iter().any(|term| {
            let (labels, names) = (term.match_expressions.as_deref(), term.match_fields.as_deref());
            let stated = labels.is_some_and(|all| !all.is_empty()) || names.is_some_and(|all| !all.is_empty());
            stated
                && labels.unwrap_or_default().iter().all(|one| holds(one, &node.labels))
                && names.unwrap_or_default().iter().all(|one| holds(one, &fields))
        })
    })
}

fn holds(requirement: &core::NodeSelectorRequirement, labels: &Map) -> bool {
    let found = labels.get(&requirement.key);
    let values = requirement.values.as_deref().unwrap_or_default();
    let number = |text: Option<&String>| text.and_then(|text| text.parse::<i64>().ok());
    let compared = || Some(number(found)?.cmp(&number(values.first())?));
    match requirement.operator.as_str() {
        "In" => found.is_some_and(|found| values.contains(found)),
        "NotIn" => found.is_none_or(|found| !values.contains(found)),
        "Exists" => found.is_some(),
        "DoesNotExist" => found.is_none(),
        "Gt" => compared().is_some_and(std::cmp::Ordering::is_gt),
        "Lt" => compared().is_some_and(std::cmp::Ordering::is_lt),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(change: impl FnOnce(&mut Place)) -> Place {
        let labels = [("disk", "ssd"), ("generation", "7")].map(|(key, value)| (key.to_owned(), value.to_owned()));
        let node = Node { name: "cn-1".into(), labels: labels.into(), ready: true, ..Node::default() };
        let mut place = Place { node, free: Resources { millicores: 1000, memory: 1000 } };
        change(&mut place);
        place
    }

    #[track_caller]
    fn takes(spec: serde_json::Value, place: Place, expected: bool) -> String {
        let spec = serde_json::from_value(spec).unwrap();
        let fitting = fits(&spec, ASKED, &[place]);
        assert_eq!(fitting.is_ok(), expected, "{fitting:?}");
        fitting.err().unwrap_or_default()
    }

    const ASKED: Resources = Resources { millicores: 1000, memory: 1000 };

    fn plain() -> serde_json::Value {
        serde_json::json!({"containers": []})
    }

    #[test]
    fn a_node_that_is_free_and_ready_takes_it() {
        takes(plain(), place(|_| {}), true);
        takes(plain(), place(|place| place.node.ready = false), false);
        takes(plain(), place(|place| place.node.unschedulable = true), false);
        assert!(takes(plain(), place(|place| place.free.millicores = 999), false).contains("1 are full"));
        assert!(fits(&serde_json::from_value(plain()).unwrap(), ASKED, &[]).is_err());
    }

    #[test]
    fn taints_repel_what_does_not_tolerate_them() {
        let tainted = |effect: &str| {
            let taint = serde_json::json!({"key": "team", "value": "a", "effect": effect});
            place(|place| place.node.taints = vec![serde_json::from_value(taint).unwrap()])
        };
        takes(plain(), tainted("NoSchedule"), false);
        takes(plain(), tainted("PreferNoSchedule"), true);
        for (toleration, expected) in [
            (serde_json::json!({"operator": "Exists"}), true),
            (serde_json::json!({"key": "team", "value": "a"}), true),
            (serde_json::json!({"key": "team", "operator": "Exists", "effect": "NoSchedule"}), true),
            (serde_json::json!({"key": "team", "value": "b"}), false),
            (serde_json::json!({"key": "other", "operator": "Exists"}), false),
            (serde_json::json!({"key": "team", "value": "a", "effect": "NoExecute"}), false),
        ] {
            let mut spec = plain();
            spec["tolerations"] = serde_json::json!([toleration]);
            takes(spec, tainted("NoSchedule"), expected);
        }
    }

    #[test]
    fn selector_and_affinity_decide() {
        for (selector, expected) in [("ssd", true), ("hdd", false)] {
            let mut spec = plain();
            spec["nodeSelector"] = serde_json::json!({"disk": selector});
            takes(spec, place(|_| {}), expected);
        }
        for (term, expected) in [
            (serde_json::json!({"matchExpressions": [{"key": "disk", "operator": "In", "values": ["ssd"]}]}), true),
            (serde_json::json!({"matchExpressions": [{"key": "disk", "operator": "NotIn", "values": ["ssd"]}]}), false),
            (serde_json::json!({"matchExpressions": [{"key": "generation", "operator": "Gt", "values": ["6"]}]}), true),
            (
                serde_json::json!({"matchExpressions": [{"key": "generation", "operator": "Lt", "values": ["6"]}]}),
                false,
            ),
            (serde_json::json!({"matchExpressions": [{"key": "zone", "operator": "DoesNotExist"}]}), true),
            (
                serde_json::json!({"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["de-1"]}]}),
                false,
            ),
            (serde_json::json!({}), false),
        ] {
            let mut spec = plain();
            let required = serde_json::json!({"nodeSelectorTerms": [term]});
            spec["affinity"] =
                serde_json::json!({"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": required}});
            takes(spec, place(|_| {}), expected);
        }
    }
}
