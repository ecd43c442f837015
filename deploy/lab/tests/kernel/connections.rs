//! Connections that stand while policies change: a revoked rule cuts them at once, a new one lets them go on.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::fd::AsFd;
use std::thread;
use std::time::Duration;

use flock_lab::{OpenConnection, Pod, Protocol, Verdict, patient};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use socket2::{Domain, SockAddr, Socket, Type};

use crate::cluster::Cluster;
use crate::objects::Objects;
use crate::sockets::{PATIENCE, receive, udp};

/// Long enough for an answer, short enough to wait for none.
const MOMENT: Duration = Duration::from_millis(400);
const PROTOCOLS: [Protocol; 3] = [Protocol::Tcp, Protocol::Udp, Protocol::Sctp];

/// Default deny everywhere, and web may send to these (`to`), which may receive from web (`from`).
fn objects(sends: bool, receives: bool) -> Objects {
    let ports = "ports: [{port: 80}, {port: 80, protocol: UDP}, {port: 80, protocol: SCTP}]";
    let mut objects = Objects::of_all_members().with_default_deny();
    if sends {
        let spec = format!(
            "{{podSelector: {{matchLabels: {{app: web}}}}, policyTypes: [Egress], \
             egress: [{{to: [{{podSelector: {{matchLabels: {{tier: back}}}}}}], {ports}}}]}}"
        );
        objects = objects.with_policy("shop", &spec);
    }
    if receives {
        let spec = format!(
            "{{podSelector: {{matchLabels: {{tier: back}}}}, policyTypes: [Ingress], \
             ingress: [{{from: [{{podSelector: {{matchLabels: {{app: web}}}}}}], {ports}}}]}}"
        );
        objects = objects.with_policy("shop", &spec);
    }
    objects
}

/// Exchanges something over all connections at once.
fn exchange(connections: &mut [OpenConnection], patience: Duration) -> Vec<Verdict> {
    thread::scope(|scope| {
        let start = |connection| {
            let connection: &mut OpenConnection = connection;
            scope.spawn(move || connection.exchange_within(patience).unwrap())
        };
        let threads: Vec<_> = connections.iter_mut().map(start).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    })
}

#[test]
fn a_revoked_rule_cuts_what_stands_and_a_new_one_lets_it_go_on() {
    // api is on web's node, db on the other.
    let Some(cluster) = Cluster::of("revoke", &["web", "api", "db"]) else {
        return;
    };
    let web = cluster.pod("web");
    cluster.enforce(&objects(true, true));
    let mut connections = Vec::new();
    for target in ["api", "db"] {
        for address in cluster.pod(target).addresses() {
            for protocol in PROTOCOLS {
                // Opening takes an exchange: replies pass although both ends are isolated both ways.
                connections.push(OpenConnection::open(web, protocol, address, 80).unwrap());
            }
        }
    }
    let all = |verdict| vec![verdict; connections.len()];
    let (reached, dropped) = (all(Verdict::Reached), all(Verdict::Dropped));
    // Every datagram and every SCTP packet; of TCP only the connections, which are all made.
    let arrived = || ["api", "db"].map(|name| cluster.pod(name).arrivals().len());
    for (sends, receives) in [(true, false), (false, true), (false, false)] {
        cluster.enforce(&objects(sends, receives));
        let what = format!("web may send: {sends}, the others may receive: {receives}");
        let before = arrived();
        assert_eq!(exchange(&mut connections, MOMENT), dropped, "{what}");
        assert_eq!(arrived(), before, "{what}");
        cluster.enforce(&objects(true, true));
        assert_eq!(exchange(&mut connections, PATIENCE), reached, "again after {what}");
    }
}

/// A TCP connection in the making.
fn connecting(from: &Pod, to: SocketAddr) -> Socket {
    from.enter(|| {
        let socket = Socket::new(Domain::for_address(to), Type::STREAM, None)?;
        socket.set_nonblocking(true)?;
        match socket.connect(&SockAddr::from(to)) {
            Err(error) if error.raw_os_error() == Some(nix::libc::EINPROGRESS) => Ok(socket),
            Err(error) => Err(error),
            Ok(()) => Err(io::ErrorKind::AlreadyExists.into()),
        }
    })
    .unwrap()
    .unwrap()
}

/// Whether a connection in the making is made within `patience`.
fn is_made(socket: &Socket, patience: Duration) -> bool {
    let mut wanted = [PollFd::new(socket.as_fd(), PollFlags::POLLOUT)];
    let limit = PollTimeout::try_from(patient(patience)).unwrap();
    while poll(&mut wanted, limit) == Err(Errno::EINTR) {}
    let is_ready = wanted[0].any().unwrap_or(false);
    is_ready && socket.take_error().unwrap().is_none()
}

/// Sends a datagram over and over until it comes back, at most for `patience`.
fn is_echoed(socket: &UdpSocket, patience: Duration) -> bool {
    socket.set_read_timeout(Some(patient(MOMENT / 2))).unwrap();
    let rounds = patience.as_millis() / (MOMENT / 2).as_millis();
    (0..rounds).any(|_| socket.send(b"?").is_ok() && socket.recv(&mut [0; 8]).is_ok())
}

#[test]
fn an_attempt_under_way_succeeds_once_it_is_allowed() {
    let Some(cluster) = Cluster::of("attempt", &["web", "api", "db"]) else {
        return;
    };
    let web = cluster.pod("web");
    cluster.enforce(&objects(false, true));
    let targets: Vec<SocketAddr> = ["api", "db"]
        .into_iter()
        .flat_map(|name| cluster.pod(name).addresses())
        .map(|address| SocketAddr::new(address, 80))
        .collect();
    let streams: Vec<Socket> = targets.iter().map(|&to| connecting(web, to)).collect();
    let datagrams: Vec<UdpSocket> = targets.iter().map(|&to| asking(web, to)).collect();
    for (stream, datagram) in streams.iter().zip(&datagrams) {
        assert!(!is_made(stream, MOMENT / 2));
        assert!(!is_echoed(datagram, MOMENT));
    }
    cluster.enforce(&objects(true, true));
    for (stream, datagram) in streams.iter().zip(&datagrams) {
        assert!(is_made(stream, PATIENCE), "the next SYN passes");
        assert!(is_echoed(datagram, PATIENCE), "the same flow passes");
    }
}

/// A UDP socket that asks `to`.
fn asking(from: &Pod, to: SocketAddr) -> UdpSocket {
    let any: IpAddr = if to.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = udp(from, any, 0);
    socket.connect(to).unwrap();
    socket
}

/// Only the first fragment of a datagram has ports in it.
#[test]
fn a_datagram_in_fragments_is_judged_as_a_whole() {
    let Some(cluster) = Cluster::of("fragments", &["web", "api", "db"]) else {
        return;
    };
    let web = cluster.pod("web");
    cluster.enforce(&objects(true, true));
    let long = [b'?'; 2000];
    for name in ["api", "db"] {
        for address in cluster.pod(name).addresses() {
            let [allowed, refused] = [80, 81].map(|port| asking(web, SocketAddr::new(address, port)));
            allowed.send(&long).unwrap();
            assert_eq!(receive(&allowed).unwrap(), long, "{address}");
            refused.set_read_timeout(Some(patient(MOMENT))).unwrap();
            refused.send(&long).unwrap();
            assert!(receive(&refused).is_err(), "{address}");
        }
    }
}
