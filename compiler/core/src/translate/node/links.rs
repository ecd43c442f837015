//! Links of nodes: which of its bridges a node's pods hang on, and the addresses of all nodes of the cluster.
//!
//! A node's facts are its agent's words, and come to something on that node only. Its addresses come from Node objects, and
//! matter on every node where an interface or a bridge of pods is known.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use crate::collections::count::Count;
use crate::invariant::bug;
use crate::object::{Bridge, Node};
use crate::output::{Links, NodeAddresses, Output};
use crate::translate::index::cluster::{Cluster, NodeEntry};
use crate::world::World;

/// The addresses of all nodes, kept as Node objects come and go. Several may say the same one.
#[derive(Debug, Default)]
pub(in crate::translate) struct AddressIndex {
    counts: BTreeMap<IpAddr, Count>,
    settled: Arc<NodeAddresses>,
    is_stale: bool,
}

impl AddressIndex {
    /// Follows a Node object.
    pub(in crate::translate) fn follow(&mut self, before: Option<&Node>, after: Option<&Node>) {
        let [before, after] = [before, after].map(|node| node.map_or(&[][..], |node| &node.addresses));
        if before == after {
            return;
        }
        for address in after {
            self.counts.entry(*address).or_default().one_more();
        }
        for address in before {
            match self.counts.get_mut(address).map(Count::one_fewer) {
                Some(0) => _ = self.counts.remove(address),
                Some(_) => {}
                None => bug!("no node has the address {address}"),
            }
        }
        self.is_stale = true;
    }

    /// Takes over what has changed since the last pass. Returns true if the addresses differ.
    pub(in crate::translate) fn settle(&mut self) -> bool {
        // Other counts may come to the same addresses. Then no node has to follow.
        if !std::mem::take(&mut self.is_stale) || self.counts.keys().eq(self.settled.iter()) {
            return false;
        }
        self.settled = Arc::new(self.counts.keys().copied().collect());
        true
    }

    /// All addresses, as of the last pass.
    const fn all(&self) -> &Arc<NodeAddresses> {
        &self.settled
    }
}

/// Returns true if the addresses of all nodes are of use on the node of this output.
pub(in crate::translate) fn needs_node_addresses(output: &Output) -> bool {
    let node_rules = output.node_rules();
    !node_rules.source_checks.is_empty() || !node_rules.links.pod_bridges.is_empty()
}

/// The links of a node, on which interfaces of pods are known or not.
pub(in crate::translate) fn links_of(
    node: &NodeEntry,
    has_source_checks: bool,
    world: &World,
    cluster: &Cluster,
    addresses: &AddressIndex,
) -> Arc<Links> {
    let facts = world.facts().get(&node.name);
    if facts.is_none_or(|facts| facts.bridges.is_empty()) && !has_source_checks {
        // Most often: nothing is asked of the node's pods then.
        let tunnel_ports = facts.map(|facts| facts.tunnel_ports.clone()).unwrap_or_default();
        return Arc::new(Links { tunnel_ports, ..Links::default() });
    }
    let cidrs = world.nodes().get(&node.name).map_or(&[][..], |object| &object.pod_cidrs);
    let owned: BTreeSet<IpAddr> =
        node.pods.iter().flat_map(|pod| cluster.owned(pod)).map(|(address, _)| address).collect();
    // Bridges of other things (docker0, a virtual machine's) have no address in the pod CIDRs, and no pod in their subnets.
    let is_of_pods = |bridge: &&Bridge| {
        bridge.addresses.iter().any(|subnet| {
            cidrs.iter().any(|cidr| cidr.contains(subnet.addr()))
                || owned.iter().any(|at| subnet.contains(at))
        })
    };
    let bridges = facts.map_or(&[][..], |facts| &facts.bridges);
    let (of_pods, others): (Vec<&Bridge>, Vec<&Bridge>) = bridges.iter().partition(is_of_pods);
    let is_known = has_source_checks || !of_pods.is_empty();
    let tunnel_ports = facts.map(|facts| facts.tunnel_ports.clone()).unwrap_or_default();
    // Where no interface and no bridge of pods is known, no rule names them, and the output must not change with them.
    let node_addresses = if is_known { Arc::clone(addresses.all()) } else { Arc::default() };
    if of_pods.is_empty() {
        return Arc::new(Links { tunnel_ports, node_addresses, ..Links::default() });
    }
    Arc::new(Links {
        pod_bridges: of_pods.iter().map(|bridge| bridge.name.clone()).collect(),
        other_ports: others
            .iter()
            .flat_map(|bridge| bridge.links.iter().chain(&bridge.uplinks))
            .cloned()
            .collect(),
        uplinks: of_pods.iter().flat_map(|bridge| &bridge.uplinks).cloned().collect(),
        pod_addresses: owned,
        pod_cidrs: cidrs.iter().copied().collect(),
        tunnel_ports,
        node_addresses,
    })
}
