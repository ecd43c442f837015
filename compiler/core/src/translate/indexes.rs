//! The indexes: all that is derived from the world, and how it follows what changes there.
//!
//! A change is applied at once to the indexes and to the members of sets; what it means for groups and nodes is left to the
//! next pass, which is told what to look at ([`Dirty`]).

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use flock_shared::NodeName;

use super::budget::Budgets;
use super::index::cluster::Cluster;
use super::index::peers::PeerIndex;
use super::index::policies::PolicyIndex;
use super::node::expected::Expected;
use super::node::guards::PodCidrGuards;
use super::node::links::AddressIndex;
use super::options::{KeepDrops, Options};
use super::pass::distinct;
use super::problems::Faulty;
use super::rules::applied_to::AppliedToGroups;
use super::rules::rule_sets::RuleSets;
use crate::collections::ids::{NamespaceId, NodeId, PodId, SelectorId, SetId};
use crate::collections::parallel;
use crate::invariant::bug;
use crate::label::Labels;
use crate::object::{Direction, Facts, Namespace, Node, NodePods, Overdue, Pod, Policy, PolicyBody, Rule};
use crate::output::Families;
use crate::world::{Difference, Differences, World};

/// So many pods that are to be looked at may always come twice.
const MANY_PODS: usize = 4096;

/// What is derived from the world, in the order in which one leads to the next.
#[derive(Debug)]
pub(super) struct Indexes {
    /// Pods, namespaces and nodes under ids, and the owners of addresses.
    pub(super) cluster: Cluster,
    /// Which rules apply to a pod.
    pub(super) policies: PolicyIndex,
    /// Pods to which the same rules apply.
    pub(super) groups: AppliedToGroups,
    /// What these groups allow.
    pub(super) rule_sets: RuleSets,
    /// Which sets a pod is in.
    pub(super) peers: PeerIndex,
    /// Which blocks a node guards.
    pub(super) guards: PodCidrGuards,
    /// Who is on the way to a node.
    pub(super) expected: Expected,
    /// The addresses of all nodes.
    pub(super) node_addresses: AddressIndex,
    /// Objects that are faulty by themselves.
    pub(super) problems: Faulty,
    /// The families of the cluster's addresses, as of the last pass.
    pub(super) families: Families,
    pub(super) budgets: Budgets,
    /// Whether nodes are to take down what they drop.
    pub(super) drops: KeepDrops,
    pub(super) dirty: Dirty,
}

/// What a pass has to look at.
#[derive(Debug, Default)]
pub(super) struct Dirty {
    /// There has been no pass yet: it indexes the world and looks at everything.
    pub(super) all: bool,
    /// Pods to which other rules may apply; some may be gone, or come twice.
    pub(super) pods: Vec<PodId>,
    /// Nodes whose rules may differ; some may come twice.
    pub(super) nodes: Vec<NodeId>,
    /// Namespaces that have more or fewer pods, or other policies; some may be gone, or come twice.
    pub(super) namespaces: Vec<NamespaceId>,
    /// Whether an owner of a contested address has changed.
    pub(super) contested: bool,
    /// Whether the problems to report may differ.
    pub(super) problems: bool,
    /// Addresses that pods have gained or given up; some may come twice.
    pub(super) moved: Vec<IpAddr>,
}

impl Indexes {
    /// Nothing is indexed yet: the first pass looks at everything.
    pub(super) fn new(options: &Options) -> Self {
        Self {
            cluster: Cluster::default(),
            policies: PolicyIndex::default(),
            groups: AppliedToGroups::default(),
            rule_sets: RuleSets::new(options.budgets),
            peers: PeerIndex::default(),
            guards: PodCidrGuards::new(options.unready_pods),
            expected: Expected::default(),
            node_addresses: AddressIndex::default(),
            problems: Faulty::default(),
            families: Families::default(),
            budgets: options.budgets,
            drops: options.drops,
            dirty: Dirty { all: true, ..Dirty::default() },
        }
    }

    /// Returns true if something is closed for what policies come to.
    pub(super) fn any_over_budget(&self) -> bool {
        self.groups.any_over_budget() || self.rule_sets.any_over_budget()
    }

    /// Indexes a whole world from nothing.
    fn follow_world(&mut self, world: &World) {
        let nodes: Vec<Arc<Node>> = world.nodes().values().cloned().collect();
        nodes.into_iter().for_each(|node| self.node(&Difference { before: None, after: Some(node) }, world));
        let namespaces: Vec<Arc<Namespace>> = world.namespaces().values().cloned().collect();
        for namespace in namespaces {
            self.namespace(&Difference { before: None, after: Some(namespace) });
        }
        self.dirty.problems |= !world.facts().is_empty() || world.overdue().next().is_some();
        let told: Vec<NodeName> = world.node_pods().keys().cloned().collect();
        for node in told {
            self.dirty.problems |= self.problems.node_pods(&node, world);
        }
        // Policies and pods have nothing in common but their namespaces.
        // Their namespaces are held before the threads part, for the cluster gives them their ids.
        let isolating = self.namespaces_of_policies(world);
        let mut policies = std::mem::take(&mut self.policies);
        let index = move || {
            for (policy, namespace) in isolating {
                let rules = |direction| Some((direction, rules(&policy, direction)?));
                for (direction, rules) in Direction::ALL.into_iter().filter_map(rules) {
                    policies.add(&policy, direction, &rules, namespace);
                }
            }
            policies
        };
        let pods: Vec<Arc<Pod>> = world.pods().values().cloned().collect();
        let (policies, ()) = parallel::both(index, || {
            self.cluster.expect_pods(pods.len());
            pods.into_iter().for_each(|pod| self.pod(&Difference { before: None, after: Some(pod) }));
        });
        self.policies = policies;
    }

    /// The policies that isolate, each with its namespace, which is held for each direction.
    fn namespaces_of_policies(&mut self, world: &World) -> Vec<(Arc<Policy>, NamespaceId)> {
        let mut found = Vec::with_capacity(world.policies().len());
        for policy in world.policies().values() {
            if !policy.faults().is_empty() {
                self.problems.policy(policy.key.clone(), Some(policy));
                self.dirty.problems = true;
            }
            let isolating = Direction::ALL.into_iter().filter(|direction| policy.rules(*direction).is_some());
            let held = isolating.fold(None, |_, _| Some(self.cluster.hold_namespace(&policy.key.namespace)));
            found.extend(held.map(|namespace| (Arc::clone(policy), namespace)));
        }
        found
    }

    /// Follows what differs in the world, which is as it is afterwards.
    pub(super) fn follow(&mut self, differences: Differences, world: &World) {
        match differences {
            Differences::Nodes(all, pods) => {
                all.iter().for_each(|difference| self.node(difference, world));
                pods.into_iter().for_each(|difference| self.pod(&difference));
            }
            Differences::Namespaces(all) => all.into_iter().for_each(|d| self.namespace(&d)),
            Differences::Pods(all) => all.into_iter().for_each(|difference| self.pod(&difference)),
            Differences::Policies(all) => all.into_iter().for_each(|difference| self.policy(&difference)),
            Differences::NodePods(all, pods) => {
                all.iter().for_each(|difference| self.node_pods(difference, world));
                pods.into_iter().for_each(|difference| self.pod(&difference));
            }
            Differences::Facts(all) => all.iter().for_each(|difference| self.facts(difference)),
            Differences::Overdue(all) => all.iter().for_each(|difference| self.overdue(difference, world)),
        }
    }

    fn node(&mut self, difference: &Difference<Node>, world: &World) {
        let Some(node) = difference.newest() else { return };
        let Difference { before, after } = difference;
        self.dirty.problems |= self.problems.node(before.as_ref(), after.as_ref());
        // Its blocks decide which of the addresses that CNI gave its pods are believed.
        self.dirty.problems |= self.problems.node_pods(&node.name, world);
        let id = self.cluster.node_of(&node.name);
        self.guards.put(id, after.as_deref());
        self.node_addresses.follow(before.as_deref(), after.as_deref());
        if let Some(entry) = self.cluster.node_mut(id) {
            entry.object = after.is_some();
        }
        // Also without an object: a node that has no pods either has to be forgotten.
        self.dirty.nodes.push(id);
    }

    /// What CNI did is part of the pods that it did it for, and so are its consequences.
    fn node_pods(&mut self, difference: &Difference<NodePods>, world: &World) {
        let Some(object) = difference.newest() else { return };
        self.dirty.problems |= self.problems.node_pods(object.node(), world);
    }

    /// Facts are looked up where a node is put together: there is no index to follow them.
    fn facts(&mut self, difference: &Difference<Facts>) {
        let Some(facts) = difference.newest() else { return };
        let Difference { before, after } = difference;
        self.dirty.problems = true;
        let of_facts = |facts: &Option<Arc<Facts>>| {
            let laid_out =
                |facts: &Arc<Facts>| (facts.bridges.clone(), facts.tunnel_ports.clone(), facts.keeps_drops());
            // Without facts it counts as one that can keep drops, as it does where nodes are put together.
            facts.as_ref().map_or_else(|| (Vec::new(), BTreeSet::new(), true), laid_out)
        };
        // Nothing else of its facts is laid out, and no other report has its node assembled.
        if of_facts(before) != of_facts(after) {
            self.dirty.nodes.extend(self.cluster.node_id(&facts.node));
        }
        let may_expect = |facts: &Option<Arc<Facts>>| facts.as_ref().is_some_and(|facts| facts.may_expect());
        if may_expect(before) != may_expect(after)
            && let Some(node) = self.cluster.node_id(&facts.node)
        {
            self.guards.touch(node);
        }
    }

    /// Who is waited for is looked up where pods are looked at.
    fn overdue(&mut self, difference: &Difference<Overdue>, world: &World) {
        match difference.newest().map(Arc::as_ref) {
            None => {}
            Some(Overdue::Pod(key)) => {
                let pod = world.pods().get(key).and_then(|pod| self.cluster.pod_id(pod));
                self.dirty.pods.extend(pod);
            }
            Some(Overdue::Namespace(node, namespace)) => {
                self.dirty.problems = true;
                let node = self.cluster.node_id(node).and_then(|id| self.cluster.node(id));
                let pods = node.into_iter().flat_map(|node| node.pods.iter());
                let of_namespace = |id: &PodId| {
                    self.cluster.pod(*id).is_some_and(|entry| entry.pod.key.namespace == *namespace)
                };
                self.dirty.pods.extend(pods.filter(of_namespace));
            }
        }
    }

    fn namespace(&mut self, difference: &Difference<Namespace>) {
        let Some(namespace) = difference.newest() else { return };
        let Difference { before, after } = difference;
        let id = self.cluster.hold_namespace(&namespace.name);
        let matched: Vec<SelectorId> =
            self.cluster.namespace(id).map(|n| n.matching.clone()).unwrap_or_default();
        let matching = after.as_ref().map(|n| self.peers.selectors_of(&n.labels)).unwrap_or_default();
        let set = |ids: &[SelectorId]| ids.iter().copied().collect::<BTreeSet<_>>();
        let changed: Vec<SelectorId> = set(&matched).symmetric_difference(&set(&matching)).copied().collect();
        let pods: Vec<PodId> =
            self.cluster.namespace(id).map(|n| n.pods.iter().collect()).unwrap_or_default();
        // Only sets with a peer that selects namespaces by what has changed.
        let affected: Vec<(PodId, Vec<SetId>)> = if changed.is_empty() {
            Vec::new()
        } else {
            let entries = pods.iter().filter_map(|pod| Some((*pod, self.cluster.pod(*pod)?)));
            entries.map(|(pod, entry)| (pod, self.peers.sets_by(&changed, entry))).collect()
        };
        // Sets take pods out by the labels that are there, so this comes before these change.
        for (pod, sets) in &affected {
            self.rule_sets.sets.withdraw(*pod, sets, &self.cluster);
        }
        if let Some(before) = before {
            self.cluster.namespace_labels.remove(id, &before.labels);
        }
        if let Some(after) = after {
            self.cluster.namespace_labels.insert(id, &after.labels);
        }
        if let Some(entry) = self.cluster.namespace_mut(id) {
            entry.labels = after.as_ref().map(|namespace| namespace.labels.clone());
            entry.matching = matching;
        }
        for (pod, sets) in &affected {
            self.rule_sets.sets.put_back(*pod, sets, &self.cluster);
        }
        // Rules tell the owners of a contested address apart by labels, those of their namespaces among them.
        self.dirty.contested |= pods.iter().any(|pod| self.is_contested(*pod));
        // The object holds its namespace as long as it is there; this look held it too.
        if before.is_some() {
            self.cluster.release_namespace(id);
        }
        if after.is_none() {
            self.cluster.release_namespace(id);
        }
    }

    /// Takes down which addresses a pod has gained or given up. In a world that is looked at first, all would be.
    fn follow_addresses(&mut self, before: Option<&Pod>, after: Option<&Pod>) {
        fn of(pod: Option<&Pod>) -> &[IpAddr] {
            pod.and_then(Pod::addresses).map_or(&[], |addresses| addresses)
        }
        if self.dirty.all {
            return;
        }
        let (before, after) = (of(before), of(after));
        if before != after {
            let gained = after.iter().filter(|address| !before.contains(address));
            let lost = before.iter().filter(|address| !after.contains(address));
            self.dirty.moved.extend(gained.chain(lost).copied());
        }
    }

    fn is_contested(&self, pod: PodId) -> bool {
        self.cluster.owned(pod).any(|(_, alone)| !alone)
    }

    fn pod(&mut self, difference: &Difference<Pod>) {
        let Some(pod) = difference.newest() else { return };
        let Difference { before, after } = difference;
        if [before, after].into_iter().flatten().any(|pod| !pod.faults.is_empty()) {
            self.problems.pod(pod.key.clone(), after.as_ref());
            self.dirty.problems = true;
        }
        self.follow_addresses(before.as_deref(), after.as_deref());
        let id = match before {
            Some(_) => self.cluster.pod_id(pod),
            None => Some(self.cluster.add_pod(Arc::clone(pod))),
        };
        let Some(id) = id else {
            return bug!("pod {} is not known by its key", pod.key);
        };
        if let (None, Some(pod)) = (before, after)
            && self.cluster.claim_alone(id)
        {
            return self.new_pod(id, pod);
        }
        let affected = self.affected(id, &[before.as_ref(), after.as_ref()]);
        // Twice, for its node may be another one afterwards, and both have to be looked at.
        self.look_at(&affected);
        // Sets take it out as it stands, and so before anything of it changes. A new pod is in no set yet.
        for pod in affected.iter().filter(|pod| **pod != id || before.is_some()) {
            if let Some(entry) = self.cluster.pod(*pod) {
                let sets = self.rule_sets.sets.of_pod(entry, &self.cluster, &self.peers);
                self.rule_sets.sets.withdraw(*pod, &sets, &self.cluster);
            }
        }
        if let Some(before) = before {
            before.addresses().into_iter().flatten().for_each(|at| self.cluster.owners.disclaim(at, id));
            self.cluster.pod_labels.remove(id, &before.labels);
            self.follow_labels(id, &before.labels, false);
        }
        self.move_to(id, after.as_ref().and_then(|pod| pod.node.as_ref()));
        if let Some(after) = after {
            if let Some(entry) = self.cluster.pod_mut(id) {
                entry.pod = Arc::clone(after);
            }
            after.addresses().into_iter().flatten().for_each(|at| self.cluster.owners.claim(*at, id));
            self.cluster.pod_labels.insert(id, &after.labels);
            self.follow_labels(id, &after.labels, true);
        }
        let addresses = [before, after].into_iter().flatten().filter_map(|pod| pod.addresses()).flatten();
        // After both: what counts is whether anybody claims an address at the end.
        self.guards.follow(addresses, &self.cluster.owners);
        affected.iter().for_each(|pod| self.cluster.review_claims(*pod));
        for pod in affected.iter().filter(|pod| **pod != id || after.is_some()) {
            if let Some(entry) = self.cluster.pod(*pod) {
                let sets = self.rule_sets.sets.of_pod(entry, &self.cluster, &self.peers);
                self.rule_sets.sets.put_back(*pod, &sets, &self.cluster);
            }
        }
        self.look_at(&affected);
        // Last, for its sets, its node and those that share an address with it are found by its entry.
        if after.is_none() {
            self.leave_groups(id);
            self.cluster.remove_pod(id);
        }
    }

    /// A pod is new and the only one that claims its addresses, so it concerns no other.
    fn new_pod(&mut self, id: PodId, pod: &Pod) {
        self.move_to(id, pod.node.as_ref());
        self.guards.follow(pod.addresses().into_iter().flatten(), &self.cluster.owners);
        self.cluster.pod_labels.insert(id, &pod.labels);
        self.follow_labels(id, &pod.labels, true);
        if let Some(entry) = self.cluster.pod(id) {
            let sets = self.rule_sets.sets.of_pod(entry, &self.cluster, &self.peers);
            self.rule_sets.sets.put_back(id, &sets, &self.cluster);
        }
        self.look_at(&[id]);
    }

    /// A pod has come with these labels, or gone, as far as its namespace's policies are concerned.
    fn follow_labels(&mut self, id: PodId, labels: &Labels, come: bool) {
        if let Some(entry) = self.cluster.pod(id) {
            self.policies.follow_pod(entry.namespace, labels, come);
        }
    }

    /// The pod and all that claim one of its addresses, before or after.
    fn affected(&self, id: PodId, pods: &[Option<&Arc<Pod>>]) -> Vec<PodId> {
        let addresses = pods.iter().copied().flatten().filter_map(|pod| pod.addresses()).flatten();
        let others = addresses.flat_map(|address| self.cluster.owners.claimants(address));
        let mut all: Vec<PodId> = others.copied().chain([id]).collect();
        all.sort_unstable();
        all.dedup();
        all
    }

    /// Has the first pass index the world and look at everything. Returns true if it is the first.
    pub(super) fn look_at_new_world(&mut self, world: &World) -> bool {
        let first = self.dirty.all;
        if first {
            self.follow_world(world);
            self.dirty.all = false;
            self.dirty.pods = self.cluster.pods.ids().collect();
            self.dirty.namespaces = self.policies.namespaces().collect();
            self.dirty.nodes = self.cluster.nodes().map(|(id, _)| id).collect();
            self.dirty.problems |= self.cluster.contested().next().is_some();
        }
        first
    }

    /// Has the pass look at pods and their nodes.
    fn look_at(&mut self, pods: &[PodId]) {
        // The first pass looks at everything.
        if self.dirty.all {
            return;
        }
        for id in pods {
            let Some(entry) = self.cluster.pod(*id) else { continue };
            self.dirty.nodes.extend(entry.node);
            self.dirty.namespaces.push(entry.namespace);
            self.dirty.pods.push(*id);
            let contested = self.is_contested(*id);
            self.dirty.contested |= contested;
            self.dirty.problems |= contested;
        }
    }

    fn move_to(&mut self, id: PodId, node: Option<&NodeName>) {
        let before = self.cluster.pod(id).and_then(|entry| entry.node);
        let after = node.map(|name| self.cluster.node_of(name));
        if before == after {
            return;
        }
        if let Some(node) = before.and_then(|node| self.cluster.node_mut(node))
            && !node.pods.remove(id)
        {
            bug!("{id:?} is not on {before:?}, its node");
        }
        if let Some(node) = after.and_then(|node| self.cluster.node_mut(node)) {
            node.pods.insert(id);
        }
        if let Some(entry) = self.cluster.pod_mut(id) {
            entry.node = after;
        }
    }

    /// The nodes of these pods, and of those that share an address with one of them.
    pub(super) fn touch_nodes_of(&mut self, pods: &[PodId]) {
        for id in pods {
            self.dirty.nodes.extend(self.cluster.pod(*id).and_then(|entry| entry.node));
            for (address, alone) in self.cluster.owned(*id) {
                if !alone {
                    let owners = self.cluster.owners_of(&address);
                    self.dirty.nodes.extend(owners.iter().filter_map(|owner| self.cluster.pod(*owner)?.node));
                }
            }
        }
    }

    fn leave_groups(&mut self, id: PodId) {
        for direction in Direction::ALL {
            self.groups.place(id, direction, None, &mut self.policies, &mut self.cluster);
        }
    }

    fn policy(&mut self, difference: &Difference<Policy>) {
        let Some(policy) = difference.newest() else { return };
        let Difference { before, after } = difference;
        if [before, after].into_iter().flatten().any(|policy| !policy.faults().is_empty()) {
            self.problems.policy(policy.key.clone(), after.as_ref());
            self.dirty.problems = true;
        }
        // One that says the same as another moves no pod, and yet has its share in what is over budget.
        self.dirty.problems |= self.any_over_budget();
        for direction in Direction::ALL {
            let rules_of = |policy: &Option<Arc<Policy>>| {
                policy.as_ref().and_then(|policy| Some((Arc::clone(policy), rules(policy, direction)?)))
            };
            let (old, new) = (rules_of(before), rules_of(after));
            let same = |(a, x): &(Arc<Policy>, Arc<[Rule]>), (b, y): &(Arc<Policy>, Arc<[Rule]>)| {
                a.pod_selector == b.pod_selector && x == y
            };
            if old.as_ref().zip(new.as_ref()).is_some_and(|(old, new)| same(old, new)) {
                continue;
            }
            // Held for its id alone. If nothing else holds it, it is gone again, which the pass has to expect.
            let namespace = self.cluster.hold_namespace(&policy.key.namespace);
            self.dirty.namespaces.push(namespace);
            self.cluster.release_namespace(namespace);
            // Asked before and after, for this policy may take the namespace over its budget, or back.
            let mut left = self.policies.leave_to_review(namespace, &self.cluster, &self.budgets);
            // The new one first: what both hold is not dropped in between.
            let (mut come, mut gone) = (None, None);
            if let Some((policy, rules)) = &new {
                let namespace = self.cluster.hold_namespace(&policy.key.namespace);
                come = self.policies.add(policy, direction, rules, namespace).then_some(policy);
            }
            if let Some((policy, rules)) = &old
                && self.policies.remove(policy, direction, rules, &mut self.cluster)
            {
                gone = Some(policy);
            }
            left |= self.policies.leave_to_review(namespace, &self.cluster, &self.budgets);
            if left {
                continue;
            }
            // Mostly both select the same.
            let gone = gone.filter(|gone| come.is_none_or(|come| come.pod_selector != gone.pod_selector));
            come.into_iter().chain(gone).for_each(|policy| self.look_at_selected(policy));
        }
    }

    /// Has the pass look at the pods that a policy selects.
    fn look_at_selected(&mut self, policy: &Policy) {
        if !self.dirty.all {
            self.dirty.pods.extend(self.cluster.selected_by(policy));
            // A burst of policies may select the same pods again and again.
            if self.dirty.pods.len() > 2 * self.cluster.pods.len() + MANY_PODS {
                self.dirty.pods = distinct(&mut self.dirty.pods);
            }
        }
    }
}

/// The rules of a policy in one direction, if it isolates in it.
pub(super) fn rules(policy: &Policy, direction: Direction) -> Option<Arc<[Rule]>> {
    match &policy.body {
        PolicyBody::Understood(rules) => match direction {
            Direction::Ingress => rules.ingress.clone(),
            Direction::Egress => rules.egress.clone(),
        },
        PolicyBody::NotUnderstood { types, .. } => types.contains(direction).then(Arc::default),
    }
}
