//! Devices (DRA) of which nobody knows where they stand: what drivers gave to ResourceClaims that are not known to give parts
//! of a node. The kind is served where DynamicResourceAllocation is on, as it is by default.

use k8s_openapi::api::resource::v1::ResourceClaim;
use kube::{Api, Client};
use serde::Serialize;
use tokio::sync::mpsc;

use super::{
    change::Change,
    convert::plain,
    served::{self, Served},
};
use crate::domain::DeviceDrivers;

/// The first such device that a ResourceClaim was given.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Device {
    /// The claim's UID.
    pub claim_uid: String,
    /// The device's name.
    pub name: String,
    /// Who gave it.
    pub driver: String,
}

impl Device {
    /// What a claim was given first of drivers that are not among these.
    #[must_use]
    pub fn unknown(claim: ResourceClaim, known: &DeviceDrivers) -> Option<Self> {
        let given = claim.status?.allocation?.devices?.results?;
        let device = given.into_iter().find(|device| !known.contain(&device.driver))?;
        let claim_uid = claim.metadata.uid.unwrap_or_default();
        Some(Self { claim_uid, name: plain(&device.device), driver: plain(&device.driver) })
    }
}

/// Watches all claims.
pub(super) fn follow(client: &Client, sink: &mpsc::Sender<Change>, known: DeviceDrivers) {
    let served = Served { api_version: "resource.k8s.io/v1", kind: "ResourceClaim" };
    let project = move |claim: ResourceClaim| Device::unknown(claim, &known);
    served::follow(client, served, Api::all(client.clone()), sink, project, Change::Device);
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn unknown(results: &Value) -> Option<Device> {
        let status = json!({"allocation": {"devices": {"results": results}}});
        let claim = json!({"metadata": {"name": "one", "uid": "7"}, "spec": {}, "status": status});
        Device::unknown(serde_json::from_value(claim).unwrap(), &DeviceDrivers::known())
    }

    #[test]
    fn one_device_of_an_unknown_driver_is_enough() {
        let device = |driver: &str| json!({"request": "one", "driver": driver, "pool": "p", "device": "d"});
        assert_eq!(unknown(&json!([device("gpu.nvidia.com"), device("gpu.amd.com")])), None);
        let found = unknown(&json!([device("gpu.nvidia.com"), device("net.example.com")])).unwrap();
        assert_eq!((found.claim_uid.as_str(), found.driver.as_str()), ("7", "net.example.com"));
        assert_eq!(unknown(&json!([])), None);
        let waits = json!({"metadata": {"name": "one"}, "spec": {}});
        assert_eq!(Device::unknown(serde_json::from_value(waits).unwrap(), &DeviceDrivers::known()), None);
    }
}
