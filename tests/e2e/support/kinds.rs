//! The kinds that the tests name, with their paths on the API server.

/// One kind of object.
#[derive(Debug, PartialEq, Eq)]
pub struct Kind {
    /// Group and version as manifests say them, for example `apps/v1`.
    pub api_version: &'static str,
    /// For example `Deployment`.
    pub name: &'static str,
    /// For example `deployments`.
    pub plural: &'static str,
    /// Whether its objects are in namespaces.
    pub namespaced: bool,
}

const fn namespaced(api_version: &'static str, name: &'static str, plural: &'static str) -> Kind {
    Kind { api_version, name, plural, namespaced: true }
}

const fn of_the_cluster(api_version: &'static str, name: &'static str, plural: &'static str) -> Kind {
    Kind { api_version, name, plural, namespaced: false }
}

macro_rules! kinds {
    ($($constant:ident = $make:ident($api:literal, $name:literal, $plural:literal);)*) => {
        $(pub static $constant: Kind = $make($api, $name, $plural);)*
        static ALL: &[&Kind] = &[$(&$constant),*];
    };
}

kinds! {
    POD = namespaced("v1", "Pod", "pods");
    CLAIM = namespaced("v1", "PersistentVolumeClaim", "persistentvolumeclaims");
    SERVICE = namespaced("v1", "Service", "services");
    ENDPOINTS = namespaced("v1", "Endpoints", "endpoints");
    EVENT = namespaced("v1", "Event", "events");
    BINDING = namespaced("v1", "Binding", "bindings");
    SERVICE_ACCOUNT = namespaced("v1", "ServiceAccount", "serviceaccounts");
    CONFIG_MAP = namespaced("v1", "ConfigMap", "configmaps");
    RESOURCE_QUOTA = namespaced("v1", "ResourceQuota", "resourcequotas");
    SECRET = namespaced("v1", "Secret", "secrets");
    REPLICATION_CONTROLLER = namespaced("v1", "ReplicationController", "replicationcontrollers");
    DEPLOYMENT = namespaced("apps/v1", "Deployment", "deployments");
    REPLICA_SET = namespaced("apps/v1", "ReplicaSet", "replicasets");
    STATEFUL_SET = namespaced("apps/v1", "StatefulSet", "statefulsets");
    DAEMON_SET = namespaced("apps/v1", "DaemonSet", "daemonsets");
    CONTROLLER_REVISION = namespaced("apps/v1", "ControllerRevision", "controllerrevisions");
    JOB = namespaced("batch/v1", "Job", "jobs");
    CRON_JOB = namespaced("batch/v1", "CronJob", "cronjobs");
    NETWORK_POLICY = namespaced("networking.k8s.io/v1", "NetworkPolicy", "networkpolicies");
    INGRESS = namespaced("networking.k8s.io/v1", "Ingress", "ingresses");
    ENDPOINT_SLICE = namespaced("discovery.k8s.io/v1", "EndpointSlice", "endpointslices");
    DISRUPTION_BUDGET = namespaced("policy/v1", "PodDisruptionBudget", "poddisruptionbudgets");
    ROLE_BINDING = namespaced("rbac.authorization.k8s.io/v1", "RoleBinding", "rolebindings");
    LEASE = namespaced("coordination.k8s.io/v1", "Lease", "leases");
    NAMESPACE = of_the_cluster("v1", "Namespace", "namespaces");
    NODE = of_the_cluster("v1", "Node", "nodes");
    VOLUME = of_the_cluster("v1", "PersistentVolume", "persistentvolumes");
    STORAGE_CLASS = of_the_cluster("storage.k8s.io/v1", "StorageClass", "storageclasses");
    WEBHOOKS = of_the_cluster("admissionregistration.k8s.io/v1", "MutatingWebhookConfiguration", "mutatingwebhookconfigurations");
    VALIDATING_WEBHOOKS = of_the_cluster("admissionregistration.k8s.io/v1", "ValidatingWebhookConfiguration", "validatingwebhookconfigurations");
    API_SERVICE = of_the_cluster("apiregistration.k8s.io/v1", "APIService", "apiservices");
    CLUSTER_ROLE = of_the_cluster("rbac.authorization.k8s.io/v1", "ClusterRole", "clusterroles");
    CLUSTER_ROLE_BINDING = of_the_cluster("rbac.authorization.k8s.io/v1", "ClusterRoleBinding", "clusterrolebindings");
    CLUSTER_NETWORK_POLICY =
        of_the_cluster("policy.networking.k8s.io/v1alpha2", "ClusterNetworkPolicy", "clusternetworkpolicies");
    DEFINITION = of_the_cluster("apiextensions.k8s.io/v1", "CustomResourceDefinition", "customresourcedefinitions");
    DEVICE_CLASS = of_the_cluster("resource.k8s.io/v1", "DeviceClass", "deviceclasses");
    RESOURCE_SLICE = of_the_cluster("resource.k8s.io/v1", "ResourceSlice", "resourceslices");
    DATA_CENTER = of_the_cluster("domicile.dev/v1alpha1", "DataCenter", "datacenters");
    DATA_RESIDENCY = of_the_cluster("domicile.dev/v1alpha1", "DataResidency", "dataresidencies");
}

impl Kind {
    /// The kind that a manifest names.
    pub fn find(api_version: &str, name: &str) -> &'static Self {
        ALL.iter()
            .find(|kind| kind.api_version == api_version && kind.name == name)
            .unwrap_or_else(|| panic!("tests/e2e/support/kinds.rs does not list {api_version} {name}"))
    }

    /// Path of the collection, in a namespace where the kind has namespaces and one is given.
    pub fn collection(&self, namespace: &str) -> String {
        let root = if self.api_version.contains('/') { "/apis" } else { "/api" };
        match namespace {
            _ if !self.namespaced => format!("{root}/{}/{}", self.api_version, self.plural),
            "" => format!("{root}/{}/{}", self.api_version, self.plural),
            namespace => format!("{root}/{}/namespaces/{namespace}/{}", self.api_version, self.plural),
        }
    }

    /// Path of one object.
    pub fn path(&self, namespace: &str, name: &str) -> String {
        format!("{}/{name}", self.collection(namespace))
    }
}
