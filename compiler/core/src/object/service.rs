//! A Service: which pods it leads to, at which of their ports. No policy looks at it: what it leads to is judged.

use super::port::PortName;
use crate::label::Selector;
use crate::port::Protocol;

/// `v1.Service`, trimmed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Service {
    /// `spec.selector`: pods of its namespace; `None`: it has none, and its endpoints are made by hand or are elsewhere.
    pub selector: Option<Selector>,
    /// `spec.ports`, in order.
    pub ports: Vec<ServicePort>,
}

/// A port of a Service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServicePort {
    /// TCP, UDP or SCTP.
    pub protocol: Protocol,
    /// What clients connect to.
    pub port: u16,
    /// Where it leads.
    pub target: TargetPort,
}

/// Where a Service's port leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TargetPort {
    /// This number.
    Number(u16),
    /// What each pod calls by this name.
    Named(PortName),
}
