//! A simulated agent: one connection, one stream, every script verified and every update acknowledged, no nft.
//!
//! It speaks gRPC on `h2` itself, in one task: 5,000 of them share two cores with the compiler that is measured.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use anyhow::{Context as _, bail};
use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use flock_compiler_core::nft::read::GRAMMAR;
use flock_proto::{Ack, AgentMessage, Hello, Outcome, Position, Update, UpdateKind, v1};
use flock_shared::backoff::Backoff;
use flock_shared::{NodeName, Revision, Superseded};
use h2::Ping;
use prost::Message as _;
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::mpsc;

use crate::clock;
use crate::secured::Tls;

/// How an agent behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Manner {
    /// Answers every update.
    Answers,
    /// Says hello and then neither reads nor writes.
    Stalls,
}

/// How an agent that hears nothing finds out whether the compiler is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Keepalive {
    /// It does not.
    Never,
    /// Its kernel asks the compiler's, as that of a real agent does (flock-shared, `dial/reach.rs`).
    Kernel,
    /// It sends an HTTP/2 ping as often.
    Ping,
}

/// How often it is asked.
const IDLE: Duration = Duration::from_secs(1);

/// How long an agent that stalls may take to say hello.
const HELLO: Duration = Duration::from_millis(500);

/// What reached an agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Full,
    Delta,
    Current,
}

/// An update that an agent has verified.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Verified {
    /// Which agent, in the order of their start.
    pub(crate) agent: usize,
    /// When.
    pub(crate) at: Duration,
    pub(crate) kind: Kind,
}

/// One agent.
pub(crate) struct Agent {
    pub(crate) number: usize,
    pub(crate) node: NodeName,
    /// Its own: a compiler has few places for those of one address who have not shown yet who they are.
    pub(crate) address: Ipv4Addr,
    pub(crate) compiler: SocketAddr,
    pub(crate) manner: Manner,
    pub(crate) keepalive: Keepalive,
    /// How it speaks TLS, and the token that it shows then.
    pub(crate) secured: Option<(Tls, String)>,
    /// Bytes of the newest connection, both ways.
    pub(crate) bytes: Arc<AtomicU64>,
    pub(crate) news: mpsc::UnboundedSender<Verified>,
}

/// What an agent remembers.
#[derive(Default)]
struct Applied {
    revision: Option<Revision>,
    superseded: Superseded,
    /// Returns true if the stream came to something.
    is_served: bool,
}

impl Agent {
    /// One stream after the other, with the pauses of a real agent.
    pub(crate) async fn run(self) {
        let mut backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(30));
        let mut applied = Applied::default();
        loop {
            // Why a stream ended does not matter: the bench counts what arrives.
            let _ = self.stream(&mut applied).await;
            let was_served = std::mem::take(&mut applied.is_served);
            let pause = if was_served { backoff.soon() } else { backoff.pause() };
            tokio::time::sleep(pause).await;
        }
    }

    async fn stream(&self, applied: &mut Applied) -> anyhow::Result<()> {
        let socket = TcpSocket::new_v4()?;
        socket.set_nodelay(true)?;
        socket.bind(SocketAddr::from((self.address, 0)))?;
        if self.keepalive == Keepalive::Kernel {
            let again = Duration::from_secs(1);
            let asking = TcpKeepalive::new().with_time(IDLE).with_interval(again).with_retries(3);
            SockRef::from(&socket).set_tcp_keepalive(&asking)?;
        }
        let socket = socket.connect(self.compiler).await?;
        self.bytes.store(0, Ordering::Relaxed);
        let socket = Counted { socket, bytes: Arc::clone(&self.bytes) };
        match &self.secured {
            None => self.speak(socket, applied).await,
            Some((tls, _)) => {
                let secured = tls.connector.connect(tls.name.clone(), socket).await?;
                self.speak(secured, applied).await
            }
        }
    }

    async fn speak(
        &self,
        io: impl AsyncRead + AsyncWrite + Unpin,
        applied: &mut Applied,
    ) -> anyhow::Result<()> {
        let (sender, mut connection) = h2::client::handshake(io).await?;
        let pings = connection.ping_pong();
        let pinging = async {
            match pings.filter(|_| self.keepalive == Keepalive::Ping) {
                Some(mut pings) => loop {
                    tokio::time::sleep(IDLE).await;
                    if pings.ping(Ping::opaque()).await.is_err() {
                        return;
                    }
                },
                None => std::future::pending().await,
            }
        };
        tokio::pin!(connection);
        let hello_is_out = async {
            match self.manner {
                Manner::Answers => std::future::pending().await,
                Manner::Stalls => tokio::time::sleep(HELLO).await,
            }
        };
        tokio::select! {
            ended = &mut connection => return Ok(ended?),
            ended = self.talk(sender, applied) => return ended,
            () = pinging => return Ok(()),
            () = hello_is_out => {}
        }
        // The connection stays open and nobody reads it.
        std::future::pending().await
    }

    async fn talk(
        &self,
        sender: h2::client::SendRequest<Bytes>,
        applied: &mut Applied,
    ) -> anyhow::Result<()> {
        let scheme = if self.secured.is_some() { "https" } else { "http" };
        let uri = format!("{scheme}://{}/flock.netpol.v1.NodeService/Subscribe", self.compiler);
        let mut request = http::Request::post(uri)
            .header("te", "trailers")
            .header("content-type", "application/grpc")
            .header("user-agent", "tonic/0.14");
        if let Some((_, token)) = &self.secured {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        let request = request.body(())?;
        let (response, mut out) = sender.ready().await?.send_request(request, false)?;
        let hello = Hello {
            node: self.node.clone(),
            agent_version: env!("CARGO_PKG_VERSION").to_owned(),
            nft_version: "nftables v1.0.6 (Lester Gooch #5)".to_owned(),
            applied: applied.revision.clone(),
            position: Position::default(),
            drifts: 0,
            superseded: applied.superseded.clone(),
            facts: None,
            refused: Vec::new(),
            grammar: GRAMMAR,
            cni: false,
            drops: true,
        };
        out.send_data(framed(AgentMessage::Hello(hello)), false)?;
        let mut body = response.await?.into_body();
        applied.is_served = true;
        let mut buffer = BytesMut::new();
        while let Some(chunk) = body.data().await {
            let chunk = chunk?;
            body.flow_control().release_capacity(chunk.len())?;
            buffer.extend_from_slice(&chunk);
            while let Some(message) = unframed(&mut buffer)? {
                let Update { revision, kind, superseded, .. } =
                    Update::try_from(v1::Update::decode(message)?)?;
                let kind = match kind {
                    UpdateKind::Full(_) => Kind::Full,
                    UpdateKind::Delta { base, .. } if applied.revision.as_ref() == Some(&base) => Kind::Delta,
                    UpdateKind::Delta { .. } => bail!("a delta on a base that this agent does not have"),
                    UpdateKind::Current => Kind::Current,
                };
                let outcome = if kind == Kind::Current { Outcome::Unchanged } else { Outcome::Applied };
                *applied = Applied { revision: Some(revision.clone()), superseded, is_served: true };
                let took = Duration::from_millis(1);
                let ack = Ack { revision: Some(revision), outcome, error: String::new(), took, drifts: 0 };
                out.send_data(framed(AgentMessage::Ack(ack)), false)?;
                self.news.send(Verified { agent: self.number, at: clock::now(), kind })?;
            }
        }
        bail!("the compiler closed the stream")
    }
}

/// A message with gRPC's prefix: not compressed, and its length.
fn framed(message: AgentMessage) -> Bytes {
    let message = v1::AgentMessage::from(message);
    let length = message.encoded_len();
    let mut bytes = BytesMut::with_capacity(5 + length);
    bytes.put_u8(0);
    bytes.put_u32(u32::try_from(length).unwrap_or(u32::MAX));
    // The buffer grows as needed, which is all that can fail.
    let _ = message.encode(&mut bytes);
    bytes.freeze()
}

/// The next whole message of what has come so far.
fn unframed(buffer: &mut BytesMut) -> anyhow::Result<Option<Bytes>> {
    let Some((prefix, rest)) = buffer.split_first_chunk::<5>() else { return Ok(None) };
    let [compressed, length @ ..] = *prefix;
    if compressed != 0 {
        bail!("a compressed message that was not asked for");
    }
    let length = usize::try_from(u32::from_be_bytes(length)).context("a message's length")?;
    if rest.len() < length {
        return Ok(None);
    }
    buffer.advance(5);
    Ok(Some(buffer.split_to(length).freeze()))
}

/// A socket that counts.
struct Counted {
    socket: TcpStream,
    bytes: Arc<AtomicU64>,
}

impl Counted {
    fn count(&self, bytes: usize) {
        self.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }
}

impl AsyncRead for Counted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.socket).poll_read(cx, buffer);
        self.count(buffer.filled().len() - before);
        polled
    }
}

impl AsyncWrite for Counted {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.socket).poll_write(cx, bytes);
        if let Poll::Ready(Ok(written)) = polled {
            self.count(written);
        }
        polled
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.socket).poll_write_vectored(cx, slices);
        if let Poll::Ready(Ok(written)) = polled {
            self.count(written);
        }
        polled
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }
}
