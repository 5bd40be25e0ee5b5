//! Devices that governed pods hold and of which nobody knows where they stand: given before the confinement, or while nothing was
//! enforced.

use super::Scene;
use crate::{
    domain::{Finding, Leg, Subject, Verdict},
    observe::{Device, Key},
};

/// Judges every ResourceClaim that was given such a device.
pub(super) fn audit(scene: &Scene<'_>) -> Vec<Finding> {
    scene.devices.iter().map(|(key, device)| judge(key, device)).collect()
}

fn judge(key: &Key, device: &Device) -> Finding {
    let Device { claim_uid, name, driver } = device;
    Finding {
        verdict: Verdict::Unknown,
        leg: Leg::Placement,
        rule: "domicile/device",
        subject: Subject::namespaced("ResourceClaim", &key.namespace, &key.name, claim_uid),
        message: format!(
            "device {name} of driver {driver} may be reached over the network and stand elsewhere, or be an interface to another network"
        ),
        remedy: "delete the pods that use it, or have its driver named in the chart under deviceDrivers, if its devices are part of the node"
            .to_owned(),
    }
}
