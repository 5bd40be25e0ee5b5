//! What a piece of work wrote, so that it is known before the watch brings it.

use super::namespace::Meaning;
use crate::observe::watch::Change;

/// What was written.
#[derive(Clone, Debug, Default)]
pub struct Written {
    /// To be taken in as if a watch had brought it.
    pub changes: Vec<Change>,
    /// What the write to a namespace comes to.
    pub meaning: Option<Meaning>,
}

impl Written {
    /// One thing.
    #[must_use]
    pub fn one(change: Change) -> Self {
        Self { changes: vec![change], ..Self::default() }
    }

    /// Something else as well.
    pub fn push(&mut self, change: Change) {
        self.changes.push(change);
    }

    /// Which comes to this.
    #[must_use]
    pub fn meaning(mut self, meaning: Meaning) -> Self {
        self.meaning = Some(meaning);
        self
    }
}
