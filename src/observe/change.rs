//! What happens in the cluster, one change at a time, in this project's own types.

use std::{collections::BTreeMap, mem::Discriminant, net::IpAddr};

use super::{
    ClusterPolicy, Device, Key, Namespace, Node, Opening, Pod, Policy, Receivers,
    model::{Claim, Class, Drivers, Endpoints, Exposed, RoleBinding, Volume},
};
use crate::{
    api::{DataCenter, DataResidency},
    domain::{AddOn, add_ons::ADD_ONS},
};

/// What happened to objects of one kind.
#[derive(Clone, Debug)]
pub enum Delta<I, T> {
    /// One is new or changed.
    Applied(I, T),
    /// One is gone, or does not matter any more.
    Gone(I),
    /// These are all there are.
    Replaced(BTreeMap<I, T>),
}

/// What happened in the cluster.
#[derive(Clone, Debug)]
pub enum Change {
    /// To data centers.
    DataCenter(Delta<String, DataCenter>),
    /// To residencies.
    Residency(Delta<String, DataResidency>),
    /// To nodes.
    Node(Delta<String, Node>),
    /// To namespaces.
    Namespace(Delta<String, Namespace>),
    /// To pods.
    Pod(Delta<Key, Pod>),
    /// To claims.
    Claim(Delta<Key, Claim>),
    /// To volumes.
    Volume(Delta<String, Volume>),
    /// To StorageClasses.
    Class(Delta<String, Class>),
    /// To network policies.
    Policy(Delta<Key, Policy>),
    /// To RoleBindings.
    RoleBinding(Delta<Key, RoleBinding>),
    /// To services that reach outside.
    Service(Delta<Key, Exposed>),
    /// To Ingresses.
    Ingress(Delta<Key, Exposed>),
    /// To EndpointSlices that nobody vouches for.
    Endpoints(Delta<Key, Endpoints>),
    /// To validating webhooks.
    ValidatingWebhooks(Delta<String, Receivers>),
    /// To mutating webhooks.
    MutatingWebhooks(Delta<String, Receivers>),
    /// To APIServices that others serve.
    ApiService(Delta<String, Receivers>),
    /// To the CSI drivers on nodes.
    Drivers(Delta<String, Drivers>),
    /// To the addresses of the API servers.
    ApiServers(Delta<String, Vec<IpAddr>>),
    /// To ClusterNetworkPolicies; `None` where they are not served.
    ClusterPolicy(Option<Delta<String, ClusterPolicy>>),
    /// To devices of which nobody knows where they stand, by claim; `None` where claims are not served.
    Device(Option<Delta<Key, Device>>),
    /// To objects of an add-on's kind; `None` where it is not served.
    AddOn(&'static AddOn, Option<Delta<Key, Opening>>),
    /// To what is seen: a kind whose watch keeps failing, and why; `None` where it sees again.
    Sight(String, Option<String>),
}

impl Change {
    /// Whether this brings every object of its kind, or says that there is no such kind.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        match self {
            Self::DataCenter(delta) => matches!(delta, Delta::Replaced(_)),
            Self::Residency(delta) => matches!(delta, Delta::Replaced(_)),
            Self::Node(delta) => matches!(delta, Delta::Replaced(_)),
            Self::Namespace(delta) => matches!(delta, Delta::Replaced(_)),
            Self::Pod(delta) => matches!(delta, Delta::Replaced(_)),
            Self::Claim(delta) => matches!(delta, Delta::Replaced(_)),
            Self::Volume(delta) => matches!(delta, Delta::Replaced(_)),
            Self::Class(delta) => matches!(delta, Delta::Replaced(_)),
            Self::Policy(delta) => matches!(delta, Delta::Replaced(_)),
            Self::RoleBinding(delta) => matches!(delta, Delta::Replaced(_)),
            Self::Service(delta) | Self::Ingress(delta) => matches!(delta, Delta::Replaced(_)),
            Self::Endpoints(delta) => matches!(delta, Delta::Replaced(_)),
            Self::Drivers(delta) => matches!(delta, Delta::Replaced(_)),
            Self::ApiServers(delta) => matches!(delta, Delta::Replaced(_)),
            Self::ValidatingWebhooks(delta) | Self::MutatingWebhooks(delta) | Self::ApiService(delta) => {
                matches!(delta, Delta::Replaced(_))
            }
            Self::ClusterPolicy(delta) => matches!(delta, None | Some(Delta::Replaced(_))),
            Self::Device(delta) => matches!(delta, None | Some(Delta::Replaced(_))),
            Self::AddOn(_, delta) => matches!(delta, None | Some(Delta::Replaced(_))),
            Self::Sight(..) => false,
        }
    }

    /// Of which kind it is.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self {
            Self::AddOn(kind, _) => Kind::AddOn(kind.name),
            other => Kind::Own(std::mem::discriminant(other)),
        }
    }

    /// The kind that is known after this: wholly read, or told not to be served. An add-on that cannot be read holds up nothing
    /// for longer than it takes to tell so: its server may be gone for good.
    #[must_use]
    pub fn settles(&self) -> Option<Kind> {
        match self {
            Self::Sight(name, Some(_)) => {
                ADD_ONS.iter().find(|kind| kind.name == name).map(|kind| Kind::AddOn(kind.name))
            }
            change => change.is_whole().then(|| change.kind()),
        }
    }
}

/// A kind that is watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Of Kubernetes, or of Domicile.
    Own(Discriminant<Change>),
    /// Of an add-on.
    AddOn(&'static str),
}
