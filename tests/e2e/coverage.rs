//! `domicile coverage`: what is told of a cluster is what is so there.

use std::{
    collections::{BTreeMap, BTreeSet},
    process::Command,
};

use domicile::domain::routes::routes;

use crate::support::{
    prelude::*,
    process::{run, scratch, succeed},
};

/// Kinds of other projects.
const KINDS: [AddOn; 3] = [
    add_on("cilium.io", "v2", "CiliumNetworkPolicy", "ciliumnetworkpolicies"),
    add_on("gateway.networking.k8s.io", "v1", "HTTPRoute", "httproutes"),
    add_on("multicluster.x-k8s.io", "v1alpha1", "ServiceExport", "serviceexports"),
];

fn domicile(kubeconfig: &std::path::Path, words: &str) -> Command {
    let mut domicile = Command::new(env!("CARGO_BIN_EXE_domicile"));
    domicile.arg("coverage").args(words.split_whitespace()).env("KUBECONFIG", kubeconfig);
    domicile
}

/// What the command says of a cluster.
pub fn told(stage: &Turn) -> Value {
    serde_json::from_str(&succeed(&mut domicile(&stage.cluster.kubeconfig, "--output json")).unwrap()).unwrap()
}

/// One route of what it says.
#[track_caller]
pub fn route<'a>(told: &'a Value, id: &str) -> &'a Value {
    told["routes"].as_array().unwrap().iter().find(|route| route["id"] == id).unwrap()
}

/// Waits until the canary is settled: for a moment after an install the API server has another answer to it.
#[track_caller]
fn comes_to_tell(stage: &Turn, id: &str, state: &str) -> Value {
    eventually(&format!("coverage tells {id} {state}"), SOON, || {
        let told = told(stage);
        when(route(&told, id)["state"] == state, || route(&told, id).to_string())?;
        Ok(told)
    })
}

#[test]
fn a_healthy_cluster_is_told_route_by_route() {
    let stage = shared();
    let told = comes_to_tell(&stage, "P1", "Enforced");
    assert_eq!(route(&told, "P1")["enforcedBy"], "AdmissionPolicy");
    let seen = stage.admin.get(&DATA_RESIDENCY, "", "mainland")["status"]["enforcedBy"]["mutation"].clone();
    assert_eq!(route(&told, "P3")["filledInBy"], if stage.mutates() { seen.clone() } else { Value::Null });
    for (id, state) in [
        ("N3a", "Enforced"), // the API server was seen to refuse what Pod Security forbids
        ("S19", "PluginNotSeen"),
        ("P5b", "Audited"),
        ("P12", "NotEnforceable"),
        ("P15", "Enforced"),
        ("P21", "Open"),
        ("P23", "Open"),
        ("N17", "Open"),
    ] {
        assert_eq!(route(&told, id)["state"], state, "{}", route(&told, id));
    }
    let table = succeed(&mut domicile(&stage.cluster.kubeconfig, "")).unwrap();
    for words in ["ENFORCED BY", "P1    AdmissionPolicy", "installed by the chart", "domicile policies --static"] {
        assert!(table.contains(words), "{words}: {table}");
    }
    let filled_in = seen.as_str().filter(|_| stage.mutates()).map(|by| format!("Here it is added by: {by}."));
    assert!(filled_in.is_none_or(|words| table.contains(&words)), "{table}");
}

/// For whoever looks with kubectl alone: what the command says stands in the status, too.
#[test]
fn a_status_tells_the_routes_as_the_command_does() {
    let stage = shared();
    let _watching = stage.makes_residency("routes-untold", "{jurisdictions: [CN], enforcement: Warn}");
    eventually("the status and the command agree", SOON, || {
        let told = told(&stage);
        let rows = told["routes"].as_array().unwrap();
        // Other tests serve kinds and take them away, which the status says some seconds later.
        let always: BTreeSet<&str> =
            routes().iter().filter(|route| route.groups().next().is_none()).map(|route| route.id.as_str()).collect();
        let is_there = |id: &str| always.contains(id);
        let there = rows.iter().filter(|row| is_there(row["id"].as_str().unwrap()));
        let of_command: BTreeMap<String, Value> =
            there.map(|row| (row["id"].as_str().unwrap().to_owned(), row["enforcedBy"].clone())).collect();
        let status = stage.admin.get(&DATA_RESIDENCY, "", "mainland")["status"].clone();
        let groups = status["routes"].as_array().cloned().unwrap_or_default();
        let each = groups.iter().flat_map(|group| {
            group["ids"].as_array().unwrap().iter().map(move |id| (id.as_str().unwrap().to_owned(), group))
        });
        let of_status: BTreeMap<String, &Value> = each.filter(|(id, _)| is_there(id)).collect();
        let by = |group: &&Value| group["enforcedBy"].clone();
        let same = of_status.len() == of_command.len()
            && of_command.iter().all(|(id, word)| of_status.get(id).map(by).as_ref() == Some(word));
        when(same, || format!("{groups:?}\n{of_command:?}"))?;
        // What is not closed says what would close it, in the same words.
        let remedy = |id: &str| of_status[id]["remedy"].as_str().unwrap_or_default().to_owned();
        assert_eq!(remedy("P1"), "");
        for id in ["N17", "P23", "P12", "S4", "S19"] {
            assert_eq!(remedy(id), route(&told, id)["rest"].as_str().unwrap(), "{id}");
            assert!(!remedy(id).is_empty(), "{id}");
        }
        Ok(())
    });
    let warning = stage.admin.get(&DATA_RESIDENCY, "", "routes-untold");
    assert!(warning["status"]["routes"].is_null(), "nothing is refused in Warn: {}", warning["status"]["routes"]);
}

#[test]
fn kinds_that_are_served_are_judged_and_coverage_tells_which() {
    let stage = to_install_anew();
    let shop = stage.governed("mainland");
    let before = comes_to_tell(&stage, "P1", "Enforced");
    for id in ["N2a", "N7c", "N9", "N10a"] {
        assert_eq!(route(&before, id)["state"], "NotServed", "{before}");
    }
    let _served = all_served(&stage, KINDS);
    for (kind, rule) in KINDS.into_iter().zip(["[domicile/network-kind]", "[domicile/route]", "[domicile/route]"]) {
        eventually(&format!("{} is served and refused", kind.name()), SOON, || {
            let reply = stage.admin.post(&kind.collection(&shop), &kind.object("way", &json!({"any": "thing"})));
            when(reply.message.contains(rule), || format!("{} {}", reply.code, reply.message))
        });
    }
    let after = comes_to_tell(&stage, "N10a", "Enforced");
    for (id, state) in [("N2a", "Enforced"), ("N2c", "Open"), ("N7c", "Enforced"), ("N10a", "Enforced")] {
        assert_eq!(route(&after, id)["state"], state, "{}", route(&after, id));
    }
}

#[test]
fn a_policy_that_is_gone_closes_nothing_any_more() {
    let stage = to_install_anew();
    comes_to_tell(&stage, "P1", "Enforced");
    stage.admin.kubectl("delete validatingadmissionpolicybinding domicile-bindings-enforce").expected();
    let told = told(&stage);
    assert_eq!(route(&told, "P2")["state"], "Open", "{told}");
    assert!(route(&told, "P2")["rest"].as_str().unwrap().contains("domicile-bindings-enforce"), "{told}");
    stage.helm(&["upgrade", "domicile", CHART, "--reuse-values"]).unwrap();
    comes_to_tell(&stage, "P2", "Enforced");
}

/// What mutates is found by asking, not by what is served: a policy that is stored and bound by nothing mutates nothing.
#[test]
fn what_is_served_and_mutates_nothing_is_not_told_to() {
    let stage = to_install_anew();
    comes_to_tell(&stage, "P1", "Enforced");
    let mutates = |word: &str| {
        eventually(&format!("the status says that {word} mutates"), SOON, || {
            let by = stage.admin.get(&DATA_RESIDENCY, "", "mainland")["status"]["enforcedBy"]["mutation"].clone();
            when(by == word, || by.to_string())
        });
    };
    let word = if stage.has_mutating_policies() { "MutatingAdmissionPolicy" } else { "Webhook" };
    mutates(word);
    let part = if stage.has_mutating_policies() {
        "mutatingadmissionpolicybinding domicile-placement-pods"
    } else {
        "mutatingwebhookconfiguration domicile"
    };
    stage.admin.kubectl(&format!("delete {part}")).expected();
    mutates("None");
    assert!(route(&told(&stage), "P3")["filledInBy"].is_null());
    stage.helm(&["upgrade", "domicile", CHART, "--reuse-values"]).unwrap();
    mutates(word);
    stage.becomes("mainland", "Ready", "True");
}

#[test]
fn who_cannot_ask_is_told_why() {
    let stage = shared();
    let says = |kubeconfig: &std::path::Path, words: &str| {
        let output = run(&mut domicile(kubeconfig, words)).unwrap();
        assert!(!output.status.success());
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    let nobody = scratch().join("no-such.kubeconfig");
    let said = says(&nobody, "");
    assert!(said.contains("no cluster to ask") && said.contains("KUBECONFIG"), "{said}");
    let said = says(&stage.cluster.kubeconfig, "--namespace elsewhere");
    assert!(said.contains("no Domicile in namespace elsewhere") && said.contains("--namespace"), "{said}");
    let said = says(&stage.cluster.kubeconfig, "--context none");
    assert!(said.contains("no cluster to ask"), "{said}");
    // A user without rights: the administrator's kubeconfig, acting as somebody.
    let mut config: Value =
        serde_saphyr::from_str(&std::fs::read_to_string(&stage.cluster.kubeconfig).unwrap()).unwrap();
    for user in config["users"].as_array_mut().unwrap() {
        user["user"]["as"] = json!("passer-by");
    }
    let stranger = scratch().join("stranger.kubeconfig");
    std::fs::write(&stranger, config.to_string()).unwrap();
    let said = says(&stranger, "");
    for words in [
        "may not get configmaps domicile-policy-values",
        "create pods in namespace domicile-canary",
        "list validatingadmissionpolicies",
        "--help",
    ] {
        assert!(said.contains(words), "{words}: {said}");
    }
}
