//! A kube-apiserver with a store of its own, for as long as the tests run.

use std::env;
use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256};

/// How long both may take to start.
const START: Duration = Duration::from_secs(90);
/// Ends both, and takes their folder away, when the end of its standard input tells that the tests have ended, however.
const KEEPER: &str = r#"
cd "$1" || exit 1
etcd=$2 apiserver=$3 clients=$4 peers=$5 port=$6
"$etcd" --data-dir etcd --listen-client-urls "$clients" --advertise-client-urls "$clients" \
    --listen-peer-urls "$peers" --initial-advertise-peer-urls "$peers" --initial-cluster "default=$peers" \
    --unsafe-no-fsync >etcd.log 2>&1 &
first=$!
"$apiserver" --etcd-servers "$clients" --bind-address 127.0.0.1 --secure-port "$port" --cert-dir certs \
    --token-auth-file tokens --authorization-mode RBAC --service-cluster-ip-range 10.96.0.0/24 \
    --service-account-issuer https://kubernetes.default.svc --service-account-key-file accounts.pub \
    --service-account-signing-key-file accounts.key --disable-admission-plugins ServiceAccount \
    >apiserver.log 2>&1 &
second=$!
read -r _
kill "$second" "$first"
wait
cd / && rm -rf "$1"
"#;

/// Where it is and the token of somebody who may do everything.
#[derive(Debug, Clone)]
pub(crate) struct Server {
    pub(crate) url: String,
    pub(crate) token: String,
}

/// The server that the environment names: its URL with a token, or the program, which is started once for all tests.
pub(crate) fn server() -> Option<Server> {
    let named = env::var("FLOCK_KUBE_APISERVER").ok()?;
    if named.starts_with("https://") {
        return Some(Server { url: named, token: env::var("FLOCK_KUBE_TOKEN").ok()? });
    }
    static STARTED: OnceLock<(Server, Child)> = OnceLock::new();
    let (server, _) = STARTED.get_or_init(|| {
        let etcd = env::var("FLOCK_ETCD").unwrap_or_else(|_| "etcd".to_owned());
        start(&named, &etcd)
    });
    Some(server.clone())
}

/// A port that nobody has.
fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn start(apiserver: &str, etcd: &str) -> (Server, Child) {
    let folder = tempfile::tempdir().unwrap().keep();
    let keys = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
    // Random, as another key is.
    let other = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap().public_key_raw().to_vec();
    let token: String = other.iter().skip(1).take(32).map(|byte| format!("{byte:02x}")).collect();
    write(&folder, "accounts.key", &keys.serialize_pem());
    write(&folder, "accounts.pub", &keys.public_key_pem());
    write(&folder, "tokens", &format!("{token},flock,flock,\"system:masters\"\n"));
    let [clients, peers] = [free_port(), free_port()].map(|port| format!("http://127.0.0.1:{port}"));
    let port = free_port();
    let mut keeper = Command::new("sh");
    keeper.args(["-c", KEEPER, "keeper"]).arg(&folder).args([
        etcd,
        apiserver,
        &clients,
        &peers,
        &port.to_string(),
    ]);
    let child = keeper.stdin(Stdio::piped()).spawn().unwrap();
    let start = Instant::now();
    // It writes its certificate before it listens, and answers once the store does.
    while !is_ready(port) {
        let log = |name: &str| fs::read_to_string(folder.join(name)).unwrap_or_default();
        assert!(start.elapsed() < START, "{}\n{}", log("etcd.log"), log("apiserver.log"));
        std::thread::sleep(Duration::from_millis(200));
    }
    (Server { url: format!("https://127.0.0.1:{port}"), token }, child)
}

fn write(folder: &Path, name: &str, text: &str) {
    fs::write(folder.join(name), text).unwrap();
}

/// Returns true if the server lets connections in: requests that come then wait for the rest of its start.
fn is_ready(port: u16) -> bool {
    std::net::TcpStream::connect(("127.0.0.1", port)).is_ok()
}
