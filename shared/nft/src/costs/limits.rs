//! What a node is asked to bear at most. A compiler keeps below these figures, and an agent refuses what exceeds them,
//! so that neither a tenant nor a compiler that was taken over can freeze a node.

use flock_shared::SUPERSEDED_LIMIT;

use crate::name::ChainName;

/// Sets and maps of a table, those without a name that rules hold among them. nft's and the kernel's time grows with
/// the square of their number: 4,000 take 0.9 s for each script, 8,000 take 2.8 s, 16,000 take 12 s.
pub const SETS_PER_TABLE: usize = 6_000;

/// Elements of all sets and maps of a table: at rest the kernel needs some 120 bytes for each.
pub const ELEMENTS_PER_TABLE: usize = 1_000_000;

/// Elements that one transaction adds or deletes. The kernel needs up to 8 kB for each as long as the transaction lasts
/// if any process listens to nf_tables news: 512 MB with so many.
pub const ELEMENTS_PER_STEP: usize = 65_536;

/// Chains of a table.
pub const CHAINS_PER_TABLE: usize = 16_384;

/// Ports of tunnels in one rule, which are elements of a set without a name: those that an agent may say, and the
/// well-known ones.
pub const TUNNEL_PORTS_PER_RULE: usize = 72;

/// Rules, chains, sets and maps that one transaction adds, flushes or deletes. Each takes the kernel some 2 to 10 kB as
/// long as it lasts, and nft about as much.
pub const OBJECTS_PER_STEP: usize = 65_536;

/// Bytes of a step: nft reads all of it before it sends anything, and takes about 25 bytes of memory for each.
pub const BYTES_PER_STEP: usize = 16 << 20;

/// Steps of a script. nft runs once for each.
pub const STEPS_PER_SCRIPT: usize = 1_024;

/// Rule sets that a contested address asks, one for each of its owners. Each costs a packet a walk of its own, which
/// [`EVALUATIONS_PER_PACKET`] has room for eight times.
pub const OWNERS_PER_ADDRESS: usize = 8;

/// Rules that a packet meets at most on its way through all base chains. A rule takes some 60 ns, so this is some 80 µs
/// for a packet that is made to take the longest way.
pub const EVALUATIONS_PER_PACKET: usize = 1_280;

/// Chains, and sets of their own, that say which revisions a table has gone on from: those that are left and what a
/// delta adds.
pub const MARKERS_PER_TABLE: usize = SUPERSEDED_LIMIT + 4;

/// Rules of a base chain: a few for all packets, and one for each of the node's pod CIDRs.
const BASE: usize = 32;
/// Rules of the chain of a rule set: at most two for each kind of set and family, one for each kind of map.
const RULE_SET: usize = 24;
/// Rules of a chain of peers: one for each kind of set and family, and the way on.
const PEERS: usize = 8;
/// Rules of a chain that ends in drop.
const DENIED: usize = 12;
/// Rules of a chain where flows end that were not taken down before.
const UNKEPT: usize = 5;
/// Rules of a chain that checks the sources of an interface.
const SOURCE_CHECKS: usize = 12;
/// Rules of a chain for what begins in mid-stream or ends a tunnel: a few for each family, and those that follow.
const ASIDE: usize = 16;
/// Rules of the base chain of bridges.
const BRIDGED: usize = 8;
/// Rules of a chain for frames: a few for all, and one for each of the node's pod CIDRs.
const FRAMES: usize = 32;
/// Rules of a base chain that sends frames of ports of pods to where they are checked.
const PORTS: usize = 2;
/// Rules of a chain that checks such frames.
const PORT: usize = 8;

impl ChainName {
    /// How many rules a chain of this name has at most.
    #[must_use]
    pub const fn rules_limit(&self) -> usize {
        match self {
            Self::Base(_) => BASE,
            Self::Entering | Self::Translated | Self::MidStream | Self::Reset | Self::Tunnel => ASIDE,
            Self::Bridged => BRIDGED,
            Self::Frames | Self::FramesTo => FRAMES,
            Self::FromPorts | Self::ToPorts => PORTS,
            Self::FromPort | Self::Neighbours | Self::FromPortV6 | Self::ToPort => PORT,
            Self::SourceChecks(_) => SOURCE_CHECKS,
            Self::Denied(_) => DENIED,
            Self::Unkept(..) | Self::Portless(..) => UNKEPT,
            Self::RuleSet(..) => RULE_SET,
            Self::Peers(..) => PEERS,
            // What allows when nobody objected stands behind the rule sets.
            Self::All(..) => OWNERS_PER_ADDRESS + 1,
        }
    }
}

/// The longest way. A chain goes on only to chains of a higher rank, and comes back only from the rule set of an owner;
/// so a packet meets each kind of chain once in a base chain, rule sets and what is behind them once for each owner.
const LONGEST: usize = {
    let rule_set = RULE_SET + PEERS + DENIED + 2 * UNKEPT;
    let direction = BASE + ASIDE + OWNERS_PER_ADDRESS + 1 + OWNERS_PER_ADDRESS * rule_set + ASIDE;
    let entering = ASIDE + SOURCE_CHECKS + ASIDE + ASIDE;
    let (from_port, to_port) = (PORTS + 3 * PORT, PORTS + PORT);
    let bridged = from_port + BRIDGED + FRAMES + FRAMES + to_port;
    bridged + entering + 2 * direction
};

const _: () = assert!(LONGEST <= EVALUATIONS_PER_PACKET);
