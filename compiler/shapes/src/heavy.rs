//! The heaviest table that a node may be asked to bear: one tenant, whose policies come to as many sets, chains and elements
//! as [`Budgets::node`](flock_compiler_core::translate::Budgets) allows, in the forms that cost most.
//!
//! All pods have an address of each family. Most chains look at a set of pods and a set of blocks in each family, which
//! are five rules and as many names that the kernel has to find among all sets. Elements that are no peers' addresses are
//! addresses with protocol and port, the largest there are.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use flock_compiler_core::object::{IpBlock, NamespaceScope, Peer, Pod, PodNetwork, PodPeer, Rule};
use flock_compiler_core::translate::Load;
use flock_compiler_core::{Labels, Operator, Selector};
use flock_shared::NamespaceName;
use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use crate::Cluster;
use crate::parts::{self, Pair};

/// Pods on the node, the usual limit of a kubelet.
const LOCAL: usize = 110;
/// What the node has beside what this is about: the port map, the sets of services, chains of directions.
const ROOM: u64 = 8;
/// Of eight sets of a family five are of pods, three of blocks.
const PODS: u64 = 5;
const EIGHTH: u64 = 8;
/// Peers with one value of a label, each with an address of each family.
const PEERS: usize = 4;
/// Pods that services are asked of.
const CROWD: usize = 400;
/// Ports: those of unions from here, those of services from there.
const FIRST_PORT: u16 = 1_000;
const FIRST_SERVICE: u16 = 40_000;

/// Pods and policies by which the table of node 0 comes to almost as much as this, and no more.
pub fn cluster(most: &Load) -> Cluster {
    let [node, elsewhere] = [0, 1].map(parts::node);
    let [heavy, crowd] = ["heavy", "crowd"].map(parts::namespace_name);
    let key: Arc<str> = "app".into();
    let app = |name: String| -> Pair { (Arc::clone(&key), name.into()) };
    let mut addresses = 0..;
    let mut pod = |namespace: &NamespaceName, name: String, node, label: Option<Pair>| -> Pod {
        let number = addresses.next().unwrap_or_default();
        let labels: Labels = label.into_iter().collect();
        let [v4, v6] = addresses_of(number);
        let pod = parts::pod(namespace, &name, Some(node), labels, v4, &[]);
        Pod { network: PodNetwork::Own { addresses: [v4, v6].into(), interface: None }, ..pod }
    };
    // In each family as many sets of pods, and as many of blocks.
    let sets = most.sets.saturating_sub(ROOM) / 2;
    let of_pods = (sets * PODS / EIGHTH).max(1);
    let of_blocks = (sets - of_pods).max(1);
    let unions = most.chains.saturating_sub(ROOM);
    let mut pods: Vec<Pod> = Vec::new();
    pods.extend((0..LOCAL).map(|number| pod(&heavy, format!("own-{number}"), &node, None)));
    for value in 0..of_pods {
        let peers = (0..PEERS).map(|number| (format!("peer-{value}-{number}"), format!("app-{value}")));
        pods.extend(peers.map(|(name, label)| pod(&heavy, name, &elsewhere, Some(app(label)))));
    }
    pods.extend((0..CROWD).map(|number| {
        pod(&crowd, format!("crowd-{number}"), &elsewhere, Some(app(format!("app-{number}"))))
    }));
    let peers = |namespace: &NamespaceName, pods: Selector| -> Peer {
        Peer::Pods(PodPeer { namespaces: NamespaceScope::Named(namespace.clone()), pods }.into())
    };
    let mut rules: Vec<Rule> = Vec::new();
    for (union, port) in (0..unions).zip(FIRST_PORT..) {
        let labelled = parts::labelled([&app(format!("app-{}", union % of_pods))]);
        // No two unions are the same: where the sets of pods and of blocks are through, those of the other family shift.
        let shifted = (union + union / of_pods.saturating_mul(of_blocks).max(1) + union / of_blocks) % of_blocks;
        let blocks = [block4(union % of_blocks), block6(shifted)].into_iter().flatten();
        rules.push(parts::rule(blocks.chain([peers(&heavy, labelled)]), [parts::tcp(port)]));
    }
    let used = 2 * of_pods * PEERS as u64 + 2 * of_blocks * 8 + unions;
    let each = 2 * (CROWD as u64 - 1);
    let services = most.elements.saturating_sub(used) / each;
    for (number, port) in (0..services).zip(FIRST_SERVICE..) {
        let value: Arc<str> = format!("app-{}", number % CROWD as u64).into();
        let all_but_one: Selector = [parts::is_not_in(&key, [&value])].into_iter().collect();
        rules.push(parts::rule([peers(&crowd, all_but_one)], [parts::tcp(port)]));
    }
    let name = parts::object_name("heavy");
    let own = [parts::requirement(&key, Operator::DoesNotExist)].into_iter().collect();
    Cluster {
        policies: vec![parts::policy(&heavy, &name, own, Some(rules), None)],
        namespaces: [heavy, crowd].map(|name| parts::namespace(name, [])).into(),
        nodes: vec![node, elsewhere],
        pods,
    }
}

/// The addresses of the pod with a number.
fn addresses_of(number: u32) -> [IpAddr; 2] {
    let v6 = u128::from(Ipv6Addr::new(0xfd00, 1, 2, 3, 0, 0, 0, 1)) + (u128::from(number) << 16);
    [parts::address(number as usize), Ipv6Addr::from(v6).into()]
}

/// One of many blocks of a family, no two of which touch.
fn block4(number: u64) -> Option<Peer> {
    let first = u32::from(Ipv4Addr::new(192, 0, 0, 0)) + (u32::try_from(number).ok()? << 9);
    block(Ipv4Net::new(first.into(), 24).ok()?.into())
}

fn block6(number: u64) -> Option<Peer> {
    let first = u128::from(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0)) + (u128::from(number) << 65);
    block(Ipv6Net::new(first.into(), 64).ok()?.into())
}

fn block(cidr: IpNet) -> Option<Peer> {
    Some(Peer::Block(IpBlock::new(cidr, &[]).ok()?))
}

#[cfg(test)]
mod tests {
    use flock_compiler_core::nft::costs::Costs;
    use flock_compiler_core::translate::Budgets;
    use flock_compiler_core::{Translator, render};

    use super::*;

    #[test]
    #[allow(clippy::unwrap_used, reason = "this is a test")]
    fn it_is_within_the_budget_of_a_node_and_not_by_much() {
        let most = Budgets::default().node;
        let mut translator = Translator::new();
        for change in cluster(&most).changes() {
            translator.apply(change);
        }
        translator.pass();
        assert_eq!(translator.problems(), []);
        let script = render(&translator.output(&parts::node(0).name).unwrap());
        let totals = Costs::default().after(script.bytes()).unwrap().totals();
        let at_least = |count: usize, budget: u64| count as u64 * 100 > budget * 95;
        assert!(at_least(totals.sets, most.sets), "{totals:?}");
        assert!(at_least(totals.chains, most.chains), "{totals:?}");
        assert!(at_least(totals.elements, most.elements), "{totals:?}");
        assert!(totals.rules > 5 * totals.chains - 1_000, "{totals:?}");
    }
}
