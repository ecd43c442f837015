//! The writer: a table as the script that replaces it.
//!
//! nft 1.0.6 knows no `destroy`, so the script adds the table, which does nothing if it is there, and deletes it.
//! It also wants one statement per line, and `typeof` instead of `type`.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};

use flock_shared::TABLE;

use super::model::{
    Chain, Content, Element, Field, Hook, Map, Match, Rule, Set, SetType, Statement, Table, Verdict,
};
use super::name::{Family, MapName, SetName};
use crate::members::{Member, Service};
use crate::port::{PortRange, Protocol};

/// Elements on one line of a script.
const ELEMENTS_PER_LINE: usize = 8;
/// Elements in one statement that deletes.
const ELEMENTS_PER_DELETION: usize = 64;

/// The full script: replaces whatever our table holds, in one transaction.
#[must_use]
pub fn write(table: &Table) -> String {
    let mut out = String::new();
    // Writing to a String cannot fail.
    let _: fmt::Result = write_table(&mut out, table);
    out
}

fn write_table(out: &mut String, table: &Table) -> fmt::Result {
    writeln!(out, "add table {TABLE}\ndelete table {TABLE}")?;
    write_block(out, table)
}

/// A block that adds these objects, and elements to those that are there with the same properties.
pub(super) fn write_block(out: &mut String, table: &Table) -> fmt::Result {
    writeln!(out, "table {TABLE} {{")?;
    for (name, set) in &table.sets {
        writeln!(out, "\tset {name} {{")?;
        write_set(out, set)?;
        out.push_str("\t}\n");
    }
    maps_to(out, &table.maps)?;
    for (name, chain) in &table.chains {
        writeln!(out, "\tchain {name} {{")?;
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
        writeln!(out, "\tmap {name} {{")?;
        write_map(out, map)?;
        out.push_str("\t}\n");
    }
    Ok(())
}

fn write_set(out: &mut String, set: &Set) -> fmt::Result {
    writeln!(out, "\t\ttypeof {}", Key(&fields_of(set.kind)))?;
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
    writeln!(out, "\t\ttypeof {} : verdict", Key(&fields_of(map.kind)))?;
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
        writeln!(out, "\t\t{rule}")?;
    }
    Ok(())
}

/// The fields that the elements of a set are made of. A set serves sources and destinations alike: only the data
/// type of its `typeof` counts.
fn fields_of(kind: SetType) -> Vec<Field> {
    match kind {
        SetType::Addresses(family) | SetType::AddressRanges(family) => vec![Field::Source(family)],
        SetType::AddressPairs(family) => vec![Field::Source(family), Field::Destination(family)],
        SetType::Destinations(family) | SetType::AddressPorts(family) => {
            vec![Field::Destination(family), Field::Protocol, Field::DestinationPort]
        }
        SetType::Families => vec![Field::Family],
        SetType::Interfaces => vec![Field::Inbound],
        SetType::Anchors(family) => vec![Field::Inbound, Field::Source(family)],
        // The port first: the kernel matches a range key field by field and carries on what matched so far, which
        // for the protocol would be nearly every element.
        SetType::PortRanges => vec![Field::DestinationPort, Field::Protocol],
        SetType::Ports => vec![Field::Protocol, Field::DestinationPort],
    }
}

struct Key<'a>(&'a [Field]);

impl fmt::Display for Key<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, field) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str(" . ")?;
            }
            f.write_str(match field {
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
}

struct Mapped<'a>(&'a Element, &'a Verdict);

impl fmt::Display for Mapped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} : {}", self.0, self.1)
    }
}

impl<A: fmt::Display> fmt::Display for Member<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.address.fmt(f)?;
        match self.service {
            None => Ok(()),
            Some(Service { protocol, port }) => {
                write!(f, " . {}", Ports(&PortRange::single(protocol, port)))
            }
        }
    }
}

struct Ports<'a>(&'a PortRange);

impl fmt::Display for Ports<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} . {}", protocol(self.0.protocol()), Numbers(self.0))
    }
}

struct Numbers<'a>(&'a PortRange);

impl fmt::Display for Numbers<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_single() {
            write!(f, "{}", self.0.first())
        } else {
            write!(f, "{}-{}", self.0.first(), self.0.last())
        }
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
            Self::Address(address) => write!(f, "{address}"),
            Self::Pair(source, destination) => write!(f, "{source} . {destination}"),
            Self::AddressPorts(address, range) => write!(f, "{address} . {}", Ports(range)),
            Self::Family(Family::V4) => f.write_str("ipv4"),
            Self::Family(Family::V6) => f.write_str("ipv6"),
            Self::Ports(range) => write!(f, "{}", Ports(range)),
            Self::PortRange(range) => write!(f, "{} . {}", Numbers(range), protocol(range.protocol())),
            Self::Interface(name) => write!(f, "\"{name}\""),
            Self::Anchor(name, address) => write!(f, "\"{name}\" . {address}"),
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Accept => f.write_str("accept"),
            Self::Drop => f.write_str("drop"),
            Self::Return => f.write_str("return"),
            Self::Jump(chain) => write!(f, "jump {chain}"),
            Self::Goto(chain) => write!(f, "goto {chain}"),
        }
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for condition in &self.matches {
            write!(f, "{condition} ")?;
        }
        match &self.statement {
            Statement::Verdict(verdict) => write!(f, "{verdict}"),
            Statement::Counted(verdict) => write!(f, "counter {verdict}"),
            Statement::Map(fields, map) => write!(f, "{} vmap @{map}", Key(fields)),
        }
    }
}

impl fmt::Display for Match {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Reply => f.write_str("ct direction reply"),
            Self::Family(Family::V4) => f.write_str("meta nfproto ipv4"),
            Self::Family(Family::V6) => f.write_str("meta nfproto ipv6"),
            Self::In(fields, set) => write!(f, "{} @{set}", Key(fields)),
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
