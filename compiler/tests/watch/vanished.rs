//! A server that vanishes: its machine is gone, nobody says so, and another one has its address. Connections that are open
//! swallow what is sent, and stay open. The same in plain text and over TLS; HTTP/2, in which all watches would share one
//! connection, is not spoken.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use flock_compiler::source::kubernetes::WatchSettings;
use flock_testkit::{POD, Proxy};
use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use super::harness::{Cluster, server, settings};
use super::objects::pod;

/// Shorter than those that are shipped, in the same proportions.
fn short() -> WatchSettings {
    WatchSettings {
        watch_timeout: Duration::from_secs(2),
        silence: Duration::from_millis(2400),
        answer: Duration::from_secs(1),
        ..settings()
    }
}

async fn is_noticed(cluster: &mut Cluster, proxy: &Proxy) {
    cluster.settle().await;
    for round in 0..2 {
        proxy.swallow();
        // The one that has its address knows what has happened since.
        cluster.put(POD, pod("a", &format!("since-{round}"), 90 + round));
        cluster.settle().await;
        assert_eq!(cluster.listings(), [1; 5], "they resume where they were");
    }
    assert!(cluster.statistics.pods.failures() > 0, "it was noticed");
}

#[tokio::test]
async fn a_machine_that_is_gone_without_a_word_is_noticed_by_its_silence() {
    let server = server().await;
    let proxy = Proxy::start(server.address()).await.unwrap();
    let mut cluster = Cluster::watch_at(server, proxy.address(), short());
    is_noticed(&mut cluster, &proxy).await;
}

/// Ends TLS in front of a server, and tells which protocol was agreed on.
struct Front {
    address: SocketAddr,
    certificate: CertificateDer<'static>,
    agreed: mpsc::UnboundedReceiver<Option<Vec<u8>>>,
    _tasks: JoinSet<()>,
}

impl Front {
    async fn start(server: SocketAddr) -> Self {
        let own = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
        let certificate = own.cert.der().clone();
        let key = PrivatePkcs8KeyDer::from(own.signing_key.serialize_der());
        let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.clone()], key.into())
            .unwrap();
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (tell, agreed) = mpsc::unbounded_channel();
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((tcp, _)) = listener.accept().await {
                let (acceptor, tell) = (acceptor.clone(), tell.clone());
                connections.spawn(async move {
                    let Ok(mut tls) = acceptor.accept(tcp).await else { return };
                    let _ = tell.send(tls.get_ref().1.alpn_protocol().map(<[u8]>::to_vec));
                    let Ok(mut server) = TcpStream::connect(server).await else { return };
                    let _ = copy_bidirectional(&mut tls, &mut server).await;
                });
            }
        });
        Self { address, certificate, agreed, _tasks: tasks }
    }
}

#[tokio::test]
async fn the_same_over_tls_and_every_watch_has_a_connection_of_its_own() {
    let server = server().await;
    let mut front = Front::start(server.address()).await;
    let proxy = Proxy::start(front.address).await.unwrap();
    let mut config = kube::Config::new(format!("https://{}", proxy.address()).parse().unwrap());
    config.root_cert = Some(vec![front.certificate.to_vec()]);
    let mut cluster = Cluster::watch_by(server, config, short());
    is_noticed(&mut cluster, &proxy).await;
    while let Ok(agreed) = front.agreed.try_recv() {
        assert_ne!(agreed.as_deref(), Some(&b"h2"[..]), "in one connection, one that is lost would be all");
    }
}
