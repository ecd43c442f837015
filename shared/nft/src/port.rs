//! Protocols, port ranges and sets of them.

use std::collections::BTreeMap;
use std::fmt;

use crate::identity::{Digest, Identify};

/// A transport protocol that a policy can name (`NetworkPolicyPort.protocol`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    /// The API's default.
    Tcp,
    /// User datagrams.
    Udp,
    /// Stream control transmission.
    Sctp,
}

impl Protocol {
    /// Every protocol, in order.
    pub const ALL: [Self; 3] = [Self::Tcp, Self::Udp, Self::Sctp];

    /// As the API writes it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Tcp => "TCP",
            Self::Udp => "UDP",
            Self::Sctp => "SCTP",
        }
    }
}

impl Protocol {
    /// As nft writes it.
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Sctp => "sctp",
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A port range of one protocol, both ends included, `first ≤ last`. Ordered by protocol, then ports.
///
/// A rule's "protocol alone" covers all ports: 0 to 65535.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PortRange {
    protocol: Protocol,
    first: u16,
    last: u16,
}

impl PortRange {
    /// `first` to `last`, both included; `None` if they are in the wrong order.
    #[must_use]
    pub const fn new(protocol: Protocol, first: u16, last: u16) -> Option<Self> {
        if first <= last { Some(Self { protocol, first, last }) } else { None }
    }

    /// One port.
    #[must_use]
    pub const fn single(protocol: Protocol, port: u16) -> Self {
        Self { protocol, first: port, last: port }
    }

    /// Every port of a protocol.
    #[must_use]
    pub const fn all(protocol: Protocol) -> Self {
        Self { protocol, first: 0, last: u16::MAX }
    }

    /// The protocol.
    #[must_use]
    pub const fn protocol(&self) -> Protocol {
        self.protocol
    }

    /// The lowest port.
    #[must_use]
    pub const fn first(&self) -> u16 {
        self.first
    }

    /// The highest port.
    #[must_use]
    pub const fn last(&self) -> u16 {
        self.last
    }

    /// Returns true if `next` begins right after this range.
    #[must_use]
    pub fn touches(&self, next: &Self) -> bool {
        self.protocol == next.protocol && u32::from(self.last) + 1 == u32::from(next.first)
    }

    /// The range from this one's first to `next`'s last port; this one if `next` ends before.
    #[must_use]
    pub fn extended_to(&self, next: &Self) -> Self {
        Self { last: self.last.max(next.last), ..*self }
    }

    /// Returns true if the range holds `port` of `protocol`.
    #[must_use]
    pub fn contains(&self, protocol: Protocol, port: u16) -> bool {
        self.protocol == protocol && self.first <= port && port <= self.last
    }

    /// The ports one by one, if there are at most `limit`.
    #[must_use]
    pub fn singles(&self, limit: u16) -> Option<impl Iterator<Item = Self> + use<>> {
        let Self { protocol, first, last } = *self;
        // Without adding one: the number of all ports does not fit into 16 bits.
        (last - first < limit).then(|| (first..=last).map(move |port| Self::single(protocol, port)))
    }

    /// Returns true if the range holds one port.
    #[must_use]
    pub const fn is_single(&self) -> bool {
        self.first == self.last
    }
}

impl fmt::Display for PortRange {
    /// Such as `TCP 80`, `UDP 1000-2000`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_single() {
            write!(f, "{} {}", self.protocol, self.first)
        } else {
            write!(f, "{} {}-{}", self.protocol, self.first, self.last)
        }
    }
}

impl Identify for PortRange {
    fn identify(&self, digest: &mut Digest) {
        digest.tag(self.protocol() as u8);
        digest.number(self.first().into());
        digest.number(self.last().into());
    }
}

/// What a set of rules allows towards one address: everything, or some ports.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PortSet {
    /// Any protocol and any port.
    Everything,
    /// These ranges: ordered, neither overlapping nor adjacent.
    Ranges(Vec<PortRange>),
}

impl PortSet {
    /// How many ranges there are; none for everything.
    #[must_use]
    pub fn ranges(&self) -> usize {
        match self {
            Self::Everything => 0,
            Self::Ranges(ranges) => ranges.len(),
        }
    }

    /// The union of `ranges`, which may overlap.
    #[must_use]
    pub fn union_of(ranges: impl IntoIterator<Item = PortRange>) -> Self {
        let mut merged: Vec<PortRange> = ranges.into_iter().collect();
        merged.sort_unstable();
        merged.dedup_by(|range, last| {
            // In 32 bits, for what follows the last port does not fit into 16.
            let joins = last.protocol == range.protocol && u32::from(range.first) <= u32::from(last.last) + 1;
            if joins {
                last.last = last.last.max(range.last);
            }
            joins
        });
        Self::Ranges(merged)
    }

    /// What both sets allow.
    #[must_use]
    pub fn intersection(&self, other: &Self) -> Self {
        match (self, other) {
            (Self::Everything, set) | (set, Self::Everything) => set.clone(),
            (Self::Ranges(ours), Self::Ranges(theirs)) => Self::union_of(ours.iter().flat_map(|a| {
                theirs
                    .iter()
                    .filter(|b| b.protocol == a.protocol)
                    .filter_map(|b| PortRange::new(a.protocol, a.first.max(b.first), a.last.min(b.last)))
            })),
        }
    }

    /// Returns true if nothing is allowed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        matches!(self, Self::Ranges(ranges) if ranges.is_empty())
    }
}

/// Splits ranges with values into disjoint pieces, each with the values of all ranges that cover it, in order of
/// the input; neighbouring pieces with equal values are one. `None` if the pieces would hold more than `limit` values
/// together: n ranges that overlap can come to n² of them.
#[must_use]
pub fn split<V: Copy + Ord>(ranges: &[(PortRange, V)], limit: usize) -> Option<Vec<(PortRange, Vec<V>)>> {
    // A range closes one behind its last port, which may be 65536.
    let mut edges: BTreeMap<(Protocol, u32), (Vec<V>, Vec<V>)> = BTreeMap::new();
    for &(range, value) in ranges {
        edges.entry((range.protocol, u32::from(range.first))).or_default().0.push(value);
        edges.entry((range.protocol, u32::from(range.last) + 1)).or_default().1.push(value);
    }
    // Ranges with the same value may overlap: it goes when the last of them closes.
    let mut covering: BTreeMap<V, usize> = BTreeMap::new();
    let mut pieces: Vec<(PortRange, Vec<V>)> = Vec::new();
    let mut previous: Option<(Protocol, u32)> = None;
    let mut held = 0usize;
    for (&(protocol, edge), (opening, closing)) in &edges {
        if let Some((before, first)) = previous
            && before == protocol
            && !covering.is_empty()
        {
            // Edges lie in 0..=65536 and the previous one is smaller, so both ends fit into 16 bits.
            let (Ok(first), Ok(last)) = (u16::try_from(first), u16::try_from(edge - 1)) else { continue };
            // Counted before they are collected, so that n² values are never in memory.
            held += covering.len();
            if held > limit {
                return None;
            }
            let values: Vec<V> = covering.keys().copied().collect();
            match pieces.last_mut() {
                Some((piece, same))
                    if piece.protocol == protocol
                        && u32::from(piece.last) + 1 == u32::from(first)
                        && *same == values =>
                {
                    piece.last = last;
                }
                _ => pieces.push((PortRange { protocol, first, last }, values)),
            }
        }
        for value in opening {
            *covering.entry(*value).or_default() += 1;
        }
        // The last edge of a protocol closes all of its ranges, so nothing is left to cover ports of the next.
        for value in closing {
            if let std::collections::btree_map::Entry::Occupied(mut entry) = covering.entry(*value) {
                *entry.get_mut() -= 1;
                if *entry.get() == 0 {
                    entry.remove();
                }
            }
        }
        previous = Some((protocol, edge));
    }
    Some(pieces)
}

#[cfg(test)]
mod tests {
    use super::*;
    use Protocol::{Sctp, Tcp, Udp};

    fn range(protocol: Protocol, first: u16, last: u16) -> PortRange {
        PortRange::new(protocol, first, last).unwrap()
    }

    #[test]
    fn a_range_in_the_wrong_order_is_none() {
        assert_eq!(PortRange::new(Tcp, 2, 1), None);
    }

    #[test]
    fn overlapping_ranges_are_split_at_their_edges() {
        let pieces =
            split(&[(range(Tcp, 1, 10), 'a'), (range(Tcp, 5, 20), 'b'), (range(Udp, 5, 5), 'a')], 99);
        assert_eq!(
            pieces.unwrap(),
            [
                (range(Tcp, 1, 4), vec!['a']),
                (range(Tcp, 5, 10), vec!['a', 'b']),
                (range(Tcp, 11, 20), vec!['b']),
                (range(Udp, 5, 5), vec!['a']),
            ]
        );
    }

    #[test]
    fn adjacent_ranges_with_equal_values_are_one() {
        assert_eq!(
            split(&[(range(Tcp, 1, 5), 'a'), (range(Tcp, 6, 9), 'a'), (range(Tcp, 2, 3), 'a')], 99).unwrap(),
            [(range(Tcp, 1, 9), vec!['a'])]
        );
    }

    #[test]
    fn nested_ranges_are_given_up_at_the_limit() {
        let nested: Vec<(PortRange, u16)> = (0..1000).map(|i| (range(Tcp, i, 60_000 - i), i)).collect();
        assert_eq!(split(&nested, 100_000), None);
        assert_eq!(split(&nested, 2_000_000).unwrap().len(), 1_999);
    }

    #[test]
    fn the_highest_port_is_covered() {
        assert_eq!(split(&[(PortRange::all(Sctp), 1)], 99).unwrap(), [(PortRange::all(Sctp), vec![1])]);
    }

    #[test]
    fn intersection_keeps_what_both_allow() {
        let a = PortSet::union_of([range(Tcp, 1, 10), range(Udp, 53, 53)]);
        let b = PortSet::union_of([range(Tcp, 8, 20)]);
        assert_eq!(a.intersection(&b), PortSet::Ranges(vec![range(Tcp, 8, 10)]));
        assert_eq!(a.intersection(&PortSet::Everything), a);
        assert!(a.intersection(&PortSet::union_of([range(Sctp, 1, 2)])).is_empty());
    }
}
