//! Tunnels: no pod reaches a node where tunnels end.
//!
//! What a node takes out of a tunnel counts as sent by whoever stands in the inner packet. So a pod that could hand a node
//! a tunnelled packet could choose its source: its own node, whose address it may always reach, or another one, which sees
//! nothing but the pod's address outside. With or without policies; only where the interface tells that a pod sent it, since
//! nodes send each other nothing else.
//!
//! Its own node takes more than its addresses: a datagram to everybody, or to the group of all hosts, is given to every
//! socket at the port, and IPv6 has an address for whichever router. And a service may have a tunnel's end for its endpoint,
//! as whoever writes endpoints may name any address; so it is looked at after translation, whoever sent it, since no node
//! sends another tunnelled packets by way of a service.
//!
//! Well-known ports are those that a kernel's tunnels have unless they are told otherwise. Other ports are the agent's to
//! find. Whatever asks its peer for a key (ESP, WireGuard) is not handed packets by strangers.

use std::collections::BTreeSet;
use std::sync::Arc;

use smallvec::smallvec;

use super::{Layout, when};
use crate::nft::{
    ChainName, Content, Element, Family, Field, Hook, Match, Objects, Rule, SetName, SetType, Statement,
    Verdict,
};
use crate::object::{HostInterface, InterfaceName};
use crate::output::NodeRules;

/// VXLAN (RFC 7348) and its extension (VXLAN-GPE), Geneve (RFC 8926), and VXLAN as Linux had it before.
const TUNNEL_PORTS: [u16; 4] = [4789, 4790, 6081, 8472];

/// The base chain and where it leads, where interfaces of pods are known.
pub(super) fn tunnels<O: Objects>(layout: &mut Layout<O>, node_rules: &NodeRules) {
    // A claimed interface may be the node's uplink, by which its tunnels come.
    let computed = node_rules.source_checks.keys().filter_map(|interface| match interface {
        HostInterface::Computed(name) => Some(name),
        HostInterface::Claimed(_) => None,
    });
    let links: BTreeSet<&InterfaceName> = computed.chain(&node_rules.links.pod_bridges).collect();
    if links.is_empty() {
        return;
    }
    let links = links.into_iter().map(|name| Element::Interface(name.clone())).collect();
    layout.add_set(SetName::PodLinks, SetType::Interfaces, Content::Elements(links));
    let counted_drop =
        |condition| Rule { matches: smallvec![condition], statement: Statement::Counted(Verdict::Drop) };
    // What it takes itself, of either family, by one question; others' addresses are known from their Node objects.
    let mut rules = vec![counted_drop(Match::Delivered)];
    for family in Family::ALL {
        let here = node_rules.links.node_addresses.iter().filter(|address| Family::of(address) == family);
        let addresses: BTreeSet<Element> = here.map(|address| Element::Address(*address)).collect();
        if !addresses.is_empty() {
            let (name, field) = (SetName::NodeAddresses(family), Field::Destination(family));
            rules.push(counted_drop(Match::In(smallvec![field], name.clone())));
            layout.add_set(name, SetType::Addresses(family), Content::Elements(addresses));
        }
    }
    layout.add_chain(ChainName::Tunnel, None, rules);
    let ports = node_rules.links.tunnel_ports.iter().copied().chain(TUNNEL_PORTS).collect();
    let ports = Match::TunnelPorts(Arc::new(ports));
    let from_pod = || Match::In(smallvec![Field::Inbound], SetName::PodLinks);
    // The protocol first: most packets pay for no more than that.
    let conditions =
        [[ports.clone(), from_pod()], [ports, Match::Translated], [Match::TunnelProtocols, from_pod()]];
    let rules = conditions.map(|conditions| when(conditions, Verdict::Goto(ChainName::Tunnel))).into_iter();
    layout.add_chain(ChainName::Translated, Some(Hook::Translated), rules.collect());
}
