//! The threshold: nothing that a rule judges starts in a namespace that names a residency and is not confined for it.

use crate::{network::policy, support::prelude::*};

/// One of every kind that a rule judges, harmless in itself, beside pods.
fn judged() -> Vec<Manifest> {
    [
        "{apiVersion: v1, kind: PersistentVolumeClaim, metadata: {name: claim}, spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}}",
        "{apiVersion: v1, kind: Service, metadata: {name: service}, spec: {ports: [{port: 80}]}}",
        "{apiVersion: v1, kind: Endpoints, metadata: {name: endpoints}, subsets: []}",
        "{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, metadata: {name: slice}, addressType: IPv4, endpoints: []}",
        "{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {name: policy}, spec: {podSelector: {}}}",
        "{apiVersion: networking.k8s.io/v1, kind: Ingress, metadata: {name: ingress}, spec: {defaultBackend: {service: {name: web, port: {number: 80}}}}}",
        "{apiVersion: apps/v1, kind: DaemonSet, metadata: {name: agent}, spec: {selector: {matchLabels: {a: b}}, template: {metadata: {labels: {a: b}}, spec: {containers: [{name: c, image: i}]}}}}",
    ]
    .map(Manifest::from)
    .into()
}

/// Whether an answer says that nothing starts in the namespace: it is not confined, or refused until that is mended.
pub fn closed(reply: &Reply) -> bool {
    !reply.ok() && ["[domicile/not-confined]", "[domicile/refused]"].iter().any(|rule| reply.message.contains(rule))
}

#[test]
fn a_namespace_that_names_what_does_not_exist_stays_closed() {
    let stage = shared();
    let name = "not-yet-there";
    let shop = stage.namespace(&format!("{{domicile.dev/residency: {name}}}"));
    shop.has_its_account();
    for manifest in judged().into_iter().chain([shop.pod("web")]) {
        let said = stage.tenant.create(&manifest.in_namespace(&shop.name)).refused("[domicile/not-confined]");
        let remedy = ["Try again", "there is no DataResidency not-yet-there; create it"];
        assert!(
            said.contains("DataResidency not-yet-there") && remedy.iter().any(|words| said.contains(words)),
            "{said}"
        );
    }
    // What only describes pods may be there before they are.
    shop.accepts(shop.deployment("web", 1));
    shop.accepts("{apiVersion: v1, kind: ConfigMap, metadata: {name: settings}}");
    shop.tells(&["ReplicaSet", "FailedCreate", "[domicile/"]);
    assert!(shop.list(&POD).is_empty());

    let _residency = stage.makes(residency(name, "{jurisdictions: [CN]}"));
    shop.is_confined();
    shop.accepts(shop.pod("web"));
}

#[test]
fn p17d_a_relabelled_namespace_is_closed_until_it_is_confined_anew() {
    let stage = shared();
    let shop = stage.governed("mainland");
    shop.label("domicile.dev/residency", "mainland_nobody-made-this");
    let pins =
        json!({"spec": {"nodeSelector": {format!("{PIN}mainland"): "true", format!("{PIN}nobody-made-this"): "true"}}});
    let pod = bare_pod("web").with(&pins.to_string()).in_namespace(&shop.name);
    eventually("the namespace is closed", SOON, || {
        let reply = stage.tenant.try_create(&pod);
        when(closed(&reply), || format!("{} {}", reply.code, reply.message))
    });
    // The typo is mended without anyone's leave, since the namespace was never confined for it.
    shop.label("domicile.dev/residency", "mainland");
    eventually("pods start again", SOON, || {
        let reply = stage.tenant.try_create(&shop.pod("web").in_namespace(&shop.name));
        when(reply.ok(), || reply.message.clone())
    });
}

/// P17: a label that names nothing for a while keeps a milder confinement, or networks of then, from becoming stricter. Nothing starts by
/// what stands so, whatever the label says later, until the operator has confined the namespace anew.
#[test]
fn p17d_nothing_starts_by_what_stood_behind_a_typo() {
    let stage = alone();
    let residency = stage.makes_residency("milder", "{jurisdictions: [CN], enforcement: Audit}");
    let center = stage.makes(data_center("shenzhen-3", "CN", "cn-shenzhen", 22));
    let (mut shop, mut store) = (stage.governed("milder"), stage.governed("mainland"));
    let to = |network: &str| {
        format!("{{podSelector: {{}}, policyTypes: [Egress], egress: [{{to: [{{ipBlock: {{cidr: {network}}}}}]}}]}}")
    };
    eventually("the network is permitted", SOON, || {
        let networks = store.annotation("domicile.dev/networks");
        when(networks.contains("10.22.0.0/16"), || networks)
    });
    store.accepts(policy("mine", &to("10.20.0.0/16")));
    for (space, residency) in [(&shop, "milder"), (&store, "mainland")] {
        space.label("domicile.dev/residency", &format!("{residency}_nobody-made-this"));
    }
    residency.becomes("spec: {enforcement: Enforce}");
    center.deleted();
    for space in [&shop, &store] {
        eventually("the operator has seen it", SOON, || {
            let (reason, policies) = (space.annotation("domicile.dev/refused-because"), space.list(&NETWORK_POLICY));
            let is_isolated = policies.iter().any(|policy| policy["metadata"]["name"] == "domicile-isolate");
            when(
                reason.starts_with("being confined: there is no DataResidency nobody-made-this") && is_isolated,
                || format!("{reason} {policies:?}"),
            )
        });
    }
    stage.operator.pause();
    for (space, residency) in [(&mut shop, "milder"), (&mut store, "mainland")] {
        space.loses_the_operator();
        space.label("domicile.dev/residency", residency);
    }
    let abroad = bare_pod("abroad").with("spec: {nodeName: frankfurt-a}").in_namespace(&shop.name);
    let widened = parse(&format!("{{spec: {}}}", to("10.22.0.0/16")));
    for _ in 0..20 {
        let said = stage.tenant.try_create(&abroad).refused("[domicile/not-confined]");
        assert!(
            said.contains("nothing may start in namespace") && said.contains("there is no DataResidency"),
            "{said}"
        );
        let path = format!("{}?dryRun=All", NETWORK_POLICY.path(&store.name, "mine"));
        stage.tenant.patch_at(&path, Patch::Merge, &widened).refused("[domicile/not-confined]");
    }
    stage.operator.resume();
    for space in [&shop, &store] {
        space.is_confined();
    }
    assert_eq!(shop.labels()["domicile.dev/enforcement"], "Enforce");
    stage.tenant.create(&abroad).refused("[domicile/");
    stage.tenant.patch(&NETWORK_POLICY, &store.name, "mine", &widened).refused("[domicile/network-foreign]");
    store.accepts(store.pod("web"));
    store.runs("web");
}

#[test]
fn what_runs_may_end_in_a_closed_namespace() {
    let stage = shared();
    let shop = stage.governed("mainland");
    shop.accepts(shop.pod("web").with("metadata: {finalizers: [example.com/hold]}"));
    shop.runs("web");
    shop.label("domicile.dev/residency", "mainland_nobody-made-this");
    shop.delete(&POD, "web").expected();
    eventually("the finalizer may go", SOON, || {
        let reply = shop.patch(&POD, "web", "metadata: {finalizers: null}");
        when(reply.ok() || reply.code == 404, || reply.message.clone())
    });
    shop.loses(&POD, "web");
}
