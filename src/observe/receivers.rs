//! To whom the API server sends whole objects: admission webhooks, and the servers behind APIServices.
//!
//! Both send what is asked of a governed namespace to somebody before it stands, or instead of it. Of their rules only is
//! kept whether one can match anything in a namespace; what cannot be told from labels of namespaces is kept as such.

use std::net::IpAddr;

use k8s_openapi::{
    api::admissionregistration::v1::{
        MutatingWebhook, MutatingWebhookConfiguration, RuleWithOperations, ValidatingWebhook,
        ValidatingWebhookConfiguration,
    },
    apimachinery::pkg::apis::meta::v1 as meta,
    kube_aggregator::pkg::apis::apiregistration::v1::APIService,
};
use serde::Serialize;

use super::{Key, convert::plain};
use crate::api::selector::LabelSelector;

/// The port of a URL that names none.
const HTTPS: u16 = 443;

/// Built-in kinds whose objects are in no namespace, as group and resource; every one of the group where the resource is `*`.
const OF_THE_CLUSTER: [(&str, &str); 24] = [
    ("", "nodes"),
    ("", "namespaces"),
    ("", "persistentvolumes"),
    ("admissionregistration.k8s.io", "*"),
    ("apiextensions.k8s.io", "*"),
    ("apiregistration.k8s.io", "*"),
    ("authentication.k8s.io", "*"),
    ("certificates.k8s.io", "*"),
    ("domicile.dev", "*"),
    ("flowcontrol.apiserver.k8s.io", "*"),
    ("networking.k8s.io", "ingressclasses"),
    ("networking.k8s.io", "ipaddresses"),
    ("networking.k8s.io", "servicecidrs"),
    ("node.k8s.io", "*"),
    ("policy.networking.k8s.io", "*"),
    ("rbac.authorization.k8s.io", "clusterroles"),
    ("rbac.authorization.k8s.io", "clusterrolebindings"),
    ("resource.k8s.io", "deviceclasses"),
    ("resource.k8s.io", "resourceslices"),
    ("scheduling.k8s.io", "priorityclasses"),
    ("storage.k8s.io", "storageclasses"),
    ("storage.k8s.io", "csidrivers"),
    ("storage.k8s.io", "csinodes"),
    ("storage.k8s.io", "volumeattachments"),
];

/// An object that names receivers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Receivers {
    /// Its UID.
    pub uid: String,
    /// Those that can be sent anything of a namespace.
    pub receivers: Vec<Receiver>,
}

/// Somebody who is sent objects.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Receiver {
    /// The webhook's name; the group of an APIService.
    pub name: String,
    /// Where it is.
    pub target: Target,
    /// Of which namespaces it is sent objects.
    #[serde(skip)]
    pub namespaces: LabelSelector,
    /// The field that may leave out some of them, if there is one.
    pub narrowed_by: Option<&'static str>,
}

/// Where a receiver is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub enum Target {
    /// At an address and a port.
    Address(IpAddr, u16),
    /// At a host by its name.
    Host(String),
    /// Behind a Service.
    Service(Key),
}

impl Receivers {
    /// The Services behind which they are.
    pub fn services(&self) -> impl Iterator<Item = &Key> {
        self.receivers.iter().filter_map(|receiver| match &receiver.target {
            Target::Service(key) => Some(key),
            Target::Address(..) | Target::Host(_) => None,
        })
    }
}

impl From<ValidatingWebhookConfiguration> for Receivers {
    fn from(configuration: ValidatingWebhookConfiguration) -> Self {
        let webhooks = configuration.webhooks.unwrap_or_default();
        let uid = configuration.metadata.uid.unwrap_or_default();
        Self { uid, receivers: webhooks.into_iter().filter_map(receiver).collect() }
    }
}

impl From<MutatingWebhookConfiguration> for Receivers {
    /// As if they were validating: to whom objects are sent is said the same way.
    fn from(configuration: MutatingWebhookConfiguration) -> Self {
        let alike = |webhook: MutatingWebhook| ValidatingWebhook {
            name: webhook.name,
            client_config: webhook.client_config,
            rules: webhook.rules,
            namespace_selector: webhook.namespace_selector,
            object_selector: webhook.object_selector,
            match_conditions: webhook.match_conditions,
            ..ValidatingWebhook::default()
        };
        let webhooks = configuration.webhooks.map(|webhooks| webhooks.into_iter().map(alike).collect());
        Self::from(ValidatingWebhookConfiguration { metadata: configuration.metadata, webhooks })
    }
}

impl From<APIService> for Receivers {
    /// What the API server serves itself names no Service.
    fn from(api: APIService) -> Self {
        let spec = api.spec.unwrap_or_default();
        let receiver = spec.service.map(|service| Receiver {
            name: plain(&spec.group.unwrap_or_default()),
            target: target(
                Some(Key::new(&service.namespace.unwrap_or_default(), &service.name.unwrap_or_default())),
                None,
            ),
            namespaces: LabelSelector::default(),
            narrowed_by: None,
        });
        Self { receivers: receiver.into_iter().collect(), uid: api.metadata.uid.unwrap_or_default() }
    }
}

/// One webhook; `None` where it can be sent nothing of a namespace.
fn receiver(webhook: ValidatingWebhook) -> Option<Receiver> {
    webhook.rules.unwrap_or_default().iter().any(reaches_into_namespaces).then(|| {
        let objects = webhook.object_selector;
        let selects_by_labels = objects.is_some_and(|selector| read(selector) != Some(LabelSelector::default()));
        let has_conditions = webhook.match_conditions.is_some_and(|conditions| !conditions.is_empty());
        let narrowed_by = match (selects_by_labels, has_conditions) {
            (true, _) => Some("objectSelector"),
            (false, true) => Some("matchConditions"),
            (false, false) => None,
        };
        // A selector that cannot be read is one that selects everything.
        let namespaces = webhook.namespace_selector.and_then(read).unwrap_or_default();
        let config = webhook.client_config;
        let service = config.service.map(|service| Key::new(&service.namespace, &service.name));
        Receiver { name: plain(&webhook.name), target: target(service, config.url), namespaces, narrowed_by }
    })
}

/// The same selector in the type of this API; both are written the same.
fn read(selector: meta::LabelSelector) -> Option<LabelSelector> {
    serde_json::from_value(serde_json::to_value(selector).ok()?).ok()
}

fn reaches_into_namespaces(rule: &RuleWithOperations) -> bool {
    let groups = rule.api_groups.as_deref().unwrap_or_default();
    let resources = rule.resources.as_deref().unwrap_or_default();
    let is_of_the_cluster = |group: &String, resource: &String| {
        let kind = resource.split('/').next().unwrap_or_default();
        OF_THE_CLUSTER.iter().any(|(known, plural)| {
            (group == known || (group == "*" && *plural != "*")) && (*plural == "*" || kind == *plural)
        })
    };
    rule.scope.as_deref() != Some("Cluster")
        && groups.iter().any(|group| resources.iter().any(|resource| !is_of_the_cluster(group, resource)))
}

/// Where a webhook is. The API server lets in just one of the two ways to say it, and any text as the names of a Service.
#[must_use]
pub fn target(service: Option<Key>, url: Option<String>) -> Target {
    match service {
        Some(Key { namespace, name }) => Target::Service(Key::new(&plain(&namespace), &plain(&name))),
        None => at(&url.unwrap_or_default()),
    }
}

/// The host of a URL. What does not read as an address is a name.
fn at(url: &str) -> Target {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let authority = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    let (host, port) = match authority.strip_prefix('[').and_then(|inner| inner.split_once(']')) {
        Some((host, port)) => (host, port.strip_prefix(':')),
        None => authority.rsplit_once(':').map_or((authority, None), |(host, port)| (host, Some(port))),
    };
    let port = port.and_then(|port| port.parse().ok()).unwrap_or(HTTPS);
    match host.parse::<IpAddr>() {
        Ok(address) => Target::Address(address.to_canonical(), port),
        Err(_) => Target::Host(plain(host)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn webhook(change: Value) -> Option<Receiver> {
        let mut webhook = json!({
            "name": "pods.example.com", "admissionReviewVersions": ["v1"], "sideEffects": "None",
            "clientConfig": {"url": "https://198.51.100.7/review"},
            "rules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}],
        });
        json_patch::merge(&mut webhook, &change);
        let read: ValidatingWebhookConfiguration =
            serde_json::from_value(json!({"metadata": {"name": "theirs"}, "webhooks": [webhook]})).unwrap();
        Receivers::from(read).receivers.into_iter().next()
    }

    fn rules(groups: Value, resources: Value, scope: Value) -> Value {
        json!({"rules": [{"apiGroups": groups, "apiVersions": ["*"], "operations": ["*"], "resources": resources, "scope": scope}]})
    }

    #[test]
    fn a_url_says_a_host() {
        let address = |text: &str, port| Target::Address(text.parse().unwrap(), port);
        for (url, expected) in [
            ("https://198.51.100.7/review?timeout=1", address("198.51.100.7", 443)),
            ("https://198.51.100.7:8443", address("198.51.100.7", 8443)),
            ("https://[2001:db8::7]:8443/a", address("2001:db8::7", 8443)),
            ("https://[::ffff:198.51.100.7]/", address("198.51.100.7", 443)),
            ("https://hooks.example.com:8443/a", Target::Host("hooks.example.com".into())),
            ("https://198.051.100.007/", Target::Host("198.051.100.007".into())),
            ("https://user@hooks.example.com/", Target::Host("hooks.example.com".into())),
            ("", Target::Host(String::new())),
        ] {
            assert_eq!(at(url), expected, "{url}");
        }
    }

    #[test]
    fn what_is_about_objects_of_the_cluster_alone_is_sent_nothing_of_a_namespace() {
        for (groups, resources, scope) in [
            (json!([""]), json!(["nodes", "nodes/status", "namespaces"]), json!("*")),
            (json!(["*"]), json!(["nodes"]), json!("*")),
            (json!(["*"]), json!(["*"]), json!("Cluster")),
            (json!(["apiextensions.k8s.io"]), json!(["*"]), json!(null)),
            (json!([]), json!(["*"]), json!(null)),
        ] {
            assert_eq!(webhook(rules(groups.clone(), resources.clone(), scope)), None, "{groups} {resources}");
        }
        for (groups, resources, scope) in [
            (json!(["*"]), json!(["*"]), json!(null)),
            (json!([""]), json!(["*"]), json!("*")),
            (json!([""]), json!(["nodes", "pods/exec"]), json!("Namespaced")),
            (json!(["example.com"]), json!(["nodes"]), json!("*")),
        ] {
            assert!(webhook(rules(groups.clone(), resources.clone(), scope)).is_some(), "{groups} {resources}");
        }
        assert_eq!(webhook(json!({"rules": null})), None);
    }

    #[test]
    fn what_labels_of_namespaces_do_not_tell_is_kept_as_such() {
        assert_eq!(webhook(json!({"objectSelector": {}})).unwrap().narrowed_by, None);
        let labelled = json!({"objectSelector": {"matchLabels": {"a": "b"}}});
        assert_eq!(webhook(labelled).unwrap().narrowed_by, Some("objectSelector"));
        let conditions = json!({"matchConditions": [{"name": "some", "expression": "true"}]});
        assert_eq!(webhook(conditions).unwrap().narrowed_by, Some("matchConditions"));
        let selecting = json!({"namespaceSelector": {"matchExpressions": [{"key": "domicile.dev/residency", "operator": "DoesNotExist"}]}});
        let namespaces = webhook(selecting).unwrap().namespaces;
        assert!(namespaces.matches(&[].into()));
        assert!(!namespaces.matches(&[("domicile.dev/residency".to_owned(), "mainland".to_owned())].into()));
    }

    #[test]
    fn an_api_that_the_api_server_serves_itself_is_sent_to_nobody() {
        let read = |spec: Value| {
            let api = json!({"metadata": {"name": "v1.example.com"}, "spec": spec});
            Receivers::from(serde_json::from_value::<APIService>(api).unwrap())
        };
        let own = json!({"group": "apps", "version": "v1", "groupPriorityMinimum": 1, "versionPriority": 1});
        assert!(read(own.clone()).receivers.is_empty());
        let mut theirs = own;
        theirs["service"] = json!({"namespace": "shop", "name": "api"});
        let keys: Vec<Key> = read(theirs).services().cloned().collect();
        assert_eq!(keys, [Key::new("shop", "api")]);
    }
}
