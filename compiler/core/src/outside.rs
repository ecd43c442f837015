//! Outside: addresses of pods that are in none of their node's pod CIDRs.
//!
//! Such pods are judged as all others are. But what is known of pod CIDRs does not help them: while nobody knows yet that they
//! have started, no guard stands before their addresses, and what CNI says of them is not believed.

use std::collections::BTreeMap;
use std::net::IpAddr;

use flock_shared::NodeName;

use crate::World;
use crate::object::PodCidr;

/// How many addresses of each node's pods are in none of its pod CIDRs; nodes without any are left out. Of a family in which
/// a node has none, none is.
#[must_use]
pub fn outside_pod_cidrs(world: &World) -> BTreeMap<NodeName, u32> {
    let mut found: BTreeMap<NodeName, u32> = BTreeMap::new();
    for node in world.nodes().values().filter(|node| !node.pod_cidrs.is_empty()) {
        // What CNI said and is not believed is no pod's address any more.
        let disbelieved = world.disbelieved(&node.name).filter(|(_, it)| is_outside(&node.pod_cidrs, *it));
        count(&mut found, &node.name, disbelieved.count());
    }
    for pod in world.pods().values() {
        let node = pod.node.as_ref().and_then(|name| world.nodes().get(name));
        let (Some(node), Some(addresses)) = (node, pod.addresses()) else { continue };
        let outside = addresses.iter().filter(|address| is_outside(&node.pod_cidrs, **address));
        count(&mut found, &node.name, outside.count());
    }
    found
}

fn count(found: &mut BTreeMap<NodeName, u32>, node: &NodeName, more: usize) {
    if more > 0 {
        let before = found.entry(node.clone()).or_default();
        *before = before.saturating_add(u32::try_from(more).unwrap_or(u32::MAX));
    }
}

fn is_outside(blocks: &[PodCidr], address: IpAddr) -> bool {
    let mut of_family = blocks.iter().filter(|block| block.first().is_ipv4() == address.is_ipv4()).peekable();
    of_family.peek().is_some() && !of_family.any(|block| block.contains(address))
}

#[cfg(test)]
mod tests {
    use flock_shared::PodKey;

    use super::*;
    use crate::object::{Node, Pod, PodNetwork};
    use crate::{Change, Edit};

    fn node(name: &str, blocks: &[&str]) -> Change {
        let blocks = blocks.iter().map(|block| PodCidr::new(block.parse().unwrap()).unwrap());
        let node = Node { pod_cidrs: blocks.collect(), ..Node::new(NodeName::new(name).unwrap()) };
        Change::Node(Edit::Upsert(node))
    }

    fn pod(name: &str, node: &str, network: PodNetwork) -> Change {
        let pod = Pod::new(PodKey::new("shop", name).unwrap());
        Change::Pod(Edit::Upsert(Pod { node: Some(NodeName::new(node).unwrap()), network, ..pod }))
    }

    fn with(addresses: &[&str]) -> PodNetwork {
        PodNetwork::own(addresses.iter().map(|address| address.parse().unwrap()).collect(), None)
    }

    #[test]
    fn addresses_are_held_against_the_blocks_of_their_own_node_and_family() {
        let mut world = World::default();
        for change in [
            node("a", &["10.244.1.0/24", "fd00:1::/64"]),
            node("b", &["10.244.2.0/24"]),
            node("without", &[]),
            pod("within", "a", with(&["10.244.1.7", "fd00:1::7"])),
            pod("of-another-node", "a", with(&["10.244.2.7", "fd00:2::7"])),
            pod("of-another-family", "b", with(&["10.244.2.7", "fd00:9::7"])),
            pod("of-no-block", "without", with(&["192.168.0.7"])),
            pod("of-the-host", "b", PodNetwork::Host),
            pod("of-no-node", "unknown", with(&["192.168.0.8"])),
        ] {
            world.apply(change);
        }
        let found = outside_pod_cidrs(&world);
        let found: Vec<_> = found.iter().map(|(node, count)| (node.as_str(), *count)).collect();
        assert_eq!(found, [("a", 2)]);
        world.apply(pod("elsewhere", "b", with(&["192.168.0.9"])));
        assert_eq!(outside_pod_cidrs(&world).len(), 2);
    }
}
