//! How often the pods of a namespace have to be tried against what its policies select, as subjects or as peers: told
//! from counts of labels, without trying.
//!
//! A selector is filed under a condition ([`condition_of`]), and only pods that meet it are tried against it. So what an
//! index answers costs nothing, and ten thousand policies that select one pod by a label's value come to ten thousand
//! attempts, not to that many for each pod of the namespace.

use std::collections::HashMap;
use std::sync::Arc;

use super::select::condition_of;
use crate::label::{Labels, Selector};
use crate::object::{NamespaceScope, Peer, PeerMatch, Rule};

/// The pods of a namespace and the statements of its policies, by label.
#[derive(Debug, Default)]
pub(super) struct Attempts {
    pods: u64,
    /// Statements about subjects that nothing leads to.
    everywhere: u64,
    keys: HashMap<Arc<str>, ByKey>,
    /// Pods that meet the condition of a statement, all statements together.
    total: u64,
}

/// What is known of one key.
#[derive(Debug, Default)]
struct ByKey {
    /// Whatever its value.
    any: Meeting,
    /// With this value.
    values: HashMap<Arc<str>, Meeting>,
}

/// The pods that meet a condition, and the statements that are filed under it.
#[derive(Debug, Default, Clone, Copy)]
struct Meeting {
    pods: u64,
    statements: u64,
}

impl Meeting {
    const fn is_empty(self) -> bool {
        self.pods == 0 && self.statements == 0
    }
}

/// One more or one less.
fn step(count: &mut u64, come: bool) {
    if come { *count += 1 } else { *count -= 1 }
}

impl Attempts {
    /// So many there are.
    pub(super) const fn total(&self) -> u64 {
        self.total
    }

    fn add(&mut self, attempts: u64, come: bool) {
        if come { self.total += attempts } else { self.total -= attempts }
    }

    /// A pod with these labels has come, or gone.
    pub(super) fn pod(&mut self, labels: &Labels, come: bool) {
        let mut attempts = self.everywhere;
        step(&mut self.pods, come);
        for (key, value) in labels.pairs() {
            let by_key = self.keys.entry(Arc::clone(key)).or_default();
            let with_value = by_key.values.entry(Arc::clone(value)).or_default();
            attempts += by_key.any.statements + with_value.statements;
            step(&mut by_key.any.pods, come);
            step(&mut with_value.pods, come);
            if !come {
                self.forget(key, [value]);
            }
        }
        self.add(attempts, come);
    }

    /// A statement about these subjects has come, or gone.
    pub(super) fn statement(&mut self, subjects: &Selector, come: bool) {
        let attempts = match condition_of(subjects) {
            None => {
                step(&mut self.everywhere, come);
                self.pods
            }
            Some((key, None)) => {
                let any = &mut self.keys.entry(Arc::clone(key)).or_default().any;
                step(&mut any.statements, come);
                let pods = any.pods;
                self.forget(key, []);
                pods
            }
            Some((key, Some(values))) => {
                let by_key = self.keys.entry(Arc::clone(key)).or_default();
                let mut pods = 0;
                for value in values {
                    let with_value = by_key.values.entry(Arc::clone(value)).or_default();
                    step(&mut with_value.statements, come);
                    pods += with_value.pods;
                }
                if !come {
                    self.forget(key, values);
                }
                pods
            }
        };
        self.add(attempts, come);
    }

    /// Forgets what no pod and no statement has to do with.
    fn forget<'a>(&mut self, key: &Arc<str>, values: impl IntoIterator<Item = &'a Arc<str>>) {
        let Some(by_key) = self.keys.get_mut(key) else { return };
        for value in values {
            if by_key.values.get(value).is_some_and(|meeting| meeting.is_empty()) {
                by_key.values.remove(value);
            }
        }
        if by_key.values.is_empty() && by_key.any.is_empty() {
            self.keys.remove(key);
        }
    }
}

/// The same for the peers in the namespace that its policies name, each different one once: the index of peers holds it
/// once, whoever names it. Peers of other namespaces are weighed instead (see [`super::weight`]): how many pods others
/// have is not this namespace's doing.
#[derive(Debug, Default)]
pub(super) struct PeerAttempts {
    attempts: Attempts,
    /// How often each is named.
    named: HashMap<Selector, u32>,
}

impl PeerAttempts {
    /// So many there are.
    pub(super) const fn total(&self) -> u64 {
        self.attempts.total()
    }

    /// A pod with these labels has come, or gone.
    pub(super) fn pod(&mut self, labels: &Labels, come: bool) {
        self.attempts.pod(labels, come);
    }

    /// A statement with these rules has come, or gone.
    pub(super) fn rules(&mut self, rules: &[Rule], come: bool) {
        for peer in peers_here(rules) {
            let named = self.named.entry(peer.clone()).or_default();
            if come {
                *named += 1;
            } else {
                *named -= 1;
            }
            let is_news = *named == u32::from(come);
            if *named == 0 {
                self.named.remove(peer);
            }
            if is_news {
                self.attempts.statement(peer, come);
            }
        }
    }
}

/// The peers that select pods of the policy's own namespace; what is named twice comes twice.
pub(super) fn peers_here(rules: &[Rule]) -> impl Iterator<Item = &Selector> {
    let peers = rules.iter().flat_map(|rule| match &rule.peers {
        PeerMatch::Any => &[],
        PeerMatch::OneOf(peers) => peers.as_slice(),
    });
    peers.filter_map(|peer| match peer {
        Peer::Pods(peer) => matches!(peer.namespaces, NamespaceScope::Named(_)).then_some(&peer.pods),
        Peer::Block(_) => None,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::label::{Operator, Requirement};

    fn text() -> impl Strategy<Value = Arc<str>> {
        prop_oneof![Just("a"), Just("b"), Just("c")].prop_map(Arc::from)
    }

    fn labels() -> impl Strategy<Value = Labels> {
        proptest::collection::vec((text(), text()), 0..3).prop_map(|pairs| pairs.into_iter().collect())
    }

    fn selector() -> impl Strategy<Value = Selector> {
        let values = || proptest::collection::vec(text(), 1..3).prop_map(|all| all.into_iter().collect());
        let operator = prop_oneof![
            values().prop_map(Operator::In),
            values().prop_map(Operator::NotIn),
            Just(Operator::Exists),
            Just(Operator::DoesNotExist),
        ];
        let requirement = (text(), operator).prop_map(|(key, operator)| Requirement { key, operator });
        proptest::collection::vec(requirement, 0..3).prop_map(|all| all.into_iter().collect())
    }

    /// How many of these pods meet the condition of a statement, counted one by one.
    fn one_by_one(pods: &[Labels], statements: &[Selector]) -> u64 {
        let meets = |labels: &Labels, statement: &Selector| match condition_of(statement) {
            None => true,
            Some((key, None)) => labels.get(key).is_some(),
            Some((key, Some(values))) => {
                labels.get(key).is_some_and(|value| values.iter().any(|it| **it == *value))
            }
        };
        let tried =
            statements.iter().map(|statement| pods.iter().filter(|pod| meets(pod, statement)).count());
        tried.sum::<usize>() as u64
    }

    proptest! {
        #[test]
        fn counts_are_those_of_trying_one_by_one(
            pods in proptest::collection::vec((labels(), any::<bool>()), 0..12),
            statements in proptest::collection::vec((selector(), any::<bool>()), 0..12),
        ) {
            let mut attempts = Attempts::default();
            // Come in turn, so that neither is always there before the other.
            for place in 0..pods.len().max(statements.len()) {
                pods.get(place).into_iter().for_each(|(labels, _)| attempts.pod(labels, true));
                statements.get(place).into_iter().for_each(|(subjects, _)| attempts.statement(subjects, true));
            }
            pods.iter().filter(|(_, gone)| *gone).for_each(|(labels, _)| attempts.pod(labels, false));
            statements.iter().filter(|(_, gone)| *gone).for_each(|(s, _)| attempts.statement(s, false));
            let left: Vec<Labels> = pods.iter().filter(|(_, gone)| !gone).map(|(it, _)| it.clone()).collect();
            let said: Vec<Selector> =
                statements.iter().filter(|(_, gone)| !gone).map(|(it, _)| it.clone()).collect();
            prop_assert_eq!(attempts.total(), one_by_one(&left, &said));
            left.iter().for_each(|labels| attempts.pod(labels, false));
            said.iter().for_each(|subjects| attempts.statement(subjects, false));
            prop_assert_eq!(attempts.total(), 0);
            prop_assert!(attempts.keys.is_empty());
        }
    }
}
