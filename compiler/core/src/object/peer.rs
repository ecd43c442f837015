//! Peers: whom a rule is about.

use std::sync::Arc;

use flock_shared::NamespaceName;

use super::block::IpBlock;
use crate::label::Selector;

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
