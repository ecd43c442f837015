//! New names: where short hashes collide, or collide no longer, parts get other names, and so do those that spell them out.

use std::sync::Arc;

use super::super::registry::Registry;
use super::{Parts, UnionIds, finished, named};
use crate::block::Family;
use crate::identity::Name;
use crate::output::{BlockSet, Fingerprint, NamedRanges, Peers, RuleSet, Union};

impl Parts {
    /// Gives parts whose names have changed their new ones; the rule sets that differ.
    pub(in crate::translate) fn rename(&mut self) -> Vec<u32> {
        let renamed = [
            self.sets.rename(),
            rename_blocks(&mut self.blocks4),
            rename_blocks(&mut self.blocks6),
            self.peers.take_renamed(),
            self.rule_sets.take_renamed(),
        ];
        if !renamed.contains(&true) {
            return Vec::new();
        }
        let (sets, blocks4, blocks6) = (&self.sets, &self.blocks4, &self.blocks6);
        let current = |ids: UnionIds| Union {
            pods: ids.set.and_then(|id| sets.registry.get(id)).map(|p| Arc::clone(&p.value.definition)),
            v4: ids.v4.and_then(|id| blocks4.get(id)).map_or(BlockSet::Nowhere, |p| named(&p.value)),
            v6: ids.v6.and_then(|id| blocks6.get(id)).map_or(BlockSet::Nowhere, |p| named(&p.value)),
        };
        // Everywhere has no part of its own.
        let updated = |union: &Union, ids: UnionIds| {
            let Union { pods, v4, v6 } = current(ids);
            let v4 = if union.v4 == BlockSet::Everywhere { BlockSet::Everywhere } else { v4 };
            let v6 = if union.v6 == BlockSet::Everywhere { BlockSet::Everywhere } else { v6 };
            Union { pods, v4, v6 }
        };
        for (_, part) in self.peers.iter_mut() {
            let old = &part.value.peers;
            let new = Peers { name: part.name.clone(), union: updated(&old.union, part.value.ids) };
            if **old != new {
                part.value.peers = Arc::new(new);
            }
        }
        let peers = &self.peers;
        let mut differ = Vec::new();
        for (id, part) in self.rule_sets.iter_mut() {
            let old = &part.value.rules;
            let now = |id: &u32| peers.get(*id).map(|part| Arc::clone(&part.value.peers));
            let ports = old.ports.iter().zip(&part.value.peers);
            let named = part.value.named.and_then(|id| sets.registry.get(id));
            let new = RuleSet {
                name: part.name.clone(),
                direction: old.direction,
                any_port: updated(&old.any_port, part.value.any_port),
                ports: ports
                    .map(|((range, old), id)| (*range, now(id).unwrap_or_else(|| Arc::clone(old))))
                    .collect(),
                named: named.map(|part| Arc::clone(&part.value.definition)),
                contested: old.contested.clone(),
                digest: part.identity,
                fingerprint: Fingerprint::default(),
            };
            let new = finished(part.identity, new);
            if **old != new {
                part.value.rules = Arc::new(new);
                differ.push(id);
            }
        }
        differ
    }
}

fn rename_blocks<T: Family>(registry: &mut Registry<Arc<NamedRanges<T>>>) -> bool {
    if !registry.take_renamed() {
        return false;
    }
    for (_, part) in registry.iter_mut() {
        let (name, value): (&Name, _) = (&part.name, &mut part.value);
        if *name != value.name {
            *value = Arc::new(NamedRanges { name: name.clone(), ranges: value.ranges.clone() });
        }
    }
    true
}
