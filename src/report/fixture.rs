//! What the tests of reports see: a residency of which all is well, to be spoiled one way at a time.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::{apimachinery::pkg::apis::meta::v1::Time, jiff::Timestamp};

use super::{
    coverage::Facts,
    receivers::Sent,
    residency::{CanarySeen, NamespaceOutcome, NetworkTier, Outcome, PoliciesSeen, status},
};
use crate::{
    api::{DataResidency, data_residency::Routes},
    audit::Counted,
    domain::{Finding, Leg, Mode, Mutation, Subject, Verdict},
    policies::Tokens,
    resolve::{Residency, UnknownKey},
};

/// A moment.
pub(super) fn at(second: i64) -> Time {
    Time(Timestamp::from_second(second).unwrap())
}

/// A cluster of which all is well.
pub(super) fn all_well() -> Facts {
    Facts {
        version: "v1.37.2".into(),
        minor: Some(37),
        policies: PoliciesSeen::AsBuilt,
        static_manifests: false,
        canary: CanarySeen { refused: true, mutation: Some(Mutation::AdmissionPolicy) },
        pod_security: true,
        groups: BTreeSet::new(),
        values: Tokens::from([("unclassifiedNamespaces".into(), "Allow".into())]),
        sent: Sent::default(),
    }
}

/// The message of a condition, which has this status and reason.
#[track_caller]
pub(super) fn says(mut seen: Seen, type_: &str, expected: &str, reason: &str) -> String {
    let conditions = status(&seen.outcome(), &at(1)).conditions;
    let condition = conditions.iter().find(|condition| condition.type_ == type_).unwrap();
    assert_eq!((condition.status.as_str(), condition.reason.as_str()), (expected, reason), "{}", condition.message);
    condition.message.clone()
}

/// A finding in namespace `shop`.
pub(super) fn finding(verdict: Verdict, rule: &'static str, kind: &'static str, name: &str) -> Finding {
    let subject = Subject::namespaced(kind, "shop", name, "");
    Finding {
        verdict,
        leg: Leg::Placement,
        rule,
        subject,
        message: format!("{name} is outside"),
        remedy: "move it".into(),
    }
}

/// Everything that an outcome borrows.
pub(super) struct Seen {
    pub residency: DataResidency,
    pub resolved: Residency,
    pub mode: Mode,
    pub nodes: (u32, u32),
    /// In the second of two namespaces.
    pub confined: bool,
    pub refused_because: Option<&'static str>,
    /// In the first.
    pub findings: Vec<Finding>,
    pub policies: PoliciesSeen,
    pub canary: CanarySeen,
    pub missing_classes: Vec<String>,
    pub unknown_keys: Vec<UnknownKey>,
    pub pods_in_permitted_networks: Option<String>,
    pub api_servers_not_permitted: Vec<String>,
    pub dns_elsewhere: Vec<String>,
    pub network: NetworkTier,
    pub routes: Vec<Routes>,
    pub unseen: BTreeMap<String, String>,
    /// In each of the two.
    pub counted: Counted,
    pub deleting: bool,
    /// Of the second.
    pub left_to_its_own: bool,
}

impl Seen {
    pub fn well() -> Self {
        let mut residency = DataResidency::new(
            "mainland",
            serde_json::from_value(serde_json::json!({"jurisdictions": ["CN"]})).unwrap(),
        );
        residency.metadata.generation = Some(7);
        Self {
            residency,
            resolved: Residency {
                name: "mainland".into(),
                data_centers: vec!["shanghai-1".into()],
                ..Residency::canary()
            },
            mode: Mode::Enforce,
            nodes: (3, 5),
            confined: true,
            refused_because: None,
            findings: vec![],
            policies: PoliciesSeen::AsBuilt,
            canary: CanarySeen { refused: true, mutation: Some(Mutation::AdmissionPolicy) },
            missing_classes: vec![],
            unknown_keys: vec![],
            pods_in_permitted_networks: None,
            api_servers_not_permitted: vec![],
            dns_elsewhere: vec![],
            network: NetworkTier::NetworkPolicy(None),
            routes: vec![],
            unseen: BTreeMap::new(),
            counted: Counted::default(),
            deleting: false,
            left_to_its_own: false,
        }
    }

    pub fn outcome(&mut self) -> Outcome<'_> {
        self.resolved.mode = self.mode;
        self.resolved.eligible_nodes = self.nodes.0;
        let namespace = |name, confined, refused_because, findings| NamespaceOutcome {
            name,
            confined,
            mode: self.mode,
            pods: 3,
            claims: 1,
            findings,
            counted: &self.counted,
            refused_because,
            left_to_its_own: self.left_to_its_own && name == "store",
        };
        Outcome {
            residency: &self.residency,
            resolved: &self.resolved,
            total_nodes: self.nodes.1,
            namespaces: vec![
                namespace("shop", true, None, &self.findings),
                namespace("store", self.confined, self.refused_because, &[]),
            ],
            policies: self.policies.clone(),
            canary: self.canary,
            missing_classes: self.missing_classes.clone(),
            unknown_keys: self.unknown_keys.clone(),
            pods_in_permitted_networks: self.pods_in_permitted_networks.clone(),
            api_servers_not_permitted: self.api_servers_not_permitted.clone(),
            dns_elsewhere: self.dns_elsewhere.clone(),
            network: self.network.clone(),
            routes: &self.routes,
            unseen: &self.unseen,
            deleting: self.deleting,
        }
    }
}
