//! What json and yaml show: the messages of the debug service with readable names, times and outcomes.

use flock_proto::v1;
use serde::Serialize;

use crate::merge::Row;

/// One node. What is not known is `null`.
#[derive(Debug, Serialize)]
pub(crate) struct Node<'a> {
    node: &'a str,
    state: &'static str,
    /// The replica that its agent has its stream with.
    replica: Option<&'a str>,
    desired_revision: Option<&'a str>,
    desired_since: Option<String>,
    applied_revision: Option<&'a str>,
    applied_since: Option<String>,
    behind_since: Option<String>,
    current: Option<bool>,
    unknown: bool,
    connected: Option<bool>,
    agent_version: Option<&'a str>,
    nft_version: Option<&'a str>,
    last_outcome: Option<String>,
    last_error: Option<&'a str>,
    last_error_at: Option<String>,
    last_took_ms: Option<f64>,
    script_bytes: u64,
    isolated_pods: u32,
    drifts: Option<u32>,
    not_judged: Option<&'a [String]>,
    closed: Option<&'a str>,
    too_old: Option<bool>,
}

/// What a table says of an agent that takes no script of the compiler.
pub(crate) const TOO_OLD: &str =
    "its agent is older than the compiler's scripts, and keeps the table that it has: update it";

fn present(text: &str) -> Option<&str> {
    (!text.is_empty()).then_some(text)
}

/// Returns true if the kernel had what the objects ask for when it was last heard of.
fn is_current(status: &v1::NodeStatus) -> bool {
    // Whether something passes the rules by is no part of this: `state` and `not_judged` tell.
    !status.unknown
        && !status.desired_revision.is_empty()
        && status.desired_revision == status.applied_revision
}

/// The newest outcome that left the desired revision unapplied, in lower case.
pub(crate) fn outcome(status: &v1::NodeStatus) -> Option<String> {
    match status.last_outcome() {
        v1::Outcome::Unspecified => None,
        outcome => Some(outcome.as_str_name().trim_start_matches("OUTCOME_").to_lowercase()),
    }
}

/// How long the newest update took on the node, in milliseconds.
pub(crate) fn took_ms(status: &v1::NodeStatus) -> Option<f64> {
    // A message may hold a span below zero, which tells nothing.
    let took = std::time::Duration::try_from(status.last_took?).ok()?;
    Some((took.as_secs_f64() * 1e4).round() / 10.0)
}

impl<'a> From<&'a Row> for Node<'a> {
    fn from(row: &'a Row) -> Self {
        let time = |at: &Option<prost_types::Timestamp>| at.map(|at| at.to_string());
        let Row { status, replica, .. } = row;
        let is_known = !row.is_not_known();
        Self {
            node: &status.node,
            state: row.state.as_str(),
            replica: replica.as_deref(),
            desired_revision: present(&status.desired_revision),
            desired_since: time(&status.desired_since),
            applied_revision: present(&status.applied_revision),
            applied_since: time(&status.applied_since),
            behind_since: time(&status.behind_since),
            // `false` would claim to know that it is not.
            current: is_known.then(|| is_current(status)),
            unknown: status.unknown,
            connected: is_known.then_some(status.connected),
            agent_version: present(&status.agent_version),
            nft_version: present(&status.nft_version),
            last_outcome: outcome(status),
            last_error: present(&status.last_error),
            last_error_at: time(&status.last_error_at),
            last_took_ms: took_ms(status),
            script_bytes: status.script_bytes,
            isolated_pods: status.isolated_pods,
            drifts: is_known.then_some(status.drifts),
            not_judged: is_known.then_some(status.not_judged.as_slice()),
            closed: present(&status.closed),
            too_old: is_known.then_some(status.too_old),
        }
    }
}

/// A script; `script` is text, as every script is ASCII.
#[derive(Debug, Serialize)]
pub(crate) struct Script<'a> {
    pub(crate) revision: &'a str,
    pub(crate) sha256: String,
    pub(crate) script: String,
}

/// A problem.
#[derive(Debug, Serialize)]
pub(crate) struct Problem<'a> {
    source: &'a str,
    object: &'a str,
    field: &'a str,
    message: &'a str,
    consequence: &'a str,
}

impl<'a> From<&'a v1::Problem> for Problem<'a> {
    fn from(problem: &'a v1::Problem) -> Self {
        let v1::Problem { source, object, field, message, consequence } = problem;
        Self { source, object, field, message, consequence }
    }
}

/// An output.
#[derive(Debug, Serialize)]
pub(crate) struct Output {
    pub(crate) node: String,
    pub(crate) revision: String,
    pub(crate) subjects: Vec<Subject>,
    pub(crate) rule_sets: Vec<RuleSet>,
    pub(crate) address_sets: Vec<AddressSet>,
    pub(crate) anchors: Vec<Anchor>,
    pub(crate) unready: Option<Unready>,
    pub(crate) attached: Vec<AttachedPod>,
}

/// What CNI's plugin reported of a pod.
#[derive(Debug, Serialize)]
pub(crate) struct AttachedPod {
    pub(crate) pod: String,
    pub(crate) uid: String,
    pub(crate) addresses: Vec<String>,
    pub(crate) interface: Option<String>,
    pub(crate) detached: bool,
}

/// Blocks in which addresses are isolated unless a pod is known to own them.
#[derive(Debug, Serialize)]
pub(crate) struct Unready {
    pub(crate) pod_cidrs: Vec<String>,
    pub(crate) known_addresses: Vec<String>,
    pub(crate) ingress: &'static str,
    pub(crate) egress: &'static str,
    pub(crate) expected: Vec<String>,
}

/// An address of a local pod.
#[derive(Debug, Serialize)]
pub(crate) struct Subject {
    pub(crate) address: String,
    pub(crate) pods: Vec<String>,
    pub(crate) ingress: Isolation,
    pub(crate) egress: Isolation,
}

/// How an address is isolated in one direction.
#[derive(Debug, Serialize)]
pub(crate) struct Isolation {
    pub(crate) isolated: bool,
    pub(crate) rule_sets: Vec<String>,
}

/// What a group of pods allows in one direction.
#[derive(Debug, Serialize)]
pub(crate) struct RuleSet {
    pub(crate) name: String,
    pub(crate) any_port: Peers,
    pub(crate) ports: Vec<PortPeers>,
    pub(crate) named_destinations: Vec<String>,
    pub(crate) contested: Vec<String>,
}

/// Peers of some ports.
#[derive(Debug, Serialize)]
pub(crate) struct PortPeers {
    pub(crate) protocol: String,
    pub(crate) first_port: u32,
    pub(crate) last_port: u32,
    pub(crate) peers: Peers,
}

/// A union of peers.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Peers {
    pub(crate) address_set: Option<String>,
    pub(crate) blocks: Vec<String>,
}

/// Addresses of the pods that some selectors match.
#[derive(Debug, Serialize)]
pub(crate) struct AddressSet {
    pub(crate) name: String,
    pub(crate) selectors: Vec<String>,
    pub(crate) addresses: Vec<String>,
}

/// What may enter from an interface.
#[derive(Debug, Serialize)]
pub(crate) struct Anchor {
    pub(crate) interface: String,
    pub(crate) addresses: Vec<String>,
}

impl From<v1::GetOutputResponse> for Output {
    fn from(response: v1::GetOutputResponse) -> Self {
        let output = response.output.unwrap_or_default();
        Self {
            node: output.node,
            revision: response.revision,
            subjects: output.subjects.into_iter().map(Into::into).collect(),
            rule_sets: output.rule_sets.into_iter().map(Into::into).collect(),
            address_sets: output
                .address_sets
                .into_iter()
                .map(|set| AddressSet { name: set.name, selectors: set.selectors, addresses: set.addresses })
                .collect(),
            anchors: output
                .anchors
                .into_iter()
                .map(|anchor| Anchor { interface: anchor.interface, addresses: anchor.addresses })
                .collect(),
            unready: output.unready.map(Into::into),
            attached: response.attached.into_iter().map(Into::into).collect(),
        }
    }
}

impl From<v1::Unready> for Unready {
    fn from(unready: v1::Unready) -> Self {
        let word = |closed: v1::Closed| match closed {
            // What compilers of before there was anything else do.
            v1::Closed::Unspecified | v1::Closed::Always => "always",
            v1::Closed::WhileExpected => "expected",
            v1::Closed::Unattended => "unattended",
        };
        let (ingress, egress) = (word(unready.ingress()), word(unready.egress()));
        let v1::Unready { pod_cidrs, known_addresses, expected, .. } = unready;
        Self { pod_cidrs, known_addresses, ingress, egress, expected }
    }
}

impl From<v1::AttachedPod> for AttachedPod {
    fn from(sandbox: v1::AttachedPod) -> Self {
        let v1::AttachedPod { pod, uid, addresses, interface, detached } = sandbox;
        Self { pod, uid, addresses, interface: Some(interface).filter(|it| !it.is_empty()), detached }
    }
}

impl From<v1::Subject> for Subject {
    fn from(subject: v1::Subject) -> Self {
        let isolation = |isolation: Option<v1::Isolation>| {
            let v1::Isolation { isolated, rule_sets } = isolation.unwrap_or_default();
            Isolation { isolated, rule_sets }
        };
        Self {
            address: subject.address,
            pods: subject.pods,
            ingress: isolation(subject.ingress),
            egress: isolation(subject.egress),
        }
    }
}

impl From<v1::RuleSet> for RuleSet {
    fn from(rules: v1::RuleSet) -> Self {
        let ports = rules.ports.into_iter().map(|ports| PortPeers {
            protocol: ports.protocol,
            first_port: ports.first_port,
            last_port: ports.last_port,
            peers: peers(ports.peers),
        });
        Self {
            name: rules.name,
            any_port: peers(rules.any_port),
            ports: ports.collect(),
            named_destinations: rules.named_destinations,
            contested: rules.contested,
        }
    }
}

fn peers(peers: Option<v1::Peers>) -> Peers {
    peers.map_or_else(Peers::default, |peers| Peers {
        address_set: (!peers.address_set.is_empty()).then_some(peers.address_set),
        blocks: peers.blocks,
    })
}
