//! Confinements at their limits, and hostile objects in numbers: the API server stays under its cost limits, and both it and
//! Domicile stay well.

use std::sync::atomic::{AtomicUsize, Ordering};

use crate::support::prelude::*;

/// 64 data centers of 64 networks each, of both families; none touches another.
const CENTERS: usize = 64;
const NETWORKS: usize = 64;

fn network(center: usize, number: usize) -> String {
    let place = center * NETWORKS / 2 + number / 2;
    if number.is_multiple_of(2) {
        format!("172.{}.{}.0/24", 16 + place / 128, place % 128 * 2)
    } else {
        format!("2001:db8:{:x}::/48", 0x2000 + place * 2)
    }
}

fn at_its_limits(stage: &Turn) -> (Namespace, Vec<Made>) {
    let mut made = Vec::new();
    for center in 0..CENTERS {
        let networks: Vec<String> = (0..NETWORKS).map(|number| network(center, number)).collect();
        let spec = json!({"jurisdiction": "AU", "zones": [format!("au-{center}")], "networks": networks,
            "nodes": {"selector": {"matchLabels": {"example.com/site": format!("au-{center}")}}, "addresses": [networks[0]], "scaleFromZero": true}});
        made.push(stage.makes(json!({"apiVersion": "domicile.dev/v1alpha1", "kind": "DataCenter", "metadata": {"name": format!("limits-{center}")}, "spec": spec})));
    }
    made.push(stage.makes_residency("limits", "{jurisdictions: [AU]}"));
    let space = stage.governed("limits");
    eventually("every network is permitted", LATER, || {
        let networks = space.annotation("domicile.dev/networks").split(',').count();
        when(networks == CENTERS * NETWORKS, || networks.to_string())
    });
    (space, made)
}

fn policy(peers: &[Value]) -> Manifest {
    json!({"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": {"name": "it"},
        "spec": {"podSelector": {}, "policyTypes": ["Egress"], "egress": [{"to": peers}]}})
    .into()
}

fn block(cidr: &str) -> Value {
    json!({"ipBlock": {"cidr": cidr}})
}

fn slice(addresses: &[&str]) -> Manifest {
    let endpoints: Vec<Value> = addresses.iter().map(|address| json!({"addresses": [address]})).collect();
    let family = if addresses[0].contains(':') { "IPv6" } else { "IPv4" };
    json!({"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "metadata": {"name": "it"}, "addressType": family, "endpoints": endpoints})
        .into()
}

/// Passes or is refused by a rule; that a cost limit was met would be another answer, which refuses what is permitted.
#[test]
fn a_confinement_at_its_limits_stays_under_the_cost_limits() {
    let stage = shared();
    let (space, _made) = at_its_limits(&stage);
    let last = network(CENTERS - 1, NETWORKS - 2);
    let inside = last.replace("/24", "/26");
    let last_of_ipv6 = network(CENTERS - 1, NETWORKS - 1);
    let inside_ipv6 = last_of_ipv6.replace("::/48", ":1::/64");
    let there = last_of_ipv6.replace("::/48", "::7");
    let listed: Vec<Value> = (0..48).map(|number| block(&network(CENTERS - 1, number))).collect();
    let timed = |what: &str, manifest: &Manifest| {
        let start = Instant::now();
        let reply = space.would_ask(manifest);
        let refused = rule(&reply.message).unwrap_or_default();
        say(&format!("limits: {what}: {} ms, {} {refused}", start.elapsed().as_millis(), reply.code));
        reply
    };
    for (what, manifest) in [
        ("a pod", space.pod("web")),
        ("a block inside the last of 4096 networks", policy(&[block(&inside)])),
        ("a block inside the last IPv6 network", policy(&[block(&inside_ipv6)])),
        ("48 networks as they are listed", policy(&listed)),
        ("peers alone", policy(&[json!({"podSelector": {}})])),
        ("four endpoints", slice(&["172.31.254.4", "172.31.254.5", "172.31.252.4", "172.16.0.4"])),
        ("four IPv6 endpoints", slice(&[&there, &there, "2001:db8:2000::7", &there])),
    ] {
        timed(what, &manifest).expected();
    }
    for (what, manifest, rule) in [
        ("a foreign block", policy(&[block("198.51.100.0/24")]), "[domicile/network-foreign]"),
        ("a foreign IPv6 block", policy(&[block("2001:db9::/48")]), "[domicile/network-foreign]"),
        ("any address", policy(&[]), "[domicile/network-any]"),
        ("two blocks inside", policy(&[block(&inside), block("172.16.0.0/26")]), "[domicile/network-size]"),
        ("600 blocks", policy(&vec![block(&inside); 600]), "[domicile/network-size]"),
        ("a foreign endpoint", slice(&["198.51.100.7"]), "[domicile/endpoint]"),
        ("a foreign IPv6 endpoint", slice(&["2001:db9::7"]), "[domicile/endpoint]"),
        ("a hundred endpoints", slice(&["172.16.0.4"; 100]), "[domicile/endpoint-count]"),
        (
            "a load balancer",
            Manifest::from(
                "{apiVersion: v1, kind: Service, metadata: {name: it}, spec: {type: LoadBalancer, ports: [{port: 80}]}}",
            ),
            "[domicile/service-type]",
        ),
    ] {
        timed(what, &manifest).refused(rule);
    }
}

/// Text of about so many bytes.
fn text(bytes: usize) -> String {
    "x".repeat(bytes)
}

/// Small ones that lead out, and among them, one in five, the largest.
fn hostile(space: &Namespace, number: usize) -> Manifest {
    let name = format!("it-{number}");
    let small = match number % 5 {
        0 => return largest(space, number / 5).named(&name),
        1 => space.pod("it").with("spec: {nodeName: frankfurt-a}"),
        2 => space.claim("it").with("spec: {storageClassName: gp3}"),
        3 => policy(&[block("198.51.100.0/24"), json!({"namespaceSelector": {}})]),
        _ => slice(&["198.51.100.7"]),
    };
    small.named(&name)
}

/// The largest that the API takes of each kind, and what is dear to judge.
fn largest(space: &Namespace, number: usize) -> Manifest {
    let long: Vec<Value> = (0..40).map(|part| json!({"name": format!("E{part}"), "value": text(32 * 1024)})).collect();
    let selector = json!({"namespaceSelector": {"matchExpressions": [{"key": "team", "operator": "In", "values": vec![text(60); 200]}]}});
    let volumes: Vec<Value> = (0..5000)
        .map(|volume| json!({"name": format!("v{volume}"), "nfs": {"server": "198.51.100.7", "path": "/"}}))
        .collect();
    let gated = space.pod("it").with("spec: {schedulingGates: [{name: example.com/wait}]}");
    match number % 8 {
        0 => gated.with(&json!({"spec": {"containers": [{"name": "main", "image": "i", "env": long}]}}).to_string()),
        1 => gated.with(&json!({"spec": {"volumes": volumes}}).to_string()),
        2 => gated.with(&json!({"metadata": {"annotations": {"example.com/long": text(250 * 1024)}}}).to_string()),
        3 => policy(&vec![selector; 100]),
        4 => policy(&vec![block("10.20.7.0/24"); 6000]),
        5 => policy(&vec![block("198.51.100.0/24"); 600]),
        6 => {
            let long = json!({"volume.kubernetes.io/selected-node": text(250 * 1024)});
            space.claim("it").with(&json!({"metadata": {"annotations": long}}).to_string())
        }
        _ => slice(&["198.51.100.7"; 1000]),
    }
}

#[test]
fn five_hundred_hostile_objects_leave_the_api_server_and_domicile_well() {
    let stage = alone();
    let _quiet = AllSeats::take();
    let space = stage.governed("mainland");
    let (next, start) = (AtomicUsize::new(0), Instant::now());
    std::thread::scope(|threads| {
        let sender = || {
            threads.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= 500 {
                        return;
                    }
                    // What is let in stays for a while: the operator and the controllers have to read it.
                    let manifest = hostile(&space, number).in_namespace(&space.name);
                    let reply = eventually("the API server answers", SOON, || {
                        let reply = stage.tenant.create(&manifest);
                        when((200..500).contains(&reply.code), || format!("{} {}", reply.code, reply.message))?;
                        Ok(reply)
                    });
                    let over = ["cost", "budget", "CEL"].iter().any(|word| reply.message.contains(word));
                    assert!(!over, "{} met a limit: {}", manifest.name(), reply.message);
                }
            })
        };
        let senders = [sender(), sender(), sender()];
        // Meanwhile others work as ever.
        while !senders.iter().all(std::thread::ScopedJoinHandle::is_finished) {
            eventually("the API server is ready", SOON, || {
                let reply = stage.admin.get_at("/readyz");
                when(reply.ok(), || reply.message)
            });
            let shop = stage.governed("mainland");
            let pod = shop.pod("web").in_namespace(&shop.name);
            eventually("a pod is let in, at once or where the webhook was late when it is tried again", SOON, || {
                let reply = stage.tenant.create(&pod);
                assert!(reply.ok() || reply.try_again(), "{}", reply.message);
                when(reply.ok(), || reply.message)
            });
            shop.runs("web");
            assert_eq!(stage.operator.ended(), None, "the operator ended");
        }
    });
    let (most, limit) = (stage.operator.most_memory(), crate::reading::limit());
    assert!(most < limit, "the operator took {most} bytes, and the chart gives it {limit}");
    say(&format!("limits: 500 hostile objects in {} ms", start.elapsed().as_millis()));
    // One of them is too large to be judged, and may open anything: that is told, and all else stands.
    stage.becomes("mainland", "Ready", "Unknown");
    let status = stage.admin.get(&DATA_RESIDENCY, "", "mainland")["status"].to_string();
    assert!(status.contains("TenantPolicyUnjudged"), "{status}");
}
