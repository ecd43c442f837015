//! The socket's side of a connection: counts what is written, and ends when its handle says so.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tonic::transport::server::Connected;

use super::handle::ConnectionHandle;
use super::registry::Connections;
use crate::listen::{ConnectionPermit, Incoming};

/// A connection as HTTP/2 reads and writes it.
#[derive(Debug)]
pub(in crate::service) struct Connection<T> {
    io: T,
    handle: ConnectionHandle,
    connections: Connections,
    number: u64,
    _permit: Option<ConnectionPermit>,
}

impl<T> Connection<T> {
    /// A connection that has come; it is among `connections` until it is dropped.
    pub(in crate::service) fn open(incoming: Incoming<T>, connections: &Connections) -> Self {
        let Incoming { io, peer, unauthenticated, permit } = incoming;
        let handle = ConnectionHandle::new(peer, unauthenticated);
        let number = connections.insert(handle.clone());
        Self { io, handle, connections: connections.clone(), number, _permit: permit }
    }

    /// Reading and writing fail once the connection is to end: the task that drives it then drops it.
    fn check_open(&self, cx: &Context<'_>) -> io::Result<()> {
        if self.handle.is_closed(cx.waker()) {
            let message = "the connection was closed by a limit";
            return Err(io::Error::new(io::ErrorKind::ConnectionAborted, message));
        }
        Ok(())
    }

    fn wrote(&self, polled: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if let Poll::Ready(Ok(written)) = polled {
            self.handle.backlog().wrote(written);
        }
        polled
    }
}

impl<T> Drop for Connection<T> {
    fn drop(&mut self) {
        self.connections.remove(self.number);
        // Streams may hold the handle for longer; what the connection had is free at once.
        self.handle.backlog().ended();
        self.handle.authentication().ended();
    }
}

impl<T> Connected for Connection<T> {
    type ConnectInfo = ConnectionHandle;

    fn connect_info(&self) -> ConnectionHandle {
        self.handle.clone()
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Connection<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.check_open(cx)?;
        Pin::new(&mut self.io).poll_read(cx, buffer)
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Connection<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.check_open(cx)?;
        let polled = Pin::new(&mut self.io).poll_write(cx, bytes);
        self.wrote(polled)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.check_open(cx)?;
        let polled = Pin::new(&mut self.io).poll_write_vectored(cx, slices);
        self.wrote(polled)
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
