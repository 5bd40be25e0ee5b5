//! One look at a whole cluster, with the rights of whoever looks: what is governed, where it is, and what speaks against it.
//!
//! The same watches and the same functions as the operator's, so that a report can't say anything else than the status.
//! Nothing is written but the canary's dry runs.

use std::{
    collections::{BTreeMap, HashSet},
    time::Duration,
};

use kube::Config;
use serde::Serialize;
use tokio::{
    sync::mpsc,
    time::{Instant, timeout_at},
};

use super::{Error, canary, judge::scene, policies::lists, world::World};
use crate::{
    audit::inventory::{Entry, inventory},
    domain::{
        AddOn, Finding, Leg, Mode, Named, Subject, Verdict,
        add_ons::{ADD_ONS, how_to_read},
    },
    observe::{
        Change, Kind, Namespace,
        client::connect,
        watch::{self, KINDS},
    },
};

/// So long the first answers of all watches may take. What an add-on serves is left out then, and that is told.
const PATIENCE: Duration = Duration::from_secs(60);

/// What is governed in one namespace.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Governed {
    /// The namespace.
    pub namespace: String,
    /// The residencies that it names, as its label says them.
    pub residencies: String,
    /// The mode that holds.
    pub enforcement: Mode,
    /// Whether it is confined for them.
    pub confined: bool,
    /// Everything in it, worst first.
    pub objects: Vec<Entry>,
}

/// A whole cluster.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Survey {
    /// The governed namespaces, by name.
    pub namespaces: Vec<Governed>,
    /// What is wrong with residencies themselves.
    pub findings: Vec<Finding>,
}

/// Looks, as the current kubeconfig's user. `own_namespace` is the operator's.
///
/// # Errors
/// What could not be read and everything depends on; an add-on's kind that could not is a finding.
pub async fn survey(own_namespace: &str) -> Result<Survey, Error> {
    super::install_crypto();
    let client = connect(Config::infer().await?)?;
    let mut world = World::new(own_namespace);
    if let Ok(seen) = canary::look(&client).await
        && let Some(mutation) = seen.mutation
    {
        world.set_mutation(mutation);
    }
    let changes = watch::start(&client, lists(client.clone(), own_namespace.to_owned()));
    read(changes, &mut world).await?;
    let spaces = world.snapshot.namespaces.values();
    let governed = spaces.filter_map(|space| {
        let Named::Residencies(named) = world.named(space) else { return None };
        let judged = super::judge::judge(&world, space).filter(|_| !named.are_the_canarys())?;
        Some(Governed {
            namespace: space.name.clone(),
            residencies: named.value().to_owned(),
            enforcement: judged.mode,
            confined: judged.confined,
            objects: scene(&world, space, inventory)?,
        })
    });
    let findings = world.residencies.values().flat_map(|residency| residency.findings.iter().cloned());
    let unresolved = world.snapshot.namespaces.values().filter_map(|space| unresolved(&world, space));
    let findings = findings.chain(unresolved).chain(unread(&world.unseen)).collect();
    Ok(Survey { namespaces: governed.collect(), findings })
}

/// Of a namespace whose label names what does not exist, nothing is proven: it may be older than its label.
fn unresolved(world: &World, space: &Namespace) -> Option<Finding> {
    let (what, judged) = match world.named(space) {
        Named::Nothing => return None,
        Named::Residencies(named) => {
            let absent = Some(world.absent(&named)).filter(|absent| !absent.is_empty())?;
            let by =
                world.known(&named).map_or_else(|| "not judged".to_owned(), |known| format!("judged by {known} alone"));
            (format!("there is no DataResidency {}", absent.join(", ")), by)
        }
        Named::Unreadable(value) => (format!("{value:?} names nothing that could exist"), "not judged".to_owned()),
    };
    Some(Finding {
        verdict: Verdict::Unknown,
        leg: Leg::Residency,
        rule: "domicile/refused",
        subject: Subject { uid: space.uid.clone(), ..Subject::cluster("Namespace", &space.name) },
        message: format!("{what}, so nothing may start here, and what runs already is {judged}"),
        remedy: "create it, or correct the label domicile.dev/residency".to_owned(),
    })
}

/// Of kinds that could not be read nobody knows what there is of them.
fn unread(unseen: &BTreeMap<String, String>) -> impl Iterator<Item = Finding> {
    let kinds = ADD_ONS.iter().filter_map(|kind| Some((kind, unseen.get(kind.name)?)));
    kinds.map(|(kind, error)| Finding {
        verdict: Verdict::Unknown,
        leg: if kind.is_of_policies() { Leg::Network } else { Leg::Exposure },
        rule: "domicile/unread",
        subject: Subject::cluster("CustomResourceDefinition", &format!("{}.{}", kind.plural, kind.group())),
        message: format!(
            "{kind} could not be read, so that nobody knows what it opens in governed namespaces: {error}"
        ),
        remedy: how_to_read(kind.name, "you"),
    })
}

/// Takes in every kind once.
///
/// # Errors
/// That a kind was not read in time on which everything depends.
async fn read(mut changes: mpsc::Receiver<Change>, world: &mut World) -> Result<(), Error> {
    let mut read = HashSet::new();
    let end = Instant::now() + PATIENCE;
    while read.len() < KINDS {
        match timeout_at(end, changes.recv()).await {
            Ok(Some(change)) => {
                read.extend(change.settles());
                world.absorb(change);
            }
            Ok(None) => return Err(Error::Watches),
            Err(_) => {
                let missing: Vec<&AddOn> =
                    ADD_ONS.iter().filter(|kind| !read.contains(&Kind::AddOn(kind.name))).collect();
                if read.len() + missing.len() < KINDS {
                    return Err(Error::Unread(PATIENCE));
                }
                let why = || Some(format!("no answer within {PATIENCE:?}"));
                missing.iter().for_each(|kind| world.absorb(Change::Sight(kind.name.to_owned(), why())));
                return Ok(());
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::Delta::Replaced;

    /// Nothing of any kind, but what is left out.
    fn nothing_but(left_out: fn(&Change) -> bool) -> mpsc::Receiver<Change> {
        let own = [
            Change::DataCenter(Replaced(BTreeMap::new())),
            Change::Residency(Replaced(BTreeMap::new())),
            Change::Node(Replaced(BTreeMap::new())),
            Change::Namespace(Replaced(BTreeMap::new())),
            Change::Pod(Replaced(BTreeMap::new())),
            Change::Claim(Replaced(BTreeMap::new())),
            Change::Volume(Replaced(BTreeMap::new())),
            Change::Class(Replaced(BTreeMap::new())),
            Change::Policy(Replaced(BTreeMap::new())),
            Change::RoleBinding(Replaced(BTreeMap::new())),
            Change::Service(Replaced(BTreeMap::new())),
            Change::Ingress(Replaced(BTreeMap::new())),
            Change::Endpoints(Replaced(BTreeMap::new())),
            Change::ValidatingWebhooks(Replaced(BTreeMap::new())),
            Change::MutatingWebhooks(Replaced(BTreeMap::new())),
            Change::ApiService(Replaced(BTreeMap::new())),
            Change::Drivers(Replaced(BTreeMap::new())),
            Change::ApiServers(Replaced(BTreeMap::new())),
            Change::ClusterPolicy(None),
            Change::Device(None),
        ];
        let (sink, changes) = mpsc::channel(KINDS);
        let all = own.into_iter().chain(ADD_ONS.iter().map(|kind| Change::AddOn(kind, None)));
        all.filter(|change| !left_out(change)).for_each(|change| sink.try_send(change).unwrap());
        std::mem::forget(sink); // the watches go on
        changes
    }

    const UNREAD: &str = "NetworkPolicy.projectcalico.org";

    #[tokio::test(start_paused = true)]
    async fn an_add_on_that_cannot_be_read_is_a_finding_and_what_everything_depends_on_an_error() {
        let mut world = World::new("domicile-system");
        read(nothing_but(|_| false), &mut world).await.unwrap();
        assert_eq!(unread(&world.unseen).count(), 0);
        let changes = nothing_but(|change| matches!(change, Change::AddOn(kind, _) if kind.name == UNREAD));
        read(changes, &mut world).await.unwrap();
        let findings: Vec<Finding> = unread(&world.unseen).collect();
        let [finding] = findings.as_slice() else { panic!("{findings:?}") };
        assert_eq!((finding.verdict, finding.leg), (Verdict::Unknown, Leg::Network));
        assert_eq!(finding.subject.to_string(), "CustomResourceDefinition networkpolicies.projectcalico.org");
        assert!(finding.message.ends_with("no answer within 60s"), "{}", finding.message);
        assert!(finding.remedy.contains("tier.networkpolicies"), "{}", finding.remedy);
        let refused = read(nothing_but(|change| matches!(change, Change::Pod(_))), &mut world).await;
        assert!(matches!(refused, Err(Error::Unread(PATIENCE))), "{refused:?}");
    }
}
