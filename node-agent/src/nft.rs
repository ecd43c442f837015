//! What the agent asks of nft: apply a script, tell whether a revision stands, remove the table, tell its version.

use std::time::Duration;

use flock_proto::{Outcome, VERSION_LIMIT};
use flock_shared::marker::leaving;
use flock_shared::{Revision, Script, TABLE};

use crate::child::{ChildError, Program};

/// How long questions to nft may take; they cost milliseconds.
const QUESTION_LIMIT: Duration = Duration::from_secs(5);

/// nft, as this node runs it.
#[derive(Debug, Clone)]
pub struct Nft {
    program: Program,
    limit: Duration,
}

impl Nft {
    /// `program` with a time limit for each script.
    #[must_use]
    pub const fn new(program: Program, limit: Duration) -> Self {
        Self { program, limit }
    }

    /// How it is run.
    #[must_use]
    pub const fn program(&self) -> &Program {
        &self.program
    }

    /// Runs `script` as one transaction.
    ///
    /// # Errors
    /// Exit other than 0 within the time limit. See [`may_have_committed`] for what that says about the kernel.
    pub async fn apply(&self, script: &Script) -> Result<(), ChildError> {
        self.program.run(&["-f", "-"], script.bytes(), self.limit).await.map(drop)
    }

    /// Whether the kernel's table is the one of `revision`: whether its marker is there and the table has not gone on
    /// from it. nft is asked to go on from it, and told not to commit; whatever else the table holds, that lists
    /// neither elements nor rules.
    ///
    /// # Errors
    /// When nft gives no answer.
    pub async fn stands(&self, revision: &Revision) -> Result<bool, ChildError> {
        let limit = self.limit.min(QUESTION_LIMIT);
        match self.program.run(&["-c", "-f", "-"], leaving(revision).as_bytes(), limit).await {
            Ok(_) => Ok(true),
            Err(ChildError::Failed { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Removes the table; it is no error if there is none.
    ///
    /// # Errors
    /// As [`Nft::apply`].
    pub async fn uninstall(&self) -> Result<(), ChildError> {
        // Deleting a missing table fails, so it is added first. `destroy` is unknown to nft 1.0.6.
        self.apply(&Script::new(format!("add table {TABLE}\ndelete table {TABLE}\n"))).await
    }

    /// The first line of `nft --version`.
    ///
    /// # Errors
    /// When nft gives no answer.
    pub async fn version(&self) -> Result<String, ChildError> {
        let output = self.program.run(&["--version"], b"", self.limit.min(QUESTION_LIMIT)).await?;
        let line = output.lines().next().unwrap_or_default();
        Ok(line
            .chars()
            .filter(|letter| letter.is_ascii_graphic() || *letter == ' ')
            .take(VERSION_LIMIT)
            .collect())
    }
}

/// The outcome that an error of [`Nft::apply`] is reported as.
#[must_use]
pub const fn outcome(error: &ChildError) -> Outcome {
    match error {
        ChildError::NotStarted { .. } => Outcome::NftMissing,
        ChildError::Failed { .. } => Outcome::NftFailed,
        ChildError::TimedOut { .. } => Outcome::NftTimedOut,
        ChildError::Killed { .. } | ChildError::Lost(_) => Outcome::NftKilled,
    }
}

/// Whether the kernel may have taken the script all the same: nft died, perhaps after the commit.
#[must_use]
pub const fn may_have_committed(error: &ChildError) -> bool {
    matches!(error, ChildError::TimedOut { .. } | ChildError::Killed { .. } | ChildError::Lost(_))
}
