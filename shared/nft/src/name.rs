//! Names of sets, maps and chains: fixed words, and the [`Name`] of what they hold.

use std::fmt;
use std::net::IpAddr;

use flock_shared::{BRIDGE_TABLE, TABLE};

use crate::direction::Direction;
use crate::identity::Name;
use crate::model::Verdict;
use crate::phrases::Phrases as _;
use crate::port::Protocol;

/// An address family, as far as a match on an address implies one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Family {
    /// Both families.
    pub const ALL: [Self; 2] = [Self::V4, Self::V6];

    /// The family of `address`.
    #[must_use]
    pub const fn of(address: &IpAddr) -> Self {
        match address {
            IpAddr::V4(_) => Self::V4,
            IpAddr::V6(_) => Self::V6,
        }
    }

    pub(crate) const fn digit(self) -> &'static str {
        match self {
            Self::V4 => "4",
            Self::V6 => "6",
        }
    }
}

/// Words in a row. Names are most of what a script says, and `write!` would take longer than all else in writing them.
fn words(f: &mut fmt::Formatter<'_>, words: &[&str]) -> fmt::Result {
    words.iter().try_for_each(|word| f.write_str(word))
}

/// The name of a set.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SetName {
    /// Addresses of pods.
    Pods(Family, Name),
    /// Address blocks.
    Blocks(Family, Name),
    /// Destinations by named port.
    Named(Family, Name),
    /// Contested peers that are allowed on some ports of a protocol, by rule set.
    Contested(Direction, Family, Name, Protocol),
    /// Contested peers that are allowed on every port, by rule set.
    ContestedAny(Direction, Family, Name),
    /// Pairs of addresses that always reach each other.
    Hairpin(Family),
    /// Host interfaces of pods whose names were computed.
    ComputedInterfaces,
    /// Host interfaces of pods whose names were read from an annotation.
    ClaimedInterfaces,
    /// Interfaces with the addresses that may enter there.
    SourceChecks(Family),
    /// Addresses of local pods that are isolated in at least one direction.
    Isolated(Family),
    /// Interfaces by which packets of pods enter the node: computed ones, and bridges that pods hang on.
    PodLinks,
    /// Addresses of all nodes.
    NodeAddresses(Family),
    /// Family bridge: addresses of local pods.
    BridgePods(Family),
    /// Family bridge: ports of pods that nothing isolates.
    OpenPorts,
    /// Family bridge: ports of bridges that no pod hangs on.
    OtherPorts,
    /// Family bridge: ports that lead out of the node.
    Uplinks,
    /// Family bridge: ports of pods whose names were computed.
    PodPorts,
    /// Family bridge: such ports with the addresses of their pods.
    PortAddresses(Family),
    /// Family bridge: such ports with the addresses that their pods may speak for as neighbours.
    PortTargets,
    /// The families, for as long as a compiler attends to the node: see [`crate::attended`].
    Attended,
    /// Flows that a direction has dropped lately: see [`crate::drops`].
    Drops(Direction, Family),
    /// Sources of such flows.
    DropSources(Direction, Family),
}

/// A table of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TableName {
    /// `inet flock_netpol`: judges packets.
    Inet,
    /// `bridge flock_netpol`: judges frames between ports of bridges that pods hang on.
    Bridge,
}

impl TableName {
    /// Both, in the order of a script.
    pub const ALL: [Self; 2] = [Self::Inet, Self::Bridge];

    /// Family and name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Inet => TABLE,
            Self::Bridge => BRIDGE_TABLE,
        }
    }
}

impl fmt::Display for TableName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl SetName {
    /// The table that it is in.
    #[must_use]
    pub const fn table(&self) -> TableName {
        match self {
            Self::BridgePods(_)
            | Self::OpenPorts
            | Self::OtherPorts
            | Self::Uplinks
            | Self::PodPorts
            | Self::PortAddresses(_)
            | Self::PortTargets => TableName::Bridge,
            _ => TableName::Inet,
        }
    }
}

impl fmt::Display for SetName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pods(family, name) => {
                words(f, &["pods", family.digit(), "_"])?;
                name.fmt(f)
            }
            Self::Blocks(family, name) => {
                words(f, &["blocks", family.digit(), "_"])?;
                name.fmt(f)
            }
            Self::Named(family, name) => {
                words(f, &["named", family.digit(), "_"])?;
                name.fmt(f)
            }
            Self::Contested(direction, family, name, protocol) => {
                words(f, &[direction.as_str(), "_contested", family.digit(), "_", protocol.word(), "_"])?;
                name.fmt(f)
            }
            Self::ContestedAny(direction, family, name) => {
                words(f, &[direction.as_str(), "_contested_any", family.digit(), "_"])?;
                name.fmt(f)
            }
            fixed => f.write_str(fixed.phrase().unwrap_or_default()),
        }
    }
}

/// The name of a verdict map.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum MapName {
    /// Dispatch on the pod's address.
    Dispatch(Direction, Family),
    /// What passes that no chain of the dispatch has judged.
    Open,
    /// Single ports of a rule set.
    Ports(Direction, Name, Allow),
    /// Port ranges of a rule set, of one protocol.
    PortRanges(Direction, Name, Allow, Protocol),
}

impl fmt::Display for MapName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dispatch(..) | Self::Open => f.write_str(self.phrase().unwrap_or_default()),
            Self::Ports(direction, name, allow) => {
                words(f, &[direction.as_str(), "_ports_"])?;
                name.fmt(f)?;
                allow.fmt(f)
            }
            Self::PortRanges(direction, name, allow, protocol) => {
                words(f, &[direction.as_str(), "_ranges_", protocol.word(), "_"])?;
                name.fmt(f)?;
                allow.fmt(f)
            }
        }
    }
}

/// What a chain does with a flow that its rules allow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Allow {
    /// Ends the base chain: the flow passes this direction.
    Accept,
    /// Returns to the caller, who asks further rule sets (contested addresses).
    Return,
}

impl Allow {
    /// The verdict for a flow that the rules allow.
    #[must_use]
    pub const fn verdict(self) -> Verdict {
        match self {
            Self::Accept => Verdict::Accept,
            Self::Return => Verdict::Return,
        }
    }
}

impl fmt::Display for Allow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Accept => "",
            Self::Return => "_gate",
        })
    }
}

/// The name of a chain.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ChainName {
    /// A base chain that judges a direction.
    Base(Direction),
    /// The base chain that looks whether a packet enters from a pod's interface.
    Entering,
    /// The base chain that looks whether a packet from a pod, or to a service, ends a tunnel.
    Translated,
    /// Checks the source of a packet from such an interface.
    SourceChecks(SetName),
    /// Where flows end that no rule allows.
    Denied(Direction),
    /// Where those end that were not taken down before: see [`crate::drops`].
    Unkept(Direction, Family),
    /// Those of them without ports.
    Portless(Direction, Family),
    /// The rules of a rule set.
    RuleSet(Direction, Name, Allow),
    /// The peers of some ports.
    Peers(Direction, Name, Allow),
    /// The rule sets of a contested address, which must all allow a flow.
    All(Direction, IpAddr),
    /// What begins a connection in mid-stream is judged here first.
    MidStream,
    /// Where mid-stream packets of isolated pods end.
    Reset,
    /// What comes from a pod, or to a service, and ends a tunnel if a node takes it.
    Tunnel,
    /// Family bridge: the base chain.
    Bridged,
    /// Family bridge: frames between ports of bridges that pods hang on.
    Frames,
    /// Family bridge: packets from a known source.
    FramesTo,
    /// Family bridge: the base chain for frames that enter.
    FromPorts,
    /// Family bridge: frames that enter by the port of a known pod.
    FromPort,
    /// Family bridge: those of them that change whom a neighbour takes for whom.
    Neighbours,
    /// Family bridge: those of them with an IPv6 packet.
    FromPortV6,
    /// Family bridge: the base chain for frames that leave.
    ToPorts,
    /// Family bridge: frames that leave by the port of a known pod.
    ToPort,
}

impl ChainName {
    /// The table that it is in.
    #[must_use]
    pub const fn table(&self) -> TableName {
        match self {
            Self::Bridged
            | Self::Frames
            | Self::FramesTo
            | Self::FromPorts
            | Self::FromPort
            | Self::Neighbours
            | Self::FromPortV6
            | Self::ToPorts
            | Self::ToPort => TableName::Bridge,
            _ => TableName::Inet,
        }
    }
}

impl fmt::Display for ChainName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SourceChecks(interfaces) => write!(f, "anchor_{interfaces}"),
            Self::RuleSet(direction, name, allow) => {
                words(f, &[direction.as_str(), "_"])?;
                name.fmt(f)?;
                allow.fmt(f)
            }
            Self::Peers(direction, name, allow) => {
                words(f, &[direction.as_str(), "_peers_"])?;
                name.fmt(f)?;
                allow.fmt(f)
            }
            Self::All(direction, IpAddr::V4(address)) => {
                write!(f, "{direction}_all_{:08x}", u32::from(*address))
            }
            Self::All(direction, IpAddr::V6(address)) => {
                write!(f, "{direction}_all_{:032x}", u128::from(*address))
            }
            fixed => f.write_str(fixed.phrase().unwrap_or_default()),
        }
    }
}
