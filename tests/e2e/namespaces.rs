//! The confinement of a namespace is in nobody's hands but Domicile's. The attacker here may do everything with
//! namespaces, their status and their finalizers that RBAC can give.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use domicile::domain::keys::{CONFINEMENT_ANNOTATIONS as ANNOTATIONS, CONFINEMENT_LABELS as LABELS};

use crate::support::prelude::*;

/// The three paths by which a namespace is written.
fn paths(namespace: &Namespace) -> [String; 3] {
    let path = NAMESPACE.path("", &namespace.name);
    [path.clone(), format!("{path}/status"), format!("{path}/finalize")]
}

/// Writes the newest of the namespace with a change: the operator may write at the same time.
fn writes(user: &User, namespace: &Namespace, path: &str, change: impl Fn(&mut Value)) -> Reply {
    eventually("the version is the newest", SOON, || {
        let mut object = namespace.object();
        change(&mut object);
        let reply = user.replace_at(path, &object);
        when(reply.code != 409, || reply.message.clone())?;
        Ok(reply)
    })
}

/// Writes the namespace with a change by every path, and wants each refused and the change not there.
#[track_caller]
fn cannot(namespace: &Namespace, change: impl Fn(&mut Value), rule: &str) {
    for path in paths(namespace) {
        let reply = writes(&namespace.tenant, namespace, &path, &change);
        if path.ends_with("/status") && reply.ok() {
            // This path keeps other metadata on some versions; what counts is that nothing changed.
            continue;
        }
        reply.refused(rule);
    }
    let after = namespace.object();
    let mut changed = after.clone();
    change(&mut changed);
    assert_ne!(after["metadata"], changed["metadata"], "the change is there");
}

#[test]
fn p17a_nobody_writes_a_confinement() {
    let stage = shared();
    let _residency = stage.makes_residency("unforged", "{jurisdictions: [CN]}"); // which no other test combines: peers stay the same
    let shop = stage.governed("unforged");
    for key in LABELS {
        cannot(&shop, |object| object["metadata"]["labels"][key] = json!("forged"), "[domicile/confinement]");
        cannot(
            &shop,
            |object| drop(object["metadata"]["labels"].as_object_mut().unwrap().remove(key)),
            "[domicile/confinement]",
        );
    }
    for key in ANNOTATIONS {
        cannot(&shop, |object| object["metadata"]["annotations"][key] = json!("0.0.0.0/0"), "[domicile/confinement]");
        cannot(
            &shop,
            |object| drop(object["metadata"]["annotations"].as_object_mut().unwrap().remove(key)),
            "[domicile/confinement]",
        );
    }
    let applied = Manifest::from(
        "{apiVersion: v1, kind: Namespace, metadata: {annotations: {domicile.dev/networks: 0.0.0.0/0}}}",
    )
    .named(&shop.name);
    shop.tenant.apply(&applied).refused("[domicile/confinement]");
    let said = shop
        .tenant
        .kubectl(&format!("annotate --overwrite namespace {} domicile.dev/networks=0.0.0.0/0", shop.name))
        .refused("[domicile/confinement]");
    assert!(said.contains("only Domicile writes domicile.dev/networks"), "{said}");
    // All else is the owner's.
    shop.label("team", "battery");
}

#[test]
fn an_ungoverned_namespace_is_not_given_one_either() {
    let stage = shared();
    let free = stage.ungoverned();
    cannot(&free, |object| object["metadata"]["labels"]["domicile.dev/peer"] = json!("true"), "[domicile/confinement]");
    stage
        .admin
        .patch(&NAMESPACE, "", &free.name, &json!({"metadata": {"labels": {"domicile.dev/enforcement": "Audit"}}}))
        .refused("[domicile/confinement]");
}

#[test]
fn a_namespace_that_is_created_with_a_confinement_is_confined_afresh() {
    let stage = shared();
    let origin = stage.governed("mainland");
    let mut copy = origin.object();
    copy["metadata"] = json!({"name": fresh_name(), "labels": copy["metadata"]["labels"], "annotations": copy["metadata"]["annotations"]});
    copy["metadata"]["annotations"]["domicile.dev/networks"] = json!("0.0.0.0/0");
    copy["metadata"]["annotations"]["domicile.dev/storage-classes"] = json!("gp3");
    copy["metadata"]["labels"].as_object_mut().unwrap().remove("kubernetes.io/metadata.name");
    let copy = Manifest(copy);
    if !stage.mutates() {
        stage.tenant.create(&copy).refused("[domicile/confinement]");
        return;
    }
    // It is refused where a webhook that strips it answers late.
    let created = eventually("it is let in", SOON, || {
        let reply = stage.tenant.create(&copy);
        when(reply.ok(), || reply.message.clone())?;
        Ok(reply.object)
    });
    assert!(created["metadata"]["labels"].get("domicile.dev/confined-for").is_none(), "{}", created["metadata"]);
    assert!(!created["metadata"].to_string().contains("0.0.0.0/0"), "{}", created["metadata"]);
    let confined = |name: &str| stage.admin.get(&NAMESPACE, "", name)["metadata"]["annotations"].clone();
    eventually("the copy is confined as the origin is", SOON, || {
        let (own, theirs) = (confined(copy.name()), confined(&origin.name));
        when(
            own["domicile.dev/networks"] == theirs["domicile.dev/networks"]
                && own["domicile.dev/storage-classes"] == theirs["domicile.dev/storage-classes"],
            || own.to_string(),
        )
    });
    stage.tenant.delete(&NAMESPACE, "", copy.name()).expected();
}

#[test]
fn p17b_leaving_needs_the_verb_release() {
    let stage = shared();
    let shop = stage.governed("mainland");
    cannot(
        &shop,
        |object| drop(object["metadata"]["labels"].as_object_mut().unwrap().remove("domicile.dev/residency")),
        "[domicile/release]",
    );
    for value in ["none", "somewhere-else"] {
        cannot(
            &shop,
            |object| object["metadata"]["labels"]["domicile.dev/residency"] = json!(value),
            "[domicile/release]",
        );
    }
    // Further residencies may be joined without anyone's leave.
    shop.label("domicile.dev/residency", "mainland_battery-that-nobody-made");
    shop.label("domicile.dev/residency", "mainland");
    let leave = json!({"metadata": {"labels": {"domicile.dev/residency": "none"}}});
    let said = stage.tenant.patch(&NAMESPACE, "", &shop.name, &leave).refused("[domicile/release]");
    assert!(said.contains("verb release"), "{said}");
    for (verb, residency) in [("adopt", "mainland"), ("release", "another")] {
        let (other, _made) = stage.with_verb(verb, residency);
        other.patch(&NAMESPACE, "", &shop.name, &leave).refused("[domicile/release]");
    }
    let (one_who_may, _made) = stage.with_verb("release", "mainland");
    let left = one_who_may.patch(&NAMESPACE, "", &shop.name, &leave);
    assert!(left.warnings.iter().any(|text| text.contains("[domicile/leaving] DataResidency mainland")), "{left:?}");
    left.expected();
    eventually("nothing of the confinement is left", SOON, || {
        let metadata = shop.object()["metadata"].clone();
        let left = LABELS.iter().any(|key| !metadata["labels"][key].is_null())
            || ANNOTATIONS.iter().any(|key| !metadata["annotations"][key].is_null());
        when(!left && shop.list(&NETWORK_POLICY).is_empty(), || metadata.to_string())
    });
    shop.accepts(bare_pod("free").with("spec: {nodeName: frankfurt-a}"));
}

/// Each needs the verb of another residency, and no more than two are looked up at a time.
#[test]
fn p17b_three_residencies_are_left_in_two_steps() {
    let stage = shared();
    let _others = ["left-first", "left-second"].map(|name| stage.makes_residency(name, "{jurisdictions: [CN]}"));
    let shop = stage.governed("mainland_left-first_left-second");
    let platform = stage.platform_team();
    let names = |residencies: &str| {
        platform.patch(
            &NAMESPACE,
            "",
            &shop.name,
            &json!({"metadata": {"labels": {"domicile.dev/residency": residencies}}}),
        )
    };
    let said = names("none").refused("[domicile/release-step]");
    assert!(said.contains("left-first") && said.contains("at once"), "{said}");
    names("mainland_left-first").expected();
    names("none").expected();
}

#[test]
fn a_co_owned_key_does_not_outlive_the_confinement() {
    let stage = shared();
    let shop = stage.governed("mainland");
    let (labels, annotations) = (shop.labels(), shop.object()["metadata"]["annotations"].clone());
    let owned: std::collections::BTreeMap<_, _> =
        labels.iter().filter(|(key, _)| LABELS.contains(&key.as_str())).collect();
    let same = Manifest(json!({
        "apiVersion": "v1", "kind": "Namespace",
        "metadata": {"name": shop.name, "labels": owned, "annotations": {"domicile.dev/networks": annotations["domicile.dev/networks"], "domicile.dev/storage-classes": annotations["domicile.dev/storage-classes"]}},
    }));
    stage.tenant.apply(&same).expected();
    let leave = json!({"metadata": {"labels": {"domicile.dev/residency": null}}});
    stage.platform_team().patch(&NAMESPACE, "", &shop.name, &leave).expected();
    eventually("the keys are gone", SOON, || {
        let metadata = shop.object()["metadata"].clone();
        when(
            LABELS.iter().all(|key| metadata["labels"][key].is_null())
                && metadata["annotations"]["domicile.dev/networks"].is_null(),
            || metadata.to_string(),
        )
    });
}

/// Where the namespace itself takes nothing more, what runs in it is isolated all the same.
#[test]
fn a_namespace_that_cannot_be_closed_is_isolated() {
    let stage = shared();
    let space = stage.ungoverned();
    let key = "example.com/ballast";
    let ballast = "x".repeat(256 * 1024 - key.len());
    space.tenant.patch(&NAMESPACE, "", &space.name, &json!({"metadata": {"annotations": {key: ballast}}})).expected();
    space.label("domicile.dev/residency", "mainland");
    eventually("it is isolated", SOON, || {
        when(space.find(&NETWORK_POLICY, "domicile-isolate").is_some(), || {
            space.object()["metadata"]["labels"].to_string()
        })
    });
    stage.tenant.create(&bare_claim("data").in_namespace(&space.name)).refused("[domicile/not-confined]");
    space.tenant.patch(&NAMESPACE, "", &space.name, &json!({"metadata": {"annotations": {key: null}}})).expected();
    space.is_confined();
}

#[test]
fn a_confinement_that_cannot_be_written_is_not_a_frozen_one() {
    let stage = shared();
    let residency = stage.makes_residency("to-be-frozen", "{jurisdictions: [CN]}");
    let shop = stage.governed("to-be-frozen");
    shop.accepts(shop.pod("before"));
    // The API server lets a namespace have 256 KiB of annotations: fill them to the brim.
    let used: usize = shop.object()["metadata"]["annotations"]
        .as_object()
        .unwrap()
        .iter()
        .map(|(key, value)| key.len() + value.as_str().unwrap().len())
        .sum();
    let key = "example.com/ballast";
    let ballast = "x".repeat(256 * 1024 - used - key.len());
    shop.tenant.patch(&NAMESPACE, "", &shop.name, &json!({"metadata": {"annotations": {key: ballast}}})).expected();
    // The residency now refuses everything, which takes more letters than there is room for.
    residency.becomes("spec: {jurisdictions: [BR]}");
    let after = shop.pod("after").in_namespace(&shop.name);
    eventually("nothing starts any more, and that says why", SOON, || {
        let reply = stage.tenant.try_create(&after);
        let all = ["[domicile/not-confined]", "Take away what fills it up"];
        when(all.iter().all(|words| reply.message.contains(words)), || format!("{} {}", reply.code, reply.message))
    });
    eventually("it is told", SOON, || {
        let status = stage.becomes("to-be-frozen", "PlacementEnforced", "False")["status"].clone();
        when(status["conditions"].to_string().contains("what is to hold cannot be written"), || status.to_string())
    });
    // What runs is held as it was: by Pod Security, and by the policies that go by the mode.
    assert_eq!(shop.labels()["domicile.dev/enforcement"], "Enforce");
    cannot(
        &shop,
        |object| object["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] = json!("privileged"),
        "[domicile/pod-security]",
    );
    shop.tenant.patch(&NAMESPACE, "", &shop.name, &json!({"metadata": {"annotations": {key: null}}})).expected();
    residency.becomes("spec: {jurisdictions: [CN]}");
    eventually("what is to hold is written", SOON, || {
        let reply = stage.tenant.try_create(&after);
        when(reply.ok(), || reply.message)
    });
}

/// etcd takes objects of 1.5 MiB, and nothing but that bounds finalizers.
#[test]
fn a_namespace_that_is_full_of_finalizers_is_closed_too() {
    let stage = shared();
    let residency = stage.makes_residency("to-be-full", "{jurisdictions: [CN], enforcement: Warn}");
    let shop = stage.governed("to-be-full");
    // Without managers of fields nothing is left that could shrink.
    let writes = |mut metadata: Value| {
        metadata["managedFields"] = json!([{}]);
        stage.tenant.patch(&NAMESPACE, "", &shop.name, &json!({"metadata": metadata}))
    };
    let domain = format!("{}.example.com", ["x".repeat(60), "y".repeat(60), "z".repeat(60)].join("."));
    let finalizers: Vec<String> = (0..6800).map(|number| format!("{domain}/{number}")).collect();
    writes(json!({"finalizers": finalizers})).expected();
    let (mut fits, mut too_long) = (0_usize, 256 * 1024);
    while too_long - fits > 64 {
        let length = fits.midpoint(too_long);
        let reply = writes(json!({"annotations": {"example.com/ballast": "x".repeat(length)}}));
        if reply.ok() { fits = length } else { too_long = length }
    }
    assert!(fits > 0 && too_long < 200 * 1024, "{fits}: it is not etcd that bounds it");
    residency.becomes("spec: {enforcement: Enforce}");
    let abroad = bare_pod("abroad").with("spec: {nodeName: frankfurt-a}").in_namespace(&shop.name);
    eventually("nothing starts in it", SOON, || {
        let reply = stage.tenant.try_create(&abroad);
        when(reply.message.contains("[domicile/not-confined]"), || reply.message)
    });
    writes(json!({"annotations": {"example.com/ballast": null}, "finalizers": null})).expected();
    eventually("it is confined", SOON, || {
        let reply = stage.tenant.try_create(&abroad);
        when(reply.message.contains("[domicile/node-name]"), || reply.message)
    });
}

/// A name that nobody has hides nothing of what breaks the residencies that exist, and isolates no less.
#[test]
fn what_breaks_a_residency_is_told_though_the_label_names_nobody_as_well() {
    let stage = shared();
    let residency = stage.makes_residency("half-named", "{jurisdictions: [CN], enforcement: Warn}");
    let shop = stage.governed("half-named");
    shop.accepts(bare_pod("abroad").with("spec: {nodeName: frankfurt-a}"));
    shop.runs("abroad");
    shop.label("domicile.dev/residency", "half-named_nobody-has-this");
    shop.comes_to_reject(shop.pod("web"), "[domicile/not-confined]");
    eventually("it is told, and why", SOON, || {
        let status = stage.becomes("half-named", "Compliant", "False")["status"].to_string();
        let all = ["/abroad: it runs on node frankfurt-a", "there is no DataResidency nobody-has-this"];
        when(all.iter().all(|words| status.contains(words)), || status)
    });
    residency.becomes("spec: {enforcement: Enforce}");
    eventually("what runs is isolated", SOON, || {
        when(shop.find(&NETWORK_POLICY, "domicile-isolate").is_some(), || "there is no policy".into())
    });
}

/// Whoever writes a namespace without a pause keeps nothing out of it.
#[test]
fn a_namespace_that_is_written_all_the_time_keeps_no_older_rule() {
    let stage = shared();
    let residency = stage.makes_residency("hammered", "{jurisdictions: [CN], network: {exposure: Allow}}");
    let shop = stage.governed("hammered");
    let door = "{apiVersion: v1, kind: Service, metadata: {name: door}, spec: {type: LoadBalancer, externalTrafficPolicy: Local, ports: [{port: 80}]}}";
    shop.would_ask(door).expected();
    let (done, writes) = (AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        let _ends = Ends(&done);
        for writer in 0..3 {
            let (stage, shop, done, writes) = (&stage, &shop, &done, &writes);
            scope.spawn(move || {
                while !done.load(Ordering::Relaxed) {
                    let number = writes.fetch_add(1, Ordering::Relaxed);
                    let permit = if number % 2 == 0 { "All" } else { "None" };
                    let note = json!({format!("example.com/writer-{writer}"): number.to_string()});
                    let metadata = json!({"labels": {"domicile.dev/permit": permit}, "annotations": note});
                    let _ = stage.tenant.patch(&NAMESPACE, "", &shop.name, &json!({"metadata": metadata}));
                }
            });
        }
        let written = |least: usize| {
            eventually(&format!("it was written {least} times"), SOON, || {
                let number = writes.load(Ordering::Relaxed);
                when(number >= least, || number.to_string())
            });
        };
        written(20);
        residency.becomes("spec: {network: {exposure: Deny}}");
        eventually("what is withdrawn is refused", SOON, || {
            let reply = stage.tenant.try_create(&Manifest::from(door).in_namespace(&shop.name));
            when(!reply.ok(), || format!("it is let through after {} writes", writes.load(Ordering::Relaxed)))
        });
        written(writes.load(Ordering::Relaxed) + 6); // and they went on
    });
    eventually("the rule stands", SOON, || {
        let rules = ["exposure", "refused-because"].map(|key| shop.annotation(&format!("domicile.dev/{key}")));
        when(rules == ["Deny", "-"], || format!("{rules:?}"))
    });
}

/// A name that nobody has keeps no permission up that was withdrawn.
#[test]
fn what_is_withdrawn_is_closed_though_the_label_names_what_does_not_exist() {
    let stage = shared();
    let allowed = "{jurisdictions: [CN], network: {egress: {allow: [{name: partner, cidrs: [203.0.113.0/24]}]}}}";
    let residency = stage.makes_residency("withdrawn", allowed);
    let shop = stage.governed("withdrawn");
    let permits = || shop.get(&NETWORK_POLICY, "domicile-permit")["spec"].to_string().contains("203.0.113.0/24");
    eventually("it is permitted", SOON, || when(permits(), || "it is not".into()));
    shop.label("domicile.dev/residency", "withdrawn_nobody-has-this");
    shop.comes_to_reject(shop.pod("web"), "[domicile/not-confined]");
    residency.becomes("spec: {network: {egress: {allow: []}}}");
    eventually("it is permitted no more", SOON, || when(!permits(), || "it is".into()));
}

#[test]
fn pod_security_may_only_be_raised() {
    let stage = shared();
    let shop = stage.governed("mainland");
    assert_eq!(shop.labels()["pod-security.kubernetes.io/enforce"], "baseline");
    cannot(
        &shop,
        |object| object["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] = json!("privileged"),
        "[domicile/pod-security]",
    );
    cannot(
        &shop,
        |object| {
            drop(object["metadata"]["labels"].as_object_mut().unwrap().remove("pod-security.kubernetes.io/enforce"))
        },
        "[domicile/pod-security]",
    );
    cannot(
        &shop,
        |object| object["metadata"]["labels"]["pod-security.kubernetes.io/enforce-version"] = json!("v1.33"),
        "[domicile/pod-security-version]",
    );
    shop.label("pod-security.kubernetes.io/enforce", "restricted");
    never("the operator lowers what an owner raised", Duration::from_secs(2), || {
        let level = shop.labels()["pod-security.kubernetes.io/enforce"].clone();
        (level != "restricted").then_some(level)
    });
    cannot(
        &shop,
        |object| object["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] = json!("baseline"),
        "[domicile/pod-security]",
    );
}

#[test]
fn a_label_names_what_could_exist() {
    let stage = shared();
    let free = stage.ungoverned();
    for value in [
        "Mainland",
        "main.land",
        "mainland_none",
        "mainland__battery",
        "",
        "a_b_c_d_e_f_g_h_i",
        "a-name-of-thirty-one-characters",
        "mainland_domicile-canary", // whose namespaces are left out of reports
    ] {
        let labels = json!({"metadata": {"labels": {"domicile.dev/residency": value}}});
        let said = stage.tenant.patch(&NAMESPACE, "", &free.name, &labels).refused("[domicile/residency-value]");
        assert!(said.contains("at most eight"), "{said}");
    }
    let permit = json!({"metadata": {"labels": {"domicile.dev/permit": "Nothing"}}});
    stage.tenant.patch(&NAMESPACE, "", &free.name, &permit).refused("[domicile/permit-value]");
}

#[test]
fn p20b_what_the_cluster_stands_on_is_never_governed() {
    let stage = shared();
    for name in ["kube-system", "kube-public", "kube-node-lease", "domicile-system"] {
        let labels = json!({"metadata": {"labels": {"domicile.dev/residency": "mainland"}}});
        stage.admin.patch(&NAMESPACE, "", name, &labels).refused("[domicile/ungoverned]");
    }
}

#[test]
fn p17c_only_the_namespace_controller_finishes_a_governed_namespace() {
    let stage = shared();
    let shop = stage.governed("mainland");
    let path = format!("{}/finalize", NAMESPACE.path("", &shop.name));
    let finalize = |user: &User, finalizers: &[&str]| {
        writes(user, &shop, &path, |object| object["spec"]["finalizers"] = json!(finalizers))
    };
    for user in [&stage.tenant, &stage.admin] {
        finalize(user, &[]).refused("[domicile/finalize]");
    }
    // What others put there, others may take out: otherwise nothing could end.
    finalize(&stage.tenant, &["kubernetes", "example.com/hold"]).expected();
    finalize(&stage.tenant, &["kubernetes"]).expected();
}
