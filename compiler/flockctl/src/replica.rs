//! The replicas of the compiler that are connected to, and asking them: each one, at the same time.

use std::fmt;

use flock_proto::MAX_MESSAGE_BYTES;
use flock_proto::v1::ask_service_client::AskServiceClient;
use flock_proto::v1::debug_service_client::DebugServiceClient;
use flock_shared::token::BearerToken;
use futures::future::join_all;
use tonic::metadata::AsciiMetadataValue;
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::Channel;
use tonic::{Request, Status};

use crate::failure::Failure;
use crate::forward::Forward;

pub(crate) type Client = DebugServiceClient<InterceptedService<Channel, Credentials>>;
pub(crate) type AskClient = AskServiceClient<InterceptedService<Channel, Credentials>>;

/// A replica that can be asked.
pub(crate) struct Replica {
    /// Its pod or its URL.
    pub(crate) name: String,
    pub(crate) client: Client,
    pub(crate) ask: AskClient,
    /// What the channel goes through, if it does.
    pub(crate) forward: Option<Forward>,
}

/// The replicas that can be asked, and those that cannot.
pub(crate) struct Replicas {
    pub(crate) open: Vec<Replica>,
    pub(crate) missed: Vec<Missed>,
    pub(crate) total: Total,
}

/// A replica that is not connected to, and why.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Missed {
    pub(crate) name: String,
    pub(crate) reason: String,
}

impl fmt::Display for Missed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} was not asked: {}", self.name, self.reason)
    }
}

/// How many replicas there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Total {
    /// So many pods run.
    Running(usize),
    /// So many URLs were given. The compilers may know better.
    Named(usize),
}

/// Answers by the names of who gave them.
pub(crate) type NamedAnswers<T> = Vec<(String, T)>;

/// What was answered, by the names of the replicas in their order, and what failed.
pub(crate) struct Answers<T> {
    pub(crate) given: NamedAnswers<T>,
    pub(crate) failed: Vec<(String, Failure)>,
}

impl Replica {
    /// The replica of this name, over a channel that goes through `forward` if it is forwarded.
    pub(crate) fn new(
        name: String,
        channel: Channel,
        credentials: Credentials,
        forward: Option<Forward>,
    ) -> Self {
        // A script or a listing may be larger than the 4 MiB that tonic takes by default.
        let client = DebugServiceClient::with_interceptor(channel.clone(), credentials.clone())
            .max_decoding_message_size(MAX_MESSAGE_BYTES);
        let ask = AskServiceClient::with_interceptor(channel, credentials)
            .max_decoding_message_size(MAX_MESSAGE_BYTES)
            .max_encoding_message_size(MAX_MESSAGE_BYTES);
        Self { name, client, ask, forward }
    }
}

impl Replicas {
    /// Not connected to any of so many.
    pub(crate) const fn none_of(total: Total) -> Self {
        Self { open: Vec::new(), missed: Vec::new(), total }
    }

    /// Asks all at the same time. Who fails is asked nothing more.
    pub(crate) async fn ask<T>(&mut self, question: impl AsyncFn(Client) -> Result<T, Status>) -> Answers<T> {
        let results = join_all(self.open.iter().map(|replica| question(replica.client.clone()))).await;
        self.told(results).await
    }

    /// The same of questions about policy.
    pub(crate) async fn inquire<T>(
        &mut self,
        question: impl AsyncFn(AskClient) -> Result<T, Status>,
    ) -> Answers<T> {
        let results = join_all(self.open.iter().map(|replica| question(replica.ask.clone()))).await;
        self.told(results).await
    }

    /// Asks one after the other about policy until one answers: objects are the same everywhere.
    ///
    /// # Errors
    /// When nobody answers.
    pub(crate) async fn inquire_any<T>(
        &mut self,
        question: impl AsyncFn(AskClient) -> Result<T, Status>,
    ) -> Result<T, Failure> {
        let mut failed = Vec::new();
        // Taken out: who fails gives its forwarding away, which is asked for the reason.
        let mut untried = std::mem::take(&mut self.open).into_iter();
        while let Some(replica) = untried.next() {
            match question(replica.ask.clone()).await {
                Ok(answer) => {
                    // Who has answered may be asked again, and so may those that were not needed.
                    self.open = std::iter::once(replica).chain(untried).collect();
                    return Ok(answer);
                }
                Err(status) => {
                    let Replica { name, forward, .. } = replica;
                    failed.push((name, Failure::asked(&status, forward).await));
                }
            }
        }
        Err(Failure::of_all(failed))
    }

    async fn told<T>(&mut self, results: Vec<Result<T, Status>>) -> Answers<T> {
        let mut answers = Answers { given: Vec::new(), failed: Vec::new() };
        let mut standing = Vec::new();
        // `join_all` keeps the order, so each result is of the replica at its place.
        for (replica, result) in std::mem::take(&mut self.open).into_iter().zip(results) {
            match result {
                Ok(answer) => {
                    answers.given.push((replica.name.clone(), answer));
                    standing.push(replica);
                }
                Err(status) => {
                    let Replica { name, forward, .. } = replica;
                    answers.failed.push((name, Failure::asked(&status, forward).await));
                }
            }
        }
        self.open = standing;
        answers
    }

    /// Asks one after the other until an answer is as it should be; else the first answer.
    pub(crate) async fn first<T>(
        self,
        question: impl AsyncFn(Client) -> Result<T, Status>,
        is_right: impl Fn(&T) -> bool,
    ) -> Result<T, Failure> {
        let (mut first, mut failed) = (None, Vec::new());
        for Replica { name, client, forward, .. } in self.open {
            match question(client).await {
                Ok(answer) if is_right(&answer) => return Ok(answer),
                // Kept for a node whose agent is nowhere: what it should have, each of them knows.
                Ok(answer) => drop(first.get_or_insert(answer)),
                Err(status) => failed.push((name, Failure::asked(&status, forward).await)),
            }
        }
        first.ok_or_else(|| Failure::of_all(failed))
    }
}

impl<T> Answers<T> {
    /// The answers, if there is any, and what failed beside them.
    ///
    /// # Errors
    /// When nobody has answered.
    pub(crate) fn any(self) -> Result<(NamedAnswers<T>, Vec<Missed>), Failure> {
        let Self { given, failed } = self;
        if given.is_empty() {
            return Err(Failure::of_all(failed));
        }
        let missed = failed.into_iter().map(|(name, failure)| {
            let reason = failure.words();
            Missed { name, reason }
        });
        Ok((given, missed.collect()))
    }
}

/// What says to the compiler who asks, with every request.
#[derive(Clone)]
pub(crate) struct Credentials(Option<AsciiMetadataValue>);

impl Credentials {
    /// Says nothing.
    pub(crate) const fn none() -> Self {
        Self(None)
    }

    /// Shows a token.
    pub(crate) fn new(token: &BearerToken) -> Self {
        Self(Some(token.authorization()))
    }
}

impl Interceptor for Credentials {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(authorization) = &self.0 {
            request.metadata_mut().insert("authorization", authorization.clone());
        }
        Ok(request)
    }
}
