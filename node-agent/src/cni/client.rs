//! Calls to the compiler: one call is brought to it, over the connection of whichever stream is open, again and again
//! until it is answered or its time is over.

use std::future::pending;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use flock_proto::v1::node_service_client::NodeServiceClient;
use flock_proto::{Attach, Attached, Detach, v1};
use flock_shared::NodeName;
use flock_shared::backoff::Backoff;
use flock_shared::causes;
use flock_shared::token::BearerToken;
use tokio::sync::{Semaphore, watch};
use tokio::time::{Instant, sleep, timeout_at};
use tonic::transport::Channel;
use tonic::{Code, Request, Status};

use super::sandboxes::PendingCall;

/// An answer is no longer than this: eight names of nodes.
const ANSWER_LENGTH: usize = 16 << 10;
/// What a compiler says is shown to people up to so many characters.
const WORDS: usize = 400;
/// Calls at once over a connection. The compiler has 64 streams for each, of which the agent's own is one; and each call
/// takes memory here. More wait for their turn.
const TOGETHER: usize = 60;
/// Between attempts over the same connection.
const PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));

/// The connection of the stream that is open.
#[derive(Debug, Clone)]
pub struct Connection {
    /// Leads to the compiler.
    pub channel: Channel,
    /// Where the token is that is shown there. It is read for each call: tokens grow old while streams live.
    pub token_file: Option<PathBuf>,
}

/// Brings calls to the compiler.
#[derive(Debug, Clone)]
pub struct CompilerClient {
    /// The agent's own node.
    pub node: NodeName,
    /// The connection, while there is one.
    pub connection: watch::Receiver<Option<Connection>>,
    turns: Arc<Semaphore>,
}

/// What became of a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The compiler has it.
    Done(Attached),
    /// It cannot be; for people.
    Refused(String),
    /// The compiler has no place for it, and will have none within the time of a call; for people.
    Unsupported(String),
    /// It was not answered in time; for people.
    Late(String),
}

/// What an attempt came to.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Attempt {
    /// There is nothing more to try.
    Ended(Outcome),
    /// Another one may go better. This one ended like this; for people.
    Again(String),
}

impl CompilerClient {
    /// A client over whichever connection is open.
    #[must_use]
    pub fn new(node: NodeName, connection: watch::Receiver<Option<Connection>>) -> Self {
        Self { node, connection, turns: Arc::new(Semaphore::new(TOGETHER)) }
    }

    /// Brings a call to the compiler and gives its answer, at `deadline` at the latest.
    pub async fn call(&self, pending: &PendingCall, deadline: Instant) -> Outcome {
        let mut connection = self.connection.clone();
        let mut backoff = Backoff::new(PAUSES.0, PAUSES.1);
        let mut last = None;
        let late = |last: Option<String>| {
            let last = last.unwrap_or_else(|| "there was no connection to the compiler".to_owned());
            Outcome::Late(format!("not done in time: {last}"))
        };
        loop {
            let Ok(Some(open)) = timeout_at(deadline, opened(&mut connection)).await else {
                return late(last);
            };
            // Once a connection is open, so that calls that wait for one use up no turns.
            let Ok(turn) = timeout_at(deadline, self.turns.acquire()).await else {
                return late(last.or_else(|| Some("too many other calls were under way".to_owned())));
            };
            // Large, and most calls that wait have none.
            let attempt = timeout_at(deadline, Box::pin(self.attempt(open, pending, deadline)));
            let attempted = tokio::select! {
                attempted = attempt => attempted,
                // Whoever was asked may be gone without a word. It may have heard the call, which it bears twice.
                () = replaced(&mut connection) => continue,
            };
            drop(turn);
            match attempted {
                Ok(Attempt::Ended(outcome)) => return outcome,
                Ok(Attempt::Again(why)) => last = Some(why),
                Err(_) => return late(last.or_else(|| Some("the compiler has not answered".to_owned()))),
            }
            connection.mark_unchanged();
            let pausing = async {
                tokio::select! {
                    _ = connection.changed() => {}
                    () = sleep(backoff.pause()) => {}
                }
            };
            if timeout_at(deadline, pausing).await.is_err() {
                return late(last);
            }
        }
    }

    async fn attempt(&self, connection: Connection, pending: &PendingCall, deadline: Instant) -> Attempt {
        let token = match connection.token_file.as_deref().map(BearerToken::read).transpose() {
            Ok(token) => token,
            Err(error) => return Attempt::Again(format!("the token {error}")),
        };
        let mut client = NodeServiceClient::new(connection.channel).max_decoding_message_size(ANSWER_LENGTH);
        let within = deadline.saturating_duration_since(Instant::now());
        let node = self.node.clone();
        let answered = match pending.clone() {
            PendingCall::Attach(sandbox, _) => {
                client.attach(asked(Attach { node, sandbox, within }, token.as_ref())).await
            }
            PendingCall::Detach(sandbox, _) => {
                client.detach(asked(Detach { node, sandbox, within }, token.as_ref())).await
            }
        };
        match answered {
            Ok(reply) => read(reply.into_inner()),
            Err(status) => judge(&status),
        }
    }
}

/// The connection to the compiler once there is one; `None`: there will be none.
async fn opened(connection: &mut watch::Receiver<Option<Connection>>) -> Option<Connection> {
    connection.wait_for(Option::is_some).await.ok()?.clone()
}

/// Waits until there is another connection than the one seen last.
async fn replaced(connection: &mut watch::Receiver<Option<Connection>>) {
    while connection.changed().await.is_ok() {
        if connection.borrow_and_update().is_some() {
            return;
        }
    }
    pending::<()>().await;
}

/// A call with the token on it.
fn asked<T>(call: impl Into<T>, token: Option<&BearerToken>) -> Request<T> {
    let mut request = Request::new(call.into());
    if let Some(token) = token {
        request.metadata_mut().insert("authorization", token.authorization());
    }
    request
}

fn read(reply: v1::AttachReply) -> Attempt {
    match Attached::try_from(reply) {
        Ok(attached) => Attempt::Ended(Outcome::Done(attached)),
        Err(error) => Attempt::Ended(Outcome::Late(format!("the compiler's answer is none: {error}"))),
    }
}

fn judge(status: &Status) -> Attempt {
    let words = plain(status.message());
    match status.code() {
        Code::InvalidArgument | Code::FailedPrecondition | Code::PermissionDenied => {
            Attempt::Ended(Outcome::Refused(words))
        }
        Code::Unimplemented => Attempt::Ended(Outcome::Unsupported(format!(
            "the compiler cannot take what CNI did: it is too old, or {words}"
        ))),
        // It has taken all the time that there was.
        Code::DeadlineExceeded => Attempt::Ended(Outcome::Late(format!("not done in time: {words}"))),
        _ => Attempt::Again(plain(&causes(status))),
    }
}

/// What somebody else says, fit for a log and a runtime's events.
pub(super) fn plain(text: &str) -> String {
    text.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).take(WORDS).collect()
}

#[cfg(test)]
mod tests {
    use flock_shared::cni::Reach;

    use super::*;

    #[test]
    fn what_a_compiler_says_is_told_apart() {
        let judged = |code: Code| judge(&Status::new(code, "a\nb"));
        for code in [Code::InvalidArgument, Code::FailedPrecondition, Code::PermissionDenied] {
            assert_eq!(judged(code), Attempt::Ended(Outcome::Refused("a b".to_owned())), "{code:?}");
        }
        for code in [Code::Unavailable, Code::Unauthenticated, Code::ResourceExhausted, Code::Internal] {
            assert!(matches!(judged(code), Attempt::Again(_)), "{code:?}");
        }
        assert!(matches!(judged(Code::Unimplemented), Attempt::Ended(Outcome::Unsupported(_))));
        assert!(matches!(judged(Code::DeadlineExceeded), Attempt::Ended(Outcome::Late(_))));
        let reply = v1::AttachReply { reach: v1::Reach::Node.into(), behind: vec!["n2".to_owned()] };
        let Attempt::Ended(Outcome::Done(attached)) = read(reply) else { panic!("not taken") };
        assert_eq!((attached.reach, attached.behind.len()), (Reach::Node, 1));
        for wrong in
            [v1::AttachReply::default(), v1::AttachReply { reach: 1, behind: vec!["N 2".to_owned()] }]
        {
            assert!(matches!(read(wrong), Attempt::Ended(Outcome::Late(_))));
        }
        assert_eq!(plain(&"x".repeat(5000)).len(), WORDS);
    }
}
