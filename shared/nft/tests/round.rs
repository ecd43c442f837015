//! Whatever rule the model can hold is read as it is written, whether or not a layout says it today.

#![allow(clippy::unwrap_used, reason = "a helper of tests may panic as tests do")]

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use flock_nft::direction::Direction;
use flock_nft::drops::{FlowPort, Kept};
use flock_nft::identity::Name;
use flock_nft::pod_cidr::PodCidr;
use flock_nft::port::{PortRange, Protocol};
use flock_nft::read::Lines;
use flock_nft::{
    Allow, Chain, ChainName, Content, Element, Family, Field, Map, MapName, Match, Rule, Set, SetName,
    SetType, Statement, Table, Verdict, write,
};
use smallvec::{SmallVec, smallvec};

const NAME: Name = Name::new(0x0123_4567_89ab_cdef, 0xfedc_ba98_7654_3210);

/// Every name of a set.
fn sets() -> Vec<SetName> {
    let mut all = vec![
        SetName::ComputedInterfaces,
        SetName::ClaimedInterfaces,
        SetName::PodLinks,
        SetName::OpenPorts,
        SetName::OtherPorts,
        SetName::Uplinks,
        SetName::PodPorts,
        SetName::PortTargets,
        SetName::Attended,
    ];
    for family in Family::ALL {
        all.extend([
            SetName::Hairpin(family),
            SetName::SourceChecks(family),
            SetName::Isolated(family),
            SetName::NodeAddresses(family),
            SetName::BridgePods(family),
            SetName::PortAddresses(family),
        ]);
        for direction in Direction::ALL {
            all.push(SetName::Drops(direction, family));
            all.push(SetName::DropSources(direction, family));
        }
        for name in [NAME, "0123456789abcdef".parse().unwrap()] {
            all.push(SetName::Pods(family, name));
            all.push(SetName::Blocks(family, name));
            all.push(SetName::Named(family, name));
            for direction in Direction::ALL {
                all.push(SetName::ContestedAny(direction, family, name));
                let of = |protocol| SetName::Contested(direction, family, name, protocol);
                all.extend(Protocol::ALL.map(of));
            }
        }
    }
    all
}

fn maps() -> Vec<MapName> {
    let mut all = vec![MapName::Open];
    for direction in Direction::ALL {
        all.extend(Family::ALL.map(|family| MapName::Dispatch(direction, family)));
        for allow in [Allow::Accept, Allow::Return] {
            all.push(MapName::Ports(direction, NAME, allow));
            all.extend(Protocol::ALL.map(|protocol| MapName::PortRanges(direction, NAME, allow, protocol)));
        }
    }
    all
}

fn chains() -> Vec<ChainName> {
    let mut all = vec![
        ChainName::Entering,
        ChainName::Translated,
        ChainName::SourceChecks(SetName::ComputedInterfaces),
        ChainName::SourceChecks(SetName::ClaimedInterfaces),
        ChainName::MidStream,
        ChainName::Reset,
        ChainName::Tunnel,
        ChainName::Bridged,
        ChainName::Frames,
        ChainName::FramesTo,
        ChainName::FromPorts,
        ChainName::FromPort,
        ChainName::Neighbours,
        ChainName::FromPortV6,
        ChainName::ToPorts,
        ChainName::ToPort,
    ];
    for direction in Direction::ALL {
        all.extend([
            ChainName::Base(direction),
            ChainName::Denied(direction),
            ChainName::Unkept(direction, Family::V4),
            ChainName::Unkept(direction, Family::V6),
            ChainName::Portless(direction, Family::V4),
            ChainName::Portless(direction, Family::V6),
            ChainName::All(direction, IpAddr::V4(Ipv4Addr::LOCALHOST)),
            ChainName::All(direction, IpAddr::V6(Ipv6Addr::LOCALHOST)),
        ]);
        for allow in [Allow::Accept, Allow::Return] {
            all.push(ChainName::RuleSet(direction, NAME, allow));
            all.push(ChainName::Peers(direction, NAME, allow));
        }
    }
    all
}

/// The fields that a set or map of this kind is asked by.
fn fields(kind: SetType) -> SmallVec<[Field; 3]> {
    use Field::{Destination, DestinationPort, Inbound, Protocol, Source};
    match kind {
        SetType::Addresses(family) | SetType::AddressRanges(family) => smallvec![Destination(family)],
        SetType::Drops(_) | SetType::DropSources(_) => unreachable!("no rule looks these up by fields"),
        SetType::AddressPairs(family) => smallvec![Source(family), Destination(family)],
        SetType::Destinations(family) => smallvec![Source(family), Protocol, DestinationPort],
        SetType::AddressPorts(family) => smallvec![Destination(family), DestinationPort],
        SetType::Interfaces => smallvec![Field::Outbound],
        SetType::SourceChecks(family) => smallvec![Inbound, Source(family)],
        SetType::Targets => smallvec![Inbound, Field::NeighbourTarget],
        SetType::Families | SetType::TimedFamilies => smallvec![Field::Family],
        SetType::Ports => smallvec![Protocol, DestinationPort],
        SetType::PortRanges => smallvec![DestinationPort],
    }
}

/// Every kind of flow that is taken down.
fn kept() -> impl Iterator<Item = Kept> {
    Direction::ALL.into_iter().flat_map(|direction| {
        Family::ALL
            .into_iter()
            .flat_map(move |family| FlowPort::ALL.map(move |port| Kept { direction, family, port }))
    })
}

/// Every condition; one that is missing here does not compile.
fn conditions() -> Vec<Match> {
    let v4 = |text: &str| text.parse::<IpAddr>().unwrap();
    let looked_up = |set: &SetName| !matches!(set.kind(), SetType::Drops(_) | SetType::DropSources(_));
    let named = sets().into_iter().filter(looked_up);
    let mut all: Vec<Match> = named.map(|set| Match::In(fields(set.kind()), set)).collect();
    all.extend([
        Match::Reply,
        Match::Portless,
        Match::Unattended,
        Match::NeighbourDiscovery,
        Match::AddressDetection,
        Match::LinkLocal,
        Match::Unconfigured,
        Match::NoRouteBack,
        Match::MidStreamTcp,
        Match::MidStreamSctp,
        Match::TunnelProtocols,
        Match::Delivered,
        Match::Translated,
        Match::Tagged,
        Match::Arp,
        Match::Neighbour,
        Match::ListenerReport,
        Match::GroupFrame,
        Match::FirstReport,
        Match::NeighbourMessage,
        Match::RouterMessage,
        Match::Solicitation,
        Match::TargetOfLink,
        Match::HeadersInFragments,
        Match::ArpProbe,
        Match::FrameV6,
        Match::FrameV4,
        Match::FramePacket,
        Match::In(smallvec![Field::Inbound, Field::ArpSender], SetName::PortAddresses(Family::V4)),
        Match::In(
            smallvec![Field::Outbound, Field::Destination(Family::V6)],
            SetName::PortAddresses(Family::V6),
        ),
        Match::TunnelPorts(Arc::new(BTreeSet::from([1, 4789, 65535]))),
        Match::Within(Field::Source(Family::V4), PodCidr::new("10.0.0.0/8".parse().unwrap()).unwrap()),
        Match::Within(Field::Destination(Family::V6), PodCidr::new("fe80::/10".parse().unwrap()).unwrap()),
        Match::Between(Field::Source(Family::V4), v4("10.0.0.1"), v4("10.0.0.254")),
        Match::Between(Field::Destination(Family::V6), v4("fd00::1"), v4("fd00::ffff")),
    ]);
    all.extend(kept().map(Match::NotKept));
    for direction in Direction::ALL {
        all.extend(Family::ALL.map(|family| Match::OverBound(direction, family)));
    }
    all.extend(Family::ALL.map(Match::Family));
    all.extend(Family::ALL.map(Match::RelatedError));
    all.extend(Protocol::ALL.map(Match::Protocol));
    for family in Family::ALL {
        for field in [Field::Source(family), Field::Destination(family)] {
            all.push(Match::NotLocal(field));
        }
    }
    for condition in &all {
        match condition {
            Match::Reply
            | Match::NotKept(_)
            | Match::OverBound(..)
            | Match::Portless
            | Match::Unattended
            | Match::Family(_)
            | Match::In(..)
            | Match::Within(..)
            | Match::RelatedError(_)
            | Match::NeighbourDiscovery
            | Match::AddressDetection
            | Match::LinkLocal
            | Match::Unconfigured
            | Match::NotLocal(_)
            | Match::NoRouteBack
            | Match::Delivered
            | Match::Translated
            | Match::Protocol(_)
            | Match::MidStreamTcp
            | Match::MidStreamSctp
            | Match::TunnelPorts(_)
            | Match::TunnelProtocols
            | Match::Tagged
            | Match::Arp
            | Match::Neighbour
            | Match::ListenerReport
            | Match::FirstReport
            | Match::NeighbourMessage
            | Match::RouterMessage
            | Match::Solicitation
            | Match::TargetOfLink
            | Match::HeadersInFragments
            | Match::ArpProbe
            | Match::FrameV6
            | Match::FrameV4
            | Match::FramePacket
            | Match::GroupFrame
            | Match::Between(..) => {}
        }
    }
    all
}

fn statements() -> Vec<Statement> {
    let mut verdicts = vec![Verdict::Accept, Verdict::Drop, Verdict::Return];
    verdicts.extend(chains().into_iter().flat_map(|to| [Verdict::Goto(to.clone()), Verdict::Jump(to)]));
    let counted = verdicts.iter().cloned().map(Statement::Counted);
    let mut all: Vec<Statement> = counted.collect();
    all.extend(verdicts.into_iter().map(Statement::Verdict));
    all.extend(maps().into_iter().map(|map| Statement::Map(fields(map.kind()), map)));
    all.push(Statement::Reset);
    all.extend(kept().flat_map(|kept| [Statement::Keep(kept), Statement::KeepAndDrop(kept)]));
    all.extend(Direction::ALL.map(Statement::Show));
    all
}

fn element(kind: SetType, protocol: Protocol) -> Option<Element> {
    let address = |family| match family {
        Family::V4 => IpAddr::V4(Ipv4Addr::LOCALHOST),
        Family::V6 => "::ffff:10.0.0.1".parse().unwrap(),
    };
    let range = PortRange::new(protocol, 1, 65_535).unwrap();
    Some(match kind {
        SetType::Addresses(family) => Element::Address(address(family)),
        // Those of ranges are no elements, and those that the agent or packets add none of a script's.
        SetType::AddressRanges(_) | SetType::TimedFamilies | SetType::Drops(_) | SetType::DropSources(_) => {
            return None;
        }
        SetType::AddressPairs(family) => Element::Pair(address(family), address(family)),
        SetType::Destinations(family) => {
            Element::Destination(address(family), PortRange::single(Protocol::Sctp, 9))
        }
        SetType::AddressPorts(family) => Element::AddressPorts(address(family), range),
        SetType::Interfaces => Element::Interface("veth-a_b.1".parse().unwrap()),
        SetType::SourceChecks(family) => Element::SourceCheck("eth0".parse().unwrap(), address(family)),
        SetType::Targets => Element::Target("eth0".parse().unwrap(), Ipv6Addr::LOCALHOST),
        SetType::Families => Element::Family(Family::V6),
        SetType::Ports => Element::Ports(PortRange::single(Protocol::Udp, 53)),
        SetType::PortRanges => Element::PortRange(range),
    })
}

#[test]
fn everything_that_can_be_written_is_read() {
    let (conditions, statements) = (conditions(), statements());
    let mut table = Table { bridge: true, ..Table::default() };
    let mut rules: Vec<Rule> = Vec::new();
    for condition in &conditions {
        for second in [conditions.first(), conditions.last()] {
            let matches = [condition].into_iter().chain(second).cloned().collect();
            rules.push(Rule { matches, statement: Statement::Verdict(Verdict::Accept) });
        }
    }
    let alone = statements.into_iter().map(|statement| Rule { matches: SmallVec::new(), statement });
    rules.extend(alone);
    for name in chains() {
        table.chains.insert(name.clone(), Chain { hook: name.hook(), rules: rules.clone() });
    }
    for name in sets() {
        let protocol = if let SetName::Contested(.., protocol) = name { protocol } else { Protocol::Tcp };
        let elements = element(name.kind(), protocol).into_iter().collect();
        table.sets.insert(name.clone(), Set { kind: name.kind(), content: Content::Elements(elements) });
    }
    for name in maps() {
        let protocol = if let MapName::PortRanges(.., protocol) = name { protocol } else { Protocol::Tcp };
        let key = element(name.kind(), protocol);
        let elements: BTreeMap<_, _> = key.into_iter().map(|key| (key, Verdict::Drop)).collect();
        table.maps.insert(name.clone(), Map { kind: name.kind(), elements });
    }
    let script = write(&table);
    let again: String = Lines::of(script.as_bytes())
        .map(|line| format!("{}\n", line.unwrap_or_else(|error| panic!("{error}"))))
        .collect();
    assert_eq!(again, script);
}
