//! What isolates pods that nobody has seen yet: who pays for it, and when.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "helpers of tests may panic as tests do")]

use std::net::IpAddr;

use flock_compiler_core::object::{
    Lifecycle, Node, Pod, PodCidr, PodNetwork, Policy, PolicyBody, PolicyRules,
};
use flock_compiler_core::{Change, Edit, Labels, Options, Pass, Selector, Translator, UnreadyPods};
use flock_shared::marker::leaving;
use flock_shared::{NodeName, PodKey, PolicyKey, Superseded};

fn name(number: u8) -> NodeName {
    NodeName::new(&format!("n{number}")).unwrap()
}

/// The node n1 has 10.244.1.0/24, and so on.
fn node(number: u8) -> Node {
    let block = PodCidr::new(format!("10.244.{number}.0/24").parse().unwrap()).unwrap();
    Node { pod_cidrs: [block].into(), ..Node::new(name(number)) }
}

fn pod(node: u8, address: &str) -> Change {
    Change::Pod(Edit::Upsert(Pod {
        key: PodKey::new("shop", &format!("pod-{address}")).unwrap(),
        uid: None,
        node: Some(name(node)),
        labels: Labels::default(),
        network: PodNetwork::own([address.parse().unwrap()].into(), None),
        lifecycle: Lifecycle::Live,
        ports: [].into(),
        faults: Vec::new(),
    }))
}

/// A policy that isolates the pods of its namespace.
fn policy(namespace: &str) -> Policy {
    Policy {
        key: PolicyKey::new(namespace, "deny").unwrap(),
        subjects: Selector::everything(),
        body: PolicyBody::Understood(PolicyRules { ingress: Some([].into()), egress: None }),
    }
}

/// Three nodes with a pod each, and a policy of another namespace.
fn cluster(option: UnreadyPods) -> Translator {
    let mut translator = Translator::with(Options { unready_pods: option, ..Options::default() });
    translator.apply(Change::Node(Edit::Replace((1..=3).map(node).collect())));
    (1..=3).for_each(|number| _ = translator.apply(pod(number, &format!("10.244.{number}.2"))));
    translator.apply(Change::Policy(Edit::Replace(vec![policy("bank")])));
    translator.pass();
    translator
}

fn made(translator: &mut Translator, change: Change) -> Pass {
    translator.apply(change);
    translator.pass()
}

fn nodes(pass: &Pass) -> Vec<&str> {
    pass.changes.iter().map(|change| change.after.node().as_str()).collect()
}

/// The known addresses of a node's blocks, if it guards any.
fn known(translator: &Translator, node: u8) -> Option<Vec<IpAddr>> {
    let output = translator.output(&name(node)).unwrap();
    output.frame().unready.as_ref().map(|unready| unready.known().collect())
}

#[test]
fn a_pods_start_is_an_element_in_each_direction_on_its_own_node_and_nothing_elsewhere() {
    let mut translator = cluster(UnreadyPods::Drop);
    let pass = made(&mut translator, pod(1, "10.244.1.3"));
    assert_eq!(nodes(&pass), ["n1"]);
    let change = &pass.changes[0];
    let (base, body) = (change.before.as_ref().unwrap().revision(), change.body.as_ref().unwrap());
    let script = body.script(&body.end(base, change.after.revision(), &Superseded::default()));
    let text = String::from_utf8(script.bytes().to_vec()).unwrap();
    assert_eq!(text.matches("10.244.1.3 : accept").count(), 2, "{text}");
    let text = text.replace(&leaving(base), "");
    assert!(!text.contains("chain") && !text.contains("10.244.1.2"), "{text}");
}

#[test]
fn an_address_in_anothers_block_is_known_there() {
    let mut translator = cluster(UnreadyPods::Drop);
    assert_eq!(nodes(&made(&mut translator, pod(1, "10.244.2.9"))), ["n2"]);
    let addresses = |all: &[&str]| Some(all.iter().map(|at| at.parse().unwrap()).collect::<Vec<IpAddr>>());
    assert_eq!(known(&translator, 2), addresses(&["10.244.2.2", "10.244.2.9"]));
    let key = PodKey::new("shop", "pod-10.244.2.9").unwrap();
    assert_eq!(nodes(&made(&mut translator, Change::Pod(Edit::Delete(key)))), ["n2"]);
    assert_eq!(known(&translator, 2), addresses(&["10.244.2.2"]));
}

#[test]
fn the_first_policy_and_the_last_concern_every_node_and_others_none() {
    let mut translator = cluster(UnreadyPods::Drop);
    let upsert = |namespace| Change::Policy(Edit::Upsert(policy(namespace)));
    let delete = |namespace| Change::Policy(Edit::Delete(policy(namespace).key));
    assert!(nodes(&made(&mut translator, upsert("lab"))).is_empty());
    assert!(nodes(&made(&mut translator, delete("bank"))).is_empty());
    assert_eq!(nodes(&made(&mut translator, delete("lab"))), ["n1", "n2", "n3"]);
    assert_eq!(known(&translator, 1), None);
    assert!(nodes(&made(&mut translator, pod(1, "10.244.1.3"))).is_empty(), "nothing is guarded");
    let pass = made(&mut translator, upsert("bank"));
    assert_eq!((nodes(&pass), pass.work.pods), (vec!["n1", "n2", "n3"], 0));
    assert_eq!(known(&translator, 1).map(|known| known.len()), Some(2));
}

#[test]
fn a_block_that_comes_moves_or_goes_is_guarded_where_it_is() {
    let mut translator = cluster(UnreadyPods::Drop);
    let with = |number: u8, blocks: &[&str]| {
        let blocks = blocks.iter().map(|block| PodCidr::new(block.parse().unwrap()).unwrap());
        Change::Node(Edit::Upsert(Node { pod_cidrs: blocks.collect(), ..Node::new(name(number)) }))
    };
    assert_eq!(nodes(&made(&mut translator, with(1, &["10.244.0.0/16"]))), ["n1"]);
    assert_eq!(known(&translator, 1).map(|known| known.len()), Some(3), "pods of all nodes");
    assert_eq!(nodes(&made(&mut translator, pod(3, "10.244.3.3"))), ["n1", "n3"]);
    assert_eq!(nodes(&made(&mut translator, with(1, &[]))), ["n1"]);
    assert_eq!(known(&translator, 1), None);
    assert_eq!(nodes(&made(&mut translator, pod(3, "10.244.3.4"))), ["n3"]);
    let gone = made(&mut translator, Change::Node(Edit::Delete(name(3))));
    assert_eq!((nodes(&gone), known(&translator, 3)), (vec!["n3"], None), "its pods are still there");
}

#[test]
fn where_they_are_allowed_nothing_is_guarded() {
    let mut translator = cluster(UnreadyPods::Allow);
    assert!((1..=3).all(|number| known(&translator, number).is_none()));
    assert!(nodes(&made(&mut translator, pod(1, "10.244.1.3"))).is_empty());
}
