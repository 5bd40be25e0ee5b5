//! Whether the installed admission policies are those that this version was built with.
//!
//! The chart's policy files are compiled in; what the chart puts for their tokens is read from its ConfigMap. An installed
//! policy must say everything that the file says, and nothing more than the API server's own defaults. The operator
//! has no right to write any of them: it looks, and tells.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::ConfigMap;
use kube::{
    Api, Client, ResourceExt as _,
    api::{ApiResource, DynamicObject, ListParams},
    core::GroupVersionKind,
};
use serde_json::Value;

/// Name and text of one file.
macro_rules! policy_file {
    ($name:literal) => {
        ($name, include_str!(concat!("../../charts/domicile/policies/", $name, ".yaml")))
    };
}

/// The chart's files.
const FILES: [(&str, &str); 16] = [
    policy_file!("access"),
    policy_file!("bindings"),
    policy_file!("exposure"),
    policy_file!("mutate-namespaces"),
    policy_file!("mutate-network"),
    policy_file!("mutate-placement"),
    policy_file!("mutate-storage"),
    policy_file!("namespaces"),
    policy_file!("network"),
    policy_file!("nodes"),
    policy_file!("operator"),
    policy_file!("own-objects"),
    policy_file!("pods"),
    policy_file!("storage"),
    policy_file!("threshold"),
    policy_file!("unclassified"),
];

/// The ConfigMap in which the chart says what it put for the tokens.
const VALUES: &str = "domicile-policy-values";
/// The group of all four kinds.
const GROUP: &str = "admissionregistration.k8s.io";

/// What was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Installed {
    /// Every policy and binding is as built.
    AsBuilt,
    /// These are missing or say something else, sorted.
    Differs(Vec<String>),
}

/// Why it could not be looked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The API server did not answer.
    #[error(transparent)]
    Request(#[from] kube::Error),
    /// A file of this build does not parse.
    #[error("policy file {0} does not parse: {1}")]
    File(&'static str, String),
}

/// Looks at every policy and binding; `mutating` where the API server serves mutating ones.
///
/// # Errors
/// Why it could not be looked.
pub async fn look(client: &Client, own_namespace: &str, mutating: bool) -> Result<Installed, Error> {
    let values = Api::<ConfigMap>::namespaced(client.clone(), own_namespace).get(VALUES).await?;
    let wanted = wanted(&values.data.unwrap_or_default(), mutating)?;
    let mut kinds: Vec<&str> = wanted.keys().map(|(kind, _)| kind.as_str()).collect();
    kinds.dedup();
    let mut live: BTreeMap<(String, String), Value> = BTreeMap::new();
    for kind in kinds {
        let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(GROUP, "v1", kind));
        let objects = Api::<DynamicObject>::all_with(client.clone(), &resource).list(&ListParams::default()).await?;
        for object in objects {
            let spec = object.data.get("spec").cloned().unwrap_or_default();
            live.insert((kind.to_owned(), object.name_any()), spec);
        }
    }
    let differs: Vec<String> = wanted
        .iter()
        .filter(|(id, spec)| !live.get(*id).is_some_and(|live| says(live, spec)))
        .map(|((kind, name), _)| format!("{kind} {name}"))
        .collect();
    Ok(if differs.is_empty() { Installed::AsBuilt } else { Installed::Differs(differs) })
}

/// Every policy and binding as the chart installs it: kind and name to spec.
fn wanted(values: &BTreeMap<String, String>, mutating: bool) -> Result<BTreeMap<(String, String), Value>, Error> {
    let mut wanted = BTreeMap::new();
    let strict = values.get("unclassifiedNamespaces").is_some_and(|value| value == "Refuse");
    let files = FILES.into_iter().filter(|(name, _)| match *name {
        "unclassified" => strict,
        name => mutating || !name.starts_with("mutate-"),
    });
    for (name, text) in files {
        let text = substitute(text, values);
        let documents: Vec<Value> =
            serde_saphyr::from_multiple(&text).map_err(|error| Error::File(name, error.to_string()))?;
        for document in documents.into_iter().filter(|document| !document.is_null()) {
            let word = |pointer| document.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
            wanted.insert((word("/kind"), word("/metadata/name")), document.get("spec").cloned().unwrap_or_default());
        }
    }
    Ok(wanted)
}

/// Puts the chart's values for the tokens, as Helm does.
fn substitute(text: &str, values: &BTreeMap<String, String>) -> String {
    let put = |text: String, (key, value): (&String, &String)| {
        text.replace(&format!("{{{{ include \"domicile.{key}\" . }}}}"), value)
    };
    values.iter().fold(text.to_owned(), put)
}

/// Whether `live` says what `wanted` says, and beyond that only what the API server fills in by itself.
fn says(live: &Value, wanted: &Value) -> bool {
    match (live, wanted) {
        (Value::Object(live), Value::Object(wanted)) => {
            wanted.iter().all(|(key, wanted)| live.get(key).is_some_and(|live| says(live, wanted)))
                && live.iter().all(|(key, value)| wanted.contains_key(key) || is_default(key, value))
        }
        (Value::Array(live), Value::Array(wanted)) => {
            live.len() == wanted.len() && live.iter().zip(wanted).all(|(live, wanted)| says(live, wanted))
        }
        (live, wanted) => live == wanted,
    }
}

fn is_default(key: &str, value: &Value) -> bool {
    match key {
        "matchPolicy" => value == "Equivalent",
        "scope" => value == "*",
        "failurePolicy" => value == "Fail",
        "namespaceSelector" | "objectSelector" => value.as_object().is_some_and(serde_json::Map::is_empty),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn values() -> BTreeMap<String, String> {
        [
            ("operatorUser", "system:serviceaccount:domicile-system:domicile"),
            ("ungovernedNamespaces", "[kube-system]"),
            ("ungovernedList", "['kube-system']"),
            ("schedulerUsers", "['system:kube-scheduler']"),
            ("schedulerNames", "['default-scheduler']"),
            ("namespaceFinishers", "[]"),
            ("nodeProvisioners", "[]"),
        ]
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .into()
    }

    #[test]
    fn every_file_of_the_chart_is_compiled_in() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/charts/domicile/policies");
        let mut names: Vec<String> = std::fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap().replace(".yaml", ""))
            .collect();
        names.sort();
        assert_eq!(names, FILES.map(|(name, _)| name.to_owned()));
    }

    #[test]
    fn no_token_is_left_and_every_policy_is_bound() {
        let wanted = wanted(&values(), true).unwrap();
        for ((kind, name), spec) in &wanted {
            assert!(!spec.to_string().contains("{{"), "{kind} {name}");
            if let Some(policy) = spec.get("policyName").and_then(Value::as_str) {
                let bound = (kind.replace("Binding", ""), policy.to_owned());
                assert!(wanted.contains_key(&bound), "{kind} {name} binds {policy}");
            }
        }
        assert!(wanted.len() > 20);
    }

    #[test]
    fn a_default_is_no_difference_and_a_hole_is_one() {
        let wanted = json!({"matchConstraints": {"resourceRules": [{"resources": ["pods"]}]}});
        let filled = json!({"matchConstraints": {"matchPolicy": "Equivalent", "objectSelector": {}, "resourceRules": [{"resources": ["pods"], "scope": "*"}]}});
        assert!(says(&filled, &wanted));
        let hole = json!({"matchConstraints": {"matchPolicy": "Equivalent", "objectSelector": {"matchLabels": {"a": "b"}}, "resourceRules": [{"resources": ["pods"]}]}});
        assert!(!says(&hole, &wanted));
        assert!(!says(&json!({"matchConstraints": {"resourceRules": []}}), &wanted));
    }
}
