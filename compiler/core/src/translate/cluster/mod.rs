//! The world indexed: pods, namespaces and nodes under small numbers, and which address belongs to whom.

mod matching;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use flock_shared::{NamespaceName, NodeName, ObjectName};
use slab::Slab;
use std::collections::HashMap;

use self::matching::selects;
use super::load::{Kind, Load};
use super::lookup::{Key, Lookup};
use super::owners::Owners;
use super::select::LabelIndex;
use crate::idset::{IdSet, number};
use crate::label::Labels;
use crate::object::{Direction, Peer, PeerMatch, Pod};
use crate::output::{Families, Output};

/// A pod.
#[derive(Debug)]
pub(super) struct PodEntry {
    pub(super) pod: Arc<Pod>,
    pub(super) namespace: u32,
    pub(super) node: Option<u32>,
    /// Its group in each direction, if it is isolated.
    groups: [Option<u32>; 2],
    /// Whether no other pod claims one of its addresses: nearly always.
    alone: bool,
}

impl PodEntry {
    pub(super) const fn group(&self, direction: Direction) -> Option<u32> {
        let [ingress, egress] = self.groups;
        match direction {
            Direction::Ingress => ingress,
            Direction::Egress => egress,
        }
    }

    /// Whether no other pod claims one of its addresses.
    pub(super) const fn is_alone(&self) -> bool {
        self.alone
    }

    pub(super) const fn set_group(&mut self, direction: Direction, group: Option<u32>) {
        let [ingress, egress] = &mut self.groups;
        match direction {
            Direction::Ingress => *ingress = group,
            Direction::Egress => *egress = group,
        }
    }
}

/// A namespace that has an object, or that something refers to.
#[derive(Debug)]
pub(super) struct NamespaceEntry {
    pub(super) name: NamespaceName,
    /// `None`: there is no object, so no selector matches it.
    pub(super) labels: Option<Labels>,
    /// Its pods.
    pub(super) pods: IdSet,
    /// The namespace selectors in use that match it.
    pub(super) matching: Vec<u32>,
    /// How many refer to it: its object, pods, subjects and peers.
    holders: u32,
}

/// A node that has an object or a pod.
#[derive(Debug)]
pub(super) struct NodeEntry {
    pub(super) name: NodeName,
    /// Whether it has an object.
    pub(super) object: bool,
    /// Its pods.
    pub(super) pods: IdSet,
    /// The newest output.
    pub(super) output: Option<Arc<Output>>,
    /// The sets that the newest output refers to, in order; all that it would refer to were no namespace closed.
    pub(super) sets: Vec<u32>,
    /// The namespaces that are closed here, for the table would be too large, and what there would be too much of.
    pub(super) closed: BTreeMap<u32, Kind>,
    /// At most so much its rule sets come to without the sets of pods that they look up.
    pub(super) load: Load,
}

/// Every pod, namespace and node.
#[derive(Debug, Default)]
pub(super) struct Cluster {
    pub(super) pods: Slab<PodEntry>,
    /// Pods by namespace and name.
    by_key: Lookup,
    pub(super) pod_labels: LabelIndex,
    namespaces: Slab<NamespaceEntry>,
    by_namespace: HashMap<NamespaceName, u32>,
    /// The namespace that was held last: the next object of an ordered list is often of the same.
    newest_namespace: u32,
    pub(super) namespace_labels: LabelIndex,
    nodes: Slab<NodeEntry>,
    by_node: HashMap<NodeName, u32>,
    pub(super) owners: Owners,
}

impl Cluster {
    pub(super) fn pod(&self, id: u32) -> Option<&PodEntry> {
        self.pods.get(id as usize)
    }

    pub(super) fn pod_mut(&mut self, id: u32) -> Option<&mut PodEntry> {
        self.pods.get_mut(id as usize)
    }

    /// The number of a pod that is known by its key.
    pub(super) fn pod_id(&self, pod: &Pod) -> Option<u32> {
        let namespace = *self.by_namespace.get(&pod.key.namespace)?;
        self.by_key.find(self.key(namespace, &pod.key.name), |id| {
            self.pod(id).is_some_and(|e| e.namespace == namespace && e.pod.key.name == pod.key.name)
        })
    }

    fn key(&self, namespace: u32, pod: &ObjectName) -> Key {
        self.by_key.key(&(namespace, pod))
    }

    /// Makes room for so many more pods, and for a few that come later.
    pub(super) fn expect_pods(&mut self, count: usize) {
        let count = count + count / 8;
        self.pods.reserve(count);
        self.by_key.reserve(count);
        self.owners.reserve(count);
    }

    /// Adds a pod that is not known yet; it owns nothing until its addresses are claimed.
    pub(super) fn add_pod(&mut self, pod: Arc<Pod>) -> u32 {
        let namespace = self.hold_namespace(&pod.key.namespace);
        let key = self.key(namespace, &pod.key.name);
        let entry = PodEntry { pod, namespace, node: None, groups: [None; 2], alone: false };
        let id = number(self.pods.insert(entry));
        if let Some(namespace) = self.namespaces.get_mut(namespace as usize) {
            namespace.pods.insert(id);
        }
        self.by_key.insert(key, id);
        id
    }

    /// Claims the addresses of a new pod, if no other one claims any of them; whether none does.
    pub(super) fn claim_alone(&mut self, id: u32) -> bool {
        let Some(entry) = self.pods.get_mut(id as usize) else { return false };
        let addresses = entry.pod.addresses().map_or(&[][..], |addresses| addresses);
        let taken = addresses.iter().position(|address| !self.owners.claim_free(*address, id));
        if let Some(taken) = taken {
            addresses.iter().take(taken).for_each(|address| self.owners.disclaim(address, id));
        }
        entry.alone = taken.is_none();
        entry.alone
    }

    /// Looks whether other pods claim one of a pod's addresses; to be called when the claims of one have changed.
    pub(super) fn review_claims(&mut self, id: u32) {
        let Some(entry) = self.pods.get(id as usize) else { return };
        let mut claimed = entry.pod.addresses().into_iter().flatten();
        let alone = claimed.all(|address| *self.owners.claimants(address) == [id]);
        if let Some(entry) = self.pods.get_mut(id as usize) {
            entry.alone = alone;
        }
    }

    /// Forgets a pod.
    pub(super) fn remove_pod(&mut self, id: u32) {
        if let Some(entry) = self.pods.try_remove(id as usize) {
            if let Some(namespace) = self.namespaces.get_mut(entry.namespace as usize) {
                namespace.pods.remove(id);
            }
            self.by_key.remove(self.key(entry.namespace, &entry.pod.key.name), id);
            self.release_namespace(entry.namespace);
        }
    }

    pub(super) fn namespace(&self, id: u32) -> Option<&NamespaceEntry> {
        self.namespaces.get(id as usize)
    }

    pub(super) fn namespace_mut(&mut self, id: u32) -> Option<&mut NamespaceEntry> {
        self.namespaces.get_mut(id as usize)
    }

    pub(super) fn namespaces(&self) -> impl Iterator<Item = (u32, &NamespaceEntry)> {
        self.namespaces.iter().map(|(key, entry)| (number(key), entry))
    }

    /// The number of a namespace, which one more refers to.
    pub(super) fn hold_namespace(&mut self, name: &NamespaceName) -> u32 {
        let newest = self.newest_namespace;
        let same = self.namespace(newest).is_some_and(|entry| entry.name == *name).then_some(newest);
        let id = same.or_else(|| self.by_namespace.get(name).copied()).unwrap_or_else(|| {
            let entry = NamespaceEntry {
                name: name.clone(),
                labels: None,
                pods: IdSet::default(),
                matching: Vec::new(),
                holders: 0,
            };
            let id = number(self.namespaces.insert(entry));
            self.by_namespace.insert(name.clone(), id);
            id
        });
        if let Some(entry) = self.namespaces.get_mut(id as usize) {
            entry.holders += 1;
        }
        self.newest_namespace = id;
        id
    }

    /// One fewer refers to a namespace.
    pub(super) fn release_namespace(&mut self, id: u32) {
        let Some(entry) = self.namespaces.get_mut(id as usize) else { return };
        entry.holders -= 1;
        if entry.holders == 0 {
            let entry = self.namespaces.remove(id as usize);
            self.by_namespace.remove(&entry.name);
        }
    }

    pub(super) fn node(&self, id: u32) -> Option<&NodeEntry> {
        self.nodes.get(id as usize)
    }

    pub(super) fn node_mut(&mut self, id: u32) -> Option<&mut NodeEntry> {
        self.nodes.get_mut(id as usize)
    }

    pub(super) fn nodes(&self) -> impl Iterator<Item = (u32, &NodeEntry)> {
        self.nodes.iter().map(|(key, entry)| (number(key), entry))
    }

    pub(super) fn node_id(&self, name: &NodeName) -> Option<u32> {
        self.by_node.get(name).copied()
    }

    /// The number of a node, known or not.
    pub(super) fn node_of(&mut self, name: &NodeName) -> u32 {
        self.by_node.get(name).copied().unwrap_or_else(|| {
            let entry = NodeEntry {
                name: name.clone(),
                object: false,
                pods: IdSet::default(),
                output: None,
                sets: Vec::new(),
                closed: BTreeMap::new(),
                load: Load::default(),
            };
            let id = number(self.nodes.insert(entry));
            self.by_node.insert(name.clone(), id);
            id
        })
    }

    /// Forgets a node if it has neither an object nor a pod.
    pub(super) fn remove_node_if_gone(&mut self, id: u32) -> Option<NodeEntry> {
        let gone = self.node(id).is_some_and(|node| !node.object && node.pods.is_empty());
        gone.then(|| {
            let node = self.nodes.remove(id as usize);
            self.by_node.remove(&node.name);
            node
        })
    }

    /// The pods that own an address: those whose claim to it is the strongest.
    pub(super) fn owners_of(&self, address: &IpAddr) -> Vec<u32> {
        let claim = |id: &u32| self.pod(*id).map(|entry| entry.pod.claim());
        let claimants = self.owners.claimants(address);
        let strongest = claimants.iter().map(claim).max().flatten();
        claimants.iter().copied().filter(|id| claim(id) == strongest).collect()
    }

    /// The addresses that a pod owns, in order, and whether it is the only owner.
    pub(super) fn owned(&self, id: u32) -> impl Iterator<Item = (IpAddr, bool)> {
        let entry = self.pod(id);
        let alone = entry.is_some_and(|entry| entry.alone);
        let claimed = entry.and_then(|entry| entry.pod.addresses()).into_iter().flatten();
        claimed.filter_map(move |address| match self.owners.claimants_unless(alone, address) {
            None => Some((*address, true)),
            Some(claimants) => match claimants {
                [only] => (*only == id).then_some((*address, true)),
                _ => {
                    let owners = self.owners_of(address);
                    owners.contains(&id).then_some((*address, owners.len() == 1))
                }
            },
        })
    }

    /// The addresses that a pod alone owns.
    pub(super) fn owned_alone(&self, id: u32) -> impl Iterator<Item = IpAddr> {
        self.owned(id).filter(|(_, alone)| *alone).map(|(address, _)| address)
    }

    /// Addresses with several owners, in order, with their owners in order of their keys.
    pub(super) fn contested(&self) -> impl Iterator<Item = (IpAddr, Vec<u32>)> {
        self.owners.shared().filter_map(|address| {
            let mut owners = self.owners_of(&address);
            owners.sort_by_key(|id| self.pod(*id).map(|entry| &entry.pod.key));
            (owners.len() > 1).then_some((address, owners))
        })
    }

    /// The families that pods have addresses of.
    pub(super) const fn families(&self) -> Families {
        self.owners.families()
    }

    /// Addresses with several owners, in order.
    pub(super) fn disputes(&self) -> Vec<Dispute> {
        let owner = |entry: &PodEntry| Owner {
            pod: Arc::clone(&entry.pod),
            namespace: self.labels_around(entry).cloned(),
        };
        let contested = self.contested().map(|(address, owners)| Dispute {
            address,
            owners: owners.into_iter().filter_map(|id| self.pod(id)).map(owner).collect(),
        });
        contested.collect()
    }
}

/// An address with several owners.
pub(super) struct Dispute {
    pub(super) address: IpAddr,
    pub(super) owners: Vec<Owner>,
}

/// An owner of a contested address, with what tells whether a peer matches it.
pub(super) struct Owner {
    pub(super) pod: Arc<Pod>,
    /// The labels of its namespace.
    namespace: Option<Labels>,
}

impl Dispute {
    /// Whether the address is one of `peers` if it belongs to that owner; `None`: by address alone.
    pub(super) fn is_one_of(&self, peers: &PeerMatch, owner: Option<&Owner>) -> bool {
        match peers {
            PeerMatch::Any => true,
            PeerMatch::OneOf(peers) => peers.iter().any(|peer| match peer {
                Peer::Pods(peer) => {
                    owner.is_some_and(|owner| selects(peer, &owner.pod, || owner.namespace.as_ref()))
                }
                Peer::Block(block) => block.blocks().contains(self.address),
            }),
        }
    }
}
