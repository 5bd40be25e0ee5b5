//! Values of the chart, as far as the policies read them: from the same files that Helm takes, over the same defaults.
//!
//! Keys and formats are those of `charts/domicile/values.schema.json`. What Helm refuses is refused here, so that a mistyped
//! key cannot make policies that differ from those of the release.

use std::fmt;

use serde::{
    Deserialize,
    de::{self, Deserializer, IgnoredAny},
};
use serde_json::Value;

use super::Tokens;
use crate::domain::{DeviceDrivers, FurtherNetworks, keys::SYSTEM_NAMESPACES};

/// The chart's own values, with every default.
const DEFAULTS: &str = include_str!("../../charts/domicile/values.yaml");
/// The token that says whether a namespace without a label may start anything.
pub(super) const UNCLASSIFIED: &str = "unclassifiedNamespaces";
/// Its value where it may not.
pub(super) const REFUSE: &str = "Refuse";
/// The token that says which annotations give a pod a further network.
const FURTHER_NETWORKS: &str = "furtherNetworks";
/// The token that says which drivers give devices that are part of a node.
const DEVICE_DRIVERS: &str = "deviceDrivers";
/// The token that says where the policies come from.
pub const SOURCE: &str = "policies";

/// Why values cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// They are no YAML.
    #[error("values do not parse: {0}")]
    Yaml(String),
    /// A key is unknown or has a wrong value.
    #[error("values are not those of the chart: {0}; `helm show values charts/domicile` shows all keys")]
    Values(String),
    /// No namespace can have this name.
    #[error("{0:?} is no name of a namespace")]
    Namespace(String),
}

/// Where the policies come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub enum Source {
    /// The chart installs them.
    Install,
    /// The API servers load them from their own files.
    Static,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
enum Unclassified {
    Allow,
    Refuse,
}

/// All keys of the chart; those that no policy reads are only known by name.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[expect(dead_code, reason = "what no policy reads is named, so that a mistyped key is found")]
pub struct Values {
    global: Option<IgnoredAny>,
    image: Image,
    image_pull_secrets: IgnoredAny,
    replicas: IgnoredAny,
    resources: Resources,
    node_selector: IgnoredAny,
    tolerations: IgnoredAny,
    trusted_schedulers: Schedulers,
    node_provisioners: Each<UserName>,
    namespace_finishers: OneOrMore<UserName>,
    unclassified_namespaces: Unclassified,
    further_networks: Networks,
    device_drivers: Each<DriverName>,
    policies: Source,
    webhook: Webhook,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[expect(dead_code, reason = "no policy reads it")]
struct Webhook {
    mode: IgnoredAny,
    url: IgnoredAny,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[expect(dead_code, reason = "no policy reads it")]
struct Image {
    repository: IgnoredAny,
    tag: Option<IgnoredAny>,
    digest: Option<IgnoredAny>,
    pull_policy: Option<IgnoredAny>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[expect(dead_code, reason = "no policy reads it")]
struct Resources {
    requests: Option<IgnoredAny>,
    limits: Option<IgnoredAny>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Schedulers {
    users: OneOrMore<UserName>,
    names: OneOrMore<SchedulerName>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Networks {
    refuse: Each<AnnotationKey>,
    permit: Each<AnnotationKey>,
}

/// The key of an annotation. It holds nothing that ends a CEL string.
#[derive(Clone, Debug, PartialEq, Eq)]
struct AnnotationKey(String);

/// A user name as the API server sees it. It holds nothing that ends a CEL string.
#[derive(Clone, Debug, PartialEq, Eq)]
struct UserName(String);

/// What a pod says in `spec.schedulerName`.
#[derive(Clone, Debug, PartialEq, Eq)]
struct SchedulerName(String);

/// What a driver of devices calls itself.
#[derive(Clone, Debug, PartialEq, Eq)]
struct DriverName(String);

/// A list in which nothing stands twice.
#[derive(Debug)]
struct Each<T>(Vec<T>);

/// The same, and not empty.
#[derive(Debug)]
struct OneOrMore<T>(Vec<T>);

impl<'de> Deserialize<'de> for UserName {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        let known = |letter: char| letter.is_ascii_alphanumeric() || ":._@/-".contains(letter);
        let so = (1..=253).contains(&text.len())
            && text.starts_with(|first: char| first.is_ascii_alphanumeric())
            && text.chars().all(known);
        if so { Ok(Self(text)) } else { Err(de::Error::custom(format!("{text:?} is no user name"))) }
    }
}

impl<'de> Deserialize<'de> for SchedulerName {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        if is_subdomain(&text) {
            Ok(Self(text))
        } else {
            Err(de::Error::custom(format!("{text:?} is no schedulerName")))
        }
    }
}

impl<'de> Deserialize<'de> for DriverName {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        let so = text.len() <= 63 && is_subdomain(&text);
        if so { Ok(Self(text)) } else { Err(de::Error::custom(format!("{text:?} is no name of a driver"))) }
    }
}

impl<'de> Deserialize<'de> for AnnotationKey {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        let is_part = |part: &str, known: &str| {
            let ends = |letter: char| letter.is_ascii_alphanumeric();
            part.starts_with(ends)
                && part.ends_with(ends)
                && part.chars().all(|letter| ends(letter) || known.contains(letter))
        };
        let (prefix, name) = text.rsplit_once('/').map_or((None, text.as_str()), |(prefix, name)| (Some(prefix), name));
        let so = text.len() <= 317 && is_part(name, "._-") && prefix.is_none_or(|prefix| is_part(prefix, ".-"));
        if so { Ok(Self(text)) } else { Err(de::Error::custom(format!("{text:?} is no key of an annotation"))) }
    }
}

impl<'de, T: Deserialize<'de> + PartialEq> Deserialize<'de> for Each<T> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let list = Vec::<T>::deserialize(from)?;
        let repeated = list.iter().enumerate().any(|(place, one)| list.iter().take(place).any(|other| other == one));
        if repeated { Err(de::Error::custom("a name stands twice in a list")) } else { Ok(Self(list)) }
    }
}

impl<'de, T: Deserialize<'de> + PartialEq> Deserialize<'de> for OneOrMore<T> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let Each(list) = Each::deserialize(from)?;
        if list.is_empty() { Err(de::Error::custom("a list that must name somebody is empty")) } else { Ok(Self(list)) }
    }
}

impl Values {
    /// Reads the texts of values files, the last one wins, over the chart's defaults.
    ///
    /// # Errors
    /// Where a text is no YAML, or Helm would refuse it.
    pub fn read(texts: &[String]) -> Result<Self, Error> {
        let mut all = parse(DEFAULTS)?;
        for text in texts {
            json_patch::merge(&mut all, &parse(text)?); // Helm's way: maps are merged, null takes a default away
        }
        serde_json::from_value(all).map_err(|error| Error::Values(error.to_string()))
    }

    /// What stands for the tokens of a release in `namespace`, as the chart's ConfigMap says it.
    ///
    /// # Errors
    /// Where no namespace can have this name.
    pub fn tokens(&self, namespace: &str) -> Result<Tokens, Error> {
        let letter = |letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit();
        let so = (1..=63).contains(&namespace.len())
            && namespace.starts_with(letter)
            && namespace.ends_with(letter)
            && namespace.chars().all(|one| letter(one) || one == '-');
        if !so {
            return Err(Error::Namespace(namespace.to_owned()));
        }
        let mut ungoverned = SYSTEM_NAMESPACES.to_vec();
        if !ungoverned.contains(&namespace) {
            ungoverned.push(namespace);
        }
        let users = |list: &[UserName]| cel_list(list.iter().map(|UserName(name)| name.as_str()));
        let Schedulers { users: schedulers, names } = &self.trusted_schedulers;
        let keys = |Each(list): &Each<AnnotationKey>| -> Vec<String> { list.iter().map(|key| key.0.clone()).collect() };
        let further = FurtherNetworks::with(&keys(&self.further_networks.permit), &keys(&self.further_networks.refuse));
        let tokens = [
            ("operatorUser", format!("system:serviceaccount:{namespace}:domicile")),
            ("ungovernedNamespaces", format!("[{}]", ungoverned.join(", "))),
            ("ungovernedList", cel_list(ungoverned.iter().copied())),
            ("schedulerUsers", users(&schedulers.0)),
            ("schedulerNames", cel_list(names.0.iter().map(|SchedulerName(name)| name.as_str()))),
            ("namespaceFinishers", users(&self.namespace_finishers.0)),
            ("nodeProvisioners", users(&self.node_provisioners.0)),
            (FURTHER_NETWORKS, cel_list(further.iter())),
            (DEVICE_DRIVERS, cel_list(self.device_drivers.0.iter().map(|DriverName(name)| name.as_str()))),
            (UNCLASSIFIED, self.unclassified_namespaces.to_string()),
            (SOURCE, self.policies.to_string()),
        ];
        Ok(tokens.map(|(key, value)| (key.to_owned(), value)).into())
    }
}

impl fmt::Display for Unclassified {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Allow => "Allow",
            Self::Refuse => REFUSE,
        })
    }
}

impl fmt::Display for Source {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Install => "Install",
            Self::Static => "Static",
        })
    }
}

/// A CEL list of strings.
fn cel_list<'a>(items: impl Iterator<Item = &'a str>) -> String {
    format!("[{}]", items.map(|item| format!("'{item}'")).collect::<Vec<_>>().join(", "))
}

/// The annotations of which these tokens say that they give a pod a further network.
#[must_use]
pub fn further_networks(tokens: &Tokens) -> FurtherNetworks {
    tokens.get(FURTHER_NETWORKS).map_or_else(|| FurtherNetworks::known().clone(), |list| read(list))
}

/// The drivers of which these tokens say that their devices are part of a node.
#[must_use]
pub fn device_drivers(tokens: &Tokens) -> DeviceDrivers {
    tokens.get(DEVICE_DRIVERS).map_or_else(DeviceDrivers::known, |list| read(list))
}

/// Reads a CEL list of texts, none of which holds a quote.
fn read<T: FromIterator<String>>(list: &str) -> T {
    list.split('\'').skip(1).step_by(2).map(str::to_owned).collect()
}

/// About an RFC 1123 subdomain. It holds nothing that ends a CEL string.
fn is_subdomain(text: &str) -> bool {
    let ends = |letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit();
    (1..=253).contains(&text.len())
        && text.starts_with(ends)
        && text.ends_with(ends)
        && text.chars().all(|letter| ends(letter) || letter == '.' || letter == '-')
}

/// A file that says nothing says `{}`, as for Helm.
fn parse(text: &str) -> Result<Value, Error> {
    let value: Value = serde_saphyr::from_str(text).map_err(|error| Error::Yaml(error.to_string()))?;
    Ok(if value.is_null() { Value::Object(serde_json::Map::new()) } else { value })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str) -> String {
        Values::read(&[text.to_owned()]).map(|_| ()).unwrap_err().to_string()
    }

    #[test]
    fn defaults_are_those_of_the_chart_and_files_change_them() {
        let defaults = Values::read(&[]).unwrap().tokens("domicile-system").unwrap();
        assert_eq!(defaults["operatorUser"], "system:serviceaccount:domicile-system:domicile");
        assert_eq!(defaults["schedulerUsers"], "['system:kube-scheduler']");
        assert_eq!(defaults["nodeProvisioners"], "[]");
        assert_eq!(device_drivers(&defaults), DeviceDrivers::known());
        assert_eq!(device_drivers(&Tokens::new()), DeviceDrivers::known(), "of a chart before this version");
        let none = Values::read(&["deviceDrivers: []".to_owned()]).unwrap().tokens("domicile-system").unwrap();
        assert!(!device_drivers(&none).contain("gpu.nvidia.com"));
        assert_eq!(defaults["ungovernedNamespaces"], "[kube-system, kube-public, kube-node-lease, domicile-system]");
        let files = [
            "nodeProvisioners: [a]\ntrustedSchedulers: {names: [default-scheduler, volcano]}",
            "nodeProvisioners: [b, c]",
        ];
        let changed = Values::read(&files.map(str::to_owned)).unwrap().tokens("kube-system").unwrap();
        assert_eq!(changed["nodeProvisioners"], "['b', 'c']");
        assert_eq!(changed["schedulerNames"], "['default-scheduler', 'volcano']");
        assert_eq!(changed["schedulerUsers"], "['system:kube-scheduler']");
        assert_eq!(changed["ungovernedList"], "['kube-system', 'kube-public', 'kube-node-lease']");
        assert_eq!(further_networks(&defaults), *FurtherNetworks::known());
        assert_eq!(further_networks(&Tokens::new()), *FurtherNetworks::known(), "of a chart before this version");
        assert!(Values::read(&["# nothing".to_owned(), "null".to_owned()]).is_ok());
    }

    #[test]
    fn further_networks_are_added_and_taken_away() {
        let text = "furtherNetworks: {refuse: [example.com/eip, plain], permit: [networkservicemesh.io]}";
        let tokens = Values::read(&[text.to_owned()]).unwrap().tokens("domicile-system").unwrap();
        let further = further_networks(&tokens);
        let added = ["example.com/eip", "plain"].map(str::to_owned);
        assert_eq!(further, FurtherNetworks::with(&["networkservicemesh.io".to_owned()], &added));
        assert!(tokens["furtherNetworks"].ends_with("'example.com/eip', 'plain']"), "{}", tokens["furtherNetworks"]);
    }

    #[test]
    fn every_key_of_the_schema_is_known_and_no_other() {
        let schema = include_str!("../../charts/domicile/values.schema.json");
        let schema: Value = serde_json::from_str(schema).unwrap();
        let said = refused("trustedScheduler: {}");
        assert!(said.contains("unknown field `trustedScheduler`"), "{said}");
        for key in schema["properties"].as_object().unwrap().keys() {
            assert!(said.contains(&format!("`{key}`")), "{key} is not known: {said}");
        }
        assert_eq!(said.matches('`').count(), 2 * schema["properties"].as_object().unwrap().len() + 4, "{said}");
    }

    #[test]
    fn what_helm_refuses_is_refused() {
        for text in [
            "nodeProvisioners: [\"a'b\"]",
            "nodeProvisioners: ['']",
            "nodeProvisioners: [a, a]",
            "nodeProvisioners: karpenter",
            "namespaceFinishers: []",
            "namespaceFinishers: null",
            "trustedSchedulers: {names: [Volcano]}",
            "trustedSchedulers: {names: [volcano.]}",
            "trustedSchedulers: {user: [a]}",
            "unclassifiedNamespaces: Deny",
            "furtherNetworks: [a]",
            "furtherNetworks: {refuse: [\"a'b\"]}",
            "furtherNetworks: {permit: [a/b/c]}",
            "furtherNetworks: {permit: [/a]}",
            "furtherNetworks: {refuse: [a, a]}",
            "furtherNetworks: {allow: [a]}",
            "deviceDrivers: [\"a'b\"]",
            "deviceDrivers: [a.example.com, a.example.com]",
            "deviceDrivers: null",
            "policies: None",
            "image: {name: a}",
            "resources: {limit: {}}",
            "[]",
        ] {
            refused(text);
        }
        assert!(refused("a: [").contains("do not parse"));
        for namespace in ["", "Domicile", "a'b", "-a", "a.b"] {
            assert!(Values::read(&[]).unwrap().tokens(namespace).is_err(), "{namespace}");
        }
    }
}
