//! Manifests of the shapes that real projects publish (`fixtures/workloads`), applied as they are in a governed namespace: what
//! belongs there runs in the country, what leads out is refused, and the refusal says what to do.

use crate::{placement::on_the_mainland, support::prelude::*};

const INTERNET: &str = "198.51.100.7";
const SHANGHAI: &str = "10.20.5.5";
const HOME_ZONES: [&str; 3] = ["cn-beijing-h", "cn-shanghai-e", "cn-shanghai-f"];

/// Applies a file as somebody who installs it, and expects exactly these objects to be refused, with these words. Returns what he
/// was told the first time.
#[track_caller]
fn applied_by(stage: &Turn, by: &User, space: &Namespace, yaml: &str, refused: &[(&str, &[&str])]) -> String {
    let mut told = Vec::new();
    // Twice, as a GitOps tool does.
    for round in ["first", "second"] {
        let mut warnings = String::new();
        let said = eventually("nothing asks for another try", SOON, || {
            let said = by.kubectl_with(&format!("apply -n {} -f -", space.name), yaml);
            warnings += &said.errors; // what was made by one try is told of by that one
            let again = |line: &&str| {
                line.starts_with("Error") && (asks_for_another_try(line) || line.contains("Or try again"))
            };
            let asked = said.errors.lines().find(again).map(str::to_owned);
            when(asked.is_none() || !stage.mutates(), || asked.unwrap_or_default())?;
            Ok(said)
        });
        let errors: Vec<&str> = said.errors.lines().filter(|line| line.starts_with("Error")).collect();
        if !stage.mutates() {
            // What is mended elsewhere is refused here; each refusal is Domicile's and says what to write.
            assert!(errors.iter().all(|line| line.contains("[domicile/")), "{}", said.errors);
        } else {
            assert_eq!(errors.len(), refused.len(), "the {round} time: {}", said.errors);
        }
        for (object, words) in refused {
            let line = errors.iter().find(|line| line.contains(object));
            let line = line.unwrap_or_else(|| panic!("{object} was not refused: {}{}", said.out, said.errors));
            assert!(words.iter().all(|word| line.contains(word)), "{object} is not refused with {words:?}: {line}");
        }
        told.push(warnings);
    }
    told.swap_remove(0)
}

/// Whoever applies it is told what the controller will meet, and what to do.
#[track_caller]
fn warns_ahead(told: &str, kind: &str, what: &str) {
    let warning = told.lines().find(|line| line.starts_with("Warning") && line.contains(&format!("this {kind} ")));
    let warning = warning.unwrap_or_else(|| panic!("no warning of {kind}: {told}"));
    for words in ["[domicile/template]", what, "in a namespace that is not governed"] {
        assert!(warning.contains(words), "{words}: {warning}");
    }
}

#[track_caller]
fn applied(stage: &Turn, yaml: &str, refused: &[(&str, &[&str])]) -> Namespace {
    let space = stage.governed("mainland");
    applied_by(stage, &stage.admin, &space, yaml, refused);
    space
}

/// Waits until so many pods of an app run; they are on the mainland. Where nothing is added, the controller says what to add.
#[track_caller]
fn run_at_home(stage: &Turn, space: &Namespace, app: &str, number: usize) {
    if !stage.mutates() {
        let pin = format!("Add to its nodeSelector {PIN}mainland: \"true\"");
        let says = |event: &String| {
            (event.contains("[domicile/placement]") && event.contains(&pin))
                || (event.contains("[domicile/storage-class]")
                    && event.contains("Use one of mainland-hdd,mainland-ssd"))
        };
        eventually(&format!("the controller of {app} says what to add"), SOON, || {
            let events = space.events();
            when(events.iter().any(|event| event.contains(app) && says(event)), || events.join("\n"))
        });
        return;
    }
    let pods = eventually(&format!("{number} pods of {app} run"), LATER, || {
        let mut pods = space.list(&POD);
        pods.retain(|pod| pod["metadata"]["labels"]["app"] == app);
        let run = pods.iter().filter(|pod| matches!(pod["status"]["phase"].as_str(), Some("Running" | "Succeeded")));
        when(run.count() == number && pods.len() == number, || json!(pods).to_string())?;
        Ok(pods)
    });
    for pod in pods {
        let node = pod["spec"]["nodeName"].as_str().unwrap();
        assert!(on_the_mainland(node), "a pod of {app} runs on {node}");
    }
}

/// Every claim that is bound has a volume at home, and so many are.
#[track_caller]
fn volumes_are_at_home(stage: &Turn, space: &Namespace, number: usize) {
    if !stage.mutates() {
        return; // no pod asks for one
    }
    let bound = eventually(&format!("{number} claims are bound"), LATER, || {
        let mut claims = space.list(&CLAIM);
        claims.retain(|claim| claim["status"]["phase"] == "Bound");
        when(claims.len() == number, || json!(space.list(&CLAIM)).to_string())?;
        Ok(claims)
    });
    for claim in bound {
        let volume = stage.admin.get(&VOLUME, "", claim["spec"]["volumeName"].as_str().unwrap());
        let affinity = volume["spec"]["nodeAffinity"].to_string();
        assert!(HOME_ZONES.iter().any(|zone| affinity.contains(&format!("\"{zone}\""))), "{affinity}");
    }
}

/// The running pod of an app, as the judge of packets names it.
fn one_of(space: &Namespace, app: &str) -> String {
    let pods = space.list(&POD);
    let pod = pods.iter().find(|pod| pod["metadata"]["labels"]["app"] == app && pod["status"]["phase"] == "Running");
    format!("{}/{}", space.name, pod.unwrap()["metadata"]["name"].as_str().unwrap())
}

/// A running pod of a tenant in another namespace.
fn stranger(stage: &Turn, residency: &str, labels: &str) -> (Namespace, String) {
    let space = if residency.is_empty() { stage.ungoverned() } else { stage.governed(residency) };
    space.accepts(space.pod("web").with(&format!("metadata: {{labels: {labels}}}")));
    space.runs("web");
    let name = format!("{}/web", space.name);
    (space, name)
}

#[track_caller]
fn comes_to_pass(stage: &Turn, from: &str, to: &str, port: u16) {
    eventually(&format!("a packet from {from} to {to}:{port} passes"), SOON, || {
        when(stage.passes(from, to, port), || "it is denied".into())
    });
}

#[test]
fn a_gitops_controller_runs_and_is_open_to_peers_only() {
    let stage = shared();
    let space = applied(&stage, include_str!("fixtures/workloads/gitops.yaml"), &[]);
    for (app, number) in [("gitops-controller", 1), ("gitops-repo", 1), ("gitops-server", 2), ("gitops-secret-init", 1)]
    {
        run_at_home(&stage, &space, app, number);
    }
    if !stage.mutates() {
        return;
    }
    let (_peers, peer) = stranger(&stage, "mainland", "{}");
    let (_strangers, foreign) = stranger(&stage, "", "{}");
    let (server, controller) = (one_of(&space, "gitops-server"), one_of(&space, "gitops-controller"));
    for (to, port) in [(&server, 8080), (&controller, 8082)] {
        comes_to_pass(&stage, &peer, to, port);
        assert!(!stage.passes(&foreign, to, port), "{foreign} reaches {to}");
        assert!(!stage.passes(INTERNET, to, port), "the internet reaches {to}");
    }
    assert!(!stage.passes(&controller, INTERNET, 443), "a repository abroad is reached");
}

#[test]
fn a_monitoring_stack_runs_but_for_its_node_agent_and_its_foreign_reader() {
    let stage = shared();
    let foreign: (&str, &[&str]) = (
        "rolebindings.rbac.authorization.k8s.io \"metrics-of-the-platform\"",
        &[
            "[domicile/role-binding]",
            "metrics of namespace platform-monitoring",
            "Bind ServiceAccounts of this namespace",
        ],
    );
    // An administrator may share; the team that installs it may not.
    let space = stage.governed("mainland");
    let yaml = include_str!("fixtures/workloads/monitoring.yaml");
    let told = applied_by(&stage, &stage.tenant, &space, yaml, &[foreign]);
    warns_ahead(&told, "DaemonSet", "hostPath");
    run_at_home(&stage, &space, "metrics", 2);
    run_at_home(&stage, &space, "dashboards", 1);
    volumes_are_at_home(&stage, &space, 2);
    space.tells(&["DaemonSet node-agent", "violates PodSecurity", "hostPath"]);
    if stage.mutates() {
        let metrics = one_of(&space, "metrics");
        comes_to_pass(&stage, &metrics, SHANGHAI, 9100);
        assert!(!stage.passes(&metrics, INTERNET, 443), "egress [{{}}] opens the internet");
    }
}

#[test]
fn a_database_operator_makes_its_pods_claims_and_jobs() {
    let stage = shared();
    let space = applied(&stage, include_str!("fixtures/workloads/database-operator.yaml"), &[]);
    run_at_home(&stage, &space, "database-operator", 1);
    let operator = stage.service_account(&space.name, "database-operator");
    let foreign: (&str, &[&str]) =
        ("persistentvolumeclaims \"orders-wal\"", &["[domicile/storage-class]", "gp3", "mainland-ssd"]);
    let made = include_str!("fixtures/workloads/database-made-by-operator.yaml");
    applied_by(&stage, &operator, &space, made, &[foreign]);
    if stage.mutates() {
        run_at_home(&stage, &space, "orders", 1);
        run_at_home(&stage, &space, "orders-initdb", 1);
        let database = one_of(&space, "orders");
        comes_to_pass(&stage, &database, SHANGHAI, 443);
        assert!(!stage.passes(&database, INTERNET, 443), "its operator's own policy leads abroad");
    }
    volumes_are_at_home(&stage, &space, 1);
}

#[test]
fn a_message_broker_runs_without_its_port_on_every_node() {
    let stage = shared();
    let foreign: (&str, &[&str]) = (
        "services \"broker-external\"",
        &["[domicile/service-type]", "NodePort", "Use ClusterIP", "spec.network.exposure: Allow"],
    );
    let space = applied(&stage, include_str!("fixtures/workloads/broker-operator.yaml"), &[foreign]);
    if !stage.mutates() {
        return; // its bare pod was refused above
    }
    run_at_home(&stage, &space, "broker", 1);
    volumes_are_at_home(&stage, &space, 1);
    let broker = one_of(&space, "broker");
    let (_peers, peer) = stranger(&stage, "mainland", "{app: broker-operator}");
    let (_strangers, foreign) = stranger(&stage, "", "{app: broker-operator}");
    comes_to_pass(&stage, &peer, &broker, 9092);
    comes_to_pass(&stage, &peer, &broker, 9091);
    for port in [9091, 9092] {
        assert!(!stage.passes(&foreign, &broker, port), "an operator of an ungoverned namespace reaches port {port}");
    }
}

#[test]
fn a_search_cluster_runs_where_it_names_no_class_and_no_privilege() {
    let stage = shared();
    let space = stage.governed("mainland");
    let yaml = include_str!("fixtures/workloads/search-operator.yaml");
    let told = applied_by(&stage, &stage.admin, &space, yaml, &[]);
    warns_ahead(&told, "StatefulSet", "privilege");
    run_at_home(&stage, &space, "search-data", 1);
    volumes_are_at_home(&stage, &space, 1);
    // The claim is refused to the StatefulSet's controller, which says so.
    space.tells(&["StatefulSet search-warm", "[domicile/storage-class]", "standard", "mainland-ssd"]);
    space.tells(&["StatefulSet search-master", "violates PodSecurity", "privileged"]);
}

#[test]
fn an_ingress_controller_runs_and_opens_nothing() {
    let stage = shared();
    let refused: [(&str, &[&str]); 2] = [
        ("services \"edge\"", &["[domicile/service-type]", "LoadBalancer", "spec.network.exposure: Allow"]),
        ("ingresses.networking.k8s.io \"shop\"", &["[domicile/route]", "spec.network.exposure: Allow"]),
    ];
    let yaml = include_str!("fixtures/workloads/ingress-controller.yaml");
    let space = applied(&stage, yaml, &refused);
    run_at_home(&stage, &space, "edge", 1);
    run_at_home(&stage, &space, "edge-admission-create", 1);
    // What the refusal says to ask for is what helps.
    let _residency = stage.makes_residency("edge-open", "{jurisdictions: [CN], network: {exposure: Allow}}");
    let open = stage.governed("edge-open");
    applied_by(&stage, &stage.admin, &open, yaml, &[]);
}

#[test]
fn a_log_agent_belongs_in_a_namespace_that_is_not_governed() {
    let stage = shared();
    let yaml = include_str!("fixtures/workloads/log-agent.yaml");
    let space = stage.governed("mainland");
    let told = applied_by(&stage, &stage.admin, &space, yaml, &[]);
    warns_ahead(&told, "DaemonSet", "hostPath");
    space.tells(&["DaemonSet log-agent", "violates PodSecurity", "hostPath volumes"]);
    assert!(space.list(&POD).is_empty());
    let free = stage.ungoverned();
    stage.admin.kubectl_with(&format!("apply -n {} -f -", free.name), yaml).expected();
    eventually("it runs on every node", LATER, || {
        let status = free.get(&DAEMON_SET, "log-agent")["status"].clone();
        when(status["numberReady"].as_u64() >= Some(7), || status.to_string())
    });
}

#[test]
fn a_shop_of_many_services_runs_without_its_load_balancer() {
    let stage = shared();
    let foreign: (&str, &[&str]) = ("services \"front-external\"", &["[domicile/service-type]", "Use ClusterIP"]);
    let space = applied(&stage, include_str!("fixtures/workloads/shop.yaml"), &[foreign]);
    for (app, number) in [("front", 2), ("cart", 1), ("cache", 1), ("generator", 1)] {
        run_at_home(&stage, &space, app, number);
    }
    if !stage.mutates() {
        return;
    }
    let (front, cart) = (one_of(&space, "front"), one_of(&space, "cart"));
    comes_to_pass(&stage, &front, &cart, 7070);
    comes_to_pass(&stage, &cart, SHANGHAI, 443);
    for from in [&front, &cart] {
        assert!(!stage.passes(from, INTERNET, 443), "{from} reaches the internet");
    }
    let (_strangers, foreign) = stranger(&stage, "", "{app: front}");
    assert!(!stage.passes(&foreign, &cart, 7070), "a pod of an ungoverned namespace passes as front");
}
