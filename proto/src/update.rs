//! What the compiler sends: the way to a state of the node's table.

use bytes::Bytes;
use flock_shared::{Revision, Script, ScriptHash, Superseded};

use crate::{DropsWanted, Forget, Position, WireError, text, v1};

/// The way to the state that `revision` names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Update {
    /// The state that is reached.
    pub revision: Revision,
    /// How.
    pub kind: UpdateKind,
    /// How far into the cluster's history the state reaches.
    pub position: Position,
    /// What the table has gone on from once the script is committed, and still holds markers of.
    pub superseded: Superseded,
    /// What is to be done about connections that were tracked under earlier states.
    pub forget: Option<Forget>,
    /// Whether the state is the closed form of what the objects ask for.
    pub closed: bool,
    /// What is to be told of drops from here on; only where nothing else is said.
    pub drops_wanted: Option<DropsWanted>,
}

impl Update {
    /// The way to a state whose position is not known, and that leaves nothing behind.
    #[must_use]
    pub fn new(revision: Revision, kind: UpdateKind) -> Self {
        Self {
            revision,
            kind,
            position: Position::default(),
            superseded: Superseded::default(),
            forget: None,
            closed: false,
            drops_wanted: None,
        }
    }

    /// The same, with the position known.
    #[must_use]
    pub fn at(mut self, position: Position) -> Self {
        self.position = position;
        self
    }

    /// The same, with markers that are left.
    #[must_use]
    pub fn leaving(mut self, superseded: Superseded) -> Self {
        self.superseded = superseded;
        self
    }

    /// The same, with what is to be told of drops.
    #[must_use]
    pub const fn wanting(mut self, drops: DropsWanted) -> Self {
        self.drops_wanted = Some(drops);
        self
    }

    /// The same, with what is to be done about connections.
    #[must_use]
    pub fn forgetting(mut self, forget: Forget) -> Self {
        self.forget = Some(forget);
        self
    }
}

/// How an update reaches its state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UpdateKind {
    /// The script reaches the state from anywhere.
    Full(Script),
    /// The script reaches the state from one other state only.
    Delta {
        /// That state.
        base: Revision,
        /// The script.
        script: Script,
    },
    /// The agent said that it has the state, and that is right.
    Current,
}

impl From<Update> for v1::Update {
    fn from(update: Update) -> Self {
        let revision = update.revision.to_string();
        let (base_revision, script) = match update.kind {
            UpdateKind::Full(script) => (String::new(), script),
            UpdateKind::Delta { base, script } => (base.to_string(), script),
            // Based on itself and without a script, as neither a full script nor a delta can be.
            UpdateKind::Current => (revision.clone(), Script::new(Bytes::new())),
        };
        let sha256 = Bytes::copy_from_slice(script.hash().as_bytes());
        let script = script.bytes().clone();
        let superseded = text::of_superseded(&update.superseded);
        let position = update.position.into_wire();
        let forget = update.forget.map(Into::into);
        let closed = update.closed;
        let drops_wanted = update.drops_wanted.map(Into::into);
        Self { revision, base_revision, script, sha256, position, superseded, forget, closed, drops_wanted }
    }
}

impl TryFrom<v1::Update> for Update {
    type Error = WireError;

    /// Nothing of the script is believed before its hash has been verified.
    fn try_from(update: v1::Update) -> Result<Self, WireError> {
        // First, since the answer to an update whose hash does not match has to name it.
        let revision = text::revision("update.revision", &update.revision)?;
        let hash = <[u8; 32]>::try_from(&*update.sha256)
            .map_err(|_| WireError::HashLength { length: update.sha256.len() })?;
        let script = match Script::verified(update.script, ScriptHash::from_bytes(hash)) {
            Ok(script) => script,
            Err(source) => return Err(WireError::HashMismatch { revision, source }),
        };
        let base = text::optional_revision("update.base_revision", &update.base_revision)?;
        let kind = match (base, script.bytes().is_empty()) {
            (None, false) => UpdateKind::Full(script),
            (Some(base), true) if base == revision => UpdateKind::Current,
            (Some(base), false) if base == revision => return Err(WireError::BasedOnItself { revision }),
            (Some(base), false) => UpdateKind::Delta { base, script },
            (_, true) => return Err(WireError::EmptyScript { revision }),
        };
        let position = Position::from_wire("update.position", &update.position)?;
        let superseded = text::superseded("update.superseded", &update.superseded)?;
        let forget = update.forget.map(Forget::try_from).transpose()?;
        // An answer is not acknowledged, so nobody would hear what became of a script with it.
        if matches!(forget, Some(Forget::Answer { .. })) && kind != UpdateKind::Current {
            return Err(WireError::AnswerWithScript { revision });
        }
        let drops_wanted = update.drops_wanted.map(Into::into);
        Ok(Self { revision, kind, position, superseded, forget, closed: update.closed, drops_wanted })
    }
}

#[cfg(test)]
mod tests {
    use flock_shared::SUPERSEDED_LIMIT;

    use super::*;
    use crate::Answer;

    fn revision(of: &str) -> Revision {
        Revision::of(ScriptHash::of(of.as_bytes()))
    }

    fn full() -> Update {
        Update::new(revision("new"), UpdateKind::Full(Script::new("add table inet t\n")))
            .at(Position::new(b"Pod=7").unwrap())
            .leaving(Superseded::new(vec![revision("older"), revision("old")]).unwrap())
            .forgetting(Forget::Lost(["10.0.0.1".parse::<std::net::IpAddr>().unwrap()].into_iter().collect()))
    }

    #[test]
    fn survives_the_wire() {
        let delta = UpdateKind::Delta { base: revision("old"), script: Script::new("delete table inet t\n") };
        for kind in [full().kind, delta, UpdateKind::Current] {
            let update = Update { kind, ..full() };
            assert_eq!(Update::try_from(v1::Update::from(update.clone())), Ok(update));
        }
    }

    #[test]
    fn a_changed_byte_is_told_apart_and_keeps_its_revision() {
        let wire = v1::Update { script: Bytes::from_static(b"add table inet u\n"), ..full().into() };
        let refused = Update::try_from(wire);
        assert!(
            matches!(refused, Err(WireError::HashMismatch { revision: of, .. }) if of == revision("new"))
        );
    }

    #[test]
    fn refusals() {
        let wire = || v1::Update::from(full());
        let no_revision = Update::try_from(v1::Update { revision: String::new(), ..wire() });
        assert!(matches!(no_revision, Err(WireError::Revision { field: "update.revision", .. })));
        let injected = Update::try_from(v1::Update { revision: "x } ; flush ruleset".into(), ..wire() });
        assert!(matches!(injected, Err(WireError::Revision { field: "update.revision", .. })));
        let base = Update::try_from(v1::Update { base_revision: "x".into(), ..wire() });
        assert!(matches!(base, Err(WireError::Revision { field: "update.base_revision", .. })));
        for length in [0, 31, 33] {
            let hash = Update::try_from(v1::Update { sha256: vec![0; length].into(), ..wire() });
            assert_eq!(hash, Err(WireError::HashLength { length }));
        }
        let itself = Update::try_from(v1::Update { base_revision: revision("new").to_string(), ..wire() });
        assert_eq!(itself, Err(WireError::BasedOnItself { revision: revision("new") }));
        let position = Update::try_from(v1::Update { position: vec![b'7'; 257].into(), ..wire() });
        let too_long = WireError::TooLong { field: "update.position", length: 257, limit: 256 };
        assert_eq!(position, Err(too_long));
        let revisions = |count: usize| (0..count).map(|number| revision(&number.to_string()).to_string());
        let superseded =
            |revisions: Vec<String>| Update::try_from(v1::Update { superseded: revisions, ..wire() });
        assert!(superseded(revisions(SUPERSEDED_LIMIT).collect()).is_ok());
        for refused in [revisions(SUPERSEDED_LIMIT + 1).collect(), revisions(2).chain(revisions(1)).collect()]
        {
            let refused = superseded(refused);
            assert!(matches!(refused, Err(WireError::Superseded { field: "update.superseded", .. })));
        }
        let injected = superseded(vec!["x } ; flush ruleset".into()]);
        assert!(matches!(injected, Err(WireError::Revision { field: "update.superseded", .. })));
        let forget = Some(Forget::Answer { number: 1, answer: Answer::Denied(vec![0]) });
        let answer = Update { forget, ..full() };
        let refused = Update::try_from(v1::Update::from(answer.clone()));
        assert_eq!(refused, Err(WireError::AnswerWithScript { revision: revision("new") }));
        assert!(Update::try_from(v1::Update::from(Update { kind: UpdateKind::Current, ..answer })).is_ok());
        let forget = Some(v1::Forget::default());
        let nothing = Update::try_from(v1::Update { forget, ..wire() });
        assert_eq!(nothing, Err(WireError::Missing { field: "forget.forget" }));
        for base in [String::new(), revision("old").to_string()] {
            let kind = UpdateKind::Full(Script::new(""));
            let wire = v1::Update::from(Update { kind, ..full() });
            let empty = Update::try_from(v1::Update { base_revision: base, ..wire });
            assert_eq!(empty, Err(WireError::EmptyScript { revision: revision("new") }));
        }
    }
}
