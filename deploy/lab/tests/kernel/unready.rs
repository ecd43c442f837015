//! Pods that have started and that nobody has seen yet: where a node's pod CIDRs are known and there is a policy, nothing
//! is forwarded to or from them, until a delta makes them known: always, or only while a pod is expected that a policy
//! isolates.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use flock_compiler_core::nft::attended;
use flock_compiler_core::nft::read::GRAMMAR;
use flock_compiler_core::object::{Facts, Pod, PodNetwork};
use flock_compiler_core::{Change, Edit, Options, Translator, UnreadyPods, World, render};
use flock_lab::{Node, Probe, Protocol, patient, probe_all};
use flock_shared::{NodeName, PodKey, Script, Superseded};

use crate::cluster::Cluster;
use crate::flow::SERVICES;
use crate::members::member;
use crate::nodes::to_node;
use crate::objects::{Objects, PodDocument};
use crate::sockets::{receive, udp};
use crate::trials::{Trials, to_pod};

/// Long enough for a datagram, short enough to wait for none.
const MOMENT: Duration = Duration::from_millis(400);
const DENY: &str = "{podSelector: {}, policyTypes: [Ingress, Egress]}";

/// These members are known. No policy is about shop, whose pods are tried; one of bank is there.
fn known(names: &[&str]) -> Objects {
    without_policy(names).with_policy("bank", DENY)
}

fn without_policy(names: &[&str]) -> Objects {
    let nodes = Objects::without_pods().with_pod_cidrs();
    names.iter().fold(nodes, |objects, name| objects.with(&PodDocument::of(member(name)).text()))
}

/// What the compiler makes of a world and of changes in it, in the nodes' nft.
struct Followed<'a> {
    cluster: &'a Cluster,
    translator: Translator,
    superseded: BTreeMap<NodeName, Superseded>,
}

impl<'a> Followed<'a> {
    fn start(cluster: &'a Cluster, world: &World) -> Self {
        let drop = Options { unready_pods: UnreadyPods::Drop, ..Options::default() };
        Self::from(cluster, world, Translator::with(drop))
    }

    /// With `--unready-pods expected`, and agents that keep their tables told.
    fn expecting(cluster: &'a Cluster, world: &World) -> Self {
        let expected = Options { unready_pods: UnreadyPods::Expected, ..Options::default() };
        let mut translator = Translator::with(expected);
        for node in &cluster.nodes {
            let name = NodeName::new(node.name()).unwrap();
            translator
                .apply(Change::Facts(Edit::Upsert(Facts { grammar: GRAMMAR, ..Facts::nothing_of(name) })));
        }
        Self::from(cluster, world, translator)
    }

    fn from(cluster: &'a Cluster, world: &World, mut translator: Translator) -> Self {
        let nodes = world.nodes().values().map(|node| (**node).clone()).collect();
        let namespaces = world.namespaces().values().map(|namespace| (**namespace).clone()).collect();
        let pods = world.pods().values().map(|pod| (**pod).clone()).collect();
        let policies = world.policies().values().map(|policy| (**policy).clone()).collect();
        translator.apply(Change::Node(Edit::Replace(nodes)));
        translator.apply(Change::Namespace(Edit::Replace(namespaces)));
        translator.apply(Change::Pod(Edit::Replace(pods)));
        translator.apply(Change::Policy(Edit::Replace(policies)));
        translator.apply(Change::NodePods(Edit::Replace(Vec::new())));
        for change in translator.pass().changes {
            load(node(cluster, change.after.node()), &render(&change.after));
        }
        Self { cluster, translator, superseded: BTreeMap::new() }
    }

    /// Makes one change, by deltas.
    fn make(&mut self, change: Change) {
        self.translator.apply(change);
        for change in self.translator.pass().changes {
            let base = change.before.unwrap();
            let (body, left) =
                (change.body.unwrap(), self.superseded.entry(base.node().clone()).or_default());
            let end = body.end(base.revision(), change.after.revision(), left);
            *left = end.superseded();
            let script = body.script(&end);
            load(node(self.cluster, change.after.node()), &script);
        }
    }
}

fn node<'a>(cluster: &'a Cluster, name: &NodeName) -> &'a Node {
    cluster.nodes.iter().find(|node| node.name() == name.as_str()).unwrap()
}

fn load(node: &Node, script: &Script) {
    node.nft(std::str::from_utf8(script.bytes()).unwrap()).unwrap();
}

/// A member as the compiler sees it.
fn as_seen(name: &str) -> Pod {
    let key = PodKey::new(member(name).namespace, name).unwrap();
    (*known(&[name]).world().pods()[&key]).clone()
}

#[test]
fn a_pod_is_isolated_until_it_is_known() {
    // api is on web's node, db on the other.
    let Some(cluster) = Cluster::of("unready", &["web", "api", "db"]) else {
        return;
    };
    cluster.nodes.iter().for_each(|node| node.serve(&SERVICES).unwrap());
    let [a, b] = &cluster.nodes;
    let (web, api, db) = (cluster.pod("web"), cluster.pod("api"), cluster.pod("db"));
    let known_ones = || {
        Trials::default()
            .reached("known to known", to_pod(web, db))
            .reached("known to known", to_pod(db, web))
            .reached("another node to a known one", to_pod(b, web))
            .reached("the node to its pod", to_pod(a, api))
            .reached("a pod to its node", to_node(api, a))
    };
    let isolated = || {
        known_ones()
            .dropped("to a known one on its node", to_pod(api, web))
            .dropped("to a known one elsewhere", to_pod(api, db))
            .dropped("from a known one on its node", to_pod(web, api))
            .dropped("from a known one elsewhere", to_pod(db, api))
            .dropped("from another node", to_pod(b, api))
            .dropped("to another node", to_node(api, b))
    };
    let mut followed = Followed::start(&cluster, &known(&["web", "db"]).world());
    isolated().check();
    for direction in ["ingress", "egress"] {
        let chain = a.run("nft", &["list", "chain", "inet", "flock_netpol", direction], "").unwrap();
        let guards: Vec<&str> = chain.lines().filter(|line| line.contains("type != local")).collect();
        assert_eq!(guards.len(), 2, "{chain}");
        assert!(
            guards.iter().all(|guard| !guard.contains("packets 0 ")),
            "what is dropped is counted: {chain}"
        );
    }
    followed.make(Change::Pod(Edit::Upsert(as_seen("api"))));
    known_ones()
        .reached("known now: to its node's", to_pod(api, web))
        .reached("known now: elsewhere", to_pod(api, db))
        .reached("known now: from its node's", to_pod(web, api))
        .reached("known now: from elsewhere", to_pod(db, api))
        .reached("known now: from another node", to_pod(b, api))
        .reached("known now: to another node", to_node(api, b))
        .check();
    followed.make(Change::Pod(Edit::Delete(as_seen("api").key)));
    isolated().check();
}

/// A pod of bank on its way to web's node, of which nobody knows the address.
fn coming() -> Pod {
    let key = PodKey::new("bank", "teller").unwrap();
    Pod { key, network: PodNetwork::own([].into(), None), ..as_seen("api") }
}

#[test]
fn with_expected_a_pod_is_isolated_from_its_first_packet_and_others_are_connected_from_theirs() {
    // api is on web's node, and nobody knows it; db is on the other.
    let Some(cluster) = Cluster::of("expected", &["web", "api", "db"]) else {
        return;
    };
    let [a, b] = &cluster.nodes;
    let (web, api, db) = (cluster.pod("web"), cluster.pod("api"), cluster.pod("db"));
    cluster.nodes.iter().for_each(|node| node.serve(&SERVICES).unwrap());
    let minute = attended::attend(Duration::from_secs(60));
    let outward = || [to_pod(api, web), to_pod(api, db), to_node(api, b)].concat();
    let inward = || [to_pod(web, api), to_pod(db, api), to_pod(b, api)].concat();
    let closed = || Trials::default().dropped("from it", outward()).dropped("to it", inward());
    let open = || Trials::default().reached("from it", outward()).reached("to it", inward());
    let mut followed = Followed::expecting(&cluster, &known(&["web", "db"]).world());
    closed().check();
    cluster.nodes.iter().for_each(|node| node.nft(&minute).unwrap());
    open().check();

    followed.make(Change::Pod(Edit::Upsert(coming())));
    closed().reached("the known ones", to_pod(web, db)).reached("its node", to_pod(a, api)).check();
    let own = as_seen("api").network;
    followed.make(Change::Pod(Edit::Upsert(Pod { network: own, ..coming() })));
    closed().reached("the known ones", to_pod(web, db)).check();
    followed.make(Change::Pod(Edit::Delete(coming().key)));
    open().check();

    // A node without a compiler is closed as soon as what it was told has worn off.
    a.nft(&attended::attend(Duration::from_secs(1))).unwrap();
    let told = || a.run("nft", &["list", "set", "inet", "flock_netpol", "attended"], "").unwrap();
    patiently(|| !told().contains("expires"));
    closed().check();
}

#[test]
fn with_expected_only_the_directions_are_closed_in_which_somebody_is_isolated() {
    let Some(cluster) = Cluster::of("expected-way", &["web", "api", "db"]) else {
        return;
    };
    let (web, api, db) = (cluster.pod("web"), cluster.pod("api"), cluster.pod("db"));
    for types in ["Ingress", "Egress"] {
        let policy = format!("{{podSelector: {{}}, policyTypes: [{types}]}}");
        let world = without_policy(&["web", "db"]).with_policy("bank", &policy).world();
        let mut followed = Followed::expecting(&cluster, &world);
        cluster.nodes[0].nft(&attended::attend(Duration::from_secs(60))).unwrap();
        followed.make(Change::Pod(Edit::Upsert(coming())));
        let trials = match types {
            "Ingress" => Trials::default()
                .reached("from it", to_pod(api, db))
                .dropped("to it", to_pod(web, api))
                .dropped("to it", to_pod(db, api)),
            _ => Trials::default()
                .dropped("from it", to_pod(api, web))
                .dropped("from it", to_pod(api, db))
                .reached("to it", to_pod(db, api)),
        };
        trials.check();
    }
}

/// Waits for something that no message tells.
fn patiently(mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + patient(Duration::from_secs(20));
    while !is_so() {
        assert!(Instant::now() < deadline, "this should have happened long ago");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn nothing_is_guarded_without_a_policy_or_a_block_or_where_it_is_allowed() {
    let Some(cluster) = Cluster::of("unguarded", &["web", "api", "db"]) else {
        return;
    };
    let (web, api, db) = (cluster.pod("web"), cluster.pod("api"), cluster.pod("db"));
    let outside = ["10.99.0.7", "fd00:99::7"].map(|address| address.parse::<IpAddr>().unwrap());
    let stranger = cluster.nodes[0].pod("stranger", &outside).unwrap();
    stranger.serve(&SERVICES).unwrap();
    let no_blocks = ["web", "db"]
        .iter()
        .fold(Objects::without_pods(), |objects, name| objects.with(&PodDocument::of(member(name)).text()));
    for objects in [
        without_policy(&["web", "db"]),
        no_blocks.with_policy("bank", DENY),
        known(&["web", "db"]).unready_pods("allow"),
    ] {
        cluster.enforce(&objects);
        Trials::default()
            .reached("from an unknown pod", to_pod(api, web))
            .reached("from an unknown pod", to_pod(api, db))
            .reached("to an unknown pod", to_pod(web, api))
            .reached("to an unknown pod", to_pod(db, api))
            .check();
    }
    cluster.enforce(&known(&["web", "db"]));
    Trials::default()
        .reached("from outside of the block", to_pod(&stranger, web))
        .reached("from outside of the block", to_pod(&stranger, db))
        .reached("to outside of the block", to_pod(web, &stranger))
        .reached("to outside of the block", to_pod(db, &stranger))
        .dropped("within the block", to_pod(api, &stranger))
        .dropped("within the block", to_pod(&stranger, api))
        .check();
}

#[test]
fn replies_pass_in_both_directions() {
    let Some(cluster) = Cluster::of("unready-reply", &["web", "api"]) else {
        return;
    };
    let (web, api) = (cluster.pod("web"), cluster.pod("api"));
    for (from, to) in member("web").addresses().into_iter().zip(member("api").addresses()) {
        // A flow from each end, while both are known.
        cluster.enforce(&known(&["web", "api"]));
        let (asked, answered) = (udp(web, from, 0), udp(api, to, 5000));
        asked.connect((to, 5000)).unwrap();
        answered.connect(asked.local_addr().unwrap()).unwrap();
        let (asks, answers) = (udp(api, to, 0), udp(web, from, 5001));
        asks.connect((from, 5001)).unwrap();
        answers.connect(asks.local_addr().unwrap()).unwrap();
        for (one, other) in [(&asked, &answered), (&asks, &answers)] {
            one.send(b"?").unwrap();
            assert_eq!(receive(other).unwrap(), b"?", "{from} {to}");
        }
        cluster.enforce(&known(&["web"]));
        answered.send(b"out").unwrap();
        assert_eq!(receive(&asked).unwrap(), b"out", "a reply from {to}");
        answers.send(b"in").unwrap();
        assert_eq!(receive(&asks).unwrap(), b"in", "a reply to {to}");
        asks.send(b"?").unwrap();
        answers.set_read_timeout(Some(patient(MOMENT))).unwrap();
        let nothing = receive(&answers).unwrap_err().kind();
        assert!(matches!(nothing, ErrorKind::WouldBlock | ErrorKind::TimedOut), "{nothing}: what {to} asks");
    }
}

#[test]
fn the_nodes_own_address_in_the_block_is_no_pods() {
    let Some(cluster) = Cluster::of("bridge", &["web", "api", "db"]) else {
        return;
    };
    let [a, b] = &cluster.nodes;
    let (web, api, db) = (cluster.pod("web"), cluster.pod("api"), cluster.pod("db"));
    a.serve(&SERVICES).unwrap();
    let addresses = |texts: [&str; 2]| texts.map(|text| text.parse::<IpAddr>().unwrap());
    let bridge = addresses(["10.244.1.1", "fd00:10:244:1::1"]);
    let nobody = addresses(["10.244.1.9", "fd00:10:244:1::9"]);
    for (address, via) in bridge.into_iter().zip(["172.18.0.1", "fd00:18::1"]) {
        a.ip(&[format!("address add {address} dev lo")]).unwrap();
        b.ip(&[format!("route add {address} via {via} dev eth0")]).unwrap();
    }
    cluster.enforce(&known(&["web", "db"]));
    let probes = |from: &flock_lab::Namespace, to: IpAddr| Probe::new(from, Protocol::Tcp, to, 80);
    let from_bridge = db.addresses().into_iter().zip(bridge).map(|(to, own)| probes(a, to).from_address(own));
    Trials::default()
        .reached("a pod to its node's address there", bridge.map(|own| probes(web, own)))
        .reached("another node's pod to it", bridge.map(|own| probes(db, own)))
        .reached("from it to another node's pod", from_bridge)
        .check();
    // The kernel forwards what has the node's own address as its source only if it is told to.
    a.run("sh", &["-c", "echo 1 >/proc/sys/net/ipv4/conf/all/accept_local"], "").unwrap();
    let forwarded: Vec<Probe> = [bridge, nobody]
        .into_iter()
        .flat_map(|sources| db.addresses().into_iter().zip(sources))
        .map(|(to, from)| {
            api.add_address(from).unwrap();
            Probe::new(api, Protocol::Udp, to, 80).from_address(from)
        })
        .collect();
    let before = db.arrivals().len();
    // No answer finds the way back: what counts is what arrives.
    probe_all(&forwarded).unwrap();
    let arrived = db.arrivals();
    let has_arrived = |from: IpAddr| arrived[before..].iter().any(|arrival| arrival.from.ip() == from);
    assert_eq!(bridge.map(has_arrived), [true; 2], "an address of the node");
    assert_eq!(nobody.map(has_arrived), [false; 2], "an address of nobody");
}
