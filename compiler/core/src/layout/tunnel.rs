//! Tunnels: no pod reaches a node where tunnels end.
//!
//! What a node takes out of a tunnel counts as sent by whoever stands in the inner packet. So a pod that could hand a node
//! a tunnelled packet could choose its source: its own node, whose address it may always reach, or another one, which sees
//! nothing but the pod's address outside. With or without policies, and before connection tracking; only where the
//! interface tells that a pod sent it, since nodes send each other nothing else.

use std::collections::BTreeSet;
use std::sync::Arc;

use smallvec::smallvec;

use super::{Layout, when};
use crate::nft::{
    ChainName, Content, Element, Family, Field, Match, Objects, Rule, SetName, SetType, Statement, Verdict,
};
use crate::object::{HostInterface, InterfaceName};
use crate::output::Frame;

/// VXLAN (RFC 7348), Geneve (RFC 8926), and VXLAN as Linux had it before.
const TUNNEL_PORTS: [u16; 3] = [4789, 6081, 8472];

impl<O: Objects> Layout<O> {
    /// The rules of the base chain that come first, where interfaces of pods are known; `rest` is what follows them.
    pub(super) fn tunnels(&mut self, frame: &Frame, rest: &[Rule]) -> Vec<Rule> {
        // A claimed interface may be the node's uplink, by which its tunnels come.
        let computed = frame.anchors.keys().filter_map(|interface| match interface {
            HostInterface::Computed(name) => Some(name),
            HostInterface::Claimed(_) => None,
        });
        let links: BTreeSet<&InterfaceName> = computed.chain(&frame.links.pod_bridges).collect();
        if links.is_empty() {
            return Vec::new();
        }
        let links = links.into_iter().map(|name| Element::Interface(name.clone())).collect();
        self.add_set(SetName::PodLinks, SetType::Interfaces, Content::Elements(links));
        let counted_drop =
            |condition| Rule { matches: smallvec![condition], statement: Statement::Counted(Verdict::Drop) };
        // Its own addresses of either family by one question; those of others are known from their Node objects.
        let mut rules = vec![counted_drop(Match::Local(Field::Destination(Family::V4)))];
        for family in Family::ALL {
            let here = frame.links.node_addresses.iter().filter(|address| Family::of(address) == family);
            let addresses: BTreeSet<Element> = here.map(|address| Element::Address(*address)).collect();
            if !addresses.is_empty() {
                let (name, field) = (SetName::NodeAddresses(family), Field::Destination(family));
                rules.push(counted_drop(Match::In(smallvec![field], name.clone())));
                self.add_set(name, SetType::Addresses(family), Content::Elements(addresses));
            }
        }
        rules.extend_from_slice(rest);
        self.add_chain(ChainName::Tunnel, None, rules);
        let ports = frame.links.tunnel_ports.iter().copied().chain(TUNNEL_PORTS).collect();
        // The protocol first: most packets pay for no more than that.
        [Match::TunnelPorts(Arc::new(ports)), Match::TunnelProtocols]
            .map(|condition| {
                let from_pod = Match::In(smallvec![Field::Inbound], SetName::PodLinks);
                when([condition, from_pod], Verdict::Goto(ChainName::Tunnel))
            })
            .into()
    }
}
