//! What of a governed namespace can be reached from outside the cluster, and which names inside lead out of it.
//!
//! Where a load balancer or a gateway ends, nobody here can tell, so a residency that denies exposure has none. Names for
//! hosts outside, and addresses that somebody else owns, are findings whatever the residency says of exposure.

use crate::{
    domain::{Confinement, Exposure, Finding, Ingress, Leg, Subject, Verdict},
    observe::{Exposed, Key},
};

use super::Scene;

/// Judges every Service and Ingress that is exposed.
pub(super) fn audit(scene: &Scene<'_>) -> Vec<Finding> {
    let confinement = &scene.confined.confinement;
    scene.exposed.iter().flat_map(|(key, kind, exposed)| judge(key, kind, exposed, confinement)).collect()
}

fn judge(key: &Key, kind: &'static str, exposed: &Exposed, confinement: &Confinement) -> Vec<Finding> {
    let exposure = confinement.exposure;
    let finding = |rule, message: String, remedy: &str| Finding {
        verdict: Verdict::NonCompliant,
        leg: Leg::Exposure,
        rule,
        subject: Subject::namespaced(kind, &key.namespace, &key.name, &exposed.uid),
        message,
        remedy: remedy.to_owned(),
    };
    let how = exposed.how.as_str();
    let mut findings = Vec::new();
    match how {
        "ExternalName" => findings.push(finding(
            "domicile/external-name",
            "a Service of type ExternalName leads out of the cluster".to_owned(),
            "name the host in the workload, where spec.network.egress.allow of the DataResidency decides",
        )),
        "externalIPs" | "ClusterIP" => {}
        "Ingress" if exposure == Exposure::Deny => findings.push(finding(
            "domicile/route",
            format!("{how} opens governed pods to the outside, and exposure is {exposure}"),
            "delete it and reach them inside the cluster, or ask for spec.network.exposure: Allow of the DataResidency",
        )),
        _ if exposure == Exposure::Deny => findings.push(finding(
            "domicile/service-type",
            format!("a Service of type {how} is reached from outside the cluster, and exposure is {exposure}"),
            "make it a ClusterIP, or ask for spec.network.exposure: Allow of the DataResidency",
        )),
        _ if exposed.hides_source && confinement.ingress == Ingress::Restricted => findings.push(finding(
            "domicile/hidden-source",
            "nodes put their own address in place of the client's, and spec.network.ingress.policy is Restricted"
                .to_owned(),
            "set externalTrafficPolicy: Local, or ask for spec.network.ingress.policy: Open of the DataResidency",
        )),
        _ => {}
    }
    if let Some(label) = exposed.mirrored.filter(|_| exposure == Exposure::Deny) {
        findings.push(finding(
            "domicile/route",
            format!("the label {label} has other clusters mirror this Service, and exposure is {exposure}"),
            "remove the label, or ask for spec.network.exposure: Allow of the DataResidency",
        ));
    }
    if exposed.external_ips || how == "externalIPs" {
        findings.push(finding(
            "domicile/external-ips",
            "it takes in traffic to externalIPs, whoever owns those addresses".to_owned(),
            "remove spec.externalIPs",
        ));
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::fixture::Stage;

    fn rules(how: &str, external_ips: bool, exposure: Exposure) -> Vec<&'static str> {
        let mut stage = Stage::new();
        stage.confined.confinement.exposure = exposure;
        stage.exposed("web", how, |exposed| exposed.external_ips = external_ips);
        audit(&stage.scene()).iter().map(|finding| finding.rule).collect()
    }

    #[test]
    fn what_is_reached_from_outside_is_a_finding_unless_exposure_is_allowed() {
        for how in ["LoadBalancer", "NodePort"] {
            assert_eq!(rules(how, false, Exposure::Deny), ["domicile/service-type"]);
            assert!(rules(how, false, Exposure::Allow).is_empty());
        }
        assert_eq!(rules("Ingress", false, Exposure::Deny), ["domicile/route"]);
        assert!(rules("Ingress", false, Exposure::Allow).is_empty());
    }

    #[test]
    fn a_service_that_other_clusters_mirror_is_a_finding_unless_exposure_is_allowed() {
        let service = serde_json::json!({"metadata": {"name": "web", "labels": {"mirror.linkerd.io/exported": "true"}}, "spec": {}});
        let service = serde_json::from_value(service).unwrap();
        let mut stage = Stage::new();
        stage.exposed("web", "", |exposed| *exposed = crate::observe::convert::exposed_service(&service).unwrap());
        assert_eq!(stage.one(audit).rule, "domicile/route");
        stage.confined.confinement.exposure = Exposure::Allow;
        assert!(audit(&stage.scene()).is_empty());
    }

    #[test]
    fn a_client_whose_address_is_hidden_is_a_finding_while_ingress_is_restricted() {
        let mut stage = Stage::new();
        stage.confined.confinement.exposure = Exposure::Allow;
        stage.exposed("web", "NodePort", |exposed| exposed.hides_source = true);
        assert_eq!(stage.one(audit).rule, "domicile/hidden-source");
        stage.confined.confinement.ingress = Ingress::Open;
        assert!(audit(&stage.scene()).is_empty());
    }

    #[test]
    fn names_and_addresses_outside_are_always_findings() {
        for exposure in [Exposure::Deny, Exposure::Allow] {
            assert_eq!(rules("ExternalName", false, exposure), ["domicile/external-name"]);
            assert_eq!(rules("externalIPs", true, exposure), ["domicile/external-ips"]);
        }
        assert_eq!(rules("LoadBalancer", true, Exposure::Allow), ["domicile/external-ips"]);
        assert_eq!(rules("LoadBalancer", true, Exposure::Deny), ["domicile/service-type", "domicile/external-ips"]);
    }
}
