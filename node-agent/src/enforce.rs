//! Carrying out: one loop that owns what is enforced, and the only one that runs scripts.
//!
//! It does not care whether there is a stream. Attempts that nft refused are repeated and a table that something else
//! changed is brought back, with or without the compiler. That there is one, it tells a table that asks.

mod attempt;

use std::future::pending;
use std::time::Duration;

use flock_proto::{Ack, Forget, Outcome, Position};
use flock_shared::backoff::Backoff;
use flock_shared::{Revision, Superseded};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until};
use tracing::{info, warn};

use crate::apply::{Answer, Enforcement, Job, Step};
use crate::attendance::Attendance;
use crate::conntrack::wanted::Wishes;
use crate::drift::Drift;
use crate::journal::Journal;
use crate::ledger::Sight;
use crate::lookout::Lookout;
use crate::nft::Nft;
use crate::runner::Runner;
use crate::session::Received;

const FIRST_RETRY: Duration = Duration::from_secs(1);
const LAST_RETRY: Duration = Duration::from_secs(30);
/// When a full script is tried again that was refused as often as it may be, on a node where nothing stands.
const STRUCK_OUT_RETRY: Duration = Duration::from_secs(600);
/// How often a full script is asked for because the journal became too long. While there is none, a table that is
/// lost has to come from the compiler, and the one on disk grows old.
const FULL_INTERVAL: Duration = Duration::from_secs(600);

/// When news were lost, nft is asked at once whether the table stands, and again after so long at the earliest.
const DOUBT_INTERVAL: Duration = Duration::from_secs(1);

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

/// What the next hello says.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Applied {
    /// The revision that stands in the kernel; `None` also if a full script is wanted.
    pub revision: Option<Revision>,
    /// The position of the newest state that was committed.
    pub position: Position,
    /// What its table has gone on from and still holds markers of.
    pub superseded: Superseded,
    /// How often the table was found changed by something else.
    pub drifts: u32,
}

/// Where the enforcer's news go.
#[derive(Debug)]
pub struct Outlets {
    /// Answers for the compiler.
    pub acks: mpsc::Sender<Ack>,
    /// For the next hello.
    pub applied: watch::Sender<Applied>,
    /// Changes when only a full script from the compiler helps.
    pub full_needed: watch::Sender<u64>,
    /// What led to the newest state, to be kept for the next boot.
    pub journal: watch::Sender<Option<Journal>>,
    /// Whose connections are to be looked at.
    pub wishes: Wishes,
}

/// Owns what is enforced on this node.
#[derive(Debug)]
pub struct Enforcer {
    enforcement: Enforcement,
    runner: Runner,
    lookout: Lookout,
    drift: Drift,
    attendance: Attendance,
    outlets: Outlets,
    check_interval: Duration,
    backoff: Backoff,
    retry_at: Option<Instant>,
    /// When nft is asked next whether the table stands.
    check_at: Instant,
    /// When it was asked last.
    checked_at: Option<Instant>,
    /// When a full script was in hand last, or asked for.
    full_at: Instant,
}

impl Enforcer {
    /// Knows nothing of the kernel yet. Looks after its table every `check_interval`.
    #[must_use]
    pub fn new(nft: Nft, outlets: Outlets, check_interval: Duration) -> Self {
        Self {
            enforcement: Enforcement::new(),
            lookout: Lookout::new(nft.program().clone()),
            runner: Runner::new(nft),
            drift: Drift::default(),
            attendance: Attendance::default(),
            outlets,
            check_interval,
            backoff: Backoff::new(FIRST_RETRY, LAST_RETRY),
            retry_at: None,
            check_at: Instant::now() + check_interval,
            checked_at: None,
            full_at: Instant::now(),
        }
    }

    /// Begins to listen for changes of the table by others.
    pub async fn listen(&mut self) {
        self.lookout.open().await;
    }

    /// Puts the state of an earlier run in place, also if the kernel seems to hold it: whether its table was edited
    /// meanwhile, only a full listing would tell, which takes as long.
    pub async fn restore(&mut self, journal: Journal) {
        let (full, has_deltas) = (journal.full().clone(), !journal.deltas().is_empty());
        self.enforcement.remember(journal);
        if self.repair("restore").await == Some(Outcome::NftFailed) && has_deltas {
            // An older state is better than none; the compiler, once there is one, knows the newest.
            self.attempt(Job::full(full), Instant::now(), "restore without deltas").await;
        }
        if let Some(standing) = self.enforcement.holds() {
            self.outlets.wishes.restored(&standing.revision);
        }
        self.publish();
        self.schedule();
    }

    /// Applies updates, repeats and repairs, until asked to stop or the one update is done. A script that is being
    /// applied is waited for.
    pub async fn run(
        mut self,
        until: Until,
        mut updates: mpsc::Receiver<Received>,
        mut stream: watch::Receiver<Option<u64>>,
        mut stop: watch::Receiver<bool>,
    ) -> End {
        self.check_at = Instant::now() + self.check_interval;
        loop {
            let (retry_at, check_at, full_due) = (self.retry_at, self.check_at, self.full_due());
            let (drift_due, reopen_at) = (self.drift.due(), self.lookout.reopen_at());
            let told_again = self.attendance.due();
            tokio::select! {
                // Timers before updates, so that no flood of updates starves them; each is set anew when its work is
                // done, so that a slow nft does not let them starve updates.
                biased;
                () = raised(&mut stop) => {
                    self.attend(None).await;
                    return End::Stopped;
                }
                // What there is to say is said below.
                () = at(told_again) => {}
                Ok(()) = stream.changed() => {}
                () = sleep_until(check_at) => {
                    self.check().await;
                    self.check_at = Instant::now() + self.check_interval;
                }
                () = at(retry_at) => self.retry().await,
                () = at(drift_due) => self.put_right().await,
                () = self.lookout.stirred() => {
                    let sight = self.lookout.look();
                    self.saw(sight);
                }
                () = at(reopen_at) => if self.lookout.open().await {
                    // Nobody has listened meanwhile.
                    self.saw(Sight::Unknown);
                },
                () = at(full_due) => self.ask_for_full(),
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
            let open = *stream.borrow_and_update();
            self.attend(open).await;
        }
    }

    /// Applies an update that came on a stream.
    async fn receive(&mut self, received: Received) -> Answer {
        let stream = received.stream;
        let answer = self.take(received).await;
        // What is refused and tried again says so by itself once it stands.
        if answer.outcome.is_success() || self.enforcement.pending().is_some() {
            self.attendance.served(stream);
        } else {
            self.attendance.unserved();
        }
        answer
    }

    async fn take(&mut self, Received { update, at, .. }: Received) -> Answer {
        let forget = update.forget.clone().and_then(|forget| Forget::try_from(forget).ok());
        self.outlets.wishes.named(forget.as_ref());
        match self.enforcement.receive(update) {
            Step::Run(job) => {
                self.backoff.reset();
                self.retry_at = None;
                self.attempt(job, at, "update").await
            }
            Step::Answer(answer) => {
                self.publish();
                self.answer(&answer, at, "update");
                if let Some(revision) = answer.revision.as_ref().filter(|_| answer.outcome.is_success()) {
                    self.outlets.wishes.committed(revision, false);
                }
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
        self.repair("repair").await;
    }

    /// Tells the others where things stand.
    fn publish(&self) {
        let revision = self.enforcement.holds().map(|standing| standing.revision.clone());
        let newest = self.enforcement.newest();
        let position = newest.map(|standing| standing.position.clone()).unwrap_or_default();
        let superseded = newest.map(|standing| standing.superseded.clone()).unwrap_or_default();
        let drifts = self.drift.found();
        self.outlets.applied.send_replace(Applied { revision, position, superseded, drifts });
        if let Some(journal) = newest.and_then(|standing| standing.journal.clone()) {
            self.outlets.journal.send_replace(Some(journal));
        }
    }

    /// When to ask for a full script, if one is wanted.
    fn full_due(&self) -> Option<Instant> {
        self.enforcement.needs_full().then(|| self.full_at + FULL_INTERVAL)
    }

    /// Lets the next hello, which is soon, say that there is nothing: the answer to that is a full script.
    fn ask_for_full(&mut self) {
        self.full_at = Instant::now();
        self.outlets.applied.send_modify(|applied| applied.revision = None);
        self.outlets.full_needed.send_modify(|times| *times += 1);
    }

    fn answer(&self, answer: &Answer, since: Instant, cause: &'static str) {
        let Answer { revision, outcome, error } = answer.clone();
        let ack = Ack { revision, outcome, error, took: since.elapsed(), drifts: self.drift.found() };
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
        if !self.enforcement.needs_full() {
            self.full_at = Instant::now();
        }
        if self.enforcement.pending().is_none() && !self.enforcement.is_repairable() {
            self.backoff.reset();
            self.retry_at = None;
        } else if self.retry_at.is_none() {
            let pause = self.backoff.pause();
            let is_struck_out = self.enforcement.is_struck_out();
            self.retry_at = Some(Instant::now() + if is_struck_out { STRUCK_OUT_RETRY } else { pause });
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
pub(super) fn first_line(text: &impl ToString) -> String {
    text.to_string().lines().next().unwrap_or_default().to_owned()
}
