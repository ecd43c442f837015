//! Netlink sockets in the network namespace of nft.
//!
//! Where nft is started by another program (`ip netns exec n1 nft`), that program starts this executable once in place
//! of nft. It opens the socket where nft would have been and hands it over: a socket stays in the namespace in which
//! it was opened.

use std::env::current_exe;
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::process::Stdio;
use std::time::Duration;

use rustix::cmsg_space;
use rustix::io::Errno;
use rustix::net::netlink::{NETFILTER, SocketAddrNetlink};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType, bind, recvmsg, sendmsg, socket_with,
    socketpair,
};

use crate::child::{ChildError, Place, Program};

/// The first argument with which this executable is started in place of nft; which socket is the second.
pub const HAND_OVER: &str = "--hand-over-a-socket";

/// How long the program that starts nft may take to start this one.
const LIMIT: Duration = Duration::from_secs(5);

/// Whom a socket talks to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Peer {
    /// Netfilter: changes of nf_tables are heard once it is bound to their group; connection tracking is asked.
    Netfilter,
    /// Addresses and routes.
    Route,
}

/// Why nothing was handed over from where nft works.
#[derive(Debug, thiserror::Error)]
pub enum HandOverError {
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
}

impl From<Errno> for HandOverError {
    fn from(error: Errno) -> Self {
        Self::Io(error.into())
    }
}

impl Peer {
    const fn word(self) -> &'static str {
        match self {
            Self::Netfilter => "netfilter",
            Self::Route => "route",
        }
    }

    fn socket(self) -> io::Result<OwnedFd> {
        let protocol = match self {
            Self::Netfilter => Some(NETFILTER),
            // The first of all.
            Self::Route => None,
        };
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, protocol)?;
        // The kernel chooses the port, by which answers are told from news.
        bind(&socket, &SocketAddrNetlink::new(0, 0))?;
        Ok(socket)
    }
}

/// A socket where `nft` works, bound, in no group.
///
/// # Errors
/// When this process may not, or cannot get there.
pub async fn open(nft: &Program, peer: Peer) -> Result<OwnedFd, HandOverError> {
    match in_place_of(nft)? {
        None => Ok(peer.socket()?),
        Some(program) => handed_over(&program, peer).await,
    }
}

/// What runs this executable where `nft` works; `None`: that is here.
///
/// # Errors
/// When what starts nft starts nothing else.
pub fn in_place_of(nft: &Program) -> Result<Option<Program>, HandOverError> {
    let executable = current_exe()?;
    match nft.place_of_nft(executable.to_str().ok_or(HandOverError::Nowhere)?) {
        Place::Here => Ok(None),
        Place::Behind(program) => Ok(Some(program)),
        Place::Nowhere => Err(HandOverError::Nowhere),
    }
}

/// The socket that `program`, in place of nft, opens.
async fn handed_over(program: &Program, peer: Peer) -> Result<OwnedFd, HandOverError> {
    let (ours, theirs) = socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    program.run_on(&[HAND_OVER, peer.word()], Stdio::from(theirs), LIMIT).await?;
    let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut byte = [0];
    // The other process has ended: what it has handed over is there, or will never be.
    let flags = RecvFlags::DONTWAIT | RecvFlags::CMSG_CLOEXEC;
    recvmsg(&ours, &mut [IoSliceMut::new(&mut byte)], &mut control, flags)
        .map_err(|_| HandOverError::Nothing)?;
    let sockets = control.drain().filter_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut sockets) => sockets.next(),
        _ => None,
    });
    sockets.last().ok_or(HandOverError::Nothing)
}

/// What this executable does in place of nft: opens the socket that a word asks for and gives it to the agent, through
/// standard input.
///
/// # Errors
/// When there is no such socket, this process may not open it, or standard input is no socket.
pub fn hand_over(word: &str) -> Result<(), HandOverError> {
    let peer = [Peer::Netfilter, Peer::Route].into_iter().find(|peer| peer.word() == word);
    let socket = peer.ok_or(HandOverError::Nothing)?.socket()?;
    let sockets = [socket.as_fd()];
    let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    control.push(SendAncillaryMessage::ScmRights(&sockets));
    sendmsg(io::stdin(), &[IoSlice::new(b"s")], &mut control, SendFlags::NOSIGNAL)?;
    Ok(())
}
