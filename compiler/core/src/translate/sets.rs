//! The sets of pods in use, whose members follow pods and namespaces.
//!
//! A pod is withdrawn from its sets before it changes and put back afterwards; what that comes to is settled once a
//! pass. Too large a set is counted and not stored.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use super::cluster::{Cluster, PodEntry};
use super::membership::{by_family, by_port, contribute, members_of, peers_of};
use super::peers::PeerIndex;
use super::plan::SetPlan;
use super::registry::Registry;
use crate::identity::Name;
use crate::idset::IdSet;
use crate::members::{Edit, Element, Member, Members};
use crate::object::PortName;
use crate::output::{MemberSet, SetDefinition};
use crate::parallel;
use crate::port::Protocol;

/// A set of pods that some rule set looks up.
#[derive(Debug)]
pub(super) struct SetPart {
    pub(super) definition: Arc<SetDefinition>,
    /// The members as of the last pass; `None`: only counted.
    pub(super) stored: Option<Arc<MemberSet>>,
    /// How many members there are.
    pub(super) count: usize,
    /// How many rule sets within budget look it up.
    pub(super) within: u32,
    /// The nodes whose outputs refer to it.
    pub(super) nodes: IdSet,
}

/// What happened to the members of a set since the last pass.
#[derive(Debug, Default)]
struct Edits {
    v4: Vec<Edit<Member<Ipv4Addr>>>,
    v6: Vec<Edit<Member<Ipv6Addr>>>,
}

/// The sets in use.
#[derive(Debug)]
pub(super) struct Sets {
    pub(super) registry: Registry<SetPart>,
    /// Sets with a destination that any pod with such a port is, or any in a block.
    by_port: HashMap<(Protocol, PortName), IdSet>,
    /// Sets whose count has changed, or may have, with the edits of those that are stored.
    touched: BTreeMap<u32, Edits>,
    /// Sets that are new, or to be stored from now on; some may come twice.
    unfilled: Vec<u32>,
}

/// A pod about to change: the sets that it may enter or leave.
pub(super) type Affected = Vec<u32>;

impl Sets {
    pub(super) fn new() -> Self {
        Self {
            registry: Registry::new(),
            by_port: HashMap::new(),
            touched: BTreeMap::new(),
            unfilled: Vec::new(),
        }
    }

    /// The set of a plan, which one more holds. A new one has no members before [`Self::fill`].
    pub(super) fn hold(&mut self, plan: SetPlan, cluster: &mut Cluster, peers: &mut PeerIndex) -> u32 {
        let SetPlan { identity, rule } = plan;
        let id = self.registry.find(&identity).unwrap_or_else(|| {
            let id = self.registry.add(identity, |name| SetPart {
                definition: Arc::new(SetDefinition { name: name.clone(), rule }),
                stored: None,
                count: 0,
                within: 0,
                nodes: IdSet::default(),
            });
            self.unfilled.push(id);
            self.file(id, cluster, peers);
            id
        });
        self.registry.hold(id);
        id
    }

    fn file(&mut self, id: u32, cluster: &mut Cluster, peers: &mut PeerIndex) {
        let Some(part) = self.registry.get(id) else { return };
        let definition = Arc::clone(&part.value.definition);
        peers_of(&definition.rule).for_each(|peer| peers.hold(peer, id, cluster));
        for port in by_port(&definition.rule) {
            self.by_port.entry(port).or_default().insert(id);
        }
    }

    /// Forgets the sets that nobody holds any more.
    pub(super) fn sweep(&mut self, cluster: &mut Cluster, peers: &mut PeerIndex) {
        for (id, part) in self.registry.sweep() {
            let rule = &part.value.definition.rule;
            peers_of(rule).for_each(|peer| peers.release(peer, id, cluster));
            for port in by_port(rule) {
                if let Some(sets) = self.by_port.get_mut(&port) {
                    sets.remove(id);
                    if sets.is_empty() {
                        self.by_port.remove(&port);
                    }
                }
            }
            self.touched.remove(&id);
        }
    }

    /// A rule set within budget looks the set up: [`Self::fill`] is to store its members.
    pub(super) fn store(&mut self, id: u32) {
        let Some(part) = self.registry.get_mut(id) else { return };
        part.value.within += 1;
        if part.value.within == 1 {
            self.unfilled.push(id);
        }
    }

    /// Counts the members of new sets, and stores those of sets that are to be.
    pub(super) fn fill(&mut self, cluster: &Cluster) {
        let mut unfilled = std::mem::take(&mut self.unfilled);
        unfilled.sort_unstable();
        unfilled.dedup();
        let filled = parallel::map(&unfilled, |id| {
            let part = &self.registry.get(*id)?.value;
            let members = members_of(&part.definition.rule, cluster);
            let count = members.len();
            let stored = (part.within > 0).then(|| {
                let (v4, v6) = by_family(members);
                Arc::new(MemberSet::new(Arc::clone(&part.definition), v4, v6))
            });
            Some((count, stored))
        });
        for (id, filled) in unfilled.into_iter().zip(filled) {
            let (Some(part), Some((count, stored))) = (self.registry.get_mut(id), filled) else { continue };
            part.value.count = count;
            part.value.stored = stored;
            if let Some(edits) = self.touched.get_mut(&id) {
                *edits = Edits::default();
            }
        }
    }

    /// One rule set within budget fewer looks the set up.
    pub(super) fn discard(&mut self, id: u32) {
        if let Some(part) = self.registry.get_mut(id) {
            part.value.within -= 1;
            if part.value.within == 0 {
                part.value.stored = None;
            }
        }
    }

    /// The sets that a pod as it stands is in.
    pub(super) fn of_pod(&self, entry: &PodEntry, cluster: &Cluster, peers: &PeerIndex) -> Affected {
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
    pub(super) fn withdraw(&mut self, id: u32, sets: &[u32], cluster: &Cluster) {
        self.record(id, sets, cluster, false);
    }

    /// Puts a pod into those of these sets that it belongs to, as it stands.
    pub(super) fn put_back(&mut self, id: u32, sets: &[u32], cluster: &Cluster) {
        self.record(id, sets, cluster, true);
    }

    fn record(&mut self, id: u32, sets: &[u32], cluster: &Cluster, present: bool) {
        let Some(entry) = cluster.pod(id) else { return };
        let mut members = Vec::new();
        for set in sets {
            let Some(part) = self.registry.get_mut(*set) else { continue };
            let part = &mut part.value;
            contribute(&part.definition.rule, id, entry, cluster, &mut members);
            for Member { address, service } in members.drain(..) {
                if present {
                    part.count += 1;
                } else {
                    part.count -= 1;
                }
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
    pub(super) fn settle(&mut self) -> (Vec<u32>, BTreeSet<u32>) {
        let touched = std::mem::take(&mut self.touched);
        let counted = touched.keys().copied().collect();
        let mut changed = Vec::new();
        for (id, mut edits) in touched {
            let Some(part) = self.registry.get_mut(id) else { continue };
            let part = &mut part.value;
            let Some(stored) = &part.stored else { continue };
            let edits4 = effective(&mut edits.v4, &stored.v4);
            let edits6 = effective(&mut edits.v6, &stored.v6);
            if edits4.is_empty() && edits6.is_empty() {
                continue;
            }
            let (v4, v6) = (stored.v4.edited(&edits4), stored.v6.edited(&edits6));
            part.stored = Some(Arc::new(MemberSet::new(Arc::clone(&part.definition), v4, v6)));
            changed.push(id);
        }
        (changed, counted)
    }

    /// A node's output refers to these sets.
    pub(super) fn join<'a>(&mut self, node: u32, sets: impl IntoIterator<Item = &'a u32>) {
        for set in sets {
            if let Some(part) = self.registry.get_mut(*set) {
                part.value.nodes.insert(node);
            }
        }
    }

    /// A node's output refers to these sets no longer.
    pub(super) fn leave<'a>(&mut self, node: u32, sets: impl IntoIterator<Item = &'a u32>) {
        for set in sets {
            if let Some(part) = self.registry.get_mut(*set) {
                part.value.nodes.remove(node);
            }
        }
    }

    /// Gives the sets whose names have changed their new ones; whether there were any.
    pub(super) fn rename(&mut self) -> bool {
        if !self.registry.take_renamed() {
            return false;
        }
        for (_, part) in self.registry.iter_mut() {
            let (name, set): (&Name, &mut SetPart) = (&part.name, &mut part.value);
            if *name == set.definition.name {
                continue;
            }
            let rule = set.definition.rule.clone();
            set.definition = Arc::new(SetDefinition { name: name.clone(), rule });
            if let Some(stored) = &set.stored {
                let (v4, v6) = (stored.v4.clone(), stored.v6.clone());
                set.stored = Some(Arc::new(MemberSet::new(Arc::clone(&set.definition), v4, v6)));
            }
        }
        true
    }
}

/// What the edits come to, in order, without those that change nothing; the last one of an element counts.
pub(super) fn effective<T: Element>(edits: &mut Vec<Edit<T>>, members: &Members<T>) -> Vec<Edit<T>> {
    let mut edits = std::mem::take(edits);
    edits.sort_by_key(|(element, _)| *element);
    let mut last: Vec<Edit<T>> = Vec::with_capacity(edits.len());
    for edit in edits {
        match last.last_mut() {
            Some(known) if known.0 == edit.0 => *known = edit,
            _ => last.push(edit),
        }
    }
    last.retain(|(element, present)| members.contains(element) != *present);
    last
}
