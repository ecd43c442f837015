//! Links: what the facts of a node's agent come to on that node, and on no other.

#![allow(clippy::unwrap_used, reason = "a helper of tests may panic as tests do")]

#[path = "support/objects.rs"]
mod objects;

use std::sync::Arc;

use flock_compiler_core::object::{Bridge, BridgeNf, Facts, HostInterface, Node, Pod, PodNetwork};
use flock_compiler_core::output::Links;
use flock_compiler_core::{Change, Edit, Translator, render};

use objects::{name, pod_key};

/// Node n1 has the address 172.18.0.1, and so on.
fn node(number: u8) -> Change {
    let addresses = [[172, 18, 0, number].into()].into();
    Change::Node(Edit::Upsert(Node { addresses, ..objects::node(number) }))
}

fn pod(number: u8, pod: &str, address: &str, interface: Option<&str>) -> Change {
    let interface = interface.map(|name| HostInterface::Computed(name.parse().unwrap()));
    Change::Pod(Edit::Upsert(Pod {
        node: Some(name(number)),
        network: PodNetwork::own([address.parse().unwrap()].into(), interface),
        ..Pod::new(pod_key("shop", pod))
    }))
}

fn bridge(name: &str, addresses: &[&str]) -> Bridge {
    let addresses = addresses.iter().map(|text| text.parse().unwrap()).collect();
    let port = |prefix: &str| [format!("{prefix}{name}").parse().unwrap()].into();
    Bridge { name: name.parse().unwrap(), addresses, links: port("v"), uplinks: port("e") }
}

/// What is judged on a node with these bridges.
fn judged(number: u8, bridges: Vec<Bridge>) -> Facts {
    let (bridge_nf_v4, bridge_nf_v6) = (BridgeNf::On, BridgeNf::On);
    Facts { bridges, bridge_nf_v4, bridge_nf_v6, ..Facts::nothing_of(name(number)) }
}

fn says(facts: Facts) -> Change {
    Change::Facts(Edit::Upsert(facts))
}

/// Two nodes, each with a pod.
fn translator() -> Translator {
    let mut translator = Translator::new();
    for change in [node(1), node(2), pod(1, "web", "10.244.1.7", None), pod(2, "api", "10.244.2.7", None)] {
        translator.apply(change);
    }
    translator.pass();
    translator
}

/// Applies it; the nodes whose outputs differ.
fn changed(translator: &mut Translator, change: Change) -> Vec<String> {
    translator.apply(change);
    translator.pass().changes.iter().map(|change| change.after.node().to_string()).collect()
}

fn links(translator: &Translator, number: u8) -> Arc<Links> {
    Arc::clone(&translator.output(&name(number)).unwrap().node_rules().links)
}

fn bridges(translator: &Translator, number: u8) -> Vec<String> {
    links(translator, number).pod_bridges.iter().map(ToString::to_string).collect()
}

#[test]
fn pods_hang_on_bridges_in_their_cidrs_and_on_those_whose_subnets_they_are_in() {
    let mut translator = translator();
    translator.apply(pod(1, "odd", "192.168.7.9", None));
    let all = vec![
        // The node's own block, the block around a pod that is in no CIDR, and what is nobody's business.
        bridge("cni0", &["10.244.1.1/24"]),
        bridge("docker0", &["172.17.0.1/16"]),
        bridge("odd0", &["fd00::1/64", "192.168.7.1/24"]),
        bridge("others", &["10.244.2.1/24"]),
        bridge("plain", &[]),
        bridge("virbr0", &["192.168.122.1/24"]),
    ];
    assert_eq!(changed(&mut translator, says(judged(1, all))), ["n1"]);
    assert_eq!(bridges(&translator, 1), ["cni0", "odd0"]);
    assert_eq!(bridges(&translator, 2), [""; 0]);
    // A pod that goes takes what only it was the reason of with it.
    translator.apply(Change::Pod(Edit::Delete(pod_key("shop", "odd"))));
    translator.pass();
    assert_eq!(bridges(&translator, 1), ["cni0"]);
}

#[test]
fn facts_change_one_node_and_equal_facts_none() {
    let mut translator = translator();
    let before = translator.output(&name(2)).unwrap();
    let facts = judged(1, vec![bridge("cni0", &["10.244.1.1/24"])]);
    assert_eq!(changed(&mut translator, says(facts.clone())), ["n1"]);
    assert!(Arc::ptr_eq(&before, &translator.output(&name(2)).unwrap()), "the other node is not looked at");
    assert!(!translator.apply(says(facts.clone())), "the same again");
    // What is no link is nothing of the frame.
    let ipvs = Facts { ipvs: true, ..facts.clone() };
    assert_eq!(changed(&mut translator, says(ipvs)), [""; 0]);
    let ports = Facts { tunnel_ports: [4789].into(), ..facts };
    assert_eq!(changed(&mut translator, says(ports)), ["n1"]);
    assert_eq!(links(&translator, 1).tunnel_ports, [4789].into());
    assert_eq!(changed(&mut translator, Change::Facts(Edit::Delete(name(1)))), ["n1"]);
    assert_eq!(*links(&translator, 1), Links::default());
}

#[test]
fn equal_facts_give_equal_bytes_whenever_they_come() {
    let facts = || says(judged(1, vec![bridge("cni0", &["10.244.1.1/24"])]));
    let mut late = translator();
    late.apply(facts());
    late.pass();
    let mut early = Translator::new();
    let changes =
        [facts(), pod(2, "api", "10.244.2.7", None), pod(1, "web", "10.244.1.7", None), node(2), node(1)];
    for change in changes {
        early.apply(change);
        early.pass();
    }
    for number in [1, 2] {
        let [late, early] = [&late, &early].map(|it| it.output(&name(number)).unwrap());
        assert_eq!(late, early);
        assert_eq!(render(&late).bytes(), render(&early).bytes());
    }
}

#[test]
fn addresses_of_nodes_are_known_where_interfaces_or_bridges_of_pods_are() {
    let mut translator = translator();
    let known = |translator: &Translator, number| {
        links(translator, number).node_addresses.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    assert_eq!(known(&translator, 1), [""; 0], "of no use there");
    translator.apply(pod(1, "web", "10.244.1.7", Some("cali1")));
    translator.apply(says(judged(2, vec![bridge("cni0", &["10.244.2.1/24"])])));
    translator.apply(node(3));
    translator.pass();
    for number in [1, 2] {
        assert_eq!(known(&translator, number), ["172.18.0.1", "172.18.0.2", "172.18.0.3"]);
    }
    assert!(
        Arc::ptr_eq(&links(&translator, 1).node_addresses, &links(&translator, 2).node_addresses),
        "shared"
    );
    assert_eq!(known(&translator, 3), [""; 0]);
    // Two nodes with one address: it goes with the second.
    let same = Node { addresses: [[172, 18, 0, 1].into()].into(), ..Node::new(name(4)) };
    assert_eq!(changed(&mut translator, Change::Node(Edit::Upsert(same))), ["n4"]);
    assert_eq!(changed(&mut translator, Change::Node(Edit::Delete(name(4)))), [""; 0]);
    assert_eq!(changed(&mut translator, Change::Node(Edit::Delete(name(3)))), ["n1", "n2"]);
    assert_eq!(known(&translator, 2), ["172.18.0.1", "172.18.0.2"]);
}

#[test]
fn what_passes_unjudged_is_a_problem_of_the_node() {
    let mut translator = translator();
    let problems = |translator: &Translator| -> Vec<String> {
        translator.problems().iter().map(|problem| format!("{:?} {problem}", problem.namespace)).collect()
    };
    let off = |bridges| Facts { bridge_nf_v4: BridgeNf::Off, ..judged(1, bridges) };
    translator.apply(says(off(vec![bridge("docker0", &["172.17.0.1/16"])])));
    assert!(translator.pass().problems);
    assert_eq!(problems(&translator), [""; 0]);
    translator.apply(says(off(vec![bridge("cni0", &["172.16.0.1/16"])])));
    translator.pass();
    assert_eq!(problems(&translator), [""; 0]);
    // The first pod of its subnet makes it one, not the facts.
    translator.apply(pod(1, "web", "172.16.0.7", None));
    assert!(translator.pass().problems);
    let told = "None agent: Node n1: pods hang on bridge cni0, and net.bridge.bridge-nf-call-iptables is 0 (what passes in this way is not judged)";
    assert_eq!(problems(&translator), [told]);
    let routes = Facts { accept_source_route: true, ipvs: true, ..judged(2, Vec::new()) };
    translator.apply(says(routes));
    translator.apply(says(judged(1, Vec::new())));
    assert!(translator.pass().problems);
    assert_eq!(problems(&translator).len(), 2);
    // What nothing names is nobody's problem, and what it said counts again when something does.
    translator.apply(Change::Node(Edit::Delete(name(2))));
    translator.apply(Change::Pod(Edit::Delete(pod_key("shop", "api"))));
    assert!(translator.pass().problems);
    assert_eq!(problems(&translator), [""; 0]);
    translator.apply(node(2));
    assert!(translator.pass().problems);
    assert_eq!(problems(&translator).len(), 2);
}
