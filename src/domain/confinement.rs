//! What the operator writes on a governed namespace: the resolved rules that hold in it, which the policies read.
//!
//! A confinement is plain text in labels and annotations, so that kube-apiserver itself can judge by it with the operator
//! dead. No value is ever empty: `-` means that nothing is permitted, and the rules test for it first (an empty string
//! would split into one empty entry and open the rule).

use std::{collections::BTreeMap, fmt};

use super::{Cidr, Named, keys};

/// The value by which a key of a confinement says that there is nothing: nothing is permitted, nothing is held, nothing is refused.
pub const NOTHING: &str = "-";

/// How a residency is enforced. Ordered by strictness: the strictest mode of a namespace's residencies holds for all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
pub enum Mode {
    /// What breaks a rule is reported.
    Audit,
    /// What breaks a rule is warned about.
    Warn,
    /// What breaks a rule is refused.
    #[default]
    Enforce,
}

/// Who may open connections to governed pods.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
pub enum Ingress {
    /// Anyone.
    Open,
    /// Permitted networks, peers, and the allowed.
    Restricted,
}

/// What happens to a tenant's policy that says "any address".
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
pub enum TenantPolicies {
    /// It is narrowed to what is permitted.
    Narrow,
    /// It is refused.
    Refuse,
}

/// Whether the permitted is opened to every governed pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
pub enum Permitting {
    /// By the operator's permitting policy.
    All,
    /// That is left to the tenants' own policies.
    None,
}

/// Whether services of governed namespaces may be reached from outside the cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
pub enum Exposure {
    /// They may.
    Allow,
    /// They may not.
    Deny,
}

/// What was seen to mutate in this cluster.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub enum Mutation {
    /// The API server's own MutatingAdmissionPolicy.
    AdmissionPolicy,
    /// Domicile's own webhook, where the API server has none of that.
    Webhook,
    /// Nothing: what isn't written right by its author is refused.
    #[default]
    Nothing,
}

/// The resolved rules of one namespace.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Confinement {
    /// The label value that was resolved; `None` while that is not finished.
    pub confined_for: Option<String>,
    /// The strictest mode.
    pub mode: Mode,
    /// Why nothing may start, if so.
    pub refused_because: Option<String>,
    /// Classes that claims may use, sorted.
    pub storage_classes: Vec<String>,
    /// Class of claims in which nobody named one.
    pub default_storage_class: Option<String>,
    /// Permitted networks without pod networks, sorted.
    pub networks: Vec<Cidr>,
    /// `confined-for` values whose namespaces are peers, sorted.
    pub peers: Vec<String>,
    /// Who may connect to governed pods.
    pub ingress: Ingress,
    /// What happens to wide tenants' policies.
    pub tenant_policies: TenantPolicies,
    /// Whether the operator keeps the permitting policy.
    pub permitting: Permitting,
    /// Whether services may be exposed.
    pub exposure: Exposure,
    /// What mutates here.
    pub mutation: Mutation,
    /// UIDs of pods that may not be bound, sorted.
    pub held_pods: Vec<String>,
    /// UIDs of RoleBindings that nobody with the verb share has made, sorted.
    pub held_role_bindings: Vec<String>,
    /// Whether no pod stands outside.
    pub peer: bool,
}

impl Confinement {
    /// Whether namespaces that are confined for `value` are peers: those of the list, and any that would keep to everything
    /// that is asked here. Of such a value there may be no namespace at the moment, and a tenant's policy was narrowed to it
    /// when there was one.
    #[must_use]
    pub fn is_peer(&self, value: &str) -> bool {
        let keeps_to = |own: &String| {
            let (Named::Residencies(own), Named::Residencies(theirs)) =
                (Named::parse(Some(own)), Named::parse(Some(value)))
            else {
                return false;
            };
            own.names().all(|name| theirs.contain(name))
        };
        let own = self.confined_for.as_ref().filter(|own| self.peers.contains(own));
        self.peers.iter().any(|peer| peer == value) || own.is_some_and(keeps_to)
    }

    /// The labels that say it, `None` for one that must not be there.
    #[must_use]
    pub fn labels(&self) -> BTreeMap<&'static str, Option<String>> {
        BTreeMap::from([
            (keys::ENFORCEMENT, Some(self.mode.to_string())),
            (keys::CONFINED_FOR, self.confined_for.clone()),
            (keys::PEER, self.peer.then(|| "true".to_owned())),
        ])
    }

    /// The annotations that say it.
    #[must_use]
    pub fn annotations(&self) -> BTreeMap<&'static str, String> {
        BTreeMap::from([
            (keys::REFUSED_BECAUSE, self.refused_because.clone().unwrap_or_else(nothing)),
            (keys::STORAGE_CLASSES, list(&self.storage_classes)),
            (keys::DEFAULT_STORAGE_CLASS, self.default_storage_class.clone().unwrap_or_else(nothing)),
            (keys::NETWORKS, list(&self.networks)),
            (keys::PEERS, list(&self.peers)),
            (keys::INGRESS, self.ingress.to_string()),
            (keys::TENANT_POLICIES, self.tenant_policies.to_string()),
            (keys::PERMITTING, self.permitting.to_string()),
            (keys::EXPOSURE, self.exposure.to_string()),
            (keys::MUTATION, self.mutation.to_string()),
            (keys::HELD_PODS, list(&self.held_pods)),
            (keys::HELD_ROLE_BINDINGS, list(&self.held_role_bindings)),
        ])
    }
}

fn nothing() -> String {
    NOTHING.to_owned()
}

/// A comma list, or [`NOTHING`].
fn list<T: fmt::Display>(items: &[T]) -> String {
    if items.is_empty() {
        return nothing();
    }
    items.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
}

macro_rules! words {
    ($($type:ident { $($variant:ident => $word:expr),* })*) => {$(
        impl fmt::Display for $type {
            fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str(match self { $(Self::$variant => $word),* })
            }
        }
    )*};
}

words! {
    Mode { Audit => "Audit", Warn => "Warn", Enforce => "Enforce" }
    Ingress { Open => "Open", Restricted => "Restricted" }
    TenantPolicies { Narrow => "Narrow", Refuse => "Refuse" }
    Permitting { All => "All", None => "None" }
    Exposure { Allow => "Allow", Deny => "Deny" }
    Mutation { AdmissionPolicy => "AdmissionPolicy", Webhook => "Webhook", Nothing => NOTHING }
}

#[cfg(test)]
impl Confinement {
    /// For `mainland` in Enforce, with nothing permitted.
    pub(crate) fn bare() -> Self {
        Self {
            confined_for: Some("mainland".into()),
            mode: Mode::Enforce,
            refused_because: None,
            storage_classes: vec![],
            default_storage_class: None,
            networks: vec![],
            peers: vec![],
            ingress: Ingress::Restricted,
            tenant_policies: TenantPolicies::Narrow,
            permitting: Permitting::All,
            exposure: Exposure::Deny,
            mutation: Mutation::Nothing,
            held_pods: vec![],
            held_role_bindings: vec![],
            peer: true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_value_is_ever_empty() {
        let bare = Confinement { peer: false, ..Confinement::bare() };
        for (key, value) in bare.annotations() {
            assert!(!value.is_empty(), "{key}");
        }
        assert_eq!(bare.annotations().keys().copied().collect::<Vec<_>>(), {
            let mut keys = keys::CONFINEMENT_ANNOTATIONS.to_vec();
            keys.sort_unstable();
            keys
        });
        assert_eq!(bare.labels().len(), keys::CONFINEMENT_LABELS.len());
    }

    #[test]
    fn the_strictest_mode_is_the_greatest() {
        assert_eq!([Mode::Warn, Mode::Enforce, Mode::Audit].into_iter().max(), Some(Mode::Enforce));
    }
}
