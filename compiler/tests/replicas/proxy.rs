//! A stretch of network between a replica and the API server, which can be held up.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, copy};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// Relays connections; what the server says waits while it is held.
pub(super) struct Proxy {
    pub(super) address: SocketAddr,
    held: watch::Sender<bool>,
    _relaying: JoinSet<()>,
}

impl Proxy {
    pub(super) async fn start(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (held, is_held) = watch::channel(false);
        let mut relaying = JoinSet::new();
        relaying.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (client, _) = listener.accept().await.unwrap();
                let server = TcpStream::connect(server).await.unwrap();
                connections.spawn(relay(client, server, is_held.clone()));
            }
        });
        Self { address, held, _relaying: relaying }
    }

    pub(super) fn hold(&self) {
        self.held.send_replace(true);
    }

    pub(super) fn release(&self) {
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
