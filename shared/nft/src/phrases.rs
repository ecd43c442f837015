//! The fixed words of scripts: one table for each type, from which it is written and by which it is read.

use crate::direction::Direction::{Egress, Ingress};
use crate::model::{Field, Hook, Match, Verdict};
use crate::name::{ChainName, Family, MapName, SetName};
use crate::port::Protocol;

/// What a type's values are said with, as far as that is always the same.
pub(crate) trait Phrases: Sized + Clone + 'static {
    /// Every value that has a phrase, with it.
    const PHRASES: &'static [(Self, &'static str)];

    /// The phrase of this value; `None`: it has parts that differ.
    fn phrase(&self) -> Option<&'static str>;

    /// The value whose phrase a text begins with, and the rest. A phrase ends where a word does.
    fn read_phrase(text: &str) -> Option<(Self, &str)> {
        Self::PHRASES.iter().find_map(|(value, phrase)| {
            let rest = text.strip_prefix(phrase)?;
            (rest.is_empty() || rest.starts_with(' ')).then(|| (value.clone(), rest))
        })
    }
}

macro_rules! phrases {
    ($type:ident { $([$($value:tt)+] => $phrase:expr,)+ }) => {
        impl Phrases for $type {
            const PHRASES: &'static [(Self, &'static str)] = &[$(($($value)+, $phrase),)+];

            fn phrase(&self) -> Option<&'static str> {
                match self {
                    $($($value)+ => Some($phrase),)+
                    #[allow(unreachable_patterns, reason = "some types have nothing but phrases")]
                    _ => None,
                }
            }
        }
    };
}

phrases!(Protocol {
    [Self::Tcp] => Self::Tcp.word(),
    [Self::Udp] => Self::Udp.word(),
    [Self::Sctp] => Self::Sctp.word(),
});

phrases!(Family {
    [Self::V4] => "ipv4",
    [Self::V6] => "ipv6",
});

phrases!(Field {
    [Self::Source(Family::V4)] => "ip saddr",
    [Self::Source(Family::V6)] => "ip6 saddr",
    [Self::Destination(Family::V4)] => "ip daddr",
    [Self::Destination(Family::V6)] => "ip6 daddr",
    [Self::Family] => "meta nfproto",
    [Self::Protocol] => "meta l4proto",
    [Self::DestinationPort] => "th dport",
    [Self::Inbound] => "iifname",
    [Self::Outbound] => "oifname",
    [Self::ArpSender] => "arp saddr ip",
    // nft 1.0.6 has no word for it.
    [Self::NeighbourTarget] => "@th,64,128",
});

phrases!(Verdict {
    [Self::Accept] => "accept",
    [Self::Drop] => "drop",
    [Self::Return] => "return",
});

phrases!(Hook {
    [Self::Entering] => "type filter hook prerouting priority raw; policy accept;",
    [Self::Translated] => "type filter hook prerouting priority dstnat + 10; policy accept;",
    [Self::ForwardFirst] => "type filter hook forward priority filter - 10; policy drop;",
    [Self::ForwardSecond] => "type filter hook forward priority filter - 9; policy drop;",
    [Self::Bridged] => "type filter hook forward priority filter; policy drop;",
    [Self::FromPorts] => "type filter hook prerouting priority dstnat; policy accept;",
    [Self::ToPorts] => "type filter hook postrouting priority filter; policy accept;",
});

phrases!(Match {
    [Self::Reply] => "ct direction reply",
    [Self::Family(Family::V4)] => "meta nfproto ipv4",
    [Self::Family(Family::V6)] => "meta nfproto ipv6",
    [Self::Unattended] => "meta nfproto != @attended",
    [Self::Portless] => "meta l4proto != { tcp, udp, sctp }",
    // A lookup of routes names the address of either family alike.
    [Self::NotLocal(Field::Source(Family::V4))] => "fib saddr type != local",
    [Self::NotLocal(Field::Source(Family::V6))] => "fib saddr type != local",
    [Self::NotLocal(Field::Destination(Family::V4))] => "fib daddr type != local",
    [Self::NotLocal(Field::Destination(Family::V6))] => "fib daddr type != local",
    // Frames to everybody, to a group or to whichever router are delivered as well, to whatever socket is at the port.
    [Self::Delivered] => "fib daddr type { local, broadcast, anycast, multicast }",
    [Self::Translated] => "ct status dnat",
    [Self::Protocol(Protocol::Tcp)] => "meta l4proto tcp",
    [Self::Protocol(Protocol::Udp)] => "meta l4proto udp",
    [Self::Protocol(Protocol::Sctp)] => "meta l4proto sctp",
    [Self::MidStreamTcp] => "ct state new tcp flags & (fin | syn | rst | ack) != syn",
    // The type of the first chunk, behind the 12 bytes of the header: nft has a word for it, which Linux 5.10 does not
    // take.
    [Self::MidStreamSctp] => "ct state new meta l4proto sctp @th,96,8 != 1",
    [Self::TunnelProtocols] => "meta l4proto { 4, 41, 47, 97, 115, 137 }",
    [Self::Tagged] => "ether type { 8021q, 8021ad }",
    [Self::Arp] => "ether type arp",
    [Self::Neighbour] => "icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } ip6 hoplimit 255",
    [Self::ListenerReport] =>
        "icmpv6 type { mld-listener-report, mld-listener-done, mld2-listener-report }",
    [Self::FirstReport] =>
        "ip6 saddr :: icmpv6 type { mld-listener-report, mld-listener-done, mld2-listener-report }",
    [Self::NeighbourMessage] =>
        "icmpv6 type { nd-router-advert, nd-neighbor-solicit, nd-neighbor-advert, nd-redirect }",
    [Self::RouterMessage] => "icmpv6 type { nd-router-advert, nd-redirect }",
    [Self::Solicitation] => "icmpv6 type nd-neighbor-solicit ip6 saddr != ::",
    // fe80::/10, where a message has its target.
    [Self::TargetOfLink] => "@th,64,16 0xfe80-0xfebf",
    [Self::HeadersInFragments] => "frag nexthdr { 0, 43, 44, 60 }",
    [Self::ArpProbe] => "arp saddr ip 0.0.0.0",
    [Self::FrameV6] => "ether type ip6",
    [Self::FrameV4] => "ether type { ip, arp }",
    [Self::FramePacket] => "ether type { ip, ip6 }",
    [Self::GroupFrame] => "ether daddr & 01:00:00:00:00:00 == 01:00:00:00:00:00",
    [Self::NoRouteBack] => "fib saddr . iif oif missing",
    [Self::RelatedError(Family::V4)] =>
        "ct state related icmp type { destination-unreachable, time-exceeded, parameter-problem }",
    [Self::RelatedError(Family::V6)] =>
        "ct state related icmpv6 type { destination-unreachable, packet-too-big, time-exceeded, parameter-problem }",
    [Self::NeighbourDiscovery] =>
        "ip6 hoplimit 255 icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert }",
    [Self::AddressDetection] => "ip6 saddr :: icmpv6 type nd-neighbor-solicit",
    [Self::LinkLocal] => "ip6 saddr fe80::/10 ip6 daddr { fe80::/10, ff02::/16 }",
    [Self::Unconfigured] => "ip saddr 0.0.0.0 ip daddr 255.255.255.255 udp dport 67",
});

phrases!(SetName {
    [Self::Hairpin(Family::V4)] => "hairpin4",
    [Self::Hairpin(Family::V6)] => "hairpin6",
    [Self::ComputedInterfaces] => "interfaces",
    [Self::ClaimedInterfaces] => "claimed_interfaces",
    [Self::SourceChecks(Family::V4)] => "anchors4",
    [Self::SourceChecks(Family::V6)] => "anchors6",
    [Self::Isolated(Family::V4)] => "isolated4",
    [Self::Isolated(Family::V6)] => "isolated6",
    [Self::PodLinks] => "pod_links",
    [Self::NodeAddresses(Family::V4)] => "nodes4",
    [Self::NodeAddresses(Family::V6)] => "nodes6",
    [Self::BridgePods(Family::V4)] => "pods4",
    [Self::BridgePods(Family::V6)] => "pods6",
    [Self::OpenPorts] => "open_ports",
    [Self::OtherPorts] => "other_ports",
    [Self::Uplinks] => "uplinks",
    [Self::PodPorts] => "pod_ports",
    [Self::PortAddresses(Family::V4)] => "port_addresses4",
    [Self::PortAddresses(Family::V6)] => "port_addresses6",
    [Self::PortTargets] => "port_targets6",
    [Self::Attended] => "attended",
    [Self::Drops(Ingress, Family::V4)] => "ingress_drops4",
    [Self::DropSources(Ingress, Family::V4)] => "ingress_drop_sources4",
    [Self::Drops(Ingress, Family::V6)] => "ingress_drops6",
    [Self::DropSources(Ingress, Family::V6)] => "ingress_drop_sources6",
    [Self::Drops(Egress, Family::V4)] => "egress_drops4",
    [Self::DropSources(Egress, Family::V4)] => "egress_drop_sources4",
    [Self::Drops(Egress, Family::V6)] => "egress_drops6",
    [Self::DropSources(Egress, Family::V6)] => "egress_drop_sources6",
});

phrases!(MapName {
    [Self::Dispatch(Ingress, Family::V4)] => "ingress4",
    [Self::Dispatch(Ingress, Family::V6)] => "ingress6",
    [Self::Dispatch(Egress, Family::V4)] => "egress4",
    [Self::Dispatch(Egress, Family::V6)] => "egress6",
    [Self::Open] => "open",
});

phrases!(ChainName {
    [Self::Base(Ingress)] => "ingress",
    [Self::Base(Egress)] => "egress",
    [Self::Entering] => "anchor",
    [Self::Translated] => "translated",
    [Self::Denied(Ingress)] => "ingress_denied",
    [Self::Denied(Egress)] => "egress_denied",
    [Self::Unkept(Ingress, Family::V4)] => "ingress_unkept4",
    [Self::Portless(Ingress, Family::V4)] => "ingress_portless4",
    [Self::Unkept(Ingress, Family::V6)] => "ingress_unkept6",
    [Self::Portless(Ingress, Family::V6)] => "ingress_portless6",
    [Self::Unkept(Egress, Family::V4)] => "egress_unkept4",
    [Self::Portless(Egress, Family::V4)] => "egress_portless4",
    [Self::Unkept(Egress, Family::V6)] => "egress_unkept6",
    [Self::Portless(Egress, Family::V6)] => "egress_portless6",
    [Self::MidStream] => "midstream",
    [Self::Reset] => "midstream_denied",
    [Self::Tunnel] => "tunnel_ends",
    [Self::Bridged] => "forward",
    [Self::Frames] => "frames",
    [Self::FramesTo] => "frames_to",
    [Self::FromPorts] => "from_ports",
    [Self::FromPort] => "from_port",
    [Self::Neighbours] => "neighbours",
    [Self::FromPortV6] => "from_port6",
    [Self::ToPorts] => "to_ports",
    [Self::ToPort] => "to_port",
});
