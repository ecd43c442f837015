//! The host's end of a pod's link.

pub use flock_nft::interface::{InterfaceError, InterfaceName};

/// The host's end of a pod's link, and how its name came to be known.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum HostInterface {
    /// Computed from the pod's namespace and name: no tenant can make it another interface's.
    Computed(InterfaceName),
    /// Read from an annotation of the pod: may name an interface that is not the pod's.
    Claimed(InterfaceName),
}
