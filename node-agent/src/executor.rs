//! Runs scripts step by step, and cleans up behind a series that breaks. The order of steps is [`Series`]' to say.
//!
//! What a break leaves: of a full script's first pass, what stood (the half-filled stand-in is removed); of its second
//! pass, the stand-in, which is the new table whole and judges on until a later full script ends it. A delta that breaks
//! has filled sets that nothing refers to and has left its base's marker behind, so its table is put in place anew.

use std::future::Future;
use std::time::Duration;

use flock_shared::tables::STAND_IN_TABLE;
use flock_shared::{Revision, Script};
use tokio::time::Instant;
use tracing::warn;

use crate::child::ChildError;
use crate::nft::{Nft, may_have_committed};
use crate::series::Series;

/// A step begins even if those before it took all the time.
const LEAST: Duration = Duration::from_millis(100);

/// What became of a script.
#[derive(Debug)]
pub struct Execution {
    /// Whether the state that it leads to stands.
    pub result: Result<(), ChildError>,
    /// Transactions that nft took, cleaning up included.
    pub transactions: u32,
    /// What a failure left.
    pub left: Left,
}

/// What stands after a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Left {
    /// What stood before.
    Before,
    /// Not that, under its name.
    Other,
}

/// What judges before a full script.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    Nothing,
    Table,
    StandIn,
}

/// Whether a table may be left that stood in for another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum StandIn {
    Unknown,
    Absent,
    Left,
}

/// Runs scripts, one at a time.
#[derive(Debug)]
pub struct Executor {
    nft: Nft,
    stand_in: StandIn,
}

/// How far a series has come.
#[derive(Default)]
struct Progress {
    transactions: u32,
}

impl Executor {
    /// Knows nothing of what an earlier agent left.
    #[must_use]
    pub const fn new(nft: Nft) -> Self {
        Self { nft, stand_in: StandIn::Unknown }
    }

    /// The nft that it runs.
    #[must_use]
    pub const fn nft(&self) -> &Nft {
        &self.nft
    }

    /// Runs a script that leads to `revision` from one state.
    pub async fn delta(&self, script: &Script, revision: &Revision) -> Execution {
        let mut progress = Progress::default();
        let failure = progress.take(self, Series::of(script).steps(), self.nft.stands(revision)).await.err();
        // Its first step leaves the base.
        let left = if progress.transactions == 0 { Left::Before } else { Left::Other };
        let result = failure.map_or(Ok(()), |Broken { error, .. }| Err(error));
        Execution { result, left, transactions: progress.transactions }
    }

    /// Runs a script that leads to `revision` from anywhere.
    pub async fn full(&mut self, script: &Script, revision: &Revision) -> Execution {
        let series = Series::of(script);
        let mut progress = Progress::default();
        let (result, left) = if series.is_stepped() {
            self.passes(&mut progress, &series, revision).await
        } else {
            let taken = progress.take(self, series.steps(), self.nft.stands(revision)).await;
            (taken.map_err(|broken| broken.error), Left::Before)
        };
        if result.is_ok() && (self.stand_in == StandIn::Left || self.may_have_stand_in().await) {
            // The table judges now. Both agree, or the stand-in is older.
            progress.clean(self, &series.without_stand_ins()).await;
        }
        if result.is_ok() {
            self.stand_in = StandIn::Absent;
        }
        Execution { result, left, transactions: progress.transactions }
    }

    /// The passes of a full script of several steps.
    async fn passes(
        &mut self,
        progress: &mut Progress,
        series: &Series,
        revision: &Revision,
    ) -> (Result<(), ChildError>, Left) {
        let standing = match self.standing(series).await {
            Ok(standing) => standing,
            Err(error) => return (Err(error), Left::Before),
        };
        // While the steps of the second pass fill the table, something has to judge: the stand-in that the first pass makes.
        // Where nothing judges yet, or a stand-in was left, the second pass is enough.
        if standing == Standing::Table {
            let taken = progress.take(self, series.first_pass(), self.nft.stand_in_judges()).await;
            if let Err(Broken { error, is_certain }) = taken {
                if is_certain {
                    progress.clean(self, &series.without_stand_ins()).await;
                } else {
                    // It may judge by now, in place of the table.
                    self.stand_in = StandIn::Left;
                }
                return (Err(error), Left::Before);
            }
        }
        let taken = progress.take(self, series.second_pass(), self.nft.stands(revision)).await;
        let Err(Broken { error, is_certain }) = taken else {
            self.stand_in = StandIn::Absent;
            return (Ok(()), Left::Before);
        };
        // The stand-in judges on, unless the last step was committed after all.
        if standing != Standing::Nothing {
            self.stand_in = StandIn::Left;
        }
        // What may have been committed is not removed: it may be what judges.
        if is_certain {
            progress.clean(self, &series.without_tables()).await;
        }
        (Err(error), Left::Other)
    }

    async fn standing(&self, series: &Series) -> Result<Standing, ChildError> {
        // In this order: where a stand-in judges, what there is of the table does not.
        if self.stand_in != StandIn::Absent
            && self.nft.has(STAND_IN_TABLE).await?
            && self.nft.stand_in_judges().await?
        {
            return Ok(Standing::StandIn);
        }
        for table in series.tables() {
            if self.nft.has(table).await? {
                return Ok(Standing::Table);
            }
        }
        Ok(Standing::Nothing)
    }

    async fn may_have_stand_in(&self) -> bool {
        // Without an answer it is asked again after the next full script.
        self.stand_in == StandIn::Unknown && self.nft.has(STAND_IN_TABLE).await.unwrap_or(false)
    }
}

/// Why a pass is not at its end.
struct Broken {
    error: ChildError,
    /// Whether its last step is known not to have been committed.
    is_certain: bool,
}

impl Progress {
    /// Has nft take the steps of a pass, within its time for one script. If nft could not say how the last one went, the
    /// kernel is asked, and believed: `is_there`.
    async fn take(
        &mut self,
        executor: &Executor,
        steps: Vec<bytes::Bytes>,
        is_there: impl Future<Output = Result<bool, ChildError>>,
    ) -> Result<(), Broken> {
        let deadline = Instant::now() + executor.nft.limit();
        let count = steps.len();
        for (place, step) in steps.into_iter().enumerate() {
            let limit = deadline.saturating_duration_since(Instant::now()).max(LEAST);
            let Err(error) = executor.nft.apply(&step, limit).await else {
                self.transactions += 1;
                continue;
            };
            let error = error.within(executor.nft.limit());
            // Only what the last step changes can be asked of the kernel. What an earlier one may have committed is cleaned up
            // with what those before it have.
            if place + 1 < count || !may_have_committed(&error) {
                return Err(Broken { error, is_certain: true });
            }
            return match is_there.await {
                Ok(true) => {
                    self.transactions += 1;
                    Ok(())
                }
                Ok(false) => Err(Broken { error, is_certain: true }),
                Err(_) => Err(Broken { error, is_certain: false }),
            };
        }
        Ok(())
    }

    /// Runs statements that clean up. What they leave, the next full script removes.
    async fn clean(&mut self, executor: &Executor, statements: &str) {
        match executor.nft.apply(statements.as_bytes(), executor.nft.limit()).await {
            Ok(()) => self.transactions += 1,
            Err(error) => {
                warn!(error = error.to_string().lines().next(), "what a script left was not removed");
            }
        }
    }
}
