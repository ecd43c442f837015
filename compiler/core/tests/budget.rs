//! Hostile policies cost their own namespace, not the others: what goes over budget isolates and is reported.

#![allow(clippy::unwrap_used, reason = "helpers of tests may panic as tests do")]

use std::sync::Arc;

use flock_compiler_core::nft::costs::{Costs, OWNERS_PER_ADDRESS};
use flock_compiler_core::object::{
    IpBlock, Lifecycle, Namespace, Peer, PeerMatch, Pod, PodNetwork, Policy, PolicyBody, PolicyRules,
    PortMatch, Rule, RulePorts,
};
use flock_compiler_core::output::Isolation;
use flock_compiler_core::port::{PortRange, Protocol};
use flock_compiler_core::{
    Change, Consequence, Edit, Labels, Selector, Translator, World, render, translate,
};
use flock_shared::{NamespaceName, NodeName, PodKey, PolicyKey};

fn pod(namespace: &str, address: &str) -> Pod {
    Pod {
        key: PodKey::new(namespace, "pod").unwrap(),
        node: Some(NodeName::new("n1").unwrap()),
        labels: Labels::default(),
        network: PodNetwork::Own { addresses: [address.parse().unwrap()].into(), interface: None },
        lifecycle: Lifecycle::Live,
        ports: [].into(),
        faults: Vec::new(),
    }
}

/// One rule per range, each with a peer of its own.
fn policy(namespace: &str, ranges: impl Iterator<Item = (u16, u16)>) -> Policy {
    let rules = ranges.enumerate().map(|(number, (first, last))| {
        let cidr = format!("192.{}.{}.0/24", number / 256, number % 256).parse().unwrap();
        Rule {
            peers: PeerMatch::OneOf(vec![Peer::Block(IpBlock::new(cidr, &[]).unwrap())]),
            ports: RulePorts::OneOf(vec![PortMatch::Range(
                PortRange::new(Protocol::Tcp, first, last).unwrap(),
            )]),
        }
    });
    Policy {
        key: PolicyKey::new(namespace, "ranges").unwrap(),
        subjects: Selector::everything(),
        body: PolicyBody::Understood(PolicyRules { ingress: Some(rules.collect()), egress: None }),
    }
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
    let output = translation.output(&NodeName::new("n1").unwrap());
    assert_eq!(output.frame().subjects[&"10.0.0.1".parse().unwrap()].ingress, Isolation::Closed);
    assert!(matches!(output.frame().subjects[&"10.0.0.2".parse().unwrap()].ingress, Isolation::Rules(_)));
    let [problem] = translation.problems() else { panic!("{:?}", translation.problems()) };
    assert_eq!(problem.consequence, Consequence::Isolated);
    assert!(
        problem.to_string().starts_with("NetworkPolicy hostile/ranges: spec.ingress: its rules"),
        "{problem}"
    );
}

#[test]
fn ten_thousand_ranges_that_do_not_nest_are_within_budget() {
    let wide = policy("hostile", (0..10_000).map(|number| (number * 6, number * 6 + 9)));
    let translation = translate(&world(vec![wide]));
    assert_eq!(translation.problems(), []);
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

    let labels: Labels =
        [("a", "b")].into_iter().map(|(key, value)| (Arc::from(key), Arc::from(value))).collect();
    let namespace = Namespace { name: NamespaceName::new("elsewhere").unwrap(), labels };
    translator.apply(Change::Namespace(Edit::Upsert(namespace)));
    assert!(!translator.pass().problems, "a namespace that concerns nobody");

    // Says the same as the other, and so moves no pod; it has its share in what is over budget.
    let key = PolicyKey::new("hostile", "another").unwrap();
    translator.apply(Change::Policy(Edit::Upsert(Policy { key, ..hostile.clone() })));
    assert!(translator.pass().problems);
    assert_ne!(named(&translator), before);
    translator.apply(Change::Policy(Edit::Delete(hostile.key)));
    assert!(translator.pass().problems);
    translator.apply(Change::Policy(Edit::Delete(PolicyKey::new("hostile", "another").unwrap())));
    assert!(translator.pass().problems);
    assert_eq!(translator.problems(), []);
}

#[test]
fn an_address_with_more_owners_than_a_packet_can_ask_is_closed() {
    let isolation = |owners: usize| {
        let names: Vec<String> = (0..owners).map(|number| format!("owner-{number}")).collect();
        let mut world = World::default();
        world.apply(Change::Pod(Edit::Replace(names.iter().map(|name| pod(name, "10.0.0.1")).collect())));
        let policies = names.iter().zip(1..).map(|(name, port)| policy(name, std::iter::once((port, port))));
        world.apply(Change::Policy(Edit::Replace(policies.collect())));
        let output = translate(&world).output(&NodeName::new("n1").unwrap());
        let guarded = Costs::default().after(render(&output).bytes());
        assert!(guarded.is_ok(), "{guarded:?}");
        output.frame().subjects[&"10.0.0.1".parse().unwrap()].ingress.clone()
    };
    assert!(
        matches!(isolation(OWNERS_PER_ADDRESS), Isolation::All(sets) if sets.len() == OWNERS_PER_ADDRESS)
    );
    assert_eq!(isolation(OWNERS_PER_ADDRESS + 1), Isolation::Closed);
}
