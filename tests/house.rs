//! What holds of the sources themselves: the definitions are those of the code, pure modules name no client, and the
//! fixed policies keep the rules of the house.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use domicile::domain::add_ons::ADD_ONS;
use domicile::domain::routes::{Closes, Route, routes};
use serde_json::Value;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn files(folder: &Path, ending: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path, ending));
        } else if path.extension().is_some_and(|own| own == ending) {
            found.push(path);
        }
    }
    found.sort();
    found
}

#[test]
fn the_definitions_are_those_of_the_code() {
    let definitions = domicile::api::definitions();
    assert_eq!(files(&root().join("crds"), "yaml").len(), definitions.len(), "run `make crds`");
    for definition in definitions {
        let path = root().join("crds").join(format!("{}.yaml", definition.spec.names.plural));
        let written: Value = serde_saphyr::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
        let same = written == serde_json::to_value(&definition).unwrap();
        assert!(same, "{} differs from the code: run `make crds`", path.display());
    }
}

#[test]
fn every_field_that_users_write_is_described() {
    for definition in domicile::api::definitions() {
        let schema = serde_json::to_value(&definition.spec.versions[0].schema).unwrap();
        undescribed(&schema["openAPIV3Schema"]["properties"]["spec"], &format!("{}.spec", definition.spec.names.kind));
    }
}

fn undescribed(schema: &Value, path: &str) {
    assert!(schema["description"].is_string() || path.ends_with(']'), "{path} has no description");
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        undescribed(property, &format!("{path}.{name}"));
    }
    if schema["items"].is_object() {
        assert!(schema["maxItems"].is_number(), "{path} has no maxItems");
        undescribed(&schema["items"], &format!("{path}[]"));
    }
}

#[test]
fn pure_modules_name_no_client_no_clock_and_no_environment() {
    let forbidden = [
        "kube::Client",
        "kube::Api",
        "Client,",
        "Api<",
        "tokio",
        "SystemTime",
        "Instant",
        "std::env",
        "Timestamp::now",
    ];
    for module in ["domain", "resolve", "compile", "audit", "report", "policies", "webhook/decide"] {
        for path in files(&root().join("src").join(module), "rs") {
            let text = fs::read_to_string(&path).unwrap();
            let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
            for (number, line) in code.enumerate() {
                for word in forbidden {
                    assert!(!line.contains(word), "{}:{}: {word}", path.display(), number + 1);
                }
            }
        }
    }
}

/// Every document of every policy file, with its tokens put in.
fn policies() -> Vec<(PathBuf, Value)> {
    let mut documents = Vec::new();
    for path in files(&root().join("charts/domicile/policies"), "yaml") {
        let mut text = fs::read_to_string(&path).unwrap();
        for (token, value) in [
            ("operatorUser", "operator"),
            ("ungovernedNamespaces", "[kube-system]"),
            ("ungovernedList", "['kube-system']"),
            ("schedulerUsers", "['scheduler']"),
            ("schedulerNames", "['default-scheduler']"),
            ("namespaceFinishers", "['finisher']"),
            ("nodeProvisioners", "['provisioner']"),
            ("deviceDrivers", "['gpu.example.com']"),
            ("furtherNetworks", "['example.com/network']"),
        ] {
            text = text.replace(&format!("{{{{ include \"domicile.{token}\" . }}}}"), value);
        }
        assert!(!text.contains("{{"), "{} has another template expression", path.display());
        let parsed: Vec<Value> = serde_saphyr::from_multiple(&text).unwrap();
        documents.extend(parsed.into_iter().filter(|value| !value.is_null()).map(|value| (path.clone(), value)));
    }
    documents
}

fn name(policy: &Value) -> &str {
    policy["metadata"]["name"].as_str().unwrap()
}

#[test]
fn every_refusal_names_its_rule_the_residency_and_a_remedy() {
    for (path, policy) in policies() {
        for validation in policy["spec"]["validations"].as_array().into_iter().flatten() {
            let text = validation["messageExpression"].as_str().or(validation["message"].as_str()).unwrap_or_default();
            let place = format!("{} {}: {text}", path.display(), name(&policy));
            assert!(text.trim_start_matches('\'').starts_with("[domicile/"), "no rule id: {place}");
            assert!(text.contains("DataResidency"), "no residency: {place}");
            assert_eq!(validation["reason"], "Forbidden", "{place}");
        }
    }
}

#[test]
fn every_policy_fails_closed_and_leaves_out_what_is_never_governed() {
    for (path, policy) in policies() {
        let kind = policy["kind"].as_str().unwrap();
        if kind.ends_with("Binding") {
            continue;
        }
        let place = format!("{} {}", path.display(), name(&policy));
        let only_warns = ["domicile-leaving", "domicile-templates", "domicile-weakening"].contains(&name(&policy));
        assert_eq!(policy["spec"]["failurePolicy"], if only_warns { "Ignore" } else { "Fail" }, "{place}");
        assert!(policy["spec"]["paramKind"].is_null(), "{place}");
        let constraints = &policy["spec"]["matchConstraints"];
        let rules = constraints["resourceRules"].as_array().unwrap();
        let of_cluster =
            ["namespaces", "nodes", "storageclasses", "clusternetworkpolicies", "dataresidencies", "datacenters"];
        let namespaced = rules.iter().flat_map(|rule| rule["resources"].as_array().unwrap()).any(|resource| {
            let resource = resource.as_str().unwrap();
            !of_cluster.contains(&resource.split('/').next().unwrap())
        });
        // What judges the operator alone is in nobody's way.
        let of_the_operator = policy["spec"]["matchConditions"].as_array().is_some_and(|conditions| {
            conditions.iter().any(|one| one["expression"] == "request.userInfo.username == 'operator'")
        });
        if namespaced && !of_the_operator {
            let selector = constraints["namespaceSelector"]["matchExpressions"].to_string();
            assert!(selector.contains("kubernetes.io/metadata.name"), "{place}");
            assert!(selector.contains("domicile.dev/residency"), "{place}");
        }
        for rule in rules {
            let wide = |field: &str| rule[field].as_array().unwrap().iter().any(|word| word == "*");
            assert!(!wide("resources") && !wide("apiGroups") && !wide("operations"), "{place}");
        }
    }
}

#[test]
fn every_rule_on_update_looks_at_what_was_there() {
    for (path, policy) in policies() {
        let rules = policy["spec"]["matchConstraints"]["resourceRules"].as_array().into_iter().flatten();
        let on_update =
            rules.into_iter().any(|rule| rule["operations"].as_array().unwrap().iter().any(|word| word == "UPDATE"));
        if on_update && policy["spec"]["validations"].is_array() {
            assert!(policy["spec"].to_string().contains("oldObject"), "{} {}", path.display(), name(&policy));
        }
    }
}

#[test]
fn no_variable_is_a_boolean_of_yaml_and_no_list_is_judged_by_an_empty_string() {
    for (path, policy) in policies() {
        let place = format!("{} {}", path.display(), name(&policy));
        for variable in policy["spec"]["variables"].as_array().into_iter().flatten() {
            let own = variable["name"].as_str().unwrap_or_else(|| panic!("a variable's name is no string: {place}"));
            assert!(own.len() > 2, "{own}: {place}");
            let expression = variable["expression"].as_str().unwrap();
            assert!(!expression.contains("orValue('').split"), "{own}: {place}");
        }
    }
}

#[test]
fn policies_bind_every_mode_and_the_keys_are_one_closed_list() {
    let namespaces = fs::read_to_string(root().join("charts/domicile/policies/namespaces.yaml")).unwrap();
    for key in domicile::domain::keys::CONFINEMENT_LABELS.iter().chain(&domicile::domain::keys::CONFINEMENT_ANNOTATIONS)
    {
        assert!(namespaces.contains(&format!("'{key}'")), "namespaces.yaml does not guard {key}");
    }
    let documents = policies();
    let bindings = documents.iter().filter(|(_, document)| document["kind"].as_str().unwrap().ends_with("Binding"));
    for (path, binding) in bindings.filter(|(_, binding)| binding["kind"] == "ValidatingAdmissionPolicyBinding") {
        let actions = binding["spec"]["validationActions"].to_string();
        let expected = match name(binding).rsplit('-').next().unwrap() {
            "warn" | "leaving" | "weakening" => r#"["Warn","Audit"]"#,
            "templates" => r#"["Warn"]"#, // what Pod Security refuses
            "audit" => r#"["Audit"]"#,
            _ => r#"["Deny""#,
        };
        assert!(actions.starts_with(expected), "{} {}: {actions}", path.display(), name(binding));
    }
}

#[test]
fn annotations_that_say_the_address_of_a_pod_are_one_closed_list() {
    let pods = fs::read_to_string(root().join("charts/domicile/policies/pods.yaml")).unwrap();
    let list = domicile::domain::keys::ADDRESS_ANNOTATIONS.map(|key| format!("'{key}'")).join(", ");
    assert_eq!(pods.matches(&format!("[{list}]")).count(), 2, "pods.yaml asks for another list than [{list}]");
}

/// Resources with their groups, as kubectl takes them, of rules as policies and roles write them.
fn resources(rules: &Value) -> BTreeSet<String> {
    let words = |list: &Value| -> Vec<String> {
        list.as_array().into_iter().flatten().map(|word| word.as_str().unwrap().to_owned()).collect()
    };
    let of = |rule: &Value| {
        let groups = words(&rule["apiGroups"]);
        words(&rule["resources"])
            .into_iter()
            .flat_map(|name| groups.iter().map(move |group| format!("{name}.{group}")).collect::<Vec<_>>())
            .collect::<Vec<_>>()
    };
    rules.as_array().into_iter().flatten().flat_map(of).collect()
}

/// What a network plugin writes itself with every pod, and Domicile does not read.
const OF_PLUGINS: [&str; 3] =
    ["ciliumendpoints.cilium.io", "ciliumendpoints/status.cilium.io", "policyendpoints.networking.k8s.aws"];

#[test]
fn kinds_of_add_ons_that_are_judged_are_read_too() {
    let is = |policy: &Value| ["domicile-routes", "domicile-network-kinds"].contains(&name(policy));
    let judged = policies().into_iter().filter(|(_, policy)| is(policy));
    let judged = judged.flat_map(|(_, policy)| resources(&policy["spec"]["matchConstraints"]["resourceRules"]));
    let judged: BTreeSet<String> = judged.filter(|name| !OF_PLUGINS.contains(&name.as_str())).collect();
    let mut read: BTreeSet<String> = ADD_ONS.iter().map(|kind| format!("{}.{}", kind.plural, kind.group())).collect();
    assert_eq!(read.len(), ADD_ONS.len());
    read.insert("ingresses.networking.k8s.io".to_owned());
    assert_eq!(read, judged);
    let role = fs::read_to_string(root().join("charts/domicile/templates/rbac.yaml")).unwrap();
    let role: String = role
        .lines()
        .skip_while(|line| *line != "rules:")
        .skip(1)
        .take_while(|line| *line != "---")
        .collect::<Vec<_>>()
        .join("\n");
    let role: Value = serde_saphyr::from_str(&role).unwrap();
    let given = resources(&role);
    let lacks: Vec<_> = read.difference(&given).collect();
    assert!(lacks.is_empty(), "rbac.yaml lets the operator read none of {lacks:?}");
}

/// The rule ids in a text, found by what stands before and after them.
fn rules(text: &str, before: &str, after: char) -> BTreeSet<String> {
    let found = text.split(before).skip(1).filter_map(|rest| rest.split_once(after)).map(|(id, _)| id);
    let is_id = |id: &&str| !id.is_empty() && id.chars().all(|one| one.is_ascii_lowercase() || one == '-');
    found.filter(is_id).map(|id| format!("domicile/{id}")).collect()
}

#[test]
fn the_catalogue_of_routes_names_every_rule_and_no_other() {
    let mut known = BTreeSet::new();
    for path in files(&root().join("charts/domicile/policies"), "yaml") {
        known.extend(rules(&fs::read_to_string(path).unwrap(), "[domicile/", ']'));
    }
    for folder in ["src/audit", "src/resolve"] {
        for path in files(&root().join(folder), "rs") {
            known.extend(rules(&fs::read_to_string(path).unwrap(), "\"domicile/", '"'));
        }
    }
    assert!(known.len() > 50, "{known:?}");
    let listed: BTreeSet<String> = routes().iter().flat_map(Route::rules).collect();
    let forgotten: Vec<_> = known.difference(&listed).collect();
    assert!(forgotten.is_empty(), "src/domain/routes.csv does not say which route these rules close: {forgotten:?}");
    let invented: Vec<_> = listed.difference(&known).collect();
    assert!(invented.is_empty(), "src/domain/routes.csv names rules that nobody has: {invented:?}");
}

#[test]
fn every_route_that_is_said_to_be_closed_is_seen_closed_by_a_test() {
    for route in routes() {
        let mut sources = String::new();
        for test in route.tests() {
            let (module, name) = test.split_once("::").unwrap_or_else(|| panic!("{}: {test} is no test", route.id));
            let path = root().join("tests/e2e").join(format!("{module}.rs"));
            let text =
                fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {}: {error}", route.id, path.display()));
            assert!(text.contains(&format!("#[test]\nfn {name}()")), "{}: there is no test {test}", route.id);
            sources.push_str(&text);
        }
        // `cargo test p17a` runs the test of a route: one bears its id, or its number where that has several letters.
        let id = route.id.to_lowercase();
        let number = id.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
        let bears = |test: &str| {
            let words = test.split_once("::").map_or("", |(_, name)| name).split('_');
            let is_id = |word: &&str| word.len() > 1 && word[1..].starts_with(|digit: char| digit.is_ascii_digit());
            words.take_while(is_id).any(|word| word == id || word == number)
        };
        assert!(
            route.tests().next().is_none() || route.tests().any(bears),
            "{}: no test is named after it in {:?}",
            route.id,
            route.tests().collect::<Vec<_>>()
        );
        let unseen: Vec<_> = route.rules().filter(|rule| !sources.contains(rule)).collect();
        assert!(
            route.by != Closes::AdmissionPolicy || unseen.is_empty(),
            "{}: {unseen:?} are not seen to refuse in {:?}",
            route.id,
            route.tests().collect::<Vec<_>>()
        );
    }
}

#[test]
fn the_document_of_routes_is_that_of_the_catalogue() {
    let written = fs::read_to_string(root().join("docs/coverage.md")).unwrap();
    let same = written == domicile::report::coverage::markdown();
    assert!(same, "run `cargo run -- coverage --output markdown > docs/coverage.md`");
}

/// Lines of a text file that are said with `word` at their beginning, without it.
fn said(file: &str, word: &str) -> Vec<String> {
    let text = fs::read_to_string(root().join(file)).unwrap();
    text.lines().filter_map(|line| line.strip_prefix(word)).map(|rest| rest.trim().to_owned()).collect()
}

#[test]
fn the_image_is_built_from_everything_that_is_compiled_in() {
    let copied: Vec<String> = said("Dockerfile", "COPY ")
        .iter()
        .flat_map(|line| line.split_whitespace().rev().skip(1).map(str::to_owned).collect::<Vec<_>>())
        .collect();
    let sent = said(".dockerignore", "!");
    let mut seen = 0;
    for path in files(&root().join("src"), "rs") {
        let text = fs::read_to_string(&path).unwrap();
        let code = text.split("#[cfg(test)]").next().unwrap();
        for part in code.split("include_str!(").skip(1) {
            let file = part.split('"').nth(1).unwrap().trim_start_matches("../").trim_end_matches('/');
            if file.starts_with("charts/") {
                seen += 1;
                for (list, name) in [(&copied, "Dockerfile"), (&sent, ".dockerignore")] {
                    let there = list.iter().any(|folder| Path::new(file).starts_with(folder));
                    assert!(there, "{} is built with {file}, which {name} leaves out", path.display());
                }
            }
        }
    }
    assert!(seen >= 2, "the chart's policies and values are compiled in");
}
