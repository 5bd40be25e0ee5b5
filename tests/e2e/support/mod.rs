//! What the tests stand on: a cluster, an installation of Domicile in it, users, and words for what they do.

pub mod add_on;
pub mod cluster;
pub mod installation;
pub mod kinds;
pub mod kubectl;
pub mod made;
pub mod manifest;
pub mod namespace;
pub mod operator;
pub mod process;
pub mod reply;
pub mod seats;
pub mod tools;
pub mod user;
pub mod wait;
pub mod workloads;

/// What a test module needs.
pub mod prelude {
    pub use super::kinds::*;
    pub use super::{
        add_on::{AddOn, add_on, all_served},
        installation::{CHART, Turn, alone, condition, residency, shared, to_install_anew, with_static_policies},
        made::{Made, data_center},
        manifest::{Manifest, parse, typed},
        namespace::{Namespace, PIN, bare_pod, fresh_name},
        operator::OPERATOR,
        reply::{Reply, asks_for_another_try, rule},
        seats::AllSeats,
        user::{Patch, User},
        wait::{Ends, LATER, SOON, eventually, never, say, when},
        workloads::{bare_claim, mounting},
    };
    pub use serde_json::{Value, json};
    pub use std::time::{Duration, Instant};
}
