//! What to do with an update: the agent's decisions, without any I/O.

use flock_proto::{Outcome, Update, UpdateKind, WireError, v1};
use flock_shared::{Revision, Script};

/// A state that was committed to the kernel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// Its name.
    pub revision: Revision,
    /// The script that reaches it from anywhere; `None` if deltas led to it.
    pub full: Option<Script>,
}

/// What is known of the kernel's table.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Kernel {
    /// Nothing.
    Unknown,
    /// It is what was committed.
    Holds(Standing),
    /// It was, and something else changed it.
    Lost(Standing),
}

/// A script that nft is to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Job {
    /// The state that it reaches.
    pub revision: Revision,
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
}

impl Job {
    /// A full script.
    #[must_use]
    pub const fn full(revision: Revision, script: Script) -> Self {
        Self { revision, script, scope: Scope::Full }
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
pub enum Step {
    /// Nothing but to answer.
    Answer(Answer),
    /// Run nft, then say how it went: [`Enforcement::committed`] or [`Enforcement::failed`].
    Run(Job),
}

/// What this agent enforces, and what it still has to.
#[derive(Debug)]
pub struct Enforcement {
    kernel: Kernel,
    /// The newest job, if nft has not taken it.
    pending: Option<Job>,
}

impl Default for Enforcement {
    fn default() -> Self {
        Self::new()
    }
}

impl Enforcement {
    /// Knows nothing of the kernel.
    #[must_use]
    pub const fn new() -> Self {
        Self { kernel: Kernel::Unknown, pending: None }
    }

    /// The state that stands in the kernel, as far as is known.
    #[must_use]
    pub const fn holds(&self) -> Option<&Standing> {
        match &self.kernel {
            Kernel::Holds(standing) => Some(standing),
            Kernel::Unknown | Kernel::Lost(_) => None,
        }
    }

    /// Decides on an update as it came from the wire. A usable update ends the attempts at an older one; one that
    /// is refused does not.
    pub fn receive(&mut self, wire: v1::Update) -> Step {
        let named = wire.revision.parse().ok();
        match Update::try_from(wire) {
            Ok(update) => self.decide(update),
            Err(error) => {
                let outcome = match error {
                    WireError::HashMismatch { .. } => Outcome::HashMismatch,
                    _ => Outcome::Malformed,
                };
                Step::Answer(Answer { revision: named, outcome, error: error.to_string() })
            }
        }
    }

    fn decide(&mut self, Update { revision, kind, .. }: Update) -> Step {
        if let Kernel::Holds(standing) = &mut self.kernel
            && standing.revision == revision
        {
            if let UpdateKind::Full(script) = kind {
                standing.full.get_or_insert(script);
            }
            self.pending = None;
            return Step::Answer(Answer::success(revision, Outcome::Unchanged));
        }
        let job = match kind {
            UpdateKind::Full(script) => Job::full(revision, script),
            UpdateKind::Delta { base, script }
                if self.holds().is_some_and(|standing| standing.revision == base) =>
            {
                Job { revision, script, scope: Scope::Delta }
            }
            UpdateKind::Delta { base, .. } => return self.base_mismatch(revision, &base),
            UpdateKind::Current => match self.repair() {
                Some(job) if job.revision == revision => job,
                _ => return self.base_mismatch(revision.clone(), &revision),
            },
        };
        self.pending = None;
        Step::Run(job)
    }

    fn base_mismatch(&self, revision: Revision, base: &Revision) -> Step {
        let applied = self.holds().map_or("nothing", |standing| standing.revision.as_str());
        let error = format!("the update applies on {base}; applied is {applied}");
        Step::Answer(Answer { revision: Some(revision), outcome: Outcome::BaseMismatch, error })
    }

    /// nft committed the job, or the kernel was found to hold it already.
    pub fn committed(&mut self, job: Job) -> Answer {
        let answer = Answer::success(job.revision.clone(), Outcome::Applied);
        let full = match job.scope {
            Scope::Full => Some(job.script),
            Scope::Delta => None,
        };
        // A repair leaves a newer job due.
        self.pending.take_if(|pending| pending.revision == job.revision);
        self.kernel = Kernel::Holds(Standing { revision: job.revision, full });
        answer
    }

    /// nft did not take the job. What stood before still stands; the job stays due.
    pub fn failed(&mut self, job: Job, outcome: Outcome, error: String) -> Answer {
        let answer = Answer { revision: Some(job.revision.clone()), outcome, error };
        if self.repair().is_none_or(|repair| repair != job) {
            self.pending = Some(job);
        }
        answer
    }

    /// The marker of the state that should stand is gone.
    pub fn marker_missing(&mut self) {
        self.kernel = match std::mem::replace(&mut self.kernel, Kernel::Unknown) {
            Kernel::Holds(standing) => Kernel::Lost(standing),
            other => other,
        };
    }

    /// The newest job, if nft has refused it so far.
    #[must_use]
    pub fn pending(&self) -> Option<Job> {
        self.pending.clone()
    }

    /// The job that brings back a state that was lost, if its full script is known.
    #[must_use]
    pub fn repair(&self) -> Option<Job> {
        match &self.kernel {
            Kernel::Lost(Standing { revision, full: Some(script) }) => {
                Some(Job::full(revision.clone(), script.clone()))
            }
            _ => None,
        }
    }

    /// Whether a state was lost that only a full script from the compiler brings back.
    #[must_use]
    pub const fn needs_full(&self) -> bool {
        matches!(self.kernel, Kernel::Lost(Standing { full: None, .. }))
    }
}

impl Answer {
    const fn success(revision: Revision, outcome: Outcome) -> Self {
        Self { revision: Some(revision), outcome, error: String::new() }
    }
}

#[cfg(test)]
#[path = "apply_tests.rs"]
mod tests;
