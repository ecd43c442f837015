//! A Kubernetes API server as a source: one list and watch for each kind.
//!
//! ```text
//! list, page by page ──▶ Listing ─┐
//!                                 ├─ KindFeed ──▶ SourceEvent
//! watch, event by event ──────────┘
//! ```
//!
//! `kube` sends the requests and reads the responses; when to list, where to resume and what to do about a failure
//! is decided here. `kube::runtime::watcher` decides that, too, but not as a policy engine needs it (kube 5.0): a
//! watch that is refused with HTTP 410 is tried again from the same version for ever, an event that cannot be parsed
//! is passed over and its change lost, a watch that ends at once is opened anew at once, and nothing tells that a
//! watch is open again.

mod connect;
mod failure;
mod feed;
mod probe;
mod raw;
mod statistics;
mod watch;
mod watched;

use std::collections::BTreeMap;
use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use flock_compiler_core::object::{Namespace, Node, NodePods, Pod, Policy};
use flock_shared::backoff::Backoff;
use kube::Client;
use tokio::sync::Notify;
use tokio::task::JoinSet;

use super::{Events, Kind, Source, SourceError};
use flock_convert::{Converter, HostInterfaces};
use probe::AnonymousProbe;
use watch::Watcher;
use watched::Watched;

pub use connect::{ConnectError, anonymous, client, config, connect};
pub use probe::ProbeSettings;
pub use statistics::{KindStatistics, Statistics};

/// The origin of every object from an API server.
const ORIGIN: &str = "kubernetes";

/// How the source lists and watches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WatchSettings {
    /// Objects of one page of a listing.
    pub page_size: u32,
    /// When the server is to end a watch, in whole seconds. After each the store itself is asked for its version.
    pub watch_timeout: Duration,
    /// When a watch that brings nothing is given up: a little after the server should have ended it. Bounds how
    /// long a peer that vanished goes unnoticed, also behind a proxy or in an HTTP/2 connection that lives on.
    pub silence: Duration,
    /// How long the server may take to say its version.
    pub answer: Duration,
    /// Pauses after failures. The longest bounds how long a server that is back goes unnoticed.
    pub backoff: Backoff,
    /// Pauses before listings after the first, which cost the server most.
    pub relist: Backoff,
}

impl Default for WatchSettings {
    fn default() -> Self {
        Self {
            page_size: 500,
            watch_timeout: Duration::from_secs(20),
            silence: Duration::from_secs(24),
            answer: Duration::from_secs(10),
            backoff: Backoff::new(Duration::from_millis(500), Duration::from_secs(4)),
            relist: Backoff::new(Duration::from_millis(800), Duration::from_secs(30)),
        }
    }
}

/// Watches the pods, namespaces, nodes and network policies of a cluster, and what CNI did on its nodes.
pub struct KubernetesSource {
    client: Client,
    converter: Converter,
    settings: WatchSettings,
    statistics: Arc<Statistics>,
    /// Wakes the watches that pause: the server has answered another one.
    answered: Arc<Notify>,
    probe: Option<AnonymousProbe>,
}

impl KubernetesSource {
    /// A source that asks `client`, as [`connect()`] makes it, and names the links of pods as `interfaces` says.
    #[must_use]
    pub fn new(client: Client, interfaces: HostInterfaces) -> Self {
        Self::with_settings(client, interfaces, WatchSettings::default())
    }

    /// The same with other settings.
    #[must_use]
    pub fn with_settings(client: Client, interfaces: HostInterfaces, settings: WatchSettings) -> Self {
        let converter = Converter::new(ORIGIN, interfaces);
        Self {
            client,
            converter,
            settings,
            statistics: Arc::default(),
            answered: Arc::default(),
            probe: None,
        }
    }

    /// The same, which asks the server without a token, too, and so finds out if it alone fails to see it.
    #[must_use]
    pub fn with_probe(mut self, anonymous: Client, when: ProbeSettings) -> Self {
        let statistics = Arc::clone(&self.statistics);
        self.probe = Some(AnonymousProbe { anonymous, statistics, when });
        self
    }

    /// What its watches have been through; goes on counting while the source runs.
    #[must_use]
    pub fn statistics(&self) -> Arc<Statistics> {
        Arc::clone(&self.statistics)
    }

    fn spawn<W: Watched>(&self, watches: &mut Watches, events: &Events) {
        let watcher = Watcher::<W>::new(
            self.client.clone(),
            self.converter.clone(),
            self.settings.clone(),
            Arc::clone(&self.statistics),
            Arc::clone(&self.answered),
            events.clone(),
        );
        watches.kinds.insert(watches.tasks.spawn(watcher.run()).id(), W::KIND);
    }
}

/// The running watches; all end when this is dropped.
#[derive(Default)]
struct Watches {
    tasks: JoinSet<()>,
    kinds: BTreeMap<tokio::task::Id, Kind>,
}

impl Source for KubernetesSource {
    async fn run(mut self, events: Events) -> Result<(), SourceError> {
        let probe = self.probe.take();
        let probing = async {
            match probe {
                Some(probe) => probe.run().await,
                None => pending().await,
            }
        };
        let mut watches = Watches::default();
        self.spawn::<Node>(&mut watches, &events);
        self.spawn::<Namespace>(&mut watches, &events);
        self.spawn::<Pod>(&mut watches, &events);
        self.spawn::<Policy>(&mut watches, &events);
        self.spawn::<NodePods>(&mut watches, &events);
        tokio::select! {
            never = probing => match never {},
            () = events.closed() => Ok(()),
            Some(ended) = watches.tasks.join_next_with_id() => {
                // A watch ends of itself only when nobody listens any more.
                if events.is_closed() {
                    return Ok(());
                }
                let id = match ended {
                    Ok((id, ())) => id,
                    Err(error) => {
                        tracing::error!(%error, "a watch failed");
                        error.id()
                    }
                };
                let kind = watches.kinds.get(&id).map_or("an unknown kind", |kind| kind.name());
                Err(SourceError::WatchEnded { kind })
            }
        }
    }
}
