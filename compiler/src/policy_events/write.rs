//! Writing Events: one request each, and what its answer means for the next.

use std::time::Duration;

use flock_shared::backoff::Backoff;
use flock_shared::causes;
use k8s_openapi::api::events::v1::Event;
use kube::api::PostParams;
use kube::{Api, Client};
use tokio::time::{Instant, timeout};

use super::notice::Notice;

/// How long the API server may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// Pauses after a request that failed.
const PAUSES: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(300));

/// What became of a notice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    /// It is written.
    Written,
    /// It was there already: another replica has written it, or this one before it started anew.
    There,
    /// It will never be.
    Refused,
    /// It may be later.
    Failed,
}

/// Writes Events.
pub(super) struct Writer {
    client: Client,
    instance: String,
    /// How long nothing is asked after this compiler had no right to it.
    refused: Duration,
    backoff: Backoff,
    not_before: Option<Instant>,
    /// That requests fail was said, and none has succeeded since.
    is_said: bool,
}

impl std::fmt::Debug for Writer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Writer")
    }
}

impl Writer {
    pub(super) fn new(client: Client, instance: String, refused: Duration) -> Self {
        let backoff = Backoff::new(PAUSES.0, PAUSES.1);
        Self { client, instance, refused, backoff, not_before: None, is_said: false }
    }

    /// Returns true unless the API server is left alone for now.
    pub(super) fn may_ask(&self, now: Instant) -> bool {
        self.not_before.is_none_or(|moment| moment <= now)
    }

    pub(super) async fn write(&mut self, notice: &Notice) -> Outcome {
        let events: Api<Event> = Api::namespaced(self.client.clone(), notice.policy.namespace.as_str());
        let (parameters, event) = (PostParams::default(), notice.event(&self.instance));
        let written = timeout(PATIENCE, events.create(&parameters, &event)).await;
        let (error, pause) = match written {
            Ok(Ok(_)) => return self.answered(Outcome::Written),
            Ok(Err(kube::Error::Api(status))) => match status.code {
                409 => return self.answered(Outcome::There),
                // Of this namespace only, which is about to be gone.
                403 if status.message.contains("being terminated") => return Outcome::Refused,
                403 => (status.message.clone(), self.refused),
                // Refused for what it is, and would be again.
                400 | 404 | 405 | 413 | 422 => {
                    self.say(&status.message);
                    return Outcome::Refused;
                }
                _ => (status.message.clone(), self.backoff.pause()),
            },
            Ok(Err(error)) => (causes(&error), self.backoff.pause()),
            Err(_) => (format!("no answer within {PATIENCE:?}"), self.backoff.pause()),
        };
        self.say(&error);
        self.not_before = Some(Instant::now() + pause);
        Outcome::Failed
    }

    fn answered(&mut self, outcome: Outcome) -> Outcome {
        self.backoff = Backoff::new(PAUSES.0, PAUSES.1);
        (self.not_before, self.is_said) = (None, false);
        outcome
    }

    /// Once until a request succeeds.
    fn say(&mut self, error: &str) {
        if !std::mem::replace(&mut self.is_said, true) {
            tracing::warn!(error, "Events of policies cannot be written; nothing else is touched by that");
        }
    }
}
