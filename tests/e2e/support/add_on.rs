//! Kinds of add-ons, as far as the API server must know them: their definitions and everybody's right to their objects,
//! without the add-ons.

use std::{
    collections::BTreeSet,
    sync::{Condvar, Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use super::{
    installation::Installation,
    kinds::DEFINITION,
    made::Made,
    manifest::Manifest,
    namespace::Namespace,
    reply::Reply,
    user::User,
    wait::{LATER, SOON, eventually, when},
};

const RBAC: &str = "rbac.authorization.k8s.io";

/// A namespaced kind that an add-on serves.
#[derive(Clone, Copy)]
pub struct AddOn {
    pub group: &'static str,
    pub version: &'static str,
    pub kind: &'static str,
    pub plural: &'static str,
}

pub const fn add_on(group: &'static str, version: &'static str, kind: &'static str, plural: &'static str) -> AddOn {
    AddOn { group, version, kind, plural }
}

impl AddOn {
    /// The name of its definition, and of the ClusterRole that gives every right to its objects is `e2e:` and this.
    pub fn name(&self) -> String {
        format!("{}.{}", self.plural, self.group)
    }

    /// As status and events name one of its objects.
    pub fn subject(&self, space: &Namespace, name: &str) -> String {
        format!("{}.{} {}/{name}", self.kind, self.group, space.name)
    }

    pub fn collection(&self, space: &Namespace) -> String {
        format!("/apis/{}/{}/namespaces/{}/{}", self.group, self.version, space.name, self.plural)
    }

    pub fn path(&self, space: &Namespace, name: &str) -> String {
        format!("{}/{name}", self.collection(space))
    }

    pub fn object(&self, name: &str, spec: &Value) -> Value {
        let api = format!("{}/{}", self.group, self.version);
        json!({"apiVersion": api, "kind": self.kind, "metadata": {"name": name}, "spec": spec})
    }

    /// Asks for an object; nothing is made.
    pub fn would_ask(&self, by: &User, space: &Namespace, spec: &Value) -> Reply {
        by.post(&format!("{}?dryRun=All", self.collection(space)), &self.object("it", spec))
    }

    /// Waits until an object passes: the kind is served, and the right to it is known.
    #[track_caller]
    pub fn comes_to_pass(&self, by: &User, space: &Namespace, spec: &Value) {
        eventually(&format!("{} passes in {}", self.name(), space.name), SOON, || {
            let reply = self.would_ask(by, space, spec);
            when(reply.ok(), || format!("{} {}", reply.code, reply.message))
        });
    }

    /// Makes an object, as soon as the kind is served.
    #[track_caller]
    pub fn makes(&self, space: &Namespace, name: &str, spec: &Value) {
        eventually(&format!("{} {name} is made", self.name()), SOON, || {
            let reply = space.tenant.post(&self.collection(space), &self.object(name, spec));
            when(reply.ok(), || format!("{} {}", reply.code, reply.message))
        });
    }

    /// Serves it until what is returned is dropped.
    #[track_caller]
    pub fn is_served(self, stage: &Installation) -> Served {
        let [served] = all_served(stage, [self]);
        served
    }

    fn is_made(self, stage: &Installation) -> Vec<Made> {
        let (name, singular) = (self.name(), self.kind.to_lowercase());
        let schema = json!({"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}});
        let role = format!("e2e:{name}");
        let metadata = json!({"name": role});
        [
            json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
                "metadata": {"name": name, "annotations": {"api-approved.kubernetes.io": "unapproved, for a test"}},
                "spec": {"group": self.group, "scope": "Namespaced",
                    "names": {"kind": self.kind, "plural": self.plural, "singular": singular},
                    "versions": [{"name": self.version, "served": true, "storage": true, "schema": schema}]}}),
            json!({"apiVersion": format!("{RBAC}/v1"), "kind": "ClusterRole", "metadata": metadata,
                "rules": [{"apiGroups": [self.group], "resources": [self.plural], "verbs": ["*"]}]}),
            json!({"apiVersion": format!("{RBAC}/v1"), "kind": "ClusterRoleBinding", "metadata": metadata,
                "roleRef": {"apiGroup": RBAC, "kind": "ClusterRole", "name": role},
                "subjects": [{"apiGroup": RBAC, "kind": "Group", "name": "e2e:tenants"}]}),
        ]
        .map(|object| stage.makes(Manifest(object)))
        .into()
    }
}

/// Serves several until they are dropped. Two tests that serve one definition do not run beside each other, since the version
/// of the one is not the other's. Who needs several asks for all at once, so that nobody waits for what waits for him.
#[track_caller]
pub fn all_served<const N: usize>(stage: &Installation, kinds: [AddOn; N]) -> [Served; N] {
    let names = kinds.each_ref().map(AddOn::name);
    let others = |taken: &mut BTreeSet<String>| names.iter().any(|name| taken.contains(name));
    let mut taken = TAKEN.lock().unwrap_or_else(PoisonError::into_inner);
    taken = LEFT.wait_while(taken, others).unwrap_or_else(PoisonError::into_inner);
    taken.extend(names);
    drop(taken);
    let claimed = kinds.map(|kind| Served { kind, admin: stage.admin.clone(), made: Vec::new() });
    claimed.map(|mut served| {
        served.made = served.kind.is_made(stage);
        served
    })
}

/// Names of definitions that some test serves, or has not yet seen gone.
static TAKEN: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());
static LEFT: Condvar = Condvar::new();

/// A kind that is served as long as this lives.
pub struct Served {
    kind: AddOn,
    admin: User,
    made: Vec<Made>,
}

impl Served {
    /// Serves it no more.
    pub fn ends(self) {}
}

/// A definition that is being deleted still stands for a while, and who would change it then would lose it.
impl Drop for Served {
    fn drop(&mut self) {
        self.made.clear();
        let path = DEFINITION.path("", &self.kind.name());
        let end = Instant::now() + LATER;
        while self.admin.get_at(&path).code != 404 && Instant::now() < end {
            thread::sleep(Duration::from_millis(50));
        }
        TAKEN.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.kind.name());
        LEFT.notify_all();
    }
}
