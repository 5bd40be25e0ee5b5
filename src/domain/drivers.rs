//! What is known of CSI drivers: the topology key by which a class pins its volumes, and the parameters that name a place.
//!
//! From the drivers' own sources and documentation. A driver that is not listed has no known key, so a class for it must
//! say its `topologyKey`; drivers without topology (NFS, object storage) are left out on purpose: their volumes' place
//! cannot be told.

/// What Domicile knows of one CSI driver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Driver {
    /// Name of the provisioner.
    pub name: &'static str,
    /// Key of node segments, `allowedTopologies` and volumes' node affinity that names the zone.
    pub topology_key: &'static str,
    /// Parameters that put a volume elsewhere than its topology says.
    pub location_parameters: &'static [&'static str],
}

const DRIVERS: [Driver; 10] = [
    driver("blockvolume.csi.oraclecloud.com", "topology.kubernetes.io/zone", &[]),
    driver("cinder.csi.openstack.org", "topology.cinder.csi.openstack.org/zone", &["availability"]),
    driver("com.tencent.cloud.csi.cbs", "topology.com.tencent.cloud.csi.cbs/zone", &["diskZone", "zone"]),
    driver("disk.csi.azure.com", "topology.disk.csi.azure.com/zone", &["location"]),
    driver("diskplugin.csi.alibabacloud.com", "topology.diskplugin.csi.alibabacloud.com/zone", &["zoneId", "regionId"]),
    driver("ebs.csi.aws.com", "topology.kubernetes.io/zone", &[]),
    driver("ebs.csi.volcengine.com", "topology.kubernetes.io/zone", &[]),
    driver("evs.csi.huaweicloud.com", "topology.evs.csi.huaweicloud.com/zone", &["availability"]),
    driver("manila.csi.openstack.org", "topology.manila.csi.openstack.org/zone", &["availability"]),
    driver("pd.csi.storage.gke.io", "topology.gke.io/zone", &[]),
];

const fn driver(
    name: &'static str,
    topology_key: &'static str,
    location_parameters: &'static [&'static str],
) -> Driver {
    Driver { name, topology_key, location_parameters }
}

/// What is known of the driver, if anything.
#[must_use]
pub fn known(name: &str) -> Option<&'static Driver> {
    DRIVERS.iter().find(|driver| driver.name == name)
}
