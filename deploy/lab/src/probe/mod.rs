//! Probes: one real exchange each, judged as reached or dropped within a bounded time.

mod attempt;
mod engine;

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use crate::error::{LabError, Result};
use crate::namespace::Namespace;
use crate::node::Family;

pub(crate) use attempt::{ephemeral_port, nonce};
pub use engine::probe_all;

/// What a probe, a server or a held connection speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    /// A TCP handshake, then one byte that comes back.
    Tcp,
    /// A datagram that comes back.
    Udp,
    /// INIT, answered by INIT ACK.
    Sctp,
    /// An echo request, answered by the kernel; the port is ignored.
    IcmpEcho,
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Tcp => "TCP",
            Self::Udp => "UDP",
            Self::Sctp => "SCTP",
            Self::IcmpEcho => "ICMP",
        })
    }
}

/// What became of a probe.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Verdict {
    /// Packets got through and an answer came back. A refusal by the target itself (a TCP reset, an unreachable
    /// port) counts: no packet filter was in the way.
    Reached,
    /// Nothing came back from three attempts.
    Dropped,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Reached => "reached",
            Self::Dropped => "dropped",
        })
    }
}

/// A question to the network: does this get there, and the answer back?
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Probe {
    /// Where it starts: a pod or a node.
    pub from: Namespace,
    /// The address that it starts from, which `from` must have; the kernel's choice unless given.
    pub source: Option<IpAddr>,
    /// Where it goes.
    pub to: SocketAddr,
    /// What it speaks.
    pub protocol: Protocol,
}

impl Probe {
    /// A probe from a [`Pod`](crate::Pod) or [`Node`](crate::Node) (both deref to [`Namespace`]).
    #[must_use]
    pub fn new(from: &Namespace, protocol: Protocol, to: IpAddr, port: u16) -> Self {
        Self { from: from.clone(), source: None, to: SocketAddr::new(to, port), protocol }
    }

    /// The same probe from one of several addresses.
    #[must_use]
    pub fn from_address(self, source: IpAddr) -> Self {
        Self { source: Some(source), ..self }
    }

    /// Sends it; takes 0.8 seconds where the answer is [`Verdict::Dropped`]. Many at once: [`probe_all`].
    ///
    /// # Errors
    /// When the packet cannot even be sent: no route, or a source that `from` does not have.
    pub fn run(&self) -> Result<Verdict> {
        let verdicts = probe_all(std::slice::from_ref(self))?;
        Ok(verdicts.first().copied().unwrap_or(Verdict::Dropped))
    }

    pub(crate) fn family(&self) -> Family {
        Family::of(self.to.ip())
    }

    pub(crate) fn validate(&self) -> Result<()> {
        match self.source {
            Some(source_address) if Family::of(source_address) != self.family() => {
                Err(LabError::Families { source_address, target: self.to.ip() })
            }
            _ => Ok(()),
        }
    }
}

impl fmt::Display for Probe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.from.name())?;
        if let Some(source) = self.source {
            write!(f, " ({source})")?;
        }
        write!(f, " to {} {}", self.to, self.protocol)
    }
}
