//! An agent that starts before the compiler's authorities are there.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use flock_node_agent::authorities::CaRefresh;
use flock_node_agent::run::{Config, RunError};
use flock_node_agent::state::StateDir;
use flock_shared::NodeName;
use flock_shared::dial::Trust;
use flock_testkit::compiler::{FakeCompiler, NAME, patiently};
use tempfile::TempDir;
use tokio::net::TcpListener;

use crate::fake_nft::FakeNft;
use crate::health::{address, listen, probe};
use crate::saved::journal;
use crate::stream::{Agent, config};
use crate::survival::{called, leap};
use crate::updates::{full, revision};

/// What mounts the authorities, and an nft.
struct Site {
    folder: TempDir,
    nft: FakeNft,
    health: SocketAddr,
}

impl Site {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap(), nft: FakeNft::new(), health: address() }
    }

    fn ca_file(&self) -> std::path::PathBuf {
        self.folder.path().join("ca.crt")
    }

    /// An agent that calls the compiler at `port` over TLS.
    fn agent(&self, compiler: &FakeCompiler, at: SocketAddr, ca_refresh: CaRefresh) -> Agent {
        Agent::start(Config {
            compilers: vec![format!("https://{at}").parse().unwrap()],
            trust: Some(Trust { ca_file: self.ca_file(), server_name: Some(NAME.to_owned()) }),
            state_dir: Some(self.folder.path().join("state")),
            health_listen: listen(self.health),
            ca_refresh,
            ..config(compiler, &self.nft.command())
        })
    }

    /// Lets the agent look often; fails if it ends over that.
    async fn waits(&self, agent: &Agent) {
        for _ in 0..20 {
            leap(Duration::from_secs(2)).await;
            tokio::time::sleep(Duration::from_millis(10)).await;
            assert!(!agent.is_finished());
        }
        let (status, body) = probe(self.health, "/readyz").await;
        assert_eq!(status, 503, "{body}");
    }
}

fn save(folder: &Path) {
    let dir = StateDir::open(folder, &NodeName::new("n1").unwrap()).unwrap();
    dir.store(&journal(&["a"]), None).unwrap();
}

#[tokio::test]
async fn it_ends_once_the_compiler_is_there_and_the_rules_stay() {
    let (site, compiler) = (Site::new(), FakeCompiler::start_tls().await);
    save(&site.folder.path().join("state"));
    std::fs::write(site.ca_file(), "\n").unwrap();
    let agent = site.agent(&compiler, compiler.address, CaRefresh::Exit);
    let ended = agent.end().await.unwrap_err();
    assert_eq!(ended, RunError::NoAuthorities { path: site.ca_file() });
    assert!(ended.to_string().contains("--ca-refresh exit"), "{ended}");
    assert!(site.nft.holds(&revision("a")) && site.nft.runs() == 1, "what was saved came first");
}

#[tokio::test]
async fn it_waits_while_nobody_shows_a_certificate() {
    let (site, mut compiler) = (Site::new(), FakeCompiler::start_tls().await);
    // Listens, and has no certificate yet, as a compiler that waits for its API server.
    let bare = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = bare.local_addr().unwrap();
    let closing = tokio::spawn(async move {
        loop {
            drop(bare.accept().await);
        }
    });
    let agent = site.agent(&compiler, at, CaRefresh::Exit);
    site.waits(&agent).await;
    let (_, body) = probe(site.health, "/readyz").await;
    assert!(body.contains("authorities are not in"), "{body}");
    closing.abort();
    site.waits(&agent).await;
    agent.stop().await;

    // By default the file is waited for, whoever is there.
    let agent = site.agent(&compiler, compiler.address, CaRefresh::Wait);
    site.waits(&agent).await;
    std::fs::write(site.ca_file(), &compiler.ca).unwrap();
    let mut session = compiler.session().await;
    session.apply(full("b")).await;
    agent.stop().await;
}

#[tokio::test]
async fn it_never_ends_while_it_has_a_bundle() {
    let (site, mut compiler) = (Site::new(), FakeCompiler::start_tls().await);
    let other = FakeCompiler::start_tls().await;
    std::fs::write(site.ca_file(), &other.ca).unwrap();
    let agent = site.agent(&compiler, compiler.address, CaRefresh::Exit);
    site.waits(&agent).await;
    let (_, body) = probe(site.health, "/readyz").await;
    assert!(body.contains("away: "), "{body}");
    // As it is while authorities are exchanged: the old one and the new one.
    std::fs::write(site.ca_file(), format!("{}{}", other.ca, compiler.ca)).unwrap();
    let mut session = called(&mut compiler).await;
    patiently(session.apply(full("a"))).await;
    agent.stop().await;
}
