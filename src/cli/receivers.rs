//! Reads to whom a cluster's API server sends whole objects, with the rights of whoever asks. What he may not list is told
//! as not read; the rest is told all the same.

use std::{collections::BTreeSet, fmt::Debug};

use k8s_openapi::{
    api::{
        admissionregistration::v1::{MutatingWebhookConfiguration, ValidatingWebhookConfiguration},
        core::v1::Namespace,
    },
    apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
    kube_aggregator::pkg::apis::apiregistration::v1::APIService,
};
use kube::{Api, Client, Resource, ResourceExt as _, api::ListParams};
use serde::de::DeserializeOwned;

use crate::{
    domain::{Named, keys},
    observe::{
        Key, Receivers,
        receivers::{Target, target},
    },
    report::receivers::Sent,
};

/// Reads every kind that names somebody who is sent objects.
///
/// # Errors
/// What else than missing rights kept a kind from being read.
pub async fn read(client: &Client) -> Result<Sent, kube::Error> {
    let mut unread = Vec::new();
    let mut targets: BTreeSet<Target> = BTreeSet::new();
    let all = |receivers: Receivers| receivers.receivers.into_iter().map(|receiver| receiver.target);
    let validating = list::<ValidatingWebhookConfiguration>(client, &mut unread).await?;
    targets.extend(validating.into_iter().map(Receivers::from).flat_map(all));
    let mutating = list::<MutatingWebhookConfiguration>(client, &mut unread).await?;
    targets.extend(mutating.into_iter().map(Receivers::from).flat_map(all));
    let apis = list::<APIService>(client, &mut unread).await?;
    targets.extend(apis.into_iter().map(Receivers::from).flat_map(all));
    let converting: BTreeSet<Target> =
        list::<CustomResourceDefinition>(client, &mut unread).await?.into_iter().filter_map(converter).collect();
    let governed: BTreeSet<String> = list::<Namespace>(client, &mut unread)
        .await?
        .into_iter()
        .filter(|space| Named::parse(space.labels().get(keys::RESIDENCY).map(String::as_str)) != Named::Nothing)
        .map(|space| space.name_any())
        .collect();
    let is_governed = |key: &&Key| governed.contains(&key.namespace);
    let services = targets.iter().chain(&converting).filter_map(service);
    Ok(Sent {
        services: services.filter(|key| !is_governed(key)).cloned().collect(),
        serving: converting.iter().filter_map(service).filter(is_governed).cloned().collect(),
        converting: converting.iter().filter_map(host).collect(),
        unread,
    })
}

/// Who converts the objects of a definition, if somebody does and they are in namespaces.
fn converter(definition: CustomResourceDefinition) -> Option<Target> {
    let config = definition.spec.conversion?.webhook?.client_config?;
    let service = config.service.map(|service| Key::new(&service.namespace, &service.name));
    (definition.spec.scope == "Namespaced").then(|| target(service, config.url))
}

fn service(target: &Target) -> Option<&Key> {
    match target {
        Target::Service(key) => Some(key),
        Target::Address(..) | Target::Host(_) => None,
    }
}

fn host(target: &Target) -> Option<String> {
    match target {
        Target::Address(address, _) if !address.is_loopback() => Some(address.to_string()),
        Target::Host(name) if name != "localhost" => Some(name.clone()),
        Target::Address(..) | Target::Host(_) | Target::Service(_) => None,
    }
}

/// All objects of a kind; none, and a word of it, where the right is missing.
async fn list<K>(client: &Client, unread: &mut Vec<&'static str>) -> Result<Vec<K>, kube::Error>
where
    K: Resource<DynamicType = ()> + k8s_openapi::Resource + Clone + Debug + DeserializeOwned,
{
    match Api::<K>::all(client.clone()).list(&ListParams::default()).await {
        Ok(list) => Ok(list.items),
        Err(kube::Error::Api(status)) if status.code == 403 => {
            unread.push(K::URL_PATH_SEGMENT);
            Ok(Vec::new())
        }
        Err(error) => Err(error),
    }
}
