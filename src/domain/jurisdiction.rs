//! Legal regimes by ISO 3166-1 alpha-2 code.
//!
//! `CN` is the mainland; `HK`, `MO` and `TW` are other codes and never satisfy `CN`. No position on sovereignty is
//! taken: a code names the regime that a facility is under. `ZZ` is unknown and satisfies nothing.

use std::fmt;

/// An officially assigned ISO 3166-1 alpha-2 code, or [`Jurisdiction::UNKNOWN`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
#[serde(transparent)]
pub struct Jurisdiction(&'static str);

/// A string that is no jurisdiction.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
#[error("{0:?} is not an ISO 3166-1 alpha-2 code such as CN, HK or DE (the United Kingdom is GB)")]
pub struct NoJurisdiction(pub String);

impl Jurisdiction {
    /// The user-assigned code `ZZ`: not known, and so outside of everything.
    pub const UNKNOWN: Self = Self("ZZ");

    /// Parses an alpha-2 code; only capital letters are accepted, as in the standard.
    ///
    /// # Errors
    /// When the code is not officially assigned and not `ZZ`.
    pub fn parse(code: &str) -> Result<Self, NoJurisdiction> {
        if code == Self::UNKNOWN.0 {
            return Ok(Self::UNKNOWN);
        }
        Self::all().find(|known| known.0 == code).ok_or_else(|| NoJurisdiction(code.to_owned()))
    }

    /// Every assigned code, `ZZ` left out.
    pub fn all() -> impl Iterator<Item = Self> {
        rust_iso3166::ALL.iter().map(|country| Self(country.alpha2))
    }

    /// The two letters.
    #[must_use]
    pub fn code(self) -> &'static str {
        self.0
    }

    /// Whether a place in `self` satisfies a demand for `wanted`. Unknown satisfies nothing, not even unknown.
    #[must_use]
    pub fn satisfies(self, wanted: Self) -> bool {
        self != Self::UNKNOWN && self == wanted
    }
}

impl fmt::Display for Jurisdiction {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mainland_and_its_neighbours_are_four_codes() {
        for code in ["CN", "HK", "MO", "TW"] {
            let here = Jurisdiction::parse(code).unwrap();
            assert_eq!(Jurisdiction::all().filter(|other| here.satisfies(*other)).count(), 1, "{code}");
        }
    }

    #[test]
    fn unknown_satisfies_nothing() {
        assert!(!Jurisdiction::UNKNOWN.satisfies(Jurisdiction::UNKNOWN));
    }

    #[test]
    fn wrong_codes_are_refused() {
        for code in ["UK", "cn", "CHN", "", "China", "EU"] {
            assert!(Jurisdiction::parse(code).is_err(), "{code}");
        }
    }
}
