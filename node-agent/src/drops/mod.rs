//! Drops: what the kernel has taken down of what policies deny ([`flock_nft::drops`]) is read and told to the compiler.
//!
//! ```text
//! sets and counters of the table ─read every 10 s─▶ Tally ─what is new─▶ Outbox ─at most 768 flows a second─▶ stream
//! NFLOG, while somebody watches ──first packets────────────────────────────▶┘
//! ```
//!
//! It says which direction denied which flow, and interprets nothing. Nothing waits for it but a script that replaces the
//! table, for a moment: what the table has counted is read before it is gone. If nothing was dropped, the sets are not
//! even read.

mod kernel;
pub mod outbox;
pub mod tally;
pub mod words;

use std::convert::Infallible;
use std::future::pending;
use std::time::Duration;

use flock_proto::{Drops, DropsWanted};
use flock_shared::pause::until;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, timeout};
use tracing::{debug, warn};

use crate::child::Program;
use kernel::{KernelSocket, NflogSocket, ReadOutcome};
use outbox::Outbox;
use tally::Tally;

/// Between two readings, and while somebody watches.
const PAUSE: Duration = Duration::from_secs(10);
const PAUSE_WATCHED: Duration = Duration::from_secs(2);
/// A reading takes 30 ms at most, of sets that are full. However long it takes, so many times as long there is none.
const REST: u32 = 20;
/// First packets that come within this are told together.
const TOGETHER: Duration = Duration::from_millis(20);
/// How long a script that replaces the table waits for what it has counted.
const BEFORE_REPLACING: Duration = Duration::from_millis(250);

/// Asks for readings out of turn.
#[derive(Debug, Clone)]
pub struct DropsBell(mpsc::Sender<oneshot::Sender<()>>);

impl DropsBell {
    /// One that nobody hears.
    #[must_use]
    pub fn unheard() -> Self {
        Self(mpsc::channel(1).0)
    }

    /// Returns once what the table has counted is read, or that takes too long, or nobody reads.
    pub async fn before_replacing(&self) {
        let (done, read) = oneshot::channel();
        if self.0.try_send(done).is_ok() {
            let _ = timeout(BEFORE_REPLACING, read).await;
        }
    }
}

/// Reads, and tells.
#[derive(Debug)]
pub struct DropsReader {
    kernel: KernelSocket,
    shown: Option<NflogSocket>,
    tally: Tally,
    outbox: Outbox,
    bell: mpsc::Receiver<oneshot::Sender<()>>,
    wanted: watch::Receiver<DropsWanted>,
    told: mpsc::Sender<Drops>,
    read_at: Instant,
    has_complained: bool,
}

impl DropsReader {
    /// One that reads where `nft` works, does what is `wanted`, and tells it there; and what it is called with.
    #[must_use]
    pub fn new(
        nft: Program,
        wanted: watch::Receiver<DropsWanted>,
        told: mpsc::Sender<Drops>,
    ) -> (Self, DropsBell) {
        let (ring, bell) = mpsc::channel(1);
        let now = Instant::now();
        let reader = Self {
            kernel: KernelSocket::new(nft),
            shown: None,
            tally: Tally::default(),
            outbox: Outbox::new(now),
            bell,
            wanted,
            told,
            read_at: now,
            has_complained: false,
        };
        (reader, DropsBell(ring))
    }

    /// Reads again and again. Never ends.
    pub async fn run(mut self) -> Infallible {
        let told = self.told.clone();
        loop {
            let due = self.outbox.due(Instant::now());
            let telling = async {
                until(due).await;
                told.reserve().await
            };
            // The bell first, for a full script waits for it.
            tokio::select! {
                biased;
                Some(done) = self.bell.recv() => {
                    self.read().await;
                    // Who asked may not wait any more.
                    let _ = done.send(());
                }
                changed = self.wanted.changed() => match changed {
                    Ok(()) => self.heed().await,
                    Err(_) => pending().await,
                },
                () = until(Some(self.read_at)) => self.read().await,
                stirred = NflogSocket::stirred(&mut self.shown) => match stirred {
                    Ok(()) => {
                        // A burst is told as one, and costs one wake-up.
                        tokio::time::sleep(TOGETHER).await;
                        self.hear();
                    }
                    Err(error) => self.stop_showing(&error),
                },
                Ok(permit) = telling => if let Some(drops) = self.outbox.take(Instant::now()) {
                    permit.send(drops);
                },
            }
        }
    }

    /// The compiler wants something else than before.
    async fn heed(&mut self) {
        let DropsWanted { watched, reading: _ } = *self.wanted.borrow_and_update();
        if !watched {
            self.shown = None;
        } else if self.shown.is_none() {
            match self.kernel.show().await {
                Ok(shown) => self.shown = Some(shown),
                Err(error) => {
                    warn!(%error, "first packets of what is dropped are not shown; counts are told");
                }
            }
        }
        self.read().await;
    }

    fn stop_showing(&mut self, error: &std::io::Error) {
        warn!(%error, "first packets of what is dropped are not shown any more; counts are told");
        self.shown = None;
    }

    fn hear(&mut self) {
        let now = Instant::now();
        let Some(shown) = &mut self.shown else { return };
        let outbox = &mut self.outbox;
        if let Err(error) = shown.hear(|key| outbox.shown(key, now)) {
            self.stop_showing(&error);
        }
    }

    /// Reads once, and says when to read next.
    async fn read(&mut self) {
        let begun = Instant::now();
        let tally = &self.tally;
        match self.kernel.read(|table, dropped| tally.is_quiet(table, dropped)).await {
            Ok(ReadOutcome::Read(reading)) => {
                let news = self.tally.read(reading);
                self.outbox.add(news, Instant::now());
                self.has_complained = false;
            }
            Ok(ReadOutcome::Quiet) => self.has_complained = false,
            Ok(ReadOutcome::Absent) => {
                self.tally.none();
                self.has_complained = false;
            }
            Err(error) if self.has_complained => debug!(%error, "drops could not be read"),
            Err(error) => {
                self.has_complained = true;
                warn!(%error, "what was dropped could not be read; it is once it can be");
            }
        }
        let pause = if self.wanted.borrow().watched { PAUSE_WATCHED } else { PAUSE };
        self.read_at = Instant::now() + pause.max(begun.elapsed() * REST);
    }
}
