//! Events in any order, with any detours, give equal bytes on every node.

#![allow(clippy::unwrap_used, reason = "a helper of tests may panic as tests do")]

mod support;

use std::collections::BTreeMap;

use flock_compiler_core::{Change, Edit, Translator, render};
use flock_shared::NodeName;
use proptest::prelude::*;

use flock_model::oracle::cluster::{Cluster, Text};
use support::dice::Dice;
use support::{generator, to_core};

/// The bytes of every node's script.
fn scripts(translator: &Translator, nodes: &[Text]) -> BTreeMap<Text, Vec<u8>> {
    let script = |name: NodeName| match translator.output(&name) {
        Some(output) => render(&output),
        None => render(&translator.elsewhere(name)),
    };
    nodes.iter().map(|node| (*node, script(to_core::node_name(node)).bytes().to_vec())).collect()
}

/// Applies changes, with a pass after every one, after some, or only at the end.
fn follow(changes: impl IntoIterator<Item = Change>, passes: usize, dice: &mut Dice) -> Translator {
    let mut translator = Translator::new();
    for change in changes {
        translator.apply(change);
        if passes > 0 && dice.roll(passes) == 0 {
            translator.pass();
        }
    }
    translator.pass();
    translator
}

/// The changes of each object of one kind, each list in the order in which it must be applied. An object of the goal
/// may first be something else, or be added and deleted again; one that only the detour knows ends deleted.
fn histories<T, K: PartialEq>(
    goal: &[T],
    detour: &[T],
    key: impl Fn(&T) -> K,
    upsert: impl Fn(&T) -> Change,
    delete: impl Fn(&T) -> Change,
    dice: &mut Dice,
) -> Vec<Vec<Change>> {
    let mut histories = Vec::new();
    for object in goal {
        let mut history = Vec::new();
        if let Some(before) = detour.iter().find(|other| key(other) == key(object))
            && dice.roll(2) == 0
        {
            history.push(upsert(before));
        }
        if dice.roll(3) == 0 {
            history.extend([upsert(object), delete(object)]);
        }
        history.push(upsert(object));
        if dice.roll(4) == 0 {
            history.push(upsert(object));
        }
        histories.push(history);
    }
    for foreign in detour.iter().filter(|other| goal.iter().all(|object| key(object) != key(other))) {
        histories.push(vec![upsert(foreign), delete(foreign)]);
    }
    histories
}

/// One change list that leads to `goal` by way of objects of `detour`: everything interleaved at random. A kind is
/// listed once, either at first with what the detour knows, or at last with what the goal does.
fn way_to(goal: &Cluster, detour: &Cluster, dice: &mut Dice) -> Vec<Change> {
    let mut pending: Vec<Vec<Change>> = Vec::new();
    pending.extend(histories(
        &goal.nodes,
        &detour.nodes,
        |node| node.name,
        |node| Change::Node(Edit::Upsert(to_core::node(node))),
        |node| Change::Node(Edit::Delete(to_core::node_name(node.name))),
        dice,
    ));
    pending.extend(histories(
        &goal.namespaces,
        &detour.namespaces,
        |namespace| namespace.name,
        |namespace| Change::Namespace(Edit::Upsert(to_core::namespace(namespace))),
        |namespace| Change::Namespace(Edit::Delete(to_core::namespace(namespace).name)),
        dice,
    ));
    pending.extend(histories(
        &goal.pods,
        &detour.pods,
        |pod| (pod.namespace, pod.name),
        |pod| Change::Pod(Edit::Upsert(to_core::pod(pod))),
        |pod| Change::Pod(Edit::Delete(to_core::pod(pod).key)),
        dice,
    ));
    pending.extend(histories(
        &goal.policies,
        &detour.policies,
        |policy| (policy.namespace, policy.name),
        |policy| Change::Policy(Edit::Upsert(to_core::policy(policy))),
        |policy| Change::Policy(Edit::Delete(to_core::policy(policy).key)),
        dice,
    ));
    let (mut changes, mut last) = (Vec::new(), Vec::new());
    for (first_listing, last_listing) in to_core::listings(detour).into_iter().zip(to_core::listings(goal)) {
        if dice.roll(2) == 0 {
            changes.push(first_listing);
        } else {
            last.push(last_listing);
        }
    }
    dice.shuffle(&mut changes);
    dice.shuffle(&mut last);
    pending.iter_mut().for_each(|history| history.reverse());
    while !pending.is_empty() {
        let chosen = dice.roll(pending.len());
        match pending[chosen].pop() {
            Some(change) => changes.push(change),
            None => drop(pending.swap_remove(chosen)),
        }
    }
    changes.extend(last);
    changes
}

proptest! {
    #![proptest_config(support::config(256))]

    #[test]
    fn shuffled_events_give_equal_bytes(goal in generator::cluster(), detour in generator::cluster(), seed: u64) {
        let mut dice = Dice(seed);
        let passes = dice.roll(4);
        let shuffled = follow(way_to(&goal, &detour, &mut dice), passes, &mut dice);
        prop_assert!(shuffled.world().is_complete());
        // A node that only the detour knew may still be asked for: its script must not remember either.
        let mut nodes = goal.node_names();
        nodes.extend(detour.node_names());
        let straight = follow(to_core::listings(&goal), 0, &mut dice);
        prop_assert_eq!(scripts(&shuffled, &nodes), scripts(&straight, &nodes));
    }
}
