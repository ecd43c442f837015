//! Sets of ports as ranges of one line: the ports of TCP, then UDP's, then SCTP's, then what has no ports.

use std::collections::BTreeMap;

use flock_compiler_core::block::Ranges;
use flock_compiler_core::judge::Carries;
use flock_compiler_core::object::PortName;
use flock_compiler_core::port::{PortRange, Protocol};
use flock_proto::v1;

/// The place on the line of all protocols without ports.
const OTHER: u32 = 3 << 16;

/// A set of ports, and of protocols without ports.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub(crate) struct Ports(Ranges<u32>);

/// What policies in play call ports by.
#[derive(Debug, Default)]
pub(crate) struct Mentions {
    /// Numbers and ranges, without those that are all of a protocol.
    pub ports: Vec<PortRange>,
    /// Names, by the numbers that the destination has for them.
    pub names: BTreeMap<(Protocol, u16), PortName>,
}

impl Ports {
    /// All ports of all protocols, and all protocols without ports.
    pub(crate) fn everything() -> Self {
        Self(Ranges::union_of([(0, OTHER)]))
    }

    pub(crate) fn union_of(ranges: impl IntoIterator<Item = PortRange>) -> Self {
        Self(Ranges::union_of(ranges.into_iter().map(|range| {
            let start = start(range.protocol());
            (start + u32::from(range.first()), start + u32::from(range.last()))
        })))
    }

    /// All protocols without ports.
    pub(crate) fn without_ports() -> Self {
        Self(Ranges::union_of([(OTHER, OTHER)]))
    }

    pub(crate) fn or(&self, other: &Self) -> Self {
        Self(Ranges::union_of(self.0.iter().chain(other.0.iter())))
    }

    /// Some of it, one of each range: what has no ports before what has.
    pub(crate) fn samples(&self, most: usize) -> Vec<Carries> {
        let other = self.0.contains(OTHER).then_some(Carries::Other);
        let ports = self.0.iter().filter_map(|(first, last)| {
            // Nothing is sent to port 0.
            let first = if first.trailing_zeros() >= 16 { (first + 1).min(last) } else { first };
            // A range may run on into the next protocol: the sample is of the one that it begins in.
            let protocol = Protocol::ALL.into_iter().rev().find(|protocol| start(*protocol) <= first)?;
            // What has no ports is past the numbers of SCTP and falls out here; it has been taken above.
            let number = u16::try_from(first.checked_sub(start(protocol))?).ok()?;
            Some(Carries::Port(protocol, number))
        });
        other.into_iter().chain(ports).take(most).collect()
    }

    pub(crate) fn and(&self, other: &Self) -> Self {
        // `Ranges` knows no intersection: it is what is left without the complement.
        self.without(&Self(Self::everything().0.without(&other.0)))
    }

    pub(crate) fn without(&self, other: &Self) -> Self {
        Self(self.0.without(&other.0))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn is_everything(&self) -> bool {
        *self == Self::everything()
    }

    /// How many ranges it is.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// In order, each range cut where mentioned numbers begin and end; numbers that are not mentioned are any others if all
    /// of those of the protocol are in the set.
    pub(crate) fn atoms(&self, mentions: &Mentions) -> Vec<v1::PortAtom> {
        let mut atoms = Vec::new();
        // One atom in place of one for each protocol: it is how `matrix` tells that everything passes.
        if self.is_everything() {
            atoms.push(v1::PortAtom { protocol: "any".into(), ..v1::PortAtom::default() });
            return atoms;
        }
        // Numbers with a name are cut out as well, so that there is an atom for the name to stand at.
        let named = mentions.names.keys().map(|(protocol, number)| PortRange::single(*protocol, *number));
        let mentioned = Self::union_of(mentions.ports.iter().copied().chain(named));
        // Protocol by protocol, for on the line the last port of one is next to the first of another.
        for protocol in Protocol::ALL {
            let all = Self::union_of([PortRange::all(protocol)]);
            let (own, unmentioned) = (self.and(&all), all.without(&mentioned));
            // Where nothing of the protocol is mentioned there is nothing to be other than.
            let has_others =
                unmentioned != all && !unmentioned.is_empty() && unmentioned.without(&own).is_empty();
            let atom = |(first, last): (u32, u32), any_other| {
                let start = start(protocol);
                let (first, last) = (first - start, last - start);
                let name = u16::try_from(first).ok().filter(|_| first == last);
                let name = name.and_then(|number| mentions.names.get(&(protocol, number)));
                let name = name.map(ToString::to_string).unwrap_or_default();
                v1::PortAtom { protocol: protocol.to_string(), first, last, name, any_other }
            };
            if has_others {
                atoms.extend(own.and(&mentioned).0.iter().map(|range| atom(range, false)));
                atoms.extend(unmentioned.0.iter().map(|range| atom(range, true)));
            } else {
                atoms.extend(own.0.iter().map(|range| atom(range, false)));
            }
        }
        if self.0.contains(OTHER) {
            atoms.push(v1::PortAtom { protocol: "other".into(), ..v1::PortAtom::default() });
        }
        atoms
    }
}

/// Where a protocol's ports begin.
const fn start(protocol: Protocol) -> u32 {
    match protocol {
        Protocol::Tcp => 0,
        Protocol::Udp => 1 << 16,
        Protocol::Sctp => 2 << 16,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(ports: &Ports, mentions: &Mentions) -> Vec<String> {
        let show = |atom: v1::PortAtom| {
            let other = if atom.any_other { " any other" } else { "" };
            format!("{} {}-{}{}{other}", atom.protocol, atom.first, atom.last, atom.name)
        };
        ports.atoms(mentions).into_iter().map(show).collect()
    }

    #[test]
    fn ports_are_cut_at_mentioned_numbers_and_the_rest_is_any_other() {
        let dns = PortRange::single(Protocol::Tcp, 53);
        let web = PortRange::single(Protocol::Tcp, 80);
        let mentions = Mentions { ports: vec![dns, web], ..Mentions::default() };
        let closed = Ports::everything().without(&Ports::union_of([dns]));
        assert_eq!(
            shown(&closed, &mentions),
            [
                "TCP 80-80",
                "TCP 0-52 any other",
                "TCP 54-79 any other",
                "TCP 81-65535 any other",
                "UDP 0-65535",
                "SCTP 0-65535",
                "other 0-0"
            ]
        );
        assert_eq!(shown(&Ports::everything(), &mentions), ["any 0-0"]);
    }

    #[test]
    fn ports_of_neighbouring_protocols_do_not_run_together() {
        let ports =
            Ports::union_of([PortRange::single(Protocol::Tcp, 65535), PortRange::single(Protocol::Udp, 0)]);
        let names = [((Protocol::Udp, 0), PortName::new("zero"))].into();
        let mentions = Mentions { names, ..Mentions::default() };
        assert_eq!(shown(&ports, &mentions), ["TCP 65535-65535", "UDP 0-0zero"]);
    }
}
