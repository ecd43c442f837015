//! Ports of bridges: what enters by a known pod's port speaks for that pod alone, and what leaves there is for it.
//!
//! To the inet table all pods of a bridge enter by one interface, the bridge. So the check of sources stands here, before
//! the bridge learns, hands on or delivers anything, and with it that of whom a frame says to speak for: ARP and neighbour
//! discovery, also to the node itself, which would otherwise send a pod's packets to whoever asked for them.
//!
//! ```text
//! from_ports  by a known pod's port: goto from_port
//! from_port   tagged: drop · IPv4 from the pod: accept · goto neighbours or from_port6 · ARP of the pod's, or a probe:
//!             accept · DHCP from a host without an address: accept · IPv4, ARP: drop
//! neighbours  router advertisement, redirect: drop · a question of an address, or about a target that is the pod's or of
//!             the link: goto from_port6 · drop
//! from_port6  headers in fragments: drop · from the pod, on the link, or from nobody yet (address detection, reports of
//!             listeners): accept · drop
//! to_ports    by a known pod's port: goto to_port
//! to_port     to the pod, to the link or a group: accept · IPv4, IPv6: drop
//! ```
//!
//! Frames to stations of the bridge's own protocols (01:80:c2:00:00:02 and on) pass no hook. They go to the node alone, by the
//! port itself, of which the inet table knows whose it is, and no neighbour is looked for.
//!
//! A tag would hide all of it: the bridge takes one of its own off, and so does any host with the tag 0. Other ethertypes
//! say nothing of addresses. A bridge learns whatever station a frame says to come from, so a pod can have another one's
//! frames sent to its own port. What stands at its port is why it never sees them: they are lost, until the other one
//! sends again. The same holds for frames to stations that a bridge has forgotten, and sends to all ports.
//!
//! Hosts take no neighbour's message from fragments (RFC 6980), but a bridge with br_netfilter puts them together before it
//! hands them on. The first one shows what message it is, unless headers stand before it: such fragments, which nobody
//! sends, are dropped.
//!
//! Link-local addresses are free, as they are at interfaces: nobody knows a pod's, nothing is judged by them, and no frame to
//! one reaches an isolated pod. Redirects and router advertisements, by which one would come to be somebody's way, end here.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use smallvec::smallvec;

use super::{Layout, when};
use crate::nft::{
    ChainName, Content, Element, Family, Field, Hook, Match, Objects, Rule, SetName, SetType, Statement,
    Verdict,
};
use crate::object::{HostInterface, InterfaceName};
use crate::output::NodeRules;

/// The addresses of groups and everybody, to which a bridge may be told to send as if they were a station's.
const GROUPS: Match = Match::Between(
    Field::Destination(Family::V4),
    IpAddr::V4(Ipv4Addr::new(224, 0, 0, 0)),
    IpAddr::V4(Ipv4Addr::BROADCAST),
);

/// The same, and those of the link.
const LINK_AND_GROUPS: Match = Match::Between(
    Field::Destination(Family::V6),
    IpAddr::V6(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0)),
    IpAddr::V6(Ipv6Addr::from_bits(u128::MAX)),
);

/// The chains of ports, where pods hang on a bridge and interfaces of pods are known. All of these are taken for
/// ports: one that is none meets no frame, and what the agent says of a bridge's ports comes later than a pod.
pub(super) fn ports_of_pods<O: Objects>(layout: &mut Layout<O>, node_rules: &NodeRules) {
    let computed = node_rules.source_checks.iter().filter_map(|(interface, addresses)| match interface {
        HostInterface::Computed(name) => Some((name, addresses)),
        // A claim may name somebody else's port.
        HostInterface::Claimed(_) => None,
    });
    let known: Vec<(&InterfaceName, &BTreeSet<IpAddr>)> = computed.collect();
    if node_rules.links.pod_bridges.is_empty() || known.is_empty() {
        return;
    }
    sets_of_ports(layout, &known);
    let port = |field| Match::In(smallvec![field], SetName::PodPorts);
    layout.add_chain(
        ChainName::FromPorts,
        Some(Hook::FromPorts),
        vec![when([port(Field::Inbound)], Verdict::Goto(ChainName::FromPort))],
    );
    layout.add_chain(
        ChainName::ToPorts,
        Some(Hook::ToPorts),
        vec![when([port(Field::Outbound)], Verdict::Goto(ChainName::ToPort))],
    );
    entered_by_port(layout);
    let own = |family| address(Field::Outbound, Field::Destination(family), family);
    layout.add_chain(
        ChainName::ToPort,
        None,
        vec![
            when([own(Family::V4)], Verdict::Accept),
            when([own(Family::V6)], Verdict::Accept),
            when([Match::GroupFrame], Verdict::Accept),
            when([LINK_AND_GROUPS], Verdict::Accept),
            when([GROUPS], Verdict::Accept),
            dropped([Match::FramePacket]),
        ],
    );
}

/// The chains of what enters by the port of a known pod.
fn entered_by_port<O: Objects>(layout: &mut Layout<O>) {
    let own = |field, family| address(Field::Inbound, field, family);
    let (neighbours, v6) = (Verdict::Goto(ChainName::Neighbours), Verdict::Goto(ChainName::FromPortV6));
    layout.add_chain(
        ChainName::FromPort,
        None,
        vec![
            // Before all that asks for a protocol: the kernel takes the tag out, and what is inside looks like any other.
            dropped([Match::Tagged]),
            when([own(Field::Source(Family::V4), Family::V4)], Verdict::Accept),
            when([Match::NeighbourMessage], neighbours),
            when([Match::FrameV6], v6.clone()),
            when([own(Field::ArpSender, Family::V4)], Verdict::Accept),
            when([Match::ArpProbe], Verdict::Accept),
            when([Match::Unconfigured], Verdict::Accept),
            dropped([Match::FrameV4]),
        ],
    );
    let target = Match::In(smallvec![Field::Inbound, Field::NeighbourTarget], SetName::PortTargets);
    layout.add_chain(
        ChainName::Neighbours,
        None,
        vec![
            dropped([Match::RouterMessage]),
            // Whoever asks says who it is by its source. Without one it asks whether its target is free, and may
            // take only its own address from others in that way.
            when([Match::Solicitation], v6.clone()),
            when([target], v6.clone()),
            when([Match::TargetOfLink], v6),
            dropped([]),
        ],
    );
    let mut rules = vec![
        dropped([Match::HeadersInFragments]),
        when([own(Field::Source(Family::V6), Family::V6)], Verdict::Accept),
    ];
    let others = [Match::LinkLocal, Match::AddressDetection, Match::FirstReport];
    rules.extend(others.map(|condition| when([condition], Verdict::Accept)));
    rules.push(dropped([]));
    layout.add_chain(ChainName::FromPortV6, None, rules);
}

/// The sets of both families, also where one is empty: a pod that comes or goes changes their elements alone.
fn sets_of_ports<O: Objects>(layout: &mut Layout<O>, known: &[(&InterfaceName, &BTreeSet<IpAddr>)]) {
    let ports = known.iter().map(|(name, _)| Element::Interface((*name).clone())).collect();
    layout.add_set(SetName::PodPorts, SetType::Interfaces, Content::Elements(ports));
    let pairs = || known.iter().flat_map(|(name, addresses)| addresses.iter().map(move |at| (*name, *at)));
    for family in Family::ALL {
        let here = pairs().filter(|(_, at)| Family::of(at) == family);
        let elements = here.map(|(name, at)| Element::SourceCheck(name.clone(), at)).collect();
        let content = Content::Elements(elements);
        layout.add_set(SetName::PortAddresses(family), SetType::SourceChecks(family), content);
    }
    let targets = pairs().filter_map(|(name, at)| match at {
        IpAddr::V6(at) => Some(Element::Target(name.clone(), at)),
        IpAddr::V4(_) => None,
    });
    layout.add_set(SetName::PortTargets, SetType::Targets, Content::Elements(targets.collect()));
}

/// The port and an address of a frame are a pod's.
fn address(port: Field, field: Field, family: Family) -> Match {
    Match::In(smallvec![port, field], SetName::PortAddresses(family))
}

fn dropped(matches: impl IntoIterator<Item = Match>) -> Rule {
    Rule { matches: matches.into_iter().collect(), statement: Statement::Counted(Verdict::Drop) }
}
