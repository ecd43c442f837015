//! What this process takes of its machine, under the names that every client library of Prometheus gives it.

use std::fmt::Error;
use std::fs;
use std::time::{SystemTime, UNIX_EPOCH};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Unit;
use rustix::process::{Resource, getrlimit};

/// `USER_HZ`: in these parts of a second Linux shows times to processes, on every architecture that this is built for.
const TICKS: f64 = 100.0;

/// Reads `/proc/self` when it is asked. What cannot be read is left out.
#[derive(Debug)]
pub(super) struct ProcessCollector {
    /// In seconds since 1970.
    started: f64,
}

impl Default for ProcessCollector {
    /// Of a process that has just started.
    fn default() -> Self {
        let started = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { started: started.as_secs_f64() }
    }
}

impl Collector for ProcessCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), Error> {
        let mut put = |name: &str, help: &str, unit: Option<Unit>, value: Option<&dyn EncodeMetric>| {
            let Some(value) = value else { return Ok(()) };
            value.encode(encoder.encode_descriptor(name, help, unit.as_ref(), value.metric_type())?)
        };
        let cpu = fs::read_to_string("/proc/self/stat").ok().and_then(|stat| cpu_seconds(&stat));
        let cpu = cpu.map(ConstCounter::new);
        let cpu = cpu.as_ref().map(|it| it as &dyn EncodeMetric);
        put("process_cpu", "User and system CPU time of the compiler.", Some(Unit::Seconds), cpu)?;
        let memory = fs::read_to_string("/proc/self/status").ok().and_then(|status| resident_bytes(&status));
        let memory = memory.map(ConstGauge::new);
        let memory = memory.as_ref().map(|it| it as &dyn EncodeMetric);
        put("process_resident_memory", "Resident memory of the compiler.", Some(Unit::Bytes), memory)?;
        let open = fs::read_dir("/proc/self/fd").ok().and_then(|all| i64::try_from(all.count()).ok());
        let open = open.map(ConstGauge::new);
        put("process_open_fds", "Open file descriptors.", None, open.as_ref().map(|it| it as _))?;
        let most = getrlimit(Resource::Nofile).current.and_then(|most| i64::try_from(most).ok());
        let most = most.map(ConstGauge::new);
        put(
            "process_max_fds",
            "Most file descriptors that may be open.",
            None,
            most.as_ref().map(|it| it as _),
        )?;
        let started = ConstGauge::new(self.started);
        put(
            "process_start_time",
            "When the compiler started, since 1970.",
            Some(Unit::Seconds),
            Some(&started),
        )
    }
}

/// The CPU time in a line of `/proc/PID/stat`.
fn cpu_seconds(stat: &str) -> Option<f64> {
    // The second field is the program's name, in parentheses, and may hold anything.
    let mut fields = stat.rsplit_once(") ")?.1.split(' ');
    // Fields 14 and 15 of the file, which begins with field 3 here.
    let [user, system] = [fields.nth(11)?, fields.next()?].map(|ticks| ticks.parse::<u32>().ok());
    Some((f64::from(user?) + f64::from(system?)) / TICKS)
}

/// The resident memory in `/proc/PID/status`.
fn resident_bytes(status: &str) -> Option<i64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix(" kB")?.parse::<i64>().ok().map(|kib| kib * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_words_are_read() {
        let stat = "7 (a) b (c) S 1 7 7 0 -1 4194560 2231 0 0 0 150 25 0 0 20 0 1 0 77 1 2";
        assert_eq!(cpu_seconds(stat), Some(1.75));
        assert_eq!(cpu_seconds("7 (a)"), None);
        assert_eq!(resident_bytes("VmSize:\t  9 kB\nVmRSS:\t    12 kB\n"), Some(12_288));
        assert_eq!(resident_bytes("VmSize:\t  9 kB\n"), None);
    }

    #[test]
    fn this_process_is_told() {
        let [stat, status] =
            ["stat", "status"].map(|name| fs::read_to_string(format!("/proc/self/{name}")).unwrap());
        assert!(cpu_seconds(&stat).is_some());
        assert!(resident_bytes(&status).is_some_and(|bytes| bytes > 1 << 20));
    }
}
