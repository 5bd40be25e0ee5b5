//! Strict classification: with `unclassifiedNamespaces: Refuse` a forgotten label is closed, too.

use crate::support::prelude::*;

#[test]
fn p23_a_namespace_that_says_nothing_starts_nothing_until_someone_may_say_none() {
    let stage = to_install_anew();
    let (before, none) = (stage.ungoverned(), stage.ungoverned());
    before.accepts(bare_pod("older"));
    before.runs("older");
    before.accepts(bare_pod("waiting").with("spec: {schedulerName: nobody}"));
    let set = |value: &str| {
        let value = format!("unclassifiedNamespaces={value}");
        stage.helm(&["upgrade", "domicile", CHART, "--reuse-values", "--set", &value]).unwrap();
    };
    set("Refuse");
    let asks = |space: &Namespace| space.would_ask(bare_pod("new"));
    let said = eventually("what is not classified is refused", SOON, || {
        let reply = asks(&before);
        if reply.ok() { Err("the pod is accepted".to_owned()) } else { Ok(reply.refused("[domicile/unclassified]")) }
    });
    assert!(said.contains("verb declassify"), "{said}");
    assert_eq!(before.get(&POD, "older")["status"]["phase"], "Running", "what runs runs on");
    for more in [
        bare_claim("data"),
        Manifest::from("{apiVersion: v1, kind: Service, metadata: {name: web}, spec: {ports: [{port: 80}]}}"),
        Manifest::from(
            "{apiVersion: networking.k8s.io/v1, kind: Ingress, metadata: {name: web}, spec: {defaultBackend: {service: {name: web, port: {number: 80}}}}}",
        ),
        Manifest::from(
            "{apiVersion: v1, kind: Binding, metadata: {name: waiting}, target: {apiVersion: v1, kind: Node, name: frankfurt-a}}",
        ),
    ] {
        before.would_ask(more).refused("[domicile/unclassified]");
    }
    // What the cluster itself needs is locked out by nothing.
    for space in ["kube-system", "domicile-system"] {
        for it in [bare_pod("new"), bare_claim("new")] {
            let reply = stage.admin.try_create(&it.in_namespace(space));
            assert!(reply.ok() || reply.message.contains("serviceaccount"), "{space}: {}", reply.message);
        }
        let service = "{apiVersion: v1, kind: Service, metadata: {name: new}, spec: {ports: [{port: 80}]}}";
        stage.admin.try_create(&Manifest::from(service).in_namespace(space)).expected();
    }
    // What waited for a node waits on.
    let target = json!({"apiVersion": "v1", "kind": "Binding", "metadata": {"name": "waiting"}, "target": {"kind": "Node", "name": "frankfurt-a"}});
    let binding = format!("{}/binding", POD.path(&before.name, "waiting"));
    stage.admin.post(&binding, &target).refused("[domicile/unclassified]");

    let declassify = json!({"metadata": {"labels": {"domicile.dev/residency": "none"}}});
    let made = Manifest::from(
        "{apiVersion: v1, kind: Namespace, metadata: {name: made-none, labels: {domicile.dev/residency: none}}}",
    );
    // Another policy than the one above: the API server may take it up a second later.
    let refused = eventually("nobody says none without the verb", SOON, || {
        let reply = stage.tenant.try_create(&made);
        if reply.ok() { Err("the namespace is accepted".to_owned()) } else { Ok(reply) }
    });
    refused.refused("[domicile/declassify]");
    stage.tenant.patch(&NAMESPACE, "", &none.name, &declassify).refused("[domicile/declassify]");
    // The verb on one residency says nothing of data that belongs to none.
    let (other, _role) = stage.with_verb("declassify", "mainland");
    other.patch(&NAMESPACE, "", &none.name, &declassify).refused("[domicile/declassify]");
    let (may, _role) = stage.with_verb("declassify", "");
    may.patch(&NAMESPACE, "", &none.name, &declassify).expected();
    eventually("what is declassified starts", SOON, || {
        let reply = asks(&none);
        when(reply.ok(), || reply.message)
    });
    stage.tenant.patch(&NAMESPACE, "", &none.name, &json!({"metadata": {"labels": {"owner": "shop"}}})).expected();
    let shop = stage.governed("mainland");
    shop.accepts(shop.pod("web"));
    stage.becomes("mainland", "Ready", "True");

    set("Allow");
    eventually("nothing is refused any more", SOON, || {
        let reply = asks(&before);
        when(reply.ok(), || reply.message)
    });
    stage.becomes("mainland", "Ready", "True");
}
