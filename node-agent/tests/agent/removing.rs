//! What `deploy/kubernetes/uninstall-restore.yaml` runs on a node, in its order: beside an agent nothing of the table goes,
//! after it everything does. `uninstall.yaml` is the same without the unit.

use std::fs;
use std::path::PathBuf;
use std::process::Output;

use flock_testkit::compiler::FakeCompiler;
use rustix::process::Signal;
use tempfile::TempDir;

use crate::kernel::Namespace;
use crate::process::{agent, end, signal};
use crate::stage::until;
use crate::updates::full;

const MANIFEST: &str = include_str!("../../../deploy/kubernetes/uninstall-restore.yaml");
const LIST: &str = "{\n  \"name\": \"a\",\n  \"cniVersion\": \"1.0.0\",\n  \"plugins\": [\n    {\"type\": \"ptp\"}\n  ]\n}\n";

/// A host that is a folder, and the network namespace of its tables.
struct Host {
    root: TempDir,
    nft: String,
}

impl Host {
    fn new(nft: String) -> Self {
        let host = Self { root: tempfile::tempdir().unwrap(), nft };
        for folder in ["etc/cni/net.d", "opt/cni/bin", "etc/systemd/system", "var/lib/flock"] {
            fs::create_dir_all(host.path(folder)).unwrap();
        }
        fs::write(host.list(), LIST).unwrap();
        host
    }

    fn path(&self, path: &str) -> PathBuf {
        self.root.path().join(path)
    }

    fn list(&self) -> PathBuf {
        self.path("etc/cni/net.d/10-a.conflist")
    }

    /// The arguments of a container, with this host's folders in the place of those that the container mounts.
    fn here(&self, arguments: &str) -> Vec<String> {
        let root = self.root.path().display();
        let words = arguments.split(", ").map(|word| {
            let word = word.replace("=/host", &format!("={root}"));
            word.replace("=/etc", &format!("={root}/etc")).replace("=/var", &format!("={root}/var"))
        });
        words.collect()
    }

    async fn run(&self, arguments: &str) -> Output {
        let mut arguments = self.here(arguments);
        if arguments.iter().any(|word| word == "--uninstall") {
            arguments.extend(["--nft".to_owned(), self.nft.clone()]);
        }
        end(agent(&arguments.iter().map(String::as_str).collect::<Vec<_>>()).spawn().unwrap()).await
    }

    /// Runs the init containers up to the first that fails, as a kubelet does; what failed.
    async fn remove(&self) -> Option<(&'static str, String)> {
        let (init, _) = MANIFEST.split_once("\n      containers:").unwrap();
        for arguments in containers(init) {
            let output = self.run(arguments).await;
            if !output.status.success() {
                return Some((arguments, String::from_utf8_lossy(&output.stderr).into_owned()));
            }
        }
        None
    }
}

/// The arguments of the containers in a part of the manifest.
fn containers(part: &'static str) -> impl Iterator<Item = &'static str> {
    part.lines().filter_map(|line| line.trim().strip_prefix("args: [")?.strip_suffix(']'))
}

#[tokio::test]
async fn a_node_is_clean_once_its_agent_has_gone_and_not_before() {
    let Some(namespace) = Namespace::new("removing") else { return };
    let host = Host::new(namespace.nft());
    let mut compiler = FakeCompiler::start().await;
    let (url, state) = (compiler.url(), host.path("var/lib/flock"));
    let state = state.to_str().unwrap();
    let arguments = ["--node", "n1", "--compiler", &url, "--nft", &host.nft, "--state-dir", state];
    let child = agent(&arguments).spawn().unwrap();
    let mut session = compiler.session().await;
    session.apply(full("a")).await;
    until(|| host.path("var/lib/flock/ruleset").exists()).await;
    // Any file: nobody runs it here.
    fs::write(host.path("plugin"), "a plugin").unwrap();
    let (plugin, bin) =
        (host.path("plugin").display().to_string(), host.path("opt/cni/bin").display().to_string());
    let install =
        format!("install-cni, --once, --binary={plugin}, --bin-dir={bin}, --conf-dir=/etc/cni/net.d");
    assert!(host.run(&install).await.status.success());
    assert!(fs::read_to_string(host.list()).unwrap().contains("flock-cni"));
    assert!(host.run("install-restore, --once, --host-root=/host").await.status.success());
    let unit = host.path("etc/systemd/system/flock-restore.service");
    assert!(unit.exists());

    let (step, words) = host.remove().await.unwrap();
    assert!(step.contains("--uninstall,") && words.contains("an agent is running"), "{step}: {words}");
    assert_eq!(
        fs::read_to_string(host.list()).unwrap(),
        LIST,
        "first of all no pod waits for an agent that goes"
    );
    assert!(namespace.holds("a") && unit.exists(), "a node whose agent runs is judged");

    signal(&child, Signal::TERM);
    drop(session);
    end(child).await;
    assert_eq!(host.remove().await, None);
    for table in ["inet flock_netpol", "bridge flock_netpol"] {
        assert!(!namespace.succeeds(&format!("list table {table}")), "{table}");
    }
    let left: Vec<_> = fs::read_dir(state).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(
        (left.len(), unit.exists(), host.path("opt/flock/bin").exists()),
        (0, false, false),
        "{left:?}"
    );
    assert!(host.path("opt/cni/bin/flock-cni").exists(), "pods that were started with it end with it");

    // What the pod does then: whoever puts the plugin back has it taken out.
    let (_, main) = MANIFEST.split_once("\n      containers:").unwrap();
    let keeping = host.here(containers(main).next().unwrap());
    let keeping = agent(&keeping.iter().map(String::as_str).collect::<Vec<_>>()).spawn().unwrap();
    for _ in 0..2 {
        assert!(host.run(&install).await.status.success());
        until(|| fs::read_to_string(host.list()).unwrap() == LIST).await;
    }
    signal(&keeping, Signal::TERM);
    assert_eq!(end(keeping).await.status.code(), Some(0));
    assert_eq!(fs::read_to_string(host.list()).unwrap(), LIST);
}
