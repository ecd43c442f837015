//! Drops: which flows a table drops by a decision of policy, as the kernel takes them down.
//!
//! ```text
//! ingress_denied       what passes all the same: accept
//!                      flow not in @ingress_drops4: goto ingress_unkept4
//!                      update @ingress_drops4 { flow counter }, drop
//! ingress_unkept4      no ports: goto ingress_portless4
//!                      its source has many new ones (@ingress_drop_sources4): drop
//!                      shown to whoever listens, so many a second
//!                      update @ingress_drops4 { flow counter }
//!                      drop
//! ```
//!
//! A set that is full ends the rule that adds to it and nothing else, so the rule behind it drops whatever becomes of the
//! sets. A flow is there until a minute after its last packet. Elements come from packets alone: a script declares the
//! sets, and has no elements for them.
//!
//! What is not taken down is counted by the rules that drop: their sum, less what the flows have counted.

use std::fmt;

use crate::direction::Direction;
use crate::name::{Family, SetName};

/// Flows in a set: of a direction and family. With the state of as many sources, 16,384 of each take some 6 MB of the
/// kernel, and 16 bytes more for each flow and core.
pub const FLOWS_PER_SET: usize = 4096;

/// New flows of a source that are taken down at once, and within each further minute. A source that scans takes an eighth
/// of a set at most.
pub const FLOWS_PER_SOURCE: usize = 256;

/// How long a flow is kept after its last packet, in seconds.
pub const KEPT_SECONDS: u64 = 60;

/// New flows of a direction that are shown within a second, and at once.
pub const SHOWN_PER_SECOND: usize = 100;

/// So many bytes of a packet are shown: its headers.
pub const SHOWN_BYTES: usize = 128;

/// Others have room beside a source that scans.
const _: () = assert!(FLOWS_PER_SOURCE * 8 <= FLOWS_PER_SET);

/// What stands in the place of a flow's port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FlowPort {
    /// The destination port.
    Destination,
    /// The first two bytes behind the header of IP, where there are no ports: of ICMP, type and code.
    Kind,
}

impl FlowPort {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Destination, Self::Kind];
}

/// A flow as it is taken down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Kept {
    /// The direction that denied it.
    pub direction: Direction,
    /// Of its addresses.
    pub family: Family,
    /// What stands in the place of its port.
    pub port: FlowPort,
}

impl Kept {
    /// The set that holds it.
    #[must_use]
    pub const fn set(self) -> SetName {
        SetName::Drops(self.direction, self.family)
    }
}

/// The netlink group that what a direction drops is shown to (`NFLOG`).
#[must_use]
pub const fn group(direction: Direction) -> u16 {
    match direction {
        Direction::Ingress => 47_117,
        Direction::Egress => 47_118,
    }
}

/// Source, destination, protocol and port, as a rule names them.
struct Key(Family, FlowPort);

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ip = match self.0 {
            Family::V4 => "ip",
            Family::V6 => "ip6",
        };
        let port = match self.1 {
            FlowPort::Destination => "dport",
            // `th sport` is the first two bytes behind the header of IP, whatever the protocol has there.
            FlowPort::Kind => "sport",
        };
        write!(f, "{ip} saddr . {ip} daddr . meta l4proto . th {port}")
    }
}

/// What asks that a flow is not in the set.
pub(crate) struct NotKept(pub(crate) Kept);

impl fmt::Display for NotKept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} != @{}", Key(self.0.family, self.0.port), self.0.set())
    }
}

/// What puts a flow there, or lets it stay and counts.
pub(crate) struct Keep(pub(crate) Kept);

impl fmt::Display for Keep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "update @{} {{ {} counter }}", self.0.set(), Key(self.0.family, self.0.port))
    }
}

/// What asks if a source has had too many.
pub(crate) struct OverBound(pub(crate) Direction, pub(crate) Family);

impl fmt::Display for OverBound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(direction, family) = *self;
        let ip = match family {
            Family::V4 => "ip",
            Family::V6 => "ip6",
        };
        let set = SetName::DropSources(direction, family);
        let many = FLOWS_PER_SOURCE;
        write!(f, "update @{set} {{ {ip} saddr limit rate over {many}/minute burst {many} packets }}")
    }
}

/// What shows a packet.
pub(crate) struct Show(pub(crate) Direction);

impl fmt::Display for Show {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (many, group) = (SHOWN_PER_SECOND, group(self.0));
        write!(f, "limit rate {many}/second burst {many} packets log group {group} snaplen {SHOWN_BYTES}")
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::model::{Content, Element, Set, SetType, Table};
    use crate::read::Lines;
    use crate::write;

    #[test]
    fn sets_are_as_large_and_as_old_as_is_said_here() {
        for kind in [SetType::Drops(Family::V4), SetType::DropSources(Family::V6)] {
            let text = kind.properties().join("\n");
            assert!(text.contains(&format!("size {FLOWS_PER_SET}\n")), "{text}");
            assert!(text.ends_with(&format!("timeout {}m", KEPT_SECONDS / 60)), "{text}");
            assert_eq!(kind.size(), FLOWS_PER_SET);
        }
    }

    #[test]
    fn no_script_says_what_was_dropped() {
        let set = |elements: BTreeSet<Element>| {
            let kind = SetType::DropSources(Family::V4);
            let set = Set { kind, content: Content::Elements(elements) };
            let name = SetName::DropSources(Direction::Ingress, Family::V4);
            write(&Table { sets: [(name, set)].into(), ..Table::default() })
        };
        let is_readable = |text: &str| Lines::of(text.as_bytes()).all(|line| line.is_ok());
        assert!(is_readable(&set(BTreeSet::new())));
        assert!(!is_readable(&set([Element::Address([10, 0, 0, 1].into())].into())));
    }
}
