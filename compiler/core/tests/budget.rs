//! Hostile policies cost their own namespace, not the others: what goes over budget isolates and is reported.

#![allow(clippy::unwrap_used, reason = "helpers of tests may panic as tests do")]

use flock_compiler_core::object::{
    IpBlock, Lifecycle, Peer, PeerMatch, Pod, PodNetwork, Policy, PolicyBody, PolicyRules, PortMatch, Rule,
    RulePorts,
};
use flock_compiler_core::output::Isolation;
use flock_compiler_core::port::{PortRange, Protocol};
use flock_compiler_core::{Change, Consequence, Edit, Labels, Selector, World, translate};
use flock_shared::{NodeName, PodKey, PolicyKey};

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
