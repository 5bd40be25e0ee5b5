//! Status: counts, conditions, columns and events by which people and tools know what holds.

use crate::support::prelude::*;

#[test]
fn counts_follow() {
    let stage = shared();
    let _residency = stage.makes_residency("counted", "{jurisdictions: [CN], storage: {classes: [{name: counted-ssd, provisioner: diskplugin.csi.alibabacloud.com, default: true}]}}");
    let shop = stage.governed("counted");
    shop.accepts(shop.claim("data"));
    shop.accepts(shop.pod("web"));
    shop.runs("web");
    let other = stage.namespace("{domicile.dev/residency: counted_nobody-made-this}");
    eventually("the status counts them", SOON, || {
        let status = stage.admin.get(&DATA_RESIDENCY, "", "counted")["status"].clone();
        let so = status["dataCenters"] == json!(["beijing-2", "shanghai-1"])
            && status["nodes"]["eligible"] == 4
            && status["namespaces"]["named"] == 2
            && status["namespaces"]["confined"] == 1
            && status["governed"] == json!({"pods": 1, "volumeClaims": 1});
        when(so, || status.to_string())
    });
    // A namespace that waits for a residency which does not exist is not confined, so not everything is in force.
    stage.becomes("counted", "Ready", "False");
    other.is_deleted();
    stage.becomes("counted", "Ready", "True");
}

#[test]
fn conditions_are_complete() {
    let stage = shared();
    let _residency = stage.makes_residency("conditioned", "{jurisdictions: [CN]}");
    let _shop = stage.governed("conditioned");
    let seen = stage.becomes("conditioned", "Ready", "True");
    for expected in ["Accepted", "PlacementEnforced", "StorageEnforced"] {
        assert_eq!(condition(&seen, expected), "True", "{expected}: {}", seen["status"]);
    }
    assert_ne!(condition(&seen, "NetworkEnforced"), "-", "{}", seen["status"]);
    assert_ne!(condition(&seen, "NetworkEnforced"), "False", "{}", seen["status"]);
    assert_eq!(condition(&seen, "Compliant"), "True", "{}", seen["status"]);
    for condition in seen["status"]["conditions"].as_array().unwrap() {
        assert_eq!(condition["observedGeneration"], seen["metadata"]["generation"], "{condition}");
        for field in ["reason", "message", "lastTransitionTime"] {
            assert!(condition[field].as_str().is_some_and(|text| !text.is_empty()), "{field} of {condition}");
        }
    }
    let enforced = seen["status"]["enforcedBy"].clone();
    assert_eq!(
        (&enforced["placement"], &enforced["storage"]),
        (&json!("AdmissionPolicy"), &json!("AdmissionPolicy")),
        "{enforced}"
    );
    assert_eq!(enforced["network"], "NetworkPolicy", "{enforced}");
}

#[test]
fn kubectl_shows_columns_and_waits() {
    let stage = shared();
    let _residency = stage.makes_residency("shown", "{jurisdictions: [CN]}");
    let _shop = stage.governed("shown");
    stage.admin.kubectl("wait --for=condition=Ready dres/shown --timeout=180s").expected();
    let table = eventually("the namespace is counted", SOON, || {
        let table = stage.admin.kubectl("get dres shown").expected();
        when(table.contains("1/1"), || table.clone())?;
        Ok(table)
    });
    let mut lines = table.lines();
    let titles = lines.next().unwrap();
    let mut from = 0;
    for title in [
        "NAME",
        "JURISDICTIONS",
        "MODE",
        "DATA CENTERS",
        "NODES",
        "NAMESPACES",
        "FINDINGS",
        "COMPLIANT",
        "READY",
        "AGE",
    ] {
        from += titles[from..].find(title).unwrap_or_else(|| panic!("no column {title} after the others: {titles}"));
    }
    let row = lines.next().unwrap();
    for cell in ["shown", " CN ", "Enforce", "beijing-2,shanghai-1", "4/", "1/1", "True"] {
        assert!(row.contains(cell), "{cell} is not in {row}");
    }
    let wide = stage.admin.kubectl("get dres shown -o wide").expected();
    assert!(wide.contains("NETWORK") && wide.contains("WORST FINDING") && wide.contains("NetworkPolicy"), "{wide}");
    let centers = stage.admin.kubectl("get dc shanghai-1").expected();
    for title in ["JURISDICTION", "PLACE", "CLAIMED", "VERIFIED", "READY", "AGE", "CN", "Shanghai", "True"] {
        assert!(centers.contains(title), "{title} is not in {centers}");
    }
    stage.admin.kubectl("explain dres.spec.network.egress").expected();
}

#[test]
fn events_are_counted_and_not_repeated() {
    let stage = shared();
    let _residency = stage.makes_residency("eventful", "{jurisdictions: [CN]}");
    let mut shop = stage.ungoverned();
    shop.accepts(bare_pod("away").with("spec: {nodeName: hongkong-a}"));
    shop.runs("away");
    shop.joins("eventful");
    shop.tells(&["Pod", "away", "hongkong-a"]);
    // Change around it does not make the same fact news again.
    for number in 0..5 {
        shop.accepts(shop.pod(&format!("web-{number}")));
        shop.runs(&format!("web-{number}"));
    }
    let told = shop.events().into_iter().filter(|event| event.contains("Pod away") && event.contains("hongkong-a"));
    assert_eq!(told.count(), 1, "the same fact was told again: {}", shop.events().join("\n"));
    let confined = eventually("an event says that the namespace is confined", SOON, || {
        let all = shop.events();
        let found = all.iter().filter(|event| event.starts_with("Confined Namespace")).count();
        when(found > 0, || all.join("\n"))?;
        Ok(found)
    });
    assert_eq!(confined, 1);
}

#[test]
fn what_was_told_is_not_told_again_by_the_next_operator() {
    let stage = alone();
    let mut shop = stage.ungoverned();
    shop.accepts(bare_pod("away").with("spec: {nodeName: hongkong-a}"));
    shop.runs("away");
    shop.joins("mainland");
    shop.tells(&["ResidencyBroken", "Pod", "away"]);
    stage.operator.kill();
    stage.operator.start().unwrap();
    // It judges what stands before it confines what is new.
    stage.governed("mainland").tells(&["Confined"]);
    let told: Vec<Value> =
        stage.admin.list(&EVENT, &shop.name).into_iter().filter(|event| event["reason"] == "ResidencyBroken").collect();
    let [event] = told.as_slice() else { panic!("told {} times: {told:?}", told.len()) };
    assert_eq!(event["series"], Value::Null, "told again");
}

#[test]
fn what_ends_and_begins_again_is_told_on_the_pod_and_counted() {
    let stage = shared();
    let _center = stage.makes_data_center("dubai-1", "AE", "me-east-1", 56);
    let _node = stage.makes_node("dubai-a", "me-east-1", "10.56.0.1");
    let _residency = stage.makes_residency("emirates", "{jurisdictions: [AE]}");
    let mut shop = stage.ungoverned();
    shop.accepts(bare_pod("agent").with("spec: {nodeName: dubai-a}"));
    shop.joins("emirates");
    let told = |reason: &str, times: u64| {
        eventually(&format!("{reason} is told {times} times in one event"), SOON, || {
            let all = stage.admin.list(&EVENT, &shop.name);
            let of_pod = |event: &&Value| event["reason"] == reason && event["involvedObject"]["name"] == "agent";
            let counts: Vec<u64> =
                all.iter().filter(of_pod).map(|event| event["series"]["count"].as_u64().unwrap_or(1)).collect();
            when(counts == [times], || format!("{counts:?}\n{}", shop.events().join("\n")))
        });
    };
    for times in [1, 2] {
        stage.readdress_node("dubai-a", "10.99.0.1");
        told("ResidencyBroken", times);
        stage.readdress_node("dubai-a", "10.56.0.1");
        told("ResidencyKept", times);
    }
}

#[test]
fn conditions_that_turn_are_told_on_the_residency() {
    let stage = shared();
    let residency = stage.makes_residency("turning", "{jurisdictions: [CN]}");
    let tells = |reason: &str| {
        eventually(&format!("an event {reason} on the residency"), SOON, || {
            let described = stage.admin.kubectl("describe dres turning").expected();
            let events = described.split("Events:").nth(1).unwrap_or_default().to_owned();
            when(events.contains(reason), || events)
        });
    };
    tells("Ready");
    let mut shop = stage.ungoverned();
    shop.accepts(bare_pod("away").with("spec: {nodeName: hongkong-a}"));
    shop.runs("away");
    shop.joins("turning");
    tells("NonCompliant");
    stage.admin.kubectl("delete dres turning --wait=false").expected();
    tells("HeldByNamespaces");
    drop(residency);
}
