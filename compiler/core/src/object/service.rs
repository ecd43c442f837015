//! A Service: which pods it leads to, at which of their ports. No policy looks at it: what it leads to is judged.

use std::net::IpAddr;

use super::port::PortName;
use crate::label::Selector;
use crate::port::Protocol;

/// `v1.Service`, trimmed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Service {
    /// `spec.selector`: pods of its namespace; `None`: it has none, and its endpoints are made by hand or are elsewhere.
    pub selector: Option<Selector>,
    /// `spec.clusterIPs`: what clients connect to. No policy ever sees them: what is judged is where they lead.
    pub addresses: Vec<IpAddr>,
    /// Returns true if clients connect to its pods, and not to an address of its own (`spec.clusterIP: None`).
    pub is_headless: bool,
    /// `spec.ports`, in order.
    pub ports: Vec<ServicePort>,
}

/// A port of a Service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServicePort {
    /// What clients may call it; `None`: it is the only one, and has no name.
    pub name: Option<PortName>,
    /// TCP, UDP or SCTP.
    pub protocol: Protocol,
    /// What clients connect to.
    pub port: u16,
    /// Where it leads.
    pub target: TargetPort,
}

impl Service {
    /// The protocol and number of each of its ports, and its name in brackets.
    pub fn known_ports(&self) -> impl Iterator<Item = String> {
        self.ports.iter().map(|port| {
            let named = port.name.as_ref().map(|name| format!(" ({name})")).unwrap_or_default();
            format!("{}/{}{named}", port.port, port.protocol)
        })
    }
}

/// Where a Service's port leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TargetPort {
    /// This number.
    Number(u16),
    /// What each pod calls by this name.
    Named(PortName),
}
