//! The governed namespaces as the operator knows them, for readers beside it.

use std::{
    collections::BTreeMap,
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use tokio::{sync::Notify, time::timeout};

use crate::observe::Namespace;

/// Shared by the operator, which writes, and the webhook, which reads. A namespace that names no residency is not in it.
#[derive(Clone, Debug, Default)]
pub struct Namespaces(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    known: RwLock<BTreeMap<String, Arc<Namespace>>>,
    changed: Notify,
}

impl Namespaces {
    /// The namespace of this name, where it is governed.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<Arc<Namespace>> {
        self.0.known.read().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
    }

    /// The same, and where it is not known yet, waits for it: a namespace that was just made is asked about before the
    /// operator's watch has brought it.
    pub async fn await_known(&self, name: &str, limit: Duration) -> Option<Arc<Namespace>> {
        let known = async {
            loop {
                let changed = self.0.changed.notified();
                match self.get(name) {
                    Some(known) => return known,
                    None => changed.await,
                }
            }
        };
        timeout(limit, known).await.ok()
    }

    /// Says what the namespace of this name is now; `None` where it is gone or not governed.
    pub fn set(&self, name: &str, now: Option<&Namespace>) {
        let mut known = self.0.known.write().unwrap_or_else(PoisonError::into_inner);
        match now {
            Some(now) => drop(known.insert(name.to_owned(), Arc::new(now.clone()))),
            None => drop(known.remove(name)),
        }
        self.0.changed.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_namespace_that_is_just_made_is_waited_for() {
        let known = Namespaces::default();
        let made = Namespace { name: "shop".into(), ..Namespace::default() };
        let (seen, ()) = tokio::join!(known.await_known("shop", Duration::from_secs(60)), async {
            known.set("other", Some(&made));
            known.set("shop", Some(&made));
        });
        assert_eq!(seen.as_deref(), Some(&made));
        known.set("shop", None);
        assert_eq!(known.await_known("shop", Duration::ZERO).await, None);
    }
}
