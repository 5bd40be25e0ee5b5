//! What of a governed namespace can be reached from outside the cluster, and which names inside lead out of it.
//!
//! Where a load balancer or a gateway ends, nobody here can tell, so a residency that denies exposure has none. Names for
//! hosts outside, and addresses that somebody else owns, are findings whatever the residency says of exposure.

use std::net::IpAddr;

use crate::{
    domain::{Cidr, Confinement, Exposure, Finding, Ingress, Leg, Subject, Verdict},
    observe::{Endpoints, Exposed, Key},
};

use super::Scene;

/// The EndpointSlice in which the API servers say where they are, and which they put right themselves.
const OF_THE_API_SERVER: (&str, &str) = ("default", "kubernetes");

/// Judges every Service and Ingress that is exposed, and every EndpointSlice that was written by hand.
pub(super) fn audit(scene: &Scene<'_>) -> Vec<Finding> {
    let confinement = &scene.confined.confinement;
    let exposed = scene.exposed.iter().flat_map(|(key, kind, exposed)| judge(key, kind, exposed, confinement));
    exposed.chain(scene.endpoints.iter().filter_map(|(key, slice)| endpoint(scene, key, slice))).collect()
}

/// It gives an address that is not permitted a name in the cluster.
fn endpoint(scene: &Scene<'_>, key: &Key, slice: &Endpoints) -> Option<Finding> {
    if (key.namespace.as_str(), key.name.as_str()) == OF_THE_API_SERVER {
        return None;
    }
    let networks = &scene.confined.confinement.networks;
    let mut foreign = slice.addresses.iter().filter(|address| !lies_in(address, networks));
    let subject = || Subject::namespaced("EndpointSlice", &key.namespace, &key.name, &slice.uid);
    let Some(first) = foreign.next() else {
        return (slice.more > 0).then(|| Finding {
            verdict: Verdict::Unknown,
            leg: Leg::Exposure,
            rule: "domicile/endpoint-count",
            subject: subject(),
            message: format!("it was written by hand and has {} addresses more than are judged", slice.more),
            remedy: "use several EndpointSlices".to_owned(),
        });
    };
    let others = foreign.count();
    let more = if others == 0 { String::new() } else { format!(" (and {others} more)") };
    Some(Finding {
        verdict: Verdict::NonCompliant,
        leg: Leg::Exposure,
        rule: "domicile/endpoint",
        subject: subject(),
        message: format!("address {first}{more}, written by hand, is in no permitted network"),
        remedy: "give its Service a selector, or use permitted addresses; where it is a copy, change the Endpoints of its Service".to_owned(),
    })
}

/// An address that CEL reads, too, and that is permitted.
fn lies_in(address: &str, networks: &[Cidr]) -> bool {
    let is_mapped = |ip: &IpAddr| matches!(ip, IpAddr::V6(six) if six.to_ipv4_mapped().is_some());
    let parsed = address.parse::<IpAddr>().ok().filter(|ip| !is_mapped(ip));
    parsed.is_some_and(|ip| networks.iter().any(|network| network.contains_address(ip)))
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
            "make it a ClusterIP, or ask for spec.network.exposure: Allow of the DataResidency, set externalTrafficPolicy: Local, and let spec.network.ingress.allow name the clients",
        )),
        _ if exposed.hides_source && confinement.ingress == Ingress::Restricted => findings.push(finding(
            "domicile/hidden-source",
            "nodes put their own address in place of the client's, and spec.network.ingress.policy is Restricted"
                .to_owned(),
            "set externalTrafficPolicy: Local, and let spec.network.ingress.allow of the DataResidency name the clients; or ask for spec.network.ingress.policy: Open",
        )),
        _ => {}
    }
    if let Some(key) = exposed.mirrored.filter(|_| exposure == Exposure::Deny) {
        findings.push(finding(
            "domicile/route",
            format!("{key} makes it a Service of other clusters or networks, too, and exposure is {exposure}"),
            "remove that, or ask for spec.network.exposure: Allow of the DataResidency",
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
    fn an_address_that_is_not_permitted_is_a_finding_once_for_each_slice() {
        let found = |addresses: &[&str]| {
            let mut stage = Stage::new();
            stage.endpoints("by-hand", addresses);
            let findings = audit(&stage.scene());
            findings.iter().map(|finding| format!("{} {}", finding.rule, finding.message)).collect::<Vec<_>>()
        };
        assert!(found(&["10.20.9.9", "10.21.0.4"]).is_empty() && found(&[]).is_empty());
        let said = "domicile/endpoint address 198.51.100.7 (and 1 more), written by hand, is in no permitted network";
        assert_eq!(found(&["10.20.9.9", "198.51.100.7", "db.example.com"]), [said]);
        for address in ["db.example.com", "::ffff:10.20.9.9", "2001:db8::1", "10.20.9", ""] {
            assert_eq!(found(&[address]).len(), 1, "{address}");
        }
    }

    #[test]
    fn more_addresses_than_are_judged_are_unclear() {
        let mut stage = Stage::new();
        let slice = serde_json::json!({"metadata": {"name": "long"}, "addressType": "IPv4", "endpoints": [{"addresses": vec!["10.20.9.9"; 101]}]});
        stage.slice("long", serde_json::from_value(slice).unwrap());
        let finding = stage.one(audit);
        assert_eq!((finding.rule, finding.verdict), ("domicile/endpoint-count", Verdict::Unknown));
        assert!(finding.message.contains("1 addresses more"), "{}", finding.message);
    }

    #[test]
    fn where_the_api_servers_are_is_their_own_business() {
        let mut stage = Stage::new();
        stage.endpoints("kubernetes", &["198.51.100.7"]);
        let scene = stage.scene();
        let (_, slice) = scene.endpoints[0];
        assert!(endpoint(&scene, &Key::new("default", "kubernetes"), slice).is_none());
        assert!(endpoint(&scene, &Key::new("default", "kubernetes-2"), slice).is_some());
        assert!(endpoint(&scene, &Key::new("shop", "kubernetes"), slice).is_some());
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
