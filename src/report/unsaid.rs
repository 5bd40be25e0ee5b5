//! What users have yet to say or to arrange, beside what the API server enforces: which topology key a driver knows, where the API
//! servers stand, where the cluster's DNS runs. Each is told with what mends it.

use super::{conditions::Judgement, residency::Outcome, some_of};
use crate::{domain::Mode, resolve::UnknownKey};

/// A key that the class's driver does not know. What drivers make of that differs, so it is not known to hold.
pub(super) fn topology_keys(outcome: &Outcome<'_>) -> Option<Judgement> {
    let UnknownKey { class, driver, key, registered } = outcome.unknown_keys.first()?;
    let (knows, remedy) = match registered.as_slice() {
        [] => ("none".to_owned(), "let the driver register one, or take a driver that does".to_owned()),
        keys => {
            let keys = some_of(keys.iter().map(String::as_str));
            (
                keys.clone(),
                format!("set spec.storage.classes[].topologyKey of {class} to that of {keys} which names zones"),
            )
        }
    };
    let more = match outcome.unknown_keys.len() {
        1 => String::new(),
        many => format!(" (so it is with {many} classes)"),
    };
    Some(Judgement::unknown(
        "TopologyKeyUnknown",
        format!(
            "the topology key {key} of StorageClass {class} is not known to its driver {driver}, which registered {knows} on verified nodes: claims get no volume, or one anywhere{more}; {remedy}"
        ),
    ))
}

/// Of which API servers governed pods are cut off. It breaks no residency, and whoever wants it so has it so.
pub(super) fn api_servers(outcome: &Outcome<'_>) -> String {
    let addresses = &outcome.api_servers_not_permitted;
    if addresses.is_empty() {
        return String::new();
    }
    format!(
        "; governed pods and the API servers at {} may not connect to each other; to permit it name these in spec.controlPlane.addresses of the DataCenter where they stand",
        some_of(addresses.iter().map(String::as_str))
    )
}

/// Where names are asked that governed pods ask for: what is asked is said there, and by whom it is asked.
pub(super) fn dns_elsewhere(outcome: &Outcome<'_>) -> String {
    let pods = &outcome.dns_elsewhere;
    if pods.is_empty() {
        return String::new();
    }
    format!(
        "; names that governed pods ask for are told to {}; run the cluster's DNS on nodes verified for this residency, or let each node ask one of its own",
        some_of(pods.iter().map(String::as_str))
    )
}

/// Namespaces that had network policies of their own when they joined, or when somebody took away that they asked for no others: their zero trust is kept, and what these do not open is closed.
pub(super) fn left_to_their_own(outcome: &Outcome<'_>) -> String {
    let all = || outcome.namespaces.iter().filter(|one| one.left_to_its_own);
    let told = |is_enforced: bool, opens: &str| {
        let names: Vec<&str> =
            all().filter(|one| (one.mode == Mode::Enforce) == is_enforced).map(|one| one.name).collect();
        (!names.is_empty()).then(|| format!("; in {} {opens}", some_of(names)))
    };
    let closed = "nothing opens pods but their own NetworkPolicies, not even for DNS";
    let would_close =
        "with enforcement: Enforce nothing would open pods but their own NetworkPolicies, not even for DNS";
    let remedy = all().next().map(|_| {
        ": to open what is permitted beside them, label the namespace domicile.dev/permit: All, or None where that is meant"
    });
    [told(true, closed), told(false, would_close), remedy.map(str::to_owned)].into_iter().flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::fixture::{Seen, says};

    #[test]
    fn a_key_that_the_driver_does_not_know_holds_nothing() {
        let unknown = |registered: &[&str]| {
            let registered = registered.iter().map(|key| (*key).to_owned()).collect();
            let [class, driver, key] = ["mainland-ssd", "ebs.csi.aws.com", "wrong/zone"].map(str::to_owned);
            Seen { unknown_keys: vec![UnknownKey { class, driver, key, registered }], ..Seen::well() }
        };
        let message =
            says(unknown(&["topology.kubernetes.io/zone"]), "StorageEnforced", "Unknown", "TopologyKeyUnknown");
        let remedy = "topologyKey of mainland-ssd to that of topology.kubernetes.io/zone which names zones";
        assert!(message.contains("wrong/zone") && message.ends_with(remedy), "{message}");
        assert!(says(unknown(&[]), "StorageEnforced", "Unknown", "TopologyKeyUnknown").contains("registered none"));
        says(unknown(&[]), "Ready", "True", "InForce");
    }

    #[test]
    fn a_namespace_that_keeps_its_zero_trust_is_told_before_and_after() {
        let seen = |mode| Seen { left_to_its_own: true, mode, ..Seen::well() };
        let message = says(seen(Mode::Enforce), "NetworkEnforced", "Unknown", "PluginNotSeen");
        assert!(message.contains("in store nothing opens pods but") && message.contains("permit: All"), "{message}");
        let message = says(seen(Mode::Audit), "NetworkEnforced", "False", "AuditOnly");
        assert!(message.contains("in store with enforcement: Enforce nothing would open"), "{message}");
        says(seen(Mode::Enforce), "Ready", "True", "InForce");
    }

    #[test]
    fn a_dns_that_stands_elsewhere_is_told() {
        let seen = || Seen { dns_elsewhere: vec!["kube-system/coredns-0 on node de-1".into()], ..Seen::well() };
        let message = says(seen(), "NetworkEnforced", "Unknown", "PluginNotSeen");
        assert!(message.contains("told to kube-system/coredns-0 on node de-1; run the cluster's DNS"), "{message}");
        says(seen(), "Ready", "True", "InForce");
    }

    #[test]
    fn api_servers_that_are_not_attested_are_told_and_break_nothing() {
        let cut_off = || Seen { api_servers_not_permitted: vec!["10.59.0.5".into()], ..Seen::well() };
        let message = says(cut_off(), "NetworkEnforced", "Unknown", "PluginNotSeen");
        assert!(message.contains("10.59.0.5") && message.contains("spec.controlPlane.addresses"), "{message}");
        says(cut_off(), "Compliant", "True", "Compliant");
        says(cut_off(), "Ready", "True", "InForce");
    }
}
