//! One answer out of what several replicas say. Objects are the same everywhere; what a node has acknowledged or dropped the
//! replica knows that has its agent's stream. Pure.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use flock_proto::v1;

/// The first replica's explanations with what any of them knows of the nodes.
pub(super) fn explanations(answers: Vec<v1::ExplainResponse>) -> v1::ExplainResponse {
    let mut answers = answers.into_iter();
    let mut merged = answers.next().unwrap_or_default();
    for answer in answers {
        for other in answer.explanations {
            // By what was judged and not by place, as one replica may know a pod a moment before another one.
            let is_same = |one: &&mut v1::Explanation| {
                let names =
                    |it: &v1::Explanation| [&it.from, &it.to].map(|end| super::text::name(end.as_ref()));
                names(one) == names(&other) && one.port == other.port
            };
            let Some(one) = merged.explanations.iter_mut().find(is_same) else { continue };
            for evidence in other.evidence {
                add_evidence(&mut one.evidence, evidence);
            }
            one.dropped_packets = sum(one.dropped_packets, other.dropped_packets);
            one.dropped_since = earlier(one.dropped_since, other.dropped_since);
            one.last_dropped = later(one.last_dropped, other.last_dropped);
        }
    }
    merged
}

/// What is known of a node beats what is not, and a contradiction is never lost.
fn add_evidence(known: &mut Vec<v1::Evidence>, other: v1::Evidence) {
    let weight = |it: &v1::Evidence| {
        (
            it.contradiction,
            it.table_passes.is_some(),
            it.revision.is_some(),
            it.since.map(|at| (at.seconds, at.nanos)),
        )
    };
    let is_same = |it: &&mut v1::Evidence| (&it.node, it.direction) == (&other.node, other.direction);
    match known.iter_mut().find(is_same) {
        Some(one) if weight(&other) > weight(one) => *one = other,
        Some(_) => {}
        None => known.push(other),
    }
}

/// Policies: on a node is in force what any replica knows to be acknowledged there.
pub(super) fn policies(answers: Vec<Vec<v1::PolicyRow>>) -> Vec<v1::PolicyRow> {
    let mut merged: BTreeMap<(String, String), v1::PolicyRow> = BTreeMap::new();
    for row in answers.into_iter().flatten() {
        let key = (row.namespace.clone(), row.name.clone());
        let Some(one) = merged.get_mut(&key) else {
            merged.insert(key, row);
            continue;
        };
        let others: HashSet<&String> = row.missing.iter().collect();
        // A list may be cut; how many are enforced is not.
        let known =
            usize::try_from(one.nodes.saturating_sub(one.enforced.unwrap_or_default())).unwrap_or_default();
        let is_whole = one.missing.len() == known;
        // A node is missing where nobody knows it to be current, so in every list.
        one.missing.retain(|node| others.contains(node));
        one.enforced = match (one.enforced, row.enforced) {
            (Some(_), Some(_)) if is_whole => {
                Some(one.nodes.saturating_sub(u32::try_from(one.missing.len()).unwrap_or(u32::MAX)))
            }
            // Where a list is cut or a count is absent: the larger one is certain, and there may be more.
            (one, other) => one.max(other),
        };
        // In force everywhere since the last of them was.
        one.since = later(one.since, row.since);
        one.drops = sum(one.drops, row.drops);
        let notes: BTreeSet<String> = one.notes.drain(..).chain(row.notes).collect();
        one.notes = notes.into_iter().collect();
    }
    merged.into_values().collect()
}

/// Findings: those of objects all tell, those of a node the replica that serves it.
pub(super) fn findings(answers: Vec<Vec<v1::Finding>>) -> Vec<v1::Finding> {
    let (mut merged, mut known) = (Vec::new(), HashSet::new());
    for finding in answers.into_iter().flatten() {
        // Without since when, which each replica has seen by itself.
        let key =
            (finding.code.clone(), finding.object.clone(), finding.field.clone(), finding.message.clone());
        if known.insert(key) {
            merged.push(finding);
        }
    }
    merged
}

/// What every replica was told of its nodes, the newest last.
pub(super) fn drops(answers: Vec<Vec<v1::DropRow>>) -> Vec<v1::DropRow> {
    let mut all: Vec<v1::DropRow> = answers.into_iter().flatten().collect();
    all.sort_by_key(|row| row.time.map(|at| (at.seconds, at.nanos)));
    all
}

/// Passes of each replica are its own: those of the one whose nodes have acknowledged most.
pub(super) fn passes(answers: Vec<Vec<v1::PassRow>>) -> Vec<v1::PassRow> {
    let acknowledged =
        |rows: &Vec<v1::PassRow>| rows.iter().map(|row| u64::from(row.acknowledged)).sum::<u64>();
    // The first of equals.
    answers.into_iter().rev().max_by_key(|rows| (acknowledged(rows), rows.len())).unwrap_or_default()
}

/// The first receipt, with what others know that nodes have acknowledged.
pub(super) fn receipts(answers: Vec<v1::Receipt>) -> v1::Receipt {
    let mut answers = answers.into_iter();
    let mut merged = answers.next().unwrap_or_default();
    for other in answers.flat_map(|receipt| receipt.nodes) {
        match merged.nodes.iter_mut().find(|node| node.node == other.node) {
            Some(node) if node.applied_revision.is_none() && other.applied_revision.is_some() => {
                *node = other;
            }
            Some(_) => {}
            None => merged.nodes.push(other),
        }
    }
    merged.nodes.sort_by(|a, b| a.node.cmp(&b.node));
    merged
}

fn sum(one: Option<u64>, other: Option<u64>) -> Option<u64> {
    match (one, other) {
        // Counts come from agents, which may say anything.
        (Some(one), Some(other)) => Some(one.saturating_add(other)),
        (one, other) => one.or(other),
    }
}

type Time = Option<prost_types::Timestamp>;

fn later(one: Time, other: Time) -> Time {
    [one, other].into_iter().flatten().max_by_key(|at| (at.seconds, at.nanos))
}

fn earlier(one: Time, other: Time) -> Time {
    [one, other].into_iter().flatten().min_by_key(|at| (at.seconds, at.nanos))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(nodes: u32, enforced: u32, missing: &[&str], drops: Option<u64>) -> v1::PolicyRow {
        let missing = missing.iter().map(|&node| node.to_owned()).collect();
        v1::PolicyRow {
            name: "p".to_owned(),
            nodes,
            enforced: Some(enforced),
            missing,
            drops,
            ..v1::PolicyRow::default()
        }
    }

    #[test]
    fn a_policy_is_in_force_where_any_replica_knows_it_to_be() {
        let [a, b] = [policy(3, 2, &["n3"], Some(1)), policy(3, 1, &["n1", "n2"], Some(2))];
        let merged = policies(vec![vec![a.clone()], vec![b]]);
        assert_eq!((merged[0].enforced, merged[0].missing.len(), merged[0].drops), (Some(3), 0, Some(3)));
        let merged = policies(vec![vec![a.clone()], vec![policy(3, 1, &["n2", "n3"], None)]]);
        assert_eq!((merged[0].enforced, &merged[0].missing[..]), (Some(2), &["n3".to_owned()][..]));
        // Where the names are not all there, nothing is made of them.
        let merged = policies(vec![vec![policy(3, 1, &["n3"], None)], vec![a]]);
        assert_eq!(merged[0].enforced, Some(2));
    }

    #[test]
    fn what_one_replica_knows_of_a_node_is_in_the_answer() {
        let evidence = |node: &str, table_passes, contradiction| v1::Evidence {
            node: node.to_owned(),
            table_passes,
            contradiction,
            ..v1::Evidence::default()
        };
        let answer = |evidence: Vec<v1::Evidence>| v1::ExplainResponse {
            explanations: vec![v1::Explanation { evidence, ..v1::Explanation::default() }],
            notes: Vec::new(),
        };
        let merged = explanations(vec![
            answer(vec![evidence("n1", Some(true), false), evidence("n2", None, false)]),
            answer(vec![
                evidence("n1", None, false),
                evidence("n2", Some(false), true),
                evidence("n3", None, false),
            ]),
        ]);
        let told: Vec<_> = merged.explanations[0]
            .evidence
            .iter()
            .map(|it| (it.node.as_str(), it.table_passes, it.contradiction))
            .collect();
        assert_eq!(told, [("n1", Some(true), false), ("n2", Some(false), true), ("n3", None, false)]);
    }

    #[test]
    fn a_receipt_has_what_any_replica_has_heard() {
        let node = |node: &str, applied: Option<&str>| v1::NodeReceipt {
            node: node.to_owned(),
            applied_revision: applied.map(ToOwned::to_owned),
            ..v1::NodeReceipt::default()
        };
        let receipt = |nodes| v1::Receipt { nodes, ..v1::Receipt::default() };
        let merged = receipts(vec![
            receipt(vec![node("n2", None), node("n1", Some("a"))]),
            receipt(vec![node("n1", None), node("n2", Some("b"))]),
        ]);
        assert_eq!(merged.nodes, [node("n1", Some("a")), node("n2", Some("b"))]);
    }
}
