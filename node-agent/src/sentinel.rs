//! The ear at the kernel: a netlink socket that hears every change to nf_tables in the network namespace of nft.
//!
//! Nothing but this process listens, and there is no other that could die unnoticed.

use std::io;
use std::os::fd::OwnedFd;

use rustix::io::Errno;
use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::sockopt::{set_socket_recv_buffer_size, set_socket_recv_buffer_size_force};
use rustix::net::{RecvFlags, SendFlags, bind, getsockname, recv, send};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use crate::child::Program;
use crate::handover::{self, HandOverError, Peer};
use crate::ledger::{Ledger, Sight};
use crate::notice::question;

/// `NFNLGRP_NFTABLES`, as one of the groups that an address names.
const GROUP: u32 = 1 << 6;
/// No datagram is longer: the kernel fills half a page, or 8 KiB where pages are larger.
const DATAGRAM: usize = 16 << 10;
/// What may wait to be heard, in the kernel's account; it doubles this. It takes memory only while something waits: the
/// news of 100,000 elements are 9 MB.
const WAITING: usize = 16 << 20;

/// Why there is no ear at the kernel.
#[derive(Debug, thiserror::Error)]
pub enum SentinelError {
    /// The system refuses something.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// There is no socket where nft works.
    #[error(transparent)]
    HandOver(#[from] HandOverError),
    /// What nft does is not heard.
    #[error("what nft does is not heard: it works in another network namespace")]
    Deaf,
    /// The kernel does not say which generation there is.
    #[error("the kernel does not tell its generation of rules")]
    Mute,
}

impl From<Errno> for SentinelError {
    fn from(error: Errno) -> Self {
        Self::Io(error.into())
    }
}

/// A socket that listens, and what was heard.
#[derive(Debug)]
pub struct Sentinel {
    socket: AsyncFd<OwnedFd>,
    ledger: Ledger,
    port: u32,
    buffer: Box<[u8]>,
}

impl Sentinel {
    /// Listens where `nft` works.
    ///
    /// # Errors
    /// When this process may not, or cannot get there.
    pub async fn open(nft: &Program) -> Result<Self, SentinelError> {
        let socket = handover::open(nft, Peer::Netfilter).await?;
        if set_socket_recv_buffer_size_force(&socket, WAITING).is_err() {
            // As much as anybody may have: what does not fit is noticed.
            set_socket_recv_buffer_size(&socket, WAITING)?;
        }
        let port = SocketAddrNetlink::try_from(getsockname(&socket)?)?.pid();
        bind(&socket, &SocketAddrNetlink::new(port, GROUP))?;
        Self::on(socket)
    }

    fn on(socket: OwnedFd) -> Result<Self, SentinelError> {
        let port = SocketAddrNetlink::try_from(getsockname(&socket)?)?.pid();
        let (ledger, buffer) = (Ledger::new(port), vec![0; DATAGRAM].into_boxed_slice());
        #[expect(
            deprecated,
            reason = "its successor is unsafe, for what is no owned descriptor; this one is"
        )]
        let socket = AsyncFd::with_interest(socket, Interest::READABLE)?;
        let mut sentinel = Self { socket, ledger, port, buffer };
        sentinel.look(0)?;
        if sentinel.ledger.has_begun() { Ok(sentinel) } else { Err(SentinelError::Mute) }
    }

    /// Until there may be something to hear, which [`Sentinel::look`] is then to do.
    ///
    /// # Errors
    /// When the socket fails.
    pub async fn stirred(&self) -> io::Result<()> {
        // Cleared before it is read, so that what comes meanwhile is not slept over.
        self.socket.readable().await?.clear_ready();
        Ok(())
    }

    /// Hears all that waits. The kernel tells a transaction before nft's call returns: when nft has ended, all that it
    /// did is there.
    ///
    /// # Errors
    /// When the socket fails.
    pub fn look(&mut self, own: u32) -> io::Result<Sight> {
        self.drain()?;
        if self.ledger.is_torn() {
            send(&self.socket, &question(), SendFlags::DONTWAIT)?;
            self.drain()?;
        }
        Ok(self.ledger.settle(own))
    }

    /// Hears nothing until [`Sentinel::listen`]. What happens meanwhile is known by number only.
    ///
    /// # Errors
    /// When the socket fails.
    pub fn pause(&mut self) -> io::Result<()> {
        // What was told so far is heard, so that it is no part of what is missed.
        self.drain()?;
        Ok(bind(&self.socket, &SocketAddrNetlink::new(self.port, 0))?)
    }

    /// Listens again.
    ///
    /// # Errors
    /// When the socket fails.
    pub fn listen(&mut self) -> io::Result<()> {
        bind(&self.socket, &SocketAddrNetlink::new(self.port, GROUP))?;
        self.ledger.missed();
        Ok(())
    }

    fn drain(&mut self) -> io::Result<()> {
        loop {
            match recv(&self.socket, &mut *self.buffer, RecvFlags::DONTWAIT | RecvFlags::TRUNC) {
                Ok((kept, length)) => {
                    self.ledger.hear(&self.buffer[..kept]);
                    if length > kept {
                        self.ledger.missed();
                    }
                }
                Err(Errno::AGAIN) => return Ok(()),
                Err(Errno::NOBUFS) => self.ledger.missed(),
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}
