//! Coverage: which routes are closed in this cluster, by what, and what would close the rest.
//!
//! A pure function of what was seen of the cluster. What was not seen is `NotSeen`, and counts as open; that a network plugin
//! enforces is never seen, so network policies are told as what they are.

use std::{collections::BTreeSet, fmt::Write as _};

use serde::Serialize;

use super::{
    receivers::Sent,
    residency::{CanarySeen, NetworkTier, PoliciesSeen},
    some_of,
};
use crate::{
    domain::{
        Mutation,
        routes::{Closes, Route, routes},
    },
    policies::Tokens,
};

/// The route by which whole objects are sent on.
const SENT: &str = "N12";
/// ClusterNetworkPolicy, as routes name it.
const CLUSTER_NETWORK_POLICY: &str = "clusternetworkpolicies.policy.networking.k8s.io";
/// Kinds that their group may be served without: the version in which they are, and their name as routes name it.
pub const BY_KIND: [(&str, &str); 2] = [
    ("policy.networking.k8s.io/v1alpha1", "adminnetworkpolicies.policy.networking.k8s.io"),
    ("policy.networking.k8s.io/v1alpha2", CLUSTER_NETWORK_POLICY),
];

/// What was seen of the cluster.
#[derive(Clone, Debug)]
pub struct Facts {
    /// The version of the API server that answered, as it writes it.
    pub version: String,
    /// Its minor, if it is a Kubernetes 1.
    pub minor: Option<u32>,
    /// The admission policies.
    pub policies: PoliciesSeen,
    /// Whether the API server that answered has loaded policies of this version from its own files.
    pub static_manifests: bool,
    /// What the API server said to the canary.
    pub canary: CanarySeen,
    /// Whether it refused a canary that Pod Security forbids.
    pub pod_security: bool,
    /// The API groups that it serves, and what it serves of `BY_KIND`.
    pub groups: BTreeSet<String>,
    /// What the chart put for the tokens of the policies.
    pub values: Tokens,
    /// To whom it sends whole objects.
    pub sent: Sent,
}

/// How a route stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub enum State {
    /// Closed, and seen to be.
    Enforced,
    /// Closed where the network plugin enforces, which was not seen.
    PluginNotSeen,
    /// Open; what breaks it is found and told.
    Audited,
    /// Whether it is closed could not be seen.
    NotSeen,
    /// Open, and can be closed.
    Open,
    /// Open, and nothing in Kubernetes closes it.
    NotEnforceable,
    /// Not there: this cluster serves no kind that it needs.
    NotServed,
}

/// One route in this cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Row {
    /// Its id in the catalogue.
    pub id: &'static str,
    /// The leg that it leads out of.
    pub leg: &'static str,
    /// The way, in words.
    pub route: &'static str,
    /// How it stands.
    pub state: State,
    /// What closes it, or that nothing does, or `-`.
    pub enforced_by: String,
    /// What adds what its author left out, so that it is not refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub filled_in_by: Option<&'static str>,
    /// The rules that do.
    pub rules: Vec<String>,
    /// What is left, or would close it; empty where nothing is.
    pub rest: String,
}

/// Everything that is told of a cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Coverage {
    /// The API server that answered.
    pub kubernetes: String,
    /// What was seen of the policies, in words.
    pub policies: String,
    /// Whether the policies are out of the API's reach.
    pub static_manifests: bool,
    /// Every route of the catalogue.
    pub routes: Vec<Row>,
}

/// Every route of the catalogue, as it stands where `facts` were seen.
#[must_use]
pub fn coverage(facts: &Facts) -> Coverage {
    Coverage {
        kubernetes: facts.version.clone(),
        policies: policies_in_words(facts),
        static_manifests: facts.static_manifests,
        routes: routes().iter().map(|route| row(route, facts)).collect(),
    }
}

fn row(route: &'static Route, facts: &Facts) -> Row {
    let (state, instead) = state(route, facts);
    let enforced_by = match state {
        // Domicile uses it wherever it is served; whether it stands for a residency says its status.
        State::PluginNotSeen if facts.groups.contains(CLUSTER_NETWORK_POLICY) => {
            NetworkTier::ClusterNetworkPolicy.name().to_owned()
        }
        State::Enforced | State::PluginNotSeen => format!("{:?}", route.by),
        State::Audited => "Audit only".to_owned(),
        State::NotSeen => "Not seen".to_owned(),
        State::Open => "Not enforced".to_owned(),
        State::NotEnforceable => "Not enforceable".to_owned(),
        State::NotServed => "-".to_owned(),
    };
    let filled_in_by = match facts.canary.mutation {
        _ if state != State::Enforced || !route.fills_in() => None,
        Some(Mutation::AdmissionPolicy) => Some("MutatingAdmissionPolicy"),
        Some(Mutation::Webhook) => Some("Webhook"),
        Some(Mutation::Nothing) | None => None,
    };
    let rest = match state {
        State::NotServed => String::new(),
        State::Enforced if route.by == Closes::StaticManifests || route.value().is_some() => String::new(), // done already
        _ if route.id == SENT => format!("{} {}", route.rest, facts.sent.in_words()).trim_end().to_owned(),
        _ => instead.unwrap_or_else(|| route.rest.clone()),
    };
    let Route { id, route: words, .. } = route;
    Row { id, leg: route.leg(), route: words, state, enforced_by, rules: route.rules().collect(), filled_in_by, rest }
}

/// How the route stands, and what would close it where that is not what the catalogue says.
fn state(route: &Route, facts: &Facts) -> (State, Option<String>) {
    let served = |group: &str| facts.groups.contains(group);
    if route.groups().next().is_some() && !route.groups().any(served) {
        return (State::NotServed, None);
    }
    let closed = match route.by {
        Closes::Audit => return (State::Audited, None),
        Closes::Nothing => return (State::Open, None),
        Closes::NotEnforceable => return (State::NotEnforceable, None),
        Closes::StaticManifests if !facts.static_manifests => return (State::Open, None),
        Closes::PodSecurity if !facts.pod_security => {
            let remedy = "The API server was not seen to enforce Pod Security in a governed namespace: let its admission plug-in PodSecurity be on.";
            return (State::NotSeen, Some(remedy.to_owned()));
        }
        Closes::NetworkPolicy => State::PluginNotSeen,
        Closes::AdmissionPolicy
        | Closes::StaticManifests
        | Closes::PodSecurity
        | Closes::StorageClass
        | Closes::Operator => State::Enforced,
    };
    if route.value().is_some_and(|(key, value)| facts.values.get(key).is_none_or(|own| own != value)) {
        return (State::Open, None);
    }
    if facts.minor.zip(route.since_minor()).is_none_or(|(minor, since)| minor < since) {
        return (State::Open, Some(format!("It needs Kubernetes {}.", route.since)));
    }
    if let Some((state, remedy)) = why_not(facts) {
        return (state, Some(remedy));
    }
    let of_the_operator = matches!(route.by, Closes::Operator | Closes::StorageClass | Closes::NetworkPolicy);
    if of_the_operator && facts.canary.mutation.is_none() {
        let remedy = "The canary namespace is not confined, so the operator was not seen to work: see that it runs.";
        return (State::NotSeen, Some(remedy.to_owned()));
    }
    (closed, (route.by == Closes::NetworkPolicy).then(|| plugin(route)))
}

/// Why nothing that rests on the policies is closed, if so: everything does, also objects that they guard.
fn why_not(facts: &Facts) -> Option<(State, String)> {
    let (state, remedy) = match &facts.policies {
        PoliciesSeen::AsBuilt | PoliciesSeen::Static if facts.canary.refused => return None,
        PoliciesSeen::AsBuilt | PoliciesSeen::Static => (
            State::NotSeen,
            "The API server was not seen to refuse the canary: see that the operator runs, then ask again.",
        ),
        PoliciesSeen::Differs(names) => {
            let names = some_of(names.iter().map(String::as_str));
            let remedy = format!("Install the chart of this version: {names} are missing or say something else.");
            return Some((State::Open, remedy));
        }
        PoliciesSeen::StaticDiffers => (
            State::Open,
            "Write the static policies again, with this version and the release's values: `domicile policies --static`.",
        ),
        PoliciesSeen::StaticNotSeen => (
            State::NotSeen,
            "The chart installs no policies, and none were seen to be loaded from files: `domicile policies --static`.",
        ),
        PoliciesSeen::Unseen => (State::NotSeen, "The policies could not be read."),
    };
    Some((state, remedy.to_owned()))
}

fn plugin(route: &Route) -> String {
    let rest = if route.rest.is_empty() { String::new() } else { format!(" {}", route.rest) };
    format!("That the network plugin enforces was not seen.{rest}")
}

fn policies_in_words(facts: &Facts) -> String {
    let text = match &facts.policies {
        PoliciesSeen::AsBuilt if facts.static_manifests => {
            "installed by the chart and loaded from the API server's files, as this version was built"
        }
        PoliciesSeen::AsBuilt => "installed by the chart, as this version was built",
        PoliciesSeen::Static => "loaded from the API server's files, as this version was built",
        PoliciesSeen::Differs(_) => "installed by the chart, and not as this version was built",
        PoliciesSeen::StaticDiffers => "loaded from the API server's files, and not as this version was built",
        PoliciesSeen::StaticNotSeen => "not installed, and not seen in the API server's files",
        PoliciesSeen::Unseen => "not seen",
    };
    text.to_owned()
}

impl Coverage {
    /// For people: one line for each route, and more below where something is left.
    #[must_use]
    pub fn table(&self) -> String {
        let mut text = format!("Kubernetes {}. Policies: {}.\n\n", self.kubernetes, self.policies);
        line(&mut text, "ID", "ENFORCED BY", "ROUTE");
        for row in &self.routes {
            let enforcer = match row.filled_in_by {
                Some(_) => format!("{}, filled in", row.enforced_by),
                None => row.enforced_by.clone(),
            };
            let mut words = wrapped(row.route, "").into_iter().chain(wrapped(&row.rest, "  "));
            line(&mut text, row.id, &enforcer, &words.next().unwrap_or_default());
            words.for_each(|more| line(&mut text, "", "", &more));
        }
        let count = |state: State| self.routes.iter().filter(|row| row.state == state).count();
        let _ = writeln!(
            text,
            "\n{} routes: {} enforced, {} as far as the network plugin enforces, {} found and told, {} not seen, {} open,\n{} not enforceable, {} not there (-), since their kinds are not served here. Filled in: what is left out is added.",
            self.routes.len(),
            count(State::Enforced),
            count(State::PluginNotSeen),
            count(State::Audited),
            count(State::NotSeen),
            count(State::Open),
            count(State::NotEnforceable),
            count(State::NotServed)
        );
        if let Some(by) = self.routes.iter().find_map(|row| row.filled_in_by) {
            let _ = writeln!(text, "Here it is added by: {by}.");
        }
        text
    }
}

fn line(text: &mut String, id: &str, enforcer: &str, words: &str) {
    let _ = writeln!(text, "{id:5} {enforcer:26} {words}");
}

/// Lines of words, none longer than a terminal leaves room for, where a word allows it.
fn wrapped(words: &str, before: &str) -> Vec<String> {
    const WIDTH: usize = 86;
    let mut lines: Vec<String> = Vec::new();
    for word in words.split_whitespace() {
        match lines.last_mut().filter(|line| line.len().saturating_add(word.len()) < WIDTH) {
            Some(line) => *line = format!("{line} {word}"),
            None => lines.push(format!("{before}{word}")),
        }
    }
    lines
}

/// The catalogue itself, for readers without a cluster.
#[must_use]
pub fn markdown() -> String {
    let mut text = "# Coverage: every known way out, and what closes it\n\n\
        Written by `domicile coverage --output markdown > docs/coverage.md` from `src/domain/routes.csv`; a test holds the two together. What is\n\
        so in a cluster of yours says `domicile coverage`. Ids begin with P for placement, S for storage, N for networks and access. `since` is\n\
        the first minor of Kubernetes where it is so. Tests are those of `tests/e2e`, on a real control plane: they see the way closed, or,\n\
        where it is audited only, told. One of each row bears its id in its name.\n\n\
        What `closed by` says:\n\n\
        * **AdmissionPolicy**: the fixed admission policies refuse it, whether the operator runs or not.\n\
        * **StaticManifests**: the same policies, loaded from the API servers' own files, where no request can remove them.\n\
        * **PodSecurity**: Pod Security Admission refuses it, by labels that the operator writes and the policies guard.\n\
        * **StorageClass**: storage drivers heed fields of the class, which the policies guard.\n\
        * **NetworkPolicy**: the network plugin, if it enforces, which nothing in the API tells. Domicile writes the policies and guards them.\n\
        * **Operator**: the operator, while it runs.\n\
        * **audit only**: nothing is refused; what breaks it is found and told.\n\
        * **nothing**: Domicile does not close it. The row says why, and what would.\n\
        * **not enforceable**: nothing in Kubernetes closes it. The row says what helps.\n\n\
        | id | the way out | closed by | since | rules | what is left, or would close it | tests |\n|---|---|---|---|---|---|---|\n"
        .to_owned();
    for route in routes() {
        let rules = route
            .rules()
            .map(|rule| format!("`{}`", rule.trim_start_matches("domicile/")))
            .collect::<Vec<_>>()
            .join(" ");
        let tests = route.tests().map(|test| format!("`{test}`")).collect::<Vec<_>>().join(" ");
        let by = match route.by {
            Closes::Nothing => "nothing".to_owned(),
            Closes::NotEnforceable => "not enforceable".to_owned(),
            Closes::Audit => "audit only".to_owned(),
            by => format!("{by:?}"),
        };
        let Route { id, route: words, since, rest, source, .. } = route;
        let since = if by == "-" || route.tests().next().is_none() { "" } else { since };
        let _ = writeln!(text, "| {id} | {words} ({source}) | {by} | {since} | {rules} | {rest} | {tests} |");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::fixture::all_well;

    #[track_caller]
    fn says(facts: &Facts, id: &str) -> (State, String, String) {
        let row = coverage(facts).routes.into_iter().find(|row| row.id == id).unwrap();
        (row.state, row.enforced_by, row.rest)
    }

    fn filled_in(facts: &Facts, id: &str) -> Option<&'static str> {
        coverage(facts).routes.into_iter().find(|row| row.id == id).unwrap().filled_in_by
    }

    #[test]
    fn where_all_is_well_each_is_what_the_catalogue_says() {
        assert_eq!(says(&all_well(), "P1"), (State::Enforced, "AdmissionPolicy".into(), String::new()));
        assert_eq!(filled_in(&all_well(), "P3"), Some("MutatingAdmissionPolicy"));
        assert_eq!(filled_in(&all_well(), "P1"), None);
        assert_eq!(says(&all_well(), "N3a").1, "PodSecurity");
        assert_eq!(says(&all_well(), "P12").0, State::NotEnforceable);
        assert_eq!(says(&all_well(), "S4"), (State::Audited, "Audit only".into(), says(&all_well(), "S4").2));
        let (state, by, rest) = says(&all_well(), "S19");
        assert_eq!((state, by.as_str()), (State::PluginNotSeen, "NetworkPolicy"));
        assert!(rest.contains("was not seen"));
    }

    #[test]
    fn nothing_fills_in_where_nothing_mutates() {
        let canary = CanarySeen { refused: true, mutation: Some(Mutation::Nothing) };
        let facts = Facts { canary, minor: Some(34), ..all_well() };
        assert_eq!((says(&facts, "P3").1.as_str(), filled_in(&facts, "P3")), ("AdmissionPolicy", None));
    }

    #[test]
    fn policies_that_are_not_those_of_this_version_close_nothing() {
        for (policies, state) in [
            (PoliciesSeen::Differs(vec!["ValidatingAdmissionPolicy domicile-pods".into()]), State::Open),
            (PoliciesSeen::StaticDiffers, State::Open),
            (PoliciesSeen::StaticNotSeen, State::NotSeen),
            (PoliciesSeen::Unseen, State::NotSeen),
        ] {
            let facts = Facts { policies, ..all_well() };
            let closed = coverage(&facts).routes.into_iter().filter(|row| row.state <= State::PluginNotSeen);
            assert_eq!(closed.count(), 0);
            assert_eq!(says(&facts, "P1").0, state);
            assert!(!says(&facts, "P1").2.is_empty());
        }
    }

    #[test]
    fn what_was_not_seen_is_not_enforced() {
        let facts = Facts { canary: CanarySeen { refused: false, mutation: None }, ..all_well() };
        assert_eq!(says(&facts, "P1").0, State::NotSeen);
        let facts = Facts { canary: CanarySeen { refused: true, mutation: None }, ..all_well() };
        for (id, state) in
            [("P1", State::Enforced), ("P7", State::NotSeen), ("S6", State::NotSeen), ("S19", State::NotSeen)]
        {
            assert_eq!(says(&facts, id).0, state, "{id}");
        }
        assert_eq!(says(&Facts { pod_security: false, ..all_well() }, "N3a").0, State::NotSeen);
        assert_eq!(says(&Facts { minor: None, ..all_well() }, "P1").0, State::Open);
    }

    #[test]
    fn kinds_and_values_decide_what_is_there() {
        assert_eq!(says(&all_well(), "N2a").0, State::NotServed);
        let facts = Facts { groups: BTreeSet::from(["cilium.io".into()]), ..all_well() };
        assert_eq!(says(&facts, "N2a").0, State::Enforced);
        assert_eq!(says(&facts, "N2c").0, State::Open);
        assert_eq!(says(&facts, "S19").1, "NetworkPolicy");
        assert_eq!(says(&all_well(), "P23").0, State::Open);
        let values = Tokens::from([("unclassifiedNamespaces".into(), "Refuse".into())]);
        assert_eq!(says(&Facts { values, ..all_well() }, "P23").0, State::Enforced);
    }

    #[test]
    fn a_group_that_serves_other_kinds_is_no_cluster_network_policy() {
        let serves = |kinds: &[&str]| {
            let mut groups = BTreeSet::from(["policy.networking.k8s.io".to_owned()]);
            groups.extend(kinds.iter().map(|kind| (*kind).to_owned()));
            let facts = Facts { groups, ..all_well() };
            (["N2b", "N2c", "N2d"].map(|id| says(&facts, id).0), says(&facts, "S19").1)
        };
        let [(_, admin), (_, cluster)] = BY_KIND;
        let none = State::NotServed;
        assert_eq!(serves(&[]), ([none, none, none], "NetworkPolicy".into()));
        assert_eq!(serves(&[admin]), ([none, State::Open, none], "NetworkPolicy".into()));
        assert_eq!(serves(&[cluster]), ([State::Audited, none, State::Enforced], "ClusterNetworkPolicy".into()));
    }

    #[test]
    fn kinds_that_routes_name_are_asked_for() {
        let named: BTreeSet<&str> = routes().iter().flat_map(Route::groups).collect();
        for (version, kind) in BY_KIND {
            let (group, _) = version.split_once('/').unwrap();
            assert!(named.contains(kind) && !named.contains(group), "{kind}");
            assert!(kind.split_once('.').is_some_and(|(_, own)| own == group), "{kind}");
        }
    }

    #[test]
    fn to_whom_objects_are_sent_is_named() {
        assert!(says(&all_well(), "N12").2.ends_with("are not seen to lead out."));
        let sent = Sent { services: [crate::observe::Key::new("kyverno", "kyverno-svc")].into(), ..Sent::default() };
        let (state, _, rest) = says(&Facts { sent, ..all_well() }, "N12");
        assert!(state == State::Audited && rest.ends_with("name no residency: kyverno/kyverno-svc."), "{rest}");
    }

    #[test]
    fn only_static_manifests_cannot_be_deleted() {
        assert_eq!(says(&all_well(), "N17").0, State::Open);
        let facts = Facts { static_manifests: true, policies: PoliciesSeen::Static, ..all_well() };
        assert_eq!(says(&facts, "N17"), (State::Enforced, "StaticManifests".into(), String::new()));
    }

    #[test]
    fn the_table_has_every_route_once_and_fits() {
        let table = coverage(&all_well()).table();
        for route in routes() {
            assert_eq!(
                table.lines().filter(|line| line.split(' ').next() == Some(&route.id)).count(),
                1,
                "{}",
                route.id
            );
        }
        assert!(table.lines().all(|line| line.len() <= 120), "{table}");
        assert!(table.contains(&format!("{} routes: ", routes().len())));
    }
}
