//! What to do with an update: the agent's decisions, without any I/O.

use flock_nft::SetName;
use flock_proto::{Outcome, Position, STRIKES_LIMIT, Update, UpdateKind, WireError, v1};
use flock_shared::{Revision, Script, Superseded};

use crate::guard::{self, Costs, Refused};
use crate::journal::{Journal, JournalEntry};

/// A state that was committed to the kernel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommittedState {
    /// Its name.
    pub revision: Revision,
    /// How far into the cluster's history it reaches.
    pub position: Position,
    /// What the table has gone on from and still holds markers of: the compiler's to know.
    pub superseded: Superseded,
    /// What led to it, from anywhere; `None` once that became too long.
    pub journal: Option<Journal>,
}

/// What is known of the kernel's table.
#[derive(Debug, Clone, PartialEq, Eq)]
enum KernelTable {
    /// Nothing.
    Unknown,
    /// It is what was committed.
    Holds(CommittedState),
    /// It was, and something else changed it.
    Lost(CommittedState),
}

/// A script that nft is to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Job {
    /// The state that it reaches.
    pub revision: Revision,
    /// How far into the cluster's history that state reaches.
    pub position: Position,
    /// What the table has gone on from then and still holds markers of.
    pub superseded: Superseded,
    /// What nft reads.
    pub script: Script,
    /// Where it applies.
    pub scope: Scope,
}

/// Where a script applies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// On any table.
    Full,
    /// On the state before it.
    Delta,
    /// On any table, which becomes what it was.
    Repair,
}

impl Job {
    /// A full script.
    #[must_use]
    pub fn full(JournalEntry { revision, position, superseded, script }: JournalEntry) -> Self {
        Self { revision, position, superseded, script, scope: Scope::Full }
    }
}

/// What an update comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The update's revision, if it had one.
    pub revision: Option<Revision>,
    /// What became of it.
    pub outcome: Outcome,
    /// What was wrong; empty on success.
    pub error: String,
}

/// What to do with an update.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// Nothing but to answer.
    Answer(Answer),
    /// Run nft, then say how it went: [`Decider::committed`] or [`Decider::failed`].
    Run(Job),
}

/// Decides by what is known of the kernel's table and by the newest job that nft has not taken.
#[derive(Debug)]
pub struct Decider {
    kernel: KernelTable,
    /// The newest job, if nft has not taken it.
    pending: Option<Pending>,
    /// What the tables cost that were committed last.
    costs: Costs,
}

/// A job that nft has not taken.
#[derive(Debug)]
struct Pending {
    job: Job,
    /// What its failures count, see [`Outcome::strikes`].
    strikes: u32,
}

impl Default for Decider {
    fn default() -> Self {
        Self::new()
    }
}

impl Decider {
    /// Knows nothing of the kernel.
    #[must_use]
    pub fn new() -> Self {
        Self { kernel: KernelTable::Unknown, pending: None, costs: Costs::default() }
    }

    /// Whether the script of an update may reach nft.
    fn guarded(&self, kind: &UpdateKind) -> Result<(), Refused> {
        match kind {
            UpdateKind::Full(script) | UpdateKind::Delta { script, .. } => {
                guard::check(&self.costs, script.bytes()).map(drop)
            }
            UpdateKind::Current => Ok(()),
        }
    }

    /// A script was committed.
    fn count(&mut self, script: &Script) {
        // It passed the guard when it came, so there is nothing to refuse.
        if let Ok(costs) = guard::check(&self.costs, script.bytes()) {
            self.costs = costs;
        }
    }

    /// Returns true if the tables that were committed last ask whether somebody attends to the node.
    #[must_use]
    pub fn asks_who_attends(&self) -> bool {
        self.costs.has(&SetName::Attended)
    }

    /// Returns true if what the compiler asked for last stands.
    #[must_use]
    pub const fn is_current(&self) -> bool {
        self.holds().is_some() && self.pending.is_none()
    }

    /// A state of an earlier run, which may stand or not: see [`Decider::repair`].
    pub fn remember(&mut self, journal: Journal) {
        for entry in std::iter::once(journal.full()).chain(journal.deltas()) {
            self.count(&entry.script);
        }
        let JournalEntry { revision, position, superseded, .. } = journal.last().clone();
        // Lost until it is put in place: what an earlier run left may have been edited since.
        self.kernel =
            KernelTable::Lost(CommittedState { revision, position, superseded, journal: Some(journal) });
    }

    /// The state that stands in the kernel, as far as is known.
    #[must_use]
    pub const fn holds(&self) -> Option<&CommittedState> {
        match &self.kernel {
            KernelTable::Holds(standing) => Some(standing),
            KernelTable::Unknown | KernelTable::Lost(_) => None,
        }
    }

    /// The state that was committed last, also if it was lost since.
    #[must_use]
    pub const fn newest(&self) -> Option<&CommittedState> {
        match &self.kernel {
            KernelTable::Holds(standing) | KernelTable::Lost(standing) => Some(standing),
            KernelTable::Unknown => None,
        }
    }

    /// Decides on an update as it came from the wire. A usable update ends the attempts at an older one; one that
    /// is refused does not.
    pub fn receive(&mut self, wire: v1::Update) -> Decision {
        let named = wire.revision.parse().ok();
        match Update::try_from(wire) {
            Ok(update) => match self.guarded(&update.kind) {
                Ok(()) => self.decide(update),
                Err(refused) => {
                    let (revision, error) = (Some(update.revision), refused.to_string());
                    Decision::Answer(Answer { revision, outcome: Outcome::Malformed, error })
                }
            },
            // What cannot be read has no revision to be trusted, but may name one: the ack names it too.
            Err(error) => {
                let outcome = match error {
                    WireError::HashMismatch { .. } => Outcome::HashMismatch,
                    _ => Outcome::Malformed,
                };
                Decision::Answer(Answer { revision: named, outcome, error: error.to_string() })
            }
        }
    }

    fn decide(&mut self, Update { revision, kind, position, superseded, .. }: Update) -> Decision {
        // First of all: after an ack that was lost the compiler sends again what stands. It is not run twice.
        if let KernelTable::Holds(standing) = &mut self.kernel
            && standing.revision == revision
        {
            // The same state, later in the cluster's history: replicas that lag behind that must not serve this node.
            standing.position = position.clone();
            if let UpdateKind::Full(script) = kind {
                // nft is not run, so the table keeps what it holds.
                let (revision, superseded) = (revision.clone(), standing.superseded.clone());
                standing.journal =
                    Some(Journal::new(JournalEntry { revision, position, superseded, script }));
            }
            self.pending = None;
            return Decision::Answer(Answer::success(revision, Outcome::Unchanged));
        }
        let job = match kind {
            UpdateKind::Full(script) => Job::full(JournalEntry { revision, position, superseded, script }),
            UpdateKind::Delta { base, script }
                if self.holds().is_some_and(|standing| standing.revision == base) =>
            {
                Job { revision, position, superseded, script, scope: Scope::Delta }
            }
            UpdateKind::Delta { base, .. } => return self.base_mismatch(revision, &base),
            // The compiler believes that it stands. It did, if it was lost since.
            UpdateKind::Current => match self.repair() {
                Some(job) if job.revision == revision => job,
                _ => return self.base_mismatch(revision.clone(), &revision),
            },
        };
        self.pending = None;
        Decision::Run(job)
    }

    fn base_mismatch(&self, revision: Revision, base: &Revision) -> Decision {
        let applied = self.holds().map_or("nothing", |standing| standing.revision.as_str());
        let error = format!("the update applies on {base}; applied is {applied}");
        Decision::Answer(Answer { revision: Some(revision), outcome: Outcome::BaseMismatch, error })
    }

    /// nft committed the job, or the kernel was found to hold it already.
    pub fn committed(&mut self, job: Job) -> Answer {
        let Job { revision, position, superseded, script, scope } = job;
        let answer = Answer::success(revision.clone(), Outcome::Applied);
        // What a repair brings back was counted when it stood first.
        if scope != Scope::Repair {
            self.count(&script);
        }
        // A repair leaves a newer job due.
        self.pending.take_if(|pending| pending.job.revision == revision);
        let entry = JournalEntry {
            revision: revision.clone(),
            position: position.clone(),
            superseded: superseded.clone(),
            script,
        };
        let journal = match (scope, std::mem::replace(&mut self.kernel, KernelTable::Unknown)) {
            (Scope::Full, _) => Some(Journal::new(entry)),
            // What was run is this journal, so it goes on as it is.
            (Scope::Repair, KernelTable::Lost(standing) | KernelTable::Holds(standing)) => standing.journal,
            (Scope::Delta, KernelTable::Holds(CommittedState { journal: Some(mut journal), .. })) => {
                // Too long, it is dropped, and a full script is asked for. The state stands all the same.
                journal.push(entry).is_ok().then_some(journal)
            }
            (Scope::Repair | Scope::Delta, _) => None,
        };
        self.kernel = KernelTable::Holds(CommittedState { revision, position, superseded, journal });
        answer
    }

    /// nft did not take the job. A full script stays due until it has failed as often as it may: then the compiler sends
    /// the closed form. Only where nothing stands it is due for ever. Instead of a delta the compiler sends a full script:
    /// perhaps the table is not what both believed.
    pub fn failed(&mut self, job: Job, outcome: Outcome, error: String) -> Answer {
        let answer = Answer { revision: Some(job.revision.clone()), outcome, error };
        if job.scope == Scope::Full {
            // Strikes are those of one script: another revision begins without any.
            let earlier = self.pending.take().filter(|pending| pending.job.revision == job.revision);
            let strikes = earlier.map_or(0, |pending| pending.strikes) + outcome.strikes();
            if strikes < STRIKES_LIMIT || self.newest().is_none() {
                self.pending = Some(Pending { job, strikes });
            }
        }
        answer
    }

    /// The table is not any more what was committed.
    pub fn lost(&mut self) {
        self.kernel = match std::mem::replace(&mut self.kernel, KernelTable::Unknown) {
            KernelTable::Holds(standing) => KernelTable::Lost(standing),
            other => other,
        };
    }

    /// The newest job, if nft has refused it so far.
    #[must_use]
    pub fn pending(&self) -> Option<Job> {
        self.pending.as_ref().map(|pending| pending.job.clone())
    }

    /// Returns true if a job is due that has failed as often as it may.
    #[must_use]
    pub fn is_struck_out(&self) -> bool {
        self.pending.as_ref().is_some_and(|pending| pending.strikes >= STRIKES_LIMIT)
    }

    /// Returns true if a state was lost that can be brought back.
    #[must_use]
    pub const fn is_repairable(&self) -> bool {
        matches!(self.kernel, KernelTable::Lost(CommittedState { journal: Some(_), .. }))
    }

    /// The job that brings back a state that was lost, if it is known what led to it.
    #[must_use]
    pub fn repair(&self) -> Option<Job> {
        match &self.kernel {
            KernelTable::Lost(CommittedState { revision, position, superseded, journal: Some(journal) }) => {
                Some(Job {
                    revision: revision.clone(),
                    position: position.clone(),
                    superseded: superseded.clone(),
                    script: journal.script(),
                    scope: Scope::Repair,
                })
            }
            _ => None,
        }
    }

    /// Returns true if nothing but a full script from the compiler brings back what stands or stood.
    #[must_use]
    pub const fn needs_full(&self) -> bool {
        matches!(
            self.kernel,
            KernelTable::Lost(CommittedState { journal: None, .. })
                | KernelTable::Holds(CommittedState { journal: None, .. })
        )
    }
}

impl Answer {
    const fn success(revision: Revision, outcome: Outcome) -> Self {
        Self { revision: Some(revision), outcome, error: String::new() }
    }
}

#[cfg(test)]
#[path = "decide_tests.rs"]
mod tests;
