//! One stream to the compiler: hello, updates in, acks out; questions about connections out, answers in.

use std::future::pending;
use std::time::Duration;

use flock_proto::v1::node_service_client::NodeServiceClient;
use flock_proto::{
    Ack, AgentMessage, Drops, DropsWanted, Flows, Forget, Hello, MAX_MESSAGE_BYTES, NodeFacts, v1,
};
use flock_shared::token::BearerToken;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Status};

use crate::cni::client::Connection;
use crate::cni::store::SandboxStore;
use crate::conntrack::Answered;

/// Acks that wait for the connection to take them.
const OUTBOUND: usize = 16;

/// How long the compiler may take to close its half after the agent has closed its own.
const FAREWELL: Duration = Duration::from_secs(1);

/// An update as it came.
#[derive(Debug)]
pub struct Received {
    /// The message, unverified.
    pub update: v1::Update,
    /// When it had come whole.
    pub at: Instant,
    /// The number of the stream that it came on.
    pub stream: u64,
}

/// Why a stream ended.
#[derive(Debug)]
pub enum Ended {
    /// The compiler closed it.
    Closed,
    /// The connection or the compiler failed.
    Broken(Status),
    /// A full script is needed, which a new hello asks for.
    FullNeeded,
    /// There is nothing more to say: the agent stops.
    Finished,
}

/// The agent's side of every stream.
#[derive(Debug)]
pub struct Ends {
    /// Takes updates. One waits there while another is applied; more stay with the compiler, which knows a later one.
    pub updates: mpsc::Sender<Received>,
    /// Gives acks; closed when the agent stops.
    pub acks: mpsc::Receiver<Ack>,
    /// Changes when a full script is needed.
    pub full_needed: watch::Receiver<u64>,
    /// What the node is like, once that is known; the hello says it, and what changes is told.
    pub facts: watch::Receiver<Option<NodeFacts>>,
    /// Gives questions about connections.
    pub questions: mpsc::Receiver<Flows>,
    /// Takes the answers. There is one question at a time.
    pub answers: mpsc::Sender<Answered>,
    /// Whether there is a stream, and to a compiler that answers such questions: one that does not would end it.
    pub is_answered: watch::Sender<bool>,
    /// Gives what was dropped.
    pub drops: mpsc::Receiver<Drops>,
    /// Takes what the compiler wants to be told of that, for as long as there is a stream.
    pub drops_wanted: watch::Sender<DropsWanted>,
    /// Has the node's sandboxes, if the agent relays calls of CNI's plugin.
    pub sandboxes: Option<SandboxFeed>,
    /// Takes the connection to the compiler for such calls, while there is one.
    pub connection: watch::Sender<Option<Connection>>,
    /// Takes the number of the stream that is open.
    pub stream: watch::Sender<Option<u64>>,
    /// How many streams there have been.
    pub streams: u64,
}

/// The node's sandboxes, to be told with each stream.
#[derive(Debug)]
pub struct SandboxFeed {
    /// Has them.
    pub store: SandboxStore,
    /// Changes when they are to be told once more.
    pub unasked: watch::Receiver<u64>,
}

impl SandboxFeed {
    /// All of them.
    fn all(&mut self) -> AgentMessage {
        // Before they are read, so that what changes in between is told once more.
        self.unasked.mark_unchanged();
        AgentMessage::Sandboxes(self.store.present())
    }

    /// All of them once they are to be told again; never, where there are none.
    async fn again(this: &mut Option<Self>) -> AgentMessage {
        if let Some(sandboxes) = this
            && sandboxes.unasked.changed().await.is_ok()
        {
            return sandboxes.all();
        }
        pending().await
    }
}

impl Ends {
    /// Lets acks go until the agent stops: without a stream nobody waits for them, and the next hello says what stands.
    pub async fn discard_acks(&mut self) {
        while self.acks.recv().await.is_some() {}
    }

    /// Takes out of the updates an answer about connections, and what is wanted of drops; gives back any other update.
    fn keep(&self, update: v1::Update) -> Option<v1::Update> {
        if let Some(wanted) = update.drops_wanted {
            self.drops_wanted.send_replace(wanted.into());
            return None;
        }
        let Some(forget) = &update.forget else { return Some(update) };
        // A compiler that names lost addresses also answers questions about their connections.
        self.is_answered.send_if_modified(|is_answered| !std::mem::replace(is_answered, true));
        if !matches!(&forget.forget, Some(v1::forget::Forget::Answer(_))) {
            return Some(update);
        }
        if let Ok(Forget::Answer { number, answer }) = Forget::try_from(update.forget.unwrap_or_default()) {
            // Nobody waits for one that finds no room: its question was given up.
            let _ = self.answers.try_send((number, answer));
        }
        None
    }
}

/// Opens a stream on `connection`, shows `token` if there is one, says `hello`, and passes updates and acks on until the stream
/// ends.
pub async fn run(
    connection: Connection,
    token: Option<&BearerToken>,
    hello: Hello,
    ends: &mut Ends,
) -> Ended {
    ends.streams += 1;
    let ended = stream(connection, token, hello, ends).await;
    ends.stream.send_replace(None);
    ends.is_answered.send_replace(false);
    ends.drops_wanted.send_replace(DropsWanted::default());
    ends.connection.send_replace(None);
    // Questions that found no stream are asked again.
    while ends.questions.try_recv().is_ok() {}
    ended
}

async fn stream(connection: Connection, token: Option<&BearerToken>, hello: Hello, ends: &mut Ends) -> Ended {
    // The hello says so already: a wish from before it is not to end this stream.
    ends.full_needed.mark_unchanged();
    let (outbound, messages) = mpsc::channel(OUTBOUND);
    let say = async |message: AgentMessage| outbound.send(v1::AgentMessage::from(message)).await;
    for message in [Some(AgentMessage::Hello(hello)), ends.sandboxes.as_mut().map(SandboxFeed::all)]
        .into_iter()
        .flatten()
    {
        if say(message).await.is_err() {
            return Ended::Closed;
        }
    }
    let mut client =
        NodeServiceClient::new(connection.channel.clone()).max_decoding_message_size(MAX_MESSAGE_BYTES);
    let mut request = Request::new(ReceiverStream::new(messages));
    if let Some(token) = token {
        request.metadata_mut().insert("authorization", token.authorization());
    }
    let opening = client.subscribe(request);
    tokio::pin!(opening);
    // Acks are taken while the stream opens, too: their end is how the agent says that it stops.
    let mut inbound = loop {
        tokio::select! {
            opened = &mut opening => match opened {
                Ok(stream) => break stream.into_inner(),
                Err(status) => return Ended::Broken(status),
            },
            ack = ends.acks.recv() => match ack {
                Some(ack) => if say(AgentMessage::Ack(ack)).await.is_err() { return Ended::Closed },
                None => return Ended::Finished,
            },
        }
    };
    // Calls of CNI go only to a compiler that has let this agent in.
    ends.connection.send_replace(Some(connection));
    ends.stream.send_replace(Some(ends.streams));
    // Nothing is read off the stream unless there is room for it.
    let mut room = None;
    loop {
        tokio::select! {
            // Acks first: when the agent stops, the last one is there before it shows that nobody takes updates.
            biased;
            ack = ends.acks.recv() => match ack {
                Some(ack) => if say(AgentMessage::Ack(ack)).await.is_err() { return Ended::Closed },
                None => break,
            },
            permit = ends.updates.reserve(), if room.is_none() => match permit {
                Ok(permit) => room = Some(permit),
                Err(_) => return Ended::Finished,
            },
            message = inbound.message(), if room.is_some() => match message {
                Ok(Some(update)) => if let Some(update) = ends.keep(update)
                    && let Some(permit) = room.take()
                {
                    permit.send(Received { update, at: Instant::now(), stream: ends.streams });
                },
                Ok(None) => return Ended::Closed,
                Err(status) => return Ended::Broken(status),
            },
            Some(question) = ends.questions.recv() => {
                if say(AgentMessage::Flows(question)).await.is_err() {
                    return Ended::Closed;
                }
            }
            Ok(()) = ends.full_needed.changed() => return Ended::FullNeeded,
            Some(drops) = ends.drops.recv() => {
                if say(AgentMessage::Drops(drops)).await.is_err() {
                    return Ended::Closed;
                }
            }
            sandboxes = SandboxFeed::again(&mut ends.sandboxes) => {
                if say(sandboxes).await.is_err() {
                    return Ended::Closed;
                }
            }
            Ok(()) = ends.facts.changed() => {
                let facts = ends.facts.borrow_and_update().clone();
                if let Some(facts) = facts && say(AgentMessage::Facts(facts)).await.is_err() {
                    return Ended::Closed;
                }
            }
        }
    }
    // The last ack gets out before the connection goes: the compiler answers the end of one half with that of the other.
    drop(outbound);
    let _ = timeout(FAREWELL, async { while let Ok(Some(_)) = inbound.message().await {} }).await;
    Ended::Finished
}
