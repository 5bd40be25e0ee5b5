//! Conditions, as the API conventions want them: the time of transition changes only with the status.
//!
//! Conditions of other writers are not copied: a status is applied server-side, where each writer keeps his own entries,
//! and a copy would make them Domicile's.

use std::fmt;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

use super::cut;

/// So many bytes a condition's message has at most; the API conventions allow 32768, people read less.
const MESSAGE: usize = 1024;

/// Whether something is so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// It is.
    True,
    /// It is not.
    False,
    /// It cannot be told, which never counts as so.
    Unknown,
}

impl fmt::Display for Status {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::True => "True",
            Self::False => "False",
            Self::Unknown => "Unknown",
        })
    }
}

/// What is said of one condition type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judgement {
    /// Whether it is so.
    pub status: Status,
    /// One CamelCase word for machines.
    pub reason: &'static str,
    /// A sentence for people, with nothing random in it.
    pub message: String,
}

impl Judgement {
    /// It is so.
    #[must_use]
    pub fn yes(reason: &'static str, message: impl Into<String>) -> Self {
        Self { status: Status::True, reason, message: message.into() }
    }

    /// It is not so.
    #[must_use]
    pub fn no(reason: &'static str, message: impl Into<String>) -> Self {
        Self { status: Status::False, reason, message: message.into() }
    }

    /// It cannot be told.
    #[must_use]
    pub fn unknown(reason: &'static str, message: impl Into<String>) -> Self {
        Self { status: Status::Unknown, reason, message: message.into() }
    }

    /// Whether it is so.
    #[must_use]
    pub fn is_true(&self) -> bool {
        self.status == Status::True
    }
}

/// The conditions after `judgements`, in their order, by type. `generation` is that of the spec that was judged.
#[must_use]
pub fn set(
    old: &[Condition],
    judgements: impl IntoIterator<Item = (&'static str, Judgement)>,
    generation: Option<i64>,
    now: &Time,
) -> Vec<Condition> {
    let one = |(type_, judgement): (&'static str, Judgement)| {
        let Judgement { status, reason, message } = judgement;
        let status = status.to_string();
        let before = old.iter().find(|condition| condition.type_ == type_ && condition.status == status);
        Condition {
            type_: type_.to_owned(),
            last_transition_time: before
                .map_or_else(|| now.clone(), |condition| condition.last_transition_time.clone()),
            status,
            reason: reason.to_owned(),
            message: cut(&message, MESSAGE),
            observed_generation: generation,
        }
    };
    judgements.into_iter().map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::jiff::Timestamp;

    fn at(second: i64) -> Time {
        Time(Timestamp::from_second(second).unwrap())
    }

    #[test]
    fn the_time_changes_only_with_the_status() {
        let first = set(&[], [("Ready", Judgement::no("A", "a"))], Some(1), &at(1));
        let same = set(&first, [("Ready", Judgement::no("B", "b"))], Some(2), &at(2));
        let [condition] = same.as_slice() else { panic!("{same:?}") };
        assert_eq!(condition.last_transition_time, at(1));
        assert_eq!((condition.reason.as_str(), condition.observed_generation), ("B", Some(2)));
        let turned = set(&same, [("Ready", Judgement::yes("C", "c"))], Some(2), &at(3));
        assert_eq!(turned[0].last_transition_time, at(3));
    }

    #[test]
    fn what_is_said_again_is_the_same() {
        let once = set(&[], [("Ready", Judgement::unknown("A", "a"))], None, &at(1));
        assert_eq!(set(&once, [("Ready", Judgement::unknown("A", "a"))], None, &at(9)), once);
    }

    #[test]
    fn conditions_of_others_are_not_copied() {
        let theirs = set(&[], [("Theirs", Judgement::yes("A", "a"))], None, &at(1));
        assert_eq!(set(&theirs, [("Ready", Judgement::yes("A", "a"))], None, &at(2)).len(), 1);
    }
}
