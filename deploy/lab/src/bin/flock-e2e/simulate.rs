//! What stands in for a cluster's nodes: network namespaces, with the compiler and agents as they are installed, and a kubelet's
//! part of the work: pods that are bound get a sandbox, servers and addresses, their probes are made, and their status says so.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use flock_lab::{Lab, Node, Pod, Probe, Protocol, Verdict, probe_all};
use k8s_openapi::api::core::v1::{Node as NodeObject, Pod as PodObject, Service};
use kube::Client;
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams, PostParams};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio::time::sleep;

use crate::cast::{self, LABEL, Run, Who};
use crate::cluster::{Attempt, Reach};

/// Between two looks of a kubelet.
const LOOK: Duration = Duration::from_millis(50);
/// Between two probes of one pod.
const PROBE: Duration = Duration::from_millis(200);
/// How long a pod's first act is tried, as a client's SYN is sent again.
const ACT: Duration = Duration::from_millis(1500);
/// What the services' rules of a node are called.
const PROXY: &str = "flock_e2e_proxy";
/// How long a program may take to say that it listens.
const START: Duration = Duration::from_secs(20);
const GRACE: Duration = Duration::from_secs(5);

/// The sandboxes of pods, by namespace and name of the pod.
#[derive(Default)]
pub(crate) struct Sandboxes(Mutex<BTreeMap<(String, String), Pod>>, String);

impl Sandboxes {
    fn all(&self) -> std::sync::MutexGuard<'_, BTreeMap<(String, String), Pod>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What becomes of connections of pods, all at once.
    pub(crate) fn try_all(&self, attempts: &[Attempt]) -> Result<Vec<Reach>> {
        let probes: Vec<Probe> = {
            let all = self.all();
            let probe = |Attempt { from, protocol, to }: &Attempt| {
                let key = (format!("flock-e2e-{}-{}", self.1, from.namespace()), from.name().to_owned());
                let pod = all.get(&key).with_context(|| format!("no sandbox of {}/{}", key.0, key.1))?;
                let protocol = match protocol {
                    cast::Protocol::Tcp => Protocol::Tcp,
                    cast::Protocol::Udp => Protocol::Udp,
                };
                anyhow::Ok(Probe::new(pod, protocol, to.ip(), to.port()))
            };
            attempts.iter().map(probe).collect::<Result<_>>()?
        };
        let verdict = |verdict| match verdict {
            Verdict::Reached => Reach::Reached,
            Verdict::Dropped => Reach::Dropped,
        };
        Ok(probe_all(&probes)?.into_iter().map(verdict).collect())
    }
}

/// A program that ends with this.
struct Program(Child, PathBuf);

impl Program {
    fn start(program: &Path, arguments: &[&str], logs: &Path, name: &str) -> Result<Self> {
        let log = logs.join(format!("{name}.log"));
        let file = std::fs::File::create(&log)?;
        let mut command = Command::new(program);
        // Options can be variables, too, and those of this process are not meant for the program.
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("FLOCK_"))
        {
            command.env_remove(name);
        }
        // In a group of its own: Ctrl-C is this process's to act on.
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        command.args(arguments).stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file);
        let child = command.spawn().with_context(|| format!("starting {}", program.display()))?;
        Ok(Self(child, log))
    }

    /// The first line with this in it.
    async fn line(&mut self, text: &str) -> Result<String> {
        let start = Instant::now();
        loop {
            let log = std::fs::read_to_string(&self.1)?;
            // Whole lines only: the program may be in the middle of one.
            if let Some(line) =
                log.split_inclusive('\n').find(|line| line.contains(text) && line.ends_with('\n'))
            {
                return Ok(line.to_owned());
            }
            if self.0.try_wait()?.is_some() || start.elapsed() > START {
                bail!("{} says no {text:?}:\n{log}", self.1.display());
            }
            sleep(LOOK).await;
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = kill(Pid::from_raw(self.0.id().cast_signed()), Signal::SIGTERM);
        let start = Instant::now();
        while start.elapsed() < GRACE && matches!(self.0.try_wait(), Ok(None)) {
            std::thread::sleep(Duration::from_millis(10));
        }
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The nodes and all that runs on them. Dropping it ends all of it; the lab goes last.
pub(crate) struct Simulation {
    kubelet: JoinHandle<()>,
    nodes: Vec<String>,
    programs: Vec<Program>,
    pub(crate) sandboxes: Arc<Sandboxes>,
    /// What a look at it needs to know.
    pub(crate) hints: String,
    _lab: Lab,
    _logs: TempDir,
}

impl Simulation {
    /// Makes two nodes, their objects, a compiler that follows the API server, and their agents.
    pub(crate) async fn start(
        client: &Client,
        kubeconfig: &Path,
        programs: &Path,
        run: &str,
    ) -> Result<Self> {
        Lab::available().map_err(|why| anyhow::anyhow!("--simulate {why}"))?;
        let logs = tempfile::tempdir()?;
        let lab = Lab::new("e2e")?;
        let mut made = Vec::new();
        let objects: Api<NodeObject> = Api::all(client.clone());
        for (number, letter) in ["a", "b"].into_iter().enumerate() {
            let name = format!("e2e-{run}-{letter}");
            let blocks = blocks(number);
            let object = json!({
                "metadata": { "name": name, "labels": { (LABEL): run } },
                "spec": { "podCIDR": blocks[0], "podCIDRs": blocks },
            });
            objects.create(&PostParams::default(), &serde_json::from_value(object)?).await?;
            made.push((name.clone(), lab.node(letter)?));
        }
        let kubeconfig = kubeconfig.to_string_lossy();
        let any = ["--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"];
        let serve = [&["serve", "--kubeconfig", &kubeconfig][..], &any].concat();
        let mut compiler = Program::start(&programs.join("flock-compiler"), &serve, logs.path(), "compiler")?;
        let line = compiler.line(" listening ").await?;
        let address = line.split_whitespace().find_map(|word| word.strip_prefix("listen="));
        let url = format!("http://{}", address.context("no address in the compiler's log")?);
        let mut running = vec![compiler];
        for (name, node) in &made {
            let nft = node.nft_command();
            let state = logs.path().join(name).display().to_string();
            let arguments = ["--node", name, "--compiler", &url, "--nft", &nft, "--state-dir", &state];
            let agent = programs.join("flock-node-agent");
            running.push(Program::start(&agent, &arguments, logs.path(), name)?);
        }
        let namespaces: Vec<_> =
            made.iter().map(|(name, node)| format!("{name}: {}", node.nft_command())).collect();
        let hints = format!(
            "API server: {kubeconfig}\ncompiler:   flockctl --compiler {url} nodes\nlogs:       {}\nrules of    {}",
            logs.path().display(),
            namespaces.join("\n            ")
        );
        let sandboxes = Arc::new(Sandboxes(Mutex::default(), run.to_owned()));
        let nodes: Vec<String> = made.iter().map(|(name, _)| name.clone()).collect();
        let kubelet = Kubelet {
            client: client.clone(),
            run: run.to_owned(),
            nodes: made,
            sandboxes: Arc::clone(&sandboxes),
            pods: BTreeMap::new(),
            given: 0,
            services: BTreeSet::new(),
        };
        let kubelet = tokio::spawn(kubelet.work());
        Ok(Self { kubelet, nodes, programs: running, sandboxes, hints, _lab: lab, _logs: logs })
    }

    /// The names of the nodes.
    pub(crate) fn nodes(&self) -> Vec<String> {
        self.nodes.clone()
    }

    /// Fails, with its log, if one of the programs has ended.
    pub(crate) fn ensure_running(&mut self) -> Result<()> {
        for Program(child, log) in &mut self.programs {
            let ended = child.try_wait()?;
            ensure!(ended.is_none(), "{ended:?}: {}", std::fs::read_to_string(log)?);
        }
        Ok(())
    }
}

impl Simulation {
    /// Ends all of it: the kubelet first, which works with what goes then.
    pub(crate) async fn end(mut self) {
        self.kubelet.abort();
        // Aborted, it has nothing to say.
        drop((&mut self.kubelet).await);
    }
}

impl Drop for Simulation {
    fn drop(&mut self) {
        self.kubelet.abort();
    }
}

/// Deletes the Node objects of a run, however far its start has come.
pub(crate) async fn delete_nodes(client: &Client, run: &str) -> Result<()> {
    let objects: Api<NodeObject> = Api::all(client.clone());
    let ours = ListParams::default().labels(&format!("{LABEL}={run}"));
    for name in objects.list(&ours).await?.items.into_iter().filter_map(|node| node.metadata.name) {
        objects.delete(&name, &DeleteParams::default()).await?;
    }
    Ok(())
}

/// The pod CIDRs of a node.
fn blocks(node: usize) -> [String; 2] {
    [format!("10.{}.0.0/24", 101 + node), format!("fd00:{}::/64", 101 + node)]
}

/// What is known of a pod that has a sandbox.
struct Running {
    key: (String, String),
    node: usize,
    pod: Pod,
    addresses: Vec<IpAddr>,
    /// Ports that the kubelet probes.
    probed: Vec<u16>,
    /// How its first act has ended; `None`: it runs on.
    act: Option<JoinHandle<bool>>,
    /// What its status says: the phase, and if it is ready.
    said: Option<(&'static str, bool)>,
    looked: Option<Instant>,
}

/// Both nodes' kubelets and their kube-proxies.
struct Kubelet {
    client: Client,
    run: String,
    nodes: Vec<(String, Node)>,
    sandboxes: Arc<Sandboxes>,
    /// By UID.
    pods: BTreeMap<String, Running>,
    /// How many addresses were given; none is given twice.
    given: u16,
    services: BTreeSet<(String, u16, SocketAddr)>,
}

impl Kubelet {
    async fn work(mut self) {
        let mut last = String::new();
        loop {
            let done = match self.look().await {
                Ok(()) => self.proxy().await,
                failed => failed,
            };
            let error = done.err().map(|error| format!("{error:#}")).unwrap_or_default();
            if error != last && !error.is_empty() {
                let _ = writeln!(std::io::stderr().lock(), "flock-e2e: simulated kubelet: {error}");
            }
            last = error;
            sleep(LOOK).await;
        }
    }

    /// Brings sandboxes and statuses to what the pods say.
    async fn look(&mut self) -> Result<()> {
        let api: Api<PodObject> = Api::all(self.client.clone());
        let ours = ListParams::default().labels(&format!("{LABEL}={}", self.run));
        let listed = api.list(&ours).await?.items;
        let mut there = BTreeSet::new();
        for pod in listed {
            let pod = serde_json::to_value(&pod)?;
            let uid = text(&pod, "/metadata/uid");
            if pod.pointer("/metadata/deletionTimestamp").is_some() {
                self.end(&uid)?;
                let pods: Api<PodObject> =
                    Api::namespaced(self.client.clone(), &text(&pod, "/metadata/namespace"));
                // The kubelet's word that nothing runs any more.
                let now = DeleteParams::default().grace_period(0);
                let _ = pods.delete(&text(&pod, "/metadata/name"), &now).await;
                continue;
            }
            there.insert(uid.clone());
            let node = text(&pod, "/spec/nodeName");
            if !self.pods.contains_key(&uid)
                && let Some(number) = self.nodes.iter().position(|(name, _)| *name == node)
            {
                self.start(&uid, number, &pod)?;
            }
        }
        let gone: Vec<String> = self.pods.keys().filter(|uid| !there.contains(*uid)).cloned().collect();
        gone.iter().try_for_each(|uid| self.end(uid))?;
        let known: Vec<String> = self.pods.keys().cloned().collect();
        for uid in known {
            self.report(&uid).await?;
        }
        Ok(())
    }

    fn start(&mut self, uid: &str, number: usize, pod: &Value) -> Result<()> {
        let Some((_, node)) = self.nodes.get(number) else { return Ok(()) };
        self.given += 1;
        let given = 1 + self.given;
        let net = 101 + number;
        let addresses: Vec<IpAddr> =
            vec![format!("10.{net}.0.{given}").parse()?, format!("fd00:{net}::{given:x}").parse()?];
        let sandbox = node.pod(&format!("pod{given}"), &addresses)?;
        let (mut served, mut probed, mut act) = (Vec::new(), Vec::new(), None);
        for container in pod.pointer("/spec/containers").and_then(Value::as_array).into_iter().flatten() {
            let arguments: Vec<&str> =
                container["args"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
            let option = |name: &str| arguments.iter().find_map(|word| word.strip_prefix(name));
            let port = |name: &str| option(name).and_then(|port| port.parse::<u16>().ok());
            match arguments.first() {
                Some(&"netexec") => {
                    served.extend(port("--http-port=").map(|port| (Protocol::Tcp, port)));
                    served.extend(port("--udp-port=").map(|port| (Protocol::Udp, port)));
                    let probe = container.pointer("/readinessProbe/tcpSocket/port").and_then(Value::as_u64);
                    probed.extend(probe.and_then(|port| u16::try_from(port).ok()));
                }
                Some(&"connect") => {
                    let to: SocketAddr = arguments.last().copied().unwrap_or_default().parse()?;
                    let sandbox = sandbox.clone();
                    act = Some(tokio::task::spawn_blocking(move || first_act(&sandbox, to)));
                }
                _ => {}
            }
        }
        sandbox.serve(&served)?;
        let key = (text(pod, "/metadata/namespace"), text(pod, "/metadata/name"));
        self.sandboxes.all().insert(key.clone(), sandbox.clone());
        let running =
            Running { key, node: number, pod: sandbox, addresses, probed, act, said: None, looked: None };
        self.pods.insert(uid.to_owned(), running);
        Ok(())
    }

    fn end(&mut self, uid: &str) -> Result<()> {
        let Some(running) = self.pods.remove(uid) else { return Ok(()) };
        self.sandboxes.all().remove(&running.key);
        Ok(running.pod.delete()?)
    }

    /// Looks how a pod is, and says it where that is news.
    async fn report(&mut self, uid: &str) -> Result<()> {
        let Some(running) = self.pods.get_mut(uid) else { return Ok(()) };
        let is_over = matches!(running.said, Some(("Succeeded" | "Failed", _)));
        if is_over || running.looked.is_some_and(|at| at.elapsed() < PROBE) {
            return Ok(());
        }
        running.looked = Some(Instant::now());
        let ended = match running.act.as_mut() {
            Some(act) if act.is_finished() => Some(act.await?),
            _ => None,
        };
        let now = match ended {
            Some(true) => ("Succeeded", false),
            Some(false) => ("Failed", false),
            None => {
                let Some((_, node)) = self.nodes.get(running.node) else { return Ok(()) };
                let probes: Vec<Probe> = running
                    .addresses
                    .iter()
                    .flat_map(|&address| {
                        let ports = running.probed.iter();
                        ports.map(move |&port| Probe::new(node, Protocol::Tcp, address, port))
                    })
                    .collect();
                ("Running", probe_all(&probes)?.iter().all(|verdict| *verdict == Verdict::Reached))
            }
        };
        if running.said == Some(now) {
            return Ok(());
        }
        let (phase, is_ready) = now;
        let addresses: Vec<Value> = running.addresses.iter().map(|ip| json!({ "ip": ip })).collect();
        let ready = if is_ready { "True" } else { "False" };
        let status = json!({ "status": {
            "phase": phase,
            "podIP": running.addresses.first(),
            "podIPs": addresses,
            "conditions": [{ "type": "Ready", "status": ready }],
        } });
        let pods: Api<PodObject> = Api::namespaced(self.client.clone(), &running.key.0);
        match pods.patch_status(&running.key.1, &PatchParams::default(), &Patch::Merge(status)).await {
            // Deleted meanwhile.
            Err(kube::Error::Api(status)) if status.code == 404 => {}
            said => drop(said?),
        }
        running.said = Some(now);
        Ok(())
    }

    /// Has both nodes send what is for a service to a pod of it, as kube-proxy does.
    async fn proxy(&mut self) -> Result<()> {
        let api: Api<Service> = Api::all(self.client.clone());
        let ours = ListParams::default().labels(&format!("{LABEL}={}", self.run));
        let mut wanted = BTreeSet::new();
        for service in api.list(&ours).await?.items {
            let service = serde_json::to_value(&service)?;
            let (namespace, role) =
                (text(&service, "/metadata/namespace"), text(&service, "/spec/selector/role"));
            let number =
                |at: &str| service.pointer(at).and_then(Value::as_u64).and_then(|it| u16::try_from(it).ok());
            let all = self.sandboxes.all();
            // A role is the name of the pod that has it.
            let address = all.get(&(namespace, role)).and_then(|pod| pod.addresses().first().copied());
            if let (Some(address), Some(port), Some(target)) =
                (address, number("/spec/ports/0/port"), number("/spec/ports/0/targetPort"))
            {
                wanted.insert((text(&service, "/spec/clusterIP"), port, SocketAddr::new(address, target)));
            }
        }
        if wanted == self.services {
            return Ok(());
        }
        let rules: String = wanted
            .iter()
            .map(|(address, port, to)| format!("ip daddr {address} tcp dport {port} dnat to {to}\n"))
            .collect();
        let chain = format!("chain prerouting {{\ntype nat hook prerouting priority dstnat\n{rules}}}\n");
        // Named first, since to delete a table that is missing fails.
        let script = format!("table ip {PROXY}\ndelete table ip {PROXY}\ntable ip {PROXY} {{\n{chain}}}\n");
        self.nodes.iter().try_for_each(|(_, node)| node.nft(&script))?;
        self.services = wanted;
        Ok(())
    }
}

/// Connects from the first moment on, as long as a client's SYN is sent again; returns true if it came through.
fn first_act(sandbox: &Pod, to: SocketAddr) -> bool {
    let start = Instant::now();
    while start.elapsed() < ACT {
        if matches!(Probe::new(sandbox, Protocol::Tcp, to.ip(), to.port()).run(), Ok(Verdict::Reached)) {
            return true;
        }
    }
    false
}

fn text(object: &Value, at: &str) -> String {
    object.pointer(at).and_then(Value::as_str).unwrap_or_default().to_owned()
}

/// The run's cast on these nodes.
pub(crate) fn run(id: String, image: String, nodes: Vec<String>) -> Run {
    debug_assert!(Who::ALL.iter().all(|who| who.place() < 2));
    Run { id, image, nodes }
}
