//! TCP segments by hand: what a pod that may open raw sockets sends and hears beside its kernel.

use std::io::Read as _;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use flock_lab::Pod;
use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use crate::members::member;

pub(crate) const FIN: u8 = 0x01;
pub(crate) const SYN: u8 = 0x02;
pub(crate) const RST: u8 = 0x04;
pub(crate) const ACK: u8 = 0x10;
pub(crate) const PUSH_ACK: u8 = 0x18;

/// Length of a header without options.
const HEADER: usize = 20;

/// What tests look at of a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Segment {
    pub(crate) from_port: u16,
    pub(crate) to_port: u16,
    /// The number of its first byte.
    pub(crate) number: u32,
    /// The number that its sender waits for.
    pub(crate) answered: u32,
    pub(crate) flags: u8,
    /// Bytes of payload.
    pub(crate) length: usize,
}

/// A member's IPv4 address.
pub(crate) fn v4(name: &str) -> Ipv4Addr {
    let [IpAddr::V4(address), _] = member(name).addresses() else { panic!("{name} has no IPv4 address") };
    address
}

/// A socket that hears every TCP segment that arrives at a pod, and sends some.
pub(crate) fn ear(pod: &Pod) -> Socket {
    let open = || Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::TCP));
    let socket = pod.enter(open).unwrap().unwrap();
    socket.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
    socket
}

/// Sends a segment from one address to another.
pub(crate) fn send(socket: &Socket, (from, to): (Ipv4Addr, Ipv4Addr), segment: &Segment) {
    let target = SockAddr::from(SocketAddr::from((to, 0)));
    socket.send_to(&written(from, to, segment), &target).unwrap();
}

/// The next segment that arrives, or nothing within a moment.
pub(crate) fn next(ear: &Socket) -> Option<Segment> {
    let mut buffer = [0; 4096];
    let mut reader = ear;
    let length = reader.read(&mut buffer).ok()?;
    let header = usize::from(buffer[0] & 0x0f) * 4;
    let tcp = buffer[..length].get(header..)?;
    let number = |at: usize| u32::from_be_bytes(tcp[at..at + 4].try_into().unwrap());
    let port = |at: usize| u16::from_be_bytes(tcp[at..at + 2].try_into().unwrap());
    Some(Segment {
        from_port: port(0),
        to_port: port(2),
        number: number(4),
        answered: number(8),
        flags: tcp[13],
        length: tcp.len() - usize::from(tcp[12] >> 4) * 4,
    })
}

fn written(from: Ipv4Addr, to: Ipv4Addr, segment: &Segment) -> Vec<u8> {
    let mut bytes = Vec::new();
    bytes.extend(segment.from_port.to_be_bytes());
    bytes.extend(segment.to_port.to_be_bytes());
    bytes.extend(segment.number.to_be_bytes());
    bytes.extend(segment.answered.to_be_bytes());
    bytes.extend([0x50, segment.flags, 0x20, 0, 0, 0, 0, 0]);
    bytes.resize(HEADER + segment.length, b'?');
    let mut pseudo = [from.octets(), to.octets()].concat();
    pseudo.extend([0, 6]);
    pseudo.extend(u16::try_from(bytes.len()).unwrap().to_be_bytes());
    let words = pseudo.chunks(2).chain(bytes.chunks(2));
    let word = |pair: &[u8]| u32::from(pair[0]) << 8 | u32::from(pair.get(1).copied().unwrap_or(0));
    let mut sum: u32 = words.map(word).sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    let [high, low] = (!u16::try_from(sum).unwrap()).to_be_bytes();
    (bytes[16], bytes[17]) = (high, low);
    bytes
}
