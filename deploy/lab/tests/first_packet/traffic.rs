//! What a pod of a test does: it sends to everybody without end, and counts who reaches it; and single datagrams that are
//! never repeated.

use std::collections::{BTreeMap, BTreeSet};
use std::io::ErrorKind;
use std::net::{IpAddr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};
use std::{fmt, fs};

use flock_lab::{Namespace, patient};
use nix::sys::socket::setsockopt;
use nix::sys::socket::sockopt::RcvBufForce;
use socket2::SockRef;

/// Where everybody listens.
const PORT: u16 = 7000;
/// How long the answer to a single datagram may take. No time of the network: those who answer need turns of the processor.
const PATIENCE: Duration = Duration::from_secs(5);

/// Between two looks at what is to be sent; where the pace is slow, a part of that, since many keep it.
const MOMENT: Duration = Duration::from_millis(2);
const PART: u32 = 50;
/// The most that an actor sends at a time: the kernel loses packets where more come at once than it takes in.
const BURST: u64 = 8;
/// The column of neighbours that there was no room for.
const TABLE_FULLS: usize = 12;
/// Room for what an actor has not read yet, in bytes.
const ROOM: usize = 32 << 20;

/// Who sends. Peers and pods have numbers of their own.
pub(crate) type Id = u32;

/// What a datagram is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Purpose {
    /// It is counted.
    Steady,
    /// It is answered.
    Single,
}

fn datagram(purpose: Purpose, from: Id) -> [u8; 5] {
    let [a, b, c, d] = from.to_be_bytes();
    [u8::from(purpose == Purpose::Single), a, b, c, d]
}

fn read(bytes: &[u8]) -> Option<(Purpose, Id)> {
    let [purpose, from @ ..] = *bytes.first_chunk::<5>()?;
    let purpose = if purpose == 1 { Purpose::Single } else { Purpose::Steady };
    Some((purpose, Id::from_be_bytes(from)))
}

/// A socket for both families, in a namespace.
fn socket(namespace: &Namespace, port: u16) -> UdpSocket {
    namespace.enter(|| UdpSocket::bind((Ipv6Addr::UNSPECIFIED, port))).unwrap().unwrap()
}

/// The address as such a socket has it.
fn at(address: IpAddr) -> SocketAddr {
    let address = match address {
        IpAddr::V4(address) => address.to_ipv6_mapped(),
        IpAddr::V6(address) => address,
    };
    SocketAddr::new(address.into(), PORT)
}

/// Whom somebody sends to; may change while they send.
pub(crate) type Targets = Arc<Mutex<BTreeSet<IpAddr>>>;

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What is known of somebody's traffic.
#[derive(Debug, Default)]
struct Counts {
    heard: Mutex<BTreeMap<Id, u64>>,
    sent: AtomicU64,
    stop: AtomicBool,
}

/// Somebody who sends to all targets, again and again, from the instant at which that is possible. Dropping it ends that.
pub(crate) struct Actor {
    counts: Arc<Counts>,
    thread: Option<JoinHandle<()>>,
}

impl Actor {
    /// Listens at once; sends as soon as there is a way, a datagram to each target every `pace`.
    pub(crate) fn start(namespace: &Namespace, id: Id, targets: &Targets, pace: Duration) -> Self {
        let ear = socket(namespace, PORT);
        ear.set_read_timeout(Some(MOMENT.max(pace / PART))).unwrap();
        // What is sent once must not get lost here either, because this thread has no turn.
        setsockopt(&ear, RcvBufForce, &ROOM).unwrap();
        let (counts, targets, namespace) =
            (Arc::new(Counts::default()), Arc::clone(targets), namespace.clone());
        let own = Arc::clone(&counts);
        let thread = thread::spawn(move || {
            namespace.enter(|| act(id, &ear, &targets, pace, &own)).unwrap();
        });
        Self { counts, thread: Some(thread) }
    }

    /// How many datagrams it has sent.
    pub(crate) fn sent(&self) -> u64 {
        self.counts.sent.load(Ordering::Relaxed)
    }

    /// How many it has had from somebody.
    pub(crate) fn heard(&self, from: Id) -> u64 {
        locked(&self.counts.heard).get(&from).copied().unwrap_or_default()
    }
}

/// What an actor does, in its namespace.
fn act(id: Id, ear: &UdpSocket, targets: &Mutex<BTreeSet<IpAddr>>, pace: Duration, counts: &Counts) {
    let mut mouths: BTreeMap<IpAddr, Mouth> = BTreeMap::new();
    while !counts.stop.load(Ordering::Relaxed) {
        let mut sent = 0;
        for target in locked(targets).clone() {
            let mouth = mouths.entry(target).or_insert_with(Mouth::new);
            let is_due = mouth.last.is_none_or(|last| last.elapsed() >= pace);
            // There may be no way yet, or so much waits for a neighbour already: then it is tried again in a moment.
            if is_due
                && sent < BURST
                && mouth.socket.send_to(&datagram(Purpose::Steady, id), at(target)).is_ok()
            {
                mouth.last = Some(Instant::now());
                sent += 1;
            }
        }
        counts.sent.fetch_add(sent, Ordering::Relaxed);
        hear(ear, counts);
    }
}

/// Where what goes to one target comes from.
struct Mouth {
    socket: UdpSocket,
    /// When something was sent last.
    last: Option<Instant>,
}

impl Mouth {
    /// With room for a few datagrams. A pod may ask for its gateway before that has its address, and asks again only after
    /// a second; what is sent meanwhile without end must not push out what is sent once.
    fn new() -> Self {
        let socket = UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0)).unwrap();
        SockRef::from(&socket).set_send_buffer_size(1).unwrap();
        socket.set_nonblocking(true).unwrap();
        Self { socket, last: None }
    }
}

fn hear(ear: &UdpSocket, counts: &Counts) {
    let mut buffer = [0; 16];
    // Nothing came in time, or what was sent before met a refusal.
    let Ok((length, source)) = ear.recv_from(&mut buffer) else { return };
    match read(&buffer[..length]) {
        Some((Purpose::Steady, from)) => *locked(&counts.heard).entry(from).or_default() += 1,
        Some((Purpose::Single, from)) => {
            // Should it not leave, whoever waits for it tells.
            let _ = ear.send_to(&datagram(Purpose::Single, from), source);
        }
        None => {}
    }
}

impl Drop for Actor {
    fn drop(&mut self) {
        self.counts.stop.store(true, Ordering::Relaxed);
        // Its panic, if there was one, has been printed.
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

/// How often the kernel has lost a packet because it had no turn to take it in, or no room for a neighbour, of which all
/// namespaces of a machine together may have 1,024 by default: losses that no rules are to blame for.
pub(crate) fn lost_by_the_kernel() -> u64 {
    let column = |path: &str, index: usize| -> u64 {
        let table = fs::read_to_string(path).unwrap_or_default();
        let number = |line: &str| u64::from_str_radix(line.split_whitespace().nth(index)?, 16).ok();
        table.lines().filter_map(number).sum()
    };
    column("/proc/net/softnet_stat", 1)
        + column("/proc/net/stat/arp_cache", TABLE_FULLS)
        + column("/proc/net/stat/ndisc_cache", TABLE_FULLS)
}

/// A datagram that is sent once, from a port that nobody has used.
pub(crate) struct Single {
    socket: UdpSocket,
    id: Id,
    from: Namespace,
}

impl fmt::Display for Single {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the first from {}", self.from.name())
    }
}

impl Single {
    /// Ready to be sent from a namespace, which may have no address yet.
    pub(crate) fn new(namespace: &Namespace, id: Id) -> Self {
        Self { socket: socket(namespace, 0), id, from: namespace.clone() }
    }

    /// Sends it.
    pub(crate) fn send(&self, to: IpAddr) -> std::io::Result<()> {
        self.socket.send_to(&datagram(Purpose::Single, self.id), at(to)).map(drop)
    }

    /// Returns true if it is answered by whom it was sent to.
    pub(crate) fn is_answered(&self, by: IpAddr) -> bool {
        let mut buffer = [0; 16];
        self.socket.set_read_timeout(Some(patient(PATIENCE))).unwrap();
        loop {
            match self.socket.recv_from(&mut buffer) {
                Ok((length, source))
                    if source == at(by) && read(&buffer[..length]) == Some((Purpose::Single, self.id)) =>
                {
                    return true;
                }
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                    return false;
                }
                // An ICMP error is no answer, and neither is anything else.
                Ok(_) | Err(_) => {}
            }
        }
    }
}
