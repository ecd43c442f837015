//! Drops with the real nft and real packets: what the kernel takes down is told once, also of a table that was replaced,
//! and first packets at once while somebody watches.

use std::collections::BTreeMap;
use std::process::Command;

use flock_proto::{DropDirection, DropsWanted, Update, UpdateKind};
use flock_shared::Script;
use flock_testkit::compiler::{FakeCompiler, Session, patiently};
use rustix::process::Signal;

use crate::kernel::Namespace;
use crate::process::{end, signal};
use crate::stage::{start, until};
use crate::updates::revision;

/// A node with a way to a pod that is isolated, and somebody who sends to it.
struct Network {
    node: Namespace,
    sender: Namespace,
}

/// Addresses of the sender, and of a pod that golden `default-deny` isolates.
const SENDER: [u8; 4] = [10, 8, 0, 2];
const POD: [u8; 4] = [10, 0, 1, 1];

impl Network {
    fn new(purpose: &str) -> Option<Self> {
        let node = Namespace::new(purpose)?;
        let sender = Namespace::new(&format!("{purpose}-sender"))?;
        let (to_node, to_sender) = (node.name(), sender.name());
        for command in [
            &format!("link add v0 netns {to_node} type veth peer name v1 netns {to_sender}"),
            &format!("-n {to_node} addr add 10.8.0.1/24 dev v0"),
            &format!("-n {to_sender} addr add 10.8.0.2/24 dev v1"),
            &format!("-n {to_node} link set v0 up"),
            &format!("-n {to_sender} link set v1 up"),
            &format!("-n {to_sender} route add default via 10.8.0.1"),
            // What is not dropped goes nowhere.
            &format!("-n {to_node} link add d0 type veth peer name d1"),
            &format!("-n {to_node} link set d0 up"),
            &format!("-n {to_node} link set d1 up"),
            &format!("-n {to_node} route add 10.0.1.0/24 dev d0"),
        ] {
            assert!(Command::new("ip").args(command.split(' ')).status().unwrap().success(), "{command}");
        }
        let forward = ["netns", "exec", to_node, "sh", "-c", "echo 1 >/proc/sys/net/ipv4/ip_forward"];
        assert!(Command::new("ip").args(forward).status().unwrap().success());
        Some(Self { node, sender })
    }

    /// Sends so many datagrams to a port of the pod.
    fn send(&self, port: u16, count: usize) {
        let line = format!("for i in $(seq {count}); do echo -n x >/dev/udp/10.0.1.1/{port}; done");
        let sent =
            Command::new("ip").args(["netns", "exec", self.sender.name(), "bash", "-c", &line]).status();
        assert!(sent.unwrap().success());
    }

    /// Returns true if packets are shown to somebody.
    fn shows(&self) -> bool {
        let path = "/proc/net/netfilter/nfnetlink_log";
        let output = Command::new("ip").args(["netns", "exec", self.node.name(), "cat", path]).output();
        !output.unwrap().stdout.is_empty()
    }
}

/// A table that denies the pod everything, as the compiler makes it.
fn denying(name: &str) -> Update {
    let golden = include_str!("../../../compiler/tests/golden/default-deny.nft");
    let (objects, _) = golden.trim_end().rsplit_once('\n').unwrap();
    let marker = format!("add set inet flock_netpol rev_{} {{ typeof ip saddr; }}\n", revision(name));
    Update::new(revision(name), UpdateKind::Full(Script::new(format!("{objects}\n{marker}"))))
}

async fn want(session: &Session, state: &str, watched: bool, reading: u32) {
    let update = Update::new(revision(state), UpdateKind::Current).wanting(DropsWanted { watched, reading });
    session.send(update.into()).await;
}

/// Hears what is told until all of this is, and no more; the packets of each port, and of how many it was said that they
/// have just begun.
async fn told(session: &mut Session, expected: &[(u16, u64)]) -> usize {
    let (mut ports, mut begun) = (BTreeMap::new(), 0);
    while expected.iter().any(|(port, packets)| ports.get(port).copied().unwrap_or(0) < *packets) {
        let drops = session.drops().await;
        assert_eq!((drops.unlisted.ingress, drops.unlisted.egress), (0, 0));
        for flow in drops.flows() {
            let key = flow.key;
            assert_eq!((key.source, key.destination), (SENDER.into(), POD.into()));
            assert_eq!((key.protocol, key.direction), (17, DropDirection::Ingress));
            *ports.entry(key.port).or_insert(0) += flow.packets;
            begun += usize::from(flow.packets == 0);
        }
    }
    assert_eq!(ports, expected.iter().copied().collect());
    begun
}

#[tokio::test]
async fn what_is_dropped_is_told_once_and_at_once_while_somebody_watches() {
    let Some(network) = Network::new("dropped") else { return };
    let state = tempfile::tempdir().unwrap();
    let mut compiler = FakeCompiler::start().await;
    let (url, nft) = (compiler.url(), network.node.nft());
    let arguments = ["--node", "n1", "--compiler", &url, "--nft", &nft, "--check-interval", "3600"];
    let state_dir = ["--state-dir", state.path().to_str().unwrap()];
    let arguments: Vec<String> = arguments.iter().chain(&state_dir).map(ToString::to_string).collect();
    let child = start(&arguments);
    let mut session = compiler.session().await;
    assert!(session.hello.drops);
    session.apply(denying("a").into()).await;

    network.send(7001, 3);
    want(&session, "a", false, 1).await;
    told(&mut session, &[(7001, 3)]).await;
    // What was told is not told again, and what comes to the same flow is.
    network.send(7001, 2);
    network.send(7002, 1);
    want(&session, "a", false, 2).await;
    told(&mut session, &[(7001, 2), (7002, 1)]).await;
    assert!(!network.shows(), "nobody watches");

    want(&session, "a", true, 2).await;
    until(|| network.shows()).await;
    network.send(7003, 2);
    assert_eq!(told(&mut session, &[(7003, 2)]).await, 1, "its first packet was shown");
    want(&session, "a", false, 2).await;
    until(|| !network.shows()).await;

    // A table that is replaced takes its counts along: they are read before.
    network.send(7004, 4);
    session.apply(denying("b").into()).await;
    told(&mut session, &[(7004, 4)]).await;
    network.send(7004, 1);
    want(&session, "b", false, 3).await;
    told(&mut session, &[(7004, 1)]).await;

    // Whoever watched is gone with the stream.
    want(&session, "b", true, 3).await;
    until(|| network.shows()).await;
    session.fail().await;
    until(|| !network.shows()).await;
    let mut session = compiler.session().await;
    signal(&child, Signal::TERM);
    session.end().await;
    drop(session);
    assert_eq!(patiently(end(child)).await.status.code(), Some(0));
}
