//! Elements of sets and maps are read.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

use super::name::whole;
use super::{Object, rule};
use crate::block::Ranges;
use crate::model::{Element, SetType, Verdict};
use crate::name::Family;
use crate::port::{PortRange, Protocol};
use crate::words::Mapped;

/// What stands between commas.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Item {
    /// An element, or the key of a map that loses it.
    Element(Element),
    /// An element of a set of address ranges.
    Block(Block),
    /// An element of a map.
    Mapped(Element, Verdict),
}

/// An address range, both ends included, of one family.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Block {
    first: IpAddr,
    last: IpAddr,
}

impl fmt::Display for Block {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // By what the writer says ranges with, so that both spell them alike.
        let text = match (self.first, self.last) {
            (IpAddr::V4(first), IpAddr::V4(last)) => {
                Ranges::<u32>::union_of([(first.into(), last.into())]).display().next()
            }
            (IpAddr::V6(first), IpAddr::V6(last)) => {
                Ranges::<u128>::union_of([(first.into(), last.into())]).display().next()
            }
            _ => None,
        };
        f.write_str(&text.unwrap_or_default())
    }
}

impl fmt::Display for Item {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Element(element) => element.fmt(f),
            Self::Block(block) => block.fmt(f),
            Self::Mapped(key, verdict) => Mapped(key, verdict).fmt(f),
        }
    }
}

/// Items between commas.
pub(super) fn list(text: &str, read: impl Fn(&str) -> Option<Item>) -> Option<Vec<Item>> {
    text.split(", ").map(read).collect()
}

/// An element of a set, or the key of a map's element.
pub(super) fn item(text: &str, object: &Object) -> Option<Item> {
    match object.kind() {
        SetType::AddressRanges(family) => block(text, family).map(Item::Block),
        _ => element(text, object).map(Item::Element),
    }
}

/// An element of a map.
pub(super) fn mapped(text: &str, object: &Object) -> Option<Item> {
    let (key, verdict) = text.split_once(" : ")?;
    Some(Item::Mapped(element(key, object)?, rule::verdict(verdict)?))
}

fn element(text: &str, object: &Object) -> Option<Element> {
    let halves = || text.split_once(" . ");
    match object.kind() {
        SetType::Addresses(family) => address(text, family).map(Element::Address),
        // A block is no element of the model.
        SetType::AddressRanges(_) => None,
        // Whose elements a compiler never says.
        SetType::TimedFamilies | SetType::Drops(_) | SetType::DropSources(_) => None,
        SetType::AddressPairs(family) => {
            let (source, destination) = halves()?;
            Some(Element::Pair(address(source, family)?, address(destination, family)?))
        }
        SetType::Destinations(family) => {
            let (at, service) = halves()?;
            // This is a hash, which knows no ranges.
            let port = ports(service).filter(PortRange::is_single)?;
            Some(Element::Destination(address(at, family)?, port))
        }
        SetType::AddressPorts(family) => {
            let (at, numbers) = halves()?;
            Some(Element::AddressPorts(address(at, family)?, range(numbers, object.protocol()?)?))
        }
        SetType::Interfaces => interface(text).map(Element::Interface),
        SetType::SourceChecks(family) => {
            let (name, at) = halves()?;
            Some(Element::SourceCheck(interface(name)?, address(at, family)?))
        }
        SetType::Targets => {
            let (name, at) = halves()?;
            // Signs, capitals and missing zeros pass here, and are refused when the line is compared with what is
            // written of it.
            let bits = u128::from_str_radix(at.strip_prefix("0x")?, 16).ok()?;
            Some(Element::Target(interface(name)?, Ipv6Addr::from(bits)))
        }
        SetType::Families => whole(text).map(Element::Family),
        SetType::Ports => ports(text).filter(PortRange::is_single).map(Element::Ports),
        SetType::PortRanges => range(text, object.protocol()?).map(Element::PortRange),
    }
}

fn address(text: &str, family: Family) -> Option<IpAddr> {
    text.parse().ok().filter(|address| Family::of(address) == family)
}

fn interface<T: std::str::FromStr>(text: &str) -> Option<T> {
    text.strip_prefix('"')?.strip_suffix('"')?.parse().ok()
}

/// A protocol and its ports.
fn ports(text: &str) -> Option<PortRange> {
    let (protocol, numbers) = text.split_once(" . ")?;
    range(numbers, whole(protocol)?)
}

fn range(text: &str, protocol: Protocol) -> Option<PortRange> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    PortRange::new(protocol, first.parse().ok()?, last.parse().ok()?)
}

fn block(text: &str, family: Family) -> Option<Block> {
    let (first, last) = if let Some((first, last)) = text.split_once('-') {
        (address(first, family)?, address(last, family)?)
    } else if text.contains('/') {
        let net: ipnet::IpNet = text.parse().ok()?;
        // Host bits are cut off here, and refused when the line is compared with what is written of it.
        (net.network(), net.broadcast())
    } else {
        let address = address(text, family)?;
        (address, address)
    };
    (Family::of(&first) == family && first <= last).then_some(Block { first, last })
}
