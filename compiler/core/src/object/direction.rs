//! The directions of a policy.

pub use flock_nft::direction::Direction;

/// A non-empty set of directions (`spec.policyTypes`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Types {
    /// Ingress only.
    Ingress,
    /// Egress only.
    Egress,
    /// Both.
    Both,
}

impl Types {
    /// The directions in which this is so; `None`: in neither.
    #[must_use]
    pub fn of(is_so: impl Fn(Direction) -> bool) -> Option<Self> {
        match (is_so(Direction::Ingress), is_so(Direction::Egress)) {
            (true, true) => Some(Self::Both),
            (true, false) => Some(Self::Ingress),
            (false, true) => Some(Self::Egress),
            (false, false) => None,
        }
    }

    /// Returns true if `direction` is in the set.
    #[must_use]
    pub const fn contains(self, direction: Direction) -> bool {
        matches!(
            (self, direction),
            (Self::Both, _) | (Self::Ingress, Direction::Ingress) | (Self::Egress, Direction::Egress)
        )
    }
}
