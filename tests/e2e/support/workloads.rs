//! Workloads as tenants write them: one of every kind of controller, claims, and the pods in them.

use serde_json::{Value, json};

use super::{
    manifest::{Manifest, parse},
    namespace::Namespace,
};

impl Namespace {
    /// What a controller makes its pods from.
    fn template(&self, app: &str) -> Value {
        let mut spec = parse(&self.pinned());
        spec["containers"] = json!([{"name": "main", "image": "registry.example/app"}]);
        json!({"metadata": {"labels": {"app": app}}, "spec": spec})
    }

    fn controller(&self, api_version: &str, kind: &str, app: &str, spec: Value) -> Manifest {
        let mut manifest =
            Manifest(json!({"apiVersion": api_version, "kind": kind, "metadata": {"name": app}, "spec": spec}));
        manifest.0["spec"]["template"] = self.template(app);
        manifest
    }

    pub fn deployment(&self, app: &str, replicas: u32) -> Manifest {
        self.controller(
            "apps/v1",
            "Deployment",
            app,
            json!({"replicas": replicas, "selector": {"matchLabels": {"app": app}}}),
        )
    }

    pub fn replica_set(&self, app: &str) -> Manifest {
        self.controller("apps/v1", "ReplicaSet", app, json!({"selector": {"matchLabels": {"app": app}}}))
    }

    pub fn replication_controller(&self, app: &str) -> Manifest {
        self.controller("v1", "ReplicationController", app, json!({"selector": {"app": app}}))
    }

    pub fn daemon_set(&self, app: &str) -> Manifest {
        self.controller("apps/v1", "DaemonSet", app, json!({"selector": {"matchLabels": {"app": app}}}))
    }

    /// Each of its pods has a claim `data-<app>-<n>`.
    pub fn stateful_set(&self, app: &str, replicas: u32) -> Manifest {
        let mut claim = self.claim("data").0;
        claim["metadata"] = json!({"name": "data"});
        let spec = json!({
            "replicas": replicas, "serviceName": app, "podManagementPolicy": "Parallel",
            "selector": {"matchLabels": {"app": app}}, "volumeClaimTemplates": [claim],
        });
        let mut manifest = self.controller("apps/v1", "StatefulSet", app, spec);
        manifest.0["spec"]["template"]["spec"]["containers"][0]["volumeMounts"] =
            json!([{"name": "data", "mountPath": "/data"}]);
        manifest
    }

    pub fn job(&self, app: &str) -> Manifest {
        self.controller("batch/v1", "Job", app, json!({})).with("spec: {template: {spec: {restartPolicy: Never}}}")
    }

    /// Runs every minute.
    pub fn cron_job(&self, app: &str) -> Manifest {
        let job = self.job(app).0["spec"].clone();
        Manifest(json!({
            "apiVersion": "batch/v1", "kind": "CronJob", "metadata": {"name": app},
            "spec": {"schedule": "* * * * *", "jobTemplate": {"spec": job}},
        }))
    }

    /// A claim in which nobody names a class, but where nothing adds the default: there its author names it.
    pub fn claim(&self, name: &str) -> Manifest {
        let claim = bare_claim(name);
        let default = self.annotation("domicile.dev/default-storage-class");
        if self.mutates() || default.is_empty() || default == "-" {
            claim
        } else {
            claim.with(&format!("spec: {{storageClassName: {default}}}"))
        }
    }
}

/// A claim that names no class.
pub fn bare_claim(name: &str) -> Manifest {
    Manifest::from("{apiVersion: v1, kind: PersistentVolumeClaim, metadata: {}, spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}}").named(name)
}

/// The part of a pod's spec that mounts a claim.
pub fn mounting(claim: &str) -> String {
    format!("spec: {{volumes: [{{name: data, persistentVolumeClaim: {{claimName: {claim}}}}}]}}")
}
