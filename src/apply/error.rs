//! Why a write was not done.

use std::time::Duration;

use crate::{observe::Key, telemetry::Outcome};

/// Why a write was not done.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Somebody else was faster.
    #[error("it has changed since it was read")]
    Conflict,
    /// Others write it so often that each write came too late.
    #[error("others write it so often that it could not be written")]
    Outrun,
    /// The object, or its kind, is not there.
    #[error("it is not there")]
    NotFound,
    /// The watch has not told of what is there.
    #[error("{0} is there, and the watch has not told of it")]
    Behind(Key),
    /// There was not time enough for all of it.
    #[error("there was no time for all of it, and it goes on")]
    Unfinished,
    /// The API server says no.
    #[error("refused: {0}")]
    Refused(String),
    /// The resource's definition does not know a field of this version.
    #[error(
        "{0}; the CRDs are older than this operator: apply those of its version (kubectl apply --server-side --force-conflicts -f crds/)"
    )]
    OlderSchema(String),
    /// No answer in time.
    #[error("no answer within {0:?}")]
    TimedOut(Duration),
    /// An answer that cannot be read.
    #[error("it was done, or it is there, but the answer cannot be read")]
    Unreadable,
    /// The API server says that something is wrong with it.
    #[error("the API server answers {0}: {1}")]
    Answered(u16, String),
    /// Anything else.
    #[error(transparent)]
    Request(Box<kube::Error>),
}

impl Error {
    /// How this counts.
    #[must_use]
    pub fn outcome(&self) -> Outcome {
        match self {
            Self::Conflict | Self::NotFound | Self::Behind(_) | Self::Unfinished => Outcome::Conflict,
            Self::Outrun
            | Self::Refused(_)
            | Self::OlderSchema(_)
            | Self::TimedOut(_)
            | Self::Unreadable
            | Self::Answered(..)
            | Self::Request(_) => Outcome::Failed,
        }
    }
}

/// What an API server says of a field that is applied, and that the schema does not have.
const NOT_DECLARED: &str = "field not declared in schema";

/// What an API server makes of etcd's answer to an object that is larger than it takes, and of its own to one that it cannot send there.
pub(super) fn is_too_large(message: &str) -> bool {
    ["request is too large", "ResourceExhausted", "larger than max"].iter().any(|words| message.contains(words))
}

impl From<kube::Error> for Error {
    /// By HTTP status code: kube's own predicates look at the reason alone, which a plain-text 404 does not have.
    fn from(error: kube::Error) -> Self {
        match &error {
            kube::Error::Api(status) if status.message.contains(NOT_DECLARED) => {
                Self::OlderSchema(status.message.clone())
            }
            kube::Error::Api(status) => match status.code {
                404 => Self::NotFound,
                409 => Self::Conflict,
                400 | 403 | 413 | 422 => Self::Refused(status.message.clone()),
                500 if is_too_large(&status.message) => Self::Refused(status.message.clone()),
                code => Self::Answered(code, status.message.clone()),
            },
            _ => Self::Request(Box::new(error)),
        }
    }
}
