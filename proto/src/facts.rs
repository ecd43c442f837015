//! Facts of a node: what its network is like where it matters for what nft's rules see. A node that was taken over says
//! what it likes, so everything has a bound.

use std::collections::BTreeSet;

use ipnet::IpNet;

use crate::{WireError, text, v1};

/// The longest description of a flowtable, in bytes.
pub const FLOWTABLE_LIMIT: usize = 128;

/// The longest name of who enforces, in bytes.
const ENFORCER_LIMIT: usize = 64;

/// The most texts of what nft refuses.
pub const REFUSED_LINES: usize = 16;

/// The longest of them, in bytes.
pub const REFUSED_LIMIT: usize = 512;

/// So many bridges, so many addresses and ports of all of them: with all of these a message takes some 55 KB.
const BRIDGES: usize = 256;
const ADDRESSES: usize = 512;
const PORTS: usize = 1024;
const TUNNEL_PORTS: usize = 64;
const FLOWTABLES: usize = 16;
const ENFORCERS: usize = 16;

/// The longest name of a device, in bytes: `IFNAMSIZ - 1`.
const NAME_LIMIT: usize = 15;

/// What the network namespace in which nft works is like. What is too much is left out when it is sent.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NodeFacts {
    /// The bridges, by name, each once.
    pub bridges: Vec<Bridge>,
    /// `net.bridge.bridge-nf-call-iptables`.
    pub bridge_nf_v4: BridgeNf,
    /// `net.bridge.bridge-nf-call-ip6tables`.
    pub bridge_nf_v6: BridgeNf,
    /// UDP ports at which tunnel devices take packets in; not 0.
    pub tunnel_ports: BTreeSet<u16>,
    /// Whether packets may choose their way.
    pub accept_source_route: bool,
    /// Whether IPVS has services.
    pub ipvs: bool,
    /// Flowtables, such as `inet filter ft`.
    pub flowtables: BTreeSet<String>,
    /// Whether there are netkit devices.
    pub netkit: bool,
    /// Whether an Open vSwitch has ports that are no network cards.
    pub openvswitch: bool,
    /// Whether pods talk, and next to nothing of that comes into the kernel's IP.
    pub bypassed: bool,
    /// Who else enforces NetworkPolicy here, or has left its rules behind, such as `kube-router`.
    pub enforcers: BTreeSet<String>,
}

/// A bridge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bridge {
    /// The name of the device: 1 to 15 bytes without control characters.
    pub name: String,
    /// The addresses of the device itself, with their prefixes.
    pub addresses: BTreeSet<IpNet>,
    /// Its ports, by name, each once.
    pub ports: Vec<BridgePort>,
}

/// A port of a bridge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BridgePort {
    /// The name of the device: 1 to 15 bytes without control characters.
    pub name: String,
    /// What it is.
    pub kind: PortKind,
}

/// What kind of device a port is. One that is not known is another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum PortKind {
    /// Something else.
    Other,
    /// One end of a pair.
    Veth,
    /// A device that nobody made.
    Physical,
    /// A tunnel.
    Vxlan,
}

/// Whether what a bridge forwards is shown to the rules of a family.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum BridgeNf {
    /// It is.
    On,
    /// It is not.
    Off,
    /// It is not: the kernel's br_netfilter is not loaded.
    #[default]
    Absent,
}

/// Why facts are none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FactsError {
    /// More of something than allowed.
    #[error("facts.{field} has {count} entries; at most {limit} are allowed")]
    TooMany {
        /// What there is too much of.
        field: &'static str,
        /// How many.
        count: usize,
        /// How many are allowed.
        limit: usize,
    },
    /// Something is there twice, or not in its order.
    #[error("facts.{field} is not in order, or has something twice")]
    Order {
        /// What it is.
        field: &'static str,
    },
    /// A name is empty.
    #[error("facts.{field} is empty")]
    Empty {
        /// Whose name.
        field: &'static str,
    },
    /// An address with a prefix is none.
    #[error("facts.bridges.addresses has what is no address with the length of a prefix")]
    Address,
    /// A port is 0, or has more than 16 bits.
    #[error("facts.tunnel_ports has {found}, which is no port")]
    Port {
        /// The number.
        found: u32,
    },
    /// A setting is unspecified, or of a later version of the protocol.
    #[error("facts.bridge_nf {value} is unknown")]
    BridgeNf {
        /// The enum's number.
        value: i32,
    },
}

impl From<NodeFacts> for v1::NodeFacts {
    fn from(facts: NodeFacts) -> Self {
        let (mut addresses, mut ports) = (ADDRESSES, PORTS);
        let bridges = facts.bridges.into_iter().take(BRIDGES).map(|bridge| {
            let bridge = v1::Bridge {
                name: bridge.name,
                addresses: bridge.addresses.into_iter().take(addresses).map(|net| net.to_string()).collect(),
                ports: bridge.ports.into_iter().take(ports).map(Into::into).collect(),
            };
            // The limits are for all bridges together: each leaves the next what it has not taken.
            addresses -= bridge.addresses.len();
            ports -= bridge.ports.len();
            bridge
        });
        // Cut before they are collected: two that begin alike become one, and the other side refuses what comes
        // twice.
        let flowtables: BTreeSet<String> =
            facts.flowtables.into_iter().map(|name| text::truncated(name, FLOWTABLE_LIMIT)).collect();
        let enforcers: BTreeSet<String> =
            facts.enforcers.into_iter().map(|name| text::truncated(name, ENFORCER_LIMIT)).collect();
        Self {
            bridges: bridges.collect(),
            bridge_nf_call_iptables: v1::BridgeNf::from(facts.bridge_nf_v4).into(),
            bridge_nf_call_ip6tables: v1::BridgeNf::from(facts.bridge_nf_v6).into(),
            tunnel_ports: facts.tunnel_ports.into_iter().take(TUNNEL_PORTS).map(u32::from).collect(),
            accept_source_route: facts.accept_source_route,
            ipvs: facts.ipvs,
            flowtables: flowtables.into_iter().take(FLOWTABLES).collect(),
            netkit: facts.netkit,
            openvswitch: facts.openvswitch,
            bypassed: facts.bypassed,
            enforcers: enforcers.into_iter().take(ENFORCERS).collect(),
        }
    }
}

impl TryFrom<v1::NodeFacts> for NodeFacts {
    type Error = WireError;

    fn try_from(facts: v1::NodeFacts) -> Result<Self, WireError> {
        // Counted before anything is read.
        let addresses = facts.bridges.iter().map(|bridge| bridge.addresses.len()).sum();
        let ports = facts.bridges.iter().map(|bridge| bridge.ports.len()).sum();
        at_most("bridges", facts.bridges.len(), BRIDGES)?;
        at_most("bridges.addresses", addresses, ADDRESSES)?;
        at_most("bridges.ports", ports, PORTS)?;
        at_most("tunnel_ports", facts.tunnel_ports.len(), TUNNEL_PORTS)?;
        at_most("flowtables", facts.flowtables.len(), FLOWTABLES)?;
        at_most("enforcers", facts.enforcers.len(), ENFORCERS)?;
        let bridges: Vec<Bridge> =
            facts.bridges.into_iter().map(Bridge::try_from).collect::<Result<_, _>>()?;
        in_order("bridges", &bridges, |bridge| bridge.name.as_str())?;
        in_order("tunnel_ports", &facts.tunnel_ports, |port| port)?;
        in_order("flowtables", &facts.flowtables, |name| name.as_str())?;
        in_order("enforcers", &facts.enforcers, |name| name.as_str())?;
        let port = |found: u32| match u16::try_from(found) {
            Ok(port @ 1..) => Ok(port),
            _ => Err(FactsError::Port { found }),
        };
        let flowtable = |name| text::printable("facts.flowtables", name, FLOWTABLE_LIMIT);
        let enforcer = |name| text::printable("facts.enforcers", name, ENFORCER_LIMIT);
        Ok(Self {
            bridges,
            bridge_nf_v4: facts.bridge_nf_call_iptables.try_into()?,
            bridge_nf_v6: facts.bridge_nf_call_ip6tables.try_into()?,
            tunnel_ports: facts.tunnel_ports.into_iter().map(port).collect::<Result<_, _>>()?,
            accept_source_route: facts.accept_source_route,
            ipvs: facts.ipvs,
            flowtables: facts.flowtables.into_iter().map(flowtable).collect::<Result<_, _>>()?,
            netkit: facts.netkit,
            openvswitch: facts.openvswitch,
            bypassed: facts.bypassed,
            enforcers: facts.enforcers.into_iter().map(enforcer).collect::<Result<_, _>>()?,
        })
    }
}

impl TryFrom<v1::Bridge> for Bridge {
    type Error = WireError;

    fn try_from(bridge: v1::Bridge) -> Result<Self, WireError> {
        let address = |text: &String| text.parse::<IpNet>().map_err(|_| FactsError::Address);
        let addresses: Vec<IpNet> = bridge.addresses.iter().map(address).collect::<Result<_, _>>()?;
        in_order("bridges.addresses", &addresses, |address| address)?;
        let ports: Vec<BridgePort> =
            bridge.ports.into_iter().map(BridgePort::try_from).collect::<Result<_, _>>()?;
        in_order("bridges.ports", &ports, |port| port.name.as_str())?;
        let name = device("bridges.name", "facts.bridges.name", bridge.name)?;
        Ok(Self { name, addresses: addresses.into_iter().collect(), ports })
    }
}

impl From<BridgePort> for v1::BridgePort {
    fn from(port: BridgePort) -> Self {
        let kind = match port.kind {
            PortKind::Other => v1::PortKind::Other,
            PortKind::Veth => v1::PortKind::Veth,
            PortKind::Physical => v1::PortKind::Physical,
            PortKind::Vxlan => v1::PortKind::Vxlan,
        };
        Self { name: port.name, kind: kind.into() }
    }
}

impl TryFrom<v1::BridgePort> for BridgePort {
    type Error = WireError;

    fn try_from(port: v1::BridgePort) -> Result<Self, WireError> {
        // A kind of a later version reads as the default, which is another one: no link of a pod.
        let kind = match port.kind() {
            v1::PortKind::Other => PortKind::Other,
            v1::PortKind::Veth => PortKind::Veth,
            v1::PortKind::Physical => PortKind::Physical,
            v1::PortKind::Vxlan => PortKind::Vxlan,
        };
        Ok(Self { name: device("bridges.ports.name", "facts.bridges.ports.name", port.name)?, kind })
    }
}

impl From<BridgeNf> for v1::BridgeNf {
    fn from(setting: BridgeNf) -> Self {
        match setting {
            BridgeNf::On => Self::On,
            BridgeNf::Off => Self::Off,
            BridgeNf::Absent => Self::Absent,
        }
    }
}

impl TryFrom<i32> for BridgeNf {
    type Error = FactsError;

    fn try_from(value: i32) -> Result<Self, FactsError> {
        match v1::BridgeNf::try_from(value) {
            Ok(v1::BridgeNf::On) => Ok(Self::On),
            Ok(v1::BridgeNf::Off) => Ok(Self::Off),
            Ok(v1::BridgeNf::Absent) => Ok(Self::Absent),
            Ok(v1::BridgeNf::Unspecified) | Err(_) => Err(FactsError::BridgeNf { value }),
        }
    }
}

/// What nft refuses, as it is sent.
pub(crate) fn refused_to_wire(refused: Vec<String>) -> Vec<String> {
    // nft may print anything, and the other side refuses a hello with control characters.
    let line = |said: String| said.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    refused.into_iter().take(REFUSED_LINES).map(|said| text::truncated(line(said), REFUSED_LIMIT)).collect()
}

/// The same, as it came.
pub(crate) fn refused_of_wire(refused: Vec<String>) -> Result<Vec<String>, WireError> {
    at_most("refused", refused.len(), REFUSED_LINES)?;
    refused.into_iter().map(|said| text::printable("hello.refused", said, REFUSED_LIMIT)).collect()
}

fn at_most(field: &'static str, count: usize, limit: usize) -> Result<(), FactsError> {
    if count > limit { Err(FactsError::TooMany { field, count, limit }) } else { Ok(()) }
}

fn in_order<'a, T, K: Ord + ?Sized + 'a>(
    field: &'static str,
    entries: &'a [T],
    key: impl Fn(&'a T) -> &'a K,
) -> Result<(), FactsError> {
    if entries.is_sorted_by(|a, b| key(a) < key(b)) { Ok(()) } else { Err(FactsError::Order { field }) }
}

fn device(field: &'static str, path: &'static str, name: String) -> Result<String, WireError> {
    if name.is_empty() {
        return Err(FactsError::Empty { field }.into());
    }
    text::printable(path, name, NAME_LIMIT)
}

#[cfg(test)]
#[path = "facts_tests.rs"]
mod tests;
