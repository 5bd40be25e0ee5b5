//! The chart over its life, by Helm: what an upgrade, an uninstall and an install after it do to what is governed.

use std::sync::atomic::{AtomicBool, Ordering};

use domicile::policies::values::Values;

use crate::support::{prelude::*, process::repository};

const ESCAPE: &str = "spec: {nodeName: frankfurt-a}";

#[test]
fn an_upgrade_changes_what_is_trusted_and_opens_nothing_on_the_way() {
    let stage = to_install_anew();
    let shop = stage.governed("mainland");
    let asks = || shop.would_ask(shop.pod("web").with("spec: {schedulerName: volcano}"));
    asks().refused("[domicile/scheduler-name]");
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let _ends = Ends(&done);
        let watcher = scope.spawn(|| {
            let mut refused = 0;
            while !done.load(Ordering::Relaxed) {
                shop.would_ask(shop.pod("escape").with(ESCAPE)).refused("[domicile/node-name]");
                refused += 1;
            }
            refused
        });
        let history = stage.helm(&["history", "domicile", "--max=1", "--output=json"]).unwrap();
        let before = parse(&history)[0]["revision"].to_string();
        let names = "trustedSchedulers.names={default-scheduler,volcano}";
        stage.helm(&["upgrade", "domicile", CHART, "--reuse-values", "--set", names]).unwrap();
        eventually("the new scheduler is trusted", SOON, || {
            let reply = asks();
            when(reply.ok(), || reply.message)
        });
        stage.helm(&["rollback", "domicile", &before]).unwrap();
        eventually("it is trusted no more", SOON, || when(!asks().ok(), || "the pod is accepted".into()));
        done.store(true, Ordering::Relaxed);
        assert!(watcher.join().unwrap() > 0, "the escape was tried");
    });
    stage.becomes("mainland", "Ready", "True");
}

#[test]
fn a_value_that_the_chart_does_not_know_is_refused_by_name() {
    let stage = to_install_anew();
    let said = stage.helm(&["upgrade", "domicile", CHART, "--set", "trustedScheduler.names={any}"]).unwrap_err();
    assert!(said.contains("trustedScheduler") && said.contains("not allowed"), "{said}");
}

/// Helm and the operator read the list alike, and it can be made longer and shorter.
#[test]
fn further_networks_are_those_that_the_chart_lists() {
    let stage = to_install_anew();
    let shop = stage.governed("mainland");
    let (added, permitted) = ("example.com/public-address", "networkservicemesh.io");
    let pod = |name: &str, key: &str| shop.pod(name).with(&format!("metadata: {{annotations: {{{key}: 'true'}}}}"));
    shop.accepts(pod("older", added));
    shop.would_ask(pod("web", permitted)).refused("[domicile/further-network]");
    let words = ["refuse", "permit"]
        .map(|list| format!("furtherNetworks.{list}={{{}}}", if list == "refuse" { added } else { permitted }));
    let upgrade = ["upgrade", "domicile", CHART, "--reuse-values", "--set", &words[0], "--set", &words[1]];
    stage.helm(&upgrade).unwrap();
    eventually("the longer list holds", SOON, || {
        let reply = shop.would_ask(pod("web", added));
        when(!reply.ok() && reply.message.contains(added), || format!("{} {}", reply.code, reply.message))
    });
    shop.would_ask(pod("web", permitted)).expected();
    let values = format!("furtherNetworks: {{refuse: [{added}], permit: [{permitted}]}}");
    let tokens = Values::read(&[values]).unwrap().tokens("domicile-system").unwrap();
    let map = stage.admin.kubectl("get configmap domicile-policy-values -n domicile-system -o json").expected();
    let map: Value = serde_json::from_str(&map).unwrap();
    assert_eq!(map["data"]["furtherNetworks"], json!(tokens["furtherNetworks"]));
    stage.operator.kill();
    stage.operator.start().unwrap();
    shop.tells(&["Pod older", added]);
    stage.becomes("mainland", "Ready", "True");
}

const MUTATING: &str = "admissionregistration.k8s.io/v1/MutatingAdmissionPolicy";

/// What the chart would install with these words, for an API server that serves mutating policies.
fn rendered(stage: &Turn, words: &[&str]) -> Vec<Value> {
    let text = stage.helm(&[&["template", "domicile", CHART, "--api-versions", MUTATING], words].concat()).unwrap();
    let all: Vec<Value> = serde_saphyr::from_multiple(&text).unwrap();
    all.into_iter().filter(|document| !document.is_null()).collect()
}

/// Those of a kind.
fn of_kind<'a>(documents: &'a [Value], kind: &str) -> Vec<&'a Value> {
    documents.iter().filter(|document| document["kind"] == kind).collect()
}

#[test]
fn the_webhook_and_its_rights_are_there_only_where_they_are_needed() {
    let stage = shared();
    let count = |words: &[&str]| {
        let documents = rendered(&stage, words);
        let text = json!(documents).to_string();
        let named = ["MutatingWebhookConfiguration", "Secret", "Service"].map(|kind| of_kind(&documents, kind).len());
        let rules =
            || of_kind(&documents, "ClusterRole").into_iter().filter_map(|role| role["rules"].as_array()).flatten();
        let has = |rule: &Value, field: &str, word: &str| rule[field].as_array().unwrap().iter().any(|own| own == word);
        let writes =
            rules().any(|rule| has(rule, "resources", "mutatingwebhookconfigurations") && has(rule, "verbs", "patch"));
        (named, writes, text.contains("--webhook-listen"))
    };
    let none = ([0, 0, 0], false, false);
    assert_eq!(count(&[]), none, "the API server mutates by itself");
    assert_eq!(count(&["--set", "webhook.mode=Disabled"]), none);
    assert_eq!(count(&["--set", "webhook.mode=Enabled"]), ([1, 1, 1], true, true));
    let outside = ["--set", "webhook.mode=Enabled", "--set", "webhook.url=https://10.30.0.5:8443"];
    assert_eq!(count(&outside), ([1, 1, 0], true, true));
    for wrong in ["webhook.url=http://10.30.0.5", "webhook.mode=Sometimes", "webhook.urls=https://a"] {
        let said = stage.helm(&["template", "domicile", CHART, "--set", wrong]).unwrap_err();
        assert!(said.contains("webhook"), "{said}");
    }
}

#[test]
fn the_webhook_is_asked_about_exactly_what_the_mutating_policies_are() {
    let stage = shared();
    let documents = rendered(&stage, &["--set", "webhook.mode=Enabled"]);
    let policies = of_kind(&documents, "MutatingAdmissionPolicy");
    let configuration = of_kind(&documents, "MutatingWebhookConfiguration")[0];
    let webhooks = configuration["webhooks"].as_array().unwrap();
    assert_eq!(webhooks.len(), policies.len());
    for webhook in webhooks {
        let resources = &webhook["rules"][0]["resources"];
        let same = |policy: &&&Value| policy["spec"]["matchConstraints"]["resourceRules"][0]["resources"] == *resources;
        let policy = &policies.iter().find(same).unwrap()["spec"];
        assert_eq!(webhook["namespaceSelector"], policy["matchConstraints"]["namespaceSelector"], "{resources}");
        let mut rules = webhook["rules"].clone();
        for rule in rules.as_array_mut().unwrap() {
            rule.as_object_mut().unwrap().remove("scope");
        }
        assert_eq!(rules, policy["matchConstraints"]["resourceRules"]);
        if resources != &json!(["namespaces"]) {
            // Of namespaces the webhook is asked about those alone that the policy would change.
            assert_eq!(webhook["matchConditions"], policy["matchConditions"], "{resources}");
        }
        let way = ["failurePolicy", "sideEffects", "reinvocationPolicy"].map(|field| webhook[field].as_str().unwrap());
        assert_eq!(way, ["Ignore", "None", "IfNeeded"]);
        assert!(webhook["timeoutSeconds"].as_u64().unwrap() <= 3);
    }
    let of_namespaces = webhooks.iter().find(|webhook| webhook["name"] == "namespaces.domicile.dev").unwrap();
    let asked = of_namespaces["matchConditions"].to_string();
    for key in domicile::domain::keys::CONFINEMENT_LABELS.iter().chain(&domicile::domain::keys::CONFINEMENT_ANNOTATIONS)
    {
        assert!(asked.contains(&format!("'{key}'")), "{key}");
    }
}

/// What the chart installs, but for the definitions and the release's namespace.
fn installed(stage: &Turn) -> Vec<String> {
    let mut kinds = vec![
        "validatingadmissionpolicies",
        "validatingadmissionpolicybindings",
        "clusterroles",
        "clusterrolebindings",
        "namespaces",
        "mutatingwebhookconfigurations",
        "roles",
        "rolebindings",
        "secrets",
        "services",
    ];
    if stage.has_mutating_policies() {
        kinds.extend(["mutatingadmissionpolicies", "mutatingadmissionpolicybindings"]);
    }
    let all = stage.admin.kubectl(&format!("get {} -o name -A", kinds.join(","))).expected();
    let own = |line: &&str| line.contains("/domicile") && *line != "namespace/domicile-system";
    all.lines().filter(own).map(str::to_owned).collect()
}

/// What the operator writes: StorageClasses, and keys on nodes and namespaces other than the canary.
fn written(stage: &Turn) -> Vec<String> {
    let view = stage.admin.kubectl("get nodes,namespaces,storageclasses -o json").expected();
    let view: Value = serde_json::from_str(&view).unwrap();
    let marks = |metadata: &Value| -> Vec<String> {
        let maps = [&metadata["labels"], &metadata["annotations"]].into_iter().filter_map(Value::as_object);
        let entries = maps.flatten().filter(|(key, _)| key.contains("domicile.dev"));
        entries.filter(|(_, value)| *value != "none").map(|(key, _)| key.clone()).collect()
    };
    let objects = view["items"].as_array().unwrap().iter().map(|object| &object["metadata"]);
    objects
        .filter(|metadata| metadata["name"] != "domicile-canary")
        .filter_map(|metadata| Some(marks(metadata)).filter(|marks| !marks.is_empty()).map(|marks| (metadata, marks)))
        .map(|(metadata, marks)| format!("{}: {}", metadata["name"], marks.join(", ")))
        .collect()
}

/// Takes every namespace out of the residency, as someone with the verb `release` does.
#[track_caller]
pub fn release_everything(stage: &Turn) {
    let platform = stage.platform_team();
    for space in stage.admin.list(&NAMESPACE, "") {
        if space["metadata"]["labels"]["domicile.dev/residency"] == "mainland" {
            let name = space["metadata"]["name"].as_str().unwrap();
            let reply = platform.patch(
                &NAMESPACE,
                "",
                name,
                &json!({"metadata": {"labels": {"domicile.dev/residency": "none"}}}),
            );
            assert!(reply.ok() || reply.code == 404, "{reply:?}");
        }
    }
}

#[test]
fn n20_an_uninstall_by_the_book_leaves_nothing_and_an_install_after_it_starts_over() {
    let stage = to_install_anew();
    let shop = stage.governed("mainland");
    shop.accepts(shop.pod("web"));
    shop.runs("web");
    release_everything(&stage);
    let platform = stage.platform_team();
    platform.delete(&DATA_RESIDENCY, "", "mainland").expected();
    for center in stage.admin.list(&DATA_CENTER, "") {
        platform.delete(&DATA_CENTER, "", center["metadata"]["name"].as_str().unwrap()).expected();
    }
    eventually("Domicile takes away what it wrote", LATER, || {
        let (residencies, written) = (stage.admin.list(&DATA_RESIDENCY, ""), written(&stage));
        when(residencies.is_empty() && written.is_empty(), || format!("{written:#?}"))
    });
    assert!(!installed(&stage).is_empty());
    stage.operator.kill();
    stage.helm(&["uninstall", "domicile", "--wait"]).unwrap();
    eventually("nothing is left", LATER, || {
        let left = installed(&stage);
        when(left.is_empty(), || format!("{left:#?}"))
    });
    assert!(stage.admin.kubectl("get crds -o name").expected().contains("dataresidencies.domicile.dev"));
    shop.accepts(bare_pod("free").with(ESCAPE)); // the pod that was pinned runs on; nobody judges any more
    assert_eq!(shop.get(&POD, "web")["status"]["phase"], "Running");

    stage.install().unwrap();
    let again = stage.governed("mainland");
    again.rejects(again.pod("escape").with(ESCAPE), "domicile/node-name");
    again.accepts(again.pod("web"));
    again.runs("web");
}

/// Nobody released anything before, and cluster-admins may do so: what others obey stays, nothing is locked, and what got out
/// is told as soon as somebody looks again.
#[test]
fn an_uninstall_out_of_order_locks_nothing_and_an_install_after_it_tells_what_got_out() {
    let stage = to_install_anew();
    let (shop, doomed, free) = (stage.governed("mainland"), stage.governed("mainland"), stage.ungoverned());
    shop.accepts(shop.pod("web"));
    shop.runs("web");
    let confinement = shop.object()["metadata"]["annotations"].clone();
    stage.operator.kill();
    stage.helm(&["uninstall", "domicile", "--wait"]).unwrap();
    eventually("nothing of the chart is left", LATER, || {
        let left = installed(&stage);
        when(left.is_empty(), || format!("{left:#?}"))
    });
    let web = format!("{}/web", shop.name);
    assert!(!stage.passes(&web, "198.51.100.7", 443) && stage.passes(&web, "10.20.5.5", 443));
    free.accepts(bare_pod("web").with(ESCAPE));
    let away = bare_pod("away").with(ESCAPE).in_namespace(&shop.name);
    eventually("nobody judges any more, once the API server has seen that the policies are gone", SOON, || {
        let reply = stage.tenant.create(&away);
        when(reply.ok(), || reply.message)
    });
    shop.runs("away");
    doomed.is_deleted();

    stage.install().unwrap();
    shop.is_confined();
    shop.comes_to_reject(shop.pod("escape").with(ESCAPE), "[domicile/node-name]");
    for key in ["domicile.dev/networks", "domicile.dev/storage-classes"] {
        assert_eq!(shop.annotation(key), confinement[key], "{key}");
    }
    eventually("the pod that got out is told", SOON, || {
        let status = stage.becomes("mainland", "Compliant", "False")["status"].clone();
        let found = status["findings"]["items"].to_string().contains(&format!("Pod {}/away", shop.name));
        when(found, || status.to_string())
    });
    eventually("it is no peer while a pod of it stands abroad", SOON, || {
        when(!shop.labels().contains_key("domicile.dev/peer"), || format!("{:?}", shop.labels()))
    });
}

/// The definitions of this version, brought as the README has it; at the end also where the test failed.
struct Definitions<'stage>(&'stage Turn);

impl Definitions<'_> {
    fn are_applied(&self) -> bool {
        let crds = repository().join("crds");
        self.0.admin.kubectl(&format!("apply --server-side --force-conflicts -f {}", crds.display())).ok()
    }
}

impl Drop for Definitions<'_> {
    fn drop(&mut self) {
        self.are_applied();
    }
}

/// Helm leaves CRDs as they are. An operator that says more than they know writes no status: its log says what mends it.
#[test]
fn definitions_that_are_older_than_the_operator_are_told_and_brought_as_the_readme_has_it() {
    let stage = to_install_anew();
    stage.is_left_alone();
    let definitions = Definitions(&stage);
    let path = DEFINITION.path("", "dataresidencies.domicile.dev");
    let mut older = stage.admin.get_at(&path).expected();
    let status = older.pointer_mut("/spec/versions/0/schema/openAPIV3Schema/properties/status/properties");
    status.and_then(Value::as_object_mut).and_then(|fields| fields.remove("routes")).expect("the newest field");
    stage.admin.replace_at(&path, &older).expected();
    let routes = json!({"apiVersion": "domicile.dev/v1alpha1", "kind": "DataResidency", "status": {"routes": []}});
    let knows = || {
        let path = format!("{}/status?dryRun=All&force=true&fieldManager=test", DATA_RESIDENCY.path("", "mainland"));
        stage.admin.send("PATCH", &path, "application/apply-patch+yaml", Some(&routes)).ok()
    };
    eventually("the field is known no more", SOON, || when(!knows(), || "it is".into()));
    let before = stage.operator.said().len();
    let shop = stage.governed("mainland");
    shop.accepts(shop.pod("web"));
    eventually("the operator says what to do", LATER, || {
        let said = stage.operator.said()[before..].to_owned();
        when(said.contains("the CRDs are older than this operator") && said.contains("-f crds/"), || said)
    });
    assert!(definitions.are_applied());
    eventually("the field is known again", SOON, || when(knows(), || "it is not".into()));
    eventually("the status is written again", LATER, || {
        let status = stage.admin.get(&DATA_RESIDENCY, "", "mainland")["status"].clone();
        when(status["governed"]["pods"] == 1 && status["routes"].is_array(), || status.to_string())
    });
}
