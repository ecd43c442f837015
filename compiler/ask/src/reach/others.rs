//! The other ends, and their classes: what no policy in play tells apart is judged once.
//!
//! ```text
//! pod ── its namespace, labels, port names and blocks, as far as the asked end's policies look at them ──▶ seen ┐
//!     ── the policies that isolate it ──────────────────────────────────────────────────────────────────▶ own  ├─▶ class
//!     ── the family of its address ───────────────────────────────────────────────────────────────────────────┘
//! ```

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::net::IpAddr;
use std::ops::Range;
use std::sync::Arc;

use flock_compiler_core::judge::{Judge, Place};
use flock_compiler_core::object::{
    Direction, Lifecycle, NamedPort, NamespaceScope, Peer, PeerMatch, Pod, Policy, RulePorts,
};
use flock_shared::{NamespaceName, NodeName};
use fnv::FnvHashMap;
use smallvec::{SmallVec, smallvec};

use super::regions::Regions;
use crate::{Cluster, internet};

/// Namespaces are told apart by what peers say of them only where that is quickly said of each.
const SCOPES: usize = 4_000_000;

/// What the policies of the asked ends tell apart in other ends.
pub(super) struct Lens<'w> {
    keys: BTreeSet<&'w str>,
    scopes: Vec<&'w NamespaceScope>,
    pub(super) regions: Regions,
}

impl<'w> Lens<'w> {
    pub(super) fn of(policies: &[&'w Arc<Policy>], direction: Direction) -> Self {
        let (mut keys, mut scopes) = (BTreeSet::new(), HashSet::new());
        let rules = policies.iter().flat_map(|policy| policy.rules(direction).unwrap_or_default());
        for rule in rules {
            // A rule for anybody tells nobody apart.
            let PeerMatch::OneOf(peers) = &rule.peers else { continue };
            for peer in peers {
                let Peer::Pods(selected) = peer else { continue };
                scopes.insert(&selected.namespaces);
                // Keys without what is asked of them: pods with the same values are the same to every selector.
                keys.extend(selected.pods.requirements().map(|one| &*one.key));
            }
        }
        let regions = Regions::of(policies.iter().map(|policy| &***policy), direction);
        Self { keys, scopes: scopes.into_iter().collect(), regions }
    }
}

/// Ends that nothing in play tells apart.
#[derive(Debug)]
pub(super) struct EndClass {
    /// One of them, and where there are several one of another pod or node.
    pub(super) places: Vec<Place>,
    /// What the policies of the asked end see.
    pub(super) seen: u32,
    /// The policies of its own.
    pub(super) own: u32,
    /// Returns true for IPv4; `None`: no address is known.
    pub(super) is_v4: Option<bool>,
    pub(super) is_pod: bool,
}

/// What nothing isolates.
pub(super) const OPEN: u32 = 0;

/// An other end.
#[derive(Debug, Clone)]
pub(super) enum End<'w> {
    Pod(&'w Arc<Pod>),
    Node(&'w NodeName),
    Internet,
    /// A region by position.
    Block(usize),
}

/// Which other ends there are.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wanted<'a> {
    pub(super) nodes: bool,
    /// Pods of this namespace are left out.
    pub(super) without: Option<&'a NamespaceName>,
    pub(super) pods: bool,
}

/// The other ends.
pub(super) struct Others<'w> {
    pub(super) classes: Vec<EndClass>,
    /// The classes of the places of ends, each list once.
    pub(super) lists: Vec<List>,
    /// Pods by key, then the others.
    pub(super) all: Vec<(End<'w>, u32)>,
    /// The namespaces of the pods, in order, and where theirs are among all.
    pub(super) namespaces: Vec<(&'w NamespaceName, Range<usize>)>,
    /// What it costs to judge one of these by its own policies.
    pub(super) weights: Vec<usize>,
    pub(super) lens: Lens<'w>,
}

/// What tells classes apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct ClassKey {
    seen: u32,
    own: u32,
    /// The region of its address.
    region: Option<usize>,
    is_v4: Option<bool>,
    /// 0 where nodes make no difference.
    node: u32,
}

type Pairs<'w> = SmallVec<[(&'w str, &'w str); 4]>;
/// The classes of the places of an end.
pub(super) type List = SmallVec<[u32; 2]>;

/// What tenants choose is looked up by no hash that they could make collide.
struct ClassFinder<'a, 'w> {
    cluster: &'a Cluster<'w>,
    judge: &'a Judge<'w>,
    /// In which direction others are judged by their own policies.
    direction: Direction,
    /// Whether pods on different nodes differ, as they do to a node.
    by_node: bool,
    others: Others<'w>,
    known: FnvHashMap<ClassKey, u32>,
    lists: FnvHashMap<List, u32>,
    seen: HashMap<(u32, Pairs<'w>, u32), u32>,
    seen_at: FnvHashMap<(u32, Option<usize>, Option<bool>), u32>,
    own: HashMap<(Vec<usize>, bool, u32), u32>,
    ports: HashMap<&'w [NamedPort], u32>,
    signatures: HashMap<Signature<'w>, u32>,
    nodes: HashMap<&'w NodeName, u32>,
    contested: FnvHashMap<IpAddr, u32>,
}

/// What peers tell of a namespace.
#[derive(PartialEq, Eq, Hash)]
enum Signature<'w> {
    Said(Vec<bool>),
    /// There is too much to be said.
    Alone(&'w NamespaceName),
}

/// A namespace whose pods are looked at.
struct Namespace<'w> {
    signature: u32,
    policies: Vec<&'w Arc<Policy>>,
    keys: BTreeSet<&'w str>,
    known: BTreeMap<(Pairs<'w>, bool, u32), (u32, u32)>,
}

/// Finds the other ends. `direction` is that of the asked ends, which the lens is of.
pub(super) fn find<'w>(
    cluster: &Cluster<'w>,
    judge: &Judge<'w>,
    lens: Lens<'w>,
    direction: Direction,
    wanted: Wanted<'_>,
    by_node: bool,
) -> Others<'w> {
    let direction = match direction {
        Direction::Ingress => Direction::Egress,
        Direction::Egress => Direction::Ingress,
    };
    let others = Others {
        classes: Vec::new(),
        lists: Vec::new(),
        all: Vec::new(),
        namespaces: Vec::new(),
        // That of `OPEN`, which has number 0.
        weights: vec![0],
        lens,
    };
    let mut finder = ClassFinder {
        cluster,
        judge,
        direction,
        by_node,
        others,
        known: FnvHashMap::default(),
        lists: FnvHashMap::default(),
        seen: HashMap::default(),
        seen_at: FnvHashMap::default(),
        own: HashMap::default(),
        ports: HashMap::default(),
        signatures: HashMap::default(),
        nodes: HashMap::default(),
        contested: FnvHashMap::default(),
    };
    if wanted.pods {
        finder.pods(wanted.without);
    }
    if wanted.nodes {
        finder.nodes();
    }
    finder.addresses();
    finder.others
}

fn number(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}

impl<'w> ClassFinder<'_, 'w> {
    fn pods(&mut self, without: Option<&NamespaceName>) {
        let world = self.judge.world();
        self.others.all.reserve(world.pods().len());
        let mut current: Option<(&NamespaceName, Namespace<'w>)> = None;
        for pod in world.pods().values() {
            let is_other = !pod.is_of_host_network() && pod.lifecycle != Lifecycle::Finished;
            if !is_other || without == Some(&pod.key.namespace) {
                continue;
            }
            // Pods are in order of namespaces, so what is known of one is kept while its pods are looked at, and no
            // longer.
            if current.as_ref().is_none_or(|(name, _)| **name != pod.key.namespace) {
                current = Some((&pod.key.namespace, self.namespace(&pod.key.namespace)));
                let next = self.others.all.len();
                self.others.namespaces.push((&pod.key.namespace, next..next));
            }
            let Some((_, namespace)) = &mut current else { continue };
            let (seen, own) = self.of_labels(namespace, pod);
            let list = self.list_of(pod, seen, own);
            self.others.all.push((End::Pod(pod), list));
            if let Some((_, range)) = self.others.namespaces.last_mut() {
                range.end = self.others.all.len();
            }
        }
    }

    fn namespace(&mut self, name: &'w NamespaceName) -> Namespace<'w> {
        let world = self.judge.world();
        let all = world.policies_of(name).filter(|policy| policy.rules(self.direction).is_some());
        let policies: Vec<&Arc<Policy>> = all.collect();
        let keys = policies.iter().flat_map(|policy| policy.pod_selector.requirements().map(|it| &*it.key));
        let keys = keys.collect();
        Namespace { signature: self.signature(name), policies, keys, known: BTreeMap::new() }
    }

    /// What the peers in play say of a namespace.
    fn signature(&mut self, name: &'w NamespaceName) -> u32 {
        let world = self.judge.world();
        let next = number(self.signatures.len());
        if self.others.lens.scopes.len().saturating_mul(world.namespaces().len()) > SCOPES {
            // No two namespaces are alike then: there are more classes than need be, and none that is wrong.
            return *self.signatures.entry(Signature::Alone(name)).or_insert(next);
        }
        let object = world.namespaces().get(name);
        let is_in = |scope: &&NamespaceScope| match scope {
            NamespaceScope::Named(own) => own == name,
            NamespaceScope::Matching(selector) => {
                // A selector selects no namespace whose object is not known, as the judge says as well.
                object.is_some_and(|object| selector.matches(&object.labels))
            }
        };
        let all = self.others.lens.scopes.iter().map(is_in).collect();
        *self.signatures.entry(Signature::Said(all)).or_insert(next)
    }

    /// What is seen of a pod but for its address, and its own policies.
    fn of_labels(&mut self, namespace: &mut Namespace<'w>, pod: &'w Arc<Pod>) -> (u32, u32) {
        let is_in_play =
            |(key, _): &(&str, &str)| self.others.lens.keys.contains(key) || namespace.keys.contains(key);
        // Labels that no selector in play asks for would only make more classes.
        let labels: Pairs<'w> = match self.others.lens.keys.is_empty() && namespace.keys.is_empty() {
            true => Pairs::new(),
            false => pod.labels.iter().filter(is_in_play).collect(),
        };
        // Names of ports are looked up on the destination.
        let ports = match self.direction {
            Direction::Ingress => {
                let next = number(self.ports.len());
                *self.ports.entry(&pod.ports).or_insert(next)
            }
            Direction::Egress => 0,
        };
        // A pod over budget is closed, whatever its labels are.
        let is_closed = self.cluster.over_budget.is_some_and(|all| all.contains(&pod.key, self.direction));
        let key = (labels, is_closed, ports);
        if let Some(known) = namespace.known.get(&key) {
            return *known;
        }
        // Without the keys that only the pod's own policies ask for: the asked end's do not see these.
        let seen = key.0.iter().filter(|(key, _)| self.others.lens.keys.contains(key)).copied().collect();
        let next = number(self.seen.len());
        let seen = *self.seen.entry((namespace.signature, seen, ports)).or_insert(next);
        let isolating: Vec<&Arc<Policy>> = namespace
            .policies
            .iter()
            .filter(|policy| policy.pod_selector.matches(&pod.labels))
            .copied()
            .collect();
        let own = match isolating.is_empty() && !is_closed {
            true => OPEN,
            false => {
                // By pointer: each policy is one object of the world, which outlives this, and to compare what they
                // say costs more.
                let key = isolating.iter().map(|policy| Arc::as_ptr(policy).addr()).collect();
                let next = number(self.others.weights.len());
                let own = *self.own.entry((key, is_closed, ports)).or_insert(next);
                if own == next {
                    self.others.weights.push(weight(&isolating, self.direction));
                }
                own
            }
        };
        namespace.known.insert(key, (seen, own));
        (seen, own)
    }

    fn list_of(&mut self, pod: &'w Arc<Pod>, seen: u32, own: u32) -> u32 {
        let addresses = pod.addresses().map_or(&[][..], |addresses| addresses);
        let node = match &pod.node {
            Some(node) if self.by_node => {
                // From 1: 0 is of pods on no node.
                let next = number(self.nodes.len() + 1);
                *self.nodes.entry(node).or_insert(next)
            }
            _ => 0,
        };
        // Nearly every pod: it is the one owner of its addresses, and nobody has to be asked who else claims them.
        if addresses.iter().all(|address| self.judge.is_uncontested(*address)) {
            let place = |address| Place { address, owners: vec![Arc::clone(pod)], host: None };
            let list: List = match addresses {
                [] => {
                    smallvec![self.class(
                        ClassKey { seen, own, region: None, is_v4: None, node },
                        || place(None),
                        true
                    )]
                }
                all => {
                    let each = all.iter().map(|address| {
                        let region = self.others.lens.regions.at(*address);
                        let key = ClassKey { seen, own, region, is_v4: Some(address.is_ipv4()), node };
                        self.class(key, || place(Some(*address)), true)
                    });
                    each.collect()
                }
            };
            return self.list(list);
        }
        let places = self.judge.places_of_pod(pod);
        let list = places.into_iter().map(|place| match place.address {
            None => {
                self.class(ClassKey { seen, own, region: None, is_v4: None, node }, || place.clone(), true)
            }
            Some(address) if !self.judge.is_uncontested(address) => self.contested(address, place),
            Some(address) => {
                let region = self.others.lens.regions.at(address);
                let key = ClassKey { seen, own, region, is_v4: Some(address.is_ipv4()), node };
                self.class(key, || place.clone(), true)
            }
        });
        let list = list.collect();
        self.list(list)
    }

    /// Of what is like nothing else.
    fn alone(&mut self, place: Place, is_pod: bool) -> u32 {
        let class = number(self.others.classes.len());
        let next = number(self.seen_at.len());
        // No other key is like this one.
        self.seen_at.insert((u32::MAX, Some(next as usize), None), next);
        let own = match is_pod {
            false => OPEN,
            true => {
                self.others.weights.push(self.weight_of(&place));
                number(self.others.weights.len() - 1)
            }
        };
        let is_v4 = place.address.map(|address| address.is_ipv4());
        self.others.classes.push(EndClass { places: vec![place], seen: next, own, is_v4, is_pod });
        class
    }

    fn weight_of(&self, place: &Place) -> usize {
        let isolating = place.owners.iter().flat_map(|pod| self.judge.isolating(self.direction, pod));
        weight(&isolating.collect::<Vec<_>>(), self.direction)
    }

    fn contested(&mut self, address: IpAddr, place: Place) -> u32 {
        // Each owner of the address comes here with the same place.
        if let Some(known) = self.contested.get(&address) {
            return *known;
        }
        let class = self.alone(place, true);
        self.contested.insert(address, class);
        class
    }

    fn class(&mut self, key: ClassKey, place: impl Fn() -> Place, is_pod: bool) -> u32 {
        let next = number(self.others.classes.len());
        let class = *self.known.entry(key).or_insert(next);
        if class == next {
            let ClassKey { seen, own, region, is_v4, .. } = key;
            // What was seen so far is of labels; a block sees the region of the address and its family as well.
            let number = number(self.seen_at.len());
            let seen = *self.seen_at.entry((seen, region, is_v4)).or_insert(number);
            self.others.classes.push(EndClass { places: vec![place()], seen, own, is_v4, is_pod });
        } else if let Some(class) =
            self.others.classes.get_mut(class as usize).filter(|it| it.places.len() == 1)
        {
            let place = place();
            let owner = |place: &Place| place.owners.first().map(|pod| pod.key.clone());
            let is_another = |known: &Place| owner(known) != owner(&place) || known.host != place.host;
            if class.places.first().is_some_and(is_another) {
                class.places.push(place);
            }
        }
        class
    }

    fn list(&mut self, classes: List) -> u32 {
        let next = number(self.others.lists.len());
        if let Some(known) = self.lists.get(&classes) {
            return *known;
        }
        self.others.lists.push(classes.clone());
        self.lists.insert(classes, next);
        next
    }

    fn nodes(&mut self) {
        // No pod is seen like this.
        const NODE: u32 = u32::MAX - 1;
        for (name, node) in self.judge.world().nodes() {
            let place = |address| Place { address, owners: Vec::new(), host: Some(name.clone()) };
            let list = match &*node.addresses {
                [] => smallvec![self.class(
                    ClassKey { seen: NODE, own: OPEN, region: None, is_v4: None, node: 0 },
                    || place(None),
                    false,
                )],
                all => {
                    let each = all.iter().map(|address| {
                        let region = self.others.lens.regions.at(*address);
                        let is_v4 = Some(address.is_ipv4());
                        let key = ClassKey { seen: NODE, own: OPEN, region, is_v4, node: 0 };
                        self.class(key, || place(Some(*address)), false)
                    });
                    each.collect()
                }
            };
            let list = self.list(list);
            self.others.all.push((End::Node(name), list));
        }
    }

    fn addresses(&mut self) {
        let places = internet::places(self.judge);
        let list = places.into_iter().map(|place| self.alone(place, false)).collect();
        let list = self.list(list);
        self.others.all.push((End::Internet, list));
        for (region, place) in self.others.lens.regions.places(self.judge).into_iter().enumerate() {
            // A block that is all of a family is the internet, which is told already.
            let is_part =
                self.others.lens.regions.all.get(region).is_some_and(|it| it.block.prefix_len() > 0);
            if let Some(place) = place.filter(|_| is_part) {
                let class = self.alone(place, false);
                let list = self.list(smallvec![class]);
                self.others.all.push((End::Block(region), list));
            }
        }
    }
}

/// What it costs to judge by these policies: their peers and ports.
pub(super) fn weight(policies: &[&Arc<Policy>], direction: Direction) -> usize {
    let rules = policies.iter().flat_map(|policy| policy.rules(direction).unwrap_or_default());
    let of_rules = rules.map(|rule| {
        let peers = match &rule.peers {
            PeerMatch::Any => 0,
            PeerMatch::OneOf(peers) => peers.len(),
        };
        let ports = match &rule.ports {
            RulePorts::Any => 0,
            RulePorts::OneOf(ports) => ports.len(),
        };
        1 + peers + ports
    });
    of_rules.sum::<usize>() + policies.len()
}

/// The policies that isolate pods in a direction, by name.
pub(super) fn isolating<'w>(
    judge: &Judge<'w>,
    pods: impl Iterator<Item = Arc<Pod>>,
    direction: Direction,
) -> Vec<&'w Arc<Policy>> {
    let world = judge.world();
    let mut kinds: HashSet<(NamespaceName, flock_compiler_core::Labels)> = HashSet::new();
    // Thousands of pods of an end may have the same labels, and every policy is asked about each of these.
    kinds.extend(pods.map(|pod| (pod.key.namespace.clone(), pod.labels.clone())));
    let mut found = BTreeMap::new();
    for policy in world.policies().values().filter(|policy| policy.rules(direction).is_some()) {
        let selects = |(namespace, labels): &(NamespaceName, _)| {
            *namespace == policy.key.namespace && policy.pod_selector.matches(labels)
        };
        if kinds.iter().any(selects) {
            found.insert(&policy.key, policy);
        }
    }
    found.into_values().collect()
}
