//! Problems: what a user should mend, what was found and what is done about it.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use crate::object::{Direction, Pod, Policy};

/// Something that a user should mend.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Problem {
    /// Kind, namespace and name, such as `NetworkPolicy default/web`; empty if no object could be told.
    pub object: String,
    /// Where the object came from: a file, or `kubernetes`; `None` if the problem is between objects.
    pub origin: Option<Arc<str>>,
    /// Path of the field; empty if the problem is about the whole object.
    pub field: String,
    /// What was found and what was expected.
    pub message: String,
    /// What is done about it.
    pub consequence: Consequence,
}

/// What is done about a problem.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Consequence {
    /// The policy's pods are isolated and it allows nothing.
    Isolated,
    /// The field is left out: a port does not match, an address or interface owns nothing.
    LeftOut,
    /// A flow passes only if it would pass for every owner of the address.
    AllOwnersMustAllow,
    /// The input's last good objects stay in force; nothing is published if it never had any.
    PreviousKept,
}

impl Consequence {
    /// Whether the objects themselves are bad input (and not merely at odds with each other).
    #[must_use]
    pub const fn is_invalid_input(self) -> bool {
        !matches!(self, Self::AllOwnersMustAllow)
    }
}

impl fmt::Display for Consequence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Isolated => "the pods it selects are isolated and it allows nothing",
            Self::LeftOut => "the field is left out",
            Self::AllOwnersMustAllow => "a flow passes only if it would pass for every owner",
            Self::PreviousKept => "the last good objects stay in force",
        })
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for part in [self.origin.as_deref().unwrap_or_default(), &self.object, &self.field] {
            if !part.is_empty() {
                write!(f, "{part}: ")?;
            }
        }
        write!(f, "{} ({})", self.message, self.consequence)
    }
}

/// The problems of a pod by itself.
pub(crate) fn of_pod(pod: &Pod) -> impl Iterator<Item = Problem> {
    pod.faults.iter().map(|fault| Problem {
        object: format!("Pod {}", pod.key),
        origin: Some(Arc::clone(&fault.origin)),
        field: fault.field.clone(),
        message: fault.message.clone(),
        consequence: Consequence::LeftOut,
    })
}

/// The problems of a policy by itself.
pub(crate) fn of_policy(policy: &Policy) -> impl Iterator<Item = Problem> {
    let directions: Vec<String> =
        Direction::ALL.iter().filter(|d| policy.rules(**d).is_some()).map(ToString::to_string).collect();
    policy.faults().iter().map(move |fault| Problem {
        object: format!("NetworkPolicy {}", policy.key),
        origin: Some(Arc::clone(&fault.origin)),
        field: fault.field.clone(),
        message: format!("{} [{}]", fault.message, directions.join(" and ")),
        consequence: Consequence::Isolated,
    })
}

/// The problem of an address with several owners.
pub(crate) fn contested(address: IpAddr, owners: &[String]) -> Problem {
    Problem {
        object: format!("Pod {}", owners.first().map_or("", |name| name)),
        origin: None,
        field: "status.podIPs".to_owned(),
        message: format!("address {address} is owned by {} live pods: {}", owners.len(), owners.join(", ")),
        consequence: Consequence::AllOwnersMustAllow,
    }
}
