//! Listens for connections and accepts them.

mod doorway;
mod handshake;

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use futures::stream::{Stream, unfold};
use tokio::net::{TcpListener, TcpSocket, TcpStream};

pub use doorway::{Doorway, Stranger};
pub use handshake::{Secured, secured};

/// How long nothing is accepted after an error that is not about one connection. Those are about this process (no
/// file descriptors, no memory) and come back at once.
const PAUSE: Duration = Duration::from_millis(100);

/// Connections that may wait to be accepted, as far as the kernel allows (`net.core.somaxconn`): all agents come back at
/// once after a restart, and one that finds no place tries again only after a second.
const BACKLOG: u32 = 16_384;

/// A connection that has come.
#[derive(Debug)]
pub struct Arrival<C> {
    /// The connection.
    pub io: C,
    /// Whose it is, if it has an address.
    pub peer: Option<IpAddr>,
    /// Until its peer has shown who it is, where that is asked.
    pub stranger: Option<Stranger>,
}

impl<C> Arrival<C> {
    /// A connection whose peer need not show who it is.
    pub const fn known(io: C, peer: Option<IpAddr>) -> Self {
        Self { io, peer, stranger: None }
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

/// Connections as they come, in plain text; never ends.
pub fn plain(listener: TcpListener) -> impl Stream<Item = io::Result<Arrival<TcpStream>>> + Send {
    unfold(listener, async |listener| {
        let (io, peer) = accept(&listener).await;
        Some((Ok(Arrival::known(io, Some(peer))), listener))
    })
}

/// The next connection. Small messages are not held back (no delay).
async fn accept(listener: &TcpListener) -> (TcpStream, IpAddr) {
    loop {
        let accepted = listener.accept().await;
        match accepted.and_then(|(stream, peer)| stream.set_nodelay(true).map(|()| (stream, peer.ip()))) {
            Ok(accepted) => return accepted,
            Err(error) if is_about_one_connection(&error) => {}
            Err(error) => {
                tracing::warn!(%error, "cannot accept connections");
                tokio::time::sleep(PAUSE).await;
            }
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
