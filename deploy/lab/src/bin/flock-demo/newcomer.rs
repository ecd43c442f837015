//! A pod that starts: its network is made, and the CNI plugin called as a container runtime does; who it reaches, from the
//! first instant on.

use std::io::{self, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use flock_lab::Pod;
use serde_json::{Value, json};

use crate::control::socket;
use crate::interrupt::Interrupt;
use crate::manifests::{Manifests, uid};
use crate::network::Network;
use crate::process::sibling;
use crate::scenario::{NEWCOMER, NEWCOMER_MAY, NEWCOMER_MAY_NOT};

/// The compiler looks for changed files five times a second; an API server tells at once.
const KNOWN: Duration = Duration::from_millis(400);
/// How long an attempt to connect waits, and for how long there are more of them once the pod has started.
const ATTEMPT: Duration = Duration::from_millis(10);
const GOES_ON: Duration = Duration::from_secs(1);
/// Longer than a connection takes whose first packet passes; TCP sends the second after a second.
const FIRST: Duration = Duration::from_millis(900);

/// What was seen.
pub(crate) struct Seen {
    /// How long CNI's ADD took, and DEL.
    pub(crate) add: Duration,
    pub(crate) del: Duration,
    /// How long after that each of the first packets, of both families, took to be answered; `None`: it was not.
    pub(crate) first: Vec<Option<Duration>>,
    /// Attempts to connect where it may not, from before ADD until long after, and how many were answered.
    pub(crate) attempts: usize,
    pub(crate) passed: usize,
    /// Returns true if the address had rights left after DEL.
    pub(crate) is_open_after: bool,
}

/// Starts the pod, and takes it down again.
pub(crate) fn start(
    network: &Network,
    manifests: &Manifests,
    work: &Path,
    interrupt: &Interrupt,
) -> Result<Seen> {
    manifests.add_newcomer()?;
    thread::sleep(KNOWN);
    interrupt.check()?;
    let (allowed, forbidden) = (network.targets(NEWCOMER_MAY)?, network.targets(NEWCOMER_MAY_NOT)?);
    let pod = network.add(&NEWCOMER)?;
    let done = AtomicBool::new(false);
    let (started, (attempts, passed)) = thread::scope(|scope| {
        // From before the call on: what the pod may not do is not to pass at any moment.
        let trying = scope.spawn(|| pod.enter(|| attempt(&forbidden, &done)));
        let started = begin(&pod, work, &allowed);
        if started.is_ok() {
            thread::sleep(GOES_ON);
        }
        // Also if the call failed: the other thread would never end.
        done.store(true, Ordering::Relaxed);
        let tried = trying.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        anyhow::Ok((started?, tried?))
    })?;
    interrupt.check()?;
    let called = Instant::now();
    call("DEL", &pod, work)?;
    let del = called.elapsed();
    let after = pod.enter(|| allowed.iter().any(|target| connect(*target, FIRST).is_ok()))?;
    let (add, first) = started;
    Ok(Seen { add, del, first, attempts, passed, is_open_after: after })
}

/// ADD, and at once the first packets.
fn begin(pod: &Pod, work: &Path, allowed: &[SocketAddr]) -> Result<(Duration, Vec<Option<Duration>>)> {
    let called = Instant::now();
    call("ADD", pod, work)?;
    let add = called.elapsed();
    let first = pod.enter(|| {
        let one = |target: &SocketAddr| {
            let sent = Instant::now();
            connect(*target, FIRST).ok().map(|()| sent.elapsed())
        };
        allowed.iter().map(one).collect()
    })?;
    Ok((add, first))
}

/// Tries to connect until it is `done`: how often, and how often that was answered.
fn attempt(targets: &[SocketAddr], done: &AtomicBool) -> (usize, usize) {
    let (mut attempts, mut passed) = (0, 0);
    while !done.load(Ordering::Relaxed) {
        for target in targets {
            attempts += 1;
            passed += usize::from(connect(*target, ATTEMPT).is_ok());
        }
    }
    (attempts, passed)
}

/// A refusal came from the target, so it was reached.
fn connect(target: SocketAddr, within: Duration) -> io::Result<()> {
    match TcpStream::connect_timeout(&target, within) {
        // A refusal comes from the target, so the packet has reached it.
        Err(error) if error.kind() != io::ErrorKind::ConnectionRefused => Err(error),
        Ok(_) | Err(_) => Ok(()),
    }
}

/// Calls the plugin, chained behind one that has made the pod's network.
fn call(command: &str, pod: &Pod, work: &Path) -> Result<()> {
    let address = |address: &std::net::IpAddr| json!({ "address": format!("{address}/{}", if address.is_ipv4() { 32 } else { 128 }), "interface": 1 });
    let ips: Vec<Value> = pod.addresses().iter().map(address).collect();
    let sandbox = format!("/run/netns/{}", pod.system_name());
    let config = json!({
        "cniVersion": "1.0.0", "name": "demo", "type": "flock-cni", "onTimeout": "fail",
        "socket": socket(work, NEWCOMER.node),
        "prevResult": {
            "cniVersion": "1.0.0", "ips": ips,
            "interfaces": [{ "name": pod.host_interface() }, { "name": "eth0", "sandbox": sandbox }],
        },
    });
    let arguments = format!(
        "IgnoreUnknown=1;K8S_POD_NAMESPACE={};K8S_POD_NAME={};K8S_POD_UID={}",
        NEWCOMER.namespace,
        NEWCOMER.name,
        uid(&NEWCOMER)
    );
    let mut plugin = Command::new(sibling("flock-cni")?)
        .env("CNI_COMMAND", command)
        .env("CNI_CONTAINERID", "sandbox-of-api-2")
        .env("CNI_NETNS", &sandbox)
        .env("CNI_IFNAME", "eth0")
        .env("CNI_PATH", "/")
        .env("CNI_ARGS", arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .context("start flock-cni")?;
    if let Some(mut stdin) = plugin.stdin.take() {
        stdin.write_all(config.to_string().as_bytes()).context("tell flock-cni what to do")?;
    }
    let output = plugin.wait_with_output().context("wait for flock-cni")?;
    ensure!(
        output.status.success(),
        "flock-cni {command}: {}",
        String::from_utf8_lossy(&output.stdout).trim()
    );
    Ok(())
}
