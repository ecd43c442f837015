//! The world: every object that a source has reported, and the facts of nodes that their agents tell.
//!
//! One task owns it. `apply` is the only way in and says what differs; translation follows those differences.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use flock_shared::{NamespaceName, NodeName, PodKey, PolicyKey};

use crate::change::{Change, Edit, Object};
use crate::object::{Facts, Namespace, Node, Pod, Policy};
use crate::parallel;

/// One object before and after a change; never equal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference<T> {
    /// As it was; `None`: it is new.
    pub before: Option<Arc<T>>,
    /// As it is; `None`: it is gone.
    pub after: Option<Arc<T>>,
}

/// What a change did to the world, ordered by key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Differences {
    /// To nodes.
    Nodes(Vec<Difference<Node>>),
    /// To namespaces.
    Namespaces(Vec<Difference<Namespace>>),
    /// To pods.
    Pods(Vec<Difference<Pod>>),
    /// To policies.
    Policies(Vec<Difference<Policy>>),
    /// To facts of nodes.
    Facts(Vec<Difference<Facts>>),
}

impl Differences {
    /// Whether the objects are as they were.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        match self {
            Self::Nodes(all) => all.is_empty(),
            Self::Namespaces(all) => all.is_empty(),
            Self::Pods(all) => all.is_empty(),
            Self::Policies(all) => all.is_empty(),
            Self::Facts(all) => all.is_empty(),
        }
    }
}

/// Objects of one kind by key, and whether the kind has been listed.
#[derive(Debug, Clone)]
struct Kind<T: Object> {
    objects: BTreeMap<T::Key, Arc<T>>,
    listed: bool,
}

impl<T: Object> Default for Kind<T> {
    fn default() -> Self {
        Self { objects: BTreeMap::new(), listed: false }
    }
}

impl<T: Object> Kind<T> {
    fn apply(&mut self, edit: Edit<T>) -> Vec<Difference<T>> {
        match edit {
            Edit::Upsert(object) => {
                let key = object.key().clone();
                if self.objects.get(&key).is_some_and(|known| **known == object) {
                    return Vec::new();
                }
                let after = Arc::new(object);
                let before = self.objects.insert(key, Arc::clone(&after));
                vec![Difference { before, after: Some(after) }]
            }
            Edit::Delete(key) => {
                let before = self.objects.remove(&key);
                before.map(|before| Difference { before: Some(before), after: None }).into_iter().collect()
            }
            Edit::Replace(objects) => self.replace(objects),
        }
    }

    /// Objects that did not change stay the values that others share.
    fn replace(&mut self, objects: Vec<T>) -> Vec<Difference<T>> {
        self.listed = true;
        let keyed = objects.into_iter().map(|object| (object.key().clone(), Arc::new(object)));
        let mut listed: Vec<(T::Key, Arc<T>)> = keyed.collect();
        parallel::sort_parts(&mut listed, |(a, _), (b, _)| a.cmp(b));
        let listed: BTreeMap<T::Key, Arc<T>> = listed.into_iter().collect();
        if self.objects.is_empty() {
            self.objects = listed;
            return all(&self.objects);
        }
        let mut before = std::mem::take(&mut self.objects);
        let mut differences = Vec::with_capacity(listed.len());
        self.objects = listed
            .into_iter()
            .map(|(key, object)| match before.remove(&key) {
                Some(known) if known == object => (key, known),
                known => {
                    differences.push(Difference { before: known, after: Some(Arc::clone(&object)) });
                    (key, object)
                }
            })
            .collect();
        differences.extend(before.into_values().map(|gone| Difference { before: Some(gone), after: None }));
        differences
    }
}

/// Objects that are all new.
fn all<K, T>(objects: &BTreeMap<K, Arc<T>>) -> Vec<Difference<T>> {
    objects.values().map(|object| Difference { before: None, after: Some(Arc::clone(object)) }).collect()
}

/// Every object that a source has reported.
#[derive(Debug, Clone, Default)]
pub struct World {
    nodes: Kind<Node>,
    namespaces: Kind<Namespace>,
    pods: Kind<Pod>,
    policies: Kind<Policy>,
    facts: Kind<Facts>,
}

impl World {
    /// Applies a change; what differs from before.
    pub fn apply(&mut self, change: Change) -> Differences {
        match change {
            Change::Node(edit) => Differences::Nodes(self.nodes.apply(edit)),
            Change::Namespace(edit) => Differences::Namespaces(self.namespaces.apply(edit)),
            Change::Pod(edit) => Differences::Pods(self.pods.apply(edit)),
            Change::Policy(edit) => Differences::Policies(self.policies.apply(edit)),
            Change::Facts(edit) => Differences::Facts(self.facts.apply(edit)),
        }
    }

    /// Whether every kind has been listed once. A partial world is not policy.
    #[must_use]
    pub const fn is_complete(&self) -> bool {
        self.nodes.listed && self.namespaces.listed && self.pods.listed && self.policies.listed
    }

    /// The nodes, by name.
    #[must_use]
    pub const fn nodes(&self) -> &BTreeMap<NodeName, Arc<Node>> {
        &self.nodes.objects
    }

    /// The namespaces, by name.
    #[must_use]
    pub const fn namespaces(&self) -> &BTreeMap<NamespaceName, Arc<Namespace>> {
        &self.namespaces.objects
    }

    /// The pods, by key.
    #[must_use]
    pub const fn pods(&self) -> &BTreeMap<PodKey, Arc<Pod>> {
        &self.pods.objects
    }

    /// The network policies, by key.
    #[must_use]
    pub const fn policies(&self) -> &BTreeMap<PolicyKey, Arc<Policy>> {
        &self.policies.objects
    }

    /// The facts of nodes, by the name of the node, which may be one that no object names.
    #[must_use]
    pub const fn facts(&self) -> &BTreeMap<NodeName, Arc<Facts>> {
        &self.facts.objects
    }

    /// Every node that has an object or a pod.
    #[must_use]
    pub fn node_names(&self) -> BTreeSet<&NodeName> {
        self.nodes().keys().chain(self.pods().values().filter_map(|pod| pod.node.as_ref())).collect()
    }
}
