//! Listens for connections and accepts them.
//!
//! ```text
//! Acceptor ─▶ PreAuthLimiter ─▶ TLS handshake ─▶ Incoming ─▶ service or admin, until the peer is authenticated
//!             lets in, evicts    within a limit
//! ```

mod acceptor;
mod eviction;
mod known_addresses;
mod pre_auth;
mod tls;
mod unauthenticated;

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use futures::stream::{Stream, unfold};
use tokio::net::{TcpListener, TcpSocket, TcpStream};

pub use pre_auth::PreAuthLimiter;
pub use tls::{TlsSettings, tls};
pub use unauthenticated::{Authenticated, ConnectionPermit, Unauthenticated};

use self::acceptor::Acceptor;
use self::unauthenticated::Admitted;
use crate::metrics::Metrics;

/// Connections that may wait to be accepted, as far as the kernel allows (`net.core.somaxconn`): all agents come back at
/// once after a restart, and one that finds no place tries again only after a second.
const BACKLOG: u32 = 16_384;

/// A connection that has come.
#[derive(Debug)]
pub struct Incoming<C> {
    /// The connection.
    pub io: C,
    /// The peer's address, if it has one.
    pub peer: Option<IpAddr>,
    /// Its place until the peer is authenticated, where that is asked.
    pub unauthenticated: Option<Unauthenticated>,
    /// Its room, for as long as it is open.
    pub permit: Option<ConnectionPermit>,
}

impl<C> Incoming<C> {
    /// A connection whose peer need not authenticate.
    pub const fn trusted(io: C, peer: Option<IpAddr>) -> Self {
        Self { io, peer, unauthenticated: None, permit: None }
    }

    /// A connection that was let in within limits.
    fn limited(io: C, peer: IpAddr, admitted: Admitted) -> Self {
        let Admitted { unauthenticated, permit, .. } = admitted;
        Self { io, peer: Some(peer), unauthenticated: Some(unauthenticated), permit: Some(permit) }
    }
}

/// Listens on `address`.
///
/// # Errors
/// What the system says.
pub fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    // A port whose last owner has just gone may be used again.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Connections as they come, in plain text; never ends. Limits before authentication are its own.
pub fn plain(listener: TcpListener) -> impl Stream<Item = io::Result<Incoming<TcpStream>>> + Send {
    plain_limited(listener, PreAuthLimiter::default(), Arc::default())
}

/// The same within the limits of `limiter`; `metrics` count those that are evicted.
pub fn plain_limited(
    listener: TcpListener,
    limiter: PreAuthLimiter,
    metrics: Arc<Metrics>,
) -> impl Stream<Item = io::Result<Incoming<TcpStream>>> + Send {
    unfold(Acceptor::new(listener, limiter, metrics), async |acceptor| {
        let (io, peer, admitted) = acceptor.next().await;
        Some((Ok(Incoming::limited(io, peer, admitted)), acceptor))
    })
}
