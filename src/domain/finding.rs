//! One fact that breaks, or may break, a residency.

use std::fmt;

/// Whether something governed keeps to its residency.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
pub enum Verdict {
    /// It breaks it.
    NonCompliant,
    /// It cannot be told, which counts as outside.
    Unknown,
}

impl fmt::Display for Verdict {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::NonCompliant => "NonCompliant",
            Self::Unknown => "Unknown",
        })
    }
}

/// The leg that a rule belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
pub enum Leg {
    /// Where pods run.
    Placement,
    /// Where volumes lie.
    Storage,
    /// What is talked to.
    Network,
    /// What can be reached from outside the cluster.
    Exposure,
    /// Who reaches in from other namespaces.
    Access,
    /// The residency itself.
    Residency,
}

/// The object that a finding is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
pub struct Subject {
    /// Its kind, which its API version follows from.
    pub kind: &'static str,
    /// Its namespace, empty for cluster-scoped kinds.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its UID, where known.
    pub uid: String,
}

impl Subject {
    /// An object in a namespace.
    #[must_use]
    pub fn namespaced(kind: &'static str, namespace: &str, name: &str, uid: &str) -> Self {
        Self { kind, namespace: namespace.to_owned(), name: name.to_owned(), uid: uid.to_owned() }
    }

    /// An object of the cluster.
    #[must_use]
    pub fn cluster(kind: &'static str, name: &str) -> Self {
        Self { kind, namespace: String::new(), name: name.to_owned(), uid: String::new() }
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.namespace.is_empty() {
            write!(out, "{} {}", self.kind, self.name)
        } else {
            write!(out, "{} {}/{}", self.kind, self.namespace, self.name)
        }
    }
}

/// Rule, subject, message, remedy. Sorts worst first.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
pub struct Finding {
    /// Worse ones first.
    pub verdict: Verdict,
    /// The leg of the rule.
    pub leg: Leg,
    /// Stable id, as refusals of the same rule begin with it, without brackets.
    pub rule: &'static str,
    /// What it is about.
    pub subject: Subject,
    /// What is so, with the value that decided.
    pub message: String,
    /// What to do.
    pub remedy: String,
}
