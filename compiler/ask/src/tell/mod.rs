//! Verdicts as messages: reasons in words, and of what an asker may not see no more than the verdict.

mod peers;
mod words;

use std::collections::HashMap;
use std::sync::Arc;

use flock_compiler_core::judge::{Cite, Exempt, Flow, IsolatingPolicy, Judge, Miss, Opinion, Place, Verdict};
use flock_compiler_core::object::{Direction, Pod, PodPeer, Policy};
use flock_proto::v1;
use flock_shared::PodKey;

use crate::cite::{Meta, cite, meta, policy_name};
use crate::{Sight, pod_name};

pub use words::why_dropped;

/// So many lines of reasons an answer has, as hostile policies have millions of rules: 2 MB at 200 bytes each.
const LINES: usize = 10_000;
/// So many policies that isolate one end, and so many cites, are told.
const POLICIES: usize = 128;
/// So many rules of one policy are told.
const RULES: usize = 64;
/// So many peers or ports of one rule are told.
const WHYS: usize = 16;

/// Tells an asker what a judge says. One for each answer: together they say no more than an answer may hold.
#[derive(Debug)]
pub struct Teller<'a> {
    judge: &'a Judge<'a>,
    sight: &'a Sight,
    /// Lines that are left.
    lines: usize,
    /// Peers of which it is known whether they select no pod at all.
    selects_none: HashMap<Arc<PodPeer>, bool>,
    /// Pods and namespaces that may still be looked at to find that out.
    looks: usize,
}

/// One direction of a flow, for one owner of each end.
#[derive(Clone, Copy)]
struct Told<'a> {
    direction: Direction,
    flow: &'a Flow,
    /// The owner of the end that is judged.
    subject: Option<&'a Arc<Pod>>,
    /// The owner of the other end.
    peer: Option<&'a Arc<Pod>>,
    /// The other end.
    other: &'a Place,
}

impl<'a> Teller<'a> {
    /// For one answer.
    #[must_use]
    pub fn new(judge: &'a Judge<'a>, sight: &'a Sight) -> Self {
        Self { judge, sight, lines: LINES, selects_none: HashMap::new(), looks: peers::LOOKS }
    }

    /// What is said of a flow in a direction.
    pub fn direction(
        &mut self,
        direction: Direction,
        flow: &Flow,
        verdict: &Verdict,
    ) -> v1::DirectionVerdict {
        let (own, other) = match direction {
            Direction::Egress => (&flow.source, &flow.destination),
            Direction::Ingress => (&flow.destination, &flow.source),
        };
        let told = |subject, peer| Told { direction, flow, subject, peer, other };
        let Verdict::Contested(opinions) = verdict else {
            return self.verdict(told(own.owners.first(), other.owners.first()), verdict);
        };
        let mut opinions: Vec<v1::Opinion> = opinions
            .iter()
            .take(POLICIES)
            .map(|opinion| {
                let told = told(find(own, Some(&opinion.subject)), find(other, opinion.peer.as_ref()));
                self.opinion(told, opinion)
            })
            .collect();
        // Of pods that may not be seen it is not told how many there are.
        opinions.dedup();
        let (owners, which) = match own.owners.len() {
            0 | 1 => (&other.owners, "the other end"),
            _ => (&own.owners, "this end"),
        };
        let are_seen = owners.iter().all(|pod| self.sees(pod));
        let owners = if are_seen { owners.len().to_string() } else { "several".to_owned() };
        v1::DirectionVerdict {
            verdict: v1::Verdict::Contested.into(),
            passes: verdict.passes(),
            words: format!(
                "{owners} pods own the address of {which}; it passes only if it would for each of them"
            ),
            opinions,
            ..v1::DirectionVerdict::default()
        }
    }

    fn opinion(&mut self, told: Told<'_>, opinion: &Opinion) -> v1::Opinion {
        let name = |pod: Option<&Arc<Pod>>| pod.map(|pod| self.pod(pod));
        v1::Opinion {
            subject: name(told.subject).unwrap_or_default(),
            peer: name(told.peer),
            verdict: Some(self.verdict(told, &opinion.verdict)),
        }
    }

    /// What is said for one owner of each end.
    fn verdict(&mut self, told: Told<'_>, verdict: &Verdict) -> v1::DirectionVerdict {
        let mut shown = v1::DirectionVerdict {
            verdict: kind(verdict).into(),
            passes: verdict.passes(),
            words: words::verdict(self, told, verdict),
            ..v1::DirectionVerdict::default()
        };
        match verdict {
            Verdict::Allowed(cites) => {
                shown.allowed_by = self.cites(cites);
                // The verdict has only what allows it: who isolates the pod is asked again.
                let isolating = told.subject.into_iter();
                let isolating = isolating.flat_map(|pod| self.judge.isolating(told.direction, pod));
                let isolating: Vec<_> = isolating.take(POLICIES).map(|policy| self.policy(policy)).collect();
                shown.isolated_by = deduplicated(isolating);
            }
            Verdict::Denied(isolating) => shown.isolated_by = self.isolated_by(told, isolating),
            Verdict::OverBudget(policies) => {
                let policies = policies.iter().take(POLICIES);
                shown.isolated_by = deduplicated(policies.map(|policy| self.policy(policy)).collect());
            }
            Verdict::Open | Verdict::Exempt(_) | Verdict::Unready(_) | Verdict::Contested(_) => {}
        }
        shown
    }

    fn cites(&self, cites: &[Cite]) -> Vec<v1::Cite> {
        let mut shown: Vec<v1::Cite> = Vec::new();
        for cite in cites.iter().take(POLICIES).map(|one| cite(one, self.sight)) {
            // Those of a policy that may not be seen are all the same.
            if shown.last() != Some(&cite) {
                shown.push(cite);
            }
        }
        shown
    }

    /// A policy that isolates, without its rules.
    fn policy(&self, policy: &Policy) -> v1::IsolatingPolicy {
        let namespace = policy.key.namespace.to_string();
        let name = policy_name(policy, self.sight);
        if !self.sight.sees(&policy.key.namespace) {
            let note = "may not be seen".to_owned();
            return v1::IsolatingPolicy { policy: name, namespace, note, ..v1::IsolatingPolicy::default() };
        }
        let Meta { uid, resource_version } = meta(policy);
        let note = policy
            .faults()
            .first()
            .map(|fault| format!("is not understood: {}: {}", fault.field, fault.message));
        v1::IsolatingPolicy {
            policy: name,
            namespace,
            uid,
            resource_version,
            rules: Vec::new(),
            note: note.unwrap_or_default(),
        }
    }

    fn isolated_by(&mut self, told: Told<'_>, isolating: &[IsolatingPolicy]) -> Vec<v1::IsolatingPolicy> {
        let nearest = words::nearest(isolating);
        let mut shown = Vec::new();
        for one in isolating.iter().take(POLICIES) {
            let mut policy = self.policy(&one.policy);
            // A policy that was not understood has no rules: `rules` would put that in place of the note that says
            // why.
            if self.sight.sees(&one.policy.key.namespace) && policy.note.is_empty() {
                let nearest =
                    nearest.filter(|(of, _)| of.policy.key == one.policy.key).map(|(_, miss)| miss.rule);
                self.rules(told, one, nearest, &mut policy);
            }
            shown.push(policy);
        }
        deduplicated(shown)
    }

    /// Tells how far the rules of a policy come.
    fn rules(
        &mut self,
        told: Told<'_>,
        isolating: &IsolatingPolicy,
        nearest: Option<usize>,
        shown: &mut v1::IsolatingPolicy,
    ) {
        let IsolatingPolicy { policy, direction, rules } = isolating;
        if rules.is_empty() {
            shown.note = format!("has no {direction} rules");
            return;
        }
        // The nearest is told in any case, for it is what people look for.
        let is_told = |(index, miss): &(usize, &Miss)| *index < RULES || nearest == Some(miss.rule);
        let mut left_out = 0;
        for (_, miss) in rules.iter().enumerate().filter(is_told) {
            if self.lines == 0 {
                left_out += 1;
                continue;
            }
            let mut rule = self.miss(told, policy, miss);
            rule.nearest = nearest == Some(miss.rule);
            self.lines = self.lines.saturating_sub(1 + rule.peer_why.len() + rule.port_why.len());
            shown.rules.push(rule);
        }
        // Rules beyond `RULES` have not been counted by the loop, which skips them.
        left_out += rules.len().saturating_sub(shown.rules.len() + left_out);
        if left_out > 0 {
            shown.note = format!("{left_out} more rules that do not allow it");
        }
    }

    fn miss(&mut self, told: Told<'_>, policy: &Arc<Policy>, miss: &Miss) -> v1::RuleMiss {
        let rule = policy.rules(told.direction).unwrap_or_default().get(miss.rule);
        let (mut peer_why, mut port_why) = (Vec::new(), Vec::new());
        // Beside a peer that matches, those that do not are no reason.
        if let (false, Some(rule), Some((_, missed))) = (miss.has_peer(), rule, &miss.peers) {
            peer_why.extend(missed.iter().take(WHYS).map(|miss| self.peer_why(told, policy, rule, miss)));
            and_more(&mut peer_why, missed.len());
        }
        if let (false, Some(rule), Some((_, missed))) = (miss.has_port(), rule, &miss.ports) {
            port_why.extend(missed.iter().take(WHYS).map(|miss| self.port_why(told, rule, miss)));
            and_more(&mut port_why, missed.len());
        }
        v1::RuleMiss {
            rule: format!("{} {}[{}]", policy.key, told.direction, miss.rule),
            peer: miss.has_peer(),
            peer_why,
            port: miss.has_port(),
            port_why,
            nearest: false,
        }
    }

    /// How a pod is called.
    fn pod(&self, pod: &Pod) -> String {
        match self.sight.sees(&pod.key.namespace) {
            true => pod_name(pod),
            false => format!("a pod of namespace {}", pod.key.namespace),
        }
    }
}

/// The kind of a verdict.
#[must_use]
pub fn kind(verdict: &Verdict) -> v1::Verdict {
    match verdict {
        Verdict::Open => v1::Verdict::Open,
        Verdict::Exempt(Exempt::HostNetwork) => v1::Verdict::HostNetwork,
        Verdict::Exempt(Exempt::OwnNode) => v1::Verdict::OwnNode,
        Verdict::Exempt(Exempt::Itself) => v1::Verdict::Itself,
        Verdict::Allowed(_) => v1::Verdict::Allowed,
        Verdict::Denied(_) if verdict.is_not_understood() => v1::Verdict::NotUnderstood,
        Verdict::Denied(_) => v1::Verdict::Denied,
        Verdict::OverBudget(_) => v1::Verdict::OverBudget,
        Verdict::Unready(_) => v1::Verdict::Unready,
        Verdict::Contested(_) => v1::Verdict::Contested,
    }
}

fn find<'a>(place: &'a Place, pod: Option<&PodKey>) -> Option<&'a Arc<Pod>> {
    place.owners.iter().find(|owner| Some(&owner.key) == pod)
}

/// Policies that may not be seen are told once.
fn deduplicated(mut policies: Vec<v1::IsolatingPolicy>) -> Vec<v1::IsolatingPolicy> {
    policies.dedup();
    policies
}

/// Says how many of `all` were left out.
fn and_more(whys: &mut Vec<String>, all: usize) {
    let more = all.saturating_sub(whys.len());
    if more > 0 {
        whys.push(format!("and {more} more"));
    }
}
