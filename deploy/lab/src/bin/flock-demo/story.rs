//! The demo from beginning to end.

use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow};
use flock_lab::{Lab, Verdict};

use crate::control::{Applied, Control};
use crate::interrupt::Interrupt;
use crate::manifests::{Manifests, POLICY_FILE};
use crate::matrix::{Measured, legend};
use crate::network::Network;
use crate::newcomer;
use crate::scenario::{
    CLOSED, EDIT, EDITED, Expected, GUARDED, NEWCOMER, NEWCOMER_MAY, NEWCOMER_MAY_NOT, NODES, OPEN, OPENED,
    PODS, POLICIES, UNPOLICED,
};
use crate::screen::{Screen, Style};

/// How long an edit may take to show in packets.
const PATIENCE: Duration = Duration::from_secs(20);

/// How it ended.
pub(crate) enum Ending {
    /// Every flow was as expected.
    AsThePoliciesSay,
    /// At least one was not; all were shown.
    Differences,
}

/// Tells the story; whatever happens, nothing is left behind.
pub(crate) fn tell(screen: &Screen, interrupt: &Interrupt) -> Result<Ending> {
    Lab::available().map_err(|reason| anyhow!("the demo {reason}"))?;
    screen.raw("\n")?;
    screen.line(
        Style::Bold,
        "  flock-netpol: Kubernetes network policies, compiled centrally, enforced by nftables",
    )?;
    let start = Instant::now();
    let work =
        tempfile::Builder::new().prefix("flock-demo-").tempdir().context("make a temporary directory")?;

    screen.heading(1, "Two nodes, six pods")?;
    let network = screen.step("network namespaces joined by veths", || Network::build(interrupt))?;
    let manifests = Manifests::create(work.path())?;
    let mut control = screen.step("flock-compiler, and a flock-node-agent per node", || {
        let mut control = Control::start(work.path(), manifests.directory(), &network.nodes)?;
        control.settle(interrupt, |_| true)?;
        anyhow::Ok(control)
    })?;
    let unpoliced = control.settle(interrupt, |_| true)?;
    draw_nodes(screen)?;

    screen.heading(2, "Before: no policies")?;
    let open = measure(screen, &network, interrupt)?;
    let mut differences = show(screen, &open, &OPEN, None)?;
    legend(screen)?;

    screen.heading(3, "After: six policies")?;
    draw_policies(screen)?;
    manifests.add_policies()?;
    let guarded_revisions = screen.step("policies written; compiled, sent, applied on both nodes", || {
        control.settle(interrupt, |applied| all_changed(&unpoliced, applied))
    })?;
    let guarded = measure(screen, &network, interrupt)?;
    differences.extend(show(screen, &guarded, &GUARDED, None)?);
    screen.raw("\n")?;
    screen.line(Style::Bold, "  $ flockctl nodes")?;
    for line in control.table()?.lines() {
        screen.line(Style::Plain, format!("  {line}").trim_end())?;
    }

    screen.heading(4, "A policy is edited on disk")?;
    draw_edit(screen)?;
    // Opened while it is allowed, for the edit has to cut it.
    let mut held = network.hold(CLOSED)?;
    let edited_at = Instant::now();
    manifests.edit()?;
    let (packet, settled) = thread::scope(|scope| {
        let packet = scope.spawn(|| network.first_success(OPENED, PATIENCE, interrupt));
        let settled = screen.step("waiting for the change to arrive", || {
            control.settle(interrupt, |applied| applied != &guarded_revisions).map(|_| Instant::now())
        });
        (packet.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)), settled)
    });
    let (packet, settled) = (packet?, settled?);
    let cut = held.exchange()? == Verdict::Dropped;
    let passed = |until: Instant| format!("{:>5} ms", until.duration_since(edited_at).as_millis());
    fact(screen, true, &passed(packet), "until the first packet from gateway reached the api")?;
    fact(screen, true, &passed(settled), "until both nodes had reported the new revision as applied")?;
    let words = if cut {
        "the connection that frontend had kept open is cut, too"
    } else {
        "but frontend's open connection still passes"
    };
    fact(screen, cut, "", words)?;
    if !cut {
        differences.push("frontend → api: the connection held since before the edit still passes".to_owned());
    }
    let edited = measure(screen, &network, interrupt)?;
    differences.extend(show(screen, &edited, &EDITED, Some(&guarded))?);

    screen.heading(5, "A pod starts")?;
    differences.extend(start_a_pod(screen, &network, &manifests, work.path(), interrupt)?);

    let flows = open.flows() + guarded.flows() + edited.flows();
    screen.step("removing everything", || {
        drop(control);
        drop(network);
        work.close()
    })?;
    finish(screen, flows, &differences, start.elapsed())
}

/// Shows a pod's first packets.
fn start_a_pod(
    screen: &Screen,
    network: &Network,
    manifests: &Manifests,
    work: &Path,
    interrupt: &Interrupt,
) -> Result<Vec<String>> {
    let (namespace, name, node) = (NEWCOMER.namespace, NEWCOMER.name, NEWCOMER.node);
    let (may, may_not) = (NEWCOMER_MAY.0, NEWCOMER_MAY_NOT.0);
    screen.raw(&format!(
        "  {namespace}/{name}, one more api, on {node}: it may connect to the {may}, not to the {may_not}.\n"
    ))?;
    screen.raw("  Nobody knows its addresses until CNI gives them.\n\n")?;
    let seen = screen.step("its network is made, flock-cni called, everybody tried", || {
        newcomer::start(network, manifests, work, interrupt)
    })?;
    let milliseconds = |time: Duration| format!("{:>5.1} ms", time.as_secs_f64() * 1e3);
    let mut differences = Vec::new();
    let mut told = |good: bool, number: &str, words: &str| {
        if !good {
            differences.push(format!("{namespace}/{name}: {words}"));
        }
        fact(screen, good, number, words)
    };
    told(true, &milliseconds(seen.add), "CNI ADD, held by flock-cni until the nodes had the pod")?;
    for (time, family) in seen.first.iter().zip(["IPv4", "IPv6"]) {
        let number = time.map(milliseconds).unwrap_or_default();
        let words = match time {
            Some(_) => format!("until the {may} had answered its first packet ({family})"),
            None => format!("its first packet to the {may} was lost ({family})"),
        };
        told(time.is_some(), &number, &words)?;
    }
    let (attempts, passed) = (seen.attempts, seen.passed);
    let words = format!(
        "of {attempts} attempts to connect to the {may_not}, from before ADD until a second after it"
    );
    told(passed == 0 && attempts > 0, &format!("{passed:>8}"), &words)?;
    told(true, &milliseconds(seen.del), "CNI DEL, held until nobody knew its addresses any more")?;
    let left =
        if seen.is_open_after { "they can still reach" } else { "then they reached nothing, not even" };
    told(!seen.is_open_after, "", &format!("{left} the {may}"))?;
    Ok(differences)
}

fn measure(screen: &Screen, network: &Network, interrupt: &Interrupt) -> Result<Measured> {
    screen.step("sending packets over every pair: TCP, UDP, SCTP; IPv4, IPv6", || network.measure(interrupt))
}

fn show(
    screen: &Screen,
    measured: &Measured,
    expected: &Expected,
    before: Option<&Measured>,
) -> Result<Vec<String>> {
    screen.raw("\n")?;
    measured.draw(screen, expected, before)?;
    Ok(measured.differences(expected))
}

/// Whether every node left the revision that it had.
fn all_changed(before: &Applied, now: &Applied) -> bool {
    before.iter().all(|(node, revision)| now.get(node).is_some_and(|applied| applied != revision))
}

fn draw_nodes(screen: &Screen) -> Result<()> {
    for node in NODES {
        screen.raw(&format!("\n  {}\n", screen.paint(Style::Bold, node)))?;
        for pod in PODS.iter().filter(|pod| pod.node == node) {
            let name = format!("{}/{}", pod.namespace, pod.name);
            let addresses = screen.paint(Style::Dim, &format!("{:<11} {}", pod.v4, pod.v6));
            screen.raw(&format!("    {name:<20} {addresses}\n"))?;
        }
    }
    Ok(())
}

fn draw_policies(screen: &Screen) -> Result<()> {
    let told = POLICIES.iter().map(|policy| (policy.name, policy.words)).chain([UNPOLICED]);
    for (name, words) in told {
        let mut name = screen.paint(Style::Bold, &format!("{name:<19}"));
        for line in words.lines() {
            screen.raw(&format!("  {name} {line}\n"))?;
            name = " ".repeat(19);
        }
    }
    screen.raw("\n")?;
    Ok(())
}

fn draw_edit(screen: &Screen) -> Result<()> {
    screen.raw(&format!("  {}\n\n", EDIT.words))?;
    screen.line(Style::Dim, &format!("    {POLICY_FILE}"))?;
    for (style, sign, text) in [(Style::Red, '-', EDIT.before), (Style::Green, '+', EDIT.after)] {
        for line in text.lines() {
            screen.line(style, &format!("    {sign} {line}"))?;
        }
    }
    screen.raw("\n")?;
    Ok(())
}

fn fact(screen: &Screen, good: bool, number: &str, words: &str) -> Result<()> {
    let mark = if good { screen.paint(Style::Green, "✓") } else { screen.paint(Style::Red, "✗") };
    let number =
        if number.is_empty() { String::new() } else { format!("{} ", screen.paint(Style::Bold, number)) };
    Ok(screen.raw(&format!("  {mark} {number}{words}\n"))?)
}

fn finish(screen: &Screen, flows: usize, differences: &[String], took: Duration) -> Result<Ending> {
    screen.raw("\n")?;
    if differences.is_empty() {
        let words = format!("All {flows} flows were as the policies say. {:.1} s.", took.as_secs_f64());
        screen.line(Style::Green, &format!("  ✓ {words}"))?;
        screen.raw("\n")?;
        return Ok(Ending::AsThePoliciesSay);
    }
    screen.line(
        Style::Red,
        &format!("  ✗ {} of {flows} flows were not as the policies say:", differences.len()),
    )?;
    for line in differences {
        screen.line(Style::Plain, &format!("    {line}"))?;
    }
    screen.raw("\n")?;
    Ok(Ending::Differences)
}
