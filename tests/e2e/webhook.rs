//! The mutating webhook, where the API server has no mutating admission policies (before 1.36): it does the same, it only
//! helps, and it is there only where it is needed.

use std::{
    net::TcpStream,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
};

use domicile::{
    observe,
    webhook::decide::{Request, decide},
};

use crate::support::prelude::*;

const SYSTEM: &str = "domicile-system";
const CERTIFICATE: &str = "domicile-webhook";

/// What is decided about an object in a namespace as it stands now.
fn decided(shop: &Namespace, kind: (&str, &str), object: &Value) -> Value {
    let space: k8s_openapi::api::core::v1::Namespace = serde_json::from_value(shop.object()).unwrap();
    let resource = json!({"group": kind.0, "version": "v1", "resource": kind.1});
    let asked = json!({"uid": "1", "resource": resource, "namespace": shop.name, "object": object});
    let request: Request = serde_json::from_value(asked).unwrap();
    let mut object = object.clone();
    json_patch::patch(&mut object, &decide(&request, Some(&observe::Namespace::from(space)))).unwrap();
    object
}

/// Peers that are permitted, or can be narrowed until they are.
const PEERS: [&str; 16] = [
    "{ipBlock: {cidr: 0.0.0.0/0}}",
    "{ipBlock: {cidr: '::/0'}}",
    "{ipBlock: {cidr: 10.20.0.0/16}}",
    "{ipBlock: {cidr: 10.20.7.0/24}}",
    "{podSelector: {}}",
    "{podSelector: {matchLabels: {app: db}}}",
    "{namespaceSelector: {}}",
    "{namespaceSelector: {}, podSelector: {}}",
    "{namespaceSelector: {}, podSelector: {matchLabels: {app: db}}}",
    "{namespaceSelector: {matchLabels: {team: maps}}}",
    "{namespaceSelector: {matchExpressions: [{key: team, operator: NotIn, values: [ads]}]}, podSelector: {matchLabels: {app: db}}}",
    "{namespaceSelector: {}, podSelector: {matchLabels: {k8s-app: kube-dns}}}",
    "{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: kube-system}}}",
    "{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: kube-system}}, podSelector: {matchExpressions: [{key: k8s-app, operator: In, values: [kube-dns, coredns]}]}}",
    "{namespaceSelector: {matchExpressions: [{key: kubernetes.io/metadata.name, operator: In, values: [kube-system, other]}]}}",
    "{namespaceSelector: {matchExpressions: [{key: domicile.dev/enforcement, operator: In, values: [Enforce]}, {key: domicile.dev/peer, operator: In, values: ['true']}, {key: domicile.dev/confined-for, operator: In, values: [other]}]}}",
];

#[test]
fn policies_and_webhook_narrow_alike() {
    let stage = shared();
    // Of a residency of its own, so that its peers do not change with every other test.
    let _residency = stage.makes_residency("alike", "{jurisdictions: [CN]}");
    let shop = stage.governed("alike");
    let list = |peers: &[&str]| parse(&format!("[{}]", peers.join(", ")));
    let mut lists: Vec<Value> = PEERS.iter().map(|peer| list(&[peer])).collect();
    lists.extend(PEERS.windows(3).map(list));
    lists.extend([json!([]), list(&PEERS)]);
    let mut rules: Vec<(Value, Value)> =
        lists.into_iter().map(|peers| (json!({"to": peers}), json!({"from": peers}))).collect();
    // The node's own DNS asked for names stays as it is, whatever is narrowed beside it.
    let names = "{to: [{ipBlock: {cidr: 169.254.20.10/32}}, {ipBlock: {cidr: 0.0.0.0/0}}], ports: [{port: 53, protocol: UDP}, {port: 53, protocol: TCP}]}";
    rules.push((parse(names), json!({})));
    for (egress, ingress) in rules {
        let policy = Manifest(json!({
            "apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": {"name": "own"},
            "spec": {"podSelector": {}, "policyTypes": ["Ingress", "Egress"], "egress": [egress, {}], "ingress": [ingress]},
        }));
        eventually(&format!("{egress} is narrowed alike"), SOON, || {
            let made = shop.would_ask(policy.clone());
            when(made.ok(), || format!("{} {}", made.code, made.message))?;
            let ours = decided(&shop, ("networking.k8s.io", "networkpolicies"), &policy.0);
            let part = |policy: &Value| json!([policy["spec"]["egress"], policy["spec"]["ingress"]]);
            let (theirs, ours) = (part(&made.object), part(&without_empty_lists(&ours)));
            when(theirs == ours, || format!("the API server says {theirs}, and the webhook {ours}"))
        });
    }
}

/// As the API server sends it back: an empty list of peers is left out.
fn without_empty_lists(policy: &Value) -> Value {
    let mut policy = policy.clone();
    for (direction, peers) in [("egress", "to"), ("ingress", "from")] {
        for rule in policy["spec"][direction].as_array_mut().unwrap() {
            if rule[peers].as_array().is_some_and(Vec::is_empty) {
                rule.as_object_mut().unwrap().remove(peers);
            }
        }
    }
    policy
}

#[test]
fn policies_and_webhook_pin_alike() {
    let stage = shared();
    let _residency = stage.makes_residency("alike-too", "{jurisdictions: [CN]}");
    let shop = stage.governed("mainland_alike-too");
    let pin = |name: &str| format!("{PIN}{name}: 'true'");
    let selectors =
        [String::new(), "disk: fast".into(), pin("mainland"), format!("{}, {}", pin("mainland"), pin("alike-too"))];
    for selector in selectors {
        let pod = bare_pod("web").with(&format!("spec: {{nodeSelector: {{{selector}}}}}"));
        let made = shop.would_ask(pod.clone()).expected();
        assert_eq!(made["spec"]["nodeSelector"], decided(&shop, ("", "pods"), &pod.0)["spec"]["nodeSelector"]);
        let set =
            shop.daemon_set("agent").with(&format!("spec: {{template: {{spec: {{nodeSelector: {{{selector}}}}}}}}}"));
        let made = shop.would_ask(set.clone()).expected();
        let pins = |set: &Value| set["spec"]["template"]["spec"]["nodeSelector"].clone();
        assert_eq!(pins(&made), pins(&decided(&shop, ("apps", "daemonsets"), &set.0)));
    }
}

#[test]
fn a_pod_of_a_megabyte_is_pinned() {
    let stage = shared();
    let shop = stage.governed("mainland");
    let words: Vec<Value> =
        (0..1000).map(|number| json!({"name": format!("WORD_{number}"), "value": "x".repeat(1000)})).collect();
    let mut pod = bare_pod("large");
    pod.0["spec"]["containers"][0]["env"] = json!(words);
    assert_eq!(shop.would_ask(pod).expected()["spec"]["nodeSelector"], json!(shop.pins()));
}

#[test]
fn status_says_what_fills_in_what_is_left_out() {
    let stage = shared();
    let _residency = stage.makes_residency("told-of", "{jurisdictions: [CN]}");
    let status = stage.becomes("told-of", "Ready", "True")["status"].clone();
    let expected = match (stage.mutates(), stage.has_mutating_policies()) {
        (false, _) => "None",
        (true, true) => "MutatingAdmissionPolicy",
        (true, false) => "Webhook",
    };
    assert_eq!(status["enforcedBy"]["mutation"], expected, "{status}");
    assert_eq!(status["enforcedBy"]["placement"], "AdmissionPolicy", "the policies refuse, whatever mutates");
}

/// With the operator dead nothing is mutated before 1.36: what is written whole passes, and a refusal says what to write.
#[test]
fn n19_without_the_webhook_what_is_written_whole_passes_and_the_rest_is_told_what_to_add() {
    let stage = alone();
    let mut shop = stage.governed("mainland");
    let wide = "{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {name: wide}, spec: {podSelector: {}, policyTypes: [Egress], egress: [{}]}}";
    let pinned = json!({"nodeSelector": shop.pins()});
    stage.operator.kill();
    shop.loses_the_operator();
    if stage.has_mutating_policies() {
        assert_eq!(shop.accepts(bare_pod("bare"))["spec"]["nodeSelector"], pinned["nodeSelector"]);
        assert_eq!(shop.accepts(bare_claim("bare"))["spec"]["storageClassName"], "mainland-ssd");
        shop.accepts(wide);
    } else {
        let refused = |manifest: Manifest, rule: &str| {
            let said = stage.tenant.create(&manifest.in_namespace(&shop.name)).refused(rule);
            assert!(said.contains("ry again"), "{said}");
            said
        };
        let said = refused(bare_pod("bare"), "[domicile/placement]");
        assert!(said.contains(&format!("Add to its nodeSelector {PIN}mainland: \"true\"")), "{said}");
        let said = refused(bare_claim("bare"), "[domicile/not-confined]");
        assert!(said.contains("mainland-ssd") && said.contains("or name the class"), "{said}");
        let said = refused(Manifest::from(wide), "[domicile/network-any]");
        assert!(said.contains("10.20.0.0/16"), "{said}");
        let mut copy = shop.object();
        copy["metadata"] = json!({"name": fresh_name(), "labels": {"domicile.dev/peer": "true"}});
        stage.tenant.create(&Manifest(copy)).refused("[domicile/confinement]");
    }
    shop.accepts(bare_pod("whole").with(&json!({"spec": pinned}).to_string()));
    shop.runs("whole");
    shop.accepts(bare_claim("whole").with("spec: {storageClassName: mainland-ssd}"));

    stage.operator.start().unwrap();
    let next = stage.governed("mainland");
    assert_eq!(next.accepts(bare_pod("bare"))["spec"]["nodeSelector"], pinned["nodeSelector"]);
}

/// The bundles that the webhooks trust, each once.
fn trusted(stage: &Turn) -> Vec<String> {
    let webhooks = stage.admin.get(&WEBHOOKS, "", "domicile")["webhooks"].as_array().unwrap().clone();
    let mut bundles: Vec<String> =
        webhooks.iter().map(|one| one["clientConfig"]["caBundle"].as_str().unwrap_or_default().to_owned()).collect();
    bundles.dedup();
    bundles
}

#[test]
fn its_certificate_is_renewed_without_an_unmutated_request() {
    let stage = alone();
    if stage.has_mutating_policies() {
        assert!(stage.admin.find(&WEBHOOKS, "", "domicile").is_none(), "there is a webhook that nobody needs");
        assert!(stage.admin.find(&SECRET, SYSTEM, CERTIFICATE).is_none());
        return;
    }
    let _quiet = AllSeats::take(); // an answer that comes too late for want of a processor counts here
    let shop = stage.governed("mainland");
    shop.would_ask(bare_pod("web")).expected();
    let data = || stage.admin.get(&SECRET, SYSTEM, CERTIFICATE)["data"].clone();
    let before = data();
    let (stop, pinned) = (AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        let _ends = Ends(&stop);
        let hammer = || {
            let mut unmutated = Vec::new();
            while !stop.load(Ordering::Relaxed) {
                let reply = stage.tenant.try_create(&bare_pod("web").in_namespace(&shop.name));
                if reply.ok() && reply.object["spec"]["nodeSelector"] == json!(shop.pins()) {
                    pinned.fetch_add(1, Ordering::Relaxed);
                } else {
                    unmutated
                        .push(format!("{} {} {}", reply.code, reply.message, reply.object["spec"]["nodeSelector"]));
                }
            }
            unmutated
        };
        let hammers = [scope.spawn(hammer), scope.spawn(hammer)];
        stage.admin.patch(&SECRET, SYSTEM, CERTIFICATE, &json!({"data": {"renew-after": null}})).expected();
        let both = eventually("the old and the new authority are trusted", SOON, || {
            let trusted = trusted(&stage);
            let so = trusted.len() == 1 && data()["next-ca.crt"].is_string() && data()["tls.crt"] == before["tls.crt"];
            when(so && trusted[0].len() > before["ca.crt"].as_str().unwrap().len() * 3 / 2, || format!("{trusted:?}"))?;
            Ok(trusted)
        });
        eventually("the new certificate is served, and only its authority is trusted", LATER, || {
            let (now, trusted) = (data(), trusted(&stage));
            let renewed = now["tls.crt"] != before["tls.crt"] && now["ca.crt"] != before["ca.crt"];
            when(renewed && trusted == [now["ca.crt"].as_str().unwrap()], || format!("{trusted:?}"))
        });
        assert!(!both.contains(&before["ca.crt"].as_str().unwrap().to_owned()));
        let asked = pinned.load(Ordering::Relaxed);
        eventually("questions go on", SOON, || when(pinned.load(Ordering::Relaxed) > asked + 50, || "not yet".into()));
        stop.store(true, Ordering::Relaxed);
        let unmutated: Vec<String> = hammers.into_iter().flat_map(|hammer| hammer.join().unwrap()).collect();
        assert!(unmutated.is_empty(), "{} of the requests were not mutated: {}", unmutated.len(), unmutated[0]);
    });
    say(&format!("{} pods were pinned while the webhook's certificate was renewed", pinned.into_inner()));
}

#[test]
fn a_bundle_that_somebody_takes_away_is_put_back() {
    let stage = alone();
    if stage.has_mutating_policies() {
        return assert!(stage.admin.find(&WEBHOOKS, "", "domicile").is_none());
    }
    let before = trusted(&stage);
    stage.admin.kubectl("patch mutatingwebhookconfiguration domicile --type=json -p [{\"op\":\"remove\",\"path\":\"/webhooks/0/clientConfig/caBundle\"}]").expected();
    eventually("the bundle is back", SOON, || {
        let now = trusted(&stage);
        when(now == before, || format!("{now:?}"))
    });
}

/// Whoever reaches the webhook's port can open connections and say nothing.
#[test]
fn silent_connections_hold_up_no_question() {
    let stage = shared();
    if stage.has_mutating_policies() {
        return assert!(stage.admin.find(&WEBHOOKS, "", "domicile").is_none());
    }
    let shop = stage.governed("mainland");
    let address = stage.operator.serves_webhook();
    for round in 0..3 {
        let silent: Vec<TcpStream> = (0..100).map(|_| TcpStream::connect(address).unwrap()).collect();
        let pod = shop.accepts(bare_pod(&format!("web-{round}")));
        assert_eq!(pod["spec"]["nodeSelector"], json!(shop.pins()), "beside {} silent connections", silent.len());
    }
}

/// Waits until the status says what mutates.
#[track_caller]
fn is_mutated_by(stage: &Turn, expected: &str) {
    eventually(&format!("{expected} mutates"), SOON, || {
        let status = stage.admin.get(&DATA_RESIDENCY, "", "mainland")["status"].clone();
        when(status["enforcedBy"]["mutation"] == expected, || status.to_string())
    });
    stage.becomes("mainland", "Ready", "True");
}

#[test]
fn it_can_be_switched_off_where_it_is_needed_and_on_where_it_is_not() {
    let stage = to_install_anew();
    let set = |values: &[&str]| {
        let words = ["upgrade", "domicile", CHART, "--reuse-values"];
        let values = values.iter().flat_map(|value| ["--set", value]);
        stage.helm(&words.into_iter().chain(values).collect::<Vec<_>>()).unwrap();
    };
    let restart = || {
        stage.operator.kill();
        stage.operator.start().unwrap();
    };
    let shop = stage.governed("mainland");
    if stage.has_mutating_policies() {
        let url = format!("webhook.url=https://{}", stage.operator.serves_webhook());
        set(&["webhook.mode=Enabled", &url]);
        restart();
        eventually("the webhook is trusted", SOON, || {
            when(trusted(&stage).iter().all(|bundle| !bundle.is_empty()), || "not yet".into())
        });
        is_mutated_by(&stage, "MutatingAdmissionPolicy");
        assert_eq!(shop.accepts(bare_pod("web"))["spec"]["nodeSelector"], json!(shop.pins()));
        set(&["webhook.mode=Auto", "webhook.url="]);
        stage.operator.serves_no_webhook();
        restart();
        assert!(stage.admin.find(&WEBHOOKS, "", "domicile").is_none());
        is_mutated_by(&stage, "MutatingAdmissionPolicy");
    } else {
        set(&["webhook.mode=Disabled"]);
        assert!(stage.admin.find(&WEBHOOKS, "", "domicile").is_none());
        is_mutated_by(&stage, "None");
        eventually("the namespace knows", SOON, || {
            let mutation = shop.annotation("domicile.dev/mutation");
            when(mutation == "-", || mutation)
        });
        let said = shop.comes_to_reject(bare_pod("web"), "[domicile/placement]");
        assert!(said.contains("Add to its nodeSelector"), "{said}");
        set(&["webhook.mode=Auto"]);
        is_mutated_by(&stage, "Webhook");
        assert_eq!(shop.accepts(bare_pod("web"))["spec"]["nodeSelector"], json!(shop.pins()));
    }
}
