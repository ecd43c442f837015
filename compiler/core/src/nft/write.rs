//! The writer: a table as the script that replaces it.
//!
//! nft 1.0.6 knows no `destroy`, so the script adds the table, which does nothing if it is there, and deletes it.
//! It also wants one statement per line, and `typeof` instead of `type`.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::net::IpAddr;

use flock_shared::TABLE;

use super::model::{
    Chain, Content, Element, Field, Hook, Map, Match, Rule, Set, SetType, Statement, Table, Verdict,
};
use super::name::{Family, MapName, SetName};
use super::text::{Decimals, v4};
use crate::members::{Member, Service};
use crate::port::{PortRange, Protocol};

/// Elements on one line of a script.
const ELEMENTS_PER_LINE: usize = 8;
/// Elements in one statement that deletes.
const ELEMENTS_PER_DELETION: usize = 64;

/// The full script: replaces whatever our table holds, in one transaction.
#[must_use]
pub fn write(table: &Table) -> String {
    let mut out = String::with_capacity(least(table));
    // Writing to a String cannot fail.
    let _: fmt::Result = write_table(&mut out, table);
    out
}

/// What the script will have at least, about: bytes.
fn least(table: &Table) -> usize {
    let sets = table.sets.values().map(|set| match &set.content {
        Content::Members4(members) => 64 + 10 * members.len(),
        Content::Members6(members) => 64 + 20 * members.len(),
        Content::Ranges4(_) | Content::Ranges6(_) | Content::Elements(_) => 64,
    });
    let maps = table.maps.values().map(|map| 64 + 48 * map.elements.len());
    let chains = table.chains.values().map(|chain| 32 + 48 * chain.rules.len());
    sets.sum::<usize>() + maps.sum::<usize>() + chains.sum::<usize>()
}

fn write_table(out: &mut String, table: &Table) -> fmt::Result {
    writeln!(out, "add table {TABLE}\ndelete table {TABLE}")?;
    write_block(out, table)
}

/// A block that adds these objects, and elements to those that are there with the same properties.
pub(super) fn write_block(out: &mut String, table: &Table) -> fmt::Result {
    writeln!(out, "table {TABLE} {{")?;
    for (name, set) in &table.sets {
        out.push_str("\tset ");
        write!(out, "{name}")?;
        out.push_str(" {\n");
        write_set(out, set)?;
        out.push_str("\t}\n");
    }
    maps_to(out, &table.maps)?;
    for (name, chain) in &table.chains {
        out.push_str("\tchain ");
        write!(out, "{name}")?;
        out.push_str(" {\n");
        write_chain(out, chain)?;
        out.push_str("\t}\n");
    }
    out.push_str("}\n");
    Ok(())
}

/// A block with maps alone.
pub(super) fn write_maps(out: &mut String, maps: &BTreeMap<MapName, Map>) -> fmt::Result {
    writeln!(out, "table {TABLE} {{")?;
    maps_to(out, maps)?;
    out.push_str("}\n");
    Ok(())
}

fn maps_to(out: &mut String, maps: &BTreeMap<MapName, Map>) -> fmt::Result {
    for (name, map) in maps {
        out.push_str("\tmap ");
        write!(out, "{name}")?;
        out.push_str(" {\n");
        write_map(out, map)?;
        out.push_str("\t}\n");
    }
    Ok(())
}

fn write_set(out: &mut String, set: &Set) -> fmt::Result {
    out.push_str("\t\ttypeof ");
    write_key(out, fields_of(set.kind).into_iter().flatten())?;
    out.push('\n');
    write_flags(out, set.kind);
    match &set.content {
        Content::Members4(members) => write_elements(out, members.iter(), 2 * ELEMENTS_PER_LINE),
        Content::Members6(members) => write_elements(out, members.iter(), ELEMENTS_PER_LINE),
        Content::Ranges4(ranges) => write_elements(out, ranges.ranges.display(), ELEMENTS_PER_LINE),
        Content::Ranges6(ranges) => write_elements(out, ranges.ranges.display(), ELEMENTS_PER_LINE),
        Content::Elements(elements) => write_elements(out, elements.iter(), ELEMENTS_PER_LINE),
    }
}

/// Statements that delete the elements of a set.
pub(super) fn write_deletions(out: &mut String, name: &SetName, content: &Content) -> fmt::Result {
    match content {
        Content::Members4(members) => delete_elements(out, name, members.iter()),
        Content::Members6(members) => delete_elements(out, name, members.iter()),
        Content::Ranges4(ranges) => delete_elements(out, name, ranges.ranges.display()),
        Content::Ranges6(ranges) => delete_elements(out, name, ranges.ranges.display()),
        Content::Elements(elements) => delete_elements(out, name, elements.iter()),
    }
}

/// Statements that delete elements of a set or map, a few at a time.
pub(super) fn delete_elements<T: fmt::Display>(
    out: &mut String,
    name: impl fmt::Display,
    elements: impl Iterator<Item = T>,
) -> fmt::Result {
    let mut count = 0usize;
    for element in elements {
        match count {
            0 => write!(out, "delete element {TABLE} {name} {{ ")?,
            _ if count.is_multiple_of(ELEMENTS_PER_DELETION) => {
                write!(out, " }}\ndelete element {TABLE} {name} {{ ")?;
            }
            _ => out.push_str(", "),
        }
        write!(out, "{element}")?;
        count += 1;
    }
    if count > 0 {
        out.push_str(" }\n");
    }
    Ok(())
}

fn write_map(out: &mut String, map: &Map) -> fmt::Result {
    out.push_str("\t\ttypeof ");
    write_key(out, fields_of(map.kind).into_iter().flatten())?;
    out.push_str(" : verdict\n");
    write_flags(out, map.kind);
    let elements = map.elements.iter().map(|(key, verdict)| Mapped(key, verdict));
    write_elements(out, elements, 1)
}

fn write_flags(out: &mut String, kind: SetType) {
    if matches!(kind, SetType::AddressRanges(_) | SetType::AddressPorts(_) | SetType::PortRanges) {
        out.push_str("\t\tflags interval\n");
    }
}

fn write_elements<T: fmt::Display>(
    out: &mut String,
    elements: impl Iterator<Item = T>,
    per_line: usize,
) -> fmt::Result {
    let mut count = 0usize;
    for element in elements {
        match count {
            0 => out.push_str("\t\telements = {\n\t\t\t"),
            _ if count.is_multiple_of(per_line) => out.push_str(",\n\t\t\t"),
            _ => out.push_str(", "),
        }
        write!(out, "{element}")?;
        count += 1;
    }
    if count > 0 {
        out.push_str("\n\t\t}\n");
    }
    Ok(())
}

fn write_chain(out: &mut String, chain: &Chain) -> fmt::Result {
    if let Some(hook) = chain.hook {
        let (hook, priority, policy) = match hook {
            Hook::Entering => ("prerouting", "raw", "accept"),
            Hook::ForwardFirst => ("forward", "filter - 10", "drop"),
            Hook::ForwardSecond => ("forward", "filter - 9", "drop"),
        };
        writeln!(out, "\t\ttype filter hook {hook} priority {priority}; policy {policy};")?;
    }
    for rule in &chain.rules {
        out.push_str("\t\t");
        write!(out, "{rule}")?;
        out.push('\n');
    }
    Ok(())
}

/// The fields that the elements of a set are made of. A set serves sources and destinations alike: only the data
/// type of its `typeof` counts.
fn fields_of(kind: SetType) -> [Option<Field>; 3] {
    match kind {
        SetType::Addresses(family) | SetType::AddressRanges(family) => {
            [Some(Field::Source(family)), None, None]
        }
        SetType::AddressPairs(family) => {
            [Some(Field::Source(family)), Some(Field::Destination(family)), None]
        }
        SetType::Destinations(family) | SetType::AddressPorts(family) => {
            [Some(Field::Destination(family)), Some(Field::Protocol), Some(Field::DestinationPort)]
        }
        SetType::Families => [Some(Field::Family), None, None],
        SetType::Interfaces => [Some(Field::Inbound), None, None],
        SetType::Anchors(family) => [Some(Field::Inbound), Some(Field::Source(family)), None],
        // The port first: the kernel matches a range key field by field and carries on what matched so far, which
        // for the protocol would be nearly every element.
        SetType::PortRanges => [Some(Field::DestinationPort), Some(Field::Protocol), None],
        SetType::Ports => [Some(Field::Protocol), Some(Field::DestinationPort), None],
    }
}

fn write_key(out: &mut impl fmt::Write, fields: impl IntoIterator<Item = Field>) -> fmt::Result {
    for (index, field) in fields.into_iter().enumerate() {
        if index > 0 {
            out.write_str(" . ")?;
        }
        out.write_str(match field {
            Field::Source(Family::V4) => "ip saddr",
            Field::Source(Family::V6) => "ip6 saddr",
            Field::Destination(Family::V4) => "ip daddr",
            Field::Destination(Family::V6) => "ip6 daddr",
            Field::Family => "meta nfproto",
            Field::Protocol => "meta l4proto",
            Field::DestinationPort => "th dport",
            Field::Inbound => "iifname",
        })?;
    }
    Ok(())
}

struct Mapped<'a>(&'a Element, &'a Verdict);

impl fmt::Display for Mapped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)?;
        f.write_str(" : ")?;
        self.1.fmt(f)
    }
}

/// An address of either family, as text.
struct Plain(IpAddr);

impl fmt::Display for Plain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            IpAddr::V4(address) => f.write_str(v4(address).as_str()),
            IpAddr::V6(address) => address.fmt(f),
        }
    }
}

impl<A: Copy + Into<IpAddr>> fmt::Display for Member<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Plain(self.address.into()).fmt(f)?;
        match self.service {
            None => Ok(()),
            Some(Service { protocol, port }) => {
                f.write_str(" . ")?;
                Ports(&PortRange::single(protocol, port)).fmt(f)
            }
        }
    }
}

struct Ports<'a>(&'a PortRange);

impl fmt::Display for Ports<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(protocol(self.0.protocol()))?;
        f.write_str(" . ")?;
        Numbers(self.0).fmt(f)
    }
}

struct Numbers<'a>(&'a PortRange);

impl fmt::Display for Numbers<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text: Decimals<11> = Decimals::default();
        text.number(self.0.first());
        if !self.0.is_single() {
            text.push(b'-');
            text.number(self.0.last());
        }
        f.write_str(text.as_str())
    }
}

const fn protocol(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Tcp => "tcp",
        Protocol::Udp => "udp",
        Protocol::Sctp => "sctp",
    }
}

impl fmt::Display for Element {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => Plain(*address).fmt(f),
            Self::Pair(source, destination) => {
                Plain(*source).fmt(f)?;
                f.write_str(" . ")?;
                Plain(*destination).fmt(f)
            }
            Self::AddressPorts(address, range) => write!(f, "{} . {}", Plain(*address), Ports(range)),
            Self::Family(Family::V4) => f.write_str("ipv4"),
            Self::Family(Family::V6) => f.write_str("ipv6"),
            Self::Ports(range) => Ports(range).fmt(f),
            Self::PortRange(range) => write!(f, "{} . {}", Numbers(range), protocol(range.protocol())),
            Self::Interface(name) => write!(f, "\"{name}\""),
            Self::Anchor(name, address) => write!(f, "\"{name}\" . {}", Plain(*address)),
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Accept => f.write_str("accept"),
            Self::Drop => f.write_str("drop"),
            Self::Return => f.write_str("return"),
            Self::Jump(chain) => {
                f.write_str("jump ")?;
                chain.fmt(f)
            }
            Self::Goto(chain) => {
                f.write_str("goto ")?;
                chain.fmt(f)
            }
        }
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for condition in &self.matches {
            condition.fmt(f)?;
            f.write_str(" ")?;
        }
        match &self.statement {
            Statement::Verdict(verdict) => verdict.fmt(f),
            Statement::Counted(verdict) => {
                f.write_str("counter ")?;
                verdict.fmt(f)
            }
            Statement::Map(fields, map) => {
                write_key(f, fields.iter().copied())?;
                f.write_str(" vmap @")?;
                map.fmt(f)
            }
        }
    }
}

impl fmt::Display for Match {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Reply => f.write_str("ct direction reply"),
            Self::Family(Family::V4) => f.write_str("meta nfproto ipv4"),
            Self::Family(Family::V6) => f.write_str("meta nfproto ipv6"),
            Self::In(fields, set) => {
                write_key(f, fields.iter().copied())?;
                f.write_str(" @")?;
                set.fmt(f)
            }
            Self::RelatedError(Family::V4) => f.write_str(
                "ct state related icmp type { destination-unreachable, time-exceeded, parameter-problem }",
            ),
            Self::RelatedError(Family::V6) => f.write_str(
                "ct state related icmpv6 type { destination-unreachable, packet-too-big, time-exceeded, \
                 parameter-problem }",
            ),
            Self::NeighbourDiscovery => f.write_str(
                "ip6 hoplimit 255 icmpv6 type { nd-router-solicit, nd-router-advert, nd-neighbor-solicit, \
                 nd-neighbor-advert }",
            ),
            Self::AddressDetection => f.write_str("ip6 saddr :: icmpv6 type nd-neighbor-solicit"),
            Self::LinkLocal => f.write_str("ip6 saddr fe80::/10 ip6 daddr { fe80::/10, ff02::/16 }"),
            Self::Unconfigured => f.write_str("ip saddr 0.0.0.0 ip daddr 255.255.255.255 udp dport 67"),
            Self::NoRouteBack => f.write_str("fib saddr . iif oif missing"),
        }
    }
}
