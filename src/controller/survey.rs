//! One look at a whole cluster, with the rights of whoever looks: what is governed, where it is, and what speaks against it.
//!
//! The same watches and the same functions as the operator's, so that a report can't say anything else than the status.
//! Nothing is written but the canary's dry runs.

use std::{collections::HashSet, time::Duration};

use kube::{Client, Config};
use serde::Serialize;
use tokio::time::{Instant, timeout_at};

use super::{Error, canary, judge::scene, policies::lists, world::World};
use crate::{
    audit::inventory::{Entry, inventory},
    domain::{Finding, Leg, Mode, Named, Subject, Verdict},
    observe::{
        Namespace,
        client::connect,
        watch::{self, KINDS},
    },
};

/// So long the first answers of all watches may take.
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
/// What could not be read.
pub async fn survey(own_namespace: &str) -> Result<Survey, Error> {
    super::install_crypto();
    let client = connect(Config::infer().await?)?;
    let mut world = World::new(own_namespace);
    if let Ok(seen) = canary::look(&client).await
        && let Some(mutation) = seen.mutation
    {
        world.set_mutation(mutation);
    }
    read(&client, own_namespace, &mut world).await?;
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
    let findings = findings.chain(unresolved).collect();
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

/// Takes in every kind once.
async fn read(client: &Client, own_namespace: &str, world: &mut World) -> Result<(), Error> {
    let mut changes = watch::start(client, lists(client.clone(), own_namespace.to_owned()));
    let mut read = HashSet::new();
    let end = Instant::now() + PATIENCE;
    while read.len() < KINDS {
        match timeout_at(end, changes.recv()).await {
            Ok(Some(change)) => {
                if change.is_whole() {
                    read.insert(change.kind());
                }
                world.absorb(change);
            }
            Ok(None) => return Err(Error::Watches),
            Err(_) => return Err(Error::Unread(PATIENCE)),
        }
    }
    Ok(())
}
