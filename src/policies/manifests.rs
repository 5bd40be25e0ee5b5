//! The policies as static admission manifests (KEP-5793): files that an API server loads itself, and that nobody can change or
//! delete through the API.
//!
//! The text is the chart's; only names get the suffix that the API server asks for. That nothing else changed is seen by
//! parsing both. A policy of this module's own is added, which refuses nothing but one question: it tells the operator, and
//! everybody who may ask, which set an API server has loaded, since these policies cannot be read through the API.

use ring::digest;
use serde_json::Value;

use super::{Error, File, Tokens, documents, files};
use crate::domain::keys::{ASKS, ASKS_FOR_POLICIES, CANARY_NAMESPACE};

/// What the API server asks names of static manifests to end with.
pub const SUFFIX: &str = ".static.k8s.io";
/// The rule by which a loaded set answers.
pub const LOADED: &str = "[domicile/loaded]";
/// The first Kubernetes minor that knows static manifests, behind a feature gate.
pub const FIRST_MINOR: u32 = 36;
/// The first Kubernetes minor in which the gate is on by default.
pub const DEFAULT_MINOR: u32 = 37;

/// One file to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    /// Its name in its folder.
    pub name: String,
    /// Its text.
    pub text: String,
}

/// The two folders that API servers load.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Set {
    /// Validating policies and bindings.
    pub validating: Vec<Manifest>,
    /// Mutating policies and bindings.
    pub mutating: Vec<Manifest>,
}

/// The manifests of a release with these tokens.
///
/// # Errors
/// Where a file of this build is not as it must be.
pub fn set(tokens: &Tokens) -> Result<Set, Error> {
    let mut set = Set { validating: Vec::new(), mutating: Vec::new() };
    for file in files(tokens) {
        let text =
            format!("# A static admission manifest, written by `domicile policies --static`.\n{}", renamed(&file)?);
        let folder = if file.mutates() { &mut set.mutating } else { &mut set.validating };
        folder.push(Manifest { name: format!("{}.yaml", file.name), text });
    }
    set.validating.push(Manifest { name: "loaded.yaml".to_owned(), text: loaded(&identity(tokens)) });
    set.validating.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(set)
}

/// What tells this set from every other one: version, text and values.
#[must_use]
pub fn identity(tokens: &Tokens) -> String {
    let mut context = digest::Context::new(&digest::SHA256);
    for file in files(tokens) {
        context.update(file.name.as_bytes());
        context.update(&[0]);
        context.update(file.text.as_bytes());
        context.update(&[0]);
    }
    hex(context.finish().as_ref())
}

/// The identity that an answer of the API server tells, if a loaded set gave it.
#[must_use]
pub fn told_identity(answer: &str) -> Option<&str> {
    let (_, told) = answer.split_once(LOADED)?;
    told.split_whitespace().find_map(|word| word.strip_prefix("sha256:"))
}

/// The hash that an API server's metric `apiserver_manifest_admission_config_controller_last_config_info` tells of a folder.
#[must_use]
pub fn folder_hash(folder: &[Manifest]) -> String {
    let mut context = digest::Context::new(&digest::SHA256);
    for manifest in folder {
        context.update(manifest.text.as_bytes());
        context.update(&[0]);
    }
    format!("sha256:{}", hex(context.finish().as_ref()))
}

/// The file for `--admission-control-config-file`, of a set that lies at `place` on the machine of the API server.
#[must_use]
pub fn admission_configuration(place: &str) -> String {
    let plugin = |name: &str, folder: &str| {
        format!(
            "- name: {name}\n  configuration:\n    apiVersion: apiserver.config.k8s.io/v1\n    kind: {name}Configuration\n    staticManifestsDir: {}\n",
            Value::String(format!("{}/{folder}", place.trim_end_matches('/')))
        )
    };
    format!(
        "# Written by `domicile policies --static`, for the API server's flag --admission-control-config-file.\napiVersion: apiserver.config.k8s.io/v1\nkind: AdmissionConfiguration\nplugins:\n{}{}",
        plugin("ValidatingAdmissionPolicy", "validating"),
        plugin("MutatingAdmissionPolicy", "mutating")
    )
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The file's text with the suffix on every name of a policy and of a binding, and where a binding names its policy.
fn renamed(file: &File) -> Result<String, Error> {
    let mut in_metadata = false;
    let lines = file.text.lines().map(|line| {
        let of_metadata = line.starts_with("metadata: {") || (in_metadata && line.starts_with("  name: "));
        in_metadata = line == "metadata:";
        let key = if of_metadata { "name: " } else { "policyName: " };
        with_suffix(line, key)
    });
    let text = lines.map(|line| format!("{line}\n")).collect::<String>();
    let mut wanted = file.documents()?;
    for document in &mut wanted {
        for place in ["/metadata/name", "/spec/policyName"] {
            if let Some(Value::String(name)) = document.pointer_mut(place) {
                name.push_str(SUFFIX);
            }
        }
    }
    if documents(file.name, &text)? == wanted {
        Ok(text)
    } else {
        Err(Error { file: file.name.to_owned(), what: "names policies in a way that cannot be renamed".to_owned() })
    }
}

/// The line with the suffix on the word after `key`, if it has the key.
fn with_suffix(line: &str, key: &str) -> String {
    let code = line.split(" #").next().unwrap_or_default();
    let Some(found) = code.find(key).filter(|_| !code.trim_start().starts_with('#')) else { return line.to_owned() };
    let start = found.saturating_add(key.len());
    let word = code.get(start..).unwrap_or_default();
    let length = word.find([',', '}', ' ']).unwrap_or(word.len());
    let (before, after) = line.split_at(start.saturating_add(length));
    format!("{before}{SUFFIX}{after}")
}

fn loaded(identity: &str) -> String {
    format!(
        r#"# A static admission manifest, written by `domicile policies --static`.
#
# What an API server loads from its files cannot be read through the API. This policy refuses nothing but a question: a pod in the
# canary namespace with the annotation {ASKS}: {ASKS_FOR_POLICIES}. The answer tells which set this API server has loaded.
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata: {{name: domicile-loaded{SUFFIX}}}
spec:
  failurePolicy: Fail
  matchConstraints:
    namespaceSelector:
      matchLabels: {{kubernetes.io/metadata.name: {CANARY_NAMESPACE}}}
    resourceRules:
    - {{apiGroups: [""], apiVersions: [v1], operations: [CREATE], resources: [pods]}}
  matchConditions:
  - name: asked
    expression: "object.metadata.?annotations[?'{ASKS}'].orValue('-') == '{ASKS_FOR_POLICIES}'"
  validations:
  - expression: "false"
    message: "{LOADED} DataResidency (all): the API server has loaded static policies sha256:{identity} . Nothing is to be done."
    reason: Forbidden
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata: {{name: domicile-loaded{SUFFIX}}}
spec: {{policyName: domicile-loaded{SUFFIX}, validationActions: [Deny]}}
"#
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policies::values::Values;

    fn tokens(values: &str) -> Tokens {
        Values::read(&[values.to_owned()]).unwrap().tokens("domicile-system").unwrap()
    }

    #[test]
    fn every_name_has_the_suffix_and_comments_stay() {
        let set = set(&tokens("unclassifiedNamespaces: Refuse")).unwrap();
        assert_eq!((set.validating.len(), set.mutating.len()), (15, 4));
        for manifest in set.validating.iter().chain(&set.mutating) {
            for document in documents(&manifest.name, &manifest.text).unwrap() {
                let (name, policy) =
                    (document["metadata"]["name"].as_str().unwrap(), document["spec"]["policyName"].as_str());
                assert!(name.ends_with(SUFFIX) && policy.is_none_or(|policy| policy.ends_with(SUFFIX)), "{document}");
                assert!(document["spec"]["paramKind"].is_null());
            }
        }
        let pods = set.validating.iter().find(|manifest| manifest.name == "pods.yaml").unwrap();
        assert!(pods.text.contains("# P1: a pod that names its node"));
        assert!(pods.text.contains("metadata: {name: domicile-pods.static.k8s.io}"));
    }

    #[test]
    fn a_name_in_an_expression_or_a_comment_is_left_alone() {
        assert_eq!(
            with_suffix("spec: {policyName: a, validationActions: [Deny]}", "policyName: "),
            "spec: {policyName: a.static.k8s.io, validationActions: [Deny]}"
        );
        assert_eq!(
            with_suffix("  policyName: a   # policyName: b", "policyName: "),
            "  policyName: a.static.k8s.io   # policyName: b"
        );
        assert_eq!(with_suffix("# policyName: a", "policyName: "), "# policyName: a");
        assert_eq!(
            with_suffix("metadata: {name: a}   # one binding", "name: "),
            "metadata: {name: a.static.k8s.io}   # one binding"
        );
        let odd = File { name: "odd", text: "metadata:\n  labels: {a: b}\n  name: c\nspec: {}\n".to_owned() };
        assert!(renamed(&odd).unwrap_err().to_string().contains("cannot be renamed"));
    }

    #[test]
    fn a_set_tells_itself_from_every_other_one() {
        let (one, other) = (tokens("{}"), tokens("nodeProvisioners: [karpenter]"));
        assert_ne!(identity(&one), identity(&other));
        assert_eq!(identity(&one), identity(&tokens("policies: Static")));
        let answer =
            format!("ValidatingAdmissionPolicy 'x' denied request: {LOADED} … sha256:{} . Nothing", identity(&one));
        assert_eq!(told_identity(&answer), Some(identity(&one).as_str()));
        assert_eq!(told_identity("exceeded quota: sha256:0"), None);
        let set = set(&one).unwrap();
        assert!(set.validating.iter().any(|manifest| told_identity(&manifest.text) == Some(identity(&one).as_str())));
    }

    #[test]
    fn the_configuration_names_both_folders() {
        let configuration = documents("c", &admission_configuration("/etc/kubernetes/domicile/")).unwrap();
        let [configuration] = configuration.as_slice() else { panic!("{configuration:?}") };
        let folder = |place: usize| configuration["plugins"][place]["configuration"]["staticManifestsDir"].clone();
        assert_eq!(
            [folder(0), folder(1)],
            ["/etc/kubernetes/domicile/validating", "/etc/kubernetes/domicile/mutating"]
        );
    }
}
