//! Bridges that pods hang on: frames between their ports.
//!
//! The inet table judges what br_netfilter hands it, by the addresses of pods. What has none of them is judged here:
//! link-local and other addresses that nobody gave the pod, multicast and broadcast, VLAN tags, and whatever is no IP. So
//! a frame passes if it is a packet from a known address to a known one (the inet table then judges it), or what the
//! link itself needs: ARP, neighbour solicitation and advertisement, reports of multicast listeners.
//!
//! ```text
//! forward    other bridges' ports: accept · goto frames
//! frames     both ports open pods' or uplinks: accept · tagged: drop · ARP, neighbours, MLD: accept · group: drop
//!            source a pod's, or from an uplink: goto frames_to · drop
//! frames_to  destination a pod's, or towards an uplink: accept · drop
//! ```
//!
//! What goes to the node itself, or comes from it, passes other hooks: DHCP, its router advertisements, probes. Nothing is
//! closed here on a node without an isolated pod, nor between ports that are known to be open pods'. Whether a frame is from
//! whom it says, and for whom it goes to, has been asked before, where ports are known (`port.rs`).

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use smallvec::smallvec;

use super::{Layout, when};
use crate::nft::{
    ChainName, Content, Element, Family, Field, Hook, Match, Objects, Rule, SetName, SetType, Statement,
    Verdict,
};
use crate::object::{HostInterface, InterfaceName, PodCidr};
use crate::output::NodeRules;

/// The table of family bridge, where pods hang on one, with the chains of what passes from port to port while anything
/// is isolated.
pub(crate) fn table<O: Objects>(layout: &mut Layout<O>, node_rules: &NodeRules) {
    let links = &node_rules.links;
    if links.pod_bridges.is_empty() {
        return;
    }
    layout.table.add_bridge();
    if node_rules.isolated.is_empty() {
        return;
    }
    ports(layout, SetName::OtherPorts, links.other_ports.iter());
    ports(layout, SetName::Uplinks, links.uplinks.iter());
    ports(layout, SetName::OpenPorts, open_ports(node_rules).into_iter().chain(&links.uplinks));
    let [inbound, outbound] = [Field::Inbound, Field::Outbound];
    let port = |field, set| Match::In(smallvec![field], set);
    // Other bridges are told by their ports: not every kernel takes `meta ibrname`.
    layout.add_chain(
        ChainName::Bridged,
        Some(Hook::Bridged),
        vec![
            when([port(inbound, SetName::OtherPorts)], Verdict::Accept),
            when([], Verdict::Goto(ChainName::Frames)),
        ],
    );
    let open = [port(inbound, SetName::OpenPorts), port(outbound, SetName::OpenPorts)];
    let dropped = |matches| Rule { matches, statement: Statement::Counted(Verdict::Drop) };
    let mut frames = vec![
        when(open, Verdict::Accept),
        // Before all that asks for a protocol: the kernel takes the tag out, and what is inside looks like any other.
        dropped(smallvec![Match::Tagged]),
        when([Match::Arp], Verdict::Accept),
        when([Match::Neighbour], Verdict::Accept),
        when([Match::ListenerReport], Verdict::Accept),
        dropped(smallvec![Match::GroupFrame]),
    ];
    let to = || Verdict::Goto(ChainName::FramesTo);
    frames.extend(known(node_rules, Field::Source).into_iter().map(|known| when([known], to())));
    frames.push(when([port(inbound, SetName::Uplinks)], to()));
    frames.push(dropped(smallvec![]));
    layout.add_chain(ChainName::Frames, None, frames);
    let mut frames_to: Vec<Rule> = known(node_rules, Field::Destination)
        .into_iter()
        .map(|known| when([known], Verdict::Accept))
        .collect();
    frames_to.push(when([port(outbound, SetName::Uplinks)], Verdict::Accept));
    frames_to.push(dropped(smallvec![]));
    layout.add_chain(ChainName::FramesTo, None, frames_to);
    for family in Family::ALL {
        let here = links.pod_addresses.iter().filter(|address| Family::of(address) == family);
        let addresses = here.map(|address| Element::Address(*address)).collect();
        let content = Content::Elements(addresses);
        layout.add_set(SetName::BridgePods(family), SetType::Addresses(family), content);
    }
}

/// The conditions under which a field is an address that a pod was given, or may just be given: those of the node's
/// pod CIDRs are the business of who guards unknown ones.
fn known(node_rules: &NodeRules, field: fn(Family) -> Field) -> Vec<Match> {
    let pods = Family::ALL.map(|family| Match::In(smallvec![field(family)], SetName::BridgePods(family)));
    let cidrs = node_rules.links.pod_cidrs.iter().filter_map(|cidr| {
        let (first, last) = hosts(cidr)?;
        Some(Match::Between(field(Family::of(&first)), first, last))
    });
    pods.into_iter().chain(cidrs).collect()
}

fn ports<'a, O: Objects>(
    layout: &mut Layout<O>,
    set: SetName,
    names: impl Iterator<Item = &'a InterfaceName>,
) {
    let elements = names.map(|name| Element::Interface(name.clone())).collect();
    layout.add_set(set, SetType::Interfaces, Content::Elements(elements));
}

/// The ports of pods that nothing isolates. Only computed names: a claim may name somebody else's.
fn open_ports(node_rules: &NodeRules) -> BTreeSet<&InterfaceName> {
    let open = |address: &IpAddr| node_rules.isolated.get(address).is_none();
    let of_open = node_rules.source_checks.iter().filter_map(|(interface, addresses)| match interface {
        // Without an address nobody can tell whether the pod is isolated, so its port is not taken for open.
        HostInterface::Computed(name) if !addresses.is_empty() && addresses.iter().all(open) => Some(name),
        HostInterface::Computed(_) | HostInterface::Claimed(_) => None,
    });
    of_open.collect()
}

/// The addresses of a block without the first, and in IPv4 without the last, which every host of it listens to.
fn hosts(cidr: &PodCidr) -> Option<(IpAddr, IpAddr)> {
    let bits = u32::from(cidr.prefix());
    match cidr.first() {
        IpAddr::V4(first) => {
            let first = u32::from(first);
            // A shift by all 32 bits overflows: such a block is one address.
            let last = first | u32::MAX.checked_shr(bits).unwrap_or(0);
            // In smaller blocks nothing is left without the first and the last.
            (last - first >= 3).then(|| (Ipv4Addr::from(first + 1).into(), Ipv4Addr::from(last - 1).into()))
        }
        IpAddr::V6(first) => {
            let first = u128::from(first);
            let last = first | u128::MAX.checked_shr(bits).unwrap_or(0);
            (last > first).then(|| (Ipv6Addr::from(first + 1).into(), Ipv6Addr::from(last).into()))
        }
    }
}
