//! The catalogue of routes: every way out that is known, and what closes it.
//!
//! One row each, compiled in from `routes.csv` (RFC 4180): placement (P), storage (S), network and access (N). A row that is said
//! to be enforced names tests that see it on a real control plane. What nothing closes is listed, too: a catalogue that has only
//! closed doors tells nobody where to stand guard.

use std::sync::LazyLock;

use serde::{Deserialize, Serialize};

static BUILT_IN: LazyLock<Vec<Route>> = LazyLock::new(|| read(include_str!("routes.csv")));

/// What closes a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Closes {
    /// The fixed validating policies.
    AdmissionPolicy,
    /// The same, while they cannot be removed: loaded from the API servers' own files.
    StaticManifests,
    /// Pod Security Admission, by labels that the operator writes and the policies guard.
    PodSecurity,
    /// Fields of StorageClasses, which drivers heed and the policies guard.
    StorageClass,
    /// Network policies, where the network plugin enforces them.
    NetworkPolicy,
    /// The operator, while it runs: by what it verifies before it labels a node, and by what it takes away.
    Operator,
    /// Nothing: what breaks it is found and told.
    Audit,
    /// Nothing of Domicile; others can.
    Nothing,
    /// Nothing in Kubernetes.
    NotEnforceable,
}

/// One way out.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Route {
    /// A letter for the leg and a number, for example `P1`.
    pub id: String,
    /// What closes it.
    pub by: Closes,
    /// `yes` where what is missing is filled in, where something mutates.
    #[serde(rename = "fills")]
    fills_in: String,
    /// The Kubernetes version from which that holds, for example `1.34`.
    pub since: String,
    /// Rules, without `domicile/`, separated by blanks.
    rules: String,
    /// API groups, or kinds as `plural.group`, of which one must be served for the route to be there, separated by blanks; empty for
    /// those of Kubernetes.
    groups: String,
    /// The chart's value that must be set, as `key=value`; empty where it holds always.
    value: String,
    /// The way, in words.
    pub route: String,
    /// What is left, or would close it.
    pub rest: String,
    /// Tests that see it closed, as `module::name`, separated by blanks.
    tests: String,
    /// Where the way is known from.
    pub source: String,
}

impl Route {
    /// The leg that it leads out of.
    #[must_use]
    pub fn leg(&self) -> &'static str {
        match self.id.chars().next() {
            Some('P') => "placement",
            Some('S') => "storage",
            _ => "network",
        }
    }

    /// Whether what is missing is filled in, where something mutates.
    #[must_use]
    pub fn fills_in(&self) -> bool {
        self.fills_in == "yes"
    }

    /// The minor of Kubernetes 1 from which it is closed.
    #[must_use]
    pub fn since_minor(&self) -> Option<u32> {
        self.since.strip_prefix("1.")?.parse().ok()
    }

    /// The ids of its rules.
    pub fn rules(&self) -> impl Iterator<Item = String> {
        self.rules.split_whitespace().map(|rule| format!("domicile/{rule}"))
    }

    /// API groups, or kinds as `plural.group`, of which one must be served.
    pub fn groups(&self) -> impl Iterator<Item = &str> {
        self.groups.split_whitespace()
    }

    /// The chart's value that must be set.
    #[must_use]
    pub fn value(&self) -> Option<(&str, &str)> {
        self.value.split_once('=')
    }

    /// Tests that see it closed.
    pub fn tests(&self) -> impl Iterator<Item = &str> {
        self.tests.split_whitespace()
    }
}

/// Every known route, by leg and number.
#[must_use]
pub fn routes() -> &'static [Route] {
    &BUILT_IN
}

/// Reads rows. A test holds that every row of the built-in file parses.
fn read(text: &str) -> Vec<Route> {
    csv::Reader::from_reader(text.as_bytes()).deserialize().flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_parses_and_says_what_it_must() {
        let all = csv::Reader::from_reader(include_str!("routes.csv").as_bytes()).deserialize::<Route>().count();
        assert_eq!(routes().len(), all);
        let mut ids = std::collections::BTreeSet::new();
        for route in routes() {
            assert!(ids.insert(&route.id), "{} stands twice", route.id);
            let (letter, number) = route.id.split_at(1);
            assert!("PSN".contains(letter) && number.starts_with(|digit: char| digit.is_ascii_digit()), "{}", route.id);
            assert!(["", "yes"].contains(&route.fills_in.as_str()), "{}", route.id);
            assert!(route.since_minor().is_some_and(|minor| minor >= 34), "{}", route.id);
            assert!(route.value.is_empty() || route.value().is_some(), "{}", route.id);
            assert!(!route.source.is_empty() && !route.route.is_empty(), "{}", route.id);
            assert!(route.rest.is_empty() || route.rest.ends_with('.'), "{}", route.id);
            let closed = !matches!(route.by, Closes::Audit | Closes::Nothing | Closes::NotEnforceable);
            assert!(
                !closed || route.tests().next().is_some(),
                "{} is said to be closed, and no test sees it",
                route.id
            );
            assert!(closed || !route.rest.is_empty(), "{} does not say what would close it", route.id);
            let says = route.rules().next().is_some();
            assert!(route.by != Closes::AdmissionPolicy || says, "{} names no rule", route.id);
            // A condition may tell it as well as a finding.
            let is_told = says || route.tests().next().is_some();
            assert!(route.by != Closes::Audit || is_told, "{} names neither a rule nor a test", route.id);
        }
    }
}
