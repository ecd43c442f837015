//! The world indexed: pods, namespaces and nodes under ids, and which address belongs to whom.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::Arc;

use crate::collections::count::Count;
use crate::collections::ids::{Arena, GroupId, NamespaceId, NodeId, PodId, SelectorId, SetId};
use crate::collections::idset::IdSet;
use crate::collections::lookup::{Lookup, LookupKey};
use crate::invariant::bug;
use crate::label::{Labels, Selector};
use crate::object::{Direction, NamespaceScope, Peer, PeerMatch, Pod, PodPeer, Policy};
use crate::output::{Families, Output};
use crate::translate::budget::load::{Load, LoadKind};
use crate::translate::index::owners::AddressOwners;
use crate::translate::index::select::LabelIndex;
use flock_shared::{NamespaceName, NodeName, ObjectName};

/// A pod.
#[derive(Debug)]
pub(in crate::translate) struct PodEntry {
    pub(in crate::translate) pod: Arc<Pod>,
    pub(in crate::translate) namespace: NamespaceId,
    pub(in crate::translate) node: Option<NodeId>,
    /// Its group in each direction, if it is isolated.
    groups: [Option<GroupId>; 2],
    /// Whether no other pod claims one of its addresses: nearly always.
    alone: bool,
}

impl PodEntry {
    pub(in crate::translate) const fn group(&self, direction: Direction) -> Option<GroupId> {
        let [ingress, egress] = self.groups;
        match direction {
            Direction::Ingress => ingress,
            Direction::Egress => egress,
        }
    }

    /// Returns true if no other pod claims one of its addresses.
    pub(in crate::translate) const fn is_alone(&self) -> bool {
        self.alone
    }

    pub(in crate::translate) const fn set_group(&mut self, direction: Direction, group: Option<GroupId>) {
        let [ingress, egress] = &mut self.groups;
        match direction {
            Direction::Ingress => *ingress = group,
            Direction::Egress => *egress = group,
        }
    }
}

/// A namespace that has an object, or that something refers to.
#[derive(Debug)]
pub(in crate::translate) struct NamespaceEntry {
    pub(in crate::translate) name: NamespaceName,
    /// `None`: there is no object, so no selector matches it.
    pub(in crate::translate) labels: Option<Labels>,
    /// Its pods.
    pub(in crate::translate) pods: IdSet<PodId>,
    /// The namespace selectors in use that match it.
    pub(in crate::translate) matching: Vec<SelectorId>,
    /// How many refer to it: its object, pods, policies and peers.
    holders: Count,
}

/// A node that has an object or a pod.
#[derive(Debug)]
pub(in crate::translate) struct NodeEntry {
    pub(in crate::translate) name: NodeName,
    /// Whether it has an object.
    pub(in crate::translate) object: bool,
    /// Its pods.
    pub(in crate::translate) pods: IdSet<PodId>,
    /// The newest output.
    pub(in crate::translate) output: Option<Arc<Output>>,
    /// The sets that the newest output refers to, in order; all that it would refer to were no namespace closed.
    pub(in crate::translate) sets: Vec<SetId>,
    /// The namespaces that are closed here, for the table would be too large, and what there would be too much of.
    pub(in crate::translate) closed: BTreeMap<NamespaceId, LoadKind>,
    /// At most so much its rule sets come to without the sets of pods that they look up.
    pub(in crate::translate) load: Load,
}

/// Every pod, namespace and node.
#[derive(Debug, Default)]
pub(in crate::translate) struct Cluster {
    pub(in crate::translate) pods: Arena<PodId, PodEntry>,
    /// Pods by namespace and name.
    by_key: Lookup<PodId>,
    pub(in crate::translate) pod_labels: LabelIndex<PodId>,
    pub(in crate::translate) namespaces: Arena<NamespaceId, NamespaceEntry>,
    by_namespace: HashMap<NamespaceName, NamespaceId>,
    /// The namespace that was held last: the next object of an ordered list is often of the same.
    newest_namespace: Option<NamespaceId>,
    pub(in crate::translate) namespace_labels: LabelIndex<NamespaceId>,
    nodes: Arena<NodeId, NodeEntry>,
    by_node: HashMap<NodeName, NodeId>,
    pub(in crate::translate) owners: AddressOwners,
}

/// So few pods are looked at one by one.
const FEW_PODS: usize = 16;

impl Cluster {
    /// A pod that is there.
    #[track_caller]
    pub(in crate::translate) fn pod(&self, id: PodId) -> Option<&PodEntry> {
        self.pods.there(id)
    }

    #[track_caller]
    pub(in crate::translate) fn pod_mut(&mut self, id: PodId) -> Option<&mut PodEntry> {
        self.pods.there_mut(id)
    }

    /// The id of a pod that is known by its key.
    pub(in crate::translate) fn pod_id(&self, pod: &Pod) -> Option<PodId> {
        let namespace = *self.by_namespace.get(&pod.key.namespace)?;
        self.by_key.find(self.key(namespace, &pod.key.name), |id| {
            self.pod(id).is_some_and(|e| e.namespace == namespace && e.pod.key.name == pod.key.name)
        })
    }

    fn key(&self, namespace: NamespaceId, pod: &ObjectName) -> LookupKey {
        self.by_key.key(&(namespace, pod))
    }

    /// Makes room for so many more pods, and for a few that come later.
    pub(in crate::translate) fn expect_pods(&mut self, count: usize) {
        let count = count + count / 8;
        self.pods.reserve(count);
        self.by_key.reserve(count);
        self.owners.reserve(count);
    }

    /// Adds a pod that is not known yet; it owns nothing until its addresses are claimed.
    pub(in crate::translate) fn add_pod(&mut self, pod: Arc<Pod>) -> PodId {
        let namespace = self.hold_namespace(&pod.key.namespace);
        let key = self.key(namespace, &pod.key.name);
        let entry = PodEntry { pod, namespace, node: None, groups: [None; 2], alone: false };
        let id = self.pods.insert(entry);
        if let Some(namespace) = self.namespaces.there_mut(namespace) {
            namespace.pods.insert(id);
        }
        self.by_key.insert(key, id);
        id
    }

    /// Claims the addresses of a new pod, if no other one claims any of them. Returns true if none does.
    pub(in crate::translate) fn claim_alone(&mut self, id: PodId) -> bool {
        let Some(entry) = self.pods.there_mut(id) else { return false };
        let addresses = entry.pod.addresses().map_or(&[][..], |addresses| addresses);
        entry.alone = self.owners.claim_free(addresses, id);
        entry.alone
    }

    /// Looks whether other pods claim one of a pod's addresses; to be called when the claims of one have changed.
    pub(in crate::translate) fn review_claims(&mut self, id: PodId) {
        let Some(entry) = self.pods.there(id) else { return };
        let mut claimed = entry.pod.addresses().into_iter().flatten();
        let alone = claimed.all(|address| *self.owners.claimants(address) == [id]);
        if let Some(entry) = self.pods.there_mut(id) {
            entry.alone = alone;
        }
    }

    /// Forgets a pod.
    pub(in crate::translate) fn remove_pod(&mut self, id: PodId) {
        if let Some(entry) = self.pods.remove(id) {
            if let Some(namespace) = self.namespaces.there_mut(entry.namespace)
                && !namespace.pods.remove(id)
            {
                bug!("{id:?} is not in {:?}, its namespace", entry.namespace);
            }
            self.by_key.remove(self.key(entry.namespace, &entry.pod.key.name), id);
            self.release_namespace(entry.namespace);
        }
    }

    /// A namespace that is there.
    #[track_caller]
    pub(in crate::translate) fn namespace(&self, id: NamespaceId) -> Option<&NamespaceEntry> {
        self.namespaces.there(id)
    }

    #[track_caller]
    pub(in crate::translate) fn namespace_mut(&mut self, id: NamespaceId) -> Option<&mut NamespaceEntry> {
        self.namespaces.there_mut(id)
    }

    pub(in crate::translate) fn namespaces(&self) -> impl Iterator<Item = (NamespaceId, &NamespaceEntry)> {
        self.namespaces.iter()
    }

    /// The id of a namespace, which one more refers to.
    pub(in crate::translate) fn hold_namespace(&mut self, name: &NamespaceName) -> NamespaceId {
        // It may be gone, and another may have its id.
        let is_same = |id: &NamespaceId| self.namespaces.get(*id).is_some_and(|entry| entry.name == *name);
        let same = self.newest_namespace.filter(is_same);
        let id = same.or_else(|| self.by_namespace.get(name).copied()).unwrap_or_else(|| {
            let entry = NamespaceEntry {
                name: name.clone(),
                labels: None,
                pods: IdSet::default(),
                matching: Vec::new(),
                holders: Count::default(),
            };
            let id = self.namespaces.insert(entry);
            self.by_namespace.insert(name.clone(), id);
            id
        });
        if let Some(entry) = self.namespaces.there_mut(id) {
            entry.holders.one_more();
        }
        self.newest_namespace = Some(id);
        id
    }

    /// One fewer refers to a namespace.
    pub(in crate::translate) fn release_namespace(&mut self, id: NamespaceId) {
        let Some(entry) = self.namespaces.there_mut(id) else { return };
        if entry.holders.one_fewer() == 0
            && let Some(entry) = self.namespaces.remove(id)
            && self.by_namespace.remove(&entry.name) != Some(id)
        {
            bug!("{id:?} is not known by its name");
        }
    }

    /// A node that is there.
    #[track_caller]
    pub(in crate::translate) fn node(&self, id: NodeId) -> Option<&NodeEntry> {
        self.nodes.there(id)
    }

    #[track_caller]
    pub(in crate::translate) fn node_mut(&mut self, id: NodeId) -> Option<&mut NodeEntry> {
        self.nodes.there_mut(id)
    }

    pub(in crate::translate) fn nodes(&self) -> impl Iterator<Item = (NodeId, &NodeEntry)> {
        self.nodes.iter()
    }

    pub(in crate::translate) fn node_id(&self, name: &NodeName) -> Option<NodeId> {
        self.by_node.get(name).copied()
    }

    /// The id of a node, known or not.
    pub(in crate::translate) fn node_of(&mut self, name: &NodeName) -> NodeId {
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
            let id = self.nodes.insert(entry);
            self.by_node.insert(name.clone(), id);
            id
        })
    }

    /// Forgets a node if it has neither an object nor a pod.
    pub(in crate::translate) fn remove_node_if_gone(&mut self, id: NodeId) -> Option<NodeEntry> {
        if self.node(id).is_none_or(|node| node.object || !node.pods.is_empty()) {
            return None;
        }
        let node = self.nodes.remove(id)?;
        if self.by_node.remove(&node.name) != Some(id) {
            bug!("{id:?} is not known by its name");
        }
        Some(node)
    }

    /// The pods that own an address: those of its claimants whose claim to it is the strongest.
    pub(in crate::translate) fn owners_of(&self, address: &IpAddr) -> Vec<PodId> {
        let claim = |id: &PodId| self.pod(*id).map(|entry| entry.pod.claim());
        let claimants = self.owners.claimants(address);
        let strongest = claimants.iter().map(claim).max().flatten();
        claimants.iter().copied().filter(|id| claim(id) == strongest).collect()
    }

    /// The addresses that a pod owns, in order, and whether it is the only owner.
    pub(in crate::translate) fn owned(&self, id: PodId) -> impl Iterator<Item = (IpAddr, bool)> {
        let entry = self.pod(id);
        let alone = entry.is_some_and(|entry| entry.alone);
        let claimed = entry.and_then(|entry| entry.pod.addresses()).into_iter().flatten();
        // Nearly every pod shares no address. That is known of it, and spares looking for each one's claimants.
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
    pub(in crate::translate) fn owned_alone(&self, id: PodId) -> impl Iterator<Item = IpAddr> {
        self.owned(id).filter(|(_, alone)| *alone).map(|(address, _)| address)
    }

    /// Addresses with several owners, in order, with their owners in order of their keys.
    pub(in crate::translate) fn contested(&self) -> impl Iterator<Item = (IpAddr, Vec<PodId>)> {
        self.owners.shared().filter_map(|address| {
            let mut owners = self.owners_of(&address);
            // By key, for ids depend on what came first.
            owners.sort_by_key(|id| self.pod(*id).map(|entry| &entry.pod.key));
            (owners.len() > 1).then_some((address, owners))
        })
    }

    /// The families that pods have addresses of.
    pub(in crate::translate) fn families(&self) -> Families {
        self.owners.families()
    }

    /// Addresses with several owners, in order.
    pub(in crate::translate) fn disputes(&self) -> Vec<Dispute> {
        let owner = |entry: &PodEntry| DisputeOwner {
            pod: Arc::clone(&entry.pod),
            namespace: self.labels_around(entry).cloned(),
        };
        let contested = self.contested().map(|(address, owners)| Dispute {
            address,
            owners: owners.into_iter().filter_map(|id| self.pod(id)).map(owner).collect(),
        });
        contested.collect()
    }

    // Who a selector, a peer or a policy matches: the pods and namespaces of the cluster as it stands.

    /// Adds the pods that a peer matches.
    pub(in crate::translate) fn matching(&self, peer: &PodPeer, to: &mut Vec<PodId>) {
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
    fn matching_in(&self, namespaces: &[NamespaceId], peer: &PodPeer, to: &mut Vec<PodId>) {
        let here = || namespaces.iter().filter_map(|id| self.namespace(*id));
        let count: usize = here().map(|entry| entry.pods.len()).sum();
        let by_label = if count > FEW_PODS { self.pod_labels.candidates(&peer.pods) } else { None };
        let is = |id: &PodId| self.pod(*id).is_some_and(|entry| self.selects(peer, entry));
        // As few as the indexes can tell.
        match by_label {
            Some(found) if found.len() < count => to.extend(found.iter().filter(is)),
            _ => to.extend(here().flat_map(|entry| entry.pods.iter()).filter(is)),
        }
    }

    /// The pods that a policy selects.
    pub(in crate::translate) fn selected_by(&self, policy: &Policy) -> Vec<PodId> {
        let peer = PodPeer {
            namespaces: NamespaceScope::Named(policy.key.namespace.clone()),
            pods: policy.pod_selector.clone(),
        };
        let mut found = Vec::new();
        self.matching(&peer, &mut found);
        found
    }

    /// The namespaces that a selector matches.
    pub(in crate::translate) fn namespaces_matching(&self, selector: &Selector) -> Vec<NamespaceId> {
        let matches = |entry: &NamespaceEntry| entry.labels.as_ref().is_some_and(|l| selector.matches(l));
        match self.namespace_labels.candidates(selector) {
            Some(found) => found.iter().filter(|id| self.namespace(*id).is_some_and(matches)).collect(),
            None => self.namespaces().filter(|(_, entry)| matches(entry)).map(|(id, _)| id).collect(),
        }
    }

    /// Returns true if a peer matches a pod.
    pub(in crate::translate) fn selects(&self, peer: &PodPeer, entry: &PodEntry) -> bool {
        selects(peer, &entry.pod, || self.labels_around(entry))
    }

    /// The labels of a pod's namespace, if there is an object.
    pub(in crate::translate) fn labels_around(&self, entry: &PodEntry) -> Option<&Labels> {
        self.namespace(entry.namespace)?.labels.as_ref()
    }
}

/// An address with several owners.
pub(in crate::translate) struct Dispute {
    pub(in crate::translate) address: IpAddr,
    pub(in crate::translate) owners: Vec<DisputeOwner>,
}

/// An owner of a contested address, with what tells whether a peer matches it.
pub(in crate::translate) struct DisputeOwner {
    pub(in crate::translate) pod: Arc<Pod>,
    /// The labels of its namespace.
    namespace: Option<Labels>,
}

impl Dispute {
    /// Returns true if the address is one of `peers` if it belongs to that owner; `None`: by address alone.
    pub(in crate::translate) fn is_one_of(&self, peers: &PeerMatch, owner: Option<&DisputeOwner>) -> bool {
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

pub(in crate::translate) fn selects<'a>(
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
