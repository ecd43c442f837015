//! Connections that are held open: does what was allowed once still pass now?

use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream, UdpSocket};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use socket2::{Protocol as SocketProtocol, SockAddr, Type};

use crate::error::{LabError, Result};
use crate::namespace::Namespace;
use crate::node::Family;
use crate::packet::{self, LONGEST};
use crate::patience::patient;
use crate::probe::{Probe, Protocol, Verdict, ephemeral_port, nonce};
use crate::sctp::{self, Chunk, Packet};

/// How long [`OpenConnection::exchange`] waits.
const PATIENCE: Duration = Duration::from_millis(800);
/// How long opening may take.
const OPENING: Duration = Duration::from_secs(5);
/// The time between two packets that ask the same; TCP repeats by itself.
const AGAIN: Duration = Duration::from_millis(200);

/// A TCP connection, a UDP flow or an SCTP association that stays open, so that conntrack keeps knowing it.
#[derive(Debug)]
pub struct OpenConnection {
    transport: Transport,
    round: u8,
}

#[derive(Debug)]
enum Transport {
    Tcp(TcpStream),
    Udp(UdpSocket),
    Sctp { socket: UdpSocket, family: Family, packet: Packet },
}

impl OpenConnection {
    /// Opens a connection to a server (see [`Host::serve`](crate::Host::serve)) and exchanges something over it once.
    ///
    /// # Errors
    /// When there is no answer within five seconds, or the protocol is ICMP.
    pub fn open(from: &Namespace, protocol: Protocol, to: IpAddr, port: u16) -> Result<Self> {
        Self::open_probe(&Probe::new(from, protocol, to, port))
    }

    /// As [`open`](Self::open), with a say in the source address.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn open_probe(probe: &Probe) -> Result<Self> {
        probe.validate()?;
        let failed = |source| probe.from.system_error("open a connection", source);
        let transport = probe.from.enter(|| Transport::open(probe))?.map_err(failed)?;
        let mut connection = Self { transport, round: 0 };
        match connection.exchange_within(OPENING)? {
            Verdict::Reached => Ok(connection),
            Verdict::Dropped => Err(failed(ErrorKind::TimedOut.into())),
        }
    }

    /// Sends one byte (SCTP: a heartbeat) and waits up to 0.8 seconds for it to come back. A round whose answer
    /// comes too late does not disturb the next one. A connection that the peer closed is [`Verdict::Dropped`].
    ///
    /// # Errors
    /// When the system refuses to send for another reason than the network.
    pub fn exchange(&mut self) -> Result<Verdict> {
        self.exchange_within(PATIENCE)
    }

    /// As [`exchange`](Self::exchange), with the time given (made longer by [`patient`]). Waiting for
    /// a verdict to change is a loop over this.
    ///
    /// # Errors
    /// As [`exchange`](Self::exchange).
    pub fn exchange_within(&mut self, patience: Duration) -> Result<Verdict> {
        self.round = self.round.wrapping_add(1);
        self.transport.exchange(self.round, patient(patience)).map_err(|source| LabError::System {
            what: "exchange on a connection",
            namespace: "-".to_owned(),
            source,
        })
    }
}

impl Transport {
    fn open(probe: &Probe) -> io::Result<Self> {
        let family = probe.family();
        let source = probe.source.map(|source| SocketAddr::new(source, 0));
        match probe.protocol {
            Protocol::Tcp => {
                let socket = packet::socket(family, Type::STREAM, SocketProtocol::TCP, source)?;
                socket.set_nonblocking(false)?;
                // Closed by a reset: nothing of it lingers for a later connection to meet.
                socket.set_linger(Some(Duration::ZERO))?;
                socket.connect_timeout(&SockAddr::from(probe.to), patient(OPENING))?;
                // A round is one byte, which is not to wait for the acknowledgement of the one before.
                socket.set_tcp_nodelay(true)?;
                socket.set_nonblocking(true)?;
                Ok(Self::Tcp(socket.into()))
            }
            Protocol::Udp => {
                let socket = packet::socket(family, Type::DGRAM, SocketProtocol::UDP, source)?;
                socket.connect(&SockAddr::from(probe.to))?;
                Ok(Self::Udp(socket.into()))
            }
            Protocol::Sctp => {
                let socket = packet::socket(family, Type::RAW, sctp::PROTOCOL.into(), source)?;
                socket.connect(&SockAddr::from(SocketAddr::new(probe.to.ip(), 0)))?;
                Self::associate(socket.into(), family, probe.to.port())
            }
            Protocol::IcmpEcho => Err(io::Error::new(ErrorKind::Unsupported, "ICMP has no connections")),
        }
    }

    /// The four steps of SCTP's handshake.
    fn associate(socket: UdpSocket, family: Family, port: u16) -> io::Result<Self> {
        let tag = nonce();
        let init =
            Packet { source_port: ephemeral_port(tag), target_port: port, tag: 0, chunk: Chunk::Init(tag) };
        let cookie = Packet { tag, chunk: Chunk::CookieEcho, ..init };
        let mut transport = Self::Sctp { socket, family, packet: init };
        for (request, answer) in [(init, Chunk::InitAck(tag)), (cookie, Chunk::CookieAck)] {
            let found = transport.request(&request.encode(), patient(OPENING), |bytes| {
                Packet::decode(bytes)
                    .is_some_and(|packet| packet.target_port == init.source_port && packet.chunk == answer)
            })?;
            if found == Verdict::Dropped {
                return Err(ErrorKind::TimedOut.into());
            }
        }
        // What follows carries the tag of the association.
        if let Self::Sctp { packet, .. } = &mut transport {
            *packet = cookie;
        }
        Ok(transport)
    }

    fn exchange(&mut self, round: u8, patience: Duration) -> io::Result<Verdict> {
        match self {
            Self::Tcp(_) => {
                // The stream may still hold answers to rounds that came too late, and several rounds at once.
                self.request(&[round], patience, |bytes| bytes.contains(&round))
            }
            Self::Udp(_) => self.request(&[round], patience, |bytes| bytes == [round]),
            Self::Sctp { packet, .. } => {
                let packet = Packet { chunk: Chunk::Heartbeat(nonce()), ..*packet };
                let answer = packet.answer();
                self.request(&packet.encode(), patience, |bytes| {
                    Packet::decode(bytes).is_some_and(|found| Some(found) == answer)
                })
            }
        }
    }

    /// Sends until an answer comes or the time is over.
    fn request(
        &mut self,
        bytes: &[u8],
        patience: Duration,
        is_answer: impl Fn(&[u8]) -> bool,
    ) -> io::Result<Verdict> {
        let start = Instant::now();
        let mut sent = None;
        let mut buffer = [0; LONGEST];
        loop {
            // TCP repeats by itself. Of datagrams, one that is lost must not pass for one that is dropped by a rule.
            if sent.is_none_or(|at: Instant| at.elapsed() >= AGAIN && !matches!(self, Self::Tcp(_))) {
                match self.send(bytes) {
                    Ok(()) => {}
                    Err(error) if is_of_the_network(&error) => return Ok(Verdict::Dropped),
                    Err(error) => return Err(error),
                }
                sent = Some(Instant::now());
            }
            // Before the last look: what came in time counts, also where this thread did not run for a while.
            let over = start.elapsed() >= patience;
            loop {
                match self.receive(&mut buffer) {
                    Ok(0) => return Ok(Verdict::Dropped),
                    Ok(length) if is_answer(self.payload(&buffer[..length])) => return Ok(Verdict::Reached),
                    Ok(_) => {}
                    Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                    Err(error) if is_of_the_network(&error) => return Ok(Verdict::Dropped),
                    Err(error) => return Err(error),
                }
            }
            if over {
                return Ok(Verdict::Dropped);
            }
            let limit = patience.saturating_sub(start.elapsed()).min(AGAIN);
            let mut wanted = [PollFd::new(self.as_fd(), PollFlags::POLLIN)];
            match poll(
                &mut wanted,
                PollTimeout::from(u16::try_from(limit.as_millis() + 1).unwrap_or(u16::MAX)),
            ) {
                Ok(_) | Err(nix::Error::EINTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.write_all(bytes),
            Self::Udp(socket) | Self::Sctp { socket, .. } => socket.send(bytes).map(drop),
        }
    }

    fn receive(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.read(buffer),
            Self::Udp(socket) | Self::Sctp { socket, .. } => socket.recv(buffer),
        }
    }

    fn payload<'a>(&self, bytes: &'a [u8]) -> &'a [u8] {
        match self {
            Self::Tcp(_) | Self::Udp(_) => bytes,
            Self::Sctp { family, .. } => packet::without_ip_header(*family, bytes),
        }
    }

    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        match self {
            Self::Tcp(stream) => stream.as_fd(),
            Self::Udp(socket) | Self::Sctp { socket, .. } => socket.as_fd(),
        }
    }
}

/// The peer or something on the way said no, or TCP gave up.
fn is_of_the_network(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::ConnectionRefused
            | ErrorKind::ConnectionReset
            | ErrorKind::BrokenPipe
            | ErrorKind::TimedOut
            | ErrorKind::HostUnreachable
            | ErrorKind::PermissionDenied
    )
}
