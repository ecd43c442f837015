//! Large scripts have steps, none of them large; step by step they make the table that one transaction makes (real nft).
//! And the closed form: everything isolated is denied, under a revision of its own.

#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "helpers of tests may panic as tests do")]

mod support;

use std::io::Write as _;
use std::process::{Command, Stdio};

use flock_compiler_core::nft::{SetType, write, write_in_steps};
use flock_compiler_core::object::{Pod, Policy};
use flock_compiler_core::output::Isolation;
use flock_compiler_core::{Change, DeltaBody, Edit, Output, Selector, Translator, diff, layout, render};
use flock_shared::Superseded;
use flock_shared::steps::{self, STEP_OBJECTS};
use proptest::prelude::*;
use support::objects::{self, node_name, on_any_port, pods_in};
use support::{generator, to_core};

fn pod(number: usize) -> Pod {
    let node = node_name(if number == 0 { "n1" } else { "n2" });
    let address = format!("10.{}.{}.{}", number >> 16, number >> 8 & 255, number & 255);
    Pod { node: Some(node), ..objects::pod("shop", &format!("p{number}"), &[&address]) }
}

/// All pods of the namespace may reach its first one.
fn policy() -> Policy {
    objects::ingress("shop", "all", vec![on_any_port(vec![pods_in("shop", Selector::everything())])])
}

/// What `n1` has before there is a policy, and with it.
fn outputs(pods: usize) -> [Output; 2] {
    let node = node_name("n1");
    let mut translator = Translator::new();
    translator.apply(Change::Pod(Edit::Replace((0..pods).map(pod).collect())));
    translator.pass();
    let before = Output::clone(&translator.output(&node).unwrap());
    translator.apply(Change::Policy(Edit::Upsert(policy())));
    translator.pass();
    [before, Output::clone(&translator.output(&node).unwrap())]
}

/// At most how many elements a step holds: what its commas and lines part.
fn most(script: &[u8]) -> usize {
    let held = |step: &[u8]| step.iter().filter(|byte| matches!(byte, b',')).count();
    steps::of(script).map(held).max().unwrap()
}

#[test]
fn a_small_table_is_one_step_and_a_large_one_many() {
    let [_, small] = outputs(4000);
    assert_eq!(steps::of(render(&small).bytes()).count(), 1);
    let [_, large] = outputs(23_000);
    let script = render(&large);
    assert_eq!(steps::of(script.bytes()).count(), 6, "five of elements, and the base chains");
    assert!(most(script.bytes()) <= STEP_OBJECTS);
    let text = String::from_utf8(script.bytes().to_vec()).unwrap();
    let (_, last) = text.rsplit_once("# step\n").unwrap();
    assert_eq!(text.matches(" hook ").count(), last.matches(" hook ").count());
    assert!(last.contains(large.revision().as_str()), "the marker comes last");
}

#[test]
fn a_delta_fills_new_sets_first_and_checks_its_base_in_its_first_and_its_last_step() {
    let [before, after] = outputs(23_000);
    let body = DeltaBody::of(&diff(&before, &after).unwrap());
    let (base, revision) = (before.revision(), after.revision());
    let script = body.script(&body.end(base, revision, &Superseded::default()));
    let text = String::from_utf8(script.bytes().to_vec()).unwrap();
    let parts: Vec<&str> = text.split("# step\n").collect();
    assert!(parts.len() >= 6 && most(script.bytes()) <= STEP_OBJECTS);
    assert!(parts[0].starts_with(&flock_shared::marker::leaving(base)));
    let last = parts.last().unwrap();
    assert!(last.contains(&flock_shared::marker::has_left(base)) && last.contains("map ingress4"));
    assert!(parts[..parts.len() - 1].iter().all(|step| !step.contains("map") && !step.contains("\tchain ")));
    // Sets in use are filled at once, or by a full script.
    assert!(diff(&outputs(1000)[1], &after).is_none());
}

#[test]
fn the_closed_form_denies_and_is_plain() {
    let [open, normal] = outputs(100);
    let closed = normal.closed();
    assert_ne!(closed.revision(), normal.revision());
    assert_ne!(open.closed().revision(), open.revision(), "also where nothing is isolated");
    assert_eq!(closed.revision(), normal.closed().revision());
    let subject = &closed.node_rules().isolated[&"10.0.0.0".parse().unwrap()];
    assert_eq!((&subject.ingress, &subject.egress), (&Isolation::Closed, &Isolation::Open));
    let text = String::from_utf8(render(&closed).bytes().to_vec()).unwrap();
    assert!(text.contains("10.0.0.0 : goto ingress_denied"), "{text}");
    assert!(!text.contains(" fib ") && !text.contains("interval") && !text.contains("@pods"), "{text}");
    assert!(layout(&closed).sets.values().all(|set| matches!(set.kind, SetType::Addresses(_))));
    assert!(
        layout(&closed)
            .maps
            .values()
            .all(|map| matches!(map.kind, SetType::Addresses(_) | SetType::Families))
    );
    assert!(diff(&normal, &closed).is_none() && diff(&closed, &normal).is_none());
}

/// A network namespace, gone with this value.
struct Namespace(String);

impl Namespace {
    fn new() -> Option<Self> {
        let name = format!("flock-steps-{}", std::process::id());
        let made = Command::new("ip").args(["netns", "add", &name]).output();
        match made {
            Ok(output) if output.status.success() => Some(Self(name)),
            failed => {
                let _ = writeln!(std::io::stderr(), "skipped: needs root and network namespaces: {failed:?}");
                None
            }
        }
    }

    fn nft(&self, arguments: &[&str], input: &str) -> String {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.0, "nft"]).args(arguments);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{input}");
        String::from_utf8(output.stdout).unwrap()
    }

    fn table(&self) -> String {
        self.nft(&["list", "table", "inet", "flock_netpol"], "")
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let _ = Command::new("ip").args(["netns", "delete", &self.0]).status();
    }
}

#[test]
fn step_by_step_it_is_the_table_of_one_transaction() {
    let Some(namespace) = Namespace::new() else { return };
    let mut runner = proptest::test_runner::TestRunner::new(support::config(6));
    let sorted = |table: String| {
        let mut lines: Vec<String> = table.split([',', '\n']).map(|it| it.trim().to_owned()).collect();
        lines.sort();
        lines
    };
    runner
        .run(&generator::cluster(), |cluster| {
            let mut translator = Translator::new();
            for change in to_core::listings(&cluster) {
                translator.apply(change);
            }
            translator.pass();
            for node in ["n0", "n1"].map(node_name) {
                let Some(output) = translator.output(&node) else { continue };
                let closed = render(&output.closed());
                namespace.nft(&["-f", "-"], std::str::from_utf8(closed.bytes()).unwrap());
                let table = layout(&output);
                namespace.nft(&["-f", "-"], &write(&table));
                let whole = sorted(namespace.table());
                for size in [1, 7] {
                    let script = write_in_steps(&table, "", size);
                    namespace.nft(&["-f", "-"], &script);
                    prop_assert_eq!(&sorted(namespace.table()), &whole, "as one transaction");
                    let series: Vec<&[u8]> = steps::of(script.as_bytes()).collect();
                    series.iter().for_each(|step| {
                        namespace.nft(&["-f", "-"], std::str::from_utf8(step).unwrap());
                    });
                    prop_assert_eq!(&sorted(namespace.table()), &whole, "{} steps", series.len());
                }
            }
            Ok(())
        })
        .unwrap();
}
