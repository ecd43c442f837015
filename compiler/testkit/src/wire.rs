//! The way of bytes to the client: chunks as [`Delivery`] says, and connections that end in the middle of one.

use std::future::pending;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use futures::stream::{self, BoxStream, StreamExt};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use crate::faults::{Cut, Delivery, Faults};
use crate::message::Message;
use crate::watch::{self, Stream};

/// Bytes of a chunk that still get through once its connection is to be cut.
const BEFORE_THE_CUT: usize = 20;

/// Cuts a connection.
#[derive(Debug)]
pub(crate) struct Scissors {
    /// Bytes that may still pass; `usize::MAX`: any number.
    left: AtomicUsize,
    reset: AtomicBool,
}

impl Scissors {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self { left: AtomicUsize::new(usize::MAX), reset: AtomicBool::new(false) })
    }

    fn cut(&self, cut: Cut) {
        self.reset.store(cut == Cut::Reset, Ordering::SeqCst);
        self.left.store(BEFORE_THE_CUT, Ordering::SeqCst);
    }
}

/// A connection that [`Scissors`] can cut.
#[derive(Debug)]
pub(crate) struct Line {
    tcp: TcpStream,
    scissors: Arc<Scissors>,
}

impl Line {
    pub(crate) fn new(tcp: TcpStream, scissors: Arc<Scissors>) -> Self {
        Self { tcp, scissors }
    }
}

impl AsyncRead for Line {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_read(cx, buf)
    }
}

impl AsyncWrite for Line {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let left = self.scissors.left.load(Ordering::SeqCst);
        if left == 0 {
            if self.scissors.reset.load(Ordering::SeqCst) {
                self.tcp.set_zero_linger()?;
            }
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        let allowed = bytes.get(..left).unwrap_or(bytes);
        let written = Pin::new(&mut self.tcp).poll_write(cx, allowed);
        if let (Poll::Ready(Ok(written)), true) = (&written, left != usize::MAX) {
            self.scissors.left.store(left - written, Ordering::SeqCst);
        }
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_shutdown(cx)
    }
}

/// A body of one piece of bytes.
pub(crate) fn body(bytes: Bytes, faults: Arc<Faults>) -> BoxStream<'static, Bytes> {
    deliver(stream::once(async { bytes }).boxed(), faults)
}

/// The body of a watch.
pub(crate) fn events(
    stream: Stream,
    faults: Arc<Faults>,
    scissors: Arc<Scissors>,
) -> BoxStream<'static, Bytes> {
    let start = tokio::time::Instant::now();
    let deadline = start + stream.timeout;
    let mark_at = stream.last_bookmark().map(|after| start + after);
    let state = (stream, Arc::clone(&faults), scissors, mark_at);
    let lines = stream::unfold(state, move |(mut stream, faults, scissors, mut mark_at)| async move {
        let line = loop {
            let next = mark_at.unwrap_or(deadline);
            let Ok(message) = tokio::time::timeout_at(next, stream.messages.recv()).await else {
                mark_at.take()?;
                let news = stream.news();
                // What led there is told first.
                if !stream.messages.is_empty() {
                    mark_at = Some(next);
                    continue;
                }
                match news {
                    Some(version) => break watch::bookmark(stream.kind, version),
                    None => continue,
                }
            };
            // Without a sender the server is gone, and so is the connection in a moment.
            let Some(message) = message else { pending().await };
            match message {
                Message::Event(event, object) => {
                    let line = watch::event(event, &object);
                    break if faults.take_corruption(stream.kind) { watch::corrupt(&line) } else { line };
                }
                Message::Bookmark(version) => break watch::bookmark(stream.kind, version),
                Message::Raw(line) => break Bytes::from(line),
                Message::End => return None,
                Message::Cut(cut) => {
                    // Until it has to wait for a chunk, hyper does not write those it has.
                    tokio::task::yield_now().await;
                    scissors.cut(cut);
                }
            }
        };
        Some((line, (stream, faults, scissors, mark_at)))
    });
    deliver(lines.boxed(), faults)
}

/// Sends each line as [`Delivery`] says at its time.
fn deliver(lines: BoxStream<'static, Bytes>, faults: Arc<Faults>) -> BoxStream<'static, Bytes> {
    let state = (lines, Bytes::new(), faults);
    let chunks = stream::unfold(state, |(mut lines, mut rest, faults)| async move {
        if rest.is_empty() {
            rest = lines.next().await?;
        }
        let chunk = match faults.delivery().await {
            Delivery::Whole | Delivery::Held => std::mem::take(&mut rest),
            Delivery::Pieces { size, pause } => {
                if !pause.is_zero() {
                    tokio::time::sleep(pause).await;
                }
                rest.split_to(size.clamp(1, rest.len()))
            }
        };
        Some((chunk, (lines, rest, faults)))
    });
    chunks.boxed()
}
