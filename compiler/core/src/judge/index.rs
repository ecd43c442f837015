//! What a judge looks up instead of looking for it among all objects.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::Arc;

use flock_shared::{NamespaceName, NodeName, PodKey, PolicyKey};
use fnv::FnvHashSet;
use ipnet::IpNet;
use smallvec::SmallVec;

use crate::object::{Facts, Node, Pod, Policy};
use crate::world::{Difference, Differences, World};

/// Objects by what a judge asks for. Made from a world, and kept up to date with the differences that its changes make.
///
/// ```text
/// World::apply(Change) ─▶ Differences ─▶ Index::follow
/// (World, Index) ─▶ Judge::with_index
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Index {
    /// The pods that claim an address, most often one.
    claims: HashMap<IpAddr, SmallVec<[Arc<Pod>; 1]>>,
    /// The addresses that several pods claim: few, so that all pods can be asked about quickly.
    contested: FnvHashSet<IpAddr>,
    /// The nodes that have an address themselves, those whose objects say so before those whose agents do.
    hosts: HashMap<IpAddr, BTreeSet<(HostWord, NodeName)>>,
    /// The nodes with a block of pods.
    blocks: HashMap<IpNet, BTreeSet<NodeName>>,
    /// How many blocks there are of a length; of IPv4 if true.
    lengths: BTreeMap<(bool, u8), usize>,
    /// Pods that may start at any moment, by node.
    on_their_way: HashMap<NodeName, BTreeMap<PodKey, Arc<Pod>>>,
    /// The policies of each namespace.
    policies: HashMap<NamespaceName, BTreeMap<PolicyKey, Arc<Policy>>>,
    /// How many pods have a label: keys, then values.
    labels: HashMap<Arc<str>, HashMap<Arc<str>, usize>>,
}

/// Who says that an address is a node's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum HostWord {
    /// Its object.
    Object,
    /// Its agent, of a bridge.
    Bridge,
}

impl Index {
    /// Indexes a world.
    #[must_use]
    pub fn new(world: &World) -> Self {
        let mut index = Self::default();
        world.pods().values().for_each(|pod| index.add_pod(pod));
        world.nodes().values().for_each(|node| index.add_node(node));
        world.policies().values().for_each(|policy| index.add_policy(policy));
        world.facts().values().for_each(|facts| index.add_facts(facts));
        index
    }

    /// Follows what a change did to the world.
    pub fn follow(&mut self, differences: &Differences) {
        match differences {
            Differences::Nodes(nodes, pods) => {
                self.each(nodes, Self::remove_node, Self::add_node);
                self.each(pods, Self::remove_pod, Self::add_pod);
            }
            Differences::Pods(pods) | Differences::NodePods(_, pods) => {
                self.each(pods, Self::remove_pod, Self::add_pod);
            }
            Differences::Policies(policies) => self.each(policies, Self::remove_policy, Self::add_policy),
            Differences::Facts(facts) => {
                self.each(
                    facts,
                    |index, facts| index.remove_facts(facts),
                    |index, facts| index.add_facts(facts),
                );
            }
            // A judge looks both up in the world by key: there is nothing to index.
            Differences::Namespaces(_) | Differences::Overdue(_) => {}
        }
    }

    fn each<T>(
        &mut self,
        differences: &[Difference<T>],
        remove: impl Fn(&mut Self, &Arc<T>),
        add: impl Fn(&mut Self, &Arc<T>),
    ) {
        for Difference { before, after } in differences {
            // The old object first: both have one key, and removing goes by it.
            before.iter().for_each(|object| remove(self, object));
            after.iter().for_each(|object| add(self, object));
        }
    }

    /// The pods that claim an address.
    pub(super) fn claimants(&self, address: IpAddr) -> &[Arc<Pod>] {
        self.claims.get(&address).map_or(&[], |pods| pods)
    }

    /// Returns true if several pods claim an address.
    pub(super) fn is_contested(&self, address: IpAddr) -> bool {
        self.contested.contains(&address)
    }

    /// The node that has an address itself.
    pub(super) fn host_at(&self, address: IpAddr) -> Option<&NodeName> {
        self.hosts.get(&address)?.first().map(|(_, node)| node)
    }

    /// The nodes with a block of pods that has an address, by name.
    pub(super) fn nodes_around(&self, address: IpAddr) -> BTreeSet<&NodeName> {
        // A cluster has few lengths of blocks, so the address is masked with each instead of asking every node.
        let lengths = self.lengths.keys().filter(|(is_v4, _)| *is_v4 == address.is_ipv4());
        let blocks = lengths.filter_map(|(_, length)| IpNet::new(address, *length).ok());
        blocks.filter_map(|block| self.blocks.get(&block.trunc())).flatten().collect()
    }

    /// The pods that may start on a node at any moment.
    pub(super) fn on_their_way(&self, node: &NodeName) -> impl Iterator<Item = &Arc<Pod>> {
        self.on_their_way.get(node).into_iter().flat_map(BTreeMap::values)
    }

    /// The policies of a namespace, by name.
    pub(super) fn policies_of(&self, namespace: &NamespaceName) -> impl Iterator<Item = &Arc<Policy>> {
        self.policies.get(namespace).into_iter().flat_map(BTreeMap::values)
    }

    /// Returns true if some pod has this label.
    #[must_use]
    pub fn has_label(&self, key: &str, value: &str) -> bool {
        self.labels.get(key).is_some_and(|values| values.contains_key(value))
    }

    fn add_pod(&mut self, pod: &Arc<Pod>) {
        for address in pod.addresses().into_iter().flatten() {
            let claimants = self.claims.entry(*address).or_default();
            // In the order of keys, in which a scan of the world finds them: both have to give the same answer.
            let place = claimants.partition_point(|other| other.key < pod.key);
            claimants.insert(place, Arc::clone(pod));
            if claimants.len() > 1 {
                self.contested.insert(*address);
            }
        }
        if let (true, Some(node)) = (pod.is_on_its_way(), &pod.node) {
            let expected = self.on_their_way.entry(node.clone()).or_default();
            expected.insert(pod.key.clone(), Arc::clone(pod));
        }
        for (key, value) in pod.labels.pairs() {
            *self.labels.entry(Arc::clone(key)).or_default().entry(Arc::clone(value)).or_default() += 1;
        }
    }

    fn remove_pod(&mut self, pod: &Arc<Pod>) {
        for address in pod.addresses().into_iter().flatten() {
            let Some(claimants) = self.claims.get_mut(address) else { continue };
            claimants.retain(|other| other.key != pod.key);
            if claimants.len() <= 1 {
                self.contested.remove(address);
            }
            if claimants.is_empty() {
                self.claims.remove(address);
            }
        }
        if let (true, Some(node)) = (pod.is_on_its_way(), &pod.node)
            && let Some(expected) = self.on_their_way.get_mut(node)
        {
            expected.remove(&pod.key);
            if expected.is_empty() {
                self.on_their_way.remove(node);
            }
        }
        for (key, value) in pod.labels.pairs() {
            let Some(values) = self.labels.get_mut(key) else { continue };
            if let Some(count) = values.get_mut(value) {
                *count = count.saturating_sub(1);
                if *count == 0 {
                    values.remove(value);
                }
            }
            if values.is_empty() {
                self.labels.remove(key);
            }
        }
    }

    fn add_node(&mut self, node: &Arc<Node>) {
        for address in &node.addresses {
            self.add_host(*address, (HostWord::Object, node.name.clone()));
        }
        for block in blocks(node) {
            if self.blocks.entry(block).or_default().insert(node.name.clone()) {
                *self.lengths.entry(length(block)).or_default() += 1;
            }
        }
    }

    fn remove_node(&mut self, node: &Arc<Node>) {
        for address in &node.addresses {
            self.remove_host(*address, &(HostWord::Object, node.name.clone()));
        }
        for block in blocks(node) {
            let Some(nodes) = self.blocks.get_mut(&block) else { continue };
            if nodes.remove(&node.name)
                && let Some(count) = self.lengths.get_mut(&length(block))
            {
                *count = count.saturating_sub(1);
                if *count == 0 {
                    self.lengths.remove(&length(block));
                }
            }
            if self.blocks.get(&block).is_some_and(BTreeSet::is_empty) {
                self.blocks.remove(&block);
            }
        }
    }

    fn add_facts(&mut self, facts: &Facts) {
        for address in bridges(facts) {
            self.add_host(address, (HostWord::Bridge, facts.node.clone()));
        }
    }

    fn remove_facts(&mut self, facts: &Facts) {
        for address in bridges(facts) {
            self.remove_host(address, &(HostWord::Bridge, facts.node.clone()));
        }
    }

    fn add_host(&mut self, address: IpAddr, host: (HostWord, NodeName)) {
        self.hosts.entry(address).or_default().insert(host);
    }

    fn remove_host(&mut self, address: IpAddr, host: &(HostWord, NodeName)) {
        let Some(hosts) = self.hosts.get_mut(&address) else { return };
        hosts.remove(host);
        if hosts.is_empty() {
            self.hosts.remove(&address);
        }
    }

    fn add_policy(&mut self, policy: &Arc<Policy>) {
        let own = self.policies.entry(policy.key.namespace.clone()).or_default();
        own.insert(policy.key.clone(), Arc::clone(policy));
    }

    fn remove_policy(&mut self, policy: &Arc<Policy>) {
        let Some(own) = self.policies.get_mut(&policy.key.namespace) else { return };
        own.remove(&policy.key);
        if own.is_empty() {
            self.policies.remove(&policy.key.namespace);
        }
    }
}

/// The blocks that a node's pods get addresses from.
fn blocks(node: &Node) -> impl Iterator<Item = IpNet> {
    node.pod_cidrs.iter().filter_map(|block| IpNet::new(block.first(), block.prefix()).ok())
}

fn length(block: IpNet) -> (bool, u8) {
    (matches!(block, IpNet::V4(_)), block.prefix_len())
}

/// The addresses that a node's agent tells of, of its bridges.
fn bridges(facts: &Facts) -> impl Iterator<Item = IpAddr> {
    facts.bridges.iter().flat_map(|bridge| bridge.addresses.iter().map(IpNet::addr))
}
