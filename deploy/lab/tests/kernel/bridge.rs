//! Pods on a bridge: an isolated one is sent nothing, and sends nothing, that a rule does not allow, whatever address,
//! scope, tag or protocol it comes by. Open pods, the node and other bridges go on as before.

use std::fs;
use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6, TcpStream, UdpSocket};
use std::sync::Arc;
use std::time::{Duration, Instant};

use flock_compiler_core::object::{Bridge, BridgeNf, Facts, InterfaceName};
use flock_compiler_core::translate::translate_with;
use flock_compiler_core::{Change, Edit, Options, Output, UnreadyPods, render};
use flock_lab::{Node, Pod, PodSpec, Probe, Protocol, patient, skipped};
use flock_shared::Script;
use nix::net::if_::if_nametoindex;
use socket2::{Domain, SockAddr, Socket, Type};

use crate::cluster::Cluster;
use crate::flow::SERVED;
use crate::members::{Member, member};
use crate::objects::{Objects, PodDocument};
use crate::trials::Trials;

/// A port that servers of these tests listen at.
const PORT: u16 = 4711;
/// How long something may be on its way.
const ON_ITS_WAY: Duration = Duration::from_millis(400);

/// The node's bridge with the node's address, and br_netfilter; false where the kernel has none, which is said.
pub(crate) fn bridge(node: &Node, name: &str, address: &str) -> bool {
    let settings =
        ["iptables", "ip6tables"].map(|hook| format!("/proc/sys/net/bridge/bridge-nf-call-{hook}"));
    let switched_on = node.enter(|| settings.iter().try_for_each(|path| fs::write(path, "1"))).unwrap();
    if let Err(error) = switched_on {
        skipped(&format!("needs the kernel's br_netfilter: {error}"));
        return false;
    }
    node.ip(&[
        format!("link add {name} type bridge stp_state 0 forward_delay 0 mcast_snooping 0"),
        format!("address add {address} dev {name}"),
        format!("link set dev {name} up"),
    ])
    .unwrap();
    true
}

/// A pod as one port of its node's bridge, as the bridge plugin wires it.
pub(crate) fn on_bridge(node: &Node, bridge: &str, name: &str, interface: &str, addresses: &[&str]) -> Pod {
    let spec = PodSpec { addresses: Vec::new(), host_interface: Some(interface.to_owned()) };
    let pod = node.pod_with(name, &spec).unwrap();
    pod.ip(&addresses.iter().map(|address| format!("address add {address} dev eth0")).collect::<Vec<_>>())
        .unwrap();
    node.ip(&[format!("link set dev {interface} master {bridge}")]).unwrap();
    pod.serve(&SERVED).unwrap();
    pod
}

pub(crate) fn member_on_bridge(node: &Node, member: &Member) -> Pod {
    let [v4, v6] = member.addresses();
    let addresses = [format!("{v4}/24"), format!("{v6}/64 nodad")];
    let addresses: Vec<&str> = addresses.iter().map(String::as_str).collect();
    // `nodad` belongs behind the device.
    let pod = on_bridge(node, "cni0", member.name, member.interface, &addresses[..1]);
    pod.ip(&[format!("address add {v6}/64 dev eth0 nodad")]).unwrap();
    pod
}

/// What the agent of the first node finds.
fn facts(ports: &[&str]) -> Facts {
    let names = |names: &[&str]| names.iter().map(|name| name.parse::<InterfaceName>().unwrap()).collect();
    let bridge = |name: &str, address: &str, links: &[&str]| Bridge {
        name: name.parse().unwrap(),
        addresses: vec![address.parse().unwrap()],
        links: names(links),
        uplinks: names(&[]),
    };
    Facts {
        bridges: vec![
            bridge("cni0", "10.244.1.1/24", ports),
            bridge("docker0", "172.17.0.1/16", &["dock1", "dock2"]),
        ],
        bridge_nf_v4: BridgeNf::On,
        bridge_nf_v6: BridgeNf::On,
        ..Facts::nothing_of("node-a".parse().unwrap())
    }
}

/// What the compiler makes of the objects on the first node.
pub(crate) fn output(objects: &Objects) -> Arc<Output> {
    let mut world = objects.world();
    world.apply(Change::Facts(Edit::Upsert(facts(&[]))));
    let options = Options { unready_pods: UnreadyPods::Allow, ..Options::default() };
    translate_with(&world, options).output(&"node-a".parse().unwrap())
}

/// A script as nft takes it.
pub(crate) fn text(script: &Script) -> String {
    String::from_utf8(script.bytes().to_vec()).unwrap()
}

/// Puts that into the first node.
pub(crate) fn enforce(cluster: &Cluster, objects: &Objects) {
    cluster.nodes[0].nft(&text(&render(&output(objects)))).unwrap();
}

/// The link-local address of a pod's interface.
pub(crate) fn link_local(pod: &Pod) -> Ipv6Addr {
    let text = pod.run("ip", &["-6", "-o", "address", "show", "dev", "eth0", "scope", "link"], "").unwrap();
    let address = text.split_whitespace().skip_while(|word| *word != "inet6").nth(1).unwrap();
    address.split('/').next().unwrap().parse().unwrap()
}

fn scoped(pod: &Pod, address: Ipv6Addr) -> SocketAddr {
    let link = pod.enter(|| if_nametoindex("eth0")).unwrap().unwrap();
    SocketAddrV6::new(address, PORT, 0, link).into()
}

/// A datagram from one pod to wherever its kernel takes it on its link.
pub(crate) fn sends(from: &Pod, to: SocketAddr, what: &[u8]) {
    let send = || {
        let socket = Socket::new(Domain::for_address(to), Type::DGRAM, None)?;
        socket.set_broadcast(true)?;
        socket.bind_device(Some(b"eth0"))?;
        socket.send_to(what, &SockAddr::from(to))
    };
    match from.enter(send).unwrap() {
        Ok(_) => {}
        // What it was sent before was answered: nobody is there, or may be.
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => {}
        Err(error) => panic!("{to}: {error}"),
    }
}

/// A socket in a pod that hears its group and broadcast too.
struct Ear([UdpSocket; 2]);

impl Ear {
    fn of(pod: &Pod) -> Self {
        let open = || -> std::io::Result<[UdpSocket; 2]> {
            let v4 = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, PORT))?;
            let v6 = Socket::new(Domain::IPV6, Type::DGRAM, None)?;
            v6.set_only_v6(true)?;
            v6.bind(&SockAddr::from(SocketAddr::from((Ipv6Addr::UNSPECIFIED, PORT))))?;
            let sockets = [v4, v6.into()];
            for socket in &sockets {
                socket.set_read_timeout(Some(Duration::from_millis(20)))?;
            }
            Ok(sockets)
        };
        Self(pod.enter(open).unwrap().unwrap())
    }

    /// Whether `what` arrives within the time that it may be on its way.
    fn hears(&self, what: &[u8]) -> bool {
        let end = Instant::now() + patient(ON_ITS_WAY);
        let mut buffer = [0; 64];
        while Instant::now() < end {
            for socket in &self.0 {
                if socket.recv(&mut buffer).is_ok_and(|length| buffer.get(..length) == Some(what)) {
                    return true;
                }
            }
        }
        false
    }
}

/// Where a pod could be met without one of its own addresses, as the sender sees it.
fn ways(from: &Pod, to: &Pod) -> Vec<(&'static str, SocketAddr)> {
    vec![
        ("its link-local address", scoped(from, link_local(to))),
        ("all nodes", scoped(from, Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1))),
        ("multicast", (Ipv4Addr::new(224, 0, 0, 1), PORT).into()),
        ("everybody", (Ipv4Addr::BROADCAST, PORT).into()),
        ("everybody of the subnet", (Ipv4Addr::new(10, 244, 1, 255), PORT).into()),
        ("an address that it gave itself", (Ipv4Addr::new(169, 254, 7, 7), PORT).into()),
        ("an address that nobody knows", (Ipv4Addr::new(192, 0, 2, 7), PORT).into()),
    ]
}

/// The ways by which something arrives.
fn open_ways(from: &Pod, to: &Pod) -> Vec<&'static str> {
    let ear = Ear::of(to);
    let mut open = Vec::new();
    for (name, way) in ways(from, to) {
        sends(from, way, name.as_bytes());
        if ear.hears(name.as_bytes()) {
            open.push(name);
        }
    }
    open
}

/// Addresses that no object knows: both pods give them to themselves.
fn give_addresses(from: &Pod, to: &Pod) {
    for (pod, last) in [(from, 6), (to, 7)] {
        pod.ip(&[
            format!("address add 169.254.7.{last}/24 dev eth0"),
            format!("address add 192.0.2.{last}/24 dev eth0"),
        ])
        .unwrap();
    }
}

/// Web may ask api at port 80; nobody else may ask anybody.
pub(crate) fn deny_all() -> Objects {
    Objects::of_all_members()
        .with_pod_cidrs()
        .with_default_deny()
        .with_policy(
            "shop",
            "{podSelector: {matchLabels: {app: web}}, policyTypes: [Egress], \
             egress: [{to: [{podSelector: {matchLabels: {tier: back}}}], ports: [{port: 80}]}]}",
        )
        .with_policy(
            "shop",
            "{podSelector: {matchLabels: {tier: back}}, policyTypes: [Ingress], \
             ingress: [{from: [{podSelector: {matchLabels: {app: web}}}], ports: [{port: 80}]}]}",
        )
}

#[test]
fn nothing_reaches_an_isolated_pod_beside_its_addresses() {
    let Some(cluster) = Cluster::of("frames", &[]) else { return };
    let node = &cluster.nodes[0];
    if !bridge(node, "cni0", "10.244.1.1/24") {
        return;
    }
    let [web, api] = ["web", "api"].map(|name| member_on_bridge(node, member(name)));
    give_addresses(&web, &api);
    let names: Vec<&str> = ways(&web, &api).iter().map(|(name, _)| *name).collect();
    assert_eq!(open_ways(&web, &api), names, "before anything is enforced");
    enforce(&cluster, &deny_all());
    assert_eq!(open_ways(&web, &api), Vec::<&str>::new());
    assert_eq!(open_ways(&api, &web), Vec::<&str>::new());
    // A server at any address, and a client that knows the way.
    let server = api.enter(|| std::net::TcpListener::bind((Ipv6Addr::UNSPECIFIED, 8088))).unwrap().unwrap();
    let mut to = scoped(&web, link_local(&api));
    to.set_port(8088);
    let connected = web.enter(|| TcpStream::connect_timeout(&to, patient(ON_ITS_WAY))).unwrap();
    assert!(connected.is_err(), "a connection by the link-local address");
    drop(server);
    // What a rule allows, and the node, with neighbours that have to be found first.
    for namespace in [web.namespace(), api.namespace(), node.namespace()] {
        namespace.ip(&["neigh flush all".to_owned()]).unwrap();
    }
    let asks = |from: &Pod, to: &str| {
        member(to)
            .addresses()
            .into_iter()
            .map(|to| Probe::new(from, Protocol::Tcp, to, 80))
            .collect::<Vec<_>>()
    };
    let from_node = |to: &str| {
        let [v4, _] = member(to).addresses();
        [Probe::new(node, Protocol::Tcp, v4, 80), Probe::new(node, Protocol::IcmpEcho, v4, 0)]
    };
    Trials::default()
        .reached("what policies allow", asks(&web, "api"))
        .dropped("the other way", asks(&api, "web"))
        .reached("the node to its pods", from_node("api"))
        .check();
}

/// Sends frames as they are, by the packet socket of a language that every Debian has: this one needs `unsafe` for it.
const SENDER: &str = "my $index = shift; socket my $socket, 17, 3, 0 or die $!; \
    bind $socket, pack('S n l S C C a8', 17, 0, $index, 0, 0, 0, '') or die $!; \
    for (@ARGV) { send $socket, pack('H*', $_), 0 or die $!; }";

pub(crate) fn send_frame(pod: &Pod, frame: &[u8]) {
    let hex: String = frame.iter().map(|byte| format!("{byte:02x}")).collect();
    let all = [hex.as_str(); 5];
    let index = pod.enter(|| if_nametoindex("eth0")).unwrap().unwrap().to_string();
    pod.run("perl", &[&["-e", SENDER, &index], &all[..]].concat(), "").unwrap();
}

/// A frame to everybody.
fn frame(header: &[u8], payload: &[u8]) -> Vec<u8> {
    frame_from([0x02, 0, 0, 0, 0, 1], header, payload)
}

/// A frame to everybody that says to come from a station.
pub(crate) fn frame_from(station: [u8; 6], header: &[u8], payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![0xff; 6];
    frame.extend(station);
    frame.extend(header);
    frame.extend(payload);
    frame.resize(frame.len().max(64), 0);
    frame
}

/// An IPv4 packet with a datagram from web to api that says nothing.
fn datagram() -> Vec<u8> {
    let mut packet = vec![0x45, 0, 0, 28, 0, 0, 0, 0, 64, 17, 0, 0];
    for name in ["web", "api"] {
        let [v4, _] = member(name).addresses();
        let IpAddr::V4(v4) = v4 else { panic!("{v4} is no IPv4 address") };
        packet.extend(v4.octets());
    }
    packet.extend([0x12, 0x67, 0x12, 0x67, 0, 8, 0, 0]);
    packet
}

/// A router advertisement to all nodes: an address of 2001:db8:bad::/64 for everybody who believes it.
pub(crate) fn advertisement() -> Vec<u8> {
    let (from, to) = ("fe80::bad".parse::<Ipv6Addr>().unwrap(), "ff02::1".parse::<Ipv6Addr>().unwrap());
    let prefix: Ipv6Addr = "2001:db8:bad::".parse().unwrap();
    let mut message = vec![134, 0, 0, 0, 64, 0, 0x07, 0x08, 0, 0, 0, 0, 0, 0, 0, 0];
    message.extend([3, 4, 64, 0xc0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
    message.extend(prefix.octets());
    icmpv6(from, to, message, &[])
}

/// A packet of ICMPv6 from the link itself, behind these bytes of an extension header of destination options.
pub(crate) fn icmpv6(from: Ipv6Addr, to: Ipv6Addr, mut message: Vec<u8>, extension: &[u8]) -> Vec<u8> {
    let length = u16::try_from(message.len()).unwrap();
    let sum =
        |bytes: &[u8]| bytes.chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(pair[1])).sum::<u32>();
    let mut total = sum(&from.octets()) + sum(&to.octets()) + u32::from(length) + 58 + sum(&message);
    while total > 0xffff {
        total = (total & 0xffff) + (total >> 16);
    }
    let [high, low] = (!u16::try_from(total).unwrap()).to_be_bytes();
    (message[2], message[3]) = (high, low);
    let mut packet = vec![0x60, 0, 0, 0];
    packet.extend((length + u16::try_from(extension.len()).unwrap()).to_be_bytes());
    packet.extend([if extension.is_empty() { 58 } else { 60 }, 255]);
    packet.extend(from.octets());
    packet.extend(to.octets());
    packet.extend(extension);
    packet.extend(message);
    packet
}

#[test]
fn frames_with_tags_and_forged_advertisements_end_at_the_bridge() {
    let Some(cluster) = Cluster::of("tags", &[]) else { return };
    let node = &cluster.nodes[0];
    if !bridge(node, "cni0", "10.244.1.1/24") {
        return;
    }
    let [web, api] = ["web", "api"].map(|name| member_on_bridge(node, member(name)));
    let accept = || {
        ["accept_ra", "autoconf"]
            .iter()
            .try_for_each(|name| fs::write(format!("/proc/sys/net/ipv6/conf/eth0/{name}"), "1"))
    };
    api.enter(accept).unwrap().unwrap();
    // How many frames of five arrive, others' few included.
    let arrive = |frame: &[u8]| {
        let seen = || -> u64 {
            let text = api.run("cat", &["/proc/net/dev"], "").unwrap();
            let line = text.lines().find_map(|line| line.trim().strip_prefix("eth0:")).unwrap();
            line.split_whitespace().nth(1).unwrap().parse().unwrap()
        };
        let before = seen();
        (0..4).for_each(|_| send_frame(&web, frame));
        std::thread::sleep(Duration::from_millis(50));
        seen() - before
    };
    let datagram = datagram();
    let frames = [
        ("one tag", frame(&[0x81, 0, 0, 7, 0x08, 0], &datagram)),
        ("no more than a priority", frame(&[0x81, 0, 0xa0, 0, 0x08, 0], &datagram)),
        ("two tags", frame(&[0x88, 0xa8, 0, 7, 0x81, 0, 0, 7, 0x08, 0], &datagram)),
        ("a tagged ARP", frame(&[0x81, 0, 0, 7, 0x08, 6], &[0; 28])),
        ("PPPoE", frame(&[0x88, 0x64, 0x11, 0, 0, 1, 0, 30, 0, 0x21], &datagram)),
        ("MPLS", frame(&[0x88, 0x47, 0, 0, 1, 64], &datagram)),
        ("an experiment", frame(&[0x88, 0xb5], &datagram)),
        ("a packet in 802.2", frame(&[0, 46, 0xaa, 0xaa, 3, 0, 0, 0, 8, 0], &datagram)),
    ];
    for (name, frame) in &frames {
        assert!(arrive(frame) >= 20, "{name}: before anything is enforced");
    }
    enforce(&cluster, &deny_all());
    for (name, frame) in &frames {
        let arrived = arrive(frame);
        assert!(arrived < 20, "{name}: {arrived}");
    }
    let believes = || {
        send_frame(&web, &frame(&[0x86, 0xdd], &advertisement()));
        std::thread::sleep(Duration::from_millis(200));
        let addresses = api.run("ip", &["-6", "-o", "address", "show", "dev", "eth0"], "").unwrap();
        addresses.contains("2001:db8:bad")
    };
    assert!(!believes(), "an advertisement to an isolated pod");
    node.nft("delete table inet flock_netpol\ndelete table bridge flock_netpol\n").unwrap();
    assert!(believes(), "one is believed where nothing is enforced");
}

#[test]
fn open_pods_and_other_bridges_go_on() {
    let Some(cluster) = Cluster::of("other-bridges", &[]) else { return };
    let node = &cluster.nodes[0];
    if !bridge(node, "cni0", "10.244.1.1/24") || !bridge(node, "docker0", "172.17.0.1/16") {
        return;
    }
    let [web, api] = ["web", "api"].map(|name| member_on_bridge(node, member(name)));
    let containers = [("one", "dock1", "172.17.0.2/16"), ("two", "dock2", "172.17.0.3/16")]
        .map(|(name, interface, address)| on_bridge(node, "docker0", name, interface, &[address]));
    give_addresses(&web, &api);
    let names: Vec<&str> = ways(&web, &api).iter().map(|(name, _)| *name).collect();
    // Nothing is isolated on this node.
    enforce(&cluster, &Objects::of_all_members().with_pod_cidrs());
    assert_eq!(open_ways(&web, &api), names, "nothing is isolated");
    // A third pod is; the ports of these two are known.
    let objects = Objects::of_all_members()
        .with_pod_cidrs()
        .with(
            &PodDocument {
                name: "closed".to_owned(),
                labels: "{app: closed}".to_owned(),
                addresses: vec!["10.244.1.99".to_owned()],
                ..PodDocument::of(member("web"))
            }
            .text(),
        )
        .with_policy("shop", "{podSelector: {matchLabels: {app: closed}}, policyTypes: [Ingress, Egress]}");
    enforce(&cluster, &objects.clone().host_interfaces("sha1:cali"));
    let (own, others): (Vec<&str>, Vec<&str>) =
        names.iter().copied().partition(|name| !name.starts_with("an address that"));
    assert_eq!(others.len(), 2);
    assert_eq!(open_ways(&web, &api), own, "open pods whose ports are known, by addresses that are theirs");
    enforce(&cluster, &objects);
    assert_eq!(open_ways(&web, &api), Vec::<&str>::new(), "open pods whose ports are not known");
    let [one, two] = &containers;
    let ear = Ear::of(two);
    for (name, to) in [
        ("its link-local address", scoped(one, link_local(two))),
        ("all nodes", scoped(one, Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1))),
        ("everybody", (Ipv4Addr::BROADCAST, PORT).into()),
        ("its address", (Ipv4Addr::new(172, 17, 0, 3), PORT).into()),
    ] {
        sends(one, to, name.as_bytes());
        assert!(ear.hears(name.as_bytes()), "{name}, on another bridge");
    }
}
