//! How elements, verdicts, rules and conditions are written.

use std::borrow::Borrow;
use std::fmt;
use std::net::IpAddr;

use crate::drops::{Keep, NotKept, OverBound, Show};
use crate::members::{Member, Service};
use crate::model::{Element, Field, Hook, Match, Rule, SetType, Statement, Verdict};
use crate::phrases::Phrases as _;
use crate::port::PortRange;
use crate::text::{Decimals, v4};

/// The fields that the elements of a set are made of. A set serves sources and destinations alike: only the data
/// type of its `typeof` counts.
pub(crate) fn fields_of(kind: SetType) -> [Option<Field>; 4] {
    use Field::{Destination, DestinationPort, Inbound, NeighbourTarget, Protocol, Source};
    match kind {
        SetType::Addresses(family) | SetType::AddressRanges(family) | SetType::DropSources(family) => {
            [Some(Source(family)), None, None, None]
        }
        SetType::AddressPairs(family) => [Some(Source(family)), Some(Destination(family)), None, None],
        SetType::Destinations(family) => {
            [Some(Destination(family)), Some(Protocol), Some(DestinationPort), None]
        }
        SetType::AddressPorts(family) => [Some(Destination(family)), Some(DestinationPort), None, None],
        SetType::Families | SetType::TimedFamilies => [Some(Field::Family), None, None, None],
        SetType::Interfaces => [Some(Inbound), None, None, None],
        SetType::SourceChecks(family) => [Some(Inbound), Some(Source(family)), None, None],
        SetType::Targets => [Some(Inbound), Some(NeighbourTarget), None, None],
        SetType::PortRanges => [Some(DestinationPort), None, None, None],
        SetType::Ports => [Some(Protocol), Some(DestinationPort), None, None],
        SetType::Drops(family) => {
            [Some(Source(family)), Some(Destination(family)), Some(Protocol), Some(DestinationPort)]
        }
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

pub(crate) fn word(field: Field) -> &'static str {
    field.phrase().unwrap_or_default()
}

/// What stands before the ports of tunnels.
pub(crate) const TUNNEL_PORTS: &str = "udp dport { ";

/// What counts and drops.
pub(crate) const COUNTED_DROP: &str = "counter drop";

/// What answers with a reset.
pub(crate) const RESET: &str = "counter reject with tcp reset";

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
        f.write_str(self.0.protocol().phrase().unwrap_or_default())?;
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
            Self::Family(family) => f.write_str(family.phrase().unwrap_or_default()),
            Self::Ports(range) => Ports(range).fmt(f),
            Self::PortRange(range) => Numbers(range).fmt(f),
            Self::Interface(name) => write!(f, "\"{name}\""),
            Self::SourceCheck(name, address) => write!(f, "\"{name}\" . {}", Plain(*address)),
            Self::Target(name, address) => write!(f, "\"{name}\" . 0x{:032x}", u128::from(*address)),
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Accept | Self::Drop | Self::Return => f.write_str(self.phrase().unwrap_or_default()),
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
            Statement::Reset => f.write_str(RESET),
            Statement::Keep(kept) => Keep(*kept).fmt(f),
            Statement::KeepAndDrop(kept) => write!(f, "{} {COUNTED_DROP}", Keep(*kept)),
            Statement::Show(direction) => Show(*direction).fmt(f),
            Statement::Map(fields, map) => {
                write_key(f, fields.iter().copied())?;
                f.write_str(" vmap @")?;
                map.fmt(f)
            }
        }
    }
}

impl fmt::Display for Hook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.phrase().unwrap_or_default())
    }
}

impl fmt::Display for Match {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::In(fields, set) => {
                write_key(f, fields.iter().copied())?;
                f.write_str(" @")?;
                set.fmt(f)
            }
            Self::Within(field, block) => write!(f, "{} {block}", word(*field)),
            Self::Between(field, first, last) => {
                write!(f, "{} {}-{}", word(*field), Plain(*first), Plain(*last))
            }
            Self::NotKept(kept) => NotKept(*kept).fmt(f),
            Self::OverBound(direction, family) => OverBound(*direction, *family).fmt(f),
            Self::TunnelPorts(ports) => {
                f.write_str(TUNNEL_PORTS)?;
                for (index, port) in ports.iter().enumerate() {
                    write!(f, "{}{port}", if index > 0 { ", " } else { "" })?;
                }
                f.write_str(" }")
            }
            fixed => f.write_str(fixed.phrase().unwrap_or_default()),
        }
    }
}
