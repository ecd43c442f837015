//! Why somebody is not let in. Nothing here holds a token or a part of one.

use flock_shared::NodeName;
use tonic::{Code, Status};

use super::account::ServiceAccount;

/// Why somebody is not let in.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// No `authorization` header.
    #[error("a bearer token is needed, bound to the audience of the compiler")]
    NoToken,
    /// A header that is not `Bearer TOKEN`.
    #[error("the authorization header is not a bearer token")]
    MalformedToken,
    /// The API server does not vouch for the token: expired, of another audience, its pod is gone.
    #[error("the token was not accepted: {reason}")]
    NotAuthenticated {
        /// The API server's words.
        reason: String,
    },
    /// The API server vouches for the token, and does not say for which audience.
    #[error("the token is not for the audience {audience:?}")]
    WrongAudience {
        /// What was expected.
        audience: String,
    },
    /// Somebody else's token.
    #[error("{username:?} is not the agents' ServiceAccount {expected}")]
    NotTheAgent {
        /// Whose token it is.
        username: String,
        /// Whose it should be.
        expected: ServiceAccount,
    },
    /// A token that is not bound to a pod on one node.
    #[error(
        "the token of {username:?} names {found} nodes, not one: it has to be bound to a pod (a projected volume)"
    )]
    NoNode {
        /// Whose token it is.
        username: String,
        /// How many nodes it names, valid ones.
        found: usize,
    },
    /// An agent that asks for another node.
    #[error("the agent of node {own} may not ask for node {asked}")]
    WrongNode {
        /// Where its pod runs.
        own: NodeName,
        /// What it asks for.
        asked: NodeName,
    },
    /// No role allows it.
    #[error("user {username:?} cannot {permission}{}", because(reason))]
    Forbidden {
        /// Who asks.
        username: String,
        /// For what.
        permission: String,
        /// The authorizer's words, if it has any.
        reason: String,
    },
    /// The API server could not be asked.
    #[error("the API server could not be asked: {reason}")]
    Unreviewed {
        /// What went wrong.
        reason: String,
    },
}

fn because(reason: &str) -> String {
    if reason.is_empty() { String::new() } else { format!(": {reason}") }
}

impl Denied {
    /// All names of [`Self::kind`].
    pub const KINDS: [&'static str; 9] = [
        "no_token",
        "malformed_token",
        "not_authenticated",
        "wrong_audience",
        "not_the_agent",
        "no_node",
        "wrong_node",
        "forbidden",
        "unreviewed",
    ];

    /// A short name, for metrics: one of [`Self::KINDS`].
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::NoToken => "no_token",
            Self::MalformedToken => "malformed_token",
            Self::NotAuthenticated { .. } => "not_authenticated",
            Self::WrongAudience { .. } => "wrong_audience",
            Self::NotTheAgent { .. } => "not_the_agent",
            Self::NoNode { .. } => "no_node",
            Self::WrongNode { .. } => "wrong_node",
            Self::Forbidden { .. } => "forbidden",
            Self::Unreviewed { .. } => "unreviewed",
        }
    }

    /// The code of gRPC: who you are, what you may, or try again.
    #[must_use]
    pub const fn code(&self) -> Code {
        match self {
            Self::NoToken
            | Self::MalformedToken
            | Self::NotAuthenticated { .. }
            | Self::WrongAudience { .. } => Code::Unauthenticated,
            Self::NotTheAgent { .. }
            | Self::NoNode { .. }
            | Self::WrongNode { .. }
            | Self::Forbidden { .. } => Code::PermissionDenied,
            Self::Unreviewed { .. } => Code::Unavailable,
        }
    }
}

impl From<Denied> for Status {
    fn from(denied: Denied) -> Self {
        Self::new(denied.code(), denied.to_string())
    }
}
