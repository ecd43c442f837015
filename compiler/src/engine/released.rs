//! Addresses that pods have ceased to have. Whoever gets one next waits until no node has it as that of a former owner.

use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;
use std::time::Duration;

use tokio::time::Instant;

use super::published::Sequence;

/// So many addresses are remembered that pods have ceased to have; the oldest are forgotten first.
const RELEASED: usize = 65_536;

/// So long after its first pass a process cannot tell which addresses pods ceased to have just before it: any may be one.
/// By then the agents of all nodes that are there have come, and acknowledged what it has published.
const AFTERMATH: Duration = Duration::from_secs(60);

/// Addresses that pods have ceased to have, each with the newest pass that published it.
#[derive(Debug, Default)]
pub struct Released {
    /// The first pass, and when it was.
    began: Option<(Sequence, Instant)>,
    by_address: BTreeMap<IpAddr, Sequence>,
    /// In the order of their passes; what is not the newest of its address is passed over.
    order: VecDeque<(Sequence, IpAddr)>,
}

impl Released {
    pub(super) fn take_down(&mut self, sequence: Sequence, addresses: Vec<IpAddr>) {
        self.began.get_or_insert_with(|| (sequence, Instant::now()));
        for address in addresses {
            self.by_address.insert(address, sequence);
            self.order.push_back((sequence, address));
        }
        // An address that was released again since has a later entry, which stays.
        while self.order.len() > RELEASED
            && let Some((sequence, address)) = self.order.pop_front()
        {
            if self.by_address.get(&address) == Some(&sequence) {
                self.by_address.remove(&address);
            }
        }
    }

    /// The newest pass that published that a pod has one of these addresses no longer.
    pub fn newest<'a>(&self, addresses: impl IntoIterator<Item = &'a IpAddr>) -> Option<Sequence> {
        addresses.into_iter().filter_map(|address| self.by_address.get(address)).max().copied()
    }

    /// The pass before which, for all that this process knows, a pod may have had one of these addresses.
    pub fn suspected<'a>(&self, addresses: impl IntoIterator<Item = &'a IpAddr>) -> Option<Sequence> {
        let (first, at) = self.began?;
        let is_unknown = |address| !self.by_address.contains_key(address);
        (at.elapsed() < AFTERMATH && addresses.into_iter().any(is_unknown)).then_some(first)
    }
}
