//! Which revision a table is of, and which it has gone on from: its markers, as nft and the kernel would have them.

use std::collections::BTreeSet;

use flock_compiler_core::MarkerUpdate;
use flock_compiler_core::delta::MarkerStatement;
use flock_shared::Revision;

use crate::ApplyError;

/// The markers of a table.
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

    /// Commits how a delta ends.
    ///
    /// # Errors
    /// When nft or the kernel would refuse it; the markers are then in no defined state.
    pub fn apply(&mut self, update: &MarkerUpdate) -> Result<(), ApplyError> {
        for statement in update.statements() {
            match statement {
                MarkerStatement::Leave(revision) | MarkerStatement::Remove(revision)
                    if !self.stands(revision) =>
                {
                    return Err(ApplyError::Base(revision.clone()));
                }
                // Only between steps.
                MarkerStatement::HasLeft(_) => {}
                MarkerStatement::Leave(revision) => _ = self.past.insert(revision.clone()),
                MarkerStatement::Remove(revision) => _ = self.sets.remove(revision),
                MarkerStatement::Sweep(revision) => {
                    self.past.remove(revision);
                    self.sets.remove(revision);
                }
                MarkerStatement::Mark(revision) => _ = self.sets.insert(revision.clone()),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use flock_shared::{SUPERSEDED_LIMIT, ScriptHash, Superseded};

    use super::*;

    fn revision(number: usize) -> Revision {
        Revision::of(ScriptHash::of(&number.to_be_bytes()))
    }

    /// A table, and what its compiler knows of it.
    struct Walk {
        at: Revision,
        superseded: Superseded,
        markers: Markers,
    }

    impl Walk {
        fn new() -> Self {
            let at = revision(0);
            Self { markers: Markers::full(&at), superseded: Superseded::default(), at }
        }

        /// Goes on by a delta: then one revision stands, and what is left is known.
        fn to(&mut self, number: usize, deletes: bool) {
            let end = MarkerUpdate::of(deletes, &self.at, &revision(number), &self.superseded);
            self.markers.apply(&end).unwrap();
            (self.at, self.superseded) = (revision(number), end.superseded());
            let mut known: Vec<_> = self.superseded.iter().collect();
            known.sort();
            assert_eq!(self.markers.sorted(), (vec![&self.at], known));
        }
    }

    #[test]
    fn what_is_left_is_known_along_a_walk() {
        let mut walk = Walk::new();
        // Until there are too many, on to something else, and back to what is left.
        (1..=SUPERSEDED_LIMIT + 2).for_each(|number| walk.to(number, false));
        for (number, deletes) in [(1, true), (2, false), (3, false), (2, false), (3, false), (3, true)] {
            walk.to(number, deletes);
        }
    }

    #[test]
    fn a_base_that_does_not_stand_is_refused_however_it_ends() {
        for deletes in [false, true] {
            let mut walk = Walk::new();
            let late = MarkerUpdate::of(deletes, &revision(0), &revision(5), &Superseded::default());
            walk.to(1, false);
            assert_eq!(
                walk.markers.apply(&late),
                Err(ApplyError::Base(revision(0))),
                "the table has gone on"
            );
            walk.to(2, true);
            assert_eq!(walk.markers.apply(&late), Err(ApplyError::Base(revision(0))), "it is not there");
        }
    }

    #[test]
    fn what_is_believed_wrongly_refuses_or_does_no_harm() {
        let believed = Superseded::new([7, 0, 8].map(revision).into()).unwrap();
        for deletes in [false, true] {
            let end = MarkerUpdate::of(deletes, &revision(0), &revision(1), &believed);
            let mut markers = Markers::full(&revision(0));
            markers.apply(&end).unwrap();
            assert_eq!(markers, Markers::full(&revision(1)));
        }
    }
}
