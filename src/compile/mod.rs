//! Pure: what is to hold, to what must be written, by comparison with what stands.
//!
//! One file per kind of thing that Domicile makes: node labels, confinements, StorageClasses, network policies. Nothing
//! wanted that stands already is written again, so a cluster at rest sees no write.

pub mod cluster_network;
pub mod namespace;
pub mod network;
pub mod nodes;
pub mod storage;

use std::collections::BTreeMap;

/// Keys to set (`Some`) and to take away (`None`) in a merge patch.
pub type Changes = BTreeMap<String, Option<String>>;

/// What turns `live` into `wanted`, for the keys of `wanted` only.
fn changes(live: &BTreeMap<String, String>, wanted: impl IntoIterator<Item = (String, Option<String>)>) -> Changes {
    wanted.into_iter().filter(|(key, value)| live.get(key) != value.as_ref()).collect()
}
