//! The time that a process has been on a core, as the kernel accounts for it.

use std::fs;
use std::io;
use std::time::Duration;

/// The unit of times in `/proc/PID/stat`: it is 100 on every architecture that Linux has (`USER_HZ`).
pub const TICKS_PER_SECOND: u64 = 100;

/// What a process has taken of all cores since it began, user and system (proc_pid_stat(5)), without its children.
///
/// # Errors
/// When the process is gone, or `/proc` is not what it should be.
pub fn processor_time(process: u32) -> io::Result<Duration> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat"))?;
    // The name in parentheses may hold anything; times are the 12th and 13th field after it.
    let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields);
    let ticks: Option<Vec<u64>> =
        fields.split_whitespace().skip(11).take(2).map(|field| field.parse().ok()).collect();
    match ticks.as_deref() {
        Some([user, system]) => Ok(Duration::from_millis((user + system) * 1000 / TICKS_PER_SECOND)),
        _ => Err(io::Error::other("no times in the stat of the process")),
    }
}
