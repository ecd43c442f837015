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

use super::doorway::{Doorway, Stranger};
use super::{Arrival, accept};
use crate::metrics::Metrics;
use crate::throttle::Throttle;

/// Failures that are logged in each span of time. All are counted.
const LOGGED: (u32, Duration) = (20, Duration::from_secs(10));

/// How TLS is spoken.
#[derive(Debug, Clone)]
pub struct Secured {
    /// Certificates and versions.
    pub config: Arc<ServerConfig>,
    /// Counts those who have not shown who they are.
    pub doorway: Doorway,
    /// How long a handshake may take.
    pub limit: Duration,
    /// Counts handshakes that fail.
    pub metrics: Arc<Metrics>,
}

struct Accepting {
    listener: TcpListener,
    secured: Secured,
    log: Arc<Throttle>,
    handshakes: JoinSet<Option<Arrival<TlsStream<TcpStream>>>>,
}

/// Connections whose handshake is done, as they come; never ends.
pub fn secured(
    listener: TcpListener,
    secured: Secured,
) -> impl Stream<Item = io::Result<Arrival<TlsStream<TcpStream>>>> + Send {
    let log = Arc::new(Throttle::new(LOGGED.0, LOGGED.1));
    unfold(Accepting { listener, secured, log, handshakes: JoinSet::new() }, async |mut accepting| {
        let arrival = accepting.next().await;
        Some((Ok(arrival), accepting))
    })
}

impl Accepting {
    async fn next(&mut self) -> Arrival<TlsStream<TcpStream>> {
        let doorway = &self.secured.doorway;
        loop {
            let room = async { (doorway.room().await, accept(&self.listener).await) };
            tokio::select! {
                (room, (stream, peer)) = room => {
                    let (stranger, crowded) = doorway.enter(peer, room);
                    if crowded {
                        self.secured.metrics.dropped("crowding");
                    }
                    let (secured, log) = (self.secured.clone(), Arc::clone(&self.log));
                    self.handshakes.spawn(handshake(stream, stranger, peer, secured, log));
                }
                Some(done) = self.handshakes.join_next() => if let Ok(Some(arrival)) = done {
                    return arrival;
                },
            }
        }
    }
}

async fn handshake(
    stream: TcpStream,
    stranger: Stranger,
    peer: IpAddr,
    Secured { config, limit, metrics, .. }: Secured,
    log: Arc<Throttle>,
) -> Option<Arrival<TlsStream<TcpStream>>> {
    let shaken = tokio::select! {
        shaken = timeout(limit, TlsAcceptor::from(config).accept(stream)) => shaken,
        () = stranger.evicted() => return None,
    };
    let (why, reason) = match shaken {
        Ok(Ok(io)) => return Some(Arrival { io, peer: Some(peer), stranger: Some(stranger) }),
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
