//! The tables.

use std::io::{self, Write};
use std::time::Duration;

use crate::cluster::Shape;
use crate::usage::Usage;

/// Changes that reached a whole fleet.
pub(crate) struct Fleet {
    /// From a change to the compiler's receipt of its last acknowledgement.
    pub(crate) last: Vec<Duration>,
    /// From a change to each agent's acknowledgement.
    pub(crate) each: Vec<Duration>,
    /// How many of these came by a delta.
    pub(crate) deltas: usize,
    pub(crate) compiler_cpu: Vec<Duration>,
    pub(crate) agents_cpu: Vec<Duration>,
    /// The compiler before any agent, with all of them at rest, and after the changes.
    pub(crate) alone: Usage,
    pub(crate) at_rest: Usage,
    pub(crate) after: Usage,
    /// What the compiler and the whole machine use while nothing happens, in cores.
    pub(crate) resting: (f64, f64),
}

impl Fleet {
    pub(crate) const fn new(at: Usage) -> Self {
        Self {
            last: Vec::new(),
            each: Vec::new(),
            deltas: 0,
            compiler_cpu: Vec::new(),
            agents_cpu: Vec::new(),
            alone: at,
            at_rest: at,
            after: at,
            resting: (0.0, 0.0),
        }
    }
}

/// A fleet that came back after a restart.
pub(crate) struct Reconnect {
    /// From the start of the new process to the end of its first translation.
    pub(crate) ready: Duration,
    /// From the start of the new process to the last verified agent.
    pub(crate) last: Duration,
    /// Agents that were told that they are current.
    pub(crate) current: usize,
    /// Bytes on the wire, for each agent.
    pub(crate) bytes: Vec<u64>,
    pub(crate) compiler: Usage,
    pub(crate) agents_cpu: Duration,
}

pub(crate) fn fleet(shape: Shape, is_secured: bool, calm: &Fleet, stalled: &Fleet) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    head(&mut out, shape, is_secured)?;
    writeln!(out, "One change that reaches all; {} changes, one after the other.\n", calm.last.len())?;
    let columns = [calm, stalled];
    row(&mut out, "", &["all answer".into(), "one stalled".into()])?;
    let of = |figure: fn(&Fleet) -> String| columns.map(figure);
    row(&mut out, "to the last ack, p50", &of(|f| ms(percentile(&f.last, 50))))?;
    row(&mut out, "to the last ack, p99", &of(|f| ms(percentile(&f.last, 99))))?;
    row(&mut out, "to an agent's ack, p50", &of(|f| ms(percentile(&f.each, 50))))?;
    row(&mut out, "to an agent's ack, p99", &of(|f| ms(percentile(&f.each, 99))))?;
    row(&mut out, "by delta", &of(|f| format!("{} %", f.deltas * 100 / f.each.len().max(1))))?;
    row(&mut out, "compiler's CPU per change", &of(|f| ms(mean(&f.compiler_cpu))))?;
    row(&mut out, "agents' CPU per change", &of(|f| ms(mean(&f.agents_cpu))))?;
    row(&mut out, "at rest: the compiler's CPU", &of(|f| per_cent(f.resting.0)))?;
    row(&mut out, "at rest: the machine's CPU", &of(|f| per_cent(f.resting.1)))?;
    row(&mut out, "compiler alone", &of(|f| mb(f.alone.resident)))?;
    row(&mut out, "compiler with the fleet", &of(|f| mb(f.at_rest.resident)))?;
    row(&mut out, "compiler's peak", &of(|f| mb(f.after.peak)))?;
    Ok(())
}

pub(crate) fn reconnect(shape: Shape, is_secured: bool, measured: &Reconnect) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    head(&mut out, shape, is_secured)?;
    writeln!(out, "The compiler is killed and started again; agents come back with their revisions.\n")?;
    let most = measured.bytes.iter().copied().max().unwrap_or_default();
    let mean = measured.bytes.iter().sum::<u64>() / measured.bytes.len().max(1) as u64;
    row(&mut out, "start to ready", &[ms(measured.ready)])?;
    row(&mut out, "start to the last verified", &[ms(measured.last)])?;
    row(&mut out, "ready to the last verified", &[ms(measured.last.saturating_sub(measured.ready))])?;
    row(&mut out, "told that it is current", &[measured.current.to_string()])?;
    row(&mut out, "bytes for one, mean", &[mean.to_string()])?;
    row(&mut out, "bytes for one, most", &[most.to_string()])?;
    row(&mut out, "compiler's CPU since its start", &[ms(measured.compiler.cpu)])?;
    row(&mut out, "agents' CPU", &[ms(measured.agents_cpu)])?;
    row(&mut out, "compiler's memory, peak", &[mb(measured.compiler.resident), mb(measured.compiler.peak)])?;
    Ok(())
}

fn head(out: &mut impl Write, shape: Shape, is_secured: bool) -> io::Result<()> {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let Shape { nodes, pods } = shape;
    writeln!(
        out,
        "\n{nodes} agents on loopback, {} pods; {cores} cores for the compiler and all agents.",
        nodes * pods
    )?;
    if is_secured {
        let review = crate::secured::REVIEW;
        writeln!(
            out,
            "TLS, and tokens that an API server, whose CPU counts as the agents', takes {review:?} each to review."
        )?;
    }
    Ok(())
}

fn row(out: &mut impl Write, name: &str, values: &[String]) -> io::Result<()> {
    write!(out, "{name:<32}")?;
    values.iter().try_for_each(|value| write!(out, " {value:>12}"))?;
    writeln!(out)
}

fn ms(time: Duration) -> String {
    format!("{:.1} ms", time.as_secs_f64() * 1000.0)
}

/// Of one core.
fn per_cent(cores: f64) -> String {
    format!("{:.1} %", cores * 100.0)
}

fn mb(bytes: u64) -> String {
    format!("{:.0} MB", bytes as f64 / 1e6)
}

fn mean(times: &[Duration]) -> Duration {
    times.iter().sum::<Duration>() / u32::try_from(times.len().max(1)).unwrap_or(u32::MAX)
}

/// The smallest value that `percent` of all values do not exceed.
fn percentile(times: &[Duration], percent: usize) -> Duration {
    let mut times = times.to_vec();
    times.sort_unstable();
    let rank = (times.len() * percent).div_ceil(100).max(1);
    times.get(rank - 1).copied().unwrap_or_default()
}
