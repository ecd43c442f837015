//! Pods on a bridge whose ports are known: none speaks for another's address, to whomever, by whatever protocol, and none
//! is handed what is another's. What is its own goes on.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::thread::sleep;
use std::time::{Duration, Instant};

use flock_compiler_core::{DeltaBody, diff, render};
use flock_lab::{Namespace, Node, Pod, Probe, Protocol, patient, probe_all};
use flock_shared::Superseded;

use crate::bridge::{
    advertisement, bridge, deny_all, enforce, frame_from, icmpv6, link_local, member_on_bridge, on_bridge,
    output, send_frame, text,
};
use crate::cluster::Cluster;
use crate::members::{Member, member};
use crate::objects::{Objects, PodDocument};
use crate::trials::Trials;

/// How long a frame may be on its way through a bridge.
const ON_ITS_WAY: Duration = Duration::from_millis(50);

/// Three pods on a bridge of the first node, and vault on the other one.
struct Stage {
    cluster: Cluster,
    web: Pod,
    api: Pod,
    teller: Pod,
}

impl Stage {
    fn new(tag: &str) -> Option<Self> {
        let cluster = Cluster::of(tag, &["vault"])?;
        let [node, other] = &cluster.nodes;
        if !bridge(node, "cni0", "10.244.1.1/24") {
            return None;
        }
        node.ip(&["address add fd00:10:244:1::1/64 dev cni0 nodad".to_owned()]).unwrap();
        other
            .ip(&[
                "route add 10.244.1.0/24 via 172.18.0.1 dev eth0".to_owned(),
                "route add fd00:10:244:1::/64 via fd00:18::1 dev eth0".to_owned(),
            ])
            .unwrap();
        let [web, api, teller] = ["web", "api", "teller"].map(|name| {
            let pod = member_on_bridge(node, member(name));
            pod.ip(&[
                "route replace default via 10.244.1.1 dev eth0".to_owned(),
                "route replace default via fd00:10:244:1::1 dev eth0".to_owned(),
            ])
            .unwrap();
            pod
        });
        Some(Self { cluster, web, api, teller })
    }

    fn node(&self) -> &Node {
        &self.cluster.nodes[0]
    }

    /// Whether interfaces are known or not; whoever is not named is open.
    fn enforce(&self, objects: &Objects, is_known: bool) {
        let objects = objects.clone();
        enforce(&self.cluster, &if is_known { objects.host_interfaces("sha1:cali") } else { objects });
    }
}

fn v4(name: &str) -> Ipv4Addr {
    let [IpAddr::V4(at), _] = member(name).addresses() else { panic!("{name} has no IPv4 address first") };
    at
}

fn v6(name: &str) -> Ipv6Addr {
    let [_, IpAddr::V6(at)] = member(name).addresses() else { panic!("{name} has no IPv6 address second") };
    at
}

/// The station of a pod, as bytes.
fn station(pod: &Pod) -> [u8; 6] {
    let text = pod.run("ip", &["-o", "link", "show", "dev", "eth0"], "").unwrap();
    let text = text.split_whitespace().skip_while(|word| *word != "link/ether").nth(1).unwrap();
    let bytes: Vec<u8> = text.split(':').map(|byte| u8::from_str_radix(byte, 16).unwrap()).collect();
    bytes.try_into().unwrap()
}

#[test]
fn a_forged_source_ends_at_its_port() {
    let Some(stage) = Stage::new("port-sources") else { return };
    let vault = stage.cluster.pod("vault");
    // Of a pod beside it, of one on another node, and of nobody.
    let mut forged: Vec<IpAddr> =
        ["api", "db"].into_iter().flat_map(|name| member(name).addresses()).collect();
    forged.extend(["10.99.0.1", "fd00:99::1"].map(|at| at.parse::<IpAddr>().unwrap()));
    for &address in &forged {
        stage.web.add_address(address).unwrap();
    }
    // Were it not for the check, this is how web would get out all the same.
    let objects = Objects::of_all_members()
        .with_pod_cidrs()
        .with_policy("shop", "{podSelector: {matchLabels: {app: web}}, policyTypes: [Egress]}");
    for (isolated, objects) in [(false, Objects::of_all_members().with_pod_cidrs()), (true, objects)] {
        for is_known in [false, true] {
            stage.enforce(&objects, is_known);
            let before = [&stage.teller, vault].map(|target| target.arrivals().len());
            let mut probes = Vec::new();
            for &from in &forged {
                for to in ["teller", "vault"].into_iter().flat_map(|name| member(name).addresses()) {
                    if to.is_ipv4() == from.is_ipv4() {
                        probes.push(Probe::new(&stage.web, Protocol::Udp, to, 80).from_address(from));
                    }
                }
            }
            // No answer finds the way back: what counts is what arrives.
            probe_all(&probes).unwrap();
            for (target, before) in [&stage.teller, vault].into_iter().zip(before) {
                let arrived = &target.arrivals()[before..];
                for &from in &forged {
                    let found = arrived.iter().any(|arrival| arrival.from.ip() == from);
                    // As soon as anything is isolated, the bridge hands nobody what is from no pod of the node.
                    let is_handed =
                        !isolated || target.name() == "vault" || member("api").addresses().contains(&from);
                    let expected = !is_known && is_handed;
                    assert_eq!(found, expected, "{from} at {}, {isolated} {is_known}", target.name());
                }
            }
        }
    }
}

/// What a neighbour of the bridge takes for the station of an address.
fn believed(whom: &Namespace, device: &str, at: IpAddr) -> Option<[u8; 6]> {
    let text = whom.run("ip", &["neigh", "show", "to", &at.to_string(), "dev", device], "").unwrap();
    let text = text.split_whitespace().skip_while(|word| *word != "lladdr").nth(1)?;
    let bytes: Vec<u8> = text.split(':').map(|byte| u8::from_str_radix(byte, 16).unwrap()).collect();
    bytes.try_into().ok()
}

/// ARP for Ethernet and IPv4.
fn arp(operation: u8, station: [u8; 6], sender: Ipv4Addr, target: Ipv4Addr) -> Vec<u8> {
    let mut message = vec![0, 1, 8, 0, 6, 4, 0, operation];
    message.extend(station);
    message.extend(sender.octets());
    message.extend([0xff; 6]);
    message.extend(target.octets());
    frame_from(station, &[8, 6], &message)
}

/// A neighbour's message with the option that names a station.
fn neighbour(kind: u8, flags: u8, target: Ipv6Addr, option: u8, station: [u8; 6]) -> Vec<u8> {
    let mut message = vec![kind, 0, 0, 0, flags, 0, 0, 0];
    message.extend(target.octets());
    message.extend([option, 1]);
    message.extend(station);
    message
}

/// Frames by which web says that it is api, with the family that each is about.
fn claims(web: &Pod) -> Vec<(&'static str, bool, Vec<u8>)> {
    let (own, to) = (station(web), "ff02::1".parse().unwrap());
    let advertised = || neighbour(136, 0x20, v6("api"), 2, own);
    let asked = |whom: &str| neighbour(135, 0, v6(whom), 1, own);
    let packet = |from, message| frame_from(own, &[0x86, 0xdd], &icmpv6(from, to, message, &[]));
    let tagged = arp(2, own, v4("api"), v4("api"));
    let padding = [58, 0, 1, 4, 0, 0, 0, 0];
    vec![
        ("a gratuitous reply", true, arp(2, own, v4("api"), v4("api"))),
        ("a gratuitous question", true, arp(1, own, v4("api"), v4("api"))),
        ("a question about teller", true, arp(1, own, v4("api"), v4("teller"))),
        ("a reply with a priority", true, frame_from(own, &[0x81, 0, 0xa0, 0, 8, 6], &tagged[14..])),
        ("an advertisement from web", false, packet(v6("web"), advertised())),
        ("an advertisement from api", false, packet(v6("api"), advertised())),
        ("an advertisement from the link", false, packet(link_local(web), advertised())),
        ("a solicitation from api", false, packet(v6("api"), asked("teller"))),
        (
            "an advertisement behind options",
            false,
            frame_from(own, &[0x86, 0xdd], &icmpv6(v6("web"), to, advertised(), &padding)),
        ),
    ]
}

/// The same in two fragments with a number of their own, of which the first ends behind so many bytes.
fn in_fragments(web: &Pod, number: u8, extension: &[u8], first: usize) -> [Vec<u8>; 2] {
    let advertised = neighbour(136, 0x20, v6("api"), 2, station(web));
    let whole = icmpv6(v6("web"), "ff02::1".parse().unwrap(), advertised, extension);
    let (header, fragmented) = whole.split_at(40);
    let (begin, end) = fragmented.split_at(first);
    [(begin, 0, 1), (end, u16::try_from(first).unwrap(), 0)].map(|(part, offset, more)| {
        let mut packet = header.to_vec();
        packet[4..6].copy_from_slice(&u16::try_from(8 + part.len()).unwrap().to_be_bytes());
        let next = std::mem::replace(&mut packet[6], 44);
        packet.extend([next, 0]);
        packet.extend((offset | more).to_be_bytes());
        packet.extend([0, 0, 0, number]);
        packet.extend(part);
        frame_from(station(web), &[0x86, 0xdd], &packet)
    })
}

/// Hosts take no neighbour's message from fragments (RFC 6980). A bridge puts them together.
#[test]
fn nobody_is_told_so_in_fragments() {
    let Some(stage) = Stage::new("port-fragments") else { return };
    let Stage { web, api, teller, .. } = &stage;
    let about = IpAddr::from(v6("api"));
    let options = [58, 0, 1, 4, 0, 0, 0, 0];
    let ways = [(&[][..], 8), (&[][..], 24), (&options[..], 8), (&options[..], 16)];
    for is_known in [false, true] {
        stage.enforce(&Objects::of_all_members().with_pod_cidrs(), is_known);
        for (number, (extension, first)) in (4 * u8::from(is_known)..).zip(ways) {
            teller.ip(&["neigh flush all".to_owned()]).unwrap();
            Trials::default().reached("api", [Probe::new(teller, Protocol::Tcp, about, 80)]).check();
            in_fragments(web, number, extension, first).iter().for_each(|frame| send_frame(web, frame));
            sleep(patient(ON_ITS_WAY));
            let is_deceived = believed(teller, "eth0", about) != Some(station(api));
            // Behind headers, not every kernel lets it be one message.
            assert!(!is_deceived || !is_known, "{} and {first} bytes", extension.len());
            assert!(is_deceived || is_known || !extension.is_empty(), "{first} bytes");
        }
    }
}

#[test]
fn nobody_is_told_that_an_address_is_anothers() {
    let Some(stage) = Stage::new("port-neighbours") else { return };
    let Stage { web, api, teller, .. } = &stage;
    let node = stage.node();
    let whom: [(&Namespace, &str); 2] = [(teller.namespace(), "eth0"), (node.namespace(), "cni0")];
    for (namespace, device) in whom {
        // Else what was heard a second ago is not taken back.
        let at_once = || fs::write(format!("/proc/sys/net/ipv4/neigh/{device}/locktime"), "0");
        namespace.enter(at_once).unwrap().unwrap();
    }
    let objects = Objects::of_all_members().with_pod_cidrs();
    let honest = station(api);
    let mut told = Vec::new();
    for is_known in [false, true] {
        stage.enforce(&objects, is_known);
        for (name, is_v4, claim) in claims(web) {
            let about: IpAddr = if is_v4 { v4("api").into() } else { v6("api").into() };
            for (namespace, _) in whom {
                namespace.ip(&["neigh flush all".to_owned()]).unwrap();
            }
            let asks = whom.map(|(namespace, _)| Probe::new(namespace, Protocol::Tcp, about, 80));
            Trials::default().reached("api", asks).check();
            for (namespace, device) in whom {
                assert_eq!(believed(namespace, device, about), Some(honest), "{name}: before");
            }
            send_frame(web, &claim);
            if is_known {
                // To a station of the bridge's own protocols, past its hooks.
                send_frame(web, &[&[0x01, 0x80, 0xc2, 0, 0, 0x0e], &claim[6..]].concat());
            }
            sleep(patient(ON_ITS_WAY));
            for (namespace, device) in whom {
                if believed(namespace, device, about) != Some(honest) {
                    told.push((is_known, name, device));
                }
            }
        }
    }
    let believed: Vec<_> = told.iter().filter(|(is_known, ..)| *is_known).collect();
    assert!(believed.is_empty(), "{believed:?}");
    for (name, ..) in claims(web) {
        let believed = told.iter().any(|(_, told, device)| *told == name && *device == "eth0");
        assert!(believed, "{name}: teller does not believe it where nothing is checked");
        // Whoever asks for teller is no news to the node.
        let is_for_all = !["a question about teller", "a solicitation from api"].contains(&name);
        let believed = told.iter().any(|(_, told, device)| *told == name && *device == "cni0");
        assert!(believed || !is_for_all, "{name}: the node does not believe it where nothing is checked");
    }
}

#[test]
fn an_open_pod_is_nobodys_router() {
    let Some(stage) = Stage::new("port-routers") else { return };
    let Stage { web, teller, .. } = &stage;
    let node = stage.node();
    for (namespace, device) in [(teller.namespace(), "eth0"), (node.namespace(), "cni0")] {
        let accept = || {
            [("accept_ra", "2"), ("autoconf", "1")].iter().try_for_each(|(name, value)| {
                fs::write(format!("/proc/sys/net/ipv6/conf/{device}/{name}"), value)
            })
        };
        namespace.enter(accept).unwrap().unwrap();
    }
    let believes = |namespace: &Namespace, device: &str| {
        let text = namespace.run("ip", &["-6", "-o", "address", "show", "dev", device], "").unwrap();
        text.contains("2001:db8:bad")
    };
    for is_known in [true, false] {
        stage.enforce(&Objects::of_all_members().with_pod_cidrs(), is_known);
        send_frame(web, &frame_from(station(web), &[0x86, 0xdd], &advertisement()));
        sleep(patient(Duration::from_millis(200)));
        let found = [believes(teller.namespace(), "eth0"), believes(node.namespace(), "cni0")];
        assert_eq!(found, [!is_known; 2], "{is_known}");
    }
}

/// How many packets a pod was handed while `what` went on.
fn handed(pod: &Pod, what: impl FnOnce()) -> u64 {
    let seen = || -> u64 {
        let text = pod.run("cat", &["/proc/net/dev"], "").unwrap();
        let line = text.lines().find_map(|line| line.trim().strip_prefix("eth0:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    };
    let before = seen();
    what();
    sleep(patient(ON_ITS_WAY));
    seen() - before
}

#[test]
fn what_is_for_another_pod_leaves_by_no_port_but_its_own() {
    const TIMES: u64 = 20;
    let Some(stage) = Stage::new("port-stations") else { return };
    let Stage { web, api, teller, .. } = &stage;
    let node = stage.node();
    let to = SocketAddr::from((v4("api"), 80));
    let asks = |namespace: &Namespace| {
        let socket = namespace.enter(|| UdpSocket::bind("0.0.0.0:0")).unwrap().unwrap();
        socket.send_to(b"?", to).unwrap();
    };
    for is_known in [false, true] {
        stage.enforce(&Objects::of_all_members().with_pod_cidrs(), is_known);
        for from in [teller.namespace(), node.namespace()] {
            Trials::default().reached("api", [Probe::new(from, Protocol::Udp, v4("api").into(), 80)]).check();
            // The bridge takes web for the station that the frame says it comes from: one of an ethertype that says
            // nothing of addresses.
            let lie = frame_from(station(api), &[0x88, 0xb5], &[]);
            let stolen = handed(web, || {
                for _ in 0..TIMES {
                    send_frame(web, &lie);
                    asks(from);
                }
            });
            assert_eq!(stolen >= TIMES, !is_known, "{} to api: {stolen} at web", from.name());
            Trials::default()
                .reached("api", [Probe::new(api, Protocol::Udp, v4("teller").into(), 80)])
                .check();
        }
        // A bridge that has forgotten all stations sends to all ports.
        node.ip(&["link set cni0 type bridge ageing_time 0".to_owned()]).unwrap();
        let flooded = handed(web, || (0..TIMES).for_each(|_| asks(teller.namespace())));
        assert_eq!(flooded >= TIMES, !is_known, "flooded: {flooded} at web");
        node.ip(&["link set cni0 type bridge ageing_time 30000".to_owned()]).unwrap();
    }
}

/// Every address of the same family.
const fn to_any(like: IpAddr) -> IpAddr {
    match like {
        IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    }
}

/// web with an address more of either family.
fn with_more_addresses(web: &Member) -> Objects {
    let mut document = PodDocument::of(web);
    document.addresses.extend(["10.244.1.22".to_owned(), "fd00:10:244:1::22".to_owned()]);
    let others = crate::members::MEMBERS.iter().filter(|member| member.name != web.name);
    let objects =
        others.fold(Objects::without_pods(), |all, member| all.with(&PodDocument::of(member).text()));
    objects.with(&document.text()).with_pod_cidrs()
}

#[test]
fn what_is_a_pods_own_goes_on() {
    let Some(stage) = Stage::new("port-honest") else { return };
    let Stage { web, api, teller, .. } = &stage;
    let node = stage.node();
    let beyond = on_bridge(node, "cni0", "beyond", "uplink0", &["10.244.1.200/24"]);
    beyond.ip(&["address add fd00:10:244:1::200/64 dev eth0 nodad".to_owned()]).unwrap();
    stage.enforce(&with_more_addresses(member("web")), true);

    // A second address of either family; the kernel asks first whether that of IPv6 is free.
    let ask = || {
        [("accept_dad", "1"), ("dad_transmits", "1")]
            .iter()
            .try_for_each(|(name, value)| fs::write(format!("/proc/sys/net/ipv6/conf/eth0/{name}"), value))
    };
    web.enter(ask).unwrap().unwrap();
    web.ip(&[
        "address add 10.244.1.22/24 dev eth0".to_owned(),
        "address add fd00:10:244:1::22/64 dev eth0".to_owned(),
    ])
    .unwrap();
    let addresses = || web.run("ip", &["-6", "-o", "address", "show", "dev", "eth0"], "").unwrap();
    let end = Instant::now() + patient(Duration::from_secs(10));
    while addresses().contains("tentative") {
        assert!(Instant::now() < end, "{}", addresses());
        sleep(Duration::from_millis(20));
    }
    assert!(!addresses().contains("dadfailed"), "{}", addresses());

    // Neighbours have to be found first.
    let namespaces =
        [web.namespace(), api.namespace(), teller.namespace(), beyond.namespace(), node.namespace()];
    for namespace in namespaces {
        namespace.ip(&["neigh flush all".to_owned()]).unwrap();
    }
    let second = ["10.244.1.22", "fd00:10:244:1::22"].map(|at| at.parse::<IpAddr>().unwrap());
    let outside = ["10.244.1.200", "fd00:10:244:1::200"].map(|at| at.parse::<IpAddr>().unwrap());
    let vault = stage.cluster.pod("vault");
    let asks = |from: &Namespace, to: [IpAddr; 2]| to.map(|at| Probe::new(from, Protocol::Tcp, at, 80));
    let own = |name: &str| member(name).addresses();
    let gateway = ["10.244.1.1", "fd00:10:244:1::1"].map(|at| at.parse::<IpAddr>().unwrap());
    node.serve(&[(Protocol::Tcp, 80)]).unwrap();
    Trials::default()
        .reached("pod to pod", asks(web.namespace(), own("api")))
        .reached("to a second address", asks(api.namespace(), second))
        .reached("node to pod", asks(node.namespace(), own("teller")))
        .reached("node to a second address", asks(node.namespace(), second))
        .reached("pod to node", asks(teller.namespace(), gateway))
        .reached("pod to another node's", asks(web.namespace(), own("vault")))
        .reached("another node's to a pod", asks(vault.namespace(), own("api")))
        .reached("pod to beyond an uplink", asks(web.namespace(), outside))
        .reached("beyond an uplink to a pod", asks(beyond.namespace(), own("web")))
        .check();
    let from_second = second.map(|from| {
        let to = own("teller").into_iter().find(|to| to.is_ipv4() == from.is_ipv4()).unwrap();
        Probe::new(web, Protocol::Tcp, to, 80).from_address(from)
    });
    Trials::default().reached("from a second address", from_second).check();

    // What is too long for a frame.
    for to in own("teller") {
        let socket = web.enter(|| UdpSocket::bind((to_any(to), 0))).unwrap().unwrap();
        socket.set_read_timeout(Some(patient(Duration::from_secs(2)))).unwrap();
        socket.send_to(&[7; 2000], (to, 80)).unwrap();
        let mut answer = [0; 2048];
        assert_eq!(socket.recv(&mut answer).unwrap(), 2000, "{to}");
    }

    // A pod that meets itself by way of a service, and comes back to its port.
    node.ip(&[format!("link set {} type bridge_slave hairpin on", member("web").interface)]).unwrap();
    node.nft(
        "table ip lab {\n chain to {\n type nat hook prerouting priority dstnat;\n \
         ip daddr 10.96.0.9 tcp dport 80 dnat to 10.244.1.2:80\n }\n chain from {\n \
         type nat hook postrouting priority srcnat;\n ip saddr 10.244.1.2 ip daddr 10.244.1.2 masquerade\n }\n}\n",
    )
    .unwrap();
    let service = Probe::new(web, Protocol::Tcp, "10.96.0.9".parse().unwrap(), 80);
    Trials::default().reached("itself by a service", [service]).check();

    // Whoever asks for an address has none.
    let server = node.enter(|| UdpSocket::bind("0.0.0.0:67")).unwrap().unwrap();
    server.set_read_timeout(Some(patient(Duration::from_secs(2)))).unwrap();
    let mut discover = vec![0x45, 0, 0, 32, 0, 0, 0, 0, 64, 17, 0x7a, 0xce, 0, 0, 0, 0, 255, 255, 255, 255];
    discover.extend([0, 68, 0, 67, 0, 12, 0, 0]);
    discover.extend(b"who?");
    send_frame(web, &frame_from(station(web), &[8, 0], &discover));
    let mut heard = [0; 16];
    assert_eq!(server.recv(&mut heard).unwrap(), 4);
    assert_eq!(&heard[..4], b"who?");

    // Policies go on beside it.
    web.ip(&["address del fd00:10:244:1::22/64 dev eth0".to_owned()]).unwrap();
    stage.enforce(&deny_all(), true);
    for namespace in namespaces {
        namespace.ip(&["neigh flush all".to_owned()]).unwrap();
    }
    Trials::default()
        .reached("what policies allow", asks(web.namespace(), own("api")))
        .dropped("the other way", asks(api.namespace(), own("web")))
        .reached("the node to its pods", asks(node.namespace(), own("api")))
        .check();
}

/// The objects of the bridge's table as nft lists them, in order, without what counters have counted.
fn listed(node: &Node) -> Vec<String> {
    let text = node.run("nft", &["-n", "list", "table", "bridge", "flock_netpol"], "").unwrap();
    let text = text.strip_prefix("table bridge flock_netpol {\n").unwrap().strip_suffix("}\n").unwrap();
    let lines = text.lines().map(|line| line.split_once(" packets ").map_or(line, |(begin, _)| begin));
    let text = lines.collect::<Vec<_>>().join("\n");
    let mut objects: Vec<String> = text.split("\n\n").map(ToOwned::to_owned).collect();
    objects.sort_unstable();
    objects
}

#[test]
fn pods_come_and_go_by_deltas_of_real_nft() {
    let Some(stage) = Stage::new("port-deltas") else { return };
    let node = stage.node();
    let of = |names: &[&str]| {
        let pods = names.iter().map(|name| PodDocument::of(member(name)).text());
        let objects = pods.fold(Objects::without_pods(), |objects, pod| objects.with(&pod)).with_pod_cidrs();
        output(&objects.host_interfaces("sha1:cali"))
    };
    let states: [&[&str]; 7] = [
        &["web"],
        &["web", "api"],
        &["api"],
        &[],
        &["teller"],
        &["web", "teller"],
        &["web", "api", "teller"],
    ];
    let mut before = of(&[]);
    node.nft(&text(&render(&before))).unwrap();
    for names in states {
        let after = of(names);
        let body = DeltaBody::of(&diff(&before, &after).unwrap());
        let end = body.end(before.revision(), after.revision(), &Superseded::default());
        node.nft(&text(&body.script(&end))).unwrap();
        let by_delta = listed(node);
        node.nft(&text(&render(&after))).unwrap();
        assert_eq!(by_delta, listed(node), "{names:?}");
        let is_checked = by_delta.iter().any(|object| object.contains("set port_targets6"));
        assert_eq!(is_checked, !names.is_empty(), "{names:?}");
        before = after;
    }
}
