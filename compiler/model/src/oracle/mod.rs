//! The oracle: what the words of `networking.k8s.io/v1` say of one packet. Slow and obvious on purpose: it loops over
//! every policy, pod and rule, shares no code with the translation and computes no sets.

pub mod cluster;
pub mod flow;
mod text;

use std::net::{IpAddr, Ipv4Addr};

use cluster::{
    Cluster, Direction, Expression, Labels, Net, Operator, Peer, Phase, Pod, Policy, PolicySpec, Port,
    PortNumber, Protocol, Rule, Selector,
};
use flow::{Flow, State, Transport};

/// What one node says of a packet, by direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Judgement {
    /// Whether the source's egress does.
    pub egress: bool,
    /// Whether the destination's ingress does.
    pub ingress: bool,
}

impl Judgement {
    const PASS: Self = Self { egress: true, ingress: true };

    /// Returns true if both directions let it pass.
    #[must_use]
    pub const fn passes(self) -> bool {
        self.egress && self.ingress
    }
}

/// Returns true if the packet passes every node of the cluster. A node that holds neither end has no say.
#[must_use]
pub fn allowed(cluster: &Cluster, flow: &Flow) -> bool {
    cluster.node_names().iter().all(|node| judge(cluster, node, flow).passes())
}

/// When a node takes an address of its blocks that nobody owns for one of an isolated pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unready {
    /// Always.
    Drop,
    /// In a direction in which a pod is on its way that a policy isolates, and where nobody attends to the node.
    Expected {
        /// Whether an agent attends to the node.
        attended: bool,
    },
}

/// What `node` says of a packet that it forwards: egress if the source address belongs to a pod of the node,
/// ingress if the destination address does.
#[must_use]
pub fn judge(cluster: &Cluster, node: &str, flow: &Flow) -> Judgement {
    judge_with(Unready::Drop, cluster, node, flow)
}

/// The same, with what is done about pods that nobody knows yet.
#[must_use]
pub fn judge_with(option: Unready, cluster: &Cluster, node: &str, flow: &Flow) -> Judgement {
    if tunnels_into(cluster, node, flow) {
        return Judgement { egress: false, ingress: true };
    }
    if flow.state == State::Reply || is_related_error(flow) || is_neighbour_discovery(flow) {
        return Judgement::PASS;
    }
    if is_spoofed(cluster, node, flow) {
        return Judgement { egress: false, ingress: true };
    }
    let (from, to) = (flow.source, flow.destination);
    let open = |direction, address| {
        let is_closed = match option {
            Unready::Drop | Unready::Expected { attended: false } => true,
            Unready::Expected { attended: true } => is_expecting(cluster, node, direction),
        };
        !is_closed || !is_unready(cluster, node, address)
    };
    let unready = Judgement { egress: open(Direction::Egress, from), ingress: open(Direction::Ingress, to) };
    if reaches_itself(cluster, flow) {
        return unready;
    }
    Judgement {
        egress: unready.egress && passes(cluster, node, Direction::Egress, from, to, flow),
        ingress: unready.ingress && passes(cluster, node, Direction::Ingress, to, from, flow),
    }
}

/// Returns true if the address may be that of a pod of `node` which has started and not been seen yet. A pod is isolated
/// before it starts if some policy selects it, and nobody can tell which ones do; without any policy, none does.
#[must_use]
pub fn is_unready(cluster: &Cluster, node: &str, address: IpAddr) -> bool {
    let mut nodes = cluster.nodes.iter().filter(|candidate| candidate.name == node);
    !cluster.policies.is_empty()
        && nodes.any(|node| node.pod_cidrs.iter().any(|cidr| within(cidr, address)))
        && owners(cluster, address).is_empty()
        && !cluster.is_own(node, address)
}

/// Returns true if a pod is on its way to `node` that a policy isolates in a direction: bound there, and without an address.
#[must_use]
pub fn is_expecting(cluster: &Cluster, node: &str, direction: Direction) -> bool {
    cluster.pods.iter().any(|pod| {
        pod.node == Some(node)
            && has_own_network(pod)
            && !pod.deleting
            && pod.addresses.is_empty()
            && !isolating(cluster, pod, direction).is_empty()
    })
}

/// Returns true if a direction lets the packet pass: for every owner of the judged end, whoever owns the other end.
fn passes(
    cluster: &Cluster,
    node: &str,
    direction: Direction,
    own: IpAddr,
    other: IpAddr,
    flow: &Flow,
) -> bool {
    let subjects = owners(cluster, own);
    if !subjects.iter().any(|subject| subject.node == Some(node)) {
        return true;
    }
    let mut peers: Vec<Option<&Pod>> = owners(cluster, other).into_iter().map(Some).collect();
    if peers.is_empty() {
        peers.push(None);
    }
    subjects.iter().all(|subject| {
        peers.iter().all(|peer| subject_allows(cluster, direction, subject, other, *peer, flow))
    })
}

/// The pods that own an address: live ones before those that are being deleted.
#[must_use]
pub fn owners(cluster: &Cluster, address: IpAddr) -> Vec<&Pod> {
    let claimants: Vec<&Pod> =
        cluster.pods.iter().filter(|pod| has_own_network(pod) && pod.addresses.contains(&address)).collect();
    let live: Vec<&Pod> = claimants.iter().copied().filter(|pod| !pod.deleting).collect();
    if live.is_empty() { claimants } else { live }
}

/// Returns true if the pod owns its addresses: not a host-network pod, whose addresses are the node's, and not a finished
/// one, whose addresses are free again.
fn has_own_network(pod: &Pod) -> bool {
    !pod.host_network && !matches!(pod.phase, Phase::Succeeded | Phase::Failed)
}

/// Returns true if the policies of one pod allow the packet in one direction, given who the other end is.
fn subject_allows(
    cluster: &Cluster,
    direction: Direction,
    subject: &Pod,
    other: IpAddr,
    peer: Option<&Pod>,
    flow: &Flow,
) -> bool {
    let isolating = isolating(cluster, subject, direction);
    let destination = match direction {
        Direction::Ingress => Some(subject),
        Direction::Egress => peer,
    };
    isolating.is_empty()
        || isolating.iter().any(|policy| {
            rules(policy, direction).iter().any(|rule| {
                rule_has_peer(cluster, policy, rule, other, peer) && rule_has_port(rule, destination, flow)
            })
        })
}

/// Returns true if a packet in mid-stream begins nothing on `node`: one of its ends is a pod of the node that a policy
/// isolates. `None` if that depends on whether what the policies allow is everything.
#[must_use]
pub fn begins_nothing(cluster: &Cluster, node: &str, flow: &Flow) -> Option<bool> {
    if flow.state != State::MidStream
        || !matches!(flow.transport, Transport::Ports(Protocol::Tcp | Protocol::Sctp, ..))
    {
        return Some(false);
    }
    let ends = [flow.source, flow.destination].map(|end| owners(cluster, end));
    let own = |pod: &&&Pod| pod.node == Some(node);
    let subjects = ends.iter().filter(|owners| owners.iter().any(|pod| own(&pod))).flatten();
    let policies = subjects.flat_map(|pod| {
        [Direction::Ingress, Direction::Egress]
            .map(|direction| (direction, isolating(cluster, pod, direction)))
    });
    let isolated: Vec<_> = policies.filter(|(_, policies)| !policies.is_empty()).collect();
    let closed = |(direction, policies): &(Direction, Vec<&Policy>)| {
        policies.iter().all(|policy| rules(policy, *direction).is_empty())
    };
    match isolated.is_empty() {
        true => Some(false),
        false => isolated.iter().any(closed).then_some(true),
    }
}

/// The policies that isolate a pod in a direction.
fn isolating<'a>(cluster: &'a Cluster, subject: &Pod, direction: Direction) -> Vec<&'a Policy> {
    cluster
        .policies
        .iter()
        .filter(|policy| policy.namespace == subject.namespace)
        .filter(|policy| selects(&policy.pod_selector, &subject.labels))
        .filter(|policy| types(policy).contains(&direction))
        .collect()
}

/// Returns true if a policy has a say in the flow: its source is isolated for egress or its destination for ingress.
#[must_use]
pub fn meets_isolation(cluster: &Cluster, flow: &Flow) -> bool {
    [(flow.source, Direction::Egress), (flow.destination, Direction::Ingress)].iter().any(
        |(address, direction)| {
            owners(cluster, *address).iter().any(|pod| !isolating(cluster, pod, *direction).is_empty())
        },
    )
}

/// The directions that a policy isolates in.
fn types(policy: &Policy) -> Vec<Direction> {
    match &policy.spec {
        PolicySpec::NotUnderstood { types } => types.clone(),
        PolicySpec::Understood { types: Some(types), .. } if !types.is_empty() => types.clone(),
        PolicySpec::Understood { egress: Some(egress), .. } if !egress.is_empty() => {
            vec![Direction::Ingress, Direction::Egress]
        }
        PolicySpec::Understood { .. } => vec![Direction::Ingress],
    }
}

fn rules(policy: &Policy, direction: Direction) -> &[Rule] {
    let rules = match (&policy.spec, direction) {
        (PolicySpec::NotUnderstood { .. }, _) => None,
        (PolicySpec::Understood { ingress, .. }, Direction::Ingress) => ingress.as_ref(),
        (PolicySpec::Understood { egress, .. }, Direction::Egress) => egress.as_ref(),
    };
    rules.map_or(&[], |rules| rules)
}

fn rule_has_peer(cluster: &Cluster, policy: &Policy, rule: &Rule, other: IpAddr, pod: Option<&Pod>) -> bool {
    match rule.peers.as_deref() {
        None | Some([]) => true,
        Some(peers) => peers.iter().any(|peer| match peer {
            Peer::Block { cidr, except } => {
                within(cidr, other) && !except.iter().any(|hole| within(hole, other))
            }
            Peer::Pods { pods, namespaces } => pod.is_some_and(|pod| {
                let in_scope = match namespaces {
                    None => pod.namespace == policy.namespace,
                    Some(selector) => cluster.namespaces.iter().any(|namespace| {
                        namespace.name == pod.namespace && selects(selector, &namespace.labels)
                    }),
                };
                in_scope && pods.as_ref().is_none_or(|selector| selects(selector, &pod.labels))
            }),
        }),
    }
}

fn rule_has_port(rule: &Rule, destination: Option<&Pod>, flow: &Flow) -> bool {
    match rule.ports.as_deref() {
        None | Some([]) => true,
        Some(ports) => match flow.transport {
            Transport::Ports(protocol, _, number) => {
                ports.iter().any(|port| port_matches(port, destination, protocol, number))
            }
            Transport::Icmp { .. } | Transport::Other(_) => false,
        },
    }
}

fn port_matches(port: &Port, destination: Option<&Pod>, protocol: Protocol, number: u16) -> bool {
    port.protocol == protocol
        && match port.port {
            PortNumber::All => true,
            PortNumber::Number(wanted) => number == wanted,
            PortNumber::Range(first, last) => first <= number && number <= last,
            PortNumber::Name(name) => destination.is_some_and(|pod| {
                pod.ports
                    .iter()
                    .any(|own| own.name == name && own.protocol == protocol && own.number == number)
            }),
        }
}

fn selects(selector: &Selector, labels: &Labels) -> bool {
    selector.match_labels.iter().all(|(key, value)| labels.get(key) == Some(value))
        && selector.match_expressions.iter().all(|expression| expression_holds(expression, labels))
}

fn expression_holds(expression: &Expression, labels: &Labels) -> bool {
    match (expression.operator, labels.get(expression.key)) {
        (Operator::In, Some(value)) => expression.values.contains(value),
        (Operator::In, None) => false,
        (Operator::NotIn, Some(value)) => !expression.values.contains(value),
        (Operator::NotIn, None) => true,
        (Operator::Exists, value) => value.is_some(),
        (Operator::DoesNotExist, value) => value.is_none(),
    }
}

/// Returns true if the first `prefix` bits of both addresses are the same, and their family is.
fn within(net: &Net, address: IpAddr) -> bool {
    let ((net_bits, net_width), (bits, width)) = (bits(net.address), bits(address));
    let host_bits = net_width - u32::from(net.prefix);
    // A shift by the whole width leaves no bit to compare.
    net_width == width && net_bits.checked_shr(host_bits) == bits.checked_shr(host_bits)
}

/// An address as a number, and the bits of its family.
fn bits(address: IpAddr) -> (u128, u32) {
    match address {
        IpAddr::V4(address) => (u128::from(u32::from(address)), 32),
        IpAddr::V6(address) => (u128::from(address), 128),
    }
}

/// Returns true if one pod alone owns both ends, or both ends are the same address.
fn reaches_itself(cluster: &Cluster, flow: &Flow) -> bool {
    let (sources, destinations) = (owners(cluster, flow.source), owners(cluster, flow.destination));
    flow.source == flow.destination
        || matches!((&*sources, &*destinations), ([source], [destination])
            if source.namespace == destination.namespace && source.name == destination.name)
}

/// Returns true if the packet enters by the known interface of a pod that does not own its source address. A pod that has
/// not reported any address yet cannot be judged: it must reach its own node. A claim to an interface that is not the
/// pod's makes it neither known nor the pod's.
fn is_spoofed(cluster: &Cluster, node: &str, flow: &Flow) -> bool {
    let behind: Vec<&Pod> = cluster
        .pods
        .iter()
        .filter(|pod| has_own_network(pod) && pod.node == Some(node))
        .filter(|pod| pod.link_is_known() && flow.inbound == Some(pod.link) && !pod.addresses.is_empty())
        .collect();
    let owners = owners(cluster, flow.source);
    !behind.is_empty()
        && !asks_for_an_address(flow)
        && !behind
            .iter()
            .any(|pod| owners.iter().any(|owner| owner.namespace == pod.namespace && owner.name == pod.name))
}

/// Returns true if the packet ends a tunnel, from a pod's own link to the node that it is on.
fn tunnels_into(cluster: &Cluster, node: &str, flow: &Flow) -> bool {
    let tunnel = match flow.transport {
        Transport::Ports(Protocol::Udp, _, port) => matches!(port, 4789 | 4790 | 6081 | 8472),
        Transport::Other(number) => matches!(number, 4 | 41 | 47 | 97 | 115 | 137),
        Transport::Ports(..) | Transport::Icmp { .. } => false,
    };
    let from_pod = cluster.pods.iter().any(|pod| {
        has_own_network(pod)
            && pod.node == Some(node)
            && flow.inbound == Some(pod.link)
            && !pod.addresses.is_empty()
            && pod
                .interface
                .as_ref()
                .is_some_and(|interface| !interface.claimed && interface.name == pod.link)
    });
    tunnel && from_pod && cluster.is_own(node, flow.destination)
}

/// Returns true if the packet is DHCP from a host without an address: to the limited broadcast address, which no node forwards.
fn asks_for_an_address(flow: &Flow) -> bool {
    let [nobody, everybody] = [Ipv4Addr::UNSPECIFIED, Ipv4Addr::BROADCAST].map(IpAddr::V4);
    let to_server = matches!(flow.transport, Transport::Ports(Protocol::Udp, _, 67));
    flow.source == nobody && flow.destination == everybody && to_server
}

/// Returns true if the packet reports an error of another connection: destination unreachable, time exceeded, parameter
/// problem; in ICMPv6 the types below 128. Source quench is obsolete (RFC 6633), and a redirect reports no error.
fn is_related_error(flow: &Flow) -> bool {
    let Transport::Icmp { kind, .. } = flow.transport else {
        return false;
    };
    let error = if flow.source.is_ipv6() { kind < 128 } else { matches!(kind, 3 | 11 | 12) };
    flow.state == State::Related && error
}

/// Returns true if the packet is a neighbour solicitation or advertisement; valid only if never forwarded, as the hop
/// limit tells (RFC 4861). Redirects do not pass.
fn is_neighbour_discovery(flow: &Flow) -> bool {
    flow.source.is_ipv6() && matches!(flow.transport, Transport::Icmp { kind: 135 | 136, hop_limit: 255 })
}
