//! An API server that answers as a test says.

use std::{convert::Infallible, future::Future};

use axum::body::Body;
use futures::{StreamExt as _, stream};
use http::{Request, Response, StatusCode, Uri};
use kube::{Client, client};

/// What is answered.
pub(super) struct Answer {
    status: StatusCode,
    body: Body,
}

impl Answer {
    /// This, to its end.
    pub fn whole(value: &serde_json::Value) -> Self {
        Self { status: StatusCode::OK, body: Body::from(value.to_string()) }
    }

    /// This, and no end.
    pub fn begun(text: &'static str) -> Self {
        let first = stream::iter([Ok::<_, Infallible>(text)]);
        Self { status: StatusCode::OK, body: Body::from_stream(first.chain(stream::pending())) }
    }

    /// An error.
    pub fn error(code: u16, message: &str) -> Self {
        let status = serde_json::json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "message": message, "reason": ""});
        Self { status: StatusCode::from_u16(code).unwrap(), ..Self::whole(&status) }
    }
}

/// A client of it.
pub(super) fn answers<F>(answer: impl Fn(Uri) -> F + Clone + Send + 'static) -> Client
where
    F: Future<Output = Answer> + Send + 'static,
{
    let service = tower::service_fn(move |request: Request<client::Body>| {
        let answer = answer(request.uri().clone());
        async move {
            let Answer { status, body } = answer.await;
            let mut response = Response::new(body);
            *response.status_mut() = status;
            Ok::<_, Infallible>(response)
        }
    });
    Client::new(service, "default")
}
