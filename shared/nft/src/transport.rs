//! What a packet carries, as far as rules look at it.

use crate::port::Protocol;

/// What a packet carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Transport {
    /// A segment or datagram to a port.
    Ports {
        /// Its protocol.
        protocol: Protocol,
        /// `th dport`.
        destination_port: u16,
    },
    /// An ICMP message of this type.
    Icmp(u8),
    /// An ICMPv6 message of this type.
    Icmpv6(u8),
    /// Another IP protocol.
    Other(u8),
}
