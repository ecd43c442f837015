//! What is seen of a node, judged: facts in, findings out. Pure.

use flock_proto::{BridgeNf, BridgePort, NodeFacts, PortKind};
use flock_shared::{TABLE, listed};

use super::features::{DROPS, Room, Tried};
use super::finding::Finding;
use super::seen::{Cni, Memory, Network, Privileges, Seen, StateFolder};
use super::traces::{Strength, found};
use crate::facts::Mode;
use crate::install::list::List;

/// The oldest nft that takes the table.
const OLDEST_NFT: [u32; 3] = [1, 0, 6];
/// The oldest kernel that the table was tried with.
const OLDEST_KERNEL: [u32; 2] = [5, 10];
/// Bridges of container engines and of virtual machines, where pods of a cluster are not.
const OTHERS_BRIDGES: [&str; 5] = ["docker", "br-", "virbr", "lxcbr", "lxdbr"];
/// What the agent and its table in the kernel take beside nft, in bytes (deploy/lab/tests/heaviest.rs).
const BESIDE_NFT: u64 = 100 << 20;
/// Of connection tracking's table: the part in hundredths from which on somebody should know, and a size that is small.
const CONNTRACK_FULL: u64 = 80;
const CONNTRACK_SMALL: u64 = 32_768;
const WRITABLE_BY_OTHERS: u32 = 0o022;
const MIB: u64 = 1 << 20;

const NOT_SEEN: &str = "not seen: the network namespace of nft cannot be looked at from here";

/// All findings, in the order in which they are read.
#[must_use]
pub(super) fn judge(seen: &Seen) -> Vec<Finding> {
    let mut all = vec![nft(&seen.nft), privileges(seen.privileges), kernel(&seen.kernel)];
    let bridges = seen.facts.as_ref().map(Bridges::of);
    all.extend(features(seen, bridges.as_ref()));
    match &seen.network {
        Ok(network) => {
            all.push(forwarding(network));
            all.push(connections(network));
            all.push(own_table(network));
        }
        Err(error) => {
            let why = format!("{NOT_SEEN}: {error}");
            all.extend(["forwarding", "conntrack", "table"].map(|name| Finding::skipped(name, &why)));
        }
    }
    all.extend(passed_by(seen, bridges.as_ref()));
    all.extend(enforcers(seen));
    all.extend(cni(&seen.cni));
    all.push(memory(seen.memory));
    all.push(match &seen.state {
        None => Finding::skipped("state-dir", "no --state-dir was named"),
        Some((path, folder)) => state(&path.display().to_string(), folder),
    });
    all
}

fn nft(version: &Result<String, String>) -> Finding {
    const REMEDY: &str = "install nftables 1.0.6 or newer, or name it with --nft 'COMMAND …'";
    let version = match version {
        Ok(version) => version,
        Err(error) => {
            return Finding::fail("nft", error, "no NetworkPolicy is enforced without nft", REMEDY);
        }
    };
    match numbers::<3>(version) {
        Some(numbers) if numbers >= OLDEST_NFT => Finding::ok("nft", version),
        Some(_) => Finding::fail("nft", version, "the table is written for nft 1.0.6 and newer", REMEDY),
        None => Finding::warn(
            "nft",
            format!("{version:?} tells no version"),
            "whether it takes the table is told by the features below",
            REMEDY,
        ),
    }
}

/// The first numbers with dots between them.
fn numbers<const N: usize>(text: &str) -> Option<[u32; N]> {
    let mut parts = text.get(text.find(|letter: char| letter.is_ascii_digit())?..)?.split('.');
    let mut numbers = [0; N];
    for number in &mut numbers {
        let digits: String = parts.next()?.chars().take_while(char::is_ascii_digit).collect();
        *number = digits.parse().ok()?;
    }
    Some(numbers)
}

fn privileges(Privileges { uid, net_admin }: Privileges) -> Finding {
    let means = "nft works as uid 0 with CAP_NET_ADMIN only";
    let remedy = "runAsUser: 0 and capabilities: {add: [NET_ADMIN]}; no other capability is needed";
    match (uid, net_admin) {
        (0, Some(true)) => Finding::ok("privileges", "uid 0 with CAP_NET_ADMIN"),
        (0, Some(false)) => Finding::fail("privileges", "uid 0 without CAP_NET_ADMIN", means, remedy),
        (0, None) => Finding::skipped("privileges", "uid 0; capabilities are not to be seen"),
        (uid, _) => Finding::fail("privileges", format!("uid {uid}"), means, remedy),
    }
}

fn kernel(release: &str) -> Finding {
    match numbers::<2>(release) {
        Some(numbers) if numbers >= OLDEST_KERNEL => Finding::ok("kernel", format!("Linux {release}")),
        Some(_) => Finding::warn(
            "kernel",
            format!("Linux {release}"),
            "the table was tried with 5.10 and newer",
            "trust the features below, or use a newer kernel",
        ),
        None => Finding::skipped("kernel", "its release is not to be read"),
    }
}

/// The bridges that may be pods'.
struct Bridges {
    /// Those that have a port that is an end of a pair, and no other owner by their names.
    of_pods: Vec<String>,
    /// Those of others, by their names.
    of_others: Vec<String>,
}

impl Bridges {
    fn of(facts: &NodeFacts) -> Self {
        let is_veth = |port: &BridgePort| port.kind == PortKind::Veth;
        let with_pairs = facts.bridges.iter().filter(|bridge| bridge.ports.iter().any(is_veth));
        let names = with_pairs.map(|bridge| bridge.name.clone());
        let (of_others, of_pods) =
            names.partition(|name| OTHERS_BRIDGES.iter().any(|beginning| name.starts_with(beginning)));
        Self { of_pods, of_others }
    }
}

fn features(seen: &Seen, bridges: Option<&Bridges>) -> Vec<Finding> {
    let tried = match &seen.features {
        Ok(tried) => tried,
        Err(error) => return vec![Finding::skipped("features", format!("not tried: {error}"))],
    };
    let has_bridges = bridges.is_none_or(|bridges| !bridges.of_pods.is_empty());
    let mut all: Vec<Finding> = Vec::new();
    for (feature, tried) in tried {
        let name = format!("feature-{}", feature.name);
        all.push(match tried {
            Tried::Taken => Finding::ok(name, "there"),
            Tried::Omitted => Finding::skipped(name, "not tried: the family of its table is missing"),
            Tried::Refused(words) if feature.room == Room::Bridged && !has_bridges => {
                Finding::skipped(name, format!("missing, and not needed: no pod hangs on a bridge ({words})"))
            }
            // No failure: all is enforced without, and counted.
            Tried::Refused(words) if feature.name == DROPS => {
                Finding::skipped(name, format!("missing ({words}): {}; {}", feature.means, feature.provider))
            }
            Tried::Refused(words) => {
                let remedy = format!("{}: load the module, or use a kernel that has it", feature.provider);
                Finding::fail(name, format!("missing: {words}"), feature.means, &remedy)
            }
        });
    }
    let is_all = tried.iter().all(|(_, tried)| *tried == Tried::Taken);
    all.push(match &seen.refused[..] {
        [] if is_all => Finding::ok("statements", "nft takes every kind of statement that a table may hold"),
        [] => Finding::skipped("statements", "not tried: a feature is missing"),
        refused => Finding::fail(
            "statements",
            refused.join("; "),
            "scripts that hold these statements are refused as a whole",
            "use nft 1.0.6 or newer and a kernel with the modules of nf_tables; else report it",
        ),
    });
    all
}

fn forwarding(network: &Network) -> Finding {
    let name = "forwarding";
    match (network.forwarding_v4, network.forwarding_v6) {
        (None, None) => Finding::skipped(name, "the settings are not to be read"),
        (Some(true), Some(true)) => Finding::ok(name, "on for IPv4 and IPv6"),
        (Some(true), v6) => Finding::ok(
            name,
            match v6 {
                None => "on for IPv4; there is no IPv6",
                _ => "on for IPv4; off for IPv6: pods would have no connections by IPv6",
            },
        ),
        (_, Some(true)) => {
            Finding::ok(name, "on for IPv6; off for IPv4: pods would have no connections by IPv4")
        }
        _ => Finding::fail(
            name,
            "off",
            "the node forwards nothing between its pods and others: no pod has connections beyond it",
            "net.ipv4.ip_forward=1 (net.ipv6.conf.all.forwarding=1) in /etc/sysctl.d; kubelets need it in any case",
        ),
    }
}

fn connections(network: &Network) -> Finding {
    let name = "conntrack";
    let Some((count, most)) = network.conntrack else {
        return Finding::skipped(
            name,
            "its settings are not to be read: the kernel's nf_conntrack is not loaded yet",
        );
    };
    let found = format!("{count} of {most} connections");
    let remedy = "raise net.netfilter.nf_conntrack_max (conntrack.maxPerCore of kube-proxy sets it)";
    if count.saturating_mul(100) >= most.saturating_mul(CONNTRACK_FULL) {
        let means = "once the table is full, packets of new connections are dropped, whatever policies say";
        Finding::warn(name, found, means, remedy)
    } else if most < CONNTRACK_SMALL {
        let means =
            "each connection of a pod takes an entry, as it does for kube-proxy: this is little for a node";
        Finding::warn(name, found, means, remedy)
    } else {
        Finding::ok(name, found)
    }
}

fn own_table(network: &Network) -> Finding {
    match &network.netfilter {
        None => Finding::skipped("table", "the tables of nf_tables are not told to this process"),
        Some(netfilter) if netfilter.tables.contains(TABLE) => {
            Finding::ok("table", format!("table {TABLE} stands"))
        }
        Some(_) => Finding::skipped("table", format!("there is no table {TABLE}: no agent has applied one")),
    }
}

/// What carries packets past the rules.
fn passed_by(seen: &Seen, bridges: Option<&Bridges>) -> Vec<Finding> {
    let names = ["bridge-nf", "ipvs", "flowtables", "netkit", "openvswitch"];
    let (Some(facts), Some(bridges)) = (&seen.facts, bridges) else {
        return names.map(|name| Finding::skipped(name, NOT_SEEN)).into();
    };
    let writable = seen.network.as_ref().is_ok_and(|network| network.bridge_nf_writable);
    let [_, ipvs, flowtables, netkit, openvswitch] = names;
    let flowtable_names: Vec<&String> = facts.flowtables.iter().collect();
    vec![
        bridge_nf(facts, bridges, seen.bridge_nf, writable),
        way(
            ipvs,
            facts.ipvs.then(|| "IPVS has services".to_owned()),
            "no services of IPVS",
            "IPVS delivers to services through the node's own sockets, past the rules",
            "mode: iptables or nftables in the configuration of kube-proxy, then kube-proxy --cleanup or a reboot",
        ),
        way(
            flowtables,
            (!facts.flowtables.is_empty()).then(|| format!("flowtable {}", listed(&flowtable_names))),
            "none",
            "established flows go past the rules: a revoked policy does not cut them",
            "switch it off where it comes from (Calico: nftablesMode: Disabled, or no flow offload)",
        ),
        way(
            netkit,
            facts.netkit.then(|| "there are netkit devices".to_owned()),
            "no netkit devices",
            "eBPF programs carry their packets past the rules",
            "give pods veth devices (Cilium: bpf.datapathMode=veth)",
        ),
        way(
            openvswitch,
            facts.openvswitch.then(|| "pods hang on an Open vSwitch".to_owned()),
            "no ports of pods on an Open vSwitch",
            "it hands packets on by its own rules, past these",
            "use the policies of the network that brings it (Antrea, OVN-Kubernetes), or another one",
        ),
    ]
}

fn way(name: &str, found: Option<String>, well: &str, means: &str, remedy: &str) -> Finding {
    match found {
        None => Finding::ok(name, well),
        Some(found) => Finding::fail(name, found, means, remedy),
    }
}

fn bridge_nf(facts: &NodeFacts, bridges: &Bridges, mode: Mode, writable: bool) -> Finding {
    const MEANS: &str = "frames between pods of one bridge pass the rules by";
    let name = "bridge-nf";
    let settings = [
        ("net.bridge.bridge-nf-call-iptables", facts.bridge_nf_v4),
        ("net.bridge.bridge-nf-call-ip6tables", facts.bridge_nf_v6),
    ];
    let wrong =
        settings.iter().filter(|(_, value)| *value != BridgeNf::On).map(|(setting, value)| match value {
            BridgeNf::Absent => format!("{setting} is absent"),
            _ => format!("{setting} is 0"),
        });
    let wrong: Vec<String> = wrong.collect();
    let wrong = wrong.join(" and ");
    let is_absent = settings.iter().any(|(_, value)| *value == BridgeNf::Absent);
    let remedy = match (is_absent, writable) {
        (true, _) => {
            "br_netfilter in /etc/modules-load.d, and both settings as 1 in /etc/sysctl.d (the agent loads no module)"
        }
        (false, true) => "--bridge-nf set keeps both at 1, or put them into /etc/sysctl.d",
        (false, false) => {
            "put both settings as 1 into /etc/sysctl.d; --bridge-nf set cannot write them from here (/proc/sys is read-only: privileged: true)"
        }
    };
    if bridges.of_pods.is_empty() && bridges.of_others.is_empty() {
        return Finding::ok(name, "no pod hangs on a bridge");
    }
    if wrong.is_empty() {
        let all: Vec<&String> = bridges.of_pods.iter().chain(&bridges.of_others).collect();
        return Finding::ok(name, format!("what bridge {} forwards is shown to the rules", listed(&all)));
    }
    if bridges.of_pods.is_empty() {
        let found = format!("{wrong}; bridge {} looks like that of others", listed(&bridges.of_others));
        return Finding::warn(
            name,
            found,
            "if pods of the cluster hang on it, what passes between them is not judged",
            remedy,
        );
    }
    let found = format!("pods hang on bridge {}, and {wrong}", listed(&bridges.of_pods));
    if mode == Mode::Set && writable && !is_absent {
        return Finding::warn(
            name,
            found,
            "--bridge-nf set is given: an agent sets both when it starts",
            "nothing",
        );
    }
    Finding::fail(name, found, MEANS, remedy)
}

fn enforcers(seen: &Seen) -> Vec<Finding> {
    let network = seen.network.as_ref().ok();
    let netfilter = network.and_then(|network| network.netfilter.clone());
    let devices = network.map(|network| network.devices.clone()).unwrap_or_default();
    let (processes, bpf) = (seen.processes.clone().unwrap_or_default(), seen.bpf.clone().unwrap_or_default());
    let all = found(&netfilter.clone().unwrap_or_default(), &devices, &processes, &bpf);
    let mut hidden: Vec<&str> = Vec::new();
    hidden.extend(netfilter.is_none().then_some("tables and chains (netlink does not tell)"));
    hidden.extend(seen.processes.is_none().then_some("processes of the node (no hostPID)"));
    hidden.extend(seen.bpf.is_none().then_some("/sys/fs/bpf (not mounted here)"));
    let legacy = network.map(|network| &network.legacy_tables).filter(|tables| !tables.is_empty());
    hidden.extend(legacy.map(|_| "chains of iptables-legacy"));
    let mut findings: Vec<Finding> = all.iter().map(enforcer).collect();
    if findings.is_empty() {
        findings.push(Finding::ok("other-enforcers", "no trace of another one that enforces NetworkPolicy"));
    }
    if !hidden.is_empty() {
        let found = format!("not seen: {}; kubectl flock check --pre looks at DaemonSets", hidden.join(", "));
        findings.push(Finding::skipped("other-enforcers-unseen", found));
    }
    findings
}

fn enforcer(found: &super::traces::Found) -> Finding {
    let words: Vec<&String> = found.words.iter().collect();
    let (who, text) = (found.enforcer.name(), listed(&words));
    match found.strength {
        Strength::Present => Finding::ok(
            "other-enforcers",
            format!("{who} is here, without a trace of policies of its own: {text}"),
        ),
        // Where packets pass both they deny more, never less; who takes them past the kernel is found by other facts.
        Strength::Enforces => Finding::warn(
            "other-enforcers",
            format!("{who} enforces NetworkPolicy here, or has left its rules behind: {text}"),
            "a connection passes only if both let it: what is denied may be its doing, and is not told here",
            found.enforcer.remedy(),
        ),
    }
}

fn cni(cni: &Cni) -> Vec<Finding> {
    let folder = cni.conf_dir.display();
    let Some(files) = &cni.files else {
        return vec![Finding::skipped(
            "cni",
            format!("{folder} is not here: --cni-conf-dir DIR says where it is"),
        )];
    };
    let Some((taken, file)) = files.first_key_value() else {
        let means = "the runtime starts no pod without a configuration of CNI";
        return vec![Finding::warn(
            "cni",
            format!("no configuration in {folder}"),
            means,
            "install the CNI of the cluster first",
        )];
    };
    let list = List::read(&file.text);
    let others = files.iter().skip(1).filter(|(_, file)| has_ours(&file.text)).map(|(name, _)| name);
    let others: Vec<&String> = others.collect();
    let mut all = vec![match &list {
        Ok(list) => {
            Finding::ok("cni", format!("the runtime takes {taken} of {folder}, network {}", list.name))
        }
        Err(_) if crate::install::list::name_of_single(&file.text).is_ok() => {
            Finding::ok("cni", format!("the runtime takes {taken} of {folder}, a single plugin"))
        }
        Err(error) => Finding::warn(
            "cni",
            format!("the runtime takes {taken} of {folder}: {error}"),
            "the plugin cannot be part of it",
            "--conf-file NAME of install-cni names another one",
        ),
    }];
    let has_ours = list.is_ok_and(|list| list.has_ours());
    all.push(match (has_ours, cni.binary) {
        (true, Some(false)) => Finding::fail(
            "cni-plugin",
            format!("{taken} names flock-cni, and there is none in {}", cni.bin_dir.display()),
            "no pod starts on this node",
            "run flock-node-agent install-cni, or take it out with uninstall-cni",
        ),
        (true, Some(true)) => {
            Finding::ok("cni-plugin", format!("part of {taken}, and in {}", cni.bin_dir.display()))
        }
        (true, None) => Finding::skipped(
            "cni-plugin",
            format!("part of {taken}; {} is not here to see its binary", cni.bin_dir.display()),
        ),
        (false, _) if !others.is_empty() => Finding::warn(
            "cni-plugin",
            format!("part of {}, while the runtime takes {taken}", listed(&others)),
            "pods are known by their statuses only, up to a second after they start",
            "run flock-node-agent install-cni: it follows what the runtime takes",
        ),
        (false, _) if cni.is_wanted => Finding::warn(
            "cni-plugin",
            format!("no part of {taken}, while the agent takes its calls"),
            "pods are known by their statuses only, up to a second after they start",
            "run flock-node-agent install-cni",
        ),
        (false, _) => Finding::skipped("cni-plugin", format!("no part of {taken}: it is optional")),
    });
    all
}

fn has_ours(text: &str) -> bool {
    List::read(text).is_ok_and(|list| list.has_ours())
}

fn memory(Memory { available, limit, nft }: Memory) -> Finding {
    let wanted = nft.saturating_add(BESIDE_NFT);
    let mib = |bytes: u64| format!("{} MiB", bytes / MIB);
    if let Some(limit) = limit.filter(|limit| *limit < wanted) {
        return Finding::warn(
            "memory",
            format!("limited to {}", mib(limit)),
            "nft may be killed in the middle of a large table (the one that stands stays)",
            &format!("a limit of {} and more, or a smaller --nft-memory ({} here)", mib(wanted), mib(nft)),
        );
    }
    match available {
        Some(available) if available < wanted => Finding::warn(
            "memory",
            format!("{} available on the node", mib(available)),
            &format!("a large table may take {} while it is exchanged", mib(wanted)),
            "the heaviest table of a node is in deploy/README.md; leave memory for it",
        ),
        Some(available) => {
            let limit = limit.map_or("no limit".to_owned(), |limit| format!("limit {}", mib(limit)));
            Finding::ok("memory", format!("{} available on the node, {limit}", mib(available)))
        }
        None => Finding::skipped("memory", "not to be read"),
    }
}

fn state(path: &str, folder: &StateFolder) -> Finding {
    let name = "state-dir";
    match folder {
        StateFolder::Missing => Finding::ok(name, format!("{path} is made when an agent starts")),
        StateFolder::Unusable(why) => Finding::fail(
            name,
            format!("{path}: {why}"),
            "the agent does not start with it",
            "make it a folder of uid 0 with mode 0700",
        ),
        StateFolder::There { uid, mode, .. } if *uid != 0 || mode & WRITABLE_BY_OTHERS != 0 => Finding::fail(
            name,
            format!("{path} is of uid {uid}, mode {mode:04o}"),
            "others may write what is enforced at the next boot: the agent does not use it",
            &format!("chown 0 {path}; chmod 0700 {path}"),
        ),
        StateFolder::There { writable: false, .. } => Finding::fail(
            name,
            format!("{path} cannot be written"),
            "nothing is restored at boot before a compiler answers",
            "mount it writable",
        ),
        StateFolder::There { mode, kept, .. } => {
            let kept = if *kept { "a ruleset is kept in it" } else { "no ruleset is kept in it yet" };
            Finding::ok(name, format!("{path}, uid 0, mode {mode:04o}; {kept}"))
        }
    }
}

#[cfg(test)]
#[path = "judge_tests.rs"]
mod tests;
