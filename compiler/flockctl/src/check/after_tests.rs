//! Each finding of what is installed.

use flock_proto::v1::NodeStatus;

use super::super::finding::State;
use super::*;

fn row(node: &str, state: NodeState) -> Row {
    let status =
        NodeStatus { node: node.to_owned(), agent_version: "0.2.0".to_owned(), ..NodeStatus::default() };
    Row { state, status, replica: Some("a".to_owned()) }
}

const BOTH: Asked = Asked { asked: 2, total: Some(2) };

/// With nothing wrong beside `rows`.
fn installation(rows: &[Row]) -> Installation<'_> {
    Installation {
        rows,
        asked: BOTH,
        missed: &[],
        lagging: &[],
        certificate_left: Some(Duration::from_secs(19 * DAY + 5)),
        agents_wanted: None,
        problems: Some(0),
        namespace: "flock-system",
        program: "kubectl flock".to_owned(),
    }
}

fn found(rows: &[Row], asked: Asked, lagging: &[String], problems: Option<usize>) -> Vec<Finding> {
    let missed = ["pod b was not asked: it is not ready".to_owned()];
    let missed = if asked == BOTH { &[][..] } else { &missed };
    judge(&Installation { asked, missed, lagging, problems, ..installation(rows) })
}

fn of(rows: &[Row]) -> Vec<Finding> {
    found(rows, BOTH, &[], Some(0))
}

fn wrong(findings: &[Finding]) -> Vec<(&str, State, &str)> {
    let bad = findings.iter().filter(|it| matches!(it.state, State::Warn | State::Fail));
    bad.map(|it| (it.name, it.state, it.found.as_str())).collect()
}

#[test]
fn of_nodes_that_are_current_nothing_is_wrong() {
    let findings = of(&[row("n1", NodeState::Current), row("n2", NodeState::Current)]);
    let words: Vec<_> = findings.iter().map(|it| it.found.as_str()).collect();
    let expected = [
        "2 of 2 ready",
        "at the same objects",
        "certificate ends in 19 d",
        "2 of 2 agents connected",
        "2 of 2 enforce the desired revision",
        "agents are of version 0.2.0",
        "nothing passes the rules by on 2 nodes",
        "no object is misunderstood or contradictory",
    ];
    assert_eq!(words, expected);
    assert!(findings.iter().all(|it| it.state == State::Ok));
}

#[test]
fn compilers_that_do_not_answer_or_lag() {
    let rows = [row("n1", NodeState::Current)];
    let findings = found(&rows, Asked { asked: 1, total: Some(2) }, &[], Some(0));
    let expected = "1 of 2 answer: pod b was not asked: it is not ready";
    assert_eq!(wrong(&findings), [("ready", State::Fail, expected)]);
    let findings = found(&rows, BOTH, &["b is at older objects".to_owned()], Some(0));
    assert_eq!(wrong(&findings), [("objects", State::Fail, "b is at older objects")]);
}

#[test]
fn nodes_that_are_not_current_are_named() {
    let enforces = |state: &NodeState| Standing::of(*state) == Standing::Enforces;
    let wrong_ones = NodeState::ALL.into_iter().filter(|state| !enforces(state));
    for state in wrong_ones {
        let expected = match state {
            NodeState::Unknown => &["enforced", "names"][..],
            NodeState::TooOld => &["enforced", "too-old"],
            _ if state.is_served() => &["enforced"],
            _ => &["agents", "enforced"],
        };
        let findings = of(&[row("n1", NodeState::Current), row("n2", state)]);
        let names: Vec<_> = wrong(&findings).iter().map(|(name, ..)| *name).collect();
        assert_eq!(names, expected, "{state:?}");
        assert!(findings.iter().any(|it| it.found.starts_with("1 of 2 enforce")), "{state:?}");
        assert!(wrong(&findings).iter().any(|(.., found)| found.contains("n2")), "{state:?}");
    }
    assert_eq!(wrong(&of(&[]))[0].2, "no node is known to the compilers");
}

#[test]
fn nodes_that_the_daemon_set_leaves_out_are_told_apart_and_are_no_failure() {
    let judged = |rows: &[Row], agents_wanted| judge(&Installation { agents_wanted, ..installation(rows) });
    let rows = [row("n1", NodeState::Current), row("windows", NodeState::NoAgent)];
    let left_out = "the agents' DaemonSet leaves out 1 node: windows; policies are not enforced there";
    let findings = judged(&rows, Some(1));
    assert_eq!(wrong(&findings), [("left-out", State::Warn, left_out)]);
    assert!(findings.iter().any(|it| it.found == "1 of 1 enforce the desired revision"));
    for wanted in [None, Some(2)] {
        let findings = judged(&rows, wanted);
        let names: Vec<_> = wrong(&findings).iter().map(|(name, ..)| *name).collect();
        assert_eq!(names, ["agents", "enforced"], "{wanted:?}");
    }
    // One that says a wrong name is none of those that are wanted, and none at all is no choice.
    let nameless = [row("n1", NodeState::NoAgent), row("other", NodeState::Unknown)];
    assert!(wrong(&judged(&nameless, Some(1))).iter().any(|(name, ..)| *name == "agents"));
    let none = [row("n1", NodeState::NoAgent)];
    assert!(wrong(&judged(&none, Some(0))).iter().any(|(name, ..)| *name == "agents"));
}

#[test]
fn why_a_node_fails_is_told() {
    let mut failing = row("n2", NodeState::Failing);
    failing.status.last_error = "nft: no\nmore".to_owned();
    let findings = of(&[row("n1", NodeState::Current), failing]);
    assert_eq!(wrong(&findings)[0].2, "1 of 2 enforce the desired revision; n2 is failing: nft: no");
}

#[test]
fn what_passes_the_rules_by_is_told_by_node() {
    let unjudged = |name: &str| {
        let mut row = row(name, NodeState::NotJudged);
        row.status.not_judged = vec!["pods hang on bridge cni0".to_owned()];
        row
    };
    let findings = of(&[row("n1", NodeState::Current), unjudged("worker-7")]);
    assert_eq!(wrong(&findings), [("judged", State::Fail, "worker-7: pods hang on bridge cni0")]);
    let many: Vec<Row> = (0..20).map(|index| unjudged(&format!("w{index}"))).collect();
    let findings = of(&many);
    assert_eq!(wrong(&findings).len(), 9);
    assert_eq!(wrong(&findings)[8].2, "12 nodes more: pods hang on bridge cni0");
}

#[test]
fn versions_and_problems_are_warnings() {
    let mut old = row("n2", NodeState::Current);
    old.status.agent_version = "0.1.0".to_owned();
    let findings = found(&[row("n1", NodeState::Current), old], BOTH, &[], Some(3));
    let expected = [
        ("versions", State::Warn, "agents are of several versions: 0.1.0 on 1, 0.2.0 on 1"),
        ("problems", State::Warn, "3 problem(s) in the cluster's objects"),
    ];
    assert_eq!(wrong(&findings), expected);
    let hidden = found(&[row("n1", NodeState::Current)], BOTH, &[], None);
    assert_eq!(hidden.last().unwrap().state, State::Skipped);
}

#[test]
fn a_certificate_that_is_not_renewed_is_told_before_it_ends() {
    let rows = [row("n1", NodeState::Current)];
    let of = |certificate_left| {
        let it = Installation { certificate_left, ..installation(&rows) };
        judge(&it).into_iter().find(|it| it.name == "certificate").map(|it| (it.state, it.found))
    };
    assert_eq!(of(None), None);
    for (days, state) in [(7, State::Ok), (6, State::Warn)] {
        let found = of(Some(Duration::from_secs(days * DAY)));
        assert_eq!(found, Some((state, format!("certificate ends in {days} d"))));
    }
    assert_eq!(of(Some(Duration::ZERO)).unwrap().0, State::Fail);
}

#[test]
fn addresses_outside_of_pod_cidrs_are_told_with_their_nodes() {
    let with = |name: &str, outside_pod_cidrs| {
        let mut row = row(name, NodeState::Current);
        row.status.outside_pod_cidrs = outside_pod_cidrs;
        row
    };
    let told = |rows: &[Row]| of(rows).into_iter().find(|it| it.name == "addresses");
    assert_eq!(told(&[with("n1", None)]), None, "an older compiler does not tell");
    assert_eq!(told(&[with("n1", Some(0)), with("n2", None)]).unwrap().state, State::Ok);
    let found = told(&[with("n1", Some(3)), with("n2", Some(0)), with("n3", Some(40))]).unwrap();
    assert_eq!(found.state, State::Warn);
    let expected = "43 address(es) of pods are in none of their nodes' pod CIDRs: n1 (3), n3 (40); ";
    assert!(found.found.starts_with(expected), "{}", found.found);
}
