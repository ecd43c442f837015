//! A stretch of network between a client and a server, which can be held up.

use std::io;
use std::net::SocketAddr;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, copy};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::server::StartError;

/// Relays connections to a server; what the server says waits while it is held. It ends when this is dropped.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    held: watch::Sender<bool>,
    _relaying: JoinSet<io::Result<()>>,
}

impl Proxy {
    /// Starts one in front of `server`.
    ///
    /// # Errors
    /// When no loopback port can be had.
    pub async fn start(server: SocketAddr) -> Result<Self, StartError> {
        let listener = TcpListener::bind((std::net::Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let (held, is_held) = watch::channel(false);
        let mut relaying = JoinSet::new();
        relaying.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (client, _) = listener.accept().await?;
                // A server that is not there is the client's to notice.
                if let Ok(server) = TcpStream::connect(server).await {
                    connections.spawn(relay(client, server, is_held.clone()));
                }
            }
        });
        Ok(Self { address, held, _relaying: relaying })
    }

    /// Where clients are to go.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// From now on nothing arrives that the server says …
    pub fn hold(&self) {
        self.held.send_replace(true);
    }

    /// … until now, when all of it does.
    pub fn release(&self) {
        self.held.send_replace(false);
    }
}

async fn relay(client: TcpStream, server: TcpStream, mut held: watch::Receiver<bool>) {
    let (mut asked, mut told) = client.into_split();
    let (mut answers, mut asking) = server.into_split();
    let forward = copy(&mut asked, &mut asking);
    let back = async {
        let mut buffer = vec![0; 4096];
        while let Ok(length @ 1..) = answers.read(&mut buffer).await {
            let released = held.wait_for(|held| !held).await.is_ok();
            if !released || told.write_all(&buffer[..length]).await.is_err() {
                return;
            }
        }
    };
    tokio::select! { _ = forward => {}, () = back => {} }
}
