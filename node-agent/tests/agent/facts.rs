//! What the agent says of its node: that of the network namespace in which nft works, at its start and when it changes.

use std::process::Command;

use flock_proto::{BridgeNf, NodeFacts, PortKind};
use flock_testkit::compiler::{FakeCompiler, Session};

use crate::health;
use crate::kernel::{Namespace, skipped};
use crate::kernel_deltas::full;
use crate::process::agent;

const SETTINGS: [&str; 2] = ["bridge-nf-call-iptables", "bridge-nf-call-ip6tables"];

impl Namespace {
    /// A command of `ip` in it. Returns true if it succeeded.
    pub(crate) fn ip(&self, arguments: &str) -> bool {
        let command = Command::new("ip").args(["-n", self.name()]).args(arguments.split(' ')).output();
        command.unwrap().status.success()
    }

    pub(crate) fn sh(&self, command: &str) -> String {
        let output =
            Command::new("ip").args(["netns", "exec", self.name(), "sh", "-c", command]).output().unwrap();
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    /// The bridge of pods, with one port, an address and a tunnel beside it, if the kernel has those.
    pub(crate) fn with_bridge(self) -> Option<Self> {
        let is_made = self.ip("link add cni0 type bridge")
            && self.ip("address add 10.244.1.1/24 dev cni0")
            && self.ip("link add veth1 type veth peer name eth0")
            && self.ip("link set veth1 master cni0");
        if !is_made {
            skipped("needs bridges and veth");
            return None;
        }
        Some(self)
    }

    fn write_bridge_nf(&self, value: u8) {
        for setting in SETTINGS {
            self.sh(&format!("echo {value} > /proc/sys/net/bridge/{setting}"));
        }
    }

    /// Sets both bridge settings; `None`, and a line that says why, where the kernel has none.
    pub(crate) fn set_bridge_nf(&self, value: u8) -> Option<()> {
        self.write_bridge_nf(value);
        let is_set = self.bridge_nf() == [value.to_string(), value.to_string()];
        if !is_set {
            skipped("needs the kernel's br_netfilter");
        }
        is_set.then_some(())
    }

    pub(crate) fn bridge_nf(&self) -> [String; 2] {
        SETTINGS.map(|setting| self.sh(&format!("cat /proc/sys/net/bridge/{setting}")))
    }
}

/// What an agent says at its start, with these options more; dropping the child ends it.
async fn started(compiler: &mut FakeCompiler, nft: &str, more: &[&str]) -> (tokio::process::Child, Session) {
    let url = compiler.url();
    let options = [&["--node", "n1", "--compiler", &url, "--nft", nft], more].concat();
    let child = agent(&options).spawn().unwrap();
    let session = compiler.session().await;
    (child, session)
}

fn settings(facts: &NodeFacts) -> [BridgeNf; 2] {
    [facts.bridge_nf_v4, facts.bridge_nf_v6]
}

#[tokio::test]
async fn they_are_those_of_where_nft_works_and_told_when_they_change() {
    let Some(namespace) = Namespace::new("facts").and_then(Namespace::with_bridge) else { return };
    let has_tunnel = namespace.ip("link add vxlan0 type vxlan id 7 dstport 4790 dev cni0");
    let mut compiler = FakeCompiler::start().await;
    // Only news of links can be the reason to look again.
    let more = ["--check-interval", "3600"];
    let (_child, mut session) = started(&mut compiler, &namespace.nft(), &more).await;
    let facts = session.hello.facts.clone().unwrap();
    let [bridge] = &facts.bridges[..] else { panic!("{facts:?}") };
    let addresses: Vec<_> = bridge.addresses.iter().map(ToString::to_string).collect();
    assert_eq!((bridge.name.as_str(), addresses), ("cni0", vec!["10.244.1.1/24".to_owned()]));
    let ports: Vec<_> = bridge.ports.iter().map(|port| (port.name.as_str(), port.kind)).collect();
    assert_eq!(ports, [("veth1", PortKind::Veth)]);
    assert_eq!(facts.tunnel_ports.contains(&4790), has_tunnel);
    let expected = namespace.bridge_nf().map(|value| match value.as_str() {
        "1" => BridgeNf::On,
        "0" => BridgeNf::Off,
        _ => BridgeNf::Absent,
    });
    assert_eq!(settings(&facts), expected);
    assert!(!facts.ipvs && !facts.netkit && facts.flowtables.is_empty() && !facts.accept_source_route);

    assert!(namespace.ip("address add fd00:10::1/64 dev cni0 nodad"));
    while session.facts().await.bridges[0].addresses.len() < 2 {}
    namespace.sh("for of in all lo; do echo 1 > /proc/sys/net/ipv4/conf/$of/accept_source_route; done");
    assert!(namespace.ip("link del cni0"));
    let mut facts = session.facts().await;
    while !facts.bridges.is_empty() {
        facts = session.facts().await;
    }
    assert!(facts.accept_source_route);
}

#[tokio::test]
async fn bridges_are_shown_to_the_rules_where_that_is_asked_for_and_stay_so() {
    let Some(namespace) = Namespace::new("bridge-nf").and_then(Namespace::with_bridge) else { return };
    if namespace.set_bridge_nf(0).is_none() {
        return;
    }
    let mut compiler = FakeCompiler::start().await;
    let (child, session) = started(&mut compiler, &namespace.nft(), &[]).await;
    assert_eq!(settings(session.hello.facts.as_ref().unwrap()), [BridgeNf::Off; 2]);
    assert_eq!(namespace.bridge_nf(), ["0", "0"], "it is only told");
    drop((child, session));

    let more = ["--bridge-nf", "set", "--check-interval", "0.1"];
    let (_child, session) = started(&mut compiler, &namespace.nft(), &more).await;
    assert_eq!(settings(session.hello.facts.as_ref().unwrap()), [BridgeNf::On; 2]);
    assert_eq!(namespace.bridge_nf(), ["1", "1"]);
    // Somebody's `sysctl --system` comes later. Not read back: the agent may be quicker.
    namespace.write_bridge_nf(0);
    let mut looks = 0;
    while namespace.bridge_nf() != ["1", "1"] {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        looks += 1;
        assert!(looks < 3000, "it stays off");
    }
}

#[tokio::test]
async fn bridges_without_pods_are_left_alone() {
    let Some(namespace) = Namespace::new("bridge-nf-none") else { return };
    if !namespace.ip("link add br0 type bridge") || namespace.set_bridge_nf(0).is_none() {
        return;
    }
    let mut compiler = FakeCompiler::start().await;
    let (_child, session) = started(&mut compiler, &namespace.nft(), &["--bridge-nf", "set"]).await;
    assert_eq!(settings(session.hello.facts.as_ref().unwrap()), [BridgeNf::Off; 2]);
    assert_eq!(namespace.bridge_nf(), ["0", "0"]);
}

/// A service of IPVS at 10.96.0.1:80, in the words of its first interface: so nobody needs a package for it.
const IPVS_SERVICE: &str = "import socket, struct; \
    s = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW); \
    s.setsockopt(0, 1154, struct.pack('=H2x4s2s2xI16sIII', 6, bytes([10, 96, 0, 1]), bytes([0, 80]), 0, b'rr', 0, 0, 0xffffffff))";

/// Each by itself, since kernels may lack one of them; `deploy/kernels` boots some that have both.
#[tokio::test]
async fn flowtables_are_told() {
    let Some(namespace) = Namespace::new("flowtable") else { return };
    assert!(namespace.ip("link add up0 type veth peer name up1"));
    let flowtable =
        "table inet calico {\n\tflowtable ft {\n\t\thook ingress priority 0\n\t\tdevices = { up0 }\n\t}\n}\n";
    if !namespace.takes(flowtable) {
        skipped("needs the kernel's flowtables");
        return;
    }
    let mut compiler = FakeCompiler::start().await;
    let address = health::address();
    let more = ["--health-listen", &address.to_string()];
    let (_child, mut session) = started(&mut compiler, &namespace.nft(), &more).await;
    let flowtables = session.hello.facts.clone().unwrap().flowtables;
    assert!(flowtables.iter().any(|name| name == "inet calico ft"), "{flowtables:?}");
    session.apply(full()).await;
    let (status, body) = health::probe(address, "/readyz").await;
    assert!(status == 200 && body.contains("may pass unjudged: established flows"), "{status} {body}");
}

#[tokio::test]
async fn ipvs_is_told_where_it_has_a_service() {
    let Some(namespace) = Namespace::new("ipvs") else { return };
    let command = ["netns", "exec", namespace.name(), "python3", "-c", IPVS_SERVICE];
    let made = Command::new("ip").args(command).output().unwrap();
    if !made.status.success() {
        skipped("needs the kernel's IPVS and python3");
        return;
    }
    let mut compiler = FakeCompiler::start().await;
    let (_child, session) = started(&mut compiler, &namespace.nft(), &[]).await;
    assert!(session.hello.facts.as_ref().unwrap().ipvs, "{}", namespace.sh("cat /proc/net/ip_vs"));
}

/// Where nothing but nft can be started, the agent says nothing of its node, and does all else.
#[tokio::test]
async fn where_it_cannot_look_it_says_nothing() {
    let Some(namespace) = Namespace::new("facts-none") else { return };
    let mut compiler = FakeCompiler::start().await;
    let (_child, session) = started(&mut compiler, &namespace.secluded_nft(), &[]).await;
    assert_eq!(session.hello.facts, None);
}

/// A table of somebody else's that enforces NetworkPolicy is told as long as it is there.
#[tokio::test]
async fn others_that_enforce_are_told_as_long_as_something_of_theirs_is_there() {
    let Some(namespace) = Namespace::new("enforcers") else { return };
    namespace.apply("add table inet kube-network-policies\n");
    let mut compiler = FakeCompiler::start().await;
    let (_child, mut session) = started(&mut compiler, &namespace.nft(), &["--check-interval", "0.05"]).await;
    let is_told = |facts: &NodeFacts| facts.enforcers.contains("kube-network-policies");
    assert!(is_told(session.hello.facts.as_ref().unwrap()), "{:?}", session.hello);
    namespace.apply("delete table inet kube-network-policies\n");
    while is_told(&session.facts().await) {}
}
