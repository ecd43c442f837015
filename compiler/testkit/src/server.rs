//! The server: a listener, a task per connection, and a handle for the test.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::future::pending;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::json;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::Interval;

use crate::api::Api;
use crate::faults::Faults;
use crate::grants::Grants;
use crate::identity::Identities;
use crate::kind::{Kind, SERVED};
use crate::port_forward::Forwards;
use crate::request::Verb;
use crate::store::Store;
use crate::wire::{Line, Scissors};

/// How a server is set up.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The kinds that it serves.
    pub kinds: Vec<Kind>,
    /// Whether requests need a token that [`ApiServer::identities`] knows and that is for the server; 401 without.
    pub closed: bool,
    /// How many changes it remembers.
    pub history: usize,
    /// How often watches get a bookmark without being asked, of kinds in which something has happened.
    pub bookmark_every: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self { kinds: SERVED.to_vec(), closed: false, history: 1000, bookmark_every: Duration::from_secs(60) }
    }
}

/// Why a server did not start.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on a loopback port")]
pub struct StartError(#[from] io::Error);

/// A running server; it ends when this is dropped.
#[derive(Debug)]
pub struct ApiServer {
    api: Arc<Api>,
    address: SocketAddr,
    /// Whether connections are let in; every change of it ends those that are open.
    open: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl ApiServer {
    /// Starts a server for every kind that this crate names.
    ///
    /// # Errors
    /// When no loopback port can be had.
    pub async fn start() -> Result<Self, StartError> {
        Self::start_with(Settings::default()).await
    }

    /// Starts a server.
    ///
    /// # Errors
    /// When no loopback port can be had.
    pub async fn start_with(settings: Settings) -> Result<Self, StartError> {
        let listener = TcpListener::bind((std::net::Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let bookmarks = tokio::time::interval(settings.bookmark_every);
        let api = Arc::new(Api::new(settings.kinds, settings.closed, Store::new(settings.history)));
        let (open, opened) = watch::channel(true);
        let task = tokio::spawn(serve(listener, bookmarks, Arc::clone(&api), opened));
        Ok(Self { api, address, open, task })
    }

    /// Its objects.
    #[must_use]
    pub fn store(&self) -> &Store {
        &self.api.store
    }

    /// What goes wrong with it.
    #[must_use]
    pub fn faults(&self) -> &Faults {
        &self.api.faults
    }

    /// Who is behind which token.
    #[must_use]
    pub fn identities(&self) -> &Identities {
        &self.api.identities
    }

    /// Who may do what, for those who ask: requests to this server need no grant.
    #[must_use]
    pub fn grants(&self) -> &Grants {
        &self.api.grants
    }

    /// Where the ports of pods are that clients ask to be forwarded to.
    #[must_use]
    pub fn forwards(&self) -> &Forwards {
        &self.api.forwards
    }

    /// Goes away: all connections end, and new ones are reset, until [`ApiServer::come_back`]. What happens from now
    /// on nobody is told.
    pub fn go_away(&self) {
        self.open.send_replace(false);
        self.api.store.forsake_watches();
        self.api.forwards.cut();
    }

    /// Comes back at the same address.
    pub fn come_back(&self) {
        self.open.send_replace(true);
    }

    /// How many requests of this kind and verb have arrived, those that failed included.
    #[must_use]
    pub fn requests(&self, kind: Kind, verb: Verb) -> u64 {
        self.api.requests(kind, verb)
    }

    /// What has been asked for at least once, as `verb resource.group`; compares with [`rights`](crate::rights).
    #[must_use]
    pub fn asked(&self) -> BTreeSet<String> {
        self.api.asked()
    }

    /// Its address as `http://127.0.0.1:PORT`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Where it listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// How a client of kube reaches it.
    ///
    /// # Panics
    /// Never: an address and port always make an URI.
    #[must_use]
    pub fn config(&self) -> kube::Config {
        #[expect(clippy::expect_used, reason = "an address and port always make an URI")]
        kube::Config::new(self.url().parse().expect("an address is an URI"))
    }

    /// Writes a kubeconfig file for it into `directory`.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write_kubeconfig(&self, directory: &Path) -> io::Result<PathBuf> {
        let config = json!({
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "testkit",
            "clusters": [{ "name": "testkit", "cluster": { "server": self.url() } }],
            "users": [{ "name": "testkit", "user": {} }],
            "contexts": [{ "name": "testkit", "context": { "cluster": "testkit", "user": "testkit" } }],
        });
        let path = directory.join("kubeconfig");
        std::fs::write(&path, config.to_string())?;
        Ok(path)
    }
}

impl Drop for ApiServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(listener: TcpListener, mut bookmarks: Interval, api: Arc<Api>, open: watch::Receiver<bool>) {
    let mut connections = JoinSet::new();
    bookmarks.reset();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((tcp, _)) if *open.borrow() => {
                    connections.spawn(connection(tcp, Arc::clone(&api), open.clone()));
                }
                // Reset at once: the client sees a server that is not there.
                Ok((tcp, _)) => drop(tcp.set_zero_linger()),
                // The client went away before it was let in.
                Err(_) => tokio::task::yield_now().await,
            },
            _ = bookmarks.tick() => api.store.bookmark_unasked(),
            Some(_) = connections.join_next() => {}
        }
    }
}

/// Serves one connection until either side ends it or the server goes away.
async fn connection(tcp: TcpStream, api: Arc<Api>, mut open: watch::Receiver<bool>) {
    let scissors = Scissors::new();
    let line = TokioIo::new(Line::new(tcp, Arc::clone(&scissors)));
    open.mark_unchanged();
    let opened = open.clone();
    let service = service_fn(move |request| {
        let (api, scissors, here) = (Arc::clone(&api), Arc::clone(&scissors), *opened.borrow());
        async move {
            if !here {
                // The connection ends in a moment.
                return pending().await;
            }
            Ok::<_, Infallible>(api.answer(request, scissors).await)
        }
    });
    tokio::select! {
        // A cut is an error to hyper and the point of the test.
        _ = hyper::server::conn::http1::Builder::new().serve_connection(line, service).with_upgrades() => {}
        _ = open.changed() => {}
    }
}
