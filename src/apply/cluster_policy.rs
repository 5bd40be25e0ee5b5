//! Writes of Domicile's own ClusterNetworkPolicies.

use kube::{
    Api, Client,
    api::{DeleteParams, DynamicObject, Patch},
};
use serde_json::{Value, json};

use super::{
    Error,
    write::{gone, limited, merge, own},
};
use crate::{
    domain::keys,
    observe::{ClusterPolicy, cluster_policy::resource},
};

/// Writes a whole ClusterNetworkPolicy for the namespaces that are confined for `value`. What others had put into it
/// outlives an apply, so it is replaced then.
///
/// # Errors
/// Why it was not done, or that what stands is still not what was written.
pub async fn apply_cluster_policy(
    client: Client,
    name: &str,
    value: &str,
    spec: &Value,
) -> Result<ClusterPolicy, Error> {
    let (written, kind) = (api(client), resource());
    let whole = json!({
        "apiVersion": kind.api_version,
        "kind": kind.kind,
        "metadata": {
            "name": name,
            "labels": {keys::MANAGED_BY: keys::MANAGER},
            "annotations": {keys::RESIDENCY: value},
        },
        "spec": spec,
    });
    let standing = limited(written.patch(name, &own(), &Patch::Apply(&whole))).await.map(ClusterPolicy::from)?;
    if standing.stands_as(spec) {
        return Ok(standing);
    }
    let replaced = json!([
        {"op": "replace", "path": "/spec", "value": spec},
        {"op": "add", "path": "/metadata/finalizers", "value": []},
        {"op": "add", "path": "/metadata/ownerReferences", "value": []},
    ]);
    let patch: json_patch::Patch = serde_json::from_value(replaced).unwrap_or_default();
    let standing = limited(written.patch(name, &merge(), &Patch::<()>::Json(patch))).await.map(ClusterPolicy::from)?;
    if standing.stands_as(spec) {
        return Ok(standing);
    }
    Err(Error::Refused(format!(
        "ClusterNetworkPolicy {name} does not become what it is to be; somebody else writes it"
    )))
}

/// Deletes a ClusterNetworkPolicy. NetworkPolicies stand on.
///
/// # Errors
/// Why it was not done.
pub async fn delete_cluster_policy(client: Client, name: &str) -> Result<(), Error> {
    gone(limited(api(client).delete(name, &DeleteParams::default())).await.map(drop))
}

fn api(client: Client) -> Api<DynamicObject> {
    Api::all_with(client, &resource())
}
