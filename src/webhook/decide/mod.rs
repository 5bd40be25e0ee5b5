//! What is changed in an object that is being created: one file for each leg.
//!
//! Pure: from the object and what is known of its namespace comes a patch. Each file says the same as the chart's
//! `mutate-*.yaml` of its name, and a test on the real API server holds the two together. Nothing is ever refused here, and
//! mending what is mended changes nothing.

mod namespaces;
mod network;
mod peer;
mod placement;
mod storage;

use json_patch::{AddOperation, Patch, PatchOperation, RemoveOperation, jsonptr::PointerBuf};
use serde::Deserialize;
use serde_json::Value;

use crate::{
    domain::{Named, Residencies, keys},
    observe::Namespace,
};

/// What the API server asks about: the few fields of an `AdmissionRequest` (admission.k8s.io/v1) that decide.
#[derive(Clone, Debug, Deserialize)]
pub struct Request {
    /// Names the question in the answer.
    pub uid: String,
    /// Of what kind the object is.
    pub resource: Resource,
    /// The namespace that it is in.
    #[serde(default)]
    pub namespace: String,
    /// As it would be stored.
    #[serde(default)]
    pub object: Value,
}

/// A kind of objects.
#[derive(Clone, Debug, Deserialize)]
pub struct Resource {
    /// Empty for the core group.
    #[serde(default)]
    pub group: String,
    /// In lower case, plural.
    pub resource: String,
}

impl Request {
    /// Whether it is about pods.
    #[must_use]
    pub fn is_about_pods(&self) -> bool {
        (self.resource.group.as_str(), self.resource.resource.as_str()) == ("", "pods")
    }
}

/// What is to be changed. `space` is the object's namespace where it is governed; without it nothing is known, and nothing
/// is changed.
#[must_use]
pub fn decide(request: &Request, space: Option<&Namespace>) -> Patch {
    let object = &request.object;
    let kind = (request.resource.group.as_str(), request.resource.resource.as_str());
    if kind == ("", "namespaces") {
        return namespaces::strip(object);
    }
    let Some((space, named)) = space.and_then(governing) else { return Patch::default() };
    match kind {
        ("", "pods") => placement::pin(object, &["spec"], &named),
        ("apps", "daemonsets") => placement::pin(object, &["spec", "template", "spec"], &named),
        ("", "persistentvolumeclaims") => storage::default_class(object, space),
        ("networking.k8s.io", "networkpolicies") => network::narrow(object, space),
        _ => Patch::default(),
    }
}

/// The namespace with what it names, where that is to be enforced: in Warn and Audit nothing is changed.
fn governing(space: &Namespace) -> Option<(&Namespace, Residencies)> {
    let mode = space.labels.get(keys::ENFORCEMENT).map(String::as_str);
    match space.named() {
        Named::Residencies(named) if !matches!(mode, Some("Warn" | "Audit")) => Some((space, named)),
        Named::Residencies(_) | Named::Nothing | Named::Unreadable(_) => None,
    }
}

/// Sets a field, whether or not it is there.
fn set<'a>(path: impl IntoIterator<Item = &'a str>, value: impl Into<Value>) -> PatchOperation {
    PatchOperation::Add(AddOperation { path: PointerBuf::from_tokens(path), value: value.into() })
}

/// Takes a field away that is there.
fn remove<'a>(path: impl IntoIterator<Item = &'a str>) -> PatchOperation {
    PatchOperation::Remove(RemoveOperation { path: PointerBuf::from_tokens(path) })
}

/// The field at a path; `Null` where it is not there.
fn field<'a>(object: &'a Value, path: &[&str]) -> &'a Value {
    path.iter().try_fold(object, |inner, key| inner.get(key)).unwrap_or(&Value::Null)
}

#[cfg(test)]
mod fixture;
