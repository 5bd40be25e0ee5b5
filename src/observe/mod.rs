//! Reads: what the API server says, as plain data.
//!
//! [`Snapshot`] is the only thing that the pure modules see. The controller keeps it current from watches; tests and the
//! command line read it from YAML. Objects are reduced to the few fields that matter the moment they arrive, so that a
//! large cluster costs little memory. Nothing is ever written here.

pub mod add_ons;
pub mod change;
pub mod client;
pub mod cluster_policy;
pub mod convert;
pub mod devices;
mod discovery;
mod fingerprint;
#[cfg(test)]
mod fixture;
pub mod model;
pub mod network_policy;
pub mod node;
pub mod peers;
pub mod pod;
mod privilege;
pub mod receivers;
mod resources;
pub mod sent;
mod served;
mod sight;
mod unread;
pub mod watch;

pub use add_ons::Opening;
pub use change::{Change, Delta, Kind};
pub use cluster_policy::ClusterPolicy;
pub use devices::Device;
pub use fingerprint::Fingerprint;
pub use model::{
    Claim, Class, Drivers, Endpoints, Exposed, Inline, Key, Namespace, Node, Owner, Phase, Pod, Reach, RoleBinding,
    Snapshot, Volume, in_namespace,
};
pub use network_policy::Policy;
pub use receivers::Receivers;
pub use resources::Resources;
