//! Following the world: what a change of objects does to the indexes and to the members of sets, and what the next pass
//! has to look at.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use flock_shared::NodeName;

use super::Translator;
use super::pass::distinct;
use crate::idset::number;
use crate::label::Labels;
use crate::object::{Direction, Facts, Namespace, Node, NodePods, Overdue, Pod, Policy, PolicyBody, Rule};
use crate::parallel;
use crate::world::{Difference, Differences};

/// So many pods that are to be looked at may always come twice.
const MANY_PODS: usize = 4096;

impl Translator {
    /// Indexes a whole world from nothing.
    pub(super) fn follow_world(&mut self) {
        let nodes: Vec<Arc<Node>> = self.world.nodes().values().cloned().collect();
        nodes.into_iter().for_each(|node| self.node(&Difference { before: None, after: Some(node) }));
        let namespaces: Vec<Arc<Namespace>> = self.world.namespaces().values().cloned().collect();
        for namespace in namespaces {
            self.namespace(&Difference { before: None, after: Some(namespace) });
        }
        self.dirty.problems |= !self.world.facts().is_empty() || self.world.overdue().next().is_some();
        let told: Vec<NodeName> = self.world.node_pods().keys().cloned().collect();
        for node in told {
            self.dirty.problems |= self.problems.node_pods(&node, &self.world);
        }
        // Policies and pods have nothing in common but their namespaces.
        let policies = self.namespaces_of_policies();
        let mut subjects = std::mem::take(&mut self.subjects);
        let index = move || {
            for (policy, namespace) in policies {
                let rules = |direction| Some((direction, rules(&policy, direction)?));
                for (direction, rules) in Direction::ALL.into_iter().filter_map(rules) {
                    subjects.add(&policy, direction, &rules, namespace);
                }
            }
            subjects
        };
        let pods: Vec<Arc<Pod>> = self.world.pods().values().cloned().collect();
        let (subjects, ()) = parallel::both(index, || {
            self.cluster.expect_pods(pods.len());
            pods.into_iter().for_each(|pod| self.pod(Difference { before: None, after: Some(pod) }));
        });
        self.subjects = subjects;
    }

    /// The policies that isolate, each with its namespace, which is held for each direction.
    fn namespaces_of_policies(&mut self) -> Vec<(Arc<Policy>, u32)> {
        let mut found = Vec::with_capacity(self.world.policies().len());
        for policy in self.world.policies().values() {
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

    pub(super) fn follow(&mut self, differences: Differences) {
        match differences {
            Differences::Nodes(all, pods) => {
                all.iter().for_each(|difference| self.node(difference));
                pods.into_iter().for_each(|difference| self.pod(difference));
            }
            Differences::Namespaces(all) => all.into_iter().for_each(|d| self.namespace(&d)),
            Differences::Pods(all) => all.into_iter().for_each(|difference| self.pod(difference)),
            Differences::Policies(all) => all.into_iter().for_each(|difference| self.policy(&difference)),
            Differences::NodePods(all, pods) => {
                all.iter().for_each(|difference| self.node_pods(difference));
                pods.into_iter().for_each(|difference| self.pod(difference));
            }
            Differences::Facts(all) => all.iter().for_each(|difference| self.facts(difference)),
            Differences::Overdue(all) => all.iter().for_each(|difference| self.overdue(difference)),
        }
    }

    fn node(&mut self, Difference { before, after }: &Difference<Node>) {
        let Some(node) = after.as_ref().or(before.as_ref()) else { return };
        self.dirty.problems |= self.problems.node(before.as_ref(), after.as_ref());
        self.dirty.problems |= self.problems.node_pods(&node.name, &self.world);
        let id = self.cluster.node_of(&node.name);
        self.guards.put(id, after.as_deref());
        self.node_addresses.follow(before.as_deref(), after.as_deref());
        if let Some(entry) = self.cluster.node_mut(id) {
            entry.object = after.is_some();
        }
        self.dirty.nodes.push(id);
    }

    /// What CNI did is part of the pods that it did it for, and so are its consequences.
    fn node_pods(&mut self, Difference { before, after }: &Difference<NodePods>) {
        let Some(object) = after.as_ref().or(before.as_ref()) else { return };
        self.dirty.problems |= self.problems.node_pods(object.node(), &self.world);
    }

    /// Facts are looked up where a node is put together: there is no index to follow them.
    fn facts(&mut self, Difference { before, after }: &Difference<Facts>) {
        let Some(facts) = after.as_ref().or(before.as_ref()) else { return };
        self.dirty.problems = true;
        let links = |facts: &Option<Arc<Facts>>| {
            facts
                .as_ref()
                .map(|facts| (facts.bridges.clone(), facts.tunnel_ports.clone()))
                .unwrap_or_default()
        };
        if links(before) != links(after) {
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
    fn overdue(&mut self, Difference { before, after }: &Difference<Overdue>) {
        match after.as_ref().or(before.as_ref()).map(Arc::as_ref) {
            None => {}
            Some(Overdue::Pod(key)) => {
                let pod = self.world.pods().get(key).and_then(|pod| self.cluster.pod_id(pod));
                self.dirty.pods.extend(pod);
            }
            Some(Overdue::Namespace(node, namespace)) => {
                self.dirty.problems = true;
                let node = self.cluster.node_id(node).and_then(|id| self.cluster.node(id));
                let pods = node.into_iter().flat_map(|node| node.pods.iter());
                let of_namespace = |id: &u32| {
                    self.cluster.pod(*id).is_some_and(|entry| entry.pod.key.namespace == *namespace)
                };
                self.dirty.pods.extend(pods.filter(of_namespace));
            }
        }
    }

    fn namespace(&mut self, Difference { before, after }: &Difference<Namespace>) {
        let Some(namespace) = after.as_ref().or(before.as_ref()) else { return };
        let id = self.cluster.hold_namespace(&namespace.name);
        let matched: Vec<u32> = self.cluster.namespace(id).map(|n| n.matching.clone()).unwrap_or_default();
        let matching = after.as_ref().map(|n| self.peers.selectors_of(&n.labels)).unwrap_or_default();
        let set = |ids: &[u32]| ids.iter().copied().collect::<BTreeSet<u32>>();
        let changed: Vec<u32> = set(&matched).symmetric_difference(&set(&matching)).copied().collect();
        let pods: Vec<u32> = self.cluster.namespace(id).map(|n| n.pods.iter().collect()).unwrap_or_default();
        // Only sets with a peer that selects namespaces by what has changed.
        let affected: Vec<(u32, Vec<u32>)> = if changed.is_empty() {
            Vec::new()
        } else {
            let entries = pods.iter().filter_map(|pod| Some((*pod, self.cluster.pod(*pod)?)));
            entries.map(|(pod, entry)| (pod, self.peers.sets_by(&changed, entry))).collect()
        };
        for (pod, sets) in &affected {
            self.parts.sets.withdraw(*pod, sets, &self.cluster);
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
            self.parts.sets.put_back(*pod, sets, &self.cluster);
        }
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

    fn is_contested(&self, pod: u32) -> bool {
        self.cluster.owned(pod).any(|(_, alone)| !alone)
    }

    fn pod(&mut self, Difference { before, after }: Difference<Pod>) {
        let Some(pod) = after.as_ref().or(before.as_ref()) else { return };
        if [&before, &after].into_iter().flatten().any(|pod| !pod.faults.is_empty()) {
            self.problems.pod(pod.key.clone(), after.as_ref());
            self.dirty.problems = true;
        }
        self.follow_addresses(before.as_deref(), after.as_deref());
        let id = match &before {
            Some(_) => self.cluster.pod_id(pod),
            None => after.as_ref().map(|pod| self.cluster.add_pod(Arc::clone(pod))),
        };
        let Some(id) = id else { return };
        if let (None, Some(pod)) = (&before, &after)
            && self.cluster.claim_alone(id)
        {
            return self.new_pod(id, pod);
        }
        let affected = self.affected(id, &[before.as_ref(), after.as_ref()]);
        self.look_at(&affected);
        // A new pod is in no set yet.
        for pod in affected.iter().filter(|pod| **pod != id || before.is_some()) {
            if let Some(entry) = self.cluster.pod(*pod) {
                let sets = self.parts.sets.of_pod(entry, &self.cluster, &self.peers);
                self.parts.sets.withdraw(*pod, &sets, &self.cluster);
            }
        }
        if let Some(before) = &before {
            before.addresses().into_iter().flatten().for_each(|at| self.cluster.owners.disclaim(at, id));
            self.cluster.pod_labels.remove(id, &before.labels);
            self.follow_labels(id, &before.labels, false);
        }
        self.move_to(id, after.as_ref().and_then(|pod| pod.node.as_ref()));
        if let Some(after) = &after {
            if let Some(entry) = self.cluster.pod_mut(id) {
                entry.pod = Arc::clone(after);
            }
            after.addresses().into_iter().flatten().for_each(|at| self.cluster.owners.claim(*at, id));
            self.cluster.pod_labels.insert(id, &after.labels);
            self.follow_labels(id, &after.labels, true);
        }
        let addresses = [&before, &after].into_iter().flatten().filter_map(|pod| pod.addresses()).flatten();
        self.guards.follow(addresses, &self.cluster.owners);
        affected.iter().for_each(|pod| self.cluster.review_claims(*pod));
        for pod in affected.iter().filter(|pod| **pod != id || after.is_some()) {
            if let Some(entry) = self.cluster.pod(*pod) {
                let sets = self.parts.sets.of_pod(entry, &self.cluster, &self.peers);
                self.parts.sets.put_back(*pod, &sets, &self.cluster);
            }
        }
        self.look_at(&affected);
        if after.is_none() {
            self.leave_groups(id);
            self.cluster.remove_pod(id);
        }
    }

    /// A pod is new and the only one that claims its addresses, so it concerns no other.
    fn new_pod(&mut self, id: u32, pod: &Pod) {
        self.move_to(id, pod.node.as_ref());
        self.guards.follow(pod.addresses().into_iter().flatten(), &self.cluster.owners);
        self.cluster.pod_labels.insert(id, &pod.labels);
        self.follow_labels(id, &pod.labels, true);
        if let Some(entry) = self.cluster.pod(id) {
            let sets = self.parts.sets.of_pod(entry, &self.cluster, &self.peers);
            self.parts.sets.put_back(id, &sets, &self.cluster);
        }
        self.look_at(&[id]);
    }

    /// A pod has come with these labels, or gone, as far as its namespace's policies are concerned.
    fn follow_labels(&mut self, id: u32, labels: &Labels, come: bool) {
        if let Some(entry) = self.cluster.pod(id) {
            self.subjects.follow_pod(entry.namespace, labels, come);
        }
    }

    /// The pod and all that claim one of its addresses, before or after.
    fn affected(&self, id: u32, pods: &[Option<&Arc<Pod>>]) -> Vec<u32> {
        let addresses = pods.iter().copied().flatten().filter_map(|pod| pod.addresses()).flatten();
        let others = addresses.flat_map(|address| self.cluster.owners.claimants(address));
        let mut all: Vec<u32> = others.copied().chain([id]).collect();
        all.sort_unstable();
        all.dedup();
        all
    }

    /// Has the first pass index the world and look at everything; whether it is the first.
    pub(super) fn look_at_new_world(&mut self) -> bool {
        let first = self.dirty.all;
        if first {
            self.follow_world();
            self.dirty.all = false;
            self.dirty.pods = self.cluster.pods.iter().map(|(key, _)| number(key)).collect();
            self.dirty.namespaces = self.subjects.namespaces().collect();
            self.dirty.nodes = self.cluster.nodes().map(|(id, _)| id).collect();
            self.dirty.problems |= self.cluster.contested().next().is_some();
        }
        first
    }

    /// Has the pass look at pods and their nodes.
    fn look_at(&mut self, pods: &[u32]) {
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

    fn move_to(&mut self, id: u32, node: Option<&NodeName>) {
        let before = self.cluster.pod(id).and_then(|entry| entry.node);
        let after = node.map(|name| self.cluster.node_of(name));
        if before == after {
            return;
        }
        if let Some(node) = before.and_then(|node| self.cluster.node_mut(node)) {
            node.pods.remove(id);
        }
        if let Some(node) = after.and_then(|node| self.cluster.node_mut(node)) {
            node.pods.insert(id);
        }
        if let Some(entry) = self.cluster.pod_mut(id) {
            entry.node = after;
        }
    }

    fn leave_groups(&mut self, id: u32) {
        for direction in Direction::ALL {
            self.groups.place(id, direction, None, &mut self.subjects, &mut self.cluster);
        }
    }

    fn policy(&mut self, Difference { before, after }: &Difference<Policy>) {
        let Some(policy) = after.as_ref().or(before.as_ref()) else { return };
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
                a.subjects == b.subjects && x == y
            };
            if old.as_ref().zip(new.as_ref()).is_some_and(|(old, new)| same(old, new)) {
                continue;
            }
            let namespace = self.cluster.hold_namespace(&policy.key.namespace);
            self.dirty.namespaces.push(namespace);
            self.cluster.release_namespace(namespace);
            let mut left = self.subjects.leave_to_review(namespace, &self.cluster, &self.budgets);
            // The new one first: what both hold is not dropped in between.
            let (mut come, mut gone) = (None, None);
            if let Some((policy, rules)) = &new {
                let namespace = self.cluster.hold_namespace(&policy.key.namespace);
                come = self.subjects.add(policy, direction, rules, namespace).then_some(policy);
            }
            if let Some((policy, rules)) = &old
                && self.subjects.remove(policy, direction, rules, &mut self.cluster)
            {
                gone = Some(policy);
            }
            left |= self.subjects.leave_to_review(namespace, &self.cluster, &self.budgets);
            if left {
                continue;
            }
            // Mostly both select the same.
            let gone = gone.filter(|gone| come.is_none_or(|come| come.subjects != gone.subjects));
            come.into_iter().chain(gone).for_each(|policy| self.look_at_subjects(policy));
        }
    }

    /// Has the pass look at the pods that a policy selects.
    fn look_at_subjects(&mut self, policy: &Policy) {
        if !self.dirty.all {
            self.dirty.pods.extend(self.cluster.subjects_of(policy));
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
