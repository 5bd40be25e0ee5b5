//! Whether the API server really refuses and mutates: it is asked, in a namespace of its own, and changes nothing.
//!
//! Discovery is no proof: a policy can be stored and not evaluated. Pods are sent as dry runs. One names its node and
//! must be refused by the rule against that. The other is plain; where it is pinned it comes as far as the quota of the
//! canary namespace, which lets no pod in, and where it is not the placement rule refuses it. A third one asks which set of
//! policies the API server has loaded from its own files, if any: it answers by refusing.

use k8s_openapi::api::core::v1::Pod;
use kube::{Api, Client, api::PostParams};
use serde_json::{Value, json};

use crate::{
    domain::{Mutation, keys},
    policies::manifests,
};

/// What was seen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// Whether the pod that breaks a rule was refused by that rule.
    pub refused: bool,
    /// What was seen to mutate; `None` where it could not be told.
    pub mutation: Option<Mutation>,
    /// Which set of static policies is loaded; `None` where none answered.
    pub loaded: Option<String>,
}

/// Asks.
///
/// # Errors
/// When the API server does not answer.
pub async fn look(client: &Client) -> Result<Seen, kube::Error> {
    let pin = json!({"nodeSelector": {keys::node_residency(keys::CANARY_RESIDENCY): "true"}});
    let bound = ask(client, json!({}), json!({"nodeName": "canary"})).await?;
    let plain = ask(client, json!({}), json!({})).await?;
    let asking = ask(client, json!({keys::ASKS: keys::ASKS_FOR_POLICIES}), pin).await?;
    Ok(Seen {
        refused: bound.contains("[domicile/node-name]"),
        mutation: mutation(&plain),
        loaded: manifests::told_identity(&asking).map(str::to_owned),
    })
}

/// Asks whether Pod Security is enforced in governed namespaces: by a pod that it forbids there.
///
/// # Errors
/// When the API server does not answer.
pub async fn pod_security(client: &Client) -> Result<bool, kube::Error> {
    let spec = json!({
        "hostNetwork": true,
        "nodeSelector": {keys::node_residency(keys::CANARY_RESIDENCY): "true"},
    });
    Ok(ask(client, json!({}), spec).await?.contains("violates PodSecurity"))
}

fn mutation(answer: &str) -> Option<Mutation> {
    if answer.contains("[domicile/placement]") {
        return Some(Mutation::Nothing);
    }
    answer.contains("quota").then_some(Mutation::AdmissionPolicy)
}

/// What the API server says to a pod in the canary namespace; nothing where it would let it in.
async fn ask(client: &Client, annotations: Value, spec: Value) -> Result<String, kube::Error> {
    let mut pod = json!({
        "metadata": {"name": "canary", "namespace": keys::CANARY_NAMESPACE, "annotations": annotations},
        "spec": {"containers": [{"name": "canary", "image": "canary.invalid/none", "resources": {"limits": {"cpu": "1m", "memory": "1Mi"}}}]},
    });
    if let (Some(target), Some(extra)) =
        (pod.pointer_mut("/spec").and_then(|spec| spec.as_object_mut()), spec.as_object())
    {
        target.extend(extra.clone());
    }
    let pod: Pod = serde_json::from_value(pod).map_err(kube::Error::SerdeError)?;
    let dry = PostParams { dry_run: true, ..PostParams::default() };
    match Api::<Pod>::namespaced(client.clone(), keys::CANARY_NAMESPACE).create(&dry, &pod).await {
        Ok(_) => Ok(String::new()),
        Err(kube::Error::Api(status)) if status.code == 403 => Ok(status.message.clone()),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_pinned_pod_reaches_the_quota() {
        let quota = r#"pods "canary" is forbidden: exceeded quota: domicile-no-pods, requested: pods=1, used: pods=0, limited: pods=0"#;
        assert_eq!(mutation(quota), Some(Mutation::AdmissionPolicy));
        assert_eq!(mutation("… [domicile/placement] DataResidency domicile-canary: …"), Some(Mutation::Nothing));
        assert_eq!(mutation("… [domicile/not-confined] …"), None);
        assert_eq!(mutation(""), None);
    }
}
