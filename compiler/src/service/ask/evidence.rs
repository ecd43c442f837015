//! Certified answers: each verdict is held against the table that the node has acknowledged, and against the objects of that
//! table's revision.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::SystemTime;

use flock_compiler_core::World;
use flock_compiler_core::judge::{Carries, Judge};
use flock_compiler_core::nft::Table;
use flock_compiler_core::nft::read::GRAMMAR;
use flock_compiler_core::object::{Direction, Pod};
use flock_compiler_core::port::Protocol;
use flock_proto::{DropDirection, DropKey, v1};
use flock_shared::{NamespaceName, NodeName, ObjectName, PodKey};

use super::relevant::may_matter;
use crate::certify::{Between, table, table_passes, words_pass};
use crate::drops::DropsHub;
use crate::engine::Sequence;
use crate::fleet::{Fleet, Standing};
use crate::metrics::Metrics;
use crate::mirror::{Mirror, Snapshot, rewound};

/// Explanations of one answer that are certified: each may take the table of a node to be laid out.
const CERTIFIED: usize = 16;
/// Earlier worlds that one answer may ask for: each is a copy of the maps.
const EARLIER: usize = 4;

/// What answers are held against.
pub(super) struct Certifier<'a> {
    snapshot: &'a Snapshot,
    mirror: &'a Mirror,
    fleet: &'a Fleet,
    drops: &'a DropsHub,
    metrics: &'a Metrics,
    tables: BTreeMap<NodeName, Table>,
    earlier: BTreeMap<Sequence, World>,
}

impl<'a> Certifier<'a> {
    pub(super) const fn new(
        snapshot: &'a Snapshot,
        mirror: &'a Mirror,
        (fleet, drops): (&'a Fleet, &'a DropsHub),
        metrics: &'a Metrics,
    ) -> Self {
        Self { snapshot, mirror, fleet, drops, metrics, tables: BTreeMap::new(), earlier: BTreeMap::new() }
    }

    /// Adds to explanations what nodes say.
    pub(super) fn certify(mut self, response: &mut v1::ExplainResponse) {
        let total = response.explanations.len();
        for explanation in response.explanations.iter_mut().take(CERTIFIED) {
            let found: Vec<v1::Evidence> = [Direction::Egress, Direction::Ingress]
                .into_iter()
                .filter_map(|direction| self.evidence(explanation, direction))
                .collect();
            explanation.evidence = found;
            self.add_drops(explanation);
        }
        if total > CERTIFIED {
            response.notes.push(format!("the first {CERTIFIED} of {total} are held against nodes' tables"));
        }
    }

    /// What the node that judges a direction says; `None` where none does, or the asker may not see which it is.
    fn evidence(&mut self, explanation: &v1::Explanation, direction: Direction) -> Option<v1::Evidence> {
        let (from, to) = (explanation.from.as_ref()?, explanation.to.as_ref()?);
        let (own, verdict) = match direction {
            Direction::Egress => (from, explanation.egress.as_ref()?),
            Direction::Ingress => (to, explanation.ingress.as_ref()?),
        };
        let subject = self.pod(own)?;
        // No node's table judges these, or whoever asks may not see which one does.
        if own.node.is_none() || subject.is_of_host_network() || is_exempt(verdict) {
            return None;
        }
        let node = subject.node.clone()?;
        let flow = self.between(from, to, explanation.port.as_ref()?)?;
        let mut evidence = v1::Evidence {
            node: node.to_string(),
            direction: match direction {
                Direction::Ingress => v1::Direction::Ingress,
                Direction::Egress => v1::Direction::Egress,
            }
            .into(),
            ..v1::Evidence::default()
        };
        let standing = self.fleet.acks(&node).and_then(|acks| acks.standing().cloned());
        let Some(standing) = standing else {
            evidence.words = format!("{node} has acknowledged nothing to this replica");
            return Some(evidence);
        };
        self.weigh(&mut evidence, &node, &standing, &flow, direction);
        Some(evidence)
    }

    /// What the nodes that judge a flow told of packets of it that they dropped.
    fn add_drops(&self, explanation: &mut v1::Explanation) {
        let (Some(from), Some(to), Some(port)) = (&explanation.from, &explanation.to, &explanation.port)
        else {
            return;
        };
        let Some(flow) = self.between(from, to, port) else { return };
        let Some((protocol, port)) = flock_ask::numbered(flow.carries) else { return };
        let mut packets = 0u64;
        let (mut since, mut last) = (None::<SystemTime>, None::<SystemTime>);
        for evidence in &explanation.evidence {
            let Ok(node) = NodeName::new(&evidence.node) else { continue };
            let direction = match evidence.direction() {
                v1::Direction::Egress => DropDirection::Egress,
                _ => DropDirection::Ingress,
            };
            let (source, destination) = (flow.source, flow.destination);
            let key = DropKey { source, destination, protocol, port, direction };
            let Some(known) = self.drops.flow(&node, &key) else { continue };
            packets = packets.saturating_add(known.packets);
            since = Some(since.map_or(known.since, |since| since.min(known.since)));
            last = last.max(Some(known.last));
        }
        if packets > 0 {
            explanation.dropped_packets = Some(packets);
            explanation.dropped_since = since.map(Into::into);
            explanation.last_dropped = last.map(Into::into);
        }
    }

    fn weigh(
        &mut self,
        evidence: &mut v1::Evidence,
        node: &NodeName,
        standing: &Standing,
        flow: &Between,
        direction: Direction,
    ) {
        let revision = standing.state.revision();
        let desired = self.snapshot.mirrored.outputs.get(node);
        evidence.revision = Some(revision.to_string());
        evidence.since = Some(standing.since.into());
        evidence.current = desired.is_some_and(|desired| desired.revision() == revision);
        let laid_out = self.tables.entry(node.clone()).or_insert_with(|| table(standing.state.output()));
        let by_table = table_passes(laid_out, flow, direction);
        evidence.table_passes = by_table.as_ref().ok().copied();
        evidence.objects_pass = self.objects_pass(standing, evidence.current, flow, direction);
        let differ = matches!(
            (evidence.table_passes, evidence.objects_pass),
            (Some(table), Some(objects)) if table != objects
        );
        // A node that took no other table, or could read none, is closed on purpose.
        let facts = self.snapshot.mirrored.world.facts().get(node);
        let is_stricter_on_purpose = evidence.table_passes == Some(false)
            && (standing.state.is_closed() || facts.is_some_and(|facts| facts.grammar < GRAMMAR));
        evidence.contradiction = by_table.is_err() || differ && !is_stricter_on_purpose;
        let short: String = revision.as_str().chars().take(12).collect();
        let says = match (&by_table, differ) {
            (Err(error), _) => format!("its table cannot be read: {error}"),
            (Ok(_), true) if evidence.contradiction => {
                "its table and the objects of that revision say different things: a mistake of flock"
                    .to_owned()
            }
            (Ok(_), true) => "it holds its pods closed".to_owned(),
            (Ok(passes), false) => {
                let word = if *passes { "lets it pass" } else { "drops it" };
                match evidence.objects_pass {
                    Some(_) => format!("its table {word}, as the objects of that revision say"),
                    None => format!("its table {word}; the objects of that revision are not known any more"),
                }
            }
        };
        let behind = if evidence.current { "" } else { ", which is not the newest" };
        evidence.words = format!("{node} enforces {short}{behind}; {says}");
        if evidence.contradiction {
            self.metrics.contradictions.inc();
            tracing::error!(
                %node, %revision, sequence = standing.sequence.number(), ?flow, %direction,
                table = evidence.table_passes, objects = evidence.objects_pass,
                "words and table of one revision differ: please report this"
            );
        }
    }

    /// What the objects say by which the node should have had what stands there.
    fn objects_pass(
        &mut self,
        standing: &Standing,
        is_current: bool,
        flow: &Between,
        direction: Direction,
    ) -> Option<bool> {
        let mirrored = &self.snapshot.mirrored;
        let unready = self.snapshot.options.unready_pods;
        let now = Judge::with_index(&mirrored.world, unready, &mirrored.index);
        let (from, to) = (mirrored.sequence, standing.sequence);
        // The node may be ahead of the snapshot, whose objects are the newest that are known here.
        let judge = if is_current || to >= from {
            now
        } else {
            let way = self.mirror.history(|history| history.way_back(from, to))?;
            let ends = [now.place_of(flow.source), now.place_of(flow.destination)];
            if !way.iter().any(|differences| may_matter(ends.each_ref(), differences)) {
                now
            } else if self.earlier.len() >= EARLIER && !self.earlier.contains_key(&to) {
                return None;
            } else {
                let world = self.earlier.entry(to).or_insert_with(|| rewound(&mirrored.world, &way));
                Judge::new(world, unready)
            }
        };
        words_pass(&judge.with_over_budget(&mirrored.over_budget), flow, direction)
    }

    fn pod(&self, shown: &v1::ShownEnd) -> Option<Arc<Pod>> {
        let namespace = NamespaceName::new(shown.namespace.as_deref()?).ok()?;
        let name = ObjectName::new(shown.pod.as_deref()?).ok()?;
        self.snapshot.mirrored.world.pods().get(&PodKey { namespace, name }).cloned()
    }

    /// The flow that was judged: between addresses of one family.
    fn between(&self, from: &v1::ShownEnd, to: &v1::ShownEnd, port: &v1::Port) -> Option<Between> {
        let carries = match port.protocol.as_str() {
            "TCP" => Carries::Port(Protocol::Tcp, u16::try_from(port.number).ok()?),
            "UDP" => Carries::Port(Protocol::Udp, u16::try_from(port.number).ok()?),
            "SCTP" => Carries::Port(Protocol::Sctp, u16::try_from(port.number).ok()?),
            _ => Carries::Other,
        };
        let (sources, destinations) = (self.addresses(from), self.addresses(to));
        let pairs = sources.iter().flat_map(|source| destinations.iter().map(move |other| (*source, *other)));
        let (source, destination) =
            { pairs }.find(|(source, destination)| source.is_ipv4() == destination.is_ipv4())?;
        Some(Between { source, destination, carries })
    }

    /// The address that was judged, or those of the pod, where the asker may not see it.
    fn addresses(&self, shown: &v1::ShownEnd) -> Vec<IpAddr> {
        if let Some(address) = shown.address.as_deref().and_then(|address| address.parse().ok()) {
            return vec![address];
        }
        let Some(pod) = self.pod(shown) else { return Vec::new() };
        pod.addresses().into_iter().flatten().copied().collect()
    }
}

fn is_exempt(verdict: &v1::DirectionVerdict) -> bool {
    matches!(verdict.verdict(), v1::Verdict::HostNetwork | v1::Verdict::OwnNode | v1::Verdict::Itself)
}
