//! Keeps a monitor of nf_tables open, and tells changes by others from those of this agent's own nft.
//!
//! Where no monitor can be had, the agent goes on without one, and logs that once.

use std::future::pending;
use std::time::Duration;

use flock_shared::backoff::Backoff;
use tokio::time::Instant;
use tracing::{debug, info, warn};

use crate::child::Program;
use crate::generations::Observation;
use crate::monitor::{MonitorError, NftMonitor};

const FIRST_REOPEN: Duration = Duration::from_secs(1);
const LAST_REOPEN: Duration = Duration::from_secs(600);
/// Scripts of this size and more are not listened to: for each object of a transaction that anybody listens to, the
/// kernel takes some 7 kB of memory until the commit. They are counted all the same.
const LARGE: usize = 16 << 10;
/// A socket that does not hear the own nft is in another namespace. Another try, in case that of nft was replaced.
const BLIND: u32 = 2;

/// Listens, as long as that can be had.
#[derive(Debug)]
pub struct MonitorSupervisor {
    nft: Program,
    monitor: Option<NftMonitor>,
    reopen_at: Option<Instant>,
    backoff: Backoff,
    /// How often in a row the own nft was not heard.
    blind: u32,
    has_complained: bool,
    is_paused: bool,
}

impl MonitorSupervisor {
    /// Does not listen yet.
    #[must_use]
    pub const fn new(nft: Program) -> Self {
        let backoff = Backoff::new(FIRST_REOPEN, LAST_REOPEN);
        Self {
            nft,
            monitor: None,
            reopen_at: None,
            backoff,
            blind: 0,
            has_complained: false,
            is_paused: false,
        }
    }

    /// Begins to listen. Returns true if it does.
    pub async fn open(&mut self) -> bool {
        self.reopen_at = None;
        match NftMonitor::open(&self.nft).await {
            Ok(monitor) => {
                info!("changes of the table by others are listened for");
                self.monitor = Some(monitor);
                true
            }
            Err(error) => {
                self.lose(&error);
                false
            }
        }
    }

    /// When to open it again, if it is not open.
    #[must_use]
    pub const fn reopen_at(&self) -> Option<Instant> {
        self.reopen_at
    }

    /// Until there may be something to look at; for ever, if nobody listens.
    pub async fn stirred(&self) {
        match &self.monitor {
            // What is wrong with the socket is found when it is looked at.
            Some(monitor) => drop(monitor.stirred().await),
            None => pending().await,
        }
    }

    /// The own nft is about to run a script of so many bytes; `attentive`: even a large one is listened to. What was
    /// seen since the last look.
    pub fn before(&mut self, length: usize, attentive: bool) -> Observation {
        let observation = self.look();
        if length >= LARGE
            && !attentive
            && let Some(monitor) = &mut self.monitor
        {
            match monitor.pause() {
                Ok(()) => self.is_paused = true,
                Err(error) => self.lose(&error.into()),
            }
        }
        observation
    }

    /// The own nft has ended, and took so many transactions. What was seen since the last look.
    pub fn after(&mut self, own: u32) -> Observation {
        let is_paused = std::mem::take(&mut self.is_paused);
        let Some(monitor) = &mut self.monitor else { return Observation::Undisturbed };
        let resumed = if is_paused { monitor.listen() } else { Ok(()) };
        match resumed.and_then(|()| monitor.look(own)) {
            Ok(Observation::Blind) => {
                self.blind += 1;
                self.lose(&MonitorError::Deaf);
                Observation::Undisturbed
            }
            Ok(observation) => {
                // Only with a script of its own, by which generations went on, the place turns out to be the right one.
                if own > 0 {
                    self.blind = 0;
                    self.backoff.reset();
                }
                observation
            }
            Err(error) => {
                self.lose(&error.into());
                Observation::Undisturbed
            }
        }
    }

    /// What was seen since the last look, in which the own nft did nothing.
    pub fn look(&mut self) -> Observation {
        self.after(0)
    }

    fn lose(&mut self, error: &MonitorError) {
        self.monitor = None;
        self.is_paused = false;
        self.reopen_at = (self.blind < BLIND).then(|| Instant::now() + self.backoff.pause());
        if std::mem::replace(&mut self.has_complained, true) {
            debug!(%error, "changes of the table by others are not listened for");
        } else {
            warn!(
                error = error.to_string().lines().next().unwrap_or_default(),
                "changes of the table by others are not listened for; that it is gone is still noticed"
            );
        }
    }
}
