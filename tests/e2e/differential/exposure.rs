//! Services and Ingresses: what is reached from outside, and what leads there.

use domicile::observe::convert::{exposed_ingress, exposed_service};
use k8s_openapi::api::networking::v1::Ingress;

use super::{
    Comparison,
    ground::{Ground, Seen},
    words::{Json, either, just, labels, list, object, one_of, words},
};
use crate::support::prelude::*;

pub const EXPOSED: Comparison = Comparison {
    name: "services and Ingresses",
    otherwise: &[],
    of_admission: &[],
    finds: |ground, object| {
        let seen = if object["kind"] == "Ingress" {
            Some(Seen::Exposed("Ingress", exposed_ingress(typed::<Ingress>(object).metadata)))
        } else {
            exposed_service(&typed(object)).map(|exposed| Seen::Exposed("Service", exposed))
        };
        seen.map(|seen| ground.finds(&seen)).unwrap_or_default()
    },
};

fn service() -> Json {
    let labels = labels(
        &["mirror.linkerd.io/exported", "mirror.linkerd.io/federated", "app"],
        &["true", "member", "remote-discovery"],
    );
    let annotations = object(vec![
        ("service.cilium.io/global", 0.3, words(&["true", "false"])),
        (
            "cloud.google.com/neg",
            0.6,
            words(&["{}", r#"{"ingress":true}"#, r#"{ "ingress": false }"#, r#"{"exposed_ports":{"80":{}}}"#, ""]),
        ),
    ]);
    let port = object(vec![("port", 1.0, just(json!(80))), ("nodePort", 0.1, just(json!(30080)))]);
    let spec = object(vec![
        ("ports", 0.98, list(port, 1..=1)),
        ("type", 0.7, words(&["ClusterIP", "ClusterIP", "NodePort", "LoadBalancer", "ExternalName"])),
        ("selector", 0.7, one_of(vec![json!({"app": "web"}), json!({})])),
        ("clusterIP", 0.1, words(&["None", ""])),
        ("externalName", 0.4, words(&["db.example.com", "db.shop.svc.cluster.local", ""])),
        ("externalIPs", 0.2, list(words(&["198.51.100.7", "10.20.0.7"]), 0..=2)),
        ("loadBalancerClass", 0.05, words(&["example.com/lb"])),
        ("loadBalancerIP", 0.05, words(&["198.51.100.7"])),
        ("externalTrafficPolicy", 0.2, words(&["Local", "Cluster"])),
        ("publishNotReadyAddresses", 0.1, just(json!(true))),
    ]);
    object(vec![
        ("apiVersion", 1.0, just(json!("v1"))),
        ("kind", 1.0, just(json!("Service"))),
        (
            "metadata",
            1.0,
            object(vec![("name", 1.0, just(json!("it"))), ("labels", 0.3, labels), ("annotations", 0.3, annotations)]),
        ),
        ("spec", 1.0, spec),
        ("status", 0.1, just(json!({"loadBalancer": {"ingress": [{"ip": "198.51.100.7"}]}}))),
    ])
}

fn ingress() -> Json {
    let backend = parse("{service: {name: web, port: {number: 80}}}");
    let rule = json!({"host": "shop.example.com", "http": {"paths": [{"path": "/", "pathType": "Prefix", "backend": backend}]}});
    let spec = object(vec![
        ("defaultBackend", 0.9, just(backend)),
        ("ingressClassName", 0.5, words(&["nginx", "internal"])),
        ("rules", 0.5, list(just(rule), 0..=2)),
    ]);
    object(vec![
        ("apiVersion", 1.0, just(json!("networking.k8s.io/v1"))),
        ("kind", 1.0, just(json!("Ingress"))),
        ("metadata", 1.0, object(vec![("name", 1.0, just(json!("it")))])),
        ("spec", 1.0, spec),
    ])
}

pub fn exposed() -> Json {
    either(vec![service(), service(), service(), ingress()])
}

const STANDING: &str = "{apiVersion: v1, kind: Service, metadata: {name: web}, spec: {ports: [{port: 80}]}}";

#[test]
fn what_is_exposed_is_refused_exactly_where_the_audit_finds_it() {
    let stage = shared();
    let ground = Ground::new(&stage, "twice-closed", "{exposure: Deny}");
    EXPOSED.run(&ground, 1, &exposed());
    EXPOSED.run_updates(&ground, 3, &STANDING.into(), &service());
}

#[test]
fn with_exposure_allowed_only_names_addresses_outside_and_hidden_clients_are() {
    let stage = shared();
    let ground = Ground::new(&stage, "twice-exposed", "{exposure: Allow}");
    EXPOSED.run(&ground, 1, &exposed());
    EXPOSED.run_updates(&ground, 3, &STANDING.into(), &service());
}
