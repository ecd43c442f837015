//! Datagrams of flows, each with a number: when it was sent, when it arrived, whether its echo came back.
//!
//! A datagram that the network lets pass is in the receiver's queue whenever that gets to run, so a machine that
//! stalls does not turn it into a loss.

use std::io::{self, ErrorKind};
use std::net::{SocketAddr, UdpSocket};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use flock_lab::Verdict;
use socket2::{Domain, Protocol, Socket, Type};

use crate::flows::Flow;
use crate::judge::Observation;

/// When what has not arrived was judged: the network is a few function calls in the kernel, so this is long.
const JUDGED: Duration = Duration::from_millis(500);
/// Room for what comes while a receiver does not run.
const ROOM: usize = 4 << 20;

/// A datagram's way.
#[derive(Debug, Clone, Copy)]
struct Sent {
    at: Instant,
    arrived: Option<Instant>,
    echoed: bool,
}

/// All datagrams of all flows.
pub(crate) struct Datagrams {
    flows: Vec<Mutex<Vec<Sent>>>,
}

impl Datagrams {
    pub(crate) fn new(flows: usize) -> Self {
        Self { flows: (0..flows).map(|_| Mutex::default()).collect() }
    }

    fn of<T>(&self, flow: usize, change: impl FnOnce(&mut Vec<Sent>) -> T) -> T {
        change(&mut self.flows[flow].lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Sends the next datagram of a flow.
    pub(crate) fn send(&self, flow: usize, socket: &UdpSocket) {
        self.of(flow, |all| {
            let number = u32::try_from(all.len()).unwrap();
            let at = Instant::now();
            let payload = [u32::try_from(flow).unwrap(), number].map(u32::to_be_bytes).concat();
            // An error is what became of an earlier one: nobody routes to a place that is nowhere.
            if socket.send(&payload).is_ok() {
                all.push(Sent { at, arrived: None, echoed: false });
            }
        });
    }

    /// Notes and answers what has arrived.
    pub(crate) fn receive(&self, socket: &UdpSocket) {
        while let Some((payload, from)) = read(socket) {
            if let Some((flow, number)) = decode(&payload) {
                let now = Instant::now();
                self.of(flow, |all| all[number].arrived = Some(now));
                // Nobody may be there any more.
                let _ = socket.send_to(&payload, from);
            }
        }
    }

    /// Notes the echoes that have come.
    pub(crate) fn echoes(&self, socket: &UdpSocket) {
        while let Some((payload, _)) = read(socket) {
            if let Some((flow, number)) = decode(&payload) {
                self.of(flow, |all| all[number].echoed = true);
            }
        }
    }

    /// What became of all of them.
    pub(crate) fn observations(&self) -> Vec<Observation> {
        let of_flow = |flow: usize| {
            let observed = move |sent: &Sent| Observation {
                flow,
                sent: sent.at,
                known: sent.arrived.unwrap_or(sent.at + JUDGED),
                verdict: if sent.arrived.is_some() { Verdict::Reached } else { Verdict::Dropped },
            };
            self.of(flow, |all| all.iter().map(observed).collect::<Vec<_>>())
        };
        (0..self.flows.len()).flat_map(of_flow).collect()
    }

    /// How many datagrams of a flow arrived whose echo never came back.
    pub(crate) fn unanswered(&self, flow: usize) -> usize {
        self.of(flow, |all| all.iter().filter(|sent| sent.arrived.is_some() && !sent.echoed).count())
    }
}

fn read(socket: &UdpSocket) -> Option<([u8; 8], SocketAddr)> {
    let mut payload = [0; 8];
    loop {
        match socket.recv_from(&mut payload) {
            Ok((8, from)) => return Some((payload, from)),
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => return None,
            // What became of an earlier one.
            Err(_) => {}
        }
    }
}

fn decode(payload: &[u8; 8]) -> Option<(usize, usize)> {
    let (flow, number) = payload.split_at(4);
    let number_of = |bytes: &[u8]| Some(u32::from_be_bytes(bytes.try_into().ok()?) as usize);
    Some((number_of(flow)?, number_of(number)?))
}

/// The socket that a flow's datagrams leave by; for a thread in the namespace of its source.
pub(crate) fn sender(flow: &Flow) -> io::Result<UdpSocket> {
    let socket = bound(SocketAddr::new(flow.source, flow.source_port))?;
    socket.connect(flow.destination)?;
    Ok(socket)
}

/// A socket with room, for a thread in the namespace of its address.
pub(crate) fn bound(address: SocketAddr) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_recv_buffer_size(ROOM)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    Ok(socket.into())
}
