//! Who a selector, a peer or a policy matches: the pods and namespaces of the cluster as it stands.

use super::{Cluster, NamespaceEntry, PodEntry};
use crate::label::Labels;
use crate::object::{NamespaceScope, Pod, PodPeer, Policy};

/// So few pods are looked at one by one.
const FEW_PODS: usize = 16;

impl Cluster {
    /// Adds the pods that a peer matches.
    pub(in crate::translate) fn matching(&self, peer: &PodPeer, to: &mut Vec<u32>) {
        match &peer.namespaces {
            NamespaceScope::Named(name) => {
                self.matching_in(self.by_namespace.get(name).copied().as_slice(), peer, to);
            }
            NamespaceScope::Matching(selector) => {
                self.matching_in(&self.namespaces_matching(selector), peer, to);
            }
        }
    }

    /// Adds the pods of these namespaces that a peer matches.
    fn matching_in(&self, namespaces: &[u32], peer: &PodPeer, to: &mut Vec<u32>) {
        let here = || namespaces.iter().filter_map(|id| self.namespace(*id));
        let count: usize = here().map(|entry| entry.pods.len()).sum();
        let by_label = if count > FEW_PODS { self.pod_labels.candidates(&peer.pods) } else { None };
        let is = |id: &u32| self.pod(*id).is_some_and(|entry| self.selects(peer, entry));
        // As few as the indexes can tell.
        match by_label {
            Some(found) if found.len() < count => to.extend(found.iter().filter(is)),
            _ => to.extend(here().flat_map(|entry| entry.pods.iter()).filter(is)),
        }
    }

    /// The pods that a policy selects.
    pub(in crate::translate) fn subjects_of(&self, policy: &Policy) -> Vec<u32> {
        let peer = PodPeer {
            namespaces: NamespaceScope::Named(policy.key.namespace.clone()),
            pods: policy.subjects.clone(),
        };
        let mut found = Vec::new();
        self.matching(&peer, &mut found);
        found
    }

    /// The namespaces that a selector matches.
    pub(in crate::translate) fn namespaces_matching(&self, selector: &crate::label::Selector) -> Vec<u32> {
        let matches = |entry: &NamespaceEntry| entry.labels.as_ref().is_some_and(|l| selector.matches(l));
        match self.namespace_labels.candidates(selector) {
            Some(found) => found.iter().filter(|id| self.namespace(*id).is_some_and(matches)).collect(),
            None => self.namespaces().filter(|(_, entry)| matches(entry)).map(|(id, _)| id).collect(),
        }
    }

    /// Whether a peer matches a pod.
    pub(in crate::translate) fn selects(&self, peer: &PodPeer, entry: &PodEntry) -> bool {
        selects(peer, &entry.pod, || self.labels_around(entry))
    }

    /// The labels of a pod's namespace, if there is an object.
    pub(super) fn labels_around(&self, entry: &PodEntry) -> Option<&Labels> {
        self.namespace(entry.namespace)?.labels.as_ref()
    }
}

pub(super) fn selects<'a>(
    peer: &PodPeer,
    pod: &Pod,
    labels_around: impl FnOnce() -> Option<&'a Labels>,
) -> bool {
    let namespace = match &peer.namespaces {
        NamespaceScope::Named(name) => *name == pod.key.namespace,
        NamespaceScope::Matching(selector) => labels_around().is_some_and(|labels| selector.matches(labels)),
    };
    namespace && peer.pods.matches(&pod.labels)
}
