//! How a delta ends: which markers it checks, leaves and sweeps away.
//!
//! Whatever deletes waits for a grace period of the kernel. So a delta that only adds leaves the marker of its base
//! behind, and one that deletes anyway takes all that were left with it.

use std::collections::BTreeSet;

use flock_shared::marker::{has_left, leaving};
use flock_shared::{MARKER_PREFIX, PAST_PREFIX, Revision, Superseded, TABLE};

use crate::layout::marker;
use crate::nft::ApplyError;

/// The end of a delta on one node's table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct End {
    base: Revision,
    revision: Revision,
    way: Way,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Way {
    /// The base's marker stays; these are left afterwards.
    Leaves(Superseded),
    /// The base's marker goes, and what is left of these.
    Sweeps(Superseded),
}

/// What nft is told, in the order of an end.
#[derive(Debug, Clone, Copy)]
enum Statement<'a> {
    /// Goes on from a revision that stands; refused where it does not.
    Leave(&'a Revision),
    /// Has gone on from a revision, by an earlier step; refused where that is not so.
    HasLeft(&'a Revision),
    /// Removes what is left of a revision, whether anything is or not.
    Sweep(&'a Revision),
    /// Removes the marker of a revision that stands; refused where it does not.
    Remove(&'a Revision),
    /// Adds the marker of a revision.
    Mark(&'a Revision),
}

impl End {
    /// The end of a delta that deletes something or not, on a table that has gone on from `superseded` before.
    #[must_use]
    pub fn of(deletes: bool, base: &Revision, revision: &Revision, superseded: &Superseded) -> Self {
        // A state that comes back needs its marker to be as new.
        let comes_back = revision == base || superseded.iter().any(|left| left == revision);
        let way = match superseded.with(base) {
            Some(left) if !deletes && !comes_back => Way::Leaves(left),
            _ => Way::Sweeps(superseded.clone()),
        };
        Self { base: base.clone(), revision: revision.clone(), way }
    }

    /// What the table has gone on from afterwards and still holds markers of.
    #[must_use]
    pub fn superseded(&self) -> Superseded {
        match &self.way {
            Way::Leaves(left) => left.clone(),
            Way::Sweeps(_) => Superseded::default(),
        }
    }

    /// What begins the first step of a delta of several, and what ends its last one. The first goes on from the base, so
    /// that the table is no state while the series is under way, and one that breaks is noticed; the last wants that to
    /// be so, since another script may have come in between.
    pub(super) fn around_steps(&self) -> (String, String) {
        let (swept, base_too) = match &self.way {
            Way::Leaves(_) => (None, None),
            Way::Sweeps(others) => (Some(others), Some(&self.base)),
        };
        let swept = swept.into_iter().flat_map(Superseded::iter).filter(|left| **left != self.base);
        let swept = swept.chain(base_too).map(Statement::Sweep);
        let last = [Statement::HasLeft(&self.base)].into_iter().chain(swept);
        (written([Statement::Leave(&self.base)]), written(last.chain([Statement::Mark(&self.revision)])))
    }

    fn statements(&self) -> impl Iterator<Item = Statement<'_>> {
        let (swept, base) = match &self.way {
            Way::Leaves(_) => (None, Statement::Leave(&self.base)),
            Way::Sweeps(left) => (Some(left), Statement::Remove(&self.base)),
        };
        // Were the base among them, sweeping would take the marker that is about to be checked.
        let swept = swept.into_iter().flat_map(Superseded::iter).filter(|left| **left != self.base);
        swept.map(Statement::Sweep).chain([base, Statement::Mark(&self.revision)])
    }

    pub(super) fn write(&self) -> String {
        written(self.statements())
    }
}

fn written<'a>(statements: impl IntoIterator<Item = Statement<'a>>) -> String {
    let mut out = String::with_capacity(256);
    for statement in statements {
        match statement {
            Statement::Leave(revision) => out.push_str(&leaving(revision)),
            Statement::HasLeft(revision) => out.push_str(&has_left(revision)),
            Statement::Sweep(revision) => {
                // What was added cannot be missing when it is deleted; the chain goes first, for it uses the set.
                object(&mut out, "add chain", PAST_PREFIX, revision);
                object(&mut out, "delete chain", PAST_PREFIX, revision);
                out.push_str(&marker(revision));
                object(&mut out, "delete set", MARKER_PREFIX, revision);
            }
            // Where the table has gone on, a rule uses the set, and the kernel refuses to delete it.
            Statement::Remove(revision) => object(&mut out, "delete set", MARKER_PREFIX, revision),
            Statement::Mark(revision) => out.push_str(&marker(revision)),
        }
    }
    out
}

fn object(out: &mut String, words: &str, prefix: &str, revision: &Revision) {
    for part in [words, " ", TABLE, " ", prefix, revision.as_str(), "\n"] {
        out.push_str(part);
    }
}

/// The markers of a table, as nft and the kernel would have them: the model that ends are tested against.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Markers {
    sets: BTreeSet<Revision>,
    past: BTreeSet<Revision>,
}

impl Markers {
    /// Those of a full script.
    #[must_use]
    pub fn full(revision: &Revision) -> Self {
        Self { sets: BTreeSet::from([revision.clone()]), past: BTreeSet::new() }
    }

    /// The revisions that stand, which is one, and those that the table has gone on from.
    #[must_use]
    pub fn sorted(&self) -> (Vec<&Revision>, Vec<&Revision>) {
        self.sets.iter().partition(|revision| self.stands(revision))
    }

    fn stands(&self, revision: &Revision) -> bool {
        self.sets.contains(revision) && !self.past.contains(revision)
    }

    /// Commits an end.
    ///
    /// # Errors
    /// When nft or the kernel would refuse it; the markers are then in no defined state.
    pub fn apply(&mut self, end: &End) -> Result<(), ApplyError> {
        for statement in end.statements() {
            match statement {
                Statement::Leave(revision) | Statement::Remove(revision) if !self.stands(revision) => {
                    return Err(ApplyError::Base(revision.clone()));
                }
                // Only between steps.
                Statement::HasLeft(_) => {}
                Statement::Leave(revision) => _ = self.past.insert(revision.clone()),
                Statement::Remove(revision) => _ = self.sets.remove(revision),
                Statement::Sweep(revision) => {
                    self.past.remove(revision);
                    self.sets.remove(revision);
                }
                Statement::Mark(revision) => _ = self.sets.insert(revision.clone()),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
#[path = "end_tests.rs"]
mod tests;
