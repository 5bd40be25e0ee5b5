//! Several residencies on one namespace: all hold, in the strictest of their modes; and a residency that is named is not deleted.

use crate::{placement::on_the_mainland, support::prelude::*};

#[test]
fn two_residencies_both_hold() {
    let stage = shared();
    let classes = "storage: {classes: [{name: battery-ssd, provisioner: diskplugin.csi.alibabacloud.com}], allowedClasses: [mainland-ssd]}";
    let _battery = stage.makes_residency(
        "battery",
        &format!("{{jurisdictions: [CN, HK], enforcement: Warn, network: {{exposure: Allow}}, {classes}}}"),
    );
    let both = stage.governed("mainland_battery");
    assert_eq!(both.labels()["domicile.dev/enforcement"], "Enforce");
    assert_eq!(both.annotation("domicile.dev/exposure"), "Deny");
    assert_eq!(both.annotation("domicile.dev/storage-classes"), "mainland-ssd");
    let pod = both.accepts(both.pod("web"));
    assert_eq!(pod["spec"]["nodeSelector"], json!(both.pins()));
    assert_eq!(both.pins().len(), 2);
    let node = both.runs("web");
    assert!(on_the_mainland(&node), "{node}");
    let said = both.rejects(both.pod("named").with("spec: {nodeName: frankfurt-a}"), "[domicile/node-name]");
    assert!(said.contains("DataResidency mainland, battery"), "{said}");
    both.rejects(bare_claim("data").with("spec: {storageClassName: battery-ssd}"), "[domicile/storage-class]");
    both.accepts(bare_claim("data").with("spec: {storageClassName: mainland-ssd}"));
    // Data of both may go where both are kept, and data of one of them not to what keeps less.
    let one = stage.governed("mainland");
    for namespace in [&one, &both] {
        namespace.accepts(namespace.pod("peer"));
        namespace.runs("peer");
    }
    let (one_pod, both_pod) = (format!("{}/peer", one.name), format!("{}/peer", both.name));
    eventually("the namespace of one residency reaches that of both", SOON, || {
        when(!stage.passes(&both_pod, &one_pod, 80), || "packets to a namespace that keeps less pass".into())
    });

    // Leaving one of them needs the verb on that one.
    let less = json!({"metadata": {"labels": {"domicile.dev/residency": "mainland"}}});
    both.tenant.patch(&NAMESPACE, "", &both.name, &less).refused("[domicile/release]");
    stage.platform_team().patch(&NAMESPACE, "", &both.name, &less).expected();
    both.is_confined();
}

#[test]
fn residencies_that_exclude_each_other_refuse() {
    let stage = shared();
    let _germany = stage.makes_residency("germany", "{jurisdictions: [DE]}");
    let both = stage.namespace("{domicile.dev/residency: mainland_germany}");
    eventually("the namespace says why nothing starts", SOON, || {
        let because = both.annotation("domicile.dev/refused-because");
        when(because.contains("in common"), || because)
    });
    let said = both.comes_to_reject(both.pod("web"), "[domicile/refused]");
    assert!(said.contains("mainland, germany"), "{said}");
}

#[test]
fn an_empty_intersection_is_a_finding_and_refuses() {
    let stage = shared();
    let class = |name: &str| {
        format!(
            "{{jurisdictions: [CN], storage: {{classes: [{{name: {name}, provisioner: diskplugin.csi.alibabacloud.com, default: true}}]}}}}"
        )
    };
    let _one = stage.makes_residency("one-of-two", &class("one-of-two-ssd"));
    let _two = stage.makes_residency("two-of-two", &class("two-of-two-ssd"));
    let both = stage.governed("one-of-two_two-of-two");
    assert_eq!(both.annotation("domicile.dev/storage-classes"), "-");
    for class in ["one-of-two-ssd", "two-of-two-ssd", "standard"] {
        both.rejects(
            bare_claim("data").with(&format!("spec: {{storageClassName: {class}}}")),
            "[domicile/storage-class]",
        );
    }
    both.accepts(both.pod("web"));
    eventually("the residency reports it", SOON, || {
        let status = stage.admin.get(&DATA_RESIDENCY, "", "one-of-two")["status"].clone();
        when(status["findings"]["items"].to_string().contains(&both.name), || status.to_string())
    });
}

#[test]
fn a_residency_that_is_named_is_not_deleted() {
    let stage = shared();
    let residency = stage.makes_residency("to-be-deleted", "{jurisdictions: [CN]}");
    let shop = stage.governed("to-be-deleted");
    stage.platform_team().delete(&DATA_RESIDENCY, "", "to-be-deleted").expected();
    eventually("its status names the namespace that holds it", SOON, || {
        let seen = residency.now();
        assert!(!seen["metadata"]["deletionTimestamp"].is_null());
        when(seen["status"]["namespaces"]["holding"].to_string().contains(&shop.name), || seen["status"].to_string())
    });
    shop.rejects(shop.pod("web").with("spec: {nodeName: frankfurt-a}"), "[domicile/node-name]");
    shop.accepts(shop.pod("web"));
    let leave = json!({"metadata": {"labels": {"domicile.dev/residency": null}}});
    stage.platform_team().patch(&NAMESPACE, "", &shop.name, &leave).expected();
    stage.admin.sees_the_end_of(&DATA_RESIDENCY, "", "to-be-deleted");
    eventually("nodes have lost its label", SOON, || {
        let left = stage
            .admin
            .list(&NODE, "")
            .into_iter()
            .find(|node| node["metadata"]["labels"].get(format!("{PIN}to-be-deleted")).is_some());
        when(left.is_none(), || left.unwrap_or_default()["metadata"]["name"].to_string())
    });
}

#[test]
fn p17f_a_weaker_residency_is_warned_of() {
    let stage = shared();
    let made = stage.makes_residency("weakened", "{jurisdictions: [CN]}");
    let change = |spec: Value| {
        let reply = stage.platform_team().patch(&DATA_RESIDENCY, "", made.name(), &json!({"spec": spec}));
        let warnings = reply.warnings.join("\n");
        reply.expected();
        warnings
    };
    let weaker = change(json!({"enforcement": "Warn"}));
    assert!(
        weaker.contains(
            "[domicile/weakening] DataResidency weakened: this request takes enforcement from Enforce to Warn"
        ),
        "{weaker}"
    );
    assert_eq!(change(json!({"enforcement": "Enforce"})), "");
    let wider = change(json!({"jurisdictions": ["CN", "HK"]}));
    assert!(wider.contains("lets data go to HK, too"), "{wider}");
    assert_eq!(change(json!({"jurisdictions": ["HK"]})), "");
}
