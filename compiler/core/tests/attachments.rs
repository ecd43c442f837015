//! What CNI did: whose an address is, from whatever order of events, and what is not believed.

#![allow(clippy::unwrap_used, reason = "helpers of tests may panic as tests do")]

#[path = "support/objects.rs"]
mod objects;

use flock_compiler_core::object::{
    Attachment, Claim, HostInterface, Lifecycle, Node, NodePods, Pod, PodCidr, PodNetwork, PodUid, Sandbox,
};
use flock_compiler_core::translate::translate_with;
use flock_compiler_core::world::Trust;
use flock_compiler_core::{Change, Edit, Options, Translator};
use flock_shared::PodKey;
use rand::rngs::SmallRng;
use rand::seq::IndexedRandom;
use rand::{Rng as _, SeedableRng as _};

use objects::{deny, name, node, pod_key};

fn key(pod: &str) -> PodKey {
    pod_key("shop", pod)
}

/// A pod with what its status says of its addresses; its UID is its name and a number.
fn pod(pod: &str, uid: u8, on: u8, status: &[&str]) -> Pod {
    let uid = PodUid::new(&format!("{pod}-{uid}")).ok();
    Pod { uid, node: Some(name(on)), ..objects::pod("shop", pod, status) }
}

fn sandbox(pod: &str, uid: u8, addresses: &[&str]) -> Sandbox {
    let attachment = match addresses {
        [] => Attachment::Detached,
        _ => Attachment::Attached {
            addresses: addresses.iter().map(|at| at.parse().unwrap()).collect(),
            interface: format!("veth-{pod}").parse().ok(),
        },
    };
    Sandbox { pod: key(pod), uid: PodUid::new(&format!("{pod}-{uid}")).unwrap(), attachment }
}

fn told(on: u8, sandboxes: &[Sandbox]) -> Change {
    Change::NodePods(Edit::Upsert(NodePods::new(name(on), sandboxes.to_vec(), Vec::new())))
}

/// Two nodes, and a policy that isolates every pod of the namespace.
fn cluster(trust: Trust) -> Translator {
    let mut translator = Translator::with(Options { trust, ..Options::default() });
    translator.apply(Change::Node(Edit::Replace(vec![node(1), node(2)])));
    translator.apply(Change::Policy(Edit::Replace(vec![deny("shop")])));
    translator.pass();
    translator
}

fn put(translator: &mut Translator, pod: Pod) {
    translator.apply(Change::Pod(Edit::Upsert(pod)));
}

/// The isolated addresses of a node, and the pods that share a contested one.
fn isolated(translator: &mut Translator, on: u8) -> Vec<String> {
    translator.pass();
    let output = translator.output(&name(on)).unwrap();
    let known = output.node_rules().guard.as_ref().map(|unready| unready.known().map(|at| at.to_string()));
    known.into_iter().flatten().collect()
}

#[test]
fn a_pod_has_the_addresses_that_cni_gave_it_and_its_status_never_counts_again() {
    let mut it = cluster(Trust::default());
    put(&mut it, pod("a", 1, 1, &[]));
    assert!(isolated(&mut it, 1).is_empty());
    it.apply(told(1, &[sandbox("a", 1, &["10.244.1.5"])]));
    assert_eq!(isolated(&mut it, 1), ["10.244.1.5"], "before any status");
    put(&mut it, pod("a", 1, 1, &["10.244.1.6"]));
    assert_eq!(isolated(&mut it, 1), ["10.244.1.5"], "a status that says something else");
    it.apply(told(1, &[sandbox("a", 1, &[])]));
    assert!(isolated(&mut it, 1).is_empty(), "the sandbox is gone, and the status is late");
    it.apply(told(1, &[sandbox("a", 1, &[]), sandbox("a", 1, &["10.244.1.7"])]));
    assert_eq!(isolated(&mut it, 1), ["10.244.1.7"], "a new sandbox of the same pod");
    put(&mut it, pod("a", 2, 1, &["10.244.1.8"]));
    assert_eq!(isolated(&mut it, 1), ["10.244.1.8"], "a later pod of the same name");
    it.apply(told(1, &[]));
    put(&mut it, Pod { uid: None, ..pod("a", 1, 1, &["10.244.1.9"]) });
    it.apply(told(1, &[sandbox("a", 1, &["10.244.1.5"])]));
    assert_eq!(isolated(&mut it, 1), ["10.244.1.9"], "a pod without a UID is nobody that CNI knows");
}

#[test]
fn what_another_node_says_of_a_pod_is_not_about_it() {
    let mut it = cluster(Trust::default());
    put(&mut it, pod("a", 1, 1, &["10.244.1.5"]));
    it.apply(told(2, &[sandbox("a", 1, &["10.244.2.5"])]));
    assert_eq!(isolated(&mut it, 1), ["10.244.1.5"]);
    assert!(isolated(&mut it, 2).is_empty());
}

/// An object of a node that there is not, full of other nodes' pods and addresses, and one of a node that names them as well.
#[test]
fn what_is_none_of_a_nodes_business_changes_nothing_for_anybody() {
    let mut it = cluster(Trust::default());
    for number in 1..=100 {
        let on = 1 + number % 2;
        let (name, at) = (format!("p{number}"), format!("10.244.{on}.{number}"));
        put(&mut it, pod(&name, 1, on, &[&at]));
    }
    it.pass();
    let outputs = |it: &Translator| [1, 2].map(|on| it.output(&name(on)).unwrap());
    let before = outputs(&it);
    let others: Vec<Sandbox> = (0..1000)
        .map(|number| {
            let (pod, at) =
                (format!("p{}", number % 100), format!("10.244.{}.{}", 1 + number % 2, number % 250));
            sandbox(&pod, 1, &[&at])
        })
        .collect();
    it.apply(told(9, &others));
    it.pass();
    assert_eq!(outputs(&it), before, "a node that there is not");
    assert!(it.output(&name(9)).is_none());
    // A node says it of the other one's pods, whose UIDs it knows.
    let theirs: Vec<Sandbox> = others
        .iter()
        .filter(|it| it.pod.name.as_str()[1..].parse::<u8>().unwrap() % 2 == 1)
        .cloned()
        .collect();
    assert!(theirs.len() > 100);
    it.apply(told(1, &theirs));
    it.pass();
    assert_eq!(outputs(&it), before, "pods of another node");
    let problems = it.problems();
    assert!((1..20).contains(&problems.len()), "{problems:?}");
    assert!(problems.iter().all(|it| it.to_string().starts_with("NodePods n1: ")), "{problems:?}");
}

#[test]
fn an_attached_address_beats_one_that_a_status_claims() {
    let claims = |it: &mut Translator| {
        it.pass();
        let problems = it.problems();
        problems.iter().filter(|problem| problem.message.contains("owned by")).count()
    };
    let mut it = cluster(Trust::default());
    put(&mut it, pod("old", 1, 1, &["10.244.1.5"]));
    put(&mut it, pod("new", 1, 1, &["10.244.1.5"]));
    assert_eq!(claims(&mut it), 1, "two statuses");
    it.apply(told(1, &[sandbox("new", 1, &["10.244.1.5"])]));
    assert_eq!(claims(&mut it), 0);
    it.apply(told(1, &[sandbox("new", 1, &["10.244.1.5"]), sandbox("old", 1, &["10.244.1.5"])]));
    assert_eq!(claims(&mut it), 1, "both are attached");
    put(&mut it, Pod { lifecycle: Lifecycle::Deleting, ..pod("old", 1, 1, &[]) });
    assert_eq!(claims(&mut it), 0, "one is being deleted");
    it.apply(told(1, &[sandbox("new", 1, &[]), sandbox("old", 1, &["10.244.1.5"])]));
    assert_eq!(claims(&mut it), 0);
    let old = it.world().pods().get(&key("old")).unwrap();
    assert_eq!(old.claim(), Claim::DeletingAttached);
}

/// Whoever is given a released address waits until every node has heard that it was taken from the pod before.
#[test]
fn a_new_pod_releases_no_address_though_another_has_one_of_its_own() {
    let mut it = cluster(Trust::default());
    put(&mut it, pod("a", 1, 1, &["10.244.1.6"]));
    it.pass();
    put(&mut it, pod("b", 1, 1, &["10.244.1.5", "10.244.1.6", "10.244.1.7"]));
    let pass = it.pass();
    let theirs = pass.moved.iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(theirs, ["10.244.1.5", "10.244.1.6", "10.244.1.7"]);
    assert!(pass.released.is_empty(), "{:?}", pass.released);
    it.apply(Change::Pod(Edit::Delete(key("b"))));
    assert_eq!(it.pass().released, pass.moved, "it claimed all of them");
}

#[test]
fn an_address_outside_of_the_nodes_blocks_is_not_believed_but_told() {
    let sandboxes = [sandbox("a", 1, &["10.244.1.5", "10.244.2.5"])];
    let mut it = cluster(Trust::default());
    put(&mut it, pod("a", 1, 1, &[]));
    it.apply(told(1, &sandboxes));
    assert_eq!(isolated(&mut it, 1), ["10.244.1.5"]);
    assert!(isolated(&mut it, 2).is_empty());
    let [problem] = it.problems().try_into().unwrap();
    let expected = "NodePods n1: sandboxes: address 10.244.2.5 of a pod is in none of the node's pod CIDRs \
                    (the field is left out)";
    assert_eq!(problem.to_string(), expected);
    // The block comes later.
    let both = ["10.244.1.0/24", "10.244.2.0/24"].map(|cidr| PodCidr::new(cidr.parse().unwrap()).unwrap());
    it.apply(Change::Node(Edit::Upsert(Node { pod_cidrs: both.into(), ..node(1) })));
    assert_eq!(isolated(&mut it, 1), ["10.244.1.5", "10.244.2.5"]);
    assert_eq!(it.problems(), []);

    let mut it = cluster(Trust { any_address: true, interfaces: false });
    put(&mut it, pod("a", 1, 1, &[]));
    it.apply(told(1, &sandboxes));
    assert_eq!(isolated(&mut it, 2), ["10.244.2.5"]);
    assert_eq!(it.problems(), []);
}

#[test]
fn an_interface_is_taken_from_cni_only_where_that_is_wanted() {
    let interface = |it: &Translator| match &it.world().pods().get(&key("a")).unwrap().network {
        PodNetwork::Own { interface, .. } => interface.clone(),
        PodNetwork::Host => panic!("a host-network pod"),
    };
    let named = |name: &str| HostInterface::Computed(name.parse().unwrap());
    for (interfaces, by_status, attached) in
        [(false, Some(named("cali1")), Some(named("cali1"))), (true, None, Some(named("veth-a")))]
    {
        let mut it = cluster(Trust { any_address: false, interfaces });
        let network = PodNetwork::own([].into(), Some(named("cali1")));
        put(&mut it, Pod { network, ..pod("a", 1, 1, &[]) });
        assert_eq!(interface(&it), by_status);
        it.apply(told(1, &[sandbox("a", 1, &["10.244.1.5"])]));
        assert_eq!(interface(&it), attached);
    }
}

/// Whatever led there, the outputs are those of the objects as they are.
#[test]
fn histories_end_where_their_objects_do() {
    for seed in 0..40 {
        let mut random = SmallRng::seed_from_u64(seed);
        let options = Options {
            trust: Trust { any_address: random.random(), interfaces: random.random() },
            ..Options::default()
        };
        let mut it = cluster(options.trust);
        for _ in 0..60 {
            let change = change(&mut random);
            it.apply(change);
            if random.random_ratio(1, 3) {
                it.pass();
            }
        }
        it.pass();
        let anew = translate_with(it.world(), options);
        for (node, output) in anew.nodes() {
            assert_eq!(it.output(node).as_ref(), Some(output), "seed {seed}, {node}");
        }
        assert_eq!(it.problems(), anew.problems(), "seed {seed}");
        // The world itself: what each pod was told to have is what a new world makes of the same objects.
        let mut world = flock_compiler_core::World::trusting(options.trust);
        let all = it.world();
        world.apply(Change::Pod(Edit::Replace(all.pods().values().map(|it| bare(it)).collect())));
        world.apply(Change::NodePods(Edit::Replace(
            all.node_pods().values().map(|it| (**it).clone()).collect(),
        )));
        world.apply(Change::Node(Edit::Replace(all.nodes().values().map(|it| (**it).clone()).collect())));
        assert_eq!(world.pods(), all.pods(), "seed {seed}");
    }
}

/// A pod as a source says it.
fn bare(pod: &Pod) -> Pod {
    let mut pod = pod.clone();
    if let PodNetwork::Own { attachment, interface, .. } = &mut pod.network {
        (*attachment, *interface) = (None, None);
    }
    pod
}

fn change(random: &mut SmallRng) -> Change {
    let names = ["a", "b", "c"];
    let addresses = ["10.244.1.5", "10.244.1.6", "10.244.2.5"];
    let some = |random: &mut SmallRng| -> Vec<&str> {
        let count = random.random_range(0..=2);
        addresses.choose_multiple(random, count).copied().collect()
    };
    let which = *names.choose(random).unwrap();
    let on = random.random_range(1..=2);
    match random.random_range(0..8) {
        0 => Change::Pod(Edit::Delete(key(which))),
        1 => {
            let block =
                PodCidr::new(["10.244.1.0/24", "10.244.0.0/16"].choose(random).unwrap().parse().unwrap());
            Change::Node(Edit::Upsert(Node { pod_cidrs: [block.unwrap()].into(), ..node(on) }))
        }
        2 => Change::NodePods(Edit::Delete(name(on))),
        3..=4 => {
            let addresses = some(random);
            Change::Pod(Edit::Upsert(pod(which, random.random_range(1..=2), on, &addresses)))
        }
        _ => {
            let count = random.random_range(0..=3);
            let one = |random: &mut SmallRng| {
                let addresses = some(random);
                sandbox(names.choose(random).unwrap(), random.random_range(1..=2), &addresses)
            };
            let sandboxes: Vec<Sandbox> = (0..count).map(|_| one(random)).collect();
            told(on, &sandboxes)
        }
    }
}
