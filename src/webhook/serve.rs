//! The webhook's endpoint: a question of the API server in, a patch or nothing out.
//!
//! The API server does not say who it is, so nothing here is secret, nothing is written, and everything is bounded: how many
//! connections there are and how long one may be silent, how large a question may be, how many are worked on at a time, and
//! how long one takes. Who is slow holds up nobody else: a seat is taken for work, never for waiting.

use std::{
    future::{Ready, ready},
    io,
    net::{SocketAddr, TcpListener},
    sync::Arc,
    time::Duration,
};

use axum::{
    Router,
    body::Body,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::post,
};
use axum_server::{
    Handle,
    accept::Accept,
    tls_rustls::{RustlsAcceptor, RustlsConfig},
};
use k8s_openapi::ByteString;
use rustls::ServerConfig;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::{sync::Semaphore, sync::watch, time::timeout};

use super::{
    Namespaces,
    decide::{Request, decide},
    question::{ORDINARY, Places},
};
use crate::domain::keys;

/// The warning by which the canary knows who pinned its pod.
pub const PINNED: &str = "pinned by the webhook of Domicile";

/// So many questions are worked on at a time; others wait.
const AT_A_TIME: usize = 16;
/// The API server waits no longer: `timeoutSeconds` of the configuration.
const LIMIT: Duration = Duration::from_secs(3);

/// What connections may take.
#[derive(Clone, Copy)]
struct Bounds {
    /// So many there are; one more is closed at once. An API server has one for each question that it waits for, which are
    /// two hundred by default. Half of the files that a process may open in most places.
    connections: usize,
    /// So long TLS may take to begin.
    handshake: Duration,
    /// So long one may say nothing from then on: an API server opens some that it does not need in the end.
    first_question: Duration,
    /// So long one may be silent between two questions. An API server closes it after 90 seconds, so it is never closed on a
    /// question.
    idle: Duration,
}

const BOUNDS: Bounds = Bounds {
    connections: 500,
    handshake: LIMIT,
    first_question: Duration::from_secs(10),
    idle: Duration::from_secs(100),
};
/// So long a namespace is waited for that is not known yet. The API server asks about governed ones alone, so it comes.
const PATIENCE: Duration = Duration::from_millis(500);

struct Shared {
    namespaces: Namespaces,
    places: Places,
    seats: Semaphore,
}

impl Shared {
    fn new(namespaces: Namespaces) -> Arc<Self> {
        Arc::new(Self { namespaces, places: Places::default(), seats: Semaphore::new(AT_A_TIME) })
    }
}

/// Closes connections that are too many, before anything is done for them.
#[derive(Clone)]
struct Counted {
    handle: Handle<SocketAddr>,
    most: usize,
}

impl<I, S> Accept<I, S> for Counted {
    type Stream = I;
    type Service = S;
    type Future = Ready<io::Result<(I, S)>>;

    fn accept(&self, stream: I, service: S) -> Self::Future {
        let fits = self.handle.connection_count() <= self.most;
        ready(if fits { Ok((stream, service)) } else { Err(io::Error::other("too many connections")) })
    }
}

/// Serves from the first certificate on, and takes every new one without dropping a connection.
///
/// # Errors
/// When the listener breaks.
pub async fn serve(
    listener: TcpListener,
    certificates: watch::Receiver<Option<Arc<ServerConfig>>>,
    namespaces: Namespaces,
) -> io::Result<()> {
    serve_within(BOUNDS, listener, certificates, namespaces).await
}

async fn serve_within(
    bounds: Bounds,
    listener: TcpListener,
    mut certificates: watch::Receiver<Option<Arc<ServerConfig>>>,
    namespaces: Namespaces,
) -> io::Result<()> {
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
    let handle = Handle::new();
    let counted = Counted { handle: handle.clone(), most: bounds.connections };
    let acceptor = RustlsAcceptor::new(tls).handshake_timeout(bounds.handshake).acceptor(counted);
    let mut server = axum_server::from_tcp(listener)?
        .acceptor(acceptor)
        .handle(handle)
        .http1_only()
        .first_request_timeout(bounds.first_question);
    server.http_builder().http1().header_read_timeout(bounds.idle).max_buf_size(ORDINARY);
    let router = Router::new().route("/mutate", post(mutate)).with_state(Shared::new(namespaces));
    server.serve(router.into_make_service()).await
}

async fn mutate(State(shared): State<Arc<Shared>>, body: Body) -> Response {
    let answered = timeout(LIMIT, async {
        let question = shared.places.read(body).await?;
        answer(&question.text, &shared).await.ok_or(StatusCode::BAD_REQUEST)
    });
    match answered.await.unwrap_or(Err(StatusCode::SERVICE_UNAVAILABLE)) {
        Ok(review) => ([(header::CONTENT_TYPE, "application/json")], review.to_string()).into_response(),
        Err(code) => code.into_response(), // the API server goes on without it
    }
}

#[derive(Deserialize)]
struct Review<T> {
    request: T,
}

/// What is read first: nothing of the object is kept while its namespace is waited for.
#[derive(Deserialize)]
struct About {
    #[serde(default)]
    namespace: String,
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
async fn answer(question: &[u8], shared: &Shared) -> Option<Value> {
    let question = String::from_utf8_lossy(question); // managed fields are sent byte by byte as somebody has written them
    let Review { request: About { namespace } } = serde_json::from_str(&question).ok()?;
    let space = match namespace.as_str() {
        "" => None, // of no namespace
        name => shared.namespaces.await_known(name, PATIENCE).await,
    };
    let _seat = shared.seats.acquire().await.ok()?;
    let Review::<Request> { request } = serde_json::from_str(&question).ok()?;
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
    use std::{
        io::{BufRead as _, BufReader, Read as _, Write as _},
        net::{Shutdown, TcpStream},
    };

    use futures::{StreamExt as _, stream};
    use k8s_openapi::jiff::Timestamp;
    use rustls::{
        ClientConfig, ClientConnection, RootCertStore, StreamOwned,
        pki_types::{CertificateDer, pem::PemObject as _},
    };
    use tokio::task::JoinHandle;

    use super::*;
    use crate::{
        observe::Namespace,
        webhook::certificates::issue::{issue, serving},
    };

    fn namespaces(name: &str) -> Namespaces {
        let known = Namespaces::default();
        let labels = [(keys::RESIDENCY.to_owned(), "mainland".to_owned())].into();
        known.set(name, Some(&Namespace { name: name.to_owned(), labels, ..Namespace::default() }));
        known
    }

    /// What the API server asks about a pod.
    fn question(namespace: &str) -> String {
        let pods = json!({"group": "", "version": "v1", "resource": "pods"});
        let request =
            json!({"uid": "7", "resource": pods, "namespace": namespace, "object": {"spec": {}}, "oldObject": null});
        json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": request}).to_string()
    }

    async fn ask(namespace: &str, known: &Namespaces) -> Value {
        let shared = Shared::new(known.clone());
        answer(question(namespace).as_bytes(), &shared).await.unwrap()["response"].take()
    }

    /// A request of which the body never ends.
    fn stalled(start: String) -> Body {
        let piece = Ok::<_, io::Error>(axum::body::Bytes::from(start));
        Body::from_stream(stream::iter([piece]).chain(stream::pending()))
    }

    /// Twenty times as many questions as there are seats arrive slowly, or ask about a namespace that is never known.
    #[tokio::test]
    async fn who_is_slow_holds_up_nobody() {
        let shared = Shared::new(namespaces("shop"));
        let ask = |body: Body| tokio::spawn(mutate(State(Arc::clone(&shared)), body));
        let slow: Vec<_> = (0..20 * AT_A_TIME)
            .map(|number| match number % 3 {
                0 => ask(stalled(String::new())),
                1 => ask(stalled(question("shop"))),
                _ => ask(stalled("x".repeat(ORDINARY + 1))),
            })
            .collect();
        let unknown: Vec<_> = (0..2 * AT_A_TIME).map(|_| ask(question("never-known").into())).collect();
        tokio::task::yield_now().await;
        assert_eq!(ask(question("shop").into()).await.unwrap().status(), StatusCode::OK);
        assert!(slow.iter().all(|one| !one.is_finished()), "they were not slow");
        for one in unknown {
            assert_eq!(one.await.unwrap().status(), StatusCode::OK);
        }
        for one in slow {
            one.abort();
        }
    }

    /// A server within these bounds, and the authority that its certificate is of.
    fn server(bounds: Bounds) -> (JoinHandle<io::Result<()>>, SocketAddr, String) {
        crate::controller::install_crypto();
        let issued = issue(&["127.0.0.1".to_owned()], Timestamp::now()).unwrap();
        let (_, certificates) = watch::channel(Some(serving(&issued).unwrap()));
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let served = tokio::spawn(serve_within(bounds, listener, certificates, namespaces("shop")));
        (served, address, issued.authority)
    }

    /// A connection of an API server that trusts this authority.
    fn connect(address: SocketAddr, authority: &str) -> BufReader<StreamOwned<ClientConnection, TcpStream>> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(authority.as_bytes()).unwrap()).unwrap();
        let config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
        let session = ClientConnection::new(Arc::new(config), "127.0.0.1".try_into().unwrap()).unwrap();
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        BufReader::new(StreamOwned::new(session, stream))
    }

    /// Asks, and returns the first line of the answer.
    fn ask_by_tls(address: SocketAddr, authority: &str) -> io::Result<String> {
        let (mut connection, body) = (connect(address, authority), question("shop"));
        let length = body.len();
        let head = format!("POST /mutate HTTP/1.1\r\nhost: webhook\r\ncontent-length: {length}\r\n\r\n");
        connection.get_mut().write_all((head + &body).as_bytes())?;
        let mut line = String::new();
        connection.read_line(&mut line)?;
        Ok(line)
    }

    /// Whether the server closes a connection on which nothing is said any more.
    fn ends(mut connection: TcpStream) -> bool {
        connection.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        let heard = connection.read_to_end(&mut Vec::new()).map_err(|error| error.kind());
        heard.is_ok() || heard == Err(io::ErrorKind::ConnectionReset)
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn silent_connections_hold_up_nobody() {
        let (served, address, authority) = server(Bounds { handshake: Duration::from_secs(600), ..BOUNDS });
        let silent: Vec<TcpStream> = (0..300).map(|_| TcpStream::connect(address).unwrap()).collect();
        assert_eq!(ask_by_tls(address, &authority).unwrap(), "HTTP/1.1 200 OK\r\n");
        for connection in silent {
            connection.set_nonblocking(true).unwrap();
            let said = connection.peek(&mut [0]).map_err(|error| error.kind());
            assert_eq!(said, Err(io::ErrorKind::WouldBlock), "it was closed before");
        }
        served.abort();
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn silent_connections_are_closed() {
        let moment = Duration::from_millis(50);
        let (served, address, _) = server(Bounds { handshake: moment, ..BOUNDS });
        assert!(ends(TcpStream::connect(address).unwrap()), "it did not begin with TLS");
        served.abort();
        let (served, address, authority) = server(Bounds { first_question: moment, ..BOUNDS });
        let mut connection = connect(address, &authority).into_inner();
        connection.conn.complete_io(&mut connection.sock).unwrap();
        assert!(!connection.conn.is_handshaking());
        assert!(ends(connection.sock), "it asked nothing");
        served.abort();
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn one_connection_too_many_is_closed_and_the_next_one_is_taken() {
        let bounds = Bounds { connections: 3, handshake: Duration::from_secs(600), ..BOUNDS };
        let (served, address, authority) = server(bounds);
        // Which of the four is closed hangs on when each is looked at.
        let silent: Vec<TcpStream> = (0..4).map(|_| TcpStream::connect(address).unwrap()).collect();
        let (tell, ended) = std::sync::mpsc::channel();
        for connection in &silent {
            let (connection, tell) = (connection.try_clone().unwrap(), tell.clone());
            std::thread::spawn(move || tell.send(ends(connection)));
        }
        assert!(ended.recv().unwrap());
        for connection in silent {
            let _ = connection.shutdown(Shutdown::Both); // the one that is closed says that it is
        }
        let taken = (0..10_000).any(|_| ask_by_tls(address, &authority).is_ok());
        assert!(taken, "the server has not seen that the others are gone");
        served.abort();
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
            assert!(answer(body.as_bytes(), &Shared::new(Namespaces::default())).await.is_none(), "{body}");
        }
        let odd = r#"{"request": {"uid": "1", "resource": {"resource": "pods"}, "namespace": "shop", "object": 7}}"#;
        let shared = Shared::new(namespaces("shop"));
        assert_eq!(answer(odd.as_bytes(), &shared).await.unwrap()["response"]["allowed"], true);
    }
}
