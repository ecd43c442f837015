//! From drafts to rule sets: names for everything that is shared, and the members of address sets.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use super::budget::{self, OverBudget};
use super::draft::{NamedDestination, RuleDraft, Union};
use super::index::{Index, Owner};
use crate::block::Blocks;
use crate::identity::{Digest, Identify, Identity, Name, ShortHash, name_all};
use crate::object::{Peer, PodPeer};
use crate::output::{AddressSet, DestinationSet, NamedBlocks, Peers, RuleSet};

/// A part of a rule set that has a name of its own.
enum Part<'a> {
    RuleSet(&'a RuleDraft),
    Peers(&'a Union),
    Addresses(&'a BTreeSet<PodPeer>),
    Blocks4(&'a Blocks),
    Blocks6(&'a Blocks),
    Destinations(&'a BTreeSet<NamedDestination>),
}

impl Identify for Part<'_> {
    fn identify(&self, digest: &mut Digest) {
        match self {
            Self::RuleSet(draft) => {
                digest.tag(0);
                draft.identify(digest);
            }
            Self::Peers(union) => {
                digest.tag(1);
                union.identify(digest);
            }
            Self::Addresses(peers) => {
                digest.tag(2);
                digest.each(peers.iter());
            }
            Self::Blocks4(blocks) => {
                digest.tag(3);
                Blocks { v4: blocks.v4.clone(), ..Blocks::default() }.identify(digest);
            }
            Self::Blocks6(blocks) => {
                digest.tag(4);
                Blocks { v6: blocks.v6.clone(), ..Blocks::default() }.identify(digest);
            }
            Self::Destinations(names) => {
                digest.tag(5);
                digest.each(names.iter());
            }
        }
    }
}

/// Builds the rule sets of all drafts of a translation; what is equal is built once.
pub(super) struct Builder<'a, 'w> {
    index: &'a Index<'w>,
    names: BTreeMap<Identity, Name>,
    members: BTreeMap<PodPeer, Arc<[IpAddr]>>,
    rule_sets: BTreeMap<Identity, Arc<RuleSet>>,
    peers: BTreeMap<Identity, Arc<Peers>>,
    addresses: BTreeMap<Identity, Arc<AddressSet>>,
    destinations: BTreeMap<Identity, Arc<DestinationSet>>,
}

impl<'a, 'w> Builder<'a, 'w> {
    /// A builder that has a name for every part of `drafts`.
    pub(super) fn new<'d>(
        index: &'a Index<'w>,
        drafts: impl IntoIterator<Item = &'d RuleDraft>,
        hash: ShortHash,
    ) -> Self {
        let mut identities = BTreeSet::new();
        for draft in drafts {
            identities.insert(Part::RuleSet(draft).identity());
            identities.insert(Part::Destinations(&draft.named).identity());
            for union in std::iter::once(&draft.any_port).chain(draft.ports.iter().map(|(_, union)| union)) {
                identities.extend(parts_of(union).map(|part| part.identity()));
            }
        }
        Self {
            index,
            names: name_all(identities, hash),
            members: BTreeMap::new(),
            rule_sets: BTreeMap::new(),
            peers: BTreeMap::new(),
            addresses: BTreeMap::new(),
            destinations: BTreeMap::new(),
        }
    }

    /// The rule set of a draft that was given to [`Self::new`].
    ///
    /// # Errors
    /// When its address sets go over budget.
    pub(super) fn rule_set(&mut self, draft: &RuleDraft) -> Result<Arc<RuleSet>, OverBudget> {
        let identity = Part::RuleSet(draft).identity();
        if let Some(built) = self.rule_sets.get(&identity) {
            return Ok(Arc::clone(built));
        }
        self.check_members(draft)?;
        let built = Arc::new(RuleSet {
            name: self.name(&identity),
            direction: draft.direction,
            any_port: (*self.peers(&draft.any_port)).clone(),
            ports: draft.ports.iter().map(|(range, union)| (*range, self.peers(union))).collect(),
            named: (!draft.named.is_empty()).then(|| self.destinations(&draft.named)),
            contested: draft.contested.clone(),
        });
        self.rule_sets.insert(identity, Arc::clone(&built));
        Ok(built)
    }

    /// Counts before anything is built; a pod that several selectors of a union match counts several times.
    fn check_members(&mut self, draft: &RuleDraft) -> Result<(), OverBudget> {
        let unions = std::iter::once(&draft.any_port).chain(draft.ports.iter().map(|(_, union)| union));
        let mut members = 0usize;
        for peer in unions.flat_map(|union| &union.pods) {
            members += self.members(peer).len();
            if members > budget::MEMBERS {
                return Err(OverBudget::Members);
            }
        }
        Ok(())
    }

    /// The uncontested addresses of the pods that one selector matches, found once.
    fn members(&mut self, peer: &PodPeer) -> Arc<[IpAddr]> {
        if let Some(found) = self.members.get(peer) {
            return Arc::clone(found);
        }
        let found: Arc<[IpAddr]> =
            self.index.matching(peer).flat_map(|owner| owner.addresses.iter().copied()).collect();
        self.members.insert(peer.clone(), Arc::clone(&found));
        found
    }

    fn name(&self, identity: &Identity) -> Name {
        // Every part of every draft was named in `new`; a missing name would be a part that `new` does not walk.
        self.names
            .get(identity)
            .cloned()
            .unwrap_or_else(|| unreachable!("a part without a name: {identity:?}"))
    }

    fn peers(&mut self, union: &Union) -> Arc<Peers> {
        let identity = Part::Peers(union).identity();
        if let Some(built) = self.peers.get(&identity) {
            return Arc::clone(built);
        }
        let blocks = NamedBlocks {
            v4_name: self.name(&Part::Blocks4(&union.blocks).identity()),
            v6_name: self.name(&Part::Blocks6(&union.blocks).identity()),
            blocks: union.blocks.clone(),
        };
        let pods = (!union.pods.is_empty()).then(|| self.addresses(&union.pods));
        let built = Arc::new(Peers { name: self.name(&identity), pods, blocks });
        self.peers.insert(identity, Arc::clone(&built));
        built
    }

    fn addresses(&mut self, selectors: &BTreeSet<PodPeer>) -> Arc<AddressSet> {
        let identity = Part::Addresses(selectors).identity();
        if let Some(built) = self.addresses.get(&identity) {
            return Arc::clone(built);
        }
        let (mut v4, mut v6) = (BTreeSet::new(), BTreeSet::new());
        for peer in selectors {
            for address in &*self.members(peer) {
                match address {
                    IpAddr::V4(address) => v4.insert(*address),
                    IpAddr::V6(address) => v6.insert(*address),
                };
            }
        }
        let built = Arc::new(AddressSet {
            name: self.name(&identity),
            selectors: selectors.clone(),
            v4: Arc::new(v4),
            v6: Arc::new(v6),
        });
        self.addresses.insert(identity, Arc::clone(&built));
        built
    }

    fn destinations(&mut self, names: &BTreeSet<NamedDestination>) -> Arc<DestinationSet> {
        let identity = Part::Destinations(names).identity();
        if let Some(built) = self.destinations.get(&identity) {
            return Arc::clone(built);
        }
        let mut members = BTreeSet::new();
        for named in names {
            let mut add = |owner: &Owner<'_>, within: &dyn Fn(IpAddr) -> bool| {
                for number in owner.pod.numbers(named.protocol, &named.name) {
                    let reached = owner.addresses.iter().filter(|address| within(**address));
                    members.extend(reached.map(|address| (*address, named.protocol, number)));
                }
            };
            match &named.peer {
                None => self.index.owners().for_each(|owner| add(owner, &|_| true)),
                Some(Peer::Pods(peer)) => self.index.matching(peer).for_each(|owner| add(owner, &|_| true)),
                Some(Peer::Block(block)) => {
                    self.index
                        .owners()
                        .for_each(|owner| add(owner, &|address| block.blocks().contains(address)));
                }
            }
        }
        let built = Arc::new(DestinationSet {
            name: self.name(&identity),
            names: names.iter().map(|named| (named.protocol, named.name.clone())).collect(),
            members,
        });
        self.destinations.insert(identity, Arc::clone(&built));
        built
    }
}

fn parts_of(union: &Union) -> impl Iterator<Item = Part<'_>> {
    [
        Part::Peers(union),
        Part::Addresses(&union.pods),
        Part::Blocks4(&union.blocks),
        Part::Blocks6(&union.blocks),
    ]
    .into_iter()
}
