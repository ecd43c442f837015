//! An Output as messages of the debug service.

use std::net::IpAddr;

use flock_compiler_core::block::Ranges;
use flock_compiler_core::members::{Member, Service};
use flock_compiler_core::nft::{Allow, ChainName};
use flock_compiler_core::object::{Attachment, Direction, HostInterface, NamespaceScope, PodPeer, Sandbox};
use flock_compiler_core::output::{
    AddressSet, BlockSet, Closing, Isolation, Membership, Output, PodCidrGuard, RuleSet, Union,
};
use flock_compiler_core::port::PortSet;
use flock_proto::v1;

/// The message for an output; everything in the output's own order.
pub(super) fn to_wire(output: &Output) -> v1::Output {
    let frame = output.node_rules();
    let owners_of = |address| frame.owners.get(address).map_or(&[][..], |pods| pods);
    let pods = output.sets().iter().filter_map(|set| match &set.definition.rule {
        Membership::Pods(selectors) => Some(address_set(set, selectors.iter().map(|peer| selector(peer)))),
        Membership::Destinations(_) => None,
    });
    v1::Output {
        node: output.node().to_string(),
        subjects: frame
            .isolated
            .iter()
            .map(|(address, subject)| v1::Subject {
                address: address.to_string(),
                pods: owners_of(address).iter().map(ToString::to_string).collect(),
                ingress: Some(isolation(&subject.ingress)),
                egress: Some(isolation(&subject.egress)),
            })
            .collect(),
        rule_sets: frame.rule_sets().iter().map(|rules| rule_set(output, rules)).collect(),
        address_sets: pods.collect(),
        anchors: frame
            .source_checks
            .iter()
            .map(|(HostInterface::Computed(name) | HostInterface::Claimed(name), addresses)| v1::Anchor {
                interface: name.to_string(),
                addresses: addresses.iter().map(ToString::to_string).collect(),
            })
            .collect(),
        unready: frame.guard.as_ref().map(|unready| v1::Unready {
            pod_cidrs: unready.cidrs.iter().map(ToString::to_string).collect(),
            known_addresses: unready.known().map(|address| address.to_string()).collect(),
            ingress: closed(unready, Direction::Ingress).into(),
            egress: closed(unready, Direction::Egress).into(),
            expected: unready.expected.iter().map(ToString::to_string).collect(),
        }),
    }
}

/// When a direction of unknown addresses is closed.
fn closed(unready: &PodCidrGuard, direction: Direction) -> v1::Closed {
    match unready.closing {
        Closing::Always => v1::Closed::Always,
        Closing::Expecting(_) if unready.closing.is_closed(direction) => v1::Closed::WhileExpected,
        Closing::Expecting(_) => v1::Closed::Unattended,
    }
}

/// The message for a sandbox.
pub(super) fn attached(sandbox: &Sandbox) -> v1::AttachedPod {
    let (addresses, interface) = match &sandbox.attachment {
        Attachment::Attached { addresses, interface } => (&addresses[..], interface.as_ref()),
        Attachment::Detached => (&[][..], None),
    };
    v1::AttachedPod {
        pod: sandbox.pod.to_string(),
        uid: sandbox.uid.to_string(),
        addresses: addresses.iter().map(ToString::to_string).collect(),
        interface: interface.map(ToString::to_string).unwrap_or_default(),
        detached: sandbox.attachment == Attachment::Detached,
    }
}

/// The name under which a rule set is a chain of the script.
fn chain(rules: &RuleSet) -> String {
    ChainName::RuleSet(rules.direction, rules.name, Allow::Accept).to_string()
}

fn isolation(isolation: &Isolation) -> v1::Isolation {
    v1::Isolation {
        isolated: *isolation != Isolation::Open,
        rule_sets: isolation.rule_sets().iter().map(|rules| chain(rules)).collect(),
    }
}

fn rule_set(output: &Output, rules: &RuleSet) -> v1::RuleSet {
    let ports = rules.ports.iter().map(|(range, union)| v1::PortPeers {
        protocol: range.protocol().to_string(),
        first_port: range.first().into(),
        last_port: range.last().into(),
        peers: Some(peers(union)),
    });
    let named = rules.named.as_ref().and_then(|definition| output.set(&definition.name));
    let contested = rules.contested.iter().flat_map(|(address, ports)| match ports {
        PortSet::Everything => vec![format!("{address} any")],
        PortSet::Ranges(ranges) => ranges.iter().map(|range| format!("{address} {range}")).collect(),
    });
    v1::RuleSet {
        name: chain(rules),
        any_port: Some(peers(&rules.any_port)),
        ports: ports.collect(),
        named_destinations: named.into_iter().flat_map(|set| members(set)).collect(),
        contested: contested.collect(),
    }
}

fn peers(union: &Union) -> v1::Peers {
    fn blocks<T>(blocks: &BlockSet<T>, all: &str, some: impl Fn(&Ranges<T>) -> Vec<String>) -> Vec<String> {
        match blocks {
            BlockSet::Nowhere => Vec::new(),
            BlockSet::Everywhere => vec![all.to_owned()],
            BlockSet::Some(ranges) => some(&ranges.ranges),
        }
    }
    let mut found = blocks(&union.v4, "0.0.0.0/0", |ranges| ranges.display().collect());
    found.extend(blocks(&union.v6, "::/0", |ranges| ranges.display().collect()));
    let address_set = union.pods.as_ref().map(|set| set.name.to_string()).unwrap_or_default();
    v1::Peers { address_set, blocks: found }
}

fn address_set(set: &AddressSet, selectors: impl Iterator<Item = String>) -> v1::AddressSet {
    v1::AddressSet {
        name: set.definition.name.to_string(),
        selectors: selectors.collect(),
        addresses: members(set).collect(),
    }
}

/// The members, IPv4 first: an address, and a port where it is one of destinations.
fn members(set: &AddressSet) -> impl Iterator<Item = String> {
    let text = |address: IpAddr, service: Option<Service>| match service {
        None => address.to_string(),
        Some(Service { protocol, port }) => format!("{address} {protocol} {port}"),
    };
    let v4 = set.v4.iter().map(move |Member { address, service }| text((*address).into(), *service));
    v4.chain(set.v6.iter().map(move |Member { address, service }| text((*address).into(), *service)))
}

/// A selector peer as a person would say it.
fn selector(peer: &PodPeer) -> String {
    match &peer.namespaces {
        NamespaceScope::Named(name) => format!("pods {} in namespace {name}", peer.pods),
        NamespaceScope::Matching(selector) => format!("pods {} in namespaces {selector}", peer.pods),
    }
}

#[cfg(test)]
mod tests {
    use flock_compiler_core::object::{Node, PodCidr, Policy, PolicyBody, PolicyRules, Types};
    use flock_compiler_core::{Change, Edit, Selector, Translator};
    use flock_shared::{NodeName, PolicyKey};

    use super::*;

    #[test]
    fn what_guards_unready_pods_is_shown_where_something_is_guarded() {
        let name = NodeName::new("n1").unwrap();
        let pod_cidrs = [PodCidr::new("10.244.1.0/24".parse().unwrap()).unwrap()].into();
        let body = PolicyBody::Understood(PolicyRules::default());
        let key = PolicyKey::new("shop", "web").unwrap();
        let mut translator = Translator::new();
        translator.apply(Change::Node(Edit::Upsert(Node { pod_cidrs, ..Node::new(name.clone()) })));
        translator.pass();
        let shown = |translator: &Translator| to_wire(&translator.output(&name).unwrap()).unready;
        assert_eq!(shown(&translator), None);
        translator.apply(Change::Policy(Edit::Upsert(Policy::new(key, Selector::everything(), body))));
        translator.pass();
        let pod_cidrs = vec!["10.244.1.0/24".to_owned()];
        let always = v1::Closed::Always.into();
        let closed = v1::Unready { pod_cidrs, ingress: always, egress: always, ..v1::Unready::default() };
        assert_eq!(shown(&translator), Some(closed));
        // Where the agent keeps the table told that it is there, it depends on who is on the way.
        let unready =
            PodCidrGuard { closing: Closing::Expecting(Some(Types::Ingress)), ..PodCidrGuard::default() };
        let [ingress, egress] = Direction::ALL.map(|direction| super::closed(&unready, direction));
        assert_eq!((ingress, egress), (v1::Closed::WhileExpected, v1::Closed::Unattended));
    }
}
