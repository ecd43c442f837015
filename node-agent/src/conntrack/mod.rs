//! Connections that a state has revoked: the kernel is asked for those of the addresses that may have lost something,
//! the compiler says which of them are not allowed any more, and exactly those are removed.
//!
//! ```text
//! update ─▶ committed ─▶ look ──entries──▶ question ─▶ compiler ─▶ answer ─▶ remove
//!                          └─ twice more: for what was on its way, and for what the node of the other end forgets first
//! ```
//!
//! What an entry goes on to let pass are replies, and packets of its first direction keep it alive though the table drops
//! them. Without an entry, what comes next begins a connection of its own and is judged as that.
//!
//! It decides nothing, and nothing waits for it. One question is under way at a time, with a bounded number of entries;
//! the kernel's answer stays where it is meanwhile.

mod again;
pub mod message;
pub mod request;
pub mod table;

use std::convert::Infallible;
use std::time::Duration;

use flock_proto::{Answer, FLOWS_LIMIT, Flows};
use flock_shared::Revision;
use flock_shared::backoff::Backoff;
use flock_shared::pause::until;
use flock_shared::prefixes::Prefixes;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tracing::{debug, info, warn};

use crate::child::Program;
use again::LooksAgain;
use request::SweepRequest;
use table::{Look, TableError};

/// From the end of a look to the next, at least.
const MOMENT: Duration = Duration::from_millis(300);
/// A look at a hundred thousand entries takes 0.1 to 0.2 s. However often policies change, so many times as long as the last look
/// took, there is none.
const REST: u32 = 4;
/// So many entries are asked about at once, and those of the rest of a piece of the kernel's answer, which is less than
/// 256.
const ENOUGH: usize = FLOWS_LIMIT - 256;
/// How long the compiler may take to answer.
const ANSWER_LIMIT: Duration = Duration::from_secs(2);
const FIRST_RETRY: Duration = Duration::from_millis(500);
const LAST_RETRY: Duration = Duration::from_secs(30);

/// An answer with the number of its question.
pub type Answered = (u64, Answer);

/// Questions to the compiler, and its answers.
#[derive(Debug)]
pub struct CompilerLink {
    /// Whether the stream that is open, if one is, is to a compiler that answers.
    pub is_open: watch::Receiver<bool>,
    /// Takes questions.
    pub questions: mpsc::Sender<Flows>,
    /// Gives answers.
    pub answers: mpsc::Receiver<Answered>,
}

/// Why a look has come to nothing. It is repeated.
#[derive(Debug, thiserror::Error)]
enum LookError {
    #[error(transparent)]
    Table(#[from] TableError),
    #[error("the compiler has not answered")]
    Unanswered,
}

/// Looks at connections.
#[derive(Debug)]
pub struct ConntrackSweeper {
    nft: Program,
    requested: watch::Sender<SweepRequest>,
    link: CompilerLink,
    number: u64,
}

impl ConntrackSweeper {
    /// One that looks where `nft` works.
    #[must_use]
    pub const fn new(nft: Program, requested: watch::Sender<SweepRequest>, link: CompilerLink) -> Self {
        Self { nft, requested, link, number: 0 }
    }

    /// Looks whenever there is something to look at. Never ends.
    pub async fn run(mut self) -> Infallible {
        let mut news = self.requested.subscribe();
        let mut backoff = Backoff::new(FIRST_RETRY, LAST_RETRY);
        let mut has_complained = false;
        let mut again = LooksAgain::new(Instant::now());
        let mut not_before = Instant::now();
        loop {
            tokio::select! {
                // Both its ends are here.
                _ = news.wait_for(|requested| requested.is_unsettled || !requested.lost.is_empty()) => {}
                () = until(again.next()) => {}
            }
            // What is requested meanwhile goes with this look.
            sleep_until(not_before).await;
            let _ = self.link.is_open.wait_for(|is_open| *is_open).await;
            let SweepRequest { revision: Some(revision), lost, is_unsettled } = self.take() else {
                sleep(LAST_RETRY).await;
                continue;
            };
            let begun = Instant::now();
            let mut all = again.take(begun);
            all.extend(lost.iter().copied());
            match self.look(&revision, all.clone(), is_unsettled).await {
                Ok(looked_at) => {
                    backoff.reset();
                    again.looked(Instant::now(), if is_unsettled { &looked_at } else { &lost });
                    not_before = Instant::now() + MOMENT.max(begun.elapsed() * REST);
                }
                Err(error) => {
                    self.put_back(&all, is_unsettled);
                    if !std::mem::replace(&mut has_complained, true) {
                        warn!(%error, "connections could not be looked at; they are once they can be");
                    } else {
                        debug!(%error, "connections could not be looked at");
                    }
                    not_before = Instant::now() + backoff.pause();
                }
            }
        }
    }

    /// What is requested, which is none of it afterwards.
    fn take(&self) -> SweepRequest {
        let mut taken = SweepRequest::default();
        self.requested.send_if_modified(|requested| {
            let revision = requested.revision.clone();
            taken = std::mem::replace(requested, SweepRequest { revision, ..SweepRequest::default() });
            false
        });
        taken
    }

    fn put_back(&self, lost: &Prefixes, is_unsettled: bool) {
        self.requested.send_modify(|requested| {
            requested.lost.extend(lost.iter().copied());
            requested.is_unsettled |= is_unsettled;
        });
    }

    /// One look; what was looked at.
    async fn look(
        &mut self,
        revision: &Revision,
        mut of: Prefixes,
        is_unsettled: bool,
    ) -> Result<Prefixes, LookError> {
        if is_unsettled && let Answer::Lost(more) = self.ask(revision, Vec::new()).await? {
            of.extend(more.iter().copied());
        }
        if of.is_empty() {
            return Ok(of);
        }
        let mut look = Look::begin(&self.nft, of.clone()).await?;
        let (mut count, mut removed) = (0, 0);
        loop {
            let entries = look.next(ENOUGH).await?;
            if entries.is_empty() {
                break;
            }
            for page in entries.chunks(FLOWS_LIMIT) {
                count += page.len();
                let flows = page.iter().map(|entry| entry.flow).collect();
                let Answer::Denied(places) = self.ask(revision, flows).await? else { continue };
                // Whatever it names, it is one of those that were asked about.
                let named = places.iter().filter_map(|place| page.get(usize::try_from(*place).ok()?));
                for entry in named {
                    look.remove(entry)?;
                    removed += 1;
                }
            }
        }
        if removed > 0 {
            info!(%revision, asked = count, removed, "connections that are not allowed any more were cut");
        }
        Ok(of)
    }

    async fn ask(&mut self, revision: &Revision, flows: Vec<flock_proto::Flow>) -> Result<Answer, LookError> {
        self.number += 1;
        let number = self.number;
        let CompilerLink { is_open, questions, answers } = &mut self.link;
        let question = Flows { revision: revision.clone(), number, flows };
        let answer = async {
            questions.send(question).await.ok()?;
            loop {
                match answers.recv().await? {
                    (answered, answer) if answered == number => return Some(answer),
                    // To a question that was given up.
                    _ => {}
                }
            }
        };
        tokio::select! {
            answered = timeout(ANSWER_LIMIT, answer) => answered.ok().flatten().ok_or(LookError::Unanswered),
            _ = is_open.wait_for(|is_open| !is_open) => Err(LookError::Unanswered),
        }
    }
}
