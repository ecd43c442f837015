//! The compiler in a process of its own: the library's engine and services on a cluster that is made in memory.
//!
//! The bench starts itself again as that process and talks to it by lines: `change N` adds a pod that reaches every
//! node and waits for N acknowledgements, the end of input ends it.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use flock_compiler::engine::Engine;
use flock_compiler::listen::{self, PreAuthLimiter};
use flock_compiler::metrics::Metrics;
use flock_compiler::service::{self, Context};
use flock_proto::Outcome;
use tokio::sync::{mpsc, watch};

use crate::clock;
use crate::cluster::{self, Shape};
use crate::secured::{self, Protection};
use crate::usage::Usage;

/// How often the process looks whether every acknowledgement has come, which bounds the error of that time.
const LOOK: Duration = Duration::from_millis(1);

/// The process, seen from the bench. Dropping it kills it.
pub(crate) struct Compiler {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    /// Where agents dial.
    pub(crate) address: SocketAddr,
}

/// When a change was made, and when the compiler had its last acknowledgement.
pub(crate) struct Change {
    pub(crate) made: Duration,
    pub(crate) acknowledged: Duration,
}

impl Compiler {
    /// Starts the process; port 0 lets it choose. With a kubeconfig it speaks TLS and asks for tokens, which the API server
    /// reviews.
    pub(crate) fn start(shape: Shape, port: u16, kubeconfig: Option<&Path>) -> anyhow::Result<Self> {
        let mut child = Command::new(std::env::current_exe()?)
            .args(["serve", &shape.nodes.to_string(), &shape.pods.to_string(), &port.to_string()])
            .args(kubeconfig)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot start the compiler's process")?;
        let input = child.stdin.take().context("no pipe to the compiler")?;
        let output = BufReader::new(child.stdout.take().context("no pipe from the compiler")?);
        let mut compiler =
            Self { child, input, output, address: SocketAddr::from((Ipv4Addr::LOCALHOST, port)) };
        let port = compiler.answer("listening")?.parse()?;
        compiler.address.set_port(port);
        Ok(compiler)
    }

    /// Waits until the cluster has been translated; when that was.
    pub(crate) fn ready(&mut self) -> anyhow::Result<Duration> {
        nanoseconds(&self.answer("ready")?)
    }

    /// Makes a change that reaches every node and waits for `agents` acknowledgements of it.
    pub(crate) fn change(&mut self, agents: usize) -> anyhow::Result<Change> {
        writeln!(self.input, "change {agents}")?;
        let made = nanoseconds(&self.answer("made")?)?;
        let acknowledged = nanoseconds(&self.answer("acknowledged")?)?;
        Ok(Change { made, acknowledged })
    }

    pub(crate) fn usage(&self) -> anyhow::Result<Usage> {
        Usage::of(self.child.id())
    }

    fn answer(&mut self, name: &str) -> anyhow::Result<String> {
        let mut line = String::new();
        if self.output.read_line(&mut line)? == 0 {
            bail!("the compiler's process has ended");
        }
        let value = line.trim().strip_prefix(name).with_context(|| format!("{line:?} instead of {name}"))?;
        Ok(value.trim().to_owned())
    }
}

impl Drop for Compiler {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn nanoseconds(text: &str) -> anyhow::Result<Duration> {
    Ok(Duration::from_nanos(text.parse()?))
}

/// The process itself.
pub(crate) fn serve(mut arguments: impl Iterator<Item = String>) -> anyhow::Result<()> {
    let mut number = || -> anyhow::Result<usize> {
        Ok(arguments.next().context("serve NODES PODS PORT [KUBECONFIG]")?.parse()?)
    };
    let shape = Shape { nodes: number()?, pods: number()? };
    let port = u16::try_from(number()?)?;
    let kubeconfig = arguments.next().map(PathBuf::from);
    let (commands, incoming) = mpsc::channel(1);
    std::thread::spawn(move || {
        for line in std::io::stdin().lines().map_while(Result::ok) {
            if commands.blocking_send(line).is_err() {
                return;
            }
        }
    });
    let running = run(shape, port, kubeconfig, incoming);
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(running)
}

async fn run(
    shape: Shape,
    port: u16,
    kubeconfig: Option<PathBuf>,
    mut commands: mpsc::Receiver<String>,
) -> anyhow::Result<()> {
    let say = |name: &str, value: u128| writeln!(std::io::stdout().lock(), "{name} {value}");
    let listener = listen::listen(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))?;
    say("listening", listener.local_addr()?.port().into())?;

    let metrics = Arc::new(Metrics::default());
    let (engine, handle) = Engine::new(Arc::clone(&metrics));
    let (events, incoming) = mpsc::channel(4096);
    tokio::spawn(engine.run(incoming));
    let (_stop, stopping) = watch::channel(false);
    let context = Context::in_memory(handle.clone(), Arc::clone(&metrics), stopping);
    match kubeconfig {
        None => {
            let connections =
                listen::plain_limited(listener, PreAuthLimiter::default(), Arc::clone(&metrics));
            tokio::spawn(service::serve(connections, context, std::future::pending()));
        }
        Some(kubeconfig) => {
            let Protection { access, secured } = secured::protection(&kubeconfig, &metrics).await?;
            let context = Context { access, ..context };
            let connections = listen::tls(listener, secured);
            tokio::spawn(service::serve(connections, context, std::future::pending()));
        }
    }
    for event in cluster::listings(shape)? {
        events.send(event).await?;
    }
    handle.readiness().wait_for(|ready| *ready).await?;
    say("ready", clock::now().as_nanos())?;

    let mut changes = 0;
    while let Some(command) = commands.recv().await {
        let agents: u64 = command.strip_prefix("change ").context("change N")?.parse()?;
        let awaited = metrics.acks(Outcome::Applied) + agents;
        let event = cluster::reaching_all(shape, changes)?;
        changes += 1;
        say("made", clock::now().as_nanos())?;
        events.send(event).await?;
        while metrics.acks(Outcome::Applied) < awaited {
            tokio::time::sleep(LOOK).await;
        }
        say("acknowledged", clock::now().as_nanos())?;
    }
    Ok(())
}
