//! Which answers to own writes are news. An answer says what stood when the API server wrote it; by the time it is taken in, the
//! watch may have brought what somebody made of it since. The watch then says more, and says the own write, too.

use std::{collections::BTreeMap, mem::Discriminant};

use crate::observe::{Change, Delta};

/// One object of a kind that is written, or with no name every one of them.
type Object = (usize, String);

/// When the watch last told of what.
#[derive(Debug, Default)]
pub struct Answers {
    turn: u64,
    told: BTreeMap<Object, u64>,
    kinds: Vec<Discriminant<Change>>,
}

impl Answers {
    /// Now, to be remembered with a request that begins.
    #[must_use]
    pub fn turn(&self) -> u64 {
        self.turn
    }

    /// The watch tells of a change.
    pub fn watch_tells(&mut self, change: &Change) {
        self.turn = self.turn.saturating_add(1);
        let Some(told) = told(change) else { return };
        let kind = self.kind(change);
        match told {
            Told::Of(name) => drop(self.told.insert((kind, name), self.turn)),
            Told::Gone(name) => drop(self.told.remove(&(kind, name))), // what is not known is not taken in
            Told::OfAll => {
                self.told.retain(|(other, _), _| *other != kind);
                self.told.insert((kind, String::new()), self.turn);
            }
        }
    }

    /// Whether the watch has told nothing of the object since a request began that this is the answer to.
    #[must_use]
    pub fn is_news(&mut self, answer: &Change, began: u64) -> bool {
        let Some(Told::Of(name) | Told::Gone(name)) = told(answer) else { return true };
        let kind = self.kind(answer);
        let since = |name: String| self.told.get(&(kind, name)).is_some_and(|turn| *turn > began);
        !since(name) && !since(String::new())
    }

    fn kind(&mut self, change: &Change) -> usize {
        let kind = std::mem::discriminant(change);
        self.kinds.iter().position(|known| *known == kind).unwrap_or_else(|| {
            self.kinds.push(kind);
            self.kinds.len().saturating_sub(1)
        })
    }
}

enum Told {
    Of(String),
    Gone(String),
    OfAll,
}

/// What a change tells of a kind that is written. Namespaces are left out: they carry the version by which they are compared.
fn told(change: &Change) -> Option<Told> {
    fn of<I: ToString, T>(delta: &Delta<I, T>) -> Told {
        match delta {
            Delta::Applied(id, _) => Told::Of(id.to_string()),
            Delta::Gone(id) => Told::Gone(id.to_string()),
            Delta::Replaced(_) => Told::OfAll,
        }
    }
    match change {
        Change::DataCenter(delta) => Some(of(delta)),
        Change::Residency(delta) => Some(of(delta)),
        Change::Node(delta) => Some(of(delta)),
        Change::Class(delta) => Some(of(delta)),
        Change::Policy(delta) => Some(of(delta)),
        Change::ClusterPolicy(Some(delta)) => Some(of(delta)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::Node;

    fn node(name: &str) -> Change {
        Change::Node(Delta::Applied(name.into(), Node::default()))
    }

    #[test]
    fn an_answer_is_no_news_once_the_watch_has_told_of_the_object() {
        let mut answers = Answers::default();
        answers.watch_tells(&node("moved"));
        let began = answers.turn();
        assert!(answers.is_news(&node("moved"), began), "what the request was decided by is not newer than it");
        answers.watch_tells(&node("other"));
        assert!(answers.is_news(&node("moved"), began));
        answers.watch_tells(&node("moved"));
        assert!(!answers.is_news(&node("moved"), began));
        assert!(answers.is_news(&node("moved"), answers.turn()));
    }

    #[test]
    fn what_is_there_again_is_not_gone() {
        let mut answers = Answers::default();
        let (began, gone) = (answers.turn(), Change::Node(Delta::Gone("moved".into())));
        assert!(answers.is_news(&gone, began));
        answers.watch_tells(&node("moved"));
        assert!(!answers.is_news(&gone, began));
    }

    #[test]
    fn a_new_list_tells_of_all() {
        let mut answers = Answers::default();
        let began = answers.turn();
        answers.watch_tells(&Change::Node(Delta::Replaced(BTreeMap::new())));
        assert!(!answers.is_news(&node("moved"), began));
        let center = Change::DataCenter(Delta::Gone("one".into()));
        assert!(answers.is_news(&center, began), "of another kind nothing was told");
    }

    #[test]
    fn what_is_gone_is_forgotten() {
        let mut answers = Answers::default();
        answers.watch_tells(&node("moved"));
        answers.watch_tells(&Change::Node(Delta::Gone("moved".into())));
        assert!(answers.told.is_empty());
    }
}
