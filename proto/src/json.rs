//! How answers are written as JSON: enumerations as the words that people read, times as in RFC 3339, null for what is not
//! known.

use prost_types::{Duration, Timestamp};
use serde::{Serialize as _, Serializer};

use crate::v1;

macro_rules! words {
    ($($function:ident: $enumeration:ident),+ $(,)?) => {$(
        pub(crate) fn $function<S: Serializer>(value: &i32, serializer: S) -> Result<S::Ok, S::Error> {
            v1::$enumeration::try_from(*value).unwrap_or_default().word().serialize(serializer)
        }
    )+};
}

words! { verdict: Verdict, direction: Direction, change: Change, severity: Severity }

/// As [`direction`], where there may be none.
pub(crate) fn some_direction<S: Serializer>(value: &Option<i32>, serializer: S) -> Result<S::Ok, S::Error> {
    value.and_then(|value| v1::Direction::try_from(value).ok()?.word()).serialize(serializer)
}

/// RFC 3339.
pub(crate) fn time<S: Serializer>(value: &Option<Timestamp>, serializer: S) -> Result<S::Ok, S::Error> {
    value.as_ref().map(ToString::to_string).serialize(serializer)
}

/// Seconds, with their fraction.
pub(crate) fn duration<S: Serializer>(value: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
    value.as_ref().map(|it| it.seconds as f64 + f64::from(it.nanos) / 1e9).serialize(serializer)
}

impl v1::Verdict {
    /// The word for it that people read; `None` for one that is not known here.
    #[must_use]
    pub const fn word(self) -> Option<&'static str> {
        Some(match self {
            Self::Unspecified => return None,
            Self::Open => "open",
            Self::Allowed => "allowed",
            Self::Denied => "denied",
            Self::Unready => "unready",
            Self::Spoofed => "spoofed",
            Self::Contested => "contested",
            Self::OverBudget => "over-budget",
            Self::NotUnderstood => "not-understood",
            Self::HostNetwork => "host-network",
            Self::OwnNode => "own-node",
            Self::Itself => "itself",
        })
    }
}

impl v1::Direction {
    /// The API's word for it; `None` for one that is not known here.
    #[must_use]
    pub const fn word(self) -> Option<&'static str> {
        match self {
            Self::Unspecified => None,
            Self::Ingress => Some("ingress"),
            Self::Egress => Some("egress"),
        }
    }
}

impl v1::Change {
    /// The word for it; `None` for one that is not known here.
    #[must_use]
    pub const fn word(self) -> Option<&'static str> {
        match self {
            Self::Unspecified => None,
            Self::Opened => Some("opened"),
            Self::Closed => Some("closed"),
        }
    }
}

impl v1::Severity {
    /// The word for it; `None` for one that is not known here.
    #[must_use]
    pub const fn word(self) -> Option<&'static str> {
        match self {
            Self::Unspecified => None,
            Self::Info => Some("info"),
            Self::Warning => Some("warning"),
            Self::Error => Some("error"),
        }
    }
}
