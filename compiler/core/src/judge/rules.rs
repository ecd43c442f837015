//! One rule and one flow: which of its peers and which of its ports match, and how far the others come.

use std::sync::Arc;

use flock_shared::NamespaceName;
use ipnet::IpNet;

use super::verdict::Miss;
use super::{Carries, Flow, Place};
use crate::label::{Requirement, Selector};
use crate::object::{
    Direction, NamespaceScope, Peer, PeerMatch, Pod, PodPeer, Policy, PortMatch, PortName, Rule, RulePorts,
};
use crate::port::{PortRange, Protocol};
use crate::world::World;

/// Why a peer does not match.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PeerWhy {
    /// It selects pods, and no pod is at the other end.
    NoPod,
    /// It selects pods, and the other end is a node or a pod of its network.
    Host,
    /// It selects pods of the policy's own namespace.
    OtherNamespace {
        /// That namespace.
        own: NamespaceName,
    },
    /// The labels of the pod's namespace do not satisfy this requirement.
    Namespace {
        /// The namespace.
        namespace: NamespaceName,
        /// The first that is not satisfied.
        wanted: Requirement,
        /// The value that the namespace has for its key.
        has: Option<Arc<str>>,
    },
    /// The namespace of the pod is not known, and so are its labels.
    NamespaceUnknown {
        /// The namespace.
        namespace: NamespaceName,
    },
    /// The labels of the pod do not satisfy this requirement.
    Labels {
        /// The first that is not satisfied.
        wanted: Requirement,
        /// The value that the pod has for its key.
        has: Option<Arc<str>>,
    },
    /// It is a block, and the other end has no address that is known.
    NoAddress,
    /// The address is not in `cidr`.
    OutsideBlock {
        /// `cidr`.
        cidr: IpNet,
    },
    /// The address is in `cidr`, and in what is taken out of it.
    Excepted {
        /// `cidr`.
        cidr: IpNet,
        /// The first `except` that has it.
        except: IpNet,
    },
}

/// A peer that does not match.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerMiss {
    /// Its position in `from` or `to`.
    pub index: usize,
    /// Why.
    pub why: PeerWhy,
}

/// Why a port does not match.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PortWhy {
    /// It is of another protocol.
    Protocol(Protocol),
    /// The number is not within these.
    Number(PortRange),
    /// The destination has no port of this name and protocol.
    NoSuchName {
        /// The name.
        name: PortName,
        /// The names that the destination has, with numbers, of this protocol.
        has: Vec<(PortName, u16)>,
    },
    /// The destination calls other ports by this name.
    NamesOther {
        /// The name.
        name: PortName,
        /// The numbers.
        numbers: Vec<u16>,
    },
    /// A name is looked up on the destination pod, and there is none.
    NameOfNoPod(PortName),
    /// What the flow carries has no ports.
    NoPorts,
}

/// A port that does not match.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PortMiss {
    /// Its position in `ports`.
    pub index: usize,
    /// Why.
    pub why: PortWhy,
}

/// What is allowed, whatever a flow carries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Allowed {
    /// All ports of all protocols, and protocols without ports.
    Everything,
    /// These ports, in no order; they may overlap.
    Ports(Vec<PortRange>),
}

impl Allowed {
    pub(super) const fn nothing() -> Self {
        Self::Ports(Vec::new())
    }
}

/// A flow in one direction, for one owner of each end.
#[derive(Debug, Clone, Copy)]
pub(super) struct Question<'a> {
    pub world: &'a World,
    pub direction: Direction,
    pub subject: &'a Arc<Pod>,
    pub peer: Option<&'a Arc<Pod>>,
    /// The end that is not judged.
    pub other: &'a Place,
    pub flow: &'a Flow,
}

impl Question<'_> {
    /// Returns true if one rule of a policy allows it.
    pub(super) fn is_allowed_by(&self, policy: &Policy) -> bool {
        let rules = policy.rules(self.direction).unwrap_or_default();
        // The port first: it is cheaper to compare than selectors are to match.
        rules.iter().any(|rule| self.has_port(rule) && self.has_peer(policy, rule))
    }

    /// What these policies allow, whatever the flow carries.
    pub(super) fn allowed<'p>(&self, policies: impl Iterator<Item = &'p Arc<Policy>>) -> Allowed {
        let mut allowed = Vec::new();
        for policy in policies {
            for rule in policy.rules(self.direction).unwrap_or_default() {
                if !self.has_peer(policy, rule) {
                    continue;
                }
                // A rule without ports also allows protocols that have none, which no list of ranges could say.
                let RulePorts::OneOf(ports) = &rule.ports else { return Allowed::Everything };
                for port in ports {
                    match port {
                        PortMatch::Range(range) => allowed.push(*range),
                        PortMatch::Named { protocol, name } => {
                            let numbers =
                                self.destination().into_iter().flat_map(|pod| pod.numbers(*protocol, name));
                            allowed.extend(numbers.map(|number| PortRange::single(*protocol, number)));
                        }
                    }
                }
            }
        }
        Allowed::Ports(allowed)
    }

    fn has_peer(&self, policy: &Policy, rule: &Rule) -> bool {
        match &rule.peers {
            PeerMatch::Any => true,
            PeerMatch::OneOf(peers) => peers.iter().any(|peer| self.peer_why(policy, peer).is_none()),
        }
    }

    fn has_port(&self, rule: &Rule) -> bool {
        match &rule.ports {
            RulePorts::Any => true,
            RulePorts::OneOf(ports) => ports.iter().any(|port| self.port_matches(port)),
        }
    }

    /// How far a rule comes: all that matches, and all that does not.
    pub(super) fn judge_rule(&self, policy: &Policy, index: usize, rule: &Rule) -> Miss {
        let mut judged = Miss::new(index);
        if let PeerMatch::OneOf(peers) = &rule.peers {
            judged.peers = Some(split(peers, |index, peer| {
                self.peer_why(policy, peer).map(|why| PeerMiss { index, why })
            }));
        }
        if let RulePorts::OneOf(ports) = &rule.ports {
            judged.ports =
                Some(split(ports, |index, port| self.port_why(port).map(|why| PortMiss { index, why })));
        }
        judged
    }

    fn peer_why(&self, policy: &Policy, peer: &Peer) -> Option<PeerWhy> {
        match peer {
            Peer::Block(block) => match self.other.address {
                None => Some(PeerWhy::NoAddress),
                Some(address) if block.blocks().contains(address) => None,
                Some(address) => Some(match block.excluded_by(address) {
                    None => PeerWhy::OutsideBlock { cidr: block.cidr() },
                    Some(except) => PeerWhy::Excepted { cidr: block.cidr(), except },
                }),
            },
            Peer::Pods(selected) => match self.peer {
                None if self.other.host.is_some() => Some(PeerWhy::Host),
                None => Some(PeerWhy::NoPod),
                Some(pod) => self.pod_why(policy, selected, pod),
            },
        }
    }

    fn pod_why(&self, policy: &Policy, selected: &PodPeer, pod: &Pod) -> Option<PeerWhy> {
        let namespace = &pod.key.namespace;
        match &selected.namespaces {
            NamespaceScope::Named(own) if own != namespace => {
                return Some(PeerWhy::OtherNamespace { own: policy.key.namespace.clone() });
            }
            NamespaceScope::Named(_) => {}
            NamespaceScope::Matching(selector) => {
                // Nobody knows the labels of such a namespace, so no selector matches it, not even the empty one.
                let Some(object) = self.world.namespaces().get(namespace) else {
                    return Some(PeerWhy::NamespaceUnknown { namespace: namespace.clone() });
                };
                if let Some((wanted, has)) = unmet(selector, |key| object.labels.get(key)) {
                    return Some(PeerWhy::Namespace { namespace: namespace.clone(), wanted, has });
                }
            }
        }
        unmet(&selected.pods, |key| pod.labels.get(key)).map(|(wanted, has)| PeerWhy::Labels { wanted, has })
    }

    /// The pod that a port's name is looked up on.
    fn destination(&self) -> Option<&Pod> {
        match self.direction {
            Direction::Ingress => Some(self.subject),
            Direction::Egress => self.peer.map(|peer| &**peer),
        }
    }

    fn port_matches(&self, port: &PortMatch) -> bool {
        let Carries::Port(carried, number) = self.flow.carries else { return false };
        match port {
            PortMatch::Range(range) => range.contains(carried, number),
            PortMatch::Named { protocol, name } => {
                *protocol == carried
                    && self
                        .destination()
                        .is_some_and(|pod| pod.numbers(carried, name).any(|own| own == number))
            }
        }
    }

    fn port_why(&self, port: &PortMatch) -> Option<PortWhy> {
        if self.port_matches(port) {
            return None;
        }
        let Carries::Port(carried, _) = self.flow.carries else { return Some(PortWhy::NoPorts) };
        Some(match port {
            PortMatch::Range(range) if range.protocol() != carried => PortWhy::Protocol(range.protocol()),
            PortMatch::Range(range) => PortWhy::Number(*range),
            PortMatch::Named { protocol, .. } if *protocol != carried => PortWhy::Protocol(*protocol),
            PortMatch::Named { name, .. } => {
                let Some(pod) = self.destination() else { return Some(PortWhy::NameOfNoPod(name.clone())) };
                let numbers: Vec<u16> = pod.numbers(carried, name).collect();
                if numbers.is_empty() {
                    let of_protocol = pod.ports.iter().filter(|port| port.protocol == carried);
                    let has = of_protocol.map(|port| (port.name.clone(), port.number)).collect();
                    PortWhy::NoSuchName { name: name.clone(), has }
                } else {
                    PortWhy::NamesOther { name: name.clone(), numbers }
                }
            }
        })
    }
}

/// The positions of what matches, and why the others do not.
fn split<T, M>(all: &[T], miss: impl Fn(usize, &T) -> Option<M>) -> (Vec<usize>, Vec<M>) {
    let (mut matched, mut missed) = (Vec::new(), Vec::new());
    for (index, one) in all.iter().enumerate() {
        match miss(index, one) {
            None => matched.push(index),
            Some(why) => missed.push(why),
        }
    }
    (matched, missed)
}

/// The first requirement that labels do not satisfy, and the value that they have for its key.
fn unmet<'a>(
    selector: &Selector,
    get: impl Fn(&str) -> Option<&'a str>,
) -> Option<(Requirement, Option<Arc<str>>)> {
    let unmet = selector.requirements().find(|one| !one.holds(get(&one.key)))?;
    Some((unmet.clone(), get(&unmet.key).map(Arc::from)))
}
