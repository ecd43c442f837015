//! TLS handshakes: many at once, each within a time limit, none in the way of another.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use futures::stream::{Stream, unfold};
use rustls::{InvalidMessage, ServerConfig};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::Incoming;
use super::acceptor::Acceptor;
use super::pre_auth::PreAuthLimiter;
use super::unauthenticated::Admitted;
use crate::metrics::Metrics;
use crate::throttle::Throttle;

/// Failures that are logged in each span of time. All are counted.
const LOGGED: (u32, Duration) = (20, Duration::from_secs(10));

/// How TLS is spoken.
#[derive(Debug, Clone)]
pub struct TlsSettings {
    /// Certificates and versions.
    pub config: Arc<ServerConfig>,
    /// Limits before authentication.
    pub limiter: PreAuthLimiter,
    /// How long a handshake may take.
    pub limit: Duration,
    /// Counts handshakes that fail.
    pub metrics: Arc<Metrics>,
}

struct Accepting {
    acceptor: Acceptor,
    secured: TlsSettings,
    log: Arc<Throttle>,
    handshakes: JoinSet<Option<Incoming<TlsStream<TcpStream>>>>,
}

/// Connections whose handshake is done, as they come; never ends.
pub fn tls(
    listener: TcpListener,
    secured: TlsSettings,
) -> impl Stream<Item = io::Result<Incoming<TlsStream<TcpStream>>>> + Send {
    let log = Arc::new(Throttle::new(LOGGED.0, LOGGED.1));
    let acceptor = Acceptor::new(listener, secured.limiter.clone(), Arc::clone(&secured.metrics));
    unfold(Accepting { acceptor, secured, log, handshakes: JoinSet::new() }, async |mut accepting| {
        let incoming = accepting.next().await;
        Some((Ok(incoming), accepting))
    })
}

impl Accepting {
    async fn next(&mut self) -> Incoming<TlsStream<TcpStream>> {
        loop {
            // Accepting goes on whatever handshakes do: each is a task, and only its end is awaited here.
            tokio::select! {
                (stream, peer, admitted) = self.acceptor.next() => {
                    let (secured, log) = (self.secured.clone(), Arc::clone(&self.log));
                    self.handshakes.spawn(handshake(stream, peer, admitted, secured, log));
                }
                Some(done) = self.handshakes.join_next() => if let Ok(Some(incoming)) = done {
                    return incoming;
                },
            }
        }
    }
}

async fn handshake(
    stream: TcpStream,
    peer: IpAddr,
    Admitted { unauthenticated, permit, .. }: Admitted,
    TlsSettings { config, limit, metrics, .. }: TlsSettings,
    log: Arc<Throttle>,
) -> Option<Incoming<TlsStream<TcpStream>>> {
    // An evicted connection is not finished first: the handshake is what it costs.
    let shaken = tokio::select! {
        shaken = timeout(limit, TlsAcceptor::from(config).accept(stream)) => shaken,
        () = unauthenticated.evicted() => return None,
    };
    let (why, reason) = match shaken {
        Ok(Ok(io)) => {
            return Some(Incoming {
                io,
                peer: Some(peer),
                unauthenticated: Some(unauthenticated),
                permit: Some(permit),
            });
        }
        Ok(Err(error)) if is_no_tls(&error) => ("not_tls", "the peer does not speak TLS".to_owned()),
        Ok(Err(error)) => ("handshake_failed", error.to_string()),
        Err(_) => ("handshake_timed_out", format!("no handshake within {limit:?}")),
    };
    metrics.denied(why);
    if let Some(kept_back) = log.pass(why) {
        tracing::warn!(%peer, kind = why, ?reason, kept_back, "denied");
    }
    None
}

fn is_no_tls(error: &io::Error) -> bool {
    let error = error.get_ref().and_then(|error| error.downcast_ref::<rustls::Error>());
    matches!(error, Some(rustls::Error::InvalidMessage(InvalidMessage::InvalidContentType)))
}
