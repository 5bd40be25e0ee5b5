//! What is older than the confinement: pods that wait, wide policies, services; and the same when a mode becomes stricter.

use crate::{
    network::{INTERNET, is_stopped, passes, policy},
    placement::on_the_mainland,
    support::prelude::*,
};

const WIDE: &str = "{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {name: wide}, spec: {podSelector: {}, policyTypes: [Egress], egress: [{}]}}";

/// A pod that no node takes until one is labelled for it.
fn waiting(name: &str, key: &str) -> Manifest {
    bare_pod(name).with(&format!("spec: {{nodeSelector: {{{key}: here}}}}"))
}

/// Pods that wait in `namespace` while `strengthen` makes it stricter are put nowhere afterwards.
#[track_caller]
fn are_held(stage: &Turn, namespace: &mut Namespace, strengthen: impl FnOnce(&mut Namespace)) {
    let key = format!("e2e.example.com/{}", namespace.name);
    namespace.accepts(bare_pod("gated").with("spec: {schedulingGates: [{name: example.com/wait}]}"));
    namespace.accepts(waiting("pending", &key));
    namespace.fits_nowhere("pending");
    strengthen(namespace);
    for pod in ["gated", "pending"] {
        let uid = namespace.get(&POD, pod)["metadata"]["uid"].as_str().unwrap().to_owned();
        eventually(&format!("{pod} is held"), SOON, || {
            let held = namespace.annotation("domicile.dev/held-pods");
            assert_ne!(held, "-", "nothing is held");
            when(held.contains(&uid), || held)
        });
    }
    let said = namespace.patch(&POD, "gated", "spec: {schedulingGates: null}").refused("[domicile/placement]");
    assert!(said.contains("older than the confinement"), "{said}");
    // Now a foreign node takes the other one, and the scheduler binds it.
    stage.admin.patch(&NODE, "", "frankfurt-b", &json!({"metadata": {"labels": {&key: "here"}}})).expected();
    eventually("the scheduler was refused", SOON, || {
        let pod = namespace.get(&POD, "pending");
        assert!(pod["spec"]["nodeName"].is_null(), "the pod was put on {}", pod["spec"]["nodeName"]);
        let told = format!("{} {}", pod["status"], namespace.events().join("\n"));
        when(told.contains("[domicile/held-pod]"), || told.clone())
    });
    stage.admin.patch(&NODE, "", "frankfurt-b", &json!({"metadata": {"labels": {&key: null}}})).expected();
    // Their pinned successors, under the same names, are not held.
    for pod in ["gated", "pending"] {
        namespace.tenant.delete_now(&POD, &namespace.name, pod).expected();
        namespace.loses(&POD, pod);
        namespace.accepts(namespace.pod(pod));
        let node = namespace.runs(pod);
        assert!(on_the_mainland(&node), "{node}");
    }
}

#[test]
fn p5a_pods_that_wait_when_a_namespace_joins_are_held() {
    let stage = shared();
    let mut shop = stage.ungoverned();
    are_held(&stage, &mut shop, |shop| shop.joins("mainland"));
}

#[test]
fn pods_that_wait_when_the_mode_becomes_stricter_are_held() {
    let stage = shared();
    let residency = stage.makes_residency("growing-strict", "{jurisdictions: [CN], enforcement: Audit}");
    let mut shop = stage.governed("growing-strict");
    are_held(&stage, &mut shop, |shop| {
        residency.becomes("spec: {enforcement: Enforce}");
        eventually("Enforce holds", SOON, || {
            let labels = shop.labels();
            when(
                labels["domicile.dev/enforcement"] == "Enforce"
                    && shop.annotation("domicile.dev/refused-because") == "-",
                || format!("{labels:?}"),
            )
        });
    });
}

#[test]
fn pods_that_are_made_while_the_mode_becomes_stricter_stay_in_the_country_or_wait() {
    let stage = shared();
    let residency = stage.makes_residency("turning-stricter", "{jurisdictions: [CN], enforcement: Audit}");
    let shop = stage.governed("turning-stricter");
    let edge = "{topology.kubernetes.io/region: eu-central-1}";
    residency.becomes("spec: {enforcement: Enforce}");
    // Whatever slips in before the change is seen is older than it; nothing that comes later runs abroad.
    let mut made = Vec::new();
    for number in 0..20 {
        let pod = bare_pod(&format!("pod-{number}"))
            .with(&format!("spec: {{nodeSelector: {edge}, schedulingGates: [{{name: example.com/wait}}]}}"))
            .in_namespace(&shop.name);
        if stage.tenant.create(&pod).ok() {
            made.push(pod.name().to_owned());
        }
    }
    eventually("Enforce holds", SOON, || {
        let labels = shop.labels();
        when(
            labels["domicile.dev/enforcement"] == "Enforce" && shop.annotation("domicile.dev/refused-because") == "-",
            || format!("{labels:?}"),
        )
    });
    for name in &made {
        let _ = shop.patch(&POD, name, "spec: {schedulingGates: null}");
    }
    never("a pod runs in Frankfurt", Duration::from_secs(2), || {
        let outside = shop
            .list(&POD)
            .into_iter()
            .find(|pod| pod["spec"]["nodeName"].as_str().is_some_and(|node| !on_the_mainland(node)));
        outside.map(|pod| pod["metadata"]["name"].to_string())
    });
}

#[test]
fn a_wide_policy_from_before_is_narrowed_or_keeps_the_namespace_closed() {
    let stage = shared();
    let _residency = stage.makes_residency("with-wide-policies", "{jurisdictions: [CN]}");
    let mut shop = stage.ungoverned();
    shop.accepts(bare_pod("web").with("spec: {nodeSelector: {kubernetes.io/hostname: shanghai-a}}"));
    shop.runs("web");
    shop.accepts(WIDE);
    let web = format!("{}/web", shop.name);
    assert!(stage.passes(&web, "198.51.100.7", 443));
    if stage.mutates() {
        shop.joins("with-wide-policies");
        let spec = shop.get(&NETWORK_POLICY, "wide")["spec"].clone();
        assert!(spec.to_string().contains("10.20.0.0/16"), "{spec}");
        assert!(!stage.passes(&web, "198.51.100.7", 443), "an older policy still opens the internet");
        assert!(stage.passes(&web, "10.20.5.5", 443));
    } else {
        shop.label("domicile.dev/residency", "with-wide-policies");
        eventually("the namespace says what keeps it closed", SOON, || {
            let because = shop.annotation("domicile.dev/refused-because");
            when(because.contains("NetworkPolicy wide"), || because)
        });
        let pinned = bare_pod("late").with(&format!("spec: {{nodeSelector: {{{PIN}with-wide-policies: 'true'}}}}"));
        let said = shop.comes_to_reject(pinned, "[domicile/refused]");
        assert!(said.contains("NetworkPolicy wide"), "{said}");
        stage.becomes("with-wide-policies", "Ready", "False");
        let narrow = "spec: {egress: [{to: [{ipBlock: {cidr: 10.20.0.0/16}}]}]}";
        shop.patch(&NETWORK_POLICY, "wide", narrow).expected();
        shop.is_confined();
    }
    // A namespace that comes with policies of its own keeps its zero trust.
    assert_eq!(shop.annotation("domicile.dev/permitting"), "None");
    assert!(shop.find(&NETWORK_POLICY, "domicile-permit").is_none());
}

/// One policy that lets somebody in is a policy of its own, and egress that nobody has thought of is closed with it.
#[test]
fn a_namespace_that_keeps_its_zero_trust_is_told_what_that_closes() {
    let stage = shared();
    let residency = stage.makes_residency("keeping-trust", "{jurisdictions: [CN], enforcement: Audit}");
    let network = |words: &str, told: bool| {
        eventually(&format!("NetworkEnforced says {words}: {told}"), SOON, || {
            let conditions = stage.admin.get(&DATA_RESIDENCY, "", "keeping-trust")["status"]["conditions"].clone();
            let network =
                conditions.as_array().into_iter().flatten().find(|one| one["type"] == "NetworkEnforced").cloned();
            let message = network.unwrap_or_default()["message"].as_str().unwrap_or_default().to_owned();
            when(message.contains(words) == told, || message)
        });
    };
    let with_policy = || {
        let shop = stage.ungoverned();
        shop.accepts("{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {name: from-front}, spec: {podSelector: {matchLabels: {app: back}}, policyTypes: [Ingress], ingress: [{from: [{podSelector: {matchLabels: {app: front}}}]}]}}");
        shop.accepts(bare_pod("web").with("spec: {nodeSelector: {kubernetes.io/hostname: shanghai-a}}"));
        shop.runs("web");
        shop
    };
    let (mut first, mut second) = (with_policy(), with_policy());
    first.joins("keeping-trust");
    network(&format!("in {} with enforcement: Enforce nothing would open pods", first.name), true);
    residency.becomes("spec: {enforcement: Enforce}");
    network(&format!("in {} nothing opens pods but their own NetworkPolicies", first.name), true);
    second.joins("keeping-trust");
    second.tells(&["Confined Namespace", "NetworkPolicies of its own", "domicile.dev/permit: All"]);
    for shop in [&first, &second] {
        let web = format!("{}/web", shop.name);
        eventually("it is closed", SOON, || {
            when(!stage.passes(&web, "10.20.5.5", 443), || "it opens what is permitted".into())
        });
        shop.label("domicile.dev/permit", "All");
        eventually("what is permitted is opened", SOON, || {
            when(stage.passes(&web, "10.20.5.5", 443), || format!("{:?}", shop.list(&NETWORK_POLICY)))
        });
    }
    network("their own NetworkPolicies", false);
}

#[test]
fn services_from_before_are_told_and_may_be_mended() {
    let stage = shared();
    let _residency = stage.makes_residency("with-a-past", "{jurisdictions: [CN]}");
    let mut shop = stage.ungoverned();
    shop.accepts(
        "{apiVersion: v1, kind: Service, metadata: {name: wide}, spec: {type: LoadBalancer, ports: [{port: 80}]}}",
    );
    shop.joins("with-a-past");
    eventually("the load balancer is a finding", SOON, || {
        let status = stage.admin.get(&DATA_RESIDENCY, "", "with-a-past")["status"].clone();
        when(status["findings"]["items"].to_string().contains(&format!("Service {}/wide", shop.name)), || {
            status.to_string()
        })
    });
    shop.patch(&SERVICE, "wide", "metadata: {labels: {touched: 'yes'}}").expected();
    shop.patch(&SERVICE, "wide", "spec: {type: ClusterIP}").expected();
    shop.patch(&SERVICE, "wide", "spec: {type: LoadBalancer}").refused("[domicile/service-type]");
    eventually("the finding is gone", SOON, || {
        let status = stage.admin.get(&DATA_RESIDENCY, "", "with-a-past")["status"].clone();
        when(status["findings"]["total"].as_u64().unwrap_or(0) == 0, || status.to_string())
    });
}

#[test]
fn p5b_pods_that_run_abroad_are_told_and_the_namespace_is_no_peer() {
    let stage = shared();
    let _residency = stage.makes_residency("with-runaways", "{jurisdictions: [CN]}");
    let mut shop = stage.ungoverned();
    shop.accepts(bare_pod("away").with("spec: {nodeName: frankfurt-a}"));
    shop.runs("away");
    shop.joins("with-runaways");
    let status = stage.becomes("with-runaways", "Compliant", "False")["status"].clone();
    let finding = &status["findings"]["items"][0];
    assert_eq!(finding["subject"], format!("Pod {}/away", shop.name), "{status}");
    assert_eq!(finding["verdict"], "NonCompliant");
    for field in ["rule", "message", "remedy"] {
        assert!(finding[field].as_str().is_some_and(|text| !text.is_empty()), "{finding}");
    }
    assert!(!shop.labels().contains_key("domicile.dev/peer"));
    shop.tells(&["Pod", "away"]);
    shop.tenant.delete_now(&POD, &shop.name, "away").expected();
    stage.becomes("with-runaways", "Compliant", "True");
    eventually("the namespace is a peer", SOON, || {
        when(shop.labels().contains_key("domicile.dev/peer"), || format!("{:?}", shop.labels()))
    });
}

/// It is no peer of others then, and what its own policies open to any address or namespace they open to its own pods still.
#[test]
fn a_namespace_with_a_pod_abroad_is_not_cut_off_from_itself() {
    let stage = shared();
    let _residency = stage.makes_residency("with-a-straggler", "{jurisdictions: [CN]}");
    let mut shop = stage.ungoverned();
    shop.accepts(bare_pod("away").with("spec: {nodeName: frankfurt-a}"));
    for pod in ["web", "db"] {
        shop.accepts(
            bare_pod(pod).with(&format!("{{metadata: {{labels: {{app: {pod}}}}}, spec: {{nodeName: shanghai-a}}}}")),
        );
        shop.runs(pod);
    }
    shop.runs("away");
    let both = "podSelector: {}, policyTypes: [Ingress, Egress]";
    shop.accepts(policy(
        "any",
        &format!("{{{both}, egress: [{{}}], ingress: [{{from: [{{namespaceSelector: {{}}}}]}}]}}"),
    ));
    shop.joins("with-a-straggler");
    assert!(!shop.labels().contains_key("domicile.dev/peer"));
    assert!(shop.find(&NETWORK_POLICY, "domicile-permit").is_none(), "its own policies are all that opens anything");
    let pod = |name: &str| format!("{}/{name}", shop.name);
    if stage.mutates() {
        passes(&stage, &pod("web"), &pod("db"), 5432);
    }
    is_stopped(&stage, &pod("web"), INTERNET, 443);
}

/// Whoever makes a policy under Domicile's name and holds it by a finalizer keeps neither it nor what it opens.
#[test]
fn a_policy_of_domiciles_name_that_somebody_holds_opens_nothing() {
    let stage = shared();
    let many = "{podSelector: {}}, ".repeat(60_000);
    for (case, labels, rule, ended, beside) in [
        ("it has the mark", "{app.kubernetes.io/managed-by: domicile}", "{}", false, false),
        ("it has none, and the tenant has others", "{}", "{}", false, true),
        ("it is longer than is read", "{}", format!("{{to: [{many}]}}, {{}}").as_str(), false, true),
        ("it is being deleted", "{app.kubernetes.io/managed-by: domicile}", "{}", true, false),
    ] {
        let space = stage.ungoverned();
        let held = format!(
            "{{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {{name: domicile-permit, finalizers: [example.com/hold], labels: {labels}}}, \
             spec: {{podSelector: {{}}, policyTypes: [Egress, Ingress], egress: [{rule}], ingress: [{{}}]}}}}"
        );
        space.accepts(held);
        if beside {
            space.accepts("{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {name: own}, spec: {podSelector: {}, policyTypes: [Ingress]}}");
        }
        if ended {
            stage.tenant.delete(&NETWORK_POLICY, &space.name, "domicile-permit").expected();
        }
        let joining =
            json!({"metadata": {"labels": {"domicile.dev/permit": "None", "domicile.dev/residency": "mainland"}}});
        stage.tenant.patch(&NAMESPACE, "", &space.name, &joining).expected();
        space.is_confined();
        let left = space.find(&NETWORK_POLICY, "domicile-permit");
        assert_eq!(left.map(|policy| policy.to_string()), None, "{case}");
        if ended {
            space.accepts(space.pod("web"));
            space.runs("web");
            is_stopped(&stage, &format!("{}/web", space.name), INTERNET, 443);
        }
    }
}
