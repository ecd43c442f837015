//! Questions about policy: read as they are typed, asked of the compilers or of manifests, and shown.
//!
//! ```text
//! cli/question ─▶ PolicyQuestion ─▶ end, service: typed ends → messages
//!                       │
//!        compilers: every replica, merged ─┐
//!        local: flock-ask over manifests ──┴▶ messages ─▶ show: one file a screen, pure
//! ```

mod bundle;
mod compilers;
pub(crate) mod end;
mod files;
mod local;
mod merge;
mod port;
mod respond;
mod service;
mod show;
pub(crate) mod text;
mod wait;

use std::path::PathBuf;
use std::time::Duration;

use clap::ValueEnum;
use flock_proto::v1;
use flock_shared::{NamespaceName, ObjectName};

use self::compilers::Compilers;
pub(crate) use self::end::TypedEnd;
use self::local::Local;
pub(crate) use self::port::TypedPort;
use self::respond::Respondent;
use crate::cli::Shape;
use crate::failure::Failure;
use crate::run::{Asker, Outcome};
use crate::target::Target;

/// A question about policy.
#[derive(Debug)]
pub(crate) enum PolicyQuestion {
    /// Why a flow passes or does not.
    Explain { from: TypedEnd, to: TypedEnd, port: TypedPort },
    /// Whether it does.
    Can { from: TypedEnd, to: TypedEnd, port: TypedPort },
    /// Who may reach an end.
    WhoCan { to: TypedEnd, port: Option<TypedPort> },
    /// What an end may reach.
    Reach { from: TypedEnd },
    /// What may reach what.
    Matrix { ports: Vec<v1::Port> },
    /// What nothing isolates.
    Open,
    /// Policies, or one.
    Policies { name: Option<ObjectName> },
    /// Until something is so.
    Wait { what: Awaited, timeout: Duration },
    /// What would change.
    Preview { files: Vec<PathBuf>, delete: Vec<v1::PolicyName>, fail_on: FailOn },
    /// What is probably not meant.
    Lint { min_severity: v1::Severity },
    /// What was dropped.
    Drops { follow: bool, since: Duration, top: bool, from: Option<TypedEnd>, to: Option<TypedEnd> },
    /// What has changed.
    History { since: Duration },
    /// What is enforced.
    Receipt,
    /// All of it for a bug report.
    Bundle { with_addresses: bool },
}

/// What is waited for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Awaited {
    /// A policy is in force.
    Enforced { namespace: NamespaceName, name: ObjectName },
    /// It is not there, and in force nowhere.
    Gone { namespace: NamespaceName, name: ObjectName },
    /// Nodes are current.
    Nodes {
        /// Also those without an agent.
        all: bool,
    },
}

/// Which changes of a preview make it fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum FailOn {
    /// Flows that would open
    Opened,
    /// Flows that would close
    Closed,
    /// Both
    Any,
}

/// Asks the compilers, and prints what they answer.
///
/// # Errors
/// When it cannot be asked, or nobody answers.
pub(crate) async fn of_compilers(
    target: Target,
    question: PolicyQuestion,
    shape: Shape,
    asker: &Asker<'_>,
) -> Result<Outcome, Failure> {
    let compilers = Compilers::open(asker.program, target).await?;
    respond::respond(Respondent::Compilers(Box::new(compilers)), question, shape, asker).await
}

/// Asks manifests, and prints what they come to.
///
/// # Errors
/// When it cannot be asked, or nothing in them can be used.
pub(crate) async fn of_manifests(
    paths: &[PathBuf],
    question: PolicyQuestion,
    shape: Shape,
    asker: &Asker<'_>,
) -> Result<Outcome, Failure> {
    let local = Local::load(asker.program, paths)?;
    respond::respond(Respondent::Manifests(Box::new(local)), question, shape, asker).await
}
