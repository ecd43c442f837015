//! The policies of the churn: random ones, and those that no churn touches.

use std::net::IpAddr;

use rand::Rng as _;
use rand::rngs::SmallRng;
use rand::seq::IndexedRandom as _;

use flock_model::oracle::cluster::{
    Direction, Expression, Labels, Net, Operator, Peer, Policy, PolicySpec, Port, PortNumber, Protocol, Rule,
    Selector, Text,
};

/// Namespaces of pods and policies.
pub(crate) const NAMESPACES: [Text; 3] = ["red", "green", "blue"];
/// The label that only keepers have, and always.
pub(crate) const ROLE: (Text, Text) = ("role", "keeper");
/// Where keepers hold their connections.
pub(crate) const KEPT_PORT: u16 = 7000;
/// The ports where every pod listens.
pub(crate) const TCP_PORTS: [u16; 2] = [80, 8080];
pub(crate) const UDP_PORTS: [u16; 2] = [53, 5353];
/// What those ports may be called.
pub(crate) const PORT_NAMES: [(Text, Protocol, [u16; 2]); 2] =
    [("web", Protocol::Tcp, TCP_PORTS), ("dns", Protocol::Udp, UDP_PORTS)];

const POLICY_NAMES: [Text; 5] = ["p", "q", "r", "s", "t"];
const POD_LABELS: [(Text, [Text; 2]); 2] = [("app", ["x", "y"]), ("tier", ["front", "back"])];
const NAMESPACE_LABELS: [(Text, [Text; 2]); 2] = [("team", ["a", "b"]), ("env", ["prod", "dev"])];

/// Keepers reach each other on [`KEPT_PORT`], and are isolated in both directions.
pub(crate) fn kept(namespace: Text) -> Policy {
    let keepers = Selector { match_labels: Labels::from([ROLE]), match_expressions: Vec::new() };
    let rule = Rule {
        peers: Some(vec![Peer::Pods { pods: Some(keepers.clone()), namespaces: Some(Selector::default()) }]),
        ports: Some(
            [Protocol::Tcp, Protocol::Udp]
                .map(|protocol| Port { protocol, port: PortNumber::Number(KEPT_PORT) })
                .into(),
        ),
    };
    let spec = PolicySpec::Understood {
        types: Some(vec![Direction::Ingress, Direction::Egress]),
        ingress: Some(vec![rule.clone()]),
        egress: Some(vec![rule]),
    };
    Policy { namespace, name: "kept", pod_selector: keepers, spec }
}

pub(crate) fn pod_labels(random: &mut SmallRng) -> Labels {
    labels(random, &POD_LABELS)
}

pub(crate) fn namespace_labels(random: &mut SmallRng) -> Labels {
    labels(random, &NAMESPACE_LABELS)
}

fn labels(random: &mut SmallRng, pool: &[(Text, [Text; 2])]) -> Labels {
    let mut labels = Labels::new();
    for (key, values) in pool {
        if random.random_bool(0.8) {
            labels.insert(key, values[random.random_range(0..2)]);
        }
    }
    labels
}

/// A policy under a random name, which may be taken.
pub(crate) fn policy(random: &mut SmallRng, addresses: &[IpAddr]) -> Policy {
    let types = match random.random_range(0..4) {
        0 => None,
        1 => Some(vec![Direction::Ingress]),
        2 => Some(vec![Direction::Egress]),
        _ => Some(vec![Direction::Ingress, Direction::Egress]),
    };
    let spec = if random.random_bool(0.03) {
        PolicySpec::NotUnderstood { types: types.unwrap_or_else(|| vec![Direction::Ingress]) }
    } else {
        let mut rules = || {
            let count = random.random_range(0..=2);
            (count > 0 || random.random_bool(0.5))
                .then(|| (0..count).map(|_| rule(random, addresses)).collect())
        };
        let (ingress, egress) = (rules(), rules());
        PolicySpec::Understood { types, ingress, egress }
    };
    Policy {
        namespace: NAMESPACES.choose(random).unwrap(),
        name: POLICY_NAMES.choose(random).unwrap(),
        pod_selector: selector(random, &POD_LABELS),
        spec,
    }
}

fn rule(random: &mut SmallRng, addresses: &[IpAddr]) -> Rule {
    let (peers, ports) = (random.random_range(0..=2), random.random_range(0..=2));
    Rule {
        peers: (peers > 0).then(|| (0..peers).map(|_| peer(random, addresses)).collect()),
        ports: (ports > 0).then(|| (0..ports).map(|_| port(random)).collect()),
    }
}

fn peer(random: &mut SmallRng, addresses: &[IpAddr]) -> Peer {
    match random.random_range(0..6) {
        0..2 => Peer::Pods { pods: Some(selector(random, &POD_LABELS)), namespaces: None },
        2 => Peer::Pods { pods: None, namespaces: Some(selector(random, &NAMESPACE_LABELS)) },
        3 => Peer::Pods {
            pods: Some(selector(random, &POD_LABELS)),
            namespaces: Some(selector(random, &NAMESPACE_LABELS)),
        },
        _ => block(random, addresses),
    }
}

/// A block around some pod, perhaps without some other pods.
fn block(random: &mut SmallRng, addresses: &[IpAddr]) -> Peer {
    let address = *addresses.choose(random).unwrap();
    let width = if address.is_ipv4() { 32 } else { 128 };
    let narrower = *[0, 1, 2, 3, 8, 24].choose(random).unwrap();
    let holes: Vec<Net> = addresses
        .iter()
        .filter(|hole| hole.is_ipv4() == address.is_ipv4())
        .map(|hole| Net { address: *hole, prefix: width - random.random_range(0..2) })
        .collect();
    let wanted = if narrower < 8 { 0 } else { random.random_range(0..3) };
    Peer::Block {
        cidr: Net { address, prefix: width - narrower },
        except: holes.choose_multiple(random, wanted).copied().collect(),
    }
}

fn port(random: &mut SmallRng) -> Port {
    let (name, protocol, numbers) = *PORT_NAMES.choose(random).unwrap();
    let port = match random.random_range(0..6) {
        0..3 => PortNumber::Number(*numbers.choose(random).unwrap()),
        3..5 => PortNumber::Name(name),
        _ if random.random_bool(0.5) => PortNumber::Range(50, *[100, 9000].choose(random).unwrap()),
        _ => PortNumber::All,
    };
    Port { protocol, port }
}

fn selector(random: &mut SmallRng, pool: &[(Text, [Text; 2])]) -> Selector {
    let (key, values) = *pool.choose(random).unwrap();
    let value = *values.choose(random).unwrap();
    let expression = |operator, values| Selector {
        match_labels: Labels::new(),
        match_expressions: vec![Expression { key, operator, values }],
    };
    match random.random_range(0..8) {
        0..2 => Selector::default(),
        2..5 => Selector { match_labels: Labels::from([(key, value)]), match_expressions: Vec::new() },
        5 => expression(Operator::In, values.to_vec()),
        6 => expression(Operator::NotIn, vec![value]),
        _ if random.random_bool(0.5) => expression(Operator::Exists, Vec::new()),
        _ => expression(Operator::DoesNotExist, Vec::new()),
    }
}
