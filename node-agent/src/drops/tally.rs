//! What is new since the last reading of the kernel's sets. Pure.
//!
//! The kernel counts for as long as a table and a flow live there: a table that was replaced counts from 0, and so does a
//! flow that was gone for a while. What is not some flow's is told as a sum, which lags behind rather than being too much.

use std::collections::HashMap;

use flock_nft::drops::FLOWS_PER_SET;
use flock_proto::{DropDirection, DropKey, Unlisted};

use super::words::KeptFlow;

/// Flows that are remembered: of each direction and family, those that are there and as many that have just gone.
const REMEMBERED: usize = 2 * 4 * FLOWS_PER_SET;

/// For so many readings a flow is remembered that was not there: it may have been passed over.
const MISSED: u8 = 3;

/// What the kernel has at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reading {
    /// Which table it is.
    pub table: u64,
    /// Packets that were dropped, of each direction; read before the flows.
    pub dropped: Unlisted,
    /// The flows.
    pub flows: Vec<KeptFlow>,
}

/// What one reading tells.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct News {
    /// Flows that have had packets, with how many.
    pub flows: Vec<KeptFlow>,
    /// Packets of which no flow is there.
    pub unlisted: Unlisted,
}

#[derive(Debug, Clone, Copy)]
struct Remembered {
    packets: u64,
    missed: u8,
}

/// What was read so far.
#[derive(Debug, Default)]
pub struct Tally {
    /// Whether it is known what there was at first.
    has_begun: bool,
    /// `None`: none that takes drops down.
    table: Option<u64>,
    flows: HashMap<DropKey, Remembered>,
    dropped: Unlisted,
    /// Packets dropped that were neither some flow's nor told; less than nothing where flows were read later.
    owed: [i128; 2],
}

impl Tally {
    /// Returns true if nothing was dropped since the last reading, as far as these counts tell.
    #[must_use]
    pub fn is_quiet(&self, table: u64, dropped: Unlisted) -> bool {
        self.table == Some(table) && self.dropped == dropped
    }

    /// There is no table that takes drops down: what the next one has is new.
    pub fn none(&mut self) {
        self.has_begun = true;
        self.table = None;
    }

    /// Takes a reading down. What is there at the first one was told by somebody else, or never will be.
    pub fn read(&mut self, reading: Reading) -> News {
        let is_first = !std::mem::replace(&mut self.has_begun, true);
        if self.table != Some(reading.table) {
            self.table = Some(reading.table);
            self.flows.clear();
            self.dropped = Unlisted::default();
        }
        let mut news = News::default();
        let mut listed = [0i128; 2];
        self.flows.values_mut().for_each(|flow| flow.missed = flow.missed.saturating_add(1));
        for flow in reading.flows {
            let before = self.flows.get(&flow.key).map_or(0, |before| before.packets);
            // Fewer: it was gone, and came again.
            let packets = flow.packets.checked_sub(before).unwrap_or(flow.packets);
            // What is known stays known: a flood of new flows must not have old ones counted anew.
            if before > 0 || self.flows.len() < REMEMBERED {
                self.flows.insert(flow.key, Remembered { packets: flow.packets, missed: 0 });
            }
            if packets > 0 {
                listed[place(flow.key.direction)] += i128::from(packets);
                news.flows.push(KeptFlow { packets, ..flow });
            }
        }
        self.flows.retain(|_, flow| flow.missed < MISSED);
        let before = std::mem::replace(&mut self.dropped, reading.dropped);
        // An earlier agent has told what is there at the start, or nobody will.
        if is_first {
            return News::default();
        }
        let grown = |now: u64, before: u64| i128::from(now.checked_sub(before).unwrap_or(now));
        self.owed[0] += grown(reading.dropped.ingress, before.ingress) - listed[0];
        self.owed[1] += grown(reading.dropped.egress, before.egress) - listed[1];
        news.unlisted = Unlisted { ingress: pay(&mut self.owed[0]), egress: pay(&mut self.owed[1]) };
        news
    }
}

/// What is owed, which is told thereby.
fn pay(owed: &mut i128) -> u64 {
    // Below zero where flows were listed ahead of the rules' counters, which then have to catch up.
    let due = u64::try_from(*owed).unwrap_or_default();
    *owed -= i128::from(due);
    due
}

const fn place(direction: DropDirection) -> usize {
    match direction {
        DropDirection::Ingress => 0,
        DropDirection::Egress => 1,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn flow(port: u16, packets: u64) -> KeptFlow {
        let key = DropKey {
            source: [10, 0, 0, 1].into(),
            destination: [10, 0, 0, 2].into(),
            protocol: 6,
            port,
            direction: DropDirection::Ingress,
        };
        KeptFlow { key, packets, left: Duration::from_secs(60) }
    }

    fn reading(table: u64, ingress: u64, flows: &[(u16, u64)]) -> Reading {
        let flows = flows.iter().map(|(port, packets)| flow(*port, *packets)).collect();
        Reading { table, dropped: Unlisted { ingress, egress: 0 }, flows }
    }

    fn told(news: &News) -> (Vec<(u16, u64)>, u64) {
        let flows = news.flows.iter().map(|flow| (flow.key.port, flow.packets));
        (flows.collect(), news.unlisted.ingress)
    }

    #[test]
    fn what_is_there_at_first_is_not_told_and_what_grows_is() {
        let mut tally = Tally::default();
        assert_eq!(told(&tally.read(reading(1, 9, &[(1, 5)]))), (vec![], 0));
        assert!(tally.is_quiet(1, Unlisted { ingress: 9, egress: 0 }));
        assert_eq!(told(&tally.read(reading(1, 12, &[(1, 7), (2, 1)]))), (vec![(1, 2), (2, 1)], 0));
        assert_eq!(told(&tally.read(reading(1, 12, &[(1, 7), (2, 1)]))), (vec![], 0));
        assert!(!tally.is_quiet(2, Unlisted { ingress: 12, egress: 0 }));
    }

    #[test]
    fn all_of_a_table_that_comes_later_is_told() {
        let mut tally = Tally::default();
        tally.none();
        assert_eq!(told(&tally.read(reading(1, 9, &[(1, 5)]))), (vec![(1, 5)], 4));
        tally.none();
        assert_eq!(told(&tally.read(reading(2, 6, &[(1, 5)]))), (vec![(1, 5)], 1));
    }

    #[test]
    fn a_table_that_was_replaced_and_a_flow_that_came_again_count_from_nothing() {
        let mut tally = Tally::default();
        tally.read(reading(1, 0, &[]));
        assert_eq!(told(&tally.read(reading(1, 5, &[(1, 5)]))), (vec![(1, 5)], 0));
        assert_eq!(told(&tally.read(reading(1, 8, &[(1, 3)]))), (vec![(1, 3)], 0));
        assert_eq!(told(&tally.read(reading(2, 9, &[(1, 9)]))), (vec![(1, 9)], 0));
        // One that was passed over once is not taken for new.
        tally.read(reading(2, 9, &[]));
        assert_eq!(told(&tally.read(reading(2, 11, &[(1, 11)]))), (vec![(1, 2)], 0));
        for _ in 0..MISSED {
            tally.read(reading(2, 11, &[]));
        }
        assert_eq!(told(&tally.read(reading(2, 31, &[(1, 20)]))), (vec![(1, 20)], 0));
    }

    #[test]
    fn what_is_no_flows_is_told_once_and_never_too_much() {
        let mut tally = Tally::default();
        tally.read(reading(1, 0, &[]));
        assert_eq!(told(&tally.read(reading(1, 100, &[(1, 40)]))), (vec![(1, 40)], 60));
        // The flows were read a moment later than the sum.
        assert_eq!(told(&tally.read(reading(1, 110, &[(1, 55)]))), (vec![(1, 15)], 0));
        assert_eq!(told(&tally.read(reading(1, 130, &[(1, 60)]))), (vec![(1, 5)], 10));
        assert_eq!(told(&tally.read(reading(1, 130, &[(1, 60)]))), (vec![], 0));
    }

    #[test]
    fn it_remembers_no_more_than_there_can_be() {
        let mut tally = Tally::default();
        let flows: Vec<(u16, u64)> = (0..u16::MAX).map(|port| (port, 1)).collect();
        tally.read(reading(1, 0, &flows));
        assert_eq!(tally.flows.len(), REMEMBERED);
    }
}
