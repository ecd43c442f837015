//! What a table does to a packet, as the kernel would have it.

use std::net::IpAddr;

use crate::direction::Direction;
use crate::interface::InterfaceName;
use crate::members::{Member, Service};
use crate::port::{PortRange, Protocol};
use crate::{
    Chain, ChainName, Content, Element, Family, Field, Hook, Map, MapName, Match, SetName, SetType,
    Statement, Table, TableName, Transport, Verdict,
};

/// A forwarded packet, as far as rules look at it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packet {
    /// The interface it entered by; `None`: one that no set holds.
    pub inbound: Option<InterfaceName>,
    /// Source address.
    pub source: IpAddr,
    /// Destination address, after DNAT.
    pub destination: IpAddr,
    /// What it carries.
    pub transport: Transport,
    /// Whether it goes in the reply direction of its connection.
    pub reply: bool,
    /// Whether it relates to another connection.
    pub related: bool,
    /// Whether connection tracking meets its connection with it, in mid-stream.
    pub mid_stream: bool,
    /// Whether the source is an address of the node itself.
    pub from_node: bool,
    /// Whether the destination is an address of the node itself.
    pub to_node: bool,
    /// Whether the route back to its source leads to the interface it entered by.
    pub route_back: bool,
    /// TTL or hop limit.
    pub hop_limit: u8,
}

impl Packet {
    /// The first packet of a flow, entered by an interface that no set holds.
    #[must_use]
    pub const fn first(source: IpAddr, destination: IpAddr, transport: Transport) -> Self {
        Self {
            inbound: None,
            source,
            destination,
            transport,
            reply: false,
            related: false,
            mid_stream: false,
            from_node: false,
            to_node: false,
            route_back: true,
            hop_limit: 63,
        }
    }
}

/// Why a table cannot be interpreted: the kernel would refuse it too.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InterpretError {
    /// A rule refers to a set that is not there.
    #[error("no set {0}")]
    NoSet(SetName),
    /// A rule refers to a map that is not there.
    #[error("no map {0}")]
    NoMap(MapName),
    /// A verdict refers to a chain that is not there.
    #[error("no chain {0}")]
    NoChain(ChainName),
    /// More jumps than the kernel allows (16), or a loop.
    #[error("chains nest too deeply")]
    TooDeep,
    /// A rule asks whose address a field is that is none.
    #[error("the field {0:?} is no address")]
    NoAddress(Field),
    /// The fields of a rule do not make an element of the set or map.
    #[error("the fields {0:?} do not fit {1:?}")]
    Mismatch(Vec<Field>, SetType),
}

/// ICMP: destination unreachable, time exceeded, parameter problem (RFC 792).
const ERRORS_V4: [u8; 3] = [3, 11, 12];
/// ICMPv6: destination unreachable, packet too big, time exceeded, parameter problem (RFC 4443).
const ERRORS_V6: [u8; 4] = [1, 2, 3, 4];
/// ICMPv6: neighbour solicitation (RFC 4861).
const NEIGHBOUR_SOLICITATION: u8 = 135;
/// ICMPv6: neighbour solicitation and advertisement (RFC 4861).
const NEIGHBOUR_DISCOVERY: [u8; 2] = [NEIGHBOUR_SOLICITATION, 136];

/// Nested chains that the kernel allows (`NFT_JUMP_STACK_SIZE`).
const JUMP_LIMIT: usize = 16;

/// Returns true if a packet passes every base chain of a table.
///
/// # Errors
/// When the table is inconsistent.
pub fn judge(table: &Table, packet: &Packet) -> Result<bool, InterpretError> {
    judge_at(table, packet, |_| true)
}

/// Returns true if a forwarded packet passes the base chains that judge one direction: what its source may send, or what its
/// destination may receive.
///
/// # Errors
/// When the table is inconsistent.
pub fn judge_direction(table: &Table, packet: &Packet, direction: Direction) -> Result<bool, InterpretError> {
    judge_at(table, packet, |hook| (hook == Hook::ForwardSecond) == (direction == Direction::Ingress))
}

fn judge_at(table: &Table, packet: &Packet, at: impl Fn(Hook) -> bool) -> Result<bool, InterpretError> {
    let of_packets = |(name, _): &(&ChainName, &Chain)| name.table() == TableName::Inet;
    let bases = table.chains.iter().filter(of_packets).map(|(_, chain)| chain);
    let mut bases: Vec<&Chain> = bases.filter(|chain| chain.hook.is_some_and(&at)).collect();
    // As the kernel calls them, in which order the hooks are declared.
    bases.sort_by_key(|chain| chain.hook);
    for base in bases {
        match (run(table, base, packet, 0)?, base.hook) {
            // The policy of these two is drop; at the end of the others a packet goes on.
            (Outcome::Dropped, _) | (Outcome::Fell, Some(Hook::ForwardFirst | Hook::ForwardSecond)) => {
                return Ok(false);
            }
            (Outcome::Accepted | Outcome::Fell, _) => {}
        }
    }
    Ok(true)
}

#[derive(PartialEq, Eq)]
enum Outcome {
    Accepted,
    Dropped,
    /// The chain ended, or returned.
    Fell,
}

fn run(table: &Table, chain: &Chain, packet: &Packet, depth: usize) -> Result<Outcome, InterpretError> {
    // `goto` counts as well, or a loop of those would never end.
    if depth > JUMP_LIMIT {
        return Err(InterpretError::TooDeep);
    }
    'rules: for rule in &chain.rules {
        for condition in &rule.matches {
            if !holds(table, condition, packet)? {
                continue 'rules;
            }
        }
        let verdict = match &rule.statement {
            Statement::Verdict(verdict) | Statement::Counted(verdict) => Some(verdict),
            Statement::Reset | Statement::KeepAndDrop(_) => return Ok(Outcome::Dropped),
            // Neither decides anything, so the next rule is asked.
            Statement::Keep(_) | Statement::Show(_) => None,
            Statement::Map(fields, name) => {
                let map = table.maps.get(name).ok_or_else(|| InterpretError::NoMap(name.clone()))?;
                find(map, fields, packet)?
            }
        };
        let (target, comes_back) = match verdict {
            None => continue,
            Some(Verdict::Accept) => return Ok(Outcome::Accepted),
            Some(Verdict::Drop) => return Ok(Outcome::Dropped),
            Some(Verdict::Return) => return Ok(Outcome::Fell),
            Some(Verdict::Jump(target)) => (target, true),
            Some(Verdict::Goto(target)) => (target, false),
        };
        let next = table.chains.get(target).ok_or_else(|| InterpretError::NoChain(target.clone()))?;
        match run(table, next, packet, depth + 1)? {
            Outcome::Fell if comes_back => {}
            outcome => return Ok(outcome),
        }
    }
    Ok(Outcome::Fell)
}

fn find<'t>(map: &'t Map, fields: &[Field], packet: &Packet) -> Result<Option<&'t Verdict>, InterpretError> {
    let Some(key) = key(fields, map.kind, packet)? else { return Ok(None) };
    if map.kind == SetType::PortRanges {
        let Element::PortRange(port) = key else { return Ok(None) };
        // The keys are ranges and the packet has one port, so it is not found by equality.
        let covering = map.elements.iter().find(|(element, _)| match element {
            Element::PortRange(range) => range.contains(port.protocol(), port.first()),
            _ => false,
        });
        return Ok(covering.map(|(_, verdict)| verdict));
    }
    Ok(map.elements.get(&key))
}

fn holds(table: &Table, condition: &Match, packet: &Packet) -> Result<bool, InterpretError> {
    let icmpv6 = |types: &[u8]| matches!(packet.transport, Transport::Icmpv6(kind) if types.contains(&kind));
    let icmp = |types: &[u8]| matches!(packet.transport, Transport::Icmp(kind) if types.contains(&kind));
    Ok(match condition {
        Match::Reply => packet.reply,
        Match::Family(family) => Family::of(&packet.source) == *family,
        Match::In(fields, name) => contains(table, fields, name, packet)?,
        Match::Unattended => !contains(table, &[Field::Family], &SetName::Attended, packet)?,
        Match::Within(field, block) => address(field, packet).is_some_and(|at| block.contains(at)),
        Match::RelatedError(Family::V4) => packet.related && icmp(&ERRORS_V4),
        Match::RelatedError(Family::V6) => packet.related && icmpv6(&ERRORS_V6),
        Match::NeighbourDiscovery => packet.hop_limit == 255 && icmpv6(&NEIGHBOUR_DISCOVERY),
        Match::AddressDetection => {
            packet.source.is_ipv6() && packet.source.is_unspecified() && icmpv6(&[NEIGHBOUR_SOLICITATION])
        }
        Match::LinkLocal => match (packet.source, packet.destination) {
            (IpAddr::V6(source), IpAddr::V6(destination)) => {
                let multicast = destination.segments()[0] == 0xff02;
                source.is_unicast_link_local() && (destination.is_unicast_link_local() || multicast)
            }
            _ => false,
        },
        Match::Unconfigured => match (packet.source, packet.destination) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                let to_server = Transport::Ports { protocol: Protocol::Udp, destination_port: 67 };
                source.is_unspecified() && destination.is_broadcast() && packet.transport == to_server
            }
            _ => false,
        },
        Match::NotLocal(field) => !is_local(*field, packet)?,
        Match::Delivered => packet.to_node,
        Match::Protocol(wanted) => {
            matches!(packet.transport, Transport::Ports { protocol, .. } if protocol == *wanted)
        }
        Match::MidStreamTcp => is_mid_stream(packet, Protocol::Tcp),
        Match::MidStreamSctp => is_mid_stream(packet, Protocol::Sctp),
        Match::TunnelPorts(ports) => match packet.transport {
            Transport::Ports { protocol: Protocol::Udp, destination_port } => {
                ports.contains(&destination_port)
            }
            _ => false,
        },
        Match::TunnelProtocols => matches!(packet.transport, Transport::Other(4 | 41 | 47 | 97 | 115 | 137)),
        Match::Between(field, first, last) => {
            address(field, packet).is_some_and(|at| (*first..=*last).contains(&at))
        }
        // Of frames, which are not interpreted; neither are translations.
        Match::Translated
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
        | Match::GroupFrame => false,
        Match::NoRouteBack => !packet.route_back,
        // Nothing was taken down before: so a packet goes the longest way.
        Match::NotKept(kept) => Family::of(&packet.source) == kept.family,
        Match::OverBound(..) => false,
        Match::Portless => !matches!(packet.transport, Transport::Ports { .. }),
    })
}

/// Returns true if the field is an address of the node itself.
const fn is_local(field: Field, packet: &Packet) -> Result<bool, InterpretError> {
    match field {
        Field::Source(_) => Ok(packet.from_node),
        Field::Destination(_) => Ok(packet.to_node),
        _ => Err(InterpretError::NoAddress(field)),
    }
}

fn is_mid_stream(packet: &Packet, wanted: Protocol) -> bool {
    let of_protocol = matches!(packet.transport, Transport::Ports { protocol, .. } if protocol == wanted);
    of_protocol && packet.mid_stream && !packet.reply && !packet.related
}

/// Returns true if the packet's fields are in the set; not if the packet lacks one of them.
fn contains(
    table: &Table,
    fields: &[Field],
    name: &SetName,
    packet: &Packet,
) -> Result<bool, InterpretError> {
    let set = table.sets.get(name).ok_or_else(|| InterpretError::NoSet(name.clone()))?;
    let Some(key) = key(fields, set.kind, packet)? else { return Ok(false) };
    Ok(match (&set.content, &key) {
        (Content::Members4(members), Element::Address(IpAddr::V4(address))) => {
            members.contains(&Member { address: *address, service: None })
        }
        (Content::Members6(members), Element::Address(IpAddr::V6(address))) => {
            members.contains(&Member { address: *address, service: None })
        }
        (Content::Members4(members), Element::Destination(IpAddr::V4(address), port)) => {
            members.contains(&Member { address: *address, service: Some(service(port)) })
        }
        (Content::Members6(members), Element::Destination(IpAddr::V6(address), port)) => {
            members.contains(&Member { address: *address, service: Some(service(port)) })
        }
        (Content::Ranges4(ranges), Element::Address(IpAddr::V4(address))) => {
            ranges.ranges.contains((*address).into())
        }
        (Content::Ranges6(ranges), Element::Address(IpAddr::V6(address))) => {
            ranges.ranges.contains((*address).into())
        }
        (Content::Elements(elements), Element::AddressPorts(address, port)) => {
            elements.iter().any(|element| match element {
                Element::AddressPorts(member, range) => {
                    member == address && range.contains(port.protocol(), port.first())
                }
                _ => false,
            })
        }
        (Content::Elements(elements), key) => elements.contains(key),
        _ => false,
    })
}

const fn service(port: &PortRange) -> Service {
    Service { protocol: port.protocol(), port: port.first() }
}

/// The address in a packet's field; `None` if it lacks the field.
fn address(field: &Field, packet: &Packet) -> Option<IpAddr> {
    let (address, family) = match field {
        Field::Source(family) => (packet.source, family),
        Field::Destination(family) => (packet.destination, family),
        _ => return None,
    };
    (Family::of(&address) == *family).then_some(address)
}

/// The element that a packet's fields make; `None` if it lacks one of them.
fn key(fields: &[Field], kind: SetType, packet: &Packet) -> Result<Option<Element>, InterpretError> {
    let address = |field: &Field| address(field, packet);
    let port = match packet.transport {
        Transport::Ports { protocol, destination_port } => {
            Some(PortRange::single(protocol, destination_port))
        }
        _ => None,
    };
    use Field::{Destination, DestinationPort, Inbound, Protocol as L4, Source};
    Ok(match (kind, fields) {
        (SetType::Addresses(f) | SetType::AddressRanges(f), [field @ (Source(g) | Destination(g))])
            if f == *g =>
        {
            address(field).map(Element::Address)
        }
        (SetType::AddressPairs(f), [a @ Source(g), b @ Destination(h)]) if f == *g && f == *h => {
            address(a).zip(address(b)).map(|(a, b)| Element::Pair(a, b))
        }
        (SetType::Destinations(f), [field @ (Source(g) | Destination(g)), L4, DestinationPort])
            if f == *g =>
        {
            address(field).zip(port).map(|(address, port)| Element::Destination(address, port))
        }
        (SetType::AddressPorts(f), [field @ (Source(g) | Destination(g)), DestinationPort]) if f == *g => {
            address(field).zip(port).map(|(address, port)| Element::AddressPorts(address, port))
        }
        (SetType::Ports, [L4, DestinationPort]) => port.map(Element::Ports),
        (SetType::PortRanges, [DestinationPort]) => port.map(Element::PortRange),
        (SetType::Families | SetType::TimedFamilies, [Field::Family]) => {
            Some(Element::Family(Family::of(&packet.source)))
        }
        (SetType::Interfaces, [Inbound]) => packet.inbound.clone().map(Element::Interface),
        (SetType::SourceChecks(f), [Inbound, field @ Source(g)]) if f == *g => packet
            .inbound
            .clone()
            .zip(address(field))
            .map(|(name, address)| Element::SourceCheck(name, address)),
        _ => return Err(InterpretError::Mismatch(fields.to_vec(), kind)),
    })
}

#[cfg(test)]
#[path = "interpret_tests.rs"]
mod tests;
