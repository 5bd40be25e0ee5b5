//! Webhooks and APIServices that lead out: whoever serves them is sent whole objects of governed namespaces.
//!
//! Judged is what leads out of the cluster: a URL, or a Service that is only another name or whose endpoints somebody wrote. An
//! address is held against what governed pods may talk to; where a name leads, nobody here can tell. A Service with pods is no
//! finding, wherever its namespace: practically every cluster has webhooks of add-ons, and regulated data is to be kept out of objects anyhow
//! (route S20). `domicile coverage` names those.

use std::net::IpAddr;

use super::{Scene, network::networks_in_words};
use crate::{
    domain::{Finding, Leg, Subject, Verdict, keys},
    observe::{
        Key,
        convert::ADDRESSES,
        in_namespace,
        receivers::{Receiver, Receivers, Target},
    },
    resolve::{Allowed, Confined, Peer},
};

/// A webhook or an APIService leads out of what is permitted.
pub const WEBHOOK: &str = "domicile/webhook";

/// So many EndpointSlices that somebody wrote for a Service are looked through, for each who is sent objects there.
const SLICES: usize = 10;

/// Judges every object that names somebody who is sent objects; one finding for each, of the worst.
pub(super) fn audit(scene: &Scene<'_>) -> Vec<Finding> {
    if scene.namespace.name == keys::CANARY_NAMESPACE {
        return Vec::new(); // nothing is in it, and nothing permitted
    }
    scene.receivers.iter().filter_map(|(kind, name, receivers)| judge(scene, kind, name, receivers)).collect()
}

fn judge(scene: &Scene<'_>, kind: &'static str, name: &str, receivers: &Receivers) -> Option<Finding> {
    let here = receivers.receivers.iter().filter(|one| one.namespaces.matches(&scene.namespace.labels));
    let mut outside: Vec<(Verdict, String)> = here.filter_map(|receiver| leads_out(scene, receiver)).collect();
    outside.sort_by_key(|(verdict, _)| *verdict);
    let ((verdict, worst), others) = outside.split_first()?;
    let more = if others.is_empty() { String::new() } else { format!(" (and {} more)", others.len()) };
    Some(Finding {
        verdict: *verdict,
        leg: Leg::Network,
        rule: WEBHOOK,
        subject: Subject { uid: receivers.uid.clone(), ..Subject::cluster(kind, name) },
        message: format!("{worst}{more}"),
        remedy: match kind {
            "APIService" => "serve it from pods of this cluster, or keep objects of that group out of governed namespaces",
            _ => "serve it from pods of this cluster or at a permitted address, or leave namespaces with the label domicile.dev/residency out in its namespaceSelector",
        }
        .to_owned(),
    })
}

/// Whether a receiver is outside, and how that is known.
fn leads_out(scene: &Scene<'_>, receiver: &Receiver) -> Option<(Verdict, String)> {
    let (verdict, whither) = match &receiver.target {
        Target::Address(address, port) if is_permitted(*address, Some(*port), scene.confined) => return None,
        Target::Address(address, _) => (Verdict::NonCompliant, outside(&address.to_string(), scene)),
        Target::Host(host) if host == "localhost" => return None,
        Target::Host(host) => (Verdict::Unknown, format!("{host}; where that name leads, nobody here can tell")),
        Target::Service(key) if scene.external_names.contains(&key) => {
            let what = format!("Service {key} of type ExternalName; where that leads, nobody here can tell");
            (Verdict::Unknown, what)
        }
        Target::Service(key) => (Verdict::Unknown, by_hand(scene, key)?),
    };
    let (verdict, unless) = match receiver.narrowed_by {
        Some(field) => (Verdict::Unknown, format!(", unless its {field} leaves them out")),
        None => (verdict, String::new()),
    };
    Some((verdict, format!("{} is sent objects of governed namespaces{unless}, at {whither}", receiver.name)))
}

/// Where the endpoints of a Service that somebody wrote lead outside. A pod of the cluster's can be meant: whose address it is,
/// nobody here can tell.
fn by_hand(scene: &Scene<'_>, service: &Key) -> Option<String> {
    let slices = || in_namespace(scene.by_hand, &service.namespace).filter(|(_, slice)| slice.service == service.name);
    if slices().nth(SLICES).is_some() {
        return Some(format!(
            "Service {service}, for which somebody wrote more EndpointSlices than the {SLICES} that are judged"
        ));
    }
    slices().find_map(|(key, slice)| {
        let permitted = |text: &str| text.parse().is_ok_and(|address| is_permitted(address, None, scene.confined));
        let address = slice.addresses.iter().find(|address| !permitted(address)).map(|one| outside(one, scene));
        let unread = || (slice.more > 0).then(|| format!("more than {ADDRESSES} addresses, which nobody judges"));
        let whither = address.or_else(unread)?;
        Some(format!("Service {service}, whose EndpointSlice {} somebody wrote: {whither}", key.name))
    })
}

fn outside(address: &str, scene: &Scene<'_>) -> String {
    format!("{address}, which does not lie inside {}", networks_in_words(&scene.confined.confinement))
}

/// Whether governed pods may talk to the address as well, or it is the API server's own machine. Where the port is not known,
/// what they may talk to on some ports alone does not count.
fn is_permitted(address: IpAddr, port: Option<u16>, confined: &Confined) -> bool {
    let inside = |allowed: &Allowed| {
        let at_port = |port: u16| {
            allowed.ports.iter().any(|range| {
                range.protocol == "TCP" && (range.first..=range.last.unwrap_or(range.first)).contains(&i32::from(port))
            })
        };
        matches!(&allowed.peer, Peer::Networks(networks) if networks.iter().any(|one| one.contains_address(address)))
            && (allowed.ports.is_empty() || port.is_some_and(at_port))
    };
    let networks = confined.confinement.networks.iter().chain(&confined.control_plane);
    address.is_loopback()
        || networks.into_iter().any(|network| network.contains_address(address))
        || confined.egress.iter().any(inside)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{api::selector::LabelSelector, audit::fixture::Stage, observe::Endpoints, resolve::PortRange};
    use serde_json::json;

    fn receiver(target: Target) -> Receiver {
        Receiver { name: "pods.example.com".into(), target, namespaces: LabelSelector::default(), narrowed_by: None }
    }

    fn at(address: &str, port: u16) -> Target {
        Target::Address(address.parse().unwrap(), port)
    }

    fn found(receivers: Vec<Receiver>, prepare: impl FnOnce(&mut Stage)) -> Vec<Finding> {
        let mut stage = Stage::new();
        prepare(&mut stage);
        let named = ("ValidatingWebhookConfiguration", "theirs".to_owned());
        stage.receivers.insert(named, Receivers { uid: "u".into(), receivers });
        audit(&stage.scene())
    }

    fn verdicts(target: Target) -> Vec<Verdict> {
        let allow = |stage: &mut Stage| {
            let range = PortRange { first: 443, last: Some(444), protocol: "TCP" };
            let peer = Peer::Networks(vec!["203.0.113.0/24".parse().unwrap()]);
            stage.confined.egress = vec![Allowed { peer, ports: vec![range] }];
            stage.confined.control_plane = vec!["10.30.0.0/28".parse().unwrap()];
            stage.external_names = vec![Key::new("platform", "away")];
        };
        found(vec![receiver(target)], allow).iter().map(|finding| finding.verdict).collect()
    }

    #[test]
    fn an_address_is_inside_what_is_permitted_or_outside() {
        for (address, port) in
            [("10.20.7.7", 9443), ("10.30.0.3", 443), ("203.0.113.9", 444), ("127.0.0.1", 9443), ("::1", 443)]
        {
            assert!(verdicts(at(address, port)).is_empty(), "{address}:{port}");
        }
        for (address, port) in [("198.51.100.7", 443), ("203.0.113.9", 8443), ("10.99.0.1", 443), ("2001:db8::7", 443)]
        {
            assert_eq!(verdicts(at(address, port)), [Verdict::NonCompliant], "{address}:{port}");
        }
    }

    #[test]
    fn a_name_is_unclear_and_a_service_with_pods_is_none() {
        assert_eq!(verdicts(Target::Host("hooks.example.com".into())), [Verdict::Unknown]);
        assert!(verdicts(Target::Host("localhost".into())).is_empty());
        assert_eq!(verdicts(Target::Service(Key::new("platform", "away"))), [Verdict::Unknown]);
        assert!(verdicts(Target::Service(Key::new("platform", "here"))).is_empty());
    }

    #[test]
    fn endpoints_that_somebody_wrote_lead_out_unless_they_are_permitted() {
        let told = |service: &str, addresses: &[&str], more: usize| {
            let addresses = addresses.iter().map(|address| (*address).to_owned()).collect();
            let slice = Endpoints { service: service.to_owned(), addresses, more, ..Endpoints::default() };
            let written = |stage: &mut Stage| drop(stage.endpoints.insert(Key::new("platform", "written"), slice));
            found(vec![receiver(Target::Service(Key::new("platform", "hooks")))], written)
        };
        for (addresses, more) in [(&["10.20.0.7", "198.51.100.7"][..], 0), (&["hooks.example.com"], 0), (&[], 1)] {
            let all = told("hooks", addresses, more);
            assert_eq!(all.iter().map(|finding| finding.verdict).collect::<Vec<_>>(), [Verdict::Unknown]);
            let message = &all.first().unwrap().message;
            assert!(
                message.contains("Service platform/hooks, whose EndpointSlice written somebody wrote"),
                "{message}"
            );
        }
        assert!(told("hooks", &["10.20.0.7"], 0).is_empty());
        assert!(told("others", &["198.51.100.7"], 0).is_empty());
    }

    #[test]
    fn a_webhook_that_is_sent_nothing_of_the_namespace_is_no_finding() {
        let selecting = |selector: serde_json::Value| Receiver {
            namespaces: serde_json::from_value(selector).unwrap(),
            ..receiver(at("198.51.100.7", 443))
        };
        let governed = json!({"matchExpressions": [{"key": "domicile.dev/residency", "operator": "Exists"}]});
        let others = json!({"matchExpressions": [{"key": "domicile.dev/residency", "operator": "DoesNotExist"}]});
        let label = |stage: &mut Stage| {
            stage.namespace.labels.insert("domicile.dev/residency".into(), "mainland".into());
        };
        assert_eq!(found(vec![selecting(governed)], label).len(), 1);
        assert!(found(vec![selecting(others)], label).is_empty());
    }

    #[test]
    fn where_labels_of_objects_decide_it_is_unclear() {
        let some = Receiver { narrowed_by: Some("objectSelector"), ..receiver(at("198.51.100.7", 443)) };
        let all = found(vec![some], |_| {});
        assert_eq!(all.first().unwrap().verdict, Verdict::Unknown);
        assert!(all.first().unwrap().message.contains("unless its objectSelector leaves them out"));
    }

    #[test]
    fn an_object_is_told_once_with_the_worst_of_it() {
        let names = receiver(Target::Host("hooks.example.com".into()));
        let all = found(vec![names, receiver(at("198.51.100.7", 443)), receiver(at("10.20.0.1", 443))], |_| {});
        let [finding] = all.as_slice() else { panic!("{all:?}") };
        assert_eq!((finding.verdict, finding.rule), (Verdict::NonCompliant, WEBHOOK));
        assert_eq!(finding.subject.to_string(), "ValidatingWebhookConfiguration theirs");
        let expected = "pods.example.com is sent objects of governed namespaces, at 198.51.100.7, which does not lie inside 10.20.0.0/16, 10.21.0.0/16 (and 1 more)";
        assert_eq!(finding.message, expected);
    }
}
