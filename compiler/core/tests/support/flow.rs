//! A packet that a node forwards, as far as a policy can tell packets apart.

use std::net::IpAddr;

use super::cluster::{Protocol, Text};

#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Flow {
    pub(crate) source: IpAddr,
    pub(crate) destination: IpAddr,
    pub(crate) transport: Transport,
    pub(crate) state: State,
    /// The interface that the packet enters by, as the node that judges it sees it.
    pub(crate) inbound: Option<Text>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Transport {
    /// Protocol, source port, destination port.
    Ports(Protocol, u16, u16),
    /// ICMP, or ICMPv6 between IPv6 addresses.
    Icmp { kind: u8, hop_limit: u8 },
    /// Another protocol's number.
    Other(u8),
}

/// What connection tracking says of the packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
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
    pub(crate) const fn first(source: IpAddr, destination: IpAddr, transport: Transport) -> Self {
        Self { source, destination, transport, state: State::Original, inbound: None }
    }
}
