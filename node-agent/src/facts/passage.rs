//! Passage: whether what pods send comes to the rules at all, by counters that the kernel keeps anyway. Pure.
//!
//! ```text
//! pod ─▶ host's end of its pair (counts frames) ─▶ IP takes packets in (counts) ─▶ forwards (counts) = hook forward, the table
//!                       └─ taken by an eBPF program or a table of family netdev: neither of the other two counts
//! ```
//!
//! Every packet that IP forwards passes the hook at which the table's base chains stand, so the two counters of forwarded
//! packets, of IPv4 and IPv6, count what meets the table, and no rule has to: packets pay nothing, and tables need no other
//! layout. That nothing is forwarded says little by itself, for a pod that only answers its node's probes is not forwarded
//! either. But all that comes by the kernel's way is taken in first, whatever becomes of it. So a node is gone round where
//! pods send much more than IP takes in from anywhere, and next to nothing is forwarded.
//!
//! It would rather be silent. Not seen is: a node whose own traffic is larger than that of its pods, or that forwards for
//! others; pods of which only one talks (one alone could raise an alarm by frames that are no IP); pods on bridges, which facts of
//! their own tell of; links that are no pairs of this network namespace (netkit and Open vSwitch are told, macvlan, ipvlan and
//! SR-IOV are not); an agent whose nft works in another network namespace than pods' links are in.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// A period in which pods send fewer frames says nothing: neighbour discovery and others make some.
const TALK: u64 = 1000;
/// Pods send more than so many times as many frames as IP takes in packets.
const TAKEN_IN: u64 = 2;
/// Fewer than one in so many of their frames is forwarded. More than one: the kernel may merge a stream's segments (GRO).
const FORWARDED: u64 = 1024;
/// So many periods that say the same tell it.
const PERIODS: u8 = 2;

/// What the kernel has counted since its start.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Counters {
    /// Frames that came from the other end of each pair that is no port of anything, by number of the device.
    pub(super) sent: BTreeMap<u32, u64>,
    /// Packets that IP has taken in from all devices but loopback.
    pub(super) taken_in: u64,
    /// Packets that IP has forwarded.
    pub(super) forwarded: u64,
}

/// What a period tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Period {
    /// Pods have hardly sent anything.
    Quiet,
    /// What pods send comes to the kernel, as far as can be told.
    Met,
    /// It does not.
    Bypassed,
}

/// What was seen so far.
#[derive(Debug, Default)]
pub(super) struct Passage {
    before: Option<Counters>,
    /// Periods in a row that say that pods' packets do not come, but for quiet ones.
    suspicions: u8,
}

impl Passage {
    /// Takes down what was counted by the end of a period. Returns true if the rules are gone round.
    pub(super) fn see(&mut self, now: Counters) -> bool {
        if let Some(before) = &self.before {
            match period(before, &now) {
                Period::Quiet => {}
                Period::Met => self.suspicions = 0,
                Period::Bypassed => self.suspicions = self.suspicions.saturating_add(1).min(PERIODS),
            }
        }
        self.before = Some(now);
        self.is_bypassed()
    }

    pub(super) const fn is_bypassed(&self) -> bool {
        self.suspicions >= PERIODS
    }
}

fn period(before: &Counters, now: &Counters) -> Period {
    // A device that has just come has nothing to be compared with.
    let grown = |index: &u32, count: u64| Some(count.saturating_sub(*before.sent.get(index)?));
    let sent = bounded_sum(now.sent.iter().filter_map(|(index, count)| grown(index, *count)).collect());
    let taken_in = now.taken_in.saturating_sub(before.taken_in);
    let forwarded = now.forwarded.saturating_sub(before.forwarded);
    if sent < TALK {
        Period::Quiet
    } else if sent / TAKEN_IN > taken_in && sent / FORWARDED >= forwarded {
        Period::Bypassed
    } else {
        Period::Met
    }
}

/// The sum, in which the largest counts no more than the next one.
fn bounded_sum(mut all: Vec<u64>) -> u64 {
    all.sort_unstable();
    let largest = all.pop();
    let next = all.last().copied().unwrap_or_default();
    // The largest counts no more than the next: one pod alone cannot raise the alarm.
    all.iter().fold(largest.unwrap_or_default().min(next), |sum, count| sum.saturating_add(*count))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Frames that each pair sent, packets taken in, packets forwarded.
    type Activity<'a> = (&'a [u64], u64, u64);

    /// Sees periods in each of which so much has happened; what is said after each.
    fn seen(passage: &mut Passage, periods: &[Activity<'_>]) -> Vec<bool> {
        let mut now = passage.before.clone().unwrap_or_default();
        if passage.before.is_none() {
            now.sent = (0..8).map(|index| (index, 0)).collect();
            assert!(!passage.see(now.clone()), "there is no period yet");
        }
        let mut said = Vec::new();
        for (sent, taken_in, forwarded) in periods {
            for (count, more) in now.sent.values_mut().zip(*sent) {
                *count += more;
            }
            now.taken_in += taken_in;
            now.forwarded += forwarded;
            said.push(passage.see(now.clone()));
        }
        said
    }

    fn of(periods: &[Activity<'_>]) -> Vec<bool> {
        seen(&mut Passage::default(), periods)
    }

    #[test]
    fn pods_that_talk_past_the_kernel_are_told_after_two_periods() {
        let past: Activity<'_> = (&[5000, 5000], 1000, 0);
        assert_eq!(of(&[past, past, past]), [false, true, true]);
        let quiet: Activity<'_> = (&[10, 10], 5000, 0);
        assert_eq!(of(&[past, quiet, past, quiet]), [false, false, true, true], "quiet periods say nothing");
        let met: Activity<'_> = (&[5000, 5000], 20_000, 10_000);
        assert_eq!(of(&[past, met, past, past, met]), [false, false, false, true, false]);
    }

    #[test]
    fn no_node_that_is_judged_is_told() {
        let nodes: [(&str, Activity<'_>); 8] = [
            ("nothing happens", (&[0, 0], 0, 0)),
            ("the node talks, and no pod", (&[3, 3], 900_000, 0)),
            ("it forwards for others", (&[3, 3], 900_000, 900_000)),
            ("pods talk with other nodes", (&[50_000, 50_000], 200_000, 200_000)),
            ("pods only send", (&[50_000, 50_000], 100_000, 100_000)),
            ("pods answer probes and nothing else", (&[5000, 5000], 10_000, 0)),
            ("all of it is denied", (&[50_000, 50_000], 100_000, 0)),
            ("segments are merged", (&[900_000, 900_000], 40_000, 40_000)),
        ];
        for (node, period) in nodes {
            assert_eq!(of(&[period; 4]), [false; 4], "{node}");
        }
    }

    #[test]
    fn one_pod_alone_raises_no_alarm() {
        assert_eq!(of(&[(&[9_000_000, 100][..], 1000, 0); 4]), [false; 4]);
        assert_eq!(of(&[(&[9_000_000][..], 1000, 0); 4]), [false; 4]);
        assert_eq!(bounded_sum(vec![5, 100, 7]), 19);
        assert_eq!((bounded_sum(vec![]), bounded_sum(vec![u64::MAX; 3])), (0, u64::MAX));
    }

    #[test]
    fn links_that_come_and_go_and_counters_that_fall_say_nothing() {
        let counters =
            |sent: &[(u32, u64)]| Counters { sent: sent.iter().copied().collect(), ..Counters::default() };
        let mut passage = Passage::default();
        for sent in [
            &[(1, 9000), (2, 9000)][..],
            &[(3, 9000), (4, 9000)],
            &[(3, 10), (4, 10)],
            &[],
            &[(3, 9000), (4, 9000)],
        ] {
            assert!(!passage.see(counters(sent)), "{sent:?}");
            assert_eq!(passage.suspicions, 0, "{sent:?}");
        }
    }
}
