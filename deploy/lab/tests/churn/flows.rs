//! The flows that are tried all the time.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use flock_lab::{Family, Protocol};
use rand::rngs::SmallRng;
use rand::seq::IndexedRandom as _;

use crate::policies::{KEPT_PORT, TCP_PORTS, UDP_PORTS};
use crate::stage::{Place, Role};

/// Flows that start at each place, besides those between keepers.
const FLOWS_EACH: usize = 6;
/// The source port of the first datagram flow; each has its own.
const FIRST_SOURCE_PORT: u16 = 20_000;

/// A flow between two places, given as indexes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Flow {
    pub(crate) from: usize,
    pub(crate) to: usize,
    pub(crate) source: IpAddr,
    pub(crate) destination: SocketAddr,
    pub(crate) protocol: Protocol,
    /// Where its datagrams come from; connections have a new port each.
    pub(crate) source_port: u16,
    /// From one try to the next.
    pub(crate) period: Duration,
}

impl fmt::Display for Flow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} to {} {}", self.source, self.destination, self.protocol)
    }
}

/// Between all keepers on the port that is kept, and random ones from every place.
pub(crate) fn flows(random: &mut SmallRng, places: &[Place]) -> Vec<Flow> {
    let mut flows: Vec<Flow> = Vec::new();
    let mut add = |from: usize, to: usize, family: Family, protocol: Protocol, port: u16, period: u64| {
        let flow = Flow {
            from,
            to,
            source: places[from].address(family),
            destination: SocketAddr::new(places[to].address(family), port),
            protocol,
            source_port: FIRST_SOURCE_PORT + u16::try_from(flows.len()).unwrap(),
            period: Duration::from_millis(period),
        };
        let same = |other: &Flow| (other.source, other.destination, other.protocol);
        if from != to && !flows.iter().any(|other| same(other) == same(&flow)) {
            flows.push(flow);
        }
    };
    let keeps = |place: &Place| place.role == Role::Keeper;
    for (from, _) in places.iter().enumerate().filter(|(_, place)| keeps(place)) {
        for (to, _) in places.iter().enumerate().filter(|(_, place)| keeps(place)) {
            for family in [Family::V4, Family::V6] {
                add(from, to, family, Protocol::Udp, KEPT_PORT, 10);
            }
        }
    }
    let targets: Vec<usize> = (0..places.len()).collect();
    for from in 0..places.len() {
        for index in 0..FLOWS_EACH {
            let family = *[Family::V4, Family::V6].choose(random).unwrap();
            let to = *targets.choose(random).unwrap();
            if index % 2 == 0 {
                add(from, to, family, Protocol::Udp, *UDP_PORTS.choose(random).unwrap(), 30);
            } else {
                add(from, to, family, Protocol::Tcp, *TCP_PORTS.choose(random).unwrap(), 120);
            }
        }
    }
    flows
}
