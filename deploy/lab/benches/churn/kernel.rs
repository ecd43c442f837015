//! What the kernel says of its tables: elements that come and go, at the time when their transaction is committed.

use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use flock_lab::Node;
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recv, setsockopt, socket,
    sockopt,
};

/// The netlink group of nftables (`NFNLGRP_NFTABLES`), as a bit.
const GROUP: u32 = 1 << (7 - 1);
/// The types of messages about elements: nftables' subsystem and `NFT_MSG_NEWSETELEM`, `NFT_MSG_DELSETELEM`.
const ADDED: u16 = (10 << 8) | 12;
const DELETED: u16 = (10 << 8) | 14;
/// The header of a netlink message.
const HEADER: usize = 16;

/// What is waited for: an address in an element.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Sign {
    Added(Ipv4Addr),
    Deleted(Ipv4Addr),
}

/// Listens to the kernel's messages about one node's tables.
#[derive(Debug, Clone)]
pub(crate) struct Kernel(Arc<Mutex<Waiting>>);

#[derive(Debug, Default)]
struct Waiting {
    since: HashMap<Sign, Instant>,
    seen: HashMap<Sign, Duration>,
    lost: Option<nix::Error>,
}

impl Kernel {
    pub(crate) fn listen(node: &Node) -> anyhow::Result<Self> {
        let open = || -> anyhow::Result<OwnedFd> {
            let kind = (AddressFamily::Netlink, SockType::Raw, SockProtocol::NetlinkNetFilter);
            let socket = socket(kind.0, kind.1, SockFlag::SOCK_CLOEXEC, kind.2)?;
            // More than a full script's worth of messages.
            setsockopt(&socket, sockopt::RcvBufForce, &(32 << 20))?;
            bind(socket.as_raw_fd(), &NetlinkAddr::new(0, GROUP))?;
            Ok(socket)
        };
        let socket = node.enter(open)?.context("cannot listen to nftables' messages")?;
        let kernel = Self(Arc::default());
        let listener = kernel.clone();
        std::thread::spawn(move || {
            let mut buffer = vec![0; 1 << 20];
            loop {
                match recv(socket.as_raw_fd(), &mut buffer, MsgFlags::empty()) {
                    Ok(length) => {
                        let now = Instant::now();
                        listener.read(buffer.get(..length).unwrap_or_default(), now);
                    }
                    Err(nix::Error::EINTR) => {}
                    Err(error) => {
                        listener.waiting().lost = Some(error);
                        return;
                    }
                }
            }
        });
        Ok(kernel)
    }

    /// Waits for a sign of what is done now.
    pub(crate) fn expect(&self, sign: Sign) {
        self.waiting().since.insert(sign, Instant::now());
    }

    /// How many signs have not come yet.
    pub(crate) fn outstanding(&self) -> anyhow::Result<usize> {
        let waiting = self.waiting();
        match waiting.lost {
            Some(error) => Err(error).context("lost the kernel's messages"),
            None => Ok(waiting.since.len()),
        }
    }

    /// How long a sign took to come, if it came.
    pub(crate) fn took(&self, sign: Sign) -> Option<Duration> {
        self.waiting().seen.get(&sign).copied()
    }

    fn waiting(&self) -> std::sync::MutexGuard<'_, Waiting> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads messages: length, type, and a payload in which keys stand aligned to four bytes.
    fn read(&self, mut messages: &[u8], now: Instant) {
        let mut waiting = self.waiting();
        while let Some((header, _)) = messages.split_first_chunk::<HEADER>() {
            let [a, b, c, d, e, f, ..] = *header;
            let length = usize::try_from(u32::from_ne_bytes([a, b, c, d])).unwrap_or(usize::MAX);
            let sign: Option<fn(Ipv4Addr) -> Sign> = match u16::from_ne_bytes([e, f]) {
                ADDED => Some(Sign::Added),
                DELETED => Some(Sign::Deleted),
                _ => None,
            };
            let payload = messages.get(HEADER..length).unwrap_or_default();
            for word in sign.iter().flat_map(|_| payload.as_chunks::<4>().0) {
                let Some(sign) = sign.map(|sign| sign(Ipv4Addr::from(*word))) else { continue };
                if let Some(since) = waiting.since.remove(&sign) {
                    waiting.seen.insert(sign, now - since);
                }
            }
            messages = messages.get(length.max(HEADER).next_multiple_of(4)..).unwrap_or_default();
        }
    }
}
