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
    /// Counts how often the machine behind it was exchanged.
    machine: watch::Sender<u64>,
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
        let (machine, machines) = watch::channel(0);
        let mut relaying = JoinSet::new();
        relaying.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (client, _) = listener.accept().await?;
                // A server that is not there is the client's to notice.
                if let Ok(server) = TcpStream::connect(server).await {
                    connections.spawn(swallowed(client, server, is_held.clone(), machines.clone()));
                }
            }
        });
        Ok(Self { address, held, machine, _relaying: relaying })
    }

    /// Where clients are to go.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// The machine of the server is gone, and another one has its address: connections that are open stay open, and
    /// whatever is sent on them is lost. New ones are the successor's.
    pub fn swallow(&self) {
        self.machine.send_modify(|count| *count += 1);
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

/// Relays until the machine is gone; then takes what the client sends, for as long as that keeps the connection.
async fn swallowed(
    mut client: TcpStream,
    server: TcpStream,
    held: watch::Receiver<bool>,
    mut machine: watch::Receiver<u64>,
) -> io::Result<()> {
    machine.mark_unchanged();
    tokio::select! {
        () = relay(&mut client, server, held) => return Ok(()),
        gone = machine.changed() => if gone.is_err() { return Ok(()) },
    }
    let mut buffer = vec![0; 4096];
    while client.read(&mut buffer).await? > 0 {}
    Ok(())
}

async fn relay(client: &mut TcpStream, server: TcpStream, mut held: watch::Receiver<bool>) {
    let (mut asked, mut told) = client.split();
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
