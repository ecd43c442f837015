//! Policies of every shape, with selectors that overlap and ports on the edges of ranges.

use std::net::IpAddr;

use proptest::collection::{btree_map, vec};
use proptest::option::weighted;
use proptest::prelude::*;
use proptest::sample::select;

use super::addresses::{outside, pool_v4, pool_v6};
use super::{NAMESPACES, PORT_NAMES, PORTS};
use flock_model::oracle::cluster::{
    Direction, Expression, Labels, Net, Operator, Peer, Policy, PolicySpec, Port, PortNumber, Protocol, Rule,
    Selector, Text,
};

const POLICY_NAMES: &[Text] = &["p", "q", "r", "s"];
const KEYS: &[Text] = &["app", "tier", "env"];
const VALUES: &[Text] = &["x", "y", ""];
const PREFIXES_V4: &[u8] = &[32, 31, 30, 29, 28, 24, 8, 1, 0];
const PREFIXES_V6: &[u8] = &[128, 127, 126, 125, 124, 64, 8, 1, 0];

pub(super) fn labels() -> impl Strategy<Value = Labels> {
    btree_map(select(KEYS), select(VALUES), 0..=3)
}

pub(super) fn expression() -> impl Strategy<Value = Expression> {
    let values = || vec(select(VALUES), 1..=2);
    prop_oneof![
        (select(KEYS), values()).prop_map(|(key, values)| Expression { key, operator: Operator::In, values }),
        (select(KEYS), values()).prop_map(|(key, values)| Expression {
            key,
            operator: Operator::NotIn,
            values
        }),
        select(KEYS).prop_map(|key| Expression { key, operator: Operator::Exists, values: Vec::new() }),
        select(KEYS).prop_map(|key| Expression { key, operator: Operator::DoesNotExist, values: Vec::new() }),
    ]
}

pub(super) fn selector() -> impl Strategy<Value = Selector> {
    let of = |match_labels, match_expressions| Selector { match_labels, match_expressions };
    prop_oneof![
        3 => Just(Selector::default()),
        4 => btree_map(select(KEYS), select(VALUES), 1..=1).prop_map(move |pairs| of(pairs, Vec::new())),
        2 => vec(expression(), 1..=2).prop_map(move |expressions| of(Labels::new(), expressions)),
        1 => (btree_map(select(KEYS), select(VALUES), 0..=2), vec(expression(), 0..=2))
            .prop_map(move |(pairs, expressions)| of(pairs, expressions)),
    ]
}

pub(super) fn protocol() -> impl Strategy<Value = Protocol> {
    prop_oneof![4 => Just(Protocol::Tcp), 2 => Just(Protocol::Udp), 2 => Just(Protocol::Sctp)]
}

pub(super) fn port() -> impl Strategy<Value = Port> {
    let number = prop_oneof![
        4 => select(PORTS).prop_map(PortNumber::Number),
        3 => (select(PORTS), select(PORTS)).prop_map(|(a, b)| PortNumber::Range(a.min(b), a.max(b))),
        4 => select(PORT_NAMES).prop_map(PortNumber::Name),
        1 => Just(PortNumber::All),
    ];
    (protocol(), number).prop_map(|(protocol, port)| Port { protocol, port })
}

/// A block around the pool or far from it, and holes strictly inside: nested, adjacent, equal, or all of it.
pub(super) fn block() -> impl Strategy<Value = Peer> {
    let v4 = (pool_v4().prop_map(IpAddr::V4), select(PREFIXES_V4));
    let v6 = (pool_v6().prop_map(IpAddr::V6), select(PREFIXES_V6));
    let anywhere = outside().prop_flat_map(|address| {
        let prefixes = if address.is_ipv4() { PREFIXES_V4 } else { PREFIXES_V6 };
        (Just(address), select(prefixes))
    });
    let holes = vec((any::<u128>(), any::<bool>(), 1u8..=8), 0..=3);
    (prop_oneof![3 => v4, 2 => v6, 1 => anywhere], holes).prop_map(|((address, prefix), holes)| {
        let cidr = Net { address, prefix };
        Peer::Block { cidr, except: holes.into_iter().filter_map(|hole| self::hole(cidr, hole)).collect() }
    })
}

/// A block strictly within `cidr`: near the pool if `near`, and `deeper` bits deeper or so narrow as the pool is.
pub(super) fn hole(cidr: Net, (random, near, deeper): (u128, bool, u8)) -> Option<Net> {
    let width = if cidr.address.is_ipv4() { 32 } else { 128 };
    if cidr.prefix >= width {
        return None;
    }
    // The pool differs in its lowest four bits.
    let host_bits = u32::from(width - cidr.prefix).min(if near { 4 } else { 128 });
    let mask = 1u128.checked_shl(host_bits).map_or(u128::MAX, |bit| bit - 1);
    let flip = |bits: u128| (bits & !mask) | (random & mask);
    let address = match cidr.address {
        IpAddr::V4(address) => IpAddr::V4(u32::try_from(flip(u128::from(u32::from(address)))).ok()?.into()),
        IpAddr::V6(address) => IpAddr::V6(flip(address.into()).into()),
    };
    let prefix =
        if near { (width - deeper / 2).max(cidr.prefix + 1) } else { (cidr.prefix + deeper).min(width) };
    Some(Net { address, prefix })
}

pub(super) fn peer() -> impl Strategy<Value = Peer> {
    prop_oneof![
        2 => selector().prop_map(|pods| Peer::Pods { pods: Some(pods), namespaces: None }),
        1 => selector().prop_map(|namespaces| Peer::Pods { pods: None, namespaces: Some(namespaces) }),
        2 => (selector(), selector())
            .prop_map(|(pods, namespaces)| Peer::Pods { pods: Some(pods), namespaces: Some(namespaces) }),
        3 => block(),
    ]
}

pub(super) fn rule() -> impl Strategy<Value = Rule> {
    (weighted(0.75, vec(peer(), 0..=3)), weighted(0.75, vec(port(), 0..=4)))
        .prop_map(|(peers, ports)| Rule { peers, ports })
}

pub(super) fn types() -> impl Strategy<Value = Vec<Direction>> {
    select(vec![
        vec![Direction::Ingress, Direction::Egress],
        vec![Direction::Ingress],
        vec![Direction::Egress],
        vec![Direction::Egress, Direction::Ingress],
    ])
}

pub(super) fn policy() -> impl Strategy<Value = Policy> {
    let understood = (
        prop_oneof![4 => types().prop_map(Some), 2 => Just(None), 1 => Just(Some(Vec::new()))],
        weighted(0.8, vec(rule(), 0..=3)),
        weighted(0.8, vec(rule(), 0..=3)),
    )
        .prop_map(|(types, ingress, egress)| PolicySpec::Understood { types, ingress, egress });
    let spec =
        prop_oneof![12 => understood, 1 => types().prop_map(|types| PolicySpec::NotUnderstood { types })];
    (select(NAMESPACES), select(POLICY_NAMES), selector(), spec)
        .prop_map(|(namespace, name, pod_selector, spec)| Policy { namespace, name, pod_selector, spec })
}
