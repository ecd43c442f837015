//! A connection that knows who its peer is and how far it has read, and can be closed from elsewhere.
//!
//! HTTP/2 takes whole messages into its buffers and tells nobody when they are out. What is written to the socket does.

use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use futures::task::AtomicWaker;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::{MutexGuard as MutexGuardAsync, OwnedSemaphorePermit};
use tokio::time::Instant;
use tonic::transport::server::Connected;

use crate::listen::{Arrival, Stranger};

/// Every open connection.
#[derive(Debug, Clone, Default)]
pub(super) struct Links(Arc<Mutex<Registry>>);

#[derive(Debug, Default)]
struct Registry {
    links: BTreeMap<u64, Link>,
    next: u64,
}

impl Links {
    /// Wraps a connection; it is known until it is dropped.
    pub(super) fn wrap<T>(&self, arrival: Arrival<T>) -> Connection<T> {
        let Arrival { io, peer, stranger } = arrival;
        let link = Link::new(peer, stranger);
        let mut registry = self.lock();
        let number = registry.next;
        registry.next += 1;
        registry.links.insert(number, link.clone());
        Connection { io, link, links: self.clone(), number }
    }

    /// The open connections by number; a number is never used again.
    pub(super) fn open(&self) -> BTreeMap<u64, Link> {
        self.lock().links.clone()
    }

    fn lock(&self) -> MutexGuard<'_, Registry> {
        // Nothing panics while it is held.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One connection, for those who write to it through HTTP/2.
#[derive(Debug, Clone)]
pub(super) struct Link(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    peer: Option<IpAddr>,
    /// Until its peer has shown who it is: since when, and its place among the strangers.
    stranger: Mutex<Option<(Instant, Option<Stranger>)>>,
    /// Taken by a stranger whose token is looked at: one at a time.
    showing: tokio::sync::Mutex<Showing>,
    /// Bytes that the socket has taken.
    written: AtomicU64,
    /// What `written` comes to once all messages are out.
    owed: AtomicU64,
    /// Messages that HTTP/2 has not taken, for want of window.
    held: AtomicUsize,
    /// Permits that are given back when so much has been written.
    permits: Mutex<Vec<Permit>>,
    closed: AtomicBool,
    /// The task that drives the connection.
    driver: AtomicWaker,
}

/// A permit that is given back when so much has been written.
#[derive(Debug)]
struct Permit {
    until: u64,
    since: Instant,
    _permit: OwnedSemaphorePermit,
}

/// What came of the tokens that a stranger has shown.
#[derive(Debug, Default)]
pub(super) struct Showing {
    /// One was refused: no other is looked at.
    pub(super) refused: bool,
}

impl Link {
    fn new(peer: Option<IpAddr>, stranger: Option<Stranger>) -> Self {
        let stranger = stranger.map(|stranger| (stranger.since(), Some(stranger)));
        Self(Arc::new(Shared {
            peer,
            stranger: Mutex::new(stranger),
            showing: tokio::sync::Mutex::default(),
            written: AtomicU64::default(),
            owed: AtomicU64::default(),
            held: AtomicUsize::default(),
            permits: Mutex::default(),
            closed: AtomicBool::default(),
            driver: AtomicWaker::default(),
        }))
    }

    /// Whose connection it is, if it has an address.
    pub(super) fn peer(&self) -> Option<IpAddr> {
        self.0.peer
    }

    /// The peer has shown who it is.
    pub(super) fn introduce(&self) {
        *self.0.stranger() = None;
    }

    /// What the peer had shown is good no more: it has to show something else soon.
    pub(super) fn estrange(&self) {
        self.0.stranger().get_or_insert_with(|| (Instant::now(), None));
    }

    /// Since when its peer has owed it to show who it is; `None` if it has, or need not.
    pub(super) fn stranger_since(&self) -> Option<Instant> {
        self.0.stranger().as_ref().map(|(since, _)| *since)
    }

    /// Whether it has to make room for another stranger of its address.
    pub(super) fn is_evicted(&self) -> bool {
        self.0.stranger().as_ref().is_some_and(|(_, place)| place.as_ref().is_some_and(Stranger::is_evicted))
    }

    /// Waits for the turn to show a token, if the peer is a stranger.
    pub(super) async fn show(&self) -> Option<MutexGuardAsync<'_, Showing>> {
        match self.stranger_since() {
            Some(_) => Some(self.0.showing.lock().await),
            None => None,
        }
    }

    /// Since when the oldest permit has been kept.
    pub(super) fn oldest_permit(&self) -> Option<Instant> {
        self.0.permits().iter().map(|permit| permit.since).min()
    }

    /// A message of so many bytes is on its way; the permit is given back when it has been written.
    pub(super) fn owe(&self, bytes: u64, permit: Option<OwnedSemaphorePermit>) {
        let shared = &self.0;
        let mut permits = shared.permits();
        let from = shared.owed.load(Ordering::Relaxed).max(shared.written.load(Ordering::Relaxed));
        shared.owed.store(from + bytes, Ordering::Relaxed);
        let since = Instant::now();
        permits.extend(permit.map(|permit| Permit { until: from + bytes, since, _permit: permit }));
    }

    /// HTTP/2 has been handed a message; it has taken it once this is dropped.
    pub(super) fn hold(&self) -> Held {
        self.0.held.fetch_add(1, Ordering::Relaxed);
        Held(self.clone())
    }

    /// Bytes that the socket has taken so far.
    pub(super) fn written(&self) -> u64 {
        self.0.written.load(Ordering::Relaxed)
    }

    /// Whether a message is not out yet.
    pub(super) fn is_behind(&self) -> bool {
        self.0.held.load(Ordering::Relaxed) > 0 || self.written() < self.0.owed.load(Ordering::Relaxed)
    }

    /// Ends the connection and all of its streams.
    pub(super) fn close(&self) {
        self.0.closed.store(true, Ordering::Release);
        self.0.driver.wake();
    }
}

impl Shared {
    fn stranger(&self) -> MutexGuard<'_, Option<(Instant, Option<Stranger>)>> {
        // Nothing panics while it is held.
        self.stranger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn permits(&self) -> MutexGuard<'_, Vec<Permit>> {
        // Nothing panics while it is held.
        self.permits.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wrote(&self, bytes: usize) {
        let before = self.written.fetch_add(bytes as u64, Ordering::Relaxed);
        let written = before + bytes as u64;
        if before < self.owed.load(Ordering::Relaxed) {
            self.permits().retain(|permit| permit.until > written);
        }
    }

    fn check_open(&self, cx: &Context<'_>) -> io::Result<()> {
        self.driver.register(cx.waker());
        if self.closed.load(Ordering::Acquire) {
            return Err(io::Error::new(
                io::ErrorKind::ConnectionAborted,
                "the connection was closed by a limit",
            ));
        }
        Ok(())
    }
}

/// See [`Link::hold`].
#[derive(Debug)]
pub(super) struct Held(Link);

impl Drop for Held {
    fn drop(&mut self) {
        self.0.0.held.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The connection itself.
#[derive(Debug)]
pub(super) struct Connection<T> {
    io: T,
    link: Link,
    links: Links,
    number: u64,
}

impl<T> Drop for Connection<T> {
    fn drop(&mut self) {
        self.links.lock().links.remove(&self.number);
        // Whoever still holds the link holds no permit of it.
        self.link.0.permits().clear();
        self.link.introduce();
    }
}

impl<T> Connected for Connection<T> {
    type ConnectInfo = Link;

    fn connect_info(&self) -> Link {
        self.link.clone()
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Connection<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.link.0.check_open(cx)?;
        Pin::new(&mut self.io).poll_read(cx, buffer)
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Connection<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.link.0.check_open(cx)?;
        let polled = Pin::new(&mut self.io).poll_write(cx, bytes);
        if let Poll::Ready(Ok(written)) = polled {
            self.link.0.wrote(written);
        }
        polled
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.link.0.check_open(cx)?;
        let polled = Pin::new(&mut self.io).poll_write_vectored(cx, slices);
        if let Poll::Ready(Ok(written)) = polled {
            self.link.0.wrote(written);
        }
        polled
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}
