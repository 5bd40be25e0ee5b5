//! The operator's rights: what a stolen token could do.

use std::{
    collections::BTreeSet,
    net::{IpAddr, SocketAddr, ToSocketAddrs as _},
};

use crate::support::prelude::*;

#[test]
fn the_operator_cannot_raise_its_rights() {
    let stage = shared();
    let can = |verb: &str, resource: &str| {
        stage.admin.kubectl(&format!("auth can-i {verb} {resource} --all-namespaces --as={OPERATOR}")).out.trim()
            == "yes"
    };
    for resource in [
        "validatingadmissionpolicies.admissionregistration.k8s.io",
        "mutatingadmissionpolicies.admissionregistration.k8s.io",
        "validatingadmissionpolicybindings.admissionregistration.k8s.io",
        "mutatingwebhookconfigurations.admissionregistration.k8s.io",
        "customresourcedefinitions.apiextensions.k8s.io",
        "clusterrolebindings.rbac.authorization.k8s.io",
        "rolebindings.rbac.authorization.k8s.io",
        "serviceaccounts/token",
    ] {
        for verb in ["create", "patch", "delete"] {
            assert!(!can(verb, resource), "the operator may {verb} {resource}");
        }
    }
    for resource in ["secrets", "secrets/sh.helm.release.v1.domicile.v1"] {
        assert!(!can("get", resource) && !can("patch", resource), "the operator may read Secrets");
    }
    assert!(!can("create", "pods") && !can("create", "pods/binding") && !can("impersonate", "users"));
    let slices = "endpointslices.discovery.k8s.io";
    assert!(can("list", slices), "endpoints written by hand, and where the API servers stand");
    assert!(["create", "update", "patch", "delete"].iter().all(|verb| !can(verb, slices)), "it writes endpoints");
    assert!(can("patch", "namespaces"), "and yet it may do its work");
}

/// What the webhook needs is named, and is there only with it.
#[test]
fn the_operator_has_one_secret_and_one_webhook_configuration_where_it_serves_the_webhook() {
    let stage = shared();
    let can = |verb: &str, resource: &str| {
        let asked = format!("auth can-i {verb} {resource} -n domicile-system --as={OPERATOR}");
        stage.admin.kubectl(&asked).out.trim() == "yes"
    };
    let served = !stage.has_mutating_policies();
    for (kind, own, other) in [
        ("secrets", "domicile-webhook", "another"),
        ("mutatingwebhookconfigurations.admissionregistration.k8s.io", "domicile", "another"),
    ] {
        for verb in ["get", "patch"] {
            assert_eq!(can(verb, &format!("{kind}/{own}")), served, "{verb} {kind}/{own}");
            assert!(!can(verb, &format!("{kind}/{other}")), "the operator may {verb} {kind}/{other}");
        }
        // Whom the webhooks of a cluster lead to is read, not written.
        let read: &[&str] = if kind == "secrets" { &["list", "watch"] } else { &[] };
        for verb in read.iter().chain(&["create", "update", "delete", "deletecollection"]) {
            assert!(!can(verb, &format!("{kind}/{own}")), "the operator may {verb} {kind}/{own}");
        }
    }
}

/// Who could write more of it than whom to trust could change any object in the cluster.
#[test]
fn the_operators_account_writes_nothing_on_its_webhook_configuration_but_whom_to_trust() {
    let stage = shared();
    let thief = stage.service_account("domicile-system", "domicile");
    let patch = |change: &Value| {
        thief
            .kubectl(&format!("patch mutatingwebhookconfiguration domicile --type=json --dry-run=server -p [{change}]"))
    };
    let set = |path: &str, value: Value| json!({"op": "add", "path": path, "value": value});
    let bundle = set("/webhooks/1/clientConfig/caBundle", json!(null));
    if stage.has_mutating_policies() {
        return assert!(!patch(&bundle).ok(), "it has a right that it does not need");
    }
    assert!(patch(&bundle).ok());
    for change in [
        set("/webhooks/0/rules/0/resources/0", json!("secrets")),
        set(
            "/webhooks/0/rules/-",
            json!({"apiGroups": ["*"], "apiVersions": ["*"], "operations": ["*"], "resources": ["*"]}),
        ),
        set("/webhooks/0/namespaceSelector", json!({})),
        set("/webhooks/0/objectSelector", json!({"matchLabels": {"a": "b"}})),
        set("/webhooks/0/matchConditions", json!([])),
        set("/webhooks/0/failurePolicy", json!("Fail")),
        set("/webhooks/0/matchPolicy", json!("Exact")),
        set("/webhooks/0/reinvocationPolicy", json!("Never")),
        set("/webhooks/0/timeoutSeconds", json!(30)),
        set("/webhooks/0/clientConfig/url", json!("https://thief.example.com/mutate")),
        set("/webhooks/0/name", json!("other.domicile.dev")),
        set("/metadata/labels/a", json!("b")),
        set("/metadata/finalizers", json!(["example.com/held"])),
        json!({"op": "remove", "path": "/webhooks/0"}),
    ] {
        let said = patch(&change);
        assert!(!said.ok() && said.errors.contains("[domicile/operator]"), "{change}: {said:?}");
    }
}

/// Not even where RBAC would let it: a role that somebody gives it by mistake.
#[test]
fn the_operators_account_writes_no_secret_but_its_certificate() {
    let stage = shared();
    let free = stage.ungoverned();
    let thief = stage.service_account("domicile-system", "domicile");
    let binding = "{apiVersion: rbac.authorization.k8s.io/v1, kind: RoleBinding, metadata: {name: mistake}, roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: admin}, subjects: [{kind: ServiceAccount, name: domicile, namespace: domicile-system}]}";
    stage.admin.create(&Manifest::from(binding).in_namespace(&free.name)).expected();
    let secret = |name: &str| {
        Manifest::from("{apiVersion: v1, kind: Secret, metadata: {}}").named(name).in_namespace(&free.name)
    };
    eventually("the role is given", SOON, || {
        let reply = thief.create(&secret("other"));
        when(reply.message.contains("[domicile/operator]"), || format!("{} {}", reply.code, reply.message))
    });
    for name in ["other", "domicile-webhook"] {
        thief.create(&secret(name)).refused("[domicile/operator]");
        free.accepts(secret(name));
        let data = json!({"data": {"tls.key": "YQ=="}});
        thief.patch(&SECRET, &free.name, name, &data).refused("[domicile/operator]");
        thief.delete(&SECRET, &free.name, name).refused("[domicile/operator]");
    }
    if !stage.has_mutating_policies() {
        let label = json!({"metadata": {"labels": {"a": "b"}}});
        thief.patch(&SECRET, "domicile-system", "domicile-webhook", &label).refused("[domicile/operator]");
    }
}

#[test]
fn nobody_is_given_the_verb_release() {
    let stage = shared();
    let view = stage.admin.kubectl("get clusterroles -o json").expected();
    let roles: Value = serde_json::from_str(&view).unwrap();
    let releasing: Vec<&str> = roles["items"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|role| role["rules"].to_string().contains("\"release\""))
        .filter_map(|role| role["metadata"]["name"].as_str())
        .collect();
    assert!(releasing.is_empty(), "{releasing:?}");
}

#[test]
fn n16_the_operators_account_writes_its_own_keys_and_objects_and_nothing_else() {
    let stage = shared();
    let shop = stage.governed("mainland");
    let thief = stage.service_account("domicile-system", "domicile");
    let refused = |reply: Reply| drop(reply.refused("[domicile/operator]"));
    let label = |value: Value| json!({"metadata": {"labels": value}});
    for change in [
        label(json!({"domicile.dev/residency": null})),
        label(json!({"domicile.dev/residency": "none"})),
        label(json!({"team": "other"})),
        json!({"metadata": {"annotations": {"note": "other"}}}),
        json!({"metadata": {"finalizers": ["example.com/held"]}}),
    ] {
        refused(thief.patch(&NAMESPACE, "", &shop.name, &change));
    }
    for change in [
        json!({"spec": {"unschedulable": true}}),
        label(json!({"zone": "other"})),
        json!({"metadata": {"annotations": {"a": "b"}}}),
    ] {
        refused(thief.patch(&NODE, "", "frankfurt-a", &change));
    }
    let open = Manifest::from("{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {name: open}, spec: {podSelector: {}, egress: [{}]}}").in_namespace(&shop.name);
    refused(thief.apply(&open));
    shop.accepts("{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {name: own}, spec: {podSelector: {}, policyTypes: [Egress]}}");
    refused(thief.delete(&NETWORK_POLICY, &shop.name, "own"));
    refused(thief.patch(
        &NETWORK_POLICY,
        &shop.name,
        "own",
        &label(json!({"app.kubernetes.io/managed-by": "domicile"})),
    ));
    let class = Manifest::from(
        "{apiVersion: storage.k8s.io/v1, kind: StorageClass, metadata: {name: other}, provisioner: ebs.csi.aws.com}",
    );
    refused(thief.apply(&class));
    let free = stage.ungoverned();
    free.accepts(bare_pod("web"));
    let eviction = json!({"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "web"}});
    refused(thief.post(&format!("{}/eviction", POD.path(&free.name, "web")), &eviction));
    // Where it asks the API server about pods it makes none, and cannot take away the quota that says so, too.
    let canary = Manifest::from(format!(
        "{{apiVersion: v1, kind: Pod, metadata: {{name: thief, namespace: domicile-canary}}, spec: {{nodeSelector: {{{PIN}domicile-canary: 'true'}}, containers: [{{name: main, image: i, resources: {{limits: {{cpu: 1m, memory: 1Mi}}}}}}]}}}}"
    ));
    refused(thief.create(&canary));
    thief.try_create(&canary).refused("exceeded quota|[domicile/placement]");
    for reply in [
        thief.delete(&RESOURCE_QUOTA, "domicile-canary", "domicile-no-pods"),
        thief.patch(&RESOURCE_QUOTA, "domicile-canary", "domicile-no-pods", &json!({"spec": {"hard": {"pods": "9"}}})),
    ] {
        assert_eq!(reply.code, 403, "{}", reply.message);
    }
    // What the cluster stands on, and what nobody governs, is not his.
    for place in ["kube-system", "default", free.name.as_str()] {
        let closed = Manifest::from(
            "{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {name: domicile-isolate, labels: {app.kubernetes.io/managed-by: domicile}}, spec: {podSelector: {}, policyTypes: [Ingress, Egress]}}",
        );
        refused(thief.apply(&closed.in_namespace(place)));
        refused(thief.patch(&NAMESPACE, "", place, &label(json!({"domicile.dev/enforcement": "Enforce"}))));
    }
    free.label("pod-security.kubernetes.io/enforce", "restricted");
    refused(thief.patch(&NAMESPACE, "", &free.name, &label(json!({"pod-security.kubernetes.io/enforce": null}))));
    refused(thief.patch(
        &NAMESPACE,
        "",
        &shop.name,
        &label(json!({"pod-security.kubernetes.io/enforce": "privileged"})),
    ));
    let owner = json!([{"apiVersion": "v1", "kind": "Namespace", "name": "nope", "uid": "00000000-0000-4000-8000-000000000001"}]);
    refused(thief.patch(&DATA_CENTER, "", "shanghai-1", &json!({"metadata": {"ownerReferences": owner}})));
    refused(thief.patch(&DATA_RESIDENCY, "", "mainland", &json!({"spec": {"enforcement": "Audit"}})));
    refused(thief.patch(&DATA_CENTER, "", "shanghai-1", &json!({"spec": {"networks": ["10.99.0.0/16"]}})));
}

/// Of a process: the ports at which it listens, and both ends of every connection that stands.
struct Sockets {
    listening: BTreeSet<u16>,
    connected: Vec<(SocketAddr, SocketAddr)>,
}

impl Sockets {
    /// Those of a process, by their inodes.
    fn of(process: u32) -> Self {
        let files = std::fs::read_dir(format!("/proc/{process}/fd")).unwrap();
        // A file may be closed meanwhile.
        let links = files.filter_map(|file| std::fs::read_link(file.ok()?.path()).ok());
        let inode =
            |link: std::path::PathBuf| Some(link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.to_owned());
        let own: BTreeSet<String> = links.filter_map(inode).collect();
        let mut sockets = Self { listening: BTreeSet::new(), connected: Vec::new() };
        for table in ["tcp", "tcp6"] {
            let lines = std::fs::read_to_string(format!("/proc/{process}/net/{table}")).unwrap_or_default();
            for line in lines.lines().skip(1) {
                let fields: Vec<&str> = line.split_whitespace().collect();
                let is_own = fields.get(9).is_some_and(|inode| own.contains(*inode));
                match (is_own, fields[3]) {
                    (true, "01") => sockets.connected.push((address(fields[1]), address(fields[2]))),
                    (true, "0A") => drop(sockets.listening.insert(address(fields[1]).port())),
                    _ => {}
                }
            }
        }
        sockets
    }
}

/// As those tables write it: words in the byte order of the machine, and a port.
fn address(text: &str) -> SocketAddr {
    let number = |digits: &str| u32::from_str_radix(digits, 16).unwrap();
    let (words, port) = text.split_once(':').unwrap();
    let bytes: Vec<u8> = (0..words.len()).step_by(8).flat_map(|at| number(&words[at..at + 8]).to_ne_bytes()).collect();
    let ip = match <[u8; 4]>::try_from(bytes.as_slice()) {
        Ok(four) => IpAddr::from(four),
        Err(_) => IpAddr::from(<[u8; 16]>::try_from(bytes.as_slice()).unwrap()).to_canonical(),
    };
    SocketAddr::new(ip, u16::try_from(number(port)).unwrap())
}

/// The addresses of the API server in a kubeconfig.
fn api_server(kubeconfig: &std::path::Path) -> Vec<SocketAddr> {
    let config = parse(&std::fs::read_to_string(kubeconfig).unwrap());
    let server: http::Uri = config["clusters"][0]["cluster"]["server"].as_str().unwrap().parse().unwrap();
    let host = server.host().unwrap().trim_matches(['[', ']']);
    (host, server.port_u16().unwrap_or(443)).to_socket_addrs().unwrap().collect()
}

/// N16b: whatever it knows of a cluster, it tells the API server and nobody else.
#[test]
fn n16b_the_operator_talks_to_the_api_server_alone() {
    let stage = shared();
    let servers = api_server(&stage.cluster.kubeconfig);
    let look = || {
        let Sockets { listening, connected } = Sockets::of(stage.operator.id());
        // Its webhook is called, and its metrics are read.
        let asked = connected.iter().filter(|(own, _)| !listening.contains(&own.port()));
        let others: BTreeSet<SocketAddr> = asked.map(|(_, other)| *other).collect();
        assert!(others.iter().all(|other| servers.contains(other)), "it talks to {others:?}, not to {servers:?} alone");
        others.len()
    };
    eventually("it talks to the API server", SOON, || when(look() > 0, || "there is no connection".into()));
    let space = stage.namespace("{domicile.dev/residency: mainland}");
    eventually("it does its work", SOON, || {
        look();
        let labels = space.labels();
        when(labels.contains_key("domicile.dev/confined-for"), || format!("{labels:?}"))
    });
    never("it talks to somebody when that is done", Duration::from_secs(2), || {
        look();
        None
    });
}
