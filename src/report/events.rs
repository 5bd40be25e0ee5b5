//! What to tell in events: what has changed, on the object that it is about.
//!
//! Only a change is told, never a state, and many changes of one kind in one namespace are counted in one event. Events
//! are for people who look at an object; what stands at the moment is in the status.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

use super::{
    cut,
    legs::{HELD_BY_NAMESPACES, NAMESPACES_NOT_CONFINED},
};
use crate::{
    api::conditions::{ACCEPTED, COMPLIANT, READY},
    audit::{Counted, NONE_COUNTED},
    domain::{Finding, Subject, Verdict},
    resolve::{Location, NodeConflict},
};

/// The API server refuses longer notes (1 kB).
const NOTE: usize = 1000;
/// So many findings of one rule in one namespace are told one by one.
const ONE_BY_ONE: usize = 10;

/// One event, yet to be published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Telling {
    /// What it is about.
    pub subject: Subject,
    /// `Warning`, or `Normal`.
    pub warning: bool,
    /// One CamelCase word: why.
    pub reason: &'static str,
    /// One CamelCase word: what was being done.
    pub action: &'static str,
    /// What tells one from another of the same reason about the same object: the rule of a finding.
    pub topic: &'static str,
    /// A sentence for people, of at most 1000 bytes.
    pub note: String,
    /// Whether it was found standing by a process that does not know what was told before, so that it is no news where it
    /// was told already.
    pub standing: bool,
}

impl Telling {
    /// Something that somebody should look at.
    #[must_use]
    pub fn warning(subject: Subject, reason: &'static str, action: &'static str, note: impl AsRef<str>) -> Self {
        Self { subject, warning: true, reason, action, topic: "", note: cut(note.as_ref(), NOTE), standing: false }
    }

    /// Something that is as it should be.
    #[must_use]
    pub fn normal(subject: Subject, reason: &'static str, action: &'static str, note: impl AsRef<str>) -> Self {
        Self { subject, warning: false, reason, action, topic: "", note: cut(note.as_ref(), NOTE), standing: false }
    }

    /// As something that may have been told before.
    #[must_use]
    fn standing(self) -> Self {
        Self { standing: true, ..self }
    }
}

/// What to tell of the findings of a namespace, or of a residency. A finding is the same while rule, subject and verdict
/// are; other words are no news. `old` is `None` where this was not judged before; `lives` tells whether an object is there.
/// Of a rule of which some are only counted, one that is kept no more has not ended, and one that was not kept has not begun.
#[must_use]
pub fn findings(
    old: Option<(&[Finding], &Counted)>,
    (new, counted): (&[Finding], &Counted),
    lives: impl Fn(&Subject) -> bool,
) -> Vec<Telling> {
    let (first, (old, counted_before)) = (old.is_none(), old.unwrap_or((&[], &NONE_COUNTED)));
    let was_cut = |finding: &Finding| counted_before.rules.contains(&(finding.rule, finding.verdict));
    let is_cut = |finding: &Finding| was_cut(finding) || counted.rules.contains(&(finding.rule, finding.verdict));
    let known: BTreeSet<_> = old.iter().map(|finding| (finding.rule, &finding.subject, finding.verdict)).collect();
    let standing: BTreeSet<_> = new.iter().map(|finding| (finding.rule, &finding.subject)).collect();
    let begun = new.iter().filter(|finding| !known.contains(&(finding.rule, &finding.subject, finding.verdict)));
    let begun = begun.filter(|finding| !was_cut(finding));
    // Most findings end with their object, and nobody looks at the events of what is gone.
    let ended =
        old.iter().filter(|finding| !standing.contains(&(finding.rule, &finding.subject)) && lives(&finding.subject));
    let ended = ended.filter(|finding| !is_cut(finding));
    let mut tellings = grouped(begun, begins, "ResidencyBroken");
    if first {
        tellings = tellings.into_iter().map(Telling::standing).collect();
    }
    tellings.extend(grouped(ended, ends, "ResidencyKept"));
    tellings
}

fn begins(finding: &Finding) -> Telling {
    let Finding { verdict, leg: _, rule, subject, message, remedy } = finding;
    let reason = match verdict {
        Verdict::NonCompliant => "ResidencyBroken",
        Verdict::Unknown => "ResidencyUnclear",
    };
    let note = format!("[{rule}] {message}. Remedy: {remedy}.");
    Telling { topic: rule, ..Telling::warning(subject.clone(), reason, "Audit", note) }
}

fn ends(finding: &Finding) -> Telling {
    let note = format!("[{}] holds again; before: {}", finding.rule, finding.message);
    Telling { topic: finding.rule, ..Telling::normal(finding.subject.clone(), "ResidencyKept", "Audit", note) }
}

/// One telling for each finding; where one rule has many in one namespace, one on the namespace that counts them.
fn grouped<'a>(
    findings: impl Iterator<Item = &'a Finding>,
    tell: fn(&Finding) -> Telling,
    reason_of_many: &'static str,
) -> Vec<Telling> {
    let mut groups: BTreeMap<(&str, &str), Vec<&Finding>> = BTreeMap::new();
    for finding in findings {
        groups.entry((finding.subject.namespace.as_str(), finding.rule)).or_default().push(finding);
    }
    let mut tellings = Vec::new();
    for ((namespace, rule), group) in groups {
        match group.first() {
            Some(first) if group.len() > ONE_BY_ONE && !namespace.is_empty() => {
                let one = tell(first);
                let note =
                    format!("[{rule}] {} times in this namespace, first {}: {}", group.len(), first.subject, one.note);
                let subject = Subject::namespaced("Namespace", "", namespace, "");
                tellings.push(Telling { subject, reason: reason_of_many, note: cut(&note, NOTE), ..one });
            }
            _ => tellings.extend(group.into_iter().map(tell)),
        }
    }
    tellings
}

/// What to tell of where a node stands. With nothing known before (the node is new, or the operator has just started),
/// only what is wrong is told.
#[must_use]
pub fn node(name: &str, uid: &str, old: Option<&Location>, new: &Location) -> Vec<Telling> {
    let subject = Subject { uid: uid.to_owned(), ..Subject::cluster("Node", name) };
    let warn = |reason, note: String| vec![Telling::warning(subject.clone(), reason, "Locate", note)];
    let tell = |reason, note: String| vec![Telling::normal(subject.clone(), reason, "Locate", note)];
    match (old, new) {
        (Some(Location::Verified { jurisdiction: before, .. }), Location::Verified { data_center, jurisdiction })
            if before != jurisdiction =>
        {
            warn(
                "LocationChanged",
                format!("verified in {jurisdiction} (data center {data_center}), before in {before}"),
            )
        }
        (Some(Location::Verified { data_center: before, .. }), Location::Verified { data_center, .. })
            if before == data_center =>
        {
            Vec::new()
        }
        (None, Location::Verified { .. }) => Vec::new(),
        (Some(_), Location::Verified { data_center, jurisdiction }) => {
            tell("LocationVerified", format!("every signal agrees: in {jurisdiction} (data center {data_center})"))
        }
        (Some(Location::Conflict { conflicts: before, .. }), Location::Conflict { conflicts, .. })
            if reasons(before) == reasons(conflicts) =>
        {
            Vec::new()
        }
        (Some(Location::Verified { .. }), Location::Conflict { conflicts, .. }) => {
            warn("LocationLost", format!("not verified any more: {}", messages(conflicts)))
        }
        (None, Location::Conflict { conflicts, .. }) => {
            warn("LocationInConflict", messages(conflicts)).into_iter().map(Telling::standing).collect()
        }
        (Some(_), Location::Conflict { conflicts, .. }) => warn("LocationInConflict", messages(conflicts)),
        (Some(Location::Verified { data_center, .. }), Location::Unclaimed) => {
            warn("LocationLost", format!("not verified any more: data center {data_center} does not claim it"))
        }
        (_, Location::Unclaimed) => Vec::new(),
    }
}

/// What to tell of the conditions of a residency or a data center: whether it is accepted, ready, compliant, and when that
/// turns. That a namespace is about to be confined turns them for a moment, and is told on the namespace.
#[must_use]
pub fn conditions(subject: &Subject, old: Option<&Vec<Condition>>, new: &[Condition]) -> Vec<Telling> {
    let passing = |condition: &Condition| condition.reason == NAMESPACES_NOT_CONFINED;
    let told = new.iter().filter(|condition| [ACCEPTED, READY, COMPLIANT].contains(&condition.type_.as_str()));
    let turned = told.filter(|condition| {
        let before = old.into_iter().flatten().find(|before| before.type_ == condition.type_);
        let same = |before: &Condition| (&before.status, &before.reason) == (&condition.status, &condition.reason);
        let calm = match condition.status.as_str() {
            "True" => before.is_none_or(passing) && (before.is_some() || condition.type_ != READY),
            "Unknown" => before.is_none(), // not looked yet
            _ => false,
        };
        !before.is_some_and(same) && !passing(condition) && !calm
    });
    turned.map(|condition| turn(subject.clone(), condition)).collect()
}

fn turn(subject: Subject, condition: &Condition) -> Telling {
    let Condition { type_, status, message, .. } = condition;
    let note = format!("{type_} is {status}: {message}");
    let reason = match (type_.as_str(), status.as_str()) {
        (READY, "True") => "Ready",
        (READY, _) => "NotReady",
        (COMPLIANT, "True") => "Compliant",
        (COMPLIANT, "False") => "NonCompliant",
        (COMPLIANT, _) => "ComplianceUnknown",
        (_, "True") if condition.reason == HELD_BY_NAMESPACES => HELD_BY_NAMESPACES,
        (_, "True") => "Accepted",
        (_, _) => "NotAccepted",
    };
    let warning = status != "True" || reason == HELD_BY_NAMESPACES;
    Telling { warning, ..Telling::normal(subject, reason, "Report", note) }
}

fn reasons(conflicts: &[NodeConflict]) -> Vec<&str> {
    conflicts.iter().map(|conflict| conflict.reason).collect()
}

fn messages(conflicts: &[NodeConflict]) -> String {
    conflicts.iter().map(|conflict| conflict.message.as_str()).collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        domain::{
            Jurisdiction,
            Verdict::{NonCompliant, Unknown},
        },
        report::fixture::finding,
    };

    fn told_of(old: Option<&[Finding]>, new: &[Finding], lives: fn(&Subject) -> bool) -> Vec<Telling> {
        findings(old.map(|old| (old, &NONE_COUNTED)), (new, &NONE_COUNTED), lives)
    }

    fn there(_: &Subject) -> bool {
        true
    }

    fn gone(_: &Subject) -> bool {
        false
    }

    fn reasons_of(tellings: &[Telling]) -> Vec<&str> {
        tellings.iter().map(|telling| telling.reason).collect()
    }

    #[test]
    fn only_a_change_is_told() {
        let first = finding(NonCompliant, "domicile/network-any", "NetworkPolicy", "wide");
        let other_words = Finding { message: "in other words".into(), ..first.clone() };
        let begun = told_of(None, std::slice::from_ref(&first), gone);
        assert_eq!(reasons_of(&begun), ["ResidencyBroken"]);
        assert_eq!(begun[0].note, "[domicile/network-any] wide is outside. Remedy: move it.");
        assert!(begun[0].warning);
        assert!(told_of(Some(std::slice::from_ref(&first)), &[other_words], there).is_empty());
        assert!(told_of(Some(std::slice::from_ref(&first)), &[], gone).is_empty(), "what is gone has no readers");
        let ended = told_of(Some(&[first]), &[], there);
        assert_eq!((reasons_of(&ended), ended[0].warning), (vec!["ResidencyKept"], false));
    }

    #[test]
    fn what_is_found_first_may_have_been_told_before() {
        let found = finding(NonCompliant, "domicile/network-any", "NetworkPolicy", "wide");
        let told = |old| told_of(old, std::slice::from_ref(&found), there)[0].standing;
        assert!(told(None));
        assert!(!told(Some(&[])));
    }

    #[test]
    fn what_turns_out_worse_is_told_again() {
        let unclear = finding(Unknown, "domicile/volume-location", "PersistentVolumeClaim", "data");
        let broken = Finding { verdict: NonCompliant, ..unclear.clone() };
        assert_eq!(reasons_of(&told_of(Some(&[]), std::slice::from_ref(&unclear), there)), ["ResidencyUnclear"]);
        assert_eq!(reasons_of(&told_of(Some(&[unclear]), &[broken], there)), ["ResidencyBroken"]);
    }

    #[test]
    fn many_of_one_rule_are_counted_in_one_event() {
        let many: Vec<Finding> = (0..1000)
            .map(|index| finding(NonCompliant, "domicile/placement", "Pod", &format!("web-{index:03}")))
            .collect();
        let told = told_of(Some(&[]), &many, there);
        let [one] = told.as_slice() else { panic!("{} events", told.len()) };
        assert_eq!((one.subject.kind, one.subject.name.as_str()), ("Namespace", "shop"));
        assert!(
            one.note.starts_with("[domicile/placement] 1000 times in this namespace, first Pod shop/web-000"),
            "{}",
            one.note
        );
    }

    #[test]
    fn a_note_is_never_longer_than_the_api_server_takes() {
        let long = Finding { message: "境".repeat(2000), ..finding(NonCompliant, "domicile/placement", "Pod", "web") };
        assert!(told_of(None, &[long], there).iter().all(|telling| telling.note.len() <= NOTE));
    }

    fn condition(type_: &str, status: &str, reason: &str) -> Condition {
        serde_json::from_value(serde_json::json!({
            "type": type_, "status": status, "reason": reason, "message": "because", "lastTransitionTime": "2026-01-01T00:00:00Z",
        }))
        .unwrap()
    }

    #[track_caller]
    fn turns(old: Option<(&str, &str, &str)>, new: (&str, &str, &str), told: &[(&str, bool)]) {
        let [old, new] =
            [old, Some(new)].map(|one| one.map(|(type_, status, reason)| vec![condition(type_, status, reason)]));
        let tellings = conditions(&Subject::cluster("DataResidency", "mainland"), old.as_ref(), &new.unwrap());
        assert_eq!(tellings.iter().map(|one| (one.reason, one.warning)).collect::<Vec<_>>(), told);
    }

    #[test]
    fn a_condition_that_turns_is_told() {
        turns(None, ("Ready", "True", "InForce"), &[("Ready", false)]);
        turns(Some(("Ready", "True", "InForce")), ("Ready", "False", "PoliciesDiffer"), &[("NotReady", true)]);
        turns(
            Some(("Compliant", "True", "Compliant")),
            ("Compliant", "False", "NonCompliant"),
            &[("NonCompliant", true)],
        );
        turns(
            Some(("Compliant", "False", "NonCompliant")),
            ("Compliant", "True", "Compliant"),
            &[("Compliant", false)],
        );
        turns(
            Some(("Accepted", "True", "Accepted")),
            ("Accepted", "True", "HeldByNamespaces"),
            &[("HeldByNamespaces", true)],
        );
        turns(None, ("Accepted", "False", "ZoneOverlap"), &[("NotAccepted", true)]);
    }

    #[test]
    fn what_passes_or_is_as_expected_is_not_told() {
        turns(Some(("Ready", "True", "InForce")), ("Ready", "True", "InForce"), &[]);
        turns(Some(("Ready", "True", "InForce")), ("Ready", "False", "NamespacesNotConfined"), &[]);
        turns(Some(("Ready", "False", "NamespacesNotConfined")), ("Ready", "True", "InForce"), &[]);
        turns(None, ("Accepted", "True", "Accepted"), &[]);
        turns(None, ("Ready", "Unknown", "PoliciesUnseen"), &[]);
        turns(None, ("StorageEnforced", "False", "ClassesMissing"), &[]);
    }

    fn verified(code: &str) -> Location {
        Location::Verified { data_center: format!("in-{code}"), jurisdiction: Jurisdiction::parse(code).unwrap() }
    }

    fn in_conflict(reason: &'static str, message: &str) -> Location {
        Location::Conflict { data_centers: vec![], conflicts: vec![NodeConflict { reason, message: message.into() }] }
    }

    fn told(old: Option<Location>, new: Location) -> Vec<(&'static str, bool)> {
        node("worker-7", "", old.as_ref(), &new).iter().map(|telling| (telling.reason, telling.warning)).collect()
    }

    #[test]
    fn a_node_that_moves_is_told() {
        assert_eq!(told(Some(Location::Unclaimed), verified("CN")), [("LocationVerified", false)]);
        assert_eq!(told(Some(verified("CN")), in_conflict("RegionMissing", "a")), [("LocationLost", true)]);
        assert_eq!(told(Some(verified("CN")), Location::Unclaimed), [("LocationLost", true)]);
        assert_eq!(told(Some(verified("CN")), verified("HK")), [("LocationChanged", true)]);
        assert_eq!(told(Some(in_conflict("A", "a")), in_conflict("B", "a")), [("LocationInConflict", true)]);
    }

    #[test]
    fn a_node_that_stays_is_not_told() {
        assert!(told(Some(verified("CN")), verified("CN")).is_empty());
        assert!(told(Some(in_conflict("A", "a")), in_conflict("A", "b")).is_empty());
        assert!(told(Some(Location::Unclaimed), Location::Unclaimed).is_empty());
    }

    #[test]
    fn after_a_start_only_what_is_wrong_is_told() {
        assert!(told(None, verified("CN")).is_empty());
        assert!(told(None, Location::Unclaimed).is_empty());
        assert_eq!(told(None, in_conflict("A", "a")), [("LocationInConflict", true)]);
    }

    #[test]
    fn of_what_is_only_counted_nothing_begins_or_ends() {
        let counted = Counted {
            non_compliant: 1,
            rules: [("domicile/placement", Verdict::NonCompliant)].into(),
            ..Counted::default()
        };
        let one = |name| finding(Verdict::NonCompliant, "domicile/placement", "Pod", name);
        let told = |old: (&[Finding], &Counted), new: (&[Finding], &Counted)| -> Vec<String> {
            reasons_of(&findings(Some(old), new, there)).into_iter().map(str::to_owned).collect()
        };
        assert!(told((&[one("b")], &NONE_COUNTED), (&[one("b")], &counted)).is_empty());
        assert_eq!(
            told((&[one("b")], &NONE_COUNTED), (&[one("a")], &counted)),
            ["ResidencyBroken"],
            "b is not kept any more"
        );
        assert!(
            told((&[one("a")], &counted), (&[one("b")], &NONE_COUNTED)).is_empty(),
            "b was there, and nobody knows of a"
        );
    }
}
