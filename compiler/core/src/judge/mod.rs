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

mod place;
mod rules;
mod verdict;
mod words;

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use flock_shared::NodeName;

use crate::object::{Direction, Pod, Policy};
use crate::translate::UnreadyPods;
use crate::world::World;

pub use place::Place;
pub use rules::{PeerMiss, PeerWhy, PortMiss, PortWhy};
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
    /// The pods that claim each address; `None`: they are looked for when asked.
    claims: Option<HashMap<IpAddr, Vec<&'w Arc<Pod>>>>,
}

impl<'w> Judge<'w> {
    /// For some questions: addresses are looked for among all pods.
    #[must_use]
    pub const fn new(world: &'w World, unready: UnreadyPods) -> Self {
        Self { world, unready, claims: None }
    }

    /// For many questions: addresses are looked up.
    #[must_use]
    pub fn indexed(world: &'w World, unready: UnreadyPods) -> Self {
        let mut claims: HashMap<IpAddr, Vec<&Arc<Pod>>> = HashMap::new();
        for pod in world.pods().values() {
            for address in pod.addresses().into_iter().flatten() {
                claims.entry(*address).or_default().push(pod);
            }
        }
        Self { world, unready, claims: Some(claims) }
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
        let mut claimants: Vec<&Arc<Pod>> = match &self.claims {
            Some(claims) => claims.get(&address).cloned().unwrap_or_default(),
            None => {
                let claims = |pod: &&Arc<Pod>| pod.addresses().is_some_and(|own| own.contains(&address));
                self.world.pods().values().filter(claims).collect()
            }
        };
        let strongest = claimants.iter().map(|pod| pod.claim()).max();
        claimants.retain(|pod| Some(pod.claim()) == strongest);
        claimants.into_iter().cloned().collect()
    }

    /// The node that has this address itself: as its own object says, or as a bridge of pods, which is what its agent says.
    fn host_at(&self, address: IpAddr) -> Option<NodeName> {
        let mut nodes = self.world.nodes().values();
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

    fn direction_passes(&self, direction: Direction, flow: &Flow) -> bool {
        let (own, other) = flow.ends(direction);
        if own.owners.is_empty() {
            return self.closed_on(direction, own).is_none();
        }
        exempt(own, other).is_some()
            || pairs(own, other).all(|(subject, peer)| {
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
        let isolating: Vec<&Arc<Policy>> = self.isolating(question.direction, question.subject).collect();
        if isolating.is_empty() {
            return Verdict::Open;
        }
        let (mut cites, mut denied) = (Vec::new(), Vec::new());
        for policy in isolating {
            let mut misses = Vec::new();
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

    /// The policies that isolate a pod in a direction, by name.
    pub fn isolating<'a>(
        &'a self,
        direction: Direction,
        subject: &'a Pod,
    ) -> impl Iterator<Item = &'a Arc<Policy>> {
        self.world.policies_of(&subject.key.namespace).filter(move |policy| {
            policy.rules(direction).is_some() && policy.pod_selector.matches(&subject.labels)
        })
    }

    /// The node that takes an address which nobody owns for one of an isolated pod that has just started.
    fn closed_on(&self, direction: Direction, place: &Place) -> Option<NodeName> {
        let address = place.address.filter(|_| place.host.is_none())?;
        if self.unready == UnreadyPods::Allow || self.world.policies().is_empty() {
            return None;
        }
        let around = |node: &&NodeName| {
            let blocks = self.world.nodes().get(*node).map(|node| &node.pod_cidrs);
            blocks.into_iter().flatten().any(|block| block.contains(address))
        };
        self.world.nodes().keys().filter(around).find(|node| self.is_closing(direction, node)).cloned()
    }

    /// Returns true if a node closes its blocks in a direction: always, or while a pod is on its way there that a policy
    /// isolates in it. (A compiler that answers attends to its nodes.)
    fn is_closing(&self, direction: Direction, node: &NodeName) -> bool {
        let may_expect = self.world.facts().get(node).is_some_and(|facts| facts.may_expect());
        if self.unready == UnreadyPods::Drop || !may_expect {
            return true;
        }
        let is_expected = |pod: &&Arc<Pod>| pod.node.as_ref() == Some(node) && self.world.awaits(pod);
        let mut expected = self.world.pods().values().filter(is_expected);
        expected.any(|pod| self.isolating(direction, pod).next().is_some())
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
    let is_same_pod = matches!((&*own.owners, &*other.owners), ([own], [other]) if own.key == other.key);
    if is_same_pod || (own.address.is_some() && own.address == other.address) {
        return Some(Exempt::Itself);
    }
    let host = other.host.as_ref()?;
    own.owners.iter().all(|pod| pod.node.as_ref() == Some(host)).then_some(Exempt::OwnNode)
}
