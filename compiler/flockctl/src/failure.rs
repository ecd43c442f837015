//! Why there is no answer, and the exit status that says so.

use std::error::Error as _;
use std::process::ExitCode;

use anyhow::anyhow;
use flock_shared::causes;
use tonic::{Code, Status};

use crate::forward::Forward;

/// What kind of failure it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// What had begun, and was to go on, has ended.
    Ended,
    /// It cannot be asked like this, or the asker may not know.
    Question,
    /// What it is about is not there, as far as the compilers know.
    NotThere,
    /// The token is not accepted, or no longer.
    Token,
    /// No compiler can be reached, or none answers.
    Unreachable,
}

impl Kind {
    /// Returns true if the same question gets no answer later either, unless something else changes.
    pub(crate) const fn is_question(self) -> bool {
        matches!(self, Self::Question | Self::NotThere)
    }
}

/// Why there is no answer.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) kind: Kind,
    pub(crate) error: anyhow::Error,
}

impl Failure {
    /// It cannot be asked like this.
    pub(crate) fn question(message: String) -> Self {
        Self { kind: Kind::Question, error: anyhow!(message) }
    }

    /// The compiler's words, without gRPC's; where a connection through a cluster broke, the reason of that.
    pub(crate) async fn asked(status: &Status, forward: Option<Forward>) -> Self {
        let kind = match status.code() {
            // Asking again would be answered alike.
            Code::NotFound => Kind::NotThere,
            Code::InvalidArgument | Code::PermissionDenied | Code::Unimplemented => Kind::Question,
            Code::Unauthenticated => Kind::Token,
            _ => Kind::Unreachable,
        };
        // What the compiler says has no cause on this side.
        let is_broken = status.source().is_some();
        if let Some(forward) = forward.filter(|_| is_broken)
            && let Some(exit_reason) = forward.exit_reason().await
        {
            return Self { kind, error: anyhow!(exit_reason) };
        }
        let error = match status.message() {
            "" if status.code() == Code::Unimplemented => {
                anyhow!("the compiler is older than this program, and cannot be asked this")
            }
            "" => anyhow!(status.clone()),
            words => anyhow!("{}", words.to_owned()),
        };
        Self { kind, error }
    }

    /// What several replicas say, as one.
    pub(crate) fn of_all(failures: Vec<(String, Self)>) -> Self {
        // That there is no such thing says more than that one replica cannot be asked.
        let kinds: Vec<Kind> = failures.iter().map(|(_, failure)| failure.kind).collect();
        let kind =
            [Kind::Question, Kind::NotThere, Kind::Token].into_iter().find(|kind| kinds.contains(kind));
        let kind = kind.unwrap_or(Kind::Unreachable);
        let mut failures = failures.into_iter();
        let Some((name, first)) = failures.next() else {
            return Self { kind: Kind::Unreachable, error: anyhow!("no compiler answers") };
        };
        // Replicas mostly refuse a question in the same words, which are said once and without names.
        let same = first.words();
        let others: Vec<(String, Self)> = failures.filter(|(_, failure)| failure.words() != same).collect();
        if others.is_empty() {
            return Self { kind, error: first.error };
        }
        let all = std::iter::once((name, first)).chain(others);
        let all: Vec<String> = all.map(|(name, failure)| format!("{name}: {}", failure.words())).collect();
        Self { kind, error: anyhow!(all.join("; ")) }
    }

    /// Why, in one line.
    pub(crate) fn words(&self) -> String {
        causes(&*self.error)
    }

    /// What the process ends with.
    pub(crate) fn exit_code(&self) -> ExitCode {
        ExitCode::from(match self.kind {
            Kind::Ended => 1,
            Kind::Question | Kind::NotThere | Kind::Token => 2,
            Kind::Unreachable => 3,
        })
    }
}

/// An answer that cannot be printed.
impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self { kind: Kind::Question, error }
    }
}
