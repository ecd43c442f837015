//! What a miss names is what is missing: mended step by step as it says, the rule allows the flow.

use std::net::IpAddr;
use std::sync::Arc;

use flock_compiler_core::judge::{Carries, Flow, IsolatingPolicy, Judge, PeerWhy, Place, PortWhy, Verdict};
use flock_compiler_core::object::{
    Direction, IpBlock, NamedPort, NamespaceScope, Peer, PeerMatch, Pod, PodPeer, PortMatch, Rule, RulePorts,
};
use flock_compiler_core::port::PortRange;
use flock_compiler_core::{Change, Edit, Requirement, Selector, UnreadyPods, World};
use ipnet::IpNet;

use crate::judge::with_rules;

/// More steps than a rule of random clusters has conditions.
const STEPS: usize = 20;

/// Mends one of the misses of a denial. Returns true if there is one.
pub(crate) fn one(
    judge: &Judge<'_>,
    direction: Direction,
    flow: &Flow,
    isolating: &[IsolatingPolicy],
    choice: usize,
) -> Result<bool, String> {
    let misses: Vec<(&IsolatingPolicy, usize)> =
        isolating.iter().flat_map(|one| one.rules.iter().map(move |miss| (one, miss.rule))).collect();
    let Some(&(chosen, rule)) = misses.get(choice % misses.len().max(1)) else { return Ok(false) };
    let mut world = World::clone(judge.world());
    let mut flow = flow.clone();
    for _ in 0..STEPS {
        let known = World::clone(&world);
        // Without any policy nothing is unready.
        let again = Judge::new(&known, UnreadyPods::Allow);
        let place = |place: &Place| place.address.map_or_else(|| place.clone(), |at| again.place_of(at));
        flow = Flow { source: place(&flow.source), destination: place(&flow.destination), ..flow };
        let verdict = again.judge(&flow).of(direction).clone();
        let isolating = match verdict {
            Verdict::Allowed(cites) => {
                // A port's name that the destination gains may be one that other rules have, too.
                return match cites
                    .iter()
                    .any(|cite| cite.policy.key == chosen.policy.key && cite.rule == rule)
                {
                    true => Ok(true),
                    false => Err(format!("mended rule {rule} of {}: {cites:?}", chosen.policy.key)),
                };
            }
            Verdict::Denied(isolating) => isolating,
            other => return Err(format!("while rule {rule} of {} is mended: {other:?}", chosen.policy.key)),
        };
        let policy = isolating.iter().find(|one| one.policy.key == chosen.policy.key).unwrap();
        let miss = policy.rules.iter().find(|miss| miss.rule == rule).unwrap();
        let step = Step { direction, flow: &flow };
        let change = if miss.has_peer() {
            let (_, missed) = miss.ports.as_ref().unwrap();
            let port = &missed[choice % missed.len()];
            match step.port(&port.why)? {
                Mended::Port(mended) => with_rules(&policy.policy, direction, |rules| {
                    rules[rule].ports = with_port(&rules[rule], port.index, mended);
                }),
                Mended::Pod(pod) => Change::Pod(Edit::Upsert(*pod)),
            }
        } else {
            let (_, missed) = miss.peers.as_ref().unwrap();
            let peer = &missed[choice % missed.len()];
            let (index, why) = (peer.index, &peer.why);
            let mut mended = Err("no such peer".to_owned());
            let change = with_rules(&policy.policy, direction, |rules| {
                if let PeerMatch::OneOf(peers) = &mut rules[rule].peers {
                    mended = step.peer(&peers[index], why, &known).map(|mended| peers[index] = mended);
                }
            });
            mended?;
            change
        };
        world.apply(change);
    }
    Err(format!("rule {rule} of {} still does not allow it", chosen.policy.key))
}

enum Mended {
    /// The port of the rule; `None`: the rule has none any more.
    Port(Option<PortMatch>),
    /// The destination.
    Pod(Box<Pod>),
}

fn with_port(rule: &Rule, index: usize, mended: Option<PortMatch>) -> RulePorts {
    let (RulePorts::OneOf(ports), Some(mended)) = (&rule.ports, mended) else { return RulePorts::Any };
    let mut ports = ports.clone();
    ports[index] = mended;
    RulePorts::OneOf(ports)
}

struct Step<'a> {
    direction: Direction,
    flow: &'a Flow,
}

impl Step<'_> {
    fn other(&self) -> &Place {
        match self.direction {
            Direction::Egress => &self.flow.destination,
            Direction::Ingress => &self.flow.source,
        }
    }

    /// The peer without what it says is in the way, which has to be true.
    fn peer(&self, peer: &Peer, why: &PeerWhy, world: &World) -> Result<Peer, String> {
        let address = self.other().address.ok_or("flows of tests have addresses")?;
        let pod = self.other().owners.first();
        let wrong = || format!("{peer:?}: {why:?}: it is not so");
        let only_it = Peer::Block(IpBlock::new(host(address), &[]).unwrap());
        match (peer, why) {
            (Peer::Pods(_), PeerWhy::NoPod) if pod.is_none() => Ok(only_it),
            (Peer::Block(block), PeerWhy::OutsideBlock { cidr })
                if block.cidr() == *cidr && !cidr.contains(&address) =>
            {
                Ok(only_it)
            }
            (Peer::Block(block), PeerWhy::Excepted { cidr, except })
                if block.cidr() == *cidr && cidr.contains(&address) && except.contains(&address) =>
            {
                let others = block.except().iter().filter(|other| *other != except).copied();
                Ok(Peer::Block(IpBlock::new(*cidr, &others.collect::<Vec<_>>()).unwrap()))
            }
            (Peer::Pods(selected), why) => {
                let pod = pod.ok_or_else(wrong)?;
                let namespace = world.namespaces().get(&pod.key.namespace);
                let mut mended = PodPeer::clone(selected);
                match (why, &mut mended.namespaces) {
                    (PeerWhy::Labels { wanted, has }, _)
                        if pod.labels.get(&wanted.key) == has.as_deref() && !wanted.matches(&pod.labels) =>
                    {
                        mended.pods = without(&mended.pods, wanted);
                    }
                    (PeerWhy::Namespace { wanted, has, .. }, NamespaceScope::Matching(selector))
                        if namespace.is_some_and(|object| {
                            object.labels.get(&wanted.key) == has.as_deref()
                                && !wanted.matches(&object.labels)
                        }) =>
                    {
                        *selector = without(selector, wanted);
                    }
                    (PeerWhy::OtherNamespace { own }, NamespaceScope::Named(named))
                        if own == named && pod.key.namespace != *own =>
                    {
                        *named = pod.key.namespace.clone();
                    }
                    (PeerWhy::NamespaceUnknown { namespace: unknown }, scope)
                        if namespace.is_none() && pod.key.namespace == *unknown =>
                    {
                        *scope = NamespaceScope::Named(unknown.clone());
                    }
                    _ => return Err(wrong()),
                }
                Ok(Peer::Pods(Arc::new(mended)))
            }
            _ => Err(wrong()),
        }
    }

    fn port(&self, why: &PortWhy) -> Result<Mended, String> {
        let Carries::Port(protocol, number) = self.flow.carries else {
            return match why {
                PortWhy::NoPorts => Ok(Mended::Port(None)),
                _ => Err(format!("{why:?} of what has no ports")),
            };
        };
        let only_it = Mended::Port(Some(PortMatch::Range(PortRange::single(protocol, number))));
        let destination = self.flow.destination.owners.first();
        let names = |name| {
            destination.map(|pod| pod.numbers(protocol, name).collect::<Vec<u16>>()).unwrap_or_default()
        };
        let is_so = match why {
            PortWhy::Protocol(wanted) => *wanted != protocol,
            PortWhy::Number(range) => range.protocol() == protocol && !range.contains(protocol, number),
            PortWhy::NameOfNoPod(_) => destination.is_none(),
            PortWhy::NoSuchName { name, .. } => destination.is_some() && names(name).is_empty(),
            PortWhy::NamesOther { name, numbers } => names(name) == *numbers && !numbers.contains(&number),
            PortWhy::NoPorts => false,
        };
        match (why, destination) {
            _ if !is_so => Err(format!("{why:?}: it is not so")),
            (PortWhy::NoSuchName { name, .. } | PortWhy::NamesOther { name, .. }, Some(pod)) => {
                let named = NamedPort { name: name.clone(), protocol, number };
                let ports = pod.ports.iter().cloned().chain([named]).collect();
                Ok(Mended::Pod(Box::new(Pod { ports, ..Pod::clone(pod) })))
            }
            _ => Ok(only_it),
        }
    }
}

fn without(selector: &Selector, requirement: &Requirement) -> Selector {
    selector.requirements().filter(|other| *other != requirement).cloned().collect()
}

fn host(address: IpAddr) -> IpNet {
    IpNet::from(address)
}
