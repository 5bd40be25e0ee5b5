//! Somebody who talks to the API server: requests as they go over the wire, with refusals and warnings in the answer.
//!
//! A user other than the administrator is impersonated by him. Admission sees the impersonated name and groups, so the
//! policies, the Node authorizer and NodeRestriction judge as they would judge the user.

use std::{path::Path, sync::Arc, time::Duration};

use http::{Request, header};
use kube::{
    Client, Config,
    client::Body,
    config::{KubeConfigOptions, Kubeconfig},
};
use serde_json::{Value, json};

use super::{
    kinds::Kind,
    kubectl::Kubectl,
    manifest::Manifest,
    reply::Reply,
    wait::{LATER, SOON, eventually, run, when},
};

/// Requests that take longer have hung.
const PATIENCE: Duration = Duration::from_secs(60);

/// One user of the cluster.
#[derive(Clone)]
pub struct User {
    pub name: String,
    client: Client,
    kubectl: Arc<Kubectl>,
}

/// How an object is changed.
#[derive(Clone, Copy)]
pub enum Patch {
    Merge,
    /// Server-side apply that takes the fields from whoever has them.
    Apply,
}

impl User {
    /// The administrator of a kubeconfig.
    pub fn administrator(kubeconfig: &Path, tools: &Path) -> Result<Self, String> {
        Self::with_identity(kubeconfig, tools, None)
    }

    /// Somebody whom the administrator impersonates.
    pub fn impersonated(kubeconfig: &Path, tools: &Path, name: &str, groups: &[&str]) -> Result<Self, String> {
        Self::with_identity(kubeconfig, tools, Some((name, groups)))
    }

    fn with_identity(kubeconfig: &Path, tools: &Path, identity: Option<(&str, &[&str])>) -> Result<Self, String> {
        let read = Kubeconfig::read_from(kubeconfig).map_err(|error| error.to_string())?;
        let client = run(async {
            let mut config = Config::from_custom_kubeconfig(read, &KubeConfigOptions::default())
                .await
                .map_err(|error| error.to_string())?;
            config.default_retry = false; // tests want to see what the server says
            if let Some((name, groups)) = identity {
                config.auth_info.impersonate = Some(name.to_owned());
                config.auth_info.impersonate_groups = Some(groups.iter().map(ToString::to_string).collect());
            }
            Client::try_from(config).map_err(|error| error.to_string())
        })?;
        let (name, groups) = identity.unwrap_or(("admin", &[]));
        let kubectl = Kubectl::new(tools, kubeconfig, identity.map(|_| (name, groups)));
        Ok(Self { name: name.to_owned(), client, kubectl: Arc::new(kubectl) })
    }

    /// What this user talks to the API server with, for the functions of the operator itself. It tries nothing twice.
    pub fn client(&self) -> Client {
        self.client.clone()
    }

    /// Runs kubectl as this user; the words are separated by blanks.
    pub fn kubectl(&self, words: &str) -> super::kubectl::Said {
        self.kubectl.run(words, "")
    }

    /// Runs kubectl as this user with something on its standard input.
    pub fn kubectl_with(&self, words: &str, input: &str) -> super::kubectl::Said {
        self.kubectl.run(words, input)
    }

    pub fn create(&self, manifest: &Manifest) -> Reply {
        self.post(&manifest.kind().collection(manifest.namespace()), &manifest.0)
    }

    /// Creates nothing, but goes through all of admission.
    pub fn try_create(&self, manifest: &Manifest) -> Reply {
        self.post(&format!("{}?dryRun=All", manifest.kind().collection(manifest.namespace())), &manifest.0)
    }

    /// Server-side apply, by force.
    pub fn apply(&self, manifest: &Manifest) -> Reply {
        let path = manifest.kind().path(manifest.namespace(), manifest.name());
        self.patch_at(&path, Patch::Apply, &manifest.0)
    }

    pub fn patch(&self, kind: &Kind, namespace: &str, name: &str, patch: &Value) -> Reply {
        self.patch_at(&kind.path(namespace, name), Patch::Merge, patch)
    }

    pub fn patch_at(&self, path: &str, patch: Patch, body: &Value) -> Reply {
        let (kind, query) = match patch {
            Patch::Merge => ("application/merge-patch+json", String::new()),
            Patch::Apply => {
                ("application/apply-patch+yaml", format!("?fieldManager={}&force=true", self.name.replace(':', "-")))
            }
        };
        self.send("PATCH", &format!("{path}{query}"), kind, Some(body))
    }

    pub fn replace_at(&self, path: &str, body: &Value) -> Reply {
        self.send("PUT", path, "application/json", Some(body))
    }

    pub fn post(&self, path: &str, body: &Value) -> Reply {
        self.send("POST", path, "application/json", Some(body))
    }

    pub fn delete(&self, kind: &Kind, namespace: &str, name: &str) -> Reply {
        self.delete_at(&kind.path(namespace, name))
    }

    pub fn delete_at(&self, path: &str) -> Reply {
        self.send("DELETE", path, "application/json", None)
    }

    /// Deletes without waiting for the kubelet.
    pub fn delete_now(&self, kind: &Kind, namespace: &str, name: &str) -> Reply {
        self.send("DELETE", &kind.path(namespace, name), "application/json", Some(&json!({"gracePeriodSeconds": 0})))
    }

    /// The object, if it is there.
    pub fn find(&self, kind: &Kind, namespace: &str, name: &str) -> Option<Value> {
        let reply = self.get_answered(&kind.path(namespace, name));
        if reply.code == 404 { None } else { Some(reply.expected()) }
    }

    /// What stands at a path, asked for again where the API server has too much to do or has just been started anew.
    fn get_answered(&self, path: &str) -> Reply {
        eventually("the API server answers", SOON, || {
            let reply = self.get_at(path);
            when(![0, 429].contains(&reply.code) && reply.code < 500, || format!("{} {}", reply.code, reply.message))?;
            Ok(reply)
        })
    }

    /// The object, which must be there.
    #[track_caller]
    pub fn get(&self, kind: &Kind, namespace: &str, name: &str) -> Value {
        self.find(kind, namespace, name).unwrap_or_else(|| panic!("there is no {} {namespace}/{name}", kind.name))
    }

    /// Waits until an object is there no more.
    #[track_caller]
    pub fn sees_the_end_of(&self, kind: &Kind, namespace: &str, name: &str) {
        eventually(&format!("{} {namespace}/{name} is gone", kind.name), LATER, || {
            match self.find(kind, namespace, name) {
                None => Ok(()),
                Some(object) => Err(format!("{} {}", object["metadata"], object["status"])),
            }
        });
    }

    /// All objects of a kind in a namespace, or in the cluster.
    #[track_caller]
    pub fn list(&self, kind: &Kind, namespace: &str) -> Vec<Value> {
        let reply = self.get_answered(&kind.collection(namespace)).expected();
        reply["items"].as_array().cloned().unwrap_or_default()
    }

    pub fn get_at(&self, path: &str) -> Reply {
        self.send("GET", path, "application/json", None)
    }

    pub fn send(&self, method: &str, path: &str, content: &str, body: Option<&Value>) -> Reply {
        let bytes = body.map(|body| body.to_string().into_bytes()).unwrap_or_default();
        run(self.exchange(method, path, content, bytes))
    }

    /// One request and its answer; a connection that breaks is an answer with code 0.
    pub async fn exchange(&self, method: &str, path: &str, content: &str, body: Vec<u8>) -> Reply {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::CONTENT_TYPE, content)
            .header(header::ACCEPT, "application/json")
            .body(Body::from(body))
            .expect("a request");
        let asked = format!("{} {method} {path}", self.name);
        let exchange = async {
            let response = self.client.send(request).await.map_err(|error| error.to_string())?;
            let (head, body) = response.into_parts();
            let body = body.collect_bytes().await.map_err(|error| error.to_string())?;
            Ok::<_, String>(Reply::read(asked.clone(), &head, &body))
        };
        match tokio::time::timeout(PATIENCE, exchange).await {
            Ok(Ok(reply)) => reply,
            Ok(Err(error)) => Reply::broken(asked, error),
            Err(_) => Reply::broken(asked, format!("no answer within {PATIENCE:?}")),
        }
    }
}
