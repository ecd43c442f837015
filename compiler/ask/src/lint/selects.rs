//! What selects nothing: FLK001 (a policy), FLK002 (a peer), FLK003 (a port's name).
//!
//! Pods that have ended count: those of a Job are there again tomorrow. Where an asker may not see every namespace that a
//! peer looks into, what is there is not told, and neither is that nothing is: labels of others could be guessed.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use flock_compiler_core::object::{
    Direction, IpBlock, NamespaceScope, Peer, PeerMatch, PodPeer, Policy, PortMatch, PortName, Rule,
    RulePorts,
};
use flock_compiler_core::port::Protocol;
use flock_compiler_core::{Operator, Selector};

use super::code::Lint;
use super::findings::{Findings, Found, path};
use super::ground::{Ground, PodClass, peers, rules};
use super::words::{Hint, Words, plain, selector_words, shown};

/// The label that every namespace has: its name.
const NAME: &str = "kubernetes.io/metadata.name";

/// What is wrong with what a policy selects.
pub(super) fn policy(ground: &Ground<'_>, words: &Words, policy: &Policy, findings: &mut Findings<'_>) {
    let selected = ground.selected_by(policy);
    if !selected.iter().any(|class| !class.host) {
        findings.of_policy(Lint::FLK001, policy, no_pod(ground, words, policy, !selected.is_empty()));
    }
    for (direction, index, rule) in rules(policy) {
        for (position, peer) in peers(rule).iter().enumerate() {
            let found = match peer {
                Peer::Pods(peer) => idle_peer(ground, words, policy, peer),
                Peer::Block(block) => idle_block(block),
            };
            if let Some(found) = found {
                let at = path::peer(direction, index, position);
                let field = format!("{at}.{}", found.field);
                findings.of_policy(Lint::FLK002, policy, Found { field, ..found });
            }
        }
        names(ground, words, policy, &selected, (direction, index, rule), findings);
    }
}

/// FLK001.
fn no_pod(ground: &Ground<'_>, words: &Words, policy: &Policy, has_host: bool) -> Found {
    let namespace = &policy.key.namespace;
    let field = "spec.podSelector".to_owned();
    let selector = selector_words(&policy.pod_selector);
    if has_host {
        let message = format!(
            "only pods of their node's network have {selector} in {namespace}, and no policy applies to those"
        );
        return Found { field, message, suggestion: String::new() };
    }
    if ground.classes_of(namespace).is_empty() {
        let message = format!("selects no pod: there are none in {namespace}");
        return Found { field, message, suggestion: String::new() };
    }
    let Hint { found, suggestion } =
        words.pods(ground, std::slice::from_ref(namespace), &policy.pod_selector);
    let message = format!("no pod of {namespace} has {selector}: {found}");
    Found { field, message, suggestion }
}

/// FLK002: what is wrong with a block of which nothing is left; the field within the peer.
fn idle_block(block: &IpBlock) -> Option<Found> {
    let field = "ipBlock.except".to_owned();
    let message = "selects no address: its excepts take out all of its cidr".to_owned();
    block.blocks().is_empty().then_some(Found { field, message, suggestion: String::new() })
}

/// FLK002: what is wrong with a peer that selects nothing; the field within the peer.
fn idle_peer(ground: &Ground<'_>, words: &Words, policy: &Policy, peer: &PodPeer) -> Option<Found> {
    let (mut has_pod, mut has_host) = (false, false);
    // Whether it broke off is in `has_pod`.
    let _ = ground.each_of_peer(peer, |class| {
        has_pod |= !class.host;
        has_host |= class.host;
        if has_pod { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    if has_pod || ground.is_spent() {
        return None;
    }
    let namespaces = ground.namespaces_of(peer);
    // Before sight is asked: of no namespace at all it would see everything. `no_namespace` decides what is told.
    if let (NamespaceScope::Matching(selector), true) = (&peer.namespaces, namespaces.is_empty()) {
        return no_namespace(ground, words, selector);
    }
    if !ground.sees(peer) {
        return None;
    }
    let field = match (&peer.namespaces, peer.pods.is_everything()) {
        (NamespaceScope::Matching(_), true) => "namespaceSelector",
        _ => "podSelector",
    };
    let within = match &*namespaces {
        [one] if *one == policy.key.namespace => "this namespace".to_owned(),
        [one] => format!("namespace {one}"),
        _ => format!("the {} namespaces that it selects", namespaces.len()),
    };
    let selector = selector_words(&peer.pods);
    if has_host {
        let message = format!(
            "only pods of their node's network have {selector} in {within}, and selectors do not select those"
        );
        let suggestion = "ipBlock with the addresses of the nodes".to_owned();
        return Some(Found { field: field.to_owned(), message, suggestion });
    }
    if namespaces.iter().all(|name| ground.classes_of(name).is_empty()) {
        // Manifests of one namespace say nothing of what is in others.
        if ground.cluster.assumed {
            return None;
        }
        let message = format!("selects no pod: there are none in {within}");
        return Some(Found { field: field.to_owned(), message, suggestion: String::new() });
    }
    let Hint { found, suggestion } = words.pods(ground, &namespaces, &peer.pods);
    let message = format!("no pod of {within} has {selector}: {found}");
    Some(Found { field: field.to_owned(), message, suggestion })
}

/// FLK002 of a selector that selects no namespace.
fn no_namespace(ground: &Ground<'_>, words: &Words, selector: &Selector) -> Option<Found> {
    // That there is no namespace of some name everybody is told who asks for it; what labels others have is not told.
    let is_by_name = selector
        .requirements()
        .all(|requirement| &*requirement.key == NAME && matches!(requirement.operator, Operator::In(_)));
    if !is_by_name && !ground.sight.sees_everything() {
        return None;
    }
    let Hint { found, suggestion } = words.namespaces(ground, selector);
    // Manifests need not have every namespace that they name: what is told is what looks like a slip.
    if ground.cluster.assumed && suggestion.is_empty() {
        return None;
    }
    let message = format!("no namespace has {}: {found}", selector_words(selector));
    Some(Found { field: "namespaceSelector".to_owned(), message, suggestion })
}

/// FLK003: names of ports that no destination pod has.
fn names(
    ground: &Ground<'_>,
    words: &Words,
    policy: &Policy,
    selected: &[&PodClass],
    (direction, index, rule): (Direction, usize, &Rule),
    findings: &mut Findings<'_>,
) {
    let RulePorts::OneOf(ports) = &rule.ports else { return };
    if !ports.iter().any(|port| matches!(port, PortMatch::Named { .. })) {
        return;
    }
    let Some(there) = destinations(ground, selected, direction, rule) else { return };
    for (position, port) in ports.iter().enumerate() {
        let PortMatch::Named { protocol, name } = port else { continue };
        // A rule that leads to no pod is told as such: FLK001 or FLK002.
        if there.pods == 0 || there.ports.contains(&(*protocol, name)) {
            continue;
        }
        let of_protocol = || there.ports.iter().filter(|(other, _)| other == protocol).map(|(_, name)| *name);
        let others: Vec<&str> = of_protocol().map(PortName::as_str).collect();
        let elsewhere = there.ports.iter().find(|(_, other)| *other == name);
        let name = plain(name.as_str());
        let has = match (elsewhere, others.is_empty()) {
            (Some((other, _)), _) => format!("{name} is a port of {other} there"),
            (None, true) => format!("they name no port of {protocol}"),
            (None, false) => format!("they have {}", shown(others.iter().copied(), "")),
        };
        let near = words.nearest(&name, &others);
        let suggestion = match (elsewhere, near) {
            (Some((other, _)), _) => format!("protocol: {other}"),
            (None, Some(near)) => plain(near),
            (None, None) => String::new(),
        };
        let message = format!("no destination pod has a port {name} of {protocol}; {has}");
        let field = format!("{}.port", path::port(direction, index, position));
        findings.of_policy(Lint::FLK003, policy, Found { field, message, suggestion });
    }
}

/// Pods that a rule leads to, and the ports that they name.
#[derive(Default)]
struct Destinations<'a> {
    pods: usize,
    ports: BTreeSet<(Protocol, &'a PortName)>,
}

impl<'a> Destinations<'a> {
    fn add(&mut self, class: &'a PodClass) {
        if !class.host {
            self.pods += 1;
            self.ports.extend(class.first.ports.iter().map(|port| (port.protocol, &port.name)));
        }
    }
}

/// The pods that a rule leads to; `None` if not all of them are known, or the asker may not see them.
fn destinations<'a>(
    ground: &'a Ground<'_>,
    selected: &[&'a PodClass],
    direction: Direction,
    rule: &Rule,
) -> Option<Destinations<'a>> {
    let mut there = Destinations::default();
    match (direction, &rule.peers) {
        (Direction::Ingress, _) => selected.iter().for_each(|class| there.add(class)),
        // Not with a block, which may have the address of any pod.
        (Direction::Egress, PeerMatch::OneOf(peers)) if !peers.iter().any(is_block) => {
            for peer in peers {
                let Peer::Pods(peer) = peer else { continue };
                if !ground.sees(peer) {
                    return None;
                }
                let _ = ground.each_of_peer(peer, |class| {
                    there.add(class);
                    ControlFlow::Continue(())
                });
            }
        }
        // Any pod of the cluster.
        (Direction::Egress, _) => {
            if !ground.sight.sees_everything() {
                return None;
            }
            ground.spend(ground.classes().len());
            ground.classes().iter().for_each(|class| there.add(class));
        }
    }
    (!ground.is_spent()).then_some(there)
}

const fn is_block(peer: &Peer) -> bool {
    matches!(peer, Peer::Block(_))
}
