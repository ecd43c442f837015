//! How elements, verdicts, rules and conditions are written.

use std::borrow::Borrow;
use std::fmt;
use std::net::IpAddr;

use crate::members::{Member, Service};
use crate::model::{Element, Field, Match, Rule, SetType, Statement, Verdict};
use crate::name::Family;
use crate::port::PortRange;
use crate::text::{Decimals, v4};

/// The fields that the elements of a set are made of. A set serves sources and destinations alike: only the data
/// type of its `typeof` counts.
pub(crate) fn fields_of(kind: SetType) -> [Option<Field>; 3] {
    match kind {
        SetType::Addresses(family) | SetType::AddressRanges(family) => {
            [Some(Field::Source(family)), None, None]
        }
        SetType::AddressPairs(family) => {
            [Some(Field::Source(family)), Some(Field::Destination(family)), None]
        }
        SetType::Destinations(family) => {
            [Some(Field::Destination(family)), Some(Field::Protocol), Some(Field::DestinationPort)]
        }
        SetType::AddressPorts(family) => {
            [Some(Field::Destination(family)), Some(Field::DestinationPort), None]
        }
        SetType::Families => [Some(Field::Family), None, None],
        SetType::Interfaces => [Some(Field::Inbound), None, None],
        SetType::Anchors(family) => [Some(Field::Inbound), Some(Field::Source(family)), None],
        SetType::PortRanges => [Some(Field::DestinationPort), None, None],
        SetType::Ports => [Some(Field::Protocol), Some(Field::DestinationPort), None],
    }
}

pub(crate) fn write_key(out: &mut impl fmt::Write, fields: impl IntoIterator<Item = Field>) -> fmt::Result {
    for (index, field) in fields.into_iter().enumerate() {
        if index > 0 {
            out.write_str(" . ")?;
        }
        out.write_str(word(field))?;
    }
    Ok(())
}

const fn word(field: Field) -> &'static str {
    match field {
        Field::Source(Family::V4) => "ip saddr",
        Field::Source(Family::V6) => "ip6 saddr",
        Field::Destination(Family::V4) => "ip daddr",
        Field::Destination(Family::V6) => "ip6 daddr",
        Field::Family => "meta nfproto",
        Field::Protocol => "meta l4proto",
        Field::DestinationPort => "th dport",
        Field::Inbound => "iifname",
        Field::Outbound => "oifname",
    }
}

/// A field as a lookup of routes names it, in either family.
const fn routed(field: Field) -> &'static str {
    match field {
        Field::Source(_) => "saddr",
        Field::Destination(_) => "daddr",
        Field::Family | Field::Protocol | Field::DestinationPort | Field::Inbound | Field::Outbound => {
            word(field)
        }
    }
}

pub(crate) struct Mapped<K, V>(pub(crate) K, pub(crate) V);

impl<K: Borrow<Element>, V: Borrow<Verdict>> fmt::Display for Mapped<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.borrow().fmt(f)?;
        f.write_str(" : ")?;
        self.1.borrow().fmt(f)
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
        f.write_str(self.0.protocol().word())?;
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

impl fmt::Display for Element {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => Plain(*address).fmt(f),
            Self::Pair(source, destination) => {
                Plain(*source).fmt(f)?;
                f.write_str(" . ")?;
                Plain(*destination).fmt(f)
            }
            Self::AddressPorts(address, range) => write!(f, "{} . {}", Plain(*address), Numbers(range)),
            Self::Destination(address, range) => write!(f, "{} . {}", Plain(*address), Ports(range)),
            Self::Family(Family::V4) => f.write_str("ipv4"),
            Self::Family(Family::V6) => f.write_str("ipv6"),
            Self::Ports(range) => Ports(range).fmt(f),
            Self::PortRange(range) => Numbers(range).fmt(f),
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
            Statement::Reset => f.write_str("counter reject with tcp reset"),
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
            Self::Within(field, block) => write!(f, "{} {block}", word(*field)),
            Self::NotLocal(field) => write!(f, "fib {} type != local", routed(*field)),
            Self::Local(field) => write!(f, "fib {} type local", routed(*field)),
            Self::Protocol(of) => write!(f, "meta l4proto {}", of.word()),
            Self::MidStreamTcp => f.write_str("ct state new tcp flags & (fin | syn | rst | ack) != syn"),
            // The type of the first chunk, behind the 12 bytes of the header: nft has a word for it, which Linux 5.10
            // does not take.
            Self::MidStreamSctp => f.write_str("ct state new meta l4proto sctp @th,96,8 != 1"),
            Self::TunnelPorts(ports) => {
                f.write_str("udp dport { ")?;
                for (index, port) in ports.iter().enumerate() {
                    write!(f, "{}{port}", if index > 0 { ", " } else { "" })?;
                }
                f.write_str(" }")
            }
            Self::TunnelProtocols => f.write_str("meta l4proto { 4, 41, 47 }"),
            Self::Tagged => f.write_str("ether type { 8021q, 8021ad }"),
            Self::Arp => f.write_str("ether type arp"),
            Self::Neighbour => {
                f.write_str("icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } ip6 hoplimit 255")
            }
            Self::ListenerReport => {
                f.write_str("icmpv6 type { mld-listener-report, mld-listener-done, mld2-listener-report }")
            }
            Self::GroupFrame => f.write_str("ether daddr & 01:00:00:00:00:00 == 01:00:00:00:00:00"),
            Self::Between(field, first, last) => {
                write!(f, "{} {}-{}", word(*field), Plain(*first), Plain(*last))
            }
            Self::RelatedError(Family::V4) => f.write_str(
                "ct state related icmp type { destination-unreachable, time-exceeded, parameter-problem }",
            ),
            Self::RelatedError(Family::V6) => f.write_str(
                "ct state related icmpv6 type { destination-unreachable, packet-too-big, time-exceeded, \
                 parameter-problem }",
            ),
            Self::NeighbourDiscovery => {
                f.write_str("ip6 hoplimit 255 icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert }")
            }
            Self::AddressDetection => f.write_str("ip6 saddr :: icmpv6 type nd-neighbor-solicit"),
            Self::LinkLocal => f.write_str("ip6 saddr fe80::/10 ip6 daddr { fe80::/10, ff02::/16 }"),
            Self::Unconfigured => f.write_str("ip saddr 0.0.0.0 ip daddr 255.255.255.255 udp dport 67"),
            Self::NoRouteBack => f.write_str("fib saddr . iif oif missing"),
        }
    }
}
