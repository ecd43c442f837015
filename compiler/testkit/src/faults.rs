//! What goes wrong on request.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

use crate::kind::Kind;
use crate::request::Verb;

/// Answers to the next requests instead of what they ask for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// HTTP status code, such as 500, 503 or 429.
    pub code: u16,
    /// Seconds for the `Retry-After` header and `details.retryAfterSeconds`.
    pub retry_after: Option<u32>,
}

/// How bodies travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Delivery {
    /// Each event, and each page, in one chunk.
    #[default]
    Whole,
    /// In chunks of so many bytes, at odds with lines and characters, with a pause before each.
    Pieces {
        /// Bytes of each chunk but the last; at least 1.
        size: usize,
        /// Before each chunk.
        pause: Duration,
    },
    /// Not at all, until another way is set.
    Held,
}

/// How a watch from a forgotten resource version is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Expiry {
    /// A stream whose only event is an ERROR with code 410, as the watch cache answers.
    #[default]
    Event,
    /// HTTP status 410 with a `Status` body.
    Response,
}

/// How a connection ends in the middle of a chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    /// With FIN: the peer sees the end of the stream too early.
    Close,
    /// With RST: the peer's read fails.
    Reset,
}

/// The faults of one server.
#[derive(Debug, Default)]
pub struct Faults {
    inner: Mutex<FaultPlan>,
    delivery: watch::Sender<Delivery>,
}

#[derive(Debug, Default)]
struct FaultPlan {
    failures: Vec<(Kind, Verb, Failure, usize)>,
    delays: BTreeMap<(Kind, Verb), Duration>,
    expiry: Expiry,
    corrupt: BTreeMap<Kind, usize>,
}

impl Faults {
    fn inner(&self) -> MutexGuard<'_, FaultPlan> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Answers the next `times` requests of this kind and verb with `failure`.
    pub fn fail(&self, kind: Kind, verb: Verb, failure: Failure, times: usize) {
        self.inner().failures.push((kind, verb, failure, times));
    }

    /// Answers requests of this kind and verb only after so long, until it is told otherwise.
    pub fn delay(&self, kind: Kind, verb: Verb, pause: Duration) {
        self.inner().delays.insert((kind, verb), pause);
    }

    /// Ends all delays, and all failures that have not been used up.
    pub fn mend(&self) {
        let mut inner = self.inner();
        inner.failures.clear();
        inner.delays.clear();
    }

    /// Sends bodies like this from the next chunk on.
    pub fn deliver(&self, delivery: Delivery) {
        self.delivery.send_replace(delivery);
    }

    /// Refuses watches from forgotten versions like this.
    pub fn expire_with(&self, expiry: Expiry) {
        self.inner().expiry = expiry;
    }

    /// Sends the next `times` events of this kind as JSON with a hole in it; on several watches, each counts.
    pub fn corrupt(&self, kind: Kind, times: usize) {
        *self.inner().corrupt.entry(kind).or_default() += times;
    }

    pub(crate) fn take_failure(&self, kind: Kind, verb: Verb) -> Option<Failure> {
        let mut inner = self.inner();
        let matching =
            |entry: &&mut (Kind, Verb, Failure, usize)| entry.0 == kind && entry.1 == verb && entry.3 > 0;
        let (_, _, failure, left) = inner.failures.iter_mut().find(matching)?;
        *left -= 1;
        Some(failure.clone())
    }

    pub(crate) fn delay_of(&self, kind: Kind, verb: Verb) -> Duration {
        self.inner().delays.get(&(kind, verb)).copied().unwrap_or_default()
    }

    pub(crate) fn take_corruption(&self, kind: Kind) -> bool {
        let mut inner = self.inner();
        let Some(left) = inner.corrupt.get_mut(&kind).filter(|left| **left > 0) else { return false };
        *left -= 1;
        true
    }

    /// How to send the next chunk, once it may be sent.
    pub(crate) async fn delivery(&self) -> Delivery {
        let mut delivery = self.delivery.subscribe();
        let may_pass = delivery.wait_for(|delivery| *delivery != Delivery::Held).await;
        // The sender is `self`, so waiting cannot fail.
        may_pass.map(|delivery| *delivery).unwrap_or_default()
    }

    pub(crate) fn expiry(&self) -> Expiry {
        self.inner().expiry
    }
}
