//! What a namespace names: the value of its label `domicile.dev/residency`.
//!
//! `mainland`, or several joined by `_` (`mainland_battery`), all of which hold; `none` and an absent label name
//! nothing. The policies on namespaces refuse other values, but a value may be older than the policies, so what cannot
//! be read is kept and refused rather than ignored.

use std::fmt;

use super::keys;

/// At most so many residencies in one label value.
pub const MAX_RESIDENCIES: usize = 8;

/// The names in a label value, in the order in which they are written.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
pub struct Residencies {
    value: String,
    names: Vec<String>,
}

/// What a namespace's label says.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub enum Named {
    /// No residency: the namespace is not governed.
    Nothing,
    /// These residencies.
    Residencies(Residencies),
    /// A value that names nothing that could exist; the namespace is governed and nothing may start in it.
    Unreadable(String),
}

impl Named {
    /// Reads the label of a namespace.
    #[must_use]
    pub fn parse(label: Option<&str>) -> Self {
        let value = match label {
            None | Some("none") => return Self::Nothing,
            Some(value) => value,
        };
        let names: Vec<String> = value.split('_').map(str::to_owned).collect();
        if names.len() > MAX_RESIDENCIES || !names.iter().all(|name| is_name(name)) {
            return Self::Unreadable(value.to_owned());
        }
        Self::Residencies(Residencies { value: value.to_owned(), names })
    }
}

impl Residencies {
    /// The names as written, repetitions included.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.names.iter().map(String::as_str)
    }

    /// Whether `name` is one of them.
    #[must_use]
    pub fn contain(&self, name: &str) -> bool {
        self.names.iter().any(|own| own == name)
    }

    /// Whether it is the canary's alone: the one of Domicile's own namespace. Beside others it is a name like any.
    #[must_use]
    pub fn are_the_canarys(&self) -> bool {
        self.value == keys::CANARY_RESIDENCY
    }

    /// The label's value.
    #[must_use]
    pub fn value(&self) -> &str {
        &self.value
    }
}

impl fmt::Display for Residencies {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.names.join(", "))
    }
}

/// A DNS label (RFC 1123) of at most 30 characters that is not `none`.
fn is_name(name: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let edge = |byte: Option<u8>| byte.is_some_and(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
    name.len() <= 30
        && name != "none"
        && edge(name.bytes().next())
        && edge(name.bytes().last())
        && name.bytes().all(inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn several_residencies_are_joined_by_an_underscore() {
        let Named::Residencies(named) = Named::parse(Some("mainland_battery")) else { panic!() };
        assert_eq!(named.names().collect::<Vec<_>>(), ["mainland", "battery"]);
        assert!(named.contain("battery") && !named.contain("bat"));
    }

    #[test]
    fn absent_and_none_name_nothing() {
        assert_eq!(Named::parse(None), Named::Nothing);
        assert_eq!(Named::parse(Some("none")), Named::Nothing);
    }

    #[test]
    fn what_cannot_be_read_is_not_ignored() {
        for value in ["", "Mainland", "mainland_none", "a.b", "-a", "a__b", "a_b_c_d_e_f_g_h_i"] {
            assert_eq!(Named::parse(Some(value)), Named::Unreadable(value.to_owned()), "{value}");
        }
    }
}
