//! The kernel's words about connections that are tracked, and about the node's own addresses: questions, and what the
//! answers say. Pure; what comes from the kernel is read as if anybody had sent it.

use std::net::IpAddr;

use flock_proto::{Flow, Translated};

/// Header of every netlink message: length, type, flags, sequence, port.
const HEADER: usize = 16;
/// What follows it in messages of netfilter: family, version, resource.
const NETFILTER: usize = 4;
/// What follows it in messages about addresses: family, prefix, flags, scope, interface.
const INTERFACE: usize = 8;
/// Header of an attribute: length and type.
const ATTRIBUTE: usize = 4;
/// The upper bits of an attribute's type are flags.
const ATTRIBUTE_TYPE: u16 = 0x3fff;
const NESTED: u16 = 0x8000;

const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const NLM_F_REQUEST: u16 = 1;
const NLM_F_DUMP: u16 = 0x300;
const RTM_NEWADDR: u16 = 20;
const RTM_GETADDR: u16 = 22;
/// `NFNL_SUBSYS_CTNETLINK` in the upper byte, and `IPCTNL_MSG_CT_NEW`, `_GET` and `_DELETE`.
const CT_NEW: u16 = 1 << 8;
const CT_GET: u16 = 1 << 8 | 1;
const CT_DELETE: u16 = 1 << 8 | 2;
const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;

const CTA_TUPLE_ORIG: u16 = 1;
const CTA_TUPLE_REPLY: u16 = 2;
const CTA_ID: u16 = 12;
const CTA_ZONE: u16 = 18;
const CTA_FILTER: u16 = 25;
const CTA_FILTER_ORIG_FLAGS: u16 = 1;
const CTA_FILTER_REPLY_FLAGS: u16 = 2;
/// That the source address of a tuple is to be equal.
const FILTER_SOURCE: u32 = 1;
const CTA_TUPLE_IP: u16 = 1;
const CTA_TUPLE_PROTO: u16 = 2;
const CTA_IP_V4_SRC: u16 = 1;
const CTA_IP_V4_DST: u16 = 2;
const CTA_IP_V6_SRC: u16 = 3;
const CTA_IP_V6_DST: u16 = 4;
const CTA_PROTO_NUM: u16 = 1;
const CTA_PROTO_SRC_PORT: u16 = 2;
const CTA_PROTO_DST_PORT: u16 = 3;
const CTA_PROTO_ICMP_TYPE: u16 = 5;
const CTA_PROTO_ICMPV6_TYPE: u16 = 8;
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;

/// Which entries the kernel is to tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Which {
    /// Those of both families.
    All,
    /// Those whose first direction comes from an address.
    From(IpAddr),
    /// Those whose first direction goes to an address, after translation: what answers comes from there.
    To(IpAddr),
}

/// An entry of connection tracking.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConntrackEntry {
    /// The connection.
    pub flow: Flow,
    /// By what the kernel knows it: the family, and tuple, zone and number as they came.
    key: Key,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Key {
    family: u8,
    attributes: Box<[u8]>,
}

/// One message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CtMessage {
    /// An entry.
    Entry(ConntrackEntry),
    /// An address of the node.
    Own(IpAddr),
    /// All is said.
    Done,
    /// The kernel refuses the question; the number of the error.
    Refused(i32),
    /// Something else, or something that cannot be read.
    Other,
}

/// The question for entries.
#[must_use]
pub fn entries(which: Which, sequence: u32) -> Vec<u8> {
    let address = match which {
        Which::All => None,
        Which::From(address) | Which::To(address) => Some(address),
    };
    let family = address.map_or(0, family_of);
    let mut body = vec![family, 0, 0, 0];
    if let Some(address) = address {
        let (tuple, orig, reply) = match which {
            Which::To(_) => (CTA_TUPLE_REPLY, 0, FILTER_SOURCE),
            Which::From(_) | Which::All => (CTA_TUPLE_ORIG, FILTER_SOURCE, 0),
        };
        let source = match address {
            IpAddr::V4(address) => attribute(CTA_IP_V4_SRC, &address.octets()),
            IpAddr::V6(address) => attribute(CTA_IP_V6_SRC, &address.octets()),
        };
        body.extend(attribute(tuple | NESTED, &attribute(CTA_TUPLE_IP | NESTED, &source)));
        let flags = |kind, flags: u32| attribute(kind, &flags.to_ne_bytes());
        let flags = [flags(CTA_FILTER_ORIG_FLAGS, orig), flags(CTA_FILTER_REPLY_FLAGS, reply)].concat();
        body.extend(attribute(CTA_FILTER | NESTED, &flags));
    }
    message(CT_GET, NLM_F_REQUEST | NLM_F_DUMP, sequence, &body)
}

/// The demand that an entry be removed. Another one with the same tuple, which is younger, stays.
#[must_use]
pub fn removal(entry: &ConntrackEntry, sequence: u32) -> Vec<u8> {
    let body = [&[entry.key.family, 0, 0, 0][..], &entry.key.attributes].concat();
    message(CT_DELETE, NLM_F_REQUEST, sequence, &body)
}

/// The question for the node's own addresses.
#[must_use]
pub fn own_addresses(sequence: u32) -> Vec<u8> {
    message(RTM_GETADDR, NLM_F_REQUEST | NLM_F_DUMP, sequence, &[0; INTERFACE])
}

/// What the messages of a datagram say that answer the question with this number, in order.
pub fn said(datagram: &[u8], sequence: u32) -> impl Iterator<Item = CtMessage> + '_ {
    let mut rest = datagram;
    std::iter::from_fn(move || {
        loop {
            let length = usize::try_from(u32::from_ne_bytes(array(rest, 0)?)).ok()?;
            let message = rest.get(..length).filter(|message| message.len() >= HEADER);
            rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
            let Some(message) = message else {
                rest = &[];
                return Some(CtMessage::Other);
            };
            // Answers to demands of removal stand between those to the question.
            if array(message, 8).map(u32::from_ne_bytes) == Some(sequence) {
                return Some(one(message));
            }
        }
    })
}

fn one(message: &[u8]) -> CtMessage {
    let read = || {
        let body = message.get(HEADER..)?;
        Some(match array(message, 4).map(u16::from_ne_bytes)? {
            NLMSG_DONE => CtMessage::Done,
            NLMSG_ERROR => match i32::from_ne_bytes(array(body, 0)?) {
                // Error 0 is an acknowledgement.
                0 => CtMessage::Other,
                error => CtMessage::Refused(error),
            },
            CT_NEW => CtMessage::Entry(entry(*body.first()?, body.get(NETFILTER..)?)?),
            RTM_NEWADDR => CtMessage::Own(own_address(body.get(INTERFACE..)?)?),
            _ => CtMessage::Other,
        })
    };
    read().unwrap_or(CtMessage::Other)
}

fn entry(family: u8, body: &[u8]) -> Option<ConntrackEntry> {
    let (orig, reply) = (value(body, CTA_TUPLE_ORIG)?, value(body, CTA_TUPLE_REPLY)?);
    // Whoever replies is who was reached, also behind a Service's address.
    let (source, destination) = (source_of(orig)?, source_of(reply)?);
    if family_of(source) != family || family_of(destination) != family {
        return None;
    }
    let (there, back) = (value(orig, CTA_TUPLE_PROTO)?, value(reply, CTA_TUPLE_PROTO)?);
    let protocol = *value(there, CTA_PROTO_NUM)?.first()?;
    let icmp = value(there, CTA_PROTO_ICMP_TYPE).or_else(|| value(there, CTA_PROTO_ICMPV6_TYPE));
    let number = |tuple, kind| value(tuple, kind).and_then(|port| array(port, 0)).map(u16::from_be_bytes);
    let port = match icmp {
        Some(kind) => u16::from(*kind.first()?),
        None => number(back, CTA_PROTO_SRC_PORT).unwrap_or_default(),
    };
    // What is not told counts as another one.
    let translated = Translated {
        source: destination_of(reply) != Some(source),
        destination: destination_of(orig) != Some(destination)
            || number(there, CTA_PROTO_DST_PORT) != number(back, CTA_PROTO_SRC_PORT),
    };
    // As they came, so that nothing is lost that tells entries apart. Without its number another one might be hit.
    value(body, CTA_ID)?;
    let kept = attributes(body).filter(|it| matches!(it.kind, CTA_TUPLE_ORIG | CTA_ZONE | CTA_ID));
    let attributes: Vec<u8> = kept.flat_map(|it| padded(it.whole)).collect();
    let key = Key { family, attributes: attributes.into() };
    Some(ConntrackEntry { flow: Flow { source, destination, protocol, port, translated }, key })
}

/// The source address of a tuple.
fn source_of(tuple: &[u8]) -> Option<IpAddr> {
    let addresses = value(tuple, CTA_TUPLE_IP)?;
    value(addresses, CTA_IP_V4_SRC).or_else(|| value(addresses, CTA_IP_V6_SRC)).and_then(address)
}

/// The destination address of a tuple.
fn destination_of(tuple: &[u8]) -> Option<IpAddr> {
    let addresses = value(tuple, CTA_TUPLE_IP)?;
    value(addresses, CTA_IP_V4_DST).or_else(|| value(addresses, CTA_IP_V6_DST)).and_then(address)
}

fn own_address(body: &[u8]) -> Option<IpAddr> {
    // That of a link between two ends is local; the other one is the peer's.
    value(body, IFA_LOCAL).or_else(|| value(body, IFA_ADDRESS)).and_then(address)
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    match bytes.len() {
        4 => <[u8; 4]>::try_from(bytes).ok().map(IpAddr::from),
        _ => <[u8; 16]>::try_from(bytes).ok().map(IpAddr::from),
    }
}

const fn family_of(address: IpAddr) -> u8 {
    match address {
        IpAddr::V4(_) => AF_INET,
        IpAddr::V6(_) => AF_INET6,
    }
}

struct Attribute<'a> {
    kind: u16,
    value: &'a [u8],
    whole: &'a [u8],
}

/// The attributes up to the first that cannot be read.
fn attributes(mut rest: &[u8]) -> impl Iterator<Item = Attribute<'_>> {
    std::iter::from_fn(move || {
        let length = usize::from(u16::from_ne_bytes(array(rest, 0)?));
        let kind = u16::from_ne_bytes(array(rest, 2)?) & ATTRIBUTE_TYPE;
        let (value, whole) = (rest.get(ATTRIBUTE..length)?, rest.get(..length)?);
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some(Attribute { kind, value, whole })
    })
}

fn value(body: &[u8], kind: u16) -> Option<&[u8]> {
    attributes(body).find(|attribute| attribute.kind == kind).map(|attribute| attribute.value)
}

fn padded(bytes: &[u8]) -> Vec<u8> {
    let mut padded = bytes.to_vec();
    padded.resize(bytes.len().next_multiple_of(4), 0);
    padded
}

/// An attribute; none of ours is longer than some dozens of bytes.
fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let length = u16::try_from(ATTRIBUTE + value.len()).unwrap_or_default();
    padded(&[&length.to_ne_bytes()[..], &kind.to_ne_bytes(), value].concat())
}

fn message(kind: u16, flags: u16, sequence: u32, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(HEADER + body.len()).unwrap_or_default();
    let head = [&length.to_ne_bytes()[..], &kind.to_ne_bytes(), &flags.to_ne_bytes()].concat();
    [&head, &sequence.to_ne_bytes()[..], &[0; 4], body].concat()
}

fn array<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..)?.first_chunk().copied()
}

#[cfg(test)]
#[path = "message_tests.rs"]
mod tests;
