//! The pod peers that sets are made of, and which sets a pod may be in.

use std::collections::HashMap;
use std::sync::Arc;

use slab::Slab;

use super::cluster::{Cluster, PodEntry};
use super::select::{Scope, SelectorIndex};
use crate::idset::IdSet;
use crate::label::{Labels, Selector};
use crate::object::{NamespaceScope, PodPeer};

#[derive(Debug)]
struct PeerEntry {
    peer: Arc<PodPeer>,
    scope: Scope,
    /// The sets that it is part of.
    sets: IdSet,
}

#[derive(Debug)]
struct NamespaceSelector {
    selector: Selector,
    /// How many peers use it.
    users: u32,
}

/// Every peer that some set is made of.
#[derive(Debug, Default)]
pub(super) struct PeerIndex {
    peers: Slab<PeerEntry>,
    by_peer: HashMap<Arc<PodPeer>, u32>,
    selectors: Slab<NamespaceSelector>,
    by_selector: HashMap<Selector, u32>,
    index: SelectorIndex,
}

fn number(key: usize) -> u32 {
    // Four billion peers do not fit into memory.
    u32::try_from(key).unwrap_or(u32::MAX)
}

impl PeerIndex {
    /// A peer becomes part of a set.
    pub(super) fn hold(&mut self, peer: &Arc<PodPeer>, set: u32, cluster: &mut Cluster) {
        let id = self.by_peer.get(peer).copied().unwrap_or_else(|| {
            let scope = match &peer.namespaces {
                NamespaceScope::Named(name) => Scope::PeersOf(cluster.hold_namespace(name)),
                NamespaceScope::Matching(selector) => Scope::PeersIn(self.hold_selector(selector, cluster)),
            };
            let entry = PeerEntry { peer: Arc::clone(peer), scope, sets: IdSet::default() };
            let id = number(self.peers.insert(entry));
            self.by_peer.insert(Arc::clone(peer), id);
            self.index.insert(scope, &peer.pods, id);
            id
        });
        if let Some(entry) = self.peers.get_mut(id as usize) {
            entry.sets.insert(set);
        }
    }

    /// A peer is no longer part of a set.
    pub(super) fn release(&mut self, peer: &PodPeer, set: u32, cluster: &mut Cluster) {
        let Some(id) = self.by_peer.get(peer).copied() else { return };
        let Some(entry) = self.peers.get_mut(id as usize) else { return };
        entry.sets.remove(set);
        if !entry.sets.is_empty() {
            return;
        }
        let entry = self.peers.remove(id as usize);
        self.by_peer.remove(peer);
        self.index.remove(entry.scope, &entry.peer.pods, id);
        match entry.scope {
            Scope::PeersOf(namespace) => cluster.release_namespace(namespace),
            Scope::PeersIn(selector) => self.release_selector(selector, cluster),
            Scope::Namespaces | Scope::Subjects(..) => {}
        }
    }

    fn hold_selector(&mut self, selector: &Selector, cluster: &mut Cluster) -> u32 {
        let id = self.by_selector.get(selector).copied().unwrap_or_else(|| {
            let entry = NamespaceSelector { selector: selector.clone(), users: 0 };
            let id = number(self.selectors.insert(entry));
            self.by_selector.insert(selector.clone(), id);
            self.index.insert(Scope::Namespaces, selector, id);
            for namespace in cluster.namespaces_matching(selector) {
                if let Some(entry) = cluster.namespace_mut(namespace) {
                    entry.matching.push(id);
                }
            }
            id
        });
        if let Some(entry) = self.selectors.get_mut(id as usize) {
            entry.users += 1;
        }
        id
    }

    fn release_selector(&mut self, id: u32, cluster: &mut Cluster) {
        let Some(entry) = self.selectors.get_mut(id as usize) else { return };
        entry.users -= 1;
        if entry.users > 0 {
            return;
        }
        let entry = self.selectors.remove(id as usize);
        self.by_selector.remove(&entry.selector);
        self.index.remove(Scope::Namespaces, &entry.selector, id);
        for namespace in cluster.namespaces_matching(&entry.selector) {
            if let Some(entry) = cluster.namespace_mut(namespace) {
                entry.matching.retain(|other| *other != id);
            }
        }
    }

    /// The namespace selectors in use that match these labels.
    pub(super) fn selectors_of(&self, labels: &Labels) -> Vec<u32> {
        let pivots = self.index.pivots(labels);
        self.index.matching(Scope::Namespaces, &pivots, labels).collect()
    }

    /// The sets that a pod is part of by a selector peer, each once.
    pub(super) fn sets_of(&self, entry: &PodEntry, cluster: &Cluster) -> Vec<u32> {
        let matching = cluster.namespace(entry.namespace).map_or(&[][..], |namespace| &namespace.matching);
        let scopes = matching.iter().map(|selector| Scope::PeersIn(*selector));
        self.sets_in(std::iter::once(Scope::PeersOf(entry.namespace)).chain(scopes), entry)
    }

    /// The sets that a pod is part of by the peers of some namespace selectors, should they match its namespace.
    pub(super) fn sets_by(&self, selectors: &[u32], entry: &PodEntry) -> Vec<u32> {
        self.sets_in(selectors.iter().map(|selector| Scope::PeersIn(*selector)), entry)
    }

    fn sets_in(&self, scopes: impl Iterator<Item = Scope>, entry: &PodEntry) -> Vec<u32> {
        let labels = &entry.pod.labels;
        let pivots = self.index.pivots(labels);
        let mut found: Vec<u32> = Vec::new();
        for scope in scopes {
            for peer in self.index.matching(scope, &pivots, labels) {
                found.extend(self.peers.get(peer as usize).into_iter().flat_map(|peer| peer.sets.iter()));
            }
        }
        found.sort_unstable();
        found.dedup();
        found
    }
}
