//! From drafts to rule sets: what is equal is one part, with a name, held by those that refer to it.

mod load;
mod rename;
mod storage;
mod tenancy;

use std::collections::BTreeSet;
use std::sync::Arc;

use smallvec::SmallVec;

use self::tenancy::Tenancies;
use super::budget::{Budgets, OverBudget};
use super::cluster::Cluster;
use super::load::Load;
use super::peers::PeerIndex;
use super::plan::{Plan, SetPlan, UnionPlan};
use super::registry::Registry;
use super::sets::Sets;
use crate::block::{Family, Ranges};
use crate::identity::{Digest, Hashed, Identity, Name};
use crate::output::{BlockSet, Fingerprint, NamedRanges, Peers, RuleSet, Union};

/// A rule set has a budget of members if it looks up more different sets than this. Fewer could only go over it in a
/// cluster of half a million pods.
const FEW_SETS: usize = 8;

/// The parts that a union refers to.
#[derive(Debug, Clone, Copy, Default)]
struct UnionIds {
    set: Option<u32>,
    v4: Option<u32>,
    v6: Option<u32>,
}

/// A union with a chain of its own.
#[derive(Debug)]
struct PeersPart {
    peers: Arc<Peers>,
    ids: UnionIds,
}

/// Mostly so few that they need no allocation.
type Few = SmallVec<[u32; 4]>;

/// A rule set, and what it refers to.
#[derive(Debug)]
pub(super) struct RuleSetPart {
    pub(super) rules: Arc<RuleSet>,
    any_port: UnionIds,
    peers: Few,
    named: Option<u32>,
    /// Every set that its chains look up, each once, in order.
    pub(super) sets: Few,
    /// Whether it has gone over budget: its pods are closed.
    pub(super) over: Option<OverBudget>,
    /// What it comes to by itself, without the sets of pods that it looks up.
    load: Load,
    /// How many groups of namespaces within budget have it.
    live: u32,
    /// Whether it has its sets stored: it is within budget, and so is a namespace that has it.
    stores: bool,
}

/// Every part that outputs are made of.
#[derive(Debug)]
pub(super) struct Parts {
    pub(super) rule_sets: Registry<RuleSetPart>,
    peers: Registry<PeersPart>,
    blocks4: Registry<Arc<NamedRanges<u32>>>,
    blocks6: Registry<Arc<NamedRanges<u128>>>,
    pub(super) sets: Sets,
    /// Rule sets with many sets, by set.
    wide: BTreeSet<(u32, u32)>,
    /// Rule sets over budget.
    over: BTreeSet<u32>,
    /// New rule sets with many sets, whose members have not been counted yet; and those of namespaces with many.
    uncounted: Vec<u32>,
    tenancies: Tenancies,
    /// Namespaces that have gone over budget since the last review, or came back.
    crossed: BTreeSet<u32>,
    /// The most addresses that the sets of one namespace may hold.
    members: u64,
}

/// What acquiring parts needs beside them.
pub(super) struct Ground<'a> {
    pub(super) cluster: &'a mut Cluster,
    pub(super) peers: &'a mut PeerIndex,
}

impl Parts {
    pub(super) fn new(budgets: Budgets) -> Self {
        Self {
            rule_sets: Registry::new(),
            peers: Registry::new(),
            blocks4: Registry::new(),
            blocks6: Registry::new(),
            sets: Sets::new(),
            wide: BTreeSet::new(),
            over: BTreeSet::new(),
            uncounted: Vec::new(),
            tenancies: Tenancies::new(budgets),
            crossed: BTreeSet::new(),
            members: budgets.members,
        }
    }

    /// The rule set of a plan, which one more group of a namespace has. The sets that it looks up are not stored before
    /// [`Self::fill`].
    pub(super) fn hold(&mut self, plan: Plan, namespace: u32, ground: &mut Ground<'_>) -> u32 {
        let id = self.rule_sets.find(&plan.identity).unwrap_or_else(|| self.add(plan, ground));
        self.rule_sets.hold(id);
        if let Some(part) = self.rule_sets.get_mut(id)
            && self.tenancies.enter(namespace, id, &part.value.sets)
        {
            part.value.live += 1;
        }
        self.use_sets(id, namespace);
        id
    }

    fn add(&mut self, plan: Plan, ground: &mut Ground<'_>) -> u32 {
        let Plan { identity, direction, any_port, ports: ranges, unions, named, contested } = plan;
        let (any_port, any_port_ids) = self.union(any_port, ground);
        let named = named.map(|plan| self.set(plan, ground));
        // One that is empty has no ports; equal ones are the same part.
        let filled = |plan: UnionPlan| (!plan.is_empty()).then(|| self.peers(plan, ground));
        let unions: Vec<Option<u32>> = unions.into_iter().map(filled).collect();
        let mut peers_ids = Few::with_capacity(ranges.len());
        let mut ports = Vec::with_capacity(ranges.len());
        for (range, place) in ranges {
            let Some(id) = unions.get(place).copied().flatten() else { continue };
            let Some(part) = self.peers.get(id) else { continue };
            ports.push((range, Arc::clone(&part.value.peers)));
            peers_ids.push(id);
            self.peers.hold(id);
        }
        let in_ports = peers_ids.iter().filter_map(|id| self.peers.get(*id)?.value.ids.set);
        let mut sets: Few = in_ports.chain(any_port_ids.set).chain(named).collect();
        sets.sort_unstable();
        sets.dedup();
        let definition = named.and_then(|id| self.sets.registry.get(id)).map(|part| &part.value.definition);
        let definition = definition.map(Arc::clone);
        let id = self.rule_sets.add(identity, |name| {
            let identity = identity.identity;
            let rules = RuleSet {
                digest: identity,
                fingerprint: Fingerprint::default(),
                name: name.clone(),
                direction,
                any_port,
                ports: ports.into(),
                named: definition,
                contested,
            };
            RuleSetPart {
                rules: Arc::new(finished(identity, rules)),
                any_port: any_port_ids,
                peers: peers_ids,
                named,
                sets,
                over: None,
                load: Load::default(),
                live: 0,
                stores: false,
            }
        });
        let load = self.load_alone(id);
        self.rule_sets.get_mut(id).into_iter().for_each(|part| part.value.load = load);
        let sets = self.rule_sets.get(id).map_or(&[][..], |part| &part.value.sets);
        if sets.len() > FEW_SETS {
            self.wide.extend(sets.iter().map(|set| (*set, id)));
        }
        id
    }

    fn set(&mut self, plan: SetPlan, ground: &mut Ground<'_>) -> u32 {
        self.sets.hold(plan, ground.cluster, ground.peers)
    }

    fn union(&mut self, plan: UnionPlan, ground: &mut Ground<'_>) -> (Union, UnionIds) {
        let set = plan.set.map(|set| self.set(set, ground));
        let pods = set.and_then(|id| self.sets.registry.get(id)).map(|p| Arc::clone(&p.value.definition));
        let (v4, v4_id) = blocks(&mut self.blocks4, plan.blocks.v4, plan.v4);
        let (v6, v6_id) = blocks(&mut self.blocks6, plan.blocks.v6, plan.v6);
        (Union { pods, v4, v6 }, UnionIds { set, v4: v4_id, v6: v6_id })
    }

    /// The peers of a plan, which are still to be held.
    fn peers(&mut self, plan: UnionPlan, ground: &mut Ground<'_>) -> u32 {
        let identity = plan.identity;
        self.peers.find(&identity).unwrap_or_else(|| {
            let (union, ids) = self.union(plan, ground);
            let peers = |name: &Name| Arc::new(Peers { name: name.clone(), union });
            self.peers.add(identity, |name| PeersPart { peers: peers(name), ids })
        })
    }

    /// A group of a namespace has a rule set no longer.
    pub(super) fn release(&mut self, id: u32, namespace: u32) {
        if let Some(part) = self.rule_sets.get_mut(id)
            && self.tenancies.leave(namespace, id, &part.value.sets)
        {
            part.value.live -= 1;
            if part.value.live == 0 {
                self.uncounted.push(id);
            }
        }
        self.rule_sets.release(id);
    }

    /// Forgets what nobody holds any more.
    pub(super) fn sweep(&mut self, ground: &mut Ground<'_>) {
        for (id, part) in self.rule_sets.sweep() {
            if part.value.stores {
                part.value.sets.iter().for_each(|set| self.sets.discard(*set));
            }
            part.value.sets.iter().for_each(|set| _ = self.wide.remove(&(*set, id)));
            self.over.remove(&id);
            part.value.peers.iter().for_each(|peers| self.peers.release(*peers));
            part.value.named.into_iter().for_each(|set| self.sets.registry.release(set));
            self.release_union(part.value.any_port);
        }
        for (_, part) in self.peers.sweep() {
            self.release_union(part.value.ids);
        }
        self.blocks4.sweep();
        self.blocks6.sweep();
        self.sets.sweep(ground.cluster, ground.peers);
    }

    fn release_union(&mut self, ids: UnionIds) {
        ids.set.into_iter().for_each(|set| self.sets.registry.release(set));
        ids.v4.into_iter().for_each(|blocks| self.blocks4.release(blocks));
        ids.v6.into_iter().for_each(|blocks| self.blocks6.release(blocks));
    }
}

fn named<T>(ranges: &Arc<NamedRanges<T>>) -> BlockSet<T> {
    BlockSet::Some(Arc::clone(ranges))
}

/// The blocks of one family, which one more holds if they have an identity: then they need a set.
fn blocks<T: Family>(
    registry: &mut Registry<Arc<NamedRanges<T>>>,
    ranges: Ranges<T>,
    identity: Option<Hashed>,
) -> (BlockSet<T>, Option<u32>) {
    let Some(identity) = identity else {
        return (if ranges.is_empty() { BlockSet::Nowhere } else { BlockSet::Everywhere }, None);
    };
    let id = registry.find(&identity).unwrap_or_else(|| {
        registry.add(identity, |name| Arc::new(NamedRanges { name: name.clone(), ranges }))
    });
    registry.hold(id);
    let found = registry.get(id).map_or(BlockSet::Nowhere, |part| named(&part.value));
    (found, Some(id))
}

/// A rule set with what is derived from its parts.
fn finished(identity: Identity, rules: RuleSet) -> RuleSet {
    RuleSet { digest: digest_of(identity, &rules), fingerprint: Fingerprint::of(&rules), ..rules }
}

/// The identity, and the names of the parts that its chains spell out.
fn digest_of(identity: Identity, rules: &RuleSet) -> Identity {
    fn union(digest: &mut Digest, union: &Union) {
        if let Some(pods) = &union.pods {
            digest.name(&pods.name);
        }
        if let BlockSet::Some(v4) = &union.v4 {
            digest.name(&v4.name);
        }
        if let BlockSet::Some(v6) = &union.v6 {
            digest.name(&v6.name);
        }
    }
    let mut digest = Digest::new();
    digest.inner(&identity);
    digest.name(&rules.name);
    union(&mut digest, &rules.any_port);
    for (_, peers) in &rules.ports {
        digest.name(&peers.name);
        union(&mut digest, &peers.union);
    }
    if let Some(named) = &rules.named {
        digest.name(&named.name);
    }
    digest.finish()
}
