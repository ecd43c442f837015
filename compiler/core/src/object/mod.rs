//! Kubernetes objects, trimmed to what translation needs and valid by construction.

mod attachment;
mod facts;
mod interface;
mod namespace;
mod node;
mod overdue;
mod pod;
mod policy;

pub use attachment::{Attachment, NodePods, PodUid, PodUidError, Sandbox, is_assignable};
pub use facts::{Bridge, BridgeNf, Facts};
pub use interface::{HostInterface, InterfaceError, InterfaceName};
pub use namespace::Namespace;
pub use node::{Node, PodCidr, PodCidrError};
pub use overdue::Overdue;
pub use pod::{Claim, Lifecycle, NamedPort, Pod, PodNetwork, PortName, UnixTime};
pub use policy::{
    Direction, Fault, IpBlock, IpBlockError, NamespaceScope, Peer, PeerMatch, PodPeer, Policy, PolicyBody,
    PolicyRules, PortMatch, Rule, RulePorts, Types,
};
