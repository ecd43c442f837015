//! Why something passes between two places, and how its ports are called.

use flock_compiler_core::judge::{Exempt, Flow, Judge, Place, Verdict};
use flock_compiler_core::object::{Direction, PortMatch, RulePorts};
use flock_compiler_core::port::PortRange;
use flock_proto::v1;

use crate::ports::{Mentions, Ports};
use crate::{Sight, cite};

/// So many flows are judged for the reasons of one row.
const SAMPLES: usize = 4;
/// So many cites a row has, and so many of them are named in its words.
const CITES: usize = 16;
const NAMED: usize = 3;
/// So many ranges of policies are looked at to tell how ports are cut.
const MENTIONS: usize = 4096;

/// What allows these ports in both directions, and the same in words.
pub(super) fn because(
    judge: &Judge<'_>,
    flow: &Flow,
    ports: &Ports,
    sight: &Sight,
) -> (Vec<v1::Cite>, String) {
    let (mut cites, mut more) = (Vec::new(), 0);
    let mut exempt = None;
    for carries in ports.samples(SAMPLES) {
        let judgement = judge.judge(&Flow { carries, ..flow.clone() });
        for verdict in [&judgement.egress, &judgement.ingress].into_iter().flat_map(opinions) {
            match verdict {
                Verdict::Exempt(Exempt::OwnNode) => {
                    exempt = Some("between a pod and its own node everything passes");
                }
                Verdict::Allowed(all) => {
                    for one in all {
                        let one = cite(one, sight);
                        // Each sample that a rule allows cites it again.
                        if cites.contains(&one) {
                            continue;
                        }
                        if cites.len() < CITES { cites.push(one) } else { more += 1 }
                    }
                }
                _ => {}
            }
        }
    }
    let words = match (&*cites, exempt) {
        ([], None) => "nothing isolates either end".to_owned(),
        ([], Some(exempt)) => exempt.to_owned(),
        _ => {
            let mut texts: Vec<&str> = cites.iter().map(|cite| &*cite.text).collect();
            texts.dedup();
            let left = texts.len().saturating_sub(NAMED) + more;
            texts.truncate(NAMED);
            let left = if left == 0 { String::new() } else { format!(" and {left} more") };
            format!("allowed by {}{left}", texts.join("; "))
        }
    };
    (cites, words)
}

/// What a verdict rests on: on an address with several owners, what is said for each of them.
fn opinions(verdict: &Verdict) -> Vec<&Verdict> {
    match verdict {
        Verdict::Contested(opinions) => opinions.iter().map(|opinion| &opinion.verdict).collect(),
        verdict => vec![verdict],
    }
}

/// How policies and pods that may be seen call and cut ports.
pub(super) fn mentions(judge: &Judge<'_>, source: &Place, destination: &Place, sight: &Sight) -> Mentions {
    let mut mentions = Mentions::default();
    // Others are left out with their policies: where ports are cut would tell what those name.
    let seen = |place: &'_ Place| -> Vec<_> {
        place.owners.iter().filter(|pod| sight.sees(&pod.key.namespace)).cloned().collect()
    };
    let destinations = seen(destination);
    for pod in &destinations {
        for port in pod.ports.iter() {
            mentions.names.insert((port.protocol, port.number), port.name.clone());
        }
    }
    for (direction, pods) in [(Direction::Egress, &seen(source)), (Direction::Ingress, &destinations)] {
        let policies = pods.iter().flat_map(|pod| judge.isolating(direction, pod));
        let rules = policies.flat_map(|policy| policy.rules(direction).unwrap_or_default());
        let ports = rules.flat_map(|rule| match &rule.ports {
            RulePorts::Any => &[][..],
            RulePorts::OneOf(ports) => ports,
        });
        let ranges = ports.filter_map(|port| match port {
            PortMatch::Range(range) => Some(*range),
            PortMatch::Named { .. } => None,
        });
        let parts = ranges.filter(|range| *range != PortRange::all(range.protocol()));
        mentions.ports.extend(parts.take(MENTIONS));
    }
    mentions
}
