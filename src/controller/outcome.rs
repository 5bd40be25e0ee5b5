//! What a piece of work wrote, so that it is known before the watch brings it.

use super::namespace::Meaning;
use crate::{
    apply::Moved,
    observe::{Change, Key},
    report::events::Telling,
};

/// What was written.
#[derive(Clone, Debug, Default)]
pub struct Written {
    /// To be taken in as if a watch had brought it.
    pub changes: Vec<Change>,
    /// What the write to a namespace comes to.
    pub meaning: Option<Meaning>,
    /// The pod that was to be moved, and what came of that.
    pub moved: Option<(Key, Moved)>,
    /// What to tell of it.
    pub tellings: Vec<Telling>,
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

    /// To be told as this.
    #[must_use]
    pub fn told(mut self, tellings: Vec<Telling>) -> Self {
        self.tellings = tellings;
        self
    }

    /// Which comes to this.
    #[must_use]
    pub fn meaning(mut self, meaning: Meaning) -> Self {
        self.meaning = Some(meaning);
        self
    }
}
