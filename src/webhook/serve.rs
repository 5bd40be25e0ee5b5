//! The webhook's endpoint: a question of the API server in, a patch or nothing out.
//!
//! The API server does not say who it is, so nothing here is secret, nothing is written, and everything is bounded: how large
//! a question may be, how many are read at a time, and how long one takes.

use std::{net::TcpListener, sync::Arc, time::Duration};

use axum::{
    Router,
    body::{Bytes, to_bytes},
    extract::{Request as HttpRequest, State},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::post,
};
use axum_server::tls_rustls::RustlsConfig;
use k8s_openapi::ByteString;
use rustls::ServerConfig;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::{sync::Semaphore, sync::watch, time::timeout};

use super::{
    Namespaces,
    decide::{Request, decide},
};
use crate::domain::keys;

/// The warning by which the canary knows who pinned its pod.
pub const PINNED: &str = "pinned by the webhook of Domicile";

/// Twice the largest object that etcd takes, as JSON, with what stands around it.
const LARGEST: usize = 8 * 1024 * 1024;
/// So many questions are read and answered at a time; others wait.
const AT_A_TIME: usize = 16;
/// The API server waits no longer: `timeoutSeconds` of the configuration.
const LIMIT: Duration = Duration::from_secs(3);

/// So long a namespace is waited for that is not known yet. The API server asks about governed ones alone, so it comes.
const PATIENCE: Duration = Duration::from_millis(500);

#[derive(Clone)]
struct Shared {
    namespaces: Namespaces,
    seats: Arc<Semaphore>,
}

/// Serves from the first certificate on, and takes every new one without dropping a connection.
///
/// # Errors
/// When the listener breaks.
pub async fn serve(
    listener: TcpListener,
    mut certificates: watch::Receiver<Option<Arc<ServerConfig>>>,
    namespaces: Namespaces,
) -> std::io::Result<()> {
    let first = loop {
        if let Some(first) = certificates.borrow_and_update().clone() {
            break first;
        }
        if certificates.changed().await.is_err() {
            return Ok(());
        }
    };
    let tls = RustlsConfig::from_config(first);
    let reloaded = tls.clone();
    tokio::spawn(async move {
        while certificates.changed().await.is_ok() {
            if let Some(new) = certificates.borrow_and_update().clone() {
                reloaded.reload_from_config(new);
            }
        }
    });
    tracing::info!(address = %listener.local_addr()?, "serving the webhook");
    let shared = Shared { namespaces, seats: Arc::new(Semaphore::new(AT_A_TIME)) };
    let router = Router::new().route("/mutate", post(mutate)).with_state(shared);
    axum_server::from_tcp_rustls(listener, tls)?.serve(router.into_make_service()).await
}

async fn mutate(State(shared): State<Shared>, request: HttpRequest) -> Response {
    let answered = timeout(LIMIT, async {
        let _seat = shared.seats.acquire().await.ok();
        let body = to_bytes(request.into_body(), LARGEST).await.map_err(|_| StatusCode::PAYLOAD_TOO_LARGE)?;
        answer(&body, &shared.namespaces).await.ok_or(StatusCode::BAD_REQUEST)
    });
    match answered.await.unwrap_or(Err(StatusCode::SERVICE_UNAVAILABLE)) {
        Ok(review) => ([(header::CONTENT_TYPE, "application/json")], review.to_string()).into_response(),
        Err(code) => code.into_response(), // the API server goes on without it
    }
}

#[derive(Deserialize)]
struct Review {
    request: Request,
}

/// An `AdmissionResponse` (admission.k8s.io/v1) that always allows.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Allowed {
    uid: String,
    allowed: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    patch_type: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    patch: Option<ByteString>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    warnings: Vec<&'static str>,
}

/// Allows, with a patch where something is to be changed. `None` where the question cannot be read.
async fn answer(body: &Bytes, namespaces: &Namespaces) -> Option<Value> {
    let Review { request } = serde_json::from_slice(body).ok()?;
    let space = match request.namespace.as_str() {
        "" => None, // of no namespace
        name => namespaces.await_known(name, PATIENCE).await,
    };
    let patch = decide(&request, space.as_deref());
    let mends = !patch.0.is_empty();
    let of_the_canary = request.namespace == keys::CANARY_NAMESPACE && request.is_about_pods();
    let response = Allowed {
        allowed: true,
        patch_type: mends.then_some("JSONPatch"),
        patch: if mends { Some(ByteString(serde_json::to_vec(&patch).ok()?)) } else { None },
        warnings: (mends && of_the_canary).then_some(PINNED).into_iter().collect(),
        uid: request.uid,
    };
    Some(json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response}))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::Namespace;

    fn namespaces(name: &str) -> Namespaces {
        let known = Namespaces::default();
        let labels = [(keys::RESIDENCY.to_owned(), "mainland".to_owned())].into();
        known.set(name, Some(&Namespace { name: name.to_owned(), labels, ..Namespace::default() }));
        known
    }

    async fn ask(namespace: &str, known: &Namespaces) -> Value {
        let pods = json!({"group": "", "version": "v1", "resource": "pods"});
        let request =
            json!({"uid": "7", "resource": pods, "namespace": namespace, "object": {"spec": {}}, "oldObject": null});
        let body = json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": request});
        answer(&body.to_string().into(), known).await.unwrap()["response"].take()
    }

    #[tokio::test]
    async fn everything_is_allowed_and_what_lacks_a_pin_gets_it() {
        let said = ask("shop", &namespaces("shop")).await;
        assert_eq!(
            (&said["uid"], &said["allowed"], &said["patchType"]),
            (&json!("7"), &json!(true), &json!("JSONPatch"))
        );
        assert!(said["warnings"].is_null());
        let patch: ByteString = serde_json::from_value(said["patch"].clone()).unwrap();
        assert!(String::from_utf8(patch.0).unwrap().contains("~1mainland"));
        assert_eq!(ask("elsewhere", &namespaces("shop")).await, json!({"uid": "7", "allowed": true}));
    }

    #[tokio::test]
    async fn the_canary_is_told_who_pinned_it() {
        assert_eq!(ask(keys::CANARY_NAMESPACE, &namespaces(keys::CANARY_NAMESPACE)).await["warnings"], json!([PINNED]));
    }

    #[tokio::test]
    async fn what_cannot_be_read_is_not_answered() {
        let deep = format!("{}{}", "[".repeat(10_000), "]".repeat(10_000));
        for body in ["", "null", "{}", "[]", r#"{"request": null}"#, r#"{"request": {"uid": 7}}"#, "\u{0}", &deep] {
            assert!(answer(&body.to_owned().into(), &Namespaces::default()).await.is_none(), "{body}");
        }
        let odd = r#"{"request": {"uid": "1", "resource": {"resource": "pods"}, "namespace": "shop", "object": 7}}"#;
        assert_eq!(answer(&odd.to_owned().into(), &namespaces("shop")).await.unwrap()["response"]["allowed"], true);
    }
}
