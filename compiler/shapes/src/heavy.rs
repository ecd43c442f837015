//! The heaviest table that a node may be asked to bear: one tenant, whose policies come to as many sets, chains and elements
//! as [`Budgets::node`](flock_compiler_core::translate::Budgets) allows, in the forms that cost most.
//!
//! All pods have an address of each family. Most chains look at a set of pods and a set of blocks in each family, which
//! are five rules and as many names that the kernel has to find among all sets. Sets of pods overlap, so that few pods are
//! many elements; some elements are addresses with protocol and port, the largest there are.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use flock_compiler_core::nft::costs::node::{ADDRESS, ADDRESS_RANGE, PORT, SERVICE};
use flock_compiler_core::object::{IpBlock, NamespaceScope, Peer, Pod, PodNetwork, PodPeer, Rule};
use flock_compiler_core::translate::Load;
use flock_compiler_core::{Labels, Operator, Requirement};
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
/// Pods that services are asked of, and how many services.
const CROWD: u64 = 400;
const SERVICES: u64 = 80;
/// Ports: those of unions from here, those of services from there.
const FIRST_PORT: u16 = 1_000;
const FIRST_SERVICE: u16 = 40_000;

/// Pods and policies by which the table of node 0 comes to almost as much as this, and no more.
pub fn cluster(most: &Load) -> Cluster {
    let [node, elsewhere] = [0, 1].map(parts::node);
    let [heavy, crowd] = ["heavy", "crowd"].map(parts::namespace_name);
    let key: Arc<str> = "app".into();
    let app = |number: u64| -> Pair { (Arc::clone(&key), format!("app-{number}").into()) };
    let mut addresses = 0..;
    let mut pod = |namespace: &NamespaceName, name: String, node, label: Option<Pair>| -> Pod {
        let number = addresses.next().unwrap_or_default();
        let labels: Labels = label.into_iter().collect();
        let [v4, v6] = addresses_of(number);
        let pod = parts::pod(namespace, &name, Some(node), labels, v4, &[]);
        Pod { network: PodNetwork::own([v4, v6].into(), None), ..pod }
    };
    // In each family as many sets of pods, and as many of blocks.
    let sets = most.sets.saturating_sub(ROOM) / 2;
    let of_pods = (sets * PODS / EIGHTH).max(1);
    let of_blocks = (sets - of_pods).max(1);
    let unions = most.chains.saturating_sub(ROOM);
    let of_services = SERVICES * 2 * (CROWD - 1) * SERVICE;
    let used = 2 * of_blocks * ADDRESS_RANGE + (unions + SERVICES) * PORT + of_services;
    // Members of a set in one family, of which there are no more than pods.
    let members = (most.elements.saturating_sub(used) / (2 * of_pods * ADDRESS)).clamp(1, of_pods);
    let mut pods: Vec<Pod> = Vec::new();
    pods.extend((0..LOCAL).map(|number| pod(&heavy, format!("own-{number}"), &node, None)));
    pods.extend(
        (0..of_pods).map(|number| pod(&heavy, format!("peer-{number}"), &elsewhere, Some(app(number)))),
    );
    pods.extend(
        (0..CROWD).map(|number| pod(&crowd, format!("crowd-{number}"), &elsewhere, Some(app(number)))),
    );
    let values: Vec<Arc<str>> = (0..of_pods.max(CROWD)).map(|number| app(number).1).collect();
    let peers = |namespace: &NamespaceName, pods: Requirement| -> Peer {
        let (namespaces, pods) = (NamespaceScope::Named(namespace.clone()), [pods].into_iter().collect());
        Peer::Pods(PodPeer { namespaces, pods }.into())
    };
    let mut rules: Vec<Rule> = Vec::new();
    for (union, port) in (0..unions).zip(FIRST_PORT..) {
        let first = usize::try_from(union % of_pods).unwrap_or_default();
        let cycle = values.iter().take(usize::try_from(of_pods).unwrap_or_default()).cycle();
        let some = cycle.skip(first).take(usize::try_from(members).unwrap_or_default());
        let some = peers(&heavy, parts::is_in(&key, some));
        // No two unions are the same: where the sets of pods and of blocks are through, those of the other family shift.
        let shifted =
            (union + union / of_pods.saturating_mul(of_blocks).max(1) + union / of_blocks) % of_blocks;
        let blocks = [block4(union % of_blocks), block6(shifted)].into_iter().flatten();
        rules.push(parts::rule(blocks.chain([some]), [parts::tcp(port)]));
    }
    for (value, port) in values.iter().take(SERVICES as usize).zip(FIRST_SERVICE..) {
        let all_but_one = parts::is_not_in(&key, [value]);
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
    use flock_compiler_core::{Options, Translator, render};

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
        // Elements have weights: they have to fit, and no more of the members of a set do.
        let of_sets = 2 * (most.sets / 2 * PODS / EIGHTH) * ADDRESS;
        let more = Load { elements: most.elements - 2 * of_sets, ..most };
        let mut translator = Translator::with(Options {
            budgets: Budgets { node: more, ..Budgets::default() },
            ..Options::default()
        });
        for change in cluster(&most).changes() {
            translator.apply(change);
        }
        translator.pass();
        assert!(!translator.problems().is_empty());
        assert!(totals.rules > 5 * totals.chains - 1_000, "{totals:?}");
    }
}
