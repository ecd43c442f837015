//! The pod peers that sets are made of, and which sets a pod may be in.

use std::collections::HashMap;
use std::sync::Arc;

use fnv::FnvBuildHasher;

use crate::collections::ids::{Arena, NamespaceId, PeerId, SelectorId, SetId};
use crate::collections::idset::IdSet;
use crate::collections::lookup::Lookup;
use crate::invariant::bug;
use crate::label::{Labels, Selector};
use crate::object::{NamespaceScope, PodPeer};
use crate::translate::index::cluster::{Cluster, PodEntry};
use crate::translate::index::select::Selectors;

/// Where a peer's pods are.
#[derive(Debug, Clone, Copy)]
enum Scope {
    /// In this namespace.
    Of(NamespaceId),
    /// In all namespaces that this selector matches.
    In(SelectorId),
}

#[derive(Debug)]
struct PeerEntry {
    peer: Arc<PodPeer>,
    scope: Scope,
    /// The sets that it is part of.
    sets: IdSet<SetId>,
}

#[derive(Debug)]
struct NamespaceSelector {
    selector: Selector,
    /// The peers that use it, by the selector of their pods.
    peers: Selectors<PeerId>,
}

/// Every peer that some set is made of.
#[derive(Debug, Default)]
pub(in crate::translate) struct PeerIndex {
    peers: Arena<PeerId, PeerEntry>,
    by_peer: Lookup<PeerId>,
    /// The peers in one namespace, by the selector of their pods.
    by_namespace: HashMap<NamespaceId, Selectors<PeerId>, FnvBuildHasher>,
    namespace_selectors: Arena<SelectorId, NamespaceSelector>,
    by_selector: Lookup<SelectorId>,
    /// The namespace selectors once more, to be matched.
    selecting: Selectors<SelectorId>,
}

impl PeerIndex {
    fn find(&self, peer: &PodPeer) -> Option<PeerId> {
        let is = |id: PeerId| self.peers.there(id).is_some_and(|entry| *entry.peer == *peer);
        self.by_peer.find(self.by_peer.key(peer), is)
    }

    /// A peer becomes part of a set.
    pub(in crate::translate) fn hold(&mut self, peer: &Arc<PodPeer>, set: SetId, cluster: &mut Cluster) {
        let id = self.find(peer).unwrap_or_else(|| self.add(peer, cluster));
        if let Some(entry) = self.peers.there_mut(id) {
            entry.sets.insert(set);
        }
    }

    fn add(&mut self, peer: &Arc<PodPeer>, cluster: &mut Cluster) -> PeerId {
        let scope = match &peer.namespaces {
            NamespaceScope::Named(name) => Scope::Of(cluster.hold_namespace(name)),
            NamespaceScope::Matching(selector) => Scope::In(self.selector(selector, cluster)),
        };
        let entry = PeerEntry { peer: Arc::clone(peer), scope, sets: IdSet::default() };
        let id = self.peers.insert(entry);
        self.by_peer.insert(self.by_peer.key(&**peer), id);
        match scope {
            Scope::Of(namespace) => self.by_namespace.entry(namespace).or_default().insert(&peer.pods, id),
            Scope::In(selector) => {
                if let Some(entry) = self.namespace_selectors.there_mut(selector) {
                    entry.peers.insert(&peer.pods, id);
                }
            }
        }
        id
    }

    /// A peer is no longer part of a set.
    pub(in crate::translate) fn release(&mut self, peer: &PodPeer, set: SetId, cluster: &mut Cluster) {
        // A set that names it several times, with several ports, has released it already.
        let Some(id) = self.find(peer) else { return };
        let Some(entry) = self.peers.there_mut(id) else { return };
        entry.sets.remove(set);
        if !entry.sets.is_empty() {
            return;
        }
        let scope = entry.scope;
        self.peers.remove(id);
        self.by_peer.remove(self.by_peer.key(peer), id);
        match scope {
            Scope::Of(namespace) => {
                match self.by_namespace.get_mut(&namespace) {
                    Some(peers) => {
                        peers.remove(&peer.pods, id);
                        if peers.is_empty() {
                            self.by_namespace.remove(&namespace);
                        }
                    }
                    None => bug!("no peer is in {namespace:?}, nor is {id:?}"),
                }
                cluster.release_namespace(namespace);
            }
            Scope::In(selector) => {
                if let Some(entry) = self.namespace_selectors.there_mut(selector) {
                    entry.peers.remove(&peer.pods, id);
                    if entry.peers.is_empty() {
                        self.forget(selector, cluster);
                    }
                }
            }
        }
    }

    /// The id of a namespace selector that a peer is about to use.
    fn selector(&mut self, selector: &Selector, cluster: &mut Cluster) -> SelectorId {
        let key = self.by_selector.key(selector);
        let known = |id: SelectorId| self.namespace_selectors.there(id).map(|entry| &entry.selector);
        self.by_selector.find(key, |id| known(id) == Some(selector)).unwrap_or_else(|| {
            let entry = NamespaceSelector { selector: selector.clone(), peers: Selectors::default() };
            let id = self.namespace_selectors.insert(entry);
            self.by_selector.insert(key, id);
            self.selecting.insert(selector, id);
            // Those that are there. A namespace that comes or changes asks for itself (`selectors_of`).
            for namespace in cluster.namespaces_matching(selector) {
                if let Some(entry) = cluster.namespace_mut(namespace) {
                    entry.matching.push(id);
                }
            }
            id
        })
    }

    /// No peer uses a namespace selector any more.
    fn forget(&mut self, id: SelectorId, cluster: &mut Cluster) {
        let Some(entry) = self.namespace_selectors.remove(id) else { return };
        self.by_selector.remove(self.by_selector.key(&entry.selector), id);
        self.selecting.remove(&entry.selector, id);
        for namespace in cluster.namespaces_matching(&entry.selector) {
            if let Some(entry) = cluster.namespace_mut(namespace) {
                entry.matching.retain(|other| *other != id);
            }
        }
    }

    /// The namespace selectors in use that match these labels.
    pub(in crate::translate) fn selectors_of(&self, labels: &Labels) -> Vec<SelectorId> {
        self.selecting.matching(labels).collect()
    }

    /// The sets that a pod is part of by a selector peer, each once.
    pub(in crate::translate) fn sets_of(&self, entry: &PodEntry, cluster: &Cluster) -> Vec<SetId> {
        let matching = cluster.namespace(entry.namespace).map_or(&[][..], |namespace| &namespace.matching);
        let here = self.by_namespace.get(&entry.namespace).into_iter();
        self.sets_in(here.chain(matching.iter().filter_map(|id| self.peers_by(*id))), entry)
    }

    /// The sets that a pod is part of by the peers of some namespace selectors, should they match its namespace.
    pub(in crate::translate) fn sets_by(&self, selectors: &[SelectorId], entry: &PodEntry) -> Vec<SetId> {
        self.sets_in(selectors.iter().filter_map(|id| self.peers_by(*id)), entry)
    }

    fn peers_by(&self, selector: SelectorId) -> Option<&Selectors<PeerId>> {
        self.namespace_selectors.there(selector).map(|entry| &entry.peers)
    }

    fn sets_in<'a>(
        &'a self,
        peers: impl Iterator<Item = &'a Selectors<PeerId>>,
        entry: &PodEntry,
    ) -> Vec<SetId> {
        let matching = peers.flat_map(|peers| peers.matching(&entry.pod.labels));
        let sets = matching.filter_map(|id| self.peers.there(id)).flat_map(|peer| peer.sets.iter());
        let mut found: Vec<SetId> = sets.collect();
        found.sort_unstable();
        found.dedup();
        found
    }
}
