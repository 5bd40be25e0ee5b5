//! Parsed values that cannot be wrong.
//!
//! A string with a format is parsed once, at the edge, into one of these types; behind the edge nobody reads a raw
//! string again. Nothing here talks to a cluster, reads a clock or the environment.

pub mod add_ons;
pub mod catalogue;
pub mod cidr;
pub mod confinement;
pub mod device_drivers;
pub mod drivers;
pub mod finding;
pub mod further_networks;
pub mod jurisdiction;
pub mod keys;
pub mod residencies;
pub mod routes;

pub use add_ons::{ADD_ONS, AddOn, Does};
pub use catalogue::{Catalogue, Place};
pub use cidr::Cidr;
pub use confinement::{Confinement, Exposure, Ingress, Mode, Mutation, NOTHING, Permitting, TenantPolicies};
pub use device_drivers::DeviceDrivers;
pub use finding::{Finding, Leg, Subject, Verdict};
pub use further_networks::FurtherNetworks;
pub use jurisdiction::Jurisdiction;
pub use residencies::{Named, Residencies};
