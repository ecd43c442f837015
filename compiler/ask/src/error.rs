//! Why a question has no answer.

/// Why a question has no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AskError {
    /// It cannot be asked like this: what was found, and what was expected.
    #[error("{0}")]
    Bad(String),
    /// There is nothing of this name.
    #[error("{0}")]
    NotFound(String),
    /// The asker may see nothing of what it is about.
    #[error("{0}")]
    NotAllowed(String),
    /// The answer would cost more than an answer may.
    #[error("{0}")]
    TooLarge(String),
}
