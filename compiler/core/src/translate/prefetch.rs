//! Prefetching of what a pass is about to follow from object to object (see [`crate::collections::prefetch`]).

use std::sync::Arc;

use smallvec::SmallVec;

use super::pass::distinct;
use crate::collections::ids::{GroupId, Id, NodeId, PodId, RulesId, SetId};
use crate::collections::prefetch::read;
use crate::object::{Direction, Peer, PeerMatch, Pod, RulePorts};
use crate::translate::index::cluster::{Cluster, NodeEntry, PodEntry};
use crate::translate::index::policies::PolicyIndex;
use crate::translate::node::output::NodeSources;
use crate::translate::rules::applied_to::{AppliedToGroup, AppliedToGroups, Outcome};

impl NodeSources<'_> {
    /// Prefetches what the rules of a node is put together from.
    pub(super) fn prefetch(&self, node: &NodeEntry) {
        let entries: Vec<&PodEntry> =
            node.pods.iter().filter_map(|id| self.indexes.cluster.pod(id)).collect();
        read(entries.iter().map(|entry| entry.namespace.number()));
        let pods: Vec<&Pod> = entries.iter().map(|entry| &*entry.pod).collect();
        read(pods.iter().map(|pod| pod.lifecycle as u8));
        let addresses = || pods.iter().filter_map(|pod| pod.addresses());
        read(addresses().map(|addresses| addresses.len() as u64));
        read(addresses().filter_map(|addresses| addresses.first()).map(|address| address.is_ipv4()));
        // A key's strings stand beside the counts of who refers to them.
        read(pods.iter().map(|pod| byte(pod.key.namespace.as_str())));
        read(pods.iter().map(|pod| byte(pod.key.name.as_str())));
        let groups = entries.iter().flat_map(|entry| Direction::ALL.map(|direction| entry.group(direction)));
        let outcomes =
            groups.flatten().filter_map(|group| self.indexes.groups.get(group)).map(|group| group.outcome);
        let rules = outcomes.filter_map(|outcome| match outcome {
            Outcome::Rules(id) => Some(id),
            Outcome::Open | Outcome::Closed(_) => None,
        });
        // All pods of a node may have the same, and it may be long.
        let rules = distinct(&mut rules.collect());
        let parts = || {
            rules.iter().filter_map(|id| self.indexes.rule_sets.interner.there(*id)).map(|part| &part.value)
        };
        read(parts().map(|part| part.sets.len() as u64));
        read(parts().map(|part| part.rules.name));
        let sets: Vec<SetId> = parts().flat_map(|part| part.sets.iter().copied()).collect();
        let sets = || {
            sets.iter()
                .filter_map(|id| self.indexes.rule_sets.sets.interner.there(*id))
                .map(|part| &part.value)
        };
        read(sets().map(|set| set.count.get()));
        let stored = || sets().filter_map(|set| set.stored.as_ref());
        read(stored().map(|set| set.v4.len() as u64));
        read(stored().map(|set| set.definition.name));
    }

    /// Prefetches what is edited of nodes' outputs where policies isolate these pods in another way.
    pub(super) fn prefetch_patches(&self, patches: &[(NodeId, SmallVec<[PodId; 4]>)]) {
        let output = |node: NodeId| self.indexes.cluster.node(node)?.output.as_deref();
        let outputs = || patches.iter().filter_map(|(node, _)| output(*node));
        read(outputs().map(|output| output.sets().len() as u64));
        let frames = || outputs().map(|output| &**output.node_rules());
        read(frames().map(|node_rules| node_rules.families.v4));
        read(outputs().filter_map(|output| output.sets().first()).map(|set| Arc::as_ptr(set) as u64));
        read(frames().map(|node_rules| node_rules.owners.len() as u64));
        read(frames().map(|node_rules| node_rules.source_checks.len() as u64));
        frames().for_each(|node_rules| node_rules.isolated.prefetch());
        let isolated = patches.iter().filter_map(|(node, pods)| {
            let (address, _) = self.indexes.cluster.owned(*pods.first()?).next()?;
            output(*node)?.node_rules().isolated.get(&address)
        });
        read(isolated.map(|pod| pod.siblings.len() as u64));
    }
}

impl Cluster {
    /// Prefetches what tells which policies select some pods, of which some may be gone.
    pub(super) fn prefetch(&self, pods: &[PodId]) {
        let entries = pods.iter().filter_map(|id| self.pods.get(*id));
        let pods: Vec<&Pod> = entries.map(|entry| &*entry.pod).collect();
        read(pods.iter().map(|pod| pod.lifecycle as u8));
        read(pods.iter().map(|pod| pod.ports.first().is_some_and(|port| port.number > 0)));
        let labels = || pods.iter().flat_map(|pod| pod.labels.pairs());
        read(labels().map(|(key, _)| byte(key)));
        read(labels().map(|(_, value)| byte(value)));
    }
}

impl AppliedToGroups {
    /// Prefetches the rules of some groups.
    pub(super) fn prefetch(&self, groups: &[GroupId], policies: &PolicyIndex) {
        let groups = groups.iter().filter_map(|id| self.get(*id));
        // Nobody looks at the rules of the others.
        let groups = groups.filter(|group| self.budgets.over(group.namespace()).is_none());
        let groups: Vec<&AppliedToGroup> = groups.collect();
        let ids: Vec<RulesId> = groups.iter().flat_map(|group| group.matched().rules()).collect();
        let rules = || ids.iter().filter_map(|id| policies.rules(*id)).flat_map(|entry| &*entry.rules);
        read(rules().map(|rule| matches!(rule.ports, RulePorts::Any)));
        let peers = || {
            rules().flat_map(|rule| match &rule.peers {
                PeerMatch::Any => &[][..],
                PeerMatch::OneOf(peers) => peers,
            })
        };
        read(peers().map(|peer| matches!(peer, Peer::Block(_))));
        read(peers().map(|peer| match peer {
            Peer::Pods(peer) => peer.pods.is_everything(),
            Peer::Block(_) => false,
        }));
    }
}

fn byte(text: &str) -> u8 {
    text.bytes().next().unwrap_or_default()
}
