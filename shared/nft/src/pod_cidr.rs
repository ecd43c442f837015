//! A block of addresses that a node's pods get theirs from.

use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;

/// A block of addresses for pods: without host bits, and not a whole family.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PodCidr(IpNet);

/// Why a block is not one for pods.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PodCidrError {
    /// Everything is in it, what is beyond the cluster too.
    #[error("{0} is every address of its family; expected the block of one node")]
    Everything(IpNet),
}

impl PodCidr {
    /// A block; host bits are cut off.
    ///
    /// # Errors
    /// If it is a whole family.
    pub fn new(block: IpNet) -> Result<Self, PodCidrError> {
        if block.prefix_len() == 0 { Err(PodCidrError::Everything(block)) } else { Ok(Self(block.trunc())) }
    }

    /// The block around an address with a prefix of this length, if there is one.
    #[must_use]
    pub fn around(address: IpAddr, prefix: u8) -> Option<Self> {
        IpNet::new(address, prefix).ok().and_then(|block| Self::new(block).ok())
    }

    /// Its first address.
    #[must_use]
    pub fn first(&self) -> IpAddr {
        self.0.addr()
    }

    /// How many bits its addresses have in common.
    #[must_use]
    pub fn prefix(&self) -> u8 {
        self.0.prefix_len()
    }

    /// Returns true if an address is in it.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        self.0.contains(&address)
    }
}

impl fmt::Display for PodCidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for PodCidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(text: &str) -> Result<PodCidr, PodCidrError> {
        PodCidr::new(text.parse().unwrap())
    }

    #[test]
    fn host_bits_are_cut_off() {
        assert_eq!(block("10.244.1.7/24"), block("10.244.1.0/24"));
        assert_eq!(block("fd00::7/64").unwrap().to_string(), "fd00::/64");
        let around = PodCidr::around("10.244.1.7".parse().unwrap(), 24);
        assert_eq!(around, block("10.244.1.0/24").ok());
    }

    #[test]
    fn a_whole_family_is_nobodys_block() {
        assert!(block("0.0.0.0/0").is_err() && block("::/0").is_err());
        assert_eq!(PodCidr::around("10.0.0.1".parse().unwrap(), 33), None);
    }
}
