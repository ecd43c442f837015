//! What never leaves a pod's link, or a node's bridge, is nobody's to forbid: neighbour discovery, link-local
//! traffic, asking for an address.

use std::fs;
use std::net::{IpAddr, Ipv6Addr, SocketAddr, SocketAddrV6, UdpSocket};
use std::thread;
use std::time::Duration;

use flock_lab::{Node, Pod, PodSpec, Probe, Protocol, skipped};
use nix::net::if_::if_nametoindex;
use socket2::{Domain, SockAddr, Socket, Type};

use crate::cluster::Cluster;
use crate::flow::SERVED;
use crate::members::{Member, member};
use crate::objects::{Objects, PodDocument};
use crate::sockets::PATIENCE;
use crate::trials::{Trials, to_pod};

/// Default deny everywhere, and web may ask api and db for anything.
fn objects() -> Objects {
    Objects::of_all_members()
        .with_default_deny()
        .with_policy(
            "shop",
            "{podSelector: {matchLabels: {app: web}}, policyTypes: [Egress], \
             egress: [{to: [{podSelector: {matchLabels: {tier: back}}}]}]}",
        )
        .with_policy(
            "shop",
            "{podSelector: {matchLabels: {tier: back}}, policyTypes: [Ingress], \
             ingress: [{from: [{podSelector: {matchLabels: {app: web}}}]}]}",
        )
}

#[test]
fn neighbours_are_found_again_under_default_deny() {
    let Some(cluster) = Cluster::of("neighbours", &["web", "api", "db"]) else {
        return;
    };
    let (web, api, db) = (cluster.pod("web"), cluster.pod("api"), cluster.pod("db"));
    for interfaces in ["none", "sha1:cali"] {
        cluster.enforce(&objects().host_interfaces(interfaces));
        let forget = ["neigh flush all".to_owned()];
        for namespace in cluster
            .pods
            .iter()
            .map(|pod| pod.namespace())
            .chain(cluster.nodes.iter().map(|node| node.namespace()))
        {
            namespace.ip(&forget).unwrap();
        }
        Trials::default()
            .reached("what policies allow, on one node", to_pod(web, api))
            .reached("what policies allow, across nodes", to_pod(web, db))
            .reached("a node to its own pod", to_pod(&cluster.nodes[1], db))
            .dropped("and nothing else", to_pod(api, db))
            .check();
    }
}

/// A pod as one port of its node's bridge, as the bridge plugin wires it.
fn on_bridge(cluster: &Cluster, member: &Member) -> Pod {
    let spec = PodSpec { addresses: Vec::new(), host_interface: Some(member.interface.to_owned()) };
    let pod = cluster.nodes[0].pod_with(member.name, &spec).unwrap();
    let [v4, v6] = member.addresses();
    pod.ip(&[format!("address add {v4}/24 dev eth0"), format!("address add {v6}/64 dev eth0 nodad")])
        .unwrap();
    let port = format!("link set dev {} master cni0", member.interface);
    cluster.nodes[0].ip(&[port]).unwrap();
    pod.serve(&SERVED).unwrap();
    pod
}

/// On a bridge, pods look for each other through the forward hook, and no rule names neighbour discovery.
#[test]
fn neighbours_on_a_bridge_find_each_other() {
    let Some(cluster) = Cluster::of("bridge", &[]) else {
        return;
    };
    let settings =
        ["iptables", "ip6tables"].map(|hook| format!("/proc/sys/net/bridge/bridge-nf-call-{hook}"));
    let switched_on = cluster.nodes[0].enter(|| settings.iter().try_for_each(|path| fs::write(path, "1")));
    if let Err(error) = switched_on.unwrap() {
        skipped(&format!("needs the kernel's br_netfilter: {error}"));
        return;
    }
    let bridge = "link add cni0 type bridge stp_state 0 forward_delay 0 mcast_snooping 0";
    cluster.nodes[0].ip(&[bridge.to_owned(), "link set dev cni0 up".to_owned()]).unwrap();
    let [web, api, teller] = ["web", "api", "teller"].map(|name| on_bridge(&cluster, member(name)));
    cluster.enforce(&objects());
    let asks = |from: &Pod, to: &str| {
        let each = |to| {
            [Protocol::Tcp, Protocol::Udp, Protocol::Sctp, Protocol::IcmpEcho]
                .map(|protocol| Probe::new(from, protocol, to, 80))
        };
        member(to).addresses().into_iter().flat_map(each).collect::<Vec<_>>()
    };
    Trials::default()
        .reached("what policies allow", asks(&web, "api"))
        .dropped("the other way", asks(&api, "web"))
        .dropped("another pod", asks(&teller, "api"))
        .check();
}

/// Sends to the node's end of the pod's link, from one link-local address to the other.
fn asks_its_link(pod: &Pod) {
    let send = || {
        let link = if_nametoindex("eth0")?;
        let gateway = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1);
        let socket = UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0))?;
        socket.send_to(b"?", SocketAddrV6::new(gateway, 67, 0, link))
    };
    pod.enter(send).unwrap().unwrap();
}

/// Sends what a host sends that asks for an IPv4 address and has none.
fn asks_for_an_address(pod: &Pod) {
    let send = || {
        let socket = Socket::new(Domain::IPV4, Type::DGRAM, None)?;
        socket.set_broadcast(true)?;
        socket.bind_device(Some(b"eth0"))?;
        socket.send_to(b"?", &SockAddr::from(SocketAddr::from(([255; 4], 67))))
    };
    pod.enter(send).unwrap().unwrap();
}

/// Whether something from such an address arrives at the node's servers.
fn arrives(node: &Node, from: impl Fn(IpAddr) -> bool) -> bool {
    let wait = Duration::from_millis(20);
    (0..PATIENCE.as_millis() / wait.as_millis()).any(|_| {
        thread::sleep(wait);
        node.arrivals().iter().any(|arrival| from(arrival.from.ip()))
    })
}

/// The check of sources leaves alone what cannot leave the link.
#[test]
fn a_link_is_usable_before_and_beside_the_pods_addresses() {
    let Some(cluster) = Cluster::of("link", &[]) else {
        return;
    };
    let node = &cluster.nodes[0];
    node.serve(&[(Protocol::Udp, 67)]).unwrap();
    // `cali` and the start of `printf shop.late | sha1sum`.
    let interface = "calie4d13a7a08c";
    let address = "fd00:10:244:1::30";
    let spec =
        PodSpec { addresses: vec![address.parse().unwrap()], host_interface: Some(interface.to_owned()) };
    let pod = node.pod_with("late", &spec).unwrap();
    let late = PodDocument {
        name: "late".to_owned(),
        addresses: vec![address.to_owned()],
        ..PodDocument::of(member("web"))
    };
    let objects = Objects::without_pods().host_interfaces("sha1:cali").with(&late.text());
    cluster.enforce(&objects.with_default_deny());
    asks_its_link(&pod);
    let link_local = |ip: IpAddr| matches!(ip, IpAddr::V6(ip) if ip.is_unicast_link_local());
    assert!(arrives(node, link_local), "{:?}", node.arrivals());
    asks_for_an_address(&pod);
    assert!(arrives(node, |ip| ip.is_unspecified()), "{:?}", node.arrivals());
}
