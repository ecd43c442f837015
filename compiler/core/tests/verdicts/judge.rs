//! `judge` says what the oracle says, and its reasons are the reasons: what it cites taken away, a verdict changes; what it
//! names as missing given, the flow is allowed.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use flock_compiler_core::judge::{Carries, Flow, IsolatingPolicy, Judge, Verdict};
use flock_compiler_core::object::{Direction, PeerMatch, Policy, PolicyBody, Rule, RulePorts};
use flock_compiler_core::{Change, Edit, UnreadyPods, World};
use flock_model::oracle::{self, cluster::Cluster, flow};
use flock_shared::PolicyKey;
use proptest::collection::vec;

use crate::for_clusters;
use crate::support::{generator, to_core};

const CLUSTERS: u32 = 1200;
const FLOWS: usize = 250;

#[derive(Debug, Default)]
struct Counts {
    flows: u64,
    open: u64,
    exempt: u64,
    allowed: u64,
    denied: u64,
    unready: u64,
    contested: u64,
    /// Misses that were made to match.
    mended: u64,
}

#[test]
fn judge_says_what_the_oracle_says_and_its_reasons_are_the_reasons() {
    let counts = RefCell::new(Counts::default());
    for_clusters(CLUSTERS, vec(generator::flows::flow(), FLOWS), |cluster, flows| {
        let world = to_core::world(cluster);
        let judge = Judge::indexed(&world, UnreadyPods::Drop);
        let mut judged = flows.iter().filter(|flow| is_judged(flow));
        judged.try_for_each(|flow| compare(cluster, &judge, flow, &mut counts.borrow_mut()))
    });
    let counts = counts.into_inner();
    println!("{counts:?}");
    assert!(counts.flows >= 200_000, "{counts:?}");
    let Counts { open, exempt, allowed, denied, unready, contested, mended, .. } = counts;
    for count in [open, exempt, allowed, denied, unready, contested, mended] {
        assert!(count > counts.flows / 200, "{counts:?}");
    }
}

/// Returns true if it begins a connection, and rules alone decide on it.
fn is_judged(flow: &flow::Flow) -> bool {
    flow.state == flow::State::Original && !matches!(flow.transport, flow::Transport::Icmp { .. })
}

fn compare(
    cluster: &Cluster,
    judge: &Judge<'_>,
    asked: &flow::Flow,
    counts: &mut Counts,
) -> Result<(), String> {
    let [source, destination] = [asked.source, asked.destination].map(|address| judge.place_of(address));
    let ends = [&source, &destination];
    // Of a node's own address the compiler is not told, and a pod that is bound to no node is judged nowhere.
    let is_own = |address| cluster.nodes.iter().any(|node| cluster.is_own(node.name, address));
    let is_nowhere = ends.iter().any(|end| end.owners.iter().any(|pod| pod.node.is_none()));
    let is_host = ends.iter().any(|end| end.host.is_some());
    if is_own(asked.source) || is_own(asked.destination) || is_nowhere || is_host {
        return Ok(());
    }
    let carries = match asked.transport {
        flow::Transport::Ports(protocol, _, port) => Carries::Port(to_core::protocol(protocol), port),
        flow::Transport::Icmp { .. } | flow::Transport::Other(_) => Carries::Other,
    };
    let flow = Flow { source, destination, carries };
    let judged = judge.judge(&flow);
    let nodes = cluster.node_names();
    let said = nodes.iter().map(|node| oracle::judge(cluster, node, asked));
    let said = said.fold((true, true), |all, one| (all.0 && one.egress, all.1 && one.ingress));
    if (judged.egress.passes(), judged.ingress.passes()) != said {
        return Err(format!("{asked}\nthe oracle: {said:?}; judge: {judged:?}"));
    }
    if judge.passes(&flow) != judged.passes() {
        return Err(format!("{asked}\nwith reasons: {judged:?}; without, it is the other way round"));
    }
    counts.flows += 1;
    for direction in Direction::ALL {
        let verdict = judged.of(direction);
        *match verdict {
            Verdict::Open => &mut counts.open,
            Verdict::Exempt(_) => &mut counts.exempt,
            Verdict::Allowed(_) => &mut counts.allowed,
            Verdict::Denied(_) => &mut counts.denied,
            Verdict::Unready(_) => &mut counts.unready,
            Verdict::Contested(_) => &mut counts.contested,
        } += 1;
        let reasons = reasons_hold(judge, direction, &flow, verdict, counts);
        reasons.map_err(|error| format!("{asked} {direction}\n{error}\n{verdict:?}"))?;
    }
    Ok(())
}

/// Takes away what a verdict rests on, and gives what it says is missing.
fn reasons_hold(
    judge: &Judge<'_>,
    direction: Direction,
    flow: &Flow,
    verdict: &Verdict,
    counts: &mut Counts,
) -> Result<(), String> {
    let again = |changed: Vec<Change>| {
        let mut world = World::clone(judge.world());
        changed.into_iter().for_each(|change| drop(world.apply(change)));
        // Without any policy nothing is unready.
        Judge::new(&world, UnreadyPods::Allow).judge(flow).of(direction).clone()
    };
    match verdict {
        Verdict::Allowed(cites) => {
            let mut cited: BTreeMap<&PolicyKey, (&Arc<Policy>, BTreeSet<usize>)> = BTreeMap::new();
            for cite in cites {
                let (_, rules) =
                    cited.entry(&cite.policy.key).or_insert_with(|| (&cite.policy, BTreeSet::new()));
                rules.insert(cite.rule);
            }
            let without = cited.into_values().map(|(policy, gone)| {
                let mut index = 0..;
                with_rules(policy, direction, |rules| {
                    rules.retain(|_| !gone.contains(&index.next().unwrap()));
                })
            });
            match again(without.collect()) {
                Verdict::Denied(_) => Ok(()),
                other => Err(format!("without the rules that it cites: {other:?}")),
            }
        }
        Verdict::Denied(isolating) => {
            let gone = isolating.iter().map(|one| Change::Policy(Edit::Delete(one.policy.key.clone())));
            let open = again(gone.collect());
            if open != Verdict::Open {
                return Err(format!("without the policies that isolate: {open:?}"));
            }
            let mut misses = isolating.iter().flat_map(|one| one.rules.iter().map(move |miss| (one, miss)));
            let Some((IsolatingPolicy { policy, .. }, miss)) = misses.next() else { return Ok(()) };
            counts.mended += 1;
            let mended = with_rules(policy, direction, |rules| {
                let rule = &mut rules[miss.rule];
                if !miss.has_peer() {
                    rule.peers = PeerMatch::Any;
                }
                if !miss.has_port() {
                    rule.ports = RulePorts::Any;
                }
            });
            match again(vec![mended]) {
                Verdict::Allowed(cites)
                    if cites.iter().all(|cite| cite.policy.key == policy.key && cite.rule == miss.rule) =>
                {
                    Ok(())
                }
                other => Err(format!("with what rule {} of {} misses: {other:?}", miss.rule, policy.key)),
            }
        }
        Verdict::Open | Verdict::Exempt(_) | Verdict::Unready(_) | Verdict::Contested(_) => Ok(()),
    }
}

/// The policy with other rules in a direction.
fn with_rules(policy: &Policy, direction: Direction, edit: impl FnOnce(&mut Vec<Rule>)) -> Change {
    let mut policy = policy.clone();
    let mut rules = policy.rules(direction).unwrap().to_vec();
    edit(&mut rules);
    if let PolicyBody::Understood(body) = &mut policy.body {
        match direction {
            Direction::Ingress => body.ingress = Some(rules.into()),
            Direction::Egress => body.egress = Some(rules.into()),
        }
    }
    Change::Policy(Edit::Upsert(policy))
}
