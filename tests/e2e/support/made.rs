//! Objects of the cluster that a test makes for itself and that go with it.

use serde_json::{Value, json};

use super::{
    installation::{Installation, condition, residency},
    kinds::{DATA_CENTER, NODE},
    manifest::Manifest,
    namespace::fresh_name,
    user::User,
    wait::{SOON, eventually, when},
};

/// An object that is deleted at the end of the test.
pub struct Made {
    manifest: Manifest,
    admin: User,
}

impl Installation {
    /// Makes an object of the cluster.
    #[track_caller]
    pub fn makes(&self, manifest: impl Into<Manifest>) -> Made {
        let manifest = manifest.into();
        self.admin.apply(&manifest).expected();
        Made { manifest, admin: self.admin.clone() }
    }

    /// The same, made by somebody else.
    #[track_caller]
    pub fn lets_make(&self, user: &User, manifest: &Manifest) -> Made {
        user.create(manifest).expected();
        Made { manifest: manifest.clone(), admin: self.admin.clone() }
    }

    /// Makes a residency and waits until it is `Ready`.
    #[track_caller]
    pub fn makes_residency(&self, name: &str, spec: &str) -> Made {
        let made = self.makes(residency(name, spec));
        self.becomes(name, "Ready", "True");
        made
    }

    /// Somebody who may do what tenants may, and beside that has one verb on one residency, or on all where none is named.
    #[track_caller]
    pub fn with_verb(&self, verb: &str, residency: &str) -> (User, [Made; 2]) {
        let (api, name) = ("rbac.authorization.k8s.io", format!("may-{verb}-{}", fresh_name()));
        let names: Vec<&str> = Some(residency).into_iter().filter(|name| !name.is_empty()).collect();
        let rule = json!({"apiGroups": ["domicile.dev"], "resources": ["dataresidencies"], "resourceNames": names, "verbs": [verb]});
        let made = [
            json!({"apiVersion": format!("{api}/v1"), "kind": "ClusterRole", "metadata": {"name": name}, "rules": [rule]}),
            json!({"apiVersion": format!("{api}/v1"), "kind": "ClusterRoleBinding", "metadata": {"name": name},
                "roleRef": {"apiGroup": api, "kind": "ClusterRole", "name": name},
                "subjects": [{"apiGroup": api, "kind": "User", "name": name}]}),
        ];
        let made = made.map(|object| self.makes(Manifest(object)));
        let user = self.user(&name, &["e2e:tenants"]);
        let asks = json!({"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview", "spec": {"resourceAttributes":
            {"group": "domicile.dev", "resource": "dataresidencies", "name": residency, "verb": verb}}});
        eventually(&format!("{name} has the verb"), SOON, || {
            let said = user.post("/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", &asks).expected();
            when(said["status"]["allowed"] == true, || said["status"].to_string())
        });
        (user, made)
    }

    /// Makes a data center in a region of Alibaba Cloud with `10.<network>.0.0/16`.
    #[track_caller]
    pub fn makes_data_center(&self, name: &str, jurisdiction: &str, region: &str, network: u8) -> Made {
        let made = self.makes(data_center(name, jurisdiction, region, network));
        eventually(&format!("DataCenter {name} is accepted"), SOON, || {
            let seen = self.admin.get(&DATA_CENTER, "", name);
            when(condition(&seen, "Accepted") == "True", || seen["status"].to_string())
        });
        made
    }

    /// Makes a node that no kubelet runs and no pod is put on. Its signals say `region` and `address`.
    #[track_caller]
    pub fn makes_node(&self, name: &str, region: &str, address: &str) -> Made {
        let manifest = Manifest::from("{apiVersion: v1, kind: Node, metadata: {}, spec: {unschedulable: true}}")
            .named(name)
            .with(&format!("metadata: {{labels: {{topology.kubernetes.io/region: {region}}}}}"))
            .with(&format!("spec: {{providerID: {region}.i-{name}}}"));
        let made = self.makes(manifest);
        self.readdress_node(name, address);
        made
    }

    /// Gives a node another InternalIP.
    #[track_caller]
    pub fn readdress_node(&self, name: &str, address: &str) {
        let status = json!({"status": {"addresses": [{"type": "InternalIP", "address": address}]}});
        let path = format!("{}/status", NODE.path("", name));
        self.admin.patch_at(&path, super::user::Patch::Merge, &status).expected();
    }
}

/// A data center in a region of Alibaba Cloud with `10.<network>.0.0/16`.
pub fn data_center(name: &str, jurisdiction: &str, region: &str, network: u8) -> Manifest {
    let mut manifest =
        Manifest::from("{apiVersion: domicile.dev/v1alpha1, kind: DataCenter, metadata: {}}").named(name);
    let block = format!("10.{network}.0.0/16");
    manifest.0["spec"] = json!({
        "jurisdiction": jurisdiction,
        "nodes": {"selector": {"matchLabels": {"topology.kubernetes.io/region": region}}, "addresses": [block], "provider": "alibaba"},
        "zones": [format!("{region}-x")],
        "networks": [block],
    });
    manifest
}

impl Made {
    pub fn name(&self) -> &str {
        self.manifest.name()
    }

    /// Changes the object.
    #[track_caller]
    pub fn becomes(&self, yaml: &str) -> Value {
        self.admin.patch(self.manifest.kind(), "", self.name(), &super::manifest::parse(yaml)).expected()
    }

    #[track_caller]
    pub fn now(&self) -> Value {
        self.admin.get(self.manifest.kind(), "", self.name())
    }

    /// Deletes the object now.
    pub fn deleted(self) {}
}

impl Drop for Made {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let seen = self.admin.get_at(&self.manifest.kind().path("", self.name())).object;
            eprintln!("{} {}: {}", self.manifest.kind().name, self.name(), seen["status"]);
        }
        let _ = self.admin.delete(self.manifest.kind(), "", self.name());
    }
}
