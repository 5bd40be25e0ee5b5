//! Pods as they arrive, of which no more is held than matters.
//!
//! A pod of 1.5 MiB can have a hundred thousand volumes, which as whole objects take hundreds of megabytes, and whoever may
//! create pods anywhere in the cluster can make one. So containers and volumes are looked at one by one, while they arrive.

use std::{collections::BTreeMap, fmt, marker::PhantomData};

use k8s_openapi::{
    api::core::v1 as core,
    apimachinery::pkg::{api::resource::Quantity, apis::meta::v1::ObjectMeta},
};
use kube::Resource;
use serde::{
    Deserialize, Deserializer,
    de::{SeqAccess, Visitor},
};

use super::{Resources, convert::inline, model::Inline, privilege};

/// A pod as the API server sends it.
#[derive(Clone, Debug, Default, Deserialize, Resource)]
#[resource(inherit = "core::Pod")]
#[serde(default)]
pub struct LivePod {
    pub(super) metadata: ObjectMeta,
    pub(super) spec: Option<Spec>,
    pub(super) status: Option<Status>,
}

impl LivePod {
    /// Of a whole pod.
    ///
    /// # Errors
    /// That it has no JSON.
    pub fn of(pod: &core::Pod) -> Result<Self, serde_json::Error> {
        serde_json::from_value(serde_json::to_value(pod)?)
    }
}

/// What it is to be.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Spec {
    pub node_name: Option<String>,
    pub node_selector: Option<BTreeMap<String, String>>,
    pub host_network: Option<bool>,
    #[serde(rename = "hostPID")]
    pub host_pid: Option<bool>,
    #[serde(rename = "hostIPC")]
    pub host_ipc: Option<bool>,
    pub security_context: Option<core::PodSecurityContext>,
    pub overhead: Option<BTreeMap<String, Quantity>>,
    pub init_containers: Folded<Containers>,
    pub containers: Folded<Containers>,
    pub ephemeral_containers: Folded<Containers>,
    pub volumes: Folded<Inline>,
}

/// What its kubelet says of it.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Status {
    pub phase: Option<String>,
    #[serde(rename = "podIPs")]
    pub pod_ips: Option<Vec<core::PodIP>>,
}

/// What matters of a container.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Container {
    pub name: Option<String>,
    pub restart_policy: Option<String>,
    pub resources: Option<core::ResourceRequirements>,
    pub security_context: Option<core::SecurityContext>,
    pub ports: Option<Vec<core::ContainerPort>>,
    pub liveness_probe: Option<core::Probe>,
    pub readiness_probe: Option<core::Probe>,
    pub startup_probe: Option<core::Probe>,
    pub lifecycle: Option<core::Lifecycle>,
}

/// What containers of a pod come to together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Containers {
    /// What all of them ask for.
    pub together: Resources,
    /// What those ask for that stay beside the others (restartPolicy Always).
    pub beside: Resources,
    /// What the largest of the others asks for.
    pub largest: Resources,
    /// The first of each way to the node.
    pub ways: privilege::Ways,
}

/// What a list comes to when one item after the other is taken in.
pub(super) trait Fold: Default {
    /// What the list is of.
    type Item: for<'de> Deserialize<'de>;

    /// Takes in the next one.
    fn take(&mut self, item: Self::Item);
}

impl Fold for Containers {
    type Item = Container;

    fn take(&mut self, container: Container) {
        let requests = container.resources.as_ref().and_then(|resources| resources.requests.as_ref());
        let asked = requests.map(Resources::read).unwrap_or_default();
        self.together = self.together + asked;
        if container.restart_policy.as_deref() == Some("Always") {
            self.beside = self.beside + asked;
        } else {
            self.largest = self.largest.larger(asked);
        }
        self.ways.take(&container);
    }
}

impl Fold for Inline {
    type Item = core::Volume;

    fn take(&mut self, volume: core::Volume) {
        match inline(&volume) {
            Some(name) if self.first.is_none() => self.first = Some(name),
            Some(_) => self.more += 1,
            None => {}
        }
    }
}

/// A list that is taken in item by item.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Folded<F>(pub F);

impl<'de, F: Fold> Deserialize<'de> for Folded<F> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Items(PhantomData)).map(Self)
    }
}

struct Items<F>(PhantomData<F>);

impl<'de, F: Fold> Visitor<'de> for Items<F> {
    type Value = F;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a list")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<F, A::Error> {
        let mut folded = F::default();
        while let Some(item) = items.next_element()? {
            folded.take(item);
        }
        Ok(folded)
    }

    fn visit_unit<E>(self) -> Result<F, E> {
        Ok(F::default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{domain::keys, observe::Pod};
    use serde_json::{Value, json};

    fn read(spec: Value) -> Pod {
        serde_json::from_value::<LivePod>(json!({"metadata": {"name": "web"}, "spec": spec})).unwrap().into()
    }

    #[test]
    fn volumes_past_the_claims_are_counted() {
        let volume = |number: usize, source: &str| json!({"name": format!("v{number}"), source: {}});
        let volumes = [volume(0, "emptyDir"), volume(1, "nfs"), volume(2, "hostPath"), volume(3, "configMap")];
        let inline = read(json!({"containers": [], "volumes": volumes})).inline_volumes;
        assert_eq!((inline.first.as_deref(), inline.more), (Some("v1"), 1));
        assert_eq!(read(json!({"containers": null, "volumes": null})).inline_volumes, Inline::default());
    }

    #[test]
    fn an_annotation_says_an_address_until_the_status_does() {
        let says = |key: &str, address: &str, ips: Value| {
            let pod = json!({"metadata": {"annotations": {key: address}}, "status": {"podIPs": ips}});
            Pod::from(serde_json::from_value::<LivePod>(pod).unwrap()).address_annotation
        };
        for key in keys::ADDRESS_ANNOTATIONS {
            assert_eq!(says(key, "198.51.100.66", Value::Null).as_deref(), Some(key));
            assert_eq!(says(key, "198.51.100.66", json!([])).as_deref(), Some(key));
            assert_eq!(says(key, "198.51.100.66", json!([{"ip": "10.0.0.7"}])), None);
            assert_eq!(says(key, "", Value::Null), None);
        }
        assert_eq!(says("cni.projectcalico.org/ipv4pools", "198.51.100.66", Value::Null), None);
    }

    #[test]
    fn of_pins_no_more_are_kept_than_a_namespace_can_name() {
        let pins = |number: usize| -> Value {
            (0..number)
                .map(|one| (format!("{}r{one}", keys::NODE_RESIDENCY_PREFIX), "verified".into()))
                .collect::<serde_json::Map<_, _>>()
                .into()
        };
        assert_eq!(read(json!({"nodeSelector": pins(3)})).pins.len(), 3);
        assert_eq!(read(json!({"nodeSelector": pins(1000)})).pins.len(), 64);
    }

    #[test]
    fn a_whole_pod_is_read_as_it_would_be_sent() {
        let pod = json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": "web", "uid": "7"},
            "spec": {"nodeName": "cn-1", "hostNetwork": true, "containers": [{"name": "main", "securityContext": {"privileged": true}}]},
            "status": {"phase": "Running", "podIPs": [{"ip": "10.0.0.7"}]},
        });
        let whole = serde_json::from_value(pod.clone()).unwrap();
        let sent = Pod::from(serde_json::from_value::<LivePod>(pod).unwrap());
        assert_eq!(Pod::from(LivePod::of(&whole).unwrap()), sent);
        assert_eq!((sent.uid.as_str(), sent.node.as_deref(), sent.running), ("7", Some("cn-1"), true));
        assert_eq!(sent.privilege.as_deref(), Some("container main is privileged"));
    }
}
