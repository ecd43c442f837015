//! The pod peers that sets are made of, and which sets a pod may be in.

use std::collections::HashMap;
use std::sync::Arc;

use fnv::FnvBuildHasher;
use slab::Slab;

use super::cluster::{Cluster, PodEntry};
use super::lookup::Lookup;
use super::select::Selectors;
use crate::idset::{IdSet, number};
use crate::label::{Labels, Selector};
use crate::object::{NamespaceScope, PodPeer};

/// Where a peer's pods are.
#[derive(Debug, Clone, Copy)]
enum Scope {
    /// In this namespace.
    Of(u32),
    /// In all namespaces that this selector matches.
    In(u32),
}

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
    /// The peers that use it, by the selector of their pods.
    peers: Selectors,
}

/// Every peer that some set is made of.
#[derive(Debug, Default)]
pub(super) struct PeerIndex {
    peers: Slab<PeerEntry>,
    by_peer: Lookup,
    /// The peers in one namespace, by the selector of their pods.
    by_namespace: HashMap<u32, Selectors, FnvBuildHasher>,
    namespace_selectors: Slab<NamespaceSelector>,
    by_selector: Lookup,
    /// The namespace selectors once more, to be matched.
    selecting: Selectors,
}

impl PeerIndex {
    fn find(&self, peer: &PodPeer) -> Option<u32> {
        let is = |id: u32| self.peers.get(id as usize).is_some_and(|entry| *entry.peer == *peer);
        self.by_peer.find(self.by_peer.key(peer), is)
    }

    /// A peer becomes part of a set.
    pub(super) fn hold(&mut self, peer: &Arc<PodPeer>, set: u32, cluster: &mut Cluster) {
        let id = self.find(peer).unwrap_or_else(|| self.add(peer, cluster));
        if let Some(entry) = self.peers.get_mut(id as usize) {
            entry.sets.insert(set);
        }
    }

    fn add(&mut self, peer: &Arc<PodPeer>, cluster: &mut Cluster) -> u32 {
        let scope = match &peer.namespaces {
            NamespaceScope::Named(name) => Scope::Of(cluster.hold_namespace(name)),
            NamespaceScope::Matching(selector) => Scope::In(self.selector(selector, cluster)),
        };
        let entry = PeerEntry { peer: Arc::clone(peer), scope, sets: IdSet::default() };
        let id = number(self.peers.insert(entry));
        self.by_peer.insert(self.by_peer.key(&**peer), id);
        match scope {
            Scope::Of(namespace) => self.by_namespace.entry(namespace).or_default().insert(&peer.pods, id),
            Scope::In(selector) => {
                if let Some(entry) = self.namespace_selectors.get_mut(selector as usize) {
                    entry.peers.insert(&peer.pods, id);
                }
            }
        }
        id
    }

    /// A peer is no longer part of a set.
    pub(super) fn release(&mut self, peer: &PodPeer, set: u32, cluster: &mut Cluster) {
        let Some(id) = self.find(peer) else { return };
        let Some(entry) = self.peers.get_mut(id as usize) else { return };
        entry.sets.remove(set);
        if !entry.sets.is_empty() {
            return;
        }
        let scope = entry.scope;
        self.peers.remove(id as usize);
        self.by_peer.remove(self.by_peer.key(peer), id);
        match scope {
            Scope::Of(namespace) => {
                if let Some(peers) = self.by_namespace.get_mut(&namespace) {
                    peers.remove(&peer.pods, id);
                    if peers.is_empty() {
                        self.by_namespace.remove(&namespace);
                    }
                }
                cluster.release_namespace(namespace);
            }
            Scope::In(selector) => {
                if let Some(entry) = self.namespace_selectors.get_mut(selector as usize) {
                    entry.peers.remove(&peer.pods, id);
                    if entry.peers.is_empty() {
                        self.forget(selector, cluster);
                    }
                }
            }
        }
    }

    /// The number of a namespace selector that a peer is about to use.
    fn selector(&mut self, selector: &Selector, cluster: &mut Cluster) -> u32 {
        let key = self.by_selector.key(selector);
        let known = |id: u32| self.namespace_selectors.get(id as usize).map(|entry| &entry.selector);
        self.by_selector.find(key, |id| known(id) == Some(selector)).unwrap_or_else(|| {
            let entry = NamespaceSelector { selector: selector.clone(), peers: Selectors::default() };
            let id = number(self.namespace_selectors.insert(entry));
            self.by_selector.insert(key, id);
            self.selecting.insert(selector, id);
            for namespace in cluster.namespaces_matching(selector) {
                if let Some(entry) = cluster.namespace_mut(namespace) {
                    entry.matching.push(id);
                }
            }
            id
        })
    }

    /// No peer uses a namespace selector any more.
    fn forget(&mut self, id: u32, cluster: &mut Cluster) {
        let entry = self.namespace_selectors.remove(id as usize);
        self.by_selector.remove(self.by_selector.key(&entry.selector), id);
        self.selecting.remove(&entry.selector, id);
        for namespace in cluster.namespaces_matching(&entry.selector) {
            if let Some(entry) = cluster.namespace_mut(namespace) {
                entry.matching.retain(|other| *other != id);
            }
        }
    }

    /// The namespace selectors in use that match these labels.
    pub(super) fn selectors_of(&self, labels: &Labels) -> Vec<u32> {
        self.selecting.matching(labels).collect()
    }

    /// The sets that a pod is part of by a selector peer, each once.
    pub(super) fn sets_of(&self, entry: &PodEntry, cluster: &Cluster) -> Vec<u32> {
        let matching = cluster.namespace(entry.namespace).map_or(&[][..], |namespace| &namespace.matching);
        let here = self.by_namespace.get(&entry.namespace).into_iter();
        self.sets_in(here.chain(matching.iter().filter_map(|id| self.peers_by(*id))), entry)
    }

    /// The sets that a pod is part of by the peers of some namespace selectors, should they match its namespace.
    pub(super) fn sets_by(&self, selectors: &[u32], entry: &PodEntry) -> Vec<u32> {
        self.sets_in(selectors.iter().filter_map(|id| self.peers_by(*id)), entry)
    }

    fn peers_by(&self, selector: u32) -> Option<&Selectors> {
        self.namespace_selectors.get(selector as usize).map(|entry| &entry.peers)
    }

    fn sets_in<'a>(&'a self, peers: impl Iterator<Item = &'a Selectors>, entry: &PodEntry) -> Vec<u32> {
        let matching = peers.flat_map(|peers| peers.matching(&entry.pod.labels));
        let sets = matching.filter_map(|id| self.peers.get(id as usize)).flat_map(|peer| peer.sets.iter());
        let mut found: Vec<u32> = sets.collect();
        found.sort_unstable();
        found.dedup();
        found
    }
}
