//! The client that everything is read and written with.

use http::{Request, Uri};
use kube::{Client, Config, client::ClientBuilder};
use tower::util::MapRequestLayer;

/// A client, whose watches begin with what the cluster really holds.
///
/// A watch that begins with all objects is asked by kube's watcher for version 0, which is whatever an API server happens to
/// remember: beside others it may be minutes behind, and a process that starts would decide on that. Asked for no
/// version, it answers with what etcd holds.
/// <https://kubernetes.io/docs/reference/using-api/api-concepts/#streaming-lists>
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
    Ok(ClientBuilder::try_from(config)?.with_layer(&MapRequestLayer::new(current)).build())
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
    fn other_requests_stay() {
        let resumed = Request::new("/api/v1/pods").watch(&WatchParams::default(), "7").unwrap();
        assert_eq!(current(resumed.uri()), None);
        assert_eq!(current(&"/version".parse().unwrap()), None);
    }
}
