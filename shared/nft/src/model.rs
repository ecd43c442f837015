//! A typed model of an nftables table.
//!
//! Names are made of fixed words and hashes, elements of addresses, numbers and validated interface names: no
//! string that a tenant chose has a way into a script.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use smallvec::SmallVec;

use crate::block::Ranges;
use crate::direction::Direction;
use crate::drops::Kept;
use crate::identity::{Identity, Name};
use crate::interface::InterfaceName;
use crate::members::{Member, Members};
use crate::name::{ChainName, Family, MapName, SetName};
use crate::pod_cidr::PodCidr;
use crate::port::{PortRange, Protocol};

/// The tables of one node as a model: `inet flock_netpol`, and beside it `bridge flock_netpol` where pods hang on a
/// bridge. The name of an object says which of the two it is in.
///
/// ```text
/// Output ─layout─▶ Table ─┬─ write ──▶ Script (replaces whatever is there)
///                         └─ Transaction::between(old, new) ─▶ Script (changes what differs)
/// ```
///
/// Maps are ordered, so equal tables are written with equal bytes. Every object is of a type that only this project's
/// tables have: what cannot be said here cannot be written, and the agent refuses to read it.
///
/// ```
/// use flock_nft::{Table, Transaction, write};
///
/// let table = Table::default();
/// let text = write(&table);
/// assert!(text.starts_with("add table inet flock_netpol\ndelete table inet flock_netpol\n"));
///
/// // From a table to itself nothing happens.
/// assert!(Transaction::between(&table, &table).unwrap().is_empty());
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Table {
    /// Sets by name.
    pub sets: BTreeMap<SetName, Set>,
    /// Verdict maps by name.
    pub maps: BTreeMap<MapName, Map>,
    /// Chains by name.
    pub chains: BTreeMap<ChainName, Chain>,
    /// Whether there is a table of family bridge; it may be empty.
    pub bridge: bool,
}

/// A named set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Set {
    /// What its elements are.
    pub kind: SetType,
    /// Its elements.
    pub content: Content,
}

/// What the elements of a set or the keys of a map are; decides `typeof` and `flags`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SetType {
    /// Single addresses: a hash set.
    Addresses(Family),
    /// Disjoint address ranges: an interval set.
    AddressRanges(Family),
    /// Source and destination.
    AddressPairs(Family),
    /// Destination, protocol and port.
    Destinations(Family),
    /// Address and port range, of one protocol: an interval set.
    AddressPorts(Family),
    /// Interfaces.
    Interfaces,
    /// Interface and source.
    SourceChecks(Family),
    /// Interface and the target of a neighbour's message.
    Targets,
    /// Address families.
    Families,
    /// Address families, each for as long as whoever adds it says. Only the agent does.
    TimedFamilies,
    /// Source, destination, protocol and port of what is dropped: see [`crate::drops`]. Only packets add to it.
    Drops(Family),
    /// Sources of what is dropped, with how much is taken down of each. Only packets add to it.
    DropSources(Family),
    /// Protocol and port.
    Ports,
    /// Port ranges of one protocol: an interval set.
    ///
    /// The protocol is no field of it: nft 1.0.6 swaps the bytes of the protocol in a concatenation with intervals as if
    /// it had two, which newer kernels refuse, and the whole script with it.
    PortRanges,
}

/// The elements of a set. The large kinds are shared with the output that they come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// IPv4 addresses of pods, or destinations.
    Members4(Members<Member<Ipv4Addr>>),
    /// IPv6 addresses of pods, or destinations.
    Members6(Members<Member<Ipv6Addr>>),
    /// IPv4 ranges.
    Ranges4(Arc<NamedRanges<u32>>),
    /// IPv6 ranges.
    Ranges6(Arc<NamedRanges<u128>>),
    /// Anything else.
    Elements(BTreeSet<Element>),
}

/// Ranges of one family with the name of their set.
#[derive(Debug, PartialEq, Eq)]
pub struct NamedRanges<T> {
    /// What they are, and nothing else is.
    pub identity: Identity,
    /// The variable part of the set's name.
    pub name: Name,
    /// The addresses.
    pub ranges: Ranges<T>,
}

impl Content {
    /// How many elements there are.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Self::Members4(members) => members.len(),
            Self::Members6(members) => members.len(),
            Self::Ranges4(ranges) => ranges.ranges.len(),
            Self::Ranges6(ranges) => ranges.ranges.len(),
            Self::Elements(elements) => elements.len(),
        }
    }

    /// Returns true if there are no elements.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Table {
    /// Its objects and what they hold: sets, maps, chains, elements and rules.
    #[must_use]
    pub fn objects(&self) -> usize {
        let sets = self.sets.values().map(|set| set.content.len());
        let maps = self.maps.values().map(|map| map.elements.len());
        let chains = self.chains.values().map(|chain| chain.rules.len());
        // An object counts beside what it holds: the kernel needs memory for each while a transaction lasts.
        sets.chain(maps).chain(chains).map(|held| held + 1).sum()
    }
}

/// An element of a set, or the key of a map's element.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Element {
    /// An address.
    Address(IpAddr),
    /// Two addresses.
    Pair(IpAddr, IpAddr),
    /// An address with a port range, without its protocol.
    AddressPorts(IpAddr, PortRange),
    /// A destination: address, protocol and port.
    Destination(IpAddr, PortRange),
    /// An address family.
    Family(Family),
    /// Ports, protocol first: a key of a hash.
    Ports(PortRange),
    /// Ports without their protocol: a key of an interval map.
    PortRange(PortRange),
    /// An interface.
    Interface(InterfaceName),
    /// An interface with an address.
    SourceCheck(InterfaceName, IpAddr),
    /// An interface with the target of a neighbour's message, which nft has no word for before 1.0.7: bytes to it.
    Target(InterfaceName, Ipv6Addr),
}

/// A named verdict map.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Map {
    /// What its keys are.
    pub kind: SetType,
    /// What happens to a packet by key.
    pub elements: BTreeMap<Element, Verdict>,
}

/// A chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chain {
    /// Where the kernel calls it; `None` for a chain that others jump to.
    pub hook: Option<Hook>,
    /// Its rules in order.
    pub rules: Vec<Rule>,
}

/// Where the kernel calls a base chain, and what becomes of a packet that reaches its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Hook {
    /// Packets that enter the node, before connection tracking: `prerouting`, priority `raw`; policy accept.
    Entering,
    /// Packets that enter the node, after their destination was translated: `prerouting`, priority `dstnat + 10`; policy
    /// accept.
    Translated,
    /// Forwarded packets, first: `forward`, priority `filter - 10`; policy drop.
    ForwardFirst,
    /// Forwarded packets, second: `forward`, priority `filter - 9`; policy drop.
    ForwardSecond,
    /// Frames that a bridge hands on from one port to another: family bridge, `forward`, priority `filter`; policy drop.
    Bridged,
    /// Frames that enter by a port of a bridge, before anything is done with them: family bridge, `prerouting`, priority
    /// `dstnat`; policy accept.
    FromPorts,
    /// Frames that leave by a port of a bridge: family bridge, `postrouting`, priority `filter`; policy accept.
    ToPorts,
}

/// A rule: conditions that must all hold, and what happens then.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// Conditions, evaluated in order; mostly one.
    pub matches: SmallVec<[Match; 1]>,
    /// What happens.
    pub statement: Statement,
}

/// What a rule does with a packet that matches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Statement {
    /// This.
    Verdict(Verdict),
    /// Count it, then this.
    Counted(Verdict),
    /// Count it, answer with a TCP reset, and drop it.
    Reset,
    /// The flow of what is dropped is taken down, and its packets are counted. If there is no room, the rule ends here.
    Keep(Kept),
    /// The same, and then what is counted is dropped. If there is no room, it is the next rule that drops.
    KeepAndDrop(Kept),
    /// Shown to whoever listens to the group of the direction, as long as not too much is.
    Show(Direction),
    /// What the map says of these fields; a key that is not there: go on with the next rule.
    Map(Fields, MapName),
}

/// A packet's fate.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Verdict {
    /// Passes this base chain.
    Accept,
    /// Dropped for good.
    Drop,
    /// Back to where the chain was jumped to from.
    Return,
    /// Into another chain, and back.
    Jump(ChainName),
    /// Into another chain, not back.
    Goto(ChainName),
}

/// A field of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Field {
    /// `ip saddr`, `ip6 saddr`.
    Source(Family),
    /// `ip daddr`, `ip6 daddr`.
    Destination(Family),
    /// `meta nfproto`.
    Family,
    /// `meta l4proto`.
    Protocol,
    /// `th dport`.
    DestinationPort,
    /// `iifname`; in family bridge, the port.
    Inbound,
    /// `oifname`; in family bridge, the port.
    Outbound,
    /// `arp saddr ip`.
    ArpSender,
    /// The target of a neighbour solicitation or advertisement, or of a redirect: 16 bytes, 8 behind the message's begin.
    NeighbourTarget,
}

/// The fields of a lookup: three at most.
pub type Fields = SmallVec<[Field; 3]>;

/// A condition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Match {
    /// `ct direction reply`.
    Reply,
    /// `meta nfproto`.
    Family(Family),
    /// The fields are an element of the set.
    In(Fields, SetName),
    /// The flow of what is dropped is not taken down.
    NotKept(Kept),
    /// More flows of the source of what is dropped would be taken down than may be.
    OverBound(Direction, Family),
    /// Of a protocol without ports: ICMP, or what is neither TCP, UDP nor SCTP.
    Portless,
    /// `meta nfproto != @attended`: no agent has said lately that a compiler attends to the node.
    Unattended,
    /// The field, an address, is in the block.
    Within(Field, PodCidr),
    /// `ct state related` and an ICMP error.
    RelatedError(Family),
    /// A neighbour solicitation or advertisement from the link itself (hop limit 255). Router advertisements come from
    /// the node alone, which does not forward them.
    NeighbourDiscovery,
    /// Duplicate address detection: a neighbour solicitation from `::`.
    AddressDetection,
    /// Both ends on the link: source `fe80::/10`, destination `fe80::/10` or `ff02::/16`.
    LinkLocal,
    /// DHCP from a host without an address: `0.0.0.0` to `255.255.255.255`, UDP port 67.
    Unconfigured,
    /// `fib saddr type != local`, `fib daddr type != local`: the field is no address of the node itself.
    NotLocal(Field),
    /// `fib daddr type { … }`: the node itself takes the packet, by an address of its own, of everybody or of a group.
    Delivered,
    /// `ct status dnat`: of a connection whose destination was translated, by a service.
    Translated,
    /// `meta l4proto`.
    Protocol(Protocol),
    /// A TCP packet that begins a connection in mid-stream: conntrack calls it new, and it is not a SYN alone.
    MidStreamTcp,
    /// An SCTP packet that begins a connection in mid-stream: conntrack calls it new, and its first chunk is not INIT.
    MidStreamSctp,
    /// UDP to one of these ports, which tunnels end at.
    TunnelPorts(Arc<BTreeSet<u16>>),
    /// A packet in a packet: IP in IP (4), IPv6 (41), GRE (47), Ethernet (97), L2TP (115), MPLS (137).
    TunnelProtocols,
    /// A frame with a VLAN tag, also one that the kernel has taken out of it.
    Tagged,
    /// An ARP frame.
    Arp,
    /// Neighbour solicitation or advertisement from the link itself, as family bridge sees it.
    Neighbour,
    /// A report of a multicast listener (MLD).
    ListenerReport,
    /// A report of a multicast listener that has no address yet.
    FirstReport,
    /// What changes whom a neighbour takes for whom: router advertisement, neighbour solicitation and advertisement,
    /// redirect, as family bridge sees them.
    NeighbourMessage,
    /// A router advertisement or a redirect, as family bridge sees them.
    RouterMessage,
    /// A neighbour solicitation from an address, as family bridge sees it.
    Solicitation,
    /// The target of a neighbour's message is a link-local address.
    TargetOfLink,
    /// A fragment of what begins with further headers (hop-by-hop options, routing, fragment, destination options): what
    /// these carry may stand in another fragment.
    HeadersInFragments,
    /// ARP from `0.0.0.0`: a host that asks whether an address is free.
    ArpProbe,
    /// A frame with an IPv6 packet.
    FrameV6,
    /// A frame with an IPv4 packet, or ARP.
    FrameV4,
    /// A frame with a packet of either family.
    FramePacket,
    /// A frame to more than one station: the group bit of its destination.
    GroupFrame,
    /// The field, an address, is in this range; both ends included.
    Between(Field, IpAddr, IpAddr),
    /// `fib saddr . iif oif missing`: the route back to the source does not lead to the interface it came from.
    NoRouteBack,
}
