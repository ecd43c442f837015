//! A compiler whose every word is the test's: what agents, flockctl and the CNI plugin's calls meet on a real port.
//!
//! ```text
//! agent ─ Subscribe ─▶ NodeServer ─▶ Session   (the test sends updates, and reads acks, facts, flows, sandboxes)
//! agent ─ Attach ────▶     "      ─▶ CniCall   (the test answers)
//! flockctl ──────────▶ DebugServer ◀─ DebugAnswers (the test says what is answered)
//! flockctl ──────────▶ AskServer ◀─── AskAnswers          "
//! ```
//!
//! Helpers panic as tests do: an answer that does not come within [`PATIENCE`] fails the test.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests may panic as tests do")]

mod ask;
mod blocking;
mod debug;
mod node;

use std::future::Future;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use flock_proto::v1::ask_service_server::AskServiceServer;
use flock_proto::v1::debug_service_server::DebugServiceServer;
use flock_proto::v1::node_service_server::NodeServiceServer;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::transport::{Identity, Server, ServerTlsConfig};

pub use ask::AskAnswers;
pub use blocking::{BlockingCompiler, BlockingSession};
pub use debug::{DebugAnswers, quiet, served};
pub use node::{CniCall, CniChange, Session};

use crate::patience::patient;
use crate::wait::within_real_time;
use ask::AskServer;
use debug::DebugServer;
use node::NodeServer;

/// The longest that a test waits for anything, but for the factor of the machine: far beyond what a slow one needs.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// What the certificate of a compiler behind TLS is for.
pub const NAME: &str = "flock-compiler.flock-system.svc";

/// Of calls that wait for a test's answer there may be more than a server takes by default.
const STREAMS: u32 = 1024;

/// What `work` gives; a test that would wait forever fails instead.
///
/// # Panics
/// When it takes longer than [`PATIENCE`] by the machine's clock.
pub async fn patiently<T>(work: impl Future<Output = T>) -> T {
    within_real_time(patient(PATIENCE), work).await.expect("this should have happened long ago")
}

/// A compiler that listens on a loopback port until it is dropped.
#[derive(Debug)]
pub struct FakeCompiler {
    /// Where it listens.
    pub address: SocketAddr,
    /// The certificate of its authority, PEM; empty without TLS.
    pub ca: String,
    /// What it answers to flockctl, and what flockctl has shown and asked.
    pub debug: Arc<DebugAnswers>,
    /// What it answers to questions about policy, and what was asked.
    pub ask: Arc<AskAnswers>,
    sessions: mpsc::UnboundedReceiver<Session>,
    calls: mpsc::UnboundedReceiver<CniCall>,
    server: JoinHandle<()>,
}

impl FakeCompiler {
    /// In plain text, on a free port.
    pub async fn start() -> Self {
        Self::start_at((Ipv4Addr::LOCALHOST, 0).into()).await
    }

    /// In plain text, at an address.
    pub async fn start_at(address: SocketAddr) -> Self {
        Self::serve(address, String::new(), None).await
    }

    /// Behind TLS, on a free port, with a certificate for [`NAME`] by an authority of its own.
    pub async fn start_tls() -> Self {
        let (ca, certificate, key) = certificates();
        let tls = ServerTlsConfig::new().identity(Identity::from_pem(certificate, key));
        Self::serve((Ipv4Addr::LOCALHOST, 0).into(), ca, Some(tls)).await
    }

    async fn serve(address: SocketAddr, ca: String, tls: Option<ServerTlsConfig>) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (session_inlet, sessions) = mpsc::unbounded_channel();
        let (call_inlet, calls) = mpsc::unbounded_channel();
        let debug = Arc::new(DebugAnswers::default());
        let ask = Arc::new(AskAnswers::default());
        let mut server = Server::builder().max_concurrent_streams(STREAMS);
        if let Some(tls) = tls {
            server = server.tls_config(tls).unwrap();
        }
        let serving = server
            .add_service(NodeServiceServer::new(NodeServer { sessions: session_inlet, calls: call_inlet }))
            .add_service(DebugServiceServer::new(DebugServer(Arc::clone(&debug))))
            .add_service(AskServiceServer::new(AskServer(Arc::clone(&ask))))
            .serve_with_incoming(TcpListenerStream::new(listener));
        let server = tokio::spawn(async { serving.await.unwrap() });
        Self { address, ca, debug, ask, sessions, calls, server }
    }

    /// Its URL in plain text.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The next stream that an agent opens.
    pub async fn session(&mut self) -> Session {
        patiently(self.sessions.recv()).await.unwrap()
    }

    /// The next call of what CNI did.
    pub async fn call(&mut self) -> CniCall {
        patiently(self.calls.recv()).await.unwrap()
    }

    /// Returns true if a call has come that nobody has looked at.
    #[must_use]
    pub fn is_called(&self) -> bool {
        !self.calls.is_empty()
    }

    /// Ends it, and with it the port.
    pub async fn stop(mut self) {
        self.server.abort();
        let _ = (&mut self.server).await;
    }
}

impl Drop for FakeCompiler {
    fn drop(&mut self) {
        self.server.abort();
    }
}

/// Of an authority; of the compiler by it, with its key.
fn certificates() -> (String, String, String) {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().unwrap();
    let ca = params.self_signed(&key).unwrap().pem();
    let issuer = Issuer::new(params, key);
    let key = KeyPair::generate().unwrap();
    let leaf = CertificateParams::new([NAME.to_owned()]).unwrap().signed_by(&key, &issuer).unwrap();
    (ca, leaf.pem(), key.serialize_pem())
}
