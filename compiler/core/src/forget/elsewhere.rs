//! What one node revokes, for the others. Both nodes of two pods have an entry for their connection, and each judges its
//! own pod only. So a node is told of addresses of other nodes that lost something, where one of its isolated pods may
//! have talked with them; where nothing isolates a pod, an entry lets nothing pass that would not pass without it.
//!
//! Told are addresses, not connections: it comes to one look of a node, however much was revoked. Pods that come and go
//! are no news: they have no connections yet, or none that matter any more.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::Arc;

use flock_shared::NodeName;
use flock_shared::prefixes::{Prefix, Prefixes};
use smallvec::SmallVec;

use super::{is_isolated, is_isolated_anew, members_lost};
use crate::identity::Name;
use crate::members::{Member, Members, SetElement};
use crate::object::Direction;
use crate::output::{AddressSet, BlockSet, IsolatedPod, Isolation, Output};

/// What a pass has revoked, as far as it matters to other nodes than those that judge it.
#[derive(Debug, Default)]
pub struct Elsewhere {
    /// Peers that are allowed less: a matter of their own nodes.
    peers: Prefixes,
    /// Pods that are isolated in another way: a matter of the nodes of their peers.
    isolated: Vec<(Talkers, Prefixes)>,
    by: BTreeSet<NodeName>,
}

/// Who may have talked with a pod before.
#[derive(Debug)]
enum Talkers {
    /// Whoever it is.
    Anyone,
    /// The members of these.
    Members(Vec<Arc<AddressSet>>),
}

/// How a pod was isolated, in those directions in which it no longer is; `None`: open.
type Was = SmallVec<[Option<(Direction, Name)>; 2]>;

impl Elsewhere {
    /// What these changes of nodes revoke, from before to after; `moved` are the addresses that pods have gained or
    /// given up with them, in order.
    #[must_use]
    pub fn of<'a>(changes: impl IntoIterator<Item = (&'a Output, &'a Output)>, moved: &[IpAddr]) -> Self {
        let is_news = |address: &IpAddr| moved.binary_search(address).is_err();
        let (mut peers, mut isolated, mut by) = (Vec::new(), BTreeMap::new(), BTreeSet::new());
        // What many nodes share is looked at once: whether it lost anything.
        let mut seen = HashMap::new();
        for (old, new) in changes {
            let mut revokes = false;
            if !Arc::ptr_eq(old.node_rules(), new.node_rules()) {
                let changed = old.node_rules().isolated.unshared(&new.node_rules().isolated);
                for (address, before, after) in changed {
                    if is_isolated_anew(before, after) && is_news(&address) {
                        // Pods that were isolated alike have the same talkers, which are listed for the first of
                        // them.
                        let (was, talkers) = talked(old, before, after);
                        let (_, addresses) = isolated.entry(was).or_insert_with(|| (talkers(), Vec::new()));
                        addresses.push(Prefix::from(address));
                        revokes = true;
                    }
                }
            }
            let sets = if old.shares_sets_with(new) { &[] } else { new.sets() };
            for (place, after) in sets.iter().enumerate() {
                let same = old.sets().get(place).is_some_and(|before| Arc::ptr_eq(before, after));
                let before = (!same).then(|| old.set(&after.definition.name)).flatten();
                let Some(before) = before else { continue };
                // By pointer: the outputs are borrowed throughout, so no place becomes another set's.
                revokes |= *seen.entry((Arc::as_ptr(before), Arc::as_ptr(after))).or_insert_with(|| {
                    let known = peers.len();
                    let lost = members_lost(before, after).into_iter();
                    peers.extend(lost.filter(|peer: &Prefix| is_news(&peer.address())));
                    peers.len() > known
                });
            }
            if revokes {
                by.insert(new.node().clone());
            }
        }
        let isolated =
            isolated.into_values().map(|(talkers, addresses)| (talkers, Prefixes::from_iter(addresses)));
        Self { peers: peers.into_iter().collect(), isolated: isolated.collect(), by }
    }

    /// What nodes revoke that come to have these states from others that nobody knows: whatever their isolated pods had.
    #[must_use]
    pub fn of_unknown<'a>(states: impl IntoIterator<Item = &'a Output> + Clone) -> Self {
        let by = states.clone().into_iter().map(|state| state.node().clone()).collect();
        let addresses: Prefixes =
            states.into_iter().flat_map(isolated_pods).map(|(address, _)| Prefix::from(*address)).collect();
        let isolated = if addresses.is_empty() { Vec::new() } else { vec![(Talkers::Anyone, addresses)] };
        Self { peers: Prefixes::default(), isolated, by }
    }

    /// The nodes that come to deny it.
    #[must_use]
    pub const fn by(&self) -> &BTreeSet<NodeName> {
        &self.by
    }

    /// Returns true if no other node has anything to do with it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.peers.is_empty() && self.isolated.is_empty()
    }

    /// The addresses whose connections are to be judged once more on the node that enforces this; perhaps more than are.
    #[must_use]
    pub fn concerning(&self, own: &Output) -> Prefixes {
        let isolated: Vec<IpAddr> = isolated_pods(own).map(|(address, _)| *address).collect();
        let mut all = Prefixes::default();
        if isolated.is_empty() {
            return all;
        }
        let peers = isolated.iter().filter(|address| self.peers.contains(**address));
        all.extend(peers.map(|address| Prefix::from(*address)));
        for (talkers, addresses) in &self.isolated {
            let concerns = match talkers {
                Talkers::Anyone => true,
                Talkers::Members(sets) => sets.iter().any(|set| overlaps(set, own, &isolated)),
            };
            if concerns {
                all.extend(addresses.iter().copied());
            }
        }
        all
    }
}

/// The addresses of a node's pods that are isolated in some direction.
fn isolated_pods(state: &Output) -> impl Iterator<Item = (&IpAddr, &IsolatedPod)> {
    state.node_rules().isolated.iter().filter(|(_, pod)| is_isolated(pod))
}

/// How an address was isolated where it is isolated in another way, and with whom it may have talked that way.
fn talked<'a>(
    old: &'a Output,
    before: Option<&'a IsolatedPod>,
    after: Option<&'a IsolatedPod>,
) -> (Was, impl FnOnce() -> Talkers + use<'a>) {
    let differs = move |direction: &Direction| {
        let of = |pod: Option<&'a IsolatedPod>| pod.map(|pod| pod.isolation(*direction));
        of(before) != of(after)
    };
    let was = move || {
        Direction::ALL.into_iter().filter(differs).map(move |it| before.map(|before| before.isolation(it)))
    };
    let names = was().flat_map(|was| match was {
        None | Some(Isolation::Open) => SmallVec::<[_; 1]>::from_elem(None, 1),
        Some(was) => was.rule_sets().iter().map(|rules| Some((rules.direction, rules.name))).collect(),
    });
    (names.collect(), move || {
        let mut sets = Vec::new();
        for was in was() {
            let (None | Some(Isolation::Open)) = was else {
                for rules in was.into_iter().flat_map(Isolation::rule_sets) {
                    let blocks = |union: &crate::output::Union| {
                        union.v4 != BlockSet::Nowhere || union.v6 != BlockSet::Nowhere
                    };
                    // Blocks and contested addresses have no members that could be listed.
                    if !rules.contested.is_empty() || rules.unions().any(blocks) {
                        return Talkers::Anyone;
                    }
                    sets.extend(rules.sets().filter_map(|definition| old.set(&definition.name).cloned()));
                }
                continue;
            };
            // It was open.
            return Talkers::Anyone;
        }
        Talkers::Members(sets)
    })
}

/// Returns true if one of a node's isolated pods is in a set. The smaller of both is looked up in the other.
fn overlaps(set: &AddressSet, own: &Output, isolated: &[IpAddr]) -> bool {
    fn any<A: Copy + Ord + Into<IpAddr>>(
        members: &Members<Member<A>>,
        own: &Output,
        isolated: &[IpAddr],
        of: fn(IpAddr) -> Option<A>,
    ) -> bool
    where
        Member<A>: SetElement,
    {
        // A set of destinations has members with ports, which cannot be looked up by address alone.
        let mut first = members.iter().take(1);
        if members.len() <= isolated.len() || first.any(|member| member.service.is_some()) {
            members.iter().any(|member| own.node_rules().isolated.get(&member.address.into()).is_some())
        } else {
            let mut addresses = isolated.iter().filter_map(|address| of(*address));
            addresses.any(|address| members.contains(&Member { address, service: None }))
        }
    }
    let v4 = |address| match address {
        IpAddr::V4(address) => Some(address),
        IpAddr::V6(_) => None,
    };
    let v6 = |address| match address {
        IpAddr::V6(address) => Some(address),
        IpAddr::V4(_) => None,
    };
    any(&set.v4, own, isolated, v4) || any(&set.v6, own, isolated, v6)
}
