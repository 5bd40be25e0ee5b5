//! What counts of an object that cannot be read: it is there, and nothing of it is in order.

use std::net::IpAddr;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::{
    ClusterPolicy, Device, Endpoints, Exposed, Key, Namespace, Node, Opening, Pod, Policy, Receivers, RoleBinding,
    convert::SUBJECTS,
    model::{Claim, Class, Drivers, Volume},
    network_policy::Opens,
    sent::Unread,
};
use crate::api::{DataCenter, DataResidency};

/// In place of what cannot be read; no node, class or volume has such a name.
const UNREADABLE: &str = "(unreadable)";

fn uid(meta: &ObjectMeta) -> String {
    meta.uid.clone().unwrap_or_default()
}

impl Unread for Node {
    /// It is not verified.
    fn unread(meta: &ObjectMeta) -> Option<Self> {
        Some(Self {
            name: meta.name.clone().unwrap_or_default(),
            uid: uid(meta),
            labels: meta.labels.clone().unwrap_or_default(),
            unreadable_addresses: vec![UNREADABLE.to_owned()],
            ..Self::default()
        })
    }
}

impl Unread for Pod {
    /// It has its node's rights, and runs where nobody knows.
    fn unread(meta: &ObjectMeta) -> Option<Self> {
        Some(Self {
            uid: uid(meta),
            node: Some(UNREADABLE.to_owned()),
            privilege: Some("it cannot be read".to_owned()),
            ..Self::default()
        })
    }
}

impl Unread for Claim {
    /// Its class is none that is permitted.
    fn unread(meta: &ObjectMeta) -> Option<Self> {
        Some(Self { uid: uid(meta), class: Some(UNREADABLE.to_owned()), ..Self::default() })
    }
}

impl Unread for Volume {
    /// It lies nowhere that is known.
    fn unread(_: &ObjectMeta) -> Option<Self> {
        Some(Self { driver: UNREADABLE.to_owned(), ..Self::default() })
    }
}

impl Unread for Class {
    /// Its driver is none that is known.
    fn unread(_: &ObjectMeta) -> Option<Self> {
        Some(Self { provisioner: UNREADABLE.to_owned(), ..Self::default() })
    }
}

impl Unread for Policy {
    /// Nobody knows what it opens, nor who holds it.
    fn unread(meta: &ObjectMeta) -> Option<Self> {
        let opens = Opens { unreadable: true, ..Opens::default() };
        Some(Self { uid: uid(meta), opens, encumbered: true, ..Self::default() })
    }
}

impl Unread for RoleBinding {
    /// It has more subjects than are judged.
    fn unread(meta: &ObjectMeta) -> Option<Self> {
        Some(Self { uid: uid(meta), subjects: SUBJECTS + 1, ..Self::default() })
    }
}

impl Unread for Exposed {
    /// It is reached from everywhere.
    fn unread(meta: &ObjectMeta) -> Option<Self> {
        Some(Self { uid: uid(meta), how: "LoadBalancer".to_owned(), hides_source: true, ..Self::default() })
    }
}

impl Unread for Endpoints {
    /// It has addresses that are not judged.
    fn unread(meta: &ObjectMeta) -> Option<Self> {
        Some(Self { uid: uid(meta), more: 1, ..Self::default() })
    }
}

impl Unread for Device {
    /// It was given what nobody knows.
    fn unread(meta: &ObjectMeta) -> Option<Self> {
        Some(Self { claim_uid: uid(meta), name: UNREADABLE.to_owned(), driver: UNREADABLE.to_owned() })
    }
}

impl Unread for Opening {
    /// It leads wherever its kind can lead.
    fn unread(meta: &ObjectMeta) -> Option<Self> {
        Some(Self { uid: uid(meta), gives_more: true })
    }
}

impl Unread for ClusterPolicy {
    /// Nobody knows what it accepts.
    fn unread(meta: &ObjectMeta) -> Option<Self> {
        Some(Self { uid: uid(meta), ..Self::default() })
    }
}

// These stay as they are known. Nothing that is read of a namespace can be made unreadable, and the others are made by those
// who run the cluster.

impl Unread for Namespace {
    fn unread(_: &ObjectMeta) -> Option<Self> {
        None
    }
}

impl Unread for DataCenter {
    fn unread(_: &ObjectMeta) -> Option<Self> {
        None
    }
}

impl Unread for DataResidency {
    fn unread(_: &ObjectMeta) -> Option<Self> {
        None
    }
}

impl Unread for Receivers {
    fn unread(_: &ObjectMeta) -> Option<Self> {
        None
    }
}

impl Unread for Drivers {
    fn unread(_: &ObjectMeta) -> Option<Self> {
        None
    }
}

impl Unread for Vec<IpAddr> {
    fn unread(_: &ObjectMeta) -> Option<Self> {
        None
    }
}

/// What an object is known by.
pub(super) trait Id: Ord {
    fn of(meta: &ObjectMeta) -> Self;
}

impl Id for String {
    fn of(meta: &ObjectMeta) -> Self {
        meta.name.clone().unwrap_or_default()
    }
}

impl Id for Key {
    fn of(meta: &ObjectMeta) -> Self {
        Self::new(meta.namespace.as_deref().unwrap_or_default(), meta.name.as_deref().unwrap_or_default())
    }
}
