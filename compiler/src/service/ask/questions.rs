//! Answers are made on threads of their own, a few at a time, from what is mirrored: nothing else waits for them.

use std::sync::Arc;
use std::time::Duration;

use flock_ask::{AskError, Cluster, Sight};
use prost::Message;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;
use tonic::Status;

use super::askers::{Askers, QuestionPlace};
use crate::access::Grant;
use crate::engine::EngineHandle;
use crate::mirror::Snapshot;

/// Questions that wait, of all askers together: each holds its request and nothing else.
const WAITING: usize = 64;
/// How long one may wait for its turn, and how long its answer may take.
const LONGEST: Duration = Duration::from_secs(30);
/// Bytes of answers that are made and not yet written.
const ROOM: usize = 64 * 1024 * 1024;
/// Bytes that are counted as one.
const UNIT: usize = 1024;
/// Rows of an answer at most: more is no answer that anybody reads.
const ROWS: usize = 200_000;

/// The bounds, shared by all askers.
#[derive(Debug)]
pub(super) struct Questions {
    askers: Askers,
    waiting: Arc<Semaphore>,
    turns: Arc<Semaphore>,
    room: Arc<Semaphore>,
}

/// A question that was let in: what its asker may see, and its place among those that wait.
#[derive(Debug)]
pub(super) struct AdmittedQuestion {
    sight: Sight,
    /// `None`: nobody is told apart.
    place: Option<QuestionPlace>,
}

/// An answer, and the room that it takes until it is written.
#[derive(Debug)]
pub(super) struct Answer<T> {
    pub(super) answer: T,
    pub(super) room: Option<OwnedSemaphorePermit>,
}

/// What a question is answered from.
pub(super) struct Asked<'a> {
    pub(super) cluster: Cluster<'a>,
    pub(super) snapshot: &'a Snapshot,
    pub(super) sight: &'a Sight,
}

impl Default for Questions {
    fn default() -> Self {
        // Half of the cores: the others are the engine's, also where many ask.
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            askers: Askers::default(),
            waiting: Arc::new(Semaphore::new(WAITING)),
            turns: Arc::new(Semaphore::new((cores / 2).max(1))),
            room: Arc::new(Semaphore::new(ROOM / UNIT)),
        }
    }
}

impl Questions {
    /// Gives a place to a question of whoever was let in with `grant`.
    ///
    /// # Errors
    /// If it asks too much at once.
    pub(super) fn admit(&self, grant: &Grant, sight: Sight) -> Result<AdmittedQuestion, Status> {
        let place = grant.user().map(|user| self.askers.place(user).ok_or_else(too_many)).transpose()?;
        Ok(AdmittedQuestion { sight, place })
    }

    /// Answers a question by one message.
    pub(super) async fn one<T: Message + 'static>(
        &self,
        engine: &EngineHandle,
        admitted: AdmittedQuestion,
        answer: impl FnOnce(&Asked<'_>) -> Result<T, AskError> + Send + 'static,
    ) -> Result<Answer<T>, Status> {
        let answer = self.answer(engine, admitted, answer).await?;
        let room = self.room(answer.encoded_len()).await?;
        Ok(Answer { answer, room })
    }

    /// Answers a question by rows.
    pub(super) async fn rows<T: Message + 'static>(
        &self,
        engine: &EngineHandle,
        admitted: AdmittedQuestion,
        answer: impl FnOnce(&Asked<'_>) -> Result<Vec<T>, AskError> + Send + 'static,
    ) -> Result<Answer<Vec<T>>, Status> {
        let bounded = |asked: &Asked<'_>| {
            let rows = answer(asked)?;
            match rows.len() {
                ..=ROWS => Ok(rows),
                many => Err(AskError::TooLarge(format!("{many} rows; at most {ROWS} are answered"))),
            }
        };
        let answer = self.answer(engine, admitted, bounded).await?;
        let size = answer.iter().map(|row| row.encoded_len() + 64).sum();
        let room = self.room(size).await?;
        Ok(Answer { answer, room })
    }

    /// A turn for what is answered bit by bit; it ends when it is dropped.
    pub(super) async fn turn(&self) -> Result<OwnedSemaphorePermit, Status> {
        Arc::clone(&self.turns).acquire_owned().await.map_err(|_| stopping())
    }

    async fn answer<T: Send + 'static>(
        &self,
        engine: &EngineHandle,
        admitted: AdmittedQuestion,
        answer: impl FnOnce(&Asked<'_>) -> Result<T, AskError> + Send + 'static,
    ) -> Result<T, Status> {
        if !engine.is_ready() {
            return Err(Status::unavailable("not every watched kind has been listed yet"));
        }
        // Who comes when so many wait is told so at once.
        let _waiting = Arc::clone(&self.waiting).try_acquire_owned().map_err(|_| too_many())?;
        let late = |_| Status::deadline_exceeded(format!("no answer within {LONGEST:?}"));
        let asked = async {
            let turn = self.turn().await?;
            // Whoever waits for a turn holds nothing that is mirrored.
            let snapshot = engine.snapshot().await?;
            let answering = tokio::task::spawn_blocking(move || {
                // Turn and place end with the thread, also if nobody waits for the answer any more.
                let (_turn, AdmittedQuestion { sight, place: _place }) = (turn, admitted);
                let mirrored = &snapshot.mirrored;
                let cluster = Cluster {
                    over_budget: Some(&mirrored.over_budget),
                    index: Some(&mirrored.index),
                    ..Cluster::new(&mirrored.world, snapshot.options.unready_pods)
                };
                answer(&Asked { cluster, snapshot: &snapshot, sight: &sight })
            });
            answering.await.map_err(|_| stopping())?.map_err(status)
        };
        timeout(LONGEST, asked).await.map_err(late)?
    }

    /// Room for an answer; one that is larger than all of it takes all.
    async fn room(&self, bytes: usize) -> Result<Option<OwnedSemaphorePermit>, Status> {
        let units = u32::try_from(bytes.div_ceil(UNIT).min(ROOM / UNIT)).unwrap_or(u32::MAX);
        let room = timeout(LONGEST, Arc::clone(&self.room).acquire_many_owned(units)).await;
        let full = |_| Status::resource_exhausted("answers to others are not read yet; ask again");
        Ok(room.map_err(full)?.ok())
    }
}

fn too_many() -> Status {
    Status::resource_exhausted("too many questions at once; ask again")
}

fn stopping() -> Status {
    Status::unavailable("the compiler is shutting down")
}

/// As gRPC has it.
pub(super) fn status(error: AskError) -> Status {
    match error {
        AskError::Bad(message) => Status::invalid_argument(message),
        AskError::NotFound(message) => Status::not_found(message),
        AskError::NotAllowed(message) => Status::permission_denied(message),
        AskError::TooLarge(message) => Status::resource_exhausted(message),
    }
}
