//! Small but nasty clusters, and flows that hit them: few addresses, labels and ports, so that selectors overlap,
//! blocks cut through pods, addresses are contested and ports lie on the edges of ranges.

mod addresses;
pub(crate) mod flows;
mod policies;

use proptest::collection::vec;
use proptest::option::weighted;
use proptest::prelude::*;
use proptest::sample::select;

use addresses::{pod_cidr, pool};
use flock_model::oracle::cluster::{Cluster, ContainerPort, Interface, Namespace, Node, Phase, Pod, Text};
use policies::{labels, policy, protocol};

const NODES: &[Text] = &["n0", "n1", "n2", "n3"];
const NAMESPACES: &[Text] = &["ns0", "ns1", "ns2", "ns3"];
const POD_NAMES: &[Text] = &["a", "b", "c", "d", "e", "f"];
const INTERFACES: &[Text] =
    &["veth0", "veth1", "veth2", "veth3", "veth4", "veth5", "veth6", "veth7", "veth8", "veth9"];
const PORT_NAMES: &[Text] = &["web", "dns"];
const PORTS: &[u16] = &[80, 79, 81, 53, 443, 444, 1, 8080, 65534, 65535];

fn container_port() -> impl Strategy<Value = ContainerPort> {
    (select(PORT_NAMES), protocol(), select(PORTS)).prop_map(|(name, protocol, number)| ContainerPort {
        name,
        protocol,
        number,
    })
}

fn pod() -> impl Strategy<Value = Pod> {
    let phase = prop_oneof![
        24 => Just(Phase::Running),
        1 => Just(Phase::Pending),
        1 => Just(Phase::Succeeded),
        1 => Just(Phase::Failed),
    ];
    (
        (select(NAMESPACES), select(POD_NAMES), weighted(0.95, select(NODES))),
        labels(),
        (prop::bool::weighted(0.1), prop::bool::weighted(0.15), phase),
        prop_oneof![1 => vec(pool(), 0..=0), 9 => vec(pool(), 1..=3)],
        vec(container_port(), 0..=3),
    )
        .prop_map(
            |((namespace, name, node), labels, (host_network, deleting, phase), mut addresses, ports)| {
                addresses.sort_unstable();
                addresses.dedup();
                Pod {
                    namespace,
                    name,
                    node,
                    labels,
                    host_network,
                    deleting,
                    phase,
                    addresses,
                    ports,
                    link: "",
                    interface: None,
                }
            },
        )
}

/// A node's name, with its pod CIDRs and own addresses.
fn node(name: Text) -> impl Strategy<Value = Node> {
    (vec(pod_cidr(), 0..=2), vec(pool(), 0..=1)).prop_map(move |(pod_cidrs, own)| Node {
        name,
        pod_cidrs,
        own,
    })
}

/// The nodes: in half of the clusters they have pod CIDRs, which may overlap.
fn nodes() -> impl Strategy<Value = Vec<Node>> {
    (1..=NODES.len()).prop_flat_map(|count| {
        let names = &NODES[..count];
        let plain: Vec<Node> = names.iter().map(|name| Node::new(name)).collect();
        prop_oneof![Just(plain), names.iter().map(|name| node(name)).collect::<Vec<_>>()]
    })
}

/// A cluster of up to 4 nodes, 4 namespaces, 10 pods and 8 policies; names are unique per kind and namespace. In half
/// of the clusters some pods' interfaces are known; a claimed one is now and then another pod's. Now and then an
/// object lacks its namespace, and now and then there is no policy.
pub(crate) fn cluster() -> impl Strategy<Value = Cluster> {
    let count = prop_oneof![3 => Just(1), 3 => Just(2), 1 => Just(3), 1 => Just(NAMESPACES.len())];
    let namespaces = (vec(labels(), NAMESPACES.len()), count, prop::bool::weighted(0.05));
    // Interfaces are computed in all of a cluster or claimed in all of it, as the one option for them says.
    let links = prop_oneof![Just(vec![None; 10]), vec(weighted(0.7, 0..60usize), 10)];
    let policies = prop_oneof![1 => vec(policy(), 0..=0), 19 => vec(policy(), 1..=8)];
    (nodes(), namespaces, vec(pod(), 4..=10), policies, (links, any::<bool>())).prop_map(
        |(nodes, (labels, count, forgotten), mut pods, mut policies, (links, claimed))| {
            let own_nodes = &NODES[..nodes.len()];
            let names = &NAMESPACES[..count];
            // Names beyond the cluster's own are folded into them.
            let fold = |name: Text, all: &[Text], own: &[Text]| {
                own[all.iter().position(|other| *other == name).unwrap_or_default() % own.len()]
            };
            for pod in &mut pods {
                pod.namespace = fold(pod.namespace, NAMESPACES, names);
                pod.node = pod.node.map(|name| fold(name, NODES, own_nodes));
            }
            for policy in &mut policies {
                policy.namespace = fold(policy.namespace, NAMESPACES, names);
            }
            let mut namespaces: Vec<Namespace> =
                names.iter().zip(labels).map(|(name, labels)| Namespace { name, labels }).collect();
            if forgotten {
                namespaces.pop();
            }
            let mut unique = Vec::new();
            for mut pod in pods {
                if !unique
                    .iter()
                    .any(|other: &Pod| (other.namespace, other.name) == (pod.namespace, pod.name))
                {
                    pod.link = INTERFACES[unique.len()];
                    pod.interface = links[unique.len()].map(|lie| {
                        let name =
                            if claimed { INTERFACES.get(lie).copied().unwrap_or(pod.link) } else { pod.link };
                        Interface { name, claimed }
                    });
                    unique.push(pod);
                }
            }
            policies.sort_by_key(|policy| (policy.namespace, policy.name));
            policies.dedup_by_key(|policy| (policy.namespace, policy.name));
            Cluster { nodes, namespaces, pods: unique, policies }
        },
    )
}
