//! Objects of add-ons' kinds that are older than the rules by which a governed namespace has none, or not such: policies that open
//! what NetworkPolicy cannot take back, routes from outside or to other clusters, grants to other namespaces.

use crate::{
    domain::{AddOn, Exposure, Finding, Leg, Subject, Verdict, add_ons::Does},
    observe::{Key, Opening},
};

use super::Scene;

/// Nobody can tell what such a policy opens.
pub const KIND: &str = "domicile/network-kind";

/// Judges every object of such a kind.
pub(super) fn audit(scene: &Scene<'_>) -> Vec<Finding> {
    let exposure = scene.confined.confinement.exposure;
    scene.openings.iter().flat_map(|(key, kind, one)| judge(key, kind, one, exposure)).collect()
}

fn judge(key: &Key, kind: &AddOn, one: &Opening, exposure: Exposure) -> Vec<Finding> {
    let subject = || Subject::namespaced(kind.name, &key.namespace, &key.name, &one.uid);
    let route = || {
        (exposure == Exposure::Deny).then(|| Finding {
            verdict: Verdict::NonCompliant,
            leg: Leg::Exposure,
            rule: "domicile/route",
            subject: subject(),
            message: format!("{} opens governed pods to the outside, and exposure is {exposure}", kind.kind()),
            remedy: "delete it and reach them inside the cluster, or ask for spec.network.exposure: Allow of the DataResidency"
                .to_owned(),
        })
    };
    let grant = || {
        one.gives_more.then(|| Finding {
            verdict: Verdict::NonCompliant,
            leg: Leg::Storage,
            rule: "domicile/grant",
            subject: subject(),
            message: "it gives other namespaces more than Services of this one".to_owned(),
            remedy: "name Services alone in spec.to; claims, snapshots and Secrets stay in the namespace".to_owned(),
        })
    };
    match kind.does {
        Does::Route | Does::MeshRoute => route().into_iter().collect(),
        Does::Grant => grant().into_iter().chain(route()).collect(),
        Does::Policy | Does::PartOfPolicy => vec![Finding {
            verdict: Verdict::Unknown,
            leg: Leg::Network,
            rule: KIND,
            subject: subject(),
            message: format!("{} ({}) can open more than is permitted here, and is not judged", kind.kind(), kind.group()),
            remedy: "write a NetworkPolicy of networking.k8s.io in its place and delete it, or have the platform team write a cluster-wide policy"
                .to_owned(),
        }],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::fixture::Stage;

    fn rules(kind: &str, gives_more: bool, exposure: Exposure) -> Vec<(&'static str, Verdict)> {
        let mut stage = Stage::new();
        stage.confined.confinement.exposure = exposure;
        stage.opening("it", kind, gives_more);
        audit(&stage.scene()).iter().map(|finding| (finding.rule, finding.verdict)).collect()
    }

    #[test]
    fn a_route_is_a_finding_unless_exposure_is_allowed() {
        let route = ("domicile/route", Verdict::NonCompliant);
        for kind in
            ["HTTPRoute.gateway.networking.k8s.io", "VirtualService.networking.istio.io", "ServiceExport.net.gke.io"]
        {
            assert_eq!(rules(kind, false, Exposure::Deny), [route]);
            assert!(rules(kind, false, Exposure::Allow).is_empty());
        }
    }

    #[test]
    fn a_grant_of_more_than_services_is_a_finding_whatever_exposure_is() {
        let (grant, route) = (("domicile/grant", Verdict::NonCompliant), ("domicile/route", Verdict::NonCompliant));
        let kind = "ReferenceGrant.gateway.networking.k8s.io";
        assert_eq!(rules(kind, true, Exposure::Deny), [grant, route]);
        assert_eq!(rules(kind, true, Exposure::Allow), [grant]);
        assert_eq!(rules(kind, false, Exposure::Deny), [route]);
        assert!(rules(kind, false, Exposure::Allow).is_empty());
    }

    #[test]
    fn what_another_kind_of_policy_opens_nobody_can_tell() {
        for kind in ["CiliumNetworkPolicy.cilium.io", "NetworkSet.crd.projectcalico.org"] {
            assert_eq!(rules(kind, false, Exposure::Allow), [(KIND, Verdict::Unknown)]);
        }
        let mut stage = Stage::new();
        stage.opening("wide", "NetworkPolicy.crd.projectcalico.org", false);
        let finding = stage.one(audit);
        assert_eq!(finding.subject.to_string(), "NetworkPolicy.crd.projectcalico.org shop/wide");
        assert!(finding.message.starts_with("NetworkPolicy (crd.projectcalico.org) can open"), "{}", finding.message);
    }
}
