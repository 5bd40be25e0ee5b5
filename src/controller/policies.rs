//! Whether the installed admission policies are those that this version was built with.
//!
//! What the chart puts for the tokens of the files is read from its ConfigMap. An installed policy must say everything that
//! the file says, and nothing more than the API server's own defaults. Policies that API servers load from their own files
//! cannot be read; a loaded set says which it is when the canary asks. The operator has no right to write any of them: it
//! looks, and tells.

use std::{collections::BTreeMap, time::Duration};

use k8s_openapi::api::core::v1::ConfigMap;
use kube::{
    Api, Client, ResourceExt as _,
    api::{ApiResource, DynamicObject, ListParams},
    core::GroupVersionKind,
};
use serde_json::Value;

use crate::{
    domain::{DeviceDrivers, FurtherNetworks},
    policies::{self, Tokens, manifests, values},
    report::residency::PoliciesSeen,
};

/// The ConfigMap in which the chart says what it put for the tokens.
pub const VALUES: &str = "domicile-policy-values";
/// The group of all four kinds.
pub const GROUP: &str = "admissionregistration.k8s.io";
/// What differs where it is no object of the API.
const STATIC: &str = "static admission manifests";

/// What was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Installed {
    /// Every policy and binding is as built.
    AsBuilt,
    /// These are missing or say something else, sorted.
    Differs(Vec<String>),
    /// The chart installs none; those that the API server loaded from its files are as built.
    Static,
    /// The chart installs none, and the API server has loaded another set than this version's.
    StaticDiffers,
    /// The chart installs none, and the API server was not seen to have loaded any.
    StaticNotSeen,
}

impl From<Option<&Installed>> for PoliciesSeen {
    fn from(installed: Option<&Installed>) -> Self {
        match installed {
            Some(Installed::AsBuilt) => Self::AsBuilt,
            Some(Installed::Differs(names)) => Self::Differs(names.clone()),
            Some(Installed::Static) => Self::Static,
            Some(Installed::StaticDiffers) => Self::StaticDiffers,
            Some(Installed::StaticNotSeen) => Self::StaticNotSeen,
            None => Self::Unseen,
        }
    }
}

/// Why it could not be looked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The API server did not answer.
    #[error(transparent)]
    Request(#[from] kube::Error),
    /// A file of this build does not parse.
    #[error(transparent)]
    File(#[from] policies::Error),
}

/// Looks at every policy and binding. `tokens` are what the chart put for theirs, `mutating` says whether the API server serves
/// mutating ones, `loaded` is the set that it was seen to have loaded from its own files.
///
/// # Errors
/// Why it could not be looked.
pub async fn look(client: &Client, tokens: &Tokens, mutating: bool, loaded: Option<&str>) -> Result<Installed, Error> {
    let as_built = loaded.map(|loaded| loaded == manifests::identity(tokens));
    if tokens.get(values::SOURCE).is_some_and(|source| *source == values::Source::Static.to_string()) {
        return Ok(match as_built {
            Some(true) => Installed::Static,
            Some(false) => Installed::StaticDiffers,
            None => Installed::StaticNotSeen,
        });
    }
    let mut differs = differing(client, tokens, mutating).await?;
    if as_built == Some(false) {
        differs.push(STATIC.to_owned()); // both judge, and must agree
    }
    Ok(if differs.is_empty() { Installed::AsBuilt } else { Installed::Differs(differs) })
}

/// What the chart put for the tokens of the policies.
///
/// # Errors
/// Where the API server does not answer, or there is no chart.
pub async fn tokens(client: &Client, own_namespace: &str) -> Result<Tokens, kube::Error> {
    let values = Api::<ConfigMap>::namespaced(client.clone(), own_namespace).get(VALUES).await?;
    Ok(values.data.unwrap_or_default())
}

/// What the installed policies take for granted: annotations that give a pod a further network, and drivers whose devices are
/// part of a node. Waits for an API server that does not answer; where there is no chart, or who asks may not read what it
/// says, what this version knows.
pub async fn lists(client: Client, own_namespace: String) -> (FurtherNetworks, DeviceDrivers) {
    let of = |tokens: &Tokens| (values::further_networks(tokens), values::device_drivers(tokens));
    loop {
        match tokens(&client, &own_namespace).await {
            Ok(tokens) => return of(&tokens),
            Err(kube::Error::Api(status)) if matches!(status.code, 403 | 404) => {
                tracing::warn!(
                    namespace = own_namespace,
                    message = status.message,
                    "the values of the chart cannot be read, so what this version knows counts; name the namespace that the chart is installed in with --namespace"
                );
                return of(&Tokens::new());
            }
            Err(error) => tracing::warn!(%error, "cannot read the values of the policies, trying again"),
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

/// The policies and bindings that are missing or say something else than the files.
async fn differing(client: &Client, tokens: &Tokens, mutating: bool) -> Result<Vec<String>, Error> {
    let wanted = wanted(tokens, mutating)?;
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
    let differs = wanted.iter().filter(|(id, spec)| !live.get(*id).is_some_and(|live| says(live, spec)));
    Ok(differs.map(|((kind, name), _)| format!("{kind} {name}")).collect())
}

/// Every policy and binding as the chart installs it: kind and name to spec.
fn wanted(tokens: &Tokens, mutating: bool) -> Result<BTreeMap<(String, String), Value>, Error> {
    let mut wanted = BTreeMap::new();
    for file in policies::files(tokens).into_iter().filter(|file| mutating || !file.mutates()) {
        for document in file.documents()? {
            let word = |pointer| document.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
            wanted.insert((word("/kind"), word("/metadata/name")), document.get("spec").cloned().unwrap_or_default());
        }
    }
    Ok(wanted)
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

    fn values() -> Tokens {
        values::Values::read(&[]).unwrap().tokens("domicile-system").unwrap()
    }

    #[test]
    fn every_policy_is_bound() {
        let wanted = wanted(&values(), true).unwrap();
        for ((kind, name), spec) in &wanted {
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
