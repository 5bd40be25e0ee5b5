//! Reads: what the API server says, as plain data.
//!
//! [`Snapshot`] is the only thing that the pure modules see. The controller keeps it current from watches; tests and the
//! command line read it from YAML. Objects are reduced to the few fields that matter the moment they arrive, so that a
//! large cluster costs little memory. Nothing is ever written here.

pub mod change;
pub mod cluster_policy;
pub mod convert;
pub mod devices;
pub mod model;
mod privilege;
pub mod receivers;
mod resources;
mod served;
pub mod watch;

pub use change::{Change, Delta};
pub use cluster_policy::ClusterPolicy;
pub use devices::Device;
pub use model::{
    Claim, Class, Drivers, Endpoints, Exposed, Key, Namespace, Node, Owner, Phase, Pod, Policy, Reach, RoleBinding,
    Snapshot, Volume, in_namespace,
};
pub use receivers::Receivers;
pub use resources::Resources;
