//! `reach` says who may reach an end and what it may reach: that is what a judge says of every flow.
#![allow(clippy::unwrap_used, reason = "helpers of tests may panic as tests do")]

#[path = "preview/worlds.rs"]
#[allow(dead_code, reason = "only worlds are of use here")]
mod worlds;

use std::net::IpAddr;
use std::sync::Arc;

use flock_ask::{AskError, Cluster, Sight, reach};
use flock_compiler_core::judge::{Carries, Flow, Judge, Place};
use flock_compiler_core::object::{Direction, Lifecycle, Node, Pod};
use flock_compiler_core::port::Protocol;
use flock_compiler_core::{UnreadyPods, World};
use flock_proto::v1;
use flock_proto::v1::end::End as Asked;
use flock_shared::{NamespaceName, NodeName};
use ipnet::IpNet;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

const WORLDS: u32 = 300;

/// All that may be sent.
fn carried() -> Vec<Carries> {
    let edges = worlds::PORTS.iter().flat_map(|port| [port.saturating_sub(1), *port, port.saturating_add(1)]);
    let mut numbers: Vec<u16> = edges.chain([7777]).collect();
    numbers.sort_unstable();
    numbers.dedup();
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

/// Returns true if a row is about these addresses of the asked end and another.
fn is_between(row: &v1::ReachRow, asked: &Place, other: &Place) -> bool {
    // A row that names an address in its words is about that alone.
    let names = row.words.starts_with("from ") || row.words.starts_with("to ");
    let is_at = |end: &Option<v1::ShownEnd>, place: &Place| {
        let address = end.as_ref().unwrap().address.as_ref();
        address.is_none_or(|address| place.address.is_none_or(|own| own.to_string() == *address))
    };
    !names || (is_at(&row.end, asked) && is_at(&row.other, other))
}

fn is_of_family(row: &v1::ReachRow, is_v4: bool) -> bool {
    match (row.words.starts_with("over IPv4"), row.words.starts_with("over IPv6")) {
        (true, _) => is_v4,
        (_, true) => !is_v4,
        _ => true,
    }
}

/// Returns true if a row is about an address that is nobody's.
fn has_address(row: &v1::ReachRow, address: IpAddr) -> bool {
    let name = &row.other.as_ref().unwrap().name;
    let (cidr, except) = name.split_once(" except ").unwrap_or((name, ""));
    let within = match cidr {
        "internet" => true,
        cidr => cidr.parse::<IpNet>().is_ok_and(|cidr| cidr.contains(&address)),
    };
    within && except.split(", ").all(|net| net.parse::<IpNet>().map_or(true, |net| !net.contains(&address)))
}

fn family(place: &Place) -> Option<bool> {
    place.address.map(|address| address.is_ipv4())
}

struct Case<'a> {
    judge: &'a Judge<'a>,
    rows: Vec<v1::ReachRow>,
    direction: v1::Direction,
    places: Vec<Place>,
    flows: u64,
    passing: u64,
}

impl Case<'_> {
    /// Compares what rows say of an end with what is judged.
    fn compare(
        &mut self,
        what: &str,
        places: &[Place],
        is_about: impl Fn(&v1::ReachRow) -> bool,
    ) -> Result<(), String> {
        let rows: Vec<&v1::ReachRow> = self.rows.iter().filter(|row| is_about(row)).collect();
        for asked in &self.places {
            for other in places {
                let fits = match (family(asked), family(other)) {
                    (Some(a), Some(b)) => a == b,
                    _ => true,
                };
                if !fits || (asked.address.is_some() && asked.address == other.address) {
                    continue;
                }
                let is_v4 = family(asked).or(family(other));
                for carries in carried() {
                    let (source, destination) = match self.direction {
                        v1::Direction::Ingress => (other.clone(), asked.clone()),
                        _ => (asked.clone(), other.clone()),
                    };
                    let passes = self.judge.passes(&Flow { source, destination, carries });
                    let told = rows.iter().any(|row| {
                        is_v4.is_none_or(|is_v4| is_of_family(row, is_v4))
                            && is_between(row, asked, other)
                            && row.ports.iter().any(|atom| is_in(atom, carries))
                    });
                    self.flows += 1;
                    self.passing += u64::from(passes);
                    if passes != told {
                        return Err(format!(
                            "{what} {carries:?}: passes {passes}, told {told}\n{asked:?}\n{other:?}\n{rows:#?}"
                        ));
                    }
                }
            }
        }
        Ok(())
    }
}

fn ask(
    world: &World,
    end: Asked,
    direction: v1::Direction,
    sight: &Sight,
) -> Result<Vec<v1::ReachRow>, AskError> {
    let cluster = Cluster::new(world, UnreadyPods::Allow);
    let request =
        v1::ReachRequest { end: Some(v1::End { end: Some(end) }), direction: direction.into(), port: None };
    reach(&cluster, &request, sight)
}

fn pod_end(pod: &Pod) -> Asked {
    Asked::Pod(v1::PodName { namespace: pod.key.namespace.to_string(), name: pod.key.name.to_string() })
}

fn is_other(pod: &Arc<Pod>) -> bool {
    !pod.is_of_host_network() && pod.lifecycle != Lifecycle::Finished
}

fn compare(world: &World, counts: &mut (u64, u64)) -> Result<(), String> {
    let judge = Judge::indexed(world, UnreadyPods::Allow);
    let guarded = |address| {
        world.nodes().values().flat_map(|node| node.pod_cidrs.iter()).any(|block| block.contains(address))
    };
    for pod in world.pods().values() {
        for direction in [v1::Direction::Ingress, v1::Direction::Egress] {
            let rows =
                ask(world, pod_end(pod), direction, &Sight::Everything).map_err(|error| error.to_string())?;
            if rows.iter().any(|row| row.ports.is_empty()) {
                return Err(format!("a row without ports: {rows:#?}"));
            }
            let places = judge.places_of_pod(pod);
            let is_pod = places.iter().all(|place| !place.owners.is_empty());
            let mut case = Case { judge: &judge, rows, direction, places, flows: 0, passing: 0 };
            for other in world.pods().values().filter(|other| is_other(other) && other.key != pod.key) {
                let name = other.key.to_string();
                let about = |row: &v1::ReachRow| row.other.as_ref().unwrap().name == name;
                case.compare(
                    &format!("{direction:?} {} and {name}", pod.key),
                    &judge.places_of_pod(other),
                    about,
                )?;
                let (source, destination) = match direction {
                    v1::Direction::Ingress => (other, pod),
                    _ => (pod, other),
                };
                // Policies do not apply to pods of host networks.
                let is_isolated = is_other(pod)
                    && (judge.isolating(Direction::Egress, source).next().is_some()
                        || judge.isolating(Direction::Ingress, destination).next().is_some());
                let open = |row: &&v1::ReachRow| row.words.ends_with("nothing isolates either end");
                if let Some(row) =
                    case.rows.iter().filter(|row| about(row)).find(open).filter(|_| is_isolated)
                {
                    return Err(format!("{} or {name} is isolated: {row:#?}", pod.key));
                }
            }
            if is_pod {
                for address in worlds::OUTSIDE.iter().map(|text| text.parse::<IpAddr>().unwrap()) {
                    let place = judge.place_of(address);
                    if place.owners.is_empty() && place.host.is_none() && !guarded(address) {
                        let about = |row: &v1::ReachRow| has_address(row, address);
                        case.compare(&format!("{direction:?} {} and {address}", pod.key), &[place], about)?;
                    }
                }
                for (node, object) in world.nodes() {
                    // Owners of a contested address may be on several nodes.
                    let is_on =
                        |place: &Place| place.owners.iter().all(|pod| pod.node.as_ref() == Some(node));
                    let on = case.places.iter().filter(|place| is_on(place)).count();
                    let is_own = on > 0;
                    if is_own && on < case.places.len() {
                        continue;
                    }
                    let own = format!("node/{node}");
                    let places = places_of(node, object);
                    let about = |row: &v1::ReachRow| {
                        let name = &row.other.as_ref().unwrap().name;
                        *name == own || (!is_own && name.ends_with(" nodes"))
                    };
                    case.compare(&format!("{direction:?} {} and node {node}", pod.key), &places, about)?;
                }
            }
            counts.0 += case.flows;
            counts.1 += case.passing;
        }
    }
    Ok(())
}

/// The places of a node.
fn places_of(node: &NodeName, object: &Node) -> Vec<Place> {
    let at = |address| Place { address, owners: Vec::new(), host: Some(node.clone()) };
    match &*object.addresses {
        [] => vec![at(None)],
        all => all.iter().map(|address| at(Some(*address))).collect(),
    }
}

/// Nodes as the ends that are asked about.
fn compare_nodes(world: &World, counts: &mut (u64, u64)) -> Result<(), String> {
    let judge = Judge::indexed(world, UnreadyPods::Allow);
    for (node, object) in world.nodes() {
        for direction in [v1::Direction::Ingress, v1::Direction::Egress] {
            let rows = ask(world, Asked::Node(node.to_string()), direction, &Sight::Everything)
                .map_err(|error| error.to_string())?;
            let places = places_of(node, object);
            let mut case = Case { judge: &judge, rows, direction, places, flows: 0, passing: 0 };
            for other in world.pods().values().filter(|other| is_other(other)) {
                let name = other.key.to_string();
                let what = format!("{direction:?} node {node} and {name}");
                let about = |row: &v1::ReachRow| row.other.as_ref().unwrap().name == name;
                case.compare(&what, &judge.places_of_pod(other), about)?;
            }
            // Policies apply to pods: without one at either end there is nothing to be told.
            let is_pod = |row: &v1::ReachRow| {
                let name = &row.other.as_ref().unwrap().name;
                world.pods().keys().any(|key| *name == key.to_string())
            };
            if !case.rows.iter().all(is_pod) {
                return Err(format!("{direction:?} node {node}: {:#?}", case.rows));
            }
            counts.0 += case.flows;
            counts.1 += case.passing;
        }
    }
    Ok(())
}

fn runner() -> TestRunner {
    let config = Config { cases: WORLDS, failure_persistence: None, ..Config::default() };
    TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha))
}

#[test]
fn who_may_reach_an_end_is_what_is_judged_of_every_flow() {
    let counts = std::cell::RefCell::new((0, 0));
    let compared = runner().run(&worlds::world_and_proposed(), |(world, _)| {
        compare(&world, &mut counts.borrow_mut()).map_err(proptest::test_runner::TestCaseError::fail)
    });
    compared.unwrap();
    let (flows, passing) = counts.into_inner();
    assert!(passing > 10_000 && flows - passing > 10_000, "{passing} of {flows}");
}

#[test]
fn who_may_reach_a_node_and_what_it_may_reach_is_what_is_judged_of_every_flow() {
    let counts = std::cell::RefCell::new((0, 0));
    let compared = runner().run(&worlds::world_and_proposed(), |(world, _)| {
        compare_nodes(&world, &mut counts.borrow_mut()).map_err(proptest::test_runner::TestCaseError::fail)
    });
    compared.unwrap();
    let (flows, passing) = counts.into_inner();
    assert!(passing > 10_000 && flows - passing > 10_000, "{passing} of {flows}");
}

#[test]
fn of_namespaces_that_may_not_be_seen_nothing_is_told_but_the_name_and_the_ports() {
    let compared = runner().run(&worlds::world_and_proposed(), |(world, _)| {
        let own = NamespaceName::new("ns0").unwrap();
        let sight = Sight::Only([own.clone()].into());
        for pod in world.pods().values() {
            for direction in [v1::Direction::Ingress, v1::Direction::Egress] {
                let told = ask(&world, pod_end(pod), direction, &sight);
                if pod.key.namespace != own {
                    assert!(matches!(told, Err(AskError::NotAllowed(_))), "{told:?}");
                    continue;
                }
                let all = ask(&world, pod_end(pod), direction, &Sight::Everything).unwrap();
                let told = told.unwrap();
                for row in &told {
                    let other = row.other.as_ref().unwrap();
                    if other.namespace.as_deref().is_some_and(|it| it != "ns0") {
                        let name = format!("namespace {}", other.namespace.as_ref().unwrap());
                        let expected = v1::ShownEnd {
                            name,
                            namespace: other.namespace.clone(),
                            ..v1::ShownEnd::default()
                        };
                        assert_eq!(*other, expected);
                        assert!(row.ports.iter().all(|atom| atom.name.is_empty() && !atom.any_other));
                        let is_hidden = |cite: &v1::Cite| cite.namespace == "ns0" || cite.policy.is_none();
                        assert!(row.because.iter().all(is_hidden), "{row:?}");
                    }
                }
                let namespaces = |rows: &[v1::ReachRow]| -> std::collections::BTreeSet<String> {
                    rows.iter().filter_map(|row| row.other.as_ref().unwrap().namespace.clone()).collect()
                };
                assert_eq!(namespaces(&told), namespaces(&all));
            }
        }
        Ok(())
    });
    compared.unwrap();
}
