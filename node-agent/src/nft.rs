//! What the agent asks of nft: run a transaction, tell whether a revision or a table stands, remove what is ours, tell
//! its version.

use std::borrow::Cow;
use std::time::Duration;

use flock_nft::direction::Direction;
use flock_proto::{Outcome, VERSION_LIMIT};
use flock_shared::marker::leaving;
use flock_shared::tables;
use flock_shared::{Revision, TABLE};

use crate::child::{ChildError, Complaint, Program};
use crate::series::{removal, stand_in_judges};

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

    /// How long all that leads to one state may take.
    #[must_use]
    pub const fn limit(&self) -> Duration {
        self.limit
    }

    /// Runs statements as one transaction, which may take so long.
    ///
    /// # Errors
    /// Exit other than 0 within the time limit. See [`may_have_committed`] for what that says about the kernel.
    pub async fn apply(&self, statements: &[u8], limit: Duration) -> Result<(), ChildError> {
        self.program.run(&["-f", "-"], statements, limit).await.map(drop)
    }

    /// Runs a few statements as one transaction, in the time of a question.
    ///
    /// # Errors
    /// As [`Nft::apply`].
    pub async fn tell(&self, statements: &str) -> Result<(), ChildError> {
        self.apply(statements.as_bytes(), self.limit.min(QUESTION_LIMIT)).await
    }

    /// Returns true if the kernel's table is the one of `revision`: its marker is there and the table has not gone on
    /// from it. nft is asked to go on from it, and told not to commit; whatever else the table holds, that lists
    /// neither elements nor rules.
    ///
    /// # Errors
    /// When nft gives no answer.
    pub async fn stands(&self, revision: &Revision) -> Result<bool, ChildError> {
        self.would_take(&leaving(revision)).await
    }

    /// Returns true if a table of a full script that was interrupted stands in for the one of its name.
    ///
    /// # Errors
    /// When nft gives no answer.
    pub async fn stand_in_judges(&self) -> Result<bool, ChildError> {
        self.would_take(&stand_in_judges()).await
    }

    /// Returns true if packets are judged by a table of ours already, whichever: base chains come with the last step of a full
    /// script.
    ///
    /// # Errors
    /// When nft gives no answer.
    pub async fn judges(&self) -> Result<bool, ChildError> {
        for chain in [Direction::Egress, Direction::Ingress] {
            if self.would_take(&format!("add rule {TABLE} {chain} accept\n")).await? {
                return Ok(true);
            }
        }
        self.stand_in_judges().await
    }

    /// Returns true if there is such a table.
    ///
    /// # Errors
    /// When nft gives no answer.
    pub async fn has(&self, table: &str) -> Result<bool, ChildError> {
        // A family that the kernel does not know has no tables, and none can be made there.
        Ok(!self.would_take(&format!("create table {table}\n")).await?
            && self.would_take(&format!("delete table {table}\n")).await?)
    }

    /// Whether nft and the kernel would take these statements; nothing is committed. `Err` holds what nft said.
    ///
    /// # Errors
    /// When nft gives no answer.
    pub async fn tried(&self, statements: &str) -> Result<Result<(), Complaint>, ChildError> {
        let limit = self.limit.min(QUESTION_LIMIT);
        match self.program.run(&["-c", "-f", "-"], statements.as_bytes(), limit).await {
            Ok(_) => Ok(Ok(())),
            Err(ChildError::Failed { stderr, .. }) => Ok(Err(stderr)),
            Err(error) => Err(error),
        }
    }

    async fn would_take(&self, statements: &str) -> Result<bool, ChildError> {
        Ok(self.tried(statements).await?.is_ok())
    }

    /// Removes every table that is ours; it is no error if there is none.
    ///
    /// # Errors
    /// As [`Nft::apply`].
    pub async fn uninstall(&self) -> Result<(), ChildError> {
        // The one that is always there goes first and unasked, and with it what judges.
        self.apply(removal([Cow::Borrowed(TABLE)].into_iter()).as_bytes(), self.limit).await?;
        for table in tables::ALL.into_iter().filter(|table| *table != TABLE) {
            if self.has(table).await? {
                self.apply(removal([Cow::Borrowed(table)].into_iter()).as_bytes(), self.limit).await?;
            }
        }
        Ok(())
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
        // The same script needs as much memory the next time, so it counts as one that is refused.
        ChildError::Failed { .. } | ChildError::OutOfMemory { .. } => Outcome::NftFailed,
        ChildError::TimedOut { .. } => Outcome::NftTimedOut,
        ChildError::Killed { .. } | ChildError::Lost(_) => Outcome::NftKilled,
    }
}

/// Returns true if the kernel may have taken the script all the same: nft died, perhaps after the commit.
#[must_use]
pub const fn may_have_committed(error: &ChildError) -> bool {
    matches!(
        error,
        ChildError::TimedOut { .. }
            | ChildError::Killed { .. }
            | ChildError::OutOfMemory { .. }
            | ChildError::Lost(_)
    )
}
