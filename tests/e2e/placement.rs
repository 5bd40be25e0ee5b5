//! Placement: a governed pod runs in the country or not at all, whatever its author writes.

use crate::support::prelude::*;

/// Whether a node of the fleet stands on the mainland, by its name alone.
pub fn on_the_mainland(node: &str) -> bool {
    ["shanghai-", "beijing-", "shenzhen-"].iter().any(|city| node.starts_with(city))
}

#[track_caller]
pub fn runs_on_the_mainland(namespace: &Namespace, pod: &str) {
    let node = namespace.runs(pod);
    assert!(on_the_mainland(&node), "pod {pod} runs on {node}");
}

#[test]
fn n19_a_pod_that_says_nothing_is_pinned() {
    let stage = shared();
    let shop = stage.governed("mainland");
    if !stage.mutates() {
        let said = shop.rejects(bare_pod("web"), "[domicile/placement]");
        assert!(said.contains(&format!("{PIN}mainland: \"true\"")), "the refusal does not show what to add: {said}");
        shop.accepts(shop.pod("web"));
    } else {
        let made = shop.accepts(bare_pod("web"));
        assert_eq!(made["spec"]["nodeSelector"], json!(shop.pins()));
    }
    runs_on_the_mainland(&shop, "web");
}

#[test]
fn a_refusal_names_rule_residency_value_and_remedy() {
    let stage = shared();
    let shop = stage.governed("mainland");
    let said = shop.rejects(
        shop.pod("web").with("spec: {nodeName: frankfurt-a}"),
        "denied request: [domicile/node-name] DataResidency mainland: ",
    );
    assert!(said.contains("frankfurt-a") && said.contains("Remove it"), "{said}");
}

/// What people write about nodes, and that still has a place on the mainland.
const PREFERENCES: [(&str, &str); 8] = [
    (
        "or-ed-terms",
        "{nodeSelectorTerms: [{matchExpressions: [{key: topology.kubernetes.io/region, operator: In, values: [eu-central-1]}]}, {matchExpressions: [{key: kubernetes.io/os, operator: Exists}]}]}",
    ),
    (
        "a-foreign-field-or-any-os",
        "{nodeSelectorTerms: [{matchFields: [{key: metadata.name, operator: In, values: [frankfurt-a]}]}, {matchExpressions: [{key: kubernetes.io/os, operator: In, values: [linux]}]}]}",
    ),
    ("a-field", "{nodeSelectorTerms: [{matchFields: [{key: metadata.name, operator: In, values: [beijing-b]}]}]}"),
    (
        "not-in",
        "{nodeSelectorTerms: [{matchExpressions: [{key: topology.kubernetes.io/region, operator: NotIn, values: [cn-shanghai]}]}]}",
    ),
    (
        "does-not-exist",
        "{nodeSelectorTerms: [{matchExpressions: [{key: example.com/reserved, operator: DoesNotExist}]}]}",
    ),
    (
        "an-empty-term-or-any-zone",
        "{nodeSelectorTerms: [{}, {matchExpressions: [{key: topology.kubernetes.io/zone, operator: Exists}]}]}",
    ),
    (
        "not-verified-or-any",
        "{nodeSelectorTerms: [{matchExpressions: [{key: domicile.dev.node-restriction.kubernetes.io/jurisdiction, operator: NotIn, values: [CN]}]}, {matchExpressions: [{key: kubernetes.io/hostname, operator: Exists}]}]}",
    ),
    (
        "several-foreign-or-home",
        "{nodeSelectorTerms: [{matchExpressions: [{key: topology.kubernetes.io/zone, operator: In, values: [eu-central-1a, cn-hongkong-b, cn-beijing-h]}]}]}",
    ),
];

#[test]
fn p3_p4_no_affinity_term_leads_out() {
    let stage = shared();
    let shop = stage.governed("mainland");
    for (name, required) in PREFERENCES {
        shop.accepts(shop.pod(name).with(&format!(
            "spec: {{affinity: {{nodeAffinity: {{requiredDuringSchedulingIgnoredDuringExecution: {required}}}}}}}"
        )));
    }
    let preferred = "{weight: 100, preference: {matchExpressions: [{key: topology.kubernetes.io/region, operator: In, values: [eu-central-1]}]}}";
    shop.accepts(shop.pod("prefers-frankfurt").with(&format!(
        "spec: {{affinity: {{nodeAffinity: {{preferredDuringSchedulingIgnoredDuringExecution: [{preferred}]}}}}}}"
    )));
    shop.accepts(shop.pod("tolerates-everything").with("spec: {tolerations: [{operator: Exists}]}"));
    for name in PREFERENCES.map(|(name, _)| name).into_iter().chain(["prefers-frankfurt", "tolerates-everything"]) {
        runs_on_the_mainland(&shop, name);
    }
}

/// P4: a taint keeps nobody out who tolerates it, and the pin does.
#[test]
fn p4_a_pod_that_tolerates_every_taint_is_not_led_out() {
    let stage = alone();
    let nodes = stage.cluster.adds_nodes("- {name: frankfurt-t, region: eu-central-1, zone: eu-central-1a, providerID: eu-central-1.i-gw800009, addresses: [10.40.0.19], taints: [{key: a, value: b, effect: NoSchedule}]}\n");
    let (shop, free) = (stage.governed("mainland"), stage.ungoverned());
    let drawn = "{tolerations: [{operator: Exists}], nodeSelector: {kubernetes.io/hostname: frankfurt-t}}";
    free.accepts(bare_pod("drawn").with(&format!("spec: {drawn}")));
    assert_eq!(free.runs("drawn"), "frankfurt-t");
    shop.accepts(shop.pod("drawn").with(&format!("spec: {drawn}")));
    shop.fits_nowhere("drawn");
    free.delete(&POD, "drawn").expected();
    free.loses(&POD, "drawn");
    drop(nodes);
    stage.admin.sees_the_end_of(&NODE, "", "frankfurt-t");
}

#[test]
fn a_pod_that_wants_only_foreign_nodes_waits() {
    let stage = shared();
    let shop = stage.governed("mainland");
    let wishes = [
        ("by-region", "{nodeSelector: {topology.kubernetes.io/region: eu-central-1}}"),
        ("by-hostname", "{nodeSelector: {kubernetes.io/hostname: hongkong-a}}"),
        (
            "by-field",
            "{affinity: {nodeAffinity: {requiredDuringSchedulingIgnoredDuringExecution: {nodeSelectorTerms: [{matchFields: [{key: metadata.name, operator: In, values: [frankfurt-b]}]}]}}}}",
        ),
        (
            "by-empty-term",
            "{affinity: {nodeAffinity: {requiredDuringSchedulingIgnoredDuringExecution: {nodeSelectorTerms: [{}]}}}}",
        ),
    ];
    for (name, spec) in wishes {
        shop.accepts(shop.pod(name).with(&format!("spec: {spec}")));
    }
    for (name, _) in wishes {
        shop.fits_nowhere(name);
    }
}

#[test]
fn own_selectors_are_kept() {
    let stage = shared();
    let shop = stage.governed("mainland");
    let made = shop.accepts(shop.pod("web").with("spec: {nodeSelector: {topology.kubernetes.io/zone: cn-beijing-h}}"));
    assert_eq!(made["spec"]["nodeSelector"]["topology.kubernetes.io/zone"], "cn-beijing-h");
    assert_eq!(made["spec"]["nodeSelector"][format!("{PIN}mainland")], "true");
    assert!(shop.runs("web").starts_with("beijing-"));
}

#[test]
fn p1_the_scheduler_is_not_passed_by() {
    let stage = shared();
    let shop = stage.governed("mainland");
    for node in ["frankfurt-a", "shanghai-a", "no-such-node"] {
        shop.rejects(shop.pod("web").with(&format!("spec: {{nodeName: {node}}}")), "[domicile/node-name]");
    }
    shop.rejects(shop.pod("web").with("spec: {schedulerName: my-scheduler}"), "[domicile/scheduler-name]");
}

#[test]
fn a_false_pin_is_told() {
    let stage = shared();
    let shop = stage.governed("mainland");
    for value in ["false", "", "TRUE"] {
        let said = shop.rejects(
            bare_pod("web").with(&format!("spec: {{nodeSelector: {{{PIN}mainland: '{value}'}}}}")),
            "[domicile/false-pin]",
        );
        assert!(said.contains("say \"true\""), "{said}");
    }
}

#[test]
fn p13_mirror_pods_are_refused() {
    let stage = shared();
    let shop = stage.governed("mainland");
    // Kubernetes wants a mirror pod to name its node.
    let mirror = shop
        .pod("static")
        .with("{metadata: {annotations: {kubernetes.io/config.mirror: abc}}, spec: {nodeName: frankfurt-a}}");
    let free = stage.ungoverned();
    free.has_its_account();
    free.would_ask(mirror.clone()).expected();
    let mirror = mirror.in_namespace(&shop.name);
    shop.rejects(&mirror, "[domicile/mirror-pod]");
    // A foreign kubelet, which may create mirror pods of its own node.
    let uid = stage.admin.get(&NODE, "", "frankfurt-a")["metadata"]["uid"].clone();
    let owned = mirror
        .with("spec: {enableServiceLinks: false, automountServiceAccountToken: false}")
        .with(&format!("metadata: {{ownerReferences: [{{apiVersion: v1, kind: Node, name: frankfurt-a, uid: {uid}, controller: true}}]}}"));
    let said = stage.kubelet("frankfurt-a").create(&owned).refused("[domicile/");
    assert!(said.contains("[domicile/mirror-pod]") || said.contains("[domicile/node-name]"), "{said}");
}

#[test]
fn n3a_privilege_is_refused() {
    let stage = shared();
    let shop = stage.governed("mainland");
    for (what, spec) in [
        ("hostNetwork", "{hostNetwork: true}"),
        ("hostPID", "{hostPID: true}"),
        ("hostPath", "{volumes: [{name: all, hostPath: {path: /}}]}"),
        ("privileged", "{containers: [{name: main, image: i, securityContext: {privileged: true}}]}"),
        ("hostPort", "{containers: [{name: main, image: i, ports: [{containerPort: 80, hostPort: 80}]}]}"),
        (
            "a probe of another host",
            "{containers: [{name: main, image: i, livenessProbe: {httpGet: {host: 198.51.100.7, port: 80}}}]}",
        ),
        (
            "a hook that calls another host",
            "{containers: [{name: main, image: i, lifecycle: {postStart: {httpGet: {host: 198.51.100.7, port: 80}}}}]}",
        ),
    ] {
        let reply = shop.asks(shop.pod("web").with(&format!("spec: {spec}")));
        assert!(!reply.ok(), "{what} passed");
        assert!(
            reply.message.contains("violates PodSecurity") || reply.message.contains("[domicile/"),
            "{what}: {}",
            reply.message
        );
    }
}

/// One that ran before the label, or where nothing was enforced, is told; what else Pod Security forbids leads nowhere.
#[test]
fn privilege_from_before_is_told() {
    let stage = shared();
    let _residency = stage.makes_residency("privileged", "{jurisdictions: [CN]}");
    let mut space = stage.ungoverned();
    let container = "name: main, image: i";
    for (name, spec) in [
        ("free", "{hostPID: true}".to_owned()),
        ("bold", format!("{{containers: [{{{container}, securityContext: {{privileged: true}}}}]}}")),
        ("open", format!("{{containers: [{{{container}, ports: [{{containerPort: 80, hostPort: 80}}]}}]}}")),
        (
            "loud",
            format!(
                "{{containers: [{{{container}, livenessProbe: {{tcpSocket: {{host: 198.51.100.7, port: 80}}}}}}]}}"
            ),
        ),
        (
            "fine",
            format!("{{containers: [{{{container}, securityContext: {{seccompProfile: {{type: Unconfined}}}}}}]}}"),
        ),
    ] {
        space.accepts(bare_pod(name).with(&format!("spec: {spec}")).with("spec: {nodeName: shanghai-a}"));
        space.runs(name);
    }
    space.joins("privileged");
    let found = |name: &str| stage.finding("privileged", "domicile/privilege", &format!("Pod {}/{name}", space.name));
    for (name, words) in [("free", "hostPID"), ("bold", "privileged"), ("open", "hostPort"), ("loud", "198.51.100.7")] {
        eventually(&format!("{name} is told"), SOON, || {
            let told = found(name).map(|finding| finding["message"].to_string()).unwrap_or_default();
            when(told.contains(words), || told.clone())
        });
    }
    assert!(found("fine").is_none());
    stage.becomes("privileged", "Compliant", "False");
}

#[test]
fn a_gated_pod_stays_pinned() {
    let stage = shared();
    let shop = stage.governed("mainland");
    shop.accepts(shop.pod("gated").with("spec: {schedulingGates: [{name: example.com/wait}]}"));
    // Kubernetes lets the selector of a gated pod be narrowed, never widened.
    let without = shop.patch(&POD, "gated", &format!("spec: {{nodeSelector: {{{PIN}mainland: null}}}}"));
    assert!(!without.ok(), "the pin was taken off");
    shop.patch(&POD, "gated", "spec: {schedulingGates: null}").expected();
    runs_on_the_mainland(&shop, "gated");
}

#[test]
fn p18_debugging_stays_where_the_pod_is() {
    let stage = shared();
    let shop = stage.governed("mainland");
    shop.accepts(shop.pod("web"));
    runs_on_the_mainland(&shop, "web");
    // An ephemeral container runs on the pod's node; a copy is a pod like any other.
    let debugger = "{spec: {ephemeralContainers: [{name: debugger, image: i}]}}";
    let path = format!("{}/ephemeralcontainers", POD.path(&shop.name, "web"));
    let patch = stage.tenant.patch_at(&path, Patch::Merge, &parse(debugger));
    patch.expected();
    let mut copy = shop.get(&POD, "web");
    copy["metadata"] = json!({"name": "copy", "namespace": shop.name});
    copy["spec"]["ephemeralContainers"] = Value::Null;
    copy["spec"]["nodeName"] = json!("frankfurt-a");
    shop.rejects(copy, "[domicile/node-name]");
    // As people make copies. One on the same node passes the scheduler by, as any pod that names its node.
    let debug = |target: &str, more: &str| {
        stage.tenant.kubectl(&format!("debug {target} -n {} --image=busybox --attach=false {more}", shop.name))
    };
    for (name, more) in [("anywhere", ""), ("replacing", "--replace")] {
        debug("pod/web", &format!("--copy-to={name} --profile=baseline {more}")).expected();
        runs_on_the_mainland(&shop, name);
    }
    shop.loses(&POD, "web");
    let said = debug("pod/anywhere", "--copy-to=beside --profile=baseline --same-node");
    assert!(said.code != 0 && said.errors.contains("[domicile/node-name]"), "{said:?}");
    // What a profile adds beyond the baseline of Pod Security is refused, kubectl's default among them.
    for (profile, words) in [("general", "SYS_PTRACE"), ("sysadmin", "privileged")] {
        let said = debug("pod/anywhere", &format!("--copy-to=free --profile={profile}"));
        assert!(said.code != 0 && said.errors.contains(words), "{said:?}");
    }
    // And of a node it is on that node, with the node's rights.
    let said = debug("node/frankfurt-a", "--profile=baseline");
    assert!(said.code != 0 && said.errors.contains("[domicile/node-name]"), "{said:?}");
}

#[test]
fn ungoverned_namespaces_feel_nothing() {
    let stage = shared();
    let free = stage.ungoverned();
    let made =
        free.accepts(bare_pod("web").with("spec: {nodeSelector: {topology.kubernetes.io/region: eu-central-1}}"));
    assert!(made["spec"]["nodeSelector"].get(format!("{PIN}mainland")).is_none());
    assert!(free.runs("web").starts_with("frankfurt-"));
    free.accepts(bare_pod("named").with("spec: {nodeName: hongkong-a, hostNetwork: true}"));
    assert_eq!(free.runs("named"), "hongkong-a");
}

#[test]
fn a_cluster_without_a_data_center_of_the_jurisdiction_refuses() {
    let stage = shared();
    let name = "brazil";
    let _residency = stage.makes(residency(name, "{jurisdictions: [BR]}"));
    let shop = stage.namespace(&format!("{{domicile.dev/residency: {name}}}"));
    eventually("the namespace is confined", SOON, || {
        let because = shop.annotation("domicile.dev/refused-because");
        when(
            because.contains("no data center")
                && shop.labels().get("domicile.dev/confined-for").is_some_and(|value| value == name),
            || because,
        )
    });
    let said = shop.comes_to_reject(shop.pod("web"), "[domicile/refused]");
    assert!(said.contains("BR") && said.contains("no data center"), "{said}");
    shop.comes_to_reject(bare_claim("data"), "[domicile/refused]|[domicile/storage-class]");
    shop.accepts("{apiVersion: v1, kind: ConfigMap, metadata: {name: settings}}");
}

/// P22: what a pod, or the binding that puts it on a node, says of its place is proof of nothing: before it has a node the pin
/// decides, then the node does.
#[test]
fn p22_topology_labels_that_a_pod_says_of_itself_prove_nothing() {
    let stage = shared();
    let _residency = stage.makes_residency("self-labelled", "{jurisdictions: [CN]}");
    let mut shop = stage.ungoverned();
    let says = |region: &str, zone: &str| {
        let labels = json!({"topology.kubernetes.io/region": region, "topology.kubernetes.io/zone": zone, format!("{PIN}self-labelled"): "true"});
        json!({"metadata": {"labels": labels}}).to_string()
    };
    let (at_home, away) = (says("cn-beijing", "cn-beijing-h"), says("eu-central-1", "eu-central-1a"));
    shop.accepts(bare_pod("older").with(&at_home).with("spec: {nodeName: frankfurt-a}"));
    shop.runs("older");
    shop.joins("self-labelled");
    shop.tells(&["Pod older", "[domicile/placement]", "frankfurt-a"]);
    let found = || stage.finding("self-labelled", "domicile/placement", &format!("Pod {}/older", shop.name));
    eventually("it is found", SOON, || when(found().is_some(), || "not yet".into()));
    shop.patch(&POD, "older", &at_home).expected(); // Kubernetes itself may have put the node's there
    never("its labels are believed", Duration::from_secs(2), || found().is_none().then(|| "it is told no more".into()));
    // The other way round.
    let made = shop.accepts(shop.pod("web").with(&away));
    assert_eq!(made["spec"]["nodeSelector"], json!(shop.pins()));
    runs_on_the_mainland(&shop, "web");
    shop.patch(&POD, "web", &away).expected();
    assert!(on_the_mainland(&shop.runs("web")));
    // Nor does it let anybody bind.
    shop.accepts(shop.pod("waiting").with(&at_home).with("spec: {nodeSelector: {kubernetes.io/hostname: nowhere}}"));
    let mut binding = parse(&at_home);
    binding["metadata"]["name"] = json!("waiting");
    binding["target"] = json!({"apiVersion": "v1", "kind": "Node", "name": "frankfurt-a"});
    let path = format!("{}/binding", POD.path(&shop.name, "waiting"));
    stage
        .tenant
        .post(&path, &Manifest(binding).with("{apiVersion: v1, kind: Binding}").0)
        .refused("[domicile/binding]");
}
