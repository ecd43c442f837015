//! `ipBlock`: address blocks of peers.

use ipnet::IpNet;

use crate::block::Blocks;

/// `ipBlock`: a CIDR block and what is taken out of it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IpBlock {
    blocks: Blocks,
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
        let (cidr, outer) = (cidr.trunc(), cidr);
        for (index, hole) in except.iter().enumerate() {
            if !cidr.contains(&hole.trunc()) || hole.prefix_len() <= cidr.prefix_len() {
                return Err(IpBlockError::ExceptOutside { index, except: *hole, cidr: outer });
            }
        }
        Ok(Self { blocks: Blocks::of(&cidr, except) })
    }

    /// The addresses of the block.
    #[must_use]
    pub const fn blocks(&self) -> &Blocks {
        &self.blocks
    }
}
