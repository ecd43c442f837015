//! Rules that add nothing: FLK006 (idle rules, a policy that says what another says), FLK011 (a rule that allows everything),
//! and FLK012 (UDP 53 without TCP 53), which asks the same: is this allowed by another rule that applies to the same pods?
//!
//! Only what is certain of the words alone is told, whatever pods there are: one selector has all that another has if each
//! of its requirements follows from one of the other's. What is told can be removed all at once: a rule is held against
//! those only that are not told themselves.

use std::collections::BTreeSet;
use std::sync::Arc;

use flock_compiler_core::object::{
    Direction, NamespaceScope, Peer, PeerMatch, PodPeer, Policy, PolicyBody, PortMatch, Rule, RulePorts,
};
use flock_compiler_core::port::{PortRange, Protocol};
use flock_compiler_core::{Operator, Requirement, Selector};

use super::code::Lint;
use super::findings::{Findings, Found, path};
use super::ground::Ground;

/// A rule of a namespace.
#[derive(Debug, Clone, Copy)]
struct Place<'a> {
    policy: &'a Arc<Policy>,
    direction: Direction,
    index: usize,
    rule: &'a Rule,
    /// Whether it has been found to add nothing.
    is_idle: bool,
}

impl Place<'_> {
    /// `shop/api ingress[0]`
    fn title(&self) -> String {
        format!("{} {}[{}]", self.policy.key, self.direction, self.index)
    }

    fn is_everything(&self) -> bool {
        self.rule.peers == PeerMatch::Any && self.rule.ports == RulePorts::Any
    }

    /// Returns true if the other rule is for the same direction of at least the same pods.
    fn is_reached_by(&self, other: &Self) -> bool {
        self.direction == other.direction && is_within(&self.policy.pod_selector, &other.policy.pod_selector)
    }
}

/// What adds nothing among the policies of a namespace, by name.
pub(super) fn namespace(ground: &Ground<'_>, policies: &[&Arc<Policy>], findings: &mut Findings<'_>) {
    let twins = twins(ground, policies, findings);
    let is_left = |policy: &&&Arc<Policy>| !twins.contains(&policy.key.name);
    let mut rules: Vec<Place<'_>> =
        policies.iter().filter(is_left).flat_map(|policy| places(policy)).collect();
    everything(ground, &rules, findings);
    idle(ground, &mut rules, findings);
    without_tcp(ground, &rules, findings);
}

fn places<'a>(policy: &'a Arc<Policy>) -> impl Iterator<Item = Place<'a>> {
    super::ground::rules(policy).map(move |(direction, index, rule)| Place {
        policy,
        direction,
        index,
        rule,
        is_idle: false,
    })
}

/// FLK006 of whole policies: those that say what an earlier one says of the same pods; their names.
fn twins<'a>(
    ground: &Ground<'_>,
    policies: &[&'a Arc<Policy>],
    findings: &mut Findings<'_>,
) -> BTreeSet<&'a flock_shared::ObjectName> {
    let mut twins = BTreeSet::new();
    let mut first: Vec<&Arc<Policy>> = Vec::new();
    for policy in policies {
        // Nobody knows what a policy that was not understood was meant to say.
        if !matches!(policy.body, PolicyBody::Understood(_)) {
            continue;
        }
        let says_the_same = |other: &&&Arc<Policy>| {
            ground.spend(1);
            other.pod_selector == policy.pod_selector && other.body == policy.body
        };
        // Once everything is spent nothing is compared any more, and nothing is told.
        let other = if ground.is_spent() { None } else { first.iter().find(says_the_same) };
        match other {
            None => first.push(policy),
            Some(other) => {
                twins.insert(&policy.key.name);
                let message = format!("says what NetworkPolicy {} says of the same pods", other.key);
                let found = Found { message, ..Found::default() };
                findings.of_policy(Lint::FLK006, policy, found);
            }
        }
    }
    twins
}

/// FLK011.
fn everything(ground: &Ground<'_>, rules: &[Place<'_>], findings: &mut Findings<'_>) {
    for open in rules.iter().filter(|rule| rule.is_everything()) {
        ground.spend(rules.len());
        if ground.is_spent() {
            return;
        }
        let others: Vec<String> = rules
            .iter()
            // Of two rules that allow everything, FLK006 tells one.
            .filter(|rule| !rule.is_everything() && rule.is_reached_by(open))
            .map(Place::title)
            .collect();
        let Some(first) = others.first() else { continue };
        let (verb, more) = match others.len() - 1 {
            0 => ("does", String::new()),
            more => ("do", format!(" and {more} more")),
        };
        let message = format!("allows everything, so that {first}{more} {verb} nothing");
        let field = path::rule(open.direction, open.index);
        findings.of_policy(Lint::FLK011, open.policy, Found { field, message, ..Found::default() });
    }
}

/// FLK006 of rules. From the last to the first: of two that say the same, the later one is told.
fn idle(ground: &Ground<'_>, rules: &mut [Place<'_>], findings: &mut Findings<'_>) {
    let mut told: Vec<(usize, String)> = Vec::new();
    for index in (0..rules.len()).rev() {
        let Some(rule) = rules.get(index).copied() else { continue };
        let Some(by) = covered(ground, &rule, rules, index) else { continue };
        // That rules beside one that allows everything do nothing is told there.
        if let Some(place) = rules.get_mut(index) {
            place.is_idle = true;
        }
        if rule.is_everything() || !by.is_everything() {
            told.push((index, by.title()));
        }
    }
    // Told in order, though found from the end.
    for (index, by) in told.into_iter().rev() {
        let Some(rule) = rules.get(index) else { continue };
        let message = format!("everything that it allows is allowed by {by} as well, for the same pods");
        let field = path::rule(rule.direction, rule.index);
        findings.of_policy(Lint::FLK006, rule.policy, Found { field, message, ..Found::default() });
    }
}

/// The rule that allows the first peer and port of `rule`, if all of them are allowed by others that are not idle.
fn covered<'a>(ground: &Ground<'_>, rule: &Place<'_>, rules: &[Place<'a>], own: usize) -> Option<Place<'a>> {
    let others = || {
        let others = rules.iter().enumerate().filter(move |(index, other)| *index != own && !other.is_idle);
        others.map(|(_, other)| other).filter(|other| {
            ground.spend(1);
            rule.is_reached_by(other)
        })
    };
    let mut by = None;
    for peer in each_peer(rule.rule) {
        // One by one, as several rules together may allow what this one does.
        for port in each_port(rule.rule) {
            let allows = |other: &&Place<'a>| allows(ground, other.rule, peer, port);
            // The rule that is told is one of its own policy, if there is one.
            let own = others().filter(|other| other.policy.key == rule.policy.key).find(allows);
            let found = own.or_else(|| others().find(allows)).copied()?;
            by = by.or(Some(found));
        }
    }
    by.filter(|_| !ground.is_spent())
}

/// FLK012.
fn without_tcp(ground: &Ground<'_>, rules: &[Place<'_>], findings: &mut Findings<'_>) {
    let [udp, tcp] = [Protocol::Udp, Protocol::Tcp].map(|it| PortMatch::Range(PortRange::single(it, 53)));
    for rule in rules {
        let RulePorts::OneOf(ports) = &rule.rule.ports else { continue };
        let Some(position) = ports.iter().position(|port| *port == udp) else { continue };
        let has_tcp = |peer: Option<&Peer>| {
            let mut others = rules.iter().filter(|other| {
                ground.spend(1);
                rule.is_reached_by(other)
            });
            others.any(|other| allows(ground, other.rule, peer, Some(&tcp)))
        };
        if each_peer(rule.rule).all(has_tcp) || ground.is_spent() {
            continue;
        }
        let message =
            "UDP 53 is allowed and TCP 53 is not: long answers of DNS servers do not come through".to_owned();
        let suggestion = "{protocol: TCP, port: 53} beside it".to_owned();
        let field = path::port(rule.direction, rule.index, position);
        findings.of_policy(Lint::FLK012, rule.policy, Found { field, message, suggestion });
    }
}

/// The peers of a rule; `None`: anybody.
fn each_peer(rule: &Rule) -> impl Iterator<Item = Option<&Peer>> {
    let (any, peers) = match &rule.peers {
        PeerMatch::Any => (Some(None), &[][..]),
        PeerMatch::OneOf(peers) => (None, &**peers),
    };
    any.into_iter().chain(peers.iter().map(Some))
}

/// The ports of a rule; `None`: any.
fn each_port(rule: &Rule) -> impl Iterator<Item = Option<&PortMatch>> {
    let (any, ports) = match &rule.ports {
        RulePorts::Any => (Some(None), &[][..]),
        RulePorts::OneOf(ports) => (None, &**ports),
    };
    any.into_iter().chain(ports.iter().map(Some))
}

/// Returns true if a rule certainly allows all of a peer, on all of a port.
fn allows(ground: &Ground<'_>, rule: &Rule, peer: Option<&Peer>, port: Option<&PortMatch>) -> bool {
    let has_port = match &rule.ports {
        RulePorts::Any => true,
        RulePorts::OneOf(ports) => {
            ground.spend(ports.len());
            port.is_some_and(|port| ports.iter().any(|other| is_port_within(port, other)))
        }
    };
    has_port
        && match &rule.peers {
            PeerMatch::Any => true,
            PeerMatch::OneOf(peers) => {
                ground.spend(peers.len());
                peer.is_some_and(|peer| peers.iter().any(|other| is_peer_within(ground, peer, other)))
            }
        }
}

fn is_port_within(port: &PortMatch, other: &PortMatch) -> bool {
    match (port, other) {
        (PortMatch::Range(port), PortMatch::Range(other)) => {
            other.contains(port.protocol(), port.first()) && other.contains(port.protocol(), port.last())
        }
        // A name is any number, so that only all of the protocol is sure to have it.
        (PortMatch::Named { protocol, .. }, PortMatch::Range(other)) => *other == PortRange::all(*protocol),
        (port, other) => port == other,
    }
}

fn is_peer_within(ground: &Ground<'_>, peer: &Peer, other: &Peer) -> bool {
    match (peer, other) {
        (Peer::Pods(peer), Peer::Pods(other)) => {
            is_scope_within(ground, peer, other) && is_within(&peer.pods, &other.pods)
        }
        (Peer::Block(peer), Peer::Block(other)) => peer.blocks().without(other.blocks()).is_empty(),
        // Pods may have addresses that are not known.
        (Peer::Pods(_), Peer::Block(_)) | (Peer::Block(_), Peer::Pods(_)) => false,
    }
}

fn is_scope_within(ground: &Ground<'_>, peer: &PodPeer, other: &PodPeer) -> bool {
    match (&peer.namespaces, &other.namespaces) {
        (NamespaceScope::Named(own), NamespaceScope::Named(other)) => own == other,
        // A selector selects no namespace that is not known.
        (NamespaceScope::Named(own), NamespaceScope::Matching(selector)) => {
            selector.is_everything() && ground.cluster.world.namespaces().contains_key(own)
        }
        (NamespaceScope::Matching(selector), NamespaceScope::Matching(other)) => is_within(selector, other),
        // Whatever the selector selects today, labels of namespaces change.
        (NamespaceScope::Matching(_), NamespaceScope::Named(_)) => false,
    }
}

/// Returns true if whatever the first selects, the other certainly selects, too.
fn is_within(selector: &Selector, other: &Selector) -> bool {
    selector == other
        || other.requirements().all(|wanted| selector.requirements().any(|given| follows(given, wanted)))
}

/// Returns true if labels that satisfy the first satisfy the other.
fn follows(given: &Requirement, wanted: &Requirement) -> bool {
    let all_in = |values: &[Arc<str>], others: &[Arc<str>]| values.iter().all(|value| others.contains(value));
    let none_in =
        |values: &[Arc<str>], others: &[Arc<str>]| !values.iter().any(|value| others.contains(value));
    given.key == wanted.key
        && match (&given.operator, &wanted.operator) {
            (Operator::In(_) | Operator::Exists, Operator::Exists)
            | (Operator::DoesNotExist, Operator::DoesNotExist | Operator::NotIn(_)) => true,
            (Operator::In(values), Operator::In(others)) => all_in(values, others),
            (Operator::In(values), Operator::NotIn(others)) => none_in(values, others),
            (Operator::NotIn(values), Operator::NotIn(others)) => all_in(others, values),
            _ => false,
        }
}
