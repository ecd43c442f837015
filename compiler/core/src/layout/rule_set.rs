//! What a rule set is laid out to: its chains, its maps and its sets of address blocks.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use smallvec::{SmallVec, smallvec};

use super::{Layout, set_of, when};
use crate::identity::Name;
use crate::nft::{
    Allow, ChainName, Content, Element, Family, Field, Map, MapName, Match, Objects, Rule, SetName, SetType,
    Statement, Verdict,
};
use crate::object::Direction;
use crate::output::{BlockSet, Membership, NamedRanges, RuleSet, SetDefinition, Union};
use crate::port::{PortSet, Protocol};

/// A range of at most this many ports is written port by port: a lookup in a hash costs less than in an interval map.
pub(crate) const FEW_PORTS: u16 = 16;

/// The family that numbers of a type are addresses of.
trait RangesOfFamily {
    const FAMILY: Family;
}

impl RangesOfFamily for u32 {
    const FAMILY: Family = Family::V4;
}

impl RangesOfFamily for u128 {
    const FAMILY: Family = Family::V6;
}

/// The field that holds the address of the peer.
const fn peer(direction: Direction, family: Family) -> Field {
    match direction {
        Direction::Ingress => Field::Source(family),
        Direction::Egress => Field::Destination(family),
    }
}

/// Most chains have fewer rules.
const RULES: usize = 4;

const PORT: [Field; 2] = [Field::Protocol, Field::DestinationPort];

/// The chains of a rule set, its maps and its sets of address blocks.
pub(crate) fn chains<O: Objects>(layout: &mut Layout<O>, rules: &RuleSet, allow: Allow) {
    let direction = rules.direction;
    let mut chain = Vec::with_capacity(RULES);
    peer_rules(layout, direction, &rules.any_port, allow, &mut chain);
    // All that looks at addresses stands before the maps: a port that matches leads to a chain that ends in denied.
    if let Some(named) = &rules.named {
        chain.extend(pod_rules(layout, direction, named, allow));
    }
    chain.extend(contested_rules(layout, rules, allow));
    let mut single = BTreeMap::new();
    // By protocol: nft 1.0.6 swaps the bytes of one in interval keys, which newer kernels refuse.
    let mut wide: BTreeMap<Protocol, BTreeMap<Element, Verdict>> = BTreeMap::new();
    for (range, union) in &rules.ports {
        let verdict = towards(layout, direction, union, allow);
        match range.singles(FEW_PORTS) {
            Some(ports) => single.extend(ports.map(|port| (Element::Ports(port), verdict.clone()))),
            None => {
                let of_protocol = wide.entry(range.protocol()).or_default();
                of_protocol.insert(Element::PortRange(*range), verdict);
            }
        }
    }
    // The hash before interval maps, whose lookup costs more. Ranges are disjoint, so no port is in both.
    if !single.is_empty() {
        let map = MapName::Ports(direction, rules.name, allow);
        layout.table.add_map(map.clone(), Map { kind: SetType::Ports, elements: single });
        let statement = Statement::Map(SmallVec::from_slice(&PORT), map);
        chain.push(Rule { matches: SmallVec::new(), statement });
    }
    for (protocol, elements) in wide {
        let map = MapName::PortRanges(direction, rules.name, allow, protocol);
        layout.table.add_map(map.clone(), Map { kind: SetType::PortRanges, elements });
        let statement = Statement::Map(smallvec![Field::DestinationPort], map);
        chain.push(Rule { matches: smallvec![Match::Protocol(protocol)], statement });
    }
    chain.push(when([], Verdict::Goto(ChainName::Denied(direction))));
    layout.add_chain(ChainName::RuleSet(direction, rules.name, allow), None, chain);
}

/// Where a packet goes whose port matches: to the chain that looks at its peer, unless any peer will do.
fn towards<O: Objects>(layout: &mut Layout<O>, direction: Direction, union: &Union, allow: Allow) -> Verdict {
    if union.is_everywhere() {
        return allow.verdict();
    }
    let name = ChainName::Peers(direction, union.name, allow);
    // Several ports, and several rule sets, may lead to one union.
    if layout.peers.insert(name.clone()) {
        let mut rules = Vec::with_capacity(RULES);
        peer_rules(layout, direction, union, allow, &mut rules);
        rules.push(when([], Verdict::Goto(ChainName::Denied(direction))));
        layout.add_chain(name.clone(), None, rules);
    }
    Verdict::Goto(name)
}

/// Adds one rule per family and kind of set, however many peers there are.
fn peer_rules<O: Objects>(
    layout: &mut Layout<O>,
    direction: Direction,
    union: &Union,
    allow: Allow,
    rules: &mut Vec<Rule>,
) {
    if let Some(pods) = &union.pods {
        rules.extend(pod_rules(layout, direction, pods, allow));
    }
    let v4 = block_rules(layout, direction, &union.v4, allow, |ranges| {
        (&ranges.name, Content::Ranges4(Arc::clone(ranges)))
    });
    let v6 = block_rules(layout, direction, &union.v6, allow, |ranges| {
        (&ranges.name, Content::Ranges6(Arc::clone(ranges)))
    });
    rules.extend(v4.into_iter().chain(v6));
}

/// Looks up the peer in the sets of a definition, one rule per family.
fn pod_rules<O: Objects>(
    layout: &Layout<O>,
    direction: Direction,
    definition: &SetDefinition,
    allow: Allow,
) -> impl Iterator<Item = Rule> {
    let rule = move |family| {
        let peer = peer(direction, family);
        let fields = match definition.rule {
            Membership::Pods(_) => smallvec![peer],
            Membership::Destinations(_) => [peer].into_iter().chain(PORT).collect(),
        };
        when([Match::In(fields, set_of(definition, family).0)], allow.verdict())
    };
    layout.families().map(rule)
}

fn block_rules<O: Objects, T: RangesOfFamily>(
    layout: &mut Layout<O>,
    direction: Direction,
    blocks: &BlockSet<T>,
    allow: Allow,
    content: impl Fn(&Arc<NamedRanges<T>>) -> (&Name, Content),
) -> Option<Rule> {
    match blocks {
        BlockSet::Nowhere => None,
        BlockSet::Everywhere => Some(when([Match::Family(T::FAMILY)], allow.verdict())),
        BlockSet::Some(ranges) => {
            let (name, content) = content(ranges);
            let name = SetName::Blocks(T::FAMILY, *name);
            // Several unions may have the same blocks.
            if layout.blocks.insert(name.clone()) {
                layout.add_set(name.clone(), SetType::AddressRanges(T::FAMILY), content);
            }
            Some(when([Match::In(smallvec![peer(direction, T::FAMILY)], name)], allow.verdict()))
        }
    }
}

/// Peers whose address has several owners, with what all of them are allowed.
fn contested_rules<O: Objects>(layout: &mut Layout<O>, rules: &RuleSet, allow: Allow) -> Vec<Rule> {
    let direction = rules.direction;
    let mut found = Vec::new();
    for family in Family::ALL {
        let here = rules.contested.iter().filter(|(address, _)| Family::of(address) == family);
        let mut any = BTreeSet::new();
        let mut some: BTreeMap<Protocol, BTreeSet<Element>> = BTreeMap::new();
        for (address, ports) in here {
            match ports {
                PortSet::Everything => {
                    any.insert(Element::Address(*address));
                }
                PortSet::Ranges(ranges) => {
                    for range in ranges {
                        let of_protocol = some.entry(range.protocol()).or_default();
                        of_protocol.insert(Element::AddressPorts(*address, *range));
                    }
                }
            }
        }
        if !any.is_empty() {
            let name = SetName::ContestedAny(direction, family, rules.name);
            found.push(when([Match::In(smallvec![peer(direction, family)], name.clone())], allow.verdict()));
            layout.add_set(name, SetType::Addresses(family), Content::Elements(any));
        }
        for (protocol, elements) in some {
            let name = SetName::Contested(direction, family, rules.name, protocol);
            let fields = smallvec![peer(direction, family), Field::DestinationPort];
            let matches = [Match::Protocol(protocol), Match::In(fields, name.clone())];
            found.push(when(matches, allow.verdict()));
            layout.add_set(name, SetType::AddressPorts(family), Content::Elements(elements));
        }
    }
    found
}
