//! Whether the API server really refuses and mutates: it is asked, in a namespace of its own, and changes nothing.
//!
//! Discovery is no proof: a policy can be stored and not evaluated. Pods are sent as dry runs. One names its node and
//! must be refused by the rule against that. The other is plain; where it is pinned it comes as far as the quota of the
//! canary namespace, which lets no pod in, and where it is not the placement rule refuses it. Who pinned it the webhook says
//! in a warning, which comes with the answer; the API server's own policies go before the webhook and leave it nothing to do. A
//! third pod asks which set of policies the API server has loaded from its own files, if any: it answers by refusing. A
//! fourth is in its host's network, which Pod Security forbids where it is enforced.

use k8s_openapi::api::core::v1::Pod;
use kube::{
    Client, Resource as _,
    api::PostParams,
    client::Body,
    core::{Request, Status},
};
use serde_json::{Value, json};

use crate::{
    domain::{Mutation, keys},
    policies::manifests,
    webhook,
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
    /// Whether the pod that Pod Security forbids in governed namespaces was refused by that.
    pub pod_security: bool,
}

/// Asks.
///
/// # Errors
/// When the API server does not answer.
pub async fn look(client: &Client) -> Result<Seen, kube::Error> {
    let pins = json!({keys::node_residency(keys::CANARY_RESIDENCY): "true"});
    let bound = ask(client, json!({}), json!({"nodeName": "canary"})).await?;
    let plain = ask(client, json!({}), json!({})).await?;
    let asking = ask(client, json!({keys::ASKS: keys::ASKS_FOR_POLICIES}), json!({"nodeSelector": pins})).await?;
    let insecure = ask(client, json!({}), json!({"nodeSelector": pins, "hostNetwork": true})).await?;
    Ok(Seen {
        refused: bound.message.contains("[domicile/node-name]"),
        mutation: mutation(&plain),
        loaded: manifests::told_identity(&asking.message).map(str::to_owned),
        pod_security: insecure.message.contains("violates PodSecurity"),
    })
}

/// What the API server says to a pod in the canary namespace.
#[derive(Debug, Default)]
struct Answer {
    /// Why it is refused; nothing where it would be let in.
    message: String,
    /// Whether the webhook says that it pinned the pod.
    by_webhook: bool,
}

fn mutation(answer: &Answer) -> Option<Mutation> {
    match answer {
        Answer { message, .. } if message.contains("[domicile/placement]") => Some(Mutation::Nothing),
        Answer { message, by_webhook } if message.contains("quota") => {
            Some(if *by_webhook { Mutation::Webhook } else { Mutation::AdmissionPolicy })
        }
        Answer { .. } => None,
    }
}

async fn ask(client: &Client, annotations: Value, spec: Value) -> Result<Answer, kube::Error> {
    let mut pod = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": "canary", "namespace": keys::CANARY_NAMESPACE, "annotations": annotations},
        "spec": {"containers": [{"name": "canary", "image": "canary.invalid/none", "resources": {"limits": {"cpu": "1m", "memory": "1Mi"}}}]},
    });
    if let (Some(target), Some(extra)) =
        (pod.pointer_mut("/spec").and_then(|spec| spec.as_object_mut()), spec.as_object())
    {
        target.extend(extra.clone());
    }
    let dry = PostParams { dry_run: true, ..PostParams::default() };
    // Sent by hand: the client's own ways do not show the warnings.
    let request = Request::new(Pod::url_path(&(), Some(keys::CANARY_NAMESPACE)))
        .create(&dry, pod.to_string().into_bytes())
        .map_err(kube::Error::BuildRequest)?;
    let (head, body) = client.send(request.map(Body::from)).await?.into_parts();
    if head.status.is_success() {
        return Ok(Answer::default());
    }
    let warnings = head.headers.get_all("warning").iter();
    let by_webhook = warnings.filter_map(|text| text.to_str().ok()).any(|text| text.contains(webhook::PINNED));
    let status: Status = serde_json::from_slice(&body.collect_bytes().await?).map_err(kube::Error::SerdeError)?;
    match status.code {
        403 => Ok(Answer { message: status.message, by_webhook }),
        _ => Err(kube::Error::Api(Box::new(status))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_pinned_pod_reaches_the_quota() {
        let seen = |message: &str, by_webhook| mutation(&Answer { message: message.to_owned(), by_webhook });
        let quota = r#"pods "canary" is forbidden: exceeded quota: domicile-no-pods, requested: pods=1, used: pods=0, limited: pods=0"#;
        assert_eq!(seen(quota, false), Some(Mutation::AdmissionPolicy));
        assert_eq!(seen(quota, true), Some(Mutation::Webhook));
        assert_eq!(seen("… [domicile/placement] DataResidency domicile-canary: …", false), Some(Mutation::Nothing));
        assert_eq!(seen("… [domicile/not-confined] …", true), None);
        assert_eq!(seen("", false), None);
    }
}
