//! Verdicts as people read them.

use std::fmt;

use super::rules::{PeerMiss, PeerWhy, PortMiss, PortWhy};
use super::verdict::{Cite, Exempt};
use crate::object::{Direction, Policy};

/// `ingress[0]`.
fn rule(f: &mut fmt::Formatter<'_>, direction: Direction, index: usize) -> fmt::Result {
    write!(f, "{direction}[{index}]")
}

/// What a policy calls its peers in a direction.
const fn peers_field(direction: Direction) -> &'static str {
    match direction {
        Direction::Ingress => "from",
        Direction::Egress => "to",
    }
}

impl fmt::Display for Cite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Policy { key, .. } = &*self.policy;
        write!(f, "{key} ")?;
        rule(f, self.direction, self.rule)?;
        if let Some(peer) = self.peer {
            write!(f, ".{}[{peer}]", peers_field(self.direction))?;
        }
        if let Some(port) = self.port {
            write!(f, ".ports[{port}]")?;
        }
        Ok(())
    }
}

impl fmt::Display for Exempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::HostNetwork => "host-network",
            Self::OwnNode => "own-node",
            Self::Itself => "itself",
        })
    }
}

impl fmt::Display for PeerWhy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoPod => f.write_str("selects pods, and no pod is known there"),
            Self::Host => f.write_str("selects pods, which those of a node's network are not"),
            Self::OtherNamespace { own } => write!(f, "selects pods of namespace {own} only"),
            Self::Namespace { namespace, wanted, has } => {
                write!(
                    f,
                    "wants namespaces with {wanted}; {namespace} has {}",
                    Has(&wanted.key, has.as_deref())
                )
            }
            Self::NamespaceUnknown { namespace } => write!(f, "namespace {namespace} is not known"),
            Self::Labels { wanted, has } => {
                write!(f, "wants pods with {wanted}; this one has {}", Has(&wanted.key, has.as_deref()))
            }
            Self::NoAddress => f.write_str("is a block, and no address is known"),
            Self::OutsideBlock { cidr } => write!(f, "{cidr} does not have the address"),
            Self::Excepted { cidr, except } => write!(f, "{cidr} except {except} excludes it"),
        }
    }
}

/// What an object has for a key.
struct Has<'a>(&'a str, Option<&'a str>);

impl fmt::Display for Has<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.1 {
            None => write!(f, "no label {}", self.0),
            Some(value) => write!(f, "{}={value}", self.0),
        }
    }
}

impl fmt::Display for PortWhy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Protocol(protocol) => write!(f, "is for {protocol}"),
            Self::Number(range) => write!(f, "is {range}"),
            Self::NoSuchName { name, has } if has.is_empty() => {
                write!(f, "\"{name}\": the destination names no port of this protocol")
            }
            Self::NoSuchName { name, has } => {
                write!(f, "\"{name}\": the destination names ")?;
                for (index, (name, number)) in has.iter().enumerate() {
                    write!(f, "{}{name}={number}", if index > 0 { ", " } else { "" })?;
                }
                Ok(())
            }
            Self::NamesOther { name, numbers } => {
                let numbers: Vec<String> = numbers.iter().map(u16::to_string).collect();
                write!(f, "\"{name}\" is {} there", numbers.join(", "))
            }
            Self::NameOfNoPod(name) => {
                write!(f, "\"{name}\" is looked up on the destination pod, and no pod is known there")
            }
            Self::NoPorts => f.write_str("names ports, and what is sent has none"),
        }
    }
}

impl fmt::Display for PeerMiss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{}] {}", self.index, self.why)
    }
}

impl fmt::Display for PortMiss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{}] {}", self.index, self.why)
    }
}
