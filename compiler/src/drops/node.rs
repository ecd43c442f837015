//! The flows of one node, with what they come to.

use std::collections::{BTreeMap, HashMap};
use std::time::SystemTime;

use flock_proto::{DropDirection, DropKey, Drops};

/// A flow that a node has told of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KnownFlow {
    /// Packets since it was first told.
    pub packets: u64,
    /// Those of them that were told in the last quarter of an hour.
    pub recent: u64,
    /// When it was first told, by this machine's clock.
    pub since: SystemTime,
    /// When its last packet was, by this machine's clock and the node's word.
    pub last: SystemTime,
}

/// How long packets are recent, in minutes.
const MINUTES: usize = 15;

/// Packets by minute of the last ones.
#[derive(Debug, Clone, Copy, Default)]
struct Recent {
    /// By minute, from the newest back.
    packets: [u32; MINUTES],
    newest: u64,
}

impl Recent {
    /// So many packets were told in a minute; `now` says which that is.
    fn add(&mut self, packets: u64, now: u64) {
        self.move_to(now);
        if let Some(first) = self.packets.first_mut() {
            *first = first.saturating_add(u32::try_from(packets).unwrap_or(u32::MAX));
        }
    }

    fn move_to(&mut self, now: u64) {
        let ago = usize::try_from(now.saturating_sub(self.newest)).unwrap_or(MINUTES).min(MINUTES);
        self.packets.rotate_right(ago % MINUTES);
        self.packets.iter_mut().take(ago).for_each(|minute| *minute = 0);
        self.newest = self.newest.max(now);
    }

    fn sum(mut self, now: u64) -> u64 {
        self.move_to(now);
        self.packets.iter().map(|packets| u64::from(*packets)).sum()
    }
}

/// The minute of a moment.
fn minute(at: SystemTime) -> u64 {
    at.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs() / 60)
}

/// A flow that is kept.
#[derive(Debug)]
struct KeptFlow {
    known: KnownFlow,
    recent: Recent,
    /// Its place in the order.
    place: u64,
}

impl KeptFlow {
    fn known(&self, now: u64) -> KnownFlow {
        KnownFlow { recent: self.recent.sum(now), ..self.known }
    }
}

/// What a node has told in all since this compiler has heard of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct NodeTotals {
    /// Packets of flows that were denied towards their destination.
    pub ingress: u64,
    /// Packets of flows that were denied from their source.
    pub egress: u64,
    /// Packets that no flow was told of, of either direction.
    pub unlisted_ingress: u64,
    /// Of the other direction.
    pub unlisted_egress: u64,
}

/// The flows of a node.
#[derive(Debug, Default)]
pub(super) struct NodeFlows {
    flows: HashMap<DropKey, KeptFlow>,
    /// By when they were told last, as a number that grows.
    order: BTreeMap<u64, DropKey>,
    told: u64,
    pub(super) totals: NodeTotals,
    /// How many flows the hub has counted here.
    pub(super) counted: usize,
}

impl NodeFlows {
    pub(super) fn len(&self) -> usize {
        self.flows.len()
    }

    pub(super) fn record(&mut self, drops: &Drops, at: SystemTime) {
        let add = |total: &mut u64, more: u64| *total = total.saturating_add(more);
        add(&mut self.totals.unlisted_ingress, drops.unlisted.ingress);
        add(&mut self.totals.unlisted_egress, drops.unlisted.egress);
        for flow in drops.flows() {
            match flow.key.direction {
                DropDirection::Ingress => add(&mut self.totals.ingress, flow.packets),
                DropDirection::Egress => add(&mut self.totals.egress, flow.packets),
            }
            let last = at.checked_sub(flow.ago).unwrap_or(at);
            self.told += 1;
            let known = KnownFlow { packets: 0, recent: 0, since: at, last };
            let fresh = KeptFlow { known, recent: Recent::default(), place: self.told };
            let kept = self.flows.entry(flow.key).or_insert(fresh);
            add(&mut kept.known.packets, flow.packets);
            kept.recent.add(flow.packets, minute(at));
            kept.known.last = kept.known.last.max(last);
            self.order.remove(&kept.place);
            kept.place = self.told;
            self.order.insert(self.told, flow.key);
        }
    }

    pub(super) fn forget_oldest(&mut self) {
        if let Some((_, key)) = self.order.pop_first() {
            self.flows.remove(&key);
        }
    }

    pub(super) fn flow(&self, key: &DropKey) -> Option<KnownFlow> {
        self.flows.get(key).map(|kept| kept.known(minute(SystemTime::now())))
    }

    pub(super) fn newest_first(&self) -> impl Iterator<Item = (DropKey, KnownFlow)> + '_ {
        let now = minute(SystemTime::now());
        self.order.values().rev().filter_map(move |key| Some((*key, self.flows.get(key)?.known(now))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_are_recent_for_a_quarter_of_an_hour() {
        let mut recent = Recent::default();
        recent.add(3, 100);
        recent.add(4, 101);
        assert_eq!((recent.sum(101), recent.sum(114), recent.sum(115), recent.sum(116)), (7, 7, 4, 0));
        recent.add(5, 200);
        assert_eq!((recent.sum(200), recent.sum(10_000)), (5, 0));
        // A clock that was set back takes nothing away.
        recent.add(1, 150);
        assert_eq!(recent.sum(200), 6);
    }
}
