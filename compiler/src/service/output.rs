//! An Output as messages of the debug service.

use std::collections::BTreeMap;
use std::sync::Arc;

use flock_compiler_core::identity::Name;
use flock_compiler_core::nft::{Allow, ChainName};
use flock_compiler_core::object::{HostInterface, NamespaceScope, PodPeer};
use flock_compiler_core::output::{AddressSet, Isolation, Output, Peers, RuleSet};
use flock_compiler_core::port::PortSet;
use flock_proto::v1;

/// The message for an output; everything in the output's own order.
pub(super) fn to_wire(output: &Output) -> v1::Output {
    let rule_sets = output.rule_sets();
    let mut address_sets: BTreeMap<&Name, &Arc<AddressSet>> = BTreeMap::new();
    for rules in &rule_sets {
        let peers = std::iter::once(&rules.any_port).chain(rules.ports.iter().map(|(_, peers)| &**peers));
        address_sets.extend(peers.filter_map(|peers| peers.pods.as_ref()).map(|set| (&set.name, set)));
    }
    v1::Output {
        node: output.node.to_string(),
        subjects: output
            .subjects
            .iter()
            .map(|(address, subject)| v1::Subject {
                address: address.to_string(),
                pods: subject.pods.iter().map(ToString::to_string).collect(),
                ingress: Some(isolation(&subject.ingress)),
                egress: Some(isolation(&subject.egress)),
            })
            .collect(),
        rule_sets: rule_sets.iter().map(|rules| rule_set(rules)).collect(),
        address_sets: address_sets.into_values().map(|set| address_set(set)).collect(),
        anchors: output
            .anchors
            .iter()
            .map(|(HostInterface::Computed(name) | HostInterface::Claimed(name), addresses)| v1::Anchor {
                interface: name.to_string(),
                addresses: addresses.iter().map(ToString::to_string).collect(),
            })
            .collect(),
    }
}

/// The name under which a rule set is a chain of the script.
fn chain(rules: &RuleSet) -> String {
    ChainName::RuleSet(rules.direction, rules.name.clone(), Allow::Accept).to_string()
}

fn isolation(isolation: &Isolation) -> v1::Isolation {
    match isolation {
        Isolation::Open => v1::Isolation { isolated: false, rule_sets: Vec::new() },
        Isolation::Closed => v1::Isolation { isolated: true, rule_sets: Vec::new() },
        Isolation::Rules(rules) => {
            v1::Isolation { isolated: true, rule_sets: rules.iter().map(|rules| chain(rules)).collect() }
        }
    }
}

fn rule_set(rules: &RuleSet) -> v1::RuleSet {
    let ports = rules.ports.iter().map(|(range, to)| v1::PortPeers {
        protocol: range.protocol().to_string(),
        first_port: range.first().into(),
        last_port: range.last().into(),
        peers: Some(peers(to)),
    });
    let named = rules.named.iter().flat_map(|named| &named.members);
    let contested = rules.contested.iter().flat_map(|(address, ports)| match ports {
        PortSet::Everything => vec![format!("{address} any")],
        PortSet::Ranges(ranges) => ranges.iter().map(|range| format!("{address} {range}")).collect(),
    });
    v1::RuleSet {
        name: chain(rules),
        any_port: Some(peers(&rules.any_port)),
        ports: ports.collect(),
        named_destinations: named
            .map(|(address, protocol, port)| format!("{address} {protocol} {port}"))
            .collect(),
        contested: contested.collect(),
    }
}

fn peers(peers: &Peers) -> v1::Peers {
    v1::Peers {
        address_set: peers.pods.as_ref().map(|set| set.name.to_string()).unwrap_or_default(),
        blocks: peers.blocks.blocks.display().collect(),
    }
}

fn address_set(set: &AddressSet) -> v1::AddressSet {
    let v4 = set.v4.iter().map(ToString::to_string);
    let v6 = set.v6.iter().map(ToString::to_string);
    v1::AddressSet {
        name: set.name.to_string(),
        selectors: set.selectors.iter().map(selector).collect(),
        addresses: v4.chain(v6).collect(),
    }
}

/// A selector peer as a person would say it.
fn selector(peer: &PodPeer) -> String {
    match &peer.namespaces {
        NamespaceScope::Named(name) => format!("pods {} in namespace {name}", peer.pods),
        NamespaceScope::Matching(selector) => format!("pods {} in namespaces {selector}", peer.pods),
    }
}
