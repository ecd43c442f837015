//! Who changed our table: the kernel's generations of rules, set against what this agent's own nft has done.
//!
//! Whose process made a generation cannot be told (its number belongs to another namespace of processes), so they are
//! counted: a transaction of ours that nft took is one generation that touches our tables, and a script is as many as
//! it has steps. One more is somebody else's.
//! Generations are numbered without gaps, so what was not heard is known to be missing. Pure.

use flock_shared::tables;

use crate::event::{JudgingTable, NetlinkEvent, events};

/// Numbers that are ahead by more are behind: they go round.
const HALF: u32 = u32::MAX / 2;

/// What was heard since it was asked last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Observation {
    /// Nothing but this agent's own nft touched the table.
    Undisturbed,
    /// The own nft was not heard: these are the generations of another network namespace.
    Blind,
    /// Something else may have touched the table: there were transactions of which nothing was heard.
    Unknown,
    /// Something else touched the table.
    Edited,
    /// Something else took a table away.
    Gone,
}

/// Generations, as far as they were told.
#[derive(Debug, Clone)]
pub struct Generations {
    /// The agent's own port, by which answers to its questions are told from news.
    port: u32,
    /// The newest generation that is accounted for.
    known: Option<u32>,
    /// Whether the transaction that is being told has touched our table so far.
    is_touched: bool,
    /// Whether messages were lost since the newest generation that was heard.
    is_torn: bool,
    /// Which tables that judge went away and did not come back, since the last [`Generations::settle`].
    gone: [bool; tables::JUDGING.len()],
    /// Generations that touched our table, since then.
    touched: u32,
    /// Generations of which that is not known, since then.
    unheard: u32,
}

impl Generations {
    /// Knows nothing: the present generation has to be asked for.
    #[must_use]
    pub const fn new(port: u32) -> Self {
        Self { port, known: None, is_touched: false, is_torn: true, gone: [false; _], touched: 0, unheard: 0 }
    }

    /// Takes a datagram down.
    pub fn hear(&mut self, datagram: &[u8]) {
        for event in events(datagram) {
            match event {
                NetlinkEvent::Ours => self.is_touched = true,
                NetlinkEvent::Made(table) => self.table(table, false),
                NetlinkEvent::Gone(table) => self.table(table, true),
                NetlinkEvent::Generation { number, port } if port == self.port => self.answered(number),
                NetlinkEvent::Generation { number, .. } => self.ended(number),
                NetlinkEvent::Others => {}
                NetlinkEvent::Garbled => self.is_torn = true,
            }
        }
    }

    /// Messages were lost.
    pub const fn missed(&mut self) {
        self.is_torn = true;
    }

    /// Returns true if the present generation has to be asked for, to know how many were missed.
    #[must_use]
    pub const fn is_torn(&self) -> bool {
        self.is_torn
    }

    /// Returns true if the present generation is known, now or earlier.
    #[must_use]
    pub const fn has_begun(&self) -> bool {
        self.known.is_some()
    }

    /// What was heard since the last time, in which nft took `own` transactions of this agent. All that is waiting must
    /// have been heard before.
    pub fn settle(&mut self, own: u32) -> Observation {
        let (touched, unheard) = (std::mem::take(&mut self.touched), std::mem::take(&mut self.unheard));
        let is_gone = std::mem::take(&mut self.gone).contains(&true);
        if touched > own {
            if is_gone { Observation::Gone } else { Observation::Edited }
        } else if touched.saturating_add(unheard) > own || self.is_torn {
            // There were more transactions than the own ones, or it is not known how many: they may be about any table.
            Observation::Unknown
        } else if touched.saturating_add(unheard) < own {
            Observation::Blind
        } else {
            Observation::Undisturbed
        }
    }

    fn table(&mut self, JudgingTable(place): JudgingTable, is_gone: bool) {
        self.is_touched = true;
        self.gone[place] = is_gone;
    }

    /// A transaction is told to its end.
    fn ended(&mut self, number: u32) {
        let is_touched = std::mem::take(&mut self.is_touched);
        if is_touched {
            self.touched = self.touched.saturating_add(1);
        }
        // An answer may come before the last words on what it counts.
        let Some(ahead) = self.advance(number) else { return };
        let is_torn = std::mem::take(&mut self.is_torn);
        // Where messages were lost, silence on the table does not mean that this transaction left it alone.
        let unheard = ahead - 1 + u32::from(is_torn && !is_touched);
        self.unheard = self.unheard.saturating_add(unheard);
    }

    /// The kernel says where it is. What it has told until then was heard, or is lost.
    fn answered(&mut self, number: u32) {
        self.is_torn = false;
        if self.known.is_none() {
            self.known = Some(number);
        } else if let Some(ahead) = self.advance(number) {
            self.unheard = self.unheard.saturating_add(ahead);
        }
    }

    /// By how many generations this one is ahead of what is known, if it is.
    fn advance(&mut self, number: u32) -> Option<u32> {
        let ahead = number.wrapping_sub(self.known?);
        let is_ahead = (1..=HALF).contains(&ahead);
        if is_ahead {
            self.known = Some(number);
        }
        is_ahead.then_some(ahead)
    }
}

#[cfg(test)]
#[path = "generations_tests.rs"]
mod tests;
