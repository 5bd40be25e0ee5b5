//! Devices (DRA) of which nobody knows where they stand: what drivers gave to ResourceClaims that are not known to give parts
//! of a node. The kind is served where DynamicResourceAllocation is on, as it is by default.

use k8s_openapi::api::resource::v1::ResourceClaim;
use kube::{Api, Client, api::ApiResource};
use serde::Serialize;
use tokio::sync::mpsc;

use super::{
    change::Change,
    convert::plain,
    discovery::{Discovery, Found},
    served::Following,
};
use crate::domain::DeviceDrivers;

/// The API group.
pub(super) const GROUP: &str = "resource.k8s.io";

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
pub(super) fn follow(client: &Client, discovery: Discovery, sink: &mpsc::Sender<Change>, known: DeviceDrivers) {
    Following {
        name: "ResourceClaim",
        find: |found: &Found| found.find_in(GROUP, "v1", "resourceclaims"),
        elsewhere: |_: &Found| false,
        open: |client: &Client, _: &ApiResource| Api::all(client.clone()),
        project: move |claim: ResourceClaim| Device::unknown(claim, &known),
        wrap: Change::Device,
    }
    .follow(client, discovery, sink);
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
