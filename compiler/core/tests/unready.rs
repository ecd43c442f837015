//! What isolates pods that nobody has seen yet: who pays for it, and when.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "helpers of tests may panic as tests do")]

#[path = "support/objects.rs"]
mod objects;

use std::net::IpAddr;

use flock_compiler_core::object::{
    Attachment, Direction, Facts, Lifecycle, Node, NodePods, Overdue, Pod, PodCidr, PodNetwork, PodUid,
    Policy, Sandbox, Types,
};
use flock_compiler_core::output::Closing;
use flock_compiler_core::{Change, Edit, Options, Pass, Translator, UnreadyPods, forget, render};
use flock_shared::marker::leaving;
use flock_shared::{NamespaceName, Superseded};

use objects::{name, node, pod_key};

/// A pod of the namespace shop, named by its address.
fn pod(node: u8, address: &str) -> Change {
    let pod = objects::pod("shop", &format!("pod-{address}"), &[address]);
    upsert(&Pod { node: Some(name(node)), ..pod })
}

/// A policy that isolates the pods of its namespace.
fn policy(namespace: &str) -> Policy {
    objects::ingress(namespace, "deny", Vec::new())
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

/// What an agent of this release says of a node of which nothing else is known.
fn attends(number: u8) -> Change {
    Change::Facts(Edit::Upsert(Facts { grammar: 2, ..Facts::nothing_of(name(number)) }))
}

/// The same cluster, whose agents keep their tables told.
fn expecting() -> Translator {
    let mut translator = cluster(UnreadyPods::Expected);
    (1..=3).for_each(|number| _ = translator.apply(attends(number)));
    translator.pass();
    translator
}

/// A pod on its way.
fn coming(namespace: &str, pod: &str, node: Option<u8>) -> Pod {
    Pod { uid: Some(PodUid::new(pod).unwrap()), node: node.map(name), ..Pod::new(pod_key(namespace, pod)) }
}

fn upsert(pod: &Pod) -> Change {
    Change::Pod(Edit::Upsert(pod.clone()))
}

fn closing(translator: &Translator, node: u8) -> Closing {
    translator.output(&name(node)).unwrap().node_rules().guard.as_ref().unwrap().closing
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
    output.node_rules().guard.as_ref().map(|unready| unready.known().collect())
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
    let key = pod_key("shop", "pod-10.244.2.9");
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

const NOBODY: Closing = Closing::Expecting(None);

#[test]
fn a_node_is_closed_while_an_isolated_pod_is_on_its_way_and_in_its_directions_alone() {
    let mut translator = expecting();
    let pod = coming("bank", "teller", Some(1));
    assert!(nodes(&made(&mut translator, upsert(&coming("bank", "teller", None)))).is_empty(), "unbound");
    assert!(nodes(&made(&mut translator, upsert(&coming("shop", "web", Some(1))))).is_empty(), "no policy");
    assert_eq!(closing(&translator, 1), NOBODY);
    let pass = made(&mut translator, upsert(&pod));
    assert_eq!(
        (nodes(&pass), closing(&translator, 1)),
        (vec!["n1"], Closing::Expecting(Some(Types::Ingress)))
    );
    let unready = pass.changes[0].after.node_rules().guard.clone().unwrap();
    assert_eq!(unready.expected.to_vec(), std::slice::from_ref(&pod.key));
    assert!(translator.expects(&pod.key));
    // The other direction is closed as well once a policy is about it, and open again without.
    let egress = objects::policy("bank", "egress", None, Some(Vec::new()));
    assert_eq!(nodes(&made(&mut translator, Change::Policy(Edit::Upsert(egress.clone())))), ["n1"]);
    assert_eq!(closing(&translator, 1), Closing::Expecting(Some(Types::Both)));
    made(&mut translator, Change::Policy(Edit::Delete(policy("bank").key)));
    assert_eq!(closing(&translator, 1), Closing::Expecting(Some(Types::Egress)));
    made(&mut translator, Change::Policy(Edit::Delete(egress.key)));
    made(&mut translator, Change::Policy(Edit::Upsert(policy("lab"))));
    assert_eq!(closing(&translator, 1), NOBODY, "no policy selects it any more");
}

#[test]
fn who_has_an_address_or_gets_none_is_not_expected() {
    let addresses = || PodNetwork::own(["10.244.1.7".parse().unwrap()].into(), None);
    let pod = coming("bank", "teller", Some(1));
    let sandbox = |attachment| {
        let (pod, uid) = (pod.key.clone(), pod.uid.clone().unwrap());
        Change::NodePods(Edit::Upsert(NodePods::new(name(1), vec![Sandbox { pod, uid, attachment }], vec![])))
    };
    let attached =
        Attachment::Attached { addresses: ["10.244.1.7".parse().unwrap()].into(), interface: None };
    for arrival in [
        upsert(&Pod { network: addresses(), ..pod.clone() }),
        upsert(&Pod { network: PodNetwork::Host, ..pod.clone() }),
        upsert(&Pod { lifecycle: Lifecycle::Deleting, ..pod.clone() }),
        upsert(&Pod { lifecycle: Lifecycle::Finished, ..pod.clone() }),
        Change::Pod(Edit::Delete(pod.key.clone())),
        sandbox(attached),
        sandbox(Attachment::Detached),
        Change::Overdue(Edit::Upsert(Overdue::Pod(pod.key.clone()))),
        Change::Overdue(Edit::Upsert(Overdue::Namespace(name(1), NamespaceName::new("bank").unwrap()))),
    ] {
        let mut translator = expecting();
        made(&mut translator, upsert(&pod));
        assert_ne!(closing(&translator, 1), NOBODY);
        assert_eq!(nodes(&made(&mut translator, arrival.clone())), ["n1"], "{arrival:?}");
        assert_eq!((closing(&translator, 1), translator.expects(&pod.key)), (NOBODY, false), "{arrival:?}");
    }
}

#[test]
fn a_namespace_that_is_not_waited_for_any_more_is_told_and_others_are_waited_for() {
    let mut translator = expecting();
    let namespace = Overdue::Namespace(name(1), NamespaceName::new("bank").unwrap());
    made(&mut translator, Change::Overdue(Edit::Upsert(namespace.clone())));
    let problems = translator.problems();
    assert_eq!(problems.len(), 1);
    assert_eq!(
        problems[0].to_string(),
        "Namespace bank: its pods were waited for in vain too long on n1: they get no address, or go before they have one \
         (its pods may be open there until their addresses are known)"
    );
    made(&mut translator, upsert(&coming("bank", "a", Some(1))));
    assert_eq!(closing(&translator, 1), NOBODY);
    made(&mut translator, upsert(&coming("bank", "b", Some(2))));
    assert_eq!(closing(&translator, 2), Closing::Expecting(Some(Types::Ingress)), "on another node they are");
    made(&mut translator, Change::Policy(Edit::Upsert(policy("lab"))));
    made(&mut translator, upsert(&coming("lab", "a", Some(1))));
    assert_ne!(closing(&translator, 1), NOBODY, "those of others are");
    made(&mut translator, Change::Pod(Edit::Delete(pod_key("lab", "a"))));
    made(&mut translator, Change::Overdue(Edit::Delete(namespace)));
    assert_eq!(
        (closing(&translator, 1), translator.problems()),
        (Closing::Expecting(Some(Types::Ingress)), vec![])
    );
}

#[test]
fn an_agent_that_does_not_say_that_it_attends_has_its_node_closed_always_as_with_drop() {
    let (mut translator, mut drop) = (cluster(UnreadyPods::Expected), cluster(UnreadyPods::Drop));
    let text = |translator: &Translator| render(&translator.output(&name(1)).unwrap());
    assert_eq!(text(&translator), text(&drop), "byte for byte");
    assert_eq!(nodes(&made(&mut translator, attends(1))), ["n1"]);
    assert_eq!((closing(&translator, 1), closing(&translator, 2)), (NOBODY, Closing::Always));
    let old = Facts { grammar: 1, ..Facts::nothing_of(name(1)) };
    assert_eq!(nodes(&made(&mut translator, Change::Facts(Edit::Upsert(old.clone())))), ["n1"]);
    made(&mut drop, Change::Facts(Edit::Upsert(old)));
    assert_eq!(text(&translator), text(&drop));
}

#[test]
fn where_the_plugin_tells_of_pods_the_node_is_closed_always() {
    let mut translator = expecting();
    assert_eq!(closing(&translator, 1), NOBODY);
    let told = Facts { grammar: 2, cni: true, ..Facts::nothing_of(name(1)) };
    assert_eq!(nodes(&made(&mut translator, Change::Facts(Edit::Upsert(told)))), ["n1"]);
    assert_eq!(closing(&translator, 1), Closing::Always);
}

#[test]
fn the_rules_stand_all_the_same_and_ask_who_attends_where_nobody_is_expected() {
    let mut translator = expecting();
    let text = |translator: &Translator| {
        String::from_utf8(render(&translator.output(&name(1)).unwrap()).bytes().to_vec()).unwrap()
    };
    let asks = "10.244.1.0/24 meta nfproto != @attended fib";
    let declared = "\tset attended {\n\t\ttypeof meta nfproto\n\t\tflags timeout\n\t}\n";
    let open = text(&translator);
    // Each base chain, and what begins in mid-stream.
    assert_eq!((open.matches(asks).count(), open.matches(declared).count()), (3, 1), "{open}");
    let pass = made(&mut translator, upsert(&coming("bank", "teller", Some(1))));
    let closed = text(&translator);
    assert_eq!(closed.matches(asks).count(), 2, "{closed}");
    assert!(closed.contains("ip daddr 10.244.1.0/24 fib daddr type != local counter goto ingress_denied"));
    assert_eq!(closed.matches(declared).count(), 1, "what is in it is not lost when somebody is expected");
    let body = pass.changes[0].body.as_ref().unwrap();
    let (base, after) =
        (pass.changes[0].before.as_ref().unwrap().revision(), pass.changes[0].after.revision());
    let delta = body.script(&body.end(base, after, &Superseded::default()));
    let delta = String::from_utf8(delta.bytes().to_vec()).unwrap();
    assert!(!delta.contains("set attended"), "{delta}");
    let output = translator.output(&name(1)).unwrap();
    assert!(!String::from_utf8_lossy(render(&output.closed()).bytes()).contains("attended"));
}

#[test]
fn who_is_expected_revokes_nothing_of_the_others_there() {
    let mut translator = expecting();
    let pass = made(&mut translator, upsert(&coming("bank", "teller", Some(1))));
    let (before, after) = (pass.changes[0].before.clone().unwrap(), &pass.changes[0].after);
    assert!(forget::lost(&before, after).is_empty() && forget::isolated(after).is_empty());
    let (nobody, other) = ("10.244.1.9".parse().unwrap(), "10.9.9.9".parse().unwrap());
    let to = flock_compiler_core::nft::Transport::Other(1);
    assert!(forget::allows(&before, other, nobody, to) && !forget::allows(after, other, nobody, to));
    assert!(forget::allows(after, nobody, other, to), "the other direction is open");
    assert_eq!(Direction::ALL.map(|direction| NOBODY.is_closed(direction)), [false; 2]);
}
