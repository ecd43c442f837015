//! The memory of a process, as the kernel accounts for it.

use std::fs;
use std::io;

/// Resident memory in bytes (proc_pid_status(5)).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Memory {
    /// Now (`VmRSS`).
    pub now: u64,
    /// Of that, what is of no file: its own (`RssAnon`).
    pub own: u64,
    /// The most since the process began or [`reset_peak`] (`VmHWM`).
    pub peak: u64,
}

/// The memory of this process, or of another by its id.
///
/// # Errors
/// When the process is gone, or `/proc` is not what it should be.
pub fn memory(process: Option<u32>) -> io::Result<Memory> {
    let path =
        process.map_or_else(|| "/proc/self/status".to_owned(), |process| format!("/proc/{process}/status"));
    let status = fs::read_to_string(path)?;
    let bytes = |name: &str| -> Option<u64> {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        // The kernel's kB are 1024 bytes.
        Some(line.trim().strip_suffix(" kB")?.parse::<u64>().ok()? * 1024)
    };
    match (bytes("VmRSS:"), bytes("RssAnon:"), bytes("VmHWM:")) {
        (Some(now), Some(own), Some(peak)) => Ok(Memory { now, own, peak }),
        _ => Err(io::Error::other("no VmRSS, RssAnon and VmHWM in the status of the process")),
    }
}

/// Forgets the peak of this process so far.
///
/// # Errors
/// When the kernel does not allow it.
pub fn reset_peak() -> io::Result<()> {
    fs::write("/proc/self/clear_refs", "5")
}
