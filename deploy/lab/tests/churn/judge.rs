//! What became of the flows against what the states of their time say.

use std::collections::{BTreeSet, HashMap};
use std::time::{Duration, Instant};

use flock_lab::{Protocol, Verdict};

use crate::flows::Flow;
use crate::ground::NODES;
use crate::stage::{Place, Role};
use crate::timeline::Timeline;
use flock_model::oracle;
use flock_model::oracle::cluster;
use flock_model::oracle::flow::{Flow as Packet, Transport};

/// How long a packet is on its way, with much to spare.
const ON_ITS_WAY: Duration = Duration::from_millis(10);

/// One try of a flow.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Observation {
    /// Index of the flow.
    pub(crate) flow: usize,
    /// Just before its packet was sent.
    pub(crate) sent: Instant,
    /// When it was known to have arrived, or when it must have been judged.
    pub(crate) known: Instant,
    pub(crate) verdict: Verdict,
}

/// What the observations came to.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    /// They had to pass, and did.
    pub(crate) passed: usize,
    /// They had to be dropped, and were.
    pub(crate) dropped: usize,
    /// Both were right: a change was on its way.
    pub(crate) either: usize,
    /// Single packets that were dropped against the policies of before and after, while a change was on its way.
    pub(crate) lost: usize,
    /// Such packets that passed.
    pub(crate) slipped: usize,
    /// What should not have been, for people.
    pub(crate) wrong: Vec<String>,
}

/// Judges tries of flows by the API's words.
pub(crate) struct Judge<'a> {
    timeline: &'a Timeline,
    places: &'a [Place],
    flows: &'a [Flow],
    /// Whether a flow passes a node in a state: what was asked before.
    known: HashMap<(usize, usize, usize), bool>,
}

impl<'a> Judge<'a> {
    pub(crate) fn new(timeline: &'a Timeline, places: &'a [Place], flows: &'a [Flow]) -> Self {
        Self { timeline, places, flows, known: HashMap::new() }
    }

    pub(crate) fn judge(&mut self, mut observations: Vec<Observation>) -> Findings {
        let mut findings = Findings::default();
        observations.sort_by_key(|observation| (observation.flow, observation.sent));
        let right: Vec<bool> = observations.iter().map(|it| self.is_right(it, &mut findings)).collect();
        for (index, observation) in observations.iter().enumerate().filter(|(index, _)| !right[*index]) {
            let around = [index.wrapping_sub(1), index + 1];
            let alone = around.iter().all(|&other| {
                observations.get(other).is_none_or(|other| other.flow != observation.flow)
                    || right.get(other) == Some(&true)
            });
            match observation.verdict {
                Verdict::Dropped if alone && self.met_a_change(observation) => findings.lost += 1,
                Verdict::Reached if alone && self.met_a_change(observation) => findings.slipped += 1,
                _ => findings.wrong.push(self.explained(observation)),
            }
        }
        findings
    }

    fn is_right(&mut self, observation: &Observation, findings: &mut Findings) -> bool {
        let steps = self.timeline.steps_between(observation.sent, observation.known);
        let states: BTreeSet<usize> = steps.iter().flat_map(|step| &step.states).copied().collect();
        let possible = self.possible(observation.flow, &states);
        match (possible.len(), observation.verdict) {
            _ if !possible.contains(&observation.verdict) => return false,
            (1, Verdict::Reached) => findings.passed += 1,
            (1, Verdict::Dropped) => findings.dropped += 1,
            _ => findings.either += 1,
        }
        true
    }

    /// Whether tables may have been replaced while the packet was on its way.
    fn met_a_change(&self, observation: &Observation) -> bool {
        let steps = self.timeline.steps_between(observation.sent, observation.sent + ON_ITS_WAY);
        steps.iter().any(|step| step.ended.is_none_or(|ended| ended >= observation.sent))
    }

    /// The verdicts that are right while some of `states` are in force: on each node any one of them.
    fn possible(&mut self, flow: usize, states: &BTreeSet<usize>) -> BTreeSet<Verdict> {
        let Flow { from, to, .. } = self.flows[flow];
        let verdict = |passes| if passes { Verdict::Reached } else { Verdict::Dropped };
        let mut possible = BTreeSet::new();
        // Where each end may be, and whether the flow may pass there.
        let (mut sources, mut destinations) = (BTreeSet::new(), BTreeSet::new());
        for &state in states {
            let (Some(source), Some(destination)) = (self.node(state, from), self.node(state, to)) else {
                possible.insert(Verdict::Dropped);
                continue;
            };
            let passes = [source, destination].map(|node| self.passes(state, node, flow));
            // One node has one table, and takes a new one as a whole.
            if source == destination {
                possible.insert(verdict(passes[0]));
            }
            sources.insert((source, passes[0]));
            destinations.insert((destination, passes[1]));
        }
        for (source, leaves) in &sources {
            let elsewhere = destinations.iter().filter(|(destination, _)| source != destination);
            possible.extend(elsewhere.map(|(_, enters)| verdict(*leaves && *enters)));
        }
        possible
    }

    /// The node of a place; `None` while it is nowhere.
    fn node(&self, state: usize, place: usize) -> Option<usize> {
        match &self.places[place] {
            Place { role: Role::Mover, .. } => self.timeline.states[state].mover,
            place => Some(place.node),
        }
    }

    fn passes(&mut self, state: usize, node: usize, flow: usize) -> bool {
        let (timeline, flows) = (self.timeline, self.flows);
        *self.known.entry((state, node, flow)).or_insert_with(|| {
            let Flow { source, destination, source_port, protocol, .. } = flows[flow];
            let protocol = match protocol {
                Protocol::Tcp => cluster::Protocol::Tcp,
                Protocol::Udp => cluster::Protocol::Udp,
                Protocol::Sctp | Protocol::IcmpEcho => unreachable!("no such flows"),
            };
            let transport = Transport::Ports(protocol, source_port, destination.port());
            let packet = Packet::first(source, destination.ip(), transport);
            oracle::judge(&timeline.states[state].cluster, NODES[node], &packet).passes()
        })
    }

    fn explained(&self, observation: &Observation) -> String {
        let Observation { flow, sent, known, verdict } = *observation;
        let beginning = self.timeline.steps[0].started;
        let at = |instant: Instant| instant.duration_since(beginning).as_micros();
        let mut text = format!(
            "{} was {verdict} although no state of its time says so; sent at {} µs, known at {} µs",
            self.flows[flow],
            at(sent),
            at(known)
        );
        for step in self.timeline.steps_between(sent, known) {
            let ended = step.ended.map_or_else(|| "-".to_owned(), |ended| at(ended).to_string());
            text += &format!("\n  {} to {ended} µs: {}", at(step.started), step.what);
        }
        let last = self.timeline.steps_between(sent, known).last().and_then(|step| step.states.last());
        if let Some(&state) = last {
            text += &format!("\n{}", self.timeline.states[state].cluster);
        }
        text
    }
}
