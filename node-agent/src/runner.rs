//! The loop that owns what is enforced on the node, and the only one that runs scripts: it does what [`Decider`] says.
//!
//! It works without a stream too. Attempts that nft refused are repeated and a table that something else
//! changed is brought back, with or without the compiler. That there is one, it tells a table that asks.

use std::time::Duration;

use flock_nft::attended;
use flock_proto::{Ack, Forget, Outcome, Position};
use flock_shared::backoff::Backoff;
use flock_shared::pause::until;
use flock_shared::{Revision, Superseded};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until};
use tracing::{info, warn};

use crate::attendance::{Attendance, BELIEVED, Word};
use crate::conntrack::request::SweepRequests;
use crate::decide::{Answer, Decider, Decision, Job, Scope};
use crate::drift::Drift;
use crate::drops::DropsBell;
use crate::executor::{Execution, Executor, Left};
use crate::generations::Observation;
use crate::health::{Enforcement, Failure};
use crate::journal::Journal;
use crate::nft::{self, Nft};
use crate::session::Received;
use crate::supervisor::MonitorSupervisor;

/// A full script that failed is tried again after this: time for whoever holds nft's lock, or memory, to be done.
const FIRST_RETRY: Duration = Duration::from_secs(1);
/// Pauses grow no longer than this: what was wrong with the node may be mended by hand at any moment.
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

/// Why the loop ended.
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
    /// The revision that stands in the kernel; `None` also if a full script is requested.
    pub revision: Option<Revision>,
    /// The position of the newest state that was committed.
    pub position: Position,
    /// What its table has gone on from and still holds markers of.
    pub superseded: Superseded,
    /// How often the table was found changed by something else.
    pub drifts: u32,
}

/// Why a script is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cause {
    /// The compiler has sent it.
    Update,
    /// nft refused it when the compiler had sent it.
    Retry,
    /// What it led to was lost.
    Repair,
    /// It was saved by an earlier run.
    Restore,
    /// The same, and what deltas led to is refused.
    RestoreWithoutDeltas,
}

impl Cause {
    /// For the log.
    const fn as_str(self) -> &'static str {
        match self {
            Self::Update => "update",
            Self::Retry => "retry",
            Self::Repair => "repair",
            Self::Restore => "restore",
            Self::RestoreWithoutDeltas => "restore without deltas",
        }
    }
}

/// Where the runner's news go.
#[derive(Debug)]
pub struct Outlets {
    /// Answers for the compiler.
    pub acks: mpsc::Sender<Ack>,
    /// For the next hello.
    pub applied: watch::Sender<Applied>,
    /// For probes.
    pub enforcement: watch::Sender<Enforcement>,
    /// Changes when only a full script from the compiler helps.
    pub full_needed: watch::Sender<u64>,
    /// What led to the newest state, to be kept for the next boot.
    pub journal: watch::Sender<Option<Journal>>,
    /// Whose connections are to be looked at.
    pub sweeps: SweepRequests,
    /// Reads what a table has counted.
    pub drops: DropsBell,
}

/// Owns what is enforced on this node.
#[derive(Debug)]
pub struct Runner {
    decider: Decider,
    executor: Executor,
    monitor: MonitorSupervisor,
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
    /// What probes are told, but for what stands.
    enforcement: Enforcement,
}

impl Runner {
    /// Knows nothing of the kernel yet. Looks after its table every `check_interval`.
    #[must_use]
    pub fn new(nft: Nft, outlets: Outlets, check_interval: Duration) -> Self {
        Self {
            decider: Decider::new(),
            monitor: MonitorSupervisor::new(nft.program().clone()),
            executor: Executor::new(nft),
            drift: Drift::default(),
            attendance: Attendance::default(),
            outlets,
            check_interval,
            backoff: Backoff::new(FIRST_RETRY, LAST_RETRY),
            retry_at: None,
            check_at: Instant::now() + check_interval,
            checked_at: None,
            full_at: Instant::now(),
            enforcement: Enforcement::default(),
        }
    }

    /// Begins to listen for changes of the table by others.
    pub async fn listen(&mut self) {
        self.monitor.open().await;
    }

    /// Puts the state of an earlier run in place, also if the kernel seems to hold it: whether its table was edited
    /// meanwhile, only a full listing would tell, which takes as long.
    pub async fn restore(&mut self, journal: Journal) {
        let (full, has_deltas) = (journal.full().clone(), !journal.deltas().is_empty());
        self.decider.remember(journal);
        if self.repair(Cause::Restore).await == Some(Outcome::NftFailed) && has_deltas {
            // An older state is better than none; the compiler, once there is one, knows the newest.
            self.attempt(Job::full(full), Instant::now(), Cause::RestoreWithoutDeltas).await;
        }
        if let Some(standing) = self.decider.holds() {
            self.outlets.sweeps.restored(&standing.revision);
        }
        self.publish();
        self.schedule();
    }

    /// Applies updates, repeats and repairs, until asked to stop or the one update is done. A script that is being
    /// applied is waited for.
    pub async fn run(
        mut self,
        ending: Until,
        mut updates: mpsc::Receiver<Received>,
        mut stream: watch::Receiver<Option<u64>>,
        mut stop: watch::Receiver<bool>,
    ) -> End {
        self.check_at = Instant::now() + self.check_interval;
        loop {
            let (retry_at, check_at, full_due) = (self.retry_at, self.check_at, self.full_due());
            let (drift_due, reopen_at) = (self.drift.due(), self.monitor.reopen_at());
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
                () = until(told_again) => {}
                Ok(()) = stream.changed() => {}
                () = sleep_until(check_at) => {
                    self.check().await;
                    self.check_at = Instant::now() + self.check_interval;
                }
                () = until(retry_at) => self.retry().await,
                () = until(drift_due) => self.put_right().await,
                () = self.monitor.stirred() => {
                    let observation = self.monitor.look();
                    self.saw(observation);
                }
                () = until(reopen_at) => if self.monitor.open().await {
                    // Nobody has listened meanwhile.
                    self.saw(Observation::Unknown);
                },
                () = until(full_due) => self.ask_for_full(),
                received = updates.recv() => match received {
                    None => return End::Forsaken,
                    Some(received) => {
                        let answer = self.receive(received).await;
                        if ending == Until::FirstUpdate {
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
        if answer.outcome.is_success() || self.decider.pending().is_some() {
            self.attendance.served(stream);
        } else {
            self.attendance.unserved();
        }
        answer
    }

    async fn take(&mut self, Received { update, at, .. }: Received) -> Answer {
        self.enforcement.is_closed = update.closed;
        let forget = update.forget.clone().and_then(|forget| Forget::try_from(forget).ok());
        self.outlets.sweeps.named(forget.as_ref());
        match self.decider.receive(update) {
            Decision::Run(job) => {
                // What a compiler sends is tried at once, and again after the shortest pause.
                self.backoff.reset();
                self.retry_at = None;
                self.attempt(job, at, Cause::Update).await
            }
            Decision::Answer(answer) => {
                self.note(&answer, Cause::Update);
                self.publish();
                self.answer(&answer, at, Cause::Update);
                if let Some(revision) = answer.revision.as_ref().filter(|_| answer.outcome.is_success()) {
                    self.outlets.sweeps.committed(revision, false);
                }
                answer
            }
        }
    }

    /// The newest script first; if nft still refuses it and what stood before is lost, that is brought back.
    async fn retry(&mut self) {
        self.retry_at = None;
        if let Some(job) = self.decider.pending()
            && self.attempt(job, Instant::now(), Cause::Retry).await.outcome.is_success()
        {
            return;
        }
        self.repair(Cause::Repair).await;
    }

    /// Asks nft whether what should stand does, and brings back what was lost.
    async fn check(&mut self) {
        self.checked_at = Some(Instant::now());
        let Some(standing) = self.decider.holds() else {
            return;
        };
        match self.executor.nft().stands(&standing.revision).await {
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
    fn saw(&mut self, observation: Observation) {
        if self.decider.newest().is_none() {
            return;
        }
        let now = Instant::now();
        if self.drift.saw(observation, now) {
            warn!(drifts = self.drift.found(), "the table was changed by something else");
            self.publish();
        }
        if observation == Observation::Unknown {
            // It may be gone, which can be told at once, and cheaply.
            let soonest = self.checked_at.map_or(now, |at| (at + DOUBT_INTERVAL).max(now));
            self.check_at = self.check_at.min(soonest);
        }
    }

    /// The table is not what was committed, or may not be: brings that back.
    async fn put_right(&mut self) {
        // First, whatever comes of it: what cannot be brought back here must not come due again at once.
        self.drift.repairing(Instant::now());
        if self.decider.holds().is_none() {
            // It is lost already, and about to be brought back.
            return;
        }
        self.decider.lost();
        self.publish();
        // What nft took step by step it may refuse as a whole.
        if matches!(self.repair(Cause::Repair).await, None | Some(Outcome::NftFailed)) {
            self.ask_for_full();
        }
    }

    /// Brings back what was lost, if it is known how; what became of that.
    async fn repair(&mut self, cause: Cause) -> Option<Outcome> {
        let job = self.decider.repair()?;
        Some(self.attempt(job, Instant::now(), cause).await.outcome)
    }

    async fn attempt(&mut self, job: Job, since: Instant, cause: Cause) -> Answer {
        let scope = job.scope;
        // Told before nft runs, so that probes see for how long it has been at it.
        self.enforcement.applying = Some(Instant::now());
        self.publish();
        // What the table that goes has counted goes with it. At the start there is nobody yet who would read it.
        if scope != Scope::Delta && !matches!(cause, Cause::Restore | Cause::RestoreWithoutDeltas) {
            self.outlets.drops.before_replacing().await;
        }
        let (mut run, mut observation) = self.apply(&job).await;
        let is_whole = run.left == Left::Before;
        if scope == Scope::Delta && is_whole && run.result.as_ref().is_err_and(nft::may_have_committed) {
            // A full script is tried again later; for a delta the compiler would send one.
            let (again, seen) = self.apply(&job).await;
            (run, observation) = (again, observation.max(seen));
        }
        let Execution { result, left, .. } = run;
        // A delta leaves what others edited as it is: only a whole table is free of it.
        if result.is_ok() && scope != Scope::Delta {
            self.drift.replaced();
            self.attendance.replaced();
        }
        let answer = match result {
            Ok(()) => self.decider.committed(job),
            Err(error) => self.decider.failed(job, nft::outcome(&error), error.to_string()),
        };
        let is_lost = left == Left::Other && !answer.outcome.is_success();
        if is_lost && scope != Scope::Delta {
            // The new table stands in for it, and is no state that a delta could go on from.
            self.decider.lost();
        }
        self.enforcement.applying = None;
        self.note(&answer, cause);
        // Behind the decision: before the first commit there is nothing that others could have changed.
        self.saw(observation);
        // Before the answer: a stream that begins now says in its hello what the ack of this one tells.
        self.publish();
        self.answer(&answer, since, cause);
        // Behind the answer, which is what tells the compiler what stands, and behind the last step of a series.
        match answer.revision.as_ref().filter(|_| answer.outcome.is_success()) {
            Some(revision) if scope == Scope::Repair => self.outlets.sweeps.restored(revision),
            Some(revision) => self.outlets.sweeps.committed(revision, scope == Scope::Full),
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
    async fn attend(&mut self, open: Option<u64>) {
        let (asks, is_current) = (self.decider.asks_who_attends(), self.decider.is_current());
        let now = Instant::now();
        let word = self.attendance.word(asks, is_current, open, now);
        let text = match word {
            None if asks => return,
            // A table that does not ask knows nothing.
            None => return self.attendance.told(None, true, now),
            Some(Word::Attended) => attended::attend(BELIEVED),
            Some(Word::Left) => attended::leave(),
        };
        let earlier = self.monitor.before(text.len(), self.drift.is_in_doubt());
        self.saw(earlier);
        let taken = self.executor.nft().tell(&text).await;
        // One transaction, which is nobody's edit.
        let observation = self.monitor.after(taken.is_ok().into());
        self.saw(observation);
        if let Err(error) = &taken {
            warn!(?word, error = first_line(error), "the table could not be told who attends to the node");
        }
        self.attendance.told(word, taken.is_ok(), Instant::now());
    }

    /// Runs nft, and listens to what others do meanwhile.
    async fn apply(&mut self, job: &Job) -> (Execution, Observation) {
        let earlier = self.monitor.before(job.script.bytes().len(), self.drift.is_in_doubt());
        // What was heard before nft runs cannot be its own.
        self.saw(earlier);
        let run = match job.scope {
            Scope::Delta => self.executor.delta(&job.script, &job.revision).await,
            Scope::Full | Scope::Repair => self.executor.full(&job.script, &job.revision).await,
        };
        let observation = self.monitor.after(run.transactions);
        (run, observation)
    }

    /// What became of a script, for probes.
    fn note(&mut self, answer: &Answer, cause: Cause) {
        let Answer { revision, outcome, error } = answer;
        let result = if outcome.is_success() {
            Ok(())
        } else {
            Err(Failure { revision: revision.clone(), outcome: *outcome, error: first_line(error) })
        };
        match cause {
            Cause::Update | Cause::Retry => self.enforcement.update = Some(result),
            Cause::Repair | Cause::Restore | Cause::RestoreWithoutDeltas => {
                self.enforcement.repair = result.err();
            }
        }
    }

    /// Tells the other tasks where things stand.
    fn publish(&self) {
        let revision = self.decider.holds().map(|standing| standing.revision.clone());
        self.outlets
            .enforcement
            .send_replace(Enforcement { stands: revision.clone(), ..self.enforcement.clone() });
        let newest = self.decider.newest();
        let position = newest.map(|standing| standing.position.clone()).unwrap_or_default();
        let superseded = newest.map(|standing| standing.superseded.clone()).unwrap_or_default();
        let drifts = self.drift.found();
        self.outlets.applied.send_replace(Applied { revision, position, superseded, drifts });
        // Without one the file stays as it is: older than what stands, and better at boot than nothing.
        if let Some(journal) = newest.and_then(|standing| standing.journal.clone()) {
            self.outlets.journal.send_replace(Some(journal));
        }
    }

    /// When to ask for a full script, if one is requested.
    fn full_due(&self) -> Option<Instant> {
        self.decider.needs_full().then(|| self.full_at + FULL_INTERVAL)
    }

    /// Lets the next hello, which is soon, say that there is nothing: the answer to that is a full script.
    fn ask_for_full(&mut self) {
        self.full_at = Instant::now();
        self.outlets.applied.send_modify(|applied| applied.revision = None);
        self.outlets.full_needed.send_modify(|times| *times += 1);
    }

    fn answer(&self, answer: &Answer, since: Instant, cause: Cause) {
        let Answer { revision, outcome, error } = answer.clone();
        let ack = Ack { revision, outcome, error, took: since.elapsed(), drifts: self.drift.found() };
        let revision = ack.revision.as_ref().map_or("none", Revision::as_str).to_owned();
        let milliseconds = ack.took.as_millis();
        if outcome.is_success() {
            info!(cause = cause.as_str(), revision, %outcome, milliseconds, "done");
        } else {
            warn!(cause = cause.as_str(), revision, %outcome, milliseconds, error = first_line(&ack.error), "not applied");
        }
        // The stream empties this whenever it can; an ack that finds no room is not worth waiting for.
        if self.outlets.acks.try_send(ack).is_err() {
            warn!(revision, "an ack was dropped");
        }
    }

    fn schedule(&mut self) {
        if !self.decider.needs_full() {
            self.full_at = Instant::now();
        }
        if self.decider.pending().is_none() && !self.decider.is_repairable() {
            self.backoff.reset();
            self.retry_at = None;
        } else if self.retry_at.is_none() {
            let pause = self.backoff.pause();
            let is_struck_out = self.decider.is_struck_out();
            self.retry_at = Some(Instant::now() + if is_struck_out { STRUCK_OUT_RETRY } else { pause });
        }
    }
}

/// Until the flag is up, or nobody can raise it any more.
async fn raised(flag: &mut watch::Receiver<bool>) {
    let _ = flag.wait_for(|&up| up).await;
}

/// For the log, whose events have one line. The lines after it are the script's own.
fn first_line(text: &impl ToString) -> String {
    text.to_string().lines().next().unwrap_or_default().to_owned()
}
