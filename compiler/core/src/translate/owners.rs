//! Which pods claim which address. Nearly every address has one claimant.

use std::collections::BTreeSet;
use std::net::IpAddr;

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use crate::output::Families;

#[derive(Debug)]
enum Claimants {
    One([u32; 1]),
    Several(Vec<u32>),
}

/// Claims by address.
#[derive(Debug, Default)]
pub(super) struct Owners {
    claims: HashMap<IpAddr, Claimants>,
    /// Addresses that several pods claim.
    shared: BTreeSet<IpAddr>,
    v4: usize,
    v6: usize,
    /// Addresses that a pod has ceased to claim since this was last taken; some may come twice.
    released: Vec<IpAddr>,
}

impl Owners {
    const fn count(&mut self, address: &IpAddr) -> &mut usize {
        match address {
            IpAddr::V4(_) => &mut self.v4,
            IpAddr::V6(_) => &mut self.v6,
        }
    }

    /// Makes room for so many more addresses.
    pub(super) fn reserve(&mut self, count: usize) {
        self.claims.reserve(count);
    }

    /// A pod claims an address, unless another one does; whether it now does.
    pub(super) fn claim_free(&mut self, address: IpAddr, pod: u32) -> bool {
        let Entry::Vacant(free) = self.claims.entry(address) else { return false };
        free.insert(Claimants::One([pod]));
        *self.count(&address) += 1;
        true
    }

    /// A pod claims an address that it did not claim before.
    pub(super) fn claim(&mut self, address: IpAddr, pod: u32) {
        match self.claims.get_mut(&address) {
            None => {
                self.claims.insert(address, Claimants::One([pod]));
                *self.count(&address) += 1;
            }
            Some(claimants) => {
                if let Claimants::One([first]) = claimants {
                    *claimants = Claimants::Several(vec![*first]);
                }
                if let Claimants::Several(all) = claimants {
                    all.push(pod);
                }
                self.shared.insert(address);
            }
        }
    }

    /// A pod claims an address no longer.
    pub(super) fn disclaim(&mut self, address: &IpAddr, pod: u32) {
        let Some(claimants) = self.claims.get_mut(address) else { return };
        self.released.push(*address);
        match claimants {
            Claimants::One(_) => {
                self.claims.remove(address);
                *self.count(address) -= 1;
            }
            Claimants::Several(all) => {
                all.retain(|other| *other != pod);
                if let [last] = **all {
                    *claimants = Claimants::One([last]);
                    self.shared.remove(address);
                }
            }
        }
    }

    /// The pods that claim an address, unless it is known that one does.
    pub(super) fn claimants_unless(&self, alone: bool, address: &IpAddr) -> Option<&[u32]> {
        (!alone).then(|| self.claimants(address))
    }

    /// The pods that claim an address, in no order.
    pub(super) fn claimants(&self, address: &IpAddr) -> &[u32] {
        match self.claims.get(address) {
            None => &[],
            Some(Claimants::One(one)) => one,
            Some(Claimants::Several(all)) => all,
        }
    }

    /// The addresses that some pod claims, in no order.
    pub(super) fn claimed(&self) -> impl Iterator<Item = &IpAddr> {
        self.claims.keys()
    }

    /// Addresses that several pods claim, in order.
    pub(super) fn shared(&self) -> impl Iterator<Item = IpAddr> {
        self.shared.iter().copied()
    }

    /// The addresses that a pod has ceased to claim since this was last asked, in order. Some may be claimed again.
    pub(super) fn released(&mut self) -> Vec<IpAddr> {
        let mut released = std::mem::take(&mut self.released);
        released.sort_unstable();
        released.dedup();
        released
    }

    /// The families of the claimed addresses.
    pub(super) const fn families(&self) -> Families {
        Families { v4: self.v4 > 0, v6: self.v6 > 0 }
    }
}
