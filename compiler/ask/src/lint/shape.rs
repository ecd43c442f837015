//! What can be told of a policy by itself: FLK007 (two peers where one was meant), FLK009 (rules that are never looked
//! at), FLK010 (a peer that is every address).

use flock_compiler_core::object::{Direction, NamespaceScope, Peer, Policy};

use super::code::Lint;
use super::findings::{Findings, Found, path};
use super::ground::{peers, rules};
use super::words::selector_words;

/// What is odd about a policy.
pub(super) fn policy(policy: &Policy, findings: &mut Findings<'_>) {
    let unused = |direction: &Direction| policy.meta.unused_rules.is_some_and(|it| it.contains(*direction));
    for direction in Direction::ALL.into_iter().filter(unused) {
        let word = match direction {
            Direction::Ingress => "Ingress",
            Direction::Egress => "Egress",
        };
        let message = format!("has rules, and policyTypes has no {word}: they are never looked at");
        let suggestion = format!("{word} in policyTypes");
        let field = format!("spec.{direction}");
        findings.of_policy(Lint::FLK009, policy, Found { field, message, suggestion });
    }
    for (direction, index, rule) in rules(policy) {
        let peers = peers(rule);
        // Neighbours only: one dash too many makes two peers of one, side by side.
        for (position, pair) in peers.windows(2).enumerate() {
            if let [one, other] = pair
                && let Some(suggestion) = one_was_meant(one, other)
            {
                let message = "are two peers: every pod of those namespaces, and pods of this namespace; in one peer they \
                               would be such pods of those namespaces";
                let (field, message) = (path::peer(direction, index, position + 1), message.to_owned());
                findings.of_policy(Lint::FLK007, policy, Found { field, message, suggestion });
            }
        }
        for (position, peer) in peers.iter().enumerate() {
            let Peer::Block(block) = peer else { continue };
            let families = match (block.blocks().v4.is_full(), block.blocks().v6.is_full()) {
                (false, false) => continue,
                (true, _) => "every IPv4 address",
                (false, true) => "every IPv6 address",
            };
            let message = format!("is {families}: pods and nodes of this cluster, and all that is outside");
            let field = format!("{}.ipBlock.cidr", path::peer(direction, index, position));
            findings.of_policy(Lint::FLK010, policy, Found { field, message, suggestion: String::new() });
        }
    }
}

/// Returns the peer that was probably meant if one of two neighbours has only a namespaceSelector and the other only a
/// podSelector that is not empty: with an empty one, "my own namespace, and those", it is mostly meant as it stands.
fn one_was_meant(one: &Peer, other: &Peer) -> Option<String> {
    let (Peer::Pods(one), Peer::Pods(other)) = (one, other) else { return None };
    let (namespaces, pods) = match (&one.namespaces, &other.namespaces) {
        (NamespaceScope::Matching(selector), NamespaceScope::Named(_)) if one.pods.is_everything() => {
            (selector, &other.pods)
        }
        (NamespaceScope::Named(_), NamespaceScope::Matching(selector)) if other.pods.is_everything() => {
            (selector, &one.pods)
        }
        _ => return None,
    };
    (!pods.is_everything()).then(|| {
        format!(
            "one peer with namespaceSelector {} and podSelector {}",
            if namespaces.is_everything() { "{}".to_owned() } else { selector_words(namespaces) },
            selector_words(pods)
        )
    })
}
