//! A cluster with a compiler in it, a kubeconfig of two contexts, and flockctl.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use flock_shared::access::{CA_CONFIG_MAP, CA_KEY, CLIENT_ACCOUNT, NAMESPACE, PORT, SERVICE};
use flock_testkit::compiler::FakeCompiler;
use flock_testkit::{ApiServer, CONFIG_MAP, Identity, POD, SERVICE_ACCOUNT, Settings};
use serde_json::{Value, json};
use tempfile::TempDir;

/// What the API server knows the user by.
pub(crate) const USER_TOKEN: &str = "the-token-of-alice";

pub(crate) struct Site {
    pub(crate) api: ApiServer,
    pub(crate) compiler: FakeCompiler,
    pub(crate) directory: TempDir,
}

/// How the program ended, and what it said.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Site {
    /// Everything is as it should be.
    pub(crate) async fn start() -> Self {
        let mut settings = Settings { closed: true, ..Settings::default() };
        settings.kinds.extend(crate::check::KINDS);
        settings.kinds.push(crate::questions::ENDPOINT_SLICE);
        let api = ApiServer::start_with(settings).await.unwrap();
        api.identities().register(USER_TOKEN, Identity::user("alice"));
        let compiler = FakeCompiler::start_tls().await;
        let site = Self { api, compiler, directory: TempDir::new().unwrap() };
        let account = json!({ "metadata": { "namespace": NAMESPACE, "name": CLIENT_ACCOUNT } });
        site.api.store().put(SERVICE_ACCOUNT, account).unwrap();
        site.publish(&json!({ CA_KEY: site.compiler.ca }));
        site.pod("compiler-a", "True", site.compiler.address);
        site.write_kubeconfig(&json!({ "token": USER_TOKEN }));
        site
    }

    /// Puts a pod of the compiler, whose port leads to `address`.
    pub(crate) fn pod(&self, name: &str, ready: &str, address: SocketAddr) {
        let labels = json!({ "app.kubernetes.io/name": SERVICE });
        let pod = json!({
            "metadata": { "namespace": NAMESPACE, "name": name, "labels": labels },
            "spec": { "containers": [] },
            "status": { "phase": "Running", "conditions": [{ "type": "Ready", "status": ready }] },
        });
        self.api.store().put(POD, pod).unwrap();
        self.api.forwards().add(NAMESPACE, name, PORT, address);
    }

    /// Publishes the certificates of the authorities.
    pub(crate) fn publish(&self, data: &Value) {
        let metadata = json!({ "namespace": NAMESPACE, "name": CA_CONFIG_MAP });
        self.api.store().put(CONFIG_MAP, json!({ "metadata": metadata, "data": data })).unwrap();
    }

    pub(crate) fn kubeconfig(&self) -> PathBuf {
        self.directory.path().join("kubeconfig")
    }

    /// Two contexts of one user: `here`, which is current and whose namespace is not the compiler's, and `elsewhere`,
    /// where nobody listens.
    pub(crate) fn write_kubeconfig(&self, user: &Value) {
        let cluster = |name: &str, server: &str| json!({ "name": name, "cluster": { "server": server } });
        let context = |name: &str| json!({ "name": name, "context": { "cluster": name, "user": "alice", "namespace": "shop" } });
        let config = json!({
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "here",
            "clusters": [cluster("here", &self.api.url()), cluster("elsewhere", "http://127.0.0.1:1")],
            "users": [{ "name": "alice", "user": user }],
            "contexts": [context("here"), context("elsewhere")],
        });
        std::fs::write(self.kubeconfig(), config.to_string()).unwrap();
    }

    /// flockctl that finds the kubeconfig by `$KUBECONFIG`.
    pub(crate) fn flockctl(&self, arguments: &str) -> Command {
        let mut command = bare(env!("CARGO_BIN_EXE_flockctl"), self.directory.path());
        command.env("KUBECONFIG", self.kubeconfig()).args(arguments.split_whitespace());
        command
    }

    pub(crate) async fn run(&self, arguments: &str) -> Ended {
        end(self.flockctl(arguments)).await
    }

    /// What it prints; it must succeed.
    pub(crate) async fn prints(&self, arguments: &str) -> String {
        let ended = self.run(arguments).await;
        assert_eq!((ended.code, &*ended.stderr), (Some(0), ""), "{arguments}: {ended:?}");
        ended.stdout
    }

    /// What it complains in one line where there is no way to the compiler; it must print nothing else.
    pub(crate) async fn complains(&self, arguments: &str) -> String {
        self.fails(3, arguments).await
    }

    /// What it complains in one line where it cannot be asked like this; it must print nothing else.
    pub(crate) async fn refuses(&self, arguments: &str) -> String {
        self.fails(2, arguments).await
    }

    async fn fails(&self, code: i32, arguments: &str) -> String {
        let ended = self.run(arguments).await;
        assert_eq!((ended.code, &*ended.stdout), (Some(code), ""), "{arguments}: {ended:?}");
        assert_eq!(ended.stderr.lines().count(), 1, "{arguments}: {ended:?}");
        assert!(!ended.stderr.contains(USER_TOKEN) && !ended.stderr.contains("eyJ"), "{ended:?}");
        ended.stderr.strip_prefix("flockctl: ").expect("its name").trim_end().to_owned()
    }
}

/// A program without this machine's settings.
pub(crate) fn bare(program: &str, home: &Path) -> Command {
    let mut command = Command::new(program);
    let ours = |name: &str| name.starts_with("FLOCK_") || name == "KUBECONFIG" || name.ends_with("_PROXY");
    for (name, _) in std::env::vars_os().filter(|(name, _)| ours(&name.to_string_lossy().to_uppercase())) {
        command.env_remove(name);
    }
    command.env("HOME", home);
    command
}

/// Runs a program to its end.
pub(crate) async fn end(mut command: Command) -> Ended {
    let output = tokio::task::spawn_blocking(move || command.output()).await.unwrap();
    let Output { status, stdout, stderr } = output.unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Ended { code: status.code(), stdout: text(stdout), stderr: text(stderr) }
}
