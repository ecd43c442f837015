//! Asking the kernel for what it has taken down, where nft works, and being shown packets there.

use std::io;
use std::os::fd::OwnedFd;

use flock_nft::direction::Direction;
use flock_nft::drops::SHOWN_BYTES;
use flock_nft::{ChainName, Family, SetName};
use flock_proto::{DropKey, Unlisted};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, recv, send};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::task::yield_now;

use super::tally::Reading;
use super::words::{self, Said};
use crate::child::Program;
use crate::handover::{self, HandOverError, Peer};

/// What the kernel writes at once at most.
const DATAGRAM: usize = 32 << 10;
/// What the kernel says of a table, chain or set that is not there.
const ABSENT: i32 = -2;
/// Datagrams that are heard in one go: the kernel shows a few hundred packets a second at most.
const AT_ONCE: usize = 512;

/// Why nothing could be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum DropsError {
    /// There is no socket where nft works.
    #[error(transparent)]
    HandOver(#[from] HandOverError),
    /// The system refuses something.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The kernel refuses the question, or breaks off.
    #[error("the kernel does not tell: error {0}")]
    Refused(i32),
}

impl From<Errno> for DropsError {
    fn from(error: Errno) -> Self {
        Self::Io(error.into())
    }
}

/// What a look at the table comes to.
#[derive(Debug)]
pub(super) enum ReadOutcome {
    /// There is none, or none that takes drops down.
    Absent,
    /// Nothing that the last look did not see, or nothing that could be told.
    Quiet,
    /// This.
    Read(Reading),
}

/// A socket for questions, which is opened when there is the first one.
#[derive(Debug)]
pub(super) struct KernelSocket {
    nft: Program,
    socket: Option<OwnedFd>,
    sequence: u32,
    buffer: Box<[u8]>,
}

impl KernelSocket {
    pub(super) fn new(nft: Program) -> Self {
        Self { nft, socket: None, sequence: 0, buffer: vec![0; DATAGRAM].into() }
    }

    /// What the table has. `is_quiet` says by the table's handle and its counters if nothing has come since the last
    /// reading.
    pub(super) async fn read(
        &mut self,
        is_quiet: impl Fn(u64, Unlisted) -> bool,
    ) -> Result<ReadOutcome, DropsError> {
        let read = self.reading(is_quiet).await;
        if read.is_err() {
            // What is still to be heard there would be taken for an answer to the next question.
            self.socket = None;
        }
        read
    }

    async fn reading(&mut self, is_quiet: impl Fn(u64, Unlisted) -> bool) -> Result<ReadOutcome, DropsError> {
        let Some(table) = self.table().await? else { return Ok(ReadOutcome::Absent) };
        let mut reading = Reading { table, ..Reading::default() };
        for direction in Direction::ALL {
            let dropped = match direction {
                Direction::Ingress => &mut reading.dropped.ingress,
                Direction::Egress => &mut reading.dropped.egress,
            };
            let unkept = Family::ALL.map(|family| ChainName::Unkept(direction, family));
            let portless = Family::ALL.map(|family| ChainName::Portless(direction, family));
            for chain in [ChainName::Denied(direction)].into_iter().chain(unkept).chain(portless) {
                self.ask(
                    |sequence| words::rules(&chain, sequence),
                    None,
                    |said| {
                        if let Said::Dropped(packets) = said {
                            *dropped = dropped.saturating_add(packets);
                        }
                    },
                )
                .await?;
            }
        }
        // Nothing was dropped since, so the sets, which may be large, are not read.
        if is_quiet(table, reading.dropped) {
            return Ok(ReadOutcome::Quiet);
        }
        // Behind the rules' counters: what is dropped in between counts as listed, so the rest is never too much.
        let mut is_taking_down = false;
        for direction in Direction::ALL {
            for family in Family::ALL {
                let set = SetName::Drops(direction, family);
                is_taking_down |= self
                    .ask(
                        |sequence| words::elements(&set, sequence),
                        Some((direction, family)),
                        |said| {
                            if let Said::Flow(flow) = said {
                                reading.flows.push(flow);
                            }
                        },
                    )
                    .await?;
            }
        }
        // Replaced meanwhile: what was read belongs to neither.
        if self.table().await? != Some(table) {
            return Ok(ReadOutcome::Quiet);
        }
        Ok(if is_taking_down { ReadOutcome::Read(reading) } else { ReadOutcome::Absent })
    }

    /// The table's handle; `None`: there is no table.
    async fn table(&mut self) -> Result<Option<u64>, DropsError> {
        let mut found = None;
        self.ask(words::table, None, |said| {
            if let Said::Table(handle) = said {
                found = Some(handle);
            }
        })
        .await?;
        Ok(found)
    }

    /// Asks one question, and hands on what is said. Returns true if what was asked for is there. The kernel writes a
    /// piece of its answer whenever one is read, so there is nothing to wait for.
    async fn ask(
        &mut self,
        question: impl FnOnce(u32) -> Vec<u8>,
        of: Option<(Direction, Family)>,
        mut hear: impl FnMut(Said),
    ) -> Result<bool, DropsError> {
        self.sequence = self.sequence.wrapping_add(1);
        let socket = match &self.socket {
            Some(socket) => socket,
            None => self.socket.insert(handover::open(&self.nft, Peer::Netfilter).await?),
        };
        send(socket, &question(self.sequence), SendFlags::DONTWAIT)?;
        loop {
            let length = match recv(socket, &mut *self.buffer, RecvFlags::DONTWAIT) {
                Err(Errno::INTR) => continue,
                received => received?.0,
            };
            let (mut is_over, mut refused) = (false, None);
            let piece = self.buffer.get(..length).unwrap_or_default();
            words::said(piece, self.sequence, of, |said| match said {
                Said::Done => is_over = true,
                Said::Refused(error) => refused = Some(error),
                Said::Table(_) => {
                    // This answer has one message.
                    is_over = true;
                    hear(said);
                }
                Said::Dropped(_) | Said::Flow(_) => hear(said),
            });
            match refused {
                Some(ABSENT) => return Ok(false),
                Some(error) => return Err(DropsError::Refused(error)),
                None if is_over => return Ok(true),
                // A piece takes some 0.1 ms; the agent has other things to do.
                None => yield_now().await,
            }
        }
    }

    /// Lets packets be shown for as long as what is returned lives.
    pub(super) async fn show(&self) -> Result<NflogSocket, DropsError> {
        let socket = handover::open(&self.nft, Peer::Netfilter).await?;
        let mut buffer = vec![0; DATAGRAM].into_boxed_slice();
        let bytes = u32::try_from(SHOWN_BYTES).unwrap_or_default();
        for (sequence, direction) in (1..).zip(Direction::ALL) {
            send(&socket, &words::show(direction, bytes, sequence), SendFlags::DONTWAIT)?;
            let (length, _) = recv(&socket, &mut *buffer, RecvFlags::DONTWAIT)?;
            let mut refused = None;
            words::said(buffer.get(..length).unwrap_or_default(), sequence, None, |said| {
                if let Said::Refused(error) = said {
                    refused = Some(error);
                }
            });
            if let Some(error) = refused {
                return Err(DropsError::Refused(error));
            }
        }
        #[expect(
            deprecated,
            reason = "its successor is unsafe, for what is no owned descriptor; this one is"
        )]
        let socket = AsyncFd::with_interest(socket, Interest::READABLE)?;
        Ok(NflogSocket { socket, buffer })
    }
}

/// A socket that is shown packets.
#[derive(Debug)]
pub(super) struct NflogSocket {
    socket: AsyncFd<OwnedFd>,
    buffer: Box<[u8]>,
}

impl NflogSocket {
    /// Until there is something to hear; never, where nothing is shown.
    pub(super) async fn stirred(shown: &mut Option<Self>) -> io::Result<()> {
        match shown {
            Some(shown) => {
                shown.socket.readable().await?.clear_ready();
                Ok(())
            }
            None => std::future::pending().await,
        }
    }

    /// Hears what waits.
    pub(super) fn hear(&mut self, mut show: impl FnMut(DropKey)) -> io::Result<()> {
        // Not until nothing comes any more: the agent has one thread, and floods do not end.
        for _ in 0..AT_ONCE {
            match recv(&self.socket, &mut *self.buffer, RecvFlags::DONTWAIT) {
                Ok((length, _)) => {
                    words::shown(self.buffer.get(..length).unwrap_or_default()).for_each(&mut show);
                }
                Err(Errno::AGAIN) => return Ok(()),
                // Too many at once: they are counted all the same.
                Err(Errno::NOBUFS | Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }
}
