//! What is to be told to the compiler: bounded, oldest first, and no more a second than the stream bears. Pure.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use flock_nft::drops::{FLOWS_PER_SET, KEPT_SECONDS};
use flock_proto::{DROPS_LIMIT, DropDirection, DropKey, DroppedFlow, Drops, Unlisted};
use tokio::time::Instant;

use super::tally::News;
use super::words::KeptFlow;

/// Flows that wait at most: what all sets hold. Packets of others are told without a flow.
const WAITING: usize = 4 * FLOWS_PER_SET;

/// Within a second, one message's flows are told.
const WINDOW: Duration = Duration::from_secs(1);

/// A flow that waits.
#[derive(Debug, Clone, Copy)]
struct Waiting {
    packets: u64,
    last: Instant,
}

/// What waits.
#[derive(Debug)]
pub struct Outbox {
    order: VecDeque<DropKey>,
    flows: HashMap<DropKey, Waiting>,
    unlisted: Unlisted,
    /// Since when so many flows have been told.
    window: Instant,
    told: usize,
}

impl Outbox {
    /// Nothing waits.
    #[must_use]
    pub fn new(now: Instant) -> Self {
        let (order, flows) = (VecDeque::new(), HashMap::new());
        Self { order, flows, unlisted: Unlisted::default(), window: now, told: 0 }
    }

    /// What a reading has told.
    pub fn add(&mut self, news: News, now: Instant) {
        let News { flows, unlisted } = news;
        self.unlisted.ingress = self.unlisted.ingress.saturating_add(unlisted.ingress);
        self.unlisted.egress = self.unlisted.egress.saturating_add(unlisted.egress);
        for KeptFlow { key, packets, left } in flows {
            // It is kept for so long after each packet.
            let ago = Duration::from_secs(KEPT_SECONDS).saturating_sub(left);
            self.put(key, packets, now.checked_sub(ago).unwrap_or(now));
        }
    }

    /// The first packet of a flow was shown.
    pub fn shown(&mut self, key: DropKey, now: Instant) {
        self.put(key, 0, now);
    }

    fn put(&mut self, key: DropKey, packets: u64, last: Instant) {
        if let Some(waiting) = self.flows.get_mut(&key) {
            waiting.packets = waiting.packets.saturating_add(packets);
            waiting.last = waiting.last.max(last);
        } else if self.flows.len() < WAITING {
            self.flows.insert(key, Waiting { packets, last });
            self.order.push_back(key);
        } else {
            let unlisted = match key.direction {
                DropDirection::Ingress => &mut self.unlisted.ingress,
                DropDirection::Egress => &mut self.unlisted.egress,
            };
            *unlisted = unlisted.saturating_add(packets);
        }
    }

    /// When something may be told; `None`: there is nothing.
    #[must_use]
    pub fn due(&self, now: Instant) -> Option<Instant> {
        let is_empty = self.flows.is_empty() && self.unlisted == Unlisted::default();
        let is_used_up = self.told >= DROPS_LIMIT;
        (!is_empty).then(|| if is_used_up { (self.window + WINDOW).max(now) } else { now })
    }

    /// What is told now, if anything may be.
    pub fn take(&mut self, now: Instant) -> Option<Drops> {
        if now >= self.window + WINDOW {
            (self.window, self.told) = (now, 0);
        }
        if self.due(now).is_none_or(|due| due > now) {
            return None;
        }
        let count = self.order.len().min(DROPS_LIMIT - self.told);
        // A message without flows, for the sum alone, counts as well.
        self.told += count.max(1);
        let flows = self.order.drain(..count).filter_map(|key| {
            let Waiting { packets, last } = self.flows.remove(&key)?;
            Some(DroppedFlow { key, packets, ago: whole_millis(now.saturating_duration_since(last)) })
        });
        Some(Drops::new(flows.collect(), std::mem::take(&mut self.unlisted)))
    }
}

const fn whole_millis(time: Duration) -> Duration {
    Duration::new(time.as_secs(), time.subsec_millis() * 1_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(number: u32) -> DropKey {
        let [_, _, high, low] = number.to_be_bytes();
        DropKey {
            source: [10, 0, high, low].into(),
            destination: [10, 0, 0, 2].into(),
            protocol: 6,
            port: 80,
            direction: DropDirection::Egress,
        }
    }

    fn news(numbers: impl Iterator<Item = u32>) -> News {
        let flow = |number| KeptFlow { key: key(number), packets: 2, left: Duration::from_secs(57) };
        News { flows: numbers.map(flow).collect(), unlisted: Unlisted { ingress: 1, egress: 0 } }
    }

    #[test]
    fn a_flow_is_told_once_with_all_its_packets_and_when_the_last_was() {
        let begun = Instant::now() + Duration::from_secs(100);
        let mut outbox = Outbox::new(begun);
        assert_eq!((outbox.due(begun), outbox.take(begun)), (None, None));
        outbox.shown(key(1), begun);
        outbox.add(news([1].into_iter()), begun);
        outbox.add(news([1].into_iter()), begun + Duration::from_millis(500));
        let told = outbox.take(begun + Duration::from_secs(1)).unwrap();
        // Shown at the beginning, which was later than what a reading says of its last packet.
        let expected = DroppedFlow { key: key(1), packets: 4, ago: Duration::from_secs(1) };
        assert_eq!((told.flows(), told.unlisted), (&[expected][..], Unlisted { ingress: 2, egress: 0 }));
        assert_eq!(outbox.due(begun + Duration::from_secs(9)), None);
    }

    #[test]
    fn no_more_is_told_a_second_than_the_stream_bears_and_no_more_waits_than_there_is_room() {
        let begun = Instant::now() + Duration::from_secs(100);
        let mut outbox = Outbox::new(begun);
        let many = u32::try_from(WAITING).unwrap();
        outbox.add(news(0..many + 10), begun);
        let first = outbox.take(begun).unwrap();
        assert_eq!(first.flows().len(), DROPS_LIMIT);
        assert_eq!(first.unlisted, Unlisted { ingress: 1, egress: 20 }, "what found no room");
        assert_eq!(outbox.take(begun + Duration::from_millis(900)), None);
        let next = begun + WINDOW;
        assert_eq!(outbox.due(begun), Some(next));
        // What comes again and again does not overtake what waits.
        outbox.add(news(0..10), begun);
        let second = outbox.take(next).unwrap();
        let limit = u32::try_from(DROPS_LIMIT).unwrap();
        let keys: Vec<_> = second.flows().iter().map(|flow| flow.key).collect();
        assert_eq!(keys, (limit..2 * limit).map(key).collect::<Vec<_>>());
    }
}
