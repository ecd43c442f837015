//! Answers the plugin's calls: into the book, onto the disk, to the compiler, and its answer back.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use flock_proto::Attached;
use flock_shared::cni::{Answer, Call, NetworkName, Reach, Request, Sandbox, SandboxId};
use tokio::time::{Instant, timeout_at};
use tracing::{debug, warn};

use super::book::{Book, Debt, Keeping, Settled};
use super::keeper::Keeper;
use super::line::{Line, Outcome};
use super::tally::{Miss, Tally};

/// No call takes longer.
const LONGEST: Duration = Duration::from_secs(60);
/// The part of a call's time that its answer has for the way back.
const WAY_BACK: u32 = 40;

/// Where calls are answered.
#[derive(Debug, Clone)]
pub struct Desk {
    /// Has the book.
    pub keeper: Keeper,
    /// Leads to the compiler.
    pub line: Line,
    tally: Arc<Mutex<Tally>>,
}

impl Desk {
    /// One that has answered nothing yet.
    #[must_use]
    pub fn new(keeper: Keeper, line: Line) -> Self {
        Self { keeper, line, tally: Arc::default() }
    }

    /// Answers a call that came just now.
    pub async fn answer(&self, request: Request) -> Answer {
        let within = Duration::from_millis(request.within_ms.into()).min(LONGEST);
        let deadline = Instant::now() + within - within / WAY_BACK;
        match request.call {
            Call::Add(sandbox) => self.add(sandbox, request.network, deadline).await,
            Call::Del(id) => self.delete(&id, deadline).await,
            Call::Gc(ids) => match request.network {
                Some(network) => self.keep_only(&network, &ids, deadline).await,
                // Of what it is the list is not known.
                None => done(),
            },
            Call::Status => done(),
        }
    }

    async fn add(&self, sandbox: Sandbox, network: Option<NetworkName>, deadline: Instant) -> Answer {
        let ((debt, keeping), change) = self.keeper.edit(|book| book.add(sandbox, network));
        self.keeper.written(change).await;
        if keeping == Keeping::NoRoom {
            warn!(
                ?debt,
                "the node has more sandboxes than are kept; the compiler is told of this one only once"
            );
            return self.told("ADD", &debt, self.line.call(&debt, deadline).await);
        }
        self.tell("ADD", &debt, deadline).await
    }

    async fn delete(&self, id: &SandboxId, deadline: Instant) -> Answer {
        let (debt, change) = self.keeper.edit(|book| book.delete(id));
        self.keeper.written(change).await;
        self.tell("DEL", &debt, deadline).await
    }

    /// Tells the compiler of what is in the book, and the book what became of it.
    async fn tell(&self, call: &'static str, debt: &Debt, deadline: Instant) -> Answer {
        let outcome = self.line.call(debt, deadline).await;
        self.keeper.edit(|book| book.settle(debt, outcome.settled()));
        self.told(call, debt, outcome)
    }

    fn told(&self, call: &'static str, debt: &Debt, outcome: Outcome) -> Answer {
        match outcome {
            Outcome::Done(Attached { reach, behind }) => {
                debug!(call, ?debt, ?reach, "done");
                self.tally().supported();
                Answer::Done { reach, behind: behind.iter().map(ToString::to_string).collect() }
            }
            Outcome::Refused(why) => {
                self.miss(Miss::Refused, call, Some(debt), &why);
                Answer::Refused(why)
            }
            Outcome::Unsupported(why) => {
                self.miss(Miss::Unsupported, call, Some(debt), &why);
                Answer::Failed(why)
            }
            Outcome::Late(why) => {
                self.miss(Miss::Failed, call, Some(debt), &why);
                Answer::Failed(why)
            }
        }
    }

    /// CNI GC. The compiler is told by whoever pays what the book owes.
    async fn keep_only(&self, network: &NetworkName, ids: &[SandboxId], deadline: Instant) -> Answer {
        let (ended, change) = self.keeper.edit(|book| book.keep_only(network, ids));
        if ended.is_empty() {
            return done();
        }
        debug!(%network, count = ended.len(), "sandboxes are gone, says CNI GC");
        self.keeper.written(change).await;
        self.keeper.tell_again();
        let mut changes = self.keeper.changes();
        let paid = async {
            while self.keeper.read(|book| book.owes_any(&ended)) && changes.changed().await.is_ok() {}
        };
        if timeout_at(deadline, paid).await.is_ok() {
            return done();
        }
        let why = "the compiler was not told in time of all sandboxes that are gone; it will be".to_owned();
        self.miss(Miss::Failed, "GC", None, &why);
        Answer::Failed(why)
    }

    fn tally(&self) -> MutexGuard<'_, Tally> {
        self.tally.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a call that came to nothing.
    pub(super) fn miss(&self, miss: Miss, call: &'static str, debt: Option<&Debt>, why: &str) {
        let mut tally = self.tally();
        let is_told = tally.count(miss, Instant::now());
        let Tally { refused, failed, improper, unsupported, .. } = *tally;
        drop(tally);
        let (sandboxes, owed) = self.keeper.read(Book::size);
        let (pod, sandbox) = match debt {
            Some(Debt::Attach(sandbox, _)) => (sandbox.pod.to_string(), sandbox.id.to_string()),
            Some(Debt::Detach(id, _)) => (String::new(), id.to_string()),
            None => Default::default(),
        };
        if is_told {
            warn!(
                call, pod, sandbox, why = ?why, refused, failed, improper, unsupported, sandboxes, owed,
                "a call of the CNI plugin came to nothing; the counts are since the start"
            );
        } else {
            debug!(call, pod, sandbox, why = ?why, "a call of the CNI plugin came to nothing");
        }
    }
}

impl Outcome {
    /// What it is to the book.
    pub(super) const fn settled(&self) -> Settled {
        match self {
            Self::Done(_) => Settled::Done,
            Self::Refused(_) => Settled::Refused,
            Self::Unsupported(_) | Self::Late(_) => Settled::Failed,
        }
    }
}

const fn done() -> Answer {
    Answer::Done { reach: Reach::Everywhere, behind: Vec::new() }
}
