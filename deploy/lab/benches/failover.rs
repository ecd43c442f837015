//! A compiler's machine loses power: how long until its agents have another one, and have its changes in force.
//!
//! Two compilers (the library, over TLS) and an agent (the real program), each in a network namespace of its own; a service's
//! address leads to either compiler by chance for each connection, as kube-proxy has it, and goes on doing so. The link of
//! the one that the agent is connected to is taken down, and a change is made at once.
//!
//! `deploy/bench failover [--rounds N] [--agent PATH] [--markdown]`

#[path = "programs/mod.rs"]
mod programs;

use std::io::Write as _;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use clap::Parser;
use flock_compiler::engine::Engine;
use flock_compiler::listen::{self, PreAuthLimiter, TlsSettings};
use flock_compiler::metrics::Metrics;
use flock_compiler::service::{self, Context};
use flock_compiler::source::Source as _;
use flock_compiler::source::manifests::ManifestsSource;
use flock_compiler::tls::Certificate;
use flock_convert::HostInterfaces;
use flock_lab::figures::{Cell, Progress, Table, machine, summary};
use flock_lab::{Family, Lab, Node};
use flock_proto::Outcome;
use tokio::runtime::Runtime;
use tokio::sync::{mpsc, watch};

use programs::support::process::Process;
use programs::support::programs::{AGENT, program};

/// What is promised, in seconds.
const BAR: f64 = 5.0;
/// The service's address and port.
const SERVICE: (&str, u16) = ("10.96.0.10", 7443);
/// What the compilers' certificate is for.
const NAME: &str = "flock-compiler.flock-system.svc";
/// A stream that lived this long was a healthy one to an agent. Beyond it rounds begin at different times of what is periodic.
const HEALTHY: Duration = Duration::from_millis(10_500);
/// The longest that anything may take.
const PATIENCE: Duration = Duration::from_secs(120);

/// How long an agent whose compiler's machine is gone is without one.
#[derive(Debug, Parser)]
#[command(name = "deploy/bench failover")]
struct Options {
    /// Rounds.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u16).range(1..))]
    rounds: u16,
    /// Another agent than the one that is built here.
    #[arg(long)]
    agent: Option<PathBuf>,
    /// Print Markdown.
    #[arg(long)]
    markdown: bool,
    /// What `cargo bench` passes.
    #[arg(long, hide = true)]
    bench: bool,
}

/// A compiler on a node of its own.
struct Compiler {
    node: Node,
    metrics: Arc<Metrics>,
    _stop: watch::Sender<bool>,
}

impl Compiler {
    fn start(
        node: Node,
        certificate: &Certificate,
        manifests: &Path,
        runtime: &Runtime,
    ) -> anyhow::Result<Self> {
        let address = SocketAddr::new(node.address(Family::V4), SERVICE.1);
        // A socket stays in the namespace that it was made in.
        let listener = node.enter(|| std::net::TcpListener::bind(address))??;
        listener.set_nonblocking(true)?;
        let metrics = Arc::new(Metrics::default());
        let (engine, handle) = Engine::new(Arc::clone(&metrics));
        let (events, incoming) = mpsc::channel(64);
        let (stop, stopping) = watch::channel(false);
        let context = Context::in_memory(handle, Arc::clone(&metrics), stopping);
        let secured = TlsSettings {
            config: certificate.server_config(&[b"h2"])?,
            limiter: PreAuthLimiter::default(),
            limit: Duration::from_secs(10),
            metrics: Arc::clone(&metrics),
        };
        let entered = runtime.enter();
        let listener = tokio::net::TcpListener::from_std(listener)?;
        runtime.spawn(ManifestsSource::new(manifests.to_owned(), HostInterfaces::None).run(events));
        runtime.spawn(engine.run(incoming));
        runtime.spawn(service::serve(listen::tls(listener, secured), context, std::future::pending()));
        drop(entered);
        Ok(Self { node, metrics, _stop: stop })
    }

    fn streams(&self) -> i64 {
        self.metrics.streams.get()
    }

    fn link(&self, state: &str) -> anyhow::Result<()> {
        Ok(self.node.ip(&[format!("link set eth0 {state}")])?)
    }
}

fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    if let Err(why) = Lab::available() {
        bail!("cannot measure: {why}");
    }
    let mut progress = Progress::new();
    let (folder, runtime) = (tempfile::tempdir()?, Runtime::new()?);
    let manifests = folder.path().join("manifests");
    std::fs::create_dir(&manifests)?;
    change(&manifests, 0)?;
    let certificate = Certificate::default();
    let made = rcgen::generate_simple_self_signed(vec![NAME.to_owned()])?;
    certificate.show(made.cert.pem().as_bytes(), made.signing_key.serialize_pem().as_bytes())?;
    let authority = folder.path().join("ca.crt");
    std::fs::write(&authority, made.cert.pem())?;

    let lab = Lab::new("failover").context("cannot make network namespaces")?;
    let compilers: Vec<Compiler> = ["a", "b"]
        .into_iter()
        .map(|name| Compiler::start(lab.node(name)?, &certificate, &manifests, &runtime))
        .collect::<anyhow::Result<_>>()?;
    let node = lab.node("n1")?;
    serve(&node, compilers.iter().map(|compiler| compiler.node.address(Family::V4)))?;
    let _agent = agent(&node, &options, &authority, folder.path());

    let (mut streams, mut changes) = (Vec::new(), Vec::new());
    for round in 1..=options.rounds {
        let what = format!("round {round} of {}", options.rounds);
        progress.say(format_args!("{what}: waiting for a stream that is healthy"));
        wait("one stream", || compilers.iter().map(Compiler::streams).sum::<i64>() == 1)?;
        std::thread::sleep(HEALTHY + Duration::from_millis(u64::from(round) * 370 % 2000));
        let at = compilers.iter().position(|compiler| compiler.streams() == 1).context("a stream")?;
        let (Some(lost), Some(left)) = (compilers.get(at), compilers.get(1 - at)) else {
            bail!("two compilers");
        };
        progress.say(format_args!("{what}: the machine is gone"));
        let applied = |compiler: &Compiler| compiler.metrics.acks(Outcome::Applied);
        let before = applied(left);
        let start = Instant::now();
        lost.link("down")?;
        change(&manifests, round)?;
        wait("another stream", || left.streams() == 1)?;
        streams.push(start.elapsed().as_secs_f64());
        wait("the change", || applied(left) > before)?;
        changes.push(start.elapsed().as_secs_f64());
        lost.link("up")?;
    }
    drop(progress);
    let mut out = std::io::stdout().lock();
    writeln!(out, "A compiler's machine loses power, {} rounds", options.rounds)?;
    writeln!(out, "{}\n", machine())?;
    drop(out);
    let mut table = Table::new(["seconds from that moment", "median", "p90", "most"]);
    for (name, samples) in
        [("until the agent has another stream", streams), ("until a change of then is in force", changes)]
    {
        let most = samples.iter().copied().fold(0.0, f64::max);
        let summary = summary(samples);
        table.row([
            name.into(),
            format!("{:.2}", summary.median).into(),
            format!("{:.2}", summary.p90).into(),
            Cell::at_most(format!("{most:.2}"), most, BAR),
        ]);
    }
    Ok(table.print(options.markdown)?)
}

/// Has the service's address lead to one of `endpoints` by chance, for each connection that is made on the node.
fn serve(node: &Node, endpoints: impl Iterator<Item = IpAddr>) -> anyhow::Result<()> {
    let endpoints: Vec<_> =
        endpoints.enumerate().map(|(number, address)| format!("{number} : {address}")).collect();
    let (service, port) = SERVICE;
    node.ip(&[format!("route add {service}/32 dev eth0")])?;
    let count = endpoints.len();
    let rule = format!(
        "ip daddr {service} tcp dport {port} dnat to numgen random mod {count} map {{ {} }}",
        endpoints.join(", ")
    );
    Ok(node.nft(&format!(
        "table ip service {{\n chain output {{\n type nat hook output priority -100;\n {rule}\n }}\n}}\n"
    ))?)
}

fn agent(node: &Node, options: &Options, authority: &Path, folder: &Path) -> Process {
    let agent = match &options.agent {
        Some(path) => path.clone().into_os_string(),
        None => program(AGENT).get_program().to_owned(),
    };
    let (service, port) = SERVICE;
    let mut command = Command::new("ip");
    command.args(["netns", "exec", node.system_name()]).arg(agent);
    command.args(["--node", "n1", "--server-name", NAME, "--compiler", &format!("https://{service}:{port}")]);
    command.arg("--ca-file").arg(authority);
    Process::start(command, folder)
}

/// Changes what the node enforces.
fn change(manifests: &Path, round: u16) -> anyhow::Result<()> {
    let [high, low] = round.to_be_bytes();
    let objects = serde_json::json!({ "apiVersion": "v1", "kind": "List", "items": [
        { "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": "shop" } },
        { "apiVersion": "v1", "kind": "Node", "metadata": { "name": "n1" } },
        {
            "apiVersion": "v1", "kind": "Pod",
            "metadata": { "namespace": "shop", "name": format!("web-{round}") },
            "spec": { "nodeName": "n1" },
            "status": { "phase": "Running", "podIPs": [{ "ip": format!("10.1.{high}.{low}") }] },
        },
        {
            "apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
            "metadata": { "namespace": "shop", "name": "deny" }, "spec": { "podSelector": {} },
        },
    ] });
    // Moved in, so that it is there as a whole or not at all.
    let written = manifests.with_file_name("objects.json");
    std::fs::write(&written, objects.to_string())?;
    Ok(std::fs::rename(written, manifests.join("objects.json"))?)
}

fn wait(what: &str, mut holds: impl FnMut() -> bool) -> anyhow::Result<()> {
    let start = Instant::now();
    while !holds() {
        if start.elapsed() > PATIENCE {
            bail!("waited in vain for {what}");
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    Ok(())
}
