//! Budgets: what the policies of one tenant may come to, so that hostile ones cost the others nothing.
//!
//! Merging makes cost per packet constant, but n overlapping port ranges with n different peers come to n² entries.
//! Over budget, the pods are isolated and it is reported.

use std::fmt;

use crate::object::Direction;
use crate::object::Policy;
use crate::problem::{Consequence, Problem};

/// The most selectors and address ranges that one group's merged rules may hold, all ports together.
pub(super) const ENTRIES: usize = 1 << 16;
/// The most addresses that the address sets of one rule set may hold.
pub(super) const MEMBERS: usize = 1 << 22;

/// A group's rules are over budget.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum OverBudget {
    /// More than [`ENTRIES`].
    Entries,
    /// More than [`MEMBERS`].
    Members,
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
        }
    }
}

impl OverBudget {
    /// The problem to report for the policies of a group in one namespace.
    pub(super) fn problem<'a>(
        self,
        direction: Direction,
        policies: impl IntoIterator<Item = &'a Policy>,
    ) -> Problem {
        let mut keys = policies.into_iter().map(|policy| &policy.key);
        let first = keys.next();
        let others = keys.count();
        let who = if others == 0 {
            "its rules".to_owned()
        } else {
            format!("its rules and those of {others} others")
        };
        Problem {
            object: first.map_or_else(String::new, |key| format!("NetworkPolicy {key}")),
            namespace: first.map(|key| key.namespace.clone()),
            origin: None,
            field: format!("spec.{direction}"),
            message: format!("{who} that select the same pods {self}"),
            consequence: Consequence::Isolated,
        }
    }
}
