//! What was revoked, until all nodes that are to deny it do. Decisions, without any I/O.
//!
//! As long as one of them does not, a connection that the node of its other end forgets comes back there as a new one. So the
//! others are told once the last has come to deny it, and on the way there while one is slow, or is not heard of.
//!
//! ```text
//! pass ─────────────▶ outstanding ─┬─ the last node that is here denies it ────────────▶ Tell
//!                                  └─ after 0.25 s, 1.5 s, 10 s; as further ones do ───▶ Tell
//! a node's full script ─▶ unknown ─── once a second, each node every half a minute ────▶ Tell
//! ```
//!
//! Of nodes that another replica serves nothing is heard. What they deny later than that is told when they come here.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use flock_compiler_core::Output;
use flock_compiler_core::forget::Elsewhere;
use flock_shared::NodeName;
use tokio::time::Instant;

use crate::engine::{Revoked, Sequence};
use crate::fleet::NodeProgress;

/// At these ages it is told though some nodes have yet to deny it, at the first of them only if it has not been before. With
/// the last, nodes are given up of which nothing is heard.
const AGES: [Duration; 3] =
    [Duration::from_millis(250), Duration::from_millis(1500), Duration::from_secs(10)];
/// From one time that it is told to the next, if it is because further nodes deny it.
const PERIOD: Duration = Duration::from_secs(1);
/// From one time that it may be anything to the next: everybody looks at all of its isolated pods.
const LONG_PERIOD: Duration = Duration::from_secs(5);
/// As often as this each node has what it says be told.
const PER_NODE: Duration = Duration::from_secs(30);
/// So many are outstanding on their own. Beyond, the two oldest become one, of which only is known that it was something.
const OUTSTANDING: usize = 64;
/// So many addresses are named; of more, everybody looks at its own.
const ADDRESSES: usize = 1024;
/// Of more than this at once only is told that it is something.
const AT_ONCE: usize = 8;
/// So many nodes that were given up are remembered by name.
const GIVEN_UP: usize = 16_384;
/// Between two looks while most nodes are about to acknowledge, and later.
const LOOKS: [Duration; 2] = [Duration::from_millis(50), Duration::from_millis(250)];

/// What streams are told.
#[derive(Debug, Clone)]
pub(super) enum Tell {
    /// This is revoked, by nodes that have come to deny it.
    Revoked(Arc<Elsewhere>),
    /// Anything may be, by anybody.
    Anything,
}

/// One revocation that not all nodes deny yet.
#[derive(Debug)]
struct Outstanding {
    what: Tell,
    sequence: Sequence,
    waits_for: BTreeSet<NodeName>,
    since: Instant,
    told: Option<Instant>,
    /// Those that are yet to come.
    ages: &'static [Duration],
    /// Further nodes deny it since it was told.
    has_news: bool,
}

impl Outstanding {
    fn new(what: Tell, sequence: Sequence, waits_for: BTreeSet<NodeName>, since: Instant) -> Self {
        Self { what, sequence, waits_for, since, told: None, ages: &AGES, has_news: false }
    }

    /// Returns true if it is to be told now. Once nothing is waited for, it is for the last time. Whoever is waited for no
    /// longer without having come to deny it is `given_up`.
    fn look(
        &mut self,
        now: Instant,
        progress: impl Fn(&NodeName, Sequence) -> NodeProgress,
        given_up: &mut BTreeSet<NodeName>,
    ) -> bool {
        let (before, mut is_behind) = (self.waits_for.len(), false);
        let sequence = self.sequence;
        self.waits_for.retain(|node| {
            let progress = progress(node, sequence);
            is_behind |= progress == NodeProgress::Behind;
            progress != NodeProgress::Reached
        });
        self.has_news |= self.waits_for.len() < before;
        let is_first_age = self.ages.len() == AGES.len();
        let is_of_age = self.ages.first().is_some_and(|age| now >= self.since + *age);
        if is_of_age {
            self.ages = &self.ages[1..];
        }
        if self.ages.is_empty() {
            // A node whose agent is elsewhere may never say here that it has come so far.
            let is_away = |node: &NodeName| progress(node, sequence) != NodeProgress::Behind;
            given_up.extend(self.waits_for.extract_if(.., |node| is_away(node)));
        }
        let period = if matches!(self.what, Tell::Anything) { LONG_PERIOD } else { PERIOD };
        let may_be_told = self.told.is_none_or(|told| now >= told + period);
        let is_told = is_of_age && !(is_first_age && self.told.is_some())
            || self.has_news && (!is_behind || may_be_told && !self.is_young(now));
        if is_told {
            self.told = Some(now);
            self.has_news = false;
        }
        is_told
    }

    /// Returns true if most nodes may be about to deny it.
    fn is_young(&self, now: Instant) -> bool {
        now < self.since + AGES[0]
    }
}

/// What is yet to be told of nodes whose states have come from others that nobody knows.
#[derive(Debug)]
struct UnknownPasts {
    states: BTreeMap<NodeName, Arc<Output>>,
    told: BTreeMap<NodeName, Instant>,
    not_before: Instant,
}

impl UnknownPasts {
    fn look(&mut self, now: Instant) -> Option<Tell> {
        self.told.retain(|_, at| now < *at + PER_NODE);
        if now < self.not_before {
            return None;
        }
        let told = &self.told;
        let due: Vec<_> = self.states.extract_if(.., |node, _| !told.contains_key(node)).collect();
        if due.is_empty() {
            return None;
        }
        self.told.extend(due.iter().map(|(node, _)| (node.clone(), now)));
        let states = || due.iter().map(|(_, state)| &**state);
        let isolated = states().flat_map(|state| state.node_rules().isolated.iter());
        let (tell, period) = if isolated.take(ADDRESSES + 1).count() > ADDRESSES {
            (Tell::Anything, LONG_PERIOD)
        } else {
            (Tell::Revoked(Arc::new(Elsewhere::of_unknown(states()))), PERIOD)
        };
        self.not_before = now + period;
        Some(tell)
    }
}

/// All that is to be told.
#[derive(Debug)]
pub(super) struct Unsettled {
    outstanding: VecDeque<Outstanding>,
    /// Nodes that may have come to deny something since, where nobody was told.
    given_up: BTreeSet<NodeName>,
    unknown: UnknownPasts,
    /// Anything is to be told, and not before this.
    owes_anything: bool,
    not_before: Instant,
}

impl Unsettled {
    pub(super) fn new(now: Instant) -> Self {
        let unknown = UnknownPasts { states: BTreeMap::new(), told: BTreeMap::new(), not_before: now };
        let given_up = BTreeSet::new();
        Self { outstanding: VecDeque::new(), given_up, unknown, owes_anything: false, not_before: now }
    }

    /// A pass has revoked something.
    pub(super) fn revoked(&mut self, revoked: Revoked, now: Instant) {
        let Revoked { elsewhere, sequence } = revoked;
        let waits_for = elsewhere.by().clone();
        self.push(Outstanding::new(Tell::Revoked(elsewhere), sequence, waits_for, now));
    }

    /// It is not known what passes up to this one have revoked: anything, by any of these nodes.
    pub(super) fn missed(&mut self, sequence: Sequence, nodes: BTreeSet<NodeName>, now: Instant) {
        self.push(Outstanding::new(Tell::Anything, sequence, nodes, now));
    }

    fn push(&mut self, newest: Outstanding) {
        self.outstanding.push_back(newest);
        if self.outstanding.len() > OUTSTANDING
            && let Some(mut oldest) = self.outstanding.pop_front()
            && let Some(next) = self.outstanding.front_mut()
        {
            // It keeps its age, whatever joins it: else it would never be told.
            oldest.what = Tell::Anything;
            oldest.waits_for.append(&mut next.waits_for);
            oldest.sequence = next.sequence;
            oldest.has_news |= next.has_news;
            *next = oldest;
        }
    }

    /// A node has come to have a state, and from which other one nobody knows.
    pub(super) fn stands_anew(&mut self, state: Arc<Output>) {
        self.given_up.remove(state.node());
        self.unknown.states.insert(state.node().clone(), state);
    }

    /// A node has come with the state that it should have.
    pub(super) fn came(&mut self, state: Arc<Output>) {
        if self.given_up.contains(state.node()) {
            self.stands_anew(state);
        }
    }

    /// What is to be told now.
    pub(super) fn look(
        &mut self,
        now: Instant,
        progress: impl Fn(&NodeName, Sequence) -> NodeProgress,
    ) -> Vec<Tell> {
        let mut tells = Vec::new();
        self.outstanding.retain_mut(|it| {
            if it.look(now, &progress, &mut self.given_up) {
                tells.push(it.what.clone());
            }
            !it.waits_for.is_empty()
        });
        tells.extend(self.unknown.look(now));
        // Who was given up is not known from here on, so everybody looks at everything once.
        if self.given_up.len() > GIVEN_UP {
            self.given_up.clear();
            tells.push(Tell::Anything);
        }
        let is_anything = |tell: &Tell| matches!(tell, Tell::Anything);
        self.owes_anything |= tells.len() > AT_ONCE || tells.iter().any(is_anything);
        if !self.owes_anything {
            return tells;
        }
        if now < self.not_before {
            return Vec::new();
        }
        self.owes_anything = false;
        self.not_before = now + LONG_PERIOD;
        vec![Tell::Anything]
    }

    /// From one look to the next; `None`: there is nothing to look at.
    pub(super) fn pause(&self, now: Instant) -> Option<Duration> {
        let [soon, later] = LOOKS;
        match self.outstanding.back() {
            Some(newest) if newest.is_young(now) => Some(soon),
            Some(_) => Some(later),
            None => (self.owes_anything || !self.unknown.states.is_empty()).then_some(later),
        }
    }
}

#[cfg(test)]
#[path = "unsettled_tests.rs"]
mod tests;
