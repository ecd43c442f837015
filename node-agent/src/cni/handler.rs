//! Answers the plugin's calls: into the record, onto the disk, to the compiler, and its answer back.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use flock_proto::Attached;
use flock_shared::cni::{Answer, Call, NetworkName, Reach, Request, Sandbox, SandboxId};
use tokio::time::{Instant, timeout_at};
use tracing::{debug, warn};

use super::client::{CompilerClient, Outcome};
use super::failures::{FailureCounts, FailureKind};
use super::sandboxes::{CallResult, Keeping, PendingCall, Sandboxes};
use super::store::SandboxStore;

/// No call takes longer.
const LONGEST: Duration = Duration::from_secs(60);
/// The part of a call's time that is left for its answer to reach the plugin.
const WAY_BACK: u32 = 40;

/// Answers calls.
#[derive(Debug, Clone)]
pub struct CallHandler {
    /// The node's sandboxes.
    pub store: SandboxStore,
    /// Leads to the compiler.
    pub client: CompilerClient,
    failures: Arc<Mutex<FailureCounts>>,
}

impl CallHandler {
    /// One that has answered nothing yet.
    #[must_use]
    pub fn new(store: SandboxStore, client: CompilerClient) -> Self {
        Self { store, client, failures: Arc::default() }
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
        let ((pending, keeping), change) = self.store.edit(|sandboxes| sandboxes.add(sandbox, network));
        // Before the compiler hears of it: if the agent is killed in between, the next one finds it and tells it.
        self.store.written(change).await;
        if keeping == Keeping::NoRoom {
            warn!(
                debt = ?pending,
                "the node has more sandboxes than are kept; the compiler is told of this one only once"
            );
            return self.told("ADD", &pending, self.client.call(&pending, deadline).await);
        }
        self.tell("ADD", &pending, deadline).await
    }

    async fn delete(&self, id: &SandboxId, deadline: Instant) -> Answer {
        let (pending, change) = self.store.edit(|sandboxes| sandboxes.delete(id));
        self.store.written(change).await;
        self.tell("DEL", &pending, deadline).await
    }

    /// Tells the compiler what a call has changed, and takes down what became of that.
    async fn tell(&self, call: &'static str, pending: &PendingCall, deadline: Instant) -> Answer {
        let outcome = self.client.call(pending, deadline).await;
        self.store.edit(|sandboxes| sandboxes.settle(pending, outcome.result()));
        self.told(call, pending, outcome)
    }

    fn told(&self, call: &'static str, pending: &PendingCall, outcome: Outcome) -> Answer {
        match outcome {
            Outcome::Done(Attached { reach, behind }) => {
                debug!(call, debt = ?pending, ?reach, "done");
                self.failures().supported();
                Answer::Done { reach, behind: behind.iter().map(ToString::to_string).collect() }
            }
            Outcome::Refused(why) => {
                self.failed(FailureKind::Refused, call, Some(pending), &why);
                Answer::Refused(why)
            }
            Outcome::Unsupported(why) => {
                self.failed(FailureKind::Unsupported, call, Some(pending), &why);
                Answer::Failed(why)
            }
            Outcome::Late(why) => {
                self.failed(FailureKind::Failed, call, Some(pending), &why);
                Answer::Failed(why)
            }
        }
    }

    /// CNI GC. The compiler is told in the background, with all that is pending.
    async fn keep_only(&self, network: &NetworkName, ids: &[SandboxId], deadline: Instant) -> Answer {
        let (ended, change) = self.store.edit(|sandboxes| sandboxes.keep_only(network, ids));
        if ended.is_empty() {
            return done();
        }
        debug!(%network, count = ended.len(), "sandboxes are gone, says CNI GC");
        self.store.written(change).await;
        self.store.tell_again();
        let mut changes = self.store.changes();
        let told = async {
            while self.store.read(|sandboxes| sandboxes.has_pending_detach(&ended))
                && changes.changed().await.is_ok()
            {}
        };
        if timeout_at(deadline, told).await.is_ok() {
            return done();
        }
        let why = "the compiler was not told in time of all sandboxes that are gone; it will be".to_owned();
        self.failed(FailureKind::Failed, "GC", None, &why);
        Answer::Failed(why)
    }

    fn failures(&self) -> MutexGuard<'_, FailureCounts> {
        self.failures.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a call that came to nothing.
    pub(super) fn failed(
        &self,
        kind: FailureKind,
        call: &'static str,
        pending: Option<&PendingCall>,
        why: &str,
    ) {
        let mut failures = self.failures();
        let is_told = failures.count(kind, Instant::now());
        let FailureCounts { refused, failed, improper, unsupported, .. } = *failures;
        drop(failures);
        let (sandboxes, owed) = self.store.read(Sandboxes::size);
        let (pod, sandbox) = match pending {
            Some(PendingCall::Attach(sandbox, _)) => (sandbox.pod.to_string(), sandbox.id.to_string()),
            Some(PendingCall::Detach(id, _)) => (String::new(), id.to_string()),
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
    /// As what it is taken down.
    pub(super) const fn result(&self) -> CallResult {
        match self {
            Self::Done(_) => CallResult::Done,
            Self::Refused(_) => CallResult::Refused,
            Self::Unsupported(_) | Self::Late(_) => CallResult::Failed,
        }
    }
}

const fn done() -> Answer {
    Answer::Done { reach: Reach::Everywhere, behind: Vec::new() }
}
