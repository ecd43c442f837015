//! A netlink socket that receives every change to nf_tables in the network namespace of nft, as `nft monitor` does.
//!
//! It is read by this process itself, so there is no other that could die unnoticed.

use std::io;
use std::os::fd::OwnedFd;

use rustix::io::Errno;
use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::sockopt::{set_socket_recv_buffer_size, set_socket_recv_buffer_size_force};
use rustix::net::{RecvFlags, SendFlags, bind, getsockname, recv, send};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use crate::child::Program;
use crate::event::question;
use crate::generations::{Generations, Observation};
use crate::handover::{self, HandOverError, Peer};

/// `NFNLGRP_NFTABLES`, as one of the groups that an address names.
const GROUP: u32 = 1 << 6;
/// No datagram is longer: the kernel fills half a page, or 8 KiB where pages are larger.
const DATAGRAM: usize = 16 << 10;
/// What may wait to be heard, in the kernel's account; it doubles this. It takes memory only while something waits: the
/// news of 100,000 elements are 9 MB.
const WAITING: usize = 16 << 20;

/// Why changes cannot be listened for.
#[derive(Debug, thiserror::Error)]
pub enum MonitorError {
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

impl From<Errno> for MonitorError {
    fn from(error: Errno) -> Self {
        Self::Io(error.into())
    }
}

/// A subscribed socket, and the generations that were heard on it.
#[derive(Debug)]
pub struct NftMonitor {
    socket: AsyncFd<OwnedFd>,
    generations: Generations,
    port: u32,
    buffer: Box<[u8]>,
}

impl NftMonitor {
    /// Listens where `nft` works.
    ///
    /// # Errors
    /// When this process may not, or cannot get there.
    pub async fn open(nft: &Program) -> Result<Self, MonitorError> {
        let socket = handover::open(nft, Peer::Netfilter).await?;
        if set_socket_recv_buffer_size_force(&socket, WAITING).is_err() {
            // As much as anybody may have: what does not fit is noticed.
            set_socket_recv_buffer_size(&socket, WAITING)?;
        }
        // To join the group is to bind again, which has to name the port that the socket has.
        let port = SocketAddrNetlink::try_from(getsockname(&socket)?)?.pid();
        bind(&socket, &SocketAddrNetlink::new(port, GROUP))?;
        Self::on(socket)
    }

    fn on(socket: OwnedFd) -> Result<Self, MonitorError> {
        let port = SocketAddrNetlink::try_from(getsockname(&socket)?)?.pid();
        let (generations, buffer) = (Generations::new(port), vec![0; DATAGRAM].into_boxed_slice());
        #[expect(
            deprecated,
            reason = "its successor is unsafe, for what is no owned descriptor; this one is"
        )]
        let socket = AsyncFd::with_interest(socket, Interest::READABLE)?;
        let mut monitor = Self { socket, generations, port, buffer };
        // Nothing is known at first, so this asks the kernel for its generation.
        monitor.look(0)?;
        if monitor.generations.has_begun() { Ok(monitor) } else { Err(MonitorError::Mute) }
    }

    /// Until there may be something to hear, which [`NftMonitor::look`] is then to do.
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
    pub fn look(&mut self, own: u32) -> io::Result<Observation> {
        self.drain()?;
        if self.generations.is_torn() {
            send(&self.socket, &question(), SendFlags::DONTWAIT)?;
            self.drain()?;
        }
        Ok(self.generations.settle(own))
    }

    /// Hears nothing until [`NftMonitor::listen`]. What happens meanwhile is known by number only.
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
        self.generations.missed();
        Ok(())
    }

    fn drain(&mut self) -> io::Result<()> {
        loop {
            // With `TRUNC` the kernel says how long a datagram was, by which one that was cut is noticed.
            match recv(&self.socket, &mut *self.buffer, RecvFlags::DONTWAIT | RecvFlags::TRUNC) {
                Ok((kept, length)) => {
                    self.generations.hear(&self.buffer[..kept]);
                    if length > kept {
                        self.generations.missed();
                    }
                }
                Err(Errno::AGAIN) => return Ok(()),
                // The kernel says once that messages did not fit. What waits can still be read.
                Err(Errno::NOBUFS) => self.generations.missed(),
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}
