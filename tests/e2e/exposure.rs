//! Exposure: who outside the cluster may reach governed pods, and which names inside lead out of it.

use crate::support::prelude::*;

fn service(spec: &str) -> Manifest {
    Manifest::from("{apiVersion: v1, kind: Service, metadata: {name: web}, spec: {ports: [{port: 80}]}}")
        .with(&format!("spec: {spec}"))
}

const INGRESS: &str = "{apiVersion: networking.k8s.io/v1, kind: Ingress, metadata: {name: web}, spec: {defaultBackend: {service: {name: web, port: {number: 80}}}}}";

fn slice(address: &str) -> Manifest {
    Manifest::from(format!(
        "{{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, metadata: {{name: by-hand, labels: {{kubernetes.io/service-name: web}}}}, addressType: IPv4, ports: [{{port: 80}}], endpoints: [{{addresses: ['{address}']}}]}}"
    ))
}

#[test]
fn n7a_n7b_with_deny_nothing_is_opened_to_the_outside() {
    let stage = shared();
    let shop = stage.governed("mainland");
    shop.rejects(service("{type: LoadBalancer}"), "[domicile/service-type]");
    shop.rejects(service("{type: NodePort}"), "[domicile/service-type]");
    let said = shop.rejects(INGRESS, "[domicile/route]");
    assert!(said.contains("DataResidency mainland"), "{said}");
    shop.accepts(service("{selector: {app: web}}"));
    shop.patch(&SERVICE, "web", "spec: {type: LoadBalancer}").refused("[domicile/service-type]");
    shop.accepts(service("{clusterIP: None}").named("headless"));
}

#[test]
fn with_allow_it_is_and_names_still_do_not_lead_out() {
    let stage = shared();
    let _residency = stage.makes_residency("exposing", "{jurisdictions: [CN], network: {exposure: Allow}}");
    let shop = stage.governed("exposing");
    shop.accepts(service("{type: LoadBalancer, externalTrafficPolicy: Local}").named("balanced"));
    shop.accepts(service("{type: NodePort, externalTrafficPolicy: Local}").named("node-port"));
    shop.accepts(INGRESS);
    shop.rejects(service("{type: ExternalName, externalName: example.com, ports: null}"), "[domicile/external-name]");
    shop.rejects(service("{externalIPs: [198.51.100.7]}"), "[domicile/external-ips]");
}

#[test]
fn n7d_a_client_whose_address_a_node_hides_is_not_let_in() {
    let stage = shared();
    let residency =
        stage.makes_residency("masking", "{jurisdictions: [CN], network: {exposure: Allow, ingress: {policy: Open}}}");
    let shop = stage.governed("masking");
    shop.accepts(service("{type: NodePort}").named("older"));
    residency.becomes("spec: {network: {ingress: {policy: Restricted}}}");
    shop.tells(&["Service older", "[domicile/hidden-source]", "externalTrafficPolicy: Local"]);
    for kind in ["LoadBalancer", "NodePort"] {
        let said = shop.comes_to_reject(service(&format!("{{type: {kind}}}")), "[domicile/hidden-source]");
        assert!(said.contains("externalTrafficPolicy: Local") && said.contains("ingress is Restricted"), "{said}");
    }
    // What is older may be changed elsewhere, and mended.
    shop.patch(&SERVICE, "older", "metadata: {labels: {team: one}}").expected();
    shop.patch(&SERVICE, "older", "spec: {externalTrafficPolicy: Local}").expected();
    shop.patch(&SERVICE, "older", "spec: {externalTrafficPolicy: Cluster}").refused("[domicile/hidden-source]");
    // Inside the cluster nothing is hidden.
    shop.accepts(service("{}"));
}

#[test]
fn n8_names_inside_do_not_lead_out() {
    let stage = shared();
    let shop = stage.governed("mainland");
    let said = shop.rejects(
        service("{type: ExternalName, externalName: db.frankfurt.example.com, ports: null}"),
        "[domicile/external-name]",
    );
    assert!(said.contains("db.frankfurt.example.com"), "{said}");
    shop.rejects(service("{externalIPs: [198.51.100.7]}"), "[domicile/external-ips]");
    shop.accepts(service("{}"));
    let said = shop.rejects(slice("198.51.100.7"), "[domicile/endpoint]");
    assert!(said.contains("198.51.100.7") && said.contains("10.20.0.0/16"), "{said}");
    shop.accepts(slice("10.20.9.9"));
    let older = |address: &str| {
        format!(
            "{{apiVersion: v1, kind: Endpoints, metadata: {{name: web}}, subsets: [{{addresses: [{{ip: {address}}}], ports: [{{port: 80}}]}}]}}"
        )
    };
    shop.rejects(older("198.51.100.7").as_str(), "[domicile/endpoint]");
    shop.accepts(older("10.21.0.4").as_str());
}

#[test]
fn endpoints_from_before_are_told_and_do_not_hide() {
    let stage = shared();
    let _residency = stage.makes_residency("with-endpoints", "{jurisdictions: [CN]}");
    let mut shop = stage.ungoverned();
    shop.accepts(service("{}"));
    shop.accepts(slice("198.51.100.7"));
    shop.accepts(service("{}").named("older"));
    shop.accepts("{apiVersion: v1, kind: Endpoints, metadata: {name: older}, subsets: [{addresses: [{ip: 198.51.100.8}], ports: [{port: 80}]}]}");
    shop.joins("with-endpoints");
    let told = |count: u64, words: &[&str]| {
        eventually(&format!("{count} slices are told"), SOON, || {
            let status = stage.admin.get(&DATA_RESIDENCY, "", "with-endpoints")["status"].clone();
            let items = status["findings"]["items"].to_string();
            let all = words.iter().all(|word| items.contains(word));
            when(all && status["findings"]["total"].as_u64().unwrap_or(0) == count, || status.to_string())
        });
    };
    // The older kind is told of as the copy that Kubernetes makes of it.
    told(
        2,
        &[
            &format!("EndpointSlice {}/by-hand", shop.name),
            &format!("EndpointSlice {}/older-", shop.name),
            "198.51.100.8",
        ],
    );
    // It does not hide among those that the controller of Services says are its own.
    let manager = "endpointslice.kubernetes.io/managed-by: endpointslice-controller.k8s.io";
    let hide = format!("metadata: {{labels: {{{manager}}}}}");
    let said = shop.patch(&ENDPOINT_SLICE, "by-hand", &hide).refused("[domicile/endpoint-manager]");
    assert!(said.contains("tenant writes this"), "{said}");
    shop.rejects(slice("10.20.9.9").named("disguised").with(&hide), "[domicile/endpoint-manager]");
    shop.patch(&ENDPOINT_SLICE, "by-hand", "metadata: {labels: {touched: 'yes'}}").expected();
    shop.patch(&ENDPOINT_SLICE, "by-hand", "endpoints: [{addresses: [198.51.100.9]}]").refused("[domicile/endpoint]");
    shop.patch(&ENDPOINT_SLICE, "by-hand", "endpoints: [{addresses: [10.20.9.9]}]").expected();
    shop.delete(&ENDPOINTS, "older").expected();
    told(0, &[]);
}

/// An API server says in a slice of Service default/kubernetes where it is, wherever that may be, also where `default` is
/// governed, and before it is confined.
#[test]
fn api_servers_may_say_where_they_are() {
    let stage = shared();
    let server = stage.user("system:apiserver", &["system:masters"]);
    let waiting = stage.namespace("{domicile.dev/residency: nobody-made-this}");
    let older = "{apiVersion: v1, kind: Endpoints, metadata: {name: kubernetes}, subsets: [{addresses: [{ip: 198.51.100.7}], ports: [{port: 443}]}]}";
    for space in [&stage.governed("mainland"), &waiting] {
        for endpoints in [slice("198.51.100.7").named("kubernetes"), Manifest::from(older)] {
            let endpoints = endpoints.in_namespace(&space.name);
            stage.admin.create(&endpoints).refused("[domicile/endpoint]|[domicile/not-confined]");
            server.create(&endpoints).expected();
        }
    }
}

#[test]
fn services_of_governed_pods_work() {
    let stage = shared();
    let shop = stage.governed("mainland");
    shop.accepts(shop.deployment("web", 2));
    shop.accepts(service("{selector: {app: web}}"));
    eventually("the service has endpoints", SOON, || {
        let slices = shop.list(&ENDPOINT_SLICE);
        let ready = slices
            .iter()
            .flat_map(|slice| slice["endpoints"].as_array().cloned().unwrap_or_default())
            .filter(|endpoint| endpoint["conditions"]["ready"] == true)
            .count();
        when(ready == 2, || json!(slices).to_string())
    });
}
