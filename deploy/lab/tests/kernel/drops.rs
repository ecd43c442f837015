//! What policies deny is taken down by the kernel, by flow, in sets that packets add to: whatever becomes of these, nothing
//! passes that would not; one source does not hide others; what is accepted meets none of it.

use std::collections::BTreeMap;
use std::net::{IpAddr, UdpSocket};

use flock_compiler_core::delta::DeltaBody;
use flock_compiler_core::nft::drops::{FLOWS_PER_SET, FLOWS_PER_SOURCE};
use flock_compiler_core::{diff, render};
use flock_lab::{Node, Pod};
use flock_shared::{NodeName, Superseded};

use crate::cluster::{Cluster, script};
use crate::flow::SERVICES;
use crate::objects::Objects;
use crate::sockets::udp;
use crate::trials::{Trials, to_pod, to_pod_at};

const DROPS: [&str; 4] = ["ingress_drops4", "ingress_drops6", "egress_drops4", "egress_drops6"];
/// The chains that drop what they take down.
const CHAINS: [&str; 10] = [
    "ingress_denied",
    "ingress_unkept4",
    "ingress_unkept6",
    "ingress_portless4",
    "ingress_portless6",
    "egress_denied",
    "egress_unkept4",
    "egress_unkept6",
    "egress_portless4",
    "egress_portless6",
];
/// Everything is denied in both directions, but that web may ask api.
const WEB_TO_API: [(&str, &str); 2] = [
    (
        "shop",
        "{podSelector: {matchLabels: {app: web}}, policyTypes: [Egress], \
         egress: [{to: [{podSelector: {matchLabels: {app: api}}}]}]}",
    ),
    (
        "shop",
        "{podSelector: {matchLabels: {app: api}}, policyTypes: [Ingress], \
         ingress: [{from: [{podSelector: {matchLabels: {app: web}}}]}]}",
    ),
];

fn denied() -> Objects {
    Objects::of_all_members().with_default_deny().with_policies(&WEB_TO_API)
}

/// Only what comes to pods is denied.
fn denied_ingress() -> Objects {
    Objects::of_all_members().with_policy("shop", "{podSelector: {}, policyTypes: [Ingress]}")
}

/// The flows in a set, as nft lists them, with how many packets each has counted.
fn kept(node: &Node, set: &str) -> BTreeMap<String, u64> {
    let text = node.run("nft", &["list", "set", "inet", "flock_netpol", set], "").unwrap();
    let elements = text.split_once("elements = {").map_or("", |(_, elements)| elements);
    let each = elements.split(',').filter_map(|element| {
        let (key, counted) = element.split_once(" counter packets ")?;
        Some((key.trim().to_owned(), counted.split(' ').next()?.parse().unwrap()))
    });
    each.collect()
}

/// How many packets the rules of these chains have dropped.
fn dropped(node: &Node, chains: &[&str]) -> u64 {
    let of = |chain: &&str| {
        let text = node.run("nft", &["list", "chain", "inet", "flock_netpol", chain], "").unwrap();
        let counters = text.lines().filter(|line| line.ends_with(" drop"));
        counters
            .filter_map(|line| line.split_once("counter packets "))
            .map(|(_, counted)| {
                let number = counted.split(' ').next().unwrap();
                number.parse::<u64>().unwrap()
            })
            .sum::<u64>()
    };
    chains.iter().map(of).sum()
}

/// What the pod's IP has received, of IPv4.
fn received(pod: &Pod) -> u64 {
    let text = pod.run("cat", &["/proc/net/snmp"], "").unwrap();
    let mut lines = text.lines().filter(|line| line.starts_with("Ip: "));
    let names = lines.next().unwrap().split(' ');
    let place = names.into_iter().position(|name| name == "InReceives").unwrap();
    lines.next().unwrap().split(' ').nth(place).unwrap().parse().unwrap()
}

/// Sends a datagram to each of these ports.
fn spray(socket: &UdpSocket, to: IpAddr, ports: impl Iterator<Item = u16>) {
    for port in ports {
        // What is denied is answered by nobody.
        socket.send_to(b"?", (to, port)).unwrap();
    }
}

fn key(from: &Pod, to: &Pod, family: usize, what: &str) -> String {
    format!("{} . {} . {what}", from.addresses()[family], to.addresses()[family])
}

#[test]
fn each_flow_that_is_denied_is_counted_and_no_other() {
    let Some(cluster) = Cluster::of("drops", &["web", "api", "db"]) else { return };
    let [a, b] = &cluster.nodes;
    let (web, api, db) = (cluster.pod("web"), cluster.pod("api"), cluster.pod("db"));
    cluster.enforce(&denied());
    Trials::default().reached("what is allowed", to_pod(web, api)).check();
    for node in [a, b] {
        assert!(DROPS.iter().all(|set| kept(node, set).is_empty()), "what is accepted is not taken down");
        assert_eq!(dropped(node, &CHAINS), 0, "and meets no rule that drops");
    }
    for (family, address) in db.addresses().into_iter().enumerate() {
        let socket = udp(web, web.addresses()[family], 0);
        for _ in 0..5 {
            spray(&socket, address, [7001, 7002].into_iter());
        }
        let egress = kept(a, ["egress_drops4", "egress_drops6"][family]);
        let of = |port: &str| egress.get(&key(web, db, family, &format!("udp . {port}"))).copied();
        assert_eq!((of("7001"), of("7002"), egress.len()), (Some(5), Some(5), 2), "{egress:?}");
    }
    assert_eq!(dropped(a, &CHAINS), 20);
    assert!(DROPS.iter().all(|set| kept(b, set).is_empty()), "none of it came as far as db's node");
    assert!(["ingress_drops4", "ingress_drops6"].iter().all(|set| kept(a, set).is_empty()));
}

#[test]
fn what_comes_to_a_pod_is_taken_down_on_its_node_with_its_protocol() {
    let Some(cluster) = Cluster::of("drops-in", &["web", "db", "teller"]) else { return };
    let [a, b] = &cluster.nodes;
    let (db, teller) = (cluster.pod("db"), cluster.pod("teller"));
    cluster.enforce(&denied_ingress());
    Trials::default().dropped("to an isolated pod", to_pod_at(teller, db, &SERVICES)).check();
    for family in [0, 1] {
        let set = kept(b, ["ingress_drops4", "ingress_drops6"][family]);
        let echo = ["icmp . 2048", "ipv6-icmp . 32768"][family];
        for what in ["tcp . 80", "tcp . 8080", "udp . 80", "sctp . 80", echo] {
            // nft may name ports of ICMP as it does those of services.
            assert!(set.contains_key(&key(teller, db, family, what)), "{what}: {set:?}");
        }
        assert_eq!(set.len(), SERVICES.len(), "{set:?}");
    }
    assert!(DROPS.iter().all(|set| kept(a, set).is_empty()));
    let told: u64 = DROPS.iter().flat_map(|set| kept(b, set).into_values()).sum();
    assert_eq!(told, dropped(b, &CHAINS), "all that is dropped is some flow's");
}

#[test]
fn where_a_set_is_full_nothing_passes() {
    let Some(cluster) = Cluster::of("drops-full", &["web", "db", "teller"]) else { return };
    let [_, b] = &cluster.nodes;
    let (db, teller) = (cluster.pod("db"), cluster.pod("teller"));
    let translation = denied_ingress().translation();
    cluster.enforce_translation(&translation);
    // Four of each are all that there is room for.
    let small = script(&translation, b).replace(&format!("size {FLOWS_PER_SET}\n"), "size 4\n");
    b.nft(&small).unwrap();
    let before = received(db);
    let [to, _] = db.addresses()[..] else { unreachable!("of both families") };
    // Of many flows of one source, and of more sources than there is room for.
    for number in 10..20 {
        let from = IpAddr::from([10, 99, 0, number]);
        teller.assign_address(from).unwrap();
        spray(&udp(teller, from, 0), to, 7000..7100);
    }
    assert_eq!(received(db), before, "nothing passes");
    let taken_down = kept(b, "ingress_drops4");
    assert_eq!(taken_down.len(), 4, "{taken_down:?}");
    assert_eq!(dropped(b, &CHAINS), 1000, "and all of it is counted");
    Trials::default().dropped("by any protocol", to_pod_at(teller, db, &SERVICES)).check();
}

#[test]
fn a_source_that_scans_hides_nobody() {
    let Some(cluster) = Cluster::of("drops-scan", &["web", "db", "teller"]) else { return };
    let [_, b] = &cluster.nodes;
    let (db, teller, web) = (cluster.pod("db"), cluster.pod("teller"), cluster.pod("web"));
    cluster.enforce(&denied_ingress());
    let [to, _] = db.addresses()[..] else { unreachable!("of both families") };
    spray(&udp(teller, teller.addresses()[0], 0), to, 1..=6000);
    spray(&udp(web, web.addresses()[0], 0), to, [7001, 7001].into_iter());
    let taken_down = kept(b, "ingress_drops4");
    let scanned = taken_down.keys().filter(|key| key.starts_with(&teller.addresses()[0].to_string())).count();
    // As many as it may have at once, and those of the seconds that this took.
    assert!((FLOWS_PER_SOURCE..2 * FLOWS_PER_SOURCE).contains(&scanned), "{scanned}");
    assert_eq!(taken_down.get(&key(web, db, 0, "udp . 7001")), Some(&2));
    let listed: u64 = taken_down.values().sum();
    let all = dropped(b, &CHAINS);
    assert_eq!(all, 6002);
    assert_eq!(all - listed, 6000 - scanned as u64, "what is not taken down can be told");
    // What it goes on with is counted, however many others it has tried.
    spray(&udp(teller, teller.addresses()[0], 0), to, [1, 1, 1].into_iter());
    assert_eq!(kept(b, "ingress_drops4").get(&key(teller, db, 0, "udp . 1")), Some(&4));
}

#[test]
fn deltas_keep_what_is_taken_down() {
    let Some(cluster) = Cluster::of("drops-delta", &["web", "api", "db", "teller"]) else { return };
    let [_, b] = &cluster.nodes;
    let (db, teller) = (cluster.pod("db"), cluster.pod("teller"));
    let name = NodeName::new(b.name()).unwrap();
    let before = denied_ingress().translation().output(&name);
    // One isolates more pods, one lets somebody in, one takes all back.
    let others = [
        denied_ingress().with_policy("dev", "{podSelector: {}, policyTypes: [Ingress, Egress]}"),
        denied_ingress().with_policies(&WEB_TO_API).with_policy(
            "shop",
            "{podSelector: {}, policyTypes: [Ingress], ingress: [{ports: [{protocol: TCP, port: 81}]}]}",
        ),
        Objects::of_all_members(),
    ];
    b.nft(std::str::from_utf8(render(&before).bytes()).unwrap()).unwrap();
    let [to, _] = db.addresses()[..] else { unreachable!("of both families") };
    let socket = udp(teller, teller.addresses()[0], 0);
    spray(&socket, to, [7001, 7002, 7003].into_iter());
    let first = kept(b, "ingress_drops4");
    assert_eq!(first.len(), 3, "{first:?}");
    let (mut last, mut superseded) = (before, Superseded::default());
    for objects in others {
        let next = objects.translation().output(&name);
        let body = DeltaBody::of(&diff(&last, &next).unwrap());
        let end = body.end(last.revision(), next.revision(), &superseded);
        superseded = end.superseded();
        let text = body.script(&end);
        let text = std::str::from_utf8(text.bytes()).unwrap();
        assert!(!text.contains("_drop"), "no delta says anything of these sets: {text}");
        b.nft(text).unwrap();
        assert_eq!(kept(b, "ingress_drops4"), first);
        last = next;
    }
}
