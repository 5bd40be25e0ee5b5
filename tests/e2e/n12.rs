//! N12: to whom the API server sends whole objects of governed namespaces.

use crate::{
    coverage,
    network::{is_stopped, passes, policy, web, with_pod},
    support::prelude::*,
};

const WEBHOOK: &str = "domicile/webhook";
const SERVED: &str = "domicile/served-webhook";
/// Nobody is there; a webhook that may be ignored holds nobody up.
const ABROAD: &str = "https://198.51.100.7:8443/review";

/// Webhooks for ConfigMaps, which no test of others makes in these namespaces.
fn webhooks(kind: &str, client: &Value, more: Value) -> Manifest {
    let name = fresh_name();
    let mut webhook = json!({
        "name": "review.example.com", "admissionReviewVersions": ["v1"], "sideEffects": "None", "failurePolicy": "Ignore",
        "timeoutSeconds": 1, "clientConfig": client,
        "rules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["DELETE"], "resources": ["configmaps"]}],
    });
    for (key, value) in more.as_object().unwrap() {
        webhook[key] = value.clone();
    }
    Manifest(
        json!({"apiVersion": "admissionregistration.k8s.io/v1", "kind": kind, "metadata": {"name": name}, "webhooks": [webhook]}),
    )
}

/// Sends it objects of this namespace alone.
fn only(space: &Namespace) -> Value {
    json!({"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": space.name}}})
}

#[track_caller]
fn finds(stage: &Turn, residency: &str, rule: &str, verdict: &str, subject: &str, words: &str) {
    eventually(&format!("{subject} is {verdict}: {words}"), SOON, || {
        let status = stage.admin.get(&DATA_RESIDENCY, "", residency)["status"].clone();
        let items = status["findings"]["items"].as_array().cloned().unwrap_or_default();
        let told = items.iter().any(|item| {
            item["rule"] == rule
                && item["verdict"] == verdict
                && item["subject"] == subject
                && item["message"].as_str().unwrap().contains(words)
        });
        when(told && status["findings"]["total"] == 1, || status.to_string())
    });
}

#[test]
fn n12_a_webhook_that_leads_out_is_told() {
    let stage = shared();
    let _residency = stage.makes_residency("reviewed", "{jurisdictions: [CN]}");
    let shop = stage.governed("reviewed");
    stage.becomes("reviewed", "Compliant", "True");
    for kind in ["ValidatingWebhookConfiguration", "MutatingWebhookConfiguration"] {
        // What is sent nothing of the namespace, or stays inside, is told by nobody.
        let elsewhere = json!({"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "elsewhere"}}});
        let harmless = [
            webhooks(kind, &json!({"url": ABROAD}), elsewhere),
            webhooks(kind, &json!({"url": "https://10.20.7.7/review"}), only(&shop)),
            webhooks(kind, &json!({"url": "https://127.0.0.1:9443/review"}), only(&shop)),
            webhooks(kind, &json!({"service": {"namespace": "add-on", "name": "webhook"}}), only(&shop)),
        ]
        .map(|manifest| stage.makes(manifest));
        let abroad = stage.makes(webhooks(kind, &json!({"url": ABROAD}), only(&shop)));
        let subject = format!("{kind} {}", abroad.name());
        let words =
            "review.example.com is sent objects of governed namespaces, at 198.51.100.7, which does not lie inside";
        finds(&stage, "reviewed", WEBHOOK, "NonCompliant", &subject, words);
        stage.becomes("reviewed", "Compliant", "False");
        eventually("that is told on it", SOON, || {
            let path = format!("{}?fieldSelector=involvedObject.name={}", EVENT.collection("default"), abroad.name());
            let events = stage.admin.get_at(&path).object["items"].to_string();
            when(events.contains("[domicile/webhook]") && events.contains(kind), || events.clone())
        });
        abroad.deleted();
        stage.becomes("reviewed", "Compliant", "True");
        let by_name = stage.makes(webhooks(kind, &json!({"url": "https://hooks.example.com/a"}), only(&shop)));
        let subject = format!("{kind} {}", by_name.name());
        finds(&stage, "reviewed", WEBHOOK, "Unknown", &subject, "at hooks.example.com; where that name leads");
        stage.becomes("reviewed", "Compliant", "Unknown");
        by_name.deleted();
        stage.becomes("reviewed", "Compliant", "True");
        drop(harmless);
    }
}

#[test]
fn n12_a_service_that_is_another_name_leads_out() {
    let stage = to_install_anew(); // an APIService is sent objects of every namespace
    let _residency = stage.makes_residency("served-abroad", "{jurisdictions: [CN]}");
    let _shop = stage.governed("served-abroad");
    let add_on = stage.ungoverned();
    add_on.accepts("{apiVersion: v1, kind: Service, metadata: {name: api}, spec: {ports: [{port: 443}]}}");
    let api = stage.makes(Manifest(json!({"apiVersion": "apiregistration.k8s.io/v1", "kind": "APIService",
        "metadata": {"name": "v1.n12.example.com"},
        "spec": {"group": "n12.example.com", "version": "v1", "groupPriorityMinimum": 10, "versionPriority": 10,
            "insecureSkipTLSVerify": true, "service": {"namespace": add_on.name, "name": "api"}}})));
    // A Service with pods is what every add-on has: it is named, and breaks nothing.
    let named = format!("{}/api", add_on.name);
    let rest = coverage::route(&coverage::told(&stage), "N12")["rest"].as_str().unwrap().to_owned();
    assert!(rest.contains("in namespaces that name no residency") && rest.contains(&named), "{rest}");
    stage.becomes("served-abroad", "Compliant", "True");
    // Unless somebody wrote where it leads.
    let written = |address: &str| {
        Manifest(json!({"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
            "metadata": {"name": "by-hand", "labels": {"kubernetes.io/service-name": "api"}},
            "addressType": "IPv4", "endpoints": [{"addresses": [address]}], "ports": [{"port": 443}]}))
    };
    add_on.accepts(written("198.51.100.7"));
    let words = format!(
        "at Service {named}, whose EndpointSlice by-hand somebody wrote: 198.51.100.7, which does not lie inside"
    );
    finds(&stage, "served-abroad", WEBHOOK, "Unknown", "APIService v1.n12.example.com", &words);
    add_on.delete(&ENDPOINT_SLICE, "by-hand").expected();
    stage.becomes("served-abroad", "Compliant", "True");
    add_on.accepts(written("10.20.9.9"));
    add_on.delete(&SERVICE, "api").expected();
    add_on.accepts("{apiVersion: v1, kind: Service, metadata: {name: api}, spec: {type: ExternalName, externalName: api.example.com}}");
    let words =
        format!("n12.example.com is sent objects of governed namespaces, at Service {named} of type ExternalName");
    finds(&stage, "served-abroad", WEBHOOK, "Unknown", "APIService v1.n12.example.com", &words);
    stage.becomes("served-abroad", "Compliant", "Unknown");
    api.deleted();
    stage.becomes("served-abroad", "Compliant", "True");
}

#[test]
fn n12_conversions_are_named_by_coverage() {
    let stage = shared();
    let (group, plural) = ("n12-conversion.example.com", "ways");
    let version = |name: &str, storage: bool| json!({"name": name, "served": true, "storage": storage, "schema": {"openAPIV3Schema": {"type": "object"}}});
    let definition =
        stage.makes(Manifest(json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": format!("{plural}.{group}")},
        "spec": {"group": group, "scope": "Namespaced", "names": {"kind": "Way", "plural": plural},
            "versions": [version("v1", true), version("v2", false)],
            "conversion": {"strategy": "Webhook", "webhook": {"conversionReviewVersions": ["v1"],
                "clientConfig": {"url": "https://converts.example.com/a"}}}}})));
    let told = || coverage::route(&coverage::told(&stage), "N12")["rest"].as_str().unwrap().to_owned();
    let rest = told();
    assert!(rest.contains("converted outside the cluster") && rest.contains("converts.example.com"), "{rest}");
    // One that a governed namespace serves leads nowhere, and is told for what it needs.
    let shop = stage.governed("mainland");
    let service = json!({"url": null, "service": {"namespace": shop.name, "name": "hooks"}});
    definition.becomes(&json!({"spec": {"conversion": {"webhook": {"clientConfig": service}}}}).to_string());
    let (rest, own) = (told(), format!("{}/hooks", shop.name));
    assert!(rest.contains("Governed namespaces convert") && rest.contains("controlPlane.addresses"), "{rest}");
    assert!(rest.contains(&own) && !rest.contains("converts.example.com"), "{rest}");
}

/// Where the API servers stand, as they tell it. Those of the tests stand at a loopback address, which endpoints cannot tell:
/// there the test tells another one for them, which nobody has.
struct ApiServers<'stage> {
    stage: &'stage Turn,
    addresses: Vec<String>,
    written: bool,
}

impl<'stage> ApiServers<'stage> {
    #[track_caller]
    fn of(stage: &'stage Turn) -> Self {
        let found = stage.admin.get_at(&ENDPOINT_SLICE.path("default", "kubernetes"));
        let told = found.object["endpoints"].as_array().cloned().unwrap_or_default();
        let told = told.iter().flat_map(|endpoint| endpoint["addresses"].as_array().cloned().unwrap_or_default());
        let addresses: Vec<String> = told.filter_map(|address| address.as_str().map(str::to_owned)).collect();
        if !addresses.is_empty() {
            return Self { stage, addresses, written: false };
        }
        let slice = Manifest(json!({"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
            "metadata": {"name": "kubernetes", "namespace": "default", "labels": {"kubernetes.io/service-name": "kubernetes"}},
            "addressType": "IPv4", "endpoints": [{"addresses": ["10.59.0.5"]}], "ports": [{"name": "https", "port": 6443}]}));
        stage.admin.apply(&slice).expected();
        Self { stage, addresses: vec!["10.59.0.5".to_owned()], written: true }
    }
}

impl Drop for ApiServers<'_> {
    fn drop(&mut self) {
        if self.written {
            let _ = self.stage.admin.delete(&ENDPOINT_SLICE, "default", "kubernetes");
        }
    }
}

#[test]
fn n12_what_governed_namespaces_serve_is_reached_by_the_control_plane_where_that_is_attested() {
    let stage = to_install_anew();
    let servers = ApiServers::of(&stage);
    let address = &servers.addresses[0];
    let _residency = stage.makes_residency("serving", "{jurisdictions: [CN]}");
    let shop = with_pod(&stage, "serving");
    shop.accepts(
        "{apiVersion: v1, kind: Service, metadata: {name: hooks}, spec: {selector: {app: web}, ports: [{port: 443}]}}",
    );
    let network = |words: &str, told: bool| {
        eventually(&format!("NetworkEnforced tells of {words}: {told}"), SOON, || {
            let seen = stage.admin.get(&DATA_RESIDENCY, "", "serving");
            let conditions = seen["status"]["conditions"].as_array().cloned().unwrap_or_default();
            let found = conditions.iter().find(|condition| condition["type"] == "NetworkEnforced").cloned();
            let message = found.unwrap_or_default()["message"].as_str().unwrap_or_default().to_owned();
            when(message.contains(words) == told, || message)
        });
    };
    network(&format!("governed pods and the API servers at {address}"), true);
    stage.becomes("serving", "Compliant", "True"); // it breaks nothing
    let elsewhere = json!({"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "elsewhere"}}});
    let service = json!({"service": {"namespace": shop.name, "name": "hooks"}});
    // An operator of the tenant's makes it, whose role lets it.
    let hooks = stage.service_account(&shop.name, "default");
    let role = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": fresh_name()},
        "rules": [{"apiGroups": ["admissionregistration.k8s.io"], "resources": ["validatingwebhookconfigurations"], "verbs": ["create"]}]});
    let role = stage.makes(Manifest(role));
    let _bound = stage.makes(format!("{{apiVersion: rbac.authorization.k8s.io/v1, kind: ClusterRoleBinding, metadata: {{name: {}}}, roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: {}}}, subjects: [{{kind: ServiceAccount, name: default, namespace: {}}}]}}", role.name(), role.name(), shop.name).as_str());
    let webhook = webhooks("ValidatingWebhookConfiguration", &service, elsewhere);
    eventually("the role is given", SOON, || {
        let reply = hooks.try_create(&webhook);
        when(reply.ok(), || reply.message)
    });
    let served = stage.lets_make(&hooks, &webhook);
    let subject = format!("Service {}/hooks", shop.name);
    let words = format!("it serves ValidatingWebhookConfiguration {}, and the API servers at {address}", served.name());
    finds(&stage, "serving", SERVED, "Unknown", &subject, &words);
    shop.tells(&["Service hooks", "spec.controlPlane.addresses"]);
    is_stopped(&stage, address, &web(&shop), 443);
    is_stopped(&stage, &web(&shop), address, 6443);

    let attested: Vec<String> = servers.addresses.iter().map(|address| format!("{address}/32")).collect();
    let center = stage.makes_data_center("shenzhen-n12", "CN", "cn-shenzhen", 58);
    center.becomes(&json!({"spec": {"controlPlane": {"addresses": attested}}}).to_string());
    stage.becomes("serving", "Compliant", "True");
    passes(&stage, address, &web(&shop), 443);
    passes(&stage, &web(&shop), address, 6443);
    network("API servers", false);

    // Where a namespace opens nothing but by its own policies, these must.
    shop.label("domicile.dev/permit", "None");
    finds(&stage, "serving", SERVED, "Unknown", &subject, &words);
    shop.loses(&NETWORK_POLICY, "domicile-permit");
    is_stopped(&stage, address, &web(&shop), 443);
    let blocks: Vec<Value> = attested.iter().map(|cidr| json!({"ipBlock": {"cidr": cidr}})).collect();
    let own = json!({"podSelector": {}, "policyTypes": ["Ingress"], "ingress": [{"from": blocks}]});
    shop.accepts(policy("hooks", &own.to_string()));
    stage.becomes("serving", "Compliant", "True");
    passes(&stage, address, &web(&shop), 443);
    // So is an API that the API servers pass on.
    served.deleted();
    shop.delete(&NETWORK_POLICY, "hooks").expected();
    stage.becomes("serving", "Compliant", "True");
    let api = stage.makes(Manifest(json!({"apiVersion": "apiregistration.k8s.io/v1", "kind": "APIService",
        "metadata": {"name": "v1.n12-served.example.com"},
        "spec": {"group": "n12-served.example.com", "version": "v1", "groupPriorityMinimum": 10, "versionPriority": 10,
            "insecureSkipTLSVerify": true, "service": {"namespace": shop.name, "name": "hooks"}}})));
    let words = format!("it serves APIService v1.n12-served.example.com, and the API servers at {address}");
    finds(&stage, "serving", SERVED, "Unknown", &subject, &words);
    api.deleted();
    stage.becomes("serving", "Compliant", "True");
    stage.forgets(center, "10.58.0.0/16");
}
