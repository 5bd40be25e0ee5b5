//! EndpointSlices and Endpoints that are written by hand: addresses that get a name in the cluster.

use domicile::observe::Endpoints;
use proptest::strategy::Strategy as _;

use super::{
    Comparison, OfAdmission,
    ground::{Ground, Seen},
    words::{Json, either, just, list, object, one_of, words},
};
use crate::support::prelude::*;

const MANAGED_BY: &str = "endpointslice.kubernetes.io/managed-by";

pub const WRITTEN_BY_HAND: Comparison = Comparison {
    name: "endpoints",
    otherwise: &[],
    of_admission: &[
        OfAdmission {
            says: "[domicile/endpoint-manager]",
            because: "what says so and stands is taken for the controller's, and not read",
            applies: Some(|slice, _| slice["metadata"]["labels"][MANAGED_BY] == "endpointslice-controller.k8s.io"),
        },
        OfAdmission {
            says: "[domicile/endpoint-count]",
            because: "what stands is judged whatever its size",
            applies: Some(|object, _| {
                let subsets = object["subsets"].as_array().map_or(0, Vec::len);
                subsets > 10 || lists(object).iter().map(|list| list.len().max(1)).sum::<usize>() > 100
            }),
        },
    ],
    finds: |ground, object| ground.finds(&Seen::Endpoints(copied(object))),
};

/// The lists of addresses of either kind.
fn lists(object: &Value) -> Vec<Vec<Value>> {
    let array = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let slices = array(&object["endpoints"]).into_iter().map(|endpoint| array(&endpoint["addresses"]));
    let subsets = array(&object["subsets"]);
    let parts = subsets.iter().flat_map(|subset| [array(&subset["addresses"]), array(&subset["notReadyAddresses"])]);
    slices.chain(parts.filter(|list| !list.is_empty())).collect()
}

/// An EndpointSlice as it is, and Endpoints as the copy of them that the control plane makes.
fn copied(object: &Value) -> Endpoints {
    if object["kind"] == "EndpointSlice" {
        let mut slice = object.clone();
        if slice["endpoints"].is_null() {
            slice["endpoints"] = json!([]);
        }
        return Endpoints::from(typed::<k8s_openapi::api::discovery::v1::EndpointSlice>(&slice));
    }
    let all = lists(object).into_iter().flatten().map(|address| address["ip"].as_str().unwrap_or_default().to_owned());
    Endpoints { addresses: all.collect(), ..Endpoints::default() }
}

fn addresses(number: u8, six: bool) -> Json {
    let all = if six {
        [
            "2001:db8:NN::7",
            "2001:db8:NN:1::7",
            "2001:DB8:NN::7",
            "2001:db8:9999::7",
            "::ffff:10.NN.0.7",
            "2001:0db8:00NN::7",
        ]
    } else {
        ["10.NN.0.7", "10.NN.255.255", "198.51.100.7", "10.0.0.7", "10.NN.0.07", "010.NN.0.7"]
    };
    let share = [8, 4, 3, 2, 1, 1];
    let all =
        all.iter().zip(share).flat_map(|(text, times)| vec![json!(text.replace("NN", &number.to_string())); times]);
    one_of(all.collect())
}

fn slice(number: u8) -> Json {
    let of = |kind: &'static str, address: Json, sizes: std::ops::RangeInclusive<usize>| {
        let endpoint = object(vec![
            ("addresses", 1.0, list(address, 1..=2)),
            ("conditions", 0.3, just(json!({"ready": false}))),
            ("targetRef", 0.2, just(json!({"kind": "Pod", "name": "web"}))),
            ("hostname", 0.1, just(json!("web"))),
        ]);
        let managers = ["me", "endpointslicemirroring-controller.k8s.io", "endpointslice-controller.k8s.io", ""];
        let labels =
            object(vec![("kubernetes.io/service-name", 0.9, words(&["web"])), (MANAGED_BY, 0.3, words(&managers))]);
        object(vec![
            ("apiVersion", 1.0, just(json!("discovery.k8s.io/v1"))),
            ("kind", 1.0, just(json!("EndpointSlice"))),
            ("metadata", 1.0, object(vec![("name", 1.0, just(json!("it"))), ("labels", 0.8, labels)])),
            ("addressType", 1.0, just(json!(kind))),
            ("ports", 0.8, just(json!([{"port": 80}]))),
            ("endpoints", 0.95, list(endpoint, sizes)),
        ])
    };
    let four = of("IPv4", addresses(number, false), 0..=3);
    let wide = of("IPv4", just(json!(format!("10.{number}.0.7"))), 40..=110);
    let names = of("FQDN", words(&["db.example.com", "web.shop.svc"]), 0..=2);
    either(vec![four.clone(), four, of("IPv6", addresses(number, true), 0..=3), wide, names])
}

fn older(number: u8) -> Json {
    let address = |six: bool| addresses(number, six).prop_map(|ip| json!({"ip": ip})).boxed();
    let subset = |most: usize, address: Json| {
        object(vec![
            ("addresses", 0.8, list(address.clone(), 0..=most)),
            ("notReadyAddresses", 0.3, list(address, 0..=most)),
            ("ports", 0.9, just(json!([{"port": 80}]))),
        ])
    };
    let inside = just(json!({"ip": format!("10.{number}.0.7")}));
    let subsets = either(vec![
        list(subset(2, address(false)), 0..=2),
        list(subset(2, address(false)), 0..=2),
        list(subset(2, address(true)), 0..=2),
        list(object(vec![("addresses", 1.0, list(inside.clone(), 1..=1))]), 8..=12),
        list(object(vec![("addresses", 1.0, list(inside, 49..=51))]), 2..=2),
    ]);
    object(vec![
        ("apiVersion", 1.0, just(json!("v1"))),
        ("kind", 1.0, just(json!("Endpoints"))),
        ("metadata", 1.0, object(vec![("name", 1.0, just(json!("it")))])),
        ("subsets", 0.95, subsets),
    ])
}

pub fn endpoints(number: u8) -> Json {
    either(vec![slice(number), slice(number), older(number)])
}

#[test]
fn endpoints_written_by_hand_are_admitted_exactly_where_the_audit_finds_nothing() {
    let stage = shared();
    let ground = Ground::new(&stage, "twice-endpoints", "{}");
    WRITTEN_BY_HAND.run(&ground, 1, &endpoints(ground.number));
    let address = format!("10.{}.0.1", ground.number);
    let standing = format!(
        "{{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, metadata: {{name: by-hand}}, addressType: IPv4, endpoints: [{{addresses: [{address}]}}]}}"
    );
    WRITTEN_BY_HAND.run_updates(&ground, 3, &standing.into(), &slice(ground.number));
    let standing = format!(
        "{{apiVersion: v1, kind: Endpoints, metadata: {{name: by-hand}}, subsets: [{{addresses: [{{ip: {address}}}]}}]}}"
    );
    WRITTEN_BY_HAND.run_updates(&ground, 3, &standing.into(), &older(ground.number));
}
