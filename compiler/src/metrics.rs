//! Metrics in the OpenMetrics text format.

use std::sync::Arc;
use std::time::Duration;

use flock_compiler_core::object::Overdue;
use flock_compiler_core::{Work, World};
use flock_proto::Outcome;
use flock_shared::telemetry;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

use crate::source::kubernetes::{KindStatistics, Statistics};

type Label = Vec<(&'static str, &'static str)>;

/// Reads the counters of the watches when they are asked for.
#[derive(Debug)]
struct Watches(Arc<Statistics>);

impl Collector for Watches {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        type Count = fn(&KindStatistics) -> u64;
        let counters: [(&str, &str, Count); 5] = [
            ("watch_listings", "Listings that were read completely", KindStatistics::listings),
            ("watches", "Watches that the server accepted", KindStatistics::watches),
            ("watch_events", "Events of objects", KindStatistics::events),
            ("watch_failures", "Requests and streams that failed", KindStatistics::failures),
            (
                "watch_expirations",
                "Resumptions that the server did not remember",
                KindStatistics::expirations,
            ),
        ];
        for (name, help, count) in counters {
            let mut encoder = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
            for (kind, statistics) in self.0.kinds() {
                let counter = ConstCounter::new(count(statistics));
                counter.encode(encoder.encode_family(&[("kind", kind)])?)?;
            }
        }
        let mut watching =
            encoder.encode_descriptor("watching", "Whether a watch is open", None, MetricType::Gauge)?;
        for (kind, statistics) in self.0.kinds() {
            ConstGauge::new(i64::from(statistics.watching()))
                .encode(watching.encode_family(&[("kind", kind)])?)?;
        }
        let help = "Seconds since the server last said something about the kind";
        let mut ages =
            encoder.encode_descriptor("watch_age", help, Some(&Unit::Seconds), MetricType::Gauge)?;
        for (kind, statistics) in self.0.kinds() {
            let Some(age) = statistics.age() else { continue };
            ConstGauge::new(age.as_secs_f64()).encode(ages.encode_family(&[("kind", kind)])?)?;
        }
        Ok(())
    }
}

/// Counts log lines that were lost when it is asked for.
#[derive(Debug)]
struct LostLines;

impl Collector for LostLines {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let help = "Log lines that nobody read in time";
        let encoder = encoder.encode_descriptor("log_lines_lost", help, None, MetricType::Counter)?;
        ConstCounter::new(telemetry::lost_lines()).encode(encoder)
    }
}

/// The compiler's metrics; names carry the prefix `flock_compiler_`.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    /// The counters of an API server's watches, where there are any.
    watches: Option<Arc<Statistics>>,
    /// Events from the source.
    pub events: Counter,
    /// Problems that a user should mend.
    pub problems: Gauge,
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
    /// Script bytes sent to agents.
    pub sent_bytes: Counter,
    updates: Family<Label, Counter>,
    acks: Family<Label, Counter>,
    dropped: Family<Label, Counter>,
    denied: Family<Label, Counter>,
    certificate_expiry: Gauge,
    objects: Family<Label, Gauge>,
    translation: Histogram,
    work: Family<Label, Counter>,
    /// Nodes by whether the kernel has what the objects ask for.
    nodes: Family<Label, Gauge>,
    /// Nodes on which something passes unjudged, by why.
    not_judged: Family<Label, Gauge>,
    /// Who is not waited for any more although it has no address, by what it is.
    overdue: Family<Label, Gauge>,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut metrics = Self {
            registry: Registry::with_prefix("flock_compiler"),
            watches: None,
            events: Counter::default(),
            problems: Gauge::default(),
            streams: Gauge::default(),
            waiting: Gauge::default(),
            refusals: Counter::default(),
            rollbacks: Counter::default(),
            drifts: Counter::default(),
            cut: Counter::default(),
            sent_bytes: Counter::default(),
            updates: Family::default(),
            acks: Family::default(),
            dropped: Family::default(),
            denied: Family::default(),
            certificate_expiry: Gauge::default(),
            objects: Family::default(),
            translation: Histogram::new(exponential_buckets(0.000_1, 4.0, 10)),
            work: Family::default(),
            nodes: Family::default(),
            not_judged: Family::default(),
            overdue: Family::default(),
        };
        let registry = &mut metrics.registry;
        registry.register_collector(Box::new(LostLines));
        registry.register("events", "Events received from the source", metrics.events.clone());
        registry.register("problems", "Problems that a user should mend", metrics.problems.clone());
        registry.register("streams", "Open streams of agents", metrics.streams.clone());
        registry.register(
            "waiting",
            "Agents that wait until this replica has read what they have applied",
            metrics.waiting.clone(),
        );
        registry.register(
            "refusals",
            "Agents sent to another replica because this one lags behind them",
            metrics.refusals.clone(),
        );
        registry.register(
            "rollbacks",
            "Agents taken back because what they had applied is no more",
            metrics.rollbacks.clone(),
        );
        registry.register(
            "drifts",
            "Times that agents found their table changed by something else",
            metrics.drifts.clone(),
        );
        registry.register(
            "connections_cut",
            "Tracked connections that agents were told to forget, for they are not allowed any more",
            metrics.cut.clone(),
        );
        registry.register_with_unit(
            "sent",
            "Script bytes sent to agents",
            Unit::Bytes,
            metrics.sent_bytes.clone(),
        );
        registry.register("updates", "Updates sent by kind", metrics.updates.clone());
        registry.register("acks", "Acknowledgements received by outcome", metrics.acks.clone());
        registry.register(
            "dropped",
            "Agents and debug clients that were dropped, by what they did",
            metrics.dropped.clone(),
        );
        registry.register_with_unit(
            "certificate_expiry",
            "When the compiler's own certificate ends, since 1970",
            Unit::Seconds,
            metrics.certificate_expiry.clone(),
        );
        registry.register("denied", "Calls and streams that were not let in, by why", metrics.denied.clone());
        registry.register("objects", "Objects in the world by kind", metrics.objects.clone());
        registry.register("work", "What passes over changes looked at, by kind", metrics.work.clone());
        registry.register("nodes", "Nodes by whether their table is the desired one", metrics.nodes.clone());
        registry.register(
            "nodes_not_judged",
            "Nodes on which something passes past the rules, by why",
            metrics.not_judged.clone(),
        );
        registry.register(
            "overdue",
            "Pods on their way for too long, and namespaces on nodes that were waited for in vain too often",
            metrics.overdue.clone(),
        );
        registry.register_with_unit(
            "translation",
            "Time to translate what changed",
            Unit::Seconds,
            metrics.translation.clone(),
        );
        metrics
    }
}

impl Metrics {
    /// Metrics that also show what the watches of an API server have been through.
    #[must_use]
    pub fn with_watches(watches: Arc<Statistics>) -> Self {
        let mut metrics = Self { watches: Some(Arc::clone(&watches)), ..Self::default() };
        metrics.registry.register_collector(Box::new(Watches(watches)));
        metrics
    }

    /// How long ago the API server last said something about each kind, where there is one; `None`: it never has.
    pub fn ages(&self) -> Vec<(&'static str, Option<Duration>)> {
        let kinds = self.watches.iter().flat_map(|watches| watches.kinds());
        kinds.map(|(kind, statistics)| (kind, statistics.age())).collect()
    }

    /// Counts a peer that was dropped: its updates stayed `unanswered`, or bytes stayed `unread`; it was `slow` to read a
    /// large script; it was one of the `strangers` that did not say in time who they are, or was `crowding` an address.
    pub fn dropped(&self, what: &'static str) {
        self.dropped.get_or_create(&vec![("what", what)]).inc();
    }

    /// Shows when the compiler's own certificate ends, in seconds since 1970.
    pub fn certificate_expiry(&self, seconds: i64) {
        self.certificate_expiry.set(seconds);
    }

    /// Counts somebody who was not let in, by why.
    pub fn denied(&self, why: &'static str) {
        self.denied.get_or_create(&vec![("why", why)]).inc();
    }

    /// Counts an update of a kind: `full`, `delta` or `current`.
    pub fn update(&self, kind: &'static str) {
        self.updates.get_or_create(&vec![("kind", kind)]).inc();
    }

    /// Counts an acknowledgement.
    pub fn ack(&self, outcome: Outcome) {
        self.acks.get_or_create(&vec![("outcome", outcome.as_str())]).inc();
    }

    /// How many acknowledgements there were with an outcome.
    #[must_use]
    pub fn acks(&self, outcome: Outcome) -> u64 {
        self.acks.get_or_create(&vec![("outcome", outcome.as_str())]).get()
    }

    /// Counts a pass over the world.
    pub fn translated(&self, took: Duration) {
        self.translation.observe(took.as_secs_f64());
    }

    /// Counts what a pass has looked at.
    pub fn passed(&self, work: &Work) {
        let Work { pods, tries, groups, sets, frames, refits, members, bodies } = *work;
        let all = [
            ("pods", pods),
            ("tries", tries),
            ("groups", groups),
            ("sets", sets),
            ("frames", frames),
            ("refits", refits),
            ("members", members),
            ("bodies", bodies),
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

    /// Shows how many nodes are in each state: `current`, `behind`, `closed` or `offline`.
    pub fn nodes(&self, states: [(&'static str, i64); 4]) {
        for (state, count) in states {
            self.nodes.get_or_create(&vec![("state", state)]).set(count);
        }
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
        let _: std::fmt::Result = encode(&mut text, &self.registry);
        text
    }
}
