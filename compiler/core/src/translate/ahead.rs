//! Asking memory for what is about to be followed from object to object, nearest first.

use std::sync::Arc;

use super::cluster::{Cluster, NodeEntry, PodEntry};
use super::frames::{Few, Sources};
use super::groups::{Group, Groups, Outcome};
use super::pass::distinct;
use super::subjects::Subjects;
use crate::ahead::ask;
use crate::object::{Direction, Peer, PeerMatch, Pod, RulePorts};

impl Sources<'_> {
    /// Asks for what the frame of a node is put together from.
    pub(super) fn ask_for(&self, node: &NodeEntry) {
        let entries: Vec<&PodEntry> = node.pods.iter().filter_map(|id| self.cluster.pod(id)).collect();
        ask(entries.iter().map(|entry| entry.namespace));
        let pods: Vec<&Pod> = entries.iter().map(|entry| &*entry.pod).collect();
        ask(pods.iter().map(|pod| pod.lifecycle as u8));
        let addresses = || pods.iter().filter_map(|pod| pod.addresses());
        ask(addresses().map(|addresses| addresses.len() as u64));
        ask(addresses().filter_map(|addresses| addresses.first()).map(|address| address.is_ipv4()));
        // A key's strings stand beside the counts of who refers to them.
        ask(pods.iter().map(|pod| byte(pod.key.namespace.as_str())));
        ask(pods.iter().map(|pod| byte(pod.key.name.as_str())));
        let groups = entries.iter().flat_map(|entry| Direction::ALL.map(|direction| entry.group(direction)));
        let outcomes = groups.flatten().filter_map(|group| self.groups.get(group)).map(|group| group.outcome);
        let rules = outcomes.filter_map(|outcome| match outcome {
            Outcome::Rules(id) => Some(id),
            Outcome::Open | Outcome::Closed(_) => None,
        });
        // All pods of a node may have the same, and it may be long.
        let rules = distinct(&mut rules.collect());
        let parts = || rules.iter().filter_map(|id| self.parts.rule_sets.get(*id)).map(|part| &part.value);
        ask(parts().map(|part| part.sets.len() as u64));
        ask(parts().map(|part| part.rules.name.short()));
        let sets: Vec<u32> = parts().flat_map(|part| part.sets.iter().copied()).collect();
        let sets = || sets.iter().filter_map(|id| self.parts.sets.registry.get(*id)).map(|part| &part.value);
        ask(sets().map(|set| set.count as u64));
        let stored = || sets().filter_map(|set| set.stored.as_ref());
        ask(stored().map(|set| set.v4.len() as u64));
        ask(stored().map(|set| set.definition.name.short()));
    }

    /// Asks for what is edited of nodes' outputs where policies isolate these pods in another way.
    pub(super) fn ask_for_fits(&self, fits: &[(u32, Few<u32>)]) {
        let output = |node: u32| self.cluster.node(node)?.output.as_deref();
        let outputs = || fits.iter().filter_map(|(node, _)| output(*node));
        ask(outputs().map(|output| output.sets().len() as u64));
        let frames = || outputs().map(|output| &**output.frame());
        ask(frames().map(|frame| frame.families.v4));
        ask(outputs().filter_map(|output| output.sets().first()).map(|set| Arc::as_ptr(set) as u64));
        ask(frames().map(|frame| frame.owners.len() as u64));
        ask(frames().map(|frame| frame.anchors.len() as u64));
        frames().for_each(|frame| frame.subjects.ask());
        let subjects = fits.iter().filter_map(|(node, pods)| {
            let (address, _) = self.cluster.owned(*pods.first()?).next()?;
            output(*node)?.frame().subjects.get(&address)
        });
        ask(subjects.map(|subject| subject.siblings.len() as u64));
    }
}

impl Cluster {
    /// Asks for what tells which policies select some pods.
    pub(super) fn ask_for(&self, pods: &[u32]) {
        let pods: Vec<&Pod> = pods.iter().filter_map(|id| self.pod(*id)).map(|entry| &*entry.pod).collect();
        ask(pods.iter().map(|pod| pod.lifecycle as u8));
        ask(pods.iter().map(|pod| pod.ports.first().is_some_and(|port| port.number > 0)));
        let labels = || pods.iter().flat_map(|pod| pod.labels.pairs());
        ask(labels().map(|(key, _)| byte(key)));
        ask(labels().map(|(_, value)| byte(value)));
    }
}

impl Groups {
    /// Asks for the rules of some groups.
    pub(super) fn ask_for(&self, groups: &[u32], subjects: &Subjects) {
        let groups = groups.iter().filter_map(|id| self.get(*id));
        // Nobody looks at the rules of the others.
        let groups = groups.filter(|group| self.tenants.over(group.namespace()).is_none());
        let groups: Vec<&Group> = groups.collect();
        let ids: Vec<u32> = groups.iter().flat_map(|group| group.applying().rules()).collect();
        let rules = || ids.iter().filter_map(|id| subjects.rules(*id)).flat_map(|entry| &*entry.rules);
        ask(rules().map(|rule| matches!(rule.ports, RulePorts::Any)));
        let peers = || {
            rules().flat_map(|rule| match &rule.peers {
                PeerMatch::Any => &[][..],
                PeerMatch::OneOf(peers) => peers,
            })
        };
        ask(peers().map(|peer| matches!(peer, Peer::Block(_))));
        ask(peers().map(|peer| match peer {
            Peer::Pods(peer) => peer.pods.is_everything(),
            Peer::Block(_) => false,
        }));
    }
}

fn byte(text: &str) -> u8 {
    text.bytes().next().unwrap_or_default()
}
