//! How often the pods of a namespace have to be tried against what its policies select, or name as peers: told
//! from counts of labels, without trying.
//!
//! A selector is filed under a condition ([`condition_of`]), and only pods that meet it are tried against it. So what an
//! index answers costs nothing, and ten thousand policies that select one pod by a label's value come to ten thousand
//! attempts, not to that many for each pod of the namespace.

use std::collections::HashMap;
use std::sync::Arc;

use crate::collections::count::Count;
use crate::invariant::bug;
use crate::label::{Labels, Selector};
use crate::object::{NamespaceScope, Peer, PeerMatch, Rule};
use crate::translate::index::select::condition_of;

/// The pods of a namespace and the statements of its policies, by label.
#[derive(Debug, Default)]
pub(in crate::translate) struct Attempts {
    pods: Count<u64>,
    /// Statements whose pod selectors no label leads to.
    everywhere: Count<u64>,
    keys: HashMap<Arc<str>, ByKey>,
    /// Pods that meet the condition of a statement, all statements together.
    total: Count<u64>,
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
    pods: Count<u64>,
    statements: Count<u64>,
}

impl Meeting {
    fn is_empty(self) -> bool {
        self.pods.is_zero() && self.statements.is_zero()
    }
}

impl Attempts {
    /// So many there are.
    pub(in crate::translate) fn total(&self) -> u64 {
        self.total.get()
    }

    fn add(&mut self, attempts: u64, come: bool) {
        if come { self.total.add(attempts) } else { self.total.sub(attempts) }
    }

    /// A pod with these labels has come, or gone.
    pub(in crate::translate) fn pod(&mut self, labels: &Labels, come: bool) {
        let mut attempts = self.everywhere.get();
        self.pods.step(come);
        for (key, value) in labels.pairs() {
            let by_key = self.keys.entry(Arc::clone(key)).or_default();
            let with_value = by_key.values.entry(Arc::clone(value)).or_default();
            attempts += by_key.any.statements.get() + with_value.statements.get();
            by_key.any.pods.step(come);
            with_value.pods.step(come);
            // Else a tenant that changes labels again and again would leave an entry for each of them.
            if !come {
                self.forget(key, [value]);
            }
        }
        self.add(attempts, come);
    }

    /// A statement with this pod selector has come, or gone.
    pub(in crate::translate) fn statement(&mut self, selector: &Selector, come: bool) {
        let attempts = match condition_of(selector) {
            None => {
                self.everywhere.step(come);
                self.pods.get()
            }
            Some((key, None)) => {
                let any = &mut self.keys.entry(Arc::clone(key)).or_default().any;
                any.statements.step(come);
                let pods = any.pods.get();
                self.forget(key, []);
                pods
            }
            Some((key, Some(values))) => {
                let by_key = self.keys.entry(Arc::clone(key)).or_default();
                let mut pods = 0;
                for value in values {
                    let with_value = by_key.values.entry(Arc::clone(value)).or_default();
                    with_value.statements.step(come);
                    pods += with_value.pods.get();
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
        let Some(by_key) = self.keys.get_mut(key) else {
            return bug!("neither a pod nor a statement has to do with {key:?}");
        };
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
pub(in crate::translate) struct PeerAttempts {
    attempts: Attempts,
    /// How often each is named.
    named: HashMap<Selector, Count>,
}

impl PeerAttempts {
    /// So many there are.
    pub(in crate::translate) fn total(&self) -> u64 {
        self.attempts.total()
    }

    /// A pod with these labels has come, or gone.
    pub(in crate::translate) fn pod(&mut self, labels: &Labels, come: bool) {
        self.attempts.pod(labels, come);
    }

    /// A statement with these rules has come, or gone.
    pub(in crate::translate) fn rules(&mut self, rules: &[Rule], come: bool) {
        for peer in peers_here(rules) {
            let named = self.named.entry(peer.clone()).or_default();
            named.step(come);
            // When one comes, it is news if it is the first; when one goes, if it was the last.
            let is_news = named.get() == u32::from(come);
            if named.is_zero() {
                self.named.remove(peer);
            }
            if is_news {
                self.attempts.statement(peer, come);
            }
        }
    }
}

/// The peers that select pods of the policy's own namespace; what is named twice comes twice.
pub(in crate::translate) fn peers_here(rules: &[Rule]) -> impl Iterator<Item = &Selector> {
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
    use crate::label::strategies::{labels, selector};

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
                statements.get(place).into_iter().for_each(|(selector, _)| attempts.statement(selector, true));
            }
            pods.iter().filter(|(_, gone)| *gone).for_each(|(labels, _)| attempts.pod(labels, false));
            statements.iter().filter(|(_, gone)| *gone).for_each(|(s, _)| attempts.statement(s, false));
            let left: Vec<Labels> = pods.iter().filter(|(_, gone)| !gone).map(|(it, _)| it.clone()).collect();
            let said: Vec<Selector> =
                statements.iter().filter(|(_, gone)| !gone).map(|(it, _)| it.clone()).collect();
            prop_assert_eq!(attempts.total(), one_by_one(&left, &said));
            left.iter().for_each(|labels| attempts.pod(labels, false));
            said.iter().for_each(|selector| attempts.statement(selector, false));
            prop_assert_eq!(attempts.total(), 0);
            prop_assert!(attempts.keys.is_empty());
        }
    }
}
