//! Why a peer or a port of a rule does not match, in words.

use std::sync::Arc;

use flock_compiler_core::Operator;
use flock_compiler_core::judge::{Index, PeerMiss, PeerWhy, PortMiss, PortWhy};
use flock_compiler_core::object::{
    Direction, NamespaceScope, Peer, PeerMatch, Pod, PodPeer, Policy, Rule, RulePorts,
};
use flock_compiler_core::port::PortRange;

use super::{Teller, Told};

/// So many pods and namespaces are looked at for one answer to tell peers that select no pod at all: some milliseconds.
pub(super) const LOOKS: usize = 200_000;

impl Teller<'_> {
    /// Why a peer does not match: `pods app=apii: selects no pod; shop/api-5f6b has app=api`.
    pub(super) fn peer_why(
        &mut self,
        told: Told<'_>,
        policy: &Policy,
        rule: &Rule,
        miss: &PeerMiss,
    ) -> String {
        let peer = match &rule.peers {
            PeerMatch::OneOf(peers) => peers.get(miss.index),
            PeerMatch::Any => None,
        };
        match peer {
            None => miss.why.to_string(),
            Some(Peer::Block(block)) => {
                let address = self.address(told);
                match &miss.why {
                    PeerWhy::Excepted { cidr, except } => {
                        format!("{cidr} except {except} excludes {address}")
                    }
                    PeerWhy::NoAddress => format!("{block}: no address is known of the other end"),
                    _ => format!("{block}: {address} is not in it"),
                }
            }
            Some(Peer::Pods(selected)) => {
                let what = described(selected, policy);
                let none = if self.selects_none(selected) { "selects no pod; " } else { "" };
                format!("{what}: {none}{}", self.pods_why(told, &miss.why))
            }
        }
    }

    /// The address of the other end, if it may be told.
    fn address(&self, told: Told<'_>) -> String {
        let is_seen = told.peer.is_none_or(|pod| self.sees(pod));
        let address = told.other.address.filter(|_| is_seen);
        address.map_or_else(|| "its address".to_owned(), |address| address.to_string())
    }

    fn pods_why(&self, told: Told<'_>, why: &PeerWhy) -> String {
        let peer = told.peer.map(|pod| self.pod(pod)).unwrap_or_default();
        let may_see = told.peer.is_some_and(|pod| self.sees(pod));
        match why {
            PeerWhy::NoPod => match told.other.address {
                Some(address) => format!("no pod is known at {address}"),
                None => "no pod is there".to_owned(),
            },
            PeerWhy::Host => "a node, and pods of its network, are selected by no labels".to_owned(),
            PeerWhy::OtherNamespace { .. } => match told.peer {
                Some(pod) if may_see => format!("{peer} is in namespace {}", pod.key.namespace),
                _ => format!("it is {peer}"),
            },
            PeerWhy::NamespaceUnknown { namespace } => format!("namespace {namespace} is not known"),
            PeerWhy::Namespace { namespace, wanted, has } if self.sight.sees(namespace) => {
                format!("namespace {namespace} has {}", label(&wanted.key, has.as_deref()))
            }
            PeerWhy::Namespace { namespace, .. } => format!("namespace {namespace} does not match"),
            PeerWhy::Labels { wanted, has } if may_see => {
                format!("{peer} has {}", label(&wanted.key, has.as_deref()))
            }
            PeerWhy::Labels { .. } => format!("{peer} does not match"),
            PeerWhy::NoAddress | PeerWhy::OutsideBlock { .. } | PeerWhy::Excepted { .. } => why.to_string(),
        }
    }

    /// Returns true if a peer is known to select no pod at all. Only of what the asker sees wholly: what there is in other
    /// namespaces, a peer that asks for it must not tell.
    fn selects_none(&mut self, peer: &Arc<PodPeer>) -> bool {
        let sees = match &peer.namespaces {
            NamespaceScope::Named(namespace) => self.sight.sees(namespace),
            NamespaceScope::Matching(_) => self.sight.sees_everything(),
        };
        if !sees {
            return false;
        }
        if let Some(known) = self.selects_none.get(peer) {
            return *known;
        }
        let found = self.search(peer);
        self.selects_none.insert(Arc::clone(peer), found);
        found
    }

    /// Returns true if no pod is selected; false also if it would take too long to find out.
    fn search(&mut self, peer: &PodPeer) -> bool {
        let world = self.judge.world();
        let is_nowhere = |index: &Index| {
            peer.pods.requirements().any(|one| match &one.operator {
                Operator::In(values) => !values.iter().any(|value| index.has_label(&one.key, value)),
                _ => false,
            })
        };
        // The index has every label of every pod: for a value that none has, no pod has to be looked at.
        if self.judge.index().is_some_and(is_nowhere) {
            return true;
        }
        // A pod without addresses of its own is no peer of anybody.
        let is_selected = |pod: &Arc<Pod>| pod.addresses().is_some() && peer.pods.matches(&pod.labels);
        let pods: Box<dyn Iterator<Item = &Arc<Pod>>> = match &peer.namespaces {
            NamespaceScope::Named(namespace) => Box::new(world.pods_of(namespace)),
            NamespaceScope::Matching(selector) if selector.is_everything() => Box::new(world.pods().values()),
            NamespaceScope::Matching(selector) => {
                self.looks = self.looks.saturating_sub(world.namespaces().len());
                let matching = world.namespaces().values().filter(|one| selector.matches(&one.labels));
                Box::new(matching.flat_map(|namespace| world.pods_of(&namespace.name)))
            }
        };
        for pod in pods {
            if self.looks == 0 || is_selected(pod) {
                return false;
            }
            self.looks -= 1;
        }
        true
    }

    /// Why a port does not match: `"postgres": the destination names pg=5432/TCP`.
    pub(super) fn port_why(&self, told: Told<'_>, rule: &Rule, miss: &PortMiss) -> String {
        let destination = match told.direction {
            Direction::Ingress => told.subject,
            Direction::Egress => told.peer,
        };
        let may_see = destination.is_some_and(|pod| self.sees(pod));
        let protocol = match told.flow.carries {
            flock_compiler_core::judge::Carries::Port(protocol, _) => protocol.to_string(),
            flock_compiler_core::judge::Carries::Other => String::new(),
        };
        match &miss.why {
            PortWhy::NoSuchName { name, has } if may_see && !has.is_empty() => {
                let has: Vec<String> =
                    has.iter().map(|(name, number)| format!("{name}={number}/{protocol}")).collect();
                format!("{name:?}: the destination names {}", flock_shared::listed(&has))
            }
            PortWhy::NoSuchName { name, .. } if may_see => {
                format!("{name:?}: the destination names no {protocol} port")
            }
            PortWhy::NamesOther { name, numbers } if may_see => {
                let numbers: Vec<String> =
                    numbers.iter().map(|number| format!("{number}/{protocol}")).collect();
                format!("{name:?} is {} on the destination", flock_shared::listed(&numbers))
            }
            PortWhy::NoSuchName { name, .. } | PortWhy::NamesOther { name, .. } => {
                format!("{name:?}: the destination does not call the port so")
            }
            PortWhy::NameOfNoPod(name) => {
                format!("{name:?}: names are looked up on the destination, where no pod is known")
            }
            PortWhy::Number(range) => range_words(range),
            PortWhy::Protocol(_) | PortWhy::NoPorts => port(rule, miss),
        }
    }
}

/// A port of a rule as it is written.
fn port(rule: &Rule, miss: &PortMiss) -> String {
    use flock_compiler_core::object::PortMatch;
    let port = match &rule.ports {
        RulePorts::OneOf(ports) => ports.get(miss.index),
        RulePorts::Any => None,
    };
    let written = match port {
        None => return miss.why.to_string(),
        Some(PortMatch::Range(range)) => range_words(range),
        Some(PortMatch::Named { protocol, name }) => format!("{protocol} {name:?}"),
    };
    match miss.why {
        PortWhy::NoPorts => format!("{written}: what is sent has no ports"),
        _ => written,
    }
}

fn range_words(range: &PortRange) -> String {
    match (range.first(), range.last()) {
        // People write 1 to 65535 for all ports of a protocol as well.
        (0 | 1, u16::MAX) => format!("{} only", range.protocol()),
        _ => range.to_string(),
    }
}

/// What a peer selects: `pods app=api`, `all pods of namespaces team=a`.
fn described(peer: &PodPeer, policy: &Policy) -> String {
    let pods = match peer.pods.is_everything() {
        true => "all pods".to_owned(),
        false => format!("pods {}", peer.pods),
    };
    match &peer.namespaces {
        NamespaceScope::Named(own) if *own == policy.key.namespace && !peer.pods.is_everything() => pods,
        NamespaceScope::Named(namespace) => format!("{pods} of namespace {namespace}"),
        NamespaceScope::Matching(selector) if selector.is_everything() => format!("{pods} of all namespaces"),
        NamespaceScope::Matching(selector) => format!("{pods} of namespaces {selector}"),
    }
}

/// `app=api`, or "no label app".
fn label(key: &str, value: Option<&str>) -> String {
    match value {
        None => format!("no label {key}"),
        Some(value) => format!("{key}={value}"),
    }
}
