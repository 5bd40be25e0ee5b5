//! Webhooks and APIServices that are served from governed namespaces, which the API servers must reach.
//!
//! Where they cannot, no residency is broken: requests hang or fail, also elsewhere in the cluster, and a namespace whose
//! objects an APIService holds cannot be deleted. It is told as unclear, which is the least that a finding says, with what
//! to attest. Where the API servers stand, the endpoints of Service `kubernetes` tell; of others nothing is said. Which pods
//! are behind a Service is not looked at: one policy of the namespace that opens it to the API servers is enough.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use super::{Scene, network::is_own};
use crate::{
    domain::{Cidr, Finding, Ingress, Leg, Permitting, Subject, Verdict},
    observe::{Key, Policy},
    resolve::Peer,
};

/// The API servers may not connect to what serves a webhook or an APIService.
pub const SERVED: &str = "domicile/served-webhook";

/// Judges every Service of the namespace behind which somebody is sent objects.
pub(super) fn audit(scene: &Scene<'_>) -> Vec<Finding> {
    let mut served: BTreeMap<&Key, BTreeSet<String>> = BTreeMap::new();
    for (kind, name, receivers) in &scene.receivers {
        for key in receivers.services().filter(|key| key.namespace == scene.namespace.name) {
            served.entry(key).or_default().insert(format!("{kind} {name}"));
        }
    }
    let shut_out: Vec<String> =
        scene.api_servers.iter().filter(|address| !lets_in(scene, **address)).map(ToString::to_string).collect();
    if shut_out.is_empty() {
        return Vec::new();
    }
    served.into_iter().map(|(key, names)| finding(scene, key, &names, &shut_out.join(", "))).collect()
}

fn finding(scene: &Scene<'_>, key: &Key, names: &BTreeSet<String>, shut_out: &str) -> Finding {
    let first = names.first().map(String::as_str).unwrap_or_default();
    let more = match names.len() {
        0 | 1 => String::new(),
        many => format!(" (and {} more)", many - 1),
    };
    let remedy = match scene.confined.confinement.permitting {
        Permitting::All => {
            "name the API servers in spec.controlPlane.addresses of the DataCenter where they stand, or in spec.network.ingress.allow of the DataResidency where they stand in none"
        }
        Permitting::None => {
            "permit is None here: write a NetworkPolicy that opens it to the API servers, once spec.controlPlane.addresses of a DataCenter names them, or label the namespace domicile.dev/permit=All"
        }
    };
    Finding {
        verdict: Verdict::Unknown,
        leg: Leg::Network,
        rule: SERVED,
        subject: Subject::namespaced("Service", &key.namespace, &key.name, ""),
        message: format!("it serves {first}{more}, and the API servers at {shut_out} may not connect to its pods"),
        remedy: remedy.to_owned(),
    }
}

/// Whether something lets an address connect to pods here: the permitting policy, as it is to stand, or a tenant's.
fn lets_in(scene: &Scene<'_>, address: IpAddr) -> bool {
    let (confined, confinement) = (scene.confined, &scene.confined.confinement);
    let contains = |network: &Cidr| network.contains_address(address);
    let permitted = || {
        let allowed = confined
            .ingress
            .iter()
            .any(|allowed| matches!(&allowed.peer, Peer::Networks(networks) if networks.iter().any(contains)));
        confinement.ingress == Ingress::Open
            || allowed
            || confinement.networks.iter().chain(&confined.control_plane).any(contains)
    };
    let tenants = scene.policies.iter().filter(|(key, policy)| !is_own(key, policy));
    (confinement.permitting == Permitting::All && permitted())
        || tenants.into_iter().any(|(_, policy)| opens(policy, address))
}

fn opens(policy: &Policy, address: IpAddr) -> bool {
    policy.opens.ingress.rules.iter().any(|rule| rule.is_bare || rule.has(address))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{audit::fixture::Stage, observe::receivers::Target, resolve::Allowed};
    use serde_json::json;

    /// A stage whose Service `hooks` serves a webhook; the API servers stand at 10.59.0.5.
    fn serving() -> Stage {
        let mut stage = Stage::new();
        stage.webhook(Target::Service(Key::new("shop", "hooks")));
        let same = stage.receivers.values().next().unwrap().clone();
        stage.receivers.insert(("APIService", "v1.example.com".into()), same);
        stage.api_servers = vec!["10.59.0.5".parse().unwrap()];
        stage
    }

    fn is_found(change: impl FnOnce(&mut Stage)) -> bool {
        let mut stage = serving();
        change(&mut stage);
        !audit(&stage.scene()).is_empty()
    }

    #[test]
    fn what_the_api_servers_may_not_reach_is_told_on_its_service() {
        let finding = serving().one(audit);
        assert_eq!((finding.verdict, finding.rule), (Verdict::Unknown, SERVED));
        assert_eq!(finding.subject.to_string(), "Service shop/hooks");
        let expected = "it serves APIService v1.example.com (and 1 more), and the API servers at 10.59.0.5 may not connect to its pods";
        assert_eq!(finding.message, expected);
        assert!(finding.remedy.contains("spec.controlPlane.addresses"));
    }

    #[test]
    fn what_is_permitted_or_not_known_is_no_finding() {
        let networks = || vec!["10.59.0.0/28".parse().unwrap()];
        assert!(!is_found(|stage| stage.confined.control_plane = networks()));
        assert!(!is_found(|stage| stage.confined.confinement.networks = networks()));
        assert!(!is_found(|stage| stage.confined.confinement.ingress = Ingress::Open));
        assert!(!is_found(
            |stage| stage.confined.ingress = vec![Allowed { peer: Peer::Networks(networks()), ports: vec![] }]
        ));
        assert!(!is_found(|stage| stage.api_servers.clear()));
        assert!(!is_found(|stage| stage.namespace.name = "other".into()));
        assert!(is_found(|stage| {
            stage.confined.control_plane = networks();
            stage.api_servers.push("10.59.1.5".parse().unwrap());
        }));
    }

    #[test]
    fn where_the_permitted_is_not_opened_the_tenants_policies_decide() {
        let none = |stage: &mut Stage| {
            stage.confined.control_plane = vec!["10.59.0.0/28".parse().unwrap()];
            stage.confined.confinement.permitting = Permitting::None;
        };
        assert!(is_found(none));
        for (from, found) in [
            (json!([{"ipBlock": {"cidr": "10.59.0.5/32"}}]), false),
            (json!([]), false),
            (json!([{"ipBlock": {"cidr": "10.59.0.0/16", "except": ["10.59.0.0/28"]}}]), true),
            (json!([{"namespaceSelector": {}}]), true),
        ] {
            let opened = is_found(|stage| {
                none(stage);
                stage.policy("own", json!({"podSelector": {}, "ingress": [{"from": from}]}));
            });
            assert_eq!(opened, found, "{from}");
        }
    }
}
