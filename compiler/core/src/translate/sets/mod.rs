//! The sets of pods in use, whose members follow pods and namespaces.
//!
//! A pod is withdrawn from its sets before it changes and put back afterwards; what that comes to is settled once a
//! pass. Too large a set is counted and not stored.

pub(in crate::translate) mod membership;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use crate::collections::count::Count;
use crate::collections::ids::{NodeId, PodId, SetId};
use crate::collections::idset::IdSet;
use crate::collections::interner::Interner;
use crate::collections::parallel;
use crate::invariant::bug;
use crate::members::{Member, MemberEdit, Members, SetElement};
use crate::object::PortName;
use crate::output::{AddressSet, SetDefinition};
use crate::port::Protocol;
use crate::translate::index::cluster::{Cluster, PodEntry};
use crate::translate::index::peers::PeerIndex;
use crate::translate::sets::membership::{by_family, by_port, contribute, members_of, peers_of};

/// A set of pods that some rule set looks up.
#[derive(Debug)]
pub(in crate::translate) struct SetEntry {
    pub(in crate::translate) definition: Arc<SetDefinition>,
    /// The members as of the last pass; `None`: only counted.
    pub(in crate::translate) stored: Option<Arc<AddressSet>>,
    /// How many members there are.
    pub(in crate::translate) count: Count<u64>,
    /// How many rule sets within budget look it up.
    pub(in crate::translate) within: Count,
    /// The nodes whose outputs refer to it.
    pub(in crate::translate) nodes: IdSet<NodeId>,
}

/// What happened to the members of a set since the last pass.
#[derive(Debug, Default)]
struct Edits {
    v4: Vec<MemberEdit<Member<Ipv4Addr>>>,
    v6: Vec<MemberEdit<Member<Ipv6Addr>>>,
}

/// The sets in use.
#[derive(Debug)]
pub(in crate::translate) struct AddressSets {
    pub(in crate::translate) interner: Interner<SetId, SetEntry>,
    /// Sets with a destination that any pod with such a port is, or any in a block.
    by_port: HashMap<(Protocol, PortName), IdSet<SetId>>,
    /// Sets whose count has changed, or may have, with the edits of those that are stored.
    touched: BTreeMap<SetId, Edits>,
    /// Sets that are new, or to be stored from now on; some may come twice.
    unfilled: Vec<SetId>,
}

/// A pod about to change: the sets that it may enter or leave.
pub(in crate::translate) type Affected = Vec<SetId>;

impl AddressSets {
    pub(in crate::translate) fn new() -> Self {
        Self {
            interner: Interner::new(),
            by_port: HashMap::new(),
            touched: BTreeMap::new(),
            unfilled: Vec::new(),
        }
    }

    /// Has a definition be the one that all share, which one more holds; the id of its set. A new set has no members before [`Self::fill`].
    pub(in crate::translate) fn hold(
        &mut self,
        definition: &mut Arc<SetDefinition>,
        cluster: &mut Cluster,
        peers: &mut PeerIndex,
    ) -> SetId {
        let known = self.interner.find(&definition.identity, &definition.name);
        let id = known.unwrap_or_else(|| {
            let part = SetEntry {
                definition: Arc::clone(definition),
                stored: None,
                count: Count::default(),
                within: Count::default(),
                nodes: IdSet::default(),
            };
            let id = self.interner.add(definition.identity, definition.name, part);
            self.unfilled.push(id);
            self.file(id, cluster, peers);
            id
        });
        if let Some(part) = self.interner.hold(id) {
            *definition = Arc::clone(&part.definition);
        }
        id
    }

    /// One fewer holds the set of a definition.
    pub(in crate::translate) fn release(&mut self, definition: &SetDefinition) {
        self.id_of(definition).into_iter().for_each(|id| self.interner.release(id));
    }

    /// The id of the set of a definition, which somebody holds.
    pub(in crate::translate) fn id_of(&self, definition: &SetDefinition) -> Option<SetId> {
        self.interner.id_of(&definition.identity, &definition.name)
    }

    fn file(&mut self, id: SetId, cluster: &mut Cluster, peers: &mut PeerIndex) {
        let Some(part) = self.interner.there(id) else { return };
        let definition = Arc::clone(&part.value.definition);
        peers_of(&definition.rule).for_each(|peer| peers.hold(peer, id, cluster));
        for port in by_port(&definition.rule) {
            self.by_port.entry(port).or_default().insert(id);
        }
    }

    /// Forgets the sets that nobody holds any more.
    pub(in crate::translate) fn sweep(&mut self, cluster: &mut Cluster, peers: &mut PeerIndex) {
        for (id, part) in self.interner.sweep() {
            let rule = &part.value.definition.rule;
            peers_of(rule).for_each(|peer| peers.release(peer, id, cluster));
            for port in by_port(rule) {
                // A rule may name a port several times, which was taken off the first time.
                if let Some(sets) = self.by_port.get_mut(&port) {
                    sets.remove(id);
                    if sets.is_empty() {
                        self.by_port.remove(&port);
                    }
                }
            }
            // Another set may get its id, and must not get its edits.
            self.touched.remove(&id);
        }
    }

    /// A rule set within budget looks the set up: [`Self::fill`] is to store its members.
    pub(in crate::translate) fn store(&mut self, id: SetId) {
        let Some(part) = self.interner.there_mut(id) else { return };
        // While it was only counted no edits were kept, so its members are made from the pods as they stand.
        if part.value.within.one_more() == 1 {
            self.unfilled.push(id);
        }
    }

    /// Counts the members of new sets, and stores those of sets that are to be.
    pub(in crate::translate) fn fill(&mut self, cluster: &Cluster) {
        let mut unfilled = std::mem::take(&mut self.unfilled);
        unfilled.sort_unstable();
        unfilled.dedup();
        let filled = parallel::map(&unfilled, |id| {
            let part = &self.interner.there(*id)?.value;
            let members = members_of(&part.definition.rule, cluster);
            let count = Count::of(members.len() as u64);
            // Counted in any case. Stored only if a rule set within budget looks it up.
            let stored = (!part.within.is_zero()).then(|| {
                let (v4, v6) = by_family(members);
                Arc::new(AddressSet::new(Arc::clone(&part.definition), v4, v6))
            });
            Some((count, stored))
        });
        for (id, filled) in unfilled.into_iter().zip(filled) {
            let (Some(part), Some((count, stored))) = (self.interner.there_mut(id), filled) else { continue };
            part.value.count = count;
            part.value.stored = stored;
            // What pods did to it in the meantime is in its members already; that its count may differ stays.
            if let Some(edits) = self.touched.get_mut(&id) {
                *edits = Edits::default();
            }
        }
    }

    /// One rule set within budget fewer looks the set up.
    pub(in crate::translate) fn discard(&mut self, id: SetId) {
        if let Some(part) = self.interner.there_mut(id)
            && part.value.within.one_fewer() == 0
        {
            part.value.stored = None;
        }
    }

    /// The sets that a pod as it stands is in.
    pub(in crate::translate) fn of_pod(
        &self,
        entry: &PodEntry,
        cluster: &Cluster,
        peers: &PeerIndex,
    ) -> Affected {
        let mut sets = peers.sets_of(entry, cluster);
        if !self.by_port.is_empty() {
            let ports = entry.pod.ports.iter();
            let found = ports.filter_map(|p| self.by_port.get(&(p.protocol, p.name.clone())));
            sets.extend(found.flat_map(IdSet::iter));
            sets.sort_unstable();
            sets.dedup();
        }
        sets
    }

    /// Takes a pod out of these sets, as it stands.
    pub(in crate::translate) fn withdraw(&mut self, id: PodId, sets: &[SetId], cluster: &Cluster) {
        self.record(id, sets, cluster, false);
    }

    /// Puts a pod into those of these sets that it belongs to, as it stands.
    pub(in crate::translate) fn put_back(&mut self, id: PodId, sets: &[SetId], cluster: &Cluster) {
        self.record(id, sets, cluster, true);
    }

    fn record(&mut self, id: PodId, sets: &[SetId], cluster: &Cluster, present: bool) {
        let Some(entry) = cluster.pod(id) else { return };
        let mut members = Vec::new();
        for set in sets {
            let Some(part) = self.interner.there_mut(*set) else { continue };
            let part = &mut part.value;
            contribute(&part.definition.rule, id, entry, cluster, &mut members);
            for Member { address, service } in members.drain(..) {
                // Counted also where it is not stored, so that it is noticed when the set fits its budget again.
                part.count.step(present);
                // Also without an edit: budgets are reviewed for each set that is touched.
                let edits = self.touched.entry(*set).or_default();
                if part.stored.is_some() {
                    match address {
                        IpAddr::V4(address) => edits.v4.push((Member { address, service }, present)),
                        IpAddr::V6(address) => edits.v6.push((Member { address, service }, present)),
                    }
                }
            }
        }
    }

    /// Makes the edits so far into new members; the sets that differ from before, in order, and those whose count
    /// may have changed.
    pub(in crate::translate) fn settle(&mut self) -> (Vec<SetId>, BTreeSet<SetId>) {
        let touched = std::mem::take(&mut self.touched);
        let counted = touched.keys().copied().collect();
        let mut changed = Vec::new();
        for (id, mut edits) in touched {
            let Some(part) = self.interner.there_mut(id) else { continue };
            let part = &mut part.value;
            let Some(stored) = &part.stored else { continue };
            let edits4 = effective(&mut edits.v4, &stored.v4);
            let edits6 = effective(&mut edits.v6, &stored.v6);
            // Most often a pod was withdrawn and put back with the same addresses.
            if edits4.is_empty() && edits6.is_empty() {
                continue;
            }
            let (v4, v6) = (stored.v4.edited(&edits4), stored.v6.edited(&edits6));
            part.stored = Some(Arc::new(AddressSet::new(Arc::clone(&part.definition), v4, v6)));
            changed.push(id);
        }
        (changed, counted)
    }

    /// A node's output refers to these sets.
    pub(in crate::translate) fn join<'a>(&mut self, node: NodeId, sets: impl IntoIterator<Item = &'a SetId>) {
        for set in sets {
            if let Some(part) = self.interner.there_mut(*set) {
                part.value.nodes.insert(node);
            }
        }
    }

    /// A node's output refers to these sets no longer.
    pub(in crate::translate) fn leave<'a>(
        &mut self,
        node: NodeId,
        sets: impl IntoIterator<Item = &'a SetId>,
    ) {
        for set in sets {
            // Sets that nobody looks up any more are swept before the nodes are looked at.
            if let Some(part) = self.interner.get_mut(*set)
                && !part.value.nodes.remove(node)
            {
                bug!("{set:?} does not know that {node:?} refers to it");
            }
        }
    }
}

/// What the edits come to, in order, without those that change nothing; the last one of an element counts.
pub(in crate::translate) fn effective<T: SetElement>(
    edits: &mut Vec<MemberEdit<T>>,
    members: &Members<T>,
) -> Vec<MemberEdit<T>> {
    let mut edits = std::mem::take(edits);
    // A stable sort: edits of one element stay in the order in which they were made.
    edits.sort_by_key(|(element, _)| *element);
    let mut last: Vec<MemberEdit<T>> = Vec::with_capacity(edits.len());
    for edit in edits {
        match last.last_mut() {
            Some(known) if known.0 == edit.0 => *known = edit,
            _ => last.push(edit),
        }
    }
    last.retain(|(element, present)| members.contains(element) != *present);
    last
}
