//! Evicts one pod: looks at it as it is now, and asks the API server, which respects PodDisruptionBudgets.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::{
        core::v1::{Pod as WholePod, PodSpec},
        policy::v1::Eviction as Asked,
    },
    apimachinery::pkg::apis::meta::v1::{DeleteOptions, ObjectMeta, Preconditions, Status},
};
use kube::{Api, Client, api::PostParams};

use super::{Error, write::limited};
use crate::{
    observe::{Key, Pod, Volume, pod::LivePod, sent::Sent},
    resolve::{Place, fits},
};

/// A pod that is to be moved, and what decides whether it can be.
#[derive(Clone, Debug, PartialEq)]
pub struct Eviction {
    /// Which.
    pub key: Key,
    /// The pod as it was judged.
    pub pod: Pod,
    /// Where its successor may go.
    pub places: Vec<Place>,
    /// The claims of its namespace.
    pub claims: BTreeMap<String, Data>,
}

/// Where the data of a claim lies.
#[derive(Clone, Debug, PartialEq)]
pub enum Data {
    /// Nowhere yet: it goes where the pod goes.
    Unbound,
    /// In this volume, which is proven to lie inside.
    In(Volume),
    /// Where a finding says that it must not lie, or may not.
    Outside,
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Moved {
    /// The API server ends it.
    Evicted,
    /// It is left, for this reason.
    Left(String),
    /// It is not the pod that was judged any more.
    Changed,
}

/// Evicts a pod, if it still is what was judged and its successor could run.
///
/// # Errors
/// Why that is not known.
pub async fn evict(client: Client, eviction: &Eviction) -> Result<Moved, Error> {
    let Eviction { key, pod, places, claims } = eviction;
    let pods = Api::<WholePod>::namespaced(client.clone(), &key.namespace);
    let live = match limited(Api::<Sent<WholePod>>::namespaced(client, &key.namespace).get(&key.name)).await {
        Ok(Sent::Read(live)) => *live,
        Ok(Sent::Unreadable(_)) => return Ok(Moved::Left("it cannot be read".to_owned())),
        Err(Error::NotFound) => return Ok(Moved::Changed),
        Err(error) => return Err(error),
    };
    // The name may be another pod's in a moment. Which version it is does not matter: where it runs and what pins it stays as it is,
    // and whoever writes it all the time would never be moved.
    let preconditions = Preconditions { uid: live.metadata.uid.clone(), ..Preconditions::default() };
    let now = Pod::from(LivePod::of(&live).map_err(kube::Error::SerdeError)?);
    if now.uid != pod.uid || now.node != pod.node || now.pins != pod.pins || now.terminating || !now.is_active() {
        return Ok(Moved::Changed);
    }
    let spec = live.spec.unwrap_or_default();
    if let Err(reason) = reachable(&spec, places, claims).and_then(|places| fits(&spec, now.asked, &places)) {
        return Ok(Moved::Left(reason));
    }
    // Not by `Api::evict`: kube 5.0 names the options as no API server reads them, and they were passed over without a word.
    let asked = Asked {
        metadata: ObjectMeta { name: Some(key.name.clone()), ..ObjectMeta::default() },
        delete_options: Some(DeleteOptions { preconditions: Some(preconditions), ..DeleteOptions::default() }),
    };
    let options = PostParams::default();
    match limited(pods.create_subresource::<_, Status>("eviction", &key.name, &options, &asked)).await {
        Ok(_) => Ok(Moved::Evicted),
        Err(Error::NotFound | Error::Conflict) => Ok(Moved::Changed),
        Err(Error::Refused(reason) | Error::Answered(429, reason)) => Ok(Moved::Left(reason)), // by a budget
        Err(error) => Err(error),
    }
}

/// The places that every volume of the pod can be reached from.
fn reachable(spec: &PodSpec, places: &[Place], claims: &BTreeMap<String, Data>) -> Result<Vec<Place>, String> {
    let mut left = places.to_vec();
    let named = spec.volumes.iter().flatten().filter_map(|volume| volume.persistent_volume_claim.as_ref());
    for claim in named.map(|source| &source.claim_name) {
        let volume = match claims.get(claim) {
            None | Some(Data::Unbound) => continue,
            Some(Data::Outside) => return Err(format!("the data of its claim {claim} lies outside; move that first")),
            Some(Data::In(volume)) => volume,
        };
        let within = |term: &BTreeMap<String, Vec<String>>, place: &Place| {
            term.iter().all(|(key, values)| place.node.labels.get(key).is_some_and(|value| values.contains(value)))
        };
        left.retain(|place| volume.terms.is_empty() || volume.terms.iter().any(|term| within(term, place)));
        if left.is_empty() && !places.is_empty() {
            return Err(format!("no verified node reaches the volume of its claim {claim}"));
        }
    }
    Ok(left)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::Node;

    fn place(zone: &str) -> Place {
        let labels = [("zone".to_owned(), zone.to_owned())].into();
        Place { node: Node { labels, ready: true, ..Node::default() }, free: Default::default() }
    }

    #[test]
    fn a_pod_is_not_moved_away_from_its_volume() {
        let spec: PodSpec = serde_json::from_value(serde_json::json!({
            "containers": [], "volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": "data"}}],
        }))
        .unwrap();
        let places = [place("cn-shanghai-e"), place("cn-beijing-h")];
        let claim = |data: Data| BTreeMap::from([("data".to_owned(), data)]);
        let lying_in = |zone: &str| {
            let term = BTreeMap::from([("zone".to_owned(), vec![zone.to_owned()])]);
            claim(Data::In(Volume { terms: vec![term], ..Volume::default() }))
        };
        assert_eq!(reachable(&spec, &places, &lying_in("cn-beijing-h")).unwrap().len(), 1);
        assert!(reachable(&spec, &places, &lying_in("eu-central-1a")).unwrap_err().contains("claim data"));
        assert!(reachable(&spec, &places, &claim(Data::Outside)).unwrap_err().contains("move that first"));
        assert_eq!(reachable(&spec, &places, &claim(Data::Unbound)).unwrap().len(), 2);
    }
}
