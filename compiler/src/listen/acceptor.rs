//! Accepts connections as they come, whatever else goes on: none waits in the kernel for another one to end.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::time::sleep;

use super::pre_auth::PreAuthLimiter;
use super::unauthenticated::Admitted;
use crate::metrics::Metrics;
use crate::throttle::Throttle;

/// How long nothing is accepted after an error that is about this process (no file descriptors, no memory) and comes back at
/// once: until a connection that was told to go has gone, or something else has.
const PAUSE: Duration = Duration::from_millis(10);

/// Errors that are logged in each span of time.
const LOGGED: (u32, Duration) = (2, Duration::from_secs(10));

/// A port, and the limits of those that come to it.
#[derive(Debug)]
pub(super) struct Acceptor {
    listener: TcpListener,
    limiter: PreAuthLimiter,
    metrics: Arc<Metrics>,
    log: Throttle,
}

impl Acceptor {
    pub(super) const fn new(listener: TcpListener, limiter: PreAuthLimiter, metrics: Arc<Metrics>) -> Self {
        Self { listener, limiter, metrics, log: Throttle::new(LOGGED.0, LOGGED.1) }
    }

    /// The next connection that was let in, and its peer's address.
    pub(super) async fn next(&self) -> (TcpStream, IpAddr, Admitted) {
        loop {
            let (stream, peer) = match accept(&self.listener).await {
                Ok(accepted) => accepted,
                Err(error) => {
                    if let Some(kept_back) = self.log.pass("accept") {
                        tracing::warn!(%error, kept_back, "cannot accept connections");
                    }
                    // Where files have run out, an evicted connection gives its own back.
                    if self.limiter.evict_one() {
                        self.metrics.dropped("crowding");
                    }
                    sleep(PAUSE).await;
                    continue;
                }
            };
            let local = stream.local_addr().map(|local| local.ip()).ok();
            let Some(admitted) = Admitted::new(&self.limiter, peer, local) else {
                self.metrics.dropped("no_room");
                if let Some(kept_back) = self.log.pass("no room") {
                    tracing::warn!(%peer, kept_back, "as many connections are open as there may be: refused");
                }
                continue;
            };
            if admitted.crowded {
                self.metrics.dropped("crowding");
            }
            return (stream, peer, admitted);
        }
    }
}

/// The next connection. Small messages are not held back (no delay).
///
/// # Errors
/// One that is not about a single connection.
pub(super) async fn accept(listener: &TcpListener) -> io::Result<(TcpStream, IpAddr)> {
    loop {
        let accepted = listener.accept().await;
        match accepted.and_then(|(stream, peer)| stream.set_nodelay(true).map(|()| (stream, peer.ip()))) {
            Err(error) if is_about_one_connection(&error) => {}
            accepted => return accepted,
        }
    }
}

fn is_about_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{
        BrokenPipe, ConnectionAborted, ConnectionReset, Interrupted, InvalidInput, NotConnected,
    };
    matches!(
        error.kind(),
        ConnectionAborted | ConnectionReset | BrokenPipe | NotConnected | InvalidInput | Interrupted
    )
}
