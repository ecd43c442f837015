//! What requests, the socket's side and the watchdog share of a connection.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Waker;

use futures::task::AtomicWaker;
use http::Extensions;
use tokio::sync::OwnedSemaphorePermit;
use tonic::Status;

use super::authentication::Authentication;
use super::backlog::Backlog;
use crate::access::{Denied, Grant};
use crate::listen::Unauthenticated;

/// What the requests on a connection, and whoever may end it, have of it.
#[derive(Debug, Clone)]
pub(in crate::service) struct ConnectionHandle(Arc<ConnectionState>);

#[derive(Debug)]
struct ConnectionState {
    peer: Option<IpAddr>,
    authentication: Authentication,
    backlog: Backlog,
    closed: AtomicBool,
    /// The task that drives the connection.
    driver: AtomicWaker,
}

impl ConnectionHandle {
    pub(super) fn new(peer: Option<IpAddr>, unauthenticated: Option<Unauthenticated>) -> Self {
        Self(Arc::new(ConnectionState {
            peer,
            authentication: Authentication::new(unauthenticated),
            backlog: Backlog::default(),
            closed: AtomicBool::default(),
            driver: AtomicWaker::default(),
        }))
    }

    /// The connection that a request came on.
    pub(in crate::service) fn of(extensions: &Extensions) -> Result<Self, Status> {
        extensions.get::<Self>().cloned().ok_or_else(|| Status::internal("a request without a connection"))
    }

    /// Whose connection it is, if it has an address.
    pub(in crate::service) fn peer(&self) -> Option<IpAddr> {
        self.0.peer
    }

    /// Lets a caller in by what its request shows: what `admitting` comes to.
    pub(in crate::service) async fn admit(
        &self,
        admitting: impl Future<Output = Result<Grant, Denied>>,
    ) -> Result<Grant, Status> {
        self.0.authentication.admit(admitting).await
    }

    /// The peer has shown who it is.
    pub(in crate::service) fn authenticated(&self) {
        self.0.authentication.done();
    }

    /// What the peer had shown is good no more: it has to show something else soon.
    pub(in crate::service) fn deauthenticated(&self) {
        self.0.authentication.revoked();
    }

    /// A message of so many bytes is on its way; the permit is given back when it has been written.
    pub(in crate::service) fn owe(&self, bytes: u64, permit: Option<OwnedSemaphorePermit>) {
        self.0.backlog.owe(bytes, permit);
    }

    /// HTTP/2 has been handed a message; it has taken it once this is dropped.
    pub(in crate::service) fn hold(&self) -> HeldMessage {
        self.0.backlog.hold();
        HeldMessage(self.clone())
    }

    pub(super) fn authentication(&self) -> &Authentication {
        &self.0.authentication
    }

    pub(super) fn backlog(&self) -> &Backlog {
        &self.0.backlog
    }

    /// Ends the connection and all of its streams.
    pub(super) fn close(&self) {
        self.0.closed.store(true, Ordering::Release);
        self.0.driver.wake();
    }

    /// Returns true if the connection is to end; has the task woken once it is.
    pub(super) fn is_closed(&self, waker: &Waker) -> bool {
        // Registered before it is looked: what happens in between wakes the task once more.
        self.0.driver.register(waker);
        self.0.closed.load(Ordering::Acquire) || self.0.authentication.is_evicted(waker)
    }
}

/// A message that HTTP/2 has not taken yet; see [`ConnectionHandle::hold`].
#[derive(Debug)]
pub(in crate::service) struct HeldMessage(ConnectionHandle);

impl Drop for HeldMessage {
    fn drop(&mut self) {
        self.0.0.backlog.release();
    }
}
