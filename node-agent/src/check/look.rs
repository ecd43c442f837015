//! Looking at a node for a preflight. It writes nothing but what it found to where it is asked for.

use std::collections::BTreeSet;
use std::fs::{self, File, read_dir};
use std::io::{self, Read as _, Write as _};
use std::os::fd::AsFd as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use rustix::fs::{Access, access};
use rustix::net::netlink::NETFILTER;
use rustix::process::geteuid;

use super::seen::{Cni, Memory, Network, Privileges, StateFolder};
use super::traces::{Netfilter, questions};
use crate::child::Program;
use crate::facts::{self, look};
use crate::install::folder::Folder;
use flock_shared::cni::PLUGIN;

/// The first argument with which this executable is started in place of nft to look at its network namespace.
pub const LOOK: &str = "--check-in-place";

/// What is handed over: the names of some ten thousand devices.
const LIMIT: u64 = 512 << 10;
/// So much of a setting is read.
const SETTING: u64 = 4096;
/// `CAP_NET_ADMIN`.
const NET_ADMIN: u64 = 1 << 12;
/// So many names are remembered of processes, and below `/sys/fs/bpf`.
const NAMES: usize = 4096;

/// The network namespace in which `nft` works.
///
/// # Errors
/// In words, when it cannot be looked at.
pub(super) async fn network(nft: &Program) -> Result<Network, String> {
    let found = facts::behind(nft, &[LOOK], LIMIT).await.map_err(|error| error.to_string())?;
    match found {
        None => network_here().map_err(|error| error.to_string()),
        Some(json) => serde_json::from_slice(&json).map_err(|error| error.to_string()),
    }
}

/// What this executable does in place of nft: looks, and writes what it found to where its standard input is.
///
/// # Errors
/// When the kernel does not tell, or standard input cannot be written.
pub fn look_in_place() -> io::Result<()> {
    let found = serde_json::to_vec(&network_here()?)?;
    File::from(io::stdin().as_fd().try_clone_to_owned()?).write_all(&found)
}

fn network_here() -> io::Result<Network> {
    let sys = Path::new("/proc/sys/net");
    let number = |path: &str| setting(&sys.join(path)).and_then(|text| text.trim().parse::<u64>().ok());
    let is_on = |path: &str| number(path).map(|value| value > 0);
    let writable = |path: &str| access(sys.join("bridge").join(path), Access::WRITE_OK).is_ok();
    let legacy = ["/proc/net/ip_tables_names", "/proc/net/ip6_tables_names"];
    let legacy = legacy.iter().filter_map(|path| setting(Path::new(path)));
    Ok(Network {
        netfilter: netfilter().ok(),
        devices: look::names()?,
        forwarding_v4: is_on("ipv4/ip_forward"),
        forwarding_v6: is_on("ipv6/conf/all/forwarding"),
        bridge_nf_writable: writable("bridge-nf-call-iptables") && writable("bridge-nf-call-ip6tables"),
        conntrack: number("netfilter/nf_conntrack_count").zip(number("netfilter/nf_conntrack_max")),
        legacy_tables: legacy.flat_map(|text| text.lines().map(str::to_owned).collect::<Vec<_>>()).collect(),
    })
}

/// The names of tables and chains, as netlink tells them: nft would fetch what is in them, and 1.0.6 fails on some of it.
fn netfilter() -> io::Result<Netfilter> {
    let mut netfilter = Netfilter::default();
    for question in questions() {
        // What comes or goes meanwhile changes nothing in what is looked for.
        let _: look::Told = look::ask(Some(NETFILTER), &question, |kind, body| netfilter.hear(kind, body))?;
    }
    Ok(netfilter)
}

fn setting(path: &Path) -> Option<String> {
    let mut text = String::new();
    File::open(path).ok()?.take(SETTING).read_to_string(&mut text).ok()?;
    Some(text)
}

/// Who this process is.
pub(super) fn privileges() -> Privileges {
    let status = setting(Path::new("/proc/self/status")).unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    Privileges { uid: geteuid().as_raw(), net_admin: mask.map(|mask| mask & NET_ADMIN != 0) }
}

/// The kernel's release.
pub(super) fn kernel() -> String {
    setting(Path::new("/proc/sys/kernel/osrelease")).unwrap_or_default().trim().to_owned()
}

/// The names of all processes; `None` where this process sees only those of its container: the kernel's own are those of
/// the node alone.
pub(super) fn processes() -> Option<BTreeSet<String>> {
    let numbered = |entry: &fs::DirEntry| entry.file_name().to_string_lossy().parse::<u32>().is_ok();
    let all = read_dir("/proc").ok()?.flatten().filter(numbered);
    let names = all.filter_map(|entry| setting(&entry.path().join("comm")));
    let names: BTreeSet<String> = names.map(|name| name.trim().to_owned()).take(NAMES).collect();
    // Without the kernel's threads, these are the processes of a container.
    names.contains("kthreadd").then_some(names)
}

/// Names below `/sys/fs/bpf`, also those in its folders; `None`: nothing is mounted there.
pub(super) fn bpf() -> Option<BTreeSet<String>> {
    let root = Path::new("/sys/fs/bpf");
    let device = |path: &Path| path.metadata().ok().map(|metadata| metadata.dev());
    // Nothing is mounted there.
    if device(root)? == device(Path::new("/sys/fs"))? {
        return None;
    }
    let names = |path: &Path| -> Vec<String> {
        let all = read_dir(path).into_iter().flatten().flatten();
        all.filter_map(|entry| entry.file_name().into_string().ok()).take(NAMES).collect()
    };
    let mut all = BTreeSet::new();
    for name in names(root) {
        all.extend(names(&root.join(&name)).into_iter().map(|inner| format!("{name}/{inner}")));
        all.insert(name);
    }
    Some(all)
}

/// CNI's configuration.
pub(super) fn cni(conf_dir: &Path, bin_dir: &Path, is_wanted: bool) -> Cni {
    Cni {
        conf_dir: conf_dir.to_owned(),
        files: conf_dir.is_dir().then(|| Folder::new(conf_dir.to_owned()).files().unwrap_or_default()),
        bin_dir: bin_dir.to_owned(),
        binary: bin_dir.is_dir().then(|| bin_dir.join(PLUGIN).is_file()),
        is_wanted,
    }
}

/// What there is of memory.
pub(super) fn memory(nft: u64) -> Memory {
    let info = setting(Path::new("/proc/meminfo")).unwrap_or_default();
    let available = info.lines().find_map(|line| line.strip_prefix("MemAvailable:"));
    let available = available.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    Memory { available: available.map(|kilobytes| kilobytes << 10), limit: limit(), nft }
}

/// The least limit of this process's control groups: in a container they are those at the root.
fn limit() -> Option<u64> {
    let root = Path::new("/sys/fs/cgroup");
    let own = setting(Path::new("/proc/self/cgroup")).unwrap_or_default();
    let own = own.lines().find_map(|line| line.strip_prefix("0::/"));
    let own = own.map(|path| root.join(path));
    let groups = own.iter().flat_map(|path| path.ancestors()).filter(|path| path.starts_with(root));
    let files = groups.map(|group| group.join("memory.max"));
    let files = files.chain([root.join("memory.max"), root.join("memory/memory.limit_in_bytes")]);
    let limits = files.filter_map(|path| setting(&path)?.trim().parse::<u64>().ok());
    // The former control groups write a number near the largest where there is no limit.
    limits.min().filter(|limit| *limit < 1 << 60)
}

/// The state folder.
pub(super) fn state(path: &Path) -> StateFolder {
    let metadata = match path.metadata() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return StateFolder::Missing,
        Err(error) => return StateFolder::Unusable(error.to_string()),
        Ok(metadata) if !metadata.is_dir() => return StateFolder::Unusable("it is no folder".to_owned()),
        Ok(metadata) => metadata,
    };
    StateFolder::There {
        uid: metadata.uid(),
        mode: metadata.mode() & 0o7777,
        writable: access(path, Access::WRITE_OK | Access::EXEC_OK).is_ok(),
        kept: crate::state::keeps(path),
    }
}
