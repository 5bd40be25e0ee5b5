//! The client that everything is read and written with.

use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, Uri};
use http_body_util::BodyExt as _;
use kube::{Client, Config, client::ClientBuilder};
use tower::{
    timeout::TimeoutLayer,
    util::{MapRequestLayer, MapResponseLayer},
};

/// So long an API server may take to begin an answer. Where something else takes connections for it and never answers, kube's
/// watches would wait for ever.
const SILENCE: Duration = Duration::from_secs(30);

/// A client, whose watches begin with what the cluster really holds, and which reads whatever an API server sends.
///
/// A watch that begins with all objects is asked by kube's watcher for version 0, which is whatever an API server happens to
/// remember: beside others it may be minutes behind, and a process that starts would decide on that. Asked for no
/// version, it answers with what etcd holds.
/// <https://kubernetes.io/docs/reference/using-api/api-concepts/#streaming-lists>
///
/// An API server stores what stands among managed fields, and a device's parameters, byte by byte as it was written. One byte
/// that is no UTF-8 would end kube's watch of its kind, and each next one at the same object.
///
/// # Errors
/// What of the configuration does not work.
pub fn connect(config: Config) -> Result<Client, kube::Error> {
    let current = |mut request: Request<_>| {
        if let Some(uri) = current(request.uri()) {
            *request.uri_mut() = uri;
        }
        request
    };
    let readable = |response: Response<_>| {
        response.map(|body: Box<kube::client::DynBody>| {
            let mut text = Text::default();
            body.map_frame(move |frame| frame.map_data(|data| text.next(&data)))
        })
    };
    let builder = ClientBuilder::try_from(config)?;
    Ok(builder
        .with_layer(&TimeoutLayer::new(SILENCE))
        .with_layer(&MapRequestLayer::new(current))
        .with_layer(&MapResponseLayer::new(readable))
        .build())
}

/// What an API server sends, made UTF-8 as it arrives.
#[derive(Debug, Default)]
struct Text {
    /// The beginning of a character, of which the rest has not arrived.
    begun: Vec<u8>,
}

impl Text {
    /// The next part, with U+FFFD in place of what is no UTF-8.
    fn next(&mut self, part: &Bytes) -> Bytes {
        if self.begun.is_empty() && std::str::from_utf8(part).is_ok() {
            return part.clone();
        }
        let arrived = [std::mem::take(&mut self.begun).as_slice(), part].concat();
        let mut text = String::with_capacity(arrived.len());
        let mut chunks = arrived.utf8_chunks().peekable();
        while let Some(chunk) = chunks.next() {
            text.push_str(chunk.valid());
            let invalid = chunk.invalid();
            if chunks.peek().is_none() && is_begun(invalid) {
                self.begun = invalid.to_vec();
            } else if !invalid.is_empty() {
                text.push(char::REPLACEMENT_CHARACTER);
            }
        }
        text.into()
    }
}

/// Whether these bytes may become a character.
fn is_begun(bytes: &[u8]) -> bool {
    std::str::from_utf8(bytes).is_err_and(|error| error.error_len().is_none())
}

/// The same request for what is current; `None` where it is no such watch.
fn current(uri: &Uri) -> Option<Uri> {
    let (path, query) = (uri.path(), uri.query()?);
    let asked: Vec<&str> = query.split('&').collect();
    if !asked.contains(&"sendInitialEvents=true") {
        return None;
    }
    let kept: Vec<&str> = asked.into_iter().filter(|parameter| *parameter != "resourceVersion=0").collect();
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = Some(format!("{path}?{}", kept.join("&")).parse().ok()?);
    Uri::from_parts(parts).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use kube::core::{Request, params::WatchParams};

    #[test]
    fn a_watch_that_begins_with_all_objects_asks_for_current_ones() {
        let begin = WatchParams::default().initial_events();
        let request = Request::new("/api/v1/pods").watch(&begin, "0").unwrap();
        let uri = current(request.uri()).unwrap();
        let version = |uri: &Uri| {
            uri.query()
                .unwrap()
                .split('&')
                .filter_map(|one| one.strip_prefix("resourceVersion="))
                .map(str::to_owned)
                .next()
        };
        assert_eq!((uri.path(), version(request.uri()).as_deref(), version(&uri)), ("/api/v1/pods", Some("0"), None));
        assert!(uri.query().unwrap().contains("resourceVersionMatch=NotOlderThan"), "{uri}");
    }

    #[test]
    fn what_is_no_text_is_replaced_wherever_it_is_cut() {
        let sent = b"{\"f:\xff\": \"\xe6\xb2\xaa\xe6\xb2\", \"\xf0\x9f\x9a\x97\": 1, \xc3\x28 \xed\xa0\x80}\n";
        let whole = String::from_utf8_lossy(sent);
        for cut in 0..=sent.len() {
            for second in cut..=sent.len() {
                let mut text = Text::default();
                let parts = [&sent[..cut], &sent[cut..second], &sent[second..]];
                let read: Vec<Bytes> = parts.iter().map(|part| text.next(&Bytes::copy_from_slice(part))).collect();
                assert_eq!(read.concat(), whole.as_bytes(), "cut at {cut} and {second}");
            }
        }
        let part = Bytes::from_static("沪".as_bytes());
        assert_eq!(Text::default().next(&part).as_ptr(), part.as_ptr(), "text is not copied");
    }

    #[test]
    fn other_requests_stay() {
        let resumed = Request::new("/api/v1/pods").watch(&WatchParams::default(), "7").unwrap();
        assert_eq!(current(resumed.uri()), None);
        assert_eq!(current(&"/version".parse().unwrap()), None);
    }
}
