//! Objects of add-ons' kinds that lead out of a namespace or open it, as far as the audit judges them.

use std::{borrow::Cow, collections::BTreeSet};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::{Api, Client, Resource, api::ApiResource, core::DynamicResourceScope};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::sync::mpsc;

use super::{
    change::Change,
    discovery::{Discovery, Found},
    sent::Reads,
    served::Following,
};
use crate::domain::{ADD_ONS, AddOn, Does};

/// The mesh itself, as Istio names it among gateways.
const MESH: &str = "mesh";

/// An object of such a kind that counts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Opening {
    /// Its UID.
    pub uid: String,
    /// Whether it gives more than Services; of grants.
    pub gives_more: bool,
}

/// An object of such a kind as it is sent. One that is too long to be parsed counts, whatever it says.
#[derive(Clone, Debug, Deserialize)]
pub struct LiveAddOn {
    metadata: ObjectMeta,
    #[serde(default)]
    spec: Value,
}

impl Reads for LiveAddOn {
    const STATUS: bool = false;
    const LONGEST: usize = 256 << 10;
}

impl Resource for LiveAddOn {
    type DynamicType = ApiResource;
    type Scope = DynamicResourceScope;

    fn kind(kind: &ApiResource) -> Cow<'_, str> {
        Cow::from(&kind.kind)
    }

    fn group(kind: &ApiResource) -> Cow<'_, str> {
        Cow::from(&kind.group)
    }

    fn version(kind: &ApiResource) -> Cow<'_, str> {
        Cow::from(&kind.version)
    }

    fn plural(kind: &ApiResource) -> Cow<'_, str> {
        Cow::from(&kind.plural)
    }

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}

impl Opening {
    /// What counts of an object of this kind; nothing where it stays inside.
    #[must_use]
    pub fn read(kind: &AddOn, object: LiveAddOn) -> Option<Self> {
        let counts = kind.does != Does::MeshRoute || !stays_in_the_mesh(&object.spec);
        let gives_more = kind.does == Does::Grant && gives_more_than_services(&object.spec);
        counts.then(|| Self { uid: object.metadata.uid.unwrap_or_default(), gives_more })
    }
}

/// As `exposure.yaml` has it: a VirtualService that names no gateway, in its list or in a match. What is written otherwise than
/// Istio writes it does not stay.
fn stays_in_the_mesh(spec: &Value) -> bool {
    let named = |of: &Value| each(&of["gateways"], |gateway| gateway == MESH);
    let routes = |routes: &Value| each(routes, |route| each(&route["match"], named));
    named(spec) && ["http", "tls", "tcp"].iter().all(|key| routes(&spec[*key]))
}

/// As `exposure.yaml` has it.
fn gives_more_than_services(spec: &Value) -> bool {
    !each(&spec["to"], |granted| granted["kind"] == "Service")
}

/// Whether `is` says so of each in a list; also where there is none.
fn each(list: &Value, is: impl Fn(&Value) -> bool) -> bool {
    list.is_null() || list.as_array().is_some_and(|list| list.iter().all(is))
}

/// The API groups of all of them.
pub(super) fn groups() -> BTreeSet<&'static str> {
    ADD_ONS.iter().map(AddOn::group).collect()
}

/// Watches every kind while it is served, where the same is not read under another group.
pub(super) fn follow(client: &Client, discovery: &Discovery, sink: &mpsc::Sender<Change>) {
    for kind in &ADD_ONS {
        Following {
            name: kind.name,
            find: |found: &Found| find(kind, found),
            elsewhere: |found: &Found| {
                kind.twin().is_some_and(|twin| found.find(twin.group(), twin.plural) != Some(None))
            },
            open: |client: &Client, served: &ApiResource| Api::all_with(client.clone(), served),
            project: |object: LiveAddOn| Opening::read(kind, object),
            wrap: |delta| Change::AddOn(kind, delta),
        }
        .follow(client, discovery.clone(), sink);
    }
}

fn find(kind: &AddOn, found: &Found) -> Option<Option<ApiResource>> {
    match kind.read_as.map(|group| found.find(group, kind.plural)) {
        None | Some(Some(None)) => found.find(kind.group(), kind.plural),
        Some(Some(Some(_))) => Some(None),
        Some(None) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn of(name: &str, spec: Value) -> Option<Opening> {
        let kind = ADD_ONS.iter().find(|kind| kind.name == name).unwrap();
        let object = json!({"metadata": {"name": "it", "uid": "7"}, "spec": spec});
        Opening::read(kind, serde_json::from_value(object).unwrap())
    }

    #[test]
    fn a_virtual_service_counts_where_it_names_a_gateway() {
        let counts = |spec| of("VirtualService.networking.istio.io", spec).is_some();
        let inside = json!([{"match": [{"gateways": ["mesh"]}, {}]}, {"route": []}]);
        for stays in [
            json!({"hosts": ["web"]}),
            json!({"gateways": ["mesh"], "http": inside, "tls": []}),
            json!({"gateways": [], "http": null}),
        ] {
            assert!(!counts(stays.clone()), "{stays}");
        }
        for leads in [
            json!({"gateways": ["mesh", "istio-system/public"]}),
            json!({"tcp": [{"match": [{"gateways": ["public"]}]}]}),
            json!({"gateways": "public"}),
            json!({"tls": [{"match": {"gateways": ["mesh"]}}]}),
        ] {
            assert!(counts(leads.clone()), "{leads}");
        }
    }

    #[test]
    fn a_grant_gives_more_where_one_of_its_kinds_is_no_service() {
        let gives = |to| of("ReferenceGrant.gateway.networking.k8s.io", json!({"to": to})).unwrap().gives_more;
        let service = json!({"group": "", "kind": "Service"});
        assert!(!gives(json!([service])) && !gives(json!([])));
        assert!(gives(json!([service, {"group": "", "kind": "Secret"}])) && gives(json!([{}])));
    }

    #[test]
    fn all_others_count_whatever_they_say() {
        assert_eq!(
            of("CiliumNetworkPolicy.cilium.io", Value::Null),
            Some(Opening { uid: "7".to_owned(), gives_more: false })
        );
    }
}
