//! The kernel's words about drops: questions about sets and rules of nf_tables, and packets that it shows (`NFLOG`).
//! Pure; what comes from the kernel is read as if anybody had sent it.

use std::net::IpAddr;
use std::time::Duration;

use flock_nft::direction::Direction;
use flock_nft::drops::group;
use flock_nft::{ChainName, Family, SetName};
use flock_proto::{DropDirection, DropKey};

/// Header of every netlink message: length, type, flags, sequence, port.
const HEADER: usize = 16;
/// What follows it in messages of netfilter: family, version, resource.
const NETFILTER: usize = 4;
/// Header of an attribute: length and type.
const ATTRIBUTE: usize = 4;
/// The upper bits of an attribute's type are flags.
const ATTRIBUTE_TYPE: u16 = 0x3fff;

const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const NLM_F_REQUEST: u16 = 1;
const NLM_F_ACK: u16 = 4;
const NLM_F_DUMP: u16 = 0x300;
/// `NFPROTO_INET`.
const INET: u8 = 1;
/// `NFNL_SUBSYS_NFTABLES` in the upper byte, and `NFT_MSG_…`.
const NEW_TABLE: u16 = 10 << 8;
const GET_TABLE: u16 = 10 << 8 | 1;
const NEW_RULE: u16 = 10 << 8 | 6;
const GET_RULE: u16 = 10 << 8 | 7;
const NEW_ELEMENT: u16 = 10 << 8 | 12;
const GET_ELEMENT: u16 = 10 << 8 | 13;
/// `NFNL_SUBSYS_ULOG` in the upper byte, and `NFULNL_MSG_…`.
const SHOWN_PACKET: u16 = 4 << 8;
const SHOW_CONFIG: u16 = 4 << 8 | 1;

/// `NFTA_TABLE_NAME`, and that of sets and rules.
const TABLE: u16 = 1;
const TABLE_HANDLE: u16 = 4;
const RULE_CHAIN: u16 = 2;
const RULE_EXPRESSIONS: u16 = 4;
const ELEMENTS_SET: u16 = 2;
const ELEMENTS: u16 = 3;
/// `NFTA_LIST_ELEM`.
const ITEM: u16 = 1;
const ELEMENT_KEY: u16 = 1;
const ELEMENT_EXPIRATION: u16 = 5;
const ELEMENT_EXPRESSION: u16 = 7;
const DATA_VALUE: u16 = 1;
const EXPRESSION_NAME: u16 = 1;
const EXPRESSION_DATA: u16 = 2;
const COUNTER_PACKETS: u16 = 2;
/// `NFULA_PAYLOAD`.
const SHOWN_PAYLOAD: u16 = 9;
/// `NFULA_CFG_CMD`, `_MODE`, `_TIMEOUT`, `_QTHRESH`.
const CONFIG_COMMAND: u16 = 1;
const CONFIG_MODE: u16 = 2;
const CONFIG_TIMEOUT: u16 = 4;
const CONFIG_THRESHOLD: u16 = 5;
/// `NFULNL_CFG_CMD_BIND`.
const BIND: u8 = 1;
/// `NFULNL_COPY_PACKET`.
const COPY_PACKET: u8 = 2;

/// ICMP and ICMPv6.
const WITH_KIND: [u8; 2] = [1, 58];
/// TCP, UDP, SCTP.
const WITH_PORTS: [u8; 3] = [6, 17, 132];

/// The table without its family, as netlink names it.
const NAME: &[u8] = b"flock_netpol\0";

/// A flow that the kernel has taken down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeptFlow {
    /// Which.
    pub key: DropKey,
    /// Packets since it was taken down.
    pub packets: u64,
    /// How long it stays unless a packet comes.
    pub left: Duration,
}

/// What the kernel says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Said {
    /// The table's handle, which no other table of this namespace has had.
    Table(u64),
    /// So many packets a rule has dropped.
    Dropped(u64),
    /// An element of a set.
    Flow(KeptFlow),
    /// That was all, or what was asked is done.
    Done,
    /// It does not answer, for this reason.
    Refused(i32),
}

/// Asks for the table.
pub(super) fn table(sequence: u32) -> Vec<u8> {
    message(GET_TABLE, NLM_F_REQUEST, sequence, INET, 0, &attribute(TABLE, NAME))
}

/// Asks for the rules of a chain.
pub(super) fn rules(chain: &ChainName, sequence: u32) -> Vec<u8> {
    let named = [attribute(TABLE, NAME), attribute(RULE_CHAIN, &named(chain))].concat();
    message(GET_RULE, NLM_F_REQUEST | NLM_F_DUMP, sequence, INET, 0, &named)
}

/// Asks for the elements of a set.
pub(super) fn elements(set: &SetName, sequence: u32) -> Vec<u8> {
    let named = [attribute(TABLE, NAME), attribute(ELEMENTS_SET, &named(set))].concat();
    message(GET_ELEMENT, NLM_F_REQUEST | NLM_F_DUMP, sequence, INET, 0, &named)
}

/// Lets the socket be shown what a direction drops, up to so many bytes of each packet, at once.
pub(super) fn show(direction: Direction, bytes: u32, sequence: u32) -> Vec<u8> {
    let mode = [&bytes.to_be_bytes()[..], &[COPY_PACKET, 0]].concat();
    let body = [
        attribute(CONFIG_COMMAND, &[BIND]),
        attribute(CONFIG_MODE, &mode),
        attribute(CONFIG_TIMEOUT, &1u32.to_be_bytes()),
        attribute(CONFIG_THRESHOLD, &1u32.to_be_bytes()),
    ];
    message(SHOW_CONFIG, NLM_F_REQUEST | NLM_F_ACK, sequence, 0, group(direction), &body.concat())
}

/// What a datagram says in answer to the question of this number, about a set of this direction and family if it was one.
pub(super) fn said(
    datagram: &[u8],
    sequence: u32,
    of: Option<(Direction, Family)>,
    mut hear: impl FnMut(Said),
) {
    for (kind, number, body) in messages(datagram) {
        if number != sequence {
            continue;
        }
        match kind {
            NLMSG_DONE => hear(Said::Done),
            NLMSG_ERROR => match array(body, 0).map(i32::from_ne_bytes) {
                Some(0) => hear(Said::Done),
                other => hear(Said::Refused(other.unwrap_or_default())),
            },
            NEW_TABLE => {
                if let Some(handle) = attributes_of(body).and_then(table_handle) {
                    hear(Said::Table(handle));
                }
            }
            NEW_RULE => {
                let Some(expressions) = attributes_of(body).and_then(|rest| value(rest, RULE_EXPRESSIONS))
                else {
                    continue;
                };
                items(expressions).filter_map(counter).for_each(|packets| hear(Said::Dropped(packets)));
            }
            NEW_ELEMENT => {
                let (Some(elements), Some(of)) =
                    (attributes_of(body).and_then(|rest| value(rest, ELEMENTS)), of)
                else {
                    continue;
                };
                items(elements).filter_map(|item| flow(item, of)).for_each(|flow| hear(Said::Flow(flow)));
            }
            _ => {}
        }
    }
}

/// The flows of packets that a datagram shows.
pub fn shown(datagram: &[u8]) -> impl Iterator<Item = DropKey> + '_ {
    messages(datagram).filter(|(kind, ..)| *kind == SHOWN_PACKET).filter_map(|(_, _, body)| {
        let from = u16::from_be_bytes(array(body, 2)?);
        let direction = Direction::ALL.into_iter().find(|direction| group(*direction) == from)?;
        packet(value(attributes_of(body)?, SHOWN_PAYLOAD)?, told(direction))
    })
}

/// The direction as it is told.
const fn told(direction: Direction) -> DropDirection {
    match direction {
        Direction::Ingress => DropDirection::Ingress,
        Direction::Egress => DropDirection::Egress,
    }
}

/// The messages of a datagram up to the first that is none: kind, number and body.
fn messages(datagram: &[u8]) -> impl Iterator<Item = (u16, u32, &[u8])> {
    let mut rest = datagram;
    std::iter::from_fn(move || {
        let length = usize::try_from(u32::from_ne_bytes(array(rest, 0)?)).ok()?;
        let kind = u16::from_ne_bytes(array(rest, 4)?);
        let sequence = u32::from_ne_bytes(array(rest, 8)?);
        let body = rest.get(HEADER..length)?;
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, sequence, body))
    })
}

fn attributes_of(body: &[u8]) -> Option<&[u8]> {
    body.get(NETFILTER..)
}

fn table_handle(attributes: &[u8]) -> Option<u64> {
    value(attributes, TABLE_HANDLE).and_then(|handle| array(handle, 0)).map(u64::from_be_bytes)
}

/// What an expression has counted, if it is a counter.
fn counter(expression: &[u8]) -> Option<u64> {
    let is_counter = value(expression, EXPRESSION_NAME)? == b"counter\0";
    let packets = value(value(expression, EXPRESSION_DATA).filter(|_| is_counter)?, COUNTER_PACKETS)?;
    array(packets, 0).map(u64::from_be_bytes)
}

/// An element of a set of flows: its key has source, destination, protocol and port, each in as many words as it needs.
fn flow(element: &[u8], (direction, family): (Direction, Family)) -> Option<KeptFlow> {
    let key = value(value(element, ELEMENT_KEY)?, DATA_VALUE)?;
    let length = match family {
        Family::V4 => 4,
        Family::V6 => 16,
    };
    let (source, rest) = key.split_at_checked(length)?;
    let (destination, rest) = rest.split_at_checked(length)?;
    let protocol = *rest.first()?;
    // Each part of a key is padded to four bytes.
    let port = u16::from_be_bytes(array(rest, 4)?);
    let has_port = WITH_PORTS.contains(&protocol) || WITH_KIND.contains(&protocol);
    let key = DropKey {
        source: address(source)?,
        destination: address(destination)?,
        protocol,
        port: if has_port { port } else { 0 },
        direction: told(direction),
    };
    let packets = counter(value(element, ELEMENT_EXPRESSION)?)?;
    let left = value(element, ELEMENT_EXPIRATION).and_then(|left| array(left, 0)).map(u64::from_be_bytes);
    Some(KeptFlow { key, packets, left: Duration::from_millis(left.unwrap_or_default()) })
}

/// The flow of a packet whose first bytes these are.
fn packet(bytes: &[u8], direction: DropDirection) -> Option<DropKey> {
    let (source, destination, protocol, transport) = match bytes.first()? >> 4 {
        4 => {
            let header = usize::from(bytes.first()? & 15) * 4;
            // A later fragment carries no ports. The rule shows none.
            let is_first = u16::from_be_bytes(array(bytes, 6)?) & 0x1fff == 0;
            let transport = bytes.get(header..).filter(|_| is_first)?;
            (address(bytes.get(12..16)?)?, address(bytes.get(16..20)?)?, *bytes.get(9)?, transport)
        }
        6 => {
            let (protocol, transport) = behind_headers(*bytes.get(6)?, bytes.get(40..)?)?;
            (address(bytes.get(8..24)?)?, address(bytes.get(24..40)?)?, protocol, transport)
        }
        _ => return None,
    };
    let port = match protocol {
        _ if WITH_PORTS.contains(&protocol) => u16::from_be_bytes(array(transport, 2)?),
        // Type and code stand where they have no ports.
        _ if WITH_KIND.contains(&protocol) => u16::from_be_bytes(array(transport, 0)?),
        _ => 0,
    };
    Some(DropKey { source, destination, protocol, port, direction })
}

/// What a packet of IPv6 carries, behind hop-by-hop options, routing, fragment and destination options.
fn behind_headers(mut next: u8, mut rest: &[u8]) -> Option<(u8, &[u8])> {
    loop {
        let length = match next {
            0 | 43 | 60 => (usize::from(*rest.get(1)?) + 1) * 8,
            // The header of fragments does not say its length.
            44 => 8,
            _ => return Some((next, rest)),
        };
        next = *rest.first()?;
        rest = rest.get(length..)?;
    }
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    match bytes.len() {
        4 => <[u8; 4]>::try_from(bytes).ok().map(IpAddr::from),
        _ => <[u8; 16]>::try_from(bytes).ok().map(IpAddr::from),
    }
}

/// The attributes up to the first that cannot be read: kind and value.
fn attributes(mut rest: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let length = usize::from(u16::from_ne_bytes(array(rest, 0)?));
        let kind = u16::from_ne_bytes(array(rest, 2)?) & ATTRIBUTE_TYPE;
        let value = rest.get(ATTRIBUTE..length)?;
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, value))
    })
}

fn value(body: &[u8], kind: u16) -> Option<&[u8]> {
    attributes(body).find(|(of, _)| *of == kind).map(|(_, value)| value)
}

/// The values of a list.
fn items(list: &[u8]) -> impl Iterator<Item = &[u8]> {
    attributes(list).filter(|(kind, _)| *kind == ITEM).map(|(_, value)| value)
}

/// A name as netlink has it.
fn named(name: &impl std::fmt::Display) -> Vec<u8> {
    format!("{name}\0").into_bytes()
}

/// An attribute; none of ours is longer than some dozens of bytes.
fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let length = u16::try_from(ATTRIBUTE + value.len()).unwrap_or_default();
    let mut whole = [&length.to_ne_bytes()[..], &kind.to_ne_bytes(), value].concat();
    whole.resize(whole.len().next_multiple_of(4), 0);
    whole
}

fn message(kind: u16, flags: u16, sequence: u32, family: u8, resource: u16, attributes: &[u8]) -> Vec<u8> {
    let length = u32::try_from(HEADER + NETFILTER + attributes.len()).unwrap_or_default();
    let head = [&length.to_ne_bytes()[..], &kind.to_ne_bytes(), &flags.to_ne_bytes()].concat();
    let [first, last] = resource.to_be_bytes();
    [&head, &sequence.to_ne_bytes()[..], &[0; 4], &[family, 0, first, last], attributes].concat()
}

fn array<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..)?.first_chunk().copied()
}

#[cfg(test)]
#[path = "words_tests.rs"]
mod tests;
