//! Ends of deltas in the real kernel: it and the model agree on what is refused and what is left.

use flock_compiler_core::{Delta, DeltaBody, MarkerUpdate};
use flock_lab::{Lab, Node, skipped};
use flock_model::Markers;
use flock_shared::{Revision, SUPERSEDED_LIMIT, ScriptHash, Superseded};

use crate::words::dice::Dice;

const MEMBERS: &str =
    "table inet flock_netpol {\n\tset pods4_a {\n\t\ttypeof ip saddr\n\t\telements = { ADDRESS }\n\t}\n}\n";

fn revision(number: usize) -> Revision {
    Revision::of(ScriptHash::of(&number.to_be_bytes()))
}

/// A node whose table a full script of the revision 0 has made.
fn node(purpose: &str) -> Option<(Lab, Node)> {
    if let Err(reason) = Lab::available() {
        skipped(&reason);
        return None;
    }
    let lab = Lab::new(purpose).unwrap();
    let node = lab.node("node").unwrap();
    node.nft(&full()).unwrap();
    Some((lab, node))
}

fn full() -> String {
    let marker = flock_compiler_core::layout::marker(&revision(0));
    format!("add table inet flock_netpol\ndelete table inet flock_netpol\n{}{marker}", member(0))
}

fn member(number: usize) -> String {
    MEMBERS.replace("ADDRESS", &format!("10.0.{}.{}", number / 256, number % 256))
}

/// A delta that adds a member, and may delete another one.
fn delta(number: usize, deletes: bool, end: &MarkerUpdate) -> String {
    let deletion = if deletes {
        "add element inet flock_netpol pods4_a { 10.9.9.9 }\ndelete element inet flock_netpol pods4_a { 10.9.9.9 }\n"
    } else {
        ""
    };
    let end = DeltaBody::of(&Delta::default()).script(end);
    format!("{}{deletion}{}", member(number), std::str::from_utf8(end.bytes()).unwrap())
}

/// Everything that nft lists, and in which order it was made.
fn listed(node: &Node) -> String {
    node.run("nft", &["-a", "list", "table", "inet", "flock_netpol"], "").unwrap()
}

/// The names of the kernel's objects with this prefix.
fn names(node: &Node, kind: &str, prefix: &str) -> Vec<String> {
    let listed = listed(node);
    let names = listed.lines().filter_map(|line| line.trim().strip_prefix(kind)?.trim().strip_prefix(prefix));
    let mut names: Vec<_> = names.map(|name| name.split(' ').next().unwrap().to_owned()).collect();
    names.sort();
    names
}

fn assert_same(node: &Node, markers: &Markers) {
    let (stands, left) = markers.sorted();
    let text =
        |revisions: &[&Revision]| -> Vec<String> { revisions.iter().map(ToString::to_string).collect() };
    let mut sets = text(&[stands, left.clone()].concat());
    sets.sort();
    assert_eq!((names(node, "set", "rev_"), names(node, "chain", "past_")), (sets, text(&left)));
}

#[test]
fn the_kernel_and_the_model_agree_along_a_walk() {
    let Some((_lab, node)) = node("walk") else { return };
    let (mut at, mut superseded, mut markers) = (0, Superseded::default(), Markers::full(&revision(0)));
    let (mut dice, mut journal, mut most, mut refused) = (Dice(11), full(), 0, 0);
    for step in 1..400 {
        // Few states, so that they come back; now and then a base that does not stand, or a list that is not true.
        let (to, deletes) = (dice.roll(40), dice.roll(30) == 0);
        let base = if dice.roll(8) == 0 { dice.roll(40) } else { at };
        let believed = if dice.roll(20) == 0 { Superseded::default() } else { superseded.clone() };
        if to == base {
            continue;
        }
        let end = MarkerUpdate::of(deletes, &revision(base), &revision(to), &believed);
        let script = delta(step, deletes, &end);
        let before = listed(&node);
        let mut after = markers.clone();
        let expected = after.apply(&end);
        let found = node.nft(&script);
        assert_eq!(found.is_ok(), expected.is_ok(), "step {step}: {expected:?}, {found:?}\n{script}");
        if expected.is_err() {
            assert_eq!(listed(&node), before, "refused as a whole");
            refused += 1;
            continue;
        }
        // What was not believed of it stays in the table, and is known to the test alone.
        if believed != superseded {
            node.nft(&full()).unwrap();
            (at, superseded, markers, journal) =
                (0, Superseded::default(), Markers::full(&revision(0)), full());
            continue;
        }
        (at, superseded, markers) = (to, end.superseded(), after);
        journal.push_str(&script);
        most = most.max(superseded.len());
        assert_same(&node, &markers);
        if step % 20 == 0 {
            node.nft(&journal).unwrap();
            assert_same(&node, &markers);
        }
    }
    assert!(most > 8 && refused > 20, "{most} were left, {refused} were refused");
}

#[test]
fn there_are_never_more_than_so_many() {
    let Some((_lab, node)) = node("many") else { return };
    let (mut superseded, mut markers) = (Superseded::default(), Markers::full(&revision(0)));
    for step in 1..3 * SUPERSEDED_LIMIT {
        let end = MarkerUpdate::of(false, &revision(step - 1), &revision(step), &superseded);
        node.nft(&delta(step, false, &end)).unwrap();
        markers.apply(&end).unwrap();
        superseded = end.superseded();
        assert_eq!(superseded.len(), step % (SUPERSEDED_LIMIT + 1));
        assert_same(&node, &markers);
    }
}

#[test]
fn a_sweep_does_not_mind_what_is_not_there() {
    let Some((_lab, node)) = node("sweep") else { return };
    let believed = Superseded::new((1..=SUPERSEDED_LIMIT).map(revision).collect()).unwrap();
    for number in [1, 2] {
        node.nft(&format!("add set inet flock_netpol rev_{} {{ typeof ip saddr; }}\n", revision(number)))
            .unwrap();
    }
    let end = MarkerUpdate::of(true, &revision(0), &revision(99), &believed);
    node.nft(&delta(1, true, &end)).unwrap();
    assert_same(&node, &Markers::full(&revision(99)));
}
