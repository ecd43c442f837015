//! `judge`: what the words of the API say of one flow, and why.
//!
//! ```text
//! World ──▶ Judge ── place_of(pod or address) ──▶ Place ┐
//!                                                       ├─▶ Flow ──▶ judge ──▶ Judgement { egress, ingress }
//!                                                 Place ┘                       each a Verdict with its reasons
//! ```
//!
//! It reads objects and nothing else: no rule sets, no address sets, no table. It shares no code with the translation, so
//! that the two can be held against each other. Each direction is judged by itself, for every pod that owns its end: the
//! policies that select it isolate it, and one rule of one of them has to have a peer and a port that match.
//!
//! ```
//! use flock_compiler_core::judge::{Carries, Flow, Judge, Verdict};
//! use flock_compiler_core::nft::port::Protocol;
//! use flock_compiler_core::{UnreadyPods, World};
//!
//! let world = World::default();
//! let judge = Judge::new(&world, UnreadyPods::Expected);
//! let [source, destination] = ["10.0.0.1", "10.0.0.2"].map(|address| judge.place_of(address.parse().unwrap()));
//! let flow = Flow { source, destination, carries: Carries::Port(Protocol::Tcp, 80) };
//! assert_eq!(judge.judge(&flow).ingress, Verdict::Open);
//! ```

mod index;
mod over_budget;
mod place;
mod rules;
mod verdict;
mod words;

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use flock_shared::{NamespaceName, NodeName};
use smallvec::SmallVec;

use crate::object::{Direction, Pod, Policy};
use crate::translate::UnreadyPods;
use crate::world::World;

pub use index::Index;
pub use over_budget::PodsOverBudget;
pub use place::Place;
pub use rules::{Allowed, PeerMiss, PeerWhy, PortMiss, PortWhy};
pub use verdict::{Cite, Exempt, IsolatingPolicy, Judgement, Matched, Miss, Opinion, Verdict};

use rules::Question;

/// What a flow carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Carries {
    /// A protocol with ports, and the destination's.
    Port(crate::port::Protocol, u16),
    /// Another protocol: only rules without ports allow it.
    Other,
}

/// A flow: the first packet of a connection, after a Service has been resolved to its endpoint.
#[derive(Debug, Clone)]
pub struct Flow {
    /// Who opens it.
    pub source: Place,
    /// Whom it reaches.
    pub destination: Place,
    /// What it carries.
    pub carries: Carries,
}

/// Judges flows in a world.
#[derive(Debug)]
pub struct Judge<'w> {
    world: &'w World,
    unready: UnreadyPods,
    lookup: ObjectLookup<'w>,
    /// The pods that are over budget; `None`: nobody is.
    over_budget: Option<&'w PodsOverBudget>,
}

/// How objects are found.
#[derive(Debug)]
enum ObjectLookup<'w> {
    /// They are looked for among all.
    Scan,
    /// In an index of its own.
    Own(Box<Index>),
    /// In one that somebody keeps up to date.
    Shared(&'w Index),
}

impl<'w> Judge<'w> {
    /// For some questions in a small world: addresses are looked for among all pods.
    #[must_use]
    pub const fn new(world: &'w World, unready: UnreadyPods) -> Self {
        Self { world, unready, lookup: ObjectLookup::Scan, over_budget: None }
    }

    /// For many questions: it indexes the world first.
    #[must_use]
    pub fn indexed(world: &'w World, unready: UnreadyPods) -> Self {
        Self { lookup: ObjectLookup::Own(Box::new(Index::new(world))), ..Self::new(world, unready) }
    }

    /// For any question at once: with an index that is up to date with the world.
    #[must_use]
    pub const fn with_index(world: &'w World, unready: UnreadyPods, index: &'w Index) -> Self {
        Self { world, unready, lookup: ObjectLookup::Shared(index), over_budget: None }
    }

    /// The index, if there is one.
    #[must_use]
    pub fn index(&self) -> Option<&Index> {
        match &self.lookup {
            ObjectLookup::Scan => None,
            ObjectLookup::Own(index) => Some(index),
            ObjectLookup::Shared(index) => Some(index),
        }
    }

    /// Takes these pods for closed because their policies cost more than is allowed.
    #[must_use]
    pub fn with_over_budget(mut self, pods: &'w PodsOverBudget) -> Self {
        self.over_budget = Some(pods).filter(|pods| !pods.is_empty());
        self
    }

    /// The world.
    #[must_use]
    pub const fn world(&self) -> &'w World {
        self.world
    }

    /// Who is at an address.
    #[must_use]
    pub fn place_of(&self, address: IpAddr) -> Place {
        let owners = self.owners(address);
        let host = if owners.is_empty() { self.host_at(address) } else { None };
        Place { address: Some(address), owners, host }
    }

    /// Returns true if it is known that no two pods claim this address, so that a pod which does owns it.
    #[must_use]
    pub fn is_uncontested(&self, address: IpAddr) -> bool {
        self.index().is_some_and(|index| !index.is_contested(address))
    }

    /// Where a pod is: a place for each of its addresses, or one without an address, where it has none (yet). Other pods may
    /// own one of them, too.
    #[must_use]
    pub fn places_of_pod(&self, pod: &Arc<Pod>) -> Vec<Place> {
        if pod.is_of_host_network() {
            let node = pod.node.as_ref();
            let addresses = node.and_then(|node| self.world.nodes().get(node)).map(|node| &node.addresses);
            let on_host = |address| Place { address, owners: Vec::new(), host: node.cloned() };
            let known: Vec<Place> = addresses.into_iter().flatten().map(|at| on_host(Some(*at))).collect();
            return if known.is_empty() { vec![on_host(None)] } else { known };
        }
        let own: Vec<Place> =
            pod.addresses().into_iter().flatten().map(|address| self.place_of(*address)).collect();
        // A pod that has yielded all of its addresses is at none of them.
        let own: Vec<Place> = own.into_iter().filter(|place| place.is_of(&pod.key)).collect();
        match own.is_empty() {
            true => vec![Place { address: None, owners: vec![Arc::clone(pod)], host: None }],
            false => own,
        }
    }

    /// The pods whose claim to an address is the strongest: CNI's word before a status, a live pod before one that is being
    /// deleted.
    fn owners(&self, address: IpAddr) -> Vec<Arc<Pod>> {
        let mut claimants: SmallVec<[&Arc<Pod>; 2]> = match self.index() {
            Some(index) => index.claimants(address).iter().collect(),
            None => {
                let claims = |pod: &&Arc<Pod>| pod.addresses().is_some_and(|own| own.contains(&address));
                self.world.pods().values().filter(claims).collect()
            }
        };
        let strongest = claimants.iter().map(|pod| pod.claim()).max();
        claimants.retain(|pod| Some(pod.claim()) == strongest);
        // Likewise, what is shown of a pod and no verdict depends on.
        let newest = |pod| self.index().and_then(|_| self.world.pods().get(pod));
        claimants.into_iter().map(|pod| Arc::clone(newest(&pod.key).unwrap_or(pod))).collect()
    }

    /// The node that has this address itself: as its own object says, or as a bridge of pods, which is what its agent says.
    fn host_at(&self, address: IpAddr) -> Option<NodeName> {
        if let Some(index) = self.index() {
            return index.host_at(address).cloned();
        }
        let mut nodes = self.world.nodes().values();
        // A Node object's word before an agent's, as in the index.
        let by_object = nodes.find(|node| node.addresses.contains(&address)).map(|node| &node.name);
        let at_bridge = || {
            let has =
                |bridge: &crate::object::Bridge| bridge.addresses.iter().any(|net| net.addr() == address);
            self.world.facts().values().find(|facts| facts.bridges.iter().any(has)).map(|facts| &facts.node)
        };
        by_object.or_else(at_bridge).cloned()
    }

    /// What the API's words say of a flow, and why.
    #[must_use]
    pub fn judge(&self, flow: &Flow) -> Judgement {
        Judgement {
            egress: self.verdict(Direction::Egress, flow),
            ingress: self.verdict(Direction::Ingress, flow),
        }
    }

    /// Returns true if both directions let the flow pass; [`Judge::judge`] without reasons.
    #[must_use]
    pub fn passes(&self, flow: &Flow) -> bool {
        Direction::ALL.into_iter().all(|direction| self.direction_passes(direction, flow))
    }

    /// What one direction lets pass between the ends of a flow, whatever it carries: what all of these allow. None: it lets
    /// everything pass.
    #[must_use]
    pub fn allowed(&self, direction: Direction, flow: &Flow) -> Vec<Allowed> {
        let (own, other) = flow.ends(direction);
        if own.owners.is_empty() {
            return self.closed_on(direction, own).map(|_| Allowed::nothing()).into_iter().collect();
        }
        if exempt(own, other).is_some() {
            return Vec::new();
        }
        let each = pairs(own, other).map(|(subject, peer)| {
            if self.is_over_budget(direction, subject) {
                return Allowed::nothing();
            }
            let question = Question { world: self.world, direction, subject, peer, other, flow };
            let mut isolating = self.isolating(direction, subject).peekable();
            match isolating.peek() {
                None => Allowed::Everything,
                Some(_) => question.allowed(isolating),
            }
        });
        each.filter(|allowed| *allowed != Allowed::Everything).collect()
    }

    fn direction_passes(&self, direction: Direction, flow: &Flow) -> bool {
        let (own, other) = flow.ends(direction);
        if own.owners.is_empty() {
            return self.closed_on(direction, own).is_none();
        }
        exempt(own, other).is_some()
            || pairs(own, other).all(|(subject, peer)| {
                if self.is_over_budget(direction, subject) {
                    return false;
                }
                let question = Question { world: self.world, direction, subject, peer, other, flow };
                let mut isolating = self.isolating(direction, subject).peekable();
                isolating.peek().is_none() || isolating.any(|policy| question.is_allowed_by(policy))
            })
    }

    fn verdict(&self, direction: Direction, flow: &Flow) -> Verdict {
        let (own, other) = flow.ends(direction);
        if own.owners.is_empty() {
            return match (&own.host, self.closed_on(direction, own)) {
                (Some(_), _) => Verdict::Exempt(Exempt::HostNetwork),
                (None, Some(node)) => Verdict::Unready(node),
                // Whatever is not known to be a pod's has an address, but for a host's network on no known node.
                (None, None) if own.address.is_none() => Verdict::Exempt(Exempt::HostNetwork),
                (None, None) => Verdict::Open,
            };
        }
        if let Some(exempt) = exempt(own, other) {
            return Verdict::Exempt(exempt);
        }
        let mut opinions: Vec<Opinion> = pairs(own, other)
            .map(|(subject, peer)| {
                let question = Question { world: self.world, direction, subject, peer, other, flow };
                Opinion {
                    subject: subject.key.clone(),
                    peer: peer.map(|peer| peer.key.clone()),
                    verdict: self.opinion(&question),
                }
            })
            .collect();
        match opinions.pop() {
            Some(only) if opinions.is_empty() => only.verdict,
            last => {
                opinions.extend(last);
                Verdict::Contested(opinions)
            }
        }
    }

    /// What the policies of one pod say, given who the other end is.
    fn opinion(&self, question: &Question<'_>) -> Verdict {
        let isolating = self.isolating(question.direction, question.subject);
        let isolating: Vec<&Arc<Policy>> = isolating.map(|policy| self.newest(policy)).collect();
        // Before the question whether any policy isolates it: with more policies or peers than a namespace's pods are
        // tried against, nobody knows whom they select.
        if self.is_over_budget(question.direction, question.subject) {
            return Verdict::OverBudget(isolating.into_iter().cloned().collect());
        }
        if isolating.is_empty() {
            return Verdict::Open;
        }
        let (mut cites, mut denied) = (Vec::new(), Vec::new());
        for policy in isolating {
            let mut misses = Vec::new();
            // All rules, also behind one that allows: the answer cites everything that does.
            for (index, rule) in policy.rules(question.direction).unwrap_or_default().iter().enumerate() {
                let miss = question.judge_rule(policy, index, rule);
                match miss.matched() {
                    Some(matched) => cites.extend(matched.cites(policy, question.direction, index)),
                    None => misses.push(miss),
                }
            }
            denied.push(IsolatingPolicy {
                policy: Arc::clone(policy),
                direction: question.direction,
                rules: misses,
            });
        }
        if cites.is_empty() { Verdict::Denied(denied) } else { Verdict::Allowed(cites) }
    }

    /// About how many policies have to be looked at to judge a flow.
    #[must_use]
    pub fn effort(&self, flow: &Flow) -> usize {
        let owners = [&flow.source, &flow.destination].into_iter().flat_map(|place| &place.owners);
        owners.map(|pod| self.policies_of(&pod.key.namespace).count()).sum()
    }

    fn is_over_budget(&self, direction: Direction, pod: &Pod) -> bool {
        self.over_budget.is_some_and(|pods| pods.contains(&pod.key, direction))
    }

    /// The policies of a namespace, by name.
    fn policies_of<'a>(&'a self, namespace: &'a NamespaceName) -> impl Iterator<Item = &'a Arc<Policy>> {
        let index = self.index();
        let scanned = index.is_none().then(|| self.world.policies_of(namespace));
        let indexed = index.map(|index| index.policies_of(namespace));
        indexed.into_iter().flatten().chain(scanned.into_iter().flatten())
    }

    /// A policy as it is cited: what no verdict depends on changes without a difference that an index could follow.
    fn newest<'a>(&'a self, policy: &'a Arc<Policy>) -> &'a Arc<Policy> {
        match self.index() {
            Some(_) => self.world.policies().get(&policy.key).unwrap_or(policy),
            None => policy,
        }
    }

    /// The policies that isolate a pod in a direction, by name.
    pub fn isolating<'a>(
        &'a self,
        direction: Direction,
        subject: &'a Pod,
    ) -> impl Iterator<Item = &'a Arc<Policy>> {
        self.policies_of(&subject.key.namespace).filter(move |policy| {
            policy.rules(direction).is_some() && policy.pod_selector.matches(&subject.labels)
        })
    }

    /// The node that takes an address which nobody owns for one of an isolated pod that has just started.
    fn closed_on(&self, direction: Direction, place: &Place) -> Option<NodeName> {
        // A node's own addresses, such as a bridge's, may lie in its blocks, and the table exempts them.
        let address = place.address.filter(|_| place.host.is_none())?;
        // Without any policy nothing can be isolated, and no block is guarded.
        if self.unready == UnreadyPods::Allow || self.world.policies().is_empty() {
            return None;
        }
        let around: BTreeSet<&NodeName> = match self.index() {
            Some(index) => index.nodes_around(address),
            None => {
                let has =
                    |node: &crate::object::Node| node.pod_cidrs.iter().any(|block| block.contains(address));
                self.world.nodes().iter().filter(|(_, node)| has(node)).map(|(name, _)| name).collect()
            }
        };
        around.into_iter().find(|node| self.is_closing(direction, node)).cloned()
    }

    /// Returns true if a node closes its blocks in a direction: always, or while a pod is on its way there that a policy
    /// isolates in it. (A compiler that answers attends to its nodes.)
    fn is_closing(&self, direction: Direction, node: &NodeName) -> bool {
        // Closed as by `drop` where an agent has not come or is too old to be told who is expected, and where it hears of
        // pods from CNI, before they run.
        let may_expect = self.world.facts().get(node).is_some_and(|facts| facts.may_expect());
        if self.unready == UnreadyPods::Drop || !may_expect {
            return true;
        }
        let isolates =
            |pod: &Arc<Pod>| self.world.awaits(pod) && self.isolating(direction, pod).next().is_some();
        match self.index() {
            Some(index) => index.on_their_way(node).any(isolates),
            None => {
                let mut pods = self.world.pods().values();
                pods.any(|pod| pod.node.as_ref() == Some(node) && isolates(pod))
            }
        }
    }
}

impl Flow {
    /// The end that a direction judges, and the other one.
    const fn ends(&self, direction: Direction) -> (&Place, &Place) {
        match direction {
            Direction::Egress => (&self.source, &self.destination),
            Direction::Ingress => (&self.destination, &self.source),
        }
    }
}

/// Every owner of the judged end with every owner of the other one, or with nobody: a flow passes only if it would for all
/// of them.
fn pairs<'a>(own: &'a Place, other: &'a Place) -> impl Iterator<Item = (&'a Arc<Pod>, Option<&'a Arc<Pod>>)> {
    let peers = || {
        let nobody = other.owners.is_empty().then_some(None);
        other.owners.iter().map(Some).chain(nobody)
    };
    own.owners.iter().flat_map(move |subject| peers().map(move |peer| (subject, peer)))
}

/// Why no policy is asked.
fn exempt(own: &Place, other: &Place) -> Option<Exempt> {
    // What stands for several pods is at both ends of what these send to each other.
    let is_same_pod = matches!(
        (&*own.owners, &*other.owners),
        ([own], [other]) if own.is_same_pod(other)
    );
    if is_same_pod || (own.address.is_some() && own.address == other.address) {
        return Some(Exempt::Itself);
    }
    let host = other.host.as_ref()?;
    // Every owner has to be on that node: a contested flow passes only if it would for each of them.
    own.owners.iter().all(|pod| pod.node.as_ref() == Some(host)).then_some(Exempt::OwnNode)
}
