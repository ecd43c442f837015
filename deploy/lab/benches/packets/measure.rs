//! A client and a server, pinned to one core, and the figures of one run.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context as _, anyhow};
use flock_lab::Pod;
use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::Pid;
use socket2::SockRef;

use crate::{CLOSING_PORT, DENIED_PORT, ECHO_PORT};

/// How long a connection may take to open, and an answer to come. A machine on which it takes longer is busy with something
/// else, or the rules deny it: who asks has to tell these apart.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long a connection may take to open that is to be denied; one that is allowed takes less than half of it at the same time.
const DENIED_PATIENCE: Duration = Duration::from_millis(500);
/// A request and its response, in bytes.
const MESSAGE: usize = 64;

/// What is done over and over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Work {
    /// Open a connection, wait until the server has closed it, and reset it.
    Connections,
    /// Send a small request over an open connection and read the response.
    Requests,
    /// Try the port that no policy allows: how many of one connections open.
    Denied,
    /// Send a datagram to it: one flow, over and over.
    Dropped,
    /// Send a datagram to the next port: a flow each, of which the server has none open.
    Scanned,
}

/// What came of doing it over and over.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Figure {
    /// So often a second.
    Rate(f64),
    /// Something took longer than it may.
    Stalled(String),
}

fn pin() -> anyhow::Result<()> {
    let mut cores = CpuSet::new();
    cores.set(0)?;
    Ok(sched_setaffinity(Pid::from_raw(0), &cores)?)
}

/// Closes the connections to one port and echoes on those to another, one at a time; ends with the process.
pub(crate) struct Server {
    _threads: [JoinHandle<anyhow::Result<()>>; 2],
}

impl Server {
    pub(crate) fn start(pod: &Pod) -> anyhow::Result<Self> {
        let closing = pod.enter(|| TcpListener::bind(("0.0.0.0", CLOSING_PORT)))??;
        let echoing = pod.enter(|| TcpListener::bind(("0.0.0.0", ECHO_PORT)))??;
        let close = std::thread::spawn(move || {
            pin()?;
            loop {
                drop(closing.accept()?);
            }
        });
        let echo = std::thread::spawn(move || {
            pin()?;
            loop {
                let (mut stream, _) = echoing.accept()?;
                let mut message = [0; MESSAGE];
                while stream.read_exact(&mut message).is_ok() && stream.write_all(&message).is_ok() {}
            }
        });
        Ok(Self { _threads: [close, echo] })
    }
}

/// Opens connections; the sockets belong to the client pod.
pub(crate) struct Client {
    orders: mpsc::Sender<Work>,
    results: mpsc::Receiver<anyhow::Result<Figure>>,
}

impl Client {
    /// Each figure is measured for so long.
    pub(crate) fn start(pod: &Pod, server: IpAddr, window: Duration) -> anyhow::Result<Self> {
        let (orders, incoming) = mpsc::channel::<Work>();
        let (outgoing, results) = mpsc::channel();
        let pod = pod.clone();
        std::thread::spawn(move || {
            let body = move || {
                pin()?;
                while let Ok(work) = incoming.recv() {
                    let rate = match work {
                        Work::Connections => connections(SocketAddr::new(server, CLOSING_PORT), window),
                        Work::Requests => requests(SocketAddr::new(server, ECHO_PORT), window),
                        Work::Denied => denied(server),
                        Work::Dropped => datagrams(window, |_| SocketAddr::new(server, DENIED_PORT)),
                        Work::Scanned => datagrams(window, |number| SocketAddr::new(server, scanned(number))),
                    };
                    outgoing.send(stalled(rate))?;
                }
                anyhow::Ok(())
            };
            // The bench notices by a closed channel.
            let _ = pod.enter(body);
        });
        Ok(Self { orders, results })
    }

    /// Repetitions per second.
    pub(crate) fn measure(&mut self, work: Work) -> anyhow::Result<Figure> {
        self.orders.send(work).map_err(|_| anyhow!("the client thread has ended"))?;
        self.results.recv().context("the client thread has ended")?
    }
}

/// A rate, or what took too long.
fn stalled(rate: anyhow::Result<f64>) -> anyhow::Result<Figure> {
    let is_late = |cause: &(dyn std::error::Error + 'static)| {
        let kind = cause.downcast_ref::<std::io::Error>().map(std::io::Error::kind);
        matches!(kind, Some(ErrorKind::TimedOut | ErrorKind::WouldBlock))
    };
    match rate {
        Ok(rate) => Ok(Figure::Rate(rate)),
        Err(error) if error.chain().any(is_late) => Ok(Figure::Stalled(format!("{error:#}"))),
        Err(error) => Err(error),
    }
}

fn connect(target: SocketAddr) -> anyhow::Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&target, PATIENCE)
        .with_context(|| format!("a connection to {target} did not open, which policies allow"))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    // Reset on close: no TIME_WAIT uses up the ports.
    SockRef::from(&stream).set_linger(Some(Duration::ZERO))?;
    Ok(stream)
}

/// Tries once: 1 where it opens, or where it is refused, which the server's end does. Where even what is allowed is slow, silence
/// says nothing.
fn denied(server: IpAddr) -> anyhow::Result<f64> {
    let outcome = match TcpStream::connect_timeout(&SocketAddr::new(server, DENIED_PORT), DENIED_PATIENCE) {
        Err(error) if error.kind() != ErrorKind::ConnectionRefused => 0.0,
        Ok(_) | Err(_) => 1.0,
    };
    let started = Instant::now();
    drop(connect(SocketAddr::new(server, CLOSING_PORT))?);
    if outcome == 0.0 && started.elapsed() > DENIED_PATIENCE / 2 {
        let late = std::io::Error::from(ErrorKind::TimedOut);
        return Err(anyhow!(late).context("what is allowed is as slow as what is denied"));
    }
    Ok(outcome)
}

fn connections(target: SocketAddr, window: Duration) -> anyhow::Result<f64> {
    repeat(window, || {
        let read = connect(target)?.read(&mut [0])?;
        anyhow::ensure!(read == 0, "the server sent something");
        Ok(())
    })
}

fn requests(target: SocketAddr, window: Duration) -> anyhow::Result<f64> {
    let mut stream = connect(target)?;
    stream.set_nodelay(true)?;
    let mut message = [7; MESSAGE];
    repeat(window, || {
        stream.write_all(&message)?;
        Ok(stream.read_exact(&mut message)?)
    })
}

/// Sends datagrams. On one core, each is dropped before the next is sent.
fn datagrams(window: Duration, target: impl Fn(u32) -> SocketAddr) -> anyhow::Result<f64> {
    let socket = UdpSocket::bind(("0.0.0.0", 0))?;
    let mut number = 0;
    repeat(window, || {
        number += 1;
        socket.send_to(&[7; MESSAGE], target(number))?;
        Ok(())
    })
}

/// A port that no policy allows, of UDP: all but 0.
fn scanned(number: u32) -> u16 {
    u16::try_from(number % u32::from(u16::MAX)).unwrap_or_default() + 1
}

fn repeat(window: Duration, mut once: impl FnMut() -> anyhow::Result<()>) -> anyhow::Result<f64> {
    let started = Instant::now();
    let mut count = 0u32;
    while started.elapsed() < window {
        once()?;
        count += 1;
    }
    Ok(f64::from(count) / started.elapsed().as_secs_f64())
}
