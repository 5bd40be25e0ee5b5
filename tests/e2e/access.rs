//! Who reaches into a governed namespace from another one (N13, N21, M25).

use crate::support::prelude::*;

/// What a CONNECT comes to: refused by a rule, or on its way to a kubelet that simulated nodes do not have.
fn connects(user: &User, namespace: &str, pod: &str, how: &str) -> Reply {
    let query = if how == "exec" { "?command=sh&stdout=true" } else { "" };
    user.post(&format!("/api/v1/namespaces/{namespace}/pods/{pod}/{how}{query}"), &json!({}))
}

fn binding(subject: &str) -> Manifest {
    format!("{{apiVersion: rbac.authorization.k8s.io/v1, kind: RoleBinding, metadata: {{name: readers}}, roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: view}}, subjects: [{subject}]}}").as_str().into()
}

#[test]
fn n13_a_service_account_of_another_namespace_opens_no_connection() {
    let stage = shared();
    let (shop, free) = (stage.governed("mainland"), stage.ungoverned());
    shop.accepts(shop.pod("web"));
    shop.runs("web");
    free.accepts(bare_pod("web"));
    let verbs = "{apiVersion: rbac.authorization.k8s.io/v1, kind: ClusterRole, metadata: {name: connecting}, rules: [{apiGroups: [''], resources: [pods/exec, pods/attach, pods/portforward, pods/proxy, services/proxy], verbs: ['*']}]}";
    let _role = stage.makes(verbs);
    let _bound = stage.makes("{apiVersion: rbac.authorization.k8s.io/v1, kind: ClusterRoleBinding, metadata: {name: connecting}, roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: connecting}, subjects: [{apiGroup: rbac.authorization.k8s.io, kind: Group, name: 'system:serviceaccounts'}, {apiGroup: rbac.authorization.k8s.io, kind: User, name: li-wei}]}");
    let outsider = stage.service_account(&free.name, "default");
    eventually("RBAC lets the outsider connect", SOON, || {
        let reply = connects(&outsider, &free.name, "web", "exec");
        when(reply.code != 403, || reply.message)
    });
    for how in ["exec", "attach", "portforward", "proxy"] {
        let said = connects(&outsider, &shop.name, "web", how).refused("[domicile/connection]");
        assert!(said.contains("verb connect") && said.contains(&free.name), "{said}");
    }
    for user in [stage.service_account(&shop.name, "default"), stage.user("li-wei", &[])] {
        let reply = connects(&user, &shop.name, "web", "exec");
        assert_ne!(reply.code, 403, "{}: {}", user.name, reply.message);
    }
    let _verb = stage.makes("{apiVersion: rbac.authorization.k8s.io/v1, kind: ClusterRole, metadata: {name: mainland-connect}, rules: [{apiGroups: [domicile.dev], resources: [dataresidencies], resourceNames: [mainland], verbs: [connect]}]}");
    let _given = stage.makes(format!("{{apiVersion: rbac.authorization.k8s.io/v1, kind: ClusterRoleBinding, metadata: {{name: mainland-connect}}, roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: mainland-connect}}, subjects: [{{kind: ServiceAccount, name: default, namespace: {}}}]}}", free.name).as_str());
    eventually("the verb connect lets it in", SOON, || {
        let reply = connects(&outsider, &shop.name, "web", "exec");
        when(reply.code != 403, || reply.message)
    });
}

/// By a token it would act as an account of the namespace, whose connections are its own.
#[test]
fn n13_a_service_account_of_another_namespace_gets_no_token() {
    let stage = shared();
    let (shop, free) = (stage.governed("mainland"), stage.ungoverned());
    let rbac = "apiVersion: rbac.authorization.k8s.io/v1";
    let _role = stage.makes(format!("{{{rbac}, kind: ClusterRole, metadata: {{name: asking-for-tokens}}, rules: [{{apiGroups: [''], resources: [serviceaccounts/token], verbs: [create]}}]}}"));
    let homes = [free.name.as_str(), &shop.name, "kube-system"];
    let subjects: Vec<Value> =
        homes.iter().map(|home| json!({"kind": "ServiceAccount", "name": "default", "namespace": home})).collect();
    let _bound = stage.makes(format!("{{{rbac}, kind: ClusterRoleBinding, metadata: {{name: asking-for-tokens}}, roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: asking-for-tokens}}, subjects: {}}}", json!(subjects)));
    for space in [&shop, &free] {
        space.has_its_account();
    }
    let ask = |by: &User, space: &Namespace| {
        let path = format!("{}/token", SERVICE_ACCOUNT.path(&space.name, "default"));
        by.post(&path, &json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"expirationSeconds": 600}}))
    };
    let outsider = stage.service_account(&free.name, "default");
    eventually("RBAC lets the outsider ask", SOON, || {
        let reply = ask(&outsider, &free);
        when(reply.ok(), || reply.message)
    });
    let said = ask(&outsider, &shop).refused("[domicile/token]");
    assert!(said.contains("verb connect") && said.contains(&outsider.name), "{said}");
    for user in [stage.service_account(&shop.name, "default"), stage.service_account("kube-system", "default")] {
        ask(&user, &shop).expected();
    }
    ask(&stage.tenant, &shop).expected();
    let _verb = stage.makes(format!("{{{rbac}, kind: ClusterRole, metadata: {{name: mainland-tokens}}, rules: [{{apiGroups: [domicile.dev], resources: [dataresidencies], resourceNames: [mainland], verbs: [connect]}}]}}"));
    let _given = stage.makes(format!("{{{rbac}, kind: ClusterRoleBinding, metadata: {{name: mainland-tokens}}, roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: mainland-tokens}}, subjects: [{}]}}", subjects[0]));
    eventually("with the verb connect it gets one", SOON, || {
        let reply = ask(&outsider, &shop);
        when(reply.ok(), || reply.message)
    });
}

/// A role in every namespace, and who has it.
#[track_caller]
fn given(stage: &Turn, name: &str, rule: &str, subject: &str) -> [Made; 2] {
    let (rbac, kind) = ("rbac.authorization.k8s.io", "apiVersion: rbac.authorization.k8s.io/v1, kind");
    let role = format!("{{{kind}: ClusterRole, metadata: {{name: {name}}}, rules: [{rule}]}}");
    let bound = format!(
        "{{{kind}: ClusterRoleBinding, metadata: {{name: {name}}}, roleRef: {{apiGroup: {rbac}, kind: ClusterRole, name: {name}}}, subjects: [{subject}]}}"
    );
    [stage.makes(role), stage.makes(bound)]
}

/// Pods that wait have no address and services without pods lead nowhere, so that what is let through is answered at once.
#[test]
fn n13_a_service_account_of_another_namespace_reaches_nothing_through_a_proxy() {
    let stage = shared();
    let (shop, free) = (stage.governed("mainland"), stage.ungoverned());
    for space in [&shop, &free] {
        space.accepts("{apiVersion: v1, kind: Service, metadata: {name: web}, spec: {ports: [{port: 80}]}}");
        space.accepts(space.pod("web").with("spec: {schedulingGates: [{name: example.com/wait}]}"));
    }
    let rule = "{apiGroups: [''], resources: [pods/proxy, services/proxy], verbs: ['*']}";
    let everybody = "{apiGroup: rbac.authorization.k8s.io, kind: Group, name: 'system:serviceaccounts'}";
    let _given = given(&stage, "proxying", rule, everybody);
    let outsider = stage.service_account(&free.name, "default");
    let insider = stage.service_account(&shop.name, "default");
    for (kind, plural) in [(&POD, "pods"), (&SERVICE, "services")] {
        let ask = |user: &User, method: &str, space: &Namespace| {
            user.send(method, &format!("{}/proxy/metrics", kind.path(&space.name, "web:80")), "application/json", None)
        };
        eventually(&format!("RBAC lets the outsider through to {plural}"), SOON, || {
            let reply = ask(&outsider, "GET", &free);
            when(reply.code != 403, || reply.message)
        });
        for method in ["GET", "POST", "PUT", "PATCH", "DELETE"] {
            let said = ask(&outsider, method, &shop).refused("[domicile/connection]");
            assert!(said.contains(&format!("{plural}/proxy would carry data there")), "{said}");
        }
        let reply = ask(&insider, "GET", &shop);
        assert_ne!(reply.code, 403, "{plural}: {}", reply.message);
    }
}

#[test]
fn m25_a_role_binding_gives_foreign_service_accounts_nothing() {
    let stage = shared();
    let (shop, free) = (stage.governed("mainland"), stage.ungoverned());
    let rbac = "apiGroup: rbac.authorization.k8s.io";
    let foreign = [
        format!("{{kind: ServiceAccount, name: default, namespace: {}}}", free.name),
        format!("{{kind: User, {rbac}, name: 'system:serviceaccount:{}:default'}}", free.name),
        format!("{{kind: Group, {rbac}, name: 'system:serviceaccounts:{}'}}", free.name),
        format!("{{kind: Group, {rbac}, name: 'system:serviceaccounts'}}"),
        format!("{{kind: Group, {rbac}, name: 'system:authenticated'}}"),
        format!("{{kind: User, {rbac}, name: 'system:anonymous'}}"),
        format!("{{kind: Group, {rbac}, name: 'system:nodes'}}"),
        format!("{{kind: User, {rbac}, name: 'system:node:frankfurt-a'}}"),
    ];
    for subject in &foreign {
        let said =
            stage.tenant.try_create(&binding(subject).in_namespace(&shop.name)).refused("[domicile/role-binding]");
        assert!(said.contains("verb share"), "{said}");
        stage.tenant.try_create(&binding(subject).in_namespace(&free.name)).expected();
    }
    // Nor one that nobody reads to its end.
    let many = json!(vec![json!({"kind": "User", "apiGroup": "rbac.authorization.k8s.io", "name": "li-wei"}); 1001])
        .to_string();
    let many = binding(many.trim_matches(['[', ']']));
    stage.tenant.try_create(&many.clone().in_namespace(&shop.name)).refused("[domicile/role-binding-size]");
    stage.tenant.try_create(&many.in_namespace(&free.name)).expected();
    let own = format!("{{kind: ServiceAccount, name: default, namespace: {}}}", shop.name);
    let person = format!("{{kind: User, {rbac}, name: li-wei}}");
    let system = "{kind: ServiceAccount, name: generic-garbage-collector, namespace: kube-system}".to_owned();
    // RBAC reads it so, and published manifests leave it out.
    let unnamed = "{kind: ServiceAccount, name: default}".to_owned();
    for subject in [own, unnamed, person, system] {
        stage.tenant.try_create(&binding(&subject).in_namespace(&shop.name)).expected();
    }
}

#[test]
fn a_role_binding_from_before_may_be_changed_but_for_its_subjects() {
    let stage = shared();
    let mut space = stage.ungoverned();
    let foreign = "{kind: ServiceAccount, name: default, namespace: default}";
    stage.tenant.create(&binding(foreign).in_namespace(&space.name)).expected();
    space.joins("mainland");
    let relabel = json!({"metadata": {"labels": {"seen": "true"}}});
    stage.tenant.patch(&ROLE_BINDING, &space.name, "readers", &relabel).expected();
    let more = json!({"subjects": [{"kind": "ServiceAccount", "name": "other", "namespace": "default"}]});
    stage.tenant.patch(&ROLE_BINDING, &space.name, "readers", &more).refused("[domicile/role-binding]");
    stage.tenant.patch(&ROLE_BINDING, &space.name, "readers", &json!({"subjects": null})).expected();
}

const FOREIGN: &str = "{kind: ServiceAccount, name: default, namespace: default}";
const HELD: &str = "domicile.dev/held-role-bindings";

/// Waits until the residency's status says of a RoleBinding whose ServiceAccount of another namespace it serves, or says it no
/// more.
#[track_caller]
fn is_told(stage: &Turn, residency: &str, space: &Namespace, name: &str, told: bool) -> Value {
    let subject = format!("RoleBinding {}/{name}", space.name);
    eventually(&format!("{subject} is told: {told}"), SOON, || {
        let found = stage.finding(residency, "domicile/role-binding", &subject);
        when(found.is_some() == told, || format!("{found:?}"))?;
        Ok(found.unwrap_or_default())
    })
}

/// Waits until exactly these RoleBindings of the namespace are listed.
#[track_caller]
fn are_listed(space: &Namespace, names: &[&str]) {
    let uid = |name: &&str| space.get(&ROLE_BINDING, name)["metadata"]["uid"].as_str().unwrap().to_owned();
    let mut uids: Vec<String> = names.iter().map(uid).collect();
    uids.sort();
    let expected = if uids.is_empty() { "-".to_owned() } else { uids.join(",") };
    eventually(&format!("{names:?} are listed"), SOON, || {
        let listed = space.annotation(HELD);
        when(listed == expected, || listed)
    });
}

/// The finding goes with the RoleBinding, and does not come again with one that somebody made who may.
#[test]
fn n21_a_role_binding_from_before_is_told_until_someone_who_may_makes_it_anew() {
    let stage = shared();
    let residency = stage.makes_residency("bound-before", "{jurisdictions: [CN]}");
    let mut shop = stage.ungoverned();
    for name in ["readers", "older"] {
        shop.accepts(binding(FOREIGN).named(name));
    }
    let own = format!("{{kind: ServiceAccount, name: default, namespace: {}}}", shop.name);
    shop.accepts(binding(&own).named("own"));
    shop.joins("bound-before");
    for name in ["readers", "older"] {
        let found = is_told(&stage, residency.name(), &shop, name, true);
        assert_eq!(found["verdict"], "NonCompliant");
        let said = found["message"].as_str().unwrap();
        assert!(said.contains("ServiceAccount default of namespace default"), "{said}");
    }
    shop.tells(&["ResidencyBroken", "RoleBinding readers", "verb share"]);
    stage.becomes("bound-before", "Compliant", "False");
    are_listed(&shop, &["older", "readers"]);
    for value in [json!("-"), json!(null)] {
        let forged = json!({"metadata": {"annotations": {HELD: value}}});
        stage.tenant.patch(&NAMESPACE, "", &shop.name, &forged).refused("[domicile/confinement]");
    }
    // What the finding says to do.
    shop.delete(&ROLE_BINDING, "readers").expected();
    is_told(&stage, residency.name(), &shop, "readers", false);
    shop.rejects(binding(FOREIGN), "[domicile/role-binding]");
    let (one_who_may, _made) = stage.with_verb("share", "bound-before");
    one_who_may.create(&binding(FOREIGN).in_namespace(&shop.name)).expected();
    // When the end of the other one is seen, this one was seen before.
    shop.delete(&ROLE_BINDING, "older").expected();
    is_told(&stage, residency.name(), &shop, "older", false);
    stage.becomes("bound-before", "Compliant", "True");
    are_listed(&shop, &[]);
    // As an older version left it, which knew no such list: what stands was made by anybody.
    let operator = stage.service_account("domicile-system", "domicile");
    operator.patch(&NAMESPACE, "", &shop.name, &json!({"metadata": {"annotations": {HELD: null}}})).expected();
    is_told(&stage, residency.name(), &shop, "readers", true);
    are_listed(&shop, &["readers"]);
}

/// What was made while nothing was enforced, or with the leave of other residencies alone, is older.
#[test]
fn n21_a_stricter_mode_and_another_residency_ask_anew() {
    let stage = shared();
    let residency = stage.makes_residency("bound-softly", "{jurisdictions: [CN], enforcement: Audit}");
    let _other = stage.makes_residency("bound-again", "{jurisdictions: [CN]}");
    let shop = stage.governed("bound-softly");
    shop.would_ask(bare_pod("web")).expected(); // so the API server has seen the mode, without which it refuses
    shop.accepts(binding(FOREIGN));
    let found = is_told(&stage, "bound-softly", &shop, "readers", true);
    assert!(found["remedy"].as_str().is_some_and(|text| text.contains("when the mode is Enforce")), "{found}");
    assert_eq!(shop.annotation(HELD), "*");
    residency.becomes("spec: {enforcement: Enforce}");
    are_listed(&shop, &["readers"]);
    is_told(&stage, "bound-softly", &shop, "readers", true);
    shop.delete(&ROLE_BINDING, "readers").expected();
    is_told(&stage, "bound-softly", &shop, "readers", false);
    stage.platform_team().create(&binding(FOREIGN).in_namespace(&shop.name)).expected();
    are_listed(&shop, &[]);
    shop.label("domicile.dev/residency", "bound-softly_bound-again");
    shop.is_confined();
    is_told(&stage, "bound-again", &shop, "readers", true);
    are_listed(&shop, &["readers"]);
}

/// Between two labels a mode still stands that merely warns.
#[test]
fn n21_no_role_binding_slips_in_while_a_namespace_is_not_confined() {
    let stage = shared();
    let _residency = stage.makes_residency("bound-warned", "{jurisdictions: [CN], enforcement: Warn}");
    let shop = stage.governed("bound-warned");
    shop.would_ask(bare_pod("web")).expected(); // so the API server has seen the mode, without which it refuses
    let warned = shop.would_ask(binding(FOREIGN));
    assert!(warned.ok() && warned.rules().contains(&"[domicile/role-binding]".to_owned()), "{warned:?}");
    shop.label("domicile.dev/residency", "bound-warned_nobody-made-this");
    eventually("it is refused", SOON, || {
        let reply = stage.tenant.try_create(&binding(FOREIGN).in_namespace(&shop.name));
        when(reply.message.contains("[domicile/not-confined]"), || format!("{} {}", reply.code, reply.message))
    });
    // Where no mode stands yet, all are judged as in Enforce, and nobody has to try again.
    let new = stage.namespace("{domicile.dev/residency: nobody-made-this}");
    let own = format!("{{kind: ServiceAccount, name: default, namespace: {}}}", new.name);
    stage.tenant.create(&binding(&own).named("own").in_namespace(&new.name)).expected();
    stage.tenant.create(&binding(FOREIGN).in_namespace(&new.name)).refused("[domicile/role-binding]");
}
