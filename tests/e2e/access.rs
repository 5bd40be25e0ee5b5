//! Who reaches into a governed namespace from another one (N13, M25).

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
    ];
    for subject in &foreign {
        let said =
            stage.tenant.try_create(&binding(subject).in_namespace(&shop.name)).refused("[domicile/role-binding]");
        assert!(said.contains("verb share"), "{said}");
        stage.tenant.try_create(&binding(subject).in_namespace(&free.name)).expected();
    }
    let own = format!("{{kind: ServiceAccount, name: default, namespace: {}}}", shop.name);
    let person = format!("{{kind: User, {rbac}, name: li-wei}}");
    let system = "{kind: ServiceAccount, name: generic-garbage-collector, namespace: kube-system}".to_owned();
    for subject in [own, person, system] {
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
