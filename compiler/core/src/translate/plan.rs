//! What can be said of a draft without looking at what is there: the identities of its parts.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::draft::{RuleDraft, Union};
use crate::block::Blocks;
use crate::identity::{Identify, Identity};
use crate::object::Direction;
use crate::output::Membership;
use crate::port::{PortRange, PortSet};

/// A draft with the identities of everything that a rule set of it is made of.
pub(super) struct Plan {
    pub(super) identity: Identity,
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
    pub(super) identity: Identity,
    pub(super) set: Option<SetPlan>,
    pub(super) blocks: Blocks,
    /// The identities of the blocks of each family, where they need a set.
    pub(super) v4: Option<Identity>,
    pub(super) v6: Option<Identity>,
}

/// A set of pods or destinations.
pub(super) struct SetPlan {
    pub(super) identity: Identity,
    pub(super) rule: Membership,
}

impl Plan {
    pub(super) fn of(draft: RuleDraft) -> Self {
        let identity = draft.identity();
        let RuleDraft { direction, any_port, ports, unions, named, contested } = draft;
        let named =
            (!named.is_empty()).then(|| SetPlan::of(Membership::Destinations(named.into_boxed_slice())));
        let (any_port, unions) = (UnionPlan::of(any_port), unions.into_iter().map(UnionPlan::of).collect());
        Self { identity, direction, any_port, ports, unions, named, contested }
    }
}

impl UnionPlan {
    fn of(union: Union) -> Self {
        let identity = union.identity();
        let Union { pods, blocks } = union;
        let (v4, v6) = (&blocks.v4, &blocks.v6);
        let v4 = (!v4.is_empty() && !v4.is_full()).then(|| v4.identity());
        let v6 = (!v6.is_empty() && !v6.is_full()).then(|| v6.identity());
        let set = (!pods.is_empty()).then(|| SetPlan::of(Membership::Pods(pods.into_boxed_slice())));
        Self { identity, set, blocks, v4, v6 }
    }

    /// Whether no peer is in the union.
    pub(super) fn is_empty(&self) -> bool {
        self.set.is_none() && self.blocks.is_empty()
    }
}

impl SetPlan {
    fn of(rule: Membership) -> Self {
        Self { identity: rule.identity(), rule }
    }
}
