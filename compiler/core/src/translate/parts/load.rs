//! What rule sets come to on a node: each part once, however many of them have it.

use std::collections::BTreeSet;

use super::Parts;
use crate::translate::load::Load;

impl Parts {
    /// What these rule sets come to without the sets of pods that they look up: no less than it is, and cheap to tell.
    pub(in crate::translate) fn load_at_most<'a>(
        &self,
        rule_sets: impl IntoIterator<Item = &'a u32>,
    ) -> Load {
        let parts = rule_sets.into_iter().filter_map(|id| self.rule_sets.get(*id));
        parts.map(|part| part.value.load).sum()
    }

    /// What these rule sets come to with the sets of pods that they look up, in a cluster with so many families.
    pub(in crate::translate) fn load(&self, rule_sets: &BTreeSet<u32>, families: u64) -> Load {
        let parts = || rule_sets.iter().filter_map(|id| self.rule_sets.get(*id)).map(|part| &part.value);
        let peers: BTreeSet<u32> = parts().flat_map(|part| part.peers.iter().copied()).collect();
        let peers = || peers.iter().filter_map(|id| self.peers.get(*id)).map(|part| &part.value);
        let unions = || parts().map(|part| part.any_port).chain(peers().map(|part| part.ids));
        let v4: BTreeSet<u32> = unions().filter_map(|ids| ids.v4).collect();
        let v6: BTreeSet<u32> = unions().filter_map(|ids| ids.v6).collect();
        let sets: BTreeSet<u32> = parts().flat_map(|part| part.sets.iter().copied()).collect();
        let rules: Load = parts().map(|part| Load::of_rules(&part.rules)).sum();
        let chains: Load = peers().map(|part| Load::of_peers(&part.peers)).sum();
        let v4 = v4.iter().filter_map(|id| self.blocks4.get(*id)).map(|part| Load::of_ranges(&part.value));
        let v6 = v6.iter().filter_map(|id| self.blocks6.get(*id)).map(|part| Load::of_ranges(&part.value));
        let stored = sets.iter().filter_map(|id| self.sets.registry.get(*id)?.value.stored.as_ref());
        rules + chains + v4.chain(v6).chain(stored.map(|set| Load::of_set(set, families))).sum()
    }

    /// What a rule set comes to with all its parts but the sets of pods, which it may share with others.
    pub(super) fn load_alone(&self, id: u32) -> Load {
        let Some(part) = self.rule_sets.get(id).map(|part| &part.value) else { return Load::default() };
        let peers: BTreeSet<u32> = part.peers.iter().copied().collect();
        let peers = || peers.iter().filter_map(|id| self.peers.get(*id)).map(|part| &part.value.peers);
        let unions = peers().map(|peers| &peers.union).chain([&part.rules.any_port]);
        let sets: Load = unions.map(|union| Load::of_blocks(&union.v4) + Load::of_blocks(&union.v6)).sum();
        Load::of_rules(&part.rules) + peers().map(|peers| Load::of_peers(peers)).sum() + sets
    }
}
