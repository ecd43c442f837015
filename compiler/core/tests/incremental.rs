//! Long random histories: after each batch of changes the incremental state equals one made from nothing, byte for
//! byte, on every node, and the deltas lead a model of each node's table to the same place.

#![allow(clippy::unwrap_used, reason = "a helper of tests may panic as tests do")]

mod support;

use std::collections::BTreeMap;
use std::sync::Arc;

use flock_compiler_core::nft::costs::Costs;
use flock_compiler_core::nft::read::Lines;
use flock_compiler_core::nft::{Table, write};
use flock_compiler_core::object::Pod;
use flock_compiler_core::output::Closing;
use flock_compiler_core::translate::{Budgets, Load, translate_with};
use flock_compiler_core::{
    Change, Consequence, DeltaBody, Edit, Options, Output, Pass, Problem, Translator, UnreadyPods, diff,
    layout, render,
};
use flock_shared::{NodeName, Superseded};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::Config;

use flock_model::oracle::cluster::Cluster;
use flock_model::{Markers, apply};
use support::dice::Dice;
use support::generator;
use support::history::Walk;
use support::objects;

/// What an agent would have on each node.
#[derive(Default)]
struct Agents(BTreeMap<NodeName, Agent>);

struct Agent {
    held: Arc<Output>,
    table: Table,
    markers: Markers,
    /// What its guard has counted.
    costs: Costs,
    /// What the compiler believes of them.
    superseded: Superseded,
}

impl Agent {
    fn full(output: &Arc<Output>) -> Self {
        Self {
            costs: counted(&Costs::default(), render(output).bytes()),
            held: Arc::clone(output),
            table: layout(output),
            markers: Markers::full(output.revision()),
            superseded: Superseded::default(),
        }
    }

    /// Ends the delta to an output as the stream would.
    fn end(&mut self, body: &DeltaBody, after: &Output, counts: &mut Counts) {
        let end = body.end(self.held.revision(), after.revision(), &self.superseded);
        self.markers.apply(&end).unwrap();
        self.superseded = end.superseded();
        let text = String::from_utf8(body.script(&end).bytes().to_vec()).unwrap();
        self.costs = counted(&self.costs, text.as_bytes());
        let waits = text.lines().any(|line| line.starts_with("delete ") || line.starts_with("flush "));
        assert_eq!(waits, self.superseded.is_empty(), "{text}");
        assert!(waits || !body.deletes(), "{text}");
        counts.additive += usize::from(!waits);
        counts.swept += usize::from(waits && !body.deletes());
        let (stands, left) = self.markers.sorted();
        assert_eq!((stands, left.len()), (vec![after.revision()], self.superseded.len()));
    }
}

/// What an agent's guard counts, on top of what stands; and the script is read and written again with the same bytes.
fn counted(costs: &Costs, script: &[u8]) -> Costs {
    let lines = Lines::of(script).map(|line| format!("{}\n", line.unwrap_or_else(|error| panic!("{error}"))));
    assert!(lines.flat_map(String::into_bytes).eq(script.iter().copied()));
    costs.after(script).unwrap_or_else(|refused| panic!("{refused}\n{}", String::from_utf8_lossy(script)))
}

#[derive(Default, Debug)]
struct Counts {
    events: usize,
    passes: usize,
    deltas: usize,
    /// Deltas that delete nothing, and those that would not if there were no markers to sweep away.
    additive: usize,
    swept: usize,
    fulls: usize,
    frames: usize,
    refits: usize,
    members: usize,
    over: usize,
    /// Outputs that are closed for somebody's sake.
    expecting: usize,
}

impl Agents {
    /// Takes the deltas of a pass over, as the stream would send them.
    fn follow(&mut self, pass: &Pass, counts: &mut Counts) {
        for change in &pass.changes {
            let node = change.after.node().clone();
            match &change.before {
                None => {
                    self.0.insert(node, Agent::full(&change.after));
                }
                Some(before) => {
                    let agent = self.0.get_mut(&node).unwrap();
                    assert_eq!(agent.held.revision(), before.revision(), "the base is what the agent has");
                    match diff(before, &change.after) {
                        Some(delta) => {
                            apply(&mut agent.table, &delta)
                                .unwrap_or_else(|error| panic!("{node}: {error}\n{delta:#?}"));
                            let differs = before.revision() != change.after.revision();
                            let body = differs.then(|| DeltaBody::of(&delta));
                            assert_eq!(change.body, body, "{node}");
                            if let (Some(one), Some(other)) = (&change.body, &body) {
                                assert_eq!(one.deletes(), other.deletes(), "{node}");
                                agent.end(one, &change.after, counts);
                            }
                            counts.deltas += usize::from(differs);
                        }
                        None => {
                            assert!(change.body.is_none(), "{node}");
                            // Whether drops are taken down is up to the agent, and no delta changes it.
                            let keeps = |output: &Output| output.node_rules().drops;
                            counts.fulls += usize::from(keeps(before) == keeps(&change.after));
                            *agent = Agent::full(&change.after);
                        }
                    }
                    agent.held = Arc::clone(&change.after);
                }
            }
        }
        for node in &pass.gone {
            self.0.remove(node).unwrap();
        }
    }
}

/// With these budgets. Nodes are closed for who is expected there where their agents can do
/// with that, and always where they cannot: both come about, and change into each other.
fn options(budgets: Budgets) -> Options {
    Options { budgets, unready_pods: UnreadyPods::Expected, ..Options::default() }
}

/// Compares everything with a translation from nothing.
fn compare(translator: &Translator, agents: &Agents, budgets: Budgets) {
    let fresh = translate_with(translator.world(), options(budgets));
    let nodes: Vec<&NodeName> = fresh.nodes().keys().collect();
    assert_eq!(agents.0.keys().collect::<Vec<_>>(), nodes);
    for (node, expected) in fresh.nodes() {
        let found = translator.output(node).unwrap();
        assert_eq!(found.revision(), expected.revision(), "{node}");
        assert_eq!(*found, **expected, "{node}");
        assert_eq!(render(&found).bytes(), render(expected).bytes(), "{node}");
        let Agent { held, table, costs, .. } = &agents.0[node];
        let from_nothing = counted(&Costs::default(), render(expected).bytes());
        assert_eq!(costs.totals(), from_nothing.totals(), "{node}: what was counted along the deltas");
        assert_eq!(**held, **expected, "{node}: what the deltas led to");
        let script = render(expected);
        let expected = layout(expected);
        let text = write(&expected);
        assert!(script.bytes().starts_with(text.as_bytes()), "{node}: written at once, and from the model");
        assert_eq!(write(table), text, "{node}: the table that the deltas led to");
        assert_eq!(*table, expected, "{node}: the table that the deltas led to");
    }
    assert_eq!(translator.problems(), fresh.problems());
}

/// A history of at least `events` changes.
fn history(clusters: &[Cluster], dice: &mut Dice, events: usize, budgets: Budgets) -> Counts {
    let mut counts = Counts::default();
    let (mut translator, mut agents) = (Translator::with(options(budgets)), Agents::default());
    let mut walk = Walk::new(clusters);
    while counts.events < events {
        let batch = walk.changes(dice);
        counts.events += batch.len();
        batch.into_iter().for_each(|change| _ = translator.apply(change));
        let pass = translator.pass();
        counts.passes += 1;
        counts.frames += pass.work.assembled;
        counts.refits += pass.work.patched;
        counts.members += pass.work.members;
        agents.follow(&pass, &mut counts);
        compare(&translator, &agents, budgets);
        let is_expecting = |output: &Output| {
            output
                .node_rules()
                .guard
                .as_ref()
                .is_some_and(|it| matches!(it.closing, Closing::Expecting(Some(_))))
        };
        counts.expecting += pass.changes.iter().filter(|change| is_expecting(&change.after)).count();
        let over = |problem: &Problem| problem.consequence == Consequence::NamespaceIsolated;
        counts.over += usize::from(translator.problems().iter().any(over));
    }
    counts
}

/// Histories are long: few cases are many changes.
const CASES: u32 = 6;
const EVENTS: usize = 1_000;

fn check(clusters: &[Cluster], seed: u64) -> Counts {
    let counts = history(clusters, &mut Dice(seed), EVENTS, Budgets::default());
    assert!(
        counts.deltas > 0
            && counts.additive > 0
            && counts.refits > 0
            && counts.frames + counts.members > counts.passes / 10,
        "the history does not exercise deltas: {counts:?}"
    );
    counts
}

proptest! {
    #![proptest_config(Config { max_shrink_iters: 0, ..support::config(CASES) })]

    #[test]
    fn a_history_leads_where_its_end_alone_leads(clusters in vec(generator::cluster(), 3), seed: u64) {
        let counts = check(&clusters, seed);
        prop_assert_eq!(counts.fulls, 0, "deltas must do");
    }

    #[test]
    fn namespaces_go_over_budget_and_come_back(clusters in vec(generator::cluster(), 3), seed: u64, said in 4u64..40) {
        let (tries, merged, members) = (said / 2, said / 3, said / 2);
        let budgets = Budgets { tries, said, merged, members, few_sets: 1, ..Budgets::default() };
        let counts = history(&clusters, &mut Dice(seed), EVENTS / 2, budgets);
        prop_assume!(counts.over > 0 && counts.over < counts.passes);
    }

    #[test]
    fn namespaces_look_up_too_many_addresses_and_come_back(clusters in vec(generator::cluster(), 3), seed: u64, members in 1u64..4) {
        let budgets = Budgets { members, few_sets: 0, ..Budgets::default() };
        let counts = history(&clusters, &mut Dice(seed), EVENTS / 2, budgets);
        // Not every cluster has a policy with such peers.
        prop_assume!(counts.over > 0 && counts.over < counts.passes);
    }

    #[test]
    fn namespaces_are_closed_where_a_table_would_be_too_large(
        clusters in vec(generator::cluster(), 3),
        seed: u64,
        sets in 2u64..10,
        chains in 2u64..8,
        elements in 8u64..80,
    ) {
        let budgets = Budgets { node: Load { sets, chains, elements }, ..Budgets::default() };
        let counts = history(&clusters, &mut Dice(seed), EVENTS / 2, budgets);
        prop_assume!(counts.over > 0 && counts.over < counts.passes);
    }

    #[test]
    fn unions_of_few_ports_share_a_set_where_there_are_many(clusters in vec(generator::cluster(), 3), seed: u64) {
        let budgets = Budgets { few_unions: 0, ..Budgets::default() };
        let counts = history(&clusters, &mut Dice(seed), EVENTS / 2, budgets);
        prop_assert_eq!(counts.fulls, 0);
    }
}

#[test]
fn what_is_more_than_the_last_step_may_hold_is_a_full_script() {
    let node = objects::node(1);
    let address = |number: u32| format!("10.{}.{}.{}", 1 + (number >> 16), number >> 8 & 255, number & 255);
    for (pods, has_delta) in [(2_000, true), (4_000, true), (8_000, false)] {
        let mut translator = Translator::new();
        translator.apply(Change::Node(Edit::Replace(vec![node.clone()])));
        let pod = |number| Pod {
            node: Some(objects::name(1)),
            ..objects::pod("shop", &format!("p{number}"), &[&address(number)])
        };
        translator.apply(Change::Pod(Edit::Replace((0..pods).map(pod).collect())));
        translator.pass();
        translator.apply(Change::Policy(Edit::Upsert(objects::deny("shop"))));
        let pass = translator.pass();
        let [change] = &pass.changes[..] else { panic!("one node changes") };
        let before = change.before.as_ref().unwrap();
        assert_eq!(diff(before, &change.after).is_some(), has_delta, "{pods}");
        assert_eq!(change.body.is_some(), has_delta, "{pods}");
    }
}
