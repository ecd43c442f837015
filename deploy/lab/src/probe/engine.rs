//! Runs many probes at once: a thread per source, all sockets nonblocking, one deadline.

use std::collections::BTreeMap;
use std::io;
use std::thread;
use std::time::{Duration, Instant};

use nix::poll::{PollFlags, PollTimeout, poll};

use super::attempt::Attempt;
use super::{Probe, Verdict};
use crate::error::Result;
use crate::namespace::Namespace;
use crate::patience::patient;

/// When the requests go out, counted from the start.
const TRIES: [Duration; 3] = [Duration::ZERO, Duration::from_millis(250), Duration::from_millis(500)];
/// When silence becomes [`Verdict::Dropped`].
const DEADLINE: Duration = Duration::from_millis(800);
/// How much longer a connection that stands may take to echo: the handshake was the kernel's, the echo needs a
/// thread to run.
const ECHO_GRACE: Duration = Duration::from_secs(2);
/// Probes of one source that are under way at once.
const AT_ONCE: usize = 256;

/// Runs all probes in parallel and returns their verdicts in the same order.
///
/// # Errors
/// Of the first probe that cannot be sent at all; see [`Probe::run`].
pub fn probe_all(probes: &[Probe]) -> Result<Vec<Verdict>> {
    probes.iter().try_for_each(Probe::validate)?;
    // A thread is in one namespace, so each source has its own.
    let mut sources: BTreeMap<&Namespace, Vec<usize>> = BTreeMap::new();
    for (index, probe) in probes.iter().enumerate() {
        sources.entry(&probe.from).or_default().push(index);
    }
    let mut verdicts = vec![Verdict::Dropped; probes.len()];
    thread::scope(|scope| {
        let start = |(namespace, indexes): (&'_ Namespace, Vec<usize>)| {
            let namespace = namespace.clone();
            scope.spawn(move || {
                let found = from_one_source(&namespace, probes, &indexes);
                found.map_err(|error| namespace.system_error("probe", error))
            })
        };
        let threads: Vec<_> = sources.into_iter().map(start).collect();
        for thread in threads {
            let found = thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
            for (index, verdict) in found {
                verdicts[index] = verdict;
            }
        }
        Ok(verdicts)
    })
}

fn from_one_source(
    namespace: &Namespace,
    probes: &[Probe],
    indexes: &[usize],
) -> io::Result<Vec<(usize, Verdict)>> {
    namespace.join_current_thread()?;
    let mut all = Vec::with_capacity(indexes.len());
    for indexes in indexes.chunks(AT_ONCE) {
        let chosen: Vec<_> = indexes.iter().map(|&index| &probes[index]).collect();
        all.extend(indexes.iter().copied().zip(at_once(&chosen)?));
    }
    Ok(all)
}

/// Runs `probes` from the namespace that the thread is in.
fn at_once(probes: &[&Probe]) -> io::Result<Vec<Verdict>> {
    let mut attempts = Vec::with_capacity(probes.len());
    for (index, probe) in probes.iter().enumerate() {
        attempts.push((index, Attempt::open(probe).map_err(|error| explained(probe, &error))?));
    }
    let mut verdicts = vec![Verdict::Dropped; probes.len()];
    let (tries, deadline, grace) = (TRIES.map(patient), patient(DEADLINE), patient(ECHO_GRACE));
    // Once all sockets are open, so that the last probe has as much time as the first.
    let start = Instant::now();
    let mut due = tries.iter().peekable();
    while !attempts.is_empty() {
        if due.next_if(|&&at| start.elapsed() >= at).is_some() {
            for (index, attempt) in &mut attempts {
                if let Some(verdict) = attempt.ask().map_err(|error| explained(probes[*index], &error))? {
                    verdicts[*index] = verdict;
                }
            }
            attempts.retain(|(index, _)| verdicts[*index] == Verdict::Dropped);
        }
        let next = due.peek().map_or(deadline, |&&at| at);
        let ready = wait(&attempts, next.saturating_sub(start.elapsed()))?;
        // Silence is judged only after whatever arrived meanwhile was read, and never before the last try went
        // out: a machine that stalls must not turn a late answer into a drop.
        let elapsed = start.elapsed();
        let over = due.peek().is_none() && elapsed >= deadline;
        let mut ready = ready.into_iter();
        attempts.retain_mut(|(index, attempt)| {
            if ready.next().unwrap_or(false)
                && let Some(verdict) = attempt.progress()
            {
                verdicts[*index] = verdict;
                return false;
            }
            !over || (attempt.is_established() && elapsed < deadline + grace)
        });
    }
    Ok(verdicts)
}

/// Waits for any attempt, at most `limit` (at least a moment), and says which ones have something to read.
fn wait(attempts: &[(usize, Attempt<'_>)], limit: Duration) -> io::Result<Vec<bool>> {
    let mut wanted = Vec::with_capacity(attempts.len());
    let mut ends = Vec::with_capacity(attempts.len());
    for (_, attempt) in attempts {
        attempt.wait_for(&mut wanted);
        ends.push(wanted.len());
    }
    // Rounded up, so that the time waited for has come when the wait ends.
    let milliseconds = u16::try_from(limit.as_millis() + 1).unwrap_or(u16::MAX);
    match poll(&mut wanted, PollTimeout::from(milliseconds)) {
        Ok(_) | Err(nix::Error::EINTR) => {}
        Err(error) => return Err(error.into()),
    }
    let mut begin = 0;
    let mut ready = Vec::with_capacity(ends.len());
    for end in ends {
        ready.push(wanted[begin..end].iter().any(|fd| fd.revents() != Some(PollFlags::empty())));
        begin = end;
    }
    Ok(ready)
}

fn explained(probe: &Probe, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{probe}: {error}"))
}
