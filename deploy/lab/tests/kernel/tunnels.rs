//! Where a node takes packets out of packets, no pod reaches it: by none of its addresses, through no service, neither at
//! its own node nor at another. Nodes reach each other there. No tunnel is made: a node's socket at the same port, or for
//! the same protocol, hears what a tunnel would be handed.

use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6, UdpSocket};
use std::time::{Duration, Instant};

use flock_lab::{Namespace, Node, patient};
use nix::net::if_::if_nametoindex;
use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use crate::bridge::{bridge, enforce, member_on_bridge};
use crate::cluster::Cluster;
use crate::members::member;
use crate::objects::Objects;

/// VXLAN, VXLAN-GPE, Geneve, VXLAN as Linux had it before.
const PORTS: [u16; 4] = [4789, 4790, 6081, 8472];
/// IP in IP, IPv6 in IP, GRE, Ethernet in IP, L2TP, MPLS in IP.
const PROTOCOLS: [i32; 6] = [4, 41, 47, 97, 115, 137];
/// A port that no tunnel ends at.
const OTHER: u16 = 4711;
/// The address of services, at these ports: of a tunnel of the first node and of the second.
const SERVICE: Ipv4Addr = Ipv4Addr::new(10, 96, 0, 9);
const SERVICES: [u16; 2] = [53, 54];
/// How long something may be on its way.
const ON_ITS_WAY: Duration = Duration::from_millis(250);

const NODES: [Ipv4Addr; 2] = [Ipv4Addr::new(172, 18, 0, 1), Ipv4Addr::new(172, 18, 0, 2)];

const fn node_v6(number: u16) -> Ipv6Addr {
    Ipv6Addr::new(0xfd00, 0x18, 0, 0, 0, 0, 0, number)
}

/// The sockets of a node at all those ports and for all those protocols, with what they are for.
struct Ears(Vec<(String, Socket)>);

impl Ears {
    fn of(node: &Node) -> Self {
        let mut ears = Vec::new();
        for domain in [Domain::IPV4, Domain::IPV6] {
            let is_v6 = domain == Domain::IPV6;
            for port in PORTS.into_iter().chain([OTHER]) {
                let open = || -> std::io::Result<Socket> {
                    let socket = Socket::new(domain, Type::DGRAM, None)?;
                    if is_v6 {
                        socket.set_only_v6(true)?;
                    }
                    let any: IpAddr =
                        if is_v6 { Ipv6Addr::UNSPECIFIED.into() } else { Ipv4Addr::UNSPECIFIED.into() };
                    socket.bind(&SockAddr::from(SocketAddr::new(any, port)))?;
                    Ok(socket)
                };
                ears.push((format!("port {port}"), node.enter(open).unwrap().unwrap()));
            }
            for protocol in PROTOCOLS {
                let open = || Socket::new(domain, Type::RAW, Some(Protocol::from(protocol)));
                ears.push((format!("protocol {protocol}"), node.enter(open).unwrap().unwrap()));
            }
        }
        for (_, socket) in &ears {
            socket.set_nonblocking(true).unwrap();
        }
        Self(ears)
    }

    /// What each hears that ends in these words.
    fn heard(&self, words: &str) -> Vec<String> {
        let mut heard = Vec::new();
        for (name, socket) in &self.0 {
            let mut buffer = [0; 256];
            loop {
                let mut reader = socket;
                match std::io::Read::read(&mut reader, &mut buffer) {
                    Ok(length) if buffer[..length].ends_with(words.as_bytes()) => heard.push(name.clone()),
                    Ok(_) => {}
                    Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                    Err(error) => panic!("{name}: {error}"),
                }
            }
        }
        heard
    }
}

/// Sends a datagram or, with a protocol, a packet.
fn sends(from: &Namespace, protocol: Option<i32>, to: SocketAddr, words: &str) {
    let send = || {
        let kind = if protocol.is_some() { Type::RAW } else { Type::DGRAM };
        let socket = Socket::new(Domain::for_address(to), kind, protocol.map(Protocol::from))?;
        if protocol.is_none() {
            socket.set_broadcast(true)?;
        }
        socket.send_to(words.as_bytes(), &SockAddr::from(to))
    };
    from.enter(send).unwrap().unwrap();
}

/// Where a pod finds nodes: words and addresses.
fn targets(from: &Namespace) -> Vec<(&'static str, SocketAddr)> {
    let link = from.enter(|| if_nametoindex("eth0")).unwrap().unwrap();
    let on_link = |address| SocketAddr::V6(SocketAddrV6::new(address, 0, 0, link));
    let at = |address: IpAddr| SocketAddr::new(address, 0);
    vec![
        ("its node", at(NODES[0].into())),
        ("its node, IPv6", at(node_v6(1).into())),
        ("its node on their link", on_link(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1))),
        ("all hosts of its link", on_link(Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1))),
        ("all hosts", at(Ipv4Addr::new(224, 0, 0, 1).into())),
        ("everybody", at(Ipv4Addr::BROADCAST.into())),
        ("everybody of the nodes' subnet", at(Ipv4Addr::new(172, 18, 255, 255).into())),
        ("whichever router of the nodes' subnet", at(Ipv6Addr::new(0xfd00, 0x18, 0, 0, 0, 0, 0, 0).into())),
        ("the other node", at(NODES[1].into())),
        ("the other node, IPv6", at(node_v6(2).into())),
    ]
}

/// What arrives at the nodes: by what way, and at which ears.
fn arrivals(from: &Namespace, ears: &[Ears]) -> Vec<(&'static str, Vec<String>)> {
    let mut all = Vec::new();
    for (way, to) in targets(from) {
        for port in PORTS {
            let mut to = to;
            to.set_port(port);
            sends(from, None, to, way);
        }
        // Raw packets to everybody need more than a raw socket; to one node each protocol is enough.
        if way.contains("node") && !way.contains("nodes") {
            for protocol in PROTOCOLS {
                sends(from, Some(protocol), to, way);
            }
        }
        all.push((way, collect(ears, way)));
    }
    for (port, way) in SERVICES.into_iter().zip(["a service of its node's", "a service of the other node's"])
    {
        sends(from, None, (SERVICE, port).into(), way);
        all.push((way, collect(ears, way)));
    }
    all.retain(|(_, heard)| !heard.is_empty());
    all
}

fn collect(ears: &[Ears], words: &str) -> Vec<String> {
    let end = Instant::now() + patient(ON_ITS_WAY);
    let mut heard = Vec::new();
    while Instant::now() < end {
        heard.extend(ears.iter().flat_map(|ears| ears.heard(words)));
        std::thread::sleep(Duration::from_millis(10));
    }
    heard.sort_unstable();
    heard.dedup();
    heard
}

/// Services by which the address of a tunnel has another name: whoever writes endpoints may name any address.
fn serve_tunnels(node: &Node) {
    let rules: String = SERVICES
        .into_iter()
        .zip(NODES)
        .map(|(port, node)| format!("ip daddr {SERVICE} udp dport {port} dnat to {node}:8472\n"))
        .collect();
    node.nft(&format!(
        "table ip services {{\nchain there {{\ntype nat hook prerouting priority dstnat;\n{rules}}}\n}}\n"
    ))
    .unwrap();
}

fn said(from: &Namespace, ears: &Ears, to: SocketAddr, protocol: Option<i32>) -> bool {
    sends(from, protocol, to, "between nodes");
    !collect(std::slice::from_ref(ears), "between nodes").is_empty()
}

/// Nodes reach each other where tunnels end, and pods their node elsewhere.
fn others_go_on(cluster: &Cluster, from: &Namespace, ears: &[Ears; 2]) {
    let [a, b] = &cluster.nodes;
    for port in PORTS {
        assert!(said(a, &ears[1], (NODES[1], port).into(), None), "{port} between nodes");
    }
    for protocol in PROTOCOLS {
        assert!(said(b, &ears[0], (node_v6(1), 0).into(), Some(protocol)), "{protocol} between nodes");
    }
    assert!(said(from, &ears[0], (NODES[0], OTHER).into(), None), "another port of the node");
    assert!(said(from, &ears[1], (NODES[1], OTHER).into(), None), "another port of the other node");
}

/// A datagram at the port of a tunnel, to another pod, is like any other.
fn pods_hear(from: &Namespace, to: &Namespace, address: IpAddr) {
    let socket = to.enter(|| UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 4789))).unwrap().unwrap();
    socket.set_read_timeout(Some(patient(Duration::from_secs(5)))).unwrap();
    sends(from, None, SocketAddr::new(address, 4789), "a pod's");
    assert!(socket.recv(&mut [0; 16]).is_ok());
}

#[test]
fn pods_whose_interfaces_are_known_reach_no_tunnel() {
    let Some(cluster) = Cluster::of("tunnels", &["web", "api"]) else { return };
    let (web, api) = (cluster.pod("web"), cluster.pod("api"));
    let ears = [&cluster.nodes[0], &cluster.nodes[1]].map(Ears::of);
    serve_tunnels(&cluster.nodes[0]);
    let objects = || Objects::of_all_members().with_node_addresses();
    let ways = arrivals(web, &ears);
    let all: Vec<_> = targets(web).into_iter().map(|(way, _)| way).collect();
    let before: Vec<_> = ways.iter().map(|(way, _)| *way).collect();
    assert_eq!(before[..all.len()], all, "before anything is enforced");
    assert_eq!(before.len(), all.len() + SERVICES.len(), "before anything is enforced: {before:?}");
    // Where interfaces are not known, there is no telling who sends: this is written down.
    cluster.enforce(&objects());
    assert_eq!(arrivals(web, &ears), ways, "interfaces are not known");
    cluster.enforce(&objects().host_interfaces("sha1:cali"));
    assert_eq!(arrivals(web, &ears), [], "interfaces are known");
    others_go_on(&cluster, web, &ears);
    pods_hear(web, api, member("api").addresses()[0]);
}

#[test]
fn pods_on_a_bridge_reach_no_tunnel() {
    let Some(cluster) = Cluster::of("tunnels-bridge", &[]) else { return };
    let node = &cluster.nodes[0];
    if !bridge(node, "cni0", "10.244.1.1/24") {
        return;
    }
    node.ip(&[
        "address add fe80::1/64 dev cni0 nodad".to_owned(),
        "address add fd00:10:244:1::1/64 dev cni0 nodad".to_owned(),
    ])
    .unwrap();
    let [web, api] = ["web", "api"].map(|name| member_on_bridge(node, member(name)));
    cluster.nodes[1]
        .ip(&[
            "route add 10.244.1.0/24 via 172.18.0.1".to_owned(),
            "route add fd00:10:244:1::/64 via fd00:18::1".to_owned(),
        ])
        .unwrap();
    let ears = [&cluster.nodes[0], &cluster.nodes[1]].map(Ears::of);
    serve_tunnels(node);
    let before = arrivals(&web, &ears);
    assert_eq!(before.len(), targets(&web).len() + SERVICES.len(), "before anything is enforced: {before:?}");
    enforce(&cluster, &Objects::of_all_members().with_node_addresses());
    assert_eq!(arrivals(&web, &ears), []);
    others_go_on(&cluster, &web, &ears);
    pods_hear(&web, &api, member("api").addresses()[0]);
}
