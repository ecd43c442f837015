//! How far into the cluster's history a state reaches: the compiler's words, which an agent only carries.

use std::fmt;

use bytes::Bytes;

use crate::WireError;

/// The longest position, in bytes.
pub const POSITION_LIMIT: usize = 256;

/// How far into the cluster's history the state of an update reaches; empty if that is not known. Only compilers
/// read it: an agent keeps the one of the update that it applied, and hands it to whichever replica it calls next.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Position(Bytes);

/// A position that is too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a position of {length} bytes; at most {POSITION_LIMIT} are allowed")]
pub struct PositionError {
    /// Bytes found.
    pub length: usize,
}

impl Position {
    /// Copies the bytes, which are often a small part of a large message.
    ///
    /// # Errors
    /// When they are more than [`POSITION_LIMIT`].
    pub fn new(bytes: &[u8]) -> Result<Self, PositionError> {
        if bytes.len() > POSITION_LIMIT {
            return Err(PositionError { length: bytes.len() });
        }
        Ok(Self(Bytes::copy_from_slice(bytes)))
    }

    pub(crate) fn from_wire(field: &'static str, bytes: &[u8]) -> Result<Self, WireError> {
        Self::new(bytes).map_err(|PositionError { length }| WireError::TooLong {
            field,
            length,
            limit: POSITION_LIMIT,
        })
    }

    pub(crate) fn into_wire(self) -> Bytes {
        self.0
    }

    /// What a compiler wrote; empty if nothing is known.
    #[must_use]
    pub const fn as_bytes(&self) -> &Bytes {
        &self.0
    }

    /// Returns true if it says nothing.
    #[must_use]
    pub fn is_unknown(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Debug for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Position({})", self.0.escape_ascii())
    }
}
