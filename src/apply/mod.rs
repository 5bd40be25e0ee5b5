//! Writes, each with a time limit, each idempotent.
//!
//! Nothing here decides anything: what is written was compiled before. Confinements are written with the version that
//! they were resolved from; everything else belongs to Domicile alone and is written by server-side apply.

mod cluster_policy;
mod error;
mod event;
mod evict;
mod write;

pub use cluster_policy::{apply_cluster_policy, delete_cluster_policy};
pub use error::Error;
pub use event::Events;
pub use evict::{Data, Eviction, Moved, evict};
pub use write::{
    apply_class, apply_policy, close_namespace, delete_class, delete_policy, label_node, patch_namespace, pods_of,
    role_bindings_of, set_finalizer, set_status, touch_policy,
};
