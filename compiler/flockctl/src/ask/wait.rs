//! `wait`: asks again and again until something is so.

use std::time::Duration;

use flock_proto::{NodeState, v1};
use flock_shared::listed;
use serde::Serialize;
use tokio::time::Instant;

use super::Awaited;
use super::compilers::Compilers;
use crate::failure::{Failure, Kind};
use crate::merge::Row;
use crate::nodes;

/// Between two looks: changes are in force within milliseconds, and a look costs a compiler little.
const PERIOD: Duration = Duration::from_millis(500);
/// What was applied a moment ago, its namespace too, need not be known to the compilers yet.
const GRACE: Duration = Duration::from_secs(3);
/// So many are named.
const NAMED: usize = 10;

/// How the waiting ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Waited {
    pub(super) done: bool,
    /// What is so, or what is missing.
    pub(super) state: String,
    /// The nodes on which it is missing.
    pub(super) missing: Vec<String>,
}

/// Waits.
///
/// # Errors
/// When it cannot be asked, or nobody answers until the time is over.
pub(super) async fn wait(
    compilers: &mut Compilers,
    what: &Awaited,
    timeout: Duration,
) -> Result<Waited, Failure> {
    let begun = Instant::now();
    loop {
        let looked = look(compilers, what).await;
        let waited = begun.elapsed();
        // When no time is left for another look, sleeping until the end would change nothing.
        let is_over = waited + PERIOD > timeout;
        match looked {
            Ok(state) if state.done || is_over => return Ok(state),
            Ok(_) => {}
            Err(failure) if failure.kind.is_question() && waited > GRACE.min(timeout) => {
                return Err(failure);
            }
            Err(failure) if is_over => return Err(failure),
            // Replicas go and tokens end: others are gone to, with another token.
            Err(failure) if !failure.kind.is_question() => {
                tokio::time::sleep(PERIOD).await;
                // Whether somebody can be reached is told by the next look.
                let _ = compilers.reopen().await;
                continue;
            }
            // A refusal costs the connection: who fails is asked nothing more.
            Err(_) => compilers.reopen().await?,
        }
        tokio::time::sleep(PERIOD.min(timeout.saturating_sub(waited))).await;
    }
}

async fn look(compilers: &mut Compilers, what: &Awaited) -> Result<Waited, Failure> {
    match what {
        Awaited::Nodes { all } => {
            let rows = nodes::look(&mut compilers.replicas).await?.rows;
            Ok(of_nodes(&rows, *all))
        }
        Awaited::Enforced { namespace, name } => {
            let request =
                v1::ListPoliciesRequest { namespace: namespace.to_string(), name: name.to_string() };
            let rows = compilers.policies(&request).await?;
            // Of a namespace and a name there is one row at most.
            Ok(of_policy(&format!("{namespace}/{name}"), rows.first()))
        }
        Awaited::Gone { namespace, name } => {
            let request =
                v1::ListPoliciesRequest { namespace: namespace.to_string(), name: name.to_string() };
            // Where its namespace is gone too, so is the policy.
            let rows = match compilers.policies(&request).await {
                Err(failure) if failure.kind == Kind::NotThere => {
                    // The refusal has cost the connections, and the nodes are still to be asked about.
                    compilers.reopen().await?;
                    Vec::new()
                }
                rows => rows?,
            };
            if !rows.is_empty() {
                return Ok(missing(format!("{namespace}/{name} is still there"), Vec::new()));
            }
            let rows = nodes::look(&mut compilers.replicas).await?.rows;
            Ok(of_gone(&format!("{namespace}/{name}"), &rows))
        }
    }
}

fn done(state: String) -> Waited {
    Waited { done: true, state, missing: Vec::new() }
}

fn missing(state: String, missing: Vec<String>) -> Waited {
    Waited { done: false, state, missing }
}

/// Some names, and how many more there are.
fn some(names: &[String]) -> String {
    match names.len().checked_sub(NAMED) {
        Some(more) if more > 0 => {
            let first: Vec<String> = names.iter().take(NAMED).cloned().collect();
            format!("{} and {more} more", first.join(", "))
        }
        _ => listed(names),
    }
}

fn of_policy(policy: &str, row: Option<&v1::PolicyRow>) -> Waited {
    let Some(row) = row else {
        return missing(format!("{policy} is not known to the compilers"), Vec::new());
    };
    if !row.understood {
        let state = format!(
            "{policy} is not understood, and isolates without allowing anything: `problems` says why"
        );
        return missing(state, Vec::new());
    }
    match (row.nodes, row.enforced) {
        // It has nowhere to come into force, so there is nothing to wait for.
        (0, _) => done(format!("{policy} selects no pod on any node")),
        (nodes, Some(enforced)) if enforced >= nodes => {
            done(format!("{policy} is in force on {enforced} of {nodes} nodes"))
        }
        (nodes, enforced) => {
            let enforced = enforced.unwrap_or_default();
            let on = if row.missing.is_empty() {
                String::new()
            } else {
                format!(", not on {}", some(&row.missing))
            };
            missing(format!("{policy} is in force on {enforced} of {nodes} nodes{on}"), row.missing.clone())
        }
    }
}

fn of_nodes(rows: &[Row], all: bool) -> Waited {
    let is_awaited = |row: &&Row| all || row.state != NodeState::NoAgent;
    let awaited: Vec<&Row> = rows.iter().filter(is_awaited).collect();
    let behind: Vec<&Row> = awaited.iter().copied().filter(|row| !row.is_current()).collect();
    let words =
        format!("{} of {} nodes enforce the desired revision", awaited.len() - behind.len(), awaited.len());
    // Before the first agent has come, all of none would be current.
    if awaited.is_empty() {
        return missing("no node has an agent".to_owned(), Vec::new());
    }
    if behind.is_empty() {
        return done(words);
    }
    let named: Vec<String> =
        behind.iter().map(|row| format!("{} ({})", row.status.node, row.state.as_str())).collect();
    let names = behind.iter().map(|row| row.status.node.clone()).collect();
    missing(format!("{words}, not {}", some(&named)), names)
}

/// A policy that is not there is in force on nodes that are not current, as long as they have a table.
fn of_gone(policy: &str, rows: &[Row]) -> Waited {
    let still: Vec<String> = rows
        .iter()
        .filter(|row| !row.is_current() && !row.status.applied_revision.is_empty())
        .map(|row| row.status.node.clone())
        .collect();
    match still.is_empty() {
        true => done(format!("{policy} is gone, and no node enforces it")),
        false => {
            let state = format!("{policy} is gone, and may be in force on {}, not current yet", some(&still));
            missing(state, still)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(node: &str, state: NodeState, applied: &str) -> Row {
        let status = v1::NodeStatus {
            node: node.into(),
            applied_revision: applied.into(),
            ..v1::NodeStatus::default()
        };
        Row { state, status, replica: None }
    }

    #[test]
    fn a_policy_is_waited_for_on_each_of_its_nodes() {
        let policy = |nodes, enforced, missing: &[&str]| v1::PolicyRow {
            nodes,
            enforced,
            missing: missing.iter().map(|&it| it.to_owned()).collect(),
            understood: true,
            ..v1::PolicyRow::default()
        };
        let of = |row: &v1::PolicyRow| of_policy("shop/web", Some(row));
        assert!(!of_policy("shop/web", None).done);
        assert!(of(&policy(2, Some(2), &[])).done);
        assert!(of(&policy(0, Some(0), &[])).done);
        let waited = of(&policy(2, Some(1), &["n2"]));
        assert_eq!(
            (waited.done, waited.state.as_str()),
            (false, "shop/web is in force on 1 of 2 nodes, not on n2")
        );
        assert!(!of(&policy(2, None, &[])).done);
        let not_understood = v1::PolicyRow { understood: false, ..policy(2, Some(2), &[]) };
        assert!(!of(&not_understood).done);
    }

    #[test]
    fn nodes_without_an_agent_are_waited_for_if_all_are() {
        let rows = [row("n1", NodeState::Current, "a"), row("n2", NodeState::NoAgent, "")];
        assert!(of_nodes(&rows, false).done);
        assert_eq!(of_nodes(&rows, true).missing, ["n2"]);
        assert!(!of_nodes(&[], false).done);
    }

    #[test]
    fn a_policy_is_gone_when_no_table_can_have_it() {
        let current = row("n1", NodeState::Current, "a");
        assert!(of_gone("shop/web", &[current.clone(), row("n2", NodeState::NoAgent, "")]).done);
        for state in [NodeState::Behind, NodeState::Offline, NodeState::Failing] {
            assert_eq!(of_gone("shop/web", &[current.clone(), row("n2", state, "b")]).missing, ["n2"]);
        }
    }

    #[test]
    fn of_many_some_are_named() {
        let names: Vec<String> = (0..12).map(|it| format!("n{it}")).collect();
        assert_eq!(some(&names[..2]), "n0, n1");
        assert!(some(&names).ends_with("n9 and 2 more"));
    }
}
