//! Where policies cost more than is allowed, `judge` says what the tables do, once the translation has told it of whom that
//! is so.

use std::cell::RefCell;

use flock_compiler_core::judge::{Judge, Verdict};
use flock_compiler_core::object::Direction;
use flock_compiler_core::translate::{Budgets, Load};
use flock_compiler_core::{Options, Translator, UnreadyPods, layout};
use proptest::collection::vec;

use crate::for_clusters;
use crate::judge::{between, interpreted};
use crate::support::{generator, to_core};

const CLUSTERS: u32 = 400;
const FLOWS: usize = 60;

/// Budgets of which one is next to nothing.
fn budgets(kind: u8) -> Budgets {
    let usual = Budgets::default();
    match kind {
        0 => Budgets { tries: 3, ..usual },
        1 => Budgets { said: 6, ..usual },
        2 => Budgets { merged: 3, ..usual },
        3 => Budgets { members: 1, few_sets: 0, ..usual },
        _ => Budgets { node: Load { elements: 12, ..usual.node }, ..usual },
    }
}

#[test]
fn whoever_is_over_budget_is_closed_as_the_translation_tells() {
    let closed = RefCell::new([0u32; 5]);
    let flows = (0u8..5, vec(generator::flows::flow(), FLOWS));
    for_clusters(CLUSTERS, flows, |cluster, (kind, flows)| {
        let options =
            Options { unready_pods: UnreadyPods::Drop, budgets: budgets(kind), ..Options::default() };
        let mut translator = Translator::with(options);
        for change in to_core::listings(cluster) {
            translator.apply(change);
        }
        drop(translator.pass());
        let over_budget = translator.over_budget();
        let output =
            |node| translator.output(&to_core::node_name(node)).map(|output| (node, layout(&output)));
        let tables = cluster.node_names().into_iter().filter_map(output).collect();
        let judge = Judge::indexed(translator.world(), UnreadyPods::Drop).with_over_budget(&over_budget);
        for asked in &flows {
            let Some(flow) = between(cluster, &judge, asked) else { continue };
            // Which of an address's owners are closed differs from node to node.
            let is_contested = [&flow.source, &flow.destination].iter().any(|end| end.owners.len() > 1);
            if kind == 4 && is_contested {
                continue;
            }
            let judged = judge.judge(&flow);
            let done = interpreted(&tables, cluster, asked)?;
            if judged.passes() != done || judge.passes(&flow) != done {
                return Err(format!(
                    "{asked}\nby the tables it passes: {done}; judge: {judged:?}\nover budget {kind}: {over_budget:?}"
                ));
            }
            let verdicts = Direction::ALL.map(|direction| judged.of(direction));
            let is_over = verdicts.iter().any(|verdict| matches!(verdict, Verdict::OverBudget(_)));
            closed.borrow_mut()[usize::from(kind)] += u32::from(is_over);
        }
        Ok(())
    });
    let closed = closed.into_inner();
    assert!(
        closed.iter().all(|count| *count > 50),
        "too few flows of some budget meet who is over it: {closed:?}"
    );
}
