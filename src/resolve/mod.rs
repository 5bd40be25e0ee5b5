//! Pure: what was written, and what the cluster is, to what follows from it.
//!
//! [`Facilities`] are the data centers, parsed and held against each other; [`locate()`] says where one node stands;
//! [`Residency`] is what one `DataResidency` comes to in this cluster; [`confine`] is what holds in one namespace.
//! Same input, same output: no clock, no randomness, no client.

mod confine;
mod facilities;
mod fit;
mod locate;
mod provider_id;
mod residency;
pub mod role_bindings;
mod storage_class;
mod topology_key;

pub use confine::{Circumstances, Confined, changes, confine, is_elsewhere, is_pinned, stands_outside};
pub use facilities::{Facilities, Facility, FacilityConflict};
pub use fit::{Place, fits};
pub use locate::{Location, NodeConflict, locate};
pub use residency::{Allowed, Peer, PortRange, Residency, Sites, resolve};
pub use storage_class::{WantedClass, proven};
pub use topology_key::{UnknownKey, unknown_keys};
