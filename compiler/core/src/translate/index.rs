//! The world indexed for one translation: pods with a network of their own, their addresses, and who matches a peer.

use std::collections::BTreeMap;
use std::net::IpAddr;

use flock_shared::{NamespaceName, PodKey};

use crate::object::{Namespace, NamespaceScope, Peer, PeerMatch, Pod, PodPeer};
use crate::output::Families;
use crate::world::World;

/// A pod that owns at least one address.
pub(super) struct Owner<'w> {
    pub(super) pod: &'w Pod,
    /// Addresses that no other pod owns.
    pub(super) addresses: Vec<IpAddr>,
    /// Addresses that it shares with other pods.
    pub(super) contested: Vec<IpAddr>,
}

impl Owner<'_> {
    /// Every address that the pod owns, in order.
    pub(super) fn all_addresses(&self) -> impl Iterator<Item = IpAddr> {
        self.addresses.iter().chain(&self.contested).copied()
    }
}

/// The world indexed for one translation.
pub(super) struct Index<'w> {
    namespaces: &'w BTreeMap<NamespaceName, Namespace>,
    owners: BTreeMap<&'w NamespaceName, Vec<Owner<'w>>>,
    contested: BTreeMap<IpAddr, Vec<&'w Pod>>,
    families: Families,
}

impl<'w> Index<'w> {
    pub(super) fn of(world: &'w World) -> Self {
        let mut by_pod: BTreeMap<&'w PodKey, Owner<'w>> = BTreeMap::new();
        let mut contested = BTreeMap::new();
        let mut families = Families::default();
        for (address, pods) in world.owners() {
            match address {
                IpAddr::V4(_) => families.v4 = true,
                IpAddr::V6(_) => families.v6 = true,
            }
            for pod in &pods {
                let owner = by_pod.entry(&pod.key).or_insert_with(|| Owner {
                    pod,
                    addresses: Vec::new(),
                    contested: Vec::new(),
                });
                if pods.len() == 1 { owner.addresses.push(address) } else { owner.contested.push(address) }
            }
            if pods.len() > 1 {
                contested.insert(address, pods);
            }
        }
        let mut owners: BTreeMap<&NamespaceName, Vec<Owner<'_>>> = BTreeMap::new();
        for (key, owner) in by_pod {
            owners.entry(&key.namespace).or_default().push(owner);
        }
        Self { namespaces: world.namespaces(), owners, contested, families }
    }

    /// The families that pods have addresses of.
    pub(super) const fn families(&self) -> Families {
        self.families
    }

    /// Every pod that owns an address, by namespace and name.
    pub(super) fn owners(&self) -> impl Iterator<Item = &Owner<'w>> {
        self.owners.values().flatten()
    }

    /// The owning pods of one namespace.
    pub(super) fn owners_in(&self, namespace: &NamespaceName) -> &[Owner<'w>] {
        self.owners.get(namespace).map_or(&[], Vec::as_slice)
    }

    /// Addresses with several owners.
    pub(super) const fn contested(&self) -> &BTreeMap<IpAddr, Vec<&'w Pod>> {
        &self.contested
    }

    /// The owning pods that a selector peer matches.
    pub(super) fn matching<'a>(&'a self, peer: &'a PodPeer) -> impl Iterator<Item = &'a Owner<'w>> + 'a {
        let namespaces: Vec<&NamespaceName> = match &peer.namespaces {
            NamespaceScope::Named(name) => vec![name],
            NamespaceScope::Matching(selector) => self
                .namespaces
                .values()
                .filter(|namespace| selector.matches(&namespace.labels))
                .map(|namespace| &namespace.name)
                .collect(),
        };
        namespaces
            .into_iter()
            .flat_map(|namespace| self.owners_in(namespace))
            .filter(|owner| peer.pods.matches(&owner.pod.labels))
    }

    /// Whether `address` is one of `peers` if `pod` owns it; `None`: by address alone.
    pub(super) fn matches(&self, peers: &PeerMatch, pod: Option<&Pod>, address: IpAddr) -> bool {
        match peers {
            PeerMatch::Any => true,
            PeerMatch::OneOf(peers) => peers.iter().any(|peer| match peer {
                Peer::Pods(peer) => pod.is_some_and(|pod| self.selects(peer, pod)),
                Peer::Block(block) => block.blocks().contains(address),
            }),
        }
    }

    fn selects(&self, peer: &PodPeer, pod: &Pod) -> bool {
        let namespace = match &peer.namespaces {
            NamespaceScope::Named(name) => *name == pod.key.namespace,
            NamespaceScope::Matching(selector) => self
                .namespaces
                .get(&pod.key.namespace)
                .is_some_and(|namespace| selector.matches(&namespace.labels)),
        };
        namespace && peer.pods.matches(&pod.labels)
    }
}
