//! Random clusters, random flows: a table, interpreted on every node, says what the oracle says.
//!
//! At least 600 clusters with 200 flows each; `PROPTEST_CASES` asks for more clusters, `PROPTEST_RNG_SEED` for other
//! ones.

#![allow(clippy::unwrap_used, reason = "a helper of tests may panic as tests do")]

#[path = "verdicts/index.rs"]
mod index;
#[path = "verdicts/judge.rs"]
mod judge;
#[path = "verdicts/mend.rs"]
mod mend;
#[path = "verdicts/over_budget.rs"]
mod over_budget;
mod support;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use flock_compiler_core::nft::model::{Content, Element, Table};
use flock_compiler_core::nft::{self, Family, SetName};
use flock_compiler_core::object::Facts;
use flock_compiler_core::translate::translate_with;
use flock_compiler_core::{Change, Edit, Options, UnreadyPods, layout};
use proptest::collection::vec;
use proptest::strategy::Strategy;
use proptest::test_runner::{TestCaseError, TestError, TestRunner};

use flock_model::Packet;
use flock_model::oracle::cluster::{Cluster, Pod, Text};
use flock_model::oracle::flow::{Flow, State, Transport};
use flock_model::oracle::{self, Judgement, Unready};
use support::{generator, to_core};

const CLUSTERS: u32 = 600;
const FLOWS: usize = 200;

#[test]
fn the_model_says_what_the_oracle_says() {
    let counts = RefCell::new(Counts::default());
    let flows = vec((generator::flows::flow(), 0u8..12), FLOWS);
    let cases =
        for_clusters(CLUSTERS, flows, |cluster, flows| compare(cluster, &flows, &mut counts.borrow_mut()));
    let counts = counts.into_inner();
    println!("{counts:?}");
    assert_eq!(counts.flows, u64::from(cases) * FLOWS as u64);
    assert!(counts.flows >= 100_000);
    assert!(
        counts.unready * 20 > counts.flows,
        "too few flows meet an address that nobody knows: {counts:?}"
    );
    // The comparison is worth something only if isolation is common and both verdicts are.
    assert!(counts.isolated * 5 > counts.flows, "too few flows meet an isolated pod: {counts:?}");
    assert!(counts.isolated_passed * 10 > counts.isolated, "too few of them pass: {counts:?}");
    assert!(counts.isolated_dropped * 10 > counts.isolated, "too few of them are dropped: {counts:?}");
}

#[test]
fn the_model_says_so_too_where_unknown_addresses_are_closed_for_who_is_expected() {
    let counts = RefCell::new(Counts::default());
    let flows = vec((generator::flows::flow(), 0u8..12), FLOWS);
    for_clusters(CLUSTERS / 2, flows, |cluster, flows| {
        let (attended, unattended) = flows.split_at(FLOWS / 2);
        let mut counts = counts.borrow_mut();
        for (is_attended, flows) in [(true, attended), (false, unattended)] {
            let option = Unready::Expected { attended: is_attended };
            compare_with(option, cluster, flows, &mut counts)?;
        }
        Ok(())
    });
    let counts = counts.into_inner();
    println!("{counts:?}");
    let enough = counts.flows / 200;
    assert!(counts.unready_passed > enough && counts.unready_closed > enough, "{counts:?}");
}

/// Tries random clusters, each with flows of this kind, and shows the one that fails; how many were tried.
fn for_clusters<S: Strategy>(
    clusters: u32,
    flows: S,
    compare: impl Fn(&Cluster, S::Value) -> Result<(), String>,
) -> u32 {
    let config = support::config(clusters);
    let cases = config.cases;
    let outcome = TestRunner::new(config).run(&(generator::cluster(), flows), |(cluster, flows)| {
        compare(&cluster, flows).map_err(TestCaseError::fail)
    });
    match outcome {
        Ok(()) => cases,
        Err(TestError::Fail(reason, (cluster, _))) => panic!("{reason}\n{cluster}"),
        Err(TestError::Abort(reason)) => panic!("{reason}"),
    }
}

#[derive(Debug, Default)]
struct Counts {
    flows: u64,
    judgements: u64,
    unready: u64,
    isolated: u64,
    isolated_passed: u64,
    isolated_dropped: u64,
    /// Of flows that meet an address that nobody knows on a node that somebody attends to: those that pass there, and
    /// those that do not.
    unready_passed: u64,
    unready_closed: u64,
}

fn compare(cluster: &Cluster, flows: &[(Flow, u8)], counts: &mut Counts) -> Result<(), String> {
    compare_with(Unready::Drop, cluster, flows, counts)
}

/// The tables of all nodes.
fn tables(option: Unready, cluster: &Cluster) -> BTreeMap<Text, Table> {
    let mut world = to_core::world(cluster);
    let mut options = Options { unready_pods: UnreadyPods::Drop, ..Options::default() };
    let mut elements = BTreeSet::new();
    if let Unready::Expected { attended } = option {
        options.unready_pods = UnreadyPods::Expected;
        for node in cluster.node_names() {
            let facts = Facts { grammar: 2, ..Facts::nothing_of(to_core::node_name(node)) };
            world.apply(Change::Facts(Edit::Upsert(facts)));
        }
        // What the agent does, which no output says.
        elements.extend(Family::ALL.into_iter().filter(|_| attended).map(Element::Family));
    }
    let translation = translate_with(&world, options);
    let table = |node| {
        let mut table = layout(&translation.output(&to_core::node_name(node)));
        if let Some(set) = table.sets.get_mut(&SetName::Attended) {
            set.content = Content::Elements(elements.clone());
        }
        (node, table)
    };
    cluster.node_names().into_iter().map(table).collect()
}

fn compare_with(
    option: Unready,
    cluster: &Cluster,
    flows: &[(Flow, u8)],
    counts: &mut Counts,
) -> Result<(), String> {
    let tables = tables(option, cluster);
    for (flow, choice) in flows {
        let mut passes = true;
        for (node, table) in &tables {
            let entry = entry(cluster, node, flow, *choice);
            let flow = Flow { inbound: entry.interface, ..*flow };
            let expected = oracle::judge_with(option, cluster, node, &flow);
            let found = flock_model::judge(table, &packet(cluster, node, &flow, entry.route_back))
                .map_err(|error| format!("{node}: {error}: {flow}"))?;
            // On a claimed interface the node's routes decide: a packet that does not come from where its source is
            // may be dropped for that, but never pass for it.
            let stricter = !found && !entry.route_back && is_claimed(cluster, node, entry.interface);
            // What begins in mid-stream passes for no isolated pod, whatever its rules allow.
            let begins_nothing = oracle::begins_nothing(cluster, node, &flow);
            let stricter = stricter || !found && begins_nothing != Some(false);
            if found && begins_nothing == Some(true) && expected.passes() {
                return Err(format!("in mid-stream: {}", mismatch(node, &flow, expected, found)));
            }
            if expected.passes() != found && !stricter {
                return Err(mismatch(node, &flow, expected, found));
            }
            counts.judgements += 1;
            passes &= found;
            let ends = [flow.source, flow.destination];
            if option == (Unready::Expected { attended: true })
                && ends.iter().any(|end| oracle::is_unready(cluster, node, *end))
            {
                *(if found { &mut counts.unready_passed } else { &mut counts.unready_closed }) += 1;
            }
        }
        counts.flows += 1;
        let ends = [flow.source, flow.destination];
        let unready = |node: &&Text| ends.iter().any(|end| oracle::is_unready(cluster, node, *end));
        counts.unready += u64::from(tables.keys().any(|node| unready(&node)));
        if oracle::meets_isolation(cluster, flow) {
            counts.isolated += 1;
            *(if passes { &mut counts.isolated_passed } else { &mut counts.isolated_dropped }) += 1;
        }
    }
    Ok(())
}

fn mismatch(node: &str, flow: &Flow, expected: Judgement, found: bool) -> String {
    let word = |passes| if passes { "passes" } else { "is dropped" };
    format!("on {node}: {flow}\nthe oracle: {expected:?}; by the table it {}", word(found))
}

/// Whether some pod of the node says by an annotation that `interface` is its own.
fn is_claimed(cluster: &Cluster, node: &str, interface: Option<Text>) -> bool {
    let claims =
        cluster.pods.iter().filter(|pod| pod.node == Some(node)).filter_map(|pod| pod.interface.as_ref());
    claims.into_iter().any(|claim| claim.claimed && Some(claim.name) == interface)
}

/// How a packet gets into a node.
struct Entry {
    interface: Option<Text>,
    /// Whether the node routes answers to the source out of the interface that the packet entered by.
    route_back: bool,
}

/// By which interface the flow enters `node`: the link of one of the source's owners there, or an uplink if there is
/// none; now and then another pod's link, or the uplink in spite of an owner.
fn entry(cluster: &Cluster, node: &str, flow: &Flow, choice: u8) -> Entry {
    let owners = oracle::owners(cluster, flow.source);
    let (own, others): (Vec<&Pod>, Vec<&Pod>) =
        cluster.pods.iter().filter(|pod| pod.node == Some(node)).partition(|pod| owners.contains(pod));
    let pick = |pods: &[&Pod]| pods.get(any_number(flow) % pods.len().max(1)).map(|pod| pod.link);
    let may_be_spoofed = matches!(flow.state, State::Original | State::MidStream)
        && matches!(flow.transport, Transport::Ports(..));
    match (choice, pick(&own), pick(&others)) {
        (0, _, Some(link)) if may_be_spoofed => Entry { interface: Some(link), route_back: false },
        (1, Some(_), _) if may_be_spoofed => Entry { interface: Some("eth0"), route_back: false },
        (_, Some(link), _) => Entry { interface: Some(link), route_back: true },
        (_, None, _) => Entry { interface: Some("eth0"), route_back: true },
    }
}

/// Some number that differs between flows.
fn any_number(flow: &Flow) -> usize {
    match flow.transport {
        Transport::Ports(_, source_port, _) => usize::from(source_port),
        Transport::Icmp { kind, .. } => usize::from(kind),
        Transport::Other(number) => usize::from(number),
    }
}

fn packet(cluster: &Cluster, node: &str, flow: &Flow, route_back: bool) -> Packet {
    Packet {
        inbound: flow.inbound.map(|name| name.parse().unwrap()),
        source: flow.source,
        destination: flow.destination,
        transport: match flow.transport {
            Transport::Ports(protocol, _, destination_port) => {
                nft::Transport::Ports { protocol: to_core::protocol(protocol), destination_port }
            }
            Transport::Icmp { kind, .. } if flow.source.is_ipv6() => nft::Transport::Icmpv6(kind),
            Transport::Icmp { kind, .. } => nft::Transport::Icmp(kind),
            Transport::Other(number) => nft::Transport::Other(number),
        },
        reply: flow.state == State::Reply,
        related: flow.state == State::Related,
        mid_stream: flow.state == State::MidStream,
        from_node: cluster.is_own(node, flow.source),
        to_node: cluster.is_own(node, flow.destination),
        route_back,
        hop_limit: match flow.transport {
            Transport::Icmp { hop_limit, .. } => hop_limit,
            Transport::Ports(..) | Transport::Other(_) => 63,
        },
    }
}
