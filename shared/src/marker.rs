//! How a table says which revision it is, and which ones it was before.
//!
//! The state that stands has a marker, an empty set. Whatever deletes in a transaction makes nft wait for a grace period
//! of the kernel, so a step that only adds leaves the marker of its base where it is, and beside it a chain that says
//! that the table has gone on. A later step that deletes anyway sweeps both away.

use std::sync::Arc;

use crate::{Revision, TABLE};

/// The prefix of the marker set's name; the revision follows. The kernel's table is the one that a revision describes
/// if its marker is there and the table has not gone on from it, see [`PAST_PREFIX`].
pub const MARKER_PREFIX: &str = "rev_";

/// The prefix of the name of a chain that says that the table has gone on from a revision, whose marker is still there.
/// Nothing jumps there.
pub const PAST_PREFIX: &str = "past_";

/// How many revisions a table may have gone on from before their markers are swept away. So many that an agent that
/// reconnects still needs less than 1 KB to say them.
pub const SUPERSEDED_LIMIT: usize = 12;

/// Statements that go on from a revision, and that nft refuses on a table where that does not stand: the chain must not
/// be there, and the rule needs the marker.
#[must_use]
pub fn leaving(revision: &Revision) -> String {
    let revision = revision.as_str();
    [
        "create chain ",
        TABLE,
        " ",
        PAST_PREFIX,
        revision,
        "\nadd rule ",
        TABLE,
        " ",
        PAST_PREFIX,
        revision,
        " ip saddr @",
        MARKER_PREFIX,
        revision,
        "\n",
    ]
    .concat()
}

/// A statement that nft refuses on a table that has not gone on from a revision by [`leaving`] it, or is another table.
#[must_use]
pub fn has_left(revision: &Revision) -> String {
    let revision = revision.as_str();
    ["add rule ", TABLE, " ", PAST_PREFIX, revision, " ip saddr @", MARKER_PREFIX, revision, "\n"].concat()
}

/// The revisions that a table has gone on from and whose markers it still holds, oldest first, each once; at most
/// [`SUPERSEDED_LIMIT`]. Compilers write it and read it; agents keep it for them. Cloning shares it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Superseded(Arc<[Revision]>);

/// Why revisions are not what a table may have gone on from.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SupersededError {
    /// More than are ever left.
    #[error("{count} superseded revisions; at most {SUPERSEDED_LIMIT} are allowed")]
    TooMany {
        /// How many there are.
        count: usize,
    },
    /// A table goes on from a revision once.
    #[error("the superseded revision {0} is there twice")]
    Repeated(Revision),
}

impl Superseded {
    /// These revisions, oldest first.
    ///
    /// # Errors
    /// When they are too many, or one of them is there twice.
    pub fn new(revisions: Vec<Revision>) -> Result<Self, SupersededError> {
        if revisions.len() > SUPERSEDED_LIMIT {
            return Err(SupersededError::TooMany { count: revisions.len() });
        }
        // They are few, so each is compared with all before it.
        let again = revisions
            .iter()
            .enumerate()
            .find(|(place, it)| revisions.iter().take(*place).any(|other| other == *it));
        match again {
            Some((_, revision)) => Err(SupersededError::Repeated(revision.clone())),
            None => Ok(Self(revisions.into())),
        }
    }

    /// With one more; `None` if there is no room for it, or it is there.
    #[must_use]
    pub fn with(&self, revision: &Revision) -> Option<Self> {
        let more = self.iter().chain([revision]).cloned().collect();
        Self::new(more).ok()
    }

    /// The revisions, oldest first.
    pub fn iter(&self) -> impl Iterator<Item = &Revision> {
        self.0.iter()
    }

    /// How many they are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Returns true if the only marker is that of the state that stands.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ScriptHash;

    fn revision(number: usize) -> Revision {
        Revision::of(ScriptHash::of(&number.to_be_bytes()))
    }

    #[test]
    fn there_are_so_many_and_each_once() {
        let most: Vec<_> = (0..SUPERSEDED_LIMIT).map(revision).collect();
        let full = Superseded::new(most.clone()).unwrap();
        assert_eq!(full.iter().cloned().collect::<Vec<_>>(), most);
        assert_eq!(full.with(&revision(99)), None);
        let more = (0..=SUPERSEDED_LIMIT).map(revision).collect();
        assert_eq!(Superseded::new(more), Err(SupersededError::TooMany { count: SUPERSEDED_LIMIT + 1 }));
        let twice = vec![revision(1), revision(2), revision(1)];
        assert_eq!(Superseded::new(twice), Err(SupersededError::Repeated(revision(1))));
    }

    #[test]
    fn it_grows_at_its_end() {
        let one = Superseded::default().with(&revision(1)).unwrap();
        let two = one.with(&revision(2)).unwrap();
        assert_eq!(two.iter().collect::<Vec<_>>(), [&revision(1), &revision(2)]);
        assert_eq!(two.with(&revision(1)), None);
    }
}
