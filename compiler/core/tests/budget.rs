//! Hostile policies cost their own namespace, not the others: what goes over budget isolates and is reported.

#![allow(clippy::unwrap_used, reason = "helpers of tests may panic as tests do")]

#[path = "support/objects.rs"]
mod objects;

use flock_compiler_core::nft::MapName;
use flock_compiler_core::nft::costs::{Costs, OWNERS_PER_ADDRESS, node};
use flock_compiler_core::object::{Namespace, PeerMatch, Pod, Policy, Rule, RulePorts};
use flock_compiler_core::output::Isolation;
use flock_compiler_core::port::Protocol;
use flock_compiler_core::translate::{Budgets, Load, translate_with};
use flock_compiler_core::{
    Change, Consequence, Edit, Labels, Options, Selector, Translator, World, layout, render, translate,
};
use flock_shared::NamespaceName;

use objects::{
    block, ingress, is, is_not, name, on_any_port, pod_key, pods_in, policy_key, ports, rule, tcp,
};

fn pod(namespace: &str, address: &str) -> Pod {
    Pod { node: Some(name(1)), ..objects::pod(namespace, "pod", &[address]) }
}

/// One rule per range, each with a peer of its own.
fn policy(namespace: &str, ranges: impl Iterator<Item = (u16, u16)>) -> Policy {
    let rules = ranges.enumerate().map(|(number, (first, last))| {
        rule(vec![block(&format!("192.{}.{}.0/24", number / 256, number % 256))], [tcp(first, last)])
    });
    ingress(namespace, "ranges", rules.collect())
}

fn world(policies: Vec<Policy>) -> World {
    let mut world = World::default();
    world.apply(Change::Pod(Edit::Replace(vec![pod("hostile", "10.0.0.1"), pod("decent", "10.0.0.2")])));
    world.apply(Change::Policy(Edit::Replace(policies)));
    world
}

#[test]
fn thousands_of_nested_ranges_with_different_peers_isolate_their_own_pods_only() {
    let hostile = policy("hostile", (0..10_000).map(|number| (number, 60_000 - number)));
    let decent = policy("decent", (0..100).map(|number| (number * 10, number * 10 + 30)));
    let translation = translate(&world(vec![hostile, decent]));
    let output = translation.output(&name(1));
    assert_eq!(output.node_rules().isolated[&"10.0.0.1".parse().unwrap()].ingress, Isolation::Closed);
    assert!(matches!(
        output.node_rules().isolated[&"10.0.0.2".parse().unwrap()].ingress,
        Isolation::Rules(_)
    ));
    let [problem] = translation.problems() else { panic!("{:?}", translation.problems()) };
    assert_eq!(problem.consequence, Consequence::Isolated);
    assert!(
        problem.to_string().starts_with("NetworkPolicy hostile/ranges: spec.ingress: its rules"),
        "{problem}"
    );
}

#[test]
fn ranges_that_do_not_nest_are_within_budget_as_long_as_a_node_can_bear_their_sets() {
    let wide = |count: u16| policy("hostile", (0..count).map(|number| (number * 6, number * 6 + 9)));
    let translation = translate(&world(vec![wide(750)]));
    assert_eq!(translation.problems(), []);
    let translation = translate(&world(vec![wide(10_000)]));
    let [problem] = translation.problems() else { panic!("{:?}", translation.problems()) };
    assert_eq!(problem.consequence, Consequence::NamespaceIsolated);
    let most = format!("more than {} sets of addresses and maps of ports on n1", node::SETS);
    assert!(problem.message.contains(&most), "{problem}");
}

/// Pods of one namespace that each have a label's value of their own; the first is on a node.
fn apps(count: u32) -> Vec<Pod> {
    let app = |number: u32| {
        let address = std::net::Ipv4Addr::from(0x0a00_0000 + number);
        let labels = [("app".to_owned(), format!("app-{number}"))].into_iter().collect();
        let node = (number == 0).then(|| name(1));
        let key = pod_key("decent", &format!("app-{number}"));
        Pod { key, node, labels, ..pod("decent", &address.to_string()) }
    };
    (0..count).map(app).collect()
}

fn app(number: u32) -> Selector {
    is("app", &format!("app-{number}"))
}

/// As many policies that select the first of these pods, each with a pod as its peer, on these ports.
fn of_one_pod(count: u32, ranges: impl Fn(u32) -> (Protocol, u16, u16)) -> World {
    let policy = |number: u32| {
        let (protocol, first, last) = ranges(number);
        let rule = rule(vec![pods_in("decent", app(number))], [ports(protocol, first, last)]);
        Policy { pod_selector: app(0), ..ingress("decent", &format!("policy-{number}"), vec![rule]) }
    };
    let mut world = World::default();
    world.apply(Change::Pod(Edit::Replace(apps(count))));
    world.apply(Change::Policy(Edit::Replace((0..count).map(policy).collect())));
    world
}

#[test]
fn ten_thousand_policies_for_one_pod_on_whatever_ports_close_nobody() {
    type Ports = fn(u32) -> (Protocol, u16, u16);
    // As those whose packets `deploy/bench packets` measures.
    let shapes: [(Ports, u64); 3] = [
        (|_| (Protocol::Tcp, 80, 80), 10_000),
        (|number| (Protocol::Tcp, number as u16 + 1, number as u16 + 1), 10_000),
        (
            |number| {
                let first = (number % 3_600 * 18) as u16;
                (Protocol::ALL[number as usize / 3_600], first, first + 17)
            },
            180_000,
        ),
    ];
    for (ports, members) in shapes {
        let translation = translate(&of_one_pod(10_000, ports));
        assert_eq!(translation.problems(), []);
        let output = translation.output(&name(1));
        let subject = &output.node_rules().isolated[&"10.0.0.0".parse().unwrap()];
        assert!(matches!(subject.ingress, Isolation::Rules(_)));
        let [set] = output.sets() else { panic!("{} sets", output.sets().len()) };
        assert_eq!(set.v4.len() as u64, members);
    }
}

#[test]
fn one_pod_cannot_have_its_node_make_sixteen_thousand_sets() {
    // Peers that are blocks cannot share a set: with each a port of its own.
    let ports = |number: u16| (number + 1, number + 1);
    let hostile = policy("hostile", (0..16_000).map(ports));
    let decent = policy("decent", (0..100).map(|number| (number * 10, number * 10 + 30)));
    let translation = translate(&world(vec![hostile, decent]));
    let output = translation.output(&name(1));
    assert!(matches!(output.node_rules().isolated[&"10.0.0.1".parse().unwrap()].ingress, Isolation::Closed));
    assert!(matches!(
        output.node_rules().isolated[&"10.0.0.2".parse().unwrap()].ingress,
        Isolation::Rules(_)
    ));
    let [problem] = translation.problems() else { panic!("{:?}", translation.problems()) };
    assert_eq!(problem.object, "Namespace hostile");
}

#[test]
fn a_node_is_not_sent_millions_of_elements() {
    // Each of many pods of one node looks up a set of its own with nearly all pods.
    let local = |pod: Pod| Pod { node: Some(name(1)), ..pod };
    let policy = |number: u32| {
        let others = pods_in("decent", is_not("app", &format!("app-{number}")));
        let policy = ingress("decent", &format!("policy-{number}"), vec![on_any_port(vec![others])]);
        Policy { pod_selector: app(number), ..policy }
    };
    let mut world = World::default();
    world.apply(Change::Pod(Edit::Replace(apps(3_000).into_iter().map(local).collect())));
    world.apply(Change::Policy(Edit::Replace((0..300).map(policy).collect())));
    let translation = translate(&world);
    let [problem] = translation.problems() else { panic!("{:?}", translation.problems()) };
    let most = format!("more than {} elements of sets", node::ELEMENTS);
    assert!(problem.message.contains(&most), "{problem}");
    let output = translation.output(&name(1));
    assert!(output.sets().is_empty());
    assert_eq!(output.node_rules().isolated[&"10.0.0.0".parse().unwrap()].ingress, Isolation::Closed);
}

#[test]
fn ranges_of_ports_are_a_map_for_each_protocol() {
    let all = Protocol::ALL.map(|protocol| ports(protocol, 1_000, 2_000));
    let rule = Rule { peers: PeerMatch::Any, ports: RulePorts::OneOf(all.into()) };
    let world = world(vec![ingress("decent", "all-protocols", vec![rule])]);
    let within = |sets: u64| {
        let budgets = Budgets { node: Load { sets, ..Budgets::default().node }, ..Budgets::default() };
        let translation = translate_with(&world, Options { budgets, ..Options::default() });
        translation.problems().is_empty()
    };
    let output = translate(&world).output(&name(1));
    let maps = layout(&output).maps.keys().filter(|name| matches!(name, MapName::PortRanges(..))).count();
    assert_eq!(maps, 3);
    assert!(within(3) && !within(2));
}

#[test]
fn while_something_is_over_budget_only_what_concerns_it_asks_for_a_new_look_at_the_problems() {
    let mut translator = Translator::new();
    translator.apply(Change::Pod(Edit::Replace(vec![pod("hostile", "10.0.0.1"), pod("decent", "10.0.0.2")])));
    let hostile = policy("hostile", (0..10_000).map(|number| (number, 60_000 - number)));
    translator.apply(Change::Policy(Edit::Replace(vec![hostile.clone()])));
    assert!(translator.pass().problems);
    let named = |translator: &Translator| {
        let [problem] = &*translator.problems() else { panic!("{:?}", translator.problems()) };
        problem.to_string()
    };
    let before = named(&translator);

    let labels = Labels::from_iter([("a", "b")]);
    let namespace = Namespace::new(NamespaceName::new("elsewhere").unwrap(), labels);
    translator.apply(Change::Namespace(Edit::Upsert(namespace)));
    assert!(!translator.pass().problems, "a namespace that concerns nobody");

    // Says the same as the other, and so moves no pod; it has its share in what is over budget.
    let key = policy_key("hostile", "another");
    translator.apply(Change::Policy(Edit::Upsert(Policy { key, ..hostile.clone() })));
    assert!(translator.pass().problems);
    assert_ne!(named(&translator), before);
    translator.apply(Change::Policy(Edit::Delete(hostile.key)));
    assert!(translator.pass().problems);
    translator.apply(Change::Policy(Edit::Delete(policy_key("hostile", "another"))));
    assert!(translator.pass().problems);
    assert_eq!(translator.problems(), []);
}

#[test]
fn an_address_with_more_owners_than_a_packet_can_ask_is_closed() {
    let isolation = |owners: usize| {
        let names: Vec<String> = (0..owners).map(|number| format!("owner-{number}")).collect();
        let mut world = World::default();
        world.apply(Change::Pod(Edit::Replace(names.iter().map(|owner| pod(owner, "10.0.0.1")).collect())));
        let policies =
            names.iter().zip(1..).map(|(owner, port)| policy(owner, std::iter::once((port, port))));
        world.apply(Change::Policy(Edit::Replace(policies.collect())));
        let output = translate(&world).output(&name(1));
        let guarded = Costs::default().after(render(&output).bytes());
        assert!(guarded.is_ok(), "{guarded:?}");
        output.node_rules().isolated[&"10.0.0.1".parse().unwrap()].ingress.clone()
    };
    assert!(
        matches!(isolation(OWNERS_PER_ADDRESS), Isolation::All(sets) if sets.len() == OWNERS_PER_ADDRESS)
    );
    assert_eq!(isolation(OWNERS_PER_ADDRESS + 1), Isolation::Closed);
}
