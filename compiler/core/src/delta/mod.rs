//! From one output of a node to the next: one transaction, and the script that makes it.
//!
//! ```text
//! (old, new) ─compare─▶ Comparison ─┬─ parts: rule sets and sets of pods that come, go or change ─┐
//!                                   └─ rules: the node's own dispatch, hairpins, source checks, guard ──┴─▶ Delta ─▶ DeltaBody
//! ```
//!
//! What both outputs share is compared by identity first; only what differs is laid out. Nodes to which the same
//! happens share the statements of the parts.

mod body;
mod comparison;
mod markers;
mod shared;

use crate::layout::layout;
use crate::nft::Transaction;
use crate::output::{Form, Output};

pub use body::{DeltaBody, DeltaCache};
pub use markers::{MarkerStatement, MarkerUpdate};

use comparison::Comparison;

/// Returns true if what a transaction does to sets that are in use, and to all else, is no more than a step may hold.
fn fits(parts: &Transaction) -> bool {
    parts.objects() - parts.unused_objects() <= LAST_STEP_OBJECTS
}

/// Returns true if a node's own, all of which the last step makes, is no more than a step may hold.
fn node_rules_fit(node_rules: &Transaction) -> bool {
    node_rules.objects() <= LAST_STEP_OBJECTS
}

/// The way from one output to another.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Delta {
    /// Rule sets and sets of pods that come, go or change.
    pub parts: Transaction,
    /// The node's own: dispatch, hairpins, source checks, what guards unready pods. It refers to parts and they do not refer
    /// to it, so it stands between their additions and the rest.
    pub node_rules: Transaction,
}

impl Delta {
    /// Returns true if what cannot be done before the last step is no more than one may hold.
    fn fits(&self) -> bool {
        fits(&self.parts) && node_rules_fit(&self.node_rules)
    }
}

/// What the last step of a delta may hold, so that its transaction needs 160 MB of the kernel's memory at worst. What
/// is more is a full script's to do, which has smaller steps.
const LAST_STEP_OBJECTS: usize = 20_000;

/// The way from the table of one output to that of another, as one transaction that touches nothing that stays.
///
/// ```text
/// (old, new) ─compare─▶ ─┬─ parts: rule sets and address sets that come, go or change ─┐
///                        └─ rules: the node's own dispatch, source checks, guard ──────┴─▶ Delta ─▶ DeltaBody ─▶ Script
/// ```
///
/// What both share is compared by identity first; only what differs is laid out. `None`: only a full script leads there.
/// That is so where too much differs for one step, where families come or go in a way that no transaction says, where
/// drops come to be taken down or no longer, and from or to the closed form, which is small.
///
/// ```
/// use flock_compiler_core::layout::layout;
/// use flock_compiler_core::output::Families;
/// use flock_compiler_core::{Output, diff};
/// use flock_shared::NodeName;
///
/// let before = Output::empty(NodeName::new("worker-1").unwrap(), Families::default());
/// let after = before.clone();
/// let delta = diff(&before, &after).unwrap();
/// assert!(delta.parts.is_empty() && delta.node_rules.is_empty(), "equal outputs are one table");
/// assert_eq!(layout(&before), layout(&after));
///
/// assert!(diff(&before, &before.closed()).is_none(), "a full script leads to the closed form");
/// ```
#[must_use]
pub fn diff(old: &Output, new: &Output) -> Option<Delta> {
    let delta = difference(old, new)?;
    delta.fits().then_some(delta)
}

fn difference(old: &Output, new: &Output) -> Option<Delta> {
    if [old, new].iter().any(|output| output.form() == Form::Closed) {
        return None;
    }
    // Rare, and a full script says it plainly.
    if old.node_rules().drops != new.node_rules().drops {
        return None;
    }
    if old.node_rules().families != new.node_rules().families {
        // Chains of all rule sets have rules for each family, so the tables are compared as a whole.
        let node_rules = Transaction::between(&layout(old), &layout(new))?;
        return Some(Delta { node_rules, parts: Transaction::default() });
    }
    let comparison = Comparison::of(old, new);
    Some(Delta { parts: comparison.parts.transaction()?, node_rules: comparison.node_rules()? })
}
