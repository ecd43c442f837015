//! The agent's answer to an update.

use std::fmt;
use std::time::Duration;

use flock_shared::Revision;

use crate::{WireError, text, v1};

/// The longest error text of an [`Ack`], in bytes.
pub const ERROR_LIMIT: usize = 4096;

/// See [`Outcome::strikes`]. Agents and compilers count alike.
pub const STRIKES_LIMIT: u32 = 4;

/// What became of an update.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ack {
    /// The update's revision. `None` only with [`Outcome::Malformed`], if what should have been a revision was none.
    pub revision: Option<Revision>,
    /// What became of it.
    pub outcome: Outcome,
    /// For people: nft's standard error, or what was wrong; empty on success. Cut to [`ERROR_LIMIT`] when sent.
    pub error: String,
    /// Time from the receipt of the update (or the start of a later attempt) to its outcome.
    pub took: Duration,
    /// How often since its start the agent has found the table changed by something else.
    pub drifts: u32,
}

/// What became of an update. All but [`Applied`](Self::Applied) and [`Unchanged`](Self::Unchanged) leave the previous
/// ruleset in place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Outcome {
    /// nft committed the script.
    Applied,
    /// The revision was in place already; nft was not run.
    Unchanged,
    /// The bytes do not match their SHA-256; nothing reached nft.
    HashMismatch,
    /// The script's base is not the applied revision; nothing reached nft.
    BaseMismatch,
    /// The update itself is malformed; nothing reached nft.
    Malformed,
    /// nft refused the script (non-zero exit).
    NftFailed,
    /// nft did not finish in time and was killed by the agent.
    NftTimedOut,
    /// nft was killed by a signal that the agent did not send.
    NftKilled,
    /// nft could not be started.
    NftMissing,
}

impl Outcome {
    /// All of them, successes first.
    pub const ALL: [Self; 9] = [
        Self::Applied,
        Self::Unchanged,
        Self::HashMismatch,
        Self::BaseMismatch,
        Self::Malformed,
        Self::NftFailed,
        Self::NftTimedOut,
        Self::NftKilled,
        Self::NftMissing,
    ];

    /// Returns true if the node now has the update's revision.
    #[must_use]
    pub const fn is_success(self) -> bool {
        matches!(self, Self::Applied | Self::Unchanged)
    }

    /// What a failure of a full script counts. With [`STRIKES_LIMIT`] the script is given up: two refusals, or four
    /// times that somebody else killed nft (a kernel that is out of memory does that, and so does a person). What is
    /// not the script's fault counts nothing.
    #[must_use]
    pub const fn strikes(self) -> u32 {
        match self {
            Self::NftFailed | Self::NftTimedOut => 2,
            Self::NftKilled => 1,
            Self::Applied
            | Self::Unchanged
            | Self::HashMismatch
            | Self::BaseMismatch
            | Self::Malformed
            | Self::NftMissing => 0,
        }
    }

    /// The outcome in lower case with underscores, for tables, labels of metrics and logs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Applied => "applied",
            Self::Unchanged => "unchanged",
            Self::HashMismatch => "hash_mismatch",
            Self::BaseMismatch => "base_mismatch",
            Self::Malformed => "malformed",
            Self::NftFailed => "nft_failed",
            Self::NftTimedOut => "nft_timed_out",
            Self::NftKilled => "nft_killed",
            Self::NftMissing => "nft_missing",
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl From<Outcome> for v1::Outcome {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Applied => Self::Applied,
            Outcome::Unchanged => Self::Unchanged,
            Outcome::HashMismatch => Self::HashMismatch,
            Outcome::BaseMismatch => Self::BaseMismatch,
            Outcome::Malformed => Self::Malformed,
            Outcome::NftFailed => Self::NftFailed,
            Outcome::NftTimedOut => Self::NftTimedOut,
            Outcome::NftKilled => Self::NftKilled,
            Outcome::NftMissing => Self::NftMissing,
        }
    }
}

impl TryFrom<i32> for Outcome {
    type Error = WireError;

    /// From the number on the wire; the unspecified outcome is refused too.
    fn try_from(value: i32) -> Result<Self, WireError> {
        match v1::Outcome::try_from(value) {
            Ok(v1::Outcome::Applied) => Ok(Self::Applied),
            Ok(v1::Outcome::Unchanged) => Ok(Self::Unchanged),
            Ok(v1::Outcome::HashMismatch) => Ok(Self::HashMismatch),
            Ok(v1::Outcome::BaseMismatch) => Ok(Self::BaseMismatch),
            Ok(v1::Outcome::Malformed) => Ok(Self::Malformed),
            Ok(v1::Outcome::NftFailed) => Ok(Self::NftFailed),
            Ok(v1::Outcome::NftTimedOut) => Ok(Self::NftTimedOut),
            Ok(v1::Outcome::NftKilled) => Ok(Self::NftKilled),
            Ok(v1::Outcome::NftMissing) => Ok(Self::NftMissing),
            // One of a later version, too: nobody here can tell whether it is a success.
            Ok(v1::Outcome::Unspecified) | Err(_) => Err(WireError::Outcome { value }),
        }
    }
}

impl From<Ack> for v1::Ack {
    fn from(ack: Ack) -> Self {
        let seconds = i64::try_from(ack.took.as_secs()).unwrap_or(i64::MAX);
        let nanos = ack.took.subsec_nanos().cast_signed();
        Self {
            revision: ack.revision.map(|revision| revision.to_string()).unwrap_or_default(),
            outcome: v1::Outcome::from(ack.outcome).into(),
            error: text::truncated(ack.error, ERROR_LIMIT),
            took: Some(prost_types::Duration { seconds, nanos }),
            drifts: ack.drifts,
        }
    }
}

impl TryFrom<v1::Ack> for Ack {
    type Error = WireError;

    fn try_from(ack: v1::Ack) -> Result<Self, WireError> {
        let outcome = Outcome::try_from(ack.outcome)?;
        let revision = text::optional_revision("ack.revision", &ack.revision)?;
        if revision.is_none() && outcome != Outcome::Malformed {
            return Err(WireError::Missing { field: "ack.revision" });
        }
        let error = text::bounded("ack.error", ack.error, ERROR_LIMIT)?;
        let took = duration(&ack.took.ok_or(WireError::Missing { field: "ack.took" })?)?;
        Ok(Self { revision, outcome, error, took, drifts: ack.drifts })
    }
}

fn duration(wire: &prost_types::Duration) -> Result<Duration, WireError> {
    match (u64::try_from(wire.seconds), u32::try_from(wire.nanos)) {
        (Ok(seconds), Ok(nanos @ 0..1_000_000_000)) => Ok(Duration::new(seconds, nanos)),
        _ => Err(WireError::Duration { seconds: wire.seconds, nanos: wire.nanos }),
    }
}

#[cfg(test)]
mod tests {
    use flock_shared::ScriptHash;

    use super::*;

    const OUTCOMES: [Outcome; 9] = [
        Outcome::Applied,
        Outcome::Unchanged,
        Outcome::HashMismatch,
        Outcome::BaseMismatch,
        Outcome::Malformed,
        Outcome::NftFailed,
        Outcome::NftTimedOut,
        Outcome::NftKilled,
        Outcome::NftMissing,
    ];

    fn ack() -> Ack {
        Ack {
            revision: Some(Revision::of(ScriptHash::of(b""))),
            outcome: Outcome::NftFailed,
            error: "/dev/stdin:1:1-3: Error: syntax error\n".into(),
            took: Duration::new(1, 999_999_999),
            drifts: 3,
        }
    }

    #[test]
    fn survives_the_wire() {
        for outcome in OUTCOMES {
            let ack = Ack { outcome, ..ack() };
            assert_eq!(Ack::try_from(v1::Ack::from(ack.clone())), Ok(ack));
        }
        let nameless = Ack { revision: None, outcome: Outcome::Malformed, ..ack() };
        assert_eq!(Ack::try_from(v1::Ack::from(nameless.clone())), Ok(nameless));
    }

    #[test]
    fn two_outcomes_are_successes() {
        let successes: Vec<_> = OUTCOMES.into_iter().filter(|outcome| outcome.is_success()).collect();
        assert_eq!(successes, [Outcome::Applied, Outcome::Unchanged]);
    }

    #[test]
    fn the_error_is_cut_on_a_characters_boundary_when_sent() {
        let wire = v1::Ack::from(Ack { error: format!("x{}", "ä".repeat(4096)), ..ack() });
        assert_eq!(wire.error.len(), ERROR_LIMIT - 1);
        assert!(Ack::try_from(wire).is_ok());
    }

    #[test]
    fn refusals() {
        let wire = || v1::Ack::from(ack());
        for value in [0, 10, -1] {
            let refused = Ack::try_from(v1::Ack { outcome: value, ..wire() });
            assert_eq!(refused, Err(WireError::Outcome { value }));
        }
        let nameless = Ack::try_from(v1::Ack { revision: String::new(), ..wire() });
        assert_eq!(nameless, Err(WireError::Missing { field: "ack.revision" }));
        let misnamed = Ack::try_from(v1::Ack { revision: "x".into(), ..wire() });
        assert!(matches!(misnamed, Err(WireError::Revision { field: "ack.revision", .. })));
        let error = Ack::try_from(v1::Ack { error: "x".repeat(4097), ..wire() });
        assert_eq!(error, Err(WireError::TooLong { field: "ack.error", length: 4097, limit: 4096 }));
        let took = Ack::try_from(v1::Ack { took: None, ..wire() });
        assert_eq!(took, Err(WireError::Missing { field: "ack.took" }));
        for (seconds, nanos) in [(-1, 0), (0, -1), (0, 1_000_000_000)] {
            let took = Some(prost_types::Duration { seconds, nanos });
            let refused = Ack::try_from(v1::Ack { took, ..wire() });
            assert_eq!(refused, Err(WireError::Duration { seconds, nanos }));
        }
    }
}
