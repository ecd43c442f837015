//! Echo servers in a namespace: one thread per call, both families, every address, until dropped.

use std::collections::{BTreeSet, VecDeque};
use std::io::{self, ErrorKind, PipeWriter, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsFd;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use socket2::{Protocol as SocketProtocol, Type};

use crate::error::Result;
use crate::namespace::Namespace;
use crate::node::Family;
use crate::packet::{self, LONGEST};
use crate::probe::Protocol;
use crate::sctp::{self, Packet};

/// How many arrivals a server remembers.
const REMEMBERED: usize = 4096;

/// A packet (UDP, SCTP) or a connection (TCP) that arrived at a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Arrival {
    /// Its protocol.
    pub protocol: Protocol,
    /// Its source; the port is 0 for SCTP.
    pub from: SocketAddr,
    /// The address that it was sent to.
    pub to: IpAddr,
}

/// A running server; dropping it ends its thread.
#[derive(Debug)]
pub(crate) struct Server {
    stop: Option<PipeWriter>,
    thread: Option<JoinHandle<()>>,
    arrivals: Arrivals,
}

type Arrivals = Arc<Mutex<VecDeque<Arrival>>>;

impl Drop for Server {
    fn drop(&mut self) {
        // To close the pipe wakes the thread, which waits for it with everything else.
        self.stop.take();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Server {
    /// Listens on these ports in `namespace`, then answers on a thread of its own.
    pub(crate) fn start(namespace: &Namespace, services: &[(Protocol, u16)]) -> Result<Self> {
        let system = |source| namespace.system_error("start a server", source);
        let endpoints = namespace.enter(|| Endpoints::bind(services))?.map_err(system)?;
        let (reader, stop) = io::pipe().map_err(system)?;
        let arrivals = Arrivals::default();
        let recorder = Arc::clone(&arrivals);
        let thread = std::thread::Builder::new()
            .name(format!("serve {}", namespace.name()))
            .spawn(move || endpoints.run(&reader, &recorder))
            .map_err(system)?;
        Ok(Self { stop: Some(stop), thread: Some(thread), arrivals })
    }

    /// What arrived so far.
    pub(crate) fn arrivals(&self) -> Vec<Arrival> {
        self.arrivals.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }
}

#[derive(Default)]
struct Endpoints {
    listeners: Vec<TcpListener>,
    streams: Vec<TcpStream>,
    datagrams: Vec<UdpSocket>,
    raw: Vec<(Family, UdpSocket)>,
    sctp_ports: BTreeSet<u16>,
}

impl Endpoints {
    fn bind(services: &[(Protocol, u16)]) -> io::Result<Self> {
        let mut endpoints = Self::default();
        for family in [Family::V4, Family::V6] {
            for &(protocol, port) in services {
                match protocol {
                    Protocol::Tcp => {
                        let address = SocketAddr::new(family.unspecified(), port);
                        let listener =
                            packet::socket(family, Type::STREAM, SocketProtocol::TCP, Some(address))?;
                        listener.listen(1024)?;
                        endpoints.listeners.push(listener.into());
                    }
                    Protocol::Udp => {
                        endpoints.datagrams.push(packet::server(
                            family,
                            Type::DGRAM,
                            SocketProtocol::UDP,
                            port,
                        )?);
                    }
                    Protocol::Sctp => {
                        endpoints.sctp_ports.insert(port);
                    }
                    Protocol::IcmpEcho => {}
                }
            }
            // A raw socket sees the packets of all ports, so one of each family is enough.
            if !endpoints.sctp_ports.is_empty() {
                let socket = packet::server(family, Type::RAW, sctp::PROTOCOL.into(), 0)?;
                endpoints.raw.push((family, socket));
            }
        }
        Ok(endpoints)
    }

    fn run(mut self, stop: &io::PipeReader, arrivals: &Arrivals) {
        loop {
            match self.wait(stop) {
                Ok(Wake::Work) | Err(nix::Error::EINTR) => {}
                Ok(Wake::Stop) | Err(_) => return,
            }
            let record = |protocol, from, to| {
                let mut arrivals = arrivals.lock().unwrap_or_else(PoisonError::into_inner);
                if arrivals.len() == REMEMBERED {
                    arrivals.pop_front();
                }
                arrivals.push_back(Arrival { protocol, from, to });
            };
            self.accept(record);
            self.streams.retain_mut(echo);
            self.echo_datagrams(record);
            self.answer_sctp(record);
        }
    }

    /// Waits until something is to be read.
    fn wait(&self, stop: &io::PipeReader) -> nix::Result<Wake> {
        let listeners = self.listeners.iter().map(AsFd::as_fd);
        let streams = self.streams.iter().map(AsFd::as_fd);
        let datagrams =
            self.datagrams.iter().chain(self.raw.iter().map(|(_, socket)| socket)).map(AsFd::as_fd);
        let all = std::iter::once(stop.as_fd()).chain(listeners).chain(streams).chain(datagrams);
        let mut all: Vec<_> = all.map(|fd| PollFd::new(fd, PollFlags::POLLIN)).collect();
        poll(&mut all, PollTimeout::NONE)?;
        // Whatever is on the pipe, its end included, says to stop.
        let stopped = all.first().and_then(PollFd::any).unwrap_or(true);
        Ok(if stopped { Wake::Stop } else { Wake::Work })
    }

    fn accept(&mut self, record: impl Fn(Protocol, SocketAddr, IpAddr)) {
        for listener in &self.listeners {
            while let Ok((stream, from)) = listener.accept() {
                if stream.set_nonblocking(true).is_ok()
                    && let Ok(to) = stream.local_addr()
                {
                    record(Protocol::Tcp, from, to.ip());
                    self.streams.push(stream);
                }
            }
        }
    }

    fn echo_datagrams(&self, record: impl Fn(Protocol, SocketAddr, IpAddr)) {
        let mut buffer = [0; LONGEST];
        for socket in &self.datagrams {
            while let Ok(datagram) = packet::receive(socket, &mut buffer) {
                record(Protocol::Udp, datagram.from, datagram.to);
                // An answer that cannot leave is a lost packet; the prober's time limit speaks of it.
                let _ = packet::answer(socket, datagram.payload, datagram.to, datagram.from);
            }
        }
    }

    fn answer_sctp(&self, record: impl Fn(Protocol, SocketAddr, IpAddr)) {
        let mut buffer = [0; LONGEST];
        for (family, socket) in &self.raw {
            while let Ok(datagram) = packet::receive(socket, &mut buffer) {
                let packet = Packet::decode(packet::without_ip_header(*family, datagram.payload));
                let packet = packet.filter(|packet| self.sctp_ports.contains(&packet.target_port));
                if let Some(packet) = packet
                    && let Some(answer) = packet.answer()
                {
                    record(Protocol::Sctp, datagram.from, datagram.to);
                    let peer = SocketAddr::new(datagram.from.ip(), 0);
                    let _ = packet::answer(socket, &answer.encode(), datagram.to, peer);
                }
            }
        }
    }
}

enum Wake {
    Work,
    Stop,
}

/// Sends back what came; false once the peer is gone.
fn echo(stream: &mut TcpStream) -> bool {
    let mut buffer = [0; LONGEST];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => return false,
            Ok(length) if stream.write_all(&buffer[..length]).is_err() => return false,
            Ok(_) => {}
            Err(error) => return matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted),
        }
    }
}
