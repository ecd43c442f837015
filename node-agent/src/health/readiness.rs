//! Readiness: whether the node enforces what it should, as a value of what the agent's parts have said last. Pure.
//!
//! | an update came since the start | what stands | ready |
//! |---|---|---|
//! | yes, and the last one is applied | it | yes |
//! | yes, and the last one is not | – | no |
//! | yes | nothing any more | no, until it is put back |
//! | none, and the compiler refuses this agent | – | no |
//! | none | nothing | no |
//! | none | what was saved, put back at the start | once no compiler could be reached, or it said nothing for a while |

use std::fmt;
use std::time::Duration;

use flock_proto::{NodeFacts, Outcome};
use flock_shared::Revision;
use tokio::time::Instant;

use super::notes::notes;

/// How long what was saved is not enough by itself: usually the compiler answers within that, and what it says decides.
const FIRST_ANSWER: Duration = Duration::from_secs(10);
/// A script that takes longer than this holds up readiness. The heaviest tables take a few seconds; shorter, and a node that
/// changes all the time would be unready now and then.
const SLOW: Duration = Duration::from_secs(10);

/// What the runner has said of what is enforced.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Enforcement {
    /// The revision that stands in the kernel, as far as is known.
    pub stands: Option<Revision>,
    /// What became of the last update that a compiler sent since the start; `None`: none came.
    pub update: Option<Result<(), Failure>>,
    /// Why what stood before is not put back.
    pub repair: Option<Failure>,
    /// Since when nft has been at a script.
    pub applying: Option<Instant>,
    /// Whether what stands is the closed form of what the objects ask for, which nft has refused.
    pub is_closed: bool,
}

/// Why something is not in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// Which state, if that could be read.
    pub revision: Option<Revision>,
    /// What became of it.
    pub outcome: Outcome,
    /// What was wrong, in one line.
    pub error: String,
}

/// What the calls to the compiler have come to since the start.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Contact {
    /// The first call is not over.
    #[default]
    Calling,
    /// A stream is open.
    Open,
    /// No replica could be reached, or it has gone.
    Away(String),
    /// The compiler answered, and will not serve this agent.
    Refused(String),
}

/// All that readiness is decided from.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// When the agent started.
    pub started: Instant,
    /// What the runner has said.
    pub enforcement: Enforcement,
    /// What the calls have come to.
    pub contact: Contact,
    /// What the node is like, once that is known.
    pub facts: Option<NodeFacts>,
    /// What nft refuses of what scripts may hold.
    pub refused: Vec<String>,
}

/// Whether the node is ready, and all there is to say of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Readiness {
    /// Why it is not; `None` if it is.
    pub reason: Option<String>,
    /// The revision in force.
    pub stands: Option<Revision>,
    /// How it is with the compiler.
    pub compiler: String,
    /// What may pass unjudged: information.
    pub notes: Vec<String>,
}

impl Readiness {
    /// Returns true if the node enforces what it should.
    #[must_use]
    pub const fn is_ready(&self) -> bool {
        self.reason.is_none()
    }
}

impl fmt::Display for Readiness {
    /// Lines for people; the first one says it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.reason {
            None => writeln!(f, "ready")?,
            Some(reason) => writeln!(f, "not ready: {reason}")?,
        }
        writeln!(f, "in force: {}", self.stands.as_ref().map_or("none", Revision::as_str))?;
        writeln!(f, "compiler: {}", self.compiler)?;
        self.notes.iter().try_for_each(|note| writeln!(f, "may pass unjudged: {note}"))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let revision = self.revision.as_ref().map_or("without a name", Revision::as_str);
        write!(f, "{revision} ({}): {}", self.outcome, self.error)
    }
}

impl fmt::Display for Contact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Calling => f.write_str("being called"),
            Self::Open => f.write_str("connected"),
            Self::Away(why) => write!(f, "away: {why}"),
            Self::Refused(why) => write!(f, "refuses this agent: {why}"),
        }
    }
}

impl Contact {
    /// What is known after a call that came to `next`. That the compiler refuses this agent is known until it serves it: a
    /// compiler that refuses and is gone then has answered all the same.
    #[must_use]
    pub fn then(self, next: Self) -> Self {
        match (self, next) {
            // A replica that is away takes back nothing of what another one has said.
            (Self::Refused(why), Self::Away(_) | Self::Calling) => Self::Refused(why),
            (_, next) => next,
        }
    }
}

impl Snapshot {
    /// What probes are told.
    #[must_use]
    pub fn readiness(&self, now: Instant) -> Readiness {
        Readiness {
            reason: self.reason(now),
            stands: self.enforcement.stands.clone(),
            compiler: self.contact.to_string(),
            notes: notes(self.facts.as_ref(), &self.refused),
        }
    }

    fn reason(&self, now: Instant) -> Option<String> {
        let Enforcement { stands, update, repair, applying, is_closed } = &self.enforcement;
        let busy = applying.map(|since| now.saturating_duration_since(since)).filter(|busy| *busy > SLOW);
        if let Some(busy) = busy {
            return Some(format!("nft has been at a script for {} s", busy.as_secs()));
        }
        let failed = |what: &str| match repair {
            Some(failure) => format!("{what}: {failure}"),
            None => what.to_owned(),
        };
        match update {
            Some(Err(failure)) => Some(format!("the last update was not applied: {failure}")),
            Some(Ok(())) if stands.is_none() => {
                Some(failed("the table is gone or was edited by something else, and is not put back yet"))
            }
            Some(Ok(())) if *is_closed => Some(
                "nft refused the table, and its closed form stands: isolated pods have no network".into(),
            ),
            Some(Ok(())) => None,
            None => self.unasked(now, &failed),
        }
    }

    /// Why the node is not ready while no compiler has said what it should have.
    fn unasked(&self, now: Instant, failed: &dyn Fn(&str) -> String) -> Option<String> {
        let Self { contact, enforcement: Enforcement { stands, repair, .. }, .. } = self;
        match (contact, stands) {
            (Contact::Refused(why), _) => Some(format!("the compiler refuses this agent: {why}")),
            (_, None) if repair.is_some() => Some(failed("what was saved is not put back")),
            (contact, None) => {
                Some(format!("nothing is in force, and no compiler has sent anything ({contact})"))
            }
            (Contact::Away(_), Some(_)) => None,
            (Contact::Calling | Contact::Open, Some(_)) => {
                (now.saturating_duration_since(self.started) < FIRST_ANSWER).then(|| {
                    "what was saved is in force, and the compiler is being asked for what is newer".into()
                })
            }
        }
    }
}

#[cfg(test)]
#[path = "readiness_tests.rs"]
mod tests;
