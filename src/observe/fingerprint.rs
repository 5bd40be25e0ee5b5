//! Whether two values are the same, without keeping either.

use ring::digest::{SHA256, digest};
use serde::Serialize;

/// The SHA-256 of a value's JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fingerprint([u8; 32]);

impl Fingerprint {
    /// Of a value; `None` where it has no JSON, which then is like nothing.
    #[must_use]
    pub fn of(value: &impl Serialize) -> Option<Self> {
        let json = serde_json::to_vec(value).ok()?;
        digest(&SHA256, &json).as_ref().try_into().ok().map(Self)
    }
}
