//! What begins in mid-stream is no connection of an isolated pod: a segment without SYN that connection tracking does not
//! know never arrives, also where a rule allows the port, and whoever sent it is reset.

use std::io::Read as _;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use flock_lab::{Pod, patient};
use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use crate::cluster::Cluster;
use crate::members::member;
use crate::objects::Objects;

const SYN: u8 = 0x02;
const RST: u8 = 0x04;
const ACK: u8 = 0x10;
const PUSH_ACK: u8 = 0x18;
/// A port that nobody serves: nothing but these segments is there.
const PORT: u16 = 4712;
/// How long something may be on its way.
const ON_ITS_WAY: Duration = Duration::from_millis(300);

fn v4(name: &str) -> Ipv4Addr {
    let [IpAddr::V4(address), _] = member(name).addresses() else { panic!("{name} has no IPv4 address") };
    address
}

/// A socket that hears every TCP segment that arrives at a pod.
fn ear(pod: &Pod) -> Socket {
    let open = || Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::TCP));
    let socket = pod.enter(open).unwrap().unwrap();
    socket.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
    socket
}

/// A segment without payload, from one port to another, whose number is `number`.
fn segment(from: (Ipv4Addr, u16), to: (Ipv4Addr, u16), flags: u8, number: u32) -> Vec<u8> {
    let mut segment = Vec::new();
    segment.extend(from.1.to_be_bytes());
    segment.extend(to.1.to_be_bytes());
    segment.extend(number.to_be_bytes());
    segment.extend(number.to_be_bytes());
    segment.extend([0x50, flags, 0x20, 0, 0, 0, 0, 0]);
    let mut pseudo = [from.0.octets(), to.0.octets()].concat();
    pseudo.extend([0, 6, 0, 20]);
    let words = pseudo.chunks(2).chain(segment.chunks(2));
    let mut sum: u32 = words.map(|pair| u32::from(pair[0]) << 8 | u32::from(pair[1])).sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    let [high, low] = (!u16::try_from(sum).unwrap()).to_be_bytes();
    (segment[16], segment[17]) = (high, low);
    segment
}

/// Whether a segment to this port with these flags arrives.
fn hears(ear: &Socket, port: u16, flags: u8) -> bool {
    let end = Instant::now() + patient(ON_ITS_WAY);
    let mut buffer = [0; 256];
    while Instant::now() < end {
        let mut reader = ear;
        let Ok(length) = reader.read(&mut buffer) else { continue };
        let header = usize::from(buffer[0] & 0x0f) * 4;
        let Some(tcp) = buffer[..length].get(header..) else { continue };
        if tcp[2..4] == port.to_be_bytes() && tcp[13] & flags == flags {
            return true;
        }
    }
    false
}

/// Sends a segment; whether it arrives, and whether its sender is reset.
fn sent(from: (&Pod, &str), to: (&Pod, &str), source_port: u16, flags: u8) -> (bool, bool) {
    let (listening, own) = (ear(to.0), ear(from.0));
    let bytes = segment((v4(from.1), source_port), (v4(to.1), PORT), flags, 7);
    let target = SockAddr::from(SocketAddr::from((v4(to.1), 0)));
    own.send_to(&bytes, &target).unwrap();
    (hears(&listening, PORT, flags), hears(&own, source_port, RST))
}

#[test]
fn a_segment_without_a_beginning_never_arrives_at_an_isolated_pod() {
    let Some(cluster) = Cluster::of("mid-stream", &["web", "api", "teller"]) else { return };
    let [web, api, teller] = ["web", "api", "teller"].map(|name| (cluster.pod(name), name));
    // Everything is allowed to api, which only ingress isolates; web and teller are open.
    let objects = Objects::of_all_members().with_policy(
        "shop",
        "{podSelector: {matchLabels: {tier: back}}, policyTypes: [Ingress], \
         ingress: [{ports: [{port: 4712}]}]}",
    );
    assert!(sent(web, api, 30_001, ACK).0, "before anything is enforced");
    cluster.enforce(&objects);
    // The flags by which connection tracking picks a connection up; it calls others invalid, and they begin nothing.
    for (port, flags) in [(30_002, ACK), (30_003, PUSH_ACK)] {
        assert_eq!(sent(web, api, port, flags), (false, true), "{flags:#x} to an isolated pod");
    }
    assert!(!sent(api, web, 30_006, ACK).0, "from a pod that only ingress isolates");
    assert!(sent(web, api, 30_007, SYN).0, "a beginning");
    assert!(sent(web, teller, 30_008, ACK).0, "between open pods");
}
