//! The sockets of one probe: how it asks, and what it takes for an answer. The caller is in the source's namespace.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicU32, Ordering};

use nix::libc;
use nix::poll::{PollFd, PollFlags};
use socket2::{Protocol as SocketProtocol, SockAddr, Type};

use super::{Probe, Protocol, Verdict};
use crate::node::Family;
use crate::packet::{self, LONGEST};
use crate::sctp::{self, Chunk, Packet};

/// A probe under way.
pub(crate) enum Attempt<'a> {
    /// One connection per try: the kernel's own repetition of a SYN takes a second.
    Tcp { probe: &'a Probe, tries: Vec<Try> },
    /// One connected socket; every try sends the request again.
    Message(Message),
}

/// One TCP connection.
pub(crate) struct Try {
    stream: TcpStream,
    asked: bool,
}

/// A request in one packet, and how to know its answer.
pub(crate) struct Message {
    socket: UdpSocket,
    family: Family,
    request: Vec<u8>,
    answer: Answer,
}

enum Answer {
    /// The request itself.
    Echo,
    /// An SCTP packet for this port with the tag of our INIT.
    Sctp { port: u16, tag: u32 },
    /// The request's payload behind an ICMP header.
    Icmp,
}

/// A number that no other probe of this process has had for a long time.
pub(crate) fn nonce() -> u32 {
    static NEXT: AtomicU32 = AtomicU32::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// A source port for protocols that the kernel gives none, from the range that it uses itself.
pub(crate) fn ephemeral_port(nonce: u32) -> u16 {
    32768 + u16::try_from(nonce % 28000).unwrap_or_default()
}

impl<'a> Attempt<'a> {
    /// Opens what the first try needs, without sending anything.
    pub(crate) fn open(probe: &'a Probe) -> io::Result<Self> {
        let family = probe.family();
        let nonce = nonce();
        let connected = |kind, protocol, port| {
            let source = probe.source.map(|source| SocketAddr::new(source, 0));
            let socket = packet::socket(family, kind, protocol, source)?;
            socket.connect(&SockAddr::from(SocketAddr::new(probe.to.ip(), port)))?;
            io::Result::Ok(UdpSocket::from(socket))
        };
        let (socket, request, answer) = match probe.protocol {
            Protocol::Tcp => {
                return Ok(Self::Tcp { probe, tries: Vec::new() });
            }
            Protocol::Udp => {
                let socket = connected(Type::DGRAM, SocketProtocol::UDP, probe.to.port())?;
                (socket, nonce.to_be_bytes().to_vec(), Answer::Echo)
            }
            Protocol::Sctp => {
                let port = ephemeral_port(nonce);
                let chunk = Chunk::Init(nonce);
                let init = Packet { source_port: port, target_port: probe.to.port(), tag: 0, chunk };
                let socket = connected(Type::RAW, sctp::PROTOCOL.into(), 0)?;
                (socket, init.encode(), Answer::Sctp { port, tag: nonce })
            }
            Protocol::IcmpEcho => {
                let (protocol, kind) = match family {
                    Family::V4 => (SocketProtocol::ICMPV4, 8),
                    Family::V6 => (SocketProtocol::ICMPV6, 128),
                };
                // The kernel fills in checksum and identifier.
                let mut request = vec![kind, 0, 0, 0, 0, 0, 0, 1];
                request.extend(nonce.to_be_bytes());
                (connected(Type::DGRAM, protocol, 0)?, request, Answer::Icmp)
            }
        };
        Ok(Self::Message(Message { socket, family, request, answer }))
    }

    /// Sends the request once more. An answer may come to any try.
    pub(crate) fn ask(&mut self) -> io::Result<Option<Verdict>> {
        match self {
            Self::Tcp { probe, tries } => {
                let source = probe.source.map(|source| SocketAddr::new(source, 0));
                let socket = packet::socket(probe.family(), Type::STREAM, SocketProtocol::TCP, source)?;
                // Closing with a reset leaves nothing behind that a later probe could meet.
                socket.set_linger(Some(std::time::Duration::ZERO))?;
                match socket.connect(&SockAddr::from(probe.to)) {
                    Ok(()) => {}
                    Err(error) if error.raw_os_error() == Some(libc::EINPROGRESS) => {}
                    Err(error) if sending_is_impossible(&error) => return Err(error),
                    Err(error) => return Ok(judged(&error)),
                }
                tries.push(Try { stream: socket.into(), asked: false });
                Ok(None)
            }
            Self::Message(message) => match message.socket.send(&message.request) {
                Ok(_) => Ok(None),
                Err(error) if sending_is_impossible(&error) => Err(error),
                Err(error) => Ok(judged(&error)),
            },
        }
    }

    /// Adds what to wait for.
    pub(crate) fn wait_for<'b>(&'b self, wanted: &mut Vec<PollFd<'b>>) {
        match self {
            Self::Tcp { tries, .. } => wanted.extend(tries.iter().map(|attempt| {
                let event = if attempt.asked { PollFlags::POLLIN } else { PollFlags::POLLOUT };
                PollFd::new(attempt.stream.as_fd(), event)
            })),
            Self::Message(message) => wanted.push(PollFd::new(message.socket.as_fd(), PollFlags::POLLIN)),
        }
    }

    /// Takes what came.
    pub(crate) fn progress(&mut self) -> Option<Verdict> {
        match self {
            Self::Tcp { tries, .. } => {
                let mut verdict = None;
                tries.retain_mut(|attempt| match attempt.progress() {
                    Ok(progress) => {
                        verdict = verdict.or(progress);
                        true
                    }
                    Err(error) => {
                        verdict = verdict.or(judged(&error));
                        false
                    }
                });
                verdict
            }
            Self::Message(message) => message.progress(),
        }
    }

    /// Whether a handshake is through, so that only the echo is missing.
    pub(crate) fn is_established(&self) -> bool {
        matches!(self, Self::Tcp { tries, .. } if tries.iter().any(|attempt| attempt.asked))
    }
}

impl Try {
    fn progress(&mut self) -> io::Result<Option<Verdict>> {
        if let Some(error) = self.stream.take_error()? {
            return Err(error);
        }
        if !self.asked {
            // Another try may have woken this attempt: without a peer, this one is not connected yet.
            match self.stream.peer_addr() {
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::NotConnected => return Ok(None),
                Err(error) => return Err(error),
            }
            self.stream.write_all(b"?")?;
            self.asked = true;
        }
        match self.stream.read(&mut [0; 1]) {
            // Closed without an echo: the packets came through all the same.
            Ok(_) => Ok(Some(Verdict::Reached)),
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(error),
        }
    }
}

impl Message {
    fn progress(&self) -> Option<Verdict> {
        let mut buffer = [0; LONGEST];
        loop {
            match self.socket.recv(&mut buffer) {
                Ok(length) if self.is_answer(&buffer[..length]) => return Some(Verdict::Reached),
                Ok(_) => {}
                Err(error) => return judged(&error),
            }
        }
    }

    fn is_answer(&self, bytes: &[u8]) -> bool {
        match self.answer {
            Answer::Echo => bytes == self.request,
            // The kernel puts an identifier of its own into the header, so only the payload is the probe's.
            Answer::Icmp => bytes.get(8..).is_some_and(|payload| payload == &self.request[8..]),
            Answer::Sctp { port, tag } => Packet::decode(packet::without_ip_header(self.family, bytes))
                .is_some_and(|packet| {
                    packet.target_port == port && (packet.tag == tag || packet.chunk == Chunk::Abort)
                }),
        }
    }
}

/// What an error of a socket says about the network, if anything: the target itself refused. Everything else, such
/// as a filter's "prohibited", is no answer.
fn judged(error: &io::Error) -> Option<Verdict> {
    let refused = match error.raw_os_error() {
        // A host without SCTP, or without a listener on a raw socket: protocol unreachable, unknown next header.
        Some(libc::ENOPROTOOPT | libc::EPROTO) => true,
        _ => matches!(
            error.kind(),
            ErrorKind::ConnectionRefused | ErrorKind::ConnectionReset | ErrorKind::BrokenPipe
        ),
    };
    refused.then_some(Verdict::Reached)
}

/// A mistake in the set-up, not a verdict.
fn sending_is_impossible(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::NetworkUnreachable
            | ErrorKind::AddrNotAvailable
            | ErrorKind::AddrInUse
            | ErrorKind::InvalidInput
    )
}
