//! `make bench`: what Domicile costs and how fast it is, in one run, on the real control plane.
//!
//! Nothing here passes or fails: a shared machine is noisy. Times are percentiles; costs are CPU seconds of the API server
//! by `/proc`, in blocks that alternate between a cluster without the chart, an ungoverned and a governed namespace, so
//! that all meet the same noise. The aims are those of the project's issue and are printed beside what was measured.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, dead_code, unused_imports)]

#[path = "../e2e/support/mod.rs"]
mod support;

use support::{cluster::Cluster, prelude::*};

const TIMES: usize = 60;
const BLOCKS: usize = 12;
const REQUESTS: usize = 100;

fn main() {
    if std::env::args().any(|word| word == "--list") {
        return; // asked by tools that list tests
    }
    println!("starting two clusters, one of them without Domicile");
    let bare = Cluster::start("bare", "[]\n", &[]).expect("a cluster");
    let stage = shared();
    println!("\nin one run on this machine; load average {}", read("/proc/loadavg").trim());
    cost(&stage, &bare); // first: the namespaces that the others leave are still being deleted after them
    println!("\n{:<72} {:>10} {:>10}   aim", "time until it holds, milliseconds", "p50", "p99");
    row("a namespace's label to the first refusal that shows it", label_to_refusal(&stage), "p50 30, p99 150");
    row("a namespace's label to confined, from birth", birth_to_confined(&stage), "-");
    row("a residency's edit to the first refusal that shows it", edit_to_refusal(&stage), "p50 30, p99 150");
    row("a deleted network policy to its return", policy_returns(&stage), "p99 50");
    load(&stage);
    let operator = pid_of("domicile", "controller").expect("the operator runs");
    println!("\nthe operator's memory: {}", memory(operator));
}

fn row(what: &str, mut times: Vec<Duration>, aim: &str) {
    times.sort();
    let at = |part: f64| times[((times.len() - 1) as f64 * part) as usize].as_secs_f64() * 1000.0;
    println!("{what:<72} {:>10.1} {:>10.1}   {aim}", at(0.5), at(0.99));
}

/// Asks until the answer shows it, and says how long that took since `start`.
fn until(start: Instant, mut shows: impl FnMut() -> bool) -> Duration {
    while !shows() {
        assert!(start.elapsed() < Duration::from_secs(20), "it does not show");
    }
    start.elapsed()
}

fn label_to_refusal(stage: &Turn) -> Vec<Duration> {
    (0..TIMES)
        .map(|_| {
            let space = stage.ungoverned();
            let bound = bare_pod("bound").with("spec: {nodeName: frankfurt-a}").in_namespace(&space.name);
            stage.tenant.try_create(&bound).expected();
            let start = Instant::now();
            space.label("domicile.dev/residency", "mainland");
            until(start, || !stage.tenant.try_create(&bound).ok())
        })
        .collect()
}

fn birth_to_confined(stage: &Turn) -> Vec<Duration> {
    (0..TIMES)
        .map(|_| {
            let start = Instant::now();
            let space = stage.namespace("{domicile.dev/residency: mainland}");
            until(start, || space.annotation("domicile.dev/refused-because") == "-")
        })
        .collect()
}

fn edit_to_refusal(stage: &Turn) -> Vec<Duration> {
    let residency = stage.makes_residency("bench-edit", "{jurisdictions: [CN], network: {exposure: Allow}}");
    let space = stage.governed("bench-edit");
    let service = Manifest::from(
        "{apiVersion: v1, kind: Service, metadata: {name: open}, spec: {type: NodePort, externalTrafficPolicy: Local, ports: [{port: 80}]}}",
    )
    .in_namespace(&space.name);
    let times = (0..TIMES).map(|_| {
        residency.becomes("spec: {network: {exposure: Allow}}");
        until(Instant::now(), || stage.tenant.try_create(&service).ok());
        let start = Instant::now();
        residency.becomes("spec: {network: {exposure: Deny}}");
        until(start, || !stage.tenant.try_create(&service).ok())
    });
    times.collect()
}

fn policy_returns(stage: &Turn) -> Vec<Duration> {
    let space = stage.governed("mainland");
    let finisher = stage.service_account("kube-system", "namespace-controller");
    let times = (0..TIMES).map(|_| {
        let uid = |policy: Option<Value>| policy.map(|policy| policy["metadata"]["uid"].to_string());
        let before = uid(space.find(&NETWORK_POLICY, "domicile-isolate"));
        let start = Instant::now();
        finisher.delete(&NETWORK_POLICY, &space.name, "domicile-isolate").expected();
        until(start, || {
            let now = uid(space.find(&NETWORK_POLICY, "domicile-isolate"));
            now.is_some() && now != before
        })
    });
    times.collect()
}

/// CPU of the API server for each dry run of a pod's creation.
fn cost(stage: &Turn, bare: &Cluster) {
    let (governed, ungoverned) = (stage.governed("mainland"), stage.ungoverned());
    let admin = User::administrator(&bare.kubeconfig, bare.tools).unwrap();
    let without = pid_of("kube-apiserver", &directory(bare)).expect("the API server of the bare cluster");
    let with = pid_of("kube-apiserver", &directory(&stage.cluster)).expect("the API server");
    let sides: [(&str, u32, &User, Manifest); 3] = [
        ("before the chart", without, &admin, bare_pod("web").in_namespace("default")),
        (
            "with the chart, in an ungoverned namespace",
            with,
            &stage.admin,
            bare_pod("web").in_namespace(&ungoverned.name),
        ),
        (
            "with the chart, in a governed namespace",
            with,
            &stage.admin,
            governed.pod("web").in_namespace(&governed.name),
        ),
    ];
    let mut spent = [(); 3].map(|()| Vec::new());
    for block in 0..BLOCKS {
        let mut order = [0, 1, 2];
        if block % 2 == 1 {
            order.reverse();
        }
        for side in order {
            let (_, pid, user, pod) = &sides[side];
            let before = cpu(*pid);
            for _ in 0..REQUESTS {
                user.try_create(pod).expected();
            }
            spent[side].push((cpu(*pid) - before) * 1000.0 / REQUESTS as f64);
        }
    }
    println!("\n{:<72} {:>10} {:>10}   aim", "API server's CPU for one pod create, milliseconds", "median", "more");
    let median = |values: &mut Vec<f64>| {
        values.sort_by(f64::total_cmp);
        values[values.len() / 2]
    };
    let base = median(&mut spent[0]);
    for (side, aim) in ["", "within noise", "more than in the ungoverned by at most 1.5"].iter().enumerate() {
        let value = median(&mut spent[side]);
        let spread = format!("blocks {:.2} to {:.2}", spent[side][0], spent[side][spent[side].len() - 1]);
        println!("{:<72} {value:>10.2} {:>+10.2}   {aim} ({spread})", sides[side].0, value - base);
    }
}

/// What a tenant can make long, governed against ungoverned: medians, in turns.
fn load(stage: &Turn) {
    println!("\n{:<72} {:>10} {:>10}   aim", "what a tenant can make long, milliseconds", "ungoverned", "governed");
    let (governed, free) = (stage.governed("mainland"), stage.ungoverned());
    let values: Vec<String> = (0..40_000).map(|number| format!("zone-{number}")).collect();
    let term =
        json!({"matchExpressions": [{"key": "topology.kubernetes.io/zone", "operator": "In", "values": values}]});
    let wide = json!({"spec": {
        "affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [term]}}},
        "nodeSelector": governed.pins()}})
    .to_string();
    let pods = [&free.name, &governed.name].map(|name| bare_pod("wide").in_namespace(name).with(&wide));
    compare("a pod with 40,000 affinity values and its pin", |side| {
        drop(stage.tenant.try_create(&pods[side]).expected());
    });
    let spaces = [&free.name, &governed.name];
    let many = annotations(30_000);
    compare("30,000 annotations for a namespace (governed it is refused)", |side| {
        let reply = stage.tenant.patch(&NAMESPACE, "", spaces[side], &many);
        assert_eq!(reply.ok(), side == 0, "{reply:?}");
    });
    let free = stage.ungoverned();
    let spaces = [&free.name, &governed.name];
    for name in spaces {
        stage.tenant.patch(&NAMESPACE, "", name, &annotations(230)).expected();
    }
    let pods = [bare_pod("web").in_namespace(&free.name), governed.pod("web").in_namespace(&governed.name)];
    compare("a pod in a namespace with 230 annotations, about the most", |side| {
        drop(stage.tenant.try_create(&pods[side]).expected());
    });
}

fn annotations(number: usize) -> Value {
    let notes: std::collections::BTreeMap<String, &str> =
        (0..number).map(|number| (format!("a{number}"), "")).collect();
    json!({"metadata": {"annotations": notes}})
}

fn compare(what: &str, ask: impl Fn(usize)) {
    let mut times = [Vec::new(), Vec::new()];
    for turn in 0..22 {
        for side in [0, 1] {
            let start = Instant::now();
            ask(side);
            if turn > 1 {
                times[side].push(start.elapsed().as_secs_f64() * 1000.0);
            }
        }
    }
    let [without, with] = times.map(|mut values| {
        values.sort_by(f64::total_cmp);
        values[values.len() / 2]
    });
    println!("{what:<72} {without:>10.1} {with:>10.1}   at most twice ({:.2} times)", with / without);
}

fn directory(cluster: &Cluster) -> String {
    cluster.kubeconfig.parent().unwrap().to_string_lossy().into_owned()
}

/// The process whose program has this name and one of whose arguments contains `words`.
fn pid_of(program: &str, words: &str) -> Option<u32> {
    std::fs::read_dir("/proc").ok()?.flatten().find_map(|entry| {
        let pid: u32 = entry.file_name().to_str()?.parse().ok()?;
        let command = read(&format!("/proc/{pid}/cmdline")).replace('\0', " ");
        let own = command.split(' ').take(2).any(|word| word.rsplit('/').next() == Some(program));
        (own && command.contains(words)).then_some(pid)
    })
}

/// Seconds of CPU that a process has used, by clock ticks of 10 ms.
fn cpu(pid: u32) -> f64 {
    let text = read(&format!("/proc/{pid}/stat"));
    let fields: Vec<&str> = text.rsplit(')').next().unwrap().split_whitespace().collect();
    (fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap()) / 100.0
}

fn memory(pid: u32) -> String {
    let text = read(&format!("/proc/{pid}/status"));
    let line = |key: &str| text.lines().find_map(|line| line.strip_prefix(key)).unwrap_or("?").trim().to_owned();
    format!("{} resident, {} at its peak", line("VmRSS:"), line("VmHWM:"))
}

fn read(path: &str) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}
