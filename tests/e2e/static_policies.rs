//! The policies as files of the API server: the same text as the chart's, which nobody can take away through the API.

use std::{
    path::PathBuf,
    process::Command,
    sync::atomic::{AtomicBool, Ordering},
};

use crate::{
    corpus::{Says, corpus, for_residency},
    placement::on_the_mainland,
    support::{
        cluster::Cluster,
        installation::{static_policies, write_static_policies},
        prelude::*,
        process::{repository, run, scratch, succeed},
        tools::tools,
    },
};

const WIDE: &str = "{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {name: wide}, spec: {podSelector: {}, policyTypes: [Egress], egress: [{}]}}";
const FOREIGN: &str = "{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {name: foreign}, spec: {podSelector: {}, policyTypes: [Egress], egress: [{to: [{ipBlock: {cidr: 198.51.100.0/24}}]}]}}";
const ESCAPE: &str = "spec: {nodeName: frankfurt-a}";
const POLICY_KINDS: &str = "validatingadmissionpolicies,validatingadmissionpolicybindings,mutatingadmissionpolicies,mutatingadmissionpolicybindings";

/// A file of chart values.
fn values(name: &str, text: &str) -> PathBuf {
    let path = scratch().join(format!("{name}.values.yaml"));
    std::fs::write(&path, text).unwrap();
    path
}

/// The chart's policies by Helm, without a cluster.
fn by_helm(values: &[PathBuf], namespace: &str) -> Command {
    let mut helm = Command::new(tools().unwrap().join("helm"));
    helm.current_dir(repository()).args(["template", "domicile", CHART, "--namespace", namespace]);
    helm.args(["--show-only", "templates/policies.yaml", "--kube-version", "1.37.0"]);
    helm.args(["--api-versions", "admissionregistration.k8s.io/v1/MutatingAdmissionPolicy"]);
    for file in values {
        helm.arg("--values").arg(file);
    }
    helm
}

/// The same by Domicile.
fn by_domicile(values: &[PathBuf], namespace: &str) -> Command {
    let mut domicile = Command::new(env!("CARGO_BIN_EXE_domicile"));
    domicile.args(["policies", "--namespace", namespace]);
    for file in values {
        domicile.arg("--values").arg(file);
    }
    domicile
}

/// The documents of a stream as they are written, comments included, sorted: Helm sorts them by kind.
fn texts(stream: &str) -> Vec<String> {
    let text =
        |document: &str| document.lines().filter(|line| !line.starts_with("# Source:")).collect::<Vec<_>>().join("\n");
    let mut all: Vec<String> = format!("\n{stream}").split("\n---\n").map(|one| text(one).trim().to_owned()).collect();
    all.retain(|text| !text.is_empty());
    all.sort();
    all
}

#[test]
fn what_the_command_prints_is_what_the_chart_installs() {
    let strict = values(
        "strict",
        "unclassifiedNamespaces: Refuse\nnodeProvisioners: [system:serviceaccount:kube-system:karpenter]\n",
    );
    let trusting = values(
        "trusting",
        "trustedSchedulers:\n  names: [default-scheduler, volcano]\nnamespaceFinishers: [finisher]\nimage: {tag: v1}\n",
    );
    let sets = [vec![], vec![strict.clone()], vec![strict, trusting]];
    for (namespace, files) in ["domicile-system", "guard", "kube-system"].into_iter().zip(sets) {
        let chart = texts(&succeed(&mut by_helm(&files, namespace)).unwrap());
        assert_eq!(texts(&succeed(&mut by_domicile(&files, namespace)).unwrap()), chart, "{files:?} in {namespace}");
        assert!(chart.len() > 40, "{}", chart.len());
    }
}

#[test]
fn values_that_helm_refuses_are_refused() {
    for (name, text, words) in [
        ("mistyped", "trustedScheduler: {names: [any]}", "trustedScheduler"),
        ("nested", "trustedSchedulers: {name: [any]}", "name"),
        ("quote", "nodeProvisioners: [\"o'neill\"]", "o'neill"),
        ("empty", "namespaceFinishers: []", "empty"),
        ("mode", "unclassifiedNamespaces: Deny", "Deny"),
        ("source", "policies: Nowhere", "Nowhere"),
        ("image", "image: {name: domicile}", "name"),
    ] {
        let file = [values(name, text)];
        let said = succeed(&mut by_domicile(&file, "domicile-system")).unwrap_err();
        assert!(said.contains(words) && said.contains("not those of the chart"), "{said}");
        assert!(!run(&mut by_helm(&file, "domicile-system")).unwrap().status.success(), "Helm takes {text}");
    }
}

#[test]
fn what_an_api_server_could_not_load_is_not_written() {
    let folder = scratch().join("not-loadable");
    let write = |at: &str| {
        let mut domicile = Command::new(env!("CARGO_BIN_EXE_domicile"));
        succeed(domicile.args(["policies", "--static", "--at", at, "--out"]).arg(&folder))
    };
    let said = write("etc/kubernetes").unwrap_err();
    assert!(said.contains("no absolute path") && !folder.exists(), "{said}");
    write("/etc/kubernetes/domicile").unwrap();
    write("/etc/kubernetes/domicile").unwrap();
    std::fs::write(folder.join("mutating/theirs.json"), "{}").unwrap();
    let said = write("/etc/kubernetes/domicile").unwrap_err();
    assert!(said.contains("theirs.json") && said.contains("move it away"), "{said}");
}

/// What this API server says that it has loaded: one line for each folder.
fn loaded(stage: &Turn) -> Vec<String> {
    let metrics = stage.admin.kubectl("get --raw /metrics").expected();
    let lines = metrics
        .lines()
        .filter(|line| line.starts_with("apiserver_manifest_admission_config_controller_last_config_info{"));
    lines.map(str::to_owned).collect()
}

fn policies_in_the_api(stage: &Turn) -> Vec<String> {
    let kinds = if stage.has_mutating_policies() {
        POLICY_KINDS
    } else {
        "validatingadmissionpolicies,validatingadmissionpolicybindings"
    };
    stage.admin.kubectl(&format!("get {kinds} -o name")).expected().lines().map(str::to_owned).collect()
}

/// Everything of Domicile that the API knows, taken away by a cluster-admin who does not care.
fn delete_everything_of_ours(stage: &Turn) {
    stage.operator.rests();
    stage.helm(&["uninstall", "domicile", "--wait"]).unwrap();
    let kinds = if stage.has_mutating_policies() {
        POLICY_KINDS
    } else {
        "validatingadmissionpolicies,validatingadmissionpolicybindings"
    };
    for kind in kinds.split(',') {
        stage.admin.kubectl(&format!("delete {kind} --all")).expected();
    }
    for residency in stage.admin.list(&DATA_RESIDENCY, "") {
        let name = residency["metadata"]["name"].as_str().unwrap();
        stage.admin.patch(&DATA_RESIDENCY, "", name, &json!({"metadata": {"finalizers": null}})).expected();
    }
    stage.admin.kubectl("delete crd dataresidencies.domicile.dev datacenters.domicile.dev").expected();
    stage.admin.sees_the_end_of(&NAMESPACE, "", "domicile-canary");
    assert!(policies_in_the_api(stage).is_empty());
}

/// Every refusal of a namespace that was confined while Domicile was there.
#[track_caller]
fn every_refusal_stands(stage: &Turn, shop: &Namespace) {
    let pod = shop.accepts(bare_pod("late"));
    assert_eq!(pod["spec"]["nodeSelector"][format!("{PIN}mainland")], "true", "{pod}");
    assert!(on_the_mainland(&shop.runs("late")));
    let said = shop.rejects(bare_pod("escape").with(ESCAPE), "[domicile/node-name]");
    assert!(said.contains(".static.k8s.io"), "{said}");
    stage.admin.create(&bare_pod("escape").with(ESCAPE).in_namespace(&shop.name)).refused("[domicile/node-name]");
    shop.rejects(bare_pod("escape").with("spec: {schedulerName: my-own}"), "[domicile/scheduler-name]");
    shop.rejects(bare_claim("foreign").with("spec: {storageClassName: gp3}"), "[domicile/storage-class]");
    assert_eq!(shop.accepts(bare_claim("late"))["spec"]["storageClassName"], "mainland-ssd");
    shop.rejects(FOREIGN, "[domicile/network-foreign]");
    let narrowed = shop.accepts(WIDE)["spec"].to_string();
    assert!(narrowed.contains("10.20.0.0/16") && !narrowed.contains("0.0.0.0/0"), "{narrowed}");
    let isolating = ["domicile-isolate", "domicile-permit"];
    for name in isolating {
        stage.admin.delete(&NETWORK_POLICY, &shop.name, name).refused("[domicile/own-network-policy]");
    }
    stage.admin.delete(&STORAGE_CLASS, "", "mainland-ssd").refused("[domicile/own-storage-class]");
    let patch = |who: &User, metadata: Value| who.patch(&NAMESPACE, "", &shop.name, &json!({"metadata": metadata}));
    patch(&stage.admin, json!({"labels": {"domicile.dev/confined-for": null}})).refused("[domicile/confinement]");
    patch(&stage.admin, json!({"annotations": {"domicile.dev/networks": "0.0.0.0/0"}}))
        .refused("[domicile/confinement]");
    patch(&stage.tenant, json!({"labels": {"domicile.dev/residency": null}})).refused("[domicile/release]");
    let label = json!({"metadata": {"labels": {format!("{PIN}mainland"): "true"}}});
    stage.admin.patch(&NODE, "", "frankfurt-a", &label).refused("[domicile/node-label]");
    for (case, manifest, says) in corpus() {
        if says == Says::No {
            let reply = shop.would_ask(for_residency(&manifest, "mainland"));
            let by_rule = ["[domicile/", "violates PodSecurity"].iter().any(|words| reply.message.contains(words));
            assert!(!reply.ok() && by_rule, "{case} ({}): {} {}", manifest.name(), reply.code, reply.message);
        }
    }
    let binding = json!({"apiVersion": "v1", "kind": "Binding", "metadata": {"name": "late"}, "target": {"kind": "Node", "name": "frankfurt-a"}});
    let path = |part: &str| format!("{}/{part}", POD.path(&shop.name, "late"));
    stage.tenant.post(&path("binding"), &binding).refused("[domicile/binding]");
    let outsider = stage.service_account("default", "default");
    let _role = stage.makes("{apiVersion: rbac.authorization.k8s.io/v1, kind: ClusterRole, metadata: {name: outsider}, rules: [{apiGroups: [''], resources: [pods/exec], verbs: ['*']}]}");
    let _bound = stage.makes("{apiVersion: rbac.authorization.k8s.io/v1, kind: ClusterRoleBinding, metadata: {name: outsider}, roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: outsider}, subjects: [{kind: ServiceAccount, name: default, namespace: default}]}");
    eventually("an account of another namespace opens no connection", SOON, || {
        let reply = outsider.post(&path("exec?command=sh&stdout=true"), &json!({}));
        when(reply.message.contains("[domicile/connection]"), || format!("{} {}", reply.code, reply.message))
    });
    let foreign = "{apiVersion: rbac.authorization.k8s.io/v1, kind: RoleBinding, metadata: {name: readers}, roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: view}, subjects: [{kind: ServiceAccount, name: default, namespace: default}]}";
    shop.rejects(foreign, "[domicile/role-binding]");
    let token = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"expirationSeconds": 864_000}});
    stage
        .tenant
        .post(&format!("{}/token", SERVICE_ACCOUNT.path(&shop.name, "default")), &token)
        .refused("[domicile/token]");
    let new = stage.namespace("{domicile.dev/residency: mainland}");
    new.has_its_account();
    stage.tenant.create(&bare_pod("web").in_namespace(&new.name)).refused("[domicile/not-confined]");
    stage.ungoverned().accepts(bare_pod("free").with(ESCAPE));
}

#[test]
fn n17_policies_of_the_api_servers_files_outlive_everything_that_a_cluster_admin_can_delete() {
    let stage = with_static_policies();
    if !stage.has_mutating_policies() {
        return older_api_servers_load_none(&stage);
    }
    stage.install_with("policies=Static").unwrap();
    assert!(policies_in_the_api(&stage).is_empty());
    eventually("the status tells that the policies are static", SOON, || {
        let status = stage.becomes("mainland", "Ready", "True")["status"].clone();
        let mut ready = status["conditions"].as_array().unwrap().iter().filter(|one| one["type"] == "Ready");
        when(ready.any(|one| one["message"].as_str().unwrap().contains("static")), || status.to_string())
    });
    let told = crate::coverage::told(&stage);
    assert_eq!(told["staticManifests"], true, "{told}");
    assert_eq!(crate::coverage::route(&told, "N17")["enforcedBy"], "StaticManifests");
    assert_eq!(crate::coverage::route(&told, "P1")["state"], "Enforced");
    let shop = stage.governed("mainland");
    delete_everything_of_ours(&stage);
    every_refusal_stands(&stage, &shop);
    // The names are nobody's to give, and there is nothing to delete.
    let own = parse(
        "{apiVersion: admissionregistration.k8s.io/v1, kind: ValidatingAdmissionPolicy, metadata: {name: domicile-pods.static.k8s.io}, spec: {failurePolicy: Ignore, matchConstraints: {resourceRules: [{apiGroups: [''], apiVersions: [v1], operations: [CREATE], resources: [pods]}]}, validations: [{expression: 'true'}]}}",
    );
    let path = "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies";
    stage.admin.post(path, &own).refused("reserved");
    stage.admin.kubectl("delete validatingadmissionpolicy domicile-pods.static.k8s.io").refused("NotFound");
    // A restart of the API server opens nothing either.
    stage.cluster.component("restart", "kube-apiserver");
    shop.rejects(bare_pod("escape").with(ESCAPE), "[domicile/node-name]");
    shop.is_deleted();
}

/// Before 1.36 the API server starts with the same file and loads nothing, without a word. So Domicile says it.
fn older_api_servers_load_none(stage: &Turn) {
    assert!(loaded(stage).is_empty());
    let gates = stage.admin.kubectl("get --raw /metrics").expected();
    assert!(gates.contains("kubernetes_feature_enabled") && !gates.contains("ManifestBasedAdmissionControlConfig"));
    stage.install().unwrap();
    let shop = stage.governed("mainland");
    let said = shop.rejects(shop.pod("escape").with(ESCAPE), "[domicile/node-name]");
    assert!(!said.contains(".static.k8s.io"), "{said}");
    stage.admin.kubectl("delete validatingadmissionpolicies --all").expected();
    eventually("nothing refuses any more", SOON, || {
        let reply = shop.would_ask(shop.pod("escape").with(ESCAPE));
        when(reply.ok(), || reply.message)
    });
    stage.becomes("mainland", "Ready", "False");
    delete_everything_of_ours(stage);
}

/// P6, P8: NodeRestriction is off here, as where somebody forgot it: what keeps its prefix from kubelets is the policies.
#[test]
fn p6_p8_without_node_restriction_no_kubelet_gives_its_node_a_trusted_label() {
    let stage = with_static_policies();
    stage.install().unwrap();
    let labelled = |key: &str, value: Value| json!({"metadata": {"labels": {key: value}}});
    let (kubelet, path) = (stage.kubelet("shanghai-a"), NODE.path("", "shanghai-a"));
    let others = "example.node-restriction.kubernetes.io/rack";
    kubelet.patch_at(&path, Patch::Merge, &labelled(others, json!("7"))).expected(); // NodeRestriction would refuse it
    kubelet.patch_at(&path, Patch::Merge, &labelled(others, Value::Null)).expected();
    let forged = [
        (format!("{PIN}elsewhere"), "true"),
        ("domicile.dev.node-restriction.kubernetes.io/jurisdiction".to_owned(), "DE"),
        ("domicile.dev.node-restriction.kubernetes.io/data-center".to_owned(), "frankfurt-1"),
    ];
    for path in [path.clone(), format!("{path}/status")] {
        for (key, value) in &forged {
            let said =
                kubelet.patch_at(&path, Patch::Merge, &labelled(key, json!(value))).refused("[domicile/node-label]");
            assert!(said.contains(key.as_str()), "{said}");
        }
    }
    // Nor does it come back with one (CVE-2025-5187).
    let (late, name) = (stage.kubelet("frankfurt-z"), "frankfurt-z");
    let node = Manifest::from("{apiVersion: v1, kind: Node, metadata: {}, spec: {unschedulable: true}}").named(name);
    stage.lets_make(&late, &node).deleted();
    for (key, value) in &forged {
        late.create(&node.clone().with(&labelled(key, json!(value)).to_string())).refused("[domicile/node-label]");
    }
    stage.lets_make(&late, &node).deleted();
    delete_everything_of_ours(&stage);
}

#[test]
fn an_api_server_that_cannot_load_them_says_so_where_the_gate_is_known() {
    const GATE: &str = "ManifestBasedAdmissionControlConfig";
    let stage = with_static_policies(); // others write those files in their turn
    let of_137 = stage.has_mutating_policies();
    let start = |name: &str, flags: &[String]| {
        let arguments: Vec<String> = flags.iter().map(|flag| format!("--apiserver-arg={flag}")).collect();
        Cluster::start(name, "[]\n", &arguments).map(|_| ()).unwrap_err()
    };
    if of_137 {
        let file =
            format!("--admission-control-config-file={}/admission-configuration.yaml", static_policies().display());
        let said = start("without-the-gate", &["--emulated-version=1.36".to_owned(), file]);
        assert!(said.contains(&format!("requires the {GATE} feature gate")), "{said}");
    } else {
        let said = start("unknown-gate", &[format!("--feature-gates={GATE}=true")]);
        assert!(said.contains(&format!("unrecognized feature gate: {GATE}")), "{said}");
    }
}

#[test]
fn policies_of_the_chart_and_of_files_agree_and_either_may_go_first() {
    let stage = with_static_policies();
    if !stage.has_mutating_policies() {
        let said = stage.install_with("policies=Static").unwrap_err();
        assert!(said.contains("1.36") && policies_in_the_api(&stage).is_empty(), "{said}");
        return;
    }
    stage.install_with("policies=Install").unwrap();
    assert!(policies_in_the_api(&stage).len() > 40);
    let shop = stage.governed("mainland");
    let pod = shop.accepts(bare_pod("web"));
    assert_eq!(pod["spec"]["nodeSelector"].as_object().unwrap().len(), 1, "{pod}");
    assert!(on_the_mainland(&shop.runs("web")));
    let both = shop.accepts(WIDE)["spec"].clone();
    let said = shop.rejects(bare_pod("escape").with(ESCAPE), "[domicile/node-name]");
    assert_eq!(said.matches("[domicile/").count(), 1, "{said}");
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let _ends = Ends(&done);
        let watcher = scope.spawn(|| {
            let mut refused = 0;
            while !done.load(Ordering::Relaxed) {
                shop.would_ask(bare_pod("escape").with(ESCAPE)).refused("[domicile/node-name]");
                refused += 1;
            }
            refused
        });
        stage.helm(&["upgrade", "domicile", CHART, "--reuse-values", "--set", "policies=Static"]).unwrap();
        eventually("the chart's policies are gone", SOON, || {
            let left = policies_in_the_api(&stage);
            when(left.is_empty(), || format!("{left:?}"))
        });
        done.store(true, Ordering::Relaxed);
        assert!(watcher.join().unwrap() > 0, "the escape was tried");
    });
    stage.becomes("mainland", "Ready", "True");
    assert_eq!(shop.accepts(Manifest::from(WIDE).named("wide-again"))["spec"], both);
    files_of_other_values_are_told_and_loaded_without_a_restart(&stage);
    shop.is_deleted();
    delete_everything_of_ours(&stage);
}

fn files_of_other_values_are_told_and_loaded_without_a_restart(stage: &Turn) {
    let hashes = |said: &str| -> Vec<String> {
        let words = said.split_whitespace().filter(|word| word.starts_with("sha256:"));
        words.map(str::to_owned).collect()
    };
    let have_loaded = |said: &str| {
        eventually("the API server has loaded what was written", LATER, || {
            let (told, lines) = (hashes(said), loaded(stage));
            let so = told.len() == 2 && told.iter().all(|hash| lines.iter().any(|line| line.contains(hash.as_str())));
            when(so, || format!("{told:?}\n{lines:?}"))
        });
    };
    let provisioners = values("provisioners", "nodeProvisioners: [karpenter]");
    have_loaded(&write_static_policies(&["--values", provisioners.to_str().unwrap()]).unwrap());
    let told = stage.becomes("mainland", "Ready", "False");
    assert!(told["status"].to_string().contains("domicile policies --static"), "{told}");
    have_loaded(&write_static_policies(&[]).unwrap());
    stage.becomes("mainland", "Ready", "True");
}
