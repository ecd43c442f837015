//! Flows of a node that are judged both ways: by the words, and by its table. Pure, but for the dice.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use flock_compiler_core::Output;
use flock_compiler_core::judge::{Carries, Judge};
use flock_compiler_core::object::{Direction, Peer, PeerMatch, Policy, PortMatch, RulePorts};
use flock_compiler_core::port::Protocol;
use flock_shared::{NodeName, Revision};
use rand::Rng;
use rand::seq::IteratorRandom as _;

use crate::certify::{Between, table, table_passes, words_pass};

/// Flows of one node that are looked at, each in both directions.
const FLOWS: usize = 16;

/// A flow that the words and the table of the same objects judge in different ways.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Contradiction {
    node: NodeName,
    revision: Revision,
    flow: Between,
    direction: Direction,
    words: bool,
    /// What the table does, or why it cannot be read.
    table: Result<bool, String>,
}

impl fmt::Display for Contradiction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { node, revision, flow: Between { source, destination, carries }, direction, words, table } =
            self;
        let word = |passes: bool| if passes { "pass" } else { "be dropped" };
        write!(
            f,
            "self-check: {carries:?} from {source} to {destination} should {} in {direction} by the objects, and ",
            word(*words)
        )?;
        match table {
            Ok(passes) => write!(f, "would {} by", word(*passes))?,
            Err(error) => write!(f, "is not judged ({error}) by")?,
        }
        write!(f, " revision {revision} of node {node}")
    }
}

/// Flows to and from isolated pods of a node: with other pods, with addresses that their policies name, with nobody's.
pub(super) fn flows(judge: &Judge<'_>, output: &Output, random: &mut impl Rng) -> Vec<Between> {
    let own: Vec<IpAddr> = output.node_rules().owners.keys().copied().choose_multiple(random, FLOWS);
    let mut flows = Vec::with_capacity(FLOWS);
    for subject in own.iter().cycle().take(FLOWS) {
        let place = judge.place_of(*subject);
        let isolating: Vec<_> = place
            .owners
            .iter()
            .flat_map(|pod| Direction::ALL.into_iter().flat_map(|direction| judge.isolating(direction, pod)))
            .collect();
        let policy = isolating.into_iter().choose(random);
        let named = policy.map(|policy| addresses(policy)).unwrap_or_default();
        let ports = policy.map(|policy| ports(policy)).unwrap_or_default();
        let of_pods =
            || judge.world().pods().values().flat_map(|pod| pod.addresses().into_iter().flatten()).copied();
        let fits = |address: &IpAddr| address.is_ipv4() == subject.is_ipv4();
        let other = match random.random_range(0..4u8) {
            0 => named.into_iter().filter(fits).choose(random),
            1 => None,
            _ => pod_near(random, of_pods().filter(fits)),
        };
        let other = other.unwrap_or_else(|| anywhere(subject.is_ipv4(), random));
        let carries = match random.random_range(0..8u8) {
            0 => Carries::Other,
            1..4 => Carries::Port(Protocol::Tcp, random.random_range(1..=u16::MAX)),
            _ => ports.into_iter().choose(random).unwrap_or(Carries::Port(Protocol::Tcp, 80)),
        };
        let (source, destination) = if random.random() { (*subject, other) } else { (other, *subject) };
        flows.push(Between { source, destination, carries });
    }
    flows
}

/// One of the first some thousand: the order is that of names, and to walk over all of them costs more than it tells.
fn pod_near(random: &mut impl Rng, all: impl Iterator<Item = IpAddr>) -> Option<IpAddr> {
    // To choose goes through all that it is given, and a cluster may have a hundred thousand.
    all.take(4096).choose(random)
}

fn anywhere(is_v4: bool, random: &mut impl Rng) -> IpAddr {
    match is_v4 {
        true => IpAddr::from(random.random::<[u8; 4]>()),
        false => IpAddr::from(random.random::<[u8; 16]>()),
    }
}

/// Addresses at the edges of the blocks that a policy names, on both sides.
fn addresses(policy: &Policy) -> Vec<IpAddr> {
    let mut found = Vec::new();
    for rule in Direction::ALL.into_iter().flat_map(|direction| policy.rules(direction).unwrap_or_default()) {
        let PeerMatch::OneOf(peers) = &rule.peers else { continue };
        for peer in peers {
            let Peer::Block(block) = peer else { continue };
            for net in std::iter::once(block.cidr()).chain(block.except().iter().copied()) {
                let (first, last) = (net.network(), net.broadcast());
                found.extend([first, last]);
                found.extend([beside(first, -1), beside(last, 1)].into_iter().flatten());
            }
        }
    }
    found
}

/// The address after or before another one; `None`: there is none.
fn beside(address: IpAddr, step: i8) -> Option<IpAddr> {
    Some(match address {
        IpAddr::V4(address) => {
            let number = u32::from(address);
            let moved = if step < 0 { number.checked_sub(1)? } else { number.checked_add(1)? };
            Ipv4Addr::from(moved).into()
        }
        IpAddr::V6(address) => {
            let number = u128::from(address);
            let moved = if step < 0 { number.checked_sub(1)? } else { number.checked_add(1)? };
            Ipv6Addr::from(moved).into()
        }
    })
}

/// Numbers that a policy names, and those beside them.
fn ports(policy: &Policy) -> Vec<Carries> {
    let mut found = Vec::new();
    for rule in Direction::ALL.into_iter().flat_map(|direction| policy.rules(direction).unwrap_or_default()) {
        let RulePorts::OneOf(ports) = &rule.ports else { continue };
        for port in ports {
            if let PortMatch::Range(range) = port {
                let (first, last) = (range.first(), range.last());
                let numbers = [first, last, first.saturating_sub(1), last.saturating_add(1)].into_iter();
                // No packet has port 0.
                let numbers = numbers.filter(|number| *number != 0);
                found.extend(numbers.map(|number| Carries::Port(range.protocol(), number)));
            }
        }
    }
    found
}

/// The flows that both judge in different ways.
pub(super) fn contradictions(judge: &Judge<'_>, output: &Output, flows: &[Between]) -> Vec<Contradiction> {
    if flows.is_empty() {
        return Vec::new();
    }
    let laid_out = table(output);
    let mut found = Vec::new();
    for flow in flows {
        for direction in Direction::ALL {
            let own = match direction {
                Direction::Egress => flow.source,
                Direction::Ingress => flow.destination,
            };
            // Other nodes judge the other end.
            if !output.node_rules().owners.contains_key(&own) {
                continue;
            }
            let Some(words) = words_pass(judge, flow, direction) else { continue };
            let by_table = table_passes(&laid_out, flow, direction).map_err(|error| error.to_string());
            if by_table != Ok(words) {
                let (node, revision) = (output.node().clone(), output.revision().clone());
                found.push(Contradiction { node, revision, flow: *flow, direction, words, table: by_table });
            }
        }
    }
    found
}
