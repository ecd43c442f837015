//! `preview` says what differs between two worlds: that is the difference of what a judge says in both of every flow.
#![allow(clippy::unwrap_used, reason = "helpers of tests may panic as tests do")]

#[path = "preview/worlds.rs"]
mod worlds;

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use flock_ask::{Cluster, Proposed, Sight, preview};
use flock_compiler_core::block::Blocks;
use flock_compiler_core::judge::{Carries, Flow, Judge, Judgement, Place, Verdict};
use flock_compiler_core::object::{Direction, Lifecycle, Pod};
use flock_compiler_core::port::Protocol;
use flock_compiler_core::{Change, Edit, UnreadyPods, World};
use flock_proto::v1;
use proptest::test_runner::{Config, TestRunner};

const WORLDS: u32 = 400;

#[derive(Debug, Default)]
struct Counts {
    flows: u64,
    opened: u64,
    closed: u64,
    reasons: u64,
}

#[test]
fn a_preview_is_the_difference_of_what_is_judged_before_and_after() {
    let counts = RefCell::new(Counts::default());
    let config = Config { cases: WORLDS, failure_persistence: None, ..Config::default() };
    let compared =
        TestRunner::new_with_rng(config, seed()).run(&worlds::world_and_proposed(), |(world, proposed)| {
            let found = compare(&world, &proposed, &mut counts.borrow_mut());
            found.map_err(proptest::test_runner::TestCaseError::fail)
        });
    let counts = counts.into_inner();
    println!("{counts:?}");
    compared.unwrap();
    assert!(counts.opened > 1_000 && counts.closed > 1_000 && counts.reasons > 1_000, "{counts:?}");
}

fn seed() -> proptest::test_runner::TestRng {
    proptest::test_runner::TestRng::deterministic_rng(proptest::test_runner::RngAlgorithm::ChaCha)
}

/// An end: a pod, or an address that is nobody's.
struct End {
    name: Option<String>,
    address: Option<IpAddr>,
    places: Vec<Place>,
}

fn ends(judge: &Judge<'_>) -> Vec<End> {
    let world = judge.world();
    let is_judged = |pod: &&Arc<Pod>| !pod.is_of_host_network() && pod.lifecycle != Lifecycle::Finished;
    let pods = world.pods().values().filter(is_judged);
    let pods = pods.map(|pod| {
        let (name, places) = (Some(pod.key.to_string()), judge.places_of_pod(pod));
        End { name, address: None, places }
    });
    let guarded = |address| {
        world.nodes().values().flat_map(|node| node.pod_cidrs.iter()).any(|block| block.contains(address))
    };
    let outside = worlds::OUTSIDE.iter().map(|address| address.parse().unwrap());
    let outside = outside.map(|address: IpAddr| judge.place_of(address));
    let is_nobodys =
        |place: &Place| place.owners.is_empty() && place.host.is_none() && !guarded(place.address.unwrap());
    let outside = outside.filter(is_nobodys);
    pods.chain(outside.map(|place| End { name: None, address: place.address, places: vec![place] })).collect()
}

fn after(world: &World, proposed: &Proposed) -> World {
    let mut world = world.clone();
    let Proposed { policies, namespaces, deleted, .. } = proposed.clone();
    let changes = policies.into_iter().map(|policy| Change::Policy(Edit::Upsert(policy)));
    let changes = changes.chain(deleted.into_iter().map(|key| Change::Policy(Edit::Delete(key))));
    let changes = changes.chain(namespaces.into_iter().map(|it| Change::Namespace(Edit::Upsert(it))));
    changes.for_each(|change| drop(world.apply(change)));
    world
}

fn compare(world: &World, proposed: &Proposed, counts: &mut Counts) -> Result<(), String> {
    let cluster = Cluster::new(world, UnreadyPods::Allow);
    let rows = preview(&cluster, proposed, &Sight::Everything).map_err(|error| error.to_string())?;
    let after = after(world, proposed);
    let judges = [world, &after].map(|world| Judge::indexed(world, UnreadyPods::Allow));
    let ends = ends(&judges[0]);
    let mut used = BTreeSet::new();
    for from in &ends {
        for to in &ends {
            if (from.name == to.name && from.name.is_some()) || (from.name.is_none() && to.name.is_none()) {
                continue;
            }
            if pairs(from, to).next().is_none() {
                continue;
            }
            for carries in carried() {
                let differing = differing(&judges, from, to, carries);
                let covering: Vec<(usize, &v1::PreviewRow)> =
                    rows.iter().enumerate().filter(|(_, row)| covers(row, from, to, carries)).collect();
                used.extend(covering.iter().map(|(index, _)| *index));
                counts.flows += 1;
                for change in [v1::Change::Opened, v1::Change::Closed] {
                    let flows: Vec<_> = differing.iter().filter(|(found, _)| *found == change).collect();
                    let told: Vec<_> = covering.iter().filter(|(_, row)| row.change() == change).collect();
                    let said = format!(
                        "{:?}{:?} to {:?}{:?}: {carries:?}",
                        from.name, from.address, to.name, to.address
                    );
                    if flows.is_empty() == told.is_empty() {
                        if !flows.is_empty() {
                            *(if change == v1::Change::Opened {
                                &mut counts.opened
                            } else {
                                &mut counts.closed
                            }) += 1;
                        }
                    } else {
                        return Err(format!(
                            "{said} {change:?}: {} flows, rows {told:?}\nall rows {rows:#?}",
                            flows.len()
                        ));
                    }
                    if let ([(_, flow)], [(_, row), ..]) = (&*flows, &*told) {
                        counts.reasons += 1;
                        let judged = judges[1].judge(flow);
                        reasons(&judged, row).map_err(|missing| {
                            format!(
                                "{said} {change:?}: {missing} is not among the reasons of {row:?}\n{judged:?}"
                            )
                        })?;
                    }
                }
            }
        }
    }
    match (0..rows.len()).find(|index| !used.contains(index)) {
        // All that is tried of an end may be of a pod or a node.
        Some(index) if rows[index].ports.iter().all(probed) && !has_outside(&rows[index]) => {
            Err(format!("no flow of row {:?}", rows[index]))
        }
        _ => Ok(()),
    }
}

fn has_outside(row: &v1::PreviewRow) -> bool {
    [&row.from, &row.to].into_iter().flatten().any(|end| end.pod.is_none())
}

fn probed(port: &v1::PortAtom) -> bool {
    port.protocol == "any"
        || port.protocol == "other"
        || numbers().any(|n| (port.first..=port.last).contains(&n.into()))
}

fn numbers() -> impl Iterator<Item = u16> {
    [0u16, 1, 52, 53, 54, 78, 79, 80, 81, 82, 442, 443, 444, 65534, 65535].into_iter()
}

fn carried() -> impl Iterator<Item = Carries> {
    let ports = Protocol::ALL
        .into_iter()
        .flat_map(|protocol| numbers().map(move |port| Carries::Port(protocol, port)));
    ports.chain([Carries::Other])
}

/// The places of two ends that can talk to each other.
fn pairs<'e>(from: &'e End, to: &'e End) -> impl Iterator<Item = (&'e Place, &'e Place)> {
    let is_one_family = |a: Option<IpAddr>, b: Option<IpAddr>| match (a, b) {
        (Some(a), Some(b)) => a.is_ipv4() == b.is_ipv4(),
        _ => true,
    };
    let pairs =
        from.places.iter().flat_map(|source| to.places.iter().map(move |destination| (source, destination)));
    pairs.filter(move |(source, destination)| is_one_family(source.address, destination.address))
}

/// The flows between places of two ends that pass in one world only.
fn differing(judges: &[Judge<'_>; 2], from: &End, to: &End, carries: Carries) -> Vec<(v1::Change, Flow)> {
    pairs(from, to)
        .filter_map(|(source, destination)| {
            let flow = Flow { source: source.clone(), destination: destination.clone(), carries };
            let passes = judges.each_ref().map(|judge| judge.passes(&flow));
            match passes {
                [false, true] => Some((v1::Change::Opened, flow)),
                [true, false] => Some((v1::Change::Closed, flow)),
                _ => None,
            }
        })
        .collect()
}

/// Returns true if everything that a verdict rests on is a reason of the row.
fn reasons(judged: &Judgement, row: &v1::PreviewRow) -> Result<(), String> {
    let all: BTreeSet<&str> = row.cites.iter().map(|cite| &*cite.text).collect();
    for direction in Direction::ALL {
        let wanted: Vec<String> = match judged.of(direction) {
            Verdict::Allowed(cites) => cites
                .iter()
                .filter(|_| row.change() == v1::Change::Opened)
                .map(|cite| format!("{} {direction}[{}]", cite.policy.key, cite.rule))
                .collect(),
            Verdict::Denied(isolating) => isolating.iter().map(|one| one.policy.key.to_string()).collect(),
            _ => Vec::new(),
        };
        if let Some(missing) = wanted.into_iter().find(|one| !all.contains(&**one)) {
            return Err(missing);
        }
    }
    Ok(())
}

fn covers(row: &v1::PreviewRow, from: &End, to: &End, carries: Carries) -> bool {
    let end = |shown: &Option<v1::ShownEnd>, end: &End| {
        let shown = shown.as_ref().unwrap();
        match (&end.name, end.address) {
            (Some(name), _) => shown.name == *name,
            (None, Some(address)) => shown.pod.is_none() && has(&shown.name, address),
            (None, None) => false,
        }
    };
    end(&row.from, from) && end(&row.to, to) && row.ports.iter().any(|atom| is_in(atom, carries))
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

/// Returns true if an address is among those that are named, as "0.0.0.0/0 except 10.0.0.0/8 and ::/0".
fn has(name: &str, address: IpAddr) -> bool {
    name == "internet"
        || name.split(" and ").any(|family| {
            let (all, except) = family.split_once(" except ").unwrap_or((family, ""));
            let is_in = |ranges: &str| ranges.split(", ").any(|range| is_within(range, address));
            is_in(all) && (except.is_empty() || !is_in(except))
        })
}

fn is_within(range: &str, address: IpAddr) -> bool {
    if let Ok(net) = range.parse() {
        return Blocks::of(&net, &[]).contains(address);
    }
    let (first, last) = range.split_once('-').unwrap_or((range, range));
    let (first, last): (IpAddr, IpAddr) = (first.parse().unwrap(), last.parse().unwrap());
    first.is_ipv4() == address.is_ipv4() && first <= address && address <= last
}
