//! The governed namespaces as the operator knows them, for readers beside it.

use std::{
    collections::BTreeMap,
    sync::{Arc, PoisonError, RwLock},
};

use crate::observe::Namespace;

/// Shared by the operator, which writes, and the webhook, which reads. A namespace that names no residency is not in it.
#[derive(Clone, Debug, Default)]
pub struct Namespaces(Arc<RwLock<BTreeMap<String, Arc<Namespace>>>>);

impl Namespaces {
    /// The namespace of this name, where it is governed.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<Arc<Namespace>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
    }

    /// Says what the namespace of this name is now; `None` where it is gone or not governed.
    pub fn set(&self, name: &str, now: Option<&Namespace>) {
        let mut known = self.0.write().unwrap_or_else(PoisonError::into_inner);
        match now {
            Some(now) => drop(known.insert(name.to_owned(), Arc::new(now.clone()))),
            None => drop(known.remove(name)),
        }
    }
}
