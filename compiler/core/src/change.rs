//! What a source says of the cluster: edits of single objects, and whole listings that replace a kind.

use flock_shared::{NamespaceName, NodeName, PodKey, PolicyKey};

use crate::object::{Facts, Namespace, Node, NodePods, Overdue, Pod, Policy};

/// A change of one watched kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Nodes.
    Node(Edit<Node>),
    /// Namespaces.
    Namespace(Edit<Namespace>),
    /// Pods.
    Pod(Edit<Pod>),
    /// Network policies.
    Policy(Edit<Policy>),
    /// What CNI did on nodes.
    NodePods(Edit<NodePods>),
    /// Facts of nodes, which agents tell. Nothing lists them, and a world is complete without.
    Facts(Edit<Facts>),
    /// Who is not waited for any more. Nothing lists them, and a world is complete without.
    Overdue(Edit<Overdue>),
}

/// A change of objects of one kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Edit<T: Object> {
    /// The object was added, or is now this.
    Upsert(T),
    /// The object is gone.
    Delete(T::Key),
    /// These are all objects of the kind: others that were known are gone. The first one completes the kind.
    Replace(Vec<T>),
}

/// An object that the world keeps.
pub trait Object: std::fmt::Debug + Clone + Eq + Send + Sync {
    /// What names it among its kind.
    type Key: std::fmt::Debug + Clone + Ord + Send;
    /// Its key.
    fn key(&self) -> &Self::Key;
    /// Returns true if an object that is equal to this one says something else in what is
    /// [`Untranslated`](crate::object::Untranslated).
    fn differs_untranslated(&self, _equal: &Self) -> bool {
        false
    }
}

impl Object for Node {
    type Key = NodeName;
    fn key(&self) -> &NodeName {
        &self.name
    }
}

impl Object for Namespace {
    type Key = NamespaceName;
    fn key(&self) -> &NamespaceName {
        &self.name
    }
    fn differs_untranslated(&self, equal: &Self) -> bool {
        self.ignored_lints.0 != equal.ignored_lints.0
    }
}

impl Object for Pod {
    type Key = PodKey;
    fn key(&self) -> &PodKey {
        &self.key
    }
    fn differs_untranslated(&self, equal: &Self) -> bool {
        self.owner.0 != equal.owner.0
    }
}

impl Object for Policy {
    type Key = PolicyKey;
    fn key(&self) -> &PolicyKey {
        &self.key
    }
    fn differs_untranslated(&self, equal: &Self) -> bool {
        self.meta.0 != equal.meta.0
    }
}

impl Object for NodePods {
    type Key = NodeName;
    fn key(&self) -> &NodeName {
        self.node()
    }
}

impl Object for Overdue {
    type Key = Self;
    fn key(&self) -> &Self {
        self
    }
}

impl Object for Facts {
    type Key = NodeName;
    fn key(&self) -> &NodeName {
        &self.node
    }
}
