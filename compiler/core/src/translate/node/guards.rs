//! Guards: the blocks of each node whose addresses are isolated unless a pod owns them, when they are, and the
//! addresses that one owns.
//!
//! An address is looked up once for every length that a block has, and most clusters have one per family. Where no node
//! has a block, nothing is looked up. The known addresses follow pods as the members of sets do: edits are collected,
//! and settled once a pass.

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use flock_shared::{NodeName, PodKey};
use smallvec::SmallVec;

use crate::collections::count::Count;
use crate::collections::ids::NodeId;
use crate::collections::sorted::Sorted;
use crate::invariant::bug;
use crate::members::{Member, MemberEdit, Members};
use crate::object::{Node, PodCidr};
use crate::output::{Closing, PodCidrGuard};
use crate::translate::index::cluster::Cluster;
use crate::translate::index::owners::AddressOwners;
use crate::translate::node::expected::Expected;
use crate::translate::options::UnreadyPods;
use crate::translate::sets::effective;
use crate::world::World;

/// What one node guards.
#[derive(Debug)]
struct NodeGuard {
    cidrs: Sorted<PodCidr>,
    /// As of the last pass; `None`: the guard is new.
    settled: Option<Arc<PodCidrGuard>>,
    edits4: Vec<MemberEdit<Member<Ipv4Addr>>>,
    edits6: Vec<MemberEdit<Member<Ipv6Addr>>>,
}

impl NodeGuard {
    fn new(cidrs: Sorted<PodCidr>) -> Self {
        Self { cidrs, settled: None, edits4: Vec::new(), edits6: Vec::new() }
    }

    fn edit(&mut self, address: IpAddr, known: bool) {
        match address {
            IpAddr::V4(address) => self.edits4.push((Member { address, service: None }, known)),
            IpAddr::V6(address) => self.edits6.push((Member { address, service: None }, known)),
        }
    }

    /// Makes the edits so far into new known addresses, which are closed in this way for the sake of these pods. Returns true
    /// if anything differs from before.
    fn settle(&mut self, closing: Closing, expected: Sorted<PodKey>) -> bool {
        let before = self.settled.take();
        let is_same = before.as_ref().is_some_and(|it| it.closing == closing && it.expected == expected);
        let none = (Members::default(), Members::default());
        let (known4, known6) =
            before.as_ref().map_or(none, |before| (before.known4.clone(), before.known6.clone()));
        let (edits4, edits6) = (effective(&mut self.edits4, &known4), effective(&mut self.edits6, &known6));
        if is_same && edits4.is_empty() && edits6.is_empty() {
            self.settled = before;
            return false;
        }
        let (known4, known6) = (known4.edited(&edits4), known6.edited(&edits6));
        let cidrs = self.cidrs.clone();
        self.settled = Some(Arc::new(PodCidrGuard { cidrs, closing, expected, known4, known6 }));
        true
    }
}

/// The guards of all nodes.
#[derive(Debug, Default)]
pub(in crate::translate) struct PodCidrGuards {
    option: UnreadyPods,
    /// Whether anything is guarded, as of the last pass: there is a policy.
    active: bool,
    by_node: BTreeMap<NodeId, NodeGuard>,
    by_cidr: HashMap<PodCidr, SmallVec<[NodeId; 2]>>,
    /// How many blocks there are of each family (whether it is IPv4) and length.
    lengths: BTreeMap<(bool, u8), Count>,
    /// Nodes whose guards have edits; some may come twice.
    touched: Vec<NodeId>,
}

impl PodCidrGuards {
    pub(in crate::translate) fn new(option: UnreadyPods) -> Self {
        Self { option, ..Self::default() }
    }

    /// A node has the blocks of this object now; `None`: there is none, and nothing to guard.
    pub(in crate::translate) fn put(&mut self, node: NodeId, object: Option<&Node>) {
        let cidrs = object.map(|object| object.pod_cidrs.clone()).unwrap_or_default();
        // An equal object must not make the guard new: that would look up every address of the cluster again.
        if self.option == UnreadyPods::Allow || self.cidrs_of(node) == &*cidrs {
            return;
        }
        if let Some(guard) = self.by_node.remove(&node) {
            guard.cidrs.iter().for_each(|cidr| self.forget(node, *cidr));
        }
        if cidrs.is_empty() {
            return;
        }
        for cidr in &cidrs {
            self.by_cidr.entry(*cidr).or_default().push(node);
            self.lengths.entry((cidr.first().is_ipv4(), cidr.prefix())).or_default().one_more();
        }
        self.by_node.insert(node, NodeGuard::new(cidrs));
        self.touched.push(node);
    }

    fn cidrs_of(&self, node: NodeId) -> &[PodCidr] {
        self.by_node.get(&node).map_or(&[], |guard| &guard.cidrs)
    }

    fn forget(&mut self, node: NodeId, cidr: PodCidr) {
        let length = (cidr.first().is_ipv4(), cidr.prefix());
        let (Some(nodes), Some(count)) = (self.by_cidr.get_mut(&cidr), self.lengths.get_mut(&length)) else {
            return bug!("no node guards {cidr}, nor does {node:?}");
        };
        nodes.retain(|other| *other != node);
        if nodes.is_empty() {
            self.by_cidr.remove(&cidr);
        }
        if count.one_fewer() == 0 {
            self.lengths.remove(&length);
        }
    }

    /// The nodes that guard an address; one may come several times.
    fn nodes_around(&self, address: IpAddr) -> SmallVec<[NodeId; 2]> {
        let v4 = address.is_ipv4();
        let lengths = self.lengths.range((v4, 0)..=(v4, u8::MAX)).map(|((_, length), _)| *length);
        let cidrs = lengths.filter_map(|length| PodCidr::around(address, length));
        cidrs.filter_map(|cidr| self.by_cidr.get(&cidr)).flatten().copied().collect()
    }

    /// Pods may have claimed these addresses, or claim them no longer.
    pub(in crate::translate) fn follow<'a>(
        &mut self,
        addresses: impl IntoIterator<Item = &'a IpAddr>,
        owners: &AddressOwners,
    ) {
        if self.by_node.is_empty() {
            return;
        }
        for address in addresses {
            let known = !owners.claimants(address).is_empty();
            for node in self.nodes_around(*address) {
                // What a new guard knows is looked up when it is settled.
                if let Some(guard) = self.by_node.get_mut(&node).filter(|guard| guard.settled.is_some()) {
                    guard.edit(*address, known);
                    self.touched.push(node);
                }
            }
        }
    }

    /// What decides when a node's blocks are closed has changed.
    pub(in crate::translate) fn touch(&mut self, node: NodeId) {
        if self.by_node.contains_key(&node) {
            self.touched.push(node);
        }
    }

    /// Returns true if it matters who is on the way.
    pub(in crate::translate) fn is_expecting(&self) -> bool {
        self.option == UnreadyPods::Expected
    }

    /// Settles what has changed since the last pass; the nodes whose outputs are to follow, in no order. Guards are
    /// active as long as there is a policy.
    pub(in crate::translate) fn settle(
        &mut self,
        world: &World,
        cluster: &Cluster,
        expected: &mut Expected,
    ) -> Vec<NodeId> {
        expected.touched().into_iter().for_each(|node| self.touch(node));
        let owners = &cluster.owners;
        let mut touched = crate::translate::pass::distinct(&mut self.touched);
        let is_new = |id: &NodeId| self.by_node.get(id).is_some_and(|guard| guard.settled.is_none());
        // This goes through all claimed addresses, once for all new guards. Most passes have none.
        if touched.iter().any(is_new) {
            self.look_up(owners);
        }
        let is_expecting = self.is_expecting();
        // An agent that does not keep the table told that it is there would leave the node closed for good.
        let may_expect = |name: &NodeName| world.facts().get(name).is_some_and(|facts| facts.may_expect());
        let closing = |id: NodeId| match cluster.node(id) {
            Some(node) if is_expecting && may_expect(&node.name) => {
                Closing::Expecting(expected.directions(id))
            }
            _ => Closing::Always,
        };
        touched.retain(|id| {
            let closing = closing(*id);
            let pods = expected.on(*id).filter(|_| closing != Closing::Always);
            let pods = pods.filter_map(|pod| cluster.pod(pod)).map(|entry| entry.pod.key.clone()).collect();
            self.by_node.get_mut(id).is_some_and(|guard| guard.settle(closing, pods))
        });
        let active = !world.policies().is_empty() && self.option != UnreadyPods::Allow;
        // The first policy turns all guards on and the last one turns them off: each of these nodes follows, touched or
        // not.
        if std::mem::replace(&mut self.active, active) != active {
            return self.by_node.keys().copied().collect();
        }
        // Guards are settled while they are off, too, so that they are up to date when they are turned on.
        if active { touched } else { Vec::new() }
    }

    /// Tells new guards which addresses are known.
    fn look_up(&mut self, owners: &AddressOwners) {
        for address in owners.claimed() {
            for node in self.nodes_around(*address) {
                if let Some(guard) = self.by_node.get_mut(&node).filter(|guard| guard.settled.is_none()) {
                    guard.edit(*address, true);
                }
            }
        }
    }

    /// What a node guards, if anything is guarded.
    pub(in crate::translate) fn of(&self, node: NodeId) -> Option<Arc<PodCidrGuard>> {
        self.by_node.get(&node).filter(|_| self.active)?.settled.clone()
    }
}
