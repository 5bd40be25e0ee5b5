//! What coverage is judged by, as an API server tells it.
//!
//! The operator asks for its statuses and `domicile coverage` for whoever runs it, and both ask in the same way. Reading only. To whom
//! the API server sends objects is not asked here: the command looks for itself, with the rights of whoever runs it.

use std::collections::BTreeSet;

use kube::{Client, core::GroupVersionKind, discovery};

use super::{
    canary,
    policies::{GROUP, Installed},
};
use crate::{
    policies::{Tokens, manifests},
    report::{
        coverage::{BY_KIND, Facts},
        receivers::Sent,
        residency::CanarySeen,
    },
};

/// What an API server serves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Served {
    /// The version of the API server that answered, as it writes it.
    pub version: String,
    /// Its minor, if it is a Kubernetes 1.
    pub minor: Option<u32>,
    /// Its API groups, and those of the kinds that a group may be served without.
    pub groups: BTreeSet<String>,
}

/// Asks what is served.
///
/// # Errors
/// When the API server does not answer.
pub async fn served(client: &Client) -> Result<Served, kube::Error> {
    let version = client.apiserver_version().await?;
    let list = client.list_api_groups().await?;
    let mut groups: BTreeSet<String> = list.groups.into_iter().map(|group| group.name).collect();
    for (version, kind) in BY_KIND {
        let resources = match client.list_api_group_resources(version).await {
            Ok(list) => list.resources,
            Err(kube::Error::Api(status)) if status.code == 404 => Vec::new(),
            Err(error) => return Err(error),
        };
        if resources.iter().any(|resource| kind.split('.').next() == Some(resource.name.as_str())) {
            groups.insert(kind.to_owned());
        }
    }
    let minor = (version.major == "1").then(|| version.minor.trim_end_matches('+').parse().ok()).flatten();
    Ok(Served { version: version.git_version, minor, groups })
}

/// Whether the API server serves mutating admission policies.
pub async fn serves_mutating_policies(client: &Client) -> bool {
    let kind = GroupVersionKind::gvk(GROUP, "v1", "MutatingAdmissionPolicy");
    discovery::pinned_kind(client, &kind).await.is_ok()
}

/// Puts together what was seen; to whom objects are sent was not.
#[must_use]
pub fn facts(served: Served, values: Tokens, canary: &canary::Seen, installed: Option<&Installed>) -> Facts {
    let Served { version, minor, groups } = served;
    Facts {
        version,
        minor,
        policies: installed.into(),
        static_manifests: canary.loaded.as_deref().is_some_and(|loaded| loaded == manifests::identity(&values)),
        canary: CanarySeen { refused: canary.refused, mutation: canary.mutation },
        pod_security: canary.pod_security,
        groups,
        values,
        sent: Sent::default(),
    }
}
