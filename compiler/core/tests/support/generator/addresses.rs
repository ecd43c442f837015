//! Few addresses, so that blocks cut through pods and several pods claim one; and those around them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use proptest::prelude::*;
use proptest::sample::select;

use flock_model::oracle::cluster::Net;

/// Addresses that pods may have; they lie on both sides of the edge of a /29, as the IPv6 ones do of a /126.
pub(super) fn pool_v4() -> impl Strategy<Value = Ipv4Addr> {
    (1u8..=9).prop_map(|last| Ipv4Addr::new(10, 0, 0, last))
}

pub(super) fn pool_v6() -> impl Strategy<Value = Ipv6Addr> {
    (1u16..=6).prop_map(|last| Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, last))
}

pub(super) fn pool() -> impl Strategy<Value = IpAddr> {
    prop_oneof![3 => pool_v4().prop_map(IpAddr::V4), 2 => pool_v6().prop_map(IpAddr::V6)]
}

/// A block for a node's pods that cuts through the pool, or holds all of it.
pub(super) fn pod_cidr() -> impl Strategy<Value = Net> {
    let v4 = (pool_v4().prop_map(IpAddr::V4), select(vec![30u8, 29, 28, 24]));
    let v6 = (pool_v6().prop_map(IpAddr::V6), select(vec![127u8, 126, 125, 64]));
    prop_oneof![3 => v4, 2 => v6].prop_map(|(address, prefix)| Net { address, prefix })
}

/// IPv4 addresses that no pod has: neighbours of the pool, edges of likely blocks and of the address space, anything.
pub(super) fn outside_v4() -> impl Strategy<Value = Ipv4Addr> {
    let edges = [
        "10.0.0.0",
        "10.0.0.10",
        "10.0.0.15",
        "10.0.0.16",
        "10.0.0.255",
        "10.0.1.0",
        "9.255.255.255",
        "11.0.0.0",
        "0.0.0.0",
        "127.255.255.255",
        "128.0.0.0",
        "255.255.255.255",
    ];
    let edges = edges.map(|text| text.parse().unwrap()).to_vec();
    prop_oneof![3 => select(edges), 1 => any::<u32>().prop_map(Ipv4Addr::from)]
}

/// The same of IPv6.
pub(super) fn outside_v6() -> impl Strategy<Value = Ipv6Addr> {
    let edges = [
        "fd00::",
        "fd00::7",
        "fd00::8",
        "fd00::f",
        "fd00::10",
        "fd00::ffff:ffff:ffff:ffff",
        "fd00:0:0:1::",
        "fcff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
        "fe00::",
        "::",
        "7fff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
        "8000::",
        "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
        "::a00:1",
    ];
    let edges = edges.map(|text| text.parse().unwrap()).to_vec();
    prop_oneof![3 => select(edges), 1 => any::<u128>().prop_map(Ipv6Addr::from)]
}

pub(super) fn outside() -> impl Strategy<Value = IpAddr> {
    prop_oneof![outside_v4().prop_map(IpAddr::V4), outside_v6().prop_map(IpAddr::V6)]
}
