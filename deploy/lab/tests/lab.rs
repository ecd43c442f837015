//! The lab measured against itself: what it says of networks whose rules are known.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::fs;
use std::net::IpAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};

use flock_lab::{
    Family, Lab, Matrix, Node, OpenConnection, Pod, PodSpec, Probe, Protocol, Verdict, differences,
    probe_all, skipped,
};

const SERVICES: [(Protocol, u16); 4] =
    [(Protocol::Tcp, 80), (Protocol::Udp, 53), (Protocol::Sctp, 80), (Protocol::IcmpEcho, 0)];

/// A lab, or nothing where none can be built, which is said.
fn lab(tag: &str) -> Option<Lab> {
    match Lab::available() {
        Ok(()) => Some(Lab::new(tag).unwrap()),
        Err(reason) => {
            skipped(&reason);
            None
        }
    }
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn pod(node: &Node, name: &str, number: u8) -> Pod {
    let pod = node.pod(name, &[ip(&format!("10.1.0.{number}")), ip(&format!("fd00:1::{number}"))]).unwrap();
    pod.serve(&SERVICES).unwrap();
    pod
}

/// Two pods on one node, one on another.
fn three_pods(lab: &Lab) -> (Node, Vec<Pod>) {
    let (a, b) = (lab.node("node-a").unwrap(), lab.node("node-b").unwrap());
    let pods = vec![pod(&a, "web", 2), pod(&a, "api", 3), pod(&b, "db", 4)];
    (a, pods)
}

fn namespaces(prefix: &str) -> usize {
    let entries =
        fs::read_dir("/run/netns").map(|entries| entries.flatten().collect::<Vec<_>>()).unwrap_or_default();
    entries.iter().filter(|entry| entry.file_name().to_string_lossy().starts_with(prefix)).count()
}

#[test]
fn without_rules_everything_is_reached() {
    let Some(lab) = lab("open") else { return };
    let (_, pods) = three_pods(&lab);
    let measured = Matrix::between(&pods, &pods, &SERVICES).run().unwrap();
    assert_eq!(measured.len(), 3 * 3 * 2 * 4);
    assert_eq!(differences(&measured, |_| Verdict::Reached), Vec::<String>::new());
}

#[test]
fn a_rule_drops_what_it_names_and_nothing_else() {
    let Some(lab) = lab("rules") else { return };
    let (node, pods) = three_pods(&lab);
    node.nft(
        "table inet t {
            chain c {
                type filter hook forward priority 0
                ip daddr 10.1.0.3 tcp dport 80 drop
                ip6 daddr fd00:1::3 udp dport 53 drop
                ip saddr 10.1.0.2 ip daddr 10.1.0.4 sctp dport 80 drop
                ip6 saddr fd00:1::2 icmpv6 type echo-request drop
            }
        }",
    )
    .unwrap();
    let measured = Matrix::between(&pods, &pods, &SERVICES).run().unwrap();
    let expected = |cell: &flock_lab::MatrixCell| {
        let flow = (cell.from.as_str(), cell.to.as_str());
        let dropped = flow.0 != flow.1
            && match (cell.protocol, cell.family()) {
                (Protocol::Tcp, Family::V4) | (Protocol::Udp, Family::V6) => flow.1 == "api",
                (Protocol::Sctp, Family::V4) => flow == ("web", "db"),
                (Protocol::IcmpEcho, Family::V6) => flow.0 == "web",
                _ => false,
            };
        if dropped { Verdict::Dropped } else { Verdict::Reached }
    };
    assert_eq!(differences(&measured, expected), Vec::<String>::new());
}

#[test]
fn conntrack_follows_every_protocol() {
    let Some(lab) = lab("conntrack") else { return };
    let (node, pods) = three_pods(&lab);
    // Answers pass only because conntrack relates them to what was asked, checksums included.
    node.nft(
        "table inet t {
            chain c {
                type filter hook forward priority 0; policy drop
                ct direction reply ct state established accept
                ip saddr 10.1.0.2 ct state new,established accept
                ip6 saddr fd00:1::2 ct state new,established accept
            }
        }",
    )
    .unwrap();
    let measured = Matrix::between(&pods, &pods, &SERVICES).run().unwrap();
    let expected = |cell: &flock_lab::MatrixCell| {
        if cell.from == "web" || cell.from == cell.to { Verdict::Reached } else { Verdict::Dropped }
    };
    assert_eq!(differences(&measured, expected), Vec::<String>::new());
}

#[test]
fn an_open_connection_is_cut_and_opened_again() {
    let Some(lab) = lab("held") else { return };
    let (node, pods) = three_pods(&lab);
    let targets = pods[2].addresses();
    let protocols = [(Protocol::Tcp, 80), (Protocol::Udp, 53), (Protocol::Sctp, 80)];
    let open = |&(protocol, port): &(Protocol, u16)| {
        targets.iter().map(move |&to| (protocol, to, port)).collect::<Vec<_>>()
    };
    let mut held: Vec<_> = protocols
        .iter()
        .flat_map(open)
        .map(|(protocol, to, port)| OpenConnection::open(&pods[0], protocol, to, port).unwrap())
        .collect();
    let rounds = |held: &mut [OpenConnection], patience| {
        held.iter_mut().map(|held| held.exchange_within(patience).unwrap()).collect::<Vec<_>>()
    };
    let quick = std::time::Duration::from_millis(400);
    assert_eq!(rounds(&mut held, quick), vec![Verdict::Reached; 6]);
    node.nft("table inet t { chain c { type filter hook forward priority 0; policy drop; }; }").unwrap();
    assert_eq!(rounds(&mut held, quick), vec![Verdict::Dropped; 6]);
    node.nft("delete table inet t").unwrap();
    assert_eq!(rounds(&mut held, std::time::Duration::from_secs(5)), vec![Verdict::Reached; 6]);
}

#[test]
fn sources_can_be_chosen_and_spoofed() {
    let Some(lab) = lab("sources") else { return };
    let (node, pods) = three_pods(&lab);
    let spec = PodSpec {
        addresses: vec![ip("10.1.0.9"), ip("10.1.0.10")],
        host_interface: Some("eni0123".to_owned()),
    };
    let many = node.pod_with("many", &spec).unwrap();
    assert_eq!(many.host_interface(), "eni0123");
    let to = pods[2].addresses()[0];
    for source in many.addresses() {
        let probe = Probe::new(&many, Protocol::Udp, to, 53).from_address(source);
        assert_eq!(probe.run().unwrap(), Verdict::Reached, "{probe}");
    }
    let stolen = pods[1].addresses()[0];
    many.add_address(stolen).unwrap();
    let spoofed = Probe::new(&many, Protocol::Udp, to, 53).from_address(stolen);
    assert_eq!(spoofed.run().unwrap(), Verdict::Dropped, "the answer goes to the owner");
    assert!(pods[2].arrivals().iter().any(|arrival| arrival.from.ip() == stolen), "the request arrives");
    let absent = Probe::new(&many, Protocol::Udp, to, 53).from_address(ip("10.1.0.77"));
    assert!(absent.run().is_err(), "a source that the pod does not have is a mistake, not a verdict");
}

#[test]
fn nodes_reach_pods_and_pods_reach_nodes() {
    let Some(lab) = lab("nodes") else { return };
    let (node, pods) = three_pods(&lab);
    node.serve(&SERVICES).unwrap();
    let mut matrix = Matrix::default();
    for (protocol, port) in SERVICES {
        for pod in &pods {
            for address in pod.addresses() {
                matrix.add(pod.name(), Probe::new(&node, protocol, address, port));
                let back = node.address(Family::of(address));
                matrix.add(node.name(), Probe::new(pod, protocol, back, port));
            }
        }
    }
    assert_eq!(differences(&matrix.run().unwrap(), |_| Verdict::Reached), Vec::<String>::new());
}

#[test]
fn a_refusal_is_reached_and_a_deleted_pod_is_not() {
    let Some(lab) = lab("refusal") else { return };
    let (node, pods) = three_pods(&lab);
    let to_api = |port| {
        let probe = |address| {
            [Protocol::Tcp, Protocol::Udp].map(|protocol| Probe::new(&pods[2], protocol, address, port))
        };
        pods[1].addresses().into_iter().flat_map(probe).collect::<Vec<_>>()
    };
    assert_eq!(probe_all(&to_api(9)).unwrap(), vec![Verdict::Reached; 4], "nobody listens, nothing drops");
    pods[1].delete().unwrap();
    let heir = node.pod("heir", &[pods[1].addresses()[0]]).unwrap();
    heir.serve(&SERVICES).unwrap();
    let reused = Probe::new(&pods[2], Protocol::Tcp, heir.addresses()[0], 80);
    assert_eq!(reused.run().unwrap(), Verdict::Reached, "an address can be used again at once");
}

#[test]
fn a_lab_leaves_nothing_behind() {
    let Some(lab) = lab("gone") else { return };
    let prefix = lab.prefix().to_owned();
    let (_, pods) = three_pods(&lab);
    assert_eq!(namespaces(&prefix), 6);
    let panicked = catch_unwind(AssertUnwindSafe(move || {
        let _lab = lab;
        panic!("on purpose");
    }));
    assert!(panicked.is_err());
    assert_eq!(namespaces(&prefix), 0, "although a handle on {} is alive", pods[0].name());
}

#[test]
fn what_a_killed_process_left_is_swept() {
    let Some(_lab) = lab("sweep") else { return };
    // No process has this id: it is above the kernel's limit.
    let stale = format!("flock-lab-{}-0-killed", u32::MAX);
    let made = std::process::Command::new("ip").args(["netns", "add", &stale]).status().unwrap();
    assert!(made.success());
    Lab::sweep_stale();
    assert_eq!(namespaces(&stale), 0);
}
