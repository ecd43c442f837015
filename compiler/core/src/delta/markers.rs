//! How a delta ends: which markers it checks, leaves and sweeps away.
//!
//! Whatever deletes waits for a grace period of the kernel. So a delta that only adds leaves the marker of its base
//! behind, and one that deletes anyway takes all that were left with it.

use flock_shared::marker::{has_left, leaving};
use flock_shared::{MARKER_PREFIX, PAST_PREFIX, Revision, Superseded, TABLE};

use crate::layout::marker;

/// The end of a delta on one node's table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MarkerUpdate {
    base: Revision,
    revision: Revision,
    base_marker: BaseMarker,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum BaseMarker {
    /// The base's marker stays; these are left afterwards.
    Kept(Superseded),
    /// The base's marker goes, and what is left of these.
    Swept(Superseded),
}

/// What nft is told of a marker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MarkerStatement<'a> {
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

impl MarkerUpdate {
    /// The end of a delta that deletes something or not, on a table that has gone on from `superseded` before.
    #[must_use]
    pub fn of(deletes: bool, base: &Revision, revision: &Revision, superseded: &Superseded) -> Self {
        // A state that comes back needs its marker to be as new.
        let comes_back = revision == base || superseded.iter().any(|left| left == revision);
        // A delta that deletes waits anyway, so it sweeps too; and one has to when there is no room for another.
        let base_marker = match superseded.with(base) {
            Some(left) if !deletes && !comes_back => BaseMarker::Kept(left),
            _ => BaseMarker::Swept(superseded.clone()),
        };
        Self { base: base.clone(), revision: revision.clone(), base_marker }
    }

    /// What the table has gone on from afterwards and still holds markers of.
    #[must_use]
    pub fn superseded(&self) -> Superseded {
        match &self.base_marker {
            BaseMarker::Kept(left) => left.clone(),
            BaseMarker::Swept(_) => Superseded::default(),
        }
    }

    /// What begins the first step of a delta of several, and what ends its last one. The first goes on from the base, so
    /// that the table is no state while the series is under way, and one that breaks is noticed; the last wants that to
    /// be so, since another script may have come in between.
    pub(super) fn around_steps(&self) -> (String, String) {
        // Swept and not removed: since the first step a rule uses the base's marker, and the kernel keeps it.
        let (swept, base_too) = match &self.base_marker {
            BaseMarker::Kept(_) => (None, None),
            BaseMarker::Swept(others) => (Some(others), Some(&self.base)),
        };
        let swept = swept.into_iter().flat_map(Superseded::iter).filter(|left| **left != self.base);
        let swept = swept.chain(base_too).map(MarkerStatement::Sweep);
        let last = [MarkerStatement::HasLeft(&self.base)].into_iter().chain(swept);
        (
            written([MarkerStatement::Leave(&self.base)]),
            written(last.chain([MarkerStatement::Mark(&self.revision)])),
        )
    }

    /// What nft is told at the end of a delta of one step.
    pub fn statements(&self) -> impl Iterator<Item = MarkerStatement<'_>> {
        let (swept, base) = match &self.base_marker {
            BaseMarker::Kept(_) => (None, MarkerStatement::Leave(&self.base)),
            BaseMarker::Swept(left) => (Some(left), MarkerStatement::Remove(&self.base)),
        };
        // Were the base among them, sweeping would take the marker that is about to be checked.
        let swept = swept.into_iter().flat_map(Superseded::iter).filter(|left| **left != self.base);
        swept.map(MarkerStatement::Sweep).chain([base, MarkerStatement::Mark(&self.revision)])
    }

    pub(super) fn write(&self) -> String {
        written(self.statements())
    }
}

fn written<'a>(statements: impl IntoIterator<Item = MarkerStatement<'a>>) -> String {
    let mut out = String::with_capacity(256);
    for statement in statements {
        match statement {
            MarkerStatement::Leave(revision) => out.push_str(&leaving(revision)),
            MarkerStatement::HasLeft(revision) => out.push_str(&has_left(revision)),
            MarkerStatement::Sweep(revision) => {
                // What was added cannot be missing when it is deleted; the chain goes first, for it uses the set.
                object(&mut out, "add chain", PAST_PREFIX, revision);
                object(&mut out, "delete chain", PAST_PREFIX, revision);
                out.push_str(&marker(revision));
                object(&mut out, "delete set", MARKER_PREFIX, revision);
            }
            // Where the table has gone on, a rule uses the set, and the kernel refuses to delete it.
            MarkerStatement::Remove(revision) => object(&mut out, "delete set", MARKER_PREFIX, revision),
            MarkerStatement::Mark(revision) => out.push_str(&marker(revision)),
        }
    }
    out
}

fn object(out: &mut String, words: &str, prefix: &str, revision: &Revision) {
    for part in [words, " ", TABLE, " ", prefix, revision.as_str(), "\n"] {
        out.push_str(part);
    }
}

#[cfg(test)]
mod tests {
    use flock_shared::{SUPERSEDED_LIMIT, ScriptHash};

    use super::*;

    fn revision(number: usize) -> Revision {
        Revision::of(ScriptHash::of(&number.to_be_bytes()))
    }

    /// What a compiler knows of a table.
    struct Walk {
        at: Revision,
        superseded: Superseded,
    }

    impl Walk {
        fn new() -> Self {
            Self { at: revision(0), superseded: Superseded::default() }
        }

        /// Goes on by a delta; how it ends.
        fn to(&mut self, number: usize, deletes: bool) -> String {
            let end = MarkerUpdate::of(deletes, &self.at, &revision(number), &self.superseded);
            (self.at, self.superseded) = (revision(number), end.superseded());
            end.write()
        }
    }

    #[test]
    fn what_only_adds_deletes_no_marker_until_there_are_too_many() {
        let mut walk = Walk::new();
        for number in 1..=SUPERSEDED_LIMIT {
            let end = walk.to(number, false);
            assert!(!end.contains("delete"), "{end}");
            assert_eq!(walk.superseded.len(), number);
        }
        let sweep = walk.to(99, false);
        assert_eq!(sweep.matches("delete set").count(), SUPERSEDED_LIMIT + 1, "{sweep}");
        assert!(walk.superseded.is_empty());
    }

    #[test]
    fn what_deletes_anyway_sweeps() {
        let mut walk = Walk::new();
        walk.to(1, false);
        walk.to(2, false);
        let [first, second, third] = [0, 1, 2].map(revision);
        let four = revision(4);
        let expected = format!(
            "add chain inet flock_netpol past_{first}\n\
             delete chain inet flock_netpol past_{first}\n\
             add set inet flock_netpol rev_{first} {{ typeof ip saddr; }}\n\
             delete set inet flock_netpol rev_{first}\n\
             add chain inet flock_netpol past_{second}\n\
             delete chain inet flock_netpol past_{second}\n\
             add set inet flock_netpol rev_{second} {{ typeof ip saddr; }}\n\
             delete set inet flock_netpol rev_{second}\n\
             delete set inet flock_netpol rev_{third}\n\
             add set inet flock_netpol rev_{four} {{ typeof ip saddr; }}\n"
        );
        assert_eq!(walk.to(4, true), expected);
    }

    #[test]
    fn what_only_adds_says_so() {
        let [base, next] = [0, 1].map(revision);
        let expected = format!(
            "create chain inet flock_netpol past_{base}\n\
             add rule inet flock_netpol past_{base} ip saddr @rev_{base}\n\
             add set inet flock_netpol rev_{next} {{ typeof ip saddr; }}\n"
        );
        assert_eq!(Walk::new().to(1, false), expected);
    }

    #[test]
    fn a_state_that_comes_back_sweeps_its_own_marker() {
        let mut walk = Walk::new();
        walk.to(1, false);
        walk.to(0, false);
        assert!(walk.superseded.is_empty());
        walk.to(1, false);
        walk.to(0, true);
        assert!(walk.superseded.is_empty());
    }
}
