//! Random clusters, random flows: which connections a state allows is what its table says of their first packets, and
//! whatever a history revokes has an end that is said to have lost something.

#![allow(clippy::unwrap_used, reason = "a helper of tests may panic as tests do")]

mod support;

use std::sync::Arc;

use flock_compiler_core::forget::{Elsewhere, allows, isolated, isolates, lost};
use flock_compiler_core::nft;
use flock_compiler_core::object::{Pod, Policy, Rule};
use flock_compiler_core::{Change, Edit, Options, Translator, UnreadyPods, layout, translate};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::Config;

use flock_model::oracle::flow::{Flow, Transport};
use flock_model::{Packet, judge};
use support::dice::Dice;
use support::history::Walk;
use support::{generator, objects, to_core};

const CLUSTERS: u32 = 200;
const FLOWS: usize = 100;
const HISTORIES: u32 = 12;
const BATCHES: usize = 150;

/// What closes a node for somebody's sake revokes nothing, so that nothing is said of it.
fn dropping() -> Options {
    Options { unready_pods: UnreadyPods::Drop, ..Options::default() }
}

fn transport(flow: &Flow) -> nft::Transport {
    match flow.transport {
        Transport::Ports(protocol, _, destination_port) => {
            nft::Transport::Ports { protocol: to_core::protocol(protocol), destination_port }
        }
        Transport::Icmp { kind, .. } if flow.source.is_ipv6() => nft::Transport::Icmpv6(kind),
        Transport::Icmp { kind, .. } => nft::Transport::Icmp(kind),
        Transport::Other(number) => nft::Transport::Other(number),
    }
}

proptest! {
    #![proptest_config(support::config(CLUSTERS))]

    #[test]
    fn a_connection_is_allowed_if_its_first_packet_passes_the_table(
        cluster in generator::cluster(),
        flows in vec(generator::flows::flow(), FLOWS),
    ) {
        let translation = translate(&to_core::world(&cluster));
        for node in cluster.node_names() {
            let output = translation.output(&to_core::node_name(node));
            let (table, named) = (layout(&output), isolated(&output));
            for flow in &flows {
                let (source, destination, transport) = (flow.source, flow.destination, transport(flow));
                let passes = judge(&table, &Packet::first(source, destination, transport)).unwrap();
                prop_assert_eq!(allows(&output, source, destination, transport), passes, "{}: {}", node, flow);
                prop_assert!(passes || named.contains(source) || named.contains(destination), "{}", flow);
            }
        }
    }
}

proptest! {
    #![proptest_config(Config { max_shrink_iters: 0, ..support::config(HISTORIES) })]

    #[test]
    fn what_is_revoked_has_an_end_that_lost_something(
        clusters in vec(generator::cluster(), 3),
        flows in vec(generator::flows::flow(), FLOWS),
        seed: u64,
    ) {
        let (mut translator, mut walk, mut dice) = (Translator::with(dropping()), Walk::new(&clusters), Dice(seed));
        let (mut revoked, mut silent) = (0, 0);
        for _ in 0..BATCHES {
            walk.changes(&mut dice).into_iter().for_each(|change| _ = translator.apply(change));
            for change in translator.pass().changes {
                let Some(before) = change.before else { continue };
                let named = lost(&before, &change.after);
                silent += usize::from(named.is_empty());
                for flow in &flows {
                    let (source, destination, transport) = (flow.source, flow.destination, transport(flow));
                    if allows(&before, source, destination, transport)
                        && !allows(&change.after, source, destination, transport)
                    {
                        revoked += 1;
                        prop_assert!(named.contains(source) || named.contains(destination), "{}", flow);
                    }
                }
            }
        }
        // Not every history has a revocation that one of the flows notices.
        prop_assume!(revoked > 0 && silent > 0);
    }
}

proptest! {
    #![proptest_config(Config { max_shrink_iters: 0, ..support::config(HISTORIES) })]

    /// The node of the other end has an entry as well.
    #[test]
    fn what_one_node_revokes_the_node_of_the_other_end_is_told(
        clusters in vec(generator::cluster(), 3),
        flows in vec(generator::flows::flow(), FLOWS),
        seed: u64,
    ) {
        let (mut translator, mut walk, mut dice) = (Translator::with(dropping()), Walk::new(&clusters), Dice(seed));
        let mut told = 0;
        for _ in 0..BATCHES {
            walk.changes(&mut dice).into_iter().for_each(|change| _ = translator.apply(change));
            let pass = translator.pass();
            let states = || pass.changes.iter().filter_map(|it| Some((&**it.before.as_ref()?, &*it.after)));
            let elsewhere = Elsewhere::of(states(), &pass.moved);
            for (before, after) in states() {
                for flow in &flows {
                    let (source, destination, transport) = (flow.source, flow.destination, transport(flow));
                    let allowed_by = |output| allows(output, source, destination, transport);
                    let moved = [source, destination].iter().any(|end| pass.moved.contains(end));
                    // What nobody owns, and a node guards, has no connections.
                    let is_pods =
                        [source, destination].iter().all(|end| !translator.outputs_of(end).is_empty());
                    if moved || !is_pods || !allowed_by(before) || allowed_by(after) {
                        continue;
                    }
                    for other in [source, destination].iter().flat_map(|end| translator.outputs_of(end)) {
                        let is_isolated = isolates(&other, source) || isolates(&other, destination);
                        if other.node() != after.node() && is_isolated {
                            told += 1;
                            prop_assert!(elsewhere.by().contains(after.node()), "{} by {}", flow, after.node());
                            let named = elsewhere.concerning(&other);
                            prop_assert!(named.contains(source) || named.contains(destination), "{}", flow);
                        }
                    }
                }
            }
        }
        prop_assume!(told > 0);
    }
}

#[test]
fn only_nodes_that_revoke_are_named() {
    let pod = |name: &str, on: u8, label: &str| Pod {
        node: Some(objects::name(on)),
        labels: [(Arc::from("app"), Arc::from(label))].into_iter().collect(),
        ..objects::pod("shop", name, &[&format!("10.244.{on}.{}", name.len())])
    };
    let from =
        |label: &str| vec![objects::on_any_port(vec![objects::pods_in("shop", objects::is("app", label))])];
    let allowing = |name: &str, label: &str, peers: Vec<Rule>| Policy {
        pod_selector: objects::is("app", label),
        ..objects::ingress("shop", name, peers)
    };
    let mut translator = Translator::with(dropping());
    let pods = vec![
        pod("red", 1, "red"),
        pod("green", 2, "green"),
        pod("peer", 3, "peer"),
        pod("other", 3, "other"),
    ];
    translator.apply(Change::Node(Edit::Replace((1..=3).map(objects::node).collect())));
    translator.apply(Change::Pod(Edit::Replace(pods)));
    let policies = [("r", "red", "peer"), ("g", "green", "other")];
    for (name, label, peer) in policies {
        translator.apply(Change::Policy(Edit::Upsert(allowing(name, label, from(peer)))));
    }
    translator.pass();
    // The red one loses its peer, which the green one gains.
    translator.apply(Change::Pod(Edit::Upsert(pod("peer", 3, "other"))));
    let pass = translator.pass();
    let states: Vec<_> =
        pass.changes.iter().filter_map(|it| Some((it.before.clone()?, it.after.clone()))).collect();
    let elsewhere = Elsewhere::of(states.iter().map(|(before, after)| (&**before, &**after)), &pass.moved);
    let changed: Vec<_> = states.iter().map(|(_, after)| after.node().to_string()).collect();
    assert_eq!(changed, ["n1", "n2"]);
    assert_eq!(elsewhere.by().iter().map(ToString::to_string).collect::<Vec<_>>(), ["n1"]);
}
