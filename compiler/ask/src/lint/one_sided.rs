//! FLK005: what one end allows and the other does not, where both are isolated.
//!
//! It is judged for each peer: if nothing that it allows passes the other end, for any pod, port and protocol, the peer does
//! nothing. A peer of which some pods are reached is as it was meant, mostly: all pods of a namespace, say. Every verdict is
//! `judge`'s, for one pod of each class, and for some more where an `ipBlock` may tell pods of a class apart. Where there is
//! more to look at than [`PAIRS`], or no pod's address is known and a block could have it, nothing is told.

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::sync::Arc;

use flock_compiler_core::judge::{Carries, Flow};
use flock_compiler_core::object::{Direction, Peer, Pod, PodPeer, Policy, PortMatch, Rule, RulePorts};
use flock_compiler_core::port::{PortRange, Protocol};

use super::code::Lint;
use super::findings::{Findings, Found, path};
use super::ground::{Ground, PodClass, peers, place, rules};

/// So many pairs of classes are looked at for each peer.
const PAIRS: usize = 500;
/// So many ports are tried for each pair.
const PORTS: usize = 200;
/// So many policies that isolate the other end are named.
const NAMED: usize = 3;

/// Looks at the peers of a policy that select pods.
pub(super) fn policy(ground: &Ground<'_>, policy: &Policy, findings: &mut Findings<'_>) {
    let selected = ground.selected_by(policy);
    let own: Vec<&PodClass> = selected.into_iter().filter(|class| class.is_judged()).collect();
    if own.is_empty() {
        return;
    }
    for (direction, index, rule) in rules(policy) {
        for (position, peer) in peers(rule).iter().enumerate() {
            let Peer::Pods(peer) = peer else { continue };
            if let Some(found) = one_sided(ground, &own, direction, rule, peer) {
                let field = path::peer(direction, index, position);
                findings.of_policy(Lint::FLK005, policy, Found { field, ..found });
            }
        }
    }
}

/// The direction that judges the other end.
const fn far(direction: Direction) -> Direction {
    match direction {
        Direction::Ingress => Direction::Egress,
        Direction::Egress => Direction::Ingress,
    }
}

fn one_sided(
    ground: &Ground<'_>,
    own: &[&PodClass],
    direction: Direction,
    rule: &Rule,
    peer: &PodPeer,
) -> Option<Found> {
    let mut pairs = 0;
    let mut denied: Vec<&PodClass> = Vec::new();
    let looked = ground.each_of_peer(peer, |other| {
        if !other.is_judged() {
            return ControlFlow::Continue(());
        }
        let mut is_tried = false;
        for one in own {
            pairs += 1;
            match passes(ground, one, other, direction, rule) {
                Some(false) if pairs <= PAIRS && !ground.is_spent() => is_tried = true,
                None => {}
                // Something passes, or there is too much to look at: either way nothing is told of this peer.
                Some(_) => return ControlFlow::Break(()),
            }
        }
        if is_tried {
            denied.push(other);
        }
        ControlFlow::Continue(())
    });
    if looked.is_break() || ground.is_spent() {
        return None;
    }
    Some(words(ground, own, direction, &denied, denied.first()?))
}

/// Returns true if something that the rule allows between two classes passes the other end; `None` if it allows nothing
/// there, or there is no pair of different pods.
fn passes(
    ground: &Ground<'_>,
    own: &PodClass,
    other: &PodClass,
    direction: Direction,
    rule: &Rule,
) -> Option<bool> {
    let subject = other.samples.first()?;
    let isolating: Vec<&Arc<Policy>> = ground.judge.isolating(far(direction), subject).collect();
    if isolating.is_empty() {
        return Some(true);
    }
    let far_rules = || isolating.iter().flat_map(|policy| policy.rules(far(direction)).unwrap_or_default());
    let has_blocks = far_rules().any(|rule| peers(rule).iter().any(|peer| matches!(peer, Peer::Block(_))));
    // One pod of each class is as good as another, unless addresses count.
    let samples = if has_blocks { usize::MAX } else { 1 };
    let mut result = None;
    for pod in other.samples.iter().take(samples) {
        for counterpart in own.samples.iter().take(samples) {
            // What a pod sends itself always passes, and says nothing of the other end's policies.
            let counterpart = match counterpart.is_same_pod(pod) {
                false => counterpart,
                true => match own.sample_besides(pod) {
                    Some(another) => another,
                    None => continue,
                },
            };
            let unknown = |pod: &Pod| pod.addresses().is_none_or(|all| all.is_empty());
            // A block may have the address that it will get: nothing is told.
            if has_blocks && unknown(counterpart) {
                return Some(true);
            }
            let (source, destination) = match direction {
                Direction::Egress => (counterpart, pod),
                Direction::Ingress => (pod, counterpart),
            };
            let tried = ports(rule, destination, far_rules());
            ground.spend(tried.len() * (1 + isolating.len()));
            // A finding would need all of them to be closed.
            if tried.len() > PORTS {
                return Some(true);
            }
            let (source, destination) = (place(source), place(destination));
            for carries in tried {
                let flow = Flow { source: source.clone(), destination: destination.clone(), carries };
                if ground.judge.passes(&flow) {
                    return Some(true);
                }
                result = Some(false);
            }
        }
    }
    result
}

/// What a rule allows towards a pod, as far as rules of the other end may tell it apart: the first port of each of its
/// ranges, and those at which a range of theirs begins.
fn ports<'a>(rule: &Rule, destination: &Pod, far: impl Iterator<Item = &'a Rule>) -> BTreeSet<Carries> {
    let all = || Protocol::ALL.into_iter().map(PortRange::all);
    let ranges = |ports: &RulePorts| -> Vec<PortRange> {
        match ports {
            RulePorts::Any => all().collect(),
            RulePorts::OneOf(ports) => ports.iter().flat_map(|port| numbers(port, destination)).collect(),
        }
    };
    let allowed = ranges(&rule.ports);
    let edges = far.flat_map(|rule| ranges(&rule.ports)).map(|range| (range.protocol(), range.first()));
    let own = allowed.iter().map(|range| (range.protocol(), range.first()));
    let is_allowed =
        |(protocol, port): &(Protocol, u16)| allowed.iter().any(|range| range.contains(*protocol, *port));
    let mut tried: BTreeSet<Carries> =
        edges.filter(is_allowed).chain(own).map(|(protocol, port)| Carries::Port(protocol, port)).collect();
    if rule.ports == RulePorts::Any {
        // Only a rule without ports allows protocols that have none.
        tried.insert(Carries::Other);
    }
    tried
}

/// The numbers that a port of a rule stands for on the pod that it leads to.
pub(super) fn numbers(port: &PortMatch, destination: &Pod) -> Vec<PortRange> {
    match port {
        PortMatch::Range(range) => vec![*range],
        PortMatch::Named { protocol, name } => {
            destination.numbers(*protocol, name).map(|number| PortRange::single(*protocol, number)).collect()
        }
    }
}

fn words(
    ground: &Ground<'_>,
    own: &[&PodClass],
    direction: Direction,
    denied: &[&PodClass],
    first: &PodClass,
) -> Found {
    let is_seen = |class: &PodClass| ground.sight.sees(class.namespace());
    let title = |class: &PodClass| match is_seen(class) {
        true => class.first.title().to_string(),
        false => format!("pods of namespace {}", class.namespace()),
    };
    let among = |classes: usize, one: String| match classes {
        0 | 1 => one,
        _ => format!("{one} and pods like it"),
    };
    let here =
        among(own.len(), own.first().map_or_else(String::new, |class| class.first.title().to_string()));
    let there = among(denied.len(), title(first));
    let isolating: Vec<String> = ground
        .judge
        .isolating(far(direction), &first.first)
        .filter(|policy| ground.sight.sees(&policy.key.namespace))
        .map(|policy| policy.key.to_string())
        .collect();
    let named = isolating.get(..NAMED).unwrap_or(&isolating).join(", ");
    let by = if named.is_empty() { String::new() } else { format!(", isolated by {named},") };
    let message = match direction {
        Direction::Egress => {
            format!("lets {here} out to {there}: ingress there{by} lets nothing of it in")
        }
        Direction::Ingress => {
            format!("lets {there} in to {here}: egress there{by} lets nothing of it out")
        }
    };
    let suggestion = match (isolating.first(), direction) {
        (None, _) => String::new(),
        (Some(policy), Direction::Egress) => format!("the same in ingress of {policy}"),
        (Some(policy), Direction::Ingress) => format!("the same in egress of {policy}"),
    };
    Found { field: String::new(), message, suggestion }
}
