//! What can be said of a draft without looking at what is there: the identities of its parts.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::draft::{RuleDraft, Union};
use crate::block::Blocks;
use crate::identity::{Hashed, Identify, ShortHash};
use crate::object::Direction;
use crate::output::Membership;
use crate::port::{PortRange, PortSet};

/// A draft with the identities of everything that a rule set of it is made of.
pub(super) struct Plan {
    pub(super) identity: Hashed,
    pub(super) direction: Direction,
    pub(super) any_port: UnionPlan,
    /// Each with the place of its union in [`Self::unions`].
    pub(super) ports: Vec<(PortRange, usize)>,
    pub(super) unions: Vec<UnionPlan>,
    pub(super) named: Option<SetPlan>,
    pub(super) contested: BTreeMap<IpAddr, PortSet>,
}

/// A union of peers.
pub(super) struct UnionPlan {
    pub(super) identity: Hashed,
    pub(super) set: Option<SetPlan>,
    pub(super) blocks: Blocks,
    /// The identities of the blocks of each family, where they need a set.
    pub(super) v4: Option<Hashed>,
    pub(super) v6: Option<Hashed>,
}

/// A set of pods or destinations.
pub(super) struct SetPlan {
    pub(super) identity: Hashed,
    pub(super) rule: Membership,
}

impl Plan {
    pub(super) fn of(draft: RuleDraft, hash: ShortHash) -> Self {
        let identity = Hashed::new(draft.identity(), hash);
        let RuleDraft { direction, any_port, ports, unions, named, contested } = draft;
        let named = (!named.is_empty())
            .then(|| SetPlan::of(Membership::Destinations(named.into_boxed_slice()), hash));
        let union = |union| UnionPlan::of(union, hash);
        let (any_port, unions) = (union(any_port), unions.into_iter().map(union).collect());
        Self { identity, direction, any_port, ports, unions, named, contested }
    }
}

impl UnionPlan {
    fn of(union: Union, hash: ShortHash) -> Self {
        let identity = Hashed::new(union.identity(), hash);
        let Union { pods, blocks } = union;
        let (v4, v6) = (&blocks.v4, &blocks.v6);
        let v4 = (!v4.is_empty() && !v4.is_full()).then(|| Hashed::new(v4.identity(), hash));
        let v6 = (!v6.is_empty() && !v6.is_full()).then(|| Hashed::new(v6.identity(), hash));
        let set = (!pods.is_empty()).then(|| SetPlan::of(Membership::Pods(pods.into_boxed_slice()), hash));
        Self { identity, set, blocks, v4, v6 }
    }

    /// Whether no peer is in the union.
    pub(super) fn is_empty(&self) -> bool {
        self.set.is_none() && self.blocks.is_empty()
    }
}

impl SetPlan {
    fn of(rule: Membership, hash: ShortHash) -> Self {
        Self { identity: Hashed::new(rule.identity(), hash), rule }
    }
}
