//! The layout of this project's ancestor, the baseline of the benches: the whole table as text, one jump per pod and
//! direction, a chain per pod and direction, and in it the rules of every policy that selects the pod, each with its
//! peers in an anonymous set of its own.
//!
//! It is given what the ancestor did not have: policies and pods are looked up by namespace, replies are accepted
//! first (there they were dropped), and a chain ends in `return`, so that both ends are judged. Named ports are left
//! out, as there.

#![allow(dead_code, reason = "each bench uses its part")]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::IpAddr;

use flock_compiler_core::World;
use flock_compiler_core::block::Blocks;
use flock_compiler_core::object::{
    Direction, NamespaceScope, Peer, PeerMatch, Pod, Policy, PortMatch, Rule, RulePorts,
};
use flock_compiler_core::port::Protocol;
use flock_shared::{NamespaceName, NodeName};

/// The table.
pub(crate) const TABLE: &str = "inet flock_ancestor";

/// A world, indexed for rendering node by node.
pub(crate) struct Ancestor<'a> {
    world: &'a World,
    pods: BTreeMap<&'a NamespaceName, Vec<&'a Pod>>,
    local: BTreeMap<&'a NodeName, Vec<&'a Pod>>,
    policies: BTreeMap<&'a NamespaceName, Vec<&'a Policy>>,
}

/// A node's script, as far as it was written.
pub(crate) struct Written {
    pub(crate) text: String,
    /// Rules of policies that are in it; all of them unless a limit cut it short.
    pub(crate) rules: usize,
}

impl<'a> Ancestor<'a> {
    pub(crate) fn new(world: &'a World) -> Self {
        let mut pods: BTreeMap<&NamespaceName, Vec<&Pod>> = BTreeMap::new();
        let mut local: BTreeMap<&NodeName, Vec<&Pod>> = BTreeMap::new();
        let mut policies: BTreeMap<&NamespaceName, Vec<&Policy>> = BTreeMap::new();
        for pod in world.pods().values().filter(|pod| pod.addresses().is_some()) {
            pods.entry(&pod.key.namespace).or_default().push(pod);
            if let Some(node) = &pod.node {
                local.entry(node).or_default().push(pod);
            }
        }
        for policy in world.policies().values() {
            policies.entry(&policy.key.namespace).or_default().push(policy);
        }
        Self { world, pods, local, policies }
    }

    /// The rules that a node's script repeats, counted without writing it.
    pub(crate) fn rules(&self, node: &NodeName) -> usize {
        let lists = self.chains(node).flat_map(|(pod, direction)| self.rules_of(pod, direction));
        lists.map(<[Rule]>::len).sum()
    }

    /// The script that replaces a node's table. Nothing is begun once the text is longer than `limit`.
    pub(crate) fn script(&self, node: &NodeName, limit: usize) -> Written {
        let (mut text, mut jumps, mut rules) = (String::new(), String::new(), 0);
        // Writing to a String cannot fail.
        let _ = write!(text, "add table {TABLE}\ndelete table {TABLE}\ntable {TABLE} {{\n");
        for (pod, direction) in self.chains(node) {
            let mut isolates = false;
            let name = format!("{direction}_{}_{}", pod.key.namespace, pod.key.name).replace(['-', '.'], "_");
            for list in self.rules_of(pod, direction) {
                if !isolates {
                    let _ = writeln!(text, "\tchain {name} {{");
                    isolates = true;
                }
                for rule in list {
                    if text.len() > limit {
                        return Written { text, rules };
                    }
                    self.write_rule(&mut text, direction, rule);
                    rules += 1;
                }
            }
            if isolates {
                text.push_str("\t\tdrop\n\t}\n");
                for address in pod.addresses().into_iter().flatten() {
                    let own = if direction == Direction::Egress { "saddr" } else { "daddr" };
                    let _ = writeln!(jumps, "\t\t{} {own} {address} jump {name}", family(address));
                }
            }
        }
        let _ = write!(
            text,
            "\tchain forward {{\n\t\ttype filter hook forward priority filter; policy accept;\n\
             \t\tct direction reply accept\n{jumps}\t}}\n}}\n"
        );
        Written { text, rules }
    }

    fn chains(&self, node: &NodeName) -> impl Iterator<Item = (&'a Pod, Direction)> {
        let pods = self.local.get(node).into_iter().flatten().copied();
        pods.flat_map(|pod| [Direction::Egress, Direction::Ingress].map(|direction| (pod, direction)))
    }

    fn rules_of(&self, pod: &'a Pod, direction: Direction) -> impl Iterator<Item = &'a [Rule]> {
        let policies = self.policies.get(&pod.key.namespace).into_iter().flatten().copied();
        let selecting = policies.filter(|policy| policy.pod_selector.matches(&pod.labels));
        selecting.filter_map(move |policy| policy.rules(direction))
    }

    fn write_rule(&self, out: &mut String, direction: Direction, rule: &Rule) {
        let ports = ports(&rule.ports);
        let end = if direction == Direction::Ingress { "saddr" } else { "daddr" };
        let mut write = |peers: &str| {
            for ports in &ports {
                let _ = writeln!(out, "\t\t{peers}{ports}return");
            }
        };
        let peers = match &rule.peers {
            PeerMatch::Any => return write(""),
            PeerMatch::OneOf(peers) => peers,
        };
        let (mut v4, mut v6) = (Vec::new(), Vec::new());
        for peer in peers {
            match peer {
                Peer::Pods(peer) => {
                    let in_namespace = |name: &NamespaceName| self.pods.get(name).into_iter().flatten();
                    let namespaces: Vec<&NamespaceName> = match &peer.namespaces {
                        NamespaceScope::Named(name) => vec![name],
                        NamespaceScope::Matching(selector) => {
                            let all = self.world.namespaces().values();
                            all.filter(|found| selector.matches(&found.labels))
                                .map(|found| &found.name)
                                .collect()
                        }
                    };
                    let pods = namespaces.into_iter().flat_map(in_namespace);
                    for pod in pods.filter(|pod| peer.pods.matches(&pod.labels)) {
                        for address in pod.addresses().into_iter().flatten() {
                            if address.is_ipv4() { &mut v4 } else { &mut v6 }.push(address.to_string());
                        }
                    }
                }
                Peer::Block(block) => {
                    let Blocks { v4, v6 } = block.blocks();
                    let (v4, v6): (Vec<String>, Vec<String>) =
                        (v4.display().collect(), v6.display().collect());
                    for (family, ranges) in
                        [("ip", v4), ("ip6", v6)].into_iter().filter(|(_, r)| !r.is_empty())
                    {
                        write(&format!("{family} {end} {{ {} }} ", ranges.join(", ")));
                    }
                }
            }
        }
        for (family, addresses) in [("ip", v4), ("ip6", v6)].into_iter().filter(|(_, list)| !list.is_empty())
        {
            write(&format!("{family} {end} {{ {} }} ", addresses.join(", ")));
        }
    }
}

fn family(address: &IpAddr) -> &'static str {
    if address.is_ipv4() { "ip" } else { "ip6" }
}

/// The matches of a rule's ports, one per protocol; empty for any port.
fn ports(ports: &RulePorts) -> Vec<String> {
    let RulePorts::OneOf(ports) = ports else { return vec![String::new()] };
    let of = |protocol: Protocol| {
        let ranges = ports.iter().filter_map(|port| match port {
            PortMatch::Range(range) if range.protocol() == protocol => Some(range),
            PortMatch::Range(_) | PortMatch::Named { .. } => None,
        });
        let texts: Vec<String> = ranges
            .map(|range| match (range.first(), range.last()) {
                (first, last) if first == last => first.to_string(),
                (first, last) => format!("{first}-{last}"),
            })
            .collect();
        let name = protocol.as_str().to_lowercase();
        (!texts.is_empty()).then(|| format!("{name} dport {{ {} }} ", texts.join(", ")))
    };
    Protocol::ALL.into_iter().filter_map(of).collect()
}
