//! Sources of cluster objects: a directory of manifests, or a Kubernetes API server.
//!
//! Every source speaks the same way: changes, and reports about inputs that are not (yet) objects.

pub mod kubernetes;
pub mod manifests;
mod progress;

use std::future::Future;
use std::sync::Arc;

use flock_compiler_core::{Change, Problem};
use tokio::sync::mpsc;
use tokio::time::Instant;

pub use progress::{Kind, KindProgress, NotComparable, Reached, Version};

/// What a source says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SourceEvent {
    /// Objects changed, all of this at once: no state in between is the cluster's.
    Changes {
        /// What changed, in order; empty if only the progress is news.
        changes: Vec<Change>,
        /// How far a kind has been read with it, where versions tell.
        progress: Option<KindProgress>,
        /// When the source had read of it.
        observed: Instant,
    },
    /// The problems of one input (a file, a watch): they replace those that were reported for it before.
    Report {
        /// The input: a file's path, or a watched kind.
        input: Arc<str>,
        /// Its problems; empty once it is mended.
        problems: Vec<Problem>,
    },
}

impl From<Change> for SourceEvent {
    /// One change of no known version.
    fn from(change: Change) -> Self {
        Self::from(vec![change])
    }
}

impl From<Vec<Change>> for SourceEvent {
    /// Changes of no known version, read at this moment.
    fn from(changes: Vec<Change>) -> Self {
        Self::Changes { changes, progress: None, observed: Instant::now() }
    }
}

/// The sending side of a source.
pub type Events = mpsc::Sender<SourceEvent>;

/// Somewhere that cluster objects come from.
pub trait Source: Send + 'static {
    /// Sends events until the receiver is gone. The first `Replace` of each kind is sent once that kind has been
    /// read completely, and not before.
    ///
    /// # Errors
    /// Only what cannot be mended by trying again; everything else is reported and retried.
    fn run(self, events: Events) -> impl Future<Output = Result<(), SourceError>> + Send;
}

/// Why a source gave up.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// The manifests directory cannot be read at all.
    #[error("cannot read {path}")]
    Unreadable {
        /// The path as given.
        path: std::path::PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// A watch task ended unexpectedly.
    #[error("the watch of {kind} ended unexpectedly")]
    WatchEnded {
        /// The watched kind.
        kind: &'static str,
    },
}
