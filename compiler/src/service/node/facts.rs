//! When the engine is told what an agent says of its node: each time may cost a pass, so there is a pause between two.

use std::time::Duration;

use tokio::time::Instant;

/// When the engine is to be told of what the fleet keeps of a node's facts.
#[derive(Debug)]
pub(super) struct FactsDue {
    /// `None`: it knows.
    due: Option<Instant>,
    /// When it was told last.
    last: Instant,
}

impl FactsDue {
    /// Begins with what the hello said, which the engine knows; `is_news`: something else has been said since.
    pub(super) fn new(is_news: bool) -> Self {
        let last = Instant::now();
        Self { due: is_news.then_some(last), last }
    }

    /// The agent has said something.
    pub(super) fn said(&mut self, pause: Duration) {
        // The first of several counts, so that one who never stops is heard, too.
        self.due.get_or_insert(self.last + pause);
    }

    pub(super) const fn due(&self) -> Option<Instant> {
        self.due
    }

    /// Returns true if the engine is to be told at once; it counts as told then.
    pub(super) fn take(&mut self) -> bool {
        let now = Instant::now();
        let is_due = self.due.is_some_and(|due| due <= now);
        if is_due {
            *self = Self { due: None, last: now };
        }
        is_due
    }
}
