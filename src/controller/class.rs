//! The next step for one StorageClass.

use kube::Client;

use super::{outcome::Written, world::World};
use crate::{
    apply,
    compile::storage::{ClassStep, class, step},
    observe::{Change, Delta},
    resolve::WantedClass,
};

/// What to do next.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// Create it, or change it in place.
    Write(Box<WantedClass>),
    /// Delete it: no residency wants it any more, or it must be made again.
    Delete,
}

/// The next step for the class of this name; `None` where it stands as it should, or is not Domicile's.
#[must_use]
pub fn next(world: &World, name: &str) -> Option<Step> {
    let live = world.snapshot.classes.get(name);
    let wanted = world.residencies.values().flat_map(|residency| &residency.classes).find(|class| class.name == name);
    match (wanted, live) {
        (Some(wanted), live) => match step(wanted, live) {
            ClassStep::Nothing => None,
            ClassStep::Create | ClassStep::Change => Some(Step::Write(Box::new(wanted.clone()))),
            ClassStep::Recreate => Some(Step::Delete),
        },
        (None, Some(live)) if live.managed => Some(Step::Delete),
        (None, Some(_) | None) => None,
    }
}

/// Carries a step out.
///
/// # Errors
/// Why it was not done.
pub async fn carry_out(client: Client, name: String, step: Step) -> Result<Written, apply::Error> {
    match step {
        Step::Write(wanted) => {
            let live = apply::apply_class(client, &class(&wanted)).await?;
            Ok(Written::one(Change::Class(Delta::Applied(name, live))))
        }
        Step::Delete => {
            apply::delete_class(client, &name).await?;
            Ok(Written::default())
        }
    }
}
