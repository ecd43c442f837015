//! `ipBlock`: address blocks of peers.

use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;

use crate::block::Blocks;

/// `ipBlock`: a CIDR block and what is taken out of it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IpBlock {
    /// What it comes to.
    blocks: Blocks,
    /// As written, which answers to people quote.
    cidr: IpNet,
    except: Box<[IpNet]>,
}

/// Why an `ipBlock` is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IpBlockError {
    /// An `except` is not strictly inside `cidr` (which includes: of the other family).
    #[error("{except} is not strictly within {cidr}")]
    ExceptOutside {
        /// Position in `except`.
        index: usize,
        /// The except.
        except: IpNet,
        /// The block.
        cidr: IpNet,
    },
}

impl IpBlock {
    /// `cidr` without `except`.
    ///
    /// # Errors
    /// When an except is not strictly within the block, as the API server checks.
    pub fn new(cidr: IpNet, except: &[IpNet]) -> Result<Self, IpBlockError> {
        // A block may be written with host bits set, which say nothing.
        let outer = cidr.trunc();
        for (index, hole) in except.iter().enumerate() {
            if !outer.contains(&hole.trunc()) || hole.prefix_len() <= cidr.prefix_len() {
                return Err(IpBlockError::ExceptOutside { index, except: *hole, cidr });
            }
        }
        Ok(Self { blocks: Blocks::of(&outer, except), cidr, except: except.into() })
    }

    /// `cidr`, as written.
    #[must_use]
    pub const fn cidr(&self) -> IpNet {
        self.cidr
    }

    /// `except`, as written.
    #[must_use]
    pub const fn except(&self) -> &[IpNet] {
        &self.except
    }

    /// The first `except` that has an address.
    #[must_use]
    pub fn excluded_by(&self, address: IpAddr) -> Option<IpNet> {
        self.except.iter().find(|hole| hole.contains(&address)).copied()
    }

    /// The addresses of the block.
    #[must_use]
    pub const fn blocks(&self) -> &Blocks {
        &self.blocks
    }
}

impl fmt::Display for IpBlock {
    /// Such as `10.0.0.0/8 except 10.1.0.0/16, 10.2.0.0/16`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.cidr)?;
        for (index, hole) in self.except.iter().enumerate() {
            write!(f, "{}{hole}", if index == 0 { " except " } else { ", " })?;
        }
        Ok(())
    }
}
