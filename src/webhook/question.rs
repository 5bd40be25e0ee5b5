//! Reads a question: bounded in size, and without a seat that a question which has arrived already could use.
//!
//! How fast a body comes is for whoever sends it. So what is read is not yet worked on: an ordinary question waits for
//! nobody while it is read, and only a large one, of which a few fill the memory, takes a place among those.

use axum::{body::Body, http::StatusCode};
use futures::StreamExt as _;
use tokio::sync::{Semaphore, SemaphorePermit};

/// Twice the largest object that etcd takes, as JSON, with what stands around it.
pub(super) const LARGEST: usize = 8 * 1024 * 1024;
/// What is larger takes a place. Pods, claims and most policies are a tenth of it.
pub(super) const ORDINARY: usize = 64 * 1024;
/// So many large questions are in memory at a time; others wait.
const LARGE_AT_A_TIME: usize = 4;
/// More values (numbers, texts, lists, keys) are not taken apart: each takes many times the room that it took as text. An
/// object of the largest size has a fifth of it, unless it is made for that.
const VALUES: usize = 500_000;

/// The places for large questions.
pub(super) struct Places(Semaphore);

impl Default for Places {
    fn default() -> Self {
        Self(Semaphore::new(LARGE_AT_A_TIME))
    }
}

/// A question as it came, with the place that it takes up.
pub(super) struct Question<'a> {
    pub(super) text: Vec<u8>,
    _place: Option<SemaphorePermit<'a>>,
}

impl Places {
    /// Reads to the end.
    ///
    /// # Errors
    /// The answer to one that is too large or breaks off.
    pub(super) async fn read(&self, body: Body) -> Result<Question<'_>, StatusCode> {
        let (mut text, mut place) = (Vec::new(), None);
        let mut pieces = body.into_data_stream();
        while let Some(piece) = pieces.next().await {
            let piece = piece.map_err(|_| StatusCode::BAD_REQUEST)?;
            let length = text.len().saturating_add(piece.len());
            if length > LARGEST {
                return Err(StatusCode::PAYLOAD_TOO_LARGE);
            }
            if length > ORDINARY && place.is_none() {
                place = self.0.acquire().await.ok();
            }
            text.extend_from_slice(&piece);
        }
        if has_too_many_values(&text) {
            return Err(StatusCode::PAYLOAD_TOO_LARGE);
        }
        Ok(Question { text, _place: place })
    }
}

/// At most as many values as there are separators, those within texts counted, too.
fn has_too_many_values(text: &[u8]) -> bool {
    text.len() > VALUES && text.iter().filter(|byte| b",:[{".contains(byte)).count() > VALUES
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::body::Bytes;
    use futures::stream;

    /// A body of which this comes, and then nothing more.
    fn stalled(start: &str) -> Body {
        let piece = Ok::<_, std::io::Error>(Bytes::from(start.to_owned()));
        Body::from_stream(stream::iter([piece]).chain(stream::pending()))
    }

    #[tokio::test]
    async fn a_question_is_read_whole_or_refused() {
        let places = Places::default();
        let read = async |length: usize| places.read(Body::from("x".repeat(length))).await.map(|read| read.text.len());
        for length in [0, 1, ORDINARY, ORDINARY + 1, LARGEST] {
            assert_eq!(read(length).await, Ok(length));
        }
        assert_eq!(read(LARGEST + 1).await, Err(StatusCode::PAYLOAD_TOO_LARGE));
        let dense = format!("[{}0]", "0,".repeat(VALUES));
        assert_eq!(places.read(Body::from(dense)).await.err(), Some(StatusCode::PAYLOAD_TOO_LARGE));
        let broken = Body::from_stream(stream::iter([Err::<Bytes, _>(std::io::Error::other("gone"))]));
        assert_eq!(places.read(broken).await.err(), Some(StatusCode::BAD_REQUEST));
    }

    #[tokio::test]
    async fn large_questions_that_stall_hold_up_no_ordinary_one() {
        let places = std::sync::Arc::new(Places::default());
        let large = "x".repeat(ORDINARY + 1);
        let stalled: Vec<_> = (0..3 * LARGE_AT_A_TIME)
            .map(|_| {
                let (places, body) = (std::sync::Arc::clone(&places), stalled(&large));
                tokio::spawn(async move { places.read(body).await.is_ok() })
            })
            .collect();
        while places.0.available_permits() > 0 {
            tokio::task::yield_now().await;
        }
        assert!(places.read(Body::from("x".repeat(ORDINARY))).await.is_ok());
        assert!(stalled.iter().all(|one| !one.is_finished()));
        for one in stalled {
            one.abort();
        }
    }
}
