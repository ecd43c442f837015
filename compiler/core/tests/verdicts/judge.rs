//! `judge` says what the oracle says and what the tables of all nodes do, and its reasons are the reasons: what it cites
//! taken away, a verdict changes; what it names as missing given, the flow is allowed.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use flock_compiler_core::judge::{Carries, Exempt, Flow, Judge, Verdict};
use flock_compiler_core::nft::model::Table;
use flock_compiler_core::object::{
    Direction, Owner, Pod, PodNetwork, Policy, PolicyBody, PolicyRules, Rule, Untranslated, Workload,
    WorkloadKind,
};
use flock_compiler_core::{Change, Edit, Selector, UnreadyPods, World};
use flock_model::oracle::cluster::{Cluster, Text};
use flock_model::oracle::{self, Unready, flow};
use flock_shared::{ObjectName, PodKey, PolicyKey};
use proptest::collection::vec;

use crate::support::{generator, to_core};
use crate::{for_clusters, mend};

const CLUSTERS: u32 = 1200;
const FLOWS: usize = 250;
/// Interfaces are those that packets come from.
const OWN_LINK: u8 = 5;

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
        let tables = crate::tables(Unready::Drop, cluster);
        let mut judged = flows.iter().filter(|flow| is_judged(flow));
        judged.try_for_each(|flow| compare(cluster, &tables, &judge, flow, &mut counts.borrow_mut()))
    });
    let counts = counts.into_inner();
    println!("{counts:?}");
    assert!(counts.flows >= 200_000, "{counts:?}");
    let Counts { open, exempt, allowed, denied, unready, contested, mended, .. } = counts;
    for count in [open, exempt, allowed, denied, unready, contested, mended] {
        assert!(count > counts.flows / 200, "{counts:?}");
    }
}

#[test]
fn what_stands_for_a_workload_is_judged_as_its_pods_will_be() {
    let stand_in = |name: &str, network: PodNetwork| {
        let workload = Workload { kind: WorkloadKind::Deployment, name: ObjectName::new(name).unwrap() };
        let owner = Untranslated(Owner::StandsFor(workload.into()));
        Pod { network, owner, ..Pod::new(PodKey::new("shop", &format!("deploy.{name}")).unwrap()) }
    };
    let own = || PodNetwork::own([].into(), None);
    let pods = vec![stand_in("api", own()), stand_in("db", own()), stand_in("logs", PodNetwork::Host)];
    let deny = PolicyBody::Understood(PolicyRules { ingress: Some([].into()), egress: None });
    let mut world = World::default();
    world.apply(Change::Pod(Edit::Replace(pods)));
    world.apply(Change::Policy(Edit::Upsert(Policy::new(
        PolicyKey::new("shop", "deny").unwrap(),
        Selector::everything(),
        deny,
    ))));
    let judge = Judge::new(&world, UnreadyPods::Drop);
    let ingress = |from: &str, to: &str| {
        let place = |name: &str| {
            let pod = &world.pods()[&PodKey::new("shop", &format!("deploy.{name}")).unwrap()];
            judge.places_of_pod(pod).remove(0)
        };
        let flow = Flow { source: place(from), destination: place(to), carries: Carries::Other };
        let verdict = judge.judge(&flow).ingress;
        assert_eq!(judge.passes(&flow), verdict.passes());
        verdict
    };
    assert!(matches!(ingress("api", "db"), Verdict::Denied(_)));
    assert!(matches!(ingress("api", "api"), Verdict::Denied(_)), "there may be several");
    assert_eq!(ingress("api", "logs"), Verdict::Exempt(Exempt::HostNetwork));
    assert!(matches!(ingress("logs", "api"), Verdict::Denied(_)));
}

/// Returns true if it begins a connection, and rules alone decide on it.
fn is_judged(flow: &flow::Flow) -> bool {
    flow.state == flow::State::Original && !matches!(flow.transport, flow::Transport::Icmp { .. })
}

/// The flow between the places of its addresses; `None`: what becomes of it is not told by objects. Of a node's own
/// addresses the compiler is not told, and a pod that is bound to no node is judged nowhere.
pub(super) fn between(cluster: &Cluster, judge: &Judge<'_>, asked: &flow::Flow) -> Option<Flow> {
    let [source, destination] = [asked.source, asked.destination].map(|address| judge.place_of(address));
    let ends = [&source, &destination];
    let is_own = |address| cluster.nodes.iter().any(|node| cluster.is_own(node.name, address));
    let is_nowhere = ends.iter().any(|end| end.owners.iter().any(|pod| pod.node.is_none()));
    let is_host = ends.iter().any(|end| end.host.is_some());
    if !is_judged(asked) || is_own(asked.source) || is_own(asked.destination) || is_nowhere || is_host {
        return None;
    }
    let carries = match asked.transport {
        flow::Transport::Ports(protocol, _, port) => Carries::Port(to_core::protocol(protocol), port),
        flow::Transport::Icmp { .. } | flow::Transport::Other(_) => Carries::Other,
    };
    Some(Flow { source, destination, carries })
}

/// Whether the tables of all nodes let a flow pass that enters by the link of its source.
pub(super) fn interpreted(
    tables: &BTreeMap<Text, Table>,
    cluster: &Cluster,
    asked: &flow::Flow,
) -> Result<bool, String> {
    for (node, table) in tables {
        let entry = crate::entry(cluster, node, asked, OWN_LINK);
        let flow = flow::Flow { inbound: entry.interface, ..*asked };
        let packet = crate::packet(cluster, node, &flow, entry.route_back);
        if !flock_model::judge(table, &packet).map_err(|error| format!("{node}: {error}: {asked}"))? {
            return Ok(false);
        }
    }
    Ok(true)
}

fn compare(
    cluster: &Cluster,
    tables: &BTreeMap<Text, Table>,
    judge: &Judge<'_>,
    asked: &flow::Flow,
    counts: &mut Counts,
) -> Result<(), String> {
    let Some(flow) = between(cluster, judge, asked) else { return Ok(()) };
    let judged = judge.judge(&flow);
    let nodes = cluster.node_names();
    let said = nodes.iter().map(|node| oracle::judge(cluster, node, asked));
    let said = said.fold((true, true), |all, one| (all.0 && one.egress, all.1 && one.ingress));
    if (judged.egress.passes(), judged.ingress.passes()) != said {
        return Err(format!("{asked}\nthe oracle: {said:?}; judge: {judged:?}"));
    }
    let done = interpreted(tables, cluster, asked)?;
    if done != judged.passes() {
        return Err(format!("{asked}\nby the tables it passes: {done}; judge: {judged:?}"));
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
            Verdict::OverBudget(_) => return Err("nobody is over budget".to_owned()),
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
            let policies = cited.keys().map(|key| Change::Policy(Edit::Delete((*key).clone())));
            match again(policies.collect()) {
                Verdict::Denied(_) | Verdict::Open => {}
                other => return Err(format!("without the policies that it cites: {other:?}")),
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
            // Another one of the misses whenever it is another flow.
            counts.mended += u64::from(mend::one(judge, direction, flow, isolating, counts.denied as usize)?);
            Ok(())
        }
        Verdict::Open
        | Verdict::Exempt(_)
        | Verdict::OverBudget(_)
        | Verdict::Unready(_)
        | Verdict::Contested(_) => Ok(()),
    }
}

/// The policy with other rules in a direction.
pub(super) fn with_rules(policy: &Policy, direction: Direction, edit: impl FnOnce(&mut Vec<Rule>)) -> Change {
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
