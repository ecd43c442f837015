//! Listens for connections and accepts them.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use futures::stream::{Stream, unfold};
use tokio::net::{TcpListener, TcpSocket, TcpStream};

/// How long nothing is accepted after an error that is not about one connection. Those are about this process (no
/// file descriptors, no memory) and come back at once.
const PAUSE: Duration = Duration::from_millis(100);

/// Connections that may wait to be accepted, as far as the kernel allows (`net.core.somaxconn`): all agents come back at
/// once after a restart, and one that finds no place tries again only after a second.
const BACKLOG: u32 = 16_384;

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

/// Connections as they come; never ends. Small messages are not held back (no delay).
pub(super) fn incoming(listener: TcpListener) -> impl Stream<Item = io::Result<TcpStream>> + Send {
    unfold(listener, async |listener| {
        loop {
            match listener.accept().await.and_then(|(stream, _)| stream.set_nodelay(true).map(|()| stream)) {
                Ok(stream) => return Some((Ok(stream), listener)),
                Err(error) if is_about_one_connection(&error) => {}
                Err(error) => {
                    tracing::warn!(%error, "cannot accept connections");
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    })
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
