//! Kubernetes objects, trimmed to what translation needs and valid by construction.

mod attachment;
mod block;
mod direction;
mod facts;
mod fault;
mod interface;
mod lint_code;
mod namespace;
mod node;
mod overdue;
mod peer;
mod pod;
mod policy;
mod port;
mod service;
mod untranslated;
mod workload;

pub use attachment::{Attachment, NodePods, PodUid, PodUidError, Sandbox, is_assignable};
pub use block::{IpBlock, IpBlockError};
pub use direction::{Direction, Types};
pub use facts::{Bridge, BridgeNf, Facts};
pub use fault::Fault;
pub use interface::{HostInterface, InterfaceError, InterfaceName};
pub use lint_code::{LintCode, LintCodeError};
pub use namespace::Namespace;
pub use node::{Node, PodCidr, PodCidrError};
pub use overdue::Overdue;
pub use peer::{NamespaceScope, Peer, PeerMatch, PodPeer};
pub use pod::{Claim, Lifecycle, Pod, PodNetwork, UnixTime};
pub use policy::{Policy, PolicyBody, PolicyMeta, PolicyRules, Rule};
pub use port::{NamedPort, PortMatch, PortName, RulePorts};
pub use service::{Service, ServicePort, TargetPort};
pub use untranslated::Untranslated;
pub use workload::{Owner, Workload, WorkloadKind};
