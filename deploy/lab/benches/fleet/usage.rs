//! What a process has used so far, from `/proc`.

use std::ops::Sub;
use std::time::Duration;

use anyhow::Context as _;
use flock_lab::figures::{Memory, TICKS_PER_SECOND, memory, processor_time};

/// What a process has used so far.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Usage {
    /// Time on a core, user and system.
    pub(crate) cpu: Duration,
    /// The largest resident size so far, in bytes.
    pub(crate) peak: u64,
    /// The resident size now, in bytes.
    pub(crate) resident: u64,
}

impl Usage {
    /// Of a process by its identifier.
    pub(crate) fn of(process: u32) -> anyhow::Result<Self> {
        let Memory { now, peak, .. } = memory(Some(process))?;
        Ok(Self { cpu: processor_time(process)?, peak, resident: now })
    }
}

/// Time that all cores together have been busy since boot: programs, the kernel, its interrupts.
pub(crate) fn of_machine() -> anyhow::Result<Duration> {
    let stat = std::fs::read_to_string("/proc/stat")?;
    let line = stat.lines().find_map(|line| line.strip_prefix("cpu ")).context("/proc/stat")?;
    // User, nice, system, idle, waiting, interrupts, soft interrupts.
    let ticks = line.split_whitespace().take(7).enumerate().filter(|(at, _)| !matches!(at, 3 | 4));
    let ticks: u64 =
        ticks.map(|(_, ticks)| ticks.parse::<u64>().context("/proc/stat")).sum::<anyhow::Result<_>>()?;
    Ok(Duration::from_millis(ticks * 1000 / TICKS_PER_SECOND))
}

impl Sub for Usage {
    type Output = Duration;
    /// The time on a core between two readings.
    fn sub(self, earlier: Self) -> Duration {
        self.cpu.saturating_sub(earlier.cpu)
    }
}
