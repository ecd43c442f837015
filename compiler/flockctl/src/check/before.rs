//! `check --pre`: what a cluster is like before an install. Values in, findings out. Pure.

use std::collections::BTreeMap;

use flock_shared::listed;

use super::enforcers::{Workload, networks};
use super::finding::{Finding, Section};

/// The oldest Kubernetes: its tokens name the node of their pod.
const OLDEST: (u32, u32) = (1, 30);
/// The oldest kernel that the table was tried with.
const OLDEST_KERNEL: (u32, u32) = (5, 10);
/// What was asked for, or why it was not answered.
pub(crate) type Readable<T> = Result<T, String>;

/// A node.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct ClusterNode {
    pub(crate) name: String,
    pub(crate) os: String,
    pub(crate) architecture: String,
    pub(crate) kernel: String,
    pub(crate) runtime: String,
    pub(crate) kubelet: String,
    pub(crate) ready: bool,
    pub(crate) pod_cidrs: usize,
}

/// A right that whoever installs needs, as `verb resource.group`, and whether he has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Right {
    pub(crate) words: String,
    pub(crate) allowed: bool,
}

/// What is installed already.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Installed {
    /// The image of the compilers.
    pub(crate) compiler: Option<String>,
    /// The image of the agents.
    pub(crate) agent: Option<String>,
}

/// Everything that was asked of the API server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ClusterFacts {
    /// Where it is to be installed.
    pub(crate) namespace: String,
    /// Such as `v1.33.0`.
    pub(crate) version: String,
    pub(crate) rights: Readable<Vec<Right>>,
    /// The names of priority classes.
    pub(crate) priorities: Readable<Vec<String>>,
    /// Whether a quota of the namespace lets pods of both priority classes in.
    pub(crate) has_quota: Readable<bool>,
    pub(crate) nodes: Readable<Vec<ClusterNode>>,
    pub(crate) workloads: Readable<Vec<Workload>>,
    /// `mode` of kube-proxy's configuration; `None`: there is no such ConfigMap.
    pub(crate) proxy_mode: Readable<Option<String>>,
    /// How many NetworkPolicies there are by namespace.
    pub(crate) policies: Readable<BTreeMap<String, usize>>,
    pub(crate) installed: Readable<Installed>,
}

/// All findings.
pub(crate) fn judge(cluster: &ClusterFacts) -> Vec<Finding> {
    let mut all = vec![version(&cluster.version)];
    all.push(rights(&cluster.rights));
    all.push(priorities(cluster));
    all.push(installed(&cluster.installed));
    all.extend(nodes(&cluster.nodes));
    all.extend(network(cluster));
    all.extend(conflicts(cluster));
    all.push(policies(cluster));
    all
}

const CLUSTER: Section = Section("cluster");
const NODES: Section = Section("nodes");
const NETWORK: Section = Section("network");
const CONFLICTS: Section = Section("conflicts");
const POLICIES: Section = Section("policies");

/// The first two numbers of a version.
fn two(text: &str) -> Option<(u32, u32)> {
    let start = text.find(|letter: char| letter.is_ascii_digit())?;
    let mut parts = text
        .get(start..)?
        .split('.')
        // Distributions and providers append to numbers, as in `6.1-cloud`.
        .map(|part| part.chars().take_while(char::is_ascii_digit).collect::<String>().parse::<u32>().ok());
    Some((parts.next()??, parts.next()??))
}

fn version(version: &str) -> Finding {
    match two(version) {
        Some(found) if found >= OLDEST => CLUSTER.ok("version", format!("Kubernetes {version}")),
        Some(_) => CLUSTER.fail(
            "version",
            format!("Kubernetes {version}: tokens do not name the node of their pod before 1.30, so no agent is served"),
            "upgrade to Kubernetes 1.30 or newer",
        ),
        None => CLUSTER.skipped("version", format!("{version:?} tells no version")),
    }
}

fn rights(rights: &Readable<Vec<Right>>) -> Finding {
    let name = "rights";
    match rights {
        Err(error) => CLUSTER.skipped(name, format!("what you may do is not told: {error}")),
        Ok(rights) => {
            let missing: Vec<&str> =
                rights.iter().filter(|right| !right.allowed).map(|right| right.words.as_str()).collect();
            match missing[..] {
                [] => {
                    CLUSTER.ok(name, format!("you may do all {} things that an install takes", rights.len()))
                }
                _ => CLUSTER.fail(
                    name,
                    format!("you may not {}", listed(&missing)),
                    "install as somebody who may (cluster-admin may), or have these granted",
                ),
            }
        }
    }
}

fn priorities(cluster: &ClusterFacts) -> Finding {
    let name = "priority";
    let wanted = ["system-cluster-critical", "system-node-critical"];
    let found = match &cluster.priorities {
        Err(error) => return CLUSTER.skipped(name, format!("priority classes are not told: {error}")),
        Ok(found) => found,
    };
    let missing: Vec<&str> = wanted.into_iter().filter(|class| !found.iter().any(|it| it == class)).collect();
    if !missing.is_empty() {
        let remedy = "every cluster has them: ask who runs this one";
        return CLUSTER.fail(name, format!("no priority class {}", listed(&missing)), remedy);
    }
    // GKE admits pods of these classes only where a quota names them.
    match &cluster.has_quota {
        Ok(false) if cluster.version.contains("-gke.") => CLUSTER.warn(
            name,
            format!(
                "GKE refuses pods of {} in namespace {} without a ResourceQuota",
                listed(&wanted),
                cluster.namespace
            ),
            "keep the ResourceQuota of scope PriorityClass that install.yaml and the chart bring",
        ),
        // A quota that may not be seen is not told to be missing.
        _ => CLUSTER.ok(name, format!("priority classes {}", listed(&wanted))),
    }
}

fn installed(installed: &Readable<Installed>) -> Finding {
    let name = "installed";
    match installed {
        Err(error) => CLUSTER.skipped(name, format!("whether it is installed is not told: {error}")),
        Ok(Installed { compiler: None, agent: None }) => CLUSTER.ok(name, "flock-netpol is not installed"),
        Ok(Installed { compiler, agent }) => {
            let or_none = |image: &Option<String>| image.clone().unwrap_or_else(|| "none".to_owned());
            let found =
                format!("installed already: compilers {}, agents {}", or_none(compiler), or_none(agent));
            CLUSTER.ok(name, found)
        }
    }
}

fn nodes(nodes: &Readable<Vec<ClusterNode>>) -> Vec<Finding> {
    let nodes = match nodes {
        Err(error) => return vec![NODES.skipped("nodes", format!("nodes are not told: {error}"))],
        Ok(nodes) => nodes,
    };
    let which = |is: &dyn Fn(&ClusterNode) -> bool| -> Vec<String> {
        nodes.iter().filter(|node| is(node)).map(|node| node.name.clone()).collect()
    };
    let total = nodes.len();
    let mut all = Vec::new();
    let other = which(&|node| node.os != "linux");
    all.push(match &other[..] {
        [] => NODES.ok("os", format!("{total} of {total} nodes are Linux")),
        _ => NODES.warn(
            "os",
            format!("{} of {total} nodes are not Linux: {}", other.len(), listed(&other)),
            "nothing is enforced on them: agents run on Linux only",
        ),
    });
    let is_built = |node: &ClusterNode| ["amd64", "arm64"].contains(&node.architecture.as_str());
    let unbuilt = which(&|node| node.os == "linux" && !is_built(node));
    if !unbuilt.is_empty() {
        let found = format!("no image for the processors of {}", listed(&unbuilt));
        all.push(NODES.fail("architecture", found, "build the images for them"));
    }
    // A version that cannot be read is named, too: nothing says that it is new enough.
    let old = which(&|node| node.os == "linux" && two(&node.kernel).is_none_or(|it| it < OLDEST_KERNEL));
    let kernels = tally(nodes.iter().map(|node| node.kernel.as_str()));
    all.push(match &old[..] {
        [] => NODES.ok("kernel", format!("Linux {kernels}")),
        _ => NODES.warn(
            "kernel",
            format!("{} of {total} nodes have a kernel older than 5.10: {}", old.len(), listed(&old)),
            "flock-node-agent --check on one of them tells whether it has what the table needs",
        ),
    });
    let known =
        |node: &ClusterNode| ["containerd://", "cri-o://"].iter().any(|it| node.runtime.starts_with(it));
    let unknown = which(&|node| !known(node));
    let runtimes = tally(nodes.iter().map(|node| node.runtime.as_str()));
    all.push(match &unknown[..] {
        [] => NODES.ok("runtime", runtimes),
        _ => NODES.warn(
            "runtime",
            format!("{runtimes}; not containerd or CRI-O: {}", listed(&unknown)),
            "the CNI plugin is tried with containerd and CRI-O; leave it out there, or try it on one node",
        ),
    });
    let bare = which(&|node| node.pod_cidrs == 0);
    all.push(match &bare[..] {
        [] => NODES.ok("pod-cidrs", format!("{total} of {total} nodes have pod CIDRs")),
        _ => NODES.warn(
            "pod-cidrs",
            format!("{} of {total} nodes have no pod CIDRs: {}", bare.len(), listed(&bare)),
            "pods that nobody has seen yet are not guarded there; the CNI plugin (flock-cni) makes them known before their first packet",
        ),
    });
    let unready = which(&|node| !node.ready);
    if !unready.is_empty() {
        let found = format!("{} of {total} nodes are not ready: {}", unready.len(), listed(&unready));
        all.push(NODES.warn("ready", found, "kubectl describe node says why"));
    }
    all
}

/// Each text once, with how often it is there if that is not always.
fn tally<'a>(texts: impl Iterator<Item = &'a str>) -> String {
    let mut all: BTreeMap<&str, usize> = BTreeMap::new();
    for text in texts {
        *all.entry(text).or_default() += 1;
    }
    let is_one = all.len() == 1;
    let words = all
        .into_iter()
        .map(|(text, count)| if is_one { text.to_owned() } else { format!("{text} ({count})") });
    listed(&words.collect::<Vec<_>>())
}

fn is_k3s(cluster: &ClusterFacts) -> bool {
    cluster.nodes.as_ref().is_ok_and(|nodes| nodes.iter().any(|node| node.kubelet.contains("+k3s")))
}

fn network(cluster: &ClusterFacts) -> Vec<Finding> {
    let mut all = Vec::new();
    match &cluster.workloads {
        Err(error) => all.push(NETWORK.skipped("cni", format!("DaemonSets are not told: {error}"))),
        Ok(workloads) => {
            let found = networks(workloads, is_k3s(cluster));
            all.extend(found.iter().map(|(name, set)| NETWORK.ok("cni", format!("{name}: {set}"))));
            if found.is_empty() {
                all.push(
                    NETWORK.skipped("cni", "no DaemonSet of a CNI that is known here: see deploy/README.md"),
                );
            }
        }
    }
    all.push(match &cluster.proxy_mode {
        Err(error) => NETWORK.skipped("kube-proxy", format!("its mode is not told: {error}")),
        Ok(None) => NETWORK.skipped(
            "kube-proxy",
            "no ConfigMap kube-system/kube-proxy: flock-node-agent --check tells whether IPVS has services",
        ),
        Ok(Some(mode)) if mode == "ipvs" => NETWORK.fail(
            "kube-proxy",
            "kube-proxy is in mode ipvs: it delivers through the nodes' own sockets, past the rules",
            "mode: iptables or nftables in ConfigMap kube-system/kube-proxy, then restart it and reboot nodes",
        ),
        Ok(Some(mode)) if mode.is_empty() => NETWORK.ok("kube-proxy", "kube-proxy is in its default mode, iptables"),
        Ok(Some(mode)) => NETWORK.ok("kube-proxy", format!("kube-proxy is in mode {mode}")),
    });
    all
}

/// Who else enforces, by DaemonSets.
fn enforcers(workloads: &Readable<Vec<Workload>>) -> Vec<Finding> {
    let workloads = match workloads {
        Err(error) => {
            return vec![CONFLICTS.skipped("enforcers", format!("DaemonSets are not told: {error}"))];
        }
        Ok(workloads) => workloads,
    };
    let found = workloads.iter().filter_map(|workload| Some((workload, workload.enforcer()?)));
    let found = found.map(|(Workload { namespace, name, .. }, (who, remedy))| {
        CONFLICTS.warn(
            "enforcers",
            format!("{who} enforces NetworkPolicy, too (DaemonSet {namespace}/{name})"),
            remedy,
        )
    });
    let mut all: Vec<Finding> = found.collect();
    if all.is_empty() {
        all.push(CONFLICTS.ok("enforcers", "no DaemonSet of another one that enforces NetworkPolicy"));
    }
    all
}

fn conflicts(cluster: &ClusterFacts) -> Vec<Finding> {
    let mut all = enforcers(&cluster.workloads);
    if is_k3s(cluster) {
        all.push(CONFLICTS.warn(
            "k3s",
            "k3s enforces NetworkPolicy by itself, with kube-router within",
            "start its servers with --disable-network-policy, then reboot or k3s-killall.sh removes its chains",
        ));
    }
    all
}

fn policies(cluster: &ClusterFacts) -> Finding {
    let name = "policies";
    let by_namespace = match &cluster.policies {
        Err(error) => return POLICIES.skipped(name, format!("NetworkPolicies are not told: {error}")),
        Ok(policies) => policies,
    };
    let count: usize = by_namespace.values().sum();
    if count == 0 {
        return POLICIES.ok(name, "there is no NetworkPolicy: nothing changes until there is one");
    }
    let namespaces: Vec<&str> = by_namespace.keys().map(String::as_str).collect();
    let found =
        format!("{count} NetworkPolicies in {} namespaces: {}", namespaces.len(), listed(&namespaces));
    // Where it may not be seen who enforces, other findings say so, and nothing is claimed here.
    let is_new = cluster.installed.as_ref().is_ok_and(|it| it.agent.is_none())
        && cluster.workloads.as_ref().is_ok_and(|all| all.iter().all(|it| it.enforcer().is_none()))
        && !is_k3s(cluster);
    if is_new {
        let remedy =
            "nobody seems to enforce them so far: read them first, or begin with one node (deploy/README.md)";
        POLICIES.warn(name, format!("{found} will begin to be enforced"), remedy)
    } else {
        POLICIES.ok(name, found)
    }
}

#[cfg(test)]
#[path = "before_tests.rs"]
mod tests;
