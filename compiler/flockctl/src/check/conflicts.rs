//! Who else enforces NetworkPolicy beside what is installed: what agents find on their nodes, and DaemonSets. Pure.

use std::collections::BTreeMap;

use flock_shared::listed;

use super::before::Readable;
use super::enforcers::Workload;
use super::finding::{Finding, Section};
use crate::merge::Row;

const CONFLICTS: Section = Section("conflicts");
const NAME: &str = "enforcers";
/// So many are told; a node that was taken over may find whom it likes.
const TOLD: usize = 8;
const REMEDY: &str =
    "a connection passes only if both let it: flock-node-agent --check on such a node says what to do";

/// Where the DaemonSets of the cluster come from.
pub(crate) enum Workloads<'a> {
    /// The API server's answer.
    Of(&'a Readable<Vec<Workload>>),
    /// There is no API server to ask.
    NotAsked,
}

/// All findings: of each other one that enforces, one.
pub(crate) fn judge(rows: &[Row], workloads: &Workloads<'_>) -> Vec<Finding> {
    let mut on_nodes: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for row in rows {
        for who in &row.status.enforcers {
            on_nodes.entry(who).or_default().push(&row.status.node);
        }
    }
    let found = |who: &str, nodes: &[&str]| {
        let count = nodes.len();
        format!(
            "{who} enforces NetworkPolicy on {count} node{}, too: {}",
            if count == 1 { "" } else { "s" },
            listed(nodes)
        )
    };
    let mut all = Vec::new();
    let sets = match workloads {
        Workloads::Of(Ok(workloads)) => &workloads[..],
        Workloads::Of(Err(_)) | Workloads::NotAsked => &[],
    };
    for workload in sets {
        let Some((who, remedy)) = workload.enforcer() else { continue };
        let set = format!("(DaemonSet {}/{})", workload.namespace, workload.name);
        // Taken out: it is told here, and not once more by its nodes alone.
        let found = match on_nodes.remove(who) {
            Some(nodes) => format!("{} {set}", found(who, &nodes)),
            None => format!("{who} enforces NetworkPolicy, too {set}"),
        };
        all.push(CONFLICTS.warn(NAME, found, remedy));
    }
    let more = on_nodes.len().saturating_sub(TOLD);
    all.extend(
        on_nodes.iter().take(TOLD).map(|(who, nodes)| CONFLICTS.warn(NAME, found(who, nodes), REMEDY)),
    );
    if more > 0 {
        all.push(CONFLICTS.warn(NAME, format!("{more} more enforce NetworkPolicy on nodes, too"), REMEDY));
    }
    let nobody = "no node has a trace of another one that enforces NetworkPolicy";
    match workloads {
        // Nobody can be ruled out where only one of both was seen.
        Workloads::Of(Ok(_)) if all.is_empty() => {
            all.push(CONFLICTS.ok(NAME, format!("{nobody}, and no DaemonSet is of one")));
        }
        Workloads::Of(Ok(_)) => {}
        Workloads::Of(Err(error)) => {
            all.push(CONFLICTS.skipped(NAME, format!("DaemonSets are not told: {error}")));
        }
        Workloads::NotAsked => {
            all.push(CONFLICTS.skipped(NAME, "no API server is asked for DaemonSets with --compiler URL"));
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use flock_proto::NodeState;
    use flock_proto::v1::NodeStatus;

    use super::super::finding::State;
    use super::*;

    fn row(node: &str, enforcers: &[&str]) -> Row {
        let status = NodeStatus {
            node: node.to_owned(),
            enforcers: enforcers.iter().map(|who| (*who).to_owned()).collect(),
            ..NodeStatus::default()
        };
        Row { state: NodeState::Current, status, replica: None }
    }

    fn told(rows: &[Row], workloads: &Workloads<'_>) -> Vec<(State, String)> {
        judge(rows, workloads).into_iter().map(|it| (it.state, it.found)).collect()
    }

    #[test]
    fn each_other_one_is_told_once_with_its_nodes() {
        let calico = Workload {
            namespace: "kube-system".to_owned(),
            name: "calico-node".to_owned(),
            ..Workload::default()
        };
        let rows = [row("n1", &["Calico", "kube-router"]), row("n2", &["kube-router"]), row("n3", &[])];
        let expected = [
            "Calico enforces NetworkPolicy on 1 node, too: n1 (DaemonSet kube-system/calico-node)",
            "kube-router enforces NetworkPolicy on 2 nodes, too: n1, n2",
        ];
        let found = told(&rows, &Workloads::Of(&Ok(vec![calico.clone()])));
        assert_eq!(found, expected.map(|it| (State::Warn, it.to_owned())));
        let found = told(&rows[2..], &Workloads::Of(&Ok(vec![calico])));
        let expected = "Calico enforces NetworkPolicy, too (DaemonSet kube-system/calico-node)";
        assert_eq!(found, [(State::Warn, expected.to_owned())]);
    }

    #[test]
    fn what_could_not_be_asked_is_told_beside_what_was_found() {
        let rows = [row("n1", &["kube-router"])];
        let states =
            |found: Vec<(State, String)>| found.into_iter().map(|(state, _)| state).collect::<Vec<_>>();
        assert_eq!(states(told(&rows, &Workloads::NotAsked)), [State::Warn, State::Skipped]);
        let error = Err("forbidden".to_owned());
        assert_eq!(states(told(&rows, &Workloads::Of(&error))), [State::Warn, State::Skipped]);
        assert_eq!(states(told(&[], &Workloads::Of(&Ok(Vec::new())))), [State::Ok]);
    }

    #[test]
    fn a_node_that_finds_whom_it_likes_fills_no_screen() {
        let names: Vec<String> = (10..30).map(|number| format!("x{number}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let found = told(&[row("n1", &names)], &Workloads::Of(&Ok(Vec::new())));
        assert_eq!((found.len(), &*found[8].1), (9, "12 more enforce NetworkPolicy on nodes, too"));
    }
}
