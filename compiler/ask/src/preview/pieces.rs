//! Pieces: the addresses of a family, cut at the edges of blocks, so that all addresses of a piece are in the same blocks.

use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;

use flock_compiler_core::block::{AddressBits, Blocks, Ranges};

use super::objects::PeerId;
use super::work::Work;
use crate::AskError;

/// The blocks that an address is in, in order; equal ones have one number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Within(u32);

/// The sets of blocks that addresses are in.
#[derive(Debug, Default)]
pub(super) struct Withins {
    numbers: HashMap<Box<[PeerId]>, Within>,
    blocks: Vec<Box<[PeerId]>>,
}

impl Withins {
    /// The blocks, in order.
    pub(super) fn blocks(&self, within: Within) -> &[PeerId] {
        self.blocks.get(within.0 as usize).map_or(&[], |blocks| blocks)
    }

    fn number(&mut self, active: &BTreeSet<PeerId>) -> Within {
        let blocks: Box<[PeerId]> = active.iter().copied().collect();
        if let Some(known) = self.numbers.get(&blocks) {
            return *known;
        }
        let number = Within(u32::try_from(self.blocks.len()).unwrap_or(u32::MAX));
        self.blocks.push(blocks.clone());
        self.numbers.insert(blocks, number);
        number
    }
}

/// The pieces of one family.
#[derive(Debug)]
struct Line<T> {
    /// Where each begins; the first at the lowest address.
    starts: Vec<T>,
    within: Vec<Option<Within>>,
}

/// The pieces of both families.
#[derive(Debug)]
pub(super) struct Pieces {
    v4: Line<u32>,
    v6: Line<u128>,
}

/// A piece by family and position.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Piece {
    V4(usize),
    V6(usize),
}

impl Pieces {
    /// Cuts at the edges of these blocks. Which blocks a piece is in is found for those that `addresses` are in; `None`: for
    /// all.
    pub(super) fn cut(
        blocks: &[(PeerId, &Blocks)],
        addresses: Option<&[IpAddr]>,
        withins: &mut Withins,
        work: &mut Work,
    ) -> Result<Self, AskError> {
        let v4 = blocks.iter().map(|(peer, blocks)| (*peer, &blocks.v4));
        let v6 = blocks.iter().map(|(peer, blocks)| (*peer, &blocks.v6));
        let wanted_v4 = addresses.map(|all| {
            all.iter().filter_map(|it| match it {
                IpAddr::V4(it) => Some(u32::from(*it)),
                IpAddr::V6(_) => None,
            })
        });
        let wanted_v6 = addresses.map(|all| {
            all.iter().filter_map(|it| match it {
                IpAddr::V4(_) => None,
                IpAddr::V6(it) => Some(u128::from(*it)),
            })
        });
        Ok(Self {
            v4: Line::cut(v4, wanted_v4, withins, work)?,
            v6: Line::cut(v6, wanted_v6, withins, work)?,
        })
    }

    pub(super) fn of(&self, address: IpAddr) -> Piece {
        match address {
            IpAddr::V4(address) => Piece::V4(self.v4.of(address.into())),
            IpAddr::V6(address) => Piece::V6(self.v6.of(address.into())),
        }
    }

    /// The blocks that a piece is in; `None`: it was not asked for.
    pub(super) fn within(&self, piece: Piece) -> Option<Within> {
        match piece {
            Piece::V4(index) => self.v4.within.get(index).copied().flatten(),
            Piece::V6(index) => self.v6.within.get(index).copied().flatten(),
        }
    }

    /// All pieces, in order of their addresses.
    pub(super) fn all(&self) -> impl Iterator<Item = Piece> {
        let v4 = (0..self.v4.starts.len()).map(Piece::V4);
        v4.chain((0..self.v6.starts.len()).map(Piece::V6))
    }

    /// The addresses of pieces.
    pub(super) fn addresses(&self, pieces: impl IntoIterator<Item = Piece>) -> Blocks {
        let (mut v4, mut v6) = (Vec::new(), Vec::new());
        for piece in pieces {
            match piece {
                Piece::V4(index) => v4.extend(self.v4.range(index)),
                Piece::V6(index) => v6.extend(self.v6.range(index)),
            }
        }
        Blocks { v4: Ranges::union_of(v4), v6: Ranges::union_of(v6) }
    }
}

impl<T: AddressBits> Line<T> {
    fn cut<'a>(
        blocks: impl Iterator<Item = (PeerId, &'a Ranges<T>)>,
        wanted: Option<impl Iterator<Item = T>>,
        withins: &mut Withins,
        work: &mut Work,
    ) -> Result<Self, AskError>
    where
        T: 'a,
    {
        // At an address a block begins, or it has ended at the one before.
        let mut edges: Vec<(T, PeerId, bool)> = Vec::new();
        for (peer, ranges) in blocks {
            for (first, last) in ranges.iter() {
                edges.push((first, peer, true));
                // A block with the last address has no end: no address is after it.
                edges.extend(last.next().map(|after| (after, peer, false)));
            }
        }
        work.spend(edges.len())?;
        edges.sort_unstable();
        let mut starts: Vec<T> = [T::MIN].into_iter().chain(edges.iter().map(|(at, ..)| *at)).collect();
        starts.dedup();
        let mut line = Self { within: vec![None; starts.len()], starts };
        let wanted: Option<BTreeSet<usize>> = wanted.map(|all| all.map(|address| line.of(address)).collect());
        let (mut active, mut edges) = (BTreeSet::new(), edges.into_iter().peekable());
        for (index, start) in line.starts.iter().enumerate() {
            while let Some((_, peer, begins)) = edges.next_if(|(at, ..)| at == start) {
                if begins {
                    active.insert(peer);
                } else {
                    active.remove(&peer);
                }
            }
            if wanted.as_ref().is_none_or(|wanted| wanted.contains(&index)) {
                // The set is copied for each piece: of blocks within blocks that grows with the square of their
                // number.
                work.spend(1 + active.len())?;
                if let Some(within) = line.within.get_mut(index) {
                    *within = Some(withins.number(&active));
                }
            }
        }
        Ok(line)
    }

    fn of(&self, address: T) -> usize {
        self.starts.partition_point(|start| *start <= address).saturating_sub(1)
    }

    fn range(&self, index: usize) -> Option<(T, T)> {
        let first = *self.starts.get(index)?;
        let after = self.starts.get(index + 1).copied();
        Some((first, after.and_then(T::previous).unwrap_or(T::MAX)))
    }
}
