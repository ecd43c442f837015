//! What was revoked, until all nodes that are to deny it do. Decisions, without any I/O.
//!
//! As long as one of them does not, a connection that the node of its other end forgets comes back there as a new one. So the
//! others are told once the last has come to deny it, and on the way there while one is slow, or is not heard of.
//!
//! ```text
//! pass ─────────────▶ outstanding ─┬─ the last node denies it ─────────────────────────▶ Tell
//!                                  └─ after 0.25 s, 1.5 s, 10 s; as further ones do ───▶ Tell
//! a node's full script ─▶ unknown ─── once a second, each node every half a minute ────▶ Tell
//! ```

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use flock_compiler_core::Output;
use flock_compiler_core::forget::Elsewhere;
use flock_shared::NodeName;
use tokio::time::Instant;

use crate::engine::{Revoked, Sequence};
use crate::fleet::NodeProgress;

/// At these ages it is told though some nodes have yet to deny it. With the last, nodes are given up of which nothing is heard:
/// another replica may serve them, and when they come here, what they have revoked meanwhile is told then.
const AGES: [Duration; 3] =
    [Duration::from_millis(250), Duration::from_millis(1500), Duration::from_secs(10)];
/// From one time that it is told to the next, if it is because further nodes deny it.
const PERIOD: Duration = Duration::from_secs(1);
/// The same, and between nodes of whose past nothing is known, where everybody has to look at all of its isolated pods.
const LONG_PERIOD: Duration = Duration::from_secs(10);
/// As often as this each node has what it says be told.
const PER_NODE: Duration = Duration::from_secs(30);
/// So many are outstanding on their own. Beyond, the two oldest become one, of which only is known that it was something.
const OUTSTANDING: usize = 64;
/// So many addresses are named; of more, everybody looks at its own.
const ADDRESSES: usize = 1024;
/// Between two looks while most nodes are about to acknowledge, and later.
const LOOKS: [Duration; 2] = [Duration::from_millis(50), Duration::from_millis(500)];

/// What streams are told.
#[derive(Debug, Clone)]
pub(super) enum Tell {
    /// This is revoked.
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
    told: Instant,
    /// Those that are yet to come.
    ages: &'static [Duration],
    /// Further nodes deny it since it was told.
    has_news: bool,
}

impl Outstanding {
    /// Returns true if it is to be told now. Once nothing is waited for, it is for the last time.
    fn look(&mut self, now: Instant, progress: impl Fn(&NodeName, Sequence) -> NodeProgress) -> bool {
        let before = self.waits_for.len();
        self.waits_for.retain(|node| progress(node, self.sequence) != NodeProgress::Reached);
        self.has_news |= self.waits_for.len() < before;
        let is_of_age = self.ages.first().is_some_and(|age| now >= self.since + *age);
        if is_of_age {
            self.ages = &self.ages[1..];
        }
        if self.ages.is_empty() {
            self.waits_for.retain(|node| progress(node, self.sequence) == NodeProgress::Behind);
        }
        let period = if matches!(self.what, Tell::Anything) { LONG_PERIOD } else { PERIOD };
        let is_told = is_of_age || self.has_news && (self.waits_for.is_empty() || now >= self.told + period);
        if is_told {
            self.told = now;
            self.has_news = false;
        }
        is_told
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
    unknown: UnknownPasts,
}

impl Unsettled {
    pub(super) fn new(now: Instant) -> Self {
        let unknown = UnknownPasts { states: BTreeMap::new(), told: BTreeMap::new(), not_before: now };
        Self { outstanding: VecDeque::new(), unknown }
    }

    /// A pass has revoked something.
    pub(super) fn revoked(&mut self, revoked: Revoked, now: Instant) {
        let Revoked { elsewhere, sequence, by } = revoked;
        self.outstanding.push_back(Outstanding {
            what: Tell::Revoked(elsewhere),
            sequence,
            waits_for: by.iter().cloned().collect(),
            since: now,
            told: now,
            ages: &AGES,
            has_news: false,
        });
        if self.outstanding.len() > OUTSTANDING
            && let (Some(oldest), Some(next)) = (self.outstanding.pop_front(), self.outstanding.front_mut())
        {
            next.what = Tell::Anything;
            next.waits_for.extend(oldest.waits_for);
            next.sequence = next.sequence.max(oldest.sequence);
            next.has_news |= oldest.has_news;
        }
    }

    /// A node has come to have a state, and from which other one nobody knows.
    pub(super) fn stands_anew(&mut self, state: Arc<Output>) {
        self.unknown.states.insert(state.node().clone(), state);
    }

    /// What is to be told now.
    pub(super) fn look(
        &mut self,
        now: Instant,
        progress: impl Fn(&NodeName, Sequence) -> NodeProgress,
    ) -> Vec<Tell> {
        let mut tells = Vec::new();
        self.outstanding.retain_mut(|it| {
            if it.look(now, &progress) {
                tells.push(it.what.clone());
            }
            !it.waits_for.is_empty()
        });
        tells.extend(self.unknown.look(now));
        tells
    }

    /// How long from now to the next look; `None`: there is nothing to look at.
    pub(super) fn pause(&self, now: Instant) -> Option<Duration> {
        let [soon, later] = LOOKS;
        match self.outstanding.back() {
            Some(newest) if now < newest.since + later => Some(soon),
            Some(_) => Some(later),
            None => (!self.unknown.states.is_empty()).then_some(later),
        }
    }
}

#[cfg(test)]
#[path = "unsettled_tests.rs"]
mod tests;
