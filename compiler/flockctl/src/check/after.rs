//! `check` of what is installed: what the compilers say, as findings. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use flock_proto::NodeState;
use flock_shared::listed;

use super::finding::{Finding, Section};
use crate::merge::{Asked, Row};

/// What was asked of the compilers.
pub(crate) struct Installation<'a> {
    pub(crate) rows: &'a [Row],
    pub(crate) asked: Asked,
    /// The replicas that were not asked, and why.
    pub(crate) missed: &'a [String],
    /// The replicas that are at older objects, in words.
    pub(crate) lagging: &'a [String],
    /// How long it is until the first certificate ends; `None`: it is not told.
    pub(crate) certificate_left: Option<Duration>,
    /// On how many nodes the agents' DaemonSet wants one; `None`: it is not known.
    pub(crate) agents_wanted: Option<usize>,
    /// How many problems of objects there are; `None`: they may not be seen.
    pub(crate) problems: Option<usize>,
    /// Where it is installed.
    pub(crate) namespace: &'a str,
    /// What is called to ask for more.
    pub(crate) program: String,
}

const COMPILERS: Section = Section("compilers");
const NODES: Section = Section("nodes");
const DATAPATH: Section = Section("datapath");
const OBJECTS: Section = Section("objects");

/// So many nodes are told one by one.
const TOLD: usize = 8;

const DAY: u64 = 24 * 60 * 60;
/// A certificate that ends sooner should have been renewed; as of alert `FlockCertificateExpiring`.
const CLOSE: Duration = Duration::from_secs(7 * DAY);

/// What a state comes to here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    /// It has the rules that it should have, whatever passes them by.
    Enforces,
    /// It does not, and its agent is served.
    Late,
    /// Its agent is sent nothing.
    TooOld,
    /// There is no such node.
    Nameless,
    /// No agent is there.
    Away,
    /// Nobody who was asked knows.
    Hidden,
}

impl Standing {
    const fn of(state: NodeState) -> Self {
        match state {
            NodeState::Current | NodeState::NotJudged => Self::Enforces,
            NodeState::Behind | NodeState::Failing | NodeState::Closed => Self::Late,
            NodeState::TooOld => Self::TooOld,
            NodeState::Unknown => Self::Nameless,
            NodeState::NoAgent | NodeState::Offline => Self::Away,
            NodeState::NotKnown => Self::Hidden,
        }
    }
}

/// All findings of the compilers, their nodes and objects.
pub(crate) fn judge(it: &Installation<'_>) -> Vec<Finding> {
    let mut all = compilers(it);
    all.extend(nodes(it));
    all.extend(datapath(it.rows));
    all.extend(addresses(it.rows));
    all.push(match it.problems {
        None => OBJECTS.skipped("problems", "problems of objects may not be seen"),
        Some(0) => OBJECTS.ok("problems", "no object is misunderstood or contradictory"),
        Some(count) => OBJECTS.warn(
            "problems",
            format!("{count} problem(s) in the cluster's objects"),
            &format!("{} problems", it.program),
        ),
    });
    all
}

fn compilers(it: &Installation<'_>) -> Vec<Finding> {
    let Asked { asked, total } = it.asked;
    let namespace = it.namespace;
    let ready = match total {
        Some(total) if asked < total => COMPILERS.fail(
            "ready",
            format!("{asked} of {total} answer: {}", it.missed.join("; ")),
            &format!("kubectl -n {namespace} describe pods -l app.kubernetes.io/name=flock-compiler"),
        ),
        Some(total) => COMPILERS.ok("ready", format!("{asked} of {total} ready")),
        None => COMPILERS.ok("ready", format!("{asked} answers; how many there are it cannot tell")),
    };
    let same = match it.lagging {
        [] => COMPILERS.ok("objects", "at the same objects"),
        lagging => COMPILERS.fail(
            "objects",
            lagging.join("; "),
            "if it lasts: the log of that replica, and its way to the API server",
        ),
    };
    let certificate = it.certificate_left.map(|left| {
        let days = left.as_secs() / DAY;
        match () {
            () if left.is_zero() => COMPILERS.fail(
                "certificate",
                "a certificate has ended: no agent can connect",
                "the logs of the compilers, which renew it ten days before",
            ),
            () if left < CLOSE => COMPILERS.warn(
                "certificate",
                format!("certificate ends in {days} d"),
                "the logs of the compilers, which renew it ten days before",
            ),
            () => COMPILERS.ok("certificate", format!("certificate ends in {days} d")),
        }
    });
    [ready, same].into_iter().chain(certificate).collect()
}

fn nodes(it: &Installation<'_>) -> Vec<Finding> {
    let total = it.rows.len();
    let all_that = |standing: Standing| it.rows.iter().filter(move |row| Standing::of(row.state) == standing);
    let names = |standing| -> Vec<&str> { all_that(standing).map(|row| row.status.node.as_str()).collect() };
    if total == 0 {
        return vec![NODES.fail("agents", "no node is known to the compilers", "kubectl get nodes")];
    }
    let program = &it.program;
    let behind = format!("{program} nodes --behind");
    let namespace = it.namespace;
    let rollout = format!("kubectl -n {namespace} rollout status ds/flock-node-agent");
    let (away, hidden, unknown) = (names(Standing::Away), names(Standing::Hidden), names(Standing::Nameless));
    let connected = total - away.len() - hidden.len();
    // Where all agents are that are wanted, the others are left out by its node selector, or can have none (virtual nodes,
    // Windows).
    // Agents of no node are connected, too, and not wanted; a DaemonSet that wants none leaves nobody out.
    let is_left_out = it.agents_wanted.is_some_and(|wanted| connected - unknown.len() >= wanted.max(1));
    let (left_out, away) = if is_left_out { (away, Vec::new()) } else { (Vec::new(), away) };
    let total = total - left_out.len();
    let mut all = vec![match (&away[..], &hidden[..]) {
        ([], []) => NODES.ok("agents", format!("{connected} of {total} agents connected")),
        ([], hidden) => NODES.fail(
            "agents",
            format!("{connected} of {total} agents connected; of {} it is not known", listed(hidden)),
            "they may be with a replica that was not asked",
        ),
        (away, _) => NODES.fail(
            "agents",
            format!("{connected} of {total} agents connected; none on {}", listed(away)),
            &format!("kubectl -n {namespace} get pods -o wide -l app.kubernetes.io/name=flock-node-agent"),
        ),
    }];
    if !left_out.is_empty() {
        let count = left_out.len();
        let found = format!(
            "the agents' DaemonSet leaves out {count} node{}: {}; policies are not enforced there",
            if count == 1 { "" } else { "s" },
            listed(&left_out)
        );
        all.push(NODES.warn("left-out", found, "its nodeSelector and tolerations, if that is not meant"));
    }
    let applied = all_that(Standing::Enforces).count();
    let late: Vec<String> = all_that(Standing::Late)
        // Below the first line nft quotes what it is about.
        .map(|row| match row.status.last_error.lines().next() {
            Some(error) => format!("{} is {}: {error}", row.status.node, row.state.as_str()),
            None => format!("{} is {}", row.status.node, row.state.as_str()),
        })
        .collect();
    all.push(match &late[..] {
        [] if applied == total => {
            NODES.ok("enforced", format!("{applied} of {total} enforce the desired revision"))
        }
        // Nobody is late, and not all enforce: the others are away, too old, of no node, or not known.
        [] => NODES.fail("enforced", format!("{applied} of {total} enforce the desired revision"), &behind),
        late => {
            let found = format!("{applied} of {total} enforce the desired revision; {}", listed(late));
            NODES.fail("enforced", found, &behind)
        }
    });
    let too_old = names(Standing::TooOld);
    if !too_old.is_empty() {
        let found = format!(
            "agents too old for these compilers get no script and keep the tables that they have: {}",
            listed(&too_old)
        );
        all.push(NODES.fail("too-old", found, &format!("update them: {rollout}")));
    }
    if !unknown.is_empty() {
        let found = format!("agents of no node: {}", listed(&unknown));
        all.push(NODES.fail("names", found, "--node of the agent is not the name of its Node"));
    }
    all.extend(versions(it.rows, &rollout));
    all
}

/// Several versions of agents at once: as it is during a rollout.
fn versions(rows: &[Row], rollout: &str) -> Option<Finding> {
    let mut all: BTreeMap<&str, usize> = BTreeMap::new();
    for row in rows.iter().filter(|row| !row.status.agent_version.is_empty()) {
        *all.entry(&row.status.agent_version).or_default() += 1;
    }
    let words: Vec<String> = all.iter().map(|(version, count)| format!("{version} on {count}")).collect();
    match words.len() {
        0 => None,
        1 => {
            Some(NODES.ok("versions", format!("agents are of version {}", all.keys().next().unwrap_or(&""))))
        }
        _ => Some(NODES.warn(
            "versions",
            format!("agents are of several versions: {}", listed(&words)),
            rollout,
        )),
    }
}

/// What is not judged, node by node where there are few.
fn datapath(rows: &[Row]) -> Vec<Finding> {
    let unjudged: Vec<&Row> = rows.iter().filter(|row| !row.status.not_judged.is_empty()).collect();
    let remedy = "flock-node-agent --check on the node, and FlockNodesNotJudged in deploy/README.md";
    if unjudged.is_empty() {
        let seen = rows.iter().filter(|row| matches!(row.state, NodeState::Current)).count();
        return vec![match seen {
            0 => DATAPATH.skipped("judged", "no node enforces yet"),
            _ => DATAPATH.ok("judged", format!("nothing passes the rules by on {seen} nodes")),
        }];
    }
    let one = |row: &&Row| {
        let found = format!("{}: {}", row.status.node, row.status.not_judged.join("; "));
        DATAPATH.fail("judged", found, remedy)
    };
    let mut all: Vec<Finding> = unjudged.iter().take(TOLD).map(one).collect();
    let more = unjudged.len().saturating_sub(TOLD);
    if more > 0 {
        let rest = unjudged.iter().skip(TOLD).flat_map(|row| &row.status.not_judged);
        // Nodes that are alike give the same reasons: each is told once.
        let reasons: BTreeSet<&String> = rest.collect();
        let reasons: Vec<&&String> = reasons.iter().collect();
        all.push(DATAPATH.fail("judged", format!("{more} nodes more: {}", listed(&reasons)), remedy));
    }
    all
}

/// Addresses of pods that are in none of their nodes' pod CIDRs; `None`: no compiler tells.
fn addresses(rows: &[Row]) -> Option<Finding> {
    let name = "addresses";
    let mut told =
        rows.iter().filter_map(|row| Some((&row.status.node, row.status.outside_pod_cidrs?))).peekable();
    told.peek()?;
    let outside: Vec<(&String, u32)> = told.filter(|(_, count)| *count > 0).collect();
    if outside.is_empty() {
        return Some(DATAPATH.ok(name, "no address of a pod is outside of its node's pod CIDRs"));
    }
    let count: u64 = outside.iter().map(|(_, count)| u64::from(*count)).sum();
    let nodes: Vec<String> = outside.iter().map(|(node, count)| format!("{node} ({count})")).collect();
    let found = format!(
        "{count} address(es) of pods are in none of their nodes' pod CIDRs: {}; pods like them are judged once their addresses \
         are known, and not guarded before",
        listed(&nodes)
    );
    Some(DATAPATH.warn(
        name,
        found,
        "where the CNI has pools of its own: flock-cni, which makes pods known before they start, or --unready-pods allow",
    ))
}

#[cfg(test)]
#[path = "after_tests.rs"]
mod tests;
