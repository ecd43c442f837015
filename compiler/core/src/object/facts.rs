//! Facts of a node: what its agent finds there that no object of the cluster tells. They concern that node only.

use std::collections::BTreeSet;

use flock_nft::read::{GRAMMAR_ATTENDED, GRAMMAR_DROPS};
use flock_shared::NodeName;
use ipnet::IpNet;

use super::interface::InterfaceName;

/// What the agent of a node has found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// The node.
    pub node: NodeName,
    /// Its bridges, by name.
    pub bridges: Vec<Bridge>,
    /// `net.bridge.bridge-nf-call-iptables`.
    pub bridge_nf_v4: BridgeNf,
    /// `net.bridge.bridge-nf-call-ip6tables`.
    pub bridge_nf_v6: BridgeNf,
    /// UDP ports at which tunnel devices take packets in.
    pub tunnel_ports: BTreeSet<u16>,
    /// Whether packets may choose their way through the node.
    pub accept_source_route: bool,
    /// Whether IPVS has services.
    pub ipvs: bool,
    /// Flowtables of other tables.
    pub flowtables: BTreeSet<String>,
    /// Whether there are netkit devices.
    pub netkit: bool,
    /// Whether an Open vSwitch has ports that are no network cards.
    pub openvswitch: bool,
    /// Whether pods talk, and next to nothing of that comes into the kernel's IP.
    pub bypassed: bool,
    /// Who else enforces NetworkPolicy there, or has left its rules behind.
    pub enforcers: BTreeSet<String>,
    /// What nft or the kernel refuses of what scripts may hold, in nft's words.
    pub refused: Vec<String>,
    /// What its guard takes ([`flock_nft::read::GRAMMAR`]).
    pub grammar: u32,
    /// Whether it takes the calls of CNI's plugin.
    pub cni: bool,
    /// Whether its nft and kernel take what takes down drops ([`flock_nft::drops`]), and its agent reads that.
    pub drops: bool,
}

impl Facts {
    /// Returns true if the node may be open while nobody is expected there: its agent keeps the table told that somebody
    /// attends to it, and pods may start before they are known. Where CNI's plugin is there is nothing to be open for.
    #[must_use]
    pub const fn may_expect(&self) -> bool {
        self.attends() && !self.cni
    }

    /// Returns true if the agent keeps the table told that somebody attends to the node, where the table asks for it.
    #[must_use]
    pub const fn attends(&self) -> bool {
        self.grammar >= GRAMMAR_ATTENDED
    }

    /// Returns true if its table may take down what it drops: its guard and its kernel take that.
    #[must_use]
    pub const fn keeps_drops(&self) -> bool {
        self.grammar >= GRAMMAR_DROPS && self.drops
    }

    /// A node of which nothing is known that matters: no bridge, no tunnel, nothing that goes past the rules, an agent of
    /// before there was a number of what its guard takes.
    #[must_use]
    pub const fn nothing_of(node: NodeName) -> Self {
        Self {
            node,
            bridges: Vec::new(),
            bridge_nf_v4: BridgeNf::Absent,
            bridge_nf_v6: BridgeNf::Absent,
            tunnel_ports: BTreeSet::new(),
            accept_source_route: false,
            ipvs: false,
            flowtables: BTreeSet::new(),
            netkit: false,
            openvswitch: false,
            bypassed: false,
            enforcers: BTreeSet::new(),
            refused: Vec::new(),
            grammar: 1,
            cni: false,
            drops: false,
        }
    }
}

/// A bridge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bridge {
    /// The name of the device.
    pub name: InterfaceName,
    /// The addresses of the device itself, with their prefixes.
    pub addresses: Vec<IpNet>,
    /// Its ports that are one end of a pair: links of pods, or of other things on this node.
    pub links: BTreeSet<InterfaceName>,
    /// Its other ports, which lead out of the node.
    pub uplinks: BTreeSet<InterfaceName>,
}

/// Whether what a bridge forwards is shown to the rules of a family.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BridgeNf {
    /// It is.
    On,
    /// It is not.
    Off,
    /// It is not: the kernel's br_netfilter is not loaded.
    Absent,
}
