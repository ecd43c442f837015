//! From one output of a node to the next: one transaction, and the script that makes it.
//!
//! ```text
//! (old, new) ─compare─▶ Comparison ─┬─ parts: rule sets and sets of pods that come, go or change ─┐
//!                                   └─ frame: the node's own dispatch, hairpins, anchors, guard ──┴─▶ Delta ─▶ Body
//! ```
//!
//! What both outputs share is compared by identity first; only what differs is laid out. Nodes to which the same
//! happens share the statements of the parts.

mod body;
mod comparison;
mod end;
mod parts;

use crate::layout::layout;
use crate::nft::{ApplyError, Table, Transaction};
use crate::output::{Form, Output};

pub use body::{Bodies, Body};
pub use end::{End, Markers};

use comparison::Comparison;

/// Returns true if what a transaction does to sets that are in use, and to all else, is no more than a step may hold.
fn fits(parts: &Transaction) -> bool {
    parts.objects() - parts.unused_objects() <= LAST_STEP_OBJECTS
}

/// The way from one output to another.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Delta {
    /// Rule sets and sets of pods that come, go or change.
    pub parts: Transaction,
    /// The node's own: dispatch, hairpins, anchors, what guards unready pods. It refers to parts and they do not refer
    /// to it, so it stands between their additions and the rest.
    pub frame: Transaction,
}

impl Delta {
    /// Returns true if what cannot be done before the last step is no more than one may hold.
    fn fits(&self) -> bool {
        fits(&self.parts) && self.frame.objects() <= LAST_STEP_OBJECTS
    }

    /// Commits the transaction to a table, as nft would.
    ///
    /// # Errors
    /// When nft or the kernel would refuse it; the table is then in no defined state.
    pub fn apply(&self, table: &mut Table) -> Result<(), ApplyError> {
        table.extend(&self.parts)?;
        table.extend(&self.frame)?;
        table.edit(&self.frame)?;
        table.edit(&self.parts)
    }
}

/// What the last step of a delta may hold, so that its transaction needs 160 MB of the kernel's memory at worst. What
/// is more is a full script's to do, which has smaller steps.
const LAST_STEP_OBJECTS: usize = 20_000;

/// The way from the table of one output to that of another. `None`: only a full script leads there (see
/// [`Transaction::between`]), or it would be too large a transaction. The closed form has no deltas: it is small.
#[must_use]
pub fn diff(old: &Output, new: &Output) -> Option<Delta> {
    let delta = difference(old, new)?;
    delta.fits().then_some(delta)
}

fn difference(old: &Output, new: &Output) -> Option<Delta> {
    if [old, new].iter().any(|output| output.form() == Form::Closed) {
        return None;
    }
    if old.frame().families != new.frame().families {
        let frame = Transaction::between(&layout(old), &layout(new))?;
        return Some(Delta { frame, parts: Transaction::default() });
    }
    let comparison = Comparison::of(old, new);
    Some(Delta { parts: comparison.parts.transaction()?, frame: comparison.frame()? })
}
