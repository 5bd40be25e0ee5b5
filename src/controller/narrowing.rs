//! Which namespaces have their older policies narrowed now, and which wait for that. It takes the API server long and a tenant can
//! make many policies, so only a few are at it at a time, in the order in which they came, and those that were at it without an end
//! after all others; other work passes them.

use std::collections::{BTreeSet, VecDeque};

/// So many are at it at a time.
const AT_A_TIME: usize = 4;

/// Who is at it and who waits, by name.
#[derive(Debug, Default)]
pub struct Narrowing {
    running: BTreeSet<String>,
    /// Those that have not been at it come first.
    waiting: VecDeque<String>,
    /// Those that were at it and were not done.
    unfinished: BTreeSet<String>,
}

impl Narrowing {
    /// Whether a namespace may begin; otherwise it waits.
    pub fn begins(&mut self, namespace: &str) -> bool {
        let place = self.waiting.iter().position(|name| name == namespace);
        let place = place.unwrap_or_else(|| {
            let is_new = !self.unfinished.contains(namespace);
            let before = self.waiting.iter().position(|name| is_new && self.unfinished.contains(name));
            let place = before.unwrap_or(self.waiting.len());
            self.waiting.insert(place, namespace.to_owned());
            place
        });
        let begins = place < AT_A_TIME.saturating_sub(self.running.len());
        if begins {
            self.waiting.remove(place);
            self.running.insert(namespace.to_owned());
            self.unfinished.insert(namespace.to_owned());
        }
        begins
    }

    /// A namespace had its turn. Says which are to be looked at, since they may begin.
    #[must_use]
    pub fn ends(&mut self, namespace: &str) -> Vec<String> {
        let before = self.waiting.len();
        self.waiting.retain(|name| name != namespace);
        if !self.running.remove(namespace) && self.waiting.len() == before {
            return Vec::new();
        }
        self.waiting.iter().take(AT_A_TIME.saturating_sub(self.running.len())).cloned().collect()
    }

    /// A namespace has nothing to narrow. Says which are to be looked at, since they may begin.
    #[must_use]
    pub fn is_done(&mut self, namespace: &str) -> Vec<String> {
        self.unfinished.remove(namespace);
        self.ends(namespace)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_are_at_it_and_the_others_follow_in_their_order() {
        let mut narrowing = Narrowing::default();
        let names: Vec<String> = (0..7).map(|number| format!("shop-{number}")).collect();
        let begun: Vec<bool> = names.iter().map(|name| narrowing.begins(name)).collect();
        assert_eq!(begun, [true, true, true, true, false, false, false]);
        assert!(!narrowing.begins("shop-5"), "it waits already");
        assert_eq!(narrowing.ends("shop-1"), ["shop-4"]);
        assert!(!narrowing.begins("shop-5"), "shop-4 came first");
        assert!(narrowing.begins("shop-4"));
        assert!(narrowing.ends("shop-5").is_empty(), "there is room for none");
        assert_eq!(narrowing.ends("shop-0"), ["shop-6"]);
        assert!(narrowing.ends("other").is_empty());
        assert!(narrowing.begins("shop-6"));
    }

    #[test]
    fn who_was_not_done_comes_after_those_that_have_not_been_at_it() {
        let mut narrowing = Narrowing::default();
        for number in 0..6 {
            narrowing.begins(&format!("shop-{number}"));
        }
        assert_eq!(narrowing.ends("shop-0"), ["shop-4"]);
        assert!(narrowing.begins("shop-4"));
        assert!(!narrowing.begins("shop-0") && !narrowing.begins("new"));
        assert_eq!(narrowing.ends("shop-1"), ["shop-5"]);
        assert!(narrowing.begins("shop-5"));
        assert_eq!(narrowing.ends("shop-2"), ["new"]);
        assert!(!narrowing.begins("shop-0"));
        assert!(narrowing.begins("new"));
        assert_eq!(narrowing.is_done("new"), ["shop-0"]);
        assert!(narrowing.begins("new"), "a new matter");
    }

    #[test]
    fn where_one_that_was_called_has_nothing_to_narrow_the_next_is() {
        let mut narrowing = Narrowing::default();
        for number in 0..6 {
            narrowing.begins(&format!("shop-{number}"));
        }
        assert_eq!(narrowing.ends("shop-3"), ["shop-4"]);
        assert_eq!(narrowing.ends("shop-4"), ["shop-5"]);
    }
}
