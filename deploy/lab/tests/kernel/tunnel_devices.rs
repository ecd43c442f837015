//! Tunnels that nodes take packets out of, on real devices: what a pod hands to a node's end of one never comes out,
//! whoever it says it is from. This machine's kernel may have none; `deploy/kernels --only tunnels` boots some that do.

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4, UdpSocket};
use std::time::Duration;

use flock_lab::{Family, Namespace, Node, Pod, patient, skipped};
use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use crate::cluster::{Cluster, told};
use crate::objects::Objects;

/// Where the victims listen.
const PORT: u16 = 4711;
/// How long a packet may be on its way.
const ON_ITS_WAY: Duration = Duration::from_millis(400);
/// The Ethernet address of every device of these tests that has one.
const MAC: [u8; 6] = [2, 0, 0, 0, 0, 42];

/// A tunnel: what `ip link add` is told of it, and how a packet gets into it.
struct Tunnel {
    name: &'static str,
    device: &'static str,
    outer: Outer,
    /// What stands between the outer header and the packet, or the packet's Ethernet header.
    header: &'static [u8],
}

/// What carries the packet.
#[derive(Clone, Copy)]
enum Outer {
    /// UDP to this port, and an Ethernet frame in it.
    Udp(u16),
    /// A protocol of IP, and the packet itself in it.
    Ip(i32),
}

const TUNNELS: [Tunnel; 5] = [
    Tunnel {
        name: "vxlan",
        device: "vxlan id 42 dstport 4789",
        outer: Outer::Udp(4789),
        header: &[8, 0, 0, 0, 0, 0, 42, 0],
    },
    Tunnel {
        name: "vxlan-old",
        device: "vxlan id 42 dstport 8472",
        outer: Outer::Udp(8472),
        header: &[8, 0, 0, 0, 0, 0, 42, 0],
    },
    Tunnel {
        name: "geneve",
        device: "geneve external",
        outer: Outer::Udp(6081),
        header: &[0, 0, 0x65, 0x58, 0, 0, 42, 0],
    },
    Tunnel { name: "ipip", device: "ipip local NODE", outer: Outer::Ip(4), header: &[] },
    Tunnel { name: "gre", device: "gre local NODE", outer: Outer::Ip(47), header: &[0, 0, 8, 0] },
];

impl Tunnel {
    /// The node's end; false where the kernel has no such device.
    fn opens_at(&self, node: &Node) -> bool {
        let Self { name, device, outer, .. } = self;
        let device = device.replace("NODE", &node.address(Family::V4).to_string());
        let address = match outer {
            Outer::Udp(_) => "address 02:00:00:00:00:2a ",
            Outer::Ip(_) => "",
        };
        node.ip(&[format!("link add {name} {address}type {device}"), format!("link set {name} up")]).is_ok()
    }

    /// Sends a packet, which says the tunnel's name, into the node's end.
    fn carries(&self, sender: &Namespace, node: &Node, from: Ipv4Addr, to: Ipv4Addr) {
        let mut payload = self.header.to_vec();
        if let Outer::Udp(_) = self.outer {
            payload.extend(MAC.into_iter().chain([2, 0, 0, 0, 0, 1, 8, 0]));
        }
        payload.extend(datagram(from, to, self.name.as_bytes()));
        let IpAddr::V4(address) = node.address(Family::V4) else { panic!("nodes have both") };
        let send = || match self.outer {
            Outer::Udp(port) => UdpSocket::bind("0.0.0.0:0")?.send_to(&payload, (address, port)),
            Outer::Ip(protocol) => {
                let socket = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::from(protocol)))?;
                socket.send_to(&payload, &SockAddr::from(SocketAddrV4::new(address, 0)))
            }
        };
        match sender.enter(send).unwrap() {
            // Before the table is there, nodes may say that they know no such protocol.
            Err(error) if error.kind() != ErrorKind::ConnectionRefused => panic!("{}: {error}", self.name),
            Ok(_) | Err(_) => {}
        }
    }
}

/// An IPv4 packet with a datagram without a checksum.
fn datagram(from: Ipv4Addr, to: Ipv4Addr, said: &[u8]) -> Vec<u8> {
    let length = |more: usize| u16::try_from(said.len() + more).unwrap().to_be_bytes();
    let mut packet = vec![0x45, 0];
    packet.extend(length(28));
    packet.extend([0, 0, 0, 0, 64, 17, 0, 0]);
    packet.extend(from.octets().into_iter().chain(to.octets()));
    let sum: u32 = packet.chunks(2).map(|word| u32::from(word[0]) << 8 | u32::from(word[1])).sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    let folded = (folded & 0xffff) + (folded >> 16);
    packet[10..12].copy_from_slice(&(!u16::try_from(folded).unwrap()).to_be_bytes());
    for word in [PORT.to_be_bytes(), PORT.to_be_bytes(), length(8), [0, 0]] {
        packet.extend(word);
    }
    packet.extend(said);
    packet
}

/// A pod that listens, and from which other one its policy lets it hear.
struct Victim {
    ear: UdpSocket,
    address: Ipv4Addr,
    friend: Ipv4Addr,
}

fn v4(pod: &Pod) -> Ipv4Addr {
    match pod.address(Family::V4) {
        Some(IpAddr::V4(address)) => address,
        other => panic!("{other:?}"),
    }
}

impl Victim {
    fn of(pod: &Pod, friend: &Pod) -> Self {
        let ear = pod.enter(|| UdpSocket::bind(("0.0.0.0", PORT))).unwrap().unwrap();
        ear.set_read_timeout(Some(patient(ON_ITS_WAY))).unwrap();
        Self { ear, address: v4(pod), friend: v4(friend) }
    }

    /// The tunnels by which it hears, where a namespace sends by all into a node.
    fn hears(&self, tunnels: &[&Tunnel], sender: &Namespace, node: &Node) -> BTreeSet<String> {
        for tunnel in tunnels {
            tunnel.carries(sender, node, self.friend, self.address);
        }
        let (mut heard, mut buffer) = (BTreeSet::new(), [0; 64]);
        while let Ok((length, SocketAddr::V4(from))) = self.ear.recv_from(&mut buffer) {
            assert_eq!(*from.ip(), self.friend);
            heard.insert(String::from_utf8_lossy(&buffer[..length]).into_owned());
        }
        heard
    }
}

#[test]
fn what_a_pod_hands_to_a_tunnel_never_comes_out() {
    let Some(cluster) = Cluster::of("tunnels", &["web", "api", "db", "cache"]) else { return };
    let [a, b] = &cluster.nodes;
    let opens = |tunnel: &&Tunnel| [a, b].map(|node| tunnel.opens_at(node)) == [true; 2];
    let tunnels: Vec<&Tunnel> = TUNNELS.iter().filter(opens).collect();
    if tunnels.is_empty() {
        skipped("needs a kernel with tunnel devices");
        return;
    }
    let all: BTreeSet<String> = tunnels.iter().map(|tunnel| tunnel.name.to_owned()).collect();
    let (web, api, db, cache) =
        (cluster.pod("web"), cluster.pod("api"), cluster.pod("db"), cluster.pod("cache"));
    // api's own node, and the other one.
    let (near, far) = (Victim::of(web, cache), Victim::of(db, web));
    assert_eq!(near.hears(&tunnels, api, a), all, "without a table, its own node takes them in");
    assert_eq!(far.hears(&tunnels, api, b), all, "and the other one");

    let objects = Objects::of_all_members().with_node_addresses().host_interfaces("sha1:cali");
    let hears = |app: &str, friend: &str| {
        format!(
            "{{podSelector: {{matchLabels: {{app: {app}}}}}, \
             ingress: [{{from: [{{podSelector: {{matchLabels: {{app: {friend}}}}}}}]}}]}}"
        )
    };
    let objects = objects.with_policies(&[("shop", &hears("web", "cache")), ("shop", &hears("db", "web"))]);
    // With a policy for who sends, and without one.
    let deny = "{podSelector: {matchLabels: {app: api}}, policyTypes: [Egress]}";
    for objects in [objects.clone().with_policy("shop", deny), objects] {
        cluster.enforce(&objects);
        let passed = [near.hears(&tunnels, api, a), far.hears(&tunnels, api, b)];
        let wrong = passed.iter().map(BTreeSet::len).sum();
        told(2 * tunnels.len(), wrong);
        assert_eq!(passed, [BTreeSet::new(), BTreeSet::new()], "a pod into the nodes' tunnels");
        let between = [near.hears(&tunnels, b, a), far.hears(&tunnels, a, b)];
        told(2 * tunnels.len(), between.iter().map(|heard| tunnels.len() - heard.len()).sum());
        assert_eq!(between, [all.clone(), all.clone()], "nodes reach each other's tunnels");
    }
    // Read in what a guest says.
    println!("tunnels: {}", all.into_iter().collect::<Vec<_>>().join(", "));
}
