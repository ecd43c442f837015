//! Flows that hit the clusters: their addresses and ports, and the edges of what policies name.

use std::net::IpAddr;

use proptest::prelude::*;
use proptest::sample::select;

use super::PORTS;
use super::addresses::{outside_v4, outside_v6, pool_v4, pool_v6};
use super::policies::protocol;
use flock_model::oracle::flow::{Flow, State, Transport};

/// A flow between two addresses of one family, biased to the pool and to the edges of what policies name.
pub(crate) fn flow() -> impl Strategy<Value = Flow> {
    let number = || {
        prop_oneof![
            6 => select(PORTS),
            3 => (select(PORTS), any::<bool>())
                .prop_map(|(port, up)| if up { port.wrapping_add(1) } else { port.wrapping_sub(1) }),
            1 => any::<u16>(),
        ]
    };
    // Kinds that the family has: echo, errors and, in ICMPv6, neighbour discovery.
    let icmp = |kinds: Vec<u8>| {
        (select(kinds), select(vec![64u8, 255]))
            .prop_map(|(kind, hop_limit)| Transport::Icmp { kind, hop_limit })
    };
    let other = || {
        prop_oneof![
            16 => (protocol(), number(), number()).prop_map(|(protocol, from, to)| Transport::Ports(protocol, from, to)),
            1 => select(vec![47u8, 50, 4]).prop_map(Transport::Other),
        ]
    };
    let transport_v4 = prop_oneof![8 => other(), 1 => icmp(vec![8, 0, 3, 4, 5, 11, 12, 13])];
    let transport_v6 =
        prop_oneof![8 => other(), 1 => icmp(vec![128, 129, 1, 2, 3, 4, 133, 134, 135, 136, 137])];
    let state = prop_oneof![
        20 => Just(State::Original),
        2 => Just(State::MidStream),
        1 => Just(State::Reply),
        1 => Just(State::Related),
    ];
    let v4 = || prop_oneof![4 => pool_v4(), 1 => outside_v4()].prop_map(IpAddr::V4);
    let v6 = || prop_oneof![4 => pool_v6(), 1 => outside_v6()].prop_map(IpAddr::V6);
    let ends = prop_oneof![3 => (v4(), v4(), transport_v4), 2 => (v6(), v6(), transport_v6)];
    (ends, state).prop_map(|((source, destination, transport), state)| Flow {
        source,
        destination,
        transport,
        state,
        inbound: None,
    })
}
