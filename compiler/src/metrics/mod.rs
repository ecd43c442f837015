//! Metrics in the OpenMetrics text format.
//!
//! No label but the namespace of drops, which is bounded (`drops::count`), holds what a tenant, a node or a client chooses:
//! the values of each are a list of this program's. Counters of which all values are known begin with 0 of each, so that the first of a kind is seen as an increase.

mod process;
mod propagation;
mod watches;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use flock_compiler_core::object::{Direction, Overdue};
use flock_compiler_core::{Problem, Unjudged, Work, World};
use flock_proto::{Ack, NodeState, Outcome};
use flock_shared::cni::Reach;
use flock_shared::{NamespaceName, NodeName, Script, telemetry};
use parking_lot::Mutex;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::{encode_eof, encode_registry};
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};
use tokio::time::Instant;

pub use self::propagation::StreamKey;

use self::process::ProcessCollector;
use self::propagation::{Ended, LONGEST, Propagation};
use self::watches::WatchCollector;
use crate::access::Denied;
use crate::engine::Sequence;
use crate::readiness::Readiness;
use crate::source::kubernetes::Statistics;

type Label = Vec<(&'static str, &'static str)>;
type Histograms = Family<Label, Histogram, fn() -> Histogram>;

/// Bounds in seconds: of what should take milliseconds, up to two minutes. What takes longer is beyond all of them.
const PROPAGATION: [f64; 15] =
    [0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 120.0];
const _: () = assert!(LONGEST.as_secs() > 120);
/// Bounds in seconds: a runtime waits no longer than 10 s for a plugin.
const ATTACH: [f64; 11] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];
/// Bounds in seconds: an agent kills nft after 30 s unless told otherwise.
const APPLY: [f64; 12] = [0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 30.0];
/// Bounds in seconds: an agent waits for 30 s.
const LAG: [f64; 7] = [0.01, 0.05, 0.25, 1.0, 5.0, 15.0, 30.0];

/// Longer than any agent says that nft took, unless it lies.
const LONGEST_APPLY: Duration = Duration::from_secs(3600);

/// Kinds of updates.
const UPDATES: [&str; 3] = ["full", "delta", "current"];

/// What peers are dropped for, see [`Metrics::dropped`].
const DROPPED: [&str; 6] = ["unanswered", "unread", "slow", "strangers", "crowding", "no_room"];

/// Why a handshake does not come to an end, beside [`Denied::KINDS`].
const HANDSHAKES: [&str; 3] = ["not_tls", "handshake_failed", "handshake_timed_out"];

/// Questions that the API server is asked about callers, and what becomes of them.
const REVIEWS: [&str; 2] = ["TokenReview", "SubjectAccessReview"];
const REVIEW_OUTCOMES: [&str; 3] = ["answered", "failed", "timed_out"];

/// What is told of policies by Events, and what became of it: it was `written`, `there` already by another replica, `failed`, or
/// was `left_out` since there were too many of its policy or namespace.
const EVENTS: [&str; 3] = ["NotUnderstood", "SelectsNothing", "Enforced"];
const EVENT_OUTCOMES: [&str; 4] = ["written", "there", "failed", "left_out"];

/// How far a sandbox was attached, and that a call failed.
const REACHES: [&str; 4] = ["everywhere", "node", "unclean", "failed"];

/// Counts log lines that were lost when it is asked for.
#[derive(Debug)]
struct LostLines;

impl Collector for LostLines {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let help = "Log lines that nobody read in time.";
        let encoder = encoder.encode_descriptor("log_lines_lost", help, None, MetricType::Counter)?;
        ConstCounter::new(telemetry::lost_lines()).encode(encoder)
    }
}

/// The compiler's metrics; names carry the prefix `flock_compiler_`.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    /// Those whose names carry no prefix.
    process: Registry,
    /// The counters of an API server's watches, where there are any.
    watches: Option<Arc<Statistics>>,
    propagation: Mutex<Propagation>,
    /// Events from the source.
    pub events: Counter,
    /// Open streams of agents.
    pub streams: Gauge,
    /// Agents that have applied more than this replica has read, and wait for it.
    pub waiting: Gauge,
    /// Agents that were sent to another replica because this one did not catch up.
    pub refusals: Counter,
    /// Agents that were taken back because what they had applied is no more.
    pub rollbacks: Counter,
    /// Tables that agents found changed by something else.
    pub drifts: Counter,
    /// Tracked connections that agents were told to forget.
    pub cut: Counter,
    /// Invariants of the translation that turned out to be broken.
    pub invariants: Counter,
    /// Flows of which the API's words and the table of one revision say different things, and nodes whose tables differ from
    /// those of a translation from nothing.
    pub contradictions: Counter,
    /// Translations from nothing that were compared with what is published.
    pub self_checks: Counter,
    problems: Family<Label, Gauge>,
    sent_bytes: Family<Label, Counter>,
    updates: Family<Label, Counter>,
    acks: Family<Label, Counter>,
    policy_events: Family<Label, Counter>,
    dropped: Family<Label, Counter>,
    denied: Family<Label, Counter>,
    policy_drops: Family<Vec<(&'static str, String)>, Counter>,
    reviews: Family<Label, Counter>,
    /// Absent without a certificate.
    certificate_expiry: Family<Label, Gauge>,
    ready: Gauge,
    not_ready: Family<Label, Gauge>,
    objects: Family<Label, Gauge>,
    translation: Histogram,
    propagated: Histogram,
    unmeasured: Counter,
    applied: Histogram,
    attached: Histograms,
    lag: Histogram,
    work: Family<Label, Counter>,
    /// Nodes by state.
    nodes: Family<Label, Gauge>,
    behind_age: Gauge<f64, AtomicU64>,
    /// Nodes on which something passes unjudged, by why.
    not_judged: Family<Label, Gauge>,
    /// Who is not waited for any more although it has no address, by what it is.
    overdue: Family<Label, Gauge>,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut metrics = Self {
            registry: Registry::with_prefix("flock_compiler"),
            process: Registry::default(),
            watches: None,
            propagation: Mutex::default(),
            events: Counter::default(),
            streams: Gauge::default(),
            waiting: Gauge::default(),
            refusals: Counter::default(),
            rollbacks: Counter::default(),
            drifts: Counter::default(),
            cut: Counter::default(),
            invariants: Counter::default(),
            contradictions: Counter::default(),
            self_checks: Counter::default(),
            problems: Family::default(),
            sent_bytes: Family::default(),
            updates: Family::default(),
            acks: Family::default(),
            policy_events: Family::default(),
            dropped: Family::default(),
            denied: Family::default(),
            policy_drops: Family::default(),
            reviews: Family::default(),
            certificate_expiry: Family::default(),
            ready: Gauge::default(),
            not_ready: Family::default(),
            objects: Family::default(),
            translation: Histogram::new(exponential_buckets(0.000_1, 4.0, 10)),
            propagated: Histogram::new(PROPAGATION),
            unmeasured: Counter::default(),
            applied: Histogram::new(APPLY),
            attached: Family::new_with_constructor(|| Histogram::new(ATTACH)),
            lag: Histogram::new(LAG),
            work: Family::default(),
            nodes: Family::default(),
            behind_age: Gauge::default(),
            not_judged: Family::default(),
            overdue: Family::default(),
        };
        metrics.register();
        metrics.begin();
        metrics
    }
}

impl Metrics {
    /// Metrics that also show what the watches of an API server have been through.
    #[must_use]
    pub fn with_watches(watches: Arc<Statistics>) -> Self {
        let mut metrics = Self { watches: Some(Arc::clone(&watches)), ..Self::default() };
        metrics.registry.register_collector(Box::new(WatchCollector(watches)));
        metrics
    }

    fn register(&mut self) {
        self.process.register_collector(Box::<ProcessCollector>::default());
        let registry = &mut self.registry;
        let seconds = || Unit::Seconds;
        registry.register_collector(Box::new(LostLines));
        let build = Info::new(vec![("version", env!("CARGO_PKG_VERSION"))]);
        registry.register("build", "Which compiler this is", build);

        let help = "1 while agents may turn to this replica, else 0";
        registry.register("ready", help, self.ready.clone());
        let help = "1 for the reason for which agents may not turn to this replica, else 0";
        registry.register("not_ready", help, self.not_ready.clone());

        registry.register("events", "Events received from the source", self.events.clone());
        registry.register("objects", "Objects in the world by kind", self.objects.clone());
        registry.register("problems", "Problems that a user should mend, by kind", self.problems.clone());
        let help =
            "Pods on their way for too long, and namespaces on nodes that were waited for in vain too often";
        registry.register("overdue", help, self.overdue.clone());
        registry.register("work", "What passes over changes looked at, by kind", self.work.clone());
        let help = "Time to translate what changed";
        registry.register_with_unit("translation", help, seconds(), self.translation.clone());
        let help = "Invariants of the translation that turned out to be broken: mistakes of this program";
        registry.register("invariants", help, self.invariants.clone());
        let help = "Flows that the API's words and a table of the same objects judge in different ways, and nodes that a \
                    translation from nothing gives another table: mistakes of this program";
        registry.register("contradictions", help, self.contradictions.clone());
        let help = "Translations from nothing that were compared with what is published";
        registry.register("self_checks", help, self.self_checks.clone());

        registry.register("nodes", "Nodes by state, as this replica knows it", self.nodes.clone());
        let help = "Nodes on which something passes past the rules, by why";
        registry.register("nodes_not_judged", help, self.not_judged.clone());
        let help = "How long the node that has lacked its newest state for longest has lacked it, of those whose \
                    agents have a stream with this replica; 0: none lacks it";
        registry.register_with_unit("behind_age", help, seconds(), self.behind_age.clone());
        let help = "From when a change was observed until the last node that it touches has acknowledged it, of the \
                    nodes whose agents have a stream with this replica";
        registry.register_with_unit("propagation", help, seconds(), self.propagated.clone());
        let help = "Changes that propagation_seconds leaves out since too many were on their way";
        registry.register("propagation_unmeasured", help, self.unmeasured.clone());
        let help = "Time that agents say an update took them, of those that are in force";
        registry.register_with_unit("apply", help, seconds(), self.applied.clone());
        let help = "Times that agents found their table changed by something else";
        registry.register("drifts", help, self.drifts.clone());
        let help = "Tracked connections that agents were told to forget, for they are not allowed any more";
        registry.register("connections_cut", help, self.cut.clone());

        registry.register("streams", "Open streams of agents", self.streams.clone());
        registry.register("updates", "Updates sent by kind", self.updates.clone());
        let help = "Script bytes sent to agents, by kind of update";
        registry.register_with_unit("sent", help, Unit::Bytes, self.sent_bytes.clone());
        registry.register("acks", "Acknowledgements received by outcome", self.acks.clone());
        let help = "Time of calls for CNI ADD, by how far they came";
        registry.register_with_unit("attach", help, seconds(), self.attached.clone());

        let help = "Agents that wait until this replica has read what they have applied";
        registry.register("waiting", help, self.waiting.clone());
        let help = "How long agents waited until this replica had read what they have applied, or until they gave up";
        registry.register_with_unit("replica_lag", help, seconds(), self.lag.clone());
        let help = "Agents sent to another replica because this one lags behind them";
        registry.register("refusals", help, self.refusals.clone());
        let help = "Agents taken back because what they had applied is no more";
        registry.register("rollbacks", help, self.rollbacks.clone());

        let help =
            "Packets that policies dropped, by the namespace of the isolated pod, direction and reason";
        registry.register("policy_drops", help, self.policy_drops.clone());
        let help = "Events of policies by reason, and by what became of them";
        registry.register("policy_events", help, self.policy_events.clone());
        let help = "Agents and debug clients that were dropped, by what they did";
        registry.register("dropped", help, self.dropped.clone());
        registry.register("denied", "Calls and streams that were not let in, by why", self.denied.clone());
        let help = "Questions to the API server who callers are and what they may, by kind and outcome";
        registry.register("reviews", help, self.reviews.clone());
        let help = "When the compiler's own certificate ends, since 1970";
        let expiry = self.certificate_expiry.clone();
        registry.register_with_unit("certificate_expiry_timestamp", help, seconds(), expiry);
    }

    /// Has all series there whose labels are known, with 0.
    fn begin(&self) {
        let count = |family: &Family<Label, Counter>, name, values: &[&'static str]| {
            values.iter().for_each(|value| drop(family.get_or_create(&vec![(name, *value)])));
        };
        count(&self.updates, "kind", &UPDATES);
        count(&self.sent_bytes, "kind", &UPDATES[..2]);
        count(&self.acks, "outcome", &Outcome::ALL.map(Outcome::as_str));
        count(&self.dropped, "what", &DROPPED);
        count(&self.denied, "why", &Denied::KINDS);
        count(&self.denied, "why", &HANDSHAKES);
        for kind in REVIEWS {
            for outcome in REVIEW_OUTCOMES {
                drop(self.reviews.get_or_create(&vec![("kind", kind), ("outcome", outcome)]));
            }
        }
        for reason in EVENTS {
            for outcome in EVENT_OUTCOMES {
                drop(self.policy_events.get_or_create(&vec![("reason", reason), ("outcome", outcome)]));
            }
        }
        for reach in REACHES {
            drop(self.attached.get_or_create(&vec![("reach", reach)]));
        }
        self.problems(&[]);
        self.ready(Readiness::Unlisted);
        self.nodes(NodeState::ALL.map(|state| (state, 0)));
        self.not_judged(Unjudged::REASONS.map(|reason| (reason, 0)));
    }

    /// How long ago the API server last said something about each kind, where there is one; `None`: it never has.
    pub fn ages(&self) -> Vec<(&'static str, Option<Duration>)> {
        let kinds = self.watches.iter().flat_map(|watches| watches.kinds());
        kinds.map(|(kind, statistics)| (kind, statistics.age())).collect()
    }

    /// Returns true if this replica alone fails to see an API server that answers others.
    #[must_use]
    pub fn is_alone(&self) -> bool {
        self.watches.as_ref().is_some_and(|watches| watches.is_alone())
    }

    /// Shows whether agents may turn to this replica.
    pub fn ready(&self, readiness: Readiness) {
        self.ready.set(i64::from(readiness == Readiness::Ready));
        for unready in Readiness::UNREADY {
            let labels = vec![("reason", unready.reason())];
            self.not_ready.get_or_create(&labels).set(i64::from(readiness == unready));
        }
    }

    /// Counts packets that policies dropped. `None`: of no pod that is known, or of a namespace that is not told apart.
    pub fn policy_drops(
        &self,
        namespace: Option<&NamespaceName>,
        direction: Direction,
        reason: &'static str,
        packets: u64,
    ) {
        let namespace = namespace.map(ToString::to_string).unwrap_or_default();
        let labels =
            [("namespace", namespace), ("direction", direction.to_string()), ("reason", reason.to_owned())];
        self.policy_drops.get_or_create(&labels.into()).inc_by(packets);
    }

    /// Counts a peer that was dropped: its updates stayed `unanswered`, or bytes stayed `unread`; it was `slow` to read a
    /// large script; it was one of the `strangers` that did not say in time who they are, or was `crowding`: many of its
    /// address, or too many in all; there was `no_room` for another connection.
    pub fn dropped(&self, what: &'static str) {
        self.dropped.get_or_create(&vec![("what", what)]).inc();
    }

    /// Counts an Event of a policy by its reason and by what became of it: it was `written`, `there` already, `failed`, or was
    /// `left_out`.
    pub fn policy_event(&self, reason: &'static str, outcome: &'static str) {
        self.policy_events.get_or_create(&vec![("reason", reason), ("outcome", outcome)]).inc();
    }

    /// Shows when the compiler's own certificate ends, in seconds since 1970; `None`: there is none.
    pub fn certificate_expiry(&self, seconds: Option<i64>) {
        match seconds {
            Some(seconds) => drop(self.certificate_expiry.get_or_create(&Vec::new()).set(seconds)),
            None => drop(self.certificate_expiry.remove(&Vec::new())),
        }
    }

    /// When the compiler's own certificate ends, in seconds since 1970; `None`: there is none.
    #[must_use]
    pub fn certificate_expires(&self) -> Option<i64> {
        self.certificate_expiry.get(&Vec::new()).map(|gauge| gauge.get())
    }

    /// Counts somebody who was not let in, by why.
    pub fn denied(&self, why: &'static str) {
        self.denied.get_or_create(&vec![("why", why)]).inc();
    }

    /// Counts a question to the API server, of a kind, by what became of it: it was `answered`, it `failed`, or it
    /// `timed_out`.
    pub fn review(&self, kind: &'static str, outcome: &'static str) {
        self.reviews.get_or_create(&vec![("kind", kind), ("outcome", outcome)]).inc();
    }

    /// Counts an update of a kind, `full`, `delta` or `current`, and the bytes of its script, if it has one.
    pub fn update(&self, kind: &'static str, script: Option<&Script>) {
        self.updates.get_or_create(&vec![("kind", kind)]).inc();
        if let Some(script) = script {
            self.sent_bytes.get_or_create(&vec![("kind", kind)]).inc_by(script.bytes().len() as u64);
        }
    }

    /// Counts an acknowledgement.
    pub fn ack(&self, ack: &Ack) {
        self.acks.get_or_create(&vec![("outcome", ack.outcome.as_str())]).inc();
        if ack.outcome == Outcome::Applied {
            self.applied.observe(ack.took.min(LONGEST_APPLY).as_secs_f64());
        }
    }

    /// How many acknowledgements there were with an outcome.
    #[must_use]
    pub fn acks(&self, outcome: Outcome) -> u64 {
        self.acks.get_or_create(&vec![("outcome", outcome.as_str())]).get()
    }

    /// Counts a call for CNI ADD; `None`: it failed.
    pub fn attached(&self, reach: Option<Reach>, took: Duration) {
        let [everywhere, node, unclean, failed] = REACHES;
        let reach = match reach {
            Some(Reach::Everywhere) => everywhere,
            Some(Reach::Node) => node,
            Some(Reach::Unclean) => unclean,
            None => failed,
        };
        self.attached.get_or_create(&vec![("reach", reach)]).observe(took.as_secs_f64());
    }

    /// An agent has waited for so long until this replica had read what it has applied, or in vain.
    pub fn lagged(&self, waited: Duration) {
        self.lag.observe(waited.as_secs_f64());
    }

    /// An agent has opened a stream: what is published from here on its node is waited for.
    pub fn opened(&self, node: &NodeName) -> StreamKey {
        self.streams.inc();
        let (stream, ended) = self.propagation.lock().opened(node);
        self.ended(&ended);
        stream
    }

    /// A stream has ended: its node is waited for no more.
    pub fn closed(&self, node: &NodeName, stream: StreamKey) {
        self.streams.dec();
        let ended = self.propagation.lock().closed(node, stream);
        self.ended(&ended);
    }

    /// What was observed at a moment is about to be published for these nodes by a pass, the newest.
    pub fn published<'a>(
        &self,
        pass: Sequence,
        observed: Instant,
        nodes: impl IntoIterator<Item = &'a NodeName>,
    ) {
        let ended = self.propagation.lock().published(pass, observed, nodes, Instant::now());
        self.ended(&ended);
    }

    /// A node has what a pass has published for it.
    pub fn acknowledged(&self, node: &NodeName, stream: StreamKey, pass: Sequence) {
        let ended = self.propagation.lock().acknowledged(node, stream, pass, Instant::now());
        self.ended(&ended);
    }

    fn ended(&self, Ended { took, given_up }: &Ended) {
        took.iter().for_each(|took| self.propagated.observe(took.as_secs_f64()));
        self.unmeasured.inc_by(*given_up);
    }

    /// Counts a pass over the world.
    pub fn translated(&self, took: Duration) {
        self.translation.observe(took.as_secs_f64());
    }

    /// Shows the problems that there are.
    pub fn problems(&self, problems: &[Problem]) {
        let mut counts: BTreeMap<&str, i64> = Problem::KINDS.into_iter().map(|kind| (kind, 0)).collect();
        for problem in problems {
            *counts.entry(problem.kind()).or_default() += 1;
        }
        for (kind, count) in counts {
            self.problems.get_or_create(&vec![("kind", kind)]).set(count);
        }
    }

    /// Counts what a pass has looked at.
    pub fn passed(&self, work: &Work) {
        let Work { pods, tries, groups, sets, assembled, patched, members, deltas } = *work;
        let all = [
            ("pods", pods),
            ("tries", tries),
            ("groups", groups),
            ("sets", sets),
            ("frames", assembled),
            ("refits", patched),
            ("members", members),
            ("bodies", deltas),
        ];
        for (kind, count) in all {
            self.work.get_or_create(&vec![("kind", kind)]).inc_by(count as u64);
        }
    }

    /// Shows the sizes of the world.
    pub fn objects(&self, world: &World) {
        let sizes = [
            ("Node", world.nodes().len()),
            ("Namespace", world.namespaces().len()),
            ("Pod", world.pods().len()),
            ("NetworkPolicy", world.policies().len()),
        ];
        for (kind, size) in sizes {
            self.objects.get_or_create(&vec![("kind", kind)]).set(i64::try_from(size).unwrap_or(i64::MAX));
        }
        let (mut pods, mut namespaces) = (0, 0);
        for overdue in world.overdue() {
            match overdue {
                // CNI may have given it an address that its status does not show yet.
                Overdue::Pod(key) => {
                    pods += i64::from(world.pods().get(key).is_some_and(|pod| pod.is_on_its_way()));
                }
                Overdue::Namespace(..) => namespaces += 1,
            }
        }
        for (what, count) in [("pod", pods), ("namespace", namespaces)] {
            self.overdue.get_or_create(&vec![("what", what)]).set(count);
        }
    }

    /// Shows how many nodes are in each state.
    pub fn nodes(&self, states: impl IntoIterator<Item = (NodeState, i64)>) {
        for (state, count) in states {
            self.nodes.get_or_create(&vec![("state", state.as_str())]).set(count);
        }
    }

    /// Shows for how long the node that has lacked its newest state for longest has lacked it.
    pub fn behind(&self, age: Duration) {
        self.behind_age.set(age.as_secs_f64());
    }

    /// Shows on how many nodes something passes unjudged, by each reason.
    pub fn not_judged(&self, counts: impl IntoIterator<Item = (&'static str, i64)>) {
        for (reason, count) in counts {
            self.not_judged.get_or_create(&vec![("reason", reason)]).set(count);
        }
    }

    /// The text that `/metrics` serves.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = String::new();
        // Writing to a String cannot fail.
        let _: std::fmt::Result = encode_registry(&mut text, &self.registry)
            .and_then(|()| encode_registry(&mut text, &self.process))
            .and_then(|()| encode_eof(&mut text));
        text
    }
}

#[cfg(test)]
mod tests;
