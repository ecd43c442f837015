//! `matrix` says what may reach what: that is what a judge says of every flow. `open` and `policies` say what is selected.
#![allow(clippy::unwrap_used, reason = "helpers of tests may panic as tests do")]

#[path = "preview/worlds.rs"]
#[allow(dead_code, reason = "only worlds are of use here")]
mod worlds;

use std::collections::BTreeSet;

use flock_ask::{AskError, Cluster, Sight, matrix, open, policies};
use flock_compiler_core::judge::{Carries, Flow, Judge};
use flock_compiler_core::object::{Direction, Lifecycle, Pod};
use flock_compiler_core::port::Protocol;
use flock_compiler_core::{UnreadyPods, World};
use flock_proto::v1;
use flock_shared::NamespaceName;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

fn runner() -> TestRunner {
    let config = Config { cases: 200, failure_persistence: None, ..Config::default() };
    TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha))
}

fn carried() -> Vec<Carries> {
    let edges = worlds::PORTS.iter().flat_map(|port| [*port, port.saturating_add(1)]);
    let numbers: BTreeSet<u16> = edges.chain([7777]).collect();
    let ports = Protocol::ALL
        .into_iter()
        .flat_map(|protocol| numbers.clone().into_iter().map(move |number| Carries::Port(protocol, number)));
    ports.chain([Carries::Other]).collect()
}

fn is_in(atom: &v1::PortAtom, carries: Carries) -> bool {
    match carries {
        _ if atom.protocol == "any" => true,
        Carries::Other => atom.protocol == "other",
        Carries::Port(protocol, number) => {
            atom.protocol == protocol.as_str() && (atom.first..=atom.last).contains(&number.into())
        }
    }
}

fn is_judged(pod: &Pod) -> bool {
    !pod.is_of_host_network() && pod.lifecycle != Lifecycle::Finished
}

/// Whether something passes between any addresses of two pods; `None`: no packet can.
fn passes(
    judge: &Judge<'_>,
    from: &std::sync::Arc<Pod>,
    to: &std::sync::Arc<Pod>,
    carries: Carries,
) -> Option<bool> {
    let mut found = None;
    for source in judge.places_of_pod(from) {
        for destination in judge.places_of_pod(to) {
            let fits = match (source.address, destination.address) {
                (Some(a), Some(b)) => a.is_ipv4() == b.is_ipv4() && a != b,
                _ => true,
            };
            if fits {
                let flow = Flow { source: source.clone(), destination, carries };
                found = Some(found.unwrap_or(false) || judge.passes(&flow));
            }
        }
    }
    found
}

fn compare(world: &World, counts: &mut (u64, u64)) {
    let judge = Judge::indexed(world, UnreadyPods::Allow);
    let cluster = Cluster::new(world, UnreadyPods::Allow);
    for namespace in ["", "ns0", "ns1", "ns2"] {
        let request = v1::MatrixRequest { namespace: namespace.to_owned(), ports: Vec::new() };
        let rows = match matrix(&cluster, &request, &Sight::Everything) {
            Ok(rows) => rows,
            Err(AskError::NotFound(_)) => continue,
            Err(error) => panic!("{error}"),
        };
        let is_named = |pod: &Pod| namespace.is_empty() || pod.key.namespace.as_str() == namespace;
        let name = |pod: &Pod| match is_named(pod) {
            true => pod.key.to_string(),
            false => format!("namespace {}", pod.key.namespace),
        };
        let pods: Vec<_> = world.pods().values().filter(|pod| is_judged(pod)).collect();
        for carries in carried() {
            let mut expected: BTreeSet<(String, String)> = BTreeSet::new();
            for from in &pods {
                for to in pods.iter().filter(|to| to.key != from.key) {
                    if (is_named(from) || is_named(to)) && passes(&judge, from, to, carries) == Some(true) {
                        expected.insert((name(from), name(to)));
                    }
                }
            }
            let is_of_pods = |end: &v1::ShownEnd| end.namespace.is_some();
            let told: BTreeSet<(String, String)> = rows
                .iter()
                .filter(|row| row.ports.iter().any(|atom| is_in(atom, carries)))
                .filter_map(|row| Some((row.from.as_ref()?, row.to.as_ref()?)))
                .filter(|(from, to)| is_of_pods(from) && is_of_pods(to))
                .map(|(from, to)| (from.name.clone(), to.name.clone()))
                .collect();
            assert_eq!(told, expected, "{carries:?} in {namespace:?}: {rows:#?}");
            counts.0 += expected.len() as u64;
            counts.1 += 1;
        }
    }
}

#[test]
fn a_matrix_is_what_is_judged_of_every_flow() {
    let counts = std::cell::RefCell::new((0, 0));
    let compared = runner().run(&worlds::world_and_proposed(), |(world, _)| {
        compare(&world, &mut counts.borrow_mut());
        Ok(())
    });
    compared.unwrap();
    let (passing, tables) = counts.into_inner();
    assert!(passing > 10_000 && tables > 1_000, "{passing} in {tables}");
}

#[test]
fn a_matrix_of_one_port_has_no_others() {
    let compared = runner().run(&worlds::world_and_proposed(), |(world, _)| {
        let cluster = Cluster::new(&world, UnreadyPods::Allow);
        let web = v1::Port { protocol: "TCP".to_owned(), number: 80 };
        let request = v1::MatrixRequest { namespace: String::new(), ports: vec![web] };
        let Ok(rows) = matrix(&cluster, &request, &Sight::Everything) else { return Ok(()) };
        for atom in rows.iter().flat_map(|row| &row.ports) {
            assert_eq!((&*atom.protocol, atom.first, atom.last), ("TCP", 80, 80));
        }
        Ok(())
    });
    compared.unwrap();
}

#[test]
fn open_pods_are_those_that_nothing_isolates() {
    let compared = runner().run(&worlds::world_and_proposed(), |(world, _)| {
        let judge = Judge::indexed(&world, UnreadyPods::Allow);
        let cluster = Cluster::new(&world, UnreadyPods::Allow);
        let rows = open(&cluster, &v1::ListOpenRequest::default(), &Sight::Everything).unwrap();
        let is_open = |pod: &Pod, direction| u32::from(judge.isolating(direction, pod).next().is_none());
        let expected: Vec<(String, u32, u32)> = world
            .pods()
            .values()
            .filter(|pod| is_judged(pod))
            .map(|pod| {
                (pod.key.to_string(), is_open(pod, Direction::Ingress), is_open(pod, Direction::Egress))
            })
            .filter(|(_, ingress, egress)| ingress + egress > 0)
            .collect();
        let told: Vec<(String, u32, u32)> = rows
            .into_iter()
            .map(|row| (row.workload.unwrap().name, row.open_ingress, row.open_egress))
            .collect();
        assert_eq!(told, expected);
        Ok(())
    });
    compared.unwrap();
}

#[test]
fn policies_tell_the_pods_and_nodes_that_they_select() {
    let compared = runner().run(&worlds::world_and_proposed(), |(world, _)| {
        let cluster = Cluster::new(&world, UnreadyPods::Allow);
        let sight = Sight::Only([NamespaceName::new("ns0").unwrap()].into());
        let all = policies(&cluster, &v1::ListPoliciesRequest::default(), &Sight::Everything).unwrap();
        let own = policies(&cluster, &v1::ListPoliciesRequest::default(), &sight).unwrap();
        assert_eq!(own, all.iter().filter(|row| row.namespace == "ns0").cloned().collect::<Vec<_>>());
        assert_eq!(all.len(), world.policies().len());
        for (row, policy) in all.iter().zip(world.policies().values()) {
            let selected: Vec<_> = world
                .pods_of(&policy.key.namespace)
                .filter(|pod| is_judged(pod) && policy.pod_selector.matches(&pod.labels))
                .collect();
            let nodes: BTreeSet<_> = selected.iter().filter_map(|pod| pod.node.as_ref()).collect();
            assert_eq!((row.pods as usize, row.nodes as usize), (selected.len(), nodes.len()));
            let rules = policy.rules(Direction::Ingress).map(|rules| rules.len() as u32);
            assert_eq!(row.ingress_rules, rules);
        }
        Ok(())
    });
    compared.unwrap();
}
