//! What all lints look at: pods by class, and which of them a selector selects.
//!
//! Pods of a namespace are of one class if no policy can tell them apart: the same values of every label that any policy
//! asks for, the same ports, host network or not. A cluster has far fewer classes than pods.
//!
//! What a namespace's policies may cost is bounded: beyond [`STEPS`] of them nothing more is judged there, and that is told.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeSet, HashMap};
use std::ops::{ControlFlow, Range};
use std::rc::Rc;
use std::sync::Arc;

use flock_compiler_core::judge::{Judge, Place};
use flock_compiler_core::object::{
    Direction, Lifecycle, NamedPort, NamespaceScope, Peer, PeerMatch, Pod, PodPeer, Policy, Rule,
};
use flock_compiler_core::sorted::Sorted;
use flock_compiler_core::{Operator, Selector};
use flock_shared::NamespaceName;

use crate::{Cluster, Sight};

/// So many comparisons the policies of one namespace may take: some tenths of a second. A namespace of the largest clusters
/// takes thousands.
const STEPS: u64 = 5_000_000;
/// So many pods of a class are looked at where their addresses matter.
const SAMPLES: usize = 4;

/// Pods that no policy can tell apart.
#[derive(Debug)]
pub(super) struct PodClass {
    /// The first by name that has not ended, else the first.
    pub first: Arc<Pod>,
    /// The first few that own their addresses and have not ended.
    pub samples: Vec<Arc<Pod>>,
    /// How many have not ended.
    pub live: u32,
    /// Whether they use their node's network: no policy applies to them and no selector peer matches them.
    pub host: bool,
}

impl PodClass {
    pub(super) fn namespace(&self) -> &NamespaceName {
        &self.first.key.namespace
    }

    /// Returns true if policies apply to one of its pods.
    pub(super) fn is_judged(&self) -> bool {
        !self.host && self.live > 0
    }

    /// A pod of it that is not `other`, if there is one.
    pub(super) fn sample_besides(&self, other: &Pod) -> Option<&Arc<Pod>> {
        self.samples.iter().find(|pod| pod.key != other.key)
    }
}

/// Where a pod is, as far as policies can tell.
pub(super) fn place(pod: &Arc<Pod>) -> Place {
    let address = pod.addresses().and_then(|all| all.first()).copied();
    Place { address, owners: vec![Arc::clone(pod)], host: None }
}

/// What is looked at.
#[derive(Debug)]
pub(super) struct Ground<'w> {
    pub cluster: &'w Cluster<'w>,
    pub sight: &'w Sight,
    pub judge: Judge<'w>,
    /// By namespace.
    classes: Vec<PodClass>,
    of_namespace: HashMap<NamespaceName, Range<usize>>,
    /// The classes of pods that have a label.
    labelled: HashMap<(Arc<str>, Arc<str>), Vec<usize>>,
    /// The namespaces that have a label.
    namespaces_labelled: HashMap<(Arc<str>, Arc<str>), Vec<NamespaceName>>,
    /// The namespaces that selectors have selected, and how many names that is.
    selected: RefCell<Selected>,
    steps: Cell<u64>,
}

/// The namespaces that each selector selects, and how many names that is.
type Selected = (HashMap<Selector, Rc<[NamespaceName]>>, usize);

/// So many names of namespaces are kept for selectors that are asked for again.
const KEPT_NAMES: usize = 1_000_000;

impl<'w> Ground<'w> {
    pub(super) fn new(cluster: &'w Cluster<'w>, sight: &'w Sight) -> Self {
        let keys = keys(cluster);
        let classes = classes(cluster, &keys);
        let mut of_namespace: HashMap<NamespaceName, Range<usize>> = HashMap::new();
        let mut labelled: HashMap<_, Vec<usize>> = HashMap::new();
        for (index, class) in classes.iter().enumerate() {
            // Classes are in order of namespaces, so those of one are a range.
            of_namespace.entry(class.namespace().clone()).or_insert(index..index).end = index + 1;
            for (key, value) in class.first.labels.iter().filter(|(key, _)| keys.contains(*key)) {
                labelled.entry((key.into(), value.into())).or_default().push(index);
            }
        }
        let mut namespaces_labelled: HashMap<_, Vec<NamespaceName>> = HashMap::new();
        for namespace in cluster.world.namespaces().values() {
            for (key, value) in namespace.labels.iter() {
                let named = namespaces_labelled.entry((key.into(), value.into())).or_default();
                named.push(namespace.name.clone());
            }
        }
        // Without an index: lints make their own places (`place`), and no address is looked for among pods.
        let judge = Judge::new(cluster.world, cluster.unready);
        let (selected, steps) = (RefCell::default(), Cell::new(STEPS));
        Self { cluster, sight, judge, classes, of_namespace, labelled, namespaces_labelled, selected, steps }
    }

    /// The policies of another namespace are looked at: they may take as long as those of any.
    pub(super) fn refill(&self) {
        self.steps.set(STEPS);
    }

    /// Takes from what may be spent.
    pub(super) fn spend(&self, steps: usize) {
        self.steps.set(self.steps.get().saturating_sub(steps as u64));
    }

    /// Returns true if nothing is left to be spent: what has not been found since may be there.
    pub(super) fn is_spent(&self) -> bool {
        self.steps.get() == 0
    }

    /// All classes, by namespace.
    pub(super) fn classes(&self) -> &[PodClass] {
        &self.classes
    }

    /// All classes of a namespace.
    pub(super) fn classes_of(&self, namespace: &NamespaceName) -> &[PodClass] {
        let range = self.of_namespace.get(namespace).cloned().unwrap_or_default();
        self.classes.get(range).unwrap_or_default()
    }

    /// The classes that a policy selects, those of host networks and of pods that have ended too.
    pub(super) fn selected_by(&self, policy: &Policy) -> Vec<&PodClass> {
        let all = self.classes_of(&policy.key.namespace);
        self.spend(all.len());
        all.iter().filter(|class| policy.pod_selector.matches(&class.first.labels)).collect()
    }

    /// The namespaces that a peer looks into, by name.
    pub(super) fn namespaces_of(&self, peer: &PodPeer) -> Rc<[NamespaceName]> {
        match &peer.namespaces {
            NamespaceScope::Named(own) => Rc::from([own.clone()]),
            NamespaceScope::Matching(selector) => self.namespaces(selector),
        }
    }

    fn namespaces(&self, selector: &Selector) -> Rc<[NamespaceName]> {
        if let Some(known) = self.selected.borrow().0.get(selector) {
            return Rc::clone(known);
        }
        let all = self.cluster.world.namespaces();
        let found: Rc<[NamespaceName]> = match fewest(&self.namespaces_labelled, selector) {
            Some(candidates) => {
                self.spend(candidates.len());
                candidates.into_iter().filter(|name| self.is_in(name, selector)).cloned().collect()
            }
            None => {
                self.spend(all.len());
                let selected = all.values().filter(|it| selector.matches(&it.labels));
                selected.map(|it| it.name.clone()).collect()
            }
        };
        let mut selected = self.selected.borrow_mut();
        if selected.1 > KEPT_NAMES {
            // All at once: nothing tells which will be asked for again, and each can be found anew.
            *selected = Default::default();
        }
        // One more, since a selector that selects nothing takes room as well.
        selected.1 += found.len() + 1;
        selected.0.insert(selector.clone(), Rc::clone(&found));
        found
    }

    fn is_in(&self, namespace: &NamespaceName, selector: &Selector) -> bool {
        let object = self.cluster.world.namespaces().get(namespace);
        object.is_some_and(|object| selector.matches(&object.labels))
    }

    /// Looks at the classes that a peer selects, those of host networks and of pods that have ended too, until `look` breaks.
    pub(super) fn each_of_peer<'a>(
        &'a self,
        peer: &PodPeer,
        mut look: impl FnMut(&'a PodClass) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        let mut look = |class: &'a PodClass| {
            self.spend(1);
            match peer.pods.matches(&class.first.labels) {
                true => look(class),
                false => ControlFlow::Continue(()),
            }
        };
        let selector = match &peer.namespaces {
            NamespaceScope::Named(own) => return self.classes_of(own).iter().try_for_each(&mut look),
            NamespaceScope::Matching(selector) => selector,
        };
        let namespaces = self.namespaces(selector);
        // Whichever is fewer is gone through: classes with the labels, or namespaces with all of their classes.
        match fewest(&self.labelled, &peer.pods).filter(|classes| classes.len() < namespaces.len()) {
            Some(classes) => {
                let classes = classes.into_iter().filter_map(|index| self.classes.get(*index));
                classes.filter(|class| self.is_in(class.namespace(), selector)).try_for_each(&mut look)
            }
            None => {
                namespaces.iter().try_for_each(|name| self.classes_of(name).iter().try_for_each(&mut look))
            }
        }
    }

    /// Returns true if the asker may see every namespace that a peer looks into.
    pub(super) fn sees(&self, peer: &PodPeer) -> bool {
        self.sight.sees_everything() || self.namespaces_of(peer).iter().all(|name| self.sight.sees(name))
    }

    /// Returns true if a policy isolates the pods of a class in a direction.
    pub(super) fn is_isolated(&self, direction: Direction, class: &PodClass) -> bool {
        self.judge.isolating(direction, &class.first).next().is_some()
    }
}

/// Those with a label that a requirement wants, in order, of the requirement for which they are fewest; `None`: no
/// requirement wants one of some values.
fn fewest<'a, T: Ord>(
    labelled: &'a HashMap<(Arc<str>, Arc<str>), Vec<T>>,
    selector: &Selector,
) -> Option<Vec<&'a T>> {
    let with_label = selector.requirements().filter_map(|requirement| {
        let Operator::In(values) = &requirement.operator else { return None };
        let key = &requirement.key;
        let lists = values.iter().filter_map(|value| labelled.get(&(Arc::clone(key), Arc::clone(value))));
        Some(lists.collect::<Vec<&'a Vec<T>>>())
    });
    let lists = with_label.min_by_key(|lists| lists.iter().map(|list| list.len()).sum::<usize>())?;
    // An object has one value of a key, so it is in one list.
    let mut all: Vec<&T> = lists.into_iter().flatten().collect();
    all.sort_unstable();
    Some(all)
}

/// The keys of all labels that policies ask pods for.
fn keys(cluster: &Cluster<'_>) -> BTreeSet<Arc<str>> {
    let mut keys = BTreeSet::new();
    let mut add = |selector: &Selector| {
        keys.extend(selector.requirements().map(|requirement| Arc::clone(&requirement.key)));
    };
    for policy in cluster.world.policies().values() {
        add(&policy.pod_selector);
        for peer in rules(policy).flat_map(|(_, _, rule)| peers(rule)) {
            if let Peer::Pods(peer) = peer {
                add(&peer.pods);
            }
        }
    }
    keys
}

/// All rules of a policy, with direction and position.
pub(super) fn rules(policy: &Policy) -> impl Iterator<Item = (Direction, usize, &Rule)> {
    Direction::ALL.into_iter().flat_map(|direction| {
        let rules = policy.rules(direction).unwrap_or_default();
        rules.iter().enumerate().map(move |(index, rule)| (direction, index, rule))
    })
}

/// The peers of a rule; none if it names none.
pub(super) fn peers(rule: &Rule) -> &[Peer] {
    match &rule.peers {
        PeerMatch::Any => &[],
        PeerMatch::OneOf(peers) => peers,
    }
}

/// What tells classes of one namespace apart.
type Likeness<'a> = (Vec<(&'a str, &'a str)>, &'a Sorted<NamedPort>, bool);

fn classes(cluster: &Cluster<'_>, keys: &BTreeSet<Arc<str>>) -> Vec<PodClass> {
    let mut classes: Vec<PodClass> = Vec::new();
    let mut known: HashMap<Likeness<'_>, usize> = HashMap::new();
    let mut namespace: Option<&NamespaceName> = None;
    for pod in cluster.world.pods().values() {
        if namespace != Some(&pod.key.namespace) {
            namespace = Some(&pod.key.namespace);
            // Pods are in order of namespaces, and those of several are never of one class.
            known.clear();
        }
        let host = pod.is_of_host_network();
        let labels = pod.labels.iter().filter(|(key, _)| keys.contains(*key)).collect();
        let index = *known.entry((labels, &pod.ports, host)).or_insert_with(|| {
            classes.push(PodClass { first: Arc::clone(pod), samples: Vec::new(), live: 0, host });
            classes.len() - 1
        });
        let Some(class) = classes.get_mut(index) else { continue };
        if pod.lifecycle == Lifecycle::Finished {
            continue;
        }
        if class.live == 0 {
            class.first = Arc::clone(pod);
        }
        class.live += 1;
        if class.samples.len() < SAMPLES && !host {
            class.samples.push(Arc::clone(pod));
        }
    }
    classes
}
