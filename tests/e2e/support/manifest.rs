//! Manifests as tests write them: YAML, and small changes to YAML.

use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::kinds::Kind;

/// An object to be sent to the API server.
#[derive(Clone, Debug, PartialEq)]
pub struct Manifest(pub Value);

impl Manifest {
    /// The same with `yaml` merged in: maps are merged, `null` removes, all else replaces.
    pub fn with(mut self, yaml: &str) -> Self {
        json_patch::merge(&mut self.0, &parse(yaml));
        self
    }

    /// The same under another name.
    pub fn named(mut self, name: &str) -> Self {
        self.0["metadata"]["name"] = json!(name);
        self
    }

    /// The same in a namespace, where the kind has namespaces and the manifest names none.
    pub fn in_namespace(mut self, namespace: &str) -> Self {
        if self.kind().namespaced && self.0["metadata"]["namespace"].is_null() {
            self.0["metadata"]["namespace"] = json!(namespace);
        }
        self
    }

    pub fn kind(&self) -> &'static Kind {
        Kind::find(self.0["apiVersion"].as_str().unwrap_or_default(), self.0["kind"].as_str().unwrap_or_default())
    }

    pub fn name(&self) -> &str {
        self.0["metadata"]["name"].as_str().unwrap_or_default()
    }

    pub fn namespace(&self) -> &str {
        self.0["metadata"]["namespace"].as_str().unwrap_or_default()
    }

    /// As text for kubectl; JSON is YAML.
    pub fn text(&self) -> String {
        format!("{}\n---\n", self.0)
    }
}

impl From<&str> for Manifest {
    fn from(yaml: &str) -> Self {
        Self(parse(yaml))
    }
}

impl From<String> for Manifest {
    fn from(yaml: String) -> Self {
        Self(parse(&yaml))
    }
}

impl From<Value> for Manifest {
    fn from(value: Value) -> Self {
        Self(value)
    }
}

impl From<&Self> for Manifest {
    fn from(other: &Self) -> Self {
        other.clone()
    }
}

/// The object as its type.
#[track_caller]
pub fn typed<T: DeserializeOwned>(object: &Value) -> T {
    serde_json::from_value(object.clone()).unwrap_or_else(|error| panic!("{error}: {object}"))
}

/// Reads YAML.
pub fn parse(yaml: &str) -> Value {
    serde_saphyr::from_str(yaml).unwrap_or_else(|error| panic!("the test's own YAML is wrong: {error}\n{yaml}"))
}

/// Every document of a YAML stream.
pub fn documents(yaml: &str) -> Vec<Manifest> {
    yaml.split("\n---\n")
        .filter(|text| text.lines().any(|line| !line.trim().is_empty() && !line.starts_with('#')))
        .map(Manifest::from)
        .collect()
}
