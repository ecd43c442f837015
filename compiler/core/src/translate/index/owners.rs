//! Which pods claim which address. Nearly every address has one claimant.

use std::collections::BTreeSet;
use std::net::IpAddr;

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use crate::collections::count::Count;
use crate::collections::ids::PodId;
use crate::invariant::bug;
use crate::output::Families;

#[derive(Debug)]
enum Claimants {
    One([PodId; 1]),
    Several(Vec<PodId>),
}

/// Claims by address.
#[derive(Debug, Default)]
pub(in crate::translate) struct AddressOwners {
    claims: HashMap<IpAddr, Claimants>,
    /// Addresses that several pods claim.
    shared: BTreeSet<IpAddr>,
    v4: Count,
    v6: Count,
    /// Addresses that a pod has ceased to claim since this was last taken; some may come twice.
    released: Vec<IpAddr>,
}

impl AddressOwners {
    const fn count(&mut self, address: &IpAddr) -> &mut Count {
        match address {
            IpAddr::V4(_) => &mut self.v4,
            IpAddr::V6(_) => &mut self.v6,
        }
    }

    /// Makes room for so many more addresses.
    pub(in crate::translate) fn reserve(&mut self, count: usize) {
        self.claims.reserve(count);
    }

    /// A pod claims addresses, unless another one claims any of them. Returns true if it does then.
    pub(in crate::translate) fn claim_free(&mut self, addresses: &[IpAddr], pod: PodId) -> bool {
        let taken = addresses.iter().position(|address| match self.claims.entry(*address) {
            Entry::Occupied(_) => true,
            Entry::Vacant(free) => {
                free.insert(Claimants::One([pod]));
                self.count(address).one_more();
                false
            }
        });
        // All of them or none. Nobody has seen the pod have those before the taken one, so they are not released.
        for address in addresses.iter().take(taken.unwrap_or_default()) {
            self.claims.remove(address);
            self.count(address).one_fewer();
        }
        taken.is_none()
    }

    /// A pod claims an address that it did not claim before.
    pub(in crate::translate) fn claim(&mut self, address: IpAddr, pod: PodId) {
        match self.claims.get_mut(&address) {
            None => {
                self.claims.insert(address, Claimants::One([pod]));
                self.count(&address).one_more();
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

    /// A pod claims an address no longer, which it did before.
    pub(in crate::translate) fn disclaim(&mut self, address: &IpAddr, pod: PodId) {
        let Some(claimants) = self.claims.get_mut(address) else {
            return bug!("nobody claims {address}, nor does {pod:?}");
        };
        self.released.push(*address);
        match claimants {
            Claimants::One([only]) if *only == pod => {
                self.claims.remove(address);
                self.count(address).one_fewer();
            }
            Claimants::One([only]) => bug!("{only:?} claims {address}, and {pod:?} does not"),
            Claimants::Several(all) => {
                let before = all.len();
                all.retain(|other| *other != pod);
                if all.len() == before {
                    bug!("{all:?} claim {address}, and {pod:?} does not");
                }
                if let [last] = **all {
                    *claimants = Claimants::One([last]);
                    self.shared.remove(address);
                }
            }
        }
    }

    /// The pods that claim an address, unless it is known that one does.
    pub(in crate::translate) fn claimants_unless(&self, alone: bool, address: &IpAddr) -> Option<&[PodId]> {
        (!alone).then(|| self.claimants(address))
    }

    /// The pods that claim an address, in no order.
    pub(in crate::translate) fn claimants(&self, address: &IpAddr) -> &[PodId] {
        match self.claims.get(address) {
            None => &[],
            Some(Claimants::One(one)) => one,
            Some(Claimants::Several(all)) => all,
        }
    }

    /// The addresses that some pod claims, in no order.
    pub(in crate::translate) fn claimed(&self) -> impl Iterator<Item = &IpAddr> {
        self.claims.keys()
    }

    /// Addresses that several pods claim, in order.
    pub(in crate::translate) fn shared(&self) -> impl Iterator<Item = IpAddr> {
        self.shared.iter().copied()
    }

    /// The addresses that a pod has ceased to claim since this was last asked, in order. Some may be claimed again.
    pub(in crate::translate) fn released(&mut self) -> Vec<IpAddr> {
        let mut released = std::mem::take(&mut self.released);
        released.sort_unstable();
        released.dedup();
        released
    }

    /// The families of the claimed addresses.
    pub(in crate::translate) fn families(&self) -> Families {
        Families { v4: !self.v4.is_zero(), v6: !self.v6.is_zero() }
    }
}
