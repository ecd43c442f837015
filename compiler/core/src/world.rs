//! The world: every object that a source has reported, and which address belongs to whom.
//!
//! One task owns it. `apply` is the only way in; translation reads it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use flock_shared::{NamespaceName, NodeName, PodKey, PolicyKey};

use crate::change::{Change, Edit, Object};
use crate::object::{Lifecycle, Namespace, Node, Pod, Policy};

/// Objects of one kind by key, and whether the kind has been listed.
#[derive(Debug, Clone)]
struct Kind<T: Object> {
    objects: BTreeMap<T::Key, T>,
    listed: bool,
}

impl<T: Object> Default for Kind<T> {
    fn default() -> Self {
        Self { objects: BTreeMap::new(), listed: false }
    }
}

impl<T: Object> Kind<T> {
    /// Applies an edit; whether it changed anything.
    fn apply(&mut self, edit: Edit<T>) -> bool {
        match edit {
            Edit::Upsert(object) => {
                let key = object.key().clone();
                self.objects.get(&key) != Some(&object) && {
                    self.objects.insert(key, object);
                    true
                }
            }
            Edit::Delete(key) => self.objects.remove(&key).is_some(),
            Edit::Replace(objects) => {
                let objects = objects.into_iter().map(|object| (object.key().clone(), object)).collect();
                let first = !std::mem::replace(&mut self.listed, true);
                let changed = self.objects != objects;
                self.objects = objects;
                first || changed
            }
        }
    }
}

/// Every object that a source has reported.
#[derive(Debug, Clone, Default)]
pub struct World {
    nodes: Kind<Node>,
    namespaces: Kind<Namespace>,
    pods: Kind<Pod>,
    policies: Kind<Policy>,
}

impl World {
    /// Applies a change; whether the world differs from before.
    pub fn apply(&mut self, change: Change) -> bool {
        match change {
            Change::Node(edit) => self.nodes.apply(edit),
            Change::Namespace(edit) => self.namespaces.apply(edit),
            Change::Pod(edit) => self.pods.apply(edit),
            Change::Policy(edit) => self.policies.apply(edit),
        }
    }

    /// Whether every kind has been listed once. A partial world is not policy.
    #[must_use]
    pub const fn is_complete(&self) -> bool {
        self.nodes.listed && self.namespaces.listed && self.pods.listed && self.policies.listed
    }

    /// The nodes, by name.
    #[must_use]
    pub const fn nodes(&self) -> &BTreeMap<NodeName, Node> {
        &self.nodes.objects
    }

    /// The namespaces, by name.
    #[must_use]
    pub const fn namespaces(&self) -> &BTreeMap<NamespaceName, Namespace> {
        &self.namespaces.objects
    }

    /// The pods, by key.
    #[must_use]
    pub const fn pods(&self) -> &BTreeMap<PodKey, Pod> {
        &self.pods.objects
    }

    /// The network policies, by key.
    #[must_use]
    pub const fn policies(&self) -> &BTreeMap<PolicyKey, Policy> {
        &self.policies.objects
    }

    /// Every node that has an object or a pod.
    #[must_use]
    pub fn node_names(&self) -> BTreeSet<&NodeName> {
        self.nodes().keys().chain(self.pods().values().filter_map(|pod| pod.node.as_ref())).collect()
    }

    /// The pods that own each address, in order of their keys. A pod that is being deleted yields an address to a
    /// live pod that has it too; an address with several owners is contested.
    #[must_use]
    pub fn owners(&self) -> BTreeMap<IpAddr, Vec<&Pod>> {
        let mut owners: BTreeMap<IpAddr, Vec<&Pod>> = BTreeMap::new();
        for pod in self.pods().values() {
            for address in pod.addresses().into_iter().flatten() {
                owners.entry(*address).or_default().push(pod);
            }
        }
        for pods in owners.values_mut() {
            if pods.iter().any(|pod| pod.lifecycle == Lifecycle::Live) {
                pods.retain(|pod| pod.lifecycle == Lifecycle::Live);
            }
        }
        owners
    }
}
