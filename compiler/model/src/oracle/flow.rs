//! A packet that a node forwards, as far as a policy can tell packets apart.

use std::net::IpAddr;

use super::cluster::{Protocol, Text};

/// A packet that a node forwards.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Flow {
    /// Source address.
    pub source: IpAddr,
    /// Destination address, after DNAT.
    pub destination: IpAddr,
    /// What it carries.
    pub transport: Transport,
    /// What connection tracking says of it.
    pub state: State,
    /// The interface that the packet enters by, as the node that judges it sees it.
    pub inbound: Option<Text>,
}

/// What a packet carries.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Transport {
    /// Protocol, source port, destination port.
    Ports(Protocol, u16, u16),
    /// ICMP, or ICMPv6 between IPv6 addresses.
    Icmp {
        /// The message's type.
        kind: u8,
        /// TTL or hop limit.
        hop_limit: u8,
    },
    /// Another protocol's number.
    Other(u8),
}

/// What connection tracking says of the packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// The first packet of a connection, or a later one of the same direction.
    Original,
    /// A packet in the middle of a connection that connection tracking does not know.
    MidStream,
    /// A packet of the other direction.
    Reply,
    /// A packet that another connection gave rise to.
    Related,
}

impl Flow {
    /// The first packet of a connection that enters by an interface that says nothing.
    #[must_use]
    pub const fn first(source: IpAddr, destination: IpAddr, transport: Transport) -> Self {
        Self { source, destination, transport, state: State::Original, inbound: None }
    }
}
