//! Devices and flowtables, as netlink tells them: which bridges there are with their addresses and ports, where tunnels come
//! in. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use flock_proto::{Bridge, BridgePort, PortKind};
use ipnet::IpNet;

use super::netlink::{array, attributes, question, text};

/// What is asked for all links, all addresses and all flowtables.
const GET_LINK: u16 = 18;
const GET_ADDRESS: u16 = 22;
const GET_FLOWTABLE: u16 = NFTABLES << 8 | 23;
const NEW_LINK: u16 = 16;
const NEW_ADDRESS: u16 = 20;
const NEW_FLOWTABLE: u16 = NFTABLES << 8 | 22;

/// The subsystem of netfilter, in the upper byte of a message's type.
const NFTABLES: u16 = 10;

/// What precedes the attributes: `ifinfomsg`, `ifaddrmsg` and `nfgenmsg`.
const LINK: usize = 16;
const ADDRESS: usize = 8;
const NETFILTER: usize = 4;

/// Attributes of links, and what their `IFLA_LINKINFO` holds.
const IFLA_IFNAME: u16 = 3;
const IFLA_MASTER: u16 = 10;
const IFLA_LINKINFO: u16 = 18;
const IFLA_STATS64: u16 = 23;
const IFLA_EXT_MASK: u16 = 29;
const IFLA_INFO_KIND: u16 = 1;
const IFLA_INFO_DATA: u16 = 2;

/// Where kinds of tunnels have their port in the data. Of tunnels that are put into UDP (FOU, GUE), it is that of their peers, and nearly always their own as well.
const TUNNELS: [(&str, u16); 10] = [
    ("vxlan", 15),
    ("geneve", 5),
    ("bareudp", 1),
    ("ipip", IFLA_IPTUN_ENCAP_DPORT),
    ("sit", IFLA_IPTUN_ENCAP_DPORT),
    ("ip6tnl", IFLA_IPTUN_ENCAP_DPORT),
    ("gre", IFLA_GRE_ENCAP_DPORT),
    ("gretap", IFLA_GRE_ENCAP_DPORT),
    ("ip6gre", IFLA_GRE_ENCAP_DPORT),
    ("ip6gretap", IFLA_GRE_ENCAP_DPORT),
];
const IFLA_IPTUN_ENCAP_DPORT: u16 = 18;
const IFLA_GRE_ENCAP_DPORT: u16 = 17;
/// `ARPHRD_LOOPBACK`
const LOOPBACK: u16 = 772;
/// `RTEXT_FILTER_SKIP_STATS`: counters are most of what there would be to say.
const WITHOUT_COUNTERS: u32 = 1 << 3;

const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
/// Attributes of flowtables.
const TABLE: u16 = 1;
const NAME: u16 = 2;

/// A device.
#[derive(Debug)]
struct Device {
    name: String,
    /// `None`: one that nobody made.
    kind: Option<String>,
    /// The number of the device that it is a port of.
    master: Option<u32>,
    is_loopback: bool,
    /// Packets that have come in; 0 where counters were not asked for.
    received: u64,
}

/// What was told so far.
#[derive(Debug, Default)]
pub(super) struct Devices {
    devices: BTreeMap<u32, Device>,
    addresses: BTreeMap<u32, BTreeSet<IpNet>>,
    tunnel_ports: BTreeSet<u16>,
    flowtables: BTreeSet<String>,
}

/// The questions to rtnetlink.
pub(super) fn questions() -> [Vec<u8>; 2] {
    let mask = [&8_u16.to_ne_bytes()[..], &IFLA_EXT_MASK.to_ne_bytes(), &WITHOUT_COUNTERS.to_ne_bytes()];
    let links = [&[0; LINK][..], &mask.concat()].concat();
    [question(GET_LINK, &links), question(GET_ADDRESS, &[0; ADDRESS])]
}

/// The question for all links with their counters.
pub(super) fn counters_question() -> Vec<u8> {
    question(GET_LINK, &[0; LINK])
}

/// The question to nf_tables, for tables of all families.
pub(super) fn flowtable_question() -> Vec<u8> {
    question(GET_FLOWTABLE, &[0; NETFILTER])
}

impl Devices {
    /// Takes an answer down; what cannot be read is left out.
    pub(super) fn hear(&mut self, kind: u16, body: &[u8]) {
        let _: Option<()> = match kind {
            NEW_LINK => self.link(body),
            NEW_ADDRESS => self.address(body),
            NEW_FLOWTABLE => self.flowtable(body),
            _ => None,
        };
    }

    fn link(&mut self, body: &[u8]) -> Option<()> {
        let index = u32::from_ne_bytes(array(body, 4)?);
        let find = |wanted| attributes(body, LINK).find(|(kind, _)| *kind == wanted).map(|(_, value)| value);
        let info = |wanted| {
            let info = find(IFLA_LINKINFO)?;
            attributes(info, 0).find(|(kind, _)| *kind == wanted).map(|(_, value)| value)
        };
        let kind = info(IFLA_INFO_KIND).and_then(text);
        let tunnel = TUNNELS.into_iter().find(|(name, _)| kind.as_deref() == Some(*name));
        if let (Some((_, port)), Some(data)) = (tunnel, info(IFLA_INFO_DATA)) {
            let port = attributes(data, 0).find(|(kind, _)| *kind == port);
            let port = port.and_then(|(_, value)| array(value, 0)).map(u16::from_be_bytes);
            // A device that takes its peers from elsewhere may have none.
            self.tunnel_ports.extend(port.filter(|port| *port != 0));
        }
        let master = find(IFLA_MASTER).and_then(|value| array(value, 0)).map(u32::from_ne_bytes);
        let name = text(find(IFLA_IFNAME)?)?;
        let is_loopback = array(body, 2).map(u16::from_ne_bytes) == Some(LOOPBACK);
        // They begin with it.
        let received = find(IFLA_STATS64).and_then(|value| array(value, 0)).map_or(0, u64::from_ne_bytes);
        self.devices.insert(index, Device { name, kind, master, is_loopback, received });
        Some(())
    }

    fn address(&mut self, body: &[u8]) -> Option<()> {
        let prefix = *body.get(1)?;
        let index = u32::from_ne_bytes(array(body, 4)?);
        let find =
            |wanted| attributes(body, ADDRESS).find(|(kind, _)| *kind == wanted).map(|(_, value)| value);
        // Of a device with a peer, the other one is the peer's.
        let value = find(IFA_LOCAL).or_else(|| find(IFA_ADDRESS))?;
        let address = match value.len() {
            4 => IpAddr::V4(Ipv4Addr::from(array::<4>(value, 0)?)),
            16 => IpAddr::V6(Ipv6Addr::from(array::<16>(value, 0)?)),
            _ => return None,
        };
        // What every device has on its link says nothing of whose it is.
        let is_of_link = matches!(address, IpAddr::V6(address) if address.is_unicast_link_local());
        if !is_of_link {
            self.addresses.entry(index).or_default().insert(IpNet::new(address, prefix).ok()?);
        }
        Some(())
    }

    fn flowtable(&mut self, body: &[u8]) -> Option<()> {
        let family = match body.first()? {
            1 => "inet",
            2 => "ip",
            5 => "netdev",
            10 => "ip6",
            _ => "other",
        };
        let find =
            |wanted| attributes(body, NETFILTER).find(|(kind, _)| *kind == wanted).map(|(_, value)| value);
        let name = |value: Option<&[u8]>| value.and_then(text).unwrap_or_else(|| "?".to_owned());
        self.flowtables.insert(format!("{family} {} {}", name(find(TABLE)), name(find(NAME))));
        Some(())
    }

    /// The bridges, by name, and their ports: those that are no ends of pairs first, should there be too many.
    pub(super) fn bridges(&self) -> Vec<Bridge> {
        let mut bridges: Vec<Bridge> = self
            .devices
            .iter()
            .filter(|(_, device)| device.kind.as_deref() == Some("bridge"))
            .map(|(index, device)| Bridge {
                name: device.name.clone(),
                addresses: self.addresses.get(index).cloned().unwrap_or_default(),
                ports: self.ports(*index),
            })
            .collect();
        // By name: a bridge that was made anew has another index, and is no news for the compiler.
        bridges.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        bridges
    }

    fn ports(&self, bridge: u32) -> Vec<BridgePort> {
        let kind = |device: &Device| match device.kind.as_deref() {
            None => PortKind::Physical,
            Some("veth") => PortKind::Veth,
            Some("vxlan") => PortKind::Vxlan,
            Some(_) => PortKind::Other,
        };
        let ports = self.devices.values().filter(|device| device.master == Some(bridge));
        let mut ports: Vec<BridgePort> =
            ports.map(|device| BridgePort { name: device.name.clone(), kind: kind(device) }).collect();
        ports.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        ports
    }

    /// UDP ports at which tunnels come in.
    pub(super) const fn tunnel_ports(&self) -> &BTreeSet<u16> {
        &self.tunnel_ports
    }

    /// The flowtables of all tables.
    pub(super) const fn flowtables(&self) -> &BTreeSet<String> {
        &self.flowtables
    }

    /// The names of all devices.
    pub(super) fn names(&self) -> BTreeSet<String> {
        self.devices.values().map(|device| device.name.clone()).collect()
    }

    /// Returns true if an Open vSwitch has a port that is no network card. A card alone is a node's way out, by which
    /// routed packets go as by any other.
    pub(super) fn has_open_vswitch(&self) -> bool {
        let is_switch = |index: u32| {
            self.devices.get(&index).is_some_and(|device| device.kind.as_deref() == Some("openvswitch"))
        };
        self.devices.values().any(|device| device.kind.is_some() && device.master.is_some_and(is_switch))
    }

    /// Frames that came from the other end of each pair that is no port of anything, by number.
    pub(super) fn sent_by_pairs(&self) -> BTreeMap<u32, u64> {
        // Those on bridges have facts of their own.
        let is_pair = |device: &Device| device.kind.as_deref() == Some("veth") && device.master.is_none();
        let pairs = self.devices.iter().filter(|(_, device)| is_pair(device));
        pairs.map(|(index, device)| (*index, device.received)).collect()
    }

    /// Packets that the node has sent to itself.
    pub(super) fn looped(&self) -> u64 {
        self.devices.values().filter(|device| device.is_loopback).map(|device| device.received).sum()
    }

    /// Returns true if there is a netkit device.
    pub(super) fn has_netkit(&self) -> bool {
        self.devices.values().any(|device| device.kind.as_deref() == Some("netkit"))
    }
}

#[cfg(test)]
mod tests {
    use super::super::netlink::tests::attribute;
    use super::*;

    fn link(index: u32, name: &str, master: Option<u32>, kind: Option<&str>, data: &[u8]) -> Vec<u8> {
        let info = kind.map(|kind| {
            let kind = attribute(IFLA_INFO_KIND, format!("{kind}\0").as_bytes());
            attribute(IFLA_LINKINFO, &[kind, attribute(IFLA_INFO_DATA, data)].concat())
        });
        let master = master.map(|master| attribute(IFLA_MASTER, &master.to_ne_bytes()));
        let name = attribute(IFLA_IFNAME, format!("{name}\0").as_bytes());
        let head = [&[0; 4][..], &index.to_ne_bytes(), &[0; 8]].concat();
        [head, name, master.unwrap_or_default(), info.unwrap_or_default()].concat()
    }

    fn address(index: u32, text: &str) -> Vec<u8> {
        let net: IpNet = text.parse().unwrap();
        let octets = match net.addr() {
            IpAddr::V4(address) => address.octets().to_vec(),
            IpAddr::V6(address) => address.octets().to_vec(),
        };
        let head = [&[0, net.prefix_len(), 0, 0][..], &index.to_ne_bytes()].concat();
        [head, attribute(IFA_ADDRESS, &octets)].concat()
    }

    fn node() -> Devices {
        let mut devices = Devices::default();
        let port = |kind, port: u16| attribute(kind, &port.to_be_bytes());
        for link in [
            link(1, "lo", None, None, &[]),
            link(2, "eth0", None, None, &[]),
            link(3, "cni0", None, Some("bridge"), &[]),
            link(4, "veth1", Some(3), Some("veth"), &[]),
            link(5, "vxlan0", Some(3), Some("vxlan"), &port(15, 4789)),
            link(6, "eth1", Some(3), None, &[]),
            link(7, "tap0", Some(3), Some("tun"), &[]),
            link(8, "br1", None, Some("bridge"), &[]),
            link(9, "flannel.1", None, Some("vxlan"), &port(15, 8472)),
            link(10, "geneve0", None, Some("geneve"), &port(5, 6081)),
            link(11, "geneve1", None, Some("geneve"), &port(5, 0)),
            link(12, "a\u{1b}b", None, Some("bridge"), &[]),
        ] {
            devices.hear(NEW_LINK, &link);
        }
        for address in [
            address(3, "10.244.1.1/24"),
            address(3, "fe80::1/64"),
            address(3, "fd00::1/64"),
            address(2, "172.18.0.2/16"),
        ] {
            devices.hear(NEW_ADDRESS, &address);
        }
        devices
    }

    #[test]
    fn bridges_have_addresses_and_ports_and_tunnels_have_theirs() {
        let node = node();
        let bridges = node.bridges();
        let names: Vec<_> = bridges.iter().map(|bridge| bridge.name.as_str()).collect();
        assert_eq!(names, ["br1", "cni0"]);
        let addresses: Vec<_> = bridges[1].addresses.iter().map(ToString::to_string).collect();
        assert_eq!(addresses, ["10.244.1.1/24", "fd00::1/64"]);
        let ports: Vec<_> = bridges[1].ports.iter().map(|port| (port.name.as_str(), port.kind)).collect();
        let expected = [
            ("eth1", PortKind::Physical),
            ("tap0", PortKind::Other),
            ("veth1", PortKind::Veth),
            ("vxlan0", PortKind::Vxlan),
        ];
        assert_eq!(ports, expected);
        assert!(bridges[0].ports.is_empty() && bridges[0].addresses.is_empty());
        assert_eq!(*node.tunnel_ports(), [4789, 6081, 8472].into());
        assert!(!node.has_netkit() && !node.has_open_vswitch() && node.flowtables().is_empty());
        assert!(node.names().contains("veth1") && node.names().len() == 11, "{:?}", node.names());
    }

    #[test]
    fn flowtables_and_netkit_devices_are_told() {
        let mut node = node();
        let flowtable = |family: u8, table: &[u8]| {
            [vec![family, 0, 0, 0], attribute(TABLE, table), attribute(NAME, b"ft\0")].concat()
        };
        node.hear(NEW_FLOWTABLE, &flowtable(1, b"calico\0"));
        node.hear(NEW_FLOWTABLE, &flowtable(2, b"a\nb\0"));
        node.hear(NEW_LINK, &link(13, "lxc1", None, Some("netkit"), &[]));
        assert_eq!(*node.flowtables(), ["inet calico ft".to_owned(), "ip ? ft".to_owned()].into());
        assert!(node.has_netkit());
    }

    #[test]
    fn pairs_that_are_no_ports_have_their_counters_and_loopback_has_its_own() {
        let counted = |link: Vec<u8>, count: u64| {
            [link, attribute(IFLA_STATS64, &[count.to_ne_bytes(), [9; 8]].concat())].concat()
        };
        let mut devices = Devices::default();
        let mut loopback = counted(link(1, "lo", None, None, &[]), 70);
        loopback[2..4].copy_from_slice(&LOOPBACK.to_ne_bytes());
        for link in [
            loopback,
            counted(link(2, "eth0", None, None, &[]), 80),
            counted(link(3, "cali1", None, Some("veth"), &[]), 5),
            counted(link(4, "veth1", Some(9), Some("veth"), &[]), 6),
            link(5, "cali2", None, Some("veth"), &[]),
        ] {
            devices.hear(NEW_LINK, &link);
        }
        assert_eq!(devices.sent_by_pairs(), [(3, 5), (5, 0)].into());
        assert_eq!(devices.looped(), 70);
    }

    #[test]
    fn an_open_vswitch_is_told_where_more_than_network_cards_hang_on_it() {
        let mut node = node();
        // A port of its own, which is the node's end of it, and a card.
        for link in [
            link(20, "ovs-system", None, Some("openvswitch"), &[]),
            link(21, "br-ex", None, Some("openvswitch"), &[]),
            link(22, "eth2", Some(20), None, &[]),
        ] {
            node.hear(NEW_LINK, &link);
            assert!(!node.has_open_vswitch());
        }
        for (number, kind) in (23..).zip(["veth", "geneve", "tun"]) {
            let mut node = self::node();
            node.hear(NEW_LINK, &link(20, "ovs-system", None, Some("openvswitch"), &[]));
            node.hear(NEW_LINK, &link(number, "port", Some(20), Some(kind), &[]));
            assert!(node.has_open_vswitch(), "{kind}");
        }
        // What hangs on a switch that is not told hangs on something else.
        node.hear(NEW_LINK, &link(30, "port", Some(99), Some("veth"), &[]));
        assert!(!node.has_open_vswitch());
    }

    #[test]
    fn tunnels_in_udp_have_the_port_of_their_peers() {
        let mut node = Devices::default();
        let port = |kind, port: u16| attribute(kind, &port.to_be_bytes());
        for (number, (kind, data)) in (1..).zip([
            ("ipip", port(18, 5555)),
            ("sit", port(18, 5556)),
            ("gre", port(17, 5557)),
            ("ip6gretap", port(17, 5558)),
            ("ip6tnl", port(18, 0)),
            ("gretap", port(16, 7)),
        ]) {
            node.hear(NEW_LINK, &link(number, &format!("t{number}"), None, Some(kind), &data));
        }
        assert_eq!(*node.tunnel_ports(), [5555, 5556, 5557, 5558].into());
    }

    #[test]
    fn what_is_cut_off_is_left_out() {
        let bodies = [
            (NEW_LINK, link(3, "cni0", None, Some("bridge"), &[])),
            (NEW_ADDRESS, address(3, "10.0.0.1/24")),
        ];
        for (kind, body) in bodies {
            for length in 0..body.len() {
                let mut devices = Devices::default();
                devices.hear(kind, &body[..length]);
                assert!(devices.addresses.is_empty());
            }
        }
    }
}
