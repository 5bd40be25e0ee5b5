//! Writes of Domicile's own ClusterNetworkPolicies.

use kube::{
    Api, Client,
    api::{DeleteParams, DynamicObject, Patch},
};
use serde_json::{Value, json};

use super::{
    Error,
    write::{gone, limited, merge, own, taking_over},
};
use crate::{
    domain::keys,
    observe::{ClusterPolicy, cluster_policy::resource},
};

/// Writes a whole ClusterNetworkPolicy for the namespaces that are confined for `value`, and takes over one of others.
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
    let patch = taking_over(spec.clone(), json!({keys::RESIDENCY: value}), &[]);
    let standing = limited(written.patch(name, &merge(), &Patch::<()>::Json(patch))).await.map(ClusterPolicy::from)?;
    if standing.stands_as(spec) {
        return Ok(standing);
    }
    Err(Error::Refused(format!(
        "ClusterNetworkPolicy {name} does not become what it is to be; somebody else writes it"
    )))
}

/// Deletes a ClusterNetworkPolicy. NetworkPolicies stand on. That it is gone is told by the watch alone.
///
/// # Errors
/// Why it was not done.
pub async fn delete_cluster_policy(client: Client, name: &str) -> Result<(), Error> {
    gone(limited(api(client).delete(name, &DeleteParams::default())).await.map(drop))
}

fn api(client: Client) -> Api<DynamicObject> {
    Api::all_with(client, &resource())
}
