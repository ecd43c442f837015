//! Carrying out: one loop that owns what is enforced, and the only one that runs scripts.
//!
//! It does not care whether there is a stream. Attempts that nft refused are repeated and a table that something else
//! changed is brought back, with or without the compiler.

use std::future::pending;
use std::time::Duration;

use flock_proto::Ack;
use flock_shared::Revision;
use flock_shared::backoff::Backoff;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until};
use tracing::{info, warn};

use crate::apply::{Answer, Enforcement, Job, Scope, Step};
use crate::nft::{self, Nft};
use crate::session::Received;
use crate::state::Saved;

const FIRST_RETRY: Duration = Duration::from_secs(1);
const LAST_RETRY: Duration = Duration::from_secs(30);

/// When the agent is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Until {
    /// When it is asked to stop.
    Stopped,
    /// After one update.
    FirstUpdate,
}

/// Why enforcing ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// The agent was asked to stop.
    Stopped,
    /// The one update that was waited for, and what became of it.
    FirstUpdate(Answer),
    /// Nobody is left who could bring an update.
    Forsaken,
}

/// Where the enforcer's news go.
#[derive(Debug)]
pub struct Outlets {
    /// Answers for the compiler.
    pub acks: mpsc::Sender<Ack>,
    /// The revision that stands in the kernel, for the next hello.
    pub applied: watch::Sender<Option<Revision>>,
    /// Changes when only a full script from the compiler helps.
    pub full_needed: watch::Sender<u64>,
    /// The newest full ruleset, to be kept for the next boot.
    pub saved: watch::Sender<Option<Saved>>,
}

/// Owns what is enforced on this node.
#[derive(Debug)]
pub struct Enforcer {
    enforcement: Enforcement,
    nft: Nft,
    outlets: Outlets,
    check_interval: Duration,
    backoff: Backoff,
    retry_at: Option<Instant>,
}

impl Enforcer {
    /// Knows nothing of the kernel yet. Looks after its table every `check_interval`.
    #[must_use]
    pub const fn new(nft: Nft, outlets: Outlets, check_interval: Duration) -> Self {
        let backoff = Backoff::new(FIRST_RETRY, LAST_RETRY);
        Self { enforcement: Enforcement::new(), nft, outlets, check_interval, backoff, retry_at: None }
    }

    /// Puts the ruleset of an earlier run in place, unless the kernel still holds it.
    pub async fn restore(&mut self, Saved { revision, script }: Saved) {
        let job = Job::full(revision, script);
        if matches!(self.nft.holds(&job.revision).await, Ok(true)) {
            info!(revision = %job.revision, "the saved ruleset is in the kernel already");
            self.enforcement.committed(job);
            self.publish();
        } else {
            self.attempt(job, Instant::now(), "restore").await;
        }
        self.schedule();
    }

    /// Applies updates, repeats and repairs, until asked to stop or the one update is done. A script that is being
    /// applied is waited for.
    pub async fn run(
        mut self,
        until: Until,
        mut updates: mpsc::Receiver<Received>,
        mut stop: watch::Receiver<bool>,
    ) -> End {
        let mut check_at = Instant::now() + self.check_interval;
        loop {
            let retry_at = self.retry_at;
            tokio::select! {
                // Timers before updates, so that no flood of updates starves them; each is set anew when its work is
                // done, so that a slow nft does not let them starve updates.
                biased;
                () = raised(&mut stop) => return End::Stopped,
                () = sleep_until(check_at) => {
                    self.check().await;
                    check_at = Instant::now() + self.check_interval;
                }
                () = at(retry_at) => self.retry().await,
                received = updates.recv() => match received {
                    None => return End::Forsaken,
                    Some(received) => {
                        let answer = self.receive(received).await;
                        if until == Until::FirstUpdate {
                            return End::FirstUpdate(answer);
                        }
                    }
                },
            }
            self.schedule();
        }
    }

    async fn receive(&mut self, Received { update, at }: Received) -> Answer {
        match self.enforcement.receive(update) {
            Step::Run(job) => {
                self.backoff.reset();
                self.retry_at = None;
                self.attempt(job, at, "update").await
            }
            Step::Answer(answer) => {
                self.answer(&answer, at, "update");
                answer
            }
        }
    }

    /// The newest script first; if nft still refuses it and what stood before is lost, that is brought back.
    async fn retry(&mut self) {
        self.retry_at = None;
        if let Some(job) = self.enforcement.pending()
            && self.attempt(job, Instant::now(), "retry").await.outcome.is_success()
        {
            return;
        }
        self.repair().await;
    }

    async fn repair(&mut self) {
        if let Some(job) = self.enforcement.repair() {
            self.attempt(job, Instant::now(), "repair").await;
        }
    }

    /// Asks nft for the marker of what should stand.
    async fn check(&mut self) {
        let Some(standing) = self.enforcement.holds() else {
            return;
        };
        match self.nft.holds(&standing.revision).await {
            Ok(true) => {}
            Ok(false) => {
                warn!(revision = %standing.revision, "the table is gone or was changed by something else");
                self.enforcement.marker_missing();
                self.publish();
                if self.enforcement.needs_full() {
                    self.outlets.full_needed.send_modify(|times| *times += 1);
                }
                self.repair().await;
            }
            Err(error) => warn!(error = first_line(&error), "the table could not be checked"),
        }
    }

    async fn attempt(&mut self, job: Job, since: Instant, cause: &'static str) -> Answer {
        let mut result = self.nft.apply(&job.script).await;
        if result.as_ref().is_err_and(nft::may_have_committed)
            && matches!(self.nft.holds(&job.revision).await, Ok(true))
        {
            result = Ok(());
        }
        let answer = match result {
            Ok(()) => {
                if job.scope == Scope::Full {
                    let saved = Saved { revision: job.revision.clone(), script: job.script.clone() };
                    self.outlets.saved.send_replace(Some(saved));
                }
                self.enforcement.committed(job)
            }
            Err(error) => self.enforcement.failed(job, nft::outcome(&error), error.to_string()),
        };
        self.publish();
        self.answer(&answer, since, cause);
        answer
    }

    fn publish(&self) {
        let applied = self.enforcement.holds().map(|standing| standing.revision.clone());
        self.outlets.applied.send_replace(applied);
    }

    fn answer(&self, answer: &Answer, since: Instant, cause: &'static str) {
        let Answer { revision, outcome, error } = answer.clone();
        let ack = Ack { revision, outcome, error, took: since.elapsed() };
        let revision = ack.revision.as_ref().map_or("none", Revision::as_str).to_owned();
        let milliseconds = ack.took.as_millis();
        if outcome.is_success() {
            info!(cause, revision, %outcome, milliseconds, "done");
        } else {
            warn!(cause, revision, %outcome, milliseconds, error = first_line(&ack.error), "not applied");
        }
        // The stream empties this whenever it can; an ack that finds no room is not worth waiting for.
        if self.outlets.acks.try_send(ack).is_err() {
            warn!(revision, "an ack was dropped");
        }
    }

    fn schedule(&mut self) {
        if self.enforcement.pending().is_none() && self.enforcement.repair().is_none() {
            self.backoff.reset();
            self.retry_at = None;
        } else if self.retry_at.is_none() {
            self.retry_at = Some(Instant::now() + self.backoff.pause());
        }
    }
}

/// Until the flag is up, or nobody can raise it any more.
async fn raised(flag: &mut watch::Receiver<bool>) {
    let _ = flag.wait_for(|&up| up).await;
}

async fn at(instant: Option<Instant>) {
    match instant {
        Some(instant) => sleep_until(instant).await,
        None => pending().await,
    }
}

/// For the log, whose events have one line. The lines after it are the script's own.
fn first_line(text: &impl ToString) -> String {
    text.to_string().lines().next().unwrap_or_default().to_owned()
}
