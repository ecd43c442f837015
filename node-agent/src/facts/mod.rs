//! Facts of the node: what its network is like where it matters for what nft's rules see. They are carried to the compiler,
//! and nothing is decided by them here, but that bridges are shown to the rules where that is asked for (`--bridge-nf set`).
//!
//! They are those of the network namespace in which nft works. Where nft is started by another program, that program starts
//! this executable in place of nft, as for the monitor of nf_tables (`monitor.rs`): it looks there and hands what it found
//! over. A socket that hears of links that come and go tells when to look again; it is looked now and then in any case.

mod devices;
pub(crate) mod look;
pub(crate) mod netlink;
mod passage;
mod settings;

use std::collections::BTreeSet;
use std::fs::File;
use std::future::pending;
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::process::Stdio;
use std::time::Duration;

use clap::ValueEnum;
use flock_proto::{BridgeNf, NodeFacts, WireError, v1};
use prost::Message as _;
use rustix::fs::{MemfdFlags, memfd_create};
use rustix::io::Errno;
use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{RecvFlags, bind, getsockname, recv};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::watch;
use tokio::time::{Instant, sleep};
use tracing::{debug, info, warn};

use self::passage::{Counters, Passage};
use crate::check;
use crate::child::Program;
use crate::handover::{self, HandOverError, Peer};

/// The first argument with which this executable is started in place of nft to look there; the second is the mode.
pub const LOOK: &str = "--look-at-the-node";

/// `RTNLGRP_LINK`, `RTNLGRP_IPV4_IFADDR` and `RTNLGRP_IPV6_IFADDR`.
const GROUPS: u32 = 1 << 0 | 1 << 4 | 1 << 8;
/// How long it is waited after a change of links: a pod's start is several, and its looks may come one on the other.
const PAUSE: Duration = Duration::from_millis(300);
/// How long the program that starts nft may take to start this one.
const LOOK_LIMIT: Duration = Duration::from_secs(5);
/// What is handed over is no larger than a message of an agent.
const SIZE_LIMIT: u64 = 64 << 10;
/// What is handed over of the names of devices: those of some ten thousand.
const NAMES_LIMIT: u64 = 256 << 10;
/// The mode in which names are looked for.
const NAMES: &str = "names";
/// The mode in which it is looked for what has been counted.
const COUNTERS: &str = "counters";
/// So many intervals are a period in which it is seen whether packets come to the rules.
const PERIOD: u32 = 2;
/// After so many intervals it is looked again who else enforces: of all chains, the names are told.
const ENFORCERS: u32 = 20;

/// What is done about bridges whose frames the rules do not see.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Mode {
    /// It is told.
    Check,
    /// They are shown to the rules, where there is a bridge that pods may hang on.
    Set,
}

/// Why nothing was found.
#[derive(Debug, thiserror::Error)]
pub enum FactsError {
    /// The system refuses something.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// Nothing was handed over.
    #[error(transparent)]
    HandOver(#[from] HandOverError),
    /// Something else was handed over.
    #[error("what was handed over in place of nft is no message")]
    NoMessage(#[from] prost::DecodeError),
    /// A message of something else was handed over.
    #[error("what was handed over in place of nft are no facts: {0}")]
    NoFacts(#[from] WireError),
    /// Counters of something else were handed over.
    #[error("what was handed over in place of nft are no counters: {0}")]
    NoCounters(#[from] serde_json::Error),
}

/// Looks at the node, again and again.
#[derive(Debug)]
pub struct Observer {
    nft: Program,
    mode: Mode,
    interval: Duration,
    facts: watch::Sender<Option<NodeFacts>>,
    links: Option<AsyncFd<OwnedFd>>,
    passage: Passage,
    counted_at: Option<Instant>,
    enforcers: BTreeSet<String>,
    enforcers_at: Option<Instant>,
    /// Whether nobody was told yet that the node cannot be looked at, and somebody should be.
    is_to_complain: bool,
}

impl Observer {
    /// One that looks where `nft` works, every `interval` at least, and where to see what it found last.
    #[must_use]
    pub fn new(nft: Program, mode: Mode, interval: Duration) -> (Self, watch::Receiver<Option<NodeFacts>>) {
        let (facts, found) = watch::channel(None);
        let observer = Self {
            nft,
            mode,
            interval,
            facts,
            links: None,
            passage: Passage::default(),
            counted_at: None,
            enforcers: BTreeSet::new(),
            enforcers_at: None,
            is_to_complain: false,
        };
        (observer, found)
    }

    /// Hears of links from now on, if that can be had, and warns if the node cannot be looked at.
    pub async fn listen(&mut self) {
        self.is_to_complain = true;
        match links(&self.nft).await {
            Ok(links) => self.links = Some(links),
            Err(error) => {
                debug!(%error, "changes of links are not listened for; they are looked at now and then");
            }
        }
    }

    /// Looks once.
    pub async fn look(&mut self) {
        match look_where(&self.nft, self.mode).await {
            Ok(mut facts) => {
                self.look_further().await;
                facts.bypassed = self.passage.is_bypassed();
                facts.enforcers.clone_from(&self.enforcers);
                // Each change is a message to the compiler, so what is the same again is none.
                self.facts.send_if_modified(|known| {
                    let is_news = known.as_ref() != Some(&facts);
                    if is_news {
                        tell(known.as_ref(), &facts, self.mode);
                        *known = Some(facts);
                    }
                    is_news
                });
            }
            Err(error) if std::mem::take(&mut self.is_to_complain) => {
                let error = error.to_string();
                let error = error.lines().next().unwrap_or_default();
                warn!(error, "the node is not looked at: whether bridges are judged is not known");
            }
            Err(error) => debug!(%error, "the node is not looked at"),
        }
    }

    /// Looks at what takes more than a moment, or tells something only over time, if it is due. Where it cannot be seen, what
    /// is known stays.
    async fn look_further(&mut self) {
        let now = Instant::now();
        let is_due = |at: Option<Instant>, pause| at.is_none_or(|at| now.duration_since(at) >= pause);
        if is_due(self.counted_at, self.interval.saturating_mul(PERIOD)) {
            // Also if it fails: what cannot be read is not tried at every look.
            self.counted_at = Some(now);
            match counters(&self.nft).await {
                Ok(counters) => {
                    let before = self.passage.is_bypassed();
                    match (before, self.passage.see(counters)) {
                        (false, true) => warn!(
                            "pods talk, and the rules meet next to nothing of it: something takes it at the pods' links"
                        ),
                        (true, false) => info!("what pods send comes to the rules again"),
                        (false, false) | (true, true) => {}
                    }
                }
                Err(error) => debug!(%error, "whether packets come to the rules is not seen"),
            }
        }
        if is_due(self.enforcers_at, self.interval.saturating_mul(ENFORCERS)) {
            self.enforcers_at = Some(now);
            match check::enforcers(&self.nft).await {
                Ok(enforcers) => self.enforcers = enforcers,
                Err(error) => debug!(error, "who else enforces NetworkPolicy is not seen"),
            }
        }
    }

    /// Looks whenever links change, and now and then, until nobody wants to see what it found.
    pub async fn run(mut self) {
        let facts = self.facts.clone();
        let looking = async {
            loop {
                tokio::select! {
                    () = sleep(self.interval) => {}
                    () = stirred(self.links.as_ref()) => sleep(PAUSE).await,
                }
                // Before the look, so that what changes from here on stirs again.
                self.drain();
                self.look().await;
            }
        };
        tokio::select! {
            () = facts.closed() => {}
            () = looking => {}
        }
    }

    /// What has been told of links is seen by the look that follows.
    fn drain(&mut self) {
        let Some(links) = &self.links else { return };
        let mut buffer = [0; 4096];
        loop {
            match recv(links, &mut buffer, RecvFlags::DONTWAIT | RecvFlags::TRUNC) {
                // What did not fit is a change, too.
                Ok(_) | Err(Errno::INTR | Errno::NOBUFS) => {}
                Err(Errno::AGAIN) => return,
                Err(error) => {
                    debug!(%error, "changes of links are not listened for any more");
                    self.links = None;
                    return;
                }
            }
        }
    }
}

/// Says in the log what bridges are to the rules, when that is news.
fn tell(known: Option<&NodeFacts>, facts: &NodeFacts, mode: Mode) {
    let settings = |facts: &NodeFacts| {
        let has_ports = facts.bridges.iter().any(|bridge| !bridge.ports.is_empty());
        (has_ports, facts.bridge_nf_v4, facts.bridge_nf_v6)
    };
    if known.map(settings) == Some(settings(facts)) {
        return;
    }
    match settings(facts) {
        (false, ..) => {}
        (true, BridgeNf::On, BridgeNf::On) => info!("what bridges forward is shown to the rules"),
        (true, v4, v6) => warn!(
            iptables = ?v4, ip6tables = ?v6, ?mode,
            "what bridges forward is not shown to the rules (net.bridge.bridge-nf-call-*): pods on them are not judged"
        ),
    }
}

async fn stirred(links: Option<&AsyncFd<OwnedFd>>) {
    match links {
        // What is wrong with the socket is found when it is drained.
        Some(links) => {
            if let Ok(mut guard) = links.readable().await {
                guard.clear_ready();
            }
        }
        None => pending().await,
    }
}

/// The facts of where `nft` works.
///
/// # Errors
/// When it cannot be looked there.
pub(crate) async fn look_where(nft: &Program, mode: Mode) -> Result<NodeFacts, FactsError> {
    let argument = if mode == Mode::Set { "set" } else { "check" };
    match behind(nft, &[LOOK, argument], SIZE_LIMIT).await? {
        None => Ok(look::look(mode)?),
        Some(message) => Ok(NodeFacts::try_from(v1::NodeFacts::decode(&*message)?)?),
    }
}

/// What has been counted where `nft` works.
async fn counters(nft: &Program) -> Result<Counters, FactsError> {
    match behind(nft, &[LOOK, COUNTERS], NAMES_LIMIT).await? {
        None => Ok(look::counters()?),
        Some(json) => Ok(serde_json::from_slice(&json)?),
    }
}

/// The names of all devices of where `nft` works.
///
/// # Errors
/// When they cannot be told, or some of them came or went meanwhile, so that others may be missing.
pub async fn device_names(nft: &Program) -> Result<BTreeSet<String>, FactsError> {
    match behind(nft, &[LOOK, NAMES], NAMES_LIMIT).await? {
        None => Ok(look::names()?),
        Some(lines) => Ok(String::from_utf8_lossy(&lines).lines().map(str::to_owned).collect()),
    }
}

/// What this executable, started in place of nft with these arguments, writes to where its standard input is; `None`: it is
/// to look here.
///
/// # Errors
/// When nothing comes, or more than `limit` bytes.
pub(crate) async fn behind(
    nft: &Program,
    arguments: &[&str],
    limit: u64,
) -> Result<Option<Vec<u8>>, HandOverError> {
    let Some(program) = handover::in_place_of(nft)? else { return Ok(None) };
    let mut file = File::from(memfd_create("facts", MemfdFlags::CLOEXEC)?);
    program.run_on(arguments, Stdio::from(file.try_clone()?), LOOK_LIMIT).await?;
    file.rewind()?;
    let mut found = Vec::new();
    // One byte more than may be, by which what is too long is noticed.
    file.take(limit + 1).read_to_end(&mut found)?;
    // Something else ran: every setting is something, and so is the loopback device. What is cut off misleads.
    if found.is_empty() || found.len() as u64 > limit { Err(HandOverError::Nowhere) } else { Ok(Some(found)) }
}

/// What this executable does in place of nft: looks, and writes what it found to where its standard input is.
///
/// # Errors
/// When the kernel does not tell, or standard input cannot be written.
pub fn look_in_place(mode: &str) -> io::Result<()> {
    let found = match mode {
        NAMES => {
            look::names()?.into_iter().flat_map(|name| [name, "\n".to_owned()]).collect::<String>().into()
        }
        COUNTERS => serde_json::to_vec(&look::counters()?)?,
        "set" => v1::NodeFacts::from(look::look(Mode::Set)?).encode_to_vec(),
        _ => v1::NodeFacts::from(look::look(Mode::Check)?).encode_to_vec(),
    };
    File::from(io::stdin().as_fd().try_clone_to_owned()?).write_all(&found)
}

/// A socket that hears of links where `nft` works.
async fn links(nft: &Program) -> Result<AsyncFd<OwnedFd>, HandOverError> {
    let socket = handover::open(nft, Peer::Route).await?;
    // In a group from now on, under the number that it has.
    let port = SocketAddrNetlink::try_from(getsockname(&socket)?)?.pid();
    bind(&socket, &SocketAddrNetlink::new(port, GROUPS))?;
    #[expect(deprecated, reason = "its successor is unsafe, for what is no owned descriptor; this one is")]
    Ok(AsyncFd::with_interest(socket, Interest::READABLE)?)
}
