//! The ear at the kernel: a netlink socket that hears every change to nf_tables in the network namespace of nft.
//!
//! Where nft is started by another program (`ip netns exec n1 nft`), that program starts this executable once in place
//! of nft. It opens the socket where nft would have been and hands it over: a socket stays in the namespace in which
//! it was opened. So nothing but this process listens, and there is no other that could die unnoticed.

use std::env::current_exe;
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::process::Stdio;
use std::time::Duration;

use rustix::cmsg_space;
use rustix::io::Errno;
use rustix::net::netlink::{NETFILTER, SocketAddrNetlink};
use rustix::net::sockopt::{set_socket_recv_buffer_size, set_socket_recv_buffer_size_force};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType, bind, getsockname, recv, recvmsg, send,
    sendmsg, socket_with, socketpair,
};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use crate::child::{ChildError, Place, Program};
use crate::ledger::{Ledger, Sight};
use crate::notice::question;

/// The one argument with which this executable is started in place of nft.
pub const HAND_OVER: &str = "--hand-over-a-socket";

/// `NFNLGRP_NFTABLES`, as one of the groups that an address names.
const GROUP: u32 = 1 << 6;
/// No datagram is longer: the kernel fills half a page, or 8 KiB where pages are larger.
const DATAGRAM: usize = 16 << 10;
/// What may wait to be heard, in the kernel's account; it doubles this. It takes memory only while something waits: the
/// news of 100,000 elements are 9 MB.
const WAITING: usize = 16 << 20;
/// How long the program that starts nft may take to start this one.
const HAND_OVER_LIMIT: Duration = Duration::from_secs(5);

/// Why there is no ear at the kernel.
#[derive(Debug, thiserror::Error)]
pub enum SentinelError {
    /// The system refuses something.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The program that starts nft did not start this executable.
    #[error("this executable could not be started in place of nft: {0}")]
    NotStarted(#[from] ChildError),
    /// What starts nft could start nothing else.
    #[error("what starts nft takes a script, or this executable has no name for it")]
    Nowhere,
    /// It ran something else, or something that handed nothing over.
    #[error("no socket was handed over in place of nft")]
    Nothing,
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
        let executable = current_exe()?;
        let socket = match nft.place_of_nft(executable.to_str().ok_or(SentinelError::Nowhere)?) {
            Place::Here => open_socket()?,
            Place::Behind(program) => handed_over(&program, HAND_OVER).await?,
            Place::Nowhere => return Err(SentinelError::Nowhere),
        };
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

/// Opens the socket where this process is.
fn open_socket() -> Result<OwnedFd, SentinelError> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, Some(NETFILTER))?;
    if set_socket_recv_buffer_size_force(&socket, WAITING).is_err() {
        // As much as anybody may have: what does not fit is noticed.
        set_socket_recv_buffer_size(&socket, WAITING)?;
    }
    bind(&socket, &SocketAddrNetlink::new(0, GROUP))?;
    Ok(socket)
}

/// The socket that `program`, in place of nft and with this argument, opens.
pub(crate) async fn handed_over(program: &Program, argument: &str) -> Result<OwnedFd, SentinelError> {
    let (ours, theirs) = socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    program.run_on(&[argument], Stdio::from(theirs), HAND_OVER_LIMIT).await?;
    let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut byte = [0];
    let flags = RecvFlags::DONTWAIT | RecvFlags::CMSG_CLOEXEC;
    recvmsg(&ours, &mut [IoSliceMut::new(&mut byte)], &mut control, flags)
        .map_err(|_| SentinelError::Nothing)?;
    let sockets = control.drain().filter_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut sockets) => sockets.next(),
        _ => None,
    });
    sockets.last().ok_or(SentinelError::Nothing)
}

/// What this executable does in place of nft: opens the socket and gives it to the agent, through standard input.
///
/// # Errors
/// When this process may not listen, or standard input is no socket.
pub fn hand_over() -> Result<(), SentinelError> {
    give(&open_socket()?)
}

/// Gives a socket to the agent, through standard input.
pub(crate) fn give(socket: &OwnedFd) -> Result<(), SentinelError> {
    let sockets = [socket.as_fd()];
    let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    control.push(SendAncillaryMessage::ScmRights(&sockets));
    sendmsg(io::stdin(), &[IoSlice::new(b"s")], &mut control, SendFlags::NOSIGNAL)?;
    Ok(())
}
