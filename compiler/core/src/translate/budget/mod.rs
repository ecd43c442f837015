//! Budgets: what the policies of one tenant may come to, so that hostile ones cost the others nothing.
//!
//! Merging makes cost per packet constant, but n overlapping port ranges with n different peers come to n² entries, and
//! nothing limits how many policies a namespace has. Over budget, the pods are isolated and it is reported. Every
//! budget is a function of the objects alone, never of what led to them.

pub(in crate::translate) mod attempts;
pub(in crate::translate) mod load;
pub(in crate::translate) mod lookups;
pub(in crate::translate) mod rule_budgets;
pub(in crate::translate) mod weight;

use std::fmt;

use flock_shared::{NamespaceName, NodeName, PolicyKey};

use crate::object::Direction;
use crate::problem::{self, Consequence, Problem};
use crate::translate::budget::load::{Load, LoadKind};

/// The most selectors and address ranges that one group's merged rules may hold, all ports together.
pub(in crate::translate) const ENTRIES: usize = 1 << 16;
/// The most addresses that the address sets of one rule set may hold.
pub(in crate::translate) const MEMBERS: u64 = 1 << 22;

/// The weight of a peer that pods of all namespaces have to be tried against: no label's value leads to it.
pub(in crate::translate) const WIDE: u64 = 64;

/// What the policies of one namespace may come to, all its pods together. Its policies are not counted: ten thousand
/// that say the same come to one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Budgets {
    /// How often its pods may have to be tried against what its policies select: for each different statement the pods
    /// that the index yields for it, which is all pods where no label leads to them. As many take a tenth of a second,
    /// and whatever policy or pod of the namespace changes may take as many again, for which everybody else waits. 10,000
    /// pods may have a hundred different policies that all of them are tried against, and any number that name pods by
    /// labels. As often, on top of that, against the different peers in the namespace that its policies name: 3,000 times
    /// 3,000 took 1.7 s, and each event after it 24 to 37 ms.
    pub tries: u64,
    /// The weight of the rules that apply to its pods, before they are merged: once for each of the groups that differ
    /// in their rules. One peer, port or address range weighs 1; a selector that pods of other namespaces have to be
    /// tried against more. Merging as much takes a tenth of a second.
    pub said: u64,
    /// The selectors, address ranges and port ranges that all of its groups come to once merged. As many lines of a
    /// script are 10 MB, which nft takes in within seconds.
    pub merged: u64,
    /// The addresses in all of the different sets that its groups look up, unless they are few: thirty times a cluster
    /// of 150,000 pods. As many elements are 60 MB of script.
    pub members: u64,
    /// Whoever looks up no more different sets than this is within [`Self::members`]: what most namespaces look up need
    /// not be added up whenever a pod changes.
    pub few_sets: usize,
    /// A group that allows more different unions of pods on ports of their own than this has those of a port or two in
    /// one set, an element for each pod and port. Fewer chains and sets of pods cost nft nothing to speak of.
    pub few_unions: usize,
    /// What one node's table may come to, for all namespaces that it looks something up for, whatever its pods' own
    /// addresses take. Beyond it the namespaces that use most are closed there, so that one which uses less than its part
    /// of it never is. [`crate::nft::costs::node`] says how it was chosen.
    pub node: Load,
}

impl Default for Budgets {
    fn default() -> Self {
        Self {
            tries: 1 << 20,
            said: 1 << 18,
            merged: 1 << 18,
            members: 1 << 22,
            few_sets: 16,
            few_unions: 64,
            node: Load::NODE,
        }
    }
}

/// The rules of a group or a namespace are over budget.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::translate) enum OverBudget {
    /// More than [`ENTRIES`] in one group.
    Entries,
    /// More than [`MEMBERS`] in one rule set.
    Members,
    /// Not too much, but not to be told apart: a part of the rule set has the name of another one.
    Ambiguous,
    /// More than [`Budgets::tries`] in the namespace.
    Tries,
    /// The same with peers.
    PeerTries,
    /// More than [`Budgets::said`] in the namespace.
    Said,
    /// More than [`Budgets::merged`] in the namespace.
    Merged,
    /// More than [`Budgets::members`] in the namespace.
    Addresses,
}

impl OverBudget {
    /// Returns true if the namespace as a whole is over budget.
    pub(in crate::translate) const fn is_of_namespace(self) -> bool {
        match self {
            Self::Entries | Self::Members | Self::Ambiguous => false,
            Self::Tries | Self::PeerTries | Self::Said | Self::Merged | Self::Addresses => true,
        }
    }
}

impl fmt::Display for OverBudget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Entries => write!(
                f,
                "come to more than {ENTRIES} selectors and address ranges once overlapping ports are taken apart; \
                 use fewer overlapping port ranges with different peers"
            ),
            Self::Members => {
                write!(
                    f,
                    "come to more than {MEMBERS} addresses of pods; use fewer different unions of peers"
                )
            }
            Self::Ambiguous => f.write_str(
                "come to sets or chains that would have the name of others (two SHA-256 values with one hash of 128 \
                 bits: somebody has looked for them); change one of their peers",
            ),
            Self::Tries => f.write_str(
                "attempts to match a pod with a policy (use fewer different policies, or select pods by one label)",
            ),
            Self::PeerTries => f.write_str(
                "attempts to match a pod with a peer (use fewer different peers, or select pods by one label)",
            ),
            Self::Said => write!(
                f,
                "peers, ports and address ranges over its groups of pods with different rules, {WIDE} for a peer that \
                 pods of all namespaces have to be tried against (use fewer different rules)"
            ),
            Self::Addresses => {
                f.write_str("addresses of pods in the sets that they look up (use fewer different unions of peers)")
            }
            Self::Merged => f.write_str(
                "selectors and ranges once overlapping ports are taken apart (use fewer overlapping port ranges \
                 with different peers)",
            ),
        }
    }
}

/// The problem to report for a group: so many policies say what it allows.
pub(in crate::translate) fn of_group(
    over: OverBudget,
    direction: Direction,
    first: Option<&PolicyKey>,
    count: usize,
) -> Problem {
    let who = match count {
        0 | 1 => "its rules".to_owned(),
        several => format!("its rules and those of {} others", several - 1),
    };
    Problem {
        object: first.map_or_else(String::new, |key| format!("NetworkPolicy {key}")),
        namespace: first.map(|key| key.namespace.clone()),
        origin: None,
        field: format!("spec.{direction}"),
        message: format!("{who} that select the same pods {over}"),
        consequence: Consequence::Isolated,
    }
}

/// The problem to report for a namespace that is closed on nodes, of which one is named.
pub(in crate::translate) fn on_nodes(
    namespace: &NamespaceName,
    (first, over): (&NodeName, LoadKind),
    count: usize,
    budget: &Load,
) -> Problem {
    let message = format!(
        "what its NetworkPolicies and those of others look up would come to more than {} {over} on {}, where it is closed \
         (use fewer different unions of peers and ranges)",
        over.of(budget),
        problem::nodes(first, count)
    );
    Problem::of_namespace(namespace, message, Consequence::NamespaceIsolated)
}

/// The problem to report for a namespace whose policies come to so much.
pub(in crate::translate) fn of_namespace(
    over: OverBudget,
    namespace: &NamespaceName,
    (count, budget): (u64, u64),
) -> Problem {
    let message = format!("its NetworkPolicies come to {count} {over}; {budget} are allowed");
    Problem::of_namespace(namespace, message, Consequence::NamespaceIsolated)
}
