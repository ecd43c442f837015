//! Connections of flows: tried again and again, closed as soon as the handshake is through. The kernel does all of
//! it, so a machine that stalls does not turn a connection into a loss.

use std::io::{self, ErrorKind};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use flock_lab::Verdict;
use nix::libc;
use socket2::{Domain, Protocol, Socket, Type};

use crate::flows::Flow;
use crate::judge::Observation;

/// When an unanswered SYN counts as dropped: before the kernel repeats it.
pub(crate) const JUDGED: Duration = Duration::from_millis(700);

/// A handshake under way.
pub(crate) struct Connect {
    flow: usize,
    started: Instant,
    pub(crate) stream: TcpStream,
}

impl Connect {
    /// Starts one; for a thread in the namespace of the flow's source. `None` where nothing could be sent.
    pub(crate) fn start(index: usize, flow: &Flow) -> io::Result<Option<Self>> {
        let socket = Socket::new(Domain::for_address(flow.destination), Type::STREAM, Some(Protocol::TCP))?;
        // Closing with a reset leaves nothing behind that a later one could meet.
        socket.set_linger(Some(Duration::ZERO))?;
        socket.set_nonblocking(true)?;
        socket.bind(&SocketAddr::new(flow.source, 0).into())?;
        let started = Instant::now();
        match socket.connect(&flow.destination.into()) {
            Err(error) if error.raw_os_error() != Some(libc::EINPROGRESS) => Ok(None),
            _ => Ok(Some(Self { flow: index, started, stream: socket.into() })),
        }
    }

    /// What has become of it.
    pub(crate) fn progress(&self) -> Option<Observation> {
        // Time first: what comes after it is noticed all the same.
        let now = Instant::now();
        let verdict = match self.stream.take_error() {
            Ok(None) if self.stream.peer_addr().is_ok() => Verdict::Reached,
            Ok(None) if now - self.started < JUDGED => return None,
            Ok(Some(error)) if error.kind() == ErrorKind::ConnectionRefused => Verdict::Reached,
            _ => Verdict::Dropped,
        };
        let known = match verdict {
            Verdict::Reached => Instant::now(),
            Verdict::Dropped => now,
        };
        Some(Observation { flow: self.flow, sent: self.started, known, verdict })
    }
}
