//! The closed list of label and annotation keys that Domicile reads and writes.
//!
//! One place, so that the code, the chart's policies and the documentation can be held against each other: a key that
//! is not here is neither written nor trusted.

/// Names the residencies of a namespace, joined by `_`. Written by the namespace's owner.
pub const RESIDENCY: &str = "domicile.dev/residency";
/// On a namespace or a pod: `None` leaves pods out of the permitting network policy. Written by the owner.
pub const PERMIT: &str = "domicile.dev/permit";

/// The strictest mode of a namespace's residencies.
pub const ENFORCEMENT: &str = "domicile.dev/enforcement";
/// The value of [`RESIDENCY`] that a confinement resolves.
pub const CONFINED_FOR: &str = "domicile.dev/confined-for";
/// `"true"` while no pod of the namespace stands outside.
pub const PEER: &str = "domicile.dev/peer";

/// `-`, or why nothing may start in the namespace.
pub const REFUSED_BECAUSE: &str = "domicile.dev/refused-because";
/// The StorageClasses that claims may use.
pub const STORAGE_CLASSES: &str = "domicile.dev/storage-classes";
/// The StorageClass of claims in which nobody named one.
pub const DEFAULT_STORAGE_CLASS: &str = "domicile.dev/default-storage-class";
/// Permitted networks, without the pod networks that lie in them.
pub const NETWORKS: &str = "domicile.dev/networks";
/// The values of [`CONFINED_FOR`] whose namespaces are peers.
pub const PEERS: &str = "domicile.dev/peers";
/// Who may open connections to governed pods.
pub const INGRESS: &str = "domicile.dev/ingress";
/// What happens to tenants' wide network policies.
pub const TENANT_POLICIES: &str = "domicile.dev/tenant-policies";
/// Whether the operator keeps the permitting network policy here: `All` or `None`.
pub const PERMITTING: &str = "domicile.dev/permitting";
/// Whether services may be exposed outside the cluster.
pub const EXPOSURE: &str = "domicile.dev/exposure";
/// What was seen to mutate in this cluster.
pub const MUTATION: &str = "domicile.dev/mutation";
/// UIDs of unbound pods that are older than the confinement and not pinned.
pub const HELD_PODS: &str = "domicile.dev/held-pods";

/// UIDs of RoleBindings that are older than the confinement and give rights to ServiceAccounts of other namespaces.
pub const HELD_ROLE_BINDINGS: &str = "domicile.dev/held-role-bindings";

/// The value of [`HELD_PODS`] by which every pod is held.
pub const ALL_PODS: &str = "*";
/// The value of [`HELD_ROLE_BINDINGS`] by which every such RoleBinding counts as older.
pub const ALL_ROLE_BINDINGS: &str = "*";

/// The labels of a confinement, all of which only the operator writes.
pub const CONFINEMENT_LABELS: [&str; 3] = [ENFORCEMENT, CONFINED_FOR, PEER];
/// The annotations of a confinement, all of which only the operator writes.
pub const CONFINEMENT_ANNOTATIONS: [&str; 12] = [
    REFUSED_BECAUSE,
    STORAGE_CLASSES,
    DEFAULT_STORAGE_CLASS,
    NETWORKS,
    PEERS,
    INGRESS,
    TENANT_POLICIES,
    PERMITTING,
    EXPOSURE,
    MUTATION,
    HELD_PODS,
    HELD_ROLE_BINDINGS,
];

/// Annotations in which network plugins write the address that they gave a pod, and from which some take it while its status has none
/// (Calico, Amazon VPC CNI, OVN-Kubernetes, Kube-OVN): those of `pods.yaml`.
pub const ADDRESS_ANNOTATIONS: [&str; 5] = [
    "cni.projectcalico.org/podIP",
    "cni.projectcalico.org/podIPs",
    "vpc.amazonaws.com/pod-ips",
    "k8s.ovn.org/pod-networks",
    "ovn.kubernetes.io/ip_address",
];

/// Where clusters run their DNS: a namespace that is never governed, and which no tenant can make. OpenShift's `openshift-dns` is
/// left out: elsewhere a tenant could make a namespace of that name.
pub const DNS_NAMESPACE: &str = "kube-system";
/// The label of the pods of the cluster's DNS.
pub const DNS_APP: &str = "k8s-app";
/// Its values.
pub const DNS_APPS: [&str; 3] = ["kube-dns", "coredns", "node-local-dns"];
/// Where NodeLocal DNSCache answers on each node, as a block of addresses.
/// <https://kubernetes.io/docs/tasks/administer-cluster/nodelocaldns/>
pub const NODE_LOCAL_DNS: &str = "169.254.20.10/32";
/// The port of DNS, for UDP and TCP (RFC 1035).
pub const DNS_PORT: i32 = 53;

/// The value of [`REFUSED_BECAUSE`] while a confinement is being written.
pub const BEING_CONFINED: &str = "being confined";

/// Whether this reason says so, and perhaps what that waits for (after a comma), or why what stands is past (after a colon).
#[must_use]
pub fn is_being_confined(reason: &str) -> bool {
    let goes_on = |why: &str| why.is_empty() || why.starts_with(": ") || why.starts_with(", ");
    reason.strip_prefix(BEING_CONFINED).is_some_and(goes_on)
}

/// Prefix of the label that a node carries for each residency it serves (KEP-279: kubelets cannot set it).
pub const NODE_RESIDENCY_PREFIX: &str = "residency.domicile.dev.node-restriction.kubernetes.io/";
/// The jurisdiction of a verified node.
pub const NODE_JURISDICTION: &str = "domicile.dev.node-restriction.kubernetes.io/jurisdiction";
/// The data center of a verified node.
pub const NODE_DATA_CENTER: &str = "domicile.dev.node-restriction.kubernetes.io/data-center";

/// Standard region label of nodes.
pub const REGION: &str = "topology.kubernetes.io/region";
/// Region label before Kubernetes 1.17; some cloud controllers still copy it over the standard one.
pub const REGION_BETA: &str = "failure-domain.beta.kubernetes.io/region";
/// Standard zone label of nodes.
pub const ZONE: &str = "topology.kubernetes.io/zone";
/// Zone label before Kubernetes 1.17.
pub const ZONE_BETA: &str = "failure-domain.beta.kubernetes.io/zone";

/// Label of everything that Domicile makes; its value is [`MANAGER`].
pub const MANAGED_BY: &str = "app.kubernetes.io/managed-by";
/// Field manager, and value of [`MANAGED_BY`].
pub const MANAGER: &str = "domicile";
/// Holds a DataResidency that namespaces still name.
pub const FINALIZER: &str = "domicile.dev/named-by-namespaces";

/// Pod Security Admission: the three label pairs, in the order enforce, warn, audit.
pub const POD_SECURITY_ENFORCE: &str = "pod-security.kubernetes.io/enforce";
/// See [`POD_SECURITY_ENFORCE`].
pub const POD_SECURITY_WARN: &str = "pod-security.kubernetes.io/warn";
/// See [`POD_SECURITY_ENFORCE`].
pub const POD_SECURITY_AUDIT: &str = "pod-security.kubernetes.io/audit";

/// The isolating network policy of a governed namespace.
pub const ISOLATING_POLICY: &str = "domicile-isolate";
/// The permitting network policy of a governed namespace.
pub const PERMITTING_POLICY: &str = "domicile-permit";

/// The namespace in which the operator asks the API server whether it still refuses and mutates.
pub const CANARY_NAMESPACE: &str = "domicile-canary";
/// The reserved residency of the canary namespace.
pub const CANARY_RESIDENCY: &str = "domicile-canary";
/// On a pod in the canary namespace: what the operator asks by it.
pub const ASKS: &str = "domicile.dev/asks";
/// The value of [`ASKS`] by which it asks which static policies are loaded.
pub const ASKS_FOR_POLICIES: &str = "static-policies";

/// Namespaces that are never governed, besides the operator's own.
pub const SYSTEM_NAMESPACES: [&str; 3] = ["kube-system", "kube-public", "kube-node-lease"];

/// The node label of one residency.
#[must_use]
pub fn node_residency(residency: &str) -> String {
    format!("{NODE_RESIDENCY_PREFIX}{residency}")
}

/// Whether a node label belongs to Domicile.
#[must_use]
pub fn is_trusted_node_label(key: &str) -> bool {
    key.starts_with(NODE_RESIDENCY_PREFIX) || key == NODE_JURISDICTION || key == NODE_DATA_CENTER
}
