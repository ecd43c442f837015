//! A long history of deltas in the real kernel: after every few changes the table is the one that the full script
//! makes, and no delta is refused.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "these are tests")]

#[path = "../end_to_end/support/table.rs"]
#[allow(dead_code, reason = "shared")]
mod table;

mod ends;

/// Random clusters and histories, as the tests of the core have them.
#[path = "../../../../compiler/core/tests/support/mod.rs"]
mod words;

use std::sync::Arc;

use flock_compiler_core::{Output, Translator, render};
use flock_lab::{Lab, Node, skipped};
use flock_shared::{NodeName, Script, Superseded};
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::TestRunner;

use flock_model::oracle::cluster::Cluster;
use table::{differences, left_behind, table};
use words::dice::Dice;
use words::history::Walk;
use words::{config, generator, to_core};

/// Changes to the world; one in seven concerns the node.
const EVENTS: usize = 8_000;
/// The environment variable that says how many there are; `deploy/kernels` sets it, where every nft takes long.
const VARIABLE: &str = "FLOCK_EVENTS";
/// Deltas between two comparisons of tables.
const BETWEEN: usize = 12;

fn how_many_events() -> usize {
    std::env::var(VARIABLE).map_or(EVENTS, |value| value.parse().expect("FLOCK_EVENTS is a number"))
}

fn load(node: &Node, script: &Script, what: &str) {
    let text = std::str::from_utf8(script.bytes()).unwrap();
    node.nft(text).unwrap_or_else(|error| panic!("{what}: {error}\n{text}"));
}

fn sorted(mut texts: Vec<String>) -> Vec<String> {
    texts.sort();
    texts
}

/// Compares what deltas have led to with what a full script makes of nothing.
fn compare(followed: &Node, fresh: &Node, output: &Output, after: usize) {
    load(fresh, &render(output), "a full script");
    let found = differences(&table(followed), &table(fresh));
    assert!(found.is_empty(), "after {after} deltas:\n{}", found.join("\n"));
}

#[test]
fn a_history_of_deltas_ends_where_the_full_script_does() {
    if let Err(reason) = Lab::available() {
        skipped(&reason);
        return;
    }
    let lab = Lab::new("deltas").unwrap();
    let (followed, fresh) = (lab.node("followed").unwrap(), lab.node("fresh").unwrap());
    // What an agent's journal makes of nothing: the scripts one after the other, as one transaction.
    let (replayed, mut journal) = (lab.node("replayed").unwrap(), Vec::new());
    let mut runner = TestRunner::new(config(1));
    let clusters: Vec<Cluster> =
        (0..3).map(|_| generator::cluster().new_tree(&mut runner).unwrap().current()).collect();
    let (mut walk, mut dice, mut translator) = (Walk::new(&clusters), Dice(7), Translator::new());
    let name: NodeName = to_core::node_name(clusters[0].node_names()[0]);
    let (mut events, mut deltas, mut held) = (0, 0, None::<Arc<Output>>);
    // Deltas that delete nothing, and how many markers they leave behind at most.
    let (mut superseded, mut additive, mut most) = (Superseded::default(), 0, 0);
    let enough = how_many_events();
    while events < enough {
        let batch = walk.changes(&mut dice);
        events += batch.len();
        batch.into_iter().for_each(|change| _ = translator.apply(change));
        let pass = translator.pass();
        if pass.gone.contains(&name) {
            held = None;
        }
        let Some(change) = pass.changes.into_iter().find(|change| *change.after.node() == name) else {
            continue;
        };
        let (revision, body) = (change.after.revision(), change.body);
        match held.replace(Arc::clone(&change.after)) {
            // Whether drops are taken down is up to the agent, and no delta changes it.
            Some(before) if before.node_rules().drops != change.after.node_rules().drops => {
                assert!(body.is_none());
                journal = render(&change.after).bytes().to_vec();
                load(&followed, &Script::new(journal.clone()), "a full script");
                superseded = Superseded::default();
            }
            None => {
                journal = render(&change.after).bytes().to_vec();
                load(&followed, &Script::new(journal.clone()), "a full script");
                superseded = Superseded::default();
            }
            Some(before) if before.revision() == revision => {}
            Some(before) => {
                let body = body.expect("a delta must do where no names collide");
                let end = body.end(before.revision(), revision, &superseded);
                let script = body.script(&end);
                load(&followed, &script, "a delta");
                journal.extend_from_slice(script.bytes());
                superseded = end.superseded();
                (additive, most) =
                    (additive + usize::from(!superseded.is_empty()), most.max(superseded.len()));
                deltas += 1;
                if deltas % BETWEEN == 0 {
                    load(&replayed, &Script::new(journal.clone()), "a journal");
                    assert_eq!(differences(&table(&followed), &table(&replayed)), [""; 0], "a journal");
                    for node in [&followed, &replayed] {
                        let left: Vec<_> = superseded.iter().map(ToString::to_string).collect();
                        assert_eq!(left_behind(node), sorted(left));
                    }
                    if deltas % (16 * BETWEEN) == 0 {
                        journal = render(&change.after).bytes().to_vec();
                    }
                    compare(&followed, &fresh, &change.after, deltas);
                }
            }
        }
    }
    // Read by deploy/kernels.
    println!("deltas: {deltas} tried, 0 refused");
    assert!(deltas > 100, "the history comes to {deltas} deltas only");
    assert!(additive > deltas / 10 && most > 2, "{additive} of {deltas} delete nothing, {most} in a row");
    compare(&followed, &fresh, &held.expect("the node is there"), deltas);
}

#[test]
fn a_delta_on_another_base_changes_nothing() {
    if let Err(reason) = Lab::available() {
        skipped(&reason);
        return;
    }
    let lab = Lab::new("base").unwrap();
    let node = lab.node("node").unwrap();
    let mut runner = TestRunner::new(config(1));
    let output = |runner: &mut TestRunner| loop {
        let cluster = generator::cluster().new_tree(runner).unwrap().current();
        let translation = flock_compiler_core::translate(&to_core::world(&cluster));
        if let Some(output) = translation.nodes().values().next() {
            break Arc::clone(output);
        }
    };
    let (first, second, third) = (output(&mut runner), output(&mut runner), output(&mut runner));
    load(&node, &render(&third), "a full script");
    let before = table(&node);
    let way = flock_compiler_core::diff(&first, &second).unwrap();
    let body = flock_compiler_core::DeltaBody::of(&way);
    let delta = body.script(&body.end(first.revision(), second.revision(), &Superseded::default()));
    assert!(node.nft(std::str::from_utf8(delta.bytes()).unwrap()).is_err(), "the base is not there");
    assert_eq!(differences(&before, &table(&node)), [""; 0]);
}
