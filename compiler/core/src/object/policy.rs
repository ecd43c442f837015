//! A network policy: which pods it selects, in which directions it isolates them and what it allows.

use std::sync::Arc;

pub use flock_nft::direction::Direction;
use flock_shared::{NamespaceName, PolicyKey};
use ipnet::IpNet;

use super::pod::PortName;
use crate::block::Blocks;
use crate::label::Selector;
use crate::port::{PortRange, Protocol};

/// `networking.k8s.io/v1 NetworkPolicy`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// Namespace and name.
    pub key: PolicyKey,
    /// `spec.podSelector`: the pods of the policy's namespace that it selects.
    pub subjects: Selector,
    /// What it says about them.
    pub body: PolicyBody,
}

/// What a policy says about the pods that it selects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PolicyBody {
    /// Every field was understood.
    Understood(PolicyRules),
    /// Some field was not: the pods are isolated in these directions and nothing is allowed by this policy.
    NotUnderstood {
        /// The directions it isolates in.
        types: Types,
        /// What was not understood; at least one.
        faults: Vec<Fault>,
    },
}

/// The rules of a policy by direction; `None`: the policy does not isolate in that direction.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PolicyRules {
    /// `spec.ingress`, if `policyTypes` has Ingress.
    pub ingress: Option<Arc<[Rule]>>,
    /// `spec.egress`, if `policyTypes` has Egress.
    pub egress: Option<Arc<[Rule]>>,
}

/// A non-empty set of directions (`spec.policyTypes`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Types {
    /// Ingress only.
    Ingress,
    /// Egress only.
    Egress,
    /// Both.
    Both,
}

impl Types {
    /// The directions in which this is so; `None`: in neither.
    #[must_use]
    pub fn of(is_so: impl Fn(Direction) -> bool) -> Option<Self> {
        match (is_so(Direction::Ingress), is_so(Direction::Egress)) {
            (true, true) => Some(Self::Both),
            (true, false) => Some(Self::Ingress),
            (false, true) => Some(Self::Egress),
            (false, false) => None,
        }
    }

    /// Whether `direction` is in the set.
    #[must_use]
    pub const fn contains(self, direction: Direction) -> bool {
        matches!(
            (self, direction),
            (Self::Both, _) | (Self::Ingress, Direction::Ingress) | (Self::Egress, Direction::Egress)
        )
    }
}

impl Policy {
    /// The rules in `direction` if the policy isolates in it.
    #[must_use]
    pub fn rules(&self, direction: Direction) -> Option<&[Rule]> {
        match &self.body {
            PolicyBody::Understood(rules) => match direction {
                Direction::Ingress => rules.ingress.as_deref(),
                Direction::Egress => rules.egress.as_deref(),
            },
            PolicyBody::NotUnderstood { types, .. } => types.contains(direction).then_some(&[]),
        }
    }

    /// What was not understood; empty for a policy that was.
    #[must_use]
    pub fn faults(&self) -> &[Fault] {
        match &self.body {
            PolicyBody::Understood(_) => &[],
            PolicyBody::NotUnderstood { faults, .. } => faults,
        }
    }
}

/// A field that could not be understood.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, thiserror::Error)]
#[error("{origin}: {field}: {message}")]
pub struct Fault {
    /// Where the object came from: a file's path as the user gave it, `<stdin>`, or `kubernetes`.
    pub origin: Arc<str>,
    /// Path of the field, such as `spec.ingress[0].from[1].ipBlock.cidr`.
    pub field: String,
    /// What was found and what was expected.
    pub message: String,
}

/// One rule: a flow matches when one of the peers and one of the ports match.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Rule {
    /// `from` or `to`.
    pub peers: PeerMatch,
    /// `ports`.
    pub ports: RulePorts,
}

/// The peers of a rule.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PeerMatch {
    /// No peers are given: any address matches.
    Any,
    /// One of these.
    OneOf(Vec<Peer>),
}

/// One peer.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Peer {
    /// `podSelector`, `namespaceSelector` or both.
    Pods(Arc<PodPeer>),
    /// `ipBlock`.
    Block(IpBlock),
}

/// Pods by label; namespaces resolved against the policy's own.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PodPeer {
    /// In which namespaces.
    pub namespaces: NamespaceScope,
    /// Which pods there.
    pub pods: Selector,
}

/// Namespaces of a pod peer.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum NamespaceScope {
    /// This one: the policy's own, when no `namespaceSelector` is given.
    Named(NamespaceName),
    /// Those whose labels match.
    Matching(Selector),
}

/// `ipBlock`: a CIDR block and what is taken out of it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IpBlock {
    blocks: Blocks,
}

/// Why an `ipBlock` is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IpBlockError {
    /// An `except` is not strictly inside `cidr` (which includes: of the other family).
    #[error("{except} is not strictly within {cidr}")]
    ExceptOutside {
        /// Position in `except`.
        index: usize,
        /// The except.
        except: IpNet,
        /// The block.
        cidr: IpNet,
    },
}

impl IpBlock {
    /// `cidr` without `except`.
    ///
    /// # Errors
    /// When an except is not strictly within the block, as the API server checks.
    pub fn new(cidr: IpNet, except: &[IpNet]) -> Result<Self, IpBlockError> {
        let (cidr, outer) = (cidr.trunc(), cidr);
        for (index, hole) in except.iter().enumerate() {
            if !cidr.contains(&hole.trunc()) || hole.prefix_len() <= cidr.prefix_len() {
                return Err(IpBlockError::ExceptOutside { index, except: *hole, cidr: outer });
            }
        }
        Ok(Self { blocks: Blocks::of(&cidr, except) })
    }

    /// The addresses of the block.
    #[must_use]
    pub const fn blocks(&self) -> &Blocks {
        &self.blocks
    }
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
