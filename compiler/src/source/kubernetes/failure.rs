//! Why a listing or a watch ended, and what that means for the next step.

use std::time::Duration;

use flock_shared::causes;
use kube::core::Status;

use crate::source::Version;

/// HTTP's 410: the server does not remember the version that was asked for.
const GONE: u16 = 410;

/// HTTP's 404: of a listing, that the server does not know the kind.
const NOT_FOUND: u16 = 404;

/// HTTP's 401: the server does not know who asks.
const UNAUTHORIZED: u16 = 401;

/// HTTP's 403.
const FORBIDDEN: u16 = 403;

/// The longest wait that a server can ask for.
const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(60);

/// Why a listing or a watch ended.
#[derive(Debug, thiserror::Error)]
pub(super) enum WatchFailure {
    /// The server does not remember a version or a page, told by a response or by an event.
    #[error("the version or page is forgotten: {}", .0.message)]
    Expired(Box<Status>),
    /// The server answered with a failure, as response or as event.
    #[error("the API server answers {} {}: {}", .0.code, .0.reason, .0.message)]
    Refused(Box<Status>),
    /// The server could not be asked, or the connection failed.
    #[error("the API server cannot be reached")]
    Unreachable(#[source] Box<kube::Error>),
    /// What was sent is not what the protocol says.
    #[error("the API server sent what cannot be read")]
    Unreadable(#[source] Box<kube::Error>),
    /// A listing or an object without a resource version.
    #[error("the API server named no resource version")]
    NoVersion,
    /// Nothing came, not even the end.
    #[error("nothing came for {} s", .0.as_secs())]
    Silent(Duration),
    /// The store is older than what was read of it: a backup was put in place.
    #[error(
        "the store has gone back to version {at}, and was read at {read}: was it restored from a backup?"
    )]
    WentBack {
        /// Where it is.
        at: Version,
        /// How far it had been read.
        read: Version,
    },
    /// The watch was accepted and ended without a word.
    #[error("the watch ended at once")]
    Short,
}

/// Why a kind cannot be had, although the server answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Absence {
    /// The server does not know it: there is no object of it.
    Unknown,
    /// It may not be read.
    Forbidden,
}

impl WatchFailure {
    /// A failure that the server described. Without a code it is none: any JSON that is no event reads as a status
    /// of which nothing is known.
    pub(super) fn told(status: Box<Status>) -> Self {
        match status.code {
            GONE => Self::Expired(status),
            0 => Self::Unreadable(Box::new(kube::Error::Api(status))),
            _ => Self::Refused(status),
        }
    }

    /// A failure of a request or of a stream of events.
    pub(super) fn of(error: kube::Error) -> Self {
        match error {
            kube::Error::Api(status) => Self::told(status),
            kube::Error::SerdeError(_) | kube::Error::FromUtf8(_) => Self::Unreadable(Box::new(error)),
            _ => Self::Unreachable(Box::new(error)),
        }
    }

    /// Why a kind cannot be had from this server, if that is so.
    pub(super) fn absence(&self) -> Option<Absence> {
        match self {
            Self::Refused(status) if status.code == NOT_FOUND => Some(Absence::Unknown),
            Self::Refused(status) if status.code == FORBIDDEN => Some(Absence::Forbidden),
            _ => None,
        }
    }

    /// Returns true if it may be this process's alone: its way to the server, or its token. What the server makes of a
    /// request that it understood, it makes of those of all replicas.
    pub(super) const fn may_be_own(&self) -> bool {
        match self {
            Self::Unreachable(_) | Self::Silent(_) | Self::Short => true,
            Self::Refused(status) => status.code == UNAUTHORIZED,
            Self::Expired(_) | Self::Unreadable(_) | Self::NoVersion | Self::WentBack { .. } => false,
        }
    }

    /// Returns true if changes may have been missed that resuming would not bring.
    pub(super) const fn needs_listing(&self) -> bool {
        match self {
            Self::Expired(_) | Self::Unreadable(_) | Self::NoVersion | Self::WentBack { .. } => true,
            Self::Refused(_) | Self::Unreachable(_) | Self::Silent(_) | Self::Short => false,
        }
    }

    /// How long the server wants to be left alone.
    pub(super) fn retry_after(&self) -> Duration {
        let seconds = match self {
            Self::Refused(status) => status.details.as_ref().map_or(0, |details| details.retry_after_seconds),
            _ => 0,
        };
        Duration::from_secs(u64::from(seconds)).min(LONGEST_RETRY_AFTER)
    }

    /// The failure and its causes in one line; a cause that its effect has already told is not repeated.
    pub(super) fn line(&self) -> String {
        causes(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(code: u16) -> Box<Status> {
        Status::failure("because", "Reason").with_code(code).boxed()
    }

    #[test]
    fn only_410_and_what_cannot_be_read_need_a_listing() {
        assert!(WatchFailure::of(kube::Error::Api(status(410))).needs_listing());
        for code in [401, 403, 429, 500, 503, 504] {
            assert!(!WatchFailure::of(kube::Error::Api(status(code))).needs_listing(), "{code}");
        }
        assert!(WatchFailure::of(kube::Error::Api(status(0))).needs_listing());
        let broken = serde_json::from_str::<u8>("!").unwrap_err();
        assert!(WatchFailure::of(kube::Error::SerdeError(broken)).needs_listing());
    }

    #[test]
    fn a_line_names_each_cause_once() {
        let error = std::io::Error::other(std::io::Error::other("reset by peer"));
        let line = WatchFailure::of(kube::Error::ReadEvents(error)).line();
        assert_eq!(line, "the API server cannot be reached: Error reading events stream: reset by peer");
        assert_eq!(WatchFailure::told(status(503)).line(), "the API server answers 503 Reason: because");
    }
}
