//! What stood as wanted when it was last looked at, so that what somebody took away or changed is told when it is put back.
//!
//! A write is a restoration only where the same was wanted before and stood. Nothing is decided by this: a process that
//! has just started remembers nothing, and puts things right without a word.

use std::collections::BTreeMap;

use super::{
    class, cluster_policy,
    namespace::{PolicyStep, Step},
    world::World,
};
use crate::{
    compile::Changes,
    domain::{Subject, keys},
    observe::{Fingerprint, Key, Namespace, Node},
    report::events::Telling,
    resolve::{Location, WantedClass},
};

/// What stood.
#[derive(Debug, Default)]
pub struct Memory {
    policies: BTreeMap<Key, Fingerprint>,
    classes: BTreeMap<String, WantedClass>,
    cluster_policies: BTreeMap<String, serde_json::Value>,
    nodes: BTreeMap<String, (Location, Vec<String>)>,
}

impl Memory {
    /// Looks at the next step for a namespace: what it puts back, and otherwise what stands now.
    pub fn policies(&mut self, world: &World, space: &Namespace, step: Option<&Step>) -> Option<Telling> {
        if let Some(Step::Policy(PolicyStep::Apply { key, spec })) = step {
            let same = Fingerprint::of(spec.as_ref()).is_some_and(|wanted| self.policies.get(key) == Some(&wanted));
            self.policies.remove(key);
            return same.then(|| {
                let reason =
                    if key.name == keys::ISOLATING_POLICY { "IsolationRestored" } else { "PermissionRestored" };
                let note = format!("NetworkPolicy {} was taken away or changed; Domicile puts it back", key.name);
                Telling::warning(Subject::namespaced("Namespace", "", &space.name, &space.uid), reason, "Restore", note)
            });
        }
        if let Some(Step::Policy(PolicyStep::Delete { key, .. })) = step {
            self.policies.remove(key);
            return None;
        }
        for name in [keys::ISOLATING_POLICY, keys::PERMITTING_POLICY] {
            let key = Key::new(&space.name, name);
            match world.snapshot.policies.get(&key).and_then(|live| live.spec) {
                Some(live) => drop(self.policies.insert(key, live)),
                None => drop(self.policies.remove(&key)),
            }
        }
        None
    }

    /// The same for a StorageClass.
    pub fn class(&mut self, world: &World, name: &str, step: Option<&class::Step>) -> Option<Telling> {
        let wanted =
            world.residencies.values().flat_map(|residency| &residency.classes).find(|class| class.name == name);
        let same = wanted.is_some() && self.classes.get(name) == wanted;
        match (step, wanted) {
            (Some(_), _) => {
                let residency = self.classes.remove(name).filter(|_| same)?.residency;
                let note =
                    format!("it was taken away or changed; Domicile puts back what DataResidency {residency} asks for");
                Some(Telling::warning(Subject::cluster("StorageClass", name), "ClassRestored", "Restore", note))
            }
            (None, Some(wanted)) => {
                self.classes.insert(name.to_owned(), wanted.clone());
                None
            }
            (None, None) => {
                self.classes.remove(name);
                None
            }
        }
    }

    /// The same for a ClusterNetworkPolicy.
    pub fn cluster_policy(
        &mut self,
        world: &World,
        name: &str,
        step: Option<&cluster_policy::Step>,
    ) -> Option<Telling> {
        let stood = self.cluster_policies.remove(name);
        match step {
            Some(cluster_policy::Step::Write { spec, .. }) => {
                let note = "it was taken away or changed; Domicile puts it back";
                let subject = Subject::cluster("ClusterNetworkPolicy", name);
                (stood.as_ref() == Some(spec)).then(|| Telling::warning(subject, "IsolationRestored", "Restore", note))
            }
            Some(cluster_policy::Step::Delete) => None,
            None => {
                let live = world.snapshot.cluster_policies.as_ref().and_then(|all| all.get(name));
                if let Some(live) = live.filter(|live| live.managed) {
                    self.cluster_policies.insert(name.to_owned(), live.spec.clone());
                }
                None
            }
        }
    }

    /// A node is gone.
    pub fn forget_node(&mut self, name: &str) {
        self.nodes.remove(name);
    }

    /// The same for the trusted labels of a node. `serves` are the residencies whose label it is to carry.
    pub fn node(
        &mut self,
        node: &Node,
        location: &Location,
        serves: Vec<String>,
        changes: &Changes,
    ) -> Option<Telling> {
        let wanted = (location.clone(), serves);
        if changes.is_empty() {
            self.nodes.insert(node.name.clone(), wanted);
            return None;
        }
        self.nodes.remove(&node.name).filter(|stood| *stood == wanted)?;
        let changed: Vec<&str> = changes.keys().map(String::as_str).collect();
        let note = format!("{} was changed by others; Domicile puts it right", changed.join(", "));
        let subject = Subject { uid: node.uid.clone(), ..Subject::cluster("Node", &node.name) };
        Some(Telling::warning(subject, "LabelsRestored", "Restore", note))
    }
}
