//! Merged rules as a rule set that shares nothing yet: what any thread can make, for it looks at nothing that is interned.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use crate::collections::sorted::Sorted;
use crate::identity::{Digest, Identify, Name};
use crate::object::Direction;
use crate::output::{Fingerprint, Membership, PeerPort, RuleSet, Union};
use crate::port::{PortRange, PortSet};
use crate::translate::rules::merge::{PeerUnion, at};

/// What a group of pods allows in one direction: something, and not everything. The port ranges are ordered and disjoint,
/// each with the place of its union among `unions`.
pub(in crate::translate) fn rule_set(
    direction: Direction,
    any_port: PeerUnion,
    ports: &[(PortRange, usize)],
    unions: Vec<PeerUnion>,
    named: Sorted<PeerPort>,
    contested: BTreeMap<IpAddr, PortSet>,
) -> RuleSet {
    let mut digest = Digest::new();
    digest.tag(direction as u8);
    any_port.identify(&mut digest);
    digest.count(ports.len());
    for (range, union) in ports.iter().filter_map(|(range, place)| Some((range, at(&unions, *place)?))) {
        range.identify(&mut digest);
        union.identify(&mut digest);
    }
    digest.each(named.iter());
    digest.count(contested.len());
    for (at, ports) in &contested {
        digest.address(at);
        match ports {
            PortSet::Everything => digest.tag(0),
            PortSet::Ranges(ranges) => {
                digest.tag(1);
                digest.each(ranges.iter());
            }
        }
    }
    let identity = digest.finish();
    let unions: Vec<Arc<Union>> = unions.into_iter().map(|union| Arc::new(union.into())).collect();
    let of_range = |(range, place): &(PortRange, usize)| Some((*range, Arc::clone(at(&unions, *place)?)));
    let named = (!named.is_empty()).then(|| Membership::Destinations(named.into_boxed_slice()));
    let rules = RuleSet {
        identity,
        fingerprint: Fingerprint::default(),
        name: Name::of(&identity),
        direction,
        any_port: any_port.into(),
        ports: ports.iter().filter_map(of_range).collect(),
        named: named.map(|named| Arc::new(named.into())),
        contested,
    };
    // Last, for it is made of its name and of those of chains and sets that it uses.
    RuleSet { fingerprint: Fingerprint::of(&rules), ..rules }
}

impl From<PeerUnion> for Union {
    fn from(union: PeerUnion) -> Self {
        let identity = union.identity();
        let PeerUnion { pods, blocks } = union;
        let pods = (!pods.is_empty()).then(|| Membership::Pods(pods.into_boxed_slice()));
        Self {
            identity,
            name: Name::of(&identity),
            pods: pods.map(|pods| Arc::new(pods.into())),
            v4: blocks.v4.into(),
            v6: blocks.v6.into(),
        }
    }
}
