//! Who reaches into a governed namespace from another one: RoleBindings that give its Secrets, and more, to ServiceAccounts
//! that run where nothing holds them, and that nobody with the verb share has made.

use crate::{
    domain::{Finding, Leg, Mode, Subject, Verdict},
    observe::{Key, RoleBinding, convert::SUBJECTS},
    resolve::role_bindings::are_all,
};

use super::Scene;

/// Judges every RoleBinding.
pub(super) fn audit(scene: &Scene<'_>) -> Vec<Finding> {
    let judge = |(key, binding): &(&Key, &RoleBinding)| too_many(key, binding).or_else(|| shared(scene, key, binding));
    scene.role_bindings.iter().filter_map(judge).collect()
}

/// It has more subjects than anybody looks through.
fn too_many(key: &Key, binding: &RoleBinding) -> Option<Finding> {
    let subjects = binding.subjects;
    (subjects > SUBJECTS).then(|| {
        let message = format!("it has {subjects} subjects and more than {SUBJECTS} are not judged");
        finding(key, binding, "domicile/role-binding-size", message, "write several, or bind a group".to_owned())
    })
}

/// A ServiceAccount of another namespace gets something by it, and it may be older than the rule that nobody makes such a one
/// without the verb share.
fn shared(scene: &Scene<'_>, key: &Key, binding: &RoleBinding) -> Option<Finding> {
    let subject = binding.foreign(&key.namespace, |home| scene.never_governed.contains(&home))?;
    let confinement = &scene.confined.confinement;
    let held = &confinement.held_role_bindings;
    if !are_all(held) && !held.contains(&binding.uid) {
        return None;
    }
    let verb = "someone with the verb share on the DataResidency";
    let message = format!(
        "{subject} has rights here by it and could carry data elsewhere, and it is not known that {verb} made it"
    );
    let remedy = match confinement.mode {
        Mode::Enforce => format!("delete it and bind ServiceAccounts of this namespace, or have {verb} make it anew"),
        Mode::Audit | Mode::Warn => format!(
            "delete it and bind ServiceAccounts of this namespace; when the mode is Enforce, have {verb} make it anew"
        ),
    };
    Some(finding(key, binding, "domicile/role-binding", message, remedy))
}

fn finding(key: &Key, binding: &RoleBinding, rule: &'static str, message: String, remedy: String) -> Finding {
    let subject = Subject::namespaced("RoleBinding", &key.namespace, &key.name, &binding.uid);
    Finding { verdict: Verdict::NonCompliant, leg: Leg::Access, rule, subject, message, remedy }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::fixture::Stage;
    use serde_json::{Value, json};

    fn rules(held: &[&str], subjects: &Value) -> Vec<&'static str> {
        let mut stage = Stage::new();
        stage.confined.confinement.held_role_bindings = held.iter().map(|uid| (*uid).to_owned()).collect();
        stage.role_binding("readers", subjects);
        audit(&stage.scene()).iter().map(|finding| finding.rule).collect()
    }

    fn account(namespace: &str) -> Value {
        json!([{"kind": "ServiceAccount", "name": "default", "namespace": namespace}])
    }

    #[test]
    fn a_subject_is_foreign_as_the_policy_has_it() {
        let one = |kind: &str, name: &str| json!([{"kind": kind, "name": name}]);
        for foreign in [
            account("abroad"),
            one("User", "system:serviceaccount:abroad:default"),
            one("User", "system:serviceaccount:"),
            one("User", "system:anonymous"),
            one("Group", "system:serviceaccounts:abroad"),
            one("Group", "system:serviceaccounts"),
            one("Group", "system:authenticated"),
            one("Group", "system:unauthenticated"),
            one("User", "system:node:frankfurt-a"),
            one("User", "system:bootstrap:abcdef"),
            one("Group", "system:nodes"),
            one("Group", "system:bootstrappers:kubeadm"),
        ] {
            assert_eq!(rules(&["*"], &foreign), ["domicile/role-binding"], "{foreign}");
        }
        for own in [
            account("shop"),
            one("ServiceAccount", "default"), // of the RoleBinding's own namespace
            account("kube-system"),
            one("User", "system:serviceaccount:shop:default"),
            one("User", "system:serviceaccounts"),
            one("User", "system:kube-scheduler"),
            one("User", "li-wei"),
            one("User", "system:nodes"),
            one("Group", "system:node:frankfurt-a"),
            one("Group", "system:serviceaccounts:shop"),
            one("Group", "system:anonymous"),
            one("Group", "system:masters"),
            json!([]),
        ] {
            assert!(rules(&["*"], &own).is_empty(), "{own}");
        }
    }

    #[test]
    fn one_that_was_not_there_at_the_beginning_was_made_by_somebody_who_may() {
        let foreign = account("abroad");
        assert_eq!(rules(&["other", "readers"], &foreign), ["domicile/role-binding"]);
        assert!(rules(&["other"], &foreign).is_empty());
        assert!(rules(&[], &foreign).is_empty());
    }

    #[test]
    fn the_remedy_is_one_that_works() {
        let mut stage = Stage::new();
        stage.confined.confinement.held_role_bindings = vec!["*".into()];
        let both = json!([account("shop")[0], account("abroad")[0]]);
        stage.role_binding("readers", &both);
        let found = stage.one(audit);
        assert!(
            found.message.starts_with("ServiceAccount default of namespace abroad has rights"),
            "{}",
            found.message
        );
        assert!(found.remedy.ends_with("or have someone with the verb share on the DataResidency make it anew"));
        stage.confined.confinement.mode = Mode::Warn;
        assert!(stage.one(audit).remedy.contains("when the mode is Enforce"));
    }

    #[test]
    fn the_bound_is_that_of_the_policy() {
        let many = |number: usize| Value::from(vec![json!({"kind": "User", "name": "li-wei"}); number]);
        assert!(rules(&[], &many(SUBJECTS)).is_empty());
        assert_eq!(rules(&[], &many(SUBJECTS + 1)), ["domicile/role-binding-size"]);
        let text = include_str!("../../charts/domicile/policies/access.yaml");
        assert!(text.contains(&format!("size(variables.subjects) > {SUBJECTS}")));
    }
}
