//! A minute of churn: pods, policies and namespaces change all the time while real packets of many flows are judged by
//! the API's words, and connections that stay allowed are held throughout.
//!
//! Two nodes with real agents, a real compiler that watches an API server. A verdict must be one that the states of
//! its time allow: a change counts as in force from when it was made at the earliest, until every agent has
//! acknowledged the next one at the latest. `FLOCK_CHURN_SEED` asks for another walk, `FLOCK_CHURN_SECONDS` for
//! another length.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, reason = "these are tests")]

mod applied;
mod change;
mod connects;
mod datagrams;
mod flows;
mod judge;
mod kept;
mod objects;
mod plan;
mod policies;
mod run;
mod stage;
mod timeline;
mod traffic;

#[path = "../end_to_end/api.rs"]
mod api;
#[path = "../end_to_end/compiler.rs"]
#[allow(dead_code, reason = "shared")]
mod compiler;
#[path = "../end_to_end/ground.rs"]
#[allow(dead_code, reason = "shared")]
mod ground;
#[path = "../end_to_end/support/mod.rs"]
mod support;

/// From a cluster in the API's own shape to objects of the core.
#[path = "../../../../compiler/core/tests/support"]
#[allow(dead_code, reason = "shared")]
mod words {
    pub(crate) mod to_core;
}

use std::time::Duration;

use flock_lab::Protocol;

use crate::ground::NODES;
use crate::judge::Judge;
use crate::policies::KEPT_PORT;
use crate::run::Run;
use crate::support::table::{differences, table};

/// Observations that a churn must have of each verdict to show anything.
const ENOUGH: usize = 1000;

/// A packet sees the rules of one generation and sets as of its lookup, so on its way during a commit it may find what
/// is being replaced gone: then it is lost, at most one in so many steps. None may ever slip through.
const STEPS_PER_LOST: usize = 50;

/// A number from the environment.
fn asked(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().unwrap())
}

#[test]
fn verdicts_are_those_of_before_or_after_each_change_and_kept_connections_never_break() {
    let seed = asked("FLOCK_CHURN_SEED", 1);
    let length = Duration::from_secs(asked("FLOCK_CHURN_SECONDS", 60));
    let Some(mut run) = Run::start("churn", seed) else { return };
    run.churn(length);
    let bytes = run.end_traffic();

    let observations = run.observations();
    let probes = observations.len();
    let findings = Judge::new(&run.timeline, &run.places, &run.record.flows).judge(observations);
    let steps = run.timeline.steps.len();
    println!(
        "seed {seed}: {} changes in {steps} steps, {} moves; {probes} probes: {} had to pass and {} to be dropped, \
         {} met a change that mattered; {} lost and {} slipped while a table was replaced; \
         {} connections kept, {bytes} bytes came back",
        run.changes,
        run.moves,
        findings.passed,
        findings.dropped,
        findings.either,
        findings.lost,
        findings.slipped,
        run.kept_connections,
    );
    let some = &findings.wrong[..findings.wrong.len().min(3)];
    assert!(some.is_empty(), "{} wrong verdicts, among them:\n{}", findings.wrong.len(), some.join("\n"));
    assert!(findings.passed > ENOUGH && findings.dropped > ENOUGH, "too few verdicts: {findings:?}");
    let tolerated = steps.div_ceil(STEPS_PER_LOST);
    assert!(findings.lost <= tolerated, "too many are lost: {findings:?}");
    assert_eq!(findings.slipped, 0, "denied packets slipped through: {findings:?}");

    for (index, flow) in run.record.flows.iter().enumerate() {
        if flow.protocol == Protocol::Udp && flow.destination.port() == KEPT_PORT {
            assert_eq!(run.record.datagrams.unanswered(index), 0, "{flow}: replies are always allowed");
        }
    }
    for node in NODES {
        let [entered, left] = kept::packets(&run.ground, node);
        println!("{node}: packets of kept connections, to servers and back: {entered:?} in, {left:?} out");
        assert!(entered[0] - left[0] <= tolerated as u64, "{node} drops packets of kept connections");
        assert_eq!(entered[1], left[1], "{node}: replies are always allowed");
        assert!(entered.iter().all(|count| *count > 0), "{node} forwards some of them");
    }
    for node in NODES {
        let fresh = run.fresh(node);
        let lines = table(&fresh);
        assert_eq!(differences(&table(run.ground.node(node)), &lines), Vec::<String>::new(), "{node}");
        assert!(lines.len() > 10);
    }
    // All along it has judged flows of these nodes by words and by table.
    assert_eq!(run.compiler.metric("flock_compiler_contradictions_total"), Some(0.0));
    // What deltas do not change keeps its counters.
    let updates = |kind| run.compiler.metric(&format!("flock_compiler_updates_total{{kind=\"{kind}\"}}"));
    assert!(updates("delta").is_some_and(|count| count > 0.0), "no deltas");
    for (index, node) in NODES.iter().enumerate() {
        let drops: Vec<u64> = run.drops.iter().map(|drops| drops[index]).collect();
        assert!(drops.is_sorted() && drops.first() < drops.last(), "{node} counted drops anew: {drops:?}");
    }
}
