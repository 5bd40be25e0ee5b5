//! How a step is carried out: requests, and the waits between them.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures::{StreamExt as _, TryStreamExt as _, future::try_join, stream};
use kube::Client;
use tokio::time::{Instant, timeout};

use super::{Meaning, PolicyStep, Step, being_narrowed, refuse_while_open, until_confined_anew, waits};
use crate::{
    apply,
    audit::network::opens_more,
    compile::namespace::{self, NamespacePatch, close, confine},
    controller::{older::list, outcome::Written},
    domain::{Confinement, keys},
    observe::{Change, Delta, Key, Namespace, Policy},
};

/// How long requests that were admitted before a label was seen may take to become visible. API servers see a label after
/// some milliseconds (measured: p99 12 ms); this leaves room for a slow one.
const SETTLING: Duration = Duration::from_millis(250);

/// So long what is to hold in a namespace waits for a policy.
const IN_PASSING: Duration = Duration::from_secs(3);
/// So often an older policy is touched before it counts as one that cannot be narrowed.
const TOUCHES: usize = 5;
/// The pause between two touches.
const BETWEEN_TOUCHES: Duration = Duration::from_millis(100);
/// Policies that are touched at a time. One that is large costs the API server seconds and much memory.
const TOUCHED_AT_ONCE: usize = 4;
/// So long older policies are touched at a time. A tenant can make thousands, and others wait.
const TOUCHING: Duration = Duration::from_secs(20);

/// Carries a step out.
///
/// # Errors
/// Why it was not done; the next step is decided afresh.
pub async fn carry_out(client: Client, space: Namespace, step: Step) -> Result<Written, apply::Error> {
    let name = space.name.clone();
    match step {
        Step::Rewrite { first, patch, meaning } => {
            let mut written = Written::default();
            for policy in first {
                written.changes.extend(write_in_passing(client.clone(), &space, policy).await);
            }
            let after = write(client, &space, &patch).await?;
            written.push(Change::Namespace(Delta::Applied(name, after)));
            Ok(written.meaning(meaning))
        }
        Step::Shut => {
            let after = apply::close_namespace(client, &space).await?;
            Ok(Written::one(Change::Namespace(Delta::Applied(name, after))).meaning(Meaning::Shut))
        }
        Step::Policy(policy) => {
            let isolates = matches!(&policy, PolicyStep::Apply { key, .. } if key.name == keys::ISOLATING_POLICY);
            let written = write_policy(client.clone(), policy).await;
            if isolates && let Err(error) = &written {
                close_unisolated(client, &space, error).await?;
            }
            Ok(Written { changes: written?.into_iter().collect(), ..Written::default() })
        }
        Step::Open { isolating, permitting, wanted } => {
            let mut changes = Vec::new();
            let isolated = write_if_any(client.clone(), isolating).await;
            if let Err(error) = &isolated {
                close_unisolated(client.clone(), &space, error).await?;
            }
            changes.extend(isolated?);
            let closing = close(&space, &wanted, false);
            let (closed, permitted) =
                try_join(write(client.clone(), &space, &closing), write_if_any(client.clone(), permitting)).await?;
            changes.extend(permitted);
            // One request is judged by several plug-ins and policies, and each looks at the namespace anew: none may have seen it
            // without a rule, above all Pod Security, and another one confined.
            tokio::time::sleep(SETTLING).await;
            let after = write(client, &closed, &confine(&closed, &wanted)).await?;
            changes.push(Change::Namespace(Delta::Applied(name, after)));
            Ok(Written { changes, ..Written::default() }.meaning(Meaning::Confined))
        }
        Step::Patch { patch, meaning } => {
            let after = write(client, &space, &patch).await?;
            Ok(Written::one(Change::Namespace(Delta::Applied(name, after))).meaning(meaning))
        }
        Step::List { wanted, never_governed, known } => list(client, space, *wanted, never_governed, &known).await,
        Step::Settle { wanted, wide, permitting } => settle(client, space, *wanted, wide, permitting).await,
    }
}

/// Writes or deletes a policy.
async fn write_policy(client: Client, step: PolicyStep) -> Result<Option<Change>, apply::Error> {
    match step {
        PolicyStep::Apply { key, spec } => {
            let policy = apply::apply_policy(client, &key, *spec).await?;
            Ok(Some(Change::Policy(Delta::Applied(key, policy))))
        }
        PolicyStep::Delete { key, live, empty } => {
            apply::delete_policy(client, &key, &live, empty).await.map(|()| None) // the watch says when it is gone
        }
    }
}

/// Writes or deletes a policy if that is done soon; what it is written with does not wait for it.
async fn write_in_passing(client: Client, space: &Namespace, step: PolicyStep) -> Option<Change> {
    let written = match timeout(IN_PASSING, write_policy(client, step)).await {
        Ok(written) => written,
        Err(_) => Err(apply::Error::TimedOut(IN_PASSING)),
    };
    written.unwrap_or_else(|error| {
        tracing::warn!(namespace = %space.name, %error, "a policy cannot be written, and the namespace does not wait for it");
        None
    })
}

async fn write_if_any(client: Client, step: Option<PolicyStep>) -> Result<Option<Change>, apply::Error> {
    match step {
        Some(step) => write_policy(client, step).await,
        None => Ok(None),
    }
}

/// Nothing may start in a namespace that cannot be isolated.
async fn close_unisolated(client: Client, space: &Namespace, error: &apply::Error) -> Result<(), apply::Error> {
    let reason: String = match error {
        apply::Error::Conflict | apply::Error::NotFound => return Ok(()), // it is decided anew at once
        error => error.to_string().chars().take(300).collect(),
    };
    let words = format!("NetworkPolicy {} cannot be written ({reason})", keys::ISOLATING_POLICY);
    let patch = namespace::refuse(space, &until_confined_anew(space, &words));
    if patch.is_empty() {
        return Ok(());
    }
    tracing::warn!(namespace = %space.name, reason, "a namespace cannot be isolated; closing it");
    write(client, space, &patch).await.map(drop)
}

/// Writes a confinement. Where the API server does not take it (others' annotations may have used up what an object can
/// hold), or others write the namespace so often that it comes too late each time, the namespace is closed by taking a key
/// away, which always fits.
pub(in crate::controller) async fn write(
    client: Client,
    space: &Namespace,
    patch: &NamespacePatch,
) -> Result<Namespace, apply::Error> {
    let answer = apply::patch_namespace(client.clone(), space, patch).await;
    let why = match &answer {
        Err(apply::Error::Refused(reason)) => reason.clone(),
        Err(error @ apply::Error::Outrun) => error.to_string(),
        _ => return answer,
    };
    if space.labels.contains_key(keys::ENFORCEMENT) {
        tracing::warn!(namespace = %space.name, why, "a confinement cannot be written; closing the namespace");
        apply::close_namespace(client, space).await?;
    }
    answer
}

/// What a touch came to.
enum Narrowed {
    /// The policy opens no more than is permitted.
    Exactly(Box<Policy>),
    /// It still opens more; the API server may not have seen yet that the namespace is confined.
    No,
    /// It is not there.
    Gone,
    /// There was no time for it.
    NotYet,
}

/// Touches a tenant's older policy, so that it is narrowed.
async fn narrow(client: Client, key: &Key, wanted: &Confinement, until: Instant) -> Result<Narrowed, apply::Error> {
    if Instant::now() >= until {
        return Ok(Narrowed::NotYet);
    }
    match apply::touch_policy(client, key).await {
        Ok(policy) if !opens_more(&policy.opens, wanted) => Ok(Narrowed::Exactly(Box::new(policy))),
        // Of one that is not answered in time the watch tells, if it was narrowed all the same.
        Ok(_) | Err(apply::Error::Refused(_) | apply::Error::TimedOut(_)) => Ok(Narrowed::No),
        Err(apply::Error::NotFound) => Ok(Narrowed::Gone),
        Err(error) => Err(error),
    }
}

/// What says on a namespace that its policies are being narrowed, where it does not say so.
fn waits_for_narrowing(space: &Namespace, wide: &[Key]) -> Option<NamespacePatch> {
    match waits(space, &being_narrowed(space, wide)?) {
        Some(Step::Patch { patch, .. }) => Some(patch),
        _ => None,
    }
}

/// Narrows older policies, opens, and lets no pod be bound yet.
async fn settle(
    client: Client,
    space: Namespace,
    mut wanted: Confinement,
    wide: Vec<Key>,
    permitting: Option<PolicyStep>,
) -> Result<Written, apply::Error> {
    let mut written = Written::default();
    if let Some(policy) = permitting {
        written.changes.extend(write_in_passing(client.clone(), &space, policy).await);
    }
    tokio::time::sleep(SETTLING).await;
    let unfinished = waits_for_narrowing(&space, &wide);
    let (mut still_wide, until) = (wide, Instant::now() + TOUCHING);
    // Where there is not time for all, each time others come first.
    let moment = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.subsec_nanos() as usize);
    let first = moment.checked_rem(still_wide.len()).unwrap_or_default();
    still_wide.rotate_left(first);
    // Each is touched once before any is touched again: a few that cannot be narrowed hold up no others.
    for round in 0..TOUCHES {
        if round > 0 && !still_wide.is_empty() {
            tokio::time::sleep(BETWEEN_TOUCHES).await;
        }
        let touches = still_wide.into_iter().map(|key| {
            let (client, wanted) = (client.clone(), &wanted);
            async move { narrow(client, &key, wanted, until).await.map(|narrowed| (key, narrowed)) }
        });
        let touched: Vec<_> = stream::iter(touches).buffer_unordered(TOUCHED_AT_ONCE).try_collect().await?;
        still_wide = Vec::new();
        for (key, narrowed) in touched {
            match narrowed {
                Narrowed::Gone => written.push(Change::Policy(Delta::Gone(key))),
                Narrowed::Exactly(policy) => written.push(Change::Policy(Delta::Applied(key, *policy))),
                Narrowed::No => still_wide.push(key),
                Narrowed::NotYet if round > 0 => still_wide.push(key),
                Narrowed::NotYet => {
                    // It stays closed, and says why; those that are left come next.
                    if let Some(patch) = unfinished {
                        write(client, &space, &patch).await?;
                    }
                    return Err(apply::Error::Unfinished);
                }
            }
        }
    }
    still_wide.sort();
    refuse_while_open(&mut wanted, still_wide.first());
    wanted.held_pods = vec![keys::ALL_PODS.to_owned()];
    wanted.peer = false; // pods that are bound already may stand outside
    let after = write(client, &space, &confine(&space, &wanted)).await?;
    written.push(Change::Namespace(Delta::Applied(space.name.clone(), after)));
    Ok(written.meaning(Meaning::Confined))
}
