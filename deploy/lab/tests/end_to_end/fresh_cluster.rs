//! From `kubectl apply` to enforced where nothing was before: the agents' pods start before the compiler has made its
//! authorities. The API server, the compiler and the agents are real; kubelet's part is played here.
//!
//! What of kubelet matters, at its worst where it varies:
//! - it mounts volumes first, then pulls the image, then starts the container;
//! - a mount that fails (a key is required that its ConfigMap has not) is tried again after 0.5, 1, 2, 4 … s;
//! - a volume shows what its ConfigMap holds once the pod is synced: all 60 to 90 s, and when a container has ended;
//! - that a container has ended it notices within 1 s, and starts it at once the first time, then after 10, 20 … s. The volume
//!   may be refreshed just after that.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use flock_shared::access::{AGENT_ACCOUNT, AUDIENCE, CA_CONFIG_MAP, CA_KEY, NAMESPACE as OURS, SERVICE};
use flock_testkit::{AccountToken, CONFIG_MAP, NODE, POD};
use serde_json::json;
use tempfile::TempDir;

use crate::api::Api;
use crate::compiler::Compiler;
use crate::support::process::Process;
use crate::support::programs::{AGENT, program};

/// How a pod is told the authorities.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// The whole ConfigMap is mounted, and the agent waits.
    Waits,
    /// The key is required in the volume.
    RequiresKey,
    /// The whole ConfigMap is mounted, and the agent ends once.
    Exits,
}

/// When what happens, from `kubectl apply` on.
#[derive(Debug, Clone, Copy)]
struct Times {
    /// The compiler's image is there.
    compiler_image: Duration,
    /// So long the agent's image takes.
    agent_image: Duration,
}

const RESYNC: Duration = Duration::from_secs(75);
const FIRST_MOUNT_RETRY: Duration = Duration::from_millis(500);
const NOTICED: Duration = Duration::from_secs(1);
const FIRST_RESTART: Duration = Duration::from_secs(10);
const REFRESHED: Duration = Duration::from_millis(300);
const PERIOD: Duration = Duration::from_millis(20);
/// Takes every script.
const NFT: &str = "sh -c 'cat > /dev/null'";

/// A cluster whose objects were just applied.
struct Cluster {
    api: Api,
    directory: TempDir,
    applied: Instant,
    compiler: SocketAddr,
}

/// What came of a pod.
#[derive(Debug)]
struct Report {
    /// When kubelet's probe was told that the node enforces.
    ready: Duration,
    restarts: u32,
}

impl Cluster {
    fn new(nodes: &[&str]) -> Self {
        let api = Api::start();
        for node in nodes {
            api.put(NODE, json!({ "metadata": { "name": node } }));
            let metadata = json!({ "namespace": OURS, "name": format!("agent-{node}") });
            api.put(POD, json!({ "metadata": metadata, "spec": { "nodeName": node, "hostNetwork": true } }));
        }
        // As `install.yaml` has it: without data.
        api.put(CONFIG_MAP, json!({ "metadata": { "namespace": OURS, "name": CA_CONFIG_MAP } }));
        let (directory, compiler) = (tempfile::tempdir().unwrap(), address(250, 7443));
        Self { api, directory, applied: Instant::now(), compiler }
    }

    /// Starts the compiler once its image is there.
    fn compiler(&self, image: Duration) -> Compiler {
        self.wait(image);
        let kubeconfig = self.api.server.write_kubeconfig(self.directory.path()).unwrap();
        let options = ["--kubeconfig", kubeconfig.to_str().unwrap(), "--tls", "on"];
        Compiler::start_at(options, self.compiler, address(250, 7444), self.directory.path())
    }

    fn wait(&self, until: Duration) {
        thread::sleep(until.saturating_sub(self.applied.elapsed()));
    }

    fn authorities(&self) -> Option<String> {
        let map = self.api.server.store().get(CONFIG_MAP, OURS, CA_CONFIG_MAP)?;
        Some(map["data"][CA_KEY].as_str()?.to_owned())
    }

    /// What kubelet does with the agent's pod of a node, until it is ready.
    fn pod(&self, node: &str, way: Way, image: Duration, port: SocketAddr) -> Report {
        let volume = self.directory.path().join(format!("{node}.crt"));
        if way == Way::RequiresKey {
            let mut pause = FIRST_MOUNT_RETRY;
            while self.authorities().is_none() {
                thread::sleep(pause);
                pause *= 2;
            }
        }
        thread::sleep(image);
        let mut restarts = 0;
        loop {
            let mut container = self.container(node, way, &volume, port);
            let mut refresh_at = Instant::now() + if restarts == 0 { RESYNC } else { REFRESHED };
            if restarts == 0 {
                self.refresh(&volume);
            }
            while !container.has_ended() {
                if Instant::now() >= refresh_at {
                    self.refresh(&volume);
                    refresh_at += RESYNC;
                }
                if is_ready(port) {
                    return Report { ready: self.applied.elapsed(), restarts };
                }
                thread::sleep(PERIOD);
            }
            assert!(container.log().contains("--ca-refresh exit"), "{}", container.log());
            thread::sleep(NOTICED + FIRST_RESTART * restarts);
            restarts += 1;
        }
    }

    fn refresh(&self, volume: &Path) {
        if let Some(bundle) = self.authorities() {
            let beside = volume.with_extension("new");
            fs::write(&beside, bundle).unwrap();
            fs::rename(beside, volume).unwrap();
        }
    }

    fn container(&self, node: &str, way: Way, volume: &Path, port: SocketAddr) -> Process {
        let name = format!("agent-{node}");
        let pod = self.api.server.store().get(POD, OURS, &name).unwrap();
        let account = AccountToken::new(OURS, AGENT_ACCOUNT).audience(AUDIENCE).node(node);
        let account = account.pod(name, pod["metadata"]["uid"].as_str().unwrap());
        let token = self.directory.path().join(format!("{node}.token"));
        fs::write(&token, self.api.server.identities().issue(&account)).unwrap();
        let mut command = program(AGENT);
        command.args(["--node", node, "--nft", NFT, "--compiler", &format!("https://{}", self.compiler)]);
        command.args([
            "--server-name",
            &format!("{SERVICE}.{OURS}.svc"),
            "--health-listen",
            &port.to_string(),
        ]);
        command.arg("--ca-file").arg(volume).arg("--token-file").arg(token);
        command.args(["--ca-refresh", if way == Way::Exits { "exit" } else { "wait" }]);
        Process::start(command, self.directory.path())
    }
}

/// An address of this run's own.
fn address(number: u8, port: u16) -> SocketAddr {
    let [_, _, high, low] = std::process::id().to_be_bytes();
    (Ipv4Addr::new(127, 64 | high & 63, low, number), port).into()
}

/// Returns true if a probe is told that the node enforces.
fn is_ready(port: SocketAddr) -> bool {
    let Ok(mut stream) = TcpStream::connect(port) else { return false };
    let mut answer = String::new();
    write!(stream, "GET /readyz HTTP/1.1\r\nHost: node\r\n\r\n").is_ok()
        && stream.read_to_string(&mut answer).is_ok()
        && answer.starts_with("HTTP/1.1 200 ")
}

#[test]
fn an_agent_that_starts_before_the_authorities_restarts_once() {
    let cluster = Cluster::new(&["n1"]);
    thread::scope(|scope| {
        let pod = scope.spawn(|| cluster.pod("n1", Way::Exits, Duration::ZERO, address(251, 7445)));
        let _compiler = cluster.compiler(Duration::ZERO);
        assert_eq!(pod.join().unwrap().restarts, 1);
    });
}

/// The figures of node-agent/README.md; in real time.
#[test]
#[ignore = "a measurement of two minutes"]
fn how_long_each_way_takes() {
    let ways = [("n1", Way::Waits), ("n2", Way::RequiresKey), ("n3", Way::Exits)];
    let seconds = Duration::from_secs;
    for times in [
        Times { compiler_image: seconds(5), agent_image: seconds(5) },
        Times { compiler_image: seconds(20), agent_image: seconds(15) },
    ] {
        let cluster = Cluster::new(&ways.map(|(node, _)| node));
        thread::scope(|scope| {
            let pods = ways.map(|(node, way)| {
                let (cluster, port) = (&cluster, address(200 + node.as_bytes()[1] - b'0', 7445));
                scope.spawn(move || (way, cluster.pod(node, way, times.agent_image, port)))
            });
            let _compiler = cluster.compiler(times.compiler_image);
            let images = times.compiler_image.max(times.agent_image);
            for pod in pods {
                let (way, Report { ready, restarts }) = pod.join().unwrap();
                let (ready, beyond) = (ready.as_secs_f64(), ready.saturating_sub(images).as_secs_f64());
                println!(
                    "{times:?} {way:?}: ready after {ready:.1} s, {beyond:.1} s beyond images, {restarts} restarts"
                );
            }
        });
    }
}
