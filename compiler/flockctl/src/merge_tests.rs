//! Tests of merging.

use flock_proto::v1::Outcome;
use prost_types::Timestamp;

use super::*;

const DESIRED: &str = "11111111111111111111111111111111";
const OLDER: &str = "00000000000000000000000000000000";

/// A node that has never been heard of.
fn quiet(node: &str) -> NodeStatus {
    let desired_revision = DESIRED.to_owned();
    NodeStatus { node: node.to_owned(), desired_revision, isolated_pods: 3, ..NodeStatus::default() }
}

/// One with a stream since then, which has the desired revision.
fn served(node: &str, since: i64) -> NodeStatus {
    let stream_since = Some(Timestamp { seconds: since, nanos: 0 });
    let (applied_revision, agent_version) = (DESIRED.to_owned(), "1".to_owned());
    NodeStatus { connected: true, stream_since, applied_revision, agent_version, ..quiet(node) }
}

/// One whose stream ended then.
fn left(node: &str, since: i64) -> NodeStatus {
    NodeStatus { connected: false, ..served(node, since) }
}

fn answer(name: &str, nodes: &[NodeStatus]) -> Answer {
    (name.to_owned(), ListNodesResponse { nodes: nodes.to_vec(), ..ListNodesResponse::default() })
}

/// Name, state and replica of each.
fn told(rows: &[Row]) -> Vec<(&str, NodeState, Option<&str>)> {
    rows.iter().map(|row| (row.status.node.as_str(), row.state, row.replica.as_deref())).collect()
}

#[test]
fn each_node_is_as_the_replica_says_that_serves_it() {
    let behind = NodeStatus { applied_revision: OLDER.to_owned(), ..served("n2", 5) };
    let answers = [
        answer("a", &[served("n1", 5), quiet("n2"), quiet("n3")]),
        answer("b", &[left("n1", 9), behind, quiet("n3")]),
    ];
    let expected = [
        ("n1", NodeState::Current, Some("a")),
        ("n2", NodeState::Behind, Some("b")),
        ("n3", NodeState::NoAgent, None),
    ];
    assert_eq!(told(&rows(&answers, Others::Asked)), expected);
    let mut reversed = answers.clone();
    reversed.reverse();
    assert_eq!(rows(&reversed, Others::Asked), rows(&answers, Others::Asked), "in whatever order");
}

#[test]
fn who_was_not_asked_may_serve_what_nobody_serves() {
    let failed = NodeStatus { last_outcome: Outcome::NftFailed.into(), ..left("n2", 4) };
    let answers = [answer("a", &[served("n1", 5), failed.clone(), quiet("n3")])];
    let found = rows(&answers, Others::MayServe);
    let expected = [
        ("n1", NodeState::Current, Some("a")),
        ("n2", NodeState::NotKnown, None),
        ("n3", NodeState::NotKnown, None),
    ];
    assert_eq!(told(&found), expected);
    assert_eq!(found[1].status, quiet("n2"), "what it once said is not known either");
    let all = rows(&answers, Others::Asked);
    assert_eq!(all[1].state, NodeState::Offline);
    assert_eq!(all[1].status, failed, "when it was last heard of");
}

#[test]
fn the_newest_word_counts_where_several_have_a_stream_or_none_has() {
    let half_open = NodeStatus { applied_revision: OLDER.to_owned(), ..served("n1", 5) };
    let here = [("a", &half_open), ("b", &served("n1", 6))];
    assert_eq!(row(&here, Others::Asked).unwrap().replica.as_deref(), Some("b"));
    let older = NodeStatus { applied_revision: OLDER.to_owned(), ..left("n1", 7) };
    for seen in [[("a", &older), ("b", &left("n1", 8))], [("a", &left("n1", 8)), ("b", &older)]] {
        let row = row(&seen, Others::Asked).unwrap();
        assert_eq!((row.state, &*row.status.applied_revision), (NodeState::Offline, DESIRED));
    }
    let row = row(&[("a", &quiet("n1")), ("b", &left("n1", 8))], Others::Asked).unwrap();
    assert_eq!(row.state, NodeState::Offline, "who never heard of it says less");
}

#[test]
fn a_wrong_name_is_there_while_its_agent_is() {
    let stranger = NodeStatus { unknown: true, ..served("typo", 5) };
    let gone = NodeStatus { unknown: true, ..left("typo", 6) };
    let state = |seen: &[(&str, &NodeStatus)]| row(seen, Others::Asked).map(|row| row.state);
    assert_eq!(state(&[("a", &stranger)]), Some(NodeState::Unknown));
    assert_eq!(state(&[("a", &gone), ("b", &stranger)]), Some(NodeState::Unknown));
    assert_eq!(state(&[("a", &gone)]), None);
    assert_eq!(state(&[]), None);
}

#[test]
fn what_each_says_of_all_counts_before_how_many_were_named() {
    let asked = |named, answered, said: &[u32]| Asked::of_named(named, answered, said.iter().copied());
    for (it, total, others) in [
        (asked(1, 1, &[2]), Some(2), Others::MayServe),
        (asked(1, 1, &[1]), Some(1), Others::Asked),
        (asked(1, 1, &[0]), None, Others::MayServe),
        (asked(2, 2, &[0, 0]), Some(2), Others::Asked),
        (asked(2, 1, &[0]), Some(2), Others::MayServe),
        (asked(2, 1, &[1]), Some(1), Others::Asked),
        (asked(2, 2, &[2, 3]), Some(3), Others::MayServe),
        (asked(3, 3, &[2, 2, 2]), Some(3), Others::Asked),
    ] {
        assert_eq!((it.total, it.others()), (total, others), "{it:?}");
    }
}

#[test]
fn a_replica_that_is_named_twice_is_one() {
    let with = |name: &str, instance: &str| {
        (name.to_owned(), ListNodesResponse { instance: instance.to_owned(), ..ListNodesResponse::default() })
    };
    let names =
        |answers: Vec<Answer>| distinct(answers).into_iter().map(|(name, _)| name).collect::<Vec<_>>();
    assert_eq!(names(vec![with("a", "1"), with("b", "2"), with("c", "1")]), ["a", "b"]);
    assert_eq!(names(vec![with("a", ""), with("b", "")]), ["a", "b"], "older ones do not say");
}

#[test]
fn replicas_at_older_objects_are_told() {
    let at = |name: &str, seen: &str, through: &str| {
        let (seen, through) = (seen.to_owned(), through.to_owned());
        (name.to_owned(), ListNodesResponse { seen, through, ..ListNodesResponse::default() })
    };
    let [a, b] = [at("a", "Node=1,Pod=43", "Node=9,Pod=44"), at("b", "Node=1,Pod=40", "Node=7,Pod=41")];
    let both = [a.clone(), b];
    assert_eq!(
        lagging(&both, &both),
        ["b is at older objects: it has not read Pod 43 of a, it is at 41"],
        "what only bookmarks tell is no difference"
    );
    let later = at("b", "Node=1,Pod=43", "Node=7,Pod=43");
    assert!(lagging(&both, &[a, later]).is_empty(), "it has read it meanwhile");
    let [first, second] = [at("a", "", ""), at("b", "Pod=x,,=", "Pod=1")];
    assert!(lagging(&[first.clone(), second.clone()], &[first, second]).is_empty(), "nothing to compare");
}
