//! The webhook's own certificates: made here, kept in one Secret, made known in one webhook configuration.
//!
//! Each serving certificate is signed by an authority of its own, whose key is thrown away at once: nobody can sign with
//! it again. They are renewed without a question that fails: first the API server is told to trust the old and the new
//! authority ([`Step::Trust`]), then, when it has had time to see that, the new certificate is served ([`Step::Switch`]),
//! and last the old authority goes ([`Step::Forget`]). [`store`] decides, [`issue`] makes, and [`keep`] reads and writes.

pub mod issue;
pub mod keep;
pub mod store;

pub use keep::keep;
pub use store::{Issued, Step, Store};
