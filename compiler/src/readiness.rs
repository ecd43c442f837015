//! Whether agents may turn to this replica, and why not.

/// Whether agents may turn to this replica.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Readiness {
    /// They may.
    Ready,
    /// Not every watched kind has been listed yet.
    Unlisted,
    /// The translation breaks an invariant.
    Unsound,
    /// What was translated first is still being checked.
    Unchecked,
    /// There is no certificate yet.
    NoCertificate,
    /// This replica alone cannot read an API server that is well.
    Alone,
}

impl Readiness {
    /// All that it may be instead of ready.
    pub const UNREADY: [Self; 5] =
        [Self::Unlisted, Self::Unsound, Self::Unchecked, Self::NoCertificate, Self::Alone];

    /// One line for people.
    #[must_use]
    pub const fn sentence(self) -> &'static str {
        match self {
            Self::Ready => "ok",
            Self::Unlisted => "not every watched kind has been listed yet",
            Self::Unsound => "the translation breaks an invariant: the log says which",
            Self::Unchecked => "what was translated first is still being checked",
            Self::NoCertificate => "there is no certificate yet",
            Self::Alone => "the API server is well, and this replica alone cannot read it",
        }
    }

    /// A short name, for metrics.
    #[must_use]
    pub const fn reason(self) -> &'static str {
        match self {
            Self::Ready => "",
            Self::Unlisted => "not_listed",
            Self::Unsound => "unsound",
            Self::Unchecked => "not_checked",
            Self::NoCertificate => "no_certificate",
            Self::Alone => "alone",
        }
    }
}
