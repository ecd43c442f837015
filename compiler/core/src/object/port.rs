//! Ports: the named ones of containers, and those that a rule is about.

use std::fmt;
use std::sync::Arc;

use crate::port::{PortRange, Protocol};

/// The name of a container port (`ContainerPort.name`), compared exactly.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PortName(Arc<str>);

impl PortName {
    /// Wraps a name; any string will do, as it only ever compares with other names.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self(name.into())
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for PortName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for PortName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

/// A named port of a container.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NamedPort {
    /// `ContainerPort.name`.
    pub name: PortName,
    /// `ContainerPort.protocol`.
    pub protocol: Protocol,
    /// `ContainerPort.containerPort`, 1 to 65535.
    pub number: u16,
}

/// The ports of a rule.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum RulePorts {
    /// No ports are given: any protocol and any port matches.
    Any,
    /// One of these.
    OneOf(Vec<PortMatch>),
}

/// One port of a rule.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PortMatch {
    /// A number, a range, or a protocol alone.
    Range(PortRange),
    /// A name, resolved on the destination pod.
    Named {
        /// The protocol that the container port must have.
        protocol: Protocol,
        /// The name.
        name: PortName,
    },
}
