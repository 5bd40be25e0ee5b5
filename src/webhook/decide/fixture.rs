//! Questions and namespaces for the tests of each leg.

use serde_json::{Value, json};

use super::{Request, Resource, decide};
use crate::{domain::keys, observe::Namespace};

/// A namespace that names `residency`, with these annotations, in `Enforce`.
pub fn space(residency: &str, annotations: &[(&str, &str)]) -> Namespace {
    let owned = |list: &[(&str, &str)]| list.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect();
    Namespace {
        name: "shop".into(),
        labels: owned(&[(keys::RESIDENCY, residency), (keys::ENFORCEMENT, "Enforce")]),
        annotations: owned(annotations),
        ..Namespace::default()
    }
}

/// A question about an object of `group/resource`.
pub fn asking(kind: &str, object: Value) -> Request {
    let (group, resource) = kind.split_once('/').unwrap_or(("", kind));
    let resource = Resource { group: group.into(), resource: resource.into() };
    Request { uid: "1".into(), resource, namespace: "shop".into(), object }
}

/// The object after its patch, which asked again must have nothing more to change.
#[track_caller]
pub fn mended(kind: &str, object: Value, space: Option<&Namespace>) -> Value {
    let mut request = asking(kind, object);
    let patch = decide(&request, space);
    json_patch::patch(&mut request.object, &patch).unwrap();
    assert!(decide(&request, space).0.is_empty(), "mended twice: {}", request.object);
    request.object
}

/// Asserts that nothing is changed.
#[track_caller]
pub fn untouched(kind: &str, object: Value, space: Option<&Namespace>) {
    assert_eq!(mended(kind, object.clone(), space), object);
}

/// A pod or a template with this spec.
pub fn with_spec(spec: Value) -> Value {
    json!({"metadata": {"name": "web"}, "spec": spec})
}
