//! One attempt after the other: running nft, what its end says, and what the kernel says of others meanwhile.

use flock_nft::attended;
use flock_proto::Outcome;
use tokio::time::Instant;
use tracing::warn;

use super::{DOUBT_INTERVAL, Enforcer, first_line};
use crate::apply::{Answer, Job, Scope};
use crate::attendance::{BELIEVED, Word};
use crate::ledger::Sight;
use crate::nft;
use crate::runner::{Left, Run};

impl Enforcer {
    /// Asks nft whether what should stand does, and brings back what was lost.
    pub(super) async fn check(&mut self) {
        self.checked_at = Some(Instant::now());
        let Some(standing) = self.enforcement.holds() else {
            return;
        };
        match self.runner.nft().stands(&standing.revision).await {
            Ok(true) => {}
            Ok(false) => {
                warn!(revision = %standing.revision, "the table is gone or was changed by something else");
                self.drift.changed();
                self.put_right().await;
            }
            Err(error) => warn!(error = first_line(&error), "the table could not be checked"),
        }
    }

    /// Takes down what others did. Before anything was committed, there is nothing that they could change.
    pub(super) fn saw(&mut self, sight: Sight) {
        if self.enforcement.newest().is_none() {
            return;
        }
        let now = Instant::now();
        if self.drift.saw(sight, now) {
            warn!(drifts = self.drift.found(), "the table was changed by something else");
            self.publish();
        }
        if sight == Sight::Unknown {
            // It may be gone, which can be told at once, and cheaply.
            let soonest = self.checked_at.map_or(now, |at| (at + DOUBT_INTERVAL).max(now));
            self.check_at = self.check_at.min(soonest);
        }
    }

    /// The table is not what was committed, or may not be: brings that back.
    pub(super) async fn put_right(&mut self) {
        self.drift.repairing(Instant::now());
        if self.enforcement.holds().is_none() {
            // It is lost already, and about to be brought back.
            return;
        }
        self.enforcement.lost();
        self.publish();
        // What nft took step by step it may refuse as a whole.
        if matches!(self.repair("repair").await, None | Some(Outcome::NftFailed)) {
            self.ask_for_full();
        }
    }

    /// Brings back what was lost, if it is known how; what became of that.
    pub(super) async fn repair(&mut self, cause: &'static str) -> Option<Outcome> {
        let job = self.enforcement.repair()?;
        Some(self.attempt(job, Instant::now(), cause).await.outcome)
    }

    pub(super) async fn attempt(&mut self, job: Job, since: Instant, cause: &'static str) -> Answer {
        let scope = job.scope;
        let (mut run, mut sight) = self.apply(&job).await;
        let is_whole = run.left == Left::Before;
        if scope == Scope::Delta && is_whole && run.result.as_ref().is_err_and(nft::may_have_committed) {
            // A full script is tried again later; for a delta the compiler would send one.
            let (again, seen) = self.apply(&job).await;
            (run, sight) = (again, sight.max(seen));
        }
        let Run { result, left, .. } = run;
        if result.is_ok() && scope != Scope::Delta {
            self.drift.replaced();
            self.attendance.replaced();
        }
        let answer = match result {
            Ok(()) => self.enforcement.committed(job),
            Err(error) => self.enforcement.failed(job, nft::outcome(&error), error.to_string()),
        };
        let is_lost = left == Left::Other && !answer.outcome.is_success();
        if is_lost && scope != Scope::Delta {
            // The new table stands in for it, and is no state that a delta could go on from.
            self.enforcement.lost();
        }
        self.saw(sight);
        self.publish();
        self.answer(&answer, since, cause);
        // Behind the answer, which is what tells the compiler what stands, and behind the last step of a series.
        match answer.revision.as_ref().filter(|_| answer.outcome.is_success()) {
            Some(revision) if scope == Scope::Repair => self.outlets.wishes.restored(revision),
            Some(revision) => self.outlets.wishes.committed(revision, scope == Scope::Full),
            None => {}
        }
        match scope {
            Scope::Delta if is_lost => Box::pin(self.put_right()).await,
            // Perhaps its base is not there any more.
            Scope::Delta if !answer.outcome.is_success() => Box::pin(self.check()).await,
            Scope::Full | Scope::Delta | Scope::Repair => {}
        }
        answer
    }

    /// Tells a table that asks whether a compiler attends to the node, by the stream that is open. What is told is no part of
    /// what the compiler asked for: it is neither kept nor acknowledged.
    pub(super) async fn attend(&mut self, open: Option<u64>) {
        let (asks, is_current) = (self.enforcement.asks_who_attends(), self.enforcement.is_current());
        let now = Instant::now();
        let word = self.attendance.word(asks, is_current, open, now);
        let text = match word {
            None if asks => return,
            // A table that does not ask knows nothing.
            None => return self.attendance.told(None, true, now),
            Some(Word::Attended) => attended::attend(BELIEVED),
            Some(Word::Left) => attended::leave(),
        };
        let earlier = self.lookout.before(text.len(), self.drift.is_in_doubt());
        self.saw(earlier);
        let taken = self.runner.nft().tell(&text).await;
        // One transaction, which is nobody's edit.
        let sight = self.lookout.after(taken.is_ok().into());
        self.saw(sight);
        if let Err(error) = &taken {
            warn!(?word, error = first_line(error), "the table could not be told who attends to the node");
        }
        self.attendance.told(word, taken.is_ok(), Instant::now());
    }

    /// Runs nft, and listens to what others do meanwhile.
    async fn apply(&mut self, job: &Job) -> (Run, Sight) {
        let earlier = self.lookout.before(job.script.bytes().len(), self.drift.is_in_doubt());
        self.saw(earlier);
        let run = match job.scope {
            Scope::Delta => self.runner.delta(&job.script, &job.revision).await,
            Scope::Full | Scope::Repair => self.runner.full(&job.script, &job.revision).await,
        };
        let sight = self.lookout.after(run.transactions);
        (run, sight)
    }
}
