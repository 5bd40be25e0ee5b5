//! One function for each thing that Domicile writes.

use std::{fmt::Debug, future::Future, time::Duration};

use json_patch::{AddOperation, PatchOperation, ReplaceOperation, TestOperation, jsonptr::PointerBuf};
use k8s_openapi::{
    ClusterResourceScope,
    api::{
        core::v1::Namespace as LiveNamespace,
        networking::v1::{NetworkPolicy, NetworkPolicySpec},
        rbac::v1::RoleBinding as LiveRoleBinding,
        storage::v1::StorageClass,
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
    jiff::Timestamp,
};
use kube::{
    Api, Client, Resource, ResourceExt as _,
    api::{DeleteParams, ListParams, Patch, PatchParams, Preconditions},
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

use crate::{
    compile::{Changes, namespace::NamespacePatch, network::isolating},
    domain::keys,
    observe::{
        Class, Key, Namespace, Node, Pod, Policy, RoleBinding,
        node::LiveNode,
        pod::LivePod,
        sent::{Reads, Sent, Unread},
    },
};

use super::{Error, error::is_too_large};

/// No request may take longer: the API server is near, and a request that hangs holds its key.
const LIMIT: Duration = Duration::from_secs(10);
/// So many objects are listed at a time.
const PAGE: u32 = 10;
/// So many seconds a network plugin has to let a policy go that ends and is to be made anew.
const PLUGINS_PATIENCE: i64 = 30;
/// So often a namespace is written anew that somebody else has written meanwhile.
const OUTRUN: usize = 5;
/// So often a policy that somebody else had made is taken over in one write.
const TAKEOVERS: usize = 3;

pub(super) async fn limited<T>(request: impl Future<Output = Result<T, kube::Error>>) -> Result<T, Error> {
    match tokio::time::timeout(LIMIT, request).await {
        Ok(answer) => Ok(answer?),
        Err(_) => Err(Error::TimedOut(LIMIT)),
    }
}

pub(super) fn merge() -> PatchParams {
    PatchParams { field_manager: Some(keys::MANAGER.to_owned()), ..PatchParams::default() }
}

pub(super) fn own() -> PatchParams {
    PatchParams::apply(keys::MANAGER).force()
}

/// Sets and takes away labels of a node.
///
/// # Errors
/// Why it was not done.
pub async fn label_node(client: Client, name: &str, changes: &Changes) -> Result<Node, Error> {
    let patch = Patch::Merge(json!({"metadata": {"labels": changes}}));
    limited(Api::<Sent<LiveNode>>::all(client).patch(name, &merge(), &patch)).await.and_then(reduced)
}

/// Sets and takes away labels and annotations of a namespace, if nothing of it has changed since it was read by which that was
/// decided. Others may write the rest of it all the time.
///
/// # Errors
/// Why it was not done: [`Error::Conflict`] where what it was decided by has changed, [`Error::Outrun`] where others are faster.
pub async fn patch_namespace(client: Client, read: &Namespace, patch: &NamespacePatch) -> Result<Namespace, Error> {
    let spaces = Api::<Sent<LiveNamespace>>::all(client);
    let mut version = read.resource_version.clone();
    for _ in 0..OUTRUN {
        match limited(spaces.patch(&read.name, &merge(), &metadata(read, Some(&version), patch))).await {
            Err(Error::Conflict) => {}
            answer => return answer.and_then(reduced),
        }
        let newest: Namespace = limited(spaces.get(&read.name)).await.and_then(reduced)?;
        let is_changed = |key: &String| newest.labels.get(key) != read.labels.get(key);
        if !newest.is_decided_like(read) || patch.labels.keys().any(is_changed) {
            return Err(Error::Conflict);
        }
        version = newest.resource_version;
    }
    Err(Error::Outrun)
}

/// Takes away the key without which nothing may start in a namespace, and the one that makes it a peer, whatever else has
/// changed in it.
///
/// # Errors
/// Why it was not done.
pub async fn close_namespace(client: Client, read: &Namespace) -> Result<Namespace, Error> {
    let gone = |key: &str| [(key.to_owned(), None)].into();
    let patch = NamespacePatch { labels: gone(keys::PEER), annotations: gone(keys::REFUSED_BECAUSE) };
    let patch = metadata(read, None, &patch);
    limited(Api::<Sent<LiveNamespace>>::all(client).patch(&read.name, &merge(), &patch)).await.and_then(reduced)
}

/// A patch of this very namespace, in this version where one is named.
fn metadata(read: &Namespace, version: Option<&str>, patch: &NamespacePatch) -> Patch<Value> {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Metadata<'a> {
        uid: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        resource_version: Option<&'a str>,
        #[serde(flatten)]
        patch: &'a NamespacePatch,
    }
    Patch::Merge(json!({"metadata": Metadata { uid: &read.uid, resource_version: version, patch }}))
}

/// Writes a whole StorageClass.
///
/// # Errors
/// Why it was not done.
pub async fn apply_class(client: Client, class: &StorageClass) -> Result<Class, Error> {
    let written = Api::<StorageClass>::all(client);
    limited(written.patch(&class.name_any(), &own(), &Patch::Apply(class))).await.map(Class::from)
}

/// Deletes a StorageClass. Volumes and claims are not touched by that. That it is gone is told by the watch alone.
///
/// # Errors
/// Why it was not done.
pub async fn delete_class(client: Client, name: &str) -> Result<(), Error> {
    gone(limited(Api::<StorageClass>::all(client).delete(name, &DeleteParams::default())).await.map(drop))
}

/// Writes a whole network policy of Domicile's. One that somebody else had made under its name is taken over.
///
/// # Errors
/// Why it was not done, or that what stands is still not what was written.
pub async fn apply_policy(client: Client, key: &Key, spec: NetworkPolicySpec) -> Result<Policy, Error> {
    let written = Api::<Sent<NetworkPolicy>>::namespaced(client.clone(), &key.namespace);
    let mut waits_for = Vec::new();
    for _ in 0..TAKEOVERS {
        let finalizers = match apply_once(client.clone(), key, spec.clone()).await {
            Ok(standing) if standing.stands_as(&spec) => return Ok(standing),
            // A policy that is being deleted is gone with its last finalizer, and made again in the next round.
            Ok(standing) if is_waited_for(&standing) => standing.followed_by,
            Ok(_) => Vec::new(),
            // Somebody's may be so large that nothing more fits, the least of all that it is shared.
            Err(Error::Refused(reason)) if is_too_large(&reason) => {
                let patch = taking_over(json!(spec), json!({}), &[]);
                let shrunk = limited(written.patch(&key.name, &merge(), &Patch::<()>::Json(patch))).await.map(drop);
                shrunk.map_err(|_| Error::Refused(reason))?;
                continue;
            }
            Err(error) => return Err(error),
        };
        let patch = taking_over(json!(spec), json!({}), &finalizers);
        waits_for = finalizers;
        gone(limited(written.patch(&key.name, &merge(), &Patch::<()>::Json(patch))).await.map(drop))?;
    }
    let why = match waits_for.first() {
        Some(finalizer) => format!("it is being deleted, and waits for what put the finalizer {finalizer} on it"),
        None => "somebody else writes it".to_owned(),
    };
    Err(Error::Refused(format!("NetworkPolicy {} does not become what it is to be; {why}", key.name)))
}

/// Whether a network plugin may yet do what it keeps a policy for.
fn is_waited_for(policy: &Policy) -> bool {
    policy.ending_since.is_none_or(|since| Timestamp::now().as_second().saturating_sub(since) < PLUGINS_PATIENCE)
}

/// Makes an object Domicile's alone: fields of others outlive an apply, so the whole spec is replaced; finalizers but these, and
/// owners, by which they could hold or end it, go, and so do all labels and annotations but these.
pub(super) fn taking_over(spec: Value, annotations: Value, finalizers: &[&str]) -> json_patch::Patch {
    let becomes =
        |path: [&str; 2], value| PatchOperation::Add(AddOperation { path: PointerBuf::from_tokens(path), value });
    json_patch::Patch(vec![
        PatchOperation::Replace(ReplaceOperation { path: PointerBuf::from_tokens(["spec"]), value: spec }),
        becomes(["metadata", "finalizers"], json!(finalizers)),
        becomes(["metadata", "ownerReferences"], json!([])),
        becomes(["metadata", "labels"], json!({keys::MANAGED_BY: keys::MANAGER})),
        becomes(["metadata", "annotations"], annotations),
    ])
}

async fn apply_once(client: Client, key: &Key, spec: NetworkPolicySpec) -> Result<Policy, Error> {
    let policy = NetworkPolicy {
        metadata: ObjectMeta {
            name: Some(key.name.clone()),
            namespace: Some(key.namespace.clone()),
            labels: Some([(keys::MANAGED_BY.to_owned(), keys::MANAGER.to_owned())].into()),
            ..ObjectMeta::default()
        },
        spec: Some(spec),
    };
    let written = Api::<Sent<NetworkPolicy>>::namespaced(client, &key.namespace);
    limited(written.patch(&key.name, &own(), &Patch::Apply(&policy))).await.and_then(reduced)
}

/// Deletes a network policy of Domicile's, as it is known. Where somebody holds it and it is to be `empty`, it opens nothing
/// first, and loses what holds it but a plugin's finalizer. That it is gone is told by the watch alone.
///
/// # Errors
/// Why it was not done.
pub async fn delete_policy(client: Client, key: &Key, live: &Policy, empty: bool) -> Result<(), Error> {
    let written = Api::<Sent<NetworkPolicy>>::namespaced(client, &key.namespace);
    if empty && (live.encumbered || live.terminating) {
        let mut patch = taking_over(json!(isolating()), json!({}), &live.followed_by);
        let path = PointerBuf::from_tokens(["metadata", "uid"]);
        patch.0.insert(0, PatchOperation::Test(TestOperation { path, value: json!(live.uid) }));
        gone(limited(written.patch(&key.name, &merge(), &Patch::<()>::Json(patch))).await.map(drop))?;
    }
    let this = Preconditions { uid: Some(live.uid.clone()), ..Preconditions::default() };
    let parameters = DeleteParams { preconditions: Some(this), ..DeleteParams::default() };
    match limited(written.delete(&key.name, &parameters)).await {
        // What is answered may be as deep as somebody liked, and says nothing that is needed.
        Err(Error::Request(error)) if matches!(*error, kube::Error::SerdeError(_)) => Ok(()),
        answer => gone(answer.map(drop)),
    }
}

/// Writes nothing into a tenant's policy, so that the admission policies see it once more and narrow it.
///
/// # Errors
/// Why it was not done.
pub async fn touch_policy(client: Client, key: &Key) -> Result<Policy, Error> {
    let written = Api::<Sent<NetworkPolicy>>::namespaced(client, &key.namespace);
    limited(written.patch(&key.name, &merge(), &Patch::Merge(json!({})))).await.and_then(reduced)
}

/// The pods of a namespace as the API server has them now, not as a watch has brought them.
///
/// # Errors
/// Why they could not be read.
pub async fn pods_of(client: Client, namespace: &str) -> Result<Vec<(Key, Pod)>, Error> {
    let pods = in_pages(&Api::<Sent<LivePod>>::namespaced(client, namespace)).await?;
    Ok(pods.into_iter().map(|(name, pod)| (Key::new(namespace, &name), pod)).collect())
}

/// The RoleBindings of a namespace as the API server has them now, not as a watch has brought them.
///
/// # Errors
/// Why they could not be read.
pub async fn role_bindings_of(client: Client, namespace: &str) -> Result<Vec<RoleBinding>, Error> {
    let bindings = in_pages(&Api::<Sent<LiveRoleBinding>>::namespaced(client, namespace)).await?;
    Ok(bindings.into_iter().map(|(_, binding)| binding).collect())
}

/// Lists a few at a time, and keeps what matters of each by its name: tenants make single objects as large as the API takes.
async fn in_pages<K, T>(api: &Api<Sent<K>>) -> Result<Vec<(String, T)>, Error>
where
    K: Resource + Reads + Clone + Debug + Into<T>,
    T: Unread,
{
    let mut kept = Vec::new();
    let mut page = ListParams::default().limit(PAGE);
    loop {
        let listed = limited(api.list(&page)).await?;
        for sent in listed.items {
            kept.push((sent.meta().name.clone().unwrap_or_default(), reduced(sent)?));
        }
        match listed.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => page = page.continue_token(&token),
            None => return Ok(kept),
        }
    }
}

/// What matters of an object.
fn reduced<K: Into<T>, T: Unread>(sent: Sent<K>) -> Result<T, Error> {
    match sent {
        Sent::Read(object) => Ok((*object).into()),
        Sent::Unreadable(meta) => T::unread(&meta).ok_or(Error::Unreadable),
    }
}

/// Writes a whole status.
///
/// # Errors
/// Why it was not done.
pub async fn set_status<K>(client: Client, name: &str, status: &impl Serialize) -> Result<K, Error>
where
    K: Resource<DynamicType = (), Scope = ClusterResourceScope> + Clone + Debug + DeserializeOwned,
{
    let body = json!({"apiVersion": K::api_version(&()), "kind": K::kind(&()), "status": status});
    limited(Api::<K>::all(client).patch_status(name, &own(), &Patch::Apply(&body))).await
}

/// Puts Domicile's finalizer on an object, or takes it off, if it has not changed since it was read.
///
/// # Errors
/// Why it was not done.
pub async fn set_finalizer<K>(client: Client, read: &K, wanted: bool) -> Result<K, Error>
where
    K: Resource<DynamicType = (), Scope = ClusterResourceScope> + Clone + Debug + DeserializeOwned,
{
    let mut finalizers: Vec<&str> = read.finalizers().iter().map(String::as_str).collect();
    finalizers.retain(|name| *name != keys::FINALIZER);
    if wanted {
        finalizers.push(keys::FINALIZER);
    }
    let metadata = json!({"resourceVersion": read.resource_version(), "finalizers": finalizers});
    let patch = Patch::Merge(json!({"metadata": metadata}));
    limited(Api::<K>::all(client).patch(&read.name_any(), &merge(), &patch)).await
}

/// What is gone already is deleted.
pub(super) fn gone(answer: Result<(), Error>) -> Result<(), Error> {
    match answer {
        Err(Error::NotFound) => Ok(()),
        other => other,
    }
}
